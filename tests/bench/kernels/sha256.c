// class: int
// SHA-256 (FIPS 180-4) of a buffer, again and again: rotates and long dependency chains.
#include "bench.h"

static uint32_t k[64];

/* The first 32 bits of the fraction of the cube root of the n-th prime, by integers alone. */
static void make_constants(void)
{
    int found = 0;
    for (uint32_t p = 2; found < 64; p++) {
        int prime = 1;
        for (uint32_t d = 2; d * d <= p; d++)
            if (p % d == 0)
                prime = 0;
        if (!prime)
            continue;
        /* root = floor(cbrt(p) * 2^32), at most 35 bits: bit by bit, root^3 <= p * 2^96 */
        uint64_t root = 0;
        for (int b = 35; b >= 0; b--) {
            unsigned __int128 t = root | UINT64_C(1) << b;
            unsigned __int128 square =
                t * t; /* < 2^72; keep it exact: compare square * t with p << 96 */
            unsigned __int128 hi = (square >> 36) * t, lo = (square & 0xfffffffffu) * t;
            hi += lo >> 36;
            lo &= 0xfffffffffu;
            unsigned __int128 want = (unsigned __int128)p << 60; /* (p << 96) >> 36 */
            if (hi < want || (hi == want && lo == 0))
                root = (uint64_t)t;
        }
        k[found++] = (uint32_t)root;
    }
}

static inline uint32_t ror(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static NOINLINE void block(uint32_t h[8], const uint8_t *p)
{
    uint32_t w[64];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
               (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t s0 = ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], hh = h[7];
    for (int i = 0; i < 64; i++) {
        uint32_t t1 =
            hh + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & f) ^ (~e & g)) + k[i] + w[i];
        uint32_t t2 = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        hh = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e, h[5] += f, h[6] += g, h[7] += hh;
}

static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

int main(int argc, char **argv)
{
    static uint8_t buf[8192];
    int rounds = bench_rounds(argc, argv, 23000);
    make_constants();
    uint8_t abc[64] = "abc\x80";
    abc[63] = 24;
    uint32_t h[8];
    memcpy(h, start, sizeof h);
    block(h, abc);
    if (h[0] != 0xba7816bf || h[7] != 0xf20015ad) {
        puts("sha256 is wrong");
        return 1;
    }
    uint64_t seed = 1;
    for (size_t i = 0; i < sizeof buf; i++)
        buf[i] = (uint8_t)bench_next(&seed);
    memcpy(h, start, sizeof h);
    for (int r = 0; r < rounds; r++)
        for (size_t i = 0; i < sizeof buf; i += 64)
            block(h, buf + i);
    uint64_t sum = 0;
    for (int i = 0; i < 8; i++)
        sum = bench_mix(sum, h[i]);
    return bench_done("sha256", sum);
}
