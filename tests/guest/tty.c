/* Terminals: a pseudo-terminal pair, its line discipline, job control.
 * tests: ioctl openat read write setsid getsid setpgid kill ppoll
 */
#include "t.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>

static int master, slave;
static char name[32];
static volatile int got;

static void on_signal(int s)
{
    got = s;
}

static void show(const char *what, int fd)
{
    char buf[256], line[600] = "";
    struct pollfd p = {fd, POLLIN, 0};
    bool any = poll(&p, 1, 200) > 0;
    t_sleep_ms(20); /* echo may come in pieces */
    long n = any ? sys(SYS_read, fd, buf, sizeof buf) : -EAGAIN;
    for (long i = 0; i < n; i++)
        snprintf(line + strlen(line), 8, buf[i] < 32 || buf[i] == 127 ? "\\%o" : "%c",
                 (unsigned char)buf[i]);
    if (n < 0)
        say("%s: %s", what, t_errname(-n));
    else
        say("%s: %ld [%s]", what, n, line);
}

static void pair(void)
{
    int n = -1, unlock = 0;
    master = (int)sys(SYS_openat, AT_FDCWD, "/dev/ptmx", O_RDWR | O_NOCTTY, 0);
    T("ptmx", master >= 0);
    R("TIOCGPTN", SYS_ioctl, master, TIOCGPTN, &n);
    snprintf(name, sizeof name, "/dev/pts/%d", n);
    R("open locked", SYS_openat, AT_FDCWD, name, O_RDWR | O_NOCTTY, 0);
    R("TIOCSPTLCK", SYS_ioctl, master, TIOCSPTLCK, &unlock);
    slave = (int)sys(SYS_openat, AT_FDCWD, name, O_RDWR | O_NOCTTY, 0);
    T("slave", slave >= 0);
    T("isatty", isatty(slave) && isatty(master));
    R("TCGETS of null", SYS_ioctl, open("/dev/null", O_RDWR), TCGETS, &n);
    R("TCGETS bad pointer", SYS_ioctl, slave, TCGETS, BAD);
    R("TIOCGWINSZ bad pointer", SYS_ioctl, slave, TIOCGWINSZ, BAD);
    R("unknown", SYS_ioctl, slave, 0x54fe, 0L);
}

static void discipline(void)
{
    struct termios t, raw;
    tcgetattr(slave, &t);
    say("flags i %o o %o l %o c %d %d %d", t.c_iflag, t.c_oflag, t.c_lflag, t.c_cc[VINTR],
        t.c_cc[VEOF], t.c_cc[VERASE]);
    write(master,
          "abc\x7f"
          "d\n",
          6);
    show("a line, edited", slave);
    show("its echo", master);
    write(master, "par", 3);
    struct pollfd p = {slave, POLLIN, 0};
    say("half a line: %d", poll(&p, 1, 20));
    write(master, "t\n", 2);
    show("whole", slave);
    write(master, "word one\x17two\n", 13);
    show("word erased", slave);
    write(master, "killed\x15kept\n", 12);
    show("line killed", slave);
    show("echoes", master);
    write(master, "x\x04", 2);
    show("end of file after x", slave);
    write(master, "\x04", 1);
    show("end of file", slave);
    write(slave, "out\n", 4);
    show("output gets a CR", master);
    write(master, "l1\nl2\n", 6);
    show("one line at a time", slave);
    show("then the next", slave);
    show("echoes", master);
    raw = t;
    cfmakeraw(&raw);
    R("TCSETS raw", SYS_ioctl, slave, TCSETS, &raw);
    tcgetattr(slave, &raw);
    cfmakeraw(&raw);
    tcsetattr(slave, TCSANOW, &raw);
    write(master, "r\x03\x04\r", 4);
    show("raw", slave);
    write(slave, "o\n", 2);
    show("raw output", master);
    raw.c_cc[VMIN] = 0, raw.c_cc[VTIME] = 1;
    tcsetattr(slave, TCSANOW, &raw);
    char c;
    R("VMIN 0 VTIME 1", SYS_read, slave, &c, 1L);
    tcsetattr(slave, TCSAFLUSH, &t);
    write(master, "flushed\n", 8);
    t_sleep_ms(20);
    R("TCFLSH", SYS_ioctl, slave, TCFLSH, (long)TCIFLUSH);
    say("after the flush: %d", poll(&p, 1, 20));
    R("TCFLSH bad", SYS_ioctl, slave, TCFLSH, 99L);
    show("echo", master);
    struct winsize ws = {30, 90, 0, 0};
    R("TIOCSWINSZ", SYS_ioctl, master, TIOCSWINSZ, &ws);
    memset(&ws, 0, sizeof ws);
    R("TIOCGWINSZ", SYS_ioctl, slave, TIOCGWINSZ, &ws);
    say("%d x %d", ws.ws_row, ws.ws_col);
    fcntl(slave, F_SETFL, O_NONBLOCK);
    R("read nothing", SYS_read, slave, &c, 1L);
    fcntl(slave, F_SETFL, 0);
    int n = 0;
    write(master, "12345\n", 6);
    t_sleep_ms(20);
    R("FIONREAD", SYS_ioctl, slave, FIONREAD, &n);
    say("%d", n);
    tcflush(slave, TCIOFLUSH);
    show("echo", master);
}

