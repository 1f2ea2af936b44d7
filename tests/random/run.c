#include "tests/random/run.h"

#include "engine/base/base.h"
#include "engine/isa/isa.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(res_code_t rc, const struct err *err)
{
    if (rc == OK)
        return;
    fprintf(stderr, "vvrandom: %s\n", err->text);
    exit(2);
}

static void must_map(struct mem_space *m, gva_t at, uint64_t bytes, int prot)
{
    if (mem_map(m, at, bytes, prot, MEM_FIXED, NULL, 0, NULL) != (int64_t)at) {
        fprintf(stderr, "vvrandom: cannot map %#" PRIx64 "\n", at);
        exit(2);
    }
}

static void side_init(struct side *s, uint32_t window_bits)
{
    struct mem_pool_config pc = {
        .commit_bytes = 64 << 20, .maps = 4000, .window_bits = window_bits};
    struct err err;
    must(mem_pool_new(&pc, &s->pool, &err), &err);
    must(mem_space_new(s->pool, &s->mem, &err), &err);
    must_map(s->mem, GEN_DATA, GEN_DATA_BYTES + GEN_READONLY_BYTES, MEM_R | MEM_W);
    s->data = mem_space_window(s->mem) + GEN_DATA;
}

void bench_init(struct bench *b, const struct run_config *config, uint32_t window_bits)
{
    struct err err;
    must(run_process_init(&err), &err);
    must(run_thread_init(&err), &err);
    side_init(&b->t0, window_bits);
    side_init(&b->t1, window_bits);
    must(run_engine_new(config, &b->engine, &err), &err);
    must(run_space_new(b->engine, b->t1.mem, &b->space, &err), &err);
    must(run_vcpu_new(b->engine, &b->rv, &err), &err);
    must(cpu_vcpu_new(&b->v0, &err), &err);
    b->count_insns = config->count_insns;
    b->v0->space = b->t0.mem;
    b->v0->window = mem_space_window(b->t0.mem);
    b->v0->mask = mem_space_bytes(b->t0.mem) - 1;
    struct rng rng;
    rng_seed(&rng, 7);
    gen_data(b->initial, &rng);
    struct side *sides[] = {&b->t0, &b->t1};
    for (unsigned i = 0; i < 2; i++) {
        memcpy(sides[i]->data, b->initial, sizeof b->initial);
        if (mem_protect(sides[i]->mem, GEN_DATA + GEN_DATA_BYTES, GEN_READONLY_BYTES, MEM_R) < 0)
            abort();
    }
}

void bench_fini(struct bench *b)
{
    cpu_vcpu_free(b->v0);
    run_vcpu_free(b->rv);
    run_space_free(b->space);
    run_engine_free(b->engine);
    mem_space_put(b->t0.mem);
    mem_space_put(b->t1.mem);
    mem_pool_free(b->t0.pool);
    mem_pool_free(b->t1.pool);
}

void bench_load(struct bench *b, const struct gen_program *p, unsigned n, gva_t *at)
{
    static uint8_t code[BATCH_MAX * GEN_BYTES_MAX];
    size_t used = 0;
    for (unsigned i = 0; i < n; i++) { /* close together, so that many lie across pages */
        at[i] = BENCH_CODE + used;
        used += gen_bytes(&p[i], code + used);
    }
    struct side *sides[] = {&b->t0, &b->t1};
    for (unsigned i = 0; i < 2; i++) {
        struct mem_space *m = sides[i]->mem;
        if (b->mapped && mem_unmap(m, BENCH_CODE, BENCH_CODE_BYTES) < 0)
            abort();
        must_map(m, BENCH_CODE, BENCH_CODE_BYTES, MEM_R | MEM_W);
        if (!mem_copy_out(m, BENCH_CODE, code, used) ||
            mem_protect(m, BENCH_CODE, BENCH_CODE_BYTES, MEM_R | MEM_X) < 0)
            abort();
    }
    b->mapped = true;
}

static struct cpu_regs start_regs(const struct gen_program *p, gva_t at)
{
    struct cpu_regs regs = {.pc = at, .frm = p->frm};
    memcpy(regs.r, p->r, sizeof regs.r);
    memcpy(regs.f, p->f, sizeof regs.f);
    regs.r[0] = 0;
    regs.mxcsr = CPU_MXCSR_INIT | cpu_mxcsr_from_fflags(p->fflags) | cpu_mxcsr_rounding(p->frm);
    return regs;
}

