/*
 * virtualizability/symx.h - an instruction on all states at once: its paths. Only for this room.
 *
 * Looks into: base, sem, term.  Used by: claim.
 *
 * A path is a conjunction of conditions on the initial state and what comes out if they hold. The paths of one run
 * are disjoint (up to the arms of choices) and cover all states, unless `overflow` is set.
 */
#ifndef VIRTUALIZABILITY_SYMX_H
#define VIRTUALIZABILITY_SYMX_H

#include "engine/virtualizability/term.h"

#define PG_PATHS_MAX 512u
#define PG_CONDS_MAX 64u
#define PG_ARM_OPEN 0xff

/* The state as terms: a scalar register is a value, an array register an array. */
struct pg_sym {
    term_t reg[PG_REGS_MAX];
    term_t mem, phys; /* with one_memory both are phys, by absolute address */
};

struct pg_path {
    term_t conds[PG_CONDS_MAX];
    uint32_t cond_count;
    struct pg_sym state;
    term_t locals[PG_LOCALS_MAX];
    uint8_t arms[PG_CHOICES_MAX];
    enum pg_outcome outcome;
    uint32_t trap_kind;
    bool pc_written, dead;
    bool mem_written, phys_written;
    bool
        mixed; /* what it wrote through one of mem[], phys[] it may have touched through the other */
};

struct pg_symx {
    struct pg_terms *z;
    const struct pg_spec *spec;
    const struct pg_insn *insn;
    const term_t *operands;
    bool one_memory; /* mem[a] is phys[a + l] */
    bool fits;       /* a < b is known to imply that a + l is in the memory */
    struct pg_path *paths[PG_PATHS_MAX];
    uint32_t path_count, made;
    bool overflow;
    struct arena *arena;
};
/* arena, z, spec, insn, operands, one_memory, fits are the caller's to set; the paths live in the arena. */
void pg_symx_run(struct pg_symx *x, const struct pg_sym *init);
/* An expression over registers. */
term_t pg_symx_value(struct pg_symx *x, const struct pg_sym *init, const struct pg_expr *e);

#endif
