/*
 * host/x64/enc.h - the encoder: x86-64 instruction forms into bytes.
 *
 * Looks into: base.  Used by: this room only.
 * Writes without looking at the end of the buffer: who emits keeps X64_OP_ROOM bytes to spare and asks once per micro-op.
 */
#ifndef X64_ENC_H
#define X64_ENC_H

#include "engine/base/base.h"

#include <string.h>

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

/* A form as a number: opcode, map, prefix, then what the shape says. */
enum {
    X64_MAP_0 = 0,
    X64_MAP_0F = 1 << 8,
    X64_MAP_38 = 2 << 8,
    X64_MAP_3A = 3 << 8,
    X64_NP = 0,
    X64_66 = 1 << 10,
    X64_F3 = 2 << 10,
    X64_F2 = 3 << 10,
    X64_W = 1 << 12,
    X64_BYTE_RM = 1 << 13,  /* r/m is a byte register */
    X64_BYTE_REG = 1 << 14, /* reg too */
    X64_MEM_SHIFT = 16,     /* log2 of the memory operand, for EVEX' compressed displacement */
};
#define X64_SHAPE_RM 0
#define X64_SHAPE_RMB X64_BYTE_RM
#define X64_SHAPE_RMH 0
#define X64_SHAPE_RMW 0
#define X64_SHAPE_MR 0
#define X64_SHAPE_MRB (X64_BYTE_REG | X64_BYTE_RM)
#define X64_SHAPE_VRM 0
#define X64_SHAPE_XXX4 (2 << X64_MEM_SHIFT)
#define X64_SHAPE_XXX8 (3 << X64_MEM_SHIFT | 1 << 20)
#define X64_SHAPE_XXX16 (4 << X64_MEM_SHIFT)
#define X64_SHAPE_XX4 X64_SHAPE_XXX4
#define X64_SHAPE_XX8 X64_SHAPE_XXX8
#define X64_SHAPE_XX16 X64_SHAPE_XXX16
#define X64_SHAPE_XM4 X64_SHAPE_XXX4
#define X64_SHAPE_XM8 X64_SHAPE_XXX8
#define X64_SHAPE_MX4 X64_SHAPE_XXX4
#define X64_SHAPE_MX8 X64_SHAPE_XXX8
#define X64_SHAPE_XG (2 << X64_MEM_SHIFT | 1 << 21)
#define X64_SHAPE_XG_MR X64_SHAPE_XG
#define X64_SHAPE_XXG (2 << X64_MEM_SHIFT | 1 << 21)
#define X64_SHAPE_EXXG X64_SHAPE_XXG
#define X64_SHAPE_GX4 X64_SHAPE_XXX4
#define X64_SHAPE_GX8 (3 << X64_MEM_SHIFT)
#define X64_SHAPE_EGX4 X64_SHAPE_GX4
#define X64_SHAPE_EGX8 X64_SHAPE_GX8
#define X64_SHAPE_XXX8W (3 << X64_MEM_SHIFT | X64_W)
#define X64_SHAPE_XXX4V X64_SHAPE_XXX4
#define X64_MEM_BY_W (1 << 21) /* the memory operand is twice as long if W is 1 */
#define X64_EVEX_W (1 << 20)   /* W is 1 in the EVEX form although VEX ignores it */

enum x64_op {
#define X64_OP(name, text, shape, prefix, map, opcode) \
    X64_##name = (opcode) | X64_MAP_##map | X64_##prefix | X64_SHAPE_##shape,
#include "engine/host/x64/enc.def"
#undef X64_OP
};

/* An operand: a register, or memory. Small enough to be passed in a register. */
enum { X64_REG, X64_MEM };
enum { X64_GS = 1, X64_A32 = 2, X64_RIP = 4, X64_NO_BASE = 8 };
#define X64_NO_INDEX RSP /* rsp cannot be an index */
struct x64_loc {
    uint8_t is_mem;
    uint8_t flags;
    uint8_t reg;   /* the register, or the base */
    uint8_t index; /* | scale << 4 */
    int32_t disp;  /* X64_RIP: offset of the target in the cache */
};

static inline struct x64_loc x64_reg(unsigned r)
{
    return (struct x64_loc){.reg = (uint8_t)r};
}
static inline struct x64_loc x64_mem(unsigned flags, unsigned base, int32_t disp)
{
    return (struct x64_loc){.is_mem = 1,
                            .flags = (uint8_t)flags,
                            .reg = (uint8_t)base,
                            .index = X64_NO_INDEX,
                            .disp = disp};
}
static inline struct x64_loc x64_mem_index(unsigned flags, unsigned base, unsigned index,
                                           unsigned scale, int32_t disp)
{
    return (struct x64_loc){.is_mem = 1,
                            .flags = (uint8_t)flags,
                            .reg = (uint8_t)base,
                            .index = (uint8_t)(index | scale << 4),
                            .disp = disp};
}
static inline struct x64_loc x64_state(size_t offset)
{
    return x64_mem(0, RSP, (int32_t)offset);
}

struct x64_em {
    uint8_t *p, *base; /* base[0] is at offset cache_off of the cache */
    uint32_t cache_off;
};

