/* The socket calls. */
#include "engine/linux/sock.h"

#include <stdlib.h>
#include <string.h>

/* The socket of a descriptor (kept over blocking), or NULL and *e. */
struct lx_sock *lx_sock_arg(struct lx_call *c, struct lx_file **file, int64_t *e)
{
    struct lx_file *f = lx_call_file(c, (int32_t)c->arg[0]);
    struct lx_sock *s = f ? lx_file_sock(f) : NULL;
    *e = f ? -ENOTSOCK : -EBADF;
    *file = f;
    return s;
}

int64_t lx_sock_addr_in(struct lx_call *c, uint64_t at, uint64_t len, struct lx_addr *a)
{
    memset(a, 0, sizeof *a);
    if ((int32_t)len < 0 || (uint32_t)len > 128)
        return -EINVAL;
    a->len = MIN((uint32_t)len, 110u);
    return a->len && lx_get(c, at, a->b, a->len) ? -EFAULT : 0;
}

/* An address and its length (in and out). */
int64_t lx_sock_addr_out(struct lx_call *c, const struct lx_addr *a, uint64_t at, uint64_t len_at)
{
    uint32_t room;
    if (!at)
        return 0;
    if (lx_get(c, len_at, &room, 4))
        return -EFAULT;
    if ((int32_t)room < 0)
        return -EINVAL;
    if (lx_put(c, at, a->b, MIN(room, a->len)) || lx_put(c, len_at, &a->len, 4))
        return -EFAULT;
    return 0;
}

/* ---- making ---- */

static int64_t check_kind(uint32_t family, uint32_t type, uint32_t *protocol)
{
    if (type > SOCK_SEQPACKET && type != SOCK_PACKET)
        return -EINVAL;
    if (family == AF_UNIX) {
        if (*protocol && *protocol != AF_UNIX)
            return -EPROTONOSUPPORT;
        return type == SOCK_STREAM || type == SOCK_DGRAM || type == SOCK_SEQPACKET
                   ? 0
                   : -ESOCKTNOSUPPORT;
    }
    if (family != AF_INET)
        return -EAFNOSUPPORT;
    if (type == SOCK_STREAM || type == SOCK_DGRAM) {
        uint32_t own = type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
        if (*protocol && *protocol != own)
            return -EPROTONOSUPPORT;
        *protocol = own;
        return 0;
    }
    return type == SOCK_RAW ? -EPERM : -ESOCKTNOSUPPORT;
}

static struct lx_sock *make(struct lx_call *c, uint32_t family, uint32_t type, uint32_t protocol)
{
    struct lx_process *p = lx_call_process(c);
    struct lx_sock *s =
        lx_sock_new(lx_vfs_of(c->lx), (uint16_t)family, (uint16_t)type, (uint16_t)protocol);
    if (s) {
        s->cred_pid = p->pid;
        s->cred_uid = p->euid;
        s->cred_gid = p->egid;
    }
    return s;
}

/* A descriptor for s, whose reference it takes over. */
static int64_t install(struct lx_call *c, struct lx_sock *s, uint32_t flags)
{
    struct lx_process *p = lx_call_process(c);
    struct lx_file *f = lx_sock_file(s, flags, p->euid, p->egid);
    if (!f)
        return -ENFILE;
    int64_t fd = lx_files_install(p->files, f, flags & SOCK_CLOEXEC);
    lx_file_put(f);
    return fd;
}

LX_SYS(socket)
{
    uint32_t type = (uint32_t)c->arg[1], flags = type & (SOCK_CLOEXEC | SOCK_NONBLOCK),
             protocol = (uint32_t)c->arg[2];
    type &= ~(uint32_t)(SOCK_CLOEXEC | SOCK_NONBLOCK);
    int64_t e = check_kind((uint32_t)c->arg[0], type, &protocol);
    if (e)
        return e;
    struct lx_sock *s = make(c, (uint32_t)c->arg[0], type, protocol);
    return s ? install(c, s, flags) : -ENFILE;
}

LX_SYS(socketpair)
{
    uint32_t type = (uint32_t)c->arg[1], flags = type & (SOCK_CLOEXEC | SOCK_NONBLOCK),
             protocol = (uint32_t)c->arg[2];
    type &= ~(uint32_t)(SOCK_CLOEXEC | SOCK_NONBLOCK);
    int64_t e = check_kind((uint32_t)c->arg[0], type, &protocol);
    if (e)
        return e;
    if (c->arg[0] != AF_UNIX)
        return -EOPNOTSUPP;
    struct lx_sock *a = make(c, AF_UNIX, type, 0), *b = a ? make(c, AF_UNIX, type, 0) : NULL;
    if (!b) {
        if (a)
            lx_sock_put(a);
        return -ENFILE;
    }
    lx_sock_pair(a, b);
    int32_t fd[2];
    fd[0] = (int32_t)install(c, a, flags);
    fd[1] = (int32_t)install(c, b, flags);
    e = fd[0] < 0 ? fd[0] : fd[1] < 0 ? fd[1] : lx_put(c, c->arg[3], fd, sizeof fd);
    for (int k = 0; k < 2 && e; k++)
        if (fd[k] >= 0)
            lx_files_close(lx_call_process(c)->files, fd[k], NULL);
    return e;
}

