/*
 * A bench for the lowering: a code cache made by hand, two equal guests (T1 in one, T0 in the other), a tiny run loop,
 * and the accessors over a window whose pages are known here.
 */
#ifndef TEST_X64_RIG_H
#define TEST_X64_RIG_H

#include "engine/base/arena.h"
#include "engine/base/os.h"
#include "engine/cpu/access.h"
#include "engine/guest/guest.h"
#include "engine/guest/riscv/interp.h"
#include "engine/host/host.h"
#include "engine/ir/ir.h"

#include <asm/prctl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/ucontext.h>
#include <unistd.h>
#include <cmocka.h>

#define RIG_CODE 0x10000u
#define RIG_CODE_BYTES 0x3000u
#define RIG_DATA 0x100000u
#define RIG_DATA_BYTES 0x10000u
#define RIG_RO 0x110000u /* follows the data: stores fault there */
#define RIG_RO_BYTES 0x1000u
#define RIG_STACK 0x200000u
#define RIG_STACK_BYTES 0x8000u
#define RIG_CACHE_BYTES ((size_t)1 << 20)
#define RIG_GUARD ((size_t)1 << 30)

struct rig_block {
    gva_t pc;
    uint32_t off, len;
    struct host_exit *exits;
    unsigned exit_count;
    struct host_pcmap *map;
    unsigned map_count;
};

struct rig {
    struct host_options o;
    struct host_stubs stubs;
    uint8_t *w, *x; /* the two views of the cache */
    uint32_t used;
    struct arena arena;
    struct rig_block blocks[4096];
    unsigned block_count, insns_max;
    bool self_check;
    struct vcpu *t1, *t0;
    struct cpu_jt_entry *jt, *jt_missing;
    uint8_t *window[2];
    unsigned long faults, insns, exits;
};

static struct rig rig;

/* ---- guest memory ---- */

enum { RIG_READ = 1, RIG_WRITE = 2 };
static bool reachable(gva_t a, unsigned want)
{
    if (a - RIG_CODE < RIG_CODE_BYTES || a - RIG_RO < RIG_RO_BYTES)
        return !(want & RIG_WRITE);
    return a - RIG_DATA < RIG_DATA_BYTES || a - RIG_STACK < RIG_STACK_BYTES;
}

static bool rig_check(struct vcpu *v, gva_t a, unsigned n, unsigned want)
{
    for (unsigned i = 0; i < n; i++)
        if (!reachable(a + i, want)) {
            v->trap = (struct cpu_trap){CPU_TRAP_PAGE, want & RIG_WRITE ? CPU_STORE : CPU_LOAD, a + i};
            return false;
        }
    return true;
}

#define RIG_ACCESS(bits)                                                                           \
    bool mem_ld##bits(struct vcpu *v, gva_t a, uint##bits##_t *out)                                \
    {                                                                                              \
        if (!rig_check(v, a, bits / 8, RIG_READ))                                                  \
            return false;                                                                          \
        memcpy(out, v->window + a, bits / 8);                                                      \
        return true;                                                                               \
    }                                                                                              \
    bool mem_st##bits(struct vcpu *v, gva_t a, uint##bits##_t x)                                   \
    {                                                                                              \
        if (!rig_check(v, a, bits / 8, RIG_WRITE))                                                 \
            return false;                                                                          \
        memcpy(v->window + a, &x, bits / 8);                                                       \
        return true;                                                                               \
    }
RIG_ACCESS(8)
RIG_ACCESS(16)
RIG_ACCESS(32)
RIG_ACCESS(64)
#define RIG_CAS(bits)                                                                              \
    bool mem_cas##bits(struct vcpu *v, gva_t a, uint##bits##_t expected, uint##bits##_t desired,   \
                       uint##bits##_t *old)                                                        \
    {                                                                                              \
        if (!rig_check(v, a, bits / 8, RIG_WRITE))                                                 \
            return false;                                                                          \
        memcpy(old, v->window + a, bits / 8);                                                      \
        if (*old == expected)                                                                      \
            memcpy(v->window + a, &desired, bits / 8);                                             \
        return true;                                                                               \
    }
