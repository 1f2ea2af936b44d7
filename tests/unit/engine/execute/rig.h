/* A guest for tests: pool, engine, one address space with code at CODE (rwx) and data at DATA. */
#ifndef RIG_H
#define RIG_H

#include "engine/base/os.h"
#include "engine/execute/run.h"
#include "engine/memory/memory.h"
#include "tests/unit/engine/execute/guest_asm.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define CODE ((gva_t)0x100000)
#define DATA ((gva_t)0x200000)
#define STACK ((gva_t)0x300000)
#define AREA ((uint64_t)64 << 10)

struct rig {
    struct mem_pool *pool;
    struct run_engine *engine;
    struct mem_space *mem;
    struct run_space *space;
    struct run_vcpu *rv;
    struct vcpu *v;
};

static struct sigaction our_segv, our_bus;

/* In main: cmocka puts handlers of its own over ours before each test; rig_new puts ours back. */
static void keep_our_handlers(void)
{
    struct err err;
    if (run_process_init(&err) != OK)
        abort();
    sigaction(SIGSEGV, NULL, &our_segv);
    sigaction(SIGBUS, NULL, &our_bus);
}

UNUSED static struct run_config rig_config(void)
{
    return (struct run_config){.guest = &rv_guest_ops,
                               .host = &x64_host_ops,
                               .name = "test",
                               .cache_bytes = 1 << 20,
                               .arena_bytes = 65536,
                               .vcpu_count = 1};
}

UNUSED static void rig_map(struct mem_space *m)
{
    assert_int_equal(mem_map(m, CODE, AREA, MEM_R | MEM_W | MEM_X, MEM_FIXED, NULL, 0, "[code]"),
                     CODE);
    assert_int_equal(mem_map(m, DATA, AREA, MEM_R | MEM_W, MEM_FIXED, NULL, 0, "[data]"), DATA);
    assert_int_equal(mem_map(m, STACK, AREA, MEM_R | MEM_W, MEM_FIXED, NULL, 0, "[stack]"), STACK);
}

UNUSED static struct rig rig_new_bits(const struct run_config *config, uint32_t window_bits)
{
    struct rig r = {0};
    struct err err = {0};
    sigaction(SIGSEGV, &our_segv, NULL);
    sigaction(SIGBUS, &our_bus, NULL);
    assert_int_equal(run_thread_init(&err), OK);
    struct mem_pool_config pc = {
        .commit_bytes = 64 << 20, .maps = 4000, .window_bits = window_bits};
    assert_int_equal(mem_pool_new(&pc, &r.pool, &err), OK);
    assert_int_equal(run_engine_new(config, &r.engine, &err), OK);
    assert_int_equal(mem_space_new(r.pool, &r.mem, &err), OK);
    assert_int_equal(run_space_new(r.engine, r.mem, &r.space, &err), OK);
    rig_map(r.mem);
    assert_int_equal(run_vcpu_new(r.engine, &r.rv, &err), OK);
    r.v = run_vcpu_state(r.rv);
    return r;
}

UNUSED static struct rig rig_new(const struct run_config *config)
{
    return rig_new_bits(config, 36);
}

UNUSED static void rig_free(struct rig *r)
{
    run_vcpu_free(r->rv);
    run_space_free(r->space);
    mem_space_put(r->mem);
    run_engine_free(r->engine);
    mem_pool_free(r->pool);
}

UNUSED static void poke(struct mem_space *m, gva_t a, const uint32_t *words, size_t count)
{
    assert_true(mem_copy_out(m, a, words, count * 4));
}
#define POKE(m, a, ...) \
    poke(m, a, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / 4)

UNUSED static struct cpu_regs fresh_regs(gva_t pc)
{
    struct cpu_regs regs = {.pc = pc, .mxcsr = CPU_MXCSR_INIT};
    regs.r[SP] = STACK + AREA - 64;
    return regs;
}

UNUSED static void start(struct rig *r, gva_t pc)
{
    struct cpu_regs regs = fresh_regs(pc);
    cpu_regs_load(r->v, &regs);
}

UNUSED static uint64_t peek64(struct mem_space *m, gva_t a)
{
    uint64_t x = 0;
    assert_true(mem_copy_in(m, &x, a, 8));
    return x;
}

#endif
