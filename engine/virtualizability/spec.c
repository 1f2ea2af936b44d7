/* A specification from its file: the top level, and looking things up. See spec.h. */
#include "engine/virtualizability/spec.h"

#include "engine/base/base.h"
#include "engine/virtualizability/spec_load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES ((size_t)64 << 20)

const char *pg_role_name(enum pg_role role)
{
    static const char *const names[] = {"general",     "pc",       "mode",  "reloc.base",
                                        "reloc.bound", "resource", "clock", "processor"};
    return names[role];
}

const char *pg_word_text(enum pg_word w)
{
    static const char *const texts[] = {
#define PG_WORD(id, text) text,
#include "engine/virtualizability/words.def"
#undef PG_WORD
    };
    return texts[w];
}

const char *pg_verdict_name(enum pg_verdict v)
{
    static const char *const names[] = {"holds", "fails", "unknown"};
    return names[v];
}

const char *pg_theorem_name(enum pg_theorem t)
{
    static const char *const names[] = {"T1", "T2", "T3", "direct-T1", "direct-T3"};
    return names[t];
}

static res_code_t load_verdict(struct pg_load *l, const struct pg_node *n)
{
    const char *keys[PG_THEOREM_COUNT + 1] = {0};
    if (!n)
        return OK;
    for (int t = 0; t < PG_THEOREM_COUNT; t++)
        keys[t] = pg_theorem_name(t);
    PG_TRY(pg_yaml_keys(&l->y, n, "verdict", keys, l->err));
    for (int t = 0; t < PG_THEOREM_COUNT; t++) {
        const struct pg_node *v = pg_yaml_get(n, keys[t]);
        if (!v)
            continue;
        l->spec->has_verdict[t] = true;
        l->spec->verdict[t] = PG_VERDICT_COUNT;
        for (int i = 0; i < PG_VERDICT_COUNT; i++)
            if (v->kind == PG_N_SCALAR && !strcmp(v->text, pg_verdict_name(i)))
                l->spec->verdict[t] = i;
        if (l->spec->verdict[t] == PG_VERDICT_COUNT)
            return pg_yaml_fail(&l->y, v, l->err, "holds, fails or unknown was expected");
    }
    return OK;
}

static res_code_t load_top(struct pg_load *l)
{
    static const char *const keys[] = {"isa",     "machine", "instructions", "title",      "source",
                                       "verdict", "notes",   "note",         "leaves_out", NULL};
    struct pg_spec *s = l->spec;
    const struct pg_node *root = l->y.root;
    PG_TRY(pg_yaml_keys(&l->y, root, "a specification", keys, l->err));
    for (int i = 0; i < 3; i++)
        if (!pg_yaml_get(root, keys[i]))
            return pg_yaml_fail(&l->y, root, l->err, "\"%s:\" is missing and was expected",
                                keys[i]);
    const struct pg_node *notes = pg_yaml_get(root, "notes");
    PG_TRY(pg_yaml_string(&l->y, pg_yaml_get(root, "isa"), &s->isa, l->err));
    PG_TRY(pg_yaml_string(&l->y, pg_yaml_get(root, "title"), &s->title, l->err));
    PG_TRY(pg_yaml_string(&l->y, pg_yaml_get(root, "source"), &s->source, l->err));
    PG_TRY(pg_yaml_strings(&l->y, notes ? notes : pg_yaml_get(root, "note"), &s->notes,
                           &s->note_count, l->err));
    PG_TRY(pg_yaml_strings(&l->y, pg_yaml_get(root, "leaves_out"), &s->leaves_out,
                           &s->leaves_out_count, l->err));
    PG_TRY(load_verdict(l, pg_yaml_get(root, "verdict")));
    PG_TRY(pg_load_machine(l, pg_yaml_get(root, "machine")));
    return pg_load_insns(l, pg_yaml_get(root, "instructions"));
}

res_t pg_spec_parse(const char *file, const void *text, size_t bytes, struct pg_spec **out,
                    struct err *err)
{
    struct err none;
    struct pg_spec *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, ERR_NO_MEMORY, "no memory for %s", file);
    arena_init(&s->arena, ARENA_BYTES);
    s->file = arena_strdup(&s->arena, file);
    s->trap_kinds = arena_zalloc(&s->arena, 64 * sizeof *s->trap_kinds);
    struct pg_load l = {.spec = s, .err = err ? err : &none};
    l.y = (struct pg_yaml){.file = file, .bytes = text, .size = bytes, .arena = &s->arena};
    res_code_t res = FAIL;
    if (!s->file || !s->trap_kinds) {
        res = err_set(err, ERR_NO_MEMORY, "no memory for %s", file);
    } else {
        s->trap_kinds[s->trap_kind_count++] = "mem";
        if (pg_yaml_parse(&l.y, l.err) == OK)
            res = load_top(&l);
    }
    if (res != OK) {
        pg_spec_free(s);
        return FAIL;
    }
    *out = s;
    return OK;
}

res_t pg_spec_load(const char *file, struct pg_spec **out, struct err *err)
{
    FILE *f = fopen(file, "rb");
    if (!f)
        return err_set_os(err, "%s", file);
    char *text = malloc(PG_FILE_BYTES_MAX + 1);
    if (!text) {
        fclose(f);
        return err_set(err, ERR_NO_MEMORY, "no memory for %s", file);
    }
    errno = 0;
    size_t n = fread(text, 1, PG_FILE_BYTES_MAX + 1, f);
    res_code_t res =
        ferror(f) ? err_set_os(err, "%s", file) : pg_spec_parse(file, text, n, out, err);
    fclose(f);
    free(text);
    return res;
}

void pg_spec_free(struct pg_spec *spec)
{
    if (!spec)
        return;
    arena_fini(&spec->arena);
    free(spec);
}

const struct pg_insn *pg_spec_find(const struct pg_spec *spec, const char *name,
                                   const char **nearest)
{
    for (uint32_t i = 0; i < spec->insn_count; i++)
        if (!strcmp(spec->insns[i].name, name))
            return &spec->insns[i];
    if (nearest) {
        const char *names[PG_INSNS_MAX];
        for (uint32_t i = 0; i < spec->insn_count; i++)
            names[i] = spec->insns[i].name;
        *nearest = pg_nearest(name, names, spec->insn_count);
    }
    return NULL;
}

const struct pg_reg *pg_spec_cell_reg(const struct pg_spec *spec, uint32_t cell)
{
    return &spec->regs[spec->cell_reg[cell]];
}

void pg_spec_cell_name(const struct pg_spec *spec, uint32_t cell, char *out, size_t cap)
{
    const struct pg_reg *r = pg_spec_cell_reg(spec, cell);
    if (r->array)
        snprintf(out, cap, "%s[%u]", r->name, cell - r->first_cell);
    else
        snprintf(out, cap, "%s", r->name);
}
