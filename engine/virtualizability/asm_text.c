/* The assembler's words, names and expressions. */
#include "engine/virtualizability/asm_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- messages ---- */

res_code_t pg_asm_fail(struct pg_asm *s, const char *where, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(s->err, ERR_INVALID, "%.100s:%u:%u: %s", s->file, s->line_number,
                   (unsigned)(where - s->line) + 1, text);
}

/* The token at hand, for a message: bytes that are not printable are shown by number. */
static void describe(const struct pg_asm *s, char *out, size_t cap)
{
    size_t n = 0;
    if (s->token.kind == PG_TOKEN_END) {
        snprintf(out, cap, "the end of the line");
        return;
    }
    out[n++] = '"';
    for (size_t i = 0; i < s->token.len && n + 8 < cap; i++) {
        unsigned char c = (unsigned char)s->token.at[i];
        n += (size_t)snprintf(out + n, cap - n, c >= 0x20 && c < 0x7f ? "%c" : "\\x%02x", c);
    }
    out[n++] = '"';
    out[n] = 0;
}

res_code_t pg_asm_expected(struct pg_asm *s, const char *what)
{
    char found[60];
    describe(s, found, sizeof found);
    return pg_asm_fail(s, s->token.at, "expected %s, found %s", what, found);
}

/* ---- tokens ---- */

static bool begins_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool in_name(char c)
{
    return begins_name(c) || (c >= '0' && c <= '9');
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 99;
}

static res_code_t number(struct pg_asm *s, struct pg_token *t)
{
    const char *p = t->at, *end = t->at + t->len;
    unsigned base = 10;
    uint64_t v = 0;
    if (t->len > 2 && p[0] == '0' && (p[1] | 0x20) == 'x')
        base = 16, p += 2;
    else if (t->len > 2 && p[0] == '0' && (p[1] | 0x20) == 'b')
        base = 2, p += 2;
    for (; p < end; p++) {
        if (*p == '_' && p > t->at)
            continue;
        unsigned d = (unsigned)digit(*p);
        if (d >= base)
            return pg_asm_fail(s, p, "'%c' in a number: digits of base %u were expected", *p, base);
        if (v > (UINT64_MAX - d) / base)
            return pg_asm_fail(s, t->at, "the number does not fit into 64 bits");
        v = v * base + d;
    }
    t->number = v;
    return OK;
}

static const char *const signs[] = {"<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "<",
                                    ">",  "=",  "!",  "&",  "|",  "^",  "~",  "+",  "-",
                                    "*",  "/",  "%",  "(",  ")",  "?",  ":",  ",",  "."};

res_t pg_asm_next(struct pg_asm *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\r'))
        s->at++;
    struct pg_token *t = &s->token;
    *t = (struct pg_token){PG_TOKEN_END, s->at, 0, 0};
    if (s->at == s->end || *s->at == ';' || *s->at == '#')
        return OK;
    char first = *s->at;
    if (in_name(first) || (first == '.' && s->at + 1 < s->end && begins_name(s->at[1]))) {
        const char *p = s->at + 1;
        while (p < s->end && in_name(*p))
            p++;
        t->kind = first == '.'         ? PG_TOKEN_DIRECTIVE
                  : begins_name(first) ? PG_TOKEN_NAME
                                       : PG_TOKEN_NUMBER;
        t->len = (size_t)(p - s->at);
        s->at = p;
        return t->kind == PG_TOKEN_NUMBER ? number(s, t) : OK;
    }
    for (size_t i = 0; i < ARRAY_LEN(signs); i++) {
        size_t n = strlen(signs[i]);
        if ((size_t)(s->end - s->at) >= n && !memcmp(s->at, signs[i], n)) {
            *t = (struct pg_token){PG_TOKEN_SIGN, s->at, n, 0};
            s->at += n;
            return OK;
        }
    }
    t->len = 1;
    t->kind = PG_TOKEN_SIGN;
    return pg_asm_expected(s, "a name, a number or a sign");
}

