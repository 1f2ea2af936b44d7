/* Claims as SMT-LIB 2, and models read back: see smt.h. The child process is in smt_z3.c. */
#include "engine/virtualizability/smt.h"

#include "engine/base/base.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const question_names[] = {"privileged", "control", "location", "mode",
                                             "resource",   "hole",    "done",     "shows"};

/* ---- writing ---- */

static void put_const(struct buf *b, unsigned bits, uint64_t v)
{
    buf_printf(b, "(_ bv%llu %u)", (unsigned long long)v, bits);
}

static void put_truth(struct buf *b, unsigned bits, const char *relation, term_t x, term_t y)
{
    buf_printf(b, "(ite (%s t%u t%u) (_ bv1 %u) (_ bv0 %u))", relation, x, y, bits, bits);
}

static void put_body(struct buf *b, const struct pg_terms *z, term_t t, uint64_t last_cell)
{
    const struct pg_term *k = &z->t[t];
    unsigned bits = z->bits;
    static const char *const ops[] = {
        [PG_E_OR] = "bvor",    [PG_E_XOR] = "bvxor",  [PG_E_AND] = "bvand", [PG_E_SHL] = "bvshl",
        [PG_E_SHR] = "bvlshr", [PG_E_SAR] = "bvashr", [PG_E_ADD] = "bvadd", [PG_E_SUB] = "bvsub",
        [PG_E_MUL] = "bvmul",  [PG_E_DIV] = "bvudiv", [PG_E_REM] = "bvurem"};
    switch (k->op) {
    case PG_K_CONST:
        put_const(b, bits, k->value);
        return;
    case PG_K_VAR:
        buf_printf(b, "(bvand v%u ", t);
        put_const(b, bits, k->ones);
        buf_printf(b, ")");
        return;
    case PG_K_SELECT:
        buf_printf(b, "(bvand (select t%u t%u) ", k->a, k->b);
        put_const(b, bits, k->ones);
        buf_printf(b, ")");
        return;
    case PG_E_NOT:
        buf_printf(b, "(bvxor t%u (_ bv1 %u))", k->a, bits);
        return;
    case PG_E_COND:
        buf_printf(b, "(ite (= t%u (_ bv0 %u)) t%u t%u)", k->a, bits, k->c, k->b);
        return;
    case PG_K_FITS:
        buf_printf(b, "(ite (and (bvuge (bvadd t%u t%u) t%u) (bvule (bvadd t%u t%u) ", k->a, k->b,
                   k->a, k->a, k->b);
        put_const(b, bits, last_cell);
        buf_printf(b, ")) (_ bv1 %u) (_ bv0 %u))", bits, bits);
        return;
    case PG_E_EQ:
        put_truth(b, bits, "=", k->a, k->b);
        return;
    case PG_E_ULT:
        put_truth(b, bits, "bvult", k->a, k->b);
        return;
    case PG_E_SLT:
        put_truth(b, bits, "bvslt", k->a, k->b);
        return;
    default:
        buf_printf(b, "(%s t%u t%u)", ops[k->op], k->a, k->b);
    }
}

/* Definitions of t and of what it is made of, each once. */
static void put_term(struct buf *b, const struct pg_claim *c, term_t t, uint8_t *done)
{
    const struct pg_terms *z = c->z;
    uint64_t q = c->ask.spec->memory_cells;
    const struct pg_term *k = &z->t[t];
    unsigned bits = z->bits;
    if (done[t])
        return;
    done[t] = 1;
    if (k->op == PG_K_ARRAY) {
        buf_printf(b, "(declare-const t%u (Array (_ BitVec %u) (_ BitVec %u)))\n", t, bits, bits);
        return;
    }
    if (k->op == PG_K_VAR) {
        buf_printf(b, "(declare-const v%u (_ BitVec %u))\n", t, bits);
    } else if (k->op != PG_K_CONST) {
        put_term(b, c, k->a, done);
        if (k->op != PG_E_NOT)
            put_term(b, c, k->b, done);
        if (k->op == PG_E_COND)
            put_term(b, c, k->c, done);
    }
    buf_printf(b, "(define-fun t%u () (_ BitVec %u) ", t, bits);
    put_body(b, z, t, q ? q - 1 : pg_mask(bits));
    buf_printf(b, ")\n");
}

