/* Terms, interned and simplified: see term.h. */
#include "engine/virtualizability/term.h"

#include "engine/base/base.h"

#include <stdlib.h>
#include <string.h>

res_t pg_terms_init(struct pg_terms *z, unsigned bits, struct err *err)
{
    *z = (struct pg_terms){.bits = bits, .cap = 1024, .hash_cap = 1u << 17};
    z->t = malloc(z->cap * sizeof *z->t);
    z->hash = calloc(z->hash_cap, sizeof *z->hash);
    if (!z->t || !z->hash) {
        pg_terms_fini(z);
        return err_set(err, ERR_NO_MEMORY, "no memory for formulas");
    }
    return OK;
}

void pg_terms_fini(struct pg_terms *z)
{
    free(z->t);
    free(z->hash);
    *z = (struct pg_terms){0};
}

static uint32_t slot_of(const struct pg_terms *z, const struct pg_term *t)
{
    uint64_t h = t->op;
    const uint64_t parts[] = {t->a, t->b, t->c, t->value, t->ones};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        h = (h ^ parts[i]) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    return (uint32_t)h & (z->hash_cap - 1);
}

void pg_terms_reset(struct pg_terms *z)
{
    for (uint32_t i = 0; i < z->count; i++)
        z->hash[z->t[i].slot] = 0;
    z->count = 0;
    z->unknowns = 0;
    z->full = false;
}

static term_t intern(struct pg_terms *z, struct pg_term t)
{
    uint32_t s = slot_of(z, &t);
    for (; z->hash[s]; s = (s + 1) & (z->hash_cap - 1)) {
        const struct pg_term *o = &z->t[z->hash[s] - 1];
        if (o->op == t.op && o->a == t.a && o->b == t.b && o->c == t.c && o->value == t.value &&
            o->ones == t.ones)
            return z->hash[s] - 1;
    }
    if (z->count == z->cap) {
        struct pg_term *more =
            z->cap >= PG_TERMS_MAX ? NULL : realloc(z->t, (size_t)z->cap * 2 * sizeof *z->t);
        if (!more) {
            z->full = true;
            return 0;
        }
        z->t = more;
        z->cap *= 2;
    }
    t.slot = s;
    z->t[z->count] = t;
    z->hash[s] = z->count + 1;
    return z->count++;
}

term_t pg_const(struct pg_terms *z, uint64_t value)
{
    value &= pg_mask(z->bits);
    return intern(z, (struct pg_term){.op = PG_K_CONST, .value = value, .ones = value});
}

term_t pg_var(struct pg_terms *z, uint64_t name, unsigned bits)
{
    return intern(z, (struct pg_term){.op = PG_K_VAR, .value = name, .ones = pg_mask(bits)});
}

term_t pg_array(struct pg_terms *z, uint64_t name, unsigned bits, uint32_t count)
{
    return intern(
        z, (struct pg_term){.op = PG_K_ARRAY, .value = name, .ones = pg_mask(bits), .c = count});
}

term_t pg_unknown(struct pg_terms *z)
{
    return pg_var(z, pg_var_name(PG_V_UNKNOWN, 0, z->unknowns++), 1);
}

/* All bits up to the highest that can be set. */
static uint64_t fill(uint64_t x)
{
    return x ? UINT64_MAX >> __builtin_clzll(x) : 0;
}

static uint64_t ones_of(const struct pg_terms *z, int op, term_t a, term_t b)
{
    uint64_t x = z->t[a].ones, y = z->t[b].ones, mask = pg_mask(z->bits);
    bool k = pg_is_const(z, b);
    switch (op) {
    case PG_E_AND:
        return x & y;
    case PG_E_OR:
    case PG_E_XOR:
        return x | y;
    case PG_E_EQ:
    case PG_E_ULT:
    case PG_E_SLT:
        return 1;
    case PG_E_SHL:
        return k ? pg_op2(PG_E_SHL, x, y, z->bits) : mask;
    case PG_E_SHR:
        return k ? pg_op2(PG_E_SHR, x, y, z->bits) : fill(x);
    case PG_E_SAR:
        return x >> (z->bits - 1) & 1 ? mask : k ? pg_op2(PG_E_SHR, x, y, z->bits) : fill(x);
    case PG_E_ADD: {
        uint64_t sum = fill(x) + fill(y);
        return sum < fill(x) ? mask : fill(sum) & mask;
    }
    case PG_E_REM:
        return fill(x);
    default:
        return mask;
    }
}

