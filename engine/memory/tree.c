/* memory/tree.c - the maps of a space in order: a treap that also knows the widest gap below each node, so that
 * mmap finds its place in O(log n). */
#include "engine/memory/internal.h"

static void update(struct map *n)
{
    n->lo = n->left ? n->left->lo : n->start;
    n->hi = n->right ? n->right->hi : n->end;
    uint64_t gap = 0;
    if (n->left)
        gap = MAX(n->left->gap, n->start - n->left->hi);
    if (n->right)
        gap = MAX(gap, MAX(n->right->gap, n->right->lo - n->end));
    n->gap = gap;
}

/* What starts below at goes left. */
static void split(struct map *n, gva_t at, struct map **l, struct map **r)
{
    if (!n) {
        *l = *r = NULL;
    } else if (n->start < at) {
        split(n->right, at, &n->right, r);
        *l = n;
        update(n);
    } else {
        split(n->left, at, l, &n->left);
        *r = n;
        update(n);
    }
}

static struct map *join(struct map *l, struct map *r)
{
    if (!l || !r)
        return l ? l : r;
    if (l->priority > r->priority) {
        l->right = join(l->right, r);
        update(l);
        return l;
    }
    r->left = join(l, r->left);
    update(r);
    return r;
}

void mem_tree_insert(struct mem_space *s, struct map *m)
{
    struct map *l, *r;
    m->left = m->right = NULL;
    m->priority = rng_next(&s->pool->rng);
    update(m);
    split(s->root, m->start, &l, &r);
    s->root = join(join(l, m), r);
    s->count++;
}

void mem_tree_remove(struct mem_space *s, struct map *m)
{
    struct map *l, *mid, *r;
    split(s->root, m->start, &l, &r);
    split(r, m->start + 1, &mid, &r);
    ASSERT(mid == m);
    s->root = join(l, r);
    s->count--;
}

struct map *mem_tree_find(const struct mem_space *s, gva_t a)
{
    struct map *best = NULL;
    for (struct map *n = s->root; n;) {
        if (a < n->end) {
            best = n;
            if (a >= n->start)
                break;
            n = n->left;
        } else {
            n = n->right;
        }
    }
    return best;
}

struct map *mem_tree_below(const struct mem_space *s, gva_t a)
{
    struct map *best = NULL;
    for (struct map *n = s->root; n;) {
        if (n->start < a) {
            best = n;
            n = n->right;
        } else {
            n = n->left;
        }
    }
    return best;
}

static bool gap_in(const struct map *n, gva_t lo, gva_t hi, uint64_t len, gva_t *out)
{
    if (hi < lo || hi - lo < len)
        return false;
    if (!n) {
        *out = hi - len;
        return true;
    }
    uint64_t before = n->lo > lo ? n->lo - lo : 0, behind = hi > n->hi ? hi - n->hi : 0;
    if (MAX(n->gap, MAX(before, behind)) < len)
        return false;
    return gap_in(n->right, MAX(lo, n->end), hi, len, out) ||
           gap_in(n->left, lo, MIN(hi, n->start), len, out);
}

bool mem_tree_gap(const struct mem_space *s, gva_t lo, gva_t hi, uint64_t len, gva_t *out)
{
    return gap_in(s->root, lo, hi, len, out);
}

static bool check(const struct map *n, const struct mem_space *s, gva_t *at, size_t *count)
{
    if (!n)
        return true;
    struct map copy = *n;
    update(&copy);
    if (copy.lo != n->lo || copy.hi != n->hi || copy.gap != n->gap || n->space != s)
        return false;
    if (!check(n->left, s, at, count) || n->start < *at || n->start >= n->end)
        return false;
    if ((n->start | n->end) % PAGE_SIZE || n->end > space_top(s))
        return false;
    *at = n->end;
    ++*count;
    return check(n->right, s, at, count);
}

bool mem_tree_check(const struct mem_space *s)
{
    gva_t at = WINDOW_LOW;
    size_t count = 0;
    return check(s->root, s, &at, &count) && count == s->count;
}
