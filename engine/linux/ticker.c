/*
 * linux/ticker.c - the one ticker thread of a worker process, shared by its guests. It sleeps until the earliest time
 * any of them named; with none it costs nothing. It starts with the first guest and ends with the last.
 *
 * Locks: `life` orders starting and stopping; `ticker.lock` guards the list and is never held while a guest's fn runs, so
 * a guest may call lx_tick_at with its own lock held.
 */
#include "engine/linux/process.h"

#define TICKER_STACK_BYTES ((size_t)128 << 10)

static pthread_mutex_t life = PTHREAD_MUTEX_INITIALIZER;
static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake, idle;
    bool made, stop;
    struct list guests;
    uint32_t count;
    uint64_t next_ns; /* what the thread sleeps for */
    pthread_t thread;
} ticker = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct lx_tick *earliest(void)
{
    struct lx_tick *best = NULL;
    list_for_each(l, &ticker.guests)
    {
        struct lx_tick *t = list_entry(l, struct lx_tick, link);
        if (!best || t->at_ns < best->at_ns)
            best = t;
    }
    return best;
}

static void *ticker_main(void *arg)
{
    (void)arg;
    os_thread_is(OS_THREAD_HELPER);
    pthread_mutex_lock(&ticker.lock);
    while (!ticker.stop) {
        struct lx_tick *t = earliest();
        uint64_t at = t ? t->at_ns : UINT64_MAX;
        if (at == UINT64_MAX) {
            ticker.next_ns = UINT64_MAX;
            pthread_cond_wait(&ticker.wake, &ticker.lock);
        } else if (at > os_now_ns()) {
            struct timespec ts = {(time_t)(at / 1000000000u), (long)(at % 1000000000u)};
            ticker.next_ns = at;
            pthread_cond_timedwait(&ticker.wake, &ticker.lock, &ts);
        } else {
            t->at_ns = UINT64_MAX;
            t->busy = true;
            pthread_mutex_unlock(&ticker.lock);
            t->fn(t);
            pthread_mutex_lock(&ticker.lock);
            t->busy = false;
            pthread_cond_broadcast(&ticker.idle);
        }
    }
    pthread_mutex_unlock(&ticker.lock);
    return NULL;
}

res_t lx_tick_add(struct lx_tick *tick, struct err *err)
{
    res_code_t rc = OK;
    pthread_mutex_lock(&life);
    pthread_mutex_lock(&ticker.lock);
    if (!ticker.made) {
        pthread_condattr_t attr;
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&ticker.wake, &attr);
        pthread_cond_init(&ticker.idle, NULL);
        pthread_condattr_destroy(&attr);
        list_init(&ticker.guests);
        ticker.made = true;
    }
    if (!ticker.count) {
        ticker.stop = false;
        ticker.next_ns = 0;
        rc = os_thread_start(&ticker.thread, "ticker", TICKER_STACK_BYTES, ticker_main, NULL, err);
    }
    if (!rc) {
        tick->at_ns = UINT64_MAX;
        tick->listed = true;
        list_append(&ticker.guests, &tick->link);
        ticker.count++;
    }
    pthread_mutex_unlock(&ticker.lock);
    pthread_mutex_unlock(&life);
    return rc;
}

void lx_tick_remove(struct lx_tick *tick)
{
    if (!tick->listed)
        return;
    pthread_mutex_lock(&life);
    pthread_mutex_lock(&ticker.lock);
    while (tick->busy)
        pthread_cond_wait(&ticker.idle, &ticker.lock);
    list_remove(&tick->link);
    tick->listed = false;
    bool last = !--ticker.count;
    if (last) {
        ticker.stop = true;
        pthread_cond_signal(&ticker.wake);
    }
    pthread_mutex_unlock(&ticker.lock);
    if (last)
        pthread_join(ticker.thread, NULL);
    pthread_mutex_unlock(&life);
}

void lx_tick_at(struct lx_tick *tick, uint64_t at_ns)
{
    pthread_mutex_lock(&ticker.lock);
    tick->at_ns = at_ns;
    if (at_ns < ticker.next_ns)
        pthread_cond_signal(&ticker.wake);
    pthread_mutex_unlock(&ticker.lock);
}
