/*
 * virtualizability/report.h - what an analysis has found, for programs (JSON, YAML), for the eye (HTML) and in plain words.
 *
 * Looks into: base, analysis.  Used by: client/vmctl, the tests.
 *
 * Everything is appended to a buffer; a lack of memory shows in its `failed`. Text that comes from the specification is
 * escaped for where it goes; what is not UTF-8 becomes U+FFFD. Names in JSON and YAML are stable: they are added to, never
 * renamed. Numbers of a state are written in hexadecimal strings, as JSON's numbers have 53 bits.
 *
 * Thread: any; nothing is kept.
 */
#ifndef VIRTUALIZABILITY_REPORT_H
#define VIRTUALIZABILITY_REPORT_H

#include "engine/base/buf.h"
#include "engine/virtualizability/analysis.h"

void pg_report_json(const struct pg_analysis *a, struct buf *out);
void pg_report_yaml(const struct pg_analysis *a, struct buf *out);
/* One file that needs no other: no scripts, no fonts, nothing fetched; light and dark. */
void pg_report_html(const struct pg_analysis *a, struct buf *out);
/* Why this instruction is what it is: some paragraphs of text, lines of at most 100 columns. r is one of a's results. */
void pg_explain(const struct pg_analysis *a, const struct pg_result *r, struct buf *out);
/* A witness as text, two states side by side or one below the other, what differs marked; each line is indented. */
void pg_report_witness(const struct pg_spec *spec, const struct pg_insn *insn,
                       const struct pg_witness *w, unsigned indent, struct buf *out);

/* ---- what the renderers share (report_text.c) ---- */

/* One class for an instruction, the one that decides about it. */
enum pg_label {
    PG_LABEL_CRITICAL,
    PG_LABEL_UNDECIDED,
    PG_LABEL_PRIVILEGED,
    PG_LABEL_TRAPPING,
    PG_LABEL_INNOCUOUS,
    PG_LABEL_HARMLESS, /* sensitive, not privileged, and no hole in a mode that the virtual machine uses */
    PG_LABEL_COUNT
};
enum pg_label pg_report_label(const struct pg_result *r);
const char *pg_label_name(enum pg_label l);       /* "critical" */
const char *pg_answer_name(enum pg_answer a);     /* "yes", "no", "undecided" */
const char *pg_question_name(enum pg_question q); /* "hole" */

/* One line of a state: a register's cell or a cell of memory, before and after the instruction. */
struct pg_row {
    char name[64]; /* "L", "X[3]", "E[12]" */
    char note[32]; /* "mem[2]": the address the program knows it by; empty: none */
    char before[24], after[24];
    bool changed;
    bool marked; /* it is what the witness is about */
    bool memory; /* a cell of memory: */
    enum pg_space space;
    uint64_t address;
};
#define PG_ROWS_MAX (PG_CELLS_MAX + 2 * PG_MEM_MAX)
/* What matters of one side: mode, P and R, the registers the instruction is about, and memory that is not 0 or changes. rows has
 * room for PG_ROWS_MAX. */
uint32_t pg_report_rows(const struct pg_spec *spec, const struct pg_insn *insn,
                        const struct pg_witness *w, uint32_t side, struct pg_row *rows);
/* "bare machine"; "user mode, first state" where both sides are called alike. */
void pg_report_side(const struct pg_witness *w, uint32_t side, char *out, size_t cap);
/* "trap priv", "no trap" */
void pg_report_outcome(const struct pg_spec *spec, const struct pg_side *side, char *out,
                       size_t cap);
/* A number as the reports write it: decimal up to 9, else hexadecimal. */
void pg_report_number(uint64_t v, char *out, size_t cap);
/* "IF", "X[3]", "E[12]" (an absolute cell), "mem[2]"; and what is there in this state. */
void pg_report_place(const struct pg_spec *spec, const struct pg_place *place, char *out,
                     size_t cap);
void pg_report_value(const struct pg_spec *spec, const struct pg_place *place,
                     const struct pg_state *state, char *out, size_t cap);
/*
 * A witness as part of a sentence: which registers the two states begin with that differ, and what tells the sides apart:
 * "where IM is 0 (first state) and 1 (second state), A is ...".
 */
void pg_report_difference(const struct pg_spec *spec, const struct pg_insn *insn,
                          const struct pg_witness *w, struct buf *out);
/* The distinct witnesses of a result, the most telling first; at most `cap`. */
uint32_t pg_report_witnesses(const struct pg_analysis *a, const struct pg_result *r,
                             const struct pg_witness **out, uint32_t cap);
/* The next character of UTF-8 text: *p moves on; U+FFFD for a byte that is no part of any. 0: the end. */
uint32_t pg_utf8_next(const char **p);
void pg_utf8_put(struct buf *out, uint32_t c);

#endif
