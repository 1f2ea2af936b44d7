// links: engine/linux engine/linux/riscv engine/guest/riscv engine/host/x64 engine/execute engine/memory engine/base
/*
 * The process side with guests of a few instructions: their ends, their limits, stopping, time, signals from outside.
 */
#include "rig.h"

#include "engine/snapshot/snapshot.h"

#include <signal.h>

static void an_exit_code_comes_through(void **state)
{
    (void)state;
    struct rig r;
    rig_parts(&r);
    RIG_START(&r, LI(A0, 42), CALL(SYS_EXIT));
    assert_true(rig_wait(&r));
    assert_int_equal(r.end.kind, LX_END_EXIT);
    assert_int_equal(r.end.code, 42);
    rig_stop(&r);
}

static void a_trap_ends_the_guest_and_says_where(void **state)
{
    (void)state;
    struct rig r;
    rig_parts(&r);
    RIG_START(&r, LI(A1, 16), op_ld(A0, A1, 0));
    assert_true(rig_wait(&r));
    assert_int_equal(r.end.kind, LX_END_SIGNAL);
    assert_int_equal(r.end.code, SIGSEGV);
    assert_string_equal(r.end.text, "SIGSEGV at pc 0x1007c (ld a0,0(a1)), address 0x10");
    rig_stop(&r);
    rig_parts(&r);
    RIG_START(&r, ILLEGAL);
    assert_true(rig_wait(&r));
    assert_int_equal(r.end.code, SIGILL);
    rig_stop(&r);
    rig_parts(&r);
    RIG_START(&r, EBREAK);
    assert_true(rig_wait(&r));
    assert_int_equal(r.end.code, SIGTRAP);
    rig_stop(&r);
}

static void a_signal_from_outside_ends_it(void **state)
{
    (void)state;
    struct rig r;
    rig_parts(&r);
    RIG_START(&r, SELF);
    usleep(5000);
    lx_signal_init(r.lx, SIGTERM);
    assert_true(rig_wait(&r));
    assert_int_equal(r.end.kind, LX_END_SIGNAL);
    assert_int_equal(r.end.code, SIGTERM);
    assert_string_equal(r.end.text, "SIGTERM");
    rig_stop(&r);
}

static void a_guest_is_killed_before_during_and_after_its_run(void **state)
{
    (void)state;
    struct rig r;
    struct err err;
    rig_parts(&r);
    const uint32_t code[] = {SELF};
    r.config.program_bytes = rig_elf(r.elf, code, 1);
    assert_int_equal(lx_new(&r.config, &r.lx, &err), OK); /* never started */
    lx_kill(r.lx);
    assert_true(lx_ended(r.lx, &r.end));
    assert_int_equal(r.end.kind, LX_END_KILLED);
    rig_stop(&r);
    rig_parts(&r);
    RIG_START(&r, SELF);
    usleep(5000);
    uint64_t t0 = os_now_ns();
    lx_kill(r.lx);
    assert_true(rig_wait(&r));
    assert_true(os_now_ns() - t0 < 1000000000u);
    assert_int_equal(r.end.kind, LX_END_KILLED);
    lx_kill(r.lx);
    assert_true(lx_ended(r.lx, &r.end));
    rig_stop(&r);
}

static void a_storm_of_calls_cannot_keep_the_lock(void **state)
{
    (void)state;
    struct rig r;
    rig_parts(&r);
    RIG_START(&r, LI(A7, SYS_GETPID), ECALL, op_j(-4));
    uint64_t worst = 0;
    for (int i = 0; i < 100; i++) {
        struct lx_stats s;
        uint64_t t0 = os_now_ns();
        lx_stats(r.lx, &s);
        worst = MAX(worst, os_now_ns() - t0);
    }
    assert_true(worst < 1000000000u);
    rig_stop(&r);
}

