/*
 * host/x64/lower_atomic.c - LR, SC, AMO, fences. TSO gives every ordering but store -> load; locked instructions give that.
 *
 * A third scratch register, where one is needed, is borrowed from a guest register: its value goes to v->borrowed
 * first, and the map says so as long as it is lent.
 */
#include "engine/host/x64/lower.h"

/* rdx = confined address of [a], or out to T0 if it is misaligned. */
static struct x64_loc address(struct x64_ctx *x, const struct ir_op *o)
{
    struct x64_em *e = &x->e;
    ASSERT(x64_is_marked(x, o));
    x64_take(x, RAX);
    x64_take(x, RDX);
    x64_load_gpr(x, !x->window32, RDX, o->a);
    if (!x->window32)
        x64_rm(e, true, X64_AND, RDX, x64_state(offsetof(struct vcpu, mask)));
    x64_test_imm8(e, RDX, o->size - 1u);
    struct x64_cold *k = x64_cold_add(x, X64_COLD_INTERP, x64_jcc32(e, X64_CC_NE));
    k->pc = x64_pc(x, o);
    k->count = x->uncounted;
    k->debt = (uint16_t)x64_debt_index(x);
    return x64_mem(X64_GS, RDX, 0);
}

static void locked(struct x64_ctx *x, bool w, uint32_t op, unsigned reg, struct x64_loc m)
{
    x64_u8(&x->e, 0xf0);
    x64_rm(&x->e, w, op, reg, m);
}

/* A register that is none of rax, rdx and b's. */
static unsigned borrow(struct x64_ctx *x, const struct ir_op *o)
{
    if (!x->bmi2)
        return RCX;
    uint8_t r = o->b == 18 ? 17 : 18;
    unsigned reg = (unsigned)x->gpr[r];
    x64_rm(&x->e, true, X64_MOV_MR, reg, x64_state(offsetof(struct vcpu, borrowed)));
    x64_mark(x, o, (uint8_t)(r + 1));
    return reg;
}

static void give_back(struct x64_ctx *x, const struct ir_op *o, unsigned reg)
{
    if (!x->bmi2)
        return;
    x64_rm(&x->e, true, X64_MOV, reg, x64_state(offsetof(struct vcpu, borrowed)));
    x64_mark(x, o, 0);
}

static void result(struct x64_ctx *x, const struct ir_op *o, bool w)
{
    if (o->dst == IR_NONE)
        return;
    unsigned d = x->gpr[o->dst] >= 0 ? (unsigned)x->gpr[o->dst] : RAX;
    if (!w)
        x64_rr(&x->e, true, X64_MOVSXD, d, RAX);
    x64_store_gpr(x, o->dst, w ? RAX : d);
    x64_wrote(x, o->dst);
}

static void lr(struct x64_ctx *x, const struct ir_op *o)
{
    struct x64_em *e = &x->e;
    struct x64_loc m = address(x, o);
    x64_rm(e, true, o->size == 8 ? X64_MOV : X64_MOVSXD, RAX, m);
    x64_rm(e, true, X64_MOV_MR, RDX, x64_state(offsetof(struct vcpu, res_addr)));
    x64_rm(e, true, X64_MOV_MR, RAX, x64_state(offsetof(struct vcpu, res_val)));
    result(x, o, true);
}

static void sc(struct x64_ctx *x, const struct ir_op *o)
{
    struct x64_em *e = &x->e;
    struct x64_loc m = address(x, o);
    bool lend = o->b == IR_ZERO || x->gpr[o->b] < 0;
    unsigned s = lend ? borrow(x, o) : (unsigned)x->gpr[o->b];
    if (lend)
        x64_load_gpr(x, true, s, o->b);
    x64_rm(e, true, X64_CMP, RDX, x64_state(offsetof(struct vcpu, res_addr)));
    x64_mov_imm(e, RAX, 1);
    uint32_t fail = x64_jcc8(e, X64_CC_NE);
    x64_rm(e, true, X64_MOV, RAX, x64_state(offsetof(struct vcpu, res_val)));
    locked(x, o->size == 8, X64_CMPXCHG_MR, s, m);
    x64_setcc(e, X64_CC_NE, RAX);
    x64_rr(e, false, X64_MOVZXB, RAX, RAX);
    x64_land8(e, fail);
    if (lend)
        give_back(x, o, s);
    x64_mov_imm_mem(e, true, x64_state(offsetof(struct vcpu, res_addr)), -1);
    result(x, o, true);
}

