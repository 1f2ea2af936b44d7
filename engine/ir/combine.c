/*
 * ir/combine.c - say the same with less: each op as it is added, against the ops that made its operands.
 */
#include "engine/ir/traits.h"

static bool changed_since(const struct ir_block *b, uint8_t x, int at)
{
    return x < IR_REG_COUNT && b->def[x] >= at;
}

/*
 * The op that made o's operand x, if its own operands still hold what it used. If they do not only because it overwrote
 * one of them itself, and it is the last op, and o overwrites its result, then o may take its place: *merge.
 */
static const struct ir_op *maker(const struct ir_block *b, const struct ir_op *o, uint8_t x,
                                 bool *merge)
{
    *merge = false;
    if (x >= IR_F0 || b->def[x] < 0)
        return NULL;
    int at = b->def[x];
    const struct ir_op *p = &b->ops[at];
    if (!changed_since(b, p->a, at) && !changed_since(b, p->b, at))
        return p;
    if (at + 1 != (int)b->count || o->dst != x || (o->a == x && o->b == x))
        return NULL;
    *merge = true;
    return p;
}

/* o now says what the last op and it said together. */
static void merge_last(struct ir_block *b, struct ir_op *o)
{
    const struct ir_op *p = &b->ops[--b->count];
    b->def[p->dst] = p->prev_def;
    o->pc_off = p->pc_off;
    o->insns = (uint8_t)(o->insns + p->insns);
    o->flags |= p->flags;
}

static bool const_of(const struct ir_block *b, uint8_t x, int64_t *value)
{
    if (x == IR_ZERO) {
        *value = 0;
        return true;
    }
    if (x >= IR_F0 || b->def[x] < 0 || b->ops[b->def[x]].op != IR_MOVI)
        return false;
    *value = b->ops[b->def[x]].imm;
    return true;
}

static void become_movi(struct ir_op *o, int64_t value)
{
    o->op = IR_MOVI;
    o->size = 8;
    o->kind = 0;
    o->a = o->b = IR_NONE;
    o->imm = value;
}

static int64_t fold(const struct ir_op *o, int64_t a)
{
    uint64_t x = (uint64_t)a, k = (uint64_t)o->imm;
    switch (o->op) {
    case IR_ADD:
        x += k;
        break;
    case IR_XOR:
        x ^= k;
        break;
    case IR_OR:
        x |= k;
        break;
    case IR_AND:
        x &= k;
        break;
    case IR_SHL:
        x <<= k;
        break;
    case IR_SHR:
        x = o->size == 4 ? (uint32_t)x >> k : x >> k;
        break;
    case IR_SAR:
        x = (uint64_t)((o->size == 4 ? (int32_t)x : (int64_t)x) >> k);
        break;
    default:
        UNREACHABLE();
    }
    return o->size == 4 ? (int32_t)x : (int64_t)x;
}

/* Ops with an immediate: constants, plain moves. */
static void combine_imm(const struct ir_block *b, struct ir_op *o)
{
    int64_t a;
    if (o->op >= IR_ADD && o->op <= IR_SAR && o->op != IR_SUB && const_of(b, o->a, &a))
        become_movi(o, fold(o, a));
    else if ((o->op == IR_ADD || o->op == IR_OR || o->op == IR_XOR || o->op == IR_SHL ||
              o->op == IR_SHR || o->op == IR_SAR) &&
             o->imm == 0 && o->size == 8) {
        o->op = IR_MOV;
        o->b = IR_NONE;
    } else if (o->op == IR_AND && o->imm == 0xff) {
        o->op = IR_ZEXT;
        o->size = 1;
        o->b = IR_NONE;
    }
}

static void become_ext(struct ir_op *o, uint8_t op, uint8_t size, uint8_t a)
{
    o->op = op;
    o->size = size;
    o->kind = 0;
    o->a = a;
    o->b = IR_NONE;
    o->imm = 0;
}

/* shl k, then shr or sar m, of the same width: extensions and address scaling of 32-bit numbers. */
static void combine_shift(struct ir_block *b, struct ir_op *o)
{
    bool merge;
    const struct ir_op *p = maker(b, o, o->a, &merge);
    if (!p || p->op != IR_SHL || p->b != IR_IMM || p->size != o->size || p->a == IR_ZERO)
        return;
    unsigned width = o->size * 8u, kept = width - (unsigned)p->imm;
    uint8_t ext = o->op == IR_SHR ? IR_ZEXT : IR_SEXT;
    if (p->imm == o->imm && (kept == 8 || kept == 16 || kept == 32) && kept < width)
        become_ext(o, ext, (uint8_t)(kept / 8), p->a);
    else if (o->op == IR_SHR && o->size == 8 && p->imm == 32 && o->imm < 32) {
        o->op = IR_SHLZ;
        o->a = p->a;
        o->b = IR_NONE;
        o->imm = 32 - o->imm;
    } else
        return;
    if (merge)
        merge_last(b, o);
}

