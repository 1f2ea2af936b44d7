// class: int
// Quicksort (median of three, insertion sort below 12) and bottom-up merge sort of records by key.
#include "bench.h"

#define N 200000
struct rec {
    uint32_t key, value;
};
static struct rec a[N], b[N], tmp[N];

static NOINLINE void quick(struct rec *v, int lo, int hi)
{
    while (hi - lo > 12) {
        uint32_t x = v[lo].key, y = v[lo + (hi - lo) / 2].key, z = v[hi].key;
        uint32_t pivot = x < y ? (y < z ? y : x < z ? z : x) : (x < z ? x : y < z ? z : y);
        int i = lo, j = hi;
        while (i <= j) {
            while (v[i].key < pivot)
                i++;
            while (v[j].key > pivot)
                j--;
            if (i <= j) {
                struct rec t = v[i];
                v[i++] = v[j];
                v[j--] = t;
            }
        }
        if (j - lo < hi - i) {
            quick(v, lo, j);
            lo = i;
        } else {
            quick(v, i, hi);
            hi = j;
        }
    }
    for (int i = lo + 1; i <= hi; i++) {
        struct rec t = v[i];
        int j = i - 1;
        for (; j >= lo && v[j].key > t.key; j--)
            v[j + 1] = v[j];
        v[j + 1] = t;
    }
}

static NOINLINE void merge_sort(struct rec *v, struct rec *t, int n)
{
    for (int w = 1; w < n; w *= 2) {
        for (int lo = 0; lo < n; lo += 2 * w) {
            int mid = lo + w < n ? lo + w : n, hi = lo + 2 * w < n ? lo + 2 * w : n;
            int i = lo, j = mid;
            for (int o = lo; o < hi; o++)
                t[o] = j >= hi || (i < mid && v[i].key <= v[j].key) ? v[i++] : v[j++];
        }
        memcpy(v, t, (size_t)n * sizeof *v);
    }
}

int main(int argc, char **argv)
{
    int rounds = bench_rounds(argc, argv, 20);
    uint64_t seed = 7, sum = 0;
    for (int r = 0; r < rounds; r++) {
        for (int i = 0; i < N; i++)
            a[i] = b[i] = (struct rec){(uint32_t)(bench_next(&seed) >> 20), (uint32_t)i};
        quick(a, 0, N - 1);
        merge_sort(b, tmp, N);
        for (int i = 0; i < N; i++)
            if (a[i].key != b[i].key)
                return 1;
        for (int i = 0; i < N; i += 97)
            sum = bench_mix(sum, b[i].key ^ (uint64_t)b[i].value << 32);
    }
    return bench_done("sort", sum);
}
