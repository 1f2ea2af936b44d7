// links: engine/guest/riscv engine/isa engine/base
/* T0, one instruction at a time, where the manual's corners are and where other translators went wrong. */
#include "engine/guest/riscv/interp.h"

#include "engine/base/os.h"
#include "engine/base/softfp.h"
#include "tests/unit/engine/guest/riscv/flat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct vcpu vcpu;
static struct vcpu *const v = &vcpu;

#define NAN_BOXED (0xffffffff00000000u | SOFTFP_NAN32)
#define ONE_BOXED 0xffffffff3f800000u
#define TWO_BOXED 0xffffffff40000000u

static uint32_t word_of(struct isa_insn d)
{
    uint32_t word;
    assert_true(isa_rv64_encode(&d, &word));
    return word;
}
#define DYN .rm = ISA_RV64_RM_DYN
#define W(FORM, ...) word_of((struct isa_insn){.form = ISA_RV64_##FORM, __VA_ARGS__})

static void place(gva_t at, uint32_t word)
{
    memcpy(flat_bytes + (at - FLAT_BASE), &word, (word & 3) == 3 ? 4 : 2);
}

/* Put the instruction at pc and run it. */
static enum cpu_exit run(uint32_t word)
{
    place(v->pc, word);
    return rv_step(v, 1, false);
}
#define RUN(FORM, ...) assert_int_equal(run(W(FORM, __VA_ARGS__)), CPU_EXIT_NEXT)

static uint64_t memory64(gva_t a)
{
    uint64_t x;
    memcpy(&x, flat_bytes + (a - FLAT_BASE), 8);
    return x;
}

static void assert_trap(enum cpu_exit e, enum cpu_trap_kind kind, enum cpu_access access,
                        uint64_t addr, gva_t pc)
{
    assert_int_equal(e, CPU_EXIT_TRAP);
    assert_int_equal(v->trap.kind, kind);
    assert_int_equal(v->trap.access, access);
    assert_int_equal(v->trap.addr, addr);
    assert_int_equal(v->pc, pc);
}

static int reset(void **state)
{
    (void)state;
    flat_reset(v);
    return 0;
}

static void every_operation_has_a_meaning(void **state)
{
    (void)state;
    for (uint16_t op = 1; op < ISA_RV64_OP_COUNT; op++) {
        unsigned found = !!rv_handlers_int[op] + !!rv_handlers_mem[op] + !!rv_handlers_fp[op] +
                         !!rv_handlers_system[op];
        if (found != 1)
            print_error("%s has %u\n", isa_rv64_attr(op)->name, found);
        assert_int_equal(found, 1);
    }
}

static void x0_stays_zero_whatever_is_written_to_it(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 3);
    for (uint16_t op = 1; op < ISA_RV64_OP_COUNT; op++) {
        if (isa_rv64_attr(op)->rd != ISA_OPERAND_X)
            continue;
        for (unsigned k = 0; k < 50; k++) {
            struct isa_insn d;
            flat_reset(v);
            for (unsigned i = 1; i < 32; i++)
                v->r[i] = FLAT_BASE + 0x2000 + 8 * rng_below(&rng, 16);
            assert_true(isa_rv64_decode(isa_rv64_random(&rng, op), &d));
            d.rd = 0;
            d.form = op;
            if (isa_rv64_attr(op)->mem)
                d.rs1 = 1 + d.rs1 % 31;
            run(word_of(d));
            assert_int_equal(v->r[0], 0);
        }
    }
}

static void divisions_by_zero_and_overflow_give_the_values_of_the_manual(void **state)
{
    (void)state;
    v->r[1] = 77, v->r[2] = 0;
    RUN(DIV, .rd = 3, .rs1 = 1, .rs2 = 2);
    RUN(DIVU, .rd = 4, .rs1 = 1, .rs2 = 2);
    RUN(REM, .rd = 5, .rs1 = 1, .rs2 = 2);
    RUN(REMU, .rd = 6, .rs1 = 1, .rs2 = 2);
    assert_int_equal(v->r[3], UINT64_MAX);
    assert_int_equal(v->r[4], UINT64_MAX);
    assert_int_equal(v->r[5], 77);
    assert_int_equal(v->r[6], 77);
    v->r[1] = 0x180000000, v->r[2] = 0xffffffff00000000; /* as words: INT_MIN and 0 */
    RUN(DIVW, .rd = 3, .rs1 = 1, .rs2 = 2);
    RUN(DIVUW, .rd = 4, .rs1 = 1, .rs2 = 2);
    RUN(REMW, .rd = 5, .rs1 = 1, .rs2 = 2);
    RUN(REMUW, .rd = 6, .rs1 = 1, .rs2 = 2);
    assert_int_equal(v->r[3], UINT64_MAX);
    assert_int_equal(v->r[4], UINT64_MAX);
    assert_int_equal(v->r[5], 0xffffffff80000000);
    assert_int_equal(v->r[6], 0xffffffff80000000);
    v->r[1] = 1ull << 63, v->r[2] = UINT64_MAX;
    RUN(DIV, .rd = 3, .rs1 = 1, .rs2 = 2);
    RUN(REM, .rd = 4, .rs1 = 1, .rs2 = 2);
    assert_int_equal(v->r[3], 1ull << 63);
    assert_int_equal(v->r[4], 0);
    v->r[1] = 0x80000000;
    RUN(DIVW, .rd = 3, .rs1 = 1, .rs2 = 2);
    RUN(REMW, .rd = 4, .rs1 = 1, .rs2 = 2);
    assert_int_equal(v->r[3], 0xffffffff80000000);
    assert_int_equal(v->r[4], 0);
}

