/* memory/space.c - spaces, and their maps as records: making, cutting, merging, counting. */
#include "engine/memory/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ---- names ---- */

struct mem_name *mem_name_new(const char *text)
{
    if (!text || !*text)
        return NULL;
    size_t n = strlen(text);
    struct mem_name *name = malloc(sizeof *name + n + 1);
    if (!name)
        return NULL; /* only shown to people */
    name->refs = 1;
    memcpy(name->text, text, n + 1);
    return name;
}

struct mem_name *mem_name_get(struct mem_name *n)
{
    if (n)
        n->refs++;
    return n;
}

void mem_name_put(struct mem_name *n)
{
    if (n && --n->refs == 0)
        free(n);
}

static bool same_name(const struct mem_name *a, const struct mem_name *b)
{
    return a == b || (a && b && strcmp(a->text, b->text) == 0);
}

/* ---- maps ---- */

uint64_t mem_map_charge(const struct map *m)
{
    if (!m->wrote)
        return 0;
    uint64_t bytes = m->end - m->start;
    return m->flags & MEM_STACK ? MIN(bytes, STACK_CHARGE) : bytes;
}

struct map *mem_map_record(struct mem_space *s, gva_t lo, gva_t hi, int prot, int flags,
                           struct mem_object *o, uint64_t offset, struct mem_name *name)
{
    struct map *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->start = lo;
    m->end = hi;
    m->space = s;
    m->object = o;
    m->offset = o ? offset : 0;
    m->name = mem_name_get(name);
    m->flags = flags & (MEM_SHARED | MEM_GROWSDOWN | MEM_NORESERVE | MEM_STACK | MEM_NOWRITE);
    m->prot = prot;
    m->wrote = !(flags & MEM_SHARED) && (prot & MEM_W);
    if (o)
        mem_object_get(o);
    list_init(&m->in_object);
    return m;
}

static void count(struct map *m, int64_t sign)
{
    struct mem_space *s = m->space;
    s->pool->host_maps += (uint64_t)sign * (m->object ? COST_OBJECT : COST_ANON);
    atomic_fetch_add_explicit(&s->pool->committed, (uint64_t)sign * mem_map_charge(m),
                              memory_order_relaxed);
    s->mapped_bytes += (uint64_t)sign * (m->end - m->start);
    if (m->prot & MEM_X)
        s->exec_maps += (uint64_t)sign;
    if (m->object && (m->flags & MEM_SHARED)) {
        m->object->shared_maps += (uint64_t)sign;
        mem_object_recost_locked(m->object);
    }
}

static void give_ident(struct map *m)
{
    bool own = (m->prot & MEM_X) && !(m->flags & MEM_SHARED) && (!m->object || m->wrote);
    if (!own)
        m->ident = 0;
    else if (!m->ident)
        m->ident = mem_unique();
}

void mem_map_insert_locked(struct map *m)
{
    give_ident(m);
    mem_tree_insert(m->space, m);
    if (m->object)
        list_append(&m->object->maps, &m->in_object);
    count(m, 1);
}

static void take_out(struct map *m)
{
    count(m, -1);
    mem_tree_remove(m->space, m);
    list_remove(&m->in_object);
}

void mem_map_record_free(struct map *m)
{
    mem_object_put_locked(m->object);
    mem_name_put(m->name);
    free(m);
}

void mem_map_remove_locked(struct map *m)
{
    take_out(m);
    mem_map_record_free(m);
}

void mem_map_set_locked(struct map *m, int prot, bool wrote)
{
    count(m, -1);
    m->prot = prot;
    m->wrote = wrote;
    give_ident(m);
    count(m, 1);
}

/* Before a map is cut or a page in it is closed: its anon_vma, by a write that changes nothing. */
bool mem_map_anchor_locked(struct map *m)
{
    if (m->wrote && !m->anchored && (m->prot & MEM_W))
        m->anchored = mem_probe(host_of(m->space, m->start), true);
    return !m->wrote || m->anchored;
}

struct map *mem_map_split_locked(struct map *m, gva_t at)
{
    ASSERT(at > m->start && at < m->end);
    bool kin = mem_map_anchor_locked(m);
    struct map *upper = mem_map_record(m->space, at, m->end, m->prot, m->flags, m->object,
                                       m->object ? object_offset_of(m, at) : 0, m->name);
    if (!upper)
        return NULL;
    upper->wrote = m->wrote;
    upper->ident = m->ident;
    upper->lineage = kin ? m->lineage : mem_unique();
    upper->anchored = kin && m->anchored;
    take_out(m);
    m->end = at;
    mem_map_insert_locked(m);
    mem_map_insert_locked(upper);
    return upper;
}

