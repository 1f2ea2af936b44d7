/* Words of the semantics language: see sem_lex.h. */
#include "engine/virtualizability/sem_lex.h"

#include "engine/base/base.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

void pg_lex_init(struct pg_lex *l, const struct pg_text *text)
{
    *l = (struct pg_lex){.text = text, .at = text->s, .line = text->line, .column = text->column};
}

bool pg_lex_is(const struct pg_lex *l, const char *op)
{
    return l->tok == PG_T_OP && !strcmp(l->op, op);
}

res_t pg_lex_fail(const struct pg_lex *l, struct err *err, const char *fmt, ...)
{
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(err, ERR_INVALID, "%s:%u:%u: %s", l->text->file, l->tok_line, l->tok_column,
                   text);
}

res_t pg_lex_expected(const struct pg_lex *l, const char *expected, struct err *err)
{
    if (l->tok == PG_T_END)
        return pg_lex_fail(l, err, "%s was expected, found the end of the text", expected);
    return pg_lex_fail(l, err, "%s was expected, found \"%.*s\"", expected, (int)MIN(l->len, 30u),
                       l->start);
}

static void advance(struct pg_lex *l)
{
    if (*l->at++ == '\n') {
        l->line++;
        l->column = l->text->indent;
    } else {
        l->column++;
    }
}

static void skip_space(struct pg_lex *l)
{
    for (;;) {
        while (*l->at == ' ' || *l->at == '\t' || *l->at == '\n' || *l->at == '\r')
            advance(l);
        if (*l->at != '#' && !(l->at[0] == '/' && l->at[1] == '/'))
            return;
        while (*l->at && *l->at != '\n')
            advance(l);
    }
}

static bool name_char(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* Length of the operator that s begins with; 0: none. The longest wins; the signed ones end in an s that is no name. */
static size_t operator_length(const char *s)
{
    static const char *const ops[] = {">>s", "<=s", ">=s", "<s", ">s", "<<", ">>",
                                      "<=",  ">=",  "==",  "!=", "&&", "||"};
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        size_t n = strlen(ops[i]);
        if (!strncmp(s, ops[i], n) && (ops[i][n - 1] != 's' || !name_char(s[n])))
            return n;
    }
    return *s && strchr("+-*/%&|^~!<>=?:;,()[]{}", *s) ? 1 : 0;
}

static res_code_t lex_number(struct pg_lex *l, struct err *err)
{
    const char *s = l->start;
    unsigned base = 10;
    uint64_t v = 0;
    size_t i = 0;
    if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
        base = 16;
    else if (s[0] == '0' && (s[1] == 'b' || s[1] == 'B'))
        base = 2;
    if (base != 10)
        i = 2;
    if (i == l->len)
        return pg_lex_fail(l, err, "digits were expected after \"%.2s\"", s);
    for (; i < l->len; i++) {
        char c = s[i];
        unsigned d = 99;
        if (c == '_')
            continue;
        if (isdigit((unsigned char)c))
            d = (unsigned)(c - '0');
        else if (isalpha((unsigned char)c))
            d = (unsigned)((c | 32) - 'a') + 10;
        if (d >= base)
            return pg_lex_fail(l, err, "\"%.*s\" is no number in base %u", (int)MIN(l->len, 30u), s,
                               base);
        if (v > (UINT64_MAX - d) / base)
            return pg_lex_fail(l, err, "\"%.*s\" needs more than 64 bits", (int)MIN(l->len, 30u),
                               s);
        v = v * base + d;
    }
    l->number = v;
    l->tok = PG_T_NUMBER;
    return OK;
}

res_t pg_lex_next(struct pg_lex *l, struct err *err)
{
    static const struct {
        const char *word;
        enum pg_tok tok;
    } words[] = {
        {"if", PG_T_IF}, {"else", PG_T_ELSE}, {"trap", PG_T_TRAP}, {"choice", PG_T_CHOICE}};
    skip_space(l);
    l->start = l->at;
    l->len = 0;
    l->tok_line = l->line;
    l->tok_column = l->column;
    l->op[0] = 0;
    if (!*l->at) {
        l->tok = PG_T_END;
        return OK;
    }
    if (name_char(*l->at)) {
        while (name_char(*l->at) || (*l->at == '.' && name_char(l->at[1])))
            advance(l);
        l->len = (size_t)(l->at - l->start);
        if (isdigit((unsigned char)*l->start))
            return lex_number(l, err);
        l->tok = PG_T_NAME;
        for (size_t i = 0; i < ARRAY_LEN(words); i++)
            if (strlen(words[i].word) == l->len && !memcmp(l->start, words[i].word, l->len))
                l->tok = words[i].tok;
        return OK;
    }
    l->len = operator_length(l->at);
    if (!l->len) {
        l->len = 1;
        return pg_lex_fail(l, err,
                           "the character \"%.1s\" has no meaning here; an operator, a name or a "
                           "number was expected",
                           isprint((unsigned char)*l->at) ? l->at : "?");
    }
    for (size_t i = 0; i < l->len; i++)
        advance(l);
    memcpy(l->op, l->start, l->len);
    l->op[l->len] = 0;
    l->tok = PG_T_OP;
    return OK;
}