RIG_CAS(32)
RIG_CAS(64)
bool mem_fetch(struct vcpu *v, gva_t pc, uint32_t *word)
{
    uint16_t half[2] = {0, 0};
    for (unsigned i = 0; i < 2; i++) {
        gva_t a = pc + 2 * i;
        if (a - RIG_CODE >= RIG_CODE_BYTES) {
            v->trap = (struct cpu_trap){CPU_TRAP_PAGE, CPU_FETCH, a};
            return false;
        }
        memcpy(&half[i], v->window + a, 2);
        if (i == 0 && isa_rv64_length(half[0]) == 2)
            break;
    }
    *word = half[0] | (uint32_t)half[1] << 16;
    return true;
}

/* ---- host side ---- */

static void on_fault(int sig, siginfo_t *si, void *context)
{
    ucontext_t *uc = context;
    uint64_t rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
    if (rip - (uint64_t)rig.x >= RIG_CACHE_BYTES) {
        signal(sig, SIG_DFL);
        return;
    }
    rig.t1->fault_rip = rip - (uint64_t)rig.x;
    rig.t1->fault_addr = (uint64_t)si->si_addr;
    uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uint64_t)(rig.x + rig.stubs.fault);
}

/* A sequence that loops: what run_kick does. */
static void on_alarm(int sig)
{
    (void)sig;
    atomic_store(&rig.t1->exit_req, 1);
    atomic_store(&rig.t1->jt, rig.jt_missing);
}

