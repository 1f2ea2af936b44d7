/* Blocks: publish, chain, fill, retire; the side table. */
#include "engine/codecache/internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- side table ----
 * One record per group that may fault, in order: LEB128 of (host bytes since the last << 3 | fix-up << 2 | counted << 1 | lent), then of
 * guest bytes since the last, zigzag; then, if lent, 1 + the register's number; then, if counted, the instructions not yet
 * counted; then, if there is a fix-up, LEB128 of its offset. */

static unsigned put_leb(uint8_t *p, uint32_t x)
{
    unsigned n = 0;
    for (; x >= 0x80; x >>= 7)
        p[n++] = (uint8_t)(x | 0x80);
    p[n++] = (uint8_t)x;
    return n;
}

static uint32_t get_leb(const uint8_t **p)
{
    uint32_t x = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte = *(*p)++;
        x |= (uint32_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return x;
    }
}

#define MAP_RECORD_MAX 16u

static uint32_t pack_map(const struct host_code *code, uint8_t *p)
{
    uint32_t n = 0, host = 0, pc = 0;
    for (unsigned i = 0; i < code->map_count; i++) {
        const struct host_pcmap *m = &code->map[i];
        ASSERT(m->host_off >= host);
        int32_t step = (int32_t)(m->pc_off - pc);
        n += put_leb(p + n, (m->host_off - host) << 3 | (m->fixup != 0) << 2 |
                                (m->uncounted != 0) << 1 | (m->borrowed != 0));
        n += put_leb(p + n, (uint32_t)step << 1 ^ (uint32_t)(step >> 31));
        if (m->borrowed)
            p[n++] = m->borrowed;
        if (m->uncounted)
            p[n++] = m->uncounted;
        if (m->fixup)
            n += put_leb(p + n, m->fixup);
        host = m->host_off;
        pc = m->pc_off;
    }
    return n;
}

struct cc_place cc_block_place(const struct cc_block *b, uint32_t off)
{
    const uint8_t *p = cc_map(b), *end = p + b->map_bytes;
    uint32_t want = off - b->host_off, host = 0, pc = 0;
    struct cc_place found = {.pc = b->pc};
    while (p < end) {
        uint32_t first = get_leb(&p), zigzag = get_leb(&p);
        unsigned lent = first & 1 ? *p++ : 0, uncounted = first & 2 ? *p++ : 0;
        unsigned fixup = first & 4 ? get_leb(&p) : 0;
        host += first >> 3;
        pc += (zigzag >> 1) ^ -(zigzag & 1);
        if (host > want)
            break;
        found = (struct cc_place){b->pc + pc, lent, uncounted, fixup};
    }
    return found;
}

/* ---- publish ---- */

/* A handful at most, nearly in order. */
static void sort_exits(struct cc_exit *exits, unsigned n)
{
    for (unsigned i = 1; i < n; i++) {
        struct cc_exit e = exits[i];
        unsigned to = i;
        for (; to && exits[to - 1].patch_off > e.patch_off; to--)
            exits[to] = exits[to - 1];
        exits[to] = e;
    }
}

