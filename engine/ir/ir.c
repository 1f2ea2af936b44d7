#include "engine/ir/traits.h"

#include <stdarg.h>
#include <stdio.h>

const char *const ir_names[IR_OPCODE_COUNT] = {
#define IR_OP(name, text, shape, traits) [IR_##name] = text,
#include "engine/ir/ir.def"
#undef IR_OP
};

const char *const ir_shapes[IR_OPCODE_COUNT] = {
#define IR_OP(name, text, shape, traits) [IR_##name] = shape,
#include "engine/ir/ir.def"
#undef IR_OP
};

const uint16_t ir_traits[IR_OPCODE_COUNT] = {
#define IR_OP(name, text, shape, traits) [IR_##name] = traits,
#include "engine/ir/ir.def"
#undef IR_OP
};

/* What an operand can be, and what each letter of a shape allows. */
enum { GPR = 1, FPR = 2, ZERO = 4, IMM = 8, NONE = 16, ALIEN = 32 };

static const uint8_t operand_class[256] = {
    [0 ... IR_F0 - 1] = GPR,
    [IR_F0... IR_REG_COUNT - 1] = FPR,
    [IR_REG_COUNT... IR_ZERO - 1] = ALIEN,
    [IR_ZERO] = ZERO,
    [IR_IMM] = IMM,
    [IR_NONE] = NONE,
};

#define ALLOWED(c)                                                           \
    ((c) == 'r'                 ? GPR                                        \
     : (c) == 'f'               ? FPR                                        \
     : (c) == 'v'               ? GPR | ZERO                                 \
     : (c) == 'i'               ? GPR | ZERO | IMM                           \
     : (c) == 'o' || (c) == 'x' ? GPR | NONE /* an index, if there is one */ \
                                : NONE)
/* Of all four operands, dst lowest. */
#define FOUR(d, a, b, c) \
    ((uint32_t)(d) | (uint32_t)(a) << 6 | (uint32_t)(b) << 12 | (uint32_t)(c) << 18)
#define BYTES(n) (1u << (n))

/* The shapes, as each block that is translated is held to them. */
static const struct {
    uint32_t classes; /* that fit, as FOUR() */
    uint16_t sizes;   /* bit n: n bytes */
} rules[IR_OPCODE_COUNT] = {
#define IR_OP(name, text, shape, traits)                                                           \
    [IR_##name] = {                                                                                \
        FOUR(ALLOWED(shape[0]), ALLOWED(shape[1]), ALLOWED(shape[2]), ALLOWED(shape[3])),          \
        IR_##name == IR_LD || IR_##name == IR_ST       ? BYTES(1) | BYTES(2) | BYTES(4) | BYTES(8) \
        : IR_##name == IR_SEXT || IR_##name == IR_ZEXT ? BYTES(1) | BYTES(2) | BYTES(4)            \
        : __builtin_strchr(&shape[4], 's') != NULL     ? BYTES(4) | BYTES(8)                       \
                                                       : UINT16_MAX},
#include "engine/ir/ir.def"
#undef IR_OP
};

static const char *op_check(const struct ir_op *o)
{
    if (o->op >= IR_OPCODE_COUNT)
        return "no such op";
    if (FOUR(operand_class[o->dst], operand_class[o->a], operand_class[o->b], operand_class[o->c]) &
        ~rules[o->op].classes)
        return "an operand does not fit the op";
    if (o->size > 15 || !(rules[o->op].sizes & BYTES(o->size)))
        return "size";
    if (o->b == IR_IMM) {
        if (o->imm != (int32_t)o->imm)
            return "an immediate operand beyond 32 bits";
        if (o->op >= IR_SHL && o->op <= IR_ROR && (uint64_t)o->imm >= o->size * 8u)
            return "a shift beyond the width";
    }
    if (o->op == IR_ROR && o->b != IR_IMM)
        return "a rotation by a register";
    if (o->op == IR_SHADD && (o->kind < 1 || o->kind > 3))
        return "kind of shadd";
    if ((o->scale | o->rm) && (o->scale > 3 || (o->rm > IR_RM_RMM && o->rm != IR_RM_DYN)))
        return "scale or rounding mode";
    return NULL;
}

const char *ir_verify(const struct ir_block *b, unsigned *at)
{
    for (unsigned i = 0; i < b->count; i++) {
        const char *why = op_check(&b->ops[i]);
        if (!why &&
            (b->ops[i].op >= IR_JUMP) != (i + 1 == b->count)) /* the ends are the last opcodes */
            why = "the end is not at the end";
        if (why) {
            *at = i;
            return why;
        }
    }
    *at = 0;
    return b->count ? NULL : "empty";
}

struct text {
    char *buf;
    size_t n, len;
};

static __attribute__((format(printf, 2, 3))) void put(struct text *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    size_t room = t->len < t->n ? t->n - t->len : 0;
    int k = vsnprintf(room ? t->buf + t->len : NULL, room, fmt, ap);
    va_end(ap);
    t->len += k > 0 ? (size_t)k : 0;
}

static void put_operand(struct text *t, const char *sep, uint8_t x, int64_t imm)
{
    if (x < IR_F0)
        put(t, "%sr%u", sep, x);
    else if (x < IR_REG_COUNT)
        put(t, "%sf%u", sep, x - IR_F0);
    else if (x == IR_ZERO)
        put(t, "%s0", sep);
    else if (x == IR_IMM)
        put(t, "%s#%lld", sep, (long long)imm);
    else
        put(t, "%s-", sep);
}

static void put_op(struct text *t, const struct ir_block *b, const struct ir_op *o)
{
    const char *shape = ir_shapes[o->op];
    put(t, "%06llx  %s", (unsigned long long)(b->pc + (uint64_t)(int64_t)o->pc_off),
        ir_names[o->op]);
    for (const char *s = shape + 4; *s; s++) {
        if (*s == 's')
            put(t, ".%u", o->size);
        else if (*s == 'k')
            put(t, ".k%u", o->kind);
        else if (*s == 'm')
            put(t, ".rm%u", o->rm);
    }
    const uint8_t ops[4] = {o->dst, o->a, o->b, o->c};
    const char *sep = " ";
    for (unsigned i = 0; i < 4; i++) {
        if (shape[i] == '.' || (shape[i] == 'x' && ops[i] == IR_NONE))
            continue;
        put_operand(t, sep, ops[i], o->imm);
        if (shape[i] == 'x')
            put(t, "<<%u", o->scale);
        sep = ", ";
    }
    if (strchr(shape + 4, '#') && o->b != IR_IMM)
        put(t, "%s0x%llx", sep, (unsigned long long)o->imm);
    put(t, "\n");
}

size_t ir_print(const struct ir_block *b, char *buf, size_t n)
{
    struct text t = {buf, n, 0};
    if (n)
        buf[0] = 0;
    for (unsigned i = 0; i < b->count; i++)
        put_op(&t, b, &b->ops[i]);
    return t.len;
}