static bool halves_well(const struct ir_op *p)
{
    if (p->op == IR_SHL)
        return p->b == IR_IMM && p->imm < 32;
    return p->op >= IR_ADD && p->op <= IR_XOR;
}

static bool is_sext(const struct ir_block *b, uint8_t x)
{
    return x == IR_ZERO || (x < IR_F0 && b->sext >> x & 1);
}

/* Whether the result is a sign-extended 32-bit number. */
static bool makes_sext(const struct ir_block *b, const struct ir_op *o)
{
    unsigned t = ir_traits[o->op];
    if (!(t & SEXT_ASK))
        return t & SEXT || (t & SEXT4 && o->size == 4 && !(t & KIND_ZEXT && o->kind));
    switch (o->op) {
    case IR_MOVI:
        return o->imm == (int32_t)o->imm;
    case IR_MOV:
        return is_sext(b, o->a);
    case IR_ZEXT:
        return o->size < 4;
    case IR_AND:
        if (o->b == IR_IMM && o->imm >= 0)
            return true;
        /* fall through */
    case IR_OR:
    case IR_XOR:
        if (o->size == 8)
            return is_sext(b, o->a) && (o->b == IR_IMM || is_sext(b, o->b));
        return !o->kind;
    case IR_LD:
        return o->size < 4 || (o->size == 4 && o->kind);
    case IR_F2I:
        return o->kind <= IR_U32;
    default:
        UNREACHABLE();
    }
}

/* sext.w of a sum: the sum in 32 bits. */
static void combine_sext(struct ir_block *b, struct ir_op *o)
{
    bool merge;
    if (is_sext(b, o->a)) {
        o->op = IR_MOV;
        o->b = IR_NONE;
        o->size = 8;
        return;
    }
    const struct ir_op *p = maker(b, o, o->a, &merge);
    if (!p || p->size != 8 || !halves_well(p)) {
        become_ext(o, IR_SEXT, 4, o->a);
        return;
    }
    o->op = p->op;
    o->size = 4;
    o->kind = 0;
    o->a = p->a;
    o->b = p->b;
    o->imm = p->imm;
    if (merge)
        merge_last(b, o);
}

/* zext of a 32-bit result: the 32-bit op itself need not sign-extend. */
static void combine_zext(struct ir_block *b, struct ir_op *o)
{
    bool merge;
    const struct ir_op *p = maker(b, o, o->a, &merge);
    if (!p || p->size != 4 || p->op < IR_ADD || p->op > IR_ROR || p->kind || o->size != 4)
        return;
    o->op = p->op;
    o->kind = 1;
    o->a = p->a;
    o->b = p->b;
    o->imm = p->imm;
    if (merge)
        merge_last(b, o);
}

static bool half_of_rotate(const struct ir_op *p, uint8_t op)
{
    return p->op == op && p->b == IR_IMM && p->a < IR_F0 && p->kind == 0;
}

/* x >> k | x << (width - k) */
static void combine_or(struct ir_block *b, struct ir_op *o)
{
    if (o->size != 8 || o->a >= IR_F0 || o->b >= IR_F0 || b->def[o->a] < 0 || b->def[o->b] < 0)
        return;
    int i = b->def[o->a], j = b->def[o->b];
    if (!half_of_rotate(&b->ops[i], IR_SHR)) {
        int k = i;
        i = j;
        j = k;
    }
    const struct ir_op *r = &b->ops[i], *l = &b->ops[j];
    if (!half_of_rotate(r, IR_SHR) || !half_of_rotate(l, IR_SHL) || r->a != l->a ||
        r->size != l->size || r->imm <= 0 || r->imm + l->imm != r->size * 8)
        return;
    int first = MIN(i, j), second = MAX(i, j);
    uint8_t x = r->a;
    bool merge = false;
    if (changed_since(b, x, first)) {
        /* only by the second half itself, which this op replaces */
        if (b->def[x] != second || second + 1 != (int)b->count || o->dst != x)
            return;
        merge = true;
    }
    o->op = IR_ROR;
    o->size = r->size;
    o->kind = 0;
    o->a = x;
    o->b = IR_IMM;
    o->imm = r->imm;
    if (merge)
        merge_last(b, o);
}

