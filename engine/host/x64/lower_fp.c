/*
 * host/x64/lower_fp.c - floating point in SSE, AVX or AVX-512 scalars, with the guest's flags and rounding in MXCSR.
 *
 * Where x86 differs from RISC-V:
 *  - a NaN result keeps its operand's payload: each result is tested, the canonical NaN is put in out of line;
 *  - a binary32 that is not boxed counts as NaN: unknown operands are tested, an unboxed one goes to T0;
 *  - inf * 0 + NaN raises no invalid: tested where the NaN is put in;
 *  - conversions give the "indefinite" integer out of range: the instruction goes to T0, which sets the same flag;
 *  - min and max return their second operand for zeros and NaN, and signal for quiet NaN: compared first.
 * A result of scalar binary32 arithmetic is boxed for free: bits 127:32 come from its first operand.
 */
#include "engine/host/x64/fp.h"

void x64_xmm(struct x64_ctx *x, uint32_t op, unsigned reg, struct x64_loc m)
{
    if (x->vex)
        x64_vex(&x->e, op, reg, 0, m);
    else
        x64_op(&x->e, op, reg, m, 0);
}

/* The op's result is in r: home with it, and what is known of it. */
void x64_fp_finish(struct x64_ctx *x, uint8_t f, unsigned r, bool boxed)
{
    uint64_t bit = (uint64_t)1 << (f - IR_F0);
    if (fp_home(x, f) < 0)
        x64_xmm(x, X64_MOVSD_ST, r, fp_loc(x, f));
    else
        fp_mov(x, (unsigned)fp_home(x, f), r);
    x->boxed = boxed ? x->boxed | bit : x->boxed & ~bit;
    x->debt.nan64 &= ~(uint32_t)bit;
    x->debt.nan32 &= ~(uint32_t)bit;
}

/* d = a op m; bits above the scalar from a. Legacy SSE may use xs1. */
void x64_f3(struct x64_ctx *x, uint32_t op, unsigned d, unsigned a, struct x64_loc m, bool commutes)
{
    if (x->vex) {
        x64_vex(&x->e, op, d, a, m);
        return;
    }
    if (!m.is_mem && m.reg == d && a != d) {
        if (commutes) {
            x64_op(&x->e, op, d, x64_reg(a), 0);
            return;
        }
        fp_mov(x, x->xs1, d);
        m = x64_reg(x->xs1);
    }
    fp_mov(x, d, a);
    x64_op(&x->e, op, d, m, 0);
}

void x64_f3c(struct x64_ctx *x, uint32_t op, unsigned d, unsigned a, enum x64_const k)
{
    x64_f3(x, op, d, a, fp_constant(x, k), false);
}

struct x64_cold *x64_to_t0(struct x64_ctx *x, const struct ir_op *o, uint32_t site)
{
    struct x64_cold *k = x64_cold_add(x, X64_COLD_INTERP, site);
    k->pc = x64_pc(x, o);
    k->count = x->uncounted;
    k->debt = (uint16_t)x64_debt_index(x);
    return k;
}

static bool known_boxed(const struct x64_ctx *x, uint8_t f)
{
    return x->boxed >> (f - IR_F0) & 1;
}

/* Operands of binary32 arithmetic: T0 takes over if one is not boxed. */
void x64_need_boxed(struct x64_ctx *x, const struct ir_op *o, unsigned n, const uint8_t *f)
{
    struct x64_em *e = &x->e;
    int reg = -1;
    for (unsigned i = 0; i < n;
         i++) /* a NaN result of binary64 may look boxed until it is canonical */
        if (x->debt.nan64 & fp_mask_of(f[i]))
            x64_nan_settle(x, fp_mask_of(f[i]));
    for (unsigned i = 0; i < n; i++) {
        if (known_boxed(x, f[i]))
            continue;
        x->boxed |= (uint64_t)1 << (f[i] - IR_F0);
        int h = fp_home(x, f[i]);
        if (h < 0) {
            x64_alu_imm(e, false, X64_I_CMP, x64_state(X64_F(f[i] - IR_F0) + 4), -1);
            x64_to_t0(x, o, x64_jcc32(e, X64_CC_NE));
        } else if (reg < 0) {
            reg = h;
        } else {
            x64_f3(x, X64_ANDPS, x->xs0, (unsigned)reg, x64_reg((unsigned)h), true);
            reg = (int)x->xs0;
        }
    }
    if (reg < 0)
        return;
    x64_take(x, RAX);
    x64_xmm(x, X64_MOVQ_GX | X64_W, (unsigned)reg, x64_reg(RAX));
    x64_shift_imm(e, true, X64_S_SHR, x64_reg(RAX), 32);
    x64_alu_imm(e, false, X64_I_ADD, x64_reg(RAX), 1);
    x64_to_t0(x, o, x64_jcc32(e, X64_CC_NE));
}

