/*
 * random/gen.h - random RV64 programs that end: at least 32 instructions of any kind with branches both ways,
 * indirect jumps, loops, calls into nowhere, loads and stores that hit, cross pages and miss.
 *
 * Every way back in a program runs through a counter that only goes down, so a program ends. Everything is relative
 * to the program's place but the addresses of the data, which are the same for all.
 */
#ifndef RANDOM_GEN_H
#define RANDOM_GEN_H

#include "engine/base/os.h"
#include "engine/isa/isa.h"

#include <stdbool.h>
#include <stdint.h>

#define GEN_DATA \
    UINT64_C(    \
        0x40000) /* two pages that can be written, one that can only be read; around them nothing */
#define GEN_DATA_BYTES ((size_t)8192)
#define GEN_READONLY_BYTES ((size_t)4096)
#define GEN_INSNS_MAX 320
#define GEN_BYTES_MAX (GEN_INSNS_MAX * 4 + 4)

struct gen_insn {
    uint32_t word;
    uint16_t off; /* from the program's start */
    uint8_t len;
};

struct gen_program {
    unsigned count;
    struct gen_insn insn[GEN_INSNS_MAX];
    unsigned bytes; /* without the last instruction, which stands behind */
    uint32_t last;  /* an ecall, unless changed */
    uint64_t r[32], f[32];
    uint32_t frm, fflags;
};

void gen_program(struct gen_program *p, struct rng *rng);
/* What the data pages hold when a program starts. */
void gen_data(uint8_t data[GEN_DATA_BYTES + GEN_READONLY_BYTES], struct rng *rng);
/* The program as bytes, with the last instruction; returns their number. */
unsigned gen_bytes(const struct gen_program *p, uint8_t bytes[GEN_BYTES_MAX]);

#endif
