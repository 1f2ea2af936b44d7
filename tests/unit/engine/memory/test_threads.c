// links: engine/memory engine/cpu engine/base
#include "harness.h"

#include <sched.h>

#define BASE ((gva_t)0x400000)
#define PAGES 16
#define THREADS 4

struct worker {
    struct fix *f;
    unsigned number;
    _Atomic bool *stop;
    uint64_t done, faults;
};

static void *mapper(void *arg)
{
    struct worker *w = arg;
    struct rng r;
    rng_seed(&r, w->number);
    struct vcpu *v;
    if (cpu_vcpu_new(&v, NULL) != OK)
        return NULL;
    enter(v, w->f->s);
    for (int i = 0; i < 6000; i++) {
        unsigned lo = (unsigned)rng_below(&r, PAGES), n = 1 + (unsigned)rng_below(&r, PAGES - lo);
        gva_t a = BASE + lo * PG;
        uint64_t x;
        uint32_t insn;
        int rc = 0;
        switch (rng_below(&r, 8)) {
        case 0:
            rc = mem_map(w->f->s, a, n * PG, (int)rng_below(&r, 8), MEM_FIXED, NULL, 0, NULL) ==
                         (int64_t)a
                     ? 0
                     : -1;
            break;
        case 1:
            rc = mem_unmap(w->f->s, a, n * PG);
            break;
        case 2:
            (void)mem_protect(w->f->s, a, n * PG, (int)rng_below(&r, 8));
            break;
        case 3:
            (void)mem_watch_page(w->f->s, a);
            break;
        case 4:
            w->faults += !mem_ld64(v, a + PG - 4, &x);
            break;
        case 5:
            w->faults += !mem_fetch(v, a + PG - 2, &insn);
            break;
        case 6:
            (void)mem_discard(w->f->s, a, n * PG);
            break;
        default:
            w->faults += !mem_st64(v, a + PG - 4, i);
        }
        if (rc)
            break;
        w->done++;
    }
    cpu_vcpu_free(v);
    return NULL;
}

static void four_threads_map_unmap_protect_and_fault_in_one_range(void **state)
{
    struct fix *f = fix_new();
    struct worker w[THREADS];
    pthread_t t[THREADS];
    (void)state;
    for (unsigned i = 0; i < THREADS; i++) {
        w[i] = (struct worker){.f = f, .number = i};
        assert_int_equal(os_thread_start(&t[i], "mapper", 0, mapper, &w[i], &f->err), OK);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(w[i].done, 6000);
        assert_true(w[i].faults > 0);
    }
    assert_true(mem_check(f->s));
    fix_free(f);
}

/* A counter in the page that is watched again and again: no increment may be lost, and none may go unnoticed. */
static void *adder(void *arg)
{
    struct worker *w = arg;
    struct vcpu *v;
    if (cpu_vcpu_new(&v, NULL) != OK)
        return NULL;
    enter(v, w->f->s);
    while (!atomic_load(w->stop)) {
        uint64_t x;
        if (!mem_ld64(v, BASE + w->number * 8, &x) || !mem_st64(v, BASE + w->number * 8, x + 1))
            break;
        w->done++;
    }
    cpu_vcpu_free(v);
    return NULL;
}

static void ignore(void *ctx, gva_t page)
{
    (void)page;
    ++*(unsigned *)ctx;
}

static void no_write_slips_between_the_watch_and_the_reading_of_a_page(void **state)
{
    struct fix *f = fix_new();
    struct worker w[THREADS - 1];
    pthread_t t[THREADS - 1];
    _Atomic bool stop = false;
    unsigned seen = 0, quiet = 0;
    (void)state;
    at(f->s, BASE, PG, RWX, 0, NULL, 0);
    for (unsigned i = 0; i < THREADS - 1; i++) {
        w[i] = (struct worker){.f = f, .number = i, .stop = &stop};
        assert_int_equal(os_thread_start(&t[i], "adder", 0, adder, &w[i], &f->err), OK);
    }
    for (int i = 0; i < 1000; i++) {
        uint64_t before[3], after[3];
        mem_dirty_take(f->s, ignore, &seen);
        if (mem_watch_page(f->s, BASE) == MEM_WATCH_HOT) { /* nine times were enough: begin anew */
            at(f->s, BASE, PG, RWX, 0, NULL, 0);
            continue;
        }
        mem_read_code(f->s, BASE, before, sizeof before);
        if (i % 2)
            sched_yield(); /* let the others run into the watch */
        mem_read_code(f->s, BASE, after, sizeof after);
        if (!mem_dirty_any(
                f->s)) { /* clean: what was read first still stood when it was read again */
            assert_memory_equal(before, after, sizeof before);
            quiet++;
        }
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < THREADS - 1; i++) {
        pthread_join(t[i], NULL);
        assert_true(w[i].done > 0);
    }
    assert_true(seen > 0);
    print_message("    dirty %u times, clean between watch and second reading %u times\n", seen,
                  quiet);
    fix_free(f);
}

static void *cas_adder(void *arg)
{
    struct worker *w = arg;
    struct vcpu *v;
    if (cpu_vcpu_new(&v, NULL) != OK)
        return NULL;
    enter(v, w->f->s);
    for (int i = 0; i < 20000; i++) {
        uint64_t old = 0, seen;
        while (mem_cas64(v, BASE, old, old + 1, &seen) && seen != old)
            old = seen;
        if (i % 512 == 0)
            (void)mem_watch_page(w->f->s, BASE);
    }
    cpu_vcpu_free(v);
    return NULL;
}

static void compare_and_swap_is_atomic_while_the_page_is_being_watched(void **state)
{
    struct fix *f = fix_new();
    struct worker w[THREADS];
    pthread_t t[THREADS];
    (void)state;
    at(f->s, BASE, PG, RWX, 0, NULL, 0);
    for (unsigned i = 0; i < THREADS; i++) {
        w[i] = (struct worker){.f = f};
        assert_int_equal(os_thread_start(&t[i], "cas", 0, cas_adder, &w[i], &f->err), OK);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(peek(f->s, BASE), 4 * 20000);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_threads_map_unmap_protect_and_fault_in_one_range),
        cmocka_unit_test(no_write_slips_between_the_watch_and_the_reading_of_a_page),
        cmocka_unit_test(compare_and_swap_is_atomic_while_the_page_is_being_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
