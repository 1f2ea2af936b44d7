/*
 * host/x64/lower.h - what the parts of the lowering share: the state of one translation.
 *
 * Looks into: ir, cpu, host.  Used by: this room only.
 *
 * Registers while guest code runs:
 *   rsp           struct vcpu
 *   rax, rdx      scratch: within a block they may hold a confined base address ("held"); any other use takes them
 *   rcx           r[18] with BMI2, else scratch for shift amounts
 *   the others    pinned, see x64_gpr_home
 *   xmm           pinned, see x64_xmm_home; the last two are scratch
 *
 * Rules:
 *  (1) An op faults before it writes any guest register, its group's included.
 *  (2) Cold code that returns to the hot path leaves rax and rdx as the hot path expects them.
 *  (3) At every exit sp lies in the window (unless it is 4 GiB), given that it did at entry.
 */
#ifndef X64_LOWER_H
#define X64_LOWER_H

#include "engine/base/arena.h"
#include "engine/host/host.h"
#include "engine/host/x64/enc.h"
#include "engine/ir/ir.h"

#define X64_GST_FP_SOFT 2u         /* GST_FP_SOFT of guest/guest.h, which a host does not see */
#define X64_OP_ROOM 768            /* no micro-op's hot part is longer, no cold part either */
#define X64_SLACK_BYTES (60 << 10) /* less than what is never mapped at both ends of a window */

enum { X64_STUB_LEAVE = 10, X64_STUB_CONST = 11 }; /* host_stubs.priv: 0..9 are exits: rax = pc */

/* The constants at priv[X64_STUB_CONST], 16 bytes each. */
enum x64_const {
    X64_K_BOX, /* ones in bits 127:32 */
    X64_K_SIGN64,
    X64_K_SIGN32,   /* bit 31 */
    X64_K_ABS64,    /* all but bit 63 */
    X64_K_ABS32,    /* all but bit 31 */
    X64_K_NAN64,    /* canonical */
    X64_K_NAN32,    /* canonical, boxed */
    X64_K_TWO63,    /* 2^63 as binary64 */
    X64_K_TWO63_32, /* 2^63 as binary32, boxed */
    X64_K_LIMITS,   /* MXCSR bits for fflags 0..31 and back follow: see stubs.c */
    X64_K_COUNT
};

enum x64_cold_kind {
    X64_COLD_EXIT,   /* stub of exits[a] */
    X64_COLD_POLL,   /* leave with POLL at pc */
    X64_COLD_ROUTE,  /* an exit to pc that pays first */
    X64_COLD_INTERP, /* leave with INTERP at pc; count: what icount lacks */
    X64_COLD_STALE,
    X64_COLD_MISS, /* indirect: register a holds the target */
    X64_COLD_CALL, /* pops the call and goes to pc; a: through the entry that rdx is at */
    X64_COLD_DIV,  /* by 0 or -1; a: IR_DIV or IR_REM, b: width */
    X64_COLD_DIVU,
    X64_COLD_NAN,     /* a, c: registers, b: size */
    X64_COLD_FMA_NAN, /* a: register, b: size; c: index of the op */
    X64_COLD_MXCSR,   /* MXCSR again from scratch[0] */
    X64_COLD_MINMAX,  /* a, b: operands, c: result; count: max | size */
    X64_COLD_U64,     /* a: general register, b: size, c: result */
};

/* What registers lack. All zero: nothing. nan64, nan32: f registers (numbers) with a result that becomes the canonical NaN of
 * that format if it is one; lost: pure ops whose result is overwritten before anyone uses it. */
#define X64_LOST_MAX 4
struct x64_debt {
    uint32_t nan64, nan32;
    uint32_t sext;              /* r registers of which only the lower half is right */
    uint8_t lost[X64_LOST_MAX]; /* indices of ops */
    uint32_t lost_count;
};

struct x64_cold {
    uint8_t kind, a, b, c;
    uint8_t debt;  /* x64_debt_index() at the place; paid before leaving */
    uint32_t site; /* rel32 that leads here */
    uint32_t back; /* where to go on */
    uint32_t count;
    gva_t pc;
};
#define X64_COLD_MAX (IR_OPS_MAX * 4)

struct x64_ctx {
    struct x64_em e;
    uint8_t *end;
    const struct host_options *o;
    const struct host_stubs *stubs;
    const struct ir_block *b;
    struct host_code *c;
    const int8_t *gpr, *xmm; /* homes, -1: in memory */
    unsigned xs0, xs1;       /* scratch xmm */
    bool vex, bmi2, fma, avx512, window32;
    unsigned window_bits;
    /* what rax [0] and rdx [1] hold: the confined value that register reg had before delta was added, or IR_NONE */
    struct {
        uint8_t reg;
        int32_t delta;
    } held[2];
    unsigned held_next;
    /* rule (3): anchored: sp is within slack of a mapped address; else it is within slack of the window */
    bool sp_anchored;
    uint32_t sp_slack;
    struct x64_debt debt;
    struct x64_debt
        debts[IR_OPS_MAX * 2 + 4]; /* [1..debt_count]: those that cold code or fix-ups refer to */
    unsigned debt_count;
    uint64_t boxed;   /* f registers known to hold a boxed binary32 */
    uint8_t flag_reg; /* host flags: cc says flag_reg != 0; IR_NONE */
    uint8_t flag_cc;
    const struct ir_op *skip; /* an op that the one before it took care of */
    uint32_t last_off;        /* where the last instruction starts (for padding) */
    unsigned uncounted;
    unsigned cold_count;
    struct x64_cold cold[X64_COLD_MAX];
};

