// links: engine/memory engine/cpu engine/base
#include "harness.h"

static void every_width_loads_and_stores_at_every_alignment(void **state)
{
    struct fix *f = fix_new();
    struct vcpu *v = f->v;
    (void)state;
    gva_t a = anon(f->s, 3 * PG, RW);
    for (gva_t p = a + PG - 16; p < a + PG + 16; p++) {
        uint8_t b = 0;
        uint16_t h = 0;
        uint32_t w = 0;
        uint64_t d = 0;
        uint64_t x = 0x8182838485868788 + p;
        assert_true(mem_st64(v, p, x) && mem_ld64(v, p, &d));
        assert_int_equal(d, x);
        assert_true(mem_ld32(v, p, &w) && mem_ld16(v, p, &h) && mem_ld8(v, p, &b));
        assert_int_equal(w, (uint32_t)x);
        assert_int_equal(h, (uint16_t)x);
        assert_int_equal(b, (uint8_t)x);
        assert_true(mem_st8(v, p, 1) && mem_ld64(v, p, &d));
        assert_int_equal(d, (x & ~0xffull) | 1);
        assert_true(mem_st16(v, p, 0x102) && mem_ld64(v, p, &d));
        assert_int_equal(d, (x & ~0xffffull) | 0x102);
        assert_true(mem_st32(v, p, 0x1020304) && mem_ld64(v, p, &d));
        assert_int_equal(d, (x & ~0xffffffffull) | 0x1020304);
    }
    fix_free(f);
}

static void expect_trap(struct vcpu *v, enum cpu_trap_kind kind, enum cpu_access access, gva_t addr)
{
    assert_int_equal(v->trap.kind, kind);
    assert_int_equal(v->trap.access, access);
    assert_int_equal(v->trap.addr, addr);
    v->trap = (struct cpu_trap){0};
}

static void a_fault_names_the_first_byte_and_leaves_out_alone(void **state)
{
    struct fix *f = fix_new();
    struct vcpu *v = f->v;
    uint64_t d = 77;
    (void)state;
    gva_t a = at(f->s, 0x100000, PG, RW, 0, NULL, 0);
    assert_false(mem_ld64(v, 0, &d));
    expect_trap(v, CPU_TRAP_PAGE, CPU_LOAD, 0);
    assert_false(mem_ld64(v, a - 8, &d));
    expect_trap(v, CPU_TRAP_PAGE, CPU_LOAD, a - 8);
    assert_false(mem_ld64(v, a - 3, &d)); /* begins outside */
    expect_trap(v, CPU_TRAP_PAGE, CPU_LOAD, a - 3);
    assert_false(mem_ld64(v, a + PG - 3, &d)); /* ends outside */
    expect_trap(v, CPU_TRAP_PAGE, CPU_LOAD, a + PG);
    assert_false(mem_st64(v, a + PG - 3, 0));
    expect_trap(v, CPU_TRAP_PAGE, CPU_STORE, a + PG);
    assert_int_equal(d, 77);
    assert_int_equal(mem_protect(f->s, a, PG, MEM_R), 0);
    assert_true(mem_ld64(v, a, &d));
    assert_false(mem_st8(v, a + 5, 1));
    expect_trap(v, CPU_TRAP_PAGE, CPU_STORE, a + 5);
    fix_free(f);
}

