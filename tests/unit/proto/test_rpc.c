// links: proto engine/base
/* Server and client against each other, without a socket: bytes go by hand. */
#include "engine/base/base.h"
#include "engine/base/os.h"
#include "proto/client.h"
#include "proto/daemon.pb-c.h"
#include "proto/event.pb-c.h"
#include "proto/guest.pb-c.h"
#include "proto/image.pb-c.h"
#include "proto/server.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

struct pair {
    struct pb_conn *server;
    struct pb_client *client;
    unsigned wakes;
    /* server side */
    struct pb_call *call;
    unsigned requests, gone, half_closed, pulled;
    size_t to_pull; /* responses that pull() still gives */
    uint64_t bytes_in;
    /* client side */
    struct pb_rpc *rpc;
    unsigned responses, done;
    enum err_code code;
    char text[400];
};
static struct pair p;

static void wake(void *ctx)
{
    (void)ctx;
    p.wakes++;
}

static void on_request(struct pb_call *c, const ProtobufCMessage *m)
{
    p.call = c;
    p.requests++;
    if (m->descriptor == &pb_get_guest_request__descriptor) {
        PbGuest g = PB_GUEST__INIT;
        g.name = ((const PbGetGuestRequest *)m)->name;
        if (!strcmp(g.name, "none")) {
            struct err err;
            err_set(&err, ERR_NOT_FOUND, "no guest \"%s\": 100%%", g.name);
            p.call = NULL;
            pb_call_finish(c, &err);
        } else {
            p.call = NULL;
            pb_call_reply(c, &g.base);
        }
    } else if (m->descriptor == &pb_import_image_request__descriptor) {
        p.bytes_in += ((const PbImportImageRequest *)m)->data.len;
    }
}

static void on_half_close(struct pb_call *c)
{
    (void)c;
    p.half_closed++;
}

static void on_pull(struct pb_call *c)
{
    static uint8_t data[30000];
    p.pulled++;
    if (!p.to_pull)
        return;
    p.to_pull--;
    PbConsoleChunk chunk = PB_CONSOLE_CHUNK__INIT;
    chunk.data = (ProtobufCBinaryData){sizeof data, data};
    pb_call_send(c, &chunk.base);
    if (!p.to_pull)
        pb_call_finish(c, NULL);
}

static void on_gone(struct pb_call *c)
{
    (void)c;
    p.call = NULL;
    p.gone++;
}

static struct pb_handler handlers[PB_METHOD_COUNT];
static const struct pb_conn_ops conn_ops = {handlers, wake};

static void on_response(void *ctx, const ProtobufCMessage *m)
{
    (void)ctx, (void)m;
    p.responses++;
}

static void on_done(void *ctx, const struct err *err)
{
    (void)ctx;
    p.rpc = NULL;
    p.done++;
    p.code = err ? err->code : ERR_OK;
    strcpy(p.text, err ? err->text : "");
}

static const struct pb_rpc_ops rpc_ops = {on_response, on_done};

