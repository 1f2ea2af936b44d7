/* openat, close and what makes, moves and removes names. */
#include "engine/linux/vfs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPEN_FLAGS                                                                               \
    (O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_DSYNC |       \
     O_SYNC | O_DIRECT | O_LARGEFILE_KERNEL | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | \
     O_PATH | FASYNC)
#define O_LARGEFILE_KERNEL 0100000
#define TMPFILE_BIT 020000000

/* May a name be made or removed in dir? */
static int may_change(const struct lx_cred *cr, struct lx_dentry *dir)
{
    if (!dir->sb->ops->writable)
        return dir->sb->kind == LX_SB_PROC ? -ENOENT : -EPERM;
    if (!dir->inode->nlink)
        return -ENOENT;
    return lx_may(cr, dir->inode, LX_MAY_W | LX_MAY_X);
}

/* Removing the name of i from dir: sticky directories. */
static int may_remove(const struct lx_cred *cr, struct lx_dentry *dir, const struct lx_inode *i)
{
    int e = may_change(cr, dir);
    if (e)
        return e;
    if ((dir->inode->mode & S_ISVTX) && cr->uid != 0 && cr->uid != i->uid &&
        cr->uid != dir->inode->uid)
        return -EPERM;
    return 0;
}

/* ---- open ---- */

static int create(struct lx_call *c, const struct lx_base *b, struct lx_parent *p,
                  struct lx_dentry *d, uint32_t mode)
{
    (void)c;
    int e = may_change(&b->cred, p->dir);
    if (e)
        return e == -EPERM ? -EACCES : e;
    struct lx_make m = {.mode = S_IFREG | (mode & 07777 & ~b->p->fs->umask),
                        .uid = b->cred.uid,
                        .gid = b->cred.gid};
    return lx_mem_make(d, &m);
}

/* The name to open, made if need be (*made). */
static int open_name(struct lx_call *c, const struct lx_base *b, const char *path, uint32_t flags,
                     uint32_t mode, struct lx_dentry **out, bool *made)
{
    bool creat = flags & O_CREAT;
    if (!creat) {
        unsigned w = (flags & O_NOFOLLOW) ? 0 : LX_WALK_FOLLOW;
        return lx_walk(b, path,
                       w | ((flags & O_DIRECTORY) && !(flags & O_NOFOLLOW) ? LX_WALK_DIR : 0), out);
    }
    struct lx_parent p;
    struct lx_dentry *d = NULL;
    int e = lx_walk_parent(b, path, &p);
    while (!e) {
        if (p.kind != LX_LAST_NAME) {
            e = (flags & O_EXCL) ? -EEXIST : -EISDIR;
            break;
        }
        if (p.slash) {
            e = -EISDIR;
            break;
        }
        if ((e = lx_lookup_last(&p, &d)))
            break;
        if (d->inode && (flags & O_EXCL)) {
            e = -EEXIST;
        } else if (!d->inode) {
            e = create(c, b, &p, d, mode);
            *made = !e;
        } else if (S_ISLNK(d->inode->mode) && !(flags & O_NOFOLLOW)) {
            struct lx_dentry *jumped = NULL;
            e = lx_walk_follow(b, &p, d, &jumped);
            lx_dentry_put(d);
            d = jumped;
            if (!d)
                continue;
        }
        break;
    }
    if (p.dir)
        lx_dentry_put(p.dir);
    if (e && d)
        lx_dentry_put(d);
    else if (!e)
        *out = d;
    return e;
}

static int may_open(const struct lx_base *b, struct lx_inode *i, uint32_t flags)
{
    uint32_t acc = flags & O_ACCMODE;
    int want = (acc != O_WRONLY ? LX_MAY_R : 0) | (acc != O_RDONLY ? LX_MAY_W : 0);
    if (S_ISLNK(i->mode))
        return (flags & O_PATH) ? 0 : -ELOOP;
    if ((flags & O_DIRECTORY) && !S_ISDIR(i->mode))
        return -ENOTDIR;
    if (flags & O_PATH)
        return 0;
    if (S_ISDIR(i->mode) && (acc != O_RDONLY || (flags & (O_CREAT | O_TRUNC))))
        return -EISDIR;
    if (flags & O_TRUNC)
        want |= LX_MAY_W;
    int e = lx_may(&b->cred, i, want);
    if (!e && (flags & O_NOATIME) && !lx_owner_or_root(&b->cred, i))
        e = -EPERM;
    return e;
}

