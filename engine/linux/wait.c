/*
 * linux/wait.c - exit, and waiting for children.
 */
#include "engine/linux/process.h"

#include <signal.h>
#include <sys/wait.h>

#define WALL_ 0x40000000u
#define WNOTHREAD_ 0x20000000u
#define WCLONE_ 0x80000000u

LX_SYS(exit)
{
    c->t->exit_status = (int)(c->arg[0] & 0xff) << 8;
    c->t->dying = true;
    return LX_NO_RESULT;
}

LX_SYS(exit_group)
{
    lx_process_kill(lx_call_process(c), (int)(c->arg[0] & 0xff) << 8);
    return LX_NO_RESULT;
}

struct wanted {
    enum { ANY, ONE, GROUP } kind;
    uint32_t id, options;
};
struct event {
    struct lx_process *child;
    int code, status; /* si_code and si_status */
};

static bool matches(const struct wanted *w, const struct lx_process *child)
{
    if (w->kind == ONE && child->pid != w->id)
        return false;
    if (w->kind == GROUP && child->pgid != w->id)
        return false;
    bool clone = child->priv->exit_signal != SIGCHLD;
    return (w->options & WALL_) || clone == !!(w->options & WCLONE_);
}

static bool happened(const struct wanted *w, struct lx_process *child, struct event *e)
{
    struct lx_process_private *v = child->priv;
    e->child = child;
    if (child->zombie && v->unreported)
        return false;
    if (child->zombie) {
        int signo = v->exit_status & 0x7f;
        e->code = signo ? CLD_KILLED : CLD_EXITED;
        e->status = signo ? signo : v->exit_status >> 8 & 0xff;
        return w->options & WEXITED;
    }
    if ((w->options & WUNTRACED) && v->stop_pending) {
        e->code = CLD_STOPPED;
        e->status = v->stop_signal;
        return true;
    }
    if ((w->options & WCONTINUED) && v->continue_pending) {
        e->code = CLD_CONTINUED;
        e->status = SIGCONT;
        return true;
    }
    return false;
}

/* 1: e holds what happened; 0: nothing yet; -ECHILD. */
static int look(struct lx_process *p, const struct wanted *w, struct event *e)
{
    int rc = -ECHILD;
    if (w->kind == ONE) {
        struct lx_process *child = lx_process_find(p->lx, w->id);
        if (!child || child->parent != p || !matches(w, child))
            return -ECHILD;
        return happened(w, child, e);
    }
    list_for_each(l, &p->children)
    {
        struct lx_process *child = list_entry(l, struct lx_process, sibling);
        if (!matches(w, child))
            continue;
        if (happened(w, child, e))
            return 1;
        rc = 0;
    }
    return rc;
}

static void consume(const struct event *e, uint32_t options)
{
    if (options & WNOWAIT)
        return;
    if (e->code == CLD_STOPPED)
        e->child->priv->stop_pending = false;
    else if (e->code == CLD_CONTINUED)
        e->child->priv->continue_pending = false;
    else
        lx_process_reap(e->child);
}

static bool put_usage(struct mem_space *m, gva_t at, const struct lx_process *child)
{
    uint64_t usage[18] = {0}, ns = child->cpu_ns + child->children_cpu_ns;
    usage[0] = ns / 1000000000u;
    usage[1] = ns % 1000000000u / 1000;
    return !at || mem_copy_out(m, at, usage, sizeof usage);
}

/* Blocks, or says what to return. 1: e is filled in. */
static int64_t wait_for(struct lx_call *c, const struct wanted *w, struct event *e)
{
    struct lx_process *p = lx_call_process(c);
    int rc = look(p, w, e);
    if (rc)
        return rc;
    if (w->options & WNOHANG)
        return 0;
    if (c->wake == LX_WAKE_SIGNAL)
        return lx_interrupted(c, LX_RESTART_SA);
    return lx_block(c, &p->priv->child_wait);
}

LX_SYS(wait4)
{
    struct lx_process *p = lx_call_process(c);
    int32_t pid = (int32_t)c->arg[0];
    uint32_t options = (uint32_t)c->arg[2];
    if (options & ~(WNOHANG | WUNTRACED | WCONTINUED | WNOTHREAD_ | WCLONE_ | WALL_))
        return -EINVAL;
    if (pid == INT32_MIN)
        return -ESRCH;
    struct wanted w = {.options = options | WEXITED};
    if (pid > 0) {
        w.kind = ONE;
        w.id = (uint32_t)pid;
    } else if (pid != -1) {
        w.kind = GROUP;
        w.id = pid ? (uint32_t)-pid : p->pgid;
    }
    struct event e;
    int64_t rc = wait_for(c, &w, &e);
    if (rc != 1)
        return rc;
    uint32_t child = e.child->pid;
    int status = e.code == CLD_EXITED    ? e.status << 8
                 : e.code == CLD_KILLED  ? e.status
                 : e.code == CLD_STOPPED ? e.status << 8 | 0x7f
                                         : 0xffff;
    bool written = put_usage(p->mem, c->arg[3], e.child);
    consume(&e, 0);
    if (c->arg[1] && !mem_copy_out(p->mem, c->arg[1], &status, sizeof status))
        written = false;
    return written ? (int64_t)child : -EFAULT;
}

LX_SYS(waitid)
{
    struct lx_process *p = lx_call_process(c);
    uint32_t options = (uint32_t)c->arg[3], id = (uint32_t)c->arg[1];
    if (options &
            ~(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | WNOTHREAD_ | WCLONE_ | WALL_) ||
        !(options & (WEXITED | WSTOPPED | WCONTINUED)))
        return -EINVAL;
    struct wanted w = {.options = options, .id = id};
    switch (c->arg[0]) {
    case P_ALL:
        break;
    case P_PID:
        if ((int32_t)id <= 0)
            return -EINVAL;
        w.kind = ONE;
        break;
    case P_PGID:
        if ((int32_t)id < 0)
            return -EINVAL;
        w.kind = GROUP;
        w.id = id ? id : p->pgid;
        break;
    default:
        return -EINVAL;
    }
    struct event e = {0};
    int64_t rc = wait_for(c, &w, &e);
    if (rc != 0 && rc != 1)
        return rc;
    uint8_t raw[LX_SIGINFO_GUEST_BYTES] = {0};
    bool written = true;
    if (rc == 1) {
        struct lx_siginfo info = {.signo = SIGCHLD, .code = e.code};
        info.child.pid = e.child->pid;
        info.child.uid = e.child->uid;
        info.child.status = e.status;
        __builtin_memcpy(raw, &info, sizeof info);
        written = put_usage(p->mem, c->arg[4], e.child);
        consume(&e, options);
    }
    if (c->arg[2] &&
        !mem_copy_out(p->mem, c->arg[2], raw, 32)) /* what Linux writes: up to si_status */
        written = false;
    return written ? 0 : -EFAULT;
}
