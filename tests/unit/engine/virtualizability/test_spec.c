// links: engine/virtualizability engine/base
/* Specifications: what is read, what it means when it runs, and what bad ones are told. */
#include "toy.h"

#include "engine/base/base.h"
#include "engine/base/buf.h"
#include "engine/virtualizability/interp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static struct pg_spec *good(const char *text)
{
    struct pg_spec *s = NULL;
    struct err err;
    if (pg_spec_parse("t", text, strlen(text), &s, &err) != OK)
        fail_msg("%s", err.text);
    return s;
}

static void bad(const char *text, const char *place, const char *says)
{
    struct pg_spec *s = NULL;
    struct err err = {0};
    assert_int_equal(pg_spec_parse("t", text, strlen(text), &s, &err), FAIL);
    assert_null(s);
    if (strncmp(err.text, place, strlen(place)) || !strstr(err.text, says))
        fail_msg("\"%s\" was expected to begin with \"%s\" and to say \"%s\"", err.text, place,
                 says);
}

static void a_typing_error_gets_its_place_and_a_suggestion(void **state)
{
    (void)state;
    bad("isa: t\nmachin: 1\n", "t:2:1: ", "did you mean \"machine\"?");
    bad(TOY_STATE "  deprivledge: {s: u}\ninstructions:\n" INSN("I", "A = 1;"),
        "t:14:3: ", "did you mean \"deprivilege\"?");
    bad(TOY "- name: I\n  semantic: \"A = 1;\"\n", "t:16:3: ", "did you mean \"semantics\"?");
    bad(TOY INSN("I", "A = IN;"), "t:17:19: ", "did you mean \"IM\"?");
    bad(TOY INSN("I", "IN = A;"), "t:17:15: ", "did you mean \"IM\"?");
    bad(TOY INSN("I", "A = 1;") "  expect: [privilegd]\n",
        "t:18:12: ", "did you mean \"privileged\"?");
    bad("isa: t\nmachine:\n  word_bits: 8\n  modes: [s, u]\n  state:\n    A: {bits: 8, role: "
        "genral}\n"
        "instructions: []\n",
        "t:6:24: ", "did you mean \"general\"?");
}

static void an_error_in_the_semantics_says_what_was_expected(void **state)
{
    (void)state;
    bad(TOY INSN("I", "A = ;"), "t:17:19: ", "an expression was expected, found \";\"");
    bad(TOY INSN("I", "A = 1"), "t:17:20: ", "\";\" or an operator was expected, found the end");
    bad(TOY INSN("I", "if A { A = 1;"),
        "t:17:28: ", "\"}\" was expected, found the end of the text");
    bad(TOY INSN("I", "trap 3;"), "t:17:20: ", "the kind of trap");
    bad(TOY INSN("I", "X = 1;"), "t:17:17: ", "X is an array of 4");
    bad(TOY INSN("I", "A[1] = 1;"), "t:17:16: ", "A is one register");
    bad(TOY INSN("I", "o = 1;"), "t:17:15: ", "cannot be assigned");
    bad(TOY INSN("I", "A = 0x10000;"), "t:17:19: ", "does not fit in word_bits: 16");
    bad(TOY INSN("I", "A = 0b12;"), "t:17:19: ", "no number in base 2");
    bad(TOY INSN("I", "A = sext(A, 17);"), "t:17:27: ", "a number of bits, 1 to 16");
    bad(TOY INSN("I", "choice { A = 1; }"), "t:17:32: ", "a choice has two arms");
    bad(TOY "- name: I\n  semantics: |\n    A = 1;\n      A = @;\n",
        "t:18:11: ", "has no meaning here");
}

