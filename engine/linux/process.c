/*
 * linux/process.c - the tables of processes, threads, groups and sessions; birth and death (rules 2 and 3 of process.h).
 */
#include "engine/linux/process.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define PID_FIRST_AGAIN 300 /* after wrapping, as Linux */
#define PID_MAX 32768

/* ---- numbers ---- */

static bool number_in_use(struct lx *lx, uint32_t id)
{
    struct lx_thread *t;
    struct lx_process *p;
    struct lx_pgrp *g;
    struct lx_session *s;
    HASH_FIND(by_tid, lx->threads, &id, sizeof id, t);
    HASH_FIND(by_pid, lx->processes, &id, sizeof id, p);
    HASH_FIND(by_id, lx->pgrps, &id, sizeof id, g);
    HASH_FIND(by_id, lx->sessions, &id, sizeof id, s);
    return t || p || g || s;
}

/* Ends: processes_max is far below PID_MAX, and an id is held by at most a process, its group and its session. */
uint32_t lx_pid_new(struct lx *lx)
{
    uint32_t id;
    do {
        id = lx->next_pid++;
        if (lx->next_pid >= PID_MAX)
            lx->next_pid = PID_FIRST_AGAIN;
    } while (number_in_use(lx, id));
    return id;
}

struct lx_process *lx_process_find(struct lx *lx, uint32_t pid)
{
    struct lx_process *p;
    HASH_FIND(by_pid, lx->processes, &pid, sizeof pid, p);
    return p;
}

struct lx_thread *lx_thread_find(struct lx *lx, uint32_t tid)
{
    struct lx_thread *t;
    HASH_FIND(by_tid, lx->threads, &tid, sizeof tid, t);
    return t;
}

static int pid_order(struct lx_process *a, struct lx_process *b)
{
    return a->pid < b->pid ? -1 : a->pid > b->pid;
}

void lx_process_each(struct lx *lx, void (*f)(void *ctx, struct lx_process *p), void *ctx)
{
    HASH_SRT(by_pid, lx->processes, pid_order);
    struct lx_process *p, *next;
    HASH_ITER(by_pid, lx->processes, p, next)
    f(ctx, p);
}

uint32_t lx_process_ppid(const struct lx_process *p)
{
    return p->parent ? p->parent->pid : 0;
}

uint32_t lx_process_thread_count(struct lx_process *p)
{
    return p->priv->thread_count;
}

void lx_process_each_thread(struct lx_process *p, void (*f)(void *ctx, uint32_t tid), void *ctx)
{
    list_for_each(l, &p->threads) f(ctx, list_entry(l, struct lx_thread, link)->tid);
}

uint64_t lx_total_forks(struct lx *lx)
{
    return lx->fork_count;
}

char lx_process_state(struct lx_process *p)
{
    if (p->zombie)
        return 'Z';
    if (p->stopped)
        return 'T';
    struct lx_thread *t = list_entry(p->threads.next, struct lx_thread, link);
    return t->state == LX_T_BLOCKED ? 'S' : 'R';
}

/* ---- birth ---- */

struct lx_sighand *lx_sighand_new(void)
{
    struct lx_sighand *s = calloc(1, sizeof *s);
    if (s)
        s->refs = 1;
    return s;
}

void lx_sighand_put(struct lx_sighand *s)
{
    if (s && !--s->refs)
        free(s);
}

struct lx_process *lx_process_new(struct lx *lx, uint32_t pid)
{
    struct whole {
        struct lx_process p;
        struct lx_process_private priv;
    } *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    struct lx_process *p = &w->p;
    p->lx = lx;
    p->priv = &w->priv;
    p->priv->p = p;
    p->pid = pid ? pid : lx_pid_new(lx);
    list_init(&p->children);
    list_init(&p->sibling);
    list_init(&p->threads);
    list_init(&p->priv->group_link);
    lx_pending_init(&p->priv->pending);
    lx_waitq_init(&p->priv->child_wait);
    lx_waitq_init(&p->priv->vfork_wait);
    lx_waitq_init(&p->priv->thread_wait);
    p->priv->dumpable = true;
    p->priv->real_timer.fire = lx_real_timer_fired;
    p->start_ns = lx_monotonic_ns(lx);
    HASH_ADD(by_pid, lx->processes, pid, sizeof p->pid, p);
    if (!p->by_pid.tbl) {
        free(w);
        return NULL;
    }
    lx->process_count++;
    return p;
}

struct lx_thread *lx_thread_new(struct lx_process *p, uint32_t tid)
{
    struct lx_thread *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->lx = p->lx;
    t->p = p;
    t->tid = tid;
    t->state = LX_T_RUNNABLE;
    t->altstack.flags = 2; /* SS_DISABLE */
    list_init(&t->link);
    list_init(&t->run);
    lx_pending_init(&t->pending);
    HASH_ADD(by_tid, p->lx->threads, tid, sizeof t->tid, t);
    if (!t->by_tid.tbl) {
        free(t);
        return NULL;
    }
    list_append(&p->threads, &t->link);
    p->priv->thread_count++;
    p->lx->thread_count++;
    return t;
}

