/*
 * Random programs (tests/random) on T0 and T1 against qemu-riscv64: every register, fcsr, pc, signal and address at every
 * trap, and memory at the end. After a trap all go on behind the instruction.
 *
 * Where user-mode QEMU, or our memory on purpose, is not the manual's machine, there is nothing to compare: T0 looks at
 * each instruction before it executes it, and an instruction that `barred` names becomes an ebreak, in the program that
 * all of them then run. What is barred, and why, is said there. Everything else must be equal.
 */
#include "engine/base/base.h"
#include "tests/qemu/sequence.h"
#include "tests/random/reduce.h"
#include "tests/random/run.h"

#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

_Static_assert(SEQUENCE_EVENTS_MAX == EVENTS_MAX, "one is the other");

/* ---- what is not compared ---- */

#define HOST_USER_END (UINT64_C(1) << 47)

enum bar {
    BAR_NONE,
    BAR_ECALL,
    BAR_COUNTER,
    BAR_MISALIGNED,
    BAR_UNPAIRED,
    BAR_WILD,
    BAR_VECTOR,
    BAR_COUNT
};
static const char *const bar_names[BAR_COUNT] = {
    [BAR_ECALL] = "system calls",
    [BAR_COUNTER] = "reads of counters",
    [BAR_MISALIGNED] = "misaligned atomics",
    [BAR_UNPAIRED] = "sc of another size than the lr",
    [BAR_WILD] = "addresses beyond the window",
    [BAR_VECTOR] = "whole vector registers",
};
static uint64_t bar_counts[BAR_COUNT];
static enum bar bar_last;

static bool hits(gva_t a, gva_t at, uint64_t bytes)
{
    return a + 8 > at && a < at + bytes; /* no access is longer than 8 bytes */
}

/* vmv1r.v, 2, 4, 8; vl1re8.v and its like; vs1r.v and its like. */
static bool is_whole_vector(uint32_t word)
{
    uint32_t width = word >> 12 & 7, access = word & 0x1ff0005f;
    return (word & 0xfe00707f) == 0x9e003057 ||
           (access == 0x02800007 && (width == 0 || width >= 5));
}

static enum bar bar_of(const struct vcpu *v, const struct isa_insn *d)
{
    /* QEMU 7.2 moves, loads and stores whole vector registers though its CPU has none. */
    if (!d->op)
        return is_whole_vector(d->raw) ? BAR_VECTOR : BAR_NONE;
    const struct isa_attr *a = isa_rv64_attr(d->op);
    /* QEMU would carry it out for the judge. */
    if (d->op == ISA_RV64_ECALL)
        return BAR_ECALL;
    /* cycle, time, instret and their likes: no two machines agree, QEMU has more of them. */
    if (!strcmp(a->extension, "Zicsr") && d->imm >= 0xc00 && d->imm <= 0xc1f)
        return BAR_COUNTER;
    if (a->mem == ISA_MEM_NONE)
        return BAR_NONE;
    gva_t base = v->r[d->rs1], ea = base + (uint64_t)(int64_t)d->imm;
    /* We trap, as the manual allows (unpriv. 14.4); QEMU on x86 does as the host, which carries them out. */
    if (a->mem >= ISA_MEM_LR && base & (a->mem_bytes - 1u))
        return BAR_MISALIGNED;
    /* Whether an sc of another size than its lr succeeds is the implementation's choice (unpriv. 14.2, 14.3): here it
     * may, QEMU compares all of what lr loaded. */
    static gva_t lr_address;
    static unsigned lr_bytes;
    gva_t reserved = base & v->mask;
    if (a->mem == ISA_MEM_LR) {
        lr_address = reserved;
        lr_bytes = a->mem_bytes;
    } else if (a->mem == ISA_MEM_SC && v->res_addr == reserved &&
               (lr_address != reserved || lr_bytes != a->mem_bytes))
        return BAR_UNPAIRED;
    /* Our window confines rs1, so that what is beyond may alias memory that is there (DESIGN 5); QEMU, which checks nothing, may
     * hit its own. What the host itself keeps from both remains. */
    if (base <= v->mask && ea <= v->mask)
        return BAR_NONE;
    gva_t confined = (base & v->mask) + (uint64_t)(int64_t)d->imm;
    bool aliases = hits(confined, GEN_DATA, GEN_DATA_BYTES + GEN_READONLY_BYTES) ||
                   hits(confined, BENCH_CODE, ALIGN_UP(BENCH_CODE_BYTES, 4096));
    bool faults = ea < 0x10000 || ea >= HOST_USER_END;
    return aliases || !faults ? BAR_WILD : BAR_NONE;
}

