#include "client/vmctl/ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- the Unix socket ---- */

static ssize_t unix_send(struct ctl_transport *t, const void *p, size_t n, struct err *err)
{
    ssize_t took = send(t->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (took >= 0)
        return took;
    if (errno == EAGAIN || errno == EINTR)
        return CTL_IO_WAIT;
    if (errno == EPIPE ||
        errno == ECONNRESET) { /* what the daemon said before it hung up is read yet */
        t->wait_send = 0;
        return CTL_IO_WAIT;
    }
    err_set_os(err, "sending to the daemon");
    return CTL_IO_FAILED;
}

static ssize_t unix_recv(struct ctl_transport *t, void *p, size_t n, struct err *err)
{
    ssize_t got = recv(t->fd, p, n, MSG_DONTWAIT);
    if (got >= 0)
        return got;
    if (errno == EAGAIN || errno == EINTR)
        return CTL_IO_WAIT;
    if (errno == ECONNRESET)
        return 0;
    err_set_os(err, "reading from the daemon");
    return CTL_IO_FAILED;
}

static bool unix_pending(struct ctl_transport *t)
{
    (void)t;
    return false;
}

static void unix_close(struct ctl_transport *t)
{
    close_fd(&t->fd);
}

static const struct ctl_transport_ops unix_ops = {unix_send, unix_recv, unix_pending, unix_close};

static res_code_t no_daemon(const struct ctl_endpoint *e, struct err *err)
{
    char program[PB_PATH_MAX];
    if (!ctl_find_program("vmd", program, sizeof program))
        strcpy(program, "vmd");
    return err_set(err, ERR_UNAVAILABLE,
                   "no daemon at %.107s; start it with \"%.200s --daemonize%s%.107s\"", e->path,
                   program, e->own ? "" : " --socket ", e->own ? "" : e->path);
}

/* *missing: nobody listens there. */
static res_code_t unix_open(struct ctl_transport *t, const struct ctl_endpoint *e, bool *missing,
                            struct err *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    *missing = false;
    if (strlen(e->path) >= sizeof sa.sun_path)
        return err_set(err, ERR_INVALID, "socket %.200s: the path is too long", e->path);
    strcpy(sa.sun_path, e->path);
    if (e->own) { /* under /tmp somebody else may have put it there */
        char dir[PB_PATH_MAX];
        strcpy(dir, e->path);
        *strrchr(dir, '/') = 0;
        if (access(dir, F_OK) == 0 && pb_private_dir_check(dir, err))
            return FAIL;
    }
    t->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (t->fd < 0)
        return err_set_os(err, "socket");
    t->ops = &unix_ops;
    t->wait_send = POLLOUT;
    t->wait_recv = POLLIN;
    if (connect(t->fd, (struct sockaddr *)&sa, sizeof sa) == 0)
        return OK;
    int why = errno;
    close_fd(&t->fd);
    t->ops = NULL;
    *missing = why == ENOENT || why == ECONNREFUSED;
    if (*missing)
        return no_daemon(e, err);
    return err_set(err, ERR_UNAVAILABLE, "cannot reach the daemon at %s: %s", e->path,
                   strerror(why));
}

/* ---- connections ---- */

res_t ctl_connect_only(struct ctl_conn *c, const struct ctl_endpoint *e, struct err *err)
{
    bool missing;
    *c = (struct ctl_conn){.t.fd = -1};
    if (e->tcp ? ctl_tls_open(&c->t, e, err) : unix_open(&c->t, e, &missing, err))
        return FAIL;
    return pb_client_new(&c->h2, err);
}

res_t ctl_connect(struct ctl_conn *c, const struct ctl_args *a, struct err *err)
{
    struct ctl_endpoint e;
    const char *no = getenv("VMCTL_NO_AUTOSTART");
    bool missing = false,
         may_start = !ctl_has(a, OPT_NO_AUTOSTART) && !(no && no[0] && strcmp(no, "0") != 0);
    *c = (struct ctl_conn){.t.fd = -1};
    if (ctl_endpoint_find(&e, a, err))
        return FAIL;
    if (e.tcp)
        return ctl_connect_only(c, &e, err);
    if (unix_open(&c->t, &e, &missing, err)) {
        if (!missing || !e.own || !may_start)
            return FAIL;
        if (ctl_autostart(&e, err) || unix_open(&c->t, &e, &missing, err))
            return FAIL;
    }
    return pb_client_new(&c->h2, err);
}

void ctl_close(struct ctl_conn *c)
{
    pb_client_free(c->h2);
    buf_fini(&c->out);
    if (c->t.ops)
        c->t.ops->close(&c->t);
    *c = (struct ctl_conn){.t.fd = -1};
}

/* Send what there is and the transport takes. */
static res_code_t flush(struct ctl_conn *c, struct err *err)
{
    for (;;) {
        if (c->out_at == c->out.len) {
            c->out.len = c->out_at = 0;
            if (pb_client_send(c->h2, &c->out, 65536, err))
                return FAIL;
            if (c->out.len == 0)
                return OK;
        }
        ssize_t n = c->t.ops->send(&c->t, c->out.data + c->out_at, c->out.len - c->out_at, err);
        if (n == CTL_IO_WAIT)
            return OK;
        if (n < 0)
            return FAIL;
        c->out_at += (size_t)n;
    }
}

static res_code_t receive(struct ctl_conn *c, struct err *err)
{
    static uint8_t bytes[65536];
    do {
        ssize_t n = c->t.ops->recv(&c->t, bytes, sizeof bytes, err);
        if (n == CTL_IO_WAIT)
            return OK;
        if (n == CTL_IO_FAILED)
            return FAIL;
        if (n == 0)
            return err_set(err, ERR_UNAVAILABLE, "the daemon closed the connection");
        if (pb_client_recv(c->h2, bytes, (size_t)n, err))
            return FAIL;
    } while (c->t.ops->pending(&c->t));
    return OK;
}

res_t ctl_turn(struct ctl_conn *c, struct pollfd *extra, size_t extra_count, int timeout_ms,
               struct err *err)
{
    struct pollfd fds[8];
    ASSERT(extra_count < ARRAY_LEN(fds));
    if (flush(c, err))
        return FAIL;
    fds[0] = (struct pollfd){.fd = c->t.fd, .events = c->t.wait_recv};
    if (c->out_at < c->out.len)
        fds[0].events |= c->t.wait_send;
    if (extra_count)
        memcpy(fds + 1, extra, extra_count * sizeof *extra);
    int n = poll(fds, 1 + extra_count, timeout_ms);
    if (n < 0 && errno != EINTR)
        return err_set_os(err, "poll");
    for (size_t i = 0; i < extra_count; i++)
        extra[i].revents = n > 0 ? fds[1 + i].revents : 0;
    if (n > 0 && fds[0].revents) {
        if (receive(c, err)) {
            pb_client_lost(c->h2, err);
            return FAIL;
        }
        return flush(c, err); /* window updates, answers */
    }
    return OK;
}

/* ---- calls ---- */

struct call {
    ctl_use_fn *use;
    void *ctx;
    bool done;
    res_code_t res;
    struct err *err;
};

static void call_message(void *ctx, const ProtobufCMessage *m)
{
    struct call *call = ctx;
    if (call->use)
        call->use(call->ctx, m);
}

static void call_done(void *ctx, const struct err *why)
{
    struct call *call = ctx;
    call->done = true;
    call->res = why ? FAIL : OK;
    if (why && call->err != why)
        *call->err = *why;
}

res_t ctl_call(struct ctl_conn *c, enum pb_method_id id, const ProtobufCMessage *request,
               uint64_t timeout_ns, ctl_use_fn *use, void *ctx, struct err *err)
{
    static const struct pb_rpc_ops ops = {call_message, call_done};
    struct call call = {.use = use, .ctx = ctx, .err = err};
    struct pb_rpc *rpc;
    if (pb_rpc_start(c->h2, id, &ops, &call, timeout_ns, &rpc, err))
        return FAIL;
    pb_rpc_send(rpc, request);
    pb_rpc_half_close(rpc);
    while (!call.done)
        if (ctl_turn(c, NULL, 0, -1, err) && !call.done) {
            pb_client_lost(c->h2, err);
            return FAIL;
        }
    return call.res;
}

int ctl_order(const struct ctl_args *a, enum pb_method_id id, const ProtobufCMessage *request)
{
    struct ctl_conn c;
    struct err err;
    int code = 0;
    if (ctl_connect(&c, a, &err) || ctl_call(&c, id, request, 0, NULL, NULL, &err))
        code = ctl_fail(&err);
    ctl_close(&c);
    return code;
}