static void addresses_just_outside_the_window_fault_with_their_own_address(void **state)
{
    for (unsigned bits = 32; bits <= 36; bits += 4) {
        struct fix *f = fix_with(
            (struct mem_pool_config){.commit_bytes = GIB, .maps = 1000, .window_bits = bits});
        uint64_t d, top = mem_space_bytes(f->s);
        uint32_t w;
        (void)state;
        static const int64_t off[] = {-2048, -8, -7, -1};
        for (size_t i = 0; i < ARRAY_LEN(off); i++) {
            assert_false(mem_ld64(f->v, (uint64_t)off[i], &d));
            expect_trap(f->v, CPU_TRAP_PAGE, CPU_LOAD, (uint64_t)off[i]);
            assert_false(mem_st64(f->v, top + (uint64_t)off[i], 1));
            expect_trap(f->v, CPU_TRAP_PAGE, CPU_STORE, top + (uint64_t)off[i]);
        }
        assert_false(mem_st64(f->v, top + 2047, 1));
        expect_trap(f->v, CPU_TRAP_PAGE, CPU_STORE, top + 2047);
        assert_false(mem_fetch(f->v, UINT64_MAX - 1, &w));
        expect_trap(f->v, CPU_TRAP_PAGE, CPU_FETCH, UINT64_MAX - 1);
        assert_false(mem_fetch(f->v, 0x7fff12345678, &w));
        expect_trap(f->v, CPU_TRAP_PAGE, CPU_FETCH, 0x7fff12345678);
        assert_int_equal(mem_fault(f->s, (uint64_t)-4096, false), MEM_FAULT_PAGE);
        assert_int_equal(mem_fault(f->s, 0x8000000000000000, false), MEM_FAULT_NOT_OURS);
        fix_free(f);
    }
}

static void a_store_that_fails_in_its_second_page_writes_nothing(void **state)
{
    struct fix *f = fix_new();
    (void)state;
    gva_t a = at(f->s, 0x100000, 2 * PG, RW, 0, NULL, 0);
    poke(f->s, a + PG - 8, 0x1111111111111111);
    assert_int_equal(mem_protect(f->s, a + PG, PG, MEM_R), 0);
    for (unsigned k = 1; k < 8; k++) {
        assert_false(mem_st64(f->v, a + PG - k, UINT64_MAX));
        expect_trap(f->v, CPU_TRAP_PAGE, CPU_STORE, a + PG);
        assert_int_equal(peek(f->s, a + PG - 8), 0x1111111111111111);
    }
    assert_false(mem_st32(f->v, a + PG - 1, UINT32_MAX));
    assert_false(mem_st16(f->v, a + PG - 1, UINT16_MAX));
    assert_int_equal(peek(f->s, a + PG - 8), 0x1111111111111111);
    fix_free(f);
}

static void compare_and_swap_needs_write_permission_even_to_fail(void **state)
{
    struct fix *f = fix_new();
    uint32_t w = 9;
    uint64_t d = 9;
    (void)state;
    gva_t a = at(f->s, 0x100000, PG, RW, 0, NULL, 0);
    poke(f->s, a, 0x100000005);
    assert_true(mem_cas32(f->v, a, 5, 6, &w));
    assert_int_equal(w, 5);
    assert_true(mem_cas32(f->v, a, 5, 7, &w));
    assert_int_equal(w, 6);
    assert_true(mem_cas64(f->v, a, 0x100000006, 3, &d));
    assert_int_equal(d, 0x100000006);
    assert_int_equal(peek(f->s, a), 3);
    assert_int_equal(mem_protect(f->s, a, PG, MEM_R), 0);
    assert_false(mem_cas64(f->v, a, 1000, 1, &d));
    expect_trap(f->v, CPU_TRAP_PAGE, CPU_STORE, a);
    assert_int_equal(d, 0x100000006);
    fix_free(f);
}

