/*
 * t.h - what the guest programs share.
 *
 * A program tries system calls and prints one line per check, the same on every run and every Linux: no pids, addresses, times,
 * inode numbers. Its output under Vivarium is compared with that under qemu-riscv64 (or with <program>.expect, where QEMU's
 * user mode differs from Linux; the file was made with the native build of the same source on Linux/x86-64).
 * The current folder is empty, writable by everybody, and the program's own.
 *
 * A line `tests: name name` in a comment lists the rows of the call table that the program covers, success and errors.
 */
#ifndef T_H
#define T_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NOINLINE __attribute__((noinline))
/* Pointers the kernel must refuse. */
#define BAD ((void *)8)
#define KERNEL_BAD ((void *)-4096L)

static inline const char *t_errname(long e)
{
    static const struct {
        int e;
        const char *n;
    } names[] = {
#define E(x) {x, #x}
        E(EPERM),        E(ENOENT),          E(ESRCH),           E(EINTR),
        E(EIO),          E(ENXIO),           E(E2BIG),           E(ENOEXEC),
        E(EBADF),        E(ECHILD),          E(EAGAIN),          E(ENOMEM),
        E(EACCES),       E(EFAULT),          E(EBUSY),           E(EEXIST),
        E(EXDEV),        E(ENODEV),          E(ENOTDIR),         E(EISDIR),
        E(EINVAL),       E(ENFILE),          E(EMFILE),          E(ENOTTY),
        E(ETXTBSY),      E(EFBIG),           E(ENOSPC),          E(ESPIPE),
        E(EROFS),        E(EMLINK),          E(EPIPE),           E(EDOM),
        E(ERANGE),       E(EDEADLK),         E(ENAMETOOLONG),    E(ENOSYS),
        E(ENOTEMPTY),    E(ELOOP),           E(ENODATA),         E(EOVERFLOW),
        E(ENOTSOCK),     E(EDESTADDRREQ),    E(EMSGSIZE),        E(EPROTOTYPE),
        E(ENOPROTOOPT),  E(EPROTONOSUPPORT), E(ESOCKTNOSUPPORT), E(EOPNOTSUPP),
        E(EAFNOSUPPORT), E(EADDRINUSE),      E(EADDRNOTAVAIL),   E(ENETUNREACH),
        E(ECONNABORTED), E(ECONNRESET),      E(ENOBUFS),         E(EISCONN),
        E(ENOTCONN),     E(ETIMEDOUT),       E(ECONNREFUSED),    E(EALREADY),
        E(EINPROGRESS),  E(EHOSTUNREACH),    E(EOWNERDEAD),
#undef E
    };
    static char other[16];
    for (size_t i = 0; i < COUNT(names); i++)
        if (names[i].e == e)
            return names[i].n;
    snprintf(other, sizeof other, "E%d", (int)e);
    return other;
}

__attribute__((format(printf, 1, 2))) static inline void say(const char *fmt, ...)
{
    char line[1024];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line - 1, fmt, ap);
    va_end(ap);
    if (n > (int)sizeof line - 2)
        n = (int)sizeof line - 2;
    line[n++] = '\n';
    for (const char *p = line; n > 0;) {
        ssize_t w = write(1, p, (size_t)n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            _exit(99);
        p += w;
        n -= (int)w;
    }
}

static inline long t_result(long r)
{
    return r == -1 ? -errno : r;
}
/* The call itself: a negative errno, or the result. */
#define sys(...) t_result(syscall(__VA_ARGS__))

static inline void t_value(const char *what, long r)
{
    if (r < 0 && r > -4096)
        say("%s: %s", what, t_errname(-r));
    else
        say("%s: %ld", what, r);
}
/* The result is the same everywhere. */
#define R(what, ...) t_value(what, sys(__VA_ARGS__))

static inline long t_ok(const char *what, long r)
{
    if (r < 0 && r > -4096)
        say("%s: %s", what, t_errname(-r));
    else
        say("%s: ok", what);
    return r;
}
/* Success is all that is the same; gives the result. */
#define OK(what, ...) t_ok(what, sys(__VA_ARGS__))

static inline bool t_true(const char *what, bool x)
{
    say("%s: %s", what, x ? "yes" : "no");
    return x;
}
#define T(what, x) t_true(what, x)

static inline const char *t_sig(int s)
{
    static char other[16];
    switch (s) {
#define S(x) \
    case x:  \
        return #x;
        S(SIGHUP)
        S(SIGINT) S(SIGQUIT) S(SIGILL) S(SIGTRAP) S(SIGABRT) S(SIGBUS) S(SIGFPE) S(SIGKILL)
            S(SIGUSR1) S(SIGSEGV) S(SIGUSR2) S(SIGPIPE) S(SIGALRM) S(SIGTERM) S(SIGCHLD) S(SIGCONT)
                S(SIGSTOP) S(SIGTSTP) S(SIGTTIN) S(SIGTTOU) S(SIGURG) S(SIGXCPU) S(SIGXFSZ)
                    S(SIGVTALRM) S(SIGPROF) S(SIGWINCH) S(SIGIO) S(SIGSYS)
#undef S
    }
    snprintf(other, sizeof other, "signal%d", s);
    return other;
}

static inline void t_status(const char *what, int status)
{
    if (WIFEXITED(status))
        say("%s: exit %d", what, WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        say("%s: killed by %s", what, t_sig(WTERMSIG(status)));
    else if (WIFSTOPPED(status))
        say("%s: stopped by %s", what, t_sig(WSTOPSIG(status)));
    else if (WIFCONTINUED(status))
        say("%s: continued", what);
    else
        say("%s: status 0x%x", what, (unsigned)status);
}

/* f runs in a child; how it ended is printed. */
static inline void t_child(const char *what, void (*f)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        f();
        _exit(0);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    t_status(what, status);
}

static inline void t_sleep_ms(long ms)
{
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
        ;
}

/* A file with content, or an empty one. */
static inline void t_file(const char *path, const char *text)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        say("cannot make %s: %s", path, t_errname(errno));
    close(fd);
}

static inline const char *t_long_name(size_t n)
{
    static char name[5000];
    memset(name, 'n', sizeof name);
    name[n] = 0;
    return name;
}

/* A page that can be read but not written, and one after which nothing is mapped. */
static inline char *t_readonly_page(void)
{
    return mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
static inline char *t_last_page(void)
{
    char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(p + 4096, 4096);
    return p;
}

#endif
