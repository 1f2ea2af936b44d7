/* Code that changes: written, rewritten, moved, shared, run while another writes it. RISC-V only.
 * tests: riscv_flush_icache mmap mprotect munmap mremap read pread64 write clone
 */
#include "t.h"

#include <pthread.h>

typedef int (*fn)(void);

static uint32_t li_a0(int v) /* addi a0, zero, v */
{
    return 0x13 | 10u << 7 | (uint32_t)(v & 0xfff) << 20;
}
#define RET 0x00008067u

static void put(void *at, int v)
{
    uint32_t code[2] = {li_a0(v), RET};
    memcpy(at, code, sizeof code);
}
static void fence_i(void)
{
    __asm__ volatile("fence.i" ::: "memory");
}
static char *pages(size_t n, int prot)
{
    return mmap(NULL, n * 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
enum { RW = PROT_READ | PROT_WRITE, RX = PROT_READ | PROT_EXEC, RWX = RW | PROT_EXEC };

static void rewritten(void)
{
    char *p = pages(2, RWX);
    long sum = 0;
    for (int i = 0; i < 1000; i++) {
        put(p, i & 0x7ff);
        fence_i();
        sum += ((fn)p)();
    }
    say("a function rewritten a thousand times: %ld", sum);
    put(p, 1);
    fence_i();
    sum = 0;
    for (int i = 0; i < 3000; i++)
        sum += ((fn)p)();
    put(p, 2);
    fence_i();
    for (int i = 0; i < 3000; i++)
        sum += ((fn)p)();
    say("hot, then rewritten, then hot again: %ld", sum);
    put(p, 3);
    sys(259, p, p + 8, 0L);
    say("by the call: %d", ((fn)p)());
    /* the second half of an instruction lies in the next page; only that page is written */
    uint32_t a = li_a0(5), b = li_a0(6), ret = RET;
    memcpy(p + 4094, &a, 4);
    memcpy(p + 4098, &ret, 4);
    fence_i();
    for (int i = 0; i < 100; i++)
        sum = ((fn)(p + 4094))();
    memcpy(p + 4096, (char *)&b + 2, 2);
    fence_i();
    say("across two pages: %ld, then %d", sum, ((fn)(p + 4094))());
    munmap(p, 8192);
}

static void protected(void)
{
    char *p = pages(1, RW);
    long sum = 0;
    for (int i = 0; i < 300; i++) {
        put(p, i);
        mprotect(p, 4096, RX);
        fence_i();
        sum += ((fn)p)();
        mprotect(p, 4096, RW);
    }
    say("write or execute, three hundred times: %ld", sum);
    for (int i = 0; i < 50; i++) {
        munmap(p, 4096);
        p = mmap(p, 4096, RWX, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        put(p, i);
        fence_i();
        sum += ((fn)p)();
    }
    say("unmapped and mapped anew at the same place: %ld", sum);
    put(p, 77);
    fence_i();
    sum = ((fn)p)();
    char *q = mremap(p, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, pages(1, PROT_NONE));
    say("moved: %ld %d", sum, ((fn)q)());
    p = mmap(p, 4096, RWX, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    put(p, 78);
    fence_i();
    say("another in its old place: %d %d", ((fn)p)(), ((fn)q)());
}

static void by_calls(void)
{
    uint32_t code[2] = {li_a0(11), RET};
    char *p = pages(1, RWX);
    int q[2], fd = open("code", O_RDWR | O_CREAT | O_TRUNC, 0755);
    pipe(q);
    put(p, 10);
    fence_i();
    int first = 0;
    for (int i = 0; i < 200; i++)
        first = ((fn)p)();
    write(q[1], code, 8);
    long r = sys(SYS_read, q[0], p, 8L);
    fence_i();
    say("read(2) over running code: %d, read %ld, then %d", first, r, ((fn)p)());
    code[0] = li_a0(12);
    pwrite(fd, code, 8, 0);
    r = sys(SYS_pread64, fd, p, 8L, 0L);
    fence_i();
    say("pread(2): %ld, then %d", r, ((fn)p)());
    /* through a second mapping of the same file, and by write(2) into the file */
    ftruncate(fd, 4096);
    char *w = mmap(NULL, 4096, RW, MAP_SHARED, fd, 0), *x = mmap(NULL, 4096, RX, MAP_SHARED, fd, 0);
    long sum = 0;
    for (int i = 0; i < 200; i++) {
        put(w, i);
        fence_i();
        sum += ((fn)x)();
    }
    say("through a second mapping: %ld", sum);
    for (int i = 0; i < 200; i++) {
        code[0] = li_a0(i);
        pwrite(fd, code, 8, 0);
        fence_i();
        sum += ((fn)x)();
    }
    say("by write into the file: %ld", sum);
    close(q[0]), close(q[1]), close(fd);
}

/* Code and a counter that it writes, in one page. */
static void beside_data(void)
{
    static const uint32_t code[] = {
        0x00000297, /* auipc t0, 0 */
        0x1002b303, /* ld t1, 256(t0) */
        0x00130313, /* addi t1, t1, 1 */
        0x1062b023, /* sd t1, 256(t0) */
        0xfff50513, /* addi a0, a0, -1 */
        0xfe0518e3, /* bnez a0, -16 */
        0x00030513, /* mv a0, t1 */
        0x00008067, /* ret */
    };
    char *p = pages(1, RWX);
    memcpy(p, code, sizeof code);
    fence_i();
    say("code beside its data: %ld", ((long (*)(long))p)(100000));
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(((long (*)(long))p)(1000) == 101000 ? 0 : 1);
    waitpid(pid, &status, 0);
    t_status("and in a child", status);
    say("not seen by the parent: %ld", ((long (*)(long))p)(1));
}

/* The child of fork rewrites code that its parent runs. */
static void forked(void)
{
    int status, to[2], from[2];
    char c, *p = pages(1, RWX), *s = mmap(NULL, 4096, RWX, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pipe(to), pipe(from);
    put(p, 1), put(s, 1);
    fence_i();
    int before = ((fn)p)() + ((fn)s)();
    pid_t pid = fork();
    if (pid == 0) {
        read(to[0], &c, 1);
        put(p, 20), put(s, 30);
        fence_i();
        int ok = ((fn)p)() == 20 && ((fn)s)() == 30;
        write(from[1], "x", 1);
        read(to[0], &c, 1);
        _exit(ok && ((fn)s)() == 40 ? 0 : 1);
    }
    int mine = 0;
    for (int i = 0; i < 1000; i++)
        mine += ((fn)p)();
    write(to[1], "x", 1);
    read(from[0], &c, 1);
    fence_i();
    say("forked: before %d, private %d, %d, shared %d", before, mine, ((fn)p)(), ((fn)s)());
    put(s, 40);
    fence_i();
    write(to[1], "x", 1);
    /* the child's fence.i is its own: it has run other code since it was told */
    waitpid(pid, &status, 0);
    say("child's view: %s", WIFEXITED(status) ? "its own code, then ours" : "lost");
}

/* A thread runs what another rewrites; after the flush call it must see the new code. */
static char *hot;
static volatile int seen, stop;
static void *runner(void *arg)
{
    while (!stop)
        seen = ((fn)hot)();
    return arg;
}
static void threaded(void)
{
    pthread_t t;
    hot = pages(1, RWX);
    put(hot, 0);
    fence_i();
    pthread_create(&t, NULL, runner, NULL);
    for (int i = 1; i <= 100; i++) {
        __atomic_store_n((uint32_t *)hot, li_a0(i), __ATOMIC_RELEASE);
        sys(259, hot, hot + 4, 0L);
        while (seen != i)
            sched_yield();
    }
    stop = 1;
    pthread_join(t, NULL);
    say("a thread saw a hundred versions: %d", seen);
}

int main(void)
{
    rewritten();
    protected();
    by_calls();
    beside_data();
    forked();
    threaded();
    return 0;
}
