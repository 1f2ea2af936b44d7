/*
 * virtualizability/pair.h - two concrete copies of the machine, made up as they are read. Only for this room.
 *
 * Looks into: question, sem.  Used by: search, witness.
 *
 * A value is drawn once, by whoever reads it first; what the question says is equal is then equal in both copies. So
 * only inputs that matter are chosen, and a small space of them can be exhausted.
 */
#ifndef VIRTUALIZABILITY_PAIR_H
#define VIRTUALIZABILITY_PAIR_H

#include "engine/virtualizability/question.h"

/* Whose value is drawn: for an owner's register, operand, arm, or memory. */
struct pg_wish {
    enum pg_input what;
    unsigned copy;  /* 0 where both copies share it */
    uint32_t which; /* the cell, as its owner calls it; the operand; the choice */
    unsigned bits;
};

struct pg_pair {
    struct pg_ask ask;
    struct pg_exec x[2];
    struct pg_state before[2];
    uint8_t known[2][PG_CELLS_MAX];
    uint64_t memory_cells; /* q; 0: 2^word_bits */
    uint64_t k, w; /* a hole with relocation: where the guest's memory lies in the real one */
    bool fixed;    /* the states are given: nothing is drawn */
    uint64_t (*draw)(void *ctx, const struct pg_wish *wish);
    void *ctx;
};

enum pg_shown { PG_VOID, PG_NOT_SHOWN, PG_SHOWN }; /* void: no pair of this question */

/* memory_cells, ask, draw and ctx are the caller's to set; runs both copies and says whether they show it. */
enum pg_shown pg_pair_try(struct pg_pair *p);
/* Both states are given (x[].operands and arms too) and k, w: checks that they are a pair of this question, and runs. */
enum pg_shown pg_pair_check(struct pg_pair *p);
/* What differs, after PG_SHOWN: at most max. *why is a constant sentence. */
uint32_t pg_pair_diffs(struct pg_pair *p, struct pg_diff *out, uint32_t max, const char **why);
/* Everything that was not read: as it may be. After it, before[] is whole. */
void pg_pair_complete(struct pg_pair *p);

#endif
