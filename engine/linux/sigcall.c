/*
 * linux/sigcall.c - the system calls about signals.
 */
#include "engine/linux/process.h"

#include <signal.h>

#define SIGSET_BYTES 8

LX_SYS(rt_sigaction)
{
    struct lx_process *p = lx_call_process(c);
    struct lx_sigaction a, old;
    int signo = (int)c->arg[0];
    if (c->arg[3] != SIGSET_BYTES)
        return -EINVAL;
    if (c->arg[1] && !mem_copy_in(p->mem, &a, c->arg[1], sizeof a))
        return -EFAULT;
    if (signo < 1 || signo > LX_SIG_COUNT || (c->arg[1] && (LX_SIG_UNBLOCKABLE & LX_BIT(signo))))
        return -EINVAL;
    old = p->priv->sighand->act[signo - 1];
    if (c->arg[1])
        lx_sigaction_set(p, signo, &a);
    if (c->arg[2] && !mem_copy_out(p->mem, c->arg[2], &old, sizeof old))
        return -EFAULT;
    return 0;
}

LX_SYS(rt_sigprocmask)
{
    struct lx_thread *t = c->t;
    struct mem_space *m = lx_call_mem(c);
    uint64_t set, old = t->sigmask;
    if (c->arg[3] != SIGSET_BYTES)
        return -EINVAL;
    if (c->arg[1]) {
        if (!mem_copy_in(m, &set, c->arg[1], sizeof set))
            return -EFAULT;
        switch ((int)c->arg[0]) {
        case SIG_BLOCK:
            lx_set_mask(t, old | set);
            break;
        case SIG_UNBLOCK:
            lx_set_mask(t, old & ~set);
            break;
        case SIG_SETMASK:
            lx_set_mask(t, set);
            break;
        default:
            return -EINVAL;
        }
    }
    return c->arg[2] && !mem_copy_out(m, c->arg[2], &old, sizeof old) ? -EFAULT : 0;
}

LX_SYS(rt_sigpending)
{
    uint64_t set = (c->t->pending.set | c->t->p->priv->pending.set) & c->t->sigmask;
    if (c->arg[1] > SIGSET_BYTES)
        return -EINVAL;
    return mem_copy_out(lx_call_mem(c), c->arg[0], &set, c->arg[1]) ? 0 : -EFAULT;
}

LX_SYS(rt_sigsuspend)
{
    if (c->arg[1] != SIGSET_BYTES)
        return -EINVAL;
    if (!c->runs && !c->arg[0])
        return -EFAULT;
    int64_t rc = lx_sigmask_for_call(c, c->arg[0], c->arg[1]);
    if (rc)
        return rc;
    if (c->wake == LX_WAKE_SIGNAL)
        return lx_interrupted(c, LX_RESTART_ALWAYS_UNLESS_HANDLER);
    return lx_block(c, NULL);
}

LX_SYS(rt_sigtimedwait)
{
    struct lx_thread *t = c->t;
    struct mem_space *m = lx_call_mem(c);
    uint64_t set, ns;
    int error;
    if (c->arg[3] != SIGSET_BYTES)
        return -EINVAL;
    if (!mem_copy_in(m, &set, c->arg[0], sizeof set))
        return -EFAULT;
    set &= ~LX_SIG_UNBLOCKABLE;
    if (c->arg[2] && !c->runs) {
        if (!lx_get_timespec(m, c->arg[2], &ns, &error))
            return error;
        lx_deadline_after(c, ns);
    }
    struct lx_siginfo info;
    if (lx_signal_take(t, set, &info)) {
        uint8_t raw[LX_SIGINFO_GUEST_BYTES] = {0};
        __builtin_memcpy(raw, &info, sizeof info);
        if (c->arg[1] && !mem_copy_out(m, c->arg[1], raw, sizeof raw))
            return -EFAULT;
        return info.signo;
    }
    if (c->wake == LX_WAKE_TIMEOUT)
        return -EAGAIN;
    if (c->wake == LX_WAKE_SIGNAL)
        return lx_interrupted(c, LX_RESTART_NEVER);
    t->sigwait = set;
    return lx_block(c, NULL);
}

static struct lx_siginfo from_user(struct lx_call *c, int signo, int code)
{
    struct lx_process *p = lx_call_process(c);
    struct lx_siginfo info = {.signo = signo, .code = code};
    info.kill.pid = p->pid;
    info.kill.uid = p->uid;
    return info;
}

