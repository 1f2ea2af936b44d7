/*
 * random/reduce.h - makes a program that shows a difference as small as it will go, and prints it.
 */
#ifndef RANDOM_REDUCE_H
#define RANDOM_REDUCE_H

#include "engine/cpu/vcpu.h"
#include "tests/random/gen.h"

/* Fewer instructions, then fewer registers, as long as fails(ctx, p) still holds. */
void reduce_program(struct gen_program *p, bool (*fails)(void *ctx, const struct gen_program *p),
                    void *ctx);
/* Registers that are not 0, and the instructions but nops, as loaded at `at`. */
void reduce_print(const struct gen_program *p, gva_t at);

#endif
