// links: engine/snapshot engine/base
/* Records written come back; damaged ones are refused with the place, whatever byte was changed. */
#include "engine/base/base.h"
#include "engine/base/os.h"
#include "engine/snapshot/snapshot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define OUTER SNAP_TAG('O', 'U', 'T', 'R')
#define INNER SNAP_TAG('I', 'N', 'N', 'R')

static void write_sample(struct snap_writer *w)
{
    snap_writer_init(w, -1);
    snap_begin(w, OUTER, 2);
    snap_put_u32(w, 7);
    snap_begin(w, INNER, 1);
    snap_put_str(w, "inside");
    snap_put_str(w, NULL);
    snap_end(w);
    snap_put_u64(w, 1ull << 40);
    snap_put_bytes(w, "abc", 3);
    snap_end(w);
    assert_int_equal(snap_finish(w, NULL), OK);
}

/* Reads it as its writer would; true if everything was as written. */
static bool read_sample(const void *p, size_t n, struct err *err)
{
    struct snap_reader r;
    if (snap_reader_init(&r, p, n, -1, err) != OK)
        return false;
    bool same = snap_open(&r, OUTER, 2) == 2;
    same &= snap_get_u32(&r) == 7;
    same &= snap_next_is(&r, INNER);
    same &= snap_open(&r, INNER, 1) == 1;
    char *s = snap_get_str(&r, 100);
    same &= s && !strcmp(s, "inside");
    free(s);
    same &= snap_get_str(&r, 100) == NULL;
    snap_close(&r);
    same &= snap_get_u64(&r) == 1ull << 40;
    char abc[3] = "";
    same &= snap_get_exact(&r, abc, 3) && !memcmp(abc, "abc", 3);
    snap_close(&r);
    return snap_check(&r, err) == OK && same;
}

static void records_come_back_as_they_were_written(void **state)
{
    (void)state;
    struct snap_writer w;
    struct err e = {0};
    write_sample(&w);
    assert_true(read_sample(w.out.data, w.out.len, &e));
    snap_writer_fini(&w);
}

static void every_damaged_byte_and_every_cut_is_refused(void **state)
{
    (void)state;
    struct snap_writer w;
    struct err e;
    write_sample(&w);
    for (size_t i = 0; i < w.out.len; i++) {
        w.out.data[i] ^= 0x5a;
        assert_false(read_sample(w.out.data, w.out.len, &e));
        assert_true(strlen(e.text) > 10);
        w.out.data[i] ^= 0x5a;
        assert_false(read_sample(w.out.data, i, &e));
    }
    snap_writer_fini(&w);
}

static void a_newer_version_and_a_number_over_its_limit_are_refused(void **state)
{
    (void)state;
    struct snap_writer w;
    struct snap_reader r;
    struct err e;
    write_sample(&w);
    assert_int_equal(snap_reader_init(&r, w.out.data, w.out.len, -1, &e), OK);
    assert_int_equal(snap_open(&r, OUTER, 1), 0);
    assert_int_equal(snap_check(&r, &e), FAIL);
    assert_non_null(strstr(e.text, "OUTR has version 2"));
    assert_int_equal(snap_reader_init(&r, w.out.data, w.out.len, -1, &e), OK);
    assert_int_equal(snap_open(&r, OUTER, 2), 2);
    struct snap_reader s = r;
    assert_int_equal(snap_get_u32(&s), 7);
    assert_int_equal(snap_get_max(&s, 3, "a count"), 0);
    assert_int_equal(snap_check(&s, &e), FAIL);
    assert_int_equal(e.code, ERR_BAD_SNAPSHOT);
    snap_writer_fini(&w);
}

static void pages_go_to_the_page_file_and_come_back(void **state)
{
    (void)state;
    struct err e;
    int fd = -1;
    static char page[2][4096], back[4096];
    memset(page[1], 'b', 4096);
    assert_int_equal(os_memfd("pages", 0, &fd, &e), OK);
    struct snap_writer w;
    snap_writer_init(&w, fd);
    uint64_t at[2];
    assert_int_equal(snap_put_pages(&w, page[0], 4096, &at[0], &e), OK);
    assert_int_equal(snap_put_pages(&w, page[1], 4096, &at[1], &e), OK);
    snap_begin(&w, OUTER, 1);
    snap_put_u64(&w, at[1]);
    snap_end(&w);
    assert_int_equal(snap_finish(&w, &e), OK);
    struct snap_reader r;
    assert_int_equal(snap_reader_init(&r, w.out.data, w.out.len, fd, &e), OK);
    assert_int_equal(snap_open(&r, OUTER, 1), 1);
    assert_int_equal(snap_get_pages(&r, snap_get_u64(&r), back, 4096, &e), OK);
    assert_memory_equal(back, page[1], 4096);
    assert_int_equal(snap_get_pages(&r, 8192, back, 4096, &e), FAIL);
    assert_int_equal(e.code, ERR_BAD_SNAPSHOT);
    snap_writer_fini(&w);
    close_fd(&fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_back_as_they_were_written),
        cmocka_unit_test(every_damaged_byte_and_every_cut_is_refused),
        cmocka_unit_test(a_newer_version_and_a_number_over_its_limit_are_refused),
        cmocka_unit_test(pages_go_to_the_page_file_and_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
