/*
 * Random guests of the formal machine, for test_monitor.c and tests/bench/bench_isa.c. Three in four are an operating system of
 * a kind: random code, and a trap handler that enters it again through one random PSW after the other and halts in the end,
 * unless the code has spoiled it; often a few cells are spoiled from the start. The fourth is noise: code, PSWs and numbers
 * mixed.
 */
#ifndef RANDOM_GUEST_H
#define RANDOM_GUEST_H

#include "engine/virtualizability/monitor.h"

#define RANDOM_CELLS 48
/* Instructions and traps after which a guest on the bare machine counts as one that does not halt. */
#define RANDOM_EVENTS 400

static inline uint64_t random_next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed * UINT64_C(0x2545f4914f6cdd1d);
}
static inline uint32_t random_below(uint64_t *seed, uint32_t n)
{
    return (uint32_t)((random_next(seed) >> 32) % n);
}

/* Mostly an address that exists; now and then one at the edge or far away. */
static inline uint32_t random_address(uint64_t *seed)
{
    uint32_t kind = random_below(seed, 40);
    return kind == 0   ? random_below(seed, 65536)
           : kind == 1 ? 65535 - random_below(seed, 3)
           : kind < 4  ? RANDOM_CELLS - 1 + random_below(seed, 3)
                       : random_below(seed, RANDOM_CELLS);
}

/* The parts of a guest that is no noise. */
enum {
    RANDOM_CODE = 2,
    RANDOM_HANDLER = 26,
    RANDOM_DATA = 34,
    RANDOM_COUNT = 40,
    RANDOM_TABLE = 44
};

/* Mostly one that goes on in the code, seen from some base. */
static inline uint64_t random_psw(uint64_t *seed)
{
    uint32_t to = RANDOM_CODE + random_below(seed, RANDOM_HANDLER - RANDOM_CODE);
    struct pg_psw w = {random_below(seed, 2), to, 0, RANDOM_CELLS};
    if (random_below(seed, 2)) {
        w.l = random_below(seed, to + 1);
        w.p = to - w.l;
    }
    if (random_below(seed, 3) == 0)
        w.b = random_below(seed, 6) ? random_below(seed, RANDOM_CELLS + 4) : random_address(seed);
    if (random_below(seed, 16) == 0)
        w.l = random_address(seed);
    return pg_psw_pack(w);
}

/* An operand: mostly in the data. */
static inline uint64_t random_operand(uint64_t *seed)
{
    return random_below(seed, 3) ? RANDOM_DATA + random_below(seed, RANDOM_CELLS - RANDOM_DATA)
                                 : random_address(seed);
}

static inline uint64_t random_instruction(uint64_t *seed)
{
    /* More of what makes a difference. */
    static const uint8_t extra[] = {PG_OP_LPSW, PG_OP_LRB, PG_OP_SPSW, PG_OP_SPSW, PG_OP_RETU,
                                    PG_OP_LRA,  PG_OP_MOV, PG_OP_ADD,  PG_OP_LIT,  PG_OP_JLT};
    uint32_t n = random_below(seed, PG_OP_COUNT + 1 + (uint32_t)sizeof extra);
    uint64_t op = n <= PG_OP_COUNT ? n : extra[n - PG_OP_COUNT - 1];
    uint64_t a = random_operand(seed), b = random_operand(seed), c = random_operand(seed);
    uint64_t to = RANDOM_CODE + random_below(seed, RANDOM_HANDLER);
    if (op == PG_OP_LIT)
        b = 0, c = random_below(seed, 64);
    if (op == PG_OP_JMP || op == PG_OP_RETU)
        a = to;
    if (op == PG_OP_JZ)
        b = to;
    if (op == PG_OP_JLT)
        c = to;
    return op << 48 | a << 32 | b << 16 | c;
}

static inline uint64_t random_cell(uint64_t *seed)
{
    uint32_t kind = random_below(seed, 10);
    return kind < 6   ? random_instruction(seed)
           : kind < 8 ? random_psw(seed)
           : kind < 9 ? random_below(seed, 64)
                      : random_next(seed);
}

