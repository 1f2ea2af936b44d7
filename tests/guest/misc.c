/* Identity, limits, the machine.
 * tests: getuid geteuid getgid getegid getgroups setgroups setuid setgid setreuid setregid setresuid setresgid getresuid getresgid
 * tests: setfsuid setfsgid uname sethostname setdomainname sysinfo getrandom prctl personality getrlimit setrlimit prlimit64
 * tests: sched_getaffinity sched_setaffinity sched_setscheduler sched_getscheduler sched_getparam sched_get_priority_max
 * tests: sched_get_priority_min getpriority setpriority getcpu riscv_hwprobe riscv_flush_icache
 */
#include "t.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <sys/utsname.h>

static void identity(void)
{
    uid_t r, e, s;
    gid_t groups[64];
    r = getuid();
    T("ids agree", sys(SYS_getuid) == r && sys(SYS_geteuid) == geteuid() &&
                       sys(SYS_getgid) == getgid() && sys(SYS_getegid) == getegid());
    R("getresuid", SYS_getresuid, &r, &e, &s);
    T("all three", r == getuid() && e == geteuid() && s == e);
    R("getresuid bad pointer", SYS_getresuid, BAD, &e, &s);
    R("getresgid", SYS_getresgid, &r, &e, &s);
    R("getresgid bad pointer", SYS_getresgid, BAD, &e, &s);
    OK("getgroups", SYS_getgroups, 64, groups);
    OK("getgroups count", SYS_getgroups, 0, NULL);
    R("getgroups negative", SYS_getgroups, -1, groups);
    R("setgroups too many", SYS_setgroups, 1 << 20, groups);
}

/* As nobody: what an ordinary user may and may not. */
static void nobody(void)
{
    uid_t r, e, s;
    gid_t g[3] = {3, 1, 2};
    struct rlimit rl = {RLIM_INFINITY, RLIM_INFINITY};
    if (getuid() == 0) {
        R("setgroups", SYS_setgroups, 3, g);
        R("getgroups", SYS_getgroups, 3, g);
        say("groups %d %d %d", g[0], g[1], g[2]);
        R("setresgid", SYS_setresgid, 1000, 1000, 1001);
        R("setresuid", SYS_setresuid, 1000, 1000, 1001);
    } else {
        say("setgroups: 0\ngetgroups: 3\ngroups 1 2 3\nsetresgid: 0\nsetresuid: 0");
        _exit(0);
    }
    sys(SYS_getresuid, &r, &e, &s);
    say("ids %d %d %d", r, e, s);
    R("setuid to the saved one", SYS_setuid, 1001);
    R("setuid back", SYS_setreuid, -1, 1000);
    R("setuid to root", SYS_setuid, 0);
    R("setreuid to another", SYS_setreuid, 5, 6);
    R("setresuid to another", SYS_setresuid, 5, -1, -1);
    R("setgid to the saved one", SYS_setgid, 1001);
    R("setregid back", SYS_setregid, -1, 1000);
    R("setgid to root", SYS_setgid, 0);
    R("setregid to another", SYS_setregid, 5, 6);
    R("setresgid to another", SYS_setresgid, 5, -1, -1);
    R("setfsuid gives the old", SYS_setfsuid, 5);
    R("setfsgid gives the old", SYS_setfsgid, 5);
    R("setgroups as nobody", SYS_setgroups, 1, g);
    R("sethostname", SYS_sethostname, "x", 1L);
    R("setdomainname", SYS_setdomainname, "x", 1L);
    R("kill of another's", SYS_kill, getppid(), SIGTERM);
    R("raise a hard limit", SYS_setrlimit, RLIMIT_NOFILE, &rl);
    R("nice up", SYS_setpriority, PRIO_PROCESS, 0, 5);
    R("nice down", SYS_setpriority, PRIO_PROCESS, 0, 4);
    R("getpriority is 20 - nice", SYS_getpriority, PRIO_PROCESS, 0);
    R("real time", SYS_sched_setscheduler, 0, SCHED_FIFO, &(struct sched_param){1});
}

