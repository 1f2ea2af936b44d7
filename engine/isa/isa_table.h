/*
 * isa/isa_table.h - what the generator makes of a table, for this room's own readers of it.
 */
#ifndef ISA_ISA_TABLE_H
#define ISA_ISA_TABLE_H

#include "engine/isa/isa.h"

enum isa_slot {
    ISA_SLOT_RD,
    ISA_SLOT_RS1,
    ISA_SLOT_RS2,
    ISA_SLOT_RS3,
    ISA_SLOT_RM,
    ISA_SLOT_AQRL,
    ISA_SLOT_IMM
};
enum isa_kind { ISA_KIND_X, ISA_KIND_F, ISA_KIND_X8, ISA_KIND_F8, ISA_KIND_S, ISA_KIND_U };

struct isa_field {
    const char *name;
    uint8_t slot, kind; /* enum isa_slot, enum isa_kind */
    uint8_t bits, shift, seg_count, except_count;
    struct {
        uint8_t hi, lo;
    } segs[12]; /* most significant first */
    uint32_t except[4];
};

struct isa_form {
    const char *mnemonic, *text;
    uint32_t mask, match;
    uint8_t len, field_count;
    const struct isa_field *fields[7];
};

extern const struct isa_form isa_rv64_forms[ISA_RV64_FORM_COUNT];
extern const struct isa_attr isa_rv64_attrs[ISA_RV64_FORM_COUNT];

/* The generated decision tree: fills operands, op and form of a zeroed *d if the word is legal. */
bool isa_rv64_match(uint32_t word, struct isa_insn *d);

#endif
