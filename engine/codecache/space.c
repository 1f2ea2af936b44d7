/* Code spaces: found by key, counted, shared, kept warm, forgotten. */
#include "engine/codecache/internal.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a over a seed: keys come from the guest's own mappings, so it may choose them; a bad bucket costs that guest only. */
static uint64_t hash_key(const struct cc_cache *c, const void *key, size_t n)
{
    uint64_t h = c->hash_seed ^ UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < n; i++)
        h = (h ^ ((const uint8_t *)key)[i]) * UINT64_C(0x100000001b3);
    return h ^ h >> 32;
}

static struct list *bucket(struct cc_cache *c, uint64_t hash)
{
    return &c->spaces[hash % SPACE_BUCKETS];
}

static struct cc_space *lookup(struct cc_cache *c, uint64_t hash, const void *key, size_t n)
{
    list_for_each(l, bucket(c, hash))
    {
        struct cc_space *s = list_entry(l, struct cc_space, hash_link);
        if (s->key_hash == hash && s->key_bytes == n && !memcmp(s->key, key, n))
            return s;
    }
    return NULL;
}

static void unkey(struct cc_space *s)
{
    if (!s->keyed)
        return;
    s->keyed = false;
    list_remove(&s->hash_link);
    free(s->key);
    s->key = NULL;
    s->key_bytes = 0;
}

static void free_tables(struct cc_space *s)
{
    for (uint32_t i = 0; i < s->cache->thread_max; i++)
        cc_jt_free(atomic_exchange(&s->jt[i], NULL));
}

static void destroy(struct cc_space *s)
{
    struct cc_cache *c = s->cache;
    ASSERT(!s->refs && !s->pins && list_empty(&s->sharers));
    unkey(s);
    list_remove(&s->all_link);
    if (!list_empty(&s->unused_link))
        c->unused_count--;
    list_remove(&s->unused_link);
    c->space_count--;
    pthread_mutex_lock(&s->lock);
    struct hash_table *h = atomic_load(&s->hash);
    for (uint32_t i = 0; i < 1u << h->bits; i++) {
        struct cc_block *b = atomic_load(&h->slot[i]);
        if (b && b->space == s)
            cc_retire_locked(s, b);
    }
    pthread_mutex_unlock(&s->lock);
    free_tables(s);
    cc_index_fini(s);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->share_lock);
    free(s->jt);
    free(s);
}

/* cache.lock is held: what nobody refers to and nobody has pinned is kept if it can be found again, within limits. */
static void settle(struct cc_space *s)
{
    struct cc_cache *c = s->cache;
    if (s->refs || s->pins)
        return;
    if (!s->keyed) {
        destroy(s);
        return;
    }
    free_tables(s);
    list_remove(&s->unused_link);
    list_append(&c->unused, &s->unused_link);
    c->unused_count++;
    while (c->unused_count > c->unused_max)
        destroy(list_entry(c->unused.next, struct cc_space, unused_link));
}

static void take(struct cc_space *s)
{
    if (!list_empty(&s->unused_link)) {
        list_remove(&s->unused_link);
        s->cache->unused_count--;
    }
    s->refs++;
}

static struct cc_space *make(struct cc_cache *c, const void *key, size_t n, uint64_t hash,
                             struct err *err)
{
    struct cc_space *s = calloc(1, sizeof *s);
    void *copy = malloc(MAX(n, (size_t)1));
    if (s)
        s->jt = calloc(c->thread_max, sizeof *s->jt);
    if (!s || !copy || !s->jt || cc_index_init(s, err) != OK) {
        if (s)
            free(s->jt);
        free(s);
        free(copy);
        err_set(err, ERR_NO_MEMORY, "code space");
        return NULL;
    }
    static _Atomic uint64_t ids;
    memcpy(copy, key, n);
    s->cache = c;
    s->id = atomic_fetch_add(&ids, 1) + 1;
    s->key = copy;
    s->key_bytes = n;
    s->key_hash = hash;
    s->keyed = true;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->share_lock, NULL);
    list_init(&s->sharers);
    list_init(&s->unused_link);
    list_append(bucket(c, hash), &s->hash_link);
    list_append(&c->all, &s->all_link);
    c->space_count++;
    return s;
}

res_code_t cc_space_open(struct cc_cache *c, const void *key, size_t n, struct cc_space **out,
                         bool *made, struct err *err)
{
    uint64_t hash = hash_key(c, key, n);
    pthread_mutex_lock(&c->lock);
    struct cc_space *s = lookup(c, hash, key, n);
    bool fresh = !s;
    if (fresh)
        s = make(c, key, n, hash, err);
    if (s)
        take(s);
    pthread_mutex_unlock(&c->lock);
    if (!s)
        return FAIL;
    *out = s;
    if (made)
        *made = fresh;
    return OK;
}

struct cc_space *cc_space_find(struct cc_cache *c, const void *key, size_t n)
{
    uint64_t hash = hash_key(c, key, n);
    pthread_mutex_lock(&c->lock);
    struct cc_space *s = lookup(c, hash, key, n);
    if (s)
        take(s);
    pthread_mutex_unlock(&c->lock);
    return s;
}

struct cc_space *cc_space_get(struct cc_space *s)
{
    pthread_mutex_lock(&s->cache->lock);
    take(s);
    pthread_mutex_unlock(&s->cache->lock);
    return s;
}

void cc_space_put(struct cc_space *s)
{
    if (!s)
        return;
    struct cc_cache *c = s->cache;
    pthread_mutex_lock(&c->lock);
    ASSERT(s->refs);
    s->refs--;
    settle(s);
    pthread_mutex_unlock(&c->lock);
}

uint64_t cc_space_id(const struct cc_space *s)
{
    return s->id;
}

