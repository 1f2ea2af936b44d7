// links: engine/codecache engine/cpu engine/base
#include "engine/base/arena.h"
#include "engine/base/os.h"
#include "engine/codecache/code_cache.h"
#include "tests/unit/engine/codecache/fake_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

typedef uint32_t enter_fn(struct vcpu *v, const void *host);

struct bench {
    struct cc_cache *c;
    struct cc_space *s;
    struct cc_thread *t;
    struct vcpu *v;
};

static void nudge(void *ctx)
{
    struct vcpu *v = ctx;
    atomic_fetch_or(&v->exit_req, 2);
}

static struct bench bench_new(uint64_t cache_bytes, uint32_t arena_bytes)
{
    struct bench b;
    struct err err;
    assert_int_equal(cc_process_init(&err), OK);
    struct cc_config config = {.host = &fake_host_ops,
                               .cache_bytes = cache_bytes,
                               .arena_bytes = arena_bytes,
                               .thread_max = 8,
                               .unused_max = 2};
    assert_int_equal(cc_cache_new(&config, &b.c, &err), OK);
    assert_int_equal(cc_space_open(b.c, "key", 3, &b.s, NULL, &err), OK);
    assert_int_equal(cpu_vcpu_new(&b.v, &err), OK);
    assert_int_equal(cc_thread_new(b.c, nudge, b.v, &b.t, &err), OK);
    cc_pin(b.t, b.s);
    cc_enter(b.t);
    return b;
}

static void bench_free(struct bench *b)
{
    assert_true(cc_check(b->c));
    cc_leave(b->t);
    cc_thread_free(b->t);
    cc_space_put(b->s);
    cc_cache_free(b->c);
    cpu_vcpu_free(b->v);
}

static struct host_landing *with_landing; /* of the next block that is published */

/* NULL if there is no room now. */
static struct cc_block *publish_with(struct cc_thread *t, struct cc_cache *c, struct cc_space *s,
                                     gva_t pc, gva_t target, uint32_t guest_bytes,
                                     const _Atomic uint64_t *gen, uint64_t seen)
{
    (void)c;
    struct cc_slot slot;
    if (!cc_reserve(t, FAKE_BLOCK_BYTES_MAX, &slot))
        return NULL;
    struct host_exit e;
    struct host_pcmap map[3];
    CLEANUP(arena_fini) struct arena scratch;
    arena_init(&scratch, 0);
    struct host_code code = {
        .w = slot.w, .w_bytes = slot.w_bytes, .cache_off = slot.cache_off, .arena = &scratch};
    assert_int_equal(fake_block(&code, pc, target, &e, map), OK);
    code.landings = with_landing;
    code.landing_count = with_landing != NULL;
    with_landing = NULL;
    struct cc_publish p = {.space = s,
                           .pc = pc,
                           .guest_bytes = guest_bytes,
                           .insn_count = 1,
                           .code = &code,
                           .generation = gen,
                           .generation_seen = seen};
    struct cc_block *b = NULL;
    bool hot = false;
    assert_true(cc_announce(s, pc, &hot));
    enum cc_publish_result r = cc_publish(t, &p, &b);
    return r == CC_PUBLISHED || r == CC_PRESENT ? b : NULL;
}

static struct cc_block *publish(struct bench *b, gva_t pc, gva_t target)
{
    struct cc_block *k = publish_with(b->t, b->c, b->s, pc, target, 8, NULL, 0);
    assert_non_null(k);
    return k;
}

static struct cc_block *publish_landing(struct bench *b, gva_t pc, struct host_landing *landing)
{
    with_landing = landing;
    return publish(b, pc, 0);
}

static uint32_t run(struct cc_cache *c, struct vcpu *v, const struct cc_block *b)
{
    enter_fn *enter = (enter_fn *)(uintptr_t)cc_host(c, cc_stubs(c)->enter);
    return enter(v, cc_host(c, b->host_off));
}

