// links: engine/memory engine/cpu engine/base
#include "harness.h"

struct pages {
    gva_t page[64];
    size_t n;
};
static void note(void *ctx, gva_t page)
{
    struct pages *p = ctx;
    assert_true(p->n < ARRAY_LEN(p->page));
    p->page[p->n++] = page;
}
static struct pages take(struct mem_space *s)
{
    struct pages p = {0};
    mem_dirty_take(s, note, &p);
    assert_false(mem_dirty_any(s));
    return p;
}
static struct mem_stats stats(struct fix *f)
{
    struct mem_stats st;
    mem_pool_stats(f->pool, &st);
    return st;
}

static void a_store_into_a_watched_page_makes_it_dirty_once_and_goes_through(void **state)
{
    struct fix *f = fix_new();
    (void)state;
    gva_t a = anon(f->s, 4 * PG, RWX);
    poke(f->s, a + PG, 1);
    assert_int_equal(mem_watch_page(f->s, a + PG + 100), MEM_WATCH_OK);
    assert_true(mem_check(f->s));
    assert_false(mem_dirty_any(f->s));
    assert_int_equal(peek(f->s, a + PG), 1);
    poke(f->s, a, 9); /* its neighbours are not watched */
    poke(f->s, a + 2 * PG, 9);
    assert_false(mem_dirty_any(f->s));
    uint64_t lifted = stats(f).lifted;
    assert_true(mem_st32(f->v, a + PG + 8, 2));
    assert_true(mem_dirty_any(f->s));
    assert_true(mem_st32(f->v, a + PG + 12, 3));
    assert_int_equal(stats(f).lifted, lifted + 1);
    assert_int_equal(peek(f->s, a + PG + 8), 0x300000002);
    struct pages p = take(f->s);
    assert_int_equal(p.n, 1);
    assert_int_equal(p.page[0], a + PG);
    assert_true(mem_check(f->s));
    fix_free(f);
}

static void the_emulators_writes_and_compare_and_swap_count_too(void **state)
{
    struct fix *f = fix_new();
    uint32_t old;
    char big[PAGE_SIZE * 3];
    (void)state;
    gva_t a = anon(f->s, 4 * PG, RWX);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(mem_watch_page(f->s, a + i * PG), MEM_WATCH_OK);
    memset(big, 1, sizeof big);
    assert_true(mem_copy_out(f->s, a, big, sizeof big)); /* never EFAULT */
    assert_int_equal(take(f->s).n, 3);
    assert_int_equal(mem_watch_page(f->s, a), MEM_WATCH_OK);
    assert_true(mem_cas32(f->v, a, 0, 1, &old));
    assert_int_equal(take(f->s).n, 1);
    assert_int_equal(mem_watch_page(f->s, a), MEM_WATCH_OK);
    assert_true(mem_st64(f->v, a + PG - 4, 5)); /* across two pages */
    assert_int_equal(take(f->s).n, 1);
    assert_int_equal(mem_watch_page(f->s, a), MEM_WATCH_OK);
    assert_int_equal(mem_discard(f->s, a, 2 * PG), 0);
    assert_int_equal(take(f->s).n, 1);
    fix_free(f);
}

static void watching_read_only_code_costs_no_host_call(void **state)
{
    struct fix *f = fix_new();
    (void)state;
    gva_t a = anon(f->s, 64 * PG, RX);
    uint64_t before = stats(f).host_mprotects, maps = stats(f).host_maps;
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(mem_watch_page(f->s, a + i * PG), MEM_WATCH_OK);
    assert_int_equal(stats(f).host_mprotects, before);
    assert_int_equal(stats(f).host_maps, maps);
    /* Made writable, the 64 stay closed as one piece. */
    assert_int_equal(mem_protect(f->s, a, 64 * PG, RWX), 0);
    assert_int_equal(stats(f).host_mprotects, before + 1);
    assert_true(mem_check(f->s));
    poke(f->s, a + 5 * PG, 1);
    assert_int_equal(take(f->s).page[0], a + 5 * PG);
    assert_true(mem_check(f->s));
    /* Mapped anew: nothing is watched. */
    at(f->s, a, 64 * PG, RWX, 0, NULL, 0);
    poke(f->s, a, 1);
    assert_int_equal(take(f->s).n, 0);
    fix_free(f);
}

