/*
 * manager/stats.h - what guests use, asked of their workers while somebody watches, and what all of them used together.
 * Looks into: proto.  Used by: daemon/manager.  Thread: the loop's.
 */
#ifndef MANAGER_STATS_H
#define MANAGER_STATS_H

#include "daemon/manager/guest.h"

/* New figures of a guest came. */
void mgr_stats_came(struct mgr_guest *g);
/* A guest ended with these: they go into the metrics. */
void mgr_stats_ended(struct mgr *m, const PbGuestStats *stats);
/* Ask the worker of every guest of a tenant (NULL: all) that runs. */
void mgr_stats_ask(struct mgr *m, const struct mgr_tenant *t);

#endif
