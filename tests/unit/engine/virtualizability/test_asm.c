// links: engine/virtualizability engine/base
/* The assembler: what it makes of text, what it says about text that is wrong, and the disassembler. */
#include "engine/virtualizability/asm.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct pg_program p;
static struct err err;

static void assemble(const char *text)
{
    pg_program_fini(&p);
    if (pg_asm("t.pg", text, strlen(text), NULL, 0, &p, &err))
        fail_msg("%s", err.text);
}

static int fini(void **state)
{
    (void)state;
    pg_program_fini(&p);
    return 0;
}

static void assert_refused(const char *text, const char *message)
{
    struct pg_program none = {.q = 12345};
    if (pg_asm("t.pg", text, strlen(text), NULL, 0, &none, &err) == OK)
        fail_msg("accepted: %s", text);
    assert_string_equal(err.text, message);
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(none.q, 12345);
}

static uint64_t value_of(const char *expression)
{
    char text[1000];
    snprintf(text, sizeof text, ".word %s\n", expression);
    assemble(text);
    return p.cells[0];
}

static void expressions_are_c_on_64_bits(void **state)
{
    (void)state;
    assert_int_equal(value_of("1 + 2 * 3"), 7);
    assert_int_equal(value_of("(1 + 2) * 3"), 9);
    assert_int_equal(value_of("10 - 3 - 2"), 5);
    assert_int_equal(value_of("-1"), UINT64_MAX);
    assert_int_equal(value_of("~0 >> 63"), 1);
    assert_int_equal(value_of("1 << 64"), 0);
    assert_int_equal(value_of("7 / 2 * 10 + 7 % 4"), 33);
    assert_int_equal(value_of("1 | 2 ^ 3 & 2"), 1);
    assert_int_equal(value_of("1 < 2 == 1"), 1);
    assert_int_equal(value_of("3 >= 4 || 3 <= 3 && 2 != 2"), 0);
    assert_int_equal(value_of("!5 + !0"), 1);
    assert_int_equal(value_of("0 ? 1 : 0 ? 2 : 3"), 3);
    assert_int_equal(value_of("0xFF_ff + 0b101"), 65540);
    assert_int_equal(value_of("18446744073709551615"), UINT64_MAX);
}

static void labels_may_be_used_before_they_are_there(void **state)
{
    (void)state;
    assemble("a: b: JMP end ; comment\r\n\n  .word end - a, .\nN = 2 # another\n .fill N, "
             "N*4\nend: HALT\n");
    assert_int_equal(p.q, 6);
    assert_int_equal(p.filled, 6);
    assert_int_equal(p.cells[0], 10ull << 48 | 5ull << 32);
    assert_int_equal(p.cells[1], 5);
    assert_int_equal(p.cells[2], 2);
    assert_int_equal(p.cells[3], 8);
    assert_int_equal(p.cells[4], 8);
    assert_int_equal(p.cells[5], 17ull << 48);
}

static void directives_shape_the_machine(void **state)
{
    (void)state;
    assemble(".variant pg-lra\n .size 20\n .entry u, x, 1, 19\n .org 5\nx: .psw U, x, 2, 3\n lit "
             "x, 0xffffffff\n");
    assert_int_equal(p.variant, PG_VARIANT_LRA);
    assert_int_equal(p.q, 20);
    assert_int_equal(pg_psw_pack(p.entry), 1ull << 48 | 5ull << 32 | 1 << 16 | 19);
    assert_int_equal(p.cells[5], 1ull << 48 | 5ull << 32 | 2 << 16 | 3);
    assert_int_equal(p.cells[6], 2ull << 48 | 5ull << 32 | 0xffffffff);
    assemble("");
    assert_int_equal(p.q, 2);
    assert_int_equal(pg_psw_pack(p.entry), 2ull << 32 | 2);
}

static void a_default_gives_way_to_a_definition_from_outside(void **state)
{
    (void)state;
    static const char text[] = ".default Q, 7\n .word Q\n";
    const struct pg_define from_outside = {"Q", 9};
    assemble(text);
    assert_int_equal(p.cells[0], 7);
    pg_program_fini(&p);
    assert_int_equal(pg_asm("t", text, sizeof text - 1, &from_outside, 1, &p, &err), OK);
    assert_int_equal(p.cells[0], 9);
    struct pg_program none;
    assert_int_equal(pg_asm("t", "Q = 1", 5, &from_outside, 1, &none, &err), FAIL);
    assert_string_equal(err.text, "t:1:1: Q is defined from outside (use .default)");
}

