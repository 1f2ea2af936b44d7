/*
 * proto/server.h - the server's side of gRPC over HTTP/2, without a socket: bytes in, bytes out.
 *
 * Looks into: base.  Used by: daemon/manager (which owns sockets and the loop), tests, fuzzers.
 *
 * A connection is fed what the peer sent (pb_conn_recv) and asked for what to send (pb_conn_send). A call
 * belongs to its connection. Handlers are told of requests; they answer at once or later.
 *
 * Rules:
 *  (1) Nothing grows without bound. Received: one message of at most request_bytes_max per call and one
 *      HTTP/2 window. To be sent: what a handler gave with pb_call_send; a stream's handler gives at most one
 *      message per pull(), and pull() comes only when the peer's window has room.
 *  (2) A call that its handler finished (pb_call_finish, pb_call_reply) is dead for the handler. A call that
 *      ends any other way (cancelled, deadline, connection lost, protocol error) gets one gone().
 *  (3) Nothing is sent from inside the functions below but pb_conn_send; wake() says when that has work.
 *
 * Thread: one.
 */
#ifndef PROTO_SERVER_H
#define PROTO_SERVER_H

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "proto/methods.h"

#include <stdint.h>

#define PB_STREAMS_MAX 128         /* concurrent calls of one connection */
#define PB_HEADER_LIST_BYTES 16384 /* of one request */

struct pb_conn;

struct pb_call {
    const struct pb_method *method;
    enum pb_method_id id;
    void *user;     /* the handler's own */
    void *conn_ctx; /* as given to pb_conn_new */
};

struct pb_handler {
    /* A request, valid during the call only: the one of UNARY and SERVER_STREAM, each of the others. */
    void (*message)(struct pb_call *c, const ProtobufCMessage *m);
    /* CLIENT_STREAM, BIDI: the requests ended. */
    void (*half_close)(struct pb_call *c);
    /* SERVER_STREAM, BIDI: the peer can take a response: send at most one, or none and pb_call_wake() later. */
    void (*pull)(struct pb_call *c);
    /* Rule (2). */
    void (*gone)(struct pb_call *c);
};

struct pb_conn_ops {
    const struct pb_handler *handlers; /* PB_METHOD_COUNT of them, by pb_method_id */
    void (*wake)(void *conn_ctx);
    /* A call of a known method ended, however it did, with this gRPC status. NULL: nobody counts. */
    void (*ended)(void *conn_ctx, enum pb_method_id method, int status);
};

res_t pb_conn_new(const struct pb_conn_ops *ops, void *conn_ctx, struct pb_conn **conn,
                  struct err *err);
void pb_conn_free(struct pb_conn *conn);
/* Fails: ERR_BAD_MESSAGE: not HTTP/2, or abuse; send what is left and close. */
res_t pb_conn_recv(struct pb_conn *conn, const void *p, size_t n, struct err *err);
/* Append to out until it holds about `enough` bytes. */
res_t pb_conn_send(struct pb_conn *conn, struct buf *out, size_t enough, struct err *err);
/* Nothing more to say or to hear: close it. */
bool pb_conn_done(const struct pb_conn *conn);
/* No new calls (GOAWAY); those under way go on. */
void pb_conn_drain(struct pb_conn *conn);
/* The earliest deadline of its calls (os_now_ns clock), UINT64_MAX: none. */
uint64_t pb_conn_deadline(const struct pb_conn *conn);
/* End the calls whose deadline has passed. */
void pb_conn_expire(struct pb_conn *conn, uint64_t now_ns);
unsigned pb_conn_calls(const struct pb_conn *conn);

/* Queue one response message. */
void pb_call_send(struct pb_call *c, const ProtobufCMessage *m);
/* End the call with a status, after what was queued: OK if err is NULL, else err's code and text. */
void pb_call_finish(struct pb_call *c, const struct err *err);
/* pb_call_send, pb_call_finish with OK. */
void pb_call_reply(struct pb_call *c, const ProtobufCMessage *m);
/* There may be something for pull() again. */
void pb_call_wake(struct pb_call *c);
/* Stop and go on delivering requests; a paused peer fills its window, then waits. */
void pb_call_pause(struct pb_call *c);
void pb_call_resume(struct pb_call *c);

#endif