static struct cc_block *describe(struct cc_arena *a, const struct cc_publish *p)
{
    const struct host_code *code = p->code;
    bool across = (p->pc ^ (p->pc + p->guest_bytes - 1)) >> PAGE_BITS;
    size_t front = across ? sizeof(struct list) : 0;
    uint8_t *map = arena_alloc(code->arena, MAX(code->map_count, 1u) * MAP_RECORD_MAX);
    uint32_t map_bytes = map ? pack_map(code, map) : 0;
    char *at =
        arena_alloc(&a->meta, front + offsetof(struct cc_block, exits) +
                                  code->exit_count * sizeof(struct cc_exit) +
                                  code->landing_count * sizeof(struct host_landing) + map_bytes);
    if (!at || !map)
        return NULL;
    struct cc_block *b = (struct cc_block *)(at + front);
    *b = (struct cc_block){
        .pc = p->pc,
        .space = p->space,
        .arena = a,
        .host_off = code->cache_off,
        .host_bytes = code->len,
        .guest_bytes = (uint16_t)p->guest_bytes,
        .map_bytes = (uint16_t)map_bytes,
        .exit_count = (uint16_t)code->exit_count,
        .landing_count = (uint16_t)code->landing_count,
        .insn_count = (uint8_t)p->insn_count,
        .flags = p->flags | (across ? CC_BLOCK_ACROSS : 0),
    };
    ASSERT(map_bytes <= UINT16_MAX && code->exit_count <= UINT16_MAX &&
           code->landing_count <= UINT16_MAX && p->insn_count <= UINT8_MAX);
    list_init(&b->incoming);
    list_init(&b->page_link);
    if (across)
        list_init(cc_tail_link(b));
    for (unsigned i = 0; i < code->exit_count; i++) {
        const struct host_exit *from = &code->exits[i];
        b->exits[i] = (struct cc_exit){.target = from->target,
                                       .patch_off = code->cache_off + from->patch_off,
                                       .stub_off = code->cache_off + from->stub_off};
        ASSERT(b->exits[i].patch_off % 4 == 0);
    }
    sort_exits(b->exits, b->exit_count);
    for (unsigned i = 0; i < b->exit_count; i++)
        list_init(&b->exits[i].link);
    struct host_landing *landings = cc_landings(b);
    for (unsigned i = 0; i < code->landing_count; i++)
        landings[i] = (struct host_landing){code->landings[i].pc,
                                            code->cache_off + code->landings[i].host_off};
    memcpy(cc_map(b), map, map_bytes);
    return b;
}

static enum cc_publish_result enter_locked(struct cc_space *s, const struct cc_publish *p,
                                           struct cc_block *b, struct cc_block **present)
{
    if (p->generation && atomic_load(p->generation) != p->generation_seen)
        return CC_OUTDATED;
    if ((*present = cc_find(s, p->pc)))
        return CC_PRESENT;
    bool across = b->flags & CC_BLOCK_ACROSS;
    uint64_t first = p->pc >> PAGE_BITS;
    struct page_entry *head = cc_page_make(s, first),
                      *tail = across ? cc_page_make(s, first + 1) : NULL;
    if (!head || (across && !tail) || !cc_hash_reserve(s))
        return CC_NO_MEMORY;
    cc_arena_append(b->arena, b);
    list_append(&head->heads, &b->page_link);
    if (across)
        list_append(&tail->tails, cc_tail_link(b));
    CC_COUNT_OWN(&b->arena->published, 1);
    cc_hash_insert(s, b);
    return CC_PUBLISHED;
}

static void put_jt(struct cpu_jt_entry *e, gva_t pc, const void *host)
{
    atomic_store_explicit(&e->host, host, memory_order_relaxed);
    atomic_store_explicit(&e->pc, pc, memory_order_release);
}

/* Who returns behind one of the block's calls should come to its landing, which the host's return stack predicts. */
static void fill_landings(struct cc_thread *t, struct cc_block *b)
{
    struct cpu_jt_entry *jt = t->pinned == b->space ? t->pinned_jt : NULL;
    if (!jt || jt == cc_missing_table())
        return;
    const struct host_landing *landings = cc_landings(b);
    for (unsigned i = 0; i < b->landing_count; i++)
        put_jt(cc_jt_slot(jt, landings[i].pc), landings[i].pc,
               cc_host(t->cache, landings[i].host_off));
}

