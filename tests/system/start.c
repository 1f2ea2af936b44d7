/*
 * tests/system/start.c WORKER... - what confinement costs: starts each worker 100 times as vmd does and prints the wall time in
 * milliseconds until its hello is there, and until it is gone after its socket was closed: median and p99; and its CPU time.
 * vmd-worker-plain is the same worker without any layer but the namespaces that it is started in.
 */
#include "daemon/confine/spawn.h"
#include "engine/base/base.h"
#include "engine/base/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define RUNS 100

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static res_code_t once(const char *path, uint64_t *hello_ns, uint64_t *end_ns, struct err *err)
{
    int pair[2], status, sig;
    char byte;
    struct cf_process p;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return err_set_os(err, "socketpair");
    uint64_t began = os_now_ns();
    res_code_t res = cf_spawn(path, (const int[]){-1, 2, 2, pair[1]}, 4, &p, err);
    close(pair[1]);
    if (!res) {
        if (read(pair[0], &byte, 1) != 1)
            res = err_set(err, ERR_OS, "%s says nothing", path);
        *hello_ns = os_now_ns() - began;
        began = os_now_ns();
        shutdown(pair[0], SHUT_RDWR);
        cf_reap(&p, &status, &sig);
        *end_ns = os_now_ns() - began;
        close(p.pidfd);
    }
    close(pair[0]);
    return res;
}

/* of the children that are gone */
static double cpu_ms(void)
{
    struct rusage r;
    getrusage(RUSAGE_CHILDREN, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1e3 +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e3;
}

int main(int argc, char **argv)
{
    static uint64_t hello[RUNS], end[RUNS];
    struct err err;
    for (int i = 1; i < argc; i++) {
        double cpu = cpu_ms();
        for (unsigned n = 0; n < RUNS; n++)
            if (once(argv[i], &hello[n], &end[n], &err)) {
                fprintf(stderr, "start: %s\n", err.text);
                return 1;
            }
        qsort(hello, RUNS, sizeof hello[0], by_size);
        qsort(end, RUNS, sizeof end[0], by_size);
        printf("%s: hello after %.2f (p99 %.2f), gone after %.2f (p99 %.2f), CPU %.2f\n", argv[i],
               (double)hello[RUNS / 2] / 1e6, (double)hello[RUNS * 99 / 100] / 1e6,
               (double)end[RUNS / 2] / 1e6, (double)end[RUNS * 99 / 100] / 1e6,
               (cpu_ms() - cpu) / RUNS);
    }
    return 0;
}
