// links: daemon/manager proto engine/base
/* vmd.yaml: what is right comes out as written, what is wrong is said with its place. */
#include "daemon/manager/config.h"
#include "daemon/manager/config_check.h"
#include "daemon/manager/config_table.h"
#include "daemon/manager/config_value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static struct mgr_config *good(const char *text)
{
    struct mgr_config *c = NULL;
    struct mgr_problems p = {0};
    struct err err;
    if (mgr_config_parse("t", text, strlen(text), &c, &p, &err))
        fail_msg("refused: %.*s", (int)p.text.len, (char *)p.text.data);
    assert_int_equal(p.count, 0);
    return c;
}

/* What is said of a text, without the name in front. */
static char *bad_n(const char *text, size_t n)
{
    struct mgr_config *c = NULL;
    struct mgr_problems p = {0};
    struct err err;
    assert_int_equal(mgr_config_parse("t", text, n, &c, &p, &err), FAIL);
    assert_null(c);
    assert_int_equal(err.code, ERR_INVALID);
    assert_true(p.count > 0);
    assert_int_equal(strncmp(err.text, "t:", 2), 0);
    char *said = strndup((char *)p.text.data, p.text.len);
    mgr_problems_fini(&p);
    return said;
}

static void says(const char *text, const char *expected)
{
    char *said = bad_n(text, strlen(text));
    if (strcmp(said, expected))
        fail_msg("of \"%s\"\nsaid     %sexpected %s", text, said, expected);
    free(said);
}

static void nothing_is_a_configuration(void **state)
{
    (void)state;
    static const char *const nothings[] = {"",
                                           "\n",
                                           "# only a comment\n",
                                           "---\n",
                                           "log:\n",
                                           "{}",
                                           "log:\nlimits:\ntenants:\nlisten:\n"};
    for (size_t i = 0; i < ARRAY_LEN(nothings); i++) {
        struct mgr_config *c = good(nothings[i]);
        assert_int_equal(c->log_level, 1);
        assert_int_equal(c->limits_memory_bytes, 512u << 20);
        assert_int_equal(c->limits_overlay_bytes, 64u << 20);
        assert_true(c->limits_cpu_ns == UINT64_MAX);
        assert_int_equal(c->workers_stop_grace_ns, 2000000000);
        assert_string_equal(c->metrics_listen, "");
        assert_int_equal(c->listen_count, 0);
        assert_int_equal(c->tenants_count, 0);
        mgr_config_free(c);
    }
}

static void values_come_out_as_written(void **state)
{
    (void)state;
    struct mgr_config *c = good("log: {level: debug, format: json, file: /tmp/x}\n"
                                "limits:\n  memory: 3G\n  cpu: 10m\n  wall: none\n  vcpus: 4\n"
                                "workers: {isolation: guest, running_guests: lose, stop_grace: 0}\n"
                                "metrics:\n  listen: \"127.0.0.1:9464\"\n"
                                "daemon: {core_dumps: true}\n");
    assert_int_equal(c->log_level, 0);
    assert_int_equal(c->log_format, MGR_LOG_JSON);
    assert_string_equal(c->log_file, "/tmp/x");
    assert_true(c->limits_memory_bytes == (uint64_t)3 << 30);
    assert_true(c->limits_cpu_ns == 600000000000);
    assert_true(c->limits_wall_ns == UINT64_MAX);
    assert_int_equal(c->limits_vcpus, 4);
    assert_int_equal(c->workers_isolation, MGR_ISOLATE_GUEST);
    assert_int_equal(c->workers_running_guests, MGR_RUNNING_GUESTS_LOSE);
    assert_int_equal(c->workers_stop_grace_ns, 0);
    assert_true(c->daemon_core_dumps);
    mgr_config_free(c);
}

