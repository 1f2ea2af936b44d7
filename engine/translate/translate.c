/* Watch, read, lift, verify, lower, publish. */
#include "engine/translate/internal.h"

#include "engine/base/log.h"
#include "engine/base/os.h"
#include "engine/memory/memory.h"

#include <stdlib.h>

#define INSN_BYTES_MAX 4u /* of the guests there are */
#define ARENA_KEEP_BYTES ((size_t)64 << 10)
/* Offered at first, per micro-op; what does not fit is lowered again into a whole arena. */
#define OP_BYTES_GUESS 20u
#define BLOCK_BYTES_GUESS 128u

res_code_t xl_new(const struct xl_config *config, struct prof *prof, struct xl **out,
                  struct err *err)
{
    struct xl *x = calloc(1, sizeof *x);
    if (!x)
        return err_set(err, ERR_NO_MEMORY, "translator");
    x->config = *config;
    if (!x->config.insns_max || x->config.insns_max > IR_INSNS_MAX)
        x->config.insns_max = IR_INSNS_MAX;
    x->prof = prof;
    pthread_mutex_init(&x->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&x->wake, &attr);
    pthread_condattr_destroy(&attr);
    struct cc_config cc = {
        .host = config->host,
        .options = config->options,

        .cache_bytes = config->cache_bytes,
        .arena_bytes = config->arena_bytes,
        .thread_max = config->thread_max,
        .unused_max = 16,
        .work = xl_wake,
        .work_ctx = x,
    };
    if (cc_cache_new(&cc, &x->cache, err) != OK) {
        xl_free(x);
        return FAIL;
    }
    *out = x;
    return OK;
}

void xl_free(struct xl *x)
{
    if (!x)
        return;
    xl_stop(x);
    cc_cache_free(x->cache);
    pthread_mutex_destroy(&x->lock);
    pthread_cond_destroy(&x->wake);
    free(x);
}

struct cc_cache *xl_cache(struct xl *x)
{
    return x->cache;
}

res_code_t xl_thread_new(struct xl *x, struct prof_source *source, void (*nudge)(void *ctx),
                         void *ctx, struct xl_thread **out, struct err *err)
{
    struct xl_thread *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(err, ERR_NO_MEMORY, "translator");
    if (cc_thread_new(x->cache, nudge, ctx, &t->cc, err) != OK) {
        free(t);
        return FAIL;
    }
    t->xl = x;
    t->source = source;
    arena_init(&t->arena, 0);
    *out = t;
    return OK;
}

void xl_thread_free(struct xl_thread *t)
{
    if (!t)
        return;
    cc_thread_free(t->cc);
    arena_fini(&t->arena);
    free(t);
}

struct cc_thread *xl_cc_thread(struct xl_thread *t)
{
    return t->cc;
}

/* ---- one block ---- */

struct source {
    uint8_t bytes[IR_INSNS_MAX * INSN_BYTES_MAX];
    size_t n;
    bool hot;
};

static enum xl_result watch(const struct xl_request *q, gva_t page, bool *hot)
{
    /* Announced first: from then on whoever joins the space watches it too. That also watches it for us, but
     * what became of it we must know. */
    if (!cc_announce(q->space, page, hot))
        return XL_NO_MEMORY;
    switch (mem_watch_page(q->mem, page)) {
    case MEM_WATCH_OK:
        return XL_OK;
    case MEM_WATCH_HOT:
        *hot = true;
        return XL_OK;
    default:
        return XL_NOT_CODE;
    }
}

/* A block ends at its page's end, so that one page is watched; only an instruction that lies across it takes the next. */
static enum xl_result read_source(const struct xl_request *q, unsigned insns_max, struct source *s)
{
    size_t want = (size_t)insns_max * INSN_BYTES_MAX, here = PAGE_SIZE - (q->pc & (PAGE_SIZE - 1));
    gva_t page = q->pc & ~(gva_t)(PAGE_SIZE - 1);
    s->hot = false;
    enum xl_result r = watch(q, page, &s->hot);
    if (r != XL_OK)
        return r;
    if (here < INSN_BYTES_MAX) {
        r = watch(q, page + PAGE_SIZE, &s->hot);
        if (r == XL_NO_MEMORY)
            return r;
        s->n = mem_read_code(q->mem, q->pc, s->bytes, want);
    } else
        s->n = mem_read_watched(q->mem, q->pc, s->bytes, MIN(want, here));
    return s->n ? XL_OK : XL_NOT_CODE;
}

