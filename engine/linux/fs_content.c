/* The memory file system: content of regular files. */
#include "engine/linux/vfs.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK ((size_t)16 << 10)

/* What the object really holds may have grown by mappings too. */
static void recharge(struct lx_inode *i)
{
    struct lx_vfs *v = i->sb->vfs;
    uint64_t held = i->object ? mem_object_held_bytes(i->object) : 0;
    v->used_bytes = v->used_bytes - i->charged_bytes + held;
    i->charged_bytes = held;
}

/* May the pages of [off, off + n) become held? How many of the bytes fit into the quota. */
static uint64_t room_for(struct lx_inode *i, uint64_t off, uint64_t n)
{
    struct lx_vfs *v = i->sb->vfs;
    uint64_t lo = ALIGN_DOWN(off, PAGE_SIZE), hi = ALIGN_UP(off + n, PAGE_SIZE);
    uint64_t left = v->quota_bytes > v->used_bytes ? v->quota_bytes - v->used_bytes : 0;
    if (hi - lo <= left)
        return n;
    for (uint64_t at = lo; at < hi; at += PAGE_SIZE) {
        if (mem_object_seek(i->object, at, false) == (int64_t)at)
            continue;
        if (left < PAGE_SIZE)
            return at <= off ? 0 : at - off;
        left -= PAGE_SIZE;
    }
    return n;
}

static int own_object(struct lx_inode *i)
{
    struct err err;
    if (i->object)
        return 0;
    const struct lx_config *cfg = lx_config_of(i->sb->vfs->lx);
    if (mem_object_memory(cfg->pool, 0, &i->object, &err) != OK)
        return err.code == ERR_LIMIT ? -ENOSPC : -ENOMEM;
    return 0;
}

int64_t lx_mem_pread(struct lx_inode *i, uint64_t off, void *p, size_t n)
{
    struct err err;
    size_t got = 0;
    if (i->object)
        return mem_object_read(i->object, off, p, n);
    if (!i->lower || off >= i->size)
        return 0;
    if (img_read(i->sb->vfs->img, &i->img, off, p, n, &got, &err) != OK)
        return -EIO;
    return (int64_t)got;
}

static int64_t raw_write(struct lx_inode *i, uint64_t off, const void *p, size_t n)
{
    uint64_t fits = room_for(i, off, n);
    if (!fits && n)
        return -ENOSPC;
    int64_t done = mem_object_write(i->object, off, p, fits);
    recharge(i);
    return done;
}

/* The content of the image becomes the inode's own. */
int lx_mem_copy_up(struct lx_inode *i)
{
    if (i->object)
        return 0;
    int e = own_object(i);
    char *chunk = e ? NULL : malloc(CHUNK);
    if (!e && !chunk)
        e = -ENOMEM;
    for (uint64_t at = 0; !e && i->lower && at < i->size;) {
        size_t got = 0;
        struct err err;
        if (img_read(i->sb->vfs->img, &i->img, at, chunk, CHUNK, &got, &err) != OK || !got) {
            e = -EIO;
            break;
        }
        for (size_t done = 0; !e && done < got;) {
            int64_t w = raw_write(i, at + done, chunk + done, got - done);
            if (w <= 0)
                e = w ? (int)w : -ENOSPC;
            else
                done += (size_t)w;
        }
        at += got;
    }
    free(chunk);
    if (e && i->object) {
        mem_object_put(i->object);
        i->object = NULL;
        recharge(i);
        return e;
    }
    if (!e) {
        i->lower = false;
        lx_inode_dirty(i);
    }
    return e;
}

int64_t lx_mem_pwrite(struct lx_inode *i, uint64_t off, const void *p, size_t n)
{
    int e = lx_mem_copy_up(i);
    if (e)
        return e;
    if (off > INT64_MAX - n)
        return -EFBIG;
    return raw_write(i, off, p, n);
}

int lx_mem_resize(struct lx_inode *i, uint64_t size)
{
    if (size > INT64_MAX)
        return -EINVAL;
    int e;
    if (!size && i->lower) { /* nothing to copy */
        e = own_object(i);
        i->lower = e ? i->lower : false;
    } else {
        e = lx_mem_copy_up(i);
    }
    if (!e)
        e = mem_object_resize(i->object, size);
    if (e)
        return e;
    recharge(i);
    lx_inode_touch(i, true);
    return 0;
}

/* ---- RLIMIT_FSIZE ---- */

static int too_big(struct lx_call *c)
{
    lx_signal_thread(c->t, SIGXFSZ);
    return -EFBIG;
}

int lx_fsize_write(struct lx_call *c, uint64_t off, uint64_t *n)
{
    uint64_t limit = lx_call_process(c)->rlim_cur[LX_RLIM_FSIZE];
    if (off >= limit)
        return too_big(c);
    *n = MIN(*n, limit - off);
    return 0;
}

int lx_fsize_resize(struct lx_call *c, const struct lx_inode *i, uint64_t size)
{
    if (size <= lx_inode_size(i) || size <= lx_call_process(c)->rlim_cur[LX_RLIM_FSIZE])
        return 0;
    return too_big(c);
}

/* ---- the file operations ---- */

