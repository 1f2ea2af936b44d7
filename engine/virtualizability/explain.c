/* Why an instruction is what it is, in plain words. */
#include "engine/virtualizability/report.h"

#include "engine/base/base.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS 100

/* How many columns a word takes: UTF-8 characters. */
static size_t columns(const uint8_t *p, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += (p[i] & 0xc0) != 0x80;
    return n;
}

/* Words of text, broken into lines; `first` stands before the first line, the others are indented alike. */
static void wrap(struct buf *out, const char *first, const struct buf *text)
{
    size_t indent = strlen(first), column = indent, at = 0;
    buf_printf(out, "%s", first);
    while (at < text->len) {
        size_t end = at;
        while (end < text->len && text->data[end] != ' ' && text->data[end] != '\n')
            end++;
        size_t width = columns(text->data + at, end - at);
        if (width) {
            bool fresh = column == indent;
            if (!fresh && column + 1 + width > COLUMNS) {
                buf_printf(out, "\n%*s", (int)indent, "");
                column = indent;
                fresh = true;
            }
            if (!fresh)
                buf_put_u8(out, ' ');
            buf_put(out, text->data + at, end - at);
            column += width + !fresh;
        }
        at = end + 1;
    }
    buf_put_u8(out, '\n');
}

static void paragraph(struct buf *out, const char *first, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void paragraph(struct buf *out, const char *first, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n >= 0 && buf_reserve(&text, (size_t)n + 1)) {
        va_start(ap, fmt);
        text.len = (size_t)vsnprintf((char *)text.data, (size_t)n + 1, fmt, ap);
        va_end(ap);
        wrap(out, first, &text);
    }
    out->failed = out->failed || text.failed;
    buf_fini(&text);
}

/* ---- how it was decided ---- */

static void decided(const struct pg_finding *f, struct buf *out)
{
    switch (f->method) {
    case PG_PROVED:
        buf_printf(out, "proved from the text, for every width and state");
        break;
    case PG_ENUMERATED:
        buf_printf(out, "every value it depends on was tried: %" PRIu64 " states", f->runs);
        break;
    case PG_WITNESS:
        buf_printf(out, f->witness && f->witness->side_count == 1
                            ? "shown by a state that was run"
                            : "shown by two states that were run");
        break;
    case PG_BOUNDED:
        buf_printf(out, "only for inputs of %u bits: all %" PRIu64 " states were tried", f->width,
                   f->runs);
        break;
    case PG_SMT:
        buf_printf(out, "proved by z3 at the widths of the file");
        break;
    case PG_OPEN:
        buf_printf(out, "%" PRIu64 " random pairs showed nothing, and there is no proof", f->runs);
        break;
    case PG_NONE:
    case PG_METHOD_COUNT:
        buf_printf(out, "it follows from the rest");
        break;
    }
}

/* ---- the paper's classes ---- */

static void privileged(const struct pg_analysis *a, const struct pg_result *r, struct buf *out)
{
    const struct pg_finding *f = &r->word[PG_WORD_PRIVILEGED];
    struct buf text = {0};
    if (f->answer == PG_YES) {
        buf_printf(&text,
                   "It is privileged: from equal states it traps in a user mode and does not in a "
                   "supervisor mode, so a monitor that runs its guest in user mode sees each of "
                   "them (");
    } else if (pg_is(r, PG_WORD_TRAPPING)) {
        buf_printf(&text,
                   "It traps in every mode. The paper's word for an instruction that traps in user "
                   "mode only, privileged, does not fit; but a monitor sees each of them (");
    } else if (f->answer == PG_UNDECIDED) {
        buf_printf(&text, "Whether it is privileged is undecided (");
    } else {
        buf_printf(&text, "It is not privileged");
        if (f->witness && f->witness->side_count == 2) {
            buf_printf(&text, ": there are equal states but for the mode with ");
            for (uint32_t i = 0; i < 2; i++) {
                char outcome[64];
                pg_report_outcome(a->spec, &f->witness->side[i], outcome, sizeof outcome);
                buf_printf(&text, "%s%s in mode %s", i ? " and " : "", outcome,
                           a->spec->modes[f->witness->side[i].mode]);
            }
        }
        buf_printf(&text, " (");
    }
    decided(f, &text);
    buf_printf(&text, ").");
    wrap(out, "- ", &text);
    buf_fini(&text);
}

