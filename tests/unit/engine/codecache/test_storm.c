// links: engine/codecache engine/cpu engine/base
/* Four threads run, chain, retire and evict in one small cache; whatever they enter says who it is. */
#include "engine/base/arena.h"
#include "engine/base/os.h"
#include "engine/codecache/code_cache.h"
#include "tests/unit/engine/codecache/fake_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define THREADS 4
#define PLACES 600u /* more code than the cache holds */
#define TURNS 30000

typedef uint32_t enter_fn(struct vcpu *v, const void *host);

static struct cc_cache *cache;
static struct cc_space *space;
static _Atomic uint64_t wrong, entered, chained, full;

static void nudge(void *ctx)
{
    struct vcpu *v = ctx;
    atomic_fetch_or(&v->exit_req, 2);
}

static gva_t pc_of(uint64_t i)
{
    return 0x10000 + i % PLACES * 24;
}
static gva_t target_of(gva_t pc)
{
    uint64_t i = (pc - 0x10000) / 24;
    return i % 7 == 0 ? 0 : pc_of(i * 31 + 7);
}

static struct cc_block *make(struct cc_thread *t, gva_t pc)
{
    struct cc_slot slot;
    if (!cc_reserve(t, FAKE_BLOCK_BYTES_MAX, &slot)) {
        full++;
        return NULL;
    }
    struct host_exit e;
    struct host_pcmap map[3];
    CLEANUP(arena_fini) struct arena scratch;
    arena_init(&scratch, 0);
    struct host_code code = {
        .w = slot.w, .w_bytes = slot.w_bytes, .cache_off = slot.cache_off, .arena = &scratch};
    struct cc_block *b = NULL;
    if (fake_block(&code, pc, target_of(pc), &e, map) != OK ||
        !cc_announce(space, pc, &(bool){false})) {
        cc_abandon(t);
        return NULL;
    }
    struct cc_publish p = {
        .space = space, .pc = pc, .guest_bytes = 24, .insn_count = 1, .code = &code};
    cc_publish(t, &p, &b);
    return b;
}

/* Where the run ended must be where the chain of targets leads. */
static void verify(gva_t start, struct vcpu *v, uint32_t x, uint64_t count)
{
    gva_t pc = start;
    for (uint64_t i = 1; i < count; i++)
        pc = target_of(pc);
    bool ok = v->r[5] == pc;
    if (x == CPU_EXIT_NEXT)
        ok &= target_of(pc) == 0;
    if (x == CPU_EXIT_POLL)
        ok &= v->pc == pc;
    if (!ok)
        wrong++;
}

static void *runner(void *arg)
{
    struct rng rng;
    rng_seed(&rng, (uintptr_t)arg);
    struct err err;
    struct vcpu *v;
    struct cc_thread *t;
    if (cpu_vcpu_new(&v, &err) != OK || cc_thread_new(cache, nudge, v, &t, &err) != OK) {
        wrong++;
        return NULL;
    }
    struct cpu_jt_entry *jt = cc_pin(t, space);
    enter_fn *enter = (enter_fn *)(uintptr_t)cc_host(cache, cc_stubs(cache)->enter);
    cc_enter(t);
    gva_t pc = pc_of(rng_next(&rng));
    uint32_t site = 0;
    for (unsigned turn = 0; turn < TURNS; turn++) {
        if (!site)
            cc_safe_point(t);
        struct cc_block *b = cc_find(space, pc);
        if (!b)
            b = make(t, pc);
        if (!b) { /* a real vCPU interprets meanwhile */
            site = 0;
            cc_safe_point(t);
            sched_yield();
            turn--;
            continue;
        }
        if (site && cc_chain(cache, site, b))
            chained++;
        site = 0;
        const void *host = cc_host(cache, b->host_off);
        struct cpu_jt_entry *e = &jt[cpu_jt_first(pc)];
        if (rng_below(&rng, 4) == 0)
            cc_fill(t, b);
        else if (atomic_load(&e->pc) == pc)
            host = atomic_load(&e->host);
        v->r[6] = 0;
        uint32_t x = enter(v, host);
        entered++;
        verify(pc, v, x, v->r[6]);
        pc = v->r[5];
        if (x == CPU_EXIT_CHAIN) {
            site = v->exit_site;
            pc = target_of(pc);
        } else if (x == CPU_EXIT_NEXT)
            pc = pc_of(rng_next(&rng));
        if (atomic_load(&v->exit_req)) {
            atomic_store(&v->exit_req, 0);
            site = 0;
        }
        switch (rng_below(&rng, 200)) {
        case 0:
            cc_retire_range(space, pc & ~4095ull, (pc & ~4095ull) + 4096);
            break;
        case 1: /* a system call that changes code: outside, so nobody waits for it */
            cc_leave(t);
            site = 0;
            cc_retire_range(space, pc & ~4095ull, (pc & ~4095ull) + 4096);
            cc_reclaim(cache, true);
            cc_enter(t);
            break;
        case 2:
            b = cc_find(space, pc_of(rng_next(&rng)));
            if (b)
                cc_retire_block(b);
            break;
        case 3:
            if (rng_below(&rng, 50) == 0) {
                cc_leave(t);
                site = 0;
                cc_quiesce(cache, t);
                cc_enter(t);
            }
            break;
        }
    }
    cc_leave(t);
    cc_thread_free(t);
    cpu_vcpu_free(v);
    return NULL;
}

static void four_threads_run_chain_retire_and_evict_in_a_tiny_cache(void **state)
{
    (void)state;
    struct err err;
    assert_int_equal(cc_process_init(&err), OK);
    struct cc_config config = {.host = &fake_host_ops,
                               .cache_bytes = 65536,
                               .arena_bytes = 4096,
                               .thread_max = THREADS,
                               .unused_max = 1};
    assert_int_equal(cc_cache_new(&config, &cache, &err), OK);
    assert_int_equal(cc_space_open(cache, "k", 1, &space, NULL, &err), OK);
    pthread_t th[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(os_thread_start(&th[i], "storm", 0, runner, (void *)(i + 1), &err), OK);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(th[i], NULL);
    struct cc_stats st;
    cc_cache_stats(cache, &st);
    assert_int_equal(wrong, 0);
    assert_true(cc_check(cache));
    assert_int_equal(entered, THREADS * TURNS);
    assert_true(chained > 1000);
    assert_true(st.evictions > 10);
    assert_true(cc_reclaim(cache, false)); /* nobody is inside */
    cc_space_put(space);
    cc_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_threads_run_chain_retire_and_evict_in_a_tiny_cache)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
