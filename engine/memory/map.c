/* memory/map.c - mmap, munmap, mprotect, madvise, msync. */
#include "engine/memory/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

/* ---- what the code side hears ---- */

void mem_exec_gone_locked(struct mem_space *s, gva_t lo, gva_t hi)
{
    if (s->hooks.exec_gone)
        s->hooks.exec_gone(s->hooks.ctx, lo, hi);
}

void mem_exec_changed_locked(struct mem_space *s)
{
    atomic_store_explicit(&s->exec_gen, mem_unique(), memory_order_release);
    if (s->hooks.exec_changed)
        s->hooks.exec_changed(s->hooks.ctx);
}

/* ---- limits ---- */

bool mem_range_ok(const struct mem_space *s, gva_t a, uint64_t len)
{
    return a >= WINDOW_LOW && a <= space_top(s) && len <= space_top(s) - a;
}

bool mem_budget_for(struct mem_pool *p, uint64_t maps)
{
    return p->host_maps + maps <= p->config.maps;
}

bool mem_commit_for(struct mem_pool *p, uint64_t bytes)
{
    return bytes <= p->config.commit_bytes &&
           atomic_load_explicit(&p->committed, memory_order_relaxed) <=
               p->config.commit_bytes - bytes;
}

/* Cut at a, if a map lies across. */
static bool cut(struct mem_space *s, gva_t a)
{
    struct map *m = mem_tree_find(s, a);
    return !m || m->start >= a || mem_map_split_locked(m, a);
}

uint64_t mem_map_cost(const struct mem_object *o, int flags)
{
    if (!o)
        return COST_ANON;
    return COST_OBJECT + (flags & MEM_SHARED ? COST_SPLIT * o->watched.len : 0);
}

static uint64_t cut_cost(const struct mem_space *s, gva_t a)
{
    const struct map *m = mem_tree_find(s, a);
    return m && m->start < a ? mem_map_cost(m->object, m->flags) : 0;
}

/* What the cuts at both ends cost. */
static uint64_t cuts_cost(struct mem_space *s, gva_t lo, gva_t hi)
{
    return cut_cost(s, lo) + cut_cost(s, hi);
}

/* ---- munmap ---- */

/* Out of the books and the host, with the code side told. Nothing lies across lo and hi. True: something executable went. */
static bool forget(struct mem_space *s, gva_t lo, gva_t hi)
{
    bool exec = false;
    for (struct map *m = mem_tree_find(s, lo); m && m->start < hi; m = mem_tree_find(s, lo)) {
        gva_t a = m->start, b = m->end;
        bool pages = m->object || m->wrote || m->prot;
        if (m->prot & MEM_X) {
            exec = true;
            mem_exec_gone_locked(s, a, b);
            mem_watch_drop_locked(s, a, b);
        }
        mem_map_remove_locked(m);
        mem_host_reserve(s, a, b, pages);
        lo = b;
    }
    return exec;
}

int mem_unmap_locked(struct mem_space *s, gva_t lo, gva_t hi)
{
    if (!mem_budget_for(s->pool, cuts_cost(s, lo, hi)) || !cut(s, lo) || !cut(s, hi))
        return -ENOMEM;
    if (forget(s, lo, hi))
        mem_exec_changed_locked(s);
    return 0;
}

int mem_unmap(struct mem_space *s, gva_t addr, uint64_t len)
{
    if (addr % PAGE_SIZE || !len || len > s->bytes)
        return -EINVAL;
    len = ALIGN_UP(len, PAGE_SIZE);
    if (addr > s->bytes || len > s->bytes - addr)
        return -EINVAL;
    pool_lock(s->pool);
    int rc = mem_unmap_locked(s, addr, addr + len);
    pool_unlock(s->pool);
    return rc;
}

/* ---- mmap ---- */

/* As Linux: the hint if it is free, else the highest place below the stack's area, else anywhere. */
static bool find_place(struct mem_space *s, gva_t hint, uint64_t len, gva_t *out)
{
    gva_t top = space_top(s), base = top - STACK_AREA;
    if (hint && mem_range_ok(s, hint, len)) {
        const struct map *m = mem_tree_find(s, hint);
        if (!m || m->start >= hint + len) {
            *out = hint;
            return true;
        }
    }
    return mem_tree_gap(s, WINDOW_LOW, base, len, out) ||
           mem_tree_gap(s, WINDOW_LOW, top, len, out);
}