static void a_page_written_again_and_again_becomes_hot(void **state)
{
    struct fix *f = fix_new();
    (void)state;
    gva_t a = anon(f->s, PG, RWX);
    int n = 0;
    while (mem_watch_page(f->s, a) == MEM_WATCH_OK) {
        poke(f->s, a, (uint64_t)n++);
        assert_int_equal(take(f->s).n, 1);
        assert_true(n < 100);
    }
    assert_int_equal(n, 9);
    assert_int_equal(mem_watch_page(f->s, a), MEM_WATCH_HOT);
    poke(f->s, a, 1);
    assert_false(mem_dirty_any(f->s));
    assert_int_equal(stats(f).hot, 1);
    at(f->s, a, PG, RWX, 0, NULL, 0); /* new memory, new life */
    assert_int_equal(mem_watch_page(f->s, a), MEM_WATCH_OK);
    fix_free(f);
}

static void only_executable_pages_can_be_watched(void **state)
{
    struct fix *f = fix_new();
    char b[PAGE_SIZE * 2];
    (void)state;
    gva_t a = at(f->s, 0x100000, 2 * PG, RX, 0, NULL, 0);
    assert_int_equal(mem_protect(f->s, a + PG, PG, RW), 0);
    assert_int_equal(mem_watch_page(f->s, a + PG), MEM_WATCH_FAULT);
    assert_int_equal(mem_watch_page(f->s, a - PG), MEM_WATCH_FAULT);
    assert_int_equal(mem_watch_page(f->s, UINT64_MAX), MEM_WATCH_FAULT);
    assert_int_equal(mem_read_code(f->s, a + 16, b, sizeof b), PG - 16);
    assert_int_equal(mem_read_code(f->s, a + PG, b, 4), 0);
    assert_int_equal(mem_read_code(f->s, UINT64_MAX - 1, b, 4), 0);
    fix_free(f);
}

static void a_write_through_a_second_map_reaches_every_space_that_may_run_the_page(void **state)
{
    struct fix *f = fix_new();
    struct mem_space *other;
    struct mem_object *o;
    uint64_t x = 5;
    (void)state;
    assert_int_equal(mem_object_memory(f->pool, 4 * PG, &o, &f->err), OK);
    assert_int_equal(mem_space_new(f->pool, &other, &f->err), OK);
    gva_t code = at(f->s, 0x100000, 4 * PG, RX, MEM_SHARED, o, 0),
          data = at(f->s, 0x200000, 4 * PG, RW, MEM_SHARED, o, 0);
    gva_t there = at(other, 0x500000, 2 * PG, RX, 0, o,
                     PG); /* a private map of the file, runs the same code */
    assert_int_equal(mem_watch_page(f->s, code + PG), MEM_WATCH_OK);
    assert_true(mem_check(f->s));
    poke(f->s, data, 1);
    assert_false(mem_dirty_any(f->s));
    assert_true(mem_st64(f->v, data + PG, 1));
    assert_int_equal(peek(f->s, code + PG), 1);
    struct pages p = take(f->s);
    assert_int_equal(p.n, 1);
    assert_int_equal(p.page[0], code + PG);
    p = take(other);
    assert_int_equal(p.n, 1);
    assert_int_equal(p.page[0], there);
    /* And by write(), and by truncation. */
    assert_int_equal(mem_watch_page(other, there + PG), MEM_WATCH_OK);
    assert_int_equal(mem_object_write(o, 2 * PG + 8, &x, 8), 8);
    assert_int_equal(take(other).page[0], there + PG);
    assert_int_equal(take(f->s).page[0], code + 2 * PG);
    assert_int_equal(mem_watch_page(f->s, code + 3 * PG), MEM_WATCH_OK);
    assert_int_equal(mem_object_resize(o, PG), 0);
    assert_int_equal(take(f->s).page[0], code + 3 * PG);
    assert_int_equal(mem_watch_page(f->s, code + 3 * PG), MEM_WATCH_FAULT);
    assert_int_equal(mem_object_resize(o, 4 * PG), 0);
    /* A map made after the watch is closed from its first moment. */
    assert_int_equal(mem_watch_page(f->s, code), MEM_WATCH_OK);
    gva_t late = at(other, 0x600000, 4 * PG, RW, MEM_SHARED, o, 0);
    assert_true(mem_check(other));
    poke(other, late, 7);
    assert_int_equal(take(f->s).page[0], code);
    assert_true(mem_check(other));
    mem_space_put(other);
    mem_object_put(o);
    fix_free(f);
}

