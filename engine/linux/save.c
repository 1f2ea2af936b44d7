/*
 * linux/save.c - a paused guest's processes and threads into a snapshot.
 */
#include "engine/linux/save.h"

#include <stdlib.h>

struct saving {
    struct lx *lx;
    struct snap_writer *w;
    struct err *err;
    res_code_t rc;
    uint64_t mark;
    uint32_t mm_count, sighand_count;
    bool write;    /* the walk over spaces: count, then write */
    uint64_t *ids; /* objects already written */
    size_t id_count, id_room;
};

static void put_pending(struct snap_writer *w, const struct lx_pending *q)
{
    uint32_t n = 0;
    list_for_each(l, &q->queue) n++;
    snap_put_u64(w, q->set);
    snap_put_u64(w, n);
    list_for_each(l, &q->queue)
    {
        const struct lx_siginfo *i = &list_entry(l, struct lx_sigentry, link)->info;
        snap_put_bytes(w, i, sizeof *i);
    }
}

static void put_timer(struct snap_writer *w, const struct lx_timer *tm)
{
    snap_put_u64(w, tm->armed ? tm->at_ns : UINT64_MAX);
}

/* ---- what processes share ---- */

static bool is_new_id(struct saving *s, uint64_t id)
{
    for (size_t i = 0; i < s->id_count; i++)
        if (s->ids[i] == id)
            return false;
    if (s->id_count == s->id_room) {
        size_t room = s->id_room ? 2 * s->id_room : 16;
        uint64_t *ids = realloc(s->ids, room * sizeof *ids);
        if (!ids) {
            s->rc = err_set(s->err, ERR_NO_MEMORY, "snapshot: list of objects");
            return false;
        }
        s->ids = ids;
        s->id_room = room;
    }
    s->ids[s->id_count++] = id;
    return true;
}

static void save_object(struct saving *s, struct mem_object *o)
{
    uint64_t id = mem_object_snap_id(o);
    if (s->rc || !id || (id & 1) || !is_new_id(s, id)) /* odd: the file side's */
        return;
    snap_put_u64(s->w, id);
    s->rc = mem_object_save(o, s->w, s->err);
}

static void save_objects_of(void *ctx, struct lx_process *p)
{
    struct saving *s = ctx;
    struct mem_map_info map;
    if (p->zombie)
        return;
    for (gva_t at = 0; !s->rc && mem_find(p->mem, at, &map); at = map.end)
        if (map.object)
            save_object(s, map.object);
}

static void save_mm(void *ctx, struct lx_process *p)
{
    struct saving *s = ctx;
    struct lx_mm *mm = p->priv->mm;
    if (s->rc || !mm)
        return;
    if (!s->write) {
        if (mm->snap_mark != s->mark) {
            mm->snap_mark = s->mark;
            mm->snap_index = s->mm_count++;
        }
        return;
    }
    if (mm->snap_index != s->mm_count) /* written with another process */
        return;
    s->mm_count++;
    snap_put_u64(s->w, mm->brk_start);
    snap_put_u64(s->w, mm->brk);
    snap_put_u64(s->w, mm->vdso);
    s->rc = mem_space_save(mm->mem, s->w, s->err);
}

static void save_sighand(void *ctx, struct lx_process *p)
{
    struct saving *s = ctx;
    struct lx_sighand *h = p->priv->sighand;
    if (!s->write) {
        if (h->snap_mark != s->mark) {
            h->snap_mark = s->mark;
            h->snap_index = s->sighand_count++;
        }
    } else if (h->snap_index == s->sighand_count) {
        s->sighand_count++;
        snap_put_bytes(s->w, h->act, sizeof h->act);
    }
}

/* ---- processes and threads ---- */

static void put_ids(struct snap_writer *w, const struct lx_process *p)
{
    const uint32_t ids[] = {p->pid, p->pgid, p->sid, lx_process_ppid(p), p->uid, p->euid, p->suid,
                            p->gid, p->egid, p->sgid};
    snap_put_bytes(w, ids, sizeof ids);
    snap_put_bytes(w, p->groups, p->group_count * sizeof *p->groups);
}

static void save_process(void *ctx, struct lx_process *p)
{
    struct saving *s = ctx;
    struct snap_writer *w = s->w;
    const struct lx_process_private *v = p->priv;
    snap_begin(w, LX_SNAP_PROCESS, LX_SNAP_VERSION);
    put_ids(w, p);
    snap_put_bytes(w, p->comm, sizeof p->comm);
    snap_put_str(w, p->exe_path);
    const uint64_t numbers[] = {p->arg_start,         p->arg_end,        p->env_start,
                                p->env_end,           p->stack_top,      p->start_ns,
                                lx_process_cpu_ns(p), p->children_cpu_ns};
    snap_put_bytes(w, numbers, sizeof numbers);
    snap_put_bytes(w, p->rlim_cur, sizeof p->rlim_cur);
    snap_put_bytes(w, p->rlim_max, sizeof p->rlim_max);
    const uint32_t flags = p->zombie | p->stopped << 1 | p->execed << 2 | v->vforked << 3 |
                           v->exiting << 4 | v->stop_pending << 5 | v->continue_pending << 6 |
                           v->no_new_privs << 7 | v->keep_caps << 8 | v->dumpable << 9 |
                           v->unreported << 10;
    snap_put_u64(w, flags);
    snap_put_u64(w, (uint32_t)v->stop_signal);
    snap_put_u64(w, (uint32_t)v->exit_signal);
    snap_put_u64(w, (uint32_t)v->exit_status);
    snap_put_u64(w, (uint32_t)v->pdeath_signal);
    snap_put_u64(w, (uint32_t)(v->nice + 20));
    snap_put_u64(w, v->sighand->snap_index);
    snap_put_u64(w, v->mm ? v->mm->snap_index : LX_SNAP_NONE);
    snap_put_u64(w, p->files ? lx_files_snap_id(p->files) : 0);
    snap_put_u64(w, p->fs ? lx_fs_snap_id(p->fs) : 0);
    snap_put_u64(w, p->ctty ? lx_tty_snap_id(p->ctty) : 0);
    snap_put_u64(w, v->exe ? lx_file_snap_id(v->exe) : 0);
    put_pending(w, &v->pending);
    put_timer(w, &v->real_timer);
    snap_put_u64(w, v->real_interval_ns);
    for (int i = 0; i < 2; i++) {
        put_timer(w, &v->cpu_timer[i].timer);
        snap_put_u64(w, v->cpu_timer[i].at_cpu_ns);
        snap_put_u64(w, v->cpu_timer[i].interval_ns);
    }
    snap_end(w);
}

