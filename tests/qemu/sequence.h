/*
 * What the comparison of sequences and its judge, a RISC-V program under qemu-riscv64, say to each other: first the
 * data's content, then requests; each case is answered by its events and then the writable data.
 */
#ifndef SEQUENCE_H
#define SEQUENCE_H

#include <stdint.h>

#define SEQUENCE_EVENTS_MAX 24

/* Where the judge itself, its signal stack and its memory lie: nowhere that operations on corner values lead to. */
#define SEQUENCE_JUDGE 0x3b5ad5000000ull
#define SEQUENCE_STACK 0x3b5ad7390000ull
#define SEQUENCE_STACK_BYTES 0x10000ull

enum sequence_kind { SEQUENCE_LAYOUT, SEQUENCE_CODE, SEQUENCE_CASE };

/* LAYOUT, once: maps the areas; the data's bytes follow. CODE: replaces all code; the bytes follow. CASE: runs one
 * program, which goes on at resume[i] after its event i and ends with event number `events`. */
struct sequence_request {
    uint64_t kind;
    uint64_t code, code_bytes, used_bytes; /* LAYOUT: the first two; CODE: used */
    uint64_t data, data_bytes, writable_bytes;
    uint64_t pc, events, resume[SEQUENCE_EVENTS_MAX];
    uint64_t x[32], f[32], fcsr;
};

struct sequence_event {
    uint64_t signal, address; /* address: of SIGSEGV and SIGBUS, else 0 */
    uint64_t pc, x[32], f[32], fcsr;
};

#endif
