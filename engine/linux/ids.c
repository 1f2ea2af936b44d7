/*
 * linux/ids.c - who one is: users, groups, process groups, sessions.
 */
#include "engine/linux/process.h"

#include <stdlib.h>
#include <string.h>

#define GROUPS_MAX 65536
#define KEEP 0xffffffffu /* -1: leave as it is */

static bool privileged(const struct lx_process *p)
{
    return p->euid == 0;
}

LX_SYS(getpid)
{
    return lx_call_process(c)->pid;
}
LX_SYS(getppid)
{
    return lx_process_ppid(lx_call_process(c));
}
LX_SYS(gettid)
{
    return c->t->tid;
}
LX_SYS(getuid)
{
    return lx_call_process(c)->uid;
}
LX_SYS(geteuid)
{
    return lx_call_process(c)->euid;
}
LX_SYS(getgid)
{
    return lx_call_process(c)->gid;
}
LX_SYS(getegid)
{
    return lx_call_process(c)->egid;
}

static int64_t put_three(struct lx_call *c, uint32_t a, uint32_t b, uint32_t d)
{
    struct mem_space *m = lx_call_mem(c);
    return mem_copy_out(m, c->arg[0], &a, 4) && mem_copy_out(m, c->arg[1], &b, 4) &&
                   mem_copy_out(m, c->arg[2], &d, 4)
               ? 0
               : -EFAULT;
}

LX_SYS(getresuid)
{
    struct lx_process *p = lx_call_process(c);
    return put_three(c, p->uid, p->euid, p->suid);
}
LX_SYS(getresgid)
{
    struct lx_process *p = lx_call_process(c);
    return put_three(c, p->gid, p->egid, p->sgid);
}

/* The three user ids or the three group ids. */
struct ids {
    uint32_t *real, *effective, *saved;
};
static struct ids users(struct lx_process *p)
{
    return (struct ids){&p->uid, &p->euid, &p->suid};
}
static struct ids groups(struct lx_process *p)
{
    return (struct ids){&p->gid, &p->egid, &p->sgid};
}

static bool one_of(const struct ids *i, uint32_t id, bool saved)
{
    return id == KEEP || id == *i->real || id == *i->effective || (saved && id == *i->saved);
}

static int64_t set_res(struct lx_process *p, struct ids i, const uint64_t arg[3])
{
    uint32_t want[3] = {(uint32_t)arg[0], (uint32_t)arg[1], (uint32_t)arg[2]};
    uint32_t *to[3] = {i.real, i.effective, i.saved};
    for (int k = 0; k < 3; k++)
        if (!privileged(p) && !one_of(&i, want[k], true))
            return -EPERM;
    for (int k = 0; k < 3; k++)
        if (want[k] != KEEP)
            *to[k] = want[k];
    return 0;
}

static int64_t set_re(struct lx_process *p, struct ids i, uint32_t real, uint32_t effective)
{
    uint32_t old = *i.real;
    if (!privileged(p) &&
        ((real != KEEP && real != *i.real && real != *i.effective) || !one_of(&i, effective, true)))
        return -EPERM;
    if (real != KEEP)
        *i.real = real;
    if (effective != KEEP)
        *i.effective = effective;
    if (real != KEEP || (effective != KEEP && effective != old))
        *i.saved = *i.effective;
    return 0;
}

static int64_t set_one(struct lx_process *p, struct ids i, uint32_t id)
{
    if (id == KEEP)
        return -EINVAL;
    if (privileged(p)) {
        *i.real = *i.effective = *i.saved = id;
        return 0;
    }
    if (id != *i.real && id != *i.saved)
        return -EPERM;
    *i.effective = id;
    return 0;
}

