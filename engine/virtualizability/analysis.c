/* Every question about every instruction, in an order that asks as few as possible. See analysis.h. */
#include "engine/virtualizability/analysis.h"

#include "engine/base/base.h"
#include "engine/base/os.h"
#include "engine/virtualizability/decide.h"
#include "engine/virtualizability/judge.h"

#include <stdlib.h>
#include <string.h>

struct work {
    struct pg_analysis *a;
    struct pg_decider d;
    struct pg_result *r;
    bool done[PG_MODES_MAX]; /* it can end without a trap in this mode */
};

const char *pg_method_name(enum pg_method m)
{
    static const char *const names[] = {"none",    "proved", "enumerated", "witness",
                                        "bounded", "smt",    "undecided"};
    return names[m];
}

const char *pg_sense_name(enum pg_sense s)
{
    static const char *const names[] = {"", "paper", "direct", "both"};
    return names[s];
}

static struct pg_finding decide(struct work *w, int question, uint32_t m0, uint32_t m1)
{
    struct pg_ask ask = {
        .spec = w->a->spec, .insn = w->r->insn, .question = question, .mode = {m0, m1}};
    return pg_decide(&w->d, &ask);
}

/* Which of two reasons for "no" is the weaker. */
static int weakness(enum pg_method m)
{
    static const int rank[] = {
        [PG_NONE] = 0,    [PG_PROVED] = 1,  [PG_ENUMERATED] = 2, [PG_SMT] = 3,
        [PG_WITNESS] = 4, [PG_BOUNDED] = 5, [PG_OPEN] = 6};
    return rank[m];
}

/* f or g: YES if one is, the weaker of two noes. */
static void either(struct pg_finding *f, const struct pg_finding *g)
{
    if (f->answer == PG_YES || g->method == PG_NONE)
        return;
    if (g->answer == PG_YES || g->answer > f->answer ||
        (g->answer == f->answer && weakness(g->method) > weakness(f->method)))
        *f = *g;
}

static struct pg_finding negated(struct pg_finding f)
{
    if (f.answer != PG_UNDECIDED)
        f.answer = f.answer == PG_YES ? PG_NO : PG_YES;
    return f;
}

static struct pg_finding both(const struct pg_finding *f, const struct pg_finding *g)
{
    struct pg_finding a = negated(*f), b = negated(*g);
    either(&a, &b);
    return negated(a);
}

static void note_user(struct work *w, const struct pg_finding *f, uint32_t modes)
{
    const struct pg_spec *s = w->a->spec;
    if (modes & s->supervisor)
        either(&w->r->word[PG_WORD_SUPERVISOR_SENSITIVE], f);
    if (modes & s->user)
        either(&w->r->word[PG_WORD_USER_SENSITIVE], f);
}

/* ---- questions ---- */

static void ask_trapping(struct work *w)
{
    const struct pg_spec *s = w->a->spec;
    struct pg_finding any = {.answer = PG_NO};
    for (uint32_t m = 0; m < s->mode_count; m++) {
        if (!((s->supervisor | s->user) >> m & 1)) {
            w->done[m] = true;
            continue;
        }
        struct pg_finding f = decide(w, PG_Q_DONE, m, m);
        w->done[m] = f.answer != PG_NO;
        either(&any, &f);
    }
    any.witness = NULL; /* that it ends is shown by every other witness */
    w->r->word[PG_WORD_TRAPPING] = negated(any);
}

static void ask_control(struct work *w)
{
    const struct pg_spec *s = w->a->spec;
    for (uint32_t m = 0; m < s->mode_count; m++) {
        if (!((s->supervisor | s->user) >> m & 1))
            continue;
        struct pg_finding *f = &w->r->control[m];
        *f = (struct pg_finding){.answer = PG_NO, .method = PG_PROVED};
        if (w->done[m])
            *f = decide(w, PG_Q_CONTROL, m, m);
        either(&w->r->word[PG_WORD_CONTROL], f);
        note_user(w, f, 1u << m);
    }
}

/* Location and resource: a supervisor mode that shows it, and a user mode. */
static void ask_behaviour(struct work *w, int question, enum pg_word word)
{
    const struct pg_spec *s = w->a->spec;
    uint32_t all = s->supervisor | s->user, seen = 0;
    for (uint32_t m = 0; m < s->mode_count; m++) {
        uint32_t bit = 1u << m, class = bit & s->supervisor ? s->supervisor : s->user;
        if (!(bit & all) || (seen & class))
            continue;
        struct pg_finding f = {.answer = PG_NO, .method = PG_PROVED};
        if (w->done[m])
            f = decide(w, question, m, m);
        if (f.answer == PG_YES)
            seen |= class;
        either(&w->r->word[word], &f);
        note_user(w, &f, bit);
    }
}