static bool mergeable(const struct map *a, const struct map *b)
{
    return a->end == b->start && a->prot == b->prot && a->flags == b->flags &&
           a->object == b->object && a->wrote == b->wrote && a->ident == b->ident &&
           (a->lineage == b->lineage || !a->lineage || !b->lineage) && !(a->flags & MEM_STACK) &&
           (!a->object || a->offset + (a->end - a->start) == b->offset) &&
           same_name(a->name, b->name);
}

static struct map *merge(struct map *a, struct map *b)
{
    gva_t end = b->end;
    uint64_t lineage = b->lineage;
    bool anchored = b->anchored;
    mem_map_remove_locked(b);
    take_out(a);
    a->anchored |= anchored;
    if (!a->lineage)
        a->lineage = lineage;
    a->end = end;
    mem_map_insert_locked(a);
    return a;
}

struct map *mem_map_merge_locked(struct map *m)
{
    struct map *below = mem_tree_below(m->space, m->start);
    if (below && mergeable(below, m))
        m = merge(below, m);
    struct map *above = mem_tree_find(m->space, m->end);
    if (above && mergeable(m, above))
        m = merge(m, above);
    if (m->wrote && !m->lineage)
        m->lineage = mem_unique();
    return m;
}

/* ---- spaces ---- */

static int space_new_locked(struct mem_pool *p, struct mem_space **out)
{
    if (p->host_maps + COST_SPACE > p->config.maps)
        return -ENOMEM;
    struct mem_space *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    if (!mem_window_take(p->config.window_bits, &s->window)) {
        free(s);
        return -ENOMEM;
    }
    s->bytes = (uint64_t)1 << p->config.window_bits;
    s->pool = p;
    atomic_init(&s->refs, 1);
    atomic_init(&s->exec_gen, mem_unique());
    p->host_maps += COST_SPACE;
    p->spaces++;
    *out = s;
    return 0;
}

res_code_t mem_space_new(struct mem_pool *p, struct mem_space **s, struct err *err)
{
    pool_lock(p);
    int rc = space_new_locked(p, s);
    pool_unlock(p);
    return rc == 0 ? OK : err_set(err, ERR_NO_MEMORY, "no room for another address space");
}

