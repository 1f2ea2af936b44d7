/*
 * tests/system/escape.c - a worker that guests can take over: the real one, with a few calls wrapped by the linker. A guest's
 * system call 60000 (a number that Linux does not have) jumps into this file with every right that the thread has: what a guest
 * would have that found a hole in the translator. No such door is in the sources of the product, and nothing of this is installed.
 *
 * Built twice: vmd-worker-escape, and vmd-worker-bare, whose host seems to have no seccomp (VV_BARE), to see the other layers.
 */
#include "daemon/confine/confine.h"
#include "engine/base/base.h"
#include "engine/base/log.h"
#include "engine/base/os.h"
#include "engine/linux/process.h"
#include "engine/vm/vm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define CALL_ATTACK 60000
#define CALL_RESULT 60001
#define PENDING 1000000

enum attack {
#define ATTACK(name, filtered, bare, what) ATTACK_##name,
#include "tests/system/escape.def"
#undef ATTACK
};
static volatile char *volatile wild = (volatile char *)0x10;
static pid_t manager;
static char socket_path[32];

#define RAW(...) (syscall(__VA_ARGS__) < 0 ? -errno : 0)

static long connect_to(int family, const struct sockaddr *sa, socklen_t n)
{
    int fd = socket(family, SOCK_STREAM, 0);
    return fd < 0 || connect(fd, sa, n) ? -errno : 0;
}

static long connect_manager(void)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    memcpy(sa.sun_path, socket_path, sizeof socket_path);
    return connect_to(AF_UNIX, (struct sockaddr *)&sa, sizeof sa);
}

static long connect_net(void)
{
    struct sockaddr_in sa = {
        .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(0x08080808)};
    return connect_to(AF_INET, (struct sockaddr *)&sa, sizeof sa);
}

static long write_manager(void)
{
    char byte = 0;
    struct iovec local = {&byte, 1}, remote = {(void *)0x400000, 1};
    return RAW(SYS_process_vm_writev, manager, &local, 1, &remote, 1, 0);
}

static long fork_bomb(void)
{
    for (unsigned i = 0; i < 100000; i++) {
        long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (pid < 0)
            return -errno;
        while (pid == 0)
            syscall(SYS_pause);
    }
    return 0;
}

static void *idle(void *arg)
{
    while (true)
        usleep(100000);
    return arg;
}

static long thread_bomb(void)
{
    pthread_t t;
    for (unsigned i = 0; i < 100000; i++)
        if (os_thread_start(&t, "bomb", 65536, idle, NULL, NULL))
            return -EAGAIN;
    return 0;
}

static long loosen(void)
{
    struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog prog = {1, all};
    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
    return RAW(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
}

static long int80(void)
{
    long r;
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(20L) : "memory"); /* getpid */
    return r < 0 ? r : 0;
}

/* Own are: the null device, the log, the sockets of the manager (3, and 4 where a later one comes to), memory files and the page map, what the loop made, images. */
static long foreign_descriptors(void)
{
    struct stat st;
    long foreign = 0;
    for (int fd = 0; fd < 2048; fd++) {
        if (os_fstat(fd, &st))
            continue;
        bool own =
            fd <= 4 || S_ISFIFO(st.st_mode) || S_ISREG(st.st_mode) || (st.st_mode & S_IFMT) == 0;
        if (!own)
            log_error("descriptor %d of mode %o", fd, st.st_mode);
        foreign += !own;
    }
    return foreign;
}

static long garbage(void)
{
    uint8_t junk[64] = {0x40, 0, 0, 0, 0xff};
    struct iovec iov = {junk, sizeof junk};
    return sendmsg(3, &(struct msghdr){.msg_iov = &iov, .msg_iovlen = 1}, 0) < 0 ? -errno : 0;
}

static long mmap_rwx(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE | 4, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
                   MAP_FAILED
               ? -errno
               : 0;
}

static long mprotect_exec(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mprotect(p, 4096, PROT_READ | 4) ? -errno : 0;
}

static long raise_limits(void)
{
    struct rlimit r = {RLIM_INFINITY, RLIM_INFINITY};
    return RAW(SYS_prlimit64, 0, RLIMIT_NOFILE, &r, NULL);
}

