/*
 * memory/internal.h - what the files of this room share; no other room includes it.
 *
 * pool.c the process, windows, budgets   object.c objects   tree.c the maps of a space, in order   pages.c sets of pages
 * space.c spaces, fork                   map.c mmap and its kin   remap.c   watch.c the code watch, faults, host protections
 * access.c the only file that touches a window   save.c snapshots   check.c the rules
 *
 * One lock: mem_pool.lock guards every space and object of the pool. A write fault in one space must reach the watch
 * of another, and all spaces of a worker share the host's one mmap lock anyway, so that finer locks would buy nothing. It is
 * recursive so that hooks may ask (mem_exec_key, mem_find). `_locked` means the caller holds it.
 */
#ifndef MEMORY_INTERNAL_H
#define MEMORY_INTERNAL_H

#include "engine/base/base.h"
#include "engine/base/os.h"
#include "engine/memory/memory.h"

#include <pthread.h>
#include <stdatomic.h>

#define WINDOW_GUARD ((size_t)64 << 10) /* below and above a window */
#define WINDOW_LOW ((gva_t)64 << 10)    /* first address that can be mapped */
#define WINDOW_HIGH ((gva_t)1 << 30)    /* the last GiB cannot */
#define STACK_AREA ((gva_t)128 << 20)   /* left free above what mmap places */
#define PIECE ((uint64_t)4 << 20)       /* of a host call made for a guest */
#define OBJECT_BITS 36                  /* capacity of a memory object */
#define OBJECT_BYTES ((uint64_t)1 << OBJECT_BITS)
#define STACK_CHARGE ((uint64_t)256 << 10) /* for the one stack of a space */
#define STACK_MAX ((uint64_t)8 << 20)
#define HOT_COUNT 8

/* Host mappings, counted from above: a map and the gap below it; the part of a map beyond its file; the two
 * cuts that a watched page makes. */
#define COST_SPACE 2
#define COST_ANON 2
#define COST_OBJECT 3
#define COST_SPLIT 2

/* ---- pages.c: a hash of pages ---- */

enum page_state {
    PAGE_WATCHED = 1,
    PAGE_DIRTY = 2, /* is on the space's dirty list */
    PAGE_HOT = 4,
    PAGE_SPLIT = 8, /* watched and writable for the guest: counted in the budget */
};
struct page_entry {
    uint64_t key; /* page number + 1; 0 empty */
    uint8_t state, count;
};
struct page_set {
    struct page_entry *slots;
    size_t cap, len; /* cap: a power of two or 0 */
};
void mem_pages_fini(struct page_set *t);
struct page_entry *mem_pages_find(const struct page_set *t, uint64_t page);
/* The entry, made if need be; NULL without memory. Pointers into the set die. */
struct page_entry *mem_pages_add(struct page_set *t, uint64_t page);
void mem_pages_remove(struct page_set *t, uint64_t page);
bool mem_pages_copy(struct page_set *to, const struct page_set *from);
/* The lowest cost way to visit entries in [lo, hi): call with *i = 0; the next page number, or UINT64_MAX. The entry that
 * was returned last may be changed, not removed. */
uint64_t mem_pages_next(const struct page_set *t, uint64_t lo, uint64_t hi, size_t *i);

/* ---- structures ---- */

struct mem_pool {
    pthread_mutex_t lock;
    struct mem_pool_config config;
    int fd; /* the memfd of all memory objects; slot i at i << OBJECT_BITS */
    uint64_t slot_next;
    uint64_t *slots_free;
    size_t slots_free_count, slots_free_cap;
    _Atomic uint64_t committed;
    uint64_t host_maps; /* in use, counted from above */
    uint64_t spaces, objects;
    struct rng rng; /* shape of the trees */
    struct mem_stats stats;
};

struct mem_object {
    struct mem_pool *pool;
    _Atomic uint32_t refs;
    bool image;
    int fd;
    uint64_t base;           /* of the object in fd */
    uint64_t size, capacity; /* capacity: what can be mapped of it, whole pages */
    uint64_t id;             /* never used twice in a process; of an image file its key */
    uint64_t snap_id;
    uint64_t wgen;    /* of writes to watched pages */
    uint64_t charged; /* bytes counted as committed for shared writable maps */
    uint64_t cost;    /* host mappings counted for watched pages under shared maps */
    struct list maps;
    size_t shared_maps;
    struct page_set watched; /* page numbers of the object, PAGE_WATCHED */
};

