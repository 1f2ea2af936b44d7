/*
 * host/x64/lower_alu.c - integer arithmetic.
 */
#include "engine/host/x64/lower.h"

void x64_load_gpr(struct x64_ctx *x, bool w, unsigned reg, uint8_t r)
{
    if (r == IR_ZERO)
        x64_mov_imm(&x->e, reg, 0);
    else if (x->gpr[r] != (int)reg)
        x64_rm(&x->e, w, X64_MOV, reg, x64_gpr_loc(x, r));
}

void x64_store_gpr(struct x64_ctx *x, uint8_t dst, unsigned reg)
{
    if (x->gpr[dst] < 0)
        x64_rm(&x->e, true, X64_MOV_MR, reg, x64_state(X64_R(dst)));
    else if (x->gpr[dst] != (int)reg)
        x64_rr(&x->e, true, X64_MOV, (unsigned)x->gpr[dst], reg);
}

unsigned x64_source(struct x64_ctx *x, uint8_t r, unsigned scratch)
{
    if (r != IR_ZERO && x->gpr[r] >= 0)
        return (unsigned)x->gpr[r];
    x64_take(x, scratch);
    x64_load_gpr(x, true, scratch, r);
    return scratch;
}

/* Where the result is computed: dst's home, or rax. */
static unsigned target(struct x64_ctx *x, uint8_t dst)
{
    if (x->gpr[dst] >= 0)
        return (unsigned)x->gpr[dst];
    x64_take(x, RAX);
    return RAX;
}

/* A 32-bit result in reg becomes the register's value. */
static bool extends(const struct ir_op *o)
{
    return o->size == 4 && !o->kind && !(o->flags & IR_LOW);
}

static void extend(struct x64_ctx *x, const struct ir_op *o, unsigned reg)
{
    if (extends(o))
        x64_rr(&x->e, true, X64_MOVSXD, reg, reg);
}

struct alu {
    uint32_t rm, mr;
    uint8_t ext;
    bool commutes;
};
static const struct alu alus[] = {
    [IR_ADD - IR_ADD] = {X64_ADD, X64_ADD_MR, X64_I_ADD, true},
    [IR_SUB - IR_ADD] = {X64_SUB, X64_SUB_MR, X64_I_SUB, false},
    [IR_AND - IR_ADD] = {X64_AND, X64_AND_MR, X64_I_AND, true},
    [IR_OR - IR_ADD] = {X64_OR, X64_OR_MR, X64_I_OR, true},
    [IR_XOR - IR_ADD] = {X64_XOR, X64_XOR_MR, X64_I_XOR, true},
};

static void alu_imm(struct x64_ctx *x, const struct ir_op *o, const struct alu *k)
{
    bool w = o->size == 8;
    int32_t imm = (int32_t)o->imm;
    if (w && o->a == o->dst && x->gpr[o->dst] < 0) {
        x64_alu_imm(&x->e, true, k->ext, x64_state(X64_R(o->dst)), imm);
        return;
    }
    unsigned d = target(x, o->dst);
    int a = o->a == IR_ZERO ? -1 : x->gpr[o->a];
    if (o->op == IR_ADD && a >= 0 && a != (int)d) {
        x64_rm(&x->e, w, X64_LEA, d, x64_mem(0, (unsigned)a, imm));
    } else {
        x64_load_gpr(x, w, d, o->a);
        if (o->op == IR_XOR && imm == -1)
            x64_group3(&x->e, w, X64_G_NOT, x64_reg(d));
        else
            x64_alu_imm(&x->e, w, k->ext, x64_reg(d), imm);
    }
    extend(x, o, d);
    x64_store_gpr(x, o->dst, d);
}

/* One operand is 0. */
static void alu_zero(struct x64_ctx *x, const struct ir_op *o)
{
    bool w = o->size == 8;
    uint8_t other = o->a == IR_ZERO ? o->b : o->a;
    unsigned d = target(x, o->dst);
    if (o->op == IR_AND || other == IR_ZERO) {
        x64_mov_imm(&x->e, d, 0);
    } else {
        x64_load_gpr(x, w, d, other);
        if (o->op == IR_SUB && o->a == IR_ZERO)
            x64_group3(&x->e, w, X64_G_NEG, x64_reg(d));
        else if (!w && x->gpr[other] == (int)d && o->kind)
            x64_rr(&x->e, false, X64_MOV, d, d);
        extend(x, o, d);
    }
    x64_store_gpr(x, o->dst, d);
}

