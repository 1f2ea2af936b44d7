/* Calls about attributes: stat in its forms, mode, owner, times, size, statfs. Structures: asm-generic, 64 bit. */
#include "engine/linux/vfs.h"

#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

/* ---- stat ---- */

struct guest_stat {
    uint64_t dev, ino;
    uint32_t mode, nlink, uid, gid;
    uint64_t rdev, pad1;
    int64_t size;
    int32_t blksize, pad2;
    int64_t blocks, atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns;
    uint32_t unused[2];
};
_Static_assert(sizeof(struct guest_stat) == 128, "struct stat of asm-generic");

static uint64_t encode_dev(uint32_t major_no, uint32_t minor_no)
{
    return (minor_no & 0xff) | (uint64_t)major_no << 8 | (uint64_t)(minor_no & ~0xffu) << 12;
}

static int64_t blocks_of(const struct lx_inode *i)
{
    if (S_ISREG(i->mode) && i->object)
        return (int64_t)(mem_object_held_bytes(i->object) / 512);
    return S_ISREG(i->mode) ? (int64_t)(ALIGN_UP(lx_inode_size(i), PAGE_SIZE) / 512) : 0;
}

static void fill_stat(const struct lx_inode *i, struct guest_stat *s)
{
    *s = (struct guest_stat){
        .dev = i->sb->dev,
        .ino = i->ino,
        .mode = i->mode,
        .nlink = i->nlink,
        .uid = i->uid,
        .gid = i->gid,
        .rdev = encode_dev(i->rdev_major, i->rdev_minor),
        .size = (int64_t)lx_inode_size(i),
        .blksize = i->sb->kind == LX_SB_PROC || i->sb->kind == LX_SB_PTS ? 1024 : 4096,
        .blocks = blocks_of(i),
        .atime = i->atime.s,
        .atime_ns = i->atime.ns,
        .mtime = i->mtime.s,
        .mtime_ns = i->mtime.ns,
        .ctime = i->ctime.s,
        .ctime_ns = i->ctime.ns,
    };
}

/* What (dirfd, path, flags) names, as a reference. */
static int find_at(struct lx_call *c, uint64_t dirfd, uint64_t upath, unsigned walk,
                   struct lx_dentry **out)
{
    CLEANUP(free_ptr) char *path = NULL;
    int e = lx_path_arg(c, upath, &path);
    if (e)
        return e;
    struct lx_base b = lx_base_at(lx_call_process(c), (int32_t)dirfd);
    return lx_walk(&b, path, walk, out);
}

static unsigned walk_flags(uint32_t at)
{
    return ((at & AT_SYMLINK_NOFOLLOW) ? 0 : LX_WALK_FOLLOW) |
           ((at & AT_EMPTY_PATH) ? LX_WALK_EMPTY : 0);
}

LX_SYS(newfstatat)
{
    uint32_t flags = (uint32_t)c->arg[3];
    struct guest_stat s;
    struct lx_dentry *d;
    if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT))
        return -EINVAL;
    int e = find_at(c, c->arg[0], c->arg[1], walk_flags(flags), &d);
    if (e)
        return e;
    fill_stat(d->inode, &s);
    lx_dentry_put(d);
    return lx_put(c, c->arg[2], &s, sizeof s);
}

LX_SYS(fstat)
{
    struct lx_file *f = lx_files_any(lx_call_process(c)->files, (int32_t)c->arg[0]);
    struct guest_stat s;
    if (!f)
        return -EBADF;
    fill_stat(f->inode, &s);
    return lx_put(c, c->arg[1], &s, sizeof s);
}

struct guest_statx_time {
    int64_t s;
    uint32_t ns;
    int32_t pad;
};
struct guest_statx {
    uint32_t mask, blksize;
    uint64_t attributes;
    uint32_t nlink, uid, gid;
    uint16_t mode, pad0;
    uint64_t ino, size, blocks, attributes_mask;
    struct guest_statx_time atime, btime, ctime, mtime;
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t mnt_id, spare[13];
};
_Static_assert(sizeof(struct guest_statx) == 256, "struct statx");

