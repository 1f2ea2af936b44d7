// links: engine/virtualizability engine/base
/* What z3 says of the formulas: it agrees with the proofs, and its models replay. */
#include "toy.h"

#include "engine/base/base.h"
#include "engine/virtualizability/decide.h"
#include "engine/virtualizability/smt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char text[] = TOY_STATE
    "    Q: {bits: 4, count: 2, role: resource}\n"
    "    C: {bits: 4, role: resource, vmm: \"const:5\"}\n"
    "  vmm_config: [\"IM < 4\"]\n  invariant: [\"T != 77\"]\ninstructions:\n" INSN(
        "LPSW", "if M == u { trap priv; } w = mem[o]; M = w & 1; IM = w >> 1; P = mem[o + 1];")
        INSN("LRA", "X[o] = o + L;")
            INSN("MIX", "if IM == 3 { A = sext(A, 5) >>s 2; } else { mem[A] = ~X[A] * 3; }") INSN(
                "ODD",
                "if (o & 3) == 1 && Q[o] > 2 { A = Q[1] / o; } else if M == s { A = -o % 7; }")
                INSN("CH", "choice { trap x; } { A = C; } choice same { A = A ^ 1; } { Q[A] = 1; }")
                    INSN("XMX", "A = (A ^ (M == s ? 21845 : 3) ^ (M == s ? 21845 : 3)) * 17;")
                        INSN("PEEK", "if M == s { A = phys[o]; } else { A = mem[o] <s A; }");

static void z3_agrees_with_the_proofs_and_its_models_replay(void **state)
{
    (void)state;
    struct pg_spec *spec = NULL;
    struct pg_options options = {0};
    struct arena results;
    uint64_t counts[PG_METHOD_COUNT] = {0};
    unsigned unsat = 0, models = 0, spurious = 0;
    struct err err;
    if (pg_spec_parse("t", text, strlen(text), &spec, &err) != OK)
        fail_msg("%s", err.text);
    struct pg_decider d = {
        .spec = spec, .options = &options, .results = &results, .question_count = counts};
    arena_init(&results, 0);
    assert_int_equal(pg_decider_init(&d, &err), OK);
    for (uint32_t i = 0; i < spec->insn_count; i++)
        for (int q = 0; q < PG_Q_ALL; q++) {
            bool pair = q == PG_Q_PRIVILEGED || q == PG_Q_SHOWS || q == PG_Q_MODE || q == PG_Q_HOLE;
            struct pg_claim c = {.z = &d.z, .arena = &d.scratch};
            c.ask = (struct pg_ask){
                .spec = spec, .insn = &spec->insns[i], .question = q, .mode = {0, pair}};
            CLEANUP(buf_fini) struct buf answer = {0};
            enum pg_method how;
            enum pg_sat sat;
            d.refuter.effort = 0;
            d.refuter.effort_max = 4000000;
            arena_reset(&d.scratch);
            pg_terms_reset(&d.z);
            pg_claim_build(&c);
            assert_false(c.overflow);
            assert_int_equal(pg_smt_ask(&c, 20000000000ull, &sat, &answer, &err), OK);
            if (sat == PG_SAT_UNKNOWN)
                fail_msg("%s: %.*s", spec->insns[i].name, (int)MIN(answer.len, 200u),
                         (const char *)answer.data);
            bool model = sat == PG_SAT && pg_smt_model(&c, &answer, &d.search->pair);
            bool proved = pg_decide_prune(&d, &c, &how);
            if (proved && sat == PG_SAT)
                fail_msg("%s, question %d: proved, and z3 finds a model", spec->insns[i].name, q);
            unsat += sat == PG_UNSAT;
            models += model;
            spurious += sat == PG_SAT && !model;
        }
    print_message("%u unsat, %u models, %u that do not replay\n", unsat, models, spurious);
    assert_true(unsat > 10 && models > 10 && spurious < models / 4);
    pg_decider_fini(&d);
    arena_fini(&results);
    pg_spec_free(spec);
}

