/*
 * What the test and its judge, a RISC-V program under qemu-riscv64, say to each other: one case in, one outcome out.
 */
#ifndef JUDGE_H
#define JUDGE_H

#include <stdint.h>

/* The code area is full of c.ebreak but for the case's bytes in its middle, so that whatever the case does next
 * traps. A jal reaches no further than a MiB. */
#define JUDGE_CODE 0x10000000ull
#define JUDGE_CODE_BYTES (4ull << 20)
#define JUDGE_SLOT (JUDGE_CODE + JUDGE_CODE_BYTES / 2)
#define JUDGE_SLOT_BYTES 16
#define JUDGE_FILL 0x9002u

/* Two pages for reading and writing, one for reading, then nothing. */
#define JUDGE_DATA 0x20000000ull
#define JUDGE_DATA_WRITABLE 0x2000ull
#define JUDGE_DATA_BYTES 0x3000ull

/* The signal stack. A sp that points into it would move the frame, so it lies where no operation on corner values
 * leads (a shift once led to 0x30000000). */
#define JUDGE_STACK 0x3b5ad7390000ull
#define JUDGE_STACK_BYTES 0x10000ull

struct judge_case {
    uint8_t code[JUDGE_SLOT_BYTES];
    uint64_t x[32]; /* x[0] is not used */
    uint64_t f[32];
    uint64_t fcsr;
};

struct judge_outcome {
    uint64_t signal, address; /* address: of SIGSEGV and SIGBUS, else 0 */
    uint64_t pc, x[32], f[32], fcsr;
    uint64_t memory; /* hash of the writable data */
};

static inline uint64_t judge_hash(const uint64_t *words)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (unsigned i = 0; i < JUDGE_DATA_WRITABLE / 8; i++)
        h = (h ^ words[i]) * 0x100000001b3u;
    return h;
}

#endif