#define STATX_BASIC 0x7ffu

LX_SYS(statx)
{
    uint32_t flags = (uint32_t)c->arg[2], mask = (uint32_t)c->arg[3];
    struct lx_dentry *d;
    if ((flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | 0x6000)) ||
        (flags & 0x6000) == 0x6000 || (mask & 0x80000000u))
        return -EINVAL;
    int e = find_at(c, c->arg[0], c->arg[1], walk_flags(flags), &d);
    if (e)
        return e;
    struct guest_stat s;
    fill_stat(d->inode, &s);
    struct guest_statx x = {
        .mask = STATX_BASIC,
        .blksize = (uint32_t)s.blksize,
        .nlink = s.nlink,
        .uid = s.uid,
        .gid = s.gid,
        .mode = (uint16_t)s.mode,
        .ino = s.ino,
        .size = (uint64_t)s.size,
        .blocks = (uint64_t)s.blocks,
        .atime = {s.atime, (uint32_t)s.atime_ns, 0},
        .ctime = {s.ctime, (uint32_t)s.ctime_ns, 0},
        .mtime = {s.mtime, (uint32_t)s.mtime_ns, 0},
        .rdev_major = d->inode->rdev_major,
        .rdev_minor = d->inode->rdev_minor,
        .dev_major = d->sb->dev >> 8,
        .dev_minor = d->sb->dev & 0xff,
    };
    lx_dentry_put(d);
    return lx_put(c, c->arg[4], &x, sizeof x);
}

LX_SYS(readlinkat)
{
    CLEANUP(free_ptr) char *text = NULL, *path = NULL;
    struct lx_dentry *d;
    int64_t size = (int32_t)c->arg[3];
    if (size <= 0)
        return -EINVAL;
    int e = lx_path_arg(c, c->arg[1], &path);
    if (e)
        return e;
    struct lx_base b = lx_base_at(lx_call_process(c), (int32_t)c->arg[0]);
    if ((e = lx_walk(&b, path, LX_WALK_EMPTY, &d)))
        return e;
    if (!S_ISLNK(d->inode->mode))
        e = *path ? -EINVAL : -ENOENT;
    else
        e = lx_readlink(b.p, d, &text);
    if (!e)
        lx_inode_accessed(d->inode);
    lx_dentry_put(d);
    if (e)
        return e;
    size_t n = MIN(strlen(text), (size_t)size);
    return lx_put(c, c->arg[2], text, n) ? -EFAULT : (int64_t)n;
}

static int64_t access_at(struct lx_call *c, uint32_t flags)
{
    uint32_t mode = (uint32_t)c->arg[2];
    struct lx_process *p = lx_call_process(c);
    struct lx_dentry *d;
    if ((mode & ~7u) || (flags & ~(uint32_t)(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)))
        return -EINVAL;
    bool real = !(flags & AT_EACCESS);
    int e = find_at(c, c->arg[0], c->arg[1], walk_flags(flags) | (real ? LX_WALK_REAL_IDS : 0), &d);
    if (e)
        return e;
    struct lx_cred cr = lx_cred_of(p);
    if (real) {
        cr.uid = p->uid;
        cr.gid = p->gid;
    }
    e = lx_may(&cr, d->inode, (int)mode);
    lx_dentry_put(d);
    return e;
}

LX_SYS(faccessat)
{
    return access_at(c, 0);
}

LX_SYS(faccessat2)
{
    return access_at(c, (uint32_t)c->arg[3]);
}

/* ---- mode and owner ---- */

static int set_mode(struct lx_call *c, struct lx_inode *i, uint32_t mode)
{
    struct lx_cred cr = lx_cred_of(lx_call_process(c));
    if (S_ISLNK(i->mode))
        return -EOPNOTSUPP;
    if (!lx_owner_or_root(&cr, i))
        return -EPERM;
    mode &= 07777;
    if (cr.uid != 0 && !lx_in_group(&cr, i->gid))
        mode &= ~(uint32_t)S_ISGID;
    i->mode = (i->mode & S_IFMT) | mode;
    lx_inode_touch(i, false);
    return 0;
}

