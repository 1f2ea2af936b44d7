// links: client/vmctl proto engine/base
#include "client/vmctl/config.h"
#include "client/vmctl/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static char dir[] = "/tmp/test_config.XXXXXX";

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    unsetenv("VMCTL_HOST"), unsetenv("VMCTL_CONTEXT"), unsetenv("VMD_SOCKET"),
        unsetenv("VMCTL_TLS_CA");
    return setenv("XDG_CONFIG_HOME", dir, 1);
}

static int teardown(void **state)
{
    (void)state;
    char line[100];
    snprintf(line, sizeof line, "rm -rf %s", dir);
    return system(line);
}

static const char *refused(const char *yaml)
{
    static struct err err;
    struct ctl_config c = {0};
    arena_init(&c.arena, 0);
    err.text[0] = 0;
    if (!ctl_config_parse(&c, "f", yaml, strlen(yaml), &err))
        strcpy(err.text, "taken");
    ctl_config_fini(&c);
    return err.text;
}

static void mistakes_are_named_with_their_place(void **state)
{
    (void)state;
    assert_string_equal(refused(""), "taken");
    assert_string_equal(refused("current: x\n"), "taken");
    assert_string_equal(refused("contexts:\n  a:\n    host: unix:///x\n"), "taken");
    assert_string_equal(refused("curent: x\n"),
                        "f:1:1: unknown key \"curent\"; did you mean current");
    assert_string_equal(refused("a: x\n"),
                        "f:1:1: unknown key \"a\"; there is: current, detach-keys, contexts");
    assert_string_equal(refused("- x\n"), "f:1:1: a map (\"key: value\" lines) was expected");
    assert_string_equal(refused("current: [x]\n"), "f:1:10: one word was expected");
    assert_string_equal(refused("current: a\ncurrent: b\n"), "f:2:1: this key stands here twice");
    assert_string_equal(refused("contexts:\n  a:\n    hots: x\n"),
                        "f:3:5: unknown key \"hots\"; did you mean host");
    assert_string_equal(refused("contexts:\n  a:\n    ca: x\n"), "f:4:1: this context has no host");
    assert_string_equal(refused("contexts:\n  a: {host: x}\n  a: {host: y}\n"),
                        "f:3:3: there is a context of this name already");
    assert_non_null(strstr(refused("current: &a x\ncontexts: *a\n"), "aliases are not taken here"));
    assert_non_null(strstr(refused("a: [\n"), "f:"));
}

static void what_is_saved_is_read_again(void **state)
{
    (void)state;
    struct ctl_config c;
    struct ctl_context *x;
    struct err err;
    struct stat st;
    assert_int_equal(ctl_config_load(&c, &err), OK);
    assert_null(c.contexts);
    assert_int_equal(ctl_config_add(&c, "lab", &x, &err), OK);
    x->host = "tcp+tls://h:1";
    x->key = "/a b/\"c\"";
    assert_int_equal(ctl_config_add(&c, "yes", &x, &err), OK);
    x->host = "unix:///s";
    c.current = "lab";
    assert_int_equal(ctl_config_save(&c, &err), OK);
    assert_int_equal(stat(c.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    ctl_config_fini(&c);
    assert_int_equal(ctl_config_load(&c, &err), OK);
    assert_string_equal(c.current, "lab");
    assert_string_equal(ctl_config_find(&c, "lab")->key, "/a b/\"c\"");
    assert_string_equal(ctl_config_find(&c, "yes")->host, "unix:///s");
    ctl_config_fini(&c);
}

/* Where "vmctl LINE" goes. */
static const char *endpoint(const char *line)
{
    static char out[PB_PATH_MAX + 300];
    static char words[200];
    struct ctl_args a;
    struct ctl_endpoint e;
    struct err err;
    char *argv[16] = {(char[]){"vmctl"}};
    int argc = 1, code;
    strcpy(words, line);
    for (char *w = strtok(words, " "); w; w = strtok(NULL, " "))
        argv[argc++] = w;
    assert_int_equal(ctl_parse(argc, argv, &a, &code), 0);
    if (ctl_endpoint_find(&e, &a, &err))
        snprintf(out, sizeof out, "error: %s", err.text);
    else if (e.tcp)
        snprintf(out, sizeof out, "%s %s %s", e.host, e.port, e.key);
    else
        snprintf(out, sizeof out, "%s%s", e.own ? "own " : "", e.path);
    free(a.given);
    free(a.pos);
    return out;
}

static void flags_go_before_the_environment_and_that_before_the_configuration(void **state)
{
    (void)state;
    assert_string_equal(endpoint("ps"), "h 1 /a b/\"c\""); /* as saved above */
    assert_string_equal(endpoint("--context yes ps"), "/s");
    assert_string_equal(endpoint("ps --context=default") + 0, endpoint("ps --context default"));
    assert_memory_equal(endpoint("ps --context default"), "own ", 4);
    assert_string_equal(endpoint("ps --context lba"),
                        "error: no context \"lba\"; did you mean \"lab\"?");
    setenv("VMD_SOCKET", "/env", 1);
    assert_string_equal(endpoint("ps"), "/env");
    setenv("VMCTL_HOST", "unix:///host", 1);
    assert_string_equal(endpoint("ps"), "/host");
    assert_string_equal(endpoint("ps --context yes"), "/s");
    assert_string_equal(endpoint("ps -H ./here"), "./here");
    assert_string_equal(endpoint("ps --socket here"), "here");
    assert_string_equal(endpoint("-H tcp+tls://[::1]:99 ps --tls-key k"), "::1 99 k");
    assert_string_equal(endpoint("-H tcp+tls://x:2 --context lab ps"), "x 2 /a b/\"c\"");
    unsetenv("VMD_SOCKET"), unsetenv("VMCTL_HOST");
    setenv("VMCTL_CONTEXT", "yes", 1);
    assert_string_equal(endpoint("ps"), "/s");
    unsetenv("VMCTL_CONTEXT");
}

static void addresses_that_are_none_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "x",
                                      "tcp://h:1",
                                      "tcp+tls://h",
                                      "tcp+tls://:1",
                                      "tcp+tls://h:0",
                                      "tcp+tls://h:99999",
                                      "tcp+tls://h:1/x",
                                      "tcp+tls://[::1",
                                      "unix://",
                                      "http://h:1/"};
    struct ctl_endpoint e;
    struct err err;
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(ctl_endpoint_parse(&e, bad[i], &err), FAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_are_named_with_their_place),
        cmocka_unit_test(what_is_saved_is_read_again),
        cmocka_unit_test(flags_go_before_the_environment_and_that_before_the_configuration),
        cmocka_unit_test(addresses_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
