/* vvrandom: random programs, interpreter against translator. --help tells how. */
#include "tests/random/corpus.h"
#include "tests/random/reduce.h"
#include "tests/random/run.h"

#include "engine/base/base.h"
#include "engine/ir/ir.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options {
    uint64_t count, seed, only, coverage_min, cache_bytes;
    uint32_t arena_bytes, insns_max, features_off, window_bits, threshold;
    const char *replay;
    int plant;
    unsigned differences_max;
    bool no_chain, count_insns, coverage, one;
};

static const char usage[] =
    "vvrandom - random RISC-V programs, interpreter against translator\n"
    "  --count N         programs (20000)\n"
    "  --seed S          (drawn and printed)\n"
    "  --only I          only program I of that seed, with its text\n"
    "  --replay FILE     the programs of a file (regressions.txt) instead\n"
    "  --no-chain        without direct chaining\n"
    "  --insns-max N     instructions in a block\n"
    "  --threshold N     entries before a block is translated (1)\n"
    "  --cache BYTES --arena BYTES\n"
    "  --features-off M  host features that are pretended absent (HOST_FEATURE_*)\n"
    "  --window BITS     32 to 38 (36)\n"
    "  --count-insns     with exact instruction counting\n"
    "  --differences N   go on until N were found (1)\n"
    "  --coverage[=MIN]  how often each form was executed; fails if one was less than MIN times\n"
    "  --plant N         break a template on purpose; succeeds if that is found\n";

/* ---- a broken template ---- */

static const struct plant {
    const char *what;
    uint8_t op, from, to; /* op's kind `from` becomes `to`; op's opcode if from is 0xff */
    uint8_t size;         /* 0: any */
} plants[] = {
    {"sltu compares signed", IR_SETCC, IR_LTU, IR_LT, 0},
    {"bgeu branches as bge", IR_BR, IR_GEU, IR_GE, 0},
    {"amomaxu keeps the signed one", IR_AMO, IR_AMO_MAXU, IR_AMO_MAX, 0},
    {"fmin is fmax", IR_FMINMAX, 0, 1, 0},
    {"sraw shifts zeros in", IR_SAR, 0xff, IR_SHR, 4},
    {"fnmsub is fnmadd", IR_FMA, IR_FNMSUB, IR_FNMADD, 0},
    {"mulhsu is mulhu", IR_MULH, IR_MULH_SU, IR_MULH_UU, 0},
    {"lb is lbu", IR_LD, 1, 0, 1},
};
static const struct plant *planted;

static res_code_t lower_planted(const struct host_options *o, const struct host_stubs *stubs,
                                const struct ir_block *b, struct host_code *c, struct err *err)
{
    static struct ir_block copy;
    copy = *b;
    for (unsigned i = 0; i < copy.count; i++) {
        struct ir_op *op = &copy.ops[i];
        if (op->op != planted->op || (planted->size && op->size != planted->size))
            continue;
        if (planted->from == 0xff)
            op->op = planted->to;
        else if (op->kind == planted->from)
            op->kind = planted->to;
    }
    return x64_host_ops.lower(o, stubs, &copy, c, err);
}

static const struct host_ops *host_with_plant(int n)
{
    static struct host_ops host;
    host = x64_host_ops;
    planted = &plants[(unsigned)n % ARRAY_LEN(plants)];
    host.lower = lower_planted;
    printf("planted: %s\n", planted->what);
    return &host;
}

/* ---- running ---- */

#define PATIENCE_NS UINT64_C(5000000000)

static void *watchdog(void *arg)
{
    struct bench *b = arg;
    for (;;) {
        usleep(100000);
        uint64_t started = b->started_ns;
        if (started && os_now_ns() - started > b->patience_ns)
            run_kick(b->rv);
    }
    return NULL;
}

static void program_of(struct gen_program *p, uint64_t seed, uint64_t i)
{
    struct rng rng;
    rng_seed(&rng, seed + i * UINT64_C(0x9e3779b97f4a7c15));
    gen_program(p, &rng);
}

static bool fails(void *bench, const struct gen_program *p)
{
    gva_t at;
    bench_load(bench, p, 1, &at);
    return !bench_compare(bench, p, at);
}

