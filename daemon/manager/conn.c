#include "daemon/manager/conn.h"
#include "daemon/manager/metrics.h"
#include "daemon/manager/service.h"
#include "daemon/manager/systemd.h"
#include "daemon/manager/tenant.h"
#include "engine/base/log.h"
#include "engine/base/os.h"
#include "proto/paths.h"
#include "proto/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SEND_BYTES (64 * 1024) /* asked from a connection at a time */
#define SENDS_MAX 16           /* for one connection before the others get their turn */

struct conn {
    struct mgr *m;
    struct mgr_tenant *tenant;
    struct list link, dirty;
    uv_pipe_t pipe;
    struct pb_conn *h2;
    uv_write_t req;
    struct buf out; /* what the socket did not take */
    bool writing, closing, failed;
};

struct mgr *mgr_of_conn(void *conn_ctx)
{
    return ((struct conn *)conn_ctx)->m;
}

struct mgr_tenant *mgr_tenant_of_conn(void *conn_ctx)
{
    return ((struct conn *)conn_ctx)->tenant;
}

static void on_closed(uv_handle_t *h)
{
    struct conn *c = h->data;
    buf_fini(&c->out);
    free(c);
}

static void close_conn(struct conn *c)
{
    if (c->closing)
        return;
    c->closing = true;
    pb_conn_free(c->h2);
    c->h2 = NULL;
    list_remove(&c->link);
    list_remove(&c->dirty);
    c->m->conn_count--;
    uv_close((uv_handle_t *)&c->pipe, on_closed);
}

static void mark_dirty(void *ctx)
{
    struct conn *c = ctx;
    if (!c->closing && list_empty(&c->dirty))
        list_append(&c->m->dirty_conns, &c->dirty);
}

static void on_ended(void *ctx, enum pb_method_id method, int status)
{
    mgr_count_call(((struct conn *)ctx)->m, method, status);
}

static const struct pb_conn_ops conn_ops = {mgr_handlers, mark_dirty, on_ended};

static void on_written(uv_write_t *req, int status)
{
    struct conn *c = req->data;
    c->writing = false;
    buf_fini(&c->out);
    if (status < 0)
        close_conn(c);
    else
        mark_dirty(c);
}

/* Send until the socket is full or there is no more. True: it has more and could go on. */
static bool flush_conn(struct conn *c)
{
    struct buf *b = &c->m->scratch;
    struct err err;
    for (int i = 0; i < SENDS_MAX; i++) {
        if (c->writing || c->closing)
            return false;
        b->len = 0;
        if (pb_conn_send(c->h2, b, SEND_BYTES, &err)) {
            log_warn("client: %s", err.text);
            close_conn(c);
            return false;
        }
        if (b->len == 0) {
            if (c->failed || pb_conn_done(c->h2))
                close_conn(c);
            return false;
        }
        uv_buf_t u = uv_buf_init((char *)b->data, (unsigned)b->len);
        int n = uv_try_write((uv_stream_t *)&c->pipe, &u, 1);
        if (n < 0 && n != UV_EAGAIN) {
            close_conn(c);
            return false;
        }
        size_t took = n > 0 ? (size_t)n : 0;
        if (took == b->len)
            continue;
        buf_put(&c->out, b->data + took, b->len - took);
        u = uv_buf_init((char *)c->out.data, (unsigned)c->out.len);
        c->req.data = c;
        if (c->out.failed || uv_write(&c->req, (uv_stream_t *)&c->pipe, &u, 1, on_written)) {
            close_conn(c);
            return false;
        }
        c->writing = true;
    }
    return !c->writing;
}

static void on_deadline(uv_timer_t *t);

static void note_deadline(struct mgr *m, uint64_t at_ns)
{
    if (at_ns >= m->deadline_ns)
        return;
    uint64_t now = os_now_ns();
    m->deadline_ns = at_ns;
    uv_update_time(m->loop);
    uv_timer_start(&m->deadline_timer, on_deadline,
                   at_ns > now ? (at_ns - now + 999999) / 1000000 : 0, 0);
}

static void on_deadline(uv_timer_t *t)
{
    struct mgr *m = t->data;
    uint64_t now = os_now_ns(), next = UINT64_MAX;
    m->deadline_ns = UINT64_MAX;
    list_for_each(l, &m->conns)
    {
        struct conn *c = list_entry(l, struct conn, link);
        pb_conn_expire(c->h2, now);
        next = MIN(next, pb_conn_deadline(c->h2));
    }
    note_deadline(m, next);
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
        note_deadline(m, pb_conn_deadline(c->h2));
        if (flush_conn(c))
            mark_dirty(c);
    }
}

