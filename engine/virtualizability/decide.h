/*
 * virtualizability/decide.h - one question about one instruction, decided. Only for this room.
 *
 * Looks into: claim, refute, search, smt.  Used by: analysis.
 *
 * In this order: the formula folds or is enumerated away (no); a random or an exhaustive search finds a pair that
 * replays (yes); z3, if wanted; all small inputs were tried (no, bounded); undecided.
 */
#ifndef VIRTUALIZABILITY_DECIDE_H
#define VIRTUALIZABILITY_DECIDE_H

#include "engine/virtualizability/claim.h"
#include "engine/virtualizability/refute.h"
#include "engine/virtualizability/search.h"

struct pg_decider {
    const struct pg_spec *spec;
    const struct pg_options *options;
    struct arena *results; /* witnesses */
    struct arena scratch;  /* paths and cases of one question */
    struct pg_terms z;
    struct pg_refuter refuter;
    struct pg_search *search;
    uint64_t deadline_ns; /* 0: none */
    bool timed_out;
    uint64_t *question_count; /* by method */
    res_code_t failed;        /* z3 or a file could not be used */
    struct err *err;
};
res_t pg_decider_init(struct pg_decider *d, struct err *err);
void pg_decider_fini(struct pg_decider *d);
/* Drops the cases and differences of a built claim that cannot be. True: none is left, and *how says how. */
bool pg_decide_prune(struct pg_decider *d, struct pg_claim *c, enum pg_method *how);
struct pg_finding pg_decide(struct pg_decider *d, const struct pg_ask *ask);

#endif
