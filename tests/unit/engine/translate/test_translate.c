// links: engine/execute engine/translate engine/guest/riscv engine/host/x64 engine/memory engine/base
#include "tests/unit/engine/execute/rig.h"

#include "engine/translate/translate.h"

/* A translator without the loop around it, over a mem_space. */
struct works {
    struct mem_pool *pool;
    struct mem_space *mem;
    struct prof *prof;
    struct prof_source source;
    struct xl *xl;
    struct xl_thread *t;
    struct cc_space *code;
    struct host_options options;
    _Atomic uint64_t generation;
};

static struct works *works_new(uint64_t cache_bytes, uint32_t arena_bytes)
{
    struct works *w = calloc(1, sizeof *w);
    struct err err;
    sigaction(SIGSEGV, &our_segv, NULL);
    sigaction(SIGBUS, &our_bus, NULL);
    struct mem_pool_config pc = {.commit_bytes = 64 << 20, .maps = 4000, .window_bits = 36};
    assert_int_equal(mem_pool_new(&pc, &w->pool, &err), OK);
    assert_int_equal(mem_space_new(w->pool, &w->mem, &err), OK);
    rig_map(w->mem);
    assert_int_equal(prof_new(100, &w->prof, &err), OK);
    prof_attach(w->prof, &w->source);
    w->options = (struct host_options){.features = x64_host_ops.features(),
                                       .window_bytes = (uint64_t)1 << 36,
                                       .sp_reg = rv_guest_ops.sp_reg};
    struct xl_config xc = {.guest = &rv_guest_ops,
                           .host = &x64_host_ops,
                           .options = w->options,
                           .cache_bytes = cache_bytes,
                           .arena_bytes = arena_bytes,
                           .thread_max = 1};
    assert_int_equal(xl_new(&xc, w->prof, &w->xl, &err), OK);
    assert_int_equal(xl_thread_new(w->xl, &w->source, NULL, NULL, &w->t, &err), OK);
    assert_int_equal(cc_space_open(xl_cache(w->xl), "k", 1, &w->code, NULL, &err), OK);
    cc_pin(xl_cc_thread(w->t), w->code);
    cc_enter(xl_cc_thread(w->t));
    return w;
}

static void works_free(struct works *w)
{
    assert_true(cc_check(xl_cache(w->xl)));
    xl_thread_free(w->t);
    cc_space_put(w->code);
    xl_free(w->xl);
    prof_detach(w->prof, &w->source);
    prof_free(w->prof);
    mem_space_put(w->mem);
    mem_pool_free(w->pool);
    free(w);
}

static enum xl_result translate(struct works *w, gva_t pc, struct cc_block **b)
{
    struct xl_request q = {.mem = w->mem,
                           .space = w->code,
                           .options = &w->options,
                           .pc = pc,
                           .generation = &w->generation};
    *b = NULL;
    return xl_translate(w->t, &q, b);
}

static void forget(void *ctx, gva_t page)
{
    struct works *w = ctx;
    cc_retire_range(w->code, page, page + 4096);
}

static void clean(struct works *w)
{
    w->generation++;
    mem_dirty_take(w->mem, forget, w);
}

static void a_block_is_published_with_its_exits_and_size(void **state)
{
    (void)state;
    struct works *w = works_new(1 << 20, 65536);
    struct cc_block *b;
    POKE(w->mem, CODE, ADDI(A0, X0, 1), BEQ(A0, A1, 64), ADDI(A0, A0, 1), JAL(X0, 256));
    assert_int_equal(translate(w, CODE, &b), XL_OK);
    assert_int_equal(b->pc, CODE);
    assert_int_equal(b->guest_bytes, 16);
    assert_int_equal(b->insn_count, 4);
    assert_int_equal(b->exit_count, 2);
    assert_ptr_equal(cc_find(w->code, CODE), b);
    assert_int_equal(b->flags, 0);
    uint64_t n[PROF_COUNTER_COUNT];
    prof_sum(w->prof, n);
    assert_int_equal(n[PROF_BLOCKS], 1);
    assert_int_equal(n[PROF_INSNS_T1], 4);
    works_free(w);
}

