/*
 * manager/child.h - a child process with a socket to it: what workers and importers have in common.
 * Looks into: base, daemon/confine (spawn.h).  Used by: daemon/manager.
 * The child finds the socket as descriptor PB_CHILD_FD (and what else is passed behind it), the null device as input, and the
 * daemon's log as output and error.
 * Life: start -> exit callback -> close -> gone callback (may free).  Thread: the loop's.
 */
#ifndef MANAGER_CHILD_H
#define MANAGER_CHILD_H

#include "daemon/confine/spawn.h"
#include "engine/base/base.h"
#include "engine/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct mgr_child {
    struct cf_process process;
    uv_poll_t poll, over;
    int fd; /* borrowed: the channel owns it */
    int closing;
    bool exited;
    bool deaf; /* not polled for reading, by mgr_child_poll */
    bool was_deaf;
    void (*on_exit)(struct mgr_child *child, int64_t status, int sig);
    void (*on_gone)(struct mgr_child *child);
};

/* on_exit, on_gone, and poll->data are set by the caller. *fd is our end of the socket, the caller's to close in on_gone. On
 * failure on_gone comes too, perhaps before the return. */
res_t mgr_child_start(struct mgr_child *c, uv_loop_t *loop, const char *path, int pass_fd,
                      uv_poll_cb poll_cb, int *fd, struct err *err);
/* The same with several descriptors, which the child finds behind its socket in their order. */
res_t mgr_child_start_with(struct mgr_child *c, uv_loop_t *loop, const char *path,
                           const int *pass_fds, size_t pass_fd_count, uv_poll_cb poll_cb, int *fd,
                           struct err *err);
/* A process that somebody else started and that is no child of ours; takes pidfd, borrows fd. How it ends is not known. */
void mgr_child_adopt(struct mgr_child *c, uv_loop_t *loop, uint32_t pid, int pidfd, int fd,
                     uv_poll_cb poll_cb);
uint32_t mgr_child_pid(const struct mgr_child *c);
/* It goes on when this process ends: it is neither heard nor watched from now on. */
void mgr_child_detach(struct mgr_child *c);
/* Poll for reading (unless deaf), and for writing if asked. */
void mgr_child_poll(struct mgr_child *c, bool write);
void mgr_child_kill(struct mgr_child *c); /* SIGKILL */
/* It sees the end of its input and goes. */
void mgr_child_hang_up(struct mgr_child *c);
/* After on_exit. */
void mgr_child_close(struct mgr_child *c);

#endif
