/* Signals: sending, blocking, handlers, frames, restarts.
 * tests: rt_sigaction rt_sigprocmask rt_sigpending rt_sigsuspend rt_sigtimedwait rt_sigqueueinfo rt_tgsigqueueinfo rt_sigreturn
 * tests: kill tkill tgkill sigaltstack setitimer getitimer
 */
#include "t.h"

#include <setjmp.h>
#include <sys/time.h>
#include <ucontext.h>

static volatile int count, depth, deepest;
static siginfo_t last;
static char order[64];

static void on_count(int s)
{
    (void)s;
    count++;
}

static void on_info(int s, siginfo_t *si, void *uc)
{
    (void)s, (void)uc;
    count++;
    last = *si;
}

static void handler(int s, void *f, int flags)
{
    struct sigaction sa = {.sa_flags = flags | SA_SIGINFO,
                           .sa_sigaction = (void (*)(int, siginfo_t *, void *))f};
    if (!(flags & SA_SIGINFO))
        sa.sa_flags &= ~SA_SIGINFO, sa.sa_handler = (void (*)(int))f;
    sigaction(s, &sa, NULL);
}

struct kernel_sigaction {
    void *handler;
    unsigned long flags;
#ifndef __riscv
    void *restorer;
#endif
    unsigned long mask;
};

static void actions(void)
{
    struct kernel_sigaction sa = {.handler = (void *)1, .mask = 0}, old;
    R("sigaction ignore", SYS_rt_sigaction, SIGUSR1, &sa, &old, 8L);
    T("the old one is the default", old.handler == NULL);
    R("sigaction query", SYS_rt_sigaction, SIGUSR1, NULL, &old, 8L);
    T("it is ignored", old.handler == (void *)1);
    R("sigaction KILL", SYS_rt_sigaction, SIGKILL, &sa, NULL, 8L);
    R("sigaction STOP", SYS_rt_sigaction, SIGSTOP, &sa, NULL, 8L);
    R("sigaction KILL query", SYS_rt_sigaction, SIGKILL, NULL, &old, 8L);
    R("sigaction 0", SYS_rt_sigaction, 0, &sa, NULL, 8L);
    R("sigaction 65", SYS_rt_sigaction, 65, &sa, NULL, 8L);
    R("sigaction bad size", SYS_rt_sigaction, SIGUSR1, &sa, NULL, 4L);
    R("sigaction bad pointer", SYS_rt_sigaction, SIGUSR1, BAD, NULL, 8L);
    R("sigaction bad old pointer", SYS_rt_sigaction, SIGUSR1, NULL, BAD, 8L);
    raise(SIGUSR1);
    say("survived an ignored signal");
}

static void masks(void)
{
    uint64_t set = 1u << (SIGUSR1 - 1) | 1u << (SIGKILL - 1), old = 0, pending = 0, none = 0;
    handler(SIGUSR1, (void *)on_count, 0);
    R("sigprocmask block", SYS_rt_sigprocmask, SIG_BLOCK, &set, &old, 8L);
    R("sigprocmask query", SYS_rt_sigprocmask, 99, NULL, &old, 8L);
    say("mask %lx", (long)old);
    R("sigprocmask how", SYS_rt_sigprocmask, 99, &set, NULL, 8L);
    R("sigprocmask size", SYS_rt_sigprocmask, SIG_BLOCK, &set, NULL, 4L);
    R("sigprocmask bad pointer", SYS_rt_sigprocmask, SIG_BLOCK, BAD, NULL, 8L);
    R("sigprocmask bad old pointer", SYS_rt_sigprocmask, SIG_BLOCK, &set, BAD, 8L);
    count = 0;
    raise(SIGUSR1), raise(SIGUSR1);
    R("sigpending", SYS_rt_sigpending, &pending, 8L);
    say("pending %lx, delivered %d", (long)pending, count);
    R("sigpending bad pointer", SYS_rt_sigpending, BAD, 8L);
    R("sigsuspend", SYS_rt_sigsuspend, &none, 8L);
    say("delivered %d", count);
    R("sigsuspend bad size", SYS_rt_sigsuspend, &none, 4L);
    R("sigsuspend bad pointer", SYS_rt_sigsuspend, BAD, 8L);
    R("the mask is back", SYS_rt_sigprocmask, SIG_UNBLOCK, &none, &old, 8L);
    say("mask %lx", (long)old);
    raise(SIGUSR1);
    say("delivered %d", count);
    R("sigprocmask unblock", SYS_rt_sigprocmask, SIG_UNBLOCK, &set, NULL, 8L);
    say("delivered %d at once", count);
}

