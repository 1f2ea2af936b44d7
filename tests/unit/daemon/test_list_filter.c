// links: daemon/manager proto engine/base
#include "daemon/manager/filter.h"
#include "engine/base/base.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static bool matches(const char *text)
{
    static struct mgr_filter f;
    struct err err;
    PbLabel team = PB_LABEL__INIT, *labels[] = {&team};
    PbGuest g = PB_GUEST__INIT;
    team.key = (char *)(uintptr_t) "team";
    team.value = (char *)(uintptr_t) "ci blue";
    g.name = (char *)(uintptr_t) "web-1";
    g.image = (char *)(uintptr_t) "lib/web:2";
    g.tenant = (char *)(uintptr_t) "acme";
    g.state = PB_GUEST_STATE_RUNNING;
    g.labels = labels;
    g.n_labels = 1;
    if (mgr_filter_parse(&f, text, &err))
        fail_msg("%s: %s", text, err.text);
    return mgr_filter_matches(&f, &g);
}

static void a_filter_means_what_it_says(void **state)
{
    (void)state;
    static const char *const yes[] = {"",
                                      "  ",
                                      "state=running",
                                      "state != ended",
                                      "name=web-1",
                                      "name=web*",
                                      "name=*1",
                                      "name=*b-*",
                                      "name=*",
                                      "image=lib/*:2",
                                      "tenant=acme and state=running",
                                      "label.team=\"ci blue\"",
                                      "label.team=ci*",
                                      "label.other!=x",
                                      "state=running AND name=w*e*b*-*1",
                                      "name=***web-1***"};
    static const char *const no[] = {"state=ended",         "state!=running",  "name=web",
                                     "name=web-1x",         "name=",           "image=web*",
                                     "label.other=x",       "label.team=blue", "label.team!=*blue",
                                     "name=w* and name=x*", "name=*2"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        if (!matches(yes[i]))
            fail_msg("\"%s\" should match", yes[i]);
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        if (matches(no[i]))
            fail_msg("\"%s\" should not match", no[i]);
}

static void a_malformed_filter_is_refused_with_its_column(void **state)
{
    (void)state;
    static const struct {
        const char *text, *where;
    } bad[] = {{"stat=running", "column 1"},
               {"name=a and state=runing", "column 18"},
               {"state", "column 6"},
               {"state running", "column 7"},
               {"state=running name=x", "column 15"},
               {"name=\"open", "column 7"},
               {"state=running and", "column 15"},
               {"state=running and ", "column 19"},
               {"label.=x", "column 1"},
               {"=x", "column 1"},
               {"state=!=", "column"}};
    static struct mgr_filter f;
    for (size_t i = 0; i + 1 < ARRAY_LEN(bad); i++) {
        struct err err;
        assert_int_equal(mgr_filter_parse(&f, bad[i].text, &err), FAIL);
        assert_int_equal(err.code, ERR_INVALID);
        if (!strstr(err.text, bad[i].where))
            fail_msg("\"%s\": %s", bad[i].text, err.text);
    }
    char many[1000] = "name=a";
    for (int i = 0; i < 40; i++)
        strcat(many, " and name=a");
    assert_int_equal(mgr_filter_parse(&f, many, NULL), FAIL);
    char longest[400];
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "name=", 5);
    longest[sizeof longest - 1] = 0;
    assert_int_equal(mgr_filter_parse(&f, longest, NULL), FAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_filter_means_what_it_says),
        cmocka_unit_test(a_malformed_filter_is_refused_with_its_column),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
