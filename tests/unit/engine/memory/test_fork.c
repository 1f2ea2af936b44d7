// links: engine/memory engine/cpu engine/base
#include "harness.h"

static void parent_and_child_each_have_their_own(void **state)
{
    struct fix *f = fix_new();
    struct mem_space *child;
    struct mem_object *o;
    uint64_t x;
    int fd;
    (void)state;
    assert_int_equal(os_memfd("image", 4 * PG, &fd, &f->err), OK);
    assert_int_equal(pwrite(fd, "text", 4, 0), 4);
    assert_int_equal(mem_object_image(f->pool, fd, 0, 4 * PG, 7, &o, &f->err), OK);
    gva_t text = at(f->s, 0x100000, 4 * PG, RX, 0, o, 0),
          data = at(f->s, 0x200000, 6 * PG, RW, 0, o, 0),
          heap = at(f->s, 0x300000, MIB, RW, 0, NULL, 0),
          closed = at(f->s, 0x500000, 4 * PG, RW, 0, NULL, 0);
    poke(f->s, data + PG, 11);
    poke(f->s, heap + 100 * PG, 22);
    (void)peek(f->s, heap + 50 * PG); /* the zero page: nothing to copy */
    poke(f->s, closed + PG, 33);
    assert_int_equal(mem_protect(f->s, closed, 4 * PG, 0), 0);
    assert_int_equal(mem_protect(f->s, data + PG, PG, MEM_R), 0); /* as relro */
    struct mem_stats before, after;
    mem_pool_stats(f->pool, &before);
    assert_int_equal(mem_space_fork(f->s, &child), 0);
    mem_pool_stats(f->pool, &after);
    /* The three, and the first page of the map that was cut (which anchors it). */
    assert_int_equal(after.fork_pages_copied - before.fork_pages_copied, 4);
    assert_true(mem_check(child) && mem_check(f->s));
    assert_int_equal(map_count(child), map_count(f->s));
    assert_int_equal(peek(child, text), 0x74786574);
    assert_int_equal(peek(child, data), 0x74786574);
    assert_int_equal(peek(child, data + PG), 11);
    assert_int_equal(peek(child, heap + 100 * PG), 22);
    assert_int_equal(peek(child, heap + 50 * PG), 0);
    assert_false(mem_copy_in(child, &x, closed + PG, 8));
    assert_true(mem_peek(child, &x, closed + PG, 8));
    assert_int_equal(x, 33);
    assert_false(mem_copy_out(child, data + PG, &x, 8));
    assert_false(mem_copy_in(child, &x, data + 4 * PG, 8)); /* beyond the file */
    poke(child, heap + 100 * PG, 1);
    poke(f->s, data, 2);
    assert_int_equal(peek(f->s, heap + 100 * PG), 22);
    assert_int_equal(peek(child, data), 0x74786574);
    struct mem_space *grandchild;
    assert_int_equal(mem_space_fork(child, &grandchild), 0);
    assert_int_equal(peek(grandchild, heap + 100 * PG), 1);
    mem_space_put(child);
    assert_int_equal(peek(grandchild, data + PG), 11);
    mem_space_put(grandchild);
    mem_object_put(o);
    fix_free(f);
    close(fd);
}

static void random_contents_survive_chains_of_forks(void **state)
{
    enum { PAGES = 2000 };
    struct fix *f = fix_new();
    struct rng r;
    CLEANUP(free_ptr) uint64_t *model = calloc(PAGES, 8);
    (void)state;
    rng_seed(&r, 3);
    gva_t a = anon(f->s, PAGES * PG, RW);
    for (int gen = 0; gen < 6; gen++) {
        for (int i = 0; i < 300; i++) {
            unsigned p = (unsigned)rng_below(&r, PAGES);
            model[p] = rng_next(&r);
            poke(f->s, a + p * PG, model[p]);
        }
        struct mem_space *child;
        assert_int_equal(mem_space_fork(f->s, &child), 0);
        for (unsigned p = 0; p < PAGES; p++)
            assert_int_equal(peek(child, a + p * PG), model[p]);
        mem_space_put(f->s);
        f->s = child;
    }
    fix_free(f);
}

