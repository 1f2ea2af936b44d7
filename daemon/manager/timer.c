#include "daemon/manager/timer.h"
#include "engine/base/base.h"

#include <stdlib.h>

static void put(struct mgr_timers *t, size_t i, struct mgr_deadline *d)
{
    t->heap[i] = d;
    d->place = i + 1;
}

/* Let d, which belongs at i or above it, find its place. */
static void rise(struct mgr_timers *t, size_t i, struct mgr_deadline *d)
{
    for (; i && t->heap[(i - 1) / 2]->at_ms > d->at_ms; i = (i - 1) / 2)
        put(t, i, t->heap[(i - 1) / 2]);
    put(t, i, d);
}

static void sink(struct mgr_timers *t, size_t i, struct mgr_deadline *d)
{
    for (size_t kid; (kid = 2 * i + 1) < t->count; i = kid) {
        if (kid + 1 < t->count && t->heap[kid + 1]->at_ms < t->heap[kid]->at_ms)
            kid++;
        if (t->heap[kid]->at_ms >= d->at_ms)
            break;
        put(t, i, t->heap[kid]);
    }
    put(t, i, d);
}

static void on_timer(uv_timer_t *h);

static void arm(struct mgr_timers *t)
{
    uint64_t now = uv_now(t->timer.loop);
    if (!t->count)
        uv_timer_stop(&t->timer);
    else
        uv_timer_start(&t->timer, on_timer, t->heap[0]->at_ms > now ? t->heap[0]->at_ms - now : 0,
                       0);
}

static void take_out(struct mgr_timers *t, struct mgr_deadline *d)
{
    size_t i = d->place - 1;
    d->place = 0;
    struct mgr_deadline *last = t->heap[--t->count];
    if (last == d)
        return;
    if (i && t->heap[(i - 1) / 2]->at_ms > last->at_ms)
        rise(t, i, last);
    else
        sink(t, i, last);
}

static void on_timer(uv_timer_t *h)
{
    struct mgr_timers *t = h->data;
    uint64_t now = uv_now(h->loop);
    while (t->count && t->heap[0]->at_ms <= now) {
        struct mgr_deadline *d = t->heap[0];
        take_out(t, d);
        d->fire(d);
    }
    arm(t);
}

void mgr_timers_init(struct mgr_timers *t, uv_loop_t *loop)
{
    *t = (struct mgr_timers){0};
    uv_timer_init(loop, &t->timer);
    t->timer.data = t;
}

void mgr_timers_fini(struct mgr_timers *t)
{
    free(t->heap);
    t->heap = NULL;
    t->count = t->cap = 0;
}

res_code_t mgr_deadline_set(struct mgr_timers *t, struct mgr_deadline *d, uint64_t after_ms,
                            void (*fire)(struct mgr_deadline *d), struct err *err)
{
    if (d->place)
        take_out(t, d);
    if (t->count == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 64;
        struct mgr_deadline **heap = realloc(t->heap, cap * sizeof *heap);
        if (!heap)
            return err_set(err, ERR_NO_MEMORY, "no memory for a deadline");
        t->heap = heap;
        t->cap = cap;
    }
    uv_update_time(t->timer.loop);
    d->at_ms = uv_now(t->timer.loop) + after_ms;
    d->fire = fire;
    rise(t, t->count++, d);
    arm(t);
    return OK;
}

void mgr_deadline_clear(struct mgr_timers *t, struct mgr_deadline *d)
{
    if (d->place) {
        take_out(t, d);
        arm(t);
    }
}
