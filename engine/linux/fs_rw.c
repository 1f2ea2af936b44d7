/* Calls that move bytes: read and write in all their forms, lseek, getdents64, sendfile, copy_file_range. */
#include "engine/linux/vfs.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A handler that gave others a turn runs again. */
static void resumed(struct lx_call *c)
{
    if (c->deadline_ns == 0) {
        c->deadline_ns = LX_NO_DEADLINE;
        if (c->wake == LX_WAKE_TIMEOUT)
            c->wake = LX_WAKE_NONE;
    }
}

/* More was asked for than one turn moves: go on later, unless a signal came. */
static int64_t next_piece(struct lx_call *c, struct lx_file *f, uint64_t done)
{
    c->progress[0] = done;
    if (c->wake == LX_WAKE_SIGNAL)
        return (int64_t)done;
    if (!c->held)
        c->held = lx_file_get(f);
    return lx_yield(c);
}

static int64_t read_file(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos)
{
    if (!lx_readable(f))
        return -EBADF;
    if (!f->ops->read)
        return S_ISDIR(f->inode->mode) ? -EISDIR : -EINVAL;
    uint64_t done = c->progress[0];
    lx_iter_skip(it, done);
    if (!it->left && !S_ISSOCK(f->inode->mode))
        return (int64_t)done;
    int64_t n = f->ops->read(c, f, it, pos);
    if (n == -EAGAIN)
        return lx_file_wait(c, f, (int64_t)done);
    if (n == LX_BLOCKED)
        return n;
    if (n < 0)
        return done ? (int64_t)done : n;
    done += (uint64_t)n;
    if (n >= (int64_t)LX_PIECE_BYTES && it->left && !f->ops->stream)
        return next_piece(c, f, done);
    return (int64_t)done;
}

static int64_t write_file(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos)
{
    if (!lx_writable(f))
        return -EBADF;
    if (!f->ops->write)
        return -EINVAL;
    uint64_t done = c->progress[0];
    lx_iter_skip(it, done);
    if (!it->left && !S_ISSOCK(f->inode->mode))
        return (int64_t)done;
    for (;;) {
        int64_t n = f->ops->write(c, f, it, pos);
        if (n == LX_BLOCKED)
            return n;
        if (n == -EAGAIN) {
            c->progress[0] = done;
            return lx_file_wait(c, f, (int64_t)done);
        }
        if (n == -EPIPE)
            lx_signal_thread(c->t, SIGPIPE);
        if (n < 0)
            return done ? (int64_t)done : n;
        done += (uint64_t)n;
        if (!it->left || !n)
            return (int64_t)done;
        if (f->ops->stream)
            continue;
        return n >= (int64_t)LX_PIECE_BYTES ? next_piece(c, f, done) : (int64_t)done;
    }
}

typedef int64_t (*mover)(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos);

/* vec: args are iov, count. at: a position is the argument behind them. */
static int64_t move(struct lx_call *c, mover f_move, bool vec, bool at)
{
    resumed(c);
    struct lx_file *f = lx_call_file(c, (int32_t)c->arg[0]);
    if (!f)
        return -EBADF;
    if (at && (int64_t)c->arg[3] < 0)
        return -EINVAL;
    if (at && f->ops->stream)
        return -ESPIPE;
    struct lx_iter it;
    if (vec) {
        int e = lx_iter_vec(&it, lx_call_mem(c), c->arg[1], c->arg[2]);
        if (e)
            return e;
    } else {
        if ((int64_t)c->arg[2] < 0)
            return f_move == read_file ? (lx_readable(f) ? -EINVAL : -EBADF)
                                       : (lx_writable(f) ? -EINVAL : -EBADF);
        lx_iter_one(&it, lx_call_mem(c), c->arg[1], MIN(c->arg[2], LX_RW_MAX));
    }
    uint64_t pos = at ? c->arg[3] + c->progress[0] : 0;
    int64_t r = f_move(c, f, &it, at ? &pos : &f->pos);
    lx_iter_fini(&it);
    return r;
}

LX_SYS(read)
{
    return lx_finish(c, move(c, read_file, false, false));
}