static bool barred(const struct vcpu *v, const struct isa_insn *d)
{
    bar_last = bar_of(v, d);
    return bar_last != BAR_NONE;
}

/* ---- the judge's process ---- */

/* RV64GC and nothing more, or encodings that are none would be some. */
static const char *judge_cpu = "rv64,zba=false,zbb=false,zbc=false,zbs=false";
static const char *judge_program;
static pid_t judge_pid;
static int to_judge = -1, from_judge = -1;

static void judge_stop(void)
{
    if (!judge_pid)
        return;
    close(to_judge);
    close(from_judge);
    kill(judge_pid, SIGKILL);
    waitpid(judge_pid, NULL, 0);
    judge_pid = 0;
}

static bool judge_send(const void *p, size_t n)
{
    for (const char *at = p; n;) {
        ssize_t done = write(to_judge, at, n);
        if (done <= 0)
            return false;
        at += done;
        n -= (size_t)done;
    }
    return true;
}

/* False if it died, or does not answer: then it does not end what ended here. */
static bool judge_receive(void *p, size_t n)
{
    for (char *at = p; n;) {
        struct pollfd pf = {.fd = from_judge, .events = POLLIN};
        ssize_t done = poll(&pf, 1, 10000) == 1 ? read(from_judge, at, n) : -1;
        if (done <= 0)
            return false;
        at += done;
        n -= (size_t)done;
    }
    return true;
}

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void judge_start(const uint8_t *initial, size_t initial_bytes)
{
    int in[2], out[2];
    if (pipe(in) || pipe(out))
        die("pipe");
    judge_pid = fork();
    if (judge_pid < 0)
        die("fork");
    if (!judge_pid) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[0]);
        close(in[1]);
        close(out[0]);
        close(out[1]);
        /* Guest addresses are host addresses. */
        execlp("qemu-riscv64", "qemu-riscv64", "-B", "0", "-cpu", judge_cpu, judge_program, NULL);
        perror("qemu-riscv64");
        _exit(2);
    }
    close(in[0]);
    close(out[1]);
    to_judge = in[1];
    from_judge = out[0];
    struct sequence_request q = {.kind = SEQUENCE_LAYOUT,
                                 .code = BENCH_CODE,
                                 .code_bytes = BENCH_CODE_BYTES,
                                 .data = GEN_DATA,
                                 .data_bytes = initial_bytes,
                                 .writable_bytes = GEN_DATA_BYTES};
    if (!judge_send(&q, sizeof q) || !judge_send(initial, initial_bytes)) {
        fprintf(stderr, "the judge does not start\n");
        exit(2);
    }
}

static void judge_load(struct bench *b, const struct gen_program *p, unsigned n)
{
    static uint8_t code[BENCH_CODE_BYTES];
    struct sequence_request q = {.kind = SEQUENCE_CODE};
    for (unsigned i = 0; i < n; i++) /* as bench_load does */
        q.used_bytes += gen_bytes(&p[i], code + q.used_bytes);
    if (!judge_pid)
        judge_start(b->initial, sizeof b->initial);
    if (!judge_send(&q, sizeof q) || !judge_send(code, q.used_bytes))
        judge_stop();
}

static void judge_begin(const struct gen_program *p, gva_t at, const struct event *e, unsigned n)
{
    struct sequence_request q = {
        .kind = SEQUENCE_CASE, .pc = at, .events = n, .fcsr = p->frm << 5 | p->fflags};
    for (unsigned i = 0; i + 1 < n; i++)
        q.resume[i] = e[i].resume;
    memcpy(q.x, p->r, sizeof q.x);
    memcpy(q.f, p->f, sizeof q.f);
    if (judge_pid && !judge_send(&q, sizeof q))
        judge_stop();
}

/* ---- comparing ---- */

static struct sequence_event expected(const struct event *e)
{
    static const uint8_t signals[] = {[CPU_TRAP_ILLEGAL] = SIGILL,
                                      [CPU_TRAP_BREAKPOINT] = SIGTRAP,
                                      [CPU_TRAP_PAGE] = SIGSEGV,
                                      [CPU_TRAP_BUS] = SIGBUS,
                                      [CPU_TRAP_ALIGN] = SIGBUS};
    struct sequence_event s = {.signal = signals[e->trap.kind], .pc = e->regs.pc};
    if (s.signal == SIGSEGV || s.signal == SIGBUS)
        s.address = e->trap.addr;
    memcpy(s.x, e->regs.r, sizeof s.x);
    memcpy(s.f, e->regs.f, sizeof s.f);
    s.fcsr = e->regs.frm << 5 | cpu_fflags_from_mxcsr(e->regs.mxcsr);
    return s;
}

