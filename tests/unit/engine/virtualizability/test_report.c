// links: engine/virtualizability engine/base
/* The renderers, on an analysis that is made by hand: well-formed whatever the file's text is, stable names, what is marked. */
#include "engine/base/base.h"
#include "engine/virtualizability/report.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>
#include <cmocka.h>

static const char spec_text[] =
    "isa: toy\n"
    "title: \"</title><script>alert(1)</script> & \\\"more\\\" \\u00e9\"\n"
    "machine:\n"
    "  word_bits: 16\n"
    "  modes: [s, u]\n"
    "  supervisor: [s]\n"
    "  user: [u]\n"
    "  deprivilege: {s: u, u: u}\n"
    "  memory: {cells: 64}\n"
    "  state:\n"
    "    A: {bits: 16, role: general}\n"
    "    X: {bits: 16, count: 4, role: general}\n"
    "    P: {bits: 16, role: pc}\n"
    "    M: {bits: 1, role: mode}\n"
    "    L: {bits: 16, role: reloc.base}\n"
    "    B: {bits: 16, role: reloc.bound}\n"
    "    IM: {bits: 8, role: resource, tag: 3B}\n"
    "instructions:\n"
    "- name: RDM\n"
    "  operands: {n: 16}\n"
    "  semantics: \"mem[n] = M == s ? 1 : 0;\"\n"
    "  note: \"a <b>note</b> & more\"\n"
    "- name: NOP\n"
    "  semantics: \"A = A;\"\n";

static struct pg_spec *spec;
static struct pg_witness witness;
static struct pg_result results[2];
static struct pg_analysis analysis;
static struct buf out;

static uint32_t cell_of(const char *name)
{
    char text[64];
    for (uint32_t c = 0; c < spec->cell_count; c++) {
        pg_spec_cell_name(spec, c, text, sizeof text);
        if (!strcmp(text, name))
            return c;
    }
    fail_msg("no %s", name);
    return 0;
}

/* One side: the guest in mode s on the bare machine (side 0), in u at k = 20 (side 1); [mem 3] becomes 1 and 0. */
static void make_side(uint32_t i, uint64_t base, uint64_t result)
{
    struct pg_side *s = &witness.side[i];
    s->label = i ? "real machine under the VMM" : "bare machine";
    s->mode = i;
    s->before.cells[cell_of("L")] = base;
    s->before.cells[cell_of("B")] = 16;
    s->before.cells[cell_of("M")] = i;
    assert_true(pg_mem_set(&s->before, PG_PHYS, base + 3, 7));
    s->after = s->before;
    s->after.cells[cell_of("P")] = 1;
    assert_true(pg_mem_set(&s->after, PG_PHYS, base + 3, result));
    witness.diffs[0].place[i] =
        (struct pg_place){.memory = true, .space = PG_PHYS, .address = base + 3};
}

