/* What becomes of programs that go wrong: the same as on Linux, and nobody else notices. */
#include "t.h"

static NOINLINE int down(volatile char *p, int n)
{
    volatile char big[1000];
    big[0] = (char)n;
    return n == -1 ? 0 : down(big, n + 1) + p[0] + big[0];
}
static void stack_overflow(void)
{
    down("", 0);
}
static void big_frame(void)
{
    volatile char *p = __builtin_alloca(64 << 20);
    p[0] = 1;
}
static void call_null(void)
{
    void (*volatile f)(void) = NULL;
    f();
}
static void call_minus_two(void)
{
    void (*volatile f)(void) = (void (*)(void)) - 2L;
    f();
}
static void call_zeros(void)
{
    ((void (*)(void))mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))();
}
static void call_ones(void)
{
    char *p =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(p, 0xff, 4096);
    __builtin___clear_cache(p, p + 4096);
    ((void (*)(void))p)();
}
static void call_data(void)
{
    static long data[4] = {1, 2, 3, 4};
    ((void (*)(void))data)();
}
static void run_off_the_end(void)
{
    char *p =
        mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 4096; i += 2)
        memcpy(p + i, "\x01\x00", 2); /* c.nop */
    munmap(p + 4096, 4096);
    __builtin___clear_cache(p, p + 4096);
    ((void (*)(void))p)();
}
/* a 4-byte instruction whose second half is not there */
static void half_an_instruction(void)
{
    char *p =
        mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(p + 4094, "\x13\x00", 2);
    munmap(p + 4096, 4096);
    __builtin___clear_cache(p, p + 4096);
    ((void (*)(void))(p + 4094))();
}
static void null_load(void)
{
    (void)*(volatile int *)0;
}
static void null_store(void)
{
    *(volatile int *)0 = 1;
}
static void small_negative(void)
{
    (void)*(volatile char *)-1L;
}
static void error_value(void)
{
    *(volatile char *)(long)-EFAULT = 1;
}
static void write_to_code(void)
{
    *(volatile int *)(uintptr_t)&write_to_code = 0;
}
static void write_to_constant(void)
{
    *(volatile char *)(uintptr_t) "constant" = 0;
}
static void load_across_the_end(void)
{
    char *p = t_last_page();
    (void)*(volatile long *)(p + 4092);
}
static void store_across_the_end(void)
{
    char *p = t_last_page();
    *(volatile long *)(p + 4092) = -1;
}
static void aborted(void)
{
    abort();
}
static void trapped(void)
{
    __builtin_trap();
}
static void signal_ignored_fault(void)
{
    signal(SIGSEGV, SIG_IGN); /* a fault of one's own cannot be ignored */
    *(volatile int *)0 = 1;
}
static void signal_blocked_fault(void)
{
    sigset_t s;
    sigfillset(&s);
    sigprocmask(SIG_BLOCK, &s, NULL);
    *(volatile int *)0 = 1;
}
static void bad_handler(void)
{
    signal(SIGUSR1, (void (*)(int))16);
    raise(SIGUSR1);
}
static void no_stack_for_a_signal(void)
{
#ifdef __riscv
    signal(SIGUSR1, (void (*)(int))aborted);
    long pid = getpid();
    __asm__ volatile("mv a0, %0\n li a1, 10\n li a7, 129\n li sp, 64\n ecall"
                     :
                     : "r"(pid)
                     : "a0", "a1", "a7", "memory");
#else
    raise(SIGSEGV);
#endif
}
static void divide(void)
{
#ifdef __riscv
    long q, r;
    int qw;
    __asm__ volatile("div %0, %3, zero\n rem %1, %3, zero\n divw %2, %3, zero"
                     : "=&r"(q), "=&r"(r), "=&r"(qw)
                     : "r"(42L));
    say("42 / 0 = %ld, %% %ld, %d", q, r, qw);
    __asm__ volatile("div %0, %2, %3\n rem %1, %2, %3"
                     : "=&r"(q), "=&r"(r)
                     : "r"((long)((size_t)1 << 63)), "r"(-1L));
    say("least / -1 = %lx, %% %ld", q, r);
#else
    say("42 / 0 = -1, %% 42, -1\nleast / -1 = 8000000000000000, %% 0");
#endif
}
int main(void)
{
    static const struct {
        const char *what;
        void (*f)(void);
    } cases[] = {
#define C(f) {#f, f}
        C(stack_overflow),
        C(big_frame),
        C(call_null),
        C(call_minus_two),
        C(call_zeros),
        C(call_ones),
        C(call_data),
        C(run_off_the_end),
        C(half_an_instruction),
        C(null_load),
        C(null_store),
        C(small_negative),
        C(error_value),
        C(write_to_code),
        C(write_to_constant),
        C(load_across_the_end),
        C(store_across_the_end),
        C(aborted),
        C(trapped),
        C(signal_ignored_fault),
        C(signal_blocked_fault),
        C(bad_handler),
        C(no_stack_for_a_signal),
        C(divide),
#undef C
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        t_child(cases[i].what, cases[i].f);
    return 0;
}