static int set_up(void **state)
{
    (void)state;
    p = (struct pair){0};
    for (unsigned i = 0; i < PB_METHOD_COUNT; i++)
        handlers[i] = (struct pb_handler){on_request, on_half_close, on_pull, on_gone};
    handlers[PB_METHOD_get_guest].pull = NULL;
    return pb_conn_new(&conn_ops, NULL, &p.server, NULL) || pb_client_new(&p.client, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    pb_client_free(p.client);
    pb_conn_free(p.server);
    return 0;
}

/* Carry bytes until nobody has any; how many the server sent. */
static size_t carry(void)
{
    size_t total = 0;
    for (bool any = true; any;) {
        CLEANUP(buf_fini) struct buf up = {0};
        CLEANUP(buf_fini) struct buf down = {0};
        assert_int_equal(pb_client_send(p.client, &up, 1 << 20, NULL), OK);
        if (up.len)
            assert_int_equal(pb_conn_recv(p.server, up.data, up.len, NULL), OK);
        assert_int_equal(pb_conn_send(p.server, &down, 1 << 20, NULL), OK);
        if (down.len)
            assert_int_equal(pb_client_recv(p.client, down.data, down.len, NULL), OK);
        total += down.len;
        any = up.len || down.len;
    }
    return total;
}

static void begin(enum pb_method_id id, const ProtobufCMessage *m, uint64_t timeout_ns,
                  bool half_close)
{
    assert_int_equal(pb_rpc_start(p.client, id, &rpc_ops, NULL, timeout_ns, &p.rpc, NULL), OK);
    if (m)
        pb_rpc_send(p.rpc, m);
    if (half_close)
        pb_rpc_half_close(p.rpc);
}

static void a_unary_call_is_answered(void **state)
{
    (void)state;
    PbGetGuestRequest req = PB_GET_GUEST_REQUEST__INIT;
    req.name = (char[]){"web"};
    begin(PB_METHOD_get_guest, &req.base, 0, true);
    carry();
    assert_int_equal(p.done, 1);
    assert_int_equal(p.code, ERR_OK);
    assert_int_equal(p.responses, 1);
    assert_int_equal(pb_conn_calls(p.server), 0);
    assert_true(p.wakes > 0);
}

static void an_error_comes_with_its_code_and_text(void **state)
{
    (void)state;
    PbGetGuestRequest req = PB_GET_GUEST_REQUEST__INIT;
    req.name = (char[]){"none"};
    begin(PB_METHOD_get_guest, &req.base, 0, true);
    carry();
    assert_int_equal(p.code, ERR_NOT_FOUND);
    assert_string_equal(p.text, "no guest \"none\": 100%");
    assert_int_equal(p.gone, 0);
}

static void a_paused_client_stops_the_server(void **state)
{
    (void)state;
    PbReadLogsRequest req = PB_READ_LOGS_REQUEST__INIT;
    p.to_pull = 1000; /* 30 MB */
    begin(PB_METHOD_read_logs, &req.base, 0, true);
    pb_rpc_pause(p.rpc);
    carry();
    pb_call_wake(p.call);
    size_t sent = carry();
    assert_true(sent > 200000 && sent < 400000); /* the client's window */
    assert_int_equal(p.responses, 0);
    unsigned pulled = p.pulled;
    pb_call_wake(p.call);
    carry();
    assert_int_equal(p.pulled, pulled); /* no window, no pull */
    pb_rpc_resume(p.rpc);
    carry();
    assert_int_equal(p.done, 1);
    assert_int_equal(p.responses, 1000);
}

static void a_paused_handler_stops_the_client(void **state)
{
    (void)state;
    static uint8_t data[30000];
    PbImportImageRequest req = PB_IMPORT_IMAGE_REQUEST__INIT;
    req.kind_case = PB_IMPORT_IMAGE_REQUEST__KIND_DATA;
    req.data = (ProtobufCBinaryData){sizeof data, data};
    begin(PB_METHOD_import_image, &req.base, 0, false);
    carry();
    assert_int_equal(p.requests, 1);
    pb_call_pause(p.call);
    for (int i = 0; i < 100; i++)
        pb_rpc_send(p.rpc, &req.base);
    carry();
    assert_int_equal(p.requests, 1);
    assert_true(pb_rpc_queued(p.rpc) >
                100 * sizeof data - 70000); /* all but a window is still the client's */
    pb_call_resume(p.call);
    pb_rpc_half_close(p.rpc);
    carry();
    assert_int_equal(p.requests, 101);
    assert_int_equal(p.bytes_in, 101 * sizeof data);
    assert_int_equal(p.half_closed, 1);
    PbImage image = PB_IMAGE__INIT;
    pb_call_reply(p.call, &image.base);
    carry();
    assert_int_equal(p.done, 1);
    assert_int_equal(p.code, ERR_OK);
}

static void a_deadline_ends_the_call_for_both(void **state)
{
    (void)state;
    PbWaitGuestRequest req = PB_WAIT_GUEST_REQUEST__INIT;
    begin(PB_METHOD_wait_guest, &req.base, 5000000, true);
    carry();
    uint64_t now = os_now_ns();
    assert_true(pb_conn_deadline(p.server) <= now + 5000000);
    pb_conn_expire(p.server, now - 1000000000);
    assert_int_equal(p.gone, 0);
    pb_conn_expire(p.server, now + 6000000);
    carry();
    assert_int_equal(p.gone, 1);
    assert_int_equal(p.code, ERR_DEADLINE);
    assert_true(pb_conn_deadline(p.server) == UINT64_MAX);
}

static void a_call_of_a_lost_connection_is_gone_once(void **state)
{
    (void)state;
    PbWaitGuestRequest req = PB_WAIT_GUEST_REQUEST__INIT;
    begin(PB_METHOD_wait_guest, &req.base, 0, true);
    carry();
    assert_non_null(p.call);
    pb_conn_free(p.server);
    p.server = NULL;
    assert_int_equal(p.gone, 1);
    struct err err;
    err_set(&err, ERR_UNAVAILABLE, "gone");
    pb_client_lost(p.client, &err);
    assert_int_equal(p.done, 1);
    assert_int_equal(p.code, ERR_UNAVAILABLE);
}

static void the_server_may_end_a_stream_that_the_client_keeps_open(void **state)
{
    (void)state;
    PbAttachRequest req = PB_ATTACH_REQUEST__INIT;
    req.kind_case = PB_ATTACH_REQUEST__KIND_SIGNAL;
    handlers[PB_METHOD_attach_guest].pull = NULL;
    begin(PB_METHOD_attach_guest, &req.base, 0, false);
    carry();
    PbAttachResponse resp = PB_ATTACH_RESPONSE__INIT;
    pb_call_reply(p.call, &resp.base);
    carry();
    assert_int_equal(p.done, 1);
    assert_int_equal(p.code, ERR_OK);
    assert_int_equal(p.responses, 1);
    assert_int_equal(pb_conn_calls(p.server), 0);
}

static void a_draining_server_takes_no_new_calls_and_finishes_old_ones(void **state)
{
    (void)state;
    PbWaitGuestRequest req = PB_WAIT_GUEST_REQUEST__INIT;
    begin(PB_METHOD_wait_guest, &req.base, 0, true);
    carry();
    pb_conn_drain(p.server);
    carry();
    assert_int_equal(p.done, 0);
    PbGuest g = PB_GUEST__INIT;
    pb_call_reply(p.call, &g.base);
    carry();
    assert_int_equal(p.code, ERR_OK);
    begin(PB_METHOD_wait_guest, &req.base, 0, true);
    carry();
    assert_int_equal(p.done, 2);
    assert_int_equal(p.code, ERR_UNAVAILABLE);
    assert_int_equal(p.requests, 1);
}

/* methods.def against the .proto files, which have no say in which calls stream. */
extern const ProtobufCServiceDescriptor pb_guest_service__descriptor, pb_image_service__descriptor,
    pb_daemon_service__descriptor;

static void the_table_of_methods_agrees_with_the_services(void **state)
{
    (void)state;
    const ProtobufCServiceDescriptor *services[] = {&pb_guest_service__descriptor,
                                                    &pb_image_service__descriptor,
                                                    &pb_event_service__descriptor,
                                                    &pb_daemon_service__descriptor};
    unsigned count = 0;
    for (unsigned s = 0; s < ARRAY_LEN(services); s++)
        for (unsigned i = 0; i < services[s]->n_methods; i++, count++) {
            const ProtobufCMethodDescriptor *m = &services[s]->methods[i];
            char path[200];
            snprintf(path, sizeof path, "/%s/%s", services[s]->name, m->name);
            enum pb_method_id id = pb_method_find(path, strlen(path));
            assert_true(id < PB_METHOD_COUNT);
            assert_ptr_equal(pb_methods[id].request, m->input);
            assert_ptr_equal(pb_methods[id].response, m->output);
        }
    assert_int_equal(count, PB_METHOD_COUNT);
    assert_int_equal(pb_method_find("/", 1), PB_METHOD_ALL_COUNT);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_unary_call_is_answered),
        T(an_error_comes_with_its_code_and_text),
        T(a_paused_client_stops_the_server),
        T(a_paused_handler_stops_the_client),
        T(a_deadline_ends_the_call_for_both),
        T(a_call_of_a_lost_connection_is_gone_once),
        T(the_server_may_end_a_stream_that_the_client_keeps_open),
        T(a_draining_server_takes_no_new_calls_and_finishes_old_ones),
        T(the_table_of_methods_agrees_with_the_services),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
