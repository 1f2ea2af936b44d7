// links: engine/isa engine/base
/* The generator refuses bad tables: each file of bad/ names in its first line the message it must get. */
#include "engine/base/base.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <cmocka.h>

#define BAD VV_SOURCE_DIR "/tests/unit/engine/isa/bad/"

static void read_line_of(FILE *f, char *line, size_t n)
{
    if (!fgets(line, (int)n, f))
        line[0] = 0;
    line[strcspn(line, "\n")] = 0;
}

static bool is_refused_as_expected(const char *name)
{
    char path[512], expect[256], command[1200], got[1024], more[256];
    snprintf(path, sizeof path, BAD "%s", name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    read_line_of(f, expect, sizeof expect);
    fclose(f);
    assert_int_equal(strncmp(expect, "# expect: ", 10), 0);
    snprintf(command, sizeof command, VV_BUILD_DIR "/isagen %s 2>&1", path);
    f = popen(command, "r");
    assert_non_null(f);
    read_line_of(f, got, sizeof got);
    read_line_of(f, more, sizeof more);
    int status = pclose(f);
    bool fine = WIFEXITED(status) && WEXITSTATUS(status) == 1 && !more[0] &&
                !strncmp(got, path, strlen(path)) && got[strlen(path)] == ':' &&
                !strcmp(got + strlen(path) + 1, expect + 10);
    if (!fine)
        print_error("%s: status %d, '%s'; expected '%s'\n", name, status, got, expect + 10);
    return fine;
}

static void every_bad_table_is_refused_with_its_message(void **state)
{
    (void)state;
    DIR *dir = opendir(BAD);
    assert_non_null(dir);
    unsigned seen = 0, wrong = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        const char *dot = strrchr(e->d_name, '.');
        if (!dot || strcmp(dot, ".isa"))
            continue;
        seen++;
        wrong += !is_refused_as_expected(e->d_name);
    }
    closedir(dir);
    assert_true(seen >= 40);
    assert_int_equal(wrong, 0);
}

static void the_real_table_is_accepted(void **state)
{
    (void)state;
    assert_int_equal(system(VV_BUILD_DIR "/isagen " VV_SOURCE_DIR "/engine/isa/riscv/rv64gc.isa"),
                     0);
}

static void a_table_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    int status = system(VV_BUILD_DIR "/isagen /nonexistent.isa 2>/dev/null");
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bad_table_is_refused_with_its_message),
        cmocka_unit_test(the_real_table_is_accepted),
        cmocka_unit_test(a_table_that_is_not_there_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