static void put_case(struct buf *b, unsigned bits, const struct pg_case *k, unsigned number)
{
    buf_printf(b, "(define-fun case%u () Bool (and true", number);
    for (uint32_t i = 0; i < k->base_count; i++)
        buf_printf(b, " (= t%u (_ bv1 %u))", k->base[i], bits);
    if (!k->any) {
        buf_printf(b, " (or false");
        for (uint32_t i = 0; i < k->diff_count; i++)
            buf_printf(b, " (= t%u (_ bv1 %u))", k->diffs[i], bits);
        buf_printf(b, ")");
    }
    buf_printf(b, "))\n");
}

static const char *var_comment(const struct pg_claim *c, const struct pg_term *k, char *out,
                               size_t cap)
{
    const struct pg_spec *s = c->ask.spec;
    uint32_t i = (uint32_t)k->value;
    unsigned copy = k->value >> 32 & 0xff;
    switch (k->value >> 40) {
    case PG_V_CELL:
    case PG_V_REGS:
        snprintf(out, cap, "%s%s", s->regs[i].name, copy ? " of side 1" : "");
        break;
    case PG_V_OPERAND:
        snprintf(out, cap, "operand %s", c->ask.insn->operands[i].name);
        break;
    case PG_V_UNKNOWN:
        snprintf(out, cap, "unknown");
        break;
    default:
        snprintf(out, cap, "memory%s", copy ? " of side 1" : "");
    }
    return out;
}

static void put_values(const struct pg_claim *c, struct buf *b, const uint8_t *done)
{
    const struct pg_terms *z = c->z;
    unsigned n = 0;
    buf_printf(b, "(get-value (");
    for (term_t t = 0; t < z->count; t++) {
        if (!done[t])
            continue;
        if (z->t[t].op == PG_K_VAR || z->t[t].op == PG_K_SELECT)
            buf_printf(b, " t%u", t);
        if (z->t[t].op == PG_K_SELECT)
            buf_printf(b, " t%u", z->t[t].b);
    }
    for (const struct pg_case *k = c->cases; k; k = k->next)
        buf_printf(b, " case%u", n++);
    buf_printf(b, "))\n");
}

void pg_smt_text(const struct pg_claim *c, bool values, struct buf *out)
{
    const struct pg_terms *z = c->z;
    CLEANUP(free_ptr) uint8_t *done = calloc(z->count + 1, 1);
    unsigned n = 0;
    char text[100];
    if (!done) {
        out->failed = true;
        return;
    }
    buf_printf(out, "; %s, %s: %s, modes %s", c->ask.spec->isa, c->ask.insn->name,
               question_names[c->ask.question], c->ask.spec->modes[c->ask.mode[0]]);
    buf_printf(out, " %s\n; unsat: the answer is no\n(set-logic QF_ABV)\n",
               c->ask.spec->modes[c->ask.mode[1]]);
    if (values)
        buf_printf(out, "(set-option :produce-models true)\n");
    for (const struct pg_case *k = c->cases; k; k = k->next) {
        for (uint32_t i = 0; i < k->base_count; i++)
            put_term(out, c, k->base[i], done);
        for (uint32_t i = 0; i < k->diff_count; i++)
            put_term(out, c, k->diffs[i], done);
        put_case(out, z->bits, k, n++);
    }
    for (term_t t = 0; t < z->count; t++)
        if (done[t] && (z->t[t].op == PG_K_VAR || z->t[t].op == PG_K_ARRAY))
            buf_printf(out, "; %c%u is %s\n", z->t[t].op == PG_K_VAR ? 'v' : 't', t,
                       var_comment(c, &z->t[t], text, sizeof text));
    buf_printf(out, "(assert (or false");
    for (unsigned i = 0; i < n; i++)
        buf_printf(out, " case%u", i);
    buf_printf(out, "))\n(check-sat)\n");
    if (values && n)
        put_values(c, out, done);
}

