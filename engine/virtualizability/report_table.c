/* What an analysis has found, for a terminal: see report_table.h. */
#include "engine/virtualizability/report_table.h"

#include "engine/base/base.h"
#include "engine/virtualizability/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS 100

/* Text from the file may not steer the terminal. */
static void put_text(struct buf *out, const char *s)
{
    for (uint32_t c; (c = pg_utf8_next(&s));)
        pg_utf8_put(out, c < 0x20 || c == 0x7f ? ' ' : (c >= 0x80 && c < 0xa0) ? 0xfffd : c);
}

static size_t columns_of(const char *s)
{
    size_t n = 0;
    while (pg_utf8_next(&s))
        n++;
    return n;
}

static void put_padded(struct buf *out, const char *s, size_t width)
{
    size_t n = columns_of(s);
    put_text(out, s);
    for (; n < width; n++)
        buf_put_u8(out, ' ');
}

/* A paragraph with a hanging indent; *column is where the line stands. */
static void put_wrapped(struct buf *out, size_t column, size_t indent, const char *s)
{
    char word[256];
    for (bool first = true; *s; first = false) {
        size_t n = strcspn(s, " \n");
        snprintf(word, sizeof word, "%.*s", (int)MIN(n, sizeof word - 1), s);
        size_t width = columns_of(word);
        if (!first && column + 1 + width > COLUMNS) {
            buf_printf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (!first) {
            buf_put_u8(out, ' ');
            column++;
        }
        put_text(out, word);
        column += width;
        s += n + strspn(s + n, " \n");
    }
    buf_put_u8(out, '\n');
}

/* ---- one line each ---- */

/* What the verdict on the instruction rests on: the weakest of its methods, or the witness. */
static const char *method_of(const struct pg_result *r)
{
    const struct pg_finding *f = &r->word[PG_WORD_SENSITIVE];
    if (r->undecided)
        return pg_method_name(PG_OPEN);
    if (pg_is(r, PG_WORD_HOLE))
        f = &r->word[PG_WORD_HOLE];
    else if (pg_is(r, PG_WORD_PRIVILEGED))
        f = &r->word[PG_WORD_PRIVILEGED];
    return pg_method_name(f->method);
}

/* "control, mode(u)" and so on. */
static void classes_of(const struct pg_result *r, char *out, size_t cap)
{
    static const enum pg_word words[] = {PG_WORD_PRIVILEGED, PG_WORD_TRAPPING, PG_WORD_CONTROL,
                                         PG_WORD_LOCATION,   PG_WORD_MODE,     PG_WORD_RESOURCE,
                                         PG_WORD_INNOCUOUS};
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; i < ARRAY_LEN(words) && n < cap; i++) {
        enum pg_answer a = r->word[words[i]].answer;
        if (words[i] == PG_WORD_INNOCUOUS && pg_is(r, PG_WORD_TRAPPING))
            continue;
        if (a != PG_NO)
            n += (size_t)snprintf(out + n, cap - n, "%s%s%s", n ? ", " : "", pg_word_text(words[i]),
                                  a == PG_UNDECIDED ? "?" : "");
    }
}

static void sensitive_in(const struct pg_result *r, char *out, size_t cap)
{
    enum pg_answer s = r->word[PG_WORD_SUPERVISOR_SENSITIVE].answer;
    enum pg_answer u = r->word[PG_WORD_USER_SENSITIVE].answer;
    snprintf(out, cap, "%s%s%s%s", s == PG_NO ? "" : "s", s == PG_UNDECIDED ? "?" : "",
             u == PG_NO ? "" : "u", u == PG_UNDECIDED ? "?" : "");
}

/* The virtual modes in which it has a hole. */
static void holes_of(const struct pg_spec *s, const struct pg_result *r, char *out, size_t cap)
{
    size_t n = 0;
    out[0] = 0;
    for (uint32_t m = 0; m < s->mode_count && n < cap; m++)
        if (r->hole[m].method != PG_NONE && r->hole[m].answer != PG_NO)
            n += (size_t)snprintf(out + n, cap - n, "%s%s%s", n ? " " : "", s->modes[m],
                                  r->hole[m].answer == PG_UNDECIDED ? "?" : "");
}

