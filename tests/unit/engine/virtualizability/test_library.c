// links: engine/virtualizability engine/base
/* The instruction sets of etc/isa: what their files expect comes out, and what the literature says of them is in them. */
#include "engine/base/base.h"
#include "engine/virtualizability/analysis.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define LIBRARY VV_SOURCE_DIR "/etc/isa/"
#define FILES_MAX 64

struct checked {
    char *name; /* without .yaml */
    struct pg_spec *spec;
    struct pg_analysis *analysis;
};
static struct checked files[FILES_MAX];
static unsigned file_count;

static void check_file(const char *name, size_t len)
{
    char path[512];
    struct err err;
    struct pg_options options = {0};
    struct checked *c = &files[file_count];
    assert_true(file_count < FILES_MAX);
    c->name = strndup(name, len);
    snprintf(path, sizeof path, LIBRARY "%s", name);
    if (pg_spec_load(path, &c->spec, &err) != OK)
        fail_msg("%s", err.text);
    if (pg_analyse(c->spec, &options, &c->analysis, &err) != OK)
        fail_msg("%s: %s", path, err.text);
    file_count++;
}

static int load_library(void **state)
{
    (void)state;
    DIR *dir = opendir(LIBRARY);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        const char *dot = strrchr(e->d_name, '.');
        if (dot && !strcmp(dot, ".yaml"))
            check_file(e->d_name, (size_t)(dot - e->d_name));
    }
    closedir(dir);
    return 0;
}

static int free_library(void **state)
{
    (void)state;
    for (unsigned i = 0; i < file_count; i++) {
        free(files[i].name);
        pg_analysis_free(files[i].analysis);
        pg_spec_free(files[i].spec);
    }
    return 0;
}

static const struct checked *find_file(const char *name)
{
    for (unsigned i = 0; i < file_count; i++)
        if (!strcmp(files[i].name, name))
            return &files[i];
    fail_msg("etc/isa/%s.yaml is not there", name);
    return NULL;
}

