/* Loads, stores and atomics (unpriv. 2.6, 14). Plain accesses may be misaligned and cross pages; atomics may not. */
#include "engine/guest/riscv/interp.h"

#include "engine/cpu/access.h"

/* The accessor has filled the trap in with an address inside the window; the guest is told the one it computed. */
static uint64_t fault(struct vcpu *v, uint64_t pc, gva_t confined, gva_t computed)
{
    v->pc = pc;
    v->trap.addr += computed - confined;
    return rv_leave(CPU_EXIT_TRAP);
}

#define LOAD(name, bits, type)                                        \
    OP(name)                                                          \
    {                                                                 \
        uint64_t base = v->r[i->rs1];                                 \
        gva_t a = cpu_confine(v, base, i->imm);                       \
        uint##bits##_t x;                                             \
        if (unlikely(!mem_ld##bits(v, a, &x)))                        \
            return fault(v, pc, a, base + (uint64_t)(int64_t)i->imm); \
        if (i->rd)                                                    \
            v->r[i->rd] = (uint64_t)(int64_t)(type)x;                 \
        return next;                                                  \
    }
LOAD(lb, 8, int8_t)
LOAD(lh, 16, int16_t)
LOAD(lw, 32, int32_t)
LOAD(ld, 64, int64_t)
LOAD(lbu, 8, uint8_t)
LOAD(lhu, 16, uint16_t)
LOAD(lwu, 32, uint32_t)

/* A single is kept boxed: the upper half all ones (unpriv. 12.2). */
#define FLOAD(name, bits, box)                                        \
    OP(name)                                                          \
    {                                                                 \
        uint64_t base = v->r[i->rs1];                                 \
        gva_t a = cpu_confine(v, base, i->imm);                       \
        uint##bits##_t x;                                             \
        if (unlikely(!mem_ld##bits(v, a, &x)))                        \
            return fault(v, pc, a, base + (uint64_t)(int64_t)i->imm); \
        v->f[i->rd] = x | (box);                                      \
        return next;                                                  \
    }
FLOAD(flw, 32, 0xffffffff00000000u)
FLOAD(fld, 64, 0u)

#define STORE(name, bits, file)                                             \
    OP(name)                                                                \
    {                                                                       \
        uint64_t base = v->r[i->rs1];                                       \
        gva_t a = cpu_confine(v, base, i->imm);                             \
        if (unlikely(!mem_st##bits(v, a, (uint##bits##_t)v->file[i->rs2]))) \
            return fault(v, pc, a, base + (uint64_t)(int64_t)i->imm);       \
        return next;                                                        \
    }
STORE(sb, 8, r)
STORE(sh, 16, r)
STORE(sw, 32, r)
STORE(sd, 64, r)
STORE(fsw, 32, f) /* the low half, boxed or not */
STORE(fsd, 64, f)

static uint64_t misaligned(struct vcpu *v, uint64_t pc, enum cpu_access access, gva_t computed)
{
    v->pc = pc;
    v->trap = (struct cpu_trap){CPU_TRAP_ALIGN, access, computed};
    return rv_leave(CPU_EXIT_TRAP);
}

/* LR remembers address and value; SC is a compare and swap against them. A writer that puts the same value back in
 * between goes unnoticed, as in every translator that does not watch the line. */
#define LR(name, bits)                                                                       \
    OP(name)                                                                                 \
    {                                                                                        \
        uint64_t base = v->r[i->rs1];                                                        \
        gva_t a = cpu_confine(v, base, 0);                                                   \
        uint##bits##_t x;                                                                    \
        if (base & (bits / 8 - 1))                                                           \
            return misaligned(v, pc, CPU_LOAD, base);                                        \
        if (i->rm & 1) /* .rl: earlier stores first, which x86 does not promise of a load */ \
            atomic_thread_fence(memory_order_seq_cst);                                       \
        if (unlikely(!mem_ld##bits(v, a, &x)))                                               \
            return fault(v, pc, a, base);                                                    \
        v->res_addr = a;                                                                     \
        v->res_val = (uint64_t)(int64_t)(int##bits##_t)x;                                    \
        if (i->rd)                                                                           \
            v->r[i->rd] = v->res_val;                                                        \
        return next;                                                                         \
    }
LR(lr_w, 32)
LR(lr_d, 64)

#define SC(name, bits)                                                                        \
    OP(name)                                                                                  \
    {                                                                                         \
        uint64_t base = v->r[i->rs1], failed = 1;                                             \
        gva_t a = cpu_confine(v, base, 0);                                                    \
        uint##bits##_t expected = (uint##bits##_t)v->res_val, old;                            \
        if (base & (bits / 8 - 1))                                                            \
            return misaligned(v, pc, CPU_STORE, base);                                        \
        if (v->res_addr == a) {                                                               \
            if (unlikely(!mem_cas##bits(v, a, expected, (uint##bits##_t)v->r[i->rs2], &old))) \
                return fault(v, pc, a, base);                                                 \
            failed = old != expected;                                                         \
        }                                                                                     \
        v->res_addr = CPU_RES_NONE;                                                           \
        if (i->rd)                                                                            \
            v->r[i->rd] = failed;                                                             \
        return next;                                                                          \
    }
SC(sc_w, 32)
SC(sc_d, 64)

/* b: the operand, x: what is in memory, both as the operation's type. Any fault of it is a store's (unpriv. 14.4). */
#define AMO(name, bits, type, expr)                                            \
    OP(name)                                                                   \
    {                                                                          \
        uint64_t base = v->r[i->rs1];                                          \
        gva_t a = cpu_confine(v, base, 0);                                     \
        uint##bits##_t old, seen;                                              \
        type b = (type)v->r[i->rs2];                                           \
        if (base & (bits / 8 - 1))                                             \
            return misaligned(v, pc, CPU_STORE, base);                         \
        bool reached = mem_ld##bits(v, a, &seen);                              \
        do {                                                                   \
            if (unlikely(!reached)) {                                          \
                v->trap.access = CPU_STORE;                                    \
                return fault(v, pc, a, base);                                  \
            }                                                                  \
            old = seen;                                                        \
            type x = (type)old;                                                \
            reached = mem_cas##bits(v, a, old, (uint##bits##_t)(expr), &seen); \
        } while (!reached || seen != old);                                     \
        if (i->rd)                                                             \
            v->r[i->rd] = (uint64_t)(int64_t)(int##bits##_t)old;               \
        return next;                                                           \
    }
#define AMOS(name, sign, expr) \
    AMO(name##_w, 32, sign##32_t, expr) AMO(name##_d, 64, sign##64_t, expr)
AMOS(amoswap, uint, ((void)x, b))
AMOS(amoadd, uint, x + b)
AMOS(amoxor, uint, x ^ b)
AMOS(amoand, uint, x &b)
AMOS(amoor, uint, x | b)
AMOS(amomin, int, MIN(x, b))
AMOS(amomax, int, MAX(x, b))
AMOS(amominu, uint, MIN(x, b))
AMOS(amomaxu, uint, MAX(x, b))

#define H(NAME, name) [ISA_RV64_##NAME] = op_##name
rv_handler *const rv_handlers_mem[ISA_RV64_OP_COUNT] = {
    H(LB, lb),
    H(LH, lh),
    H(LW, lw),
    H(LD, ld),
    H(LBU, lbu),
    H(LHU, lhu),
    H(LWU, lwu),
    H(SB, sb),
    H(SH, sh),
    H(SW, sw),
    H(SD, sd),
    H(FLW, flw),
    H(FLD, fld),
    H(FSW, fsw),
    H(FSD, fsd),
    H(LR_W, lr_w),
    H(LR_D, lr_d),
    H(SC_W, sc_w),
    H(SC_D, sc_d),
    H(AMOSWAP_W, amoswap_w),
    H(AMOSWAP_D, amoswap_d),
    H(AMOADD_W, amoadd_w),
    H(AMOADD_D, amoadd_d),
    H(AMOXOR_W, amoxor_w),
    H(AMOXOR_D, amoxor_d),
    H(AMOAND_W, amoand_w),
    H(AMOAND_D, amoand_d),
    H(AMOOR_W, amoor_w),
    H(AMOOR_D, amoor_d),
    H(AMOMIN_W, amomin_w),
    H(AMOMIN_D, amomin_d),
    H(AMOMAX_W, amomax_w),
    H(AMOMAX_D, amomax_d),
    H(AMOMINU_W, amominu_w),
    H(AMOMINU_D, amominu_d),
    H(AMOMAXU_W, amomaxu_w),
    H(AMOMAXU_D, amomaxu_d),
};
