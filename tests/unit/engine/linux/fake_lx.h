/*
 * A process side for tests of the file side: processes, blocked calls and clocks without vCPUs. Every function of internal.h
 * that the file side uses is here, so that nothing of the real process side is linked in.
 *
 * The arena is guest memory: pointers into it are what calls are given, so that the same scenario can be run on the host's kernel.
 */
#ifndef TESTS_FAKE_LX_H
#define TESTS_FAKE_LX_H

#include "engine/linux/process.h"
#include "engine/linux/vfs.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include <cmocka.h>

#define ARENA_AT ((gva_t)0x100000)
#define ARENA_BYTES ((size_t)8 << 20)

static struct lx fake_lx;
static struct lx_process *fake_procs[16];
static struct lx_thread *fake_threads[16];
static int fake_proc_count;
static uint64_t fake_ns = 1000000000u;
static struct mem_pool *fake_pool;
static struct mem_space *fake_mem;
static uint8_t *fake_arena;
static size_t fake_arena_used;
static int fake_signals[16][65];
static int fake_console_calls;
static uint64_t fake_blocked_or_ignored;
static int fake_wakes;

/* ---- what internal.h promises ---- */

void lx_waitq_init(struct lx_waitq *q)
{
    list_init(&q->waiters);
}

int64_t lx_block(struct lx_call *c, struct lx_waitq *q)
{
    (void)c, (void)q;
    return LX_BLOCKED;
}

void lx_wake_all(struct lx *lx, struct lx_waitq *q)
{
    (void)lx, (void)q;
    fake_wakes++;
}

int64_t lx_interrupted(struct lx_call *c, enum lx_restart kind)
{
    (void)c, (void)kind;
    return -EINTR;
}

void lx_deadline_after(struct lx_call *c, uint64_t rel)
{
    if (!c->runs)
        c->deadline_ns = rel > UINT64_MAX - fake_ns ? LX_NO_DEADLINE : fake_ns + rel;
}

int64_t lx_sigmask_for_call(struct lx_call *c, gva_t mask, uint64_t n)
{
    (void)c, (void)mask;
    return n == 8 ? 0 : -EINVAL;
}

uint64_t lx_monotonic_ns(struct lx *lx)
{
    (void)lx;
    return fake_ns;
}

uint64_t lx_realtime_ns(struct lx *lx)
{
    (void)lx;
    return 1700000000000000000u + fake_ns;
}

struct lx_process *lx_process_find(struct lx *lx, uint32_t pid)
{
    (void)lx;
    for (int k = 0; k < fake_proc_count; k++)
        if (fake_procs[k]->pid == pid)
            return fake_procs[k];
    return NULL;
}

void lx_process_each(struct lx *lx, void (*f)(void *, struct lx_process *), void *ctx)
{
    (void)lx;
    for (int k = 0; k < fake_proc_count; k++)
        f(ctx, fake_procs[k]);
}

static int fake_index(struct lx_process *p)
{
    int k = 0;
    while (fake_procs[k] != p)
        k++;
    return k;
}

void lx_signal_process(struct lx_process *p, int signo)
{
    fake_signals[fake_index(p)][signo]++;
}

void lx_signal_thread(struct lx_thread *t, int signo)
{
    lx_signal_process(t->p, signo);
}

void lx_signal_pgrp(struct lx *lx, uint32_t pgid, int signo)
{
    (void)lx;
    for (int k = 0; k < fake_proc_count; k++)
        if (fake_procs[k]->pgid == pgid)
            fake_signals[k][signo]++;
}

bool lx_pgrp_orphaned(struct lx *lx, uint32_t pgid)
{
    (void)lx, (void)pgid;
    return false;
}

bool lx_signal_ignored_or_blocked(struct lx_thread *t, int signo)
{
    (void)t;
    return fake_blocked_or_ignored >> (signo - 1) & 1;
}

char lx_process_state(struct lx_process *p)
{
    (void)p;
    return 'R';
}

void lx_process_signals(struct lx_process *p, uint64_t *a, uint64_t *b, uint64_t *c, uint64_t *d)
{
    (void)p;
    *a = *b = *c = *d = 0;
}

uint32_t lx_process_thread_count(struct lx_process *p)
{
    (void)p;
    return 1;
}

void lx_process_each_thread(struct lx_process *p, void (*f)(void *, uint32_t), void *ctx)
{
    f(ctx, p->pid);
}

