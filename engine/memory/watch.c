/*
 * memory/watch.c - which pages hold translated code, the host protections that follow, and faults.
 *
 * A space remembers its watched pages; they lie in executable maps only. A memory object remembers its watched pages too:
 * a write through any shared map of them, or by the emulator, marks the page dirty in every space that maps it executable, as
 * processes with equal code-space keys run code that only one of them had translated.
 */
#include "engine/memory/internal.h"

#include <stdlib.h>
#include <sys/mman.h>

/* ---- protections ---- */

static bool is_watched(const struct page_set *t, uint64_t page)
{
    const struct page_entry *e = mem_pages_find(t, page);
    return e && (e->state & PAGE_WATCHED);
}

/* Could a page of m be kept from being written? */
static bool may_be_watched(const struct map *m)
{
    return (m->prot & MEM_W) && (((m->prot & MEM_X) && m->space->watch.len) ||
                                 ((m->flags & MEM_SHARED) && m->object->watched.len));
}

static bool page_restricted(const struct map *m, gva_t a)
{
    if (is_watched(&m->space->watch, a >> PAGE_BITS))
        return true;
    return (m->flags & MEM_SHARED) &&
           is_watched(&m->object->watched, object_offset_of(m, a) >> PAGE_BITS);
}

static bool beyond_end(const struct map *m, gva_t a)
{
    return m->object && object_offset_of(m, a) >> PAGE_BITS >= mem_object_end_page(m->object);
}

int mem_host_prot(const struct map *m, gva_t a)
{
    if (!m->prot || beyond_end(m, a))
        return PROT_NONE;
    bool w = (m->prot & MEM_W) && !(may_be_watched(m) && page_restricted(m, a));
    return PROT_READ | (w ? PROT_WRITE : 0);
}

/* Neighbours with the same protection become one host call. */
struct run {
    struct mem_space *space;
    gva_t lo, hi;
    int prot;
};

static void run_add(struct run *r, gva_t lo, gva_t hi, int prot)
{
    if (lo >= hi)
        return;
    if (r->hi != lo || r->prot != prot || r->lo == r->hi) {
        mem_host_protect(r->space, r->lo, r->hi, r->prot);
        r->lo = lo;
        r->prot = prot;
    }
    r->hi = hi;
}

void mem_apply_locked(struct mem_space *s, gva_t lo, gva_t hi)
{
    struct run r = {.space = s};
    for (struct map *m = mem_tree_find(s, lo); m && m->start < hi; m = mem_tree_find(s, m->end)) {
        gva_t a = MAX(lo, m->start), b = MIN(hi, m->end), file_end = b, host_end = b;
        if (m->object) {
            uint64_t bytes = mem_object_end_page(m->object) << PAGE_BITS, cap = m->object->capacity;
            file_end = bytes <= m->offset ? a : MIN(b, MAX(a, m->start + (bytes - m->offset)));
            host_end = cap <= m->offset ? a : MIN(b, MAX(a, m->start + (cap - m->offset)));
        }
        if (may_be_watched(m)) {
            for (gva_t page = a; page < file_end; page += PAGE_SIZE)
                run_add(&r, page, page + PAGE_SIZE, mem_host_prot(m, page));
        } else if (a < file_end) {
            run_add(&r, a, file_end, mem_host_prot(m, a));
        }
        run_add(&r, file_end, host_end, PROT_NONE);
    }
    mem_host_protect(s, r.lo, r.hi, r.prot);
}

/* ---- dirt ---- */

static void set_split(struct mem_space *s, struct page_entry *e, bool on)
{
    if (on == !!(e->state & PAGE_SPLIT))
        return;
    e->state ^= PAGE_SPLIT;
    s->pool->host_maps += on ? COST_SPLIT : (uint64_t)-COST_SPLIT;
}

/* Bookkeeping only; the caller lifts the protection. */
void mem_mark_dirty_locked(struct mem_space *s, uint64_t page)
{
    struct page_entry *e = mem_pages_add(&s->watch, page);
    if (e && s->dirty_len == s->dirty_cap && !(e->state & PAGE_DIRTY)) {
        size_t cap = MAX(s->dirty_cap * 2, (size_t)16);
        uint64_t *more = realloc(s->dirty, cap * sizeof *more);
        if (more) {
            s->dirty = more;
            s->dirty_cap = cap;
        }
    }
    s->pool->stats.dirtied++;
    if (e && !(e->state & PAGE_DIRTY) && s->dirty_len < s->dirty_cap) {
        s->dirty[s->dirty_len++] = page;
        e->state |= PAGE_DIRTY;
    }
    if (!e || !(e->state & PAGE_DIRTY))
        s->dirty_all = true;
    if (e) {
        set_split(s, e, false);
        if ((e->state & PAGE_WATCHED) && ++e->count > HOT_COUNT && !(e->state & PAGE_HOT)) {
            e->state |= PAGE_HOT;
            s->pool->stats.hot++;
        }
        e->state &= (uint8_t)~PAGE_WATCHED;
    }
    atomic_store_explicit(&s->dirty_any, true, memory_order_release);
}