static void labels_are_found_for_traces(void **state)
{
    (void)state;
    uint32_t behind;
    uint64_t v;
    assemble(" .word 0\nfirst: .word 0, 0\nsecond: .word 0\nnumber = 3\n");
    assert_null(pg_program_label(&p, 0, &behind));
    assert_string_equal(pg_program_label(&p, 2, &behind), "first");
    assert_int_equal(behind, 1);
    assert_string_equal(pg_program_label(&p, 100, &behind), "second");
    assert_true(pg_program_symbol(&p, "number", &v));
    assert_int_equal(v, 3);
    assert_false(pg_program_symbol(&p, "numbers", &v));
}

static void errors_give_the_place_and_what_was_expected(void **state)
{
    (void)state;
    assert_refused("\n  MOV 1 2\n", "t.pg:2:9: expected \",\", found \"2\"");
    assert_refused("MOV 1,\n",
                   "t.pg:1:7: expected a number, a name or \"(\", found the end of the line");
    assert_refused("MOV 1, 2, 3\n", "t.pg:1:9: expected the end of the line, found \",\"");
    assert_refused("FROB 1\n", "t.pg:1:1: expected an instruction (MOV ... HALT), \"NAME:\" or "
                               "\"NAME =\", found \"FROB\"");
    assert_refused(".wrd 1\n",
                   "t.pg:1:1: expected a directive (.word .psw .entry .org .fill .size .variant "
                   ".default), found \".wrd\"");
    assert_refused("MOV 1, 65536\n",
                   "t.pg:1:8: MOV's operand 2 is 65536: 0 to 65535 were expected");
    assert_refused("LIT 1, 1 << 32\n",
                   "t.pg:1:8: LIT's operand 2 is 4294967296: 0 to 4294967295 were expected");
    assert_refused("JMP nowhere\n", "t.pg:1:5: nowhere is not defined");
    assert_refused(".org there\nthere:\n",
                   "t.pg:1:6: there is not defined up to here, where its value is needed");
    assert_refused("a: HALT\nb:\na: HALT\n", "t.pg:3:1: a is defined in line 1 already");
    assert_refused("a: a = 1\n", "t.pg:1:4: a is defined in line 1 already");
    assert_refused(".word 1 / 0\n", "t.pg:1:9: a division by zero");
    assert_refused(".word 0x1g\n", "t.pg:1:10: 'g' in a number: digits of base 16 were expected");
    assert_refused(".word 18446744073709551616\n",
                   "t.pg:1:7: the number does not fit into 64 bits");
    assert_refused(".word (1 + 2\n", "t.pg:1:13: expected \")\", found the end of the line");
    assert_refused(".word 1 ? 2\n", "t.pg:1:12: expected \":\", found the end of the line");
    assert_refused(".word 1 \x01\n",
                   "t.pg:1:9: expected a name, a number or a sign, found \"\\x01\"");
    assert_refused(".psw x, 1, 1, 1\n", "t.pg:1:6: x is not defined");
    assert_refused(".psw 2, 1, 1, 1\n", "t.pg:1:6: the mode is 2: 0 to 1 were expected");
    assert_refused(".variant vax\n", "t.pg:1:10: expected pg, pg-retu or pg-lra, found \"vax\"");
    assert_refused(".entry s, 0, 0, 1\n.entry s, 0, 0, 1\n", "t.pg:2:8: a second .entry");
}

static void cells_are_filled_once_and_inside_the_machine(void **state)
{
    (void)state;
    assert_refused(".word 1\n.org 0\n.word 2\n", "t.pg:3:7: cell 0 is filled in line 1 already");
    assert_refused(".size 4\n.fill 5\n",
                   "t.pg:2:7: cell 4 is not there: the machine has 4 cells (.size)");
    assert_refused(".fill 5\n.size 4\n", "t.pg:2:7: 4 cells: at least 5 were expected");
    assert_refused(".size 1\n", "t.pg:1:7: 1 cells: at least 2 were expected");
    assert_refused(".size 65536\n",
                   "t.pg:1:7: the number of cells is 65536: 0 to 65535 were expected");
    assert_refused(".size 4\n.size 4\n", "t.pg:2:7: a second .size");
    assert_refused(".org 65535\n.word 1\n",
                   "t.pg:2:7: cell 65535 is not there: the machine has 65535 cells at most");
    assert_refused(".fill 99999999\n",
                   "t.pg:1:7: the number of cells is 99999999: 0 to 65535 were expected");
}

