/*
 * bench.h - what the kernels of tests/bench share.
 *
 * A kernel is one C file with a main. It prints `name checksum`, the same on every architecture; a floating-point kernel
 * prints its checksum rounded, and then `bits ...`, the exact result, which is the same for every run of one binary
 * (riscv64 gcc fuses multiply-add, x86-64 gcc without -mfma cannot). The first argument scales the work in per cent.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline, noclone))

static inline uint64_t bench_next(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static inline int bench_rounds(int argc, char **argv, int rounds)
{
    long percent = argc > 1 ? atol(argv[1]) : 100;
    long n = rounds * percent / 100;
    return n < 1 ? 1 : (int)n;
}

static inline uint64_t bench_mix(uint64_t h, uint64_t x)
{
    return (h ^ x) * UINT64_C(0x100000001b3);
}

static inline int bench_done(const char *name, uint64_t sum)
{
    printf("%s %016llx\n", name, (unsigned long long)sum);
    return 0;
}

static inline int bench_done_fp(const char *name, double sum, int digits)
{
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    printf("%s %.*e\nbits %016llx\n", name, digits, sum, (unsigned long long)bits);
    return 0;
}

#endif