static void put_call(struct snap_writer *w, const struct lx_thread *t)
{
    const struct lx_call *c = &t->call;
    snap_put_u64(w, t->in_call);
    if (!t->in_call)
        return;
    snap_put_u64(w, c->nr);
    snap_put_u64(w, c->runs);
    snap_put_u64(w, c->no_signals);
    snap_put_u64(w, (uint32_t)t->restart);
    snap_put_u64(w, c->wake);
    snap_put_u64(w, c->deadline_ns);
    snap_put_bytes(w, c->arg, sizeof c->arg);
    snap_put_bytes(w, c->progress, sizeof c->progress);
    snap_put_u64(w, c->held ? lx_file_snap_id(c->held) : 0);
}

static void save_thread(struct saving *s, const struct lx_thread *t)
{
    struct snap_writer *w = s->w;
    snap_begin(w, LX_SNAP_THREAD, LX_SNAP_VERSION);
    snap_put_u64(w, t->p->pid);
    snap_put_u64(w, t->tid);
    snap_put_u64(w, t->state);
    snap_put_u64(w, t->dying);
    snap_put_u64(w, (uint32_t)t->exit_status);
    snap_put_bytes(w, &t->regs, sizeof t->regs);
    put_call(w, t);
    snap_put_u64(w, t->sigmask);
    snap_put_u64(w, t->saved_mask);
    snap_put_u64(w, t->saved_mask_set);
    put_pending(w, &t->pending);
    snap_put_u64(w, t->altstack.sp);
    snap_put_u64(w, t->altstack.size);
    snap_put_u64(w, t->altstack.flags);
    snap_put_u64(w, t->clear_tid);
    snap_put_u64(w, t->robust_list);
    snap_put_bytes(w, t->comm, sizeof t->comm);
    snap_end(w);
}

static int tid_order(struct lx_thread *a, struct lx_thread *b)
{
    return a->tid < b->tid ? -1 : a->tid > b->tid;
}

static void save_head(struct saving *s)
{
    struct lx *lx = s->lx;
    struct snap_writer *w = s->w;
    snap_put_u64(w, lx->window_bits);
    snap_put_str(w, lx->name);
    snap_put_str(w, lx->domain);
    snap_put_u64(w, lx_monotonic_ns(lx));
    snap_put_u64(w, lx->saved_cpu_ns + lx_total_cpu_ns(lx));
    snap_put_u64(w, lx->call_count);
    snap_put_u64(w, lx->fork_count);
    snap_put_u64(w, lx->object_id);
    snap_put_u64(w, lx->next_pid);
}

static void save_shared(struct saving *s)
{
    struct snap_writer *w = s->w;
    save_object(s, s->lx->vdso);
    lx_process_each(s->lx, save_objects_of, s);
    snap_put_u64(w, 0);
    lx_process_each(s->lx, save_mm, s);
    lx_process_each(s->lx, save_sighand, s);
    snap_put_u64(w, s->mm_count);
    snap_put_u64(w, s->sighand_count);
    s->mm_count = s->sighand_count = 0;
    s->write = true;
    lx_process_each(s->lx, save_mm, s);
    lx_process_each(s->lx, save_sighand, s);
}

static void save_all(struct saving *s)
{
    struct lx *lx = s->lx;
    snap_begin(s->w, LX_SNAP_TAG, LX_SNAP_VERSION);
    save_head(s);
    s->rc = lx_vfs_save(lx->vfs, s->w, s->err);
    if (s->rc)
        return;
    save_shared(s);
    snap_put_u64(s->w, lx->process_count);
    snap_put_u64(s->w, lx->thread_count);
    lx_process_each(lx, save_process, s);
    HASH_SRT(by_tid, lx->threads, tid_order);
    struct lx_thread *t, *next;
    HASH_ITER(by_tid, lx->threads, t, next)
    save_thread(s, t);
    snap_end(s->w);
}

res_t lx_save(struct lx *lx, struct snap_writer *w, struct err *err)
{
    struct saving s = {.lx = lx, .w = w, .err = err};
    lx_lock(lx);
    s.mark = ++lx->visits;
    if (!lx->pausing || lx->active)
        s.rc = err_set(err, ERR_STATE, "the guest is not paused");
    else if (lx->ending)
        s.rc = err_set(err, ERR_STATE, "the guest has ended");
    else
        save_all(&s);
    lx_unlock(lx);
    free(s.ids);
    return s.rc ? FAIL : OK;
}
