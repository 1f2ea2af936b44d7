/*
 * bench - run every kernel natively, under qemu-riscv64 and in the engine, in one go, and print the ratios.
 *
 * All times are user CPU time of the whole process (wait4), the median of -n runs; the ways take turns, so that a busy machine
 * hurts all alike. A wrong checksum ends the run. Exit status: 0 all targets met, 3 some missed, 1 trouble.
 */
#include "engine/base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUNS_MAX 99
#define OUTPUT_MAX 4096

enum way { NATIVE, PLAIN, QEMU, MASKED, WINDOW32, WAY_COUNT };
static const char *const way_name[WAY_COUNT] = {"native", "-O2", "qemu", "masks", "4GiB"};

enum class { INTEGER, FLOATING };
static const struct kernel {
    const char *name;
    enum class class;
} kernels[] = {
#define KERNEL_int INTEGER
#define KERNEL_fp FLOATING
#define KERNEL(name, class) {#name, KERNEL_##class},
#include "tests/bench/kernels.def"
};
#define KERNEL_COUNT ARRAY_LEN(kernels)

struct result {
    double seconds[WAY_COUNT]; /* median; 0: not run */
    double t0_insns, all_insns, translate_insns, translate_ns, interpreter_seconds;
};

static struct {
    int runs, scale, count_scale;
    const char *dir, *vvrun, *qemu, *only;
    bool no_counts;
} opt = {.runs = 5,
         .scale = 100,
         .count_scale = 10,
         .dir = VV_BENCH_DIR,
         .vvrun = VV_BENCH_DIR "/vvrun",
         .qemu = "qemu-riscv64"};

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "bench: %s: %s\n", what, why);
    exit(1);
}