static void lift(struct xl_thread *t, const struct xl_request *q, const struct source *s,
                 struct gst_lift *l)
{
    ir_init(&t->block, q->pc);
    t->xl->config.guest->lift(l, &t->block);
    unsigned at = 0;
    const char *broken = ir_verify(&t->block, &at);
    if (unlikely(broken)) {
        log_error("lifted block at %#llx: op %u: %s", (unsigned long long)q->pc, at, broken);
        UNREACHABLE();
    }
    ASSERT(l->consumed_bytes <= s->n);
}

static res_code_t lower(struct xl_thread *t, const struct xl_request *q, const struct cc_slot *slot,
                        struct host_code *code)
{
    *code = (struct host_code){
        .w = slot->w, .w_bytes = slot->w_bytes, .cache_off = slot->cache_off, .arena = &t->arena};
    struct err err;
    return t->xl->config.host->lower(q->options, cc_stubs(t->xl->cache), &t->block, code, &err);
}

/* Lift and lower; on success the reservation is held. */
static enum xl_result generate(struct xl_thread *t, const struct xl_request *q,
                               const struct source *s, struct gst_lift *l, struct host_code *code)
{
    for (unsigned max = t->xl->config.insns_max;; max /= 2) {
        *l = (struct gst_lift){.pc = q->pc,
                               .bytes = s->bytes,
                               .byte_count = s->n,
                               .insns_max = max,
                               .options = q->options->gst_options,
                               .self_check = s->hot};
        lift(t, q, s, l);
        uint32_t guess = BLOCK_BYTES_GUESS + t->block.count * OP_BYTES_GUESS;
        struct cc_slot slot;
        if (!cc_reserve(t->cc, MIN(guess, t->xl->config.arena_bytes), &slot))
            return XL_FULL;
        if (lower(t, q, &slot, code) == OK)
            return XL_OK;
        cc_abandon(t->cc);
        if (!cc_reserve_fresh(t->cc, &slot))
            return XL_FULL;
        if (lower(t, q, &slot, code) == OK)
            return XL_OK;
        cc_abandon(t->cc);
        if (max == 1)
            return XL_FULL; /* arenas smaller than one instruction's code */
    }
}

static enum xl_result publish(struct xl_thread *t, const struct xl_request *q, uint64_t generation,
                              const struct source *s, const struct gst_lift *l,
                              const struct host_code *code, struct cc_block **block)
{
    struct cc_publish p = {
        .space = q->space,
        .pc = q->pc,
        /* A block that hands its first instruction to T0 still depends on that instruction's bytes. */
        .guest_bytes = l->consumed_bytes ? l->consumed_bytes : (uint32_t)MIN(s->n, INSN_BYTES_MAX),
        .insn_count = l->insn_count,
        .flags = s->hot ? CC_BLOCK_SELF_CHECK : 0,
        .code = code,
        .generation = q->generation,
        .generation_seen = generation,
    };
    switch (cc_publish(t->cc, &p, block)) {
    case CC_PUBLISHED:
        prof_add(t->source, PROF_BLOCKS, 1);
        prof_add(t->source, PROF_INSNS_T1, l->insn_count);
        prof_add(t->source, PROF_HOST_BYTES, code->len);
        return XL_OK;
    case CC_PRESENT:
        prof_add(t->source, PROF_ABANDONED, 1);
        return XL_OK;
    case CC_OUTDATED:
        prof_add(t->source, PROF_ABANDONED, 1);
        return XL_CHANGED;
    default:
        return XL_NO_MEMORY;
    }
}

enum xl_result xl_translate(struct xl_thread *t, const struct xl_request *q,
                            struct cc_block **block)
{
    uint64_t start = os_now_ns();
    struct source s;
    struct gst_lift l;
    struct host_code code;
    uint64_t generation = atomic_load(q->generation);
    enum xl_result r = read_source(q, t->xl->config.insns_max, &s);
    if (r == XL_OK) {
        /* Dirty before the read: others of this space would run what only this process has. Dirty after the read:
         * the same cannot be told apart. A write after this look retires the block, by the page index. */
        if (mem_dirty_any(q->mem))
            return XL_DIRTY;
        arena_reset(&t->arena);
        r = generate(t, q, &s, &l, &code);
        if (r == XL_OK)
            r = publish(t, q, generation, &s, &l, &code, block);
    }
    if (t->arena.used_bytes > ARENA_KEEP_BYTES)
        arena_fini(&t->arena);
    if (r == XL_FULL)
        prof_add(t->source, PROF_CACHE_FULL, 1);
    prof_add(t->source, PROF_TRANSLATE_NS, os_now_ns() - start);
    return r;
}
