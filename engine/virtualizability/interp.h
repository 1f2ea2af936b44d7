/*
 * virtualizability/interp.h - one instruction of a specification, run on one concrete state.
 *
 * Looks into: base, spec.  Used by: search, replay of witnesses, --diverge, tests.
 *
 * The meaning of the language, in code: everything else (proofs, SMT) is held against this. Memory is sparse. On a
 * machine with relocation all memory is absolute (PG_PHYS): mem[a] is E[a + l], checked against b and the size q; without,
 * mem[] is the current mapping (PG_MAPPED) and phys[] a memory of its own. Memory that is not in the state reads as 0.
 *
 * Thread: any; no state but the caller's. Cost: some 10 ns per operator.
 */
#ifndef VIRTUALIZABILITY_INTERP_H
#define VIRTUALIZABILITY_INTERP_H

#include "engine/virtualizability/spec.h"

#define PG_MEM_MAX 48u /* cells of memory that one state can hold */

enum pg_space { PG_MAPPED, PG_PHYS };

struct pg_mem_cell {
    enum pg_space space;
    uint64_t address, value;
};

/* cells[] in the order of pg_reg.first_cell; mem[] in the order in which it was touched, no address twice. */
struct pg_state {
    uint64_t cells[PG_CELLS_MAX];
    struct pg_mem_cell mem[PG_MEM_MAX];
    uint32_t mem_count;
};

enum pg_outcome {
    PG_DONE,
    PG_TRAP,
    PG_TOO_LARGE /* it touched more than PG_MEM_MAX cells of memory: no result */
};

/* Inputs of one run besides the state, and what became of it. */
struct pg_run {
    uint64_t operands[PG_OPERANDS_MAX];
    uint8_t arms[PG_CHOICES_MAX]; /* which arm each `choice` takes */
    uint64_t memory_cells;        /* q; 0: 2^word_bits */
    /* out */
    enum pg_outcome outcome;
    uint32_t trap_kind;    /* index into spec->trap_kinds */
    uint64_t trap_address; /* of a mem trap */
};

/* Runs insn on *before and writes the state after. After a trap registers and memory are those before the instruction
 * (the paper's trap saves the P of the trapping instruction); delivering the trap is the caller's. */
enum pg_outcome pg_run(const struct pg_spec *spec, const struct pg_insn *insn,
                       const struct pg_state *before, struct pg_state *after, struct pg_run *run);

/* An expression over registers (invariant, vmm_config, const). */
uint64_t pg_eval(const struct pg_spec *spec, const struct pg_expr *e, const struct pg_state *state);

/* Initial value, or 0. */
uint64_t pg_mem_get(const struct pg_state *state, enum pg_space space, uint64_t address,
                    bool *there);
/* False: full. */
bool pg_mem_set(struct pg_state *state, enum pg_space space, uint64_t address, uint64_t value);

uint64_t pg_mask(unsigned bits); /* bits 1 .. 64 */

#endif
