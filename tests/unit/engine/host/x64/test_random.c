// links: engine/host/x64 engine/guest/riscv engine/isa engine/cpu engine/base
/*
 * Random sequences, T0 against T1: registers, memory, fflags, traps. VV_RANDOM_COUNT sequences for each set of host
 * features; VV_SEED chooses others.
 */
#include "rig.h"

#define SEQUENCE 40

static struct rng rng;

/* Registers that mostly keep an address: generated code is told to leave them alone, mostly. */
static const uint8_t pointers[] = {2, 9, 14, 20, 29};
static bool is_pointer(unsigned r)
{
    for (unsigned i = 0; i < sizeof pointers; i++)
        if (pointers[i] == r)
            return true;
    return r == 30;
}

static uint64_t corner64(void)
{
    static const uint64_t corners[] = {0, 1, 2, UINT64_MAX, INT64_MAX, (uint64_t)INT64_MIN, INT32_MAX, (uint64_t)INT32_MIN,
                                       0x80000000, 0xffffffff, 0x100000000, 0x7fff, 0x8000, 63, 64, 31, 32};
    uint64_t x = rng_next(&rng);
    switch (x & 7) {
    case 0:
    case 1:
        return corners[rng_below(&rng, ARRAY_LEN(corners))];
    case 2:
        return (uint64_t)(int64_t)(int8_t)(x >> 8);
    case 3:
        return (uint64_t)(int64_t)(int32_t)(x >> 8);
    default:
        return rng_next(&rng);
    }
}

static uint64_t corner_fp(void)
{
    static const uint64_t d[] = {0, 0x8000000000000000, 0x3ff0000000000000, 0xbff0000000000000, 0x7ff0000000000000,
                                 0xfff0000000000000, 0x7ff8000000000000, 0xfff8000000000000, 0x7ff0000000000001,
                                 0x7ff4000000000000, 1, 0x000fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff,
                                 0x43e0000000000000, 0xc3e0000000000000, 0x41e0000000000000, 0xc1e0000000000000,
                                 0x43f0000000000000, 0x41f0000000000000, 0xbfe0000000000000, 0x3fe0000000000000,
                                 0x41dfffffffe00000, 0x41dfffffffc00000, 0xc1e0000000100000, 0x41efffffffe00000,
                                 0x4330000000000001, 0x3ff8000000000000, 0x380fffffffffffff, 0x36a0000000000000};
    static const uint32_t s[] = {0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000,
                                 0x7f800001, 0x7fa00000, 1, 0x007fffff, 0x00800000, 0x7f7fffff, 0x5f000000, 0xdf000000,
                                 0x4f000000, 0xcf000000, 0x4f800000, 0x5f800000, 0xbf000000, 0x3f000000, 0x3fc00000};
    uint64_t x = rng_next(&rng);
    switch (x & 7) {
    case 0:
    case 1:
    case 2:
        return d[rng_below(&rng, ARRAY_LEN(d))];
    case 3:
    case 4:
        return 0xffffffff00000000 | s[rng_below(&rng, ARRAY_LEN(s))];
    case 5:
        return 0xffffffff00000000 | (uint32_t)rng_next(&rng);
    case 6: { /* near 1: rounding, cancellation */
        double near = 1.0 + (double)(int64_t)(rng_next(&rng) >> 40) * 0x1p-20;
        memcpy(&x, &near, 8);
        return x;
    }
    default:
        return rng_next(&rng);
    }
}

static unsigned pick_register(unsigned r, bool written)
{
    return written && is_pointer(r) && rng_below(&rng, 16) ? (r ^ 5) & 31 : r;
}

struct sequence {
    struct isa_insn d[SEQUENCE];
    unsigned at[SEQUENCE + 1];
    uint8_t code[SEQUENCE * 4 + 4];
};

static bool wanted(const struct isa_attr *a)
{
    return a->flow != ISA_FLOW_SYSCALL && a->flow != ISA_FLOW_TRAP;
}