uint64_t lx_process_cpu_ns(struct lx_process *p)
{
    (void)p;
    return 0;
}

uint64_t lx_total_cpu_ns(struct lx *lx)
{
    (void)lx;
    return 0;
}

uint64_t lx_total_forks(struct lx *lx)
{
    (void)lx;
    return 1;
}

uint32_t lx_thread_tid(struct lx_thread *t)
{
    return t->tid;
}

struct lx_process *lx_call_process(struct lx_call *c)
{
    return c->t->p;
}

struct mem_space *lx_call_mem(struct lx_call *c)
{
    return c->t->p->mem;
}

struct lx_process *lx_thread_process(struct lx_thread *t)
{
    return t->p;
}

bool lx_pgrp_in_session(struct lx *lx, uint32_t pgid, uint32_t sid)
{
    (void)lx;
    for (int k = 0; k < fake_proc_count; k++)
        if (fake_procs[k]->pgid == pgid)
            return fake_procs[k]->sid == sid;
    return false;
}

uint32_t lx_process_ppid(const struct lx_process *p)
{
    return p->parent ? p->parent->pid : 0;
}

struct lx_vfs *lx_vfs_of(struct lx *lx)
{
    return lx->vfs;
}

const struct lx_config *lx_config_of(struct lx *lx)
{
    return &lx->config;
}

void lx_random_bytes(struct lx *lx, void *p, size_t n)
{
    (void)lx;
    memset(p, 0x5a, n);
}

uint32_t lx_random_u32(struct lx *lx)
{
    static uint32_t x = 1;
    (void)lx;
    return x = x * 1664525u + 1013904223u;
}

/* ---- the world of a test ---- */

static void fake_fault(int signo, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    uint64_t to = mem_fixup((uint64_t)uc->uc_mcontext.gregs[REG_RIP]);
    (void)info;
    if (!to) {
        signal(signo, SIG_DFL);
        return;
    }
    uc->uc_mcontext.gregs[REG_RIP] = (greg_t)to;
}

static void fake_console(void *ctx)
{
    (void)ctx;
    fake_console_calls++;
}

static struct lx_process *fake_fork(struct lx_process *parent)
{
    struct lx_process *p = calloc(1, sizeof *p);
    struct lx_thread *t = calloc(1, sizeof *t);
    int k = fake_proc_count;
    p->lx = t->lx = &fake_lx;
    t->p = p;
    p->pid = t->tid = (uint32_t)k + 1;
    snprintf(p->comm, sizeof p->comm, "test%d", k);
    if (parent) {
        p->parent = parent;
        p->sid = parent->sid;
        p->pgid = parent->pgid;
        p->uid = parent->uid, p->euid = parent->euid, p->suid = parent->suid;
        p->gid = parent->gid, p->egid = parent->egid, p->sgid = parent->sgid;
        p->ctty = parent->ctty;
        p->files = lx_files_clone(parent->files);
        p->fs = lx_fs_clone(parent->fs);
    } else {
        p->sid = p->pgid = p->pid;
        p->files = lx_files_new(&fake_lx);
        p->fs = lx_fs_new(&fake_lx);
    }
    p->mem = fake_mem;
    for (unsigned i = 0; i < LX_RLIM_COUNT; i++)
        p->rlim_cur[i] = p->rlim_max[i] = UINT64_MAX;
    p->rlim_cur[LX_RLIM_NOFILE] = p->rlim_max[LX_RLIM_NOFILE] = 1024;
    fake_procs[k] = p;
    fake_threads[k] = t;
    fake_proc_count++;
    memset(fake_signals[k], 0, sizeof fake_signals[k]);
    return p;
}