struct mem_name {
    uint32_t refs;
    char text[];
};

struct map {
    gva_t start, end;
    struct map *left, *right;
    uint64_t priority;
    gva_t lo, hi; /* of the subtree */
    uint64_t gap; /* the widest between neighbours inside the subtree */
    struct mem_space *space;
    struct mem_object *object;
    struct list in_object;
    uint64_t offset;
    struct mem_name *name;
    /* What tells its code from any other's: not 0 if it is executable, private and anonymous or was ever writable. */
    uint64_t ident;
    int prot, flags;
    bool wrote; /* private and writable, now or before: may hold copies, is counted */
    /* The host joins neighbours only if their copies hang on one anon_vma. A map that holds copies is one host mapping (but for
     * watched pages): it is joined with another in the books only if the host does so too, or a guest could have many
     * host mappings that nobody counts. lineage 0: no page was written yet, so it can be joined with anything; equal
     * lineages came from one map by cutting. anchored: surely has its anon_vma, so that cutting keeps the lineage. */
    uint64_t lineage;
    bool anchored;
};

struct mem_space {
    uint8_t *window;
    uint64_t bytes; /* a power of two */
    _Atomic uint64_t
        exec_gen; /* unique in the process; new at every change of what is executable */
    struct mem_pool *pool;
    _Atomic uint32_t refs;
    struct map *root;
    size_t count;
    uint64_t mapped_bytes, exec_maps;
    uint64_t
        stack_bytes; /* what MEM_STACK was granted for, until the space is cleared: once, or a guest has memory for nothing */
    struct mem_hooks hooks;
    struct page_set watch;
    uint64_t *dirty;
    size_t dirty_len, dirty_cap;
    bool dirty_all; /* the list could not grow: everything executable counts as dirty */
    _Atomic bool dirty_any;
};

static inline void pool_lock(struct mem_pool *p)
{
    pthread_mutex_lock(&p->lock);
}
static inline void pool_unlock(struct mem_pool *p)
{
    pthread_mutex_unlock(&p->lock);
}
static inline uint8_t *host_of(const struct mem_space *s, gva_t a)
{
    return s->window + a;
}
static inline gva_t space_top(const struct mem_space *s)
{
    return s->bytes - WINDOW_HIGH;
}
static inline uint64_t object_offset_of(const struct map *m, gva_t a)
{
    return m->offset + (a - m->start);
}

/* ---- pool.c ---- */
uint64_t mem_unique(void); /* 1, 2, 3 ... in this process */
/* Host calls that cannot be refused once the budget let them through; they keep count. */
void mem_host_protect(struct mem_space *s, gva_t lo, gva_t hi, int prot);
/* Back to PROT_NONE and nothing behind it; in one piece if no page can be there. */
void mem_host_reserve(struct mem_space *s, gva_t lo, gva_t hi, bool pages);
void mem_host_drop(struct mem_space *s, gva_t lo, gva_t hi); /* private copies */
bool mem_window_take(uint32_t bits, uint8_t **window);
void mem_window_give(uint32_t bits, uint8_t *window); /* all reserved */
/* Private pages among n (at most PAGEMAP_RUN) from a on: bit i of out. */
#define PAGEMAP_RUN 512
void mem_private_pages(const struct mem_space *s, gva_t a, size_t n,
                       uint64_t out[PAGEMAP_RUN / 64]);
/* Each run of private pages in [lo, hi). */
typedef bool mem_run_fn(void *ctx, gva_t lo, gva_t hi);
bool mem_each_private_run(const struct mem_space *s, gva_t lo, gva_t hi, mem_run_fn *f, void *ctx);

/* ---- object.c ---- */
void mem_object_put_locked(struct mem_object *o);
void mem_object_recost_locked(struct mem_object *o);
uint64_t mem_object_end_page(const struct mem_object *o); /* first page number beyond its end */
/* Count [0, end) as committed for a shared writable map. */
bool mem_object_charge_locked(struct mem_object *o, uint64_t end);

