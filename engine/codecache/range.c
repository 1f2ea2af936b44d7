/* The executable ranges of this process, for the signal handler: a list that only grows; free nodes are reused. */
#include "engine/codecache/internal.h"

#include <stdlib.h>

struct range_node {
    struct range_node *next; /* constant once linked */
    _Atomic uintptr_t lo;    /* 0: free. Set last, cleared first */
    _Atomic uintptr_t hi, blocks, fault_stub;
};

static _Atomic(struct range_node *) ranges;
static pthread_mutex_t ranges_lock = PTHREAD_MUTEX_INITIALIZER; /* writers */

struct range_node *cc_range_add(const struct cc_range *r)
{
    pthread_mutex_lock(&ranges_lock);
    struct range_node *n = atomic_load(&ranges);
    while (n && atomic_load(&n->lo))
        n = n->next;
    bool fresh = !n;
    if (fresh)
        n = calloc(1, sizeof *n);
    if (n) {
        atomic_store(&n->hi, r->hi);
        atomic_store(&n->blocks, r->blocks);
        atomic_store(&n->fault_stub, r->fault_stub);
        atomic_store(&n->lo, r->lo);
        if (fresh) {
            n->next = atomic_load(&ranges);
            atomic_store(&ranges, n);
        }
    }
    pthread_mutex_unlock(&ranges_lock);
    return n;
}

void cc_range_remove(struct range_node *n)
{
    if (n)
        atomic_store(&n->lo, 0);
}

/* A thread that faults in a cache keeps that cache, hence its node, alive; other nodes may change under us, but then
 * their range is not ours before nor after, and hi is set before lo. */
bool cc_range_find(uintptr_t rip, struct cc_range *out)
{
    for (struct range_node *n = atomic_load(&ranges); n; n = n->next) {
        uintptr_t lo = atomic_load(&n->lo), hi = atomic_load(&n->hi);
        if (lo && rip >= lo && rip < hi) {
            *out = (struct cc_range){lo, hi, atomic_load(&n->blocks), atomic_load(&n->fault_stub)};
            return true;
        }
    }
    return false;
}
