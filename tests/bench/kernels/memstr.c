// class: int
// flags: -fno-builtin -fno-tree-loop-distribute-patterns
// Memory and strings by plain loops (the C library's vector code is not what is measured): copy by words and by
// bytes, fill, length, search, reverse, compare, number to text and back.
#include "bench.h"

#define N 4096
static uint64_t wa[N / 8], wb[N / 8];
static char text[N], other[N];

static NOINLINE void copy_words(uint64_t *d, const uint64_t *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        d[i] = s[i];
}
static NOINLINE void copy_bytes(char *d, const char *s, size_t n)
{
    while (n--)
        *d++ = *s++;
}
static NOINLINE void fill(uint64_t *d, uint64_t v, size_t n)
{
    while (n--)
        *d++ = v;
}
static NOINLINE size_t length(const char *s)
{
    const char *p = s;
    while (*p)
        p++;
    return (size_t)(p - s);
}
static NOINLINE const char *find(const char *s, const char *what)
{
    for (; *s; s++) {
        size_t i = 0;
        while (what[i] && s[i] == what[i])
            i++;
        if (!what[i])
            return s;
    }
    return NULL;
}
static NOINLINE void reverse(char *s, size_t n)
{
    for (char *e = s + n - 1; s < e; s++, e--) {
        char t = *s;
        *s = *e;
        *e = t;
    }
}
static NOINLINE int compare(const char *a, const char *b)
{
    for (; *a && *a == *b; a++, b++)
        ;
    return (unsigned char)*a - (unsigned char)*b;
}
static NOINLINE char *put_number(char *o, uint32_t v)
{
    char t[12];
    int n = 0;
    do
        t[n++] = (char)('0' + v % 10);
    while (v /= 10);
    while (n)
        *o++ = t[--n];
    *o++ = ' ';
    return o;
}
static NOINLINE uint32_t get_number(const char **s)
{
    uint32_t v = 0;
    for (; **s >= '0' && **s <= '9'; (*s)++)
        v = v * 10 + (uint32_t)(**s - '0');
    (*s)++;
    return v;
}

int main(int argc, char **argv)
{
    int rounds = bench_rounds(argc, argv, 48000);
    uint64_t seed = 13, sum = 0;
    for (int r = 0; r < rounds; r++) {
        fill(wa, (uint64_t)r * 0x0101010101010101u, N / 8);
        wa[r & (N / 8 - 1)] ^= seed;
        copy_words(wb, wa, N / 8);
        sum = bench_mix(sum, wb[r & (N / 8 - 1)] ^ wb[5]);
        char *o = text;
        for (int i = 0; i < 300; i++)
            o = put_number(o, (uint32_t)bench_next(&seed) >> (i & 15));
        *o = 0;
        size_t n = length(text);
        copy_bytes(other, text, n + 1);
        reverse(other, n);
        reverse(other, n);
        other[n / 2] ^= (char)(r & 1);
        sum = bench_mix(sum, (uint64_t)(compare(text, other) != 0) + n);
        const char *hit = find(text, "77 7");
        sum = bench_mix(sum, hit ? (uint64_t)(hit - text) : 0);
        const char *p = text;
        uint32_t total = 0;
        while (*p)
            total += get_number(&p);
        sum = bench_mix(sum, total);
    }
    return bench_done("memstr", sum);
}