static void put_lines(const struct pg_analysis *a, struct buf *out)
{
    size_t width = 11, hole_width = 5;
    char classes[160], sensitive[16], holes[100];
    for (uint32_t i = 0; i < a->result_count; i++) {
        width = MAX(width, columns_of(a->results[i].insn->name));
        holes_of(a->spec, &a->results[i], holes, sizeof holes);
        hole_width = MAX(hole_width, strlen(holes));
    }
    width = MIN(width, 30u);
    put_padded(out, "instruction", width);
    buf_printf(out, "  %-10s %-4s %-*s %-10s %s\n", "verdict", "S/U", (int)hole_width, "holes",
               "how", "classes");
    for (uint32_t i = 0; i < a->result_count; i++) {
        const struct pg_result *r = &a->results[i];
        classes_of(r, classes, sizeof classes);
        sensitive_in(r, sensitive, sizeof sensitive);
        holes_of(a->spec, r, holes, sizeof holes);
        put_padded(out, r->insn->name, width);
        buf_printf(out, "  %-10s %-4s %-*s %-10s %s%s%s%s\n", pg_label_name(pg_report_label(r)),
                   sensitive, (int)hole_width, holes, method_of(r), classes, r->rule ? "  [" : "",
                   r->rule ? r->rule : "", r->rule ? "]" : "");
    }
}

/* ---- what follows ---- */

static void put_verdicts(const struct pg_analysis *a, struct buf *out)
{
    static const char *const titles[PG_THEOREM_COUNT] = {
        [PG_T1] = "Theorem 1, virtualizable (paper)",
        [PG_DIRECT_T1] = "Theorem 1, virtualizable (direct)",
        [PG_T2] = "Theorem 2, recursively (paper)",
        [PG_T3] = "Theorem 3, hybrid VMM (paper)",
        [PG_DIRECT_T3] = "Theorem 3, hybrid VMM (direct)"};
    static const enum pg_theorem order[] = {PG_T1, PG_DIRECT_T1, PG_T2, PG_T3, PG_DIRECT_T3};
    buf_put_u8(out, '\n');
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        enum pg_theorem t = order[i];
        static const char *const loud[] = {"HOLDS", "FAILS", "UNKNOWN"};
        buf_printf(out, "%-34s %-8s", titles[t], loud[a->verdict[t]]);
        put_wrapped(out, 43, 43, a->verdict_why[t] ? a->verdict_why[t] : "");
        if (a->verdict_wrong[t]) {
            buf_printf(out, "%-34s %-8s", "", "NOT AS EXPECTED: ");
            put_wrapped(out, 52, 43, a->verdict_wrong[t]);
        }
    }
}

static void put_critical(const struct pg_analysis *a, struct buf *out)
{
    if (!a->critical_count)
        return;
    buf_printf(out, "\nCritical: %u. In which sense, and what to do\n", a->critical_count);
    for (uint32_t i = 0; i < a->result_count; i++) {
        const struct pg_result *r = &a->results[i];
        if (r->critical == PG_NOT_CRITICAL)
            continue;
        buf_printf(out, "  ");
        put_text(out, r->insn->name);
        buf_printf(out, " (%s%s", pg_sense_name(r->critical),
                   r->critical_user ? ", from user mode too" : "");
        buf_printf(out, "%s)\n", r->insn->inferred ? ", row inferred" : "");
        if (r->disagreement) {
            buf_printf(out, "    why they differ: ");
            put_wrapped(out, 21, 6, r->disagreement);
        }
        for (uint32_t k = 0; k < r->advice_count; k++) {
            buf_printf(out, "    ");
            put_text(out, r->advice[k].key);
            buf_printf(out, ": ");
            put_wrapped(out, 6 + columns_of(r->advice[k].key), 6, r->advice[k].text);
        }
    }
}

static void put_mistakes(const struct pg_analysis *a, struct buf *out)
{
    if (a->expect_wrong_count)
        buf_printf(out, "\nNot as expected: %u\n", a->expect_wrong_count);
    for (uint32_t i = 0; i < a->result_count; i++) {
        const struct pg_result *r = &a->results[i];
        if (!r->expect_wrong)
            continue;
        buf_printf(out, "  %s:%u: ", a->spec->file, r->insn->line);
        put_text(out, r->insn->name);
        buf_printf(out, ": ");
        put_text(out, r->expect_wrong);
        buf_put_u8(out, '\n');
    }
}

