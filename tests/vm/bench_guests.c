/*
 * Figures of whole guests, not tests: create to exit of a static hello; what an idle guest weighs; how long a kill
 * takes beside three busy guests. `bench_guests [hello|idle|kill] [count]`.
 */
#include "tests/vm/harness.h"

#include "engine/base/base.h"
#include "engine/base/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void report(const char *what, uint64_t *ns, size_t n)
{
    qsort(ns, n, sizeof *ns, compare);
    printf("%-28s n %4zu  median %8.3f ms  p99 %8.3f ms  max %8.3f ms\n", what, n, (double)ns[n / 2] / 1e6,
           (double)ns[n * 99 / 100] / 1e6, (double)ns[n - 1] / 1e6);
}

static void bench_hello(size_t n)
{
    struct bytes hello = harness_file(VV_GUESTS "/hello");
    uint64_t *ns = calloc(n, sizeof *ns), *with_free = calloc(n, sizeof *ns);
    for (size_t i = 0; i < n; i++) {
        struct guest g;
        struct vm_config c = guest_config(hello, ARGV("hello"));
        uint64_t t = os_now_ns();
        guest_create(&g, &c);
        vm_wait(g.vm, SECONDS(10));
        ns[i] = os_now_ns() - t;
        guest_pump(&g);
        guest_free(&g);
        with_free[i] = os_now_ns() - t;
    }
    report("hello, create to exit", ns, n);
    report("hello, create to freed", with_free, n);
    free(ns);
    free(with_free);
}

static long pss_kib(void)
{
    long pss = -1;
    char line[200];
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "Pss: %ld kB", &pss) == 1)
            break;
    if (f)
        fclose(f);
    return pss;
}

/* A shell that waits for its child, which sleeps: what an interactive guest looks like while nobody types. */
static void bench_idle(void)
{
    struct bytes bad = harness_file(VV_GUESTS "/bad"), busybox = harness_file(VV_BUSYBOX);
    for (int kind = 0; kind < 2; kind++) {
        struct guest g[11];
        long at1 = 0, at11;
        for (int i = 0; i < 11; i++) {
            struct vm_config c = kind ? guest_config(busybox, ARGV("sh", "-c", "sleep 1000; echo"))
                                      : guest_config(bad, ARGV("bad", "sleep"));
            guest_create(&g[i], &c);
            vm_wait(g[i].vm, SECONDS(1) / 5);
            guest_pump(&g[i]);
            if (i == 0)
                at1 = pss_kib();
        }
        at11 = pss_kib();
        printf("idle guest (%s): (Pss with 11 - Pss with 1) / 10 = %ld KiB  [%ld, %ld]\n",
               kind ? "busybox sh + sleep" : "static pause", (at11 - at1) / 10, at11, at1);
        for (int i = 0; i < 11; i++)
            guest_free(&g[i]);
    }
}

static void bench_kill(size_t n)
{
    static const char *const kinds[] = {"self-jump", "indirect", "recursion", "syscalls", "mmap", "segv", "fork"};
    struct bytes bad = harness_file(VV_GUESTS "/bad");
    struct guest busy[3];
    for (size_t i = 0; i < ARRAY_LEN(busy); i++) {
        struct vm_config c = guest_config(bad, ARGV("bad", "recursion"));
        guest_create(&busy[i], &c);
    }
    uint64_t *ns = calloc(n, sizeof *ns);
    struct rng rng;
    rng_seed(&rng, os_now_ns());
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        for (size_t i = 0; i < n; i++) {
            struct guest g;
            struct vm_config c = guest_config(bad, (const char *const[]){"bad", kinds[k], NULL});
            c.limits.memory_bytes = (uint64_t)2 << 30;
            guest_create(&g, &c);
            while (!g.out.len && !vm_wait(g.vm, 100000))
                guest_pump(&g);
            vm_wait(g.vm, 1000000 + rng_below(&rng, 20000000));
            uint64_t t = os_now_ns();
            vm_kill(g.vm);
            vm_wait(g.vm, SECONDS(30));
            ns[i] = os_now_ns() - t;
            guest_free(&g);
        }
        char what[40];
        snprintf(what, sizeof what, "kill, %s", kinds[k]);
        report(what, ns, n);
    }
    free(ns);
    for (size_t i = 0; i < ARRAY_LEN(busy); i++)
        guest_free(&busy[i]);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "all";
    size_t n = argc > 2 ? strtoul(argv[2], NULL, 10) : 200;
    bool all = !strcmp(what, "all");
    if (all || !strcmp(what, "hello"))
        bench_hello(n);
    if (all || !strcmp(what, "idle"))
        bench_idle();
    if (all || !strcmp(what, "kill"))
        bench_kill(n);
    return 0;
}
