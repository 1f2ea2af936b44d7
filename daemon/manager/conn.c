#include "daemon/manager/conn.h"
#include "daemon/manager/metrics.h"
#include "daemon/manager/service.h"
#include "daemon/manager/tenant.h"
#include "engine/base/log.h"
#include "engine/base/os.h"
#include "proto/server.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define SEND_BYTES (64 * 1024) /* asked from a connection at a time */
#define SENDS_MAX 16           /* for one connection before the others get their turn */
#define UNWELCOME_MAX 64       /* connections that are told why they may not stay, at a time */
#define COMPLAINTS_MAX 20      /* lines about clients in the log, per second */
#define TRIM_CLOSED 1024       /* connections that ended, before memory goes back to the host */
#define DESCRIPTORS_KEPT 512   /* for workers, images and files */

/* What all connections share. */
struct mgr_door {
    struct pb_conn_ops local, remote;
    struct buf plain; /* what TLS made of the bytes that came; used up before the next read */
    struct buf wire;  /* what it made of those to send */
    unsigned unwelcome;
    unsigned connections_max;
    unsigned closed_count; /* since memory was last given back */
    uint64_t complaints_since_ns;
    unsigned complaints;
    struct pb_counts counts;
};

/* Bytes that the socket did not take. */
struct unsent {
    uv_write_t req;
    struct buf bytes;
};

struct conn {
    struct mgr *m;
    struct mgr_tenant *tenant; /* NULL: unwelcome, or still shaking hands */
    struct list link, dirty;
    union {
        uv_stream_t stream;
        uv_pipe_t pipe;
        uv_tcp_t tcp;
    } io;
    uv_timer_t timer;
    uint64_t timer_ns;     /* when it rings; UINT64_MAX: it does not */
    struct pb_tls *tls;    /* NULL: a Unix socket */
    struct pb_conn *h2;    /* NULL: rule (2) */
    struct unsent *unsent; /* NULL: none */
    bool closing, failed, unwelcome;
    uint8_t handles; /* of libuv, not closed yet */
};

struct mgr *mgr_of_conn(void *conn_ctx)
{
    return ((struct conn *)conn_ctx)->m;
}

struct mgr_tenant *mgr_tenant_of_conn(void *conn_ctx)
{
    return ((struct conn *)conn_ctx)->tenant;
}

static const struct mgr_conn_limits defaults = {
#define LIMIT(name, by_default, what) .name = by_default,
    MGR_CONN_LIMITS(LIMIT)
#undef LIMIT
};
#define LIMIT_OF(m, name) ((m)->opt->conn_limits.name ? (m)->opt->conn_limits.name : defaults.name)

const struct pb_counts *mgr_call_counts(const struct mgr *m)
{
    return &m->door->counts;
}

/* A line about a client, unless clients have filled the log enough for now. */
static void complain(struct mgr *m, const char *text)
{
    struct mgr_door *d = m->door;
    uint64_t now = os_now_ns();
    if (now - d->complaints_since_ns > 1000000000) {
        if (d->complaints > COMPLAINTS_MAX)
            log_warn("client: %u more lines like these", d->complaints - COMPLAINTS_MAX);
        d->complaints_since_ns = now;
        d->complaints = 0;
    }
    if (d->complaints++ < COMPLAINTS_MAX)
        log_info("client: %s", text);
}

/* ---- the end of a connection ---- */

static void free_unsent(struct unsent *u)
{
    if (u)
        buf_fini(&u->bytes);
    free(u);
}

static void on_closed(uv_handle_t *h)
{
    struct conn *c = h->data;
    struct mgr_door *d = c->m->door;
    if (--c->handles)
        return;
    free_unsent(c->unsent);
    free(c);
    if (++d->closed_count >=
        TRIM_CLOSED) { /* a crowd has left; what it took lies in small pieces */
        d->closed_count = 0;
        malloc_trim(0);
    }
}

static void close_conn(struct conn *c)
{
    if (c->closing)
        return;
    c->closing = true;
    pb_conn_free(c->h2);
    c->h2 = NULL;
    pb_tls_free(c->tls);
    c->tls = NULL;
    list_remove(&c->link);
    list_remove(&c->dirty);
    c->m->conn_count--;
    if (c->tenant)
        c->tenant->conn_count--;
    if (c->unwelcome)
        c->m->door->unwelcome--;
    uv_close((uv_handle_t *)&c->timer, on_closed);
    uv_close((uv_handle_t *)&c->io.stream, on_closed);
}

static void mark_dirty(void *ctx)
{
    struct conn *c = ctx;
    if (!c->closing && list_empty(&c->dirty))
        list_append(&c->m->dirty_conns, &c->dirty);
}

/* ---- sending ---- */

