/*
 * linux/arch.h - what one architecture adds to the OS-call emulator: the call table, where arguments are, the
 * signal frame, the vdso. One const struct; engine/linux/riscv fills it in.
 *
 * Looks into: cpu.  Used by: linux (through lx_config.arch), linux/riscv.
 */
#ifndef LINUX_ARCH_H
#define LINUX_ARCH_H

#include "engine/cpu/vcpu.h"
#include "engine/linux/internal.h"

/* asm-generic siginfo as far as it means anything; in guest memory it is 128 bytes, the rest zero. */
struct lx_siginfo {
    int32_t signo, err, code, pad;
    union {
        struct {
            uint32_t pid, uid;
            uint64_t value;
        } kill;
        struct {
            uint32_t pid, uid;
            int32_t status, pad;
            int64_t utime, stime;
        } child;
        struct {
            uint64_t addr;
        } fault;
        struct {
            int32_t id, overrun;
            uint64_t value;
        } timer;
        uint64_t raw[4];
    };
};
#define LX_SIGINFO_GUEST_BYTES 128

struct lx_altstack {
    uint64_t sp, size;
    uint32_t flags;
};

/* All that a signal frame holds besides the registers. */
struct lx_sigframe {
    gva_t sp;               /* the frame goes below this */
    uint64_t handler;       /* entry only */
    gva_t vdso;             /* entry only */
    struct lx_siginfo info; /* entry only */
    uint64_t mask;
    struct lx_altstack stack;
};

struct lx_call_row {
    lx_call_fn fn; /* NULL: ENOSYS */
    const char *name;
};

#define LX_VDSO_BYTES PAGE_SIZE

struct lx_arch {
    const char *machine; /* uname -m */
    uint16_t elf_machine;
    uint64_t hwcap;
    const struct lx_call_row *calls;
    uint32_t call_count;
    unsigned reg_sp, reg_tp, reg_result;
    unsigned call_insn_bytes;
    /* Number and arguments of the call at v's pc. clone's are {flags, sp, parent tid, tls, child tid} everywhere. */
    uint32_t (*call_args)(const uint64_t *r, uint64_t arg[6]);
    /* Registers at the start of a program: everything zero but pc, sp. */
    void (*regs_init)(struct cpu_regs *regs, gva_t entry, gva_t sp);
    /* Where the lowest byte of a frame will be. */
    gva_t (*frame_address)(gva_t sp);
    /* Write the frame and set the registers for the handler; false: memory cannot be reached (registers untouched). */
    bool (*frame_enter)(struct mem_space *m, struct cpu_regs *regs, const struct lx_sigframe *f);
    /* rt_sigreturn: registers, mask and stack from the frame at regs' sp; false: bad frame (nothing changed). */
    bool (*frame_leave)(struct mem_space *m, struct cpu_regs *regs, struct lx_sigframe *f);
    /* The vdso: a whole ELF image of LX_VDSO_BYTES. */
    void (*vdso_make)(uint8_t *page);
};

#endif
