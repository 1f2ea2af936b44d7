/*
 * linux/block.c - waiting and waking: blocked calls on their queues and deadlines.
 */
#include "engine/linux/process.h"

#include <stdlib.h>

void lx_waitq_init(struct lx_waitq *q)
{
    list_init(&q->waiters);
}

int64_t lx_block(struct lx_call *c, struct lx_waitq *q)
{
    struct lx_thread *t = c->t;
    if (!q)
        return LX_BLOCKED;
    struct lx_wait *w;
    if (t->wait_count < LX_WAITS_INLINE) {
        w = &t->wait[t->wait_count];
    } else {
        struct lx_wait_more *m = malloc(sizeof *m);
        if (!m) { /* then it looks again by itself */
            t->poll = true;
            return LX_BLOCKED;
        }
        m->next = t->wait_more;
        t->wait_more = m;
        w = &m->w;
    }
    t->wait_count++;
    w->thread = t;
    list_append(&q->waiters, &w->link);
    return LX_BLOCKED;
}

void lx_unwait(struct lx_thread *t)
{
    for (uint32_t i = 0; i < MIN(t->wait_count, (uint32_t)LX_WAITS_INLINE); i++)
        list_remove(&t->wait[i].link);
    while (t->wait_more) {
        struct lx_wait_more *m = t->wait_more;
        t->wait_more = m->next;
        list_remove(&m->w.link);
        free(m);
    }
    t->wait_count = 0;
    t->woken = t->poll = false;
    t->sigwait = 0;
    lx_timer_cancel(t->lx, &t->timer);
}

void lx_wake_thread(struct lx_thread *t, enum lx_wake why)
{
    if (t->state == LX_T_BLOCKED) {
        lx_unwait(t);
        t->call.wake = why;
        if (t->p->stopped)
            t->state = LX_T_STOPPED;
        else
            lx_enqueue(t->lx, t);
    } else if (t->state == LX_T_RUNNING) {
        if (why == LX_WAKE_SIGNAL)
            lx_kick_thread(t);
        else
            t->woken = true;
    }
}

void lx_wake_all(struct lx *lx, struct lx_waitq *q)
{
    (void)lx;
    while (!list_empty(&q->waiters)) {
        struct lx_wait *w = list_entry(q->waiters.next, struct lx_wait, link);
        list_remove(&w->link);
        lx_wake_thread(w->thread, LX_WAKE_QUEUE);
    }
}

void lx_deadline_fired(struct lx *lx, struct lx_timer *tm)
{
    struct lx_thread *t = container_of(tm, struct lx_thread, timer);
    lx_wake_thread(t, t->call.deadline_ns <= lx_monotonic_ns(lx) ? LX_WAKE_TIMEOUT : LX_WAKE_QUEUE);
}

int64_t lx_interrupted(struct lx_call *c, enum lx_restart kind)
{
    (void)c;
    switch (kind) {
    case LX_RESTART_SA:
        return -LX_ERESTARTSYS;
    case LX_RESTART_ALWAYS_UNLESS_HANDLER:
        return -LX_ERESTARTNOHAND;
    case LX_RESTART_NEVER:
        break;
    }
    return -EINTR;
}

void lx_deadline_after(struct lx_call *c, uint64_t rel_ns)
{
    if (c->runs)
        return;
    uint64_t at, now = lx_monotonic_ns(c->lx);
    if (__builtin_add_overflow(now, rel_ns, &at) || at == LX_NO_DEADLINE)
        at = LX_NO_DEADLINE - 1;
    c->deadline_ns = at;
}
