/*
 * manager/worker.h - the processes in which guests run: started ahead of need, watched, replaced, taken over.
 *
 * Looks into: proto.  Used by: daemon/manager.
 *
 * Rules:
 *  (1) A worker holds at most workers.guests guests, of one tenant; where the tenant is isolated by guest, one, and only once.
 *  (2) Unless the daemon ends, there is always a worker that said hello and belongs to nobody, or one on its way.
 *  (3) A worker that says something malformed or out of turn is killed; its guests end with the reason.
 *  (4) Tenants whose guests wait take turns, a guest each; at most MGR_STARTING_MAX guests are being started at a time. So who
 *      asks for a thousand waits for himself.
 *  (5) A worker listens at STATE/workers/NUMBER. It, and that its guests have it, is in the journal before they run: a daemon that
 *      comes after this one finds them, and a pidfd tells of the end of what is not its child.
 *
 * Thread: the loop's.
 */
#ifndef MANAGER_WORKER_H
#define MANAGER_WORKER_H

#include "daemon/manager/manager.h"
#include "proto/state.pb-c.h"
#include "proto/worker.pb-c.h"

#define MGR_STARTING_MAX 16
#define MGR_COMING_MAX 2 /* workers started at a time */

struct mgr_guest;
struct mgr_worker;
struct mgr_tenant;

void mgr_workers_init(struct mgr *m);
/* Keep rule (2), and rule (4) going. */
void mgr_workers_provide(struct mgr *m);
/* Give the guest to a worker, at once or when it is its tenant's turn. */
void mgr_worker_place(struct mgr_guest *g);
/* The guest left it. */
void mgr_worker_release(struct mgr_guest *g);
/* It runs, or was refused: the next may start. */
void mgr_worker_started(struct mgr_guest *g);
/* Queue a message about a guest to its worker; pass_fd is taken. */
void mgr_worker_tell(struct mgr_worker *w, const PbToWorker *m, int pass_fd);
/* Rule (3), for other reasons too. */
void mgr_worker_kill(struct mgr_worker *w, const char *why);
uint32_t mgr_worker_pid(const struct mgr_worker *w);
void mgr_workers_flush(struct mgr *m);
/* Let all go (their sockets close); hard: kill. */
void mgr_workers_stop(struct mgr *m, bool hard);
/* Part from all without ending them: their guests wait for the next daemon. */
void mgr_workers_leave(struct mgr *m);

/* How long guests outlive a daemon that dies or leaves them; 0: they end with it. */
uint32_t mgr_orphan_seconds(const struct mgr *m);
/* Rule (5). A worker of an earlier daemon, as the journal has it; its guests point to it by number. Fails if it is gone. */
res_t mgr_worker_adopt(struct mgr *m, const PbStateWorker *state, struct mgr_worker **w,
                       struct err *err);
/* A guest of an adopted worker; what the hello says of it decides. */
void mgr_worker_expect(struct mgr_worker *w, struct mgr_guest *g);
/* Those that have guests, into a journal that is made anew. */
void mgr_workers_snapshot(struct mgr *m);

#endif