static int64_t open_file(struct lx_call *c, int64_t dirfd, uint64_t upath, uint32_t flags,
                         uint32_t mode, struct lx_file **out)
{
    if (c->held)
        return lx_fifo_resume(c, out);
    CLEANUP(free_ptr) char *path = NULL;
    int e = lx_path_arg(c, upath, &path);
    if (e)
        return e;
    struct lx_base b = lx_base_at(lx_call_process(c), dirfd);
    struct lx_dentry *d;
    bool made = false;
    if ((e = open_name(c, &b, path, flags, mode, &d, &made)))
        return e;
    int64_t r = made ? 0 : may_open(&b, d->inode, flags);
    if (!r && (flags & O_TRUNC) && S_ISREG(d->inode->mode) && d->inode->exec_holds)
        r = -ETXTBSY;
    if (!r)
        r = lx_file_open(c, d, flags & ~(uint32_t)(O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC), out);
    if (!r && (flags & O_TRUNC) && !made && S_ISREG(d->inode->mode) && d->sb->ops->writable) {
        r = lx_mem_resize(d->inode, 0);
        if (r)
            lx_file_put(*out);
    }
    lx_dentry_put(d);
    return r;
}

LX_SYS(openat)
{
    uint32_t flags = (uint32_t)c->arg[2] & (uint32_t)OPEN_FLAGS;
    if (c->arg[2] & TMPFILE_BIT)
        return (flags & O_DIRECTORY) && (flags & O_ACCMODE) ? -EOPNOTSUPP : -EINVAL;
    if ((flags & O_CREAT) && (flags & O_DIRECTORY))
        return -EINVAL;
    if (flags & O_PATH)
        flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    else
        flags |= O_LARGEFILE_KERNEL;
    struct lx_file *f;
    int64_t r = open_file(c, (int32_t)c->arg[0], c->arg[1], flags, (uint32_t)c->arg[3], &f);
    if (!r) {
        r = lx_files_install(lx_call_process(c)->files, f, flags & O_CLOEXEC);
        lx_file_put(f);
    }
    return lx_finish(c, r);
}

LX_SYS(close)
{
    return lx_files_close(lx_call_process(c)->files, (int32_t)c->arg[0], lx_call_process(c));
}

/* ---- making names ---- */

/* The negative name that path stands for, ready to be made. dir: it will be a directory (a trailing slash is fine). */
static int new_name(struct lx_call *c, int64_t dirfd, uint64_t upath, bool dir,
                    struct lx_dentry **out)
{
    CLEANUP(free_ptr) char *path = NULL;
    int e = lx_path_arg(c, upath, &path);
    if (e)
        return e;
    struct lx_base b = lx_base_at(lx_call_process(c), dirfd);
    struct lx_parent p;
    if ((e = lx_walk_parent(&b, path, &p)))
        return e;
    struct lx_dentry *d = NULL;
    if (p.kind != LX_LAST_NAME)
        e = -EEXIST;
    else
        e = lx_lookup_last(&p, &d);
    if (!e && d->inode)
        e = -EEXIST;
    if (!e && p.slash && !dir)
        e = -ENOENT;
    if (!e)
        e = may_change(&b.cred, p.dir);
    lx_dentry_put(p.dir);
    if (!e)
        *out = d;
    else if (d)
        lx_dentry_put(d);
    return e;
}

