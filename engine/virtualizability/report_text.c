/* What the renderers share: labels, the rows of a state, a witness as text, UTF-8. */
#include "engine/virtualizability/report.h"

#include "engine/base/base.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- labels ---- */

enum pg_label pg_report_label(const struct pg_result *r)
{
    if (r->critical != PG_NOT_CRITICAL || r->critical_user != PG_NOT_CRITICAL)
        return PG_LABEL_CRITICAL;
    if (r->undecided)
        return PG_LABEL_UNDECIDED;
    if (pg_is(r, PG_WORD_TRAPPING))
        return PG_LABEL_TRAPPING;
    if (pg_is(r, PG_WORD_PRIVILEGED))
        return PG_LABEL_PRIVILEGED;
    return pg_is(r, PG_WORD_INNOCUOUS) ? PG_LABEL_INNOCUOUS : PG_LABEL_HARMLESS;
}

const char *pg_label_name(enum pg_label l)
{
    static const char *const names[PG_LABEL_COUNT] = {"critical", "undecided", "privileged",
                                                      "trapping", "innocuous", "harmless"};
    return names[l];
}

const char *pg_answer_name(enum pg_answer a)
{
    return a == PG_YES ? "yes" : a == PG_NO ? "no" : "undecided";
}

const char *pg_question_name(enum pg_question q)
{
    static const char *const names[PG_QUESTION_COUNT] = {"privileged", "control",  "location",
                                                         "mode",       "resource", "hole"};
    return names[q];
}

/* ---- UTF-8 ---- */

uint32_t pg_utf8_next(const char **p)
{
    const uint8_t *s = (const uint8_t *)*p;
    unsigned more = s[0] >= 0xf0 ? 3 : s[0] >= 0xe0 ? 2 : s[0] >= 0xc0 ? 1 : 0;
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    uint32_t c = s[0];
    if (c == 0)
        return 0;
    (*p)++;
    if (c < 0x80)
        return c;
    if (more == 0)
        return 0xfffd;
    c &= 0x3fu >> more;
    for (unsigned i = 1; i <= more; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0xfffd;
        c = c << 6 | (s[i] & 0x3f);
    }
    if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0xfffd;
    *p += more;
    return c;
}

void pg_utf8_put(struct buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_put_u8(out, (uint8_t)c);
        return;
    }
    unsigned more = c >= 0x10000 ? 3 : c >= 0x800 ? 2 : 1;
    static const uint8_t first[] = {0, 0xc0, 0xe0, 0xf0};
    buf_put_u8(out, (uint8_t)(first[more] | c >> (6 * more)));
    while (more--)
        buf_put_u8(out, (uint8_t)(0x80 | (c >> (6 * more) & 0x3f)));
}

/* ---- states ---- */

void pg_report_number(uint64_t v, char *out, size_t cap)
{
    snprintf(out, cap, v < 10 ? "%" PRIu64 : "0x%" PRIx64, v);
}

void pg_report_outcome(const struct pg_spec *spec, const struct pg_side *side, char *out,
                       size_t cap)
{
    if (side->outcome == PG_TRAP)
        snprintf(out, cap, "trap %s",
                 side->trap_kind < spec->trap_kind_count ? spec->trap_kinds[side->trap_kind] : "?");
    else
        snprintf(out, cap, "no trap");
}

static void value_text(const struct pg_spec *spec, const struct pg_reg *reg, uint64_t v, char *out,
                       size_t cap)
{
    if (reg && reg->role == PG_ROLE_MODE && v < spec->mode_count)
        snprintf(out, cap, "%s", spec->modes[v]);
    else
        pg_report_number(v, out, cap);
}

void pg_report_place(const struct pg_spec *spec, const struct pg_place *place, char *out,
                     size_t cap)
{
    char address[24];
    if (!place->memory) {
        pg_spec_cell_name(spec, place->cell, out, cap);
        return;
    }
    pg_report_number(place->address, address, sizeof address);
    snprintf(out, cap, "%s[%s]",
             place->space == PG_MAPPED ? "mem"
             : spec->base >= 0         ? "E"
                                       : "phys",
             address);
}

