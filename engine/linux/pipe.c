/* Pipes and FIFOs (pipe(7)), and the three rings of a console that is no terminal. */
#include "engine/linux/vfs.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define PIPE_CAP 65536u
#define PIPE_CAP_MAX (1u << 20)
#define PIPE_SOFT_PAGES 16384u /* of a guest: beyond, new pipes get one page */

/* ---- the ring ---- */

struct lx_pipe *lx_pipe_new(struct lx_vfs *v)
{
    struct lx_pipe *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->vfs = v;
    p->refs = 1;
    p->cap =
        v->pipe_pages + PIPE_CAP / PAGE_SIZE > PIPE_SOFT_PAGES ? (uint32_t)PAGE_SIZE : PIPE_CAP;
    v->pipe_pages += p->cap / PAGE_SIZE;
    lx_waitq_init(&p->wait);
    return p;
}

void lx_pipe_put(struct lx_pipe *p)
{
    if (--p->refs)
        return;
    p->vfs->pipe_pages -= p->cap / PAGE_SIZE;
    free(p->data);
    free(p);
}

/* The ring's memory grows with what it has to hold. */
static bool ring_room(struct lx_pipe *p, uint32_t want)
{
    if (want <= p->alloc)
        return true;
    uint32_t alloc = MAX(p->alloc * 2, (uint32_t)PAGE_SIZE);
    while (alloc < want)
        alloc *= 2;
    alloc = MIN(alloc, p->cap);
    uint8_t *d = malloc(alloc);
    if (!d)
        return false;
    uint32_t first = MIN(p->len, p->alloc - p->head);
    if (p->len) {
        memcpy(d, p->data + p->head, first);
        memcpy(d + first, p->data, p->len - first);
    }
    free(p->data);
    p->data = d;
    p->alloc = alloc;
    p->head = 0;
    return true;
}

size_t lx_pipe_give(struct lx_pipe *p, const void *in, size_t n)
{
    n = MIN(n, p->cap - p->len);
    if (!n || !ring_room(p, p->len + (uint32_t)n))
        return 0;
    uint32_t tail = (p->head + p->len) % p->alloc, first = MIN((uint32_t)n, p->alloc - tail);
    memcpy(p->data + tail, in, first);
    memcpy(p->data, (const uint8_t *)in + first, n - first);
    p->len += (uint32_t)n;
    return n;
}

size_t lx_pipe_take(struct lx_pipe *p, void *out, size_t n)
{
    n = MIN(n, p->len);
    if (!n)
        return 0;
    uint32_t first = MIN((uint32_t)n, p->alloc - p->head);
    memcpy(out, p->data + p->head, first);
    memcpy((uint8_t *)out + first, p->data, n - first);
    p->head = (p->head + (uint32_t)n) % p->alloc;
    p->len -= (uint32_t)n;
    if (!p->len)
        p->head = 0;
    return n;
}

/* What was taken last goes back to the front (it could not be delivered). */
static void untake(struct lx_pipe *p, size_t n)
{
    if (!p->len)
        p->head = (uint32_t)(p->alloc - n) % p->alloc;
    else
        p->head = (p->head + p->alloc - (uint32_t)n) % p->alloc;
    p->len += (uint32_t)n;
}

void lx_pipe_changed(struct lx_pipe *p)
{
    lx_wake_all(p->vfs->lx, &p->wait);
    if (p->console) {
        const struct lx_config *cfg = lx_config_of(p->vfs->lx);
        if (cfg->console)
            cfg->console(cfg->ctx);
    }
}

/* ---- file operations ---- */

static int64_t pipe_read(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos)
{
    (void)c, (void)pos;
    struct lx_pipe *p = f->priv;
    char buf[4096];
    int64_t done = 0;
    if (!p->len)
        return p->writers ? -EAGAIN : 0;
    while (p->len && it->left) { /* a page that cannot be moved whole stays, as in Linux */
        size_t n = lx_pipe_take(p, buf, MIN(it->left, sizeof buf));
        if (lx_iter_put(it, buf, n) < n) {
            if (p->len)
                untake(p, n);
            else
                lx_pipe_give(p, buf, n);
            break;
        }
        done += (int64_t)n;
    }
    if (done)
        lx_pipe_changed(p);
    return done ? done : -EFAULT;
}

