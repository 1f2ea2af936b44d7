// class: fp
// A radix-2 FFT in double precision and a single-precision FIR filter over the result.
#include "bench.h"

#define LOG 11
#define N (1 << LOG)
#define TAPS 32
static double re[N], im[N], cosv[N / 2], sinv[N / 2];
static float sig[N + TAPS], out[N], tap[TAPS];

static NOINLINE void fft(void)
{
    for (unsigned i = 1, j = 0; i < N; i++) {
        unsigned bit = N >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            double t = re[i];
            re[i] = re[j], re[j] = t;
            t = im[i];
            im[i] = im[j], im[j] = t;
        }
    }
    for (int len = 2; len <= N; len *= 2)
        for (int i = 0; i < N; i += len)
            for (int k = 0; k < len / 2; k++) {
                double wr = cosv[k * (N / len)], wi = sinv[k * (N / len)];
                double *ar = &re[i + k], *ai = &im[i + k], *br = ar + len / 2, *bi = ai + len / 2;
                double tr = *br * wr - *bi * wi, ti = *br * wi + *bi * wr;
                *br = *ar - tr, *bi = *ai - ti;
                *ar += tr, *ai += ti;
            }
}

static NOINLINE void fir(void)
{
    for (int i = 0; i < N; i++) {
        float s = 0;
        for (int k = 0; k < TAPS; k++)
            s += sig[i + k] * tap[k];
        out[i] = s;
    }
}

int main(int argc, char **argv)
{
    int rounds = bench_rounds(argc, argv, 13500);
    /* cos and sin by rotation, renewed by half angles: no library function, the same on every machine */
    double c = -1, s = 0;
    double step_c[LOG + 1], step_s[LOG + 1];
    for (int i = 1; i <= LOG; i++) {
        step_c[i] = c, step_s[i] = s;
        double nc = __builtin_sqrt((1 + c) / 2);
        s = i == 1 ? 1 : s / (2 * nc);
        c = i == 1 ? 0 : nc;
    }
    for (int k = 0; k < N / 2; k++) {
        double x = 1, y = 0;
        for (int b = 0; b < LOG - 1; b++)
            if (k >> b & 1) {
                double cc = step_c[LOG - b], ss = step_s[LOG - b], t = x * cc - y * ss;
                y = x * ss + y * cc;
                x = t;
            }
        cosv[k] = x, sinv[k] = -y;
    }
    for (int k = 0; k < TAPS; k++)
        tap[k] = (float)(k % 7 - 3) / 16.0f;
    uint64_t seed = 21;
    double sum = 0;
    for (int r = 0; r < rounds; r++) {
        for (int i = 0; i < N; i++) {
            re[i] = (double)(int32_t)bench_next(&seed) / 2147483648.0;
            im[i] = 0;
        }
        fft();
        for (int i = 0; i < N; i++)
            sig[i] = (float)(re[i] * re[i] + im[i] * im[i]);
        fir();
        for (int i = 0; i < N; i += 8)
            sum += out[i];
    }
    return bench_done_fp("fft", sum, 3);
}