/* Bytes of private writable memory that go when [lo, hi) is replaced. */
static uint64_t charge_in(struct mem_space *s, gva_t lo, gva_t hi)
{
    uint64_t sum = 0;
    for (const struct map *m = mem_tree_find(s, lo); m && m->start < hi;
         m = mem_tree_find(s, m->end)) {
        if (m->wrote && !(m->flags & MEM_STACK))
            sum += MIN(m->end, hi) - MAX(m->start, lo);
    }
    return sum;
}

int64_t mem_map_locked(struct mem_space *s, gva_t addr, uint64_t len, int prot, int flags,
                       struct mem_object *o, uint64_t offset, struct mem_name *name)
{
    struct mem_pool *p = s->pool;
    bool fixed = flags & (MEM_FIXED | MEM_NOREPLACE), shared = flags & MEM_SHARED;
    if (!fixed && !find_place(s, ALIGN_DOWN(addr, PAGE_SIZE), len, &addr))
        return -ENOMEM;
    gva_t end = addr + len;
    struct map *there = mem_tree_find(s, addr);
    bool replaces = there && there->start < end;
    if (replaces && (flags & MEM_NOREPLACE))
        return -EEXIST;
    if ((flags & MEM_STACK) && (s->stack_bytes || !(flags & MEM_GROWSDOWN) || len > STACK_MAX))
        flags &= ~MEM_STACK;
    struct map *m = mem_map_record(s, addr, end, prot, flags, o, offset, name);
    if (!m)
        return -ENOMEM;
    uint64_t need = mem_map_charge(m), gain = replaces && need ? charge_in(s, addr, end) : 0;
    uint64_t cost = mem_map_cost(o, flags) + (replaces ? cuts_cost(s, addr, end) : 0);
    bool fits = mem_budget_for(p, cost) && (need <= gain || mem_commit_for(p, need - gain));
    if (fits && o && shared && (prot & MEM_W))
        fits = mem_object_charge_locked(o, offset + len);
    if (!fits || (replaces && (!cut(s, addr) || !cut(s, end)))) {
        mem_map_record_free(m);
        return -ENOMEM;
    }
    bool exec = (prot & MEM_X) != 0;
    if (replaces && forget(s, addr, end))
        exec = true;
    mem_map_insert_locked(m);
    if (!mem_map_host_locked(m, false)) {
        mem_map_remove_locked(m);
        if (exec)
            mem_exec_changed_locked(s);
        return -ENOMEM;
    }
    if (flags & MEM_STACK)
        s->stack_bytes = len;
    mem_map_merge_locked(m);
    if (exec)
        mem_exec_changed_locked(s);
    return (int64_t)addr;
}

int64_t mem_map(struct mem_space *s, gva_t addr, uint64_t len, int prot, int flags,
                struct mem_object *o, uint64_t offset, const char *text)
{
    if (!len || offset % PAGE_SIZE)
        return -EINVAL;
    if (len > s->bytes)
        return -ENOMEM;
    len = ALIGN_UP(len, PAGE_SIZE);
    if (offset > INT64_MAX - len)
        return -EOVERFLOW;
    if (flags & (MEM_FIXED | MEM_NOREPLACE)) {
        if (addr % PAGE_SIZE)
            return -EINVAL;
        if (addr < WINDOW_LOW)
            return -EPERM;
        if (!mem_range_ok(s, addr, len))
            return -ENOMEM;
    }
    if (o && o->image && (flags & MEM_SHARED) && (prot & MEM_W))
        return -EACCES;
    struct mem_object *own = NULL;
    if (!o && (flags & MEM_SHARED)) { /* shared anonymous memory lives as long as a map of it */
        if (mem_object_memory(s->pool, len, &own, NULL) != OK)
            return -ENOMEM;
        o = own;
        offset = 0;
    }
    pool_lock(s->pool);
    struct mem_name *name = mem_name_new(text);
    int64_t rc = mem_map_locked(s, addr, len, prot, flags, o, offset, name);
    mem_name_put(name);
    pool_unlock(s->pool);
    mem_object_put(own);
    return rc;
}

/* ---- mprotect ---- */

struct change {
    gva_t end; /* how far it is mapped and allowed */
    uint64_t commit;
    bool gone;
    int rc;
};