static void on_written(uv_write_t *req, int status)
{
    struct conn *c = req->data;
    free_unsent(c->unsent);
    c->unsent = NULL;
    if (status < 0)
        close_conn(c);
    else
        mark_dirty(c);
}

/* The next bytes for the socket, none if there are none. Fails: the connection cannot go on. */
static res_code_t collect(struct conn *c, struct buf **out, struct err *err)
{
    struct buf *plain = &c->m->scratch, *wire = &c->m->door->wire;
    plain->len = wire->len = 0;
    if (c->h2 && pb_conn_send(c->h2, plain, SEND_BYTES, err))
        return FAIL;
    *out = plain;
    if (!c->tls)
        return OK;
    *out = wire;
    if (plain->len && pb_tls_send(c->tls, plain->data, plain->len, err))
        return FAIL;
    pb_tls_take(c->tls, wire);
    return wire->failed ? err_set(err, ERR_NO_MEMORY, "no memory to send") : OK;
}

/* Hand what the socket did not take to libuv. */
static bool send_later(struct conn *c, const uint8_t *p, size_t n)
{
    struct unsent *u = calloc(1, sizeof *u);
    if (!u)
        return false;
    buf_put(&u->bytes, p, n);
    u->req.data = c;
    uv_buf_t b = uv_buf_init((char *)u->bytes.data, (unsigned)u->bytes.len);
    if (u->bytes.failed || uv_write(&u->req, &c->io.stream, &b, 1, on_written)) {
        free_unsent(u);
        return false;
    }
    c->unsent = u;
    return true;
}

/* Send until the socket is full or there is no more. True: it has more and could go on. */
static bool flush_conn(struct conn *c)
{
    struct err err;
    for (int i = 0; i < SENDS_MAX; i++) {
        struct buf *b;
        if (c->unsent || c->closing)
            return false;
        if (collect(c, &b, &err)) {
            complain(c->m, err.text);
            close_conn(c);
            return false;
        }
        if (b->len == 0) {
            if (c->failed || (c->h2 && pb_conn_done(c->h2)))
                close_conn(c);
            return false;
        }
        uv_buf_t u = uv_buf_init((char *)b->data, (unsigned)b->len);
        int n = uv_try_write(&c->io.stream, &u, 1);
        size_t took = n > 0 ? (size_t)n : 0;
        mgr_count(c->m, MGR_METRIC_SENT_BYTES, b->len); /* at once or by and by */
        if ((n < 0 && n != UV_EAGAIN) ||
            (took < b->len && !send_later(c, b->data + took, b->len - took))) {
            close_conn(c);
            return false;
        }
    }
    return !c->unsent;
}

/* ---- time ---- */

static void on_timer(uv_timer_t *t);

static void set_timer(struct conn *c, uint64_t at_ns)
{
    uint64_t now = os_now_ns();
    c->timer_ns = at_ns;
    if (at_ns == UINT64_MAX) {
        uv_timer_stop(&c->timer);
        return;
    }
    uv_update_time(c->m->loop);
    uv_timer_start(&c->timer, on_timer, at_ns > now ? (at_ns - now + 999999) / 1000000 : 0, 0);
}

static void on_timer(uv_timer_t *t)
{
    struct conn *c = t->data;
    c->timer_ns = UINT64_MAX;
    if (!c->h2) {
        mgr_count(c->m, MGR_METRIC_CONNECTIONS_LATE, 1);
        complain(c->m, "the TLS handshake takes too long");
        close_conn(c);
    } else if (!pb_conn_expire(c->h2, os_now_ns())) {
        mgr_count(c->m, MGR_METRIC_CONNECTIONS_LATE, 1);
        complain(c->m, "nobody there, or too slow; closed");
        close_conn(c);
    } else {
        set_timer(c, pb_conn_deadline(c->h2));
    }
}

void mgr_conns_flush(struct mgr *m)
{
    struct list now;
    list_init(&now);
    while (
        !list_empty(&m->dirty_conns)) { /* those marked during this flush wait for the next turn */
        struct list *l = m->dirty_conns.next;
        list_remove(l);
        list_append(&now, l);
    }
    while (!list_empty(&now)) {
        struct conn *c = list_entry(now.next, struct conn, dirty);
        list_remove(&c->dirty);
        if (c->h2 && pb_conn_deadline(c->h2) < c->timer_ns)
            set_timer(c, pb_conn_deadline(c->h2));
        if (flush_conn(c))
            mark_dirty(c);
    }
}

/* ---- who it is ---- */

