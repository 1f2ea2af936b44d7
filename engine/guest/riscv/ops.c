/* The RISC-V guest's door. */
#include "engine/guest/riscv/interp.h"
#include "engine/guest/riscv/lift.h"

const struct guest_ops rv_guest_ops = {
    .name = "riscv64",
    .elf_machine = 243, /* EM_RISCV */
    .sp_reg = 2,
    .insn_align = 2,
    .step = rv_step,
    .lift = rv_lift,
    .disasm = rv_disasm,
};
