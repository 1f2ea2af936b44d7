/*
 * virtualizability/spec.h - an instruction set, as somebody wrote it down in a file.
 *
 * Looks into: base.  Used by: interp, analysis, the reports, client/vmctl.
 * Touches:    the bytes it is given (pg_spec_parse), or one file (pg_spec_load). The file is hostile: what is too
 *             large, too deep or refers to itself is refused (the limits below).
 *
 * Life:   pg_spec_load -> read only -> pg_spec_free. Everything inside lives in the specification's own arena.
 *
 * Rules:
 *  (1) modes[] is ordered, most privileged first; the value of the mode register is the index.
 *  (2) Each register is one or more cells: cells first_cell .. first_cell + count - 1 of struct pg_state (interp.h).
 *  (3) Semantics refer to registers, operands and modes that exist; widths are at most word_bits, at most 64.
 *
 * Errors: ERR_INVALID with "FILE:LINE:COLUMN: what is wrong; what was expected"; ERR_LIMIT with the limit; ERR_OS.
 * Thread: one that loads; any number that read.
 */
#ifndef VIRTUALIZABILITY_SPEC_H
#define VIRTUALIZABILITY_SPEC_H

#include "engine/base/arena.h"
#include "engine/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PG_FILE_BYTES_MAX ((size_t)1 << 20)
#define PG_NODES_MAX 100000u /* YAML nodes */
#define PG_YAML_DEPTH_MAX 32u
#define PG_KEYS_MAX 2000u /* of one map */
#define PG_INSNS_MAX 1000u
#define PG_REGS_MAX 256u
#define PG_CELLS_MAX 512u
#define PG_MODES_MAX 8u
#define PG_OPERANDS_MAX 8u
#define PG_LOCALS_MAX 32u
#define PG_CHOICES_MAX 8u      /* of one instruction */
#define PG_ARMS_MAX 8u         /* of one choice */
#define PG_EXPR_DEPTH_MAX 64u  /* nesting of expressions and of blocks */
#define PG_SEM_NODES_MAX 4000u /* expressions and statements of one instruction */
#define PG_SIMULATED \
    (-1) /* deprivilege: this mode never runs on the hardware, the VMM interprets it */

enum pg_role {
    PG_ROLE_GENERAL, /* travels with the VM: registers, condition codes, flags */
    PG_ROLE_PC,
    PG_ROLE_MODE,
    PG_ROLE_BASE,  /* reloc.base: l */
    PG_ROLE_BOUND, /* reloc.bound: b */
    PG_ROLE_RESOURCE,
    PG_ROLE_CLOCK,     /* a resource that runs by itself: theorem 2 */
    PG_ROLE_PROCESSOR, /* a resource: whether the processor runs at all (HALT) */
    PG_ROLE_COUNT
};
const char *pg_role_name(enum pg_role role); /* as in the file: "reloc.base" */

/* What the real register holds while a guest runs. */
enum pg_vmm {
    PG_VMM_HOST,     /* anything that vmm_config permits */
    PG_VMM_IDENTITY, /* the guest's own value; the VMM reads it back */
    PG_VMM_CONST,    /* one value */
    PG_VMM_IN        /* anything; the guest's value is in another real register (vmm_in) */
};

struct pg_expr; /* sem.h */
struct pg_stmt;

struct pg_reg {
    const char *name;
    unsigned bits;
    uint32_t count; /* 1, unless it is an array */
    bool array;
    uint32_t first_cell;
    enum pg_role role;
    enum pg_vmm vmm;
    const struct pg_expr *vmm_const; /* PG_VMM_CONST */
    int vmm_in;                      /* PG_VMM_IN: index of the register; else -1 */
    const char *tag, *note;          /* NULL: none */
    unsigned line;
};

struct pg_text_pair {
    const char *key, *value;
};

struct pg_operand {
    const char *name;
    unsigned bits;
};

/* The words of `expect`, and of the reports. */
enum pg_word {
#define PG_WORD(id, text) PG_WORD_##id,
#include "engine/virtualizability/words.def"
#undef PG_WORD
    PG_WORD_COUNT
};
const char *pg_word_text(enum pg_word w); /* "user-sensitive" */

