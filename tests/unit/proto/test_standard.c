// links: proto engine/base
/* Health, reflection and error details, as a client sees them; bytes go by hand. */
#include "engine/base/arena.h"
#include "engine/base/base.h"
#include "proto/client.h"
#include "proto/descriptors.h"
#include "proto/details.h"
#include "proto/grpc/health/v1/health.pb-c.h"
#include "proto/grpc/reflection/v1/reflection.pb-c.h"
#include "proto/guest.pb-c.h"
#include "proto/health.h"
#include "proto/message.h"
#include "proto/rpc_status.pb-c.h"
#include "proto/server.h"
#include "proto/status.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define SERVING PB_HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING PB_HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define SERVICE_UNKNOWN PB_HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN

struct world {
    struct pb_conn *server;
    struct pb_client *client;
    struct pb_health health;
    struct pb_conn_ops ops;
    struct pb_counts counts;
    struct err refuse_with;
    struct pb_rpc *rpc;
    unsigned responses, done;
    struct err err;
    /* the last response */
    int serving;
    char answers[1024]; /* of reflection, one word each */
};
static struct world w;

static void on_wake(void *ctx)
{
    (void)ctx;
}

static void on_request(struct pb_call *c, const ProtobufCMessage *m)
{
    (void)m;
    pb_call_finish(c, &w.refuse_with);
}

static void on_gone(struct pb_call *c)
{
    (void)c;
}

/* A word about a reflection response. */
static void note_reflection(const PbServerReflectionResponse *r)
{
    char word[128] = "?";
    switch (r->message_response_case) {
    case PB_SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE:
        snprintf(word, sizeof word, "services:%zu", r->list_services_response->n_service);
        break;
    case PB_SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE: {
        const PbFileDescriptorResponse *f = r->file_descriptor_response;
        const uint8_t *name = f->file_descriptor_proto[0].data; /* field 1 comes first */
        snprintf(word, sizeof word, "%.*s+%zu", name[1], (const char *)name + 2,
                 f->n_file_descriptor_proto - 1);
        break;
    }
    case PB_SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE:
        snprintf(word, sizeof word, "numbers:%zu",
                 r->all_extension_numbers_response->n_extension_number);
        break;
    case PB_SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE:
        snprintf(word, sizeof word, "error:%d", r->error_response->error_code);
        break;
    default:
        break;
    }
    size_t n = strlen(w.answers);
    snprintf(w.answers + n, sizeof w.answers - n, "%s%s", n ? " " : "", word);
}

static void on_response(void *ctx, const ProtobufCMessage *m)
{
    (void)ctx;
    w.responses++;
    if (m->descriptor == &pb_health_check_response__descriptor)
        w.serving = (int)((const PbHealthCheckResponse *)m)->status;
    else if (m->descriptor == &pb_server_reflection_response__descriptor)
        note_reflection((const PbServerReflectionResponse *)m);
}

static void on_done(void *ctx, const struct err *err)
{
    (void)ctx;
    w.rpc = NULL;
    w.done++;
    w.err = err ? *err : (struct err){0};
}

static const struct pb_rpc_ops rpc_ops = {on_response, on_done};

