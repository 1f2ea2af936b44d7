/*
 * virtualizability/analysis.h - the question of Popek and Goldberg, asked of every instruction of a specification.
 *
 * Looks into: base, spec, interp.  Used by: the reports, client/vmctl, tests.
 *
 * Two senses, side by side. The paper's: classes by pairs of states (Popek and Goldberg 1974, section 3), a machine is
 * virtualizable if sensitive is a subset of privileged. The direct: an instruction has a hole in a virtual mode if
 * some run of it on the real machine, under the VM map, does not trap and differs from its run on the bare machine.
 *
 * Rules:
 *  (1) PG_YES of an existential class (all but privileged, trapping, innocuous) has a witness that was replayed in the
 *      concrete interpreter; PG_NO says how it was excluded (method).
 *  (2) PG_PROVED and PG_ENUMERATED hold for the semantics in the file, at the declared widths (PG_PROVED: at all larger
 *      ones too), for all states that satisfy `invariant`. PG_BOUNDED holds for the states it lists only.
 *  (3) A verdict is PG_UNKNOWN if it is not PG_FAILS and some finding that it rests on is PG_UNDECIDED or PG_BOUNDED.
 *  (4) Pairs in which either side traps are no evidence for control and behaviour; kinds in exclude_traps
 *      void a pair for privileged; the hole condition ignores no trap of the bare machine.
 *
 * Thread: one per analysis.
 */
#ifndef VIRTUALIZABILITY_ANALYSIS_H
#define VIRTUALIZABILITY_ANALYSIS_H

#include "engine/virtualizability/interp.h"
#include "engine/virtualizability/spec.h"

enum pg_answer { PG_NO, PG_YES, PG_UNDECIDED };

enum pg_method {
    PG_NONE, /* not asked: the machine has no such state or modes; or it follows from other findings */
    PG_PROVED,     /* syntactic: the formula of the contrary folds to false */
    PG_ENUMERATED, /* every value of the narrow inputs it depends on was tried */
    PG_WITNESS,    /* two states, replayed */
    PG_BOUNDED,    /* `runs` states: all whose inputs fit in `width` bits */
    PG_SMT,        /* z3: unsat */
    PG_OPEN,       /* undecided: `runs` random pairs without a witness */
    PG_METHOD_COUNT
};
const char *pg_method_name(
    enum pg_method m); /* "proved", "enumerated", "witness", "bounded", "smt", "undecided" */

/* What a pair of states is to show. */
enum pg_question {
    PG_Q_PRIVILEGED, /* side 0 in a supervisor mode, side 1 in a user mode, all else equal */
    PG_Q_CONTROL,    /* one side: mode, relocation or a resource changes without a trap */
    PG_Q_LOCATION,   /* all equal but reloc.base */
    PG_Q_MODE,       /* all equal but the mode */
    PG_Q_RESOURCE,   /* all equal but a resource */
    PG_Q_HOLE, /* side 0: the bare machine in a virtual mode; side 1: the real machine under the VM map */
    PG_QUESTION_COUNT
};

/* One place in a state. */
struct pg_place {
    bool memory;
    uint32_t cell; /* !memory */
    enum pg_space space;
    uint64_t address; /* memory */
};

#define PG_DIFFS_MAX 8u
/* The place that tells the two sides apart: place[0] in side 0 and place[1] in side 1, of the states after. For a change
 * (control, or a hole by a change of state) before and after of one side: both places are equal and side says which. */
struct pg_diff {
    struct pg_place place[2];
    int side; /* -1: side 0 against side 1; else before against after of that side */
};

struct pg_side {
    const char *label; /* "bare machine", "real machine under the VMM", "supervisor s", ... */
    uint32_t mode;     /* before */
    struct pg_state before, after;
    enum pg_outcome outcome;
    uint32_t trap_kind;
    uint8_t arms[PG_CHOICES_MAX];
};

struct pg_witness {
    enum pg_question question;
    uint32_t side_count; /* 1 for PG_Q_CONTROL, else 2 */
    struct pg_side side[2];
    uint64_t operands[PG_OPERANDS_MAX];
    uint64_t guest_at, guest_cells; /* PG_Q_HOLE with relocation: k and w; else 0 */
    uint64_t memory_cells;          /* q; 0: 2^word_bits */
    /* What tells them apart; none if it is the outcome (a trap against none). */
    struct pg_diff diffs[PG_DIFFS_MAX];
    uint32_t diff_count;
    const char *why; /* one sentence */
    /* Which cells the instruction, the map or a constraint touched on either side: the rest is noise. */
    uint8_t touched[PG_CELLS_MAX];
    bool from_smt;
};

