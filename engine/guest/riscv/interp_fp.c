/* F and D (unpriv. 11, 12), in the soft floating point of base. */
#include "engine/guest/riscv/interp.h"

#include "engine/base/softfp.h"

#define BOX 0xffffffff00000000ull

/* A single that is not boxed is the canonical NaN (12.2). */
static inline uint32_t get32(const struct vcpu *v, unsigned n)
{
    uint64_t x = v->f[n];
    return x >= BOX ? (uint32_t)x : SOFTFP_NAN32;
}
static inline uint64_t get64(const struct vcpu *v, unsigned n)
{
    return v->f[n];
}
static inline void put32(struct vcpu *v, unsigned n, uint32_t x)
{
    v->f[n] = x | BOX;
}
static inline void put64(struct vcpu *v, unsigned n, uint64_t x)
{
    v->f[n] = x;
}
static inline void put_x(struct vcpu *v, unsigned n, uint64_t x)
{
    if (n)
        v->r[n] = x;
}

static inline void raise_flags(struct vcpu *v, uint32_t flags)
{
    v->mxcsr |= cpu_mxcsr_from_fflags(flags);
}

/* The effective mode; more than RMM is illegal. The decoder has refused static 5 and 6, so 7 means frm. */
static inline unsigned rounding(const struct vcpu *v, const struct rv_insn *i)
{
    return i->rm == ISA_RV64_RM_DYN ? v->frm : i->rm;
}

/* The body sees the operands through get##bits, rm and flags. */
#define ROUNDED(name, body)              \
    OP(name)                             \
    {                                    \
        unsigned rm = rounding(v, i);    \
        uint32_t flags = 0;              \
        if (unlikely(rm > SOFTFP_RMM))   \
            return rv_illegal(v, i, pc); \
        body;                            \
        raise_flags(v, flags);           \
        return next;                     \
    }
#define EXACT(name, body)      \
    OP(name)                   \
    {                          \
        uint32_t flags = 0;    \
        body;                  \
        raise_flags(v, flags); \
        return next;           \
    }

#define A(bits) get##bits(v, i->rs1)
#define B(bits) get##bits(v, i->rs2)
#define C(bits) get##bits(v, i->rs3)
#define NEG32 (1u << 31)
#define NEG64 (1ull << 63)

