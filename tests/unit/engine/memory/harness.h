/*
 * What the tests of this room share: a signal handler as execute's (it redirects an accessor's fault and does
 * nothing else), a pool with a space and a vCPU in it, and cmocka.
 */
#ifndef TEST_MEMORY_HARNESS_H
#define TEST_MEMORY_HARNESS_H

#include "engine/base/base.h"
#include "engine/base/os.h"
#include "engine/memory/memory.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <cmocka.h>

#define PG ((uint64_t)PAGE_SIZE)
#define RW (MEM_R | MEM_W)
#define RX (MEM_R | MEM_X)
#define RWX (MEM_R | MEM_W | MEM_X)
#define ANYWHERE UINT64_MAX
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

static void on_fault(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    uint64_t to = mem_fixup((uint64_t)uc->uc_mcontext.gregs[REG_RIP]);
    (void)info;
    if (!to) {
        static const char text[] = "fault outside the accessors\n";
        (void)!write(2, text, sizeof text - 1);
        signal(sig, SIG_DFL);
        return;
    }
    uc->uc_mcontext.gregs[REG_RIP] = (greg_t)to;
}

UNUSED static void catch_faults(void)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
}

struct fix {
    struct mem_pool *pool;
    struct mem_space *s;
    struct vcpu *v;
    struct err err;
};

UNUSED static void enter(struct vcpu *v, struct mem_space *s)
{
    v->space = s;
    v->window = mem_space_window(s);
    v->mask = mem_space_bytes(s) - 1;
}

UNUSED static struct fix *fix_with(struct mem_pool_config c)
{
    struct fix *f = calloc(1, sizeof *f);
    catch_faults();
    assert_int_equal(mem_pool_new(&c, &f->pool, &f->err), OK);
    assert_int_equal(mem_space_new(f->pool, &f->s, &f->err), OK);
    assert_int_equal(cpu_vcpu_new(&f->v, &f->err), OK);
    enter(f->v, f->s);
    return f;
}

UNUSED static struct fix *fix_new(void)
{
    return fix_with(
        (struct mem_pool_config){.commit_bytes = GIB, .maps = 20000, .window_bits = 36});
}

UNUSED static void fix_free(struct fix *f)
{
    assert_true(mem_check(f->s));
    mem_space_put(f->s);
    cpu_vcpu_free(f->v);
    assert_int_equal(mem_pool_committed_bytes(f->pool), 0);
    mem_pool_free(f->pool); /* asserts that nothing is left */
    free(f);
}

/* An anonymous private map, somewhere. */
UNUSED static gva_t anon(struct mem_space *s, uint64_t len, int prot)
{
    int64_t a = mem_map(s, 0, len, prot, 0, NULL, 0, NULL);
    assert_true(a > 0);
    return (gva_t)a;
}

UNUSED static gva_t at(struct mem_space *s, gva_t addr, uint64_t len, int prot, int flags,
                       struct mem_object *o, uint64_t off)
{
    int64_t a = mem_map(s, addr, len, prot, flags | MEM_FIXED, o, off, NULL);
    assert_int_equal(a, addr);
    return addr;
}

UNUSED static void poke(struct mem_space *s, gva_t a, uint64_t x)
{
    assert_true(mem_copy_out(s, a, &x, 8));
}

UNUSED static uint64_t peek(struct mem_space *s, gva_t a)
{
    uint64_t x = 0x5555555555555555;
    assert_true(mem_copy_in(s, &x, a, 8));
    return x;
}

UNUSED static size_t map_count(struct mem_space *s)
{
    struct mem_map_info m = {0};
    size_t n = 0;
    for (gva_t a = 0; mem_find(s, a, &m); a = m.end)
        n++;
    return n;
}

#endif
