// links: engine/isa engine/base
/* The decoder against the table it was made from, the encoder, and the manual's lists of reserved encodings. */
#include "engine/base/base.h"
#include "engine/base/os.h"
#include "engine/isa/isa.h"
#include "engine/isa/isa_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static uint32_t raw_of(const struct isa_field *f, uint32_t word)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < f->seg_count; i++)
        for (unsigned b = f->segs[i].hi + 1u; b-- > f->segs[i].lo;)
            v = v << 1 | (word >> b & 1);
    return v;
}

/* The plainest decoder: every row in turn. */
static unsigned rows_that_match(uint32_t word, uint16_t *form)
{
    unsigned found = 0;
    *form = ISA_RV64_ILLEGAL;
    for (uint16_t i = 1; i < ISA_RV64_FORM_COUNT; i++) {
        const struct isa_form *f = &isa_rv64_forms[i];
        bool match = (word & f->mask) == f->match;
        for (unsigned k = 0; match && k < f->field_count; k++)
            for (unsigned e = 0; e < f->fields[k]->except_count; e++)
                match &= raw_of(f->fields[k], word) != f->fields[k]->except[e];
        if (!match)
            continue;
        found++;
        *form = i;
    }
    return found;
}

static void check_word(uint32_t word)
{
    struct isa_insn d;
    uint16_t form;
    unsigned found = rows_that_match(word, &form);
    bool legal = isa_rv64_decode(word, &d);
    if (found > 1 || legal != (found == 1) || d.form != form)
        print_error("%08x: %u rows, form %u, decoded %u\n", word, found, form, d.form);
    assert_true(found <= 1);
    assert_int_equal(legal, found == 1);
    assert_int_equal(d.form, form);
    assert_int_equal(d.op, isa_rv64_attr(form)->op);
    assert_int_equal(d.len, (word & 3) == 3 ? 4 : 2);
    assert_int_equal(d.raw, d.len == 4 ? word : (word & 0xffff));
}

static void the_decoder_agrees_with_a_search_of_the_table(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 5);
    for (uint32_t w = 0; w < 0x10000; w++)
        if ((w & 3) != 3)
            check_word(w | (uint32_t)rng_next(&rng) << 16);
    for (unsigned i = 0; i < 100000; i++)
        check_word((uint32_t)rng_next(&rng) | 3);
    /* One bit away from something legal is where a decision tree errs. */
    for (uint16_t form = 1; form < ISA_RV64_FORM_COUNT; form++)
        for (unsigned i = 0; i < 200; i++)
            check_word(isa_rv64_random(&rng, form) ^ (uint32_t)(1ull << rng_below(&rng, 33)));
}

static void random_encodings_are_of_the_form_asked_for(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 6);
    for (uint16_t form = 1; form < ISA_RV64_FORM_COUNT; form++) {
        for (unsigned i = 0; i < 500; i++) {
            struct isa_insn d;
            assert_true(isa_rv64_decode(isa_rv64_random(&rng, form), &d));
            assert_int_equal(d.form, form);
        }
    }
}

static void random_operands_reach_every_value(void **state)
{
    (void)state;
    struct rng rng;
    struct isa_insn d;
    rng_seed(&rng, 7);
    uint32_t rd = 0, rs1 = 0, rs2 = 0, rs3 = 0, rm = 0;
    bool least = false, most = false;
    for (unsigned i = 0; i < 5000; i++) {
        isa_rv64_decode(isa_rv64_random(&rng, ISA_RV64_FMADD_D), &d);
        rd |= 1u << d.rd, rs1 |= 1u << d.rs1, rs2 |= 1u << d.rs2, rs3 |= 1u << d.rs3,
            rm |= 1u << d.rm;
        isa_rv64_decode(isa_rv64_random(&rng, ISA_RV64_BEQ), &d);
        least |= d.imm == -4096, most |= d.imm == 4094;
    }
    assert_int_equal(rd & rs1 & rs2 & rs3, UINT32_MAX);
    assert_int_equal(rm, 0x9f);
    assert_true(least && most);
}

static void encoding_undoes_decoding(void **state)
{
    (void)state;
    struct rng rng;
    struct isa_insn d;
    uint32_t back;
    rng_seed(&rng, 8);
    for (uint32_t w = 0; w < 0x10000; w++) {
        if ((w & 3) == 3 || !isa_rv64_decode(w, &d))
            continue;
        assert_true(isa_rv64_encode(&d, &back));
        assert_int_equal(back, w);
    }
    for (uint16_t form = 1; form < ISA_RV64_FORM_COUNT; form++) {
        for (unsigned i = 0; i < 200; i++) {
            uint32_t w = isa_rv64_random(&rng, form);
            isa_rv64_decode(w, &d);
            assert_true(isa_rv64_encode(&d, &back));
            assert_int_equal(back, w);
        }
    }
}