/* ---- T0 ---- */

/* The next instruction is counted; false if it is barred. */
static bool look(struct bench *b)
{
    uint32_t word;
    struct isa_insn d;
    if (!mem_fetch(b->v0, b->v0->pc, &word))
        return true;
    if (isa_rv64_decode(word, &d) && b->coverage)
        b->coverage[d.form]++;
    return !b->barred || !b->barred(b->v0, &d);
}

/* To the next event. */
static enum event_kind step_t0(struct bench *b, gva_t end)
{
    struct vcpu *v = b->v0;
    bool looks = b->coverage || b->barred;
    for (uint64_t stop = v->icount + T0_INSNS_MAX; v->icount < stop;) {
        if (looks && !look(b))
            return EVENT_BARRED;
        switch (rv_guest_ops.step(v, looks ? 1 : stop - v->icount, false)) {
        case CPU_EXIT_SYSCALL:
            return v->pc == end ? EVENT_END : EVENT_SYSCALL;
        case CPU_EXIT_TRAP:
            return EVENT_TRAP;
        default: /* fence.i, rounding modes */
            break;
        }
    }
    return EVENT_RUNAWAY;
}

/* ---- T1 ---- */

static enum event_kind step_t1(struct bench *b, gva_t end)
{
    struct vcpu *v = run_vcpu_state(b->rv);
    b->started_ns = os_now_ns();
    enum run_why why = run_go(b->rv, b->space);
    b->started_ns = 0;
    switch (why) {
    case RUN_SYSCALL:
        return v->pc == end ? EVENT_END : EVENT_SYSCALL;
    case RUN_TRAP:
        return EVENT_TRAP;
    case RUN_KICKED: /* the watchdog */
        break;
    }
    return EVENT_RUNAWAY;
}

static struct event observe(struct vcpu *v, enum event_kind kind)
{
    struct event e = {.kind = kind, .icount = v->icount};
    cpu_regs_store(v, &e.regs);
    if (kind == EVENT_TRAP)
        e.trap = v->trap;
    return e;
}

/* Behind the instruction at pc; false if pc is not one of the program. */
static bool skip(struct vcpu *v, const struct gen_program *p, gva_t at)
{
    uint64_t off = v->pc - at;
    if (off >= p->bytes)
        return false;
    for (unsigned lo = 0, n = p->count; n;) {
        unsigned half = n / 2, i = lo + half;
        if (p->insn[i].off == off) {
            v->pc += p->insn[i].len;
            return true;
        }
        if (p->insn[i].off < off) {
            lo = i + 1;
            n -= half + 1;
        } else
            n = half;
    }
    return false;
}

/* ---- comparing ---- */

static const char *const event_names[] = {"end", "system call", "trap", "runaway"};

static bool differ(struct bench *b, const char *what, unsigned event, uint64_t t0, uint64_t t1)
{
    snprintf(b->difference, sizeof b->difference,
             "event %u: %s: interpreter %#" PRIx64 ", translator %#" PRIx64, event, what, t0, t1);
    return false;
}

static bool same_event(struct bench *b, unsigned n, const struct event *e, const struct event *f)
{
    char name[32];
    if (e->kind != f->kind) {
        snprintf(b->difference, sizeof b->difference,
                 "event %u: interpreter %s at pc %#" PRIx64 " (trap %d addr %#" PRIx64
                 "), translator %s at pc %#" PRIx64 " (trap %d addr %#" PRIx64 ")",
                 n, event_names[e->kind], e->regs.pc, (int)e->trap.kind, e->trap.addr,
                 event_names[f->kind], f->regs.pc, (int)f->trap.kind, f->trap.addr);
        return false;
    }
    if (e->regs.pc != f->regs.pc)
        return differ(b, "pc", n, e->regs.pc, f->regs.pc);
    for (unsigned i = 0; i < 32; i++) {
        snprintf(name, sizeof name, "%s", isa_rv64_xreg_name(i));
        if (e->regs.r[i] != f->regs.r[i])
            return differ(b, name, n, e->regs.r[i], f->regs.r[i]);
        snprintf(name, sizeof name, "%s", isa_rv64_freg_name(i));
        if (e->regs.f[i] != f->regs.f[i])
            return differ(b, name, n, e->regs.f[i], f->regs.f[i]);
    }
    uint32_t flags0 = cpu_fflags_from_mxcsr(e->regs.mxcsr),
             flags1 = cpu_fflags_from_mxcsr(f->regs.mxcsr);
    if (flags0 != flags1)
        return differ(b, "fflags", n, flags0, flags1);
    if (e->regs.frm != f->regs.frm)
        return differ(b, "frm", n, e->regs.frm, f->regs.frm);
    if (e->regs.frm < 4 &&
        (f->regs.mxcsr & ~CPU_MXCSR_FLAGS) !=
            ((CPU_MXCSR_INIT & ~CPU_MXCSR_FLAGS) | cpu_mxcsr_rounding(f->regs.frm)))
        return differ(b, "mxcsr", n, e->regs.mxcsr, f->regs.mxcsr);
    if (e->kind == EVENT_TRAP &&
        (e->trap.kind != f->trap.kind || e->trap.addr != f->trap.addr ||
         (e->trap.kind >= CPU_TRAP_PAGE && e->trap.access != f->trap.access))) {
        snprintf(b->difference, sizeof b->difference,
                 "event %u: trap: interpreter %d access %d addr %#" PRIx64
                 ", translator %d access %d addr %#" PRIx64,
                 n, (int)e->trap.kind, (int)e->trap.access, e->trap.addr, (int)f->trap.kind,
                 (int)f->trap.access, f->trap.addr);
        return false;
    }
    return true;
}