static bool tweak(struct isa_insn *d, const struct isa_attr *a)
{
    if (a->rd == ISA_OPERAND_X && a->len == 4)
        d->rd = (uint8_t)pick_register(d->rd, true);
    if (a->mem && a->len == 4 && rng_below(&rng, 16)) {
        d->rs1 = pointers[rng_below(&rng, sizeof pointers)];
        if (a->mem <= ISA_MEM_STORE && rng_below(&rng, 2))
            d->imm &= -(int)a->mem_bytes;
    }
    if (a->flow == ISA_FLOW_JUMP_IND && a->len == 4) {
        d->rs1 = rng_below(&rng, 3) ? 30 : 1;
        d->imm &= rng_below(&rng, 2) ? 0 : 31;
    }
    if ((a->flow == ISA_FLOW_JUMP || a->flow == ISA_FLOW_JUMP_IND) && a->len == 4 && rng_below(&rng, 2))
        d->rd = 1; /* a call */
    else if (a->rd == ISA_OPERAND_X && d->rd == 1 && rng_below(&rng, 2))
        d->rd = 3;
    if (a->extension[0] == 'Z' && d->imm >= 0xc00 && d->imm < 0xc03)
        return false; /* time differs */
    return true;
}

/* FP registers and integer registers clash less if only a few are used. */
static void narrow(struct isa_insn *d, const struct isa_attr *a)
{
    if (a->len != 4 || rng_below(&rng, 2))
        return;
    if (a->rd != ISA_OPERAND_NUMBER && !is_pointer(d->rd & 7))
        d->rd &= 7;
    if (a->mem == ISA_MEM_NONE && a->rs1 != ISA_OPERAND_NUMBER)
        d->rs1 &= 7;
    if (a->rs2 != ISA_OPERAND_NUMBER)
        d->rs2 &= 7;
}

static void generate(struct sequence *s, bool fp)
{
    unsigned at = 0;
    for (unsigned i = 0; i < SEQUENCE; i++) {
        struct isa_insn d;
        const struct isa_attr *a;
        uint32_t word;
        do {
            uint16_t form = (uint16_t)(1 + rng_below(&rng, ISA_RV64_FORM_COUNT - 1));
            a = isa_rv64_attr(form);
            if (!isa_rv64_decode(isa_rv64_random(&rng, form), &d))
                continue;
            if (isa_rv64_attr(d.op)->fp_bits && !fp && rng_below(&rng, 8))
                continue;
            a = isa_rv64_attr(d.form);
            narrow(&d, a);
        } while (!wanted(a) || !tweak(&d, isa_rv64_attr(d.form)) || !isa_rv64_encode(&d, &word));
        s->d[i] = d;
        s->at[i] = at;
        at += d.len;
    }
    s->at[SEQUENCE] = at;
    for (unsigned i = 0; i < SEQUENCE; i++) {
        struct isa_insn *d = &s->d[i];
        uint8_t flow = isa_rv64_attr(d->form)->flow;
        uint32_t word;
        if ((flow == ISA_FLOW_BRANCH || flow == ISA_FLOW_JUMP) && rng_below(&rng, 32)) {
            unsigned to = rng_below(&rng, 4) ? i + 1 + (unsigned)rng_below(&rng, SEQUENCE - i)
                                             : (unsigned)rng_below(&rng, SEQUENCE);
            d->imm = (int32_t)(s->at[to] - s->at[i]);
        }
        if (!isa_rv64_encode(d, &word)) {
            d->imm = (int32_t)d->len;
            assert_true(isa_rv64_encode(d, &word));
        }
        memcpy(s->code + s->at[i], &word, d->len);
    }
    uint32_t ecall = 0x73;
    memcpy(s->code + at, &ecall, 4);
}

