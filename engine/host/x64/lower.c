/*
 * host/x64/lower.c - one pass over the micro-ops: hot code, then cold code, exits and the map.
 */
#include "engine/host/x64/lower.h"
#include "engine/host/x64/enc_inline.h"

#include <sys/auxv.h>

/* a5 a4 a3 a0 a2 sp a1 s0 s1 a6 ra a7 s2: what RISC-V compilers use most; the rest are memory operands. */
#define PINNED                                                                                  \
    [15] = RBX, [14] = RBP, [13] = RSI, [10] = RDI, [12] = R8, [2] = R9, [11] = R10, [8] = R11, \
    [9] = R12, [16] = R13, [1] = R14, [17] = R15
#define IN_MEMORY                                                                                \
    [0] = -1, [3] = -1, [4] = -1, [5] = -1, [6] = -1, [7] = -1, [19] = -1, [20] = -1, [21] = -1, \
    [22] = -1, [23] = -1, [24] = -1, [25] = -1, [26] = -1, [27] = -1, [28] = -1, [29] = -1,      \
    [30] = -1, [31] = -1
const int8_t x64_gpr_home[2][VCPU_GPR_COUNT] = {
    {PINNED, IN_MEMORY, [18] = -1},
    {PINNED, IN_MEMORY, [18] = RCX},
};
/* 14: fa0-fa7, ft0-ft3, fs0, fs1. 30: all but ft10, ft11. */
const int8_t x64_xmm_home[2][VCPU_FPR_COUNT] = {
    {4,  5,  6,  7,  -1, -1, -1, -1, 12, 13, 0,  1,  2,  3,  8,  9,
     10, 11, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1},
    {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
     16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, -1, -1},
};

#define CODE_BYTES_MAX \
    ((size_t)24 << 10) /* a longer block is given up: its caller takes fewer instructions */

struct x64_cold *x64_cold_add(struct x64_ctx *x, enum x64_cold_kind kind, uint32_t site)
{
    ASSERT(x->cold_count < X64_COLD_MAX);
    struct x64_cold *k = &x->cold[x->cold_count++];
    *k = (struct x64_cold){.kind = (uint8_t)kind, .site = site, .back = x64_here(&x->e)};
    return k;
}

void x64_mark(struct x64_ctx *x, const struct ir_op *o, uint8_t borrowed)
{
    struct host_code *c = x->c;
    uint32_t here = x64_here(&x->e);
    if (!c->map_count || c->map[c->map_count - 1].host_off != here)
        c->map_count++;
    c->map[c->map_count - 1] = (struct host_pcmap){.host_off = here,
                                                   .pc_off = (uint32_t)o->pc_off,
                                                   .uncounted = (uint8_t)x->uncounted,
                                                   .borrowed = borrowed,
                                                   .fixup = (uint16_t)x64_debt_index(x)};
}

/* Make the displacement that will follow opcode_bytes from here 4-aligned: prefixes that mean nothing in front of the
 * instruction at from, so that no jump loses the compare it is fused with. */
static void align_displacement(struct x64_ctx *x, uint32_t from, unsigned opcode_bytes)
{
    struct x64_em *e = &x->e;
    unsigned pad = -(e->cache_off + x64_here(e) + opcode_bytes) & 3;
    if (!pad)
        return;
    memmove(e->base + from + pad, e->base + from, x64_here(e) - from);
    memset(e->base + from, 0x2e, pad);
    e->p += pad;
}

static void exit_site(struct x64_ctx *x, uint32_t site, gva_t target)
{
    struct x64_cold *k = x64_cold_add(x, X64_COLD_EXIT, site);
    k->a = (uint8_t)x->c->exit_count;
    x->c->exits[x->c->exit_count++] = (struct host_exit){.target = target, .patch_off = site};
}

void x64_exit_jcc(struct x64_ctx *x, enum x64_cc cc, gva_t target)
{
    align_displacement(x, x->last_off, 2);
    exit_site(x, x64_jcc32(&x->e, cc), target);
}