/* A session for a client whose tenant is known, or who is told why it may not stay. */
static res_code_t begin(struct conn *c, struct mgr_tenant *tenant, struct err *why, struct err *err)
{
    struct mgr *m = c->m;
    if (tenant && tenant->conn_count >= LIMIT_OF(m, tenant_connections)) {
        err_set(why, ERR_LIMIT, "tenant \"%s\" has %u connections", tenant->name,
                tenant->conn_count);
        err_explain(why, "TOO_MANY_CONNECTIONS", "tenant", tenant->name,
                    "close some, or raise tenant_connections in the daemon's configuration");
        tenant = NULL;
    } else if (tenant && m->conn_count > m->door->connections_max) {
        err_set(why, ERR_LIMIT, "the daemon has %u connections", m->conn_count - 1);
        err_explain(why, "TOO_MANY_CONNECTIONS", "daemon", "vmd",
                    "try again later, or raise connections in the daemon's configuration");
        tenant = NULL;
    }
    if (!tenant && m->door->unwelcome >= UNWELCOME_MAX)
        return err_set(err, ERR_LIMIT, "%u clients are being refused already", UNWELCOME_MAX);
    if (pb_conn_new(c->tls ? &m->door->remote : &m->door->local, c, &c->h2, err))
        return FAIL;
    set_timer(c, pb_conn_deadline(c->h2));
    if (tenant) {
        c->tenant = tenant;
        tenant->conn_count++;
        return OK;
    }
    complain(m, why->text);
    c->unwelcome = true;
    m->door->unwelcome++;
    mgr_count(m, MGR_METRIC_CONNECTIONS_REFUSED, 1);
    return pb_conn_refuse(c->h2, why, err);
}

static res_code_t begin_by_user(struct conn *c, struct err *err)
{
    uv_os_fd_t fd;
    struct ucred who;
    socklen_t n = sizeof who;
    struct err why;
    if (uv_fileno((uv_handle_t *)&c->io.stream, &fd) ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n))
        return err_set_os(err, "who the client is");
    err_set(&why, ERR_UNAUTHENTICATED, "user %u is no tenant of this daemon", (unsigned)who.uid);
    err_explain(&why, "USER_UNKNOWN", "user", "",
                "add the user to a tenant in the daemon's configuration");
    snprintf(why.object, sizeof why.object, "%u", (unsigned)who.uid);
    return begin(c, mgr_tenant_of_uid(c->m, who.uid), &why, err);
}

struct search {
    struct mgr *m;
    struct mgr_tenant *found;
    char first[128]; /* name, for the refusal */
};

static bool try_name(void *ctx, const char *name)
{
    struct search *s = ctx;
    if (!s->first[0])
        snprintf(s->first, sizeof s->first, "%s", name);
    s->found = mgr_tenant_of_certificate(s->m, name);
    return s->found != NULL;
}

static res_code_t begin_by_certificate(struct conn *c, struct err *err)
{
    struct search s = {.m = c->m};
    struct err why;
    pb_tls_peer_names(c->tls, try_name, &s);
    err_set(&why, ERR_UNAUTHENTICATED, "the certificate of \"%s\" names no tenant of this daemon",
            s.first);
    err_explain(&why, "CERTIFICATE_UNKNOWN", "certificate", s.first,
                "add its common or DNS name to a tenant in the daemon's configuration");
    return begin(c, s.found, &why, err);
}

/* ---- receiving ---- */

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    static char shared[65536]; /* used up before the next read */
    (void)h, (void)hint;
    *buf = uv_buf_init(shared, sizeof shared);
}

static res_code_t receive(struct conn *c, const void *p, size_t n, struct err *err)
{
    struct buf *plain = &c->m->door->plain;
    if (!c->tls)
        return pb_conn_recv(c->h2, p, n, err);
    plain->len = 0;
    res_code_t res = pb_tls_recv(c->tls, p, n, plain, err);
    mark_dirty(c); /* the handshake's next message, or an alert */
    if (!res && !c->h2 && pb_tls_ready(c->tls))
        res = begin_by_certificate(c, err);
    if (plain->len && c->h2) { /* also what came before the end */
        struct err *first = res ? NULL : err;
        if (pb_conn_recv(c->h2, plain->data, plain->len, first))
            res = FAIL;
    }
    return res;
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct conn *c = s->data;
    struct err err;
    if (n < 0) {
        close_conn(c);
        return;
    }
    mgr_count(c->m, MGR_METRIC_RECEIVED_BYTES, (uint64_t)n);
    if (n > 0 && receive(c, buf->base, (size_t)n, &err)) {
        if (err.code != ERR_UNAVAILABLE) {
            mgr_count(c->m, MGR_METRIC_CONNECTIONS_BROKEN, 1);
            complain(c->m, err.text);
        }
        c->failed = true; /* after its GOAWAY or alert went out */
        uv_read_stop(s);
        mark_dirty(c);
    }
}

