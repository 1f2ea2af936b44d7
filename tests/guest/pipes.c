/* Pipes, polling, what blocks and what breaks.
 * tests: pipe2 read write close ppoll pselect6 ioctl fcntl dup
 */
#include "t.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/select.h>

static volatile int alarms;
static void on_signal(int s)
{
    (void)s;
    alarms++;
}

static void basics(void)
{
    int p[2], q[2];
    char buf[70000];
    memset(buf, 'p', sizeof buf);
    R("pipe2 bad flags", SYS_pipe2, p, 0x100);
    R("pipe2 bad pointer", SYS_pipe2, BAD, 0);
    R("pipe2", SYS_pipe2, p, O_CLOEXEC | O_NONBLOCK);
    R("cloexec", SYS_fcntl, p[0], F_GETFD);
    R("read empty", SYS_read, p[0], buf, 1L);
    R("write", SYS_write, p[1], "hello", 5L);
    int n = -1;
    R("FIONREAD", SYS_ioctl, p[0], FIONREAD, &n);
    say("waiting %d", n);
    R("FIONREAD bad pointer", SYS_ioctl, p[0], FIONREAD, BAD);
    R("read part", SYS_read, p[0], buf, 2L);
    R("read rest", SYS_read, p[0], buf, 100L);
    R("write to the reading end", SYS_write, p[0], "x", 1L);
    R("read from the writing end", SYS_read, p[1], buf, 1L);
    R("lseek", SYS_lseek, p[0], 0L, SEEK_SET);
    R("pread", SYS_pread64, p[0], buf, 1L, 0L);
    R("F_GETPIPE_SZ", SYS_fcntl, p[0], F_GETPIPE_SZ);
    R("write too much", SYS_write, p[1], buf, 70000L);
    R("write to a full pipe", SYS_write, p[1], buf, 1L);
    R("read much", SYS_read, p[0], buf, 60000L);
    R("an atomic write that does not fit", SYS_write, p[1], buf, 0L);
    R("close the writer", SYS_close, p[1]);
    R("the rest can be read", SYS_read, p[0], buf, 70000L);
    R("then the end", SYS_read, p[0], buf, 1L);
    close(p[0]);
    pipe(q);
    signal(SIGPIPE, SIG_IGN);
    close(q[0]);
    R("write without a reader", SYS_write, q[1], "x", 1L);
    signal(SIGPIPE, on_signal);
    alarms = 0;
    R("write without a reader, handler", SYS_write, q[1], "x", 1L);
    say("signals %d", alarms);
    signal(SIGPIPE, SIG_DFL);
    close(q[1]);
    pipe(q);
    R("write from a bad pointer", SYS_write, q[1], BAD, 4L);
    write(q[1], "abcd", 4);
    R("read to a bad pointer", SYS_read, q[0], BAD, 4L);
    close(q[0]), close(q[1]);
}

static void broken(void)
{
    int q[2];
    pipe(q);
    close(q[0]);
    write(q[1], "x", 1);
}

static int child_fd;
static void slow_writer(void)
{
    t_sleep_ms(30);
    write(child_fd, "late", 4);
}

static void blocking(void)
{
    int p[2], status;
    char buf[8192];
    pipe(p);
    child_fd = p[1];
    pid_t pid = fork();
    if (pid == 0) {
        slow_writer();
        _exit(0);
    }
    R("a read that waits", SYS_read, p[0], buf, 10L);
    waitpid(pid, &status, 0);
    /* a writer that waits until there is room again: 200 KiB through a 64 KiB pipe */
    pid = fork();
    if (pid == 0) {
        static char big[200000];
        memset(big, 'b', sizeof big);
        close(p[0]);
        _exit(write(p[1], big, sizeof big) == (ssize_t)sizeof big ? 0 : 1);
    }
    close(p[1]);
    long total = 0, got;
    while ((got = read(p[0], buf, sizeof buf)) > 0)
        total += got;
    say("read %ld until the end", total);
    waitpid(pid, &status, 0);
    t_status("the writer", status);
    close(p[0]);
    /* a signal interrupts, or restarts */
    struct sigaction sa = {.sa_handler = on_signal};
    pipe(p);
    sigaction(SIGALRM, &sa, NULL);
    alarms = 0;
    struct timespec none = {0, 0};
    struct timeval tv[2] = {{0, 0}, {0, 30000}};
    (void)none;
    sys(SYS_setitimer, 0, tv, NULL);
    R("a read interrupted", SYS_read, p[0], buf, 1L);
    say("signals %d", alarms);
    sa.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &sa, NULL);
    child_fd = p[1];
    pid = fork();
    if (pid == 0) {
        t_sleep_ms(80);
        write(p[1], "r", 1);
        _exit(0);
    }
    sys(SYS_setitimer, 0, tv, NULL);
    R("a read restarted", SYS_read, p[0], buf, 1L);
    say("signals %d", alarms);
    waitpid(pid, &status, 0);
    close(p[0]), close(p[1]);
}