static int make(void **state)
{
    (void)state;
    struct err err = {0};
    static const char *left_out[] = {"time & <caches>"};
    if (pg_spec_parse("dir/toy.yaml", spec_text, sizeof spec_text - 1, &spec, &err))
        fail_msg("%s", err.text);
    make_side(0, 4, 1);
    make_side(1, 24, 0);
    witness.question = PG_Q_HOLE;
    witness.side_count = 2;
    witness.operands[0] = 3;
    witness.guest_at = 20;
    witness.guest_cells = 32;
    witness.memory_cells = 64;
    witness.diffs[0].side = -1;
    witness.diff_count = 1;
    witness.why = "the mode can be read";
    results[0].insn = &spec->insns[0];
    results[0].critical = PG_BOTH;
    results[0].critical_user = PG_DIRECT;
    results[0].rule = "3B";
    results[0].hole[0] = (struct pg_finding){PG_YES, PG_WITNESS, 5, 3, &witness, 0};
    results[0].word[PG_WORD_MODE] = (struct pg_finding){PG_YES, PG_WITNESS, 5, 3, &witness, 0};
    results[0].word[PG_WORD_CONTROL].method = PG_PROVED;
    results[0].word[PG_WORD_RESOURCE] =
        (struct pg_finding){PG_UNDECIDED, PG_OPEN, 1000, 3, NULL, 0};
    results[0].advice[0] = (struct pg_advice){"patch", "put an SVC <there>", false};
    results[0].advice_count = 1;
    results[0].disagreement = "an \"odd\" one";
    results[1].insn = &spec->insns[1];
    results[1].word[PG_WORD_INNOCUOUS] = (struct pg_finding){PG_YES, PG_PROVED, 0, 0, NULL, 0};
    results[1].word[PG_WORD_CONTROL] = (struct pg_finding){PG_NO, PG_BOUNDED, 77, 3, NULL, 0};
    analysis.spec = spec;
    analysis.results = results;
    analysis.result_count = 2;
    analysis.verdict[PG_T1] = PG_FAILS;
    analysis.verdict_why[PG_T1] = "RDM is sensitive and not privileged";
    analysis.verdict[PG_T2] = PG_UNKNOWN;
    analysis.verdict_wrong[PG_T3] = "the file says it fails";
    analysis.critical_count = 1;
    analysis.leaves_out = left_out;
    analysis.leaves_out_count = 1;
    analysis.question_count[PG_PROVED] = 9;
    return 0;
}

static int forget(void **state)
{
    (void)state;
    buf_fini(&out);
    pg_spec_free(spec);
    return 0;
}

/* Render into `out`, as a string. */
static const char *rendered(void (*render)(const struct pg_analysis *, struct buf *))
{
    buf_fini(&out);
    render(&analysis, &out);
    buf_put_u8(&out, 0);
    assert_false(out.failed);
    return (const char *)out.data;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no %s in:\n%s", part, text);
}

/* ---- JSON ---- */

static const char *json_value(const char *p);

static const char *json_space(const char *p)
{
    return p + strspn(p, " \n");
}

static const char *json_string(const char *p)
{
    assert_int_equal(*p++, '"');
    for (; *p != '"'; p++) {
        assert_true((unsigned char)*p >= 0x20);
        if (*p == '\\')
            assert_non_null(strchr("\"\\nu", *++p));
    }
    return p + 1;
}

static const char *json_list(const char *p, char end, bool keys)
{
    p = json_space(p + 1);
    if (*p == end)
        return p + 1;
    for (;;) {
        if (keys) {
            p = json_space(json_string(p));
            assert_int_equal(*p++, ':');
        }
        p = json_space(json_value(json_space(p)));
        if (*p == end)
            return p + 1;
        assert_int_equal(*p, ',');
        p = json_space(p + 1);
    }
}

static const char *json_value(const char *p)
{
    static const char *const words[] = {"true", "false", "null"};
    if (*p == '{')
        return json_list(p, '}', true);
    if (*p == '[')
        return json_list(p, ']', false);
    if (*p == '"')
        return json_string(p);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (!strncmp(p, words[i], strlen(words[i])))
            return p + strlen(words[i]);
    size_t n = strspn(p, "0123456789");
    assert_true(n > 0);
    return p + n;
}

static void json_is_well_formed_and_has_the_stable_names(void **state)
{
    (void)state;
    const char *text = rendered(pg_report_json);
    assert_string_equal(json_space(json_value(text)), "");
    assert_has(text, "\"format\": \"vivarium-isa-report-1\"");
    assert_has(text, "\"title\": \"</title><script>alert(1)</script> & \\\"more\\\" \xc3\xa9\"");
    assert_has(text, "\"theorem_1\": {\n      \"verdict\": \"fails\",\n      \"why\": \"RDM is "
                     "sensitive and not privileged\"");
    assert_has(text, "\"user_sensitive\": {");
    assert_has(text, "\"critical\": \"both\",\n      \"critical_user\": \"direct\"");
    assert_has(
        text,
        "\"answer\": \"no\",\n          \"decided_by\": \"bounded\",\n          \"states\": 77");
    assert_has(text, "\"left\": \"E[7]\",\n              \"right\": \"E[0x1b]\"");
    assert_has(text, "\"operands\": {\n            \"n\": \"0x3\"");
}

