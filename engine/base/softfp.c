/*
 * One set of algorithms for both formats: unpack to a 64-bit significand, compute in 128 bits with what falls off
 * jammed into the lowest bit, round once in round_pack. The format is a constant at every call, so the compiler
 * makes two copies.
 */
#include "engine/base/softfp.h"

#include "engine/base/base.h"

typedef unsigned __int128 u128;

#define INLINE static inline __attribute__((always_inline))

struct format {
    unsigned precision; /* bits of the significand with the hidden one */
    unsigned exp_bits;
};
static const struct format F32 = {24, 8}, F64 = {53, 11};

enum kind { ZERO, FINITE, INFINITE, QUIET, SIGNALING };

/* FINITE: (-1)^sign * sig * 2^(exp - 63), bit 63 of sig is set. */
struct num {
    uint64_t sig;
    int exp;
    enum kind kind;
    bool sign;
};

INLINE unsigned stored_bits(struct format f)
{
    return f.precision - 1;
}

INLINE int bias(struct format f)
{
    return (1 << (f.exp_bits - 1)) - 1;
}

INLINE unsigned exp_max(struct format f)
{
    return (1u << f.exp_bits) - 1;
}

INLINE uint64_t sign_bit(struct format f, bool sign)
{
    return (uint64_t)sign << (stored_bits(f) + f.exp_bits);
}

INLINE uint64_t infinity(struct format f, bool sign)
{
    return sign_bit(f, sign) | (uint64_t)exp_max(f) << stored_bits(f);
}

INLINE uint64_t canonical_nan(struct format f)
{
    return (uint64_t)exp_max(f) << stored_bits(f) | 1ull << (stored_bits(f) - 1);
}

INLINE struct num unpack(struct format f, uint64_t bits)
{
    unsigned exp = (unsigned)(bits >> stored_bits(f)) & exp_max(f);
    uint64_t frac = bits & ((1ull << stored_bits(f)) - 1);
    struct num n = {.sign = bits >> (stored_bits(f) + f.exp_bits) & 1};
    if (exp == exp_max(f)) {
        n.kind = !frac ? INFINITE : frac >> (stored_bits(f) - 1) ? QUIET : SIGNALING;
    } else if (exp) {
        n.kind = FINITE;
        n.sig = (frac | 1ull << stored_bits(f)) << (64 - f.precision);
        n.exp = (int)exp - bias(f);
    } else if (frac) {
        unsigned lead = (unsigned)__builtin_clzll(frac);
        n.kind = FINITE;
        n.sig = frac << lead;
        n.exp = 1 - bias(f) + (int)(64 - f.precision) - (int)lead;
    }
    return n;
}

INLINE bool is_nan(struct num n)
{
    return n.kind >= QUIET;
}

/* Any operand a NaN: raise what a signaling one raises. */
INLINE uint64_t propagate(struct format f, bool signaling, uint32_t *flags)
{
    if (signaling)
        *flags |= SOFTFP_NV;
    return canonical_nan(f);
}

INLINE uint64_t invalid(struct format f, uint32_t *flags)
{
    *flags |= SOFTFP_NV;
    return canonical_nan(f);
}

INLINE uint64_t shift_right_jam64(uint64_t x, unsigned n)
{
    if (!n)
        return x;
    return n < 64 ? x >> n | ((x << (64 - n)) != 0) : x != 0;
}

INLINE u128 shift_right_jam128(u128 x, unsigned n)
{
    if (!n)
        return x;
    return n < 128 ? x >> n | ((x << (128 - n)) != 0) : x != 0;
}

