/* What two copies of the machine share: see question.h. */
#include "engine/virtualizability/question.h"

uint32_t pg_ask_sides(const struct pg_ask *a)
{
    return a->question == PG_Q_CONTROL || a->question == PG_Q_DONE ? 1 : 2;
}

bool pg_is_resource(const struct pg_reg *r)
{
    return r->role == PG_ROLE_RESOURCE || r->role == PG_ROLE_CLOCK || r->role == PG_ROLE_PROCESSOR;
}

bool pg_trap_excluded(const struct pg_spec *s, uint32_t kind)
{
    return s->excluded_traps >> kind & 1;
}

bool pg_mode_is_carried(const struct pg_spec *s)
{
    uint32_t seen = 0;
    for (uint32_t m = 0; m < s->mode_count; m++) {
        if (!(s->virtual_modes >> m & 1))
            continue;
        if (s->deprivilege[m] == PG_SIMULATED || seen >> s->deprivilege[m] & 1)
            return false;
        seen |= 1u << s->deprivilege[m];
    }
    return true;
}

/* The copy is the real machine, in a mode that virtual machines do not have. */
static bool real_view(const struct pg_ask *a, unsigned copy)
{
    if (a->question == PG_Q_HOLE)
        return copy == 1;
    return (a->spec->real_modes & ~a->spec->virtual_modes) >> a->mode[copy] & 1;
}

/* The register whose value is kept in r, or -1. */
static int kept_in(const struct pg_spec *s, const struct pg_reg *r)
{
    for (uint32_t i = 0; i < s->reg_count; i++)
        if (s->regs[i].vmm_in >= 0 && &s->regs[s->regs[i].vmm_in] == r)
            return (int)i;
    return -1;
}

int pg_guest_cell(const struct pg_ask *a, unsigned copy, uint32_t cell)
{
    const struct pg_spec *s = a->spec;
    const struct pg_reg *r = pg_spec_cell_reg(s, cell);
    if (r->role == PG_ROLE_GENERAL || r->role == PG_ROLE_PC)
        return (int)cell;
    if (!pg_is_resource(r))
        return -1;
    if (r->vmm == PG_VMM_IDENTITY)
        return (int)cell;
    if (!real_view(a, copy))
        return r->vmm == PG_VMM_IN ? (int)cell : -1;
    int kept = kept_in(s, r);
    return kept < 0 ? -1 : (int)(s->regs[kept].first_cell + (cell - r->first_cell));
}

int pg_partner(const struct pg_ask *a, unsigned copy, uint32_t cell)
{
    const struct pg_spec *s = a->spec;
    const struct pg_reg *r = pg_spec_cell_reg(s, cell);
    bool hole = a->question == PG_Q_HOLE;
    if (r->role == PG_ROLE_MODE || pg_ask_sides(a) == 1)
        return -1;
    if (r->role == PG_ROLE_BASE)
        return a->question == PG_Q_LOCATION || hole ? -1 : (int)cell;
    if (!pg_is_resource(r))
        return (int)cell;
    int guest = pg_guest_cell(a, copy, cell);
    unsigned other = 1 - copy;
    if (guest < 0) {
        bool free = hole || a->question == PG_Q_RESOURCE;
        return free || pg_guest_cell(a, other, cell) >= 0 ? -1 : (int)cell;
    }
    if (pg_guest_cell(a, other, (uint32_t)guest) == guest)
        return guest;
    r = pg_spec_cell_reg(s, (uint32_t)guest);
    return (int)(s->regs[r->vmm_in].first_cell + ((uint32_t)guest - r->first_cell));
}

bool pg_configured(const struct pg_ask *a, unsigned copy)
{
    if (a->question == PG_Q_HOLE)
        return copy == 1;
    return (a->spec->user | a->spec->real_modes) >> a->mode[copy] & 1;
}

const struct pg_expr *pg_const_cell(const struct pg_ask *a, unsigned copy, uint32_t cell)
{
    const struct pg_reg *r = pg_spec_cell_reg(a->spec, cell);
    if (r->vmm != PG_VMM_CONST)
        return NULL;
    bool fixed = pg_configured(a, copy);
    if (!fixed && pg_partner(a, copy, cell) >= 0)
        fixed = pg_configured(a, 1 - copy);
    return fixed ? r->vmm_const : NULL;
}
