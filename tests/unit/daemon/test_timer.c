// links: daemon/manager proto engine/base
#include "daemon/manager/timer.h"
#include "engine/base/os.h"

#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define COUNT 2000

static struct mgr_timers timers;
static struct item {
    struct mgr_deadline d;
    uint64_t due;
    bool set, fired;
} items[COUNT];
static uint64_t last_due;
static unsigned fired;

static void fire(struct mgr_deadline *d)
{
    struct item *i = container_of(d, struct item, d);
    assert_true(i->set && !i->fired);
    assert_int_equal(d->place, 0);
    assert_true(i->due >= last_due);
    last_due = i->due;
    i->fired = true;
    fired++;
    if (fired % 7 == 0) { /* another one is cleared from inside */
        struct item *other = &items[(size_t)(i - items) * 31 % COUNT];
        if (other->set && !other->fired) {
            mgr_deadline_clear(&timers, &other->d);
            other->set = false;
        }
    }
}

static void set(struct item *i, uint64_t after_ms)
{
    assert_int_equal(mgr_deadline_set(&timers, &i->d, after_ms, fire, NULL), OK);
    i->due = i->d.at_ms;
    i->set = true;
}

static void deadlines_fire_once_and_in_their_order(void **state)
{
    (void)state;
    struct rng r;
    uv_loop_t loop;
    unsigned wanted = 0;
    rng_seed(&r, 9);
    uv_loop_init(&loop);
    mgr_timers_init(&timers, &loop);
    for (int step = 0; step < 4 * COUNT; step++) {
        struct item *i = &items[rng_below(&r, COUNT)];
        if (rng_below(&r, 4)) {
            set(i, 1 + rng_below(&r, 60)); /* again and again: the last one holds */
        } else {
            mgr_deadline_clear(&timers, &i->d);
            i->set = false;
        }
    }
    uv_run(&loop, UV_RUN_DEFAULT); /* ends: without a deadline the timer sleeps */
    for (int k = 0; k < COUNT; k++) {
        assert_int_equal(items[k].fired, items[k].set);
        wanted += items[k].set;
    }
    assert_true(wanted > COUNT / 2);
    assert_int_equal(fired, wanted);
    uv_close((uv_handle_t *)&timers.timer, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    mgr_timers_fini(&timers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deadlines_fire_once_and_in_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
