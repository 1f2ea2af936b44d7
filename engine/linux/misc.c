/*
 * linux/misc.c - calls that tell a program about itself and its machine, and limits.
 */
#include "engine/linux/process.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#define RANDOM_PIECE 256
#define RANDOM_MAX \
    ((size_t)1     \
     << 20) /* one call; the rest is a short answer, which getrandom allows above 256 bytes */
#define NAME_MAX_ 64

LX_SYS(uname)
{
    char u[6][65];
    memset(u, 0, sizeof u);
    snprintf(u[0], sizeof u[0], "Linux");
    snprintf(u[1], sizeof u[1], "%s", c->lx->name);
    snprintf(u[2], sizeof u[2], "6.12.0-vivarium");
    snprintf(u[3], sizeof u[3], "#1 SMP Vivarium");
    snprintf(u[4], sizeof u[4], "%s", c->lx->arch->machine);
    snprintf(u[5], sizeof u[5], "%s", c->lx->domain);
    return mem_copy_out(lx_call_mem(c), c->arg[0], u, sizeof u) ? 0 : -EFAULT;
}

static int64_t set_name(struct lx_call *c, char *name)
{
    char text[NAME_MAX_ + 1] = {0};
    if (lx_call_process(c)->euid)
        return -EPERM;
    if ((int32_t)c->arg[1] < 0 || (int32_t)c->arg[1] > NAME_MAX_)
        return -EINVAL;
    if (!mem_copy_in(lx_call_mem(c), text, c->arg[0], (uint32_t)c->arg[1]))
        return -EFAULT;
    memcpy(name, text, sizeof text);
    return 0;
}

LX_SYS(sethostname)
{
    return set_name(c, c->lx->name);
}

LX_SYS(setdomainname)
{
    return set_name(c, c->lx->domain);
}

LX_SYS(sysinfo)
{
    struct {
        int64_t uptime;
        uint64_t loads[3], totalram, freeram, sharedram, bufferram, totalswap, freeswap;
        uint16_t procs, pad;
        uint32_t pad2;
        uint64_t totalhigh, freehigh;
        uint32_t mem_unit, pad3;
    } s = {0};
    uint64_t used = mem_pool_committed_bytes(c->lx->config.pool),
             total = c->lx->config.memory_bytes;
    s.uptime = (int64_t)(lx_monotonic_ns(c->lx) / 1000000000u);
    s.totalram = total;
    s.freeram = total > used ? total - used : 0;
    s.procs = (uint16_t)c->lx->thread_count;
    s.mem_unit = 1;
    return mem_copy_out(lx_call_mem(c), c->arg[0], &s, sizeof s) ? 0 : -EFAULT;
}

LX_SYS(getrandom)
{
    uint8_t piece[RANDOM_PIECE];
    struct mem_space *m = lx_call_mem(c);
    size_t want = MIN(c->arg[1], (uint64_t)RANDOM_MAX), done = 0;
    if (c->arg[2] & ~7u || (c->arg[2] & 6u) == 6u)
        return -EINVAL;
    while (done < want) {
        size_t n = MIN(want - done, sizeof piece);
        lx_random_bytes(c->lx, piece, n);
        if (!mem_copy_out(m, c->arg[0] + done, piece, n))
            return done ? (int64_t)done : -EFAULT;
        done += n;
    }
    return (int64_t)done;
}

static int64_t get_comm(struct lx_call *c)
{
    return mem_copy_out(lx_call_mem(c), c->arg[1], c->t->comm, sizeof c->t->comm) ? 0 : -EFAULT;
}

static int64_t set_comm(struct lx_call *c)
{
    char text[16] = {0};
    int64_t n = mem_copy_str(lx_call_mem(c), text, c->arg[1], sizeof text);
    if (n == -EFAULT)
        return n;
    text[15] = 0;
    memcpy(c->t->comm, text, sizeof text);
    if (c->t->tid == c->t->p->pid)
        memcpy(c->t->p->comm, text, sizeof text);
    return 0;
}

