// links: engine/execute engine/guest/riscv engine/host/x64 engine/memory engine/base
/* The vCPU loop, in T0 only and with T1 from the first entry on: every test runs in both. */
#include "tests/unit/engine/execute/rig.h"

static const bool t0_only = true;

static struct rig rig_for(void **state)
{
    struct run_config c = rig_config();
    c.no_translate = *state == &t0_only;
    c.t1_threshold = 1;
    return rig_new(&c);
}

static bool translated(void **state)
{
    return *state != &t0_only;
}

/* sum of 1..a0 into a1 */
static void poke_sum(struct mem_space *m)
{
    POKE(m, CODE, ADDI(A1, X0, 0), ADD(A1, A1, A0), ADDI(A0, A0, -1), BNE(A0, X0, -8), ECALL);
}

static void a_loop_runs_to_its_system_call(void **state)
{
    struct rig r = rig_for(state);
    poke_sum(r.mem);
    start(&r, CODE);
    r.v->r[A0] = 100000;
    assert_int_equal(run_go(r.rv, r.space), RUN_SYSCALL);
    assert_int_equal(r.v->r[A1], 100000ull * 100001 / 2);
    assert_int_equal(r.v->pc, CODE + 16);
    struct run_stats st;
    run_engine_stats(r.engine, &st);
    if (translated(state)) {
        assert_true(st.blocks_translated >= 2);
        assert_true(st.insns_t0 < 100);
        assert_true(st.chained >= 1);
    } else
        assert_true(st.insns_t0 >= 300000);
    rig_free(&r);
}

static void an_illegal_instruction_traps_where_it_stands(void **state)
{
    struct rig r = rig_for(state);
    POKE(r.mem, CODE, ADDI(A0, X0, 7), 0xffffffffu);
    start(&r, CODE);
    assert_int_equal(run_go(r.rv, r.space), RUN_TRAP);
    assert_int_equal(r.v->trap.kind, CPU_TRAP_ILLEGAL);
    assert_int_equal(r.v->pc, CODE + 4);
    assert_int_equal(r.v->r[A0], 7);
    POKE(r.mem, CODE + 0x1000, EBREAK);
    start(&r, CODE + 0x1000);
    assert_int_equal(run_go(r.rv, r.space), RUN_TRAP);
    assert_int_equal(r.v->trap.kind, CPU_TRAP_BREAKPOINT);
    rig_free(&r);
}

static void a_fault_in_a_loop_is_exact(void **state)
{
    struct rig r = rig_for(state);
    /* writes upwards until the area ends */
    POKE(r.mem, CODE, SD(A1, A0, 0), ADDI(A1, A1, 1), ADDI(A0, A0, 8), JAL(X0, -12));
    start(&r, CODE);
    r.v->r[A0] = DATA;
    assert_int_equal(run_go(r.rv, r.space), RUN_TRAP);
    assert_int_equal(r.v->trap.kind, CPU_TRAP_PAGE);
    assert_int_equal(r.v->trap.access, CPU_STORE);
    assert_int_equal(r.v->trap.addr, DATA + AREA);
    assert_int_equal(r.v->pc, CODE);
    assert_int_equal(r.v->r[A1], AREA / 8);
    assert_int_equal(r.v->r[A0], DATA + AREA);
    assert_int_equal(peek64(r.mem, DATA + AREA - 8), AREA / 8 - 1);
    rig_free(&r);
}

static void null_and_wild_addresses_fault_or_stay_inside(void **state)
{
    struct rig r = rig_for(state);
    POKE(r.mem, CODE, LD(A1, A0, 0), ECALL);
    static const uint64_t bad[] = {0,         8, 0xffff, -1ull, -4095ull, -8ull, 0x7fffffffffffull,
                                   1ull << 35};
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        start(&r, CODE);
        r.v->r[A0] = bad[i];
        assert_int_equal(run_go(r.rv, r.space), RUN_TRAP);
        assert_int_equal(r.v->trap.kind, CPU_TRAP_PAGE);
        assert_int_equal(r.v->pc, CODE);
    }
    rig_free(&r);
}

