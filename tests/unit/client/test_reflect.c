// links: client/vmctl proto engine/base
#include "client/vmctl/reflect.h"
#include "client/vmctl/wire.h"
#include "engine/base/base.h"
#include "engine/base/os.h"
#include "proto/guest.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static struct ctl_schema schema;
static uint8_t set_bytes[1 << 20];
static size_t set_size;

/* The descriptors of codec.proto and of the API, made by protoc. */
static int setup(void **state)
{
    (void)state;
    char path[] = "/tmp/test_reflect.XXXXXX", line[1000];
    struct err err;
    int fd = mkstemp(path);
    snprintf(line, sizeof line,
             "protoc-c -I%s/tests/unit/client -I%s/proto --descriptor_set_out=%s codec.proto "
             "guest.proto",
             VV_SOURCE_DIR, VV_SOURCE_DIR, path);
    if (fd < 0 || system(line) != 0)
        return -1;
    set_size = (size_t)read(fd, set_bytes, sizeof set_bytes);
    close(fd);
    unlink(path);
    ctl_schema_init(&schema);
    for (struct ctl_wire w = ctl_wire_over(set_bytes, set_size); ctl_wire_next(&w);)
        if (ctl_schema_add(&schema, w.p, w.n, &err))
            return -1;
    return ctl_schema_link(&schema, &err);
}

static int teardown(void **state)
{
    (void)state;
    ctl_schema_fini(&schema);
    return 0;
}

static const struct ctl_type *everything(void)
{
    return ctl_schema_type(&schema, "codec.v1.Everything");
}

/* JSON to the wire and back, on one line. */
static const char *there_and_back(const char *text)
{
    static char out[4096];
    struct buf wire = {0}, back = {0};
    struct ctl_writer w;
    struct err err = {0};
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    if (ctl_from_json(everything(), json, &wire, &err))
        snprintf(out, sizeof out, "error: %s", err.text);
    else {
        ctl_w_init(&w, &back, CTL_FORM_JSON_LINE);
        assert_int_equal(ctl_to_tree(everything(), wire.data, wire.len, &w, &err), OK);
        snprintf(out, sizeof out, "%.*s", (int)back.len, (char *)back.data);
    }
    json_decref(json);
    buf_fini(&wire);
    buf_fini(&back);
    return out;
}

static void every_kind_of_field_survives_the_way_there_and_back(void **state)
{
    (void)state;
    static const char *const same[] = {
        "{}",
        "{\"aDouble\":1.5,\"aFloat\":-0.25,\"anInt32\":-2147483648}",
        "{\"anInt64\":\"-9223372036854775808\"}",
        "{\"aUint32\":4294967295,\"aUint64\":\"18446744073709551615\"}",
        "{\"aSint32\":-5,\"aSint64\":\"-9223372036854775808\"}",
        "{\"aFixed32\":7,\"aFixed64\":\"8\",\"aSfixed32\":-7,\"aSfixed64\":\"-8\"}",
        "{\"aBool\":true,\"aString\":\"a \\\"b\\\"\\n\\u0001\xc3\xa4\",\"someBytes\":\"AP8Q\"}",
        "{\"colour\":\"COLOUR_NEGATIVE\",\"own\":\"OWN_ONE\"}",
        "{\"inner\":{\"text\":\"x\",\"inner\":{\"inner\":{}}}}",
        "{\"numbers\":[0,-1,2147483647],\"texts\":[\"\",\"b\"],\"inners\":[{},{\"text\":\"y\"}]}",
        "{\"byName\":{\"k\":{\"text\":\"v\"}},\"byNumber\":{\"-7\":true}}",
        "{\"left\":\"\"}",
        "{\"right\":0}",
        "{\"otherName\":\"n\"}",
        "{\"aDouble\":\"NaN\",\"aFloat\":\"-Infinity\"}",
    };
    for (unsigned i = 0; i < ARRAY_LEN(same); i++)
        assert_string_equal(there_and_back(same[i]), same[i]);
    assert_string_equal(there_and_back("{\"a_string\":\"proto's own name\",\"aBool\":null}"),
                        "{\"aString\":\"proto's own name\"}");
    assert_string_equal(
        there_and_back("{\"anInt64\":5,\"aUint32\":\"6\",\"colour\":1,\"someBytes\":\"_-8\"}"),
        "{\"anInt64\":\"5\",\"aUint32\":6,\"someBytes\":\"/+8=\",\"colour\":\"COLOUR_RED\"}");
    assert_string_equal(there_and_back("{\"colour\":42}"), "{\"colour\":42}");
}

