/*
 * virtualizability/diverge.h - a witness made into a program of the formal machine.
 *
 * Looks into: base, analysis, monitor.  Used by: client/vmctl, the tests.
 *
 * Where a specification describes the formal machine (its `isa` is pg, pg-retu or pg-lra), a witness against it can be run: the
 * guest begins in the witness's state, executes its instruction, traps, and halts in its trap handler. Both machines are run
 * before the program is handed out: it is one that differs.
 */
#ifndef VIRTUALIZABILITY_DIVERGE_H
#define VIRTUALIZABILITY_DIVERGE_H

#include "engine/base/buf.h"
#include "engine/virtualizability/analysis.h"

/* Is this specification one of the formal machine? */
bool pg_diverge_applies(const struct pg_spec *spec);

/*
 * Append a .pg program for the hole of r (one of a's results), with comments that say where it comes from and what to expect.
 *
 * Fails:  ERR_STATE: the specification is no formal machine's, r has no hole, or none of its witnesses gives a program that
 *         differs (the text says which); ERR_NO_MEMORY.
 */
res_t pg_diverge_program(const struct pg_analysis *a, const struct pg_result *r, struct buf *out,
                         struct err *err);

#endif