/* icount holds what was executed, this op's group included. */
static void count(struct x64_ctx *x, const struct ir_op *o)
{
    unsigned n = x->uncounted + o->insns;
    if (!x->o->count || !n)
        return;
    _Static_assert(IR_INSNS_MAX <= INT8_MAX, "the count is a byte");
    x64_op_unfolded(&x->e, 0x83 | X64_W, X64_I_ADD, x64_state(offsetof(struct vcpu, icount)), 1);
    x64_u8(&x->e, n);
    x->uncounted = 0;
    x->flag_reg = IR_NONE;
}

/* Backward, or to itself. */
static bool polls(const struct x64_ctx *x, const struct ir_op *o, gva_t target)
{
    return (int64_t)(target - (x->b->pc + (uint64_t)(int64_t)o->next_off)) < 0;
}

static void cmp_exit_req(struct x64_ctx *x)
{
    x->last_off = x64_here(&x->e);
    x64_op_unfolded(&x->e, 0x83, X64_I_CMP, x64_state(offsetof(struct vcpu, exit_req)), 1);
    x64_u8(&x->e, 0);
}

static void branch(struct x64_ctx *x, const struct ir_op *o)
{
    struct x64_em *e = &x->e;
    /* The immediate is the target, so a branch compares registers only. */
    gva_t to = (gva_t)o->imm;
    x64_sp_settle(x, o);
    count(x, o);
    enum x64_cc cc;
    if (o->b == IR_ZERO && o->a == x->flag_reg && o->a != IR_ZERO && o->kind <= IR_NE)
        cc = o->kind == IR_NE ? x->flag_cc : x->flag_cc ^ 1u;
    else
        cc = x64_compare(x, o->kind, o->a, o->b, 0);
    bool owes = x64_debt_any(&x->debt);
    if (!polls(x, o, to)) {
        if (!owes) {
            x64_exit_jcc(x, cc, to);
            return;
        }
        struct x64_cold *k = x64_cold_add(x, X64_COLD_ROUTE, x64_jcc32(e, cc));
        k->pc = to;
        k->debt = (uint16_t)x64_debt_index(x);
        return;
    }
    /* Paid on this way out only. */
    uint32_t around = owes ? x64_jcc32(e, cc ^ 1u) : x64_jcc8(e, cc ^ 1u);
    x64_debt_pay(x, &x->debt);
    cmp_exit_req(x);
    x64_exit_jcc(x, X64_CC_E, to);
    x64_cold_add(x, X64_COLD_POLL, x64_jmp32(e))->pc = to;
    if (owes)
        x64_land32(e, around);
    else
        x64_land8(e, around);
}

/* At an entry nothing is known but that sp lies in the window. */
static void forget(struct x64_ctx *x)
{
    x->held[0].reg = x->held[1].reg = IR_NONE;
    x->held_next = 1;
    x->sp_anchored = false;
    x->sp_slack = 0;
    x->boxed = 0;
    x->debt = (struct x64_debt){0};
    x->flag_reg = IR_NONE;
}

/* A call that the host's return stack sees: what it pushes is popped at once (out of line), since rsp is the state's
 * address. The guest's return lands behind it, as at the start of a block. indirect: the target's entry is at rdx. */
static void call(struct x64_ctx *x, const struct ir_op *o, bool indirect)
{
    struct x64_em *e = &x->e;
    x64_u8(e, 0xe8);
    x64_u32(e, 0);
    struct x64_cold *k = x64_cold_add(x, X64_COLD_CALL, x64_here(e) - 4);
    k->pc = (gva_t)o->imm;
    k->a = indirect;
    /* Without chaining nobody returns by the table, but the run loop looks there: at a landing with nothing behind it but the
     * exit to its own pc it would come by for ever. */
    if (!x->o->no_chain)
        x->c->landings[x->c->landing_count++] = (struct host_landing){
            .pc = x->b->pc + (uint64_t)(int64_t)o->next_off, .host_off = x64_here(e)};
    forget(x);
}

static void direct_call(struct x64_ctx *x, const struct ir_op *o)
{
    x64_sp_settle(x, o);
    count(x, o);
    x64_debt_pay(x, &x->debt);
    if (polls(x, o, (gva_t)o->imm)) {
        cmp_exit_req(x);
        x64_cold_add(x, X64_COLD_POLL, x64_jcc32(&x->e, X64_CC_NE))->pc = (gva_t)o->imm;
    }
    call(x, o, false);
}

