// links: proto engine/base
/*
 * What the daemon's sockets hear: HTTP/2 and gRPC frames, message bodies, a child's messages. The first byte
 * chooses the door: 0 a connection from its first byte, 1 a connection behind a good preface, 2 a call's body, 3 what a
 * worker says, 4 what an importer hears, 5 a name to look up by reflection (and a
 * descriptor set), 6 a trailer with details.
 */
#include "engine/base/base.h"
#include "proto/descriptors.h"
#include "proto/details.h"
#include "proto/frame.h"
#include "proto/image.pb-c.h"
#include "proto/message.h"
#include "proto/server.h"
#include "proto/worker.pb-c.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void on_wake(void *ctx)
{
    (void)ctx;
}

/* Answers some calls at once, leaves some open, sends on pull, pauses now and then. */
static void on_message(struct pb_call *c, const ProtobufCMessage *m)
{
    uintptr_t count = (uintptr_t)c->user + 1;
    c->user = (void *)count;
    (void)m;
    if (c->method->kind == PB_UNARY && c->id % 3) {
        struct err err;
        err_set(&err, ERR_NOT_FOUND, "no \x01 %% such");
        pb_call_finish(c, &err);
    } else if (count == 3) {
        pb_call_pause(c);
    } else if (count == 2 && c->method->kind != PB_UNARY) {
        pb_call_wake(c);
    }
}

static void on_half_close(struct pb_call *c)
{
    pb_call_finish(c, NULL);
}

static void on_gone(struct pb_call *c)
{
    c->user = NULL;
}

static void feed_connection(const uint8_t *p, size_t n, bool preface)
{
    static const uint8_t good[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    static struct pb_handler handlers[PB_METHOD_COUNT];
    static const struct pb_conn_ops ops = {handlers, on_wake};
    struct pb_conn *conn;
    struct buf out = {0};
    for (unsigned i = 0; i < PB_METHOD_COUNT; i++)
        handlers[i] = (struct pb_handler){on_message, on_half_close, NULL, on_gone};
    if (pb_conn_new(&ops, NULL, &conn, NULL))
        return;
    bool ok = !preface || !pb_conn_recv(conn, good, sizeof good - 1, NULL);
    while (ok && n) { /* in pieces, as a socket would */
        size_t k = MIN(n, (size_t)1 + p[0] % 64);
        ok = !pb_conn_recv(conn, p, k, NULL) && !pb_conn_send(conn, &out, 1 << 16, NULL);
        out.len = 0;
        p += k;
        n -= k;
    }
    pb_conn_expire(conn, UINT64_MAX - 1);
    pb_conn_drain(conn);
    if (!pb_conn_send(conn, &out, 1 << 16, NULL))
        (void)pb_conn_done(conn);
    buf_fini(&out);
    pb_conn_free(conn);
}

/* The rest of the input is a symbol, a file name, a message's name; then it is itself a descriptor set. */
static void look_up(const uint8_t *p, size_t n)
{
    char name[256];
    struct pb_file file, files[16];
    int32_t numbers[16];
    memcpy(name, p, MIN(n, sizeof name - 1));
    name[MIN(n, sizeof name - 1)] = 0;
    const struct pb_descriptors sets[] = {pb_descriptors_of_api(), {p, n}};
    for (unsigned i = 0; i < ARRAY_LEN(sets); i++) {
        if (pb_file_by_symbol(sets[i], name, &file) || pb_file_by_name(sets[i], name, &file) ||
            pb_file_by_extension(sets[i], name, 7, &file))
            ASSERT(pb_file_closure(sets[i], file, files, ARRAY_LEN(files)) > 0);
        (void)pb_extension_numbers(sets[i], name, numbers, ARRAY_LEN(numbers));
        (void)pb_message_known(sets[i], name);
    }
}

/* An error of ours with the input as its text; then the input as the trailer of a server that may be anything. */
static void explain(const uint8_t *p, size_t n)
{
    struct err err, back;
    struct buf value = {0};
    char text[200];
    memcpy(text, p, MIN(n, sizeof text - 1));
    text[MIN(n, sizeof text - 1)] = 0;
    err_set(&err, (enum err_code)(1 + n % (ERR_CODE_COUNT - 1)), "%s", text);
    err_explain(&err, "FUZZ", "field", text, "stop");
    pb_details_encode(&value, &err);
    back = (struct err){.code = err.code};
    pb_details_decode((const char *)value.data, value.len, &back);
    ASSERT(!value.failed && !strcmp(back.reason, "FUZZ") && !strcmp(back.fix, "stop"));
    pb_details_decode((const char *)p, n, &err);
    buf_fini(&value);
}

static void unpack(const ProtobufCMessageDescriptor *type, const uint8_t *p, size_t n)
{
    struct arena arena;
    const ProtobufCMessage *m;
    arena_init(&arena, PB_ARENA_BYTES(n));
    if (!pb_unpack(type, &arena, p, n, &m, NULL))
        ASSERT(m->descriptor == type);
    arena_fini(&arena);
}

static void feed_child(const ProtobufCMessageDescriptor *type, const uint8_t *p, size_t n)
{
    struct pb_splitter s;
    bool got = true;
    const uint8_t *body;
    size_t body_n;
    pb_splitter_init(&s, PB_FRAMING_CHILD, 65536);
    if (!pb_splitter_put(&s, p, n, NULL))
        while (!pb_splitter_next(&s, &got, &body, &body_n, NULL) && got)
            unpack(type, body, body_n);
    pb_splitter_fini(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    if (n < 2)
        return 0;
    switch (p[0] % 7) {
    case 0:
    case 1:
        feed_connection(p + 1, n - 1, p[0] % 7 == 1);
        break;
    case 2:
        unpack(pb_methods[p[1] % PB_METHOD_ALL_COUNT].request, p + 2, n - 2);
        break;
    case 3:
        feed_child(&pb_from_worker__descriptor, p + 1, n - 1);
        break;
    case 4:
        feed_child(&pb_import_image_request__descriptor, p + 1, n - 1);
        break;
    case 5:
        look_up(p + 1, n - 1);
        break;
    default:
        explain(p + 1, n - 1);
    }
    return 0;
}
