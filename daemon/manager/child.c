#include "daemon/manager/child.h"
#include "engine/base/base.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PASS_FDS_MAX 2

/* The pidfd is readable: it is over. */
static void exited(uv_poll_t *p, int poll_status, int events)
{
    struct mgr_child *c = container_of(p, struct mgr_child, over);
    int status, sig;
    (void)poll_status;
    (void)events;
    cf_reap(&c->process, &status, &sig);
    c->exited = true;
    uv_poll_stop(&c->over);
    uv_poll_stop(&c->poll);
    c->on_exit(c, status, sig);
}

static void closed(uv_handle_t *h)
{
    struct mgr_child *c = h->data;
    if (--c->closing == 0) {
        close_fd(&c->process.pidfd);
        c->on_gone(c);
    }
}

/* poll's data is the caller's until it is closed. */
static void close_poll(struct mgr_child *c, uv_poll_t *p)
{
    p->data = c;
    uv_close((uv_handle_t *)p, closed);
}

static void watch(struct mgr_child *c, uv_loop_t *loop, uv_poll_cb poll_cb)
{
    uv_poll_init(loop, &c->over, c->process.pidfd);
    uv_poll_start(&c->over, UV_READABLE, exited);
    uv_poll_init(loop, &c->poll, c->fd);
    uv_poll_start(&c->poll, UV_READABLE, poll_cb);
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
    int fds[4 + PASS_FDS_MAX] = {-1, 2, 2, pair[1]};
    ASSERT(pass_fd_count <= PASS_FDS_MAX);
    for (size_t i = 0; i < pass_fd_count; i++)
        fds[4 + i] = pass_fds[i];
    c->exited = false;
    c->fd = pair[0];
    res_code_t res = cf_spawn(path, fds, 4 + (unsigned)pass_fd_count, &c->process, err);
    close(pair[1]);
    if (res) {
        close(pair[0]);
        c->on_gone(c);
        return FAIL;
    }
    watch(c, loop, poll_cb);
    *fd = pair[0];
    return OK;
}

void mgr_child_adopt(struct mgr_child *c, uv_loop_t *loop, uint32_t pid, int pidfd, int fd,
                     uv_poll_cb poll_cb)
{
    c->exited = false;
    c->process = (struct cf_process){(pid_t)pid, pidfd};
    c->fd = fd;
    watch(c, loop, poll_cb);
}

uint32_t mgr_child_pid(const struct mgr_child *c)
{
    return (uint32_t)c->process.pid;
}

void mgr_child_detach(struct mgr_child *c)
{
    uv_poll_stop(&c->over);
    uv_poll_stop(&c->poll);
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
        syscall(SYS_pidfd_send_signal, c->process.pidfd, SIGKILL, NULL, 0);
}

void mgr_child_hang_up(struct mgr_child *c)
{
    if (!c->exited)
        shutdown(c->fd, SHUT_RDWR);
}

void mgr_child_close(struct mgr_child *c)
{
    c->closing = 2;
    close_poll(c, &c->poll);
    close_poll(c, &c->over);
}