static void ask_mode(struct work *w)
{
    const struct pg_spec *s = w->a->spec;
    uint32_t all = s->supervisor | s->user;
    bool mixed = false, users = false;
    struct pg_finding none = {.answer = PG_NO, .method = PG_PROVED};
    either(&w->r->word[PG_WORD_MODE], &none);
    for (uint32_t m = 0; m < s->mode_count; m++)
        for (uint32_t n = m + 1; n < s->mode_count; n++) {
            uint32_t pair = 1u << m | 1u << n;
            bool user = (pair & ~s->user) == 0;
            if ((pair & ~all) || !w->done[m] || !w->done[n] || (user ? users : mixed))
                continue;
            struct pg_finding f = decide(w, PG_Q_MODE, m, n);
            *(user ? &users : &mixed) |= f.answer == PG_YES;
            either(&w->r->word[PG_WORD_MODE], &f);
            note_user(w, &f, user ? s->user : s->supervisor);
        }
}

static void ask_privileged(struct work *w)
{
    const struct pg_spec *s = w->a->spec;
    struct pg_finding against = {.answer = PG_NO, .method = PG_NONE}, shows = against;
    for (uint32_t m = 0; m < s->mode_count && against.answer != PG_YES; m++)
        for (uint32_t n = 0; n < s->mode_count && against.answer != PG_YES; n++) {
            if (!(s->supervisor >> m & 1) || !(s->user >> n & 1))
                continue;
            struct pg_finding f = decide(w, PG_Q_PRIVILEGED, m, n);
            either(&against, &f);
            if (f.answer == PG_YES || shows.answer == PG_YES)
                continue;
            f = decide(w, PG_Q_SHOWS, m, n);
            either(&shows, &f);
        }
    struct pg_finding *p = &w->r->word[PG_WORD_PRIVILEGED];
    *p = negated(against);
    if (against.method == PG_NONE) {
        *p = (struct pg_finding){.answer = PG_NO}; /* no supervisor or no user mode */
    } else if (p->answer == PG_YES && shows.answer == PG_YES) {
        p->witness = shows.witness;
    } else if (p->answer == PG_YES) {
        *p = shows; /* vacuous, or not known to be otherwise */
    }
}

static void ask_holes(struct work *w)
{
    const struct pg_spec *s = w->a->spec;
    for (uint32_t m = 0; m < s->mode_count; m++) {
        if (!(s->virtual_modes >> m & 1) || s->deprivilege[m] == PG_SIMULATED)
            continue;
        uint32_t real = (uint32_t)s->deprivilege[m];
        struct pg_finding *f = &w->r->hole[m];
        *f = (struct pg_finding){.answer = PG_NO, .method = PG_PROVED};
        if (w->done[real])
            *f = decide(w, PG_Q_HOLE, m, real);
        either(&w->r->word[PG_WORD_HOLE], f);
    }
}

static void derive(struct pg_result *r)
{
    struct pg_finding *w = r->word;
    either(&w[PG_WORD_BEHAVIOUR], &w[PG_WORD_LOCATION]);
    either(&w[PG_WORD_BEHAVIOUR], &w[PG_WORD_MODE]);
    either(&w[PG_WORD_BEHAVIOUR], &w[PG_WORD_RESOURCE]);
    either(&w[PG_WORD_SENSITIVE], &w[PG_WORD_CONTROL]);
    either(&w[PG_WORD_SENSITIVE], &w[PG_WORD_BEHAVIOUR]);
    w[PG_WORD_INNOCUOUS] = negated(w[PG_WORD_SENSITIVE]);
    struct pg_finding not_privileged = negated(w[PG_WORD_PRIVILEGED]);
    w[PG_WORD_CRITICAL] = both(&w[PG_WORD_SENSITIVE], &not_privileged);
    either(&w[PG_WORD_CRITICAL], &w[PG_WORD_HOLE]);
    for (int i = 0; i < PG_WORD_COUNT; i++)
        r->undecided |= w[i].answer == PG_UNDECIDED;
}

static void analyse_insn(struct work *w, struct pg_result *r)
{
    w->r = r;
    pg_search_insn(w->d.search, r->insn);
    ask_trapping(w);
    ask_privileged(w);
    ask_control(w);
    if (w->a->spec->base >= 0)
        ask_behaviour(w, PG_Q_LOCATION, PG_WORD_LOCATION);
    ask_mode(w);
    ask_behaviour(w, PG_Q_RESOURCE, PG_WORD_RESOURCE);
    ask_holes(w);
    derive(r);
    pg_judge_insn(w->a, r);
}

