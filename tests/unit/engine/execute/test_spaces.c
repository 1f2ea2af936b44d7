// links: engine/execute engine/guest/riscv engine/host/x64 engine/memory engine/base
/* Processes that share code, and stop sharing it: fork, exec of the same file, writes to a file that others execute. */
#include "tests/unit/engine/execute/rig.h"

#include <unistd.h>

struct process {
    struct mem_space *mem;
    struct run_space *space;
};

static struct rig rig_t1(void)
{
    struct run_config c = rig_config();
    c.t1_threshold = 1;
    return rig_new(&c);
}

static struct process process_new(struct rig *r)
{
    struct process p;
    struct err err;
    assert_int_equal(mem_space_new(r->pool, &p.mem, &err), OK);
    assert_int_equal(run_space_new(r->engine, p.mem, &p.space, &err), OK);
    return p;
}

static struct process process_fork(struct rig *r, struct mem_space *mem, struct run_space *space)
{
    struct process p;
    struct err err;
    (void)r;
    assert_int_equal(mem_space_fork(mem, &p.mem), 0);
    assert_int_equal(run_space_fork(space, p.mem, &p.space, &err), OK);
    return p;
}

static void process_free(struct process *p)
{
    run_space_free(p->space);
    mem_space_put(p->mem);
}

static uint64_t run_in(struct rig *r, struct run_space *s, gva_t pc)
{
    start(r, pc);
    r->v->r[S0] = DATA;
    assert_int_equal(run_go(r->rv, s), RUN_SYSCALL);
    return r->v->r[A0];
}

static uint64_t blocks(struct rig *r)
{
    struct run_stats st;
    run_engine_stats(r->engine, &st);
    return st.blocks_translated;
}

/* An image file of one page: a0 = n; ecall */
static struct mem_object *image_of(struct rig *r, int n, uint64_t key, int *fd)
{
    struct err err;
    struct mem_object *o;
    assert_int_equal(os_memfd("image", 4096, fd, &err), OK);
    uint32_t code[2] = {ADDI(A0, X0, n), ECALL};
    assert_int_equal(pwrite(*fd, code, sizeof code, 0), sizeof code);
    assert_int_equal(mem_object_image(r->pool, *fd, 0, 4096, key, &o, &err), OK);
    return o;
}

static void map_text(struct process *p, gva_t at, struct mem_object *o)
{
    assert_int_equal(mem_map(p->mem, at, 4096, MEM_R | MEM_X, MEM_FIXED, o, 0, "text"), at);
}

static void the_same_program_is_translated_once(void **state)
{
    (void)state;
    struct rig r = rig_t1();
    int fd;
    struct mem_object *o = image_of(&r, 42, 1, &fd);
    uint64_t first = 0;
    for (unsigned i = 0; i < 5; i++) {
        struct process p = process_new(&r);
        map_text(&p, CODE, o);
        assert_int_equal(run_in(&r, p.space, CODE), 42);
        if (!i)
            first = blocks(&r);
        assert_int_equal(blocks(&r), first); /* also after the others are gone */
        process_free(&p);
    }
    mem_object_put(o);
    rig_free(&r);
    close(fd);
}

static void two_programs_at_one_address_are_not_mixed_up(void **state)
{
    (void)state;
    struct rig r = rig_t1();
    int fd[2];
    struct mem_object *o[2] = {image_of(&r, 1, 1, &fd[0]), image_of(&r, 2, 2, &fd[1])};
    struct process p[2];
    for (unsigned i = 0; i < 2; i++) {
        p[i] = process_new(&r);
        map_text(&p[i], CODE, o[i]);
    }
    for (unsigned turn = 0; turn < 10; turn++)
        for (unsigned i = 0; i < 2; i++)
            assert_int_equal(run_in(&r, p[i].space, CODE), i + 1);
    for (unsigned i = 0; i < 2; i++) {
        process_free(&p[i]);
        mem_object_put(o[i]);
        close(fd[i]);
    }
    rig_free(&r);
}

