#include "daemon/manager/child.h"
#include "engine/base/base.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PASS_FDS_MAX 2

static void exited(uv_process_t *p, int64_t status, int sig)
{
    struct mgr_child *c = container_of(p, struct mgr_child, process);
    c->exited = true;
    uv_poll_stop(&c->poll);
    c->on_exit(c, status, sig);
}

static void closed(uv_handle_t *h)
{
    struct mgr_child *c = h->type == UV_PROCESS
                              ? container_of((uv_process_t *)(void *)h, struct mgr_child, process)
                              : container_of((uv_poll_t *)(void *)h, struct mgr_child, poll);
    if (--c->closing == 0)
        c->on_gone(c);
}

res_t mgr_child_start(struct mgr_child *c, uv_loop_t *loop, const char *path, int pass_fd,
                      uv_poll_cb poll_cb, int *fd, struct err *err)
{
    return mgr_child_start_with(c, loop, path, &pass_fd, pass_fd >= 0, poll_cb, fd, err);
}

res_t mgr_child_start_with(struct mgr_child *c, uv_loop_t *loop, const char *path,
                           const int *pass_fds, size_t pass_fd_count, uv_poll_cb poll_cb, int *fd,
                           struct err *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        err_set_os(err, "socketpair");
        c->on_gone(c);
        return FAIL;
    }
    char *argv[] = {(char *)(uintptr_t)path, NULL};
    uv_stdio_container_t io[4 + PASS_FDS_MAX] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
        {.flags = UV_INHERIT_FD, .data.fd = pair[1]},
    };
    ASSERT(pass_fd_count <= PASS_FDS_MAX);
    for (size_t i = 0; i < pass_fd_count; i++) {
        io[4 + i].flags = UV_INHERIT_FD;
        io[4 + i].data.fd = pass_fds[i];
    }
    uv_process_options_t opt = {.file = path,
                                .args = argv,
                                .exit_cb = exited,
                                .stdio = io,
                                .stdio_count = 4 + (int)pass_fd_count};
    c->exited = false;
    c->fd = pair[0];
    int rc = uv_spawn(loop, &c->process, &opt);
    close(pair[1]);
    if (rc) {
        close(pair[0]);
        c->closing = 1;
        err_set(err, ERR_OS, "cannot start %s: %s", path, uv_strerror(rc));
        uv_close((uv_handle_t *)&c->process, closed);
        return FAIL;
    }
    uv_poll_init(loop, &c->poll, pair[0]);
    *fd = pair[0];
    uv_poll_start(&c->poll, UV_READABLE, poll_cb);
    return OK;
}

void mgr_child_poll(struct mgr_child *c, bool write)
{
    int events = (c->deaf ? 0 : UV_READABLE) | (write ? UV_WRITABLE : 0);
    if (!c->exited && (c->was_deaf || uv_is_active((uv_handle_t *)&c->poll)))
        uv_poll_start(&c->poll, events, c->poll.poll_cb);
    c->was_deaf = c->deaf; /* and perhaps not active, but not stopped for good */
}

void mgr_child_kill(struct mgr_child *c)
{
    if (!c->exited)
        uv_process_kill(&c->process, SIGKILL);
}

void mgr_child_hang_up(struct mgr_child *c)
{
    if (!c->exited)
        shutdown(c->fd, SHUT_RDWR);
}

void mgr_child_close(struct mgr_child *c)
{
    c->closing = 2;
    uv_close((uv_handle_t *)&c->poll, closed);
    uv_close((uv_handle_t *)&c->process, closed);
}
