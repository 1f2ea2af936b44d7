// links: engine/ir engine/cpu engine/base
/* The builder's combinations, pruning, the verifier and the text form. */
#include "engine/ir/ir.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <cmocka.h>

static struct ir_block b;
static int at;

static struct ir_op op(uint8_t code, uint8_t size, uint8_t dst, uint8_t x, uint8_t y, int64_t imm)
{
    struct ir_op o = {.op = code,
                      .size = size,
                      .dst = dst,
                      .a = x,
                      .b = y,
                      .c = IR_NONE,
                      .imm = imm,
                      .pc_off = at,
                      .next_off = at + 4,
                      .insns = 1};
    at += 4;
    return o;
}

static void add(uint8_t code, uint8_t size, uint8_t dst, uint8_t x, uint8_t y, int64_t imm)
{
    ir_add(&b, op(code, size, dst, x, y, imm));
}

static void end(void)
{
    add(IR_JUMP, 0, IR_NONE, IR_NONE, IR_NONE, 0x2000);
    ir_prune(&b);
    unsigned where;
    const char *why = ir_verify(&b, &where);
    if (why)
        fail_msg("op %u: %s", where, why);
}

static int reset(void **state)
{
    (void)state;
    ir_init(&b, 0x1000);
    at = 0;
    return 0;
}

static void assert_text(const char *expected)
{
    char text[2000];
    assert_true(ir_print(&b, text, sizeof text) < sizeof text);
    assert_string_equal(text, expected);
}

static void two_shifts_are_an_extension(void **state)
{
    (void)state;
    add(IR_SHL, 8, 15, 15, IR_IMM, 32);
    add(IR_SHR, 8, 15, 15, IR_IMM, 32);
    add(IR_SHL, 8, 14, 13, IR_IMM, 48);
    add(IR_SAR, 8, 14, 14, IR_IMM, 48);
    end();
    assert_text("001000  zext.4 r15, r15\n"
                "00100c  sext.2 r14, r13\n"
                "001010  jump 0x2000\n");
    assert_int_equal(b.ops[0].insns, 2);
}

static void a_scaled_index_goes_into_the_load_that_overwrites_it(void **state)
{
    (void)state;
    add(IR_SHL, 8, 15, 14, IR_IMM, 3);
    add(IR_ADD, 8, 15, 15, 10, 0);
    add(IR_LD, 8, 15, 15, IR_NONE, 16);
    end();
    assert_text("001000  ld.8.k0 r15, r10, r14<<3, 0x10\n"
                "00100c  jump 0x2000\n");
    assert_int_equal(b.ops[0].insns, 3);
}

static void a_rotate_is_found_whatever_stands_between(void **state)
{
    (void)state;
    add(IR_SHR, 4, 14, 10, IR_IMM, 6);
    add(IR_ADD, 8, 20, 20, IR_IMM, 1);
    add(IR_SHL, 4, 15, 10, IR_IMM, 26);
    add(IR_OR, 8, 14, 14, 15, 0);
    add(IR_MOVI, 8, 15, IR_NONE, IR_NONE, 5);
    end();
    assert_text("001004  add.8.k0 r20, r20, #1\n"
                "00100c  ror.4.k0 r14, r10, #6\n"
                "001010  movi r15, 0x5\n"
                "001014  jump 0x2000\n");
}

static void a_rotate_is_not_found_if_the_number_changed_between(void **state)
{
    (void)state;
    add(IR_SHR, 4, 14, 10, IR_IMM, 6);
    add(IR_ADD, 8, 10, 10, IR_IMM, 1);
    add(IR_SHL, 4, 15, 10, IR_IMM, 26);
    add(IR_OR, 8, 14, 14, 15, 0);
    end();
    assert_int_equal(b.ops[3].op, IR_OR);
}

static void constants_are_folded_and_addresses_become_absolute(void **state)
{
    (void)state;
    add(IR_MOVI, 8, 15, IR_NONE, IR_NONE, 0x12000);
    add(IR_ADD, 8, 15, 15, IR_IMM, -16);
    add(IR_LD, 4, 14, 15, IR_NONE, 8);
    end();
    assert_text("001004  movi r15, 0x11ff0\n"
                "001008  ld.4.k0 r14, 0, 0x11ff8\n"
                "00100c  jump 0x2000\n");
}

static void what_a_fault_would_show_is_kept_but_marked_lost(void **state)
{
    (void)state;
    add(IR_MOVI, 8, 15, IR_NONE, IR_NONE, 1);
    add(IR_NOP, 0, IR_NONE, IR_NONE, IR_NONE, 0);
    add(IR_LD, 8, 14, 10, IR_NONE, 0);
    add(IR_MOVI, 8, 15, IR_NONE, IR_NONE, 2);
    end();
    assert_int_equal(b.count, 5);
    assert_true(b.ops[0].flags & IR_LOST);
    assert_false(b.ops[3].flags & IR_LOST);
}

static void what_a_lost_op_is_made_of_must_not_change(void **state)
{
    (void)state;
    add(IR_XOR, 8, 15, 12, 13, 0);
    add(IR_LD, 8, 14, 10, IR_NONE, 0);
    add(IR_ADD, 8, 12, 12, IR_IMM, 1);
    add(IR_LD, 8, 16, 10, IR_NONE, 0);
    add(IR_MOVI, 8, 15, IR_NONE, IR_NONE, 2);
    end();
    assert_int_equal(b.ops[0].op, IR_XOR);
    assert_false(b.ops[0].flags & IR_LOST);
}