/* ---- all ---- */

static res_code_t prepare(struct pg_analysis *a, const struct pg_options *o, struct err *err)
{
    const struct pg_spec *s = a->spec;
    const struct pg_insn *first = s->insns;
    const char *near = NULL;
    a->result_count = s->insn_count;
    if (o->only) {
        first = pg_spec_find(s, o->only, &near);
        a->result_count = 1;
        if (!first)
            return err_set(err, ERR_NOT_FOUND, "%s has no instruction \"%.60s\"%s%s%s", s->file,
                           o->only, near ? "; did you mean \"" : "", near ? near : "",
                           near ? "\"?" : "");
    }
    a->results = arena_zalloc(&a->arena, a->result_count * sizeof *a->results);
    if (!a->results)
        return err_set(err, ERR_NO_MEMORY, "no memory for the results");
    for (uint32_t i = 0; i < a->result_count; i++)
        a->results[i].insn = first + i;
    return OK;
}

/* Constraints that nothing fulfils would prove everything. */
static res_code_t check_constraints(struct pg_decider *d, struct err *err)
{
    const struct pg_spec *s = d->spec;
    for (uint32_t m = 0; m < s->mode_count; m++) {
        bool runs = s->virtual_modes >> m & 1 && s->deprivilege[m] != PG_SIMULATED;
        struct pg_claim c = {.z = &d->z, .arena = &d->scratch};
        c.ask = (struct pg_ask){.spec = s, .insn = &s->insns[0], .question = PG_Q_HOLE};
        if (!runs)
            continue;
        c.ask.mode[0] = m;
        c.ask.mode[1] = (uint32_t)s->deprivilege[m];
        arena_reset(&d->scratch);
        pg_terms_reset(&d->z);
        pg_claim_build(&c);
        d->refuter.effort = 0;
        d->refuter.effort_max = 1000000;
        if (!c.overflow && pg_refute(&d->refuter, c.assumed, c.assumed_count) != PG_NOT_REFUTED)
            return err_set(
                err, ERR_INVALID,
                "%s: no state fulfils invariant and vmm_config while a guest is in mode %s, "
                "so they would prove anything; weaker ones were expected",
                s->file, s->modes[m]);
    }
    return OK;
}

res_t pg_analyse(const struct pg_spec *spec, const struct pg_options *options,
                 struct pg_analysis **out, struct err *err)
{
    uint64_t start = os_now_ns();
    struct pg_analysis *a = calloc(1, sizeof *a);
    if (!a)
        return err_set(err, ERR_NO_MEMORY, "no memory for the analysis");
    arena_init(&a->arena, 0);
    a->spec = spec;
    struct work w = {.a = a};
    w.d.spec = spec;
    w.d.options = options;
    w.d.results = &a->arena;
    w.d.question_count = a->question_count;
    struct err none;
    res_code_t res = pg_decider_init(&w.d, err ? err : &none);
    if (res == OK)
        res = prepare(a, options, err);
    if (res == OK)
        res = check_constraints(&w.d, err);
    for (uint32_t i = 0; res == OK && i < a->result_count; i++) {
        analyse_insn(&w, &a->results[i]);
        res = w.d.failed;
    }
    a->timed_out = w.d.timed_out;
    pg_decider_fini(&w.d);
    if (res != OK) {
        pg_analysis_free(a);
        return FAIL;
    }
    pg_judge_all(a, options->only != NULL);
    a->elapsed_ns = os_now_ns() - start;
    *out = a;
    return OK;
}

void pg_analysis_free(struct pg_analysis *a)
{
    if (!a)
        return;
    arena_fini(&a->arena);
    free(a);
}

int pg_exit_code(const struct pg_analysis *a)
{
    bool wrong = a->contradicted_count > 0, fails = false, unknown = false;
    static const enum pg_theorem both_senses[] = {PG_T1, PG_DIRECT_T1};
    for (int t = 0; t < PG_THEOREM_COUNT; t++)
        wrong |= a->verdict_wrong[t] != NULL;
    for (size_t i = 0; i < ARRAY_LEN(both_senses); i++) {
        fails |= a->verdict[both_senses[i]] == PG_FAILS;
        unknown |= a->verdict[both_senses[i]] == PG_UNKNOWN;
    }
    return wrong ? 4 : fails ? 1 : unknown ? 5 : 0;
}
