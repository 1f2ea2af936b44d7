/*
 * linux/clone.c - fork, vfork and threads: all of them clone.
 */
#include "engine/linux/process.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define NAMESPACES                                                                                \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
     CLONE_NEWNET)
#define EXIT_SIGNAL 0xffu

static int check_flags(uint64_t flags)
{
    if ((flags & CLONE_THREAD) && !(flags & CLONE_SIGHAND))
        return -EINVAL;
    if ((flags & CLONE_SIGHAND) && !(flags & CLONE_VM))
        return -EINVAL;
    if ((flags & CLONE_FS) && (flags & CLONE_NEWNS))
        return -EINVAL;
    if (flags & NAMESPACES)
        return -EPERM;
    if (flags & CLONE_PIDFD) /* there are none yet */
        return -EINVAL;
    return (flags & EXIT_SIGNAL) > LX_SIG_COUNT ? -EINVAL : 0;
}

/* fork's copy of the address space: takes long, other threads of it must stand still. LX_BLOCKED, or 0 with *out. */
static int64_t copy_mm(struct lx_call *c, struct lx_mm **out)
{
    struct lx *lx = c->lx;
    struct lx_mm *from = c->t->p->priv->mm;
    if (from->freezer && from->freezer != c->t)
        return lx_block(c, &from->still);
    if (!lx_mm_freeze(c, from)) {
        c->no_signals = true;
        return lx_block(c, &from->still);
    }
    c->no_signals = false;
    struct lx_mm *mm = calloc(1, sizeof *mm);
    int64_t rc = -ENOMEM;
    lx_long_begin(lx);
    if (mm && !(rc = mem_space_fork(from->mem, &mm->mem))) {
        struct err err;
        if (run_space_fork(from->code, mm->mem, &mm->code, &err)) {
            mem_space_put(mm->mem);
            rc = -ENOMEM;
        }
    }
    lx_long_end(lx);
    lx_mm_freeze_end(lx, from);
    lx_wake_all(lx, &from->still);
    if (rc) {
        free(mm);
        return rc;
    }
    mm->refs = 1;
    mm->brk_start = from->brk_start;
    mm->brk = from->brk;
    mm->vdso = from->vdso;
    lx_waitq_init(&mm->still);
    list_init(&mm->parked);
    *out = mm;
    return 0;
}

static bool share_or_copy(struct lx_process *p, struct lx_process *child, uint64_t flags)
{
    struct lx_process_private *v = child->priv;
    child->files = flags & CLONE_FILES ? lx_files_get(p->files) : lx_files_clone(p->files);
    child->fs = flags & CLONE_FS ? lx_fs_get(p->fs) : lx_fs_clone(p->fs);
    if (flags & CLONE_SIGHAND) {
        v->sighand = p->priv->sighand;
        v->sighand->refs++;
    } else if ((v->sighand = lx_sighand_new())) {
        memcpy(v->sighand->act, p->priv->sighand->act, sizeof v->sighand->act);
    }
    if (p->group_count) {
        child->groups = malloc(p->group_count * sizeof *p->groups);
        if (child->groups)
            memcpy(child->groups, p->groups, p->group_count * sizeof *p->groups);
        child->group_count = child->groups ? p->group_count : 0;
    }
    child->exe_path = p->exe_path ? strdup(p->exe_path) : NULL;
    return child->files && child->fs && v->sighand && child->group_count == p->group_count &&
           !child->exe_path == !p->exe_path;
}

static void inherit(struct lx_process *p, struct lx_process *child)
{
    child->ctty = p->ctty;
    child->uid = p->uid, child->euid = p->euid, child->suid = p->suid;
    child->gid = p->gid, child->egid = p->egid, child->sgid = p->sgid;
    memcpy(child->comm, p->comm, sizeof child->comm);
    memcpy(child->rlim_cur, p->rlim_cur, sizeof child->rlim_cur);
    memcpy(child->rlim_max, p->rlim_max, sizeof child->rlim_max);
    child->arg_start = p->arg_start, child->arg_end = p->arg_end;
    child->env_start = p->env_start, child->env_end = p->env_end;
    child->stack_top = p->stack_top;
    child->priv->nice = p->priv->nice;
    child->priv->no_new_privs = p->priv->no_new_privs;
    child->priv->keep_caps = p->priv->keep_caps;
    child->priv->dumpable = p->priv->dumpable;
    if (p->priv->exe && !lx_file_exec_hold(p->priv->exe))
        child->priv->exe = lx_file_get(p->priv->exe);
}

/* Undo a process that never ran. */
static void discard(struct lx_process *child)
{
    struct lx *lx = child->lx;
    struct lx_process_private *v = child->priv;
    if (child->files)
        lx_files_put(child->files, NULL);
    if (child->fs)
        lx_fs_put(child->fs);
    if (v->exe) {
        lx_file_exec_release(v->exe);
        lx_file_put(v->exe);
    }
    lx_mm_put(lx, v->mm);
    child->parent = NULL;
    lx_process_reap(child);
}