static void the_extension_of_a_sum_goes_if_only_its_half_is_used(void **state)
{
    (void)state;
    add(IR_ADD, 4, 15, 12, 13, 0);
    add(IR_LD, 8, 14, 10, IR_NONE, 0);
    add(IR_ADD, 4, 15, 15, 14, 0);
    end();
    assert_true(b.ops[0].flags & IR_LOW);
    assert_false(b.ops[2].flags & IR_LOW);
}

static void a_branch_uses_whole_registers(void **state)
{
    (void)state;
    add(IR_ADD, 4, 15, 12, 13, 0);
    struct ir_op branch = op(IR_BR, 8, IR_NONE, 15, IR_ZERO, 0x3000);
    ir_add(&b, branch);
    add(IR_ADD, 4, 15, 15, 14, 0);
    end();
    assert_false(b.ops[0].flags & IR_LOW);
}

static void sp_writes_are_neither_dropped_nor_passed(void **state)
{
    (void)state;
    add(IR_MOVI, 8, 15, IR_NONE, IR_NONE, 1);
    struct ir_op sp = op(IR_MOV, 8, 2, 8, IR_NONE, 0);
    sp.flags = IR_MAY_EXIT;
    ir_add(&b, sp);
    add(IR_MOVI, 8, 15, IR_NONE, IR_NONE, 2);
    end();
    assert_int_equal(b.count, 4);
}

static void the_verifier_names_what_is_broken(void **state)
{
    (void)state;
    unsigned where;
    assert_string_equal(ir_verify(&b, &where), "empty");
    struct ir_op good = op(IR_ADD, 8, 15, 14, 13, 0),
                 jump = op(IR_JUMP, 0, IR_NONE, IR_NONE, IR_NONE, 0);
    struct {
        struct ir_op o;
        const char *why;
    } bad[] = {
        {op(IR_ADD, 8, IR_F0, 14, 13, 0), "an operand does not fit the op"},
        {op(IR_ADD, 8, IR_NONE, 14, 13, 0), "an operand does not fit the op"},
        {op(IR_FBIN, 8, IR_F0, 1, IR_F0, 0), "an operand does not fit the op"},
        {op(IR_ADD, 2, 15, 14, 13, 0), "size"},
        {op(IR_SEXT, 8, 15, 14, IR_NONE, 0), "size"},
        {op(IR_SHL, 4, 15, 14, IR_IMM, 32), "a shift beyond the width"},
        {op(IR_ROR, 8, 15, 14, 13, 0), "a rotation by a register"},
        {op(IR_ADD, 8, 15, 14, IR_IMM, (int64_t)1 << 40), "an immediate operand beyond 32 bits"},
        {op(IR_SHADD, 8, 15, 14, 13, 0), "kind of shadd"},
        {op(IR_OPCODE_COUNT, 8, 15, 14, 13, 0), "no such op"},
        {jump, "the end is not at the end"},
    };
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        b.ops[0] = good;
        b.ops[1] = bad[i].o;
        b.ops[2] = jump;
        b.count = 3;
        const char *why = ir_verify(&b, &where);
        assert_non_null(why);
        assert_string_equal(why, bad[i].why);
        assert_int_equal(where, 1);
    }
    b.ops[1] = good;
    assert_null(ir_verify(&b, &where));
    b.count = 2;
    assert_string_equal(ir_verify(&b, &where), "the end is not at the end");
}

static void printing_stops_at_the_end_of_the_buffer(void **state)
{
    (void)state;
    add(IR_MOVI, 8, 15, IR_NONE, IR_NONE, 1);
    end();
    char small[10] = "xxxxxxxxx";
    assert_true(ir_print(&b, small, 5) > 5);
    assert_int_equal(strlen(small), 4);
    assert_int_equal(small[5], 'x');
    assert_true(ir_print(&b, NULL, 0) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(two_shifts_are_an_extension, reset),
        cmocka_unit_test_setup(a_scaled_index_goes_into_the_load_that_overwrites_it, reset),
        cmocka_unit_test_setup(a_rotate_is_found_whatever_stands_between, reset),
        cmocka_unit_test_setup(a_rotate_is_not_found_if_the_number_changed_between, reset),
        cmocka_unit_test_setup(constants_are_folded_and_addresses_become_absolute, reset),
        cmocka_unit_test_setup(what_a_fault_would_show_is_kept_but_marked_lost, reset),
        cmocka_unit_test_setup(what_a_lost_op_is_made_of_must_not_change, reset),
        cmocka_unit_test_setup(the_extension_of_a_sum_goes_if_only_its_half_is_used, reset),
        cmocka_unit_test_setup(a_branch_uses_whole_registers, reset),
        cmocka_unit_test_setup(sp_writes_are_neither_dropped_nor_passed, reset),
        cmocka_unit_test_setup(the_verifier_names_what_is_broken, reset),
        cmocka_unit_test_setup(printing_stops_at_the_end_of_the_buffer, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
