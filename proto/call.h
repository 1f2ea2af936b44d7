/*
 * proto/call.h - a server's connection and its calls, inside this room: server.c moves messages, limits.c times and floods.
 * Looks into: base.  Used by: proto.  Thread: the connection's.
 */
#ifndef PROTO_CALL_H
#define PROTO_CALL_H

#include "engine/base/arena.h"
#include "engine/base/base.h"
#include "proto/frame.h"
#include "proto/h2.h"
#include "proto/server.h"

struct call {
    struct pb_call pub;
    struct pb_conn *conn;
    struct list link; /* conn->calls */
    int32_t stream;
    /* requests */
    struct pb_splitter in;
    size_t held;       /* bytes in `in`, as counted in conn->held */
    size_t unconsumed; /* bytes of the stream's window not given back yet */
    size_t header_bytes;
    unsigned messages;
    bool post, content_type_ok, timeout_bad;
    bool headers_in; /* the request's header block is complete */
    bool accepted;   /* the handler knows of it */
    bool paused, ended_in, told_half_close;
    bool delivering;
    uint64_t deadline_ns;
    uint64_t
        whole_by_ns; /* until when the request must be here; UINT64_MAX: it is, or may take its time */
    /* responses */
    struct buf out;
    size_t out_at;
    bool headers_sent, deferred, finished;
    int status;
    char *message, *details; /* trailers; NULL: none, or no memory for them */
};

/* So many at once, so many per second. */
struct bucket {
    uint32_t left;
    uint64_t since_ns;
};

struct pb_conn {
    nghttp2_session *h2;
    const struct pb_conn_ops *ops;
    void *ctx;
    struct list calls;
    unsigned call_count;
    size_t held;        /* bytes of requests that wait for their rest, or for their handler */
    struct arena arena; /* of the message being delivered */
    bool arena_busy;    /* a handler is looking into it */
    bool draining;
    bool greeted;        /* the peer's SETTINGS came */
    struct err *refusal; /* what every call ends with; NULL: the peer is welcome */
    /* limits.c */
    uint64_t deadline_ns; /* not later than the first thing to do */
    uint64_t began_ns, heard_ns,
        idle_ns;        /* the beginning, the last bytes that came, the end of the last call */
    uint64_t pinged_ns; /* a PING waits for an answer since then; 0: none */
    uint64_t linger_until_ns; /* idle or not welcome: it has until then to take note; 0: not */
    struct bucket resets, control;
    const char *flood; /* what there was too much of; NULL: nothing */
};

#define CALL(c) container_of(c, struct call, pub)

static inline void pb_conn_note(struct pb_conn *conn, uint64_t at_ns)
{
    conn->deadline_ns = MIN(conn->deadline_ns, at_ns);
}

/* End a call for a reason that is not its handler's. */
void pb_call_fail(struct call *c, const struct err *err);

void pb_limits_init(struct pb_conn *conn);
/* Bytes came. */
void pb_limits_heard(struct pb_conn *conn);
/* A frame came whole. May end the session (conn->flood). */
void pb_limits_frame(struct pb_conn *conn, const nghttp2_frame *frame);
/* A frame with a response was sent: a peer that works with us may talk more. */
void pb_limits_sent(struct pb_conn *conn);
void pb_limits_call_begins(struct call *c);
void pb_limits_call_accepted(struct call *c);
void pb_limits_call_ended(struct pb_conn *conn);
/* The peer is not welcome: it need not stay. */
void pb_limits_refused(struct pb_conn *conn);

#endif
