/*
 * proto/health.h - whether the daemon serves, as grpc.health.v1 tells it: one answer for each service it has.
 * Looks into: base.  Used by: proto, daemon/manager.  Thread: one.
 */
#ifndef PROTO_HEALTH_H
#define PROTO_HEALTH_H

#include "engine/base/base.h"

struct pb_health {
    bool serving;
    struct list watchers; /* calls of Watch */
};
void pb_health_init(struct pb_health *h, bool serving);
/* Watchers are told. */
void pb_health_set(struct pb_health *h, bool serving);

#endif