static void tenants_and_listeners_are_lists_of_maps(void **state)
{
    (void)state;
    struct mgr_config *c =
        good("workers: {isolation: guest}\n"
             "tenants:\n- name: a\n  users: [root, 1001]\n  certificates: [x.example, y]\n"
             "  quotas: {guests: 3, memory: 1G}\n- name: b\n  admin: true\n  isolation: tenant\n"
             "listen:\n- unix: /run/x.sock\n  mode: \"0666\"\n- tcp: '[::1]:7443'\n"
             "  certificate: /c\n  key: /k\n  client_ca: /a\n");
    assert_int_equal(c->tenants_count, 2);
    const struct mgr_tenant_config *a = &c->tenants[0], *b = &c->tenants[1];
    assert_string_equal(a->name, "a");
    assert_int_equal(a->uid_count, 2);
    assert_int_equal(a->uids[0], 0);
    assert_int_equal(a->uids[1], 1001);
    assert_int_equal(a->certificate_count, 2);
    assert_string_equal(a->certificates[0], "x.example");
    assert_false(a->admin);
    assert_true(a->isolate_guests); /* workers.isolation is the default */
    assert_int_equal(a->quota[MGR_QUOTA_GUESTS], 3);
    assert_int_equal(a->quota[MGR_QUOTA_MEMORY], 1 << 30);
    assert_true(a->quota[MGR_QUOTA_DISK] == UINT64_MAX);
    assert_true(b->admin);
    assert_false(b->isolate_guests);
    assert_int_equal(c->listen_count, 2);
    assert_int_equal(c->listen[0].mode, 0666);
    assert_string_equal(c->listen[0].tcp, "");
    assert_string_equal(c->listen[1].tcp, "[::1]:7443");
    assert_string_equal(c->listen[1].client_ca, "/a");
    mgr_config_free(c);
}

static void each_wrong_key_is_said_with_place_and_expectation(void **state)
{
    (void)state;
    says("log:\n  levle: info\n", "t:2:3: unknown key \"levle\"; did you mean \"level\"?\n");
    says("lgo:\n", "t:1:1: unknown key \"lgo\"; did you mean \"log\"?\n");
    says("level: info\n", "t:1:1: unknown key \"level\" here; it belongs under \"log\"\n");
    says("log:\n  xyzzy: 1\n",
         "t:2:3: unknown key \"xyzzy\"; expected one of level, format, file\n");
    says("log:\n  level: inof\n", "t:2:10: level: \"inof\" is none of them; did you mean "
                                  "\"info\"?; expected debug, info, warn or "
                                  "error\n");
    says("log: [a]\n", "t:1:6: log: a list; expected a map of keys\n");
    says("log: text\n", "t:1:6: log: a single value; expected a map of keys\n");
    says("limits: {vcpus: 17}\n",
         "t:1:17: vcpus: \"17\" is too large; expected a whole number, 1 to 16\n");
    says("limits: {vcpus: '1'}\n",
         "t:1:17: vcpus: \"1\" in quotes is a text; expected a whole number, 1 to 16\n");
    says("limits: {vcpus: 1.5}\n", "t:1:17: vcpus: \"1.5\" is not a whole number that fits; "
                                   "expected a whole number, 1 to 16\n");
    says("limits: {vcpus: {a: 1}}\n", "t:1:17: vcpus: a map; expected a whole number, 1 to 16\n");
    says("limits: {vcpus: }\n", "t:1:17: vcpus: it has no value (leave the key out for the "
                                "default); expected a whole number, 1 to 16\n");
    says("limits: {memory: 1K}\n", "t:1:18: memory: \"1K\" is too small; expected a size as 64M "
                                   "(K, M, G, T), 1M to 1T\n");
    says(
        "limits: {memory: 99999999999999999999}\n",
        "t:1:18: memory: \"99999999999999999999\" does not begin with a number; expected a size as "
        "64M (K, M, G, T), 1M to 1T\n");
    says("limits: {memory: 18446744073709551615T}\n",
         "t:1:18: memory: \"18446744073709551615T\" is too large; expected a size as 64M (K, M, G, "
         "T), 1M to 1T\n");
    says("limits: {memory: none}\n", "t:1:18: memory: \"none\" does not begin with a number; "
                                     "expected a size as 64M (K, M, G, T), 1M to 1T\n");
    says("limits: {cpu: -5s}\n", "t:1:15: cpu: \"-5s\" is negative; expected a time as 10s (ms, s, "
                                 "m, h, d), at least 1ms, or none\n");
    says("limits: {cpu: 5 s}\n",
         "t:1:15: cpu: \"5 s\": unknown unit \" s\"; expected a time as 10s "
         "(ms, s, m, h, d), at least 1ms, or none\n");
    says("daemon: {core_dumps: on}\n",
         "t:1:22: core_dumps: \"on\" is neither; expected true or false\n");
    says("daemon: {state: var}\n",
         "t:1:17: state: \"var\" is not absolute; expected an absolute path\n");
    says("log: {level: info}\nlog: {}\n", "t:2:1: key \"log\" is there already, in line 1\n");
    says("? [a]\n: b\n", "t:1:3: a list cannot be a key\n");
    says("metrics: {listen: '0.0.0.0:1'}\n",
         "t: metrics.listen: \"0.0.0.0:1\" is no loopback address; whoever connects reads every "
         "tenant's figures\n");
    says("metrics: {listen: '127.evil.example:1'}\n",
         "t: metrics.listen: \"127.evil.example:1\" is no loopback address; whoever connects reads "
         "every tenant's figures\n");
}

