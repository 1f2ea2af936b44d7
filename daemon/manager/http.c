#include "daemon/manager/http.h"
#include "daemon/manager/config_value.h"
#include "engine/base/base.h"
#include "proto/paths.h"

#include <errno.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

union stream {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_pipe_t pipe;
    uv_tcp_t tcp;
};

struct mgr_http {
    uv_loop_t *loop;
    union stream listener;
    uv_timer_t timer; /* active while there are peers: rule (1) */
    bool tcp, stopped;
    char path[108]; /* of the Unix socket */
    mgr_http_fn answer;
    void *ctx;
    struct list peers;
    unsigned peer_count;
    unsigned handles; /* not closed yet, peers' included */
};

struct peer {
    struct mgr_http *http;
    struct list link;
    union stream stream;
    uv_write_t req;
    struct buf out;
    uint64_t until_ms;
    bool answered, closing;
    size_t len;
    char in[]; /* MGR_HTTP_HEAD_BYTES */
};

static void handle_gone(struct mgr_http *h)
{
    if (--h->handles == 0)
        free(h);
}

static void on_peer_closed(uv_handle_t *handle)
{
    struct peer *p = handle->data;
    handle_gone(p->http);
    buf_fini(&p->out);
    free(p);
}

static void close_peer(struct peer *p)
{
    if (p->closing)
        return;
    p->closing = true;
    list_remove(&p->link);
    if (--p->http->peer_count == 0 && !p->http->stopped)
        uv_timer_stop(&p->http->timer);
    uv_close(&p->stream.handle, on_peer_closed);
}

static void on_timer(uv_timer_t *t)
{
    struct mgr_http *h = t->data;
    uint64_t now = uv_now(h->loop);
    list_for_each_safe(l, &h->peers)
    {
        struct peer *p = list_entry(l, struct peer, link);
        if (now >= p->until_ms)
            close_peer(p);
    }
}

static void on_written(uv_write_t *req, int status)
{
    struct peer *p = req->data;
    (void)status;
    close_peer(p);
}

static const char *reason(unsigned status)
{
    switch (status) {
    case 200:
        return "OK";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 414:
        return "URI Too Long";
    case 421:
        return "Misdirected Request";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Bad Request";
    }
}

static void reply(struct peer *p, unsigned status, const struct mgr_http_request *req)
{
    struct buf body = {0};
    const char *type = "text/plain; charset=utf-8";
    if (status == 200)
        status = p->http->answer(p->http->ctx, req->path, &type, &body);
    else
        buf_printf(&body, "%s\n", reason(status));
    buf_printf(&p->out,
               "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s"
               "Connection: close\r\nCache-Control: no-store\r\n\r\n",
               status, reason(status), type, body.len, status == 405 ? "Allow: GET, HEAD\r\n" : "");
    if (!req->head)
        buf_put(&p->out, body.data, body.len);
    bool failed = body.failed || p->out.failed;
    buf_fini(&body);
    p->answered = true;
    p->req.data = p;
    uv_buf_t u = uv_buf_init((char *)p->out.data, (unsigned)p->out.len);
    if (failed || uv_write(&p->req, &p->stream.stream, &u, 1, on_written))
        close_peer(p);
}

static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
    static char rest[4096]; /* what comes behind a request is not looked at */
    struct peer *p = handle->data;
    (void)hint;
    *buf = p->answered ? uv_buf_init(rest, sizeof rest)
                       : uv_buf_init(p->in + p->len, (unsigned)(MGR_HTTP_HEAD_BYTES - p->len));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct peer *p = s->data;
    struct mgr_http_request req = {0};
    (void)buf;
    if (n < 0 && !p->answered)
        close_peer(p);
    else if (n < 0)
        uv_read_stop(s); /* it hears the answer, or not */
    if (n <= 0 || p->answered)
        return;
    p->len += (size_t)n;
    unsigned status = mgr_http_parse(p->in, p->len, p->http->tcp, &req);
    if (status)
        reply(p, status, &req);
}

