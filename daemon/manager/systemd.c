#include "daemon/manager/systemd.h"
#include "engine/base/base.h"
#include "engine/base/os.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTEN_FDS_START 3 /* sd_listen_fds(3) */

void mgr_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    size_t n = path ? strlen(path) : 0;
    if (!n || n >= sizeof sa.sun_path || (*path != '/' && *path != '@'))
        return;
    memcpy(sa.sun_path, path, n);
    if (*path == '@')
        sa.sun_path[0] = 0;
    CLEANUP(close_fd) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&sa,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
}

void mgr_notify_reloading(void)
{
    char state[80];
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%llu",
             (unsigned long long)(os_now_ns() / 1000));
    mgr_notify(state);
}

static long number_of(const char *variable)
{
    const char *s = getenv(variable);
    char *end;
    long n = s ? strtol(s, &end, 10) : 0;
    return s && *s && !*end ? n : 0;
}

res_code_t mgr_listen_fd(int *fd, struct err *err)
{
    bool ours = number_of("LISTEN_PID") == (long)getpid();
    long count = ours ? number_of("LISTEN_FDS") : 0;
    int domain, type, listening;
    socklen_t n = sizeof(int);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    *fd = -1;
    if (count <= 0)
        return OK;
    if (count > 1)
        return err_set(err, ERR_INVALID,
                       "%ld sockets were passed; one Unix socket is wanted (add "
                       "others to listen in vmd.yaml)",
                       count);
    if (getsockopt(LISTEN_FDS_START, SOL_SOCKET, SO_DOMAIN, &domain, &n) ||
        getsockopt(LISTEN_FDS_START, SOL_SOCKET, SO_TYPE, &type, &n) ||
        getsockopt(LISTEN_FDS_START, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) ||
        domain != AF_UNIX || type != SOCK_STREAM || !listening)
        return err_set(err, ERR_INVALID,
                       "the descriptor that was passed is no listening Unix stream socket");
    fcntl(LISTEN_FDS_START, F_SETFD, FD_CLOEXEC);
    fcntl(LISTEN_FDS_START, F_SETFL, fcntl(LISTEN_FDS_START, F_GETFL) | O_NONBLOCK);
    *fd = LISTEN_FDS_START;
    return OK;
}

res_code_t mgr_listen_fd_path(int fd, char *out, unsigned cap, struct err *err)
{
    struct sockaddr_un sa = {0};
    socklen_t n = sizeof sa - 1;
    if (getsockname(fd, (struct sockaddr *)&sa, &n) || sa.sun_path[0] != '/' ||
        strlen(sa.sun_path) >= cap)
        return err_set(err, ERR_INVALID, "the socket that was passed has no path");
    strcpy(out, sa.sun_path);
    return OK;
}