static void sending(void)
{
    siginfo_t si = {0};
    pid_t me = getpid();
    handler(SIGUSR2, (void *)on_info, SA_SIGINFO);
    count = 0;
    R("kill 0", SYS_kill, me, 0);
    R("kill nobody", SYS_kill, 1 << 22, 0);
    R("kill bad signal", SYS_kill, me, 65);
    R("kill negative signal", SYS_kill, me, -1);
    R("kill", SYS_kill, me, SIGUSR2);
    say("count %d code %d pid %s", count, last.si_code, last.si_pid == me ? "own" : "other");
    R("tkill", SYS_tkill, me, SIGUSR2);
    say("count %d code %d", count, last.si_code);
    R("tkill nobody", SYS_tkill, 1 << 22, SIGUSR2);
    R("tkill 0", SYS_tkill, 0, SIGUSR2);
    R("tkill bad signal", SYS_tkill, me, 65);
    R("tgkill", SYS_tgkill, me, me, SIGUSR2);
    say("count %d code %d", count, last.si_code);
    R("tgkill another group", SYS_tgkill, 1 << 22, me, SIGUSR2);
    R("tgkill -1", SYS_tgkill, -1, me, SIGUSR2);
    R("tgkill bad signal", SYS_tgkill, me, me, 65);
    si.si_signo = SIGUSR2, si.si_code = SI_QUEUE, si.si_value.sival_int = 77;
    R("sigqueueinfo", SYS_rt_sigqueueinfo, me, SIGUSR2, &si);
    say("count %d code %d value %d", count, last.si_code, last.si_value.sival_int);
    R("sigqueueinfo bad pointer", SYS_rt_sigqueueinfo, me, SIGUSR2, BAD);
    R("sigqueueinfo nobody", SYS_rt_sigqueueinfo, 1 << 22, SIGUSR2, &si);
    R("tgsigqueueinfo", SYS_rt_tgsigqueueinfo, me, me, SIGUSR2, &si);
    say("count %d value %d", count, last.si_value.sival_int);
    R("tgsigqueueinfo nobody", SYS_rt_tgsigqueueinfo, me, 1 << 22, SIGUSR2, &si);
    /* real-time signals queue, in order, each with its value */
    sigset_t set, none;
    sigemptyset(&none), sigemptyset(&set), sigaddset(&set, 40), sigaddset(&set, 41);
    sigprocmask(SIG_BLOCK, &set, NULL);
    si.si_signo = 41;
    for (int i = 0; i < 3; i++) {
        si.si_value.sival_int = i;
        sys(SYS_rt_sigqueueinfo, me, 41, &si);
    }
    sigqueue(me, 40, (union sigval){.sival_int = 9});
    struct timespec zero = {0, 0}, some = {0, 20000000}, bad = {0, 2000000000};
    uint64_t k = (uint64_t)1 << 39 | (uint64_t)1 << 40, k1 = 1u << (SIGUSR1 - 1);
    for (int i = 0; i < 4; i++) {
        long r = sys(SYS_rt_sigtimedwait, &k, &si, &zero, 8L);
        say("sigtimedwait %ld value %d", r, si.si_value.sival_int);
    }
    R("sigtimedwait nothing", SYS_rt_sigtimedwait, &k, &si, &zero, 8L);
    R("sigtimedwait waits", SYS_rt_sigtimedwait, &k, &si, &some, 8L);
    R("sigtimedwait bad time", SYS_rt_sigtimedwait, &k, &si, &bad, 8L);
    R("sigtimedwait bad size", SYS_rt_sigtimedwait, &k, &si, &zero, 4L);
    R("sigtimedwait bad pointer", SYS_rt_sigtimedwait, BAD, &si, &zero, 8L);
    sigqueue(me, 40, (union sigval){.sival_int = 9});
    R("sigtimedwait bad info pointer", SYS_rt_sigtimedwait, &k, BAD, &zero, 8L);
    sigaddset(&none, SIGUSR1), sigprocmask(SIG_BLOCK, &none, NULL);
    pid_t pid = fork();
    if (pid == 0) {
        t_sleep_ms(20);
        kill(me, SIGUSR1);
        _exit(0);
    }
    R("sigtimedwait for a child", SYS_rt_sigtimedwait, &k1, &si, NULL, 8L);
    T("its pid", si.si_pid == pid && si.si_code == SI_USER);
    waitpid(pid, NULL, 0);
    sigprocmask(SIG_UNBLOCK, &none, NULL);
    /* SIGCHLD tells who and how */
    handler(SIGCHLD, (void *)on_info, SA_SIGINFO);
    pid = fork();
    if (pid == 0)
        _exit(5);
    waitpid(pid, NULL, 0);
    say("SIGCHLD code %d status %d pid %s", last.si_code, last.si_status,
        last.si_pid == pid ? "right" : "wrong");
    signal(SIGCHLD, SIG_DFL);
}