static void alu(struct x64_ctx *x, const struct ir_op *o)
{
    const struct alu *k = &alus[o->op - IR_ADD];
    bool w = o->size == 8;
    if (o->b == IR_IMM) {
        alu_imm(x, o, k);
        return;
    }
    if (o->a == IR_ZERO || o->b == IR_ZERO) {
        alu_zero(x, o);
        return;
    }
    uint8_t a = o->a, b = o->b;
    if (k->commutes && b == o->dst) {
        b = a;
        a = o->dst;
    }
    int ha = x->gpr[a], hb = x->gpr[b], hd = x->gpr[o->dst];
    if (w && hd < 0 && a == o->dst && hb >= 0) {
        x64_rm(&x->e, true, k->mr, (unsigned)hb, x64_state(X64_R(a)));
        return;
    }
    unsigned d = target(x, o->dst);
    if (o->op == IR_ADD && ha >= 0 && hb >= 0 && ha != (int)d) {
        x64_rm(&x->e, w, X64_LEA, d, x64_mem_index(0, (unsigned)ha, (unsigned)hb, 0, 0));
    } else if (hb == (int)d && ha != (int)d) { /* d = a - d */
        x64_group3(&x->e, w, X64_G_NEG, x64_reg(d));
        x64_rm(&x->e, w, X64_ADD, d, x64_gpr_loc(x, a));
    } else {
        x64_load_gpr(x, w, d, a);
        x64_rm(&x->e, w, k->rm, d, x64_gpr_loc(x, b));
    }
    extend(x, o, d);
    x64_store_gpr(x, o->dst, d);
}

static const uint8_t shift_ext[] = {
    [IR_SHL - IR_SHL] = X64_S_SHL,
    [IR_SHR - IR_SHL] = X64_S_SHR,
    [IR_SAR - IR_SHL] = X64_S_SAR,
    [IR_ROR - IR_SHL] = X64_S_ROR,
};

static void shift_imm(struct x64_ctx *x, const struct ir_op *o)
{
    bool w = o->size == 8;
    unsigned n = (unsigned)o->imm, ext = shift_ext[o->op - IR_SHL];
    if (w && o->a == o->dst && x->gpr[o->dst] < 0) {
        x64_shift_imm(&x->e, true, ext, x64_state(X64_R(o->dst)), n);
        return;
    }
    unsigned d = target(x, o->dst);
    if (o->op == IR_SAR && !w && !o->kind &&
        o->a != IR_ZERO) { /* the 64-bit shift of the extended number */
        x64_rm(&x->e, true, X64_MOVSXD, d, x64_gpr_loc(x, o->a));
        if (n)
            x64_shift_imm(&x->e, true, ext, x64_reg(d), n);
        x64_store_gpr(x, o->dst, d);
        return;
    }
    if (o->op == IR_ROR && x->bmi2 && o->a != IR_ZERO && x->gpr[o->a] != (int)d) {
        x64_rorx(&x->e, w, d, x64_gpr_loc(x, o->a), n);
    } else {
        x64_load_gpr(x, w, d, o->a);
        if (n)
            x64_shift_imm(&x->e, w, ext, x64_reg(d), n);
        else if (!w && o->kind)
            x64_rr(&x->e, false, X64_MOV, d, d);
    }
    if (!(o->op == IR_SHR && n)) /* a right shift leaves no sign */
        extend(x, o, d);
    x64_store_gpr(x, o->dst, d);
}

static void shift_reg(struct x64_ctx *x, const struct ir_op *o)
{
    static const uint32_t bmi[] = {X64_SHLX, X64_SHRX, X64_SARX};
    bool w = o->size == 8;
    if (o->a == IR_ZERO || o->b == IR_ZERO) {
        unsigned z = target(x, o->dst);
        x64_load_gpr(x, w, z, o->a);
        if (!w && o->a != IR_ZERO && o->kind)
            x64_rr(&x->e, false, X64_MOV, z, z);
        extend(x, o, z);
        x64_store_gpr(x, o->dst, z);
        return;
    }
    unsigned d = target(x, o->dst);
    if (x->bmi2) {
        unsigned n = x64_source(x, o->b, RDX);
        x64_vex(&x->e, bmi[o->op - IR_SHL] | (w ? X64_W : 0), d, n, x64_gpr_loc(x, o->a));
    } else {
        if (o->b == o->dst) { /* the amount would be overwritten */
            x64_take(x, RAX);
            d = RAX;
        }
        x64_rm(&x->e, false, X64_MOV, RCX, x64_gpr_loc(x, o->b));
        x64_load_gpr(x, w, d, o->a);
        x64_shift_cl(&x->e, w, shift_ext[o->op - IR_SHL], x64_reg(d));
        if (!w && o->kind)
            x64_rr(&x->e, false, X64_MOV, d, d); /* an amount of 0 leaves the upper half */
    }
    extend(x, o, d);
    x64_store_gpr(x, o->dst, d);
}

