/*
 * Random guests of the formal machine, for test_monitor.c and tests/bench/bench_isa.c: code, PSWs and small numbers mixed, in a
 * machine so small that they meet. About half of them halt.
 */
#ifndef RANDOM_GUEST_H
#define RANDOM_GUEST_H

#include "engine/virtualizability/monitor.h"

#define RANDOM_CELLS 32
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

static inline uint64_t random_psw(uint64_t *seed)
{
    struct pg_psw w = {random_below(seed, 2), random_below(seed, RANDOM_CELLS), 0, RANDOM_CELLS};
    if (random_below(seed, 2))
        w.l = random_below(seed, 8) ? random_below(seed, RANDOM_CELLS / 2) : random_address(seed);
    if (random_below(seed, 2))
        w.b = random_below(seed, 8) ? random_below(seed, RANDOM_CELLS + 4) : random_address(seed);
    return pg_psw_pack(w);
}

static inline uint64_t random_instruction(uint64_t *seed)
{
    /* More of what makes a difference, and HALT often enough. */
    static const uint8_t extra[] = {PG_OP_HALT, PG_OP_HALT, PG_OP_LPSW, PG_OP_LRB,
                                    PG_OP_SPSW, PG_OP_RETU, PG_OP_LRA};
    uint32_t n = random_below(seed, PG_OP_COUNT + 1 + (uint32_t)sizeof extra);
    uint64_t op = n <= PG_OP_COUNT ? n : extra[n - PG_OP_COUNT - 1];
    if (op == PG_OP_LIT)
        return op << 48 | (uint64_t)random_address(seed) << 32 | random_below(seed, 64);
    return op << 48 | (uint64_t)random_address(seed) << 32 | (uint64_t)random_address(seed) << 16 |
           random_address(seed);
}

/* m has RANDOM_CELLS cells; it is as after pg_formal_init otherwise. */
static inline void random_guest(struct pg_formal *m, uint64_t *seed)
{
    for (uint32_t i = 0; i < m->q; i++) {
        uint32_t kind = random_below(seed, 10);
        m->cells[i] = kind < 6   ? random_instruction(seed)
                      : kind < 8 ? random_psw(seed)
                      : kind < 9 ? random_below(seed, 64)
                                 : random_next(seed);
    }
    m->cells[1] = random_psw(seed);
    m->psw = random_below(seed, 4)
                 ? (struct pg_psw){PG_MODE_S, random_below(seed, RANDOM_CELLS), 0, RANDOM_CELLS}
                 : pg_psw_unpack(random_psw(seed));
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
