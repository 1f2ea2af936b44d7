/*
 * T0 against qemu-riscv64, instruction by instruction: every form with random and corner operands, each rounding
 * mode, faults, and the encodings that are reserved. Registers, flags, memory, signal and address are compared.
 *
 * Usage: test_against_qemu JUDGE-PROGRAM [CASES-PER-FORM [SEED]]
 */
#include "engine/base/os.h"
#include "engine/cpu/access.h"
#include "engine/guest/riscv/interp.h"
#include "engine/isa/isa.h"
#include "tests/qemu/judge.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the judge's memory, for T0 ---- */

static uint8_t data[JUDGE_DATA_BYTES] __attribute__((aligned(8)));
static uint8_t slot[JUDGE_SLOT_BYTES];

static uint8_t code_byte(gva_t a)
{
    if (a - JUDGE_SLOT < JUDGE_SLOT_BYTES)
        return slot[a - JUDGE_SLOT];
    return a & 1 ? JUDGE_FILL >> 8 : JUDGE_FILL & 0xff;
}

/* One byte, or false. The code area can be read (and in the judge's program written, which no case does). */
static bool byte_at(gva_t a, enum cpu_access access, uint8_t *out)
{
    if (a - JUDGE_CODE < JUDGE_CODE_BYTES && access != CPU_STORE) {
        *out = code_byte(a);
        return true;
    }
    if (access == CPU_FETCH ||
        a - JUDGE_DATA >= (access == CPU_STORE ? JUDGE_DATA_WRITABLE : JUDGE_DATA_BYTES))
        return false;
    *out = data[a - JUDGE_DATA];
    return true;
}

static bool reach(struct vcpu *v, gva_t a, unsigned n, enum cpu_access access, void *out)
{
    uint8_t *bytes = out;
    for (unsigned i = 0; i < n; i++) {
        if (byte_at(a + i, access, &bytes[i]))
            continue;
        v->trap = (struct cpu_trap){CPU_TRAP_PAGE, access, a + i};
        return false;
    }
    return true;
}

#define MEMORY(bits)                                                \
    bool mem_ld##bits(struct vcpu *v, gva_t a, uint##bits##_t *out) \
    {                                                               \
        uint8_t bytes[8];                                           \
        if (!reach(v, a, bits / 8, CPU_LOAD, bytes))                \
            return false;                                           \
        memcpy(out, bytes, bits / 8);                               \
        return true;                                                \
    }                                                               \
    bool mem_st##bits(struct vcpu *v, gva_t a, uint##bits##_t x)    \
    {                                                               \
        uint8_t bytes[8];                                           \
        if (!reach(v, a, bits / 8, CPU_STORE, bytes))               \
            return false;                                           \
        memcpy(data + (a - JUDGE_DATA), &x, bits / 8);              \
        return true;                                                \
    }
MEMORY(8)
MEMORY(16)
MEMORY(32)
MEMORY(64)

#define CAS(bits)                                                                                \
    bool mem_cas##bits(struct vcpu *v, gva_t a, uint##bits##_t expected, uint##bits##_t desired, \
                       uint##bits##_t *old)                                                      \
    {                                                                                            \
        if (!reach(v, a, bits / 8, CPU_STORE, old))                                              \
            return false;                                                                        \
        return *old != expected || mem_st##bits(v, a, desired);                                  \
    }
CAS(32)
CAS(64)

bool mem_fetch(struct vcpu *v, gva_t pc, uint32_t *word)
{
    uint16_t low, high = 0;
    if (!reach(v, pc, 2, CPU_FETCH, &low) ||
        ((low & 3) == 3 && !reach(v, pc + 2, 2, CPU_FETCH, &high)))
        return false;
    *word = (uint32_t)high << 16 | low;
    return true;
}

/* ---- one case on T0 ---- */

static struct vcpu vcpu = {.mask = UINT64_MAX};

static void load_case(const struct judge_case *c)
{
    struct vcpu *v = &vcpu;
    memcpy(slot, c->code, sizeof slot);
    memcpy(v->r, c->x, sizeof v->r);
    v->r[0] = 0;
    memcpy(v->f, c->f, sizeof v->f);
    v->frm = (uint32_t)c->fcsr >> 5 & 7;
    v->mxcsr =
        CPU_MXCSR_INIT | cpu_mxcsr_rounding(v->frm) | cpu_mxcsr_from_fflags((uint32_t)c->fcsr & 31);
    v->res_addr = CPU_RES_NONE;
    v->pc = JUDGE_SLOT;
}

