/*
 * virtualizability/search.h - looks for a pair of states that shows a question. Only for this room.
 *
 * Looks into: pair, claim.  Used by: analysis.
 *
 * Random: boundary values, constants of the instruction and of the constraints, values drawn before and their neighbours;
 * guided by what the open cases of the claim demand of single registers. Exhaustive: every combination of inputs
 * of `width` bits, only those that are read.
 */
#ifndef VIRTUALIZABILITY_SEARCH_H
#define VIRTUALIZABILITY_SEARCH_H

#include "engine/base/os.h"
#include "engine/virtualizability/claim.h"
#include "engine/virtualizability/pair.h"

#define PG_PINS_MAX 64u
#define PG_WORDS_MAX 64u /* the dictionary */
#define PG_DEPTH_MAX 96u /* inputs of one run of the exhaustive search */

/* Some bits of an input that a case demands. */
struct pg_pin {
    enum pg_input what;
    unsigned copy;
    uint32_t which; /* as in struct pg_wish */
    uint64_t mask, value;
    uint64_t least, most;
};

struct pg_search {
    const struct pg_spec *spec;
    struct pg_pair pair;
    struct rng rng;
    uint64_t words[PG_WORDS_MAX];
    uint32_t word_count;
    uint64_t recent[16];
    uint32_t recent_count;
    struct pg_pin pins[PG_PINS_MAX];
    uint32_t pin_count;
    /* exhaustive */
    struct {
        uint64_t value, count;
    } choice[PG_DEPTH_MAX];
    uint32_t depth, at;
    unsigned width;
    bool narrowed, too_deep;
    uint64_t runs;
    uint64_t deadline_ns; /* 0: none */
};
void pg_search_init(struct pg_search *s, const struct pg_spec *spec, uint64_t seed);
/* Before questions about another instruction. */
void pg_search_insn(struct pg_search *s, const struct pg_insn *insn);
/* True: s->pair shows it. claim may be NULL. */
bool pg_search_random(struct pg_search *s, const struct pg_ask *ask, const struct pg_claim *claim,
                      uint64_t tries);

enum pg_exhausted { PG_FOUND, PG_ALL_TRIED, PG_GAVE_UP };
/* *complete: no input was cut short, so all tried is a proof. Gives up at the deadline too. */
enum pg_exhausted pg_search_all(struct pg_search *s, const struct pg_ask *ask, unsigned width,
                                uint64_t tries, bool *complete);

/* ---- witness.c ---- */

/* Of s->pair, which shows ask; made simpler as far as it still does; replayed. NULL: it does not replay, or no memory. */
struct pg_witness *pg_witness_new(struct arena *arena, struct pg_pair *pair);

#endif
