/* bad WHAT: a guest that will not stop, or stops badly. One program so that one loop can try them all. */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile uint64_t sink;

static int deeper(int n)
{
    volatile char frame[200];
    frame[0] = (char)n;
    sink += (uint64_t)n;
    return deeper(n + 1) + frame[0];
}

static uint64_t recurse(uint64_t n)
{
    return n < 2 ? n : recurse(n - 1) + recurse(n - 2);
}

static void on_segv(int s, siginfo_t *info, void *uc)
{
    (void)s, (void)info, (void)uc; /* returns to the faulting instruction */
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    puts("ready");
    fflush(stdout);
    if (!strcmp(what, "self-jump")) {
        __asm__ volatile("1: j 1b");
    } else if (!strcmp(what, "indirect")) {
        __asm__ volatile("la t0, 1f\n1: jr t0" ::: "t0");
    } else if (!strcmp(what, "recursion")) {
        for (;;)
            sink += recurse(40);
    } else if (!strcmp(what, "syscalls")) {
        for (;;)
            syscall(SYS_getppid);
    } else if (!strcmp(what, "mmap")) {
        size_t n = (size_t)1 << 30;
        for (;;) {
            char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (p == MAP_FAILED)
                return 3;
            for (size_t i = 0; i < n; i += 4096)
                p[i] = 1;
            munmap(p, n);
        }
    } else if (!strcmp(what, "segv")) {
        struct sigaction sa = {.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO};
        sigaction(SIGSEGV, &sa, NULL);
        *(volatile int *)16 = 1;
    } else if (!strcmp(what, "fork")) {
        for (;;)
            fork();
    } else if (!strcmp(what, "sleep")) {
        for (;;)
            pause();
    } else if (!strcmp(what, "garbage")) {
        static uint32_t junk[4] __attribute__((aligned(4096))) = {0, 0xffffffff, 0, 0};
        mprotect(junk, sizeof junk, PROT_READ | PROT_EXEC);
        ((void (*)(void))(uintptr_t)junk)();
    } else if (!strcmp(what, "wild")) {
        ((void (*)(void))0x123456)();
    } else if (!strcmp(what, "stack")) {
        return deeper(0);
    } else if (!strcmp(what, "malloc")) {
        size_t sum = 0;
        for (char *p; (p = malloc(1 << 20)); sum++)
            memset(p, 1, 1 << 20);
        printf("malloc said no %s\n", sum > 16 ? "in time" : "too early");
        return 7;
    } else if (!strcmp(what, "maps")) {
        long sum = 0;
        char *p = mmap(NULL, (size_t)1 << 34, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        for (size_t i = 0; i < ((size_t)1 << 34) / 8192; i++, sum++)
            if (mprotect(p + i * 8192, 4096, PROT_READ))
                break;
        printf("maps said no %s\n", sum > 1000 ? "in time" : "too early");
        return 8;
    } else if (!strcmp(what, "forks")) {
        int n = 0;
        pid_t pid;
        while ((pid = fork()) > 0)
            n++;
        if (pid == 0)
            for (;;)
                pause();
        printf("fork said no %s\n", n > 10 ? "in time" : "too early");
        return 9;
    } else {
        return 2;
    }
    return 0;
}