static const struct {
    enum pg_word word;
    const char *yes, *on;
} senses[] = {
    {PG_WORD_CONTROL,
     "It is control-sensitive: without a trap it changes the mode, the relocation or a resource of "
     "the "
     "machine.",
     NULL},
    {PG_WORD_MODE, "It is mode-sensitive: what it does depends on the mode, and it does not trap.",
     "on the mode"},
    {PG_WORD_LOCATION,
     "It is location-sensitive: what it does depends on where in memory the program is.",
     "on where in memory the program is"},
    {PG_WORD_RESOURCE,
     "It is resource-sensitive: what it does depends on a register that belongs to the machine and "
     "not to "
     "the program.",
     "on a register that belongs to the machine"},
};

static void is_sensitive(const struct pg_analysis *a, const struct pg_result *r, size_t i,
                         struct buf *out)
{
    const struct pg_finding *f = &r->word[senses[i].word];
    struct buf text = {0};
    if (f->answer == PG_UNDECIDED) {
        buf_printf(&text, "Whether it is %s-sensitive is undecided", pg_word_text(senses[i].word));
    } else {
        buf_printf(&text, "%s", senses[i].yes);
        if (f->witness) {
            buf_printf(&text, " For example, ");
            pg_report_difference(a->spec, r->insn, f->witness, &text);
        }
    }
    buf_printf(&text, " (");
    decided(f, &text);
    buf_printf(&text, ").");
    wrap(out, "- ", &text);
    buf_fini(&text);
}

/* One sentence for all that it does not depend on and that was decided in one way. */
static void depends_not(const struct pg_result *r, enum pg_method method, struct buf *out)
{
    struct buf text = {0};
    const struct pg_finding *last = NULL;
    for (size_t i = 0; i < ARRAY_LEN(senses); i++) {
        const struct pg_finding *f = &r->word[senses[i].word];
        if (!senses[i].on || f->answer != PG_NO || f->method != method)
            continue;
        if (!last)
            buf_printf(
                &text,
                pg_is(r, PG_WORD_CONTROL)
                    ? "Where it leaves all that as it was, what it computes does not depend %s"
                    : "What it computes does not depend %s",
                senses[i].on);
        else
            buf_printf(&text, ", nor %s", senses[i].on);
        last = f;
    }
    if (last) {
        buf_printf(&text, " (");
        decided(last, &text);
        buf_printf(&text, ").");
        wrap(out, "- ", &text);
    }
    buf_fini(&text);
}

static void sensitive(const struct pg_analysis *a, const struct pg_result *r, struct buf *out)
{
    const struct pg_finding *control = &r->word[PG_WORD_CONTROL];
    if (pg_is(r, PG_WORD_TRAPPING))
        return;
    if (control->answer == PG_NO) {
        struct buf text = {0};
        buf_printf(&text, "It changes neither the mode, nor the relocation, nor a resource (");
        decided(control, &text);
        buf_printf(&text, ").");
        wrap(out, "- ", &text);
        buf_fini(&text);
    }
    for (size_t i = 0; i < ARRAY_LEN(senses); i++)
        if (r->word[senses[i].word].answer != PG_NO)
            is_sensitive(a, r, i, out);
    for (unsigned method = PG_NONE + 1; method < PG_METHOD_COUNT; method++)
        depends_not(r, method, out);
}

/* ---- the direct condition ---- */

static void hole(const struct pg_analysis *a, const struct pg_result *r, uint32_t m,
                 struct buf *out)
{
    const struct pg_spec *spec = a->spec;
    const struct pg_finding *f = &r->hole[m];
    struct buf text = {0};
    if (!(spec->virtual_modes >> m & 1))
        return;
    if (spec->deprivilege[m] == PG_SIMULATED) {
        paragraph(out, "- ", "Virtual mode %s is interpreted by the monitor: no hole there.",
                  spec->modes[m]);
        return;
    }
    buf_printf(&text, "Virtual mode %s, which runs in the real mode %s: ", spec->modes[m],
               spec->modes[spec->deprivilege[m]]);
    if (f->answer == PG_YES) {
        buf_printf(&text, "a hole");
        if (f->witness) {
            if (f->witness->why)
                buf_printf(&text, ": %s", f->witness->why);
            buf_printf(&text, ". In the example, ");
            pg_report_difference(spec, r->insn, f->witness, &text);
            buf_put_u8(&text, ' ');
        }
        buf_put_u8(&text, '(');
    } else {
        buf_printf(&text, f->answer == PG_NO
                              ? "no hole; run directly it either traps or does what the bare "
                                "machine would do ("
                              : "undecided (");
    }
    decided(f, &text);
    buf_printf(&text, ").");
    wrap(out, "- ", &text);
    buf_fini(&text);
}

