/*
 * linux/signal.c - signals on their way: sending, queueing, choosing a thread, stop and continue.
 */
#include "engine/linux/process.h"

#include <signal.h>
#include <stdlib.h>

#define SIGRT_FIRST 32

void lx_pending_init(struct lx_pending *q)
{
    q->set = 0;
    list_init(&q->queue);
}

static void entry_drop(struct lx_process *p, struct lx_sigentry *e)
{
    list_remove(&e->link);
    p->priv->queued--;
    free(e);
}

void lx_pending_clear(struct lx_process *p, struct lx_pending *q, uint64_t set)
{
    if (!(q->set & set))
        return;
    q->set &= ~set;
    list_for_each_safe(l, &q->queue)
    {
        struct lx_sigentry *e = list_entry(l, struct lx_sigentry, link);
        if (set & LX_BIT(e->info.signo))
            entry_drop(p, e);
    }
}

static void clear_everywhere(struct lx_process *p, uint64_t set)
{
    lx_pending_clear(p, &p->priv->pending, set);
    list_for_each(l, &p->threads)
        lx_pending_clear(p, &list_entry(l, struct lx_thread, link)->pending, set);
}

static bool ignored_by_default(int signo)
{
    return signo == SIGCHLD || signo == SIGURG || signo == SIGWINCH || signo == SIGCONT;
}

static bool is_ignored(const struct lx_process *p, int signo)
{
    uint64_t h = p->priv->sighand->act[signo - 1].handler;
    return h == LX_SIG_IGN || (h == LX_SIG_DFL && ignored_by_default(signo));
}

/* Would the signal find somebody who neither blocks it nor waits for it? Then it may be dropped if ignored. */
static bool is_blocked(const struct lx_process *p, const struct lx_thread *t, int signo)
{
    if (t)
        return t->sigmask & LX_BIT(signo);
    list_for_each(l, &p->threads) if (!(list_entry(l, struct lx_thread, link)->sigmask &
                                        LX_BIT(signo))) return false;
    return true;
}

static bool wants(const struct lx_thread *t, int signo)
{
    return !t->dying && (!(t->sigmask & LX_BIT(signo)) || (t->sigwait & LX_BIT(signo)));
}

static void wake_for(struct lx_thread *t, int signo)
{
    if (t->sigwait & LX_BIT(signo))
        lx_wake_thread(t, LX_WAKE_QUEUE);
    else if (t->state == LX_T_BLOCKED && t->call.no_signals)
        return;
    else
        lx_wake_thread(t, LX_WAKE_SIGNAL);
}

/* One that waits for it first, then the main thread, then anybody; a thread that runs will look by itself. */
static struct lx_thread *choose(struct lx_process *p, int signo)
{
    struct lx_thread *best = NULL;
    list_for_each(l, &p->threads)
    {
        struct lx_thread *t = list_entry(l, struct lx_thread, link);
        if (!wants(t, signo))
            continue;
        if (t->sigwait & LX_BIT(signo))
            return t;
        if (!best)
            best = t;
    }
    return best;
}

static int queue_signal(struct lx_process *p, struct lx_pending *q, const struct lx_siginfo *info)
{
    int signo = info->signo;
    if (signo < SIGRT_FIRST && (q->set & LX_BIT(signo)))
        return 0;
    struct lx_sigentry *e = NULL;
    if (p->priv->queued < MIN(p->rlim_cur[LX_RLIM_SIGPENDING], (uint64_t)LX_SIG_QUEUE_MAX) ||
        signo < SIGRT_FIRST)
        e = malloc(sizeof *e);
    if (e) {
        e->info = *info;
        list_append(&q->queue, &e->link);
        p->priv->queued++;
    } else if (signo >= SIGRT_FIRST && info->code != SI_USER) {
        return -EAGAIN;
    }
    q->set |= LX_BIT(signo);
    return 0;
}

