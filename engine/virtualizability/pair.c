/* Two copies of the machine, run side by side: see pair.h. */
#include "engine/virtualizability/pair.h"

#include "engine/base/base.h"

#include <string.h>

static unsigned copy_of(const struct pg_pair *p, const struct pg_exec *x)
{
    return x == &p->x[1];
}

/* ---- drawing ---- */

static uint64_t ask_for(struct pg_pair *p, enum pg_input what, unsigned copy, uint32_t which,
                        unsigned bits)
{
    struct pg_wish wish = {what, copy, which, bits};
    return p->draw ? p->draw(p->ctx, &wish) & pg_mask(bits) : 0;
}

static uint64_t draw_cell(struct pg_pair *p, unsigned copy, uint32_t cell)
{
    const struct pg_spec *s = p->ask.spec;
    const struct pg_reg *r = pg_spec_cell_reg(s, cell);
    const struct pg_expr *e;
    if (r->role == PG_ROLE_MODE)
        return p->ask.mode[copy];
    if ((e = pg_const_cell(&p->ask, copy, cell)))
        return pg_exec_eval(&p->x[copy], e);
    int partner = pg_partner(&p->ask, copy, cell);
    if (partner < 0)
        return ask_for(p, PG_IN_CELL, copy, cell, r->bits);
    unsigned other = 1 - copy;
    if (p->known[other][partner])
        return p->before[other].cells[partner];
    uint32_t owner = copy ? (uint32_t)partner : cell; /* copy 0's name of it */
    uint64_t v = ask_for(p, PG_IN_CELL, 0, owner, r->bits);
    p->before[other].cells[partner] = v;
    p->known[other][partner] = 1;
    return v;
}

static uint64_t base_of(struct pg_pair *p, unsigned copy)
{
    return pg_exec_cell(&p->x[copy], p->ask.spec->regs[p->ask.spec->base].first_cell);
}

static uint64_t bound_of(struct pg_pair *p, unsigned copy)
{
    return pg_exec_cell(&p->x[copy], p->ask.spec->regs[p->ask.spec->bound].first_cell);
}

static bool relocated(const struct pg_pair *p)
{
    return p->ask.spec->base >= 0;
}

/* Where the same cell is in the other copy's memory; false: nowhere. */
static bool partner_address(struct pg_pair *p, unsigned copy, enum pg_space space, uint64_t a,
                            uint64_t *out)
{
    int q = p->ask.question;
    *out = a;
    if (pg_ask_sides(&p->ask) == 1)
        return false;
    if (!relocated(p))
        return space == PG_MAPPED || (q != PG_Q_RESOURCE && q != PG_Q_HOLE);
    if (q == PG_Q_HOLE) {
        *out = copy ? a - p->k : a + p->k;
        return copy ? a >= p->k && a - p->k < p->w : a < p->w;
    }
    if (q != PG_Q_LOCATION)
        return true;
    uint64_t rel = a - base_of(p, copy), there = a - base_of(p, 1 - copy);
    if (rel >= bound_of(p, copy)) /* outside: only the new PSW is equal (the paper's footnote 4) */
        return p->ask.spec->has_trap_cells && a == p->ask.spec->trap_new &&
               there >= bound_of(p, copy);
    *out = base_of(p, 1 - copy) + rel;
    return *out >= rel && *out <= pg_mask(p->ask.spec->word_bits);
}

static uint64_t draw_memory(struct pg_pair *p, unsigned copy, enum pg_space space, uint64_t a)
{
    uint64_t there;
    bool found = false;
    unsigned bits = p->ask.spec->word_bits, other = 1 - copy;
    enum pg_input what = space == PG_PHYS ? PG_IN_PHYS : PG_IN_MAPPED;
    if (!partner_address(p, copy, space, a, &there))
        return ask_for(p, what, copy, 0, bits);
    uint64_t v = pg_mem_get(&p->before[other], space, there, &found);
    if (found)
        return v;
    v = ask_for(p, what, 0, 0, bits);
    if (!pg_mem_set(&p->before[other], space, there, v))
        p->x[other].outcome = PG_TOO_LARGE;
    return v;
}

