#include "engine/host/x64/enc_inline.h"

void x64_op_any(struct x64_em *e, uint32_t op, unsigned reg, struct x64_loc rm, unsigned imm_bytes)
{
    x64_op_unfolded(e, op, reg, rm, imm_bytes);
}

void x64_evex(struct x64_em *e, uint32_t op, unsigned reg, unsigned v, struct x64_loc rm)
{
    uint8_t *p = x64_put_prefix(e->p, op & ~(uint32_t)X64_F2, rm);
    unsigned base = x64_base_of(rm), x = rm.is_mem ? x64_index_bit(rm) : base >> 4 & 1;
    unsigned w = op & (X64_W | X64_EVEX_W) ? 0x80 : 0;
    *p++ = 0x62;
    *p++ = (uint8_t)((~reg >> 3 & 1) << 7 | (x ^ 1) << 6 | (~base >> 3 & 1) << 5 |
                     (~reg >> 4 & 1) << 4 | (op >> 8 & 3));
    *p++ = (uint8_t)(w | (~v & 15) << 3 | 4 | (op >> 10 & 3));
    *p++ = (uint8_t)((~v >> 4 & 1) << 3);
    *p++ = (uint8_t)op;
    unsigned shift = op >> X64_MEM_SHIFT & 7;
    if (op & X64_MEM_BY_W && op & X64_W)
        shift++;
    e->p = x64_put_rm(e, p, reg, rm, shift, 0);
}

void x64_vex(struct x64_em *e, uint32_t op, unsigned reg, unsigned v, struct x64_loc rm)
{
    if ((reg | v) > 15 || (!rm.is_mem && rm.reg > 15)) {
        x64_evex(e, op, reg, v, rm);
        return;
    }
    uint8_t *p = x64_put_prefix(e->p, op & ~(uint32_t)X64_F2, rm);
    unsigned map = op >> 8 & 3, w = op & X64_W ? 0x80 : 0, pp = op >> 10 & 3;
    unsigned r = ~reg >> 3 & 1, x = x64_index_bit(rm) ^ 1, b = ~x64_base_of(rm) >> 3 & 1;
    if (map == 1 && !w && x && b) {
        *p++ = 0xc5;
        *p++ = (uint8_t)(r << 7 | (~v & 15) << 3 | pp);
    } else {
        *p++ = 0xc4;
        *p++ = (uint8_t)(r << 7 | x << 6 | b << 5 | map);
        *p++ = (uint8_t)(w | (~v & 15) << 3 | pp);
    }
    *p++ = (uint8_t)op;
    e->p = x64_put_rm(e, p, reg, rm, 0, 0);
}

void x64_alu_imm(struct x64_em *e, bool w, enum x64_group1 op, struct x64_loc rm, int32_t imm)
{
    uint32_t size = w ? X64_W : 0;
    if (imm == (int8_t)imm) {
        x64_op(e, 0x83 | size, op, rm, 1);
        x64_u8(e, (uint8_t)imm);
    } else {
        x64_op(e, 0x81 | size, op, rm, 4);
        x64_u32(e, (uint32_t)imm);
    }
}

void x64_mov_imm(struct x64_em *e, unsigned reg, uint64_t imm)
{
    if (imm <= UINT32_MAX) {
        if (reg >> 3)
            x64_u8(e, 0x41);
        x64_u8(e, 0xb8 | (reg & 7));
        x64_u32(e, (uint32_t)imm);
    } else if ((int64_t)imm == (int32_t)imm) {
        x64_mov_imm_mem(e, true, x64_reg(reg), (int32_t)imm);
    } else {
        x64_u8(e, 0x48 | reg >> 3);
        x64_u8(e, 0xb8 | (reg & 7));
        x64_u64(e, imm);
    }
}

void x64_mov_imm_mem(struct x64_em *e, bool w, struct x64_loc rm, int32_t imm)
{
    x64_op(e, 0xc7 | (w ? X64_W : 0), 0, rm, 4);
    x64_u32(e, (uint32_t)imm);
}

void x64_imul_imm(struct x64_em *e, bool w, unsigned reg, struct x64_loc rm, int32_t imm)
{
    x64_op(e, 0x69 | (w ? X64_W : 0), reg, rm, 4);
    x64_u32(e, (uint32_t)imm);
}