bool pg_asm_sign(const struct pg_asm *s, const char *sign)
{
    return s->token.kind == PG_TOKEN_SIGN && s->token.len == strlen(sign) &&
           !memcmp(s->token.at, sign, s->token.len);
}

res_t pg_asm_accept(struct pg_asm *s, const char *sign, bool *is)
{
    *is = pg_asm_sign(s, sign);
    return *is ? pg_asm_next(s) : OK;
}

res_t pg_asm_want(struct pg_asm *s, const char *sign)
{
    bool is;
    char what[8];
    if (pg_asm_accept(s, sign, &is))
        return FAIL;
    snprintf(what, sizeof what, "\"%s\"", sign);
    return is ? OK : pg_asm_expected(s, what);
}

/* ---- names ---- */

static uint32_t hash(const char *name, size_t len)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)name[i]) * 16777619u;
    return h % BUCKETS;
}

struct pg_symbol *pg_asm_find(const struct pg_asm *s, const char *name, size_t len)
{
    struct pg_symbol *y = s->bucket[hash(name, len)];
    while (y && (strlen(y->name) != len || memcmp(y->name, name, len)))
        y = y->chain;
    return y;
}

res_t pg_asm_define(struct pg_asm *s, struct pg_token name, uint64_t value, bool label)
{
    struct pg_symbol *y = pg_asm_find(s, name.at, name.len);
    if (name.len > PG_ASM_NAME_MAX_BYTES)
        return pg_asm_fail(s, name.at, "a name of %zu bytes: at most %d were expected", name.len,
                           PG_ASM_NAME_MAX_BYTES);
    if (y && s->pass == 2 && y->line == s->line_number) {
        y->value = value;
        return OK;
    }
    if (y && y->line)
        return pg_asm_fail(s, name.at, "%.*s is defined in line %u already", (int)name.len, name.at,
                           y->line);
    if (y)
        return pg_asm_fail(s, name.at, "%.*s is defined from outside (use .default)", (int)name.len,
                           name.at);
    if (s->names++ == PG_ASM_NAMES_MAX)
        return pg_asm_fail(s, name.at, "more than %d names", PG_ASM_NAMES_MAX);
    char *copy = arena_alloc(&s->program->arena, name.len + 1);
    y = arena_alloc(&s->program->arena, sizeof *y);
    if (!copy || !y)
        return err_set(s->err, ERR_NO_MEMORY, "no memory for the names of %.100s", s->file);
    memcpy(copy, name.at, name.len);
    copy[name.len] = 0;
    struct pg_symbol **bucket = &s->bucket[hash(name.at, name.len)];
    *y = (struct pg_symbol){s->program->symbols, *bucket, copy, value, s->line_number, label};
    s->program->symbols = *bucket = y;
    return OK;
}

/* ---- expressions ---- */

static res_code_t ternary(struct pg_asm *s, bool now, uint64_t *out);

static res_code_t deeper(struct pg_asm *s)
{
    if (++s->nesting > PG_ASM_NESTING_MAX)
        return pg_asm_fail(s, s->token.at, "an expression nested more than %d deep",
                           PG_ASM_NESTING_MAX);
    return OK;
}

static res_code_t name_value(struct pg_asm *s, bool now, uint64_t *out)
{
    const struct pg_symbol *y = pg_asm_find(s, s->token.at, s->token.len);
    if (!y && (now || s->pass == 2))
        return pg_asm_fail(s, s->token.at, "%.*s is not defined%s",
                           (int)MIN(s->token.len, (size_t)PG_ASM_NAME_MAX_BYTES), s->token.at,
                           s->pass == 1 ? " up to here, where its value is needed" : "");
    *out = y ? y->value : 0;
    return pg_asm_next(s);
}

static res_code_t primary(struct pg_asm *s, bool now, uint64_t *out)
{
    bool is;
    if (s->token.kind == PG_TOKEN_NUMBER) {
        *out = s->token.number;
        return pg_asm_next(s);
    }
    if (s->token.kind == PG_TOKEN_NAME)
        return name_value(s, now, out);
    if (pg_asm_accept(s, ".", &is))
        return FAIL;
    if (is) {
        *out = s->cell;
        return OK;
    }
    if (pg_asm_accept(s, "(", &is))
        return FAIL;
    if (!is)
        return pg_asm_expected(s, "a number, a name or \"(\"");
    return ternary(s, now, out) ? FAIL : pg_asm_want(s, ")");
}