static uint64_t draw(void *ctx, struct pg_exec *x, enum pg_input what, uint64_t index)
{
    struct pg_pair *p = ctx;
    unsigned copy = copy_of(p, x), other = 1 - copy;
    const struct pg_insn *insn = p->ask.insn;
    uint64_t v;
    switch (what) {
    case PG_IN_CELL:
        return draw_cell(p, copy, (uint32_t)index);
    case PG_IN_OPERAND:
        if (p->x[other].known_operands >> index & 1)
            return p->x[other].operands[index];
        return ask_for(p, what, 0, (uint32_t)index, insn->operands[index].bits);
    case PG_IN_ARM:
        if (insn->choice_same[index] && p->x[other].known_arms >> index & 1)
            return p->x[other].arms[index];
        v = ask_for(p, what, copy, (uint32_t)index, 8);
        return v % insn->choice_arms[index];
    default:
        return draw_memory(p, copy, what == PG_IN_PHYS ? PG_PHYS : PG_MAPPED, index);
    }
}

/* ---- setting up ---- */

static void prepare(struct pg_pair *p)
{
    const struct pg_spec *s = p->ask.spec;
    for (unsigned c = 0; c < 2; c++) {
        struct pg_exec *x = &p->x[c];
        uint64_t operands[PG_OPERANDS_MAX];
        uint8_t arms[PG_CHOICES_MAX];
        memcpy(operands, x->operands, sizeof operands);
        memcpy(arms, x->arms, sizeof arms);
        pg_exec_init(x, s, p->ask.insn);
        x->before = &p->before[c];
        x->memory_cells = p->memory_cells;
        if (p->fixed) {
            memcpy(x->operands, operands, sizeof operands);
            memcpy(x->arms, arms, sizeof arms);
            continue;
        }
        memset(p->known[c], 0, s->cell_count);
        p->before[c].mem_count = 0;
        x->known = p->known[c];
        x->known_operands = x->known_arms = 0;
        x->draw = draw;
        x->ctx = p;
    }
}

/* A number near n that is at most limit. */
static uint64_t up_to(struct pg_pair *p, uint64_t limit, unsigned bits)
{
    uint64_t v = ask_for(p, PG_IN_CELL, 0, UINT32_MAX, bits);
    return limit == UINT64_MAX ? v : v % (limit + 1);
}

/* The guest's memory [k, k + w) of the real memory, with the guest's l + b <= w. False: there is no room. */
static bool place_guest(struct pg_pair *p)
{
    const struct pg_spec *s = p->ask.spec;
    const struct pg_reg *l = &s->regs[s->base], *b = &s->regs[s->bound];
    uint64_t q = p->memory_cells ? p->memory_cells - 1 : pg_mask(s->word_bits); /* last cell */
    uint64_t most = MIN(q / 2, pg_mask(l->bits) / 2);
    p->before[0].cells[l->first_cell] = up_to(p, most / 2, l->bits);
    p->before[0].cells[b->first_cell] = up_to(p, MIN(most / 2, pg_mask(b->bits)), b->bits);
    uint64_t lv = p->before[0].cells[l->first_cell], bv = p->before[0].cells[b->first_cell];
    p->w = lv + bv + up_to(p, 4, 3);
    if (p->w > q)
        return false;
    p->k = up_to(p, MIN(q - p->w, pg_mask(l->bits) - lv), l->bits);
    p->before[1].cells[l->first_cell] = lv + p->k;
    p->before[1].cells[b->first_cell] = bv;
    for (unsigned c = 0; c < 2; c++)
        p->known[c][l->first_cell] = p->known[c][b->first_cell] = 1;
    p->x[0].memory_cells = p->w ? p->w : 1;
    return true;
}

static bool constraints_hold(struct pg_pair *p)
{
    const struct pg_spec *s = p->ask.spec;
    for (unsigned c = 0; c < pg_ask_sides(&p->ask); c++) {
        for (uint32_t i = 0; i < s->invariant_count; i++)
            if (!pg_exec_eval(&p->x[c], s->invariant[i].expr))
                return false;
        for (uint32_t i = 0; i < s->vmm_config_count && pg_configured(&p->ask, c); i++)
            if (!pg_exec_eval(&p->x[c], s->vmm_config[i].expr))
                return false;
    }
    return p->ask.question != PG_Q_LOCATION || base_of(p, 0) != base_of(p, 1);
}

/* ---- comparing ---- */

struct finder {
    struct pg_pair *p;
    struct pg_diff *out; /* NULL: the first one will do */
    uint32_t max, count;
    bool change; /* the diffs are changes of one side */
};