static bool differ(struct bench *b, unsigned event, const char *what, uint64_t ours,
                   uint64_t theirs)
{
    snprintf(b->difference, sizeof b->difference,
             "event %u: %s: ours %#" PRIx64 ", qemu's %#" PRIx64, event, what, ours, theirs);
    return false;
}

static bool same_event(struct bench *b, unsigned n, const struct sequence_event *ours,
                       const struct sequence_event *theirs)
{
    if (ours->pc != theirs->pc)
        return differ(b, n, "pc", ours->pc, theirs->pc);
    if (ours->signal != theirs->signal)
        return differ(b, n, "signal", ours->signal, theirs->signal);
    /* The host does not say where a fault was that is not in its user's half. */
    if (ours->address != theirs->address && ours->address < HOST_USER_END)
        return differ(b, n, "address", ours->address, theirs->address);
    for (unsigned i = 0; i < 32; i++) {
        if (ours->x[i] != theirs->x[i])
            return differ(b, n, isa_rv64_xreg_name(i), ours->x[i], theirs->x[i]);
        if (ours->f[i] != theirs->f[i])
            return differ(b, n, isa_rv64_freg_name(i), ours->f[i], theirs->f[i]);
    }
    return ours->fcsr == theirs->fcsr || differ(b, n, "fcsr", ours->fcsr, theirs->fcsr);
}

static bool judge_end(struct bench *b, const struct event *events, unsigned n)
{
    static struct sequence_event theirs[EVENTS_MAX];
    static uint8_t data[GEN_DATA_BYTES];
    if (!judge_pid || !judge_receive(theirs, n * sizeof theirs[0]) ||
        !judge_receive(data, sizeof data)) {
        judge_stop();
        snprintf(b->difference, sizeof b->difference, "qemu's program does not end");
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        struct sequence_event ours = expected(&events[i]);
        if (!same_event(b, i, &ours, &theirs[i]))
            return false;
    }
    for (unsigned i = 0; i < sizeof data; i++)
        if (b->t0.data[i] != data[i])
            return differ(b, i, "(byte) memory", b->t0.data[i], data[i]);
    return true;
}

static uint64_t compared, dropped;

/* Loaded everywhere: T0, then T1 while QEMU works. */
static bool judge_compare(struct bench *b, const struct gen_program *p, gva_t at)
{
    struct event events[EVENTS_MAX];
    unsigned n = bench_record(b, p, at, events);
    if (!n) {
        dropped++;
        return true;
    }
    compared++;
    judge_begin(p, at, events, n);
    bool follows = bench_follow(b, p, at, events, n);
    char translator[sizeof b->difference];
    memcpy(translator, b->difference, sizeof translator);
    bool same = judge_end(b, events, n);
    if (same && !follows)
        memcpy(b->difference, translator, sizeof translator);
    return same && follows;
}

/* ---- programs ---- */

/* An ebreak instead of the instruction at `off`; false if there is none. */
static bool replace(struct gen_program *p, uint64_t off)
{
    for (unsigned i = 0; i < p->count; i++) {
        if (p->insn[i].off != off)
            continue;
        p->insn[i].word = p->insn[i].len == 2 ? 0x9002 : 0x100073;
        return true;
    }
    return false;
}

/* Until nothing barred is left where T0 comes by. What it meets elsewhere, in another program or in the middle of
 * an instruction, drops the program when it is compared. */
static void prepare(struct bench *b, struct gen_program *p, unsigned n, gva_t *at)
{
    struct event events[EVENTS_MAX];
    uint64_t *coverage = b->coverage;
    b->coverage = NULL;
    for (unsigned i = 0; i < n; i++)
        p[i].last = 0x100073;
    bench_load(b, p, n, at);
    for (unsigned i = 0; i < n; i++) {
        while (!bench_record(b, &p[i], at[i], events) && b->barred_pc &&
               replace(&p[i], b->barred_pc - at[i])) {
            bar_counts[bar_last]++;
            bench_load(b, p, n, at);
        }
    }
    b->coverage = coverage;
}

static bool fails(void *bench, const struct gen_program *p)
{
    gva_t at;
    bench_load(bench, p, 1, &at);
    judge_load(bench, p, 1);
    return !judge_compare(bench, p, at);
}