static void on_alloc(uv_handle_t *h, size_t hint, uv_buf_t *buf)
{
    static char shared[65536]; /* used up before the next read */
    (void)h, (void)hint;
    *buf = uv_buf_init(shared, sizeof shared);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct conn *c = s->data;
    struct err err;
    if (n < 0) {
        close_conn(c);
    } else if (n > 0 && pb_conn_recv(c->h2, buf->base, (size_t)n, &err)) {
        log_info("client: %s", err.text);
        c->failed = true; /* after its GOAWAY went out */
        uv_read_stop(s);
        mark_dirty(c);
    }
}

/* Whose connection it is, by the user at the other end; NULL: nobody's. */
static struct mgr_tenant *tenant_of_peer(struct mgr *m, uv_pipe_t *pipe)
{
    uv_os_fd_t fd;
    struct ucred who;
    socklen_t n = sizeof who;
    if (uv_fileno((uv_handle_t *)pipe, &fd) || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n))
        return NULL;
    struct mgr_tenant *t = mgr_tenant_of_uid(m, who.uid);
    if (!t)
        log_warn("client: user %u (process %d) is no tenant of this daemon", (unsigned)who.uid,
                 (int)who.pid);
    return t;
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct mgr *m = listener->data;
    if (status < 0) {
        log_warn("accept: %s", uv_strerror(status));
        return;
    }
    struct conn *c = calloc(1, sizeof *c);
    if (!c)
        return;
    c->m = m;
    list_init(&c->link);
    list_init(&c->dirty);
    uv_pipe_init(m->loop, &c->pipe, 0);
    c->pipe.data = c;
    list_append(&m->conns, &c->link);
    m->conn_count++;
    if (uv_accept(listener, (uv_stream_t *)&c->pipe) || m->conn_count > MGR_CONNS_MAX ||
        !(c->tenant = tenant_of_peer(m, &c->pipe)) || pb_conn_new(&conn_ops, c, &c->h2, NULL) ||
        uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read)) {
        mgr_count(m, MGR_METRIC_CONNECTIONS_REFUSED, 1);
        close_conn(c);
        return;
    }
    mgr_count(m, MGR_METRIC_CONNECTIONS_TOTAL, 1);
    mark_dirty(c);
}

static bool somebody_answers(const struct sockaddr_un *sa)
{
    CLEANUP(close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && connect(fd, (const struct sockaddr *)sa, sizeof *sa) == 0;
}

/* fd is taken. */
static res_code_t listen_on(struct mgr *m, int fd, struct err *err)
{
    uv_timer_init(m->loop, &m->deadline_timer);
    m->deadline_timer.data = m;
    m->deadline_ns = UINT64_MAX;
    uv_pipe_init(m->loop, &m->listener, 0);
    m->listener.data = m;
    int rc = uv_pipe_open(&m->listener, fd);
    if (rc)
        close(fd);
    else
        rc = uv_listen((uv_stream_t *)&m->listener, 1024, on_connection);
    if (rc)
        return err_set(err, ERR_OS, "listen %s: %s", m->opt->socket, uv_strerror(rc));
    return OK;
}

res_t mgr_listen(struct mgr *m, struct err *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    const char *path = m->opt->socket, *slash = strrchr(path, '/');
    char dir[PB_PATH_MAX];
    if (strlen(path) >= sizeof sa.sun_path)
        return err_set(err, ERR_INVALID, "socket %s: longer than %zu bytes", path,
                       sizeof sa.sun_path - 1);
    strcpy(sa.sun_path, path);
    if ((m->socket_passed = mgr_sd_listen_fds() > 0))
        return listen_on(m, MGR_SD_FIRST_FD, err);
    if (slash && slash != path) {
        memcpy(dir, path, (size_t)(slash - path));
        dir[slash - path] = 0;
        if (pb_private_dir(dir, err))
            return err_wrap(err, "the socket's folder");
    }
    if (somebody_answers(&sa))
        return err_set(err, ERR_EXISTS, "a daemon answers at %s already", path);
    unlink(path);
    CLEANUP(close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set_os(err, "socket");
    mode_t old = umask(0177);
    int rc = bind(fd, (struct sockaddr *)&sa, sizeof sa);
    umask(old);
    if (rc < 0)
        return err_set_os(err, "bind %s", path);
    res_code_t listened = listen_on(m, fd, err);
    fd = -1;
    return listened;
}

void mgr_listen_stop(struct mgr *m)
{
    if (!uv_is_closing((uv_handle_t *)&m->listener)) {
        mgr_sd_notify("STOPPING=1");
        if (!m->socket_passed)
            unlink(m->opt->socket);
        uv_close((uv_handle_t *)&m->listener, NULL);
    }
}

void mgr_conns_drain(struct mgr *m)
{
    list_for_each(l, &m->conns) pb_conn_drain(list_entry(l, struct conn, link)->h2);
}

void mgr_conns_close(struct mgr *m)
{
    while (!list_empty(&m->conns))
        close_conn(list_entry(m->conns.next, struct conn, link));
}
