#include "proto/server.h"
#include "engine/base/os.h"
#include "proto/call.h"
#include "proto/details.h"
#include "proto/message.h"
#include "proto/standard.h"
#include "proto/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void wake(struct pb_conn *conn)
{
    conn->ops->wake(conn->ctx);
}

static const struct pb_handler *handler_of(const struct call *c)
{
    return c->pub.id < PB_METHOD_COUNT ? &c->conn->ops->handlers[c->pub.id]
                                       : &pb_standard_handlers[c->pub.id - PB_METHOD_COUNT];
}

/* ---- responses ---- */

#define STATUS_NVS 3

/* The status as headers; how many. number lives until they are submitted. */
static size_t status_headers(const struct call *c, char number[12], nghttp2_nv nv[STATUS_NVS])
{
    size_t n = 0;
    snprintf(number, 12, "%d", c->status);
    nv[n++] = PB_NV("grpc-status", number);
    if (c->message)
        nv[n++] = PB_NV_ONCE("grpc-message", c->message);
    if (c->details)
        nv[n++] = PB_NV_ONCE("grpc-status-details-bin", c->details);
    return n;
}

static void submit_trailers(struct call *c)
{
    char number[12];
    nghttp2_nv nv[STATUS_NVS];
    nghttp2_submit_trailer(c->conn->h2, c->stream, nv, status_headers(c, number, nv));
}

/* nghttp2 has room in the peer's window for `length` bytes of this stream. */
static ssize_t read_response(nghttp2_session *h2, int32_t stream, uint8_t *to, size_t length,
                             uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct call *c = source->ptr;
    (void)h2, (void)stream, (void)user;
    if (c->out_at == c->out.len) {
        c->out.len = c->out_at = 0;
        if (!c->finished && c->accepted && handler_of(c)->pull)
            handler_of(c)->pull(&c->pub);
    }
    if (c->out.failed)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t n = MIN(length, c->out.len - c->out_at);
    if (n)
        memcpy(to, c->out.data + c->out_at, n);
    c->out_at += n;
    if (c->out_at == c->out.len && c->finished) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        submit_trailers(c);
        return (ssize_t)n;
    }
    if (n == 0) {
        c->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)n;
}

/* Something changed on the sending side. A stream that has not deferred is asked anyway, once its windows and the socket have
 * room: a thousand readers that never read are not looked at for each byte that comes for them. */
static void kick(struct call *c)
{
    if (!c->headers_sent) {
        c->headers_sent = true;
        if (c->finished && c->out.len == 0) { /* "Trailers-Only" */
            char number[12];
            nghttp2_nv nv[2 + STATUS_NVS] = {PB_NV(":status", "200"),
                                             PB_NV("content-type", "application/grpc")};
            nghttp2_submit_response(c->conn->h2, c->stream, nv,
                                    2 + status_headers(c, number, nv + 2), NULL);
        } else {
            nghttp2_nv nv[2] = {PB_NV(":status", "200"), PB_NV("content-type", "application/grpc")};
            nghttp2_data_provider provider = {.source.ptr = c, .read_callback = read_response};
            nghttp2_submit_response(c->conn->h2, c->stream, nv, 2, &provider);
        }
    } else if (c->deferred) {
        c->deferred = false;
        nghttp2_session_resume_data(c->conn->h2, c->stream);
    } else {
        return;
    }
    wake(c->conn);
}

void pb_call_send(struct pb_call *pub, const ProtobufCMessage *m)
{
    struct call *c = CALL(pub);
    ASSERT(!c->finished && m->descriptor == pub->method->response);
    pb_pack_grpc(&c->out, m);
    kick(c);
}

static void give_back_window(struct call *c)
{
    if (c->unconsumed) {
        nghttp2_session_consume_stream(c->conn->h2, c->stream, c->unconsumed);
        c->unconsumed = 0;
        wake(c->conn);
    }
}

