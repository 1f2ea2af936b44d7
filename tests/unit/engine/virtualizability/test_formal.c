// links: engine/virtualizability engine/base
/* The formal machine: each instruction, traps, relocation at its edges, the variants, counting. */
#include "engine/virtualizability/asm.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static struct pg_formal m;

/* Assemble, load, run. The trap vector of every program here: cell 1. */
static bool run(const char *text)
{
    struct err err = {0};
    struct pg_program p;
    pg_formal_fini(&m);
    if (pg_asm("test", text, strlen(text), NULL, 0, &p, &err) || pg_program_load(&p, &m, &err))
        fail_msg("%s", err.text);
    pg_program_fini(&p);
    bool halted = pg_formal_run(&m, 10000);
    assert_true(pg_formal_check(&m));
    return halted;
}

static int fini(void **state)
{
    (void)state;
    pg_formal_fini(&m);
    return 0;
}

/* What the code leaves in cell 30. 40 to 43 hold numbers; a trap leaves 0xbad. */
static uint64_t value_of(const char *code)
{
    char text[2000];
    snprintf(
        text, sizeof text,
        "r = 30\n .size 64\n .word 0\n .psw s, bad, 0, 64\n%s\n HALT\nbad: LIT r, 0xbad\n HALT\n"
        " .org 40\n .word 7, 3, 0xffffffffffffffff, 64\n .word 41\n",
        code);
    assert_true(run(text));
    return m.cells[30];
}

static void instructions_do_what_the_table_says(void **state)
{
    (void)state;
    assert_int_equal(value_of("MOV r, 40"), 7);
    assert_int_equal(value_of("LIT r, 0xfedcba98"), 0xfedcba98);
    assert_int_equal(value_of("ADD r, 40, 42"), 6);
    assert_int_equal(value_of("SUB r, 41, 40"), (uint64_t)-4);
    assert_int_equal(value_of("AND r, 40, 41"), 3);
    assert_int_equal(value_of("SHL r, 40, 41"), 56);
    assert_int_equal(value_of("SHL r, 40, 43"), 7); /* modulo 64 */
    assert_int_equal(value_of("SHR r, 42, 40"), UINT64_MAX >> 7);
    assert_int_equal(value_of("LDI r, 44"), 3);
    assert_int_equal(value_of("LIT r + 1, r\n STI r + 1, 40"), 7);
    assert_int_equal(value_of("JMP . + 2\n HALT\n LIT r, 1"), 1);
    assert_int_equal(value_of("JZ r, . + 2\n HALT\n LIT r, 1"), 1);
    assert_int_equal(value_of("JZ 40, . + 2\n LIT r, 1"), 1);
    assert_int_equal(value_of("JLT 41, 40, . + 2\n HALT\n LIT r, 1"), 1);
    assert_int_equal(value_of("JLT 42, 40, . + 2\n LIT r, 1"), 1); /* unsigned */
    assert_int_equal(value_of("LIT r + 1, . + 3\n JMI r + 1\n HALT\n LIT r, 1"), 1);
    assert_int_equal(value_of("SPSW r"), 2ull << 32 | 64);
    assert_int_equal(value_of("SVC"), 0xbad);
    assert_int_equal(value_of(".word 20 << 48"), 0xbad);
}

static void an_operand_outside_the_window_traps_before_anything_is_written(void **state)
{
    (void)state;
    static const char *const code[] = {
        "MOV 64, 40",     "MOV r, 64",  "LIT 64, 1",  "ADD r, 40, 64", "ADD r, 64, 40",
        "ADD 64, 40, 40", "LDI r, 64",  "LDI 64, 44", "LDI r, 42",     "STI 42, 40",
        "STI 64, 40",     "STI 44, 64", "JZ 64, 2",   "JLT 64, 40, 2", "JLT 40, 64, 2",
        "JMI 64",         "LPSW 64",    "LRB 64",     "SPSW 64",       "JMP 64",
        "JMP 65535"};
    for (size_t i = 0; i < ARRAY_LEN(code); i++) {
        if (value_of(code[i]) != 0xbad)
            fail_msg("%s did not trap", code[i]);
        assert_int_equal(m.traps, 1);
        assert_int_equal(m.cells[41], 3);
    }
}

