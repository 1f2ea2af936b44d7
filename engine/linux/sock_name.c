/* Sockets: addresses, bind, connect, the backlog. AF_INET inside the guest, and AF_UNIX. */
#include "engine/linux/sock.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

uint64_t lx_name_hash(const void *p, size_t n, uint64_t seed)
{
    uint64_t h = 0xcbf29ce484222325u ^ seed;
    for (size_t k = 0; k < n; k++)
        h = (h ^ ((const uint8_t *)p)[k]) * 0x100000001b3u;
    return lx_hash_mix(h);
}

static void name_add(struct lx_sock *s, uint64_t hash)
{
    lx_hash_add(&lx_net(s->vfs)->names, &s->port, hash);
    s->in_ports = true;
}

void lx_sock_unname(struct lx_sock *s)
{
    if (s->in_ports)
        lx_hash_del(&s->vfs->net->names, &s->port);
    s->in_ports = false;
    if (s->node) {
        s->node->sock = NULL;
        lx_inode_put(s->node);
        s->node = NULL;
    }
}

/* ---- the backlog ---- */

int64_t lx_sock_queue(struct lx_sock *l, struct lx_sock *client)
{
    if (l->backlog_count > l->backlog_max)
        return -EAGAIN;
    struct lx_sock *s = lx_sock_new(l->vfs, l->family, l->type, l->protocol);
    if (!s)
        return -ENOMEM;
    s->cred_pid = l->cred_pid, s->cred_uid = l->cred_uid, s->cred_gid = l->cred_gid;
    s->local = l->local;
    s->remote = client->local;
    s->bound = true;
    memcpy(s->opt, l->opt, sizeof s->opt);
    lx_sock_pair(s, client);
    list_append(&l->backlog, &s->waiting);
    l->backlog_count++;
    lx_sock_changed(l);
    return 0;
}

/* connect waits for a place in the backlog. */
static int64_t wait_place(struct lx_call *c, struct lx_sock *l, bool nonblock)
{
    if (nonblock)
        return -EAGAIN;
    if (c->wake == LX_WAKE_SIGNAL)
        return lx_interrupted(c, LX_RESTART_SA);
    return lx_block(c, &l->wait);
}

/* ---- AF_INET ---- */

static struct sockaddr_in inet_of(const struct lx_addr *a)
{
    struct sockaddr_in in;
    memcpy(&in, a->b, sizeof in);
    return in;
}

static void inet_set(struct lx_addr *a, uint32_t ip, uint16_t port)
{
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(ip)}};
    memcpy(a->b, &in, sizeof in);
    a->len = sizeof in;
}

static uint64_t port_key(uint16_t type, uint16_t port)
{
    return lx_hash_mix((uint64_t)1 << 40 | (uint64_t)type << 16 | port);
}

/* The socket of this type that owns (ip, port): an exact address before any. listening: only listeners. */
static struct lx_sock *port_owner(struct lx_vfs *v, uint16_t type, uint32_t ip, uint16_t port,
                                  bool listening)
{
    uint64_t h = port_key(type, port);
    struct lx_sock *best = NULL;
    for (struct lx_hnode *n = lx_net(v) ? lx_hash_first(&v->net->names, h) : NULL; n; n = n->next) {
        struct lx_sock *s = container_of(n, struct lx_sock, port);
        if (n->hash != h || s->family != AF_INET || s->type != type ||
            (listening && s->state != LX_SOCK_LISTEN))
            continue;
        struct sockaddr_in in = inet_of(&s->local);
        if (ntohs(in.sin_port) != port)
            continue;
        uint32_t own = ntohl(in.sin_addr.s_addr);
        if (own == ip)
            return s;
        if (!own || !ip)
            best = s;
    }
    return best;
}

struct lx_sock *lx_udp_find(struct lx_vfs *v, const struct lx_addr *to)
{
    struct sockaddr_in in = inet_of(to);
    uint32_t ip = ntohl(in.sin_addr.s_addr);
    return port_owner(v, SOCK_DGRAM, ip ? ip : INADDR_LOOPBACK, ntohs(in.sin_port), false);
}

static int64_t claim(struct lx_sock *s, uint32_t ip, uint16_t port)
{
    struct lx_sock *o = port_owner(s->vfs, s->type, ip, port, false);
    bool share = o && ((o->opt[SO_REUSEADDR] && s->opt[SO_REUSEADDR] &&
                        (o->state != LX_SOCK_LISTEN || s->type == SOCK_DGRAM)) ||
                       (o->opt[SO_REUSEPORT] && s->opt[SO_REUSEPORT]));
    if (o && !share)
        return -EADDRINUSE;
    inet_set(&s->local, ip, port);
    s->bound = true;
    name_add(s, port_key(s->type, port));
    return 0;
}