res_t pg_smt_emit(const struct pg_claim *c, const char *folder, struct err *err)
{
    CLEANUP(buf_fini) struct buf b = {0};
    char name[100], path[4096];
    const char *s = c->ask.insn->name;
    size_t n = 0;
    for (; *s && n < sizeof name - 1; s++)
        name[n++] = isalnum((unsigned char)*s) ? *s : '_';
    name[n] = 0;
    snprintf(path, sizeof path, "%s/%s-%u-%s-%u-%u.smt2", folder, name,
             (unsigned)(c->ask.insn - c->ask.spec->insns), question_names[c->ask.question],
             c->ask.mode[0], c->ask.mode[1]);
    pg_smt_text(c, false, &b);
    if (b.failed)
        return err_set(err, ERR_NO_MEMORY, "no memory for %s", path);
    FILE *f = fopen(path, "w");
    if (!f)
        return err_set_os(err, "%s", path);
    bool written = fwrite(b.data, 1, b.len, f) == b.len;
    int saved = errno;
    if ((fclose(f) != 0 && (saved = errno, true)) || !written) {
        errno = saved;
        return err_set_os(err, "%s", path);
    }
    return OK;
}

/* ---- reading a model ---- */

/* "(t12 #x0f)" or "(case3 true)" somewhere in the answer. False: not there. */
static bool value_of(const struct buf *answer, const char *name, uint64_t *out)
{
    char key[40];
    int n = snprintf(key, sizeof key, "(%s ", name);
    const char *at = memmem(answer->data, answer->len, key, (size_t)n);
    const char *end = (const char *)answer->data + answer->len;
    if (!at)
        return false;
    at += n;
    if (end - at > 4 && !memcmp(at, "true", 4)) {
        *out = 1;
        return true;
    }
    if (end - at < 3 || at[0] != '#') {
        *out = 0;
        return true;
    }
    unsigned shift = at[1] == 'x' ? 4 : 1;
    uint64_t v = 0;
    for (at += 2; at < end && isxdigit((unsigned char)*at); at++)
        v = v << shift |
            (uint64_t)(isdigit((unsigned char)*at) ? *at - '0' : (*at | 32) - 'a' + 10);
    *out = v;
    return true;
}

static uint64_t term_value(const struct buf *answer, term_t t)
{
    char name[24];
    uint64_t v = 0;
    snprintf(name, sizeof name, "t%u", t);
    return value_of(answer, name, &v) ? v : 0;
}

/* What the term's variable or element is, into the states. Owner 0 is everybody's that has it as partner. */
static void put_cell(struct pg_pair *p, unsigned owner, uint32_t cell, uint64_t v)
{
    const struct pg_ask *a = &p->ask;
    for (unsigned c = 0; c < pg_ask_sides(a); c++)
        for (uint32_t i = 0; i < a->spec->cell_count; i++) {
            int partner = c ? pg_partner(a, c, i) : -1;
            bool mine = c == 0         ? owner == 0 && i == cell
                        : partner >= 0 ? owner == 0 && (uint32_t)partner == cell
                                       : owner == 1 && i == cell;
            if (mine)
                p->before[c].cells[i] = v;
        }
}

