/* Conjunctions without a solution: see refute.h. */
#include "engine/virtualizability/refute.h"

#include "engine/base/base.h"
#include "engine/base/os.h"

#include <stdlib.h>
#include <string.h>

#define ROUNDS 4
#define RULES 3
#define SPLIT_DEPTH 12u
#define SPLITS 64u /* case distinctions of one refutation */

struct rule {
    term_t from, to;
};

res_t pg_refuter_init(struct pg_refuter *r, struct pg_terms *z, struct err *err)
{
    *r = (struct pg_refuter){.z = z, .cap = PG_TERMS_MAX + 1024};
    r->memo = malloc(r->cap * sizeof *r->memo);
    r->stamp = calloc(r->cap, sizeof *r->stamp);
    r->demand = calloc(r->cap, sizeof *r->demand);
    r->value = malloc(r->cap * sizeof *r->value);
    if (!r->memo || !r->stamp || !r->demand || !r->value) {
        pg_refuter_fini(r);
        return err_set(err, ERR_NO_MEMORY, "no memory for the proof");
    }
    return OK;
}

void pg_refuter_fini(struct pg_refuter *r)
{
    free(r->memo);
    free(r->stamp);
    free(r->demand);
    free(r->value);
    r->memo = r->stamp = NULL;
    r->demand = r->value = NULL;
}

static enum pg_refuted settle(struct pg_refuter *r, unsigned depth);

/* ---- substitution ---- */

static term_t replace(struct pg_refuter *r, term_t t, const struct rule *rules, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (t == rules[i].from)
            return rules[i].to;
    if (t < r->least || t >= r->cap) /* parts have lower numbers than the whole */
        return t;
    struct pg_term k = r->z->t[t];
    if (k.op == PG_K_CONST || k.op == PG_K_VAR || k.op == PG_K_ARRAY)
        return t;
    if (r->stamp[t] == r->now)
        return r->memo[t];
    bool three = k.op == PG_E_COND || k.op == PG_K_STORE;
    term_t a = replace(r, k.a, rules, n), b = 0, c = 0;
    if (k.op != PG_E_NOT)
        b = replace(r, k.b, rules, n);
    if (three)
        c = replace(r, k.c, rules, n);
    bool same = a == k.a && (k.op == PG_E_NOT || b == k.b) && (!three || c == k.c);
    term_t out = same ? t : pg_rebuild(r->z, &k, a, b, c);
    r->stamp[t] = r->now;
    r->memo[t] = out;
    return out;
}

/* What a member that is true says of other terms. */
static uint32_t rules_of(struct pg_refuter *r, term_t t, struct rule rules[RULES])
{
    struct pg_terms *z = r->z;
    struct pg_term k = z->t[t];
    uint32_t n = 0;
    if (k.op == PG_E_NOT) {
        rules[n++] = (struct rule){k.a, pg_const(z, 0)};
        return n;
    }
    if (k.op == PG_E_EQ) {
        bool down = pg_is_const(z, k.b) || k.b < k.a;
        rules[n++] = down ? (struct rule){k.a, k.b} : (struct rule){k.b, k.a};
        return n;
    }
    rules[n++] = (struct rule){t, pg_const(z, 1)};
    if (k.op == PG_E_ULT) {
        term_t others[] = {pg_term2(z, PG_E_ULT, k.b, k.a), pg_term2(z, PG_E_EQ, k.a, k.b)};
        for (size_t i = 0; i < ARRAY_LEN(others); i++)
            if (!pg_is_const(z, others[i]))
                rules[n++] = (struct rule){others[i], pg_const(z, 0)};
    }
    return n;
}

/* Before replace(): a new walk, for these rules. */
static void begin(struct pg_refuter *r, const struct rule *rules, uint32_t n)
{
    r->now++;
    r->least = UINT32_MAX;
    for (uint32_t i = 0; i < n; i++)
        r->least = MIN(r->least, rules[i].from);
}

