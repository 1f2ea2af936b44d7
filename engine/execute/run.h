/*
 * execute/run.h - the vCPU loop: exits, faults, self-modifying code, stop. The door through which the OS-call
 * emulator (and later the boards) runs guest code.
 *
 * Looks into: the interfaces of isa, cpu, ir, guest, host, memory, codecache, translate, profile.
 * Never into guest/riscv or host/x64.   Used by: linux, vm.
 *
 * run_engine: one per guest: code cache, translator thread, options, counters.
 * run_vcpu:   one per vCPU thread: the struct vcpu, its open arena, its safe-point epoch.
 * run_space:  the code side of one mem_space: which cc_space the process uses. Counted with its mem_space (one run_space per
 *             mem_space; threads share it).
 */
#ifndef EXECUTE_RUN_H
#define EXECUTE_RUN_H

#include "engine/cpu/vcpu.h"
#include "engine/guest/guest.h"
#include "engine/host/host.h"

struct mem_space;
struct run_engine;
struct run_vcpu;
struct run_space;

struct run_config {
    const struct guest_ops *guest;
    const struct host_ops *host;
    const char *name;
    uint64_t cache_bytes;
    uint32_t arena_bytes;
    uint32_t features_off; /* HOST_FEATURE_* masked away */
    uint32_t vcpu_count;
    uint32_t block_insns_max; /* 0: default */
    uint32_t t1_threshold;    /* entries before translating; 0: default; 1: at once */
    bool no_translate, no_chain, count_insns;
};

enum run_why {
    RUN_SYSCALL, /* v->pc at the ecall */
    RUN_TRAP,    /* v->trap; v->pc at the instruction, registers exact */
    RUN_KICKED,  /* run_kick was called: exit_req is cleared again, look at the queues */
};

struct run_stats {
    uint64_t insns_t0, blocks_translated, insns_translated, host_bytes, translate_ns, misses,
        chained, retired, evictions, faults, exits;
};

/* Once per process, before the first engine: SIGSEGV and SIGBUS handlers (the only ones in the house). */
res_t run_process_init(struct err *err);
/* Each thread that may touch guest memory (vCPU threads, the loop if it copies): alternate signal stack. */
res_t run_thread_init(struct err *err);
void run_thread_fini(void);

res_t run_engine_new(const struct run_config *c, struct run_engine **e, struct err *err);
void run_engine_free(
    struct run_engine *e); /* joins the translator thread; no vcpu and no space may be left */
void run_engine_stats(struct run_engine *e, struct run_stats *out);
/* All counters of engine/profile, PROF_COUNTER_COUNT of them. */
void run_engine_counters(struct run_engine *e, uint64_t *values);

res_t run_vcpu_new(struct run_engine *e, struct run_vcpu **rv, struct err *err);
void run_vcpu_free(struct run_vcpu *rv);
struct vcpu *run_vcpu_state(struct run_vcpu *rv);

res_t run_space_new(struct run_engine *e, struct mem_space *m, struct run_space **s,
                    struct err *err);
/* For the child of fork: shares the parent's code space (D1). */
res_t run_space_fork(struct run_space *parent, struct mem_space *child, struct run_space **s,
                     struct err *err);
/* No vCPU runs in it any more. */
void run_space_free(struct run_space *s);

/* Run the thread whose registers are in the vCPU (cpu_regs_load) in this space until something needs the OS.
 * Thread: the vCPU's own. */
enum run_why run_go(struct run_vcpu *rv, struct run_space *s);
/* The vCPU stands still (idle, in a system call): counts as past every safe point until the next run_go. */
/* Any thread, async-signal-safe, wait-free: make the vCPU leave guest code at its next poll; sticky until run_go returned
 * RUN_KICKED (a kick that arrives while it does not run makes the next run_go return at once). */
void run_kick(struct run_vcpu *rv);
/* riscv_flush_icache: as fence.i, and every vCPU of the space passed a safe point when it returns. */
void run_flush_icache(struct run_vcpu *rv, struct run_space *s);
/* The guest text for messages: "ld a0,0(a1)" at pc, "?" if unreadable. */
void run_disasm(struct run_engine *e, struct mem_space *m, gva_t pc, char *text, size_t n);

#endif
