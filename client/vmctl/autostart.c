/*
 * Where this user's own daemon does not run, vmctl starts it, as tmux does. Of several clients at a time one starts it: a lock beside
 * the socket is held meanwhile. The lock's file stays, as removing it would race.
 */
#include "client/vmctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static bool in_path(const char *name, char *out, size_t cap)
{
    const char *path = getenv("PATH");
    for (const char *p = path ? path : "/usr/local/bin:/usr/bin:/bin"; *p;) {
        size_t n = strcspn(p, ":");
        if (n && p[0] == '/' && snprintf(out, cap, "%.*s/%s", (int)n, p, name) < (int)cap &&
            access(out, X_OK) == 0)
            return true;
        p += n + (p[n] == ':');
    }
    return false;
}

bool ctl_find_program(const char *name, char *out, size_t cap)
{
    static const char *const places[] = {"", "../sbin/", "../libexec/", "../libexec/vmd/",
                                         "../lib/vmd/"};
    char self[PB_PATH_MAX], *slash;
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    if ((slash = strrchr(self, '/'))) {
        slash[1] = 0;
        for (size_t i = 0; i < ARRAY_LEN(places); i++)
            if (snprintf(out, cap, "%s%s%s", self, places[i], name) < (int)cap &&
                access(out, X_OK) == 0)
                return true;
    }
    return in_path(name, out, cap);
}

static bool listens(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    CLEANUP(close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || strlen(path) >= sizeof sa.sun_path)
        return false;
    strcpy(sa.sun_path, path);
    return connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0;
}

/* Run "vmd --daemonize" with its messages going to a pipe. It ends when it listens, or with a line that says why not. */
static res_code_t run_vmd(const char *program, struct err *err)
{
    int p[2];
    char said[300];
    size_t n = 0;
    if (pipe2(p, O_CLOEXEC))
        return err_set_os(err, "pipe");
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(null, 1);
        dup2(p[1], 2);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (chdir("/") == 0)
            execl(program, program, "--daemonize", (char *)NULL);
        _exit(127);
    }
    close(p[1]);
    if (pid < 0) {
        close(p[0]);
        return err_set_os(err, "fork");
    }
    int status = 0;
    for (ssize_t got;
         (got = read(p[0], said + n, sizeof said - 1 - n)) > 0 || (got < 0 && errno == EINTR);)
        if (got > 0 && (n += (size_t)got) == sizeof said - 1)
            n = 0; /* the last words count */
    said[n] = 0;
    close(p[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return OK;
    char *line = said;
    while (n && said[n - 1] == '\n')
        said[--n] = 0;
    if (strrchr(said, '\n'))
        line = strrchr(said, '\n') + 1;
    return err_set(err, ERR_UNAVAILABLE, "%s did not start%s%s", program, line[0] ? ": " : "",
                   line);
}

/* Where the daemon writes its log, for messages. */
static void log_path(char *out, size_t cap)
{
    char state[PB_PATH_MAX];
    struct err err;
    if (pb_default_state(state, &err))
        snprintf(state, sizeof state, "its state folder");
    snprintf(out, cap, "%.200s/vmd.log", state);
}

res_t ctl_autostart(const struct ctl_endpoint *e, struct err *err)
{
    char dir[PB_PATH_MAX], lock[PB_PATH_MAX + 16], program[PB_PATH_MAX], log[256];
    snprintf(dir, sizeof dir, "%s", e->path);
    char *slash = strrchr(dir, '/');
    ASSERT(slash);
    *slash = 0;
    if (!ctl_find_program("vmd", program, sizeof program))
        return err_set(err, ERR_UNAVAILABLE,
                       "no daemon at %s, and no program vmd beside vmctl or in PATH to start one",
                       e->path);
    if (pb_private_dir(dir, err))
        return FAIL;
    snprintf(lock, sizeof lock, "%s/vmctl.lock", dir);
    CLEANUP(close_fd) int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set_os(err, "%s", lock);
    while (flock(fd, LOCK_EX))
        if (errno != EINTR)
            return err_set_os(err, "%s", lock);
    if (listens(e->path)) /* somebody else started it while we waited */
        return OK;
    if (run_vmd(program, err)) {
        log_path(log, sizeof log);
        struct err why = *err;
        return err_set(err, ERR_UNAVAILABLE, "%s; see %s", why.text, log);
    }
    return OK;
}
