/*
 * profile/profile.h - what a guest's engine counts, and where its time goes: counters and the edge profile.
 *
 * Looks into: base.  Used by: memory, codecache, translate, execute, linux, vm.
 *
 * prof_source  one per vCPU thread: its counters and a ring of edges. Written by that thread only, read by anybody.
 * prof         one per guest: sums the counters when asked, and holds the profile database: for each place
 *              (code space, guest pc) how often it was entered from the run loop and where control went next.
 *
 * Edges are those that pass through the run loop: entries of cold blocks, exits on their way to being chained, indirect
 * targets that missed. That names each edge of hot code at least once and ranks indirect targets.
 *
 * Rules:
 *  (1) A counter never goes back; those of a source that is gone stay in the sum.
 *  (2) The writer of a ring never waits: what does not fit is counted as PROF_PROFILE_LOST.
 *  (3) The database has at most places_max places; entries of others are counted in the place {0, 0}.
 */
#ifndef PROFILE_PROFILE_H
#define PROFILE_PROFILE_H

#include "engine/base/base.h"
#include "engine/base/err.h"

#include <stdatomic.h>

enum prof_counter {
#define PROF_COUNTER(name, text, unit, help) PROF_##name,
#include "engine/profile/counters.def"
#undef PROF_COUNTER
    PROF_COUNTER_COUNT
};
struct prof_counter_info {
    const char *name, *unit, *help;
};
extern const struct prof_counter_info prof_counter_infos[PROF_COUNTER_COUNT];

enum prof_edge_kind { PROF_ENTRY, PROF_DIRECT, PROF_INDIRECT };
struct prof_edge {
    uint64_t space; /* an id of the code space; 0 in the interpreter */
    uint64_t from;  /* pc of the block that was left; 0 unknown */
    uint64_t to;
    enum prof_edge_kind kind;
};

#define PROF_RING_COUNT 512u
struct prof_source {
    struct list link;
    _Atomic uint64_t n[PROF_COUNTER_COUNT];
    _Atomic uint32_t head, tail; /* head: the writer's; tail: the merger's */
    struct prof_edge ring[PROF_RING_COUNT];
};

static inline void prof_add(struct prof_source *s, enum prof_counter c, uint64_t by)
{
    uint64_t n = atomic_load_explicit(&s->n[c], memory_order_relaxed);
    atomic_store_explicit(&s->n[c], n + by, memory_order_relaxed);
}
/* Thread: the source's. True: the ring is half full, have somebody merge it. */
bool prof_note(struct prof_source *s, const struct prof_edge *e);

struct prof;
res_t prof_new(uint32_t places_max, struct prof **p, struct err *err);
void prof_free(struct prof *p);                          /* no source may be left */
void prof_attach(struct prof *p, struct prof_source *s); /* clears it */
void prof_detach(struct prof *p, struct prof_source *s); /* merges it a last time */
void prof_sum(struct prof *p, uint64_t n[PROF_COUNTER_COUNT]);

/* Empty the rings into the database. Thread: any one at a time takes the lock; usually the translator's. */
void prof_merge(struct prof *p);

#define PROF_TARGETS 4
struct prof_target {
    uint64_t pc, count;
};
struct prof_place {
    uint64_t space, pc;
    uint64_t entries;                         /* times control arrived here through the run loop */
    uint64_t indirect;                        /* of them, by an indirect jump (sampled) */
    struct prof_target targets[PROF_TARGETS]; /* where it went, most frequent kept */
    uint64_t other_targets;
};
bool prof_find(struct prof *p, uint64_t space, uint64_t pc, struct prof_place *out);
/* The n most entered places, best first; returns how many. */
size_t prof_top(struct prof *p, struct prof_place *out, size_t n);

#endif
