/* The assembler's lines: two passes, the first for places and names, the second for values. */
#include "engine/virtualizability/asm_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static res_code_t line_end(struct pg_asm *s)
{
    return s->token.kind == PG_TOKEN_END ? OK : pg_asm_expected(s, "the end of the line");
}

/* Fill the next cell. */
static res_code_t emit(struct pg_asm *s, const char *where, uint64_t value)
{
    uint32_t limit = s->size_given ? s->program->q : PG_FORMAL_CELLS_MAX;
    if (s->cell >= limit)
        return pg_asm_fail(s, where, "cell %u is not there: the machine has %u cells%s", s->cell,
                           limit, s->size_given ? " (.size)" : " at most");
    if (s->pass == 1) {
        if (s->line_of[s->cell])
            return pg_asm_fail(s, where, "cell %u is filled in line %u already", s->cell,
                               s->line_of[s->cell]);
        s->line_of[s->cell] = s->line_number;
        s->program->filled = MAX(s->program->filled, s->cell + 1);
    } else {
        s->program->cells[s->cell] = value;
    }
    s->cell++;
    return OK;
}

/* ---- directives; the token at hand is the first behind the name ---- */

static res_code_t do_word(struct pg_asm *s)
{
    for (bool more = true; more;) {
        const char *where = s->token.at;
        uint64_t v;
        if (pg_asm_expr(s, false, &v) || emit(s, where, v) || pg_asm_accept(s, ",", &more))
            return FAIL;
    }
    return OK;
}

/* mode, P, l, b */
static res_code_t psw_fields(struct pg_asm *s, struct pg_psw *out)
{
    uint64_t m, p, l, b;
    if (s->token.kind == PG_TOKEN_NAME && s->token.len == 1 && strchr("sSuU", *s->token.at)) {
        m = (*s->token.at | 0x20) == 'u';
        if (pg_asm_next(s))
            return FAIL;
    } else if (pg_asm_expr_upto(s, false, 1, "the mode", &m)) {
        return FAIL;
    }
    if (pg_asm_want(s, ",") || pg_asm_expr_upto(s, false, 0xffff, "P", &p) || pg_asm_want(s, ",") ||
        pg_asm_expr_upto(s, false, 0xffff, "l", &l) || pg_asm_want(s, ",") ||
        pg_asm_expr_upto(s, false, 0xffff, "b", &b))
        return FAIL;
    *out = (struct pg_psw){(uint32_t)m, (uint32_t)p, (uint32_t)l, (uint32_t)b};
    return OK;
}

static res_code_t do_psw(struct pg_asm *s)
{
    const char *where = s->token.at;
    struct pg_psw w;
    return psw_fields(s, &w) ? FAIL : emit(s, where, pg_psw_pack(w));
}

static res_code_t do_entry(struct pg_asm *s)
{
    if (s->pass == 1 && s->entry_given)
        return pg_asm_fail(s, s->token.at, "a second .entry");
    s->entry_given = true;
    return psw_fields(s, &s->program->entry);
}

static res_code_t do_org(struct pg_asm *s)
{
    uint64_t v;
    if (pg_asm_expr_upto(s, true, PG_FORMAL_CELLS_MAX, "the cell to go on at", &v))
        return FAIL;
    s->cell = (uint32_t)v;
    return OK;
}

static res_code_t do_fill(struct pg_asm *s)
{
    const char *where = s->token.at;
    uint64_t count, value = 0;
    bool has_value;
    if (pg_asm_expr_upto(s, true, PG_FORMAL_CELLS_MAX, "the number of cells", &count) ||
        pg_asm_accept(s, ",", &has_value) || (has_value && pg_asm_expr(s, false, &value)))
        return FAIL;
    for (; count; count--)
        if (emit(s, where, value))
            return FAIL;
    return OK;
}