static void found(struct finder *f, struct pg_place a, struct pg_place b, int side)
{
    for (uint32_t i = 0; f->out && i < f->count && i < f->max; i++) {
        const struct pg_diff *d = &f->out[i];
        if (d->side == side && d->place[0].memory == a.memory && d->place[0].cell == a.cell &&
            d->place[0].address == a.address && d->place[1].address == b.address)
            return;
    }
    if (f->out && f->count < f->max)
        f->out[f->count] = (struct pg_diff){{a, b}, side};
    f->count++;
}

static struct pg_place cell_place(uint32_t cell)
{
    return (struct pg_place){.cell = cell};
}

static struct pg_place mem_place(enum pg_space space, uint64_t address)
{
    return (struct pg_place){.memory = true, .space = space, .address = address};
}

static uint64_t memory_after(struct pg_exec *x, enum pg_space space, uint64_t address)
{
    for (uint32_t i = 0; x->outcome == PG_DONE && i < x->wmem_count; i++)
        if (x->wmem[i].space == space && x->wmem[i].address == address)
            return x->wmem[i].value;
    return pg_exec_mem(x, space, address);
}

static bool mode_is_result(const struct pg_pair *p)
{
    return p->ask.question == PG_Q_HOLE && pg_mode_is_carried(p->ask.spec);
}

/* Mode, relocation and, if wanted, the machine's own resources and memory. */
static void find_changes(struct finder *f, unsigned c, bool resources)
{
    struct pg_pair *p = f->p;
    struct pg_exec *x = &p->x[c];
    const struct pg_spec *s = p->ask.spec;
    for (uint32_t i = 0; i < x->write_count; i++) {
        uint32_t cell = x->write_list[i];
        const struct pg_reg *r = pg_spec_cell_reg(s, cell);
        bool mine = r->role == PG_ROLE_BASE || r->role == PG_ROLE_BOUND ||
                    (r->role == PG_ROLE_MODE && !mode_is_result(p));
        if (!mine && resources)
            mine = pg_is_resource(r) && pg_guest_cell(&p->ask, c, cell) < 0;
        if (mine && x->value[cell] != pg_exec_cell(x, cell))
            found(f, cell_place(cell), cell_place(cell), (int)c);
    }
    for (uint32_t i = 0; resources && i < x->wmem_count; i++) {
        struct pg_mem_cell m = x->wmem[i];
        if (m.space == PG_MAPPED)
            continue;
        if (relocated(p)) {
            bool hole = p->ask.question == PG_Q_HOLE;
            uint64_t from = hole ? (c ? p->k : 0) : base_of(p, c);
            if (m.address - from < (hole ? p->w : bound_of(p, c)))
                continue;
        }
        if (m.value != pg_exec_mem(x, m.space, m.address))
            found(f, mem_place(m.space, m.address), mem_place(m.space, m.address), (int)c);
    }
}

static void compare_cell(struct finder *f, unsigned c, uint32_t cell)
{
    struct pg_pair *p = f->p;
    if (pg_guest_cell(&p->ask, c, cell) < 0)
        return;
    uint32_t other = (uint32_t)pg_partner(&p->ask, c, cell);
    uint32_t a = c ? other : cell, b = c ? cell : other;
    if (pg_exec_cell_after(&p->x[0], a) != pg_exec_cell_after(&p->x[1], b))
        found(f, cell_place(a), cell_place(b), -1);
}

static void compare_memory(struct finder *f, unsigned c, struct pg_mem_cell m)
{
    struct pg_pair *p = f->p;
    uint64_t there;
    if (!relocated(p) && m.space == PG_PHYS)
        return; /* a resource */
    if (!partner_address(p, c, m.space, m.address, &there))
        return;
    if (relocated(p) && p->ask.question != PG_Q_HOLE && m.address - base_of(p, c) >= bound_of(p, c))
        return; /* not in the window */
    uint64_t a = c ? there : m.address, b = c ? m.address : there;
    if (memory_after(&p->x[0], m.space, a) != memory_after(&p->x[1], m.space, b))
        found(f, mem_place(m.space, a), mem_place(m.space, b), -1);
}