static void wrong_json_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *json, *says;
    } wrong[] = {
        {"{\"aStrin\":\"\"}",
         "error: codec.v1.Everything has no field \"aStrin\"; did you mean \"aString\"?"},
        {"{\"anInt32\":2147483648}",
         "error: anInt32: a number from -2147483648 to 2147483647 was expected"},
        {"{\"aUint32\":-1}", "error: aUint32: a number from 0 to 4294967295 was expected"},
        {"{\"aUint64\":\"18446744073709551616\"}",
         "error: aUint64: a number from 0 to 18446744073709551615 was expected"},
        {"{\"anInt64\":\"-9223372036854775809\"}",
         "error: anInt64: a number from -9223372036854775808 to 9223372036854775807 was expected"},
        {"{\"anInt64\":\"9223372036854775808\"}",
         "error: anInt64: a number from -9223372036854775808 to 9223372036854775807 was expected"},
        {"{\"anInt32\":\"1x\"}",
         "error: anInt32: a number from -2147483648 to 2147483647 was expected"},
        {"{\"anInt32\":1.5}",
         "error: anInt32: a number from -2147483648 to 2147483647 was expected"},
        {"{\"aBool\":1}", "error: aBool: true or false was expected"},
        {"{\"texts\":\"x\"}", "error: texts: an array was expected"},
        {"{\"inners\":[{},{\"text\":1}]}", "error: inners: [1]: text: a string was expected"},
        {"{\"byName\":{\"k\":1}}", "error: byName: k: an object was expected"},
        {"{\"byNumber\":{\"x\":true}}",
         "error: byNumber: x: a number from -2147483648 to 2147483647 was expected"},
        {"{\"colour\":\"COLOUR_RDE\"}",
         "error: colour: COLOUR_RDE is no value of codec.v1.Colour; did you mean COLOUR_RED?"},
        {"{\"someBytes\":\"%\"}", "error: someBytes: base64 was expected"},
        {"{\"left\":\"\",\"right\":1}",
         "error: \"left\" and \"right\": only one of them can be given"},
        {"[]", "error: an object was expected"},
    };
    for (unsigned i = 0; i < ARRAY_LEN(wrong); i++)
        assert_string_equal(there_and_back(wrong[i].json), wrong[i].says);
}

static void nesting_has_a_bound_both_ways(void **state)
{
    (void)state;
    char text[4096] = "{\"inner\":";
    for (int i = 0; i < CTL_NEST_MAX; i++)
        strcat(text, "{\"inner\":");
    strcat(text, "{}");
    for (int i = 0; i <= CTL_NEST_MAX; i++)
        strcat(text, "}");
    assert_non_null(strstr(there_and_back(text), "nested more than 64 deep"));

    struct buf in = {0}, out = {0};
    for (int i = 0; i < 200; i++) { /* from the inside */
        struct buf around = {0};
        ctl_put_field(&around, i == 199 ? 18 : 2, in.data, in.len);
        buf_fini(&in);
        in = around;
    }
    struct ctl_writer w;
    struct err err;
    ctl_w_init(&w, &out, CTL_FORM_JSON_LINE);
    assert_int_equal(ctl_to_tree(everything(), in.data, in.len, &w, &err), FAIL);
    assert_int_equal(err.code, ERR_LIMIT);
    buf_fini(&in);
    buf_fini(&out);
}

