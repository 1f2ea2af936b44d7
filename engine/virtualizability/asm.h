/*
 * virtualizability/asm.h - programs of the formal machine as text: the assembler of .pg files.
 *
 * Looks into: base.  Used by: monitor and diverge here, vmctl, the tests.
 *
 *     ; a comment, to the end of the line (# too)
 *     .variant pg-retu          the machine wanted: pg (default), pg-retu, pg-lra
 *     .size 256                 its cells, q; without it: as many as are filled, at least 2
 *     N = 10                    a constant
 *     .default Q, 4096          a constant, unless the caller has defined it
 *     .org 2                    go on filling at cell 2
 *     .entry s, start, 0, 256   the PSW to begin with: mode, P, l, b; without it: s, 2, 0, q
 *     vector: .psw s, trap, 0, 256
 *     start:  LIT  sum, 0       mnemonics in either case
 *     loop:   ADD  sum, sum, one
 *             SVC  3
 *     one:    .word 1, N * 2 + (loop << 4)
 *             .fill 8, -1       eight cells of it; without a value: of 0
 *
 * Expressions are C's, on unsigned 64-bit numbers: ?: || && | ^ & == != < <= > >= << >> + - * / % - ~ ! ( ), numbers in
 * decimal, 0x and 0b, labels and constants (also those of further below, but in =, .default, .org, .fill's count, .size),
 * and a dot for the cell at hand.
 *
 * Errors are ERR_INVALID and read "FILE:LINE:COLUMN: what is wrong, and what was expected".
 * Limits: 1 MiB of text, 4096 names of at most 64 bytes, 65535 cells, expressions nested 64 deep.
 * Life:   pg_asm -> pg_program_fini.  Thread: any.
 */
#ifndef VIRTUALIZABILITY_ASM_H
#define VIRTUALIZABILITY_ASM_H

#include "engine/virtualizability/formal.h"

#include "engine/base/arena.h"

#define PG_ASM_TEXT_MAX_BYTES ((size_t)1 << 20)
#define PG_ASM_NAMES_MAX 4096
#define PG_ASM_NAME_MAX_BYTES 64
#define PG_ASM_NESTING_MAX 64

struct pg_symbol;

struct pg_program {
    enum pg_variant variant;
    uint32_t q;
    struct pg_psw entry;
    uint64_t *cells; /* q of them */
    uint32_t filled; /* the highest filled cell, plus 1 */
    struct pg_symbol *symbols;
    struct arena arena; /* holds all of it */
};

struct pg_define {
    const char *name;
    uint64_t value;
};

/*
 * Assemble `len` bytes of text. `file` is only for messages; the definitions are names the text may use.
 *
 * Fails:  ERR_INVALID with the place, ERR_LIMIT for text that is too long, ERR_NO_MEMORY.
 */
res_t pg_asm(const char *file, const char *text, size_t len, const struct pg_define *defines,
             size_t define_count, struct pg_program *out, struct err *err);
void pg_program_fini(struct pg_program *p);
/* The value of a label or constant. false: no such name. */
bool pg_program_symbol(const struct pg_program *p, const char *name, uint64_t *value);
/* The label of the highest cell <= cell, and how far behind it cell is; NULL: none. For traces. */
const char *pg_program_label(const struct pg_program *p, uint32_t cell, uint32_t *behind);
/* A machine that is about to start the program. Fails: ERR_NO_MEMORY. */
res_t pg_program_load(const struct pg_program *p, struct pg_formal *out, struct err *err);

#endif
