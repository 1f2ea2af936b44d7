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
#include "engine/host/x64/lower.h"

#define SCRATCH(i) x64_state(offsetof(struct vcpu, scratch) + 4u * (i))

static struct x64_loc constant(const struct x64_ctx *x, enum x64_const k)
{
    return x64_mem(X64_RIP, 0, (int32_t)(x->stubs->priv[X64_STUB_CONST] + 16u * k));
}

/* Table of MXCSR's sticky bits -> fflags (back: the reverse), address in reg. */
static void flag_table(struct x64_ctx *x, unsigned reg, bool back)
{
    uint32_t at = x->stubs->priv[X64_STUB_CONST] + 16u * X64_K_LIMITS + (back ? 64 : 0);
    x64_rm(&x->e, true, X64_LEA, reg, x64_mem(X64_RIP, 0, (int32_t)at));
}

static bool wide(const struct ir_op *o)
{
    return o->size == 8;
}

static int home(const struct x64_ctx *x, uint8_t f)
{
    return x->xmm[f - IR_F0];
}

static struct x64_loc loc(const struct x64_ctx *x, uint8_t f)
{
    int h = home(x, f);
    return h >= 0 ? x64_reg((unsigned)h) : x64_state(X64_F(f - IR_F0));
}

void x64_xmm(struct x64_ctx *x, uint32_t op, unsigned reg, struct x64_loc m)
{
    if (x->vex)
        x64_vex(&x->e, op, reg, 0, m);
    else
        x64_op(&x->e, op, reg, m, 0);
}

static void mov(struct x64_ctx *x, unsigned d, unsigned s)
{
    if (d != s)
        x64_xmm(x, X64_MOVAPS, d, x64_reg(s));
}

/* The register that holds f: its home, or scratch after loading it. */
static unsigned source(struct x64_ctx *x, uint8_t f, unsigned scratch)
{
    if (home(x, f) >= 0)
        return (unsigned)home(x, f);
    x64_xmm(x, X64_MOVSD_LD, scratch, loc(x, f));
    return scratch;
}

static unsigned target(const struct x64_ctx *x, uint8_t f)
{
    return home(x, f) >= 0 ? (unsigned)home(x, f) : x->xs0;
}

/* The op's result is in r: home with it, and what is known of it. */
static void finish(struct x64_ctx *x, uint8_t f, unsigned r, bool boxed)
{
    uint64_t bit = (uint64_t)1 << (f - IR_F0);
    if (home(x, f) < 0)
        x64_xmm(x, X64_MOVSD_ST, r, loc(x, f));
    else
        mov(x, (unsigned)home(x, f), r);
    x->boxed = boxed ? x->boxed | bit : x->boxed & ~bit;
    x->debt.nan64 &= ~(uint32_t)bit;
    x->debt.nan32 &= ~(uint32_t)bit;
}

static uint32_t mask_of(uint8_t f)
{
    return (uint32_t)1 << (f - IR_F0);
}

/* d = a op m; bits above the scalar from a. Legacy SSE may use xs1. */
static void f3(struct x64_ctx *x, uint32_t op, unsigned d, unsigned a, struct x64_loc m,
               bool commutes)
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
        mov(x, x->xs1, d);
        m = x64_reg(x->xs1);
    }
    mov(x, d, a);
    x64_op(&x->e, op, d, m, 0);
}

static void f3c(struct x64_ctx *x, uint32_t op, unsigned d, unsigned a, enum x64_const k)
{
    f3(x, op, d, a, constant(x, k), false);
}