static int make_at(struct lx_call *c, int64_t dirfd, uint64_t upath, struct lx_make *m)
{
    struct lx_dentry *d;
    struct lx_process *p = lx_call_process(c);
    int e = new_name(c, dirfd, upath, S_ISDIR(m->mode), &d);
    if (e)
        return e;
    m->uid = p->euid;
    m->gid = p->egid;
    e = lx_mem_make(d, m);
    lx_dentry_put(d);
    return e;
}

LX_SYS(mkdirat)
{
    struct lx_make m = {.mode = S_IFDIR |
                                ((uint32_t)c->arg[2] & 01777 & ~lx_call_process(c)->fs->umask)};
    return make_at(c, (int32_t)c->arg[0], c->arg[1], &m);
}

LX_SYS(mknodat)
{
    uint32_t mode = (uint32_t)c->arg[2], type = mode & S_IFMT, dev = (uint32_t)c->arg[3];
    struct lx_process *p = lx_call_process(c);
    if (!type)
        type = S_IFREG;
    if (type == S_IFDIR)
        return -EPERM;
    if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK && type != S_IFCHR &&
        type != S_IFBLK)
        return -EINVAL;
    if ((type == S_IFCHR || type == S_IFBLK) && p->euid != 0)
        return -EPERM;
    struct lx_make m = {.mode = type | (mode & 07777 & ~p->fs->umask)};
    if (type == S_IFCHR || type == S_IFBLK) {
        m.rdev_major = dev >> 8 & 0xfff;
        m.rdev_minor = (dev & 0xff) | (dev >> 12 & 0xfff00);
    }
    return make_at(c, (int32_t)c->arg[0], c->arg[1], &m);
}

LX_SYS(symlinkat)
{
    CLEANUP(free_ptr) char *target = NULL;
    int e = lx_path_arg(c, c->arg[0], &target);
    if (e)
        return e;
    if (!*target)
        return -ENOENT;
    struct lx_make m = {.mode = S_IFLNK | 0777, .target = target};
    return make_at(c, (int32_t)c->arg[1], c->arg[2], &m);
}