static bool scaled(const struct ir_op *p)
{
    return p && p->op == IR_SHL && p->size == 8 && p->b == IR_IMM && p->imm >= 1 && p->imm <= 3 &&
           p->a < IR_F0;
}

static void combine_add(struct ir_block *b, struct ir_op *o)
{
    if (o->size != 8 || o->a == IR_ZERO || o->b == IR_ZERO || o->a == o->b)
        return;
    bool merge, merge_b;
    const struct ir_op *p = maker(b, o, o->a, &merge), *q = maker(b, o, o->b, &merge_b);
    uint8_t other = o->b;
    if (!scaled(p)) {
        if (!scaled(q))
            return;
        p = q;
        other = o->a;
        merge = merge_b;
    }
    o->op = IR_SHADD;
    o->kind = (uint8_t)p->imm;
    o->a = p->a;
    o->b = other;
    if (merge)
        merge_last(b, o);
}

/* A load over its own base: the base is not seen any more, so its sum may go into the address. */
static void combine_load(struct ir_block *b, struct ir_op *o)
{
    int64_t base;
    if (o->a != IR_ZERO && const_of(b, o->a, &base) && base + o->imm >= 0 &&
        base + o->imm < INT32_MAX) {
        o->imm += base;
        o->a = IR_ZERO;
        return;
    }
    bool merge;
    const struct ir_op *p = o->op == IR_LD && o->dst == o->a ? maker(b, o, o->a, &merge) : NULL;
    if (!p || p->size != 8 || p->a >= IR_F0 || p->b >= IR_F0)
        return;
    if (p->op != IR_SHADD && p->op != IR_ADD)
        return;
    bool shadd = p->op == IR_SHADD;
    o->a = shadd ? p->b : p->a;
    o->c = shadd ? p->a : p->b;
    o->scale = shadd ? p->kind : 0;
    if (merge)
        merge_last(b, o);
}

/* x + 0, 0 + x, 0 + 0. False: no such sum. */
static bool combine_move(struct ir_op *o)
{
    if (o->a == IR_ZERO)
        o->a = o->b, o->b = IR_ZERO;
    if (o->b != IR_ZERO || o->size != 8)
        return false;
    if (o->a == IR_ZERO) {
        become_movi(o, 0);
    } else {
        o->op = IR_MOV;
        o->b = IR_NONE;
        o->imm = 0;
    }
    return true;
}

static __attribute__((noinline)) void combine(struct ir_block *b, struct ir_op *o)
{
    switch (o->op) {
    case IR_ADD:
        if (o->b == IR_IMM && o->size == 4 && o->imm == 0 && o->a != IR_ZERO)
            combine_sext(b, o);
        else if (o->b == IR_IMM)
            combine_imm(b, o);
        else if (!combine_move(o))
            combine_add(b, o);
        break;
    case IR_OR:
    case IR_XOR:
        if (o->b != IR_IMM)
            combine_or(b, o);
        else
            combine_imm(b, o);
        break;
    case IR_SHR:
    case IR_SAR:
        if (o->b == IR_IMM)
            combine_shift(b, o);
        if (o->b == IR_IMM)
            combine_imm(b, o);
        if (o->op == IR_ZEXT)
            combine_zext(b, o);
        break;
    case IR_AND:
    case IR_SHL:
        if (o->b == IR_IMM)
            combine_imm(b, o);
        break;
    case IR_LD:
    case IR_ST:
    case IR_FLD:
    case IR_FST:
        combine_load(b, o);
        break;
    default:
        UNREACHABLE();
    }
}

void ir_append(struct ir_block *b)
{
    struct ir_op *o = &b->ops[b->count];
    if (ir_traits[o->op] & COMBINES) {
        combine(b, o);
        if (o != &b->ops[b->count]) { /* merged */
            b->ops[b->count] = *o;
            o = &b->ops[b->count];
        }
    }
    unsigned at = b->count++;
    if (ir_traits[o->op] & CALLS) { /* nothing is known behind it */
        memset(b->def, 0xff, sizeof b->def);
        b->sext = 0;
        return;
    }
    if (o->dst >= IR_REG_COUNT)
        return;
    o->prev_def = b->def[o->dst];
    b->def[o->dst] = (int16_t)at;
    if (o->dst < IR_F0) {
        bool sext = makes_sext(b, o);
        if (sext && o->size == 8 && o->op >= IR_AND && o->op <= IR_XOR)
            o->flags |= IR_HALVES;
        b->sext = (b->sext & ~((uint32_t)1 << o->dst)) | (uint32_t)sext << o->dst;
    }
}