static void items_are_checked_like_sections(void **state)
{
    (void)state;
    says("tenants: {}\n", "t:1:10: tenants: a map; expected a list of maps\n");
    says("tenants: [a]\n", "t:1:11: tenants: a single value; expected a list of maps\n");
    says("tenants: [{admin: true}]\n", "t:1:11: \"name\" is missing\n");
    says("tenants: [{name: A}]\n",
         "t:1:18: name: \"A\" is no such name; expected 1-63 of a-z 0-9 . "
         "_ -, a letter or digit first\n");
    says("tenants:\n- name: a\n- name: a\n", "t:3:3: tenants: \"a\" is there twice\n");
    says("tenants:\n- {name: a, users: [5]}\n- {name: b, users: [5]}\n",
         "t:3:3: tenants: user 5 is \"a\"'s and \"b\"'s\n");
    says("tenants:\n- {name: a, certificates: [c]}\n- {name: b, certificates: [c]}\n",
         "t:3:3: tenants: certificate \"c\" is \"a\"'s and \"b\"'s\n");
    says("tenants: [{name: a, users: [no-such-user-here]}]\n",
         "t:1:29: users: there is no user \"no-such-user-here\" on this machine\n");
    says("tenants: [{name: a, users: 5}]\n",
         "t:1:28: users: a single value; expected a list of user names and numbers\n");
    says("tenants: [{name: a, quotas: {gusets: 1}}]\n",
         "t:1:30: unknown key \"gusets\"; did you mean \"guests\"?\n");
    says("listen: [{mode: '0600'}]\n", "t:1:10: listen: an item has either unix or tcp\n");
    says("listen: [{tcp: 'a:1'}]\n", "t:1:10: listen: tcp a:1 needs certificate, key and client_ca "
                                     "(there is no TCP without TLS)\n");
    says("listen: [{unix: /a, mode: '8'}]\n",
         "t:1:27: mode: \"8\" is not octal; expected a file mode as \"0660\", at most 0777\n");
    mgr_config_free(good("listen: [{tcp: ':0', certificate: /a, key: /a, client_ca: /a}]"));
    says("listen: [{tcp: '::1:70', certificate: /a, key: /a, client_ca: /a}]\n",
         "t:1:16: tcp: \"::1:70\": write an IPv6 address as [::1]:70; expected HOST:PORT or "
         "[IPV6]:PORT\n");
}

static void all_problems_are_said_in_the_order_of_the_file(void **state)
{
    (void)state;
    says("log:\n  level: x\nlimits:\n  vcpus: 0\n  files: 0\ndaemon: 3\n",
         "t:2:10: level: \"x\" is none of them; expected debug, info, warn or error\n"
         "t:4:10: vcpus: \"0\" is too small; expected a whole number, 1 to 16\n"
         "t:5:10: files: \"0\" is too small; expected a whole number, 3 to 65536\n"
         "t:6:9: daemon: a single value; expected a map of keys\n");
}