LX_SYS(prctl)
{
    struct lx_process *p = lx_call_process(c);
    struct lx_process_private *v = p->priv;
    uint64_t a = c->arg[1];
    bool rest = c->arg[2] | c->arg[3] | c->arg[4];
    switch ((uint32_t)c->arg[0]) {
    case PR_SET_NAME:
        return set_comm(c);
    case PR_GET_NAME:
        return get_comm(c);
    case PR_SET_PDEATHSIG:
        if (a > LX_SIG_COUNT)
            return -EINVAL;
        v->pdeath_signal = (int)a;
        return 0;
    case PR_GET_PDEATHSIG:
        return mem_copy_out(p->mem, a, &v->pdeath_signal, sizeof v->pdeath_signal) ? 0 : -EFAULT;
    case PR_GET_DUMPABLE:
        return v->dumpable;
    case PR_SET_DUMPABLE:
        if (a > 1)
            return -EINVAL;
        v->dumpable = a;
        return 0;
    case PR_GET_KEEPCAPS:
        return v->keep_caps;
    case PR_SET_KEEPCAPS:
        if (a > 1)
            return -EINVAL;
        v->keep_caps = a;
        return 0;
    case PR_SET_NO_NEW_PRIVS:
        if (a != 1 || rest)
            return -EINVAL;
        v->no_new_privs = true;
        return 0;
    case PR_GET_NO_NEW_PRIVS:
        return a || rest ? -EINVAL : v->no_new_privs;
    case PR_CAPBSET_READ:
        return a > 40 ? -EINVAL : 1;
    case PR_GET_THP_DISABLE:
    case PR_SET_THP_DISABLE:
        return 0;
    default:
        return -EINVAL;
    }
}

/* ---- limits ---- */

static int64_t set_limit(struct lx_process *by, struct lx_process *p, uint32_t which,
                         const uint64_t want[2])
{
    if (want[0] > want[1])
        return -EINVAL;
    if (want[1] > p->rlim_max[which] && by->euid)
        return -EPERM;
    if (which == LX_RLIM_NOFILE && want[1] > p->lx->config.files_max)
        return -EPERM;
    p->rlim_cur[which] = want[0];
    p->rlim_max[which] = want[1];
    if (which == LX_RLIM_NOFILE && p->files)
        lx_files_set_limit(p->files, (uint32_t)MIN(want[0], (uint64_t)UINT32_MAX));
    return 0;
}

static int64_t limits(struct lx_call *c, struct lx_process *p, uint32_t which, gva_t in, gva_t out)
{
    struct mem_space *m = lx_call_mem(c);
    uint64_t want[2], old[2];
    if (in && !mem_copy_in(m, want, in, sizeof want))
        return -EFAULT;
    if (which >= LX_RLIM_COUNT)
        return -EINVAL;
    old[0] = p->rlim_cur[which];
    old[1] = p->rlim_max[which];
    int64_t rc = in ? set_limit(lx_call_process(c), p, which, want) : 0;
    if (!rc && out && !mem_copy_out(m, out, old, sizeof old))
        return -EFAULT;
    return rc;
}

LX_SYS(prlimit64)
{
    struct lx_process *self = lx_call_process(c);
    struct lx_process *p = (int32_t)c->arg[0] ? lx_process_find(c->lx, (uint32_t)c->arg[0]) : self;
    if (!p)
        return -ESRCH;
    if (p != self && self->euid &&
        (self->uid != p->uid || self->uid != p->euid || self->uid != p->suid))
        return -EPERM;
    return limits(c, p, (uint32_t)c->arg[1], c->arg[2], c->arg[3]);
}

LX_SYS(getrlimit)
{
    if (!c->arg[1])
        return -EFAULT;
    return limits(c, lx_call_process(c), (uint32_t)c->arg[0], 0, c->arg[1]);
}

LX_SYS(setrlimit)
{
    if (!c->arg[1])
        return -EFAULT;
    return limits(c, lx_call_process(c), (uint32_t)c->arg[0], c->arg[1], 0);
}

/* ---- scheduling ---- */

LX_SYS(sched_yield)
{
    if (c->t->vcpu)
        atomic_store(&c->t->vcpu->preempt, true);
    return 0;
}

static struct lx_thread *named(struct lx_call *c)
{
    int32_t tid = (int32_t)c->arg[0];
    return tid ? lx_thread_find(c->lx, (uint32_t)tid) : c->t;
}

LX_SYS(sched_getaffinity)
{
    uint64_t mask = ((uint64_t)1 << c->lx->vcpu_count) - 1;
    if (!named(c))
        return -ESRCH;
    if (c->arg[1] < sizeof mask || c->arg[1] & 7)
        return -EINVAL;
    return mem_copy_out(lx_call_mem(c), c->arg[2], &mask, sizeof mask) ? (int64_t)sizeof mask
                                                                       : -EFAULT;
}

/* Taken and not kept: threads run on any vCPU. */
LX_SYS(sched_setaffinity)
{
    uint64_t mask = 0;
    if (!mem_copy_in(lx_call_mem(c), &mask, c->arg[2], MIN(c->arg[1], (uint64_t)sizeof mask)))
        return -EFAULT;
    if (!named(c))
        return -ESRCH;
    return mask & (((uint64_t)1 << c->lx->vcpu_count) - 1) ? 0 : -EINVAL;
}

