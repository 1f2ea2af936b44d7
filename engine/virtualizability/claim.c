/* Questions as formulas over the paths of two copies: see claim.h. */
#include "engine/virtualizability/claim.h"

#include "engine/base/base.h"
#include "engine/base/os.h"

#include <string.h>

#define TERMS_MAX 1024u
#define ELEMENTS_MAX 64u /* arrays up to this are compared element by element */

struct terms {
    term_t v[TERMS_MAX];
    uint32_t n;
    bool overflow;
};

static void push(struct pg_claim *c, struct terms *l, term_t t)
{
    (void)c;
    if (l->n == TERMS_MAX)
        l->overflow = true;
    else
        l->v[l->n++] = t;
}

/* ---- the initial states ---- */

static term_t initial_reg(struct pg_claim *c, unsigned copy, uint32_t reg)
{
    const struct pg_spec *s = c->ask.spec;
    const struct pg_reg *r = &s->regs[reg];
    if (r->role == PG_ROLE_MODE)
        return pg_const(c->z, c->ask.mode[copy]);
    unsigned owner = copy;
    int partner = copy ? pg_partner(&c->ask, copy, r->first_cell) : -1;
    if (partner >= 0) {
        owner = 0;
        reg = s->cell_reg[partner];
    }
    if (r->array)
        return pg_array(c->z, pg_var_name(PG_V_REGS, owner, reg), r->bits, r->count);
    return pg_var(c->z, pg_var_name(PG_V_CELL, owner, reg), r->bits);
}

static void initial_state(struct pg_claim *c, struct pg_symx *x, unsigned copy)
{
    const struct pg_spec *s = c->ask.spec;
    struct pg_sym *init = &c->init[copy];
    int q = c->ask.question;
    for (uint32_t i = 0; i < s->reg_count; i++)
        init->reg[i] = initial_reg(c, copy, i);
    bool own =
        s->base >= 0 ? q == PG_Q_LOCATION || q == PG_Q_HOLE : q == PG_Q_RESOURCE || q == PG_Q_HOLE;
    init->mem = pg_array(c->z, pg_var_name(PG_V_MEM, 0, 0), s->word_bits, 0);
    init->phys = pg_array(c->z, pg_var_name(PG_V_PHYS, own ? copy : 0, 0), s->word_bits, 0);
    for (uint32_t i = 0; i < s->reg_count; i++) {
        const struct pg_expr *e = pg_const_cell(&c->ask, copy, s->regs[i].first_cell);
        if (e && !s->regs[i].array)
            init->reg[i] = pg_trunc(c->z, pg_symx_value(x, init, e), s->regs[i].bits);
    }
}

/* What is known of the initial states. */
static void assumptions(struct pg_claim *c, struct pg_symx *x, struct terms *out)
{
    const struct pg_spec *s = c->ask.spec;
    for (unsigned copy = 0; copy < pg_ask_sides(&c->ask); copy++) {
        for (uint32_t i = 0; i < s->invariant_count; i++)
            push(c, out, pg_truth(c->z, pg_symx_value(x, &c->init[copy], s->invariant[i].expr)));
        for (uint32_t i = 0; i < s->vmm_config_count && pg_configured(&c->ask, copy); i++)
            push(c, out, pg_truth(c->z, pg_symx_value(x, &c->init[copy], s->vmm_config[i].expr)));
    }
    if (c->ask.question == PG_Q_HOLE && s->base >= 0) {
        /* l' = l + k; l + b does not leave the memory. */
        term_t l = c->init[0].reg[s->base], b = c->init[0].reg[s->bound];
        term_t room = pg_term2(c->z, PG_E_SUB, pg_const(c->z, 0), l);
        push(c, out, pg_not(c->z, pg_term2(c->z, PG_E_ULT, c->init[1].reg[s->base], l)));
        push(c, out,
             pg_term2(c->z, PG_E_OR, pg_term2(c->z, PG_E_EQ, l, pg_const(c->z, 0)),
                      pg_not(c->z, pg_term2(c->z, PG_E_ULT, room, b))));
    }
    if (c->ask.question == PG_Q_LOCATION)
        push(c, out, pg_differ(c->z, c->init[0].reg[s->base], c->init[1].reg[s->base]));
}

/* ---- differences ---- */