static struct lx_process *make_process(struct lx_process *p, uint64_t flags, struct lx_mm *mm)
{
    struct lx_process *child = lx_process_new(p->lx, 0);
    if (!child)
        return NULL;
    struct lx_process_private *v = child->priv;
    v->mm = mm ? mm : lx_mm_get(p->priv->mm);
    child->mem = v->mm->mem;
    child->code = v->mm->code;
    if (!share_or_copy(p, child, flags) || lx_process_join_pgrp(child, p->pgid, p->sid)) {
        v->mm = mm ? NULL : v->mm; /* the caller's mm stays the caller's */
        discard(child);
        return NULL;
    }
    inherit(p, child);
    v->exit_signal = (int)(flags & EXIT_SIGNAL);
    v->vforked = flags & CLONE_VFORK;
    child->parent = flags & CLONE_PARENT && p->parent ? p->parent : p;
    list_append(&child->parent->children, &child->sibling);
    p->lx->fork_count++;
    return child;
}

static void start_thread(struct lx_thread *from, struct lx_thread *t, uint64_t flags, gva_t sp,
                         gva_t tls)
{
    const struct lx_arch *arch = from->lx->arch;
    lx_regs_get(from, &t->regs);
    t->regs.pc += arch->call_insn_bytes;
    t->regs.r[arch->reg_result] = 0;
    if (sp)
        t->regs.r[arch->reg_sp] = sp;
    if (flags & CLONE_SETTLS)
        t->regs.r[arch->reg_tp] = tls;
    t->sigmask = from->saved_mask_set ? from->saved_mask : from->sigmask;
    if (!(flags & CLONE_VM) || (flags & CLONE_VFORK))
        t->altstack = from->altstack;
    memcpy(t->comm, from->comm, sizeof t->comm);
    lx_enqueue(t->lx, t);
}

static int64_t new_thread(struct lx_call *c, uint64_t flags, gva_t sp, gva_t ptid, gva_t tls,
                          gva_t ctid)
{
    struct lx_process *p = lx_call_process(c);
    struct lx_thread *t = lx_thread_new(p, lx_pid_new(c->lx));
    if (!t)
        return -EAGAIN;
    if (flags & CLONE_CHILD_CLEARTID)
        t->clear_tid = ctid;
    uint32_t tid = t->tid; /* a bad address is ignored, as Linux does */
    if ((flags & CLONE_PARENT_SETTID) && !mem_copy_out(p->mem, ptid, &tid, sizeof tid))
        tid = t->tid;
    if ((flags & CLONE_CHILD_SETTID) && !mem_copy_out(p->mem, ctid, &tid, sizeof tid))
        tid = t->tid;
    start_thread(c->t, t, flags, sp, tls);
    return tid;
}

static int64_t vfork_wait(struct lx_call *c)
{
    uint32_t pid = (uint32_t)c->progress[0];
    struct lx_process *child = lx_process_find(c->lx, pid);
    if (!child || !child->priv->vforked)
        return pid;
    c->no_signals = true;
    return lx_block(c, &child->priv->vfork_wait);
}

int64_t lx_clone(struct lx_call *c, uint64_t flags, gva_t sp, gva_t ptid, gva_t tls, gva_t ctid)
{
    struct lx *lx = c->lx;
    struct lx_process *p = lx_call_process(c);
    if (c->progress[0])
        return vfork_wait(c);
    int rc = check_flags(flags);
    if (rc)
        return rc;
    if (MAX(lx->thread_count, lx->process_count) >=
        lx->config.processes_max) /* zombies count too */
        return -EAGAIN;
    if (flags & CLONE_THREAD)
        return new_thread(c, flags, sp, ptid, tls, ctid);
    struct lx_mm *mm = NULL;
    if (!(flags & CLONE_VM)) {
        int64_t copied = copy_mm(c, &mm);
        if (copied || c->t->dying || lx->ending) {
            lx_mm_put(lx, mm);
            return copied;
        }
    }
    if (MAX(lx->thread_count, lx->process_count) >= lx->config.processes_max) { /* others forked meanwhile */
        lx_mm_put(lx, mm);
        return -EAGAIN;
    }
    struct lx_process *child = make_process(p, flags, mm);
    struct lx_thread *t = child ? lx_thread_new(child, child->pid) : NULL;
    if (!t) {
        if (child)
            discard(child);
        else
            lx_mm_put(lx, mm);
        return -EAGAIN;
    }
    uint32_t pid = child->pid;
    if (flags & CLONE_CHILD_CLEARTID)
        t->clear_tid = ctid;
    bool told = true; /* bad addresses are ignored, as Linux does */
    if (flags & CLONE_CHILD_SETTID)
        told = mem_copy_out(child->mem, ctid, &pid, sizeof pid);
    if (flags & CLONE_PARENT_SETTID)
        told &= mem_copy_out(p->mem, ptid, &pid, sizeof pid);
    (void)told;
    start_thread(c->t, t, flags, sp, tls);
    if (!(flags & CLONE_VFORK))
        return pid;
    c->progress[0] = pid;
    return vfork_wait(c);
}

LX_SYS(clone)
{
    return lx_clone(c, (uint32_t)c->arg[0], c->arg[1], c->arg[2], c->arg[3], c->arg[4]);
}

LX_SYS(set_tid_address)
{
    c->t->clear_tid = c->arg[0];
    return c->t->tid;
}