/* ---- death ---- */

void lx_vfork_done(struct lx_process *p)
{
    p->priv->vforked = false;
    lx_wake_all(p->lx, &p->priv->vfork_wait);
}

/* Does the parent want to hear of its children's ends? If not they go at once. */
static bool parent_ignores(const struct lx_process *p)
{
    if (!p->parent || p->parent->zombie)
        return true;
    const struct lx_sigaction *a = &p->parent->priv->sighand->act[SIGCHLD - 1];
    return p->priv->exit_signal == SIGCHLD &&
           (a->handler == LX_SIG_IGN || (a->flags & 2 /* SA_NOCLDWAIT */));
}

void lx_notify_parent(struct lx_process *p, int code, int status)
{
    struct lx_process *parent = p->parent;
    if (!parent || parent->zombie)
        return;
    int signo = code == CLD_STOPPED || code == CLD_CONTINUED ? SIGCHLD : p->priv->exit_signal;
    const struct lx_sigaction *a = &parent->priv->sighand->act[SIGCHLD - 1];
    bool quiet =
        (code == CLD_STOPPED || code == CLD_CONTINUED) && (a->flags & 1 /* SA_NOCLDSTOP */);
    if (signo && !quiet) {
        struct lx_siginfo info = {.signo = signo, .code = code};
        info.child.pid = p->pid;
        info.child.uid = p->uid;
        info.child.status = status;
        info.child.utime = (int64_t)(lx_process_cpu_ns(p) / 10000000u);
        lx_send(parent, NULL, &info);
    }
    lx_wake_all(p->lx, &parent->priv->child_wait);
}

void lx_process_report(struct lx_process *p)
{
    p->priv->unreported = false;
    int status = p->priv->exit_status, signo = status & 0x7f;
    bool reap = parent_ignores(p);
    if (p->priv->exit_signal || !reap)
        lx_notify_parent(p, signo ? CLD_KILLED : CLD_EXITED, signo ? signo : status >> 8 & 0xff);
    if (reap)
        lx_process_reap(p);
}

static void reparent_children(struct lx_process *p)
{
    struct lx_process *init = p->lx->init;
    if (p == init)
        return;
    list_for_each_safe(l, &p->children)
    {
        struct lx_process *child = list_entry(l, struct lx_process, sibling);
        child->parent = init;
        list_remove(&child->sibling);
        list_append(&init->children, &child->sibling);
        lx_orphan_check(child, p, NULL);
        if (child->priv->pdeath_signal && !child->zombie)
            lx_signal_process(child, child->priv->pdeath_signal);
        if (child->zombie) {
            child->priv->exit_signal = SIGCHLD;
            if (!child->priv->unreported)
                lx_process_report(child);
        }
    }
}

static void end_text(struct lx_process *p, char *text, size_t n)
{
    int status = p->priv->exit_status, signo = status & 0x7f;
    if (p->priv->fatal_text[0])
        snprintf(text, n, "%s", p->priv->fatal_text);
    else if (signo)
        snprintf(text, n, "SIG%s", sigabbrev_np(signo) ? sigabbrev_np(signo) : "RT");
    else
        snprintf(text, n, "exit %d", status >> 8 & 0xff);
}

static void cancel_timers(struct lx_process *p)
{
    lx_timer_cancel(p->lx, &p->priv->real_timer);
    lx_timer_cancel(p->lx, &p->priv->cpu_timer[0].timer);
    lx_timer_cancel(p->lx, &p->priv->cpu_timer[1].timer);
}

static void process_exit(struct lx_process *p)
{
    struct lx *lx = p->lx;
    struct lx_process_private *v = p->priv;
    p->zombie = true;
    p->stopped = false;
    v->exiting = true;
    cancel_timers(p);
    lx_pending_clear(p, &v->pending, ~(uint64_t)0);
    if (p->sid == p->pid && p->ctty)
        lx_tty_leader_exit(p);
    p->ctty = NULL;
    if (p->files)
        lx_files_put(p->files, p);
    p->files = NULL;
    if (p->fs)
        lx_fs_put(p->fs);
    p->fs = NULL;
    if (v->exe) {
        lx_file_exec_release(v->exe);
        lx_file_put(v->exe);
        v->exe = NULL;
    }
    lx_vfork_done(p);
    struct lx_mm *last = v->mm->refs == 1 ? v->mm : NULL;
    lx_mm_put(lx, v->mm);
    v->mm = NULL;
    p->mem = NULL;
    p->code = NULL;
    if (p == lx->init) {
        char text[sizeof v->fatal_text];
        int signo = v->exit_status & 0x7f;
        end_text(p, text, sizeof text);
        lx_end_begin(lx, signo ? LX_END_SIGNAL : LX_END_EXIT,
                     signo ? signo : v->exit_status >> 8 & 0xff, text);
        return;
    }
    reparent_children(p);
    lx_orphan_check(p, p->parent, p);
    if (last) { /* its memory is free again when its parent hears of it (lx_mm_reap) */
        v->unreported = true;
        last->dead = p;
    } else {
        lx_process_report(p);
    }
}