static term_t raw2(struct pg_terms *z, int op, term_t a, term_t b)
{
    return intern(
        z, (struct pg_term){.op = (uint8_t)op, .a = a, .b = b, .ones = ones_of(z, op, a, b)});
}

static bool is_bool(const struct pg_terms *z, term_t a)
{
    return z->t[a].ones <= 1;
}

term_t pg_not(struct pg_terms *z, term_t a)
{
    const struct pg_term *t = &z->t[a];
    if (t->op == PG_K_CONST)
        return pg_const(z, !t->value);
    if (t->op == PG_E_NOT)
        return t->a;
    if (!is_bool(z, a))
        return pg_term2(z, PG_E_EQ, a, pg_const(z, 0));
    return intern(z, (struct pg_term){.op = PG_E_NOT, .a = a, .ones = 1});
}

term_t pg_truth(struct pg_terms *z, term_t a)
{
    return is_bool(z, a) ? a : pg_not(z, pg_term2(z, PG_E_EQ, a, pg_const(z, 0)));
}

term_t pg_differ(struct pg_terms *z, term_t a, term_t b)
{
    return pg_not(z, pg_term2(z, PG_E_EQ, a, b));
}

term_t pg_cond(struct pg_terms *z, term_t c, term_t a, term_t b)
{
    c = pg_truth(z, c);
    if (pg_is_const(z, c))
        return z->t[c].value ? a : b;
    if (a == b)
        return a;
    if (z->t[c].op == PG_E_NOT)
        return pg_cond(z, z->t[c].a, b, a);
    if (pg_is_value(z, a, 1) && pg_is_value(z, b, 0))
        return c;
    if (pg_is_value(z, a, 0) && pg_is_value(z, b, 1))
        return pg_not(z, c);
    uint64_t ones = z->t[a].ones | z->t[b].ones;
    if (ones <= 1) {
        if (pg_is_const(z, b))
            return z->t[b].value ? pg_term2(z, PG_E_OR, pg_not(z, c), a)
                                 : pg_term2(z, PG_E_AND, c, a);
        if (pg_is_const(z, a))
            return z->t[a].value ? pg_term2(z, PG_E_OR, c, b)
                                 : pg_term2(z, PG_E_AND, pg_not(z, c), b);
    }
    return intern(z, (struct pg_term){.op = PG_E_COND, .a = c, .b = a, .c = b, .ones = ones});
}

/* ---- one operator at a time; 1 and *out, or 0: nothing to simplify ---- */

#define GIVE(x) return *out = (x), true

static bool simple_and(struct pg_terms *z, term_t a, term_t b, term_t *out)
{
    struct pg_term x = z->t[a], y = z->t[b];
    if ((x.ones & y.ones) == 0)
        GIVE(pg_const(z, 0));
    if (a == b)
        GIVE(a);
    if ((x.op == PG_E_NOT && x.a == b) || (y.op == PG_E_NOT && y.a == a))
        GIVE(pg_const(z, 0));
    if (y.op != PG_K_CONST)
        return false;
    if ((x.ones & ~y.value) == 0)
        GIVE(a);
    if (x.op == PG_E_AND && pg_is_const(z, x.b))
        GIVE(pg_term2(z, PG_E_AND, x.a, pg_const(z, z->t[x.b].value & y.value)));
    if (x.op == PG_E_OR || x.op == PG_E_XOR)
        GIVE(pg_term2(z, x.op, pg_term2(z, PG_E_AND, x.a, b), pg_term2(z, PG_E_AND, x.b, b)));
    if (x.op == PG_E_COND)
        GIVE(pg_cond(z, x.a, pg_term2(z, PG_E_AND, x.b, b), pg_term2(z, PG_E_AND, x.c, b)));
    return false;
}

static bool simple_or(struct pg_terms *z, int op, term_t a, term_t b, term_t *out)
{
    const struct pg_term copy_a = z->t[a], copy_b = z->t[b], *x = &copy_a, *y = &copy_b;
    if (a == b)
        GIVE(op == PG_E_OR ? a : pg_const(z, 0));
    if (pg_is_value(z, b, 0))
        GIVE(a);
    if (op == PG_E_OR && is_bool(z, a) && pg_is_value(z, b, 1))
        GIVE(b);
    if (op == PG_E_XOR && is_bool(z, a) && pg_is_value(z, b, 1))
        GIVE(pg_not(z, a));
    if ((x->op == PG_E_NOT && x->a == b) || (y->op == PG_E_NOT && y->a == a))
        GIVE(pg_const(z, 1));
    if (op == PG_E_XOR && x->op == PG_E_XOR && (x->a == b || x->b == b))
        GIVE(x->a == b ? x->b : x->a);
    if (op == PG_E_XOR && y->op == PG_E_XOR && (y->a == a || y->b == a))
        GIVE(y->a == a ? y->b : y->a);
    if (op == PG_E_XOR && pg_is_const(z, b) && x->op == PG_E_XOR && pg_is_const(z, x->b))
        GIVE(pg_term2(z, op, x->a, pg_const(z, z->t[x->b].value ^ y->value)));
    return false;
}

