// links: engine/virtualizability engine/base
/* Each witness against a bad variant of the formal machine becomes a guest, and the guest diverges. */
#include "engine/virtualizability/diverge.h"
#include "engine/virtualizability/monitor.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static struct err err;

static struct pg_spec *load(const char *name)
{
    struct pg_spec *spec = NULL;
    char path[300];
    snprintf(path, sizeof path, "%s/etc/isa/%s.yaml", VV_SOURCE_DIR, name);
    if (pg_spec_load(path, &spec, &err))
        fail_msg("%s", err.text);
    return spec;
}

static struct pg_analysis *analyse(const struct pg_spec *spec, uint64_t seed)
{
    const struct pg_options options = {.seed = seed};
    struct pg_analysis *a = NULL;
    if (pg_analyse(spec, &options, &a, &err))
        fail_msg("%s", err.text);
    return a;
}

static const struct pg_result *result_of(const struct pg_analysis *a, const char *name)
{
    for (uint32_t i = 0; i < a->result_count; i++)
        if (!strcmp(a->results[i].insn->name, name))
            return &a->results[i];
    fail_msg("no %s", name);
    return NULL;
}

/* Does the program end, at this depth and under this monitor, as on the bare machine? */
static bool equal(const struct buf *text, enum pg_monitor_kind kind, unsigned depth)
{
    struct pg_program p;
    struct pg_formal start, bare;
    struct pg_nest n;
    if (pg_asm("diverge.pg", (const char *)text->data, text->len, NULL, 0, &p, &err) ||
        pg_program_load(&p, &start, &err) || pg_program_load(&p, &bare, &err) ||
        pg_nest_init(&n, kind, p.variant, p.q, depth, &err))
        fail_msg("%s", err.text);
    assert_true(pg_formal_run(&bare, 1000));
    pg_nest_load(&n, &start);
    bool same =
        pg_formal_run(pg_nest_machine(&n), pg_nest_enough(&n, bare.instructions + bare.traps)) &&
        pg_formal_equal(&bare, pg_nest_guest(&n), NULL);
    pg_nest_fini(&n);
    pg_formal_fini(&bare);
    pg_formal_fini(&start);
    pg_program_fini(&p);
    return same;
}

static void check(const char *isa, const char *insn, bool hybrid_helps)
{
    struct pg_spec *spec = load(isa);
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct pg_analysis *a = analyse(spec, seed);
        struct buf text = {0};
        if (pg_diverge_program(a, result_of(a, insn), &text, &err))
            fail_msg("seed %u: %s", (unsigned)seed, err.text);
        assert_false(equal(&text, PG_MONITOR_BUILTIN, 1));
        assert_false(equal(&text, PG_MONITOR_BUILTIN, 2));
        if (hybrid_helps)
            assert_true(equal(&text, PG_MONITOR_HYBRID, 1));
        buf_fini(&text);
        pg_analysis_free(a);
    }
    pg_spec_free(spec);
}

static void the_witness_against_retu_is_a_guest_that_diverges(void **state)
{
    (void)state;
    check("pg-retu", "RETU", true);
}

static void the_witness_against_lra_is_a_guest_that_diverges(void **state)
{
    (void)state;
    check("pg-lra", "LRA", false);
}

static void what_has_no_hole_gives_no_program(void **state)
{
    (void)state;
    struct pg_spec *spec = load("pg");
    struct pg_analysis *a = analyse(spec, 1);
    struct buf text = {0};
    for (uint32_t i = 0; i < a->result_count; i++) {
        assert_int_equal(pg_diverge_program(a, &a->results[i], &text, &err), FAIL);
        assert_int_equal(err.code, ERR_STATE);
    }
    assert_int_equal(text.len, 0);
    assert_true(pg_diverge_applies(spec));
    pg_analysis_free(a);
    pg_spec_free(spec);
}

static void other_machines_are_refused(void **state)
{
    (void)state;
    struct pg_spec *spec = load("m68000");
    struct pg_analysis *a = analyse(spec, 1);
    struct buf text = {0};
    assert_false(pg_diverge_applies(spec));
    assert_int_equal(pg_diverge_program(a, result_of(a, "MOVE from SR"), &text, &err), FAIL);
    assert_string_equal(err.text,
                        "m68000 is not the formal machine: its guests cannot be run here");
    pg_analysis_free(a);
    pg_spec_free(spec);
}

/* The specification and the machine say the same: every instruction of one is in the other, privileged in both or in none. */
static void the_specifications_name_the_instructions_of_the_machine(void **state)
{
    (void)state;
    static const char *const isas[] = {"pg", "pg-retu", "pg-lra"};
    for (size_t k = 0; k < ARRAY_LEN(isas); k++) {
        struct pg_spec *spec = load(isas[k]);
        struct pg_analysis *a = analyse(spec, 1);
        uint32_t variant_only = 0;
        for (uint32_t op = 0; op < PG_OP_COUNT; op++) {
            const struct pg_op_info *info = pg_op_info(op);
            const struct pg_insn *insn = pg_spec_find(spec, info->name, NULL);
            if (!insn) {
                assert_true(op == PG_OP_RETU || op == PG_OP_LRA);
                continue;
            }
            variant_only += op == PG_OP_RETU || op == PG_OP_LRA;
            assert_int_equal(insn->operand_count, strlen(info->operands));
            assert_int_equal(pg_is(result_of(a, info->name), PG_WORD_PRIVILEGED), info->privileged);
        }
        assert_int_equal(variant_only, k != 0);
        assert_int_equal(spec->insn_count, PG_OP_COUNT - 2 + variant_only);
        pg_analysis_free(a);
        pg_spec_free(spec);
    }
}

