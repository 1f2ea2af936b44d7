/*
 * host/x64/enc_inline.h - the encoder of one form, to be compiled into its caller.
 *
 * Looks into: base.  Used by: enc.c, and lower.c for what it emits most.
 */
#ifndef X64_ENC_INLINE_H
#define X64_ENC_INLINE_H

#include "engine/host/x64/enc.h"

static inline uint8_t *x64_put_prefix(uint8_t *p, uint32_t op, struct x64_loc rm)
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
static inline uint8_t *x64_put_rm(const struct x64_em *e, uint8_t *p, unsigned reg,
                                  struct x64_loc rm, unsigned shift, unsigned imm_bytes)
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

static inline unsigned x64_index_bit(struct x64_loc rm)
{
    return rm.is_mem && !(rm.flags & X64_RIP) ? rm.index >> 3 & 1 : 0;
}

static inline unsigned x64_base_of(struct x64_loc rm)
{
    return rm.flags & (X64_RIP | X64_NO_BASE) ? 0 : rm.reg;
}

/* Most operands in memory are the state's: [rsp + disp]. */
static inline bool x64_is_state(struct x64_loc rm)
{
    return rm.is_mem && !rm.flags && rm.reg == RSP && rm.index == X64_NO_INDEX && rm.disp;
}

static inline void x64_op_state(struct x64_em *e, uint32_t op, unsigned reg, int32_t disp)
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

/* What x64_op() does, unfolded where it is called: for the sequences that are emitted most, of which all is known but a
 * register or a number. */
static inline __attribute__((always_inline)) void
x64_op_unfolded(struct x64_em *e, uint32_t op, unsigned reg, struct x64_loc rm, unsigned imm_bytes)
{
    if (x64_is_state(rm) && !(op & ~(uint32_t)(X64_W | 0xff))) {
        x64_op_state(e, op, reg, rm.disp);
        return;
    }
    uint8_t *p = x64_put_prefix(e->p, op, rm);
    unsigned rex =
        (op & X64_W ? 8 : 0) | (reg >> 3) << 2 | x64_index_bit(rm) << 1 | x64_base_of(rm) >> 3;
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
    e->p = x64_put_rm(e, p, reg, rm, 0, imm_bytes);
}

#endif