static void extension(struct x64_ctx *x, const struct ir_op *o)
{
    unsigned d = target(x, o->dst);
    if (o->a == IR_ZERO) {
        x64_mov_imm(&x->e, d, 0);
    } else {
        /* Byte registers of rsp, rbp, rsi, rdi need a REX prefix, which X64_BYTE_RM sees to. */
        struct x64_loc a = x64_gpr_loc(x, o->a);
        bool sign = o->op == IR_SEXT && !(o->flags & IR_LOW);
        if (o->size == 1)
            x64_rm(&x->e, sign, sign ? X64_MOVSXB : X64_MOVZXB, d, a);
        else if (o->size == 2)
            x64_rm(&x->e, sign, sign ? X64_MOVSXH : X64_MOVZXH, d, a);
        else if (!(o->flags & IR_LOW && !a.is_mem && a.reg == d))
            x64_rm(&x->e, sign, sign ? X64_MOVSXD : X64_MOV, d, a);
    }
    x64_store_gpr(x, o->dst, d);
}

static void shadd(struct x64_ctx *x, const struct ir_op *o)
{
    unsigned d = target(x, o->dst);
    if (o->a == IR_ZERO) {
        x64_load_gpr(x, true, d, o->b);
    } else {
        unsigned a = x64_source(x, o->a, RDX);
        if (o->b == IR_ZERO) {
            x64_rm(&x->e, true, X64_LEA, d, x64_mem_index(X64_NO_BASE, 0, a, o->kind, 0));
        } else if (x->gpr[o->b] < 0) {
            x64_rm(&x->e, true, X64_LEA, d, x64_mem_index(X64_NO_BASE, 0, a, o->kind, 0));
            x64_rm(&x->e, true, X64_ADD, d, x64_gpr_loc(x, o->b));
        } else {
            x64_rm(&x->e, true, X64_LEA, d,
                   x64_mem_index(0, (unsigned)x->gpr[o->b], a, o->kind, 0));
        }
    }
    x64_store_gpr(x, o->dst, d);
}

static void shlz(struct x64_ctx *x, const struct ir_op *o)
{
    unsigned d = target(x, o->dst);
    if (o->a == IR_ZERO)
        x64_mov_imm(&x->e, d, 0);
    else
        x64_rm(&x->e, false, X64_MOV, d, x64_gpr_loc(x, o->a));
    if (o->a != IR_ZERO)
        x64_shift_imm(&x->e, true, X64_S_SHL, x64_reg(d), (unsigned)o->imm);
    x64_store_gpr(x, o->dst, d);
}

static enum x64_cc cc_of(uint8_t cond)
{
    static const uint8_t cc[] = {X64_CC_E, X64_CC_NE, X64_CC_L, X64_CC_GE, X64_CC_B, X64_CC_AE};
    return cc[cond];
}

/* The condition with its operands exchanged. */
static enum x64_cc cc_swapped(uint8_t cond)
{
    static const uint8_t cc[] = {X64_CC_E, X64_CC_NE, X64_CC_G, X64_CC_LE, X64_CC_A, X64_CC_BE};
    return cc[cond];
}

