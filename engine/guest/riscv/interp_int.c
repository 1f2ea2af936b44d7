/* RV64I and M: arithmetic and control flow (unpriv. 2, 5, 13). */
#include "engine/guest/riscv/interp.h"

/* rd = expr of a = rs1 and b = rs2 or the immediate; rd is not x0 (rule 3). */
#define ALU_OF(name, second, expr)             \
    OP(name)                                   \
    {                                          \
        uint64_t a = v->r[i->rs1], b = second; \
        v->r[i->rd] = (uint64_t)(expr);        \
        return next;                           \
    }
#define ALU(name, expr) ALU_OF(name, v->r[i->rs2], expr)
#define ALUI(name, expr) ALU_OF(name, (uint64_t)(int64_t)i->imm, expr)
#define ALU_BOTH(name, namei, expr) ALU(name, expr) ALUI(namei, expr)

static inline uint64_t sext32(uint64_t x)
{
    return (uint64_t)(int64_t)(int32_t)(uint32_t)x;
}

ALU_BOTH(add, addi, a + b)
ALU_BOTH(slt, slti, (int64_t)a < (int64_t)b)
ALU_BOTH(sltu, sltiu, a < b)
ALU_BOTH(xor, xori, a ^ b)
ALU_BOTH(or, ori, a | b)
ALU_BOTH(and, andi, a &b)
ALU_BOTH(sll, slli, a << (b & 63))
ALU_BOTH(srl, srli, a >> (b & 63))
ALU_BOTH(sra, srai, (int64_t)a >> (b & 63))
ALU_BOTH(addw, addiw, sext32(a + b))
ALU_BOTH(sllw, slliw, sext32((uint32_t)a << (b & 31)))
ALU_BOTH(srlw, srliw, sext32((uint32_t)a >> (b & 31)))
ALU_BOTH(sraw, sraiw, (int64_t)((int32_t)(uint32_t)a >> (b & 31)))
ALU(sub, a - b)
ALU(subw, sext32(a - b))

/* Division never traps: by zero gives all ones and the dividend, overflow the dividend and zero (13.2). */
static inline int64_t div64(int64_t a, int64_t b)
{
    return b == 0 ? -1 : b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
}
static inline int64_t rem64(int64_t a, int64_t b)
{
    return b == 0 ? a : b == -1 ? 0 : a % b;
}
/* In 64 bits -2^31 / -1 does not overflow; the truncation to 32 bits gives what the manual wants. */
static inline uint64_t divw(uint64_t a, uint64_t b)
{
    return sext32((uint64_t)div64((int32_t)(uint32_t)a, (int32_t)(uint32_t)b));
}
static inline uint64_t remw(uint64_t a, uint64_t b)
{
    return sext32((uint64_t)rem64((int32_t)(uint32_t)a, (int32_t)(uint32_t)b));
}

ALU(mul, a *b)
ALU(mulh, (__int128)(int64_t)a *(int64_t)b >> 64)
ALU(mulhsu, (__int128)(int64_t)a *(__int128)b >> 64)
ALU(mulhu, (unsigned __int128)a *b >> 64)
ALU(mulw, sext32(a *b))
ALU(div, div64((int64_t)a, (int64_t)b))
ALU(divu, b ? a / b : UINT64_MAX)
ALU(rem, rem64((int64_t)a, (int64_t)b))
ALU(remu, b ? a % b : a)
ALU(divw, divw(a, b))
ALU(divuw, sext32((uint32_t)b ? (uint32_t)a / (uint32_t)b : UINT32_MAX))
ALU(remw, remw(a, b))
ALU(remuw, sext32((uint32_t)b ? (uint32_t)a % (uint32_t)b : (uint32_t)a))

OP(lui)
{
    v->r[i->rd] = (uint64_t)(int64_t)i->imm;
    return next;
}

OP(auipc)
{
    v->r[i->rd] = pc + (uint64_t)(int64_t)i->imm;
    return next;
}

OP(jal)
{
    if (i->rd)
        v->r[i->rd] = next;
    return pc + (uint64_t)(int64_t)i->imm;
}

OP(jalr)
{
    uint64_t target =
        (v->r[i->rs1] + (uint64_t)(int64_t)i->imm) & ~1ull; /* before rd, which may be rs1 */
    if (i->rd)
        v->r[i->rd] = next;
    return target;
}

/* Two returns, not one sum: a predicted branch keeps the next fetch from waiting for the immediate. */
#define BRANCH(name, type, relation)                           \
    OP(name)                                                   \
    {                                                          \
        if (!((type)v->r[i->rs1] relation(type) v->r[i->rs2])) \
            return rv_predicted(next);                         \
        return rv_predicted(pc + (uint64_t)(int64_t)i->imm);   \
    }
BRANCH(beq, uint64_t, ==)
BRANCH(bne, uint64_t, !=)
BRANCH(blt, int64_t, <)
BRANCH(bge, int64_t, >=)
BRANCH(bltu, uint64_t, <)
BRANCH(bgeu, uint64_t, >=)

#define H(NAME, name) [ISA_RV64_##NAME] = op_##name
rv_handler *const rv_handlers_int[ISA_RV64_OP_COUNT] = {
    H(LUI, lui),       H(AUIPC, auipc), H(JAL, jal),     H(JALR, jalr),   H(BEQ, beq),
    H(BNE, bne),       H(BLT, blt),     H(BGE, bge),     H(BLTU, bltu),   H(BGEU, bgeu),
    H(ADDI, addi),     H(SLTI, slti),   H(SLTIU, sltiu), H(XORI, xori),   H(ORI, ori),
    H(ANDI, andi),     H(SLLI, slli),   H(SRLI, srli),   H(SRAI, srai),   H(ADD, add),
    H(SUB, sub),       H(SLL, sll),     H(SLT, slt),     H(SLTU, sltu),   H(XOR, xor),
    H(SRL, srl),       H(SRA, sra),     H(OR, or),       H(AND, and),     H(ADDIW, addiw),
    H(SLLIW, slliw),   H(SRLIW, srliw), H(SRAIW, sraiw), H(ADDW, addw),   H(SUBW, subw),
    H(SLLW, sllw),     H(SRLW, srlw),   H(SRAW, sraw),   H(MUL, mul),     H(MULH, mulh),
    H(MULHSU, mulhsu), H(MULHU, mulhu), H(DIV, div),     H(DIVU, divu),   H(REM, rem),
    H(REMU, remu),     H(MULW, mulw),   H(DIVW, divw),   H(DIVUW, divuw), H(REMW, remw),
    H(REMUW, remuw),
};