static void high_products_have_the_right_signs(void **state)
{
    (void)state;
    v->r[1] = UINT64_MAX, v->r[2] = UINT64_MAX;
    RUN(MULH, .rd = 3, .rs1 = 1, .rs2 = 2);
    RUN(MULHU, .rd = 4, .rs1 = 1, .rs2 = 2);
    RUN(MULHSU, .rd = 5, .rs1 = 1, .rs2 = 2);
    assert_int_equal(v->r[3], 0);
    assert_int_equal(v->r[4], UINT64_MAX - 1);
    assert_int_equal(v->r[5], UINT64_MAX);
    v->r[1] = 2, v->r[2] = 1ull << 63;
    RUN(MULHSU, .rd = 5, .rs1 = 1, .rs2 = 2);
    assert_int_equal(v->r[5], 1);
}

static void word_operations_ignore_the_upper_half_and_sign_extend(void **state)
{
    (void)state;
    v->r[1] = 0xdeadbeef7fffffff, v->r[2] = 33;
    RUN(ADDIW, .rd = 3, .rs1 = 1, .imm = 1);
    RUN(SLLW, .rd = 4, .rs1 = 1, .rs2 = 2);
    assert_int_equal(v->r[3], 0xffffffff80000000);
    assert_int_equal(v->r[4], 0xfffffffffffffffe);
    v->r[1] = 0x80000000;
    RUN(SRLIW, .rd = 3, .rs1 = 1, .imm = 0);
    RUN(SRAIW, .rd = 4, .rs1 = 1, .imm = 31);
    RUN(SRAW, .rd = 5, .rs1 = 1, .rs2 = 2);
    assert_int_equal(v->r[3], 0xffffffff80000000);
    assert_int_equal(v->r[4], UINT64_MAX);
    assert_int_equal(v->r[5], 0xffffffffc0000000);
    v->r[2] = 64 + 3;
    RUN(SLL, .rd = 3, .rs1 = 1, .rs2 = 2);
    assert_int_equal(v->r[3], 0x400000000);
}

static void a_jump_through_its_own_link_register_uses_the_old_value(void **state)
{
    (void)state;
    v->r[1] = FLAT_BASE + 0x101;
    RUN(JALR, .rd = 1, .rs1 = 1, .imm = 0x10);
    assert_int_equal(v->pc, FLAT_BASE + 0x110); /* bit 0 is cleared after the addition */
    assert_int_equal(v->r[1], FLAT_BASE + 4);
    v->pc = FLAT_BASE;
    v->r[1] = FLAT_BASE + 0x200;
    RUN(C_JALR, .rd = 1, .rs1 = 1);
    assert_int_equal(v->pc, FLAT_BASE + 0x200);
    assert_int_equal(
        v->r[1], FLAT_BASE + 2); /* the length of what was executed, not of what it expands to */
}

static void a_load_or_amo_into_its_own_base_uses_the_old_value(void **state)
{
    (void)state;
    gva_t a = FLAT_BASE + 0x1000;
    mem_st64(v, a, 0x1122334455667788);
    v->r[5] = a;
    RUN(LD, .rd = 5, .rs1 = 5);
    assert_int_equal(v->r[5], 0x1122334455667788);
    v->r[5] = a;
    RUN(AMOADD_D, .rd = 5, .rs1 = 5, .rs2 = 5);
    assert_int_equal(v->r[5], 0x1122334455667788);
    assert_int_equal(memory64(a), 0x1122334455667788 + a);
    v->r[5] = a;
    RUN(LR_D, .rd = 5, .rs1 = 5);
    assert_int_equal(v->r[5], 0x1122334455667788 + a);
    v->r[5] = a;
    RUN(SC_D, .rd = 5, .rs1 = 5, .rs2 = 5);
    assert_int_equal(v->r[5], 0);
    assert_int_equal(memory64(a), a);
}