enum x64_cc x64_compare(struct x64_ctx *x, uint8_t cond, uint8_t a, uint8_t b, int64_t imm)
{
    struct x64_em *e = &x->e;
    x->last_off = x64_here(e);
    if (b == IR_IMM && imm == 0)
        b = IR_ZERO;
    if (a == IR_ZERO) {
        unsigned r = 0;
        if (b == IR_ZERO || b == IR_IMM) { /* a constant: rare */
            x64_take(x, RAX);
            x64_mov_imm(e, RAX, 0);
            x->last_off = x64_here(e);
            x64_alu_imm(e, true, X64_I_CMP, x64_reg(r), b == IR_IMM ? (int32_t)imm : 0);
            return cc_of(cond);
        }
        if (x->gpr[b] >= 0)
            x64_rr(e, true, X64_TEST_MR, (unsigned)x->gpr[b], (unsigned)x->gpr[b]);
        else
            x64_alu_imm(e, true, X64_I_CMP, x64_state(X64_R(b)), 0);
        return cc_swapped(cond);
    }
    int ha = x->gpr[a];
    if (b == IR_ZERO || b == IR_IMM) {
        if (b == IR_ZERO && ha >= 0)
            x64_rr(e, true, X64_TEST_MR, (unsigned)ha, (unsigned)ha);
        else
            x64_alu_imm(e, true, X64_I_CMP, x64_gpr_loc(x, a), b == IR_IMM ? (int32_t)imm : 0);
        return cc_of(cond);
    }
    int hb = x->gpr[b];
    if (ha < 0 && hb >= 0) {
        x64_rm(e, true, X64_CMP_MR, (unsigned)hb, x64_gpr_loc(x, a));
    } else {
        unsigned r = x64_source(x, a, RAX);
        x->last_off = x64_here(e);
        x64_rm(e, true, X64_CMP, r, x64_gpr_loc(x, b));
    }
    return cc_of(cond);
}

static void setcc(struct x64_ctx *x, const struct ir_op *o)
{
    int d = x->gpr[o->dst];
    if (d >= 0 && o->dst != o->a && o->dst != o->b) {
        x64_rr(&x->e, false, X64_XOR, (unsigned)d, (unsigned)d);
        enum x64_cc cc = x64_compare(x, o->kind, o->a, o->b, o->imm);
        x->last_off = x64_here(&x->e);
        x64_setcc(&x->e, cc, (unsigned)d);
        x->flag_cc = cc;
    } else {
        enum x64_cc cc = x64_compare(x, o->kind, o->a, o->b, o->imm);
        x64_take(x, RAX);
        x64_setcc(&x->e, cc, RAX);
        x->flag_cc = cc;
        x->last_off = x64_here(&x->e);
        unsigned t = d >= 0 ? (unsigned)d : RAX;
        x64_rr(&x->e, false, X64_MOVZXB, t, RAX);
        x64_store_gpr(x, o->dst, t);
    }
    x->flag_reg = o->dst;
}

static void mul(struct x64_ctx *x, const struct ir_op *o)
{
    bool w = o->size == 8;
    unsigned d = target(x, o->dst);
    if (o->a == IR_ZERO || o->b == IR_ZERO) {
        x64_mov_imm(&x->e, d, 0);
    } else {
        uint8_t a = o->a, b = o->b;
        if (x->gpr[b] == (int)d) {
            b = a;
            a = o->b;
        }
        x64_load_gpr(x, w, d, a);
        x64_rm(&x->e, w, X64_IMUL, d, x64_gpr_loc(x, b));
        extend(x, o, d);
    }
    x64_store_gpr(x, o->dst, d);
}

static void mulh(struct x64_ctx *x, const struct ir_op *o)
{
    x64_take(x, RAX);
    x64_take(x, RDX);
    if (o->a == IR_ZERO || o->b == IR_ZERO) {
        x64_mov_imm(&x->e, RDX, 0);
    } else {
        x64_load_gpr(x, true, RAX, o->a);
        x64_group3(&x->e, true, o->kind == IR_MULH_SS ? X64_G_IMUL : X64_G_MUL,
                   x64_gpr_loc(x, o->b));
        if (o->kind == IR_MULH_SU) { /* less b, if a is negative */
            x64_load_gpr(x, true, RAX, o->a);
            x64_shift_imm(&x->e, true, X64_S_SAR, x64_reg(RAX), 63);
            x64_rm(&x->e, true, X64_AND, RAX, x64_gpr_loc(x, o->b));
            x64_rr(&x->e, true, X64_SUB, RDX, RAX);
        }
    }
    x64_store_gpr(x, o->dst, RDX);
}

