// links: engine/virtualizability engine/base
/* The classes, the verdicts and the exit codes, on machines of a few lines; the paper's gaps one by one. */
#include "toy.h"

#include "engine/base/base.h"
#include "engine/base/os.h"
#include "engine/virtualizability/analysis.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static struct pg_spec *spec;
static struct pg_analysis *analysis;

static void analyse_with(const char *text, const struct pg_options *options)
{
    struct err err;
    pg_analysis_free(analysis);
    pg_spec_free(spec);
    analysis = NULL;
    spec = NULL;
    if (pg_spec_parse("t", text, strlen(text), &spec, &err) != OK ||
        pg_analyse(spec, options, &analysis, &err) != OK)
        fail_msg("%s", err.text);
}

static void analyse(const char *text)
{
    struct pg_options options = {0};
    analyse_with(text, &options);
}

static int clean(void **state)
{
    (void)state;
    pg_analysis_free(analysis);
    pg_spec_free(spec);
    analysis = NULL;
    spec = NULL;
    return 0;
}

static const struct pg_result *result(const char *name)
{
    for (uint32_t i = 0; i < analysis->result_count; i++)
        if (!strcmp(analysis->results[i].insn->name, name))
            return &analysis->results[i];
    fail_msg("no %s", name);
    return NULL;
}

/* The words that hold, in the order of words.def, are these. */
static void is(const char *name, const char *words)
{
    const struct pg_result *r = result(name);
    char got[300] = "";
    for (int w = 0; w < PG_WORD_COUNT; w++) {
        bool derived = w == PG_WORD_BEHAVIOUR || w == PG_WORD_SENSITIVE;
        assert_int_not_equal(r->word[w].answer, PG_UNDECIDED);
        if (r->word[w].answer != PG_YES || derived)
            continue;
        size_t n = strlen(got);
        snprintf(got + n, sizeof got - n, "%s%s", n ? " " : "", pg_word_text(w));
    }
    if (strcmp(got, words))
        fail_msg("%s is \"%s\", not \"%s\"", name, got, words);
}

static void verdicts_are(enum pg_verdict t1, enum pg_verdict t3, enum pg_verdict direct1,
                         enum pg_verdict direct3)
{
    assert_int_equal(analysis->verdict[PG_T1], t1);
    assert_int_equal(analysis->verdict[PG_T3], t3);
    assert_int_equal(analysis->verdict[PG_DIRECT_T1], direct1);
    assert_int_equal(analysis->verdict[PG_DIRECT_T3], direct3);
}

static void the_examples_of_the_paper_have_their_classes(void **state)
{
    (void)state;
    analyse(TOY INSN("LPSW",
                     "if M == u { trap priv; } w = mem[o]; M = w & 1; IM = w >> 1; P = mem[o + 1];")
                INSN("SVC", "trap svc;") INSN("LRA", "A = o + L;") /* 360/67 */
            INSN("JRST1", "M = u; P = o;")                         /* PDP-10 */
            INSN("MFPI", "A = M == s ? 1 : 2;")                    /* PDP-11/45 */
            INSN("RDIM", "A = IM;") INSN("LOAD", "A = mem[o];") INSN("STORE", "mem[o] = A;")
                INSN("HALT", "if M == u { trap priv; }"));
    is("LPSW", "privileged control supervisor-sensitive");
    is("SVC", "innocuous trapping");
    is("LRA", "location user-sensitive supervisor-sensitive hole critical");
    is("JRST1", "control supervisor-sensitive hole critical");
    is("MFPI", "mode supervisor-sensitive hole critical");
    is("RDIM", "resource user-sensitive supervisor-sensitive hole critical");
    is("LOAD", "innocuous");
    is("STORE", "innocuous");
    is("HALT", "privileged innocuous"); /* G7 */
    verdicts_are(PG_FAILS, PG_FAILS, PG_FAILS, PG_FAILS);
    assert_int_equal(result("LRA")->critical, PG_BOTH);
    assert_int_equal(result("JRST1")->critical_user, PG_NOT_CRITICAL);
    assert_int_equal(pg_exit_code(analysis), 1);
}

static void a_machine_without_critical_instructions_is_virtualizable(void **state)
{
    (void)state;
    analyse(TOY INSN("LRB", "if M == u { trap priv; } L = mem[o]; B = mem[o + 1];")
                INSN("ADD", "A = A + X[o];"));
    is("LRB", "privileged control supervisor-sensitive");
    is("ADD", "innocuous");
    verdicts_are(PG_HOLDS, PG_HOLDS, PG_HOLDS, PG_HOLDS);
    assert_int_equal(analysis->verdict[PG_T2], PG_UNKNOWN); /* there is a clock */
    assert_int_equal(pg_exit_code(analysis), 0);
    for (uint32_t i = 0; i < analysis->result_count; i++)
        assert_int_equal(analysis->results[i].hole[1].method, PG_PROVED);
}

