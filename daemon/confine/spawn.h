/*
 * confine/spawn.h - starts a child in a pid and a user namespace of its own where the host permits.
 *
 * Looks into: base.  Used by: daemon/manager.
 * Those two namespaces are for a new process only; the child does the rest itself (confine.h), after its exec, so that
 * the daemon does not wait for it.
 *
 * The child is the daemon's own: no process stands between. In its namespace it is process 1: a signal that it does not handle
 * does nothing to it unless it is SIGKILL from here or a fault of its own (it must catch SIGABRT itself).
 *
 * Thread: any; the process may have others.
 */
#ifndef CONFINE_SPAWN_H
#define CONFINE_SPAWN_H

#include "engine/base/err.h"

#include <sys/types.h>

#define CF_SPAWN_FDS_MAX 8

struct cf_process {
    pid_t pid;
    int pidfd; /* owned by the caller: readable when the process is over */
};
/* Run path, with fds[i] as descriptor i (-1: the null device) and nothing else open, no environment, default signals, a session of its
 * own. argv[1] is a word for cf_begin. Fails: ERR_OS: no such program, no process. */
res_t cf_spawn(const char *path, const int *fds, unsigned fd_count, struct cf_process *out,
               struct err *err);
/* The process is over: take its status. sig: 0, or the signal that ended it (status is 0 then). */
void cf_reap(const struct cf_process *p, int *status, int *sig);

#endif
