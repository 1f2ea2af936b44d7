/*
 * ir/ir.h - micro-ops: what every guest is lifted to and every host lowers.
 *
 * Looks into: cpu.  Used by: guest/<isa> (builds), host/<machine> (lowers), translate (carries).
 *
 * A block is straight-line code with side exits: a flat array, no temporaries, no SSA. An operand is the number of a
 * guest register: 0..31 is r[], 32..63 is f[]. An op that stands for several guest instructions (a fused group)
 * carries the pc of the first and leaves every register as the whole group does; none of them is written if it faults.
 *
 * Rules, verified by ir_verify():
 *  (1) Operands fit the op's shape in ir.def; a guest's constant-zero register is never named, IR_ZERO stands for it.
 *  (2) Exactly the last op is an end (JUMP, JUMPI, EXIT).
 *  (3) pc_off never goes back where the guest's pc does not.
 *  (4) An immediate operand (IR_IMM) is sign-extended 32 bits; IR_IMM shifts are below the width.
 * Thread: one at a time. Nothing is allocated: a block is one object that may be reused.
 */
#ifndef IR_IR_H
#define IR_IR_H

#include "engine/cpu/vcpu.h"

#include <string.h>

enum ir_opcode {
#define IR_OP(name, text, shape, traits) IR_##name,
#include "engine/ir/ir.def"
#undef IR_OP
    IR_OPCODE_COUNT
};

enum { IR_F0 = 32, IR_REG_COUNT = 64, IR_ZERO = 0xfd, IR_IMM = 0xfe, IR_NONE = 0xff };
enum ir_cond { IR_EQ, IR_NE, IR_LT, IR_GE, IR_LTU, IR_GEU }; /* the low bit negates */
enum ir_jump { IR_GOTO, IR_RETURN };                         /* a hint: behind the last call */
enum ir_mulh { IR_MULH_SS, IR_MULH_SU, IR_MULH_UU };
enum ir_amo {
    IR_AMO_SWAP,
    IR_AMO_ADD,
    IR_AMO_XOR,
    IR_AMO_AND,
    IR_AMO_OR,
    IR_AMO_MIN,
    IR_AMO_MAX,
    IR_AMO_MINU,
    IR_AMO_MAXU
};
enum ir_fbin { IR_FADD, IR_FSUB, IR_FMUL, IR_FDIV };
enum ir_fma { IR_FMADD, IR_FMSUB, IR_FNMSUB, IR_FNMADD }; /* ab+c, ab-c, -ab+c, -ab-c */
enum ir_fsgn { IR_FSGNJ, IR_FSGNJN, IR_FSGNJX };
enum ir_fcmp { IR_FEQ, IR_FLT, IR_FLE };
enum ir_int { IR_I32, IR_U32, IR_I64, IR_U64 };
enum ir_fcsr { IR_CSR_FFLAGS, IR_CSR_FRM, IR_CSR_FCSR };
enum ir_fcsr_how {
    IR_CSR_WRITE = 4,
    IR_CSR_SET = 8,
    IR_CSR_CLEAR = 12,
    IR_CSR_HOW = 12
}; /* 0: only read */
/* Static rounding modes as RISC-V numbers them; IR_RM_DYN: the one in force. */
enum ir_rm { IR_RM_RNE, IR_RM_RTZ, IR_RM_RDN, IR_RM_RUP, IR_RM_RMM, IR_RM_DYN = 7 };

/* MAY_EXIT: the host may have to leave behind this op (it writes the stack pointer). LOST: nobody uses the result before it is
 * overwritten, and what it is made of stays until then: it need not be there but at faults and exits. LOW: the result is the sign-extended lower half, and
 * nobody but faults and exits uses its upper half. HALVES: a 64-bit and, or, xor of sign-extended 32-bit numbers, hence one itself. */
enum { IR_MAY_EXIT = 1, IR_LOST = 2, IR_LOW = 4, IR_HALVES = 8 };

struct ir_op {
    uint8_t op;   /* enum ir_opcode */
    uint8_t size; /* bytes: 1, 2, 4, 8 */
    uint8_t kind;
    uint8_t rm;
    uint8_t dst, a, b, c;
    int64_t imm;
    int32_t pc_off;   /* guest pc - block pc, of the first instruction of the group */
    int32_t next_off; /* the same of the instruction behind the group */
    uint8_t scale;    /* of c in an address */
    uint8_t insns;    /* guest instructions it stands for: 0 if another op of the same one counts */
    uint8_t flags;    /* IR_MAY_EXIT */
    int16_t prev_def; /* while building: def[dst] before this op */
};

/* Whether its access to guest memory may fault. */
static inline bool ir_faults(uint8_t op)
{
    return op >= IR_LD && op <= IR_AMO;
}

#define IR_INSNS_MAX 64
#define IR_OPS_MAX (IR_INSNS_MAX * 2 + 8)

struct ir_block {
    gva_t pc;
    const uint8_t *check_bytes; /* not NULL: compare guest memory at pc with these first */
    uint32_t check_len;
    uint32_t count;
    uint32_t sext; /* while building: registers that hold a sign-extended 32-bit number */
    int16_t def[IR_REG_COUNT]; /* while building: the op that wrote the register last, or -1 */
    struct ir_op ops[IR_OPS_MAX];
};

static inline void ir_init(struct ir_block *b, gva_t pc)
{
    b->pc = pc;
    b->check_bytes = NULL;
    b->check_len = b->count = b->sext = 0;
    memset(b->def, 0xff, sizeof b->def);
}

static inline bool ir_full(const struct ir_block *b)
{
    return b->count + 8 > IR_OPS_MAX;
}

/* Take ops[count] into the block; the caller keeps 8 ops to spare at the start of each guest instruction (ir_full). Looks
 * at what made the operands and says the same with less where it can: extensions, rotates, scaled addresses, constants.
 * Never drops an op (ir_prune does). */
void ir_append(struct ir_block *b);
static inline void ir_add(struct ir_block *b, struct ir_op op)
{
    ASSERT(b->count < IR_OPS_MAX);
    b->ops[b->count] = op;
    ir_append(b);
}
/* Drop ops whose results nobody can see: overwritten before any use, exit or fault. Once, after the last op. */
void ir_prune(struct ir_block *b);

/* NULL if the rules hold, else what is broken and where. */
const char *ir_verify(const struct ir_block *b, unsigned *at);
/* One line per op; returns the length as snprintf does. */
size_t ir_print(const struct ir_block *b, char *buf, size_t n);
extern const char *const ir_names[IR_OPCODE_COUNT];
extern const char *const ir_shapes[IR_OPCODE_COUNT];

#endif
