#include "proto/client.h"
#include "engine/base/arena.h"
#include "engine/base/base.h"
#include "proto/details.h"
#include "proto/frame.h"
#include "proto/h2.h"
#include "proto/message.h"
#include "proto/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESPONSE_BYTES_MAX \
    ((size_t)64 << 20) /* a list of all guests; the server is trusted more than that */
#define WINDOW_BYTES (256 * 1024)

struct pb_rpc {
    struct pb_client *client;
    const struct pb_method *method;
    struct pb_method by_path; /* method, of a call begun by its path */
    const struct pb_rpc_ops *ops;
    void *ctx;
    struct list link;
    int32_t stream;
    struct pb_splitter in;
    size_t unconsumed;
    bool paused, delivering, closed, have_status;
    int http_status, status;
    char text[sizeof((struct err *)0)->text];
    struct buf details; /* grpc-status-details-bin, as it came */
    struct err broken;  /* .code != ERR_OK: our own trouble with the responses */
    struct buf out;
    size_t out_at;
    bool half_closed, deferred;
};

struct pb_client {
    nghttp2_session *h2;
    struct list rpcs;
    struct arena arena;
};

static void end_rpc(struct pb_rpc *r, const struct err *why)
{
    struct err err;
    list_remove(&r->link);
    if (!why && r->broken.code != ERR_OK) {
        why = &r->broken;
    } else if (!why && !r->have_status) {
        err_set(&err, ERR_UNAVAILABLE, "the daemon ended the call without a status (HTTP %d)",
                r->http_status);
        why = &err;
    } else if (!why && r->status != 0) {
        err_set(&err, pb_status_err(r->status), "%s",
                r->text[0] ? r->text : pb_status_name(r->status));
        pb_details_decode((const char *)r->details.data, r->details.len, &err);
        why = &err;
    }
    r->ops->done(r->ctx, why);
    pb_splitter_fini(&r->in);
    buf_fini(&r->details);
    buf_fini(&r->out);
    free(r);
}

static ssize_t read_request(nghttp2_session *h2, int32_t stream, uint8_t *to, size_t length,
                            uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct pb_rpc *r = source->ptr;
    (void)h2, (void)stream, (void)user;
    if (r->out.failed)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t n = MIN(length, r->out.len - r->out_at);
    if (n)
        memcpy(to, r->out.data + r->out_at, n);
    r->out_at += n;
    if (r->out_at == r->out.len) {
        r->out.len = r->out_at = 0;
        if (r->half_closed) {
            *flags |= NGHTTP2_DATA_FLAG_EOF;
            return (ssize_t)n;
        }
        if (n == 0) {
            r->deferred = true;
            return NGHTTP2_ERR_DEFERRED;
        }
    }
    return (ssize_t)n;
}

static void kick(struct pb_rpc *r)
{
    if (r->deferred) {
        r->deferred = false;
        nghttp2_session_resume_data(r->client->h2, r->stream);
    }
}

void pb_rpc_send(struct pb_rpc *r, const ProtobufCMessage *m)
{
    ASSERT(!r->half_closed && m->descriptor == r->method->request);
    if (r->out_at > 65536) {
        buf_drop_front(&r->out, r->out_at);
        r->out_at = 0;
    }
    pb_pack_grpc(&r->out, m);
    kick(r);
}

void pb_rpc_send_bytes(struct pb_rpc *r, const void *p, size_t n)
{
    ASSERT(!r->half_closed && n < UINT32_MAX);
    buf_put_u8(&r->out, 0); /* not compressed */
    buf_put_u32(&r->out, __builtin_bswap32((uint32_t)n));
    if (n)
        buf_put(&r->out, p, n);
    kick(r);
}

void pb_rpc_half_close(struct pb_rpc *r)
{
    r->half_closed = true;
    kick(r);
}

size_t pb_rpc_queued(const struct pb_rpc *r)
{
    return r->out.len - r->out_at;
}