static void execve_finds_the_new_program_warm_and_leaves_the_old_one_so(void **state)
{
    (void)state;
    struct rig r = rig_t1();
    int fd[2];
    struct mem_object *o[2] = {image_of(&r, 1, 1, &fd[0]), image_of(&r, 2, 2, &fd[1])};
    struct process p = process_new(&r);
    uint64_t after_two = 0;
    for (unsigned turn = 0; turn < 6; turn++) {
        mem_space_clear(p.mem);
        map_text(&p, CODE, o[turn % 2]);
        assert_int_equal(run_in(&r, p.space, CODE), turn % 2 + 1);
        if (turn == 1)
            after_two = blocks(&r);
    }
    assert_int_equal(blocks(&r), after_two);
    process_free(&p);
    for (unsigned i = 0; i < 2; i++) {
        mem_object_put(o[i]);
        close(fd[i]);
    }
    rig_free(&r);
}

static void more_mappings_do_not_cost_the_code_that_is_there(void **state)
{
    (void)state;
    struct rig r = rig_t1();
    int fd[2];
    struct mem_object *o[2] = {image_of(&r, 1, 1, &fd[0]), image_of(&r, 2, 2, &fd[1])};
    struct process p = process_new(&r);
    map_text(&p, CODE, o[0]);
    assert_int_equal(run_in(&r, p.space, CODE), 1);
    uint64_t before = blocks(&r);
    map_text(&p, CODE + 0x10000, o[1]); /* a library */
    assert_int_equal(run_in(&r, p.space, CODE), 1);
    assert_int_equal(blocks(&r), before);
    assert_int_equal(run_in(&r, p.space, CODE + 0x10000), 2);
    assert_int_equal(mem_unmap(p.mem, CODE + 0x10000, 4096), 0);
    before = blocks(&r);
    assert_int_equal(run_in(&r, p.space, CODE), 1);
    assert_int_equal(blocks(&r), before);
    start(&r, CODE + 0x10000);
    assert_int_equal(run_go(r.rv, p.space), RUN_TRAP);
    process_free(&p);
    for (unsigned i = 0; i < 2; i++) {
        mem_object_put(o[i]);
        close(fd[i]);
    }
    rig_free(&r);
}

static void a_child_of_fork_shares_code_until_it_rewrites_it(void **state)
{
    (void)state;
    struct rig r = rig_t1();
    POKE(r.mem, CODE, ADDI(A0, X0, 7), ECALL);
    /* writes "a0 = 9" over the first instruction, fence.i, runs it */
    POKE(r.mem, CODE + 0x1000, LW(A1, S0, 0), LUI(A2, CODE >> 12), SW(A1, A2, 0), FENCE_I,
         JALR(X0, A2, 0));
    uint32_t nine = ADDI(A0, X0, 9);
    assert_true(mem_copy_out(r.mem, DATA, &nine, 4));
    assert_int_equal(run_in(&r, r.space, CODE), 7);
    uint64_t before = blocks(&r);
    struct process c = process_fork(&r, r.mem, r.space);
    assert_int_equal(run_in(&r, c.space, CODE), 7);
    assert_int_equal(blocks(&r), before); /* shared */
    assert_int_equal(run_in(&r, c.space, CODE + 0x1000), 9);
    assert_int_equal(run_in(&r, r.space, CODE), 7); /* the parent's is as it was */
    assert_int_equal(run_in(&r, c.space, CODE), 9);
    /* and the other way round: the parent rewrites what a second child runs */
    struct process d = process_fork(&r, r.mem, r.space);
    assert_int_equal(run_in(&r, d.space, CODE), 7);
    assert_int_equal(run_in(&r, r.space, CODE + 0x1000), 9);
    assert_int_equal(run_in(&r, d.space, CODE), 7);
    assert_int_equal(run_in(&r, c.space, CODE), 9);
    assert_int_equal(run_in(&r, r.space, CODE), 9);
    process_free(&c);
    process_free(&d);
    rig_free(&r);
}

