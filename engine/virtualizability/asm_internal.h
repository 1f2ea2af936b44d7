/*
 * virtualizability/asm_internal.h - what the two files of the assembler share: asm_text.c reads words, names and
 * expressions, asm.c lines.
 *
 * Looks into: base.  Used by: asm.c, asm_text.c.
 */
#ifndef VIRTUALIZABILITY_ASM_INTERNAL_H
#define VIRTUALIZABILITY_ASM_INTERNAL_H

#include "engine/virtualizability/asm.h"

#define BUCKETS 512

struct pg_symbol {
    struct pg_symbol *next;  /* of all */
    struct pg_symbol *chain; /* of its bucket */
    const char *name;
    uint64_t value;
    uint32_t line; /* 0: defined by the caller */
    bool label;
};

enum pg_token_kind {
    PG_TOKEN_END,
    PG_TOKEN_NAME,
    PG_TOKEN_DIRECTIVE,
    PG_TOKEN_NUMBER,
    PG_TOKEN_SIGN
};
struct pg_token {
    enum pg_token_kind kind;
    const char *at; /* a directive's begins with its dot */
    size_t len;
    uint64_t number;
};

struct pg_asm {
    const char *file;
    struct err *err;
    struct pg_program *program;
    struct pg_symbol *bucket[BUCKETS];
    uint32_t names;
    uint32_t *line_of; /* of each cell that is filled; 0: not yet */
    int pass;          /* 1: places and names, 2: values */
    bool size_given, entry_given;
    uint32_t cell; /* the next one to fill */

    const char *line, *at, *end; /* the line at hand */
    uint32_t line_number;
    struct pg_token token; /* the one at hand */
    unsigned nesting;
};

/* FAIL with "FILE:LINE:COLUMN: " in front, the column being that of `where` in the line at hand. */
res_code_t pg_asm_fail(struct pg_asm *s, const char *where, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same, as "expected WHAT, found" the token at hand. */
res_code_t pg_asm_expected(struct pg_asm *s, const char *what);
/* Take the next token of the line. */
res_t pg_asm_next(struct pg_asm *s);
/* Is it this sign? Then it is taken: *is. */
res_t pg_asm_accept(struct pg_asm *s, const char *sign, bool *is);
res_t pg_asm_want(struct pg_asm *s, const char *sign);
bool pg_asm_sign(const struct pg_asm *s, const char *sign);

struct pg_symbol *pg_asm_find(const struct pg_asm *s, const char *name, size_t len);
res_t pg_asm_define(struct pg_asm *s, struct pg_token name, uint64_t value, bool label);

/*
 * An expression. In pass 1 names that are not defined yet are 0, unless `now` asks for the value: then they are errors.
 */
res_t pg_asm_expr(struct pg_asm *s, bool now, uint64_t *out);
/* One of at most `max`; `what` is for the message. */
res_t pg_asm_expr_upto(struct pg_asm *s, bool now, uint64_t max, const char *what, uint64_t *out);

#endif
