/*
 * host/x64/lower_fp_conv.c - between the register files and the formats; the flags' register.
 */
#include "engine/host/x64/fp.h"

/* Table of MXCSR's sticky bits -> fflags (back: the reverse), address in reg. */
static void flag_table(struct x64_ctx *x, unsigned reg, bool back)
{
    uint32_t at = x->stubs->priv[X64_STUB_CONST] + 16u * X64_K_LIMITS + (back ? 64 : 0);
    x64_rm(&x->e, true, X64_LEA, reg, x64_mem(X64_RIP, 0, (int32_t)at));
}

/* From a general register or memory. */
static void convert(struct x64_ctx *x, uint32_t op, unsigned d, struct x64_loc s)
{
    if (x->vex) { /* xs1 is seldom written: as good as no dependency */
        x64_vex(&x->e, op, d, x->xs1, s);
    } else {
        x64_op(&x->e, X64_XORPS, d, x64_reg(d), 0);
        x64_op(&x->e, op, d, s, 0);
    }
}

/* The value of f as bits in rax. */
static void bits_of(struct x64_ctx *x, uint8_t f, bool w)
{
    if (fp_home(x, f) >= 0)
        x64_xmm(x, X64_MOVQ_GX | (w ? X64_W : 0), (unsigned)fp_home(x, f), x64_reg(RAX));
    else
        x64_rm(&x->e, w, X64_MOV, RAX, fp_loc(x, f));
}

/* Unsigned targets without AVX-512: only what a signed conversion does exactly; the rest is T0's. */
static void unsigned_range(struct x64_ctx *x, const struct ir_op *o)
{
    struct x64_em *e = &x->e;
    bool w = fp_wide(o);
    bits_of(x, o->a, w);
    if (o->kind == IR_U64) /* below 2^63 */
        x64_mov_imm(e, RDX, w ? 0x43e0000000000000 - 1 : 0x5f000000 - 1);
    else /* at most 2^32 - 1, whatever the rounding */
        x64_mov_imm(e, RDX, w ? 0x41efffffffe00000 : 0x4f7fffff);
    x64_rr(e, w, X64_CMP, RAX, RDX);
    x64_to_t0(x, o, x64_jcc32(e, X64_CC_A));
}

void x64_f2i(struct x64_ctx *x, const struct ir_op *o)
{
    static const uint32_t ops[2][2][2] = {
        /* [double][unsigned][truncating] */
        {{X64_CVTSS2SI, X64_CVTTSS2SI}, {X64_CVTSS2USI, X64_CVTTSS2USI}},
        {{X64_CVTSD2SI, X64_CVTTSD2SI}, {X64_CVTSD2USI, X64_CVTTSD2USI}}};
    struct x64_em *e = &x->e;
    bool w = fp_wide(o), u = o->kind & 1, l = o->kind >= IR_I64, trunc = o->rm == IR_RM_RTZ;
    if (!w)
        x64_need_boxed(x, o, 1, &o->a);
    x64_take(x, RAX);
    x64_take(x, RDX);
    bool own = u && !x->avx512;
    if (own)
        unsigned_range(x, o);
    bool rounded = trunc ? false : x64_round_begin(x, o);
    uint32_t op = ops[w][u && !own][trunc];
    if (u && !own)
        x64_evex(e, op | (l ? X64_W : 0), RAX, 0, fp_loc(x, o->a));
    else
        x64_xmm(x, op | (l || own ? X64_W : 0), RAX, fp_loc(x, o->a));
    x64_round_end(x, rounded);
    if (!own) { /* INT_MIN or all ones: perhaps out of range */
        if (u)
            x64_alu_imm(e, l, X64_I_CMP, x64_reg(RAX), -1);
        else
            x64_alu_imm(e, l, X64_I_CMP, x64_reg(RAX), 1); /* only INT_MIN - 1 overflows */
        x64_to_t0(x, o, x64_jcc32(e, u ? X64_CC_E : X64_CC_O));
    }
    if (o->dst == IR_NONE)
        return;
    unsigned d = x->gpr[o->dst] >= 0 ? (unsigned)x->gpr[o->dst] : RAX;
    if (!l)
        x64_rr(e, true, X64_MOVSXD, d, RAX);
    x64_store_gpr(x, o->dst, l ? RAX : d);
    x64_wrote(x, o->dst);
}