enum cc_publish_result cc_publish(struct cc_thread *t, const struct cc_publish *p,
                                  struct cc_block **out)
{
    ASSERT(t->reserved && p->guest_bytes && p->guest_bytes <= PAGE_SIZE);
    struct cc_arena *a = t->open;
    ASSERT(p->code->cache_off == a->off + a->used_bytes &&
           p->code->len <= a->off + t->cache->arena_bytes - p->code->cache_off);
    t->reserved = false;
    struct cc_block *b = describe(a, p), *present = NULL;
    if (!b)
        return CC_NO_MEMORY;
    pthread_mutex_lock(&p->space->lock);
    enum cc_publish_result result = enter_locked(p->space, p, b, &present);
    if (result == CC_PUBLISHED)
        fill_landings(t, b);
    pthread_mutex_unlock(&p->space->lock);
    if (result == CC_PUBLISHED) {
        a->used_bytes =
            MIN(ALIGN_UP(a->used_bytes + p->code->len, CC_BLOCK_ALIGN), t->cache->arena_bytes);
        CC_COUNT_OWN(&t->n_published, 1);
        CC_COUNT_OWN(&t->n_host_bytes, p->code->len);
        *out = b;
    } else if (result == CC_PRESENT)
        *out = present;
    return result;
}

/* ---- joining ---- */

static struct cc_exit *exit_at(struct cc_block *b, uint32_t site_off)
{
    unsigned lo = 0, n = b->exit_count;
    while (n) {
        unsigned half = n / 2;
        if (b->exits[lo + half].patch_off < site_off) {
            lo += half + 1;
            n -= half + 1;
        } else
            n = half;
    }
    return lo < b->exit_count && b->exits[lo].patch_off == site_off ? &b->exits[lo] : NULL;
}

static void unchain(struct cc_cache *c, struct cc_exit *e)
{
    c->host->patch(cc_writable(c, e->patch_off), e->patch_off, e->stub_off);
    e->to = NULL;
    list_remove(&e->link);
    cc_count(&c->n_unchained, 1);
}

bool cc_chain(struct cc_cache *c, uint32_t site_off, struct cc_block *b)
{
    struct cc_block *from = cc_find_host(c, site_off);
    /* from's space may be gone; then from is retired, and the pointer is only compared. */
    if (!from || from->space != b->space)
        return false;
    struct cc_exit *e = exit_at(from, site_off);
    ASSERT(e);
    bool done = false;
    pthread_mutex_lock(&b->space->lock);
    if (!from->retired && !b->retired && e->target == b->pc && !e->to) {
        e->to = b;
        list_append(&b->incoming, &e->link);
        c->host->patch(cc_writable(c, e->patch_off), e->patch_off, b->host_off);
        done = true;
        cc_count(&c->n_chained, 1);
    }
    pthread_mutex_unlock(&b->space->lock);
    atomic_store_explicit(&b->arena->touched, true, memory_order_relaxed);
    return done;
}

void cc_fill(struct cc_thread *t, struct cc_block *b)
{
    struct cpu_jt_entry *jt = t->pinned_jt;
    if (jt == cc_missing_table())
        return;
    struct cpu_jt_entry *e = cc_jt_slot(jt, b->pc);
    ASSERT(t->pinned == b->space);
    pthread_mutex_lock(&b->space->lock);
    if (!b->retired && atomic_load_explicit(&e->pc, memory_order_relaxed) != b->pc)
        put_jt(e, b->pc, cc_host(t->cache, b->host_off));
    pthread_mutex_unlock(&b->space->lock);
    atomic_store_explicit(&b->arena->touched, true, memory_order_relaxed);
}

/* ---- retiring ---- */

static void drop_jt(struct cpu_jt_entry *jt, gva_t pc, const void *host)
{
    const size_t places[] = {cpu_jt_first(pc), cpu_jt_second(pc)};
    for (unsigned k = 0; k < ARRAY_LEN(places); k++) {
        struct cpu_jt_entry *e = &jt[places[k]];
        if (atomic_load_explicit(&e->pc, memory_order_relaxed) == pc &&
            atomic_load_explicit(&e->host, memory_order_relaxed) == host)
            atomic_store_explicit(&e->pc, cpu_jt_none(places[k]), memory_order_release);
    }
}

/* The order does not matter to threads inside: each of them leaves the block by itself, and its bytes stay until all
 * have. Only the pc of a jump table's entry is cleared: who has compared it already may still load the pointer. The arena's
 * count is the last that is touched: with it, b may go. */
