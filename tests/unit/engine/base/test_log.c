// links: engine/base
/* The log's three forms, and what hostile text becomes in them. */
#include "engine/base/base.h"
#include "engine/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

static int reading; /* the log's other end */
static char got[16384];

static int set_up(void **state)
{
    int fd[2];
    (void)state;
    if (pipe(fd))
        return -1;
    reading = fd[0];
    log_set_fd(fd[1]);
    log_set_name("test");
    return 0;
}

/* What one record became. */
static const char *line(void)
{
    ssize_t n = read(reading, got, sizeof got - 1);
    assert_true(n > 0);
    got[n] = 0;
    assert_int_equal(got[n - 1], '\n');
    assert_null(memchr(got, '\n', (size_t)n - 1));
    got[n - 1] = 0;
    return got;
}

static void text_has_fields_behind_it(void **state)
{
    (void)state;
    log_set_format(LOG_TEXT);
    log_info("plain %d", 5);
    assert_non_null(strstr(line(), "Z test info: plain 5"));
    log_warn_f(LOG_FIELDS({"guest", "web"}, {"tenant", NULL}, {"worker", LOG_NUMBER(17)},
                          {"text", "two words"}, {"empty", ""}),
               "it ended");
    const char *s = line();
    const char *tail = " test warn: it ended guest=web worker=17 text=\"two words\" empty=\"\"";
    assert_string_equal(s + strlen(s) - strlen(tail), tail);
}

static void control_characters_do_not_reach_a_terminal(void **state)
{
    (void)state;
    log_set_format(LOG_TEXT);
    log_info_f(LOG_FIELDS({"guest", "a\nb\x1b[31m"}), "x\ny\r\x1b]0;t\x07 \xc2\x9b"
                                                      "1m caf\xc3\xa9 \xff\x7f");
    const char *s = line();
    assert_non_null(strstr(
        s, ": x\\x0ay\\x0d\\x1b]0;t\\x07 \\x9b1m caf\xc3\xa9 \\xff\\x7f guest=a\\x0ab\\x1b[31m"));
}

static void json_stays_json(void **state)
{
    (void)state;
    log_set_format(LOG_JSON);
    log_error_f(LOG_FIELDS({"guest", "q\"\\\n"}), "bad \xff byte \xed\xa0\x80 \xf0\x9f\x98\x80");
    const char *s = line();
    const char *tail =
        "Z\",\"level\":\"error\",\"program\":\"test\",\"message\":\"bad \\ufffd byte "
        "\\ufffd\\ufffd\\ufffd \xf0\x9f\x98\x80\",\"guest\":\"q\\\"\\\\\\u000a\"}";
    assert_int_equal(strncmp(s, "{\"time\":\"2", 10), 0);
    assert_string_equal(s + strlen(s) - strlen(tail), tail);
    char *long_text = malloc(20000);
    assert_non_null(long_text);
    memset(long_text, 7, 19999);
    long_text[19999] = 0;
    log_error_f(LOG_FIELDS({"guest", long_text}, {"tenant", "t"}), "%s", long_text);
    s = line();
    assert_non_null(strstr(s, "\\u0007...\",\"tenant\":\"t\"}")); /* cut, and whole JSON */
    assert_null(strstr(s, "guest"));
    free(long_text);
    log_set_format(LOG_TEXT);
}

static void the_journal_gets_records_with_fields(void **state)
{
    (void)state;
    char dir[] = "/tmp/vv-log-XXXXXX";
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    assert_non_null(mkdtemp(dir));
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s/socket", dir);
    assert_false(log_set_journal(sa.sun_path)); /* nobody is there: text */
    log_info("still text");
    assert_non_null(strstr(line(), "info: still text"));
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_true(log_set_journal(sa.sun_path));
    log_warn_f(LOG_FIELDS({"guest", "web\nPRIORITY=0"}), "it ended");
    ssize_t n = recv(fd, got, sizeof got - 1, MSG_DONTWAIT);
    assert_true(n > 0);
    got[n] = 0;
    assert_string_equal(got, "PRIORITY=4\nSYSLOG_IDENTIFIER=test\nMESSAGE=it ended\n"
                             "VMD_GUEST=web\\x0aPRIORITY=0\n");
    close(fd); /* the journal goes: the record is not lost */
    log_info("after");
    assert_non_null(strstr(line(), "info: after"));
    unlink(sa.sun_path);
    rmdir(dir);
    log_set_format(LOG_TEXT);
}

static void a_flood_is_counted_instead_of_written(void **state)
{
    (void)state;
    struct log_rate r = {0};
    unsigned suppressed, passed = 0;
    for (int i = 0; i < 1000; i++)
        passed += log_rate_pass(&r, 5, &suppressed);
    assert_int_equal(passed, LOG_RATE_BURST);
    assert_true(log_rate_pass(&r, 5 + LOG_RATE_NS, &suppressed));
    assert_int_equal(suppressed, 1000 - LOG_RATE_BURST);
    assert_true(log_rate_pass(&r, 6 + LOG_RATE_NS, &suppressed));
    assert_int_equal(suppressed, 0);
    for (int i = 0; i < 100; i++)
        log_warn_limited("flood %d", i);
    ssize_t n = read(reading, got, sizeof got);
    unsigned lines = 0;
    for (ssize_t i = 0; i < n; i++)
        lines += got[i] == '\n';
    assert_int_equal(lines, LOG_RATE_BURST);
}

static void what_is_below_the_level_is_not_written(void **state)
{
    (void)state;
    log_set_level(LOG_WARN);
    log_info("no");
    log_warn("yes");
    assert_non_null(strstr(line(), "warn: yes"));
    log_set_level(LOG_INFO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_has_fields_behind_it),
        cmocka_unit_test(control_characters_do_not_reach_a_terminal),
        cmocka_unit_test(json_stays_json),
        cmocka_unit_test(the_journal_gets_records_with_fields),
        cmocka_unit_test(a_flood_is_counted_instead_of_written),
        cmocka_unit_test(what_is_below_the_level_is_not_written),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