/* A guest with one process, running as uid. */
static struct lx_process *fake_start(const struct lx_config *like, uint32_t uid)
{
    struct err err;
    struct sigaction sa = {.sa_sigaction = fake_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    memset(&fake_lx, 0, sizeof fake_lx);
    fake_proc_count = 0;
    fake_arena_used = 0;
    struct mem_pool_config pc = {.window_bits = 36};
    assert_int_equal(mem_pool_new(&pc, &fake_pool, &err), OK);
    assert_int_equal(mem_space_new(fake_pool, &fake_mem, &err), OK);
    assert_int_equal(
        mem_map(fake_mem, ARENA_AT, ARENA_BYTES, MEM_R | MEM_W, MEM_FIXED, NULL, 0, NULL),
        ARENA_AT);
    fake_arena = mem_space_window(fake_mem) + ARENA_AT;
    if (like)
        fake_lx.config = *like;
    else
        fake_lx.config =
            (struct lx_config){.image_fd = -1, .files_max = 1024, .overlay_bytes_max = 64u << 20};
    fake_lx.config.pool = fake_pool;
    fake_lx.config.console = fake_console;
    snprintf(fake_lx.name, sizeof fake_lx.name, "fake");
    if (lx_vfs_new(&fake_lx, &fake_lx.vfs, &err) != OK)
        fail_msg("%s", err.text);
    struct lx_process *p = fake_fork(NULL);
    p->uid = p->euid = p->suid = uid;
    p->gid = p->egid = p->sgid = uid;
    return p;
}

static void fake_exit(struct lx_process *p)
{
    struct lx_files *t = p->files;
    struct lx_fs *fs = p->fs;
    p->files = NULL;
    p->fs = NULL;
    if (t)
        lx_files_put(t, p);
    if (fs)
        lx_fs_put(fs);
}

static void fake_stop(void)
{
    assert_true(lx_vfs_check(fake_lx.vfs));
    for (int k = 0; k < fake_proc_count; k++)
        fake_exit(fake_procs[k]);
    assert_true(lx_vfs_check(fake_lx.vfs));
    lx_vfs_free(fake_lx.vfs);
    for (int k = 0; k < fake_proc_count; k++) {
        free(fake_procs[k]->exe_path);
        free(fake_procs[k]);
        free(fake_threads[k]);
    }
    mem_space_put(fake_mem);
    mem_pool_free(fake_pool);
}

/* Room in the arena, zeroed. */
static UNUSED void *mem(size_t n)
{
    void *p = fake_arena + fake_arena_used;
    fake_arena_used += ALIGN_UP(n, (size_t)16);
    if (fake_arena_used > ARENA_BYTES)
        abort();
    memset(p, 0, n);
    return p;
}

static UNUSED char *str(const char *s)
{
    return strcpy(mem(strlen(s) + 1), s);
}

/* A host pointer into the arena as the guest's address; every other number as it is. */
static uint64_t guest_of(uint64_t x)
{
    uint64_t base = (uint64_t)(uintptr_t)fake_arena;
    return x >= base && x < base + ARENA_BYTES ? x - base + ARENA_AT : x;
}

/* Run a handler; a call that blocked goes on in *c. */
static UNUSED int64_t run_call(struct lx_call *c, lx_call_fn fn)
{
    int64_t r;
    do { /* lx_yield comes back at once */
        r = fn(c);
        c->runs++;
        c->wake = r == LX_BLOCKED && c->deadline_ns == 0 ? LX_WAKE_TIMEOUT : LX_WAKE_NONE;
    } while (r == LX_BLOCKED && c->deadline_ns == 0);
    if (r != LX_BLOCKED)
        assert_null(c->held);
    return r;
}

#define CALL_BEGIN(p, a0, a1, a2, a3, a4, a5)                                                     \
    (struct lx_call)                                                                              \
    {                                                                                             \
        .lx = &fake_lx, .t = fake_threads[fake_index(p)], .deadline_ns = LX_NO_DEADLINE, .arg = { \
            guest_of((uint64_t)(a0)),                                                             \
            guest_of((uint64_t)(a1)),                                                             \
            guest_of((uint64_t)(a2)),                                                             \
            guest_of((uint64_t)(a3)),                                                             \
            guest_of((uint64_t)(a4)),                                                             \
            guest_of((uint64_t)(a5))                                                              \
        }                                                                                         \
    }
#define PICK(a0, a1, a2, a3, a4, a5, ...) a0, a1, a2, a3, a4, a5
/* A call that is not left blocked: LX_BLOCKED drops it. */
#define G(p, name, ...) guest_call(p, lx_sys_##name, (uint64_t[6]){__VA_ARGS__})
#define A(x) (uint64_t)(x)

static UNUSED int64_t guest_call(struct lx_process *p, lx_call_fn fn, const uint64_t a[6])
{
    struct lx_call c = CALL_BEGIN(p, a[0], a[1], a[2], a[3], a[4], a[5]);
    int64_t r = run_call(&c, fn);
    lx_call_abandon(&c);
    return r;
}

/* Declarations of the handlers that tests call. */
#define LX_CALL(nr, name) int64_t lx_sys_##name(struct lx_call *c);
#include "engine/linux/riscv/calls.def"
#undef LX_CALL

#endif
