// links: engine/host/x64 engine/guest/riscv engine/isa engine/cpu engine/base
/*
 * Golden texts: tests/golden/<case>.txt begins with `code` (parcels in hex), optional `without` (host features) and
 * `window32`, and goes on behind ==== with what becomes of it: guest instructions, micro-ops, host code.
 * BLESS=1 rewrites them; a change of generated code thus shows in review.
 */
#include "engine/base/arena.h"
#include "engine/guest/guest.h"
#include "engine/host/host.h"
#include "engine/ir/ir.h"

#include <glob.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define PC 0x10000
#define FEATURES                                                                   \
    (HOST_FEATURE_AVX | HOST_FEATURE_FMA | HOST_FEATURE_BMI1 | HOST_FEATURE_BMI2 | \
     HOST_FEATURE_AVX512 | HOST_FEATURE_FSGSBASE)
#define CACHE_OFF 0x2000

struct text {
    char s[64 << 10];
    size_t n;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    t->n += (size_t)vsnprintf(t->s + t->n, sizeof t->s - t->n, fmt, ap);
    va_end(ap);
    assert_true(t->n < sizeof t->s);
}

struct input {
    uint8_t code[1024];
    size_t n;
    struct host_options o;
};

static uint32_t feature(const char *name)
{
    static const struct {
        const char *name;
        uint32_t bit;
    } known[] = {{"avx512", HOST_FEATURE_AVX512},
                 {"avx", HOST_FEATURE_AVX},
                 {"fma", HOST_FEATURE_FMA},
                 {"bmi2", HOST_FEATURE_BMI2}};
    for (unsigned i = 0; i < ARRAY_LEN(known); i++)
        if (!strcmp(name, known[i].name))
            return known[i].bit;
    fail_msg("no such feature: %s", name);
    return 0;
}

static void parse(char *head, struct input *in)
{
    *in =
        (struct input){.o = {.features = FEATURES, .window_bytes = (uint64_t)1 << 36, .sp_reg = 2}};
    char *save;
    for (char *line = strtok_r(head, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *word_save, *word = strtok_r(line, " ", &word_save);
        if (!word || *word == '#')
            continue;
        const char *key = word;
        while ((word = strtok_r(NULL, " ", &word_save))) {
            if (!strcmp(key, "code")) {
                uint16_t parcel = (uint16_t)strtoul(word, NULL, 16);
                assert_true(in->n + 2 <= sizeof in->code);
                memcpy(in->code + in->n, &parcel, 2);
                in->n += 2;
            } else if (!strcmp(key, "without")) {
                in->o.features &= ~feature(word);
            }
        }
        if (!strcmp(key, "window32")) {
            in->o.window_bytes = (uint64_t)1 << 32;
            in->o.gst_options = GST_WINDOW32;
        }
    }
}

static void put_host(struct text *t, const struct host_code *c)
{
    char name[] = "/tmp/vv-golden-XXXXXX", command[200], line[300];
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, c->w, c->len), c->len);
    close(fd);
    snprintf(command, sizeof command,
             "objdump -D -b binary -m i386:x86-64 -M intel --no-show-raw-insn --adjust-vma=%#x %s",
             CACHE_OFF, name);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        char *tab = strchr(line, '\t');
        if (line[0] == ' ' && tab)
            put(t, "%s", line + strspn(line, " "));
    }
    assert_int_equal(pclose(f), 0);
    unlink(name);
}

static void generate(struct text *t, const struct input *in)
{
    static struct ir_block b;
    static uint8_t stub_code[1 << 14], code[1 << 15];
    struct arena arena;
    arena_init(&arena, 0);
    struct gst_lift l = {.pc = PC,
                         .bytes = in->code,
                         .byte_count = in->n,
                         .insns_max = IR_INSNS_MAX,
                         .options = in->o.gst_options};
    rv_guest_ops.lift(&l, &b);
    put(t, "---- guest\n");
    for (size_t at = 0; at < l.consumed_bytes;) {
        char text[80];
        unsigned n = rv_guest_ops.disasm(in->code + at, in->n - at, PC + at, text, sizeof text);
        put(t, "%06zx  %s\n", PC + at, text);
        at += n;
    }
    put(t, "---- micro-ops\n");
    unsigned at;
    assert_null(ir_verify(&b, &at));
    t->n += ir_print(&b, t->s + t->n, sizeof t->s - t->n);
    struct host_stubs stubs;
    struct host_code s = {.w = stub_code, .w_bytes = sizeof stub_code, .arena = &arena};
    assert_int_equal(x64_host_ops.emit_stubs(&in->o, &s, &stubs, NULL), OK);
    struct host_code c = {
        .w = code, .w_bytes = sizeof code, .cache_off = CACHE_OFF, .arena = &arena};
    assert_int_equal(x64_host_ops.lower(&in->o, &stubs, &b, &c, NULL), OK);
    put(t, "---- host\n");
    put_host(t, &c);
    for (unsigned i = 0; i < c.exit_count; i++) {
        assert_int_equal((CACHE_OFF + c.exits[i].patch_off) % 4, 0);
        put(t, "exit to %#lx: patch %x stub %x\n", c.exits[i].target,
            CACHE_OFF + c.exits[i].patch_off, CACHE_OFF + c.exits[i].stub_off);
    }
    arena_fini(&arena);
}

static bool one(const char *path)
{
    static struct text was, now;
    static char head[8192];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    was.n = fread(was.s, 1, sizeof was.s - 1, f);
    was.s[was.n] = 0;
    fclose(f);
    char *split = strstr(was.s, "====\n");
    assert_non_null(split);
    size_t head_bytes = (size_t)(split - was.s);
    assert_true(head_bytes < sizeof head);
    memcpy(head, was.s, head_bytes);
    head[head_bytes] = 0;
    struct input in;
    now.n = 0;
    put(&now, "%s====\n", head);
    parse(head, &in);
    generate(&now, &in);
    if (!strcmp(was.s, now.s))
        return true;
    if (getenv("BLESS")) {
        f = fopen(path, "w");
        assert_non_null(f);
        assert_int_equal(fwrite(now.s, 1, now.n, f), now.n);
        fclose(f);
        print_message("  blessed %s\n", path);
        return true;
    }
    print_error("%s differs from what is generated now:\n%s", path, now.s);
    return false;
}

static void generated_code_is_as_it_was_reviewed(void **state)
{
    (void)state;
    glob_t g;
    assert_int_equal(glob(VV_SOURCE_DIR "/tests/golden/*.txt", 0, NULL, &g), 0);
    unsigned wrong = 0;
    for (size_t i = 0; i < g.gl_pathc; i++)
        wrong += !one(g.gl_pathv[i]);
    globfree(&g);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generated_code_is_as_it_was_reviewed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
