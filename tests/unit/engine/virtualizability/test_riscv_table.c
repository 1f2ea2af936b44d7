// links: engine/isa engine/virtualizability engine/base
/*
 * What the engine's instruction table claims of privilege and sensitivity, against the analysis of etc/isa/rv-s.yaml.
 *
 * A row of the specification belongs to the operation that its first word names; of a CSR instruction the second word names
 * the CSR, and the table speaks of those that user mode has. The classes of an operation are those of its rows together:
 * what is sensitive in one is sensitive; it is innocuous if none is, and trapping if all are.
 */
#include "engine/base/base.h"
#include "engine/isa/isa.h"
#include "engine/virtualizability/analysis.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* The two vocabularies are one. */
_Static_assert((int)ISA_CLASS_TRAPPING == (int)PG_WORD_TRAPPING, "words.def");
_Static_assert((int)ISA_CLASS_COUNT == (int)PG_WORD_COUNT, "words.def");

static struct pg_spec *spec;
static struct pg_analysis *analysis;

static int analyse(void **state)
{
    (void)state;
    struct err err;
    struct pg_options options = {0};
    if (pg_spec_load(VV_SOURCE_DIR "/etc/isa/rv-s.yaml", &spec, &err) != OK ||
        pg_analyse(spec, &options, &analysis, &err) != OK)
        fail_msg("%s", err.text);
    return 0;
}

static int forget(void **state)
{
    (void)state;
    pg_analysis_free(analysis);
    pg_spec_free(spec);
    return 0;
}

static bool is_user_csr(const char *name)
{
    for (unsigned n = 0; n < 4096; n++) {
        const char *known = isa_rv64_csr_name(n);
        if (known && !strcmp(known, name))
            return !(n >> 8 & 3);
    }
    return false;
}

/* The operation whose row this is, or 0. */
static uint16_t operation_of(const char *row)
{
    char name[64];
    snprintf(name, sizeof name, "%s", row);
    char *space = strchr(name, ' ');
    if (space) {
        *space = 0;
        if (!is_user_csr(space + 1))
            return ISA_RV64_ILLEGAL;
    }
    return isa_rv64_form_by_name(name);
}

static unsigned classes_of(const struct pg_result *r)
{
    static const enum pg_word words[] = {PG_WORD_PRIVILEGED, PG_WORD_CONTROL,  PG_WORD_LOCATION,
                                         PG_WORD_MODE,       PG_WORD_RESOURCE, PG_WORD_INNOCUOUS,
                                         PG_WORD_TRAPPING};
    unsigned classes = 0;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (pg_is(r, words[i]))
            classes |= 1u << words[i];
    return pg_is(r, PG_WORD_TRAPPING) ? 1u << PG_WORD_TRAPPING : classes;
}

static unsigned together(unsigned classes)
{
    unsigned innocuous = 1u << PG_WORD_INNOCUOUS, trapping = 1u << PG_WORD_TRAPPING;
    if (classes & ~(innocuous | trapping))
        return classes & ~(innocuous | trapping);
    return classes & innocuous ? innocuous : classes;
}

static void the_engine_s_table_claims_what_the_analysis_finds(void **state)
{
    (void)state;
    static unsigned found[ISA_RV64_OP_COUNT];
    unsigned wrong = 0;
    for (uint32_t k = 0; k < analysis->result_count; k++) {
        uint16_t op = operation_of(analysis->results[k].insn->name);
        if (op)
            found[op] |= classes_of(&analysis->results[k]);
    }
    for (uint16_t op = 1; op < ISA_RV64_OP_COUNT; op++) {
        const struct isa_attr *a = isa_rv64_attr(op);
        if (together(found[op]) != a->classes) {
            print_error("%s: the table claims %#x, the analysis finds %#x\n", a->name, a->classes,
                        together(found[op]));
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

static void every_operation_of_the_engine_is_in_the_specification(void **state)
{
    (void)state;
    unsigned missing = 0;
    for (uint16_t op = 1; op < ISA_RV64_OP_COUNT; op++) {
        bool there = false;
        for (uint32_t k = 0; !there && k < spec->insn_count; k++)
            there = operation_of(spec->insns[k].name) == op;
        if (!there)
            print_error("%s\n", isa_rv64_attr(op)->name);
        missing += !there;
    }
    assert_int_equal(missing, 0);
}

/* The engine runs user programs: an instruction of the supervisor's must not decode. */
static void no_instruction_of_the_supervisor_is_in_the_table(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < analysis->result_count; k++) {
        const struct pg_result *r = &analysis->results[k];
        if (pg_is(r, PG_WORD_PRIVILEGED) && !strchr(r->insn->name, ' '))
            assert_int_equal(operation_of(r->insn->name), ISA_RV64_ILLEGAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_engine_s_table_claims_what_the_analysis_finds),
        cmocka_unit_test(every_operation_of_the_engine_is_in_the_specification),
        cmocka_unit_test(no_instruction_of_the_supervisor_is_in_the_table),
    };
    return cmocka_run_group_tests(tests, analyse, forget);
}
