/*
 * proto/server.h - the server's side of gRPC over HTTP/2, without a socket: bytes in, bytes out.
 *
 * Looks into: base.  Used by: daemon/manager (which owns sockets, TLS and the loop), tests, fuzzers.
 *
 * A connection is fed what the peer sent (pb_conn_recv) and asked for what to send (pb_conn_send). A call
 * belongs to its connection. Handlers are told of requests; they answer at once or later.
 *
 * Rules:
 *  (1) Nothing grows without bound. Received: one message of at most request_bytes_max per call,
 *      PB_HELD_BYTES_MAX of all calls' that are not whole, and one HTTP/2 window. To be sent: what a handler gave with pb_call_send; a stream's handler gives at most one
 *      message per pull(), and pull() comes only when the peer's window has room.
 *  (2) A call that its handler finished (pb_call_finish, pb_call_reply) is dead for the handler. A call that
 *      ends any other way (cancelled, deadline, connection lost, protocol error) gets one gone().
 *  (3) Nothing is sent from inside the functions below but pb_conn_send; wake() says when that has work.
 *  (4) A peer that is slow or floods pays alone: what has to come in time has a time (pb_conn_times), frames that carry
 *      no call have a rate. Its calls end with one gone() each, as if it had left.
 *
 * Health and reflection (standard.h) are answered here, without the handlers below.
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
#define PB_HELD_BYTES_MAX \
    (4u                   \
     << 20) /* of requests that are not whole yet, in one connection; one call may always have its own */
#define PB_HEADER_TABLE_BYTES 1024 /* what a peer may let us remember of its headers */
/* Streams a peer resets, and other frames without a call's data (PING, SETTINGS, WINDOW_UPDATE, PRIORITY, empty DATA): so many at
 * once, so many per second. The latter are counted from our last response, because clients probe the line while data flows. */
#define PB_RESETS_BURST 1000
#define PB_RESETS_PER_SECOND 100
#define PB_CONTROL_BURST 1000
#define PB_CONTROL_PER_SECOND 100

struct pb_conn;

struct pb_call {
    const struct pb_method *method;
    enum pb_method_id id;
    void *user;     /* the handler's own */
    void *conn_ctx; /* as given to pb_conn_new */
    struct pb_health *health;
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

/* What is not in time ends the connection, or the call. 0: no limit. */
struct pb_conn_times {
    uint64_t greeting_ns; /* from the connection to the end of the peer's preface */
    uint64_t
        request_ns; /* from a call's first byte to the end of its header, or of a request that is one message */
    uint64_t ping_after_ns;  /* a peer with calls that says nothing so long is sent a PING */
    uint64_t ping_answer_ns; /* it has so long to say anything */
    uint64_t idle_ns;        /* without a call; then GOAWAY */
};

#define PB_STATUS_COUNT 17 /* of gRPC */

/* Calls that ended, by method (the last: no such method) and status; a client that left counts as CANCELLED. */
struct pb_counts {
    uint64_t calls[PB_METHOD_ALL_COUNT + 1][PB_STATUS_COUNT];
};

struct pb_conn_ops {
    const struct pb_handler *handlers; /* PB_METHOD_COUNT of them, by pb_method_id */
    void (*wake)(void *conn_ctx);
    struct pb_health *health; /* NULL: everything serves */
    struct pb_conn_times times;
    struct pb_counts *counts; /* NULL: nobody counts */
};

res_t pb_conn_new(const struct pb_conn_ops *ops, void *conn_ctx, struct pb_conn **conn,
                  struct err *err);
void pb_conn_free(struct pb_conn *conn);
/* Every call ends with this error (copied), as it begins: the peer is not welcome and shall know
 * why. It is let go after the first call, or soon. Fails: ERR_NO_MEMORY. */
res_t pb_conn_refuse(struct pb_conn *conn, const struct err *why, struct err *err);
/* Fails: ERR_BAD_MESSAGE: not HTTP/2; ERR_LIMIT: a flood. Send what is left and close. */
res_t pb_conn_recv(struct pb_conn *conn, const void *p, size_t n, struct err *err);
/* Append to out until it holds about `enough` bytes. */
res_t pb_conn_send(struct pb_conn *conn, struct buf *out, size_t enough, struct err *err);
/* Nothing more to say or to hear: close it. */
bool pb_conn_done(const struct pb_conn *conn);
/* No new calls (GOAWAY); those under way go on. */
void pb_conn_drain(struct pb_conn *conn);
/* When pb_conn_expire has something to do (os_now_ns clock), UINT64_MAX: never. It may change with every function here. */
uint64_t pb_conn_deadline(const struct pb_conn *conn);
/* End the calls whose deadline has passed, ask the peer whether it is there, let it go if idle. False: it is not there, or never
 * began in earnest: close it without a word. */
bool pb_conn_expire(struct pb_conn *conn, uint64_t now_ns);
unsigned pb_conn_calls(const struct pb_conn *conn);

/* Queue one response message. */
void pb_call_send(struct pb_call *c, const ProtobufCMessage *m);
/* End the call with a status, after what was queued: OK if err is NULL, else err's code, text and details. */
void pb_call_finish(struct pb_call *c, const struct err *err);
/* pb_call_send, pb_call_finish with OK. */
void pb_call_reply(struct pb_call *c, const ProtobufCMessage *m);
/* There may be something for pull() again. */
void pb_call_wake(struct pb_call *c);
/* Stop and go on delivering requests; a paused peer fills its window, then waits. */
void pb_call_pause(struct pb_call *c);
void pb_call_resume(struct pb_call *c);

#endif
