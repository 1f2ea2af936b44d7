// links: engine/memory engine/cpu engine/base
#include "harness.h"

static void a_map_goes_top_down_below_the_area_of_the_stack(void **state)
{
    struct fix *f = fix_new();
    (void)state;
    gva_t a = anon(f->s, 3 * PG, RW), b = anon(f->s, PG, RW);
    assert_int_equal(a, mem_space_bytes(f->s) - GIB - 128 * MIB - 3 * PG);
    assert_int_equal(b, a - PG);
    assert_int_equal(mem_unmap(f->s, a, PG), 0);
    assert_int_equal(anon(f->s, 2 * PG, RW), b - 2 * PG);
    assert_int_equal(anon(f->s, PG, RW), a);
    assert_int_equal(mem_space_mapped_bytes(f->s), 6 * PG);
    assert_true(mem_check(f->s));
    fix_free(f);
}

static void two_spaces_of_one_history_have_the_same_addresses(void **state)
{
    struct fix *f = fix_new(), *g = fix_new();
    (void)state;
    for (int i = 1; i < 50; i++) {
        gva_t a = anon(f->s, (uint64_t)(i % 7 + 1) * PG, RW),
              b = anon(g->s, (uint64_t)(i % 7 + 1) * PG, RW);
        assert_int_equal(a, b);
        if (i % 3 == 0) {
            assert_int_equal(mem_unmap(f->s, a, PG), 0);
            assert_int_equal(mem_unmap(g->s, b, PG), 0);
        }
    }
    fix_free(f);
    fix_free(g);
}

static void a_hint_is_taken_if_it_is_free(void **state)
{
    struct fix *f = fix_new();
    (void)state;
    assert_int_equal(mem_map(f->s, 0x40000123, PG, RW, 0, NULL, 0, NULL), 0x40000000);
    assert_true(mem_map(f->s, 0x40000000, PG, RW, 0, NULL, 0, NULL) > 0x40000000);
    assert_int_equal(mem_map(f->s, 0x40000000, PG, RW, MEM_NOREPLACE, NULL, 0, NULL), -EEXIST);
    assert_int_equal(mem_map(f->s, 0x40001000, PG, RW, MEM_NOREPLACE, NULL, 0, NULL), 0x40001000);
    fix_free(f);
}

static void wrong_arguments_get_what_linux_gives(void **state)
{
    struct fix *f = fix_new();
    uint64_t bytes = mem_space_bytes(f->s);
    (void)state;
    assert_int_equal(mem_map(f->s, 0, 0, RW, 0, NULL, 0, NULL), -EINVAL);
    assert_int_equal(mem_map(f->s, 0, PG, RW, 0, NULL, 12, NULL), -EINVAL);
    assert_int_equal(mem_map(f->s, 0x12345, PG, RW, MEM_FIXED, NULL, 0, NULL), -EINVAL);
    assert_int_equal(mem_map(f->s, 0, PG, RW, MEM_FIXED, NULL, 0, NULL), -EPERM);
    assert_int_equal(mem_map(f->s, 0xf000, PG, RW, MEM_FIXED, NULL, 0, NULL), -EPERM);
    assert_int_equal(mem_map(f->s, bytes - GIB, PG, RW, MEM_FIXED, NULL, 0, NULL), -ENOMEM);
    assert_int_equal(mem_map(f->s, bytes - GIB - PG, 2 * PG, RW, MEM_FIXED, NULL, 0, NULL),
                     -ENOMEM);
    assert_int_equal(mem_map(f->s, UINT64_MAX - PG + 1, PG, RW, MEM_FIXED, NULL, 0, NULL), -ENOMEM);
    assert_int_equal(mem_map(f->s, 0, UINT64_MAX, RW, 0, NULL, 0, NULL), -ENOMEM);
    assert_int_equal(mem_map(f->s, 0, bytes, 0, 0, NULL, 0, NULL), -ENOMEM);
    assert_int_equal(mem_unmap(f->s, 0x12345, PG), -EINVAL);
    assert_int_equal(mem_unmap(f->s, 0x12000, 0), -EINVAL);
    assert_int_equal(mem_unmap(f->s, bytes, PG), -EINVAL);
    assert_int_equal(mem_unmap(f->s, 0x12000, UINT64_MAX), -EINVAL);
    assert_int_equal(mem_unmap(f->s, 0x12000, PG), 0);
    assert_int_equal(mem_protect(f->s, 0x12001, PG, RW), -EINVAL);
    assert_int_equal(mem_protect(f->s, 0x12000, 0, RW), 0);
    assert_int_equal(mem_protect(f->s, 0x12000, PG, RW), -ENOMEM);
    assert_int_equal(mem_protect(f->s, 0x12000, UINT64_MAX - 5, RW), -ENOMEM);
    assert_int_equal(mem_discard(f->s, 0x12000, PG), -ENOMEM);
    assert_int_equal(mem_sync(f->s, 0x12000, PG), -ENOMEM);
    assert_int_equal(mem_remap(f->s, 0x12000, PG, 2 * PG, true, ANYWHERE), -EFAULT);
    assert_int_equal(mem_remap(f->s, 0x12001, PG, 2 * PG, true, ANYWHERE), -EINVAL);
    assert_int_equal(mem_remap(f->s, 0x12000, PG, 0, true, ANYWHERE), -EINVAL);
    fix_free(f);
}

