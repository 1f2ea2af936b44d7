/*
 * random/run.h - runs random programs in T0 and in T1 on equal memory and compares everything a guest can see.
 *
 * T0 is stepped directly; T1 goes through a whole engine, twice: cold, and again with all its code there and chained.
 * After a trap or a system call both go on behind the instruction.
 */
#ifndef RANDOM_RUN_H
#define RANDOM_RUN_H

#include "engine/execute/run.h"
#include "engine/memory/memory.h"
#include "tests/random/gen.h"

#define BATCH_MAX 128
#define BENCH_CODE ((gva_t)0x1000000)
#define BENCH_CODE_BYTES ((uint64_t)BATCH_MAX * GEN_BYTES_MAX)
#define EVENTS_MAX 24
#define T0_INSNS_MAX \
    20000 /* a wild jump may close a loop that nothing bounds: such programs are dropped */

enum event_kind { EVENT_END, EVENT_SYSCALL, EVENT_TRAP, EVENT_RUNAWAY, EVENT_BARRED };
struct event {
    enum event_kind kind;
    struct cpu_regs regs;
    struct cpu_trap trap;
    uint64_t icount;
    gva_t resume; /* where it goes on, if another event follows */
};

struct side {
    struct mem_pool *pool;
    struct mem_space *mem;
    uint8_t *data; /* the window at GEN_DATA */
};

struct bench {
    struct side t0, t1;
    struct vcpu *v0;
    struct run_engine *engine;
    struct run_space *space;
    struct run_vcpu *rv;
    uint8_t initial[GEN_DATA_BYTES + GEN_READONLY_BYTES];
    bool mapped, count_insns;
    uint64_t icount_start;
    uint64_t *coverage; /* by form, or NULL: executed by T0, hence by T1 */
    /* What T0 may not execute, decided before it does, encodings that are none too (d->op is 0); NULL: nothing. Programs that come to such an instruction are
     * dropped, and barred_pc says where it is. */
    bool (*barred)(const struct vcpu *v, const struct isa_insn *d);
    gva_t barred_pc;
    uint64_t insns, runaways, events[4];
    /* what the last difference was */
    char difference[512];
    _Atomic uint64_t started_ns;  /* of the running T1 entry, for the watchdog */
    _Atomic uint64_t patience_ns; /* how long it may take */
};

void bench_init(struct bench *b, const struct run_config *config, uint32_t window_bits);
void bench_fini(struct bench *b);
/* Put n programs into fresh code pages; at[i] is where program i starts. */
void bench_load(struct bench *b, const struct gen_program *p, unsigned n, gva_t *at);
/* The events of T0; their number, or 0 if the program is dropped: it does not end, or is barred. */
unsigned bench_record(struct bench *b, const struct gen_program *p, gva_t at,
                      struct event events[EVENTS_MAX]);
/* T1 has the same events, cold and warm; else b->difference says what differs. */
bool bench_follow(struct bench *b, const struct gen_program *p, gva_t at,
                  const struct event *events, unsigned n);
/* Both of them. True: equal (or dropped). */
bool bench_compare(struct bench *b, const struct gen_program *p, gva_t at);

#endif