/* kill(-1) and kill of a group: everybody may go while we walk, so each is looked for anew (signal.c does alike). */
struct crowd {
    struct lx_process *from, *next;
    uint64_t visit;
    uint32_t pgid; /* 0: everybody but pid 1 and the caller */
};

static void crowd_next(void *ctx, struct lx_process *p)
{
    struct crowd *w = ctx;
    if (w->next || p->priv->visit >= w->visit)
        return;
    if (w->pgid ? p->pgid == w->pgid : p->pid != 1 && p != w->from)
        w->next = p;
}

static int64_t kill_crowd(struct lx_call *c, uint32_t pgid, const struct lx_siginfo *info)
{
    struct lx_process *p = lx_call_process(c);
    struct crowd w = {.from = p, .visit = ++c->lx->visits, .pgid = pgid};
    int64_t rc = -ESRCH;
    for (;;) {
        w.next = NULL;
        struct lx_pgrp *g = pgid ? lx_pgrp_find(c->lx, pgid) : NULL;
        if (g) {
            list_for_each(l, &g->members)
                crowd_next(&w, list_entry(l, struct lx_process_private, group_link)->p);
        } else if (!pgid) {
            lx_process_each(c->lx, crowd_next, &w);
        }
        if (!w.next)
            return rc;
        w.next->priv->visit = w.visit;
        if (!lx_may_signal(p, w.next, info->signo)) {
            rc = rc == 0 ? 0 : -EPERM;
            continue;
        }
        rc = 0;
        if (info->signo)
            lx_send(w.next, NULL, info);
    }
}

LX_SYS(kill)
{
    struct lx_process *p = lx_call_process(c);
    int64_t pid = (int32_t)c->arg[0];
    int signo = (int)c->arg[1];
    if (signo < 0 || signo > LX_SIG_COUNT)
        return -EINVAL;
    struct lx_siginfo info = from_user(c, signo, SI_USER);
    if (pid == INT32_MIN)
        return -ESRCH;
    if (pid <= 0)
        return kill_crowd(c, pid == -1 ? 0 : pid == 0 ? p->pgid : (uint32_t)-pid, &info);
    struct lx_process *to = lx_process_find(c->lx, (uint32_t)pid);
    if (!to) {
        struct lx_thread *t = lx_thread_find(c->lx, (uint32_t)pid);
        to = t ? t->p : NULL;
    }
    if (!to)
        return -ESRCH;
    if (!lx_may_signal(p, to, signo))
        return -EPERM;
    return signo ? lx_send(to, NULL, &info) : 0;
}

static int64_t send_thread(struct lx_call *c, int64_t tgid, int64_t tid,
                           const struct lx_siginfo *info)
{
    struct lx_process *p = lx_call_process(c);
    struct lx_thread *t = lx_thread_find(c->lx, (uint32_t)tid);
    if (!t || (tgid && t->p->pid != (uint32_t)tgid)) {
        struct lx_process *z = lx_process_find(c->lx, (uint32_t)tid);
        return z && z->zombie && (!tgid || tgid == tid) ? 0 : -ESRCH;
    }
    if (!lx_may_signal(p, t->p, info->signo))
        return -EPERM;
    return info->signo ? lx_send(t->p, t, info) : 0;
}

static bool bad_signal(uint64_t signo)
{
    return (int)signo < 0 || (int)signo > LX_SIG_COUNT;
}

LX_SYS(tkill)
{
    int64_t tid = (int32_t)c->arg[0];
    if (tid <= 0 || bad_signal(c->arg[1]))
        return -EINVAL;
    struct lx_siginfo info = from_user(c, (int)c->arg[1], SI_TKILL);
    return send_thread(c, 0, tid, &info);
}

LX_SYS(tgkill)
{
    int64_t tgid = (int32_t)c->arg[0], tid = (int32_t)c->arg[1];
    if (tgid <= 0 || tid <= 0 || bad_signal(c->arg[2]))
        return -EINVAL;
    struct lx_siginfo info = from_user(c, (int)c->arg[2], SI_TKILL);
    return send_thread(c, tgid, tid, &info);
}

static int64_t user_info(struct lx_call *c, gva_t at, int signo, bool own, struct lx_siginfo *info)
{
    uint8_t raw[LX_SIGINFO_GUEST_BYTES];
    if (!mem_copy_in(lx_call_mem(c), raw, at, sizeof raw))
        return -EFAULT;
    __builtin_memcpy(info, raw, sizeof *info);
    info->signo = signo;
    return (info->code >= 0 || info->code == SI_TKILL) && !own ? -EPERM : 0;
}