/* False: it is false, or there are too many (then the rest is dropped, which is sound). */
static bool add(struct pg_refuter *r, term_t t)
{
    struct pg_term k = r->z->t[t];
    if (pg_is_conjunction(r->z, t))
        return add(r, k.a) && add(r, k.b);
    if (k.op == PG_E_NOT && r->z->t[k.a].op == PG_E_OR && r->z->t[k.a].ones <= 1) {
        struct pg_term o = r->z->t[k.a];
        return add(r, pg_not(r->z, o.a)) && add(r, pg_not(r->z, o.b));
    }
    if (k.op == PG_K_CONST)
        return k.value != 0;
    for (uint32_t i = 0; i < r->count; i++)
        if (r->conj[i] == t)
            return true;
    if (r->count < PG_CONJ_MAX)
        r->conj[r->count++] = t;
    return true;
}

/* Puts what member i says into all others. 0: one of them became false; 1: nothing new; 2: something changed. */
static int spread(struct pg_refuter *r, uint32_t i)
{
    struct rule rules[RULES];
    term_t old[PG_CONJ_MAX], self = r->conj[i];
    uint32_t n = rules_of(r, self, rules), count = r->count;
    bool changed = false;
    if (r->deadline_ns && os_now_ns() > r->deadline_ns)
        r->late = true;
    if (r->late)
        return 1;
    begin(r, rules, n);
    memcpy(old, r->conj, count * sizeof *old);
    term_t fresh[PG_CONJ_MAX];
    for (uint32_t j = 0; j < count; j++) {
        fresh[j] = j == i || old[j] == self ? old[j] : replace(r, old[j], rules, n);
        changed |= fresh[j] != old[j];
        if (pg_is_value(r->z, fresh[j], 0))
            return 0;
    }
    if (!changed)
        return 1;
    r->count = 0;
    for (uint32_t j = 0; j < count; j++)
        if (!add(r, fresh[j]))
            return 0;
    return 2;
}

static bool fold(struct pg_refuter *r)
{
    for (int round = 0; round < ROUNDS; round++) {
        bool changed = false;
        for (uint32_t i = 0; i < r->count; i++) {
            int got = spread(r, i);
            if (got == 0)
                return true;
            if (r->z->full)
                return false;
            changed |= got == 2;
        }
        if (!changed)
            return false;
    }
    return false;
}

/* ---- enumeration ---- */

static bool is_leaf(const struct pg_term *t)
{
    return t->op == PG_K_VAR || t->op == PG_K_SELECT || t->op == PG_K_FITS;
}

static bool is_comparison(const struct pg_term *t)
{
    return t->op == PG_E_EQ || t->op == PG_E_ULT || t->op == PG_E_SLT;
}

struct search {
    struct pg_refuter *r;
    bool opaque;  /* wide comparisons are leaves */
    term_t *list; /* terms to be computed, descending */
    uint32_t count;
    term_t leaf[64];
    uint32_t leaf_count;
    unsigned bits;
};

static uint64_t fill(uint64_t x)
{
    return x ? UINT64_MAX >> __builtin_clzll(x) : 0;
}

static bool treated_as_leaf(const struct search *s, term_t t)
{
    const struct pg_terms *z = s->r->z;
    const struct pg_term *k = &z->t[t];
    if (is_leaf(k))
        return true;
    if (!s->opaque || !is_comparison(k))
        return false;
    unsigned wide =
        (unsigned)(__builtin_popcountll(z->t[k->a].ones) + __builtin_popcountll(z->t[k->b].ones));
    return wide > 12;
}

