/*
 * host/x64/stubs.c - the code a cache starts with: in, out, and the constants.
 *
 * enter(v, host): saves the C side, loads the registers, jumps. leave: the reverse, the reason in eax. Every other
 * stub ends in leave. rsp is the state's address in between; signals use their own stack.
 */
#include "engine/host/x64/lower.h"

static const uint8_t saved[6] = {RBX, RBP, R12, R13, R14, R15};

struct stub_ctx {
    struct x64_em e;
    bool vex;
    const int8_t *gpr, *xmm;
};

static void xmm_mov(struct stub_ctx *s, uint32_t op, unsigned reg, struct x64_loc m)
{
    if (s->vex)
        x64_vex(&s->e, op, reg, 0, m);
    else
        x64_op(&s->e, op, reg, m, 0);
}

static void mxcsr(struct x64_em *e, bool load, struct x64_loc m)
{
    x64_op(e, 0xae | X64_MAP_0F, load ? 2 : 3, m, 0);
}

static void registers(struct stub_ctx *s, bool load)
{
    for (unsigned i = 0; i < VCPU_FPR_COUNT; i++)
        if (s->xmm[i] >= 0)
            xmm_mov(s, load ? X64_MOVSD_LD : X64_MOVSD_ST, (unsigned)s->xmm[i],
                    x64_state(X64_F(i)));
    for (unsigned i = 0; i < VCPU_GPR_COUNT; i++)
        if (s->gpr[i] >= 0)
            x64_rm(&s->e, true, load ? X64_MOV : X64_MOV_MR, (unsigned)s->gpr[i],
                   x64_state(X64_R(i)));
}

static void push_pop(struct x64_em *e, unsigned base, unsigned reg)
{
    if (reg >> 3)
        x64_u8(e, 0x41);
    x64_u8(e, base + (reg & 7));
}

static void enter(struct stub_ctx *s, bool fsgsbase)
{
    struct x64_em *e = &s->e;
    for (unsigned i = 0; i < ARRAY_LEN(saved); i++)
        push_pop(e, 0x50, saved[i]);
    x64_rm(e, true, X64_MOV_MR, RSP, x64_mem(0, RDI, offsetof(struct vcpu, host_rsp)));
    mxcsr(e, false, x64_mem(0, RDI, offsetof(struct vcpu, host_mxcsr)));
    x64_rr(e, true, X64_MOV, RSP, RDI);
    if (fsgsbase) {
        x64_rm(e, true, X64_MOV, RAX, x64_state(offsetof(struct vcpu, window)));
        x64_op(e, 0xae | X64_MAP_0F | X64_F3 | X64_W, 3, x64_reg(RAX), 0);
    }
    mxcsr(e, true, x64_state(offsetof(struct vcpu, mxcsr)));
    x64_rr(e, true, X64_MOV, RAX, RSI);
    registers(s, true);
    x64_op(e, 0xff, 4, x64_reg(RAX), 0);
}

/* eax: why. */
static void leave(struct stub_ctx *s)
{
    struct x64_em *e = &s->e;
    registers(s, false);
    mxcsr(e, false, x64_state(offsetof(struct vcpu, mxcsr)));
    mxcsr(e, true, x64_state(offsetof(struct vcpu, host_mxcsr)));
    x64_rm(e, true, X64_MOV, RSP, x64_state(offsetof(struct vcpu, host_rsp)));
    for (unsigned i = ARRAY_LEN(saved); i-- > 0;)
        push_pop(e, 0x58, saved[i]);
    x64_u8(e, 0xc3);
}

static void constants(struct x64_em *e)
{
    static const uint64_t k[X64_K_LIMITS][2] = {
        [X64_K_BOX] = {0xffffffff00000000, UINT64_MAX},
        [X64_K_SIGN64] = {(uint64_t)1 << 63, 0},
        [X64_K_SIGN32] = {(uint64_t)1 << 31, 0},
        [X64_K_ABS64] = {INT64_MAX, UINT64_MAX},
        [X64_K_ABS32] = {0xffffffff7fffffff, UINT64_MAX},
        [X64_K_NAN64] = {0x7ff8000000000000, 0},
        [X64_K_NAN32] = {0xffffffff7fc00000, UINT64_MAX},
        [X64_K_TWO63] = {0x43e0000000000000, 0},
        [X64_K_TWO63_32] = {0xffffffff5f000000, UINT64_MAX},
    };
    for (unsigned i = 0; i < X64_K_LIMITS; i++) {
        x64_u64(e, k[i][0]);
        x64_u64(e, k[i][1]);
    }
    for (unsigned i = 0; i < 64; i++) /* MXCSR's six sticky bits -> fflags */
        x64_u8(e, cpu_fflags_from_mxcsr(i));
    for (unsigned i = 0; i < 32; i++) /* and back */
        x64_u8(e, cpu_mxcsr_from_fflags(i));
}

res_code_t x64_emit_stubs(const struct host_options *o, struct host_code *c, struct host_stubs *out,
                          struct err *err)
{
    if (c->w_bytes < 4096)
        return err_set(err, ERR_CACHE_FULL, "no room for the stubs of a code cache");
    bool vex = o->features & HOST_FEATURE_AVX;
    struct stub_ctx s = {.e = {c->w, c->w, c->cache_off},
                         .vex = vex,
                         .gpr = x64_gpr_home[!!(o->features & HOST_FEATURE_BMI2)],
                         .xmm = x64_xmm_home[vex && o->features & HOST_FEATURE_AVX512]};
    struct x64_em *e = &s.e;
    out->enter = c->cache_off;
    enter(&s, o->features & HOST_FEATURE_FSGSBASE);
    out->priv[X64_STUB_LEAVE] = c->cache_off + x64_here(e);
    leave(&s);
    out->fault = c->cache_off + x64_here(e);
    x64_mov_imm(e, RAX, CPU_EXIT_FAULT);
    x64_jmp_cache(e, out->priv[X64_STUB_LEAVE]);
    for (unsigned why = CPU_EXIT_NEXT; why <= CPU_EXIT_MODE; why++) {
        out->priv[why] = c->cache_off + x64_here(e);
        if (why == CPU_EXIT_NEXT) /* an indirect target comes as it is */
            x64_alu_imm(e, true, X64_I_AND, x64_reg(RAX), -2);
        x64_rm(e, true, X64_MOV_MR, RAX, x64_state(offsetof(struct vcpu, pc)));
        x64_mov_imm(e, RAX, why);
        x64_jmp_cache(e, out->priv[X64_STUB_LEAVE]);
    }
    while (-(e->cache_off + x64_here(e)) & 63)
        x64_u8(e, 0xcc);
    out->priv[X64_STUB_CONST] = c->cache_off + x64_here(e);
    constants(e);
    out->len = c->len = x64_here(e);
    c->exit_count = c->map_count = c->landing_count = 0;
    return OK;
}
_Static_assert((int)CPU_EXIT_MODE < (int)X64_STUB_LEAVE, "one slot for each exit");
