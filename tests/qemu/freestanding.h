/*
 * The little that a program without a C library needs: system calls, whole reads and writes. Not inline assembly's
 * business: gp and tp, which belong to the cases.
 */
#ifndef FREESTANDING_H
#define FREESTANDING_H

#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static long call(long number, long a, long b, long c, long d, long e, long f)
{
    register long a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c,
                     a3 __asm__("a3") = d, a4 __asm__("a4") = e, a5 __asm__("a5") = f,
                     a7 __asm__("a7") = number;
    __asm__ volatile("ecall"
                     : "+r"(a0)
                     : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7)
                     : "memory");
    return a0;
}

static void leave(long code)
{
    for (;;)
        call(SYS_exit_group, code, 0, 0, 0, 0, 0);
}

static void read_all(void *p, unsigned long n, int end_is_fine)
{
    char *at = p;
    while (n) {
        long got = call(SYS_read, 0, (long)at, (long)n, 0, 0, 0);
        if (got <= 0)
            leave(got == 0 && end_is_fine && at == p ? 0 : 3);
        at += got;
        n -= (unsigned long)got;
    }
}

static void write_all(const void *p, unsigned long n)
{
    const char *at = p;
    while (n) {
        long put = call(SYS_write, 1, (long)at, (long)n, 0, 0, 0);
        if (put <= 0)
            leave(4);
        at += put;
        n -= (unsigned long)put;
    }
}

static void map(uint64_t at, uint64_t bytes, int prot)
{
    if (call(SYS_mmap, (long)at, (long)bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
             0) != (long)at)
        leave(5);
}

#endif
