/*
 * manager/systemd.h - what a service manager hands over and wants to hear, by its public protocols, without its library.
 * Looks into: base.  Used by: daemon/manager.  Thread: the loop's.
 */
#ifndef MANAGER_SYSTEMD_H
#define MANAGER_SYSTEMD_H

#include "engine/base/err.h"

/* Tell the service manager, if there is one ($NOTIFY_SOCKET): "READY=1", "STOPPING=1", "STATUS=...". */
void mgr_notify(const char *state);
void mgr_notify_reloading(void);
/* The Unix stream socket that was listened on for us ($LISTEN_FDS); -1: none. It is close-on-exec from now on, and the variables
 * are gone. Fails: ERR_INVALID: what was passed is of no use here. */
res_t mgr_listen_fd(int *fd, struct err *err);
/* The path it is bound to. Fails: ERR_INVALID. */
res_t mgr_listen_fd_path(int fd, char *out, unsigned cap, struct err *err);

#endif
