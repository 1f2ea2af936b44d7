/*
 * linux/deliver.c - signals at their goal: what a thread owes before it goes back to guest code, at an instruction
 * boundary and after the restart rules (DESIGN 6, D4); traps become signals here.
 */
#include "engine/linux/process.h"

#include <signal.h>

enum { SA_ONSTACK_ = 0x08000000, SA_RESTART_ = 0x10000000, SA_NODEFER_ = 0x40000000 };
#define SA_RESETHAND_ 0x80000000u
#define SS_DISABLE_ 2u
#define SS_AUTODISARM_ 0x80000000u

bool lx_on_altstack(const struct lx_altstack *a, gva_t sp)
{
    return !(a->flags & (SS_DISABLE_ | SS_AUTODISARM_)) && a->size && sp > a->sp &&
           sp - a->sp <= a->size;
}

static void stop_process(struct lx_process *p, int signo)
{
    p->stopped = true;
    p->priv->stop_signal = signo;
    p->priv->stop_pending = true;
    p->priv->continue_pending = false;
    list_for_each(l, &p->threads)
    {
        struct lx_thread *t = list_entry(l, struct lx_thread, link);
        if (t->state == LX_T_RUNNABLE) {
            lx_thread_off_queue(t);
            t->state = LX_T_STOPPED;
        } else if (t->state == LX_T_RUNNING) {
            lx_kick_thread(t);
        }
    }
    lx_notify_parent(p, CLD_STOPPED, signo);
}

static void default_action(struct lx_thread *t, int signo)
{
    struct lx_process *p = t->p;
    switch (signo) {
    case SIGCHLD:
    case SIGURG:
    case SIGWINCH:
    case SIGCONT:
        return;
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU:
        if (lx_pgrp_orphaned(p->lx, p->pgid))
            return;
        stop_process(p, signo);
        return;
    case SIGSTOP:
        stop_process(p, signo);
        return;
    default:
        lx_process_kill(p, signo);
    }
}

/* The interrupted call's fate now that a handler will run. */
static void settle_call(struct lx_thread *t, const struct lx_sigaction *a, struct cpu_regs *regs)
{
    const struct lx_arch *arch = t->lx->arch;
    if (!t->in_call)
        return;
    bool again = t->restart == LX_ERESTARTNOINTR ||
                 (t->restart == LX_ERESTARTSYS && (a->flags & SA_RESTART_));
    if (!again) {
        regs->r[arch->reg_result] = (uint64_t)-EINTR;
        regs->pc += arch->call_insn_bytes;
    } /* else pc is at the ecall with its registers untouched: the call begins anew behind the handler */
    lx_call_abandon(&t->call);
    t->restart = 0;
    t->in_call = false;
}

static void enter_handler(struct lx_thread *t, const struct lx_siginfo *info)
{
    struct lx_process *p = t->p;
    const struct lx_arch *arch = t->lx->arch;
    struct lx_sigaction *act = &p->priv->sighand->act[info->signo - 1], a = *act;
    struct cpu_regs regs;
    lx_regs_get(t, &regs);
    settle_call(t, &a, &regs);
    gva_t sp = regs.r[arch->reg_sp];
    bool on_alt = lx_on_altstack(&t->altstack, sp), overflow = false;
    if (on_alt)
        overflow = !lx_on_altstack(&t->altstack, arch->frame_address(sp));
    else if ((a.flags & SA_ONSTACK_) && !(t->altstack.flags & SS_DISABLE_) && t->altstack.size)
        sp = t->altstack.sp + t->altstack.size;
    struct lx_sigframe f = {.sp = sp,
                            .handler = a.handler,
                            .vdso = p->priv->mm->vdso,
                            .info = *info,
                            .mask = t->saved_mask_set ? t->saved_mask : t->sigmask,
                            .stack = t->altstack};
    bool written = !overflow && arch->frame_enter(p->mem, &regs, &f);
    lx_regs_put(t, &regs);
    if (!written) {
        if (info->signo == SIGSEGV)
            act->handler = LX_SIG_DFL;
        struct lx_siginfo segv = lx_siginfo_kernel(SIGSEGV);
        char text[100];
        snprintf(text, sizeof text, "SIGSEGV: no room for the frame of signal %d at sp 0x%llx",
                 info->signo, (unsigned long long)sp);
        lx_force_signal(t, &segv, text);
        return;
    }
    t->saved_mask_set = false;
    if (t->altstack.flags & SS_AUTODISARM_)
        t->altstack = (struct lx_altstack){.flags = SS_DISABLE_};
    if (a.flags & SA_RESETHAND_)
        act->handler = LX_SIG_DFL;
    lx_set_mask(t, t->sigmask | a.mask | (a.flags & SA_NODEFER_ ? 0 : LX_BIT(info->signo)));
}

