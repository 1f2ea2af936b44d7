/*
 * guest/riscv/interp.h - T0 of the RISC-V guest: the meaning of every instruction, one function each.
 *
 * Looks into: isa, cpu (the state and the memory accessors).  Used by: this room only; others go through
 * struct guest_ops.
 *
 * The oracle of the other tiers: the manual's semantics in the plainest C, floating point in integer arithmetic
 * (base/softfp.h), so that nothing depends on the host's unit or its modes.
 *
 * Rules:
 *  (1) A handler that traps has changed no register and no memory.
 *  (2) A handler reads all its sources before it writes rd: rd may be any of them.
 *  (3) r[0] is never written: results for x0 are dropped by rv_insn_init() or by the handler.
 */
#ifndef RISCV_INTERP_H
#define RISCV_INTERP_H

#include "engine/cpu/vcpu.h"
#include "engine/isa/isa.h"

struct rv_insn;

/* Executes one instruction at pc; next is the pc behind it. Returns the pc to go on at, which is even, or
 * rv_leave(why) with v->pc set as enum cpu_exit wants it and v->trap filled in for a trap. */
typedef uint64_t rv_handler(struct vcpu *v, const struct rv_insn *i, gva_t pc, gva_t next);
#define OP(name)                                                                     \
    static uint64_t op_##name(UNUSED struct vcpu *v, UNUSED const struct rv_insn *i, \
                              UNUSED gva_t pc, UNUSED gva_t next)

/* A decoded instruction, ready to run. A pure function of the instruction's bits, so it never grows stale. */
struct rv_insn {
    uint64_t key; /* bits | RV_KEY_VALID */
    rv_handler *run;
    int32_t imm;
    uint8_t rd, rs1, rs2, rs3;
    uint8_t rm; /* rounding mode of floating point; aq and rl bits of an lr */
    uint8_t len;
    bool branch; /* may change the flow of control */
};
#define RV_KEY_VALID (1ull << 32)

static inline uint64_t rv_leave(enum cpu_exit why)
{
    return (uint64_t)why << 1 | 1;
}
static inline enum cpu_exit rv_leave_reason(uint64_t result)
{
    return (enum cpu_exit)(result >> 1);
}
static inline uint32_t rv_insn_bits(const struct rv_insn *i)
{
    return (uint32_t)i->key;
}

void rv_insn_init(struct rv_insn *i, uint32_t word);

/* guest_ops.step; see engine/guest/guest.h. */
enum cpu_exit rv_step(struct vcpu *v, uint64_t n, bool to_branch);
/* Execute the instruction `word` as if it stood at v->pc: for tests.
 * CPU_EXIT_NEXT with v->pc moved on, or why it could not be. Registers must be home. */
enum cpu_exit rv_exec(struct vcpu *v, uint32_t word);

/* guest_ops.disasm */
unsigned rv_disasm(const uint8_t *bytes, size_t n, gva_t pc, char *text, size_t text_bytes);

/* The user-level CSRs. False: no such register, or it may not be written. Nothing is changed then. */
bool rv_csr_read(const struct vcpu *v, unsigned csr, uint64_t *x);
bool rv_csr_write(struct vcpu *v, unsigned csr, uint64_t x);

/* By operation; NULL where another file has it. */
extern rv_handler *const rv_handlers_int[ISA_RV64_OP_COUNT];
extern rv_handler *const rv_handlers_mem[ISA_RV64_OP_COUNT];
extern rv_handler *const rv_handlers_fp[ISA_RV64_OP_COUNT];
extern rv_handler *const rv_handlers_system[ISA_RV64_OP_COUNT];

/* The illegal-instruction trap; tval is the instruction's bits (priv. 3.1.16 permits it, Linux wants it). */
uint64_t rv_illegal(struct vcpu *v, const struct rv_insn *i, gva_t pc);

/* Keeps the compiler from merging two ways to a value into one computation, so that the host predicts which. */
static inline uint64_t rv_predicted(uint64_t x)
{
    __asm__("" : "+r"(x));
    return x;
}

#endif
