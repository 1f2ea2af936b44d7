/*
 * The judge: runs under qemu-riscv64. Reads the data area's content and then cases from standard input; for each
 * it returns from a signal handler into the case's registers and instructions and reports, from the signal
 * that ends them, every register. Freestanding: gp and tp belong to the cases.
 */
#include "tests/qemu/judge.h"

#include "tests/qemu/freestanding.h"

#include <signal.h>
#include <ucontext.h>

static struct judge_case next;
static struct judge_outcome outcome;
static int running;

static void report(int sig, const siginfo_t *si, const ucontext_t *uc)
{
    outcome.signal = (unsigned long)sig;
    outcome.address = sig == SIGSEGV || sig == SIGBUS ? (unsigned long)si->si_addr : 0;
    outcome.pc = uc->uc_mcontext.__gregs[0];
    for (int i = 1; i < 32; i++)
        outcome.x[i] = uc->uc_mcontext.__gregs[i];
    for (int i = 0; i < 32; i++)
        outcome.f[i] = uc->uc_mcontext.__fpregs.__d.__f[i];
    outcome.fcsr = uc->uc_mcontext.__fpregs.__d.__fcsr;
    outcome.memory = judge_hash((const uint64_t *)JUDGE_DATA);
    write_all(&outcome, sizeof outcome);
}

static void on_signal(int sig, siginfo_t *si, void *context)
{
    ucontext_t *uc = context;
    if (running)
        report(sig, si, uc);
    running = 1;
    read_all(&next, sizeof next, 1);
    volatile uint8_t *slot = (uint8_t *)JUDGE_SLOT;
    for (int i = 0; i < JUDGE_SLOT_BYTES; i++)
        slot[i] = next.code[i];
    __asm__ volatile("fence.i" : : : "memory");
    uc->uc_mcontext.__gregs[0] = JUDGE_SLOT;
    for (int i = 1; i < 32; i++)
        uc->uc_mcontext.__gregs[i] = next.x[i];
    for (int i = 0; i < 32; i++)
        uc->uc_mcontext.__fpregs.__d.__f[i] = next.f[i];
    uc->uc_mcontext.__fpregs.__d.__fcsr = (uint32_t)next.fcsr;
}

void _start(void);
void _start(void)
{
    static const int signals[] = {SIGTRAP, SIGILL, SIGSEGV, SIGBUS, SIGFPE};
    stack_t alt = {.ss_sp = (void *)JUDGE_STACK, .ss_size = JUDGE_STACK_BYTES};
    struct {
        void (*handler)(int, siginfo_t *, void *);
        unsigned long flags, mask;
    } action = {on_signal, SA_SIGINFO | SA_ONSTACK | SA_NODEFER, 0};
    map(JUDGE_STACK, JUDGE_STACK_BYTES, PROT_READ | PROT_WRITE);
    call(SYS_sigaltstack, (long)&alt, 0, 0, 0, 0, 0);
    for (unsigned i = 0; i < sizeof signals / sizeof signals[0]; i++)
        call(SYS_rt_sigaction, signals[i], (long)&action, 0, 8, 0, 0);
    map(JUDGE_CODE, JUDGE_CODE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC);
    for (uint64_t at = 0; at < JUDGE_CODE_BYTES; at += 2)
        *(volatile uint16_t *)(JUDGE_CODE + at) = JUDGE_FILL;
    map(JUDGE_DATA, JUDGE_DATA_BYTES, PROT_READ | PROT_WRITE);
    read_all((void *)JUDGE_DATA, JUDGE_DATA_BYTES, 0);
    call(SYS_mprotect, (long)(JUDGE_DATA + JUDGE_DATA_WRITABLE),
         (long)(JUDGE_DATA_BYTES - JUDGE_DATA_WRITABLE), PROT_READ, 0, 0, 0);
    __asm__ volatile("ebreak");
    leave(6);
}