int64_t lx_inet_autobind(struct lx_sock *s, uint32_t ip)
{
    struct lx_net *n = lx_net(s->vfs);
    for (uint32_t tries = 0; tries < 28232; tries++) {
        uint16_t port = (uint16_t)n->next_port;
        n->next_port = n->next_port >= 60999 ? 32768 : n->next_port + 1;
        if (!port_owner(s->vfs, s->type, ip, port, false))
            return claim(s, ip, port);
    }
    return -EAGAIN;
}

int64_t lx_inet_bind(struct lx_call *c, struct lx_sock *s, const struct lx_addr *a)
{
    struct sockaddr_in in = inet_of(a);
    uint32_t ip = ntohl(in.sin_addr.s_addr);
    uint16_t port = ntohs(in.sin_port);
    if (a->len < sizeof in)
        return -EINVAL;
    if (in.sin_family != AF_INET && !(in.sin_family == AF_UNSPEC && !ip))
        return -EAFNOSUPPORT;
    if (ip && ip >> 24 != 127)
        return -EADDRNOTAVAIL;
    if (port && port < 1024 && lx_call_process(c)->euid != 0)
        return -EACCES;
    if (s->bound)
        return -EINVAL;
    return port ? claim(s, ip, port) : lx_inet_autobind(s, ip);
}

static int64_t inet_destination(const struct lx_addr *a, uint32_t *ip, uint16_t *port)
{
    struct sockaddr_in in = inet_of(a);
    if (a->len < sizeof in)
        return -EINVAL;
    if (in.sin_family != AF_INET)
        return -EAFNOSUPPORT;
    *ip = ntohl(in.sin_addr.s_addr);
    *port = ntohs(in.sin_port);
    if (!*ip)
        *ip = INADDR_LOOPBACK;
    return *ip >> 24 == 127 ? 0 : -ENETUNREACH;
}

static int64_t tcp_connect(struct lx_call *c, struct lx_sock *s, uint32_t ip, uint16_t port,
                           bool nonblock)
{
    if (s->state == LX_SOCK_LISTEN)
        return -EISCONN;
    if (s->state == LX_SOCK_CONNECTED) {
        bool first = s->connecting;
        s->connecting = false;
        return first ? 0 : -EISCONN;
    }
    if (s->connecting) { /* it failed meanwhile */
        int e = s->err;
        s->connecting = false;
        s->err = 0;
        return e ? -e : -ECONNABORTED;
    }
    int64_t e = s->bound ? 0 : lx_inet_autobind(s, INADDR_LOOPBACK);
    if (e)
        return e;
    struct sockaddr_in own = inet_of(&s->local);
    if (!own.sin_addr.s_addr)
        inet_set(&s->local, INADDR_LOOPBACK, ntohs(own.sin_port));
    struct lx_sock *l = port_owner(s->vfs, SOCK_STREAM, ip, port, true);
    e = l ? lx_sock_queue(l, s) : -ECONNREFUSED;
    if (e == -EAGAIN)
        return wait_place(c, l, nonblock);
    if (!e) {
        inet_set(&s->remote, ip, port);
        s->peer->local = s->remote;
    }
    if (!nonblock || (e && e != -ECONNREFUSED))
        return e;
    s->connecting = true;
    s->err = (int)-e;
    return -EINPROGRESS;
}

int64_t lx_inet_connect(struct lx_call *c, struct lx_sock *s, const struct lx_addr *a,
                        bool nonblock)
{
    uint32_t ip;
    uint16_t port;
    struct sockaddr_in in = inet_of(a);
    if (a->len >= 2 && in.sin_family == AF_UNSPEC) {
        if (s->type != SOCK_DGRAM)
            return 0;
        s->state = LX_SOCK_NEW;
        inet_set(&s->remote, 0, 0);
        return 0;
    }
    int64_t e = inet_destination(a, &ip, &port);
    if (e)
        return e;
    if (lx_sock_stream(s))
        return tcp_connect(c, s, ip, port, nonblock);
    if (!s->bound && (e = lx_inet_autobind(s, INADDR_LOOPBACK)))
        return e;
    inet_set(&s->remote, ip, port);
    s->state = LX_SOCK_CONNECTED;
    return 0;
}

/* ---- AF_UNIX ---- */

static uint64_t abstract_key(const struct lx_addr *a)
{
    return lx_name_hash(a->b + 2, a->len - 2, (uint64_t)2 << 40);
}

static struct lx_sock *abstract_find(struct lx_vfs *v, const struct lx_addr *a)
{
    uint64_t h = abstract_key(a);
    for (struct lx_hnode *n = lx_net(v) ? lx_hash_first(&v->net->names, h) : NULL; n; n = n->next) {
        struct lx_sock *s = container_of(n, struct lx_sock, port);
        if (n->hash == h && s->family == AF_UNIX && s->local.len == a->len &&
            !memcmp(s->local.b, a->b, a->len))
            return s;
    }
    return NULL;
}

/* The path of an address, NUL-terminated in its own storage (112 > 110). */
static int unix_check(struct lx_addr *a)
{
    uint16_t family;
    memcpy(&family, a->b, 2);
    if (a->len < 2 || a->len > 110 || family != AF_UNIX)
        return -EINVAL;
    a->b[a->len] = 0;
    return 0;
}