/* The real mode must be the one that the virtual mode runs in. */
static void compare_modes(struct finder *f)
{
    const struct pg_spec *s = f->p->ask.spec;
    uint32_t cell = s->regs[s->mode].first_cell;
    uint64_t m = pg_exec_cell_after(&f->p->x[0], cell),
             real = pg_exec_cell_after(&f->p->x[1], cell);
    bool known = m < s->mode_count && s->virtual_modes >> m & 1;
    if (!known || (uint64_t)s->deprivilege[m] != real)
        found(f, cell_place(cell), cell_place(cell), -1);
}

/* Window, general and identity state and the program counter. */
static void find_results(struct finder *f)
{
    if (mode_is_result(f->p))
        compare_modes(f);
    for (unsigned c = 0; c < 2; c++) {
        struct pg_exec *x = &f->p->x[c];
        for (uint32_t i = 0; i < x->write_count; i++)
            compare_cell(f, c, x->write_list[i]);
        for (uint32_t i = 0; i < x->wmem_count; i++)
            compare_memory(f, c, x->wmem[i]);
    }
}

static bool excluded(const struct pg_pair *p, unsigned c)
{
    return p->x[c].outcome == PG_TRAP && pg_trap_excluded(p->ask.spec, p->x[c].trap_kind);
}

static enum pg_shown judge(struct finder *f)
{
    struct pg_pair *p = f->p;
    int q = p->ask.question;
    bool done0 = p->x[0].outcome == PG_DONE, done1 = p->x[1].outcome == PG_DONE;
    f->count = 0;
    f->change = false;
    switch (q) {
    case PG_Q_DONE:
        return done0 ? PG_SHOWN : PG_NOT_SHOWN;
    case PG_Q_CONTROL:
        f->change = true;
        if (done0)
            find_changes(f, 0, true);
        break;
    case PG_Q_PRIVILEGED:
    case PG_Q_SHOWS:
        if (excluded(p, 0) || excluded(p, 1))
            return PG_VOID;
        return (done0 && !done1) == (q == PG_Q_SHOWS) ? PG_SHOWN : PG_NOT_SHOWN;
    case PG_Q_HOLE:
        if (!done1)
            return PG_NOT_SHOWN;
        if (!done0)
            return PG_SHOWN;
        find_changes(f, 0, true);
        find_changes(f, 1, true);
        f->change = f->count > 0;
        find_results(f);
        break;
    default:
        if (!done0 || !done1)
            return PG_VOID;
        find_changes(f, 0, q == PG_Q_RESOURCE);
        find_changes(f, 1, q == PG_Q_RESOURCE);
        if (f->count) {
            f->count = 0;
            return PG_VOID;
        }
        find_results(f);
    }
    return f->count ? PG_SHOWN : PG_NOT_SHOWN;
}

static enum pg_shown run_both(struct pg_pair *p)
{
    struct finder f = {.p = p};
    for (unsigned c = 0; c < pg_ask_sides(&p->ask); c++)
        pg_exec_run(&p->x[c]);
    enum pg_shown got = judge(&f);
    for (unsigned c = 0; c < pg_ask_sides(&p->ask); c++)
        if (p->x[c].outcome == PG_TOO_LARGE)
            return PG_VOID;
    if (p->ask.question == PG_Q_HOLE && relocated(p))
        for (uint32_t i = 0; i < p->before[0].mem_count; i++)
            if (p->before[0].mem[i].address >= p->w)
                return PG_VOID; /* the bare machine has no such cell */
    return got;
}

enum pg_shown pg_pair_try(struct pg_pair *p)
{
    p->fixed = false;
    p->k = p->w = 0;
    prepare(p);
    if (p->ask.question == PG_Q_HOLE && relocated(p) && !place_guest(p))
        return PG_VOID;
    return constraints_hold(p) ? run_both(p) : PG_VOID;
}

/* ---- given states ---- */

static bool cells_are_a_pair(struct pg_pair *p)
{
    const struct pg_spec *s = p->ask.spec;
    for (unsigned c = 0; c < pg_ask_sides(&p->ask); c++)
        for (uint32_t i = 0; i < s->cell_count; i++) {
            const struct pg_reg *r = pg_spec_cell_reg(s, i);
            uint64_t v = p->before[c].cells[i];
            const struct pg_expr *e = pg_const_cell(&p->ask, c, i);
            int partner = pg_partner(&p->ask, c, i);
            if (v & ~pg_mask(r->bits))
                return false;
            if (r->role == PG_ROLE_MODE && v != p->ask.mode[c])
                return false;
            if (e && v != (pg_exec_eval(&p->x[c], e) & pg_mask(r->bits)))
                return false;
            if (!e && partner >= 0 && v != p->before[1 - c].cells[partner])
                return false;
        }
    return true;
}