static bool simple_sum(struct pg_terms *z, int op, term_t a, term_t b, term_t *out)
{
    struct pg_term x = z->t[a], y = z->t[b];
    if (pg_is_value(z, b, 0))
        GIVE(a);
    if (op == PG_E_SUB) {
        if (a == b)
            GIVE(pg_const(z, 0));
        if (y.op == PG_K_CONST)
            GIVE(pg_term2(z, PG_E_ADD, a, pg_const(z, -y.value)));
        if (x.op == PG_E_ADD && (x.a == b || x.b == b))
            GIVE(x.a == b ? x.b : x.a);
        if (x.op == PG_E_ADD && y.op == PG_E_ADD) {
            if (x.a == y.a)
                GIVE(pg_term2(z, PG_E_SUB, x.b, y.b));
            if (x.b == y.b)
                GIVE(pg_term2(z, PG_E_SUB, x.a, y.a));
        }
        return false;
    }
    if (y.op == PG_K_CONST && x.op == PG_E_ADD && pg_is_const(z, x.b))
        GIVE(pg_term2(z, PG_E_ADD, x.a, pg_const(z, z->t[x.b].value + y.value)));
    if (x.op == PG_E_SUB && x.b == b)
        GIVE(x.a);
    if (y.op == PG_E_SUB && y.b == a)
        GIVE(y.a);
    return false;
}

static bool simple_eq(struct pg_terms *z, term_t a, term_t b, term_t *out)
{
    struct pg_term x = z->t[a], y = z->t[b];
    if (a == b)
        GIVE(pg_const(z, 1));
    if ((x.op == PG_E_ADD && y.op == PG_E_ADD) || (x.op == PG_E_XOR && y.op == PG_E_XOR)) {
        if (x.a == y.a)
            GIVE(pg_term2(z, PG_E_EQ, x.b, y.b));
        if (x.b == y.b)
            GIVE(pg_term2(z, PG_E_EQ, x.a, y.a));
    }
    if (y.op != PG_K_CONST)
        return false;
    if (y.value & ~x.ones)
        GIVE(pg_const(z, 0));
    if (x.ones <= 1)
        GIVE(y.value ? a : pg_not(z, a));
    if (x.op == PG_E_ADD && pg_is_const(z, x.b))
        GIVE(pg_term2(z, PG_E_EQ, x.a, pg_const(z, y.value - z->t[x.b].value)));
    if (x.op == PG_E_XOR && pg_is_const(z, x.b))
        GIVE(pg_term2(z, PG_E_EQ, x.a, pg_const(z, y.value ^ z->t[x.b].value)));
    if (x.op == PG_E_SUB && y.value == 0)
        GIVE(pg_term2(z, PG_E_EQ, x.a, x.b));
    if (x.op == PG_E_COND && (pg_is_const(z, x.b) || pg_is_const(z, x.c)))
        GIVE(pg_cond(z, x.a, pg_term2(z, PG_E_EQ, x.b, b), pg_term2(z, PG_E_EQ, x.c, b)));
    /* All of a single bit or none of it: one form for (x & 4) == 4 and (x & 4) != 0. */
    if (y.value && y.value == x.ones && !(y.value & (y.value - 1)))
        GIVE(pg_not(z, pg_term2(z, PG_E_EQ, a, pg_const(z, 0))));
    if (x.op == PG_E_SHL && pg_is_const(z, x.b) && y.value == 0) {
        uint64_t low = pg_mask(z->bits) >> z->t[x.b].value;
        GIVE(pg_term2(z, PG_E_EQ, pg_term2(z, PG_E_AND, x.a, pg_const(z, low)), b));
    }
    if (x.op == PG_E_SHR && pg_is_const(z, x.b) && y.value == 0) {
        uint64_t high = pg_mask(z->bits) << z->t[x.b].value;
        GIVE(pg_term2(z, PG_E_EQ, pg_term2(z, PG_E_AND, x.a, pg_const(z, high)), b));
    }
    return false;
}