static void machine(void)
{
    struct utsname u;
    struct sysinfo si;
    unsigned char random[64] = {0};
    int nonzero = 0;
    R("uname", SYS_uname, &u);
    say("%s", u.sysname);
#ifdef __riscv
    say("%s", u.machine);
#else
    say("riscv64");
#endif
    R("uname bad pointer", SYS_uname, BAD);
    R("sethostname long", SYS_sethostname, t_long_name(65), 65L);
    R("sethostname negative", SYS_sethostname, "x", -1L);
    R("setdomainname long", SYS_setdomainname, t_long_name(65), 65L);
    R("sysinfo", SYS_sysinfo, &si);
    T("memory", si.totalram > 0 && si.freeram <= si.totalram && si.mem_unit > 0 && si.procs > 0);
    R("sysinfo bad pointer", SYS_sysinfo, BAD);
    R("getrandom", SYS_getrandom, random, 64L, 0);
    for (int i = 0; i < 64; i++)
        nonzero += random[i] != 0;
    T("it looks random", nonzero > 40);
    R("getrandom nonblocking", SYS_getrandom, random, 64L, 1);
    R("getrandom flags", SYS_getrandom, random, 64L, 0x100);
    R("getrandom bad pointer", SYS_getrandom, BAD, 64L, 0);
    R("personality query", SYS_personality, 0xffffffffL);
    unsigned cpu = 99, node = 99;
    R("getcpu", SYS_getcpu, &cpu, &node, NULL);
    T("a small number", cpu < 99 && node < 99);
    R("getcpu bad pointer", SYS_getcpu, BAD, NULL, NULL);
    R("no such call", 2000);
    R("no such call either", -1);
#ifdef __riscv
    struct {
        int64_t key;
        uint64_t value;
    } pair[2] = {{3, 0}, {999999, 5}};
    long r = sys(258, pair, 2L, 0L, NULL, 0);
    if (r == -ENOSYS)
        say("hwprobe: 0\nbase behaviour is IMA: yes\nunknown key: -1 0");
    else
        say("hwprobe: %ld\nbase behaviour is IMA: %s\nunknown key: %ld %ld", r,
            pair[0].value & 1 ? "yes" : "no", (long)pair[1].key, (long)pair[1].value);
    R("flush_icache", 259, 0L, 0L, 0L);
#else
    say("hwprobe: 0\nbase behaviour is IMA: yes\nunknown key: -1 0\nflush_icache: 0");
#endif
}

static int xfsz_count, xfsz_code, xfsz_own;

static void on_xfsz(int signo, siginfo_t *si, void *context)
{
    (void)signo, (void)context;
    xfsz_count++;
    xfsz_code = si->si_code;
    xfsz_own = si->si_pid == getpid();
}

