/* How a space finds its blocks: by pc (readers take no lock) and by guest page. */
#include "engine/codecache/internal.h"
#include "engine/base/os.h"

#include <stdlib.h>
#include <string.h>

#define HASH_BITS_FIRST 9
#define PAGE_BITS_FIRST 4
#define POPULATE_BYTES 16384

/* A place that was used: probes go on. Its pc is odd, so it matches nothing. */
static struct cc_block tombstone = {.pc = 1};

static uint32_t hash_at(const struct hash_table *h, gva_t pc)
{
    return (uint32_t)((pc >> 1) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - h->bits));
}

static struct hash_table *hash_new(unsigned bits)
{
    size_t bytes = sizeof(struct hash_table) + (sizeof(struct cc_block *) << bits);
    struct hash_table *h = calloc(1, bytes);
    if (!h)
        return NULL;
    h->bits = bits;
    if (bytes > POPULATE_BYTES)
        os_populate(h, bytes, true); /* it is about to be filled in no order */
    return h;
}

res_code_t cc_index_init(struct cc_space *s, struct err *err)
{
    struct hash_table *h = hash_new(HASH_BITS_FIRST);
    s->page_bits = PAGE_BITS_FIRST;
    s->pages = calloc((size_t)1 << s->page_bits, sizeof *s->pages);
    if (!h || !s->pages) {
        free(h);
        free(s->pages);
        return err_set(err, ERR_NO_MEMORY, "code space");
    }
    atomic_store_explicit(&s->hash, h, memory_order_release);
    return OK;
}

void cc_index_fini(struct cc_space *s)
{
    for (size_t i = 0; i < (size_t)1 << s->page_bits; i++)
        for (struct page_entry *e = s->pages[i], *next; e; e = next) {
            next = e->next;
            ASSERT(list_empty(&e->heads) && list_empty(&e->tails));
            free(e);
        }
    free(s->pages);
    free(atomic_load(&s->hash));
}

struct cc_block *cc_find(struct cc_space *s, gva_t pc)
{
    const struct hash_table *h = atomic_load_explicit(&s->hash, memory_order_acquire);
    uint32_t mask = (1u << h->bits) - 1;
    for (uint32_t i = hash_at(h, pc);; i = (i + 1) & mask) {
        struct cc_block *b = atomic_load_explicit(&h->slot[i], memory_order_acquire);
        if (!b)
            return NULL;
        if (b->pc == pc)
            return b;
    }
}

static void put(struct hash_table *h, struct cc_block *b)
{
    uint32_t mask = (1u << h->bits) - 1, i = hash_at(h, b->pc);
    for (;; i = (i + 1) & mask) {
        struct cc_block *at = atomic_load_explicit(&h->slot[i], memory_order_relaxed);
        if (!at)
            h->used++;
        if (!at || at == &tombstone)
            break;
    }
    h->live++;
    atomic_store_explicit(&h->slot[i], b, memory_order_release); /* rule (1) */
}

bool cc_hash_reserve(struct cc_space *s)
{
    struct hash_table *h = atomic_load_explicit(&s->hash, memory_order_relaxed);
    if (h->used + 1 <= 3u << (h->bits - 2))
        return true;
    /* Full of tombstones: the same size again; full of blocks: twice. */
    struct hash_table *n = hash_new(h->live >= 3u << (h->bits - 3) ? h->bits + 1 : h->bits);
    if (!n)
        return h->used + 1 < 1u << h->bits; /* slower, but one empty slot must stay */
    for (uint32_t i = 0; i < 1u << h->bits; i++) {
        struct cc_block *b = atomic_load_explicit(&h->slot[i], memory_order_relaxed);
        if (b && b != &tombstone)
            put(n, b);
    }
    atomic_store_explicit(&s->hash, n, memory_order_release);
    cc_defer_free(s->cache, &h->deferred);
    return true;
}

void cc_hash_insert(struct cc_space *s, struct cc_block *b)
{
    put(atomic_load_explicit(&s->hash, memory_order_relaxed), b);
}

void cc_hash_remove(struct cc_space *s, struct cc_block *b)
{
    struct hash_table *h = atomic_load_explicit(&s->hash, memory_order_relaxed);
    uint32_t mask = (1u << h->bits) - 1;
    for (uint32_t i = hash_at(h, b->pc);; i = (i + 1) & mask) {
        struct cc_block *at = atomic_load_explicit(&h->slot[i], memory_order_relaxed);
        ASSERT(at);
        if (at == b) {
            atomic_store_explicit(&h->slot[i], &tombstone, memory_order_release);
            h->live--;
            return;
        }
    }
}

/* ---- guest pages ---- */

static size_t page_at(uint64_t page, unsigned bits)
{
    return (size_t)(page * UINT64_C(0x9e3779b97f4a7c15) >> (64 - bits));
}

struct page_entry *cc_page_find(struct cc_space *s, uint64_t page)
{
    struct page_entry *e = s->pages[page_at(page, s->page_bits)];
    while (e && e->page != page)
        e = e->next;
    return e;
}

static void grow_pages(struct cc_space *s)
{
    unsigned bits = s->page_bits + 1;
    struct page_entry **p = calloc((size_t)1 << bits, sizeof *p);
    if (!p)
        return; /* longer chains */
    for (size_t i = 0; i < (size_t)1 << s->page_bits; i++)
        for (struct page_entry *e = s->pages[i], *next; e; e = next) {
            next = e->next;
            struct page_entry **at = &p[page_at(e->page, bits)];
            e->next = *at;
            *at = e;
        }
    free(s->pages);
    s->pages = p;
    s->page_bits = bits;
}

struct page_entry *cc_page_make(struct cc_space *s, uint64_t page)
{
    struct page_entry *e = cc_page_find(s, page);
    if (e)
        return e;
    e = malloc(sizeof *e);
    if (!e)
        return NULL;
    if (s->page_count >= 1u << s->page_bits)
        grow_pages(s);
    struct page_entry **at = &s->pages[page_at(page, s->page_bits)];
    e->page = page;
    e->hot = false;
    list_init(&e->heads);
    list_init(&e->tails);
    e->next = *at;
    *at = e;
    s->page_count++;
    return e;
}

void cc_page_drop_if_empty(struct cc_space *s, struct page_entry *e)
{
    if (!list_empty(&e->heads) || !list_empty(&e->tails))
        return;
    struct page_entry **at = &s->pages[page_at(e->page, s->page_bits)];
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    free(e);
    s->page_count--;
}