static void fetch_checks_execute_permission_and_crosses_pages(void **state)
{
    struct fix *f = fix_new();
    uint32_t w = 1;
    (void)state;
    gva_t a = at(f->s, 0x100000, 2 * PG, RW, 0, NULL, 0);
    poke(f->s, a, 0x00000013);
    poke(f->s, a + PG - 8, 0xabc3ull << 48 | 0x0001ull << 32); /* c.nop, then half an instruction */
    assert_false(mem_fetch(f->v, a, &w));
    expect_trap(f->v, CPU_TRAP_PAGE, CPU_FETCH, a);
    assert_int_equal(mem_protect(f->s, a, PG, RX), 0);
    assert_true(mem_fetch(f->v, a, &w) && mem_fetch(f->v, a, &w));
    assert_int_equal(w, 0x13);
    assert_true(mem_fetch(f->v, a + PG - 4, &w));
    assert_int_equal(w, 1); /* the upper half of a short one is 0 */
    assert_false(mem_fetch(f->v, a + PG - 2, &w));
    expect_trap(f->v, CPU_TRAP_PAGE, CPU_FETCH, a + PG);
    assert_int_equal(mem_protect(f->s, a + PG, PG, RWX), 0);
    poke(f->s, a + PG, 0x1234);
    assert_true(mem_fetch(f->v, a + PG - 2, &w));
    assert_int_equal(w, 0x1234abc3);
    assert_true(mem_fetch(f->v, a, &w));
    assert_int_equal(mem_protect(f->s, a, PG, MEM_R), 0); /* the remembered page is forgotten */
    assert_false(mem_fetch(f->v, a, &w));
    assert_true(mem_fetch(f->v, a + PG, &w));
    assert_int_equal(mem_unmap(f->s, a + PG, PG), 0);
    assert_false(mem_fetch(f->v, a + PG, &w));
    expect_trap(f->v, CPU_TRAP_PAGE, CPU_FETCH, a + PG);
    fix_free(f);
}

static void copies_say_how_far_they_came(void **state)
{
    struct fix *f = fix_new();
    char text[PAGE_SIZE * 3];
    (void)state;
    gva_t a = at(f->s, 0x100000, 2 * PG, RW, 0, NULL, 0);
    memset(text, 'x', sizeof text);
    assert_int_equal(mem_copy_out_some(f->s, a + 100, text, sizeof text), 2 * PG - 100);
    assert_int_equal(mem_copy_in_some(f->s, text, a + 100, sizeof text), 2 * PG - 100);
    assert_int_equal(mem_copy_in_some(f->s, text, a - 1, 10), 0);
    assert_false(mem_copy_out(f->s, a + 100, text, sizeof text));
    assert_true(mem_copy_in(f->s, text, 0, 0));
    assert_false(mem_copy_in(f->s, text, mem_space_bytes(f->s) - 4, 8));
    assert_false(mem_copy_in(f->s, text, mem_space_bytes(f->s), 8));
    assert_false(mem_copy_in(f->s, text, UINT64_MAX - 3, 8));
    assert_false(mem_copy_out(f->s, UINT64_MAX - 3, text, 8));
    assert_true(mem_copy_out(f->s, a + PG - 3, "hello", 6));
    assert_int_equal(mem_copy_str(f->s, text, a + PG - 3, sizeof text), 5);
    assert_string_equal(text, "hello");
    assert_int_equal(mem_copy_str(f->s, text, a + PG - 3, 5), -ENAMETOOLONG);
    assert_int_equal(mem_copy_str(f->s, text, a + PG - 3, 6), 5);
    assert_int_equal(mem_copy_str(f->s, text, a + PG + 100, sizeof text),
                     -EFAULT); /* no NUL till the end */
    assert_int_equal(mem_copy_str(f->s, text, 16, sizeof text), -EFAULT);
    fix_free(f);
}

static void a_truncated_image_file_is_a_bus_error_not_a_crash(void **state)
{
    struct fix *f = fix_new();
    struct mem_object *o;
    uint64_t d;
    uint32_t w;
    int fd;
    (void)state;
    assert_int_equal(os_memfd("image", 4 * PG, &fd, &f->err), OK);
    assert_int_equal(mem_object_image(f->pool, fd, PG, 2 * PG + 5, 1, &o, &f->err), OK);
    gva_t a = at(f->s, 0x100000, 5 * PG, RX, 0, o, 0);
    assert_true(mem_ld64(f->v, a + 2 * PG, &d));
    assert_false(mem_ld64(f->v, a + 3 * PG, &d)); /* beyond the file */
    expect_trap(f->v, CPU_TRAP_BUS, CPU_LOAD, a + 3 * PG);
    assert_false(mem_fetch(f->v, a + 3 * PG, &w));
    expect_trap(f->v, CPU_TRAP_BUS, CPU_FETCH, a + 3 * PG);
    assert_int_equal(mem_watch_page(f->s, a + 3 * PG), MEM_WATCH_FAULT);
    assert_int_equal(ftruncate(fd, PG), 0); /* behind our back */
    assert_false(mem_ld64(f->v, a, &d));
    expect_trap(f->v, CPU_TRAP_BUS, CPU_LOAD, a);
    assert_false(mem_copy_in(f->s, &d, a + PG, 8));
    assert_false(mem_fetch(f->v, a, &w));
    expect_trap(f->v, CPU_TRAP_BUS, CPU_FETCH, a);
    mem_object_put(o);
    fix_free(f);
    close(fd);
}

