/* The HTML report's part about one instruction: its semantics, the sentences, the witnesses drawn. */
#include "engine/virtualizability/report_html.h"

#include "engine/base/base.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define WITNESSES_SHOWN 8

/* ---- memory, drawn: not to scale, but in order ---- */

static _Thread_local struct pg_row rows[PG_ROWS_MAX]; /* of the side at hand */

#define STOPS_MAX 24
#define STRIP_WIDTH 460
#define STRIP_LEFT 22

/* Addresses at which something begins or ends, in order. */
struct stops {
    uint64_t at[STOPS_MAX];
    uint32_t count;
};

static void add_stop(struct stops *s, uint64_t at)
{
    uint32_t i = 0;
    while (i < s->count && s->at[i] < at)
        i++;
    if ((i < s->count && s->at[i] == at) || s->count == STOPS_MAX)
        return;
    memmove(&s->at[i + 1], &s->at[i], (s->count - i) * sizeof *s->at);
    s->at[i] = at;
    s->count++;
}

static double stop_x(const struct stops *s, uint64_t at)
{
    double step = (STRIP_WIDTH - 2.0 * STRIP_LEFT) / MAX(s->count - 1, 1u);
    uint32_t i = 0;
    while (i < s->count && s->at[i] < at)
        i++;
    return STRIP_LEFT + step * i;
}

static uint64_t reg_of(const struct pg_spec *spec, const struct pg_state *s, int reg,
                       uint64_t otherwise)
{
    return reg >= 0 ? s->cells[spec->regs[reg].first_cell] : otherwise;
}

static void window_of(const struct pg_spec *spec, const struct pg_witness *w,
                      const struct pg_state *s, uint64_t *from, uint64_t *to)
{
    uint64_t q = w->memory_cells ? w->memory_cells : UINT64_MAX;
    uint64_t l = reg_of(spec, s, spec->base, 0), b = reg_of(spec, s, spec->bound, UINT64_MAX);
    *from = MIN(l, q);
    *to = b > q - *from ? q : *from + b;
}

/* Those of the sides in the mask. */
static void stops_of(const struct pg_spec *spec, const struct pg_insn *insn,
                     const struct pg_witness *w, unsigned sides, struct stops *s)
{
    *s = (struct stops){0};
    add_stop(s, 0);
    if (w->memory_cells)
        add_stop(s, w->memory_cells);
    if (w->question == PG_Q_HOLE && w->guest_cells && (sides & 2)) {
        add_stop(s, w->guest_at);
        add_stop(s, w->guest_at + w->guest_cells);
    }
    for (uint32_t i = 0; i < w->side_count; i++) {
        uint64_t from, to;
        if (!(sides >> i & 1))
            continue;
        window_of(spec, w, &w->side[i].before, &from, &to);
        add_stop(s, from);
        add_stop(s, to);
        uint32_t n = pg_report_rows(spec, insn, w, i, rows);
        for (uint32_t c = 0; c < n; c++)
            if (rows[c].memory && rows[c].space == PG_PHYS) {
                add_stop(s, rows[c].address);
                add_stop(s, rows[c].address + 1);
            }
    }
}

static void rectangle(const struct stops *s, const char *class, uint64_t from, uint64_t to, int y,
                      int h, struct buf *out)
{
    double x = stop_x(s, from);
    buf_printf(out, "<rect class=\"%s\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"/>", class,
               x, y, MAX(stop_x(s, to) - x, 1.0), h);
}

