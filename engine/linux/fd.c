/* Descriptor tables and fs contexts. */
#include "engine/linux/vfs.h"

#include <stdlib.h>
#include <string.h>

#define WORDS(n) (((n) + 63) / 64)

struct lx_files *lx_files_make(struct lx_vfs *v)
{
    struct lx_files *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->vfs = v;
    t->refs = 1;
    t->limit = lx_config_of(v->lx)->files_max;
    list_append(&v->tables, &t->all);
    return t;
}

struct lx_files *lx_files_new(struct lx *lx)
{
    return lx_files_make(lx_vfs_of(lx));
}

static uint64_t *grow_bits(uint64_t **bits, uint32_t old, uint32_t cap)
{
    uint64_t *b = realloc(*bits, WORDS(cap) * 8);
    if (!b)
        return NULL;
    memset(b + WORDS(old), 0, (WORDS(cap) - WORDS(old)) * 8);
    return *bits = b;
}

/* cap stays a multiple of 64. */
static int reserve(struct lx_files *t, uint32_t fd)
{
    if (fd < t->cap)
        return 0;
    uint32_t cap = MAX(t->cap * 2, ALIGN_UP(fd + 1, 64u));
    struct lx_file **f = realloc(t->file, cap * sizeof *f);
    if (!f)
        return -ENOMEM;
    memset(f + t->cap, 0, (cap - t->cap) * sizeof *f);
    t->file = f;
    if (!grow_bits(&t->used, t->cap, cap) || !grow_bits(&t->cloexec, t->cap, cap) ||
        !grow_bits(&t->full, WORDS(t->cap), WORDS(cap)))
        return -ENOMEM;
    t->cap = cap;
    return 0;
}

static void mark(struct lx_files *t, uint32_t fd, bool on, bool cloexec)
{
    uint64_t bit = (uint64_t)1 << fd % 64;
    uint32_t w = fd / 64;
    t->used[w] = on ? t->used[w] | bit : t->used[w] & ~bit;
    t->cloexec[w] = on && cloexec ? t->cloexec[w] | bit : t->cloexec[w] & ~bit;
    uint64_t word = (uint64_t)1 << w % 64;
    t->full[w / 64] = t->used[w] == UINT64_MAX ? t->full[w / 64] | word : t->full[w / 64] & ~word;
}

/* The lowest free descriptor from `from` on; t->cap if all below it are taken. */
static uint32_t lowest_free(const struct lx_files *t, uint32_t from)
{
    uint32_t w = from / 64, words = t->cap / 64;
    if (from >= t->cap)
        return from;
    uint64_t free_here = ~t->used[w] & (UINT64_MAX << from % 64);
    if (free_here)
        return w * 64 + (uint32_t)__builtin_ctzll(free_here);
    for (w++; w < words;) {
        uint64_t open = ~t->full[w / 64] & (UINT64_MAX << w % 64);
        if (!open) {
            w = (w / 64 + 1) * 64;
            continue;
        }
        w = w / 64 * 64 + (uint32_t)__builtin_ctzll(open);
        if (w < words)
            return w * 64 + (uint32_t)__builtin_ctzll(~t->used[w]);
    }
    return t->cap;
}

struct lx_files *lx_files_clone(struct lx_files *o)
{
    struct lx_files *t = lx_files_new(o->vfs->lx);
    if (!t)
        return NULL;
    t->limit = o->limit;
    if (o->cap && reserve(t, o->cap - 1)) {
        lx_files_put(t, NULL);
        return NULL;
    }
    for (uint32_t fd = 0; fd < o->cap; fd++)
        if (o->file[fd]) {
            t->file[fd] = lx_file_get(o->file[fd]);
            t->open_count++;
        }
    for (uint32_t w = 0; w < o->cap / 64; w++) {
        t->used[w] = o->used[w];
        t->cloexec[w] = o->cloexec[w];
    }
    for (uint32_t w = 0; w < WORDS(o->cap / 64); w++)
        t->full[w] = o->full[w];
    return t;
}

struct lx_files *lx_files_get(struct lx_files *t)
{
    t->refs++;
    return t;
}

bool lx_files_shared(struct lx_files *t)
{
    return t->refs > 1;
}

int lx_files_close(struct lx_files *t, int64_t fd, struct lx_process *p)
{
    struct lx_file *f = lx_files_any(t, fd);
    (void)p;
    if (!f)
        return -EBADF;
    t->file[fd] = NULL;
    t->open_count--;
    mark(t, (uint32_t)fd, false, false);
    if (!list_empty(
            &f->inode->locks)) /* any close of the file drops the table's record locks (POSIX) */
        lx_locks_drop(f->inode, t);
    lx_file_put(f);
    return 0;
}