static bool same_memory(struct bench *b)
{
    if (!memcmp(b->t0.data, b->t1.data, GEN_DATA_BYTES))
        return true;
    size_t i = 0;
    while (b->t0.data[i] == b->t1.data[i])
        i++;
    return differ(b, "memory (byte)", (unsigned)i, b->t0.data[i], b->t1.data[i]);
}

unsigned bench_record(struct bench *b, const struct gen_program *p, gva_t at,
                      struct event events[EVENTS_MAX])
{
    memcpy(b->t0.data, b->initial, GEN_DATA_BYTES);
    struct cpu_regs regs = start_regs(p, at);
    cpu_regs_load(b->v0, &regs);
    b->icount_start = b->v0->icount;
    for (unsigned n = 0;;) {
        enum event_kind kind = step_t0(b, at + p->bytes);
        if (kind == EVENT_RUNAWAY || kind == EVENT_BARRED) {
            b->runaways += kind == EVENT_RUNAWAY;
            b->barred_pc = kind == EVENT_BARRED ? b->v0->pc : 0;
            return 0;
        }
        events[n++] = observe(b->v0, kind);
        b->events[kind]++;
        if (kind == EVENT_END || n == EVENTS_MAX || !skip(b->v0, p, at)) {
            b->insns += b->v0->icount - b->icount_start;
            return n;
        }
        events[n - 1].resume = b->v0->pc;
    }
}

/* Counted instructions since the last event must agree, too. An ecall does not retire (priv. 3.3.1). */
static bool same_count(struct bench *b, unsigned i, const struct event *events,
                       const struct event *e, uint64_t *last)
{
    uint64_t t0 = events[i].icount - (i ? events[i - 1].icount : b->icount_start),
             t1 = e->icount - *last;
    *last = e->icount;
    return t0 == t1 || differ(b, "instructions", i, t0, t1);
}

static bool follow_once(struct bench *b, const struct gen_program *p, gva_t at,
                        const struct event *events, unsigned n)
{
    struct vcpu *v = run_vcpu_state(b->rv);
    memcpy(b->t1.data, b->initial, GEN_DATA_BYTES);
    struct cpu_regs regs = start_regs(p, at);
    cpu_regs_load(v, &regs);
    uint64_t count = v->icount;
    for (unsigned i = 0; i < n; i++) {
        if (i && !skip(v, p, at))
            return differ(b, "pc to go on from", i, events[i - 1].regs.pc, v->pc);
        struct event e = observe(v, step_t1(b, at + p->bytes));
        if (!same_event(b, i, &events[i], &e))
            return false;
        if (b->count_insns && !same_count(b, i, events, &e, &count))
            return false;
    }
    return same_memory(b);
}

bool bench_follow(struct bench *b, const struct gen_program *p, gva_t at,
                  const struct event *events, unsigned n)
{
    return follow_once(b, p, at, events, n) && follow_once(b, p, at, events, n);
}

bool bench_compare(struct bench *b, const struct gen_program *p, gva_t at)
{
    struct event events[EVENTS_MAX];
    unsigned n = bench_record(b, p, at, events);
    return !n || bench_follow(b, p, at, events, n);
}