LX_SYS(fchmod)
{
    struct lx_file *f = lx_call_file(c, (int32_t)c->arg[0]);
    return f ? set_mode(c, f->inode, (uint32_t)c->arg[1]) : -EBADF;
}

static int64_t chmod_at(struct lx_call *c, uint32_t flags)
{
    struct lx_dentry *d;
    if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    int e = find_at(c, c->arg[0], c->arg[1], walk_flags(flags), &d);
    if (e)
        return e;
    e = set_mode(c, d->inode, (uint32_t)c->arg[2]);
    lx_dentry_put(d);
    return e;
}

LX_SYS(fchmodat)
{
    return chmod_at(c, 0);
}

LX_SYS(fchmodat2)
{
    return chmod_at(c, (uint32_t)c->arg[3]);
}

static int set_owner(struct lx_call *c, struct lx_inode *i, uint32_t uid, uint32_t gid)
{
    struct lx_cred cr = lx_cred_of(lx_call_process(c));
    if (cr.uid != 0) {
        if (uid != UINT32_MAX && (cr.uid != i->uid || uid != i->uid))
            return -EPERM;
        if (gid != UINT32_MAX && (cr.uid != i->uid || (gid != i->gid && !lx_in_group(&cr, gid))))
            return -EPERM;
    }
    if (uid != UINT32_MAX)
        i->uid = uid;
    if (gid != UINT32_MAX)
        i->gid = gid;
    if (!S_ISDIR(i->mode)) {
        i->mode &= ~(uint32_t)S_ISUID;
        if (i->mode & S_IXGRP)
            i->mode &= ~(uint32_t)S_ISGID;
    }
    lx_inode_touch(i, false);
    return 0;
}

LX_SYS(fchown)
{
    struct lx_file *f = lx_call_file(c, (int32_t)c->arg[0]);
    return f ? set_owner(c, f->inode, (uint32_t)c->arg[1], (uint32_t)c->arg[2]) : -EBADF;
}

LX_SYS(fchownat)
{
    uint32_t flags = (uint32_t)c->arg[4];
    struct lx_dentry *d;
    if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    int e = find_at(c, c->arg[0], c->arg[1], walk_flags(flags), &d);
    if (e)
        return e;
    e = set_owner(c, d->inode, (uint32_t)c->arg[2], (uint32_t)c->arg[3]);
    lx_dentry_put(d);
    return e;
}

/* ---- times ---- */

#define TIME_NOW 0x3fffffff
#define TIME_OMIT 0x3ffffffe

static int set_times(struct lx_call *c, struct lx_inode *i, const int64_t t[4], bool both_now)
{
    struct lx_cred cr = lx_cred_of(lx_call_process(c));
    if (t[1] == TIME_OMIT && t[3] == TIME_OMIT)
        return 0;
    if (!lx_owner_or_root(&cr, i)) {
        if (!both_now)
            return -EPERM;
        int e = lx_may(&cr, i, LX_MAY_W);
        if (e)
            return e;
    }
    struct lx_time now = lx_now(i->sb->vfs);
    if (t[1] != TIME_OMIT)
        i->atime = t[1] == TIME_NOW ? now : (struct lx_time){t[0], (uint32_t)t[1]};
    if (t[3] != TIME_OMIT)
        i->mtime = t[3] == TIME_NOW ? now : (struct lx_time){t[2], (uint32_t)t[3]};
    lx_inode_touch(i, false);
    return 0;
}