static void deliver(struct pb_rpc *r)
{
    struct pb_client *client = r->client;
    if (r->delivering)
        return;
    r->delivering = true;
    while (!r->paused && r->broken.code == ERR_OK) {
        bool got;
        const uint8_t *p;
        size_t n;
        const ProtobufCMessage *m;
        if (pb_splitter_next(&r->in, &got, &p, &n, &r->broken) || !got)
            break;
        if (r->ops->bytes) {
            r->ops->bytes(r->ctx, p, n);
            continue;
        }
        client->arena.limit_bytes = PB_ARENA_BYTES(n);
        if (!pb_unpack(r->method->response, &client->arena, p, n, &m, &r->broken))
            r->ops->message(r->ctx, m);
        arena_reset(&client->arena);
    }
    r->delivering = false;
    if (r->paused)
        return;
    if (r->unconsumed && !r->closed)
        nghttp2_session_consume_stream(client->h2, r->stream, r->unconsumed);
    r->unconsumed = 0;
    if (r->broken.code != ERR_OK && !r->closed)
        nghttp2_submit_rst_stream(client->h2, NGHTTP2_FLAG_NONE, r->stream, NGHTTP2_CANCEL);
    if (r->closed)
        end_rpc(r, NULL);
}

void pb_rpc_pause(struct pb_rpc *r)
{
    r->paused = true;
}

void pb_rpc_resume(struct pb_rpc *r)
{
    if (r->paused) {
        r->paused = false;
        deliver(r);
    }
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t stream, const uint8_t *p, size_t n,
                   void *user)
{
    (void)flags, (void)user;
    struct pb_rpc *r = nghttp2_session_get_stream_user_data(h2, stream);
    nghttp2_session_consume_connection(h2, n);
    if (!r || r->broken.code != ERR_OK) {
        nghttp2_session_consume_stream(h2, stream, n);
        return 0;
    }
    r->unconsumed += n;
    if (!pb_splitter_put(&r->in, p, n, &r->broken))
        deliver(r);
    return 0;
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    (void)flags, (void)user;
    struct pb_rpc *r = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
    char number[8] = "";
    if (!r)
        return 0;
    memcpy(number, value, MIN(value_n, sizeof number - 1));
    if (name_n == 7 && !memcmp(name, ":status", 7)) {
        r->http_status = atoi(number);
    } else if (name_n == 11 && !memcmp(name, "grpc-status", 11)) {
        r->status = atoi(number);
        r->have_status = true;
    } else if (name_n == 12 && !memcmp(name, "grpc-message", 12)) {
        pb_percent_decode(r->text, sizeof r->text, (const char *)value, value_n);
    } else if (name_n == 23 && !memcmp(name, "grpc-status-details-bin", 23)) {
        r->details.len = 0;
        buf_put(&r->details, value, value_n);
    }
    return 0;
}

static int on_stream_close(nghttp2_session *h2, int32_t stream, uint32_t code, void *user)
{
    (void)code, (void)user;
    struct pb_rpc *r = nghttp2_session_get_stream_user_data(h2, stream);
    if (!r)
        return 0;
    nghttp2_session_set_stream_user_data(h2, stream, NULL);
    r->closed = true;
    if (!r->paused && !r->delivering)
        end_rpc(r, NULL);
    return 0;
}

res_t pb_client_new(struct pb_client **out, struct err *err)
{
    struct pb_client *client = calloc(1, sizeof *client);
    nghttp2_session_callbacks *cb = NULL;
    nghttp2_option *opt = NULL;
    if (!client || nghttp2_session_callbacks_new(&cb) || nghttp2_option_new(&opt))
        goto no_memory;
    list_init(&client->rpcs);
    arena_init(&client->arena, 0);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_option_set_no_auto_window_update(opt, 1);
    if (nghttp2_session_client_new2(&client->h2, cb, client, opt))
        goto no_memory;
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES},
    };
    nghttp2_submit_settings(client->h2, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings));
    nghttp2_session_set_local_window_size(client->h2, NGHTTP2_FLAG_NONE, 0, 4 * WINDOW_BYTES);
    nghttp2_session_callbacks_del(cb);
    nghttp2_option_del(opt);
    *out = client;
    return OK;
