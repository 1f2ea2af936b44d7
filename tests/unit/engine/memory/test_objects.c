// links: engine/memory engine/cpu engine/base
#include "harness.h"

static struct mem_object *object(struct fix *f, uint64_t size)
{
    struct mem_object *o;
    assert_int_equal(mem_object_memory(f->pool, size, &o, &f->err), OK);
    return o;
}

static void a_file_is_read_and_written_sparsely(void **state)
{
    struct fix *f = fix_new();
    char b[16] = "";
    (void)state;
    struct mem_object *o = object(f, 0);
    assert_int_equal(mem_object_read(o, 0, b, 8), 0);
    assert_int_equal(mem_object_write(o, 10 * MIB, "abc", 3), 3);
    assert_int_equal(mem_object_size(o), 10 * MIB + 3);
    assert_int_equal(mem_object_held_bytes(o), PG);
    assert_int_equal(mem_object_read(o, 10 * MIB - 2, b, 16), 5);
    assert_memory_equal(b, "\0\0abc", 5);
    assert_int_equal(mem_object_seek(o, 0, false), 10 * MIB);
    assert_int_equal(mem_object_seek(o, 0, true), 0);
    assert_int_equal(mem_object_seek(o, 10 * MIB, true), 10 * MIB + 3);
    assert_int_equal(mem_object_seek(o, 10 * MIB + 3, false), -ENXIO);
    assert_int_equal(mem_object_resize(o, 10 * MIB + 1), 0);
    assert_int_equal(mem_object_resize(o, 10 * MIB + 3), 0);
    assert_int_equal(mem_object_read(o, 10 * MIB, b, 16), 3);
    assert_memory_equal(b, "a\0\0", 3); /* what was cut off does not come back */
    assert_int_equal(mem_object_write(o, (uint64_t)1 << 36, "x", 1), -EFBIG);
    assert_int_equal(mem_object_resize(o, UINT64_MAX), -EFBIG);
    mem_object_put(o);
    o = object(f, 10 * MIB + 3); /* a slot that is used again is empty */
    assert_int_equal(mem_object_read(o, 10 * MIB, b, 16), 3);
    assert_memory_equal(b, "\0\0\0", 3);
    assert_int_equal(mem_pool_object_bytes(f->pool), 0);
    mem_object_put(o);
    fix_free(f);
}

static void the_limit_of_objects_is_enospc(void **state)
{
    struct fix *f = fix_with((struct mem_pool_config){.object_bytes = 64 * PG, .window_bits = 36});
    CLEANUP(free_ptr) char *b = calloc(1, 100 * PG);
    (void)state;
    struct mem_object *o = object(f, 0);
    assert_int_equal(mem_object_write(o, 0, b, 60 * PG), 60 * PG);
    assert_int_equal(mem_object_write(o, 0, b, 60 * PG),
                     60 * PG); /* over what is there: no more room needed */
    assert_int_equal(mem_object_write(o, 58 * PG, b, 6 * PG), 6 * PG);
    assert_int_equal(mem_object_write(o, 64 * PG, b, 1), -ENOSPC);
    assert_int_equal(mem_object_size(o), 64 * PG);
    assert_int_equal(mem_object_resize(o, PG), 0);
    assert_int_equal(mem_object_write(o, 100 * PG, b, 1), 1);
    mem_object_put(o);
    fix_free(f);
}

static void shared_maps_see_each_other_and_the_file(void **state)
{
    struct fix *f = fix_new();
    uint64_t x = 0;
    (void)state;
    struct mem_object *o = object(f, 4 * PG);
    gva_t a = at(f->s, 0x100000, 4 * PG, RW, MEM_SHARED, o, 0),
          b = at(f->s, 0x200000, 2 * PG, MEM_R, MEM_SHARED, o, PG),
          c = at(f->s, 0x300000, 2 * PG, RW, 0, o, PG);
    poke(f->s, a + PG, 11);
    assert_int_equal(peek(f->s, b), 11);
    assert_int_equal(peek(f->s, c), 11);
    assert_int_equal(mem_object_read(o, PG, &x, 8), 8);
    assert_int_equal(x, 11);
    x = 22;
    assert_int_equal(mem_object_write(o, PG, &x, 8), 8);
    assert_int_equal(peek(f->s, a + PG), 22);
    poke(f->s, c, 33); /* private: a copy */
    assert_int_equal(peek(f->s, a + PG), 22);
    assert_int_equal(mem_discard(f->s, c, PG), 0);
    assert_int_equal(peek(f->s, c), 22);
    assert_true(mem_check(f->s));
    mem_object_put(o); /* the maps hold it */
    assert_int_equal(peek(f->s, a + PG), 22);
    fix_free(f);
}

