/*
 * manager/systemd.h - the two conversations with systemd, by hand: sockets it opened for us, and how we are.
 *
 * Looks into: base.  Used by: daemon/manager.
 * Without systemd both are nothing. Protocols: sd_listen_fds(3), sd_notify(3).
 * Thread: the loop's.
 */
#ifndef MANAGER_SYSTEMD_H
#define MANAGER_SYSTEMD_H

#define MGR_SD_FIRST_FD 3

/* How many descriptors, from MGR_SD_FIRST_FD on, are ours (LISTEN_PID names this process). They become close-on-exec, and the
 * environment forgets them, so that no child believes in them. Later calls say 0. */
unsigned mgr_sd_listen_fds(void);

/* "READY=1", "STOPPING=1", "STATUS=..."; lost if nobody listens. */
void mgr_sd_notify(const char *state);
/* Before a reload ("RELOADING=1" with the time systemd wants); READY=1 ends it. */
void mgr_sd_notify_reloading(void);

#endif