/* The memory of a machine with relocation: all of it, the guest's part, the window of R, the cells that matter. */
static void strip(const struct pg_spec *spec, const struct pg_insn *insn,
                  const struct pg_witness *w, uint32_t side, struct buf *out)
{
    const struct pg_side *s = &w->side[side];
    struct stops stops,
        own; /* of both sides, so that they are drawn alike; of this one, to be labelled */
    uint64_t from, to, last;
    if (spec->base < 0)
        return;
    stops_of(spec, insn, w, 3, &stops);
    stops_of(spec, insn, w, 1u << side, &own);
    last = stops.at[stops.count - 1];
    window_of(spec, w, &s->before, &from, &to);
    buf_printf(out,
               "<svg class=\"strip\" viewBox=\"0 0 %d 66\" role=\"img\" aria-label=\"memory\">",
               STRIP_WIDTH);
    rectangle(&stops, "mem", 0, last, 18, 22, out);
    if (to > from)
        rectangle(&stops, "window", from, to, 18, 22, out);
    if (w->question == PG_Q_HOLE && w->guest_cells && side == 1)
        rectangle(&stops, "guest", w->guest_at, w->guest_at + w->guest_cells, 14, 30, out);
    uint32_t n = pg_report_rows(spec, insn, w, side, rows);
    for (uint32_t c = 0; c < n; c++)
        if (rows[c].memory && rows[c].space == PG_PHYS)
            rectangle(&stops, rows[c].marked ? "cell marked" : "cell", rows[c].address,
                      rows[c].address + 1, 22, 14, out);
    for (uint32_t i = 0; i < own.count; i++) {
        char number[24];
        pg_report_number(own.at[i], number, sizeof number);
        buf_printf(out, "<text x=\"%.1f\" y=\"%d\">%s</text>", stop_x(&stops, own.at[i]),
                   i & 1 ? 63 : 54, number);
    }
    if (to > from)
        buf_printf(out, "<text class=\"name\" x=\"%.1f\" y=\"11\">window</text>",
                   (stop_x(&stops, from) + stop_x(&stops, to)) / 2);
    buf_printf(out, "</svg>\n");
}

/* ---- one side of a witness ---- */

static void side(const struct pg_spec *spec, const struct pg_insn *insn, const struct pg_witness *w,
                 uint32_t index, struct buf *out)
{
    const struct pg_side *s = &w->side[index];
    char outcome[64], label[64];
    pg_report_outcome(spec, s, outcome, sizeof outcome);
    pg_report_side(w, index, label, sizeof label);
    buf_printf(out, "<div class=\"side\"><h4><span>");
    pg_html_text(out, label);
    buf_printf(out, "</span><span class=\"outcome %s\">", s->outcome == PG_TRAP ? "trap" : "run");
    pg_html_text(out, outcome);
    buf_printf(out, "</span></h4>\n");
    strip(spec, insn, w, index, out);
    uint32_t n = pg_report_rows(spec, insn, w, index, rows);
    buf_printf(out, "<table class=\"state\"><thead><tr><th></th><th></th><th "
                    "style=\"text-align:right\">before</th><th>"
                    "</th><th style=\"text-align:right\">after</th></tr></thead><tbody>\n");
    for (uint32_t i = 0; i < n; i++) {
        const struct pg_row *r = &rows[i];
        buf_printf(out, "<tr class=\"%s%s\"><th>", r->changed ? "changed " : "",
                   r->marked ? "marked" : "");
        pg_html_text(out, r->name);
        buf_printf(out, "</th><th>");
        pg_html_text(out, r->note);
        buf_printf(out, "</th><td>");
        pg_html_text(out, r->before);
        buf_printf(out, "</td><td class=\"arrow\">%s</td><td class=\"after\">",
                   r->changed ? "&rarr;" : "");
        pg_html_text(out, r->changed || r->marked ? r->after : "");
        buf_printf(out, "</td></tr>\n");
    }
    buf_printf(out, "</tbody></table></div>\n");
}

static void operands(const struct pg_insn *insn, const struct pg_witness *w, struct buf *out)
{
    for (uint32_t i = 0; i < insn->operand_count; i++) {
        char number[24];
        pg_report_number(w->operands[i], number, sizeof number);
        buf_printf(out, "%s", i ? ", " : " <span class=\"mono\">with ");
        pg_html_text(out, insn->operands[i].name);
        buf_printf(out, " = %s", number);
    }
    if (insn->operand_count)
        buf_printf(out, "</span>");
}