static void a_hole_in_the_middle_leaves_two_maps_and_zeros_come_back(void **state)
{
    struct fix *f = fix_new();
    uint8_t x;
    (void)state;
    gva_t a = anon(f->s, 5 * PG, RW);
    for (unsigned i = 0; i < 5; i++)
        poke(f->s, a + i * PG, 100 + i);
    assert_int_equal(mem_unmap(f->s, a + 2 * PG, PG), 0);
    assert_int_equal(map_count(f->s), 2);
    assert_true(mem_check(f->s));
    assert_int_equal(peek(f->s, a + PG), 101);
    assert_int_equal(peek(f->s, a + 3 * PG), 103);
    assert_false(mem_copy_in(f->s, &x, a + 2 * PG, 1));
    at(f->s, a + 2 * PG, PG, RW, 0, NULL, 0);
    assert_int_equal(peek(f->s, a + 2 * PG), 0);
    assert_int_equal(map_count(f->s), 1); /* grown together again */
    assert_true(mem_check(f->s));
    fix_free(f);
}

static void protections_of_a_part_cut_and_heal(void **state)
{
    struct fix *f = fix_new();
    uint64_t x = 7;
    (void)state;
    gva_t a = anon(f->s, 5 * PG, RW);
    poke(f->s, a + PG, 1);
    assert_int_equal(mem_protect(f->s, a + PG, PG, MEM_R), 0);
    assert_int_equal(map_count(f->s), 3);
    assert_false(mem_copy_out(f->s, a + PG, &x, 8));
    assert_int_equal(peek(f->s, a + PG), 1);
    assert_int_equal(mem_protect(f->s, a + 2 * PG, PG, 0), 0);
    assert_false(mem_copy_in(f->s, &x, a + 2 * PG, 8));
    assert_true(mem_check(f->s));
    assert_true(mem_peek(f->s, &x, a + 2 * PG, 8)); /* the debugger sees it all the same */
    assert_int_equal(x, 0);
    assert_true(mem_check(f->s));
    assert_int_equal(mem_protect(f->s, a, 5 * PG, RW), 0);
    assert_int_equal(map_count(f->s), 1);
    assert_true(mem_check(f->s));
    /* Up to a hole it is done, then it fails. */
    assert_int_equal(mem_unmap(f->s, a + 3 * PG, PG), 0);
    assert_int_equal(mem_protect(f->s, a + 2 * PG, 3 * PG, MEM_R), -ENOMEM);
    assert_false(mem_copy_out(f->s, a + 2 * PG, &x, 8));
    assert_true(mem_copy_out(f->s, a + 4 * PG, &x, 8));
    fix_free(f);
}

