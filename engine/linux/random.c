/*
 * linux/random.c - the guest's own random numbers: ChaCha20 with fast key erasure, seeded from the host once and anew
 * after a restore, so that no two clones draw the same.
 */
#include "engine/linux/process.h"

#include <string.h>

static uint32_t rotl32(uint32_t x, int k)
{
    return x << k | x >> (32 - k);
}

static void quarter(uint32_t *x, int a, int b, int c, int d)
{
    x[a] += x[b], x[d] = rotl32(x[d] ^ x[a], 16);
    x[c] += x[d], x[b] = rotl32(x[b] ^ x[c], 12);
    x[a] += x[b], x[d] = rotl32(x[d] ^ x[a], 8);
    x[c] += x[d], x[b] = rotl32(x[b] ^ x[c], 7);
}

static void block(const uint32_t key[8], uint64_t counter, uint8_t out[64])
{
    uint32_t in[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}, x[16];
    memcpy(in + 4, key, 32);
    in[12] = (uint32_t)counter;
    in[13] = (uint32_t)(counter >> 32);
    memcpy(x, in, sizeof x);
    for (int i = 0; i < 10; i++) {
        quarter(x, 0, 4, 8, 12), quarter(x, 1, 5, 9, 13), quarter(x, 2, 6, 10, 14),
            quarter(x, 3, 7, 11, 15);
        quarter(x, 0, 5, 10, 15), quarter(x, 1, 6, 11, 12), quarter(x, 2, 7, 8, 13),
            quarter(x, 3, 4, 9, 14);
    }
    for (int i = 0; i < 16; i++)
        x[i] += in[i];
    memcpy(out, x, sizeof x);
}

void lx_random_seed(struct lx *lx)
{
    os_random(lx->random_key, sizeof lx->random_key);
    lx->random_left = 0;
}

static void refill(struct lx *lx)
{
    uint8_t first[64];
    block(lx->random_key, 0, first);
    for (uint64_t i = 0; i < sizeof lx->random_buf / 64; i++)
        block(lx->random_key, i + 1, lx->random_buf + 64 * i);
    memcpy(lx->random_key, first, sizeof lx->random_key);
    lx->random_left = sizeof lx->random_buf;
}

void lx_random_bytes(struct lx *lx, void *p, size_t n)
{
    for (uint8_t *to = p; n;) {
        if (!lx->random_left)
            refill(lx);
        size_t k = MIN(n, (size_t)lx->random_left);
        uint8_t *from = lx->random_buf + sizeof lx->random_buf - lx->random_left;
        memcpy(to, from, k);
        memset(from, 0, k);
        lx->random_left -= (uint32_t)k;
        to += k;
        n -= k;
    }
}

uint32_t lx_random_u32(struct lx *lx)
{
    uint32_t x;
    lx_random_bytes(lx, &x, sizeof x);
    return x;
}
