// class: int
// Words counted in an open-addressing table of strings: byte loops, hashes, compares, unpredictable loads.
#include "bench.h"

#define SLOTS 32768u
#define WORDS 12000
static char pool[WORDS * 16];
static uint32_t word_at[WORDS];
static struct {
    const char *key;
    uint32_t hash, count;
} table[SLOTS];

static NOINLINE uint32_t hash(const char *s)
{
    uint32_t h = 2166136261u;
    for (; *s; s++)
        h = (h ^ (uint8_t)*s) * 16777619u;
    return h ^ h >> 15;
}

static NOINLINE int equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

static NOINLINE void count(const char *s)
{
    uint32_t h = hash(s), i = h & (SLOTS - 1);
    while (table[i].key) {
        if (table[i].hash == h && equal(table[i].key, s)) {
            table[i].count++;
            return;
        }
        i = (i + 1) & (SLOTS - 1);
    }
    table[i].key = s;
    table[i].hash = h;
    table[i].count = 1;
}

int main(int argc, char **argv)
{
    int rounds = bench_rounds(argc, argv, 2300);
    uint64_t seed = 3;
    char *p = pool;
    for (int i = 0; i < WORDS; i++) {
        word_at[i] = (uint32_t)(p - pool);
        int n = 3 + (int)(bench_next(&seed) >> 33) % 11;
        for (int j = 0; j < n; j++)
            *p++ = (char)('a' + (bench_next(&seed) >> 40) % 26);
        *p++ = 0;
    }
    for (int r = 0; r < rounds; r++)
        for (int i = 0; i < WORDS; i++)
            count(pool + word_at[(uint32_t)(i * 7 + r) % WORDS]);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < SLOTS; i++)
        if (table[i].key)
            sum = bench_mix(sum, table[i].hash + (uint64_t)table[i].count * i);
    return bench_done("strhash", sum);
}