static void a_fork_that_fails_leaves_nothing(void **state)
{
    struct fix *f = fix_with(
        (struct mem_pool_config){.commit_bytes = 10 * MIB, .maps = 1000, .window_bits = 36});
    struct mem_space *child;
    (void)state;
    gva_t a = anon(f->s, 4 * MIB, RW);
    poke(f->s, a, 1);
    anon(f->s, 2 * MIB, RW);
    anon(f->s, PG, MEM_R);
    uint64_t committed = mem_pool_committed_bytes(f->pool);
    struct mem_stats before, after;
    mem_pool_stats(f->pool, &before);
    assert_int_equal(mem_space_fork(f->s, &child), -ENOMEM);
    mem_pool_stats(f->pool, &after);
    assert_int_equal(mem_pool_committed_bytes(f->pool), committed);
    assert_int_equal(after.host_maps, before.host_maps);
    assert_int_equal(peek(f->s, a), 1);
    mem_space_clear(f->s);
    a = anon(f->s, PG, RW);
    assert_int_equal(mem_space_fork(f->s, &child), 0);
    mem_space_put(child);
    fix_free(f);
}

static void a_stack_is_counted_as_what_it_usually_is(void **state)
{
    struct fix *f = fix_with(
        (struct mem_pool_config){.commit_bytes = 10 * MIB, .maps = 4000, .window_bits = 36});
    struct mem_space *child[20];
    (void)state;
    at(f->s, 0x10000000, 8 * MIB, RW, MEM_STACK | MEM_GROWSDOWN, NULL, 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(mem_space_fork(f->s, &child[i]), 0);
    for (int i = 0; i < 20; i++)
        mem_space_put(child[i]);
    /* Once, not again and again. */
    uint64_t before = mem_pool_committed_bytes(f->pool);
    assert_int_equal(before, 256 << 10);
    assert_int_equal(mem_unmap(f->s, 0x10000000, 8 * MIB), 0);
    at(f->s, 0x10000000, 8 * MIB, RW, MEM_STACK | MEM_GROWSDOWN, NULL, 0);
    assert_int_equal(mem_pool_committed_bytes(f->pool), 8 * MIB);
    mem_space_clear(f->s); /* execve */
    at(f->s, 0x10000000, 8 * MIB, RW, MEM_STACK | MEM_GROWSDOWN, NULL, 0);
    assert_int_equal(mem_pool_committed_bytes(f->pool), 256 << 10);
    fix_free(f);
}

static void figures(void **state)
{
    struct fix *f = fix_new();
    (void)state;
    /* As a small shell: text, data, bss and heap, the stack's 8 MiB, two thread areas; 50 pages written. */
    at(f->s, 0x10000, 500 * PG, RX, 0, NULL, 0);
    gva_t data = at(f->s, 0x10000 + 500 * PG, 20 * PG, RW, 0, NULL, 0),
          heap = at(f->s, 0x1000000, 100 * PG, RW, 0, NULL, 0),
          stack = at(f->s, 0x20000000, 8 * MIB, RW, MEM_STACK, NULL, 0),
          lib = anon(f->s, 300 * PG, MEM_R);
    (void)lib;
    for (unsigned i = 0; i < 15; i++)
        poke(f->s, data + i * PG, 1);
    for (unsigned i = 0; i < 30; i++)
        poke(f->s, heap + i * PG, 1);
    for (unsigned i = 1; i <= 5; i++)
        poke(f->s, stack + 8 * MIB - i * PG, 1);
    enum { N = 300 };
    uint64_t forks = 0, ends = 0;
    for (int i = 0; i < N; i++) {
        struct mem_space *child;
        uint64_t t = os_thread_cpu_ns();
        assert_int_equal(mem_space_fork(f->s, &child), 0);
        uint64_t t2 = os_thread_cpu_ns();
        mem_space_put(child);
        forks += t2 - t;
        ends += os_thread_cpu_ns() - t2;
    }
    print_message("    fork of a process of 50 written pages: %.0f us, its end %.0f us\n",
                  (double)forks / N / 1e3, (double)ends / N / 1e3);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parent_and_child_each_have_their_own),
        cmocka_unit_test(random_contents_survive_chains_of_forks),
        cmocka_unit_test(a_fork_that_fails_leaves_nothing),
        cmocka_unit_test(a_stack_is_counted_as_what_it_usually_is),
        cmocka_unit_test(figures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
