/*
 * guest/guest.h - what a guest instruction set gives to the engine: one const struct of functions.
 *
 * Looks into: isa, cpu, ir, snapshot.  Used by: translate, execute, linux, vm (which registers them).
 */
#ifndef GUEST_GUEST_H
#define GUEST_GUEST_H

#include "engine/cpu/vcpu.h"

struct ir_block;

enum gst_option {
    GST_WINDOW32 = 1, /* 4 GiB window: 32-bit addresses, no masks, no sp condition */
    GST_FP_SOFT = 2,  /* frm is 4..7: T0 executes every operation with dynamic rounding */
};

struct gst_lift {
    gva_t pc;
    const uint8_t *bytes; /* guest bytes from pc on: a private copy, never re-read */
    size_t byte_count;    /* at least what the first instruction needs */
    unsigned insns_max;
    uint32_t options; /* GST_* */
    bool self_check;  /* the block compares its source bytes before it runs: CPU_EXIT_STALE if they changed */
    /* results */
    unsigned insn_count, consumed_bytes;
};

struct guest_ops {
    const char *name;      /* "riscv64" */
    uint32_t elf_machine;  /* EM_* */
    unsigned sp_reg;       /* which r[] is the stack pointer */
    unsigned insn_align;   /* bytes */
    /* T0: execute up to n instructions, or until something needs the run loop. Stops before the next
     * instruction when v->exit_req is set (CPU_EXIT_POLL). With `to_branch`, also returns CPU_EXIT_NEXT after the first
     * executed instruction that may change the flow of control. */
    enum cpu_exit (*step)(struct vcpu *v, uint64_t n, bool to_branch);
    /* Lift one superblock. Never fails: what it cannot lift it ends with an INTERP exit at that pc. */
    void (*lift)(struct gst_lift *l, struct ir_block *b);
    /* Spelling of the instruction at bytes (n available), as `objdump -M no-aliases`; returns its length. */
    unsigned (*disasm)(const uint8_t *bytes, size_t n, gva_t pc, char *text, size_t text_bytes);
};

extern const struct guest_ops rv_guest_ops; /* engine/guest/riscv; named by engine/vm only */

#endif
