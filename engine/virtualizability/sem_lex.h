/*
 * virtualizability/sem_lex.h - words of the semantics language. Only for the parser.
 *
 * Looks into: base, sem.  Errors: ERR_INVALID with the place.
 */
#ifndef VIRTUALIZABILITY_SEM_LEX_H
#define VIRTUALIZABILITY_SEM_LEX_H

#include "engine/virtualizability/sem.h"

#include <stdarg.h>

enum pg_tok {
    PG_T_END,
    PG_T_NAME,
    PG_T_NUMBER,
    PG_T_IF,
    PG_T_ELSE,
    PG_T_TRAP,
    PG_T_CHOICE,
    PG_T_OP /* op: its characters, as "<=s" */
};

struct pg_lex {
    const struct pg_text *text;
    const char *at; /* behind the token */
    unsigned line, column;
    /* the token */
    enum pg_tok tok;
    const char *start;
    size_t len;
    unsigned tok_line, tok_column;
    uint64_t number;
    char op[5];
};
void pg_lex_init(struct pg_lex *l, const struct pg_text *text);
res_t pg_lex_next(struct pg_lex *l, struct err *err);
bool pg_lex_is(const struct pg_lex *l, const char *op);
/* ERR_INVALID "FILE:LINE:COLUMN: ..." at the token. */
res_t pg_lex_fail(const struct pg_lex *l, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with "; EXPECTED was expected, found TOKEN". */
res_t pg_lex_expected(const struct pg_lex *l, const char *expected, struct err *err);

#endif
