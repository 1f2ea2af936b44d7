// links: engine/virtualizability engine/base
/* Virtual machines of the formal machine: the VM map, the examples at every depth, random guests, the two bad variants. */
#include "tests/unit/engine/virtualizability/random_guest.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

static struct err err;

static void load(const char *name, struct pg_program *p, struct pg_formal *m)
{
    char path[300];
    static char text[1 << 16];
    snprintf(path, sizeof path, "%s/etc/isa/pg/%s", VV_SOURCE_DIR, name);
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s is not there", path);
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    if (pg_asm(name, text, n, NULL, 0, p, &err) || pg_program_load(p, m, &err))
        fail_msg("%s", err.text);
}

static uint64_t symbol(const struct pg_program *p, const char *name)
{
    uint64_t v;
    if (!pg_program_symbol(p, name, &v))
        fail_msg("no %s", name);
    return v;
}

/* The guest `name` at this depth; is its state at HALT that of the bare machine? *real gets the counters. */
static bool equal_at(const char *name, enum pg_monitor_kind kind, unsigned depth,
                     struct pg_formal *real)
{
    struct pg_program p;
    struct pg_formal start, bare;
    struct pg_nest n;
    load(name, &p, &start);
    pg_program_fini(&p);
    load(name, &p, &bare);
    assert_true(pg_formal_run(&bare, 1000000));
    assert_int_equal(pg_nest_init(&n, kind, p.variant, p.q, depth, &err), OK);
    pg_nest_load(&n, &start);
    bool equal =
        pg_formal_run(pg_nest_machine(&n), pg_nest_enough(&n, bare.instructions + bare.traps)) &&
        pg_formal_equal(&bare, pg_nest_guest(&n), NULL);
    *real = *pg_nest_machine(&n);
    real->cells = NULL;
    pg_nest_fini(&n);
    pg_formal_fini(&bare);
    pg_formal_fini(&start);
    pg_program_fini(&p);
    return equal;
}

static const char *const examples[] = {"os.pg", "tasks.pg", "bounds.pg", "primes.pg", "selfmod.pg"};

static void the_examples_compute_what_they_say(void **state)
{
    (void)state;
    struct pg_program p;
    struct pg_formal m;
    load("os.pg", &p, &m);
    assert_true(pg_formal_run(&m, 1000000));
    assert_int_equal(m.cells[symbol(&p, "failed")], 0);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(m.cells[symbol(&p, "log") + i], i + 1);
    assert_int_equal(m.traps, 21);
    pg_formal_fini(&m);
    pg_program_fini(&p);
    load("tasks.pg", &p, &m);
    assert_true(pg_formal_run(&m, 1000000));
    assert_int_equal(m.cells[96 + 20], 30);
    assert_int_equal(m.cells[128 + 20], 20);
    pg_formal_fini(&m);
    pg_program_fini(&p);
    load("bounds.pg", &p, &m);
    assert_true(pg_formal_run(&m, 1000000));
    assert_int_equal(m.cells[95], 7);
    assert_int_equal(m.cells[72], 1234);
    assert_int_equal(m.cells[symbol(&p, "count")], 5);
    pg_formal_fini(&m);
    pg_program_fini(&p);
    load("primes.pg", &p, &m);
    assert_true(pg_formal_run(&m, 1000000));
    assert_int_equal(m.cells[symbol(&p, "count")], 46);
    pg_formal_fini(&m);
    pg_program_fini(&p);
    load("selfmod.pg", &p, &m);
    assert_true(pg_formal_run(&m, 1000000));
    assert_int_equal(m.cells[symbol(&p, "sum")], 42);
    assert_int_equal(m.cells[symbol(&p, "sum2")], 1);
    assert_int_equal(m.traps, 1);
    pg_formal_fini(&m);
    pg_program_fini(&p);
}

static void the_examples_are_equal_at_every_depth(void **state)
{
    (void)state;
    struct pg_formal real;
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        for (unsigned depth = 0; depth <= 4; depth++)
            if (!equal_at(examples[i], PG_MONITOR_BUILTIN, depth, &real))
                fail_msg("%s differs at depth %u", examples[i], depth);
        for (unsigned depth = 0; depth <= 2; depth++)
            if (!equal_at(examples[i], PG_MONITOR_HYBRID, depth, &real))
                fail_msg("%s differs at depth %u under the hybrid monitor", examples[i], depth);
    }
}

