// links: engine/base
#include "engine/base/base.h"
#include "engine/base/suggest.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const char *const words[] = {"create", "start", "stop", NULL, "ps", "events", "max-guests"};

static const char *of(const char *word)
{
    return suggest(word, words, ARRAY_LEN(words));
}

static void a_slip_of_the_finger_is_understood(void **state)
{
    (void)state;
    assert_string_equal(of("craete"), "create");
    assert_string_equal(of("strat"), "start");
    assert_string_equal(of("sop"), "stop");
    assert_string_equal(of("stopp"), "stop");
    assert_string_equal(of("event"), "events");
    assert_string_equal(of("sp"), "ps");
    assert_string_equal(of("Max_Guests"), "max-guests");
}

static void what_is_far_from_all_words_has_no_suggestion(void **state)
{
    (void)state;
    assert_null(of(""));
    assert_null(of("frobnicate"));
    assert_null(of("x"));
    assert_null(of("zz"));
    assert_null(suggest("stop", words, 0));
}

static void long_words_are_left_alone(void **state)
{
    (void)state;
    char word[200];
    const char *itself[] = {word};
    memset(word, 'a', sizeof word);
    word[63] = 0;
    assert_ptr_equal(suggest(word, itself, 1), word);
    word[63] = 'a', word[64] = 0;
    assert_null(suggest(word, itself, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slip_of_the_finger_is_understood),
        cmocka_unit_test(what_is_far_from_all_words_has_no_suggestion),
        cmocka_unit_test(long_words_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
