/*
 * codecache/code_cache.h - where translated code lives, how it is found, joined, withdrawn and forgotten.
 *
 * Looks into: base, cpu, host (interface only).   Used by: translate, execute.
 * Touches:    one memfd per guest, mapped twice: writable for the emitting threads, executable for the vCPUs. No
 *             other room maps PROT_EXEC.
 *
 * cc_cache   one per guest: stubs, arenas, epochs, the hash of spaces.
 * cc_space   the code of one set of executable mappings under one set of options (DESIGN 6, D1). Counted by the
 *            processes that use it (refs) and by the threads that may hold pointers into it (pins).
 * cc_thread  one per vCPU: its open arena, its epoch, its jump tables.
 * cc_block   one translated superblock. Metadata lives in its arena and goes with it.
 *
 * Rules, verified by cc_check():
 *  (1) Bytes reachable through the executable view are complete: a block enters the hash by a release store
 *      after its last byte and its metadata are written.
 *  (2) No page is writable and executable through the same address.
 *  (3) A live block's exit that leads straight to B is on B's incoming list, B is live and in the same space; every
 *      other exit of a live block leads to its own stub.
 *  (4) Retired code is reused only after every thread has passed a safe point since it was retired.
 *  (5) A live block is in its space's hash once and on the list of each guest page that it has bytes of; a retired
 *      block is in neither, on nobody's incoming list, and in no jump table.
 *  (6) Blocks of an arena do not overlap, stand in order, and its index finds the block of each byte.
 *
 * Epochs: a thread enters an epoch *before* the lookup that yields a block or a host pointer and may use it until
 *   its next cc_safe_point or cc_leave. A thread that is outside (idle, blocked, in a system call) counts as past.
 *
 * Locks:  cache.lock > cc_space.lock; share_lock (of a space) stands above mem_space.lock, because watching is
 *   done under it. Everything here that can be called from memory's hooks says so: it takes cache.lock and
 *   cc_space.lock only.
 *
 * Life of a block:  reserve -> write -> publish -> chain* -> retire -> reclaim
 */
#ifndef CODECACHE_CODE_CACHE_H
#define CODECACHE_CODE_CACHE_H

#include "engine/base/base.h"
#include "engine/base/err.h"
#include "engine/cpu/vcpu.h"
#include "engine/host/host.h"

struct cc_cache;
struct cc_space;
struct cc_thread;
struct cc_arena;

#define CC_STUB_BYTES_MAX ((uint32_t)64 << 10) /* what emit_stubs may use */
#define CC_BLOCK_ALIGN 16u

enum cc_block_flag {
    CC_BLOCK_SELF_CHECK = 1, /* compares its guest bytes when entered */
    CC_BLOCK_ACROSS = 2,     /* has guest bytes in two pages; publish sees to it */
};

/* A direct exit. Guarded by the space's lock but for what never changes. */
struct cc_exit {
    gva_t target;                 /* constant */
    uint32_t patch_off, stub_off; /* constant; cache offsets */
    struct cc_block *to;          /* chained to, or NULL */
    struct list link;             /* on to->incoming */
};

/* Behind its exits stand its landings, then the side table, packed. */
struct cc_block {
    gva_t pc; /* all but `retired` and the lists is constant once published */
    struct cc_space *space;
    struct cc_arena *arena;
    struct cc_block *before;       /* the one in front of it in the arena, or NULL */
    uint32_t host_off, host_bytes; /* cache offset */
    uint16_t guest_bytes, map_bytes, exit_count, landing_count;
    uint8_t insn_count, flags;
    _Atomic bool retired;
    /* under the space's lock */
    struct list incoming;   /* cc_exit.link */
    struct list page_link;  /* of the first guest page; with CC_BLOCK_ACROSS another, of the last, stands in front of the block */
    struct cc_exit exits[]; /* sorted by patch_off */
};

struct cc_config {
    const struct host_ops *host;
    struct host_options options; /* that the stubs are made for */
    uint64_t cache_bytes;        /* of arenas; at least 2 arenas */
    uint32_t arena_bytes;        /* a multiple of 4 KiB */
    uint32_t thread_max;         /* cc_threads at a time */
    uint32_t unused_max;         /* spaces that are kept though no process uses them */
    void (*work)(
        void *
            ctx); /* there is something to reclaim: wake the translator thread. Called under locks: only signals */
    void *work_ctx;
};

