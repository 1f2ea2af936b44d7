/* Lists, verdicts, and where paper and direct condition differ: see judge.h. */
#include "engine/virtualizability/judge.h"

#include "engine/base/base.h"

#include <stdio.h>
#include <string.h>

/* ---- one instruction ---- */

static bool any_hole(const struct pg_spec *s, const struct pg_result *r, uint32_t modes,
                     enum pg_answer answer)
{
    for (uint32_t m = 0; m < s->mode_count; m++)
        if (modes >> m & 1 && r->hole[m].method != PG_NONE && r->hole[m].answer == answer)
            return true;
    return false;
}

static enum pg_sense sense(bool paper, bool direct)
{
    return paper ? (direct ? PG_BOTH : PG_PAPER) : direct ? PG_DIRECT : PG_NOT_CRITICAL;
}

/* Paper: sensitive and not privileged. */
static enum pg_answer paper_critical(const struct pg_result *r, enum pg_word sensitive)
{
    enum pg_answer s = r->word[sensitive].answer, p = r->word[PG_WORD_PRIVILEGED].answer;
    if (s == PG_NO || p == PG_YES)
        return PG_NO;
    return s == PG_YES && p == PG_NO ? PG_YES : PG_UNDECIDED;
}

static void add_tag(char *out, size_t cap, const char *tag)
{
    size_t n = strlen(out);
    if (tag && !strstr(out, tag))
        snprintf(out + n, cap - n, "%s%s", n ? ", " : "", tag);
}

static void tags_of_witness(const struct pg_spec *s, const struct pg_witness *w, char *out,
                            size_t cap)
{
    if (!w)
        return;
    for (uint32_t i = 0; i < w->diff_count; i++)
        if (w->diffs[i].side >= 0 && !w->diffs[i].place[0].memory)
            add_tag(out, cap, pg_spec_cell_reg(s, w->diffs[i].place[0].cell)->tag);
    if (w->question != PG_Q_RESOURCE && w->question != PG_Q_MODE)
        return;
    /* What was made different is what it depends on. */
    for (uint32_t c = 0; c < s->cell_count; c++)
        if (w->side[0].before.cells[c] != w->side[1].before.cells[c])
            add_tag(out, cap, pg_spec_cell_reg(s, c)->tag);
}

static const char *rule_of(struct pg_analysis *a, const struct pg_result *r)
{
    static const enum pg_word words[] = {PG_WORD_CONTROL, PG_WORD_MODE, PG_WORD_RESOURCE,
                                         PG_WORD_LOCATION};
    char tags[120] = "";
    if (r->insn->tag)
        return r->insn->tag;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        tags_of_witness(a->spec, r->word[words[i]].witness, tags, sizeof tags);
    for (uint32_t m = 0; m < a->spec->mode_count; m++)
        tags_of_witness(a->spec, r->hole[m].witness, tags, sizeof tags);
    return tags[0] ? arena_strdup(&a->arena, tags) : NULL;
}

static const char *disagreement_of(struct pg_analysis *a, const struct pg_result *r, bool paper,
                                   bool direct)
{
    if (paper == direct)
        return NULL;
    if (paper)
        return "sensitive by the paper's letter and not privileged, but under this VM map nothing "
               "differs: what it "
               "reads or writes is the guest's own there, or the hardware keeps it for the guest";
    for (uint32_t m = 0; m < a->spec->mode_count; m++) {
        const struct pg_witness *w = r->hole[m].witness;
        if (w && w->side[0].outcome == PG_TRAP)
            return arena_printf(
                &a->arena,
                "it traps on the bare machine in mode %s and not in mode %s, in which the guest "
                "really "
                "runs: the paper's classes leave out pairs in which either side traps",
                a->spec->modes[w->side[0].mode], a->spec->modes[w->side[1].mode]);
    }
    if (pg_is(r, PG_WORD_PRIVILEGED))
        return "privileged by the paper's letter, but the real machine does not trap in a mode or "
               "a state in which a "
               "guest runs";
    return "innocuous by the paper's letter, but the real machine differs from the bare one in a "
           "state that the VM map "
           "leaves to the host";
}

