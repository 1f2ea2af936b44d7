/*
 * linux/restore.c - a guest from a snapshot. The records are hostile: every number is checked before it means anything; what
 * cannot be is refused, and what was built so far is freed as any guest is.
 */
#include "engine/linux/save.h"

#include <stdlib.h>
#include <string.h>

struct loading {
    struct lx *lx;
    struct snap_reader *r;
    struct err *err;
    struct mem_object **objects;
    size_t object_count, object_room;
    struct lx_mm **mms;
    struct lx_sighand **sighands;
    uint32_t mm_count, sighand_count;
};

static struct mem_object *object_by_id(void *ctx, uint64_t id)
{
    struct loading *l = ctx;
    if (id & 1)
        return lx_vfs_object_by_snap_id(l->lx->vfs, id);
    for (size_t i = 0; i < l->object_count; i++)
        if (mem_object_snap_id(l->objects[i]) == id)
            return l->objects[i];
    return NULL;
}

static bool get_pending(struct loading *l, struct lx_process *p, struct lx_pending *q)
{
    uint64_t set = snap_get_u64(l->r);
    uint32_t n = (uint32_t)snap_get_max(l->r, LX_SIG_QUEUE_MAX + LX_SIG_COUNT, "pending signals");
    for (uint32_t i = 0; i < n && !l->r->failed; i++) {
        struct lx_sigentry *e = malloc(sizeof *e);
        if (!e) {
            snap_refuse(l->r, "no memory for a signal");
            return false;
        }
        if (!snap_get_exact(l->r, &e->info, sizeof e->info) || e->info.signo < 1 ||
            e->info.signo > LX_SIG_COUNT || !(set & LX_BIT(e->info.signo))) {
            snap_refuse(l->r, "pending signal %u of process %u is none", i, p->pid);
            free(e);
            return false;
        }
        list_append(&q->queue, &e->link);
        p->priv->queued++;
    }
    q->set = set;
    return !l->r->failed;
}

static void get_name(struct snap_reader *r, char *to, size_t n)
{
    char *s = snap_get_str(r, n - 1);
    if (s)
        snprintf(to, n, "%s", s);
    free(s);
}

/* ---- what processes share ---- */

static res_t load_head(struct loading *l)
{
    struct lx *lx = l->lx;
    struct snap_reader *r = l->r;
    uint32_t bits = (uint32_t)snap_get_u64(r);
    if (!r->failed && bits != lx->window_bits)
        snap_refuse(r, "the snapshot's windows have %u bits, this guest's %u", bits,
                    lx->window_bits);
    get_name(r, lx->name, sizeof lx->name);
    get_name(r, lx->domain, sizeof lx->domain);
    lx->clock_stopped_ns = snap_get_max(r, INT64_MAX, "monotonic time");
    lx->realtime_base_ns -=
        MIN(lx->clock_stopped_ns, lx->realtime_base_ns); /* the wall clock is the host's again */
    lx->saved_cpu_ns = snap_get_max(r, INT64_MAX, "CPU time");
    lx->call_count = snap_get_u64(r);
    lx->fork_count = snap_get_u64(r);
    lx->object_id = snap_get_max(r, INT64_MAX, "object number") & ~(uint64_t)1;
    uint64_t next = snap_get_max(r, LX_SNAP_PID_MAX - 1, "next pid");
    lx->next_pid = (uint32_t)MAX(next, (uint64_t)1);
    return snap_check(r, l->err);
}

static res_t load_objects(struct loading *l)
{
    for (uint64_t id; (id = snap_get_u64(l->r)) && !l->r->failed;) {
        if ((id & 1) || id > l->lx->object_id || object_by_id(l, id)) {
            snap_refuse(l->r, "memory object %llu", (unsigned long long)id);
            break;
        }
        if (l->object_count == l->object_room) {
            size_t room = l->object_room ? 2 * l->object_room : 16;
            struct mem_object **more = realloc(l->objects, room * sizeof(*more));
            if (!more)
                return err_set(l->err, ERR_NO_MEMORY, "snapshot: memory objects");
            l->objects = more;
            l->object_room = room;
        }
        struct mem_object *o;
        if (mem_object_load(l->lx->config.pool, l->r, &o, l->err))
            return FAIL;
        mem_object_set_snap_id(o, id);
        l->objects[l->object_count++] = o;
    }
    if (snap_check(l->r, l->err))
        return FAIL;
    if (!l->object_count || mem_object_size(l->objects[0]) != LX_VDSO_BYTES)
        return err_set(l->err, ERR_BAD_SNAPSHOT, "the vdso is missing");
    l->lx->vdso = mem_object_get(l->objects[0]);
    return OK;
}

