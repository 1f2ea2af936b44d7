/* Symbolic execution of one instruction: see symx.h. */
#include "engine/virtualizability/symx.h"

#include "engine/base/base.h"

#include <string.h>

struct set {
    struct pg_path *v[PG_PATHS_MAX];
    uint32_t n;
};

static term_t eval(struct pg_symx *x, struct pg_path *p, const struct pg_expr *e, term_t when);

static struct pg_path *new_path(struct pg_symx *x, const struct pg_path *from)
{
    struct pg_path *p = x->made < PG_PATHS_MAX ? arena_alloc(x->arena, sizeof *p) : NULL;
    if (!p) {
        x->overflow = true;
        return NULL;
    }
    x->made++;
    *p = *from;
    return p;
}

/* The condition holds on this path from here on. */
static void assume(struct pg_symx *x, struct pg_path *p, term_t c)
{
    struct pg_terms *z = x->z;
    c = pg_truth(z, c);
    if (pg_is_conjunction(z, c)) {
        term_t a = z->t[c].a, b = z->t[c].b;
        assume(x, p, a);
        assume(x, p, b);
        return;
    }
    term_t no = pg_not(z, c);
    if (pg_is_value(z, c, 0))
        p->dead = true;
    if (pg_is_const(z, c) || p->dead)
        return;
    for (uint32_t i = 0; i < p->cond_count; i++) {
        if (p->conds[i] == c)
            return;
        p->dead |= p->conds[i] == no;
    }
    if (p->dead)
        return;
    if (p->cond_count == PG_CONDS_MAX)
        x->overflow = true;
    else
        p->conds[p->cond_count++] = c;
}

/* 1, 0, or -1: the conditions so far do not say. */
static int known(const struct pg_symx *x, const struct pg_path *p, term_t c)
{
    const struct pg_terms *z = x->z;
    if (pg_is_const(z, c))
        return z->t[c].value != 0;
    for (uint32_t i = 0; i < p->cond_count; i++) {
        if (p->conds[i] == c)
            return 1;
        if (z->t[p->conds[i]].op == PG_E_NOT && z->t[p->conds[i]].a == c)
            return 0;
        if (z->t[c].op == PG_E_NOT && z->t[c].a == p->conds[i])
            return 0;
    }
    return -1;
}

static void finish(struct pg_symx *x, struct pg_path *p)
{
    if (!p->dead && !x->overflow)
        x->paths[x->path_count++] = p;
}

static void trap(struct pg_symx *x, struct pg_path *p, uint32_t kind)
{
    p->outcome = PG_TRAP;
    p->trap_kind = kind;
    finish(x, p);
}

/* `ok` must hold where `when` does, or a memory trap takes a path of its own. */
static void guard(struct pg_symx *x, struct pg_path *p, term_t ok, term_t when)
{
    if (known(x, p, ok) == 1)
        return;
    struct pg_path *t = new_path(x, p);
    if (!t)
        return;
    assume(x, t, when);
    assume(x, t, pg_not(x->z, ok));
    trap(x, t, 0);
    assume(x, p, pg_term2(x->z, PG_E_OR, pg_not(x->z, when), ok));
}

/* Address in the array that mem[a] is in; traps taken care of. */
static term_t relocate(struct pg_symx *x, struct pg_path *p, term_t a, term_t when)
{
    const struct pg_spec *s = x->spec;
    if (s->base < 0)
        return a;
    term_t l = p->state.reg[s->base], b = p->state.reg[s->bound];
    guard(x, p, pg_term2(x->z, PG_E_ULT, a, b), when);
    if (!x->fits)
        guard(x, p, pg_fits(x->z, a, l), when);
    return x->one_memory ? pg_term2(x->z, PG_E_ADD, a, l) : a;
}

static term_t reg_index(struct pg_symx *x, struct pg_path *p, const struct pg_reg *r,
                        const struct pg_expr *at, term_t when)
{
    return pg_term2(x->z, PG_E_REM, eval(x, p, at, when), pg_const(x->z, r->count));
}