static void figures(void **state)
{
    struct fix *f = fix_new();
    enum { N = 4000000 };
    struct vcpu *v = f->v;
    uint64_t d, sum = 0;
    uint32_t w;
    (void)state;
    gva_t a = anon(f->s, 4 * PG, RWX);
    poke(f->s, a, 0x13);
    uint64_t t0 = os_thread_cpu_ns();
    for (int i = 0; i < N; i++)
        sum += mem_ld64(v, a + (unsigned)i % 512 * 8, &d);
    uint64_t t1 = os_thread_cpu_ns();
    for (int i = 0; i < N; i++)
        sum += mem_st64(v, a + (unsigned)i % 512 * 8, 0x13);
    uint64_t t2 = os_thread_cpu_ns();
    for (int i = 0; i < N; i++)
        sum += mem_fetch(v, a + (unsigned)i % 512 * 8, &w);
    uint64_t t3 = os_thread_cpu_ns();
    for (int i = 0; i < N / 10; i++)
        sum += mem_copy_in(f->s, &d, a + (unsigned)i % 512 * 8, 8);
    uint64_t t4 = os_thread_cpu_ns();
    enum { M = 20000 };
    for (int i = 0; i < M; i++) {
        gva_t b = anon(f->s, 4 * PG, RW);
        mem_unmap(f->s, b, 4 * PG);
    }
    uint64_t t5 = os_thread_cpu_ns();
    for (int i = 0; i < M; i++) {
        gva_t b = anon(f->s, 4 * PG, RW);
        mem_st64(v, b, 1);
        mem_unmap(f->s, b, 4 * PG);
    }
    uint64_t t6 = os_thread_cpu_ns();
    for (int i = 0; i < M; i++)
        mem_protect(f->s, a + PG, PG, i % 2 ? RW : MEM_R);
    uint64_t t7 = os_thread_cpu_ns();
    assert_int_equal(sum, 3ull * N + N / 10);
    print_message("    ns: ld64 %.2f, st64 %.2f, fetch %.2f, copy of 8 bytes %.1f; us: mmap+munmap "
                  "%.2f, touched %.2f, mprotect %.2f\n",
                  (double)(t1 - t0) / N, (double)(t2 - t1) / N, (double)(t3 - t2) / N,
                  (double)(t4 - t3) / (N / 10), (double)(t5 - t4) / M / 1e3,
                  (double)(t6 - t5) / M / 1e3, (double)(t7 - t6) / M / 1e3);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_width_loads_and_stores_at_every_alignment),
        cmocka_unit_test(a_fault_names_the_first_byte_and_leaves_out_alone),
        cmocka_unit_test(addresses_just_outside_the_window_fault_with_their_own_address),
        cmocka_unit_test(a_store_that_fails_in_its_second_page_writes_nothing),
        cmocka_unit_test(compare_and_swap_needs_write_permission_even_to_fail),
        cmocka_unit_test(fetch_checks_execute_permission_and_crosses_pages),
        cmocka_unit_test(copies_say_how_far_they_came),
        cmocka_unit_test(a_truncated_image_file_is_a_bus_error_not_a_crash),
        cmocka_unit_test(figures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