static void a_jump_to_nowhere_traps_at_its_target(void **state)
{
    struct rig r = rig_for(state);
    POKE(r.mem, CODE, JALR(X0, A0, 0));
    start(&r, CODE);
    r.v->r[A0] = 0x123456;
    assert_int_equal(run_go(r.rv, r.space), RUN_TRAP);
    assert_int_equal(r.v->pc, 0x123456);
    assert_int_equal(r.v->trap.kind, CPU_TRAP_PAGE);
    assert_int_equal(r.v->trap.access, CPU_FETCH);
    start(&r, CODE);
    r.v->r[A0] = DATA; /* mapped, not executable */
    assert_int_equal(run_go(r.rv, r.space), RUN_TRAP);
    assert_int_equal(r.v->trap.access, CPU_FETCH);
    assert_int_equal(r.v->trap.addr, DATA);
    rig_free(&r);
}

static void indirect_jumps_find_their_targets(void **state)
{
    struct rig r = rig_for(state);
    /* call the function at a2 a0 times; it adds 3 to a1 */
    POKE(r.mem, CODE, JALR(RA, A2, 0), ADDI(A0, A0, -1), BNE(A0, X0, -8), ECALL);
    POKE(r.mem, CODE + 0x2000, ADDI(A1, A1, 3), JALR(X0, RA, 0));
    start(&r, CODE);
    r.v->r[A0] = 1000;
    r.v->r[A2] = CODE + 0x2000;
    assert_int_equal(run_go(r.rv, r.space), RUN_SYSCALL);
    assert_int_equal(r.v->r[A1], 3000);
    struct run_stats st;
    run_engine_stats(r.engine, &st);
    if (translated(
            state)) /* the function's first call; the way back is in the table since the call was translated */
        assert_true(st.misses >= 1 && st.misses < 10);
    rig_free(&r);
}

static void fence_i_shows_code_that_the_guest_wrote(void **state)
{
    struct rig r = rig_for(state);
    /* a0 times: store a3 | n << 20 as the function's first word, fence.i, call it, add its answer to a1 */
    POKE(r.mem, CODE, SLLI(A4, A0, 20), ADD(A4, A4, A3), SW(A4, A2, 0), FENCE_I, JALR(RA, A2, 0),
         ADD(A1, A1, A5), ADDI(A0, A0, -1), BNE(A0, X0, -28), ECALL);
    POKE(r.mem, CODE + 0x2000, ADDI(A5, X0, 0), JALR(X0, RA, 0));
    start(&r, CODE);
    r.v->r[A0] = 500;
    r.v->r[A2] = CODE + 0x2000;
    r.v->r[A3] = ADDI(A5, X0, 0);
    assert_int_equal(run_go(r.rv, r.space), RUN_SYSCALL);
    assert_int_equal(r.v->r[A1], 500 * 501 / 2);
    rig_free(&r);
}

static void code_written_by_the_emulator_is_seen_after_a_flush(void **state)
{
    struct rig r = rig_for(state);
    for (int i = 0; i < 50; i++) {
        POKE(r.mem, CODE, ADDI(A0, X0, i), ECALL);
        run_flush_icache(r.rv, r.space);
        start(&r, CODE);
        assert_int_equal(run_go(r.rv, r.space), RUN_SYSCALL);
        assert_int_equal(r.v->r[A0], i);
    }
    rig_free(&r);
}

static void a_block_across_two_pages_sees_a_change_in_the_second(void **state)
{
    struct rig r = rig_for(state);
    gva_t at = CODE + 0xffe; /* a 4-byte instruction over the boundary */
    for (int i = 0; i < 20; i++) {
        POKE(r.mem, at, ADDI(A0, X0, i), ECALL);
        run_flush_icache(r.rv, r.space);
        start(&r, at);
        assert_int_equal(run_go(r.rv, r.space), RUN_SYSCALL);
        assert_int_equal(r.v->r[A0], i);
        uint16_t upper = (uint16_t)(ADDI(A0, X0, i + 100) >> 16);
        assert_true(mem_copy_out(r.mem, at + 2, &upper, 2));
        run_flush_icache(r.rv, r.space);
        start(&r, at);
        assert_int_equal(run_go(r.rv, r.space), RUN_SYSCALL);
        assert_int_equal(r.v->r[A0], i + 100);
    }
    rig_free(&r);
}

