/* The loop of a vCPU: look up, enter, handle what it came back with. */
#include "engine/execute/internal.h"

#include <asm/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* With a broken entry condition T0 goes on this many instructions before it is looked at again. */
#define T0_STRETCH 64
/* One in so many jump-table misses goes into the profile: two targets that share a slot may miss all the time. */
#define MISS_SAMPLE 16

struct go {
    struct run_vcpu *rv;
    struct run_space *s;
    struct vcpu *v;
    uint32_t site; /* the direct exit that led here, to be chained; 0: none */
    bool indirect; /* a jump-table miss led here */
    enum run_why why;
};

typedef uint32_t enter_fn(struct vcpu *v, const void *host);

/* T0, counted. */
static enum cpu_exit interpret(struct run_vcpu *rv, uint64_t n, bool to_branch)
{
    struct vcpu *v = rv->v;
    uint64_t before = v->icount;
    enum cpu_exit x = rv->engine->config.guest->step(v, n, to_branch);
    prof_add(&rv->source, PROF_INSNS_T0, v->icount - before);
    return x;
}

/* Take the requests; true if one is to leave. */
static bool kicked(struct run_vcpu *rv)
{
    _Atomic uint32_t *req = &rv->v->exit_req;
    if (!atomic_load_explicit(req, memory_order_relaxed))
        return false;
    prof_add(&rv->source, PROF_POLLS, 1);
    return atomic_exchange(req, 0) & RUN_REQ_KICK;
}

/* Put the jump table back and look for requests a last time (see run_request). */
static bool armed(struct run_vcpu *rv)
{
    struct vcpu *v = rv->v;
    if (atomic_load_explicit(&v->jt, memory_order_relaxed) != rv->jt)
        atomic_store(&v->jt, rv->jt);
    return !atomic_load(&v->exit_req);
}

static enum cpu_exit enter(struct run_vcpu *rv, const void *host)
{
    struct cc_cache *c = xl_cache(rv->engine->xl);
    enter_fn *f = (enter_fn *)(uintptr_t)cc_host(c, cc_stubs(c)->enter);
    prof_add(&rv->source, PROF_ENTRIES_T1, 1);
    enum cpu_exit x = (enum cpu_exit)f(rv->v, host);
    prof_add(&rv->source, PROF_EXITS, 1);
    return x;
}

/* Is the code space the one for this state of affairs? Only at a safe point: it may change. */
static void settle(struct go *g)
{
    struct run_vcpu *rv = g->rv;
    enum run_mode mode = g->v->frm > 3 ? RUN_MODE_SOFT : RUN_MODE_HARD;
    if (unlikely(rv->seen_id != g->s->id || rv->seen_mode != mode ||
                 rv->seen_generation != atomic_load(&g->s->generation) || !rv->code))
        run_space_settle(rv, g->s, mode);
}

static void note_edge(struct go *g, uint64_t from, enum prof_edge_kind kind)
{
    struct prof_edge e = {
        .space = cc_space_id(g->rv->code), .from = from, .to = g->v->pc, .kind = kind};
    if (prof_note(&g->rv->source, &e))
        xl_wake(g->rv->engine->xl);
}

/* The block at pc, translated if it has been entered often enough. NULL: T0 does it. */
static struct cc_block *find(struct go *g)
{
    struct run_vcpu *rv = g->rv;
    gva_t pc = g->v->pc;
    struct cc_block *b = cc_find(rv->code, pc);
    if (b)
        return b;
    if (cc_space_heat(rv->code, pc) < rv->engine->config.t1_threshold)
        return NULL;
    struct xl_request q = {.mem = g->s->mem,
                           .space = rv->code,
                           .options = &g->s->options[rv->seen_mode],
                           .pc = pc,
                           .generation = &g->s->generation};
    switch (xl_translate(rv->xt, &q, &b)) {
    case XL_OK:
        cc_space_cool(rv->code, pc);
        note_edge(g, 0, PROF_ENTRY);
        return b;
    case XL_DIRTY: /* nothing stale may be shared; T0 makes one block of progress meanwhile */
        run_space_fence(g->s, rv);
        return NULL;
    default:
        return NULL;
    }
}

static void join(struct go *g, struct cc_block *b)
{
    struct run_vcpu *rv = g->rv;
    if (g->site) {
        struct cc_block *from = cc_find_host(xl_cache(rv->engine->xl), g->site);
        if (cc_chain(xl_cache(rv->engine->xl), g->site, b))
            note_edge(g, from->pc, PROF_DIRECT);
    }
    if (g->indirect) {
        prof_add(&rv->source, PROF_MISSES, 1);
        if (++rv->miss_turn % MISS_SAMPLE == 0)
            note_edge(g, 0, PROF_INDIRECT);

        cc_fill(rv->ct, b);
    }
    g->site = 0;
}

/* What one T1 entry or one cold block came back with. */
static enum cpu_exit advance(struct go *g)
{
    struct run_vcpu *rv = g->rv;
    struct vcpu *v = g->v;
    if (unlikely(!rv->code || (run_masked(v) && v->r[rv->engine->config.guest->sp_reg] & ~v->mask)))
        return interpret(rv, T0_STRETCH, false);
    /* Our own jump table first: it also answers where system calls and polls come back to. */
    const struct cpu_jt_entry *e = &rv->jt[cpu_jt_first(v->pc)];
    const void *host;
    if (!g->site && atomic_load_explicit(&e->pc, memory_order_acquire) == v->pc)
        host = atomic_load_explicit(&e->host, memory_order_relaxed);
    else {
        struct cc_block *b = find(g);
        if (!b) {
            g->site = 0;
            g->indirect = false;
            prof_add(&rv->source, PROF_ENTRIES_T0, 1);
            return interpret(rv, UINT64_MAX, true);
        }
        join(g, b);
        host = cc_host(xl_cache(rv->engine->xl), b->host_off);
    }
    g->indirect = false;
    if (!armed(rv))
        return CPU_EXIT_POLL;
    enum cpu_exit x = enter(rv, host);
    g->indirect = x == CPU_EXIT_NEXT;
    return x;
}