void x64_i2f(struct x64_ctx *x, const struct ir_op *o)
{
    struct x64_em *e = &x->e;
    bool w = fp_wide(o), exact = w && o->kind <= IR_U32;
    bool rounded = exact ? false : x64_round_begin(x, o);
    unsigned d = fp_target(x, o->dst);
    uint32_t op = w ? X64_CVTSI2SD : X64_CVTSI2SS;
    struct x64_loc s;
    if (o->a == IR_ZERO || o->kind == IR_U32) {
        x64_take(x, RAX);
        x64_load_gpr(x, false, RAX, o->a);
        s = x64_reg(RAX);
    } else {
        s = x64_gpr_loc(x, o->a);
    }
    struct x64_cold *k = NULL;
    if (o->kind == IR_U64 && x->avx512) {
        x64_evex(e, (w ? X64_CVTUSI2SD : X64_CVTUSI2SS) | X64_W, d, x->xs1, s);
    } else {
        if (o->kind == IR_U64) {
            unsigned r = s.is_mem ? x64_source(x, o->a, RAX) : s.reg;
            s = x64_reg(r);
            x64_take(x, RAX);
            x64_take(x, RDX);
            x64_rr(e, true, X64_TEST_MR, r, r);
            k = x64_cold_add(x, X64_COLD_U64, x64_jcc32(e, X64_CC_S));
            k->a = (uint8_t)r;
            k->b = o->size;
            k->c = (uint8_t)d;
        }
        convert(x, op | (o->kind == IR_I32 ? 0 : X64_W), d, s);
        if (k)
            k->back = x64_here(e);
    }
    x64_round_end(x, rounded);
    if (!w)
        x64_f3c(x, X64_ORPS, d, d, X64_K_BOX);
    x64_fp_finish(x, o->dst, d, !w);
}

void x64_f2f(struct x64_ctx *x, const struct ir_op *o)
{
    bool w = fp_wide(o); /* the source */
    if (!w)
        x64_need_boxed(x, o, 1, &o->a);
    bool rounded = w ? x64_round_begin(x, o) : false;
    unsigned d = fp_target(x, o->dst), a = fp_source(x, o->a, x->xs0);
    x64_f3(x, w ? X64_CVTSD2SS : X64_CVTSS2SD, d, a, x64_reg(a), false);
    x64_round_end(x, rounded);
    if (w)
        x64_f3c(x, X64_ORPS, d, d, X64_K_BOX);
    x64_rounded_result(x, o->dst, d, w ? 4 : 8);
}

/* edx = the class of a number, by its sign (in rax). */
static void pick(struct x64_ctx *x, bool w, unsigned negative, unsigned positive)
{
    struct x64_em *e = &x->e;
    x64_rr(e, w, X64_TEST_MR, RAX, RAX);
    x64_mov_imm(e, RAX, negative);
    x64_mov_imm(e, RDX, positive);
    x64_cmov(e, false, X64_CC_S, RDX, x64_reg(RAX));
}

void x64_fclass(struct x64_ctx *x, const struct ir_op *o)
{
    struct x64_em *e = &x->e;
    bool w = fp_wide(o);
    unsigned fraction = w ? 52 : 23, exponent_max = w ? 0x7ff : 0xff;
    uint32_t done[4];
    if (!w)
        x64_need_boxed(x, o, 1, &o->a);
    x64_take(x, RAX);
    x64_take(x, RDX);
    bits_of(x, o->a, w);
    x64_rr(e, w, X64_MOV, RDX, RAX);
    x64_rr(e, w, X64_ADD, RDX, RDX);
    uint32_t zero = x64_jcc8(e, X64_CC_E);
    x64_shift_imm(e, w, X64_S_SHR, x64_reg(RDX), fraction + 1);
    uint32_t subnormal = x64_jcc8(e, X64_CC_E);
    x64_alu_imm(e, false, X64_I_CMP, x64_reg(RDX), (int32_t)exponent_max);
    uint32_t special = x64_jcc8(e, X64_CC_E);
    pick(x, w, 1 << 1, 1 << 6);
    done[0] = x64_jmp8(e);
    x64_land8(e, zero);
    pick(x, w, 1 << 3, 1 << 4);
    done[1] = x64_jmp8(e);
    x64_land8(e, subnormal);
    pick(x, w, 1 << 2, 1 << 5);
    done[2] = x64_jmp8(e);
    x64_land8(e, special);
    x64_rr(e, w, X64_MOV, RDX, RAX);
    x64_shift_imm(e, w, X64_S_SHL, x64_reg(RDX), w ? 12 : 9);
    uint32_t nan = x64_jcc8(e, X64_CC_NE);
    pick(x, w, 1 << 0, 1 << 7);
    done[3] = x64_jmp8(e);
    x64_land8(e, nan); /* its first bit says quiet */
    x64_rr(e, w, X64_TEST_MR, RDX, RDX);
    x64_mov_imm(e, RAX, 1 << 9);
    x64_mov_imm(e, RDX, 1 << 8);
    x64_cmov(e, false, X64_CC_S, RDX, x64_reg(RAX));
    for (unsigned i = 0; i < ARRAY_LEN(done); i++)
        x64_land8(e, done[i]);
    x64_store_gpr(x, o->dst, RDX);
    x64_wrote(x, o->dst);
}

void x64_fmvxf(struct x64_ctx *x, const struct ir_op *o)
{
    bool w = fp_wide(o);
    x64_nan_settle(x, fp_mask_of(o->a));
    unsigned d = x->gpr[o->dst] >= 0 ? (unsigned)x->gpr[o->dst] : RAX;
    if (d == RAX)
        x64_take(x, RAX);
    if (fp_home(x, o->a) < 0) {
        x64_rm(&x->e, true, w ? X64_MOV : X64_MOVSXD, d, fp_loc(x, o->a));
    } else {
        x64_xmm(x, X64_MOVQ_GX | (w ? X64_W : 0), (unsigned)fp_home(x, o->a), x64_reg(d));
        if (!w)
            x64_rr(&x->e, true, X64_MOVSXD, d, d);
    }
    x64_store_gpr(x, o->dst, d);
    x64_wrote(x, o->dst);
}