static void a_trap_swaps_psws_and_keeps_the_place_of_its_instruction(void **state)
{
    (void)state;
    assert_true(run(
        ".size 64\n .entry u, 5, 10, 20\n .word 99\n .psw s, t, 0, 64\nt: HALT\n .org 15\n SVC\n"));
    assert_int_equal(m.cells[0], pg_psw_pack((struct pg_psw){PG_MODE_U, 5, 10, 20}));
    assert_int_equal(m.psw.m, PG_MODE_S);
    assert_int_equal(m.psw.p, 2);
    assert_int_equal(m.psw.b, 64);
    assert_int_equal(m.traps, 1);
    assert_int_equal(m.instructions, 1); /* the HALT */
}

static void privileged_instructions_trap_in_user_mode(void **state)
{
    (void)state;
    static const char *const code[] = {"LPSW 20", "LRB 20", "SPSW 20", "HALT"};
    for (size_t i = 0; i < ARRAY_LEN(code); i++) {
        char text[300];
        snprintf(text, sizeof text,
                 " .size 32\n .entry u, 10, 0, 32\n .word 0\n .psw s, t, 0, 32\nt: HALT\n .org "
                 "10\n %s\n",
                 code[i]);
        assert_true(run(text));
        assert_int_equal(m.traps, 1);
        assert_int_equal(m.cells[0] >> 48, PG_MODE_U);
        assert_int_equal(m.cells[20], 0);
    }
}

static void an_address_is_valid_below_the_bound_and_inside_memory(void **state)
{
    (void)state;
    struct pg_psw w = {PG_MODE_S, 0, 10, 20};
    assert_true(pg_formal_valid(w, 40, 19));
    assert_false(pg_formal_valid(w, 40, 20));
    assert_true(pg_formal_valid(w, 25, 14));
    assert_false(pg_formal_valid(w, 25, 15));
    w.l = 65535;
    assert_false(pg_formal_valid(w, 65535, 0));
    /* and as the machine does it: the last cell, then one more */
    assert_true(run(".size 32\n .entry u, 0, 20, 30\n .word 0\n .psw s, t, 0, 32\nt: HALT\n"
                    " .org 20\n LIT 11, 5\n LIT 12, 6\n"));
    assert_int_equal(m.cells[31], 5);
    assert_int_equal(m.cells[0] >> 32 & 0xffff, 1);
}

static void what_is_loaded_into_r_holds_from_the_next_instruction_on(void **state)
{
    (void)state;
    assert_true(run(".size 32\n .word 0\n .psw s, t, 0, 32\n LRB r\nt: HALT\nr: .psw s, 0, 10, 8\n"
                    " .org 13\n LIT 7, 1\n SPSW 6\n LIT 8, 1\n"));
    assert_int_equal(m.cells[17], 1);
    assert_int_equal(m.cells[16], pg_psw_pack((struct pg_psw){PG_MODE_S, 4, 10, 8}));
    assert_int_equal(m.cells[0], pg_psw_pack((struct pg_psw){PG_MODE_S, 5, 10, 8}));
}

static const char critical[] = " .size 32\n .word 0\n .psw s, t, 0, 32\n LRA 20, 5\n RETU 6\n "
                               "HALT\n HALT\n LIT 21, 1\nt: HALT\n";

static void critical_instructions_exist_only_in_their_variants(void **state)
{
    (void)state;
    char text[300];
    assert_true(run(critical));
    assert_int_equal(m.cells[0] >> 32 & 0xffff, 2); /* LRA trapped */
    snprintf(text, sizeof text, ".variant pg-lra\n%s", critical);
    assert_true(run(text));
    assert_int_equal(m.cells[20], 5);
    assert_int_equal(m.cells[0],
                     pg_psw_pack((struct pg_psw){PG_MODE_S, 3, 0, 32})); /* RETU trapped */
    snprintf(text, sizeof text, ".variant pg-retu\n%s", critical + 0);
    memcpy(strstr(text, "LRA 20, 5"), "MOV 20, 5", 9);
    assert_true(run(text));
    assert_int_equal(m.cells[0], pg_psw_pack((struct pg_psw){PG_MODE_U, 7, 0, 32}));
    assert_int_equal(m.cells[21], 1);
}

