// class: int
// 4,608 functions called through one table: more indirect targets than small predictors and look-up tables hold.
#include "bench.h"

#define EACH8(m, a) m(a##0) m(a##1) m(a##2) m(a##3) m(a##4) m(a##5) m(a##6) m(a##7)
#define EACH64(m, a)                                                                          \
    EACH8(m, a##0)                                                                            \
    EACH8(m, a##1) EACH8(m, a##2) EACH8(m, a##3) EACH8(m, a##4) EACH8(m, a##5) EACH8(m, a##6) \
        EACH8(m, a##7)
#define EACH512(m, a)                                                               \
    EACH64(m, a##0)                                                                 \
    EACH64(m, a##1) EACH64(m, a##2) EACH64(m, a##3) EACH64(m, a##4) EACH64(m, a##5) \
        EACH64(m, a##6) EACH64(m, a##7)
#define EACH4608(m)                                                                     \
    EACH512(m, 1)                                                                       \
    EACH512(m, 2) EACH512(m, 3) EACH512(m, 4) EACH512(m, 5) EACH512(m, 6) EACH512(m, 7) \
        EACH512(m, 8) EACH512(m, 9)
#define COUNT 4608u

#define DEFINE(n)                                               \
    static uint64_t g##n(uint64_t x)                            \
    {                                                           \
        return (x ^ (0x##n * 77u)) + (x >> (0x##n % 11u + 5u)); \
    }
#define ENTRY(n) g##n,

EACH4608(DEFINE)

static uint64_t (*const table[COUNT])(uint64_t) = {EACH4608(ENTRY)};
static uint16_t order[COUNT];

int main(int argc, char **argv)
{
    int rounds = bench_rounds(argc, argv, 12000);
    uint64_t seed = 17, sum = 1;
    for (uint32_t i = 0; i < COUNT; i++)
        order[i] = (uint16_t)i;
    for (uint32_t i = COUNT - 1; i; i--) {
        uint32_t j = (uint32_t)(bench_next(&seed) >> 33) % (i + 1);
        uint16_t t = order[i];
        order[i] = order[j], order[j] = t;
    }
    for (int r = 0; r < rounds; r++)
        for (uint32_t i = 0; i < COUNT; i++)
            sum = table[order[i]](sum + i);
    return bench_done("targets", sum);
}