static void a_question_is_well_formed_smt(void **state)
{
    (void)state;
    struct pg_spec *spec = NULL;
    struct pg_terms z;
    struct arena arena;
    struct buf b = {0};
    struct err err;
    assert_int_equal(pg_spec_parse("t", text, strlen(text), &spec, &err), OK);
    assert_int_equal(pg_terms_init(&z, spec->word_bits, &err), OK);
    arena_init(&arena, 0);
    struct pg_claim c = {.z = &z, .arena = &arena};
    c.ask = (struct pg_ask){
        .spec = spec, .insn = &spec->insns[1], .question = PG_Q_HOLE, .mode = {0, 1}};
    pg_claim_build(&c);
    pg_smt_text(&c, false, &b);
    buf_put_u8(&b, 0);
    assert_false(b.failed);
    assert_non_null(strstr((char *)b.data, "(set-logic QF_ABV)"));
    assert_non_null(strstr((char *)b.data, "(check-sat)"));
    assert_non_null(strstr((char *)b.data, "is L of side 1"));
    int open = 0;
    for (const char *s = (char *)b.data; *s; s++)
        open += *s == '(' ? 1 : *s == ')' ? -1 : 0;
    assert_int_equal(open, 0);
    buf_fini(&b);
    arena_fini(&arena);
    pg_terms_fini(&z);
    pg_spec_free(spec);
}

/* One instruction of which only a solver knows. */
static const char puzzles[] = "isa: t\nmachine:\n  word_bits: 32\n  modes: [s, u]\n  state:\n    "
                              "A: {bits: 32, role: general}\n"
                              "    X: {bits: 32, count: 2, role: general}\n    M: {bits: 1, role: "
                              "mode}\n    R: {bits: 8, role: resource}\n"
                              "instructions:\n"
                              "- name: NEVER\n  semantics: \"if A * A == 7 { R = 1; M = u; }\"\n"
                              "- name: RARELY\n  semantics: \"if A * X[0] == 0x12345677 && A > 9 "
                              "&& X[0] >> 4 > 9 { R = R + 1; }\"\n";

static struct pg_analysis *analyse(const struct pg_spec *spec, bool z3)
{
    struct pg_options options = {.use_z3 = z3};
    struct pg_analysis *a = NULL;
    struct err err;
    if (pg_analyse(spec, &options, &a, &err) != OK)
        fail_msg("%s", err.text);
    return a;
}

static void a_bounded_search_is_no_proof_and_a_solver_is(void **state)
{
    (void)state;
    struct pg_spec *spec = NULL;
    struct err err;
    if (pg_spec_parse("t", puzzles, strlen(puzzles), &spec, &err) != OK)
        fail_msg("%s", err.text);
    struct pg_analysis *a = analyse(spec, false);
    assert_int_equal(a->results[0].word[PG_WORD_CONTROL].method, PG_BOUNDED);
    assert_int_equal(a->results[0].word[PG_WORD_CONTROL].answer, PG_NO);
    assert_true(a->bounded_count >= 1);
    assert_int_equal(a->verdict[PG_T1], PG_UNKNOWN);
    assert_int_equal(pg_exit_code(a), 5);
    pg_analysis_free(a);
    a = analyse(spec, true);
    assert_int_equal(a->results[0].word[PG_WORD_CONTROL].method, PG_SMT);
    assert_int_equal(a->results[0].word[PG_WORD_CONTROL].answer, PG_NO);
    const struct pg_finding *f = &a->results[1].word[PG_WORD_CONTROL];
    assert_int_equal(f->answer, PG_YES);
    assert_true(f->witness->from_smt);
    assert_true(pg_replay(spec, a->results[1].insn, f->witness));
    assert_int_equal(a->verdict[PG_T1], PG_FAILS);
    pg_analysis_free(a);
    pg_spec_free(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_is_well_formed_smt),
        cmocka_unit_test(a_bounded_search_is_no_proof_and_a_solver_is),
        cmocka_unit_test(z3_agrees_with_the_proofs_and_its_models_replay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
