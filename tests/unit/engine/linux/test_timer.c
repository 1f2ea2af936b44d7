// links: engine/linux engine/base
/*
 * The pairing heap behind the guest's timers.
 */
#include "engine/linux/process.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static struct lx *quiet(void)
{
    struct lx *lx = calloc(1, sizeof *lx);
    assert_non_null(lx);
    lx->pausing = true; /* so that no ticker is asked */
    return lx;
}

static void timers_come_out_in_order_whatever_was_set_moved_and_cancelled(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    struct lx *lx = quiet();
    struct lx_timer *tm = calloc(COUNT, sizeof *tm);
    struct rng rng;
    assert_non_null(tm);
    rng_seed(&rng, 1);
    size_t armed = 0;
    for (int i = 0; i < 20000; i++) {
        struct lx_timer *t = &tm[rng_below(&rng, COUNT)];
        armed -= t->armed;
        if (rng_below(&rng, 3))
            lx_timer_set(lx, t, rng_below(&rng, 1000));
        else
            lx_timer_cancel(lx, t);
        armed += t->armed;
    }
    assert_true(armed > 0);
    uint64_t last = 0;
    while (lx->timers) {
        struct lx_timer *t = lx->timers;
        assert_true(t->at_ns >= last && t->armed);
        last = t->at_ns;
        lx_timer_cancel(lx, t);
        armed--;
    }
    assert_int_equal(armed, 0);
    for (int i = 0; i < COUNT; i++)
        assert_false(tm[i].armed);
    free(tm);
    free(lx);
}

static void a_cancelled_timer_can_be_cancelled_again(void **state)
{
    (void)state;
    struct lx *lx = quiet();
    struct lx_timer a = {0}, b = {0};
    lx_timer_set(lx, &a, 5);
    lx_timer_set(lx, &b, 3);
    lx_timer_cancel(lx, &b);
    lx_timer_cancel(lx, &b);
    assert_ptr_equal(lx->timers, &a);
    lx_timer_cancel(lx, &a);
    assert_null(lx->timers);
    free(lx);
}

static void random_numbers_differ_between_guests_and_calls(void **state)
{
    (void)state;
    struct lx *a = quiet(), *b = quiet();
    uint8_t x[1000], y[1000], z[1000];
    lx_random_seed(a);
    lx_random_seed(b);
    lx_random_bytes(a, x, sizeof x);
    lx_random_bytes(b, y, sizeof y);
    lx_random_bytes(a, z, sizeof z);
    assert_memory_not_equal(x, y, sizeof x);
    assert_memory_not_equal(x, z, sizeof x);
    unsigned ones = 0;
    for (size_t i = 0; i < sizeof x; i++)
        ones += (unsigned)__builtin_popcount(x[i]);
    assert_in_range(ones, 3600, 4400); /* 4000 expected, deviation 45 */
    free(a);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_come_out_in_order_whatever_was_set_moved_and_cancelled),
        cmocka_unit_test(a_cancelled_timer_can_be_cancelled_again),
        cmocka_unit_test(random_numbers_differ_between_guests_and_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
