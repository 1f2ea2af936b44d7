/* The socket calls. */
#include "engine/linux/sock.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* The socket of a descriptor (kept over blocking), or NULL and *e. */
static struct lx_sock *sock_arg(struct lx_call *c, struct lx_file **file, int64_t *e)
{
    struct lx_file *f = lx_call_file(c, (int32_t)c->arg[0]);
    struct lx_sock *s = f ? lx_file_sock(f) : NULL;
    *e = f ? -ENOTSOCK : -EBADF;
    *file = f;
    return s;
}

static int64_t get_addr(struct lx_call *c, uint64_t at, uint64_t len, struct lx_addr *a)
{
    memset(a, 0, sizeof *a);
    if ((int32_t)len < 0 || (uint32_t)len > 128)
        return -EINVAL;
    a->len = MIN((uint32_t)len, 110u);
    return a->len && lx_get(c, at, a->b, a->len) ? -EFAULT : 0;
}

/* An address and its length (in and out). */
static int64_t put_addr(struct lx_call *c, const struct lx_addr *a, uint64_t at, uint64_t len_at)
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
    struct lx_sock *s = sock_arg(c, &f, &e);
    if (!s || (e = get_addr(c, c->arg[1], c->arg[2], &a)))
        return e;
    return s->family == AF_UNIX ? lx_unix_bind(c, s, &a) : lx_inet_bind(c, s, &a);
}