static int64_t checked_tid(struct lx_call *c)
{
    return (int32_t)c->arg[0] < 0 ? -EINVAL : named(c) ? 0 : -ESRCH;
}

LX_SYS(sched_getscheduler)
{
    return checked_tid(c); /* SCHED_OTHER */
}

LX_SYS(sched_getparam)
{
    int32_t zero = 0;
    int64_t rc = c->arg[1] ? checked_tid(c) : -EINVAL;
    return rc ? rc : mem_copy_out(lx_call_mem(c), c->arg[1], &zero, sizeof zero) ? 0 : -EFAULT;
}

LX_SYS(sched_setscheduler)
{
    int32_t priority;
    int64_t rc = c->arg[2] ? checked_tid(c) : -EINVAL;
    if (rc)
        return rc;
    if (!mem_copy_in(lx_call_mem(c), &priority, c->arg[2], sizeof priority))
        return -EFAULT;
    switch (c->arg[1] & ~(uint64_t)SCHED_RESET_ON_FORK) {
    case SCHED_OTHER:
    case SCHED_BATCH:
    case SCHED_IDLE:
        return priority ? -EINVAL : 0;
    case SCHED_FIFO:
    case SCHED_RR:
        return priority < 1 || priority > 99 ? -EINVAL : -EPERM;
    default:
        return -EINVAL;
    }
}

static int64_t priority_bound(uint64_t policy, int64_t real_time)
{
    switch ((int32_t)policy) {
    case SCHED_FIFO:
    case SCHED_RR:
        return real_time;
    case SCHED_OTHER:
    case SCHED_BATCH:
    case SCHED_IDLE:
        return 0;
    default:
        return -EINVAL;
    }
}

LX_SYS(sched_get_priority_max)
{
    return priority_bound(c->arg[0], 99);
}

LX_SYS(sched_get_priority_min)
{
    return priority_bound(c->arg[0], 1);
}

/* The processes that {which, who} names, one after the other: PRIO_PROCESS, PRIO_PGRP, PRIO_USER. */
struct prio_walk {
    struct lx_process *self;
    uint32_t which, who;
    bool set, found, denied;
    int nice;
};

static void prio_one(void *ctx, struct lx_process *p)
{
    struct prio_walk *w = ctx;
    uint32_t id = w->which == 0 ? p->pid : w->which == 1 ? p->pgid : p->uid;
    if (id != w->who || p->zombie)
        return;
    if (!w->set) {
        w->nice = w->found ? MIN(w->nice, p->priv->nice) : p->priv->nice;
    } else if (w->self->euid && w->self->euid != p->uid && w->self->euid != p->euid) {
        w->denied = true;
    } else if (w->self->euid && w->nice < p->priv->nice) {
        w->denied = true;
    } else {
        p->priv->nice = w->nice;
    }
    w->found = true;
}

static struct prio_walk prio_walk(struct lx_call *c, bool set, int nice)
{
    struct lx_process *p = lx_call_process(c);
    struct prio_walk w = {.self = p, .which = (uint32_t)c->arg[0], .who = (uint32_t)c->arg[1], .set = set, .nice = nice};
    if (!w.who)
        w.who = w.which == 0 ? p->pid : w.which == 1 ? p->pgid : p->uid;
    lx_process_each(c->lx, prio_one, &w);
    return w;
}

LX_SYS(getpriority)
{
    if ((uint32_t)c->arg[0] > 2)
        return -EINVAL;
    struct prio_walk w = prio_walk(c, false, 0);
    return w.found ? 20 - w.nice : -ESRCH; /* as the kernel codes it: 1..40 */
}

LX_SYS(setpriority)
{
    if ((uint32_t)c->arg[0] > 2)
        return -EINVAL;
    struct prio_walk w = prio_walk(c, true, MIN(MAX((int32_t)c->arg[2], -20), 19));
    return !w.found ? -ESRCH : w.denied ? -EACCES : 0;
}

LX_SYS(getcpu)
{
    uint32_t cpu = c->t->vcpu ? (uint32_t)(c->t->vcpu - c->lx->vcpus) : 0, node = 0;
    struct mem_space *m = lx_call_mem(c);
    if (c->arg[0] && !mem_copy_out(m, c->arg[0], &cpu, sizeof cpu))
        return -EFAULT;
    return c->arg[1] && !mem_copy_out(m, c->arg[1], &node, sizeof node) ? -EFAULT : 0;
}

LX_SYS(personality)
{
    return (uint32_t)c->arg[0] == 0xffffffffu || !c->arg[0] ? 0 : -EINVAL;
}
