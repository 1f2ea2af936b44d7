/*
 * manager/worker.h - the processes in which guests run: started ahead of need, watched, replaced.
 *
 * Looks into: proto.  Used by: daemon/manager.
 *
 * Rules:
 *  (1) A worker holds at most MGR_WORKER_GUESTS guests.
 *  (2) Unless the daemon ends, there is always a worker with room that said hello, or one on its way.
 *  (3) A worker that says something malformed or out of turn is killed; its guests end with the reason.
 *
 * Thread: the loop's.
 */
#ifndef MANAGER_WORKER_H
#define MANAGER_WORKER_H

#include "daemon/manager/manager.h"
#include "proto/worker.pb-c.h"

#define MGR_WORKER_GUESTS 12
#define MGR_WORKERS_MAX 1024

struct mgr_guest;
struct mgr_worker;

void mgr_workers_init(struct mgr *m);
/* Keep rule (2). */
void mgr_workers_provide(struct mgr *m);
/* Give the guest to a worker, at once or when there is one. */
void mgr_worker_place(struct mgr_guest *g);
/* The guest left it. */
void mgr_worker_release(struct mgr_guest *g);
/* Queue a message about a guest to its worker; pass_fd is taken. */
void mgr_worker_tell(struct mgr_worker *w, const PbToWorker *m, int pass_fd);
/* Rule (3), for other reasons too. */
void mgr_worker_kill(struct mgr_worker *w, const char *why);
uint32_t mgr_worker_pid(const struct mgr_worker *w);
void mgr_workers_flush(struct mgr *m);
/* Let all go (their sockets close); hard: kill. */
void mgr_workers_stop(struct mgr *m, bool hard);

#endif
