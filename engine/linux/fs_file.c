/* Open files, what the calls on them share, and moving bytes between them and the guest's memory. */
#include "engine/linux/vfs.h"

#include <stdlib.h>
#include <string.h>

#define FILES_MAX 65536u /* of a guest: file-max */

/* ---- lifetime ---- */

struct lx_file *lx_file_new(struct lx_vfs *v, struct lx_dentry *d, uint32_t flags,
                            const struct lx_file_ops *ops)
{
    struct lx_file *f = v->file_count < FILES_MAX ? calloc(1, sizeof *f) : NULL;
    if (!f)
        return NULL;
    f->vfs = v;
    f->ops = ops;
    f->refs = 1;
    f->flags = flags;
    f->dentry = lx_dentry_get(d);
    f->inode = lx_inode_get(d->inode);
    list_append(&v->files, &f->all);
    v->file_count++;
    return f;
}

struct lx_file *lx_file_get(struct lx_file *f)
{
    f->refs++;
    return f;
}

void lx_file_put(struct lx_file *f)
{
    ASSERT(f->refs);
    if (--f->refs)
        return;
    struct lx_vfs *v = f->vfs;
    if (!list_empty(&f->inode->locks))
        lx_locks_drop(f->inode, f);
    if (f->ops && f->ops->release)
        f->ops->release(f);
    list_remove(&f->all);
    v->file_count--;
    lx_dentry_put(f->dentry);
    lx_inode_put(f->inode);
    free(f);
}

char *lx_file_path(struct lx_file *f)
{
    return lx_dentry_path(f->dentry, f->vfs->sb[LX_SB_ROOT].root, true);
}

struct lx_dentry *lx_nameless(struct lx_sb *sb, struct lx_inode *i, const char *text)
{
    return lx_dentry_new(sb, NULL, text, strlen(text), i);
}

const struct lx_file_ops lx_path_ops = {0};

int64_t lx_file_open(struct lx_call *c, struct lx_dentry *d, uint32_t flags, struct lx_file **out)
{
    struct lx_inode *i = d->inode;
    if (flags & O_PATH) {
        *out = lx_file_new(d->sb->vfs, d, flags, &lx_path_ops);
        return *out ? 0 : -ENFILE;
    }
    uint32_t type = i->mode & S_IFMT;
    if (type == S_IFIFO)
        return lx_fifo_open(c, d, flags, out);
    if (type == S_IFSOCK || type == S_IFBLK)
        return -ENXIO;
    if (type == S_IFREG && (flags & O_ACCMODE) != O_RDONLY && i->exec_holds)
        return -ETXTBSY;
    struct lx_file *f = lx_file_new(d->sb->vfs, d, flags, NULL);
    if (!f)
        return -ENFILE;
    int64_t e = 0;
    if (type == S_IFCHR) {
        e = lx_dev_open(c, f);
    } else {
        f->ops = type == S_IFDIR ? d->sb->ops->dir_ops : d->sb->ops->file_ops;
        e = !f->ops                ? -ENXIO
            : d->sb->ops->may_open ? d->sb->ops->may_open(lx_call_process(c), i)
                                   : 0;
    }
    if (e) {
        f->ops = NULL;
        lx_file_put(f);
        return e;
    }
    f->flags &= ~(uint32_t)O_NOCTTY;
    if (f->ops == &lx_mem_file_ops && lx_writable(f))
        i->writers++;
    *out = f;
    return 0;
}

int lx_exec_open(struct lx_process *p, int64_t dirfd, const char *path, int flags,
                 struct lx_file **f)
{
    struct lx_base b = lx_base_at(p, dirfd);
    struct lx_dentry *d;
    unsigned walk = (flags & AT_SYMLINK_NOFOLLOW) ? 0 : LX_WALK_FOLLOW;
    int e = lx_walk(&b, path, walk | ((flags & AT_EMPTY_PATH) ? LX_WALK_EMPTY : 0), &d);
    if (e)
        return e;
    if (S_ISLNK(d->inode->mode))
        e = -ELOOP;
    else if (!S_ISREG(d->inode->mode) || lx_may(&b.cred, d->inode, LX_MAY_X))
        e = -EACCES;
    else if (!d->sb->ops->writable)
        e = -EACCES; /* nothing in /proc is a program */
    else if (!(*f = lx_file_new(d->sb->vfs, d, O_RDONLY, &lx_mem_file_ops)))
        e = -ENFILE;
    lx_dentry_put(d);
    return e;
}

/* ---- calls and their files ---- */

struct lx_file *lx_call_file(struct lx_call *c, int64_t fd)
{
    if (c->held)
        return c->held;
    return lx_files_find(lx_call_process(c)->files, (int32_t)fd);
}