static void a_published_block_is_found_and_runs(void **state)
{
    (void)state;
    struct bench b = bench_new(65536, 8192);
    struct cc_block *k = publish(&b, 0x10000, 0);
    assert_ptr_equal(cc_find(b.s, 0x10000), k);
    assert_null(cc_find(b.s, 0x10002));
    assert_int_equal(run(b.c, b.v, k), CPU_EXIT_NEXT);
    assert_int_equal(b.v->r[5], 0x10000);
    bench_free(&b);
}

static void chaining_leads_straight_to_the_target_and_retiring_undoes_it(void **state)
{
    (void)state;
    struct bench b = bench_new(65536, 8192);
    struct cc_block *from = publish(&b, 0x10000, 0x20000), *to = publish(&b, 0x20000, 0);
    assert_int_equal(run(b.c, b.v, from), CPU_EXIT_CHAIN);
    assert_int_equal(b.v->r[5], 0x10000);
    assert_true(cc_chain(b.c, b.v->exit_site, to));
    assert_false(cc_chain(b.c, b.v->exit_site, to)); /* only once */
    assert_true(cc_check(b.c));
    assert_int_equal(run(b.c, b.v, from), CPU_EXIT_NEXT);
    assert_int_equal(b.v->r[5], 0x20000);
    assert_int_equal(cc_retire_range(b.s, 0x20000, 0x20001), 1);
    assert_true(cc_check(b.c));
    assert_null(cc_find(b.s, 0x20000));
    assert_int_equal(run(b.c, b.v, from), CPU_EXIT_CHAIN);
    assert_false(cc_chain(b.c, b.v->exit_site, to)); /* it is retired */
    bench_free(&b);
}

static void a_retired_block_may_still_be_left_but_is_not_chained_from(void **state)
{
    (void)state;
    struct bench b = bench_new(65536, 8192);
    struct cc_block *from = publish(&b, 0x10000, 0x20000), *to = publish(&b, 0x20000, 0);
    cc_retire_block(from);
    assert_int_equal(run(b.c, b.v, from), CPU_EXIT_CHAIN);
    assert_false(cc_chain(b.c, b.v->exit_site, to));
    bench_free(&b);
}

static void the_jump_table_is_filled_and_cleared_when_its_block_retires(void **state)
{
    (void)state;
    struct bench b = bench_new(65536, 8192);
    struct cpu_jt_entry *jt = cc_pin(b.t, b.s);
    struct cc_block *k = publish(&b, 0x10000, 0);
    struct cpu_jt_entry *e = &jt[cpu_jt_first(0x10000)];
    assert_int_not_equal(jt[0].pc, 0); /* pc 0 must miss */
    cc_fill(b.t, k);
    assert_int_equal(e->pc, 0x10000);
    assert_ptr_equal(e->host, cc_host(b.c, k->host_off));
    assert_true(cc_check(b.c));
    cc_retire_block(k);
    assert_int_not_equal(e->pc, 0x10000);
    cc_fill(b.t, k); /* too late */
    assert_int_not_equal(e->pc, 0x10000);
    bench_free(&b);
}

static void an_empty_jump_table_entry_matches_nothing_that_leads_to_it(void **state)
{
    (void)state;
    const uint64_t targets[] = {0, 1, 2, 3, UINT64_MAX, UINT64_MAX - 1, INT64_MAX, 1u << 31, UINT32_MAX};
    for (unsigned i = 0; i < ARRAY_LEN(targets); i++) {
        assert_int_not_equal(cpu_jt_none(cpu_jt_first(targets[i])), targets[i]);
        assert_int_not_equal(cpu_jt_none(cpu_jt_second(targets[i])), targets[i]);
    }
}