static res_t load_mm(struct loading *l, uint32_t index)
{
    struct lx_mm *mm = calloc(1, sizeof *mm);
    if (!mm)
        return err_set(l->err, ERR_NO_MEMORY, "address space %u", index);
    mm->refs = 1;
    lx_waitq_init(&mm->still);
    list_init(&mm->parked);
    mm->brk_start = snap_get_max(l->r, lx_window_end(l->lx), "start of the heap");
    mm->brk = snap_get_max(l->r, lx_window_end(l->lx), "end of the heap");
    mm->vdso = snap_get_u64(l->r);
    if (mem_space_load(l->lx->config.pool, l->r, object_by_id, l, &mm->mem, l->err)) {
        free(mm);
        return FAIL;
    }
    if (run_space_new(l->lx->config.engine, mm->mem, &mm->code, l->err)) {
        mem_space_put(mm->mem);
        free(mm);
        return FAIL;
    }
    l->mms[index] = mm;
    return OK;
}

static res_t load_shared(struct loading *l)
{
    uint32_t max = l->lx->config.processes_max,
             mms = (uint32_t)snap_get_max(l->r, max, "address spaces");
    uint32_t sighands = (uint32_t)snap_get_max(l->r, max, "handler tables");
    if (snap_check(l->r, l->err))
        return FAIL;
    l->mms = calloc(mms + 1, sizeof(*l->mms));
    l->sighands = calloc(sighands + 1, sizeof(*l->sighands));
    if (!l->mms || !l->sighands)
        return err_set(l->err, ERR_NO_MEMORY, "snapshot: address spaces");
    for (; l->mm_count < mms; l->mm_count++)
        if (load_mm(l, l->mm_count))
            return FAIL;
    for (; l->sighand_count < sighands; l->sighand_count++) {
        struct lx_sighand *h = l->sighands[l->sighand_count] = lx_sighand_new();
        if (!h)
            return err_set(l->err, ERR_NO_MEMORY, "snapshot: handler tables");
        snap_get_exact(l->r, h->act, sizeof h->act);
        for (int i = 0; i < LX_SIG_COUNT; i++)
            h->act[i].mask &= ~LX_SIG_UNBLOCKABLE;
        h->act[SIGKILL - 1].handler = h->act[SIGSTOP - 1].handler = LX_SIG_DFL;
    }
    return snap_check(l->r, l->err);
}

/* ---- processes ---- */

static uint32_t get_bounded_signal(struct loading *l)
{
    return (uint32_t)snap_get_max(l->r, LX_SIG_COUNT, "signal number");
}

static bool valid_number(uint32_t id)
{
    return id >= 1 && id < LX_SNAP_PID_MAX;
}

/* Makes the process with its numbers; parents come before their children are asked for by number, later (link_family). */
static struct lx_process *load_ids(struct loading *l, uint32_t *ppid)
{
    uint32_t ids[10];
    if (!snap_get_exact(l->r, ids, sizeof ids))
        return NULL;
    if (!valid_number(ids[0]) || !valid_number(ids[1]) || !valid_number(ids[2]) ||
        lx_process_find(l->lx, ids[0])) {
        snap_refuse(l->r, "process %u", ids[0]);
        return NULL;
    }
    struct lx_process *p = lx_process_new(l->lx, ids[0]);
    struct lx_sighand *none = p ? lx_sighand_new() : NULL; /* so that it can be freed at any time */
    if (!none) {
        snap_refuse(l->r, "no memory for process %u", ids[0]);
        return NULL;
    }
    p->priv->sighand = none;
    *ppid = ids[3];
    p->uid = ids[4], p->euid = ids[5], p->suid = ids[6], p->gid = ids[7], p->egid = ids[8],
    p->sgid = ids[9];
    if (lx_process_join_pgrp(p, ids[1], ids[2]) || !lx_pgrp_in_session(l->lx, ids[1], ids[2]))
        snap_refuse(l->r, "process group of process %u", ids[0]);
    size_t n = 0;
    const void *groups = snap_get_bytes(l->r, 65536 * sizeof *p->groups, &n);
    if (n) {
        p->groups = malloc(n);
        if (p->groups)
            memcpy(p->groups, groups, n);
        p->group_count = p->groups ? (uint32_t)(n / sizeof *p->groups) : 0;
    }
    return p;
}

