// class: fp
// The Mandelbrot set in single precision: counts of iterations, compares and moves between register files.
#include "bench.h"

#define W 256
#define H 192

static NOINLINE int steps(float cr, float ci, int limit)
{
    float zr = 0, zi = 0;
    int n = 0;
    for (; n < limit; n++) {
        float r2 = zr * zr, i2 = zi * zi;
        if (r2 + i2 > 4.0f)
            break;
        zi = 2.0f * zr * zi + ci;
        zr = r2 - i2 + cr;
    }
    return n;
}

int main(int argc, char **argv)
{
    int rounds = bench_rounds(argc, argv, 44);
    double sum = 0;
    for (int r = 0; r < rounds; r++)
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++)
                sum += steps(-2.2f + 3.2f * (float)x / W,
                             -1.2f + 2.4f * (float)y / H + 1e-4f * (float)r, 500);
    return bench_done_fp("mandel", sum / rounds, 2);
}