static void run_case(const struct judge_case *c, struct judge_outcome *o)
{
    static const uint8_t signals[] = {[CPU_TRAP_ILLEGAL] = SIGILL,
                                      [CPU_TRAP_BREAKPOINT] = SIGTRAP,
                                      [CPU_TRAP_PAGE] = SIGSEGV,
                                      [CPU_TRAP_BUS] = SIGBUS,
                                      [CPU_TRAP_ALIGN] = SIGBUS};
    struct vcpu *v = &vcpu;
    enum cpu_exit e;
    load_case(c);
    do
        e = rv_step(v, 100, false);
    while (e == CPU_EXIT_FENCE_I || e == CPU_EXIT_MODE);
    ASSERT(e == CPU_EXIT_TRAP);
    memset(o, 0, sizeof *o);
    o->signal = signals[v->trap.kind];
    o->address = o->signal == SIGSEGV || o->signal == SIGBUS ? v->trap.addr : 0;
    o->pc = v->pc;
    memcpy(o->x, v->r, sizeof o->x);
    memcpy(o->f, v->f, sizeof o->f);
    o->fcsr = v->frm << 5 | cpu_fflags_from_mxcsr(v->mxcsr);
    o->memory = judge_hash((const uint64_t *)(const void *)data);
}

/* ---- making cases ---- */

static struct rng rng;

static uint64_t random_double(void)
{
    static const uint64_t corners[] = {0,
                                       1,
                                       0x000fffffffffffff,
                                       0x0010000000000000,
                                       0x3ff0000000000000,
                                       0x3fe0000000000000,
                                       0x3fefffffffffffff,
                                       0x7fefffffffffffff,
                                       0x7ff0000000000000,
                                       0x7ff0000000000001,
                                       0x7ff8000000000000,
                                       0x7fffffffffffffff,
                                       0x41dfffffffe00000 /* 2^31 - 0.5 */,
                                       0x41e0000000000000,
                                       0x41f0000000000000,
                                       0x43e0000000000000,
                                       0x43f0000000000000,
                                       0x36a0000000000000 /* the least single */,
                                       0x47efffffffffffff /* above the largest */,
                                       0x3ff8000000000000};
    uint64_t x = rng_next(&rng);
    switch (rng_below(&rng, 4)) {
    case 0:
        return corners[rng_below(&rng, ARRAY_LEN(corners))] ^ (x & 1ull << 63);
    case 1: /* of moderate size */
        return (x & 0x800fffffffffffff) | (1023 - 70 + rng_below(&rng, 140)) << 52;
    case 2:
        return x & ~0u << rng_below(&rng, 32) ? x & ~((1ull << rng_below(&rng, 53)) - 1) : x;
    default:
        return x;
    }
}

static uint64_t random_single(void)
{
    static const uint32_t corners[] = {0,          1,          0x007fffff, 0x00800000, 0x3f800000,
                                       0x3f000000, 0x3f7fffff, 0x7f7fffff, 0x7f800000, 0x7f800001,
                                       0x7fc00000, 0x7fffffff, 0x4effffff, 0x4f000000, 0x4f800000,
                                       0x5f000000, 0x5f800000, 0x3fc00000};
    uint32_t x = (uint32_t)rng_next(&rng);
    switch (rng_below(&rng, 4)) {
    case 0:
        x = corners[rng_below(&rng, ARRAY_LEN(corners))] ^ (x & 1u << 31);
        break;
    case 1:
        x = (x & 0x807fffff) | (uint32_t)(127 - 40 + rng_below(&rng, 80)) << 23;
        break;
    default:
        break;
    }
    return rng_below(&rng, 16) ? x | 0xffffffff00000000
                               : x | rng_next(&rng) << 32; /* seldom not boxed */
}

static uint64_t random_integer(void)
{
    static const uint64_t corners[] = {
        0,          1,          UINT64_MAX,         1ull << 63, INT64_MAX, 0x80000000,
        0x7fffffff, UINT32_MAX, 0xffffffff80000000, 2,          63,        64};
    uint64_t x = rng_next(&rng);
    switch (rng_below(&rng, 3)) {
    case 0:
        return corners[rng_below(&rng, ARRAY_LEN(corners))];
    case 1:
        return x >> rng_below(&rng, 64);
    default:
        return x;
    }
}

