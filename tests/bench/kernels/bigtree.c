// class: int
// More than 32 KiB of hot text, first kind: a decision tree of 2,048 leaves unrolled into branches.
#include "bench.h"

/* Leaf b (eleven binary digits): a few operations with constants of its own, so that no two leaves fold into one. */
#define LEAF(b)                                                  \
    h = (h ^ (b * 0x9e37u + 77u)) * 31u + (h >> (b % 13u + 3u)); \
    out[b & 63u] += h;
#define T0(b) LEAF(b)
#define T1(b)     \
    if (x & 1u) { \
        T0(b##1)  \
    } else {      \
        T0(b##0)  \
    }
#define T2(b)     \
    if (x & 2u) { \
        T1(b##1)  \
    } else {      \
        T1(b##0)  \
    }
#define T3(b)     \
    if (x & 4u) { \
        T2(b##1)  \
    } else {      \
        T2(b##0)  \
    }
#define T4(b)     \
    if (x & 8u) { \
        T3(b##1)  \
    } else {      \
        T3(b##0)  \
    }
#define T5(b)      \
    if (x & 16u) { \
        T4(b##1)   \
    } else {       \
        T4(b##0)   \
    }
#define T6(b)      \
    if (x & 32u) { \
        T5(b##1)   \
    } else {       \
        T5(b##0)   \
    }
#define T7(b)      \
    if (x & 64u) { \
        T6(b##1)   \
    } else {       \
        T6(b##0)   \
    }
#define T8(b)       \
    if (x & 128u) { \
        T7(b##1)    \
    } else {        \
        T7(b##0)    \
    }
#define T9(b)       \
    if (x & 256u) { \
        T8(b##1)    \
    } else {        \
        T8(b##0)    \
    }
#define T10(b)      \
    if (x & 512u) { \
        T9(b##1)    \
    } else {        \
        T9(b##0)    \
    }
#define T11(b)       \
    if (x & 1024u) { \
        T10(b##1)    \
    } else {         \
        T10(b##0)    \
    }

static uint32_t out[64];

static NOINLINE uint32_t walk(uint32_t h, uint32_t x)
{
    T11(0b)
    return h;
}

int main(int argc, char **argv)
{
    int rounds = bench_rounds(argc, argv, 26000);
    uint32_t h = 1;
    for (int r = 0; r < rounds; r++)
        for (uint32_t i = 0; i < 2048; i++)
            h = walk(h, i ^ (uint32_t)r >> 4);
    uint64_t sum = h;
    for (int i = 0; i < 64; i++)
        sum = bench_mix(sum, out[i]);
    return bench_done("bigtree", sum);
}
