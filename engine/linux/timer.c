/*
 * linux/timer.c - the guest's timers: an intrusive pairing heap, so that arming one can never fail.
 */
#include "engine/linux/process.h"

static struct lx_timer *meld(struct lx_timer *a, struct lx_timer *b)
{
    if (!a)
        return b;
    if (!b)
        return a;
    if (b->at_ns < a->at_ns) {
        struct lx_timer *swap = a;
        a = b;
        b = swap;
    }
    b->prev = a;
    b->next = a->child;
    if (a->child)
        a->child->prev = b;
    a->child = b;
    return a;
}

/* Two passes over the children: pairs from the left, then all together from the right. */
static struct lx_timer *meld_children(struct lx_timer *first)
{
    struct lx_timer *pairs = NULL;
    while (first) {
        struct lx_timer *a = first, *b = a->next;
        first = b ? b->next : NULL;
        a->prev = a->next = NULL;
        if (b)
            b->prev = b->next = NULL;
        a = meld(a, b);
        a->next = pairs; /* a root's next is free: a stack of pairs */
        pairs = a;
    }
    struct lx_timer *root = NULL;
    while (pairs) {
        struct lx_timer *next = pairs->next;
        pairs->next = NULL;
        root = meld(root, pairs);
        pairs = next;
    }
    return root;
}

void lx_timer_cancel(struct lx *lx, struct lx_timer *tm)
{
    if (!tm->armed)
        return;
    tm->armed = false;
    struct lx_timer *rest = meld_children(tm->child);
    tm->child = NULL;
    if (lx->timers == tm) {
        lx->timers = rest;
        return;
    }
    if (tm->prev->child == tm)
        tm->prev->child = tm->next;
    else
        tm->prev->next = tm->next;
    if (tm->next)
        tm->next->prev = tm->prev;
    tm->next = tm->prev = NULL;
    lx->timers = meld(lx->timers, rest);
}

void lx_timer_set(struct lx *lx, struct lx_timer *tm, uint64_t at_ns)
{
    lx_timer_cancel(lx, tm);
    tm->at_ns = at_ns;
    tm->armed = true;
    tm->child = tm->next = tm->prev = NULL;
    lx->timers = meld(lx->timers, tm);
    if (lx->timers == tm)
        lx_tick_arm(lx);
}
