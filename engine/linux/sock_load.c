/* Sockets out of a snapshot. */
#include "engine/linux/fs_load.h"

#include <stdlib.h>
#include <string.h>

static bool refuse(struct lx_loaded *l, bool wrong, const char *what)
{
    if (wrong)
        snap_refuse(l->r, "sockets: %s", what);
    return l->r->failed;
}

static bool no_memory(struct lx_loaded *l)
{
    l->r->failed = true;
    (void)err_set(&l->r->err, ERR_NO_MEMORY, "loading the guest's sockets");
    return false;
}

static void get_addr(struct lx_loaded *l, struct lx_addr *a, uint16_t family)
{
    size_t n = 0;
    const void *p = snap_get_bytes(l->r, 110, &n);
    memset(a, 0, sizeof *a);
    if (!p || refuse(l, family == AF_INET && n != 16 && n != 0, "address"))
        return;
    memcpy(a->b, p, n);
    a->len = (uint32_t)n;
}

static struct lx_sock *make(struct lx_loaded *l)
{
    uint32_t family = lx_load_u32(l), type = lx_load_u32(l), protocol = lx_load_u32(l),
             state = lx_load_u32(l);
    bool stream = type == SOCK_STREAM, dgram = type == SOCK_DGRAM;
    if (l->r->failed ||
        refuse(l,
               (family != AF_UNIX && family != AF_INET) ||
                   (!stream && !dgram && !(family == AF_UNIX && type == SOCK_SEQPACKET)) ||
                   protocol > 255 || state > LX_SOCK_CLOSED || (dgram && state == LX_SOCK_LISTEN),
               "kind"))
        return NULL;
    struct lx_sock *s = lx_sock_new(l->v, (uint16_t)family, (uint16_t)type, (uint16_t)protocol);
    if (!s)
        no_memory(l);
    else
        s->state = state;
    return s;
}

bool lx_load_sock(struct lx_loaded *l, uint32_t at)
{
    struct lx_sock *s = make(l);
    if (!s)
        return false;
    l->object[LX_COUNT_SOCKS][at] = s;
    if (!l->peers && !(l->peers = calloc(l->count[LX_COUNT_SOCKS], sizeof *l->peers)))
        return no_memory(l);
    uint32_t flags = lx_load_u32(l);
    s->bound = flags & LX_S_BOUND;
    s->shut_rd = flags & LX_S_SHUT_RD;
    s->shut_wr = flags & LX_S_SHUT_WR;
    s->peer_gone = flags & LX_S_PEER_GONE;
    s->connecting = flags & LX_S_CONNECTING;
    s->peer_ref = flags & LX_S_PEER_REF;
    s->ino = snap_get_u64(l->r);
    uint64_t hash = snap_get_u64(l->r);
    get_addr(l, &s->local, s->family);
    get_addr(l, &s->remote, s->family);
    s->err = (int)lx_load_u32(l);
    l->peers[at] = lx_load_u32(l);
    s->rx = lx_load_ref(l, LX_COUNT_PIPES);
    if (s->rx)
        s->rx->refs++;
    struct lx_inode *node = lx_load_ref(l, LX_COUNT_INODES);
    s->backlog_max = lx_load_max(l, LX_BACKLOG_MAX, "backlog");
    s->cred_pid = lx_load_u32(l), s->cred_uid = lx_load_u32(l), s->cred_gid = lx_load_u32(l);
    s->peer_pid = lx_load_u32(l), s->peer_uid = lx_load_u32(l), s->peer_gid = lx_load_u32(l);
    s->sndbuf = (int32_t)lx_load_u32(l);
    s->rcvbuf = (int32_t)lx_load_u32(l);
    s->rx_total = snap_get_u64(l->r);
    s->rx_taken = snap_get_u64(l->r);
    s->rcvtimeo_ns = snap_get_u64(l->r);
    s->sndtimeo_ns = snap_get_u64(l->r);
    snap_get_exact(l->r, s->opt, sizeof s->opt);
    snap_get_exact(l->r, s->tcp_opt, sizeof s->tcp_opt);
    snap_get_exact(l->r, s->ip_opt, sizeof s->ip_opt);
    snap_get_exact(l->r, s->linger, sizeof s->linger);
    if (l->r->failed ||
        refuse(l,
               s->err < 0 || s->err > 4095 ||
                   (node && (!S_ISSOCK(node->mode) || node->sock || s->family != AF_UNIX)) ||
                   (s->rx && s->type != SOCK_STREAM) || (s->peer_ref && s->type != SOCK_DGRAM),
               "state"))
        return false;
    if (node) {
        s->node = lx_inode_get(node);
        node->sock = s;
    }
    if (flags & LX_S_NAMED) {
        lx_hash_add(&l->v->net->names, &s->port, hash);
        s->in_ports = true;
    }
    return true;
}

