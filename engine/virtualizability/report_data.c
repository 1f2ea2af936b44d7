/* The analysis as data: one walk, written as JSON or as YAML. */
#include "engine/virtualizability/report.h"
#include "engine/virtualizability/report_writer.h"

#include <stdio.h>

#define WITNESSES_MAX 32

/* "user-sensitive" -> "user_sensitive" */
static void word_key(enum pg_word word, char *out, size_t cap)
{
    snprintf(out, cap, "%s", pg_word_text(word));
    for (; *out; out++)
        if (*out == '-')
            *out = '_';
}

static const char *theorem_key(enum pg_theorem t)
{
    static const char *const keys[PG_THEOREM_COUNT] = {"theorem_1", "theorem_2", "theorem_3",
                                                       "direct_theorem_1", "direct_theorem_3"};
    return keys[t];
}

/* ---- states ---- */

static void place(struct pg_writer *w, const char *key, const struct pg_spec *spec,
                  const struct pg_place *p)
{
    char name[64];
    pg_report_place(spec, p, name, sizeof name);
    pg_writer_text(w, key, name);
}

static void memory(struct pg_writer *w, const struct pg_state *s)
{
    pg_writer_list(w, "memory");
    for (uint32_t i = 0; i < s->mem_count; i++) {
        pg_writer_map(w, NULL);
        pg_writer_text(w, "space", s->mem[i].space == PG_MAPPED ? "mem" : "phys");
        pg_writer_hex(w, "address", s->mem[i].address);
        pg_writer_hex(w, "value", s->mem[i].value);
        pg_writer_end(w);
    }
    pg_writer_end(w);
}

static void state(struct pg_writer *w, const char *key, const struct pg_spec *spec,
                  const struct pg_witness *witness, const struct pg_state *s)
{
    pg_writer_map(w, key);
    pg_writer_map(w, "registers");
    for (uint32_t cell = 0; cell < spec->cell_count; cell++) {
        enum pg_role role = pg_spec_cell_reg(spec, cell)->role;
        char name[64];
        if (!witness->touched[cell] && role != PG_ROLE_MODE && role != PG_ROLE_PC &&
            role != PG_ROLE_BASE && role != PG_ROLE_BOUND)
            continue;
        pg_spec_cell_name(spec, cell, name, sizeof name);
        pg_writer_hex(w, name, s->cells[cell]);
    }
    pg_writer_end(w);
    memory(w, s);
    pg_writer_end(w);
}

static void side(struct pg_writer *w, const struct pg_spec *spec, const struct pg_witness *witness,
                 const struct pg_side *s)
{
    pg_writer_map(w, NULL);
    pg_writer_text(w, "label", s->label);
    pg_writer_text(w, "mode", spec->modes[s->mode]);
    pg_writer_text(w, "outcome", s->outcome == PG_TRAP ? "trap" : "done");
    pg_writer_text(w, "trap_kind",
                   s->outcome == PG_TRAP && s->trap_kind < spec->trap_kind_count
                       ? spec->trap_kinds[s->trap_kind]
                       : NULL);
    state(w, "before", spec, witness, &s->before);
    state(w, "after", spec, witness, &s->after);
    pg_writer_end(w);
}

static void differences(struct pg_writer *w, const struct pg_spec *spec,
                        const struct pg_witness *witness)
{
    pg_writer_list(w, "differences");
    for (uint32_t i = 0; i < witness->diff_count; i++) {
        const struct pg_diff *d = &witness->diffs[i];
        pg_writer_map(w, NULL);
        if (d->side < 0) {
            pg_writer_text(w, "between", "sides");
            place(w, "left", spec, &d->place[0]);
            place(w, "right", spec, &d->place[1]);
        } else {
            pg_writer_text(w, "between", "before_and_after");
            pg_writer_number(w, "side", (uint64_t)d->side);
            place(w, "place", spec, &d->place[d->side]);
        }
        pg_writer_end(w);
    }
    pg_writer_end(w);
}

