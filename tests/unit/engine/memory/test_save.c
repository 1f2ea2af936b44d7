// links: engine/memory engine/cpu engine/snapshot engine/base
#include "harness.h"

#include "engine/snapshot/snapshot.h"

struct objects {
    struct mem_object *image, *file;
};

static struct mem_object *by_id(void *ctx, uint64_t id)
{
    struct objects *o = ctx;
    return id == 1 ? o->image : id == 2 ? o->file : NULL;
}

static int image_fd;

static struct fix *made(struct objects *o)
{
    struct fix *f = fix_new();
    assert_int_equal(os_memfd("image", 4 * PG, &image_fd, &f->err), OK);
    assert_int_equal(pwrite(image_fd, "text", 4, 0), 4);
    assert_int_equal(mem_object_image(f->pool, image_fd, 0, 4 * PG, 7, &o->image, &f->err), OK);
    assert_int_equal(mem_object_memory(f->pool, 9 * MIB, &o->file, &f->err), OK);
    mem_object_set_snap_id(o->image, 1);
    mem_object_set_snap_id(o->file, 2);
    at(f->s, 0x100000, 4 * PG, RX, 0, o->image, 0);
    at(f->s, 0x200000, 4 * PG, RW, 0, o->image, 0);
    at(f->s, 0x300000, 4 * PG, RW, MEM_SHARED, o->file, 8 * MIB);
    at(f->s, 0x400000, 8 * MIB, RW, MEM_STACK | MEM_GROWSDOWN, NULL, 0);
    assert_int_equal(mem_map(f->s, 0x1000000, 2 * PG, RWX, MEM_FIXED, NULL, 0, "[heap]"),
                     0x1000000);
    poke(f->s, 0x201000, 5);
    poke(f->s, 0x300000, 6);
    poke(f->s, 0x400000 + 7 * MIB, 7);
    poke(f->s, 0x1000000, 8);
    assert_int_equal(mem_watch_page(f->s, 0x1000000), MEM_WATCH_OK);
    at(f->s, 0x2000000, 2 * PG, RW, 0, NULL, 0);
    poke(f->s, 0x2001000, 9);
    assert_int_equal(mem_protect(f->s, 0x2000000, 2 * PG, 0), 0);
    return f;
}

static void drop(struct fix *f, struct objects *o)
{
    mem_object_put(o->image);
    mem_object_put(o->file);
    fix_free(f);
    close(image_fd);
}

static void save_all(struct fix *f, struct objects *o, struct snap_writer *w, int page_fd)
{
    snap_writer_init(w, page_fd);
    assert_int_equal(mem_object_save(o->file, w, &f->err), OK);
    assert_int_equal(mem_space_save(f->s, w, &f->err), OK);
    assert_int_equal(snap_finish(w, &f->err), OK);
}

static res_code_t load_all(struct fix *f, struct objects *o, const void *p, size_t n, int page_fd,
                           struct mem_space **s)
{
    struct snap_reader r;
    if (snap_reader_init(&r, p, n, page_fd, &f->err) != OK)
        return FAIL;
    if (mem_object_load(f->pool, &r, &o->file, &f->err) != OK)
        return FAIL;
    assert_int_equal(mem_object_image(f->pool, image_fd, 0, 4 * PG, 7, &o->image, &f->err), OK);
    return mem_space_load(f->pool, &r, by_id, o, s, &f->err);
}

static void come_and_go(bool page_file)
{
    struct objects o, n = {0};
    struct fix *f = made(&o);
    struct snap_writer w;
    struct mem_space *s;
    uint64_t x;
    int fd = -1;
    if (page_file)
        assert_int_equal(os_memfd("pages", 0, &fd, &f->err), OK);
    save_all(f, &o, &w, fd);
    assert_true(mem_check(f->s));
    if (load_all(f, &n, w.out.data, w.out.len, fd, &s) != OK)
        fail_msg("%s", f->err.text);
    assert_true(mem_check(s));
    assert_int_equal(map_count(s), map_count(f->s));
    assert_int_equal(peek(s, 0x100000), 0x74786574);
    assert_int_equal(peek(s, 0x200000), 0x74786574);
    assert_int_equal(peek(s, 0x201000), 5);
    assert_int_equal(peek(s, 0x300000), 6);
    assert_int_equal(peek(s, 0x400000 + 7 * MIB), 7);
    assert_int_equal(peek(s, 0x1000000), 8);
    assert_false(mem_copy_in(s, &x, 0x2001000, 8));
    assert_true(mem_peek(s, &x, 0x2001000, 8));
    assert_int_equal(x, 9);
    assert_int_equal(mem_object_size(n.file), 9 * MIB);
    assert_int_equal(mem_object_held_bytes(n.file), PG);
    struct mem_map_info a, b;
    for (gva_t at_ = 0; mem_find(f->s, at_, &a); at_ = a.end) {
        assert_true(mem_find(s, at_, &b));
        assert_true(a.start == b.start && a.end == b.end && a.prot == b.prot &&
                    a.flags == b.flags && a.offset == b.offset);
        assert_string_equal(a.name, b.name);
    }
    mem_space_put(s);
    mem_object_put(n.file);
    mem_object_put(n.image);
    snap_writer_fini(&w);
    if (fd >= 0)
        close(fd);
    drop(f, &o);
}

