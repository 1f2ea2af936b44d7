/*
 * The memory accessors over one flat buffer, for tests of the interpreter: FLAT_BYTES of guest memory from
 * FLAT_BASE on, pages of 4 KiB with permissions of their own. Define nothing else of engine/memory beside it.
 */
#ifndef TEST_FLAT_H
#define TEST_FLAT_H

#include "engine/cpu/access.h"

#include <string.h>

#define FLAT_BASE 0x10000ull
#define FLAT_PAGES 16
#define FLAT_BYTES (FLAT_PAGES * PAGE_SIZE)

enum { FLAT_R = 1, FLAT_W = 2, FLAT_X = 4 };
static uint8_t flat_bytes[FLAT_BYTES] __attribute__((aligned(4096)));
static uint8_t flat_prot[FLAT_PAGES];

static bool flat_reach(struct vcpu *v, gva_t a, unsigned n, enum cpu_access access)
{
    static const uint8_t need[] = {[CPU_LOAD] = FLAT_R, [CPU_STORE] = FLAT_W, [CPU_FETCH] = FLAT_X};
    for (unsigned i = 0; i < n; i++) {
        uint64_t at = a + i - FLAT_BASE;
        if (at < FLAT_BYTES && (flat_prot[at / PAGE_SIZE] & need[access]))
            continue;
        v->trap = (struct cpu_trap){CPU_TRAP_PAGE, access, a + i};
        return false;
    }
    return true;
}

#define FLAT(bits)                                                  \
    bool mem_ld##bits(struct vcpu *v, gva_t a, uint##bits##_t *out) \
    {                                                               \
        if (!flat_reach(v, a, bits / 8, CPU_LOAD))                  \
            return false;                                           \
        memcpy(out, flat_bytes + (a - FLAT_BASE), bits / 8);        \
        return true;                                                \
    }                                                               \
    bool mem_st##bits(struct vcpu *v, gva_t a, uint##bits##_t x)    \
    {                                                               \
        if (!flat_reach(v, a, bits / 8, CPU_STORE))                 \
            return false;                                           \
        memcpy(flat_bytes + (a - FLAT_BASE), &x, bits / 8);         \
        return true;                                                \
    }
FLAT(8)
FLAT(16)
FLAT(32)
FLAT(64)

#define FLAT_CAS(bits)                                                                           \
    bool mem_cas##bits(struct vcpu *v, gva_t a, uint##bits##_t expected, uint##bits##_t desired, \
                       uint##bits##_t *old)                                                      \
    {                                                                                            \
        if (!flat_reach(v, a, bits / 8, CPU_STORE))                                              \
            return false;                                                                        \
        memcpy(old, flat_bytes + (a - FLAT_BASE), bits / 8);                                     \
        if (*old == expected)                                                                    \
            memcpy(flat_bytes + (a - FLAT_BASE), &desired, bits / 8);                            \
        return true;                                                                             \
    }
FLAT_CAS(32)
FLAT_CAS(64)

bool mem_fetch(struct vcpu *v, gva_t pc, uint32_t *word)
{
    uint16_t parcel;
    if (!flat_reach(v, pc, 2, CPU_FETCH))
        return false;
    memcpy(&parcel, flat_bytes + (pc - FLAT_BASE), 2);
    *word = parcel;
    if ((parcel & 3) != 3)
        return true;
    if (!flat_reach(v, pc + 2, 2, CPU_FETCH))
        return false;
    memcpy(&parcel, flat_bytes + (pc + 2 - FLAT_BASE), 2);
    *word |= (uint32_t)parcel << 16;
    return true;
}

static void flat_reset(struct vcpu *v)
{
    memset(v, 0, sizeof *v);
    memset(flat_bytes, 0, sizeof flat_bytes);
    memset(flat_prot, FLAT_R | FLAT_W | FLAT_X, sizeof flat_prot);
    v->mask = (1ull << 36) - 1;
    v->mxcsr = CPU_MXCSR_INIT;
    v->res_addr = CPU_RES_NONE;
    v->pc = FLAT_BASE;
}

#endif