static void start(const struct sequence *s)
{
    struct cpu_regs r = {.pc = RIG_CODE + 2 * rng_below(&rng, 2) * 0, .mxcsr = CPU_MXCSR_INIT};
    for (unsigned i = 1; i < 32; i++) {
        r.r[i] = corner64();
        r.f[i] = corner_fp();
    }
    r.f[0] = corner_fp();
    for (unsigned i = 0; i < sizeof pointers; i++) {
        r.r[pointers[i]] = RIG_DATA + 0x1000 + 8 * rng_below(&rng, 1024) + (rng_below(&rng, 8) ? 0 : rng_below(&rng, 8));
        if (!rng_below(&rng, 16))
            r.r[pointers[i]] = RIG_RO - 4 * rng_below(&rng, 4);
        if (!rng_below(&rng, 16)) /* another window: the mask matters */
            r.r[pointers[i]] += rng_next(&rng) << 36;
    }
    r.r[2] = RIG_STACK + 0x4000 + 16 * rng_below(&rng, 64);
    r.r[30] = RIG_CODE + s->at[rng_below(&rng, SEQUENCE)];
    r.frm = (uint32_t)(rng_below(&rng, 8) ? rng_below(&rng, 4) : 0);
    r.mxcsr |= cpu_mxcsr_rounding(r.frm) | cpu_mxcsr_from_fflags((uint32_t)rng_below(&rng, 32));
    cpu_regs_load(rig.t1, &r);
    cpu_regs_load(rig.t0, &r);
    rig.t1->icount = rig.t0->icount = 0;
    rig.t1->trap = rig.t0->trap = (struct cpu_trap){CPU_TRAP_NONE};
    for (unsigned i = 0; i < RIG_DATA_BYTES; i += 8) {
        uint64_t x = (uint64_t)i * 0x9e3779b97f4a7c15;
        memcpy(rig.window[0] + RIG_DATA + i, &x, 8);
    }
    for (unsigned i = 0; i < 512; i++) { /* some numbers worth loading */
        uint64_t x = rng_below(&rng, 2) ? corner64() : corner_fp();
        memcpy(rig.window[0] + RIG_DATA + 0x1000 + 16 * i, &x, 8);
    }
    memcpy(rig.window[1] + RIG_DATA, rig.window[0] + RIG_DATA, RIG_DATA_BYTES);
    memset(rig.window[0] + RIG_STACK, 0x5a, RIG_STACK_BYTES);
    memset(rig.window[1] + RIG_STACK, 0x5a, RIG_STACK_BYTES);
}

static bool differ(char *text, size_t n)
{
    const struct vcpu *a = rig.t1, *b = rig.t0;
    for (unsigned i = 0; i < 32; i++) {
        if (a->r[i] != b->r[i])
            return snprintf(text, n, "x%u: T1 %#lx, T0 %#lx", i, a->r[i], b->r[i]);
        if (a->f[i] != b->f[i])
            return snprintf(text, n, "f%u: T1 %#lx, T0 %#lx", i, a->f[i], b->f[i]);
    }
    if (a->pc != b->pc)
        return snprintf(text, n, "pc: T1 %#lx, T0 %#lx", a->pc, b->pc);
    if (cpu_fflags_from_mxcsr(a->mxcsr) != cpu_fflags_from_mxcsr(b->mxcsr))
        return snprintf(text, n, "fflags: T1 %#x, T0 %#x", cpu_fflags_from_mxcsr(a->mxcsr), cpu_fflags_from_mxcsr(b->mxcsr));
    if (a->frm != b->frm || (a->mxcsr & 0xffc0) != (b->mxcsr & 0xffc0))
        return snprintf(text, n, "frm: T1 %u %#x, T0 %u %#x", a->frm, a->mxcsr, b->frm, b->mxcsr);
    if (a->res_addr != b->res_addr || (a->res_addr != CPU_RES_NONE && a->res_val != b->res_val))
        return snprintf(text, n, "reservation");
    if (memcmp(&a->trap, &b->trap, sizeof a->trap))
        return snprintf(text, n, "trap: T1 %d %#lx, T0 %d %#lx", a->trap.kind, a->trap.addr, b->trap.kind, b->trap.addr);
    if (memcmp(rig.window[0] + RIG_DATA, rig.window[1] + RIG_DATA, RIG_DATA_BYTES) ||
        memcmp(rig.window[0] + RIG_STACK, rig.window[1] + RIG_STACK, RIG_STACK_BYTES))
        return snprintf(text, n, "memory");
    return false;
}

static void show(gva_t from, uint64_t insns)
{
    struct cpu_regs r;
    cpu_regs_store(rig.t0, &r);
    print_message("  from %#lx, %lu instructions\n", from, insns);
    for (gva_t pc = RIG_CODE; pc < RIG_CODE + SEQUENCE * 4;) {
        char text[80];
        unsigned n = rv_disasm(rig.window[0] + pc, 8, pc, text, sizeof text);
        print_message("  %#lx  %s\n", pc, text);
        pc += n;
    }
}

static unsigned long sequence_number;