LX_SYS(utimensat)
{
    uint32_t flags = (uint32_t)c->arg[3];
    int64_t t[4] = {0, TIME_NOW, 0, TIME_NOW};
    struct lx_dentry *d;
    if (c->arg[2] && lx_get(c, c->arg[2], t, sizeof t))
        return -EFAULT;
    for (int k = 1; k < 4; k += 2)
        if (t[k] != TIME_NOW && t[k] != TIME_OMIT && (t[k] < 0 || t[k] > 999999999))
            return -EINVAL;
    if (c->arg[2] && t[1] == TIME_OMIT && t[3] == TIME_OMIT)
        return 0;
    bool now = t[1] == TIME_NOW && t[3] == TIME_NOW;
    if (!c->arg[1] && (int32_t)c->arg[0] != AT_FDCWD) {
        struct lx_file *f = lx_call_file(c, (int32_t)c->arg[0]);
        if (flags)
            return -EINVAL;
        return f ? set_times(c, f->inode, t, now) : -EBADF;
    }
    if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    int e = find_at(c, c->arg[0], c->arg[1], walk_flags(flags), &d);
    if (e)
        return e;
    e = set_times(c, d->inode, t, now);
    lx_dentry_put(d);
    return e;
}

/* ---- size ---- */

static int resize(struct lx_call *c, struct lx_inode *i, uint64_t size)
{
    int e = lx_fsize_resize(c, i, size);
    return e ? e : lx_mem_resize(i, size);
}

LX_SYS(truncate)
{
    struct lx_dentry *d;
    struct lx_cred cr = lx_cred_of(lx_call_process(c));
    if ((int64_t)c->arg[1] < 0)
        return -EINVAL;
    int e = find_at(c, (uint64_t)(int64_t)AT_FDCWD, c->arg[0], LX_WALK_FOLLOW, &d);
    if (e)
        return e;
    struct lx_inode *i = d->inode;
    if (S_ISDIR(i->mode))
        e = -EISDIR;
    else if (!S_ISREG(i->mode))
        e = -EINVAL;
    else if (!(e = lx_may(&cr, i, LX_MAY_W)))
        e = i->exec_holds ? -ETXTBSY : !i->sb->ops->writable ? -EACCES : resize(c, i, c->arg[1]);
    lx_dentry_put(d);
    return e;
}

LX_SYS(ftruncate)
{
    struct lx_file *f = lx_call_file(c, (int32_t)c->arg[0]);
    if ((int64_t)c->arg[1] < 0)
        return -EINVAL;
    if (!f)
        return -EBADF;
    if (!S_ISREG(f->inode->mode) || !lx_writable(f) || f->ops != &lx_mem_file_ops)
        return -EINVAL;
    return resize(c, f->inode, c->arg[1]);
}

/* mode 0 and KEEP_SIZE: the holes of the range are filled with zeros that are really held. */
static int64_t allocate(struct lx_call *c, struct lx_inode *i, uint64_t off, uint64_t len,
                        bool keep)
{
    static const char zeros[PAGE_SIZE];
    uint64_t end = off + len, size = lx_inode_size(i), turn = 0;
    int e = lx_mem_copy_up(i);
    if (!e && end > size && !keep)
        e = lx_mem_resize(i, end);
    uint64_t stop = keep ? MIN(end, size) : end;
    for (uint64_t at = ALIGN_DOWN(off, PAGE_SIZE) + c->progress[0]; !e && at < stop;
         at += PAGE_SIZE) {
        if (mem_object_seek(i->object, at, false) != (int64_t)at) {
            int64_t n = lx_mem_pwrite(i, at, zeros, MIN(PAGE_SIZE, stop - at));
            e = n < 0 ? (int)n : 0;
        }
        c->progress[0] = at + PAGE_SIZE - ALIGN_DOWN(off, PAGE_SIZE);
        if ((turn += PAGE_SIZE) >= LX_PIECE_BYTES)
            return c->wake == LX_WAKE_SIGNAL ? lx_interrupted(c, LX_RESTART_SA) : lx_yield(c);
    }
    return e;
}