/* What setting prot on [lo, hi) would mean. */
static struct change plan_protect(struct mem_space *s, gva_t lo, gva_t hi, int prot)
{
    struct change c = {.end = lo};
    for (struct map *m = mem_tree_find(s, lo); c.end < hi; m = mem_tree_find(s, m->end)) {
        if (!m || m->start > c.end) {
            c.rc = -ENOMEM;
            return c;
        }
        bool shared = m->flags & MEM_SHARED;
        if ((prot & MEM_W) && shared && (m->object->image || (m->flags & MEM_NOWRITE))) {
            c.rc = -EACCES;
            return c;
        }
        uint64_t bytes = MIN(m->end, hi) - MAX(m->start, lo);
        if ((prot & MEM_W) && !shared && !m->wrote)
            c.commit += m->flags & MEM_STACK ? MIN(bytes, STACK_CHARGE) : bytes;
        if ((prot & MEM_W) && shared &&
            !mem_object_charge_locked(m->object, object_offset_of(m, MIN(m->end, hi)))) {
            c.rc = -ENOMEM;
            return c;
        }
        c.gone |= (m->prot & MEM_X) && !(prot & MEM_X);
        c.end = m->end;
    }
    return c;
}

static int protect_locked(struct mem_space *s, gva_t lo, gva_t hi, int prot)
{
    struct mem_pool *p = s->pool;
    struct map *m = mem_tree_find(s, lo);
    if (m && m->start <= lo && m->end >= hi && m->prot == prot)
        return 0;
    struct change c = plan_protect(s, lo, hi, prot);
    hi = MIN(hi, c.end);
    if (hi <= lo)
        return c.rc;
    if (!mem_commit_for(p, c.commit) || !mem_budget_for(p, cuts_cost(s, lo, hi)) || !cut(s, lo) ||
        !cut(s, hi))
        return -ENOMEM;
    bool changed = false;
    for (m = mem_tree_find(s, lo); m && m->start < hi; m = mem_tree_find(s, m->end)) {
        if (m->prot == prot)
            continue;
        uint64_t ident = m->ident;
        bool exec = m->prot & MEM_X;
        if (exec && !(prot & MEM_X)) {
            mem_exec_gone_locked(s, m->start, m->end);
            mem_watch_drop_locked(s, m->start, m->end);
        }
        mem_map_set_locked(m, prot, m->wrote || (!(m->flags & MEM_SHARED) && (prot & MEM_W)));
        changed |= exec != !!(prot & MEM_X) || (exec && ident != m->ident);
    }
    if ((prot & MEM_W) && s->watch.len)
        mem_watch_recount_locked(s, lo, hi);
    mem_apply_locked(s, lo, hi);
    for (m = mem_tree_find(s, lo); m && m->start < hi;) {
        gva_t next = mem_map_merge_locked(m)->end;
        m = mem_tree_find(s, next);
    }
    if (changed)
        mem_exec_changed_locked(s);
    return c.rc;
}

int mem_protect(struct mem_space *s, gva_t addr, uint64_t len, int prot)
{
    if (addr % PAGE_SIZE)
        return -EINVAL;
    if (!len)
        return 0;
    if (len > s->bytes || addr > s->bytes || ALIGN_UP(len, PAGE_SIZE) > s->bytes - addr)
        return -ENOMEM;
    pool_lock(s->pool);
    int rc = protect_locked(s, addr, addr + ALIGN_UP(len, PAGE_SIZE), prot);
    pool_unlock(s->pool);
    return rc;
}

/* ---- madvise, msync ---- */

static int each_mapped(struct mem_space *s, gva_t addr, uint64_t len, bool discard)
{
    if (addr % PAGE_SIZE)
        return -EINVAL;
    if (!len)
        return 0;
    if (len > s->bytes || addr > s->bytes || ALIGN_UP(len, PAGE_SIZE) > s->bytes - addr)
        return -ENOMEM;
    gva_t lo = addr, hi = addr + ALIGN_UP(len, PAGE_SIZE);
    int rc = 0;
    pool_lock(s->pool);
    for (struct map *m = mem_tree_find(s, lo);; m = mem_tree_find(s, m->end)) {
        if (!m || m->start > lo)
            rc = -ENOMEM;
        if (!m || m->start >= hi)
            break;
        gva_t a = MAX(lo, m->start), b = MIN(hi, m->end);
        if (discard && m->wrote) {
            if (m->prot & MEM_X)
                mem_mark_range_locked(s, a, b);
            mem_host_drop(s, a, b);
        }
        lo = m->end;
        if (lo >= hi)
            break;
    }
    pool_unlock(s->pool);
    return rc;
}

int mem_discard(struct mem_space *s, gva_t addr, uint64_t len)
{
    return each_mapped(s, addr, len, true);
}

int mem_sync(struct mem_space *s, gva_t addr, uint64_t len)
{
    return each_mapped(s, addr, len, false);
}