void cc_retire_locked(struct cc_space *s, struct cc_block *b)
{
    struct cc_cache *c = s->cache;
    if (b->retired)
        return;
    atomic_store_explicit(&b->retired, true, memory_order_release);
    cc_hash_remove(s, b);
    list_remove(&b->page_link);
    if (b->flags & CC_BLOCK_ACROSS)
        list_remove(cc_tail_link(b));
    while (!list_empty(&b->incoming))
        unchain(c, list_entry(b->incoming.next, struct cc_exit, link));
    for (unsigned i = 0; i < b->exit_count; i++)
        if (b->exits[i].to) {
            b->exits[i].to = NULL;
            list_remove(&b->exits[i].link);
        }
    for (uint32_t i = 0; i < c->thread_max; i++) {
        struct cpu_jt_entry *jt = atomic_load_explicit(&s->jt[i], memory_order_acquire);
        if (!jt || jt == cc_missing_table())
            continue;
        drop_jt(jt, b->pc, cc_host(c, b->host_off));
        for (unsigned k = 0; k < b->landing_count; k++)
            drop_jt(jt, cc_landings(b)[k].pc, cc_host(c, cc_landings(b)[k].host_off));
    }
    cc_count(&c->n_retired, 1);
    atomic_fetch_add_explicit(&b->arena->retired, 1, memory_order_release);
}

void cc_retire_block(struct cc_block *b)
{
    struct cc_space *s = b->space; /* once it is retired it may be gone */
    pthread_mutex_lock(&s->lock);
    cc_retire_locked(s, b);
    pthread_mutex_unlock(&s->lock);
}

static bool overlaps(const struct cc_block *b, gva_t lo, gva_t hi)
{
    return b->pc < hi && b->pc + b->guest_bytes > lo;
}

/* One of a page's lists: of the blocks that start there, or of the tails. */
static size_t retire_list(struct cc_space *s, struct list *blocks, bool tails, gva_t lo, gva_t hi)
{
    size_t n = 0;
    list_for_each_safe(l, blocks)
    {
        struct cc_block *b =
            tails ? (struct cc_block *)(l + 1) : list_entry(l, struct cc_block, page_link);
        if (overlaps(b, lo, hi)) {
            cc_retire_locked(s, b);
            n++;
        }
    }
    return n;
}

static size_t retire_in_page(struct cc_space *s, struct page_entry *e, gva_t lo, gva_t hi)
{
    size_t n = retire_list(s, &e->heads, false, lo, hi) + retire_list(s, &e->tails, true, lo, hi);
    cc_page_drop_if_empty(s, e);
    return n;
}

size_t cc_retire_range(struct cc_space *s, gva_t lo, gva_t hi)
{
    if (lo >= hi)
        return 0;
    size_t n = 0;
    uint64_t first = lo >> PAGE_BITS, last = (hi - 1) >> PAGE_BITS;
    pthread_mutex_lock(&s->lock);
    if (last - first < s->page_count) {
        for (uint64_t page = first; page <= last; page++) {
            struct page_entry *e = cc_page_find(s, page);
            if (e)
                n += retire_in_page(s, e, lo, hi);
        }
    } else {
        for (size_t i = 0; i < (size_t)1 << s->page_bits; i++)
            for (struct page_entry *e = s->pages[i], *next; e; e = next) {
                next = e->next;
                if (e->page >= first && e->page <= last)
                    n += retire_in_page(s, e, lo, hi);
            }
    }
    pthread_mutex_unlock(&s->lock);
    /* Old hash tables and arenas without a live block are reclaimed when somebody needs room. */
    return n;
}

bool cc_space_any_outside(struct cc_space *s, const gva_t (*ranges)[2], size_t count)
{
    bool any = false;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; !any && i < (size_t)1 << s->page_bits; i++)
        for (struct page_entry *e = s->pages[i]; !any && e; e = e->next) {
            gva_t at = e->page << PAGE_BITS;
            bool inside = list_empty(&e->heads);
            for (size_t k = 0; !inside && k < count; k++)
                inside = at >= ranges[k][0] && at < ranges[k][1];
            any = !inside;
        }
    pthread_mutex_unlock(&s->lock);
    return any;
}