static void witness(struct pg_writer *w, const struct pg_spec *spec, const struct pg_insn *insn,
                    const struct pg_witness *x)
{
    pg_writer_map(w, NULL);
    pg_writer_text(w, "question", pg_question_name(x->question));
    pg_writer_text(w, "why", x->why);
    pg_writer_text(w, "found_by", x->from_smt ? "smt" : "search");
    pg_writer_map(w, "operands");
    for (uint32_t i = 0; i < insn->operand_count; i++)
        pg_writer_hex(w, insn->operands[i].name, x->operands[i]);
    pg_writer_end(w);
    if (x->question == PG_Q_HOLE && x->guest_cells) {
        pg_writer_hex(w, "guest_at", x->guest_at);
        pg_writer_hex(w, "guest_cells", x->guest_cells);
    }
    pg_writer_list(w, "sides");
    for (uint32_t i = 0; i < x->side_count; i++)
        side(w, spec, x, &x->side[i]);
    pg_writer_end(w);
    differences(w, spec, x);
    pg_writer_end(w);
}

/* ---- an instruction ---- */

struct listed {
    const struct pg_witness *w[WITNESSES_MAX];
    uint32_t count;
};

static void finding(struct pg_writer *w, const char *key, const struct pg_finding *f,
                    const struct listed *all)
{
    pg_writer_map(w, key);
    pg_writer_text(w, "answer", pg_answer_name(f->answer));
    pg_writer_text(w, "decided_by", f->method == PG_NONE ? NULL : pg_method_name(f->method));
    if (f->method == PG_BOUNDED || f->method == PG_OPEN || f->method == PG_ENUMERATED)
        pg_writer_number(w, "states", f->runs);
    if (f->method == PG_BOUNDED || f->method == PG_OPEN)
        pg_writer_number(w, "width_bits", f->width);
    for (uint32_t i = 0; f->witness && i < all->count; i++)
        if (all->w[i] == f->witness)
            pg_writer_number(w, "witness", i);
    pg_writer_end(w);
}

static void by_mode(struct pg_writer *w, const char *key, const struct pg_spec *spec,
                    const struct pg_finding *f, const struct listed *all)
{
    pg_writer_map(w, key);
    for (uint32_t m = 0; m < spec->mode_count; m++)
        finding(w, spec->modes[m], &f[m], all);
    pg_writer_end(w);
}

static void source(struct pg_writer *w, const struct pg_insn *insn)
{
    pg_writer_text(w, "name", insn->name);
    pg_writer_number(w, "line", insn->line);
    pg_writer_text(w, "encoding", insn->encoding);
    pg_writer_text(w, "source", insn->source);
    pg_writer_bool(w, "inferred", insn->inferred);
    pg_writer_text(w, "note", insn->note);
    pg_writer_text(w, "semantics", insn->semantics_text);
}

static void advice(struct pg_writer *w, const struct pg_result *r)
{
    pg_writer_list(w, "remedies");
    for (uint32_t i = 0; i < r->advice_count; i++) {
        pg_writer_map(w, NULL);
        pg_writer_text(w, "kind", r->advice[i].key);
        pg_writer_text(w, "text", r->advice[i].text);
        pg_writer_bool(w, "from_file", r->advice[i].from_file);
        pg_writer_end(w);
    }
    pg_writer_end(w);
}

static const char *sense(enum pg_sense s)
{
    return s == PG_NOT_CRITICAL ? NULL : pg_sense_name(s);
}

static void instruction(struct pg_writer *w, const struct pg_analysis *a, const struct pg_result *r)
{
    struct listed all;
    char key[40];
    all.count = pg_report_witnesses(a, r, all.w, WITNESSES_MAX);
    pg_writer_map(w, NULL);
    source(w, r->insn);
    pg_writer_text(w, "label", pg_label_name(pg_report_label(r)));
    pg_writer_text(w, "critical", sense(r->critical));
    pg_writer_text(w, "critical_user", sense(r->critical_user));
    pg_writer_bool(w, "undecided", r->undecided);
    pg_writer_text(w, "rule", r->rule);
    pg_writer_text(w, "disagreement", r->disagreement);
    pg_writer_text(w, "expect_wrong", r->expect_wrong);
    pg_writer_map(w, "classes");
    for (unsigned i = 0; i < PG_WORD_COUNT; i++) {
        word_key(i, key, sizeof key);
        finding(w, key, &r->word[i], &all);
    }
    pg_writer_end(w);
    by_mode(w, "control_by_mode", a->spec, r->control, &all);
    by_mode(w, "hole_by_virtual_mode", a->spec, r->hole, &all);
    advice(w, r);
    pg_writer_list(w, "witnesses");
    for (uint32_t i = 0; i < all.count; i++)
        witness(w, a->spec, r->insn, all.w[i]);
    pg_writer_end(w);
    pg_writer_end(w);
}