/* Keep count of what waits in c->in. */
static void count_held(struct call *c)
{
    size_t left = c->finished ? 0 : pb_splitter_left(&c->in);
    c->conn->held += left - c->held;
    c->held = left;
}

static void count_call(const struct call *c, int status)
{
    struct pb_counts *counts = c->conn->ops->counts;
    if (counts && status >= 0 && status < PB_STATUS_COUNT)
        counts->calls[c->pub.id][status]++;
}

/* What trailers carry, beside the number. Without memory for it the number must do. */
static void explain(struct call *c, const struct err *err)
{
    struct buf details = {0};
    char text[sizeof err->text];
    size_t cap = 3 * strlen(err->text) + 1;
    memcpy(text, err->text, sizeof text);
    pb_utf8_clean(text);
    if (text[0] && (c->message = malloc(cap)))
        pb_percent_encode(c->message, cap, text);
    pb_details_encode(&details, err);
    buf_put_u8(&details, 0);
    if (details.failed)
        buf_fini(&details);
    c->details = (char *)details.data;
}

/* err NULL: OK. */
static void finish(struct call *c, const struct err *err)
{
    ASSERT(!c->finished);
    c->finished = true;
    count_held(c);
    c->status = err ? err_grpc(err->code) : 0;
    count_call(c, c->status);
    if (err)
        explain(c, err);
    give_back_window(c);
    kick(c);
}

void pb_call_finish(struct pb_call *pub, const struct err *err)
{
    finish(CALL(pub), err);
}

void pb_call_reply(struct pb_call *pub, const ProtobufCMessage *m)
{
    pb_call_send(pub, m);
    pb_call_finish(pub, NULL);
}

void pb_call_wake(struct pb_call *pub)
{
    struct call *c = CALL(pub);
    if (!c->finished)
        kick(c);
}

/* The end of a call that is not its handler's doing: rule (2). */
static void abandon(struct call *c)
{
    if (c->accepted && !c->finished)
        handler_of(c)->gone(&c->pub);
}

void pb_call_fail(struct call *c, const struct err *err)
{
    abandon(c);
    finish(c, err);
}

/* ---- requests ---- */

static res_code_t deliver_one(struct call *c, const uint8_t *p, size_t n, struct err *err)
{
    struct pb_conn *conn = c->conn;
    const ProtobufCMessage *m;
    struct arena own, *arena = &conn->arena;
    bool nested = conn->arena_busy; /* a handler made another call of this connection go on */
    if (nested)
        arena_init(arena = &own, 0);
    arena->limit_bytes = PB_ARENA_BYTES(n);
    conn->arena_busy = true;
    res_code_t res = pb_unpack(c->pub.method->request, arena, p, n, &m, err);
    if (!res)
        handler_of(c)->message(&c->pub, m);
    if (nested) {
        arena_fini(&own);
    } else {
        conn->arena_busy = false;
        arena_fini(arena); /* an idle connection keeps no memory for messages */
    }
    return res;
}

/* Hand on what is whole. A request of UNARY and SERVER_STREAM is whole when the stream has ended. */
static void deliver(struct call *c)
{
    bool streams = pb_streams_requests(c->pub.method->kind);
    struct err err;
    if (c->delivering) /* a handler resumed itself: the loop below goes on */
        return;
    c->delivering = true;
    while (!c->finished && !c->paused && (streams || c->ended_in)) {
        bool got;
        const uint8_t *p;
        size_t n;
        res_code_t res = pb_splitter_next(&c->in, &got, &p, &n, &err);
        if (!res && !streams && got && pb_splitter_left(&c->in))
            res = err_set(&err, ERR_BAD_MESSAGE, "%s takes one message", c->pub.method->name);
        if (!res && !got && c->ended_in &&
            (pb_splitter_left(&c->in) || (!streams && c->messages == 0)))
            res = err_set(&err, ERR_BAD_MESSAGE, "%s: the request ended inside a message",
                          c->pub.method->name);
        if (!res && got) {
            c->messages++;
            res = deliver_one(c, p, n, &err);
        }
        if (res)
            pb_call_fail(c, &err);
        else if (!got)
            break;
        else if (!streams)
            break;
    }
    c->delivering = false;
    count_held(c);
    if (c->finished || c->paused)
        return;
    give_back_window(c);
    if (streams && c->ended_in && !c->told_half_close) {
        c->told_half_close = true;
        handler_of(c)->half_close(&c->pub);
    }
}

