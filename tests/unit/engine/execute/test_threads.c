// links: engine/execute engine/guest/riscv engine/host/x64 engine/memory engine/base
/* Four vCPUs in one address space with a tiny code cache; with the interpreter too, whose accesses ThreadSanitizer sees. */
#include "tests/unit/engine/execute/rig.h"

#define VCPUS 4
#if defined(__SANITIZE_THREAD__)
#define REPETITIONS 10
#else
#define REPETITIONS 100
#endif
static const bool t0_only = true;

static unsigned repetitions(void **state)
{
    return *state == &t0_only ? 10 : REPETITIONS;
}

struct party {
    struct rig rig;                 /* its vCPU is the first */
    struct run_vcpu *rv[VCPUS + 1]; /* the last is the main thread's, for its flushes */
    gva_t pc;
    uint64_t a0;
    _Atomic unsigned running;
    _Atomic uint64_t wrong;
};

struct guest {
    struct party *p;
    unsigned index;
    pthread_t thread;
};

static struct party *party_new(void **state)
{
    struct party *p = calloc(1, sizeof *p);
    struct run_config c = rig_config();
    struct err err;
    c.cache_bytes = 65536;
    c.arena_bytes = 8192;
    c.vcpu_count = VCPUS + 1;
    c.t1_threshold = 1;
    c.no_translate = *state == &t0_only;
    p->rig = rig_new(&c);
    p->rv[0] = p->rig.rv;
    for (unsigned i = 1; i <= VCPUS; i++)
        assert_int_equal(run_vcpu_new(p->rig.engine, &p->rv[i], &err), OK);
    return p;
}

static void party_free(struct party *p)
{
    for (unsigned i = 1; i <= VCPUS; i++)
        run_vcpu_free(p->rv[i]);
    rig_free(&p->rig);
    free(p);
}

/* Runs from p->pc until ecall; a5 not 0 there means something was wrong. */
static void *guest_main(void *arg)
{
    struct guest *g = arg;
    struct party *p = g->p;
    struct run_vcpu *rv = p->rv[g->index];
    struct vcpu *v = run_vcpu_state(rv);
    struct err err;
    if (run_thread_init(&err) != OK)
        abort();
    struct cpu_regs regs = fresh_regs(p->pc);
    regs.r[SP] -= g->index * 4096;
    regs.r[TP] = g->index;
    regs.r[A0] = p->a0;
    regs.r[S0] = DATA;
    cpu_regs_load(v, &regs);
    enum run_why why;
    while ((why = run_go(rv, p->rig.space)) == RUN_KICKED)
        ;
    if (why != RUN_SYSCALL || v->r[A5])
        p->wrong++;
    run_thread_fini();
    p->running--;
    return NULL;
}

/* All four from pc on; `meanwhile` is called again and again until they are done. */
static void run_party(struct party *p, gva_t pc, uint64_t a0,
                      void (*meanwhile)(struct party *p, unsigned turn))
{
    struct guest g[VCPUS];
    struct err err;
    p->pc = pc;
    p->a0 = a0;
    p->running = VCPUS;
    for (unsigned i = 0; i < VCPUS; i++) {
        g[i] = (struct guest){p, i, 0};
        assert_int_equal(os_thread_start(&g[i].thread, "guest", 0, guest_main, &g[i], &err), OK);
    }
    for (unsigned turn = 0; p->running; turn++) {
        if (meanwhile)
            meanwhile(p, turn);
        sched_yield();
    }
    for (unsigned i = 0; i < VCPUS; i++)
        pthread_join(g[i].thread, NULL);
    assert_int_equal(p->wrong, 0);
}

/* a0 times: amoadd to 0(s0), lr/sc increment of 64(s0) */
static void poke_counters(struct mem_space *m)
{
    POKE(m, CODE, ADDI(A1, S0, 64), ADDI(A2, X0, 1), AMOADD_D(X0, S0, A2), LR_D(A3, A1),
         ADDI(A3, A3, 1), SC_D(A4, A1, A3), BNE(A4, X0, -12), ADDI(A0, A0, -1), BNE(A0, X0, -24),
         ADDI(A5, X0, 0), ECALL);
}

static void kick_all(struct party *p, unsigned turn)
{
    run_kick(p->rv[turn % VCPUS]);
}

static void counters_add_up(void **state)
{
    const uint64_t each = 2000;
    struct party *p = party_new(state);
    poke_counters(p->rig.mem);
    for (uint64_t i = 1; i <= repetitions(state); i++) {
        run_party(p, CODE, each, kick_all);
        assert_int_equal(peek64(p->rig.mem, DATA), i * each * VCPUS);
        assert_int_equal(peek64(p->rig.mem, DATA + 64), i * each * VCPUS);
    }
    party_free(p);
}

/* A ring of small blocks, more than the cache holds: block i adds 1 to a1 and jumps to block i * 5 + 1. Each time round
 * a0 goes down; at the end a1 must equal s1. */