LX_SYS(linkat)
{
    uint32_t flags = (uint32_t)c->arg[4];
    CLEANUP(free_ptr) char *path = NULL;
    if (flags & ~(uint32_t)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    int e = lx_path_arg(c, c->arg[1], &path);
    if (e)
        return e;
    struct lx_base b = lx_base_at(lx_call_process(c), (int32_t)c->arg[0]);
    struct lx_dentry *old, *d = NULL;
    unsigned w = ((flags & AT_SYMLINK_FOLLOW) ? LX_WALK_FOLLOW : 0) |
                 ((flags & AT_EMPTY_PATH) ? LX_WALK_EMPTY : 0);
    if ((e = lx_walk(&b, path, w, &old)))
        return e;
    e = new_name(c, (int32_t)c->arg[2], c->arg[3], false, &d);
    if (!e && d->sb != old->sb)
        e = -EXDEV;
    if (!e && S_ISDIR(old->inode->mode))
        e = -EPERM;
    if (!e && !old->inode->nlink)
        e = -ENOENT;
    if (!e && old->inode->nlink >= 65000)
        e = -EMLINK;
    if (!e)
        e = lx_mem_link(d, old->inode);
    if (d)
        lx_dentry_put(d);
    lx_dentry_put(old);
    return e;
}

/* ---- removing ---- */

static int remove_dir(const struct lx_base *b, struct lx_parent *p)
{
    struct lx_dentry *d;
    if (p->kind != LX_LAST_NAME)
        return p->kind == LX_LAST_DOT ? -EINVAL : p->kind == LX_LAST_DOTDOT ? -ENOTEMPTY : -EBUSY;
    int e = lx_lookup_last(p, &d);
    if (e)
        return e;
    if (!d->inode)
        e = -ENOENT;
    else if ((e = may_remove(&b->cred, p->dir, d->inode)))
        e = e == -EPERM && !S_ISDIR(d->inode->mode) ? -ENOTDIR : e;
    else if (!S_ISDIR(d->inode->mode))
        e = -ENOTDIR;
    else if (!d->parent || d == b->root)
        e = -EBUSY; /* a file system is mounted there */
    else if (!lx_mem_dir_empty(d))
        e = -ENOTEMPTY;
    else
        e = lx_mem_remove(d);
    lx_dentry_put(d);
    return e;
}

static int remove_file(const struct lx_base *b, struct lx_parent *p)
{
    struct lx_dentry *d;
    if (p->kind != LX_LAST_NAME)
        return -EISDIR;
    int e = lx_lookup_last(p, &d);
    if (e)
        return e;
    if (!d->inode)
        e = -ENOENT;
    else if (p->slash)
        e = S_ISDIR(d->inode->mode) ? -EISDIR : -ENOTDIR;
    else if ((e = may_remove(&b->cred, p->dir, d->inode)))
        ;
    else if (S_ISDIR(d->inode->mode))
        e = -EISDIR;
    else
        e = lx_mem_remove(d);
    lx_dentry_put(d);
    return e;
}

LX_SYS(unlinkat)
{
    uint32_t flags = (uint32_t)c->arg[2];
    CLEANUP(free_ptr) char *path = NULL;
    if (flags & ~(uint32_t)AT_REMOVEDIR)
        return -EINVAL;
    int e = lx_path_arg(c, c->arg[1], &path);
    if (e)
        return e;
    struct lx_base b = lx_base_at(lx_call_process(c), (int32_t)c->arg[0]);
    struct lx_parent p;
    if ((e = lx_walk_parent(&b, path, &p)))
        return e;
    e = (flags & AT_REMOVEDIR) ? remove_dir(&b, &p) : remove_file(&b, &p);
    lx_dentry_put(p.dir);
    return e;
}

/* ---- renaming ---- */

static bool below(struct lx_dentry *d, struct lx_dentry *top)
{
    for (; d; d = d->parent)
        if (d == top)
            return true;
    return false;
}

static int rename_checked(const struct lx_base *b, struct lx_parent *pf, struct lx_parent *pt,
                          struct lx_dentry *from, struct lx_dentry *to, uint32_t flags)
{
    bool exchange = flags & RENAME_EXCHANGE, dir = from->inode && S_ISDIR(from->inode->mode);
    if (!from->inode)
        return -ENOENT;
    if ((flags & RENAME_NOREPLACE) && to->inode)
        return -EEXIST;
    if (exchange && !to->inode)
        return -ENOENT;
    bool to_dir = to->inode && S_ISDIR(to->inode->mode);
    if (!dir && (pf->slash || (!exchange && pt->slash)))
        return -ENOTDIR;
    if (exchange && pt->slash && !to_dir)
        return -ENOTDIR;
    if (below(pt->dir, from))
        return -EINVAL;
    if (below(pf->dir, to))
        return exchange ? -EINVAL : -ENOTEMPTY;
    if (from->inode == to->inode)
        return 0;
    int e = may_remove(&b->cred, pf->dir, from->inode);
    if (!e)
        e = to->inode ? may_remove(&b->cred, pt->dir, to->inode) : may_change(&b->cred, pt->dir);
    if (e)
        return e;
    if (!exchange && to->inode) {
        if (dir && !to_dir)
            return -ENOTDIR;
        if (!dir && to_dir)
            return -EISDIR;
    }
    if (dir && pf->dir != pt->dir && (e = lx_may(&b->cred, from->inode, LX_MAY_W)))
        return e;
    if (exchange && to_dir && pf->dir != pt->dir && (e = lx_may(&b->cred, to->inode, LX_MAY_W)))
        return e;
    if (!from->parent || !to->parent)
        return -EBUSY;
    if (!exchange && to_dir && !lx_mem_dir_empty(to))
        return -ENOTEMPTY;
    return lx_mem_rename(from, to, exchange);
}

LX_SYS(renameat2)
{
    uint32_t flags = (uint32_t)c->arg[4];
    CLEANUP(free_ptr) char *old = NULL, *new = NULL;
    if ((flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE)) ||
        flags == (RENAME_NOREPLACE | RENAME_EXCHANGE))
        return -EINVAL;
    int e = lx_path_arg(c, c->arg[1], &old);
    if (!e)
        e = lx_path_arg(c, c->arg[3], &new);
    if (e)
        return e;
    struct lx_base bf = lx_base_at(lx_call_process(c), (int32_t)c->arg[0]);
    struct lx_base bt = lx_base_at(lx_call_process(c), (int32_t)c->arg[2]);
    struct lx_parent pf = {0}, pt = {0};
    struct lx_dentry *from = NULL, *to = NULL;
    e = lx_walk_parent(&bf, old, &pf);
    if (!e)
        e = lx_walk_parent(&bt, new, &pt);
    if (!e && pf.dir->sb != pt.dir->sb)
        e = -EXDEV;
    if (!e && (pf.kind != LX_LAST_NAME || pt.kind != LX_LAST_NAME))
        e = pf.kind == LX_LAST_NAME && (flags & RENAME_NOREPLACE) ? -EEXIST : -EBUSY;
    if (!e)
        e = lx_lookup_last(&pf, &from);
    if (!e)
        e = lx_lookup_last(&pt, &to);
    if (!e)
        e = rename_checked(&bf, &pf, &pt, from, to, flags);
    struct lx_dentry *refs[] = {from, to, pf.dir, pt.dir};
    for (size_t k = 0; k < ARRAY_LEN(refs); k++)
        if (refs[k])
            lx_dentry_put(refs[k]);
    return e;
}

