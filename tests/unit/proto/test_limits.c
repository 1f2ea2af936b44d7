// links: proto engine/base
/* What a peer of the server may not do: be late, be silent, talk without a purpose. Bytes go by hand, time is told. */
#include "engine/base/base.h"
#include "engine/base/os.h"
#include "proto/server.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define S 1000000000ull
#define NV(n, v)                                                                      \
    {                                                                                 \
        (uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), strlen(n), strlen(v), 0 \
    }

struct world {
    struct pb_conn *server;
    nghttp2_session *peer;
    struct pb_conn_ops ops;
    struct pb_call *call;
    unsigned requests, gone;
    /* what the peer saw */
    unsigned goaways, pings, closed;
    uint32_t goaway_code;
    char status[8], message[200], content[4];
    size_t to_send; /* bytes of the request that may go now; the stream stays open */
    bool whole;
};
static struct world w;

static void on_wake(void *ctx)
{
    (void)ctx;
}

static void on_request(struct pb_call *c, const ProtobufCMessage *m)
{
    (void)m;
    w.call = c;
    w.requests++;
}

static void on_gone(struct pb_call *c)
{
    (void)c;
    w.call = NULL;
    w.gone++;
}

static int peer_frame(nghttp2_session *h2, const nghttp2_frame *f, void *user)
{
    (void)h2, (void)user;
    if (f->hd.type == NGHTTP2_GOAWAY) {
        w.goaways++;
        w.goaway_code = f->goaway.error_code;
    }
    w.pings += f->hd.type == NGHTTP2_PING && !(f->hd.flags & NGHTTP2_FLAG_ACK);
    return 0;
}

static int peer_header(nghttp2_session *h2, const nghttp2_frame *f, const uint8_t *n, size_t nn,
                       const uint8_t *v, size_t vn, uint8_t flags, void *user)
{
    (void)h2, (void)f, (void)flags, (void)user;
    char *to = nn == 11 && !memcmp(n, "grpc-status", 11)    ? w.status
               : nn == 12 && !memcmp(n, "grpc-message", 12) ? w.message
                                                            : NULL;
    size_t cap = to == w.status ? sizeof w.status : sizeof w.message;
    if (to) {
        memcpy(to, v, MIN(vn, cap - 1));
        to[MIN(vn, cap - 1)] = 0;
    }
    return 0;
}

static int peer_close(nghttp2_session *h2, int32_t id, uint32_t code, void *user)
{
    (void)h2, (void)id, (void)code, (void)user;
    w.closed++;
    return 0;
}

static int set_up(void **state)
{
    static struct pb_handler handlers[PB_METHOD_COUNT];
    nghttp2_session_callbacks *cb;
    (void)state;
    w = (struct world){0};
    for (unsigned i = 0; i < PB_METHOD_COUNT; i++)
        handlers[i] = (struct pb_handler){on_request, on_gone, NULL, on_gone};
    w.ops =
        (struct pb_conn_ops){handlers, on_wake, NULL, {10 * S, 60 * S, 30 * S, 20 * S, 600 * S}};
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, peer_frame);
    nghttp2_session_callbacks_set_on_header_callback(cb, peer_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, peer_close);
    nghttp2_session_client_new(&w.peer, cb, NULL);
    nghttp2_session_callbacks_del(cb);
    return pb_conn_new(&w.ops, NULL, &w.server, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    nghttp2_session_del(w.peer);
    pb_conn_free(w.server);
    return 0;
}

/* What the peer has to say goes to the server. */
static res_code_t up(struct err *err)
{
    const uint8_t *p;
    for (ssize_t n; (n = nghttp2_session_mem_send(w.peer, &p)) > 0;)
        if (pb_conn_recv(w.server, p, (size_t)n, err))
            return FAIL;
    return OK;
}

static void down(void)
{
    CLEANUP(buf_fini) struct buf b = {0};
    assert_int_equal(pb_conn_send(w.server, &b, 1 << 20, NULL), OK);
    if (b.len)
        assert_true(nghttp2_session_mem_recv(w.peer, b.data, b.len) >= 0);
}

static void exchange(void)
{
    for (int i = 0; i < 4; i++) {
        assert_int_equal(up(NULL), OK);
        down();
    }
}

static void greet(void)
{
    nghttp2_submit_settings(w.peer, 0, NULL, 0);
    exchange();
}

