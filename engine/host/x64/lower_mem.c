/*
 * host/x64/lower_mem.c - addresses, loads, stores, and the care for sp.
 *
 * A confined address is (base & mask) + imm. What a scratch register holds of a base that has since moved by delta is used
 * as held + delta + imm: as long as that stays within X64_SLACK_BYTES it either is the confined address or
 * lies outside the window or in the parts of it that are never mapped; then it faults and T0 does it exactly.
 */
#include "engine/host/x64/lower.h"

static const unsigned scratch_of[2] = {RAX, RDX};

static bool near(int64_t d)
{
    return d > -X64_SLACK_BYTES && d < X64_SLACK_BYTES;
}

static unsigned seg_flags(const struct x64_ctx *x)
{
    return X64_GS | (x->window32 ? X64_A32 : 0);
}

/* A scratch register for an address: one that holds nothing, else the older one. */
static unsigned alloc(struct x64_ctx *x)
{
    unsigned i = x->held_next;
    if (x->held[1].reg == IR_NONE)
        i = 1;
    else if (x->held[0].reg == IR_NONE)
        i = 0;
    x->held_next = i ^ 1;
    x->held[i].reg = IR_NONE;
    return i;
}

static void confine(struct x64_ctx *x, unsigned reg)
{
    if (!x->window32)
        x64_rm(&x->e, true, X64_AND, reg, x64_state(offsetof(struct vcpu, mask)));
}

static struct x64_loc indexed(struct x64_ctx *x, const struct ir_op *o)
{
    int a = x->gpr[o->a], c = x->gpr[o->c];
    if (x->window32 && a >= 0 && c >= 0)
        return x64_mem_index(seg_flags(x), (unsigned)a, (unsigned)c, o->scale, (int32_t)o->imm);
    x64_take(x, RAX);
    x64_take(x, RDX);
    unsigned ra = x64_source(x, o->a, RDX), rc = x64_source(x, o->c, RAX);
    x64_rm(&x->e, true, X64_LEA, RDX, x64_mem_index(0, ra, rc, o->scale, 0));
    confine(x, RDX);
    return x64_mem(seg_flags(x), RDX, (int32_t)o->imm);
}

struct x64_loc x64_address(struct x64_ctx *x, const struct ir_op *o)
{
    unsigned flags = seg_flags(x);
    ASSERT(x64_is_marked(x, o));
    if (o->a == IR_ZERO)
        return x64_mem(flags | X64_NO_BASE, 0, (int32_t)o->imm);
    if (o->c != IR_NONE)
        return indexed(x, o);
    int a = x->gpr[o->a];
    if (a >= 0 && (x->window32 || o->a == x->o->sp_reg))
        return x64_mem(flags, (unsigned)a, (int32_t)o->imm);
    for (unsigned i = 0; i < 2; i++)
        if (x->held[i].reg == o->a && near(x->held[i].delta + o->imm)) {
            x->held_next = i ^ 1;
            return x64_mem(flags, scratch_of[i], (int32_t)(x->held[i].delta + o->imm));
        }
    unsigned i = alloc(x);
    x64_load_gpr(x, !x->window32, scratch_of[i], o->a);
    confine(x, scratch_of[i]);
    x->held[i].reg = o->a;
    x->held[i].delta = 0;
    return x64_mem(flags, scratch_of[i], (int32_t)o->imm);
}

void x64_accessed(struct x64_ctx *x, const struct ir_op *o)
{
    if (o->a == x->o->sp_reg && o->c == IR_NONE && !x->window32) {
        x->sp_anchored = true;
        x->sp_slack = (uint32_t)(o->imm < 0 ? -o->imm : o->imm);
    }
}

static void sp_check(struct x64_ctx *x, gva_t pc)
{
    struct x64_em *e = &x->e;
    x64_take(x, RAX);
    x64_load_gpr(x, true, RAX, (uint8_t)x->o->sp_reg);
    x64_shift_imm(e, true, X64_S_SHR, x64_reg(RAX), x->window_bits);
    struct x64_cold *k = x64_cold_add(x, X64_COLD_INTERP, x64_jcc32(e, X64_CC_NE));
    k->pc = pc;
    k->debt = (uint16_t)x64_debt_index(x);
    x->flag_reg = IR_NONE;
    x->sp_anchored = false;
    x->sp_slack = 0;
}