static void a_run_stops_at_its_limit_and_goes_on(void **state)
{
    (void)state;
    assert_false(run(".size 32\n .word 0\n .psw s, 2, 0, 32\n SVC\n")); /* traps for ever */
    assert_int_equal(m.traps, 10000);
    assert_int_equal(m.instructions, 0);
    assert_false(run(".size 32\n .word 0\n .psw s, 2, 0, 32\n JMP 2\n"));
    assert_int_equal(m.instructions, 10000);
    assert_false(pg_formal_run(&m, 5));
    assert_int_equal(m.instructions, 10005);
    assert_false(pg_formal_run(&m, 0));
    assert_int_equal(m.instructions, 10005);
}

static void stepping_is_running(void **state)
{
    (void)state;
    static const char text[] =
        " .size 40\n .word 0\n .psw s, t, 0, 40\n LPSW user\nt: ADD n, n, one\n JLT n, five, go\n "
        "HALT\n"
        "go: LPSW user\nuser: .psw u, 0, 20, 8\nn: .word 0\none: .word 1\nfive: .word 5\n"
        " .org 20\n ADD 4, 4, 5\n SVC\n .org 25\n .word 1\n";
    struct pg_program p;
    struct pg_formal step;
    struct err err;
    assert_true(run(text));
    assert_int_equal(m.cells[24], 5);
    assert_int_equal(pg_asm("t", text, sizeof text - 1, NULL, 0, &p, &err), OK);
    assert_int_equal(pg_program_load(&p, &step, &err), OK);
    step.direct_from = 20;
    while (!pg_formal_run(&step, 1))
        assert_true(step.instructions < 1000);
    assert_int_equal(step.instructions, m.instructions);
    assert_int_equal(step.traps, m.traps);
    assert_int_equal(step.direct, 5);
    assert_memory_equal(step.cells, m.cells, 40 * sizeof *m.cells);
    pg_formal_fini(&step);
    pg_program_fini(&p);
}

static void a_machine_has_2_to_65535_cells(void **state)
{
    (void)state;
    struct pg_formal x;
    struct err err;
    assert_int_equal(pg_formal_init(&x, PG_VARIANT_PG, 1, &err), FAIL);
    assert_int_equal(pg_formal_init(&x, PG_VARIANT_PG, 65536, &err), FAIL);
    assert_string_equal(err.text, "a machine of 65536 cells: 2 to 65535 were expected");
    assert_int_equal(pg_formal_init(&x, PG_VARIANT_PG, 65535, &err), OK);
    x.cells[65534] = (uint64_t)PG_OP_HALT << 48;
    x.psw.p = 65534;
    assert_true(pg_formal_run(&x, 1));
    pg_formal_fini(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instructions_do_what_the_table_says),
        cmocka_unit_test(an_operand_outside_the_window_traps_before_anything_is_written),
        cmocka_unit_test(a_trap_swaps_psws_and_keeps_the_place_of_its_instruction),
        cmocka_unit_test(privileged_instructions_trap_in_user_mode),
        cmocka_unit_test(an_address_is_valid_below_the_bound_and_inside_memory),
        cmocka_unit_test(what_is_loaded_into_r_holds_from_the_next_instruction_on),
        cmocka_unit_test(critical_instructions_exist_only_in_their_variants),
        cmocka_unit_test(a_run_stops_at_its_limit_and_goes_on),
        cmocka_unit_test(stepping_is_running),
        cmocka_unit_test(a_machine_has_2_to_65535_cells),
    };
    return cmocka_run_group_tests(tests, NULL, fini);
}
