/*
 * host/x64/fp.h - what the two floating-point files share.
 *
 * Looks into: lower.h.  Used by: lower_fp.c, lower_fp_conv.c.
 */
#ifndef X64_FP_H
#define X64_FP_H

#include "engine/host/x64/lower.h"

#define SCRATCH(i) x64_state(offsetof(struct vcpu, scratch) + 4u * (i))

static inline struct x64_loc fp_constant(const struct x64_ctx *x, enum x64_const k)
{
    return x64_mem(X64_RIP, 0, (int32_t)(x->stubs->priv[X64_STUB_CONST] + 16u * k));
}

static inline bool fp_wide(const struct ir_op *o)
{
    return o->size == 8;
}

static inline int fp_home(const struct x64_ctx *x, uint8_t f)
{
    return x->xmm[f - IR_F0];
}

static inline struct x64_loc fp_loc(const struct x64_ctx *x, uint8_t f)
{
    int h = fp_home(x, f);
    return h >= 0 ? x64_reg((unsigned)h) : x64_state(X64_F(f - IR_F0));
}

static inline uint32_t fp_mask_of(uint8_t f)
{
    return (uint32_t)1 << (f - IR_F0);
}

static inline void fp_mov(struct x64_ctx *x, unsigned d, unsigned s)
{
    if (d != s)
        x64_xmm(x, X64_MOVAPS, d, x64_reg(s));
}

/* The register that holds f: its home, or scratch after loading it. */
static inline unsigned fp_source(struct x64_ctx *x, uint8_t f, unsigned scratch)
{
    if (fp_home(x, f) >= 0)
        return (unsigned)fp_home(x, f);
    x64_xmm(x, X64_MOVSD_LD, scratch, fp_loc(x, f));
    return scratch;
}

static inline unsigned fp_target(const struct x64_ctx *x, uint8_t f)
{
    return fp_home(x, f) >= 0 ? (unsigned)fp_home(x, f) : x->xs0;
}

/* lower_fp.c */
void x64_f3(struct x64_ctx *x, uint32_t op, unsigned d, unsigned a, struct x64_loc m,
            bool commutes);
void x64_f3c(struct x64_ctx *x, uint32_t op, unsigned d, unsigned a, enum x64_const k);
struct x64_cold *x64_to_t0(struct x64_ctx *x, const struct ir_op *o, uint32_t site);
void x64_need_boxed(struct x64_ctx *x, const struct ir_op *o, unsigned n, const uint8_t *f);
void x64_rounded_result(struct x64_ctx *x, uint8_t f, unsigned r, unsigned size);
bool x64_round_begin(struct x64_ctx *x, const struct ir_op *o);
void x64_round_end(struct x64_ctx *x, bool begun);
void x64_mxcsr(struct x64_ctx *x, bool ld, struct x64_loc m);
void x64_fp_finish(struct x64_ctx *x, uint8_t f, unsigned r, bool boxed);
/* lower_fp_conv.c */
void x64_f2i(struct x64_ctx *x, const struct ir_op *o);
void x64_i2f(struct x64_ctx *x, const struct ir_op *o);
void x64_f2f(struct x64_ctx *x, const struct ir_op *o);
void x64_fclass(struct x64_ctx *x, const struct ir_op *o);
void x64_fmvxf(struct x64_ctx *x, const struct ir_op *o);
void x64_fmvfx(struct x64_ctx *x, const struct ir_op *o);
void x64_fcsr(struct x64_ctx *x, const struct ir_op *o);
void x64_cold_u64(struct x64_ctx *x, const struct x64_cold *k);

#endif
