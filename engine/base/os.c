#include "engine/base/os.h"
#include "engine/base/base.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static uint64_t clock_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t os_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t os_thread_cpu_ns(void)
{
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

void os_populate(void *p, size_t bytes, bool write)
{
    uintptr_t lo = ALIGN_DOWN((uintptr_t)p, PAGE_SIZE),
              hi = ALIGN_UP((uintptr_t)p + bytes, PAGE_SIZE);
    (void)madvise((void *)lo, hi - lo, write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
}

void os_random(void *p, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = getrandom((char *)p + done, n - done, 0);
        ASSERT(got > 0);
        done += (size_t)got;
    }
}

res_t os_memfd(const char *name, size_t bytes, int *out, struct err *err)
{
    CLEANUP(close_fd) int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0)
        return err_set_os(err, "memfd_create");
    if (ftruncate(fd, (off_t)bytes) < 0)
        return err_set_os(err, "memfd of %zu bytes", bytes);
    *out = fd;
    fd = -1;
    return OK;
}

struct thread_start {
    void *(*main)(void *);
    void *arg;
    char name[16];
};

/* A thread names itself: naming another one would open a file. */
static void *thread_begin(void *p)
{
    struct thread_start start = *(struct thread_start *)p;
    free(p);
    prctl(PR_SET_NAME, start.name);
    return start.main(start.arg);
}

res_code_t os_thread_start(pthread_t *t, const char *name, size_t stack_bytes,
                           void *(*main)(void *), void *arg, struct err *err)
{
    struct thread_start *start = malloc(sizeof *start);
    if (!start)
        return err_set(err, ERR_NO_MEMORY, "thread %s", name);
    *start = (struct thread_start){main, arg, ""};
    strncpy(start->name, name, sizeof start->name - 1);
    pthread_attr_t attr;
    sigset_t all, old;
    pthread_attr_init(&attr);
    if (stack_bytes)
        pthread_attr_setstacksize(&attr, stack_bytes);
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGTRAP);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int rc = pthread_create(t, &attr, thread_begin, start);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (rc) {
        free(start);
        return err_set(err, ERR_NO_MEMORY, "thread %s: %s", name, strerror(rc));
    }
    return OK;
}

static void (*on_thread)(enum os_thread_kind kind);

void os_on_thread(void (*fn)(enum os_thread_kind kind))
{
    on_thread = fn;
}

void os_thread_is(enum os_thread_kind kind)
{
    if (on_thread)
        on_thread(kind);
}

int os_fstat(int fd, struct stat *st)
{
    return (int)syscall(SYS_fstat, fd, st); /* the kernel's struct stat of x86-64 is the C library's */
}

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

void rng_seed(struct rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) { /* splitmix64 */
        uint64_t z = seed += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        r->s[i] = z ^ z >> 31;
    }
}

uint64_t rng_next(struct rng *r)
{
    uint64_t *s = r->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
    return (uint64_t)((unsigned __int128)rng_next(r) * n >> 64);
}