static void operands_that_do_not_fit_are_not_encoded(void **state)
{
    (void)state;
    uint32_t w = 0xdead;
    const struct isa_insn bad[] = {
        {.form = ISA_RV64_ADDI, .imm = 2048},
        {.form = ISA_RV64_ADDI, .imm = -2049},
        {.form = ISA_RV64_ADDI, .rd = 32},
        {.form = ISA_RV64_BEQ, .imm = 3},
        {.form = ISA_RV64_SLLI, .imm = 64},
        {.form = ISA_RV64_SLLIW, .imm = 32},
        {.form = ISA_RV64_LUI, .imm = 0x1800},
        {.form = ISA_RV64_FADD_S, .rm = 5},
        {.form = ISA_RV64_C_ADDI, .rd = 3, .rs1 = 4, .imm = 1}, /* one field for both */
        {.form = ISA_RV64_C_LWSP, .rd = 3, .rs1 = 4},           /* sp is fixed */
        {.form = ISA_RV64_C_LWSP, .rd = 0, .rs1 = 2},           /* reserved */
        {.form = ISA_RV64_C_LW, .rd = 7, .rs1 = 8},             /* not one of x8..x15 */
        {.form = ISA_RV64_C_ADDI4SPN, .rd = 8, .rs1 = 2},       /* an immediate of 0 is reserved */
        {.form = ISA_RV64_JAL, .rd = 1, .rs1 = 1},              /* has no rs1 */
        {.form = ISA_RV64_ILLEGAL},
        {.form = ISA_RV64_FORM_COUNT},
    };
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(isa_rv64_encode(&bad[i], &w));
    assert_int_equal(w, 0xdead);
}

static void reserved_encodings_are_illegal(void **state)
{
    (void)state;
    static const uint32_t words[] = {
        0x00000000, /* the all-zero parcel */
        0xffffffff,
        0x0000001f, /* longer than 32 bits */
        0x0004,     /* c.addi4spn with nothing to add */
        0x2001,     /* c.addiw x0 */
        0x6101,     /* c.addi16sp 0 */
        0x6081,     /* c.lui ra, 0 */
        0x4002,
        0x6002, /* c.lwsp x0, c.ldsp x0 */
        0x8002, /* c.jr x0 */
        0x8000, /* the reserved row of quadrant 0 */
        0x9c41,
        0x9c61,                /* behind c.addw */
        0x0200101b,            /* slliw with bit 5 of the amount */
        0x0000505b,            /* custom-2 */
        0x02005053,            /* rm 5 */
        0x1005202f | 1u << 20, /* lr.w with an rs2 */
        0x30200073,
        0x10500073, /* mret, wfi: not user mode's */
        0x12000073, /* sfence.vma */
        0x00100173, /* ebreak with an rd */
        0x00001067, /* jalr with funct3 1 */
    };
    for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
        struct isa_insn d;
        if (isa_rv64_decode(words[i], &d))
            print_error("%08x is %s\n", words[i], isa_rv64_attr(d.form)->name);
        assert_false(isa_rv64_decode(words[i], &d));
        assert_int_equal(d.op, ISA_RV64_ILLEGAL);
    }
}

static void hints_decode_as_what_they_expand_to(void **state)
{
    (void)state;
    static const struct {
        uint32_t word;
        uint16_t op;
    } hints[] = {
        {0x0001, ISA_RV64_ADDI}, /* c.nop */
        {0x0005, ISA_RV64_ADDI}, /* c.nop 1 */
        {0x0081, ISA_RV64_ADDI}, /* c.addi ra, 0 */
        {0x4001, ISA_RV64_ADDI}, /* c.li x0 */
        {0x6005, ISA_RV64_LUI},  /* c.lui x0, 1 */
        {0x0002, ISA_RV64_SLLI}, /* c.slli64 x0 */
        {0x8001, ISA_RV64_SRLI}, /* c.srli64 */
        {0x8006, ISA_RV64_ADD},  /* c.mv x0, ra */
        {0x9006, ISA_RV64_ADD},  /* c.add x0, ra */
        {0x0100000f, ISA_RV64_FENCE} /* pause */,
        {0xf330000f, ISA_RV64_FENCE} /* reserved fm */,
        {0x83308f8f & ~0x1000u, ISA_RV64_FENCE_TSO} /* rd and rs1 are to be ignored */,
        {0xfff0900f | 0x80, ISA_RV64_FENCE_I},
    };
    for (unsigned i = 0; i < ARRAY_LEN(hints); i++) {
        struct isa_insn d;
        assert_true(isa_rv64_decode(hints[i].word, &d));
        assert_int_equal(d.op, hints[i].op);
    }
}

