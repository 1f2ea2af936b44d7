/* The cache as a whole: its two views, its stubs, its threads. */
#include "engine/codecache/internal.h"

#include "engine/base/os.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static res_code_t map_views(struct cc_cache *c, struct err *err)
{
    if (os_memfd("code-cache", c->map_bytes, &c->fd, err) != OK)
        return FAIL;
    c->rw = mmap(NULL, c->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, c->fd, 0);
    c->rx = mmap(NULL, c->map_bytes, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_NORESERVE, c->fd,
                 0); /* rule (2) */
    if (c->rw == MAP_FAILED || c->rx == MAP_FAILED)
        return err_set_os(err, "code cache of %zu bytes", c->map_bytes);
    return OK;
}

static res_code_t write_stubs(struct cc_cache *c, const struct host_options *o, struct err *err)
{
    struct arena tmp;
    arena_init(&tmp, 0);
    struct host_code code = {
        .w = c->rw, .w_bytes = CC_STUB_BYTES_MAX, .cache_off = 0, .arena = &tmp};
    res_code_t rc = c->host->emit_stubs(o, &code, &c->stubs, err);
    arena_fini(&tmp);
    if (rc != OK)
        return FAIL;
    ASSERT(c->stubs.len <= CC_STUB_BYTES_MAX);
    c->arenas_off = ALIGN_UP(c->stubs.len, (uint32_t)PAGE_SIZE);
    return OK;
}

res_code_t cc_cache_new(const struct cc_config *config, struct cc_cache **out, struct err *err)
{
    uint64_t count = config->arena_bytes ? config->cache_bytes / config->arena_bytes : 0;
    if (config->arena_bytes % PAGE_SIZE || count < 2 || config->cache_bytes > (UINT64_C(1) << 30))
        return err_set(err, ERR_INVALID, "code cache of %llu bytes in arenas of %u",
                       (unsigned long long)config->cache_bytes, config->arena_bytes);
    struct cc_cache *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(err, ERR_NO_MEMORY, "code cache");
    c->host = config->host;
    c->arena_bytes = config->arena_bytes;
    c->arena_count = (uint32_t)count;
    c->thread_max = config->thread_max;
    c->unused_max = config->unused_max;
    c->work = config->work;
    c->work_ctx = config->work_ctx;
    c->fd = -1;
    c->rw = c->rx = MAP_FAILED;
    c->map_bytes = CC_STUB_BYTES_MAX + (size_t)c->arena_bytes * c->arena_count;
    atomic_init(&c->epoch, 1);
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->defer_lock, NULL);
    list_init(&c->free);
    list_init(&c->full);
    list_init(&c->retiring);
    list_init(&c->unused);
    list_init(&c->all);
    for (unsigned i = 0; i < SPACE_BUCKETS; i++)
        list_init(&c->spaces[i]);
    os_random(&c->hash_seed, sizeof c->hash_seed);
    c->threads = calloc(c->thread_max, sizeof *c->threads);
    res_code_t rc = c->threads ? OK : err_set(err, ERR_NO_MEMORY, "code cache");
    if (rc == OK)
        rc = map_views(c, err);
    if (rc == OK)
        rc = write_stubs(c, &config->options, err);
    if (rc == OK)
        rc = cc_arenas_init(c, err);
    if (rc == OK) {
        uintptr_t lo = (uintptr_t)c->rx;
        struct cc_range r = {lo, lo + c->map_bytes, lo + c->arenas_off, lo + c->stubs.fault};
        c->range = cc_range_add(&r);
        if (!c->range)
            rc = err_set(err, ERR_NO_MEMORY, "code cache");
    }
    if (rc != OK) {
        cc_cache_free(c);
        return FAIL;
    }
    *out = c;
    return OK;
}

void cc_cache_free(struct cc_cache *c)
{
    if (!c)
        return;
    for (uint32_t i = 0; c->threads && i < c->thread_max; i++)
        ASSERT(!c->threads[i]);
    cc_spaces_fini(c);
    cc_range_remove(c->range);
    cc_arenas_fini(c);
    for (struct deferred *d = c->deferred, *next; d; d = next) {
        next = d->next;
        free(d);
    }
    if (c->rw != MAP_FAILED)
        munmap(c->rw, c->map_bytes);
    if (c->rx != MAP_FAILED)
        munmap(c->rx, c->map_bytes);
    if (c->fd >= 0)
        close(c->fd);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->defer_lock);
    free(c->threads);
    free(c);
}

const struct host_stubs *cc_stubs(const struct cc_cache *c)
{
    return &c->stubs;
}

const void *cc_host(const struct cc_cache *c, uint32_t off)
{
    return c->rx + off;
}

res_code_t cc_thread_new(struct cc_cache *c, void (*nudge)(void *ctx), void *ctx,
                         struct cc_thread **out, struct err *err)
{
    struct cc_thread *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(err, ERR_NO_MEMORY, "code cache thread");
    t->cache = c;
    t->nudge = nudge;
    t->nudge_ctx = ctx;
    pthread_mutex_lock(&c->lock);
    while (t->index < c->thread_max && c->threads[t->index])
        t->index++;
    bool room = t->index < c->thread_max;
    if (room)
        c->threads[t->index] = t;
    pthread_mutex_unlock(&c->lock);
    if (!room) {
        free(t);
        return err_set(err, ERR_LIMIT, "more than %u threads emit code", c->thread_max);
    }
    *out = t;
    return OK;
}

void cc_thread_free(struct cc_thread *t)
{
    if (!t)
        return;
    struct cc_cache *c = t->cache;
    cc_leave(t);
    cc_pin(t, NULL);
    cc_arena_close(t);
    pthread_mutex_lock(&c->lock);
    c->threads[t->index] = NULL;
    c->gone_published += atomic_load_explicit(&t->n_published, memory_order_relaxed);
    c->gone_host_bytes += atomic_load_explicit(&t->n_host_bytes, memory_order_relaxed);
    pthread_mutex_unlock(&c->lock);
    free(t);
}

void cc_cache_stats(struct cc_cache *c, struct cc_stats *out)
{
    memset(out, 0, sizeof *out);
    out->retired = atomic_load_explicit(&c->n_retired, memory_order_relaxed);
    out->evictions = atomic_load_explicit(&c->n_evictions, memory_order_relaxed);
    out->chained = atomic_load_explicit(&c->n_chained, memory_order_relaxed);
    out->unchained = atomic_load_explicit(&c->n_unchained, memory_order_relaxed);
    out->reclaimed = atomic_load_explicit(&c->n_reclaimed, memory_order_relaxed);
    out->full = atomic_load_explicit(&c->n_full, memory_order_relaxed);
    out->arenas = c->arena_count;
    pthread_mutex_lock(&c->lock);
    for (uint32_t i = 0; i < c->arena_count; i++)
        out->blocks_live += cc_arena_live(&c->arenas[i]);
    out->published = c->gone_published;
    out->host_bytes = c->gone_host_bytes;
    for (uint32_t i = 0; i < c->thread_max; i++)
        if (c->threads[i]) {
            out->published +=
                atomic_load_explicit(&c->threads[i]->n_published, memory_order_relaxed);
            out->host_bytes +=
                atomic_load_explicit(&c->threads[i]->n_host_bytes, memory_order_relaxed);
        }
    out->arenas_free = c->free_count;
    out->arenas_retiring = c->retiring_count;
    out->spaces = c->space_count;
    out->spaces_unused = c->unused_count;
    pthread_mutex_unlock(&c->lock);
}
