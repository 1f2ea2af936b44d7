/* Socket options, and /proc/net. */
#include "engine/linux/fs_proc.h"
#include "engine/linux/sock.h"

#include <netinet/tcp.h>
#include <string.h>

static int32_t *int_option(struct lx_sock *s, uint32_t level, uint32_t name)
{
    if (level == SOL_SOCKET && name < ARRAY_LEN(s->opt))
        return &s->opt[name];
    if (level == IPPROTO_TCP && s->protocol == IPPROTO_TCP && name < ARRAY_LEN(s->tcp_opt) && name)
        return &s->tcp_opt[name];
    if (level == IPPROTO_IP && s->family == AF_INET && name < ARRAY_LEN(s->ip_opt) && name)
        return &s->ip_opt[name];
    return NULL;
}

static int64_t bad_option(const struct lx_sock *s, uint32_t level)
{
    return s->family == AF_UNIX && level != SOL_SOCKET ? -EOPNOTSUPP : -ENOPROTOOPT;
}

static int64_t set_timeout(struct lx_call *c, uint64_t *out, uint64_t at, uint32_t len)
{
    int64_t tv[2];
    if (len < sizeof tv)
        return -EINVAL;
    if (lx_get(c, at, tv, sizeof tv))
        return -EFAULT;
    if (tv[1] < 0 || tv[1] >= 1000000)
        return -EDOM;
    *out = tv[0] < 0 || tv[0] > INT32_MAX ? 0
                                          : (uint64_t)tv[0] * 1000000000u + (uint64_t)tv[1] * 1000u;
    return 0;
}

/* SOL_SOCKET options that are more than a number kept. 1: not one of them. */
static int64_t set_special(struct lx_call *c, struct lx_sock *s, uint32_t name, uint64_t at,
                           uint32_t len, int32_t value)
{
    switch (name) {
    case SO_TYPE:
    case SO_ERROR:
    case SO_PROTOCOL:
    case SO_DOMAIN:
    case SO_ACCEPTCONN:
    case SO_PEERCRED:
        return -ENOPROTOOPT;
    case SO_SNDBUF:
    case SO_RCVBUF: {
        int32_t size = MIN(value, 212992) * 2;
        *(name == SO_SNDBUF ? &s->sndbuf : &s->rcvbuf) = MAX(size, name == SO_SNDBUF ? 4608 : 2304);
        return 0;
    }
    case SO_RCVTIMEO:
        return set_timeout(c, &s->rcvtimeo_ns, at, len);
    case SO_SNDTIMEO:
        return set_timeout(c, &s->sndtimeo_ns, at, len);
    case SO_LINGER:
        if (len < sizeof s->linger)
            return -EINVAL;
        return lx_get(c, at, s->linger, sizeof s->linger);
    case SO_REUSEADDR:
    case SO_REUSEPORT:
    case SO_KEEPALIVE:
    case SO_BROADCAST:
    case SO_DONTROUTE:
    case SO_OOBINLINE:
    case SO_PASSCRED:
    case SO_TIMESTAMP:
        s->opt[name] = value != 0;
        return 0;
    default:
        return 1;
    }
}

int64_t lx_sock_setopt(struct lx_call *c, struct lx_sock *s, uint32_t level, uint32_t name,
                       uint64_t at, uint32_t len)
{
    int32_t value;
    if ((int32_t)len < 0)
        return -EINVAL;
    if (s->family == AF_UNIX && level != SOL_SOCKET)
        return -EOPNOTSUPP;
    int32_t *o = int_option(s, level, name);
    if (!o)
        return bad_option(s, level);
    if (len < 4)
        return -EINVAL;
    if (lx_get(c, at, &value, 4))
        return -EFAULT;
    if (level == SOL_SOCKET) {
        int64_t r = set_special(c, s, name, at, len, value);
        if (r <= 0)
            return r;
        if (name != SO_PRIORITY && name != SO_MARK && name != SO_RCVLOWAT)
            return -ENOPROTOOPT;
    }
    *o = value;
    return 0;
}