void pb_call_pause(struct pb_call *pub)
{
    CALL(pub)->paused = true;
}

void pb_call_resume(struct pb_call *pub)
{
    struct call *c = CALL(pub);
    if (c->paused) {
        c->paused = false;
        deliver(c);
    }
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t stream, const uint8_t *p, size_t n,
                   void *user)
{
    (void)flags, (void)user;
    struct call *c = nghttp2_session_get_stream_user_data(h2, stream);
    struct err err;
    nghttp2_session_consume_connection(h2, n);
    if (!c || c->finished || !c->accepted) {
        nghttp2_session_consume_stream(h2, stream, n);
        return 0;
    }
    c->unconsumed += n;
    if (!pb_streams_requests(c->pub.method->kind) &&
        pb_splitter_left(&c->in) + n > c->pub.method->request_bytes_max + 5) {
        err_set(&err, ERR_LIMIT, "%s: request of more than %zu bytes", c->pub.method->name,
                c->pub.method->request_bytes_max);
        pb_call_fail(c, &err);
        return 0;
    }
    if (pb_splitter_put(&c->in, p, n, &err) || pb_splitter_check(&c->in, &err)) {
        pb_call_fail(c, &err);
        return 0;
    }
    deliver(c);
    if (!c->finished && c->conn->held > PB_HELD_BYTES_MAX && c->held < c->conn->held) {
        err_set(&err, ERR_LIMIT, "%u bytes of unfinished requests in one connection",
                PB_HELD_BYTES_MAX);
        err_explain(&err, "REQUESTS_UNFINISHED", NULL, NULL, "finish one call's request first");
        pb_call_fail(c, &err);
    }
    return 0;
}

/* ---- headers ---- */

static int on_begin_headers(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    struct pb_conn *conn = user;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct call *c = calloc(1, sizeof *c);
    if (!c)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    c->conn = conn;
    c->stream = frame->hd.stream_id;
    c->pub.id = PB_METHOD_ALL_COUNT;
    c->pub.conn_ctx = conn->ctx;
    c->pub.health = conn->ops->health;
    pb_limits_call_begins(c);
    list_append(&conn->calls, &c->link);
    conn->call_count++;
    nghttp2_session_set_stream_user_data(h2, c->stream, c);
    return 0;
}

static bool header_is(const uint8_t *p, size_t n, const char *s)
{
    return strlen(s) == n && !memcmp(p, s, n);
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    (void)flags, (void)user;
    struct call *c = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
    if (!c)
        return 0;
    c->header_bytes += name_n + value_n + 32;
    if (c->header_bytes > PB_HEADER_LIST_BYTES)
        return 0; /* begin_call() refuses it */
    if (header_is(name, name_n, ":path")) {
        c->pub.id = pb_method_find((const char *)value, value_n);
        c->pub.method = c->pub.id < PB_METHOD_ALL_COUNT ? &pb_methods[c->pub.id] : NULL;
    } else if (header_is(name, name_n, ":method")) {
        c->post = header_is(value, value_n, "POST");
    } else if (header_is(name, name_n, "content-type")) {
        c->content_type_ok = value_n >= 16 && !memcmp(value, "application/grpc", 16) &&
                             (value_n == 16 || value[16] == '+' || value[16] == ';');
    } else if (header_is(name, name_n, "grpc-timeout")) {
        uint64_t ns;
        if (pb_timeout_parse((const char *)value, value_n, &ns, NULL))
            c->timeout_bad = true;
        else
            c->deadline_ns = os_now_ns() + ns;
    }
    return 0;
}

