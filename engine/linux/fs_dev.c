/* /dev: what is in it, the memory devices, and where opening a device goes. */
#include "engine/linux/vfs.h"
#include "engine/linux/tty.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- null, zero, full, random, urandom ---- */

static int64_t null_read(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos)
{
    (void)c, (void)f, (void)it, (void)pos;
    return 0;
}

static int64_t sink_write(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos)
{
    (void)c, (void)f, (void)pos;
    uint64_t n = it->left;
    lx_iter_skip(it, n);
    return (int64_t)n;
}

static int64_t full_write(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos)
{
    (void)c, (void)f, (void)it, (void)pos;
    return -ENOSPC;
}

static int64_t fill(struct lx *lx, struct lx_iter *it, bool random)
{
    uint8_t buf[4096];
    uint64_t done = 0, limit = MIN(it->left, LX_PIECE_BYTES);
    memset(buf, 0, sizeof buf);
    while (done < limit) {
        size_t n = MIN(limit - done, sizeof buf), put;
        if (random)
            lx_random_bytes(lx, buf, n);
        put = lx_iter_put(it, buf, n);
        done += put;
        if (put < n)
            return done ? (int64_t)done : -EFAULT;
    }
    return (int64_t)done;
}

static int64_t zero_read(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos)
{
    (void)f, (void)pos;
    return fill(c->lx, it, false);
}

static int64_t random_read(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos)
{
    (void)f, (void)pos;
    return fill(c->lx, it, true);
}

static int64_t mem_seek(struct lx_file *f, int64_t off, int whence)
{
    (void)off, (void)whence;
    f->pos = 0;
    return 0;
}

static const struct lx_file_ops null_ops = {
    .read = null_read, .write = sink_write, .seek = mem_seek};
static const struct lx_file_ops zero_ops = {
    .read = zero_read, .write = sink_write, .seek = mem_seek};
static const struct lx_file_ops full_ops = {
    .read = zero_read, .write = full_write, .seek = mem_seek};
static const struct lx_file_ops random_ops = {
    .read = random_read, .write = sink_write, .seek = mem_seek};

const struct lx_file_ops *lx_dev_ops(uint32_t major, uint32_t minor)
{
    static const struct lx_file_ops *const memory[10] = {
        [3] = &null_ops, [5] = &zero_ops, [7] = &full_ops, [8] = &random_ops, [9] = &random_ops};
    return major == 1 && minor < ARRAY_LEN(memory) ? memory[minor] : NULL;
}

int64_t lx_dev_open(struct lx_call *c, struct lx_file *f)
{
    f->ops = lx_dev_ops(f->inode->rdev_major, f->inode->rdev_minor);
    return f->ops ? 0 : lx_tty_open(c, f);
}

/* ---- what is in it ---- */

static const struct {
    const char *name;
    uint32_t mode, major, minor;
    const char *target;
} entries[] = {
    {"null", S_IFCHR | 0666, 1, 3, NULL},
    {"zero", S_IFCHR | 0666, 1, 5, NULL},
    {"full", S_IFCHR | 0666, 1, 7, NULL},
    {"random", S_IFCHR | 0666, 1, 8, NULL},
    {"urandom", S_IFCHR | 0666, 1, 9, NULL},
    {"tty", S_IFCHR | 0666, 5, 0, NULL},
    {"console", S_IFCHR | 0620, 5, 1, NULL},
    {"ptmx", S_IFCHR | 0666, 5, 2, NULL},
    {"ttyS0", S_IFCHR | 0660, 4, 64, NULL},
    {"pts", S_IFDIR | 0755, 0, 0, NULL},
    {"shm", S_IFDIR | 01777, 0, 0, NULL},
    {"fd", S_IFLNK | 0777, 0, 0, "/proc/self/fd"},
    {"stdin", S_IFLNK | 0777, 0, 0, "/proc/self/fd/0"},
    {"stdout", S_IFLNK | 0777, 0, 0, "/proc/self/fd/1"},
    {"stderr", S_IFLNK | 0777, 0, 0, "/proc/self/fd/2"},
};

int lx_dev_populate(struct lx_vfs *v)
{
    struct lx_dentry *dev = v->sb[LX_SB_DEV].root;
    for (size_t k = 0; k < ARRAY_LEN(entries); k++) {
        struct lx_make m = {.mode = entries[k].mode,
                            .rdev_major = entries[k].major,
                            .rdev_minor = entries[k].minor,
                            .target = entries[k].target};
        struct lx_dentry *d;
        int e = lx_mem_lookup(dev, entries[k].name, strlen(entries[k].name), &d);
        if (!e) {
            e = lx_mem_make(d, &m);
            lx_dentry_put(d);
        }
        if (e)
            return e;
    }
    return 0;
}