/* NULL: as expected. */
static const char *expect_wrong(struct pg_analysis *a, struct pg_result *r)
{
    static const enum pg_word exact[] = {PG_WORD_PRIVILEGED, PG_WORD_INNOCUOUS, PG_WORD_TRAPPING};
    const struct pg_insn *insn = r->insn;
    char text[300] = "";
    if (!insn->has_expect)
        return NULL;
    for (int w = 0; w < PG_WORD_COUNT; w++) {
        int want = insn->expect[w];
        for (size_t i = 0; want == 0 && i < ARRAY_LEN(exact); i++)
            if (exact[i] == (enum pg_word)w)
                want = w == PG_WORD_INNOCUOUS && insn->expect[PG_WORD_TRAPPING] > 0 ? 0 : -1;
        if (w == PG_WORD_PRIVILEGED && want < 0 && r->word[w].answer == PG_UNDECIDED)
            continue; /* said as undecided already */
        enum pg_answer got = r->word[w].answer;
        if (want == 0 || got == (want > 0 ? PG_YES : PG_NO))
            continue;
        r->contradicted |= got != PG_UNDECIDED;
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%s%s%s was expected and is %s", n ? "; " : "",
                 want < 0 ? "not " : "", pg_word_text(w),
                 got == PG_UNDECIDED ? "undecided"
                 : want > 0          ? "not so"
                                     : "so");
    }
    return text[0] ? arena_strdup(&a->arena, text) : NULL;
}

void pg_judge_insn(struct pg_analysis *a, struct pg_result *r)
{
    const struct pg_spec *s = a->spec;
    uint32_t all = s->virtual_modes;
    bool paper = paper_critical(r, PG_WORD_SENSITIVE) == PG_YES;
    bool direct = any_hole(s, r, all, PG_YES);
    r->critical = sense(paper, direct);
    r->critical_user = sense(paper_critical(r, PG_WORD_USER_SENSITIVE) == PG_YES,
                             any_hole(s, r, all & s->user, PG_YES));
    r->rule = rule_of(a, r);
    bool open =
        paper_critical(r, PG_WORD_SENSITIVE) == PG_UNDECIDED || any_hole(s, r, all, PG_UNDECIDED);
    r->disagreement = open ? NULL : disagreement_of(a, r, paper, direct);
    r->expect_wrong = expect_wrong(a, r);
    pg_advise(a, r);
}

/* ---- all ---- */

struct tally {
    uint32_t against, open, bounded;
    const char *first;
};

static void count(struct tally *t, const struct pg_result *r, enum pg_answer critical, bool bounded)
{
    if (critical == PG_YES && !t->against++)
        t->first = r->insn->name;
    t->open += critical == PG_UNDECIDED;
    t->bounded += critical == PG_NO && bounded;
}

static bool bounded_holes(const struct pg_spec *s, const struct pg_result *r, uint32_t modes)
{
    for (uint32_t m = 0; m < s->mode_count; m++)
        if (modes >> m & 1 && r->hole[m].answer == PG_NO && r->hole[m].method == PG_BOUNDED)
            return true;
    return false;
}

static enum pg_answer direct_critical(const struct pg_spec *s, const struct pg_result *r,
                                      uint32_t modes)
{
    if (any_hole(s, r, modes, PG_YES))
        return PG_YES;
    return any_hole(s, r, modes, PG_UNDECIDED) ? PG_UNDECIDED : PG_NO;
}

static void tally(const struct pg_analysis *a, enum pg_theorem t, struct tally *out)
{
    const struct pg_spec *s = a->spec;
    *out = (struct tally){0};
    for (uint32_t i = 0; i < a->result_count; i++) {
        const struct pg_result *r = &a->results[i];
        bool user = t == PG_T3 || t == PG_DIRECT_T3;
        enum pg_word word = user ? PG_WORD_USER_SENSITIVE : PG_WORD_SENSITIVE;
        uint32_t modes = s->virtual_modes & (user ? s->user : UINT32_MAX);
        if (t == PG_DIRECT_T1 || t == PG_DIRECT_T3)
            count(out, r, direct_critical(s, r, modes), bounded_holes(s, r, modes));
        else
            count(out, r, paper_critical(r, word),
                  r->word[word].method == PG_BOUNDED ||
                      r->word[PG_WORD_PRIVILEGED].method == PG_BOUNDED);
    }
}

