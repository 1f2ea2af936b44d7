/*
 * worker/worker.h - vmd-worker: the process in which guests run.
 *
 * Looks into: proto, engine/vm (its outer door only).  Used by: its main, tests.
 *
 * One libuv loop hears the manager and carries console bytes; guests run in threads of their own, which only
 * wake the loop. It opens nothing: images come as descriptors.
 *
 * Rules:
 *  (1) Output leaves a guest only for credit (each message costs its bytes and WK_OUTPUT_HEAD); what a guest's rings
 *      held when it ended is sent without, since it is bounded by them.
 *  (2) Input that the guest has not taken is kept here, at most what the manager may have under way.
 *  (3) A message that the manager would never send ends the process: nothing here can be trusted then.
 *  (4) When the manager hangs up, guests end; but if it said so before (setup), they run on until another manager connects to
 *      the listening socket, at most so long. It hears in the hello which guests there are.
 *
 * Thread: the loop's.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "engine/base/err.h"

#define WK_OUTPUT_HEAD 24              /* MGR_CONSOLE_HEAD */
#define WK_INPUT_BYTES_MAX 131072      /* kept for one guest */
#define WK_MESSAGE_BYTES_MAX (1 << 20) /* from the manager */

/* Serve the manager on fd, and those who come to listen_fd (-1: nobody) after it, until the last has gone (OK) or one talks
 * nonsense (FAIL). */
res_t wk_run(int fd, int listen_fd, struct err *err);

#endif