static int set_up(void **state)
{
    static struct pb_handler handlers[PB_METHOD_COUNT];
    (void)state;
    w = (struct world){0};
    for (unsigned i = 0; i < PB_METHOD_COUNT; i++)
        handlers[i] = (struct pb_handler){on_request, NULL, NULL, on_gone};
    pb_health_init(&w.health, true);
    w.ops = (struct pb_conn_ops){
        .handlers = handlers, .wake = on_wake, .health = &w.health, .counts = &w.counts};
    return pb_conn_new(&w.ops, NULL, &w.server, NULL) || pb_client_new(&w.client, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    pb_client_free(w.client);
    pb_conn_free(w.server);
    assert_true(list_empty(&w.health.watchers));
    return 0;
}

static void carry(void)
{
    for (bool any = true; any;) {
        CLEANUP(buf_fini) struct buf up = {0};
        CLEANUP(buf_fini) struct buf down = {0};
        assert_int_equal(pb_client_send(w.client, &up, 1 << 20, NULL), OK);
        if (up.len)
            assert_int_equal(pb_conn_recv(w.server, up.data, up.len, NULL), OK);
        assert_int_equal(pb_conn_send(w.server, &down, 1 << 20, NULL), OK);
        if (down.len)
            assert_int_equal(pb_client_recv(w.client, down.data, down.len, NULL), OK);
        any = up.len || down.len;
    }
}

static void start(enum pb_method_id id)
{
    assert_int_equal(pb_rpc_start(w.client, id, &rpc_ops, NULL, 0, &w.rpc, NULL), OK);
}

static void ask(enum pb_method_id id, const ProtobufCMessage *m)
{
    start(id);
    pb_rpc_send(w.rpc, m);
    pb_rpc_half_close(w.rpc);
    carry();
}

/* ---- details ---- */

static void fail_with(enum err_code code, const char *reason, const char *type, const char *object,
                      const char *fix)
{
    PbGetGuestRequest req = PB_GET_GUEST_REQUEST__INIT;
    err_set(&w.refuse_with, code, "it did not work");
    err_explain(&w.refuse_with, reason, type, object, fix);
    w.done = 0;
    ask(PB_METHOD_get_guest, &req.base);
    assert_int_equal(w.done, 1);
}

static void an_error_comes_back_whole(void **state)
{
    (void)state;
    fail_with(ERR_STATE, "GUEST_RUNNING", "guest", "web", "stop it first");
    assert_int_equal(w.err.code, ERR_STATE);
    assert_string_equal(w.err.text, "it did not work");
    assert_string_equal(w.err.reason, "GUEST_RUNNING");
    assert_string_equal(w.err.type, "guest");
    assert_string_equal(w.err.object, "web");
    assert_string_equal(w.err.fix, "stop it first");
    fail_with(ERR_NOT_FOUND, NULL, NULL, NULL, NULL);
    assert_string_equal(w.err.reason, "NOT_FOUND");
    assert_null(w.err.type);
    assert_null(w.err.fix);
}

static void errors_of_one_status_are_told_apart(void **state)
{
    (void)state;
    for (unsigned code = 1; code < ERR_CODE_COUNT; code++) {
        fail_with((enum err_code)code, NULL, NULL, NULL, NULL);
        assert_int_equal(w.err.code, code);
    }
}

/* The details of err, as a set of type names. */
static void types_of(const struct err *err, char *out, size_t cap)
{
    CLEANUP(buf_fini) struct buf value = {0};
    CLEANUP(buf_fini) struct buf bytes = {0};
    struct arena arena;
    const ProtobufCMessage *m;
    pb_details_encode(&value, err);
    assert_int_equal(pb_base64_get(&bytes, (char *)value.data, value.len, NULL), OK);
    arena_init(&arena, 0);
    assert_int_equal(pb_unpack(&pb_rpc_status__descriptor, &arena, bytes.data, bytes.len, &m, NULL),
                     OK);
    const PbRpcStatus *s = (const PbRpcStatus *)m;
    assert_int_equal(s->code, err_grpc(err->code));
    out[0] = 0;
    for (size_t i = 0; i < s->n_details; i++) {
        const char *type = s->details[i]->type_url + strlen("type.googleapis.com/google.rpc.");
        snprintf(out + strlen(out), cap - strlen(out), "%s%s", i ? " " : "", type);
    }
    arena_fini(&arena);
}

static void each_status_gets_the_details_that_suit_it(void **state)
{
    (void)state;
    static const struct {
        enum err_code code;
        const char *type, *fix, *types;
    } cases[] = {
        {ERR_NOT_FOUND, "guest", NULL, "ErrorInfo ResourceInfo"},
        {ERR_LIMIT, "quota", "remove something", "ErrorInfo QuotaFailure ResourceInfo Help"},
        {ERR_STATE, "guest", "stop it", "ErrorInfo PreconditionFailure ResourceInfo Help"},
        {ERR_INVALID, "field", NULL, "ErrorInfo BadRequest"},
        {ERR_INVALID, NULL, NULL, "ErrorInfo"},
        {ERR_UNAVAILABLE, NULL, NULL, "ErrorInfo RetryInfo"},
        {ERR_INTERNAL, NULL, NULL, "ErrorInfo"},
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err;
        char types[256];
        err_set(&err, cases[i].code, "x");
        err_explain(&err, "R", cases[i].type, "o", cases[i].fix);
        types_of(&err, types, sizeof types);
        assert_string_equal(types, cases[i].types);
    }
}

static void a_text_cut_inside_a_character_stays_readable(void **state)
{
    (void)state;
    struct err err;
    char types[64];
    err_set(&err, ERR_INVALID, "caf\xc3");
    err_explain(&err, "R", "field", "\xff", NULL);
    types_of(&err, types, sizeof types);
    char s[] = "a\xc3\xa9\xed\xa0\x80\xf0\x9f";
    pb_utf8_clean(s);
    assert_string_equal(s, "a\xc3\xa9?????");
}

static void details_that_are_none_change_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "=", "A", "CgA", "!!!!", "/////w", "GgMKAXg"};
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err;
        err_set(&err, ERR_STATE, "t");
        pb_details_decode(bad[i], strlen(bad[i]), &err);
        assert_int_equal(err.code, ERR_STATE);
        assert_null(err.reason);
        assert_null(err.fix);
    }
}