static int64_t pipe_write(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos)
{
    (void)c, (void)pos;
    struct lx_pipe *p = f->priv;
    char buf[4096];
    int64_t done = 0;
    if (!p->readers)
        return -EPIPE;
    uint32_t room = p->cap - p->len;
    if (room <
        MIN(it->left, (uint64_t)PIPE_BUF)) /* PIPE_BUF bytes go whole; more wait for a page */
        return -EAGAIN;
    if (!ring_room(p, p->len + (uint32_t)MIN(it->left, room)))
        return -ENOMEM;
    while (it->left && p->len < p->cap) {
        size_t want = MIN(MIN(it->left, sizeof buf), p->cap - p->len);
        if (lx_iter_get(it, buf, want) < want)
            break;
        lx_pipe_give(p, buf, want);
        done += (int64_t)want;
    }
    if (done)
        lx_pipe_changed(p);
    return done ? done : -EFAULT;
}

static uint32_t pipe_poll(struct lx_file *f, struct lx_call *c)
{
    struct lx_pipe *p = f->priv;
    uint32_t m = 0;
    if (c)
        lx_block(c, &p->wait);
    if (lx_readable(f)) {
        if (p->len)
            m |= POLLIN | POLLRDNORM;
        if (!p->writers && p->opens_w)
            m |= POLLHUP;
    }
    if (lx_writable(f)) {
        if (p->cap - p->len >= MIN((uint32_t)PIPE_BUF, p->cap))
            m |= POLLOUT | POLLWRNORM;
        if (!p->readers)
            m |= POLLERR;
    }
    return m;
}

static int64_t pipe_ioctl(struct lx_call *c, struct lx_file *f, uint32_t cmd, uint64_t arg)
{
    struct lx_pipe *p = f->priv;
    if (cmd != FIONREAD)
        return -ENOTTY;
    return lx_put(c, arg, &p->len, 4);
}

static void pipe_release(struct lx_file *f)
{
    struct lx_pipe *p = f->priv;
    if (lx_readable(f))
        p->readers--;
    if (lx_writable(f))
        p->writers--;
    lx_pipe_changed(p);
    if (!p->readers && !p->writers && S_ISFIFO(f->inode->mode) &&
        f->inode->pipe == p) { /* a FIFO forgets */
        p->len = p->head = 0;
    }
    lx_pipe_put(p);
}

const struct lx_file_ops lx_pipe_ops = {.read = pipe_read,
                                        .write = pipe_write,
                                        .poll = pipe_poll,
                                        .ioctl = pipe_ioctl,
                                        .release = pipe_release,
                                        .stream = true};

/* A file for one (or both) ends of a pipe. */
struct lx_file *lx_pipe_file(struct lx_dentry *d, uint32_t flags)
{
    struct lx_pipe *p = d->inode->pipe;
    struct lx_file *f = lx_file_new(d->sb->vfs, d, flags, &lx_pipe_ops);
    if (!f)
        return NULL;
    f->priv = p;
    p->refs++;
    if (lx_readable(f)) {
        p->readers++;
        p->opens_r++;
    }
    if (lx_writable(f)) {
        p->writers++;
        p->opens_w++;
    }
    return f;
}

/* ---- pipe2 ---- */

/* A nameless pipe's dentry; the one reference to it is the caller's. */
struct lx_dentry *lx_pipe_dentry(struct lx_vfs *v, struct lx_pipe *p, uint32_t uid, uint32_t gid)
{
    char text[40];
    struct lx_inode *i = lx_inode_new(&v->sb[LX_SB_PIPE], S_IFIFO | 0600);
    if (!i)
        return NULL;
    i->uid = uid;
    i->gid = gid;
    snprintf(text, sizeof text, "pipe:[%llu]", (unsigned long long)i->ino);
    struct lx_dentry *d = lx_nameless(&v->sb[LX_SB_PIPE], i, text);
    if (!d) {
        lx_inode_put(i);
        return NULL;
    }
    i->pipe = p;
    p->refs++;
    return d;
}

static int64_t make_pipe(struct lx_call *c, uint32_t flags, struct lx_file *f[2])
{
    struct lx_vfs *v = lx_vfs_of(c->lx);
    struct lx_process *pr = lx_call_process(c);
    struct lx_pipe *p = lx_pipe_new(v);
    if (!p)
        return -ENOMEM;
    struct lx_dentry *d = lx_pipe_dentry(v, p, pr->euid, pr->egid);
    lx_pipe_put(p);
    if (!d)
        return -ENOMEM;
    f[0] = lx_pipe_file(d, O_RDONLY | (flags & O_NONBLOCK));
    f[1] = f[0] ? lx_pipe_file(d, O_WRONLY | (flags & (O_NONBLOCK | O_DIRECT))) : NULL;
    lx_dentry_put(d);
    if (f[1])
        return 0;
    if (f[0])
        lx_file_put(f[0]);
    return -ENFILE;
}