static void report(struct bench *b, const struct options *o, uint64_t i,
                   const struct gen_program *p)
{
    struct gen_program q = *p;
    printf("program %" PRIu64 " of seed %" PRIu64 ": %s\n", i, o->seed, b->difference);
    fflush(stdout);
    uint64_t *coverage = b->coverage;
    b->coverage = NULL;
    b->patience_ns = 300000000; /* there may be many programs that do not end */
    if (fails(b, &q)) {
        reduce_program(&q, fails, b);
        fails(b, &q);
        printf("alone and shrunk: %s\n", b->difference);
    } else
        printf("alone there is no difference; whole:\n");
    reduce_print(&q, BENCH_CODE);
    b->coverage = coverage;
    b->patience_ns = PATIENCE_NS;
    printf("again: vvrandom --seed %" PRIu64 " --only %" PRIu64 "\n", o->seed, i);
}

/* How many differed. */
static unsigned run_all(struct bench *b, const struct options *o)
{
    static struct gen_program batch[BATCH_MAX];
    static gva_t at[BATCH_MAX];
    uint64_t first = o->one ? o->only : 0, end = o->one ? o->only + 1 : o->count;
    unsigned differences = 0;
    for (uint64_t done = first; done < end;) {
        unsigned n = (unsigned)MIN(end - done, (uint64_t)BATCH_MAX), i = 0;
        for (unsigned k = 0; k < n; k++)
            program_of(&batch[k], o->seed, done + k);
        bench_load(b, batch, n, at);
        if (o->one)
            reduce_print(&batch[0], at[0]);
        while (i < n && bench_compare(b, &batch[i], at[i]))
            i++;
        if (i < n) {
            report(b, o, done + i, &batch[i]);
            if (++differences == o->differences_max)
                return differences;
            i++;
        }
        done += i;
    }
    return differences;
}

static unsigned replay(struct bench *b, const char *path, uint64_t *count)
{
    static struct gen_program p;
    char name[64];
    unsigned differences = 0;
    FILE *f = fopen(path, "r");
    if (!f) {
        perror(path);
        exit(2);
    }
    for (*count = 0; corpus_read(f, &p, name); ++*count) {
        if (!fails(b, &p))
            continue;
        differences++;
        printf("%s: %s\n", name, b->difference);
        reduce_print(&p, BENCH_CODE);
    }
    fclose(f);
    return differences;
}

static bool print_coverage(const struct bench *b, uint64_t min)
{
    unsigned below = 0;
    printf("%-16s %12s\n", "form", "executed");
    for (uint16_t f = 1; f < ISA_RV64_FORM_COUNT; f++) {
        printf("%-16s %12" PRIu64 "%s\n", isa_rv64_attr(f)->name, b->coverage[f],
               b->coverage[f] < min ? "  too few" : "");
        below += b->coverage[f] < min;
    }
    printf("%u forms, %u executed less than %" PRIu64 " times\n", ISA_RV64_FORM_COUNT - 1, below,
           min);
    return !below;
}

