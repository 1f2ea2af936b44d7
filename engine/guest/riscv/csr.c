/* The CSRs of user mode, the instructions that reach them, fences and environment calls (unpriv. 2.7, 7, 8, 10). */
#include "engine/guest/riscv/interp.h"

#include "engine/base/os.h"

enum {
    CSR_FFLAGS = 0x001,
    CSR_FRM = 0x002,
    CSR_FCSR = 0x003,
    CSR_CYCLE = 0xc00,
    CSR_TIME = 0xc01,
    CSR_INSTRET = 0xc02
};

#define FFLAGS 0x1fu
#define FRM_HOST_MAX 3u  /* beyond it MXCSR cannot follow */
#define TIME_UNIT_NS 100 /* 10 MHz, as the board and QEMU have it */

bool rv_csr_read(const struct vcpu *v, unsigned csr, uint64_t *x)
{
    switch (csr) {
    case CSR_FFLAGS:
        *x = cpu_fflags_from_mxcsr(v->mxcsr);
        return true;
    case CSR_FRM:
        *x = v->frm;
        return true;
    case CSR_FCSR:
        *x = v->frm << 5 | cpu_fflags_from_mxcsr(v->mxcsr);
        return true;
    case CSR_CYCLE: /* a nominal 1 GHz */
        *x = os_now_ns() + v->time_offset;
        return true;
    case CSR_TIME:
        *x = (os_now_ns() + v->time_offset) / TIME_UNIT_NS;
        return true;
    case CSR_INSTRET:
        *x = v->instret_base + v->icount;
        return true;
    default:
        return false;
    }
}

static void set_flags(struct vcpu *v, uint64_t x)
{
    v->mxcsr = (v->mxcsr & ~CPU_MXCSR_FLAGS) | cpu_mxcsr_from_fflags((uint32_t)x & FFLAGS);
}

static void set_rounding(struct vcpu *v, uint64_t x)
{
    v->frm = (uint32_t)x & 7;
    v->mxcsr = (v->mxcsr & ~0x6000u) | cpu_mxcsr_rounding(v->frm);
}

bool rv_csr_write(struct vcpu *v, unsigned csr, uint64_t x)
{
    switch (csr) {
    case CSR_FFLAGS:
        set_flags(v, x);
        return true;
    case CSR_FRM:
        set_rounding(v, x);
        return true;
    case CSR_FCSR:
        set_flags(v, x);
        set_rounding(v, x >> 5);
        return true;
    default: /* the counters are read only */
        return false;
    }
}

enum csr_action { CSR_SWAP, CSR_SET, CSR_CLEAR };

/* Read, then write unless a set or clear names x0 or 0 (table 7.1); rd last, since it may be rs1. */
static uint64_t access_csr(struct vcpu *v, const struct rv_insn *i, gva_t pc, gva_t next,
                           enum csr_action action, uint64_t operand)
{
    unsigned csr = (unsigned)i->imm;
    bool writes = action == CSR_SWAP || i->rs1, was_soft = v->frm > FRM_HOST_MAX;
    uint64_t old;
    if (!rv_csr_read(v, csr, &old))
        return rv_illegal(v, i, pc);
    uint64_t x = action == CSR_SWAP ? operand : action == CSR_SET ? old | operand : old & ~operand;
    if (writes && !rv_csr_write(v, csr, x))
        return rv_illegal(v, i, pc);
    if (i->rd)
        v->r[i->rd] = old;
    if (was_soft == (v->frm > FRM_HOST_MAX))
        return next;
    v->pc = next;
    return rv_leave(CPU_EXIT_MODE);
}

OP(csrrw)
{
    return access_csr(v, i, pc, next, CSR_SWAP, v->r[i->rs1]);
}
OP(csrrs)
{
    return access_csr(v, i, pc, next, CSR_SET, v->r[i->rs1]);
}
OP(csrrc)
{
    return access_csr(v, i, pc, next, CSR_CLEAR, v->r[i->rs1]);
}
OP(csrrwi)
{
    return access_csr(v, i, pc, next, CSR_SWAP, i->rs1);
}
OP(csrrsi)
{
    return access_csr(v, i, pc, next, CSR_SET, i->rs1);
}
OP(csrrci)
{
    return access_csr(v, i, pc, next, CSR_CLEAR, i->rs1);
}

/* x86 orders everything but a later load before an earlier store. */
OP(fence)
{
    bool earlier_stores = i->imm & 0x50, later_loads = i->imm & 0x0a; /* pred o w, succ i r */
    if (earlier_stores && later_loads)
        atomic_thread_fence(memory_order_seq_cst);
    else
        atomic_signal_fence(memory_order_seq_cst);
    return next;
}
OP(fence_tso)
{
    atomic_signal_fence(memory_order_seq_cst);
    return next;
}
OP(fence_i)
{
    v->pc = next;
    return rv_leave(CPU_EXIT_FENCE_I);
}
OP(ecall)
{
    v->pc = pc;
    return rv_leave(CPU_EXIT_SYSCALL);
}
OP(ebreak)
{
    v->pc = pc;
    v->trap = (struct cpu_trap){CPU_TRAP_BREAKPOINT, CPU_FETCH, pc};
    return rv_leave(CPU_EXIT_TRAP);
}

#define H(NAME, name) [ISA_RV64_##NAME] = op_##name
rv_handler *const rv_handlers_system[ISA_RV64_OP_COUNT] = {
    H(CSRRW, csrrw),     H(CSRRS, csrrs),   H(CSRRC, csrrc),   H(CSRRWI, csrrwi),
    H(CSRRSI, csrrsi),   H(CSRRCI, csrrci), H(FENCE, fence),   H(FENCE_TSO, fence_tso),
    H(FENCE_I, fence_i), H(ECALL, ecall),   H(EBREAK, ebreak),
};