static void the_cpu_limit_ends_a_loop(void **state)
{
    (void)state;
    struct rig r;
    rig_parts(&r);
    r.config.cpu_ns_max = 30000000;
    RIG_START(&r, SELF);
    assert_true(rig_wait(&r));
    assert_int_equal(r.end.kind, LX_END_LIMIT);
    assert_string_equal(r.end.text, "CPU time limit of 0.030 s used up");
    struct lx_stats s;
    lx_stats(r.lx, &s);
    assert_in_range(s.cpu_ns, 30000000, 2000000000);
    rig_stop(&r);
}

/* Sleeps 0.1 s by the guest's clock, then exits. */
#define SLEEPER                                                                           \
    op_addi(SP, SP, -16), op_sd(ZERO, SP, 0), LUI(A0, 100000000 >> 12), op_sd(A0, SP, 8), \
        MV(A0, SP), LI(A1, 0), CALL(SYS_NANOSLEEP), CALL(SYS_EXIT)

static void the_clocks_stand_still_while_it_is_paused(void **state)
{
    (void)state;
    struct rig r;
    rig_parts(&r);
    uint64_t t0 = os_now_ns();
    RIG_START(&r, SLEEPER);
    usleep(20000);
    lx_pause(r.lx);
    usleep(300000);
    assert_false(lx_ended(r.lx, NULL));
    lx_pause(r.lx); /* again: nothing */
    lx_resume(r.lx);
    assert_true(rig_wait(&r));
    assert_int_equal(r.end.code, 0);
    assert_true(os_now_ns() - t0 >= 399000000);
    rig_stop(&r);
}

static void a_busy_guest_is_paused_and_goes_on(void **state)
{
    (void)state;
    struct rig r;
    rig_parts(&r);
    RIG_START(&r, SELF);
    for (int i = 0; i < 20; i++) {
        struct lx_stats a, b = {0};
        int readings = 0;
        lx_pause(r.lx);
        do { /* it stands still soon, and then entirely */
            a = b;
            usleep(2000);
            lx_stats(r.lx, &b);
            assert_in_range(++readings, 1, 1000);
        } while (readings == 1 || b.cpu_ns != a.cpu_ns || b.syscalls != a.syscalls);
        lx_resume(r.lx);
        usleep(1000);
    }
    lx_kill(r.lx);
    assert_true(rig_wait(&r));
    rig_stop(&r);
}

/* sigaction {handler at +16 of the code's end}, kill(getpid(), 10): the handler gets 10 in a0 and the registers come back. */
static void a_handler_runs_and_returns_with_every_register(void **state)
{
    (void)state;
    struct rig r;
    rig_parts(&r);
    RIG_START(&r, AUIPC(S0),           /* 0: pc */
              op_addi(T0, S0, 27 * 4), /* the handler */
              op_addi(SP, SP, -32), op_sd(T0, SP, 0), op_sd(ZERO, SP, 8),
              op_sd(ZERO, SP, 16), /* struct sigaction */
              LI(A0, 10), MV(A1, SP), LI(A2, 0), LI(A3, 8), CALL(SYS_SIGACTION), LI(S1, 77),
              LI(T2, 55), LI(GP, 0),                                      /* 12.. */
              CALL(SYS_GETPID), LI(A1, 10), CALL(SYS_KILL),               /* 15.. */
              op_addi(S1, S1, -77), op_addi(T2, T2, -55),                 /* 20: zero again? */
              (uint32_t)(T2 << 20 | S1 << 15 | 6 << 12 | S1 << 7 | 0x33), /* or s1, s1, t2 */
              (uint32_t)(GP << 20 | S1 << 15 | 0 << 12 | A0 << 7 |
                         0x33), /* add a0, s1, gp: 0 + 0: gp was restored too */
              CALL(SYS_EXIT), ILLEGAL,
              /* 26: the handler: spoil what it may find, check a0, return */
              LI(S1, 1), LI(T2, 2), op_addi(A0, A0, -10), op_beqz(A0, 8), ILLEGAL, LI(GP, 9),
              (uint32_t)(RA << 15 | 0x67));
    assert_true(rig_wait(&r));
    assert_string_equal(r.end.text, "exit 0");
    rig_stop(&r);
}

