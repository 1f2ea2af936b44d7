/* From a pair that shows something to a witness that people can read, and back. See search.h, analysis.h. */
#include "engine/base/base.h"
#include "engine/virtualizability/search.h"

#include <string.h>

/* Values that say more than random ones. */
static const uint64_t plain[] = {0, 1, 2, 3, 4, 8, 16};

static bool still(struct pg_pair *p)
{
    return pg_pair_check(p) == PG_SHOWN;
}

/* Gives the cell a plain value, and what has the same value too. */
static void simplify_cell(struct pg_pair *p, unsigned copy, uint32_t cell)
{
    const struct pg_reg *r = pg_spec_cell_reg(p->ask.spec, cell);
    bool hole = p->ask.question == PG_Q_HOLE;
    if (r->role == PG_ROLE_MODE || (hole && (r->role == PG_ROLE_BASE || r->role == PG_ROLE_BOUND)))
        return;
    int partner = pg_partner(&p->ask, copy, cell);
    uint64_t old = p->before[copy].cells[cell];
    for (size_t i = 0; i < ARRAY_LEN(plain) && plain[i] < old; i++) {
        p->before[copy].cells[cell] = plain[i];
        if (partner >= 0)
            p->before[1 - copy].cells[partner] = plain[i];
        if (still(p))
            return;
    }
    p->before[copy].cells[cell] = old;
    if (partner >= 0)
        p->before[1 - copy].cells[partner] = old;
}

static void simplify_operand(struct pg_pair *p, uint32_t i)
{
    uint64_t old = p->x[0].operands[i];
    for (size_t k = 0; k < ARRAY_LEN(plain) && plain[k] < old; k++) {
        p->x[0].operands[i] = p->x[1].operands[i] = plain[k];
        if (still(p))
            return;
    }
    p->x[0].operands[i] = p->x[1].operands[i] = old;
}

/* Only the values: where a cell lies in both memories is the pair's business. */
static void simplify_memory(struct pg_pair *p, unsigned copy, uint32_t i)
{
    struct pg_mem_cell *m = &p->before[copy].mem[i];
    uint64_t old = m->value;
    for (size_t k = 0; k < ARRAY_LEN(plain) && plain[k] < old; k++) {
        struct pg_state other = p->before[1 - copy];
        m->value = plain[k];
        for (uint32_t j = 0; j < other.mem_count; j++)
            if (other.mem[j].value == old && other.mem[j].space == m->space)
                p->before[1 - copy].mem[j].value = plain[k];
        if (still(p))
            return;
        p->before[1 - copy] = other;
        m = &p->before[copy].mem[i];
        m->value = old;
    }
}

/* A smaller guest at a lower place, if the memory's contents do not matter. */
static void simplify_placement(struct pg_pair *p)
{
    static const uint8_t tries[][3] = {/* l, b, k */ {0, 1, 1},
                                       {0, 2, 2},
                                       {0, 4, 4},
                                       {0, 8, 8},
                                       {2, 2, 2},
                                       {2, 4, 8},
                                       {0, 16, 16},
                                       {4, 16, 16}};
    const struct pg_spec *s = p->ask.spec;
    const struct pg_pair old = *p;
    uint32_t l = s->regs[s->base].first_cell, b = s->regs[s->bound].first_cell;
    for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
        p->w = (uint64_t)tries[i][0] + tries[i][1];
        p->k = tries[i][2];
        for (unsigned c = 0; c < 2; c++) {
            p->before[c].mem_count = 0;
            p->before[c].cells[l] = tries[i][0] + (c ? p->k : 0);
            p->before[c].cells[b] = tries[i][1];
        }
        if (still(p))
            return;
        *p = old;
    }
}

static void simplify(struct pg_pair *p, const uint8_t *touched)
{
    if (p->ask.question == PG_Q_HOLE && p->ask.spec->base >= 0)
        simplify_placement(p);
    for (int round = 0; round < 2; round++) {
        for (unsigned c = 0; c < pg_ask_sides(&p->ask); c++) {
            for (uint32_t i = 0; i < p->ask.spec->cell_count; i++)
                if (touched[i] && p->before[c].cells[i])
                    simplify_cell(p, c, i);
            for (uint32_t i = 0; i < p->before[c].mem_count; i++)
                if (p->before[c].mem[i].value)
                    simplify_memory(p, c, i);
        }
        for (uint32_t i = 0; i < p->ask.insn->operand_count; i++)
            simplify_operand(p, i);
    }
}