/* sig without its low `drop` bits (1..63), rounded. */
INLINE uint64_t round_off(uint64_t sig, unsigned drop, bool sign, unsigned rm)
{
    uint64_t rest = sig & ((1ull << drop) - 1), half = 1ull << (drop - 1), r = sig >> drop;
    bool up;
    switch (rm) {
    case SOFTFP_RNE:
        up = rest > half || (rest == half && (r & 1));
        break;
    case SOFTFP_RDN:
        up = rest && sign;
        break;
    case SOFTFP_RUP:
        up = rest && !sign;
        break;
    case SOFTFP_RMM:
        up = rest >= half;
        break;
    default:
        up = false;
        break;
    }
    return r + up;
}

INLINE uint64_t overflow(struct format f, bool sign, unsigned rm, uint32_t *flags)
{
    *flags |= SOFTFP_OF | SOFTFP_NX;
    bool away = rm == SOFTFP_RNE || rm == SOFTFP_RMM || rm == (sign ? SOFTFP_RDN : SOFTFP_RUP);
    return infinity(f, sign) - !away;
}

/* The one place that rounds: (-1)^sign * sig * 2^(exp - 63), bit 63 of sig set, bit 0 sticky. */
INLINE uint64_t round_pack(struct format f, bool sign, int exp, uint64_t sig, unsigned rm,
                           uint32_t *flags)
{
    int exp_min = 1 - bias(f);
    unsigned drop = 64 - f.precision;
    bool tiny = false;
    uint64_t base = 0; /* what the exponent adds to a significand that has its hidden bit */
    if (exp < exp_min) {
        /* After rounding: with an unbounded exponent, would it still be below the smallest normal number? */
        tiny = exp < exp_min - 1 || !(round_off(sig, drop, sign, rm) >> f.precision);
        sig = shift_right_jam64(sig, (unsigned)MIN(exp_min - exp, 64));
    } else if (exp > bias(f)) {
        return overflow(f, sign, rm, flags);
    } else {
        base = (uint64_t)(exp - exp_min) << stored_bits(f);
    }
    if (sig & ((1ull << drop) - 1))
        *flags |= SOFTFP_NX | (tiny ? SOFTFP_UF : 0);
    /* A carry out of the significand moves into the exponent, which is what it should do. */
    uint64_t bits = base + round_off(sig, drop, sign, rm);
    if (bits >= infinity(f, false))
        return overflow(f, sign, rm, flags);
    return sign_bit(f, sign) | bits;
}

/* (-1)^sign * v * 2^(exp - 127), v not 0. */
INLINE uint64_t round_pack128(struct format f, bool sign, int exp, u128 v, unsigned rm,
                              uint32_t *flags)
{
    uint64_t high = (uint64_t)(v >> 64);
    unsigned lead = (unsigned)(high ? __builtin_clzll(high) : 64 + __builtin_clzll((uint64_t)v));
    v <<= lead;
    return round_pack(f, sign, exp - (int)lead, (uint64_t)(v >> 64) | ((uint64_t)v != 0), rm,
                      flags);
}

/* The sum of two significands aligned at bit 125, whose weight is 2^ea and 2^eb; the one of the smaller exponent
 * loses bits only where no cancellation can bring them back (fma: see there). */
INLINE uint64_t add_aligned(struct format f, bool sa, int ea, u128 a, bool sb, int eb, u128 b,
                            unsigned rm, uint32_t *flags)
{
    int exp = MAX(ea, eb);
    a = shift_right_jam128(a, (unsigned)MIN(exp - ea, 128));
    b = shift_right_jam128(b, (unsigned)MIN(exp - eb, 128));
    if (sa == sb)
        return round_pack128(f, sa, exp + 2, a + b, rm, flags);
    if (a == b)
        return sign_bit(f, rm == SOFTFP_RDN);
    return a > b ? round_pack128(f, sa, exp + 2, a - b, rm, flags)
                 : round_pack128(f, sb, exp + 2, b - a, rm, flags);
}