static void amos_of_words_compare_as_words_and_return_them_sign_extended(void **state)
{
    (void)state;
    gva_t a = FLAT_BASE + 0x1000;
    v->r[1] = a;
    mem_st64(v, a, 0xaaaaaaaa80000000);
    v->r[2] = 0xffffffff00000001;
    RUN(AMOMAX_W, .rd = 3, .rs1 = 1, .rs2 = 2);
    assert_int_equal(v->r[3], 0xffffffff80000000);
    assert_int_equal(memory64(a), 0xaaaaaaaa00000001);
    v->r[2] = 0x80000000;
    RUN(AMOMINU_W, .rd = 3, .rs1 = 1, .rs2 = 2);
    assert_int_equal(memory64(a), 0xaaaaaaaa00000001);
    RUN(AMOMIN_W, .rd = 3, .rs1 = 1, .rs2 = 2);
    assert_int_equal(memory64(a), 0xaaaaaaaa80000000);
    RUN(AMOSWAP_W, .rd = 3, .rs1 = 1, .rs2 = 0);
    assert_int_equal(v->r[3], 0xffffffff80000000);
    assert_int_equal(memory64(a), 0xaaaaaaaa00000000);
}

static void a_misaligned_access_across_pages_works(void **state)
{
    (void)state;
    v->r[1] = FLAT_BASE + 0x1ffd;
    v->r[2] = 0x1122334455667788;
    RUN(SD, .rs1 = 1, .rs2 = 2);
    RUN(LD, .rd = 3, .rs1 = 1);
    RUN(LH, .rd = 4, .rs1 = 1, .imm = 2);
    RUN(LWU, .rd = 5, .rs1 = 1, .imm = 4);
    assert_int_equal(v->r[3], 0x1122334455667788);
    assert_int_equal(v->r[4], 0x5566);
    assert_int_equal(v->r[5], 0x11223344);
}

static void a_fault_in_the_second_page_names_its_first_byte_and_changes_nothing(void **state)
{
    (void)state;
    gva_t edge = FLAT_BASE + 0x2000;
    flat_prot[2] = 0;
    v->r[1] = edge - 3;
    v->r[2] = UINT64_MAX;
    assert_trap(run(W(SD, .rs1 = 1, .rs2 = 2)), CPU_TRAP_PAGE, CPU_STORE, edge, FLAT_BASE);
    assert_int_equal(memory64(edge - 8), 0);
    assert_trap(run(W(LD, .rd = 2, .rs1 = 1)), CPU_TRAP_PAGE, CPU_LOAD, edge, FLAT_BASE);
    assert_int_equal(v->r[2], UINT64_MAX);
    assert_trap(run(W(FLD, .rd = 2, .rs1 = 1)), CPU_TRAP_PAGE, CPU_LOAD, edge, FLAT_BASE);
    v->r[1] = edge;
    assert_trap(run(W(AMOADD_W, .rd = 2, .rs1 = 1, .rs2 = 2)), CPU_TRAP_PAGE, CPU_STORE, edge,
                FLAT_BASE);
    flat_prot[2] = FLAT_R;
    assert_trap(run(W(AMOADD_D, .rd = 2, .rs1 = 1, .rs2 = 2)), CPU_TRAP_PAGE, CPU_STORE, edge,
                FLAT_BASE);
    assert_int_equal(v->r[2], UINT64_MAX);
    assert_int_equal(v->icount, 0);
}

static void a_wild_address_faults_as_the_one_the_guest_computed(void **state)
{
    (void)state;
    v->r[1] = 0xfffffffffffff000;
    assert_trap(run(W(LD, .rd = 2, .rs1 = 1, .imm = 8)), CPU_TRAP_PAGE, CPU_LOAD,
                0xfffffffffffff008, FLAT_BASE);
    assert_trap(run(W(SB, .rs1 = 1, .rs2 = 2, .imm = -1)), CPU_TRAP_PAGE, CPU_STORE,
                0xffffffffffffefff, FLAT_BASE);
    v->r[1] =
        (1ull << 36) + FLAT_BASE + 0x1000; /* beyond the window: wraps into it, as documented */
    RUN(SB, .rs1 = 1, .rs2 = 2, .imm = -1);
}

static void a_4_gib_window_takes_the_low_half_of_the_sum(void **state)
{
    (void)state;
    v->mask = UINT32_MAX;
    v->r[1] = 0xffffffff00000004ull + FLAT_BASE;
    v->r[2] = 0x55;
    RUN(SB, .rs1 = 1, .rs2 = 2, .imm = -4 + 0x700);
    assert_int_equal(flat_bytes[0x700], 0x55);
}

