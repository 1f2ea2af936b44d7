/*
 * translate/translate.h - guest bytes -> published block; the translator thread of a guest.
 *
 * Looks into: isa, cpu, ir, guest, host, memory, codecache, profile.   Used by: execute.
 *
 * xl         one per guest: joins its guest_ops, host_ops and code cache; owns the translator thread.
 * xl_thread  one per vCPU: scratch memory, the block of micro-ops, the cache's thread. Translating is done on the vCPU.
 *
 * Rules:
 *  (1) A page is announced to every process of the space, hence watched, before its bytes are read.
 *  (2) A block is published only if nothing that it was made of was written or unmapped between the watch and
 *      the publication: the caller's generation still stands (checked under the space's lock), and the pages
 *      were not dirty after the read. Who changes code moves the generation before it takes the dirty pages.
 *  (3) Bytes are copied once; everything is made from the copy.
 *
 * The translator thread sleeps until the cache has something to evict or reclaim or a profile ring is half full;
 * while threads lag behind an epoch it looks again every millisecond, and nudges them. An idle guest costs no tick.
 */
#ifndef TRANSLATE_TRANSLATE_H
#define TRANSLATE_TRANSLATE_H

#include "engine/codecache/code_cache.h"
#include "engine/guest/guest.h"
#include "engine/host/host.h"
#include "engine/profile/profile.h"

struct mem_space;
struct xl;
struct xl_thread;

struct xl_config {
    const struct guest_ops *guest;
    const struct host_ops *host;

    struct host_options options; /* of the stubs; a space has its own */
    uint64_t cache_bytes;
    uint32_t arena_bytes, thread_max;
    unsigned insns_max; /* 0: default */
};
res_t xl_new(const struct xl_config *config, struct prof *prof, struct xl **x, struct err *err);
/* Stops and joins the translator thread. No xl_thread and no code space may be in use. */
void xl_free(struct xl *x);
/* Start the translator thread unless it runs; without it everything works but is reclaimed by the vCPUs alone. */
res_t xl_start(struct xl *x, struct err *err);
struct cc_cache *xl_cache(struct xl *x);
/* There is something for the translator thread. Thread: any, under any lock; only signals. */
void xl_wake(void *x);

res_t xl_thread_new(struct xl *x, struct prof_source *source, void (*nudge)(void *ctx), void *ctx,
                    struct xl_thread **t, struct err *err);
void xl_thread_free(struct xl_thread *t);
struct cc_thread *xl_cc_thread(struct xl_thread *t);

enum xl_result {
    XL_OK,
    XL_NOT_CODE, /* the page may not be executed: let the interpreter find out and trap */
    XL_FULL,     /* no room now */
    XL_CHANGED,  /* the code changed meanwhile */
    XL_DIRTY,    /* the space has dirty pages: handle them as fence.i does, then try again */
    XL_NO_MEMORY,
};

struct xl_request {
    struct mem_space *mem;
    struct cc_space *space;
    const struct host_options *options; /* of that space */
    gva_t pc;
    const _Atomic uint64_t *generation; /* rule (2) */
};
/* Thread: t's own, inside its epoch, with request->space pinned. *block is valid as long as the epoch. */
enum xl_result xl_translate(struct xl_thread *t, const struct xl_request *request,
                            struct cc_block **block);

#endif