static void a_page_that_only_the_other_process_translated_is_watched_here_too(void **state)
{
    (void)state;
    struct rig r = rig_t1();
    POKE(r.mem, CODE, ADDI(A0, X0, 7), ECALL);
    POKE(r.mem, CODE + 0x1000, LW(A1, S0, 0), LUI(A2, CODE >> 12), SW(A1, A2, 0), FENCE_I,
         JALR(X0, A2, 0));
    uint32_t nine = ADDI(A0, X0, 9);
    assert_true(mem_copy_out(r.mem, DATA, &nine, 4));
    assert_int_equal(run_in(&r, r.space, CODE + 0x1000), 9); /* now there is a code space */
    uint32_t seven = ADDI(A0, X0, 7);
    assert_true(mem_copy_out(r.mem, CODE, &seven, 4));
    run_flush_icache(r.rv, r.space);
    struct process c = process_fork(&r, r.mem, r.space);
    assert_int_equal(run_in(&r, r.space, CODE), 7); /* translated by the parent alone */
    assert_int_equal(run_in(&r, c.space, CODE + 0x1000), 9);
    assert_int_equal(run_in(&r, r.space, CODE), 7);
    process_free(&c);
    rig_free(&r);
}

static void a_file_overwritten_while_another_process_executes_it(void **state)
{
    (void)state;
    struct rig r = rig_t1();
    struct err err;
    struct mem_object *o;
    assert_int_equal(mem_object_memory(r.pool, 4096, &o, &err), OK);
    uint32_t code[2] = {ADDI(A0, X0, 0), ECALL};
    struct process p[2];
    for (unsigned i = 0; i < 2; i++) {
        p[i] = process_new(&r);
        assert_int_equal(mem_map(p[i].mem, CODE, 4096, MEM_R | MEM_X,
                                 MEM_FIXED | (i ? MEM_SHARED : 0), o, 0, "f"),
                         CODE);
    }
    for (int n = 1; n < 20; n++) {
        code[0] = ADDI(A0, X0, n);
        assert_int_equal(mem_object_write(o, 0, code, sizeof code), sizeof code);
        for (unsigned i = 0; i < 2; i++) {
            run_flush_icache(r.rv, p[i].space);
            assert_int_equal(run_in(&r, p[i].space, CODE), n);
            assert_int_equal(run_in(&r, p[i].space, CODE), n);
        }
    }
    /* through a second mapping of the same file, by guest stores */
    assert_int_equal(
        mem_map(p[1].mem, DATA, 4096, MEM_R | MEM_W, MEM_FIXED | MEM_SHARED, o, 0, "f"), DATA);
    for (int n = 100; n < 120; n++) {
        uint32_t word = ADDI(A0, X0, n);
        assert_true(mem_copy_out(p[1].mem, DATA, &word, 4));
        for (unsigned i = 0; i < 2; i++) {
            run_flush_icache(r.rv, p[i].space);
            assert_int_equal(run_in(&r, p[i].space, CODE), n);
        }
    }
    for (unsigned i = 0; i < 2; i++)
        process_free(&p[i]);
    mem_object_put(o);
    rig_free(&r);
}

static void a_thousand_processes_come_and_go(void **state)
{
    (void)state;
    struct rig r = rig_t1();
    POKE(r.mem, CODE, ADDI(A0, X0, 7), ECALL);
    for (unsigned i = 0; i < 1000; i++) {
        struct process c = process_fork(&r, r.mem, r.space);
        uint32_t word = ADDI(A0, X0, (int32_t)i);
        if (i % 3 == 0) {
            assert_true(mem_copy_out(c.mem, CODE, &word, 4));
            run_flush_icache(r.rv, c.space);
        }
        assert_int_equal(run_in(&r, c.space, CODE), i % 3 ? 7 : i);
        process_free(&c);
    }
    assert_int_equal(run_in(&r, r.space, CODE), 7);
    assert_true(blocks(&r) < 2500);
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_program_is_translated_once),
        cmocka_unit_test(two_programs_at_one_address_are_not_mixed_up),
        cmocka_unit_test(execve_finds_the_new_program_warm_and_leaves_the_old_one_so),
        cmocka_unit_test(more_mappings_do_not_cost_the_code_that_is_there),
        cmocka_unit_test(a_child_of_fork_shares_code_until_it_rewrites_it),
        cmocka_unit_test(a_page_that_only_the_other_process_translated_is_watched_here_too),
        cmocka_unit_test(a_file_overwritten_while_another_process_executes_it),
        cmocka_unit_test(a_thousand_processes_come_and_go),
    };
    keep_our_handlers();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