void x64_fmvfx(struct x64_ctx *x, const struct ir_op *o)
{
    bool w = fp_wide(o);
    unsigned d = fp_target(x, o->dst);
    if (o->a == IR_ZERO)
        x64_f3(x, X64_XORPS, d, d, x64_reg(d), true);
    else
        x64_xmm(x, X64_MOVQ_XG | (w ? X64_W : 0), d, x64_gpr_loc(x, o->a));
    if (!w)
        x64_f3c(x, X64_ORPS, d, d, X64_K_BOX);
    x64_fp_finish(x, o->dst, d, !w);
}

/* rax = fflags, as MXCSR has them, which is left in SCRATCH(0). */
static void read_fflags(struct x64_ctx *x)
{
    x64_mxcsr(x, false, SCRATCH(0));
    x64_rm(&x->e, false, X64_MOV, RAX, SCRATCH(0));
    x64_alu_imm(&x->e, false, X64_I_AND, x64_reg(RAX), CPU_MXCSR_FLAGS);
    flag_table(x, RDX, false);
    x64_rm(&x->e, false, X64_MOVZXB, RAX, x64_mem_index(0, RDX, RAX, 0, 0));
}

void x64_fcsr(struct x64_ctx *x, const struct ir_op *o)
{
    struct x64_em *e = &x->e;
    unsigned which = o->kind & ~(unsigned)IR_CSR_HOW, how = o->kind & IR_CSR_HOW;
    x64_take(x, RAX);
    x64_take(x, RDX);
    if (which != IR_CSR_FRM)
        read_fflags(x);
    if (which == IR_CSR_FRM)
        x64_rm(e, false, X64_MOV, RAX, x64_state(offsetof(struct vcpu, frm)));
    if (which == IR_CSR_FCSR) {
        x64_rm(e, false, X64_MOV, RDX, x64_state(offsetof(struct vcpu, frm)));
        x64_shift_imm(e, false, X64_S_SHL, x64_reg(RDX), 5);
        x64_rr(e, false, X64_OR, RAX, RDX);
    }
    if (!how) {
        if (o->dst != IR_NONE) {
            x64_store_gpr(x, o->dst, RAX);
            x64_wrote(x, o->dst);
        }
        return;
    }
    ASSERT(which == IR_CSR_FFLAGS); /* other writes are the interpreter's */
    x64_rm(e, false, X64_MOV_MR, RAX, SCRATCH(2));
    if (o->a == IR_IMM)
        x64_mov_imm(e, RDX, (uint32_t)o->imm);
    else
        x64_load_gpr(x, false, RDX, o->a);
    if (how == IR_CSR_WRITE)
        x64_rr(e, false, X64_MOV, RAX, RDX);
    else if (how == IR_CSR_SET)
        x64_rr(e, false, X64_OR, RAX, RDX);
    else {
        x64_group3(e, false, X64_G_NOT, x64_reg(RDX));
        x64_rr(e, false, X64_AND, RAX, RDX);
    }
    x64_alu_imm(e, false, X64_I_AND, x64_reg(RAX), 31);
    flag_table(x, RDX, true);
    x64_rm(e, false, X64_MOVZXB, RAX, x64_mem_index(0, RDX, RAX, 0, 0));
    x64_alu_imm(e, false, X64_I_AND, SCRATCH(0), ~(int32_t)CPU_MXCSR_FLAGS);
    x64_rm(e, false, X64_OR_MR, RAX, SCRATCH(0));
    x64_mxcsr(x, true, SCRATCH(0));
    if (o->dst != IR_NONE) {
        x64_rm(e, false, X64_MOV, RAX, SCRATCH(2));
        x64_store_gpr(x, o->dst, RAX);
        x64_wrote(x, o->dst);
    }
}

/* Half of it, the lost bit kept for the rounding, then twice that. */
void x64_cold_u64(struct x64_ctx *x, const struct x64_cold *k)
{
    struct x64_em *e = &x->e;
    bool w = k->b == 8;
    x64_rr(e, true, X64_MOV, RDX, k->a);
    x64_shift_imm(e, true, X64_S_SHR, x64_reg(RDX), 1);
    x64_rr(e, false, X64_MOV, RAX, k->a);
    x64_alu_imm(e, false, X64_I_AND, x64_reg(RAX), 1);
    x64_rr(e, true, X64_OR, RDX, RAX);
    convert(x, (w ? X64_CVTSI2SD : X64_CVTSI2SS) | X64_W, k->c, x64_reg(RDX));
    x64_f3(x, w ? X64_ADDSD : X64_ADDSS, k->c, k->c, x64_reg(k->c), true);
    x64_jmp_to(e, k->back);
}