/* Run argv, give its user CPU seconds and its output. */
static double run(char *const argv[], char out[OUTPUT_MAX])
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        die("pipe", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        die("fork", strerror(errno));
    if (pid == 0) {
        int null = open("/dev/null", O_RDONLY);
        dup2(null, 0);
        dup2(fds[1], 1);
        execvp(argv[0], argv);
        fprintf(stderr, "bench: %s: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    close(fds[1]);
    size_t n = 0;
    for (ssize_t r; n < OUTPUT_MAX - 1 && (r = read(fds[0], out + n, OUTPUT_MAX - 1 - n)) > 0;)
        n += (size_t)r;
    out[n] = 0;
    close(fds[0]);
    int status;
    struct rusage ru;
    while (wait4(pid, &status, 0, &ru) < 0)
        if (errno != EINTR)
            die("wait", strerror(errno));
    if (status != 0) {
        fprintf(stderr, "bench: status 0x%x, output: %s\n", (unsigned)status, out);
        die(argv[0], "failed");
    }
    return (double)ru.ru_utime.tv_sec + (double)ru.ru_utime.tv_usec / 1e6;
}

static double run_way(const struct kernel *k, enum way way, char out[OUTPUT_MAX])
{
    static const char *const folder[WAY_COUNT] = {"native", "native-plain", "riscv", "riscv",
                                                  "riscv"};
    char path[4096], scale[16];
    snprintf(path, sizeof path, "%s/%s/%s", opt.dir, folder[way], k->name);
    snprintf(scale, sizeof scale, "%d", opt.scale);
    char *const argvs[WAY_COUNT][6] = {
        [NATIVE] = {path, scale},
        [PLAIN] = {path, scale},
        [QEMU] = {(char *)opt.qemu, path, scale},
        [MASKED] = {(char *)opt.vvrun, "--window", "36", path, scale},
        [WINDOW32] = {(char *)opt.vvrun, "--window", "32", path, scale},
    };
    return run(argvs[way], out);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return n & 1 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* The first line is equal everywhere, the whole output wherever the same binary ran. */
static void check_output(const struct kernel *k, enum way way, char first[2][OUTPUT_MAX],
                         const char *out)
{
    bool riscv = way >= QEMU;
    if (!first[riscv][0])
        strcpy(first[riscv], out);
    else if (strcmp(first[riscv], out) != 0)
        die(k->name, "two runs of one program disagree");
    if (riscv && first[0][0] && strcspn(out, "\n") != strcspn(first[0], "\n"))
        die(k->name, "the architectures disagree");
    if (riscv && first[0][0] && strncmp(out, first[0], strcspn(out, "\n")) != 0)
        die(k->name, "the architectures disagree");
}

static void time_kernel(const struct kernel *k, const bool use[WAY_COUNT], struct result *r)
{
    static char first[2][OUTPUT_MAX], out[OUTPUT_MAX];
    double t[WAY_COUNT][RUNS_MAX];
    first[0][0] = first[1][0] = 0;
    for (int i = 0; i < opt.runs; i++)
        for (int w = 0; w < WAY_COUNT; w++) {
            if (!use[w])
                continue;
            t[w][i] = run_way(k, (enum way)w, out);
            check_output(k, (enum way)w, first, out);
        }
    for (int w = 0; w < WAY_COUNT; w++)
        r->seconds[w] = use[w] ? median(t[w], opt.runs) : 0;
}

/* ---- counters ---- */

static double json_number(const char *json, const char *name)
{
    char key[64];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *p = strstr(json, key);
    if (!p)
        die("vvrun --stats", "a counter is missing");
    return strtod(p + strlen(key), NULL);
}

static double run_counted(const struct kernel *k, bool translate, char json[OUTPUT_MAX])
{
    char path[4096], scale[16], stats[] = "/tmp/vv-bench.XXXXXX", out[OUTPUT_MAX];
    int fd = mkstemp(stats);
    if (fd < 0)
        die("mkstemp", strerror(errno));
    snprintf(path, sizeof path, "%s/riscv/%s", opt.dir, k->name);
    snprintf(scale, sizeof scale, "%d", opt.count_scale);
    char *argv[] = {(char *)opt.vvrun,
                    "--stats",
                    stats,
                    translate ? path : "--no-translate",
                    translate ? scale : path,
                    translate ? NULL : scale,
                    NULL};
    double seconds = run(argv, out);
    ssize_t n = read(fd, json, OUTPUT_MAX - 1);
    json[n < 0 ? 0 : n] = 0;
    close(fd);
    unlink(stats);
    return seconds;
}

static void count_kernel(const struct kernel *k, struct result *r)
{
    char json[OUTPUT_MAX];
    r->interpreter_seconds = run_counted(k, false, json);
    r->all_insns = json_number(json, "guest_insns_t0");
    run_counted(k, true, json);
    r->t0_insns = json_number(json, "guest_insns_t0");
    r->translate_insns = json_number(json, "guest_insns_translated");
    r->translate_ns = json_number(json, "translate_ns");
}

/* ---- output ---- */

static bool selected(const struct kernel *k)
{
    size_t n = strlen(k->name);
    if (!opt.only)
        return true;
    for (const char *p = opt.only; (p = strstr(p, k->name)); p++)
        if ((p == opt.only || p[-1] == ',') && (p[n] == 0 || p[n] == ','))
            return true;
    return false;
}

static void print_kernel(const struct kernel *k, const struct result *r)
{
    printf("%-9s %-3s", k->name, k->class == INTEGER ? "int" : "fp");
    for (int w = 0; w < WAY_COUNT; w++)
        printf(" %7.3f", r->seconds[w]);
    if (r->seconds[MASKED] > 0) {
        const double *s = r->seconds;
        printf("  %6.2f %6.2f", s[MASKED] / s[NATIVE], s[WINDOW32] / s[NATIVE]);
        printf("  %6.3f %6.3f", s[MASKED] / s[QEMU], s[WINDOW32] / s[QEMU]);
    } else {
        printf("  qemu/native %6.2f", r->seconds[QEMU] / r->seconds[NATIVE]);
    }
    printf("\n");
    fflush(stdout);
}

/* Geometric mean of way a against way b over a class (-1: all). */
static double mean(const struct result *r, enum way a, enum way b, int class)
{
    double sum = 0;
    int n = 0;
    for (size_t i = 0; i < KERNEL_COUNT; i++) {
        if ((class >= 0 && (int)kernels[i].class != class) || r[i].seconds[a] <= 0 ||
            r[i].seconds[b] <= 0)
            continue;
        sum += log(r[i].seconds[a] / r[i].seconds[b]);
        n++;
    }
    return n ? exp(sum / n) : 0;
}

static const struct target {
    const char *what;
    enum way a, b;
    int class;
    double most;
} targets[] = {
    {"all,     masks / native", MASKED, NATIVE, -1, 1.75},
    {"integer, masks / native", MASKED, NATIVE, INTEGER, 1.75},
    {"integer, masks / qemu", MASKED, QEMU, INTEGER, 0.55},
    {"integer, 4GiB / native", WINDOW32, NATIVE, INTEGER, 1.6},
    {"integer, 4GiB / qemu", WINDOW32, QEMU, INTEGER, 0.5},
    {"fp,      masks / native", MASKED, NATIVE, FLOATING, 2.3},
    {"fp,      masks / qemu", MASKED, QEMU, FLOATING, 0.125},
    {"fp,      4GiB / native", WINDOW32, NATIVE, FLOATING, 2.3},
    {"fp,      4GiB / qemu", WINDOW32, QEMU, FLOATING, 0.125},
};

static int judge(const char *what, double value, bool good, const char *target)
{
    printf("  %-34s %9.4g   target %-12s %s\n", what, value, target, good ? "met" : "MISSED");
    return good ? 0 : 1;
}

static int print_means(const struct result *r)
{
    int missed = 0;
    printf("\ngeometric means\n");
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        const struct target *t = &targets[i];
        double m = mean(r, t->a, t->b, t->class);
        char text[32];
        snprintf(text, sizeof text, "<= %g", t->most);
        if (m > 0)
            missed += judge(t->what, m, m <= t->most, text);
    }
    static const struct target beside[] = {
        {"all,     masks / native -O2", MASKED, PLAIN, -1, 0},
        {"all,     4GiB / native", WINDOW32, NATIVE, -1, 0},
        {"all,     qemu / native", QEMU, NATIVE, -1, 0},
        {"integer, qemu / native", QEMU, NATIVE, INTEGER, 0},
        {"fp,      qemu / native", QEMU, NATIVE, FLOATING, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(beside); i++)
        printf("  %-34s %9.4g\n", beside[i].what,
               mean(r, beside[i].a, beside[i].b, beside[i].class));
    return missed;
}

static int print_counts(const struct result *r)
{
    double insns = 0, seconds = 0, ns = 0, translated = 0, worst = 1;
    printf("\n%-9s %12s %10s %12s %12s   (at %d %% of the work)\n", "", "instructions", "in T0",
           "translated", "us/insn", opt.count_scale);
    for (size_t i = 0; i < KERNEL_COUNT; i++) {
        if (r[i].all_insns <= 0)
            continue;
        double share = r[i].t0_insns / r[i].all_insns;
        printf("%-9s %12.0f %9.4f%% %12.0f %12.4f\n", kernels[i].name, r[i].all_insns, 100 * share,
               r[i].translate_insns, r[i].translate_ns / 1e3 / r[i].translate_insns);
        insns += r[i].all_insns;
        seconds += r[i].interpreter_seconds;
        ns += r[i].translate_ns;
        translated += r[i].translate_insns;
        worst = fmin(worst, 1 - share);
    }
    if (insns <= 0)
        return 0;
    printf("\n");
    int missed = judge("outside T0, worst kernel", worst, worst >= 0.995, ">= 0.995");
    missed += judge("us per translated instruction", ns / 1e3 / translated,
                    ns / 1e3 / translated <= 0.25, "<= 0.25");
    missed += judge("interpreter, MIPS", insns / seconds / 1e6, insns / seconds >= 100e6, ">= 100");
    return missed;
}

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: bench [-n runs] [-k kernel,kernel...] [-s per cent of the work] [-c "
                    "per cent for the counters]\n"
                    "             [-C (no counters)] [-d folder of the kernels] [-v vvrun] [-q "
                    "qemu-riscv64]\n");
    exit(2);
}

static void parse(int argc, char **argv)
{
    for (int c; (c = getopt(argc, argv, "n:k:s:c:d:v:q:C")) != -1;) {
        switch (c) {
        case 'n':
            opt.runs = atoi(optarg);
            break;
        case 'k':
            opt.only = optarg;
            break;
        case 's':
            opt.scale = atoi(optarg);
            break;
        case 'c':
            opt.count_scale = atoi(optarg);
            break;
        case 'd':
            opt.dir = optarg;
            break;
        case 'v':
            opt.vvrun = optarg;
            break;
        case 'q':
            opt.qemu = optarg;
            break;
        case 'C':
            opt.no_counts = true;
            break;
        default:
            usage();
        }
    }
    if (optind != argc || opt.runs < 1 || opt.runs > RUNS_MAX || opt.scale < 1 ||
        opt.count_scale < 1)
        usage();
}

int main(int argc, char **argv)
{
    static struct result results[KERNEL_COUNT];
    parse(argc, argv);
    bool ours = access(opt.vvrun, X_OK) == 0;
    bool use[WAY_COUNT] = {true, true, true, ours, ours};
    if (!ours)
        printf("(%s is not there: native and qemu only)\n", opt.vvrun);
    printf("user CPU seconds, median of %d\n%-9s %-3s", opt.runs, "", "");
    for (int w = 0; w < WAY_COUNT; w++)
        printf(" %7s", way_name[w]);
    printf("  %13s  %13s\n", "/native m 4G", "/qemu m 4G");
    for (size_t i = 0; i < KERNEL_COUNT; i++) {
        if (!selected(&kernels[i]))
            continue;
        time_kernel(&kernels[i], use, &results[i]);
        print_kernel(&kernels[i], &results[i]);
        if (ours && !opt.no_counts)
            count_kernel(&kernels[i], &results[i]);
    }
    int missed = print_means(results) + print_counts(results);
    if (missed)
        printf("\n%d target(s) missed\n", missed);
    return missed ? 3 : 0;
}