/* A host fault in a block: to the first guest instruction of its group, of which nothing is done; then T0 does it and
 * raises what is to be raised, unless the watch was the cause. */
static enum cpu_exit fault(struct go *g)
{
    struct run_vcpu *rv = g->rv;
    struct vcpu *v = g->v;
    struct cc_cache *c = xl_cache(rv->engine->xl);
    prof_add(&rv->source, PROF_FAULTS, 1);
    uint32_t off = (uint32_t)(v->fault_rip - (uintptr_t)cc_host(c, 0));
    struct cc_block *b = cc_find_host(c, off);
    ASSERT(b);
    struct cc_place at = cc_block_place(b, off);
    v->pc = at.pc;
    if (at.borrowed)
        v->r[at.borrowed - 1] = v->borrowed;
    v->icount += at.uncounted;
    if (at.fixup)
        enter(rv, cc_host(c, b->host_off + at.fixup));
    gva_t a = v->fault_addr - (uintptr_t)v->window;
    if (mem_fault(g->s->mem, a, v->fault_is_write) == MEM_FAULT_RETRY)
        return interpret(rv, UINT64_MAX, true); /* to the next place that blocks start at */
    return interpret(rv, 1, false);
}

/* True: go on. */
static bool handle(struct go *g, enum cpu_exit x)
{
    struct run_vcpu *rv = g->rv;
    struct cc_block *b;
    switch (x) {
    case CPU_EXIT_NEXT:
    case CPU_EXIT_POLL:
        return true;
    case CPU_EXIT_CHAIN:
        g->site = rv->engine->config.no_chain ? 0 : g->v->exit_site;
        return true;
    case CPU_EXIT_SYSCALL:
        g->why = RUN_SYSCALL;
        return false;
    case CPU_EXIT_TRAP:
        g->why = RUN_TRAP;
        return false;
    case CPU_EXIT_INTERP:
        prof_add(&rv->source, PROF_INTERP, 1);
        return handle(g, interpret(rv, 1, false));
    case CPU_EXIT_FAULT:
        return handle(g, fault(g));
    case CPU_EXIT_FENCE_I:
        prof_add(&rv->source, PROF_FENCES, 1);
        if (rv->engine->xl)
            run_space_fence(g->s, rv);
        return true;
    case CPU_EXIT_STALE:
        prof_add(&rv->source, PROF_STALE, 1);
        b = cc_find(rv->code, g->v->pc);
        if (b)
            cc_retire_block(b);
        return true;
    case CPU_EXIT_MODE:
        prof_add(&rv->source, PROF_MODES, 1);
        return true;
    }
    UNREACHABLE();
}

static void go_interpreted(struct go *g)
{
    do {
        if (kicked(g->rv)) {
            g->why = RUN_KICKED;
            return;
        }
    } while (handle(g, interpret(g->rv, UINT64_MAX, false)));
}

static void go_translated(struct go *g)
{
    struct run_vcpu *rv = g->rv;
    cc_enter(rv->ct);
    for (;;) {
        /* What a direct exit told us is worth one more look before the safe point, which would forget it. */
        if (!g->site || atomic_load_explicit(&g->v->exit_req, memory_order_relaxed) ||
            rv->seen_generation != atomic_load_explicit(&g->s->generation, memory_order_acquire) ||
            (g->v->frm > 3) != (rv->seen_mode == RUN_MODE_SOFT)) {
            g->site = 0;
            cc_safe_point(rv->ct);
            if (kicked(rv)) {
                g->why = RUN_KICKED;
                break;
            }
            settle(g);
        }
        if (!handle(g, advance(g)))
            break;
    }
    cc_leave(rv->ct);
}

/* Translated code reaches the window through %gs. Where enter cannot set it, this thread's is set here when it changes. */
static void set_window_base(const struct run_vcpu *rv)
{
    static _Thread_local const uint8_t *base;
    if (rv->engine->features & HOST_FEATURE_FSGSBASE || base == rv->v->window)
        return;
    long rc = syscall(SYS_arch_prctl, ARCH_SET_GS, rv->v->window);
    ASSERT(rc == 0);
    base = rv->v->window;
}

enum run_why run_go(struct run_vcpu *rv, struct run_space *s)
{
    struct vcpu *v = rv->v;
    struct go g = {.rv = rv, .s = s, .v = v};
    v->space = s->mem;
    v->window = mem_space_window(s->mem);
    v->mask = mem_space_bytes(s->mem) - 1;
    run_set_current(v);
    if (rv->ct) {
        /* Seen before we look at the generation: who changes code after that nudges us. */
        atomic_store(&rv->in, s);
        set_window_base(rv);
        go_translated(&g);
        atomic_store_explicit(&rv->in, NULL, memory_order_release);
    } else
        go_interpreted(&g);
    run_set_current(NULL);
    return g.why;
}
