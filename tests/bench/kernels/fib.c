// class: int
// Recursion: calls, returns and the stack, nothing else.
#include "bench.h"

static NOINLINE uint32_t fib(uint32_t n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

/* Three arguments and a result that feeds the next call: keeps gcc from unrolling the recursion away. */
static NOINLINE int tak(int x, int y, int z)
{
    return y >= x ? z : tak(tak(x - 1, y, z), tak(y - 1, z, x), tak(z - 1, x, y));
}

static NOINLINE uint32_t ackermann(uint32_t m, uint32_t n)
{
    if (m == 0)
        return n + 1;
    return n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}

int main(int argc, char **argv)
{
    int rounds = bench_rounds(argc, argv, 210);
    uint64_t sum = 0;
    for (int i = 0; i < rounds; i++) {
        sum = bench_mix(sum, fib(30 + (i & 1)));
        sum = bench_mix(sum, (uint32_t)tak(16 + (i & 1), 12, 6));
        sum = bench_mix(sum, ackermann(2, 600 + (uint32_t)i));
    }
    return bench_done("fib", sum);
}
