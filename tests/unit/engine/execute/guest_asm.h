/* A few RV64 instructions as words, for programs written in tests. */
#ifndef GUEST_ASM_H
#define GUEST_ASM_H

#include <stdint.h>

enum { X0, RA, SP, GP, TP, T0, T1, T2, S0, S1, A0, A1, A2, A3, A4, A5, A6, A7 };

static inline uint32_t rv_r(uint32_t op, uint32_t f3, uint32_t f7, unsigned rd, unsigned rs1,
                            unsigned rs2)
{
    return f7 << 25 | rs2 << 20 | rs1 << 15 | f3 << 12 | rd << 7 | op;
}
static inline uint32_t rv_i(uint32_t op, uint32_t f3, unsigned rd, unsigned rs1, int32_t imm)
{
    return (uint32_t)imm << 20 | rs1 << 15 | f3 << 12 | rd << 7 | op;
}
static inline uint32_t rv_s(uint32_t op, uint32_t f3, unsigned rs1, unsigned rs2, int32_t imm)
{
    uint32_t i = (uint32_t)imm;
    return (i >> 5 & 0x7f) << 25 | rs2 << 20 | rs1 << 15 | f3 << 12 | (i & 0x1f) << 7 | op;
}
static inline uint32_t rv_b(uint32_t f3, unsigned rs1, unsigned rs2, int32_t imm)
{
    uint32_t i = (uint32_t)imm;
    return (i >> 12 & 1) << 31 | (i >> 5 & 0x3f) << 25 | rs2 << 20 | rs1 << 15 | f3 << 12 |
           (i >> 1 & 0xf) << 8 | (i >> 11 & 1) << 7 | 0x63;
}
static inline uint32_t rv_jal(unsigned rd, int32_t imm)
{
    uint32_t i = (uint32_t)imm;
    return (i >> 20 & 1) << 31 | (i >> 1 & 0x3ff) << 21 | (i >> 11 & 1) << 20 |
           (i >> 12 & 0xff) << 12 | rd << 7 | 0x6f;
}
static inline uint32_t rv_amo(uint32_t f5, uint32_t f3, unsigned rd, unsigned rs1, unsigned rs2)
{
    return rv_r(0x2f, f3, f5 << 2, rd, rs1, rs2);
}
#define ADDI(rd, rs1, imm) rv_i(0x13, 0, rd, rs1, imm)
#define ADD(rd, rs1, rs2) rv_r(0x33, 0, 0, rd, rs1, rs2)
#define SLLI(rd, rs1, sh) rv_i(0x13, 1, rd, rs1, sh)
#define LUI(rd, hi) ((uint32_t)(hi) << 12 | (unsigned)(rd) << 7 | 0x37)
#define LD(rd, rs1, imm) rv_i(0x03, 3, rd, rs1, imm)
#define LW(rd, rs1, imm) rv_i(0x03, 2, rd, rs1, imm)
#define SD(rs2, rs1, imm) rv_s(0x23, 3, rs1, rs2, imm)
#define SW(rs2, rs1, imm) rv_s(0x23, 2, rs1, rs2, imm)
#define BEQ(rs1, rs2, imm) rv_b(0, rs1, rs2, imm)
#define BNE(rs1, rs2, imm) rv_b(1, rs1, rs2, imm)
#define BLT(rs1, rs2, imm) rv_b(4, rs1, rs2, imm)
#define JAL(rd, imm) rv_jal(rd, imm)
#define JALR(rd, rs1, imm) rv_i(0x67, 0, rd, rs1, imm)
#define ECALL 0x73u
#define EBREAK 0x100073u
#define FENCE_I 0x100fu
#define FSRM(rd, rs1) rv_i(0x73, 1, rd, rs1, 2)
#define AMOADD_D(rd, rs1, rs2) rv_amo(0, 3, rd, rs1, rs2)
#define LR_D(rd, rs1) rv_amo(2, 3, rd, rs1, 0)
#define SC_D(rd, rs1, rs2) rv_amo(3, 3, rd, rs1, rs2)

#endif