static void what_yaml_can_do_beyond_need_is_refused(void **state)
{
    (void)state;
    says("a: &x 1\n", "t:1:4: anchors and tags are not allowed here\n");
    says("a: *x\n", "t:1:4: aliases are not allowed here; write the value out\n");
    says("a: !!str x\n", "t:1:4: anchors and tags are not allowed here\n");
    says("{}\n---\n{}\n", "t:2:1: a second document; there is one in this file\n");
    says("[[[[[[[[[[[1]]]]]]]]]]]\n", "t:1:11: nested too deeply\n");
    says("log: {level: info\n",
         "t:2:1: not YAML: did not find expected ',' or '}', while parsing a "
         "flow mapping\n");
    says("log: {level: \xff}\n", "t:1:1: not UTF-8 text: invalid leading UTF-8 octet (byte 13)\n");
    says("\"a\\0b\": 1\n", "t:1:1: a value holds a NUL byte\n");
    says("- 1\n", "t:1:1: a list; expected a map of keys\n");
    says("a\n", "t:1:1: a single value; expected a map of keys\n");
}

static void large_files_are_refused_in_bounded_time(void **state)
{
    (void)state;
    size_t n = MGR_CONFIG_BYTES;
    char *text = malloc(n + 1);
    assert_non_null(text);
    memset(text, ' ', n + 1);
    char *said = bad_n(text, n + 1);
    assert_non_null(strstr(said, "larger than 1048576 bytes"));
    free(said);
    memset(text, '[', n);
    said = bad_n(text, n);
    assert_non_null(strstr(said, "nested too deeply"));
    free(said);
    for (size_t i = 0; i < n; i++)
        text[i] = "a:\n"[i % 3];
    said = bad_n(text, n - n % 3);
    assert_non_null(strstr(said, "too many values"));
    free(said);
    free(text);
    struct buf many = {0}; /* unknown keys by the thousand: some are told, all are counted */
    for (int i = 0; i < 9000; i++)
        buf_printf(&many, "k%d: 1\n", i);
    struct mgr_config *c = NULL;
    struct mgr_problems p = {0};
    assert_int_equal(mgr_config_parse("t", (char *)many.data, many.len, &c, &p, NULL), FAIL);
    assert_int_equal(p.count, 9000);
    size_t lines = 0;
    for (size_t i = 0; i < p.text.len; i++)
        lines += p.text.data[i] == '\n';
    assert_int_equal(lines, MGR_CONFIG_PROBLEMS);
    mgr_problems_fini(&p);
    buf_fini(&many);
}

static void every_quota_has_a_key(void **state)
{
    (void)state;
    for (unsigned q = 0; q < MGR_QUOTA_COUNT; q++) {
        unsigned found = 0;
        for (const struct mgr_key *k = NULL; (k = mgr_key_next("QUOTAS", k));)
            found +=
                k->offset == offsetof(struct mgr_tenant_config, quota) + q * sizeof(uint64_t) &&
                !strncmp(k->name, mgr_quota_names[q], strlen(k->name));
        assert_int_equal(found, 1);
    }
}

static void flags_stand_above_the_file(void **state)
{
    (void)state;
    char path[] = "/tmp/vv-config-XXXXXX";
    int fd = mkstemp(path);
    const char *text =
        "log: {level: error}\nlisten:\n- unix: /a\n- {tcp: 'h:1', certificate: /c, key: "
        "/k, client_ca: /a}\n";
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    struct mgr_config_source s = {.file = path,
                                  .must_exist = true,
                                  .socket = "/b",
                                  .overrides = {{"log.level", "warn", "--log-level"}},
                                  .override_count = 1};
    struct mgr_config *c;
    struct mgr_problems p = {0};
    struct err err;
    assert_int_equal(mgr_config_load(&s, &c, &p, &err), OK);
    assert_int_equal(c->log_level, 2);
    assert_int_equal(c->listen_count, 2);
    assert_string_equal(c->listen[0].unix_path, "/b");
    assert_string_equal(c->listen[1].tcp, "h:1");
    assert_int_equal(c->tenants_count, 1); /* the daemon's own user */
    assert_true(c->tenants[0].admin);
    mgr_config_free(c);
    s.overrides[0].value = "loud";
    assert_int_equal(mgr_config_load(&s, &c, &p, &err), FAIL);
    assert_string_equal(err.text,
                        "--log-level: \"loud\" is none of them; expected debug, info, warn "
                        "or error");
    mgr_problems_fini(&p);
    unlink(path);
    s.override_count = 0;
    assert_int_equal(mgr_config_load(&s, &c, &p, &err), FAIL);
    mgr_problems_fini(&p);
    s.must_exist = false;
    assert_int_equal(mgr_config_load(&s, &c, &p, &err), OK);
    mgr_config_free(c);
    s.file = "/proc/self";
    assert_int_equal(mgr_config_load(&s, &c, &p, &err), FAIL);
    mgr_problems_fini(&p);
}