static void a_bad_program_is_refused_with_what_and_where(void **state)
{
    (void)state;
    struct rig r;
    struct err err = {0};
    rig_parts(&r);
    const uint32_t code[] = {SELF};
    r.config.program_bytes = rig_elf(r.elf, code, 1);
    r.elf[18] = 62;
    assert_int_equal(lx_new(&r.config, &r.lx, &err), FAIL);
    assert_int_equal(err.code, ERR_BAD_ELF);
    assert_string_equal(err.text,
                        "/vivarium/init: ELF machine 62 at offset 18: this guest runs machine 243");
    r.elf[18] = 243;
    Elf64_Phdr *p = (Elf64_Phdr *)(void *)(r.elf + 64);
    p->p_memsz = (uint64_t)100 << 30;
    assert_int_equal(lx_new(&r.config, &r.lx, &err), FAIL);
    assert_int_equal(err.code, ERR_LIMIT);
    r.config.program = NULL;
    r.config.program_bytes = 0;
    assert_int_equal(lx_new(&r.config, &r.lx, &err), FAIL);
    assert_string_equal(err.text, "program test: No such file or directory (PATH is "
                                  "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)");
    assert_int_equal(err.code, ERR_NOT_FOUND);
    run_engine_free(r.engine);
    mem_pool_free(r.pool);
    run_thread_fini();
}

/* Saves the paused guest, frees it and goes on in a new one. */
static void move(struct rig *r)
{
    struct err err = {0};
    struct snap_writer w;
    struct snap_reader reader;
    snap_writer_init(&w, -1);
    if (lx_save(r->lx, &w, &err) || snap_finish(&w, &err))
        fail_msg("save: %s", err.text);
    lx_free(r->lx);
    r->lx = NULL;
    for (size_t n = 0; n < w.out.len;
         n += MAX(w.out.len / 97, (size_t)1)) { /* any part of it is refused */
        if (!snap_reader_init(&reader, w.out.data, n, -1, &err))
            assert_int_equal(lx_load(&r->config, &reader, &r->lx, &err), FAIL);
        assert_null(r->lx);
    }
    if (snap_reader_init(&reader, w.out.data, w.out.len, -1, &err) ||
        lx_load(&r->config, &reader, &r->lx, &err))
        fail_msg("load: %s", err.text);
    snap_writer_fini(&w);
}

static void a_sleeper_is_moved_and_sleeps_on(void **state)
{
    (void)state;
    struct rig r;
    struct err err;
    rig_parts(&r);
    RIG_START(&r, SLEEPER);
    for (int i = 0; i < 5; i++) {
        usleep(5000);
        lx_pause(r.lx);
        move(&r);
        assert_int_equal(lx_start(r.lx, &err), OK);
        lx_resume(r.lx);
    }
    assert_false(lx_ended(r.lx, NULL)); /* 0.1 s of its own time have not gone by */
    assert_true(rig_wait(&r));
    assert_string_equal(r.end.text, "exit 0");
    rig_stop(&r);
}

/* One thread counts down, the other looks on, on one vCPU: both stand in the queue of the new guest before it starts. */
static void busy_threads_are_moved_and_share_on(void **state)
{
    (void)state;
    struct rig r;
    struct err err;
    rig_parts(&r);
    r.config.vcpus = 1;
    RIG_START(&r, LUI(S1, 0x400), op_sd(S1, SP, -64), LUI(A0, 0x11),
              op_addi(A0, A0, -0x100), /* VM | FS | FILES | SIGHAND | THREAD */
              op_addi(A1, SP, -2048), LI(A2, 0), LI(A3, 0), LI(A4, 0), CALL(SYS_CLONE),
              op_beqz(A0, 24),                                     /* 10 */
              op_ld(A0, SP, -64), op_beqz(A0, 8), op_j(-8),        /* 11..13 */
              CALL(SYS_EXIT),                                      /* 14 */
              op_ld(A0, SP, 2048 - 64), op_addi(A0, A0, -1),       /* 16 */
              op_sd(A0, SP, 2048 - 64), op_beqz(A0, 8), op_j(-16), /* 18..20 */
              CALL(SYS_EXIT));                                     /* 21 */
    for (int i = 0; i < 3; i++) {
        usleep(10000);
        lx_pause(r.lx);
        move(&r);
        assert_int_equal(lx_start(r.lx, &err), OK);
        lx_resume(r.lx);
    }
    assert_true(rig_wait(&r));
    assert_string_equal(r.end.text, "exit 0");
    rig_stop(&r);
}

