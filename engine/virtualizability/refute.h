/*
 * virtualizability/refute.h - shows that a conjunction has no solution, if it can. Only for this room.
 *
 * Looks into: term.  Used by: analysis, tests.
 *
 * First by substitution: what one member says (x == 5, a < b, not c) is put into the others until one of them folds to
 * false. Then by complete enumeration of the bits that matter, if they are few; what is wide is replaced by an
 * unknown, which can only make more solutions. Then by case distinctions. Sound; not complete.
 */
#ifndef VIRTUALIZABILITY_REFUTE_H
#define VIRTUALIZABILITY_REFUTE_H

#include "engine/virtualizability/term.h"

#define PG_CONJ_MAX 512u
#define PG_ENUM_BITS 16u

enum pg_refuted { PG_NOT_REFUTED, PG_BY_FOLDING, PG_BY_ENUMERATION };

struct pg_refuter {
    struct pg_terms *z;
    term_t *memo;
    uint32_t *stamp;
    uint64_t *demand, *value;
    uint32_t cap, now, least;
    term_t conj[PG_CONJ_MAX];
    uint32_t count;
    uint64_t deadline_ns; /* 0: none; then nothing more is refuted */
    bool late;
    uint32_t budget;             /* case distinctions left */
    uint64_t effort, effort_max; /* terms computed by enumeration; no more than that */
};
res_t pg_refuter_init(struct pg_refuter *r, struct pg_terms *z, struct err *err);
void pg_refuter_fini(struct pg_refuter *r);
/* r->conj is then what is left of it. */
enum pg_refuted pg_refute(struct pg_refuter *r, const term_t *conj, uint32_t count);
/* The same with one more, after a pg_refute() of the rest that did not refute; what is left of the rest is put back. */
enum pg_refuted pg_refute_with(struct pg_refuter *r, term_t more);

#endif
