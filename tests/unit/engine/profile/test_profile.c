// links: engine/profile engine/base
#include "engine/base/os.h"
#include "engine/profile/profile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct prof *profile_new(uint32_t places_max)
{
    struct prof *p;
    struct err err;
    assert_int_equal(prof_new(places_max, &p, &err), OK);
    return p;
}

static bool note(struct prof_source *s, uint64_t space, uint64_t from, uint64_t to,
                 enum prof_edge_kind kind)
{
    struct prof_edge e = {space, from, to, kind};
    return prof_note(s, &e);
}

static void counters_of_all_vcpus_are_summed_and_stay_when_a_vcpu_goes(void **state)
{
    (void)state;
    struct prof *p = profile_new(100);
    static struct prof_source a, b;
    uint64_t n[PROF_COUNTER_COUNT];
    prof_attach(p, &a);
    prof_attach(p, &b);
    prof_add(&a, PROF_MISSES, 3);
    prof_add(&b, PROF_MISSES, 4);
    prof_add(&b, PROF_FAULTS, 1);
    prof_sum(p, n);
    assert_int_equal(n[PROF_MISSES], 7);
    prof_detach(p, &a);
    prof_add(&b, PROF_MISSES, 1);
    prof_sum(p, n);
    assert_int_equal(n[PROF_MISSES], 8);
    assert_int_equal(n[PROF_FAULTS], 1);
    prof_detach(p, &b);
    prof_free(p);
}

static void every_counter_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PROF_COUNTER_COUNT; i++) {
        assert_true(strlen(prof_counter_infos[i].name) > 0 &&
                    strlen(prof_counter_infos[i].help) > 0);
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(prof_counter_infos[i].name, prof_counter_infos[k].name);
    }
}

static void edges_become_entries_and_targets(void **state)
{
    (void)state;
    struct prof *p = profile_new(1000);
    static struct prof_source s;
    struct prof_place at;
    prof_attach(p, &s);
    for (unsigned i = 0; i < 10; i++)
        note(&s, 1, 0x100, 0x200, PROF_DIRECT);
    note(&s, 1, 0x100, 0x300, PROF_INDIRECT);
    note(&s, 2, 0x100, 0x300, PROF_DIRECT);
    assert_false(prof_find(p, 1, 0x200, &at)); /* not merged yet */
    prof_merge(p);
    assert_true(prof_find(p, 1, 0x200, &at));
    assert_int_equal(at.entries, 10);
    assert_true(prof_find(p, 1, 0x300, &at));
    assert_int_equal(at.entries, 1);
    assert_int_equal(at.indirect, 1);
    assert_true(prof_find(p, 1, 0x100, &at));
    assert_int_equal(at.targets[0].pc, 0x200);
    assert_int_equal(at.targets[0].count, 10);
    assert_int_equal(at.targets[1].pc, 0x300);
    assert_false(prof_find(p, 3, 0x100, &at));
    struct prof_place top[2];
    assert_int_equal(prof_top(p, top, 2), 2);
    assert_int_equal(top[0].pc, 0x200);
    prof_detach(p, &s);
    prof_free(p);
}

static void a_frequent_target_is_kept_among_many_rare_ones(void **state)
{
    (void)state;
    struct prof *p = profile_new(10000);
    static struct prof_source s;
    struct prof_place at;
    prof_attach(p, &s);
    for (unsigned i = 0; i < 3000; i++) {
        note(&s, 1, 0x100, i % 3 ? 0x10000 + i * 2 : 0x200, PROF_INDIRECT);
        if (i % 100 == 0)
            prof_merge(p);
    }
    prof_merge(p);
    assert_true(prof_find(p, 1, 0x100, &at));
    bool kept = false;
    for (unsigned i = 0; i < PROF_TARGETS; i++)
        kept |= at.targets[i].pc == 0x200 && at.targets[i].count > 100;
    assert_true(kept);
    assert_true(at.other_targets > 0);
    prof_detach(p, &s);
    prof_free(p);
}

static void a_full_ring_loses_and_says_so(void **state)
{
    (void)state;
    struct prof *p = profile_new(100);
    static struct prof_source s;
    unsigned half = 0;
    prof_attach(p, &s);
    for (unsigned i = 0; i < PROF_RING_COUNT + 5; i++)
        half += note(&s, 1, 0, 0x100, PROF_ENTRY);
    assert_int_equal(half, 1); /* told once that it is time to merge */
    uint64_t n[PROF_COUNTER_COUNT];
    prof_sum(p, n);
    assert_int_equal(n[PROF_PROFILE_LOST], 5);
    prof_merge(p);
    struct prof_place at;
    assert_true(prof_find(p, 1, 0x100, &at));
    assert_int_equal(at.entries, PROF_RING_COUNT);
    prof_detach(p, &s);
    prof_free(p);
}

static void the_database_is_bounded(void **state)
{
    (void)state;
    struct prof *p = profile_new(300);
    static struct prof_source s;
    static struct prof_place top[1000];
    prof_attach(p, &s);
    for (unsigned i = 0; i < 1000; i++) {
        note(&s, 1, 0, 0x1000 + i * 2, PROF_ENTRY);
        if (i % 100 == 99)
            prof_merge(p);
    }
    prof_merge(p);
    assert_int_equal(prof_top(p, top, 1000), 299);
    struct prof_place at;
    assert_true(prof_find(p, 1, 0x1000, &at)); /* the first ones are there */
    assert_false(prof_find(p, 1, 0x1000 + 999 * 2, &at));
    prof_detach(p, &s);
    prof_free(p);
}

static struct prof *shared;
static void *writer(void *arg)
{
    struct prof_source *s = arg;
    for (unsigned i = 0; i < 100000; i++) {
        prof_add(s, PROF_EXITS, 1);
        note(s, 1, 0x10, 0x100 + i % 50 * 2, PROF_DIRECT);
    }
    return NULL;
}

static void merging_while_vcpus_write_loses_nothing_uncounted(void **state)
{
    (void)state;
    static struct prof_source s[3];
    shared = profile_new(1000);
    pthread_t th[3];
    struct err err;
    for (unsigned i = 0; i < 3; i++) {
        prof_attach(shared, &s[i]);
        assert_int_equal(os_thread_start(&th[i], "writer", 0, writer, &s[i], &err), OK);
    }
    for (unsigned i = 0; i < 200; i++) {
        prof_merge(shared);
        sched_yield();
    }
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(th[i], NULL);
        prof_detach(shared, &s[i]);
    }
    uint64_t n[PROF_COUNTER_COUNT], entries = 0;
    prof_sum(shared, n);
    assert_int_equal(n[PROF_EXITS], 300000);
    struct prof_place top[60];
    size_t count = prof_top(shared, top, 60);
    for (size_t i = 0; i < count; i++)
        entries += top[i].entries;
    assert_int_equal(entries + n[PROF_PROFILE_LOST], 300000);
    prof_free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_of_all_vcpus_are_summed_and_stay_when_a_vcpu_goes),
        cmocka_unit_test(every_counter_has_a_name_of_its_own),
        cmocka_unit_test(edges_become_entries_and_targets),
        cmocka_unit_test(a_frequent_target_is_kept_among_many_rare_ones),
        cmocka_unit_test(a_full_ring_loses_and_says_so),
        cmocka_unit_test(the_database_is_bounded),
        cmocka_unit_test(merging_while_vcpus_write_loses_nothing_uncounted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
