/*
 * host/x64/debt.c - what the block owes the guest's registers: NaNs not yet canonical, writes that only a fault or an
 * exit would show. Paid inline before an exit that is always taken, out of line for those that are seldom taken, by a
 * fix-up after a fault.
 */
#include "engine/host/x64/lower.h"

bool x64_debt_any(const struct x64_debt *d)
{
    return d->nan64 | d->nan32 | d->sext | d->lost_count;
}

unsigned x64_debt_index(struct x64_ctx *x)
{
    if (!x64_debt_any(&x->debt))
        return 0;
    if (!x->debt_count || memcmp(&x->debts[x->debt_count], &x->debt, sizeof x->debt)) {
        ASSERT(x->debt_count + 1 < ARRAY_LEN(x->debts));
        x->debts[++x->debt_count] = x->debt;
    }
    return x->debt_count;
}

void x64_debt_lose(struct x64_ctx *x, const struct ir_op *o)
{
    /* Where it reads what it writes, that is not overwritten yet: paid first, it makes the operand whole. */
    uint32_t kept = o->a == o->dst || o->b == o->dst ? x->debt.sext & (uint32_t)1 << o->dst : 0;
    x64_debt_overwritten(x, o->dst);
    x->debt.sext |= kept;
    x->debt.lost[x->debt.lost_count++] = (uint8_t)(o - x->b->ops);
}

void x64_debt_overwritten(struct x64_ctx *x, uint8_t dst)
{
    struct x64_debt *d = &x->debt;
    d->sext &= ~((uint32_t)1 << dst);
    for (unsigned i = 0; i < d->lost_count; i++)
        if (x->b->ops[d->lost[i]].dst == dst) {
            d->lost[i] = d->lost[--d->lost_count];
            d->lost[d->lost_count] = 0; /* equal debts are equal bytes */
            return;
        }
}

static void check_pair(struct x64_ctx *x, unsigned a, unsigned b, unsigned size)
{
    uint32_t op = size == 8 ? X64_UCOMISD : X64_UCOMISS;
    x64_xmm(x, op, a, x64_reg(b));
    struct x64_cold *k = x64_cold_add(x, X64_COLD_NAN, x64_jcc32(&x->e, X64_CC_P));
    k->a = (uint8_t)a;
    k->c = (uint8_t)b;
    k->b = (uint8_t)size;
    k->back = x64_here(&x->e);
}

static void check(struct x64_ctx *x, uint32_t mask, unsigned size)
{
    while (mask) {
        unsigned a = (unsigned)__builtin_ctz(mask), b = a;
        mask &= mask - 1;
        if (mask) {
            b = (unsigned)__builtin_ctz(mask);
            mask &= mask - 1;
        }
        check_pair(x, (unsigned)x->xmm[a], (unsigned)x->xmm[b], size);
    }
}

void x64_debt_pay(struct x64_ctx *x, const struct x64_debt *d)
{
    check(x, d->nan64, 8);
    check(x, d->nan32, 4);
    for (uint32_t m = d->sext; m; m &= m - 1) {
        uint8_t r = (uint8_t)__builtin_ctz(m);
        unsigned reg = x->gpr[r] >= 0 ? (unsigned)x->gpr[r] : RAX;
        if (reg == RAX)
            x64_take(x, RAX);
        x64_rm(&x->e, true, X64_MOVSXD, reg, x64_gpr_loc(x, r));
        x64_store_gpr(x, r, reg);
    }
    for (unsigned i = 0; i < d->lost_count; i++) {
        struct ir_op whole = x->b->ops[d->lost[i]];
        whole.flags = 0;
        x64_lower_alu(x, &whole);
    }
}

static uint32_t lowest(uint32_t mask)
{
    return mask & -mask;
}

static void settle(struct x64_ctx *x, uint32_t *owed, uint32_t wanted, unsigned size)
{
    uint32_t now = *owed & wanted, rest = *owed & ~now;
    if (!now)
        return;
    if (__builtin_popcount(now) & 1) /* one more costs nothing */
        now |= lowest(rest);
    *owed &= ~now;
    check(x, now, size);
}

void x64_nan_settle(struct x64_ctx *x, uint32_t wanted)
{
    settle(x, &x->debt.nan64, wanted, 8);
    settle(x, &x->debt.nan32, wanted, 4);
}

/* The code that a fault at a place with this debt runs. */
bool x64_debt_fixups(struct x64_ctx *x)
{
    struct x64_em *e = &x->e;
    struct host_code *c = x->c;
    unsigned index = 0;
    uint32_t at = 0;
    for (unsigned i = 0; i < c->map_count; i++) {
        if (!c->map[i].fixup)
            continue;
        if (c->map[i].fixup != index) {
            index = c->map[i].fixup;
            at = x64_here(e);
            if (x->end - e->p < X64_OP_ROOM)
                return false;
            x64_debt_pay(x, &x->debts[index]);
            x64_mov_imm(e, RAX, CPU_EXIT_INTERP);
            x64_jmp_cache(e, x->stubs->priv[X64_STUB_LEAVE]);
        }
        ASSERT(at <= UINT16_MAX);
        c->map[i].fixup = (uint16_t)at;
    }
    return true;
}
