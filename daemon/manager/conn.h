/*
 * manager/conn.h - clients: the listening socket, their connections, deadlines.
 * Looks into: proto.  Used by: daemon/manager.  Thread: the loop's.
 */
#ifndef MANAGER_CONN_H
#define MANAGER_CONN_H

#include "daemon/manager/manager.h"

#define MGR_CONNS_MAX 16384

/* The daemon of a pb_call's conn_ctx. */
struct mgr *mgr_of_conn(void *conn_ctx);
struct mgr_tenant *mgr_tenant_of_conn(void *conn_ctx);
/* Make the socket's folder (private), take over a dead socket, listen. Fails: ERR_EXISTS: a daemon answers there. */
res_t mgr_listen(struct mgr *m, struct err *err);
void mgr_listen_stop(struct mgr *m);
void mgr_conns_flush(struct mgr *m);
/* Tell clients to go; those without a call are closed. */
void mgr_conns_drain(struct mgr *m);
/* Close all. */
void mgr_conns_close(struct mgr *m);

#endif