static void a_misaligned_atomic_traps(void **state)
{
    (void)state;
    v->r[1] = FLAT_BASE + 0x1002;
    assert_trap(run(W(LR_W, .rd = 2, .rs1 = 1)), CPU_TRAP_ALIGN, CPU_LOAD, v->r[1], FLAT_BASE);
    assert_trap(run(W(SC_W, .rd = 2, .rs1 = 1)), CPU_TRAP_ALIGN, CPU_STORE, v->r[1], FLAT_BASE);
    assert_trap(run(W(AMOSWAP_W, .rd = 2, .rs1 = 1)), CPU_TRAP_ALIGN, CPU_STORE, v->r[1],
                FLAT_BASE);
    v->r[1] = FLAT_BASE + 0x1004;
    assert_trap(run(W(AMOSWAP_D, .rd = 2, .rs1 = 1)), CPU_TRAP_ALIGN, CPU_STORE, v->r[1],
                FLAT_BASE);
    assert_trap(run(W(LR_D, .rd = 2, .rs1 = 1)), CPU_TRAP_ALIGN, CPU_LOAD, v->r[1], FLAT_BASE);
    RUN(AMOSWAP_W, .rd = 2, .rs1 = 1);
}

static void a_store_conditional_without_a_reservation_fails(void **state)
{
    (void)state;
    gva_t a = FLAT_BASE + 0x1000;
    v->r[1] = 0; /* where a reservation kept as 0 would match */
    v->r[2] = 7;
    RUN(SC_D, .rd = 3, .rs1 = 1, .rs2 = 2);
    assert_int_equal(v->r[3], 1);
    v->r[1] = a;
    RUN(SC_W, .rd = 3, .rs1 = 1, .rs2 = 2);
    assert_int_equal(v->r[3], 1);
    RUN(LR_W, .rd = 4, .rs1 = 1);
    v->r[1] = a + 8;
    RUN(SC_W, .rd = 3, .rs1 = 1, .rs2 = 2); /* elsewhere */
    assert_int_equal(v->r[3], 1);
    v->r[1] = a;
    RUN(SC_W, .rd = 3, .rs1 = 1, .rs2 = 2); /* the failed one used it up */
    assert_int_equal(v->r[3], 1);
    assert_int_equal(memory64(a), 0);
}

static void a_store_conditional_stores_once_and_only_over_the_value_loaded(void **state)
{
    (void)state;
    gva_t a = FLAT_BASE + 0x1000;
    v->r[1] = a;
    v->r[2] = 0x123456789;
    mem_st32(v, a, 0x80000001);
    RUN(LR_W, .rd = 4, .rs1 = 1);
    assert_int_equal(v->r[4], 0xffffffff80000001);
    RUN(SC_W, .rd = 3, .rs1 = 1, .rs2 = 2);
    assert_int_equal(v->r[3], 0);
    assert_int_equal(memory64(a), 0x23456789);
    RUN(SC_W, .rd = 3, .rs1 = 1, .rs2 = 0);
    assert_int_equal(v->r[3], 1);
    RUN(LR_D, .rd = 4, .rs1 = 1);
    mem_st8(v, a + 7, 1);
    RUN(SC_D, .rd = 3, .rs1 = 1, .rs2 = 0);
    assert_int_equal(v->r[3], 1);
    assert_int_equal(memory64(a), 0x0100000023456789);
}

/* Every reader of a single: an operand that is not boxed acts as the canonical NaN. */
static void an_unboxed_single_counts_as_the_canonical_nan(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 4);
    unsigned checked = 0;
    for (uint16_t op = 1; op < ISA_RV64_OP_COUNT; op++) {
        const struct isa_attr *a = isa_rv64_attr(op);
        bool single = a->fp_bits == 32 || op == ISA_RV64_FCVT_D_S;
        if (!single || a->mem || a->rs1 != ISA_OPERAND_F || op == ISA_RV64_FMV_X_W)
            continue;
        struct isa_insn d = {.form = op, .rd = 4, .rs1 = 1, .rs2 = 2, .rs3 = 3, .rm = 0};
        d.rs2 = a->rs2 ? 2 : 0, d.rs3 = a->rs3 ? 3 : 0;
        for (unsigned which = 1; which <= 3; which++) {
            uint64_t f[2], x[2];
            uint32_t m[2];
            for (unsigned k = 0; k < 2; k++) {
                flat_reset(v);
                v->f[1] = ONE_BOXED, v->f[2] = TWO_BOXED, v->f[3] = ONE_BOXED;
                v->f[which] = k ? NAN_BOXED : 0xfffffffe3f800000;
                run(word_of(d));
                f[k] = v->f[4], x[k] = v->r[4], m[k] = v->mxcsr;
            }
            assert_int_equal(f[0], f[1]);
            assert_int_equal(x[0], x[1]);
            assert_int_equal(m[0], m[1]);
        }
        checked++;
    }
    assert_int_equal(checked, 9 + 3 + 2 + 3 + 1 + 4 + 1);
}

