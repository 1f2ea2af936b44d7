/* dup3, fcntl, ioctl, close_range. */
#include "engine/linux/vfs.h"

#include <linux/close_range.h>
#include <sys/ioctl.h>

static struct lx_files *table(struct lx_call *c)
{
    return lx_call_process(c)->files;
}

LX_SYS(dup)
{
    struct lx_file *f = lx_files_any(table(c), (int32_t)c->arg[0]);
    return f ? lx_files_install(table(c), f, false) : -EBADF;
}

LX_SYS(dup3)
{
    uint32_t from = (uint32_t)c->arg[0], to = (uint32_t)c->arg[1], flags = (uint32_t)c->arg[2];
    if ((flags & ~(uint32_t)O_CLOEXEC) || from == to)
        return -EINVAL;
    struct lx_file *f = lx_files_any(table(c), (int32_t)from);
    if (to >= lx_files_limit(table(c)) || !f)
        return -EBADF;
    return lx_files_replace(table(c), to, f, flags & O_CLOEXEC, lx_call_process(c));
}

#define SETFL_MASK (uint32_t)(O_APPEND | O_NONBLOCK | FASYNC | O_DIRECT | O_NOATIME)

static int64_t do_fcntl(struct lx_call *c, struct lx_file *f, uint32_t fd)
{
    uint32_t cmd = (uint32_t)c->arg[1];
    uint64_t arg = c->arg[2];
    switch (cmd) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        if ((uint32_t)arg >= lx_files_limit(table(c)))
            return -EINVAL;
        return lx_files_install_at(table(c), f, (uint32_t)arg, cmd == F_DUPFD_CLOEXEC);
    case F_GETFD:
        return lx_files_cloexec(table(c), fd) ? FD_CLOEXEC : 0;
    case F_SETFD:
        lx_files_set_cloexec(table(c), fd, arg & FD_CLOEXEC);
        return 0;
    case F_GETFL:
        return f->flags;
    }
    if (f->flags & O_PATH)
        return -EBADF;
    switch (cmd) {
    case F_SETFL:
        f->flags = (f->flags & ~SETFL_MASK) | ((uint32_t)arg & SETFL_MASK);
        return 0;
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case 36: /* F_OFD_GETLK */
    case 37:
    case 38:
        return lx_lock_fcntl(c, f, cmd, arg);
    case F_SETOWN:
        f->owner = (uint32_t)arg;
        return 0;
    case F_GETOWN:
        return (int32_t)f->owner;
    case F_GETPIPE_SZ:
        return f->ops == &lx_pipe_ops ? (int64_t)((struct lx_pipe *)f->priv)->cap : -EBADF;
    case F_SETPIPE_SZ:
        return f->ops == &lx_pipe_ops ? lx_pipe_set_size(f->priv, arg) : -EBADF;
    default:
        return -EINVAL;
    }
}

LX_SYS(fcntl)
{
    uint32_t fd = (uint32_t)c->arg[0];
    struct lx_file *f = c->held ? c->held : lx_files_any(table(c), (int32_t)fd);
    if (!f)
        return -EBADF;
    return lx_finish(c, do_fcntl(c, f, fd));
}

static int64_t do_ioctl(struct lx_call *c, struct lx_file *f)
{
    uint32_t cmd = (uint32_t)c->arg[1], fd = (uint32_t)c->arg[0];
    uint64_t arg = c->arg[2];
    int32_t value;
    switch (cmd) {
    case FIOCLEX:
    case FIONCLEX:
        if (!c->held)
            lx_files_set_cloexec(table(c), fd, cmd == FIOCLEX);
        return 0;
    case FIONBIO:
    case FIOASYNC: {
        uint32_t bit = cmd == FIONBIO ? O_NONBLOCK : FASYNC;
        if (lx_get(c, arg, &value, sizeof value))
            return -EFAULT;
        f->flags = value ? f->flags | bit : f->flags & ~bit;
        return 0;
    }
    case FIONREAD:
        if (S_ISREG(f->inode->mode)) {
            value = (int32_t)(lx_inode_size(f->inode) - f->pos);
            return lx_put(c, arg, &value, sizeof value);
        }
        break;
    }
    return f->ops->ioctl ? f->ops->ioctl(c, f, cmd, arg) : -ENOTTY;
}

LX_SYS(ioctl)
{
    struct lx_file *f = lx_call_file(c, (int32_t)c->arg[0]);
    return f ? lx_finish(c, do_ioctl(c, f)) : -EBADF;
}

LX_SYS(close_range)
{
    uint32_t first = (uint32_t)c->arg[0], last = (uint32_t)c->arg[1], flags = (uint32_t)c->arg[2];
    struct lx_process *p = lx_call_process(c);
    if ((flags & ~(uint32_t)(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) || first > last)
        return -EINVAL;
    if ((flags & CLOSE_RANGE_UNSHARE) && lx_files_shared(p->files)) {
        struct lx_files *own = lx_files_clone(p->files);
        if (!own)
            return -ENOMEM;
        lx_files_put(p->files, p);
        p->files = own;
    }
    struct lx_files *t = p->files;
    for (uint32_t fd = first; fd < t->cap && fd <= last; fd++) {
        if (!t->file[fd])
            continue;
        if (flags & CLOSE_RANGE_CLOEXEC)
            lx_files_set_cloexec(t, fd, true);
        else
            lx_files_close(t, fd, p);
    }
    return 0;
}