/* Who is connected with whom. */
bool lx_load_sock_links(struct lx_loaded *l)
{
    uint32_t n = l->count[LX_COUNT_SOCKS];
    for (uint32_t k = 0; k < n && !refuse(l, l->peers[k] > n, "peer"); k++) {
        struct lx_sock *s = l->object[LX_COUNT_SOCKS][k],
                       *peer = l->peers[k] ? l->object[LX_COUNT_SOCKS][l->peers[k] - 1] : NULL;
        bool pair = peer && !s->peer_ref;
        if (refuse(l,
                   (s->peer_ref && !peer) || (peer && peer == s && !s->peer_ref) ||
                       (peer && peer->family != s->family) || (peer && peer->type != s->type) ||
                       (pair && (l->peers[l->peers[k] - 1] != k + 1 || peer->peer_ref)),
                   "pair"))
            break;
        s->peer = peer;
        if (s->peer_ref)
            peer->refs++;
    }
    if (l->r->failed) /* no half pairs for those who clean up */
        for (uint32_t k = 0; k < n; k++) {
            struct lx_sock *s = l->object[LX_COUNT_SOCKS][k];
            if (!s->peer)
                s->peer_ref = false;
        }
    free(l->peers);
    l->peers = NULL;
    return !l->r->failed;
}

static bool get_scm(struct lx_loaded *l, struct lx_scm **out)
{
    uint32_t n = lx_load_u32(l);
    *out = NULL;
    if (l->r->failed || refuse(l, n > LX_SCM_MAX, "files sent along") || !n)
        return !l->r->failed;
    struct lx_scm *scm = malloc(sizeof *scm + n * sizeof scm->file[0]);
    if (!scm)
        return no_memory(l);
    scm->count = 0;
    while (scm->count < n) {
        struct lx_file *f = lx_load_ref(l, LX_COUNT_FILES);
        if (l->r->failed || refuse(l, !f, "file sent along")) {
            lx_scm_put(scm);
            return false;
        }
        scm->file[scm->count++] = lx_file_get(f);
    }
    *out = scm;
    return true;
}

static bool get_packet(struct lx_loaded *l, struct lx_sock *s)
{
    struct lx_addr from;
    size_t n = 0;
    get_addr(l, &from, s->family);
    const void *p = snap_get_bytes(l->r, LX_SOCK_PACKETS, &n);
    struct lx_packet *k = p ? malloc(sizeof *k + n) : NULL;
    if (!p)
        return false;
    if (!k)
        return no_memory(l);
    *k = (struct lx_packet){.from = from, .bytes = (uint32_t)n};
    memcpy(k->data, p, n);
    if (!get_scm(l, &k->scm)) {
        free(k);
        return false;
    }
    list_append(&s->packets, &k->link);
    s->packet_bytes += k->bytes + LX_PACKET_HEAD;
    return true;
}

static bool get_mark(struct lx_loaded *l, struct lx_sock *s)
{
    struct lx_mark *m = malloc(sizeof *m);
    if (!m)
        return no_memory(l);
    *m = (struct lx_mark){.at = snap_get_u64(l->r)};
    uint64_t after =
        list_empty(&s->marks) ? s->rx_taken : list_entry(s->marks.prev, struct lx_mark, link)->at;
    if (refuse(l, m->at < after, "place in a stream") || !get_scm(l, &m->scm)) {
        free(m);
        return false;
    }
    list_append(&s->marks, &m->link);
    return true;
}

bool lx_load_sock_queue(struct lx_loaded *l, uint32_t at)
{
    struct lx_sock *s = l->object[LX_COUNT_SOCKS][at];
    uint32_t n = lx_load_u32(l);
    for (uint32_t k = 0; k < n && !l->r->failed; k++) {
        struct lx_sock *w = lx_load_ref(l, LX_COUNT_SOCKS);
        if (l->r->failed ||
            refuse(l,
                   !w || w == s || s->state != LX_SOCK_LISTEN || w->state == LX_SOCK_LISTEN ||
                       w->has_file || !list_empty(&w->waiting) || w->type != s->type ||
                       w->family != s->family,
                   "backlog"))
            return false;
        list_append(&s->backlog, &w->waiting);
        w->refs++;
        s->backlog_count++;
    }
    n = lx_load_u32(l);
    for (uint32_t k = 0; k < n && !l->r->failed; k++)
        if (refuse(l, s->type == SOCK_STREAM || s->packet_bytes > LX_SOCK_PACKETS, "packets") ||
            !get_packet(l, s))
            return false;
    n = lx_load_u32(l);
    for (uint32_t k = 0; k < n && !l->r->failed; k++)
        if (refuse(l, s->type != SOCK_STREAM, "marks") || !get_mark(l, s))
            return false;
    return !l->r->failed;
}

/* A socket that nobody has any more but the loader is closed as its last file would have closed it. */
void lx_load_sock_end(struct lx_sock *s)
{
    if (s->refs == 1)
        lx_sock_close(s);
    lx_sock_put(s);
}
