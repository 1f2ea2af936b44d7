/* The socket calls that move messages: sendto, sendmsg, recvfrom, recvmsg and their many-at-once forms. */
#include "engine/linux/sock.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

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
    struct lx_sock *s = lx_sock_arg(c, &f, &e);
    if (!s)
        return e;
    if ((int64_t)c->arg[2] < 0)
        return -EINVAL;
    struct lx_msg m = {.it = &it, .flags = (uint32_t)c->arg[3]};
    if (c->arg[4]) {
        if ((e = lx_sock_addr_in(c, c->arg[4], c->arg[5], &to)))
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

static int64_t send_header(struct lx_call *c, struct lx_file *f, struct lx_sock *s, uint64_t at,
                           uint32_t flags)
{
    struct guest_msghdr h;
    struct lx_addr to;
    struct lx_iter it;
    int64_t e;
    if (lx_get(c, at, &h, sizeof h))
        return -EFAULT;
    struct lx_msg m = {.it = &it, .flags = flags};
    if (h.name && h.name_len) {
        if ((e = lx_sock_addr_in(c, h.name, h.name_len, &to)))
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
    struct lx_file *f;
    int64_t e;
    struct lx_sock *s = lx_sock_arg(c, &f, &e);
    return lx_finish(c, s ? send_header(c, f, s, c->arg[1], (uint32_t)c->arg[2]) : e);
}

#define MMSG_BYTES 64u /* a header, its result, padding */
#define MMSG_MAX 1024u

/* One message of sendmmsg or recvmmsg is through with r; c->progress[1] counts them. True: go on with the next. */
static bool next_message(struct lx_call *c, int64_t r, int64_t *result)
{
    uint32_t bytes = (uint32_t)r;
    *result = r;
    if (r == LX_BLOCKED)
        return false;
    if (r >= 0 &&
        lx_put(c, c->arg[1] + c->progress[1] * MMSG_BYTES + sizeof(struct guest_msghdr), &bytes, 4))
        *result = r = -EFAULT;
    if (r >= 0)
        c->progress[1]++;
    c->progress[0] = 0;
    if (r < 0 ? c->progress[1] != 0 : c->progress[1] >= MIN((uint32_t)c->arg[2], MMSG_MAX))
        *result = (int64_t)c->progress[1];
    else if (r >= 0)
        return true;
    return false;
}

LX_SYS(sendmmsg)
{
    struct lx_file *f;
    int64_t r;
    struct lx_sock *s = lx_sock_arg(c, &f, &r);
    if (!s)
        return lx_finish(c, r);
    if (!(uint32_t)c->arg[2])
        return lx_finish(c, 0);
    while (next_message(
        c, send_header(c, f, s, c->arg[1] + c->progress[1] * MMSG_BYTES, (uint32_t)c->arg[3]), &r))
        ;
    return lx_finish(c, r);
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
    struct lx_sock *s = lx_sock_arg(c, &f, &e);
    if (!s)
        return e;
    if ((int64_t)c->arg[2] < 0)
        return -EINVAL;
    lx_iter_one(&it, lx_call_mem(c), c->arg[1], MIN(c->arg[2], LX_RW_MAX));
    struct lx_msg m = {.it = &it, .flags = (uint32_t)c->arg[3]};
    int64_t r = recv_some(c, f, s, &m);
    lx_scm_put(m.scm);
    if (r >= 0 && c->arg[4] && (e = lx_sock_addr_out(c, &m.from, c->arg[4], c->arg[5])))
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
        if (fd >= 0 && lx_put(c, at + sizeof cm + 4ul * n, &fd, 4)) {
            lx_files_close(lx_call_process(c)->files, fd, NULL);
            fd = -1;
        }
        if (fd < 0)
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

static int64_t recv_header(struct lx_call *c, struct lx_file *f, struct lx_sock *s, uint64_t at,
                           uint32_t flags)
{
    struct guest_msghdr h;
    struct lx_iter it;
    int64_t e;
    if (lx_get(c, at, &h, sizeof h))
        return -EFAULT;
    if (h.iov_len > 1024)
        return -EMSGSIZE;
    if ((e = lx_iter_vec(&it, lx_call_mem(c), h.iov, h.iov_len)))
        return e;
    struct lx_msg m = {.it = &it, .flags = flags};
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
        if (lx_put(c, at, &h, sizeof h))
            r = -EFAULT;
    }
    lx_scm_put(m.scm);
    return r;
}

LX_SYS(recvmsg)
{
    struct lx_file *f;
    int64_t e;
    struct lx_sock *s = lx_sock_arg(c, &f, &e);
    return lx_finish(c, s ? recv_header(c, f, s, c->arg[1], (uint32_t)c->arg[2]) : e);
}

/* The timeout is looked at after each message, as Linux does; c->progress[2]: when it is over, 0: none. */
static int64_t recv_timeout(struct lx_call *c, uint64_t at)
{
    int64_t ts[2];
    if (!at || c->runs)
        return 0;
    if (lx_get(c, at, ts, sizeof ts))
        return -EFAULT;
    if (ts[0] < 0 || ts[1] < 0 || ts[1] > 999999999)
        return -EINVAL;
    c->progress[2] = lx_monotonic_ns(c->lx) + 1;
    if (ts[0] < 1000000000)
        c->progress[2] += (uint64_t)ts[0] * 1000000000u + (uint64_t)ts[1];
    else
        c->progress[2] = 0;
    return 0;
}

LX_SYS(recvmmsg)
{
    struct lx_file *f;
    int64_t r;
    uint32_t flags = (uint32_t)c->arg[3];
    struct lx_sock *s = lx_sock_arg(c, &f, &r);
    if (!s || (r = recv_timeout(c, c->arg[4])))
        return lx_finish(c, r);
    if (!(uint32_t)c->arg[2])
        return lx_finish(c, 0);
    for (;;) {
        uint32_t now = flags & ~(uint32_t)MSG_WAITFORONE;
        if ((flags & MSG_WAITFORONE) && c->progress[1])
            now |= MSG_DONTWAIT;
        if (!next_message(c, recv_header(c, f, s, c->arg[1] + c->progress[1] * MMSG_BYTES, now),
                          &r))
            break;
        r = (int64_t)c->progress[1];
        if (c->progress[2] && lx_monotonic_ns(c->lx) >= c->progress[2])
            break;
    }
    return lx_finish(c, r);
}