static void moves_and_stores_of_singles_take_the_bits_as_they_are(void **state)
{
    (void)state;
    v->r[1] = FLAT_BASE + 0x1000;
    v->f[2] = 0x00000000ff812345;
    RUN(FSW, .rs1 = 1, .rs2 = 2);
    assert_int_equal(memory64(v->r[1]), 0xff812345);
    RUN(FMV_X_W, .rd = 3, .rs1 = 2);
    assert_int_equal(v->r[3], 0xffffffffff812345);
    RUN(FLW, .rd = 4, .rs1 = 1);
    assert_int_equal(v->f[4], 0xffffffffff812345); /* a signaling NaN survives */
    v->r[5] = 0x1234567880000000;
    RUN(FMV_W_X, .rd = 5, .rs1 = 5);
    assert_int_equal(v->f[5], 0xffffffff80000000);
    assert_int_equal(v->mxcsr, CPU_MXCSR_INIT);
}

static void results_that_are_nan_are_canonical(void **state)
{
    (void)state;
    v->f[1] = 0xfff8000000001234, v->f[2] = 0x3ff0000000000000;
    RUN(FADD_D, .rd = 3, .rs1 = 1, .rs2 = 2);
    assert_int_equal(v->f[3], SOFTFP_NAN64);
    RUN(FMIN_D, .rd = 3, .rs1 = 1, .rs2 = 1);
    assert_int_equal(v->f[3], SOFTFP_NAN64);
    RUN(FCVT_S_D, .rd = 3, .rs1 = 1);
    assert_int_equal(v->f[3], NAN_BOXED);
    RUN(FSGNJ_D, .rd = 3, .rs1 = 1, .rs2 = 2); /* not arithmetic: the payload stays */
    assert_int_equal(v->f[3], 0x7ff8000000001234);
    assert_int_equal(v->mxcsr & CPU_MXCSR_FLAGS, 0);
}

static void infinity_times_zero_is_invalid_beside_a_quiet_nan(void **state)
{
    (void)state;
    v->f[1] = 0x7ff0000000000000, v->f[2] = 0, v->f[3] = SOFTFP_NAN64;
    RUN(FMADD_D, .rd = 4, .rs1 = 1, .rs2 = 2, .rs3 = 3);
    assert_int_equal(cpu_fflags_from_mxcsr(v->mxcsr), SOFTFP_NV);
}

static void conversions_out_of_range_saturate_and_unsigned_words_are_sign_extended(void **state)
{
    (void)state;
    v->f[1] = 0xc1e0000000000000 /* -2^31 */, v->f[2] = 0x41efffffffe00000 /* 2^32 - 1 */,
    v->f[3] = SOFTFP_NAN64;
    RUN(FCVT_W_D, .rd = 1, .rs1 = 1);
    RUN(FCVT_WU_D, .rd = 2, .rs1 = 2);
    assert_int_equal(v->r[1], 0xffffffff80000000);
    assert_int_equal(v->r[2], UINT64_MAX);
    assert_int_equal(cpu_fflags_from_mxcsr(v->mxcsr), 0);
    RUN(FCVT_W_D, .rd = 3, .rs1 = 2);
    RUN(FCVT_WU_D, .rd = 4, .rs1 = 1);
    RUN(FCVT_LU_D, .rd = 5, .rs1 = 3);
    assert_int_equal(v->r[3], 0x7fffffff);
    assert_int_equal(v->r[4], 0);
    assert_int_equal(v->r[5], UINT64_MAX);
    assert_int_equal(cpu_fflags_from_mxcsr(v->mxcsr), SOFTFP_NV);
}

static void an_invalid_rounding_mode_is_illegal(void **state)
{
    (void)state;
    uint32_t add = W(FADD_S, .rd = 1, .rs1 = 2, .rs2 = 3, DYN),
             widen = W(FCVT_D_W, .rd = 1, .rs1 = 2, DYN);
    for (v->frm = 5; v->frm < 8; v->frm++) {
        assert_trap(run(add), CPU_TRAP_ILLEGAL, CPU_FETCH, add, FLAT_BASE);
        assert_trap(run(widen), CPU_TRAP_ILLEGAL, CPU_FETCH, widen,
                    FLAT_BASE); /* although it never rounds */
        v->pc = FLAT_BASE;
        RUN(FADD_S, .rd = 1, .rs1 = 2, .rs2 = 3);
        v->pc = FLAT_BASE;
        RUN(FSGNJ_S, .rd = 1, .rs1 = 2, .rs2 = 3);
        v->pc = FLAT_BASE;
    }
    for (uint32_t rm = 5; rm < 7; rm++) {
        uint32_t w = (add & ~0x7000u) | rm << 12;
        assert_trap(run(w), CPU_TRAP_ILLEGAL, CPU_FETCH, w, FLAT_BASE);
    }
}