/* fnmadd is -(a * b) - c, fnmsub -(a * b) + c: the product is negated before the one rounding (11.6). */
#define FORMAT(s, bits)                                                                           \
    ROUNDED(fadd_##s, put##bits(v, i->rd, softfp_add##bits(A(bits), B(bits), rm, &flags)))        \
    ROUNDED(fsub_##s, put##bits(v, i->rd, softfp_sub##bits(A(bits), B(bits), rm, &flags)))        \
    ROUNDED(fmul_##s, put##bits(v, i->rd, softfp_mul##bits(A(bits), B(bits), rm, &flags)))        \
    ROUNDED(fdiv_##s, put##bits(v, i->rd, softfp_div##bits(A(bits), B(bits), rm, &flags)))        \
    ROUNDED(fsqrt_##s, put##bits(v, i->rd, softfp_sqrt##bits(A(bits), rm, &flags)))               \
    ROUNDED(fmadd_##s,                                                                            \
            put##bits(v, i->rd, softfp_fma##bits(A(bits), B(bits), C(bits), rm, &flags)))         \
    ROUNDED(                                                                                      \
        fmsub_##s,                                                                                \
        put##bits(v, i->rd, softfp_fma##bits(A(bits), B(bits), C(bits) ^ NEG##bits, rm, &flags))) \
    ROUNDED(                                                                                      \
        fnmsub_##s,                                                                               \
        put##bits(v, i->rd, softfp_fma##bits(A(bits) ^ NEG##bits, B(bits), C(bits), rm, &flags))) \
    ROUNDED(fnmadd_##s, put##bits(v, i->rd,                                                       \
                                  softfp_fma##bits(A(bits) ^ NEG##bits, B(bits),                  \
                                                   C(bits) ^ NEG##bits, rm, &flags)))             \
    EXACT(fmin_##s, put##bits(v, i->rd, softfp_min##bits(A(bits), B(bits), &flags)))              \
    EXACT(fmax_##s, put##bits(v, i->rd, softfp_max##bits(A(bits), B(bits), &flags)))              \
    EXACT(feq_##s, put_x(v, i->rd, softfp_eq##bits(A(bits), B(bits), &flags)))                    \
    EXACT(flt_##s, put_x(v, i->rd, softfp_lt##bits(A(bits), B(bits), &flags)))                    \
    EXACT(fle_##s, put_x(v, i->rd, softfp_le##bits(A(bits), B(bits), &flags)))                    \
    EXACT(fclass_##s, put_x(v, i->rd, softfp_class##bits(A(bits))))                               \
    EXACT(fsgnj_##s, put##bits(v, i->rd, (A(bits) & ~NEG##bits) | (B(bits) & NEG##bits)))         \
    EXACT(fsgnjn_##s, put##bits(v, i->rd, (A(bits) & ~NEG##bits) | (~B(bits) & NEG##bits)))       \
    EXACT(fsgnjx_##s, put##bits(v, i->rd, A(bits) ^ (B(bits) & NEG##bits)))                       \
    ROUNDED(fcvt_w_##s,                                                                           \
            put_x(v, i->rd, (uint64_t)(int64_t)softfp_to_i32_##bits(A(bits), rm, &flags)))        \
    ROUNDED(                                                                                      \
        fcvt_wu_##s,                                                                              \
        put_x(v, i->rd, (uint64_t)(int64_t)(int32_t)softfp_to_u32_##bits(A(bits), rm, &flags)))   \
    ROUNDED(fcvt_l_##s, put_x(v, i->rd, (uint64_t)softfp_to_i64_##bits(A(bits), rm, &flags)))     \
    ROUNDED(fcvt_lu_##s, put_x(v, i->rd, softfp_to_u64_##bits(A(bits), rm, &flags)))              \
    ROUNDED(fcvt_##s##_w,                                                                         \
            put##bits(v, i->rd, softfp_from_i64_##bits((int32_t)v->r[i->rs1], rm, &flags)))       \
    ROUNDED(fcvt_##s##_wu,                                                                        \
            put##bits(v, i->rd, softfp_from_u64_##bits((uint32_t)v->r[i->rs1], rm, &flags)))      \
    ROUNDED(fcvt_##s##_l,                                                                         \
            put##bits(v, i->rd, softfp_from_i64_##bits((int64_t)v->r[i->rs1], rm, &flags)))       \
    ROUNDED(fcvt_##s##_lu, put##bits(v, i->rd, softfp_from_u64_##bits(v->r[i->rs1], rm, &flags)))
FORMAT(s, 32)
FORMAT(d, 64)

ROUNDED(fcvt_s_d, put32(v, i->rd, softfp_narrow(A(64), rm, &flags)))
ROUNDED(fcvt_d_s,
        put64(v, i->rd,
              softfp_widen(A(32), &flags))) /* exact, but an invalid mode is still illegal */

/* Moves take the bits as they are, boxed or not. */
EXACT(fmv_x_w, put_x(v, i->rd, (uint64_t)(int64_t)(int32_t)(uint32_t)v->f[i->rs1]))
EXACT(fmv_x_d, put_x(v, i->rd, v->f[i->rs1]))
EXACT(fmv_w_x, put32(v, i->rd, (uint32_t)v->r[i->rs1]))
EXACT(fmv_d_x, put64(v, i->rd, v->r[i->rs1]))

#define H(NAME, name) [ISA_RV64_##NAME] = op_##name
#define BOTH(NAME, name) H(NAME##_S, name##_s), H(NAME##_D, name##_d)
rv_handler *const rv_handlers_fp[ISA_RV64_OP_COUNT] = {
    BOTH(FADD, fadd),      BOTH(FSUB, fsub),        BOTH(FMUL, fmul),      BOTH(FDIV, fdiv),
    BOTH(FSQRT, fsqrt),    BOTH(FMADD, fmadd),      BOTH(FMSUB, fmsub),    BOTH(FNMSUB, fnmsub),
    BOTH(FNMADD, fnmadd),  BOTH(FMIN, fmin),        BOTH(FMAX, fmax),      BOTH(FEQ, feq),
    BOTH(FLT, flt),        BOTH(FLE, fle),          BOTH(FCLASS, fclass),  BOTH(FSGNJ, fsgnj),
    BOTH(FSGNJN, fsgnjn),  BOTH(FSGNJX, fsgnjx),    BOTH(FCVT_W, fcvt_w),  BOTH(FCVT_WU, fcvt_wu),
    BOTH(FCVT_L, fcvt_l),  BOTH(FCVT_LU, fcvt_lu),  H(FCVT_S_W, fcvt_s_w), H(FCVT_S_WU, fcvt_s_wu),
    H(FCVT_S_L, fcvt_s_l), H(FCVT_S_LU, fcvt_s_lu), H(FCVT_D_W, fcvt_d_w), H(FCVT_D_WU, fcvt_d_wu),
    H(FCVT_D_L, fcvt_d_l), H(FCVT_D_LU, fcvt_d_lu), H(FCVT_S_D, fcvt_s_d), H(FCVT_D_S, fcvt_d_s),
    H(FMV_X_W, fmv_x_w),   H(FMV_X_D, fmv_x_d),     H(FMV_W_X, fmv_w_x),   H(FMV_D_X, fmv_d_x),
};