static void a_space_comes_back_as_it_was(void **state)
{
    (void)state;
    come_and_go(false);
    come_and_go(true);
}

static void a_damaged_snapshot_is_refused_or_loads_and_leaves_nothing(void **state)
{
    struct objects o;
    struct fix *f = made(&o);
    struct snap_writer w;
    struct rng r;
    unsigned refused = 0;
    (void)state;
    rng_seed(&r, 5);
    /* Sections carry checksums: lies must be written by a liar who knows them. */
    snap_writer_init(&w, -1);
    static const uint64_t odd[] = {0,          1,
                                   PG,         0x7ffff000,
                                   1ull << 36, (1ull << 36) - PG,
                                   UINT64_MAX, UINT64_MAX - PG + 1,
                                   0x100000,   0x104000,
                                   3};
    for (int i = 0; i < 3000; i++) {
        struct objects n = {o.image, o.file};
        struct mem_space *s;
        struct snap_reader rd;
        snap_writer_fini(&w);
        snap_writer_init(&w, -1);
        snap_begin(&w, SNAP_TAG('M', 'S', 'P', 'C'), 1);
        snap_put_u32(&w, 36);
        snap_put_u64(&w, rng_below(&r, 4));
        for (int m = 0; m < 3; m++) {
            bool sane = rng_below(&r, 2);
            gva_t lo = 0x100000 + (uint64_t)m * 0x100000;
            snap_put_u64(&w, sane ? lo : odd[rng_below(&r, ARRAY_LEN(odd))]);
            snap_put_u64(&w, sane ? lo + PG : odd[rng_below(&r, ARRAY_LEN(odd))]);
            snap_put_u64(&w, rng_below(&r, sane ? 8 : 10));
            snap_put_u64(&w, rng_below(&r, sane ? 2 : 64));
            snap_put_u64(&w, rng_below(&r, sane ? 2 : 3));
            snap_put_u64(&w, rng_below(&r, 4));
            snap_put_u64(&w, sane ? PG * rng_below(&r, 3) : odd[rng_below(&r, ARRAY_LEN(odd))]);
            snap_put_str(&w, sane ? "name" : NULL);
            if (rng_below(&r, 2)) {
                static const char page[PAGE_SIZE];
                snap_put_u64(&w, rng_below(&r, 2) ? lo : odd[rng_below(&r, ARRAY_LEN(odd))]);
                snap_put_u64(&w, rng_below(&r, 2) ? PG : odd[rng_below(&r, ARRAY_LEN(odd))]);
                snap_put_bytes(&w, page, rng_below(&r, 4) ? PG : 5);
            }
            snap_put_u64(&w, 0);
        }
        snap_end(&w);
        assert_int_equal(snap_finish(&w, &f->err), OK);
        assert_int_equal(snap_reader_init(&rd, w.out.data, w.out.len, -1, &f->err), OK);
        if (mem_space_load(f->pool, &rd, by_id, &n, &s, &f->err) == OK) {
            assert_true(mem_check(s));
            mem_space_put(s);
        } else {
            refused++;
        }
    }
    assert_in_range(refused, 1000, 2999);
    snap_writer_fini(&w);
    drop(f, &o);
}

static void an_object_without_a_name_cannot_be_saved(void **state)
{
    struct fix *f = fix_new();
    struct snap_writer w;
    (void)state;
    assert_true(mem_map(f->s, 0, PG, RW, MEM_SHARED, NULL, 0, NULL) > 0);
    snap_writer_init(&w, -1);
    assert_int_equal(mem_space_save(f->s, &w, &f->err), FAIL);
    assert_int_equal(f->err.code, ERR_STATE);
    snap_writer_fini(&w);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_space_comes_back_as_it_was),
        cmocka_unit_test(a_damaged_snapshot_is_refused_or_loads_and_leaves_nothing),
        cmocka_unit_test(an_object_without_a_name_cannot_be_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
