/* Looking for witnesses: see search.h. */
#include "engine/virtualizability/search.h"

#include "engine/base/base.h"

#include <string.h>

void pg_search_init(struct pg_search *s, const struct pg_spec *spec, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    s->spec = spec;
    rng_seed(&s->rng, seed ^ 0x5eed);
}

/* ---- the dictionary ---- */

static void add_word(struct pg_search *s, uint64_t v)
{
    for (uint32_t i = 0; i < s->word_count; i++)
        if (s->words[i] == v)
            return;
    if (s->word_count < PG_WORDS_MAX)
        s->words[s->word_count++] = v;
}

static void words_of_expr(struct pg_search *s, const struct pg_expr *e)
{
    if (!e)
        return;
    if (e->op == PG_E_CONST && e->value > 1)
        add_word(s, e->value);
    words_of_expr(s, e->a);
    words_of_expr(s, e->b);
    words_of_expr(s, e->c);
}

static void words_of_block(struct pg_search *s, const struct pg_stmt *st)
{
    for (; st; st = st->next) {
        words_of_expr(s, st->at);
        words_of_expr(s, st->value);
        for (uint32_t i = 0; i < st->arm_count; i++)
            words_of_block(s, st->arm[i]);
    }
}

void pg_search_insn(struct pg_search *s, const struct pg_insn *insn)
{
    const struct pg_spec *spec = s->spec;
    s->word_count = 0;
    words_of_block(s, insn->semantics);
    for (uint32_t i = 0; i < spec->vmm_config_count; i++)
        words_of_expr(s, spec->vmm_config[i].expr);
    for (uint32_t i = 0; i < spec->invariant_count; i++)
        words_of_expr(s, spec->invariant[i].expr);
}

/* ---- what a case demands of single inputs ---- */

static struct pg_pin *pin_of(struct pg_search *s, enum pg_input what, unsigned copy, uint32_t which)
{
    for (uint32_t i = 0; i < s->pin_count; i++)
        if (s->pins[i].what == what && s->pins[i].copy == copy && s->pins[i].which == which)
            return &s->pins[i];
    if (s->pin_count == PG_PINS_MAX)
        return NULL;
    s->pins[s->pin_count] =
        (struct pg_pin){.what = what, .copy = copy, .which = which, .most = UINT64_MAX};
    return &s->pins[s->pin_count++];
}

/* Of a register, of an element that is known, or of an operand. */
static struct pg_pin *pin_of_input(struct pg_search *s, const struct pg_terms *z, term_t t)
{
    const struct pg_term *k = &z->t[t];
    bool element = k->op == PG_K_SELECT && z->t[k->a].op == PG_K_ARRAY && pg_is_const(z, k->b);
    uint64_t name = element ? z->t[k->a].value : k->value;
    enum pg_var_kind kind = (enum pg_var_kind)(name >> 40);
    unsigned copy = name >> 32 & 0xff;
    uint32_t i = (uint32_t)name;
    if (element && kind == PG_V_REGS)
        return pin_of(s, PG_IN_CELL, copy,
                      s->spec->regs[i].first_cell + (uint32_t)z->t[k->b].value);
    if (k->op != PG_K_VAR)
        return NULL;
    if (kind == PG_V_CELL)
        return pin_of(s, PG_IN_CELL, copy, s->spec->regs[i].first_cell);
    return kind == PG_V_OPERAND ? pin_of(s, PG_IN_OPERAND, copy, i) : NULL;
}

static uint64_t inverse_of(uint64_t odd)
{
    uint64_t x = odd;
    for (int i = 0; i < 5; i++)
        x *= 2 - odd * x;
    return x;
}