/* The result is in r: a NaN becomes the canonical one, at once if the register lives in memory. */
void x64_rounded_result(struct x64_ctx *x, uint8_t f, unsigned r, unsigned size)
{
    if (fp_home(x, f) < 0) {
        x64_xmm(x, size == 8 ? X64_UCOMISD : X64_UCOMISS, r, x64_reg(r));
        struct x64_cold *k = x64_cold_add(x, X64_COLD_NAN, x64_jcc32(&x->e, X64_CC_P));
        k->a = k->c = (uint8_t)r;
        k->b = (uint8_t)size;
        k->back = x64_here(&x->e);
    }
    x64_fp_finish(x, f, r, size == 4);
    if (fp_home(x, f) >= 0)
        *(size == 8 ? &x->debt.nan64 : &x->debt.nan32) |= fp_mask_of(f);
}

void x64_mxcsr(struct x64_ctx *x, bool ld, struct x64_loc m)
{
    x64_op(&x->e, 0xae | X64_MAP_0F, ld ? 2 : 3, m, 0);
}

/* A static rounding mode around one op. rax and rdx are used before it, rdx after it. */
bool x64_round_begin(struct x64_ctx *x, const struct ir_op *o)
{
    struct x64_em *e = &x->e;
    if (o->rm == IR_RM_DYN)
        return false;
    x64_take(x, RAX);
    x64_take(x, RDX);
    x64_mxcsr(x, false, SCRATCH(0));
    x64_rm(e, false, X64_MOV, RAX, SCRATCH(0));
    x64_alu_imm(e, false, X64_I_AND, x64_reg(RAX), ~0x6000);
    uint32_t rc = cpu_mxcsr_rounding(o->rm);
    if (rc)
        x64_alu_imm(e, false, X64_I_OR, x64_reg(RAX), (int32_t)rc);
    x64_rm(e, false, X64_MOV_MR, RAX, SCRATCH(1));
    x64_mxcsr(x, true, SCRATCH(1));
    return true;
}

void x64_round_end(struct x64_ctx *x, bool begun)
{
    struct x64_em *e = &x->e;
    if (!begun)
        return;
    x64_mxcsr(x, false, SCRATCH(1));
    x64_rm(e, false, X64_MOV, RDX, SCRATCH(1));
    x64_alu_imm(e, false, X64_I_AND, x64_reg(RDX), CPU_MXCSR_FLAGS);
    x64_rm(e, false, X64_OR_MR, RDX, SCRATCH(0));
    x64_mxcsr(x, true, SCRATCH(0));
}

static void fbin(struct x64_ctx *x, const struct ir_op *o)
{
    static const uint32_t ops[2][4] = {{X64_ADDSS, X64_SUBSS, X64_MULSS, X64_DIVSS},
                                       {X64_ADDSD, X64_SUBSD, X64_MULSD, X64_DIVSD}};
    bool w = fp_wide(o), commutes = o->kind == IR_FADD || o->kind == IR_FMUL;
    if (!w)
        x64_need_boxed(x, o, 2, (const uint8_t[]){o->a, o->b});
    bool rounded = x64_round_begin(x, o);
    unsigned d = fp_target(x, o->dst), a = fp_source(x, o->a, x->xs0);
    x64_f3(x, ops[w][o->kind], d, a, fp_loc(x, o->b), commutes);
    x64_round_end(x, rounded);
    x64_rounded_result(x, o->dst, d, o->size);
}