LX_SYS(setresuid)
{
    return set_res(lx_call_process(c), users(lx_call_process(c)), c->arg);
}
LX_SYS(setresgid)
{
    return set_res(lx_call_process(c), groups(lx_call_process(c)), c->arg);
}
LX_SYS(setreuid)
{
    return set_re(lx_call_process(c), users(lx_call_process(c)), (uint32_t)c->arg[0],
                  (uint32_t)c->arg[1]);
}
LX_SYS(setregid)
{
    return set_re(lx_call_process(c), groups(lx_call_process(c)), (uint32_t)c->arg[0],
                  (uint32_t)c->arg[1]);
}
LX_SYS(setuid)
{
    return set_one(lx_call_process(c), users(lx_call_process(c)), (uint32_t)c->arg[0]);
}
LX_SYS(setgid)
{
    return set_one(lx_call_process(c), groups(lx_call_process(c)), (uint32_t)c->arg[0]);
}
/* The file-system ids are the effective ones here; both calls answer with the old value, as ever. */
LX_SYS(setfsuid)
{
    return lx_call_process(c)->euid;
}
LX_SYS(setfsgid)
{
    return lx_call_process(c)->egid;
}

LX_SYS(getgroups)
{
    struct lx_process *p = lx_call_process(c);
    int32_t room = (int32_t)c->arg[0];
    if (room < 0)
        return -EINVAL;
    if (!room)
        return p->group_count;
    if ((uint32_t)room < p->group_count)
        return -EINVAL;
    return mem_copy_out(p->mem, c->arg[1], p->groups, p->group_count * sizeof *p->groups)
               ? (int64_t)p->group_count
               : -EFAULT;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

LX_SYS(setgroups)
{
    struct lx_process *p = lx_call_process(c);
    uint32_t n = (uint32_t)c->arg[0];
    if (!privileged(p))
        return -EPERM;
    if (n > GROUPS_MAX)
        return -EINVAL;
    uint32_t *list = NULL;
    if (n) {
        list = malloc(n * sizeof *list);
        if (!list)
            return -ENOMEM;
        if (!mem_copy_in(p->mem, list, c->arg[1], n * sizeof *list)) {
            free(list);
            return -EFAULT;
        }
    }
    if (n)
        qsort(list, n, sizeof *list, by_number);
    free(p->groups);
    p->groups = list;
    p->group_count = n;
    return 0;
}

/* ---- process groups and sessions ---- */

LX_SYS(setpgid)
{
    struct lx_process *self = lx_call_process(c), *p = self;
    int32_t pid = (int32_t)c->arg[0], pgid = (int32_t)c->arg[1];
    if (pgid < 0)
        return -EINVAL;
    if (pid) {
        p = lx_process_find(c->lx, (uint32_t)pid);
        if (!p || (p != self && p->parent != self))
            return -ESRCH;
    }
    if (!pgid)
        pgid = (int32_t)p->pid;
    if (p != self && p->sid != self->sid)
        return -EPERM;
    if (p != self && p->execed)
        return -EACCES;
    if (p->sid == p->pid)
        return -EPERM;
    if ((uint32_t)pgid != p->pid && !lx_pgrp_in_session(c->lx, (uint32_t)pgid, self->sid))
        return -EPERM;
    return lx_process_join_pgrp(p, (uint32_t)pgid, p->sid);
}

static struct lx_process *named(struct lx_call *c)
{
    int32_t pid = (int32_t)c->arg[0];
    return pid ? lx_process_find(c->lx, (uint32_t)pid) : lx_call_process(c);
}

LX_SYS(getpgid)
{
    struct lx_process *p = named(c);
    return p ? (int64_t)p->pgid : -ESRCH;
}

LX_SYS(getsid)
{
    struct lx_process *p = named(c);
    return p ? (int64_t)p->sid : -ESRCH;
}

LX_SYS(setsid)
{
    struct lx_process *p = lx_call_process(c);
    if (lx_pgrp_find(c->lx, p->pid))
        return -EPERM;
    int rc = lx_process_join_pgrp(p, p->pid, p->pid);
    if (rc)
        return rc;
    p->ctty = NULL;
    return p->pid;
}