void pg_report_value(const struct pg_spec *spec, const struct pg_place *place,
                     const struct pg_state *state, char *out, size_t cap)
{
    bool there;
    if (place->memory)
        pg_report_number(pg_mem_get(state, place->space, place->address, &there), out, cap);
    else
        value_text(spec, pg_spec_cell_reg(spec, place->cell), state->cells[place->cell], out, cap);
}

void pg_report_side(const struct pg_witness *w, uint32_t side, char *out, size_t cap)
{
    bool alike = w->side_count == 2 && !strcmp(w->side[0].label, w->side[1].label);
    snprintf(out, cap, alike ? side ? "%s, second state" : "%s, first state" : "%s",
             w->side[side].label);
}

static bool in_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool mentions(const struct pg_insn *insn, const char *name)
{
    const char *text = insn->semantics_text ? insn->semantics_text : "";
    size_t n = strlen(name);
    for (const char *p = text; (p = strstr(p, name)); p++)
        if ((p == text || !in_word(p[-1])) && !in_word(p[n]))
            return true;
    return false;
}

/* What the two states begin with that differs, if the instruction is about it. The mode always does, or never. */
static void inputs(const struct pg_spec *spec, const struct pg_insn *insn,
                   const struct pg_witness *w, struct buf *out)
{
    uint32_t n = 0;
    for (uint32_t cell = 0; w->side_count == 2 && cell < spec->cell_count; cell++) {
        const struct pg_reg *reg = pg_spec_cell_reg(spec, cell);
        struct pg_place place = {.memory = false, .cell = cell};
        char name[64], value[2][24], label[2][64];
        if (w->side[0].before.cells[cell] == w->side[1].before.cells[cell] || !w->touched[cell] ||
            reg->role == PG_ROLE_MODE || !mentions(insn, reg->name))
            continue;
        pg_report_place(spec, &place, name, sizeof name);
        for (uint32_t i = 0; i < 2; i++) {
            pg_report_value(spec, &place, &w->side[i].before, value[i], sizeof value[i]);
            pg_report_side(w, i, label[i], sizeof label[i]);
        }
        buf_printf(out, "%s%s is %s (%s) and %s (%s)", n ? ", and " : "where ", name, value[0],
                   label[0], value[1], label[1]);
        if (++n == 4)
            break;
    }
    if (n)
        buf_printf(out, ", ");
}

static void difference(const struct pg_spec *spec, const struct pg_witness *w,
                       const struct pg_diff *d, struct buf *out)
{
    char name[2][64] = {"", ""}, before[24], after[2][24] = {"", ""}, label[2][64] = {"", ""};
    for (uint32_t i = 0; i < w->side_count; i++) {
        pg_report_place(spec, &d->place[i], name[i], sizeof name[i]);
        pg_report_value(spec, &d->place[i], &w->side[i].after, after[i], sizeof after[i]);
        pg_report_side(w, i, label[i], sizeof label[i]);
    }
    if (d->side >= 0) {
        uint32_t other = (uint32_t)d->side ^ 1;
        pg_report_value(spec, &d->place[d->side], &w->side[d->side].before, before, sizeof before);
        buf_printf(out, "%s goes from %s to %s", name[d->side], before, after[d->side]);
        if (w->side_count == 1)
            return;
        buf_printf(out, " (%s)", label[d->side]);
        pg_report_value(spec, &d->place[other], &w->side[other].before, before, sizeof before);
        if (!strcmp(before, after[other]))
            buf_printf(out, " and stays %s (%s)", before, label[other]);
    } else if (!strcmp(name[0], name[1])) {
        buf_printf(out, "%s is %s afterwards (%s), and %s (%s)", name[0], after[0], label[0],
                   after[1], label[1]);
    } else {
        buf_printf(out, "%s is %s afterwards (%s), and %s is %s (%s)", name[0], after[0], label[0],
                   name[1], after[1], label[1]);
    }
}

