/* Recursive descent over the semantics language (sem.h); C's precedence. */
#include "engine/base/base.h"
#include "engine/virtualizability/sem_lex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parser {
    struct pg_lex l;
    struct pg_spec *spec;
    struct pg_insn *insn; /* NULL: a condition over registers */
    unsigned depth, nodes;
    uint64_t locals_read;              /* bit i: local i is read somewhere */
    struct pg_lex born[PG_LOCALS_MAX]; /* where it was first assigned */
    struct err *err;
};

#define TRY(x)           \
    do {                 \
        if ((x) != OK)   \
            return FAIL; \
    } while (0)

static res_code_t expression(struct parser *p, const struct pg_expr **out);
static res_code_t block(struct parser *p, const struct pg_stmt **out);

/* ---- help with names ---- */

static unsigned distance(const char *a, const char *b)
{
    unsigned row[40];
    size_t n = strlen(b);
    if (n >= ARRAY_LEN(row) || strlen(a) >= ARRAY_LEN(row))
        return 99;
    for (size_t j = 0; j <= n; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= n; j++) {
            unsigned same = (a[i - 1] | 32) == (b[j - 1] | 32) ? 0 : 1;
            unsigned best = MIN(MIN(row[j], row[j - 1]) + 1, diagonal + same);
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[n];
}

const char *pg_nearest(const char *name, const char *const *names, size_t count)
{
    const char *found = NULL;
    unsigned best = strlen(name) > 4 ? 3 : 2;
    for (size_t i = 0; i < count; i++) {
        unsigned d = names[i] ? distance(name, names[i]) : 99;
        if (d < best && d < strlen(names[i])) {
            best = d;
            found = names[i];
        }
    }
    return found;
}

static res_code_t unknown_name(struct parser *p, const char *name, const char *expected)
{
    const char *names[PG_REGS_MAX + PG_MODES_MAX + PG_OPERANDS_MAX + PG_LOCALS_MAX + 3];
    size_t n = 0;
    for (uint32_t i = 0; i < p->spec->reg_count; i++)
        names[n++] = p->spec->regs[i].name;
    for (uint32_t i = 0; i < p->spec->mode_count; i++)
        names[n++] = p->spec->modes[i];
    if (p->insn) {
        for (uint32_t i = 0; i < p->insn->operand_count; i++)
            names[n++] = p->insn->operands[i].name;
        for (uint32_t i = 0; i < p->insn->local_count; i++)
            names[n++] = p->insn->locals[i];
        names[n++] = "mem";
        names[n++] = "phys";
        names[n++] = "sext";
    }
    const char *near = pg_nearest(name, names, n);
    return pg_lex_fail(&p->l, p->err, "\"%.40s\" is unknown; %s was expected%s%s%s", name, expected,
                       near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

/* ---- nodes ---- */

static res_code_t new_expr(struct parser *p, enum pg_op op, const struct pg_expr *a,
                           const struct pg_expr *b, const struct pg_expr *c, struct pg_expr **out)
{
    if (++p->nodes > PG_SEM_NODES_MAX)
        return pg_lex_fail(&p->l, p->err, "the semantics are too long: at most %u nodes",
                           PG_SEM_NODES_MAX);
    struct pg_expr *e = arena_zalloc(&p->spec->arena, sizeof *e);
    if (!e)
        return err_set(p->err, ERR_NO_MEMORY, "no memory for the semantics");
    const struct pg_expr *kids[] = {a, b, c};
    *e = (struct pg_expr){.op = op, .a = a, .b = b, .c = c, .depth = 1, .index = -1};
    for (size_t i = 0; i < 3; i++)
        if (kids[i]) {
            e->touches_memory |= kids[i]->touches_memory;
            e->depth = MAX(e->depth, (uint16_t)(kids[i]->depth + 1));
        }
    e->touches_memory |= op == PG_E_MEM || op == PG_E_PHYS;
    if (e->depth > 4 * PG_EXPR_DEPTH_MAX)
        return pg_lex_fail(&p->l, p->err, "the expression is too deep: at most %u levels",
                           4 * PG_EXPR_DEPTH_MAX);
    *out = e;
    return OK;
}

static res_code_t enter(struct parser *p)
{
    if (++p->depth > PG_EXPR_DEPTH_MAX)
        return pg_lex_fail(&p->l, p->err, "nested too deep: at most %u levels", PG_EXPR_DEPTH_MAX);
    return OK;
}

static res_code_t need(struct parser *p, const char *op, const char *expected)
{
    if (!pg_lex_is(&p->l, op))
        return pg_lex_expected(&p->l, expected, p->err);
    return pg_lex_next(&p->l, p->err);
}

static void copy_name(const struct pg_lex *l, char out[64])
{
    snprintf(out, 64, "%.*s", (int)MIN(l->len, 63u), l->start);
}

static int find_reg(const struct pg_spec *s, const char *name)
{
    for (uint32_t i = 0; i < s->reg_count; i++)
        if (!strcmp(s->regs[i].name, name))
            return (int)i;
    return -1;
}

static int find_operand(const struct pg_insn *insn, const char *name)
{
    for (uint32_t i = 0; insn && i < insn->operand_count; i++)
        if (!strcmp(insn->operands[i].name, name))
            return (int)i;
    return -1;
}

static int find_local(const struct pg_insn *insn, const char *name)
{
    for (uint32_t i = 0; insn && i < insn->local_count; i++)
        if (!strcmp(insn->locals[i], name))
            return (int)i;
    return -1;
}

static int find_mode(const struct pg_spec *s, const char *name)
{
    for (uint32_t i = 0; i < s->mode_count; i++)
        if (!strcmp(s->modes[i], name))
            return (int)i;
    return -1;
}

/* ---- expressions ---- */

/* [E] behind a name; NULL for a register that is no array. */
static res_code_t index_of(struct parser *p, const struct pg_expr **out)
{
    TRY(need(p, "[", "\"[\""));
    TRY(expression(p, out));
    return need(p, "]", "\"]\"");
}

static res_code_t register_index(struct parser *p, int reg, const struct pg_expr **out)
{
    const struct pg_reg *r = &p->spec->regs[reg];
    *out = NULL;
    if (pg_lex_is(&p->l, "[")) {
        if (!r->array)
            return pg_lex_fail(&p->l, p->err,
                               "%s is one register, not an array; no \"[\" was expected", r->name);
        return index_of(p, out);
    }
    if (r->array)
        return pg_lex_fail(&p->l, p->err, "%s is an array of %u; \"[\" and an index were expected",
                           r->name, r->count);
    return OK;
}

static res_code_t sext(struct parser *p, const struct pg_expr **out)
{
    const struct pg_expr *a;
    struct pg_expr *e;
    TRY(need(p, "(", "\"(\" after sext"));
    TRY(expression(p, &a));
    TRY(need(p, ",", "\",\" and the number of bits"));
    if (p->l.tok != PG_T_NUMBER || p->l.number < 1 || p->l.number > p->spec->word_bits) {
        char expected[60];
        snprintf(expected, sizeof expected, "a number of bits, 1 to %u,", p->spec->word_bits);
        return pg_lex_expected(&p->l, expected, p->err);
    }
    TRY(new_expr(p, PG_E_SEXT, a, NULL, NULL, &e));
    e->value = p->l.number;
    *out = e;
    TRY(pg_lex_next(&p->l, p->err));
    return need(p, ")", "\")\"");
}

static res_code_t name_expr(struct parser *p, const struct pg_expr **out)
{
    char name[64];
    const struct pg_expr *a = NULL;
    struct pg_expr *e;
    int i;
    copy_name(&p->l, name);
    if (!strcmp(name, "mem") || !strcmp(name, "phys")) {
        bool phys = name[0] == 'p';
        if (!p->insn)
            return pg_lex_fail(&p->l, p->err,
                               "memory cannot stand here; registers and modes were expected");
        p->insn->uses_phys |= phys;
        TRY(pg_lex_next(&p->l, p->err));
        TRY(index_of(p, &a));
        TRY(new_expr(p, phys ? PG_E_PHYS : PG_E_MEM, a, NULL, NULL, &e));
    } else if (!strcmp(name, "sext")) {
        TRY(pg_lex_next(&p->l, p->err));
        return sext(p, out);
    } else if ((i = find_operand(p->insn, name)) >= 0 || (i = find_local(p->insn, name)) >= 0) {
        bool operand = find_operand(p->insn, name) >= 0;
        TRY(pg_lex_next(&p->l, p->err));
        TRY(new_expr(p, operand ? PG_E_OPERAND : PG_E_LOCAL, NULL, NULL, NULL, &e));
        e->index = i;
        if (!operand)
            p->locals_read |= (uint64_t)1 << i;
    } else if ((i = find_reg(p->spec, name)) >= 0) {
        TRY(pg_lex_next(&p->l, p->err));
        TRY(register_index(p, i, &a));
        TRY(new_expr(p, PG_E_REG, a, NULL, NULL, &e));
        e->index = i;
    } else if ((i = find_mode(p->spec, name)) >= 0) {
        TRY(pg_lex_next(&p->l, p->err));
        TRY(new_expr(p, PG_E_CONST, NULL, NULL, NULL, &e));
        e->value = (uint64_t)i;
    } else {
        return unknown_name(p, name,
                            p->insn ? "a register, an operand, a mode or a local assigned before"
                                    : "a register or a mode");
    }
    *out = e;
    return OK;
}

static res_code_t primary(struct parser *p, const struct pg_expr **out)
{
    struct pg_expr *e;
    if (p->l.tok == PG_T_NUMBER) {
        if (p->l.number > pg_mask(p->spec->word_bits))
            return pg_lex_fail(&p->l, p->err, "%.*s does not fit in word_bits: %u",
                               (int)MIN(p->l.len, 30u), p->l.start, p->spec->word_bits);
        TRY(new_expr(p, PG_E_CONST, NULL, NULL, NULL, &e));
        e->value = p->l.number;
        *out = e;
        return pg_lex_next(&p->l, p->err);
    }
    if (p->l.tok == PG_T_NAME)
        return name_expr(p, out);
    if (!pg_lex_is(&p->l, "("))
        return pg_lex_expected(&p->l, "an expression", p->err);
    TRY(pg_lex_next(&p->l, p->err));
    TRY(expression(p, out));
    return need(p, ")", "\")\" or an operator");
}

static res_code_t unary(struct parser *p, const struct pg_expr **out)
{
    static const struct {
        const char *op;
        enum pg_op e;
    } ops[] = {{"!", PG_E_NOT}, {"~", PG_E_COM}, {"-", PG_E_NEG}};
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        if (!pg_lex_is(&p->l, ops[i].op))
            continue;
        const struct pg_expr *a;
        struct pg_expr *e;
        TRY(enter(p));
        TRY(pg_lex_next(&p->l, p->err));
        TRY(unary(p, &a));
        p->depth--;
        TRY(new_expr(p, ops[i].e, a, NULL, NULL, &e));
        *out = e;
        return OK;
    }
    return primary(p, out);
}

struct binary {
    const char *op;
    int level; /* higher binds closer */
    enum pg_op e;
    bool swap;
};
static const struct binary binaries[] = {
    {"||", 1, PG_E_LOR, false},  {"&&", 2, PG_E_LAND, false}, {"|", 3, PG_E_OR, false},
    {"^", 4, PG_E_XOR, false},   {"&", 5, PG_E_AND, false},   {"==", 6, PG_E_EQ, false},
    {"!=", 6, PG_E_NE, false},   {"<", 7, PG_E_ULT, false},   {"<=", 7, PG_E_ULE, false},
    {">", 7, PG_E_ULT, true},    {">=", 7, PG_E_ULE, true},   {"<s", 7, PG_E_SLT, false},
    {"<=s", 7, PG_E_SLE, false}, {">s", 7, PG_E_SLT, true},   {">=s", 7, PG_E_SLE, true},
    {"<<", 8, PG_E_SHL, false},  {">>", 8, PG_E_SHR, false},  {">>s", 8, PG_E_SAR, false},
    {"+", 9, PG_E_ADD, false},   {"-", 9, PG_E_SUB, false},   {"*", 10, PG_E_MUL, false},
    {"/", 10, PG_E_DIV, false},  {"%", 10, PG_E_REM, false},
};

static const struct binary *binary_at(const struct parser *p, int level)
{
    for (size_t i = 0; i < ARRAY_LEN(binaries); i++)
        if (binaries[i].level >= level && pg_lex_is(&p->l, binaries[i].op))
            return &binaries[i];
    return NULL;
}

static res_code_t binary(struct parser *p, int level, const struct pg_expr **out)
{
    const struct binary *b;
    const struct pg_expr *left, *right;
    struct pg_expr *e;
    TRY(unary(p, &left));
    while ((b = binary_at(p, level))) {
        TRY(pg_lex_next(&p->l, p->err));
        TRY(binary(p, b->level + 1, &right));
        TRY(new_expr(p, b->e, b->swap ? right : left, b->swap ? left : right, NULL, &e));
        left = e;
    }
    *out = left;
    return OK;
}

static res_code_t expression(struct parser *p, const struct pg_expr **out)
{
    const struct pg_expr *a, *b, *c;
    struct pg_expr *e;
    TRY(enter(p));
    TRY(binary(p, 1, &a));
    if (pg_lex_is(&p->l, "?")) {
        TRY(pg_lex_next(&p->l, p->err));
        TRY(expression(p, &b));
        TRY(need(p, ":", "\":\""));
        TRY(expression(p, &c));
        TRY(new_expr(p, PG_E_COND, a, b, c, &e));
        a = e;
    }
    p->depth--;
    *out = a;
    return OK;
}

/* ---- statements ---- */

static res_code_t new_stmt(struct parser *p, enum pg_stmt_kind kind, struct pg_stmt **out)
{
    if (++p->nodes > PG_SEM_NODES_MAX)
        return pg_lex_fail(&p->l, p->err, "the semantics are too long: at most %u nodes",
                           PG_SEM_NODES_MAX);
    struct pg_stmt *s = arena_zalloc(&p->spec->arena, sizeof *s);
    if (!s)
        return err_set(p->err, ERR_NO_MEMORY, "no memory for the semantics");
    s->kind = kind;
    *out = s;
    return OK;
}

static res_code_t trap_kind(struct parser *p, const char *name, int *out)
{
    struct pg_spec *s = p->spec;
    for (uint32_t i = 0; i < s->trap_kind_count; i++)
        if (!strcmp(s->trap_kinds[i], name)) {
            *out = (int)i;
            return OK;
        }
    if (s->trap_kind_count == 64)
        return pg_lex_fail(&p->l, p->err, "too many kinds of traps: at most 64");
    char *copy = arena_strdup(&s->arena, name);
    if (!copy)
        return err_set(p->err, ERR_NO_MEMORY, "no memory for the semantics");
    *out = (int)s->trap_kind_count;
    s->trap_kinds[s->trap_kind_count++] = copy;
    return OK;
}

static res_code_t trap_stmt(struct parser *p, struct pg_stmt *s)
{
    char name[64];
    TRY(pg_lex_next(&p->l, p->err));
    if (p->l.tok != PG_T_NAME)
        return pg_lex_expected(&p->l, "the kind of trap, a name,", p->err);
    copy_name(&p->l, name);
    TRY(trap_kind(p, name, &s->index));
    TRY(pg_lex_next(&p->l, p->err));
    return need(p, ";", "\";\"");
}

static res_code_t if_stmt(struct parser *p, struct pg_stmt *s)
{
    TRY(enter(p));
    TRY(pg_lex_next(&p->l, p->err));
    TRY(expression(p, &s->value));
    TRY(block(p, &s->arm[0]));
    s->arm_count = 2;
    if (p->l.tok == PG_T_ELSE) {
        TRY(pg_lex_next(&p->l, p->err));
        if (p->l.tok == PG_T_IF) {
            struct pg_stmt *inner;
            TRY(new_stmt(p, PG_S_IF, &inner));
            TRY(if_stmt(p, inner));
            s->arm[1] = inner;
        } else {
            TRY(block(p, &s->arm[1]));
        }
    }
    p->depth--;
    return OK;
}

static res_code_t choice_stmt(struct parser *p, struct pg_stmt *s)
{
    struct pg_insn *insn = p->insn;
    if (insn->choice_count == PG_CHOICES_MAX)
        return pg_lex_fail(&p->l, p->err, "too many choices: at most %u", PG_CHOICES_MAX);
    uint32_t id = insn->choice_count++;
    s->index = (int)id;
    TRY(pg_lex_next(&p->l, p->err));
    if (p->l.tok == PG_T_NAME && p->l.len == 4 && !memcmp(p->l.start, "same", 4)) {
        insn->choice_same[id] = true;
        TRY(pg_lex_next(&p->l, p->err));
    }
    while (pg_lex_is(&p->l, "{")) {
        if (s->arm_count == PG_ARMS_MAX)
            return pg_lex_fail(&p->l, p->err, "too many arms: at most %u", PG_ARMS_MAX);
        TRY(block(p, &s->arm[s->arm_count]));
        s->arm_count++;
    }
    if (s->arm_count < 2)
        return pg_lex_expected(&p->l, "\"{\" (a choice has two arms or more)", p->err);
    insn->choice_arms[id] = (uint8_t)s->arm_count;
    return OK;
}

/* The target of an assignment, up to and without "=". */
static res_code_t target(struct parser *p, struct pg_stmt *s, char name[64], bool *fresh)
{
    struct pg_insn *insn = p->insn;
    copy_name(&p->l, name);
    *fresh = false;
    if (!strcmp(name, "mem") || !strcmp(name, "phys")) {
        s->kind = name[0] == 'p' ? PG_S_PHYS : PG_S_MEM;
        insn->uses_phys |= s->kind == PG_S_PHYS;
        TRY(pg_lex_next(&p->l, p->err));
        return index_of(p, &s->at);
    }
    if (find_operand(insn, name) >= 0)
        return pg_lex_fail(&p->l, p->err, "%s is an operand and cannot be assigned", name);
    if ((s->index = find_reg(p->spec, name)) >= 0) {
        s->kind = PG_S_REG;
        TRY(pg_lex_next(&p->l, p->err));
        return register_index(p, s->index, &s->at);
    }
    if (find_mode(p->spec, name) >= 0)
        return pg_lex_fail(&p->l, p->err, "%s is a mode and cannot be assigned", name);
    s->kind = PG_S_LOCAL;
    s->index = find_local(insn, name);
    *fresh = s->index < 0;
    TRY(pg_lex_next(&p->l, p->err));
    if (pg_lex_is(&p->l, "["))
        return unknown_name(p, name, "a register array, mem or phys");
    return OK;
}

static res_code_t assignment(struct parser *p, struct pg_stmt *s)
{
    char name[64];
    bool fresh;
    const struct pg_lex here = p->l;
    TRY(target(p, s, name, &fresh));
    TRY(need(p, "=", "\"=\""));
    TRY(expression(p, &s->value));
    TRY(need(p, ";", "\";\" or an operator"));
    if (!fresh)
        return OK;
    if (p->insn->local_count == PG_LOCALS_MAX)
        return pg_lex_fail(&p->l, p->err, "too many locals: at most %u", PG_LOCALS_MAX);
    char *copy = arena_strdup(&p->spec->arena, name);
    if (!copy)
        return err_set(p->err, ERR_NO_MEMORY, "no memory for the semantics");
    s->index = (int)p->insn->local_count;
    p->born[s->index] = here;
    p->insn->locals[p->insn->local_count++] = copy;
    return OK;
}

static res_code_t statements(struct parser *p, bool inside, const struct pg_stmt **out)
{
    const struct pg_stmt *first = NULL;
    struct pg_stmt *last = NULL, *s;
    while (p->l.tok != PG_T_END && !pg_lex_is(&p->l, "}")) {
        if (pg_lex_is(&p->l, ";")) {
            TRY(pg_lex_next(&p->l, p->err));
            continue;
        }
        TRY(new_stmt(p, PG_S_LOCAL, &s));
        if (p->l.tok == PG_T_IF) {
            s->kind = PG_S_IF;
            TRY(if_stmt(p, s));
        } else if (p->l.tok == PG_T_TRAP) {
            s->kind = PG_S_TRAP;
            TRY(trap_stmt(p, s));
        } else if (p->l.tok == PG_T_CHOICE) {
            s->kind = PG_S_CHOICE;
            TRY(choice_stmt(p, s));
        } else if (p->l.tok == PG_T_NAME) {
            TRY(assignment(p, s));
        } else {
            return pg_lex_expected(&p->l, inside ? "a statement or \"}\"" : "a statement", p->err);
        }
        if (last)
            last->next = s;
        else
            first = s;
        last = s;
    }
    *out = first;
    return OK;
}

static res_code_t block(struct parser *p, const struct pg_stmt **out)
{
    TRY(need(p, "{", "\"{\""));
    TRY(enter(p));
    TRY(statements(p, true, out));
    p->depth--;
    return need(p, "}", "\"}\"");
}

/* A local that is never read and is called almost as a register is a slip of the pen. */
static res_code_t check_locals(struct parser *p)
{
    const char *names[PG_REGS_MAX];
    for (uint32_t i = 0; i < p->spec->reg_count; i++)
        names[i] = p->spec->regs[i].name;
    for (uint32_t i = 0; i < p->insn->local_count; i++) {
        const char *name = p->insn->locals[i];
        const char *near =
            p->locals_read >> i & 1 ? NULL : pg_nearest(name, names, p->spec->reg_count);
        if (near && strlen(name) > 1)
            return pg_lex_fail(
                &p->born[i], p->err,
                "\"%.40s\" is assigned and never read; a register was expected; did you "
                "mean \"%s\"?",
                name, near);
    }
    return OK;
}

res_t pg_parse_semantics(struct pg_spec *spec, struct pg_insn *insn, const struct pg_text *text,
                         struct err *err)
{
    struct parser p = {.spec = spec, .insn = insn, .err = err};
    pg_lex_init(&p.l, text);
    TRY(pg_lex_next(&p.l, err));
    TRY(statements(&p, false, &insn->semantics));
    if (p.l.tok != PG_T_END)
        return pg_lex_expected(&p.l, "a statement", err);
    return check_locals(&p);
}

res_t pg_parse_condition(struct pg_spec *spec, const struct pg_text *text,
                         const struct pg_expr **out, struct err *err)
{
    struct parser p = {.spec = spec, .err = err};
    pg_lex_init(&p.l, text);
    TRY(pg_lex_next(&p.l, err));
    TRY(expression(&p, out));
    if (p.l.tok != PG_T_END)
        return pg_lex_expected(&p.l, "an operator or the end of the condition", err);
    return OK;
}