static void remapped_code_is_not_the_old_code(void **state)
{
    struct rig r = rig_for(state);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(mem_unmap(r.mem, CODE, AREA), 0);
        assert_int_equal(
            mem_map(r.mem, CODE, AREA, MEM_R | MEM_W | MEM_X, MEM_FIXED, NULL, 0, NULL), CODE);
        POKE(r.mem, CODE, ADDI(A0, X0, i), ECALL);
        for (int k = 0; k < 3; k++) {
            start(&r, CODE);
            assert_int_equal(run_go(r.rv, r.space), RUN_SYSCALL);
            assert_int_equal(r.v->r[A0], i);
        }
    }
    assert_int_equal(mem_protect(r.mem, CODE, AREA, MEM_R), 0);
    start(&r, CODE);
    assert_int_equal(run_go(r.rv, r.space), RUN_TRAP);
    assert_int_equal(r.v->trap.access, CPU_FETCH);
    rig_free(&r);
}

static void a_stack_pointer_outside_the_window_still_works(void **state)
{
    struct rig r = rig_for(state);
    POKE(r.mem, CODE, ADDI(A1, SP, 0), ADDI(SP, X0, -1), SLLI(SP, SP, 40), ADDI(A0, A0, 1),
         ADDI(A0, A0, 1), ADDI(SP, A1, 0), SD(A0, SP, 0), LD(A2, SP, 0), ECALL);
    for (int i = 0; i < 3; i++) {
        start(&r, CODE);
        assert_int_equal(run_go(r.rv, r.space), RUN_SYSCALL);
        assert_int_equal(r.v->r[A2], 2);
        assert_int_equal(r.v->r[SP], STACK + AREA - 64);
    }
    rig_free(&r);
}

static void a_rounding_mode_that_the_host_has_not_is_a_code_space_of_its_own(void **state)
{
    struct rig r = rig_for(state);
    /* f0 = f1 / f2 under frm a0, then ecall: once for each mode */
    POKE(r.mem, CODE, FSRM(X0, A0), 0x1a20f053u /* fdiv.d ft0,ft1,ft2 dyn */, ECALL);
    uint64_t result[5];
    for (int turn = 0; turn < 3; turn++)
        for (unsigned frm = 0; frm < 5; frm++) {
            start(&r, CODE);
            r.v->r[A0] = frm;
            double one = 1, three = 3;
            memcpy(&r.v->f[1], &one, 8);
            memcpy(&r.v->f[2], &three, 8);
            assert_int_equal(run_go(r.rv, r.space), RUN_SYSCALL);
            assert_int_equal(r.v->frm, frm);
            result[frm] = r.v->f[0];
            assert_int_equal(cpu_fflags_from_mxcsr(r.v->mxcsr), 1);
        }
    assert_int_equal(result[0], 0x3fd5555555555555);
    assert_int_equal(result[1], 0x3fd5555555555555);
    assert_int_equal(result[2], 0x3fd5555555555555);
    assert_int_equal(result[3], 0x3fd5555555555556);
    assert_int_equal(result[4], 0x3fd5555555555555);
    rig_free(&r);
}

static void a_kick_before_run_go_makes_it_return_at_once(void **state)
{
    struct rig r = rig_for(state);
    POKE(r.mem, CODE, JAL(X0, 0));
    start(&r, CODE);
    run_kick(r.rv);
    assert_int_equal(run_go(r.rv, r.space), RUN_KICKED);
    assert_int_equal(r.v->pc, CODE);
    rig_free(&r);
}

