/*
 * ir/prune.c - drop the ops that nobody sees, and say of others who sees them.
 */
#include "engine/ir/traits.h"

#define BIT(x) [x] = (uint64_t)1 << (x)
#define BITS8(x) \
    BIT(x), BIT(x + 1), BIT(x + 2), BIT(x + 3), BIT(x + 4), BIT(x + 5), BIT(x + 6), BIT(x + 7)
/* The register's, none for an operand that is no register. */
static const uint64_t bit[256] = {BITS8(0),  BITS8(8),  BITS8(16), BITS8(24),
                                  BITS8(32), BITS8(40), BITS8(48), BITS8(56)};

/* Of which of the registers that it uses the op needs the upper half. */
static uint64_t uses_high(const struct ir_op *o, uint64_t use)
{
    unsigned t = ir_traits[o->op];
    if (!(t & LOW_ASK))
        return t & LOW4 && o->size == 4 ? 0 : use;
    switch (o->op) {
    case IR_SEXT:
    case IR_ZEXT:
    case IR_SHLZ:
        return 0;
    case IR_AND:
        if (o->b == IR_IMM && o->imm >= 0)
            return 0;
        /* fall through */
    case IR_OR:
    case IR_XOR:
        return o->size == 4 || o->flags & IR_LOW ? 0 : use;
    case IR_I2F:
        return o->kind <= IR_U32 ? 0 : use;
    case IR_ST:
        return o->size == 8 ? use : bit[o->a] | bit[o->c];
    case IR_SC:
    case IR_AMO:
        return o->size == 8 ? use : bit[o->a];
    default:
        UNREACHABLE();
    }
}

/* An op whose result costs an extension, or passes on what is not extended. */
static bool may_be_low(const struct ir_op *o)
{
    if (o->flags & IR_MAY_EXIT)
        return false;
    if (o->op == IR_SEXT)
        return o->size == 4;
    if (o->op == IR_SHR && o->b == IR_IMM && o->imm)
        return false;
    if (o->op >= IR_ADD && o->op <= IR_ROR)
        return o->size == 4 ? !o->kind : o->flags & IR_HALVES && o->op != IR_ROR;
    return false;
}

struct prune {
    struct ir_block *b;
    uint64_t live;       /* whom somebody uses, or sees at a fault or exit */
    uint64_t used;       /* whom somebody uses, or sees at the end */
    uint64_t riding;     /* live, if the fault of the op right behind is not counted */
    struct ir_op *rider; /* that op, or NULL */
    unsigned to;         /* the ops kept are to .. count - 1 */
    uint64_t high;       /* of whom somebody uses the upper half */
    int16_t
        next[IR_REG_COUNT]; /* ops kept from the end to the next write of the register; -1: none */
};

static int next_write(const struct prune *p, uint8_t x)
{
    return x < IR_REG_COUNT ? p->next[x] : -1;
}

/* What the op computes from stays as it is until its register is written again. */
static bool sources_outlive(const struct prune *p, const struct ir_op *o)
{
    int end = next_write(p, o->dst); /* counted from the end: the later, the smaller */
    return end >= 0 && next_write(p, o->a) <= end && next_write(p, o->b) <= end;
}

static bool drop(struct prune *p, const struct ir_op *o)
{
    uint64_t seen = p->rider ? p->riding : p->live;
    if (!(ir_traits[o->op] & PURE) || seen & bit[o->dst])
        return false;
    struct ir_op *behind = &p->b->ops[p->to];
    if (p->rider)
        p->rider->pc_off = o->pc_off;
    behind->insns = (uint8_t)(behind->insns + o->insns);
    return true;
}

static void keep(struct prune *p, const struct ir_op *from)
{
    struct ir_op *o = &p->b->ops[--p->to];
    if (o != from)
        *o = *from;
    p->rider = NULL;
    unsigned t = ir_traits[o->op];
    if (t & (CALLS | ENDS)) {
        p->live = p->used = p->high = UINT64_MAX;
        if (t & CALLS) { /* the ops behind it have nothing to do with those in front of it */
            memset(p->next, 0xff, sizeof p->next);
            return;
        }
    } else {
        uint64_t dst = bit[o->dst], use = bit[o->a] | bit[o->b] | bit[o->c];
        bool exits = o->flags & IR_MAY_EXIT, faults = ir_faults(o->op);
        if (t & PURE && !(p->used & dst) && !exits && sources_outlive(p, o))
            o->flags |= IR_LOST;
        if (!(p->high & dst) && may_be_low(o))
            o->flags |= IR_LOW;
        p->high = (p->high & ~dst) | uses_high(o, use);
        p->used = (p->used & ~dst) | use;
        uint64_t live = ((exits ? UINT64_MAX : p->live) & ~dst) | use;
        if (faults) {
            p->riding = live;
            p->rider = o;
        }
        p->live = faults || t & LEAVES || exits ? UINT64_MAX : live;
    }
    if (o->dst < IR_REG_COUNT)
        p->next[o->dst] = (int16_t)(p->b->count - p->to);
}

/*
 * Backward. An op is dropped if it is pure and its register is written again before anyone looks. Everybody looks at an
 * exit and at a fault; but a fault of op F that follows a dropped op directly may start again at the dropped op's pc,
 * since nothing between them has been written. An op that only exits and faults would see is marked lost.
 */
void ir_prune(struct ir_block *b)
{
    struct prune p;
    p.b = b;
    p.live = p.used = p.high = UINT64_MAX;
    p.rider = NULL;
    p.to = b->count;
    memset(p.next, 0xff, sizeof p.next);
    for (unsigned from = b->count; from-- > 0;)
        if (!drop(&p, &b->ops[from]))
            keep(&p, &b->ops[from]);
    b->count -= p.to;
    if (p.to)
        memmove(b->ops, b->ops + p.to, b->count * sizeof *b->ops);
}
