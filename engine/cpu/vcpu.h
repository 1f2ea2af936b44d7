/*
 * cpu/vcpu.h - what generated code may touch: one vCPU's state, its exits, its traps.
 *
 * Looks into: base, snapshot.  Used by: every tier, the run loop, the OS-call emulator.
 *
 * While guest code runs in T1, rsp points at this structure; below it lies the stack of translated code (return
 * addresses of landings), below that a guard page. Offsets are the ABI of all tiers and of cached code: VCPU_ABI names the layout and
 * is part of every code-space key. 512 KiB jump tables belong to (code space, vCPU) and are filled by the owning vCPU only.
 *
 * Rules:
 *  (1) r[i], f[i], pc, mxcsr, frm are exact at every exit to C.
 *  (2) r[0] of a RISC-V guest is 0 and never written.
 *  (3) mxcsr has all exceptions masked, FZ and DAZ clear; its sticky bits are the guest's fflags, its
 *      rounding bits equal frm while frm <= 3.
 *  (4) exit_req is set by any thread (release) and cleared by the vCPU's own thread only.
 */
#ifndef CPU_VCPU_H
#define CPU_VCPU_H

#include "engine/base/base.h"
#include "engine/base/err.h"

#include <stdatomic.h>

typedef uint64_t gva_t; /* guest virtual address */

#define VCPU_ABI 2u
#define VCPU_GPR_COUNT 32
#define VCPU_FPR_COUNT 32
#define VCPU_STACK_BYTES ((size_t)128 << 10)

/* x86 MXCSR with everything masked, round to nearest, no sticky flag. */
#define CPU_MXCSR_INIT 0x1f80u
#define CPU_MXCSR_FLAGS 0x3fu

/* The architectural user-level registers: what a thread of the OS-call emulator keeps while it does not run.
 * A guest with fewer registers uses the first ones. */
#define CPU_REGS_FIELDS                                                                            \
    uint64_t r[VCPU_GPR_COUNT];                                                                    \
    uint64_t f[VCPU_FPR_COUNT]; /* binary64, or NaN-boxed binary32 */                              \
    uint64_t pc;                                                                                   \
    uint32_t mxcsr; /* rule (3) */                                                                 \
    uint32_t frm;   /* as the guest wrote it, 0..7 */
struct cpu_regs {
    CPU_REGS_FIELDS
};

enum cpu_trap_kind {
    CPU_TRAP_NONE,
    CPU_TRAP_ILLEGAL,    /* addr: the instruction's bits */
    CPU_TRAP_BREAKPOINT, /* addr: its pc */
    CPU_TRAP_PAGE,       /* addr: first byte that could not be reached; access says how */
    CPU_TRAP_BUS,        /* the page is mapped, the file behind it ends before it */
    CPU_TRAP_ALIGN,      /* misaligned atomic */
};
enum cpu_access { CPU_LOAD, CPU_STORE, CPU_FETCH };

struct cpu_trap {
    enum cpu_trap_kind kind;
    enum cpu_access access;
    uint64_t addr;
};

/* Why a tier came back to the run loop. Every tier returns one of these; pc is the next instruction to
 * run (for SYSCALL, TRAP and INTERP: the instruction itself). */
enum cpu_exit {
    CPU_EXIT_NEXT,    /* nothing special: look pc up (indirect miss, budget used up) */
    CPU_EXIT_CHAIN,   /* a direct exit not yet chained: exit_site is the cache offset of its rel32 */
    CPU_EXIT_POLL,    /* exit_req was seen */
    CPU_EXIT_SYSCALL, /* ecall at pc */
    CPU_EXIT_TRAP,    /* trap is filled in */
    CPU_EXIT_INTERP,  /* T1 cannot do the instruction at pc, or an entry condition broke: T0 goes on */
    CPU_EXIT_FAULT,   /* host fault at fault_rip in the code cache, address fault_addr; registers are stored
                         home as they were at that host instruction; execute maps it to a guest pc */
    CPU_EXIT_FENCE_I, /* fence.i done, pc is the instruction behind it: retire what is dirty */
    CPU_EXIT_STALE,   /* a self-checking block found its bytes changed; pc is its start */
    CPU_EXIT_MODE,    /* frm moved into or out of what MXCSR can hold (4..7): change the code space */
};