static void the_schema_and_the_compiled_descriptors_agree(void **state)
{
    (void)state;
    PbGuest g = PB_GUEST__INIT;
    PbGuestEnd end = PB_GUEST_END__INIT;
    PbLabel label = PB_LABEL__INIT, *labels[] = {&label};
    char *args[] = {(char[]){"sh"}, (char[]){"-c"}};
    struct buf wire = {0}, one = {0}, other = {0};
    struct ctl_writer w;
    struct err err;
    g.name = (char[]){"web"};
    g.state = PB_GUEST_STATE_ENDED;
    g.args = args, g.n_args = 2;
    g.labels = labels, g.n_labels = 1;
    label.key = (char[]){"k"};
    g.create_time_ns = -5;
    g.console_bytes = UINT64_MAX;
    g.tty = true;
    end.kind = PB_END_KIND_LIMIT;
    end.code = -1;
    g.end = &end;
    buf_reserve(&wire, protobuf_c_message_get_packed_size(&g.base));
    wire.len = protobuf_c_message_pack(&g.base, wire.data);
    ctl_w_init(&w, &one, CTL_FORM_JSON_LINE);
    ctl_emit(&w, &g.base);
    ctl_w_init(&w, &other, CTL_FORM_JSON_LINE);
    const struct ctl_type *type = ctl_schema_type(&schema, "vmd.v1.Guest");
    assert_int_equal(ctl_to_tree(type, wire.data, wire.len, &w, &err), OK);
    assert_int_equal(one.len, other.len);
    assert_memory_equal(one.data, other.data, one.len);
    buf_fini(&other);

    json_t *json = json_loadb((char *)one.data, one.len, 0, NULL);
    assert_int_equal(ctl_from_json(type, json, &other, &err), OK);
    PbGuest *back = pb_guest__unpack(NULL, other.len, other.data);
    assert_non_null(back);
    assert_true(back->create_time_ns == -5 && back->console_bytes == UINT64_MAX &&
                back->end->code == -1);
    assert_string_equal(back->args[1], "-c");
    pb_guest__free_unpacked(back, NULL);
    json_decref(json);
    buf_fini(&wire);
    buf_fini(&one);
    buf_fini(&other);
}

static void services_and_streams_are_known(void **state)
{
    (void)state;
    unsigned found = 0;
    for (const struct ctl_rpc *r = schema.rpcs; r; r = r->next) {
        if (!strcmp(r->service, "codec.v1.Codec") && !strcmp(r->name, "Both"))
            found += r->streams_in && r->streams_out && r->input == everything();
        if (!strcmp(r->service, "codec.v1.Codec") && !strcmp(r->name, "One"))
            found += !r->streams_in && !r->streams_out &&
                     !strcmp(r->output->name, "codec.v1.Everything.Inner");
        if (!strcmp(r->name, "WatchStats"))
            found += !r->streams_in && r->streams_out;
    }
    assert_int_equal(found, 3);
    assert_null(ctl_schema_missing(&schema));
}

static void damaged_descriptions_and_messages_are_refused_or_read(void **state)
{
    (void)state;
    static uint8_t copy[sizeof set_bytes];
    struct rng rng;
    rng_seed(&rng, 7);
    for (int round = 0; round < 3000; round++) {
        struct ctl_schema s;
        struct err err = {0};
        bool bad = false;
        memcpy(copy, set_bytes, set_size);
        for (int i = 0; i < 1 + round % 4; i++)
            copy[rng_below(&rng, set_size)] = (uint8_t)rng_next(&rng);
        ctl_schema_init(&s);
        struct ctl_wire w = ctl_wire_over(copy, set_size);
        while (!bad && ctl_wire_next(&w))
            bad = w.kind == CTL_WIRE_BYTES && ctl_schema_add(&s, w.p, w.n, &err);
        if (!bad && !ctl_schema_link(&s, &err))
            for (const struct ctl_type *t = s.types; t; t = t->next) {
                struct buf out = {0};
                struct ctl_writer writer;
                ctl_w_init(&writer, &out, CTL_FORM_YAML);
                if (ctl_to_tree(t, copy, set_size, &writer, &err))
                    assert_true(err.text[0]);
                buf_fini(&out);
            }
        ctl_schema_fini(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_field_survives_the_way_there_and_back),
        cmocka_unit_test(wrong_json_is_refused_with_its_place),
        cmocka_unit_test(nesting_has_a_bound_both_ways),
        cmocka_unit_test(the_schema_and_the_compiled_descriptors_agree),
        cmocka_unit_test(services_and_streams_are_known),
        cmocka_unit_test(damaged_descriptions_and_messages_are_refused_or_read),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
