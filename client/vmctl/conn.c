#include "client/vmctl/ctl.h"
#include "proto/paths.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* What to type to start a daemon: the one beside this program, if there is one. */
static void daemon_command(char *out, size_t cap)
{
    ssize_t n = readlink("/proc/self/exe", out, cap - 8);
    char *slash;
    out[n > 0 ? n : 0] = 0;
    if ((slash = strrchr(out, '/'))) {
        strcpy(slash + 1, "vmd");
        if (access(out, X_OK) == 0)
            return;
    }
    strcpy(out, "vmd");
}

res_t ctl_connect(struct ctl_conn *c, const struct ctl_args *a, struct err *err)
{
    char path[PB_PATH_MAX], dir[PB_PATH_MAX];
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    const char *given = ctl_value(a, OPT_SOCKET);
    bool by_default = false;
    *c = (struct ctl_conn){.fd = -1};
    if (!given)
        given = getenv("VMD_SOCKET");
    if (!given || !given[0]) {
        if (pb_default_socket(path, err))
            return FAIL;
        given = path;
        by_default = true;
    }
    if (strlen(given) >= sizeof sa.sun_path)
        return err_set(err, ERR_INVALID, "socket %.200s: the path is too long", given);
    strcpy(sa.sun_path, given);
    if (by_default) { /* under /tmp somebody else may have put it there */
        strcpy(dir, given);
        *strrchr(dir, '/') = 0;
        if (access(dir, F_OK) == 0 && pb_private_dir_check(dir, err))
            return FAIL;
    }
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return err_set_os(err, "socket");
    if (connect(c->fd, (struct sockaddr *)&sa, sizeof sa) < 0) {
        int why = errno;
        close_fd(&c->fd);
        if (why == ENOENT || why == ECONNREFUSED) {
            daemon_command(dir, sizeof dir);
            return err_set(err, ERR_UNAVAILABLE,
                           "no daemon at %.107s; start it with \"%.200s --daemonize%s%.107s\"",
                           given, dir, by_default ? "" : " --socket ", by_default ? "" : given);
        }
        return err_set(err, ERR_UNAVAILABLE, "cannot reach the daemon at %s: %s", given,
                       strerror(why));
    }
    return pb_client_new(&c->h2, err);
}

void ctl_close(struct ctl_conn *c)
{
    pb_client_free(c->h2);
    buf_fini(&c->out);
    close_fd(&c->fd);
}

/* Send what there is and the socket takes. */
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
        ssize_t n = send(c->fd, c->out.data + c->out_at, c->out.len - c->out_at,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return OK;
        if (n < 0) /* what the daemon said before it hung up is read by the caller */
            return errno == EPIPE || errno == ECONNRESET ? OK
                                                         : err_set_os(err, "sending to the daemon");
        c->out_at += (size_t)n;
    }
}

static res_code_t receive(struct ctl_conn *c, struct err *err)
{
    static uint8_t bytes[65536];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return OK;
    if (n < 0 && errno != ECONNRESET)
        return err_set_os(err, "reading from the daemon");
    if (n <= 0)
        return err_set(err, ERR_UNAVAILABLE, "the daemon closed the connection");
    return pb_client_recv(c->h2, bytes, (size_t)n, err);
}

res_t ctl_turn(struct ctl_conn *c, struct pollfd *extra, size_t extra_count, int timeout_ms,
               struct err *err)
{
    struct pollfd fds[8] = {{.fd = c->fd, .events = POLLIN}};
    ASSERT(extra_count < ARRAY_LEN(fds));
    if (flush(c, err))
        return FAIL;
    if (c->out_at < c->out.len)
        fds[0].events |= POLLOUT;
    if (extra_count)
        memcpy(fds + 1, extra, extra_count * sizeof *extra);
    int n = poll(fds, 1 + extra_count, timeout_ms);
    if (n < 0 && errno != EINTR)
        return err_set_os(err, "poll");
    for (size_t i = 0; i < extra_count; i++)
        extra[i].revents = n > 0 ? fds[1 + i].revents : 0;
    if (n > 0 && fds[0].revents & (POLLIN | POLLHUP | POLLERR)) {
        if (receive(c, err)) {
            pb_client_lost(c->h2, err);
            return FAIL;
        }
        return flush(c, err); /* window updates, answers */
    }
    return OK;
}

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