static void a_pc_whose_place_is_taken_gets_its_second_one(void **state)
{
    (void)state;
    struct bench b = bench_new(65536, 8192);
    struct cpu_jt_entry *jt = cc_pin(b.t, b.s);
    gva_t pc = 0x10040, other = pc + 2 * CPU_JT_COUNT;
    struct cc_block *k = publish(&b, pc, 0), *l = publish(&b, other, 0);
    assert_int_equal(cpu_jt_first(pc), cpu_jt_first(other));
    cc_fill(b.t, k);
    cc_fill(b.t, l);
    assert_int_equal(jt[cpu_jt_first(pc)].pc, pc);
    assert_int_equal(jt[cpu_jt_second(other)].pc, other);
    assert_true(cc_check(b.c));
    cc_retire_block(l);
    assert_int_not_equal(jt[cpu_jt_second(other)].pc, other);
    assert_int_equal(jt[cpu_jt_first(pc)].pc, pc);
    cc_retire_block(k);
    assert_int_not_equal(jt[cpu_jt_first(pc)].pc, pc);
    assert_true(cc_check(b.c));
    bench_free(&b);
}

static void a_landing_is_in_the_jump_table_as_long_as_its_block_lives(void **state)
{
    (void)state;
    struct bench b = bench_new(65536, 8192);
    struct cpu_jt_entry *jt = cc_pin(b.t, b.s);
    struct host_landing landing = {.pc = 0x10104, .host_off = 4};
    struct cc_block *k = publish_landing(&b, 0x10100, &landing);
    struct cpu_jt_entry *e = &jt[cpu_jt_first(landing.pc)];
    assert_int_equal(e->pc, landing.pc);
    assert_ptr_equal(e->host, cc_host(b.c, k->host_off + 4));
    struct cc_block *l = publish(&b, landing.pc, 0);
    cc_fill(b.t, l); /* the landing is better */
    assert_ptr_equal(e->host, cc_host(b.c, k->host_off + 4));
    assert_true(cc_check(b.c));
    cc_retire_block(l);
    assert_int_equal(e->pc, landing.pc);
    assert_true(cc_check(b.c));
    cc_retire_block(k);
    assert_int_not_equal(e->pc, landing.pc);
    assert_true(cc_check(b.c));
    bench_free(&b);
}

static void a_block_across_two_pages_retires_with_either(void **state)
{
    (void)state;
    struct bench b = bench_new(65536, 8192);
    assert_non_null(publish_with(b.t, b.c, b.s, 0x10ffe, 0, 4, NULL, 0));
    assert_int_equal(cc_retire_range(b.s, 0x11000, 0x12000), 1);
    assert_non_null(publish_with(b.t, b.c, b.s, 0x10ffe, 0, 4, NULL, 0));
    assert_true(cc_check(b.c));
    assert_int_equal(cc_retire_range(b.s, 0x11002, 0x12000), 0); /* behind its last byte */
    assert_int_equal(cc_retire_range(b.s, 0x10000, 0x10fff), 1);
    assert_non_null(publish_with(b.t, b.c, b.s, 0x10ffe, 0, 4, NULL, 0));
    assert_int_equal(cc_retire_range(b.s, 0, UINT64_MAX),
                     1); /* more pages than there are entries */
    bench_free(&b);
}

static void a_block_made_from_old_bytes_is_not_published(void **state)
{
    (void)state;
    struct bench b = bench_new(65536, 8192);
    _Atomic uint64_t gen = 8;
    assert_null(publish_with(b.t, b.c, b.s, 0x10000, 0, 4, &gen, 7));
    assert_null(cc_find(b.s, 0x10000));
    assert_non_null(publish_with(b.t, b.c, b.s, 0x10000, 0, 4, &gen, 8));
    bench_free(&b);
}

static void who_publishes_second_gets_the_first_one_s_block(void **state)
{
    (void)state;
    struct bench b = bench_new(65536, 8192);
    struct cc_block *first = publish(&b, 0x10000, 0);
    assert_ptr_equal(publish(&b, 0x10000, 0), first);
    bench_free(&b);
}