static ssize_t body(nghttp2_session *h2, int32_t id, uint8_t *to, size_t n, uint32_t *flags,
                    nghttp2_data_source *source, void *user)
{
    (void)h2, (void)id, (void)source, (void)user;
    n = MIN(n, w.to_send);
    memset(to, 0, n);
    w.to_send -= n;
    if (w.whole)
        *flags = NGHTTP2_DATA_FLAG_EOF;
    return n || w.whole ? (ssize_t)n : NGHTTP2_ERR_DEFERRED;
}

static int32_t begin_call(const char *path, size_t bytes, bool whole)
{
    nghttp2_nv nv[] = {NV(":method", "POST"), NV(":scheme", "http"),
                       NV(":path", path),     NV(":authority", "x"),
                       NV("te", "trailers"),  NV("content-type", "application/grpc")};
    nghttp2_data_provider provider = {.read_callback = body};
    w.to_send = bytes;
    w.whole = whole;
    return nghttp2_submit_request(w.peer, NULL, nv, ARRAY_LEN(nv), &provider, NULL);
}

#define GET "/vmd.v1.GuestService/GetGuest"
#define WAIT "/vmd.v1.GuestService/WaitGuest"

static void one_who_never_greets_is_let_go(void **state)
{
    (void)state;
    uint64_t now = os_now_ns();
    assert_true(pb_conn_deadline(w.server) <= now + 10 * S);
    assert_true(pb_conn_expire(w.server, now + 9 * S));
    assert_int_equal(pb_conn_recv(w.server, "PRI * HTTP", 10, NULL),
                     OK); /* half a preface is none */
    assert_false(pb_conn_expire(w.server, now + 11 * S));
}

static void one_who_greeted_may_stay(void **state)
{
    (void)state;
    greet();
    assert_true(pb_conn_expire(w.server, os_now_ns() + 11 * S));
    assert_false(pb_conn_done(w.server));
}

static void a_request_that_drips_is_ended_in_time(void **state)
{
    (void)state;
    greet();
    begin_call(GET, 3, false);
    exchange();
    assert_true(pb_conn_expire(w.server, os_now_ns() + 29 * S));
    assert_int_equal(w.closed, 0);
    assert_int_equal(up(NULL), OK);
    assert_true(pb_conn_expire(w.server, os_now_ns() + 61 * S));
    exchange();
    assert_string_equal(w.status, "4");
    assert_non_null(strstr(w.message, "60 s"));
}

static void a_header_that_never_ends_ends_the_connection(void **state)
{
    (void)state;
    /* HEADERS without END_HEADERS on stream 1 */
    static const uint8_t frame[] = {0, 0, 1, 1, 0, 0, 0, 0, 1, 0x83};
    greet();
    assert_int_equal(pb_conn_recv(w.server, frame, sizeof frame, NULL), OK);
    assert_false(pb_conn_expire(w.server, os_now_ns() + 61 * S));
}

static void a_call_that_waits_is_asked_for_and_an_answer_keeps_it(void **state)
{
    (void)state;
    uint64_t now = os_now_ns();
    greet();
    begin_call(WAIT, 5, true);
    exchange();
    assert_int_equal(w.requests, 1);
    assert_true(pb_conn_expire(w.server, now + 31 * S));
    down();
    assert_int_equal(w.pings, 1);
    assert_int_equal(up(NULL), OK); /* the answer */
    assert_true(pb_conn_expire(w.server, now + 52 * S));
    assert_int_equal(w.gone, 0);
}

static void silence_after_a_ping_is_the_end(void **state)
{
    (void)state;
    uint64_t now = os_now_ns();
    greet();
    begin_call(WAIT, 5, true);
    exchange();
    assert_true(pb_conn_expire(w.server, now + 31 * S));
    assert_true(pb_conn_deadline(w.server) <= now + 51 * S);
    assert_false(pb_conn_expire(w.server, now + 52 * S));
}

static void an_idle_client_is_sent_away(void **state)
{
    (void)state;
    uint64_t now = os_now_ns();
    greet();
    assert_true(pb_conn_expire(w.server, now + 599 * S));
    down();
    assert_int_equal(w.goaways, 0);
    assert_true(pb_conn_expire(w.server, now + 601 * S));
    down();
    assert_int_equal(w.goaways, 1);
    assert_true(pb_conn_done(w.server));
    assert_false(pb_conn_expire(w.server, now + 607 * S)); /* should it not read even that */
}

