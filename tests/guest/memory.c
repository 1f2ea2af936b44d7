/* Memory: maps and what becomes of them.
 * tests: mmap munmap mprotect mremap brk madvise msync mlock munlock mincore membarrier
 */
#include "t.h"

#include <setjmp.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

static sigjmp_buf away;
static void on_fault(int s)
{
    siglongjmp(away, s);
}
/* 0: readable; else the signal */
static int try_read(const volatile char *p)
{
    int s = sigsetjmp(away, 1);
    if (s == 0)
        (void)*p;
    return s;
}
static int try_write(volatile char *p)
{
    int s = sigsetjmp(away, 1);
    if (s == 0)
        *p = 1;
    return s;
}
static const char *outcome(int s)
{
    return s ? t_sig(s) : "fine";
}

static char *anon(size_t n, int prot)
{
    return mmap(NULL, n, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void maps(void)
{
    char *p = anon(3 * 4096, PROT_READ | PROT_WRITE), *q;
    T("fresh pages are zero", p[0] == 0 && p[3 * 4096 - 1] == 0);
    p[0] = 'a', p[4096] = 'b', p[8192] = 'c';
    R("unmap the middle", SYS_munmap, p + 4096, 4096L);
    say("first %s, middle %s, last %s", outcome(try_read(p)), outcome(try_read(p + 4096)),
        outcome(try_read(p + 8192)));
    R("unmap what is not there", SYS_munmap, p + 4096, 4096L);
    R("unmap unaligned", SYS_munmap, p + 1, 4096L);
    R("unmap nothing", SYS_munmap, p, 0L);
    R("unmap beyond the end of the world", SYS_munmap, (void *)0x4000000000000000, 4096L);
    q = mmap(p + 4096, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
             0);
    T("MAP_FIXED into the hole", q == p + 4096 && q[0] == 0 && p[0] == 'a');
    q = mmap(p, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    T("MAP_FIXED replaces", q == p && q[0] == 0);
    R("MAP_FIXED_NOREPLACE on a map", SYS_mmap, p, 4096L, PROT_READ,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0L);
    R("MAP_FIXED unaligned", SYS_mmap, p + 1, 4096L, PROT_READ,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0L);
    R("map nothing", SYS_mmap, NULL, 0L, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
    R("map without sharing", SYS_mmap, NULL, 4096L, PROT_READ, MAP_ANONYMOUS, -1, 0L);
    R("map too much", SYS_mmap, NULL, (size_t)1 << 62, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1,
      0L);
    R("map a bad fd", SYS_mmap, NULL, 4096L, PROT_READ, MAP_PRIVATE, 99, 0L);
    q = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    T("a hint that is free is taken", q == (void *)0x10000000);
    T("a hint that is taken is not",
      mmap(q, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != q);
    munmap(q, 4096);
    q = mmap(NULL, (size_t)1 << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    T("1 GiB reserved", q != MAP_FAILED);
    R("a part made usable", SYS_mprotect, q + 4096 * 1000, 8192L, PROT_READ | PROT_WRITE);
    q[4096 * 1000] = 1;
    R("unmap 1 GiB", SYS_munmap, q, 1L << 30);
    munmap(p, 3 * 4096);
}

static void protections(void)
{
    char *p = anon(4 * 4096, PROT_READ | PROT_WRITE);
    p[4096] = 'x';
    R("protect one page", SYS_mprotect, p + 4096, 4096L, PROT_READ);
    say("read %s, write %s, beside %s", outcome(try_read(p + 4096)), outcome(try_write(p + 4096)),
        outcome(try_write(p + 8192)));
    R("unprotect", SYS_mprotect, p + 4096, 4096L, PROT_READ | PROT_WRITE);
    say("write %s, content %c", outcome(try_write(p + 4097)), p[4096]);
    R("protect none", SYS_mprotect, p, 4096L, PROT_NONE);
    say("read %s", outcome(try_read(p)));
    R("protect unaligned", SYS_mprotect, p + 1, 4096L, PROT_READ);
    R("protect nothing", SYS_mprotect, p, 0L, PROT_READ);
    R("protect bad bits", SYS_mprotect, p, 4096L, 0x1000);
    munmap(p + 8192, 4096);
    R("protect across a hole", SYS_mprotect, p + 4096, 3 * 4096L, PROT_READ);
    munmap(p, 4 * 4096);
}

static void shared(void)
{
    char buf[16] = {0};
    int status, fd = open("m", O_RDWR | O_CREAT | O_TRUNC, 0644), r = open("m", O_RDONLY),
                w = open("m", O_WRONLY);
    ftruncate(fd, 8192);
    pwrite(fd, "file", 4, 4096);
    char *s = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0),
         *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    char *o = mmap(NULL, 4096, PROT_READ, MAP_SHARED, r, 4096);
    memcpy(s, "shared", 6);
    pread(fd, buf, 6, 0);
    say("a store into a shared map is in the file: %s", buf);
    say("and in the private map: %.6s", p);
    memcpy(p, "private", 7);
    pread(fd, buf, 7, 0);
    say("a store into a private map is not: %.6s", buf);
    pwrite(fd, "FILE", 4, 4096);
    say("a write is in the maps: %.4s %.4s", s + 4096, o);
    R("map write-only", SYS_mmap, NULL, 4096L, PROT_READ, MAP_PRIVATE, w, 0L);
    R("map read-only shared for writing", SYS_mmap, NULL, 4096L, PROT_READ | PROT_WRITE, MAP_SHARED,
      r, 0L);
    OK("map read-only private for writing", SYS_mmap, NULL, 4096L, PROT_READ | PROT_WRITE,
       MAP_PRIVATE, r, 0L);
    R("protect a read-only shared map", SYS_mprotect, o, 4096L, PROT_READ | PROT_WRITE);
    R("map at a bad offset", SYS_mmap, NULL, 4096L, PROT_READ, MAP_PRIVATE, fd, 100L);
    int d = open(".", O_RDONLY);
    R("map a folder", SYS_mmap, NULL, 4096L, PROT_READ, MAP_PRIVATE, d, 0L);
    R("msync", SYS_msync, s, 8192L, MS_SYNC);
    R("msync async", SYS_msync, s, 8192L, MS_ASYNC);
    R("msync flags", SYS_msync, s, 8192L, MS_SYNC | MS_ASYNC);
    R("msync unaligned", SYS_msync, s + 1, 8192L, MS_SYNC);
    R("msync hole", SYS_msync, (void *)0x20000000, 4096L, MS_SYNC);
    /* shared memory over fork, private memory not */
    char *a = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char *b = anon(4096, PROT_READ | PROT_WRITE);
    pid_t pid = fork();
    if (pid == 0) {
        a[0] = b[0] = 'c', s[1] = 'C', p[1] = 'P';
        _exit(0);
    }
    waitpid(pid, &status, 0);
    say("after fork: %d %d %c %c", a[0], b[0], s[1], p[1]);
    /* the map outlives the descriptor and the name; a truncated file faults */
    close(fd);
    unlink("m");
    say("unlinked: %.4s", s + 4096);
    fd = open("n", O_RDWR | O_CREAT | O_TRUNC, 0644);
    ftruncate(fd, 8192);
    char *t = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    t[4096] = 'x';
    ftruncate(fd, 4096);
    say("behind a truncation: %s", outcome(try_read(t + 4096)));
    ftruncate(fd, 8192);
    say("grown again: %s %d", outcome(try_read(t + 4096)), t[4096]);
    close(fd);
}

static void remaps(void)
{
    char *p = anon(2 * 4096, PROT_READ | PROT_WRITE), *q;
    p[0] = '0', p[4096] = '1';
    q = mremap(p, 8192, 4096, 0);
    T("shrunk in place", q == p);
    say("cut off %s", outcome(try_read(p + 4096)));
    q = mremap(p, 4096, 1 << 20, MREMAP_MAYMOVE);
    T("grown", q != MAP_FAILED && q[0] == '0' && q[(1 << 20) - 1] == 0);
    char *target = anon(1 << 20, PROT_NONE);
    char *moved = mremap(q, 1 << 20, 1 << 20, MREMAP_MAYMOVE | MREMAP_FIXED, target);
    T("moved", moved == target && moved[0] == '0');
    say("the old place %s", outcome(try_read(q)));
    anon(4096, PROT_READ);
    char *two = anon(8192, PROT_READ | PROT_WRITE);
    R("cannot grow in place", SYS_mremap, two, 4096L, 1L << 20, 0, 0L);
    R("mremap unaligned", SYS_mremap, moved + 1, 4096L, 8192L, MREMAP_MAYMOVE, 0L);
    R("mremap to nothing", SYS_mremap, moved, 4096L, 0L, MREMAP_MAYMOVE, 0L);
    R("mremap flags", SYS_mremap, moved, 4096L, 8192L, 0x100, 0L);
    R("mremap fixed without maymove", SYS_mremap, moved, 4096L, 4096L, MREMAP_FIXED, target);
    R("mremap a hole", SYS_mremap, (void *)0x20000000, 4096L, 8192L, MREMAP_MAYMOVE, 0L);
}

static void breaks(void)
{
    char *b = (char *)sys(SYS_brk, 0L);
    T("brk grows", (char *)sys(SYS_brk, b + 10000) == b + 10000);
    b[9999] = 1;
    T("zero filled", b[5000] == 0);
    T("brk shrinks", (char *)sys(SYS_brk, b) == b);
    T("brk refuses below", (char *)sys(SYS_brk, 4096L) == b);
    T("brk refuses too much", (char *)sys(SYS_brk, (void *)((size_t)1 << 62)) == b);
    T("grown again", (char *)sys(SYS_brk, b + 10000) == b + 10000);
    T("zero again", b[9999] == 0);
    sys(SYS_brk, b);
}

static void advice(void)
{
    char *p = anon(4 * 4096, PROT_READ | PROT_WRITE);
    unsigned char vec[4];
    memset(p, 'x', 4 * 4096);
    R("madvise dontneed", SYS_madvise, p + 4096, 4096L, MADV_DONTNEED);
    say("%d %d %d", p[0], p[4096], p[8192]);
    R("madvise normal", SYS_madvise, p, 4 * 4096L, MADV_NORMAL);
    R("madvise willneed", SYS_madvise, p, 4 * 4096L, MADV_WILLNEED);
    R("madvise free", SYS_madvise, p, 4096L, MADV_FREE);
    R("madvise unaligned", SYS_madvise, p + 1, 4096L, MADV_DONTNEED);
    R("madvise unknown", SYS_madvise, p, 4096L, 999);
    R("madvise hole", SYS_madvise, (void *)0x20000000, 4096L, MADV_DONTNEED);
    R("mincore", SYS_mincore, p + 8192, 4096L, vec);
    say("in core %d", vec[0] & 1);
    R("mincore unaligned", SYS_mincore, p + 1, 4096L, vec);
    R("mincore hole", SYS_mincore, (void *)0x20000000, 4096L, vec);
    R("mincore bad pointer", SYS_mincore, p, 4096L, BAD);
    R("mlock", SYS_mlock, p, 4096L);
    R("munlock", SYS_munlock, p, 4096L);
    R("mlock hole", SYS_mlock, (void *)0x20000000, 4096L);
    T("membarrier query", sys(SYS_membarrier, 0, 0, 0) > 0);
    R("membarrier unknown", SYS_membarrier, 1 << 30, 0, 0);
    R("membarrier flags", SYS_membarrier, 0, 77, 0);
    munmap(p, 4 * 4096);
}

/* Every system call that takes a buffer across a page boundary sees both pages. */
static void crossing(void)
{
    char *p = anon(2 * 4096, PROT_READ | PROT_WRITE), buf[8] = {0};
    int q[2];
    pipe(q);
    memcpy(p + 4094, "edge", 4);
    R("write across pages", SYS_write, q[1], p + 4094, 4L);
    R("read back", SYS_read, q[0], buf, 8L);
    say("%s", buf);
    write(q[1], "EDGE", 4);
    R("read across pages", SYS_read, q[0], p + 4094, 4L);
    say("%.4s", p + 4094);
    mprotect(p + 4096, 4096, PROT_NONE);
    R("write across the edge", SYS_write, q[1], p + 4094, 4L);
    strcpy(p + 4090, "/etc");
    OK("a path that ends at the edge", SYS_openat, AT_FDCWD, memcpy(p + 4091, "/etc", 5), O_RDONLY,
       0);
    R("a path that runs over it", SYS_openat, AT_FDCWD, memcpy(p + 4092, "/etc", 4), O_RDONLY, 0);
    close(q[0]), close(q[1]);
}

int main(void)
{
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    maps();
    protections();
    shared();
    remaps();
    breaks();
    advice();
    crossing();
    return 0;
}