int64_t lx_sock_getopt(struct lx_call *c, struct lx_sock *s, uint32_t level, uint32_t name,
                       uint64_t at, uint64_t len_at)
{
    uint32_t room, len = 4;
    union {
        int32_t i[4];
        int64_t l[2];
    } v = {{0}};
    if (lx_get(c, len_at, &room, 4))
        return -EFAULT;
    if ((int32_t)room < 0)
        return -EINVAL;
    int32_t *o = int_option(s, level, name);
    if (!o)
        return bad_option(s, level);
    v.i[0] = *o;
    if (level == SOL_SOCKET) {
        uint64_t ns = name == SO_RCVTIMEO ? s->rcvtimeo_ns : s->sndtimeo_ns;
        switch (name) {
        case SO_TYPE:
            v.i[0] = s->type;
            break;
        case SO_ERROR:
            v.i[0] = s->err;
            s->err = 0;
            break;
        case SO_PROTOCOL:
            v.i[0] = s->protocol;
            break;
        case SO_DOMAIN:
            v.i[0] = s->family;
            break;
        case SO_SNDBUF:
            v.i[0] = s->sndbuf;
            break;
        case SO_RCVBUF:
            v.i[0] = s->rcvbuf;
            break;
        case SO_RCVTIMEO:
        case SO_SNDTIMEO:
            v.l[0] = (int64_t)(ns / 1000000000u);
            v.l[1] = (int64_t)(ns % 1000000000u / 1000);
            len = 16;
            break;
        case SO_LINGER:
            memcpy(v.i, s->linger, 8);
            len = 8;
            break;
        case SO_PEERCRED:
            v.i[0] = (int32_t)s->peer_pid;
            v.i[1] = (int32_t)(s->peer_pid ? s->peer_uid : UINT32_MAX);
            v.i[2] = (int32_t)(s->peer_pid ? s->peer_gid : UINT32_MAX);
            len = 12;
            break;
        case SO_RCVLOWAT:
            v.i[0] = s->opt[name] ? s->opt[name] : 1;
            break;
        case SO_SNDLOWAT:
            v.i[0] = 1;
            break;
        }
    } else if (level == IPPROTO_TCP && name == TCP_MAXSEG && !v.i[0]) {
        v.i[0] = 65483;
    }
    len = MIN(len, room);
    if (lx_put(c, len_at, &len, 4) || lx_put(c, at, &v, len))
        return -EFAULT;
    return 0;
}

/* ---- /proc/net ---- */

static void inet_lines(struct lx *lx, struct buf *b, uint16_t type)
{
    uint32_t row = 0;
    list_for_each(p, &lx_vfs_of(lx)->socks)
    {
        struct lx_sock *s = list_entry(p, struct lx_sock, all);
        struct sockaddr_in l, r;
        if (s->family != AF_INET || s->type != type || !s->bound)
            continue;
        memcpy(&l, s->local.b, sizeof l);
        memcpy(&r, s->remote.b, sizeof r);
        int st = type == SOCK_DGRAM              ? 7
                 : s->state == LX_SOCK_LISTEN    ? 10
                 : s->state == LX_SOCK_CONNECTED ? 1
                                                 : 7;
        buf_printf(b,
                   "%4u: %08X:%04X %08X:%04X %02X 00000000:%08X 00:00000000 00000000 %5u        0 "
                   "%llu 1 0 100 0 0 10 0\n",
                   row++, l.sin_addr.s_addr, ntohs(l.sin_port), r.sin_addr.s_addr,
                   ntohs(r.sin_port), (unsigned)st, s->rx ? s->rx->len : 0, s->cred_uid,
                   (unsigned long long)s->ino);
    }
}

#define INET_HEAD                                                                                 \
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout " \
    "inode\n"

void lx_proc_sys_net_tcp(struct lx *lx, struct lx_process *p, uint32_t tid, struct buf *b)
{
    (void)p, (void)tid;
    buf_printf(b, INET_HEAD);
    inet_lines(lx, b, SOCK_STREAM);
}

void lx_proc_sys_net_udp(struct lx *lx, struct lx_process *p, uint32_t tid, struct buf *b)
{
    (void)p, (void)tid;
    buf_printf(b, INET_HEAD);
    inet_lines(lx, b, SOCK_DGRAM);
}

void lx_proc_sys_net_unix(struct lx *lx, struct lx_process *p, uint32_t tid, struct buf *b)
{
    (void)p, (void)tid;
    buf_printf(b, "Num       RefCount Protocol Flags    Type St Inode Path\n");
    list_for_each(q, &lx_vfs_of(lx)->socks)
    {
        struct lx_sock *s = list_entry(q, struct lx_sock, all);
        if (s->family != AF_UNIX)
            continue;
        buf_printf(b, "0000000000000000: 00000002 00000000 %08X %04X %02X %5llu",
                   s->state == LX_SOCK_LISTEN ? 0x10000u : 0, s->type,
                   s->state == LX_SOCK_CONNECTED ? 3 : 1, (unsigned long long)s->ino);
        if (s->local.len > 2 && s->local.b[2])
            buf_printf(b, " %.108s", (const char *)s->local.b + 2);
        buf_printf(b, "\n");
    }
}