LX_SYS(listen)
{
    struct lx_file *f;
    int64_t e;
    struct lx_sock *s = sock_arg(c, &f, &e);
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
    struct lx_sock *s = sock_arg(c, &f, &e);
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
    if (fd >= 0 && c->arg[1] && (e = put_addr(c, &from, c->arg[1], c->arg[2]))) {
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
    struct lx_sock *s = sock_arg(c, &f, &e);
    if (!s || (e = get_addr(c, c->arg[1], c->arg[2], &a)))
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
    struct lx_sock *s = sock_arg(c, &f, &e);
    return s ? (c->arg[1] ? put_addr(c, &s->local, c->arg[1], c->arg[2]) : -EFAULT) : e;
}

LX_SYS(getpeername)
{
    struct lx_file *f;
    int64_t e;
    struct lx_sock *s = sock_arg(c, &f, &e);
    if (!s)
        return e;
    if (s->state != LX_SOCK_CONNECTED || (s->family == AF_UNIX && s->peer_gone))
        return -ENOTCONN;
    return c->arg[1] ? put_addr(c, s->family == AF_UNIX && s->peer ? &s->peer->local : &s->remote,
                                c->arg[1], c->arg[2])
                     : -EFAULT;
}

LX_SYS(shutdown)
{
    struct lx_file *f;
    int64_t e;
    uint32_t how = (uint32_t)c->arg[1];
    struct lx_sock *s = sock_arg(c, &f, &e);
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
    struct lx_sock *s = sock_arg(c, &f, &e);
    return s ? lx_sock_setopt(c, s, (uint32_t)c->arg[1], (uint32_t)c->arg[2], c->arg[3],
                              (uint32_t)c->arg[4])
             : e;
}

LX_SYS(getsockopt)
{
    struct lx_file *f;
    int64_t e;
    struct lx_sock *s = sock_arg(c, &f, &e);
    return s ? lx_sock_getopt(c, s, (uint32_t)c->arg[1], (uint32_t)c->arg[2], c->arg[3], c->arg[4])
             : e;
}

/* ---- sending ---- */

#define SEND_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL | MSG_EOR | MSG_MORE | MSG_CONFIRM | MSG_DONTROUTE)

/* Sends all of m->it, waiting for room if it may; c->progress[0] counts for streams. */
static int64_t send_all(struct lx_call *c, struct lx_file *f, struct lx_sock *s, struct lx_msg *m)
{
    uint64_t done = c->progress[0];
    lx_iter_skip(m->it, done);
    if (m->flags & MSG_OOB)
        return -EOPNOTSUPP;
    for (;;) {
        int64_t n = lx_sock_send(c, s, m);
        if (n == -EAGAIN) {
            c->progress[0] = done;
            if (m->flags & MSG_DONTWAIT)
                return done ? (int64_t)done : n;
            if (s->sndtimeo_ns)
                lx_deadline_after(c, s->sndtimeo_ns);
            return lx_file_wait(c, f, (int64_t)done);
        }
        if (n == -EPIPE && !(m->flags & MSG_NOSIGNAL) && s->type != SOCK_DGRAM)
            lx_signal_thread(c->t, SIGPIPE);
        if (n < 0)
            return done ? (int64_t)done : n;
        done += (uint64_t)n;
        if (!m->it->left || !n || !lx_sock_stream(s))
            return (int64_t)done;
    }
}

static int64_t send_addr_check(const struct lx_sock *s, struct lx_msg *m)
{
    if (!m->to || !lx_sock_stream(s))
        return 0;
    if (s->family == AF_UNIX)
        return s->state == LX_SOCK_CONNECTED ? -EISCONN : -EOPNOTSUPP;
    m->to = NULL; /* TCP looks away */
    return 0;
}

static int64_t do_sendto(struct lx_call *c)
{
    struct lx_file *f;
    struct lx_addr to;
    struct lx_iter it;
    int64_t e;
    struct lx_sock *s = sock_arg(c, &f, &e);
    if (!s)
        return e;
    if ((int64_t)c->arg[2] < 0)
        return -EINVAL;
    struct lx_msg m = {.it = &it, .flags = (uint32_t)c->arg[3]};
    if (c->arg[4]) {
        if ((e = get_addr(c, c->arg[4], c->arg[5], &to)))
            return e;
        m.to = &to;
    }
    if ((e = send_addr_check(s, &m)))
        return e;
    lx_iter_one(&it, lx_call_mem(c), c->arg[1], MIN(c->arg[2], LX_RW_MAX));
    return send_all(c, f, s, &m);
}

LX_SYS(sendto)
{
    return lx_finish(c, do_sendto(c));
}

struct guest_msghdr {
    uint64_t name;
    uint32_t name_len, pad0;
    uint64_t iov, iov_len, control, control_len;
    uint32_t flags, pad1;
};
_Static_assert(sizeof(struct guest_msghdr) == 56, "struct msghdr, 64 bit");
struct guest_cmsghdr {
    uint64_t len;
    int32_t level, type;
};

/* The files of one SCM_RIGHTS message. */
static int64_t get_rights(struct lx_call *c, uint64_t at, uint64_t bytes, struct lx_scm **out)
{
    int32_t fds[LX_SCM_MAX];
    uint32_t n = (uint32_t)(bytes / 4);
    if (n > LX_SCM_MAX || *out)
        return -EINVAL;
    if (lx_get(c, at, fds, n * 4ul))
        return -EFAULT;
    struct lx_scm *scm = malloc(sizeof *scm + n * sizeof scm->file[0]);
    if (!scm)
        return -ENOMEM;
    scm->count = 0;
    for (uint32_t k = 0; k < n; k++) {
        struct lx_file *f = lx_files_any(lx_call_process(c)->files, fds[k]);
        if (!f) {
            lx_scm_put(scm);
            return -EBADF;
        }
        scm->file[scm->count++] = lx_file_get(f);
    }
    *out = scm;
    return 0;
}

static int64_t get_control(struct lx_call *c, struct lx_sock *s, const struct guest_msghdr *h,
                           struct lx_scm **out)
{
    struct guest_cmsghdr cm;
    if (h->control_len > 65536)
        return -ENOBUFS;
    for (uint64_t off = 0; off + sizeof cm <= h->control_len;) {
        if (lx_get(c, h->control + off, &cm, sizeof cm))
            return -EFAULT;
        if (cm.len < sizeof cm || cm.len > h->control_len - off)
            return -EINVAL;
        if (cm.level == SOL_SOCKET && cm.type == SCM_RIGHTS) {
            int64_t e = s->family == AF_UNIX
                            ? get_rights(c, h->control + off + sizeof cm, cm.len - sizeof cm, out)
                            : -EINVAL;
            if (e)
                return e;
        } else if (cm.level == SOL_SOCKET && cm.type != SCM_CREDENTIALS) {
            return -EINVAL;
        }
        off += ALIGN_UP(cm.len, (uint64_t)8);
    }
    return 0;
}

static int64_t do_sendmsg(struct lx_call *c)
{
    struct lx_file *f;
    struct guest_msghdr h;
    struct lx_addr to;
    struct lx_iter it;
    int64_t e;
    struct lx_sock *s = sock_arg(c, &f, &e);
    if (!s)
        return e;
    if (lx_get(c, c->arg[1], &h, sizeof h))
        return -EFAULT;
    struct lx_msg m = {.it = &it, .flags = (uint32_t)c->arg[2]};
    if (h.name && h.name_len) {
        if ((e = get_addr(c, h.name, h.name_len, &to)))
            return e;
        m.to = &to;
    }
    if ((e = send_addr_check(s, &m)))
        return e;
    if (h.iov_len > 1024)
        return -EMSGSIZE;
    if ((e = lx_iter_vec(&it, lx_call_mem(c), h.iov, h.iov_len)))
        return e;
    if (!c->progress[0]) /* they go with the first bytes */
        e = get_control(c, s, &h, &m.scm);
    if (!e)
        e = send_all(c, f, s, &m);
    lx_scm_put(m.scm);
    lx_iter_fini(&it);
    return e;
}

LX_SYS(sendmsg)
{
    return lx_finish(c, do_sendmsg(c));
}

/* ---- receiving ---- */

/* Receives once, or until all is there (MSG_WAITALL); c->progress[0] counts. */
static int64_t recv_some(struct lx_call *c, struct lx_file *f, struct lx_sock *s, struct lx_msg *m)
{
    uint64_t done = c->progress[0];
    lx_iter_skip(m->it, done);
    if (m->flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (m->flags & MSG_ERRQUEUE)
        return -EAGAIN;
    bool all = (m->flags & MSG_WAITALL) && lx_sock_stream(s) && !(m->flags & MSG_PEEK);
    for (;;) {
        if (all && !m->it->left)
            return (int64_t)done;
        int64_t n = lx_sock_recv(c, s, m);
        if (n == -EAGAIN) {
            c->progress[0] = done;
            if (m->flags & MSG_DONTWAIT)
                return done ? (int64_t)done : n;
            if (s->rcvtimeo_ns)
                lx_deadline_after(c, s->rcvtimeo_ns);
            return lx_file_wait(c, f, (int64_t)done);
        }
        if (n < 0)
            return done ? (int64_t)done : n;
        done += (uint64_t)n;
        if (!all || !n || m->scm)
            return (int64_t)done;
    }
}

static int64_t do_recvfrom(struct lx_call *c)
{
    struct lx_file *f;
    struct lx_iter it;
    int64_t e;
    struct lx_sock *s = sock_arg(c, &f, &e);
    if (!s)
        return e;
    if ((int64_t)c->arg[2] < 0)
        return -EINVAL;
    lx_iter_one(&it, lx_call_mem(c), c->arg[1], MIN(c->arg[2], LX_RW_MAX));
    struct lx_msg m = {.it = &it, .flags = (uint32_t)c->arg[3]};
    int64_t r = recv_some(c, f, s, &m);
    lx_scm_put(m.scm);
    if (r >= 0 && c->arg[4] && (e = put_addr(c, &m.from, c->arg[4], c->arg[5])))
        return e;
    return r;
}

LX_SYS(recvfrom)
{
    return lx_finish(c, do_recvfrom(c));
}

/* Gives the files their descriptors. Bytes of control written; *flags gets MSG_CTRUNC. */
static uint64_t put_rights(struct lx_call *c, struct lx_scm *scm, uint64_t at, uint64_t room,
                           bool cloexec, uint32_t *flags)
{
    struct guest_cmsghdr cm = {.level = SOL_SOCKET, .type = SCM_RIGHTS};
    uint32_t fits = room < sizeof cm + 4 ? 0 : (uint32_t)MIN((room - sizeof cm) / 4, scm->count),
             n = 0;
    for (; n < fits; n++) {
        int32_t fd = lx_files_install(lx_call_process(c)->files, scm->file[n], cloexec);
        if (fd < 0 || lx_put(c, at + sizeof cm + 4ul * n, &fd, 4))
            break;
    }
    if (n < scm->count)
        *flags |= MSG_CTRUNC;
    if (!n)
        return 0;
    cm.len = sizeof cm + 4ul * n;
    (void)lx_put(c, at, &cm, sizeof cm);
    return MIN(ALIGN_UP(cm.len, (uint64_t)8), room);
}

static int64_t do_recvmsg(struct lx_call *c)
{
    struct lx_file *f;
    struct guest_msghdr h;
    struct lx_iter it;
    int64_t e;
    struct lx_sock *s = sock_arg(c, &f, &e);
    if (!s)
        return e;
    if (lx_get(c, c->arg[1], &h, sizeof h))
        return -EFAULT;
    if (h.iov_len > 1024)
        return -EMSGSIZE;
    if ((e = lx_iter_vec(&it, lx_call_mem(c), h.iov, h.iov_len)))
        return e;
    struct lx_msg m = {.it = &it, .flags = (uint32_t)c->arg[2]};
    int64_t r = recv_some(c, f, s, &m);
    lx_iter_fini(&it);
    if (r >= 0) {
        h.flags = m.truncated ? MSG_TRUNC : 0;
        if (s->type == SOCK_SEQPACKET && r)
            h.flags |= MSG_EOR;
        if (h.name && lx_put(c, h.name, m.from.b, MIN(h.name_len, m.from.len)))
            r = -EFAULT;
        h.name_len = m.from.len;
        h.control_len = m.scm ? put_rights(c, m.scm, h.control, h.control ? h.control_len : 0,
                                           m.flags & MSG_CMSG_CLOEXEC, &h.flags)
                              : 0;
        if (lx_put(c, c->arg[1], &h, sizeof h))
            r = -EFAULT;
    }
    lx_scm_put(m.scm);
    return r;
}

LX_SYS(recvmsg)
{
    return lx_finish(c, do_recvmsg(c));
}
