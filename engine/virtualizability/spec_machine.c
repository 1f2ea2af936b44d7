/* The `machine:` part of a specification: modes, state, the VM map, constraints. See spec.h. */
#include "engine/base/base.h"
#include "engine/virtualizability/spec_load.h"

#include <ctype.h>
#include <string.h>

static bool is_name(const char *s)
{
    if (!isalpha((unsigned char)*s) && *s != '_')
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && *s != '_' && !(*s == '.' && s[1]))
            return false;
    return true;
}

static res_code_t check_name(struct pg_load *l, const struct pg_node *at, const char *name)
{
    static const char *const words[] = {"mem", "phys", "sext", "if", "else", "trap", "choice"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (!strcmp(words[i], name))
            return pg_yaml_fail(&l->y, at, l->err,
                                "%s is a word of the language; a name was expected", name);
    if (!is_name(name) || strlen(name) > 60)
        return pg_yaml_fail(&l->y, at, l->err,
                            "\"%.40s\": a name was expected (letters, digits, _; at most 60)",
                            name);
    return OK;
}

/* ---- modes ---- */

static res_code_t mode_of(struct pg_load *l, const struct pg_node *at, const char *name,
                          uint32_t *out)
{
    const struct pg_spec *s = l->spec;
    for (uint32_t i = 0; i < s->mode_count; i++)
        if (!strcmp(s->modes[i], name)) {
            *out = i;
            return OK;
        }
    const char *near = pg_nearest(name, s->modes, s->mode_count);
    return pg_yaml_fail(&l->y, at, l->err, "\"%.40s\" is no mode; one of modes was expected%s%s%s",
                        name, near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static res_code_t mode_set(struct pg_load *l, const struct pg_node *n, uint32_t *out)
{
    const char **names;
    uint32_t count, m;
    PG_TRY(pg_yaml_strings(&l->y, n, &names, &count, l->err));
    *out = 0;
    for (uint32_t i = 0; i < count; i++) {
        PG_TRY(mode_of(l, n, names[i], &m));
        *out |= 1u << m;
    }
    return OK;
}

static res_code_t load_deprivilege(struct pg_load *l, const struct pg_node *n)
{
    struct pg_spec *s = l->spec;
    uint32_t v, r;
    for (uint32_t i = 0; i < PG_MODES_MAX; i++)
        s->deprivilege[i] = PG_SIMULATED;
    if (n && n->kind != PG_N_MAP)
        return pg_yaml_fail(&l->y, n, l->err, "{virtual mode: real mode, ...} was expected");
    for (const struct pg_node *c = n ? n->first : NULL; c; c = c->next) {
        PG_TRY(mode_of(l, c->key, c->key->text, &v));
        s->virtual_modes |= 1u << v;
        if (c->kind == PG_N_SCALAR && !strcmp(c->text, "simulated"))
            continue;
        if (c->kind != PG_N_SCALAR)
            return pg_yaml_fail(&l->y, c, l->err, "a mode or \"simulated\" was expected");
        PG_TRY(mode_of(l, c, c->text, &r));
        s->deprivilege[v] = (int)r;
        s->real_modes |= 1u << r;
    }
    if (n && n->count)
        return OK;
    /* The paper's map: everything runs in the least privileged mode. */
    r = s->mode_count - 1;
    for (v = 0; v < s->mode_count; v++)
        s->deprivilege[v] = (int)r;
    s->virtual_modes = (1u << s->mode_count) - 1;
    s->real_modes = 1u << r;
    return OK;
}

static res_code_t load_modes(struct pg_load *l, const struct pg_node *m)
{
    struct pg_spec *s = l->spec;
    const struct pg_node *n = pg_yaml_get(m, "modes");
    const char **names;
    if (!n)
        return pg_yaml_fail(&l->y, m, l->err,
                            "\"modes:\" was expected, a list with the most privileged first");
    PG_TRY(pg_yaml_strings(&l->y, n, &names, &s->mode_count, l->err));
    if (s->mode_count < 1 || s->mode_count > PG_MODES_MAX)
        return pg_yaml_fail(&l->y, n, l->err, "1 to %u modes were expected", PG_MODES_MAX);
    for (uint32_t i = 0; i < s->mode_count; i++) {
        PG_TRY(check_name(l, n, names[i]));
        for (uint32_t j = 0; j < i; j++)
            if (!strcmp(names[i], names[j]))
                return pg_yaml_fail(&l->y, n, l->err, "mode %s is there twice", names[i]);
        s->modes[i] = names[i];
    }
    s->supervisor = 1;
    s->user = ((1u << s->mode_count) - 1) & ~1u;
    if ((n = pg_yaml_get(m, "supervisor")))
        PG_TRY(mode_set(l, n, &s->supervisor));
    if ((n = pg_yaml_get(m, "user")))
        PG_TRY(mode_set(l, n, &s->user));
    if (s->supervisor & s->user)
        return pg_yaml_fail(&l->y, n ? n : m, l->err,
                            "a mode is in supervisor and in user; it was expected in one");
    return load_deprivilege(l, pg_yaml_get(m, "deprivilege"));
}

/* ---- state ---- */

static res_code_t load_role(struct pg_load *l, const struct pg_node *at, struct pg_reg *r)
{
    const struct pg_node *n = pg_yaml_get(at, "role");
    const char *names[PG_ROLE_COUNT];
    if (!n)
        return pg_yaml_fail(&l->y, at, l->err, "\"role:\" was expected for %s", r->name);
    for (int i = 0; i < PG_ROLE_COUNT; i++) {
        names[i] = pg_role_name(i);
        if (n->kind == PG_N_SCALAR && !strcmp(n->text, names[i])) {
            r->role = i;
            return OK;
        }
    }
    const char *near = n->kind == PG_N_SCALAR ? pg_nearest(n->text, names, PG_ROLE_COUNT) : NULL;
    return pg_yaml_fail(
        &l->y, n, l->err,
        "general, pc, mode, reloc.base, reloc.bound, resource, clock or processor was "
        "expected as role%s%s%s",
        near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static res_code_t take_single(struct pg_load *l, const struct pg_node *at, const struct pg_reg *r,
                              int *which)
{
    if (*which >= 0)
        return pg_yaml_fail(&l->y, at, l->err, "a second register with role %s; %s is the first",
                            pg_role_name(r->role), l->spec->regs[*which].name);
    if (r->array)
        return pg_yaml_fail(&l->y, at, l->err, "role %s was expected on one register, not an array",
                            pg_role_name(r->role));
    *which = (int)l->spec->reg_count;
    return OK;
}

static res_code_t load_reg(struct pg_load *l, const struct pg_node *n)
{
    static const char *const keys[] = {"bits", "role", "count", "vmm", "tag", "note", NULL};
    struct pg_spec *s = l->spec;
    const struct pg_node *v;
    uint64_t number = 0;
    if (s->reg_count == PG_REGS_MAX)
        return pg_yaml_fail(&l->y, n, l->err, "too many registers: at most %u", PG_REGS_MAX);
    struct pg_reg r = {.name = n->key->text, .count = 1, .vmm_in = -1, .line = n->key->line};
    PG_TRY(check_name(l, n->key, r.name));
    for (uint32_t i = 0; i < s->reg_count; i++)
        if (!strcmp(s->regs[i].name, r.name))
            return pg_yaml_fail(&l->y, n->key, l->err, "%s is there twice", r.name);
    for (uint32_t i = 0; i < s->mode_count; i++)
        if (!strcmp(s->modes[i], r.name))
            return pg_yaml_fail(&l->y, n->key, l->err, "%s is the name of a mode too", r.name);
    PG_TRY(pg_yaml_keys(&l->y, n, r.name, keys, l->err));
    if (!(v = pg_yaml_get(n, "bits")))
        return pg_yaml_fail(&l->y, n, l->err, "\"bits:\" was expected for %s", r.name);
    PG_TRY(pg_yaml_number(&l->y, v, 1, s->word_bits, &number, l->err));
    r.bits = (unsigned)number;
    if ((v = pg_yaml_get(n, "count"))) {
        PG_TRY(pg_yaml_number(&l->y, v, 1, PG_CELLS_MAX, &number, l->err));
        r.count = (uint32_t)number;
        r.array = true;
    }
    if (s->cell_count + r.count > PG_CELLS_MAX)
        return pg_yaml_fail(&l->y, n, l->err, "too much state: at most %u registers in all",
                            PG_CELLS_MAX);
    PG_TRY(load_role(l, n, &r));
    PG_TRY(pg_yaml_string(&l->y, pg_yaml_get(n, "tag"), &r.tag, l->err));
    PG_TRY(pg_yaml_string(&l->y, pg_yaml_get(n, "note"), &r.note, l->err));
    int *single[PG_ROLE_COUNT] = {[PG_ROLE_PC] = &s->pc,
                                  [PG_ROLE_MODE] = &s->mode,
                                  [PG_ROLE_BASE] = &s->base,
                                  [PG_ROLE_BOUND] = &s->bound};
    if (single[r.role])
        PG_TRY(take_single(l, n, &r, single[r.role]));
    r.first_cell = s->cell_count;
    for (uint32_t i = 0; i < r.count; i++)
        s->cell_reg[s->cell_count++] = (uint16_t)s->reg_count;
    s->regs[s->reg_count++] = r;
    return OK;
}

/* `vmm:` of a register, when all registers are known. */
static res_code_t load_vmm(struct pg_load *l, const struct pg_node *n, struct pg_reg *r)
{
    struct pg_spec *s = l->spec;
    const struct pg_node *v = pg_yaml_get(n, "vmm");
    if (!v)
        return OK;
    if (r->role != PG_ROLE_RESOURCE && r->role != PG_ROLE_CLOCK && r->role != PG_ROLE_PROCESSOR)
        return pg_yaml_fail(&l->y, v, l->err, "vmm was expected on a resource only; %s is %s",
                            r->name, pg_role_name(r->role));
    if (v->kind == PG_N_SCALAR && !strcmp(v->text, "host"))
        return OK;
    if (v->kind == PG_N_SCALAR && !strcmp(v->text, "identity")) {
        r->vmm = PG_VMM_IDENTITY;
        return OK;
    }
    /* "const:0" is one scalar, "{const: 0}" a map. */
    const struct pg_node *c = pg_yaml_get(v, "const"), *in = pg_yaml_get(v, "in");
    struct pg_text t = pg_yaml_text(&l->y, c ? c : v);
    if (v->kind == PG_N_SCALAR && !strncmp(v->text, "const:", 6)) {
        t.s += 6;
        t.column += 6;
        c = v;
    }
    if (c && c->kind == PG_N_SCALAR) {
        r->vmm = PG_VMM_CONST;
        return pg_parse_condition(s, &t, &r->vmm_const, l->err);
    }
    const char *name = in && in->kind == PG_N_SCALAR ? in->text : NULL;
    if (v->kind == PG_N_SCALAR && !strncmp(v->text, "in ", 3))
        name = v->text + 3 + strspn(v->text + 3, " ");
    if (!name)
        return pg_yaml_fail(&l->y, v, l->err,
                            "host, identity, const:VALUE or \"in REGISTER\" was expected");
    const char *names[PG_REGS_MAX];
    for (uint32_t i = 0; i < s->reg_count; i++) {
        names[i] = s->regs[i].name;
        if (!strcmp(names[i], name))
            r->vmm_in = (int)i;
    }
    const char *near = pg_nearest(name, names, s->reg_count);
    if (r->vmm_in < 0)
        return pg_yaml_fail(&l->y, v, l->err, "\"%.40s\" is no register%s%s%s", name,
                            near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    const struct pg_reg *other = &s->regs[r->vmm_in];
    if (other == r || other->bits != r->bits || other->count != r->count)
        return pg_yaml_fail(&l->y, v, l->err,
                            "another register of the same shape as %s was expected", r->name);
    r->vmm = PG_VMM_IN;
    return OK;
}

static res_code_t load_state(struct pg_load *l, const struct pg_node *m)
{
    struct pg_spec *s = l->spec;
    const struct pg_node *n = pg_yaml_get(m, "state");
    if (!n || n->kind != PG_N_MAP)
        return pg_yaml_fail(
            &l->y, n ? n : m, l->err,
            "\"state:\" was expected, a map of registers: NAME: {bits: N, role: R}");
    s->pc = s->mode = s->base = s->bound = -1;
    for (const struct pg_node *c = n->first; c; c = c->next)
        PG_TRY(load_reg(l, c));
    if (s->mode < 0)
        return pg_yaml_fail(&l->y, n, l->err, "a register with role mode was expected");
    if (((uint64_t)s->mode_count - 1) >> (s->regs[s->mode].bits - 1) > 1)
        return pg_yaml_fail(&l->y, n, l->err, "%s has %u bits, too few for %u modes",
                            s->regs[s->mode].name, s->regs[s->mode].bits, s->mode_count);
    if ((s->base < 0) != (s->bound < 0))
        return pg_yaml_fail(&l->y, n, l->err,
                            "reloc.base and reloc.bound were expected together, or neither");
    uint32_t i = 0;
    for (const struct pg_node *c = n->first; c; c = c->next)
        PG_TRY(load_vmm(l, c, &s->regs[i++]));
    return OK;
}

/* ---- the rest ---- */

static res_code_t load_constraints(struct pg_load *l, const struct pg_node *n,
                                   struct pg_constraint **out, uint32_t *count)
{
    if (!n)
        return OK;
    uint32_t many = n->kind == PG_N_LIST ? n->count : 1, i = 0;
    struct pg_constraint *list = arena_zalloc(&l->spec->arena, (many + 1) * sizeof *list);
    if (!list)
        return err_set(l->err, ERR_NO_MEMORY, "no memory for %s", l->y.file);
    const struct pg_node *c = n->kind == PG_N_LIST ? n->first : n;
    for (; c && i < many; c = c->next, i++) {
        if (c->kind != PG_N_SCALAR)
            return pg_yaml_fail(&l->y, c, l->err, "a condition was expected, as \"IOPL == 0\"");
        struct pg_text t = pg_yaml_text(&l->y, c);
        list[i].text = c->text;
        PG_TRY(pg_parse_condition(l->spec, &t, &list[i].expr, l->err));
    }
    *out = list;
    *count = i;
    return OK;
}

static res_code_t load_trap(struct pg_load *l, const struct pg_node *m)
{
    static const char *const keys[] = {"kind", "old", "new", NULL};
    struct pg_spec *s = l->spec;
    const struct pg_node *n = pg_yaml_get(m, "trap"), *v;
    const char *kind = NULL;
    if (!n)
        return OK;
    PG_TRY(pg_yaml_keys(&l->y, n, "trap", keys, l->err));
    PG_TRY(pg_yaml_string(&l->y, pg_yaml_get(n, "kind"), &kind, l->err));
    if (!kind || (strcmp(kind, "psw_swap") && strcmp(kind, "vector")))
        return pg_yaml_fail(&l->y, n, l->err, "kind: psw_swap or kind: vector was expected");
    s->has_trap_cells = !strcmp(kind, "psw_swap");
    s->trap_new = 1;
    if ((v = pg_yaml_get(n, "old")))
        PG_TRY(pg_yaml_number(&l->y, v, 0, pg_mask(s->word_bits), &s->trap_old, l->err));
    if ((v = pg_yaml_get(n, "new")))
        PG_TRY(pg_yaml_number(&l->y, v, 0, pg_mask(s->word_bits), &s->trap_new, l->err));
    return OK;
}

static res_code_t load_excluded(struct pg_load *l, const struct pg_node *n)
{
    struct pg_spec *s = l->spec;
    const char **names = NULL;
    uint32_t count = 0;
    s->excluded_traps = n ? 0 : 1; /* the paper's: memory traps */
    PG_TRY(pg_yaml_strings(&l->y, n, &names, &count, l->err));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t k = 0;
        PG_TRY(check_name(l, n, strcmp(names[i], "mem") ? names[i] : "m"));
        while (k < s->trap_kind_count && strcmp(s->trap_kinds[k], names[i]))
            k++;
        if (k == 64)
            return pg_yaml_fail(&l->y, n, l->err, "too many kinds of traps: at most 64");
        if (k == s->trap_kind_count)
            s->trap_kinds[s->trap_kind_count++] = names[i];
        s->excluded_traps |= (uint64_t)1 << k;
    }
    return OK;
}

static res_code_t load_timing(struct pg_load *l, const struct pg_node *n)
{
    if (!n)
        return OK;
    const char *word = n->kind == PG_N_SCALAR ? n->text : "";
    l->spec->has_timing = true;
    l->spec->timing_free = !strcmp(word, "timing_free");
    if (!l->spec->timing_free && strcmp(word, "timing_dependent"))
        return pg_yaml_fail(&l->y, n, l->err, "timing_free or timing_dependent was expected");
    return OK;
}

static res_code_t load_memory(struct pg_load *l, const struct pg_node *n)
{
    static const char *const keys[] = {"cells", NULL};
    if (!n)
        return OK;
    PG_TRY(pg_yaml_keys(&l->y, n, "memory", keys, l->err));
    const struct pg_node *c = pg_yaml_get(n, "cells");
    if (!c)
        return pg_yaml_fail(&l->y, n, l->err, "{cells: N} was expected");
    uint64_t most = (uint64_t)1 << MIN(l->spec->word_bits, 63u);
    return pg_yaml_number(&l->y, c, 2, most, &l->spec->memory_cells, l->err);
}

res_t pg_load_machine(struct pg_load *l, const struct pg_node *m)
{
    static const char *const keys[] = {
        "word_bits",   "modes",      "state", "supervisor", "user",          "memory", "invariant",
        "deprivilege", "vmm_config", "trap",  "vmm",        "exclude_traps", "length", NULL};
    struct pg_spec *s = l->spec;
    const struct pg_node *n;
    uint64_t number = 1;
    PG_TRY(pg_yaml_keys(&l->y, m, "machine", keys, l->err));
    if (!(n = pg_yaml_get(m, "word_bits")))
        return pg_yaml_fail(&l->y, m, l->err, "\"word_bits:\" was expected");
    PG_TRY(pg_yaml_number(&l->y, n, 1, 64, &number, l->err));
    s->word_bits = (unsigned)number;
    number = 1;
    if ((n = pg_yaml_get(m, "length")))
        PG_TRY(pg_yaml_number(&l->y, n, 0, 255, &number, l->err));
    s->length = (unsigned)number;
    PG_TRY(load_memory(l, pg_yaml_get(m, "memory")));
    PG_TRY(load_modes(l, m));
    PG_TRY(load_state(l, m));
    PG_TRY(load_trap(l, m));
    PG_TRY(load_excluded(l, pg_yaml_get(m, "exclude_traps")));
    PG_TRY(load_timing(l, pg_yaml_get(m, "vmm")));
    PG_TRY(load_constraints(l, pg_yaml_get(m, "invariant"), &s->invariant, &s->invariant_count));
    return load_constraints(l, pg_yaml_get(m, "vmm_config"), &s->vmm_config, &s->vmm_config_count);
}
