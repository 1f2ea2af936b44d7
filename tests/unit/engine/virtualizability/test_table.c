// links: engine/virtualizability engine/base
/* The table for a terminal, and what --diverge prints. */
#include "toy.h"

#include "engine/base/base.h"
#include "engine/virtualizability/report_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static struct buf page(const char *text, bool full, bool diverge)
{
    struct pg_spec *spec = NULL;
    struct pg_analysis *a = NULL;
    struct pg_options options = {0};
    struct buf b = {0};
    struct err err;
    if (pg_spec_parse("t", text, strlen(text), &spec, &err) != OK ||
        pg_analyse(spec, &options, &a, &err) != OK)
        fail_msg("%s", err.text);
    if (diverge)
        pg_report_divergence(a, &b);
    else
        pg_report_table(a, full, &b);
    buf_put_u8(&b, 0);
    assert_false(b.failed);
    pg_analysis_free(a);
    pg_spec_free(spec);
    return b;
}

static void has(const struct buf *b, const char *part)
{
    if (!strstr((const char *)b->data, part))
        fail_msg("\"%s\" is not in:\n%s", part, (const char *)b->data);
}

static void a_line_for_each_instruction_then_verdicts_and_advice(void **state)
{
    (void)state;
    CLEANUP(buf_fini)
    struct buf b = page(TOY INSN("LRA", "A = o + L;") "  remedy: {patch: \"call 7\"}\n" INSN(
                            "NOP", "A = A;") "  expect: [privileged]\n",
                        false, false);
    has(&b, "LRA          critical   su   s u   witness    location\n");
    has(&b, "NOP          innocuous             proved     innocuous\n");
    has(&b, "Theorem 1, virtualizable (paper)   FAILS   1 instruction sensitive");
    has(&b, "  LRA (both, from user mode too)\n    patch: call 7\n");
    has(&b, "    relocate: ");
    has(&b,
        "t:19: NOP: privileged was expected and is not so; not innocuous was expected and is so\n");
    has(&b, "What this says nothing about\n");
}

static void lines_are_short_and_end_in_no_blank(void **state)
{
    (void)state;
    CLEANUP(buf_fini)
    struct buf b =
        page(TOY INSN("RD", "A = IM + (M == s ? 1 : 0);") INSN("SIR", "if M == s { trap r; }"),
             true, false);
    for (const char *s = (char *)b.data; *s;) {
        size_t n = strcspn(s, "\n");
        assert_true(n <= 100 && (n == 0 || s[n - 1] != ' '));
        s += n + (s[n] == '\n');
    }
    has(&b, "why they differ: ");
    has(&b, "real machine under the VMM");
}

static void a_file_cannot_steer_the_terminal(void **state)
{
    (void)state;
    CLEANUP(buf_fini)
    struct buf b =
        page("title: \"a\\e[31mb\\a\"\n" TOY "- name: \"n\\e[2J\"\n  semantics: \"A = L;\"\n"
             "  remedy: {patch: \"x\\x9by\"}\n",
             true, false);
    for (const char *s = (char *)b.data; *s; s++)
        assert_true((unsigned char)*s >= 0x20 || *s == '\n');
    has(&b, "a [31mb");
}

static void each_hole_is_run_again(void **state)
{
    (void)state;
    CLEANUP(buf_fini) struct buf b = page(TOY INSN("LRA", "A = o + L;"), false, true);
    has(&b, "LRA, virtual mode s, really u: ");
    has(&b, "run again: they differ\n");
    CLEANUP(buf_fini) struct buf none = page(TOY INSN("NOP", "A = A;"), false, true);
    has(&none, "Nothing diverges");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_for_each_instruction_then_verdicts_and_advice),
        cmocka_unit_test(lines_are_short_and_end_in_no_blank),
        cmocka_unit_test(a_file_cannot_steer_the_terminal),
        cmocka_unit_test(each_hole_is_run_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