static void a_dynamic_mode_rounds_as_frm_says_and_a_static_one_does_not_care(void **state)
{
    (void)state;
    v->f[1] = 0x3ff0000000000000, v->f[2] = 0x3cb0000000000000; /* 1 + 2^-52 - a quarter of it */
    v->f[3] = 0x3c90000000000000;                               /* 2^-54 */
    v->frm = SOFTFP_RUP;
    RUN(FADD_D, .rd = 4, .rs1 = 1, .rs2 = 3, DYN);
    RUN(FADD_D, .rd = 5, .rs1 = 1, .rs2 = 3, .rm = SOFTFP_RTZ);
    assert_int_equal(v->f[4], 0x3ff0000000000001);
    assert_int_equal(v->f[5], 0x3ff0000000000000);
    v->frm = SOFTFP_RMM;
    v->f[3] = 0x3ca0000000000000; /* 2^-53: a tie */
    RUN(FADD_D, .rd = 4, .rs1 = 1, .rs2 = 3, DYN);
    RUN(FADD_D, .rd = 5, .rs1 = 1, .rs2 = 3, .rm = SOFTFP_RNE);
    assert_int_equal(v->f[4], 0x3ff0000000000001);
    assert_int_equal(v->f[5], 0x3ff0000000000000);
    assert_int_equal(cpu_fflags_from_mxcsr(v->mxcsr), SOFTFP_NX);
}

static void fcsr_is_fflags_and_frm_and_nothing_else(void **state)
{
    (void)state;
    v->r[1] = UINT64_MAX;
    RUN(CSRRW, .rd = 2, .rs1 = 1, .imm = 1);
    assert_int_equal(v->r[2], 0);
    RUN(CSRRS, .rd = 2, .rs1 = 0, .imm = 1);
    assert_int_equal(v->r[2], 0x1f);
    RUN(CSRRCI, .rd = 0, .rs1 = 0x11, .imm = 3);
    RUN(CSRRWI, .rd = 3, .rs1 = 2, .imm = 2);
    RUN(CSRRS, .rd = 4, .rs1 = 0, .imm = 3);
    assert_int_equal(v->r[3], 0);
    assert_int_equal(v->r[4], 2 << 5 | 0xe);
    assert_int_equal(v->mxcsr, 0x1f80 | 0x2000 | 0x1c); /* round down; OF UF DZ */
    v->r[1] = 0xffffff60;                               /* frm 3, no flags */
    RUN(CSRRW, .rd = 1, .rs1 = 1, .imm = 3);            /* rd is rs1 */
    assert_int_equal(v->r[1], 2 << 5 | 0xe);
    assert_int_equal(v->frm, 3);
    assert_int_equal(v->mxcsr, 0x1f80 | 0x4000);
}

static void a_rounding_mode_beyond_the_hosts_leaves_with_the_instruction_done(void **state)
{
    (void)state;
    assert_int_equal(run(W(CSRRWI, .rd = 1, .rs1 = 4, .imm = 2)), CPU_EXIT_MODE);
    assert_int_equal(v->frm, 4);
    assert_int_equal(v->pc, FLAT_BASE + 4);
    RUN(CSRRWI, .rd = 1, .rs1 = 7, .imm = 2);
    assert_int_equal(v->r[1], 4);
    assert_int_equal(run(W(CSRRWI, .rd = 1, .rs1 = 0, .imm = 3)), CPU_EXIT_MODE);
    assert_int_equal(v->pc, FLAT_BASE + 12);
}

