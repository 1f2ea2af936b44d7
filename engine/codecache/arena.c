/* Arenas: the unit that is filled, evicted and reclaimed. */
#include "engine/base/os.h"
#include "engine/codecache/internal.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/membarrier.h>

res_code_t cc_arenas_init(struct cc_cache *c, struct err *err)
{
    uint32_t granules = ALIGN_UP(c->arena_bytes, 1u << GRANULE_BITS) >> GRANULE_BITS;
    c->arenas = calloc(c->arena_count, sizeof *c->arenas);
    /* Not from the heap, which would clear it: only what the arenas in use need of it is ever touched. */
    c->index_bytes = (size_t)c->arena_count * granules * sizeof *c->index;
    c->index = mmap(NULL, c->index_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (c->index == MAP_FAILED)
        c->index = NULL;
    if (!c->arenas || !c->index)
        return err_set(err, ERR_NO_MEMORY, "code cache arenas");
    for (uint32_t i = 0; i < c->arena_count; i++) {
        struct cc_arena *a = &c->arenas[i];
        a->cache = c;
        a->off = c->arenas_off + i * c->arena_bytes;
        a->index = c->index + (size_t)i * granules;
        arena_init(&a->meta, 0);
        a->meta.populate = true;
        list_append(&c->free, &a->link);
    }
    c->free_count = c->arena_count;
    return OK;
}

void cc_arenas_fini(struct cc_cache *c)
{
    for (uint32_t i = 0; c->arenas && i < c->arena_count; i++)
        arena_fini(&c->arenas[i].meta);
    free(c->arenas);
    if (c->index)
        munmap(c->index, c->index_bytes);
}

struct cc_arena *cc_arena_of(const struct cc_cache *c, uint32_t off)
{
    if (off < c->arenas_off)
        return NULL;
    uint32_t i = (off - c->arenas_off) / c->arena_bytes;
    return i < c->arena_count ? &c->arenas[i] : NULL;
}

/* Thread: the owner. What is behind a granule's last block is published by the release store that makes it the last. */
void cc_arena_append(struct cc_arena *a, struct cc_block *b)
{
    b->before = a->last;
    a->last = b;
    uint32_t first = b->host_off - a->off, last = first + b->host_bytes - 1;
    for (uint32_t i = first >> GRANULE_BITS; i <= last >> GRANULE_BITS; i++)
        atomic_store_explicit(&a->index[i], b, memory_order_release);
}

struct cc_block *cc_find_host(struct cc_cache *c, uint32_t off)
{
    struct cc_arena *a = cc_arena_of(c, off);
    if (!a)
        return NULL;
    struct cc_block *b =
        atomic_load_explicit(&a->index[(off - a->off) >> GRANULE_BITS], memory_order_acquire);
    while (b && b->host_off > off)
        b = b->before;
    return b && off - b->host_off < b->host_bytes ? b : NULL;
}

void cc_arena_close(struct cc_thread *t)
{
    struct cc_cache *c = t->cache;
    struct cc_arena *a = t->open;
    if (!a)
        return;
    t->open = NULL;
    pthread_mutex_lock(&c->lock);
    a->state = ARENA_FULL;
    list_append(&c->full, &a->link);
    pthread_mutex_unlock(&c->lock);
}

/* Retire all blocks of a full arena. cache.lock is held, so no space goes away: a space is destroyed under that lock,
 * after its blocks were retired. */
static void evict(struct cc_cache *c, struct cc_arena *a)
{
    for (struct cc_block *b = a->last; b; b = b->before) {
        if (atomic_load_explicit(&b->retired, memory_order_acquire))
            continue;
        pthread_mutex_lock(&b->space->lock);
        cc_retire_locked(b->space, b);
        pthread_mutex_unlock(&b->space->lock);
    }
    list_remove(&a->link);
    list_append(&c->retiring, &a->link);
    a->state = ARENA_RETIRING;
    c->retiring_count++;
    a->retire_epoch = atomic_fetch_add(&c->epoch, 1) + 1;
    cc_count(&c->n_evictions, 1);
}

/* The coldest full arena: one whose blocks are all retired, else the oldest that was not looked up since it last stood
 * here. */
static struct cc_arena *coldest(struct cc_cache *c)
{
    list_for_each(l, &c->full)
    {
        struct cc_arena *a = list_entry(l, struct cc_arena, link);
        if (!cc_arena_live(a))
            return a;
    }
    list_for_each_safe(l, &c->full)
    {
        struct cc_arena *a = list_entry(l, struct cc_arena, link);
        if (!atomic_exchange_explicit(&a->touched, false, memory_order_relaxed))
            return a;
        list_remove(&a->link); /* second chance */
        list_append(&c->full, &a->link);
        if (l_next == &c->full)
            break;
    }
    return list_empty(&c->full) ? NULL : list_entry(c->full.next, struct cc_arena, link);
}

static bool all_past(const struct cc_cache *c, uint64_t epoch)
{
    for (uint32_t i = 0; i < c->thread_max; i++) {
        struct cc_thread *t = c->threads[i];
        uint64_t e = t ? atomic_load(&t->epoch) : 0;
        if (e && e < epoch)
            return false;
    }
    return true;
}

static void nudge_laggards(struct cc_cache *c, uint64_t epoch, const struct cc_thread *but)
{
    for (uint32_t i = 0; i < c->thread_max; i++) {
        struct cc_thread *t = c->threads[i];
        uint64_t e = t && t != but ? atomic_load(&t->epoch) : 0;
        if (e && e < epoch && t->nudge)
            t->nudge(t->nudge_ctx);
    }
}

/* Code is about to be written where other code ran: every core must forget what it fetched ahead (SDM 8.1.3). */
static void sync_cores(void)
{
    static _Atomic int registered;
    if (!atomic_load(&registered)) {
        syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
        atomic_store(&registered, 1);
    }
    /* A kernel without it: x86 cores snoop stores to code by physical address, which is enough in practice. */
    syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
}

/* but: a thread that is not nudged, because it is the caller */
static bool reclaim_locked(struct cc_cache *c, bool nudge, const struct cc_thread *but)
{
    bool synced = false;
    list_for_each_safe(l, &c->retiring)
    {
        struct cc_arena *a = list_entry(l, struct cc_arena, link);
        if (!all_past(c, a->retire_epoch) ||
            cc_arena_live(a)) { /* or being retired, outside any epoch */
            if (nudge)
                nudge_laggards(c, a->retire_epoch, but);
            break; /* those behind it were retired later */
        }
        if (!synced)
            sync_cores();
        synced = true;
        arena_fini(&a->meta);
        for (uint32_t i = 0; i << GRANULE_BITS < c->arena_bytes; i++)
            atomic_store_explicit(&a->index[i], NULL, memory_order_relaxed);
        a->last = NULL;
        atomic_store(&a->published, 0);
        atomic_store(&a->retired, 0);
        a->used_bytes = 0;
        a->state = ARENA_FREE;
        list_remove(&a->link);
        list_append(&c->free, &a->link);
        c->free_count++;
        c->retiring_count--;
        cc_count(&c->n_reclaimed, 1);
    }
    pthread_mutex_lock(&c->defer_lock);
    for (struct deferred **at = &c->deferred; *at;) {
        struct deferred *d = *at;
        if (all_past(c, d->epoch)) {
            *at = d->next;
            free(d);
        } else {
            if (nudge && at == &c->deferred) /* the youngest: the others were before it */
                nudge_laggards(c, d->epoch, but);
            at = &d->next;
        }
    }
    bool none = !c->deferred;
    pthread_mutex_unlock(&c->defer_lock);
    return none && list_empty(&c->retiring);
}

bool cc_reclaim(struct cc_cache *c, bool nudge)
{
    pthread_mutex_lock(&c->lock);
    bool none = reclaim_locked(c, nudge, NULL);
    pthread_mutex_unlock(&c->lock);
    return none;
}

void cc_defer_free(struct cc_cache *c, struct deferred *d)
{
    pthread_mutex_lock(&c->defer_lock);
    d->epoch = atomic_fetch_add(&c->epoch, 1) + 1;
    d->next = c->deferred;
    c->deferred = d;
    pthread_mutex_unlock(
        &c->defer_lock); /* the translator thread frees it when it is awake for something else */
}

/* How many arenas should be free or on their way: enough to go on while the translator thread wakes up. */
static uint32_t want_free(const struct cc_cache *c)
{
    return MIN(MAX(c->arena_count / 8, 1u), 8u);
}

void cc_evict_ahead(struct cc_cache *c)
{
    pthread_mutex_lock(&c->lock);
    while (c->free_count + c->retiring_count < want_free(c)) {
        struct cc_arena *a = coldest(c);
        if (!a)
            break;
        evict(c, a);
    }
    reclaim_locked(c, true, NULL);
    pthread_mutex_unlock(&c->lock);
}

static bool open_arena(struct cc_thread *t)
{
    struct cc_cache *c = t->cache;
    pthread_mutex_lock(&c->lock);
    if (list_empty(&c->free))
        reclaim_locked(c, true, t);
    if (list_empty(&c->free) && !c->retiring_count) {
        struct cc_arena *a = coldest(c);
        if (a)
            evict(c, a);
        reclaim_locked(c, true, t); /* at once if nobody is inside, which excludes us */
    }
    if (!list_empty(&c->free)) {
        struct cc_arena *a = list_entry(c->free.next, struct cc_arena, link);
        list_remove(&a->link);
        c->free_count--;
        a->state = ARENA_OPEN;
        t->open = a;
    } else
        cc_count(&c->n_full, 1);
    bool low = c->free_count + c->retiring_count < want_free(c) || c->retiring_count;
    pthread_mutex_unlock(&c->lock);
    if (low && c->work)
        c->work(c->work_ctx);
    return t->open;
}

#define TAKE_BYTES ((uint32_t)16 << 10)

/* The next block is written and then run here: have its pages, and some more, by one call for each view. */
static void take_pages(struct cc_cache *c, struct cc_arena *a, uint32_t bytes)
{
    uint32_t want = MIN(a->used_bytes + bytes, c->arena_bytes);
    if (want <= a->taken_bytes)
        return;
    uint32_t at = a->off + a->taken_bytes, end = MIN(ALIGN_UP(want, TAKE_BYTES), c->arena_bytes);
    os_populate(cc_writable(c, at), end - a->taken_bytes, true);
    os_populate((void *)(uintptr_t)cc_host(c, at), end - a->taken_bytes, false);
    a->taken_bytes = end;
}

bool cc_reserve(struct cc_thread *t, uint32_t bytes_min, struct cc_slot *out)
{
    ASSERT(!t->reserved);
    struct cc_cache *c = t->cache;
    if (bytes_min > c->arena_bytes)
        return false;
    if (t->open && c->arena_bytes - t->open->used_bytes < bytes_min)
        cc_arena_close(t);
    if (!t->open && !open_arena(t))
        return false;
    struct cc_arena *a = t->open;
    take_pages(c, a, bytes_min);
    *out = (struct cc_slot){cc_writable(c, a->off + a->used_bytes), c->arena_bytes - a->used_bytes,
                            a->off + a->used_bytes};
    t->reserved = true;
    return true;
}

bool cc_reserve_fresh(struct cc_thread *t, struct cc_slot *out)
{
    return cc_reserve(t, t->cache->arena_bytes, out);
}

void cc_abandon(struct cc_thread *t)
{
    ASSERT(t->reserved);
    t->reserved = false;
}

/* ---- epochs ---- */

void cc_enter(struct cc_thread *t)
{
    /* Sequentially consistent: the lookups behind it must not be done before others can see that we are inside. */
    atomic_store(&t->epoch, atomic_load_explicit(&t->cache->epoch, memory_order_acquire));
}

void cc_safe_point(struct cc_thread *t)
{
    uint64_t now = atomic_load_explicit(&t->cache->epoch, memory_order_acquire);
    if (now != atomic_load_explicit(&t->epoch, memory_order_relaxed))
        atomic_store(&t->epoch, now);
}

void cc_leave(struct cc_thread *t)
{
    atomic_store_explicit(&t->epoch, 0, memory_order_release);
}

void cc_quiesce(struct cc_cache *c, struct cc_thread *t)
{
    uint64_t epoch = atomic_fetch_add(&c->epoch, 1) + 1;
    for (unsigned turn = 0;; turn++) {
        bool past = true;
        pthread_mutex_lock(&c->lock);
        for (uint32_t i = 0; i < c->thread_max; i++) {
            uint64_t e =
                c->threads[i] && c->threads[i] != t ? atomic_load(&c->threads[i]->epoch) : 0;
            past &= !e || e >= epoch;
        }
        if (!past)
            nudge_laggards(c, epoch, t);
        pthread_mutex_unlock(&c->lock);
        if (past)
            return;
        if (turn < 8)
            for (unsigned spin = 0; spin < 100; spin++)
                __builtin_ia32_pause();
        else
            usleep(50);
    }
}