/* traps(d+1) = 2 traps(d): what trapped still does, and so does the privileged instruction that ended its handling. */
static void traps_double_with_each_level(void **state)
{
    (void)state;
    struct pg_formal real;
    uint64_t traps = 0;
    for (unsigned depth = 1; depth <= 6; depth++) {
        assert_true(equal_at("os.pg", PG_MONITOR_BUILTIN, depth, &real));
        if (depth > 1)
            assert_int_equal(real.traps, 2 * traps);
        traps = real.traps;
    }
}

static void innocuous_instructions_run_directly(void **state)
{
    (void)state;
    struct pg_formal bare, real;
    assert_true(equal_at("primes.pg", PG_MONITOR_BUILTIN, 0, &bare));
    assert_true(equal_at("primes.pg", PG_MONITOR_BUILTIN, 3, &real));
    assert_int_equal(real.direct, bare.instructions - 1); /* all but HALT */
    assert_true(equal_at("primes.pg", PG_MONITOR_HYBRID, 1, &real));
    assert_int_equal(real.direct, 0); /* it is supervisor code */
}

static void the_bad_variants_differ_as_the_theorems_say(void **state)
{
    (void)state;
    struct pg_formal real;
    assert_false(equal_at("retu.pg", PG_MONITOR_BUILTIN, 1, &real));
    assert_false(equal_at("retu.pg", PG_MONITOR_BUILTIN, 2, &real));
    assert_true(equal_at("retu.pg", PG_MONITOR_HYBRID, 1, &real));
    assert_true(equal_at("retu.pg", PG_MONITOR_HYBRID, 2, &real));
    assert_false(equal_at("lra.pg", PG_MONITOR_BUILTIN, 1, &real));
    assert_false(equal_at("lra.pg", PG_MONITOR_HYBRID, 1, &real));
}

static void the_map_has_an_inverse(void **state)
{
    (void)state;
    struct pg_formal guest;
    struct pg_nest n;
    uint64_t seed = 12345;
    assert_int_equal(pg_formal_init(&guest, PG_VARIANT_PG, RANDOM_CELLS, &err), OK);
    for (unsigned kind = 0; kind < PG_MONITOR_KIND_COUNT; kind++) {
        assert_int_equal(pg_nest_init(&n, kind, PG_VARIANT_PG, RANDOM_CELLS, 3, &err), OK);
        for (int i = 0; i < 1000; i++) {
            random_guest(&guest, &seed);
            pg_nest_load(&n, &guest);
            for (unsigned d = 1; d <= 3; d++)
                n.level[d].halted = true;
            assert_true(pg_formal_equal(&guest, pg_nest_guest(&n), NULL));
        }
        pg_nest_fini(&n);
    }
    pg_formal_fini(&guest);
}

static void a_guest_never_writes_outside_its_window(void **state)
{
    (void)state;
    uint64_t seed = 99;
    struct pg_monitor v;
    struct pg_formal guest, host;
    assert_int_equal(pg_monitor_init(&v, PG_MONITOR_BUILTIN, PG_VARIANT_PG, RANDOM_CELLS, &err),
                     OK);
    assert_int_equal(pg_formal_init(&guest, PG_VARIANT_PG, RANDOM_CELLS, &err), OK);
    assert_int_equal(pg_formal_init(&host, PG_VARIANT_PG, v.image.q, &err), OK);
    for (int i = 0; i < 2000; i++) {
        random_guest(&guest, &seed);
        pg_monitor_map(&v, &guest, &host);
        pg_formal_run(&host, 5000);
        for (uint32_t c = 1; c < v.k; c++) /* its code and its constants are as they were */
            if ((c < v.vm || c >= symbol(&v.image, "c1")) && host.cells[c] != v.image.cells[c])
                fail_msg("cell %u of the monitor was changed", c);
        for (uint32_t c = v.k + v.w; c < host.q; c++) /* and what is behind the window */
            assert_int_equal(host.cells[c], 0);
    }
    pg_formal_fini(&host);
    pg_formal_fini(&guest);
    pg_monitor_fini(&v);
}