static void a_machine_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    bad("", "t:1:1: ", "the file is empty");
    bad("isa: [", "t:", "YAML was expected");
    bad("isa: t\nisa: t\n", "t:2:1: ", "there twice");
    bad("isa: t\nmachine: {word_bits: 65}\ninstructions: []\n", "t:2:22: ", "1 to 64");
    bad("isa: t\nmachine: {word_bits: 8, modes: [s, u], state: {M: {bits: 1, role: general}}}\n"
        "instructions: []\n",
        "t:2:", "a register with role mode was expected");
    bad("isa: t\nmachine: {word_bits: 8, modes: [a, b, c], state: {M: {bits: 1, role: mode}}}\n"
        "instructions: []\n",
        "t:2:", "too few for 3 modes");
    bad("isa: t\nmachine: {word_bits: 8, modes: [s, u], state: {M: {bits: 1, role: mode}, L: "
        "{bits: 8, role: "
        "reloc.base}}}\ninstructions: []\n",
        "t:2:", "expected together");
    bad(TOY INSN("I", "A = 1;") INSN("I", "A = 1;"), "t:18:3: ", "I is there twice");
}

static void an_alias_is_refused_so_that_no_file_grows(void **state)
{
    (void)state;
    bad("a: &a [x, x]\nb: &b [*a, *a]\n", "t:2:8: ", "aliases are not taken");
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    CLEANUP(buf_fini) struct buf b = {0};
    for (int i = 0; i < 100; i++)
        buf_printf(&b, "[");
    buf_put_u8(&b, 0);
    bad((const char *)b.data, "t:1:", "nested too deep");
    b.len = 0;
    buf_printf(&b, TOY "- name: I\n  semantics: \"A = ");
    for (int i = 0; i < 200; i++)
        buf_printf(&b, "(");
    buf_printf(&b, "1\"\n");
    buf_put_u8(&b, 0);
    bad((const char *)b.data, "t:16:", "nested too deep");
    b.len = 0;
    buf_printf(&b, TOY "- name: I\n  semantics: \"A = 1");
    for (int i = 0; i < 5000; i++)
        buf_printf(&b, "+1");
    buf_printf(&b, ";\"\n");
    buf_put_u8(&b, 0);
    bad((const char *)b.data, "t:16:", "too deep");
}

static void a_map_with_thousands_of_keys_is_refused(void **state)
{
    (void)state;
    CLEANUP(buf_fini) struct buf b = {0};
    for (int i = 0; i < 3000; i++)
        buf_printf(&b, "k%d: 1\n", i);
    buf_put_u8(&b, 0);
    bad((const char *)b.data, "t:2001:1: ", "too many keys");
}

static void too_large_a_file_is_refused(void **state)
{
    (void)state;
    struct pg_spec *s = NULL;
    struct err err;
    static char text[PG_FILE_BYTES_MAX + 1];
    memset(text, '#', sizeof text);
    assert_int_equal(pg_spec_parse("t", text, sizeof text, &s, &err), FAIL);
    assert_int_equal(err.code, ERR_LIMIT);
}

/* ---- meaning ---- */

static uint64_t result(const char *expression, uint64_t a, uint64_t o)
{
    char text[2000];
    snprintf(text, sizeof text, TOY "- name: I\n  operands: {o: 16}\n  semantics: \"A = %s;\"\n",
             expression);
    struct pg_spec *s = good(text);
    static struct pg_state before, after;
    struct pg_run run = {.operands = {o}};
    memset(&before, 0, sizeof before);
    before.cells[0] = a;
    before.cells[1] = 10;
    before.cells[4] = 40;
    assert_int_equal(pg_run(s, &s->insns[0], &before, &after, &run), PG_DONE);
    assert_int_equal(after.cells[5], 1); /* P */
    pg_spec_free(s);
    return after.cells[0];
}

