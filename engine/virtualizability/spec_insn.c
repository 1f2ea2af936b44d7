/* The `instructions:` part of a specification. See spec.h. */
#include "engine/base/base.h"
#include "engine/virtualizability/spec_load.h"

#include <string.h>

static res_code_t load_operands(struct pg_load *l, const struct pg_node *n, struct pg_insn *insn)
{
    const struct pg_spec *s = l->spec;
    uint64_t bits;
    if (!n)
        return OK;
    if (n->kind != PG_N_MAP)
        return pg_yaml_fail(&l->y, n, l->err, "{NAME: BITS, ...} was expected as operands");
    for (const struct pg_node *c = n->first; c; c = c->next) {
        const char *name = c->key->text;
        if (insn->operand_count == PG_OPERANDS_MAX)
            return pg_yaml_fail(&l->y, c->key, l->err, "too many operands: at most %u",
                                PG_OPERANDS_MAX);
        for (uint32_t i = 0; i < s->reg_count; i++)
            if (!strcmp(s->regs[i].name, name))
                return pg_yaml_fail(&l->y, c->key, l->err,
                                    "%s is a register; another name was expected for the operand",
                                    name);
        for (uint32_t i = 0; i < s->mode_count; i++)
            if (!strcmp(s->modes[i], name))
                return pg_yaml_fail(&l->y, c->key, l->err,
                                    "%s is a mode; another name was expected for the operand",
                                    name);
        if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") !=
                strlen(name) ||
            !*name || strlen(name) > 60)
            return pg_yaml_fail(&l->y, c->key, l->err, "a name was expected for the operand");
        PG_TRY(pg_yaml_number(&l->y, c, 1, s->word_bits, &bits, l->err));
        insn->operands[insn->operand_count++] = (struct pg_operand){name, (unsigned)bits};
    }
    return OK;
}

static res_code_t load_expect(struct pg_load *l, const struct pg_node *n, struct pg_insn *insn)
{
    const char *words[PG_WORD_COUNT], **given;
    uint32_t count;
    if (!n)
        return OK;
    for (int w = 0; w < PG_WORD_COUNT; w++)
        words[w] = pg_word_text(w);
    PG_TRY(pg_yaml_strings(&l->y, n, &given, &count, l->err));
    insn->has_expect = true;
    const struct pg_node *at = n->kind == PG_N_LIST ? n->first : n;
    for (uint32_t i = 0; i < count; i++, at = at->next) {
        bool no = !strncmp(given[i], "not ", 4);
        const char *text = given[i] + (no ? 4 : 0);
        int w = 0;
        while (w < PG_WORD_COUNT && strcmp(words[w], text))
            w++;
        if (w == PG_WORD_COUNT) {
            const char *near = pg_nearest(text, words, PG_WORD_COUNT);
            return pg_yaml_fail(&l->y, at, l->err,
                                "\"%.40s\" is no class; privileged, control, location, mode, "
                                "resource, innocuous, trapping, ... was expected%s%s%s",
                                text, near ? "; did you mean \"" : "", near ? near : "",
                                near ? "\"?" : "");
        }
        insn->expect[w] = no ? -1 : 1;
    }
    return OK;
}

static res_code_t load_remedy(struct pg_load *l, const struct pg_node *n, struct pg_insn *insn)
{
    if (!n)
        return OK;
    bool map = n->kind == PG_N_MAP;
    uint32_t many = map ? n->count : 1, i = 0;
    struct pg_text_pair *list = arena_zalloc(&l->spec->arena, (many + 1) * sizeof *list);
    if (!list)
        return err_set(l->err, ERR_NO_MEMORY, "no memory for %s", l->y.file);
    for (const struct pg_node *c = map ? n->first : n; c && i < many; c = c->next, i++) {
        list[i].key = map ? c->key->text : "patch";
        PG_TRY(pg_yaml_string(&l->y, c, &list[i].value, l->err));
    }
    insn->remedy = list;
    insn->remedy_count = i;
    return OK;
}

static res_code_t load_insn(struct pg_load *l, const struct pg_node *n, struct pg_insn *insn)
{
    static const char *const keys[] = {"name",   "semantics", "operands", "encoding",
                                       "expect", "remedy",    "source",   "tag",
                                       "note",   "length",    NULL};
    const struct pg_node *v;
    uint64_t number = l->spec->length;
    PG_TRY(pg_yaml_keys(&l->y, n, "an instruction", keys, l->err));
    insn->line = n->line;
    for (int i = 0; i < 2; i++)
        if (!pg_yaml_get(n, keys[i]))
            return pg_yaml_fail(&l->y, n, l->err, "\"%s:\" was expected in this instruction",
                                keys[i]);
    PG_TRY(pg_yaml_string(&l->y, pg_yaml_get(n, "name"), &insn->name, l->err));
    PG_TRY(pg_yaml_string(&l->y, pg_yaml_get(n, "encoding"), &insn->encoding, l->err));
    PG_TRY(pg_yaml_string(&l->y, pg_yaml_get(n, "source"), &insn->source, l->err));
    PG_TRY(pg_yaml_string(&l->y, pg_yaml_get(n, "tag"), &insn->tag, l->err));
    PG_TRY(pg_yaml_string(&l->y, pg_yaml_get(n, "note"), &insn->note, l->err));
    insn->inferred = insn->source && !strncmp(insn->source, "inferred", 8);
    if (!insn->name[0] || strlen(insn->name) > 60)
        return pg_yaml_fail(&l->y, pg_yaml_get(n, "name"), l->err,
                            "a name of 1 to 60 characters was expected");
    if ((v = pg_yaml_get(n, "length")))
        PG_TRY(pg_yaml_number(&l->y, v, 0, 255, &number, l->err));
    insn->length = (unsigned)number;
    PG_TRY(load_operands(l, pg_yaml_get(n, "operands"), insn));
    PG_TRY(load_expect(l, pg_yaml_get(n, "expect"), insn));
    PG_TRY(load_remedy(l, pg_yaml_get(n, "remedy"), insn));
    v = pg_yaml_get(n, "semantics");
    PG_TRY(pg_yaml_string(&l->y, v, &insn->semantics_text, l->err));
    struct pg_text t = pg_yaml_text(&l->y, v);
    return pg_parse_semantics(l->spec, insn, &t, l->err);
}

res_t pg_load_insns(struct pg_load *l, const struct pg_node *list)
{
    struct pg_spec *s = l->spec;
    if (list->kind != PG_N_LIST || list->count == 0)
        return pg_yaml_fail(&l->y, list, l->err,
                            "a list of instructions was expected (\"- name: ...\")");
    if (list->count > PG_INSNS_MAX)
        return pg_yaml_fail(&l->y, list, l->err, "too many instructions: at most %u", PG_INSNS_MAX);
    s->insns = arena_zalloc(&s->arena, list->count * sizeof *s->insns);
    if (!s->insns)
        return err_set(l->err, ERR_NO_MEMORY, "no memory for %s", l->y.file);
    for (const struct pg_node *n = list->first; n; n = n->next) {
        struct pg_insn *insn = &s->insns[s->insn_count];
        PG_TRY(load_insn(l, n, insn));
        for (uint32_t i = 0; i < s->insn_count; i++)
            if (!strcmp(s->insns[i].name, insn->name))
                return pg_yaml_fail(&l->y, n, l->err, "%s is there twice; the first is in line %u",
                                    insn->name, s->insns[i].line);
        s->insn_count++;
    }
    return OK;
}