static void refuse_http(struct call *c, const char *http_status)
{
    nghttp2_nv nv[1] = {PB_NV(":status", http_status)};
    c->finished = c->headers_sent = true;
    nghttp2_submit_response(c->conn->h2, c->stream, nv, 1, NULL);
    wake(c->conn);
}

static bool served(const struct call *c)
{
    return c->pub.method && handler_of(c)->message;
}

/* Why the daemon does not take this call. */
static res_code_t check_call(const struct call *c, struct err *err)
{
    const struct pb_conn *conn = c->conn;
    if (conn->refusal) {
        *err = *conn->refusal;
        return FAIL;
    }
    if (c->header_bytes > PB_HEADER_LIST_BYTES)
        return err_set(err, ERR_LIMIT, "headers of more than %d bytes", PB_HEADER_LIST_BYTES),
               err_explain(err, "HEADERS_TOO_LONG", NULL, NULL, "send less metadata");
    if (!served(c))
        return err_set(err, ERR_UNIMPLEMENTED, "no such method"),
               err_explain(err, "METHOD_UNKNOWN", NULL, NULL,
                           "reflection lists the methods; the daemon may be older than its client");
    if (c->timeout_bad)
        return err_set(err, ERR_INVALID, "malformed grpc-timeout"),
               err_explain(err, "TIMEOUT_MALFORMED", NULL, NULL,
                           "1 to 8 digits and one of H M S m u n");
    if (conn->draining)
        return err_set(err, ERR_UNAVAILABLE, "the daemon is shutting down"),
               err_explain(err, "DRAINING", NULL, NULL, "try again when it is back");
    return OK;
}

static void begin_call(struct call *c)
{
    struct pb_conn *conn = c->conn;
    struct err err;
    c->headers_in = true;
    if (!c->post) {
        refuse_http(c, "405");
    } else if (!c->content_type_ok) {
        refuse_http(c, "415");
    } else if (check_call(c, &err)) {
        finish(c, &err);
        if (conn->refusal)
            pb_conn_drain(conn); /* it was told */
    } else {
        pb_splitter_init(&c->in, PB_FRAMING_GRPC, c->pub.method->request_bytes_max);
        c->accepted = true;
        pb_limits_call_accepted(c);
    }
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    pb_limits_frame(user, frame);
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct call *c = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
    if (!c)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        begin_call(c);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        c->ended_in = true;
        if (c->accepted && !c->finished)
            deliver(c);
    }
    return 0;
}

/* After the trailers the peer need not send more: free the stream at once. */
static int on_frame_sent(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    if (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA)
        pb_limits_sent(user);
    if (frame->hd.type == NGHTTP2_HEADERS && frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
        nghttp2_session_get_stream_remote_close(h2, frame->hd.stream_id) == 0)
        nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    return 0;
}

static void free_call(struct call *c)
{
    abandon(c);
    if (c->accepted && !c->finished)
        count_call(c, err_grpc(ERR_CANCELLED));
    c->finished = true;
    count_held(c);
    list_remove(&c->link);
    c->conn->call_count--;
    pb_limits_call_ended(c->conn);
    free(c->message);
    free(c->details);
    pb_splitter_fini(&c->in);
    buf_fini(&c->out);
    free(c);
}

static int on_stream_close(nghttp2_session *h2, int32_t stream, uint32_t code, void *user)
{
    (void)code, (void)user;
    struct call *c = nghttp2_session_get_stream_user_data(h2, stream);
    if (c) {
        nghttp2_session_set_stream_user_data(h2, stream, NULL);
        free_call(c);
    }
    return 0;
}

/* ---- connections ---- */