static void fsqrt(struct x64_ctx *x, const struct ir_op *o)
{
    bool w = fp_wide(o);
    if (!w)
        x64_need_boxed(x, o, 1, &o->a);
    bool rounded = x64_round_begin(x, o);
    unsigned d = fp_target(x, o->dst), a = fp_source(x, o->a, x->xs0);
    if (!x->vex) { /* the upper bits are the destination's */
        fp_mov(x, d, a);
        a = d;
    }
    x64_f3(x, w ? X64_SQRTSD : X64_SQRTSS, d, a, x64_reg(a), false);
    x64_round_end(x, rounded);
    x64_rounded_result(x, o->dst, d, o->size);
}

/* Rows: order 132, 213, 231; x86 names +ab+c, +ab-c, -ab+c, -ab-c fmadd, fmsub, fnmadd, fnmsub. */
static uint32_t fma_op(const struct ir_op *o, unsigned order)
{
    static const uint32_t ops[2][4][2] = {
        {{X64_FMADD213SS, X64_FMADD231SS},
         {X64_FMSUB213SS, X64_FMSUB231SS},
         {X64_FNMADD213SS, X64_FNMADD231SS},
         {X64_FNMSUB213SS, X64_FNMSUB231SS}},
        {{X64_FMADD213SD, X64_FMADD231SD},
         {X64_FMSUB213SD, X64_FMSUB231SD},
         {X64_FNMADD213SD, X64_FNMADD231SD},
         {X64_FNMSUB213SD, X64_FNMSUB231SD}},
    };
    return ops[fp_wide(o)][o->kind][order];
}

static void fma_(struct x64_ctx *x, const struct ir_op *o)
{
    bool w = fp_wide(o);
    if (!w)
        x64_need_boxed(x, o, 3, (const uint8_t[]){o->a, o->b, o->c});
    bool rounded = x64_round_begin(x, o);
    unsigned d = fp_target(x, o->dst);
    /* The factors must survive for the NaN case: if d overwrites one, a copy is kept in xs0. */
    if (fp_home(x, o->dst) >= 0 && (o->dst == o->a || o->dst == o->b)) {
        fp_mov(x, x->xs0, d);
        uint8_t other = o->dst == o->a ? o->b : o->a;
        x64_vex(&x->e, fma_op(o, 0), d, fp_source(x, other, x->xs1), fp_loc(x, o->c));
    } else {
        if (o->dst != o->c || fp_home(x, o->dst) < 0)
            x64_xmm(x, fp_home(x, o->c) >= 0 ? X64_MOVAPS : X64_MOVSD_LD, d, fp_loc(x, o->c));
        x64_vex(&x->e, fma_op(o, 1), d, fp_source(x, o->a, x->xs1), fp_loc(x, o->b));
    }
    x64_round_end(x, rounded);
    /* One that is owed a test goes along. */
    uint32_t *owed = w ? &x->debt.nan64 : &x->debt.nan32, along = *owed & ~fp_mask_of(o->dst);
    along &= -along;
    *owed &= ~along;
    unsigned second = along ? (unsigned)x->xmm[__builtin_ctz(along)] : d;
    x64_xmm(x, w ? X64_UCOMISD : X64_UCOMISS, d, x64_reg(second));
    struct x64_cold *k = x64_cold_add(x, X64_COLD_FMA_NAN, x64_jcc32(&x->e, X64_CC_P));
    k->count = second;
    k->a = (uint8_t)d;
    k->b = o->size;
    k->c = (uint8_t)(o - x->b->ops);
    k->back = x64_here(&x->e);
    x64_fp_finish(x, o->dst, d, !w);
}