static void release_held(struct lx_call *c)
{
    struct lx_file *f = c->held;
    c->held = NULL;
    if (f)
        lx_file_put(f);
}

int64_t lx_finish(struct lx_call *c, int64_t result)
{
    if (result != LX_BLOCKED)
        release_held(c);
    return result;
}

void lx_call_abandon(struct lx_call *c)
{
    release_held(c);
}

int64_t lx_file_wait(struct lx_call *c, struct lx_file *f, int64_t done)
{
    if (f->flags & O_NONBLOCK)
        return done ? done : -EAGAIN;
    if (c->wake == LX_WAKE_SIGNAL)
        return done ? done : lx_interrupted(c, LX_RESTART_SA);
    if (c->wake == LX_WAKE_TIMEOUT && c->deadline_ns != LX_NO_DEADLINE &&
        lx_monotonic_ns(c->lx) >= c->deadline_ns)
        return done ? done : -EAGAIN;
    if (!c->held)
        c->held = lx_file_get(f);
    f->ops->poll(f, c);
    return LX_BLOCKED;
}

int64_t lx_yield(struct lx_call *c)
{
    c->deadline_ns = 0;
    return lx_block(c, NULL);
}

/* ---- guest memory ---- */

int lx_get(struct lx_call *c, uint64_t addr, void *p, size_t n)
{
    return mem_copy_in(lx_call_mem(c), p, addr, n) ? 0 : -EFAULT;
}

int lx_put(struct lx_call *c, uint64_t addr, const void *p, size_t n)
{
    return mem_copy_out(lx_call_mem(c), addr, p, n) ? 0 : -EFAULT;
}

void lx_iter_kernel(struct lx_iter *it, void *p, size_t n)
{
    *it = (struct lx_iter){.kernel = p, .left = n};
}

void lx_iter_one(struct lx_iter *it, struct mem_space *mem, uint64_t base, uint64_t n)
{
    *it = (struct lx_iter){.mem = mem, .one = {base, n}, .count = 1, .left = n};
    it->iov = &it->one; /* the iterator is used where it is made */
}

int lx_iter_vec(struct lx_iter *it, struct mem_space *mem, uint64_t iov, uint64_t count)
{
    *it = (struct lx_iter){.mem = mem, .iov = it->few};
    if (count > 1024)
        return -EINVAL;
    if (count > ARRAY_LEN(it->few) && !(it->iov = malloc(count * sizeof *it->iov)))
        return -ENOMEM;
    it->count = (uint32_t)count;
    int e = mem_copy_in(mem, it->iov, iov, count * sizeof *it->iov) ? 0 : -EFAULT;
    for (uint32_t k = 0; !e && k < it->count; k++) {
        if (it->iov[k].len > INT64_MAX) {
            e = -EINVAL;
            break;
        }
        it->iov[k].len = MIN(it->iov[k].len, LX_RW_MAX - it->left);
        it->left += it->iov[k].len;
    }
    if (e)
        lx_iter_fini(it);
    return e;
}

void lx_iter_fini(struct lx_iter *it)
{
    if (it->iov != it->few && it->iov != &it->one)
        free(it->iov);
    it->iov = NULL;
    it->count = 0;
}

void lx_iter_skip(struct lx_iter *it, uint64_t n)
{
    n = MIN(n, it->left);
    it->left -= n;
    if (!it->mem) {
        it->kernel += n;
        return;
    }
    while (n) {
        uint64_t here = MIN(n, it->iov[it->at].len - it->off);
        it->off += here;
        n -= here;
        if (it->off == it->iov[it->at].len && n) {
            it->at++;
            it->off = 0;
        }
    }
}

static size_t iter_move(struct lx_iter *it, void *p, size_t n, bool out)
{
    size_t done = 0;
    n = MIN(n, it->left);
    if (!it->mem) {
        if (out)
            memcpy(it->kernel, p, n);
        else
            memcpy(p, it->kernel, n);
        lx_iter_skip(it, n);
        return n;
    }
    while (done < n) {
        struct lx_iov *v = &it->iov[it->at];
        if (it->off == v->len) {
            it->at++;
            it->off = 0;
            continue;
        }
        size_t here = MIN(n - done, v->len - it->off), moved;
        char *at = (char *)p + done;
        moved = out ? mem_copy_out_some(it->mem, v->base + it->off, at, here)
                    : mem_copy_in_some(it->mem, at, v->base + it->off, here);
        it->off += moved;
        it->left -= moved;
        done += moved;
        if (moved < here)
            break;
    }
    return done;
}

size_t lx_iter_put(struct lx_iter *it, const void *p, size_t n)
{
    return iter_move(it, (void *)(uintptr_t)p, n, true);
}

size_t lx_iter_get(struct lx_iter *it, void *p, size_t n)
{
    return iter_move(it, p, n, false);
}