static uint32_t chain_length(const struct pg_terms *z, term_t a, term_t *base)
{
    uint32_t n = 0;
    for (; z->t[a].op == PG_K_STORE; a = z->t[a].a)
        n++;
    *base = a;
    return n;
}

/* Terms of which one is true if the arrays differ. */
static void array_differ(struct pg_claim *c, term_t a, term_t b, struct terms *out)
{
    struct pg_terms *z = c->z;
    term_t base_a, base_b;
    if (a == b)
        return;
    uint32_t n = chain_length(z, a, &base_a), m = chain_length(z, b, &base_b);
    uint32_t count = z->t[base_a].c;
    if (count && count <= ELEMENTS_MAX) {
        for (uint32_t i = 0; i < count; i++) {
            term_t k = pg_const(z, i);
            push(c, out, pg_differ(z, pg_select(z, a, k), pg_select(z, b, k)));
        }
    } else if (base_a == base_b && n == m) {
        for (; z->t[a].op == PG_K_STORE; a = z->t[a].a, b = z->t[b].a) {
            push(c, out, pg_differ(z, z->t[a].b, z->t[b].b));
            push(c, out, pg_differ(z, z->t[a].c, z->t[b].c));
        }
    } else if (base_a == base_b && n + m == 1) {
        term_t store = n ? a : b;
        push(c, out, pg_differ(z, z->t[store].c, pg_select(z, z->t[store].a, z->t[store].b)));
    } else {
        push(c, out, pg_unknown(z));
    }
}

static void reg_differ(struct pg_claim *c, uint32_t reg, term_t a, term_t b, struct terms *out)
{
    if (c->ask.spec->regs[reg].array)
        array_differ(c, a, b, out);
    else if (a != b)
        push(c, out, pg_differ(c->z, a, b));
}

static bool mode_is_result(const struct pg_claim *c)
{
    return c->ask.question == PG_Q_HOLE && pg_mode_is_carried(c->ask.spec);
}

/* Mode, relocation and, if wanted, the machine's own resources, against their values before. */
static void changed(struct pg_claim *c, unsigned copy, const struct pg_path *p, bool resources,
                    struct terms *out)
{
    const struct pg_spec *s = c->ask.spec;
    for (uint32_t i = 0; i < s->reg_count; i++) {
        const struct pg_reg *r = &s->regs[i];
        bool mine = r->role == PG_ROLE_BASE || r->role == PG_ROLE_BOUND ||
                    (r->role == PG_ROLE_MODE && !mode_is_result(c));
        if (!mine && resources)
            mine = pg_is_resource(r) && pg_guest_cell(&c->ask, copy, r->first_cell) < 0;
        if (mine)
            reg_differ(c, i, c->init[copy].reg[i], p->state.reg[i], out);
    }
    if (!resources)
        return;
    if (s->base < 0)
        array_differ(c, c->init[copy].phys, p->state.phys, out);
    else if (p->phys_written)
        push(c, out, pg_unknown(c->z));
}

/* Each must not have changed: what can be said of it is put into the base. */
static void unchanged(struct pg_claim *c, unsigned copy, const struct pg_path *p, bool resources,
                      struct terms *base)
{
    struct terms d;
    d.n = 0;
    d.overflow = false;
    changed(c, copy, p, resources, &d);
    for (uint32_t i = 0; i < d.n; i++) {
        struct pg_term t = c->z->t[d.v[i]];
        bool unknown = t.op == PG_K_VAR && t.value >> 40 == PG_V_UNKNOWN;
        if (!unknown)
            push(c, base, pg_not(c->z, d.v[i]));
    }
}

/* The real mode is not the one that the virtual mode runs in. */
static void modes_differ(struct pg_claim *c, term_t m, term_t real, struct terms *out)
{
    const struct pg_spec *s = c->ask.spec;
    term_t want = pg_const(c->z, UINT64_MAX);
    for (uint32_t v = 0; v < s->mode_count; v++)
        if (s->virtual_modes >> v & 1)
            want = pg_cond(c->z, pg_term2(c->z, PG_E_EQ, m, pg_const(c->z, v)),
                           pg_const(c->z, (uint64_t)s->deprivilege[v]), want);
    push(c, out, pg_differ(c->z, want, real));
}