/* ---- the whole ---- */

static void verdicts(struct pg_writer *w, const struct pg_analysis *a)
{
    pg_writer_map(w, "verdicts");
    for (unsigned t = 0; t < PG_THEOREM_COUNT; t++) {
        pg_writer_map(w, theorem_key(t));
        pg_writer_text(w, "verdict", pg_verdict_name(a->verdict[t]));
        pg_writer_text(w, "why", a->verdict_why[t]);
        pg_writer_text(w, "expect_wrong", a->verdict_wrong[t]);
        pg_writer_end(w);
    }
    pg_writer_end(w);
}

static void critical(struct pg_writer *w, const struct pg_analysis *a)
{
    pg_writer_list(w, "critical");
    for (uint32_t i = 0; i < a->result_count; i++) {
        const struct pg_result *r = &a->results[i];
        if (r->critical == PG_NOT_CRITICAL && r->critical_user == PG_NOT_CRITICAL)
            continue;
        pg_writer_map(w, NULL);
        pg_writer_text(w, "name", r->insn->name);
        pg_writer_text(w, "critical", sense(r->critical));
        pg_writer_text(w, "critical_user", sense(r->critical_user));
        pg_writer_text(w, "rule", r->rule);
        pg_writer_end(w);
    }
    pg_writer_end(w);
}

static void counts(struct pg_writer *w, const struct pg_analysis *a)
{
    pg_writer_map(w, "counts");
    pg_writer_number(w, "instructions", a->result_count);
    pg_writer_number(w, "critical", a->critical_count);
    pg_writer_number(w, "undecided", a->undecided_count);
    pg_writer_number(w, "bounded", a->bounded_count);
    pg_writer_number(w, "expect_wrong", a->expect_wrong_count);
    pg_writer_end(w);
    pg_writer_map(w, "questions_decided_by");
    for (unsigned m = PG_NONE + 1; m < PG_METHOD_COUNT; m++)
        pg_writer_number(w, pg_method_name(m), a->question_count[m]);
    pg_writer_end(w);
}

static void report(struct pg_writer *w, const struct pg_analysis *a)
{
    const struct pg_spec *spec = a->spec;
    pg_writer_map(w, NULL);
    pg_writer_text(w, "format", "vivarium-isa-report-1");
    pg_writer_text(w, "isa", spec->isa);
    pg_writer_text(w, "title", spec->title);
    pg_writer_text(w, "file", spec->file);
    pg_writer_text(w, "source", spec->source);
    pg_writer_list(w, "modes");
    for (uint32_t m = 0; m < spec->mode_count; m++)
        pg_writer_text(w, NULL, spec->modes[m]);
    pg_writer_end(w);
    verdicts(w, a);
    critical(w, a);
    counts(w, a);
    pg_writer_bool(w, "timed_out", a->timed_out);
    pg_writer_number(w, "elapsed_ns", a->elapsed_ns);
    pg_writer_list(w, "leaves_out");
    for (uint32_t i = 0; i < a->leaves_out_count; i++)
        pg_writer_text(w, NULL, a->leaves_out[i]);
    pg_writer_end(w);
    pg_writer_list(w, "instructions");
    for (uint32_t i = 0; i < a->result_count; i++)
        instruction(w, a, &a->results[i]);
    pg_writer_end(w);
    pg_writer_end(w);
}

void pg_report_json(const struct pg_analysis *a, struct buf *out)
{
    struct pg_writer w = {.out = out};
    report(&w, a);
}

void pg_report_yaml(const struct pg_analysis *a, struct buf *out)
{
    struct pg_writer w = {.out = out, .yaml = true};
    report(&w, a);
}