static void execute_only_is_readable_and_nothing_is_ever_executable_on_the_host(void **state)
{
    struct fix *f = fix_new();
    (void)state;
    gva_t a = anon(f->s, PG, MEM_X);
    assert_int_equal(peek(f->s, a), 0);
    anon(f->s, PG, RWX);
    assert_int_equal(mem_protect(f->s, a, PG, RX), 0);
    assert_true(mem_check(f->s));
    fix_free(f);
}

static void discarded_pages_are_zero_again(void **state)
{
    struct fix *f = fix_new();
    (void)state;
    gva_t a = anon(f->s, 3 * PG, RW);
    poke(f->s, a, 1);
    poke(f->s, a + PG, 2);
    assert_int_equal(mem_discard(f->s, a, PG), 0);
    assert_int_equal(peek(f->s, a), 0);
    assert_int_equal(peek(f->s, a + PG), 2);
    assert_int_equal(mem_sync(f->s, a, 3 * PG), 0);
    assert_int_equal(mem_unmap(f->s, a, PG), 0);
    assert_int_equal(mem_discard(f->s, a, 2 * PG), -ENOMEM); /* the rest is done all the same */
    assert_int_equal(peek(f->s, a + PG), 0);
    fix_free(f);
}

static void mremap_shrinks_grows_and_moves(void **state)
{
    struct fix *f = fix_new();
    uint8_t x;
    (void)state;
    gva_t low = at(f->s, 0x10000000, 4 * PG, RW, 0, NULL, 0);
    for (unsigned i = 0; i < 4; i++)
        poke(f->s, low + i * PG, i + 1);
    assert_int_equal(mem_remap(f->s, low, 4 * PG, 2 * PG, false, ANYWHERE), low);
    assert_int_equal(mem_remap(f->s, low, 2 * PG, 6 * PG, false, ANYWHERE), low);
    assert_int_equal(peek(f->s, low + PG), 2);
    assert_int_equal(peek(f->s, low + 2 * PG), 0);
    assert_int_equal(map_count(f->s), 1);
    at(f->s, low + 6 * PG, PG, MEM_R, 0, NULL, 0);
    assert_int_equal(mem_remap(f->s, low, 6 * PG, 7 * PG, false, ANYWHERE), -ENOMEM);
    int64_t to = mem_remap(f->s, low, 6 * PG, 7 * PG, true, ANYWHERE);
    assert_true(to > 0 && (gva_t)to != low);
    assert_int_equal(peek(f->s, (gva_t)to + PG), 2);
    assert_false(mem_copy_in(f->s, &x, low, 1));
    assert_int_equal(mem_remap(f->s, (gva_t)to, 7 * PG, 3 * PG, true, 0x20000000), 0x20000000);
    assert_int_equal(peek(f->s, 0x20000000), 1);
    assert_int_equal(mem_protect(f->s, 0x20000000, 3 * PG, MEM_R), 0);
    assert_int_equal(mem_remap(f->s, 0x20000000, 3 * PG, 3 * PG, true, 0x30000000), 0x30000000);
    assert_int_equal(peek(f->s, 0x30000000 + PG), 2);
    assert_false(mem_copy_out(f->s, 0x30000000, &x, 1));
    assert_true(mem_check(f->s));
    assert_int_equal(mem_remap(f->s, 0x30000000, 3 * PG, PG, true, 0x30001000),
                     -EINVAL); /* overlap */
    fix_free(f);
}

static void moving_a_large_buffer_does_not_count_twice(void **state)
{
    struct fix *f = fix_with(
        (struct mem_pool_config){.commit_bytes = 100 * MIB, .maps = 1000, .window_bits = 36});
    (void)state;
    gva_t a = at(f->s, 0x10000000, 60 * MIB, RW, 0, NULL, 0);
    at(f->s, 0x10000000 + 60 * MIB, PG, MEM_R, 0, NULL, 0);
    poke(f->s, a + 59 * MIB, 42);
    int64_t to = mem_remap(f->s, a, 60 * MIB, 90 * MIB, true, ANYWHERE);
    assert_true(to > 0);
    assert_int_equal(peek(f->s, (gva_t)to + 59 * MIB), 42);
    assert_int_equal(mem_pool_committed_bytes(f->pool), 90 * MIB);
    assert_int_equal(mem_remap(f->s, (gva_t)to, 90 * MIB, 101 * MIB, true, ANYWHERE), -ENOMEM);
    assert_int_equal(mem_pool_committed_bytes(f->pool), 90 * MIB);
    fix_free(f);
}