LX_SYS(pipe2)
{
    uint32_t flags = (uint32_t)c->arg[1];
    if (flags & ~(uint32_t)(O_CLOEXEC | O_NONBLOCK | O_DIRECT))
        return -EINVAL;
    struct lx_files *t = lx_call_process(c)->files;
    struct lx_file *f[2];
    int64_t e = make_pipe(c, flags, f);
    if (e)
        return e;
    int32_t fd[2];
    fd[0] = lx_files_install(t, f[0], flags & O_CLOEXEC);
    fd[1] = fd[0] < 0 ? fd[0] : lx_files_install(t, f[1], flags & O_CLOEXEC);
    e = fd[1] < 0 ? fd[1] : lx_put(c, c->arg[0], fd, sizeof fd);
    if (e) {
        if (fd[0] >= 0)
            lx_files_close(t, fd[0], NULL);
        if (fd[1] >= 0)
            lx_files_close(t, fd[1], NULL);
    }
    lx_file_put(f[0]);
    lx_file_put(f[1]);
    return e;
}

/* ---- FIFOs ---- */

/* fifo(7): open waits for the other end. progress[3]: 0 at first; then 1 + how often the other end had been opened when this one
 * came; the half-open file waits in c->held. */
int64_t lx_fifo_open(struct lx_call *c, struct lx_dentry *d, uint32_t flags, struct lx_file **out)
{
    struct lx_inode *i = d->inode;
    struct lx_vfs *v = d->sb->vfs;
    uint32_t acc = flags & O_ACCMODE;
    if (!i->pipe && !(i->pipe = lx_pipe_new(v)))
        return -ENOMEM;
    struct lx_pipe *p = i->pipe;
    if (acc == O_WRONLY && (flags & O_NONBLOCK) && !p->readers)
        return -ENXIO;
    struct lx_file *f = lx_pipe_file(d, flags);
    if (!f)
        return -ENFILE;
    lx_pipe_changed(p);
    bool there =
        acc == O_RDWR || (flags & O_NONBLOCK) || (acc == O_RDONLY ? p->writers : p->readers);
    if (there) {
        *out = f;
        return 0;
    }
    c->held = f;
    c->progress[3] = 1 + (uint64_t)(acc == O_RDONLY ? p->opens_w : p->opens_r);
    return lx_block(c, &p->wait);
}

/* The handler of an open that waits is run again: 0 and the file, LX_BLOCKED, or an error. */
int64_t lx_fifo_resume(struct lx_call *c, struct lx_file **out)
{
    struct lx_file *f = c->held;
    struct lx_pipe *p = f->priv;
    uint32_t seen = lx_readable(f) ? p->opens_w : p->opens_r;
    if ((uint32_t)(c->progress[3] - 1) != seen) {
        *out = f;
        c->held = NULL;
        return 0;
    }
    if (c->wake == LX_WAKE_SIGNAL)
        return lx_interrupted(c, LX_RESTART_SA);
    return lx_block(c, &p->wait);
}

int64_t lx_pipe_set_size(struct lx_pipe *p, uint64_t bytes)
{
    if (bytes > INT32_MAX || !bytes)
        return -EINVAL;
    uint32_t cap = (uint32_t)PAGE_SIZE;
    while (cap < bytes && cap < PIPE_CAP_MAX * 2)
        cap *= 2;
    if (cap > PIPE_CAP_MAX)
        return -EPERM;
    if (cap < p->len)
        return -EBUSY;
    if (p->alloc > cap) { /* the ring's memory must not be larger than its capacity */
        uint8_t *d = malloc(cap);
        uint32_t len = p->len;
        if (!d)
            return -ENOMEM;
        lx_pipe_take(p, d, len);
        free(p->data);
        p->data = d;
        p->alloc = cap;
        p->len = len;
        p->head = 0;
    }
    p->vfs->pipe_pages += cap / PAGE_SIZE;
    p->vfs->pipe_pages -= p->cap / PAGE_SIZE;
    p->cap = cap;
    lx_pipe_changed(p);
    return cap;
}