static void load_state(struct loading *l, struct lx_process *p)
{
    struct lx_process_private *v = p->priv;
    struct snap_reader *r = l->r;
    uint64_t numbers[8] = {0};
    snap_get_exact(r, p->comm, sizeof p->comm);
    p->comm[sizeof p->comm - 1] = 0;
    p->exe_path = snap_get_str(r, LX_PATH_MAX + 16);
    snap_get_exact(r, numbers, sizeof numbers);
    p->arg_start = numbers[0], p->arg_end = numbers[1], p->env_start = numbers[2],
    p->env_end = numbers[3];
    p->stack_top = numbers[4], p->start_ns = numbers[5], p->cpu_ns = numbers[6],
    p->children_cpu_ns = numbers[7];
    snap_get_exact(r, p->rlim_cur, sizeof p->rlim_cur);
    snap_get_exact(r, p->rlim_max, sizeof p->rlim_max);
    uint32_t flags = (uint32_t)snap_get_u64(r);
    p->zombie = flags & 1, p->stopped = flags >> 1 & 1, p->execed = flags >> 2 & 1;
    v->vforked = flags >> 3 & 1, v->exiting = flags >> 4 & 1, v->stop_pending = flags >> 5 & 1;
    v->continue_pending = flags >> 6 & 1, v->no_new_privs = flags >> 7 & 1,
    v->keep_caps = flags >> 8 & 1;
    v->dumpable = flags >> 9 & 1;
    v->unreported = p->zombie && (flags >> 10 & 1);
    v->stop_signal = (int)get_bounded_signal(l);
    v->exit_signal = (int)get_bounded_signal(l);
    v->exit_status = (int)snap_get_max(r, 0xffff, "exit status");
    v->pdeath_signal = (int)get_bounded_signal(l);
    v->nice = (int)snap_get_max(r, 39, "nice value") - 20;
}

static void load_links(struct loading *l, struct lx_process *p)
{
    struct lx_process_private *v = p->priv;
    struct lx_vfs *vfs = l->lx->vfs;
    uint32_t sighand = (uint32_t)snap_get_u64(l->r), mm = (uint32_t)snap_get_u64(l->r);
    uint64_t files = snap_get_u64(l->r), fs = snap_get_u64(l->r), tty = snap_get_u64(l->r),
             exe = snap_get_u64(l->r);
    if (l->r->failed)
        return;
    if (sighand >= l->sighand_count || (mm == LX_SNAP_NONE) != p->zombie ||
        (!p->zombie && mm >= l->mm_count)) {
        snap_refuse(l->r, "process %u: handler table %u, address space %u", p->pid, sighand, mm);
        return;
    }
    lx_sighand_put(v->sighand);
    v->sighand = l->sighands[sighand];
    v->sighand->refs++;
    p->ctty = tty ? lx_tty_by_snap_id(vfs, tty) : NULL;
    if (p->zombie)
        return;
    v->mm = lx_mm_get(l->mms[mm]);
    p->mem = v->mm->mem;
    p->code = v->mm->code;
    p->files = lx_files_by_snap_id(vfs, files);
    p->fs = lx_fs_by_snap_id(vfs, fs);
    if (!p->files || !p->fs)
        snap_refuse(l->r, "process %u has no descriptors or no directory", p->pid);
    struct lx_file *f = exe ? lx_file_by_snap_id(vfs, exe) : NULL;
    if (f && lx_file_exec_hold(f)) {
        lx_file_put(f);
        f = NULL;
    }
    v->exe = f;
}

static void load_timers(struct loading *l, struct lx_process *p)
{
    struct lx_process_private *v = p->priv;
    uint64_t at = snap_get_u64(l->r);
    v->real_interval_ns = snap_get_u64(l->r);
    if (at != UINT64_MAX && !p->zombie && !l->r->failed)
        lx_timer_set(l->lx, &v->real_timer, at);
    for (int i = 0; i < 2; i++) {
        struct lx_cpu_timer *ct = &v->cpu_timer[i];
        at = snap_get_u64(l->r);
        ct->p = p;
        ct->timer.fire = lx_cpu_timer_fired;
        ct->at_cpu_ns = snap_get_u64(l->r);
        ct->interval_ns = snap_get_u64(l->r);
        if (at != UINT64_MAX && !p->zombie && !l->r->failed)
            lx_timer_set(l->lx, &ct->timer, at);
    }
}

