/* The translator thread: eviction ahead of need, reclaiming, merging of profiles. */
#include "engine/translate/internal.h"

#include "engine/base/os.h"

#include <time.h>

#define LAG_NS 1000000 /* between two looks at threads that lag behind */

void xl_wake(void *ctx)
{
    struct xl *x = ctx;
    pthread_mutex_lock(&x->lock);
    if (!x->work) {
        x->work = true;
        pthread_cond_signal(&x->wake);
    }
    pthread_mutex_unlock(&x->lock);
}

static void wait_for_work(struct xl *x, bool lagging)
{
    if (!lagging) {
        while (!x->work && !x->stop)
            pthread_cond_wait(&x->wake, &x->lock);
        return;
    }
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LAG_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (!x->work && !x->stop && pthread_cond_timedwait(&x->wake, &x->lock, &until) == 0)
        ;
}

static void *translator(void *arg)
{
    struct xl *x = arg;
    bool lagging = false;
    os_thread_is(OS_THREAD_HELPER);
    pthread_mutex_lock(&x->lock);
    for (;;) {
        wait_for_work(x, lagging);
        if (x->stop)
            break;
        x->work = false;
        pthread_mutex_unlock(&x->lock);
        cc_evict_ahead(x->cache);
        lagging = !cc_reclaim(x->cache, true);
        prof_merge(x->prof);
        pthread_mutex_lock(&x->lock);
    }
    pthread_mutex_unlock(&x->lock);
    return NULL;
}

res_code_t xl_start(struct xl *x, struct err *err)
{
    pthread_mutex_lock(&x->lock);
    res_code_t rc = OK;
    if (!x->running) {
        rc = os_thread_start(&x->thread, "translator", (size_t)128 << 10, translator, x, err);
        x->running = rc == OK;
    }
    pthread_mutex_unlock(&x->lock);
    return rc;
}

void xl_stop(struct xl *x)
{
    pthread_mutex_lock(&x->lock);
    bool running = x->running;
    x->stop = true;
    x->running = false;
    pthread_cond_signal(&x->wake);
    pthread_mutex_unlock(&x->lock);
    if (running)
        pthread_join(x->thread, NULL);
}