static long run(enum attack a)
{
    static char *const nothing[] = {NULL};
    switch (a) {
    case ATTACK_open_passwd:
        return RAW(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
    case ATTACK_open_mem:
        return RAW(SYS_open, "/proc/self/mem", O_RDWR);
    case ATTACK_create_file:
        return RAW(SYS_openat, AT_FDCWD, "/escaped", O_CREAT | O_WRONLY, 0600);
    case ATTACK_execve:
        return RAW(SYS_execve, "/bin/sh", nothing, nothing);
    case ATTACK_ptrace_manager:
        return RAW(SYS_ptrace, PTRACE_ATTACH, manager, 0, 0);
    case ATTACK_write_manager:
        return write_manager();
    case ATTACK_kill_manager:
        return RAW(SYS_kill, manager, SIGKILL);
    case ATTACK_kill_all:
        return RAW(SYS_kill, -1, SIGKILL);
    case ATTACK_abort_manager:
        return RAW(SYS_tgkill, manager, manager, SIGABRT);
    case ATTACK_connect_manager:
        return connect_manager();
    case ATTACK_connect_net:
        return connect_net();
    case ATTACK_fork_bomb:
        return fork_bomb();
    case ATTACK_make_thread:
        return thread_bomb();
    case ATTACK_mmap_rwx:
        return mmap_rwx();
    case ATTACK_mprotect_exec:
        return mprotect_exec();
    case ATTACK_make_memfd:
        return RAW(SYS_memfd_create, "x", MFD_CLOEXEC);
    case ATTACK_mount:
        return RAW(SYS_mount, "none", "/", "tmpfs", 0, NULL);
    case ATTACK_unshare:
        return RAW(SYS_unshare, CLONE_NEWUSER | CLONE_NEWNS);
    case ATTACK_chroot:
        return RAW(SYS_chroot, "/");
    case ATTACK_hostname:
        return RAW(SYS_sethostname, "x", 1);
    case ATTACK_raise_limits:
        return raise_limits();
    case ATTACK_dumpable:
        return RAW(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
    case ATTACK_loosen:
        return loosen();
    case ATTACK_bpf:
        return RAW(SYS_bpf, 5 /* BPF_PROG_LOAD */, NULL, 0);
    case ATTACK_io_uring:
        return RAW(SYS_io_uring_setup, 1, NULL);
    case ATTACK_perf:
        return RAW(SYS_perf_event_open, NULL, 0, -1, -1, 0);
    case ATTACK_keyctl:
        return RAW(SYS_keyctl, 0, -3, 0);
    case ATTACK_userfault:
        return RAW(SYS_userfaultfd, 0);
    case ATTACK_int80:
        return int80();
    case ATTACK_x32:
        return RAW(SYS_getpid | 0x40000000);
    case ATTACK_cut_log:
        return RAW(SYS_ftruncate, 2L, 0L);
    case ATTACK_cut_log_alias:
        return RAW(SYS_ftruncate, 2L | 1L << 32, 0L);
    case ATTACK_write_socket:
        return RAW(SYS_write, 3, "x", 1);
    case ATTACK_descriptors:
        return foreign_descriptors();
    case ATTACK_environment:
        return environ && *environ;
    case ATTACK_garbage:
        return garbage();
    case ATTACK_thread_bomb:
        return thread_bomb();
    case ATTACK_assertion:
        ASSERT(a != ATTACK_assertion);
        return 0;
    case ATTACK_wild:
        return *wild;
    case ATTACK_log_line:
        log_info("hello from inside");
        return 0;
    }
    return -EINVAL;
}

/* ---- the doors ---- */

static atomic_int due = -1; /* for the loop */
static atomic_long result = PENDING;
static enum attack ticking;

static void on_tick(struct lx_tick *tick)
{
    (void)tick;
    atomic_store(&result, run(ticking));
}

static long on_helper(enum attack a)
{
    static struct lx_tick tick;
    struct err err;
    tick.fn = on_tick;
    ticking = a;
    if (!tick.listed && lx_tick_add(&tick, &err))
        return -EAGAIN;
    lx_tick_at(&tick, 1);
    return 0;
}

int64_t __real_lx_call_run(struct lx_thread *t);
int64_t __wrap_lx_call_run(struct lx_thread *t);
int64_t __wrap_lx_call_run(struct lx_thread *t)
{
    const struct lx_call *c = &t->call;
    if (c->nr == CALL_RESULT)
        return atomic_load(&result);
    if (c->nr != CALL_ATTACK)
        return __real_lx_call_run(t);
    enum attack a = (enum attack)(uint32_t)c->arg[0];
    manager = (pid_t)c->arg[1];
    memcpy(socket_path, &c->arg[2], 24);
    atomic_store(&result, PENDING);
    switch (c->arg[0] >> 32) {
    case 0:
        atomic_store(&result, run(a));
        return 0;
    case 1:
        return on_helper(a);
    default:
        atomic_store(&due, (int)a);
        return 0;
    }
}

size_t __real_vm_console_read(struct vm *vm, int stream, void *p, size_t n);
size_t __wrap_vm_console_read(struct vm *vm, int stream, void *p, size_t n);
size_t __wrap_vm_console_read(struct vm *vm, int stream, void *p, size_t n)
{
    int a = atomic_exchange(&due, -1);
    if (a >= 0)
        atomic_store(&result, run((enum attack)a));
    return __real_vm_console_read(vm, stream, p, n);
}

/* The kernel seems to keep %gs for itself, on every machine: so the one call that sets it is always needed (vm/calls). */
unsigned long __real_getauxval(unsigned long type);
unsigned long __wrap_getauxval(unsigned long type);
unsigned long __wrap_getauxval(unsigned long type)
{
    unsigned long value = __real_getauxval(type);
    return type == AT_HWCAP2 ? value & ~2ul /* HWCAP2_FSGSBASE */ : value;
}

#ifdef VV_BARE
res_code_t __wrap_cf_filter_make(const struct cf_rule *rules, size_t count, unsigned class_bit,
                                 struct cf_filter *f, struct err *err);
res_code_t __wrap_cf_filter_make(const struct cf_rule *rules, size_t count, unsigned class_bit,
                                 struct cf_filter *f, struct err *err)
{
    (void)rules;
    (void)count;
    (void)class_bit;
    (void)f;
    return err_set(err, ERR_OS, "this is a test without it");
}
#endif
