/*
 * linux/call.c - from an ecall to its handler.
 */
#include "engine/base/log.h"
#include "engine/linux/process.h"

#include <stdlib.h>
#include <string.h>

#define UNKNOWN_MAX 1024 /* numbers counted one by one */

void lx_call_begin(struct lx_thread *t, const uint64_t *r)
{
    struct lx_call *c = &t->call;
    *c = (struct lx_call){.lx = t->lx, .t = t, .deadline_ns = LX_NO_DEADLINE};
    c->nr = t->lx->arch->call_args(r, c->arg);
    t->in_call = true;
    t->restart = 0;
    t->lx->call_count++;
}

static void count_unknown(struct lx *lx, uint32_t nr)
{
    if (!lx->unknown)
        lx->unknown = calloc(UNKNOWN_MAX, sizeof *lx->unknown);
    if (!lx->unknown || nr >= UNKNOWN_MAX)
        return;
    if (!lx->unknown[nr]++)
        log_debug("guest %s: call %u is not implemented", lx->name, nr);
}

int64_t lx_call_run(struct lx_thread *t)
{
    struct lx_call *c = &t->call;
    const struct lx_arch *arch = t->lx->arch;
    if (c->nr < arch->call_count && arch->calls[c->nr].fn)
        return arch->calls[c->nr].fn(c);
    count_unknown(t->lx, c->nr);
    return -ENOSYS;
}

struct lx_process *lx_call_process(struct lx_call *c)
{
    return c->t->p;
}

struct mem_space *lx_call_mem(struct lx_call *c)
{
    return c->t->p->mem;
}

struct lx_process *lx_thread_process(struct lx_thread *t)
{
    return t->p;
}

uint32_t lx_thread_tid(struct lx_thread *t)
{
    return t->tid;
}

struct lx_vfs *lx_vfs_of(struct lx *lx)
{
    return lx->vfs;
}

const struct lx_config *lx_config_of(struct lx *lx)
{
    return &lx->config;
}