static void compare(enum pg_monitor_kind kind, enum pg_variant variant, unsigned depth,
                    uint64_t count, uint64_t seed, struct random_figures *f)
{
    if (random_compare(kind, variant, depth, count, seed, f, &err))
        fail_msg("%s", err.text);
    print_message(
        "%s, %s monitor, depth %u: %lu equal, %lu different, %lu that do not halt; seed %lu\n",
        pg_variant_name(variant), pg_monitor_name(kind), depth, (unsigned long)f->equal,
        (unsigned long)f->different, (unsigned long)f->skipped, (unsigned long)seed);
    assert_int_equal(f->equal + f->different, count);
}

static uint64_t seed_of_today(void)
{
    const char *given = getenv("VV_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return given ? strtoull(given, NULL, 10)
                 : (uint64_t)now.tv_sec * 1000003 + (uint64_t)now.tv_nsec;
}

static void random_guests_are_equal_on_the_virtualizable_machine(void **state)
{
    (void)state;
    struct random_figures f;
    for (unsigned kind = 0; kind < PG_MONITOR_KIND_COUNT; kind++)
        for (unsigned depth = 1; depth <= 2; depth++) {
            compare(kind, PG_VARIANT_PG, depth, 2000 / (kind * 4 + 1), seed_of_today(), &f);
            assert_int_equal(f.different, 0);
        }
}

static void random_guests_differ_on_the_bad_variants(void **state)
{
    (void)state;
    struct random_figures f;
    for (unsigned depth = 1; depth <= 2; depth++) {
        compare(PG_MONITOR_BUILTIN, PG_VARIANT_RETU, depth, 1000, seed_of_today(), &f);
        assert_int_not_equal(f.different, 0);
        compare(PG_MONITOR_BUILTIN, PG_VARIANT_LRA, depth, 1000, seed_of_today(), &f);
        assert_int_not_equal(f.different, 0);
    }
    compare(PG_MONITOR_HYBRID, PG_VARIANT_RETU, 1, 1000, seed_of_today(), &f);
    assert_int_equal(f.different, 0);
    compare(PG_MONITOR_HYBRID, PG_VARIANT_LRA, 1, 2000, seed_of_today(), &f);
    assert_int_not_equal(f.different, 0);
}

static void depth_is_limited_by_memory(void **state)
{
    (void)state;
    struct pg_nest n;
    assert_int_equal(pg_nest_init(&n, PG_MONITOR_BUILTIN, PG_VARIANT_PG, 65535, 0, &err), OK);
    pg_nest_fini(&n);
    assert_int_equal(pg_nest_init(&n, PG_MONITOR_BUILTIN, PG_VARIANT_PG, 65535, 1, &err), FAIL);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_int_equal(
        pg_nest_init(&n, PG_MONITOR_BUILTIN, PG_VARIANT_PG, 64, PG_NEST_DEPTH_MAX, &err), OK);
    pg_nest_fini(&n);
    assert_int_equal(
        pg_nest_init(&n, PG_MONITOR_BUILTIN, PG_VARIANT_PG, 64, PG_NEST_DEPTH_MAX + 1, &err), FAIL);
}

static void a_cell_of_the_real_machine_has_an_owner(void **state)
{
    (void)state;
    struct pg_nest n;
    uint32_t own;
    assert_int_equal(pg_nest_init(&n, PG_MONITOR_BUILTIN, PG_VARIANT_PG, 64, 2, &err), OK);
    uint32_t k = n.monitor[0].k;
    assert_int_equal(pg_nest_owner(&n, 5, &own), 1);
    assert_int_equal(own, 5);
    assert_int_equal(pg_nest_owner(&n, k + 5, &own), 2);
    assert_int_equal(own, 5);
    assert_int_equal(pg_nest_owner(&n, 2 * k + 5, &own), 0);
    assert_int_equal(own, 5);
    pg_nest_fini(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_compute_what_they_say),
        cmocka_unit_test(the_map_has_an_inverse),
        cmocka_unit_test(the_examples_are_equal_at_every_depth),
        cmocka_unit_test(traps_double_with_each_level),
        cmocka_unit_test(innocuous_instructions_run_directly),
        cmocka_unit_test(a_guest_never_writes_outside_its_window),
        cmocka_unit_test(the_bad_variants_differ_as_the_theorems_say),
        cmocka_unit_test(random_guests_are_equal_on_the_virtualizable_machine),
        cmocka_unit_test(random_guests_differ_on_the_bad_variants),
        cmocka_unit_test(depth_is_limited_by_memory),
        cmocka_unit_test(a_cell_of_the_real_machine_has_an_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
