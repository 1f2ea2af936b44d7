/*
 * linux/riscv/frame.c - the signal frame of Linux on riscv64: struct rt_sigframe {siginfo, ucontext} with its
 * mcontext {pc, x1..x31, f0..f31, fcsr}; arch/riscv/include/uapi/asm/{ucontext,sigcontext,ptrace}.h name the layout.
 */
#include "engine/linux/riscv/riscv.h"

#include <string.h>

enum { RA = 1, SP = 2, A0 = 10, A1 = 11, A2 = 12 };

struct frame {
    uint8_t info[LX_SIGINFO_GUEST_BYTES];
    struct ucontext {
        uint64_t flags, link;
        uint64_t stack_sp;
        uint32_t stack_flags, stack_pad;
        uint64_t stack_size;
        uint64_t mask;
        uint8_t unused[120];
        uint64_t pad;       /* mcontext is 16-aligned */
        uint64_t gregs[32]; /* [0] is pc */
        union {
            struct {
                uint64_t f[32];
                uint32_t fcsr;
            } d;
            struct {
                uint8_t f[512];
                uint32_t fcsr, reserved[3];
            } q;
        } fp;
    } uc;
};
_Static_assert(offsetof(struct ucontext, gregs) == 176, "mcontext");
_Static_assert(sizeof(struct ucontext) == 960, "as glibc's ucontext_t");

gva_t lx_rv_frame_address(gva_t sp)
{
    return ALIGN_DOWN(sp - sizeof(struct frame), 16);
}

bool lx_rv_frame_enter(struct mem_space *m, struct cpu_regs *regs, const struct lx_sigframe *f)
{
    struct frame frame = {0};
    struct ucontext *uc = &frame.uc;
    gva_t at = lx_rv_frame_address(f->sp);
    memcpy(frame.info, &f->info, sizeof f->info);
    uc->stack_sp = f->stack.sp;
    uc->stack_flags = f->stack.flags;
    uc->stack_size = f->stack.size;
    uc->mask = f->mask;
    memcpy(uc->gregs, regs->r, sizeof uc->gregs);
    uc->gregs[0] = regs->pc;
    memcpy(uc->fp.d.f, regs->f, sizeof uc->fp.d.f);
    uc->fp.d.fcsr = cpu_fflags_from_mxcsr(regs->mxcsr) | regs->frm << 5;
    if (!mem_copy_out(m, at, &frame, sizeof frame))
        return false;
    regs->r[RA] = f->vdso + LX_RV_VDSO_SIGRETURN;
    regs->r[SP] = at;
    regs->r[A0] = (uint64_t)f->info.signo;
    regs->r[A1] = at + offsetof(struct frame, info);
    regs->r[A2] = at + offsetof(struct frame, uc);
    regs->pc = f->handler & ~(uint64_t)1;
    return true;
}

bool lx_rv_frame_leave(struct mem_space *m, struct cpu_regs *regs, struct lx_sigframe *f)
{
    struct frame frame;
    const struct ucontext *uc = &frame.uc;
    if (!mem_copy_in(m, &frame, regs->r[SP], sizeof frame))
        return false;
    if (uc->fp.q.reserved[0] | uc->fp.q.reserved[1] |
        uc->fp.q.reserved[2]) /* no extension state is known */
        return false;
    memcpy(regs->r, uc->gregs, sizeof uc->gregs);
    regs->r[0] = 0;
    regs->pc = uc->gregs[0] & ~(uint64_t)1;
    memcpy(regs->f, uc->fp.d.f, sizeof regs->f);
    regs->frm = uc->fp.d.fcsr >> 5 & 7;
    regs->mxcsr =
        CPU_MXCSR_INIT | cpu_mxcsr_from_fflags(uc->fp.d.fcsr & 31) | cpu_mxcsr_rounding(regs->frm);
    f->mask = uc->mask;
    f->stack =
        (struct lx_altstack){.sp = uc->stack_sp, .size = uc->stack_size, .flags = uc->stack_flags};
    return true;
}