/* Passes the wish for bits of t on to its operands. */
static void demand_of(const struct search *s, term_t t)
{
    const struct pg_terms *z = s->r->z;
    const struct pg_term *k = &z->t[t];
    uint64_t *d = s->r->demand, want = d[t], mask = pg_mask(z->bits);
    bool by_const = k->op != PG_E_NOT && pg_is_const(z, k->b);
    uint64_t c = by_const ? z->t[k->b].value : 0;
    switch (k->op) {
    case PG_E_NOT:
        d[k->a] |= 1;
        return;
    case PG_E_COND:
        d[k->a] |= 1;
        d[k->b] |= want;
        d[k->c] |= want;
        return;
    case PG_E_AND:
        d[k->a] |= want & z->t[k->b].ones;
        d[k->b] |= want & z->t[k->a].ones;
        return;
    case PG_E_OR:
    case PG_E_XOR:
        d[k->a] |= want;
        d[k->b] |= want;
        return;
    case PG_E_ADD:
    case PG_E_SUB:
    case PG_E_MUL:
        d[k->a] |= fill(want);
        d[k->b] |= fill(want);
        return;
    case PG_E_SHL:
    case PG_E_SHR:
        if (by_const) {
            d[k->a] |= k->op == PG_E_SHL ? want >> c : want << c & mask;
            d[k->b] |= mask;
            return;
        }
        /* fall through */
    default:
        d[k->a] |= mask;
        d[k->b] |= mask;
    }
}

/* Fills list, leaf and bits; false: too many. list has room for all terms. */
static bool plan(struct search *s)
{
    struct pg_refuter *r = s->r;
    const struct pg_terms *z = r->z;
    uint32_t top = 0;
    s->count = s->leaf_count = 0;
    s->bits = 0;
    for (uint32_t i = 0; i < r->count; i++)
        top = MAX(top, r->conj[i] + 1);
    memset(r->demand, 0, top * sizeof *r->demand);
    for (uint32_t i = 0; i < r->count; i++)
        r->demand[r->conj[i]] |= 1;
    for (term_t t = top; t-- > 0;) {
        uint64_t want = r->demand[t] & z->t[t].ones;
        if (!r->demand[t])
            continue;
        if (z->t[t].op == PG_K_CONST) {
            r->value[t] = z->t[t].value;
            continue;
        }
        if (!treated_as_leaf(s, t)) {
            s->list[s->count++] = t;
            demand_of(s, t);
            continue;
        }
        unsigned n = (unsigned)__builtin_popcountll(want);
        if (s->leaf_count == ARRAY_LEN(s->leaf))
            return false;
        s->leaf[s->leaf_count++] = t;
        s->bits += n;
    }
    return s->bits <= PG_ENUM_BITS;
}

static uint64_t scatter(uint64_t *from, uint64_t mask)
{
    uint64_t v = 0;
    for (; mask; mask &= mask - 1, *from >>= 1)
        v |= *from & 1 ? mask & -mask : 0;
    return v;
}

static uint64_t value_of(const struct search *s, term_t t)
{
    const struct pg_terms *z = s->r->z;
    const struct pg_term *k = &z->t[t];
    const uint64_t *v = s->r->value;
    switch (k->op) {
    case PG_E_NOT:
        return !v[k->a];
    case PG_E_COND:
        return v[v[k->a] ? k->b : k->c] & k->ones;
    default: /* bits that nobody wants may be wrong in the operands, but not outside ones */
        return pg_op2(k->op, v[k->a], v[k->b], z->bits) & k->ones;
    }
}

/* No assignment of the bits that matter makes all members true. */
static bool enumerate(struct search *s)
{
    struct pg_refuter *r = s->r;
    uint64_t mask = ((uint64_t)1 << s->bits) - 1;
    for (uint64_t n = 0; n <= mask; n++) {
        uint64_t rest =
            n * 0x9e3779b1 & mask; /* in an order that soon meets a solution, if there are many */
        bool all = true;
        r->effort += s->count + s->leaf_count;
        if (r->effort > r->effort_max)
            return false;
        for (uint32_t i = 0; i < s->leaf_count; i++) {
            term_t t = s->leaf[i];
            r->value[t] = scatter(&rest, r->demand[t] & r->z->t[t].ones);
        }
        for (uint32_t i = s->count; i-- > 0;)
            r->value[s->list[i]] = value_of(s, s->list[i]);
        for (uint32_t i = 0; all && i < r->count; i++)
            all = r->value[r->conj[i]] != 0;
        if (all)
            return false;
    }
    return true;
}

