/* The HTML report: verdicts, the critical list, the table. The style is report.css. */
#include "engine/virtualizability/report_html.h"

#include "engine/base/base.h"

#include <inttypes.h>
#include <stdio.h>

extern const char pg_report_style_begin[], pg_report_style_end[];

void pg_html_text(struct buf *out, const char *text)
{
    if (!text)
        return;
    for (uint32_t c; (c = pg_utf8_next(&text));) {
        if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'')
            buf_printf(out, "&#%u;", c);
        else if (c == '\n' || c == '\t' || (c >= 0x20 && c != 0x7f && (c < 0x80 || c >= 0xa0)))
            pg_utf8_put(out, c);
        else
            pg_utf8_put(out, 0xfffd);
    }
}

/* ---- verdicts ---- */

static const struct {
    enum pg_theorem theorem;
    const char *title, *what;
} tiles[] = {
    {PG_T1, "Theorem 1, as the paper has it",
     "a monitor can be built: sensitive is a subset of privileged"},
    {PG_DIRECT_T1, "Theorem 1, directly", "no instruction has a hole in any virtual mode"},
    {PG_T2, "Theorem 2", "virtual machines in virtual machines"},
    {PG_T3, "Theorem 3, as the paper has it",
     "a hybrid monitor: user-sensitive is a subset of privileged"},
    {PG_DIRECT_T3, "Theorem 3, directly", "no instruction has a hole in a virtual user mode"},
};

static void verdicts(const struct pg_analysis *a, struct buf *out)
{
    buf_printf(out, "<section class=\"tiles\">\n");
    for (size_t i = 0; i < ARRAY_LEN(tiles); i++) {
        enum pg_theorem t = tiles[i].theorem;
        buf_printf(out, "<div class=\"tile %s\" title=\"", pg_verdict_name(a->verdict[t]));
        pg_html_text(out, tiles[i].what);
        buf_printf(out, "\">%s<b>%s</b><p>", tiles[i].title, pg_verdict_name(a->verdict[t]));
        pg_html_text(out, a->verdict_why[t] ? a->verdict_why[t] : tiles[i].what);
        buf_printf(out, "</p>");
        if (a->verdict_wrong[t]) {
            buf_printf(out, "<p class=\"wrong\">");
            pg_html_text(out, a->verdict_wrong[t]);
            buf_printf(out, "</p>");
        }
        buf_printf(out, "</div>\n");
    }
    buf_printf(out, "</section>\n");
}

static const char *sense_class(const struct pg_result *r)
{
    enum pg_sense s = r->critical != PG_NOT_CRITICAL ? r->critical : r->critical_user;
    return pg_sense_name(s);
}

static void critical_list(const struct pg_analysis *a, struct buf *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->result_count; i++)
        n += pg_report_label(&a->results[i]) == PG_LABEL_CRITICAL;
    buf_printf(out, "<section><h2>Critical instructions (%u)</h2>\n", n);
    if (!n) {
        buf_printf(out, "<p class=\"none\">None%s.</p></section>\n",
                   a->undecided_count ? " that is known" : "");
        return;
    }
    buf_printf(out, "<div class=\"chips\">");
    for (uint32_t i = 0; i < a->result_count; i++) {
        const struct pg_result *r = &a->results[i];
        if (pg_report_label(r) != PG_LABEL_CRITICAL)
            continue;
        buf_printf(out, "<a class=\"chip %s\" href=\"#i%u\" title=\"%s%s\">", sense_class(r), i,
                   sense_class(r), r->critical_user != PG_NOT_CRITICAL ? ", in user mode too" : "");
        pg_html_text(out, r->insn->name);
        if (r->rule) {
            buf_printf(out, " <small>");
            pg_html_text(out, r->rule);
            buf_printf(out, "</small>");
        }
        buf_printf(out, "</a>\n");
    }
    buf_printf(out, "</div>\n<p class=\"legend\">Sensitive and not privileged, or with a hole "
                    "under a monitor. A dashed "
                    "border: only one of the two conditions, the paper&#39;s and the direct one, "
                    "says so.</p></section>\n");
}

/* ---- the table ---- */