static void a_host_offset_leads_to_its_block_and_guest_pc(void **state)
{
    (void)state;
    struct bench b = bench_new(65536, 8192);
    struct cc_block *k[100];
    for (unsigned i = 0; i < 100; i++)
        k[i] = publish(&b, 0x10000 + i * 8, 0x20000);
    for (unsigned i = 0; i < 100; i++) {
        for (uint32_t off = 0; off < k[i]->host_bytes; off++)
            assert_ptr_equal(cc_find_host(b.c, k[i]->host_off + off), k[i]);
        struct cc_place p = cc_block_place(k[i], k[i]->host_off + 12);
        assert_int_equal(p.pc, k[i]->pc);
        assert_int_equal(p.borrowed, 0);
        p = cc_block_place(k[i], k[i]->host_off + 13);
        assert_int_equal(p.pc, k[i]->pc + 4);
        assert_int_equal(p.borrowed, 7);
        assert_int_equal(p.uncounted, 0);
        p = cc_block_place(k[i], k[i]->host_off + k[i]->host_bytes - 1);
        assert_int_equal(p.pc, k[i]->pc + 2);
        assert_int_equal(p.borrowed, 0);
        assert_int_equal(p.uncounted, 200);
    }
    assert_null(cc_find_host(b.c, 0)); /* a stub */
    bench_free(&b);
}

static void a_full_cache_evicts_and_goes_on_after_a_safe_point(void **state)
{
    (void)state;
    struct bench b = bench_new(65536, 8192);
    struct cc_stats st;
    unsigned refused = 0;
    for (unsigned i = 0; i < 5000; i++) {
        gva_t pc = 0x10000 + i * 8;
        struct cc_block *k = publish_with(b.t, b.c, b.s, pc, pc + 8, 8, NULL, 0);
        if (!k) {
            refused++;
            cc_safe_point(b.t); /* nothing else holds us back */
            k = publish_with(b.t, b.c, b.s, pc, pc + 8, 8, NULL, 0);
        }
        assert_non_null(k);
        assert_int_equal(run(b.c, b.v, k), CPU_EXIT_CHAIN);
        struct cc_block *before = cc_find(b.s, pc - 8);
        if (before) {
            assert_int_equal(run(b.c, b.v, before), CPU_EXIT_CHAIN);
            assert_true(cc_chain(b.c, b.v->exit_site, k));
        }
        if (i % 500 == 0)
            assert_true(cc_check(b.c));
    }
    cc_cache_stats(b.c, &st);
    assert_true(refused > 0 && st.evictions > 20 && st.blocks_live < 1000);
    assert_int_equal(st.published, 5000);
    bench_free(&b);
}

static void evicted_code_stays_while_a_thread_is_inside(void **state)
{
    (void)state;
    struct bench b = bench_new(16384, 8192);
    struct err err;
    struct cc_thread *other;
    assert_int_equal(cc_thread_new(b.c, NULL, NULL, &other, &err), OK);
    struct cc_block *k = publish(&b, 0x10000, 0);
    cc_enter(other); /* somebody who may be about to enter k */
    unsigned n = 1;
    while (publish_with(b.t, b.c, b.s, 0x10000 + n * 8, 0, 8, NULL, 0))
        n++;
    assert_true(k->retired);
    for (unsigned i = 0; i < 10; i++) {
        cc_safe_point(b.t);
        assert_null(publish_with(b.t, b.c, b.s, 0x90000, 0, 8, NULL, 0));
        assert_false(cc_reclaim(b.c, false));
    }
    assert_int_equal(run(b.c, b.v, k), CPU_EXIT_NEXT);
    assert_int_equal(b.v->r[5], 0x10000);
    cc_leave(other); /* idle counts as past */
    cc_safe_point(b.t);
    assert_non_null(publish_with(b.t, b.c, b.s, 0x90000, 0, 8, NULL, 0));
    cc_thread_free(other);
    bench_free(&b);
}