static int64_t autobind(struct lx_sock *s)
{
    struct lx_net *n = lx_net(s->vfs);
    static const char hex[] = "0123456789abcdef";
    struct lx_addr a = {.len = 8, .b = {AF_UNIX, 0, 0}};
    do {
        n->next_auto = (n->next_auto + 1) & 0xfffff;
        for (int k = 0; k < 5; k++)
            a.b[3 + k] = (uint8_t)hex[n->next_auto >> (16 - 4 * k) & 15];
    } while (abstract_find(s->vfs, &a));
    s->local = a;
    s->bound = true;
    name_add(s, abstract_key(&a));
    return 0;
}

static int64_t bind_path(struct lx_call *c, struct lx_sock *s, const char *path)
{
    struct lx_process *p = lx_call_process(c);
    struct lx_base b = lx_base_at(p, AT_FDCWD);
    struct lx_parent pa;
    struct lx_dentry *d = NULL;
    int e = lx_walk_parent(&b, path, &pa);
    if (e)
        return e;
    if (pa.kind != LX_LAST_NAME)
        e = -EADDRINUSE;
    else
        e = lx_lookup_last(&pa, &d);
    if (!e && d->inode)
        e = -EADDRINUSE;
    if (!e && !pa.dir->sb->ops->writable)
        e = -EPERM;
    if (!e)
        e = lx_may(&b.cred, pa.dir->inode, LX_MAY_W | LX_MAY_X);
    struct lx_make m = {.mode = S_IFSOCK | (0777 & ~p->fs->umask), .uid = p->euid, .gid = p->egid};
    if (!e)
        e = lx_mem_make(d, &m);
    if (!e) {
        s->node = lx_inode_get(d->inode);
        s->node->sock = s;
        s->bound = true;
    }
    if (d)
        lx_dentry_put(d);
    lx_dentry_put(pa.dir);
    return e;
}

int64_t lx_unix_bind(struct lx_call *c, struct lx_sock *s, const struct lx_addr *at)
{
    struct lx_addr a = *at;
    int64_t e = unix_check(&a);
    if (e)
        return e;
    if (a.len == 2)
        return s->bound ? 0 : autobind(s);
    if (s->bound)
        return -EINVAL;
    if (a.b[2]) {
        e = bind_path(c, s, (const char *)a.b + 2);
        a.len = 2 + (uint32_t)strlen((const char *)a.b + 2) + 1;
    } else if (abstract_find(s->vfs, &a)) {
        return -EADDRINUSE;
    }
    if (e)
        return e;
    s->local = a;
    s->bound = true;
    if (!a.b[2])
        name_add(s, abstract_key(&a));
    return 0;
}

int64_t lx_unix_find(struct lx_call *c, const struct lx_addr *at, uint16_t type,
                     struct lx_sock **out)
{
    struct lx_addr a = *at;
    struct lx_sock *s = NULL;
    int64_t e = unix_check(&a);
    if (e)
        return e;
    if (a.len == 2)
        return -ECONNREFUSED;
    if (a.b[2]) {
        struct lx_base b = lx_base_at(lx_call_process(c), AT_FDCWD);
        struct lx_dentry *d;
        if ((e = lx_walk(&b, (const char *)a.b + 2, LX_WALK_FOLLOW, &d)))
            return e;
        e = lx_may(&b.cred, d->inode, LX_MAY_W);
        s = d->inode->sock;
        lx_dentry_put(d);
        if (e)
            return e;
    } else {
        s = abstract_find(lx_vfs_of(c->lx), &a);
    }
    if (!s)
        return -ECONNREFUSED;
    if (s->type != type)
        return -EPROTOTYPE;
    *out = s;
    return 0;
}

int64_t lx_unix_connect(struct lx_call *c, struct lx_sock *s, const struct lx_addr *a,
                        bool nonblock)
{
    struct lx_sock *to;
    uint16_t family;
    memcpy(&family, a->b, 2);
    if (s->type == SOCK_DGRAM && family == AF_UNSPEC) {
        lx_sock_unpeer(s);
        s->state = LX_SOCK_NEW;
        return 0;
    }
    int64_t e = lx_unix_find(c, a, s->type, &to);
    if (e)
        return e;
    if (s->type == SOCK_DGRAM) { /* one way: the other end need not know */
        s->state = LX_SOCK_CONNECTED;
        s->remote = to->local;
        to->refs++;
        lx_sock_unpeer(s);
        s->peer = to;
        s->peer_ref = true;
        return 0;
    }
    if (s->state == LX_SOCK_CONNECTED)
        return -EISCONN;
    if (s->state != LX_SOCK_NEW)
        return -EINVAL;
    if (to->state != LX_SOCK_LISTEN)
        return -ECONNREFUSED;
    e = lx_sock_queue(to, s);
    if (e == -EAGAIN)
        return wait_place(c, to, nonblock);
    if (!e)
        s->remote = to->local;
    return e;
}