/* Number the fields of an instruction as the assembler does: operand i of the file is letter i of formal.def. */
static uint64_t word_of(uint32_t op, const struct pg_run *run)
{
    uint64_t word = (uint64_t)op << 48;
    const char *letters = pg_op_info(op)->operands;
    for (unsigned i = 0; letters[i]; i++)
        word |= letters[i] == 'a' || letters[i] == 'n' ? run->operands[i] << 32
                : letters[i] == 'b'                    ? run->operands[i] << 16
                                                       : run->operands[i];
    return word;
}

static uint64_t next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed * UINT64_C(0x2545f4914f6cdd1d) >> 20;
}

/* One instruction in one random state, by the file's semantics and by the machine, which has it in the cell it fetches. */
static void compare(const struct pg_spec *spec, const struct pg_insn *insn, uint32_t op,
                    enum pg_variant v, uint64_t *seed)
{
    enum { CELLS = 64 };
    struct pg_formal m;
    struct pg_state before = {0}, after;
    struct pg_run run = {.memory_cells = CELLS};
    assert_int_equal(pg_formal_init(&m, v, CELLS, &err), OK);
    struct pg_psw w = {(uint32_t)(next(seed) & 1), 0, (uint32_t)(next(seed) % 24), 0};
    w.b = (uint32_t)(16 + next(seed) % 24);
    w.p = (uint32_t)(next(seed) % w.b);
    for (uint32_t i = 0; i < insn->operand_count; i++)
        run.operands[i] = next(seed) % (insn->operands[i].bits > 16 ? 1000 : 44);
    for (uint32_t i = 0; i < CELLS; i++)
        m.cells[i] = next(seed) % 3 ? next(seed) % 44 : next(seed) << 20 ^ next(seed);
    m.cells[w.l + w.p] = word_of(op, &run);
    for (uint32_t i = 0; i < CELLS && i < PG_MEM_MAX; i++)
        assert_true(pg_mem_set(&before, PG_PHYS, i, m.cells[i]));
    m.psw = w;
    before.cells[spec->regs[spec->mode].first_cell] = w.m;
    before.cells[spec->regs[spec->pc].first_cell] = w.p;
    before.cells[spec->regs[spec->base].first_cell] = w.l;
    before.cells[spec->regs[spec->bound].first_cell] = w.b;
    if (w.l + w.b > PG_MEM_MAX)
        goto out; /* more than a state of the interpreter holds */
    enum pg_outcome outcome = pg_run(spec, insn, &before, &after, &run);
    pg_formal_run(&m, 1);
    if (outcome == PG_TRAP) {
        assert_int_equal(m.traps, 1);
        assert_int_equal(m.cells[0], pg_psw_pack(w));
        goto out;
    }
    assert_int_equal(m.traps, 0);
    if (m.halted)
        goto out;
    assert_int_equal(m.psw.m, after.cells[spec->regs[spec->mode].first_cell]);
    assert_int_equal(m.psw.p, after.cells[spec->regs[spec->pc].first_cell]);
    assert_int_equal(m.psw.l, after.cells[spec->regs[spec->base].first_cell]);
    assert_int_equal(m.psw.b, after.cells[spec->regs[spec->bound].first_cell]);
    for (uint32_t i = 0; i < PG_MEM_MAX; i++) {
        bool there;
        assert_int_equal(m.cells[i], pg_mem_get(&after, PG_PHYS, i, &there));
    }
out:
    pg_formal_fini(&m);
}

static void the_specifications_mean_what_the_machine_does(void **state)
{
    (void)state;
    static const char *const isas[] = {"pg", "pg-retu", "pg-lra"};
    uint64_t seed = 4711;
    for (size_t k = 0; k < ARRAY_LEN(isas); k++) {
        struct pg_spec *spec = load(isas[k]);
        for (uint32_t op = 0; op < PG_OP_COUNT; op++) {
            const struct pg_insn *insn = pg_spec_find(spec, pg_op_info(op)->name, NULL);
            for (int i = 0; insn && i < 2000; i++)
                compare(spec, insn, op, (enum pg_variant)k, &seed);
        }
        pg_spec_free(spec);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_specifications_name_the_instructions_of_the_machine),
        cmocka_unit_test(the_specifications_mean_what_the_machine_does),
        cmocka_unit_test(the_witness_against_retu_is_a_guest_that_diverges),
        cmocka_unit_test(the_witness_against_lra_is_a_guest_that_diverges),
        cmocka_unit_test(what_has_no_hole_gives_no_program),
        cmocka_unit_test(other_machines_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
