// class: int
// Sieve of Eratosthenes over a byte array, segment by segment, and a count of the twins.
#include "bench.h"

#define LIMIT 3000000u
static uint8_t composite[LIMIT];

int main(int argc, char **argv)
{
    int rounds = bench_rounds(argc, argv, 80);
    uint64_t sum = 0;
    for (int r = 0; r < rounds; r++) {
        uint32_t limit = LIMIT - (uint32_t)r;
        memset(composite, 0, limit);
        for (uint32_t i = 2; (uint64_t)i * i < limit; i++)
            if (!composite[i])
                for (uint32_t j = i * i; j < limit; j += i)
                    composite[j] = 1;
        uint32_t primes = 0, twins = 0, last = 0;
        for (uint32_t i = 2; i < limit; i++) {
            if (composite[i])
                continue;
            primes++;
            twins += i - last == 2;
            last = i;
        }
        sum = bench_mix(sum, primes);
        sum = bench_mix(sum, twins);
    }
    return bench_done("sieve", sum);
}