static res_code_t unary(struct pg_asm *s, bool now, uint64_t *out)
{
    if (s->token.kind != PG_TOKEN_SIGN || s->token.len != 1 || !strchr("-~!+", *s->token.at))
        return primary(s, now, out);
    char sign = *s->token.at;
    if (pg_asm_next(s) || deeper(s) || unary(s, now, out))
        return FAIL;
    s->nesting--;
    *out = sign == '-' ? -*out : sign == '~' ? ~*out : sign == '!' ? !*out : *out;
    return OK;
}

static const struct {
    const char *sign;
    int level;
} binaries[] = {{"||", 1}, {"&&", 2}, {"|", 3},  {"^", 4},  {"&", 5},  {"==", 6},
                {"!=", 6}, {"<", 7},  {"<=", 7}, {">", 7},  {">=", 7}, {"<<", 8},
                {">>", 8}, {"+", 9},  {"-", 9},  {"*", 10}, {"/", 10}, {"%", 10}};

static uint64_t apply(const char *sign, uint64_t a, uint64_t b)
{
    bool twice = sign[1] == sign[0];
    switch (sign[0]) {
    case '|':
        return twice ? a || b : a | b;
    case '&':
        return twice ? a && b : a & b;
    case '^':
        return a ^ b;
    case '=':
        return a == b;
    case '!':
        return a != b;
    case '<':
        return twice ? (b < 64 ? a << b : 0) : sign[1] ? a <= b : a < b;
    case '>':
        return twice ? (b < 64 ? a >> b : 0) : sign[1] ? a >= b : a > b;
    case '+':
        return a + b;
    case '-':
        return a - b;
    case '*':
        return a * b;
    case '/':
        return a / b;
    default:
        return a % b;
    }
}

/* Operators that bind at least as tightly as `level`. */
static res_code_t binary(struct pg_asm *s, bool now, int level, uint64_t *out)
{
    if (unary(s, now, out))
        return FAIL;
    for (;;) {
        size_t i = 0;
        while (i < ARRAY_LEN(binaries) && !pg_asm_sign(s, binaries[i].sign))
            i++;
        if (i == ARRAY_LEN(binaries) || binaries[i].level < level)
            return OK;
        const char *where = s->token.at, *sign = binaries[i].sign;
        uint64_t right;
        if (pg_asm_next(s) || binary(s, now, binaries[i].level + 1, &right))
            return FAIL;
        if ((*sign == '/' || *sign == '%') && right == 0) {
            if (s->pass == 2 || now)
                return pg_asm_fail(s, where, "a division by zero");
            right = 1; /* perhaps of a name of further below */
        }
        *out = apply(sign, *out, right);
    }
}

static res_code_t ternary(struct pg_asm *s, bool now, uint64_t *out)
{
    bool is;
    uint64_t yes, no;
    if (deeper(s) || binary(s, now, 1, out) || pg_asm_accept(s, "?", &is))
        return FAIL;
    if (is) {
        if (ternary(s, now, &yes) || pg_asm_want(s, ":") || ternary(s, now, &no))
            return FAIL;
        *out = *out ? yes : no;
    }
    s->nesting--;
    return OK;
}

res_t pg_asm_expr(struct pg_asm *s, bool now, uint64_t *out)
{
    s->nesting = 0;
    return ternary(s, now, out);
}

res_t pg_asm_expr_upto(struct pg_asm *s, bool now, uint64_t max, const char *what, uint64_t *out)
{
    const char *where = s->token.at;
    if (pg_asm_expr(s, now, out))
        return FAIL;
    if (*out > max && (now || s->pass == 2))
        return pg_asm_fail(s, where, "%s is %" PRIu64 ": 0 to %" PRIu64 " were expected", what,
                           *out, max);
    return OK;
}