static const char *label_of(const struct pg_ask *a, unsigned side)
{
    const struct pg_spec *s = a->spec;
    uint32_t bit = 1u << a->mode[side];
    if (a->question == PG_Q_HOLE)
        return side ? "real machine under the VMM" : "bare machine";
    if (s->supervisor & bit)
        return "supervisor mode";
    return s->user & bit ? "user mode" : "mode";
}

static bool take_sides(struct pg_pair *p, struct pg_witness *w)
{
    for (unsigned c = 0; c < w->side_count; c++) {
        struct pg_side *side = &w->side[c];
        struct pg_run run = {.memory_cells = p->x[c].memory_cells};
        memcpy(run.operands, p->x[c].operands, sizeof run.operands);
        memcpy(run.arms, p->x[c].arms, sizeof run.arms);
        side->label = label_of(&p->ask, c);
        side->mode = p->ask.mode[c];
        side->before = p->before[c];
        side->outcome = pg_run(p->ask.spec, p->ask.insn, &side->before, &side->after, &run);
        side->trap_kind = run.trap_kind;
        memcpy(side->arms, run.arms, sizeof side->arms);
        if (side->outcome == PG_TOO_LARGE)
            return false;
    }
    return true;
}

struct pg_witness *pg_witness_new(struct arena *arena, struct pg_pair *pair)
{
    struct pg_witness *w = arena_zalloc(arena, sizeof *w);
    if (!w)
        return NULL;
    for (unsigned c = 0; c < pg_ask_sides(&pair->ask); c++)
        for (uint32_t i = 0; i < pair->ask.spec->cell_count; i++)
            w->touched[i] |= !pair->fixed && (pair->known[c][i] || pair->x[c].written[i]);
    if (!pair->fixed)
        pg_pair_complete(pair);
    else
        memset(w->touched, 1, pair->ask.spec->cell_count);
    if (pg_pair_check(pair) != PG_SHOWN)
        return NULL;
    simplify(pair, w->touched);
    if (pg_pair_check(pair) != PG_SHOWN)
        return NULL;
    int q = pair->ask.question;
    w->question = q == PG_Q_SHOWS  ? PG_Q_PRIVILEGED
                  : q == PG_Q_DONE ? PG_Q_CONTROL
                                   : (enum pg_question)q;
    w->side_count = pg_ask_sides(&pair->ask);
    w->guest_at = pair->k;
    w->guest_cells = pair->w;
    w->memory_cells = pair->memory_cells;
    memcpy(w->operands, pair->x[0].operands, sizeof w->operands);
    w->diff_count = pg_pair_diffs(pair, w->diffs, PG_DIFFS_MAX, &w->why);
    if (!take_sides(pair, w))
        return NULL;
    return w;
}

static void load_side(struct pg_pair *p, const struct pg_witness *w, unsigned c)
{
    const struct pg_side *side = &w->side[c < w->side_count ? c : 0];
    p->before[c] = side->before;
    p->ask.mode[c] = side->mode;
    memcpy(p->x[c].operands, w->operands, sizeof w->operands);
    memcpy(p->x[c].arms, side->arms, sizeof side->arms);
}

bool pg_replay(const struct pg_spec *spec, const struct pg_insn *insn, const struct pg_witness *w)
{
    struct pg_pair p = {.k = w->guest_at, .w = w->guest_cells, .memory_cells = w->memory_cells};
    p.ask = (struct pg_ask){.spec = spec, .insn = insn, .question = (int)w->question};
    for (unsigned c = 0; c < 2; c++)
        load_side(&p, w, c);
    if (pg_pair_check(&p) == PG_SHOWN)
        return true;
    if (w->question != PG_Q_PRIVILEGED)
        return false;
    p.ask.question = PG_Q_SHOWS; /* a pair that shows it, not one that refutes it */
    for (unsigned c = 0; c < 2; c++)
        load_side(&p, w, c);
    return pg_pair_check(&p) == PG_SHOWN;
}
