// class: fp
// Double matrix multiplication, plain and transposed.
#include "bench.h"

#define N 160
static double a[N][N], b[N][N], c[N][N], t[N][N];

static NOINLINE void multiply(void)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double s = 0;
            for (int k = 0; k < N; k++)
                s += a[i][k] * b[k][j];
            c[i][j] = s;
        }
}

static NOINLINE void multiply_rows(void)
{
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++)
            t[i][j] = 0;
        for (int k = 0; k < N; k++)
            for (int j = 0; j < N; j++)
                t[i][j] += c[i][k] * b[k][j];
    }
}

int main(int argc, char **argv)
{
    int rounds = bench_rounds(argc, argv, 160);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i][j] = (double)((i * 7 + j * 13) % 31) / 31 - 0.4;
            b[i][j] = (double)((i * 11 + j * 3) % 29) / 29 - 0.3;
        }
    double sum = 0;
    for (int r = 0; r < rounds; r++) {
        multiply();
        multiply_rows();
        for (int i = 0; i < N; i++) {
            sum += t[i][(i + r) % N] * 1e-3;
            a[i][r % N] = c[i][(r + i) % N] * 0.01;
        }
    }
    return bench_done_fp("matmul", sum, 6);
}
