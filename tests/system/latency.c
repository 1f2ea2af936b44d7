/*
 * tests/system/latency.c [-n RUNS] [-p COMMAND] PROGRAM ARGS...: run it 200 times, each after COMMAND (a shell's, not timed);
 * print the wall time of a run in milliseconds: median, p99, worst. Of its own so that no shell is measured.
 */
#include "engine/base/base.h"
#include "engine/base/os.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define RUNS_MAX 1000

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    static uint64_t ns[RUNS_MAX];
    unsigned runs = 200;
    extern char **environ;
    posix_spawn_file_actions_t files;
    const char *prepare = NULL;
    if (argc > 3 && !strcmp(argv[1], "-n")) {
        runs = (unsigned)MIN(MAX(atoi(argv[2]), 1), RUNS_MAX);
        argv += 2;
        argc -= 2;
    }
    if (argc > 3 && !strcmp(argv[1], "-p")) {
        prepare = argv[2];
        argv += 2;
        argc -= 2;
    }
    if (argc < 2)
        return 2;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    for (unsigned i = 0; i < runs; i++) {
        pid_t pid;
        int status;
        if (prepare && system(prepare)) {
            fprintf(stderr, "latency: %s failed\n", prepare);
            return 1;
        }
        uint64_t began = os_now_ns();
        if (posix_spawn(&pid, argv[1], &files, NULL, argv + 1, environ) ||
            waitpid(pid, &status, 0) < 0 || status) {
            fprintf(stderr, "latency: run %u failed\n", i);
            return 1;
        }
        ns[i] = os_now_ns() - began;
    }
    posix_spawn_file_actions_destroy(&files);
    qsort(ns, runs, sizeof ns[0], by_size);
    printf("%.2f %.2f %.2f\n", (double)ns[runs / 2] / 1e6, (double)ns[runs * 99 / 100] / 1e6,
           (double)ns[runs - 1] / 1e6);
    return 0;
}
