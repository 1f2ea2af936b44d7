// links: client/vmctl proto engine/base
#include "client/vmctl/progress.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define MIB ((uint64_t)1 << 20)
#define SECOND 1000000000ull

static void bytes_are_said_for_people(void **state)
{
    (void)state;
    char text[32];
    ctl_human_bytes(0, text, sizeof text);
    assert_string_equal(text, "0 B");
    ctl_human_bytes(1536, text, sizeof text);
    assert_string_equal(text, "1.5 KiB");
    ctl_human_bytes(UINT64_MAX, text, sizeof text);
    assert_string_equal(text, "16777216.0 TiB");
}

static void a_known_size_has_a_bar_a_rate_and_a_time_left(void **state)
{
    (void)state;
    char line[160];
    ctl_progress_line(50 * MIB, 200 * MIB, 5 * SECOND, line, sizeof line);
    assert_string_equal(line,
                        "[=====               ]  25%  50.0 MiB of 200.0 MiB  10.0 MiB/s  ETA 0:15");
    ctl_progress_line(0, 200 * MIB, 0, line, sizeof line);
    assert_non_null(strstr(line, "  0%"));
    ctl_progress_line(300 * MIB, 200 * MIB, SECOND, line, sizeof line); /* it grew meanwhile */
    assert_non_null(strstr(line, "[====================] 100%"));
}

static void an_unknown_size_has_a_rate_only(void **state)
{
    (void)state;
    char line[160];
    ctl_progress_line(50 * MIB, 0, 5 * SECOND, line, sizeof line);
    assert_string_equal(line, "  50.0 MiB    10.0 MiB/s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_said_for_people),
        cmocka_unit_test(a_known_size_has_a_bar_a_rate_and_a_time_left),
        cmocka_unit_test(an_unknown_size_has_a_rate_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