static void every_file_gets_what_it_expects(void **state)
{
    (void)state;
    unsigned wrong = 0;
    for (unsigned i = 0; i < file_count; i++) {
        const struct pg_analysis *a = files[i].analysis;
        for (uint32_t k = 0; k < a->result_count; k++) {
            const struct pg_result *r = &a->results[k];
            bool critical = r->insn->expect[PG_WORD_CRITICAL] > 0;
            if (!r->expect_wrong && critical == pg_is(r, PG_WORD_CRITICAL))
                continue;
            print_error("%s, %s: %s\n", files[i].name, r->insn->name,
                        r->expect_wrong ? r->expect_wrong : "critical or not");
            wrong++;
        }
        for (int t = 0; t < PG_THEOREM_COUNT; t++) {
            if (!a->verdict_wrong[t])
                continue;
            print_error("%s: %s\n", files[i].name, a->verdict_wrong[t]);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

static void every_row_says_what_it_expects_and_where_that_is_from(void **state)
{
    (void)state;
    for (unsigned i = 0; i < file_count; i++) {
        const struct pg_spec *s = files[i].spec;
        assert_non_null(s->source);
        for (uint32_t k = 0; k < s->insn_count; k++) {
            if (!s->insns[k].has_expect || !s->insns[k].source)
                print_error("%s, %s\n", files[i].name, s->insns[k].name);
            assert_true(s->insns[k].has_expect);
            assert_non_null(s->insns[k].source);
        }
        for (int t = PG_T1; t < PG_THEOREM_COUNT; t++)
            assert_true(t == PG_T2 || s->has_verdict[t]);
    }
}

/* Theorems 1 and 3 and the direct conditions, from the literature and from what follows of it. */
static void the_verdicts_are_the_published_ones(void **state)
{
    (void)state;
    const enum pg_verdict H = PG_HOLDS, F = PG_FAILS;
    const struct {
        const char *name;
        enum pg_verdict t1, t3, direct1, direct3;
    } published[] = {
        {"pdp10", F, H, F, H},  {"pdp10-uio", F, F, F, F}, {"s370", H, H, H, H},
        {"m68000", F, F, F, F}, {"m68010", H, H, H, H},    {"ia32", F, F, F, F},
        {"ia64", F, F, F, F},   {"sparcv9", H, H, F, H},   {"sun4v", H, H, H, H},
        {"rv-s", H, H, H, H},   {"rv-h", H, H, H, H},      {"armv7", F, F, F, F},
        {"vax", F, F, F, F},    {"pdp11-45", F, F, F, F},  {"mips", F, H, H, H},
        {"pg", H, H, H, H},     {"pg-retu", F, H, F, H},   {"pg-lra", F, F, F, F},
    };
    for (size_t i = 0; i < ARRAY_LEN(published); i++) {
        const enum pg_verdict *v = find_file(published[i].name)->analysis->verdict;
        if (v[PG_T1] != published[i].t1 || v[PG_T3] != published[i].t3 ||
            v[PG_DIRECT_T1] != published[i].direct1 || v[PG_DIRECT_T3] != published[i].direct3)
            fail_msg("%s: T1 %s, T3 %s, direct T1 %s, T3 %s", published[i].name,
                     pg_verdict_name(v[PG_T1]), pg_verdict_name(v[PG_T3]),
                     pg_verdict_name(v[PG_DIRECT_T1]), pg_verdict_name(v[PG_DIRECT_T3]));
    }
}

/* The critical rows whose tag is not `beyond`, each as ", name" in the order of the file; of a name, the part before the
 * first space if only_mnemonic, and then each once. */
static void critical_list(const char *file, const char *beyond, bool only_mnemonic, char out[4096])
{
    const struct pg_analysis *a = find_file(file)->analysis;
    size_t n = 0;
    out[0] = 0;
    for (uint32_t k = 0; k < a->result_count; k++) {
        const struct pg_insn *insn = a->results[k].insn;
        char name[80];
        if (!pg_is(&a->results[k], PG_WORD_CRITICAL) ||
            (beyond && insn->tag && !strcmp(insn->tag, beyond)))
            continue;
        int len = only_mnemonic ? (int)strcspn(insn->name, " ") : (int)strlen(insn->name);
        snprintf(name, sizeof name, "|%.*s|", len, insn->name);
        if (strstr(out, name))
            continue;
        n += (size_t)snprintf(out + n, 4096 - n, "%s", name);
        assert_true(n < 4096);
    }
}

static void the_critical_lists_are_the_published_ones(void **state)
{
    (void)state;
    static const struct {
        const char *file, *beyond;
        bool only_mnemonic;
        const char *list;
    } lists[] = {
        {"m68000", NULL, false, "|MOVE from SR|"},
        {"pdp10", NULL, false, "|JRST 1,||JRST 2,||JSR||JSP||PUSHJ|"},
        {"ia32", "beyond R&I", true,
         "|SGDT||SIDT||SLDT||SMSW||PUSHF||POPF||LAR||LSL||VERR||VERW||POP||MOV||PUSH||CALL||JMP||"
         "INT|"
         "|RET||STR|"},
        {"ia64", "beyond privify", false,
         "|mov r=ar.cflg||mov r=ar.k||fc||thash||ttag||mov r=cpuid[]||mov r=pmd[]||cover|"},
        {"sparcv9", NULL, false, "|SIR|"},
        {"pg-retu", NULL, false, "|RETU|"},
        {"pg-lra", NULL, false, "|LRA|"},
        {"pdp11-45", NULL, false, "|RTI||RTT||SPL||RESET||MFPI||MFPD||MTPI||MTPD|"},
    };
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        char got[4096];
        critical_list(lists[i].file, lists[i].beyond, lists[i].only_mnemonic, got);
        assert_string_equal(got, lists[i].list);
    }
}

static void hardly_anything_is_left_undecided(void **state)
{
    (void)state;
    uint32_t all = 0, undecided = 0;
    for (unsigned i = 0; i < file_count; i++) {
        all += files[i].analysis->result_count;
        undecided += files[i].analysis->undecided_count;
    }
    print_message("%u instructions, %u undecided without z3\n", all, undecided);
    assert_true(undecided * 100 <= all * 3);
}

/* The first ```yaml block of the manual. */
static void the_manual_s_example_does_what_the_manual_says(void **state)
{
    (void)state;
    static char text[65536];
    struct pg_spec *spec = NULL;
    struct pg_analysis *a = NULL;
    struct err err;
    struct pg_options options = {0};
    FILE *f = fopen(LIBRARY "README.md", "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    char *from = strstr(text, "```yaml\n");
    assert_non_null(from);
    from += strlen("```yaml\n");
    char *to = strstr(from, "```");
    assert_non_null(to);
    if (pg_spec_parse("README.md", from, (size_t)(to - from), &spec, &err) != OK ||
        pg_analyse(spec, &options, &a, &err) != OK)
        fail_msg("%s", err.text);
    assert_int_equal(a->expect_wrong_count, 0);
    assert_int_equal(a->critical_count, 2);
    assert_int_equal(pg_exit_code(a), 1);
    pg_analysis_free(a);
    pg_spec_free(spec);
}

/* The same file with one word changed: what the VMM configures, and what it lets the hardware keep, decides. */
static bool critical_after_change(const char *file, const char *from, const char *to,
                                  const char *insn)
{
    static char text[1 << 18], changed[1 << 18];
    char path[512];
    struct pg_spec *spec = NULL;
    struct pg_analysis *a = NULL;
    struct err err;
    struct pg_options options = {.only = insn};
    snprintf(path, sizeof path, LIBRARY "%s.yaml", file);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    const char *at = strstr(text, from);
    assert_non_null(at);
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    if (pg_spec_parse(path, changed, strlen(changed), &spec, &err) != OK ||
        pg_analyse(spec, &options, &a, &err) != OK)
        fail_msg("%s", err.text);
    assert_int_equal(a->result_count, 1);
    bool critical = pg_is(&a->results[0], PG_WORD_CRITICAL);
    pg_analysis_free(a);
    pg_spec_free(spec);
    return critical;
}

static void what_the_vmm_configures_decides(void **state)
{
    (void)state;
    static const struct {
        const char *file, *from, *to, *insn;
        bool before;
    } changes[] = {
        {"ia32", "UMIP == 0", "UMIP == 1", "SGDT", true},
        {"ia32", "TSD == 1", "TSD == 0", "RDTSC", false},
        {"ia32", "IOPL == 0", "IOPL == 3", "CLI", false},
        {"rv-s", "SCNT == 0", "SCNT == 7", "csrrs time", false},
        {"rv-s", "vmm: identity, tag: psw", "tag: psw", "fadd.d", false},
        {"rv-h", "VTVM == 1", "VTVM == 0", "csrrw satp", false},
        {"rv-h", ", vmm: in VSST", "", "csrrs sstatus", false},
        {"sparcv9", "NPT == 1", "NPT == 0", "RDTICK", false},
        {"vax", "PTEM: {bits: 1, role: resource", "PTEM: {bits: 1, role: resource, vmm: identity",
         "MOVL to memory", true},
        {"armv7", "PMUSEREN == 0", "PMUSEREN == 1", "MRC p15 PMCCNTR", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        bool before = critical_after_change(changes[i].file, changes[i].from, changes[i].from,
                                            changes[i].insn);
        bool after =
            critical_after_change(changes[i].file, changes[i].from, changes[i].to, changes[i].insn);
        if (before != changes[i].before || after == before)
            print_error("%s, %s: %d, then %d\n", changes[i].file, changes[i].insn, before, after);
        assert_int_equal(before, changes[i].before);
        assert_int_not_equal(before, after);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_says_what_it_expects_and_where_that_is_from),
        cmocka_unit_test(every_file_gets_what_it_expects),
        cmocka_unit_test(the_verdicts_are_the_published_ones),
        cmocka_unit_test(the_critical_lists_are_the_published_ones),
        cmocka_unit_test(what_the_vmm_configures_decides),
        cmocka_unit_test(hardly_anything_is_left_undecided),
        cmocka_unit_test(the_manual_s_example_does_what_the_manual_says),
    };
    return cmocka_run_group_tests(tests, load_library, free_library);
}