static uint64_t random_address(void)
{
    static const uint64_t edges[] = {0, 0x1000, JUDGE_DATA_WRITABLE, JUDGE_DATA_BYTES};
    if (rng_below(&rng, 2))
        return JUDGE_DATA + edges[rng_below(&rng, ARRAY_LEN(edges))] + rng_below(&rng, 32) - 16;
    return JUDGE_DATA + rng_below(&rng, JUDGE_DATA_BYTES);
}

static void random_registers(struct judge_case *c, bool single)
{
    for (unsigned i = 1; i < 32; i++)
        c->x[i] = random_integer();
    for (unsigned i = 0; i < 32; i++)
        c->f[i] = (rng_below(&rng, 8) != 0) == single ? random_single() : random_double();
    c->fcsr = (rng_below(&rng, 8) ? rng_below(&rng, 5) : rng_below(&rng, 8)) << 5;
    if (!rng_below(&rng, 4))
        c->fcsr |= rng_below(&rng, 32);
}

/* Not every encoding can be judged: see the reasons. */
static bool is_judgeable(const struct isa_insn *d)
{
    const struct isa_attr *a = isa_rv64_attr(d->op);
    if (d->op == ISA_RV64_ECALL)
        return false; /* would be a system call of the judge's */
    if (!strcmp(a->extension, "Zicsr") &&
        d->imm > 3) /* the counters may not be written; others are QEMU's own */
        return d->imm >= 0xc00 && d->imm <= 0xc02 &&
               (d->op == ISA_RV64_CSRRW || d->op == ISA_RV64_CSRRWI);
    if (a->flow == ISA_FLOW_BRANCH || a->flow == ISA_FLOW_JUMP)
        return d->imm != 0 && d->imm != 2; /* would never end; would run its own second half */
    if (a->mem)
        return d->rs1 != 0; /* QEMU loses the address of a fault near 0 - 1 */
    return true;
}

static uint32_t random_word(uint16_t form, struct isa_insn *d)
{
    uint32_t word;
    do {
        word = isa_rv64_random(&rng, form);
        isa_rv64_decode(word, d);
    } while (!is_judgeable(d));
    return word;
}

static void fill_code(struct judge_case *c, const uint32_t *words, unsigned count)
{
    unsigned at = 0;
    for (unsigned i = 0; i < JUDGE_SLOT_BYTES; i += 2)
        memcpy(c->code + i, &(uint16_t){JUDGE_FILL}, 2);
    for (unsigned i = 0; i < count; i++) {
        unsigned len = isa_rv64_length((uint16_t)words[i]);
        memcpy(c->code + at, &words[i], len);
        at += len;
    }
}

static void make_case(struct judge_case *c, uint16_t form)
{
    struct isa_insn d;
    uint32_t words[2] = {random_word(form, &d)};
    const struct isa_attr *a = isa_rv64_attr(d.op);
    unsigned count = 1;
    random_registers(c, a->fp_bits == 32);
    if (a->mem) {
        c->x[d.rs1] = random_address();
        if (a->mem >= ISA_MEM_LR) /* misaligned atomics: T0 traps always, QEMU only sometimes */
            c->x[d.rs1] &= ~(uint64_t)(a->mem_bytes - 1);
        else
            c->x[d.rs1] -= rng_below(&rng, 4) ? (uint64_t)(int64_t)d.imm : 0;
    }
    if (a->flow == ISA_FLOW_JUMP_IND)
        c->x[d.rs1] = JUDGE_CODE + rng_below(&rng, JUDGE_CODE_BYTES + 4096);
    if (a->mem == ISA_MEM_LR && rng_below(&rng, 4)) {
        /* With the store that belongs to it, if the base survives. */
        struct isa_insn sc = {.form = d.op == ISA_RV64_LR_W ? ISA_RV64_SC_W : ISA_RV64_SC_D,
                              .rd = (uint8_t)rng_below(&rng, 32),
                              .rs1 = d.rs1,
                              .rs2 = (uint8_t)rng_below(&rng, 32)};
        if (d.rd != d.rs1)
            count += isa_rv64_encode(&sc, &words[1]);
    }
    if (a->flow == ISA_FLOW_JUMP_IND &&
        !d.rs1) { /* an address near 0 or its wrap: only the former */
        words[0] &= ~(1u << 31);
    }
    if (c->x[2] - JUDGE_STACK < JUDGE_STACK_BYTES)
        c->x[2] -= JUDGE_STACK_BYTES;
    fill_code(c, words, count);
}

/* Words that are reserved: both must refuse them. */
static void make_reserved(struct judge_case *c, uint32_t word)
{
    random_registers(c, false);
    fill_code(c, &word, 1);
}

