/*
 * tests/system/abuse.c - clients that misbehave, against a daemon with the stub worker at $VMD_SOCKET (see
 * test_abuse.sh). After each the daemon must still answer.
 */
#include "engine/base/base.h"
#include "engine/base/os.h"
#include "proto/client.h"
#include "proto/daemon.pb-c.h"
#include "proto/guest.pb-c.h"
#include "proto/image.pb-c.h"
#include "proto/message.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static int dial(void)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", getenv("VMD_SOCKET"));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

/* ---- a polite client, one step at a time ---- */

struct polite {
    int fd;
    struct pb_client *h2;
    struct pb_rpc *rpc;
    bool done;
    enum err_code code;
    char text[400];
    unsigned messages;
    uint64_t output, dropped;
    uint32_t pid;
    bool opened, ended;
};

static void on_message(void *ctx, const ProtobufCMessage *m)
{
    struct polite *c = ctx;
    c->messages++;
    if (m->descriptor == &pb_daemon__descriptor)
        c->pid = ((const PbDaemon *)m)->pid;
    if (m->descriptor != &pb_attach_response__descriptor)
        return;
    const PbAttachResponse *r = (const PbAttachResponse *)m;
    c->opened |= r->kind_case == PB_ATTACH_RESPONSE__KIND_OPENED;
    c->ended |= r->kind_case == PB_ATTACH_RESPONSE__KIND_ENDED;
    if (r->kind_case == PB_ATTACH_RESPONSE__KIND_OUTPUT) {
        c->output += r->output->data.len;
        c->dropped += r->output->dropped;
    }
}

static void on_done(void *ctx, const struct err *err)
{
    struct polite *c = ctx;
    c->rpc = NULL;
    c->done = true;
    c->code = err ? err->code : ERR_OK;
    snprintf(c->text, sizeof c->text, "%s", err ? err->text : "");
}

static const struct pb_rpc_ops ops = {on_message, on_done};

static void open_client(struct polite *c)
{
    *c = (struct polite){.fd = dial()};
    assert_int_equal(pb_client_new(&c->h2, NULL), OK);
}

static void close_client(struct polite *c)
{
    pb_client_free(c->h2);
    close(c->fd);
}

/* Send what there is; receive if something comes within ms. False: nothing came. */
static bool step(struct polite *c, int ms)
{
    struct buf out = {0};
    static uint8_t bytes[65536];
    assert_int_equal(pb_client_send(c->h2, &out, 1 << 20, NULL), OK);
    for (size_t at = 0; at < out.len;) {
        ssize_t n = send(c->fd, out.data + at, out.len - at, MSG_NOSIGNAL);
        if (n < 0)
            break;
        at += (size_t)n;
    }
    buf_fini(&out);
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    if (poll(&p, 1, ms) <= 0)
        return false;
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n <= 0) {
        struct err err;
        err_set(&err, ERR_UNAVAILABLE, "closed");
        pb_client_lost(c->h2, &err);
        return false;
    }
    struct err err;
    if (pb_client_recv(c->h2, bytes, (size_t)n, &err))
        fail_msg("%s", err.text);
    return true;
}

static void start(struct polite *c, enum pb_method_id id, const ProtobufCMessage *m,
                  uint64_t timeout_ns)
{
    c->done = false;
    assert_int_equal(pb_rpc_start(c->h2, id, &ops, c, timeout_ns, &c->rpc, NULL), OK);
    if (m)
        pb_rpc_send(c->rpc, m);
}

static enum err_code call(struct polite *c, enum pb_method_id id, const ProtobufCMessage *m,
                          uint64_t timeout_ns)
{
    start(c, id, m, timeout_ns);
    pb_rpc_half_close(c->rpc);
    for (int i = 0; i < 2000 && !c->done; i++)
        step(c, 10);
    assert_true(c->done);
    return c->code;
}

