/*
 * virtualizability/question.h - what two copies of the machine have in common when a question is asked. Only for this
 * room.
 *
 * Looks into: base, spec, analysis.  Used by: the symbolic side (claim) and the concrete one (pair).
 *
 * Rules, the same for proofs and for witnesses:
 *  (1) What the guest sees of its own: general, pc, identity registers; a register kept `in` another one is the former on the
 *      bare machine and the latter in a mode that only the hardware has. pg_guest_cell() names it.
 *  (2) vmm_config, and likewise `vmm: const`, constrains the real machine of a hole, and every state in a user mode or a mode guests really run in.
 *  (3) In a hole, the mode counts as the guest's own too if the VM map gives each virtual mode a real mode of its own.
 *  (4) invariant constrains every state.
 */
#ifndef VIRTUALIZABILITY_QUESTION_H
#define VIRTUALIZABILITY_QUESTION_H

#include "engine/virtualizability/analysis.h"
#include "engine/virtualizability/sem.h"

/* Beside enum pg_question: one side that ends without a trap; a pair that is evidence for privileged. */
enum { PG_Q_DONE = PG_QUESTION_COUNT, PG_Q_SHOWS, PG_Q_ALL };

struct pg_ask {
    const struct pg_spec *spec;
    const struct pg_insn *insn;
    int question;
    uint32_t mode[2];
};
uint32_t pg_ask_sides(const struct pg_ask *a);
/* The name of what the cell of this copy is to the guest, or -1: it is the machine's. */
int pg_guest_cell(const struct pg_ask *a, unsigned copy, uint32_t cell);
/* The cell of the other copy that has the same value, or -1: independent, or the mode. */
int pg_partner(const struct pg_ask *a, unsigned copy, uint32_t cell);
/* vmm_config holds on this copy. */
bool pg_configured(const struct pg_ask *a, unsigned copy);
/* `vmm: const` gives the value: on a copy that is configured, and where the other copy has the same register. */
const struct pg_expr *pg_const_cell(const struct pg_ask *a, unsigned copy, uint32_t cell);
bool pg_is_resource(const struct pg_reg *r);
bool pg_trap_excluded(const struct pg_spec *s, uint32_t kind);
/* Each virtual mode runs in a real mode of its own: the real mode tells the virtual one, so a change of it needs no VMM. */
bool pg_mode_is_carried(const struct pg_spec *s);

#endif