static void load_process(struct loading *l, uint32_t *ppid)
{
    if (!snap_open(l->r, LX_SNAP_PROCESS, LX_SNAP_VERSION))
        return;
    struct lx_process *p = load_ids(l, ppid);
    if (p && !l->r->failed) {
        load_state(l, p);
        load_links(l, p);
        if (!l->r->failed && get_pending(l, p, &p->priv->pending))
            load_timers(l, p);
    }
    snap_close(l->r);
}

/* Every process but pid 1 has a parent, and the way up ends at pid 1. */
static res_t link_family(struct loading *l, const uint32_t *ppid)
{
    struct lx *lx = l->lx;
    lx->init = lx_process_find(lx, 1);
    if (!lx->init || lx->init->zombie)
        return err_set(l->err, ERR_BAD_SNAPSHOT, "there is no process 1");
    struct lx_process *p, *next;
    uint32_t i = 0;
    HASH_ITER(by_pid, lx->processes, p, next) /* in the order they were loaded */
    {
        uint32_t up = ppid[i++];
        if (p == lx->init)
            continue;
        p->parent = lx_process_find(lx, up);
        if (!p->parent || p->parent->zombie)
            return err_set(l->err, ERR_BAD_SNAPSHOT, "process %u: parent %u", p->pid, up);
    }
    HASH_ITER(by_pid, lx->processes, p, next)
    {
        uint32_t steps = 0;
        for (struct lx_process *q = p; q->parent; q = q->parent)
            if (steps++ > lx->process_count)
                return err_set(l->err, ERR_BAD_SNAPSHOT, "process %u is its own ancestor", p->pid);
        if (p->parent)
            list_append(&p->parent->children, &p->sibling);
    }
    return OK;
}

/* ---- threads ---- */

static void load_call(struct loading *l, struct lx_thread *t)
{
    struct lx_call *c = &t->call;
    struct snap_reader *r = l->r;
    t->in_call = snap_get_max(r, 1, "in a call");
    if (!t->in_call || r->failed)
        return;
    *c = (struct lx_call){.lx = l->lx, .t = t};
    c->nr = (uint32_t)snap_get_u64(r);
    c->runs = (uint32_t)snap_get_u64(r);
    c->no_signals = snap_get_max(r, 1, "no signals");
    t->restart = (int)snap_get_max(r, LX_ERESTARTNOHAND, "restart code");
    c->wake = (enum lx_wake)snap_get_max(r, LX_WAKE_SIGNAL, "why it woke");
    c->deadline_ns = snap_get_u64(r);
    snap_get_exact(r, c->arg, sizeof c->arg);
    snap_get_exact(r, c->progress, sizeof c->progress);
    uint64_t held = snap_get_u64(r);
    if (r->failed)
        return;
    if (t->restart && t->restart < LX_ERESTARTSYS)
        snap_refuse(r, "thread %u: restart code %d", t->tid, t->restart);
    c->held = held ? lx_file_by_snap_id(l->lx->vfs, held) : NULL;
}

/* What the vCPU takes for granted (cpu/vcpu.h, rules 2 and 3). */
static void clean_regs(struct cpu_regs *regs)
{
    regs->r[0] = 0;
    regs->frm &= 7;
    regs->mxcsr = CPU_MXCSR_INIT | (regs->mxcsr & CPU_MXCSR_FLAGS) | cpu_mxcsr_rounding(regs->frm);
}

static void load_thread_state(struct loading *l, struct lx_thread *t)
{
    struct snap_reader *r = l->r;
    t->state = (enum lx_thread_state)snap_get_max(r, LX_T_STOPPED, "thread state");
    t->dying = snap_get_max(r, 1, "dying");
    t->exit_status = (int)snap_get_max(r, 0xffff, "exit status");
    snap_get_exact(r, &t->regs, sizeof t->regs);
    clean_regs(&t->regs);
    load_call(l, t);
    t->sigmask = snap_get_u64(r) & ~LX_SIG_UNBLOCKABLE;
    t->saved_mask = snap_get_u64(r) & ~LX_SIG_UNBLOCKABLE;
    t->saved_mask_set = snap_get_max(r, 1, "saved mask");
    get_pending(l, t->p, &t->pending);
    t->altstack.sp = snap_get_u64(r);
    t->altstack.size = snap_get_u64(r);
    t->altstack.flags = (uint32_t)snap_get_u64(r);
    t->clear_tid = snap_get_u64(r);
    t->robust_list = snap_get_u64(r);
    snap_get_exact(r, t->comm, sizeof t->comm);
    t->comm[sizeof t->comm - 1] = 0;
}