bool cc_space_has_key(struct cc_space *s, const void *key, size_t n)
{
    pthread_mutex_lock(&s->cache->lock);
    bool same = s->keyed && s->key_bytes == n && !memcmp(s->key, key, n);
    pthread_mutex_unlock(&s->cache->lock);
    return same;
}

bool cc_space_claim(struct cc_space *s)
{
    pthread_mutex_lock(&s->cache->lock);
    bool sole = s->refs == 1;
    if (sole)
        unkey(s);
    pthread_mutex_unlock(&s->cache->lock);
    return sole;
}

void cc_space_disown(struct cc_space *s)
{
    pthread_mutex_lock(&s->cache->lock);
    unkey(s);
    pthread_mutex_unlock(&s->cache->lock);
}

bool cc_space_rekey(struct cc_space *s, const void *key, size_t n)
{
    struct cc_cache *c = s->cache;
    void *copy = malloc(MAX(n, (size_t)1));
    if (!copy)
        return false;
    memcpy(copy, key, n);
    uint64_t hash = hash_key(c, key, n);
    pthread_mutex_lock(&c->lock);
    bool can = s->refs == 1 && !lookup(c, hash, key, n);
    if (can) {
        unkey(s);
        s->key = copy;
        s->key_bytes = n;
        s->key_hash = hash;
        s->keyed = true;
        list_append(bucket(c, hash), &s->hash_link);
    }
    pthread_mutex_unlock(&c->lock);
    if (!can)
        free(copy);
    return can;
}

void cc_spaces_fini(struct cc_cache *c)
{
    pthread_mutex_lock(&c->lock);
    while (!list_empty(&c->all))
        destroy(list_entry(c->all.next, struct cc_space, all_link));
    pthread_mutex_unlock(&c->lock);
}

/* ---- threads ---- */

struct cpu_jt_entry *cc_pin(struct cc_thread *t, struct cc_space *s)
{
    if (t->pinned == s)
        return t->pinned_jt;
    struct cc_cache *c = t->cache;
    pthread_mutex_lock(&c->lock);
    if (t->pinned) {
        t->pinned->pins--;
        settle(t->pinned);
    }
    t->pinned = s;
    t->pinned_jt = NULL;
    if (s) {
        s->pins++;
        t->pinned_jt = atomic_load(&s->jt[t->index]);
        if (!t->pinned_jt) {
            t->pinned_jt = cc_jt_new();
            atomic_store(&s->jt[t->index], t->pinned_jt);
        }
    }
    pthread_mutex_unlock(&c->lock);
    return t->pinned_jt;
}

static _Atomic uint8_t *heat_of(struct cc_space *s, gva_t pc)
{
    return &s->heat[(pc >> 1) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - HEAT_BITS)];
}

unsigned cc_space_heat(struct cc_space *s, gva_t pc)
{
    _Atomic uint8_t *h = heat_of(s, pc);
    unsigned n = atomic_load_explicit(h, memory_order_relaxed);
    if (n < UINT8_MAX)
        atomic_store_explicit(h, (uint8_t)++n,
                              memory_order_relaxed); /* a lost count does no harm */
    return n;
}

void cc_space_cool(struct cc_space *s, gva_t pc)
{
    atomic_store_explicit(heat_of(s, pc), 0, memory_order_relaxed);
}

/* ---- sharing ---- */

bool cc_space_join(struct cc_space *s, struct cc_sharer *sh)
{
    /* Registered first, then told of the pages there are: who announces a page adds it first, then tells those
     * registered, so no page escapes both. */
    pthread_mutex_lock(&s->share_lock);
    list_append(&s->sharers, &sh->link);
    pthread_mutex_lock(&s->lock);
    size_t n = 0, cap = s->page_count;
    gva_t *pages = malloc(MAX(cap, (size_t)1) * sizeof *pages);
    for (size_t i = 0; pages && i < (size_t)1 << s->page_bits; i++)
        for (struct page_entry *e = s->pages[i]; e; e = e->next)
            pages[n++] = e->page << PAGE_BITS | e->hot;
    pthread_mutex_unlock(&s->lock);
    bool ok = pages;
    for (size_t i = 0; ok && i < n; i++)
        ok = sh->watch(sh->ctx, pages[i] & ~(gva_t)1) || (pages[i] & 1);
    free(pages);
    if (!ok)
        list_remove(&sh->link);
    pthread_mutex_unlock(&s->share_lock);
    return ok;
}

void cc_space_part(struct cc_space *s, struct cc_sharer *sh)
{
    pthread_mutex_lock(&s->share_lock);
    list_remove(&sh->link);
    pthread_mutex_unlock(&s->share_lock);
}

bool cc_announce(struct cc_space *s, gva_t page, bool *hot)
{
    uint64_t number = page >> PAGE_BITS;
    pthread_mutex_lock(&s->lock);
    struct page_entry *e = cc_page_find(s, number);
    bool known = e;
    if (!e)
        e = cc_page_make(s, number);
    *hot |= e && e->hot;
    pthread_mutex_unlock(&s->lock);
    if (known || !e)
        return e;
    bool cannot = false;
    pthread_mutex_lock(&s->share_lock);
    list_for_each(l, &s->sharers)
    {
        struct cc_sharer *sh = list_entry(l, struct cc_sharer, link);
        cannot |= !sh->watch(sh->ctx, page);
    }
    pthread_mutex_unlock(&s->share_lock);
    if (cannot) {
        pthread_mutex_lock(&s->lock);
        e = cc_page_find(s, number); /* it may have been dropped, and made again by another */
        if (e)
            e->hot = true;
        pthread_mutex_unlock(&s->lock);
        *hot = true;
    }
    return true;
}