static void session(void)
{
    int status, pgrp = 0;
    R("TIOCGPGRP without a controlling terminal", SYS_ioctl, slave, TIOCGPGRP, &pgrp);
    T("setsid", setsid() == getpid());
    R("open tty without one", SYS_openat, AT_FDCWD, "/dev/tty", O_RDWR, 0);
    R("TIOCSCTTY", SYS_ioctl, slave, TIOCSCTTY, 0L);
    OK("open tty", SYS_openat, AT_FDCWD, "/dev/tty", O_RDWR | O_CLOEXEC, 0);
    R("TIOCGPGRP", SYS_ioctl, slave, TIOCGPGRP, &pgrp);
    T("own group is in front", pgrp == getpid());
    R("TIOCGSID", SYS_ioctl, slave, TIOCGSID, &pgrp);
    T("own session", pgrp == getpid());
    pgrp = 1 << 22;
    R("TIOCSPGRP nobody", SYS_ioctl, slave, TIOCSPGRP, &pgrp);
    signal(SIGINT, on_signal), signal(SIGQUIT, on_signal), signal(SIGWINCH, on_signal);
    write(master, "\x03", 1);
    t_sleep_ms(20);
    say("^C: %s", got ? t_sig(got) : "nothing");
    write(master, "\x1c", 1);
    t_sleep_ms(20);
    say("^\\: %s", t_sig(got));
    struct winsize ws = {40, 100, 0, 0};
    ioctl(master, TIOCSWINSZ, &ws);
    t_sleep_ms(20);
    say("resize: %s", t_sig(got));
    show("echoes", master);
    /* a job in the background reads: SIGTTIN; writes settings: SIGTTOU; is brought to the front and goes on */
    pid_t job = fork();
    if (job == 0) {
        char c[8];
        setpgid(0, 0);
        signal(SIGINT, SIG_DFL);
        long n = sys(SYS_read, slave, c, 8L);
        say("the job read %ld", n);
        pause();
        _exit(0);
    }
    setpgid(job, job);
    waitpid(job, &status, WUNTRACED);
    t_status("job that reads in the background", status);
    pgrp = job;
    R("to the front", SYS_ioctl, slave, TIOCSPGRP, &pgrp);
    kill(-job, SIGCONT);
    write(master, "in\n", 3);
    t_sleep_ms(50);
    write(master, "\x1a", 1);
    waitpid(job, &status, WUNTRACED);
    t_status("^Z", status);
    kill(-job, SIGCONT);
    write(master, "\x03", 1);
    waitpid(job, &status, WUNTRACED);
    t_status("^C", status);
    signal(SIGTTOU, SIG_IGN);
    pgrp = getpid();
    R("back to the front, SIGTTOU ignored", SYS_ioctl, slave, TIOCSPGRP, &pgrp);
    job = fork();
    if (job == 0) {
        struct termios t;
        setpgid(0, 0);
        signal(SIGTTOU, SIG_DFL);
        tcgetattr(slave, &t);
        tcsetattr(slave, TCSANOW, &t);
        _exit(0);
    }
    setpgid(job, job);
    waitpid(job, &status, WUNTRACED);
    t_status("job that sets the terminal in the background", status);
    kill(-job, SIGKILL);
    waitpid(job, &status, 0);
    signal(SIGHUP, on_signal);
    close(slave);
    close(master);
    t_sleep_ms(20);
    say("hang-up: %s", t_sig(got));
    _exit(0);
}

int main(void)
{
    pair();
    discipline();
    t_child("the session", session);
    close(slave);
    show("no slave left", master);
    return 0;
}