static void base64_survives_with_and_without_padding(void **state)
{
    (void)state;
    static const char *const pairs[][3] = {{"", "", ""},
                                           {"f", "Zg", "Zg=="},
                                           {"fo", "Zm8", "Zm8="},
                                           {"foo", "Zm9v", "Zm9v"},
                                           {"foob", "Zm9vYg", "Zm9vYg=="}};
    for (unsigned i = 0; i < ARRAY_LEN(pairs); i++) {
        CLEANUP(buf_fini) struct buf out = {0};
        pb_base64_put(&out, pairs[i][0], strlen(pairs[i][0]));
        assert_int_equal(out.len, strlen(pairs[i][1]));
        if (out.len)
            assert_memory_equal(out.data, pairs[i][1], out.len);
        for (unsigned k = 1; k < 3; k++) {
            CLEANUP(buf_fini) struct buf back = {0};
            assert_int_equal(pb_base64_get(&back, pairs[i][k], strlen(pairs[i][k]), NULL), OK);
            assert_int_equal(back.len, strlen(pairs[i][0]));
        }
    }
}

/* ---- health ---- */

static void check(const char *service)
{
    PbHealthCheckRequest req = PB_HEALTH_CHECK_REQUEST__INIT;
    req.service = (char *)(uintptr_t)service;
    w.serving = -1;
    ask(PB_METHOD_health_check, &req.base);
}

static void health_is_told_for_the_daemon_and_each_service(void **state)
{
    (void)state;
    check("");
    assert_int_equal(w.serving, SERVING);
    check("vmd.v1.GuestService");
    assert_int_equal(w.serving, SERVING);
    check("vmd.v1.Nothing");
    assert_int_equal(w.err.code, ERR_NOT_FOUND);
    assert_string_equal(w.err.object, "vmd.v1.Nothing");
    pb_health_set(&w.health, false);
    check("vmd.v1.ImageService");
    assert_int_equal(w.serving, NOT_SERVING);
}

static void a_watcher_hears_of_each_change_once(void **state)
{
    (void)state;
    PbHealthCheckRequest req = PB_HEALTH_CHECK_REQUEST__INIT;
    ask(PB_METHOD_health_watch, &req.base);
    assert_int_equal(w.responses, 1);
    assert_int_equal(w.serving, SERVING);
    pb_health_set(&w.health, true);
    carry();
    assert_int_equal(w.responses, 1);
    pb_health_set(&w.health, false);
    carry();
    assert_int_equal(w.responses, 2);
    assert_int_equal(w.serving, NOT_SERVING);
    assert_int_equal(w.done, 0);
}

static void an_unknown_service_is_watched_all_the_same(void **state)
{
    (void)state;
    PbHealthCheckRequest req = PB_HEALTH_CHECK_REQUEST__INIT;
    req.service = (char[]){"x"};
    ask(PB_METHOD_health_watch, &req.base);
    assert_int_equal(w.serving, SERVICE_UNKNOWN);
    pb_health_set(&w.health, false);
    carry();
    assert_int_equal(w.responses, 1);
    assert_int_equal(w.done, 0);
}

