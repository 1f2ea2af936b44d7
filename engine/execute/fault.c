/*
 * The process's only handlers of SIGSEGV and SIGBUS (DESIGN 6, D3). They redirect, nothing else: no lock, no
 * allocation; what the fault means is found out on the vCPU's own thread.
 */
#include "engine/execute/internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define ALT_EXTRA_BYTES ((size_t)16 << 10)
#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

static _Thread_local struct vcpu *current __attribute__((tls_model("initial-exec")));
static _Thread_local void *alt_map;
static _Thread_local size_t alt_map_bytes;
static struct sigaction old_segv, old_bus;

void run_set_current(struct vcpu *v)
{
    current = v;
}

/* Our own bug: say where, then let it happen again under whoever handled it before us (a sanitizer, or the default). */
static void report(int sig, const siginfo_t *si, greg_t *g)
{
    char text[512];
    int n = snprintf(text, sizeof text,
                     "%s in the runtime: address %p (code %d), rip %#llx rsp %#llx rax %#llx rcx "
                     "%#llx rdx %#llx rbx %#llx "
                     "rsi %#llx rdi %#llx, vCPU %p, guest pc %#llx\n",
                     sig == SIGBUS ? "SIGBUS" : "SIGSEGV", si->si_addr, si->si_code, g[REG_RIP],
                     g[REG_RSP], g[REG_RAX], g[REG_RCX], g[REG_RDX], g[REG_RBX], g[REG_RSI],
                     g[REG_RDI], (void *)current, current ? (unsigned long long)current->pc : 0);
    if (n > 0 && write(STDERR_FILENO, text, MIN((size_t)n, sizeof text - 1)) < 0)
        errno = 0;
    sigaction(sig, sig == SIGBUS ? &old_bus : &old_segv, NULL);
    if (si->si_code <= 0) /* sent by somebody: it does not happen again by itself */
        g[REG_RIP] = 0;
}

static void on_fault(int sig, siginfo_t *si, void *context)
{
    int saved_errno = errno;
    greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
    uintptr_t rip = (uintptr_t)g[REG_RIP];
    struct cc_range range;
    uint64_t to;
    if (si->si_code <= 0) {
        report(sig, si, g);
    } else if (cc_range_find(rip, &range)) {
        /* In translated code rsp is the vCPU; anything else there is not a guest's access. */
        struct vcpu *v = current;
        if (v && (uintptr_t)g[REG_RSP] == (uintptr_t)v && rip >= range.blocks) {
            v->fault_rip = rip;
            v->fault_addr = (uintptr_t)si->si_addr;
            v->fault_is_write = g[REG_ERR] >> 1 & 1;
            g[REG_RIP] = (greg_t)range.fault_stub;
        } else
            report(sig, si, g);
    } else if ((to = mem_fixup(rip)))
        g[REG_RIP] = (greg_t)to;
    else
        report(sig, si, g);
    errno = saved_errno;
}

res_code_t run_process_init(struct err *err)
{
    static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
    static bool done;
    pthread_mutex_lock(&once);
    res_code_t rc = cc_process_init(err);
    if (rc == OK && !done) {
        struct sigaction sa = {.sa_sigaction = on_fault,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
        sigemptyset(&sa.sa_mask);
        if (sigaction(SIGSEGV, &sa, &old_segv) < 0 || sigaction(SIGBUS, &sa, &old_bus) < 0)
            rc = err_set_os(err, "signal handlers");
        else
            done = true;
    }
    pthread_mutex_unlock(&once);
    return rc;
}

res_code_t run_thread_init(struct err *err)
{
    if (alt_map)
        return OK;
    size_t least = MAX((size_t)getauxval(AT_MINSIGSTKSZ), (size_t)MINSIGSTKSZ);
    size_t bytes = ALIGN_UP(least + ALT_EXTRA_BYTES, PAGE_SIZE), whole = bytes + PAGE_SIZE;
    char *p = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (p == MAP_FAILED)
        return err_set_os(err, "signal stack");
    stack_t ss = {.ss_sp = p + PAGE_SIZE, .ss_size = bytes};
    if (mprotect(p + PAGE_SIZE, bytes, PROT_READ | PROT_WRITE) < 0 || sigaltstack(&ss, NULL) < 0) {
        res_code_t rc = err_set_os(err, "signal stack");
        munmap(p, whole);
        return rc;
    }
    alt_map = p;
    alt_map_bytes = whole;
    return OK;
}

void run_thread_fini(void)
{
    if (!alt_map)
        return;
    stack_t off = {.ss_flags = SS_DISABLE};
    sigaltstack(&off, NULL);
    munmap(alt_map, alt_map_bytes);
    alt_map = NULL;
}