static bool memories_are_a_pair(struct pg_pair *p)
{
    uint64_t there;
    for (unsigned c = 0; c < pg_ask_sides(&p->ask); c++)
        for (uint32_t i = 0; i < p->before[c].mem_count; i++) {
            struct pg_mem_cell m = p->before[c].mem[i];
            if (partner_address(p, c, m.space, m.address, &there) &&
                pg_mem_get(&p->before[1 - c], m.space, there, NULL) != m.value)
                return false;
        }
    return true;
}

static bool guest_is_placed(struct pg_pair *p)
{
    uint64_t q = p->memory_cells ? p->memory_cells - 1 : pg_mask(p->ask.spec->word_bits);
    uint64_t l = base_of(p, 0), b = bound_of(p, 0);
    bool fits = l <= p->w && b <= p->w - l && p->w <= q && p->k <= q - p->w;
    p->x[0].memory_cells = p->w ? p->w : 1;
    return fits && base_of(p, 1) == l + p->k && bound_of(p, 1) == b;
}

enum pg_shown pg_pair_check(struct pg_pair *p)
{
    p->fixed = true;
    prepare(p);
    if (p->ask.question == PG_Q_HOLE && relocated(p) && !guest_is_placed(p))
        return PG_VOID;
    for (unsigned c = 0; c < 2; c++)
        for (uint32_t i = 0; i < p->ask.insn->choice_count; i++)
            if (p->ask.insn->choice_same[i] && p->x[0].arms[i] != p->x[1].arms[i] &&
                pg_ask_sides(&p->ask) == 2)
                return PG_VOID;
    if (!cells_are_a_pair(p) || !memories_are_a_pair(p) || !constraints_hold(p))
        return PG_VOID;
    return run_both(p);
}

uint32_t pg_pair_diffs(struct pg_pair *p, struct pg_diff *out, uint32_t max, const char **why)
{
    struct finder f = {.p = p, .out = out, .max = max};
    judge(&f);
    bool hole = p->ask.question == PG_Q_HOLE;
    if (hole && p->x[0].outcome == PG_TRAP)
        *why =
            "the bare machine traps and the real machine does not, so the VMM never learns of it";
    else if (hole && f.change)
        *why = "a mode or a resource changes behind the VMM's back, or not at all";
    else if (hole)
        *why = "the guest computes something else than on the bare machine, without a trap";
    else if (f.change)
        *why = "it changes the mode, the relocation or a resource without a trap";
    else if (p->ask.question == PG_Q_PRIVILEGED)
        *why = p->x[0].outcome == PG_TRAP ? "it traps in the supervisor mode too"
                                          : "it does not trap in the user mode";
    else
        *why = p->ask.question == PG_Q_LOCATION ? "the result depends on where the memory lies"
               : p->ask.question == PG_Q_MODE   ? "the result depends on the mode"
               : p->ask.question == PG_Q_RESOURCE
                   ? "the result depends on a resource"
                   : "it traps in the user mode and not in the supervisor mode";
    return MIN(f.count, max);
}

void pg_pair_complete(struct pg_pair *p)
{
    uint64_t (*drawn)(void *, const struct pg_wish *) = p->draw;
    p->draw = NULL;
    for (unsigned c = 0; c < 2; c++) {
        for (uint32_t i = 0; c < pg_ask_sides(&p->ask) && i < p->ask.spec->cell_count; i++)
            pg_exec_cell(&p->x[c], i);
        for (uint32_t i = 0; i < p->ask.insn->operand_count; i++)
            if (!(p->x[c].known_operands >> i & 1))
                p->x[c].operands[i] =
                    p->x[1 - c].known_operands >> i & 1 ? p->x[1 - c].operands[i] : 0;
        for (uint32_t i = 0; i < p->ask.insn->choice_count; i++)
            if (!(p->x[c].known_arms >> i & 1))
                p->x[c].arms[i] = p->ask.insn->choice_same[i] && p->x[1 - c].known_arms >> i & 1
                                      ? p->x[1 - c].arms[i]
                                      : 0;
    }
    p->draw = drawn;
}