static void load_thread(struct loading *l)
{
    if (!snap_open(l->r, LX_SNAP_THREAD, LX_SNAP_VERSION))
        return;
    uint32_t pid = (uint32_t)snap_get_u64(l->r), tid = (uint32_t)snap_get_u64(l->r);
    struct lx_process *p = lx_process_find(l->lx, pid);
    struct lx_thread *t = NULL;
    if (!p || p->zombie || !valid_number(tid) || lx_thread_find(l->lx, tid))
        snap_refuse(l->r, "thread %u of process %u", tid, pid);
    else if (!(t = lx_thread_new(p, tid)))
        snap_refuse(l->r, "no memory for thread %u", tid);
    else
        load_thread_state(l, t);
    enum lx_thread_state was = t ? t->state : LX_T_RUNNABLE;
    if (t)
        t->state = LX_T_STOPPED; /* on no list */
    snap_close(l->r);
    if (!t || l->r->failed)
        return;
    if (was == LX_T_BLOCKED || (t->in_call && !p->stopped)) {
        /* Waits again by running its handler, before anybody else runs. */
        t->rejoin = true;
        l->lx->rejoin++;
        lx_enqueue(l->lx, t);
    } else if (!p->stopped) {
        t->poll = true; /* start_others */
    }
}

static void start_others(struct loading *l)
{
    struct lx_thread *t, *next;
    HASH_ITER(by_tid, l->lx->threads, t, next)
    {
        if (t->poll)
            lx_enqueue(l->lx, t);
        t->poll = false;
    }
}

static res_t load_people(struct loading *l)
{
    uint32_t max = l->lx->config.processes_max, n = (uint32_t)snap_get_max(l->r, max, "processes");
    uint32_t threads = (uint32_t)snap_get_max(l->r, max, "threads");
    CLEANUP(free_ptr) uint32_t *ppid = calloc(n + 1, sizeof *ppid);
    if (!ppid)
        return err_set(l->err, ERR_NO_MEMORY, "snapshot: processes");
    for (uint32_t i = 0; i < n && !l->r->failed; i++)
        load_process(l, &ppid[i]);
    if (snap_check(l->r, l->err) || link_family(l, ppid))
        return FAIL;
    for (uint32_t i = 0; i < threads && !l->r->failed; i++)
        load_thread(l);
    start_others(l);
    struct lx_process *p, *next;
    HASH_ITER(by_pid, l->lx->processes, p, next)
    if (!l->r->failed && p->zombie != list_empty(&p->threads))
        snap_refuse(l->r, "process %u has no threads", p->pid);
    if (!l->r->failed)
        HASH_ITER(by_pid, l->lx->processes, p, next)
    if (p->priv->unreported)
        lx_process_report(p);
    return snap_check(l->r, l->err);
}

static res_t load_all(struct loading *l)
{
    if (!snap_open(l->r, LX_SNAP_TAG, LX_SNAP_VERSION))
        return snap_check(l->r, l->err);
    if (load_head(l) || lx_vfs_load(l->lx, l->r, &l->lx->vfs, l->err) || load_objects(l) ||
        load_shared(l) || load_people(l))
        return FAIL;
    snap_close(l->r);
    return snap_check(l->r, l->err);
}

res_t lx_load(const struct lx_config *c, struct snap_reader *r, struct lx **out, struct err *err)
{
    struct loading l = {.r = r, .err = err};
    res_code_t rc = lx_skeleton(c, &l.lx, err);
    if (!rc) {
        l.lx->pausing = true;
        rc = load_all(&l);
    }
    if (l.lx && l.lx->vfs)
        lx_vfs_load_end(l.lx->vfs);
    for (size_t i = 0; i < l.object_count; i++)
        mem_object_put(l.objects[i]);
    for (uint32_t i = 0; i < l.mm_count; i++)
        lx_mm_put(l.lx, l.mms[i]);
    for (uint32_t i = 0; i < l.sighand_count; i++)
        lx_sighand_put(l.sighands[i]);
    free(l.objects);
    free(l.mms);
    free(l.sighands);
    if (!rc)
        rc = lx_tick_add(&l.lx->tick, err);
    if (rc) {
        if (l.lx)
            lx_free(l.lx);
        return FAIL;
    }
    l.lx->config.argv = l.lx->config.envp = NULL;
    l.lx->config.cwd = NULL;
    l.lx->config.program = NULL;
    *out = l.lx;
    return OK;
}