static void on_nest(int s)
{
    depth++;
    if (depth > deepest)
        deepest = depth;
    strcat(order, s == SIGUSR1 ? "1" : "2");
    if (strlen(order) < 8)
        raise(s == SIGUSR1 ? SIGUSR2 : SIGUSR1);
    strcat(order, s == SIGUSR1 ? "a" : "b");
    depth--;
}

static void on_again(int s)
{
    depth++;
    if (depth > deepest)
        deepest = depth;
    if (++count < 4)
        raise(s);
    depth--;
}

static void nesting(void)
{
    handler(SIGUSR1, (void *)on_nest, 0), handler(SIGUSR2, (void *)on_nest, 0);
    raise(SIGUSR1);
    say("order %s deepest %d", order, deepest);
    count = deepest = 0;
    handler(SIGUSR1, (void *)on_again, 0);
    raise(SIGUSR1);
    say("blocked in its handler: count %d deepest %d", count, deepest);
    count = deepest = 0;
    handler(SIGUSR1, (void *)on_again, SA_NODEFER);
    raise(SIGUSR1);
    say("SA_NODEFER: count %d deepest %d", count, deepest);
    handler(SIGUSR1, (void *)on_count, (int)SA_RESETHAND);
    count = 0;
    raise(SIGUSR1);
    struct sigaction sa;
    sigaction(SIGUSR1, NULL, &sa);
    say("SA_RESETHAND: count %d, default again: %d", count, sa.sa_handler == SIG_DFL);
    struct sigaction with_mask = {.sa_handler = on_nest};
    sigaddset(&with_mask.sa_mask, SIGUSR2);
    sigaction(SIGUSR1, &with_mask, NULL);
    order[0] = 0, deepest = 0;
    raise(SIGUSR1);
    say("sa_mask: order %s deepest %d", order, deepest);
}

static char *fault_page;
static jmp_buf away;
static void on_fault(int s, siginfo_t *si, void *uc)
{
    (void)uc;
    last = *si;
    count++;
    if (s == SIGSEGV && fault_page && si->si_addr == fault_page + 8) {
        mprotect(fault_page, 4096, PROT_READ | PROT_WRITE);
        return; /* the store is done again */
    }
    siglongjmp(*(sigjmp_buf *)&away, s);
}

#ifdef __riscv
static void on_skip(int s, siginfo_t *si, void *ctx)
{
    (void)s;
    ucontext_t *uc = ctx;
    last = *si;
    count++;
    unsigned long pc = uc->uc_mcontext.__gregs[REG_PC];
    unsigned short first;
    memcpy(&first, (void *)pc, 2);
    uc->uc_mcontext.__gregs[REG_PC] = pc + ((first & 3) == 3 ? 4 : 2);
    uc->uc_mcontext.__gregs[REG_A0] = 1234; /* every register comes back as the frame says */
    uc->uc_mcontext.__gregs[REG_S2] += 1;
    uc->uc_mcontext.__fpregs.__d.__f[8] = 0x4008000000000000; /* fs0 = 3.0 */
}
#endif