/* A page of a memory object is about to change: everybody who may run code from it. */
static void object_page_dirty(struct mem_object *o, uint64_t page)
{
    mem_pages_remove(&o->watched, page);
    mem_object_recost_locked(o);
    o->wgen = mem_unique();
    list_for_each(at, &o->maps)
    {
        struct map *m = list_entry(at, struct map, in_object);
        uint64_t first = m->offset >> PAGE_BITS;
        if (page < first || page - first >= (m->end - m->start) >> PAGE_BITS)
            continue;
        gva_t a = m->start + ((page - first) << PAGE_BITS);
        if (m->prot & MEM_X)
            mem_mark_dirty_locked(m->space, a >> PAGE_BITS);
        if (m->prot & MEM_W) {
            m->space->pool->stats.lifted++;
            mem_apply_locked(m->space, a, a + PAGE_SIZE);
        }
    }
}

void mem_will_write_locked(struct mem_object *o, uint64_t off, uint64_t n)
{
    if (!o->watched.len || !n)
        return;
    uint64_t lo = off >> PAGE_BITS, hi = (off + n - 1) / PAGE_SIZE + 1, page;
    size_t i = 0;
    while ((page = mem_pages_next(&o->watched, lo, hi, &i)) != UINT64_MAX) {
        object_page_dirty(
            o, page); /* which takes it out of the set: another may have come to its place */
        i--;
    }
}

void mem_will_write(struct mem_object *o, uint64_t off, uint64_t n)
{
    pool_lock(o->pool);
    if (off + n > off)
        mem_will_write_locked(o, off, n);
    pool_unlock(o->pool);
}

void mem_mark_range_locked(struct mem_space *s, gva_t lo, gva_t hi)
{
    size_t i = 0;
    uint64_t page;
    while ((page = mem_pages_next(&s->watch, lo >> PAGE_BITS, hi >> PAGE_BITS, &i)) != UINT64_MAX) {
        if (is_watched(&s->watch, page))
            mem_mark_dirty_locked(s, page); /* is in the set, so the set does not move */
    }
    mem_apply_locked(s, lo, hi);
}

void mem_watch_drop_locked(struct mem_space *s, gva_t lo, gva_t hi)
{
    size_t i = 0;
    uint64_t page;
    while ((page = mem_pages_next(&s->watch, lo >> PAGE_BITS, hi >> PAGE_BITS, &i)) != UINT64_MAX) {
        struct page_entry *e = mem_pages_find(&s->watch, page);
        set_split(s, e, false);
        if (e->state & PAGE_DIRTY) { /* still on the list */
            e->state = PAGE_DIRTY;
            e->count = 0;
            continue;
        }
        mem_pages_remove(&s->watch, page);
        i--;
    }
}

/* After maps became writable: count the cuts that their watched pages make, or give the watch up where the budget ends. */
void mem_watch_recount_locked(struct mem_space *s, gva_t lo, gva_t hi)
{
    size_t i = 0;
    uint64_t page;
    while ((page = mem_pages_next(&s->watch, lo >> PAGE_BITS, hi >> PAGE_BITS, &i)) != UINT64_MAX) {
        struct page_entry *e = mem_pages_find(&s->watch, page);
        const struct map *m = mem_tree_find(s, page << PAGE_BITS);
        bool cuts =
            (e->state & PAGE_WATCHED) && m && m->start <= page << PAGE_BITS && (m->prot & MEM_W);
        if (cuts && !(e->state & PAGE_SPLIT) &&
            s->pool->host_maps + COST_SPLIT > s->pool->config.maps) {
            mem_mark_dirty_locked(s, page);
            mem_apply_locked(s, page << PAGE_BITS, (page + 1) << PAGE_BITS);
        } else {
            set_split(s, e, cuts);
        }
    }
}

bool mem_dirty_any(struct mem_space *s)
{
    return atomic_load_explicit(&s->dirty_any, memory_order_acquire);
}

static void take_all(struct mem_space *s, void (*f)(void *ctx, gva_t page), void *ctx)
{
    for (struct map *m = mem_tree_find(s, 0); m; m = mem_tree_find(s, m->end)) {
        for (gva_t a = m->start; a < m->end && (m->prot & MEM_X); a += PAGE_SIZE)
            f(ctx, a);
    }
}

void mem_dirty_take(struct mem_space *s, void (*f)(void *ctx, gva_t page), void *ctx)
{
    if (!mem_dirty_any(s))
        return;
    pool_lock(s->pool);
    for (size_t i = 0; i < s->dirty_len; i++) {
        struct page_entry *e = mem_pages_find(&s->watch, s->dirty[i]);
        if (!e)
            continue;
        e->state &= (uint8_t)~PAGE_DIRTY;
        if (!e->state && !e->count) /* unmapped since */
            mem_pages_remove(&s->watch, s->dirty[i]);
    }
    size_t n = s->dirty_len;
    s->dirty_len = 0;
    atomic_store_explicit(&s->dirty_any, false, memory_order_release);
    if (s->dirty_all) {
        s->dirty_all = false;
        take_all(s, f, ctx);
    } else {
        for (size_t i = 0; i < n; i++)
            f(ctx, s->dirty[i] << PAGE_BITS);
    }
    pool_unlock(s->pool);
}

