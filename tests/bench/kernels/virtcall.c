// class: int
// Virtual calls: an expression tree of objects evaluated through tables of functions, types mixed.
#include "bench.h"

struct node;
struct vtable {
    int64_t (*eval)(const struct node *, int64_t x);
    void (*poke)(struct node *, int64_t x);
};
struct node {
    const struct vtable *vt;
    struct node *l, *r;
    int64_t c;
};

static int64_t ev(const struct node *n, int64_t x)
{
    return n->vt->eval(n, x);
}
static void pk(struct node *n, int64_t x)
{
    n->vt->poke(n, x);
}

static int64_t eval_const(const struct node *n, int64_t x)
{
    (void)x;
    return n->c;
}
static int64_t eval_var(const struct node *n, int64_t x)
{
    return x + n->c;
}
static int64_t eval_add(const struct node *n, int64_t x)
{
    return ev(n->l, x) + ev(n->r, x);
}
static int64_t eval_sub(const struct node *n, int64_t x)
{
    return ev(n->l, x) - ev(n->r, x + 1);
}
static int64_t eval_mul(const struct node *n, int64_t x)
{
    return ev(n->l, x) * (ev(n->r, x) | 1);
}
static int64_t eval_xor(const struct node *n, int64_t x)
{
    return ev(n->l, x ^ n->c) ^ ev(n->r, x);
}
static int64_t eval_if(const struct node *n, int64_t x)
{
    return x & 1 ? ev(n->l, x) : ev(n->r, x);
}
static void poke_leaf(struct node *n, int64_t x)
{
    n->c = n->c * 5 + x;
}
static void poke_both(struct node *n, int64_t x)
{
    pk(n->l, x);
    pk(n->r, x + 1);
}
static void poke_left(struct node *n, int64_t x)
{
    n->c ^= x;
    pk(n->l, x);
}

static const struct vtable kinds[] = {
    {eval_const, poke_leaf}, {eval_var, poke_leaf}, {eval_add, poke_both}, {eval_sub, poke_left},
    {eval_mul, poke_both},   {eval_xor, poke_left}, {eval_if, poke_both},
};

static struct node pool[4096];
static int used;

static struct node *grow(int depth, uint64_t *seed)
{
    uint64_t v = bench_next(seed) >> 21;
    struct node *n = &pool[used++];
    n->vt = depth == 0 ? &kinds[v % 2] : &kinds[2 + v % 5];
    n->c = (int64_t)(v >> 8 & 0xff);
    if (depth) {
        n->l = grow(depth - 1, seed);
        n->r = grow(depth - 1, seed);
    }
    return n;
}

int main(int argc, char **argv)
{
    int rounds = bench_rounds(argc, argv, 3300000);
    uint64_t seed = 9, sum = 0;
    struct node *tree[4];
    for (int i = 0; i < 4; i++)
        tree[i] = grow(8, &seed);
    for (int r = 0; r < rounds; r++) {
        struct node *t = tree[r & 3];
        sum = bench_mix(sum, (uint64_t)ev(t, r));
        if ((r & 7) == 0)
            pk(t, r);
    }
    return bench_done("virtcall", sum);
}