static struct x64_cold *to_t0(struct x64_ctx *x, const struct ir_op *o, uint32_t site)
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
static void need_boxed(struct x64_ctx *x, const struct ir_op *o, unsigned n, const uint8_t *f)
{
    struct x64_em *e = &x->e;
    int reg = -1;
    for (unsigned i = 0; i < n;
         i++) /* a NaN result of binary64 may look boxed until it is canonical */
        if (x->debt.nan64 & mask_of(f[i]))
            x64_nan_settle(x, mask_of(f[i]));
    for (unsigned i = 0; i < n; i++) {
        if (known_boxed(x, f[i]))
            continue;
        x->boxed |= (uint64_t)1 << (f[i] - IR_F0);
        int h = home(x, f[i]);
        if (h < 0) {
            x64_alu_imm(e, false, X64_I_CMP, x64_state(X64_F(f[i] - IR_F0) + 4), -1);
            to_t0(x, o, x64_jcc32(e, X64_CC_NE));
        } else if (reg < 0) {
            reg = h;
        } else {
            f3(x, X64_ANDPS, x->xs0, (unsigned)reg, x64_reg((unsigned)h), true);
            reg = (int)x->xs0;
        }
    }
    if (reg < 0)
        return;
    x64_take(x, RAX);
    x64_xmm(x, X64_MOVQ_GX | X64_W, (unsigned)reg, x64_reg(RAX));
    x64_shift_imm(e, true, X64_S_SHR, x64_reg(RAX), 32);
    x64_alu_imm(e, false, X64_I_ADD, x64_reg(RAX), 1);
    to_t0(x, o, x64_jcc32(e, X64_CC_NE));
}

/* The result is in r: a NaN becomes the canonical one, at once if the register lives in memory. */
static void rounded_result(struct x64_ctx *x, uint8_t f, unsigned r, unsigned size)
{
    if (home(x, f) < 0) {
        x64_xmm(x, size == 8 ? X64_UCOMISD : X64_UCOMISS, r, x64_reg(r));
        struct x64_cold *k = x64_cold_add(x, X64_COLD_NAN, x64_jcc32(&x->e, X64_CC_P));
        k->a = k->c = (uint8_t)r;
        k->b = (uint8_t)size;
        k->back = x64_here(&x->e);
    }
    finish(x, f, r, size == 4);
    if (home(x, f) >= 0)
        *(size == 8 ? &x->debt.nan64 : &x->debt.nan32) |= mask_of(f);
}

static void mxcsr(struct x64_ctx *x, bool ld, struct x64_loc m)
{
    x64_op(&x->e, 0xae | X64_MAP_0F, ld ? 2 : 3, m, 0);
}

/* A static rounding mode around one op. rax and rdx are used before it, rdx after it. */
static bool round_begin(struct x64_ctx *x, const struct ir_op *o)
{
    struct x64_em *e = &x->e;
    if (o->rm == IR_RM_DYN)
        return false;
    x64_take(x, RAX);
    x64_take(x, RDX);
    mxcsr(x, false, SCRATCH(0));
    x64_rm(e, false, X64_MOV, RAX, SCRATCH(0));
    x64_alu_imm(e, false, X64_I_AND, x64_reg(RAX), ~0x6000);
    uint32_t rc = cpu_mxcsr_rounding(o->rm);
    if (rc)
        x64_alu_imm(e, false, X64_I_OR, x64_reg(RAX), (int32_t)rc);
    x64_rm(e, false, X64_MOV_MR, RAX, SCRATCH(1));
    mxcsr(x, true, SCRATCH(1));
    return true;
}

static void round_end(struct x64_ctx *x, bool begun)
{
    struct x64_em *e = &x->e;
    if (!begun)
        return;
    mxcsr(x, false, SCRATCH(1));
    x64_rm(e, false, X64_MOV, RDX, SCRATCH(1));
    x64_alu_imm(e, false, X64_I_AND, x64_reg(RDX), CPU_MXCSR_FLAGS);
    x64_rm(e, false, X64_OR_MR, RDX, SCRATCH(0));
    mxcsr(x, true, SCRATCH(0));
}

static void fbin(struct x64_ctx *x, const struct ir_op *o)
{
    static const uint32_t ops[2][4] = {{X64_ADDSS, X64_SUBSS, X64_MULSS, X64_DIVSS},
                                       {X64_ADDSD, X64_SUBSD, X64_MULSD, X64_DIVSD}};
    bool w = wide(o), commutes = o->kind == IR_FADD || o->kind == IR_FMUL;
    if (!w)
        need_boxed(x, o, 2, (const uint8_t[]){o->a, o->b});
    bool rounded = round_begin(x, o);
    unsigned d = target(x, o->dst), a = source(x, o->a, x->xs0);
    f3(x, ops[w][o->kind], d, a, loc(x, o->b), commutes);
    round_end(x, rounded);
    rounded_result(x, o->dst, d, o->size);
}