/* t == value, on the bits of mask. */
static void want_bits(struct pg_search *s, const struct pg_terms *z, term_t t, uint64_t mask,
                      uint64_t value)
{
    for (int steps = 0; steps < 8; steps++) {
        const struct pg_term *k = &z->t[t];
        bool leaf = k->op == PG_K_VAR || k->op == PG_K_SELECT;
        bool by_const = !leaf && k->op != PG_E_NOT && pg_is_const(z, k->b);
        uint64_t c = by_const ? z->t[k->b].value : 0;
        if (leaf) {
            struct pg_pin *p = pin_of_input(s, z, t);
            if (p) {
                p->value = (p->value & ~mask) | (value & mask);
                p->mask |= mask;
            }
            return;
        }
        if (!by_const)
            return;
        if (k->op == PG_E_AND) {
            mask &= c;
        } else if (k->op == PG_E_SHR && c < 64) {
            mask <<= c;
            value <<= c;
        } else if (k->op == PG_E_SHL && c < 64) {
            mask >>= c;
            value >>= c;
        } else if (k->op == PG_E_XOR) {
            value ^= c;
        } else if (k->op == PG_E_ADD && mask == pg_mask(z->bits)) {
            value -= c;
        } else if (k->op == PG_E_MUL && mask == pg_mask(z->bits) && c & 1) {
            value *= inverse_of(c);
        } else {
            return;
        }
        t = k->a;
    }
}

static void want(struct pg_search *s, const struct pg_terms *z, term_t t, bool holds)
{
    const struct pg_term *k = &z->t[t];
    uint64_t mask = pg_mask(z->bits);
    struct pg_pin *p;
    if (k->op == PG_E_NOT) {
        want(s, z, k->a, !holds);
    } else if (pg_is_conjunction(z, t)) {
        if (holds || rng_below(&s->rng, 2))
            want(s, z, k->a, holds);
        if (holds || rng_below(&s->rng, 2))
            want(s, z, k->b, holds);
    } else if (k->op == PG_E_OR && k->ones <= 1) {
        bool left = rng_below(&s->rng, 2);
        if (!holds || left)
            want(s, z, k->a, holds);
        if (!holds || !left)
            want(s, z, k->b, holds);
    } else if (k->op == PG_E_EQ && pg_is_const(z, k->b)) {
        uint64_t c = z->t[k->b].value, ones = z->t[k->a].ones;
        if (holds) {
            want_bits(s, z, k->a, mask, c);
        } else if (ones) { /* flip one of its bits */
            uint64_t bit = ones;
            for (uint64_t n = rng_below(&s->rng, (uint64_t)__builtin_popcountll(ones)); n; n--)
                bit &= bit - 1;
            want_bits(s, z, k->a, bit & -bit, ~c);
        }
    } else if (k->op == PG_E_ULT && pg_is_const(z, k->b) && (p = pin_of_input(s, z, k->a))) {
        uint64_t c = z->t[k->b].value;
        if (holds)
            p->most = MIN(p->most, c - 1);
        else
            p->least = MAX(p->least, c);
    } else if (k->op == PG_E_ULT && pg_is_const(z, k->a) && (p = pin_of_input(s, z, k->b))) {
        uint64_t c = z->t[k->a].value;
        if (holds)
            p->least = MAX(p->least, c + 1);
        else
            p->most = MIN(p->most, c);
    } else if (k->ones <= 1) {
        want_bits(s, z, t, 1, holds);
    }
}

/* Pins from one of the claim's cases and one of its differences. */
static void choose_pins(struct pg_search *s, const struct pg_claim *claim)
{
    uint32_t count = 0;
    s->pin_count = 0;
    if (!claim || !claim->cases || claim->overflow)
        return;
    for (const struct pg_case *k = claim->cases; k; k = k->next)
        count++;
    const struct pg_case *k = claim->cases;
    for (uint64_t n = rng_below(&s->rng, count); n; n--)
        k = k->next;
    if (k->diff_count)
        want(s, claim->z, k->diffs[rng_below(&s->rng, k->diff_count)], true);
    for (uint32_t i = 0; i < k->base_count; i++)
        want(s, claim->z, k->base[i], true);
}

/* ---- random ---- */