void lx_thread_end(struct lx_thread *t, int status)
{
    struct lx *lx = t->lx;
    struct lx_process *p = t->p;
    struct lx_process_private *v = p->priv;
    if (t->in_call)
        lx_call_abandon(&t->call);
    t->in_call = false;
    lx_thread_off_queue(t);
    lx_unwait(t);
    lx_thread_leave_vcpu(t);
    p->cpu_ns += t->cpu_ns;
    lx_pending_clear(p, &t->pending, ~(uint64_t)0);
    if (t->robust_list && !lx->ending)
        lx_futex_robust_exit(t);
    if (t->clear_tid && (v->mm->refs > 1 || v->thread_count > 1) && !lx->ending) {
        uint32_t zero = 0;
        if (mem_copy_out(p->mem, t->clear_tid, &zero, sizeof zero))
            lx_futex_wake(p, t->clear_tid, 1, UINT32_MAX, true);
    }
    if (v->mm->freezer == t)
        lx_mm_freeze_end(lx, v->mm);
    lx->rejoin -= t->rejoin;
    list_remove(&t->link);
    HASH_DELETE(by_tid, lx->threads, t);
    lx->thread_count--;
    v->thread_count--;
    if (!v->exiting && !v->thread_count) /* the last one's, as Linux since 5.17 */
        v->exit_status = status;
    free(t);
    if (!v->thread_count)
        process_exit(p);
    else
        lx_wake_all(lx, &v->thread_wait);
}

/* Threads that no vCPU holds go now, the others when they look. The last but `but` never goes here. */
void lx_kill_other_threads(struct lx_process *p, struct lx_thread *but)
{
    struct list *l = p->threads.next;
    while (l != &p->threads) {
        struct lx_thread *t = list_entry(l, struct lx_thread, link);
        l = l->next;
        if (t == but)
            continue;
        if (t->state == LX_T_RUNNING) {
            t->dying = true;
            t->exit_status = p->priv->exit_status;
            lx_kick_thread(t);
        } else if (p->priv->thread_count > 1) {
            lx_thread_end(t, p->priv->exit_status);
        }
    }
}

void lx_process_kill(struct lx_process *p, int status)
{
    struct lx_process_private *v = p->priv;
    if (v->exiting || p->zombie)
        return;
    v->exiting = true;
    v->exit_status = status;
    p->stopped = false;
    struct lx_thread *last = list_entry(p->threads.next, struct lx_thread, link);
    list_for_each(l, &p->threads)
    {
        struct lx_thread *t = list_entry(l, struct lx_thread, link);
        if (t->state == LX_T_RUNNING)
            last = t;
    }
    lx_kill_other_threads(p, last);
    if (last->state == LX_T_RUNNING) {
        last->dying = true;
        last->exit_status = status;
        lx_kick_thread(last);
    } else {
        lx_thread_end(last, status);
    }
}

static void process_free(struct lx_process *p)
{
    lx_pending_clear(p, &p->priv->pending, ~(uint64_t)0);
    lx_process_leave_pgrp(p);
    list_remove(&p->sibling);
    HASH_DELETE(by_pid, p->lx->processes, p);
    p->lx->process_count--;
    lx_sighand_put(p->priv->sighand);
    free(p->groups);
    free(p->exe_path);
    free(p);
}

void lx_process_reap(struct lx_process *p)
{
    if (p->parent) {
        p->parent->children_cpu_ns += p->cpu_ns + p->children_cpu_ns;
        p->parent->priv->children_reaped_ns += p->cpu_ns;
    }
    process_free(p);
}

/* The end of the guest: nobody is told anything any more. */
void lx_process_free_all(struct lx *lx)
{
    struct lx_thread *t, *next_t;
    HASH_ITER(by_tid, lx->threads, t, next_t)
    {
        if (t->in_call)
            lx_call_abandon(&t->call);
        lx_thread_off_queue(t);
        lx_unwait(t);
        lx_pending_clear(t->p, &t->pending, ~(uint64_t)0);
        HASH_DELETE(by_tid, lx->threads, t);
        free(t);
    }
    struct lx_process *p, *next_p;
    HASH_ITER(by_pid, lx->processes, p, next_p)
    {
        list_init(&p->threads);
        list_init(&p->children);
        list_init(&p->sibling);
    }
    HASH_ITER(by_pid, lx->processes, p, next_p)
    {
        struct lx_process_private *v = p->priv;
        cancel_timers(p);
        if (p->files)
            lx_files_put(p->files, NULL);
        if (p->fs)
            lx_fs_put(p->fs);
        if (v->exe) {
            lx_file_exec_release(v->exe);
            lx_file_put(v->exe);
        }
        lx_mm_put(lx, v->mm);
        process_free(p);
    }
    while (lx->reap) {
        struct lx_mm *mm = lx->reap;
        lx->reap = mm->reap_next;
        run_space_free(mm->code);
        mem_space_put(mm->mem);
        free(mm);
    }
}
