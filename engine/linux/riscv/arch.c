/*
 * linux/riscv/arch.c - Linux on riscv64: the call table and where things are.
 */
#include "engine/linux/riscv/riscv.h"

#include <elf.h>
#include <string.h>

#define LX_CALL(nr, name) LX_SYS(name);
#include "engine/linux/riscv/calls.def"
#undef LX_CALL

static const struct lx_call_row rows[] = {
#define LX_CALL(nr, name) [nr] = {lx_sys_##name, #name},
#include "engine/linux/riscv/calls.def"
#undef LX_CALL
};

enum { SP = 2, TP = 4, A0 = 10, A7 = 17 };
#define HWCAP_BIT(letter) ((uint64_t)1 << ((letter) - 'a'))

/* clone's parameters come in the order of CONFIG_CLONE_BACKWARDS: flags, sp, parent tid, tls, child tid. */
static uint32_t call_args(const uint64_t *r, uint64_t arg[6])
{
    memcpy(arg, r + A0, 6 * sizeof *arg);
    return (uint32_t)r[A7];
}

static void regs_init(struct cpu_regs *regs, gva_t entry, gva_t sp)
{
    *regs = (struct cpu_regs){.pc = entry, .mxcsr = CPU_MXCSR_INIT};
    regs->r[SP] = sp;
}

const struct lx_arch lx_rv_arch = {
    .machine = "riscv64",
    .elf_machine = EM_RISCV,
    .hwcap = HWCAP_BIT('i') | HWCAP_BIT('m') | HWCAP_BIT('a') | HWCAP_BIT('f') | HWCAP_BIT('d') |
             HWCAP_BIT('c'),
    .calls = rows,
    .call_count = ARRAY_LEN(rows),
    .reg_sp = SP,
    .reg_tp = TP,
    .reg_result = A0,
    .call_insn_bytes = 4,
    .call_args = call_args,
    .regs_init = regs_init,
    .frame_address = lx_rv_frame_address,
    .frame_enter = lx_rv_frame_enter,
    .frame_leave = lx_rv_frame_leave,
    .vdso_make = lx_rv_vdso_make,
};
