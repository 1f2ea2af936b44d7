/*
 * manager/listen.h - the doors: Unix sockets and TCP ports with TLS, opened here or by systemd.
 *
 * Looks into: proto, base.  Used by: daemon/manager.
 *
 * A Unix socket of the daemon's own is made in a private folder with mode 0600 and removed at the end; where systemd opened it, its
 * mode is systemd's affair, and it stays. TCP is spoken with mutual TLS only. A TCP socket from systemd serves the first
 * listener with TLS that has none yet; a Unix socket from systemd takes the place of mgr_options.socket.
 *
 * Thread: the loop's.
 */
#ifndef MANAGER_LISTEN_H
#define MANAGER_LISTEN_H

#include "daemon/manager/manager.h"
#include "proto/tls.h"

struct mgr_listener {
    struct mgr *m;
    struct list link; /* m->listeners */
    union {
        uv_stream_t stream;
        uv_pipe_t pipe;
        uv_tcp_t tcp;
    } io;
    const struct mgr_listen_config *config; /* NULL: mgr_options.socket, or systemd's Unix socket */
    struct pb_tls_context *tls;             /* NULL: a Unix socket */
    bool own;                               /* the path is removed at the end */
    char where[256];                        /* "/run/vmd/vmd.sock", "tcp+tls://127.0.0.1:7443" */
};

/* Open all; on_connection() of conn.c takes what comes. Fails: ERR_EXISTS: a daemon answers there; ERR_INVALID: an address or a
 * TLS file; ERR_OS. */
res_t mgr_listen(struct mgr *m, struct err *err);
/* No more connections; health says so. May be called again. */
void mgr_listen_stop(struct mgr *m);
/* Read the TLS files again, for connections to come. Fails: as before, and the old ones stay. */
res_t mgr_listen_reload(struct mgr *m, struct err *err);

#endif