/* ---- the judge's process, and the comparison ---- */

static int to_judge, from_judge;

static void start_judge(const char *program)
{
    int in[2], out[2];
    if (pipe(in) || pipe(out)) {
        perror("pipe");
        exit(2);
    }
    pid_t pid = fork();
    if (pid < 0) {
        perror("fork");
        exit(2);
    }
    if (!pid) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        close(out[0]);
        execlp("qemu-riscv64", "qemu-riscv64", program, NULL);
        perror("qemu-riscv64");
        _exit(2);
    }
    close(in[0]);
    close(out[1]);
    to_judge = in[1];
    from_judge = out[0];
}

static void transfer(ssize_t (*io)(int, void *, size_t), int fd, void *p, size_t n)
{
    for (char *at = p; n;) {
        ssize_t done = io(fd, at, n);
        if (done <= 0) {
            fprintf(stderr, "the judge is gone\n");
            exit(2);
        }
        at += done;
        n -= (size_t)done;
    }
}

static ssize_t write_io(int fd, void *p, size_t n)
{
    return write(fd, p, n);
}

static void print_difference(const struct judge_case *c, const struct judge_outcome *ours,
                             const struct judge_outcome *theirs)
{
    char text[96];
    uint32_t word;
    struct isa_insn d;
    memcpy(&word, c->code, 4);
    isa_rv64_decode(word, &d);
    isa_rv64_disasm(&d, JUDGE_SLOT, text, sizeof text);
    fprintf(stderr, "%08x %s (rs1 %lx %lx, rs2 %lx %lx, rs3 %lx, fcsr %lx):\n", d.raw, text,
            c->x[d.rs1], c->f[d.rs1], c->x[d.rs2], c->f[d.rs2], c->f[d.rs3], c->fcsr);
#define SHOW(what)                  \
    if (ours->what != theirs->what) \
    fprintf(stderr, "  " #what ": ours %lx, qemu's %lx\n", ours->what, theirs->what)
    SHOW(signal);
    SHOW(address);
    SHOW(pc);
    SHOW(fcsr);
    SHOW(memory);
    for (unsigned i = 1; i < 32; i++)
        if (ours->x[i] != theirs->x[i])
            fprintf(stderr, "  x%u: ours %lx, qemu's %lx\n", i, ours->x[i], theirs->x[i]);
    for (unsigned i = 0; i < 32; i++)
        if (ours->f[i] != theirs->f[i])
            fprintf(stderr, "  f%u: ours %lx, qemu's %lx\n", i, ours->f[i], theirs->f[i]);
}

static unsigned case_count, difference_count;

static void judge(const struct judge_case *c)
{
    struct judge_outcome ours, theirs;
    transfer(write_io, to_judge, (void *)(uintptr_t)c, sizeof *c);
    run_case(c, &ours);
    transfer(read, from_judge, &theirs, sizeof theirs);
    case_count++;
    if (!memcmp(&ours, &theirs, sizeof ours))
        return;
    if (difference_count++ < 20)
        print_difference(c, &ours, &theirs);
    if (ours.memory != theirs.memory) {
        fprintf(stderr, "memory differs: no use going on\n");
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: test_against_qemu JUDGE-PROGRAM [CASES-PER-FORM [SEED]]\n");
        return 2;
    }
    unsigned per_form = argc > 2 ? (unsigned)atoi(argv[2]) : 40;
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
    struct judge_case c = {0};
    printf("seed %lu, %u cases of each form\n", seed, per_form);
    rng_seed(&rng, seed);
    signal(SIGPIPE, SIG_IGN);
    start_judge(argv[1]);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)rng_next(&rng);
    transfer(write_io, to_judge, data, sizeof data);
    for (uint16_t form = 1; form < ISA_RV64_FORM_COUNT; form++) {
        if (form == ISA_RV64_ECALL)
            continue;
        unsigned n =
            isa_rv64_attr(form)->fp_bits && !isa_rv64_attr(form)->mem ? 4 * per_form : per_form;
        for (unsigned k = 0; k < n; k++) {
            make_case(&c, form);
            judge(&c);
        }
    }
    struct isa_insn d;
    for (uint32_t w = 0; w < 0x10000; w++) {
        if ((w & 3) != 3 && !isa_rv64_decode(w, &d)) {
            make_reserved(&c, w);
            judge(&c);
        }
    }
    printf("%u cases, %u differences\n", case_count, difference_count);
    close(to_judge);
    int status;
    wait(&status);
    return difference_count || status ? 1 : 0;
}