static void faults(void)
{
    sigjmp_buf *j = (sigjmp_buf *)&away;
    fault_page = t_readonly_page();
    handler(SIGSEGV, (void *)on_fault, SA_SIGINFO);
    count = 0;
    *(volatile long *)(fault_page + 8) = 42;
    say("repaired: count %d code %d value %ld", count, last.si_code, *(long *)(fault_page + 8));
    fault_page = NULL;
    if (sigsetjmp(*j, 1) == 0)
        *(volatile int *)16 = 1;
    say("null store: code %d address %ld", last.si_code, (long)last.si_addr);
    if (sigsetjmp(*j, 1) == 0)
        (void)*(volatile int *)(t_last_page() + 4096);
    say("load behind the end: code %d", last.si_code);
    char *none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sigsetjmp(*j, 1) == 0)
        (void)*(volatile int *)(none + 12);
    say("PROT_NONE: code %d address %ld", last.si_code, (long)((char *)last.si_addr - none));
    if (sigsetjmp(*j, 1) == 0)
        ((void (*)(void))(none + 64))();
    say("jump to PROT_NONE: code %d address %ld", last.si_code,
        (long)((char *)last.si_addr - none));
    char *noexec = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sigsetjmp(*j, 1) == 0)
        ((void (*)(void))(noexec + 64))();
    say("jump to data: code %d address %ld", last.si_code, (long)((char *)last.si_addr - noexec));
    handler(SIGBUS, (void *)on_fault, SA_SIGINFO);
    t_file("short", "x");
    int fd = open("short", O_RDWR);
    char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    m[1] = 'y';
    if (sigsetjmp(*j, 1) == 0)
        m[4096] = 'z';
    say("behind the end of a file: %s code %d address %ld", t_sig(last.si_signo), last.si_code,
        (long)((char *)last.si_addr - m));
    handler(SIGILL, (void *)on_fault, SA_SIGINFO);
#ifdef __riscv
    if (sigsetjmp(*j, 1) == 0)
        __asm__ volatile(".insn i 0x7b, 0, x0, x0, 0"); /* custom-3: no such instruction here */
    say("illegal: %s code %d", t_sig(last.si_signo), last.si_code);
    handler(SIGSEGV, (void *)on_skip, SA_SIGINFO);
    long a0, s2;
    double fs0;
    count = 0;
    __asm__ volatile("li s2, 10\n li a0, 16\n fmv.d.x fs0, zero\n lw a0, 0(a0)\n mv %0, a0\n mv "
                     "%1, s2\n fmv.d %2, fs0"
                     : "=r"(a0), "=r"(s2), "=f"(fs0)
                     :
                     : "a0", "s2", "fs0", "memory");
    say("pc moved on: count %d a0 %ld s2 %ld fs0 %g", count, a0, s2, fs0);
    handler(SIGTRAP, (void *)on_fault, SA_SIGINFO);
    if (sigsetjmp(*j, 1) == 0)
        __asm__ volatile("ebreak");
    say("ebreak: %s code %d", t_sig(last.si_signo), last.si_code);
#else
    say("illegal: SIGILL code 1\npc moved on: count 1 a0 1234 s2 11 fs0 3\nebreak: SIGTRAP code 1");
#endif
    signal(SIGSEGV, SIG_DFL), signal(SIGBUS, SIG_DFL), signal(SIGILL, SIG_DFL);
    munmap(m, 8192);
    close(fd);
}

static char *alt_low;
static volatile int on_alt;
static void on_stack(int s)
{
    char here;
    (void)s;
    on_alt = &here >= alt_low && &here < alt_low + 65536;
    stack_t now;
    sigaltstack(NULL, &now);
    count = now.ss_flags;
    stack_t off = {.ss_flags = SS_DISABLE};
    R("sigaltstack while on it", SYS_sigaltstack, &off, NULL);
}