static void a_child_of_fork_inherits_the_watch_and_the_dirt(void **state)
{
    struct fix *f = fix_new();
    struct mem_space *child;
    (void)state;
    gva_t a = anon(f->s, 4 * PG, RWX);
    poke(f->s, a, 1);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(mem_watch_page(f->s, a + i * PG), MEM_WATCH_OK);
    poke(f->s, a + PG, 1);
    assert_int_equal(mem_space_fork(f->s, &child), 0);
    assert_true(mem_check(child));
    assert_int_equal(take(child).page[0], a + PG);
    poke(child, a, 2);
    assert_int_equal(take(child).page[0], a);
    assert_int_equal(take(f->s).n, 1); /* its own, from before */
    assert_int_equal(peek(f->s, a), 1);
    mem_space_put(child);
    fix_free(f);
}

/* ---- keys and hooks ---- */

struct heard {
    struct mem_space *s;
    gva_t lo[16], hi[16];
    unsigned gone, changed;
};
static void on_gone(void *ctx, gva_t lo, gva_t hi)
{
    struct heard *h = ctx;
    struct mem_map_info m;
    assert_true(mem_find(h->s, lo, &m) && m.start <= lo &&
                (m.prot & MEM_X)); /* not yet gone; asking is allowed */
    h->lo[h->gone % 16] = lo;
    h->hi[h->gone++ % 16] = hi;
}
static void on_changed(void *ctx)
{
    struct heard *h = ctx;
    (void)mem_exec_key(h->s, NULL, 0);
    h->changed++;
}

static void the_code_side_hears_what_stops_being_executable(void **state)
{
    struct fix *f = fix_new();
    struct heard h = {.s = f->s};
    struct mem_hooks hooks = {&h, on_gone, on_changed};
    (void)state;
    mem_space_set_hooks(f->s, &hooks);
    gva_t a = at(f->s, 0x100000, 8 * PG, RX, 0, NULL, 0);
    assert_int_equal(h.changed, 1);
    assert_int_equal(h.gone, 0);
    at(f->s, 0x200000, 8 * PG, RW, 0, NULL, 0);
    assert_int_equal(mem_unmap(f->s, 0x200000, PG), 0);
    assert_int_equal(h.changed, 1); /* data is nobody's business */
    assert_int_equal(mem_unmap(f->s, a + PG, PG), 0);
    assert_int_equal(h.gone, 1);
    assert_int_equal(h.lo[0], a + PG);
    assert_int_equal(h.hi[0], a + 2 * PG);
    assert_int_equal(h.changed, 2);
    assert_int_equal(mem_protect(f->s, a + 2 * PG, PG, RW), 0);
    assert_int_equal(h.lo[1], a + 2 * PG);
    assert_int_equal(h.changed, 3);
    at(f->s, a + 3 * PG, PG, RX, 0, NULL, 0);
    assert_int_equal(h.lo[2], a + 3 * PG);
    assert_int_equal(h.hi[2], a + 4 * PG);
    assert_int_equal(mem_remap(f->s, a + 4 * PG, 4 * PG, 4 * PG, true, 0x300000), 0x300000);
    assert_int_equal(h.lo[3], a + 4 * PG);
    unsigned gone = h.gone;
    mem_space_clear(f->s);
    assert_true(h.gone > gone);
    mem_space_set_hooks(f->s, NULL);
    fix_free(f);
}

static bool same_key(struct mem_space *a, struct mem_space *b)
{
    uint8_t x[1000], y[1000];
    size_t n = mem_exec_key(a, x, sizeof x), m = mem_exec_key(b, y, sizeof y);
    assert_true(n <= sizeof x && m <= sizeof y && n % 40 == 0);
    return n == m && memcmp(x, y, n) == 0;
}

