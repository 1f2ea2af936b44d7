/*
 * guest/riscv/lift_fp.c - F and D, and what of their CSRs user code touches often.
 */
#include "engine/guest/riscv/lift.h"

enum shape {
    SHAPE_NONE,
    SHAPE_FFF,
    SHAPE_FF,
    SHAPE_FFFF,
    SHAPE_XFF,
    SHAPE_XF,
    SHAPE_FX,
    SHAPE_LOAD,
    SHAPE_STORE
};
struct row {
    uint8_t shape, op, size, kind;
};
#define BOTH(NAME, shape, op, kind)                            \
    [ISA_RV64_##NAME##_S] = {SHAPE_##shape, IR_##op, 4, kind}, \
    [ISA_RV64_##NAME##_D] = {SHAPE_##shape, IR_##op, 8, kind}
#define INT(NAME, kind)                                                                       \
    BOTH(FCVT_##NAME, XF, F2I, kind), [ISA_RV64_FCVT_S_##NAME] = {SHAPE_FX, IR_I2F, 4, kind}, \
                                      [ISA_RV64_FCVT_D_##NAME] = {SHAPE_FX, IR_I2F, 8, kind}
static const struct row rows[ISA_RV64_OP_COUNT] = {
    BOTH(FADD, FFF, FBIN, IR_FADD),
    BOTH(FSUB, FFF, FBIN, IR_FSUB),
    BOTH(FMUL, FFF, FBIN, IR_FMUL),
    BOTH(FDIV, FFF, FBIN, IR_FDIV),
    BOTH(FSQRT, FF, FSQRT, 0),
    BOTH(FMADD, FFFF, FMA, IR_FMADD),
    BOTH(FMSUB, FFFF, FMA, IR_FMSUB),
    BOTH(FNMSUB, FFFF, FMA, IR_FNMSUB),
    BOTH(FNMADD, FFFF, FMA, IR_FNMADD),
    BOTH(FMIN, FFF, FMINMAX, 0),
    BOTH(FMAX, FFF, FMINMAX, 1),
    BOTH(FSGNJ, FFF, FSGN, IR_FSGNJ),
    BOTH(FSGNJN, FFF, FSGN, IR_FSGNJN),
    BOTH(FSGNJX, FFF, FSGN, IR_FSGNJX),
    BOTH(FEQ, XFF, FCMP, IR_FEQ),
    BOTH(FLT, XFF, FCMP, IR_FLT),
    BOTH(FLE, XFF, FCMP, IR_FLE),
    BOTH(FCLASS, XF, FCLASS, 0),
    INT(W, IR_I32),
    INT(WU, IR_U32),
    INT(L, IR_I64),
    INT(LU, IR_U64),
    [ISA_RV64_FCVT_S_D] = {SHAPE_FF, IR_F2F, 8, 0},
    [ISA_RV64_FCVT_D_S] = {SHAPE_FF, IR_F2F, 4, 0},
    [ISA_RV64_FMV_X_W] = {SHAPE_XF, IR_FMVXF, 4, 0},
    [ISA_RV64_FMV_X_D] = {SHAPE_XF, IR_FMVXF, 8, 0},
    [ISA_RV64_FMV_W_X] = {SHAPE_FX, IR_FMVFX, 4, 0},
    [ISA_RV64_FMV_D_X] = {SHAPE_FX, IR_FMVFX, 8, 0},
    [ISA_RV64_FLW] = {SHAPE_LOAD, IR_FLD, 4, 0},
    [ISA_RV64_FLD] = {SHAPE_LOAD, IR_FLD, 8, 0},
    [ISA_RV64_FSW] = {SHAPE_STORE, IR_FST, 4, 0},
    [ISA_RV64_FSD] = {SHAPE_STORE, IR_FST, 8, 0},
};

static void lift_row(struct rv_lift *x, const struct row *k)
{
    const struct isa_insn *d = &x->d;
    struct ir_op op = {.op = k->op,
                       .size = k->size,
                       .kind = k->kind,
                       .rm = isa_rv64_attr(d->op)->uses_rm ? d->rm : IR_RM_DYN,
                       .dst = rv_f(d->rd),
                       .a = rv_f(d->rs1),
                       .b = IR_NONE,
                       .c = IR_NONE};
    switch (k->shape) {
    case SHAPE_FFFF:
        op.c = rv_f(d->rs3);
        /* fall through */
    case SHAPE_FFF:
        op.b = rv_f(d->rs2);
        break;
    case SHAPE_XFF:
        op.b = rv_f(d->rs2);
        op.dst = rv_xd(d->rd);
        break;
    case SHAPE_XF:
        op.dst = rv_xd(d->rd);
        break;
    case SHAPE_FX:
        op.a = rv_x(d->rs1);
        break;
    case SHAPE_LOAD:
        op.a = rv_x(d->rs1);
        op.imm = d->imm;
        break;
    case SHAPE_STORE:
        op.dst = IR_NONE;
        op.a = rv_x(d->rs1);
        op.b = rv_f(d->rs2);
        op.imm = d->imm;
        break;
    default:
        break;
    }
    if (op.dst == IR_NONE && (k->op == IR_FMVXF || k->op == IR_FCLASS))
        rv_emit_nop(x);
    else
        rv_emit(x, op);
}

/* Reads of fflags, frm, fcsr and writes of fflags; the rest changes modes, or is slow anyway. */
static bool lift_csr(struct rv_lift *x)
{
    const struct isa_insn *d = &x->d;
    bool imm = d->op >= ISA_RV64_CSRRWI;
    if (d->imm < 1 || d->imm > 3)
        return false;
    uint8_t how;
    switch (d->op) {
    case ISA_RV64_CSRRW:
    case ISA_RV64_CSRRWI:
        how = IR_CSR_WRITE;
        break;
    case ISA_RV64_CSRRS:
    case ISA_RV64_CSRRSI:
        how = d->rs1 ? IR_CSR_SET : 0;
        break;
    case ISA_RV64_CSRRC:
    case ISA_RV64_CSRRCI:
        how = d->rs1 ? IR_CSR_CLEAR : 0;
        break;
    default:
        return false;
    }
    if (how && d->imm != 1)
        return false;
    rv_emit(x, (struct ir_op){.op = IR_FCSR,
                              .kind = (uint8_t)(how | (d->imm - 1)),
                              .dst = rv_xd(d->rd),
                              .a = imm ? IR_IMM : rv_x(d->rs1),
                              .b = IR_NONE,
                              .c = IR_NONE,
                              .imm = imm ? d->rs1 : 0});
    return true;
}

bool rv_lift_fp(struct rv_lift *x)
{
    const struct row *k = &rows[x->d.op];
    if (k->shape == SHAPE_NONE)
        return lift_csr(x);
    lift_row(x, k);
    return true;
}