LX_SYS(fallocate)
{
    struct lx_file *f = lx_call_file(c, (int32_t)c->arg[0]);
    int32_t mode = (int32_t)c->arg[1];
    int64_t off = (int64_t)c->arg[2], len = (int64_t)c->arg[3], end;
    if (!f)
        return -EBADF;
    if (off < 0 || len <= 0)
        return -EINVAL;
    if (mode & ~FALLOC_FL_KEEP_SIZE)
        return -EOPNOTSUPP;
    if (!lx_writable(f))
        return -EBADF;
    if (S_ISFIFO(f->inode->mode))
        return -ESPIPE;
    if (S_ISDIR(f->inode->mode))
        return -EISDIR;
    if (f->ops != &lx_mem_file_ops)
        return -ENODEV;
    if (__builtin_add_overflow(off, len, &end))
        return -EFBIG;
    int64_t r = lx_fsize_resize(c, f->inode, (uint64_t)end);
    if (!r)
        r = allocate(c, f->inode, (uint64_t)off, (uint64_t)len, mode & FALLOC_FL_KEEP_SIZE);
    if (r == LX_BLOCKED && !c->held)
        c->held = lx_file_get(f);
    return lx_finish(c, r);
}

/* ---- the file system as a whole ---- */

struct guest_statfs {
    int64_t type, bsize;
    uint64_t blocks, bfree, bavail, files, ffree;
    int32_t fsid[2];
    int64_t namelen, frsize, flags, spare[4];
};
_Static_assert(sizeof(struct guest_statfs) == 120, "struct statfs of asm-generic");

void lx_statfs(struct lx_sb *sb, uint64_t *blocks, uint64_t *free_blocks)
{
    struct lx_vfs *v = sb->vfs;
    *blocks = *free_blocks = 0;
    if (!sb->ops->writable)
        return;
    *free_blocks = (v->quota_bytes - MIN(v->used_bytes, v->quota_bytes)) / PAGE_SIZE;
    *blocks = v->quota_bytes / PAGE_SIZE;
}

static int64_t put_statfs(struct lx_call *c, struct lx_sb *sb, uint64_t to)
{
    struct guest_statfs s = {
        .type = sb->ops->magic, .bsize = 4096, .frsize = 4096, .namelen = LX_NAME_MAX};
    lx_statfs(sb, &s.blocks, &s.bfree);
    s.bavail = s.bfree;
    if (sb->ops->writable) {
        s.ffree = s.bfree * (PAGE_SIZE / (2 * LX_INODE_COST));
        s.files = s.blocks * (PAGE_SIZE / (2 * LX_INODE_COST));
    }
    s.flags = 0x1020; /* ST_VALID, RELATIME */
    s.fsid[0] = (int32_t)sb->dev;
    return lx_put(c, to, &s, sizeof s);
}

LX_SYS(statfs)
{
    struct lx_dentry *d;
    int e = find_at(c, (uint64_t)(int64_t)AT_FDCWD, c->arg[0], LX_WALK_FOLLOW, &d);
    if (e)
        return e;
    int64_t r = put_statfs(c, d->sb, c->arg[1]);
    lx_dentry_put(d);
    return r;
}

LX_SYS(fstatfs)
{
    struct lx_file *f = lx_files_any(lx_call_process(c)->files, (int32_t)c->arg[0]);
    return f ? put_statfs(c, f->inode->sb, c->arg[1]) : -EBADF;
}

/* ---- what has nothing to do: nothing is behind this memory ---- */

LX_SYS(sync)
{
    (void)c;
    return 0;
}

static int64_t sync_file(struct lx_call *c)
{
    struct lx_file *f = lx_call_file(c, (int32_t)c->arg[0]);
    if (!f)
        return -EBADF;
    return S_ISREG(f->inode->mode) || S_ISDIR(f->inode->mode) ? 0 : -EINVAL;
}

LX_SYS(fsync)
{
    return sync_file(c);
}

LX_SYS(fdatasync)
{
    return sync_file(c);
}

LX_SYS(syncfs)
{
    return lx_call_file(c, (int32_t)c->arg[0]) ? 0 : -EBADF;
}

LX_SYS(fadvise64)
{
    struct lx_file *f = lx_call_file(c, (int32_t)c->arg[0]);
    if (!f)
        return -EBADF;
    if (S_ISFIFO(f->inode->mode))
        return -ESPIPE;
    if ((int64_t)c->arg[2] < 0 || (int32_t)c->arg[3] < 0 || (int32_t)c->arg[3] > 5)
        return -EINVAL;
    return 0;
}
