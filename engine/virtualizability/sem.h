/*
 * virtualizability/sem.h - the semantics of an instruction as a tree. Only for this room.
 *
 * Looks into: base, spec.  Used by: the parser, the interpreter, the symbolic executor.
 *
 * Rules:
 *  (1) Every value is a bit-vector of word_bits, unsigned; comparisons and logic give 0 or 1.
 *  (2) A store truncates to the width of its register. An index into a register array counts modulo its length.
 *  (3) Shifts by word_bits or more give 0 (>>s: the sign); x / 0 is all ones and x % 0 is x, as in SMT-LIB.
 *  (4) The right side of && || and the arms of ?: are evaluated only if they are needed: they may trap.
 */
#ifndef VIRTUALIZABILITY_SEM_H
#define VIRTUALIZABILITY_SEM_H

#include "engine/virtualizability/interp.h"
#include "engine/virtualizability/spec.h"

enum pg_op {
    PG_E_CONST,   /* value */
    PG_E_REG,     /* index: register; a: index into an array, or NULL */
    PG_E_OPERAND, /* index */
    PG_E_LOCAL,   /* index */
    PG_E_MEM,     /* a */
    PG_E_PHYS,    /* a */
    PG_E_NOT,
    PG_E_COM,
    PG_E_NEG,
    PG_E_COND, /* a ? b : c */
    PG_E_LOR,
    PG_E_LAND,
    PG_E_OR,
    PG_E_XOR,
    PG_E_AND,
    PG_E_EQ,
    PG_E_NE,
    PG_E_ULT,
    PG_E_ULE,
    PG_E_SLT,
    PG_E_SLE,
    PG_E_SHL,
    PG_E_SHR,
    PG_E_SAR,
    PG_E_ADD,
    PG_E_SUB,
    PG_E_MUL,
    PG_E_DIV,
    PG_E_REM,
    PG_E_SEXT /* a, value: from how many bits */
};

struct pg_expr {
    enum pg_op op;
    bool touches_memory; /* it, or what is below */
    uint16_t depth;
    int index;
    uint64_t value;
    const struct pg_expr *a, *b, *c;
};

enum pg_stmt_kind { PG_S_REG, PG_S_LOCAL, PG_S_MEM, PG_S_PHYS, PG_S_IF, PG_S_TRAP, PG_S_CHOICE };

struct pg_stmt {
    enum pg_stmt_kind kind;
    int index;                              /* register, local, trap kind, choice */
    const struct pg_expr *at;               /* index or address */
    const struct pg_expr *value;            /* or the condition */
    const struct pg_stmt *arm[PG_ARMS_MAX]; /* if: then, else; choice: its arms */
    uint32_t arm_count;
    const struct pg_stmt *next;
};

/* ---- parsing (sem_parse.c) ---- */

/* Where the text stands in the file, for messages. */
struct pg_text {
    const char *file;
    const char *s;
    unsigned line, column; /* of its first character, from 1 */
    unsigned indent;       /* column of its later lines, from 1 */
};
/* insn is completed: locals, choices, semantics; trap kinds are added to spec. */
res_t pg_parse_semantics(struct pg_spec *spec, struct pg_insn *insn, const struct pg_text *text,
                         struct err *err);
/* Registers and modes only. */
res_t pg_parse_condition(struct pg_spec *spec, const struct pg_text *text,
                         const struct pg_expr **out, struct err *err);

/* A name of names[0..count) that looks like name, or NULL. */
const char *pg_nearest(const char *name, const char *const *names, size_t count);

/* ---- running with inputs that are made up as they are read (interp.c) ---- */

enum pg_input { PG_IN_CELL, PG_IN_MAPPED, PG_IN_PHYS, PG_IN_OPERAND, PG_IN_ARM };

/* before: initial values; known[] says which cells have theirs (NULL: all), memory has it if the address is in it.
 * What is not known is drawn. Writes stay apart until pg_exec_after(). */
struct pg_exec {
    const struct pg_spec *spec;
    const struct pg_insn *insn; /* NULL: expressions only */
    struct pg_state *before;
    uint8_t *known;
    uint64_t (*draw)(void *ctx, struct pg_exec *x, enum pg_input what,
                     uint64_t index); /* NULL: 0 */
    void *ctx;
    uint64_t memory_cells;
    uint64_t operands[PG_OPERANDS_MAX];
    uint8_t arms[PG_CHOICES_MAX];
    uint8_t known_operands, known_arms; /* bit masks */
    /* results */
    enum pg_outcome outcome;
    uint32_t trap_kind;
    uint64_t trap_address;
    uint8_t written[PG_CELLS_MAX];
    uint64_t value[PG_CELLS_MAX];
    uint16_t write_list[PG_CELLS_MAX];
    uint32_t write_count;
    struct pg_mem_cell wmem[PG_MEM_MAX];
    uint32_t wmem_count;
    uint64_t locals[PG_LOCALS_MAX];
};
/* Prepares for a run; before, known, draw, ctx, operands and arms are the caller's to set afterwards. */
void pg_exec_init(struct pg_exec *x, const struct pg_spec *spec, const struct pg_insn *insn);
enum pg_outcome pg_exec_run(struct pg_exec *x);
uint64_t pg_exec_eval(struct pg_exec *x, const struct pg_expr *e);
uint64_t pg_exec_cell(struct pg_exec *x, uint32_t cell);       /* value before; drawn if need be */
uint64_t pg_exec_cell_after(struct pg_exec *x, uint32_t cell); /* after the run */
uint64_t pg_exec_mem(struct pg_exec *x, enum pg_space space, uint64_t address); /* before */
/* The whole state after; the writes of a run that trapped are dropped. False: too large. */
bool pg_exec_after(const struct pg_exec *x, struct pg_state *after);

/* What an operator gives; shared by the interpreter and the folding of formulas. */
uint64_t pg_op2(enum pg_op op, uint64_t a, uint64_t b, unsigned bits);

#endif
