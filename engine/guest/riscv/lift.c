#include "engine/guest/riscv/lift.h"

/* An instruction that does nothing is still counted, and has its pc. */
void rv_emit_nop(struct rv_lift *x)
{
    rv_emit(x,
            (struct ir_op){.op = IR_NOP, .dst = IR_NONE, .a = IR_NONE, .b = IR_NONE, .c = IR_NONE});
}

void rv_lift_interp(struct rv_lift *x)
{
    ir_add(x->b, (struct ir_op){.op = IR_EXIT,
                                .dst = IR_NONE,
                                .a = IR_NONE,
                                .b = IR_NONE,
                                .c = IR_NONE,
                                .kind = CPU_EXIT_INTERP,
                                .imm = (int64_t)rv_pc(x),
                                .pc_off = (int32_t)x->at,
                                .next_off = (int32_t)x->at});
    x->more = false;
}

/* done: whether the instruction counts as executed. */
static void leave(struct rv_lift *x, enum cpu_exit why, size_t at, bool done)
{
    ir_add(x->b, (struct ir_op){.op = IR_EXIT,
                                .dst = IR_NONE,
                                .a = IR_NONE,
                                .b = IR_NONE,
                                .c = IR_NONE,
                                .kind = (uint8_t)why,
                                .imm = (int64_t)(x->l->pc + at),
                                .pc_off = (int32_t)x->at,
                                .next_off = (int32_t)at,
                                .insns = done});
    x->more = false;
}

/* What the manual lets return-address stacks assume (2.5.1). */
static bool is_link(unsigned r)
{
    return r == 1 || r == 5;
}

static void jump_to(struct rv_lift *x, gva_t target, bool counts)
{
    rv_emit_part(x, (struct ir_op){.op = IR_JUMP,
                                   .dst = IR_NONE,
                                   .a = IR_NONE,
                                   .b = IR_NONE,
                                   .c = IR_NONE,
                                   .imm = (int64_t)target,
                                   .insns = counts});
    x->more = false;
}

