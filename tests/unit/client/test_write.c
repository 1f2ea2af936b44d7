// links: client/vmctl proto engine/base
#include "client/vmctl/ctl.h"
#include "client/vmctl/write.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static struct buf out;

static const char *text(struct ctl_writer *w)
{
    ctl_w_finish(w);
    buf_put_u8(&out, 0);
    return (const char *)out.data;
}

static void tree(struct ctl_writer *w)
{
    ctl_w_map(w);
    ctl_w_text(w, "name", "web");
    ctl_w_text(w, "number", "12");
    ctl_w_text(w, "yes", "yes");
    ctl_w_text(w, "line", "a\n\"b\": c");
    ctl_w_key(w, "none");
    ctl_w_list(w);
    ctl_w_end(w);
    ctl_w_key(w, "list");
    ctl_w_list(w);
    ctl_w_map(w);
    ctl_w_number(w, "x", -1);
    ctl_w_key(w, "deep");
    ctl_w_list(w);
    ctl_w_plain(w, "true");
    ctl_w_list(w);
    ctl_w_plain(w, "1");
    ctl_w_plain(w, "2");
    ctl_w_end(w);
    ctl_w_end(w);
    ctl_w_end(w);
    ctl_w_map(w);
    ctl_w_end(w);
    ctl_w_end(w);
    ctl_w_end(w);
}

static void one_tree_three_forms(void **state)
{
    (void)state;
    struct ctl_writer w;
    ctl_w_init(&w, &out, CTL_FORM_JSON_LINE);
    tree(&w);
    assert_string_equal(text(&w), "{\"name\":\"web\",\"number\":\"12\",\"yes\":\"yes\",\"line\":"
                                  "\"a\\n\\\"b\\\": c\",\"none\":[],"
                                  "\"list\":[{\"x\":-1,\"deep\":[true,[1,2]]},{}]}\n");
    out.len = 0;
    ctl_w_init(&w, &out, CTL_FORM_YAML);
    tree(&w);
    assert_string_equal(
        text(&w),
        "name: web\nnumber: \"12\"\n\"yes\": \"yes\"\nline: \"a\\n\\\"b\\\": c\"\nnone: []\nlist:\n"
        "  - x: -1\n    deep:\n      - true\n      - - 1\n        - 2\n  - {}\n");
    out.len = 0;
    ctl_w_init(&w, &out, CTL_FORM_JSON);
    ctl_w_map(&w);
    ctl_w_key(&w, "a");
    ctl_w_list(&w);
    ctl_w_plain(&w, "1");
    ctl_w_end(&w);
    ctl_w_end(&w);
    assert_string_equal(text(&w), "{\n  \"a\": [\n    1\n  ]\n}\n");
    out.len = 0;
}

static void messages_follow_the_proto3_mapping(void **state)
{
    (void)state;
    PbAttachRequest r = PB_ATTACH_REQUEST__INIT;
    PbGuest g = PB_GUEST__INIT;
    PbGuestStats stats = PB_GUEST_STATS__INIT;
    struct ctl_writer w;
    r.kind_case = PB_ATTACH_REQUEST__KIND_STDIN;
    r.stdin = (ProtobufCBinaryData){5, (uint8_t *)(uintptr_t) "\0\1\2\3\4"};
    ctl_w_init(&w, &out, CTL_FORM_JSON_LINE);
    ctl_emit(&w, &r.base);
    assert_string_equal(text(&w), "{\"stdin\":\"AAECAwQ=\"}\n");
    out.len = 0;
    r.kind_case = PB_ATTACH_REQUEST__KIND_SIGNAL; /* a oneof's member is there, whatever it is */
    r.signal = 0;
    ctl_w_init(&w, &out, CTL_FORM_JSON_LINE);
    ctl_emit(&w, &r.base);
    assert_string_equal(text(&w), "{\"signal\":0}\n");
    out.len = 0;
    g.state = (PbGuestState)99;
    g.stats = &stats;
    stats.cpu_ns = 18446744073709551615ull;
    stats.processes = 4294967295u;
    ctl_w_init(&w, &out, CTL_FORM_JSON_LINE);
    ctl_emit(&w, &g.base);
    assert_string_equal(
        text(&w),
        "{\"state\":99,\"stats\":{\"cpuNs\":\"18446744073709551615\",\"processes\":4294967295}}\n");
    out.len = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_tree_three_forms),
        cmocka_unit_test(messages_follow_the_proto3_mapping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
