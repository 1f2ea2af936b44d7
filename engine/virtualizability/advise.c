/* What to do about a critical instruction. See analysis.h: struct pg_advice. */
#include "engine/base/base.h"
#include "engine/virtualizability/judge.h"

#include <string.h>

static void advise(struct pg_result *r, const char *key, const char *text, bool from_file)
{
    for (uint32_t i = 0; i < r->advice_count; i++)
        if (!strcmp(r->advice[i].key, key) && r->advice[i].from_file)
            return; /* the file knows better */
    if (r->advice_count < PG_ADVICE_MAX)
        r->advice[r->advice_count++] = (struct pg_advice){key, text, from_file};
}

static bool hole_by_silence(const struct pg_spec *s, const struct pg_result *r)
{
    for (uint32_t m = 0; m < s->mode_count; m++) {
        const struct pg_witness *w = r->hole[m].witness;
        if (w && w->side[0].outcome == PG_DONE && w->diff_count && w->diffs[0].side == 0)
            return true; /* the bare machine changes something, the real one does not, and nobody is told */
    }
    return false;
}

static bool hole_by_lost_trap(const struct pg_spec *s, const struct pg_result *r)
{
    for (uint32_t m = 0; m < s->mode_count; m++)
        if (r->hole[m].witness && r->hole[m].witness->side[0].outcome == PG_TRAP)
            return true;
    return false;
}

/* A user mode writes state that the hardware changes by itself. */
static bool hole_in_user_by_change(const struct pg_spec *s, const struct pg_result *r)
{
    for (uint32_t m = 0; m < s->mode_count; m++) {
        const struct pg_witness *w = s->user >> m & 1 ? r->hole[m].witness : NULL;
        if (w && w->diff_count && w->diffs[0].side == 1)
            return true;
    }
    return false;
}

void pg_advise(struct pg_analysis *a, struct pg_result *r)
{
    const struct pg_spec *s = a->spec;
    for (uint32_t i = 0; i < r->insn->remedy_count; i++)
        advise(r, r->insn->remedy[i].key, r->insn->remedy[i].value, true);
    if (r->critical == PG_NOT_CRITICAL)
        return;
    if (hole_by_lost_trap(s, r))
        advise(
            r, "patch",
            "replace it by an instruction that traps; nothing else makes its missing trap visible",
            false);
    else if (hole_by_silence(s, r))
        advise(r, "patch",
               "replace it by an instruction that traps: it is ignored silently, so the VMM cannot "
               "see it",
               false);
    else
        advise(r, "patch", "replace it by an instruction that traps, and interpret it in the VMM",
               false);
    if (pg_is(r, PG_WORD_MODE) || pg_is(r, PG_WORD_RESOURCE))
        advise(r, "translate",
               "translate guest code and read the virtual mode or resource inline: cheap", false);
    else
        advise(r, "translate", "translate guest code and call the VMM's routine at this place",
               false);
    if (pg_is(r, PG_WORD_LOCATION))
        advise(r, "relocate",
               "let guests run unrelocated, with the VMM in high memory (the paper), or give them "
               "nested paging",
               false);
    if (pg_is(r, PG_WORD_CONTROL) || pg_is(r, PG_WORD_RESOURCE))
        advise(r, "pv",
               "let the guest call the VMM instead, or keep the value in a page that both share",
               false);
    advise(r, "hw",
           "let the hardware trap it while a guest runs: an enable bit in a control register",
           false);
    if (hole_in_user_by_change(s, r))
        advise(r, "map",
               "if the VMM can leave this state to the hardware and read it back: `vmm: identity`",
               false);
    if (r->critical_user != PG_NOT_CRITICAL)
        advise(r, "hybrid", "no hybrid VMM helps: user code needs it patched or translated too",
               false);
    else
        advise(r, "hybrid",
               "a hybrid VMM helps: it interprets all code of virtual supervisor modes", false);
}
