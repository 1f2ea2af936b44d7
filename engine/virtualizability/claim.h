/*
 * virtualizability/claim.h - a question as a formula: is there a pair of states that shows it? Only for this room.
 *
 * Looks into: question, symx, term.  Used by: refute, smt, analysis.
 *
 * A claim is a list of cases; it holds if some case does. A case holds if all of its base does and one of its diffs
 * (or there are none). The cases over-approximate: a claim whose cases are all false is false; one that is
 * satisfiable may still need a witness.
 */
#ifndef VIRTUALIZABILITY_CLAIM_H
#define VIRTUALIZABILITY_CLAIM_H

#include "engine/virtualizability/question.h"
#include "engine/virtualizability/symx.h"

struct pg_case {
    term_t *base, *diffs;
    uint32_t base_count, diff_count;
    bool any; /* no diff is needed */
    uint8_t arms[2][PG_CHOICES_MAX];
    struct pg_case *next;
};

struct pg_claim {
    struct pg_ask ask;
    struct pg_terms *z;
    struct arena *arena;  /* for paths and cases */
    uint64_t deadline_ns; /* 0: none; then it overflows */
    term_t
        *assumed; /* constraints, what a VM map and the question itself demand; part of each base */
    uint32_t assumed_count;
    struct pg_case *cases;
    bool enumerated; /* some case was dropped by enumeration */
    bool one_memory; /* mem[] is written as phys[] */
    bool overflow;   /* too many paths or terms: nothing is known */
    struct pg_sym init[2];
    term_t operands[PG_OPERANDS_MAX];
};
/* ask, z, arena and deadline_ns are the caller's to set. */
void pg_claim_build(struct pg_claim *c);

#endif
