/* Sockets: moving bytes and packets. */
#include "engine/linux/sock.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define UDP_MAX 65507u

/* An error that waits is told once. */
static int64_t take_error(struct lx_sock *s)
{
    int e = s->err;
    s->err = 0;
    return -e;
}

static bool ring_of(struct lx_sock *s)
{
    if (s->rx)
        return true;
    s->rx = lx_pipe_new(s->vfs);
    if (!s->rx)
        return false;
    if (s->rx->cap > PAGE_SIZE) {
        s->vfs->pipe_pages += (LX_SOCK_RING - s->rx->cap) / PAGE_SIZE;
        s->rx->cap = LX_SOCK_RING;
    }
    return true;
}

/* ---- streams ---- */

static int64_t stream_send(struct lx_sock *s, struct lx_msg *m)
{
    if (s->err)
        return take_error(s);
    if (s->shut_wr)
        return -EPIPE;
    if (s->state != LX_SOCK_CONNECTED)
        return s->family == AF_INET ? -EPIPE : -ENOTCONN;
    struct lx_sock *to = s->peer;
    if (!to && s->family == AF_INET &&
        !s->connecting) { /* the first write meets the reset, the next one knows */
        s->shut_wr = true;
        uint64_t n = m->it->left;
        lx_iter_skip(m->it, n);
        return (int64_t)n;
    }
    if (!to || to->shut_rd)
        return -EPIPE;
    if (!ring_of(to))
        return -ENOMEM;
    struct lx_mark *mark = NULL;
    if (to->rx->len >= to->rx->cap ||
        (to->rx->cap - to->rx->len < 2048 && to->rx->cap - to->rx->len < m->it->left))
        return -EAGAIN;
    if (m->scm) {
        if (!(mark = malloc(sizeof *mark)))
            return -ENOMEM;
        *mark = (struct lx_mark){.at = to->rx_total, .scm = m->scm};
    }
    uint8_t buf[4096];
    int64_t done = 0;
    while (m->it->left && to->rx->len < to->rx->cap) {
        size_t want = MIN(MIN(m->it->left, sizeof buf), to->rx->cap - to->rx->len),
               n = lx_iter_get(m->it, buf, want);
        n = lx_pipe_give(to->rx, buf, n);
        to->rx_total += n;
        done += (int64_t)n;
        if (n < want)
            break;
    }
    if (!done && m->it->left) {
        free(mark);
        return -EFAULT;
    }
    if (mark) {
        list_append(&to->marks, &mark->link);
        m->scm = NULL;
    }
    lx_sock_changed(to);
    return done;
}

static int64_t stream_recv(struct lx_sock *s, struct lx_msg *m)
{
    if (s->state == LX_SOCK_LISTEN || (s->state == LX_SOCK_NEW && !s->err))
        return s->family == AF_INET ? -ENOTCONN : -EINVAL;
    if (!s->rx || !s->rx->len) {
        if (s->err)
            return take_error(s);
        if (s->shut_rd || s->peer_gone || !s->peer || s->peer->shut_wr)
            return 0;
        return -EAGAIN;
    }
    struct lx_mark *mark =
        list_empty(&s->marks) ? NULL : list_entry(s->marks.next, struct lx_mark, link);
    uint64_t limit = UINT64_MAX;
    if (mark && mark->at == s->rx_taken) {
        struct list *next = mark->link.next;
        limit = next == &s->marks ? UINT64_MAX
                                  : list_entry(next, struct lx_mark, link)->at - s->rx_taken;
        if (!(m->flags & MSG_PEEK)) {
            list_remove(&mark->link);
            m->scm = mark->scm;
            free(mark);
        }
    } else if (mark) {
        limit = mark->at - s->rx_taken;
    }
    struct lx_pipe saved = *s->rx; /* head and length only, for MSG_PEEK */
    uint8_t buf[4096];
    int64_t done = 0;
    bool fault = false;
    while (m->it->left && s->rx->len && limit && !fault) {
        uint32_t head = s->rx->head, len = s->rx->len;
        size_t n = lx_pipe_take(s->rx, buf, MIN(MIN(m->it->left, sizeof buf), limit)),
               put = lx_iter_put(m->it, buf, n);
        if (put < n) { /* the rest stays */
            s->rx->head = (uint32_t)((head + put) % s->rx->alloc);
            s->rx->len = len - (uint32_t)put;
            fault = true;
        }
        done += (int64_t)put;
        limit -= put;
    }
    if (m->flags & MSG_PEEK) {
        s->rx->head = saved.head;
        s->rx->len = saved.len;
    } else {
        s->rx_taken += (uint64_t)done;
        lx_sock_changed(s); /* room: the peer waits here */
    }
    return fault && !done ? -EFAULT : done;
}

/* ---- packets ---- */

static int64_t packet_target(struct lx_call *c, struct lx_sock *s, struct lx_msg *m,
                             struct lx_sock **to)
{
    if (!m->to) {
        if (s->family == AF_INET) {
            if (s->state != LX_SOCK_CONNECTED)
                return -EDESTADDRREQ;
            *to = lx_udp_find(s->vfs, &s->remote);
        } else {
            if (s->state != LX_SOCK_CONNECTED)
                return s->peer_gone ? -ECONNREFUSED : -ENOTCONN;
            if (s->peer && s->peer->state == LX_SOCK_CLOSED)
                lx_sock_unpeer(s);
            *to = s->peer;
            if (!*to)
                return s->type == SOCK_DGRAM ? -ECONNREFUSED : -EPIPE;
        }
        return 0;
    }
    if (s->type == SOCK_SEQPACKET)
        return s->state == LX_SOCK_CONNECTED ? -EISCONN : -EOPNOTSUPP;
    if (s->family == AF_UNIX)
        return lx_unix_find(c, m->to, s->type, to);
    struct sockaddr_in in;
    if (m->to->len < sizeof in)
        return -EINVAL;
    memcpy(&in, m->to->b, sizeof in);
    if (in.sin_family != AF_INET)
        return -EAFNOSUPPORT;
    if (!in.sin_port)
        return -EINVAL;
    if (in.sin_addr.s_addr && (ntohl(in.sin_addr.s_addr) >> 24) != 127)
        return -ENETUNREACH;
    *to = lx_udp_find(s->vfs, m->to);
    return 0;
}

