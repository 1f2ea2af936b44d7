// class: fp
// Bodies under gravity in double precision: square roots, divisions, short loops.
#include "bench.h"

#define N 5
static double pos[N][3], vel[N][3], mass[N];

static double root(double x)
{
    return __builtin_sqrt(x);
}

static NOINLINE void advance(double dt)
{
    for (int i = 0; i < N; i++)
        for (int j = i + 1; j < N; j++) {
            double dx = pos[i][0] - pos[j][0], dy = pos[i][1] - pos[j][1],
                   dz = pos[i][2] - pos[j][2];
            double d2 = dx * dx + dy * dy + dz * dz + 1e-3;
            double mag = dt / (d2 * root(d2));
            vel[i][0] -= dx * mass[j] * mag;
            vel[i][1] -= dy * mass[j] * mag;
            vel[i][2] -= dz * mass[j] * mag;
            vel[j][0] += dx * mass[i] * mag;
            vel[j][1] += dy * mass[i] * mag;
            vel[j][2] += dz * mass[i] * mag;
        }
    for (int i = 0; i < N; i++)
        for (int k = 0; k < 3; k++)
            pos[i][k] += dt * vel[i][k];
}

static double energy(void)
{
    double e = 0;
    for (int i = 0; i < N; i++) {
        e +=
            0.5 * mass[i] * (vel[i][0] * vel[i][0] + vel[i][1] * vel[i][1] + vel[i][2] * vel[i][2]);
        for (int j = i + 1; j < N; j++) {
            double dx = pos[i][0] - pos[j][0], dy = pos[i][1] - pos[j][1],
                   dz = pos[i][2] - pos[j][2];
            e -= mass[i] * mass[j] / root(dx * dx + dy * dy + dz * dz + 1e-3);
        }
    }
    return e;
}

int main(int argc, char **argv)
{
    int rounds = bench_rounds(argc, argv, 13000000);
    /* one heavy body, the others on circles far apart, so that the energy hardly depends on rounding */
    mass[0] = 40;
    for (int i = 1; i < N; i++) {
        double r = 2.0 * i * i, v = root(mass[0] / r);
        mass[i] = 1e-3 * i;
        pos[i][i & 1] = r;
        vel[i][1 - (i & 1)] = i & 1 ? v : -v;
        vel[i][2] = 0.01 * v;
    }
    for (int r = 0; r < rounds; r++)
        advance(1e-4);
    return bench_done_fp("nbody", energy(), 6);
}