static void results_differ(struct pg_claim *c, const struct pg_path *p, const struct pg_path *q,
                           struct terms *out)
{
    const struct pg_spec *s = c->ask.spec;
    for (uint32_t i = 0; i < s->reg_count; i++) {
        uint32_t cell = s->regs[i].first_cell;
        if (pg_guest_cell(&c->ask, 0, cell) < 0)
            continue;
        int other = pg_partner(&c->ask, 0, cell);
        uint32_t j = s->cell_reg[other];
        reg_differ(c, i, p->state.reg[i], q->state.reg[j], out);
    }
    if (mode_is_result(c))
        modes_differ(c, p->state.reg[s->mode], q->state.reg[s->mode], out);
    if (!c->one_memory)
        array_differ(c, p->state.mem, q->state.mem, out);
    if (s->base < 0)
        return; /* phys[] is a resource */
    if (c->init[0].phys == c->init[1].phys)
        array_differ(c, p->state.phys, q->state.phys, out);
    else if (p->state.phys != c->init[0].phys || q->state.phys != c->init[1].phys)
        push(c, out, pg_unknown(c->z));
}

/* ---- cases ---- */

static term_t *keep(struct pg_claim *c, const struct terms *l)
{
    term_t *v = arena_alloc(c->arena, (l->n + 1) * sizeof *v);
    if (!v || l->overflow)
        c->overflow = true;
    else
        memcpy(v, l->v, l->n * sizeof *v);
    return v;
}

static bool contradicts(const struct pg_terms *z, const struct terms *l, uint32_t i)
{
    const struct pg_term *t = &z->t[l->v[i]];
    for (uint32_t j = 0; t->op == PG_E_NOT && j < l->n; j++)
        if (l->v[j] == t->a)
            return true;
    return false;
}

static void add_case(struct pg_claim *c, const struct terms *base, const struct terms *diffs,
                     const struct pg_path *p, const struct pg_path *q)
{
    struct pg_case *k = arena_zalloc(c->arena, sizeof *k);
    if (!k) {
        c->overflow = true;
        return;
    }
    for (uint32_t i = 0; i < base->n; i++)
        if (pg_is_value(c->z, base->v[i], 0) || contradicts(c->z, base, i))
            return;
    k->base = keep(c, base);
    k->base_count = base->n;
    k->any = !diffs;
    memcpy(k->arms[0], p->arms, sizeof p->arms);
    memcpy(k->arms[1], q->arms, sizeof q->arms);
    if (diffs) {
        k->diffs = keep(c, diffs);
        k->diff_count = diffs->n;
    }
    k->next = c->cases;
    c->cases = k;
}

static void add_conds(struct pg_claim *c, struct terms *base, const struct pg_path *p)
{
    for (uint32_t i = 0; i < p->cond_count; i++)
        push(c, base, p->conds[i]);
}

static bool arms_agree(const struct pg_insn *insn, const struct pg_path *p, const struct pg_path *q)
{
    for (uint32_t i = 0; i < insn->choice_count; i++)
        if (insn->choice_same[i] && p->arms[i] != PG_ARM_OPEN && q->arms[i] != PG_ARM_OPEN &&
            p->arms[i] != q->arms[i])
            return false;
    return true;
}

static void case_of_one(struct pg_claim *c, const struct terms *assumed, const struct pg_path *p)
{
    struct terms base = *assumed, diffs;
    diffs.n = 0;
    diffs.overflow = false;
    if (p->outcome != PG_DONE)
        return;
    add_conds(c, &base, p);
    if (c->ask.question == PG_Q_CONTROL)
        changed(c, 0, p, true, &diffs);
    add_case(c, &base, c->ask.question == PG_Q_CONTROL ? &diffs : NULL, p, p);
}

static bool is_excluded(const struct pg_claim *c, const struct pg_path *p)
{
    return p->outcome == PG_TRAP && pg_trap_excluded(c->ask.spec, p->trap_kind);
}