static void figure(const struct pg_spec *spec, const struct pg_insn *insn,
                   const struct pg_witness *w, struct buf *out)
{
    static const char *const titles[PG_QUESTION_COUNT] = {[PG_Q_PRIVILEGED] =
                                                              "In supervisor and in user mode",
                                                          [PG_Q_CONTROL] = "Control",
                                                          [PG_Q_LOCATION] = "Location",
                                                          [PG_Q_MODE] = "Mode",
                                                          [PG_Q_RESOURCE] = "Resource",
                                                          [PG_Q_HOLE] = "Bare and under a monitor"};
    buf_printf(out, "<figure><figcaption><b>%s</b>", titles[w->question]);
    if (w->why) {
        pg_html_text(out, w->why);
        buf_printf(out, "%s", w->why[0] && w->why[strlen(w->why) - 1] == '.' ? "" : ".");
    }
    operands(insn, w, out);
    buf_printf(out, "</figcaption>\n<div class=\"sides\">\n");
    for (uint32_t i = 0; i < w->side_count; i++)
        side(spec, insn, w, i, out);
    buf_printf(out, "</div></figure>\n");
}

/* ---- the sentences ---- */

/* Blank lines separate paragraphs; lines that begin with a dash are a list; lines that are indented are left as they are. */
static void prose(const char *text, struct buf *out)
{
    bool list = false, pre = false, open = false;
    while (*text) {
        const char *end = strchrnul(text, '\n');
        char line[512];
        snprintf(line, sizeof line, "%.*s", (int)MIN((size_t)(end - text), sizeof line - 1), text);
        bool is_pre = !strncmp(line, "    ", 4), item = !strncmp(line, "- ", 2);
        bool goes_on = !strncmp(line, "  ", 2) && list && !pre;
        is_pre = is_pre && !goes_on;
        if (pre && !is_pre)
            buf_printf(out, "</pre>\n");
        if (open && !goes_on && (list || item || is_pre || !*line)) {
            buf_printf(out, list ? "</li>" : "</p>\n");
            open = false;
        }
        if (list && !item && !goes_on)
            buf_printf(out, "</ul>\n");
        if (item && !list)
            buf_printf(out, "<ul class=\"plain\">");
        if (is_pre && !pre)
            buf_printf(out, "<pre>");
        list = item || goes_on;
        pre = is_pre;
        if (item)
            buf_printf(out, "<li>");
        else if (!is_pre && !open && *line)
            buf_printf(out, "<p>");
        open = open || (*line && !is_pre);
        pg_html_text(out, item ? line + 2 : is_pre ? line + 4 : goes_on ? line + 1 : line);
        buf_put_u8(out, '\n');
        text = *end ? end + 1 : end;
    }
    if (pre)
        buf_printf(out, "</pre>\n");
    if (open)
        buf_printf(out, list ? "</li>" : "</p>\n");
    if (list)
        buf_printf(out, "</ul>\n");
}

void pg_html_insn(const struct pg_analysis *a, const struct pg_result *r, uint32_t index,
                  struct buf *out)
{
    const struct pg_witness *w[WITNESSES_SHOWN];
    const char *label = pg_label_name(pg_report_label(r));
    uint32_t n = pg_report_witnesses(a, r, w, WITNESSES_SHOWN);
    struct buf text = {0};
    buf_printf(out, "<details class=\"insn\" id=\"i%u\"%s><summary>", index,
               pg_report_label(r) == PG_LABEL_CRITICAL ? " open" : "");
    pg_html_text(out, r->insn->name);
    buf_printf(out, " <span class=\"pill %s\">%s</span>", label, label);
    if (r->insn->encoding) {
        buf_printf(out, "<span class=\"mono\">");
        pg_html_text(out, r->insn->encoding);
        buf_printf(out, "</span>");
    }
    buf_printf(out, "</summary>\n<div class=\"body\">\n");
    pg_explain(a, r, &text);
    buf_put_u8(&text, 0);
    if (text.failed)
        out->failed = true;
    else if (strchr((char *)text.data, '\n')) /* its first line is the summary's */
        prose(strchr((char *)text.data, '\n') + 1, out);
    buf_fini(&text);
    for (uint32_t i = 0; i < n; i++)
        figure(a->spec, r->insn, w[i], out);
    buf_printf(out, "</div></details>\n");
}