static void a_mode_that_nobody_traps_in_helps_a_hybrid_monitor_only(void **state)
{
    (void)state;
    analyse(TOY INSN("RETU", "if M == s { M = u; } P = o;"));
    is("RETU", "control supervisor-sensitive hole critical");
    verdicts_are(PG_FAILS, PG_HOLDS, PG_FAILS, PG_HOLDS);
}

/* G3: SIR of SPARC V9. */
static void a_trap_that_user_mode_loses_is_found_by_the_direct_condition_only(void **state)
{
    (void)state;
    analyse(TOY INSN("SIR", "if M == s { trap reset; }"));
    is("SIR", "innocuous hole critical");
    verdicts_are(PG_HOLDS, PG_HOLDS, PG_FAILS, PG_HOLDS);
    assert_int_equal(result("SIR")->critical, PG_DIRECT);
    assert_non_null(result("SIR")->disagreement);
    assert_int_equal(pg_exit_code(analysis), 1);
}

/* G5: the VM map keeps b. */
static void reading_the_bound_is_no_hole(void **state)
{
    (void)state;
    analyse(TOY INSN("BNDS", "A = B;"));
    is("BNDS", "innocuous");
    verdicts_are(PG_HOLDS, PG_HOLDS, PG_HOLDS, PG_HOLDS);
}

/* G4 */
static void conditional_privilege_depends_on_what_the_monitor_configures(void **state)
{
    (void)state;
    analyse(TOY INSN("RDT", "if M == u && !(IM & 4) { trap priv; } A = T;"));
    is("RDT", "resource user-sensitive supervisor-sensitive hole critical");
    analyse(TOY_STATE "  vmm_config: [\"(IM & 4) == 0\"]\ninstructions:\n" INSN(
        "RDT", "if M == u && !(IM & 4) { trap priv; } A = T;"));
    is("RDT", "privileged resource supervisor-sensitive");
    verdicts_are(PG_HOLDS, PG_HOLDS, PG_HOLDS, PG_HOLDS);
}

static void a_register_held_constant_is_configured_too(void **state)
{
    (void)state;
#define TSD(map)                                                                                  \
    "isa: t\nmachine:\n  word_bits: 32\n  modes: [s, u]\n  state:\n"                              \
    "    A: {bits: 32, role: general}\n    M: {bits: 1, role: mode}\n"                            \
    "    TSD: {bits: 32, role: resource" map "}\n    T: {bits: 32, role: clock}\ninstructions:\n" \
    "- name: RDTSC\n  semantics: \"if M == u && TSD == 12345 { trap priv; } A = T;\"\n"
    analyse(TSD(""));
    assert_true(pg_is(result("RDTSC"), PG_WORD_HOLE));
    analyse(TSD(", vmm: const:12345"));
    is("RDTSC", "privileged resource supervisor-sensitive");
}

#define FLOATS(map)                                                           \
    "isa: t\nmachine:\n  word_bits: 8\n  modes: [s, u]\n  state:\n"           \
    "    A: {bits: 8, role: general}\n    M: {bits: 1, role: mode}\n"         \
    "    FS: {bits: 2, role: resource" map "}\ninstructions:\n- name: FADD\n" \
    "  semantics: \"if FS == 0 { trap fp; } A = A + 1; FS = 3;\"\n"

/* G8 */
static void state_that_the_hardware_marks_must_be_mapped(void **state)
{
    (void)state;
    analyse(FLOATS(""));
    is("FADD", "control user-sensitive supervisor-sensitive hole critical");
    analyse(FLOATS(", vmm: identity"));
    is("FADD", "innocuous");
    verdicts_are(PG_HOLDS, PG_HOLDS, PG_HOLDS, PG_HOLDS);
}

static void what_the_paper_excludes_is_no_evidence_on_privilege(void **state)
{
    (void)state;
#define DIVPSW "if A == 0 { trap arith; } if M == u { trap priv; } IM = A;"
    analyse(TOY INSN("I", DIVPSW));
    is("I",
       "control supervisor-sensitive critical"); /* by the letter: A == 0 traps in both modes */
    assert_int_equal(result("I")->critical, PG_PAPER);
    analyse(TOY_STATE "  exclude_traps: [mem, arith]\ninstructions:\n" INSN("I", DIVPSW));
    is("I", "privileged control supervisor-sensitive");
}

