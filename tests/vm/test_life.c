/* One instance's life, and many beside and after each other. */
#include "tests/vm/harness.h"

#include "engine/base/base.h"
#include "engine/base/os.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct bytes hello, bad;

static int setup(void **state)
{
    (void)state;
    hello = harness_file(VV_GUESTS "/hello");
    bad = harness_file(VV_GUESTS "/bad");
    return 0;
}

static void a_static_program_prints_and_its_exit_code_comes_through(void **state)
{
    (void)state;
    struct buf out = {0};
    struct vm_config c = guest_config(hello, ARGV("hello", "42"));
    assert_int_equal(guest_run(&c, &out), 42);
    assert_int_equal(out.len, 6);
    assert_memory_equal(out.data, "hello\n", 6);
    buf_fini(&out);
}

static void it_does_the_same_interpreted_unchained_and_in_a_small_window(void **state)
{
    (void)state;
    for (int way = 0; way < 5; way++) {
        struct buf out = {0};
        struct vm_config c = guest_config(hello, ARGV("hello", "7"));
        c.no_translate = way == 0;
        c.no_chain = way == 1;
        c.window_bits = way == 2 ? 32 : 0;
        c.block_insns_max = way == 3;
        c.t1_threshold = 1;
        if (way == 4) {
            c.limits.cache_bytes = 65536;
            c.limits.arena_bytes = 8192;
        }
        assert_int_equal(guest_run(&c, &out), 7);
        assert_int_equal(out.len, 6);
        buf_fini(&out);
    }
}

/* What Linux gives to a guest that does this, or the limit that ends it. */
static void a_bad_guest_gets_what_linux_gives(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        int code;
        const char *says;
    } cases[] = {
        {"garbage", 128 + 4, "SIGILL"},
        {"wild", 128 + 11, "SIGSEGV"},
        {"stack", 128 + 11, "SIGSEGV"},
        {"malloc", 7, "malloc said no in time"},
        {"maps", 8, "maps said no in time"},
        {"forks", 9, "fork said no in time"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct guest g;
        struct vm_config c = guest_config(bad, ARGV("bad", cases[i].what));
        c.limits.memory_bytes = (uint64_t)128 << 20;
        c.limits.processes = 50;
        guest_create(&g, &c);
        if (!guest_finish(&g, SECONDS(60)))
            fail_msg("%s does not end", cases[i].what);
        const struct vm_end *end = vm_end(g.vm);
        int code = end->kind == VM_END_EXIT ? end->code : 128 + end->code;
        if (code != cases[i].code)
            fail_msg("%s: code %d (%s), wanted %d", cases[i].what, code, end->text, cases[i].code);
        if (!strstr(end->text, cases[i].says) && !strstr(guest_out(&g), cases[i].says))
            fail_msg("%s: neither \"%s\" nor the output says %s", cases[i].what, end->text, cases[i].says);
        guest_free(&g);
    }
}

/* 64 KiB that are no image. */
static int open_junk(void)
{
    int fd = -1;
    struct err err;
    assert_int_equal(os_memfd("junk", 65536, &fd, &err), OK);
    assert_int_equal(pwrite(fd, "junk", 4, 1024), 4);
    return fd;
}

static void what_is_not_a_program_is_refused_with_the_reason(void **state)
{
    (void)state;
    struct err err = {0};
    struct vm *vm = NULL;
    struct bytes junk = {(void *)"#not an elf, and not a script either", 36};
    struct vm_config c = guest_config(junk, ARGV("junk"));
    assert_int_equal(vm_create(&c, NULL, &vm, &err), FAIL);
    assert_true(strlen(err.text) > 5);
    assert_null(vm);
    struct bytes cut = {hello.p, 100};
    c = guest_config(cut, ARGV("cut"));
    assert_int_equal(vm_create(&c, NULL, &vm, &err), FAIL);
    assert_int_equal(err.code, ERR_BAD_ELF);
    c = guest_config((struct bytes){0}, ARGV("nothing-there"));
    assert_int_equal(vm_create(&c, NULL, &vm, &err), FAIL);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    c = guest_config(hello, ARGV("hello"));
    c.image_fd = open_junk();
    assert_int_equal(vm_create(&c, NULL, &vm, &err), FAIL);
    assert_int_equal(err.code, ERR_BAD_IMAGE);
    close(c.image_fd);
}