static int64_t packet_send(struct lx_call *c, struct lx_sock *s, struct lx_msg *m)
{
    struct lx_sock *to = NULL;
    if (s->err)
        return take_error(s);
    if (s->shut_wr)
        return -EPIPE;
    if (m->it->left > (s->family == AF_INET ? UDP_MAX : LX_SOCK_PACKETS - LX_PACKET_HEAD))
        return -EMSGSIZE;
    int64_t e = packet_target(c, s, m, &to);
    if (e)
        return e;
    if (s->family == AF_INET && !s->bound && (e = lx_inet_autobind(s, INADDR_LOOPBACK)))
        return e;
    size_t n = m->it->left;
    if (to && to->shut_rd)
        return -EPIPE;
    if (to && to->packet_bytes + n + LX_PACKET_HEAD > LX_SOCK_PACKETS) {
        if (s->family == AF_UNIX)
            return -EAGAIN;
        to = NULL; /* UDP loses it */
    } else if (!to && s->state == LX_SOCK_CONNECTED) {
        s->err = ECONNREFUSED; /* the answer of the host that is us */
    }
    struct lx_packet *p = malloc(sizeof *p + n);
    if (!p)
        return -ENOBUFS;
    if (lx_iter_get(m->it, p->data, n) < n) {
        free(p);
        return -EFAULT;
    }
    if (!to) {
        free(p);
        return (int64_t)n;
    }
    p->from = s->local;
    p->bytes = (uint32_t)n;
    p->scm = m->scm;
    m->scm = NULL;
    list_append(&to->packets, &p->link);
    to->packet_bytes += (uint32_t)n + LX_PACKET_HEAD;
    lx_sock_changed(to);
    return (int64_t)n;
}

static int64_t packet_recv(struct lx_sock *s, struct lx_msg *m)
{
    if (s->type == SOCK_SEQPACKET && s->state != LX_SOCK_CONNECTED)
        return -ENOTCONN;
    if (list_empty(&s->packets)) {
        if (s->err)
            return take_error(s);
        if (s->shut_rd ||
            (s->type == SOCK_SEQPACKET && (s->peer_gone || (s->peer && s->peer->shut_wr))))
            return 0;
        return -EAGAIN;
    }
    struct lx_packet *p = list_entry(s->packets.next, struct lx_packet, link);
    size_t n = MIN(p->bytes, m->it->left), put = lx_iter_put(m->it, p->data, n);
    m->from = p->from;
    m->whole = p->bytes;
    m->truncated = n < p->bytes;
    if (put < n)
        return -EFAULT;
    if (!(m->flags & MSG_PEEK)) {
        list_remove(&p->link);
        s->packet_bytes -= p->bytes + LX_PACKET_HEAD;
        m->scm = p->scm;
        free(p);
        lx_sock_changed(s);
    }
    return (int64_t)((m->flags & MSG_TRUNC) ? m->whole : n);
}

/* ---- both ---- */

int64_t lx_sock_send(struct lx_call *c, struct lx_sock *s, struct lx_msg *m)
{
    return lx_sock_stream(s) ? stream_send(s, m) : packet_send(c, s, m);
}

int64_t lx_sock_recv(struct lx_call *c, struct lx_sock *s, struct lx_msg *m)
{
    (void)c;
    return lx_sock_stream(s) ? stream_recv(s, m) : packet_recv(s, m);
}

static bool room_at_peer(const struct lx_sock *s)
{
    const struct lx_sock *p = s->peer;
    if (!p)
        return true;
    if (lx_sock_stream(s))
        return !p->rx || p->rx->cap - p->rx->len >= 2048;
    return p->packet_bytes + 4096 <= LX_SOCK_PACKETS;
}

uint32_t lx_sock_ready(struct lx_sock *s)
{
    uint32_t m = s->err ? POLLERR : 0;
    if (s->state == LX_SOCK_LISTEN)
        return m | (s->backlog_count ? POLLIN | POLLRDNORM : 0);
    if (s->type == SOCK_DGRAM) {
        if (!list_empty(&s->packets) || s->shut_rd)
            m |= POLLIN | POLLRDNORM;
        return m | (room_at_peer(s) ? POLLOUT | POLLWRNORM : 0);
    }
    if (s->state != LX_SOCK_CONNECTED)
        return m | (s->err ? POLLIN | POLLRDNORM | 0x2000 : 0) | POLLOUT | POLLWRNORM | POLLHUP;
    bool end = s->shut_rd || s->peer_gone || !s->peer || s->peer->shut_wr;
    if ((s->rx && s->rx->len) || !list_empty(&s->packets) || end)
        m |= POLLIN | POLLRDNORM;
    if (end)
        m |= 0x2000; /* POLLRDHUP */
    if (s->family == AF_UNIX ? s->peer_gone || (s->shut_rd && s->shut_wr) : end && s->shut_wr)
        m |= POLLHUP;
    if (room_at_peer(s))
        m |= POLLOUT | POLLWRNORM;
    return m;
}