static int init_stream(struct mgr_http *h, union stream *s)
{
    return h->tcp ? uv_tcp_init(h->loop, &s->tcp) : uv_pipe_init(h->loop, &s->pipe, 0);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct mgr_http *h = listener->data;
    struct peer *p = status < 0 ? NULL : malloc(sizeof *p + MGR_HTTP_HEAD_BYTES);
    if (!p)
        return;
    *p = (struct peer){.http = h, .until_ms = uv_now(h->loop) + MGR_HTTP_SECONDS * 1000};
    init_stream(h, &p->stream);
    p->stream.handle.data = p;
    list_append(&h->peers, &p->link);
    h->handles++;
    if (h->peer_count++ == 0)
        uv_timer_start(&h->timer, on_timer, 1000, 1000);
    if (uv_accept(listener, &p->stream.stream) || h->peer_count > MGR_HTTP_PEERS ||
        uv_read_start(&p->stream.stream, on_alloc, on_read))
        close_peer(p);
}

static void on_listener_closed(uv_handle_t *handle)
{
    handle_gone(handle->data);
}

void mgr_http_stop(struct mgr_http *h)
{
    if (!h)
        return;
    h->stopped = true;
    if (*h->path)
        unlink(h->path);
    while (!list_empty(&h->peers))
        close_peer(list_entry(h->peers.next, struct peer, link));
    uv_close((uv_handle_t *)&h->timer, on_listener_closed);
    uv_close(&h->listener.handle, on_listener_closed);
}

/* A dead socket is taken over, a live one is not. */
static res_code_t bind_unix(struct mgr_http *h, const char *path, struct err *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    char dir[sizeof sa.sun_path];
    snprintf(dir, sizeof dir, "%s", path);
    *strrchr(dir, '/') = 0;
    if (*dir && pb_private_dir(dir, err))
        return FAIL;
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    CLEANUP(close_fd) int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe >= 0 && connect(probe, (struct sockaddr *)&sa, sizeof sa) == 0)
        return err_set(err, ERR_EXISTS, "somebody answers at %s already", path);
    struct stat st;
    if (!lstat(path, &st) && !S_ISSOCK(st.st_mode))
        return err_set(err, ERR_EXISTS, "%s is there, and no socket", path);
    unlink(path);
    mode_t old = umask(0177);
    int rc = uv_pipe_bind(&h->listener.pipe, path);
    umask(old);
    if (rc)
        return err_set(err, ERR_OS, "%s: %s", path, uv_strerror(rc));
    snprintf(h->path, sizeof h->path, "%s", path);
    return OK;
}

static res_code_t bind_tcp(struct mgr_http *h, const char *where, struct err *err)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    char host[256];
    uint16_t port;
    if (mgr_value_address(where, host, &port, err))
        return FAIL;
    bool is_v6 = strchr(host, ':') != NULL;
    v4.sin_port = v6.sin6_port = htons(port);
    if (!is_v6 &&
        inet_pton(AF_INET, strcmp(host, "localhost") ? host : "127.0.0.1", &v4.sin_addr) != 1)
        return err_set(err, ERR_INVALID, "%s is no address", host);
    int rc =
        uv_tcp_bind(&h->listener.tcp, is_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4, 0);
    if (rc)
        return err_set(err, ERR_OS, "%s: %s", where, uv_strerror(rc));
    return OK;
}

res_code_t mgr_http_start(uv_loop_t *loop, const char *where, mgr_http_fn answer, void *ctx,
                          struct mgr_http **http, struct err *err)
{
    struct mgr_http *h = calloc(1, sizeof *h);
    if (!h)
        return err_set(err, ERR_NO_MEMORY, "no memory to listen on %s", where);
    h->loop = loop;
    h->answer = answer;
    h->ctx = ctx;
    h->tcp = strncmp(where, "unix:", 5) != 0;
    h->handles = 2;
    list_init(&h->peers);
    uv_timer_init(loop, &h->timer);
    init_stream(h, &h->listener);
    h->timer.data = h->listener.handle.data = h;
    res_code_t rc = h->tcp ? bind_tcp(h, where, err) : bind_unix(h, where + 5, err);
    if (!rc) {
        int n = uv_listen(&h->listener.stream, 64, on_connection);
        if (n)
            rc = err_set(err, ERR_OS, "%s: %s", where, uv_strerror(n));
    }
    if (rc)
        mgr_http_stop(h);
    else
        *http = h;
    return rc;
}