static void counters_can_be_read_but_not_written_and_others_do_not_exist(void **state)
{
    (void)state;
    RUN(CSRRS, .rd = 1, .rs1 = 0, .imm = 0xc01);
    RUN(CSRRS, .rd = 2, .rs1 = 0, .imm = 0xc01);
    assert_true(v->r[1] && v->r[2] >= v->r[1]);
    RUN(CSRRC, .rd = 1, .rs1 = 0, .imm = 0xc00);
    RUN(CSRRSI, .rd = 1, .rs1 = 0, .imm = 0xc02);
    assert_int_equal(v->r[1], 3);
    gva_t pc = v->pc;
    v->r[5] = 0;
    uint32_t bad[] = {
        W(CSRRW, .rd = 1, .rs1 = 0, .imm = 0xc00),
        W(CSRRS, .rd = 1, .rs1 = 5, .imm = 0xc00), /* x5 is 0: still a write */
        W(CSRRSI, .rd = 1, .rs1 = 1, .imm = 0xc02),
        W(CSRRWI, .rd = 0, .rs1 = 0, .imm = 0xc01),
        W(CSRRS, .rd = 1, .rs1 = 0, .imm = 0x300),
        W(CSRRS, .rd = 1, .rs1 = 0, .imm = 0xc03),
        W(CSRRS, .rd = 1, .rs1 = 0, .imm = 0),
    };
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        assert_trap(run(bad[i]), CPU_TRAP_ILLEGAL, CPU_FETCH, bad[i], pc);
    assert_int_equal(v->r[1], 3);
}

static void what_needs_the_run_loop_leaves_with_the_right_pc(void **state)
{
    (void)state;
    assert_int_equal(run(W(ECALL)), CPU_EXIT_SYSCALL);
    assert_int_equal(v->pc, FLAT_BASE);
    assert_trap(run(W(EBREAK)), CPU_TRAP_BREAKPOINT, CPU_FETCH, FLAT_BASE, FLAT_BASE);
    assert_trap(run(W(C_EBREAK)), CPU_TRAP_BREAKPOINT, CPU_FETCH, FLAT_BASE, FLAT_BASE);
    assert_int_equal(run(0x0000100f), CPU_EXIT_FENCE_I);
    assert_int_equal(v->pc, FLAT_BASE + 4);
}

static void an_illegal_instruction_reports_its_own_bits(void **state)
{
    (void)state;
    assert_trap(run(0x00000000), CPU_TRAP_ILLEGAL, CPU_FETCH, 0, FLAT_BASE);
    memset(flat_bytes, 0xff, 4);
    assert_trap(rv_step(v, 1, false), CPU_TRAP_ILLEGAL, CPU_FETCH, 0xffffffff, FLAT_BASE);
    memcpy(flat_bytes, "\x02\x40\xff\xff", 4); /* c.lwsp with rd = x0, followed by anything */
    assert_trap(rv_step(v, 1, false), CPU_TRAP_ILLEGAL, CPU_FETCH, 0x4002, FLAT_BASE);
}

static void a_fetch_that_ends_in_a_missing_page_names_that_page(void **state)
{
    (void)state;
    gva_t edge = FLAT_BASE + 0x1000;
    place(edge - 2, W(ADDI, .rd = 1, .rs1 = 0, .imm = 5) & 0xffff);
    memcpy(flat_bytes + 0xffe, "\x93\x00", 2);
    flat_prot[1] = FLAT_R | FLAT_W;
    v->pc = edge - 2;
    assert_trap(rv_step(v, 1, false), CPU_TRAP_PAGE, CPU_FETCH, edge, edge - 2);
    memcpy(flat_bytes + 0xffe, "\x85\x00", 2); /* c.addi ra, 1 fits */
    assert_int_equal(rv_step(v, 1, false), CPU_EXIT_NEXT);
    assert_trap(rv_step(v, 1, false), CPU_TRAP_PAGE, CPU_FETCH, edge, edge);
}

static void hints_change_nothing(void **state)
{
    (void)state;
    v->r[1] = 9;
    struct vcpu before = *v;
    uint32_t hints[] = {0x0100000f /* pause */,    W(SLT, .rd = 0, .rs1 = 1, .rs2 = 1),
                        0x0006 /* c.slli x0, 1 */, 0x8006 /* c.mv x0, ra */,
                        0x6005 /* c.lui x0 */,     0x0081 & 0xf07f /* c.nop */};
    for (unsigned i = 0; i < ARRAY_LEN(hints); i++) {
        v->pc = before.pc;
        assert_int_equal(run(hints[i]), CPU_EXIT_NEXT);
        assert_memory_equal(v->r, before.r, sizeof v->r);
    }
}

static void stepping_counts_stops_at_branches_and_at_requests(void **state)
{
    (void)state;
    place(FLAT_BASE, W(ADDI, .rd = 1, .rs1 = 1, .imm = 1));
    place(FLAT_BASE + 4, W(C_NOP));
    place(FLAT_BASE + 6, W(JAL, .rd = 0, .imm = -6));
    assert_int_equal(rv_step(v, 300, false), CPU_EXIT_NEXT);
    assert_int_equal(v->r[1], 100);
    assert_int_equal(v->pc, FLAT_BASE);
    assert_int_equal(v->icount, 300);
    assert_int_equal(rv_step(v, 300, true), CPU_EXIT_NEXT);
    assert_int_equal(v->icount, 303);
    assert_int_equal(v->pc, FLAT_BASE);
    assert_int_equal(rv_step(v, 0, true), CPU_EXIT_NEXT);
    v->exit_req = 1;
    assert_int_equal(rv_step(v, 1, false), CPU_EXIT_POLL);
    assert_int_equal(v->icount, 303);
}