void lx_files_put(struct lx_files *t, struct lx_process *p)
{
    if (--t->refs)
        return;
    for (uint32_t w = 0; w < t->cap / 64; w++)
        while (t->used[w])
            lx_files_close(t, w * 64 + (uint32_t)__builtin_ctzll(t->used[w]), p);
    list_remove(&t->all);
    free(t->file);
    free(t->used);
    free(t->cloexec);
    free(t->full);
    free(t);
}

void lx_files_close_on_exec(struct lx_files *t, struct lx_process *p)
{
    for (uint32_t w = 0; w < t->cap / 64; w++)
        while (t->cloexec[w])
            lx_files_close(t, w * 64 + (uint32_t)__builtin_ctzll(t->cloexec[w]), p);
}

struct lx_file *lx_files_any(struct lx_files *t, int64_t fd)
{
    return fd >= 0 && fd < t->cap ? t->file[fd] : NULL;
}

struct lx_file *lx_files_find(struct lx_files *t, int64_t fd)
{
    struct lx_file *f = lx_files_any(t, fd);
    return f && !(f->flags & O_PATH) ? f : NULL;
}

int lx_files_install_at(struct lx_files *t, struct lx_file *f, uint32_t from, bool cloexec)
{
    if (from >= t->limit)
        return -EMFILE;
    uint32_t fd = lowest_free(t, from);
    if (fd >= t->limit)
        return -EMFILE;
    int e = reserve(t, fd);
    if (e)
        return e;
    t->file[fd] = lx_file_get(f);
    t->open_count++;
    mark(t, fd, true, cloexec);
    return (int)fd;
}

int lx_files_install(struct lx_files *t, struct lx_file *f, bool cloexec)
{
    return lx_files_install_at(t, f, 0, cloexec);
}

int lx_files_replace(struct lx_files *t, uint32_t fd, struct lx_file *f, bool cloexec,
                     struct lx_process *p)
{
    if (fd >= t->limit)
        return -EBADF;
    int e = reserve(t, fd);
    if (e)
        return e;
    lx_file_get(f);
    lx_files_close(t, fd, p);
    t->file[fd] = f;
    t->open_count++;
    mark(t, fd, true, cloexec);
    return (int)fd;
}

bool lx_files_cloexec(const struct lx_files *t, uint32_t fd)
{
    return t->cloexec[fd / 64] >> fd % 64 & 1;
}

void lx_files_set_cloexec(struct lx_files *t, uint32_t fd, bool on)
{
    mark(t, fd, true, on);
}

uint32_t lx_files_limit(struct lx_files *t)
{
    return t->limit;
}

void lx_files_set_limit(struct lx_files *t, uint32_t limit)
{
    t->limit = limit;
}

/* ---- fs contexts ---- */

struct lx_fs *lx_fs_make(struct lx_vfs *v, struct lx_dentry *root, struct lx_dentry *cwd,
                         uint32_t mask)
{
    struct lx_fs *fs = calloc(1, sizeof *fs);
    if (!fs)
        return NULL;
    *fs = (struct lx_fs){
        .vfs = v, .refs = 1, .umask = mask, .root = lx_dentry_get(root), .cwd = lx_dentry_get(cwd)};
    list_append(&v->contexts, &fs->all);
    return fs;
}

struct lx_fs *lx_fs_new(struct lx *lx)
{
    struct lx_vfs *v = lx_vfs_of(lx);
    return lx_fs_make(v, v->sb[LX_SB_ROOT].root, v->sb[LX_SB_ROOT].root, 022);
}

struct lx_fs *lx_fs_clone(struct lx_fs *o)
{
    return lx_fs_make(o->vfs, o->root, o->cwd, o->umask);
}

struct lx_fs *lx_fs_get(struct lx_fs *fs)
{
    fs->refs++;
    return fs;
}

void lx_fs_put(struct lx_fs *fs)
{
    if (--fs->refs)
        return;
    lx_dentry_put(fs->root);
    lx_dentry_put(fs->cwd);
    list_remove(&fs->all);
    free(fs);
}

void lx_fs_set(struct lx_dentry **place, struct lx_dentry *d)
{
    struct lx_dentry *old = *place;
    *place = d;
    lx_dentry_put(old);
}

int lx_fs_chdir(struct lx_process *p, const char *path)
{
    struct lx_base b = lx_base_at(p, AT_FDCWD);
    struct lx_dentry *d;
    int e = lx_walk(&b, path, LX_WALK_FOLLOW | LX_WALK_DIR, &d);
    if (e)
        return e;
    if ((e = lx_may(&b.cred, d->inode, LX_MAY_X))) {
        lx_dentry_put(d);
        return e;
    }
    lx_fs_set(&p->fs->cwd, d);
    return 0;
}