static res_code_t do_size(struct pg_asm *s)
{
    const char *where = s->token.at;
    uint64_t v;
    if (s->pass == 1 && s->size_given)
        return pg_asm_fail(s, where, "a second .size");
    if (pg_asm_expr_upto(s, true, PG_FORMAL_CELLS_MAX, "the number of cells", &v))
        return FAIL;
    if (v < 2 || v < s->program->filled)
        return pg_asm_fail(s, where, "%u cells: at least %u were expected", (uint32_t)v,
                           MAX(2, s->program->filled));
    s->size_given = true;
    s->program->q = (uint32_t)v;
    return OK;
}

static res_code_t do_variant(struct pg_asm *s)
{
    const char *p = s->token.at, *name = p;
    while (p < s->end && ((*p >= 'a' && *p <= 'z') || *p == '-'))
        p++;
    if (!pg_variant_find(name, (size_t)(p - name), &s->program->variant))
        return pg_asm_expected(s, "pg, pg-retu or pg-lra");
    s->at = p;
    return pg_asm_next(s);
}

static res_code_t do_default(struct pg_asm *s)
{
    struct pg_token name = s->token;
    uint64_t v;
    if (name.kind != PG_TOKEN_NAME)
        return pg_asm_expected(s, "a name");
    if (pg_asm_next(s) || pg_asm_want(s, ",") || pg_asm_expr(s, true, &v))
        return FAIL;
    const struct pg_symbol *y = pg_asm_find(s, name.at, name.len);
    return y && !y->line ? OK : pg_asm_define(s, name, v, false);
}

static const struct {
    const char *name;
    res_code_t (*run)(struct pg_asm *s);
} directives[] = {{".word", do_word},       {".psw", do_psw},        {".entry", do_entry},
                  {".org", do_org},         {".fill", do_fill},      {".size", do_size},
                  {".variant", do_variant}, {".default", do_default}};

static res_code_t directive(struct pg_asm *s)
{
    for (size_t i = 0; i < ARRAY_LEN(directives); i++)
        if (strlen(directives[i].name) == s->token.len &&
            !strncasecmp(directives[i].name, s->token.at, s->token.len))
            return pg_asm_next(s) || directives[i].run(s) ? FAIL : line_end(s);
    return pg_asm_expected(s, "a directive (.word .psw .entry .org .fill .size .variant .default)");
}

/* ---- instructions ---- */

/* "MOV: operand 2" for messages */
static res_code_t operand(struct pg_asm *s, const struct pg_op_info *op, unsigned index,
                          uint64_t *word)
{
    char what[32];
    char kind = op->operands[index];
    uint64_t v;
    snprintf(what, sizeof what, "%s's operand %u", op->name, index + 1);
    if (pg_asm_expr_upto(s, false, kind == 'L' ? UINT32_MAX : 0xffff, what, &v))
        return FAIL;
    *word |= v << (kind == 'a' || kind == 'n' ? 32 : kind == 'b' ? 16 : 0);
    return OK;
}

static res_code_t instruction(struct pg_asm *s, struct pg_token name)
{
    uint32_t number = 0;
    const struct pg_op_info *op;
    while ((op = pg_op_info(number)) &&
           (strlen(op->name) != name.len || strncasecmp(op->name, name.at, name.len)))
        number++;
    if (!op) {
        s->token = name;
        return pg_asm_expected(s, "an instruction (MOV ... HALT), \"NAME:\" or \"NAME =\"");
    }
    uint64_t word = (uint64_t)number << 48;
    for (unsigned i = 0; op->operands[i]; i++) {
        if (op->operands[i] == 'n' && s->token.kind == PG_TOKEN_END)
            break;
        if ((i && pg_asm_want(s, ",")) || operand(s, op, i, &word))
            return FAIL;
    }
    return line_end(s) ? FAIL : emit(s, name.at, word);
}

/* ---- the text ---- */

static res_code_t line(struct pg_asm *s)
{
    if (pg_asm_next(s))
        return FAIL;
    while (s->token.kind == PG_TOKEN_NAME) {
        struct pg_token name = s->token;
        uint64_t v;
        if (pg_asm_next(s))
            return FAIL;
        if (pg_asm_sign(s, ":")) {
            if (pg_asm_define(s, name, s->cell, true) || pg_asm_next(s))
                return FAIL;
            continue;
        }
        if (!pg_asm_sign(s, "="))
            return instruction(s, name);
        if (pg_asm_next(s) || pg_asm_expr(s, true, &v) || pg_asm_define(s, name, v, false))
            return FAIL;
        return line_end(s);
    }
    return s->token.kind == PG_TOKEN_DIRECTIVE ? directive(s) : line_end(s);
}