struct kicker {
    struct run_vcpu *rv;
    _Atomic bool stop;
    _Atomic uint64_t at_ns;
};
static void *kicker(void *arg)
{
    struct kicker *k = arg;
    while (!k->stop) {
        struct timespec ts = {0, 200000};
        nanosleep(&ts, NULL);
        if (!k->at_ns) {
            k->at_ns = os_now_ns();
            run_kick(k->rv);
        }
    }
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void kick_many(struct rig *r, const char *what)
{
    enum { KICKS = 300 };
    static uint64_t late[KICKS];
    struct kicker k = {.rv = r->rv};
    pthread_t th;
    struct err err;
    assert_int_equal(os_thread_start(&th, "kicker", 0, kicker, &k, &err), OK);
    for (unsigned i = 0; i < KICKS; i++) {
        assert_int_equal(run_go(r->rv, r->space), RUN_KICKED);
        late[i] = os_now_ns() - k.at_ns;
        k.at_ns = 0;
    }
    k.stop = true;
    pthread_join(th, NULL);
    qsort(late, KICKS, sizeof late[0], by_size);
    print_message("kick of %s: median %.1f us, 99 %% %.1f us\n", what,
                  (double)late[KICKS / 2] / 1e3, (double)late[KICKS * 99 / 100] / 1e3);
}

static void a_kick_ends_every_kind_of_loop(void **state)
{
    struct rig r = rig_for(state);
    POKE(r.mem, CODE, JAL(X0, 0));
    start(&r, CODE);
    kick_many(&r, "a jump to itself");
    POKE(r.mem, CODE + 0x1000, JALR(X0, A0, 0));
    start(&r, CODE + 0x1000);
    r.v->r[A0] = CODE + 0x1000;
    kick_many(&r, "an indirect jump to itself");
    /* two functions that jump to each other through registers */
    POKE(r.mem, CODE + 0x2000, ADDI(A2, A2, 1), JALR(X0, A1, 0));
    POKE(r.mem, CODE + 0x3000, ADDI(A3, A3, 1), JALR(X0, A0, 0));
    start(&r, CODE + 0x2000);
    r.v->r[A0] = CODE + 0x2000;
    r.v->r[A1] = CODE + 0x3000;
    kick_many(&r, "an indirect pair");
    /* forward and back over a page */
    POKE(r.mem, CODE + 0x4000, JAL(X0, 0x1000));
    POKE(r.mem, CODE + 0x5000, JAL(X0, -0x1000));
    start(&r, CODE + 0x4000);
    kick_many(&r, "a direct pair");
    rig_free(&r);
}

static void counting_counts_every_instruction_once(void **state)
{
    struct run_config c = rig_config();
    c.no_translate = *state == &t0_only;
    c.t1_threshold = 1;
    c.count_insns = true;
    struct rig r = rig_new(&c);
    poke_sum(r.mem);
    start(&r, CODE);
    r.v->r[A0] = 1000;
    assert_int_equal(run_go(r.rv, r.space), RUN_SYSCALL);
    uint64_t first = r.v->icount;
    assert_in_range(first, 3001, 3002); /* with or without the ecall itself */
    start(&r, CODE);
    r.v->r[A0] = 1000;
    assert_int_equal(run_go(r.rv, r.space), RUN_SYSCALL);
    assert_int_equal(r.v->icount - first, first);
    rig_free(&r);
}

#define BOTH(f)                                             \
    {#f " (interpreter)", f, NULL, NULL, (void *)&t0_only}, \
    {                                                       \
#f " (translator)", f, NULL, NULL, NULL             \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(a_loop_runs_to_its_system_call),
        BOTH(an_illegal_instruction_traps_where_it_stands),
        BOTH(a_fault_in_a_loop_is_exact),
        BOTH(null_and_wild_addresses_fault_or_stay_inside),
        BOTH(a_jump_to_nowhere_traps_at_its_target),
        BOTH(indirect_jumps_find_their_targets),
        BOTH(fence_i_shows_code_that_the_guest_wrote),
        BOTH(code_written_by_the_emulator_is_seen_after_a_flush),
        BOTH(a_block_across_two_pages_sees_a_change_in_the_second),
        BOTH(remapped_code_is_not_the_old_code),
        BOTH(a_stack_pointer_outside_the_window_still_works),
        BOTH(a_rounding_mode_that_the_host_has_not_is_a_code_space_of_its_own),
        BOTH(a_kick_before_run_go_makes_it_return_at_once),
        BOTH(a_kick_ends_every_kind_of_loop),
        BOTH(counting_counts_every_instruction_once),
    };
    keep_our_handlers();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