static void jump(struct x64_ctx *x, const struct ir_op *o)
{
    struct x64_em *e = &x->e;
    gva_t to = (gva_t)o->imm;
    x64_sp_settle(x, o);
    count(x, o);
    x64_debt_pay(x, &x->debt);
    if (polls(x, o, to)) {
        cmp_exit_req(x);
        x64_exit_jcc(x, X64_CC_E, to);
        x64_cold_add(x, X64_COLD_POLL, x64_jmp32(e))->pc = to;
        return;
    }
    align_displacement(x, x64_here(e), 1);
    exit_site(x, x64_jmp32(e), to);
}

static void put_link(struct x64_ctx *x, const struct ir_op *o)
{
    if (o->dst == IR_NONE)
        return;
    uint64_t link = x->b->pc + (uint64_t)(int64_t)o->next_off;
    struct x64_loc d = x64_gpr_loc(x, o->dst);
    if (!d.is_mem) {
        x64_mov_imm(&x->e, d.reg, link);
    } else if ((int64_t)link == (int32_t)link) {
        x64_mov_imm_mem(&x->e, true, d, (int32_t)link);
    } else {
        x64_mov_imm(&x->e, RDX, link);
        x64_rm(&x->e, true, X64_MOV_MR, RDX, d);
    }
}

/* rdx is 8 * the place: to the entry, compared with the guest pc in t. */
static void jt_entry(struct x64_ctx *x, unsigned t)
{
    struct x64_em *e = &x->e;
    x64_op_unfolded(e, 0x81, X64_I_AND, x64_reg(RDX), 4);
    x64_u32(e, (CPU_JT_COUNT - 1) * 16);
    x64_op_unfolded(e, X64_ADD | X64_W, RDX, x64_state(offsetof(struct vcpu, jt)), 0);
    x64_op_unfolded(e, X64_CMP | X64_W, t, x64_mem(0, RDX, 0), 0);
}

/* The inline lookup: a table of its own would be no faster, a return stack slower (measured). */
static void jump_indirect(struct x64_ctx *x, const struct ir_op *o)
{
    struct x64_em *e = &x->e;
    x64_sp_settle(x, o);
    count(x, o);
    x64_debt_pay(x, &x->debt);
    x64_take(x, RAX);
    x64_take(x, RDX);
    unsigned t = RAX;
    if (o->a == IR_ZERO)
        x64_mov_imm(e, RAX, (uint64_t)o->imm);
    else if (x->gpr[o->a] < 0) {
        x64_load_gpr(x, true, RAX, o->a);
        if (o->imm)
            x64_alu_imm(e, true, X64_I_ADD, x64_reg(RAX), (int32_t)o->imm);
    } else if (o->imm)
        x64_rm(e, true, X64_LEA, RAX, x64_mem(0, (unsigned)x->gpr[o->a], (int32_t)o->imm));
    else if (o->a == o->dst)
        x64_load_gpr(x, true, RAX, o->a);
    else
        t = (unsigned)x->gpr[o->a];
    put_link(x, o); /* into sp too: it is a guest pc, hence in the window */
    if (x->o->no_chain) {
        x64_cold_add(x, X64_COLD_MISS, x64_jmp32(e))->a = (uint8_t)t;
        forget(x); /* what follows a call is never reached */
        return;
    }
    x64_op_unfolded(e, X64_LEA, RDX, x64_mem_index(X64_NO_BASE, 0, t, 3, 0), 0);
    jt_entry(x, t);
    x64_cold_add(x, X64_COLD_MISS, x64_jcc32(e, X64_CC_NE))->a = (uint8_t)t;
    if (o->op == IR_CALLI) {
        call(x, o, true);
    } else if (o->kind == IR_RETURN) {
        x64_op_unfolded(e, 0xff, 6, x64_mem(0, RDX, 8), 0); /* push */
        x64_u8(e, 0xc3);
    } else {
        x64_op_unfolded(e, 0xff, 4, x64_mem(0, RDX, 8), 0);
    }
}