static void limits(void)
{
    struct rlimit rl, old;
    R("getrlimit", SYS_getrlimit, RLIMIT_NOFILE, &rl);
    T("files", rl.rlim_cur >= 64 && rl.rlim_cur <= rl.rlim_max);
    R("getrlimit unknown", SYS_getrlimit, 99, &rl);
    R("getrlimit bad pointer", SYS_getrlimit, RLIMIT_NOFILE, BAD);
    rl.rlim_cur = 70;
    R("prlimit sets and gets", SYS_prlimit64, 0, RLIMIT_NOFILE, &rl, &old);
    int fd, most = -1;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0)
        most = fd;
    say("highest descriptor %d, then %s", most, t_errname(errno));
    int p[2];
    R("pipe without room", SYS_pipe2, p, 0);
    R("dup without room", SYS_dup, 0);
    for (fd = 3; fd <= most; fd++)
        close(fd);
    sys(SYS_prlimit64, 0, RLIMIT_NOFILE, &old, NULL);
    R("prlimit nobody", SYS_prlimit64, 1 << 22, RLIMIT_NOFILE, NULL, &old);
    R("prlimit unknown", SYS_prlimit64, 0, 99, NULL, &old);
    R("prlimit bad pointer", SYS_prlimit64, 0, RLIMIT_NOFILE, BAD, NULL);
    rl.rlim_cur = 10, rl.rlim_max = 5;
    R("setrlimit soft above hard", SYS_setrlimit, RLIMIT_CORE, &rl);
    R("setrlimit bad pointer", SYS_setrlimit, RLIMIT_CORE, BAD);
    getrlimit(RLIMIT_STACK, &rl);
    T("stack", rl.rlim_cur >= 1 << 20);
    rl.rlim_cur = 1000;
    getrlimit(RLIMIT_FSIZE, &old);
    rl.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_FSIZE, &rl);
    signal(SIGXFSZ, SIG_IGN);
    fd = open("limited", O_RDWR | O_CREAT | O_TRUNC, 0644);
    static char big[2000];
    long upto = sys(SYS_write, fd, big, 2000L), beyond = sys(SYS_write, fd, big, 1L);
    long got[12], n = 0;
    int from = open("limited", O_RDONLY), to = open("copy", O_RDWR | O_CREAT | O_TRUNC, 0644);
    struct iovec iov[2] = {{big, 500}, {big, 1500}};
    sigaction(SIGXFSZ, &(struct sigaction){.sa_sigaction = on_xfsz, .sa_flags = SA_SIGINFO}, NULL);
    got[n++] = sys(SYS_pwrite64, fd, big, 1L, 1000L);
    got[n++] = sys(SYS_pwritev, fd, iov, 2L, 400L, 0L);
    got[n++] = sys(SYS_write, fd, big, 0L);
    got[n++] = sys(SYS_ftruncate, fd, 1001L);
    got[n++] = sys(SYS_truncate, "limited", 1001L);
    got[n++] = sys(SYS_ftruncate, fd, 10L);
    got[n++] = sys(SYS_fallocate, fd, 0, 0L, 1001L);
    got[n++] = sys(SYS_ftruncate, fd, 1000L);
    got[n++] = sys(SYS_lseek, to, 300L, SEEK_SET);
    got[n++] = sys(SYS_copy_file_range, from, NULL, to, NULL, 1000L, 0);
    got[n++] = sys(SYS_copy_file_range, from, NULL, to, NULL, 1000L, 0);
    got[n++] = sys(SYS_sendfile, to, from, NULL, 1000L);
    setrlimit(RLIMIT_FSIZE, &old); /* before anything is printed: stdout may be a file */
    t_value("write up to the limit", upto);
    t_value("write beyond the limit", beyond);
    static const char *const what[] = {
        "pwrite at the limit",  "pwritev across it", "write nothing",
        "ftruncate beyond",     "truncate beyond",   "ftruncate smaller",
        "fallocate beyond",     "ftruncate to it",   "lseek",
        "copy up to the limit", "copy beyond",       "sendfile beyond"};
    for (long k = 0; k < n; k++)
        t_value(what[k], got[k]);
    say("SIGXFSZ came %d times, code %d, pid %s", xfsz_count, xfsz_code,
        xfsz_own ? "own" : "other");
    close(fd), close(from), close(to);
}