static void what_cannot_be_executed_is_not_translated(void **state)
{
    (void)state;
    struct works *w = works_new(1 << 20, 65536);
    struct cc_block *b;
    assert_int_equal(translate(w, DATA, &b), XL_NOT_CODE);
    assert_int_equal(translate(w, 0, &b), XL_NOT_CODE);
    assert_int_equal(translate(w, ~(gva_t)1, &b), XL_NOT_CODE);
    assert_int_equal(translate(w, CODE + AREA, &b), XL_NOT_CODE);
    works_free(w);
}

static void a_page_is_watched_from_the_translation_on(void **state)
{
    (void)state;
    struct works *w = works_new(1 << 20, 65536);
    struct cc_block *b;
    POKE(w->mem, CODE, ADDI(A0, X0, 1), ECALL);
    assert_int_equal(translate(w, CODE, &b), XL_OK);
    assert_false(mem_dirty_any(w->mem));
    POKE(w->mem, CODE + 0x100, ADDI(A0, X0, 2)); /* the same page */
    assert_true(mem_dirty_any(w->mem));
    assert_int_equal(translate(w, CODE + 0x1000, &b), XL_DIRTY); /* not even elsewhere */
    clean(w);
    assert_null(cc_find(w->code, CODE));
    assert_int_equal(translate(w, CODE, &b), XL_OK);
    works_free(w);
}

static void a_page_written_again_and_again_gets_self_checking_blocks(void **state)
{
    (void)state;
    struct works *w = works_new(1 << 20, 65536);
    struct cc_block *b;
    bool hot = false;
    for (unsigned i = 0; i < 100 && !hot; i++) {
        POKE(w->mem, CODE, ADDI(A0, X0, 1), ECALL);
        clean(w);
        assert_int_equal(translate(w, CODE, &b), XL_OK);
        hot = b->flags & CC_BLOCK_SELF_CHECK;
    }
    assert_true(hot);
    works_free(w);
}

static void a_block_ends_with_its_page_unless_its_first_instruction_does_not(void **state)
{
    (void)state;
    struct works *w = works_new(1 << 20, 65536);
    struct cc_block *b;
    uint32_t nops[2048];
    for (unsigned i = 0; i < 2048; i++)
        nops[i] = ADDI(A0, A0, 1);
    poke(w->mem, CODE, nops, 2048);
    assert_int_equal(translate(w, CODE + 4096 - 8, &b), XL_OK);
    assert_int_equal(b->guest_bytes, 8);
    poke(w->mem, CODE + 2, nops, 2047);
    clean(w);
    assert_int_equal(translate(w, CODE + 4096 - 6, &b), XL_OK);
    assert_int_equal(b->guest_bytes, 4);
    assert_int_equal(translate(w, CODE + 4096 - 2, &b), XL_OK);
    assert_true(b->guest_bytes > 4);
    assert_int_equal(cc_retire_range(w->code, CODE + 4096, CODE + 8192), 1);
    works_free(w);
}

static void blocks_that_do_not_fit_an_arena_get_shorter(void **state)
{
    (void)state;
    struct works *w = works_new(4096 * 64, 4096);
    struct cc_block *b;
    uint32_t code[64];
    for (unsigned i = 0; i < 64; i++)
        code[i] = rv_r(0x53, 7, i % 2 ? 0x0d : 0x2d, i % 32, (i + 1) % 32,
                       (i + 2) % 32); /* fdiv.d; something with rm */
    poke(w->mem, CODE, code, 64);
    for (gva_t pc = CODE; pc < CODE + 256;) {
        enum xl_result r = translate(w, pc, &b);
        assert_int_equal(r, XL_OK);
        assert_true(b->host_bytes <= 4096);
        pc += b->guest_bytes;
    }
    works_free(w);
}