/* ---- working directory, root, umask ---- */

static int set_dir(struct lx_call *c, struct lx_dentry **place, bool root_only)
{
    struct lx_process *p = lx_call_process(c);
    CLEANUP(free_ptr) char *path = NULL;
    struct lx_dentry *d;
    int e = lx_path_arg(c, c->arg[0], &path);
    if (e)
        return e;
    struct lx_base b = lx_base_at(p, AT_FDCWD);
    if ((e = lx_walk(&b, path, LX_WALK_FOLLOW | LX_WALK_DIR, &d)))
        return e;
    e = lx_may(&b.cred, d->inode, LX_MAY_X);
    if (!e && root_only && p->euid != 0)
        e = -EPERM;
    if (e)
        lx_dentry_put(d);
    else
        lx_fs_set(place, d);
    return e;
}

LX_SYS(chdir)
{
    return set_dir(c, &lx_call_process(c)->fs->cwd, false);
}

LX_SYS(chroot)
{
    return set_dir(c, &lx_call_process(c)->fs->root, true);
}

LX_SYS(fchdir)
{
    struct lx_process *p = lx_call_process(c);
    struct lx_file *f = lx_files_any(p->files, (int32_t)c->arg[0]);
    if (!f)
        return -EBADF;
    if (!S_ISDIR(f->inode->mode))
        return -ENOTDIR;
    struct lx_cred cr = lx_cred_of(p);
    int e = lx_may(&cr, f->inode, LX_MAY_X);
    if (!e)
        lx_fs_set(&p->fs->cwd, lx_dentry_get(f->dentry));
    return e;
}

LX_SYS(getcwd)
{
    struct lx_fs *fs = lx_call_process(c)->fs;
    for (struct lx_dentry *d = fs->cwd; d; d = d->parent)
        if (d->deleted)
            return -ENOENT;
    CLEANUP(free_ptr) char *path = lx_dentry_path(fs->cwd, fs->root, false);
    if (!path)
        return -ENOMEM;
    size_t n = strlen(path) + 1;
    if (n > c->arg[1])
        return -ERANGE;
    return lx_put(c, c->arg[0], path, n) ? -EFAULT : (int64_t)n;
}

LX_SYS(umask)
{
    struct lx_fs *fs = lx_call_process(c)->fs;
    uint32_t old = fs->umask;
    fs->umask = (uint32_t)c->arg[0] & 0777;
    return old;
}
