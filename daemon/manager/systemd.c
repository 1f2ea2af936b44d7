#include "daemon/manager/systemd.h"
#include "engine/base/base.h"
#include "engine/base/os.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FDS_MAX 64

/* A whole decimal number, or 0. */
static unsigned long number(const char *s)
{
    char *end;
    unsigned long v = s && *s >= '0' && *s <= '9' ? strtoul(s, &end, 10) : 0;
    return v && !*end ? v : 0;
}

unsigned mgr_sd_listen_fds(void)
{
    unsigned long pid = number(getenv("LISTEN_PID")), count = number(getenv("LISTEN_FDS"));
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (pid != (unsigned long)getpid() || count > FDS_MAX)
        return 0;
    for (unsigned long i = 0; i < count; i++)
        if (fcntl(MGR_SD_FIRST_FD + (int)i, F_SETFD, FD_CLOEXEC) < 0)
            return 0;
    return (unsigned)count;
}

void mgr_sd_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof sa.sun_path)
        return;
    size_t n = strlen(path);
    memcpy(sa.sun_path, path, n);
    if (path[0] == '@') /* an abstract name: as long as it is, and without NUL at its end */
        sa.sun_path[0] = 0;
    CLEANUP(close_fd) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        (void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&sa,
                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
}

void mgr_sd_notify_reloading(void)
{
    char state[64];
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%llu",
             (unsigned long long)(os_now_ns() / 1000));
    mgr_sd_notify(state);
}