static term_t eval_logic(struct pg_symx *x, struct pg_path *p, const struct pg_expr *e, term_t when)
{
    struct pg_terms *z = x->z;
    term_t a = pg_truth(z, eval(x, p, e->a, when));
    int k = known(x, p, a);
    if (e->op == PG_E_COND) {
        if (k >= 0)
            return eval(x, p, k ? e->b : e->c, when);
        term_t b = eval(x, p, e->b, pg_term2(z, PG_E_AND, when, a));
        term_t c = eval(x, p, e->c, pg_term2(z, PG_E_AND, when, pg_not(z, a)));
        return pg_cond(z, a, b, c);
    }
    bool or = e->op == PG_E_LOR;
    if (k >= 0 && (k == 1) == or)
        return pg_const(z, or);
    if (k >= 0)
        return pg_truth(z, eval(x, p, e->b, when));
    term_t then = pg_term2(z, PG_E_AND, when, or ? pg_not(z, a) : a);
    term_t b = pg_truth(z, eval(x, p, e->b, then));
    return pg_term2(z, or ? PG_E_OR : PG_E_AND, a, b);
}

static term_t eval_unary(struct pg_symx *x, const struct pg_expr *e, term_t a)
{
    struct pg_terms *z = x->z;
    switch (e->op) {
    case PG_E_NOT:
        return pg_not(z, pg_truth(z, a));
    case PG_E_COM:
        return pg_term2(z, PG_E_XOR, a, pg_const(z, UINT64_MAX));
    case PG_E_NEG:
        return pg_term2(z, PG_E_SUB, pg_const(z, 0), a);
    default: { /* sext */
        term_t k = pg_const(z, z->bits - e->value);
        return pg_term2(z, PG_E_SAR, pg_term2(z, PG_E_SHL, a, k), k);
    }
    }
}

static term_t eval_read(struct pg_symx *x, struct pg_path *p, const struct pg_expr *e, term_t when)
{
    const struct pg_reg *r;
    term_t a;
    switch (e->op) {
    case PG_E_REG:
        r = &x->spec->regs[e->index];
        if (!e->a)
            return p->state.reg[e->index];
        a = reg_index(x, p, r, e->a, when);
        return pg_select(x->z, p->state.reg[e->index], a);
    case PG_E_PHYS:
        a = eval(x, p, e->a, when);
        p->mixed |= p->mem_written;
        return pg_select(x->z, p->state.phys, a);
    default:
        a = relocate(x, p, eval(x, p, e->a, when), when);
        p->mixed |= p->phys_written;
        return pg_select(x->z, x->one_memory ? p->state.phys : p->state.mem, a);
    }
}

static term_t eval(struct pg_symx *x, struct pg_path *p, const struct pg_expr *e, term_t when)
{
    struct pg_terms *z = x->z;
    term_t a, b;
    if (z->full || x->overflow)
        return pg_const(z, 0);
    switch (e->op) {
    case PG_E_CONST:
        return pg_const(z, e->value);
    case PG_E_OPERAND:
        return x->operands[e->index];
    case PG_E_LOCAL:
        return p->locals[e->index];
    case PG_E_REG:
    case PG_E_MEM:
    case PG_E_PHYS:
        return eval_read(x, p, e, when);
    case PG_E_COND:
    case PG_E_LOR:
    case PG_E_LAND:
        return eval_logic(x, p, e, when);
    case PG_E_NOT:
    case PG_E_COM:
    case PG_E_NEG:
    case PG_E_SEXT:
        return eval_unary(x, e, eval(x, p, e->a, when));
    default:
        a = eval(x, p, e->a, when);
        b = eval(x, p, e->b, when);
        if (e->op == PG_E_NE)
            return pg_differ(z, a, b);
        if (e->op == PG_E_ULE)
            return pg_not(z, pg_term2(z, PG_E_ULT, b, a));
        if (e->op == PG_E_SLE)
            return pg_not(z, pg_term2(z, PG_E_SLT, b, a));
        return pg_term2(z, e->op, a, b);
    }
}

static void do_store(struct pg_symx *x, struct pg_path *p, const struct pg_stmt *s)
{
    struct pg_terms *z = x->z;
    term_t one = pg_const(z, 1), at = 0, v;
    const struct pg_reg *r = &x->spec->regs[s->kind == PG_S_REG ? s->index : 0];
    if (s->at)
        at = s->kind == PG_S_REG ? reg_index(x, p, r, s->at, one) : eval(x, p, s->at, one);
    v = eval(x, p, s->value, one);
    switch (s->kind) {
    case PG_S_LOCAL:
        p->locals[s->index] = v;
        return;
    case PG_S_REG:
        v = pg_trunc(z, v, r->bits);
        p->state.reg[s->index] = s->at ? pg_store(z, p->state.reg[s->index], at, v) : v;
        p->pc_written |= s->index == x->spec->pc;
        return;
    case PG_S_PHYS:
        p->state.phys = pg_store(z, p->state.phys, at, v);
        p->phys_written = true;
        p->mixed |= p->mem_written;
        return;
    default:
        at = relocate(x, p, at, one);
        p->mem_written = true;
        p->mixed |= p->phys_written;
        if (x->one_memory)
            p->state.phys = pg_store(z, p->state.phys, at, v);
        else
            p->state.mem = pg_store(z, p->state.mem, at, v);
    }
}

