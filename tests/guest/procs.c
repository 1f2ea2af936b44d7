/* Processes: fork, vfork, wait, groups, sessions, exit codes, and what a child inherits.
 * tests: clone wait4 waitid exit exit_group getpid getppid gettid setpgid getpgid setsid getsid set_tid_address sched_yield kill
 */
#include "t.h"

#include <sched.h>
#include <sys/resource.h>

static int status;
static struct rusage ru;

static long raw_fork(unsigned long flags)
{
    return sys(SYS_clone, flags, 0L, 0L, 0L, 0L);
}

static void waits(void)
{
    siginfo_t si;
    R("wait without children", SYS_wait4, -1, &status, 0, NULL);
    R("waitid without children", SYS_waitid, P_ALL, 0, &si, WEXITED, NULL);
    R("wait of a stranger", SYS_wait4, 1 << 22, &status, 0, NULL);
    R("wait bad options", SYS_wait4, -1, &status, 0x100, NULL);
    R("waitid no options", SYS_waitid, P_ALL, 0, &si, 0, NULL);
    R("waitid bad type", SYS_waitid, 77, 0, &si, WEXITED, NULL);
    pid_t pid = (pid_t)raw_fork(SIGCHLD);
    if (pid == 0)
        sys(SYS_exit_group, 259);
    R("waitid keeps", SYS_waitid, P_PID, pid, &si, WEXITED | WNOWAIT, NULL);
    say("si signo %s code %d status %d pid %s", t_sig(si.si_signo), si.si_code, si.si_status,
        si.si_pid == pid ? "right" : "wrong");
    T("wait gives its pid", sys(SYS_wait4, pid, &status, 0, &ru) == pid);
    t_status("exit code is a byte", status);
    R("wait again", SYS_wait4, pid, &status, 0, NULL);
    pid = fork();
    if (pid == 0) {
        t_sleep_ms(50);
        sys(SYS_exit, 3);
    }
    R("wait without hanging", SYS_wait4, -1, &status, WNOHANG, NULL);
    memset(&si, 0, sizeof si);
    R("waitid without hanging", SYS_waitid, P_ALL, 0, &si, WEXITED | WNOHANG, NULL);
    say("si pid %d", si.si_pid);
    T("wait with hanging", sys(SYS_wait4, 0, &status, 0, NULL) == pid);
    t_status("exit of the only thread", status);
    pid = fork();
    if (pid == 0)
        _exit(0);
    t_sleep_ms(30);
    R("wait bad status pointer", SYS_wait4, pid, BAD, 0, NULL);
    pid = fork();
    if (pid == 0)
        _exit(0);
    R("waitid bad info pointer", SYS_waitid, P_PID, pid, BAD, WEXITED, NULL);
    /* stopped and continued */
    pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    R("stop it", SYS_kill, pid, SIGSTOP);
    T("wait untraced", sys(SYS_wait4, pid, &status, WUNTRACED, NULL) == pid);
    t_status("child", status);
    R("continue it", SYS_kill, pid, SIGCONT);
    T("wait continued", sys(SYS_wait4, pid, &status, WCONTINUED, NULL) == pid);
    t_status("child", status);
    R("kill it", SYS_kill, pid, SIGKILL);
    R("waitid killed", SYS_waitid, P_PID, pid, &si, WEXITED, NULL);
    say("si code %d status %s", si.si_code, t_sig(si.si_status));
    /* SIGCHLD ignored: no zombie */
    signal(SIGCHLD, SIG_IGN);
    pid = fork();
    if (pid == 0)
        _exit(0);
    R("wait when SIGCHLD is ignored", SYS_wait4, -1, &status, 0, NULL);
    signal(SIGCHLD, SIG_DFL);
}

static int shared_value;