/* In hot code only what is neither equal nor unordered. */
static void fminmax(struct x64_ctx *x, const struct ir_op *o)
{
    static const uint32_t ops[2][2] = {{X64_MINSS, X64_MAXSS}, {X64_MINSD, X64_MAXSD}};
    bool w = fp_wide(o);
    if (!w)
        x64_need_boxed(x, o, 2, (const uint8_t[]){o->a, o->b});
    unsigned a = fp_source(x, o->a, x->xs0), b = fp_source(x, o->b, x->xs1),
             d = fp_target(x, o->dst);
    x64_xmm(x, w ? X64_UCOMISD : X64_UCOMISS, a, x64_reg(b));
    struct x64_cold *k = x64_cold_add(x, X64_COLD_MINMAX, x64_jcc32(&x->e, X64_CC_E));
    k->a = (uint8_t)a;
    k->b = (uint8_t)b;
    k->c = (uint8_t)d;
    k->count = o->kind | o->size;
    x64_f3(x, ops[w][o->kind], d, a, x64_reg(b), true);
    k->back = x64_here(&x->e);
    x64_fp_finish(x, o->dst, d, !w);
}

static void fsgn(struct x64_ctx *x, const struct ir_op *o)
{
    bool w = fp_wide(o);
    enum x64_const sign = w ? X64_K_SIGN64 : X64_K_SIGN32, mag = w ? X64_K_ABS64 : X64_K_ABS32;
    if (!w)
        x64_need_boxed(x, o, o->a == o->b ? 1 : 2, (const uint8_t[]){o->a, o->b});
    x64_nan_settle(x, fp_mask_of(o->a) | fp_mask_of(o->b));
    unsigned d = fp_target(x, o->dst);
    if (o->a == o->b) {
        unsigned a = fp_source(x, o->a, x->xs0);
        if (o->kind == IR_FSGNJ) {
            if (fp_home(x, o->dst) >= 0)
                fp_mov(x, d, a);
            else
                d = a;
        } else if (o->kind == IR_FSGNJN) {
            x64_f3c(x, X64_XORPS, d, a, sign);
        } else {
            x64_f3c(x, X64_ANDPS, d, a, mag);
        }
        x64_fp_finish(x, o->dst, d, !w);
        return;
    }
    unsigned b = fp_source(x, o->b, x->xs1);
    if (o->kind == IR_FSGNJN) { /* ~b & sign */
        x64_f3c(x, X64_ANDPS, x->xs1, b, sign);
        x64_f3c(x, X64_XORPS, x->xs1, x->xs1, sign);
    } else {
        x64_f3c(x, X64_ANDPS, x->xs1, b, sign);
    }
    unsigned a = fp_source(x, o->a, x->xs0);
    if (o->kind == IR_FSGNJX) {
        x64_f3(x, X64_XORPS, d, a, x64_reg(x->xs1), true);
    } else {
        x64_f3c(x, X64_ANDPS, d, a, mag);
        x64_f3(x, X64_ORPS, d, d, x64_reg(x->xs1), true);
    }
    x64_fp_finish(x, o->dst, d, !w);
}

/* frflags t; flt; fsflags t: how compilers compare without a signal. Only NaNs raise anything, so the flags are put
 * back out of line, from where the read left them. */
static bool keeps_flags(const struct x64_ctx *x, const struct ir_op *o)
{
    const struct ir_op *before = o - 1, *after = o + 1;
    return o > x->b->ops && before->op == IR_FCSR && before->kind == IR_CSR_FFLAGS &&
           after->op == IR_FCSR && after->kind == (IR_CSR_FFLAGS | IR_CSR_WRITE) &&
           after->dst == IR_NONE && after->a < IR_F0 && after->a == before->dst &&
           after->a != o->dst;
}

static void quiet(struct x64_ctx *x, const struct ir_op *o)
{
    if (!keeps_flags(x, o))
        return;
    x64_cold_add(x, X64_COLD_MXCSR, x64_jcc32(&x->e, X64_CC_P))->back = x64_here(&x->e);
    x->skip = o + 1;
}