static void decide(struct pg_analysis *a, enum pg_theorem t, bool only_one)
{
    static const char *const what[] = {
        [PG_T1] = "sensitive and not privileged",
        [PG_T3] = "user-sensitive and not privileged",
        [PG_DIRECT_T1] = "differing from the bare machine without a trap",
        [PG_DIRECT_T3] = "differing from the bare machine without a trap in a user mode",
    };
    struct tally n;
    tally(a, t, &n);
    if (n.against) {
        a->verdict[t] = PG_FAILS;
        a->verdict_why[t] = arena_printf(&a->arena, "%u instruction%s %s, %s first", n.against,
                                         n.against == 1 ? "" : "s", what[t], n.first);
    } else if (n.open || only_one) {
        a->verdict[t] = PG_UNKNOWN;
        a->verdict_why[t] = n.open ? arena_printf(&a->arena, "%u instruction%s undecided", n.open,
                                                  n.open == 1 ? "" : "s")
                                   : "only one instruction was looked at";
    } else if (n.bounded) {
        a->verdict[t] = PG_UNKNOWN;
        a->verdict_why[t] =
            arena_printf(&a->arena,
                         "no instruction is known to be %s, but for %u of them only a bounded "
                         "search says so; --solver z3 or a larger --width may settle it",
                         what[t], n.bounded);
    } else {
        a->verdict[t] = PG_HOLDS;
        a->verdict_why[t] = arena_printf(&a->arena, "no instruction %s", what[t]);
    }
}

/* Theorem 2: theorem 1 and a VMM that does not depend on time. */
static void decide_recursive(struct pg_analysis *a)
{
    const struct pg_spec *s = a->spec;
    bool clock = false;
    for (uint32_t i = 0; i < s->reg_count; i++)
        clock |= s->regs[i].role == PG_ROLE_CLOCK;
    a->verdict[PG_T2] = a->verdict[PG_T1];
    a->verdict_why[PG_T2] = "as theorem 1: the VMM depends on no clock";
    if (a->verdict[PG_T1] != PG_HOLDS) {
        a->verdict_why[PG_T2] = "theorem 1 is a condition of it";
    } else if (s->has_timing && !s->timing_free) {
        a->verdict[PG_T2] = PG_FAILS;
        a->verdict_why[PG_T2] = "the file says that the VMM depends on time";
    } else if (clock && !s->has_timing) {
        a->verdict[PG_T2] = PG_UNKNOWN;
        a->verdict_why[PG_T2] =
            "the machine has a clock, and the file does not say `vmm: timing_free`";
    }
}

static void list_omissions(struct pg_analysis *a)
{
    static const char *const always[] = {
        "no input, output or interrupts, unless a register stands for them",
        "no time: how long anything takes, how often a clock ticks meanwhile",
        "no caches, no speculation, no side channels",
        "no undefined behaviour but what is written as `choice`",
        "nothing the file leaves out: without a resource its readers look innocuous",
    };
    const struct pg_spec *s = a->spec;
    uint32_t n = 0;
    a->leaves_out =
        arena_alloc(&a->arena, (ARRAY_LEN(always) + s->leaves_out_count) * sizeof *a->leaves_out);
    if (!a->leaves_out)
        return;
    for (size_t i = 0; i < ARRAY_LEN(always); i++)
        a->leaves_out[n++] = always[i];
    for (uint32_t i = 0; i < s->leaves_out_count; i++)
        a->leaves_out[n++] = s->leaves_out[i];
    a->leaves_out_count = n;
}

static bool rests_on_bounds(const struct pg_result *r)
{
    for (int w = 0; w < PG_WORD_COUNT; w++)
        if (r->word[w].method == PG_BOUNDED)
            return true;
    return false;
}

void pg_judge_all(struct pg_analysis *a, bool only_one)
{
    const struct pg_spec *s = a->spec;
    for (uint32_t i = 0; i < a->result_count; i++) {
        const struct pg_result *r = &a->results[i];
        a->critical_count += r->critical != PG_NOT_CRITICAL;
        a->undecided_count += r->undecided;
        a->expect_wrong_count += r->expect_wrong != NULL;
        a->contradicted_count += r->contradicted;
        a->bounded_count += rests_on_bounds(r);
    }
    decide(a, PG_T1, only_one);
    decide(a, PG_T3, only_one);
    decide(a, PG_DIRECT_T1, only_one);
    decide(a, PG_DIRECT_T3, only_one);
    decide_recursive(a);
    for (int t = 0; t < PG_THEOREM_COUNT; t++)
        if (!only_one && s->has_verdict[t] && s->verdict[t] != a->verdict[t])
            a->verdict_wrong[t] = arena_printf(
                &a->arena, "%s %s was expected; it %s", pg_theorem_name(t),
                pg_verdict_name(s->verdict[t]),
                a->verdict[t] == PG_UNKNOWN ? "is unknown" : pg_verdict_name(a->verdict[t]));
    list_omissions(a);
}