void pg_report_difference(const struct pg_spec *spec, const struct pg_insn *insn,
                          const struct pg_witness *w, struct buf *out)
{
    char outcome[64], label[64];
    inputs(spec, insn, w, out);
    for (uint32_t i = 0; i < w->diff_count; i++) {
        buf_printf(out, "%s", i ? "; " : "");
        difference(spec, w, &w->diffs[i], out);
    }
    for (uint32_t i = 0; !w->diff_count && i < w->side_count; i++) {
        pg_report_outcome(spec, &w->side[i], outcome, sizeof outcome);
        pg_report_side(w, i, label, sizeof label);
        buf_printf(out, "%s%s (%s)", i ? ", and " : "", outcome, label);
    }
}

/* Is the place one that `side` has to mark? */
static bool is_marked(const struct pg_witness *w, uint32_t side, struct pg_place place)
{
    for (uint32_t i = 0; i < w->diff_count; i++) {
        const struct pg_diff *d = &w->diffs[i];
        const struct pg_place *at = &d->place[side];
        if (d->side >= 0 && (uint32_t)d->side != side)
            continue;
        if (at->memory == place.memory &&
            (place.memory ? at->space == place.space && at->address == place.address
                          : at->cell == place.cell))
            return true;
    }
    return false;
}

static bool is_core(const struct pg_spec *spec, const struct pg_reg *reg)
{
    long index = reg - spec->regs;
    return index == spec->pc || index == spec->mode || index == spec->base || index == spec->bound;
}

static void register_row(const struct pg_spec *spec, const struct pg_witness *w, uint32_t side,
                         uint32_t cell, struct pg_row *row)
{
    const struct pg_side *s = &w->side[side];
    const struct pg_reg *reg = pg_spec_cell_reg(spec, cell);
    *row = (struct pg_row){.changed = s->before.cells[cell] != s->after.cells[cell]};
    pg_spec_cell_name(spec, cell, row->name, sizeof row->name);
    value_text(spec, reg, s->before.cells[cell], row->before, sizeof row->before);
    value_text(spec, reg, s->after.cells[cell], row->after, sizeof row->after);
    row->marked = is_marked(w, side, (struct pg_place){.memory = false, .cell = cell});
}

static void memory_row(const struct pg_spec *spec, const struct pg_witness *w, uint32_t side,
                       const struct pg_mem_cell *m, struct pg_row *row)
{
    const struct pg_side *s = &w->side[side];
    bool relocated = spec->base >= 0 && m->space == PG_PHYS, there;
    uint64_t before = pg_mem_get(&s->before, m->space, m->address, &there);
    uint64_t after = pg_mem_get(&s->after, m->space, m->address, &there);
    struct pg_place place = {.memory = true, .space = m->space, .address = m->address};
    char address[24];
    *row = (struct pg_row){
        .changed = before != after, .memory = true, .space = m->space, .address = m->address};
    pg_report_place(spec, &place, row->name, sizeof row->name);
    if (relocated) {
        uint64_t l = s->before.cells[spec->regs[spec->base].first_cell];
        uint64_t b =
            spec->bound >= 0 ? s->before.cells[spec->regs[spec->bound].first_cell] : UINT64_MAX;
        if (m->address >= l && m->address - l < b) {
            pg_report_number(m->address - l, address, sizeof address);
            snprintf(row->note, sizeof row->note, "mem[%s]", address);
        }
    }
    pg_report_number(before, row->before, sizeof row->before);
    pg_report_number(after, row->after, sizeof row->after);
    row->marked = is_marked(w, side, place);
}

/* Memory that was looked at on the way to the witness and does not matter in it. What is not shown is 0, or out of reach. */
static bool is_noise(const struct pg_spec *spec, const struct pg_insn *insn,
                     const struct pg_row *row)
{
    bool out_of_reach =
        spec->base >= 0 && row->space == PG_PHYS && !insn->uses_phys && !row->note[0];
    return !row->changed && !row->marked && (out_of_reach || !strcmp(row->before, "0"));
}

