// class: int
// More than 32 KiB of hot text, second kind: 1,024 functions called one after the other by direct calls.
#include "bench.h"

#define EACH4(m, a) m(a##0) m(a##1) m(a##2) m(a##3)
#define EACH16(m, a) EACH4(m, a##0) EACH4(m, a##1) EACH4(m, a##2) EACH4(m, a##3)
#define EACH64(m, a) EACH16(m, a##0) EACH16(m, a##1) EACH16(m, a##2) EACH16(m, a##3)
#define EACH256(m, a) EACH64(m, a##0) EACH64(m, a##1) EACH64(m, a##2) EACH64(m, a##3)
#define EACH1024(m, a) EACH256(m, a##0) EACH256(m, a##1) EACH256(m, a##2) EACH256(m, a##3)

static uint64_t cell[256];

/* 0x1abcde: base-4 digits read as hexadecimal ones, distinct for each function. */
#define DEFINE(n)                                               \
    static NOINLINE uint64_t f##n(uint64_t a, uint64_t b)       \
    {                                                           \
        uint64_t *c = &cell[(0x##n * 2654435761u >> 7) & 255u]; \
        if ((a ^ b) & (1u << (0x##n % 3u + 12u)))               \
            a += *c;                                            \
        else                                                    \
            a ^= b >> (0x##n % 5u + 1u);                        \
        *c = a + 0x##n;                                         \
        return a * 3u + b;                                      \
    }
#define CALL(n)     \
    a = f##n(a, b); \
    b += a >> 9;

EACH1024(DEFINE, 1)

static NOINLINE uint64_t all(uint64_t a, uint64_t b)
{
    EACH1024(CALL, 1)
    return a ^ b;
}

int main(int argc, char **argv)
{
    int rounds = bench_rounds(argc, argv, 100000);
    uint64_t sum = 1;
    for (int r = 0; r < rounds; r++)
        sum = all(sum, (uint64_t)r);
    for (int i = 0; i < 256; i++)
        sum = bench_mix(sum, cell[i]);
    return bench_done("bigcall", sum);
}