LX_SYS(write)
{
    return lx_finish(c, move(c, write_file, false, false));
}

LX_SYS(readv)
{
    return lx_finish(c, move(c, read_file, true, false));
}

LX_SYS(writev)
{
    return lx_finish(c, move(c, write_file, true, false));
}

LX_SYS(pread64)
{
    return lx_finish(c, move(c, read_file, false, true));
}

LX_SYS(pwrite64)
{
    return lx_finish(c, move(c, write_file, false, true));
}

LX_SYS(preadv)
{
    return lx_finish(c, move(c, read_file, true, true));
}

LX_SYS(pwritev)
{
    return lx_finish(c, move(c, write_file, true, true));
}

LX_SYS(lseek)
{
    struct lx_file *f = lx_call_file(c, (int32_t)c->arg[0]);
    if (!f)
        return -EBADF;
    if (!f->ops->seek || f->ops->stream)
        return -ESPIPE;
    return f->ops->seek(f, (int64_t)c->arg[1], (int)c->arg[2]);
}

/* ---- getdents64 ---- */

#define DIRENT_HEAD 19u
#define DENTS_BYTES ((size_t)32 << 10)

struct dents {
    uint8_t *buf;
    size_t len, cap;
    bool full;
};

static bool emit_dent(void *ctx, const char *name, size_t n, uint64_t ino, uint8_t type,
                      uint64_t next)
{
    struct dents *d = ctx;
    size_t bytes = ALIGN_UP(DIRENT_HEAD + n + 1, 8u);
    if (d->cap - d->len < bytes) {
        d->full = true;
        return false;
    }
    uint8_t *p = d->buf + d->len;
    uint16_t reclen = (uint16_t)bytes;
    memset(p, 0, bytes);
    memcpy(p, &ino, 8);
    memcpy(p + 8, &next, 8);
    memcpy(p + 16, &reclen, 2);
    p[18] = type;
    memcpy(p + DIRENT_HEAD, name, n);
    d->len += bytes;
    return true;
}

LX_SYS(getdents64)
{
    struct lx_file *f = lx_call_file(c, (int32_t)c->arg[0]);
    if (!f)
        return -EBADF;
    if (!f->ops->readdir)
        return -ENOTDIR;
    struct dents d = {.cap = MIN((uint32_t)c->arg[2], DENTS_BYTES)};
    CLEANUP(free_ptr) void *buf = d.buf = malloc(d.cap ? d.cap : 1);
    if (!buf)
        return -ENOMEM;
    uint64_t before = f->pos;
    int64_t e = f->ops->readdir(c, f, emit_dent, &d);
    if (e < 0)
        return e;
    lx_inode_accessed(f->inode);
    if (!d.len)
        return d.full ? -EINVAL : 0;
    if (lx_put(c, c->arg[1], d.buf, d.len)) {
        f->pos = before;
        return -EFAULT;
    }
    return (int64_t)d.len;
}

/* ---- from file to file ---- */

#define COPY_BYTES ((size_t)16 << 10)

/* Up to total bytes from in at *from to out at *to; c->progress[0] counts. limit: of one turn. */
static int64_t copy_files(struct lx_call *c, struct lx_file *in, uint64_t *from,
                          struct lx_file *out, uint64_t *to, uint64_t total)
{
    char buf[COPY_BYTES];
    uint64_t turn = 0;
    while (c->progress[0] < total) {
        struct lx_iter it;
        uint64_t at = *from;
        lx_iter_kernel(&it, buf, MIN(total - c->progress[0], sizeof buf));
        int64_t n = in->ops->read(c, in, &it, &at);
        if (n <= 0)
            return c->progress[0] || !n ? (int64_t)c->progress[0] : n;
        lx_iter_kernel(&it, buf, (size_t)n);
        int64_t w = out->ops->write(c, out, &it, to);
        if (w == -EAGAIN)
            return lx_file_wait(c, out, (int64_t)c->progress[0]);
        if (w == LX_BLOCKED)
            return w;
        if (w == -EPIPE)
            lx_signal_thread(c->t, SIGPIPE);
        if (w < 0)
            return c->progress[0] ? (int64_t)c->progress[0] : w;
        *from += (uint64_t)w;
        c->progress[0] += (uint64_t)w;
        turn += (uint64_t)w;
        if (turn >= LX_PIECE_BYTES && c->progress[0] < total)
            return c->wake == LX_WAKE_SIGNAL ? (int64_t)c->progress[0] : lx_yield(c);
    }
    return (int64_t)c->progress[0];
}