static inline uint32_t x64_here(const struct x64_em *e)
{
    return (uint32_t)(e->p - e->base);
}
static inline void x64_u8(struct x64_em *e, unsigned x)
{
    *e->p++ = (uint8_t)x;
}
static inline void x64_u32(struct x64_em *e, uint32_t x)
{
    memcpy(e->p, &x, 4);
    e->p += 4;
}
static inline void x64_u64(struct x64_em *e, uint64_t x)
{
    memcpy(e->p, &x, 8);
    e->p += 8;
}

void x64_op_any(struct x64_em *e, uint32_t op, unsigned reg, struct x64_loc rm, unsigned imm_bytes);
/* reg, r/m. imm_bytes: how many immediate bytes follow (for RIP-relative operands). Most forms are of one opcode byte, most
 * operands registers, and both are known where this is called: a tenth of translation's time. */
static inline void x64_op(struct x64_em *e, uint32_t op, unsigned reg, struct x64_loc rm,
                          unsigned imm_bytes)
{
    if (rm.is_mem || op & ~(uint32_t)(X64_W | 0xff)) {
        x64_op_any(e, op, reg, rm, imm_bytes);
        return;
    }
    uint8_t *p = e->p;
    unsigned rex = (op & X64_W ? 0x48 : 0x40) | (reg >> 3) << 2 | rm.reg >> 3;
    *p = (uint8_t)rex;
    p += rex != 0x40;
    *p++ = (uint8_t)op;
    *p++ = (uint8_t)(0xc0 | (reg & 7) << 3 | (rm.reg & 7));
    e->p = p;
}
/* VEX (or EVEX, if a register is above 15 or force_evex): reg, v, r/m. v: 0 if the form has none. */
void x64_vex(struct x64_em *e, uint32_t op, unsigned reg, unsigned v, struct x64_loc rm);
void x64_evex(struct x64_em *e, uint32_t op, unsigned reg, unsigned v, struct x64_loc rm);

/* 64-bit (w = true) or 32-bit form. */
static inline void x64_rm(struct x64_em *e, bool w, uint32_t op, unsigned reg, struct x64_loc rm)
{
    x64_op(e, op | (w ? X64_W : 0), reg, rm, 0);
}
static inline void x64_rr(struct x64_em *e, bool w, uint32_t op, unsigned reg, unsigned rm)
{
    x64_op(e, op | (w ? X64_W : 0), reg, x64_reg(rm), 0);
}

enum x64_group1 { X64_I_ADD, X64_I_OR, X64_I_AND = 4, X64_I_SUB, X64_I_XOR, X64_I_CMP };
enum x64_shift { X64_S_ROL, X64_S_ROR, X64_S_SHL = 4, X64_S_SHR, X64_S_SAR = 7 };
enum x64_group3 { X64_G_NOT = 2, X64_G_NEG, X64_G_MUL, X64_G_IMUL, X64_G_DIV, X64_G_IDIV };
/* op r/m, imm */
void x64_alu_imm(struct x64_em *e, bool w, enum x64_group1 op, struct x64_loc rm, int32_t imm);
void x64_mov_imm(struct x64_em *e, unsigned reg, uint64_t imm); /* the shortest; flags survive */
void x64_mov_imm_mem(struct x64_em *e, bool w, struct x64_loc rm, int32_t imm);
void x64_imul_imm(struct x64_em *e, bool w, unsigned reg, struct x64_loc rm, int32_t imm);
void x64_shift_imm(struct x64_em *e, bool w, enum x64_shift op, struct x64_loc rm, unsigned n);
void x64_shift_cl(struct x64_em *e, bool w, enum x64_shift op, struct x64_loc rm);
void x64_group3(struct x64_em *e, bool w, enum x64_group3 op, struct x64_loc rm);
void x64_rorx(struct x64_em *e, bool w, unsigned reg, struct x64_loc rm, unsigned n); /* BMI2 */
void x64_test_imm8(struct x64_em *e, unsigned reg, unsigned imm);
void x64_nop(struct x64_em *e, unsigned bytes); /* 0..8 */

/* Condition codes as in jcc, setcc, cmovcc. The low bit negates. */
enum x64_cc {
    X64_CC_O,
    X64_CC_NO,
    X64_CC_B,
    X64_CC_AE,
    X64_CC_E,
    X64_CC_NE,
    X64_CC_BE,
    X64_CC_A,
    X64_CC_S,
    X64_CC_NS,
    X64_CC_P,
    X64_CC_NP,
    X64_CC_L,
    X64_CC_GE,
    X64_CC_LE,
    X64_CC_G
};
void x64_setcc(struct x64_em *e, enum x64_cc cc, unsigned reg);
void x64_cmov(struct x64_em *e, bool w, enum x64_cc cc, unsigned reg, struct x64_loc rm);
/* Jumps whose target is set later: the offset of the displacement. */
uint32_t x64_jcc8(struct x64_em *e, enum x64_cc cc);
uint32_t x64_jmp8(struct x64_em *e);
uint32_t x64_jcc32(struct x64_em *e, enum x64_cc cc);
uint32_t x64_jmp32(struct x64_em *e);
void x64_land8(struct x64_em *e, uint32_t site);    /* here */
void x64_land32(struct x64_em *e, uint32_t site);   /* here */
void x64_jmp_to(struct x64_em *e, uint32_t offset); /* from base, backward or forward */
void x64_jcc_to(struct x64_em *e, enum x64_cc cc, uint32_t offset);
void x64_jmp_cache(struct x64_em *e, uint32_t cache_off); /* an offset in the cache */
void x64_call_cache(struct x64_em *e, uint32_t cache_off);

#endif