#define RING 1024u
static void poke_ring(struct mem_space *m)
{
    uint32_t code[RING * 4];
    for (unsigned i = 0; i < RING; i++) {
        unsigned next = (i * 5 + 1) % RING; /* every block once */
        uint32_t *w = &code[i * 4];
        w[0] = ADDI(A1, A1, 1);
        w[1] = i ? ADDI(X0, X0, 0) : ADDI(A0, A0, -1);
        w[2] = i ? ADDI(X0, X0, 0) : BEQ(A0, X0, -72);
        w[3] = JAL(X0, ((int32_t)next - (int32_t)i) * 16 - 12);
    }
    poke(m, CODE + 64, code, RING * 4);
    /* a5 = a1 - s1, which must be 0 */
    POKE(m, CODE, rv_r(0x33, 0, 0x20, A5, A1, S1), ECALL);
    /* the entry */
    POKE(m, CODE + 16, LD(S1, S0, 256), ADDI(A1, X0, 0), JAL(X0, 64 - 24));
}

static void storm(struct party *p, unsigned turn)
{
    /* Write what is there already: the page becomes dirty, its blocks go. */
    gva_t at = CODE + turn % 4 * 4096 + 128;
    uint32_t word;
    assert_true(mem_copy_in(p->rig.mem, &word, at, 4));
    assert_true(mem_copy_out(p->rig.mem, at, &word, 4));
    run_flush_icache(p->rv[VCPUS], p->rig.space);
    run_kick(p->rv[turn % VCPUS]);
}

static void blocks_are_chained_and_retired_under_a_flush_storm(void **state)
{
    const uint64_t rounds = 20;
    struct party *p = party_new(state);
    poke_ring(p->rig.mem);
    uint64_t expected = (rounds - 1) * RING + 1;
    assert_true(mem_copy_out(p->rig.mem, DATA + 256, &expected, 8));
    for (unsigned i = 0; i < repetitions(state); i++)
        run_party(p, CODE + 16, rounds, storm);
    struct run_stats st;
    run_engine_stats(p->rig.engine, &st);
    if (*state != &t0_only)
        assert_true(st.evictions > 0 && st.retired > 1000 && st.chained > 1000);
    party_free(p);
}

/* Readers: load the published number, call the function, which returns the number in its immediate: never less. */
static void poke_readers(struct mem_space *m)
{
    POKE(m, CODE, LD(A1, S0, 0), JALR(RA, S1, 0), BLT(A2, A1, 16), ADDI(A0, A0, -1),
         BNE(A0, X0, -16), ECALL, ADDI(A5, X0, 1), ECALL);
    POKE(m, CODE + 0x800, ADDI(A5, X0, 0), LUI(S1, (CODE + 0x2000) >> 12), JAL(X0, -0x808));
    POKE(m, CODE + 0x2000, ADDI(A2, X0, 0), JALR(X0, RA, 0));
}

static void patch(struct party *p, unsigned turn)
{
    uint64_t n = turn + 1u;
    if (n > 2000) /* as far as the immediate goes */
        return;
    uint32_t word = ADDI(A2, X0, (int32_t)n);
    assert_true(mem_copy_out(p->rig.mem, CODE + 0x2000, &word, 4));
    run_flush_icache(p->rv[VCPUS], p->rig.space);
    assert_true(mem_copy_out(p->rig.mem, DATA, &n, 8));
}

static void code_patched_by_another_is_seen_after_riscv_flush_icache(void **state)
{
    struct party *p = party_new(state);
    poke_readers(p->rig.mem);
    for (unsigned i = 0; i < repetitions(state) / 2; i++) {
        uint64_t zero = 0;
        assert_true(mem_copy_out(p->rig.mem, DATA, &zero, 8));
        run_party(p, CODE + 0x800, 20000, patch);
    }
    party_free(p);
}

/* Executable mappings come and go, so the process gets new keys and cleans its code space while its threads run in it. */
static void remap(struct party *p, unsigned turn)
{
    gva_t aside = 0x500000;
    assert_int_equal(
        mem_map(p->rig.mem, aside, 4096, MEM_R | MEM_W | MEM_X, MEM_FIXED, NULL, 0, NULL), aside);
    if (turn % 2)
        assert_int_equal(mem_protect(p->rig.mem, aside, 4096, MEM_R), 0);
    assert_int_equal(mem_unmap(p->rig.mem, aside, 4096), 0);
}

static void mappings_change_while_others_run(void **state)
{
    struct party *p = party_new(state);
    poke_counters(p->rig.mem);
    for (uint64_t i = 1; i <= repetitions(state) / 5; i++) {
        run_party(p, CODE, 2000, remap);
        assert_int_equal(peek64(p->rig.mem, DATA), i * 2000 * VCPUS);
    }
    party_free(p);
}

#define BOTH(f)                                                        \
    {#f " (interpreter)", f, NULL, NULL, (void *)(uintptr_t)&t0_only}, \
    {                                                                  \
#f " (translator)", f, NULL, NULL, NULL                        \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(counters_add_up),
        BOTH(blocks_are_chained_and_retired_under_a_flush_storm),
        BOTH(code_patched_by_another_is_seen_after_riscv_flush_icache),
        BOTH(mappings_change_while_others_run),
    };
    keep_our_handlers();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
