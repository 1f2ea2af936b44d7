// links: proto engine/base
#include "proto/channel.h"
#include "proto/frame.h"
#include "proto/guest.pb-c.h"
#include "proto/message.h"
#include "proto/methods.h"
#include "proto/paths.h"
#include "proto/status.h"
#include "proto/worker.pb-c.h"
#include "engine/base/base.h"
#include "engine/base/os.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void messages_come_out_whole_however_the_bytes_are_cut(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 7);
    for (int framing = 0; framing < 2; framing++) {
        CLEANUP(buf_fini) struct buf wire = {0};
        size_t sizes[200], next = 0;
        for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
            sizes[i] = rng_below(&r, i % 10 ? 50 : 5000);
            if (framing == PB_FRAMING_GRPC) {
                buf_put_u8(&wire, 0);
                buf_put_u32(&wire, __builtin_bswap32((uint32_t)sizes[i]));
            } else {
                buf_put_u32(&wire, (uint32_t)sizes[i]);
            }
            for (size_t k = 0; k < sizes[i]; k++)
                buf_put_u8(&wire, (uint8_t)(i + k));
        }
        struct pb_splitter s;
        pb_splitter_init(&s, (enum pb_framing)framing, 5000);
        for (size_t at = 0; at < wire.len;) {
            size_t most = 1 + rng_below(&r, 700), n = MIN(wire.len - at, most);
            assert_int_equal(pb_splitter_put(&s, wire.data + at, n, NULL), OK);
            at += n;
            for (;;) {
                bool got;
                const uint8_t *p;
                size_t len;
                assert_int_equal(pb_splitter_next(&s, &got, &p, &len, NULL), OK);
                if (!got)
                    break;
                assert_int_equal(len, sizes[next]);
                for (size_t k = 0; k < len; k++)
                    assert_int_equal(p[k], (uint8_t)(next + k));
                next++;
            }
        }
        assert_int_equal(next, ARRAY_LEN(sizes));
        assert_int_equal(pb_splitter_left(&s), 0);
        pb_splitter_fini(&s);
    }
}

static void a_length_above_the_limit_is_refused_before_its_bytes_come(void **state)
{
    (void)state;
    static const uint8_t grpc[] = {0, 0, 0, 0x10, 1}, child[] = {1, 0x10, 0, 0};
    const struct {
        enum pb_framing framing;
        const uint8_t *p;
        size_t n;
    } cases[] = {{PB_FRAMING_GRPC, grpc, sizeof grpc}, {PB_FRAMING_CHILD, child, sizeof child}};
    for (unsigned i = 0; i < 2; i++) {
        struct pb_splitter s;
        struct err err;
        bool got;
        const uint8_t *p;
        size_t n;
        pb_splitter_init(&s, cases[i].framing, 4096);
        assert_int_equal(pb_splitter_put(&s, cases[i].p, cases[i].n, NULL), OK);
        assert_int_equal(pb_splitter_next(&s, &got, &p, &n, &err), FAIL);
        assert_int_equal(err.code, ERR_LIMIT);
        pb_splitter_fini(&s);
    }
}

static void only_valid_utf8_passes(void **state)
{
    (void)state;
    static const char *const good[] = {
        "", "abc", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\xa7", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",         "\xc0\x80",         "\xc3",
                                      "\xe0\x80\x80", "\xed\xa0\x80",     "\xf0\x80\x80\x80",
                                      "\xf5\x80\x80", "\xf4\x90\x80\x80", "a\xff"};
    for (unsigned i = 0; i < ARRAY_LEN(good); i++)
        assert_true(pb_utf8_valid(good[i], strlen(good[i])));
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(pb_utf8_valid(bad[i], strlen(bad[i])));
    assert_false(pb_utf8_valid("a\0b", 3));
}

static void strings_are_checked_in_nested_and_repeated_fields(void **state)
{
    (void)state;
    PbEnvVar bad = PB_ENV_VAR__INIT, *env[] = {&bad};
    PbCreateGuestRequest req = PB_CREATE_GUEST_REQUEST__INIT;
    char *args[] = {(char[]){"ok"}, (char[]){"\xff"}};
    for (int i = 0; i < 2; i++) {
        CLEANUP(buf_fini) struct buf b = {0};
        struct arena a;
        struct err err;
        const ProtobufCMessage *m;
        bad.name = (char[]){"\xc3"};
        req.env = env;
        req.n_env = i == 0;
        req.args = args;
        req.n_args = i ? 2 : 1;
        pb_pack_child(&b, &req.base);
        arena_init(&a, PB_ARENA_BYTES(b.len));
        assert_int_equal(
            pb_unpack(&pb_create_guest_request__descriptor, &a, b.data + 4, b.len - 4, &m, &err),
            FAIL);
        assert_int_equal(err.code, ERR_BAD_MESSAGE);
        arena_fini(&a);
    }
}