static void leave_at(struct x64_ctx *x, enum cpu_exit why, gva_t pc)
{
    x64_mov_imm(&x->e, RAX, pc);
    x64_jmp_cache(&x->e, x->stubs->priv[why]);
}

static void one(struct x64_ctx *x, const struct ir_op *o)
{
    uint8_t flag_reg = x->flag_reg;
    bool low = o->flags & IR_LOW;
    if (o == x->skip)
        return;
    if (o->flags & IR_LOST && x->debt.lost_count < X64_LOST_MAX) {
        x64_debt_lose(x, o);
        return;
    }
    switch (o->op) {
    case IR_LD:
    case IR_ST:
        x64_lower_mem(x, o);
        break;
    case IR_LR:
    case IR_SC:
    case IR_AMO:
    case IR_FENCE:
        x64_lower_atomic(x, o);
        break;
    case IR_BR:
        branch(x, o);
        break;
    case IR_JUMP:
        jump(x, o);
        break;
    case IR_CALL:
        direct_call(x, o);
        break;
    case IR_JUMPI:
    case IR_CALLI:
        jump_indirect(x, o);
        break;
    case IR_NOP:
        break;
    case IR_EXIT: /* to C, which looks at sp itself */
        count(x, o);
        x64_debt_pay(x, &x->debt);
        leave_at(x, (enum cpu_exit)o->kind, (gva_t)o->imm);
        break;
    default:
        if (o->op <= IR_REM)
            x64_lower_alu(x, o);
        else
            x64_lower_fp(x, o);
        break;
    }
    if (x->flag_reg == flag_reg)
        x->flag_reg = IR_NONE;
    if (o->dst < IR_F0)
        x64_debt_overwritten(x, o->dst);
    if (low)
        x->debt.sext |= (uint32_t)1 << o->dst;
    if (o->dst == x->o->sp_reg && o->op != IR_JUMPI && o->op != IR_CALLI)
        x64_sp_written(x, o);
}

/* The block compares its source before it runs. */
static void self_check(struct x64_ctx *x)
{
    struct x64_em *e = &x->e;
    const struct ir_block *b = x->b;
    unsigned flags = X64_GS | (x->window32 ? X64_A32 : 0);
    bool low = b->pc + b->check_len < INT32_MAX;
    if (!low)
        x64_mov_imm(e, RDX, b->pc);
    for (uint32_t at = 0; at < b->check_len;) {
        unsigned n = b->check_len - at >= 4 ? 4 : 2; /* instructions are whole parcels */
        struct x64_loc m = low ? x64_mem(flags | X64_NO_BASE, 0, (int32_t)(b->pc + at))
                               : x64_mem(flags, RDX, (int32_t)at);
        uint32_t word = 0;
        memcpy(&word, b->check_bytes + at, n);
        x64_op(e, 0x81 | (n == 2 ? X64_66 : 0), X64_I_CMP, m, n);
        x64_u8(e, word & 0xff);
        x64_u8(e, word >> 8 & 0xff);
        if (n == 4) {
            x64_u8(e, word >> 16 & 0xff);
            x64_u8(e, word >> 24);
        }
        x64_cold_add(x, X64_COLD_STALE, x64_jcc32(e, X64_CC_NE))->pc = b->pc;
        at += n;
    }
}

static void cold_exit(struct x64_ctx *x, const struct x64_cold *k)
{
    struct host_exit *ex = &x->c->exits[k->a];
    ex->stub_off = x64_here(&x->e);
    if (!x->o->no_chain) {
        x64_op_unfolded(&x->e, 0xc7, 0, x64_state(offsetof(struct vcpu, exit_site)), 4);
        x64_u32(&x->e, x->e.cache_off + ex->patch_off);
    }
    leave_at(x, x->o->no_chain ? CPU_EXIT_NEXT : CPU_EXIT_CHAIN, ex->target);
}