static uint64_t some_value(struct pg_search *s, unsigned bits)
{
    uint64_t r = rng_next(&s->rng), mask = pg_mask(bits);
    switch (rng_below(&s->rng, 12)) {
    case 0:
        return 0;
    case 1:
        return 1;
    case 2:
        return r & 7;
    case 3:
        return mask - (r & 1);
    case 4:
        return (uint64_t)1 << r % bits;
    case 5:
    case 6:
        return s->word_count ? s->words[r % s->word_count] : r & 15;
    case 7:
        return s->word_count ? s->words[r % s->word_count] + (r >> 32 & 2) - 1 : r & 15;
    case 8:
        return s->recent_count ? s->recent[r % s->recent_count] + (r >> 32) % 3 - 1 : r & 31;
    case 9:
        return s->recent_count ? s->recent[r % s->recent_count] : r & 31;
    case 10:
        return r & (mask >> (r >> 40) % bits);
    default:
        return r;
    }
}

static uint64_t draw_random(void *ctx, const struct pg_wish *wish)
{
    struct pg_search *s = ctx;
    uint64_t mask = pg_mask(wish->bits), v = some_value(s, wish->bits) & mask;
    for (uint32_t i = 0; i < s->pin_count; i++) {
        const struct pg_pin *p = &s->pins[i];
        if (p->what != wish->what || p->copy != wish->copy || p->which != wish->which)
            continue;
        uint64_t most = MIN(p->most, mask);
        if (p->least <= most && (v < p->least || v > most))
            v = most - p->least == UINT64_MAX ? v : p->least + v % (most - p->least + 1);
        v = (v & ~p->mask) | p->value;
    }
    s->recent[s->recent_count < 16 ? s->recent_count++ : rng_below(&s->rng, 16)] = v & mask;
    return v;
}

bool pg_search_random(struct pg_search *s, const struct pg_ask *ask, const struct pg_claim *claim,
                      uint64_t tries)
{
    s->pair.ask = *ask;
    s->pair.draw = draw_random;
    s->pair.ctx = s;
    s->pair.memory_cells = s->spec->memory_cells;
    for (uint64_t i = 0; i < tries; i++) {
        s->recent_count = 0;
        s->pin_count = 0;
        if (i % 4 != 3)
            choose_pins(s, claim);
        s->runs++;
        if (pg_pair_try(&s->pair) == PG_SHOWN)
            return true;
    }
    return false;
}

/* ---- exhaustive ---- */

static uint64_t draw_next(void *ctx, const struct pg_wish *wish)
{
    struct pg_search *s = ctx;
    if (s->at == PG_DEPTH_MAX) {
        s->too_deep = true;
        return 0;
    }
    if (s->at == s->depth) {
        unsigned bits = MIN(wish->bits, s->width);
        if (wish->what == PG_IN_ARM)
            bits = 3; /* taken modulo the number of arms */
        else
            s->narrowed |= wish->bits > s->width;
        s->choice[s->depth].value = 0;
        s->choice[s->depth++].count = (uint64_t)1 << bits;
    }
    return s->choice[s->at++].value;
}

enum pg_exhausted pg_search_all(struct pg_search *s, const struct pg_ask *ask, unsigned width,
                                uint64_t tries, bool *complete)
{
    s->pair.ask = *ask;
    s->pair.draw = draw_next;
    s->pair.ctx = s;
    s->pair.memory_cells = s->spec->memory_cells;
    s->depth = 0;
    s->width = width;
    s->narrowed = false;
    s->too_deep = false;
    for (uint64_t i = 0; i < tries && !s->too_deep; i++) {
        s->at = 0;
        s->runs++;
        if (pg_pair_try(&s->pair) == PG_SHOWN)
            return PG_FOUND;
        s->depth = s->at; /* what a shorter run did not ask for is forgotten */
        while (s->depth && ++s->choice[s->depth - 1].value == s->choice[s->depth - 1].count)
            s->depth--;
        if (i % 256 == 255 && s->deadline_ns && os_now_ns() > s->deadline_ns)
            return PG_GAVE_UP;
        if (s->depth == 0) {
            *complete = !s->narrowed;
            return PG_ALL_TRIED;
        }
    }
    return PG_GAVE_UP;
}
