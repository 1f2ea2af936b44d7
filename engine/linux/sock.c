/* Sockets: lifetime, pairs, files. */
#include "engine/linux/sock.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define SOCKS_MAX 16384u

struct lx_net *lx_net(struct lx_vfs *v)
{
    if (v->net)
        return v->net;
    struct lx_net *n = calloc(1, sizeof *n);
    if (!n || !lx_hash_init(&n->names)) {
        free(n);
        return NULL;
    }
    n->next_port = 32768;
    return v->net = n;
}

void lx_net_free(struct lx_vfs *v)
{
    if (v->net) {
        lx_hash_fini(&v->net->names);
        free(v->net);
    }
    v->net = NULL;
}

struct lx_sock *lx_sock_new(struct lx_vfs *v, uint16_t family, uint16_t type, uint16_t protocol)
{
    if (v->sock_count >= SOCKS_MAX || !lx_net(v))
        return NULL;
    struct lx_sock *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->vfs = v;
    s->refs = 1;
    s->family = family;
    s->type = type;
    s->protocol = protocol;
    s->sndbuf = s->rcvbuf = 212992;
    struct list *lists[] = {&s->marks, &s->packets, &s->backlog, &s->waiting};
    for (size_t k = 0; k < ARRAY_LEN(lists); k++)
        list_init(lists[k]);
    lx_waitq_init(&s->wait);
    s->ino = ++v->sb[LX_SB_SOCK].next_ino;
    s->local.b[0] = s->remote.b[0] = (uint8_t)family;
    s->local.len = s->remote.len = family == AF_INET ? 16 : 2;
    list_append(&v->socks, &s->all);
    v->sock_count++;
    return s;
}

void lx_scm_put(struct lx_scm *scm)
{
    if (!scm)
        return;
    for (uint32_t k = 0; k < scm->count; k++)
        lx_file_put(scm->file[k]);
    free(scm);
}

/* What waits to be received is dropped. Putting files may close other sockets: nothing of s is touched after the lists are empty. */
static void drop_input(struct lx_sock *s)
{
    while (!list_empty(&s->packets)) {
        struct lx_packet *p = list_entry(s->packets.next, struct lx_packet, link);
        struct lx_scm *scm = p->scm;
        list_remove(&p->link);
        free(p);
        lx_scm_put(scm);
    }
    s->packet_bytes = 0;
    while (!list_empty(&s->marks)) {
        struct lx_mark *m = list_entry(s->marks.next, struct lx_mark, link);
        struct lx_scm *scm = m->scm;
        list_remove(&m->link);
        free(m);
        lx_scm_put(scm);
    }
    if (s->rx)
        s->rx->len = s->rx->head = 0;
}

void lx_sock_put(struct lx_sock *s)
{
    if (--s->refs)
        return;
    list_remove(&s->all);
    s->vfs->sock_count--;
    lx_waitq_fini(s->vfs->lx, &s->wait);
    if (s->rx)
        lx_pipe_put(s->rx);
    free(s);
}

void lx_sock_changed(struct lx_sock *s)
{
    lx_wake_all(s->vfs->lx, &s->wait);
}

void lx_sock_unpeer(struct lx_sock *s)
{
    struct lx_sock *peer = s->peer;
    bool counted = s->peer_ref && peer; /* a load that failed half way left no peer yet */
    s->peer = NULL;
    s->peer_ref = false;
    if (counted)
        lx_sock_put(peer);
}

void lx_sock_close(struct lx_sock *s)
{
    bool unread = (s->rx && s->rx->len) || !list_empty(&s->packets);
    struct lx_sock *peer = s->peer_ref ? NULL : s->peer;
    lx_sock_unname(s);
    s->state = LX_SOCK_CLOSED;
    s->shut_rd = s->shut_wr = true;
    lx_sock_unpeer(s);
    if (peer && peer->peer == s && !peer->peer_ref) {
        peer->peer = NULL;
        peer->peer_gone = true;
        if (unread && s->type != SOCK_DGRAM)
            peer->err = ECONNRESET;
        lx_sock_changed(peer);
    }
    while (!list_empty(&s->backlog)) { /* nobody will accept them */
        struct lx_sock *w = list_entry(s->backlog.next, struct lx_sock, waiting);
        list_remove(&w->waiting);
        lx_sock_close(w);
        lx_sock_put(w);
    }
    s->backlog_count = 0;
    drop_input(s);
    lx_sock_changed(s);
}