/* ---- tree.c ---- */
struct map *mem_tree_find(const struct mem_space *s, gva_t a); /* that holds a, or the next above */
struct map *mem_tree_below(const struct mem_space *s, gva_t a); /* the last that starts below a */
void mem_tree_insert(struct mem_space *s, struct map *m);
void mem_tree_remove(struct mem_space *s, struct map *m);
/* The highest free range of len bytes inside [lo, hi). */
bool mem_tree_gap(const struct mem_space *s, gva_t lo, gva_t hi, uint64_t len, gva_t *out);
bool mem_tree_check(const struct mem_space *s);

/* ---- space.c: maps as records; no host call but where said ---- */
uint64_t mem_map_charge(const struct map *m);
struct map *mem_map_record(struct mem_space *s, gva_t lo, gva_t hi, int prot, int flags,
                           struct mem_object *o, uint64_t offset, struct mem_name *name);
struct mem_name *mem_name_new(const char *text); /* NULL for NULL, "" or no memory */
struct mem_name *mem_name_get(struct mem_name *n);
void mem_name_put(struct mem_name *n);
void mem_map_record_free(struct map *m);   /* one that was not inserted */
void mem_map_insert_locked(struct map *m); /* takes its place in tree, object and counts */
void mem_map_remove_locked(struct map *m); /* and frees it */
void mem_map_set_locked(struct map *m, int prot, bool wrote);
struct map *mem_map_split_locked(struct map *m,
                                 gva_t at); /* returns the upper part; NULL without memory */
/* With its neighbours; a map that finds none gets a lineage of its own. */
struct map *mem_map_merge_locked(struct map *m);
bool mem_map_anchor_locked(struct map *m);
/* Host mapping of a record whose range is reserved; final protections. False: the host refused, range still reserved. */
bool mem_map_host_locked(struct map *m, bool for_copy);

/* The private pages of m in [lo, hi) to to_lo of a space, where the host lets one write. */
bool mem_copy_private_locked(const struct map *m, gva_t lo, gva_t hi, struct mem_space *to,
                             gva_t to_lo);

/* ---- map.c ---- */
int mem_unmap_locked(struct mem_space *s, gva_t lo, gva_t hi);
int64_t mem_map_locked(struct mem_space *s, gva_t addr, uint64_t len, int prot, int flags,
                       struct mem_object *o, uint64_t offset, struct mem_name *name);
void mem_exec_gone_locked(struct mem_space *s, gva_t lo, gva_t hi);
void mem_exec_changed_locked(struct mem_space *s);
/* Room for more host mappings, more committed bytes. */
bool mem_budget_for(struct mem_pool *p, uint64_t maps);
bool mem_commit_for(struct mem_pool *p, uint64_t bytes);
uint64_t mem_map_cost(const struct mem_object *o, int flags);
bool mem_range_ok(const struct mem_space *s, gva_t a, uint64_t len);

/* ---- watch.c ---- */
/* May pc be executed: RETRY, or what the guest gets. */
enum mem_fault mem_fetch_fault(struct mem_space *s, gva_t pc);
int mem_host_prot(const struct map *m, gva_t page_address);
void mem_apply_locked(struct mem_space *s, gva_t lo, gva_t hi);
void mem_mark_dirty_locked(struct mem_space *s, uint64_t page);
void mem_mark_range_locked(struct mem_space *s, gva_t lo, gva_t hi); /* what is watched there */
void mem_watch_drop_locked(struct mem_space *s, gva_t lo, gva_t hi); /* forget, no dirt */
void mem_watch_recount_locked(struct mem_space *s, gva_t lo, gva_t hi);
void mem_will_write_locked(struct mem_object *o, uint64_t off, uint64_t n);

/* ---- access.c ---- */
bool mem_probe(const void *host, bool write);
void mem_raw_copy(void *to, const void *from, size_t n); /* both known to be there */
bool mem_raw_is_zero(const void *p);                     /* of a page */
/* Bytes copied before the first fault that stays. */
size_t mem_try_copy(void *to, const void *from, size_t n);

#endif
