#include "engine/virtualizability/formal.h"

#include <stdlib.h>
#include <string.h>

static const char *const variant_names[PG_VARIANT_COUNT] = {"pg", "pg-retu", "pg-lra"};

const char *pg_variant_name(enum pg_variant v)
{
    return variant_names[v];
}

bool pg_variant_find(const char *name, size_t len, enum pg_variant *out)
{
    for (unsigned v = 0; v < PG_VARIANT_COUNT; v++)
        if (strlen(variant_names[v]) == len && !memcmp(variant_names[v], name, len)) {
            *out = v;
            return true;
        }
    return false;
}

res_t pg_formal_init(struct pg_formal *m, enum pg_variant variant, uint32_t q, struct err *err)
{
    if (q < 2 || q > PG_FORMAL_CELLS_MAX)
        return err_set(err, ERR_INVALID, "a machine of %u cells: 2 to %u were expected", q,
                       PG_FORMAL_CELLS_MAX);
    uint64_t *cells = calloc(q, sizeof *cells);
    if (!cells)
        return err_set(err, ERR_NO_MEMORY, "no memory for a machine of %u cells", q);
    *m = (struct pg_formal){.cells = cells,
                            .q = q,
                            .variant = variant,
                            .psw = {.m = PG_MODE_S, .p = 2, .l = 0, .b = q}};
    return OK;
}

void pg_formal_fini(struct pg_formal *m)
{
    free(m->cells);
    m->cells = NULL;
}

bool pg_formal_check(const struct pg_formal *m)
{
    return m->cells && m->q >= 2 && m->q <= PG_FORMAL_CELLS_MAX && m->variant < PG_VARIANT_COUNT &&
           m->psw.m <= 1 && m->psw.p <= 0xffff && m->psw.l <= 0xffff && m->psw.b <= 0xffff;
}

/* How many addresses are valid under w (rule 3): one comparison checks an operand. */
static inline uint32_t valid_count(struct pg_psw w, uint32_t q)
{
    uint32_t room = w.l < q ? q - w.l : 0;
    return MIN(w.b, room);
}

#define NEED(x)                 \
    if (unlikely((x) >= valid)) \
    goto trap
/* [a] = value of the operands b and c */
#define BINARY(value) \
    NEED(a);          \
    NEED(b);          \
    NEED(c);          \
    at[a] = (value);  \
    psw.p++;          \
    continue

enum outcome { TRAP, NEXT, MOVED, STOP }; /* MOVED: R is another */

/* The instructions that know of M and R, and whatever is none. */
static enum outcome system_op(const struct pg_formal *m, struct pg_psw *psw, uint64_t *at,
                              uint32_t valid, uint64_t word)
{
    uint32_t op = (uint32_t)(word >> 48), a = word >> 32 & 0xffff, b = word >> 16 & 0xffff;
    if (op >= PG_OP_LPSW && op <= PG_OP_HALT && psw->m != PG_MODE_S)
        return TRAP;
    switch (op) {
    case PG_OP_LPSW:
        NEED(a);
        *psw = pg_psw_unpack(at[a]);
        return MOVED;
    case PG_OP_LRB:
        NEED(a);
        psw->l = at[a] >> 16 & 0xffff;
        psw->b = at[a] & 0xffff;
        psw->p++;
        return MOVED;
    case PG_OP_SPSW:
        NEED(a);
        at[a] = pg_psw_pack(*psw);
        psw->p++;
        return NEXT;
    case PG_OP_HALT:
        return STOP;
    case PG_OP_RETU:
        if (m->variant != PG_VARIANT_RETU)
            return TRAP;
        psw->m = PG_MODE_U;
        psw->p = a;
        return NEXT;
    case PG_OP_LRA:
        if (m->variant != PG_VARIANT_LRA)
            return TRAP;
        NEED(a);
        at[a] = (uint64_t)b + psw->l;
        psw->p++;
        return NEXT;
    default:
        return TRAP;
    }
trap:
    return TRAP;
}

/* What a run has done since R was last changed. */
static void account(struct pg_formal *m, uint32_t l, uint64_t instructions)
{
    m->instructions += instructions;
    if (l >= m->direct_from)
        m->direct += instructions;
}

/* Memory as it looks through R. */
#define LOOK() (valid = valid_count(psw, q), at = m->cells + (valid ? psw.l : 0), left_then = left)

bool pg_formal_run(struct pg_formal *m, uint64_t limit)
{
    const uint32_t q = m->q;
    struct pg_psw psw = m->psw;
    uint64_t left = limit, left_then, *at;
    uint32_t valid, l;
    if (m->halted)
        return true;
    LOOK();
    while (left) {
        left--;
        if (unlikely(psw.p >= valid))
            goto trap;
        uint64_t word = at[psw.p];
        uint32_t a = word >> 32 & 0xffff, b = word >> 16 & 0xffff, c = word & 0xffff;
        switch (word >> 48) {
        case PG_OP_MOV:
            NEED(a);
            NEED(b);
            at[a] = at[b];
            psw.p++;
            continue;
        case PG_OP_LIT:
            NEED(a);
            at[a] = word & UINT32_MAX;
            psw.p++;
            continue;
        case PG_OP_ADD:
            BINARY(at[b] + at[c]);
        case PG_OP_SUB:
            BINARY(at[b] - at[c]);
        case PG_OP_AND:
            BINARY(at[b] & at[c]);
        case PG_OP_SHL:
            BINARY(at[b] << (at[c] & 63));
        case PG_OP_SHR:
            BINARY(at[b] >> (at[c] & 63));
        case PG_OP_LDI:
            NEED(a);
            NEED(b);
            NEED(at[b]);
            at[a] = at[at[b]];
            psw.p++;
            continue;
        case PG_OP_STI:
            NEED(a);
            NEED(b);
            NEED(at[a]);
            at[at[a]] = at[b];
            psw.p++;
            continue;
        case PG_OP_JMP:
            psw.p = a;
            continue;
        case PG_OP_JZ:
            NEED(a);
            psw.p = at[a] ? psw.p + 1 : b;
            continue;
        case PG_OP_JLT:
            NEED(a);
            NEED(b);
            psw.p = at[a] < at[b] ? c : psw.p + 1;
            continue;
        case PG_OP_JMI:
            NEED(a);
            psw.p = at[a] & 0xffff;
            continue;
        default:
            break;
        }
        l = psw.l;
        switch (system_op(m, &psw, at, valid, word)) {
        case NEXT:
            continue;
        case MOVED:
            account(m, l, left_then - left);
            LOOK();
            continue;
        case STOP:
            m->halted = true;
            goto out;
        case TRAP:
            break;
        }
    trap: /* rule 4 */
        account(m, psw.l, left_then - left - 1);
        m->traps++;
        m->cells[0] = pg_psw_pack(psw);
        psw = pg_psw_unpack(m->cells[1]);
        LOOK();
    }
out:
    account(m, psw.l, left_then - left);
    m->psw = psw;
    return m->halted;
}