static void an_unpredictable_instruction_is_as_bad_as_its_worst_arm(void **state)
{
    (void)state;
    analyse(TOY INSN("UNP", "if M == u { choice { trap undef; } { A = 0; } } else { IM = A; }")
                INSN("FREE", "choice { A = 0; } { A = 1; }")
                    INSN("SAME", "choice same { A = 0; } { A = 1; }"));
    is("UNP", "control mode supervisor-sensitive hole critical");
    assert_true(pg_is(result("FREE"), PG_WORD_HOLE));
    is("SAME", "innocuous");
}

static void absolute_memory_is_the_hosts(void **state)
{
    (void)state;
    analyse(TOY INSN("PEEK", "A = phys[o];") INSN("POKE", "phys[o] = A;")
                INSN("PPEEK", "if M == u { trap priv; } A = phys[o];"));
    is("PEEK", "location user-sensitive supervisor-sensitive hole critical");
    assert_true(pg_is(result("POKE"), PG_WORD_CONTROL));
    assert_true(pg_is(result("POKE"), PG_WORD_HOLE));
    is("PPEEK", "privileged location supervisor-sensitive");
}

static void three_rings_can_be_compressed(void **state)
{
    (void)state;
#define RINGS(map)                                                                              \
    "isa: t\nmachine:\n  word_bits: 8\n  modes: [k, e, u]\n  supervisor: [k]\n  user: [e, u]\n" \
    "  deprivilege: " map "\n  state:\n    A: {bits: 8, role: general}\n"                       \
    "    M: {bits: 2, role: mode}\n    R: {bits: 8, role: resource}\ninstructions:\n"           \
    "- name: MTPR\n  semantics: \"if M != k { trap priv; } R = A;\"\n"                          \
    "- name: MOVPSL\n  semantics: \"A = M;\"\n"
    analyse(RINGS("{k: e, e: e, u: u}"));
    is("MTPR", "privileged control supervisor-sensitive");
    is("MOVPSL", "mode user-sensitive supervisor-sensitive hole critical");
    assert_int_equal(result("MOVPSL")->hole[0].answer, PG_YES);
    assert_int_equal(result("MOVPSL")->hole[1].answer, PG_NO);
    analyse(RINGS("{k: simulated, e: e, u: u}"));
    assert_false(pg_is(result("MOVPSL"), PG_WORD_HOLE));
    assert_int_equal(result("MOVPSL")->hole[0].method, PG_NONE);
}

static void registers_of_a_third_mode_can_be_the_guests(void **state)
{
    (void)state;
    analyse("isa: t\nmachine:\n  word_bits: 8\n  modes: [s, vs, u, vu]\n  supervisor: [s]\n  user: "
            "[u]\n"
            "  deprivilege: {s: vs, u: vu}\n  state:\n    A: {bits: 8, role: general}\n"
            "    M: {bits: 2, role: mode}\n    ST: {bits: 8, role: resource, vmm: in VST}\n"
            "    VST: {bits: 8, role: resource}\n    H: {bits: 8, role: resource}\ninstructions:\n"
            "- name: RDST\n  semantics: \"if M == u || M == vu { trap priv; } A = M == vs ? VST : "
            "ST;\"\n"
            "- name: BAD\n  semantics: \"A = ST;\"\n"
            "- name: RET\n  semantics: \"if M == u || M == vu { trap priv; } M = M == vs ? vu : "
            "u;\"\n");
    assert_false(pg_is(result("RDST"), PG_WORD_HOLE));
    assert_true(pg_is(result("BAD"), PG_WORD_HOLE));
    assert_false(pg_is(result("RET"), PG_WORD_HOLE)); /* the real mode tells the virtual one */
}

static void every_witness_replays(void **state)
{
    (void)state;
    unsigned count = 0;
    analyse(TOY INSN("A", "A = L + IM;") INSN("B", "M = o; mem[o] = L;")
                INSN("C", "if IM & 1 { A = mem[o]; } else { trap x; }"));
    for (uint32_t i = 0; i < analysis->result_count; i++) {
        const struct pg_result *r = &analysis->results[i];
        for (int w = 0; w < PG_WORD_COUNT; w++) {
            const struct pg_witness *x = r->word[w].witness;
            if (!x)
                continue;
            count++;
            assert_true(pg_replay(spec, r->insn, x));
            struct pg_witness lie = *x;
            lie.side[0].before.cells[spec->regs[spec->mode].first_cell] ^=
                1; /* not the mode it claims */
            assert_false(pg_replay(spec, r->insn, &lie));
        }
    }
    assert_true(count > 10);
}