bool lx_deliver(struct lx_thread *t)
{
    struct lx_process *p = t->p;
    for (;;) {
        if (t->dying) {
            lx_thread_end(t, t->exit_status);
            return false;
        }
        if (p->stopped) {
            lx_thread_leave_vcpu(t);
            t->state = LX_T_STOPPED;
            return false;
        }
        struct lx_siginfo info;
        if ((t->in_call && !t->restart) || !lx_signal_take(t, ~t->sigmask, &info)) {
            if (!t->saved_mask_set || t->in_call)
                break;
            lx_mask_restore(t);
            continue;
        }
        uint64_t handler = p->priv->sighand->act[info.signo - 1].handler;
        if (handler == LX_SIG_IGN)
            continue;
        if (handler == LX_SIG_DFL || info.signo == SIGSTOP)
            default_action(t, info.signo);
        else
            enter_handler(t, &info);
    }
    if (t->restart) { /* no handler ran: the same call goes on, with its deadline */
        t->restart = 0;
        t->call.wake = LX_WAKE_NONE;
    }
    return true;
}

static const char *trap_name(const struct cpu_trap *trap, struct lx_siginfo *info, bool mapped,
                             uint64_t pc)
{
    info->fault.addr = trap->addr;
    switch (trap->kind) {
    case CPU_TRAP_BREAKPOINT:
        info->signo = SIGTRAP;
        info->code = TRAP_BRKPT;
        info->fault.addr = pc;
        return "SIGTRAP";
    case CPU_TRAP_PAGE:
        info->signo = SIGSEGV;
        info->code = mapped ? SEGV_ACCERR : SEGV_MAPERR;
        return "SIGSEGV";
    case CPU_TRAP_BUS:
        info->signo = SIGBUS;
        info->code = BUS_ADRERR;
        return "SIGBUS";
    case CPU_TRAP_ALIGN:
        info->signo = SIGBUS;
        info->code = BUS_ADRALN;
        info->fault.addr = pc; /* as Linux on riscv */
        return "SIGBUS";
    case CPU_TRAP_ILLEGAL:
    case CPU_TRAP_NONE:
        break;
    }
    info->signo = SIGILL;
    info->code = ILL_ILLOPC;
    info->fault.addr = pc;
    return "SIGILL";
}

void lx_trap(struct lx_thread *t, const struct cpu_trap *trap)
{
    struct lx_siginfo info = {0};
    struct mem_map_info map;
    uint64_t pc = t->vcpu->v->pc;
    bool mapped = trap->kind == CPU_TRAP_PAGE && mem_find(t->p->mem, trap->addr, &map) &&
                  map.start <= trap->addr;
    const char *name = trap_name(trap, &info, mapped, pc);
    char text[160] = "";
    if (t->p == t->lx->init && t->p->priv->sighand->act[info.signo - 1].handler == LX_SIG_DFL) {
        char insn[64] = "?";
        run_disasm(t->lx->config.engine, t->p->mem, pc, insn, sizeof insn);
        int n =
            snprintf(text, sizeof text, "%s at pc 0x%llx (%s)", name, (unsigned long long)pc, insn);
        if (trap->kind == CPU_TRAP_PAGE || trap->kind == CPU_TRAP_BUS)
            snprintf(text + n, sizeof text - (size_t)n, ", address 0x%llx",
                     (unsigned long long)trap->addr);
    }
    lx_force_signal(t, &info, text[0] ? text : NULL);
}