/* ---- YAML ---- */

/* Events of the whole text, as libyaml sees them: every scalar, and how deep it stands. */
static void yaml_is_well_formed_and_says_what_json_says(void **state)
{
    (void)state;
    const char *text = rendered(pg_report_yaml);
    yaml_parser_t parser;
    yaml_document_t document;
    assert_true(yaml_parser_initialize(&parser));
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, strlen(text));
    if (!yaml_parser_load(&parser, &document))
        fail_msg("line %zu: %s\n%s", parser.problem_mark.line + 1, parser.problem, text);
    yaml_node_t *root = yaml_document_get_root_node(&document);
    assert_non_null(root);
    assert_int_equal(root->type, YAML_MAPPING_NODE);
    unsigned seen = 0;
    for (yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top;
         p++) {
        yaml_node_t *key = yaml_document_get_node(&document, p->key);
        yaml_node_t *value = yaml_document_get_node(&document, p->value);
        if (!strcmp((char *)key->data.scalar.value, "title")) {
            assert_string_equal((char *)value->data.scalar.value, spec->title);
            seen++;
        }
        if (!strcmp((char *)key->data.scalar.value, "instructions")) {
            assert_int_equal(value->type, YAML_SEQUENCE_NODE);
            assert_int_equal(value->data.sequence.items.top - value->data.sequence.items.start, 2);
            seen++;
        }
    }
    assert_int_equal(seen, 2);
    yaml_document_delete(&document);
    yaml_parser_delete(&parser);
    assert_has(text, "\n          \"n\": \"0x3\"\n"); /* n alone would be a no to some */
    assert_has(text, "\n    witnesses: []");
}

/* ---- HTML ---- */

static void html_escapes_all_text_and_needs_nothing_else(void **state)
{
    (void)state;
    const char *text = rendered(pg_report_html);
    assert_null(strstr(text, "<script"));
    assert_null(strstr(text, "<b>note"));
    assert_null(strstr(text, "http"));
    assert_null(strstr(text, "url("));
    assert_null(strstr(text, "@import"));
    assert_has(text, "<title>&#60;/title&#62;&#60;script&#62;");
    assert_has(text, "a &#60;b&#62;note&#60;/b&#62; &#38; more");
    assert_has(text, "time &#38; &#60;caches&#62;");
    assert_has(text, "put an SVC &#60;there&#62;");
}

/* Elements are closed in the order in which they were opened. */
static void html_is_balanced(void **state)
{
    (void)state;
    static const char *const empty[] = {"meta", "br", "input", "!doctype"};
    const char *p = rendered(pg_report_html);
    char open[100][16];
    int depth = 0;
    for (; (p = strchr(p, '<')); p++) {
        bool closing = p[1] == '/', alone = false;
        char name[16];
        size_t n = strcspn(p + 1 + closing, " >/\n");
        snprintf(name, sizeof name, "%.*s", (int)n, p + 1 + closing);
        for (size_t i = 0; i < ARRAY_LEN(empty); i++)
            alone = alone || !strcmp(name, empty[i]);
        if (alone || strchr(p, '>')[-1] == '/')
            continue;
        if (closing) {
            assert_true(depth > 0);
            assert_string_equal(name, open[--depth]);
        } else {
            assert_true(depth < 100);
            snprintf(open[depth++], sizeof open[0], "%s", name);
        }
    }
    assert_int_equal(depth, 0);
}