/* Inline indirect lookup: pc's entry in the table at jt is the first, or, if another pc has taken that, the second. An empty
 * entry i holds cpu_jt_none(i), a pc whose entries are elsewhere: nothing that a guest may jump to matches it, even or odd. */
#define CPU_JT_BITS 15
#define CPU_JT_COUNT ((size_t)1 << CPU_JT_BITS)
struct cpu_jt_entry {
    _Atomic uint64_t pc;
    _Atomic(const void *) host;
};
static inline size_t cpu_jt_first(uint64_t pc)
{
    return pc >> 1 & (CPU_JT_COUNT - 1);
}
static inline size_t cpu_jt_second(uint64_t pc)
{
    return ((uint32_t)pc ^ (uint32_t)pc >> 15) >> 1 & (CPU_JT_COUNT - 1);
}
static inline uint64_t cpu_jt_none(size_t i)
{
    return i ? 0 : 2;
}

#define CPU_RES_NONE UINT64_MAX /* res_addr: no reservation */

#define CPU_FETCHED_PAGES 32

struct mem_space;

struct vcpu {
    /* 0: read all the time; offsets below 128 take one displacement byte, so r[] comes early */
    _Atomic uint32_t exit_req;
    uint32_t exit_site;
    uint64_t mask; /* window size - 1 */
    _Atomic(struct cpu_jt_entry *) jt; /* the space's table, or the always-missing one after a kick */
    /* 24 */
    CPU_REGS_FIELDS

    uint64_t scratch[4]; /* T1's own: MXCSR in transit, values between two parts of one instruction */
    uint64_t res_addr, res_val; /* LR reservation: confined address and the value loaded (sign-extended as in rd) */
    uint8_t *window; /* host address of guest address 0; also %gs base while in T1 */
    uint64_t icount; /* instructions that T0 executed; T1 counts only if asked to */
    uint64_t time_offset; /* ns from the host's clock to the guest's */
    struct cpu_trap trap;
    uint64_t fault_rip, fault_addr, borrowed; /* see CPU_EXIT_FAULT; borrowed: the real value of a pinned
                                                 register that the code had lent out (side table says which) */
    uint64_t host_rsp;
    uint32_t host_mxcsr, fault_is_write;

    /* not touched by generated code */
    struct mem_space *space; /* what the accessors work on */
    void *run;               /* the run loop's own record of this vCPU */
    uint64_t instret_base;
    uint64_t fetch_page, fetch_gen; /* mem_fetch: the page last fetched from, and what was executable then */
    struct {
        uint64_t page, gen;
    } fetched[CPU_FETCHED_PAGES]; /* the same of others, each at its number modulo the count */
};

/* The state with its stack and guard page. */
res_t cpu_vcpu_new(struct vcpu **v, struct err *err);
void cpu_vcpu_free(struct vcpu *v);
void cpu_regs_load(struct vcpu *v, const struct cpu_regs *regs); /* also drops the reservation */
void cpu_regs_store(const struct vcpu *v, struct cpu_regs *regs);

/* fcsr's flag bits (NX 1, UF 2, OF 4, DZ 8, NV 16) against MXCSR's sticky bits. */
static inline uint32_t cpu_fflags_from_mxcsr(uint32_t m)
{
    return (m >> 5 & 1) | (m >> 3 & 2) | (m >> 1 & 4) | (m << 1 & 8) | (m << 4 & 16);
}
static inline uint32_t cpu_mxcsr_from_fflags(uint32_t f)
{
    return (f & 1) << 5 | (f & 2) << 3 | (f & 4) << 1 | (f & 8) >> 1 | (f & 16) >> 4;
}
/* MXCSR's rounding bits for frm 0..3 (RNE RTZ RDN RUP); RNE for the rest. */
static inline uint32_t cpu_mxcsr_rounding(uint32_t frm)
{
    static const uint16_t rc[8] = {0, 0x6000, 0x2000, 0x4000, 0, 0, 0, 0};
    return rc[frm & 7];
}

#endif