static void put_memory(struct pg_pair *p, const struct pg_term *array, uint64_t index, uint64_t v)
{
    const struct pg_spec *s = p->ask.spec;
    bool phys = array->value >> 40 == PG_V_PHYS;
    unsigned owner = array->value >> 32 & 0xff;
    for (unsigned c = 0; c < pg_ask_sides(&p->ask); c++) {
        uint64_t at = index;
        if (phys && owner == 1 && c == 0)
            continue;
        if (!phys && s->base >= 0)
            at += p->before[c].cells[s->regs[s->base].first_cell];
        (void)!pg_mem_set(&p->before[c], phys || s->base >= 0 ? PG_PHYS : PG_MAPPED, at, v);
    }
}

static void modes_and_constants(struct pg_pair *p)
{
    const struct pg_spec *s = p->ask.spec;
    for (unsigned c = 0; c < 2; c++) {
        p->before[c].cells[s->regs[s->mode].first_cell] = p->ask.mode[c];
        for (uint32_t i = 0; i < s->cell_count; i++) {
            const struct pg_expr *e = pg_const_cell(&p->ask, c, i);
            if (e)
                p->before[c].cells[i] =
                    pg_eval(s, e, &p->before[c]) & pg_mask(pg_spec_cell_reg(s, i)->bits);
        }
    }
}

static void take_arms(const struct pg_claim *c, const struct buf *answer, struct pg_pair *p)
{
    unsigned n = 0;
    for (const struct pg_case *k = c->cases; k; k = k->next, n++) {
        char name[24];
        uint64_t v = 0;
        snprintf(name, sizeof name, "case%u", n);
        if (!value_of(answer, name, &v) || !v)
            continue;
        for (unsigned i = 0; i < PG_CHOICES_MAX; i++)
            for (unsigned side = 0; side < 2; side++)
                p->x[side].arms[i] = k->arms[side][i] == PG_ARM_OPEN ? 0 : k->arms[side][i];
        return;
    }
}

bool pg_smt_model(const struct pg_claim *c, const struct buf *answer, struct pg_pair *p)
{
    const struct pg_terms *z = c->z;
    const struct pg_spec *s = c->ask.spec;
    memset(p->before, 0, sizeof p->before);
    memset(p->x, 0, sizeof p->x);
    p->ask = c->ask;
    p->memory_cells = c->ask.spec->memory_cells;
    for (term_t t = 0; t < z->count; t++) {
        const struct pg_term *k = &z->t[t];
        unsigned owner = k->value >> 32 & 0xff;
        uint32_t i = (uint32_t)k->value;
        uint64_t v = k->op == PG_K_VAR ? term_value(answer, t) & k->ones : 0;
        if (k->op == PG_K_VAR && k->value >> 40 == PG_V_CELL)
            put_cell(p, owner, s->regs[i].first_cell, v);
        if (k->op == PG_K_VAR && k->value >> 40 == PG_V_OPERAND)
            p->x[0].operands[i] = p->x[1].operands[i] = v;
    }
    modes_and_constants(p);
    for (term_t t = 0; t < z->count; t++) {
        const struct pg_term *k = &z->t[t];
        if (k->op != PG_K_SELECT || z->t[k->a].op != PG_K_ARRAY)
            continue;
        const struct pg_term *array = &z->t[k->a];
        uint64_t index = term_value(answer, k->b), v = term_value(answer, t);
        if (array->value >> 40 != PG_V_REGS) {
            put_memory(p, array, index, v);
            continue;
        }
        const struct pg_reg *r = &s->regs[(uint32_t)array->value];
        put_cell(p, array->value >> 32 & 0xff, r->first_cell + (uint32_t)(index % r->count), v);
    }
    if (c->ask.question == PG_Q_HOLE && s->base >= 0) {
        uint32_t l = s->regs[s->base].first_cell, b = s->regs[s->bound].first_cell;
        p->k = p->before[1].cells[l] - p->before[0].cells[l];
        p->w = p->before[0].cells[l] + p->before[0].cells[b];
    }
    take_arms(c, answer, p);
    return pg_pair_check(p) == PG_SHOWN;
}