static void fcmp(struct x64_ctx *x, const struct ir_op *o)
{
    struct x64_em *e = &x->e;
    bool w = fp_wide(o);
    if (!w)
        x64_need_boxed(x, o, 2, (const uint8_t[]){o->a, o->b});
    x64_take(x, RAX);
    if (o->kind == IR_FEQ) {
        x64_xmm(x, w ? X64_UCOMISD : X64_UCOMISS, fp_source(x, o->a, x->xs0), fp_loc(x, o->b));
        quiet(x, o);
        x64_take(x, RDX);
        x64_setcc(e, X64_CC_NP, RAX);
        x64_setcc(e, X64_CC_E, RDX);
        x64_rr(e, false, X64_AND, RAX, RDX);
        x->flag_cc = X64_CC_NE;
        /* the bytes above al and dl are not part of it */
        x64_test_imm8(e, RAX, 1);
    } else { /* b above a; unordered is below */
        x64_xmm(x, w ? X64_COMISD : X64_COMISS, fp_source(x, o->b, x->xs0), fp_loc(x, o->a));
        quiet(x, o);
        x->flag_cc = o->kind == IR_FLT ? X64_CC_A : X64_CC_AE;
        x64_setcc(e, x->flag_cc, RAX);
    }
    if (o->dst == IR_NONE)
        return;
    unsigned d = x->gpr[o->dst] >= 0 ? (unsigned)x->gpr[o->dst] : RAX;
    x->last_off = x64_here(e);
    x64_rr(e, false, X64_MOVZXB, d, RAX);
    x64_store_gpr(x, o->dst, d);
    x64_wrote(x, o->dst);
    x->flag_reg = o->dst;
}

static void fld(struct x64_ctx *x, const struct ir_op *o)
{
    struct x64_loc m = x64_address(x, o);
    unsigned d = fp_target(x, o->dst);
    x64_xmm(x, fp_wide(o) ? X64_MOVSD_LD : X64_MOVSS_LD, d, m);
    if (!fp_wide(o))
        x64_f3c(x, X64_ORPS, d, d, X64_K_BOX);
    x64_fp_finish(x, o->dst, d, !fp_wide(o));
    x64_accessed(x, o);
}

static void fst(struct x64_ctx *x, const struct ir_op *o)
{
    x64_nan_settle(x, fp_mask_of(o->b));
    unsigned s = fp_source(x, o->b, x->xs0);
    x64_xmm(x, fp_wide(o) ? X64_MOVSD_ST : X64_MOVSS_ST, s, x64_address(x, o));
    x64_accessed(x, o);
}

/* What this host, or this mode, leaves to T0. */
static bool punts(const struct x64_ctx *x, const struct ir_op *o)
{
    switch (o->op) {
    case IR_FMA:
        if (!x->fma)
            return true;
        break;
    case IR_FBIN:
    case IR_FSQRT:
    case IR_F2I:
    case IR_I2F:
    case IR_F2F:
        break;
    default:
        return false;
    }
    return o->rm == IR_RM_RMM || (o->rm == IR_RM_DYN && x->o->gst_options & X64_GST_FP_SOFT);
}

void x64_lower_fp(struct x64_ctx *x, const struct ir_op *o)
{
    if (punts(x, o)) {
        x64_to_t0(x, o, x64_jmp32(&x->e));
        return;
    }
    switch (o->op) {
    case IR_FLD:
        fld(x, o);
        break;
    case IR_FST:
        fst(x, o);
        break;
    case IR_FBIN:
        fbin(x, o);
        break;
    case IR_FSQRT:
        fsqrt(x, o);
        break;
    case IR_FMA:
        fma_(x, o);
        break;
    case IR_FMINMAX:
        fminmax(x, o);
        break;
    case IR_FSGN:
        fsgn(x, o);
        break;
    case IR_FCMP:
        fcmp(x, o);
        break;
    case IR_FCLASS:
        x64_fclass(x, o);
        break;
    case IR_F2I:
        x64_f2i(x, o);
        break;
    case IR_I2F:
        x64_i2f(x, o);
        break;
    case IR_F2F:
        x64_f2f(x, o);
        break;
    case IR_FMVXF:
        x64_fmvxf(x, o);
        break;
    case IR_FMVFX:
        x64_fmvfx(x, o);
        break;
    case IR_FCSR:
        x64_fcsr(x, o);
        break;
    default:
        UNREACHABLE();
    }
}

/* If r holds a NaN. */
static void put_nan(struct x64_ctx *x, unsigned r, unsigned size)
{
    x64_xmm(x, size == 8 ? X64_UCOMISD : X64_UCOMISS, r, x64_reg(r));
    uint32_t number = x64_jcc8(&x->e, X64_CC_NP);
    x64_xmm(x, X64_MOVSD_LD, r, fp_constant(x, size == 8 ? X64_K_NAN64 : X64_K_NAN32));
    x64_land8(&x->e, number);
}