struct cc_stats {
    uint64_t published, retired, evictions, chained, unchained, reclaimed, full;
    uint64_t host_bytes; /* emitted in all */
    uint32_t blocks_live, arenas, arenas_free, arenas_retiring;
    uint32_t spaces, spaces_unused;
};

/* Once per process, before the first kick: the always-missing jump table. */
res_t cc_process_init(struct err *err);

res_t cc_cache_new(const struct cc_config *config, struct cc_cache **c, struct err *err);
/* No thread and no reference to a space may be left. */
void cc_cache_free(struct cc_cache *c);
const struct host_stubs *cc_stubs(const struct cc_cache *c);
/* Where cache offset off is executed; thread: any. */
const void *cc_host(const struct cc_cache *c, uint32_t off);
void cc_cache_stats(struct cc_cache *c, struct cc_stats *out);
/* The rules above. Takes every lock; thread: any, but emitting threads must stand still for rule (6). */
bool cc_check(struct cc_cache *c);

/* ---- executable ranges of all caches of the process: for the signal handler ---- */

struct cc_range {
    uintptr_t lo, hi;     /* the executable view */
    uintptr_t blocks;     /* from here on translated code, below it stubs */
    uintptr_t fault_stub; /* where to resume */
};
/* Async-signal-safe, lock-free. */
bool cc_range_find(uintptr_t rip, struct cc_range *out);

/* ---- threads and epochs ---- */

/* nudge: make the thread pass a safe point soon; called by other threads, must not block. */
res_t cc_thread_new(struct cc_cache *c, void (*nudge)(void *ctx), void *ctx, struct cc_thread **t,
                    struct err *err);
void cc_thread_free(struct cc_thread *t);
/* Before the first lookup; cost: one locked instruction. */
void cc_enter(struct cc_thread *t);
/* Between two uses: nothing that was looked up before may be used after. Cost: a load and a compare. */
void cc_safe_point(struct cc_thread *t);
void cc_leave(struct cc_thread *t);
/* Return once every other thread was outside or passed a safe point after the call began; nudges them. t (may be NULL)
 * itself counts as past. No lock may be held. */
void cc_quiesce(struct cc_cache *c, struct cc_thread *t);
/* Make retired arenas that everybody is past free again; nudges who lags if `nudge`. True if nothing is left waiting.
 * Thread: any; never waits. */
bool cc_reclaim(struct cc_cache *c, bool nudge);
/* Translator thread: evict ahead of need, so that a few arenas (an eighth, at most 8) are free or on their way. */
void cc_evict_ahead(struct cc_cache *c);

/* ---- spaces ---- */

/* Told to each process of a space when code of a guest page that had none yet is about to be published: watch the
 * page. Returns false if it cannot be watched here, so that code from it has to check itself. Called with share_lock held. */
struct cc_sharer {
    struct list link;
    bool (*watch)(void *ctx, gva_t page);
    void *ctx;
};

/* The space of that key (copied), found or made; takes a reference. made says which, may be NULL.
 * Fails: ERR_NO_MEMORY. Thread: any. */
res_t cc_space_open(struct cc_cache *c, const void *key, size_t n, struct cc_space **s, bool *made,
                    struct err *err);
/* The same, but only if it exists. */
struct cc_space *cc_space_find(struct cc_cache *c, const void *key, size_t n);
struct cc_space *cc_space_get(struct cc_space *s);
void cc_space_put(struct cc_space *s);
/* Join: register the sharer, then have it watch every page that has code. False: it cannot watch one whose code does not check
 * itself; it has not joined. Part before put. No lock may be held. */
bool cc_space_join(struct cc_space *s, struct cc_sharer *sh);
void cc_space_part(struct cc_space *s, struct cc_sharer *sh);
uint64_t cc_space_id(const struct cc_space *s); /* never used twice in a process */
bool cc_space_has_key(struct cc_space *s, const void *key, size_t n);
/* If the caller's is the only reference: take the key away, so that nobody else joins, and say true. May be called from hooks. */
bool cc_space_claim(struct cc_space *s);
/* Take the key away though others use the space: what it holds is no longer what the key says. May be called from hooks. */
void cc_space_disown(struct cc_space *s);
/* Give a claimed or sole-owned space a new key. False if it is not the only reference, the key is taken, or out of memory. */
bool cc_space_rekey(struct cc_space *s, const void *key, size_t n);