/* reg = what shall be stored, if rax is there now. */
static void amo_value(struct x64_ctx *x, const struct ir_op *o, unsigned reg)
{
    static const uint32_t ops[] = {
        [IR_AMO_XOR] = X64_XOR, [IR_AMO_AND] = X64_AND, [IR_AMO_OR] = X64_OR};
    static const uint8_t keep[] = {[IR_AMO_MIN] = X64_CC_L,
                                   [IR_AMO_MAX] = X64_CC_G,
                                   [IR_AMO_MINU] = X64_CC_B,
                                   [IR_AMO_MAXU] = X64_CC_A};
    struct x64_em *e = &x->e;
    bool w = o->size == 8;
    if (o->kind >= IR_AMO_MIN) {
        if (o->b == IR_ZERO)
            x64_alu_imm(e, w, X64_I_CMP, x64_reg(RAX), 0);
        else
            x64_rm(e, w, X64_CMP, RAX, x64_gpr_loc(x, o->b));
        x64_load_gpr(x, true, reg, o->b);
        x64_cmov(e, true, keep[o->kind], reg, x64_reg(RAX));
    } else if (o->b == IR_ZERO) {
        if (o->kind == IR_AMO_AND)
            x64_mov_imm(e, reg, 0);
        else
            x64_rr(e, true, X64_MOV, reg, RAX);
    } else {
        x64_rr(e, true, X64_MOV, reg, RAX);
        x64_rm(e, w, ops[o->kind], reg, x64_gpr_loc(x, o->b));
    }
}

static void amo(struct x64_ctx *x, const struct ir_op *o)
{
    static const uint32_t plain[] = {[IR_AMO_ADD] = X64_ADD_MR,
                                     [IR_AMO_XOR] = X64_XOR_MR,
                                     [IR_AMO_AND] = X64_AND_MR,
                                     [IR_AMO_OR] = X64_OR_MR};
    struct x64_em *e = &x->e;
    bool w = o->size == 8;
    struct x64_loc m = address(x, o);
    if (o->kind == IR_AMO_SWAP || o->kind == IR_AMO_ADD ||
        (o->dst == IR_NONE && o->kind <= IR_AMO_OR)) {
        x64_load_gpr(x, true, RAX, o->b);
        if (o->kind == IR_AMO_SWAP)
            x64_rm(e, w, X64_XCHG_MR, RAX, m);
        else
            locked(x, w, o->dst == IR_NONE ? plain[o->kind] : X64_XADD_MR, RAX, m);
        result(x, o, w);
        return;
    }
    unsigned t = borrow(x, o);
    x64_rm(e, w, X64_MOV, RAX, m);
    uint32_t again = x64_here(e);
    amo_value(x, o, t);
    locked(x, w, X64_CMPXCHG_MR, t, m);
    x64_jcc_to(e, X64_CC_NE, again);
    give_back(x, o, t);
    result(x, o, w);
}

void x64_lower_atomic(struct x64_ctx *x, const struct ir_op *o)
{
    switch (o->op) {
    case IR_LR:
        lr(x, o);
        break;
    case IR_SC:
        sc(x, o);
        break;
    case IR_AMO:
        amo(x, o);
        break;
    default:
        if (o->kind) {
            x64_u8(&x->e, 0xf0);
            x64_alu_imm(&x->e, false, X64_I_OR, x64_state(offsetof(struct vcpu, scratch)), 0);
        }
        break;
    }
}