/* A small message must not become a large one: empty submessages, two bytes each on the wire. */
static void memory_for_a_message_is_bounded_by_its_size(void **state)
{
    (void)state;
    size_t n = 400000;
    uint8_t *wire = malloc(n);
    for (size_t i = 0; i < n; i += 2) {
        wire[i] = 0x22; /* env, length-delimited */
        wire[i + 1] = 0;
    }
    struct arena a;
    const ProtobufCMessage *m;
    arena_init(&a, PB_ARENA_BYTES(n));
    (void)!pb_unpack(&pb_create_guest_request__descriptor, &a, wire, n, &m, NULL);
    assert_true(a.used_bytes <= PB_ARENA_BYTES(n));
    arena_fini(&a);
    free(wire);
}

static void random_bytes_never_break_the_parser(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 11);
    for (int i = 0; i < 20000; i++) {
        uint8_t bytes[256];
        size_t n = rng_below(&r, sizeof bytes);
        for (size_t k = 0; k < n; k++)
            bytes[k] = (uint8_t)(rng_below(&r, 4) ? rng_below(&r, 40) : rng_next(&r));
        struct arena a;
        const ProtobufCMessage *m;
        for (unsigned k = 0; k < PB_METHOD_ALL_COUNT; k++) {
            arena_init(&a, PB_ARENA_BYTES(n));
            (void)!pb_unpack(pb_methods[k].request, &a, bytes, n, &m, NULL);
            arena_fini(&a);
        }
        arena_init(&a, PB_ARENA_BYTES(n));
        (void)!pb_unpack(&pb_from_worker__descriptor, &a, bytes, n, &m, NULL);
        arena_fini(&a);
    }
}

static void walk(const ProtobufCMessageDescriptor *d, const ProtobufCMessageDescriptor **path,
                 unsigned depth)
{
    assert_true(depth < 16);
    for (unsigned i = 0; i < depth; i++)
        assert_ptr_not_equal(path[i], d);
    path[depth] = d;
    for (unsigned i = 0; i < d->n_fields; i++)
        if (d->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
            walk(d->fields[i].descriptor, path, depth + 1);
}

static void no_message_is_recursive(void **state)
{
    (void)state;
    const ProtobufCMessageDescriptor *path[16];
    for (unsigned i = 0; i < PB_METHOD_ALL_COUNT; i++) {
        walk(pb_methods[i].request, path, 0);
        walk(pb_methods[i].response, path, 0);
    }
    walk(&pb_to_worker__descriptor, path, 0);
    walk(&pb_from_worker__descriptor, path, 0);
}

static void statuses_and_errors_map_onto_each_other(void **state)
{
    (void)state;
    for (int grpc = 0; grpc <= 16; grpc++)
        assert_string_not_equal(pb_status_name(grpc), grpc == 2 ? "" : "UNKNOWN");
    assert_string_equal(pb_status_name(99), "UNKNOWN");
    static const enum err_code round[] = {ERR_OK,        ERR_LIMIT,    ERR_INVALID, ERR_NOT_FOUND,
                                          ERR_EXISTS,    ERR_STATE,    ERR_DENIED,  ERR_UNAVAILABLE,
                                          ERR_CANCELLED, ERR_DEADLINE, ERR_INTERNAL};
    for (unsigned i = 0; i < ARRAY_LEN(round); i++)
        assert_int_equal(pb_status_err(err_grpc(round[i])), round[i]);
}

static void grpc_message_survives_its_encoding(void **state)
{
    (void)state;
    char coded[1300], back[400];
    static const char text[] = "100% of \"caf\xc3\xa9\"\nat \x7f";
    size_t n = pb_percent_encode(coded, sizeof coded, text);
    assert_string_equal(coded, "100%25 of \"caf%C3%A9\"%0Aat %7F");
    pb_percent_decode(back, sizeof back, coded, n);
    assert_string_equal(back, text);
    assert_int_equal(pb_percent_encode(coded, 5, "ab%d"), 2); /* an escape is never cut */
    pb_percent_decode(back, sizeof back, "%4%zz%", 6);
    assert_string_equal(back, "%4%zz%");
}

static void timeouts_are_parsed_and_written(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {{"1n", 1},          {"250u", 250000},        {"5m", 5000000},
                {"3S", 3000000000}, {"2M", 120000000000ull}, {"1H", 3600000000000ull}};
    for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
        uint64_t ns;
        assert_int_equal(pb_timeout_parse(good[i].text, strlen(good[i].text), &ns, NULL), OK);
        assert_int_equal(ns, good[i].ns);
    }
    static const char *const bad[] = {"", "1", "S", "-1S", "1s", "123456789S", "1 S", "0x1S"};
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        uint64_t ns;
        assert_int_equal(pb_timeout_parse(bad[i], strlen(bad[i]), &ns, NULL), FAIL);
    }
    for (uint64_t ns = 1; ns < UINT64_MAX / 8;
         ns *= 7) { /* never shorter than asked, hardly longer */
        char text[16];
        uint64_t back;
        size_t n = pb_timeout_format(text, sizeof text, ns);
        assert_int_equal(pb_timeout_parse(text, n, &back, NULL), OK);
        assert_true(back >= ns || back == UINT64_MAX / 2);
        assert_true(back - ns <= ns / 1000 + 1);
    }
}

