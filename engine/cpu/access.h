/*
 * cpu/access.h - guest memory as every tier, helper and system call sees it. Implemented by engine/memory.
 *
 * The mem_ld/st/cas functions are for instructions: the address has already been confined by the caller
 * with cpu_confine(), size crossing pages and windows is handled, and a fault that the code watch
 * caused is resolved inside. They return true, or false with v->trap filled in {PAGE or BUS, access,
 * addr = guest address of the first byte that could not be reached}; memory is then unchanged and *out untouched.
 * A store that faults in its second page writes nothing to the first.
 *
 * Thread: the vCPU's own.
 */
#ifndef CPU_ACCESS_H
#define CPU_ACCESS_H

#include "engine/cpu/vcpu.h"

/* Where an instruction's access goes: (base & mask) + imm in a masked window, the low 32 bits of the sum
 * in a 4 GiB window. In both cases the result may lie up to 2 KiB outside, where nothing is mapped. */
static inline gva_t cpu_confine(const struct vcpu *v, uint64_t base, int64_t imm)
{
    if (v->mask == UINT32_MAX)
        return (uint32_t)(base + (uint64_t)imm);
    return (base & v->mask) + (uint64_t)imm;
}

bool mem_ld8(struct vcpu *v, gva_t a, uint8_t *out);
bool mem_ld16(struct vcpu *v, gva_t a, uint16_t *out);
bool mem_ld32(struct vcpu *v, gva_t a, uint32_t *out);
bool mem_ld64(struct vcpu *v, gva_t a, uint64_t *out);
bool mem_st8(struct vcpu *v, gva_t a, uint8_t x);
bool mem_st16(struct vcpu *v, gva_t a, uint16_t x);
bool mem_st32(struct vcpu *v, gva_t a, uint32_t x);
bool mem_st64(struct vcpu *v, gva_t a, uint64_t x);
/* Aligned, sequentially consistent; *old is what was there. The write permission is needed even if the compare fails. */
bool mem_cas32(struct vcpu *v, gva_t a, uint32_t expected, uint32_t desired, uint32_t *old);
bool mem_cas64(struct vcpu *v, gva_t a, uint64_t expected, uint64_t desired, uint64_t *old);
/* Fetch: the instruction's first parcel, then, if its low two bits are 11, the second. The upper half is 0 for a
 * 16-bit instruction. pc is not masked: outside the window it faults. Execute permission is checked. */
bool mem_fetch(struct vcpu *v, gva_t pc, uint32_t *word);

#endif