static void spaces_are_found_by_key_kept_when_unused_and_limited(void **state)
{
    (void)state;
    struct bench b = bench_new(65536, 8192);
    struct err err;
    struct cc_space *s[4];
    bool made;
    char key[4] = "k0";
    for (unsigned i = 0; i < 4; i++) {
        key[1] = (char)('0' + i);
        assert_int_equal(cc_space_open(b.c, key, 2, &s[i], &made, &err), OK);
        assert_true(made);
        assert_non_null(publish_with(b.t, b.c, s[i], 0x10000, 0, 8, NULL, 0));
    }
    cc_space_put(s[0]);
    assert_ptr_equal(cc_space_find(b.c, "k0", 2), s[0]); /* warm */
    assert_non_null(cc_find(s[0], 0x10000));
    for (unsigned i = 0; i < 4; i++)
        cc_space_put(s[i]); /* two are kept */
    struct cc_stats st;
    cc_cache_stats(b.c, &st);
    assert_int_equal(st.spaces_unused, 2);
    assert_null(cc_space_find(b.c, "k0", 2));
    assert_null(cc_space_find(b.c, "k1", 2));
    struct cc_space *again = cc_space_find(b.c, "k3", 2);
    assert_ptr_equal(again, s[3]);
    cc_space_get(again);
    assert_false(cc_space_claim(again)); /* shared */
    cc_space_put(again);
    assert_true(cc_space_claim(again));
    assert_null(cc_space_find(b.c, "k3", 2));
    assert_false(cc_space_rekey(again, "k2", 2)); /* taken */
    assert_true(cc_space_rekey(again, "k9", 2));
    assert_true(cc_space_has_key(again, "k9", 2));
    cc_space_put(again);
    bench_free(&b);
}

struct watcher {
    struct cc_sharer sh;
    unsigned seen;
    gva_t last;
    bool cannot;
};
static bool on_watch(void *ctx, gva_t page)
{
    struct watcher *w = ctx;
    w->seen++;
    w->last = page;
    return !w->cannot;
}

static void every_process_of_a_space_watches_each_page_with_code(void **state)
{
    (void)state;
    struct bench b = bench_new(65536, 8192);
    struct watcher one = {.sh = {.watch = on_watch}}, two = {.sh = {.watch = on_watch}};
    one.sh.ctx = &one;
    two.sh.ctx = &two;
    list_init(&one.sh.link);
    list_init(&two.sh.link);
    assert_true(cc_space_join(b.s, &one.sh));
    publish(&b, 0x10000, 0);
    assert_int_equal(one.seen, 1);
    publish(&b, 0x10010, 0); /* the same page */
    assert_int_equal(one.seen, 1);
    assert_true(cc_space_join(b.s, &two.sh));
    assert_int_equal(two.seen, 1);
    assert_int_equal(two.last, 0x10000);
    publish(&b, 0x20000, 0);
    assert_int_equal(one.seen + two.seen, 4);
    cc_space_part(b.s, &one.sh);
    cc_space_part(b.s, &two.sh);
    bench_free(&b);
}

static void a_page_that_somebody_cannot_watch_gets_self_checking_code(void **state)
{
    (void)state;
    struct bench b = bench_new(65536, 8192);
    struct watcher one = {.sh = {.watch = on_watch}},
                   two = {.sh = {.watch = on_watch}, .cannot = true};
    one.sh.ctx = &one;
    two.sh.ctx = &two;
    list_init(&one.sh.link);
    list_init(&two.sh.link);
    assert_true(cc_space_join(b.s, &one.sh));
    publish(&b, 0x10000, 0);
    assert_false(cc_space_join(b.s, &two.sh)); /* that code does not check itself */
    assert_int_equal(cc_retire_range(b.s, 0x10000, 0x11000), 1);
    assert_true(cc_space_join(b.s, &two.sh));
    bool hot = false;
    assert_true(cc_announce(b.s, 0x10000, &hot));
    assert_true(hot);
    hot = false;
    assert_true(cc_announce(b.s, 0x10000, &hot)); /* and so on */
    assert_true(hot);
    cc_space_part(b.s, &one.sh);
    assert_true(cc_space_join(b.s, &one.sh));
    cc_space_part(b.s, &one.sh);
    cc_space_part(b.s, &two.sh);
    bench_free(&b);
}