static int64_t do_sendfile(struct lx_call *c)
{
    resumed(c);
    struct lx_files *t = lx_call_process(c)->files;
    struct lx_file *out = lx_files_find(t, (int32_t)c->arg[0]),
                   *in = lx_files_find(t, (int32_t)c->arg[1]);
    if (!in || !out || !lx_readable(in) || !lx_writable(out))
        return -EBADF;
    if (!in->ops->read || !out->ops->write || (out->flags & O_APPEND))
        return -EINVAL;
    if (in->ops->stream)
        return c->arg[2] ? -ESPIPE : -EINVAL;
    uint64_t start = 0, from;
    if (c->arg[2] && lx_get(c, c->arg[2], &start, 8))
        return -EFAULT;
    if ((int64_t)start < 0)
        return -EINVAL;
    from = c->arg[2] ? start + c->progress[0] : in->pos;
    int64_t r = copy_files(c, in, &from, out, &out->pos, MIN(c->arg[3], LX_RW_MAX));
    if (!c->arg[2])
        in->pos = from;
    else if (r >= 0 && lx_put(c, c->arg[2], &from, 8))
        return -EFAULT;
    return r;
}

LX_SYS(sendfile)
{
    return lx_finish(c, do_sendfile(c));
}

static bool regular_pair(struct lx_file *in, struct lx_file *out, int64_t *e)
{
    if (S_ISDIR(in->inode->mode) || S_ISDIR(out->inode->mode))
        *e = -EISDIR;
    else if (!S_ISREG(in->inode->mode) || !S_ISREG(out->inode->mode) || !in->ops->read)
        *e = -EINVAL;
    else if (!lx_readable(in) || !lx_writable(out) || (out->flags & O_APPEND))
        *e = -EBADF;
    else
        return true;
    return false;
}

static int64_t do_copy_range(struct lx_call *c)
{
    resumed(c);
    struct lx_files *t = lx_call_process(c)->files;
    struct lx_file *in = lx_files_find(t, (int32_t)c->arg[0]),
                   *out = lx_files_find(t, (int32_t)c->arg[2]);
    uint64_t from = 0, to = 0, done = c->progress[0], len = MIN(c->arg[4], LX_RW_MAX);
    int64_t e;
    if (!in || !out)
        return -EBADF;
    if ((c->arg[1] && lx_get(c, c->arg[1], &from, 8)) ||
        (c->arg[3] && lx_get(c, c->arg[3], &to, 8)))
        return -EFAULT;
    if (c->arg[5])
        return -EINVAL;
    if (!regular_pair(in, out, &e))
        return e;
    if (!out->ops->write)
        return -EINVAL;
    from = c->arg[1] ? from + done : in->pos;
    to = c->arg[3] ? to + done : out->pos;
    if ((int64_t)from < 0 || (int64_t)to < 0)
        return -EINVAL;
    uint64_t fits = len - done;
    if (out->ops == &lx_mem_file_ops && (e = lx_fsize_write(c, to, &fits)) != 0)
        return done ? (int64_t)done : e;
    len = done + fits;
    uint64_t left = MIN(fits, lx_inode_size(in->inode) - MIN(from, lx_inode_size(in->inode)));
    if (in->inode == out->inode && to + left > from && to < from + left)
        return -EINVAL;
    int64_t r = copy_files(c, in, &from, out, &to, len);
    if (!c->arg[1])
        in->pos = from;
    if (!c->arg[3])
        out->pos = to;
    if (r >= 0 && ((c->arg[1] && lx_put(c, c->arg[1], &from, 8)) ||
                   (c->arg[3] && lx_put(c, c->arg[3], &to, 8))))
        return -EFAULT;
    return r;
}

LX_SYS(copy_file_range)
{
    return lx_finish(c, do_copy_range(c));
}