static void what_differs_from_expect_gives_exit_code_4(void **state)
{
    (void)state;
    analyse(TOY INSN("SVC", "trap svc;") "  expect: [trapping]\n" INSN(
        "NOP", "A = A;") "  expect: [privileged, not control]\n");
    assert_null(result("SVC")->expect_wrong);
    assert_string_equal(
        result("NOP")->expect_wrong,
        "privileged was expected and is not so; not innocuous was expected and is so");
    assert_int_equal(pg_exit_code(analysis), 4);
    analyse("verdict: {T1: fails}\n" TOY INSN("NOP", "A = A;"));
    assert_string_equal(analysis->verdict_wrong[PG_T1], "T1 fails was expected; it holds");
    assert_int_equal(pg_exit_code(analysis), 4);
}

static void what_is_not_reached_in_time_is_undecided(void **state)
{
    (void)state;
    struct pg_options options = {.timeout_ns = 1};
    analyse_with(TOY INSN("NOP", "A = A;") "  expect: [innocuous]\n", &options);
    assert_true(analysis->timed_out);
    assert_non_null(result("NOP")->expect_wrong);
    assert_int_equal(analysis->verdict[PG_T1], PG_UNKNOWN);
    assert_int_equal(pg_exit_code(analysis), 5);
}

static void one_instruction_alone_says_nothing_about_the_machine(void **state)
{
    (void)state;
    struct pg_options options = {.only = "NOP"};
    struct pg_analysis *none = NULL;
    struct err err;
    analyse_with(TOY INSN("NOP", "A = A;") INSN("LRA", "A = L;"), &options);
    assert_int_equal(analysis->result_count, 1);
    assert_int_equal(analysis->verdict[PG_T1], PG_UNKNOWN);
    options.only = "NIP";
    assert_int_equal(pg_analyse(spec, &options, &none, &err), FAIL);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "did you mean \"NOP\"?"));
}

static void constraints_that_nothing_fulfils_prove_nothing(void **state)
{
    (void)state;
    struct pg_options options = {0};
    struct err err;
    static const char text[] =
        TOY_STATE "  vmm_config: [\"IM > 4 && IM < 3\"]\ninstructions:\n" INSN("NOP", "A = A;");
    clean(NULL);
    assert_int_equal(pg_spec_parse("t", text, strlen(text), &spec, &err), OK);
    assert_int_equal(pg_analyse(spec, &options, &analysis, &err), FAIL);
    assert_non_null(strstr(err.text, "no state fulfils invariant and vmm_config"));
}

static void odd_semantics_are_decided_all_the_same(void **state)
{
    (void)state;
    analyse(TOY INSN("XORM", "A = o ^ M ^ M;")
                INSN("SAMEARMS", "if M == s { A = o + 1; } else { A = 1 + o; }")
                    INSN("REWRITE", "IM = IM;") INSN("SQUARE", "if IM * 0 == 1 { M = u; }")
                        INSN("DEEP", "if (o & 3) == 1 { if (o & 1) == 0 { IM = 1; } }")
                            INSN("EQ", "if IM == 5 { IM = 5; }"));
    is("XORM", "innocuous");
    is("SAMEARMS", "innocuous");
    is("REWRITE", "innocuous");
    is("SQUARE", "innocuous");
    is("DEEP", "innocuous");
    is("EQ", "innocuous");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_the_paper_have_their_classes),
        cmocka_unit_test(a_machine_without_critical_instructions_is_virtualizable),
        cmocka_unit_test(a_mode_that_nobody_traps_in_helps_a_hybrid_monitor_only),
        cmocka_unit_test(a_trap_that_user_mode_loses_is_found_by_the_direct_condition_only),
        cmocka_unit_test(reading_the_bound_is_no_hole),
        cmocka_unit_test(conditional_privilege_depends_on_what_the_monitor_configures),
        cmocka_unit_test(a_register_held_constant_is_configured_too),
        cmocka_unit_test(state_that_the_hardware_marks_must_be_mapped),
        cmocka_unit_test(what_the_paper_excludes_is_no_evidence_on_privilege),
        cmocka_unit_test(an_unpredictable_instruction_is_as_bad_as_its_worst_arm),
        cmocka_unit_test(absolute_memory_is_the_hosts),
        cmocka_unit_test(three_rings_can_be_compressed),
        cmocka_unit_test(registers_of_a_third_mode_can_be_the_guests),
        cmocka_unit_test(every_witness_replays),
        cmocka_unit_test(what_differs_from_expect_gives_exit_code_4),
        cmocka_unit_test(what_is_not_reached_in_time_is_undecided),
        cmocka_unit_test(one_instruction_alone_says_nothing_about_the_machine),
        cmocka_unit_test(constraints_that_nothing_fulfils_prove_nothing),
        cmocka_unit_test(odd_semantics_are_decided_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}
