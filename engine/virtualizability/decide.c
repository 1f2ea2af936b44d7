/* One question, decided: see decide.h. */
#include "engine/virtualizability/decide.h"

#include "engine/base/base.h"
#include "engine/base/os.h"
#include "engine/virtualizability/smt.h"

#include <stdlib.h>

#define FEW_TRIES 1000u /* before the costly proof */
#define RANDOM_TRIES 6000u
#define RANDOM_STEP 500u
#define ALL_TRIES 30000u
#define SMT_NS 10000000000ull
#define WIDTH 3u
#define EFFORT \
    300000u /* terms computed by a question's enumerations, before a search for witnesses */
#define EFFORT_MAX 20000000u /* and after it */

res_t pg_decider_init(struct pg_decider *d, struct err *err)
{
    d->err = err;
    arena_init(&d->scratch, (size_t)256 << 20);
    if (pg_terms_init(&d->z, d->spec->word_bits, err) != OK)
        return FAIL;
    if (pg_refuter_init(&d->refuter, &d->z, err) != OK)
        return FAIL;
    d->search = malloc(sizeof *d->search);
    if (!d->search)
        return err_set(err, ERR_NO_MEMORY, "no memory for the search");
    pg_search_init(d->search, d->spec, d->options->seed);
    if (d->options->timeout_ns)
        d->deadline_ns = os_now_ns() + d->options->timeout_ns;
    d->search->deadline_ns = d->refuter.deadline_ns = d->deadline_ns;
    return OK;
}

void pg_decider_fini(struct pg_decider *d)
{
    free(d->search);
    pg_refuter_fini(&d->refuter);
    pg_terms_fini(&d->z);
    arena_fini(&d->scratch);
}

static bool late(struct pg_decider *d)
{
    if (d->deadline_ns && os_now_ns() > d->deadline_ns)
        d->timed_out = true;
    return d->timed_out;
}

bool pg_decide_prune(struct pg_decider *d, struct pg_claim *c, enum pg_method *how)
{
    for (struct pg_case **at = &c->cases; *at;) {
        struct pg_case *k = *at;
        enum pg_refuted got = pg_refute(&d->refuter, k->base, k->base_count);
        bool open = got == PG_NOT_REFUTED;
        c->enumerated |= got == PG_BY_ENUMERATION;
        if (open && !k->any) {
            uint32_t left = 0;
            for (uint32_t i = 0; i < k->diff_count; i++) {
                got = pg_refute_with(&d->refuter, k->diffs[i]);
                if (got == PG_NOT_REFUTED)
                    k->diffs[left++] = k->diffs[i];
                else
                    c->enumerated |= got == PG_BY_ENUMERATION;
            }
            k->diff_count = left;
            open = left > 0;
        }
        if (open)
            at = &k->next;
        else
            *at = k->next;
        if (d->z.full || late(d))
            return false;
    }
    *how = c->enumerated ? PG_ENUMERATED : PG_PROVED;
    return !c->cases;
}

static bool witnessed(struct pg_decider *d, struct pg_finding *f, struct pg_pair *pair)
{
    uint32_t mode = pair->ask.mode[0];
    struct pg_witness *w = pg_witness_new(d->results, pair);
    if (!w)
        return false;
    f->answer = PG_YES;
    f->method = PG_WITNESS;
    f->witness = w;
    f->mode = mode;
    return true;
}

static bool search_random(struct pg_decider *d, const struct pg_claim *c, unsigned tries,
                          struct pg_finding *f)
{
    for (unsigned i = 0; i < tries / RANDOM_STEP && !late(d); i++)
        if (pg_search_random(d->search, &c->ask, c, RANDOM_STEP) &&
            witnessed(d, f, &d->search->pair))
            return true;
    return false;
}

/* True: decided. */
static bool search_all(struct pg_decider *d, const struct pg_ask *ask, struct pg_finding *f)
{
    bool complete = false;
    unsigned width = d->options->width ? d->options->width : WIDTH;
    uint64_t runs = d->search->runs, tries = d->options->width ? ALL_TRIES * 100 : ALL_TRIES;
    enum pg_exhausted got = pg_search_all(d->search, ask, width, tries, &complete);
    if (got == PG_FOUND)
        return witnessed(d, f, &d->search->pair);
    if (got == PG_GAVE_UP)
        return false;
    f->answer = PG_NO;
    f->method = complete ? PG_ENUMERATED : PG_BOUNDED;
    f->runs = d->search->runs - runs;
    f->width = width;
    return complete;
}

static bool ask_z3(struct pg_decider *d, const struct pg_claim *c, struct pg_finding *f)
{
    CLEANUP(buf_fini) struct buf answer = {0};
    enum pg_sat sat;
    uint64_t ns = SMT_NS;
    if (d->deadline_ns) {
        uint64_t now = os_now_ns();
        if (now >= d->deadline_ns)
            return false;
        ns = MIN(ns, d->deadline_ns - now);
    }
    if (d->failed != OK || c->overflow)
        return false;
    if (pg_smt_ask(c, ns, &sat, &answer, d->err) != OK) {
        d->failed = FAIL;
        return false;
    }
    if (sat == PG_UNSAT) {
        f->answer = PG_NO;
        f->method = PG_SMT;
        return true;
    }
    if (sat == PG_SAT && pg_smt_model(c, &answer, &d->search->pair) &&
        witnessed(d, f, &d->search->pair)) {
        ((struct pg_witness *)f->witness)->from_smt = true;
        return true;
    }
    return false;
}

static void emit(struct pg_decider *d, const struct pg_claim *c)
{
    if (d->options->emit_smt && d->failed == OK && !c->overflow)
        d->failed = pg_smt_emit(c, d->options->emit_smt, d->err);
}

static bool proved(struct pg_decider *d, struct pg_claim *c, uint64_t effort, struct pg_finding *f)
{
    enum pg_method how;
    d->refuter.effort = 0;
    d->refuter.effort_max = effort;
    if (c->overflow || !pg_decide_prune(d, c, &how))
        return false;
    f->answer = PG_NO;
    f->method = how;
    return true;
}

static struct pg_finding decide(struct pg_decider *d, struct pg_claim *c)
{
    struct pg_finding f = {.answer = PG_NO, .method = PG_PROVED}, bounded;
    const struct pg_ask *ask = &c->ask;
    pg_claim_build(c);
    if (d->options->emit_all)
        emit(d, c);
    if (proved(d, c, EFFORT, &f))
        return f;
    uint64_t before = d->search->runs;
    f = (struct pg_finding){.answer = PG_UNDECIDED, .method = PG_OPEN};
    if (search_random(d, c, FEW_TRIES, &f) || proved(d, c, EFFORT_MAX, &f) ||
        search_random(d, c, RANDOM_TRIES, &f))
        return f;
    if (!late(d) && search_all(d, ask, &f))
        return f;
    bounded = f;
    if (!d->options->emit_all)
        emit(d, c);
    if (d->options->use_z3 && ask_z3(d, c, &f))
        return f;
    f = bounded;
    if (f.answer == PG_UNDECIDED)
        f.runs = d->search->runs - before;
    return f;
}

struct pg_finding pg_decide(struct pg_decider *d, const struct pg_ask *ask)
{
    struct pg_claim c = {
        .ask = *ask, .z = &d->z, .arena = &d->scratch, .deadline_ns = d->deadline_ns};
    struct pg_finding f = {.answer = PG_UNDECIDED, .method = PG_OPEN};
    arena_reset(&d->scratch);
    pg_terms_reset(&d->z);
    if (!late(d))
        f = decide(d, &c);
    d->question_count[f.method]++;
    return f;
}