/* One needs what the other excludes: most pairs of paths that branch on what both copies share. */
static bool exclude_each_other(const struct pg_terms *z, const struct pg_path *p,
                               const struct pg_path *q)
{
    for (uint32_t i = 0; i < p->cond_count; i++)
        for (uint32_t j = 0; j < q->cond_count; j++) {
            const struct pg_term *a = &z->t[p->conds[i]], *b = &z->t[q->conds[j]];
            if ((a->op == PG_E_NOT && a->a == q->conds[j]) ||
                (b->op == PG_E_NOT && b->a == p->conds[i]))
                return true;
        }
    return false;
}

static void case_of_two(struct pg_claim *c, const struct terms *assumed, const struct pg_path *p,
                        const struct pg_path *q)
{
    struct terms base, diffs;
    bool done = p->outcome == PG_DONE && q->outcome == PG_DONE;
    int question = c->ask.question;
    if (!arms_agree(c->ask.insn, p, q) || exclude_each_other(c->z, p, q))
        return;
    diffs.n = base.n = 0;
    diffs.overflow = base.overflow = false;
    for (uint32_t i = 0; i < assumed->n; i++)
        push(c, &base, assumed->v[i]);
    add_conds(c, &base, p);
    add_conds(c, &base, q);
    if (question == PG_Q_PRIVILEGED || question == PG_Q_SHOWS) {
        bool shows = p->outcome == PG_DONE && q->outcome == PG_TRAP;
        if (!is_excluded(c, p) && !is_excluded(c, q) && shows == (question == PG_Q_SHOWS))
            add_case(c, &base, NULL, p, q);
        return;
    }
    if (question == PG_Q_HOLE) {
        if (q->outcome != PG_DONE)
            return;
        if (p->outcome == PG_TRAP) {
            add_case(c, &base, NULL, p, q);
            return;
        }
        changed(c, 0, p, true, &diffs);
        changed(c, 1, q, true, &diffs);
    } else {
        if (!done)
            return;
        unchanged(c, 0, p, question == PG_Q_RESOURCE, &base);
        unchanged(c, 1, q, question == PG_Q_RESOURCE, &base);
    }
    results_differ(c, p, q, &diffs);
    add_case(c, &base, &diffs, p, q);
}

/* The paths of both copies. False: too many. */
static bool run_copies(struct pg_claim *c, struct pg_symx x[2])
{
    bool mixed = false;
    for (unsigned k = 0; k < pg_ask_sides(&c->ask); k++) {
        x[k].z = c->z;
        x[k].spec = c->ask.spec;
        x[k].insn = c->ask.insn;
        x[k].operands = c->operands;
        x[k].one_memory = c->one_memory;
        x[k].fits = c->ask.question == PG_Q_HOLE;
        x[k].arena = c->arena;
        x[k].made = 0;
        x[k].overflow = false;
        initial_state(c, &x[k], k);
        pg_symx_run(&x[k], &c->init[k]);
        if (x[k].overflow)
            return false;
        for (uint32_t i = 0; i < x[k].path_count; i++)
            mixed |= x[k].paths[i]->mixed;
    }
    if (!mixed || c->ask.spec->base < 0 || c->one_memory)
        return true;
    c->one_memory = true; /* mem[a] and phys[b] may be one cell, and that matters */
    return run_copies(c, x);
}

void pg_claim_build(struct pg_claim *c)
{
    struct pg_symx x[2];
    struct terms assumed;
    uint32_t sides = pg_ask_sides(&c->ask);
    assumed.n = 0;
    assumed.overflow = false;
    c->cases = NULL;
    c->one_memory = false;
    for (uint32_t i = 0; i < c->ask.insn->operand_count; i++)
        c->operands[i] =
            pg_var(c->z, pg_var_name(PG_V_OPERAND, 0, i), c->ask.insn->operands[i].bits);
    c->overflow = !run_copies(c, x);
    if (c->overflow)
        return;
    assumptions(c, &x[0], &assumed);
    c->assumed = keep(c, &assumed);
    c->assumed_count = assumed.n;
    for (uint32_t i = 0; i < x[0].path_count && !c->overflow; i++) {
        if (c->deadline_ns && os_now_ns() > c->deadline_ns)
            c->overflow = true;
        if (sides == 1)
            case_of_one(c, &assumed, x[0].paths[i]);
        for (uint32_t j = 0; sides == 2 && j < x[1].path_count; j++)
            case_of_two(c, &assumed, x[0].paths[i], x[1].paths[j]);
    }
    c->overflow |= c->z->full;
}