void x64_sp_settle(struct x64_ctx *x, const struct ir_op *o)
{
    if (x->window32 || x->sp_anchored || !x->sp_slack)
        return;
    sp_check(x, x64_pc(x, o));
    x->cold[x->cold_count - 1].count = x->uncounted;
}

void x64_sp_written(struct x64_ctx *x, const struct ir_op *o)
{
    if (x->window32)
        return;
    if (o->op == IR_ADD && o->a == o->dst && o->b == IR_IMM && o->size == 8) {
        uint64_t d = (uint64_t)(o->imm < 0 ? -o->imm : o->imm);
        if (x->sp_slack + d < X64_SLACK_BYTES) {
            x->sp_slack += (uint32_t)d;
            return;
        }
    }
    sp_check(x, x->b->pc + (uint64_t)(int64_t)o->next_off);
    x->cold[x->cold_count - 1].count = x->uncounted + o->insns;
}

static void load(struct x64_ctx *x, const struct ir_op *o)
{
    struct x64_loc m = x64_address(x, o);
    bool sign = o->kind & 1;
    unsigned d;
    if (o->dst != IR_NONE && x->gpr[o->dst] >= 0) {
        d = (unsigned)x->gpr[o->dst];
    } else {
        d = m.reg == RAX && !(m.flags & X64_NO_BASE) && x->held[0].reg != IR_NONE &&
                    x->held[1].reg == IR_NONE
                ? RDX
                : RAX;
        x64_take(x, d);
    }
    if (o->size == 1)
        x64_rm(&x->e, sign, sign ? X64_MOVSXB : X64_MOVZXB, d, m);
    else if (o->size == 2)
        x64_rm(&x->e, sign, sign ? X64_MOVSXH : X64_MOVZXH, d, m);
    else if (o->size == 4)
        x64_rm(&x->e, sign, sign ? X64_MOVSXD : X64_MOV, d, m);
    else
        x64_rm(&x->e, true, X64_MOV, d, m);
    /* movzx and movsx of memory read a byte whatever the register */
    if (o->dst != IR_NONE) {
        x64_store_gpr(x, o->dst, d);
        x64_wrote(x, o->dst);
    }
}

static void store_zero(struct x64_ctx *x, const struct ir_op *o, struct x64_loc m)
{
    struct x64_em *e = &x->e;
    if (o->size == 1) {
        x64_op(e, 0xc6, 0, m, 1);
        x64_u8(e, 0);
    } else if (o->size == 2) {
        x64_op(e, 0xc7 | X64_66, 0, m, 2);
        x64_u8(e, 0);
        x64_u8(e, 0);
    } else {
        x64_mov_imm_mem(e, o->size == 8, m, 0);
    }
}

static void store(struct x64_ctx *x, const struct ir_op *o)
{
    struct x64_loc m = x64_address(x, o);
    if (o->b == IR_ZERO) {
        store_zero(x, o, m);
        return;
    }
    unsigned s;
    if (x->gpr[o->b] >= 0) {
        s = (unsigned)x->gpr[o->b];
    } else {
        s = m.reg == RAX && !(m.flags & X64_NO_BASE) ? RDX : RAX;
        x64_take(x, s);
        x64_load_gpr(x, true, s, o->b);
    }
    uint32_t op = o->size == 1 ? X64_MOVB_MR : o->size == 2 ? X64_MOVH_MR : X64_MOV_MR;
    x64_rm(&x->e, o->size == 8, op, s, m);
}

void x64_lower_mem(struct x64_ctx *x, const struct ir_op *o)
{
    if (o->op == IR_LD)
        load(x, o);
    else
        store(x, o);
    x64_accessed(x, o);
}