static void run_sequence(const struct sequence *s)
{
    rig_code(s->code, s->at[SEQUENCE] + 4);
    start(s);
    atomic_store(&rig.t1->exit_req, 0);
    atomic_store(&rig.t1->jt, rig.jt);
    struct itimerval soon = {.it_value.tv_usec = 20000}, never = {0};
    setitimer(ITIMER_REAL, &soon, NULL);
    for (unsigned i = 0; i < 60; i++) {
        gva_t from = rig.t1->pc;
        uint64_t before = rig.t1->icount;
        enum cpu_exit why = rig_enter(), why0 = CPU_EXIT_NEXT;
        if (rig.t1->icount - rig.t0->icount > 200000)
            break; /* ran until the alarm */
        bool trapped = why == CPU_EXIT_TRAP;
        uint64_t n = rig.t1->icount - rig.t0->icount + trapped;
        rig.insns += n;
        while (n && why0 != CPU_EXIT_TRAP) {
            uint64_t was = rig.t0->icount;
            why0 = rv_step(rig.t0, n, false);
            n -= MAX(rig.t0->icount - was, (uint64_t)1);
        }
        char text[200];
        if (differ(text, sizeof text)) {
            show(from, rig.t1->icount - before);
            fail_msg("sequence %lu, visit %u from %#lx, exit %u: %s", sequence_number, i, from, why, text);
        }
        if (why == CPU_EXIT_TRAP || why == CPU_EXIT_SYSCALL || why == CPU_EXIT_POLL || why == CPU_EXIT_MODE)
            break;
    }
    setitimer(ITIMER_REAL, &never, NULL);
}

static unsigned long env(const char *name, unsigned long otherwise)
{
    const char *s = getenv(name);
    return s ? strtoul(s, NULL, 0) : otherwise;
}

static void soak(uint32_t features, uint64_t window, unsigned insns_max, bool self_check, bool fp)
{
    unsigned long count = env("VV_RANDOM_COUNT", 400), seed = env("VV_SEED", 1), only = env("VV_ONLY", 0);
    struct itimerval never = {0};
    setitimer(ITIMER_REAL, &never, NULL);
    rig_open(features & x64_host_ops.features(), window);
    rig.insns_max = insns_max;
    rig.self_check = self_check;
    for (unsigned long i = 1; i <= count; i++) {
        static struct sequence s;
        if (only && i != only)
            continue;
        sequence_number = i;
        rng_seed(&rng, seed * 1000003 + i);
        generate(&s, fp);
        run_sequence(&s);
    }
    print_message("  seed %lu: %lu instructions, %lu entries, %lu faults\n", seed, rig.insns, rig.exits, rig.faults);
    rig_close();
}

#define ALL UINT32_MAX
#define MASKED ((uint64_t)1 << 36)
#define SMALL ((uint64_t)1 << 32)

static void random_sequences_do_the_same_in_both_tiers(void **state)
{
    (void)state;
    soak(ALL, MASKED, 64, false, false);
}
static void they_do_in_a_4_gib_window(void **state)
{
    (void)state;
    soak(ALL, SMALL, 64, false, true);
}
static void they_do_with_blocks_of_one_instruction(void **state)
{
    (void)state;
    soak(ALL, MASKED, 1, false, true);
}
static void they_do_without_bmi2(void **state)
{
    (void)state;
    soak(ALL & ~(uint32_t)(HOST_FEATURE_BMI2 | HOST_FEATURE_BMI1), MASKED, 64, false, false);
}
static void they_do_with_self_checking_blocks(void **state)
{
    (void)state;
    soak(ALL, MASKED, 64, true, false);
}

static void they_do_with_floating_point(void **state)
{
    (void)state;
    soak(ALL, MASKED, 64, false, true);
}
static void they_do_without_avx512(void **state)
{
    (void)state;
    soak(ALL & ~(uint32_t)HOST_FEATURE_AVX512, MASKED, 64, false, true);
}
static void they_do_without_avx(void **state)
{
    (void)state;
    soak(ALL & ~(uint32_t)(HOST_FEATURE_AVX512 | HOST_FEATURE_AVX), MASKED, 64, false, true);
}
static void they_do_without_fma(void **state)
{
    (void)state;
    soak(ALL & ~(uint32_t)HOST_FEATURE_FMA, MASKED, 64, false, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_sequences_do_the_same_in_both_tiers),
        cmocka_unit_test(they_do_in_a_4_gib_window),
        cmocka_unit_test(they_do_with_blocks_of_one_instruction),
        cmocka_unit_test(they_do_without_bmi2),
        cmocka_unit_test(they_do_with_self_checking_blocks),
        cmocka_unit_test(they_do_with_floating_point),
        cmocka_unit_test(they_do_without_avx512),
        cmocka_unit_test(they_do_without_avx),
        cmocka_unit_test(they_do_without_fma),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
