/* Advisory locks: POSIX record locks (owner: the descriptor table), open-file-description locks and flock (owner: the file). */
#include "engine/linux/vfs.h"

#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

struct guest_flock {
    int16_t type, whence;
    int32_t pad0;
    int64_t start, len;
    int32_t pid, pad1;
};
_Static_assert(sizeof(struct guest_flock) == 32, "struct flock of asm-generic, 64 bit");

static void locks_changed(struct lx_vfs *v)
{
    lx_wake_all(v->lx, &v->lock_wait);
}

void lx_locks_drop(struct lx_inode *i, const void *owner)
{
    bool any = false;
    list_for_each_safe(p, &i->locks)
    {
        struct lx_lock *l = list_entry(p, struct lx_lock, link);
        if (l->owner != owner)
            continue;
        list_remove(p);
        free(l);
        i->sb->vfs->lock_count--;
        any = true;
    }
    if (any)
        locks_changed(i->sb->vfs);
}

static struct lx_lock *conflict(struct lx_inode *i, const struct lx_lock *want)
{
    list_for_each(p, &i->locks)
    {
        struct lx_lock *l = list_entry(p, struct lx_lock, link);
        if (l->flock == want->flock && l->owner != want->owner && (l->write || want->write) &&
            l->start <= want->end && want->start <= l->end)
            return l;
    }
    return NULL;
}

static struct lx_lock *lock_copy(const struct lx_lock *like, uint64_t start, uint64_t end)
{
    struct lx_lock *l = malloc(sizeof *l);
    if (l) {
        *l = *like;
        l->start = start;
        l->end = end;
        list_init(&l->link);
    }
    return l;
}

#define LOCKS_MAX 65536u

/* Set [start, end] of want's owner to want's type (add) or to nothing; neighbours of the same type join. */
static int set_range(struct lx_inode *i, struct lx_lock *want, bool add)
{
    struct lx_vfs *v = i->sb->vfs;
    /* Both may be needed: the tail of a lock that is cut in two, and the new one. */
    struct lx_lock *tail = NULL, *fresh = NULL;
    if (v->lock_count >= LOCKS_MAX)
        return -ENOLCK;
    if (!(tail = lock_copy(want, 0, 0)) || !(fresh = lock_copy(want, 0, 0))) {
        free(tail);
        return -ENOLCK;
    }
    uint64_t start = want->start, end = want->end;
    list_for_each_safe(p, &i->locks)
    {
        struct lx_lock *l = list_entry(p, struct lx_lock, link);
        if (l->owner != want->owner || l->flock != want->flock)
            continue;
        bool same = add && l->write == want->write;
        bool touches = l->start <= end && start <= l->end;
        bool near = same && ((l->end != UINT64_MAX && l->end + 1 == start) ||
                             (end != UINT64_MAX && end + 1 == l->start));
        if (!touches && !near)
            continue;
        if (same) {
            start = MIN(start, l->start);
            end = MAX(end, l->end);
            list_remove(p);
            free(l);
            v->lock_count--;
        } else if (l->start < want->start && l->end > want->end) { /* in two */
            *tail = *l;
            tail->start = want->end + 1;
            l->end = want->start - 1;
            list_insert_before(p->next, &tail->link);
            tail = NULL;
            v->lock_count++;
            break;
        } else if (l->start < want->start) {
            l->end = want->start - 1;
        } else if (l->end > want->end) {
            l->start = want->end + 1;
        } else {
            list_remove(p);
            free(l);
            v->lock_count--;
        }
    }
    if (add) {
        fresh->start = start;
        fresh->end = end;
        list_append(&i->locks, &fresh->link);
        fresh = NULL;
        v->lock_count++;
    }
    free(tail);
    free(fresh);
    locks_changed(v);
    return 0;
}