static uint8_t *map_window(void)
{
    uint8_t *p = mmap(NULL, rig.o.window_bytes + 2 * RIG_GUARD, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(p != MAP_FAILED);
    p += RIG_GUARD;
    assert_int_equal(mprotect(p + RIG_CODE, RIG_CODE_BYTES, PROT_READ), 0);
    assert_int_equal(mprotect(p + RIG_DATA, RIG_DATA_BYTES, PROT_READ | PROT_WRITE), 0);
    assert_int_equal(mprotect(p + RIG_RO, RIG_RO_BYTES, PROT_READ), 0);
    assert_int_equal(mprotect(p + RIG_STACK, RIG_STACK_BYTES, PROT_READ | PROT_WRITE), 0);
    return p;
}

static void rig_flush(void)
{
    arena_reset(&rig.arena);
    rig.block_count = 0;
    rig.used = ALIGN_UP(rig.stubs.len, 64u);
    memset(rig.jt, 0, CPU_JT_COUNT * sizeof *rig.jt);
    atomic_store(&rig.jt[0].pc, cpu_jt_none(0));
}

static void rig_open(uint32_t features, uint64_t window_bytes)
{
    static char signal_stack[1 << 16];
    stack_t ss = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};
    sigaltstack(&ss, NULL);
    /* cmocka puts its own handlers in front of each test */
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    struct sigaction al = {.sa_handler = on_alarm, .sa_flags = SA_ONSTACK | SA_RESTART};
    sigaction(SIGALRM, &al, NULL);
    memset(&rig, 0, sizeof rig);
    rig.o = (struct host_options){
        .features = features,
        .gst_options = window_bytes == (uint64_t)1 << 32 ? GST_WINDOW32 : 0,
        .window_bytes = window_bytes,
        .sp_reg = 2,
        .count = true,
    };
    rig.insns_max = IR_INSNS_MAX;
    int fd = -1;
    assert_int_equal(os_memfd("rig", RIG_CACHE_BYTES, &fd, NULL), OK);
    rig.w = mmap(NULL, RIG_CACHE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    rig.x = mmap(NULL, RIG_CACHE_BYTES, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    assert_true(rig.w != MAP_FAILED && rig.x != MAP_FAILED);
    close(fd);
    arena_init(&rig.arena, 0);
    struct host_code c = {.w = rig.w, .w_bytes = 1 << 16, .arena = &rig.arena};
    assert_int_equal(x64_host_ops.emit_stubs(&rig.o, &c, &rig.stubs, NULL), OK);
    rig.jt = calloc(CPU_JT_COUNT, sizeof *rig.jt);
    rig.jt_missing = calloc(CPU_JT_COUNT, sizeof *rig.jt);
    atomic_store(&rig.jt_missing[0].pc, cpu_jt_none(0));
    struct vcpu **const v[2] = {&rig.t1, &rig.t0};
    for (unsigned i = 0; i < 2; i++) {
        rig.window[i] = map_window();
        assert_int_equal(cpu_vcpu_new(v[i], NULL), OK);
        (*v[i])->mask = window_bytes - 1;
        (*v[i])->window = rig.window[i];
    }
    rig_flush();
}

static void rig_close(void)
{
    for (unsigned i = 0; i < 2; i++)
        munmap(rig.window[i] - RIG_GUARD, rig.o.window_bytes + 2 * RIG_GUARD);
    cpu_vcpu_free(rig.t0);
    cpu_vcpu_free(rig.t1);
    munmap(rig.w, RIG_CACHE_BYTES);
    munmap(rig.x, RIG_CACHE_BYTES);
    arena_fini(&rig.arena);
    free(rig.jt);
    free(rig.jt_missing);
}

/* Put code into both windows. */
static void rig_code(const void *code, size_t n)
{
    rig_flush();
    for (unsigned i = 0; i < 2; i++) {
        mprotect(rig.window[i] + RIG_CODE, RIG_CODE_BYTES, PROT_READ | PROT_WRITE);
        memcpy(rig.window[i] + RIG_CODE, code, n);
        memset(rig.window[i] + RIG_CODE + n, 0, RIG_CODE_BYTES - n);
        mprotect(rig.window[i] + RIG_CODE, RIG_CODE_BYTES, PROT_READ);
    }
}

static struct rig_block *rig_find(gva_t pc)
{
    for (unsigned i = 0; i < rig.block_count; i++)
        if (rig.blocks[i].pc == pc)
            return &rig.blocks[i];
    return NULL;
}

static struct rig_block *rig_translate(gva_t pc)
{
    static struct ir_block ir;
    if (pc - RIG_CODE >= RIG_CODE_BYTES)
        return NULL;
    struct rig_block *b = rig_find(pc);
    if (b)
        return b;
    if (rig.block_count == ARRAY_LEN(rig.blocks) || rig.used + (32u << 10) > RIG_CACHE_BYTES)
        rig_flush();
    size_t n = MIN((size_t)256, PAGE_SIZE - (pc & (PAGE_SIZE - 1)));
    if (n < 4)
        n = MIN((size_t)4, RIG_CODE + RIG_CODE_BYTES - pc);
    struct gst_lift l = {.pc = pc,
                         .bytes = rig.window[0] + pc,
                         .byte_count = n,
                         .insns_max = rig.insns_max,
                         .options = rig.o.gst_options,
                         .self_check = rig.self_check};
    rv_guest_ops.lift(&l, &ir);
    unsigned at;
    const char *why = ir_verify(&ir, &at);
    if (why)
        fail_msg("op %u: %s", at, why);
    struct host_code c = {.w = rig.w + rig.used,
                          .w_bytes = 32u << 10,
                          .cache_off = rig.used,
                          .arena = &rig.arena};
    assert_int_equal(x64_host_ops.lower(&rig.o, &rig.stubs, &ir, &c, NULL), OK);
    b = &rig.blocks[rig.block_count++];
    *b = (struct rig_block){pc, rig.used, c.len, c.exits, c.exit_count, c.map, c.map_count};
    for (unsigned i = 0; i < c.landing_count; i++) {
        struct cpu_jt_entry *j = &rig.jt[cpu_jt_first(c.landings[i].pc)];
        atomic_store(&j->pc, c.landings[i].pc);
        atomic_store(&j->host, rig.x + rig.used + c.landings[i].host_off);
    }
    rig.used = ALIGN_UP(rig.used + c.len, 16u);
    return b;
}

static void rig_chain(gva_t target, bool backward_too)
{
    uint32_t site = rig.t1->exit_site;
    for (unsigned i = 0; i < rig.block_count; i++) {
        struct rig_block *b = &rig.blocks[i];
        if (site - b->off >= b->len)
            continue;
        if (!backward_too && target <= b->pc)
            return;
        struct rig_block *to = rig_translate(target);
        if (to && rig_find(b->pc) == b) /* still there */
            x64_host_ops.patch(rig.w + site, site, to->off);
        return;
    }
}

static enum cpu_exit rig_call(uint32_t off)
{
    if (!(rig.o.features & HOST_FEATURE_FSGSBASE)) /* then the run loop's, not the stub's */
        assert_int_equal(syscall(SYS_arch_prctl, ARCH_SET_GS, rig.t1->window), 0);
    uint32_t (*enter)(struct vcpu *, const void *) =
        (uint32_t (*)(struct vcpu *, const void *))(void *)(rig.x + rig.stubs.enter);
    return (enum cpu_exit)enter(rig.t1, rig.x + off);
}

/* Where a fault was, and what the block had lent out or not counted. */
static void rig_fault(void)
{
    uint32_t off = (uint32_t)rig.t1->fault_rip;
    rig.faults++;
    for (unsigned i = 0; i < rig.block_count; i++) {
        struct rig_block *b = &rig.blocks[i];
        if (off - b->off >= b->len)
            continue;
        const struct host_pcmap *m = b->map;
        for (unsigned k = 1; k < b->map_count && b->map[k].host_off <= off - b->off; k++)
            m = &b->map[k];
        rig.t1->pc = b->pc + (uint64_t)(int64_t)(int32_t)m->pc_off;
        rig.t1->icount += m->uncounted;
        if (m->borrowed)
            rig.t1->r[m->borrowed - 1] = rig.t1->borrowed;
        if (m->fixup)
            rig_call(b->off + m->fixup);
        return;
    }
    fail_msg("a fault at %#x, in no block", off);
}

/* One visit of T1 from t1->pc: what the run loop does between two looks. */
static enum cpu_exit rig_enter(void)
{
    struct rig_block *b = rig_translate(rig.t1->pc);
    bool sp_ok = rig.t1->r[2] < rig.o.window_bytes || rig.o.gst_options & GST_WINDOW32;
    if (!b || !sp_ok)
        return rv_step(rig.t1, 1, false);
    struct cpu_jt_entry *j = &rig.jt[rig.exits & 1 ? cpu_jt_first(rig.t1->pc) : cpu_jt_second(rig.t1->pc)];
    if (rig.exits % 3) { /* else perhaps a landing stays */
        atomic_store(&j->pc, rig.t1->pc);
        atomic_store(&j->host, rig.x + b->off);
    }
    if (atomic_load(&rig.t1->jt) != rig.jt_missing)
        atomic_store(&rig.t1->jt, rig.jt);
    rig.exits++;
    enum cpu_exit why = rig_call(b->off);
    switch (why) {
    case CPU_EXIT_CHAIN:
        rig_chain(rig.t1->pc, false);
        return CPU_EXIT_NEXT;
    case CPU_EXIT_FAULT:
        rig_fault();
        return rv_step(rig.t1, 1, false);
    case CPU_EXIT_INTERP:
        return rv_step(rig.t1, 1, false);
    case CPU_EXIT_FENCE_I:
        return CPU_EXIT_NEXT;
    default:
        return why;
    }
}

#endif
