/*
 * base/softfp.h - IEEE 754 binary32 and binary64 in integer arithmetic, as RISC-V wants it: five rounding modes,
 * exact flags with tininess after rounding, canonical NaNs.
 *
 * The oracle of the floating-point tiers and the helper for what a host cannot do (RMM). It never touches the
 * host's floating-point unit: it is compiled without its registers. Values travel as their bits; binary32 in
 * 32-bit words, not boxed.
 *
 * Every function that takes `flags` adds to it and never clears. rm is one of the five modes below.
 * Thread: any; there is no state. Cost: 5 to 15 ns; a square root 500.
 */
#ifndef BASE_SOFTFP_H
#define BASE_SOFTFP_H

#include <stdbool.h>
#include <stdint.h>

enum softfp_rm { SOFTFP_RNE, SOFTFP_RTZ, SOFTFP_RDN, SOFTFP_RUP, SOFTFP_RMM };

/* In the places of fflags (RISC-V unpriv. 11.2). */
enum softfp_flag { SOFTFP_NX = 1, SOFTFP_UF = 2, SOFTFP_OF = 4, SOFTFP_DZ = 8, SOFTFP_NV = 16 };

#define SOFTFP_NAN32 0x7fc00000u
#define SOFTFP_NAN64 0x7ff8000000000000u

uint32_t softfp_add32(uint32_t a, uint32_t b, unsigned rm, uint32_t *flags);
uint64_t softfp_add64(uint64_t a, uint64_t b, unsigned rm, uint32_t *flags);
uint32_t softfp_sub32(uint32_t a, uint32_t b, unsigned rm, uint32_t *flags);
uint64_t softfp_sub64(uint64_t a, uint64_t b, unsigned rm, uint32_t *flags);
uint32_t softfp_mul32(uint32_t a, uint32_t b, unsigned rm, uint32_t *flags);
uint64_t softfp_mul64(uint64_t a, uint64_t b, unsigned rm, uint32_t *flags);
uint32_t softfp_div32(uint32_t a, uint32_t b, unsigned rm, uint32_t *flags);
uint64_t softfp_div64(uint64_t a, uint64_t b, unsigned rm, uint32_t *flags);
uint32_t softfp_sqrt32(uint32_t a, unsigned rm, uint32_t *flags);
uint64_t softfp_sqrt64(uint64_t a, unsigned rm, uint32_t *flags);
/* a * b + c with one rounding; infinity * 0 is invalid even if c is a quiet NaN. */
uint32_t softfp_fma32(uint32_t a, uint32_t b, uint32_t c, unsigned rm, uint32_t *flags);
uint64_t softfp_fma64(uint64_t a, uint64_t b, uint64_t c, unsigned rm, uint32_t *flags);

/* minimumNumber, maximumNumber: a NaN loses against a number, -0 is below +0, two NaNs give the canonical one. */
uint32_t softfp_min32(uint32_t a, uint32_t b, uint32_t *flags);
uint64_t softfp_min64(uint64_t a, uint64_t b, uint32_t *flags);
uint32_t softfp_max32(uint32_t a, uint32_t b, uint32_t *flags);
uint64_t softfp_max64(uint64_t a, uint64_t b, uint32_t *flags);

/* eq is quiet; lt and le are invalid for any NaN. */
bool softfp_eq32(uint32_t a, uint32_t b, uint32_t *flags);
bool softfp_eq64(uint64_t a, uint64_t b, uint32_t *flags);
bool softfp_lt32(uint32_t a, uint32_t b, uint32_t *flags);
bool softfp_lt64(uint64_t a, uint64_t b, uint32_t *flags);
bool softfp_le32(uint32_t a, uint32_t b, uint32_t *flags);
bool softfp_le64(uint64_t a, uint64_t b, uint32_t *flags);

/* The bit of fclass: 0 -inf, 1 -normal, 2 -subnormal, 3 -0, 4 +0, 5 +subnormal, 6 +normal, 7 +inf, 8 sNaN, 9 qNaN;
 * returned as a mask with that one bit. */
unsigned softfp_class32(uint32_t a);
unsigned softfp_class64(uint64_t a);

uint64_t softfp_widen(uint32_t a, uint32_t *flags);
uint32_t softfp_narrow(uint64_t a, unsigned rm, uint32_t *flags);

/* To integers: what does not fit, or is NaN (which counts as +infinity), saturates and is invalid. */
int32_t softfp_to_i32_32(uint32_t a, unsigned rm, uint32_t *flags);
uint32_t softfp_to_u32_32(uint32_t a, unsigned rm, uint32_t *flags);
int64_t softfp_to_i64_32(uint32_t a, unsigned rm, uint32_t *flags);
uint64_t softfp_to_u64_32(uint32_t a, unsigned rm, uint32_t *flags);
int32_t softfp_to_i32_64(uint64_t a, unsigned rm, uint32_t *flags);
uint32_t softfp_to_u32_64(uint64_t a, unsigned rm, uint32_t *flags);
int64_t softfp_to_i64_64(uint64_t a, unsigned rm, uint32_t *flags);
uint64_t softfp_to_u64_64(uint64_t a, unsigned rm, uint32_t *flags);

/* From integers; a 32-bit integer is widened by the caller. */
uint32_t softfp_from_i64_32(int64_t x, unsigned rm, uint32_t *flags);
uint32_t softfp_from_u64_32(uint64_t x, unsigned rm, uint32_t *flags);
uint64_t softfp_from_i64_64(int64_t x, unsigned rm, uint32_t *flags);
uint64_t softfp_from_u64_64(uint64_t x, unsigned rm, uint32_t *flags);

#endif