INLINE uint64_t add(struct format f, uint64_t abits, uint64_t bbits, unsigned rm, uint32_t *flags)
{
    struct num a = unpack(f, abits), b = unpack(f, bbits);
    if (is_nan(a) || is_nan(b))
        return propagate(f, a.kind == SIGNALING || b.kind == SIGNALING, flags);
    if (a.kind == INFINITE || b.kind == INFINITE) {
        if (a.kind == b.kind && a.sign != b.sign)
            return invalid(f, flags);
        return infinity(f, a.kind == INFINITE ? a.sign : b.sign);
    }
    if (a.kind == ZERO && b.kind == ZERO)
        return sign_bit(f, a.sign == b.sign ? a.sign : rm == SOFTFP_RDN);
    if (a.kind == ZERO)
        return bbits;
    if (b.kind == ZERO)
        return abits;
    return add_aligned(f, a.sign, a.exp, (u128)a.sig << 62, b.sign, b.exp, (u128)b.sig << 62, rm,
                       flags);
}

INLINE uint64_t mul(struct format f, uint64_t abits, uint64_t bbits, unsigned rm, uint32_t *flags)
{
    struct num a = unpack(f, abits), b = unpack(f, bbits);
    bool sign = a.sign ^ b.sign;
    if (is_nan(a) || is_nan(b))
        return propagate(f, a.kind == SIGNALING || b.kind == SIGNALING, flags);
    if (a.kind == INFINITE || b.kind == INFINITE) {
        if (a.kind == ZERO || b.kind == ZERO)
            return invalid(f, flags);
        return infinity(f, sign);
    }
    if (a.kind == ZERO || b.kind == ZERO)
        return sign_bit(f, sign);
    return round_pack128(f, sign, a.exp + b.exp + 1, (u128)a.sig * b.sig, rm, flags);
}

INLINE uint64_t divide(struct format f, uint64_t abits, uint64_t bbits, unsigned rm,
                       uint32_t *flags)
{
    struct num a = unpack(f, abits), b = unpack(f, bbits);
    bool sign = a.sign ^ b.sign;
    if (is_nan(a) || is_nan(b))
        return propagate(f, a.kind == SIGNALING || b.kind == SIGNALING, flags);
    if (a.kind == INFINITE)
        return b.kind == INFINITE ? invalid(f, flags) : infinity(f, sign);
    if (b.kind == INFINITE)
        return sign_bit(f, sign);
    if (b.kind == ZERO) {
        if (a.kind == ZERO)
            return invalid(f, flags);
        *flags |= SOFTFP_DZ;
        return infinity(f, sign);
    }
    if (a.kind == ZERO)
        return sign_bit(f, sign);
    /* Both significands are in [2^63, 2^64): the quotient has 63 or 64 bits. */
    u128 n = (u128)a.sig << 63;
    uint64_t q = (uint64_t)(n / b.sig), rest = (uint64_t)(n - (u128)q * b.sig);
    return round_pack128(f, sign, a.exp - b.exp, (u128)q << 64 | (rest != 0), rm, flags);
}

/* floor(sqrt(x)) for 2^125 <= x < 2^127, by Newton's steps, whose results are never too small: of the upper half the first is 6 % off
 * at most, the fourth less than 1; of the whole one more is a unit or two too large. */
static uint64_t root128(u128 x, bool *exact)
{
    uint64_t high = (uint64_t)(x >> 64), s = (high >> 32) + (1u << 30);
    for (unsigned i = 0; i < 3; i++)
        s = (s + high / s) / 2;
    uint64_t r = s << 32;
    r = (uint64_t)(((u128)r + x / r) / 2);
    while ((u128)r * r > x)
        r--;
    *exact = (u128)r * r == x;
    return r;
}