static res_code_t pass(struct pg_asm *s, const char *text, size_t len)
{
    const char *p = text, *end = text + len;
    s->pass++;
    s->cell = 0;
    s->line_number = 0;
    while (p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        s->line = s->at = p;
        s->end = stop ? stop : end;
        s->line_number++;
        if (line(s))
            return FAIL;
        p = stop ? stop + 1 : end;
    }
    return OK;
}

static res_code_t define_outside(struct pg_asm *s, const struct pg_define *defines, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct pg_token t = {PG_TOKEN_NAME, defines[i].name, strlen(defines[i].name), 0};
        if (pg_asm_define(s, t, defines[i].value, false))
            return FAIL;
    }
    return OK;
}

static res_code_t both_passes(struct pg_asm *s, const char *text, size_t len)
{
    struct pg_program *p = s->program;
    if (pass(s, text, len))
        return FAIL;
    if (!s->size_given)
        p->q = MAX(2, p->filled);
    p->entry = (struct pg_psw){PG_MODE_S, 2, 0, p->q};
    p->cells = arena_zalloc(&p->arena, p->q * sizeof *p->cells);
    if (!p->cells)
        return err_set(s->err, ERR_NO_MEMORY, "no memory for the %u cells of %.100s", p->q,
                       s->file);
    return pass(s, text, len);
}

res_t pg_asm(const char *file, const char *text, size_t len, const struct pg_define *defines,
             size_t define_count, struct pg_program *out, struct err *err)
{
    struct pg_program p = {.variant = PG_VARIANT_PG};
    if (len > PG_ASM_TEXT_MAX_BYTES)
        return err_set(err, ERR_LIMIT, "%.100s has %zu bytes: at most %zu were expected", file, len,
                       PG_ASM_TEXT_MAX_BYTES);
    struct pg_asm *s = calloc(1, sizeof *s);
    uint32_t *line_of = calloc(PG_FORMAL_CELLS_MAX, sizeof *line_of);
    arena_init(&p.arena, 0);
    res_code_t res = FAIL;
    if (!s || !line_of) {
        res = err_set(err, ERR_NO_MEMORY, "no memory to assemble %.100s", file);
    } else {
        *s = (struct pg_asm){.file = file, .err = err, .program = &p, .line_of = line_of};
        res = define_outside(s, defines, define_count);
        if (!res)
            res = both_passes(s, text, len);
    }
    free(line_of);
    free(s);
    if (res)
        arena_fini(&p.arena);
    else
        *out = p;
    return res;
}

void pg_program_fini(struct pg_program *p)
{
    arena_fini(&p->arena);
    *p = (struct pg_program){.variant = PG_VARIANT_PG};
}

bool pg_program_symbol(const struct pg_program *p, const char *name, uint64_t *value)
{
    for (const struct pg_symbol *y = p->symbols; y; y = y->next)
        if (!strcmp(y->name, name)) {
            *value = y->value;
            return true;
        }
    return false;
}

const char *pg_program_label(const struct pg_program *p, uint32_t cell, uint32_t *behind)
{
    const struct pg_symbol *best = NULL;
    for (const struct pg_symbol *y = p->symbols; y; y = y->next)
        if (y->label && y->value <= cell && (!best || y->value > best->value))
            best = y;
    if (!best)
        return NULL;
    *behind = cell - (uint32_t)best->value;
    return best->name;
}

res_t pg_program_load(const struct pg_program *p, struct pg_formal *out, struct err *err)
{
    struct pg_formal m;
    if (pg_formal_init(&m, p->variant, p->q, err))
        return FAIL;
    memcpy(m.cells, p->cells, p->q * sizeof *m.cells);
    m.psw = p->entry;
    *out = m;
    return OK;
}
