// links: engine/memory engine/cpu engine/base
/* Everything at once, from a fixed seed; mem_check() compares books and host after every few steps. */
#include "harness.h"

#define BASE ((gva_t)0x100000)
#define AREA 96
#define SPACES 3
#define OBJECTS 3

static void forget(void *ctx, gva_t page)
{
    (void)ctx;
    assert_int_equal(page % PG, 0);
}

struct world {
    struct fix *f;
    struct mem_space *s[SPACES];
    struct mem_object *o[OBJECTS]; /* the first is of the image */
    struct rng r;
};

static gva_t some_address(struct world *w)
{
    return BASE + rng_below(&w->r, AREA) * PG;
}

static void step(struct world *w)
{
    struct mem_space *s = w->s[rng_below(&w->r, SPACES)];
    struct mem_object *o = w->o[rng_below(&w->r, OBJECTS)];
    gva_t a = some_address(w);
    uint64_t n = (1 + rng_below(&w->r, 12)) * PG, off = rng_below(&w->r, 12) * PG,
             x = rng_next(&w->r);
    int prot = (int)rng_below(&w->r, 8);
    bool shared = rng_below(&w->r, 2);
    switch (rng_below(&w->r, 16)) {
    case 0:
        (void)mem_map(s, a, n, prot, MEM_FIXED | (rng_below(&w->r, 6) ? 0 : MEM_SHARED), NULL, 0,
                      NULL);
        break;
    case 1:
    case 2:
        (void)mem_map(s, a, n, prot, MEM_FIXED | (shared ? MEM_SHARED : 0), o, off, "file");
        break;
    case 3:
        (void)mem_unmap(s, a, n);
        break;
    case 4:
    case 5:
        (void)mem_protect(s, a, n, prot);
        break;
    case 6:
        (void)mem_remap(s, a, n, (1 + rng_below(&w->r, 12)) * PG, shared,
                        rng_below(&w->r, 2) ? ANYWHERE : some_address(w));
        break;
    case 7:
        (void)mem_discard(s, a, n);
        break;
    case 8:
        (void)mem_object_resize(o, rng_below(&w->r, 12 * PG));
        break;
    case 9:
        (void)mem_object_write(o, rng_below(&w->r, 12 * PG), &x, sizeof x);
        break;
    case 10:
    case 11:
    case 12:
        for (; n; n -= PG, a += PG)
            (void)mem_watch_page(s, a);
        break;
    case 13:
        (void)mem_copy_out_some(s, a + rng_below(&w->r, PG), &x, sizeof x);
        break;
    case 14:
        mem_dirty_take(s, forget, NULL);
        break;
    default:
        if (rng_below(&w->r, 4) == 0) {
            struct mem_space *child;
            size_t k = rng_below(&w->r, SPACES);
            if (mem_space_fork(s, &child) == 0) {
                for (a = BASE; a < BASE + AREA * PG; a += PG) {
                    uint64_t mine = 1, its = 1;
                    assert_int_equal(mem_peek(s, &mine, a, 8), mem_peek(child, &its, a, 8));
                    assert_int_equal(mine, its);
                }
                mem_space_put(w->s[k]);
                w->s[k] = child;
            }
        }
    }
}

/* A page of which nobody was told that it changed must be as it was when the watch was set. */
static void nothing_changes_unnoticed(struct world *w)
{
    struct mem_space *s = w->s[rng_below(&w->r, SPACES)];
    gva_t a = some_address(w);
    uint64_t before, after;
    mem_dirty_take(s, forget, NULL);
    if (mem_watch_page(s, a) != MEM_WATCH_OK)
        return;
    assert_int_equal(mem_read_code(s, a, &before, 8), 8);
    struct mem_map_info m, m2;
    assert_true(mem_find(s, a, &m));
    for (int i = 0; i < 3; i++) {
        struct mem_space *t = w->s[rng_below(&w->r, SPACES)];
        uint64_t x = rng_next(&w->r);
        (void)mem_copy_out_some(t, rng_below(&w->r, 2) ? a : some_address(w), &x, 8);
        if (i == 2)
            (void)mem_discard(t, some_address(w), 3 * PG);
        (void)mem_object_write(w->o[1 + rng_below(&w->r, 2)], rng_below(&w->r, 12) * PG, &x, 8);
    }
    if (mem_find(s, a, &m2) && !mem_dirty_any(s) && mem_read_code(s, a, &after, 8) == 8)
        assert_int_equal(before, after);
}

static void books_and_host_agree_through_random_histories(void **state)
{
    int fd;
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct world w = {.f =
                              fix_with((struct mem_pool_config){.commit_bytes = 8 * MIB,
                                                                .maps = seed % 3 ? 4000 : 300,
                                                                .window_bits = 32 + seed % 2 * 4})};
        rng_seed(&w.r, seed);
        assert_int_equal(os_memfd("image", 16 * PG, &fd, &w.f->err), OK);
        assert_int_equal(mem_object_image(w.f->pool, fd, PG, 5 * PG + 77, 9, &w.o[0], &w.f->err),
                         OK);
        for (int i = 1; i < OBJECTS; i++)
            assert_int_equal(mem_object_memory(w.f->pool, (uint64_t)i * 3 * PG, &w.o[i], &w.f->err),
                             OK);
        for (int i = 0; i < SPACES; i++)
            assert_int_equal(mem_space_new(w.f->pool, &w.s[i], &w.f->err), OK);
        for (int i = 0; i < 2500; i++) {
            step(&w);
            if (i % 3 == 0)
                nothing_changes_unnoticed(&w);
            for (int k = 0; k < SPACES && i % 10 == 0; k++) {
                if (!mem_check(w.s[k]))
                    fail_msg("seed %d, step %d, space %d", (int)seed, i, k);
            }
        }
        for (int i = 0; i < SPACES; i++)
            mem_space_put(w.s[i]);
        for (int i = 0; i < OBJECTS; i++)
            mem_object_put(w.o[i]);
        fix_free(w.f);
        close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(books_and_host_agree_through_random_histories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
