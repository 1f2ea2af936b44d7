#include "engine/host/x64/enc.h"

static inline uint8_t *put_prefix(uint8_t *p, uint32_t op, struct x64_loc rm)
{
    static const uint8_t legacy[4] = {0, 0x66, 0xf3, 0xf2};
    if (rm.flags & X64_GS)
        *p++ = 0x65;
    if (rm.flags & X64_A32)
        *p++ = 0x67;
    if (op & X64_F2)
        *p++ = legacy[op >> 10 & 3];
    return p;
}

/* ModRM, SIB, displacement. shift: EVEX scales a one-byte displacement by 1 << shift. */
static inline uint8_t *put_rm(const struct x64_em *e, uint8_t *p, unsigned reg, struct x64_loc rm,
                       unsigned shift, unsigned imm_bytes)
{
    unsigned r = (reg & 7) << 3;
    if (!rm.is_mem) {
        *p++ = (uint8_t)(0xc0 | r | (rm.reg & 7));
        return p;
    }
    int32_t disp = rm.disp;
    if (rm.flags & X64_RIP) {
        *p++ = (uint8_t)(r | 5);
        disp -= (int32_t)(e->cache_off + (uint32_t)(p - e->base) + 4 + imm_bytes);
        memcpy(p, &disp, 4);
        return p + 4;
    }
    unsigned index = rm.index & 15, scale = rm.index >> 4;
    if (rm.flags & X64_NO_BASE) { /* disp32, or index*scale + disp32 */
        *p++ = (uint8_t)(r | 4);
        *p++ = (uint8_t)(scale << 6 | (index & 7) << 3 | 5);
        memcpy(p, &disp, 4);
        return p + 4;
    }
    bool sib = index != X64_NO_INDEX || (rm.reg & 7) == RSP;
    int32_t small = disp >> shift;
    unsigned mod = 2;
    if (disp == 0 && (rm.reg & 7) != RBP)
        mod = 0;
    else if (small == (int8_t)small && (int32_t)((uint32_t)small << shift) == disp)
        mod = 1;
    *p++ = (uint8_t)(mod << 6 | r | (sib ? 4 : (rm.reg & 7u)));
    if (sib)
        *p++ = (uint8_t)(scale << 6 | (index & 7) << 3 | (rm.reg & 7));
    if (mod == 1) {
        *p++ = (uint8_t)small;
    } else if (mod == 2) {
        memcpy(p, &disp, 4);
        p += 4;
    }
    return p;
}

static inline unsigned index_bit(struct x64_loc rm)
{
    return rm.is_mem && !(rm.flags & X64_RIP) ? rm.index >> 3 & 1 : 0;
}

static inline unsigned base_of(struct x64_loc rm)
{
    return rm.flags & (X64_RIP | X64_NO_BASE) ? 0 : rm.reg;
}

/* Most operands in memory are the state's: [rsp + disp]. */
static bool is_state(struct x64_loc rm)
{
    return rm.is_mem && !rm.flags && rm.reg == RSP && rm.index == X64_NO_INDEX && rm.disp;
}

static void op_state(struct x64_em *e, uint32_t op, unsigned reg, int32_t disp)
{
    uint8_t *p = e->p;
    unsigned rex = (op & X64_W ? 0x48 : 0x40) | (reg >> 3) << 2, r = (reg & 7) << 3;
    *p = (uint8_t)rex;
    p += rex != 0x40;
    p[0] = (uint8_t)op;
    p[2] = 0x24;
    if (disp == (int8_t)disp) {
        p[1] = (uint8_t)(0x44 | r);
        p[3] = (uint8_t)disp;
        p += 4;
    } else {
        p[1] = (uint8_t)(0x84 | r);
        memcpy(p + 3, &disp, 4);
        p += 7;
    }
    e->p = p;
}

void x64_op_any(struct x64_em *e, uint32_t op, unsigned reg, struct x64_loc rm, unsigned imm_bytes)
{
    if (is_state(rm) && !(op & ~(uint32_t)(X64_W | 0xff))) {
        op_state(e, op, reg, rm.disp);
        return;
    }
    uint8_t *p = put_prefix(e->p, op, rm);
    unsigned rex = (op & X64_W ? 8 : 0) | (reg >> 3) << 2 | index_bit(rm) << 1 | base_of(rm) >> 3;
    bool byte = (op & X64_BYTE_RM && !rm.is_mem && rm.reg >= 4) || (op & X64_BYTE_REG && reg >= 4);
    if (rex || byte)
        *p++ = (uint8_t)(0x40 | rex);
    unsigned map = op >> 8 & 3;
    if (map) {
        *p++ = 0x0f;
        if (map > 1)
            *p++ = map == 2 ? 0x38 : 0x3a;
    }
    *p++ = (uint8_t)op;
    e->p = put_rm(e, p, reg, rm, 0, imm_bytes);
}

void x64_evex(struct x64_em *e, uint32_t op, unsigned reg, unsigned v, struct x64_loc rm)
{
    uint8_t *p = put_prefix(e->p, op & ~(uint32_t)X64_F2, rm);
    unsigned base = base_of(rm), x = rm.is_mem ? index_bit(rm) : base >> 4 & 1;
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
    e->p = put_rm(e, p, reg, rm, shift, 0);
}

void x64_vex(struct x64_em *e, uint32_t op, unsigned reg, unsigned v, struct x64_loc rm)
{
    if ((reg | v) > 15 || (!rm.is_mem && rm.reg > 15)) {
        x64_evex(e, op, reg, v, rm);
        return;
    }
    uint8_t *p = put_prefix(e->p, op & ~(uint32_t)X64_F2, rm);
    unsigned map = op >> 8 & 3, w = op & X64_W ? 0x80 : 0, pp = op >> 10 & 3;
    unsigned r = ~reg >> 3 & 1, x = index_bit(rm) ^ 1, b = ~base_of(rm) >> 3 & 1;
    if (map == 1 && !w && x && b) {
        *p++ = 0xc5;
        *p++ = (uint8_t)(r << 7 | (~v & 15) << 3 | pp);
    } else {
        *p++ = 0xc4;
        *p++ = (uint8_t)(r << 7 | x << 6 | b << 5 | map);
        *p++ = (uint8_t)(w | (~v & 15) << 3 | pp);
    }
    *p++ = (uint8_t)op;
    e->p = put_rm(e, p, reg, rm, 0, 0);
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
