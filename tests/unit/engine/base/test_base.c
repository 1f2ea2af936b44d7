// links: engine/base
/* The small parts every room stands on. */
#include "engine/base/arena.h"
#include "engine/base/base.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/base/os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void an_error_keeps_its_code_and_gains_context_in_front(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(err_set(&e, ERR_BAD_ELF, "segment %d", 3), FAIL);
    assert_int_equal(err_wrap(&e, "loading %s", "a.out"), FAIL);
    assert_int_equal(e.code, ERR_BAD_ELF);
    assert_string_equal(e.text, "loading a.out: segment 3");
    assert_int_equal(err_grpc(e.code), 3);
    assert_int_equal(err_http(e.code), 400);
    assert_string_equal(err_name(e.code), "BAD_ELF");
}

static void a_long_error_is_cut_and_stays_terminated(void **state)
{
    (void)state;
    struct err e;
    char big[2000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    (void)err_set(&e, ERR_INVALID, "%s", big);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    (void)err_wrap(&e, "front");
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    assert_memory_equal(e.text, "front: x", 8);
    (void)err_set(NULL, ERR_INVALID, "nobody listens");
}

static void an_arena_respects_its_limit_and_can_be_reused(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 100000);
    char *p = arena_alloc(&a, 50000);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 16, 0);
    memset(p, 1, 50000);
    assert_null(arena_alloc(&a, 60000));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_string_equal(arena_printf(&a, "%d-%s", 7, "x"), "7-x");
    arena_reset(&a);
    assert_non_null(arena_alloc(&a, 90000));
    arena_fini(&a);
}

static void a_cursor_past_its_end_reads_zero_and_stays_failed(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_put_u8(&b, 1);
    buf_put_u16(&b, 0x0302);
    buf_put_u32(&b, 0x07060504);
    buf_printf(&b, "%s", "end");
    assert_false(b.failed);
    assert_int_equal(b.len, 10);
    struct cursor c = cursor_over(b.data, b.len);
    assert_int_equal(cursor_u8(&c), 1);
    assert_int_equal(cursor_u16(&c), 0x0302);
    assert_int_equal(cursor_u32(&c), 0x07060504);
    assert_memory_equal(cursor_get(&c, 3), "end", 3);
    assert_false(c.failed);
    assert_int_equal(cursor_u64(&c), 0);
    assert_true(c.failed);
    assert_null(cursor_get(&c, 0));
    buf_drop_front(&b, 7);
    assert_memory_equal(b.data, "end", 3);
    buf_fini(&b);
    struct buf huge = {0};
    assert_false(buf_reserve(&huge, SIZE_MAX / 2));
    assert_true(huge.failed);
}

static void a_list_survives_removal_while_it_is_walked(void **state)
{
    (void)state;
    struct item {
        int n;
        struct list link;
    } items[5];
    struct list head;
    list_init(&head);
    for (int i = 0; i < 5; i++) {
        items[i].n = i;
        list_append(&head, &items[i].link);
    }
    list_for_each_safe(p, &head) if (list_entry(p, struct item, link)->n % 2) list_remove(p);
    list_remove(&items[1].link); /* twice is harmless */
    int sum = 0, count = 0;
    list_for_each(p, &head)
    {
        sum += list_entry(p, struct item, link)->n;
        count++;
    }
    assert_int_equal(sum, 6);
    assert_int_equal(count, 3);
}

static void a_generator_with_the_same_seed_repeats_itself_and_stays_in_range(void **state)
{
    (void)state;
    struct rng a, b;
    rng_seed(&a, 42);
    rng_seed(&b, 42);
    unsigned seen[10] = {0};
    for (int i = 0; i < 10000; i++) {
        uint64_t x = rng_below(&a, 10);
        assert_int_equal(x, rng_below(&b, 10));
        assert_true(x < 10);
        seen[x]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(seen[i], 800, 1200);
}

static void *thread_main(void *arg)
{
    *(uint64_t *)arg = os_thread_cpu_ns();
    return arg;
}

static void a_thread_starts_and_a_memfd_has_its_size(void **state)
{
    (void)state;
    struct err e;
    pthread_t t;
    uint64_t ns = 0;
    void *result;
    assert_int_equal(os_thread_start(&t, "test", 128 << 10, thread_main, &ns, &e), OK);
    assert_int_equal(pthread_join(t, &result), 0);
    assert_ptr_equal(result, &ns);
    assert_true(ns > 0);
    int fd = -1;
    assert_int_equal(os_memfd("test", 12288, &fd, &e), OK);
    assert_int_equal(lseek(fd, 0, SEEK_END), 12288);
    close_fd(&fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_keeps_its_code_and_gains_context_in_front),
        cmocka_unit_test(a_long_error_is_cut_and_stays_terminated),
        cmocka_unit_test(an_arena_respects_its_limit_and_can_be_reused),
        cmocka_unit_test(a_cursor_past_its_end_reads_zero_and_stays_failed),
        cmocka_unit_test(a_list_survives_removal_while_it_is_walked),
        cmocka_unit_test(a_generator_with_the_same_seed_repeats_itself_and_stays_in_range),
        cmocka_unit_test(a_thread_starts_and_a_memfd_has_its_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