static void polling(void)
{
    int p[2], status;
    pipe(p);
    struct pollfd f[3] = {{p[0], POLLIN, 0}, {p[1], POLLOUT, 0}, {99, POLLIN, 0}};
    struct timespec zero = {0, 0}, some = {0, 30000000}, bad = {0, 2000000000};
    R("ppoll", SYS_ppoll, f, 3L, &zero, NULL, 8L);
    say("revents %x %x %x", f[0].revents, f[1].revents, f[2].revents);
    f[1].fd = -1, f[2].fd = -1;
    R("ppoll times out", SYS_ppoll, f, 3L, &some, NULL, 8L);
    R("ppoll bad time", SYS_ppoll, f, 3L, &bad, NULL, 8L);
    R("ppoll bad pointer", SYS_ppoll, BAD, 3L, &zero, NULL, 8L);
    R("ppoll bad time pointer", SYS_ppoll, f, 3L, BAD, NULL, 8L);
    R("ppoll too many", SYS_ppoll, f, 0x7fffffffL, &zero, NULL, 8L);
    sigset_t none;
    sigemptyset(&none);
    R("ppoll bad set size", SYS_ppoll, f, 1L, &zero, &none, 4L);
    R("ppoll nothing", SYS_ppoll, NULL, 0L, &zero, NULL, 8L);
    pid_t pid = fork();
    if (pid == 0) {
        t_sleep_ms(30);
        write(p[1], "x", 1);
        _exit(0);
    }
    R("ppoll waits", SYS_ppoll, f, 1L, NULL, NULL, 8L);
    say("revents %x", f[0].revents);
    waitpid(pid, &status, 0);
    close(p[1]);
    R("ppoll data and hang-up", SYS_ppoll, f, 1L, NULL, NULL, 8L);
    say("revents %x", f[0].revents);
    char c;
    read(p[0], &c, 1);
    R("ppoll hang-up", SYS_ppoll, f, 1L, NULL, NULL, 8L);
    say("revents %x", f[0].revents);
    close(p[0]);
    pipe(p);
    close(p[0]);
    f[0] = (struct pollfd){p[1], POLLOUT, 0};
    R("ppoll a broken pipe", SYS_ppoll, f, 1L, &zero, NULL, 8L);
    say("revents %x", f[0].revents);
    close(p[1]);
    /* a signal that the mask lets in only while polling */
    sigset_t block;
    sigemptyset(&block), sigaddset(&block, SIGUSR1);
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &sa, NULL);
    sigprocmask(SIG_BLOCK, &block, NULL);
    raise(SIGUSR1);
    alarms = 0;
    R("ppoll with a mask", SYS_ppoll, NULL, 0L, NULL, &none, 8L);
    say("signals %d", alarms);
    sigprocmask(SIG_UNBLOCK, &block, NULL);
}

static void selecting(void)
{
    int p[2];
    fd_set r, w;
    struct timespec zero = {0, 0}, bad = {-1, 0};
    pipe(p);
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_SET(p[0], &r);
    FD_SET(p[1], &w);
    R("pselect6", SYS_pselect6, p[1] + 1, &r, &w, NULL, &zero, NULL);
    say("set %d %d", !!FD_ISSET(p[0], &r), !!FD_ISSET(p[1], &w));
    write(p[1], "x", 1);
    FD_SET(p[0], &r);
    R("pselect6 with data", SYS_pselect6, p[1] + 1, &r, &w, NULL, &zero, NULL);
    FD_ZERO(&r);
    FD_SET(40, &r);
    R("pselect6 closed descriptor", SYS_pselect6, 41, &r, NULL, NULL, &zero, NULL);
    R("pselect6 negative", SYS_pselect6, -1, NULL, NULL, NULL, &zero, NULL);
    R("pselect6 bad time", SYS_pselect6, 0, NULL, NULL, NULL, &bad, NULL);
    R("pselect6 bad pointer", SYS_pselect6, 1, BAD, NULL, NULL, &zero, NULL);
    R("pselect6 nothing", SYS_pselect6, 0, NULL, NULL, NULL, &zero, NULL);
    close(p[0]), close(p[1]);
}

static void ioctls(void)
{
    int p[2], one = 1, n;
    char c;
    pipe(p);
    t_file("f", "12345");
    int f = open("f", O_RDONLY);
    R("FIONBIO", SYS_ioctl, p[0], FIONBIO, &one);
    R("read now", SYS_read, p[0], &c, 1L);
    R("FIOCLEX", SYS_ioctl, p[0], FIOCLEX);
    R("F_GETFD", SYS_fcntl, p[0], F_GETFD);
    R("FIONCLEX", SYS_ioctl, p[0], FIONCLEX);
    R("F_GETFD", SYS_fcntl, p[0], F_GETFD);
    R("FIONREAD of a file", SYS_ioctl, f, FIONREAD, &n);
    say("left %d", n);
    R("ioctl unknown", SYS_ioctl, p[0], 0x12345678, 0L);
    R("ioctl bad fd", SYS_ioctl, 99, FIONREAD, &n);
    R("TCGETS of a pipe", SYS_ioctl, p[0], 0x5401, &c);
    close(p[0]), close(p[1]), close(f);
}

int main(void)
{
    basics();
    t_child("SIGPIPE", broken);
    blocking();
    polling();
    selecting();
    ioctls();
    return 0;
}