/* ---- what follows ---- */

static void follows(const struct pg_result *r, struct buf *out)
{
    static const char *const by[] = {"", "by the paper's condition", "by the direct condition",
                                     "by the paper's condition and by the direct one"};
    switch (pg_report_label(r)) {
    case PG_LABEL_CRITICAL:
        if (r->critical != PG_NOT_CRITICAL)
            paragraph(out, "",
                      "So it is critical %s: a monitor that lets its guest run and waits for traps "
                      "does not see it, and theorem 1 fails.",
                      by[r->critical]);
        buf_put_u8(out, '\n');
        if (r->critical_user != PG_NOT_CRITICAL)
            paragraph(out, "",
                      "It is critical in user mode too, %s: interpreting all supervisor code, as a "
                      "hybrid monitor does, does not help, and theorem 3 fails.",
                      by[r->critical_user]);
        else
            paragraph(out, "",
                      "Only supervisor code is concerned: a hybrid monitor, which interprets that, "
                      "can do without a change to it (theorem 3).");
        break;
    case PG_LABEL_UNDECIDED:
        paragraph(out, "", "So nothing is said of it; --solver z3 may decide it.");
        break;
    case PG_LABEL_PRIVILEGED:
        paragraph(
            out, "",
            pg_is(r, PG_WORD_SENSITIVE)
                ? "So it is no danger: it is sensitive, and the monitor gets to see every one of "
                  "it "
                  "and does to the virtual machine what it was to do to the real one."
                : "So it is no danger: it traps where it must not run, and it does nothing to the "
                  "machine that the model knows of.");
        break;
    case PG_LABEL_TRAPPING:
        paragraph(out, "", "So it is no danger: the monitor passes the trap on to its guest.");
        break;
    case PG_LABEL_INNOCUOUS:
        paragraph(out, "", "So it is innocuous: the guest may run it directly, at full speed.");
        break;
    default:
        paragraph(out, "",
                  "So it is sensitive, but no danger in the modes in which this monitor lets its "
                  "guest run.");
    }
    if (r->disagreement) {
        buf_put_u8(out, '\n');
        paragraph(out, "", "The two conditions differ here: %s", r->disagreement);
    }
}

static void semantics(const struct pg_insn *insn, struct buf *out)
{
    const char *s = insn->semantics_text;
    bool fresh = true;
    buf_printf(out, "\nWhat it does, in the file's words:\n\n");
    for (; s && *s; s++) {
        if (fresh)
            buf_printf(out, "    ");
        buf_put_u8(out, (uint8_t)*s);
        fresh = *s == '\n';
    }
    if (!fresh)
        buf_put_u8(out, '\n');
    buf_put_u8(out, '\n');
}

void pg_explain(const struct pg_analysis *a, const struct pg_result *r, struct buf *out)
{
    const struct pg_insn *insn = r->insn;
    paragraph(out, "", "%s (%s, %s:%u): %s%s%s", insn->name, a->spec->isa, a->spec->file,
              insn->line, pg_label_name(pg_report_label(r)), r->rule ? ", tag " : "",
              r->rule ? r->rule : "");
    semantics(insn, out);
    paragraph(out, "", "In the paper's terms:");
    privileged(a, r, out);
    sensitive(a, r, out);
    buf_put_u8(out, '\n');
    paragraph(out, "", "Run directly, under a monitor:");
    for (uint32_t m = 0; m < a->spec->mode_count; m++)
        hole(a, r, m, out);
    buf_put_u8(out, '\n');
    follows(r, out);
    if (r->advice_count)
        buf_printf(out, "\nWhat can be done:\n");
    for (uint32_t i = 0; i < r->advice_count; i++)
        paragraph(out, "- ", "%s: %s%s", r->advice[i].key, r->advice[i].text,
                  r->advice[i].from_file ? "" : " (standard advice)");
    if (insn->note || insn->source || r->expect_wrong)
        buf_put_u8(out, '\n');
    if (insn->note)
        paragraph(out, "", "Note: %s", insn->note);
    if (insn->source)
        paragraph(out, "", "Source: %s", insn->source);
    if (r->expect_wrong)
        paragraph(out, "", "This is not what the file expects: %s", r->expect_wrong);
}