static void calls_are_counted_by_method_and_status(void **state)
{
    (void)state;
    check("");
    check("none");
    check("");
    fail_with(ERR_STATE, NULL, NULL, NULL, NULL);
    assert_int_equal(w.counts.calls[PB_METHOD_health_check][0], 2);
    assert_int_equal(w.counts.calls[PB_METHOD_health_check][5], 1);
    assert_int_equal(w.counts.calls[PB_METHOD_get_guest][9], 1);
    PbHealthCheckRequest req = PB_HEALTH_CHECK_REQUEST__INIT;
    ask(PB_METHOD_health_watch, &req.base);
    pb_conn_free(w.server); /* the client is gone */
    assert_int_equal(w.counts.calls[PB_METHOD_health_watch][1], 1);
    assert_int_equal(pb_conn_new(&w.ops, NULL, &w.server, NULL), OK);
}

/* ---- reflection ---- */

#define CASE(x) PB_SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##x

static void reflect(PbServerReflectionRequest__MessageRequestCase what, const char *arg)
{
    PbServerReflectionRequest req = PB_SERVER_REFLECTION_REQUEST__INIT;
    req.message_request_case = what;
    req.file_by_filename = (char *)(uintptr_t)arg; /* they share their place */
    pb_rpc_send(w.rpc, &req.base);
}

static void reflection_answers_in_order_under_both_names(void **state)
{
    (void)state;
    static const enum pb_method_id ids[] = {PB_METHOD_reflection_v1, PB_METHOD_reflection_v1alpha};
    for (unsigned i = 0; i < 2; i++) {
        w.answers[0] = 0;
        w.done = 0;
        start(ids[i]);
        reflect(CASE(LIST_SERVICES), "");
        reflect(CASE(FILE_BY_FILENAME), "guest.proto");
        reflect(CASE(FILE_BY_FILENAME), "none.proto");
        reflect(CASE(FILE_BY_FILENAME), "rpc_status.proto");
        reflect(CASE(ALL_EXTENSION_NUMBERS_OF_TYPE), "vmd.v1.Guest");
        reflect(CASE(ALL_EXTENSION_NUMBERS_OF_TYPE), "vmd.v1.Nothing");
        reflect(CASE(_NOT_SET), NULL);
        pb_rpc_half_close(w.rpc);
        carry();
        assert_string_equal(w.answers, "services:7 guest.proto+0 error:5 rpc_status.proto+2 "
                                       "numbers:0 error:5 error:3");
        assert_int_equal(w.done, 1);
        assert_int_equal(w.err.code, ERR_OK);
    }
}

static void every_kind_of_symbol_is_found(void **state)
{
    (void)state;
    static const char *const symbols[][2] = {
        {"vmd.v1.GuestService", "guest.proto"},
        {"vmd.v1.GuestService.CreateGuest", "guest.proto"},
        {"vmd.v1.Guest", "guest.proto"},
        {"vmd.v1.Guest.name", "guest.proto"},
        {"vmd.v1.EventType", "event.proto"},
        {"vmd.v1.EVENT_TYPE_GUEST_ENDED", "event.proto"},
        {"grpc.health.v1.HealthCheckResponse.ServingStatus", "grpc/health/v1/health.proto"},
        {"grpc.health.v1.HealthCheckResponse.SERVING", "grpc/health/v1/health.proto"},
        {"google.rpc.QuotaFailure.Violation.subject", "rpc_status.proto"},
        {"vmd.v1.AttachRequest.kind", "guest.proto"},
        {"grpc.reflection.v1alpha.ServerReflection", "grpc/reflection/v1alpha/reflection.proto"},
    };
    static const char *const none[] = {"",
                                       "vmd",
                                       "vmd.v1",
                                       "vmd.v1.",
                                       "Guest",
                                       ".vmd.v1.Guest",
                                       "vmd.v1.Guest.",
                                       "vmd.v1.Guest.none",
                                       "vmd.v1.GuestService.CreateGuest.x",
                                       "vmd.worker.v1.ToWorker"};
    struct pb_descriptors api = pb_descriptors_of_api();
    struct pb_file file, by_name;
    for (unsigned i = 0; i < ARRAY_LEN(symbols); i++) {
        assert_true(pb_file_by_symbol(api, symbols[i][0], &file));
        assert_true(pb_file_by_name(api, symbols[i][1], &by_name));
        assert_ptr_equal(file.p, by_name.p);
    }
    for (unsigned i = 0; i < ARRAY_LEN(none); i++)
        assert_false(pb_file_by_symbol(api, none[i], &file));
    assert_true(pb_message_known(api, "vmd.v1.Guest"));
    assert_false(pb_message_known(api, "vmd.v1.GuestService"));
}

