// links: client/vmctl proto engine/base
#include "client/vmctl/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static struct ctl_args a;
static int code;

/* Parse a line of words; true if there is a command to run. */
static bool parse(const char *line)
{
    static char words[512];
    static char *argv[64];
    int argc = 0;
    free(a.given);
    free(a.pos);
    a = (struct ctl_args){0};
    strcpy(words, line);
    for (char *w = strtok(words, " "); w; w = strtok(NULL, " "))
        argv[argc++] = w;
    argv[argc] = NULL;
    return ctl_parse(argc, argv, &a, &code) == 0;
}

static void options_and_arguments_are_told_apart(void **state)
{
    (void)state;
    assert_true(parse("vmctl run --image=b -ti --name x -eA=1 -e B=2 -m64M sh -c --name"));
    assert_string_equal(a.command->words, "run");
    assert_string_equal(ctl_value(&a, OPT_IMAGE), "b");
    assert_string_equal(ctl_value(&a, OPT_NAME), "x");
    assert_true(ctl_has(&a, OPT_TTY) && ctl_has(&a, OPT_INTERACTIVE) && !ctl_has(&a, OPT_RM));
    assert_string_equal(ctl_value(&a, OPT_ENV), "B=2");
    assert_int_equal(a.pos_count, 3);
    assert_string_equal(a.pos[2], "--name");
    assert_true(parse("vmctl run --image b -- -x"));
    assert_string_equal(a.pos[0], "-x");
    assert_true(parse("vmctl stop a --grace 2 b"));
    assert_int_equal(a.pos_count, 2);
    assert_true(parse("vmctl image import d --name n"));
    assert_string_equal(a.command->words, "image import");
}

static void wrong_usage_is_code_2(void **state)
{
    (void)state;
    static const char *const bad[] = {"vmctl",
                                      "vmctl nosuch",
                                      "vmctl image",
                                      "vmctl image nosuch",
                                      "vmctl --nosuch ps",
                                      "vmctl stop",
                                      "vmctl -H",
                                      "vmctl ps x",
                                      "vmctl ps --nosuch",
                                      "vmctl ps -z",
                                      "vmctl ps --all=1",
                                      "vmctl stop --grace",
                                      "vmctl run --image"};
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(parse(bad[i]));
        assert_int_equal(code, 2);
    }
    assert_false(parse("vmctl run --help"));
    assert_int_equal(code, 0);
}

static void sizes_numbers_and_seconds_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"1", 1}, {"64M", 64 << 20}, {"1g", 1 << 30}, {"2KiB", 2048}, {"3MB", 3 << 20}};
    char line[100];
    for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
        uint64_t v = 0;
        snprintf(line, sizeof line, "vmctl run -m %s x", good[i].text);
        assert_true(parse(line));
        assert_int_equal(ctl_bytes(&a, OPT_MEMORY, &v, NULL), OK);
        assert_int_equal(v, good[i].bytes);
    }
    static const char *const bad[] = {"0",        "-1", "x", "1Q", "1MM", "99999999999999999999",
                                      "99999999T"};
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        uint64_t v = 7;
        snprintf(line, sizeof line, "vmctl run --memory=%s x", bad[i]);
        assert_true(parse(line));
        assert_int_equal(ctl_bytes(&a, OPT_MEMORY, &v, NULL), FAIL);
        assert_int_equal(v, 7);
    }
    static const struct {
        const char *text;
        uint64_t ns;
    } times[] = {{"0", 0},
                 {"0.25", 250000000},
                 {"10", 10000000000},
                 {"250ms", 250000000},
                 {"1m30.5s", 90500000000},
                 {"1h", 3600000000000},
                 {"1d1ms", 86400001000000}};
    for (unsigned i = 0; i < ARRAY_LEN(times); i++) {
        uint64_t ns = 7;
        snprintf(line, sizeof line, "vmctl stop --grace %s x", times[i].text);
        assert_true(parse(line));
        assert_int_equal(ctl_seconds(&a, OPT_GRACE, &ns, NULL), OK);
        assert_int_equal(ns, times[i].ns);
    }
    static const char *const no_times[] = {"s",     "1x",  "-1",  "1s5", "5m3",  "0x10",
                                           "1.2.3", "1e3", "nan", "ms",  "1e9d", "99999999999d"};
    for (unsigned i = 0; i < ARRAY_LEN(no_times); i++) {
        uint64_t ns = 7;
        snprintf(line, sizeof line, "vmctl stop --grace=%s x", no_times[i]);
        assert_true(parse(line));
        assert_int_equal(ctl_seconds(&a, OPT_GRACE, &ns, NULL), FAIL);
        assert_int_equal(ns, 7);
    }
    uint32_t n = 0;
    assert_true(parse("vmctl run --vcpus 17 x"));
    assert_int_equal(ctl_number(&a, OPT_VCPUS, 16, &n, NULL), FAIL);
}

static void no_two_options_of_a_command_share_a_letter_or_a_name(void **state)
{
    (void)state;
    static const char letters[OPT_COUNT] = {
#define OPTION(id, name, letter, arg, help) [OPT_##id] = letter,
#include "client/vmctl/options.def"
#undef OPTION
    };
    static const char *const names[OPT_COUNT] = {
#define OPTION(id, name, letter, arg, help) [OPT_##id] = name,
#include "client/vmctl/options.def"
#undef OPTION
    };
    for (size_t i = 0; i < ctl_command_count; i++) {
        const struct ctl_command *c = &ctl_commands[i];
        for (size_t k = 0; k < c->option_count; k++)
            for (size_t l = k + 1; l < c->option_count; l++) {
                assert_int_not_equal(c->options[k], c->options[l]);
                char x = letters[c->options[k]], y = letters[c->options[l]];
                assert_true(!x || x != y);
                assert_string_not_equal(names[c->options[k]], names[c->options[l]]);
            }
    }
}

static void an_end_has_its_exit_code(void **state)
{
    (void)state;
    static const struct {
        PbEndKind kind;
        int code, exit_code;
        const char *text;
    } ends[] = {
        {PB_END_KIND_EXIT, 3, 3, "exit 3"},    {PB_END_KIND_SIGNAL, 11, 139, "signal 11 (SIGSEGV)"},
        {PB_END_KIND_LIMIT, 0, 125, "limit"},  {PB_END_KIND_KILLED, 0, 137, "killed"},
        {PB_END_KIND_ERROR, 0, 125, "failed"}, {PB_END_KIND_LOST, 0, 125, "failed"},
    };
    for (unsigned i = 0; i < ARRAY_LEN(ends); i++) {
        PbGuest g = PB_GUEST__INIT;
        PbGuestEnd e = PB_GUEST_END__INIT;
        char text[400];
        e.kind = ends[i].kind;
        e.code = ends[i].code;
        g.end = &e;
        assert_int_equal(ctl_end_code(&g, false), ends[i].exit_code);
        ctl_end_text(&g, text, sizeof text);
        assert_string_equal(text, ends[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_and_arguments_are_told_apart),
        cmocka_unit_test(wrong_usage_is_code_2),
        cmocka_unit_test(sizes_numbers_and_seconds_are_checked),
        cmocka_unit_test(no_two_options_of_a_command_share_a_letter_or_a_name),
        cmocka_unit_test(an_end_has_its_exit_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