no_memory:
    nghttp2_session_callbacks_del(cb);
    nghttp2_option_del(opt);
    free(client);
    return err_set(err, ERR_NO_MEMORY, "no memory for a connection");
}

void pb_client_lost(struct pb_client *client, const struct err *why)
{
    list_for_each_safe(l, &client->rpcs)
    {
        struct pb_rpc *r = list_entry(l, struct pb_rpc, link);
        nghttp2_session_set_stream_user_data(client->h2, r->stream, NULL);
        end_rpc(r, why);
    }
}

void pb_client_free(struct pb_client *client)
{
    struct err err;
    if (!client)
        return;
    err_set(&err, ERR_CANCELLED, "cancelled");
    pb_client_lost(client, &err);
    nghttp2_session_del(client->h2);
    arena_fini(&client->arena);
    free(client);
}

res_t pb_client_recv(struct pb_client *client, const void *p, size_t n, struct err *err)
{
    ssize_t took = nghttp2_session_mem_recv(client->h2, p, n);
    if (took < 0)
        return err_set(err, ERR_UNAVAILABLE, "the daemon does not speak gRPC: %s",
                       nghttp2_strerror((int)took));
    return OK;
}

res_t pb_client_send(struct pb_client *client, struct buf *out, size_t enough, struct err *err)
{
    return pb_h2_send(client->h2, out, enough, err);
}

/* Of method, or, where that is NULL, of path. */
static res_code_t start(struct pb_client *client, const struct pb_method *method, const char *path,
                        const struct pb_rpc_ops *ops, void *ctx, uint64_t timeout_ns,
                        struct pb_rpc **out, struct err *err)
{
    char timeout[16];
    struct pb_rpc *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(err, ERR_NO_MEMORY, "no memory for a call");
    r->client = client;
    r->by_path.path = path;
    r->method = method ? method : &r->by_path;
    r->ops = ops;
    r->ctx = ctx;
    pb_splitter_init(&r->in, PB_FRAMING_GRPC, RESPONSE_BYTES_MAX);
    nghttp2_nv nv[7] = {PB_NV(":method", "POST"),
                        PB_NV(":scheme", "http"),
                        PB_NV(":path", r->method->path),
                        PB_NV(":authority", "localhost"),
                        PB_NV("content-type", "application/grpc"),
                        PB_NV("te", "trailers")};
    size_t count = 6;
    if (timeout_ns) {
        pb_timeout_format(timeout, sizeof timeout, timeout_ns);
        nv[count++] = PB_NV("grpc-timeout", timeout);
    }
    nghttp2_data_provider provider = {.source.ptr = r, .read_callback = read_request};
    r->stream = nghttp2_submit_request(client->h2, NULL, nv, count, &provider, r);
    if (r->stream < 0) {
        err_set(err, ERR_UNAVAILABLE, "HTTP/2: %s", nghttp2_strerror(r->stream));
        free(r);
        return FAIL;
    }
    list_append(&client->rpcs, &r->link);
    *out = r;
    return OK;
}

res_t pb_rpc_start(struct pb_client *client, enum pb_method_id id, const struct pb_rpc_ops *ops,
                   void *ctx, uint64_t timeout_ns, struct pb_rpc **out, struct err *err)
{
    return start(client, &pb_methods[id], NULL, ops, ctx, timeout_ns, out, err);
}

res_t pb_rpc_start_path(struct pb_client *client, const char *path, const struct pb_rpc_ops *ops,
                        void *ctx, uint64_t timeout_ns, struct pb_rpc **out, struct err *err)
{
    return start(client, NULL, path, ops, ctx, timeout_ns, out, err);
}