static void compressed_forms_decode_to_their_operation(void **state)
{
    (void)state;
    struct isa_insn d;
    assert_true(isa_rv64_decode(0xabcd1141, &d)); /* c.addi sp, -16 below anything */
    assert_int_equal(d.op, ISA_RV64_ADDI);
    assert_int_equal(d.form, ISA_RV64_C_ADDI);
    assert_int_equal(d.len, 2);
    assert_int_equal(d.raw, 0x1141);
    assert_true(d.rd == 2 && d.rs1 == 2 && d.imm == -16);
    assert_true(isa_rv64_decode(0x9082, &d)); /* c.jalr ra */
    assert_true(d.op == ISA_RV64_JALR && d.rd == 1 && d.rs1 == 1 && d.imm == 0);
    assert_true(isa_rv64_decode(0xbffd, &d)); /* c.j -2 */
    assert_true(d.op == ISA_RV64_JAL && d.rd == 0 && d.imm == -2);
    assert_true(isa_rv64_decode(0x7139, &d)); /* c.addi16sp sp, -64 */
    assert_true(d.op == ISA_RV64_ADDI && d.form == ISA_RV64_C_ADDI16SP && d.rd == 2 &&
                d.imm == -64);
}

static void attributes_say_what_the_manual_says(void **state)
{
    (void)state;
    const struct isa_attr *a = isa_rv64_attr(ISA_RV64_C_LDSP);
    assert_string_equal(a->name, "c.ldsp");
    assert_true(a->op == ISA_RV64_LD && a->len == 2 && a->mem == ISA_MEM_LOAD &&
                a->mem_bytes == 8 && a->mem_signed);
    a = isa_rv64_attr(ISA_RV64_FCVT_LU_S);
    assert_true(a->fp_bits == 32 && a->uses_rm && a->sets_flags && a->rd == ISA_OPERAND_X &&
                a->rs1 == ISA_OPERAND_F);
    a = isa_rv64_attr(ISA_RV64_AMOMAXU_W);
    assert_true(a->mem == ISA_MEM_AMO && a->mem_bytes == 4 && a->rs2 == ISA_OPERAND_X &&
                a->rs3 == ISA_OPERAND_NONE);
    assert_int_equal(isa_rv64_attr(ISA_RV64_C_EBREAK)->flow, ISA_FLOW_TRAP);
    assert_int_equal(isa_rv64_attr(ISA_RV64_C_EBREAK)->classes, 1u << ISA_CLASS_TRAPPING);
    assert_int_equal(isa_rv64_attr(ISA_RV64_CSRRS)->classes,
                     1u << ISA_CLASS_PRIVILEGED | 1u << ISA_CLASS_RESOURCE);
    assert_int_equal(isa_rv64_attr(ISA_RV64_ADD)->classes, 1u << ISA_CLASS_INNOCUOUS);
    for (uint16_t form = 1; form < ISA_RV64_FORM_COUNT; form++) {
        a = isa_rv64_attr(form);
        assert_int_equal(isa_rv64_form_by_name(a->name), form);
        assert_true(a->op < ISA_RV64_OP_COUNT);
        assert_true(form >= ISA_RV64_OP_COUNT || a->op == form);
        assert_true((a->mem == ISA_MEM_NONE) == (a->mem_bytes == 0));
    }
    assert_int_equal(isa_rv64_form_by_name("nonsense"), ISA_RV64_ILLEGAL);
}

static void a_short_buffer_is_not_overrun_by_the_disassembler(void **state)
{
    (void)state;
    struct isa_insn d;
    char text[64];
    assert_true(isa_rv64_decode(0x7aa58fc3, &d)); /* fmadd.d ... */
    size_t whole = isa_rv64_disasm(&d, 0, text, sizeof text);
    assert_int_equal(whole, strlen(text));
    for (size_t n = 0; n <= whole; n++) {
        char small[64];
        memset(small, '#', sizeof small);
        assert_int_equal(isa_rv64_disasm(&d, 0, small, n), whole);
        assert_int_equal(small[n], '#');
        assert_true(!n || strlen(small) == n - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compressed_forms_decode_to_their_operation),
        cmocka_unit_test(reserved_encodings_are_illegal),
        cmocka_unit_test(hints_decode_as_what_they_expand_to),
        cmocka_unit_test(the_decoder_agrees_with_a_search_of_the_table),
        cmocka_unit_test(random_encodings_are_of_the_form_asked_for),
        cmocka_unit_test(random_operands_reach_every_value),
        cmocka_unit_test(encoding_undoes_decoding),
        cmocka_unit_test(operands_that_do_not_fit_are_not_encoded),
        cmocka_unit_test(attributes_say_what_the_manual_says),
        cmocka_unit_test(a_short_buffer_is_not_overrun_by_the_disassembler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