static void every_service_of_the_table_is_described(void **state)
{
    (void)state;
    struct pb_file file;
    char symbol[128];
    for (unsigned i = 0; i < PB_METHOD_ALL_COUNT; i++) {
        snprintf(symbol, sizeof symbol, "%s.%s", pb_methods[i].service, pb_methods[i].name);
        assert_true(pb_file_by_symbol(pb_descriptors_of_api(), symbol, &file));
    }
}

/* file { name "a", package "p", message M { extension { name "in", extendee ".p.M", number 7 } },
 *        extension { name "out", extendee ".p.M", number 200 } } and a file "b" that imports "a" and itself */
static const uint8_t small_set[] = {
    0x0a, 49,   0x0a, 1,    'a', 0x12, 1,    'p', 0x22, 21,   0x0a, 1,    'M',  0x32, 16, 0x0a,
    2,    'i',  'n',  0x12, 4,   '.',  'p',  '.', 'M',  0x18, 7,    0x20, 1,    0x28, 5,  0x3a,
    18,   0x0a, 3,    'o',  'u', 't',  0x12, 4,   '.',  'p',  '.',  'M',  0x18, 0xc8, 1,  0x20,
    1,    0x28, 5,    0x0a, 9,   0x0a, 1,    'b', 0x1a, 1,    'a',  0x1a, 1,    'b'};

static void extensions_are_found_with_their_numbers(void **state)
{
    (void)state;
    struct pb_descriptors set = {small_set, sizeof small_set};
    struct pb_file file, files[4];
    int32_t numbers[4] = {0};
    assert_int_equal(pb_file_count(set), 2);
    assert_int_equal(pb_extension_numbers(set, "p.M", numbers, 4), 2);
    assert_int_equal(numbers[0] + numbers[1], 207);
    assert_int_equal(pb_extension_numbers(set, "p.N", numbers, 4), 0);
    assert_true(pb_file_by_extension(set, "p.M", 200, &file));
    assert_true(pb_file_by_extension(set, "p.M", 7, &file));
    assert_false(pb_file_by_extension(set, "p.M", 8, &file));
    assert_true(pb_file_by_symbol(set, "p.M.in", &file));
    assert_true(pb_file_by_symbol(set, "p.out", &file));
    assert_true(pb_file_by_name(set, "b", &file));
    assert_int_equal(pb_file_closure(set, file, files, 4), 2);
    for (size_t n = 0; n < sizeof small_set; n++) { /* cut anywhere: no harm */
        struct pb_descriptors cut = {small_set, n};
        (void)pb_file_by_symbol(cut, "p.M.in", &file);
        (void)pb_extension_numbers(cut, "p.M", numbers, 4);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_error_comes_back_whole),
        TEST(errors_of_one_status_are_told_apart),
        TEST(each_status_gets_the_details_that_suit_it),
        TEST(a_text_cut_inside_a_character_stays_readable),
        TEST(details_that_are_none_change_nothing),
        TEST(base64_survives_with_and_without_padding),
        TEST(health_is_told_for_the_daemon_and_each_service),
        TEST(a_watcher_hears_of_each_change_once),
        TEST(an_unknown_service_is_watched_all_the_same),
        TEST(calls_are_counted_by_method_and_status),
        TEST(reflection_answers_in_order_under_both_names),
        TEST(every_kind_of_symbol_is_found),
        TEST(every_service_of_the_table_is_described),
        TEST(extensions_are_found_with_their_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
