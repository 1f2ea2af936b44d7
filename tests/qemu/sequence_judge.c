/*
 * The judge of sequences: runs under qemu-riscv64. Each program is entered by returning from a signal handler into
 * its registers; each signal that it raises is an event, after which it goes on where the request says. What it
 * did is reported when it has had all its events. Freestanding: gp and tp belong to the programs.
 */
#include "tests/qemu/sequence.h"

#include "tests/qemu/freestanding.h"

#include <signal.h>
#include <ucontext.h>

static struct sequence_request layout, now;
static struct sequence_event events[SEQUENCE_EVENTS_MAX];
static unsigned event_count;
static uint64_t initial[8192];
static uint64_t start_sp;

static void copy_words(volatile uint64_t *to, const uint64_t *from, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes / 8; i++)
        to[i] = from[i];
}

static void lay_out(void)
{
    layout = now;
    if (layout.data_bytes > sizeof initial)
        leave(7);
    /* The stack that the emulator gave lies at a round address; right behind it is how handlers return. */
    uint64_t stack = start_sp & ~0xffffffull;
    call(SYS_munmap, (long)stack, (long)((start_sp & ~0xfffull) - stack), 0, 0, 0, 0);
    read_all(initial, layout.data_bytes, 0);
    map(layout.data, layout.data_bytes, PROT_READ | PROT_WRITE);
    copy_words((uint64_t *)layout.data, initial, layout.data_bytes);
    call(SYS_mprotect, (long)(layout.data + layout.writable_bytes),
         (long)(layout.data_bytes - layout.writable_bytes), PROT_READ, 0, 0, 0);
}

static void take_code(void)
{
    map(layout.code, layout.code_bytes, PROT_READ | PROT_WRITE);
    read_all((void *)layout.code, now.used_bytes, 0);
    call(SYS_mprotect, (long)layout.code, (long)layout.code_bytes, PROT_READ | PROT_EXEC, 0, 0, 0);
    __asm__ volatile("fence.i" : : : "memory");
}

static void observe(struct sequence_event *e, int sig, const siginfo_t *si, const ucontext_t *uc)
{
    e->signal = (uint64_t)sig;
    e->address = sig == SIGSEGV || sig == SIGBUS ? (uint64_t)si->si_addr : 0;
    e->pc = uc->uc_mcontext.__gregs[0];
    e->x[0] = 0;
    for (int i = 1; i < 32; i++)
        e->x[i] = uc->uc_mcontext.__gregs[i];
    for (int i = 0; i < 32; i++)
        e->f[i] = uc->uc_mcontext.__fpregs.__d.__f[i];
    e->fcsr = uc->uc_mcontext.__fpregs.__d.__fcsr;
}

static void begin(ucontext_t *uc)
{
    copy_words((uint64_t *)layout.data, initial, layout.writable_bytes);
    uc->uc_mcontext.__gregs[0] = now.pc;
    for (int i = 1; i < 32; i++)
        uc->uc_mcontext.__gregs[i] = now.x[i];
    for (int i = 0; i < 32; i++)
        uc->uc_mcontext.__fpregs.__d.__f[i] = now.f[i];
    uc->uc_mcontext.__fpregs.__d.__fcsr = (uint32_t)now.fcsr;
}

static void on_signal(int sig, siginfo_t *si, void *context)
{
    static uint32_t unreserved;
    long failed;
    ucontext_t *uc = context;
    if (now.kind == SEQUENCE_CASE) {
        observe(&events[event_count], sig, si, uc);
        if (++event_count < now.events) {
            uc->uc_mcontext.__gregs[0] = now.resume[event_count - 1];
            return;
        }
        write_all(events, event_count * sizeof events[0]);
        write_all((void *)layout.data, layout.writable_bytes);
    }
    /* A program starts without a reservation: any sc ends the last one's. */
    __asm__ volatile("sc.w %0, zero, (%1)" : "=&r"(failed) : "r"(&unreserved) : "memory");
    for (;;) {
        read_all(&now, sizeof now, 1);
        if (now.kind == SEQUENCE_CASE)
            break;
        if (now.kind == SEQUENCE_LAYOUT)
            lay_out();
        else
            take_code();
    }
    event_count = 0;
    begin(uc);
}

void _start(void);
void _start(void)
{
    static const int signals[] = {SIGTRAP, SIGILL, SIGSEGV, SIGBUS, SIGFPE};
    stack_t alt = {.ss_sp = (void *)SEQUENCE_STACK, .ss_size = SEQUENCE_STACK_BYTES};
    struct {
        void (*handler)(int, siginfo_t *, void *);
        unsigned long flags, mask;
    } action = {on_signal, SA_SIGINFO | SA_ONSTACK | SA_NODEFER, 0};
    start_sp = (uint64_t)&alt;
    map(SEQUENCE_STACK, SEQUENCE_STACK_BYTES, PROT_READ | PROT_WRITE);
    call(SYS_sigaltstack, (long)&alt, 0, 0, 0, 0, 0);
    for (unsigned i = 0; i < sizeof signals / sizeof signals[0]; i++)
        call(SYS_rt_sigaction, signals[i], (long)&action, 0, 8, 0, 0);
    now.kind = SEQUENCE_LAYOUT;
    __asm__ volatile("ebreak");
    leave(6);
}
