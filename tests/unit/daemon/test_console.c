// links: daemon/manager proto engine/base
#include "daemon/manager/console.h"
#include "engine/base/base.h"
#include "engine/base/os.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* Byte number i of the output, whatever its stream. */
static uint8_t byte_at(uint64_t i)
{
    return (uint8_t)(i * 31 + i / 251);
}

static void put(struct mgr_console *c, unsigned stream, size_t n)
{
    static uint8_t bytes[MGR_CONSOLE_PUT_MAX];
    for (size_t i = 0; i < n; i++)
        bytes[i] = byte_at(mgr_console_seq(c) + i);
    assert_true(mgr_console_put(c, stream, bytes, n, 1));
}

/* Everything a reader gets is right and at its place; returns bytes got, adds to *dropped. */
static uint64_t read_some(struct mgr_console *c, struct mgr_cursor *at, size_t most,
                          uint64_t *dropped)
{
    static uint8_t bytes[65536];
    struct mgr_piece piece;
    size_t n = mgr_console_get(c, at, &piece, bytes, MIN(most, sizeof bytes));
    *dropped += piece.dropped;
    for (size_t i = 0; i < n; i++)
        assert_int_equal(bytes[i], byte_at(at->seq - n + i));
    return n;
}

static void a_reader_gets_both_streams_in_order(void **state)
{
    (void)state;
    struct mgr_console c;
    assert_int_equal(mgr_console_init(&c, MGR_CONSOLE_KEPT, NULL, NULL), OK);
    struct mgr_cursor at = mgr_console_begin();
    struct mgr_piece piece;
    char text[32];
    assert_int_equal(mgr_console_get(&c, &at, &piece, text, sizeof text), 0);
    assert_true(mgr_console_put(&c, 1, "ab", 2, 1) && mgr_console_put(&c, 1, "c", 1, 1) &&
                mgr_console_put(&c, 2, "d", 1, 1));
    assert_int_equal(mgr_console_get(&c, &at, &piece, text, sizeof text), 3);
    assert_memory_equal(text, "abc", 3);
    assert_int_equal(piece.stream, 1);
    assert_int_equal(mgr_console_get(&c, &at, &piece, text, sizeof text), 1);
    assert_int_equal(piece.stream, 2);
    assert_int_equal(mgr_console_get(&c, &at, &piece, text, sizeof text), 0);
    assert_true(mgr_console_put(&c, 2, "e", 1, 1)); /* the record grows behind the reader */
    assert_int_equal(mgr_console_get(&c, &at, &piece, text, sizeof text), 1);
    assert_int_equal(text[0], 'e');
    struct mgr_cursor now = mgr_console_newest(&c);
    assert_int_equal(mgr_console_behind(&c, &now), 0);
    assert_true(mgr_console_put(&c, 2, "f", 1, 1));
    assert_int_equal(mgr_console_get(&c, &now, &piece, text, sizeof text), 1);
    assert_int_equal(text[0], 'f');
    mgr_console_fini(&c, true);
}

static void a_reader_left_behind_learns_what_it_lost_and_the_last_256_kib_are_kept(void **state)
{
    (void)state;
    struct mgr_console c;
    assert_int_equal(mgr_console_init(&c, MGR_CONSOLE_KEPT, NULL, NULL), OK);
    struct mgr_cursor at = mgr_console_begin();
    uint64_t lost = 0, got = 0, n;
    for (int i = 0; i < 3000; i++)
        put(&c, 1 + (unsigned)(i % 7 == 0), 1000);
    while ((n = read_some(&c, &at, 7777, &lost)))
        got += n;
    assert_int_equal(got + lost, mgr_console_seq(&c));
    assert_true(got >= MGR_CONSOLE_KEPT);
    mgr_console_fini(&c, true);
}

static void random_readers_see_every_byte_once_or_counted(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 3);
    struct mgr_console c;
    assert_int_equal(mgr_console_init(&c, MGR_CONSOLE_KEPT, NULL, NULL), OK);
    struct mgr_cursor at[5];
    uint64_t got[5] = {0}, lost[5] = {0};
    for (int i = 0; i < 5; i++)
        at[i] = mgr_console_begin();
    for (int step = 0; step < 40000; step++) {
        put(&c, 1 + (unsigned)rng_below(&r, 2), 1 + rng_below(&r, step % 100 ? 300 : 60000));
        for (unsigned i = 0; i < 5; i++) /* from eager to lazy */
            if (rng_below(&r, 1u << (3 * i)) == 0)
                got[i] += read_some(&c, &at[i], 1 + rng_below(&r, 40000), &lost[i]);
        assert_true(c.book->head - c.book->tail <= c.ring_bytes);
    }
    for (int i = 0; i < 5; i++) {
        for (uint64_t n; (n = read_some(&c, &at[i], 32768, &lost[i]));)
            got[i] += n;
        assert_int_equal(got[i] + lost[i], mgr_console_seq(&c));
    }
    assert_true(lost[4] > 0);
    mgr_console_fini(&c, true);
}

