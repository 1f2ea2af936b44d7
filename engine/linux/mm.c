/*
 * linux/mm.c - address spaces with their code side: counted, and freed outside the lock.
 */
#include "engine/linux/process.h"

#include <stdlib.h>

struct lx_mm *lx_mm_new(struct lx *lx)
{
    struct lx_mm *mm = calloc(1, sizeof *mm);
    struct err err;
    if (!mm)
        return NULL;
    mm->refs = 1;
    lx_waitq_init(&mm->still);
    list_init(&mm->parked);
    if (mem_space_new(lx->config.pool, &mm->mem, &err) == OK) {
        if (run_space_new(lx->config.engine, mm->mem, &mm->code, &err) == OK)
            return mm;
        mem_space_put(mm->mem);
    }
    free(mm);
    return NULL;
}

struct lx_mm *lx_mm_get(struct lx_mm *mm)
{
    mm->refs++;
    return mm;
}

void lx_mm_put(struct lx *lx, struct lx_mm *mm)
{
    if (!mm || --mm->refs)
        return;
    mm->reap_next = lx->reap;
    lx->reap = mm;
    pthread_cond_signal(&lx->work); /* whoever put it may be no vCPU */
}

void lx_mm_reap(struct lx *lx)
{
    if (lx->ending)
        return; /* lx_free has time */
    while (lx->reap) {
        struct lx_mm *mm = lx->reap;
        lx->reap = mm->reap_next;
        ASSERT(!mm->running);
        lx_long_begin(lx);
        run_space_free(mm->code);
        mem_space_put(mm->mem);
        bool on = lx_long_end(lx);
        if (mm->dead && on)
            lx_process_report(mm->dead);
        free(mm);
        if (!on)
            return;
    }
}