INLINE uint64_t square_root(struct format f, uint64_t bits, unsigned rm, uint32_t *flags)
{
    struct num a = unpack(f, bits);
    if (is_nan(a))
        return propagate(f, a.kind == SIGNALING, flags);
    if (a.kind == ZERO)
        return bits;
    if (a.sign)
        return invalid(f, flags);
    if (a.kind == INFINITE)
        return bits;
    /* sig * 2^(exp - 63) = (sig << k) * 2^(exp - 63 - k) with an even exponent */
    unsigned k = a.exp & 1 ? 62 : 63;
    bool exact;
    uint64_t root = root128((u128)a.sig << k, &exact);
    return round_pack128(f, false, (a.exp - 63 - (int)k) / 2 + 63, (u128)root << 64 | !exact, rm,
                         flags);
}

INLINE uint64_t fused(struct format f, uint64_t abits, uint64_t bbits, uint64_t cbits, unsigned rm,
                      uint32_t *flags)
{
    struct num a = unpack(f, abits), b = unpack(f, bbits), c = unpack(f, cbits);
    bool sign = a.sign ^ b.sign;
    if ((a.kind == INFINITE && b.kind == ZERO) || (a.kind == ZERO && b.kind == INFINITE))
        return invalid(f, flags); /* whatever c is (unpriv. 11.6) */
    if (is_nan(a) || is_nan(b) || is_nan(c))
        return propagate(f, a.kind == SIGNALING || b.kind == SIGNALING || c.kind == SIGNALING,
                         flags);
    if (a.kind == INFINITE || b.kind == INFINITE) {
        if (c.kind == INFINITE && c.sign != sign)
            return invalid(f, flags);
        return infinity(f, sign);
    }
    if (c.kind == INFINITE)
        return cbits;
    if (a.kind == ZERO || b.kind == ZERO) {
        if (c.kind != ZERO)
            return cbits;
        return sign_bit(f, sign == c.sign ? sign : rm == SOFTFP_RDN);
    }
    u128 product = (u128)a.sig * b.sig; /* its low 22 bits are 0, so nothing is lost here */
    if (c.kind == ZERO)
        return round_pack128(f, sign, a.exp + b.exp + 1, product, rm, flags);
    /* Bits can fall off the addend only beyond a shift of 73, off the product beyond 20: too far apart for the
     * leading bits of the other one to cancel. */
    return add_aligned(f, sign, a.exp + b.exp + 1, product >> 2, c.sign, c.exp, (u128)c.sig << 62,
                       rm, flags);
}

/* a < b for numbers. */
INLINE bool below(struct format f, uint64_t a, uint64_t b)
{
    uint64_t sign = sign_bit(f, true);
    if (!((a | b) & ~sign))
        return false; /* both zero */
    if ((a ^ b) & sign)
        return a & sign;
    return a & sign ? a > b : a < b;
}

INLINE bool equal(struct format f, uint64_t a, uint64_t b)
{
    return a == b || !((a | b) & ~sign_bit(f, true));
}

INLINE bool either_nan(struct format f, uint64_t a, uint64_t b, bool quiet, uint32_t *flags)
{
    struct num x = unpack(f, a), y = unpack(f, b);
    if (!is_nan(x) && !is_nan(y))
        return false;
    if (!quiet || x.kind == SIGNALING || y.kind == SIGNALING)
        *flags |= SOFTFP_NV;
    return true;
}

INLINE uint64_t pick(struct format f, uint64_t a, uint64_t b, bool largest, uint32_t *flags)
{
    struct num x = unpack(f, a), y = unpack(f, b);
    if (x.kind == SIGNALING || y.kind == SIGNALING)
        *flags |= SOFTFP_NV;
    if (is_nan(x))
        return is_nan(y) ? canonical_nan(f) : b;
    if (is_nan(y))
        return a;
    /* Zeros of unlike sign are ordered here, so "below" will not do. */
    bool a_below = x.sign != y.sign ? x.sign : below(f, a, b);
    return a_below != largest ? a : b;
}