static void guests_beside_each_other_do_not_meet(void **state)
{
    (void)state;
    enum { N = 8 };
    struct guest g[N];
    char code[N][8];
    const char *argv[N][3];
    for (int i = 0; i < N; i++) {
        snprintf(code[i], sizeof code[i], "%d", 10 + i);
        argv[i][0] = i % 2 ? "bad" : "hello";
        argv[i][1] = i % 2 ? "recursion" : code[i];
        argv[i][2] = NULL;
        struct vm_config c = guest_config(i % 2 ? bad : hello, argv[i]);
        guest_create(&g[i], &c);
    }
    for (int i = 0; i < N; i += 2) {
        assert_true(guest_finish(&g[i], SECONDS(60)));
        assert_int_equal(vm_end(g[i].vm)->code, 10 + i);
        assert_string_equal(guest_out(&g[i]), "hello\n");
    }
    for (int i = 1; i < N; i += 2) {
        assert_int_equal(vm_state(g[i].vm), VM_RUNNING);
        vm_kill(g[i].vm);
        assert_true(guest_finish(&g[i], SECONDS(10)));
        assert_int_equal(vm_end(g[i].vm)->kind, VM_END_KILLED);
    }
    for (int i = 0; i < N; i++)
        guest_free(&g[i]);
}

static int count_dir(const char *path)
{
    int n = 0;
    DIR *d = opendir(path);
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

static int count_lines(const char *path)
{
    int n = 0;
    FILE *f = fopen(path, "r");
    for (int ch; f && (ch = getc(f)) != EOF;)
        n += ch == '\n';
    if (f)
        fclose(f);
    return n;
}

static long resident_pages(void)
{
    long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%ld %ld", &total, &resident) != 2)
        resident = -1;
    if (f)
        fclose(f);
    return resident;
}

static void a_thousand_guests_in_a_row_leave_nothing_behind(void **state)
{
    (void)state;
    int fds = 0, threads = 0, maps = 0;
    long pages = 0;
    for (int i = 0; i <= 1000; i++) {
        struct vm_config c = guest_config(hello, ARGV("hello", "3"));
        assert_int_equal(guest_run(&c, NULL), 3);
        if (i == 50) { /* caches of our own are warm */
            fds = count_dir("/proc/self/fd");
            threads = count_dir("/proc/self/task");
            maps = count_lines("/proc/self/maps");
            pages = resident_pages();
        }
    }
    assert_int_equal(count_dir("/proc/self/fd"), fds);
    assert_int_equal(count_dir("/proc/self/task"), threads);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)maps, (void)pages; /* a sanitizer keeps what was freed; the leak check at the end is stricter anyway */
#else
    assert_in_range(count_lines("/proc/self/maps"), 1, maps + 8);
    assert_in_range(resident_pages(), 1, pages + 512);
#endif
}

static void a_paused_guest_stands_still_and_goes_on(void **state)
{
    (void)state;
    struct guest g;
    struct err err;
    struct vm_config c = guest_config(bad, ARGV("bad", "recursion"));
    guest_create(&g, &c);
    assert_false(guest_finish(&g, SECONDS(1) / 10));
    assert_int_equal(vm_pause(g.vm, &err), OK);
    assert_int_equal(vm_state(g.vm), VM_PAUSED);
    struct vm_stats a, b;
    vm_stats(g.vm, &a);
    assert_false(vm_wait(g.vm, SECONDS(1) / 10));
    vm_stats(g.vm, &b);
    assert_true(b.cpu_ns - a.cpu_ns < 1000000); /* the thread's own way into its sleep */
    assert_int_equal(vm_resume(g.vm, &err), OK);
    assert_false(vm_wait(g.vm, SECONDS(1) / 10));
    vm_stats(g.vm, &b);
    assert_true(b.cpu_ns > a.cpu_ns);
    assert_int_equal(vm_signal(g.vm, 15, &err), OK);
    assert_true(guest_finish(&g, SECONDS(10)));
    assert_int_equal(vm_end(g.vm)->kind, VM_END_SIGNAL);
    assert_int_equal(vm_end(g.vm)->code, 15);
    guest_free(&g);
}

static void a_cpu_limit_ends_the_guest_and_says_so(void **state)
{
    (void)state;
    struct guest g;
    struct vm_config c = guest_config(bad, ARGV("bad", "self-jump"));
    c.limits.cpu_ns = SECONDS(1) / 5;
    guest_create(&g, &c);
    assert_true(guest_finish(&g, SECONDS(30)));
    assert_int_equal(vm_end(g.vm)->kind, VM_END_LIMIT);
    assert_non_null(strstr(vm_end(g.vm)->text, "CPU"));
    guest_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_static_program_prints_and_its_exit_code_comes_through),
        cmocka_unit_test(it_does_the_same_interpreted_unchained_and_in_a_small_window),
        cmocka_unit_test(a_bad_guest_gets_what_linux_gives),
        cmocka_unit_test(what_is_not_a_program_is_refused_with_the_reason),
        cmocka_unit_test(guests_beside_each_other_do_not_meet),
        cmocka_unit_test(a_paused_guest_stands_still_and_goes_on),
        cmocka_unit_test(a_cpu_limit_ends_the_guest_and_says_so),
        cmocka_unit_test(a_thousand_guests_in_a_row_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