/* The second place; then out. */
static void cold_miss(struct x64_ctx *x, unsigned t)
{
    struct x64_em *e = &x->e;
    if (!x->o->no_chain) {
        x64_rr(e, false, X64_MOV, RDX, t);
        x64_op_unfolded(e, 0xc1, X64_S_SHR, x64_reg(RDX), 1);
        x64_u8(e, 15);
        x64_rr(e, false, X64_XOR, RDX, t);
        x64_op_unfolded(e, 0xc1, X64_S_SHL, x64_reg(RDX), 1);
        x64_u8(e, 3);
        jt_entry(x, t);
        uint32_t miss = x64_jcc8(e, X64_CC_NE);
        x64_op_unfolded(e, 0xff, 4, x64_mem(0, RDX, 8), 0);
        x64_land8(e, miss);
    }
    if (t != RAX)
        x64_rr(e, true, X64_MOV, RAX, t);
    x64_jmp_cache(e, x->stubs->priv[CPU_EXIT_NEXT]);
}

static void cold_div(struct x64_ctx *x, const struct x64_cold *k)
{
    struct x64_em *e = &x->e;
    bool w = k->b == 8;
    if (k->kind == X64_COLD_DIVU) { /* by 0 */
        if (k->a == IR_DIV)
            x64_mov_imm(e, RAX, UINT64_MAX);
        else
            x64_rr(e, w, X64_MOV, RDX, RAX);
    } else if (k->a == IR_DIV) { /* rdx is 1: by 0, 0: by -1 */
        x64_group3(e, w, X64_G_NEG, x64_reg(RAX));
        x64_rr(e, false, X64_TEST_MR, RDX, RDX);
        uint32_t ok = x64_jcc8(e, X64_CC_E);
        x64_mov_imm(e, RAX, UINT64_MAX);
        x64_land8(e, ok);
    } else {
        x64_rr(e, false, X64_TEST_MR, RDX, RDX);
        x64_cmov(e, w, X64_CC_NE, RDX, x64_reg(RAX));
    }
    x64_jmp_to(e, k->back);
}

/* By value: paying may add to the list that it stands on. */
static void cold(struct x64_ctx *x, struct x64_cold copy)
{
    const struct x64_cold *k = &copy;
    x64_land32(&x->e, k->site);
    if (k->debt)
        x64_debt_pay(x, &x->debts[k->debt]);
    switch (k->kind) {
    case X64_COLD_ROUTE:
        align_displacement(x, x64_here(&x->e), 1);
        exit_site(x, x64_jmp32(&x->e), k->pc);
        break;
    case X64_COLD_EXIT:
        cold_exit(x, k);
        break;
    case X64_COLD_POLL:
        leave_at(x, CPU_EXIT_POLL, k->pc);
        break;
    case X64_COLD_STALE:
        leave_at(x, CPU_EXIT_STALE, k->pc);
        break;
    case X64_COLD_INTERP:
        if (x->o->count && k->count)
            x64_alu_imm(&x->e, true, X64_I_ADD, x64_state(offsetof(struct vcpu, icount)),
                        (int32_t)k->count);
        leave_at(x, CPU_EXIT_INTERP, k->pc);
        break;
    case X64_COLD_MISS:
        cold_miss(x, k->a);
        break;
    case X64_COLD_CALL:
        x64_rm(&x->e, true, X64_LEA, RSP, x64_mem(0, RSP, 8));
        if (k->a) {
            x64_op(&x->e, 0xff, 4, x64_mem(0, RDX, 8), 0);
        } else {
            align_displacement(x, x64_here(&x->e), 1);
            exit_site(x, x64_jmp32(&x->e), k->pc);
        }
        break;
    case X64_COLD_DIV:
    case X64_COLD_DIVU:
        cold_div(x, k);
        break;
    default:
        x64_cold_fp(x, k);
        break;
    }
}