/* The absolute range of a struct flock. */
static int range_of(struct lx_file *f, const struct guest_flock *g, uint64_t *start, uint64_t *end)
{
    int64_t base = g->whence == SEEK_SET   ? 0
                   : g->whence == SEEK_CUR ? (int64_t)f->pos
                                           : (int64_t)lx_inode_size(f->inode),
            at, last;
    if (g->whence != SEEK_SET && g->whence != SEEK_CUR && g->whence != SEEK_END)
        return -EINVAL;
    if (__builtin_add_overflow(base, g->start, &at))
        return -EOVERFLOW;
    if (at < 0)
        return -EINVAL;
    if (!g->len) {
        *start = (uint64_t)at;
        *end = UINT64_MAX;
        return 0;
    }
    if (g->len > 0) {
        if (__builtin_add_overflow(at, g->len - 1, &last))
            return -EOVERFLOW;
    } else {
        last = at - 1;
        if (__builtin_add_overflow(at, g->len, &at) || at < 0)
            return -EINVAL;
    }
    *start = (uint64_t)at;
    *end = (uint64_t)last;
    return 0;
}

static int64_t get_lock(struct lx_call *c, struct lx_file *f, struct lx_lock *want,
                        struct guest_flock *g, uint64_t arg)
{
    struct lx_lock *l = conflict(f->inode, want);
    if (!l) {
        g->type = F_UNLCK;
    } else {
        g->type = l->write ? F_WRLCK : F_RDLCK;
        g->whence = SEEK_SET;
        g->start = (int64_t)l->start;
        g->len = l->end == UINT64_MAX ? 0 : (int64_t)(l->end - l->start + 1);
        g->pid = (int32_t)l->pid;
    }
    return lx_put(c, arg, g, sizeof *g);
}

/* Wait until somebody gives a lock back. */
static int64_t wait_lock(struct lx_call *c, struct lx_file *f)
{
    if (c->wake == LX_WAKE_SIGNAL)
        return lx_interrupted(c, LX_RESTART_SA);
    if (!c->held)
        c->held = lx_file_get(f);
    return lx_block(c, &f->vfs->lock_wait);
}

int64_t lx_lock_fcntl(struct lx_call *c, struct lx_file *f, uint32_t cmd, uint64_t arg)
{
    struct guest_flock g;
    struct lx_lock want = {.owner = lx_call_process(c)->files, .pid = lx_call_process(c)->pid};
    bool get = cmd == F_GETLK || cmd == 36;
    if (lx_get(c, arg, &g, sizeof g))
        return -EFAULT;
    if (cmd >= 36) {
        if (g.pid)
            return -EINVAL;
        want.owner = f;
        want.pid = UINT32_MAX;
    }
    if ((g.type != F_RDLCK && g.type != F_WRLCK && g.type != F_UNLCK) || (get && g.type == F_UNLCK))
        return -EINVAL;
    int e = range_of(f, &g, &want.start, &want.end);
    if (e)
        return e;
    want.write = g.type == F_WRLCK;
    if (get)
        return get_lock(c, f, &want, &g, arg);
    if ((g.type == F_RDLCK && !lx_readable(f)) || (g.type == F_WRLCK && !lx_writable(f)))
        return -EBADF;
    if (g.type == F_UNLCK)
        return set_range(f->inode, &want, false);
    if (!conflict(f->inode, &want))
        return set_range(f->inode, &want, true);
    if (cmd == F_SETLK || cmd == 37)
        return -EAGAIN;
    return wait_lock(c, f);
}

static int64_t do_flock(struct lx_call *c, struct lx_file *f)
{
    uint32_t op = (uint32_t)c->arg[1], kind = op & ~(uint32_t)LOCK_NB;
    struct lx_lock want = {.flock = true, .owner = f, .end = UINT64_MAX, .write = kind == LOCK_EX};
    if (kind != LOCK_SH && kind != LOCK_EX && kind != LOCK_UN)
        return -EINVAL;
    if (kind == LOCK_UN)
        return set_range(f->inode, &want, false);
    if (!conflict(f->inode, &want))
        return set_range(f->inode, &want, true);
    /* A change of kind gives the old lock back first (flock(2)). */
    set_range(f->inode, &want, false);
    return (op & LOCK_NB) ? -EAGAIN : wait_lock(c, f);
}

LX_SYS(flock)
{
    struct lx_file *f = lx_call_file(c, (int32_t)c->arg[0]);
    return f ? lx_finish(c, do_flock(c, f)) : -EBADF;
}