static void equal_keys_mean_equal_code(void **state)
{
    struct fix *f = fix_new();
    struct mem_space *t, *child;
    struct mem_object *image, *file;
    int fd;
    (void)state;
    assert_int_equal(os_memfd("image", 4 * PG, &fd, &f->err), OK);
    assert_int_equal(mem_object_image(f->pool, fd, 0, 4 * PG, 7, &image, &f->err), OK);
    assert_int_equal(mem_object_memory(f->pool, 4 * PG, &file, &f->err), OK);
    assert_int_equal(mem_space_new(f->pool, &t, &f->err), OK);
    at(f->s, 0x100000, 4 * PG, RX, 0, image, 0);
    at(t, 0x100000, 4 * PG, RX, 0, image, 0);
    assert_true(same_key(f->s, t));
    at(f->s, 0x200000, 4 * PG, RX, 0, file, 0);
    assert_false(same_key(f->s, t));
    at(t, 0x200000, 4 * PG, RX, 0, file, 0);
    assert_true(same_key(f->s, t));
    assert_int_equal(mem_space_fork(f->s, &child), 0);
    assert_true(same_key(f->s, child));
    /* A file that is written while watched: who maps it now must not find what was translated before. */
    uint8_t before[1000], after[1000];
    size_t n = mem_exec_key(t, before, sizeof before);
    assert_int_equal(mem_watch_page(f->s, 0x200000), MEM_WATCH_OK);
    assert_int_equal(mem_object_write(file, 0, "x", 1), 1);
    assert_int_equal(mem_exec_key(t, after, sizeof after), n);
    assert_true(memcmp(before, after, n) != 0);
    /* Text made writable is its own from then on. */
    assert_int_equal(mem_protect(child, 0x100000, PG, RWX), 0);
    assert_int_equal(mem_protect(child, 0x100000, PG, RX), 0);
    assert_false(same_key(f->s, child));
    mem_space_put(child);
    /* So is anonymous code, on both sides of a fork. */
    at(f->s, 0x300000, PG, RWX, 0, NULL, 0);
    assert_int_equal(mem_space_fork(f->s, &child), 0);
    assert_false(same_key(f->s, child));
    mem_space_put(child);
    mem_space_put(t);
    mem_object_put(image);
    mem_object_put(file);
    fix_free(f);
    close(fd);
}

static void without_budget_for_its_cuts_a_page_is_not_watched(void **state)
{
    struct fix *f =
        fix_with((struct mem_pool_config){.commit_bytes = GIB, .maps = 60, .window_bits = 36});
    enum mem_watch w = MEM_WATCH_OK;
    unsigned n = 0;
    (void)state;
    gva_t a = anon(f->s, 200 * PG, RWX);
    for (; n < 100 && w == MEM_WATCH_OK; n++)
        w = mem_watch_page(f->s, a + n * 2 * PG);
    assert_int_equal(w, MEM_WATCH_HOT);
    assert_in_range(n, 20, 40);
    assert_true(mem_check(f->s));
    mem_space_clear(f->s);
    /* Read-only text has no cuts; when it becomes writable, those over the budget become dirty instead. */
    a = anon(f->s, 200 * PG, RX);
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(mem_watch_page(f->s, a + i * 2 * PG), MEM_WATCH_OK);
    assert_int_equal(mem_protect(f->s, a, 200 * PG, RWX), 0);
    assert_true(mem_check(f->s));
    size_t dirty = take(f->s).n;
    assert_in_range(dirty, 10, 40);
    for (unsigned i = 0; i < 50; i++)
        poke(f->s, a + i * 2 * PG, 1);
    assert_int_equal(take(f->s).n + dirty, 50);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_into_a_watched_page_makes_it_dirty_once_and_goes_through),
        cmocka_unit_test(the_emulators_writes_and_compare_and_swap_count_too),
        cmocka_unit_test(watching_read_only_code_costs_no_host_call),
        cmocka_unit_test(a_page_written_again_and_again_becomes_hot),
        cmocka_unit_test(only_executable_pages_can_be_watched),
        cmocka_unit_test(a_write_through_a_second_map_reaches_every_space_that_may_run_the_page),
        cmocka_unit_test(a_child_of_fork_inherits_the_watch_and_the_dirt),
        cmocka_unit_test(the_code_side_hears_what_stops_being_executable),
        cmocka_unit_test(equal_keys_mean_equal_code),
        cmocka_unit_test(without_budget_for_its_cuts_a_page_is_not_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