static void private_writable_memory_is_counted_and_limited(void **state)
{
    struct fix *f =
        fix_with((struct mem_pool_config){.commit_bytes = MIB, .maps = 1000, .window_bits = 36});
    (void)state;
    gva_t none = anon(f->s, GIB, 0);
    anon(f->s, GIB, MEM_R);
    assert_int_equal(mem_pool_committed_bytes(f->pool), 0);
    gva_t a = anon(f->s, MIB - PG, RW);
    assert_int_equal(mem_map(f->s, 0, 2 * PG, RW, 0, NULL, 0, NULL), -ENOMEM);
    assert_int_equal(mem_protect(f->s, none, 2 * PG, RW), -ENOMEM);
    assert_int_equal(mem_protect(f->s, none, PG, RW), 0);
    assert_int_equal(mem_pool_committed_bytes(f->pool), MIB);
    /* Once written, always counted; replacing what is counted needs no more. */
    assert_int_equal(mem_protect(f->s, none, PG, 0), 0);
    assert_int_equal(mem_pool_committed_bytes(f->pool), MIB);
    at(f->s, a, MIB - PG, RW, 0, NULL, 0);
    assert_int_equal(mem_unmap(f->s, none, PG), 0);
    assert_int_equal(mem_pool_committed_bytes(f->pool), MIB - PG);
    struct mem_space *child;
    assert_int_equal(mem_space_fork(f->s, &child), -ENOMEM);
    assert_int_equal(mem_pool_committed_bytes(f->pool), MIB - PG);
    assert_int_equal(mem_map(f->s, 0, 64 * MIB, RW, MEM_SHARED, NULL, 0, NULL), -ENOMEM);
    fix_free(f);
}

static void alternating_protections_without_end_get_enomem(void **state)
{
    struct fix *f =
        fix_with((struct mem_pool_config){.commit_bytes = GIB, .maps = 3000, .window_bits = 36});
    int64_t a = 1;
    int n = 0;
    (void)state;
    for (; n < 100000 && a > 0; n++)
        a = mem_map(f->s, 0, PG, n % 2 ? RW : MEM_R, 0, NULL, 0, NULL);
    assert_int_equal(a, -ENOMEM);
    assert_in_range(n, 1000, 3000);
    assert_true(mem_check(f->s));
    mem_space_clear(f->s);
    gva_t big = anon(f->s, 100 * MIB, RW);
    int rc = 0;
    for (n = 0; n < 100000 && rc == 0; n++)
        rc = mem_protect(f->s, big + (uint64_t)n * 2 * PG, PG, MEM_R);
    assert_int_equal(rc, -ENOMEM);
    assert_true(mem_check(f->s));
    rc = 0;
    mem_space_clear(f->s);
    big = anon(f->s, 100 * MIB, RW);
    for (n = 0; n < 100000 && rc == 0; n++)
        rc = mem_unmap(f->s, big + (uint64_t)n * 2 * PG, PG);
    assert_int_equal(rc, -ENOMEM);
    fix_free(f);
}