static void scheduling(void)
{
    unsigned char set[128] = {0};
    struct sched_param sp = {0}, one = {1};
    T("affinity has a processor",
      sys(SYS_sched_getaffinity, 0, sizeof set, set) >= 8 && (set[0] | set[1]) != 0);
    R("affinity no room", SYS_sched_getaffinity, 0, 1L, set);
    R("affinity nobody", SYS_sched_getaffinity, 1 << 22, sizeof set, set);
    R("affinity bad pointer", SYS_sched_getaffinity, 0, sizeof set, BAD);
    R("set affinity", SYS_sched_setaffinity, 0, sizeof set, set);
    memset(set, 0, sizeof set);
    R("set affinity to none", SYS_sched_setaffinity, 0, sizeof set, set);
    R("set affinity bad pointer", SYS_sched_setaffinity, 0, sizeof set, BAD);
    R("set affinity nobody", SYS_sched_setaffinity, 1 << 22, sizeof set, set);
    R("scheduler", SYS_sched_getscheduler, 0);
    R("scheduler nobody", SYS_sched_getscheduler, 1 << 22);
    R("scheduler negative", SYS_sched_getscheduler, -1);
    R("set scheduler other", SYS_sched_setscheduler, 0, SCHED_OTHER, &sp);
    R("set scheduler bad priority", SYS_sched_setscheduler, 0, SCHED_OTHER, &one);
    R("set scheduler unknown", SYS_sched_setscheduler, 0, 77, &sp);
    R("set scheduler bad pointer", SYS_sched_setscheduler, 0, SCHED_OTHER, BAD);
    R("getparam", SYS_sched_getparam, 0, &sp);
    say("priority %d", sp.sched_priority);
    R("getparam bad pointer", SYS_sched_getparam, 0, BAD);
    R("getparam nobody", SYS_sched_getparam, 1 << 22, &sp);
    R("highest fifo", SYS_sched_get_priority_max, SCHED_FIFO);
    R("lowest fifo", SYS_sched_get_priority_min, SCHED_FIFO);
    R("highest other", SYS_sched_get_priority_max, SCHED_OTHER);
    R("highest unknown", SYS_sched_get_priority_max, 77);
    R("lowest unknown", SYS_sched_get_priority_min, 77);
    R("getpriority", SYS_getpriority, PRIO_PROCESS, 0);
    R("getpriority which", SYS_getpriority, 9, 0);
    R("getpriority nobody", SYS_getpriority, PRIO_PROCESS, 1 << 22);
    R("setpriority which", SYS_setpriority, 9, 0, 0);
    R("setpriority nobody", SYS_setpriority, PRIO_PROCESS, 1 << 22, 0);
    R("setpriority", SYS_setpriority, PRIO_PROCESS, 0, 0);
}

static void process_controls(void)
{
    char name[16] = {0};
    int v = 0;
    R("set name", SYS_prctl, PR_SET_NAME, "a name that is too long");
    R("get name", SYS_prctl, PR_GET_NAME, name);
    say("%s", name);
    R("set name bad pointer", SYS_prctl, PR_SET_NAME, BAD);
    R("get name bad pointer", SYS_prctl, PR_GET_NAME, BAD);
    R("dumpable", SYS_prctl, PR_SET_DUMPABLE, 0L);
    R("get dumpable", SYS_prctl, PR_GET_DUMPABLE);
    sys(SYS_prctl, PR_SET_DUMPABLE, 1L);
    R("set dumpable bad", SYS_prctl, PR_SET_DUMPABLE, 9L);
    R("no new privileges", SYS_prctl, PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L);
    R("get no new privileges", SYS_prctl, PR_GET_NO_NEW_PRIVS, 0L, 0L, 0L, 0L);
    R("no new privileges bad", SYS_prctl, PR_SET_NO_NEW_PRIVS, 2L, 0L, 0L, 0L);
    R("death signal", SYS_prctl, PR_SET_PDEATHSIG, (long)SIGTERM);
    R("get death signal", SYS_prctl, PR_GET_PDEATHSIG, &v);
    say("%d", v);
    R("death signal bad", SYS_prctl, PR_SET_PDEATHSIG, 99L);
    sys(SYS_prctl, PR_SET_PDEATHSIG, 0L);
    R("unknown", SYS_prctl, 0x7fff, 0L, 0L, 0L, 0L);
}

int main(void)
{
    identity();
    t_child("nobody", nobody);
    machine();
    limits();
    scheduling();
    t_child("process controls", process_controls);
    return 0;
}
