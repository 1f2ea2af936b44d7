/*
 * codecache/internal.h - what the files of this room share. Nobody else includes it.
 */
#ifndef CODECACHE_INTERNAL_H
#define CODECACHE_INTERNAL_H

#include "engine/base/arena.h"
#include "engine/codecache/code_cache.h"

#include <pthread.h>

enum arena_state {
    ARENA_FREE,     /* on cache.free */
    ARENA_OPEN,     /* owned by a thread */
    ARENA_FULL,     /* on cache.full, oldest first */
    ARENA_RETIRING, /* on cache.retiring, until retire_epoch is past */
};

/* Host bytes -> block: for each granule of an arena the last block that has bytes in it; those before it by `before`. */
#define GRANULE_BITS 8

struct cc_arena {
    struct cc_cache *cache;
    uint32_t off, used_bytes; /* used_bytes: the owning thread's, as the next */
    uint32_t taken_bytes;     /* pages up to here are there in both views */
    enum arena_state state;   /* this and the next two: cache.lock */
    struct list link;
    uint64_t retire_epoch;
    struct arena meta; /* blocks, exits, side tables: the owner's until the arena is full */
    _Atomic(struct cc_block *) *index; /* [arena_bytes >> GRANULE_BITS] */
    struct cc_block *last;             /* the owner's until the arena is full, then cache.lock */
    _Atomic uint32_t published; /* blocks; the owner's */
    _Atomic uint32_t retired;   /* of them */
    _Atomic bool touched;  /* looked up since eviction last passed by */
};

/* Freed once everybody is past its epoch; stands at the head of what is freed. */
struct deferred {
    struct deferred *next;
    uint64_t epoch;
};

/* pc -> block: open addressing, replaced by a larger copy when half full. */
struct hash_table {
    struct deferred deferred;
    unsigned bits;
    uint32_t used; /* entries and tombstones */
    uint32_t live;
    _Atomic(struct cc_block *) slot[];
};

/* Guest pages that have, or are about to have, code. */
struct page_entry {
    struct page_entry *next;
    uint64_t page;     /* number */
    bool hot;          /* somebody cannot watch it: all its code checks itself */
    struct list heads; /* cc_block.page_link of the blocks that start here */
    struct list tails; /* cc_tail_link() of those that only end here */
};

#define HEAT_BITS 12

struct cc_space {
    struct cc_cache *cache;
    uint64_t id;
    /* cache.lock */
    struct list hash_link; /* in cache.spaces, if keyed */
    struct list unused_link, all_link;
    void *key;
    size_t key_bytes;
    uint64_t key_hash;
    uint32_t refs, pins;
    bool keyed;

    pthread_mutex_t share_lock;
    struct list sharers;

    pthread_mutex_t lock; /* everything below */
    _Atomic(struct hash_table *) hash;
    struct page_entry **pages;
    unsigned page_bits;
    uint32_t page_count;
    _Atomic(struct cpu_jt_entry *)
        *jt; /* [thread_max]; an entry is set by its thread, unset with no pins left */
    _Atomic uint8_t heat[1 << HEAT_BITS];
};

struct cc_thread {
    struct cc_cache *cache;
    _Atomic uint64_t epoch; /* 0: outside */
    unsigned index;
    void (*nudge)(void *ctx);
    void *nudge_ctx;
    struct cc_arena *open;
    bool reserved;
    _Atomic uint64_t n_published, n_host_bytes; /* this thread's alone to write */
    struct cc_space *pinned;
    struct cpu_jt_entry *pinned_jt;
};

#define SPACE_BUCKETS 256u

struct cc_cache {
    const struct host_ops *host;
    struct host_stubs stubs;
    uint8_t *rw, *rx;
    size_t map_bytes;
    uint32_t arenas_off, arena_bytes, arena_count;
    struct cc_arena *arenas;
    _Atomic(struct cc_block *) *index; /* of all arenas */
    size_t index_bytes;
    uint32_t thread_max, unused_max;
    void (*work)(void *ctx);
    void *work_ctx;
    struct range_node *range;
    int fd;