static bool simple_ult(struct pg_terms *z, term_t a, term_t b, term_t *out)
{
    const struct pg_term copy_a = z->t[a], copy_b = z->t[b], *x = &copy_a, *y = &copy_b;
    if (a == b || pg_is_value(z, b, 0))
        GIVE(pg_const(z, 0));
    if (y->op == PG_K_CONST) {
        if (x->ones < y->value)
            GIVE(pg_const(z, 1));
        if (y->value == 1)
            GIVE(pg_term2(z, PG_E_EQ, a, pg_const(z, 0)));
    }
    if (x->op == PG_K_CONST) {
        if (x->value >= y->ones)
            GIVE(pg_const(z, 0));
        if (x->value == 0)
            GIVE(pg_truth(z, b));
    }
    return false;
}

static bool simple_shift(struct pg_terms *z, int op, term_t a, term_t b, term_t *out)
{
    struct pg_term x = z->t[a];
    uint64_t mask = pg_mask(z->bits), top = (uint64_t)1 << (z->bits - 1);
    if (x.op == PG_K_CONST && x.value == 0)
        GIVE(a);
    if (!pg_is_const(z, b))
        return false;
    uint64_t k = z->t[b].value;
    if (k == 0)
        GIVE(a);
    if (op == PG_E_SAR) {
        if (!(x.ones & top))
            GIVE(pg_term2(z, PG_E_SHR, a, b));
        return false;
    }
    if (k >= z->bits || ones_of(z, op, a, b) == 0)
        GIVE(pg_const(z, 0));
    if (x.op == PG_E_OR || x.op == PG_E_XOR)
        GIVE(pg_term2(z, x.op, pg_term2(z, op, x.a, b), pg_term2(z, op, x.b, b)));
    if (x.op == PG_E_COND)
        GIVE(pg_cond(z, x.a, pg_term2(z, op, x.b, b), pg_term2(z, op, x.c, b)));
    if (x.op == PG_E_AND && pg_is_const(z, x.b))
        GIVE(pg_term2(z, PG_E_AND, pg_term2(z, op, x.a, b),
                      pg_const(z, pg_op2(op, z->t[x.b].value, k, z->bits))));
    if (op == PG_E_SHR && x.op == PG_E_SHL && pg_is_const(z, x.b)) {
        uint64_t j = z->t[x.b].value;
        term_t inner = pg_term2(z, PG_E_AND, x.a, pg_const(z, mask >> j));
        GIVE(pg_term2(z, j > k ? PG_E_SHL : PG_E_SHR, inner, pg_const(z, j > k ? j - k : k - j)));
    }
    if (op == PG_E_SHL && x.op == PG_E_SHR && pg_is_const(z, x.b)) {
        uint64_t j = z->t[x.b].value;
        term_t inner = pg_term2(z, PG_E_AND, x.a, pg_const(z, mask << j));
        GIVE(pg_term2(z, k > j ? PG_E_SHL : PG_E_SHR, inner, pg_const(z, k > j ? k - j : j - k)));
    }
    if (x.op == op && pg_is_const(z, x.b))
        GIVE(pg_term2(z, op, x.a, pg_const(z, MIN(z->t[x.b].value + k, (uint64_t)z->bits))));
    return false;
}

static bool simple_product(struct pg_terms *z, int op, term_t a, term_t b, term_t *out)
{
    const struct pg_term copy_a = z->t[a], copy_b = z->t[b], *x = &copy_a, *y = &copy_b;
    if (op == PG_E_MUL && pg_is_value(z, b, 0))
        GIVE(b);
    if ((op == PG_E_MUL || op == PG_E_DIV) && pg_is_value(z, b, 1))
        GIVE(a);
    if (y->op != PG_K_CONST || !y->value)
        return false;
    if (op == PG_E_REM && x->ones < y->value)
        GIVE(a);
    if (y->value & (y->value - 1))
        return false;
    uint64_t k = (uint64_t)__builtin_ctzll(y->value);
    if (op == PG_E_REM)
        GIVE(pg_term2(z, PG_E_AND, a, pg_const(z, y->value - 1)));
    GIVE(pg_term2(z, op == PG_E_MUL ? PG_E_SHL : PG_E_SHR, a, pg_const(z, k)));
}