LX_SYS(bind)
{
    struct lx_file *f;
    struct lx_addr a;
    int64_t e;
    struct lx_sock *s = lx_sock_arg(c, &f, &e);
    if (!s || (e = lx_sock_addr_in(c, c->arg[1], c->arg[2], &a)))
        return e;
    return s->family == AF_UNIX ? lx_unix_bind(c, s, &a) : lx_inet_bind(c, s, &a);
}

LX_SYS(listen)
{
    struct lx_file *f;
    int64_t e;
    struct lx_sock *s = lx_sock_arg(c, &f, &e);
    if (!s)
        return e;
    if (s->type == SOCK_DGRAM)
        return -EOPNOTSUPP;
    if (s->state != LX_SOCK_NEW && s->state != LX_SOCK_LISTEN)
        return -EINVAL;
    if (!s->bound) {
        if (s->family == AF_UNIX)
            return -EINVAL;
        if ((e = lx_inet_autobind(s, INADDR_ANY)))
            return e;
    }
    s->backlog_max = MIN((uint32_t)c->arg[1], LX_BACKLOG_MAX);
    s->state = LX_SOCK_LISTEN;
    s->opt[SO_ACCEPTCONN] = 1;
    return 0;
}

static int64_t do_accept(struct lx_call *c, uint32_t flags)
{
    struct lx_file *f;
    int64_t e;
    struct lx_sock *s = lx_sock_arg(c, &f, &e);
    if (!s)
        return e;
    if (flags & ~(uint32_t)(SOCK_CLOEXEC | SOCK_NONBLOCK))
        return -EINVAL;
    if (s->type == SOCK_DGRAM)
        return -EOPNOTSUPP;
    if (s->state != LX_SOCK_LISTEN)
        return -EINVAL;
    if (list_empty(&s->backlog)) {
        if (s->rcvtimeo_ns && !(f->flags & O_NONBLOCK))
            lx_deadline_after(c, s->rcvtimeo_ns);
        return lx_file_wait(c, f, 0);
    }
    struct lx_sock *n = list_entry(s->backlog.next, struct lx_sock, waiting);
    struct lx_addr from = n->remote;
    list_remove(&n->waiting);
    s->backlog_count--;
    lx_sock_changed(s);
    int64_t fd = install(c, n, flags);
    if (fd >= 0 && c->arg[1] && (e = lx_sock_addr_out(c, &from, c->arg[1], c->arg[2]))) {
        lx_files_close(lx_call_process(c)->files, fd, NULL);
        return e;
    }
    return fd;
}

LX_SYS(accept)
{
    return lx_finish(c, do_accept(c, 0));
}

LX_SYS(accept4)
{
    return lx_finish(c, do_accept(c, (uint32_t)c->arg[3]));
}

LX_SYS(connect)
{
    struct lx_file *f;
    struct lx_addr a;
    int64_t e;
    struct lx_sock *s = lx_sock_arg(c, &f, &e);
    if (!s || (e = lx_sock_addr_in(c, c->arg[1], c->arg[2], &a)))
        return lx_finish(c, e);
    bool nonblock = f->flags & O_NONBLOCK;
    e = s->family == AF_UNIX ? lx_unix_connect(c, s, &a, nonblock)
                             : lx_inet_connect(c, s, &a, nonblock);
    if (e == LX_BLOCKED && !c->held)
        c->held = lx_file_get(f);
    return lx_finish(c, e);
}

LX_SYS(getsockname)
{
    struct lx_file *f;
    int64_t e;
    struct lx_sock *s = lx_sock_arg(c, &f, &e);
    return s ? (c->arg[1] ? lx_sock_addr_out(c, &s->local, c->arg[1], c->arg[2]) : -EFAULT) : e;
}

LX_SYS(getpeername)
{
    struct lx_file *f;
    int64_t e;
    struct lx_sock *s = lx_sock_arg(c, &f, &e);
    if (!s)
        return e;
    if (s->state != LX_SOCK_CONNECTED || (s->family == AF_UNIX && s->peer_gone))
        return -ENOTCONN;
    return c->arg[1]
               ? lx_sock_addr_out(c, s->family == AF_UNIX && s->peer ? &s->peer->local : &s->remote,
                                  c->arg[1], c->arg[2])
               : -EFAULT;
}

LX_SYS(shutdown)
{
    struct lx_file *f;
    int64_t e;
    uint32_t how = (uint32_t)c->arg[1];
    struct lx_sock *s = lx_sock_arg(c, &f, &e);
    if (!s)
        return e;
    if (how > SHUT_RDWR)
        return -EINVAL;
    if (s->state != LX_SOCK_CONNECTED)
        return s->family == AF_UNIX && s->state == LX_SOCK_LISTEN ? 0 : -ENOTCONN;
    s->shut_rd |= how != SHUT_WR;
    s->shut_wr |= how != SHUT_RD;
    lx_sock_changed(s);
    if (s->peer)
        lx_sock_changed(s->peer);
    return 0;
}

LX_SYS(setsockopt)
{
    struct lx_file *f;
    int64_t e;
    struct lx_sock *s = lx_sock_arg(c, &f, &e);
    return s ? lx_sock_setopt(c, s, (uint32_t)c->arg[1], (uint32_t)c->arg[2], c->arg[3],
                              (uint32_t)c->arg[4])
             : e;
}

LX_SYS(getsockopt)
{
    struct lx_file *f;
    int64_t e;
    struct lx_sock *s = lx_sock_arg(c, &f, &e);
    return s ? lx_sock_getopt(c, s, (uint32_t)c->arg[1], (uint32_t)c->arg[2], c->arg[3], c->arg[4])
             : e;
}