void lx_process_continue(struct lx_process *p, bool notify)
{
    if (!p->stopped)
        return;
    p->stopped = false;
    list_for_each(l, &p->threads)
    {
        struct lx_thread *t = list_entry(l, struct lx_thread, link);
        if (t->state == LX_T_STOPPED)
            lx_enqueue(p->lx, t);
    }
    p->priv->stop_pending = false;
    if (notify) {
        p->priv->continue_pending = true;
        lx_notify_parent(p, CLD_CONTINUED, SIGCONT);
    }
}

int lx_send(struct lx_process *p, struct lx_thread *t, const struct lx_siginfo *info)
{
    int signo = info->signo;
    if (p->zombie || p->priv->exiting)
        return 0;
    if (signo == SIGKILL) {
        lx_process_kill(p, SIGKILL);
        return 0;
    }
    if (signo == SIGCONT) {
        clear_everywhere(p, LX_SIG_STOPS);
        lx_process_continue(p, true);
    } else if (LX_SIG_STOPS & LX_BIT(signo)) {
        clear_everywhere(p, LX_BIT(SIGCONT));
    }
    if (is_ignored(p, signo) && !is_blocked(p, t, signo))
        return 0;
    int rc = queue_signal(p, t ? &t->pending : &p->priv->pending, info);
    if (rc)
        return rc;
    struct lx_thread *target = t && wants(t, signo) ? t : t ? NULL : choose(p, signo);
    if (target)
        wake_for(target, signo);
    return 0;
}

struct lx_siginfo lx_siginfo_kernel(int signo)
{
    return (struct lx_siginfo){.signo = signo, .code = SI_KERNEL};
}

void lx_signal_thread(struct lx_thread *t, int signo)
{
    struct lx_siginfo info = {.signo = signo, .code = SI_USER};
    info.kill.pid = t->p->pid;
    info.kill.uid = t->p->uid;
    lx_send(t->p, t, &info);
}

void lx_signal_process(struct lx_process *p, int signo)
{
    struct lx_siginfo info = lx_siginfo_kernel(signo);
    lx_send(p, NULL, &info);
}

/* A member may go, and others with it, while it is told: the search begins anew after each, with a mark on those done. */
void lx_signal_pgrp(struct lx *lx, uint32_t pgid, int signo)
{
    uint64_t visit = ++lx->visits;
    for (;;) {
        struct lx_pgrp *g = lx_pgrp_find(lx, pgid);
        struct lx_process *next = NULL;
        if (!g)
            return;
        list_for_each(l, &g->members)
        {
            struct lx_process_private *v = list_entry(l, struct lx_process_private, group_link);
            if (v->visit < visit) {
                next = v->p;
                break;
            }
        }
        if (!next)
            return;
        next->priv->visit = visit;
        lx_signal_process(next, signo);
    }
}

void lx_force_signal(struct lx_thread *t, const struct lx_siginfo *info, const char *text)
{
    struct lx_process *p = t->p;
    struct lx_sigaction *a = &p->priv->sighand->act[info->signo - 1];
    if ((t->sigmask & LX_BIT(info->signo)) || a->handler == LX_SIG_IGN) {
        a->handler = LX_SIG_DFL;
        t->sigmask &= ~LX_BIT(info->signo);
    }
    if (a->handler == LX_SIG_DFL && text)
        snprintf(p->priv->fatal_text, sizeof p->priv->fatal_text, "%s", text);
    lx_pending_clear(p, &t->pending, LX_BIT(info->signo));
    lx_send(p, t, info);
}

bool lx_signal_deliverable(struct lx_thread *t)
{
    return (t->pending.set | t->p->priv->pending.set) & ~t->sigmask;
}

bool lx_signal_ignored_or_blocked(struct lx_thread *t, int signo)
{
    return (t->sigmask & LX_BIT(signo)) ||
           t->p->priv->sighand->act[signo - 1].handler == LX_SIG_IGN;
}

bool lx_may_signal(const struct lx_process *from, const struct lx_process *to, int signo)
{
    if (from == to || from->euid == 0 || from->euid == to->uid || from->euid == to->suid ||
        from->uid == to->uid || from->uid == to->suid)
        return true;
    return signo == SIGCONT && from->sid == to->sid;
}

