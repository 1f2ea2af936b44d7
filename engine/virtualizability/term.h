/*
 * virtualizability/term.h - formulas over initial states: shared, simplified as they are made. Only for this room.
 *
 * Looks into: base, sem.  Used by: symx, question, refute, smt.
 *
 * Rules:
 *  (1) Equal terms have equal numbers: what two copies compute from the same inputs is one term.
 *  (2) Every value is a bit-vector of word_bits; `ones` has every bit that can be 1. A boolean has ones <= 1.
 *  (3) Among comparisons only EQ, ULT and SLT exist; !=, <= and > are their negations.
 *  (4) Simplification keeps the meaning at word_bits exactly: pg_term_value() of a term is what the interpreter computes.
 *
 * Fails: `full` is set when there are PG_TERMS_MAX terms or no memory; what was built since is void.
 */
#ifndef VIRTUALIZABILITY_TERM_H
#define VIRTUALIZABILITY_TERM_H

#include "engine/virtualizability/sem.h"

#define PG_TERMS_MAX 60000u

typedef uint32_t term_t;

/* Operators beside those of enum pg_op. PG_E_NOT, EQ, ULT, SLT, AND, OR, XOR, COND, SHL, SHR, SAR, ADD, SUB, MUL, DIV and
 * REM are used of those. */
enum {
    PG_K_CONST = 100, /* value */
    PG_K_VAR,         /* value: its name, see enum pg_var_kind; ones: its width */
    PG_K_ARRAY,  /* the same, an array; ones: of an element; c: number of elements, 0: memory */
    PG_K_SELECT, /* a[b] */
    PG_K_STORE,  /* a with a[b] = c */
    PG_K_FITS    /* a + b does not leave the memory */
};

/* A variable's name: kind, copy (0: both) and index packed by pg_var_name(). */
enum pg_var_kind { PG_V_CELL, PG_V_REGS, PG_V_OPERAND, PG_V_MEM, PG_V_PHYS, PG_V_UNKNOWN };

struct pg_term {
    uint8_t op;
    term_t a, b, c;
    uint32_t slot; /* in the table */
    uint64_t value, ones;
};

struct pg_terms {
    struct pg_term *t;
    uint32_t count, cap;
    uint32_t *hash; /* number + 1 */
    uint32_t hash_cap;
    unsigned bits;
    bool full;
    uint32_t unknowns;
};
res_t pg_terms_init(struct pg_terms *z, unsigned bits, struct err *err);
void pg_terms_fini(struct pg_terms *z);
void pg_terms_reset(struct pg_terms *z);

static inline uint64_t pg_var_name(enum pg_var_kind kind, unsigned copy, uint32_t index)
{
    return (uint64_t)kind << 40 | (uint64_t)copy << 32 | index;
}
term_t pg_const(struct pg_terms *z, uint64_t value);
term_t pg_var(struct pg_terms *z, uint64_t name, unsigned bits);
term_t pg_array(struct pg_terms *z, uint64_t name, unsigned bits, uint32_t count);
/* A truth value of which nothing is known. */
term_t pg_unknown(struct pg_terms *z);
term_t pg_term2(struct pg_terms *z, int op, term_t a, term_t b);
term_t pg_not(struct pg_terms *z, term_t a);
term_t pg_cond(struct pg_terms *z, term_t c, term_t a, term_t b);
term_t pg_truth(struct pg_terms *z, term_t a); /* a != 0 */
term_t pg_differ(struct pg_terms *z, term_t a, term_t b);
term_t pg_trunc(struct pg_terms *z, term_t a, unsigned bits);
term_t pg_select(struct pg_terms *z, term_t array, term_t index);
term_t pg_store(struct pg_terms *z, term_t array, term_t index, term_t value);
term_t pg_fits(struct pg_terms *z, term_t a, term_t l);
/* The term with its parts replaced; op, value and ones are those of `like`. */
term_t pg_rebuild(struct pg_terms *z, const struct pg_term *like, term_t a, term_t b, term_t c);

static inline bool pg_is_const(const struct pg_terms *z, term_t a)
{
    return z->t[a].op == PG_K_CONST;
}
/* Both sides of the AND are booleans, so it is true if both are. */
static inline bool pg_is_conjunction(const struct pg_terms *z, term_t a)
{
    const struct pg_term *t = &z->t[a];
    return t->op == PG_E_AND && z->t[t->a].ones <= 1 && z->t[t->b].ones <= 1 &&
           !pg_is_const(z, t->b);
}
static inline bool pg_is_value(const struct pg_terms *z, term_t a, uint64_t v)
{
    return z->t[a].op == PG_K_CONST && z->t[a].value == v;
}

#endif