struct pg_insn {
    const char *name;
    const char *encoding, *source, *tag, *note; /* NULL: not given */
    bool inferred;                              /* the source says so: begins with "inferred" */
    const char *semantics_text;
    unsigned line;   /* of its entry in the file */
    unsigned length; /* P = P + length unless assigned */
    struct pg_operand operands[PG_OPERANDS_MAX];
    uint32_t operand_count;
    const char *locals[PG_LOCALS_MAX];
    uint32_t local_count;
    const struct pg_stmt *semantics;
    uint32_t choice_count;
    uint8_t choice_arms[PG_CHOICES_MAX];
    bool choice_same[PG_CHOICES_MAX];
    bool uses_phys;
    /* `expect`: -1 not to hold ("not X"), 1 to hold, 0 not said. Where the list is given at all, the words privileged,
     * innocuous and trapping hold exactly if they are in it; trapping implies innocuous, which need not be said. */
    bool has_expect;
    int8_t expect[PG_WORD_COUNT];
    const struct pg_text_pair *remedy; /* overrides the standard advice: patch, pv, hw ... */
    uint32_t remedy_count;
};

enum pg_verdict { PG_HOLDS, PG_FAILS, PG_UNKNOWN, PG_VERDICT_COUNT };
const char *pg_verdict_name(enum pg_verdict v); /* "holds" */

enum pg_theorem { PG_T1, PG_T2, PG_T3, PG_DIRECT_T1, PG_DIRECT_T3, PG_THEOREM_COUNT };
const char *pg_theorem_name(enum pg_theorem t); /* as in `verdict:` "T1", "direct-T1" */

struct pg_constraint {
    const char *text;
    const struct pg_expr *expr;
};

struct pg_spec {
    struct arena arena;
    const char *file;                 /* as given */
    const char *isa, *title, *source; /* title, source: NULL: not given */
    const char **notes;
    uint32_t note_count;
    unsigned word_bits;
    const char *modes[PG_MODES_MAX];
    uint32_t mode_count;
    uint32_t supervisor, user;     /* bit m: modes[m] is one */
    int deprivilege[PG_MODES_MAX]; /* virtual mode -> real mode or PG_SIMULATED */
    uint32_t
        virtual_modes;     /* bit m: m is a mode of the virtual machine (has a deprivilege entry) */
    uint32_t real_modes;   /* bit m: some virtual mode runs in m */
    uint64_t memory_cells; /* 0: 2^word_bits */
    unsigned length;       /* default of pg_insn.length */
    struct pg_reg regs[PG_REGS_MAX];
    uint32_t reg_count, cell_count;
    uint16_t cell_reg[PG_CELLS_MAX]; /* cell -> index of its register */
    int pc, mode, base, bound;       /* index of the register, -1: none (mode is always there) */
    struct pg_constraint *invariant, *vmm_config;
    uint32_t invariant_count, vmm_config_count;
    const char **trap_kinds; /* [0] is "mem" */
    uint32_t trap_kind_count;
    uint64_t excluded_traps; /* bit k: trap_kinds[k] voids a pair */
    bool has_trap_cells;
    uint64_t trap_old, trap_new; /* psw_swap: absolute cells */
    bool has_timing;
    bool timing_free; /* `vmm: timing_free` or `vmm: timing_dependent` */
    struct pg_insn *insns;
    uint32_t insn_count;
    bool has_verdict[PG_THEOREM_COUNT];
    enum pg_verdict verdict[PG_THEOREM_COUNT]; /* what the file says must come out */
    const char **leaves_out;                   /* the file's own list of what it does not model */
    uint32_t leaves_out_count;
};

/* file is the name for messages. *out is untouched on failure. */
res_t pg_spec_parse(const char *file, const void *text, size_t bytes, struct pg_spec **out,
                    struct err *err);
res_t pg_spec_load(const char *file, struct pg_spec **out, struct err *err);
void pg_spec_free(struct pg_spec *spec); /* NULL is fine */

/* NULL: none of that name; *nearest (may be NULL) is then a similar name or NULL. */
const struct pg_insn *pg_spec_find(const struct pg_spec *spec, const char *name,
                                   const char **nearest);
/* Of the register that owns the cell. */
const struct pg_reg *pg_spec_cell_reg(const struct pg_spec *spec, uint32_t cell);
/* "X[3]" or "IM". */
void pg_spec_cell_name(const struct pg_spec *spec, uint32_t cell, char *out, size_t cap);

#endif
