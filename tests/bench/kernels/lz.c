// class: int
// An LZ77 byte compressor (hash of four bytes, greedy) and its decompressor, on text-like data.
#include "bench.h"

#define SIZE (256 * 1024)
static uint8_t plain[SIZE], packed[SIZE * 2], again[SIZE];
static uint32_t head[1 << 14];

static inline uint32_t get32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Tokens: 0..127: that many + 1 literals follow; 128..255: a match of (t - 128) + 4 bytes, 2 bytes of distance. */
static NOINLINE size_t compress(const uint8_t *in, size_t n, uint8_t *out)
{
    uint8_t *o = out;
    size_t i = 0, lit = 0;
    memset(head, 0, sizeof head);
    while (i + 4 <= n) {
        uint32_t h = get32(in + i) * 2654435761u >> 18;
        size_t cand = head[h];
        head[h] = (uint32_t)i + 1;
        if (!cand-- || i - cand > 65535 || get32(in + cand) != get32(in + i)) {
            i++;
            continue;
        }
        size_t len = 4;
        while (len < 131 && i + len < n && in[cand + len] == in[i + len])
            len++;
        for (; lit < i;) {
            size_t m = i - lit < 128 ? i - lit : 128;
            *o++ = (uint8_t)(m - 1);
            for (; m; m--)
                *o++ = in[lit++];
        }
        *o++ = (uint8_t)(128 + len - 4);
        *o++ = (uint8_t)(i - cand);
        *o++ = (uint8_t)((i - cand) >> 8);
        lit = i += len;
    }
    for (; lit < n;) {
        size_t m = n - lit < 128 ? n - lit : 128;
        *o++ = (uint8_t)(m - 1);
        for (; m; m--)
            *o++ = in[lit++];
    }
    return (size_t)(o - out);
}

static NOINLINE size_t expand(const uint8_t *in, size_t n, uint8_t *out)
{
    uint8_t *o = out;
    for (const uint8_t *end = in + n; in < end;) {
        uint32_t t = *in++;
        if (t < 128) {
            for (t++; t; t--)
                *o++ = *in++;
        } else {
            const uint8_t *from = o - (in[0] | (uint32_t)in[1] << 8);
            in += 2;
            for (t = t - 128 + 4; t; t--)
                *o++ = *from++;
        }
    }
    return (size_t)(o - out);
}

int main(int argc, char **argv)
{
    int rounds = bench_rounds(argc, argv, 560);
    uint64_t seed = 5, sum = 0;
    /* words of a small vocabulary, some noise */
    for (size_t i = 0; i < SIZE;) {
        uint64_t w = bench_next(&seed) >> 30, v = w % 900 * 0x9e3779b97f4a7c15u;
        size_t len = 2 + v % 9;
        for (size_t j = 0; j < len && i < SIZE; j++)
            plain[i++] = (uint8_t)('a' + (v >> (8 + 5 * j)) % 26);
        if (i < SIZE)
            plain[i++] = (w & 0xf00000) ? ' ' : (uint8_t)(w >> 5);
    }
    for (int r = 0; r < rounds; r++) {
        plain[(uint32_t)r * 977 % SIZE] ^= 1;
        size_t n = compress(plain, SIZE, packed);
        size_t m = expand(packed, n, again);
        if (m != SIZE || memcmp(plain, again, SIZE) != 0)
            return 1;
        sum = bench_mix(sum, n);
    }
    return bench_done("lz", sum);
}