static inline void random_handler(uint64_t *e, uint64_t *seed)
{
    const uint64_t h = RANDOM_HANDLER, left = RANDOM_COUNT, one = left + 1, psw = left + 2,
                   next = left + 3;
    e[1] = pg_psw_pack((struct pg_psw){PG_MODE_S, (uint32_t)h, 0, RANDOM_CELLS});
    e[h] = (uint64_t)PG_OP_SUB << 48 | left << 32 | left << 16 | one;
    e[h + 1] = (uint64_t)PG_OP_JZ << 48 | left << 32 | (h + 5) << 16;
    e[h + 2] = (uint64_t)PG_OP_LDI << 48 | psw << 32 | next << 16;
    e[h + 3] = (uint64_t)PG_OP_ADD << 48 | next << 32 | next << 16 | one;
    e[h + 4] = (uint64_t)PG_OP_LPSW << 48 | psw << 32;
    e[h + 5] = (uint64_t)PG_OP_HALT << 48;
    e[left] = 1 + random_below(seed, 6);
    e[one] = 1;
    e[next] = RANDOM_TABLE;
    for (uint32_t i = RANDOM_TABLE; i < RANDOM_CELLS; i++)
        e[i] = random_psw(seed);
}

/* m has RANDOM_CELLS cells; it is as after pg_formal_init otherwise. */
static inline void random_guest(struct pg_formal *m, uint64_t *seed)
{
    bool noise = random_below(seed, 4) == 0;
    for (uint32_t i = 0; i < m->q; i++)
        m->cells[i] = noise || i >= RANDOM_HANDLER ? random_cell(seed) : random_instruction(seed);
    if (!noise)
        random_handler(m->cells, seed);
    for (uint32_t spoiled = noise ? 0 : random_below(seed, 3); spoiled; spoiled--)
        m->cells[random_below(seed, m->q)] = random_cell(seed);
    m->psw = (struct pg_psw){PG_MODE_S, RANDOM_CODE, 0, RANDOM_CELLS};
    if (random_below(seed, 2))
        m->psw = pg_psw_unpack(random_psw(seed));
    m->halted = false;
    m->instructions = m->traps = m->direct = 0;
}

struct random_figures {
    uint64_t halting, skipped, equal, different;
    uint64_t bare_instructions, instructions, traps, direct; /* of the equal ones */
};

/*
 * Until `count` guests have halted on the bare machine: run each at the depth and compare. A guest that halts on the bare
 * machine and not, in any number of instructions a right monitor could need, on the virtual one is different.
 */
static inline res_code_t random_compare(enum pg_monitor_kind kind, enum pg_variant variant,
                                        unsigned depth, uint64_t count, uint64_t seed,
                                        struct random_figures *out, struct err *err)
{
    struct pg_nest n;
    struct pg_formal start, bare;
    *out = (struct random_figures){0};
    if (pg_nest_init(&n, kind, variant, RANDOM_CELLS, depth, err) ||
        pg_formal_init(&start, variant, RANDOM_CELLS, err) ||
        pg_formal_init(&bare, variant, RANDOM_CELLS, err))
        return FAIL;
    while (out->halting < count) {
        random_guest(&start, &seed);
        for (uint32_t i = 0; i < start.q; i++)
            bare.cells[i] = start.cells[i];
        bare.psw = start.psw;
        bare.halted = false;
        bare.instructions = bare.traps = 0;
        if (!pg_formal_run(&bare, RANDOM_EVENTS)) {
            out->skipped++;
            continue;
        }
        out->halting++;
        pg_nest_load(&n, &start);
        struct pg_formal *m = pg_nest_machine(&n);
        if (!pg_formal_run(m, pg_nest_enough(&n, bare.instructions + bare.traps)) ||
            !pg_formal_equal(&bare, pg_nest_guest(&n), NULL)) {
            out->different++;
            continue;
        }
        out->equal++;
        out->bare_instructions += bare.instructions;
        out->instructions += m->instructions;
        out->traps += m->traps;
        out->direct += m->direct;
    }
    pg_formal_fini(&bare);
    pg_formal_fini(&start);
    pg_nest_fini(&n);
    return OK;
}

#endif
