/*
 * virtualizability/smt.h - a claim as SMT-LIB 2, and an external z3 that is asked. Only for this room.
 *
 * Looks into: claim, pair.  Used by: decide.
 * Touches:    a child process `z3 -smt2 -in`, through two pipes, killed when its time is over; files in emit_smt.
 *
 * Fails: ERR_UNAVAILABLE: there is no z3; ERR_OS.
 */
#ifndef VIRTUALIZABILITY_SMT_H
#define VIRTUALIZABILITY_SMT_H

#include "engine/base/buf.h"
#include "engine/virtualizability/claim.h"
#include "engine/virtualizability/pair.h"

/* The text; values: with (get-value ...) for pg_smt_model(). */
void pg_smt_text(const struct pg_claim *c, bool values, struct buf *out);
res_t pg_smt_emit(const struct pg_claim *c, const char *folder, struct err *err);

enum pg_sat { PG_UNSAT, PG_SAT, PG_SAT_UNKNOWN };
/* answer is filled with z3's whole output. */
res_t pg_smt_ask(const struct pg_claim *c, uint64_t timeout_ns, enum pg_sat *sat,
                 struct buf *answer, struct err *err);
/* The model in the answer as a pair of states; false: it is none that can be used. */
bool pg_smt_model(const struct pg_claim *c, const struct buf *answer, struct pg_pair *pair);

#endif