extern const int8_t x64_gpr_home[2][VCPU_GPR_COUNT]; /* [bmi2] */
extern const int8_t x64_xmm_home[2][VCPU_FPR_COUNT]; /* [avx512] */

#define X64_R(i) (offsetof(struct vcpu, r) + 8u * (i))
#define X64_F(i) (offsetof(struct vcpu, f) + 8u * (i))

static inline struct x64_loc x64_gpr_loc(const struct x64_ctx *x, uint8_t r)
{
    return x->gpr[r] >= 0 ? x64_reg((unsigned)x->gpr[r]) : x64_state(X64_R(r));
}
static inline gva_t x64_pc(const struct x64_ctx *x, const struct ir_op *o)
{
    return x->b->pc + (uint64_t)(int64_t)o->pc_off;
}

/* The scratch register is used for something else now. */
static inline void x64_take(struct x64_ctx *x, unsigned reg)
{
    x->held[reg == RDX].reg = IR_NONE;
}
/* r was written: nothing derived from it is known any more. */
static inline void x64_wrote(struct x64_ctx *x, uint8_t r)
{
    if (x->held[0].reg == r)
        x->held[0].reg = IR_NONE;
    if (x->held[1].reg == r)
        x->held[1].reg = IR_NONE;
}

/* lower.c */
struct x64_cold *x64_cold_add(struct x64_ctx *x, enum x64_cold_kind kind, uint32_t site);
void x64_exit_jcc(struct x64_ctx *x, enum x64_cc cc, gva_t target);
/* What follows may fault, and belongs to o's group. */
void x64_mark(struct x64_ctx *x, const struct ir_op *o, uint8_t borrowed);
static inline bool x64_is_marked(const struct x64_ctx *x, const struct ir_op *o)
{
    return x->c->map_count && x->c->map[x->c->map_count - 1].pc_off == (uint32_t)o->pc_off;
}
/* debt.c */
bool x64_debt_any(const struct x64_debt *d);
unsigned x64_debt_index(struct x64_ctx *x); /* of the debt as it is now; 0: none */
void x64_debt_lose(struct x64_ctx *x, const struct ir_op *o);
void x64_debt_overwritten(struct x64_ctx *x, uint8_t dst);
void x64_debt_pay(struct x64_ctx *x, const struct x64_debt *d); /* emit it; uses rax and rdx */
void x64_nan_settle(struct x64_ctx *x, uint32_t f); /* these registers are about to be seen */
bool x64_debt_fixups(struct x64_ctx *x);            /* false: no room */
/* lower_alu.c */
void x64_lower_alu(struct x64_ctx *x, const struct ir_op *o);
/* Compare as cond says; returns the condition code. */
enum x64_cc x64_compare(struct x64_ctx *x, uint8_t cond, uint8_t a, uint8_t b, int64_t imm);
unsigned x64_source(struct x64_ctx *x, uint8_t r,
                    unsigned scratch); /* the register that holds r, or scratch after loading it */
void x64_load_gpr(struct x64_ctx *x, bool w, unsigned reg, uint8_t r); /* mov reg, r */
void x64_store_gpr(struct x64_ctx *x, uint8_t dst,
                   unsigned reg); /* mov dst, reg unless it is there */
/* lower_mem.c */
void x64_lower_mem(struct x64_ctx *x, const struct ir_op *o);
void x64_sp_settle(struct x64_ctx *x, const struct ir_op *o); /* before an exit */
void x64_sp_written(struct x64_ctx *x, const struct ir_op *o);
struct x64_loc x64_address(struct x64_ctx *x, const struct ir_op *o);
void x64_accessed(struct x64_ctx *x,
                  const struct ir_op *o); /* an access at x64_address() did not fault */
/* lower_atomic.c */
void x64_lower_atomic(struct x64_ctx *x, const struct ir_op *o);
/* lower_fp.c */
void x64_lower_fp(struct x64_ctx *x, const struct ir_op *o);
void x64_xmm(struct x64_ctx *x, uint32_t op, unsigned reg,
             struct x64_loc m); /* two operands, VEX or legacy */
void x64_cold_fp(struct x64_ctx *x, const struct x64_cold *k);
/* stubs.c */
res_t x64_emit_stubs(const struct host_options *o, struct host_code *c, struct host_stubs *out,
                     struct err *err);

#endif