static bool begin(struct x64_ctx *x, const struct host_options *o, const struct host_stubs *stubs,
                  const struct ir_block *b, struct host_code *c)
{
    x->e.cache_off = c->cache_off;
    x->o = o;
    x->stubs = stubs;
    x->b = b;
    x->c = c;
    x->bmi2 = o->features & HOST_FEATURE_BMI2;
    x->vex = o->features & HOST_FEATURE_AVX;
    x->avx512 = x->vex && o->features & HOST_FEATURE_AVX512;
    x->fma = x->vex && o->features & HOST_FEATURE_FMA;
    x->gpr = x64_gpr_home[x->bmi2];
    x->xmm = x64_xmm_home[x->avx512];
    x->xs0 = x->avx512 ? 30 : 14;
    x->xs1 = x->xs0 + 1;
    x->window32 = o->window_bytes == (uint64_t)1 << 32;
    x->window_bits = (unsigned)__builtin_ctzll(o->window_bytes);
    forget(x);
    x->debt_count = 0;
    x->skip = NULL;
    x->uncounted = 0;
    x->cold_count = 0;
    c->exit_count = c->map_count = c->landing_count = 0;
    struct {
        struct host_landing landing;
        struct host_exit exit;
        struct host_pcmap map[3];
    } *room = arena_alloc(c->arena, (b->count + 1) * sizeof *room);
    if (!room)
        return false;
    c->landings = (struct host_landing *)room;
    c->exits = (struct host_exit *)(c->landings + b->count + 1);
    c->map = (struct host_pcmap *)(c->exits + b->count + 1);
    return true;
}

static res_code_t full(struct err *err)
{
    return err_set(err, ERR_CACHE_FULL, "no room for a block's code");
}

static res_code_t x64_lower(const struct host_options *o, const struct host_stubs *stubs,
                            const struct ir_block *b, struct host_code *c, struct err *err)
{
    struct x64_ctx x;
    /* Written here first: the cache gets exactly what is needed, in one go. */
    uint8_t code[CODE_BYTES_MAX];
    if (!begin(&x, o, stubs, b, c))
        return full(err);
    x.e.base = x.e.p = code;
    x.end = code + sizeof code;
    if (b->check_bytes) {
        if (x.end - x.e.p < (ptrdiff_t)(X64_OP_ROOM + b->check_len * 5))
            return full(err);
        x64_mark(&x, &(struct ir_op){.pc_off = 0}, 0);
        self_check(&x);
    }
    for (unsigned i = 0; i < b->count; i++) {
        if (x.end - x.e.p < X64_OP_ROOM)
            return full(err);
        if (ir_faults(b->ops[i].op))
            x64_mark(&x, &b->ops[i], 0);
        one(&x, &b->ops[i]);
        if (o->count && !(b->ops[i].op >= IR_BR))
            x.uncounted += b->ops[i].insns;
    }
    for (unsigned i = 0; i < x.cold_count; i++) {
        if (x.end - x.e.p < X64_OP_ROOM)
            return full(err);
        cold(&x, x.cold[i]);
    }
    unsigned before = x.cold_count;
    if (!x64_debt_fixups(&x))
        return full(err);
    for (unsigned i = before; i < x.cold_count; i++) {
        if (x.end - x.e.p < X64_OP_ROOM)
            return full(err);
        cold(&x, x.cold[i]);
    }
    c->len = x64_here(&x.e);
    if (c->len > c->w_bytes)
        return full(err);
    memcpy(c->w, code, c->len);
    return OK;
}

static void x64_patch(void *site, uint32_t site_off, uint32_t target_off)
{
    __atomic_store_n((uint32_t *)site, target_off - site_off - 4, __ATOMIC_RELEASE);
}

static uint32_t x64_features(void)
{
    uint32_t f = 0;
    if (__builtin_cpu_supports("avx"))
        f |= HOST_FEATURE_AVX;
    if (__builtin_cpu_supports("fma"))
        f |= HOST_FEATURE_FMA;
    if (__builtin_cpu_supports("bmi"))
        f |= HOST_FEATURE_BMI1;
    if (__builtin_cpu_supports("bmi2"))
        f |= HOST_FEATURE_BMI2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        f |= HOST_FEATURE_AVX512;
    if (getauxval(AT_HWCAP2) & 2) /* HWCAP2_FSGSBASE */
        f |= HOST_FEATURE_FSGSBASE;
    return f;
}

const struct host_ops x64_host_ops = {
    .name = "x86-64",
    .features = x64_features,
    .emit_stubs = x64_emit_stubs,
    .lower = x64_lower,
    .patch = x64_patch,
};