static void a_guest_that_runs_or_has_ended_is_not_saved(void **state)
{
    (void)state;
    struct rig r;
    struct err err = {0};
    struct snap_writer w;
    rig_parts(&r);
    RIG_START(&r, SELF);
    snap_writer_init(&w, -1);
    assert_int_equal(lx_save(r.lx, &w, &err), FAIL);
    assert_int_equal(err.code, ERR_STATE);
    lx_pause(r.lx);
    lx_kill(r.lx);
    assert_int_equal(lx_save(r.lx, &w, &err), FAIL);
    snap_writer_fini(&w);
    rig_stop(&r);
}

/* One thread calls getpid for ever, the other forks and waits 50 times: each fork must find the first one standing still. */
static void a_process_forks_while_its_other_thread_runs(void **state)
{
    (void)state;
    for (uint32_t vcpus = 1; vcpus <= 4; vcpus += 3) {
        struct rig r;
        rig_parts(&r);
        r.config.vcpus = vcpus;
        RIG_START(&r, LUI(A0, 0x11),
                  op_addi(A0, A0, -0x100), /* VM | FS | FILES | SIGHAND | THREAD */
                  op_addi(A1, SP, -2048), LI(A2, 0), LI(A3, 0), LI(A4, 0), CALL(SYS_CLONE),
                  op_beqz(A0, 76),                                             /* 8 */
                  LI(S1, 50),                                                  /* 9 */
                  LI(A0, 17), LI(A1, 0), CALL(SYS_CLONE), op_beqz(A0, 40),     /* 10..14 */
                  LI(A0, -1), LI(A1, 0), LI(A2, 0), LI(A3, 0), CALL(SYS_WAIT), /* 15..20 */
                  op_addi(S1, S1, -1), op_beqz(S1, 8), op_j(-52),              /* 21..23 */
                  LI(A0, 0), CALL(SYS_EXIT),                                   /* 24 */
                  CALL(SYS_GETPID), op_j(-4));                                 /* 27 */
        assert_true(rig_wait(&r));
        assert_string_equal(r.end.text, "exit 0");
        rig_stop(&r);
    }
}

static void guests_come_and_go_without_leaving_anything(void **state)
{
    (void)state;
    for (int i = 0; i < 30; i++) {
        struct rig r;
        rig_parts(&r);
        RIG_START(&r, LI(A0, 3), CALL(SYS_EXIT));
        assert_true(rig_wait(&r));
        rig_stop(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_exit_code_comes_through),
        cmocka_unit_test(a_trap_ends_the_guest_and_says_where),
        cmocka_unit_test(a_signal_from_outside_ends_it),
        cmocka_unit_test(a_guest_is_killed_before_during_and_after_its_run),
        cmocka_unit_test(a_storm_of_calls_cannot_keep_the_lock),
        cmocka_unit_test(the_cpu_limit_ends_a_loop),
        cmocka_unit_test(the_clocks_stand_still_while_it_is_paused),
        cmocka_unit_test(a_busy_guest_is_paused_and_goes_on),
        cmocka_unit_test(a_handler_runs_and_returns_with_every_register),
        cmocka_unit_test(a_bad_program_is_refused_with_what_and_where),
        cmocka_unit_test(a_sleeper_is_moved_and_sleeps_on),
        cmocka_unit_test(busy_threads_are_moved_and_share_on),
        cmocka_unit_test(a_guest_that_runs_or_has_ended_is_not_saved),
        cmocka_unit_test(a_process_forks_while_its_other_thread_runs),
        cmocka_unit_test(guests_come_and_go_without_leaving_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