static bool simplify(struct pg_terms *z, int op, term_t a, term_t b, term_t *out)
{
    switch (op) {
    case PG_E_AND:
        return simple_and(z, a, b, out);
    case PG_E_OR:
    case PG_E_XOR:
        return simple_or(z, op, a, b, out);
    case PG_E_ADD:
    case PG_E_SUB:
        return simple_sum(z, op, a, b, out);
    case PG_E_EQ:
        return simple_eq(z, a, b, out);
    case PG_E_ULT:
        return simple_ult(z, a, b, out);
    case PG_E_SLT:
        return a == b && (*out = pg_const(z, 0), true);
    case PG_E_SHL:
    case PG_E_SHR:
    case PG_E_SAR:
        return simple_shift(z, op, a, b, out);
    default:
        return simple_product(z, op, a, b, out);
    }
}

static bool commutes(int op)
{
    return op == PG_E_AND || op == PG_E_OR || op == PG_E_XOR || op == PG_E_ADD || op == PG_E_MUL ||
           op == PG_E_EQ;
}

term_t pg_term2(struct pg_terms *z, int op, term_t a, term_t b)
{
    if (z->full)
        return 0;
    if (pg_is_const(z, a) && pg_is_const(z, b))
        return pg_const(z, pg_op2(op, z->t[a].value, z->t[b].value, z->bits));
    if (commutes(op) && (pg_is_const(z, a) || (!pg_is_const(z, b) && a > b))) {
        term_t swap = a;
        a = b;
        b = swap;
    }
    /* A constant meets a choice between constants. */
    struct pg_term x = z->t[a], y = z->t[b];
    if (y.op == PG_K_CONST && x.op == PG_E_COND && pg_is_const(z, x.b) && pg_is_const(z, x.c))
        return pg_cond(z, x.a, pg_term2(z, op, x.b, b), pg_term2(z, op, x.c, b));
    if (x.op == PG_K_CONST && y.op == PG_E_COND && pg_is_const(z, y.b) && pg_is_const(z, y.c))
        return pg_cond(z, y.a, pg_term2(z, op, a, y.b), pg_term2(z, op, a, y.c));
    term_t out = 0;
    return simplify(z, op, a, b, &out) ? out : raw2(z, op, a, b);
}

term_t pg_trunc(struct pg_terms *z, term_t a, unsigned bits)
{
    return pg_term2(z, PG_E_AND, a, pg_const(z, pg_mask(bits)));
}

/* ---- arrays ---- */

term_t pg_select(struct pg_terms *z, term_t array, term_t index)
{
    struct pg_term t = z->t[array];
    if (z->full)
        return 0;
    if (t.op == PG_K_STORE) {
        if (t.b == index)
            return t.c;
        term_t same = pg_term2(z, PG_E_EQ, t.b, index);
        return pg_cond(z, same, t.c, pg_select(z, t.a, index));
    }
    return intern(z, (struct pg_term){.op = PG_K_SELECT, .a = array, .b = index, .ones = t.ones});
}

term_t pg_store(struct pg_terms *z, term_t array, term_t index, term_t value)
{
    if (z->full)
        return 0;
    struct pg_term t = z->t[array];
    if (z->t[value].op == PG_K_SELECT && z->t[value].a == array && z->t[value].b == index)
        return array;
    if (t.op == PG_K_STORE && t.b == index)
        return pg_store(z, t.a, index, value);
    return intern(
        z, (struct pg_term){.op = PG_K_STORE, .a = array, .b = index, .c = value, .ones = t.ones});
}

term_t pg_fits(struct pg_terms *z, term_t a, term_t l)
{
    if (z->full)
        return 0;
    if (pg_is_value(z, l, 0))
        return pg_const(z, 1);
    return intern(z, (struct pg_term){.op = PG_K_FITS, .a = a, .b = l, .ones = 1});
}

term_t pg_rebuild(struct pg_terms *z, const struct pg_term *like, term_t a, term_t b, term_t c)
{
    switch (like->op) {
    case PG_E_NOT:
        return pg_not(z, a);
    case PG_E_COND:
        return pg_cond(z, a, b, c);
    case PG_K_SELECT:
        return pg_select(z, a, b);
    case PG_K_STORE:
        return pg_store(z, a, b, c);
    case PG_K_FITS:
        return pg_fits(z, a, b);
    case PG_K_CONST:
    case PG_K_VAR:
    case PG_K_ARRAY:
        return intern(z, *like);
    default:
        return pg_term2(z, like->op, a, b);
    }
}