static void run_block(struct pg_symx *x, struct set *alive, const struct pg_stmt *s);

static void join(struct pg_symx *x, struct set *into, const struct set *more)
{
    for (uint32_t i = 0; i < more->n; i++) {
        if (into->n == PG_PATHS_MAX)
            x->overflow = true;
        else
            into->v[into->n++] = more->v[i];
    }
}

/* One path into the arms of an if. */
static void do_if(struct pg_symx *x, struct pg_path *p, const struct pg_stmt *s, struct set *out)
{
    struct set arm;
    term_t c = pg_truth(x->z, eval(x, p, s->value, pg_const(x->z, 1)));
    int k = known(x, p, c);
    for (int i = 0; i < 2; i++) {
        if (k == i) /* arm 0 is taken if it holds */
            continue;
        struct pg_path *q = k < 0 && i == 0 ? new_path(x, p) : p;
        if (!q)
            return;
        assume(x, q, i == 0 ? c : pg_not(x->z, c));
        arm.n = q->dead ? 0 : 1;
        arm.v[0] = q;
        run_block(x, &arm, s->arm[i]);
        join(x, out, &arm);
    }
}

static void do_choice(struct pg_symx *x, struct pg_path *p, const struct pg_stmt *s,
                      struct set *out)
{
    struct set arm;
    for (uint32_t i = 0; i < s->arm_count; i++) {
        if (p->arms[s->index] != PG_ARM_OPEN && p->arms[s->index] != i)
            continue;
        struct pg_path *q = new_path(x, p);
        if (!q)
            return;
        q->arms[s->index] = (uint8_t)i;
        arm.n = 1;
        arm.v[0] = q;
        run_block(x, &arm, s->arm[i]);
        join(x, out, &arm);
    }
}

static void run_block(struct pg_symx *x, struct set *alive, const struct pg_stmt *s)
{
    for (; s && alive->n && !x->overflow && !x->z->full; s = s->next) {
        struct set out;
        out.n = 0;
        for (uint32_t i = 0; i < alive->n && !x->overflow; i++) {
            struct pg_path *p = alive->v[i];
            if (s->kind == PG_S_IF) {
                do_if(x, p, s, &out);
            } else if (s->kind == PG_S_CHOICE) {
                do_choice(x, p, s, &out);
            } else if (s->kind == PG_S_TRAP) {
                trap(x, p, (uint32_t)s->index);
            } else {
                do_store(x, p, s);
                if (!p->dead)
                    out.v[out.n++] = p;
            }
        }
        memcpy(alive->v, out.v, out.n * sizeof *out.v);
        alive->n = out.n;
    }
}

void pg_symx_run(struct pg_symx *x, const struct pg_sym *init)
{
    const struct pg_spec *s = x->spec;
    struct pg_path first = {.state = *init, .outcome = PG_DONE};
    struct set alive = {.n = 1};
    x->path_count = x->made = 0;
    x->overflow = false;
    memset(first.arms, PG_ARM_OPEN, sizeof first.arms);
    for (uint32_t i = 0; i < PG_LOCALS_MAX; i++)
        first.locals[i] = pg_const(x->z, 0);
    if (!(alive.v[0] = new_path(x, &first))) {
        x->overflow = true;
        return;
    }
    run_block(x, &alive, x->insn->semantics);
    for (uint32_t i = 0; i < alive.n; i++) {
        struct pg_path *p = alive.v[i];
        if (s->pc >= 0 && !p->pc_written) {
            term_t sum =
                pg_term2(x->z, PG_E_ADD, p->state.reg[s->pc], pg_const(x->z, x->insn->length));
            p->state.reg[s->pc] = pg_trunc(x->z, sum, s->regs[s->pc].bits);
        }
        finish(x, p);
    }
    x->overflow |= x->z->full;
}

term_t pg_symx_value(struct pg_symx *x, const struct pg_sym *init, const struct pg_expr *e)
{
    struct pg_path p = {.state = *init, .outcome = PG_DONE};
    x->overflow = false;
    return eval(x, &p, e, pg_const(x->z, 1));
}