/* Rule (3): what credit was charged for is never less than the room used. */
static void a_record_costs_at_most_its_bytes_and_a_head(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 5);
    struct mgr_console c;
    assert_int_equal(mgr_console_init(&c, MGR_CONSOLE_KEPT, NULL, NULL), OK);
    uint64_t charged = 0;
    for (int i = 0; i < 100000; i++) {
        size_t n = 1 + rng_below(&r, 3);
        put(&c, 1 + (unsigned)rng_below(&r, 2), n);
        charged += n + MGR_CONSOLE_HEAD;
        assert_true(c.book->head <= charged);
    }
    mgr_console_fini(&c, true);
}

static void say(struct mgr_console *c, const char *text, int64_t time_ns)
{
    assert_true(mgr_console_put(c, 1, text, strlen(text), time_ns));
}

static void text_from(const struct mgr_console *c, struct mgr_cursor at, char *out, size_t cap)
{
    struct mgr_piece piece;
    size_t n = 0, k;
    while ((k = mgr_console_get(c, &at, &piece, out + n, cap - 1 - n)))
        n += k;
    out[n] = 0;
}

static void reading_begins_at_a_line_a_time_or_a_byte(void **state)
{
    (void)state;
    const int64_t s = 1000000000;
    struct mgr_console c;
    char text[100];
    assert_int_equal(mgr_console_init(&c, MGR_CONSOLE_KEPT, NULL, NULL), OK);
    text_from(&c, mgr_console_tail(&c, 3), text, sizeof text);
    assert_string_equal(text, "");
    say(&c, "one\ntwo\nth", 10 * s);
    say(&c, "ree\nfour\n", 20 * s);
    text_from(&c, mgr_console_tail(&c, 0), text, sizeof text);
    assert_string_equal(text, "");
    text_from(&c, mgr_console_tail(&c, 1), text, sizeof text);
    assert_string_equal(text, "four\n");
    text_from(&c, mgr_console_tail(&c, 2), text, sizeof text);
    assert_string_equal(text, "three\nfour\n");
    text_from(&c, mgr_console_tail(&c, 4), text, sizeof text);
    assert_string_equal(text, "one\ntwo\nthree\nfour\n");
    text_from(&c, mgr_console_tail(&c, 400), text, sizeof text);
    assert_string_equal(text, "one\ntwo\nthree\nfour\n");
    say(&c, "not ended", 30 * s);
    text_from(&c, mgr_console_tail(&c, 2), text, sizeof text);
    assert_string_equal(text, "four\nnot ended");
    text_from(&c, mgr_console_since(&c, 15 * s), text, sizeof text);
    assert_string_equal(text, "ree\nfour\nnot ended");
    text_from(&c, mgr_console_since(&c, 31 * s), text, sizeof text);
    assert_string_equal(text, "");
    text_from(&c, mgr_console_from(&c, 9), text, sizeof text);
    assert_string_equal(text, "hree\nfour\nnot ended");
    text_from(&c, mgr_console_from(&c, 1000), text, sizeof text);
    assert_string_equal(text, "");
    mgr_console_fini(&c, true);
}

/* What a daemon that is killed anywhere leaves: the bytes of the file after some of the stores were done. */
static void a_file_outlives_its_daemon_and_a_damaged_one_begins_anew(void **state)
{
    (void)state;
    char path[] = "/tmp/vv-console.XXXXXX", text[100];
    struct mgr_console c, d;
    struct mgr_cursor at = mgr_console_begin();
    uint64_t lost = 0, got = 0, n;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(mgr_console_init(&c, 8192, path, NULL), OK);
    for (int i = 0; i < 900; i++)
        put(&c, 1 + (unsigned)(i % 3 == 0), 1 + (size_t)(i * 7 % 600));
    uint64_t seq = mgr_console_seq(&c);
    mgr_console_fini(&c, false);
    assert_int_equal(mgr_console_init(&d, 8192, path, NULL), OK);
    mgr_console_restore(&d);
    assert_int_equal(mgr_console_seq(&d), seq);
    put(&d, 1, 100); /* it goes on */
    /* the newest record says more than head: the daemon was killed between the two stores */
    d.book->head -= 40;
    while ((n = read_some(&d, &at, 7777, &lost)) && at.seq < seq)
        got += n;
    mgr_console_fini(&d, false);
    assert_true(got > 8192);
    assert_int_equal(mgr_console_init(&d, 8192, path, NULL), OK);
    mgr_console_restore(&d);
    assert_int_equal(mgr_console_seq(&d), seq + 60);
    d.book->tail += 5; /* nonsense */
    mgr_console_fini(&d, false);
    assert_int_equal(mgr_console_init(&d, 8192, path, NULL), OK);
    mgr_console_restore(&d);
    assert_int_equal(mgr_console_seq(&d), 0);
    assert_int_not_equal(access(path, F_OK), 0);
    say(&d, "anew", 1);
    text_from(&d, mgr_console_begin(), text, sizeof text);
    assert_string_equal(text, "anew");
    mgr_console_fini(&d, true);
    assert_int_not_equal(access(path, F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reader_gets_both_streams_in_order),
        cmocka_unit_test(a_reader_left_behind_learns_what_it_lost_and_the_last_256_kib_are_kept),
        cmocka_unit_test(random_readers_see_every_byte_once_or_counted),
        cmocka_unit_test(a_record_costs_at_most_its_bytes_and_a_head),
        cmocka_unit_test(reading_begins_at_a_line_a_time_or_a_byte),
        cmocka_unit_test(a_file_outlives_its_daemon_and_a_damaged_one_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
