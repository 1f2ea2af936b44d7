// links: engine/execute engine/guest/riscv engine/host/x64 engine/memory engine/base
/* The signal handler: what is the guest's, what is ours. */
#include "tests/unit/engine/execute/rig.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Run f in a child; its stderr into text. Returns the wait status. */
static int in_child(void (*f)(void), char *text, size_t n)
{
    int fd[2], status = 0;
    assert_int_equal(pipe(fd), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (!pid) {
        dup2(fd[1], 2);
        close(fd[0]);
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        sigaction(SIGSEGV, &our_segv, NULL);
        f();
        _exit(0);
    }
    close(fd[1]);
    size_t at = 0;
    for (ssize_t got; at < n - 1 && (got = read(fd[0], text + at, n - 1 - at)) > 0;)
        at += (size_t)got;
    text[at] = 0;
    close(fd[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void touch_nothing(void)
{
    volatile int *volatile p = (volatile int *)(uintptr_t)8;
    *p = 1;
}

static void a_fault_of_our_own_is_reported_and_ends_the_process(void **state)
{
    (void)state;
    char text[8192];
    int status = in_child(touch_nothing, text, sizeof text);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_non_null(strstr(text, "SIGSEGV in the runtime"));
    assert_non_null(strstr(text, "address 0x8"));
}

/* A window that is touched by anything but translated code and the accessors is our own fault too. */
static void touch_window(void)
{
    struct run_config c = rig_config();
    struct rig r = rig_new(&c);
    *(volatile char *)(mem_space_window(r.mem) + 0x999000) = 1;
}

static void a_window_touched_past_the_accessors_is_a_fault_of_our_own(void **state)
{
    (void)state;
    char text[8192];
    int status = in_child(touch_window, text, sizeof text);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_non_null(strstr(text, "SIGSEGV in the runtime"));
}

static void many_faults_leave_the_registers_alone(void **state)
{
    (void)state;
    struct run_config c = rig_config();
    c.t1_threshold = 1;
    struct rig r = rig_new(&c);
    /* every register holds its number * 0x1111; then a load that faults */
    uint32_t code[40];
    unsigned n = 0;
    for (unsigned i = 1; i < 32; i++)
        if (i != A0 && i != SP)
            code[n++] = ADDI(i, X0, (int32_t)(i * 0x11));
    code[n++] = LD(A0, A0, 8);
    code[n++] = ECALL;
    poke(r.mem, CODE, code, n);
    for (unsigned turn = 0; turn < 1000; turn++) {
        start(&r, CODE);
        r.v->r[A0] = 0x10;
        for (unsigned i = 0; i < 32; i++)
            r.v->f[i] = i * UINT64_C(0x0101010101010101);
        assert_int_equal(run_go(r.rv, r.space), RUN_TRAP);
        assert_int_equal(r.v->trap.addr, 0x18);
        assert_int_equal(r.v->pc, CODE + (n - 2) * 4);
        assert_int_equal(r.v->r[A0], 0x10);
        for (unsigned i = 1; i < 32; i++)
            if (i != A0 && i != SP)
                assert_int_equal(r.v->r[i], i * 0x11);
        for (unsigned i = 0; i < 32; i++)
            assert_int_equal(r.v->f[i], i * UINT64_C(0x0101010101010101));
    }
    rig_free(&r);
}

static void a_file_that_ends_before_its_mapping_is_a_bus_error(void **state)
{
    (void)state;
    struct run_config c = rig_config();
    c.t1_threshold = 1;
    struct rig r = rig_new(&c);
    struct mem_object *o;
    struct err err;
    assert_int_equal(mem_object_memory(r.pool, 4096, &o, &err), OK);
    gva_t at = 0x800000;
    assert_int_equal(mem_map(r.mem, at, 8192, MEM_R | MEM_W, MEM_FIXED | MEM_SHARED, o, 0, "f"),
                     at);
    POKE(r.mem, CODE, LD(A1, A0, 0), SD(A1, A0, 8), ECALL);
    for (unsigned turn = 0; turn < 3; turn++) {
        start(&r, CODE);
        r.v->r[A0] = at;
        assert_int_equal(run_go(r.rv, r.space), RUN_SYSCALL);
        start(&r, CODE);
        r.v->r[A0] = at + 4096 - 8; /* the store is behind the end */
        assert_int_equal(run_go(r.rv, r.space), RUN_TRAP);
        assert_int_equal(r.v->trap.kind, CPU_TRAP_BUS);
        assert_int_equal(r.v->trap.addr, at + 4096);
        assert_int_equal(r.v->pc, CODE + 4);
    }
    mem_object_put(o);
    rig_free(&r);
}

static void a_thread_without_a_signal_stack_of_its_own_may_fault_too(void **state)
{
    (void)state;
    struct run_config c = rig_config();
    c.t1_threshold = 1;
    struct rig r = rig_new(&c);
    run_thread_fini();
    POKE(r.mem, CODE, LD(A1, A0, 0), ECALL);
    start(&r, CODE);
    assert_int_equal(run_go(r.rv, r.space), RUN_TRAP);
    assert_int_equal(r.v->trap.kind, CPU_TRAP_PAGE);
    struct err err;
    assert_int_equal(run_thread_init(&err), OK);
    assert_int_equal(run_thread_init(&err), OK); /* twice is once */
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fault_of_our_own_is_reported_and_ends_the_process),
        cmocka_unit_test(a_window_touched_past_the_accessors_is_a_fault_of_our_own),
        cmocka_unit_test(many_faults_leave_the_registers_alone),
        cmocka_unit_test(a_file_that_ends_before_its_mapping_is_a_bus_error),
        cmocka_unit_test(a_thread_without_a_signal_stack_of_its_own_may_fault_too),
    };
    keep_our_handlers();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