static int64_t file_read(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos)
{
    (void)c;
    char chunk[CHUNK];
    uint64_t done = 0, limit = MIN(it->left, LX_PIECE_BYTES);
    while (done < limit) {
        int64_t n = lx_mem_pread(f->inode, *pos, chunk, MIN(limit - done, sizeof chunk));
        if (n < 0 && !done)
            return n;
        if (n <= 0)
            break;
        size_t put = lx_iter_put(it, chunk, (size_t)n);
        done += put;
        *pos += put;
        if (put < (size_t)n)
            return done ? (int64_t)done : -EFAULT;
    }
    lx_inode_accessed(f->inode);
    return (int64_t)done;
}

/* A write clears set-id bits, unless root does it. */
static void strip_ids(struct lx_call *c, struct lx_inode *i)
{
    if (!(i->mode & (S_ISUID | S_ISGID)) || lx_call_process(c)->euid == 0)
        return;
    i->mode &= ~(uint32_t)S_ISUID;
    if (i->mode & S_IXGRP)
        i->mode &= ~(uint32_t)S_ISGID;
}

static int64_t file_write(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos)
{
    char chunk[CHUNK];
    struct lx_inode *i = f->inode;
    if (f->flags & O_APPEND)
        *pos = lx_inode_size(i);
    int64_t trouble = lx_fsize_write(c, *pos, &it->left);
    if (trouble)
        return trouble;
    uint64_t done = 0, limit = MIN(it->left, LX_PIECE_BYTES);
    while (done < limit) {
        size_t want = MIN(limit - done, sizeof chunk), got = lx_iter_get(it, chunk, want);
        if (!got) {
            trouble = -EFAULT;
            break;
        }
        int64_t n = lx_mem_pwrite(i, *pos, chunk, got);
        if (n > 0) {
            done += (uint64_t)n;
            *pos += (uint64_t)n;
        }
        if (n < (int64_t)got) {
            trouble = n < 0 ? n : -ENOSPC;
            break;
        }
        if (got < want)
            break;
    }
    if (done) {
        strip_ids(c, i);
        lx_inode_touch(i, true);
    }
    return done ? (int64_t)done : trouble;
}

static int64_t file_seek(struct lx_file *f, int64_t off, int whence)
{
    struct lx_inode *i = f->inode;
    int64_t size = (int64_t)lx_inode_size(i), at;
    switch (whence) {
    case SEEK_SET:
        at = off;
        break;
    case SEEK_CUR:
        if (__builtin_add_overflow((int64_t)f->pos, off, &at))
            return -EOVERFLOW;
        break;
    case SEEK_END:
        if (__builtin_add_overflow(size, off, &at))
            return -EOVERFLOW;
        break;
    case SEEK_DATA:
    case SEEK_HOLE:
        if (off < 0 || off >= size)
            return -ENXIO;
        if (i->object)
            at = mem_object_seek(i->object, (uint64_t)off, whence == SEEK_HOLE);
        else
            at = whence == SEEK_HOLE ? size : off;
        if (at < 0)
            return at;
        break;
    default:
        return -EINVAL;
    }
    if (at < 0)
        return -EINVAL;
    f->pos = (uint64_t)at;
    return at;
}

static void file_release(struct lx_file *f)
{
    if (lx_writable(f) && !(f->flags & O_PATH))
        f->inode->writers--;
}

const struct lx_file_ops lx_mem_file_ops = {
    .read = file_read, .write = file_write, .seek = file_seek, .release = file_release};

/* ---- the door of file.h ---- */

int64_t lx_file_pread(struct lx_file *f, uint64_t offset, void *p, size_t n)
{
    if (f->ops != &lx_mem_file_ops)
        return -EINVAL;
    return lx_mem_pread(f->inode, offset, p, n);
}

int lx_file_map_object(struct lx_file *f, int prot, bool shared, struct mem_object **o)
{
    struct lx_inode *i = f->inode;
    if (f->flags & O_PATH)
        return -EBADF;
    if (S_ISCHR(i->mode) && i->rdev_major == 1 && i->rdev_minor == 5) {
        if (!lx_readable(f) || (shared && (prot & MEM_W) && !lx_writable(f)))
            return -EACCES;
        *o = NULL;
        return 0;
    }
    if (!lx_readable(f) || (shared && (prot & MEM_W) && !lx_writable(f)))
        return -EACCES;
    if (f->ops != &lx_mem_file_ops)
        return -ENODEV;
    struct err err;
    if (i->lower && i->size && !(shared && lx_writable(f))) {
        const struct lx_config *cfg = lx_config_of(f->vfs->lx);
        if (!i->lower_object && mem_object_image(cfg->pool, cfg->image_fd, i->img.data_offset,
                                                 i->size, i->nid + 1, &i->lower_object, &err) != OK)
            return -ENOMEM;
        i->mapped = true;
        *o = mem_object_get(i->lower_object);
        return 0;
    }
    int e = lx_mem_copy_up(i);
    if (e)
        return e;
    i->mapped = true;
    *o = mem_object_get(i->object);
    return 0;
}

int lx_file_exec_hold(struct lx_file *f)
{
    if (f->inode->writers)
        return -ETXTBSY;
    f->inode->exec_holds++;
    return 0;
}

void lx_file_exec_release(struct lx_file *f)
{
    ASSERT(f->inode->exec_holds);
    f->inode->exec_holds--;
}

void lx_file_info(struct lx_file *f, struct lx_file_info *out)
{
    struct lx_inode *i = f->inode;
    *out = (struct lx_file_info){i->sb->dev, i->ino, lx_inode_size(i), i->mode, i->uid, i->gid};
}