static void put_footer(const struct pg_analysis *a, struct buf *out)
{
    buf_printf(out, "\nWhat this says nothing about\n");
    for (uint32_t i = 0; i < a->leaves_out_count; i++) {
        buf_printf(out, "  - ");
        put_wrapped(out, 4, 4, a->leaves_out[i]);
    }
    buf_printf(out, "\n%u instruction%s, %.0f ms. Questions:", a->result_count,
               a->result_count == 1 ? "" : "s", (double)a->elapsed_ns / 1e6);
    for (int m = PG_PROVED; m < PG_METHOD_COUNT; m++)
        if (a->question_count[m])
            buf_printf(out, " %" PRIu64 " %s", a->question_count[m], pg_method_name(m));
    if (a->undecided_count)
        buf_printf(out, "; %u instruction%s undecided", a->undecided_count,
                   a->undecided_count == 1 ? "" : "s");
    if (a->bounded_count)
        buf_printf(out, "; %u by bounded search only", a->bounded_count);
    buf_printf(out, "%s.\n", a->timed_out ? "; the time was over before the end" : "");
}

static void put_bounds(const struct pg_result *r, struct buf *out)
{
    for (int w = 0; w < PG_WORD_COUNT; w++) {
        const struct pg_finding *f = &r->word[w];
        if (f->method == PG_BOUNDED || f->method == PG_OPEN)
            buf_printf(out, "  %s: %s, %" PRIu64 " states tried, %u bits of each input\n",
                       pg_word_text(w), pg_method_name(f->method), f->runs, f->width);
    }
}

static void put_witnesses(const struct pg_analysis *a, const struct pg_result *r, struct buf *out)
{
    const struct pg_witness *list[16];
    uint32_t n = pg_report_witnesses(a, r, list, ARRAY_LEN(list));
    put_bounds(r, out);
    for (uint32_t i = 0; i < n; i++) {
        buf_printf(out, "\n  %s: ", pg_question_name(list[i]->question));
        put_wrapped(out, 20, 4, list[i]->why);
        pg_report_witness(a->spec, r->insn, list[i], 4, out);
    }
}

void pg_report_table(const struct pg_analysis *a, bool full, struct buf *out)
{
    const struct pg_spec *s = a->spec;
    put_text(out, s->title ? s->title : s->isa);
    if (s->source) {
        buf_printf(out, "\n  source: ");
        put_wrapped(out, 10, 10, s->source);
    } else {
        buf_put_u8(out, '\n');
    }
    buf_put_u8(out, '\n');
    put_lines(a, out);
    for (uint32_t i = 0; full && i < a->result_count; i++)
        put_witnesses(a, &a->results[i], out);
    put_verdicts(a, out);
    put_critical(a, out);
    put_mistakes(a, out);
    put_footer(a, out);
}

/* ---- --diverge ---- */

static void put_run(const struct pg_analysis *a, const struct pg_result *r,
                    const struct pg_witness *w, uint32_t mode, struct buf *out)
{
    const struct pg_spec *s = a->spec;
    bool again = pg_replay(s, r->insn, w);
    put_text(out, r->insn->name);
    buf_printf(out, ", virtual mode %s, really %s: ", s->modes[mode], s->modes[w->side[1].mode]);
    put_wrapped(out, 40, 2, w->why);
    if (w->guest_cells)
        buf_printf(out, "  the guest's %" PRIu64 " cells lie at %" PRIu64 "\n", w->guest_cells,
                   w->guest_at);
    buf_printf(out, "  run again: %s\n",
               again ? "they differ" : "they do not differ (a bug in this program)");
    pg_report_witness(s, r->insn, w, 2, out);
    buf_put_u8(out, '\n');
}

void pg_report_divergence(const struct pg_analysis *a, struct buf *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->result_count; i++) {
        const struct pg_result *r = &a->results[i];
        for (uint32_t m = 0; m < a->spec->mode_count; m++)
            if (r->hole[m].witness && r->hole[m].answer == PG_YES) {
                put_run(a, r, r->hole[m].witness, m, out);
                n++;
            }
    }
    if (n == 0)
        buf_printf(out, "Nothing diverges: no instruction has a hole under this VM map.\n");
}
