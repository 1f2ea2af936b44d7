#include "engine/virtualizability/formal.h"

#include <inttypes.h>
#include <string.h>

static const struct pg_op_info ops[PG_OP_COUNT] = {
#define PG_OP(name, number, text, operands, privileged, meaning) \
    [PG_OP_##name] = {text, operands, meaning, privileged},
#include "engine/virtualizability/formal.def"
#undef PG_OP
};

const struct pg_op_info *pg_op_info(uint32_t op)
{
    return op < PG_OP_COUNT ? &ops[op] : NULL;
}

/* The bits of a word that the operands of an instruction fill. */
static uint64_t filled(const char *operands)
{
    uint64_t mask = 0;
    for (; *operands; operands++)
        switch (*operands) {
        case 'a':
        case 'n':
            mask |= UINT64_C(0xffff) << 32;
            break;
        case 'b':
            mask |= UINT64_C(0xffff) << 16;
            break;
        case 'c':
            mask |= 0xffff;
            break;
        default:
            mask |= UINT32_MAX;
        }
    return mask;
}

void pg_disasm(uint64_t word, struct buf *out)
{
    const struct pg_op_info *op = pg_op_info((uint32_t)(word >> 48));
    uint64_t fields = word & UINT64_C(0xffffffffffff);
    if (!op || (fields & ~filled(op->operands))) {
        buf_printf(out, ".word 0x%" PRIx64, word);
        return;
    }
    buf_printf(out, "%s", op->name);
    if (!strcmp(op->operands, "n") && !fields)
        return;
    for (const char *o = op->operands; *o; o++) {
        uint64_t v = *o == 'a' || *o == 'n' ? word >> 32 & 0xffff
                     : *o == 'b'            ? word >> 16 & 0xffff
                     : *o == 'c'            ? word & 0xffff
                                            : word & UINT32_MAX;
        buf_printf(out, "%s%" PRIu64, o == op->operands ? " " : ", ", v);
    }
}