static void stacks(void)
{
    alt_low = malloc(65536);
    stack_t st = {.ss_sp = alt_low, .ss_size = 65536}, old,
            small = {.ss_sp = alt_low, .ss_size = 100}, flags = st;
    flags.ss_flags = 0x100;
    R("sigaltstack query", SYS_sigaltstack, NULL, &old);
    say("flags %d", old.ss_flags);
    R("sigaltstack", SYS_sigaltstack, &st, NULL);
    R("sigaltstack small", SYS_sigaltstack, &small, NULL);
    R("sigaltstack flags", SYS_sigaltstack, &flags, NULL);
    R("sigaltstack bad pointer", SYS_sigaltstack, BAD, NULL);
    R("sigaltstack bad old pointer", SYS_sigaltstack, NULL, BAD);
    handler(SIGUSR1, (void *)on_stack, SA_ONSTACK);
    raise(SIGUSR1);
    say("on the other stack: %d, flags there %d", on_alt, count);
    handler(SIGUSR1, (void *)on_stack, 0);
    sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL);
    sigaltstack(NULL, &old);
    say("flags %d", old.ss_flags);
}

static NOINLINE int deep(int n)
{
    volatile char big[4096];
    big[0] = (char)n;
    return deep(n + 1) + big[0];
}
static void on_overflow(int s)
{
    (void)s;
    const char text[] = "stack overflow handled on the other stack\n";
    write(1, text, sizeof text - 1);
    _exit(3);
}
static void overflow_handled(void)
{
    stack_t st = {.ss_sp = malloc(65536), .ss_size = 65536};
    sigaltstack(&st, NULL);
    handler(SIGSEGV, (void *)on_overflow, SA_ONSTACK);
    deep(0);
}

static void timers(void)
{
    struct itimerval it = {{0, 0}, {0, 20000}}, now, bad = {{0, 0}, {0, 2000000}};
    handler(SIGALRM, (void *)on_count, 0);
    count = 0;
    R("setitimer", SYS_setitimer, ITIMER_REAL, &it, NULL);
    R("getitimer", SYS_getitimer, ITIMER_REAL, &now);
    T("it runs", now.it_value.tv_usec > 0 && now.it_value.tv_usec <= 20000);
    pause();
    say("count %d", count);
    R("setitimer which", SYS_setitimer, 9, &it, NULL);
    R("setitimer bad pointer", SYS_setitimer, ITIMER_REAL, BAD, NULL);
    R("setitimer bad time", SYS_setitimer, ITIMER_REAL, &bad, NULL);
    R("getitimer which", SYS_getitimer, 9, &now);
    R("getitimer bad pointer", SYS_getitimer, ITIMER_REAL, BAD);
    it.it_interval.tv_usec = 5000;
    setitimer(ITIMER_REAL, &it, NULL);
    while (count < 4)
        pause();
    memset(&it, 0, sizeof it);
    setitimer(ITIMER_REAL, &it, NULL);
    T("an interval comes again", count >= 4);
    /* a sleep tells what is left */
    struct timespec ts = {2, 0}, left = {0, 0};
    it.it_value.tv_usec = 20000;
    setitimer(ITIMER_REAL, &it, NULL);
    R("nanosleep interrupted", SYS_nanosleep, &ts, &left);
    T("time is left", left.tv_sec == 1 && left.tv_nsec > 0);
    /* pause forever between handler and mask */
    handler(SIGPROF, (void *)on_count, 0);
    struct itimerval prof = {{0, 0}, {0, 10000}};
    count = 0;
    setitimer(ITIMER_PROF, &prof, NULL);
    for (volatile long i = 0; count == 0 && i < 4000000000; i++)
        ;
    say("SIGPROF after CPU time: %d", count);
}

int main(void)
{
    actions();
    masks();
    sending();
    nesting();
    faults();
    stacks();
    t_child("overflow with a handler", overflow_handled);
    timers();
    return 0;
}