static void set_callbacks(nghttp2_session_callbacks *cb)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
}

res_t pb_conn_new(const struct pb_conn_ops *ops, void *conn_ctx, struct pb_conn **out,
                  struct err *err)
{
    struct pb_conn *conn = calloc(1, sizeof *conn);
    nghttp2_session_callbacks *cb = NULL;
    nghttp2_option *opt = NULL;
    if (!conn || nghttp2_session_callbacks_new(&cb) || nghttp2_option_new(&opt))
        goto no_memory;
    list_init(&conn->calls);
    conn->ops = ops;
    conn->ctx = conn_ctx;
    arena_init(&conn->arena, 0);
    pb_limits_init(conn);
    set_callbacks(cb);
    nghttp2_option_set_no_auto_window_update(opt, 1);
    nghttp2_option_set_no_closed_streams(opt, 1);
    nghttp2_option_set_max_outbound_ack(opt, 256);
    nghttp2_option_set_max_deflate_dynamic_table_size(opt, PB_HEADER_TABLE_BYTES);
    /* limits.c counts resets and says what happened; the library's own count stands behind it */
    nghttp2_option_set_stream_reset_rate_limit(opt, 4 * PB_RESETS_BURST, 4 * PB_RESETS_PER_SECOND);
    if (nghttp2_session_server_new2(&conn->h2, cb, conn, opt))
        goto no_memory;
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, PB_STREAMS_MAX},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, PB_HEADER_LIST_BYTES},
        {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, PB_HEADER_TABLE_BYTES},
    };
    nghttp2_submit_settings(conn->h2, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings));
    nghttp2_session_callbacks_del(cb);
    nghttp2_option_del(opt);
    *out = conn;
    return OK;
no_memory:
    nghttp2_session_callbacks_del(cb);
    nghttp2_option_del(opt);
    free(conn);
    return err_set(err, ERR_NO_MEMORY, "no memory for a connection");
}

void pb_conn_free(struct pb_conn *conn)
{
    if (!conn)
        return;
    list_for_each_safe(l, &conn->calls) free_call(list_entry(l, struct call, link));
    nghttp2_session_del(conn->h2);
    arena_fini(&conn->arena);
    free(conn->refusal);
    free(conn);
}

res_t pb_conn_refuse(struct pb_conn *conn, const struct err *why, struct err *err)
{
    if (!conn->refusal && !(conn->refusal = malloc(sizeof *conn->refusal)))
        return err_set(err, ERR_NO_MEMORY, "no memory to refuse a connection");
    *conn->refusal = *why;
    pb_limits_refused(conn);
    return OK;
}

res_t pb_conn_recv(struct pb_conn *conn, const void *p, size_t n, struct err *err)
{
    pb_limits_heard(conn);
    ssize_t took = nghttp2_session_mem_recv(conn->h2, p, n);
    wake(conn);
    if (took < 0)
        return err_set(err, ERR_BAD_MESSAGE, "HTTP/2: %s", nghttp2_strerror((int)took));
    if (conn->flood)
        return err_set(err, ERR_LIMIT, "HTTP/2: a flood of %s", conn->flood);
    return OK;
}

res_t pb_conn_send(struct pb_conn *conn, struct buf *out, size_t enough, struct err *err)
{
    return pb_h2_send(conn->h2, out, enough, err);
}

bool pb_conn_done(const struct pb_conn *conn)
{
    return !nghttp2_session_want_read(conn->h2) && !nghttp2_session_want_write(conn->h2);
}

void pb_conn_drain(struct pb_conn *conn)
{
    if (!conn->draining) {
        conn->draining = true;
        nghttp2_submit_goaway(conn->h2, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(conn->h2), NGHTTP2_NO_ERROR,
                              NULL, 0);
        wake(conn);
    }
}

unsigned pb_conn_calls(const struct pb_conn *conn)
{
    return conn->call_count;
}