/* The thread's pointers into s stay valid until it pins another (NULL: none). Returns its jump table there. */
struct cpu_jt_entry *cc_pin(struct cc_thread *t, struct cc_space *s);
struct cpu_jt_entry *cc_missing_table(void);

/* Count an entry of cold code; returns the count so far, at most 255. Places share counters: who translates at a
 * count cools it, which bounds how much cold code can be translated by accident. */
unsigned cc_space_heat(struct cc_space *s, gva_t pc);
void cc_space_cool(struct cc_space *s, gva_t pc);

/* ---- blocks ---- */

struct cc_slot {
    uint8_t *w; /* writable view */
    uint32_t w_bytes, cache_off;
};
/* Room for one block, in the thread's own open arena: at least bytes_min, in fact all that is left. False: none is
 * free now; the caller interprets on, or passes a safe point and tries once more.
 * Cost: a pointer bump, but when an arena is full. Thread: t's. One reservation at a time; ends with publish or abandon. */
bool cc_reserve(struct cc_thread *t, uint32_t bytes_min, struct cc_slot *out);
/* The whole of an arena, for a block that did not fit. */
bool cc_reserve_fresh(struct cc_thread *t, struct cc_slot *out);
void cc_abandon(struct cc_thread *t);

struct cc_publish {
    struct cc_space *space;
    gva_t pc;
    uint32_t guest_bytes; /* at most a page */
    unsigned insn_count;
    uint8_t flags;
    const struct host_code *code;
    /* Published only if *generation is still generation_seen, tested under the space's lock. NULL: always. */
    const _Atomic uint64_t *generation;
    uint64_t generation_seen;
};
enum cc_publish_result {
    CC_PUBLISHED,
    CC_PRESENT,  /* another thread was first: *out is its block */
    CC_OUTDATED, /* the generation moved */
    CC_NO_MEMORY,
};
/* Before: cc_announce for the pages. Ends the reservation. */
enum cc_publish_result cc_publish(struct cc_thread *t, const struct cc_publish *p,
                                  struct cc_block **out);
/* The page is going to hold code: every sharer watches it, before the caller reads the bytes. *hot is set if one cannot; then
 * the code has to check itself. False: out of memory. No lock may be held. */
bool cc_announce(struct cc_space *s, gva_t page, bool *hot);

/* Lock-free; inside an epoch. */
struct cc_block *cc_find(struct cc_space *s, gva_t pc);
/* Put b into t's jump table of its space (t has pinned it), unless its pc is there: a landing then, which is better. */
void cc_fill(struct cc_thread *t, struct cc_block *b);
/* The block that holds cache offset off, retired or not; NULL if none. Lock-free; inside an epoch. */
struct cc_block *cc_find_host(struct cc_cache *c, uint32_t off);
/* Side table: the group that cache offset off (inside b) belongs to, if its access faulted there: there are no others in it. */
struct cc_place {
    gva_t pc;           /* of its first guest instruction */
    unsigned borrowed;  /* as in struct host_pcmap */
    unsigned uncounted; /* as in struct host_pcmap */
    unsigned fixup;     /* as in struct host_pcmap */
};
struct cc_place cc_block_place(const struct cc_block *b, uint32_t off);
/* Make the exit at site_off (as v->exit_site gave it) lead straight to b, if both still live in one space. */
bool cc_chain(struct cc_cache *c, uint32_t site_off, struct cc_block *b);

/* Retire what has guest bytes in [lo, hi); returns how many blocks. May be called from hooks. */
size_t cc_retire_range(struct cc_space *s, gva_t lo, gva_t hi);
/* Retire this block if it still lives. */
void cc_retire_block(struct cc_block *b);
/* Is there a live block outside all n ranges {lo, hi}? */
bool cc_space_any_outside(struct cc_space *s, const gva_t (*ranges)[2], size_t n);

#endif