static void operators_mean_what_the_manual_says(void **state)
{
    (void)state;
    assert_int_equal(result("A + o", 0xffff, 2), 1);
    assert_int_equal(result("A - o", 1, 2), 0xffff);
    assert_int_equal(result("-A", 1, 0), 0xffff);
    assert_int_equal(result("~A", 0xf0, 0), 0xff0f);
    assert_int_equal(result("!A", 7, 0), 0);
    assert_int_equal(result("1 + 2 * 3 << 1 & 0xff | 0x100", 0, 0), 0x10e);
    assert_int_equal(result("A >> 3 - o & 1", 4, 1), 1);
    assert_int_equal(result("A < o", 0x8000, 1), 0);
    assert_int_equal(result("A <s o", 0x8000, 1), 1);
    assert_int_equal(result("A >=s o", 0x8000, 1), 0);
    assert_int_equal(result("A >>s 15", 0x8000, 0), 0xffff);
    assert_int_equal(result("A >> 16", 0x8000, 0), 0);
    assert_int_equal(result("A << 99", 1, 0), 0);
    assert_int_equal(result("A / o", 5, 0), 0xffff);
    assert_int_equal(result("A % o", 5, 0), 5);
    assert_int_equal(result("sext(A, 4)", 0x8, 0), 0xfff8);
    assert_int_equal(result("A ? 3 : 4", 0, 0), 4);
    assert_int_equal(result("X[o]", 0, 3), 40);
    assert_int_equal(result("X[o]", 0, 4), 10); /* modulo the length */
    assert_int_equal(result("M == s && u", 0, 0), 1);
    assert_int_equal(result("0b1_01 + 0x_f", 0, 0), 20);
}

static struct pg_spec *run_one(const char *semantics, struct pg_state *before,
                               struct pg_state *after, struct pg_run *run)
{
    char text[2000];
    snprintf(text, sizeof text, TOY "- name: I\n  operands: {o: 16}\n  semantics: \"%s\"\n",
             semantics);
    struct pg_spec *s = good(text);
    pg_run(s, &s->insns[0], before, after, run);
    return s;
}

static void memory_is_relocated_and_checked(void **state)
{
    (void)state;
    static struct pg_state before, after;
    struct pg_run run = {.operands = {3}};
    bool there;
    before.cells[7] = 100; /* L */
    before.cells[8] = 4;   /* B */
    pg_spec_free(run_one("mem[o] = 7; A = phys[103];", &before, &after, &run));
    assert_int_equal(run.outcome, PG_DONE);
    assert_int_equal(after.cells[0], 7);
    assert_int_equal(pg_mem_get(&after, PG_PHYS, 103, &there), 7);
    run.operands[0] = 4;
    pg_spec_free(run_one("A = 5; mem[o] = 7;", &before, &after, &run));
    assert_int_equal(run.outcome, PG_TRAP);
    assert_int_equal(run.trap_kind, 0);
    assert_int_equal(run.trap_address, 4);
    assert_int_equal(after.cells[0], 0); /* undone */
    before.cells[7] = 0xfffe;
    run.operands[0] = 2;
    pg_spec_free(run_one("mem[o] = 7;", &before, &after, &run));
    assert_int_equal(run.outcome, PG_TRAP); /* outside of 2^16 cells */
}

static void the_right_side_is_not_evaluated_in_vain(void **state)
{
    (void)state;
    static struct pg_state before, after;
    struct pg_run run = {.operands = {0}};
    pg_spec_free(
        run_one("A = 0 && mem[o]; A = 1 || mem[o]; A = 1 ? 2 : mem[o];", &before, &after, &run));
    assert_int_equal(run.outcome, PG_DONE);
    assert_int_equal(after.cells[0], 2);
}

static void a_choice_takes_the_arm_it_is_given(void **state)
{
    (void)state;
    static struct pg_state before, after;
    struct pg_run run = {.arms = {1}};
    pg_spec_free(run_one("choice { A = 1; } { A = 2; } { trap odd; }", &before, &after, &run));
    assert_int_equal(after.cells[0], 2);
    run.arms[0] = 2;
    pg_spec_free(run_one("choice { A = 1; } { A = 2; } { trap odd; }", &before, &after, &run));
    assert_int_equal(run.outcome, PG_TRAP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_typing_error_gets_its_place_and_a_suggestion),
        cmocka_unit_test(an_error_in_the_semantics_says_what_was_expected),
        cmocka_unit_test(a_machine_that_makes_no_sense_is_refused),
        cmocka_unit_test(an_alias_is_refused_so_that_no_file_grows),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(a_map_with_thousands_of_keys_is_refused),
        cmocka_unit_test(too_large_a_file_is_refused),
        cmocka_unit_test(operators_mean_what_the_manual_says),
        cmocka_unit_test(memory_is_relocated_and_checked),
        cmocka_unit_test(the_right_side_is_not_evaluated_in_vain),
        cmocka_unit_test(a_choice_takes_the_arm_it_is_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