static void limits_hold(void **state)
{
    (void)state;
    size_t n = PG_ASM_TEXT_MAX_BYTES + 1;
    char *text = malloc(n + 1);
    struct pg_program none;
    assert_non_null(text);
    memset(text, '(', n);
    assert_int_equal(pg_asm("t", text, n, NULL, 0, &none, &err), FAIL);
    assert_int_equal(err.code, ERR_LIMIT);
    memcpy(text, ".word ", 6);
    assert_int_equal(pg_asm("t", text, n - 1, NULL, 0, &none, &err), FAIL);
    assert_string_equal(err.text, "t:1:71: an expression nested more than 64 deep");
    memset(text + 6, '-', n - 6);
    assert_int_equal(pg_asm("t", text, n - 1, NULL, 0, &none, &err), FAIL);
    assert_string_equal(err.text, "t:1:71: an expression nested more than 64 deep");
    memset(text, 'x', 65);
    strcpy(text + 65, ":");
    assert_int_equal(pg_asm("t", text, 66, NULL, 0, &none, &err), FAIL);
    assert_string_equal(err.text, "t:1:1: a name of 65 bytes: at most 64 were expected");
    size_t at = 0;
    for (int i = 0; i < PG_ASM_NAMES_MAX + 1; i++)
        at += (size_t)sprintf(text + at, "a%d:\n", i);
    assert_int_equal(pg_asm("t", text, at, NULL, 0, &none, &err), FAIL);
    assert_string_equal(err.text, "t:4097:1: more than 4096 names");
    free(text);
}

static void what_is_disassembled_assembles_to_the_same_word(void **state)
{
    (void)state;
    uint64_t seed = 88172645463325252u;
    for (int i = 0; i < 20000; i++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        uint64_t word = i & 1 ? seed
                              : (seed % 22) << 48 |
                                    (seed >> 8 & (i & 2 ? 0xffff0000ffffull : 0xffffffffffffull));
        struct buf text = {0};
        pg_disasm(word, &text);
        struct pg_program one;
        if (pg_asm("t", (char *)text.data, text.len, NULL, 0, &one, &err))
            fail_msg("%.*s: %s", (int)text.len, (char *)text.data, err.text);
        assert_int_equal(one.cells[0], word);
        pg_program_fini(&one);
        buf_fini(&text);
    }
}

static void assert_disasm(uint64_t word, const char *expected)
{
    struct buf text = {0};
    pg_disasm(word, &text);
    buf_put_u8(&text, 0);
    assert_string_equal((char *)text.data, expected);
    buf_fini(&text);
}

static void instructions_print_as_they_are_written(void **state)
{
    (void)state;
    assert_disasm(0, "SVC");
    assert_disasm(5ull << 32, "SVC 5");
    assert_disasm(2ull << 48 | 7ull << 32 | 0x10001, "LIT 7, 65537");
    assert_disasm(12ull << 48 | 1ull << 32 | 2 << 16 | 3, "JLT 1, 2, 3");
    assert_disasm(17ull << 48, "HALT");
    assert_disasm(17ull << 48 | 1, ".word 0x11000000000001");
    assert_disasm(20ull << 48, ".word 0x14000000000000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions_are_c_on_64_bits),
        cmocka_unit_test(labels_may_be_used_before_they_are_there),
        cmocka_unit_test(directives_shape_the_machine),
        cmocka_unit_test(a_default_gives_way_to_a_definition_from_outside),
        cmocka_unit_test(labels_are_found_for_traces),
        cmocka_unit_test(errors_give_the_place_and_what_was_expected),
        cmocka_unit_test(cells_are_filled_once_and_inside_the_machine),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(what_is_disassembled_assembles_to_the_same_word),
        cmocka_unit_test(instructions_print_as_they_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, fini);
}