LX_SYS(rt_sigqueueinfo)
{
    int64_t pid = (int32_t)c->arg[0];
    struct lx_process *p = lx_call_process(c);
    struct lx_siginfo info;
    int64_t rc = user_info(c, c->arg[2], (int)c->arg[1], pid == p->pid, &info);
    if (rc)
        return rc;
    if (bad_signal(c->arg[1]))
        return -EINVAL;
    struct lx_process *to = pid > 0 ? lx_process_find(c->lx, (uint32_t)pid) : NULL;
    if (!to)
        return -ESRCH;
    if (!lx_may_signal(p, to, info.signo))
        return -EPERM;
    return info.signo ? lx_send(to, NULL, &info) : 0;
}

LX_SYS(rt_tgsigqueueinfo)
{
    int64_t tgid = (int32_t)c->arg[0], tid = (int32_t)c->arg[1];
    struct lx_siginfo info;
    int64_t rc = user_info(c, c->arg[3], (int)c->arg[2], tgid == lx_call_process(c)->pid, &info);
    if (rc)
        return rc;
    if (tgid <= 0 || tid <= 0 || bad_signal(c->arg[2]))
        return -EINVAL;
    return send_thread(c, tgid, tid, &info);
}

#define SS_ONSTACK_ 1u
#define SS_DISABLE_ 2u
#define SS_AUTODISARM_ 0x80000000u
#define MINSIGSTKSZ_ 2048u

struct guest_stack {
    uint64_t sp;
    uint32_t flags, pad;
    uint64_t size;
};

LX_SYS(sigaltstack)
{
    struct lx_thread *t = c->t;
    struct mem_space *m = lx_call_mem(c);
    struct guest_stack s,
        old = {.sp = t->altstack.sp, .flags = t->altstack.flags, .size = t->altstack.size};
    struct cpu_regs regs;
    lx_regs_get(t, &regs);
    bool on = lx_on_altstack(&t->altstack, regs.r[c->lx->arch->reg_sp]);
    old.flags = (t->altstack.flags & SS_AUTODISARM_) | (!t->altstack.size ? SS_DISABLE_
                                                        : on              ? SS_ONSTACK_
                                                                          : 0);
    if (c->arg[0]) {
        if (!mem_copy_in(m, &s, c->arg[0], sizeof s))
            return -EFAULT;
        uint32_t mode = s.flags & ~SS_AUTODISARM_;
        if (on)
            return -EPERM;
        if (mode > SS_DISABLE_)
            return -EINVAL;
        if (mode == SS_DISABLE_)
            s.sp = s.size = 0;
        else if (s.size < MINSIGSTKSZ_)
            return -ENOMEM;
        t->altstack = (struct lx_altstack){.sp = s.sp, .size = s.size, .flags = s.flags};
    }
    return c->arg[1] && !mem_copy_out(m, c->arg[1], &old, sizeof old) ? -EFAULT : 0;
}

LX_SYS(rt_sigreturn)
{
    struct lx_thread *t = c->t;
    struct cpu_regs regs;
    struct lx_sigframe f;
    lx_regs_get(t, &regs);
    gva_t pc = regs.pc, sp = regs.r[c->lx->arch->reg_sp];
    if (!c->lx->arch->frame_leave(lx_call_mem(c), &regs, &f)) {
        struct lx_siginfo info = lx_siginfo_kernel(SIGSEGV);
        char text[100];
        snprintf(text, sizeof text, "SIGSEGV at pc 0x%llx: bad signal frame at 0x%llx",
                 (unsigned long long)pc, (unsigned long long)sp);
        lx_force_signal(t, &info, text);
        return LX_NO_RESULT;
    }
    lx_regs_put(t, &regs);
    lx_set_mask(t, f.mask);
    uint32_t mode = f.stack.flags &
                    ~SS_AUTODISARM_; /* a stack that sigaltstack would refuse leaves the old one */
    if (!lx_on_altstack(&t->altstack, regs.r[c->lx->arch->reg_sp]) && mode <= SS_DISABLE_ &&
        (mode == SS_DISABLE_ || f.stack.size >= MINSIGSTKSZ_))
        t->altstack = f.stack;
    if (mode == SS_DISABLE_)
        t->altstack.sp = t->altstack.size = 0;
    return LX_NO_RESULT;
}