INLINE unsigned classify(struct format f, uint64_t bits)
{
    struct num n = unpack(f, bits);
    switch (n.kind) {
    case INFINITE:
        return n.sign ? 1u << 0 : 1u << 7;
    case FINITE:
        if (n.exp < 1 - bias(f))
            return n.sign ? 1u << 2 : 1u << 5;
        return n.sign ? 1u << 1 : 1u << 6;
    case ZERO:
        return n.sign ? 1u << 3 : 1u << 4;
    case SIGNALING:
        return 1u << 8;
    default:
        return 1u << 9;
    }
}

/* The integer nearest in the direction of rm, or the bound that it exceeds: -low <= x <= high. */
INLINE uint64_t to_integer(struct format f, uint64_t bits, uint64_t low, uint64_t high, unsigned rm,
                           uint32_t *flags)
{
    struct num n = unpack(f, bits);
    if (n.kind == ZERO)
        return 0;
    if (is_nan(n) || n.kind == INFINITE || n.exp > 63) {
        *flags |= SOFTFP_NV;
        return n.sign && !is_nan(n) ? 0 - low : high;
    }
    /* The integer in the upper half, the fraction (with sticky) in the lower. */
    u128 wide = shift_right_jam128((u128)n.sig << 64, (unsigned)MIN(63 - n.exp, 127));
    uint64_t whole = (uint64_t)(wide >> 64), part = (uint64_t)wide;
    /* Only the parity of the integer matters to the rounding. */
    uint64_t small = (whole & 1) << 63 | part >> 1 | (part & 1);
    uint64_t up = round_off(small, 63, n.sign, rm) - (whole & 1);
    whole += up; /* no carry out: a value of 2^63 or more has no fraction */
    if (whole > (n.sign ? low : high)) {
        *flags |= SOFTFP_NV;
        return n.sign ? 0 - low : high;
    }
    if (part)
        *flags |= SOFTFP_NX;
    return n.sign ? 0 - whole : whole;
}

INLINE uint64_t from_integer(struct format f, bool sign, uint64_t magnitude, unsigned rm,
                             uint32_t *flags)
{
    if (!magnitude)
        return 0;
    unsigned lead = (unsigned)__builtin_clzll(magnitude);
    return round_pack(f, sign, 63 - (int)lead, magnitude << lead, rm, flags);
}

INLINE uint64_t convert(struct format from, struct format to, uint64_t bits, unsigned rm,
                        uint32_t *flags)
{
    struct num n = unpack(from, bits);
    switch (n.kind) {
    case ZERO:
        return sign_bit(to, n.sign);
    case INFINITE:
        return infinity(to, n.sign);
    case FINITE:
        return round_pack(to, n.sign, n.exp, n.sig, rm, flags);
    default:
        return propagate(to, n.kind == SIGNALING, flags);
    }
}

/* The two copies. */
#define BOTH(name, algorithm)                                                        \
    uint32_t softfp_##name##32(uint32_t a, uint32_t b, unsigned rm, uint32_t *flags) \
    {                                                                                \
        return (uint32_t)algorithm(F32, a, b, rm, flags);                            \
    }                                                                                \
    uint64_t softfp_##name##64(uint64_t a, uint64_t b, unsigned rm, uint32_t *flags) \
    {                                                                                \
        return algorithm(F64, a, b, rm, flags);                                      \
    }
INLINE uint64_t subtract(struct format f, uint64_t a, uint64_t b, unsigned rm, uint32_t *flags)
{
    return add(f, a, b ^ sign_bit(f, true), rm, flags); /* a NaN's sign is lost anyway */
}
BOTH(add, add)
BOTH(sub, subtract)
BOTH(mul, mul)
BOTH(div, divide)

uint32_t softfp_sqrt32(uint32_t a, unsigned rm, uint32_t *flags)
{
    return (uint32_t)square_root(F32, a, rm, flags);
}
uint64_t softfp_sqrt64(uint64_t a, unsigned rm, uint32_t *flags)
{
    return square_root(F64, a, rm, flags);
}
uint32_t softfp_fma32(uint32_t a, uint32_t b, uint32_t c, unsigned rm, uint32_t *flags)
{
    return (uint32_t)fused(F32, a, b, c, rm, flags);
}
uint64_t softfp_fma64(uint64_t a, uint64_t b, uint64_t c, unsigned rm, uint32_t *flags)
{
    return fused(F64, a, b, c, rm, flags);
}