static bool take_from(struct lx_process *p, struct lx_pending *q, int signo,
                      struct lx_siginfo *info)
{
    *info = (struct lx_siginfo){.signo = signo, .code = SI_USER};
    bool found = false, more = false;
    list_for_each_safe(l, &q->queue)
    {
        struct lx_sigentry *e = list_entry(l, struct lx_sigentry, link);
        if (e->info.signo != signo)
            continue;
        if (found) {
            more = true;
            break;
        }
        *info = e->info;
        entry_drop(p, e);
        found = true;
    }
    if (!more)
        q->set &= ~LX_BIT(signo);
    return true;
}

static int lowest(uint64_t set)
{
    return __builtin_ctzll(set) + 1;
}

bool lx_signal_take(struct lx_thread *t, uint64_t set, struct lx_siginfo *info)
{
    struct lx_pending *own = &t->pending, *shared = &t->p->priv->pending;
    uint64_t mine = own->set & set, all = shared->set & set;
    if (mine & LX_SIG_SYNCHRONOUS)
        return take_from(t->p, own, lowest(mine & LX_SIG_SYNCHRONOUS), info);
    if (mine)
        return take_from(t->p, own, lowest(mine), info);
    if (all)
        return take_from(t->p, shared, lowest(all), info);
    return false;
}

void lx_set_mask(struct lx_thread *t, uint64_t mask)
{
    uint64_t old = t->sigmask;
    t->sigmask = mask & ~LX_SIG_UNBLOCKABLE;
    uint64_t orphans = t->p->priv->pending.set & t->sigmask & ~old;
    while (orphans && t->p->priv->thread_count > 1) {
        int signo = lowest(orphans);
        orphans &= orphans - 1;
        struct lx_thread *other = choose(t->p, signo);
        if (other)
            wake_for(other, signo);
    }
}

void lx_mask_restore(struct lx_thread *t)
{
    if (!t->saved_mask_set)
        return;
    t->saved_mask_set = false;
    lx_set_mask(t, t->saved_mask);
}

int64_t lx_sigmask_for_call(struct lx_call *c, gva_t mask, uint64_t mask_bytes)
{
    struct lx_thread *t = c->t;
    uint64_t set;
    if (!mask || t->saved_mask_set)
        return 0;
    if (mask_bytes != sizeof set)
        return -EINVAL;
    if (!mem_copy_in(t->p->mem, &set, mask, sizeof set))
        return -EFAULT;
    t->saved_mask = t->sigmask;
    t->saved_mask_set = true;
    lx_set_mask(t, set);
    return 0;
}

void lx_process_signals(struct lx_process *p, uint64_t *pending, uint64_t *blocked,
                        uint64_t *ignored, uint64_t *caught)
{
    *pending = p->priv->pending.set;
    *blocked = *ignored = *caught = 0;
    if (p->zombie)
        return;
    const struct lx_thread *t = list_entry(p->threads.next, struct lx_thread, link);
    *pending |= t->pending.set;
    *blocked = t->sigmask;
    for (int i = 0; i < LX_SIG_COUNT; i++) {
        uint64_t h = p->priv->sighand->act[i].handler;
        if (h == LX_SIG_IGN)
            *ignored |= LX_BIT(i + 1);
        else if (h != LX_SIG_DFL)
            *caught |= LX_BIT(i + 1);
    }
}

/* execve: handlers go back to the default, what is ignored stays ignored. */
void lx_sigactions_flush_for_exec(struct lx_process *p)
{
    for (int i = 0; i < LX_SIG_COUNT; i++) {
        struct lx_sigaction *a = &p->priv->sighand->act[i];
        *a = (struct lx_sigaction){.handler = a->handler == LX_SIG_IGN ? LX_SIG_IGN : LX_SIG_DFL};
    }
}

/* A new action that ignores the signal also forgets what is pending (POSIX). */
void lx_sigaction_set(struct lx_process *p, int signo, const struct lx_sigaction *a)
{
    p->priv->sighand->act[signo - 1] = *a;
    p->priv->sighand->act[signo - 1].mask &= ~LX_SIG_UNBLOCKABLE;
    if (is_ignored(p, signo))
        clear_everywhere(p, LX_BIT(signo));
}