/* The product of the factors alone tells whether it was inf * 0; only that flag of it is kept. */
static void cold_fma(struct x64_ctx *x, const struct x64_cold *k)
{
    struct x64_em *e = &x->e;
    const struct ir_op *o = &x->b->ops[k->c];
    if (k->count != k->a) { /* the one that went along; perhaps it is the only NaN */
        put_nan(x, k->count, k->b);
        x64_xmm(x, k->b == 8 ? X64_UCOMISD : X64_UCOMISS, k->a, x64_reg(k->a));
        x64_jcc_to(e, X64_CC_NP, k->back);
    }
    bool kept = fp_home(x, o->dst) >= 0;
    /* a copy of a factor is in xs0 if the result lies over it */
    unsigned a = kept && o->a == o->dst ? x->xs0 : fp_source(x, o->a, x->xs1);
    struct x64_loc b = kept && o->b == o->dst ? x64_reg(x->xs0) : fp_loc(x, o->b);
    x64_mxcsr(x, false, SCRATCH(0));
    x64_f3(x, k->b == 8 ? X64_MULSD : X64_MULSS, x->xs1, a, b, true);
    x64_mxcsr(x, false, SCRATCH(1));
    x64_rm(e, true, X64_MOV_MR, RAX, SCRATCH(4));
    x64_rm(e, false, X64_MOV, RAX, SCRATCH(1));
    x64_alu_imm(e, false, X64_I_AND, x64_reg(RAX), 1);
    x64_rm(e, false, X64_OR_MR, RAX, SCRATCH(0));
    x64_rm(e, true, X64_MOV, RAX, SCRATCH(4));
    x64_mxcsr(x, true, SCRATCH(0));
    put_nan(x, k->a, k->b);
}

/* Equal (zeros differ in sign) or unordered. */
static void cold_minmax(struct x64_ctx *x, const struct x64_cold *k)
{
    struct x64_em *e = &x->e;
    bool max = k->count & 1;
    unsigned size = k->count & ~1u;
    uint32_t ucomi = size == 8 ? X64_UCOMISD : X64_UCOMISS;
    uint32_t unordered = x64_jcc8(e, X64_CC_P);
    x64_f3(x, max ? X64_ANDPS : X64_ORPS, k->c, k->a, x64_reg(k->b), true);
    x64_jmp_to(e, k->back);
    x64_land8(e, unordered);
    x64_xmm(x, ucomi, k->a, x64_reg(k->a));
    uint32_t a_nan = x64_jcc8(e, X64_CC_P);
    fp_mov(x, k->c, k->a);
    x64_jmp_to(e, k->back);
    x64_land8(e, a_nan);
    x64_xmm(x, ucomi, k->b, x64_reg(k->b));
    uint32_t both = x64_jcc8(e, X64_CC_P);
    fp_mov(x, k->c, k->b);
    x64_jmp_to(e, k->back);
    x64_land8(e, both);
    x64_xmm(x, X64_MOVSD_LD, k->c, fp_constant(x, size == 8 ? X64_K_NAN64 : X64_K_NAN32));
    x64_jmp_to(e, k->back);
}

void x64_cold_fp(struct x64_ctx *x, const struct x64_cold *k)
{
    switch (k->kind) {
    case X64_COLD_NAN:
        put_nan(x, k->a, k->b);
        if (k->c != k->a)
            put_nan(x, k->c, k->b);
        x64_jmp_to(&x->e, k->back);
        break;
    case X64_COLD_FMA_NAN:
        cold_fma(x, k);
        x64_jmp_to(&x->e, k->back);
        break;
    case X64_COLD_MXCSR:
        x64_mxcsr(x, true, SCRATCH(0));
        x64_jmp_to(&x->e, k->back);
        break;
    case X64_COLD_MINMAX:
        cold_minmax(x, k);
        break;
    case X64_COLD_U64:
        x64_cold_u64(x, k);
        break;
    default:
        UNREACHABLE();
    }
}