/* One thread writes the page and follows its own writes; the other translates: a block that is found after the
 * follow-up must hold what was written before it. */
struct race {
    struct works *w;
    _Atomic bool stop;
    _Atomic uint64_t rounds;
};

static void *race_writer(void *arg)
{
    struct race *r = arg;
    struct err err;
    if (run_thread_init(&err) != OK)
        abort();
    for (int n = 0; !r->stop; n++) {
        uint32_t word = ADDI(A0, X0, n & 0x7ff);
        if (!mem_copy_out(r->w->mem, CODE, &word, 4))
            abort();
        clean(r->w);
        r->rounds++;
    }
    run_thread_fini();
    return NULL;
}

static void no_stale_block_survives_a_race_with_a_writer(void **state)
{
    (void)state;
    struct works *w = works_new(1 << 20, 65536);
    struct race r = {.w = w};
    pthread_t th;
    struct err err;
    struct cc_block *b;
    unsigned ok = 0;
    POKE(w->mem, CODE, ADDI(A0, X0, 0), ECALL);
    assert_int_equal(os_thread_start(&th, "writer", 0, race_writer, &r, &err), OK);
    for (unsigned i = 0; i < 20000 || ok < 100; i++) {
        cc_safe_point(xl_cc_thread(w->t));
        ok += translate(w, CODE, &b) == XL_OK;
    }
    r.stop = true;
    pthread_join(th, NULL);
    /* All quiet. A block that is there now was made after the last follow-up, and its page is watched: one more write
     * must reach it. One that had slipped through would stay, unless it checks itself. */
    uint32_t last = ADDI(A0, X0, 1);
    assert_true(mem_copy_out(w->mem, CODE, &last, 4));
    clean(w);
    b = cc_find(w->code, CODE);
    assert_true(!b || b->flags & CC_BLOCK_SELF_CHECK);
    assert_true(r.rounds > 10);
    works_free(w);
}

static void the_translator_thread_reclaims_and_stops(void **state)
{
    (void)state;
    struct works *w = works_new(65536, 4096);
    struct err err;
    struct cc_block *b;
    assert_int_equal(xl_start(w->xl, &err), OK);
    assert_int_equal(xl_start(w->xl, &err), OK); /* once */
    uint32_t nops[4096];
    for (unsigned i = 0; i < 4096; i++)
        nops[i] = ADDI(A0, A0, 1);
    poke(w->mem, CODE, nops, 4096);
    for (unsigned i = 0; i < 2000; i++) {
        cc_safe_point(xl_cc_thread(w->t));
        enum xl_result r = translate(w, CODE + i * 4, &b);
        assert_true(r == XL_OK || r == XL_FULL);
    }
    cc_leave(xl_cc_thread(w->t));
    struct cc_stats st;
    for (unsigned i = 0; i < 1000;
         i++) { /* nobody is inside: all that was retired comes back by itself */
        cc_cache_stats(xl_cache(w->xl), &st);
        if (!st.arenas_retiring)
            break;
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    assert_int_equal(st.arenas_retiring, 0);
    assert_true(st.evictions > 5);
    works_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_is_published_with_its_exits_and_size),
        cmocka_unit_test(what_cannot_be_executed_is_not_translated),
        cmocka_unit_test(a_page_is_watched_from_the_translation_on),
        cmocka_unit_test(a_page_written_again_and_again_gets_self_checking_blocks),
        cmocka_unit_test(a_block_ends_with_its_page_unless_its_first_instruction_does_not),
        cmocka_unit_test(blocks_that_do_not_fit_an_arena_get_shorter),
        cmocka_unit_test(no_stale_block_survives_a_race_with_a_writer),
        cmocka_unit_test(the_translator_thread_reclaims_and_stops),
    };
    keep_our_handlers();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