/* The committed etc/vmd.yaml is what the table makes, and with its comment signs removed it is a configuration. */
static void the_example_is_what_the_table_makes(void **state)
{
    (void)state;
    struct buf made = {0}, kept = {0}, plain = {0};
    FILE *f = popen(VV_BUILD_DIR "/daemon/mgr-tables vmd.yaml", "r");
    assert_non_null(f);
    for (int c; (c = fgetc(f)) != EOF;)
        buf_put_u8(&made, (uint8_t)c);
    assert_int_equal(pclose(f), 0);
    if (getenv("BLESS")) {
        f = fopen(VV_SOURCE_DIR "/etc/vmd.yaml", "w");
        assert_true(f && fwrite(made.data, 1, made.len, f) == made.len && !fclose(f));
    }
    f = fopen(VV_SOURCE_DIR "/etc/vmd.yaml", "r");
    assert_non_null(f);
    for (int c; (c = fgetc(f)) != EOF;)
        buf_put_u8(&kept, (uint8_t)c);
    fclose(f);
    if (kept.len != made.len || memcmp(kept.data, made.data, made.len))
        fail_msg(
            "etc/vmd.yaml is not what daemon/manager/config.def makes: run this test with BLESS=1");
    buf_put_u8(&made, 0);
    for (char *save, *line = strtok_r((char *)made.data, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        bool key = !strncmp(line, "  #", 3) && (line[3] != ' ' || line[4] == ' ');
        bool tls = strstr(line, "tcp: ") || strstr(line, "certificate: ") ||
                   strstr(line, "key: ") || strstr(line, "client_ca: ") || strstr(line, "users: ");
        if (key && !tls)
            line[2] = ' ';
        buf_printf(&plain, "%s\n", line);
    }
    buf_put_u8(&plain, 0);
    struct mgr_config *c = good((char *)plain.data);
    assert_string_equal(c->daemon_state, "/var/lib/vmd");
    assert_int_equal(c->tenants_count, 1);
    assert_int_equal(c->tenants[0].quota[MGR_QUOTA_GUESTS], 100);
    assert_int_equal(c->listen_count, 1);
    mgr_config_free(c);
    buf_fini(&made);
    buf_fini(&kept);
    buf_fini(&plain);
}

static void numbers_print_as_they_are_written(void **state)
{
    (void)state;
    char text[32];
    mgr_size_text(65536, text);
    assert_string_equal(text, "64K");
    mgr_size_text(1000, text);
    assert_string_equal(text, "1000");
    mgr_time_text(90000000000, text);
    assert_string_equal(text, "90s");
    mgr_time_text(0, text);
    assert_string_equal(text, "0s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_a_configuration),
        cmocka_unit_test(values_come_out_as_written),
        cmocka_unit_test(tenants_and_listeners_are_lists_of_maps),
        cmocka_unit_test(each_wrong_key_is_said_with_place_and_expectation),
        cmocka_unit_test(items_are_checked_like_sections),
        cmocka_unit_test(all_problems_are_said_in_the_order_of_the_file),
        cmocka_unit_test(what_yaml_can_do_beyond_need_is_refused),
        cmocka_unit_test(large_files_are_refused_in_bounded_time),
        cmocka_unit_test(every_quota_has_a_key),
        cmocka_unit_test(flags_stand_above_the_file),
        cmocka_unit_test(the_example_is_what_the_table_makes),
        cmocka_unit_test(numbers_print_as_they_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