/* One answer. `yes` is the class of a yes. */
static void cell(const struct pg_finding *f, const char *what, const char *yes, bool first,
                 struct buf *out)
{
    const char *class = "no", *sign = "&middot;";
    if (f->answer == PG_YES)
        class = yes, sign = "yes";
    else if (f->answer == PG_UNDECIDED)
        class = "open", sign = "?";
    else if (f->method == PG_BOUNDED)
        class = "bound", sign = "no*";
    else if (f->method == PG_NONE)
        sign = "";
    buf_printf(out, "<td%s title=\"", first ? " class=\"first\"" : "");
    pg_html_text(out, what);
    if (f->method == PG_NONE)
        buf_printf(out, ": not asked, or by the rest\">");
    else if (f->method == PG_BOUNDED || f->method == PG_OPEN)
        buf_printf(out, ": %s (%s; %" PRIu64 " states of %u bits)\">", pg_answer_name(f->answer),
                   pg_method_name(f->method), f->runs, f->width);
    else
        buf_printf(out, ": %s (%s)\">", pg_answer_name(f->answer), pg_method_name(f->method));
    buf_printf(out, "<span class=\"c %s\">%s</span></td>", class, sign);
}

static const struct {
    enum pg_word word;
    const char *head, *yes;
} columns[] = {{PG_WORD_PRIVILEGED, "privi&shy;leged", "priv"},
               {PG_WORD_TRAPPING, "trapping", "priv"},
               {PG_WORD_CONTROL, "control", "sens"},
               {PG_WORD_MODE, "mode", "sens"},
               {PG_WORD_LOCATION, "location", "sens"},
               {PG_WORD_RESOURCE, "resource", "sens"}};

static void row(const struct pg_analysis *a, uint32_t index, struct buf *out)
{
    const struct pg_result *r = &a->results[index];
    const char *label = pg_label_name(pg_report_label(r));
    bool first = true;
    buf_printf(out, "<tr class=\"%s\"><th scope=\"row\"><a href=\"#i%u\">", label, index);
    pg_html_text(out, r->insn->name);
    buf_printf(out, "</a></th>");
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        cell(&r->word[columns[i].word], pg_word_text(columns[i].word), columns[i].yes,
             i == 0 || i == 2, out);
    }
    for (uint32_t m = 0; m < a->spec->mode_count; m++) {
        char what[80];
        if (!(a->spec->virtual_modes >> m & 1))
            continue;
        snprintf(what, sizeof what, "hole in virtual mode %.40s", a->spec->modes[m]);
        cell(&r->hole[m], what, "hole", first, out);
        first = false;
    }
    buf_printf(out, "<td class=\"first\"><span class=\"pill %s\">%s</span></td></tr>\n", label,
               label);
}

static void table_head(const struct pg_analysis *a, struct buf *out)
{
    unsigned holes = (unsigned)__builtin_popcount(a->spec->virtual_modes);
    buf_printf(
        out,
        "<table class=\"matrix\"><thead><tr class=\"groups\"><th></th><th colspan=\"2\">seen by a "
        "monitor</th><th colspan=\"4\">sensitive, as the paper has it</th>");
    if (holes)
        buf_printf(out, "<th colspan=\"%u\">hole in virtual mode</th>", holes);
    buf_printf(out, "<th></th></tr>\n<tr><th></th>");
    for (size_t i = 0; i < ARRAY_LEN(columns); i++)
        buf_printf(out, "<th scope=\"col\">%s</th>", columns[i].head);
    for (uint32_t m = 0; m < a->spec->mode_count; m++) {
        if (!(a->spec->virtual_modes >> m & 1))
            continue;
        buf_printf(out, "<th scope=\"col\">");
        pg_html_text(out, a->spec->modes[m]);
        buf_printf(out, "</th>");
    }
    buf_printf(out, "<th scope=\"col\">in all</th></tr></thead><tbody>\n");
}

/* Buttons that show the rows of one label: radio buttons in front of the table, and no script. */
static void filters(const struct pg_analysis *a, struct buf *out)
{
    uint32_t count[PG_LABEL_COUNT] = {0};
    for (uint32_t i = 0; i < a->result_count; i++)
        count[pg_report_label(&a->results[i])]++;
    buf_printf(out, "<input class=\"pick\" type=\"radio\" name=\"f\" id=\"all\" checked>\n");
    for (unsigned l = 0; l < PG_LABEL_COUNT; l++)
        buf_printf(out, "<input class=\"pick\" type=\"radio\" name=\"f\" id=\"%s\"%s>\n",
                   pg_label_name(l), count[l] ? "" : " disabled");
    buf_printf(out, "<div class=\"filter\"><label for=\"all\">all %u</label>", a->result_count);
    for (unsigned l = 0; l < PG_LABEL_COUNT; l++)
        if (count[l])
            buf_printf(out, "<label for=\"%s\">%s %u</label>", pg_label_name(l), pg_label_name(l),
                       count[l]);
    buf_printf(out, "</div>\n");
}