static void fsqrt(struct x64_ctx *x, const struct ir_op *o)
{
    bool w = wide(o);
    if (!w)
        need_boxed(x, o, 1, &o->a);
    bool rounded = round_begin(x, o);
    unsigned d = target(x, o->dst), a = source(x, o->a, x->xs0);
    if (!x->vex) { /* the upper bits are the destination's */
        mov(x, d, a);
        a = d;
    }
    f3(x, w ? X64_SQRTSD : X64_SQRTSS, d, a, x64_reg(a), false);
    round_end(x, rounded);
    rounded_result(x, o->dst, d, o->size);
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
    return ops[wide(o)][o->kind][order];
}

static void fma_(struct x64_ctx *x, const struct ir_op *o)
{
    bool w = wide(o);
    if (!w)
        need_boxed(x, o, 3, (const uint8_t[]){o->a, o->b, o->c});
    bool rounded = round_begin(x, o);
    unsigned d = target(x, o->dst);
    /* The factors must survive for the NaN case: if d overwrites one, a copy is kept in xs0. */
    if (home(x, o->dst) >= 0 && (o->dst == o->a || o->dst == o->b)) {
        mov(x, x->xs0, d);
        uint8_t other = o->dst == o->a ? o->b : o->a;
        x64_vex(&x->e, fma_op(o, 0), d, source(x, other, x->xs1), loc(x, o->c));
    } else {
        if (o->dst != o->c || home(x, o->dst) < 0)
            x64_xmm(x, home(x, o->c) >= 0 ? X64_MOVAPS : X64_MOVSD_LD, d, loc(x, o->c));
        x64_vex(&x->e, fma_op(o, 1), d, source(x, o->a, x->xs1), loc(x, o->b));
    }
    round_end(x, rounded);
    /* One that is owed a test goes along. */
    uint32_t *owed = w ? &x->debt.nan64 : &x->debt.nan32, along = *owed & ~mask_of(o->dst);
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
    finish(x, o->dst, d, !w);
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

/* In hot code only what is neither equal nor unordered. */
static void fminmax(struct x64_ctx *x, const struct ir_op *o)
{
    static const uint32_t ops[2][2] = {{X64_MINSS, X64_MAXSS}, {X64_MINSD, X64_MAXSD}};
    bool w = wide(o);
    if (!w)
        need_boxed(x, o, 2, (const uint8_t[]){o->a, o->b});
    unsigned a = source(x, o->a, x->xs0), b = source(x, o->b, x->xs1), d = target(x, o->dst);
    x64_xmm(x, w ? X64_UCOMISD : X64_UCOMISS, a, x64_reg(b));
    struct x64_cold *k = x64_cold_add(x, X64_COLD_MINMAX, x64_jcc32(&x->e, X64_CC_E));
    k->a = (uint8_t)a;
    k->b = (uint8_t)b;
    k->c = (uint8_t)d;
    k->count = o->kind | o->size;
    f3(x, ops[w][o->kind], d, a, x64_reg(b), true);
    k->back = x64_here(&x->e);
    finish(x, o->dst, d, !w);
}

static void fsgn(struct x64_ctx *x, const struct ir_op *o)
{
    bool w = wide(o);
    enum x64_const sign = w ? X64_K_SIGN64 : X64_K_SIGN32, mag = w ? X64_K_ABS64 : X64_K_ABS32;
    if (!w)
        need_boxed(x, o, o->a == o->b ? 1 : 2, (const uint8_t[]){o->a, o->b});
    x64_nan_settle(x, mask_of(o->a) | mask_of(o->b));
    unsigned d = target(x, o->dst);
    if (o->a == o->b) {
        unsigned a = source(x, o->a, x->xs0);
        if (o->kind == IR_FSGNJ) {
            if (home(x, o->dst) >= 0)
                mov(x, d, a);
            else
                d = a;
        } else if (o->kind == IR_FSGNJN) {
            f3c(x, X64_XORPS, d, a, sign);
        } else {
            f3c(x, X64_ANDPS, d, a, mag);
        }
        finish(x, o->dst, d, !w);
        return;
    }
    unsigned b = source(x, o->b, x->xs1);
    if (o->kind == IR_FSGNJN) { /* ~b & sign */
        f3c(x, X64_ANDPS, x->xs1, b, sign);
        f3c(x, X64_XORPS, x->xs1, x->xs1, sign);
    } else {
        f3c(x, X64_ANDPS, x->xs1, b, sign);
    }
    unsigned a = source(x, o->a, x->xs0);
    if (o->kind == IR_FSGNJX) {
        f3(x, X64_XORPS, d, a, x64_reg(x->xs1), true);
    } else {
        f3c(x, X64_ANDPS, d, a, mag);
        f3(x, X64_ORPS, d, d, x64_reg(x->xs1), true);
    }
    finish(x, o->dst, d, !w);
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
    bool w = wide(o);
    if (!w)
        need_boxed(x, o, 2, (const uint8_t[]){o->a, o->b});
    x64_take(x, RAX);
    if (o->kind == IR_FEQ) {
        x64_xmm(x, w ? X64_UCOMISD : X64_UCOMISS, source(x, o->a, x->xs0), loc(x, o->b));
        quiet(x, o);
        x64_take(x, RDX);
        x64_setcc(e, X64_CC_NP, RAX);
        x64_setcc(e, X64_CC_E, RDX);
        x64_rr(e, false, X64_AND, RAX, RDX);
        x->flag_cc = X64_CC_NE;
        /* the bytes above al and dl are not part of it */
        x64_test_imm8(e, RAX, 1);
    } else { /* b above a; unordered is below */
        x64_xmm(x, w ? X64_COMISD : X64_COMISS, source(x, o->b, x->xs0), loc(x, o->a));
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

/* The value of f as bits in rax. */
static void bits_of(struct x64_ctx *x, uint8_t f, bool w)
{
    if (home(x, f) >= 0)
        x64_xmm(x, X64_MOVQ_GX | (w ? X64_W : 0), (unsigned)home(x, f), x64_reg(RAX));
    else
        x64_rm(&x->e, w, X64_MOV, RAX, loc(x, f));
}

/* Unsigned targets without AVX-512: only what a signed conversion does exactly; the rest is T0's. */
static void unsigned_range(struct x64_ctx *x, const struct ir_op *o)
{
    struct x64_em *e = &x->e;
    bool w = wide(o);
    bits_of(x, o->a, w);
    if (o->kind == IR_U64) /* below 2^63 */
        x64_mov_imm(e, RDX, w ? 0x43e0000000000000 - 1 : 0x5f000000 - 1);
    else /* at most 2^32 - 1, whatever the rounding */
        x64_mov_imm(e, RDX, w ? 0x41efffffffe00000 : 0x4f7fffff);
    x64_rr(e, w, X64_CMP, RAX, RDX);
    to_t0(x, o, x64_jcc32(e, X64_CC_A));
}

static void f2i(struct x64_ctx *x, const struct ir_op *o)
{
    static const uint32_t ops[2][2][2] = {
        /* [double][unsigned][truncating] */
        {{X64_CVTSS2SI, X64_CVTTSS2SI}, {X64_CVTSS2USI, X64_CVTTSS2USI}},
        {{X64_CVTSD2SI, X64_CVTTSD2SI}, {X64_CVTSD2USI, X64_CVTTSD2USI}}};
    struct x64_em *e = &x->e;
    bool w = wide(o), u = o->kind & 1, l = o->kind >= IR_I64, trunc = o->rm == IR_RM_RTZ;
    if (!w)
        need_boxed(x, o, 1, &o->a);
    x64_take(x, RAX);
    x64_take(x, RDX);
    bool own = u && !x->avx512;
    if (own)
        unsigned_range(x, o);
    bool rounded = trunc ? false : round_begin(x, o);
    uint32_t op = ops[w][u && !own][trunc];
    if (u && !own)
        x64_evex(e, op | (l ? X64_W : 0), RAX, 0, loc(x, o->a));
    else
        x64_xmm(x, op | (l || own ? X64_W : 0), RAX, loc(x, o->a));
    round_end(x, rounded);
    if (!own) { /* INT_MIN or all ones: perhaps out of range */
        if (u)
            x64_alu_imm(e, l, X64_I_CMP, x64_reg(RAX), -1);
        else
            x64_alu_imm(e, l, X64_I_CMP, x64_reg(RAX), 1); /* only INT_MIN - 1 overflows */
        to_t0(x, o, x64_jcc32(e, u ? X64_CC_E : X64_CC_O));
    }
    if (o->dst == IR_NONE)
        return;
    unsigned d = x->gpr[o->dst] >= 0 ? (unsigned)x->gpr[o->dst] : RAX;
    if (!l)
        x64_rr(e, true, X64_MOVSXD, d, RAX);
    x64_store_gpr(x, o->dst, l ? RAX : d);
    x64_wrote(x, o->dst);
}

static void i2f(struct x64_ctx *x, const struct ir_op *o)
{
    struct x64_em *e = &x->e;
    bool w = wide(o), exact = w && o->kind <= IR_U32;
    bool rounded = exact ? false : round_begin(x, o);
    unsigned d = target(x, o->dst);
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
    round_end(x, rounded);
    if (!w)
        f3c(x, X64_ORPS, d, d, X64_K_BOX);
    finish(x, o->dst, d, !w);
}

static void f2f(struct x64_ctx *x, const struct ir_op *o)
{
    bool w = wide(o); /* the source */
    if (!w)
        need_boxed(x, o, 1, &o->a);
    bool rounded = w ? round_begin(x, o) : false;
    unsigned d = target(x, o->dst), a = source(x, o->a, x->xs0);
    f3(x, w ? X64_CVTSD2SS : X64_CVTSS2SD, d, a, x64_reg(a), false);
    round_end(x, rounded);
    if (w)
        f3c(x, X64_ORPS, d, d, X64_K_BOX);
    rounded_result(x, o->dst, d, w ? 4 : 8);
}

static void fmvxf(struct x64_ctx *x, const struct ir_op *o)
{
    bool w = wide(o);
    x64_nan_settle(x, mask_of(o->a));
    unsigned d = x->gpr[o->dst] >= 0 ? (unsigned)x->gpr[o->dst] : RAX;
    if (d == RAX)
        x64_take(x, RAX);
    if (home(x, o->a) < 0) {
        x64_rm(&x->e, true, w ? X64_MOV : X64_MOVSXD, d, loc(x, o->a));
    } else {
        x64_xmm(x, X64_MOVQ_GX | (w ? X64_W : 0), (unsigned)home(x, o->a), x64_reg(d));
        if (!w)
            x64_rr(&x->e, true, X64_MOVSXD, d, d);
    }
    x64_store_gpr(x, o->dst, d);
    x64_wrote(x, o->dst);
}

static void fmvfx(struct x64_ctx *x, const struct ir_op *o)
{
    bool w = wide(o);
    unsigned d = target(x, o->dst);
    if (o->a == IR_ZERO)
        f3(x, X64_XORPS, d, d, x64_reg(d), true);
    else
        x64_xmm(x, X64_MOVQ_XG | (w ? X64_W : 0), d, x64_gpr_loc(x, o->a));
    if (!w)
        f3c(x, X64_ORPS, d, d, X64_K_BOX);
    finish(x, o->dst, d, !w);
}

static void fld(struct x64_ctx *x, const struct ir_op *o)
{
    struct x64_loc m = x64_address(x, o);
    unsigned d = target(x, o->dst);
    x64_xmm(x, wide(o) ? X64_MOVSD_LD : X64_MOVSS_LD, d, m);
    if (!wide(o))
        f3c(x, X64_ORPS, d, d, X64_K_BOX);
    finish(x, o->dst, d, !wide(o));
    x64_accessed(x, o);
}

static void fst(struct x64_ctx *x, const struct ir_op *o)
{
    x64_nan_settle(x, mask_of(o->b));
    unsigned s = source(x, o->b, x->xs0);
    x64_xmm(x, wide(o) ? X64_MOVSD_ST : X64_MOVSS_ST, s, x64_address(x, o));
    x64_accessed(x, o);
}

/* rax = fflags, as MXCSR has them, which is left in SCRATCH(0). */
static void read_fflags(struct x64_ctx *x)
{
    mxcsr(x, false, SCRATCH(0));
    x64_rm(&x->e, false, X64_MOV, RAX, SCRATCH(0));
    x64_alu_imm(&x->e, false, X64_I_AND, x64_reg(RAX), CPU_MXCSR_FLAGS);
    flag_table(x, RDX, false);
    x64_rm(&x->e, false, X64_MOVZXB, RAX, x64_mem_index(0, RDX, RAX, 0, 0));
}

static void fcsr(struct x64_ctx *x, const struct ir_op *o)
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
    mxcsr(x, true, SCRATCH(0));
    if (o->dst != IR_NONE) {
        x64_rm(e, false, X64_MOV, RAX, SCRATCH(2));
        x64_store_gpr(x, o->dst, RAX);
        x64_wrote(x, o->dst);
    }
}

/* What this host, or this mode, leaves to T0. */
static bool punts(const struct x64_ctx *x, const struct ir_op *o)
{
    switch (o->op) {
    case IR_FCLASS:
        return true;
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
        to_t0(x, o, x64_jmp32(&x->e));
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
    case IR_F2I:
        f2i(x, o);
        break;
    case IR_I2F:
        i2f(x, o);
        break;
    case IR_F2F:
        f2f(x, o);
        break;
    case IR_FMVXF:
        fmvxf(x, o);
        break;
    case IR_FMVFX:
        fmvfx(x, o);
        break;
    case IR_FCSR:
        fcsr(x, o);
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
    x64_xmm(x, X64_MOVSD_LD, r, constant(x, size == 8 ? X64_K_NAN64 : X64_K_NAN32));
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
    bool kept = home(x, o->dst) >= 0;
    /* a copy of a factor is in xs0 if the result lies over it */
    unsigned a = kept && o->a == o->dst ? x->xs0 : source(x, o->a, x->xs1);
    struct x64_loc b = kept && o->b == o->dst ? x64_reg(x->xs0) : loc(x, o->b);
    mxcsr(x, false, SCRATCH(0));
    f3(x, k->b == 8 ? X64_MULSD : X64_MULSS, x->xs1, a, b, true);
    mxcsr(x, false, SCRATCH(1));
    x64_rm(e, true, X64_MOV_MR, RAX, SCRATCH(4));
    x64_rm(e, false, X64_MOV, RAX, SCRATCH(1));
    x64_alu_imm(e, false, X64_I_AND, x64_reg(RAX), 1);
    x64_rm(e, false, X64_OR_MR, RAX, SCRATCH(0));
    x64_rm(e, true, X64_MOV, RAX, SCRATCH(4));
    mxcsr(x, true, SCRATCH(0));
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
    f3(x, max ? X64_ANDPS : X64_ORPS, k->c, k->a, x64_reg(k->b), true);
    x64_jmp_to(e, k->back);
    x64_land8(e, unordered);
    x64_xmm(x, ucomi, k->a, x64_reg(k->a));
    uint32_t a_nan = x64_jcc8(e, X64_CC_P);
    mov(x, k->c, k->a);
    x64_jmp_to(e, k->back);
    x64_land8(e, a_nan);
    x64_xmm(x, ucomi, k->b, x64_reg(k->b));
    uint32_t both = x64_jcc8(e, X64_CC_P);
    mov(x, k->c, k->b);
    x64_jmp_to(e, k->back);
    x64_land8(e, both);
    x64_xmm(x, X64_MOVSD_LD, k->c, constant(x, size == 8 ? X64_K_NAN64 : X64_K_NAN32));
    x64_jmp_to(e, k->back);
}

/* Half of it, the lost bit kept for the rounding, then twice that. */
static void cold_u64(struct x64_ctx *x, const struct x64_cold *k)
{
    struct x64_em *e = &x->e;
    bool w = k->b == 8;
    x64_rr(e, true, X64_MOV, RDX, k->a);
    x64_shift_imm(e, true, X64_S_SHR, x64_reg(RDX), 1);
    x64_rr(e, false, X64_MOV, RAX, k->a);
    x64_alu_imm(e, false, X64_I_AND, x64_reg(RAX), 1);
    x64_rr(e, true, X64_OR, RDX, RAX);
    convert(x, (w ? X64_CVTSI2SD : X64_CVTSI2SS) | X64_W, k->c, x64_reg(RDX));
    f3(x, w ? X64_ADDSD : X64_ADDSS, k->c, k->c, x64_reg(k->c), true);
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
        mxcsr(x, true, SCRATCH(0));
        x64_jmp_to(&x->e, k->back);
        break;
    case X64_COLD_MINMAX:
        cold_minmax(x, k);
        break;
    case X64_COLD_U64:
        cold_u64(x, k);
        break;
    default:
        UNREACHABLE();
    }
}