static void what_lies_beyond_the_end_is_a_bus_error_until_the_file_grows(void **state)
{
    struct fix *f = fix_new();
    uint64_t x;
    (void)state;
    struct mem_object *o = object(f, PG + 1);
    gva_t a = at(f->s, 0x100000, 4 * PG, RW, MEM_SHARED, o, 0),
          p = at(f->s, 0x200000, 4 * PG, RW, 0, o, 0);
    assert_true(mem_ld64(f->v, a + PG, &x));
    assert_false(mem_ld64(f->v, a + 2 * PG, &x));
    assert_int_equal(f->v->trap.kind, CPU_TRAP_BUS);
    assert_int_equal(mem_object_resize(o, 4 * PG), 0);
    assert_true(mem_st64(f->v, a + 3 * PG, 5) && mem_st64(f->v, p + 3 * PG, 6));
    assert_true(mem_check(f->s));
    assert_int_equal(mem_object_resize(o, PG), 0);
    assert_false(mem_ld64(f->v, a + 3 * PG, &x));
    assert_int_equal(f->v->trap.kind, CPU_TRAP_BUS);
    assert_false(mem_ld64(f->v, p + 3 * PG, &x));
    assert_true(mem_check(f->s));
    assert_int_equal(mem_object_write(o, 4 * PG - 1, "", 1), 1);
    assert_int_equal(peek(f->s, a + 3 * PG), 0);
    assert_int_equal(peek(f->s, p + 3 * PG), 0);
    assert_true(mem_check(f->s));
    /* A map that lies wholly beyond what an object can ever hold. */
    gva_t far = at(f->s, 0x300000, 4 * PG, RW, MEM_SHARED, o, ((uint64_t)1 << 36) - PG);
    assert_false(mem_ld64(f->v, far + 2 * PG, &x));
    assert_int_equal(f->v->trap.kind, CPU_TRAP_BUS);
    assert_true(mem_check(f->s));
    mem_object_put(o);
    fix_free(f);
}

static void the_image_cannot_be_written(void **state)
{
    struct fix *f = fix_new();
    struct mem_object *o;
    int fd;
    (void)state;
    assert_int_equal(os_memfd("image", 4 * PG, &fd, &f->err), OK);
    assert_int_equal(pwrite(fd, "text", 4, PG), 4);
    assert_int_equal(mem_object_image(f->pool, fd, PG, 100, 7, &o, &f->err), OK);
    assert_int_equal(
        mem_object_image(f->pool, fd, 100, 100, 7, &(struct mem_object *){NULL}, &f->err), FAIL);
    assert_int_equal(
        mem_object_image(f->pool, fd, PG, UINT64_MAX, 7, &(struct mem_object *){NULL}, &f->err),
        FAIL);
    assert_int_equal(mem_map(f->s, 0, PG, RW, MEM_SHARED, o, 0, NULL), -EACCES);
    gva_t a = at(f->s, 0x100000, PG, MEM_R, MEM_SHARED, o, 0),
          p = at(f->s, 0x200000, PG, RW, 0, o, 0);
    assert_int_equal(mem_protect(f->s, a, PG, RW), -EACCES);
    poke(f->s, p, 1);
    assert_int_equal(peek(f->s, a), 0x74786574);
    assert_int_equal(mem_object_write(o, 0, "x", 1), -EROFS);
    assert_int_equal(mem_object_resize(o, 0), -EROFS);
    char b[8];
    assert_int_equal(mem_object_read(o, 0, b, 4), 4);
    assert_memory_equal(b, "text", 4);
    mem_object_put(o);
    fix_free(f);
    close(fd);
}

static void shared_anonymous_memory_is_counted_while_it_lives(void **state)
{
    struct fix *f = fix_new();
    struct mem_space *child;
    (void)state;
    int64_t a = mem_map(f->s, 0, 4 * MIB, RW, MEM_SHARED, NULL, 0, NULL);
    assert_true(a > 0);
    assert_int_equal(mem_pool_committed_bytes(f->pool), 4 * MIB);
    poke(f->s, (gva_t)a, 1);
    assert_int_equal(mem_space_fork(f->s, &child), 0);
    assert_int_equal(mem_pool_committed_bytes(f->pool), 4 * MIB);
    poke(child, (gva_t)a, 2);
    assert_int_equal(peek(f->s, (gva_t)a), 2);
    assert_int_equal(mem_unmap(f->s, (gva_t)a, 4 * MIB), 0);
    assert_int_equal(peek(child, (gva_t)a), 2);
    assert_true(mem_check(child));
    mem_space_put(child);
    assert_int_equal(mem_pool_committed_bytes(f->pool), 0);
    fix_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read_and_written_sparsely),
        cmocka_unit_test(the_limit_of_objects_is_enospc),
        cmocka_unit_test(shared_maps_see_each_other_and_the_file),
        cmocka_unit_test(what_lies_beyond_the_end_is_a_bus_error_until_the_file_grows),
        cmocka_unit_test(the_image_cannot_be_written),
        cmocka_unit_test(shared_anonymous_memory_is_counted_while_it_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
