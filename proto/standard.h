/*
 * proto/standard.h - the services that every gRPC server has: health and reflection.
 *
 * Looks into: base.  Used by: proto.
 *
 * Reflection tells from descriptors.h; a stream of it holds one answer at a time. Health says SERVING for each known service, or
 * NOT_SERVING once the daemon is on its way out; a watcher that reads slowly misses only states that are over.
 *
 * Thread: one.
 */
#ifndef PROTO_STANDARD_H
#define PROTO_STANDARD_H

#include "proto/server.h"

/* By pb_method_id - PB_METHOD_COUNT. */
extern const struct pb_handler pb_standard_handlers[PB_METHOD_ALL_COUNT - PB_METHOD_COUNT];

#define METHOD(service, name, ident, req, resp, kind, max) \
    void pb_##ident(struct pb_call *call, const ProtobufCMessage *request);
#include "proto/standard.def"
#undef METHOD
void pb_health_watch_pull(struct pb_call *call);
void pb_health_watch_gone(struct pb_call *call);
void pb_reflection_pull(struct pb_call *call);
void pb_reflection_half_close(struct pb_call *call);
void pb_standard_gone(struct pb_call *call);

#endif