static void table(const struct pg_analysis *a, struct buf *out)
{
    buf_printf(out, "<section><h2>Every instruction</h2>\n");
    filters(a, out);
    table_head(a, out);
    for (uint32_t i = 0; i < a->result_count; i++)
        row(a, i, out);
    buf_printf(
        out,
        "</tbody></table>\n<p class=\"legend\"><span class=\"c priv\">yes</span>traps, so the "
        "monitor "
        "sees it <span class=\"c sens\">yes</span>sensitive <span class=\"c hole\">yes</span>goes "
        "wrong "
        "under a monitor <span class=\"c no\">&middot;</span>no, proved or all tried <span "
        "class=\"c "
        "bound\">no*</span>none found among all small inputs <span class=\"c "
        "open\">?</span>undecided. "
        "Point at a cell for how it was decided; a name leads to its witness.</p></section>\n");
}

/* ---- the rest of the page ---- */

static void head(const struct pg_analysis *a, struct buf *out)
{
    const struct pg_spec *s = a->spec;
    const char *title = s->title ? s->title : s->isa;
    buf_printf(out,
               "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
               "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    pg_html_text(out, title);
    buf_printf(out, ": is it virtualizable?</title>\n<style>\n");
    buf_put(out, pg_report_style_begin, (size_t)(pg_report_style_end - pg_report_style_begin));
    buf_printf(out, "</style></head>\n<body>\n<h1>");
    pg_html_text(out, title);
    buf_printf(out,
               "</h1>\n<p class=\"sub\">Is it virtualizable in the sense of Popek and Goldberg? ");
    pg_html_text(out, s->file);
    buf_printf(out, ", %u instructions, decided in %.0f ms.", a->result_count,
               (double)a->elapsed_ns * 1e-6);
    if (s->source) {
        buf_printf(out, "<br>Source: ");
        pg_html_text(out, s->source);
    }
    buf_printf(out, "</p>\n");
    if (a->timed_out)
        buf_printf(
            out,
            "<p class=\"tile unknown\">The time was over before everything was decided.</p>\n");
}

static void foot(const struct pg_analysis *a, struct buf *out)
{
    buf_printf(out, "<section><h2>What the model leaves out</h2>\n<ul class=\"plain\">\n");
    for (uint32_t i = 0; i < a->leaves_out_count; i++) {
        buf_printf(out, "<li>");
        pg_html_text(out, a->leaves_out[i]);
        buf_printf(out, "</li>\n");
    }
    buf_printf(out, "</ul></section>\n<footer>Questions decided: ");
    bool some = false;
    for (unsigned m = PG_NONE + 1; m < PG_METHOD_COUNT; m++)
        if (a->question_count[m]) {
            buf_printf(out, "%s%" PRIu64 " %s", some ? ", " : "", a->question_count[m],
                       pg_method_name(m));
            some = true;
        }
    buf_printf(out,
               "%s. A witness is real for the file&#39;s semantics: both its states were run in "
               "the interpreter. "
               "&ldquo;Proved&rdquo; is for those semantics, too, and for every state that "
               "satisfies the file&#39;s "
               "invariant; nothing is said of behaviour that the file does not "
               "have.</footer>\n</body></html>\n",
               some ? "" : "none");
}

void pg_report_html(const struct pg_analysis *a, struct buf *out)
{
    head(a, out);
    verdicts(a, out);
    critical_list(a, out);
    table(a, out);
    buf_printf(out, "<section><h2>One by one</h2>\n<p class=\"legend\">What differs is marked. "
                    "Memory that is not shown is 0.</p>\n");
    for (uint32_t i = 0; i < a->result_count; i++)
        pg_html_insn(a, &a->results[i], i, out);
    buf_printf(out, "</section>\n");
    foot(a, out);
}