static uint32_t daemon_answers(void)
{
    struct polite c;
    PbGetDaemonRequest req = PB_GET_DAEMON_REQUEST__INIT;
    open_client(&c);
    assert_int_equal(call(&c, PB_METHOD_get_daemon, &req.base, 0), ERR_OK);
    uint32_t pid = c.pid;
    close_client(&c);
    return pid;
}

static void create(const char *name, const char *what, const char *arg)
{
    struct polite c;
    char *args[] = {(char *)(uintptr_t)what, (char *)(uintptr_t)arg};
    PbCreateGuestRequest req = PB_CREATE_GUEST_REQUEST__INIT;
    req.name = (char *)(uintptr_t)name;
    req.image = (char[]){"fake"};
    req.args = args;
    req.n_args = arg ? 2 : 1;
    open_client(&c);
    assert_int_equal(call(&c, PB_METHOD_create_guest, &req.base, 0), ERR_OK);
    close_client(&c);
}

static void remove_guest(const char *name)
{
    struct polite c;
    PbDeleteGuestRequest req = PB_DELETE_GUEST_REQUEST__INIT;
    req.name = (char *)(uintptr_t)name;
    req.force = true;
    open_client(&c);
    assert_int_equal(call(&c, PB_METHOD_delete_guest, &req.base, 0), ERR_OK);
    close_client(&c);
}

static void attach(struct polite *c, const char *name, bool begin, bool with_stdin, bool hold)
{
    PbAttachOpen open = PB_ATTACH_OPEN__INIT;
    PbAttachRequest req = PB_ATTACH_REQUEST__INIT;
    open.name = (char *)(uintptr_t)name;
    open.start = begin;
    open.stdin = with_stdin;
    open.hold = hold;
    req.kind_case = PB_ATTACH_REQUEST__KIND_OPEN;
    req.open = &open;
    open_client(c);
    start(c, PB_METHOD_attach_guest, &req.base, 0);
}

static long rss_kib(uint32_t pid)
{
    char path[64], line[128];
    long kib = -1;
    snprintf(path, sizeof path, "/proc/%u/status", pid);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        sscanf(line, "VmRSS: %ld", &kib);
    fclose(f);
    return kib;
}

/* ---- a client of bare HTTP/2 ---- */

struct raw {
    int fd;
    nghttp2_session *h2;
    const uint8_t *body;
    size_t body_bytes;
    int http, grpc;
    bool closed;
};

