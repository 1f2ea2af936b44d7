/*
 * execute/internal.h - what the files of this room share. Nobody else includes it.
 *
 * engine.c the engine and its vCPUs   loop.c the loop   space.c which code space a process uses, and self-modifying code
 * fault.c the signal handler
 *
 * Locks, outermost first: run_space.change > (cc share_lock) > memory's locks > run_space.lock > run_engine.lock >
 * (cc cache.lock > cc_space.lock). Memory calls our hooks with its lock held: they take what stands behind it only.
 */
#ifndef EXECUTE_INTERNAL_H
#define EXECUTE_INTERNAL_H

#include "engine/codecache/code_cache.h"
#include "engine/execute/run.h"
#include "engine/memory/memory.h"
#include "engine/profile/profile.h"
#include "engine/translate/translate.h"

#include <pthread.h>

/* Bits of vcpu.exit_req. */
enum run_request {
    RUN_REQ_KICK = 1, /* run_kick: run_go returns RUN_KICKED */
    RUN_REQ_SAFE = 2, /* pass a safe point and look at the code space again */
};

/* Code spaces of a process: as the host's unit rounds, and with rounding modes that it has not. */
enum run_mode { RUN_MODE_HARD, RUN_MODE_SOFT, RUN_MODE_COUNT };

struct run_engine {
    struct run_config config;
    char name[64];
    uint32_t features;
    struct prof *prof;
    struct xl *xl; /* NULL if no_translate */
    pthread_mutex_t lock;
    struct run_vcpu **vcpus; /* [config.vcpu_count], holes are NULL */
};

struct run_vcpu {
    struct run_engine *engine;
    struct vcpu *v;
    struct prof_source source;
    struct xl_thread *xt; /* NULL if no_translate */
    struct cc_thread *ct;
    _Atomic(struct run_space *) in; /* set while inside run_go */

    /* what the loop works with; valid while seen_* say so */
    uint64_t seen_id; /* of the run_space: another may come to lie where it lay */
    uint64_t seen_generation;
    enum run_mode seen_mode;
    struct cc_space *code; /* pinned; NULL: none could be had, T0 only */
    struct cpu_jt_entry *jt;
    uint32_t miss_turn;
};

/* A hole torn into the executable mappings that code still has to follow. */
struct run_gone {
    gva_t lo, hi;
};
#define RUN_GONE_MAX 32

struct run_space {
    uint64_t id; /* never used twice */
    struct run_engine *engine;
    struct mem_space *mem;
    struct host_options options[RUN_MODE_COUNT];
    struct run_sharer {
        struct cc_sharer sharer;
        struct mem_space *mem;
    } sharers[RUN_MODE_COUNT];
    pthread_mutex_t change; /* changes of code[], and fences: one at a time */
    /* Moves whenever code may have changed; a vCPU compares it with what it saw before it goes on. */
    _Atomic uint64_t generation;

    pthread_mutex_t lock; /* the rest */
    struct cc_space
        *code[RUN_MODE_COUNT];  /* written under both locks, so either suffices to read */
    bool stale[RUN_MODE_COUNT]; /* the executable mappings changed since code[i] was chosen */
    struct run_gone gone[RUN_MODE_COUNT][RUN_GONE_MAX];
    unsigned gone_count[RUN_MODE_COUNT];
};

static inline bool run_masked(const struct vcpu *v)
{
    return v->mask != UINT32_MAX;
}

/* engine.c: any thread, wait-free. */
void run_request(struct run_vcpu *rv, uint32_t bits);
/* Every vCPU but rv that is inside run_go with s. True if there is one. */
bool run_nudge_others(struct run_space *s, const struct run_vcpu *rv);

/* space.c */
/* Find the code that s runs in that mode as of now, pin it and fill in rv->code, rv->jt and rv->seen_*. */
void run_space_settle(struct run_vcpu *rv, struct run_space *s, enum run_mode mode);
/* As fence.i: retire what stands on dirty pages. */
void run_space_fence(struct run_space *s, const struct run_vcpu *rv);

/* fault.c */
void run_set_current(struct vcpu *v); /* of this thread; NULL outside run_go */

#endif