static void names_and_digests_are_checked(void **state)
{
    (void)state;
    char long_name[80];
    memset(long_name, 'a', 64);
    long_name[64] = 0;
    assert_true(pb_guest_name_valid("web-1.a_b"));
    assert_true(pb_guest_name_valid(long_name + 1));
    assert_false(pb_guest_name_valid(long_name));
    static const char *const bad[] = {"", "-a", ".a", "A", "a/b", "a b", "a\n", "\xc3\xa9"};
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(pb_guest_name_valid(bad[i]));
    assert_true(pb_image_name_valid("library/busybox:1.36"));
    static const char digest[] =
        "sha256-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    assert_true(pb_digest_valid(digest));
    assert_false(pb_image_name_valid(digest));
    assert_false(pb_digest_valid("sha256-01"));
}

static void a_private_folder_is_made_and_an_open_one_refused(void **state)
{
    (void)state;
    char base[] = "/tmp/vv-paths-XXXXXX", path[100];
    struct stat st;
    struct err err;
    assert_non_null(mkdtemp(base));
    snprintf(path, sizeof path, "%s/a/b", base);
    assert_int_equal(pb_private_dir(path, &err), OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(chmod(path, 0777), 0);
    assert_int_equal(pb_private_dir(path, &err), FAIL);
    assert_int_equal(err.code, ERR_DENIED);
    rmdir(path);
    assert_int_equal(symlink(base, path), 0);
    assert_int_equal(pb_private_dir(path, &err), FAIL);
    unlink(path);
    snprintf(path, sizeof path, "%s/a", base);
    rmdir(path);
    rmdir(base);
}

static void descriptors_arrive_with_their_messages_in_order(void **state)
{
    (void)state;
    int pair[2];
    struct pb_channel a, b;
    struct err err;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    pb_channel_init(&a, pair[0], 1 << 20, false);
    pb_channel_init(&b, pair[1], 1 << 20, true);
    static uint8_t big[100000];
    struct stat want[20];
    for (unsigned i = 0; i < ARRAY_LEN(want);
         i++) { /* each with another file, large ones between */
        PbWorkerInput input = PB_WORKER_INPUT__INIT;
        PbToWorker to = PB_TO_WORKER__INIT;
        int fd = -1;
        if (i % 3 != 2) {
            fd = memfd_create("x", MFD_CLOEXEC);
            assert_int_equal(fstat(fd, &want[i]), 0);
        }
        input.guest = i + 1;
        input.data = (ProtobufCBinaryData){i % 4 ? 10 : sizeof big, big};
        to.kind_case = PB_TO_WORKER__KIND_INPUT;
        to.input = &input;
        pb_channel_put(&a, &to.base, fd);
    }
    unsigned seen = 0;
    while (seen < ARRAY_LEN(want)) {
        assert_int_equal(pb_channel_flush(&a, &err), OK);
        assert_int_equal(pb_channel_fill(&b, &err), OK);
        for (;;) {
            const ProtobufCMessage *m;
            assert_int_equal(pb_channel_next(&b, &pb_to_worker__descriptor, &m, &err), OK);
            if (!m)
                break;
            assert_int_equal(((const PbToWorker *)m)->input->guest, seen + 1);
            if (seen % 3 != 2) {
                struct stat st;
                int fd = pb_channel_take_fd(&b);
                assert_int_equal(fstat(fd, &st), 0);
                assert_int_equal(st.st_ino, want[seen].st_ino);
                close(fd);
            }
            seen++;
        }
    }
    assert_int_equal(pb_channel_take_fd(&b), -1);
    pb_channel_fini(&a);
    assert_int_equal(pb_channel_fill(&b, &err), FAIL);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    pb_channel_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_out_whole_however_the_bytes_are_cut),
        cmocka_unit_test(a_length_above_the_limit_is_refused_before_its_bytes_come),
        cmocka_unit_test(only_valid_utf8_passes),
        cmocka_unit_test(strings_are_checked_in_nested_and_repeated_fields),
        cmocka_unit_test(memory_for_a_message_is_bounded_by_its_size),
        cmocka_unit_test(random_bytes_never_break_the_parser),
        cmocka_unit_test(no_message_is_recursive),
        cmocka_unit_test(statuses_and_errors_map_onto_each_other),
        cmocka_unit_test(grpc_message_survives_its_encoding),
        cmocka_unit_test(timeouts_are_parsed_and_written),
        cmocka_unit_test(names_and_digests_are_checked),
        cmocka_unit_test(a_private_folder_is_made_and_an_open_one_refused),
        cmocka_unit_test(descriptors_arrive_with_their_messages_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
