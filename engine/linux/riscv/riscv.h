/*
 * linux/riscv/riscv.h - the parts of Linux on riscv64 that differ from other architectures.
 *
 * Looks into: linux, cpu, memory.  Used by: engine/vm (lx_rv_arch, declared in lx.h), this room.
 */
#ifndef LINUX_RISCV_RISCV_H
#define LINUX_RISCV_RISCV_H

#include "engine/linux/arch.h"

/* Offset of __vdso_rt_sigreturn in the vdso's page. */
#define LX_RV_VDSO_SIGRETURN 0x800

gva_t lx_rv_frame_address(gva_t sp);
bool lx_rv_frame_enter(struct mem_space *m, struct cpu_regs *regs, const struct lx_sigframe *f);
bool lx_rv_frame_leave(struct mem_space *m, struct cpu_regs *regs, struct lx_sigframe *f);
void lx_rv_vdso_make(uint8_t *page);

#endif