struct mem_space *mem_space_get(struct mem_space *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

static void clear_locked(struct mem_space *s)
{
    if (s->count)
        (void)mem_unmap_locked(s, WINDOW_LOW, space_top(s)); /* cuts nothing, so cannot fail */
    ASSERT(!s->count);
    mem_pages_fini(&s->watch);
    s->dirty_len = 0;
    s->dirty_all = false;
    s->stack_bytes = 0;
    atomic_store_explicit(&s->dirty_any, false, memory_order_release);
}

void mem_space_clear(struct mem_space *s)
{
    pool_lock(s->pool);
    clear_locked(s);
    pool_unlock(s->pool);
}

void mem_space_put(struct mem_space *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct mem_pool *p = s->pool;
    pool_lock(p);
    s->hooks = (struct mem_hooks){0};
    clear_locked(s);
    mem_window_give(p->config.window_bits, s->window);
    p->host_maps -= COST_SPACE;
    p->spaces--;
    pool_unlock(p);
    free(s->dirty);
    free(s);
}

void mem_space_set_hooks(struct mem_space *s, const struct mem_hooks *h)
{
    pool_lock(s->pool);
    s->hooks = h ? *h : (struct mem_hooks){0};
    pool_unlock(s->pool);
}

uint8_t *mem_space_window(struct mem_space *s)
{
    return s->window;
}

uint64_t mem_space_bytes(struct mem_space *s)
{
    return s->bytes;
}

/* ---- fork ---- */

struct copy {
    struct mem_space *from, *to;
    int64_t move; /* destination - source address */
    bool anon, unreadable, copied;
};

static bool copy_run(void *ctx, gva_t lo, gva_t hi)
{
    struct copy *c = ctx;
    struct mem_pool *p = c->from->pool;
    if (c->unreadable)
        mem_host_protect(c->from, lo, hi, PROT_READ);
    if (hi - lo >=
        4 * PAGE_SIZE) /* one call instead of a fault per page; older hosts have only the faults */
        (void)madvise(host_of(c->to, lo + (uint64_t)c->move), hi - lo, MADV_POPULATE_WRITE);
    for (gva_t a = lo; a < hi; a += PAGE_SIZE) {
        const uint8_t *from = host_of(c->from, a);
        if (c->anon && mem_raw_is_zero(from))
            continue; /* was only read */
        mem_raw_copy(host_of(c->to, a + (uint64_t)c->move), from, PAGE_SIZE);
        p->stats.fork_pages_copied++;
        c->copied = true;
    }
    if (c->unreadable)
        mem_host_protect(c->from, lo, hi, PROT_NONE);
    return true;
}

/* Private pages of m in [lo, hi) to the same place of another space, or elsewhere in this one. The destination is
 * host-writable. False: there was none. */
bool mem_copy_private_locked(const struct map *m, gva_t lo, gva_t hi, struct mem_space *to,
                             gva_t to_lo)
{
    if (!m->wrote)
        return false;
    struct copy c = {.from = m->space,
                     .to = to,
                     .move = (int64_t)(to_lo - lo),
                     .anon = !m->object,
                     .unreadable = !m->prot};
    if (m->object) /* beyond the end of the file nothing can be read */
        hi = MIN(hi, m->start + MAX((mem_object_end_page(m->object) << PAGE_BITS), m->offset) -
                         m->offset);
    if (lo < hi)
        mem_each_private_run(m->space, lo, hi, copy_run, &c);
    return c.copied;
}

static int host_prot_plain(int prot)
{
    return (prot ? PROT_READ : 0) | (prot & MEM_W ? PROT_WRITE : 0);
}

bool mem_map_host_locked(struct map *m, bool for_copy)
{
    struct mem_space *s = m->space;
    uint64_t bytes = m->end - m->start;
    int prot = for_copy ? PROT_READ | PROT_WRITE : host_prot_plain(m->prot);
    if (!m->object) {
        /* Without MAP_NORESERVE, in which it differs from the reserved window: the two are never joined. */
        s->pool->stats.host_mmaps++;
        void *p =
            mmap(host_of(s, m->start), bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        return p != MAP_FAILED;
    }
    struct mem_object *o = m->object;
    bytes = m->offset >= o->capacity ? 0 : MIN(bytes, o->capacity - m->offset);
    if (!bytes)
        return true;
    bool shared = m->flags & MEM_SHARED, watched = shared && o->watched.len && (m->prot & MEM_W);
    uint64_t end = mem_object_end_page(o) << PAGE_BITS;
    bool beyond = m->offset + bytes >
                  end; /* pages without a file: first closed, then opened as far as it reaches */
    int first = beyond ? PROT_NONE : watched ? PROT_READ : prot;
    s->pool->stats.host_mmaps++;
    void *p = mmap(host_of(s, m->start), bytes, first,
                   MAP_FIXED | MAP_NORESERVE | (shared ? MAP_SHARED : MAP_PRIVATE), o->fd,
                   (off_t)(o->base + m->offset));
    if (p == MAP_FAILED) {
        mem_host_reserve(s, m->start, m->start + bytes, false);
        return false;
    }
    if (for_copy && beyond && end > m->offset)
        mem_host_protect(s, m->start, m->start + (end - m->offset), prot);
    else if (beyond || watched)
        mem_apply_locked(s, m->start, m->end);
    return true;
}

static bool fork_map(const struct map *m, struct mem_space *child)
{
    struct map *n =
        mem_map_record(child, m->start, m->end, m->prot, m->flags, m->object, m->offset, m->name);
    if (!n)
        return false;
    n->wrote = m->wrote;
    struct mem_pool *p = child->pool;
    if (!mem_budget_for(p, mem_map_cost(n->object, n->flags)) ||
        !mem_commit_for(p, mem_map_charge(n))) {
        mem_map_record_free(n);
        return false;
    }
    mem_map_insert_locked(n);
    bool copies = n->wrote;
    if (!mem_map_host_locked(n, copies))
        return false; /* the caller empties the child */
    if (copies) {
        n->lineage = mem_unique();
        n->anchored = mem_copy_private_locked(m, m->start, m->end, child, m->start);
        if (!(n->prot & MEM_W) || child->watch.len)
            mem_apply_locked(child, n->start, n->end);
    }
    return true;
}

static int fork_locked(struct mem_space *parent, struct mem_space *child)
{
    if (!mem_pages_copy(&child->watch, &parent->watch))
        return -ENOMEM;
    for (size_t i = 0; i < child->watch.cap; i++) { /* counted anew below */
        if (child->watch.slots[i].key)
            child->watch.slots[i].state &= (uint8_t)~PAGE_SPLIT;
    }
    for (struct map *m = mem_tree_find(parent, 0); m; m = mem_tree_find(parent, m->end)) {
        if (!fork_map(m, child))
            return -ENOMEM;
    }
    if (parent->dirty_len) {
        child->dirty = malloc(parent->dirty_len * sizeof *child->dirty);
        if (!child->dirty)
            return -ENOMEM;
        memcpy(child->dirty, parent->dirty, parent->dirty_len * sizeof *child->dirty);
        child->dirty_len = child->dirty_cap = parent->dirty_len;
    }
    child->stack_bytes = parent->stack_bytes;
    child->dirty_all = parent->dirty_all;
    atomic_store(&child->dirty_any, atomic_load(&parent->dirty_any));
    if (child->watch.len)
        mem_watch_recount_locked(child, 0, child->bytes);
    return 0;
}

int mem_space_fork(struct mem_space *parent, struct mem_space **out)
{
    struct mem_pool *p = parent->pool;
    struct mem_space *child = NULL;
    pool_lock(p);
    int rc = space_new_locked(p, &child);
    if (rc == 0)
        rc = fork_locked(parent, child);
    p->stats.forks++;
    pool_unlock(p);
    if (rc == 0)
        *out = child;
    else
        mem_space_put(child);
    return rc;
}

/* ---- questions ---- */

bool mem_find(struct mem_space *s, gva_t addr, struct mem_map_info *out)
{
    pool_lock(s->pool);
    const struct map *m = mem_tree_find(s, addr);
    if (m) {
        *out = (struct mem_map_info){.start = m->start,
                                     .end = m->end,
                                     .prot = m->prot,
                                     .flags = m->flags,
                                     .object = m->object,
                                     .offset = m->offset};
        if (m->name)
            strncpy(out->name, m->name->text, sizeof out->name - 1);
    }
    pool_unlock(s->pool);
    return m;
}

uint64_t mem_space_mapped_bytes(struct mem_space *s)
{
    pool_lock(s->pool);
    uint64_t bytes = s->mapped_bytes;
    pool_unlock(s->pool);
    return bytes;
}

bool mem_peek(struct mem_space *s, void *out, gva_t a, size_t n)
{
    size_t done = 0;
    pool_lock(s->pool);
    while (done < n && a + done >= a) {
        gva_t from = a + done;
        struct map *m = mem_tree_find(s, from);
        if (!m || m->start > from)
            break;
        size_t k = MIN(n - done, PAGE_SIZE - (from & (PAGE_SIZE - 1)));
        gva_t page = ALIGN_DOWN(from, PAGE_SIZE);
        bool closed = !m->prot;
        if (closed)
            mem_host_protect(s, page, page + PAGE_SIZE, PROT_READ);
        size_t got = mem_try_copy((char *)out + done, host_of(s, from), k);
        if (closed)
            mem_host_protect(s, page, page + PAGE_SIZE, PROT_NONE);
        done += got;
        if (got < k)
            break;
    }
    pool_unlock(s->pool);
    return done == n;
}

size_t mem_exec_key(struct mem_space *s, void *out, size_t n)
{
    size_t len = 0;
    pool_lock(s->pool);
    uint64_t left = s->exec_maps;
    for (struct map *m = mem_tree_find(s, 0); m && left; m = mem_tree_find(s, m->end)) {
        if (!(m->prot & MEM_X))
            continue;
        left--;
        const struct mem_object *o = m->object;
        uint64_t e[5] = {m->start, m->end - m->start, o ? o->id << 1 | o->image : 0, m->offset,
                         m->ident ? m->ident
                         : o      ? o->wgen
                                  : 0};
        if (len < n)
            memcpy((char *)out + len, e, MIN(sizeof e, n - len));
        len += sizeof e;
    }
    pool_unlock(s->pool);
    return len;
}