/* ---- the watch ---- */

static enum mem_watch watch_locked(struct mem_space *s, gva_t a)
{
    struct mem_pool *p = s->pool;
    struct map *m = mem_tree_find(s, a);
    if (!m || m->start > a || !(m->prot & MEM_X) || beyond_end(m, a))
        return MEM_WATCH_FAULT;
    uint64_t page = a >> PAGE_BITS;
    struct mem_object *o = m->object && !m->object->image ? m->object : NULL;
    struct page_entry *e = mem_pages_add(&s->watch, page);
    if (!e || (e->state & PAGE_HOT))
        return MEM_WATCH_HOT;
    uint64_t object_page = o ? object_offset_of(m, a) >> PAGE_BITS : 0;
    bool here = e->state & PAGE_WATCHED, there = !o || is_watched(&o->watched, object_page);
    if (here && there)
        return MEM_WATCH_OK;
    uint64_t cost =
        (!here && (m->prot & MEM_W) ? COST_SPLIT : 0) + (there ? 0 : COST_SPLIT * o->shared_maps);
    if (p->host_maps + cost > p->config.maps || ((m->prot & MEM_W) && !mem_map_anchor_locked(m)))
        return MEM_WATCH_HOT;
    if (!there) {
        struct page_entry *oe = mem_pages_add(&o->watched, object_page);
        if (!oe)
            return MEM_WATCH_HOT;
        oe->state = PAGE_WATCHED;
        mem_object_recost_locked(o);
    }
    e->state |= PAGE_WATCHED;
    set_split(s, e, m->prot & MEM_W);
    p->stats.watched++;
    if ((m->prot & MEM_W))
        mem_apply_locked(s, a, a + PAGE_SIZE);
    if (!there && o->shared_maps) {
        list_for_each(at, &o->maps)
        {
            const struct map *other = list_entry(at, struct map, in_object);
            uint64_t first = other->offset >> PAGE_BITS;
            if (!(other->flags & MEM_SHARED) || !(other->prot & MEM_W) || object_page < first ||
                object_page - first >= (other->end - other->start) >> PAGE_BITS)
                continue;
            gva_t b = other->start + ((object_page - first) << PAGE_BITS);
            mem_apply_locked(other->space, b, b + PAGE_SIZE);
        }
    }
    return MEM_WATCH_OK;
}

enum mem_watch mem_watch_page(struct mem_space *s, gva_t page)
{
    if (page >= s->bytes)
        return MEM_WATCH_FAULT;
    pool_lock(s->pool);
    enum mem_watch w = watch_locked(s, ALIGN_DOWN(page, PAGE_SIZE));
    pool_unlock(s->pool);
    return w;
}

/* ---- faults ---- */

static enum mem_fault fault_locked(struct mem_space *s, gva_t a, bool write)
{
    s->pool->stats.faults++;
    struct map *m = mem_tree_find(s, a);
    if (!m || m->start > a || !m->prot || (write && !(m->prot & MEM_W)))
        return MEM_FAULT_PAGE;
    if (beyond_end(m, a))
        return MEM_FAULT_BUS;
    a = ALIGN_DOWN(a, PAGE_SIZE);
    if (write && may_be_watched(m) && page_restricted(m, a)) {
        struct mem_object *o = m->flags & MEM_SHARED ? m->object : NULL;
        uint64_t object_page = o ? object_offset_of(m, a) >> PAGE_BITS : 0;
        if (o && is_watched(&o->watched, object_page)) {
            object_page_dirty(o, object_page);
        } else {
            s->pool->stats.lifted++;
            mem_mark_dirty_locked(s, a >> PAGE_BITS);
            mem_apply_locked(s, a, a + PAGE_SIZE);
        }
        return MEM_FAULT_RETRY;
    }
    /* Allowed: somebody else changed it meanwhile, or the host cannot bring the page in. */
    return mem_probe(host_of(s, a), write) ? MEM_FAULT_RETRY : MEM_FAULT_BUS;
}

enum mem_fault mem_fault(struct mem_space *s, gva_t a, bool write)
{
    if (a >= s->bytes)
        return a < s->bytes + WINDOW_GUARD || a >= -(gva_t)WINDOW_GUARD ? MEM_FAULT_PAGE
                                                                        : MEM_FAULT_NOT_OURS;
    pool_lock(s->pool);
    enum mem_fault f = fault_locked(s, a, write);
    pool_unlock(s->pool);
    return f;
}

enum mem_fault mem_fetch_fault(struct mem_space *s, gva_t pc)
{
    enum mem_fault f = MEM_FAULT_PAGE;
    pool_lock(s->pool);
    const struct map *m = mem_tree_find(s, pc);
    if (m && m->start <= pc && (m->prot & MEM_X))
        f = beyond_end(m, pc) || !mem_probe(host_of(s, pc), false) ? MEM_FAULT_BUS
                                                                   : MEM_FAULT_RETRY;
    pool_unlock(s->pool);
    return f;
}