static void html_marks_the_cells_that_differ(void **state)
{
    (void)state;
    const char *text = rendered(pg_report_html);
    assert_has(text, "<tr class=\"changed marked\"><th>E[7]</th><th>mem[3]</th><td>7</td><td "
                     "class=\"arrow\">&rarr;</td>"
                     "<td class=\"after\">1</td></tr>");
    assert_has(text, "<tr class=\"changed marked\"><th>E[0x1b]</th><th>mem[3]</th><td>7</td>");
    assert_has(text, "<rect class=\"cell marked\"");
    assert_has(text, "<tr class=\"critical\"><th scope=\"row\"><a href=\"#i0\">RDM</a>");
    assert_has(text, "<tr class=\"innocuous\">");
}

/* ---- words ---- */

static void an_explanation_names_values_and_what_follows(void **state)
{
    (void)state;
    buf_fini(&out);
    pg_explain(&analysis, &results[0], &out);
    buf_put_u8(&out, 0);
    const char *text = (const char *)out.data;
    assert_has(text, "RDM (toy, dir/toy.yaml:19): critical, tag 3B\n");
    assert_has(text, "    mem[n] = M == s ? 1 : 0;\n");
    assert_has(text, "theorem 1 fails");
    assert_has(text, "theorem 3 fails");
    assert_has(text, "and E[0x1b] is 0 (real machine under the VMM)");
    assert_has(text, "- patch: put an SVC <there> (standard advice)\n");
    for (const char *line = text; *line; line = strchrnul(line, '\n') + 1) {
        assert_true(strcspn(line, "\n") <= 100);
        if (!strchr(line, '\n'))
            break;
    }
}

static void a_witness_is_two_states_in_text(void **state)
{
    (void)state;
    buf_fini(&out);
    pg_report_witness(spec, &spec->insns[0], &witness, 2, &out);
    buf_put_u8(&out, 0);
    const char *text = (const char *)out.data;
    assert_has(text, "  operands: n = 3\n");
    assert_has(text, "  the guest's 0x20 cells are the real ones from E[0x14] on\n");
    assert_has(text, "  bare machine: no trap\n");
    assert_has(text, "    * E[7] = mem[3]        7 -> 1\n");
    assert_has(text, "    * E[0x1b] = mem[3]     7 -> 0\n");
    assert_has(text, "      M                    s\n");
}

/* ---- UTF-8 ---- */

static void bytes_that_are_no_utf8_become_replacement_characters(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        uint32_t first;
    } cases[] = {{"a", 'a'},
                 {"\xc3\xa9", 0xe9},
                 {"\xe2\x82\xac", 0x20ac},
                 {"\xf0\x9f\x90\xa7", 0x1f427},
                 {"\x80", 0xfffd},
                 {"\xc0\x80", 0xfffd},
                 {"\xe2\x82", 0xfffd},
                 {"\xed\xa0\x80", 0xfffd},
                 {"\xff", 0xfffd},
                 {"\xf4\x90\x80\x80", 0xfffd},
                 {"", 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *p = cases[i].bytes;
        assert_int_equal(pg_utf8_next(&p), cases[i].first);
        if (cases[i].first != 0xfffd && cases[i].first) {
            buf_fini(&out);
            pg_utf8_put(&out, cases[i].first);
            assert_int_equal(out.len, strlen(cases[i].bytes));
            assert_memory_equal(out.data, cases[i].bytes, out.len);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_that_are_no_utf8_become_replacement_characters),
        cmocka_unit_test(a_witness_is_two_states_in_text),
        cmocka_unit_test(an_explanation_names_values_and_what_follows),
        cmocka_unit_test(json_is_well_formed_and_has_the_stable_names),
        cmocka_unit_test(yaml_is_well_formed_and_says_what_json_says),
        cmocka_unit_test(html_escapes_all_text_and_needs_nothing_else),
        cmocka_unit_test(html_is_balanced),
        cmocka_unit_test(html_marks_the_cells_that_differ),
    };
    return cmocka_run_group_tests(tests, make, forget);
}