static void self_modified_code_is_seen_at_once(void **state)
{
    (void)state;
    RUN(ADDI, .rd = 1, .rs1 = 0, .imm = 1);
    v->pc = FLAT_BASE;
    RUN(ADDI, .rd = 1, .rs1 = 0, .imm = 2);
    assert_int_equal(v->r[1], 2);
}

static void one_instruction_runs_without_being_in_memory(void **state)
{
    (void)state;
    v->pc = 0x123456; /* not mapped */
    assert_int_equal(rv_exec(v, W(AUIPC, .rd = 1, .imm = 0x1000)), CPU_EXIT_NEXT);
    assert_int_equal(v->r[1], 0x124456);
    assert_int_equal(v->pc, 0x12345a);
    assert_int_equal(rv_exec(v, W(C_J, .imm = -2)), CPU_EXIT_NEXT);
    assert_int_equal(v->pc, 0x123458);
    v->r[2] = 8;
    assert_trap(rv_exec(v, W(SD, .rs1 = 2, .rs2 = 1)), CPU_TRAP_PAGE, CPU_STORE, 8, 0x123458);
    assert_int_equal(rv_exec(v, W(ECALL)), CPU_EXIT_SYSCALL);
}

/* The translator's printer: same text as the disassembler, and never beyond the bytes there are. */
static void the_printer_stops_at_the_end_of_the_bytes(void **state)
{
    (void)state;
    char text[64];
    const uint8_t bytes[] = {0x41, 0x11, 0x13, 0x05, 0x10, 0x00};
    assert_int_equal(rv_disasm(bytes, 6, 0, text, sizeof text), 2);
    assert_string_equal(text, "c.addi sp,-16");
    assert_int_equal(rv_disasm(bytes + 2, 4, 2, text, sizeof text), 4);
    assert_string_equal(text, "addi a0,zero,1");
    assert_int_equal(rv_disasm(bytes + 2, 3, 2, text, sizeof text), 0);
    assert_int_equal(rv_disasm(bytes, 1, 0, text, sizeof text), 0);
}

#define T(name) cmocka_unit_test_setup(name, reset)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(every_operation_has_a_meaning),
        T(x0_stays_zero_whatever_is_written_to_it),
        T(divisions_by_zero_and_overflow_give_the_values_of_the_manual),
        T(high_products_have_the_right_signs),
        T(word_operations_ignore_the_upper_half_and_sign_extend),
        T(a_jump_through_its_own_link_register_uses_the_old_value),
        T(a_load_or_amo_into_its_own_base_uses_the_old_value),
        T(amos_of_words_compare_as_words_and_return_them_sign_extended),
        T(a_misaligned_access_across_pages_works),
        T(a_fault_in_the_second_page_names_its_first_byte_and_changes_nothing),
        T(a_wild_address_faults_as_the_one_the_guest_computed),
        T(a_4_gib_window_takes_the_low_half_of_the_sum),
        T(a_misaligned_atomic_traps),
        T(a_store_conditional_without_a_reservation_fails),
        T(a_store_conditional_stores_once_and_only_over_the_value_loaded),
        T(an_unboxed_single_counts_as_the_canonical_nan),
        T(moves_and_stores_of_singles_take_the_bits_as_they_are),
        T(results_that_are_nan_are_canonical),
        T(infinity_times_zero_is_invalid_beside_a_quiet_nan),
        T(conversions_out_of_range_saturate_and_unsigned_words_are_sign_extended),
        T(an_invalid_rounding_mode_is_illegal),
        T(a_dynamic_mode_rounds_as_frm_says_and_a_static_one_does_not_care),
        T(fcsr_is_fflags_and_frm_and_nothing_else),
        T(a_rounding_mode_beyond_the_hosts_leaves_with_the_instruction_done),
        T(counters_can_be_read_but_not_written_and_others_do_not_exist),
        T(what_needs_the_run_loop_leaves_with_the_right_pc),
        T(an_illegal_instruction_reports_its_own_bits),
        T(a_fetch_that_ends_in_a_missing_page_names_that_page),
        T(hints_change_nothing),
        T(stepping_counts_stops_at_branches_and_at_requests),
        T(self_modified_code_is_seen_at_once),
        T(one_instruction_runs_without_being_in_memory),
        T(the_printer_stops_at_the_end_of_the_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