static struct options parse(int argc, char **argv)
{
    struct options o = {.count = 20000,
                        .cache_bytes = 1 << 20,
                        .arena_bytes = 65536,
                        .window_bits = 36,
                        .threshold = 1,
                        .plant = -1,
                        .differences_max = 1};
    static const struct option longs[] = {
        {"count", required_argument, NULL, 'n'},
        {"seed", required_argument, NULL, 's'},
        {"only", required_argument, NULL, 'o'},
        {"replay", required_argument, NULL, 'r'},
        {"no-chain", no_argument, NULL, 'c'},
        {"insns-max", required_argument, NULL, 'i'},
        {"cache", required_argument, NULL, 'C'},
        {"arena", required_argument, NULL, 'A'},
        {"features-off", required_argument, NULL, 'f'},
        {"window", required_argument, NULL, 'w'},
        {"count-insns", no_argument, NULL, 'I'},
        {"coverage", optional_argument, NULL, 'v'},
        {"plant", required_argument, NULL, 'p'},
        {"threshold", required_argument, NULL, 't'},
        {"differences", required_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    os_random(&o.seed, sizeof o.seed);
    o.seed >>= 32;
    for (int c; (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;) {
        uint64_t n = optarg ? strtoull(optarg, NULL, 0) : 0;
        switch (c) {
        case 'n':
            o.count = n;
            break;
        case 's':
            o.seed = n;
            break;
        case 'o':
            o.only = n;
            o.one = true;
            break;
        case 'r':
            o.replay = optarg;
            break;
        case 'c':
            o.no_chain = true;
            break;
        case 'i':
            o.insns_max = (uint32_t)n;
            break;
        case 'C':
            o.cache_bytes = n;
            break;
        case 'A':
            o.arena_bytes = (uint32_t)n;
            break;
        case 'f':
            o.features_off = (uint32_t)n;
            break;
        case 'w':
            o.window_bits = (uint32_t)n;
            break;
        case 'I':
            o.count_insns = true;
            break;
        case 'v':
            o.coverage = true;
            o.coverage_min = n;
            break;
        case 'p':
            o.plant = (int)n;
            break;
        case 't':
            o.threshold = (uint32_t)n;
            break;
        case 'd':
            o.differences_max = (unsigned)n;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            fputs(usage, stderr);
            exit(2);
        }
    }
    return o;
}

int main(int argc, char **argv)
{
    struct options o = parse(argc, argv);
    static struct bench b;
    struct run_config config = {
        .guest = &rv_guest_ops,
        .host = o.plant >= 0 ? host_with_plant(o.plant) : &x64_host_ops,
        .name = "random",
        .cache_bytes = o.cache_bytes,
        .arena_bytes = o.arena_bytes,
        .features_off = o.features_off,
        .vcpu_count = 1,
        .block_insns_max = o.insns_max,
        .t1_threshold = o.threshold,
        .no_chain = o.no_chain,
        .count_insns = o.count_insns,
    };
    if (o.replay)
        printf("%s\n", o.replay);
    else
        printf("seed %" PRIu64 ", %" PRIu64 " programs\n", o.seed, o.one ? 1 : o.count);
    fflush(stdout);
    bench_init(&b, &config, o.window_bits);
    b.patience_ns = PATIENCE_NS;
    if (o.coverage)
        b.coverage = calloc(ISA_RV64_FORM_COUNT, sizeof *b.coverage);
    pthread_t th;
    struct err err;
    if (os_thread_start(&th, "watchdog", 0, watchdog, &b, &err) != OK)
        return 2;
    uint64_t begin = os_now_ns(), count = o.one ? 1 : o.count;
    unsigned differences = o.replay ? replay(&b, o.replay, &count) : run_all(&b, &o);
    double seconds = (double)(os_now_ns() - begin) / 1e9;
    bool ok = !differences;
    struct run_stats st;
    run_engine_stats(b.engine, &st);
    printf("%s: %" PRIu64 " programs, %" PRIu64 " instructions, %" PRIu64 " traps, %" PRIu64
           " system calls, %" PRIu64 " without end; %.1f s, %.0f programs/s\n",
           ok ? "no difference" : "DIFFERENCE", count, b.insns, b.events[EVENT_TRAP],
           b.events[EVENT_SYSCALL], b.runaways, seconds, (double)count / seconds);
    printf("T1: %" PRIu64 " blocks, %" PRIu64 " instructions, %.2f us each with all overhead, %.1f "
           "bytes each; T0's share %.2f %%; %" PRIu64 " chained, %" PRIu64 " retired, %" PRIu64
           " arenas evicted, %" PRIu64 " faults\n",
           st.blocks_translated, st.insns_translated,
           (double)st.translate_ns / 1e3 / (double)MAX(st.insns_translated, 1u),
           (double)st.host_bytes / (double)MAX(st.insns_translated, 1u),
           100.0 * (double)st.insns_t0 / (double)MAX(2 * b.insns, 1u), st.chained, st.retired,
           st.evictions, st.faults);
    if (b.coverage) {
        ok &= print_coverage(&b, o.coverage_min);
    }
    /* The watchdog never ends and looks at the bench: so does the process. */
    fflush(stdout);
    if (o.plant >= 0)
        return ok ? 1 : 0;
    return ok ? 0 : 1;
}