static void random_calls_agree_with_a_table_of_pages(void **state)
{
    enum { PAGES = 64, BASE = 0x100000 };
    struct fix *f =
        fix_with((struct mem_pool_config){.commit_bytes = GIB, .maps = 20000, .window_bits = 32});
    int model[PAGES]; /* -1 unmapped, else protection */
    uint64_t value[PAGES] = {0};
    struct rng r;
    (void)state;
    memset(model, -1, sizeof model);
    rng_seed(&r, 1);
    for (int step = 0; step < 20000; step++) {
        unsigned lo = (unsigned)rng_below(&r, PAGES),
                 n = 1 + (unsigned)rng_below(&r, MIN(8, PAGES - lo));
        gva_t a = BASE + lo * PG;
        int prot = (int)rng_below(&r, 8);
        bool mapped = true;
        for (unsigned i = lo; i < lo + n; i++)
            mapped &= model[i] >= 0;
        switch (rng_below(&r, 5)) {
        case 0:
            at(f->s, a, n * PG, prot, 0, NULL, 0);
            for (unsigned i = lo; i < lo + n; i++) {
                model[i] = prot;
                value[i] = 0;
            }
            break;
        case 1:
            assert_int_equal(mem_unmap(f->s, a, n * PG), 0);
            for (unsigned i = lo; i < lo + n; i++)
                model[i] = -1;
            break;
        case 2:
            assert_int_equal(mem_protect(f->s, a, n * PG, prot), mapped ? 0 : -ENOMEM);
            for (unsigned i = lo; i < lo + n && model[i] >= 0; i++)
                model[i] = prot;
            break;
        case 3: {
            uint64_t x = rng_next(&r);
            bool ok = mem_copy_out(f->s, a, &x, 8);
            assert_int_equal(ok, model[lo] >= 0 && (model[lo] & MEM_W));
            if (ok)
                value[lo] = x;
            break;
        }
        default: {
            uint64_t x;
            if (model[lo] >= 0 && (model[lo] & MEM_X) && rng_below(&r, 2))
                assert_int_equal(mem_watch_page(f->s, a) == MEM_WATCH_FAULT, false);
            bool ok = mem_copy_in(f->s, &x, a, 8);
            assert_int_equal(ok, model[lo] > 0);
            if (ok)
                assert_int_equal(x, value[lo]);
        }
        }
        if (step % 500 == 0)
            assert_true(mem_check(f->s));
    }
    fix_free(f);
}

static uint64_t make_maps(struct fix *f, uint64_t from, uint64_t to)
{
    uint64_t t = os_thread_cpu_ns();
    for (; from < to; from++) /* neighbours that differ in their name only: one host mapping */
        assert_true(mem_map(f->s, 0x10000000 + from * PG, PG, 0, MEM_FIXED, NULL, 0,
                            from % 2 ? "odd" : "even") > 0);
    return os_thread_cpu_ns() - t;
}

/* By ratios to a thousand maps made, each with a system call of the host, so that its speed and load do not matter. A linear
 * search visits 30,000 maps where the call takes the time of some hundred. */
static void sixty_thousand_maps_are_found_fast(void **state)
{
    struct fix *f = fix_with(
        (struct mem_pool_config){.commit_bytes = GIB, .maps = 1u << 20, .window_bits = 36});
    struct mem_map_info m;
    (void)state;
    uint64_t make_first = make_maps(f, 0, 1000);
    make_maps(f, 1000, 59000);
    uint64_t make_last = make_maps(f, 59000, 60000);
    uint64_t t = os_thread_cpu_ns();
    for (uint64_t i = 0; i < 60000; i++)
        assert_true(mem_find(f->s, 0x10000000 + i * 7919 % 60000 * PG, &m));
    uint64_t find = (os_thread_cpu_ns() - t) / 60;
    gva_t a = anon(f->s, 2 * PG, 0);
    assert_true(a > 0x10000000 + 60000 * PG);
    print_message("    the last 1,000 of 60,000 maps: %.2f times as long to make, %.2f to find\n",
                  (double)make_last / (double)make_first, (double)find / (double)make_first);
    assert_true(make_last < 20 * make_first);
    assert_true(find < 5 * make_first);
    assert_int_equal(map_count(f->s), 60001);
    fix_free(f);
}

/* The host joins two neighbours only if their copies hang on one anon_vma. Each way below makes neighbours that it
 * does not join; none may look like one map that costs as much as one. Runs first: in a used window everything
 * may hang on one already. */
