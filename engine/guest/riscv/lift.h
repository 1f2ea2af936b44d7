/*
 * guest/riscv/lift.h - RISC-V instructions into micro-ops.
 *
 * Looks into: isa, ir, guest.  Used by: this room.
 *
 * One instruction becomes one micro-op or none, seldom two; what the ops have in common is ir_add()'s business. Whatever
 * is not lifted ends the block with INTERP: T0 does that one, and raises its trap if it has one.
 */
#ifndef RISCV_LIFT_H
#define RISCV_LIFT_H

#include "engine/guest/guest.h"
#include "engine/ir/ir.h"
#include "engine/isa/isa.h"

struct rv_lift {
    struct gst_lift *l;
    struct ir_block *b;
    struct isa_insn d;
    size_t at;   /* of d, from l->pc */
    size_t next; /* behind it */
    bool more;   /* the block goes on */
};

/* guest_ops.lift */
void rv_lift(struct gst_lift *l, struct ir_block *b);

/* Append an op for the current instruction that is not its last: it must do no harm twice. */
static inline void rv_emit_part(struct rv_lift *x, struct ir_op op)
{
    op.pc_off = (int32_t)x->at;
    op.next_off = (int32_t)x->next;
    if (op.dst == 2)
        op.flags |= IR_MAY_EXIT;
    ir_add(x->b, op);
}
/* The same for its last. */
static inline void rv_emit(struct rv_lift *x, struct ir_op op)
{
    op.insns = 1;
    rv_emit_part(x, op);
}
void rv_emit_nop(struct rv_lift *x);
/* The op's operand for a register that is read. */
static inline uint8_t rv_x(unsigned r)
{
    return r ? (uint8_t)r : IR_ZERO;
}
/* For a result that may be dropped. */
static inline uint8_t rv_xd(unsigned r)
{
    return r ? (uint8_t)r : IR_NONE;
}
static inline uint8_t rv_f(unsigned r)
{
    return (uint8_t)(IR_F0 + r);
}
/* The guest address of the instruction, and of the one behind it. */
static inline gva_t rv_pc(const struct rv_lift *x)
{
    return x->l->pc + x->at;
}

/* End the block in front of the current instruction: T0 does it. */
void rv_lift_interp(struct rv_lift *x);
/* lift_fp.c: F, D and their CSRs. False: not one of them. */
bool rv_lift_fp(struct rv_lift *x);

#endif