static res_code_t accept_conn(struct conn *c, struct mgr_listener *l, struct err *err)
{
    int rc = uv_accept(&l->io.stream, &c->io.stream);
    if (rc)
        return err_set(err, ERR_OS, "accept: %s", uv_strerror(rc));
    if (c->m->conn_count > c->m->door->connections_max + UNWELCOME_MAX)
        return err_set(err, ERR_LIMIT, "more than %u connections", c->m->door->connections_max);
    if (l->tls) {
        uv_tcp_nodelay(&c->io.tcp, 1);
        if (pb_tls_new(l->tls, NULL, &c->tls, err))
            return FAIL;
        set_timer(c, os_now_ns() + LIMIT_OF(c->m, handshake_ms) * 1000000ull);
    } else if (begin_by_user(c, err)) {
        return FAIL;
    }
    rc = uv_read_start(&c->io.stream, on_alloc, on_read);
    return rc ? err_set(err, ERR_OS, "read: %s", uv_strerror(rc)) : OK;
}

void mgr_on_connection(uv_stream_t *listener, int status)
{
    struct mgr_listener *l = listener->data;
    struct mgr *m = l->m;
    struct err err;
    if (status < 0) {
        complain(m, uv_strerror(status));
        return;
    }
    struct conn *c = calloc(1, sizeof *c);
    if (!c)
        return;
    c->m = m;
    c->timer_ns = UINT64_MAX;
    c->handles = 2;
    list_init(&c->link);
    list_init(&c->dirty);
    uv_timer_init(m->loop, &c->timer);
    if (l->tls)
        uv_tcp_init(m->loop, &c->io.tcp);
    else
        uv_pipe_init(m->loop, &c->io.pipe, 0);
    c->io.stream.data = c->timer.data = c;
    list_append(&m->conns, &c->link);
    m->conn_count++;
    mgr_count(m, MGR_METRIC_CONNECTIONS_TOTAL, 1);
    if (accept_conn(c, l, &err)) {
        mgr_count(m, MGR_METRIC_CONNECTIONS_REFUSED, 1);
        complain(c->m, err.text);
        close_conn(c);
        return;
    }
    mark_dirty(c);
}

/* ---- all of them ---- */

/* As many as are configured, and as the host allows. */
static unsigned connections_max(const struct mgr *m)
{
    unsigned wanted = LIMIT_OF(m, connections);
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur >= wanted + (rlim_t)DESCRIPTORS_KEPT)
        return wanted;
    unsigned may = r.rlim_cur > 2 * DESCRIPTORS_KEPT ? (unsigned)r.rlim_cur - DESCRIPTORS_KEPT
                                                     : (unsigned)r.rlim_cur / 2;
    log_info("%u connections at most: this process may have only %u descriptors", may,
             (unsigned)r.rlim_cur);
    return may;
}

void mgr_conns_configure(struct mgr *m)
{
    const uint64_t ms = 1000000;
    struct mgr_door *d = m->door;
    d->connections_max = connections_max(m);
    d->local = (struct pb_conn_ops){
        .handlers = mgr_handlers,
        .wake = mark_dirty,
        .health = &m->health,
        .counts = &d->counts,
        /* no PING: the kernel knows when a local client ends, and one that is only stopped (^Z) shall keep its guest */
        .times = {.greeting_ns = LIMIT_OF(m, handshake_ms) * ms,
                  .request_ns = LIMIT_OF(m, request_ms) * ms,
                  .idle_ns = LIMIT_OF(m, idle_ms) * ms},
    };
    d->remote = d->local;
    d->remote.times.ping_after_ns = LIMIT_OF(m, ping_after_ms) * ms;
    d->remote.times.ping_answer_ns = LIMIT_OF(m, ping_answer_ms) * ms;
}

void mgr_conns_init(struct mgr *m)
{
    m->door = calloc(1, sizeof *m->door);
    ASSERT(m->door); /* the daemon begins: nothing is lost */
    pb_health_init(&m->health, true);
    mgr_conns_configure(m);
}

void mgr_conns_drain(struct mgr *m)
{
    list_for_each_safe(l, &m->conns)
    {
        struct conn *c = list_entry(l, struct conn, link);
        if (c->h2)
            pb_conn_drain(c->h2);
        else
            close_conn(c);
    }
}

void mgr_conns_close(struct mgr *m)
{
    while (!list_empty(&m->conns))
        close_conn(list_entry(m->conns.next, struct conn, link));
}

void mgr_conns_fini(struct mgr *m)
{
    if (m->door) {
        buf_fini(&m->door->plain);
        buf_fini(&m->door->wire);
    }
    free(m->door);
    m->door = NULL;
}