static ssize_t raw_read(nghttp2_session *h2, int32_t id, uint8_t *to, size_t n, uint32_t *flags,
                        nghttp2_data_source *source, void *user)
{
    struct raw *r = user;
    (void)h2, (void)id, (void)source;
    n = MIN(n, r->body_bytes);
    memcpy(to, r->body, n);
    r->body += n;
    r->body_bytes -= n;
    if (!r->body_bytes)
        *flags = NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static int raw_header(nghttp2_session *h2, const nghttp2_frame *f, const uint8_t *n, size_t nn,
                      const uint8_t *v, size_t vn, uint8_t flags, void *user)
{
    struct raw *r = user;
    char text[16] = "";
    (void)h2, (void)f, (void)flags;
    memcpy(text, v, MIN(vn, sizeof text - 1));
    if (nn == 7 && !memcmp(n, ":status", 7))
        r->http = atoi(text);
    if (nn == 11 && !memcmp(n, "grpc-status", 11))
        r->grpc = atoi(text);
    return 0;
}

static int raw_close(nghttp2_session *h2, int32_t id, uint32_t code, void *user)
{
    (void)h2, (void)id, (void)code;
    ((struct raw *)user)->closed = true;
    return 0;
}

static void raw_open(struct raw *r)
{
    nghttp2_session_callbacks *cb;
    *r = (struct raw){.fd = dial(), .grpc = -1};
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_on_header_callback(cb, raw_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, raw_close);
    nghttp2_session_client_new(&r->h2, cb, r);
    nghttp2_session_callbacks_del(cb);
    nghttp2_submit_settings(r->h2, 0, NULL, 0);
}

static void raw_done(struct raw *r)
{
    nghttp2_session_del(r->h2);
    close(r->fd);
}

/* False: the daemon closed the connection. */
static bool raw_step(struct raw *r, int ms)
{
    const uint8_t *p;
    uint8_t bytes[65536];
    for (ssize_t n; (n = nghttp2_session_mem_send(r->h2, &p)) > 0;)
        for (ssize_t at = 0; at < n;) {
            ssize_t k = send(r->fd, p + at, (size_t)(n - at), MSG_NOSIGNAL);
            if (k < 0)
                return false;
            at += k;
        }
    struct pollfd pfd = {.fd = r->fd, .events = POLLIN};
    if (poll(&pfd, 1, ms) <= 0)
        return true;
    ssize_t n = recv(r->fd, bytes, sizeof bytes, 0);
    return n > 0 && nghttp2_session_mem_recv(r->h2, bytes, (size_t)n) >= 0;
}

#define NV(n, v)                                                                      \
    {                                                                                 \
        (uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), strlen(n), strlen(v), 0 \
    }

static int32_t raw_submit(struct raw *r, const char *method, const char *path, const char *type)
{
    nghttp2_nv nv[] = {NV(":method", method), NV(":scheme", "http"),    NV(":path", path),
                       NV(":authority", "x"), NV("content-type", type), NV("te", "trailers")};
    nghttp2_data_provider provider = {.read_callback = raw_read};
    return nghttp2_submit_request(r->h2, NULL, nv, ARRAY_LEN(nv), &provider, NULL);
}

static int raw_call(const char *path, const void *body, size_t n, int *http)
{
    struct raw r;
    raw_open(&r);
    r.body = body;
    r.body_bytes = n;
    raw_submit(&r, "POST", path, "application/grpc");
    for (int i = 0; i < 500 && !r.closed; i++)
        if (!raw_step(&r, 10))
            break;
    raw_done(&r);
    if (http)
        *http = r.http;
    return r.grpc;
}

#define GET "/vmd.v1.GuestService/GetGuest"

static void bytes_that_are_not_http2_end_the_connection(void **state)
{
    (void)state;
    static const char *const talk[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"};
    for (unsigned i = 0; i < ARRAY_LEN(talk); i++) {
        uint8_t bytes[4096];
        int fd = dial();
        send(fd, talk[i], strlen(talk[i]), MSG_NOSIGNAL);
        for (int k = 0; k < 64; k++) {
            os_random(bytes, sizeof bytes);
            if (send(fd, bytes, sizeof bytes, MSG_NOSIGNAL) < 0)
                break;
        }
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n = 1;
        while (n > 0 && poll(&p, 1, 5000) > 0)
            n = recv(fd, bytes, sizeof bytes, 0);
        assert_true(n <= 0);
        close(fd);
    }
    daemon_answers();
}

static void malformed_calls_get_a_typed_error(void **state)
{
    (void)state;
    int http;
    static const uint8_t huge[] = {0, 0x40, 0, 0, 0, 1}, compressed[] = {1, 0, 0, 0, 0},
                         garbage[] = {0, 0, 0, 0, 3, 0x0a, 0x7f, 0x01},
                         latin1[] = {0, 0, 0, 0, 3, 0x0a, 1, 0xe9},
                         two[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, cut[] = {0, 0, 0, 0, 9, 0x0a},
                         group[] = {0, 0, 0, 0, 2, 0x0b, 0x0c}, none[] = {0, 0, 0, 0, 0};
    assert_int_equal(raw_call(GET, huge, sizeof huge, NULL), 8);
    assert_int_equal(raw_call(GET, compressed, sizeof compressed, NULL), 12);
    assert_int_equal(raw_call(GET, garbage, sizeof garbage, NULL), 3);
    assert_int_equal(raw_call(GET, latin1, sizeof latin1, NULL), 3);
    assert_int_equal(raw_call(GET, two, sizeof two, NULL), 3);
    assert_int_equal(raw_call(GET, cut, sizeof cut, NULL), 3);
    assert_int_equal(raw_call(GET, group, sizeof group, NULL), 3);
    assert_int_equal(raw_call(GET, "", 0, NULL), 3);
    assert_int_equal(raw_call(GET, none, sizeof none, NULL),
                     5); /* a guest without a name is not found */
    assert_int_equal(raw_call("/vmd.v1.GuestService/Nothing", none, sizeof none, NULL), 12);
    assert_int_equal(raw_call("/", none, sizeof none, &http), 12);
    assert_int_equal(http, 200);
    size_t n = 2 << 20;
    uint8_t *much = calloc(1, n);
    much[1] = 0, much[2] = 0x1f;
    assert_int_equal(raw_call(GET, much, n, NULL), 8);
    free(much);
    daemon_answers();
}

static void a_hundred_thousand_resets_disturb_nobody(void **state)
{
    (void)state;
    struct raw r;
    static uint8_t body[5];
    raw_open(&r);
    for (int i = 0; i < 100000; i++) {
        r.body = body;
        r.body_bytes = sizeof body;
        int32_t id = raw_submit(&r, "POST", GET, "application/grpc");
        if (id < 0)
            break;
        nghttp2_submit_rst_stream(r.h2, 0, id, NGHTTP2_CANCEL);
        if (i % 50 == 0 && !raw_step(&r, 0))
            break; /* cut off: just as well */
    }
    raw_done(&r);
    daemon_answers();
}

static void a_wait_ends_at_its_deadline(void **state)
{
    (void)state;
    struct polite c;
    PbWaitGuestRequest req = PB_WAIT_GUEST_REQUEST__INIT;
    create("waited", "spin", NULL);
    open_client(&c);
    req.name = (char[]){"waited"};
    uint64_t began = os_now_ns();
    assert_int_equal(call(&c, PB_METHOD_wait_guest, &req.base, 150000000), ERR_DEADLINE);
    uint64_t took = os_now_ns() - began;
    assert_true(took >= 150000000 && took < 1500000000);
    close_client(&c);
    remove_guest("waited");
}

static void an_attachment_begins_with_open(void **state)
{
    (void)state;
    struct polite c;
    PbAttachRequest req = PB_ATTACH_REQUEST__INIT;
    req.kind_case = PB_ATTACH_REQUEST__KIND_SIGNAL;
    req.signal = 9;
    open_client(&c);
    assert_int_equal(call(&c, PB_METHOD_attach_guest, &req.base, 0), ERR_INVALID);
    close_client(&c);
    open_client(&c);
    assert_int_equal(call(&c, PB_METHOD_attach_guest, NULL, 0), ERR_INVALID);
    close_client(&c);
}

static void a_client_that_vanishes_leaves_the_guest_to_the_next(void **state)
{
    (void)state;
    struct polite c, d;
    create("left", "sleep", NULL);
    attach(&c, "left", true, true, true);
    for (int i = 0; i < 500 && !c.opened; i++)
        step(&c, 10);
    assert_true(c.opened);
    attach(&d, "left", false, true, false); /* standard input is taken */
    for (int i = 0; i < 500 && !d.done; i++)
        step(&d, 10);
    assert_int_equal(d.code, ERR_STATE);
    close_client(&d);
    close(c.fd); /* without a word */
    pb_client_free(c.h2);
    bool taken = true;
    for (int i = 0; i < 100 && taken; i++) {
        attach(&d, "left", false, true, false);
        for (int k = 0; k < 500 && !d.done && !d.opened; k++)
            step(&d, 10);
        taken = d.done;
        close_client(&d);
        usleep(10000);
    }
    assert_false(taken);
    remove_guest("left");
}

static void a_holding_reader_that_never_reads_costs_a_bounded_buffer(void **state)
{
    (void)state;
    struct polite c, polite;
    uint32_t pid = daemon_answers();
    long before = rss_kib(pid);
    create("flood", "flood", "300000000");
    attach(&c, "flood", true, false, true);
    step(&c, 10); /* the request goes out; nothing is read from now on */
    usleep(500000);
    assert_true(rss_kib(pid) - before < 4096);
    /* one who is not held up sees the guest stand still, and others are served */
    attach(&polite, "flood", false, false, false);
    for (int i = 0; i < 30; i++)
        step(&polite, 10);
    assert_true(polite.opened && polite.output < 1000000);
    close_client(&polite);
    close_client(&c); /* now it runs on, and the log keeps the end of it */
    PbWaitGuestRequest req = PB_WAIT_GUEST_REQUEST__INIT;
    open_client(&c);
    req.name = (char[]){"flood"};
    assert_int_equal(call(&c, PB_METHOD_wait_guest, &req.base, 60000000000ull), ERR_OK);
    close_client(&c);
    assert_true(rss_kib(pid) - before < 4096);
    remove_guest("flood");
}

static void a_slow_reader_that_does_not_hold_loses_bytes_and_is_told_how_many(void **state)
{
    (void)state;
    struct polite c;
    create("lossy", "flood", "50000000");
    attach(&c, "lossy", true, false, false);
    step(&c, 10);
    usleep(1000000);
    for (int i = 0; i < 2000 && !c.done; i++)
        step(&c, 10);
    assert_true(c.ended);
    assert_true(c.dropped > 0);
    assert_int_equal(c.output + c.dropped,
                     (50000000 + 1023) / 1024 * 1024 - (1024 - 50000000 % 1024) % 1024);
    close_client(&c);
    remove_guest("lossy");
}

static void input_that_a_guest_never_reads_is_bounded(void **state)
{
    (void)state;
    struct polite c;
    static uint8_t bytes[32768];
    uint32_t pid = daemon_answers();
    long before = rss_kib(pid);
    create("deaf", "spin", NULL);
    attach(&c, "deaf", true, true, true);
    PbAttachRequest req = PB_ATTACH_REQUEST__INIT;
    req.kind_case = PB_ATTACH_REQUEST__KIND_STDIN;
    req.stdin = (ProtobufCBinaryData){sizeof bytes, bytes};
    for (int i = 0; i < 1000; i++) {
        pb_rpc_send(c.rpc, &req.base);
        step(&c, 0);
    }
    assert_true(pb_rpc_queued(c.rpc) > 30000000); /* it stayed with the client */
    assert_true(rss_kib(pid) - before < 4096);
    close_client(&c);
    remove_guest("deaf");
    daemon_answers();
}

/* One import of the given requests; the code it ends with. */
static enum err_code import(PbImportImageRequest *const *reqs, size_t n, char *text, size_t cap)
{
    struct polite c;
    open_client(&c);
    start(&c, PB_METHOD_import_image, NULL, 0);
    for (size_t i = 0; i < n && c.rpc; i++)
        pb_rpc_send(c.rpc, &reqs[i]->base);
    if (c.rpc)
        pb_rpc_half_close(c.rpc);
    for (int i = 0; i < 1000 && !c.done; i++)
        step(&c, 10);
    assert_true(c.done);
    snprintf(text, cap, "%s", c.text);
    close_client(&c);
    return c.code;
}

static ProtobufCBinaryData bytes_of(const char *s)
{
    return (ProtobufCBinaryData){strlen(s), (uint8_t *)(uintptr_t)s};
}

static void imports_that_lie_get_a_typed_error_with_the_path(void **state)
{
    (void)state;
    PbImportOpen o = PB_IMPORT_OPEN__INIT;
    PbImportImageRequest open = PB_IMPORT_IMAGE_REQUEST__INIT, data = open, root = open,
                         entry = open;
    PbImportEntry r = PB_IMPORT_ENTRY__INIT, e = PB_IMPORT_ENTRY__INIT;
    char text[400];
    open.kind_case = PB_IMPORT_IMAGE_REQUEST__KIND_OPEN;
    open.open = &o;
    data.kind_case = PB_IMPORT_IMAGE_REQUEST__KIND_DATA;
    data.data = bytes_of("0123456789");
    root.kind_case = entry.kind_case = PB_IMPORT_IMAGE_REQUEST__KIND_ENTRY;
    root.entry = &r;
    entry.entry = &e;
    r.mode = 040755;
    const struct {
        const char *path, *hardlink;
        uint32_t mode;
        uint64_t size;
        bool with_data;
        enum err_code code;
        const char *text;
    } cases[] = {
        {"../etc/passwd", "", 0100644, 0, false, ERR_INVALID, ".."},
        {"a", "", 0100644, 5, true, ERR_INVALID, "more content"},
        {"a", "", 0100644, 50, true, ERR_INVALID, "40 bytes of its content are missing"},
        {"a", "", 0100644, 1ull << 60, true, ERR_INVALID, "missing"},
        {"d", "", 040755, 10, true, ERR_INVALID, "not a regular file"},
        {"l", "nowhere", 0100644, 0, false, ERR_NOT_FOUND, "nowhere"},
        {"s", "", 0120777, 0, false, ERR_INVALID, "s"},
        {"x", "", 0170000, 0, false, ERR_INVALID, "x"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        PbImportImageRequest *reqs[] = {&open, &root, &entry, &data};
        e.path = bytes_of(cases[i].path);
        e.hardlink = bytes_of(cases[i].hardlink);
        e.mode = cases[i].mode;
        e.size = cases[i].size;
        assert_int_equal(import(reqs, cases[i].with_data ? 4 : 3, text, sizeof text),
                         cases[i].code);
        assert_non_null(strstr(text, cases[i].text));
    }
    PbImportImageRequest *early[] = {&data}, *twice[] = {&open, &open},
                         *loose[] = {&open, &root, &data};
    assert_int_equal(import(early, 1, text, sizeof text), ERR_INVALID);
    assert_int_equal(import(NULL, 0, text, sizeof text), ERR_INVALID);
    assert_int_equal(import(twice, 2, text, sizeof text), ERR_INVALID);
    assert_int_equal(import(loose, 3, text, sizeof text), ERR_INVALID);
    PbImportImageRequest *good[] = {&open, &root};
    assert_int_equal(import(good, 2, text, sizeof text), ERR_OK);
}

static void five_hundred_idle_connections_are_cheap(void **state)
{
    (void)state;
    static struct polite c[500];
    uint32_t pid = daemon_answers();
    long before = rss_kib(pid);
    PbGetDaemonRequest req = PB_GET_DAEMON_REQUEST__INIT;
    for (unsigned i = 0; i < ARRAY_LEN(c); i++) {
        open_client(&c[i]);
        assert_int_equal(call(&c[i], PB_METHOD_get_daemon, &req.base, 0), ERR_OK);
    }
    print_message("%ld KiB for %zu idle connections\n", rss_kib(pid) - before, ARRAY_LEN(c));
    assert_true(rss_kib(pid) - before < 20 * (long)ARRAY_LEN(c) * 2);
    for (unsigned i = 0; i < ARRAY_LEN(c); i++)
        close_client(&c[i]);
    daemon_answers();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_that_are_not_http2_end_the_connection),
        cmocka_unit_test(malformed_calls_get_a_typed_error),
        cmocka_unit_test(a_hundred_thousand_resets_disturb_nobody),
        cmocka_unit_test(a_wait_ends_at_its_deadline),
        cmocka_unit_test(an_attachment_begins_with_open),
        cmocka_unit_test(a_client_that_vanishes_leaves_the_guest_to_the_next),
        cmocka_unit_test(a_holding_reader_that_never_reads_costs_a_bounded_buffer),
        cmocka_unit_test(a_slow_reader_that_does_not_hold_loses_bytes_and_is_told_how_many),
        cmocka_unit_test(input_that_a_guest_never_reads_is_bounded),
        cmocka_unit_test(imports_that_lie_get_a_typed_error_with_the_path),
        cmocka_unit_test(five_hundred_idle_connections_are_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