/* What an operation is, for those that are one micro-op of a regular shape. */
enum shape { SHAPE_NONE, SHAPE_RR, SHAPE_RI, SHAPE_LOAD, SHAPE_STORE, SHAPE_AMO, SHAPE_BRANCH };
struct row {
    uint8_t shape, op, size, kind;
};
#define RR(NAME, op, size, kind) [ISA_RV64_##NAME] = {SHAPE_RR, IR_##op, size, kind}
#define RI(NAME, op, size, kind) [ISA_RV64_##NAME] = {SHAPE_RI, IR_##op, size, kind}
#define LOAD(NAME, size, sign) [ISA_RV64_##NAME] = {SHAPE_LOAD, IR_LD, size, sign}
#define STORE(NAME, size) [ISA_RV64_##NAME] = {SHAPE_STORE, IR_ST, size, 0}
#define AMO(NAME, k)                                            \
    [ISA_RV64_##NAME##_W] = {SHAPE_AMO, IR_AMO, 4, IR_AMO_##k}, \
    [ISA_RV64_##NAME##_D] = {SHAPE_AMO, IR_AMO, 8, IR_AMO_##k}
#define BRANCH(NAME, cond) [ISA_RV64_##NAME] = {SHAPE_BRANCH, IR_BR, 8, IR_##cond}
static const struct row rows[ISA_RV64_OP_COUNT] = {
    RI(ADDI, ADD, 8, 0),
    RI(SLTI, SETCC, 8, IR_LT),
    RI(SLTIU, SETCC, 8, IR_LTU),
    RI(XORI, XOR, 8, 0),
    RI(ORI, OR, 8, 0),
    RI(ANDI, AND, 8, 0),
    RI(SLLI, SHL, 8, 0),
    RI(SRLI, SHR, 8, 0),
    RI(SRAI, SAR, 8, 0),
    RI(ADDIW, ADD, 4, 0),
    RI(SLLIW, SHL, 4, 0),
    RI(SRLIW, SHR, 4, 0),
    RI(SRAIW, SAR, 4, 0),
    RR(ADD, ADD, 8, 0),
    RR(SUB, SUB, 8, 0),
    RR(SLL, SHL, 8, 0),
    RR(SLT, SETCC, 8, IR_LT),
    RR(SLTU, SETCC, 8, IR_LTU),
    RR(XOR, XOR, 8, 0),
    RR(SRL, SHR, 8, 0),
    RR(SRA, SAR, 8, 0),
    RR(OR, OR, 8, 0),
    RR(AND, AND, 8, 0),
    RR(ADDW, ADD, 4, 0),
    RR(SUBW, SUB, 4, 0),
    RR(SLLW, SHL, 4, 0),
    RR(SRLW, SHR, 4, 0),
    RR(SRAW, SAR, 4, 0),
    RR(MUL, MUL, 8, 0),
    RR(MULW, MUL, 4, 0),
    RR(MULH, MULH, 8, IR_MULH_SS),
    RR(MULHSU, MULH, 8, IR_MULH_SU),
    RR(MULHU, MULH, 8, IR_MULH_UU),
    RR(DIV, DIV, 8, 0),
    RR(DIVU, DIV, 8, 1),
    RR(REM, REM, 8, 0),
    RR(REMU, REM, 8, 1),
    RR(DIVW, DIV, 4, 0),
    RR(DIVUW, DIV, 4, 1),
    RR(REMW, REM, 4, 0),
    RR(REMUW, REM, 4, 1),
    LOAD(LB, 1, 1),
    LOAD(LH, 2, 1),
    LOAD(LW, 4, 1),
    LOAD(LD, 8, 0),
    LOAD(LBU, 1, 0),
    LOAD(LHU, 2, 0),
    LOAD(LWU, 4, 0),
    STORE(SB, 1),
    STORE(SH, 2),
    STORE(SW, 4),
    STORE(SD, 8),
    [ISA_RV64_SC_W] = {SHAPE_AMO, IR_SC, 4, 0},
    [ISA_RV64_SC_D] = {SHAPE_AMO, IR_SC, 8, 0},
    AMO(AMOSWAP, SWAP),
    AMO(AMOADD, ADD),
    AMO(AMOXOR, XOR),
    AMO(AMOAND, AND),
    AMO(AMOOR, OR),
    AMO(AMOMIN, MIN),
    AMO(AMOMAX, MAX),
    AMO(AMOMINU, MINU),
    AMO(AMOMAXU, MAXU),
    BRANCH(BEQ, EQ),
    BRANCH(BNE, NE),
    BRANCH(BLT, LT),
    BRANCH(BGE, GE),
    BRANCH(BLTU, LTU),
    BRANCH(BGEU, GEU),
};

static void lift_row(struct rv_lift *x, const struct row *k)
{
    const struct isa_insn *d = &x->d;
    if (!d->rd && (k->shape == SHAPE_RI || k->shape == SHAPE_RR)) {
        rv_emit_nop(x);
        return;
    }
    struct ir_op op = {.op = k->op,
                       .size = k->size,
                       .kind = k->kind,
                       .dst = rv_xd(d->rd),
                       .a = rv_x(d->rs1),
                       .b = rv_x(d->rs2),
                       .c = IR_NONE,
                       .imm = d->imm};
    switch (k->shape) {
    case SHAPE_RI:
        op.b = IR_IMM;
        break;
    case SHAPE_RR:
        op.imm = 0;
        break;
    case SHAPE_LOAD:
        op.b = IR_NONE;
        break;
    case SHAPE_STORE:
        op.dst = IR_NONE;
        break;
    case SHAPE_BRANCH:
        op.dst = IR_NONE;
        op.imm = (int64_t)(rv_pc(x) + (uint64_t)(int64_t)d->imm);
        break;
    default:
        op.imm = 0;
        break;
    }
    rv_emit(x, op);
}

static struct ir_op movi(const struct rv_lift *x, uint64_t value)
{
    if (!x->d.rd)
        return (struct ir_op){
            .op = IR_NOP, .dst = IR_NONE, .a = IR_NONE, .b = IR_NONE, .c = IR_NONE};
    return (struct ir_op){.op = IR_MOVI,
                          .size = 8,
                          .dst = x->d.rd,
                          .a = IR_NONE,
                          .b = IR_NONE,
                          .c = IR_NONE,
                          .imm = (int64_t)value};
}

/* A plain jump forward to bytes that we have is followed. */
static void jal(struct rv_lift *x)
{
    gva_t target = rv_pc(x) + (uint64_t)(int64_t)x->d.imm;
    if (x->d.rd)
        rv_emit_part(x, movi(x, x->l->pc + x->next));
    size_t to = target - x->l->pc;
    if (!x->d.rd && x->d.imm > 0 && to + 4 <= x->l->byte_count && !x->l->self_check &&
        x->d.imm <= 256) {
        x->next = to;
        rv_emit_nop(x);
        return;
    }
    if (is_link(x->d.rd))
        rv_emit(x, (struct ir_op){.op = IR_CALL,
                                  .dst = IR_NONE,
                                  .a = IR_NONE,
                                  .b = IR_NONE,
                                  .c = IR_NONE,
                                  .imm = (int64_t)target});
    else
        jump_to(x, target, true);
}

static struct ir_op fence(bool store_load)
{
    return (struct ir_op){.op = IR_FENCE,
                          .kind = store_load,
                          .dst = IR_NONE,
                          .a = IR_NONE,
                          .b = IR_NONE,
                          .c = IR_NONE};
}

static void lr(struct rv_lift *x, uint8_t size)
{
    if (x->d.aqrl & 1) /* earlier stores first */
        rv_emit_part(x, fence(true));
    rv_emit(x, (struct ir_op){.op = IR_LR,
                              .size = size,
                              .dst = rv_xd(x->d.rd),
                              .a = rv_x(x->d.rs1),
                              .b = IR_NONE,
                              .c = IR_NONE});
}

static void jalr(struct rv_lift *x)
{
    const struct isa_insn *d = &x->d;
    bool call = is_link(d->rd);
    rv_emit(x, (struct ir_op){.op = call ? IR_CALLI : IR_JUMPI,
                              .kind = !d->rd && is_link(d->rs1) ? IR_RETURN : IR_GOTO,
                              .dst = rv_xd(d->rd),
                              .a = rv_x(d->rs1),
                              .b = IR_NONE,
                              .c = IR_NONE,
                              .imm = d->imm});
    x->more = call;
}

static void lift_one(struct rv_lift *x)
{
    const struct isa_insn *d = &x->d;
    const struct row *k = &rows[d->op];
    if (k->shape != SHAPE_NONE) {
        lift_row(x, k);
        return;
    }
    switch (d->op) {
    case ISA_RV64_LUI:
        rv_emit(x, movi(x, (uint64_t)(int64_t)d->imm));
        break;
    case ISA_RV64_AUIPC:
        rv_emit(x, movi(x, rv_pc(x) + (uint64_t)(int64_t)d->imm));
        break;
    case ISA_RV64_JAL:
        jal(x);
        break;
    case ISA_RV64_JALR:
        jalr(x);
        break;
    case ISA_RV64_LR_W:
        lr(x, 4);
        break;
    case ISA_RV64_LR_D:
        lr(x, 8);
        break;
    case ISA_RV64_FENCE:
        rv_emit(x, fence(d->imm & 0x50 && d->imm & 0x0a)); /* pred o w, succ i r */
        break;
    case ISA_RV64_FENCE_TSO:
        rv_emit(x, fence(false));
        break;
    case ISA_RV64_FENCE_I:
        leave(x, CPU_EXIT_FENCE_I, x->next, true);
        break;
    case ISA_RV64_ECALL:
        leave(x, CPU_EXIT_SYSCALL, x->at, false);
        break;
    default:
        if (!rv_lift_fp(x))
            rv_lift_interp(x);
        break;
    }
}

static bool decode(struct rv_lift *x)
{
    const struct gst_lift *l = x->l;
    uint32_t word = 0;
    if (l->byte_count - x->at < 2)
        return false;
    memcpy(&word, l->bytes + x->at, 2);
    if ((word & 3) == 3) {
        if (l->byte_count - x->at < 4)
            return false;
        memcpy(&word, l->bytes + x->at, 4);
    }
    isa_rv64_decode(word, &x->d);
    x->next = x->at + x->d.len;
    return true;
}

/* A call has a block of its own, which every block that leads to it goes on at: then there is one place that it returns
 * to, and the host's return stack is right about it. */
static bool is_call(const struct isa_insn *d)
{
    return (d->op == ISA_RV64_JAL || d->op == ISA_RV64_JALR) && is_link(d->rd);
}

/* Behind a call of a block that checks itself, the check has to be made again. */
static bool called(const struct ir_block *b)
{
    uint8_t last = b->ops[b->count - 1].op;
    return last == IR_CALL || last == IR_CALLI;
}

void rv_lift(struct gst_lift *l, struct ir_block *b)
{
    struct rv_lift x = {.l = l, .b = b, .more = true};
    l->insn_count = 0;
    l->consumed_bytes = 0;
    ir_init(b, l->pc);
    while (x.more) {
        if (l->insn_count == l->insns_max || ir_full(b) || !decode(&x) ||
            (l->insn_count && (is_call(&x.d) || (l->self_check && called(b))))) {
            if (l->insn_count) {
                x.next = x.at;
                jump_to(&x, rv_pc(&x), false);
            } else {
                rv_lift_interp(&x);
            }
            break;
        }
        size_t end = x.next;
        lift_one(&x);
        const struct ir_op *last = &b->ops[b->count - 1];
        if (!x.more && last->op == IR_EXIT && last->kind == CPU_EXIT_INTERP) {
            if (!l->insn_count)
                l->consumed_bytes = (unsigned)end;
            break;
        }
        l->insn_count++;
        l->consumed_bytes = MAX(l->consumed_bytes, (unsigned)end);
        x.at = x.next;
    }
    ir_prune(b);
    if (l->self_check && l->consumed_bytes) {
        b->check_bytes = l->bytes;
        b->check_len = l->consumed_bytes;
    }
}