static void forks(void)
{
    int p[2];
    char c = 0;
    pid_t me = getpid();
    T("pid and thread id", (pid_t)sys(SYS_gettid) == me && sys(SYS_getpid) == me);
    pipe(p);
    shared_value = 1;
    pid_t pid = fork();
    if (pid == 0) {
        shared_value = 2;
        c = getppid() == me && getpid() != me ? 'y' : 'n';
        write(p[1], &c, 1);
        _exit(0);
    }
    read(p[0], &c, 1);
    waitpid(pid, &status, 0);
    say("child's view of its parent: %c, memory apart: %d", c, shared_value);
    /* an offset is shared, a descriptor table is not */
    t_file("f", "abcdef");
    int fd = open("f", O_RDONLY);
    pid = fork();
    if (pid == 0) {
        lseek(fd, 3, SEEK_SET);
        close(fd);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    R("shared offset", SYS_lseek, fd, 0L, SEEK_CUR);
    /* orphans go to init */
    pid = fork();
    if (pid == 0) {
        pid_t parent = getpid();
        if (fork() == 0) {
            while (getppid() == parent)
                t_sleep_ms(5);
            c = 'o';
            write(p[1], &c, 1);
            _exit(0);
        }
        _exit(0);
    }
    waitpid(pid, &status, 0);
    read(p[0], &c, 1);
    say("orphan adopted: %c", c);
    /* CHILD_SETTID, CHILD_CLEARTID and PARENT_SETTID */
    static volatile int child_tid, parent_tid;
#ifdef __riscv
    pid = (pid_t)sys(SYS_clone, CLONE_CHILD_SETTID | CLONE_PARENT_SETTID | SIGCHLD, 0L, &parent_tid,
                     0L, &child_tid);
#else
    pid = (pid_t)sys(SYS_clone, CLONE_CHILD_SETTID | CLONE_PARENT_SETTID | SIGCHLD, 0L, &parent_tid,
                     &child_tid, 0L);
#endif
    if (pid == 0)
        _exit(child_tid == (int)sys(SYS_gettid) && child_tid == getpid() ? 0 : 1);
    T("PARENT_SETTID", parent_tid == pid);
    waitpid(pid, &status, 0);
    t_status("CHILD_SETTID", status);
    T("set_tid_address gives the id", sys(SYS_set_tid_address, &child_tid) == getpid());
    R("clone thread without sighand", SYS_clone, (long)CLONE_THREAD, 0L, 0L, 0L, 0L);
    R("clone sighand without vm", SYS_clone, (long)CLONE_SIGHAND, 0L, 0L, 0L, 0L);
    R("sched_yield", SYS_sched_yield);
    /* a child killed by each kind of signal */
    static const int sigs[] = {SIGTERM, SIGKILL, SIGUSR1, SIGALRM, SIGHUP, SIGPIPE};
    for (size_t i = 0; i < COUNT(sigs); i++) {
        pid = fork();
        if (pid == 0) {
            kill(getpid(), sigs[i]);
            _exit(7);
        }
        waitpid(pid, &status, 0);
        t_status("kill own self", status);
    }
    /* many at once */
    pid_t many[20];
    int sum = 0;
    for (int i = 0; i < 20; i++)
        if ((many[i] = fork()) == 0)
            _exit(i);
    for (int i = 0; i < 20; i++) {
        waitpid(many[i], &status, 0);
        sum += WEXITSTATUS(status);
    }
    say("sum of twenty exits %d", sum);
    /* exit codes travel down a chain */
    pid = fork();
    if (pid == 0) {
        for (int depth = 0; depth < 10; depth++) {
            pid_t next = fork();
            if (next) {
                waitpid(next, &status, 0);
                _exit(WEXITSTATUS(status) + 1);
            }
        }
        _exit(0);
    }
    waitpid(pid, &status, 0);
    t_status("a chain of ten", status);
    close(p[0]), close(p[1]), close(fd);
}

static void vforks(void)
{
    volatile int seen = 0;
    pid_t pid = vfork();
    if (pid == 0) {
        seen = 5;
        _exit(4);
    }
    waitpid(pid, &status, 0);
    t_status("vfork", status);
    T("the parent waited", pid > 0);
    (void)seen;
}

static void groups(void)
{
    pid_t me = getpid();
    R("getpgid bad", SYS_getpgid, 1 << 22);
    R("getsid bad", SYS_getsid, 1 << 22);
    R("setpgid negative", SYS_setpgid, 0, -1);
    R("setpgid of a stranger", SYS_setpgid, 1 << 22, 0);
    pid_t pid = fork();
    if (pid == 0) {
        R("setpgid", SYS_setpgid, 0, 0);
        T("own group", sys(SYS_getpgid, 0) == getpid());
        R("setpgid into a group that is not there", SYS_setpgid, 0, 1 << 22);
        R("setsid as a leader", SYS_setsid);
        pid_t child = fork();
        if (child == 0) {
            T("group inherited", sys(SYS_getpgid, 0) == getppid());
            T("setsid", sys(SYS_setsid) == getpid());
            T("new session, new group",
              sys(SYS_getsid, 0) == getpid() && sys(SYS_getpgid, 0) == getpid());
            R("setpgid of a session leader", SYS_setpgid, 0, 0);
            _exit(0);
        }
        waitpid(child, &status, 0);
        T("wait for a group", sys(SYS_wait4, -getpid(), &status, 0, NULL) == -ECHILD);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    T("setpgid of a child", sys(SYS_setpgid, pid, pid) == 0 && sys(SYS_getpgid, pid) == pid);
    T("the parent's stays",
      sys(SYS_getpgid, 0) != pid && sys(SYS_getpgid, me) == sys(SYS_getpgid, 0));
    R("kill the group", SYS_kill, -pid, SIGTERM);
    T("wait for the group", sys(SYS_wait4, -pid, &status, 0, NULL) == pid);
    t_status("its end", status);
    R("kill a group that is gone", SYS_kill, -pid, SIGTERM);
}

int main(void)
{
    waits();
    forks();
    vforks();
    groups();
    return 0;
}
