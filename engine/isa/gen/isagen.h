/*
 * isa/gen/isagen.h - the generator: one instruction table in, decoder, operand tables and attributes out.
 *
 * A program run by the build: isagen TABLE OUT_HEADER OUT_SOURCE. Any fault of the table is reported as
 * "file:line: error: what" and ends it with status 1, before anything is written.
 *
 * The language, one declaration a line, # starts a comment:
 *   isa NAME                                    prefix of everything generated; first
 *   field NAME SLOT KIND SEG... [<<N] [except V...]
 *       SLOT: rd rs1 rs2 rs3 rm aqrl imm; KIND: x f x8 f8 s u; SEG: hi:lo or a bit, most significant first.
 *       except: raw values for which the row does not match.
 *   format NAME : FIELD or SLOT=CONST ... : TEXT
 *   extension NAME                              of the rows that follow
 *   insn NAME BITS... FORMAT [ATTRIBUTE...]
 *       BITS: 0 1 fixed, - operand, . ignored; 16 or 32 of them. Each operand bit belongs to a field.
 *       ATTRIBUTE: flow branch|jump|jump_ind|syscall|trap; load|store|lr|sc|amo BYTES; signed; barrier;
 *       fp 32|64; flags; Popek and Goldberg's classes: privileged; control, location, mode, resource; innocuous
 *       (also if no other is given); trapping;
 *       expands NAME (then the row takes NAME's attributes); spelt NAME (as the assembler writes it).
 *
 * Rules, each with a table under tests/unit/engine/isa/bad that must fail:
 *  (1) Names are unique and known when used.        (2) A field lies on operand bits only, each bit in one field.
 *  (3) No word matches two rows.                    (4) An expansion sets every slot of what it expands to.
 *  (5) A row that is innocuous or trapping is not sensitive as well.
 */
#ifndef ISAGEN_H
#define ISAGEN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum slot { SLOT_RD, SLOT_RS1, SLOT_RS2, SLOT_RS3, SLOT_RM, SLOT_AQRL, SLOT_IMM, SLOT_COUNT };
enum kind { KIND_X, KIND_F, KIND_X8, KIND_F8, KIND_S, KIND_U, KIND_COUNT };
/* What the analyser can say of an instruction. A row claims some of it, and a test holds the claim to the analysis. */
enum class {
#define PG_WORD(id, text) CLASS_##id,
#include "engine/virtualizability/words.def"
#undef PG_WORD
    CLASS_COUNT
};

struct seg {
    unsigned hi, lo;
};

#define SEGS_MAX 12 /* an encoding has 32 bits; no manual cuts a field finer than this */
#define EXCEPT_MAX 4
struct field {
    char *name;
    unsigned line;
    enum slot slot;
    enum kind kind;
    struct seg segs[SEGS_MAX];
    unsigned seg_count, bits, shift;
    uint32_t mask;
    uint32_t except[EXCEPT_MAX];
    unsigned except_count;
};

struct format {
    char *name;
    unsigned line;
    unsigned fields[SLOT_COUNT]; /* a slot is set once, so there are no more */
    unsigned field_count;
    bool has_const[SLOT_COUNT];
    unsigned constant[SLOT_COUNT];
    char *text;
};

struct row {
    char *name, *spelt, *extension;
    unsigned line;
    unsigned len; /* bytes */
    uint32_t mask, match, operands;
    unsigned format;
    char *expands;    /* name, or NULL */
    struct row *base; /* what it expands to, or itself */
    bool has_attributes;
    const char *flow, *mem;
    unsigned classes; /* bit c: of enum class */
    unsigned mem_bytes, fp_bits;
    bool is_signed, barrier, flags;
    unsigned number; /* in the generated enum */
};

struct table {
    const char *path;
    char *isa;
    struct field *fields;
    struct format *formats;
    struct row *rows;
    unsigned field_count, format_count, row_count;
};

extern const char *const gen_slot_names[SLOT_COUNT];
extern const char *const gen_kind_names[KIND_COUNT];
/* NULL: follows from others, and no row may say it. */
extern const char *const gen_class_names[CLASS_COUNT];

_Noreturn void gen_fail(const struct table *t, unsigned line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Memory is never given back: the program ends with its one table. */
void *gen_grow(void *array, unsigned count, size_t element_bytes);

void gen_parse(struct table *t, FILE *in);
/* Rules 3 and 4; numbers the rows: those that expand come last. */
void gen_check(struct table *t);
uint32_t gen_field_value(const struct field *f, uint32_t word);
int gen_slot_field(const struct table *t, const struct row *r, enum slot s); /* index, or -1 */

void gen_emit_header(const struct table *t, FILE *out);
void gen_emit_source(const struct table *t, FILE *out);
void gen_emit_decoder(const struct table *t, FILE *out);

#endif