#define COMPARE(bits, f)                                                                 \
    uint##bits##_t softfp_min##bits(uint##bits##_t a, uint##bits##_t b, uint32_t *flags) \
    {                                                                                    \
        return (uint##bits##_t)pick(f, a, b, false, flags);                              \
    }                                                                                    \
    uint##bits##_t softfp_max##bits(uint##bits##_t a, uint##bits##_t b, uint32_t *flags) \
    {                                                                                    \
        return (uint##bits##_t)pick(f, a, b, true, flags);                               \
    }                                                                                    \
    bool softfp_eq##bits(uint##bits##_t a, uint##bits##_t b, uint32_t *flags)            \
    {                                                                                    \
        return !either_nan(f, a, b, true, flags) && equal(f, a, b);                      \
    }                                                                                    \
    bool softfp_lt##bits(uint##bits##_t a, uint##bits##_t b, uint32_t *flags)            \
    {                                                                                    \
        return !either_nan(f, a, b, false, flags) && below(f, a, b);                     \
    }                                                                                    \
    bool softfp_le##bits(uint##bits##_t a, uint##bits##_t b, uint32_t *flags)            \
    {                                                                                    \
        return !either_nan(f, a, b, false, flags) && !below(f, b, a);                    \
    }                                                                                    \
    unsigned softfp_class##bits(uint##bits##_t a)                                        \
    {                                                                                    \
        return classify(f, a);                                                           \
    }
COMPARE(32, F32)
COMPARE(64, F64)

#define INTEGERS(bits, f)                                                                        \
    int32_t softfp_to_i32_##bits(uint##bits##_t a, unsigned rm, uint32_t *flags)                 \
    {                                                                                            \
        return (int32_t)(uint32_t)to_integer(f, a, 1ull << 31, INT32_MAX, rm, flags);            \
    }                                                                                            \
    uint32_t softfp_to_u32_##bits(uint##bits##_t a, unsigned rm, uint32_t *flags)                \
    {                                                                                            \
        return (uint32_t)to_integer(f, a, 0, UINT32_MAX, rm, flags);                             \
    }                                                                                            \
    int64_t softfp_to_i64_##bits(uint##bits##_t a, unsigned rm, uint32_t *flags)                 \
    {                                                                                            \
        return (int64_t)to_integer(f, a, 1ull << 63, INT64_MAX, rm, flags);                      \
    }                                                                                            \
    uint64_t softfp_to_u64_##bits(uint##bits##_t a, unsigned rm, uint32_t *flags)                \
    {                                                                                            \
        return to_integer(f, a, 0, UINT64_MAX, rm, flags);                                       \
    }                                                                                            \
    uint##bits##_t softfp_from_i64_##bits(int64_t x, unsigned rm, uint32_t *flags)               \
    {                                                                                            \
        return (uint##bits##_t)from_integer(f, x < 0, x < 0 ? 0 - (uint64_t)x : (uint64_t)x, rm, \
                                            flags);                                              \
    }                                                                                            \
    uint##bits##_t softfp_from_u64_##bits(uint64_t x, unsigned rm, uint32_t *flags)              \
    {                                                                                            \
        return (uint##bits##_t)from_integer(f, false, x, rm, flags);                             \
    }
INTEGERS(32, F32)
INTEGERS(64, F64)

uint64_t softfp_widen(uint32_t a, uint32_t *flags)
{
    return convert(F32, F64, a, SOFTFP_RNE, flags);
}
uint32_t softfp_narrow(uint64_t a, unsigned rm, uint32_t *flags)
{
    return (uint32_t)convert(F64, F32, a, rm, flags);
}
