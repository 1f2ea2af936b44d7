/*
 * bench_isa [GUESTS [SEED]] - figures of the formal machine (engine/virtualizability): instructions per second bare, what each
 * level of nesting costs, and random guests compared with the bare machine, GUESTS halting ones (default 10000) per variant,
 * monitor and depth. Exit status 1 if a figure that must hold does not.
 */
#include "tests/unit/engine/virtualizability/random_guest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A task that counts, and calls its supervisor after every `work` rounds of three instructions, `calls` times. */
static const char loop_text[] = "        .default WORK, 0\n"
                                "        .default CALLS, 0\n"
                                "        .size 64\n"
                                "        .word 0\n"
                                "        .psw s, trap, 0, 64\n"
                                "        LPSW task\n"
                                "trap:   SUB  calls, calls, one\n"
                                "        JZ   calls, end\n"
                                "        LPSW task\n"
                                "end:    HALT\n"
                                "task:   .psw u, 0, 40, 24\n"
                                "calls:  .word CALLS\n"
                                "one:    .word 1\n"
                                "        .org 40\n"
                                "        MOV 10, 11\n"
                                "        SUB 10, 10, 12\n"
                                "        JZ  10, 4\n"
                                "        JMP 1\n"
                                "        SVC\n"
                                "        .org 50\n"
                                "        .word 0, WORK, 1\n";

static int failures;

static _Noreturn void die(const struct err *err)
{
    fprintf(stderr, "bench_isa: %s\n", err->text);
    exit(2);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void figure(bool holds, const char *what)
{
    if (holds)
        return;
    printf("FAILED: %s\n", what);
    failures++;
}

/* ---- speed ---- */

/* Instructions per second at this depth; the rest through pointers. */
static double loop(enum pg_monitor_kind kind, unsigned depth, uint64_t work, uint64_t calls,
                   struct pg_formal *counts)
{
    const struct pg_define defines[] = {{"WORK", work}, {"CALLS", calls}};
    struct pg_program p;
    struct pg_formal start;
    struct pg_nest n;
    struct err err;
    if (pg_asm("loop", loop_text, sizeof loop_text - 1, defines, 2, &p, &err) ||
        pg_program_load(&p, &start, &err) || pg_nest_init(&n, kind, p.variant, p.q, depth, &err))
        die(&err);
    pg_nest_load(&n, &start);
    struct pg_formal *m = pg_nest_machine(&n);
    double from = seconds();
    bool halted = pg_formal_run(m, UINT64_MAX);
    double took = seconds() - from;
    uint64_t left;
    figure(halted && pg_program_symbol(&p, "calls", &left) && !pg_nest_guest(&n)->cells[left],
           "the loop has run to its end");
    *counts = *m;
    pg_nest_fini(&n);
    pg_formal_fini(&start);
    pg_program_fini(&p);
    return (double)counts->instructions / took;
}

static void speed(void)
{
    struct pg_formal counts;
    double best = 0;
    for (int i = 0; i < 5; i++) {
        double s = loop(PG_MONITOR_BUILTIN, 0, 10000000, 2, &counts);
        best = s > best ? s : best;
    }
    printf("depth 0: %.0f million instructions per second (at least 50 wanted)\n\n", best / 1e6);
    figure(best >= 50e6, "50 million instructions per second at depth 0");
}

static void slowdown(enum pg_monitor_kind kind, uint64_t work, uint64_t calls, unsigned depth_max)
{
    struct pg_formal bare, c;
    printf("%s monitor, %" PRIu64 " instructions between calls\n", pg_monitor_name(kind), 3 * work);
    printf("  depth    instructions        traps     direct  slowdown\n");
    for (unsigned depth = 0; depth <= depth_max; depth++) {
        loop(kind, depth, work, calls, &c);
        if (depth == 0)
            bare = c;
        printf("  %5u %15" PRIu64 " %12" PRIu64 " %9.2f%% %8.2fx\n", depth, c.instructions, c.traps,
               100.0 * (double)c.direct / (double)bare.instructions,
               (double)c.instructions / (double)bare.instructions);
    }
    printf("\n");
}

/* ---- equivalence ---- */

static void compare(enum pg_monitor_kind kind, enum pg_variant variant, unsigned depth,
                    uint64_t guests, uint64_t seed, bool must_differ)
{
    struct random_figures f;
    struct err err;
    double from = seconds();
    if (random_compare(kind, variant, depth, guests, seed, &f, &err))
        die(&err);
    printf("%-8s %-8s %5u %8" PRIu64 " %9" PRIu64 " %9" PRIu64 " %13.1f %9.1f %6.1fs\n",
           pg_variant_name(variant), pg_monitor_name(kind), depth, f.equal, f.different, f.skipped,
           (double)f.bare_instructions / (double)MAX(f.equal, 1),
           (double)f.traps / (double)MAX(f.equal, 1), seconds() - from);
    figure((f.different != 0) == must_differ,
           must_differ ? "the bad variant differs" : "no guest differs");
}

int main(int argc, char **argv)
{
    uint64_t guests = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 20260;
    if (guests == 0 || seed == 0) {
        fprintf(stderr, "usage: bench_isa [GUESTS [SEED]]\n");
        return 2;
    }
    speed();
    slowdown(PG_MONITOR_BUILTIN, 50, 20, 4);
    slowdown(PG_MONITOR_BUILTIN, 500, 20, 4);
    slowdown(PG_MONITOR_HYBRID, 50, 20, 2);
    printf("random guests that halt, compared at HALT; seed %" PRIu64 "\n", seed);
    printf(
        "variant  monitor  depth    equal different   skipped  instructions     traps    time\n");
    for (unsigned depth = 1; depth <= 2; depth++) {
        compare(PG_MONITOR_BUILTIN, PG_VARIANT_PG, depth, guests, seed, false);
        compare(PG_MONITOR_BUILTIN, PG_VARIANT_RETU, depth, guests, seed, true);
        compare(PG_MONITOR_BUILTIN, PG_VARIANT_LRA, depth, guests, seed, true);
        compare(PG_MONITOR_HYBRID, PG_VARIANT_PG, depth, guests, seed, false);
        compare(PG_MONITOR_HYBRID, PG_VARIANT_RETU, depth, guests, seed, false);
        compare(PG_MONITOR_HYBRID, PG_VARIANT_LRA, depth, guests, seed, true);
    }
    return failures != 0;
}