/* rax / b. The rare divisors, where x86 would trap, go out of line. */
static void divide(struct x64_ctx *x, const struct ir_op *o)
{
    struct x64_em *e = &x->e;
    bool w = o->size == 8, u = o->kind & 1;
    x64_take(x, RAX);
    x64_take(x, RDX);
    x64_load_gpr(x, w, RAX, o->a);
    if (o->b == IR_ZERO) {
        if (o->op == IR_DIV)
            x64_mov_imm(e, RAX, UINT64_MAX);
        else
            x64_rr(e, true, X64_MOV, RDX, RAX);
    } else {
        struct x64_loc b = x64_gpr_loc(x, o->b);
        struct x64_cold *k;
        if (u) {
            if (b.is_mem)
                x64_alu_imm(e, w, X64_I_CMP, b, 0);
            else
                x64_rr(e, w, X64_TEST_MR, b.reg, b.reg);
            k = x64_cold_add(x, X64_COLD_DIVU, x64_jcc32(e, X64_CC_E));
            x64_rr(e, false, X64_XOR, RDX, RDX);
        } else {
            if (b.is_mem) {
                x64_rm(e, w, X64_MOV, RDX, b);
                x64_alu_imm(e, w, X64_I_ADD, x64_reg(RDX), 1);
            } else {
                x64_rm(e, w, X64_LEA, RDX, x64_mem(0, b.reg, 1));
            }
            x64_alu_imm(e, w, X64_I_CMP, x64_reg(RDX), 1);
            k = x64_cold_add(x, X64_COLD_DIV, x64_jcc32(e, X64_CC_BE));
            x64_op(e, 0x99 | (w ? X64_W : 0), 0, x64_reg(0), 0); /* cqo, cdq */
            e->p--;                                              /* which have no ModRM */
        }
        x64_group3(e, w, u ? X64_G_DIV : X64_G_IDIV, b);
        k->a = o->op;
        k->b = o->size;
        k->back = x64_here(e);
    }
    unsigned r = o->op == IR_DIV ? RAX : RDX;
    if (w) {
        x64_store_gpr(x, o->dst, r);
    } else {
        unsigned d = x->gpr[o->dst] >= 0 ? (unsigned)x->gpr[o->dst] : r;
        x64_rr(e, true, X64_MOVSXD, d, r);
        x64_store_gpr(x, o->dst, d);
    }
}

static void movi(struct x64_ctx *x, const struct ir_op *o)
{
    if (x->gpr[o->dst] < 0 && o->imm == (int32_t)o->imm) {
        x64_mov_imm_mem(&x->e, true, x64_state(X64_R(o->dst)), (int32_t)o->imm);
        return;
    }
    unsigned d = target(x, o->dst);
    if (o->imm == 0)
        x64_rr(&x->e, false, X64_XOR, d, d);
    else
        x64_mov_imm(&x->e, d, (uint64_t)o->imm);
    x64_store_gpr(x, o->dst, d);
}

static void mov(struct x64_ctx *x, const struct ir_op *o)
{
    if (o->a == o->dst)
        return;
    if (o->a == IR_ZERO) {
        movi(x, &(struct ir_op){.dst = o->dst});
    } else if (x->gpr[o->a] >= 0) {
        x64_store_gpr(x, o->dst, (unsigned)x->gpr[o->a]);
    } else {
        unsigned d = target(x, o->dst);
        x64_load_gpr(x, true, d, o->a);
        x64_store_gpr(x, o->dst, d);
    }
}

void x64_lower_alu(struct x64_ctx *x, const struct ir_op *o)
{
    switch (o->op) {
    case IR_MOVI:
        movi(x, o);
        break;
    case IR_MOV:
        mov(x, o);
        break;
    case IR_SEXT:
    case IR_ZEXT:
        extension(x, o);
        break;
    case IR_SHL:
    case IR_SHR:
    case IR_SAR:
    case IR_ROR:
        if (o->b == IR_IMM)
            shift_imm(x, o);
        else
            shift_reg(x, o);
        break;
    case IR_SHADD:
        shadd(x, o);
        break;
    case IR_SHLZ:
        shlz(x, o);
        break;
    case IR_SETCC:
        setcc(x, o);
        break;
    case IR_MUL:
        mul(x, o);
        break;
    case IR_MULH:
        mulh(x, o);
        break;
    case IR_DIV:
    case IR_REM:
        divide(x, o);
        break;
    default:
        alu(x, o);
        break;
    }
    if (o->op == IR_ADD && o->b == IR_IMM && o->size == 8 && o->a == o->dst) {
        for (unsigned i = 0; i < 2; i++)
            if (x->held[i].reg == o->dst)
                x->held[i].delta += (int32_t)o->imm;
    } else {
        x64_wrote(x, o->dst);
    }
}