static void the_hash_survives_growth_and_removal(void **state)
{
    (void)state;
    struct bench b = bench_new(1 << 20, 65536);
    struct rng rng;
    rng_seed(&rng, 1);
    bool there[2048] = {0};
    for (unsigned i = 0; i < 20000; i++) {
        unsigned k = (unsigned)rng_below(&rng, 2048);
        gva_t pc = 0x10000 + k * 2;
        struct cc_block *at = cc_find(b.s, pc);
        assert_int_equal(at != NULL, there[k]);
        if (at)
            cc_retire_block(at);
        else if (!publish_with(b.t, b.c, b.s, pc, 0, 2, NULL, 0)) {
            cc_safe_point(b.t); /* blocks may have been evicted meanwhile */
            for (unsigned j = 0; j < 2048; j++)
                there[j] = cc_find(b.s, 0x10000 + j * 2);
            continue;
        } else if (i % 97 == 0) {
            for (unsigned j = 0; j < 2048; j++)
                there[j] = cc_find(b.s, 0x10000 + j * 2);
        }
        there[k] = cc_find(b.s, pc);
    }
    bench_free(&b);
}

static void a_range_is_found_from_any_address_in_it(void **state)
{
    (void)state;
    struct bench b = bench_new(65536, 8192);
    struct cc_range r;
    uintptr_t p = (uintptr_t)cc_host(b.c, 0);
    assert_true(cc_range_find(p, &r));
    assert_int_equal(r.lo, p);
    assert_int_equal(r.fault_stub, p + 16);
    assert_true(r.blocks > r.fault_stub);
    assert_true(cc_range_find(p + 65536, &r));
    assert_false(cc_range_find((uintptr_t)&r, &r));
    bench_free(&b);
    assert_false(cc_range_find(p, &r));
}

static void bad_sizes_are_refused(void **state)
{
    (void)state;
    struct cc_cache *c;
    struct err err;
    struct cc_config config = {
        .host = &fake_host_ops, .cache_bytes = 8192, .arena_bytes = 8192, .thread_max = 1};
    assert_int_equal(cc_cache_new(&config, &c, &err), FAIL);
    config.cache_bytes = 65536;
    config.arena_bytes = 1000;
    assert_int_equal(cc_cache_new(&config, &c, &err), FAIL);
    config.arena_bytes = 0;
    assert_int_equal(cc_cache_new(&config, &c, &err), FAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_published_block_is_found_and_runs),
        cmocka_unit_test(chaining_leads_straight_to_the_target_and_retiring_undoes_it),
        cmocka_unit_test(a_retired_block_may_still_be_left_but_is_not_chained_from),
        cmocka_unit_test(the_jump_table_is_filled_and_cleared_when_its_block_retires),
        cmocka_unit_test(a_landing_is_in_the_jump_table_as_long_as_its_block_lives),
        cmocka_unit_test(an_empty_jump_table_entry_matches_nothing_that_leads_to_it),
        cmocka_unit_test(a_pc_whose_place_is_taken_gets_its_second_one),
        cmocka_unit_test(a_block_across_two_pages_retires_with_either),
        cmocka_unit_test(a_block_made_from_old_bytes_is_not_published),
        cmocka_unit_test(who_publishes_second_gets_the_first_one_s_block),
        cmocka_unit_test(a_host_offset_leads_to_its_block_and_guest_pc),
        cmocka_unit_test(a_full_cache_evicts_and_goes_on_after_a_safe_point),
        cmocka_unit_test(evicted_code_stays_while_a_thread_is_inside),
        cmocka_unit_test(spaces_are_found_by_key_kept_when_unused_and_limited),
        cmocka_unit_test(every_process_of_a_space_watches_each_page_with_code),
        cmocka_unit_test(a_page_that_somebody_cannot_watch_gets_self_checking_code),
        cmocka_unit_test(the_hash_survives_growth_and_removal),
        cmocka_unit_test(a_range_is_found_from_any_address_in_it),
        cmocka_unit_test(bad_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
