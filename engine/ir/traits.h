/*
 * ir/traits.h - what is to know of a micro-op by its opcode: the last column of ir.def.
 *
 * Looks into: ir.h.  Used by: this room only.
 */
#ifndef IR_TRAITS_H
#define IR_TRAITS_H

#include "engine/ir/ir.h"

enum {
    PURE = 1,        /* nothing but its result */
    LEAVES = 2,      /* may leave, or be left to T0; by then its flags may be set, so nothing before it may be done again */
    CALLS = 4,       /* leaves, and may come back behind itself */
    ENDS = 8,        /* leaves for good */
    SEXT = 16,       /* its result is a sign-extended 32-bit number, */
    SEXT4 = 32,      /* or is with size 4, */
    SEXT_ASK = 64,   /* or it depends */
    KIND_ZEXT = 128, /* kind 1 is no sign extension */
    LOW4 = 256,      /* with size 4 it needs the lower halves of its operands only, */
    LOW_ASK = 512,   /* or it depends */
    COMBINES = 1024, /* may be said with less */
};
#define ALU (PURE | SEXT4 | KIND_ZEXT | LOW4)

extern const uint16_t ir_traits[IR_OPCODE_COUNT];

#endif