static void rapid_resets_end_the_connection(void **state)
{
    (void)state;
    struct err err = {0};
    unsigned calls = 0;
    greet();
    while (calls < 3000 && !up(&err)) {
        int32_t id = begin_call(WAIT, 5, true);
        assert_true(id > 0);
        calls++;
        if (up(&err))
            break;
        nghttp2_submit_rst_stream(w.peer, 0, id, NGHTTP2_CANCEL);
    }
    assert_int_equal(err.code, ERR_LIMIT);
    assert_true(calls >= PB_RESETS_BURST && calls < PB_RESETS_BURST + 500);
    assert_int_equal(w.requests, w.gone);
    down();
    assert_int_equal(w.goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_true(pb_conn_done(w.server));
}

static void a_flood_of_pings_ends_the_connection_but_not_beside_work(void **state)
{
    (void)state;
    struct err err = {0};
    greet();
    for (int i = 0; i < 3 * PB_CONTROL_BURST; i++) { /* as gRPC clients measure the line */
        nghttp2_submit_ping(w.peer, 0, NULL);
        if (i % 100 == 0)
            begin_call("/vmd.v1.GuestService/Nothing", 5, true);
        assert_int_equal(up(NULL), OK);
        down();
    }
    int i = 0;
    for (; i < 3 * PB_CONTROL_BURST && !up(&err); i++) {
        nghttp2_submit_ping(w.peer, 0, NULL);
        down();
    }
    assert_int_equal(err.code, ERR_LIMIT);
    assert_true(i > PB_CONTROL_BURST - 200);
}

static void a_flood_of_settings_ends_the_connection(void **state)
{
    (void)state;
    static const uint8_t settings[9] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
    struct err err = {0};
    CLEANUP(buf_fini) struct buf b = {0};
    greet();
    for (int i = 0; i < 2 * PB_CONTROL_BURST; i++) {
        if (pb_conn_recv(w.server, settings, sizeof settings, &err))
            break;
        b.len = 0;
        if (pb_conn_send(w.server, &b, 1 << 20, NULL))
            break;
    }
    assert_true(err.code == ERR_LIMIT || err.code == ERR_BAD_MESSAGE);
}

static void an_unwelcome_peer_is_told_why_and_let_go(void **state)
{
    (void)state;
    struct err why;
    err_set(&why, ERR_UNAUTHENTICATED, "user 7 is no tenant");
    assert_int_equal(pb_conn_refuse(w.server, &why, NULL), OK);
    greet();
    begin_call(GET, 5, true);
    exchange();
    assert_string_equal(w.status, "16");
    assert_string_equal(w.message, "user 7 is no tenant");
    assert_int_equal(w.requests, 0);
    assert_int_equal(w.goaways, 1);
    assert_true(pb_conn_done(w.server));
}

static void an_unwelcome_peer_that_stays_silent_is_let_go_too(void **state)
{
    (void)state;
    struct err why;
    err_set(&why, ERR_LIMIT, "too many");
    assert_int_equal(pb_conn_refuse(w.server, &why, NULL), OK);
    greet();
    assert_false(pb_conn_expire(w.server, os_now_ns() + 6 * S));
}

static void headers_that_are_too_long_get_a_typed_error(void **state)
{
    (void)state;
    static char value[6000];
    memset(value, 'x', sizeof value - 1);
    nghttp2_nv nv[] = {
        NV(":method", "POST"), NV(":scheme", "http"), NV(":path", GET),
        NV(":authority", "x"), NV("te", "trailers"),  NV("content-type", "application/grpc"),
        NV("a", value),        NV("b", value),        NV("c", value)};
    greet();
    nghttp2_submit_request(w.peer, NULL, nv, ARRAY_LEN(nv), NULL, NULL);
    exchange();
    assert_string_equal(w.status, "8");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_who_never_greets_is_let_go),
        TEST(one_who_greeted_may_stay),
        TEST(a_request_that_drips_is_ended_in_time),
        TEST(a_header_that_never_ends_ends_the_connection),
        TEST(a_call_that_waits_is_asked_for_and_an_answer_keeps_it),
        TEST(silence_after_a_ping_is_the_end),
        TEST(an_idle_client_is_sent_away),
        TEST(rapid_resets_end_the_connection),
        TEST(a_flood_of_pings_ends_the_connection_but_not_beside_work),
        TEST(a_flood_of_settings_ends_the_connection),
        TEST(an_unwelcome_peer_is_told_why_and_let_go),
        TEST(an_unwelcome_peer_that_stays_silent_is_let_go_too),
        TEST(headers_that_are_too_long_get_a_typed_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
