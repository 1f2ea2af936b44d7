#include "daemon/confine/spawn.h"
#include "daemon/confine/internal.h"
#include "engine/base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

struct child {
    const char *path;
    const int *fds;
    unsigned fd_count;
    int error_fd;
    const char *word;
    uid_t uid;
    gid_t gid;
};

/* A fork as the kernel makes it: what the C library keeps about locks and threads is stale, so the child makes system calls
 * only. */
static pid_t fork_into(unsigned long flags, int *pidfd)
{
    return (pid_t)syscall(SYS_clone, flags | CLONE_PIDFD | SIGCHLD, NULL, pidfd, NULL, NULL);
}

static void default_signals(void)
{
    sigset_t none;
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* fds[i] becomes descriptor i, the error pipe the one behind them, and nothing else stays. */
static res_code_t arrange(struct child *c)
{
    int from[CF_SPAWN_FDS_MAX + 1];
    unsigned n = c->fd_count;
    for (unsigned i = 0; i <= n; i++) {
        int fd = i < n ? c->fds[i] : c->error_fd;
        from[i] = fd < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) : fd;
        from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, CF_SPAWN_FDS_MAX + 2); /* out of the way */
        if (from[i] < 0)
            return FAIL;
    }
    for (unsigned i = 0; i <= n; i++)
        if (dup3(from[i], (int)i, i < n ? 0 : O_CLOEXEC) < 0)
            return FAIL;
    c->error_fd = (int)n;
    syscall(SYS_close_range, n + 1, ~0U,
            0); /* an old kernel: all of the daemon's are close-on-exec */
    return OK;
}

_Noreturn static void be_child(struct child *c)
{
    static char *const nothing[] = {NULL};
    char *argv[] = {(char *)(uintptr_t)c->path, (char *)(uintptr_t)c->word, NULL};
    default_signals();
    if (c->word[0] == 'u' && cf_map_ids(AT_FDCWD, "/proc/self/", c->uid, c->gid))
        c->word = "pm";
    setsid();
    if (!arrange(c))
        execve(c->path, argv, CF_SANITIZED ? environ : nothing);
    int e = errno;
    if (write(c->error_fd, &e, sizeof e) < 0)
        _exit(126);
    _exit(127);
}

/* Root's child needs no user namespace for the other; it becomes somebody else first and takes one then (layers.c). */
static pid_t start(struct child *c, int *pidfd)
{
    static const struct {
        unsigned long flags;
        const char *word;
        bool root;
    } ways[] = {{CLONE_NEWPID, "p", true}, {CLONE_NEWPID | CLONE_NEWUSER, "up", false}};
    static char why[32];
    pid_t pid = -1;
    errno = 0;
    for (unsigned i = 0; i < ARRAY_LEN(ways) && pid < 0 && errno != EAGAIN && errno != ENOMEM;
         i++) {
        c->word = ways[i].word;
        if (!ways[i].root || geteuid() == 0)
            pid = fork_into(ways[i].flags, pidfd);
    }
    if (pid < 0 && errno != EAGAIN && errno != ENOMEM) {
        snprintf(why, sizeof why, "-%d", errno);
        c->word = why;
        pid = fork_into(0, pidfd);
    }
    if (pid == 0)
        be_child(c);
    return pid;
}

res_t cf_spawn(const char *path, const int *fds, unsigned fd_count, struct cf_process *out,
               struct err *err)
{
    int pipe_fd[2], pidfd = -1, error = 0;
    ASSERT(fd_count <= CF_SPAWN_FDS_MAX);
    if (pipe2(pipe_fd, O_CLOEXEC))
        return err_set_os(err, "a pipe to a new process");
    struct child c = {path, fds, fd_count, pipe_fd[1], "", geteuid(), getegid()};
    pid_t pid = start(&c, &pidfd);
    int fork_error = errno;
    close(pipe_fd[1]);
    if (pid < 0) {
        close(pipe_fd[0]);
        errno = fork_error;
        return err_set_os(err, "cannot start %s", path);
    }
    ssize_t n;
    while ((n = read(pipe_fd[0], &error, sizeof error)) < 0 && errno == EINTR)
        ;
    close(pipe_fd[0]);
    struct cf_process p = {pid, pidfd};
    if (n == 0) {
        *out = p;
        return OK;
    }
    int status, sig;
    cf_reap(&p, &status, &sig);
    close(pidfd);
    errno = n == (ssize_t)sizeof error ? error : EIO;
    return err_set_os(err, "cannot start %s", path);
}

void cf_reap(const struct cf_process *p, int *status, int *sig)
{
    siginfo_t si = {0};
    while (waitid((idtype_t)P_PIDFD, (id_t)p->pidfd, &si, WEXITED) < 0 && errno == EINTR)
        ;
    bool exited = si.si_code == CLD_EXITED;
    *status = exited ? si.si_status : 0;
    *sig = exited ? 0 : si.si_status;
}