/* A truth value on which a member turns: of a choice between values, or of an alternative. 0: none. */
static term_t split_on(struct pg_refuter *r, term_t t, unsigned depth)
{
    struct pg_term k = r->z->t[t];
    term_t found = 0;
    if (k.op == PG_E_COND || (k.op == PG_E_OR && k.ones <= 1))
        return k.a;
    if (depth == 0 || k.op == PG_K_CONST || k.op == PG_K_VAR || k.op == PG_K_ARRAY ||
        r->stamp[t] == r->now)
        return 0;
    r->stamp[t] = r->now;
    r->memo[t] = t;
    if (k.op != PG_K_SELECT)
        found = split_on(r, k.a, depth - 1);
    if (!found && k.op != PG_E_NOT)
        found = split_on(r, k.b, depth - 1);
    return found;
}

/* Both halves of a case distinction have to fail. */
static enum pg_refuted split(struct pg_refuter *r, unsigned depth)
{
    term_t rest[PG_CONJ_MAX], on = 0;
    uint32_t count = r->count;
    enum pg_refuted how = PG_BY_FOLDING;
    r->now++;
    for (uint32_t i = 0; i < count && !on; i++)
        on = split_on(r, r->conj[i], 12);
    if (!on || depth == 0 || r->budget == 0)
        return PG_NOT_REFUTED;
    memcpy(rest, r->conj, count * sizeof *rest);
    for (int half = 0; half < 2 && how != PG_NOT_REFUTED; half++) {
        memcpy(r->conj, rest, count * sizeof *rest);
        r->count = count;
        r->budget -= r->budget > 0;
        if (!add(r, half ? pg_not(r->z, on) : on))
            continue;
        enum pg_refuted got = settle(r, depth - 1);
        how = got == PG_BY_FOLDING ? how : got;
    }
    memcpy(r->conj, rest, count * sizeof *rest);
    r->count = count;
    return how;
}

static enum pg_refuted settle(struct pg_refuter *r, unsigned depth)
{
    struct search s = {.r = r, .list = r->memo};
    if (fold(r))
        return r->z->full ? PG_NOT_REFUTED : PG_BY_FOLDING;
    if (r->z->full || r->late || r->count == 0)
        return PG_NOT_REFUTED;
    r->now++; /* memo is used as the list */
    if (!plan(&s)) {
        s.opaque = true;
        if (!plan(&s))
            return split(r, depth);
    }
    if (enumerate(&s))
        return PG_BY_ENUMERATION;
    return s.opaque ? split(r, depth) : PG_NOT_REFUTED;
}

enum pg_refuted pg_refute(struct pg_refuter *r, const term_t *conj, uint32_t count)
{
    r->count = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!add(r, conj[i]))
            return r->z->full ? PG_NOT_REFUTED : PG_BY_FOLDING;
    r->budget = SPLITS;
    return settle(r, SPLIT_DEPTH);
}

enum pg_refuted pg_refute_with(struct pg_refuter *r, term_t more)
{
    term_t rest[PG_CONJ_MAX];
    uint32_t count = r->count;
    enum pg_refuted how = PG_BY_FOLDING;
    memcpy(rest, r->conj, count * sizeof *rest);
    /* What the rest says goes into the newcomer first: most differences fold there and then. */
    for (uint32_t i = 0; i < count; i++) {
        struct rule rules[RULES];
        uint32_t n = rules_of(r, rest[i], rules);
        begin(r, rules, n);
        more = replace(r, more, rules, n);
    }
    r->budget = SPLITS;
    if (!pg_is_value(r->z, more, 0) && add(r, more))
        how = settle(r, SPLIT_DEPTH);
    memcpy(r->conj, rest, count * sizeof *rest);
    r->count = count;
    return r->z->full ? PG_NOT_REFUTED : how;
}