/* Everything that sockets hold, before the last files are counted: files sent in a circle have nobody else. */
void lx_socks_drop_all(struct lx_vfs *v)
{
    bool again = true;
    while (again) {
        again = false;
        list_for_each(p, &v->socks)
        {
            struct lx_sock *s = list_entry(p, struct lx_sock, all);
            if (list_empty(&s->packets) && list_empty(&s->marks))
                continue;
            s->refs++;
            drop_input(s);
            lx_sock_put(s);
            again = true;
            break; /* the list may have changed */
        }
    }
}

void lx_sock_pair(struct lx_sock *a, struct lx_sock *b)
{
    a->peer = b;
    b->peer = a;
    a->state = b->state = LX_SOCK_CONNECTED;
    a->peer_pid = b->cred_pid, a->peer_uid = b->cred_uid, a->peer_gid = b->cred_gid;
    b->peer_pid = a->cred_pid, b->peer_uid = a->cred_uid, b->peer_gid = a->cred_gid;
}

/* ---- as files ---- */

static int64_t sock_read(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos)
{
    (void)pos;
    struct lx_msg m = {.it = it};
    int64_t r = lx_sock_recv(c, f->priv, &m);
    lx_scm_put(m.scm);
    struct lx_sock *s = f->priv;
    if (r == -EAGAIN && s->rcvtimeo_ns && !(f->flags & O_NONBLOCK))
        lx_deadline_after(c, s->rcvtimeo_ns);
    return r;
}

static int64_t sock_write(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos)
{
    (void)pos;
    struct lx_msg m = {.it = it};
    return lx_sock_send(c, f->priv, &m);
}

static uint32_t sock_poll(struct lx_file *f, struct lx_call *c)
{
    struct lx_sock *s = f->priv;
    if (c) {
        lx_block(c, &s->wait);
        if (s->peer)
            lx_block(c, &s->peer->wait); /* room there */
    }
    return lx_sock_ready(s);
}

static int64_t sock_ioctl(struct lx_call *c, struct lx_file *f, uint32_t cmd, uint64_t arg)
{
    struct lx_sock *s = f->priv;
    uint32_t n = 0;
    switch (cmd) {
    case FIONREAD:
        if (s->state == LX_SOCK_LISTEN)
            return -EINVAL;
        if (s->rx)
            n = s->rx->len;
        else if (!list_empty(&s->packets))
            n = list_entry(s->packets.next, struct lx_packet, link)->bytes;
        return lx_put(c, arg, &n, 4);
    case TIOCOUTQ:
        return lx_put(c, arg, &n, 4);
    default:
        return -ENOTTY;
    }
}

static void sock_release(struct lx_file *f)
{
    struct lx_sock *s = f->priv;
    lx_sock_close(s);
    lx_sock_put(s);
}

const struct lx_file_ops lx_sock_ops = {.read = sock_read,
                                        .write = sock_write,
                                        .poll = sock_poll,
                                        .ioctl = sock_ioctl,
                                        .release = sock_release,
                                        .stream = true};

struct lx_file *lx_sock_file(struct lx_sock *s, uint32_t flags, uint32_t uid, uint32_t gid)
{
    struct lx_vfs *v = s->vfs;
    char text[40];
    struct lx_inode *i = lx_inode_new(&v->sb[LX_SB_SOCK], S_IFSOCK | 0777);
    struct lx_dentry *d = NULL;
    struct lx_file *f = NULL;
    if (i) {
        i->ino = s->ino;
        i->uid = uid;
        i->gid = gid;
        snprintf(text, sizeof text, "socket:[%llu]", (unsigned long long)i->ino);
        d = lx_nameless(&v->sb[LX_SB_SOCK], i, text);
        if (!d)
            lx_inode_put(i);
    }
    if (d) {
        f = lx_file_new(v, d, O_RDWR | (flags & O_NONBLOCK), &lx_sock_ops);
        lx_dentry_put(d);
    }
    if (f)
        f->priv = s;
    else {
        lx_sock_close(s);
        lx_sock_put(s);
    }
    return f;
}

struct lx_sock *lx_file_sock(struct lx_file *f)
{
    return f->ops == &lx_sock_ops ? f->priv : NULL;
}