void x64_shift_imm(struct x64_em *e, bool w, enum x64_shift op, struct x64_loc rm, unsigned n)
{
    x64_op(e, 0xc1 | (w ? X64_W : 0), op, rm, 1);
    x64_u8(e, n);
}

void x64_shift_cl(struct x64_em *e, bool w, enum x64_shift op, struct x64_loc rm)
{
    x64_op(e, 0xd3 | (w ? X64_W : 0), op, rm, 0);
}

void x64_group3(struct x64_em *e, bool w, enum x64_group3 op, struct x64_loc rm)
{
    x64_op(e, 0xf7 | (w ? X64_W : 0), op, rm, 0);
}

void x64_rorx(struct x64_em *e, bool w, unsigned reg, struct x64_loc rm, unsigned n)
{
    x64_vex(e, 0xf0 | X64_MAP_3A | X64_F2 | (w ? X64_W : 0), reg, 0, rm);
    x64_u8(e, n);
}

void x64_test_imm8(struct x64_em *e, unsigned reg, unsigned imm)
{
    x64_op(e, 0xf6 | X64_BYTE_RM, 0, x64_reg(reg), 1);
    x64_u8(e, imm);
}

void x64_nop(struct x64_em *e, unsigned bytes)
{
    static const uint8_t nops[9][8] = {{0},
                                       {0x90},
                                       {0x66, 0x90},
                                       {0x0f, 0x1f, 0x00},
                                       {0x0f, 0x1f, 0x40, 0x00},
                                       {0x0f, 0x1f, 0x44, 0x00, 0x00},
                                       {0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00},
                                       {0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00},
                                       {0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00}};
    memcpy(e->p, nops[bytes], bytes);
    e->p += bytes;
}

void x64_setcc(struct x64_em *e, enum x64_cc cc, unsigned reg)
{
    x64_op(e, (0x90 + cc) | X64_MAP_0F | X64_BYTE_RM, 0, x64_reg(reg), 0);
}

void x64_cmov(struct x64_em *e, bool w, enum x64_cc cc, unsigned reg, struct x64_loc rm)
{
    x64_op(e, (0x40 + cc) | X64_MAP_0F | (w ? X64_W : 0), reg, rm, 0);
}

uint32_t x64_jcc8(struct x64_em *e, enum x64_cc cc)
{
    x64_u8(e, 0x70 + cc);
    x64_u8(e, 0);
    return x64_here(e) - 1;
}

uint32_t x64_jmp8(struct x64_em *e)
{
    x64_u8(e, 0xeb);
    x64_u8(e, 0);
    return x64_here(e) - 1;
}

uint32_t x64_jcc32(struct x64_em *e, enum x64_cc cc)
{
    x64_u8(e, 0x0f);
    x64_u8(e, 0x80 + cc);
    x64_u32(e, 0);
    return x64_here(e) - 4;
}

uint32_t x64_jmp32(struct x64_em *e)
{
    x64_u8(e, 0xe9);
    x64_u32(e, 0);
    return x64_here(e) - 4;
}

void x64_land8(struct x64_em *e, uint32_t site)
{
    uint32_t distance = x64_here(e) - site - 1;
    ASSERT(distance < 128);
    e->base[site] = (uint8_t)distance;
}

void x64_land32(struct x64_em *e, uint32_t site)
{
    uint32_t distance = x64_here(e) - site - 4;
    memcpy(e->base + site, &distance, 4);
}

void x64_jmp_to(struct x64_em *e, uint32_t offset)
{
    x64_u8(e, 0xe9);
    x64_u32(e, offset - x64_here(e) - 4);
}

void x64_jcc_to(struct x64_em *e, enum x64_cc cc, uint32_t offset)
{
    int32_t d = (int32_t)(offset - x64_here(e) - 2);
    if (d == (int8_t)d) {
        x64_u8(e, 0x70 + cc);
        x64_u8(e, (uint8_t)d);
        return;
    }
    x64_u8(e, 0x0f);
    x64_u8(e, 0x80 + cc);
    x64_u32(e, offset - x64_here(e) - 4);
}

void x64_jmp_cache(struct x64_em *e, uint32_t cache_off)
{
    x64_jmp_to(e, cache_off - e->cache_off);
}

void x64_call_cache(struct x64_em *e, uint32_t cache_off)
{
    x64_u8(e, 0xe8);
    x64_u32(e, cache_off - e->cache_off - x64_here(e) - 4);
}
