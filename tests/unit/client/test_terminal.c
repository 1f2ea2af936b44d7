// links: client/vmctl proto engine/base
#include "client/vmctl/ctl.h"
#include "client/vmctl/terminal.h"
#include "engine/base/os.h"

#include <string.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* Type bytes one call each; true: the keys were there. What passed is in *out. */
static bool typed(const char *keys, const char *bytes, char *out)
{
    struct ctl_detach d = {(const uint8_t *)keys, strlen(keys), 0};
    size_t n = 0, got;
    bool found = false;
    for (; *bytes && !found; bytes++) {
        found = ctl_detach_filter(&d, (const uint8_t *)bytes, 1, (uint8_t *)out + n, &got);
        n += got;
    }
    out[n] = 0;
    return found;
}

static void the_keys_are_found_and_all_else_passes(void **state)
{
    (void)state;
    char out[100];
    assert_true(typed("\x10\x11", "ab\x10\x11", out));
    assert_string_equal(out, "ab");
    assert_false(typed("\x10\x11", "a\x10z\x11", out));
    assert_string_equal(out, "a\x10z\x11");
    assert_true(typed("aab", "aaab", out)); /* one a more */
    assert_string_equal(out, "a");
    assert_true(typed("abac", "ababac", out));
    assert_string_equal(out, "ab");
    assert_false(typed("", "xyz", out)); /* none are set */
    assert_string_equal(out, "xyz");
}

static void whatever_is_typed_nothing_is_lost_or_doubled(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 3);
    for (int round = 0; round < 2000; round++) {
        char keys[6] = "", bytes[40] = "", out[100];
        for (size_t i = 0; i < 1 + rng_below(&rng, 4); i++)
            keys[i] = (char)('a' + rng_below(&rng, 2)), keys[i + 1] = 0;
        for (int i = 0; i < 39; i++)
            bytes[i] = (char)('a' + rng_below(&rng, 3));
        const char *at = strstr(bytes, keys);
        bool found = typed(keys, bytes, out);
        assert_int_equal(found, at != NULL);
        size_t n = found ? (size_t)(at - bytes) : strlen(out);
        assert_int_equal(strlen(out), n);
        assert_memory_equal(out, bytes, n);
        if (!found) /* the rest is held back: it may begin the keys */
            assert_memory_equal(bytes + n, keys, strlen(bytes + n));
    }
}

static void names_of_keys_are_read(void **state)
{
    (void)state;
    uint8_t keys[CTL_DETACH_MAX];
    size_t n;
    assert_int_equal(ctl_detach_keys("ctrl-p,ctrl-q", keys, &n, NULL), OK);
    assert_true(n == 2 && keys[0] == 16 && keys[1] == 17);
    assert_int_equal(ctl_detach_keys("ctrl-],q", keys, &n, NULL), OK);
    assert_true(n == 2 && keys[0] == 0x1d && keys[1] == 'q');
    assert_int_equal(ctl_detach_keys("", keys, &n, NULL), OK);
    assert_int_equal(n, 0);
    static const char *const bad[] = {
        "ctrl-", "ctrl-1", "ab", "a,", ",", "a,,b", "a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a"};
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(ctl_detach_keys(bad[i], keys, &n, NULL), FAIL);
}

static int64_t time_of(const char *s)
{
    struct ctl_given given = {OPT_SINCE, s};
    struct ctl_args a = {.given = &given, .given_count = 1};
    int64_t ns = -1;
    return ctl_time(&a, OPT_SINCE, &ns, NULL) ? -1 : ns;
}

static void times_are_ago_or_of_a_calendar(void **state)
{
    (void)state;
    const int64_t s = 1000000000;
    int64_t now = (int64_t)time(NULL) * s;
    assert_true(time_of("@1700000000") == 1700000000 * s);
    assert_true(time_of("2023-11-14T22:13:20Z") == 1700000000 * s);
    assert_true(time_of("2023-11-14T23:13:20.5+01:00") == 1700000000 * s + s / 2);
    assert_true(time_of("2023-11-14 22:13Z") == 1699999980 * s);
    assert_true(now - time_of("1h30m") < 5402 * s && now - time_of("1h30m") > 5398 * s);
    assert_true(now - time_of("2d") > 172798 * s);
    assert_true(time_of("2023-11-14") > 0);
    static const char *const bad[] = {"",
                                      "x",
                                      "10",
                                      "1y",
                                      "@",
                                      "@x",
                                      "2023-13-01",
                                      "2023-11-14T25:00:00Z",
                                      "2023-11-14T22:13:20+1",
                                      "1h30",
                                      "2023-11-14Zx"};
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        assert_true(time_of(bad[i]) == -1);
}

static void restart_policies_and_signals_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int policy;
        unsigned retries;
    } good[] = {{"never", PB_RESTART_POLICY_NEVER, 0},
                {"always", PB_RESTART_POLICY_ALWAYS, 0},
                {"on-failure", PB_RESTART_POLICY_ON_FAILURE, 0},
                {"on-failure:5", PB_RESTART_POLICY_ON_FAILURE, 5}};
    static const char *const bad[] = {
        "", "no", "on-failure:", "on-failure:0", "on-failure:x", "always:3"};
    struct ctl_given given = {OPT_RESTART, NULL};
    struct ctl_args a = {.given = &given, .given_count = 1};
    uint32_t signo;
    for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
        PbRestart r = PB_RESTART__INIT;
        given.value = good[i].text;
        assert_int_equal(ctl_restart(&a, &r, NULL), OK);
        assert_true((int)r.policy == good[i].policy && r.max_retries == good[i].retries);
    }
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        PbRestart r = PB_RESTART__INIT;
        given.value = bad[i];
        assert_int_equal(ctl_restart(&a, &r, NULL), FAIL);
    }
    assert_true(!ctl_signal("SIGHUP", &signo, NULL) && signo == 1);
    assert_true(!ctl_signal("term", &signo, NULL) && signo == 15);
    assert_true(!ctl_signal("64", &signo, NULL) && signo == 64);
    assert_true(ctl_signal("0", &signo, NULL) && ctl_signal("65", &signo, NULL) &&
                ctl_signal("SIGX", &signo, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_keys_are_found_and_all_else_passes),
        cmocka_unit_test(whatever_is_typed_nothing_is_lost_or_doubled),
        cmocka_unit_test(names_of_keys_are_read),
        cmocka_unit_test(times_are_ago_or_of_a_calendar),
        cmocka_unit_test(restart_policies_and_signals_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
