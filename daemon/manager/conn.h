/*
 * manager/conn.h - clients: their connections, over Unix sockets and TLS alike, and how long they may take.
 *
 * Looks into: proto.  Used by: daemon/manager.
 *
 * Bytes go socket -> (TLS) -> proto/server and back; TLS is the only difference between the two kinds. A client belongs to the
 * tenant of its user (Unix socket) or certificate (TLS, once the handshake is over). One that belongs to nobody, or comes on top
 * of a limit, is told so: its call ends with UNAUTHENTICATED or RESOURCE_EXHAUSTED, then it is let go.
 *
 * Rules:
 *  (1) Each connection has one timer, set to the first thing that may happen to it; 10,000 idle ones cost the loop nothing.
 *  (2) Until the handshake is over a connection has no HTTP/2 session, no tenant and no call.
 *
 * Thread: the loop's.
 */
#ifndef MANAGER_CONN_H
#define MANAGER_CONN_H

#include "daemon/manager/listen.h"
#include "daemon/manager/manager.h"

/* The daemon of a pb_call's conn_ctx. */
struct mgr *mgr_of_conn(void *conn_ctx);
struct mgr_tenant *mgr_tenant_of_conn(void *conn_ctx);
/* Calls by method and status. */
struct pb_counts;
const struct pb_counts *mgr_call_counts(const struct mgr *m);

void mgr_conns_init(struct mgr *m);
/* mgr_options.conn_limits changed; connections that are there keep what they have, and learn of new times with their next timer. */
void mgr_conns_configure(struct mgr *m);
/* A libuv connection callback; data of the stream: its struct mgr_listener. */
void mgr_on_connection(uv_stream_t *listener, int status);
void mgr_conns_flush(struct mgr *m);
/* Tell clients to go; those without a call are closed. */
void mgr_conns_drain(struct mgr *m);
/* Close all. */
void mgr_conns_close(struct mgr *m);
/* When none is left. */
void mgr_conns_fini(struct mgr *m);

#endif