struct pg_finding {
    enum pg_answer answer;
    enum pg_method method;
    uint64_t runs;
    unsigned width; /* PG_BOUNDED, PG_OPEN */
    const struct pg_witness *
        witness; /* NULL: none. For privileged NO it is the pair that refutes it; YES: a pair that shows it */
    uint32_t mode; /* PG_YES: side 0's mode */
};

/* Which sense puts an instruction on the critical list. */
enum pg_sense { PG_NOT_CRITICAL, PG_PAPER, PG_DIRECT, PG_BOTH };
const char *pg_sense_name(enum pg_sense s); /* "", "paper", "direct", "both" */

struct pg_advice {
    const char *key, *text; /* "patch", "translate", "pv", "hw", "relocate", ... */
    bool from_file;
};
#define PG_ADVICE_MAX 12u

struct pg_result {
    const struct pg_insn *insn;
    struct pg_finding
        word[PG_WORD_COUNT]; /* classes by words.def: privileged, control, location, mode, ... */
    struct pg_finding control[PG_MODES_MAX]; /* by mode */
    struct pg_finding hole
        [PG_MODES_MAX]; /* by virtual mode; method PG_NONE where the mode is none or simulated */
    enum pg_sense critical; /* theorem 1 */
    enum pg_sense
        critical_user; /* theorem 3: user-sensitive and not privileged; a hole in a virtual user mode */
    bool undecided; /* some finding is PG_UNDECIDED */
    const char
        *rule; /* tag: the instruction's, or those of the resources its witnesses differ in; NULL */
    const char *disagreement; /* why paper and direct differ; NULL if they agree */
    struct pg_advice advice[PG_ADVICE_MAX];
    uint32_t advice_count;
    const char
        *expect_wrong; /* how it differs from `expect`; NULL: it does not, or nothing is expected */
    bool contradicted; /* expect_wrong says more than that something is undecided */
};

struct pg_analysis {
    struct arena arena;
    const struct pg_spec *spec;
    struct pg_result *results; /* in the order of the file, or the one that was asked for */
    uint32_t result_count;
    enum pg_verdict verdict[PG_THEOREM_COUNT];
    const char *verdict_why[PG_THEOREM_COUNT]; /* one sentence */
    const char
        *verdict_wrong[PG_THEOREM_COUNT]; /* how it differs from the file's `verdict`; NULL */
    uint32_t critical_count, undecided_count, expect_wrong_count, contradicted_count, bounded_count;
    const char **leaves_out; /* what the model says nothing about: always, and by the file */
    uint32_t leaves_out_count;
    bool timed_out;
    uint64_t elapsed_ns;
    uint64_t question_count[PG_METHOD_COUNT]; /* how the questions were decided */
};

struct pg_options {
    const char
        *only; /* name of one instruction; NULL: all. Verdicts are PG_UNKNOWN or PG_FAILS then */
    unsigned width;      /* bits of each input in the bounded search; 0: 3 */
    uint64_t timeout_ns; /* for all; 0: none. What is not reached is undecided */
    bool use_z3;         /* ask an external `z3 -smt2 -in` what is left */
    const char *
        emit_smt; /* folder for one .smt2 file per question that is left; with emit_all: per question */
    bool emit_all;
    uint64_t seed; /* of the search; the same seed gives the same witnesses */
};

/* Fails: ERR_INVALID (constraints that no state fulfils), ERR_NOT_FOUND (only, with the nearest name), ERR_OS (emit_smt, z3), ERR_NO_MEMORY. */
res_t pg_analyse(const struct pg_spec *spec, const struct pg_options *options,
                 struct pg_analysis **out, struct err *err);
void pg_analysis_free(
    struct pg_analysis *a); /* NULL is fine; the specification stays the caller's */

/* Exit code of `vmctl isa check`: 3 is not from here. 0 both theorem-1 verdicts hold; 4 differs from expect or verdict (what is undecided does not);
 * 1 fails; 5 undecided. 4 goes before 1, 1 before 5. */
int pg_exit_code(const struct pg_analysis *a);

/* True if the word holds of it (PG_YES). */
static inline bool pg_is(const struct pg_result *r, enum pg_word w)
{
    return r->word[w].answer == PG_YES;
}

/* Runs both sides of a witness again in the interpreter and tells whether they show what they are to show. */
bool pg_replay(const struct pg_spec *spec, const struct pg_insn *insn, const struct pg_witness *w);

#endif
