// class: int
// Shortest paths in a random sparse graph with a binary heap that knows where each node stands.
#include "bench.h"

#define NODES 20000
#define DEGREE 6
static struct {
    uint32_t to, cost;
} edge[NODES][DEGREE];
static uint32_t dist[NODES], heap[NODES + 1];
static int where[NODES], used;

static void place(int i, uint32_t n)
{
    heap[i] = n;
    where[n] = i;
}

static NOINLINE void up(int i)
{
    uint32_t n = heap[i];
    for (; i > 1 && dist[heap[i / 2]] > dist[n]; i /= 2)
        place(i, heap[i / 2]);
    place(i, n);
}

static NOINLINE void down(int i)
{
    uint32_t n = heap[i];
    for (int c; (c = 2 * i) <= used; i = c) {
        if (c < used && dist[heap[c + 1]] < dist[heap[c]])
            c++;
        if (dist[heap[c]] >= dist[n])
            break;
        place(i, heap[c]);
    }
    place(i, n);
}

static NOINLINE void shortest(uint32_t from)
{
    for (int i = 0; i < NODES; i++) {
        dist[i] = UINT32_MAX;
        where[i] = 0;
    }
    dist[from] = 0;
    used = 1;
    place(1, from);
    while (used) {
        uint32_t n = heap[1];
        place(1, heap[used--]);
        if (used)
            down(1);
        for (int e = 0; e < DEGREE; e++) {
            uint32_t to = edge[n][e].to, d = dist[n] + edge[n][e].cost;
            if (d >= dist[to])
                continue;
            if (dist[to] == UINT32_MAX)
                place(++used, to);
            dist[to] = d;
            up(where[to]);
        }
    }
}

int main(int argc, char **argv)
{
    int rounds = bench_rounds(argc, argv, 260);
    uint64_t seed = 11, sum = 0;
    for (int i = 0; i < NODES; i++)
        for (int e = 0; e < DEGREE; e++) {
            uint64_t x = bench_next(&seed);
            edge[i][e].to = (uint32_t)(x >> 32) % NODES;
            edge[i][e].cost = 1 + (uint32_t)x % 1000;
        }
    for (int r = 0; r < rounds; r++) {
        shortest((uint32_t)r * 131 % NODES);
        for (int i = 0; i < NODES; i += 17)
            sum = bench_mix(sum, dist[i]);
    }
    return bench_done("dijkstra", sum);
}