uint32_t pg_report_rows(const struct pg_spec *spec, const struct pg_insn *insn,
                        const struct pg_witness *w, uint32_t side, struct pg_row *rows)
{
    const struct pg_side *s = &w->side[side];
    uint32_t n = 0;
    for (uint32_t cell = 0; cell < spec->cell_count; cell++) {
        const struct pg_reg *reg = pg_spec_cell_reg(spec, cell);
        struct pg_place place = {.memory = false, .cell = cell};
        if ((w->touched[cell] && mentions(insn, reg->name)) || is_core(spec, reg) ||
            is_marked(w, side, place))
            register_row(spec, w, side, cell, &rows[n++]);
    }
    for (uint32_t i = 0; i < s->before.mem_count; i++) {
        memory_row(spec, w, side, &s->before.mem[i], &rows[n]);
        n += !is_noise(spec, insn, &rows[n]);
    }
    for (uint32_t i = 0; i < s->after.mem_count; i++) {
        bool there;
        const struct pg_mem_cell *m = &s->after.mem[i];
        pg_mem_get(&s->before, m->space, m->address, &there);
        if (!there)
            memory_row(spec, w, side, m, &rows[n++]);
    }
    return n;
}

static void add_witness(const struct pg_witness *w, const struct pg_witness **out, uint32_t *n,
                        uint32_t cap)
{
    for (uint32_t i = 0; i < *n; i++)
        if (out[i] == w)
            return;
    if (w && *n < cap)
        out[(*n)++] = w;
}

uint32_t pg_report_witnesses(const struct pg_analysis *a, const struct pg_result *r,
                             const struct pg_witness **out, uint32_t cap)
{
    static const enum pg_word order[] = {PG_WORD_CONTROL, PG_WORD_MODE, PG_WORD_LOCATION,
                                         PG_WORD_RESOURCE};
    uint32_t n = 0;
    for (uint32_t m = 0; m < a->spec->mode_count; m++)
        add_witness(r->hole[m].witness, out, &n, cap);
    for (uint32_t m = 0; m < a->spec->mode_count; m++)
        add_witness(r->control[m].witness, out, &n, cap);
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        add_witness(r->word[order[i]].witness, out, &n, cap);
    add_witness(r->word[PG_WORD_PRIVILEGED].witness, out, &n, cap);
    return n;
}

/* ---- a witness as text ---- */

static void text_operands(const struct pg_insn *insn, const struct pg_witness *w, unsigned indent,
                          struct buf *out)
{
    char number[24];
    if (!insn->operand_count)
        return;
    buf_printf(out, "%*soperands:", (int)indent, "");
    for (uint32_t i = 0; i < insn->operand_count; i++) {
        pg_report_number(w->operands[i], number, sizeof number);
        buf_printf(out, "%s %s = %s", i ? "," : "", insn->operands[i].name, number);
    }
    buf_printf(out, "\n");
}

static void text_map(const struct pg_witness *w, unsigned indent, struct buf *out)
{
    char k[24], cells[24];
    if (w->question != PG_Q_HOLE || !w->guest_cells)
        return;
    pg_report_number(w->guest_at, k, sizeof k);
    pg_report_number(w->guest_cells, cells, sizeof cells);
    buf_printf(out, "%*sthe guest's %s cells are the real ones from E[%s] on\n", (int)indent, "",
               cells, k);
}

void pg_report_witness(const struct pg_spec *spec, const struct pg_insn *insn,
                       const struct pg_witness *w, unsigned indent, struct buf *out)
{
    static _Thread_local struct pg_row rows[PG_ROWS_MAX];
    text_operands(insn, w, indent, out);
    text_map(w, indent, out);
    for (uint32_t side = 0; side < w->side_count; side++) {
        char outcome[64], label[64];
        pg_report_outcome(spec, &w->side[side], outcome, sizeof outcome);
        pg_report_side(w, side, label, sizeof label);
        buf_printf(out, "%*s%s: %s\n", (int)indent, "", label, outcome);
        uint32_t n = pg_report_rows(spec, insn, w, side, rows);
        for (uint32_t i = 0; i < n; i++) {
            const struct pg_row *r = &rows[i];
            char name[100];
            snprintf(name, sizeof name, r->note[0] ? "%s = %s" : "%s", r->name, r->note);
            if (r->changed)
                buf_printf(out, "%*s  %c %-20s %s -> %s\n", (int)indent, "", r->marked ? '*' : ' ',
                           name, r->before, r->after);
            else
                buf_printf(out, "%*s  %c %-20s %s\n", (int)indent, "", r->marked ? '*' : ' ', name,
                           r->before);
        }
    }
}