static void report(struct bench *b, const struct gen_program *p, uint64_t seed, uint64_t i)
{
    struct gen_program q = *p;
    b->coverage = NULL; /* there will be none to show */
    printf("program %" PRIu64 " of seed %" PRIu64 ": %s\n", i, seed, b->difference);
    if (fails(b, &q)) {
        reduce_program(&q, fails, b);
        fails(b, &q);
        printf("alone and shrunk: %s\n", b->difference);
    } else
        printf("alone there is no difference; whole:\n");
    reduce_print(&q, BENCH_CODE);
    fflush(stdout);
}

static void print_coverage(const uint64_t *coverage)
{
    unsigned none = 0, few = 0;
    for (uint16_t f = 1; f < ISA_RV64_FORM_COUNT; f++) {
        none += !coverage[f];
        few += coverage[f] < 100;
    }
    printf("forms: %u, compared less than 100 times %u, never %u:", ISA_RV64_FORM_COUNT - 1, few,
           none);
    for (uint16_t f = 1; f < ISA_RV64_FORM_COUNT; f++)
        if (!coverage[f])
            printf(" %s", isa_rv64_attr(f)->name);
    printf("\n");
}

static unsigned run_all(struct bench *b, uint64_t seed, uint64_t count, unsigned differences_max)
{
    static struct gen_program batch[BATCH_MAX];
    static gva_t at[BATCH_MAX];
    unsigned differences = 0;
    for (uint64_t done = 0; done < count;) {
        unsigned n = (unsigned)MIN(count - done, (uint64_t)BATCH_MAX);
        for (unsigned k = 0; k < n; k++) {
            struct rng rng;
            rng_seed(&rng, seed + (done + k) * UINT64_C(0x9e3779b97f4a7c15));
            gen_program(&batch[k], &rng);
        }
        prepare(b, batch, n, at);
        judge_load(b, batch, n);
        for (unsigned i = 0; i < n; i++) {
            if (judge_compare(b, &batch[i], at[i]))
                continue;
            report(b, &batch[i], seed, done + i);
            if (++differences == differences_max)
                return differences;
            bench_load(b, batch, n, at);
            judge_load(b, batch, n);
        }
        done += n;
    }
    return differences;
}

int main(int argc, char **argv)
{
    static const char usage[] = "usage: test_sequences [--count N] [--seed S] [--differences N] "
                                "[--cpu QEMU-CPU] JUDGE-PROGRAM\n";
    static const struct option longs[] = {{"count", required_argument, NULL, 'n'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"cpu", required_argument, NULL, 'c'},
                                          {"differences", required_argument, NULL, 'd'},
                                          {0}};
    static struct bench b;
    uint64_t seed, count = 10000;
    unsigned differences_max = 1;
    os_random(&seed, sizeof seed);
    seed >>= 32;
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        uint64_t n = optarg ? strtoull(optarg, NULL, 0) : 0;
        if (c == 'n')
            count = n;
        else if (c == 's')
            seed = n;
        else if (c == 'c')
            judge_cpu = optarg;
        else if (c == 'd')
            differences_max = (unsigned)n;
        else
            optind = argc;
    }
    if (optind != argc - 1) {
        fputs(usage, stderr);
        return 2;
    }
    judge_program = argv[optind];
    printf("seed %" PRIu64 ", %" PRIu64 " programs\n", seed, count);
    fflush(stdout);
    signal(SIGPIPE, SIG_IGN);
    struct run_config config = {.guest = &rv_guest_ops,
                                .host = &x64_host_ops,
                                .name = "sequences",
                                .cache_bytes = 1 << 20,
                                .arena_bytes = 65536,
                                .vcpu_count = 1,
                                .t1_threshold = 1};
    bench_init(&b, &config, 36);
    b.barred = barred;
    static uint64_t coverage[ISA_RV64_FORM_COUNT];
    b.coverage = coverage;
    uint64_t begin = os_now_ns();
    unsigned differences = run_all(&b, seed, count, differences_max);
    judge_stop();
    printf("%s: %" PRIu64 " programs against qemu-riscv64 (%" PRIu64 " dropped), %" PRIu64
           " instructions, %" PRIu64 " traps; %.1f s\n",
           differences ? "DIFFERENCE" : "no difference", compared, dropped, b.insns,
           b.events[EVENT_TRAP], (double)(os_now_ns() - begin) / 1e9);
    printf("not compared, an ebreak instead:");
    for (unsigned i = 1; i < BAR_COUNT; i++)
        printf(" %s %" PRIu64 "%s", bar_names[i], bar_counts[i], i + 1 < BAR_COUNT ? "," : "\n");
    if (!differences)
        print_coverage(coverage);
    bench_fini(&b);
    return differences ? 1 : 0;
}
