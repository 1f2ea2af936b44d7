/*
 * manager/event.h - what happened: a bounded, durable log with cursors, and those who watch it.
 *
 * Looks into: proto, base.  Used by: daemon/manager.
 *
 * Rules:
 *  (1) Numbers of events grow by one and are never used twice, over restarts too.
 *  (2) A watcher gets every event of its kind after its cursor, or the call ends with OUT_OF_RANGE.
 *  (3) The newest (events.kept) are kept, here and in the journal.
 *
 * Thread: the loop's.
 */
#ifndef MANAGER_EVENT_H
#define MANAGER_EVENT_H

#include "daemon/manager/tenant.h"
#include "proto/event.pb-c.h"

struct mgr_events;

res_t mgr_events_init(struct mgr *m, struct err *err);
void mgr_events_fini(struct mgr *m);
/* tenant NULL: the daemon's own. text may be NULL. */
void mgr_event(struct mgr *m, PbEventType type, const struct mgr_tenant *tenant,
               const char *subject, uint64_t guest_id, int32_t code, const char *text);
/* From the journal. */
res_t mgr_event_restore(struct mgr *m, const PbEvent *e, struct err *err);
/* Into a journal that is made anew. */
void mgr_events_snapshot(struct mgr *m);

#endif