static void host_mappings_that_cannot_be_joined_stay_counted(void **state)
{
    struct fix *f =
        fix_with((struct mem_pool_config){.commit_bytes = GIB, .maps = 8000, .window_bits = 36});
    (void)state;
    for (unsigned way = 0; way < 5; way++) {
        gva_t a = 0x10000000 + way * 0x10000000ull;
        uint64_t n = 400;
        if (way == 1 || way == 4)
            at(f->s, a, n * PG, way == 4 ? RWX : RW, 0, NULL, 0);
        for (uint64_t i = 0; i < n; i += 2) {
            gva_t page = a + i * PG;
            if (way == 0 || way == 2 || way == 3) /* islands, each written */
                at(f->s, page, PG, RW, 0, NULL, 0);
            if (way == 1) /* islands of one map, written after it was cut */
                assert_int_equal(mem_unmap(f->s, page + PG, PG), 0);
            if (way == 4) /* islands between watched pages */
                (void)mem_watch_page(f->s, page + PG);
            if (way != 3)
                poke(f->s, page, 1);
            if (way == 2) { /* closed beside the free range, then gone */
                poke(f->s, page, 1);
                assert_int_equal(mem_protect(f->s, page, PG, 0), 0);
            }
        }
        assert_true(mem_check(f->s));
        for (uint64_t i = 1; i < n; i += 2) {
            if (way == 2)
                assert_int_equal(mem_unmap(f->s, a + (i - 1) * PG, PG), 0);
            else if (way == 4)
                poke(f->s, a + i * PG, 1);
            else if (way == 3) {
                at(f->s, a + i * PG, PG, MEM_R, 0, NULL, 0);
                (void)peek(f->s, a + i * PG);
                poke(f->s, a + (i - 1) * PG, 1);
                assert_int_equal(mem_protect(f->s, a + i * PG, PG, RW), 0);
            } else
                at(f->s, a + i * PG, PG, RW, 0, NULL, 0);
        }
        if (!mem_check(f->s))
            fail_msg("way %u", way);
    }
    fix_free(f);
}

static void a_window_is_recycled_and_comes_back_empty(void **state)
{
    struct fix *f = fix_new();
    struct mem_stats before, after;
    (void)state;
    mem_pool_stats(f->pool, &before);
    for (int i = 0; i < 200; i++) {
        struct mem_space *s;
        uint8_t x;
        assert_int_equal(mem_space_new(f->pool, &s, &f->err), OK);
        assert_false(mem_copy_in(s, &x, 0x20000, 1));
        at(s, 0x20000, 16 * PG, RW, 0, NULL, 0);
        assert_int_equal(peek(s, 0x20000), 0);
        poke(s, 0x20000, 1);
        assert_true(mem_check(s));
        mem_space_put(s);
    }
    mem_pool_stats(f->pool, &after);
    assert_int_equal(after.host_maps, before.host_maps);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_mappings_that_cannot_be_joined_stay_counted),
        cmocka_unit_test(a_map_goes_top_down_below_the_area_of_the_stack),
        cmocka_unit_test(two_spaces_of_one_history_have_the_same_addresses),
        cmocka_unit_test(a_hint_is_taken_if_it_is_free),
        cmocka_unit_test(wrong_arguments_get_what_linux_gives),
        cmocka_unit_test(a_hole_in_the_middle_leaves_two_maps_and_zeros_come_back),
        cmocka_unit_test(protections_of_a_part_cut_and_heal),
        cmocka_unit_test(execute_only_is_readable_and_nothing_is_ever_executable_on_the_host),
        cmocka_unit_test(discarded_pages_are_zero_again),
        cmocka_unit_test(mremap_shrinks_grows_and_moves),
        cmocka_unit_test(moving_a_large_buffer_does_not_count_twice),
        cmocka_unit_test(private_writable_memory_is_counted_and_limited),
        cmocka_unit_test(alternating_protections_without_end_get_enomem),
        cmocka_unit_test(random_calls_agree_with_a_table_of_pages),
        cmocka_unit_test(sixty_thousand_maps_are_found_fast),
        cmocka_unit_test(a_window_is_recycled_and_comes_back_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