    _Atomic uint64_t epoch; /* from 1 */

    pthread_mutex_t lock;
    struct cc_thread **threads; /* [thread_max], holes are NULL */
    struct list free, full, retiring;
    uint32_t free_count, retiring_count;
    struct list spaces[SPACE_BUCKETS], unused, all;
    uint32_t space_count, unused_count;
    uint64_t hash_seed;

    pthread_mutex_t defer_lock; /* a leaf */
    struct deferred *deferred;

    _Atomic uint64_t n_retired, n_evictions, n_chained, n_unchained, n_reclaimed, n_full;
    uint64_t gone_published, gone_host_bytes; /* of threads that are no more: cache.lock */
};

static inline void cc_count(_Atomic uint64_t *n, uint64_t by)
{
    atomic_fetch_add_explicit(n, by, memory_order_relaxed);
}
/* Who alone writes *n needs no locked instruction. */
#define CC_COUNT_OWN(n, by)                                                          \
    atomic_store_explicit((n), atomic_load_explicit((n), memory_order_relaxed) + (by), \
                          memory_order_relaxed)

/* Blocks that are not retired. */
static inline uint32_t cc_arena_live(struct cc_arena *a)
{
    uint32_t retired = atomic_load_explicit(&a->retired, memory_order_acquire);
    return atomic_load_explicit(&a->published, memory_order_relaxed) - retired;
}

/* Where pc is, or goes: its second place if another pc has the first. */
static inline struct cpu_jt_entry *cc_jt_slot(struct cpu_jt_entry *jt, gva_t pc)
{
    struct cpu_jt_entry *first = &jt[cpu_jt_first(pc)];
    uint64_t has = atomic_load_explicit(&first->pc, memory_order_relaxed);
    return has == pc || has == cpu_jt_none(cpu_jt_first(pc)) ? first : &jt[cpu_jt_second(pc)];
}

/* Of a block with CC_BLOCK_ACROSS. */
static inline struct list *cc_tail_link(struct cc_block *b)
{
    return (struct list *)b - 1;
}

static inline struct host_landing *cc_landings(const struct cc_block *b)
{
    return (struct host_landing *)(b->exits + b->exit_count);
}

static inline uint8_t *cc_map(const struct cc_block *b)
{
    return (uint8_t *)(cc_landings(b) + b->landing_count);
}

static inline uint8_t *cc_writable(const struct cc_cache *c, uint32_t off)
{
    return c->rw + off;
}

/* arena.c */
res_t cc_arenas_init(struct cc_cache *c, struct err *err);
void cc_arenas_fini(struct cc_cache *c);
struct cc_arena *cc_arena_of(const struct cc_cache *c, uint32_t off);
void cc_arena_append(struct cc_arena *a, struct cc_block *b);
/* Give the thread's open arena up. Takes cache.lock. */
void cc_arena_close(struct cc_thread *t);
/* d is the head of something malloced: free it when everybody is past now. */
void cc_defer_free(struct cc_cache *c, struct deferred *d);

/* index.c: hash and page index; the space's lock is held */
res_t cc_index_init(struct cc_space *s, struct err *err);
void cc_index_fini(struct cc_space *s);
bool cc_hash_reserve(struct cc_space *s); /* room for one more */
void cc_hash_insert(struct cc_space *s, struct cc_block *b);
void cc_hash_remove(struct cc_space *s, struct cc_block *b);
struct page_entry *cc_page_find(struct cc_space *s, uint64_t page);
struct page_entry *cc_page_make(struct cc_space *s, uint64_t page);
void cc_page_drop_if_empty(struct cc_space *s, struct page_entry *e);

/* block.c */
void cc_retire_locked(struct cc_space *s, struct cc_block *b);

/* space.c */
void cc_spaces_fini(struct cc_cache *c);

/* table.c */
struct cpu_jt_entry *cc_jt_new(void); /* the missing table if there is no memory */
void cc_jt_free(struct cpu_jt_entry *jt);

/* range.c */
struct range_node *cc_range_add(const struct cc_range *r);
void cc_range_remove(struct range_node *n);

#endif
