// links: engine/virtualizability engine/base
/* Arbitrary text as a program of the formal machine: assemble it; what assembles is run, bare and in a virtual machine, for a
 * bounded time, and compared if it halts; each of its words goes through the disassembler. */
#include "engine/base/base.h"
#include "engine/virtualizability/monitor.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EVENTS 2000
#define CELLS_SHOWN 256

static void check_words(const struct pg_formal *m)
{
    for (uint32_t i = 0; i < MIN(m->q, CELLS_SHOWN); i++) {
        struct buf text = {0};
        struct pg_program one;
        struct err err;
        pg_disasm(m->cells[i], &text);
        ASSERT(!text.failed);
        ASSERT(pg_asm("word", (const char *)text.data, text.len, NULL, 0, &one, &err) == OK);
        ASSERT(one.filled == 1 && one.cells[0] == m->cells[i]);
        pg_program_fini(&one);
        buf_fini(&text);
    }
}

static void check_run(const struct pg_program *p, struct pg_formal *start)
{
    struct pg_formal bare;
    struct pg_nest n;
    struct err err;
    if (pg_program_load(p, &bare, &err))
        return;
    bool halted = pg_formal_run(&bare, EVENTS);
    ASSERT(pg_formal_check(&bare) && bare.instructions + bare.traps <= EVENTS);
    if (halted && pg_nest_init(&n, PG_MONITOR_BUILTIN, p->variant, p->q, 1, &err) == OK) {
        pg_nest_load(&n, start);
        bool same = pg_formal_run(pg_nest_machine(&n),
                                  pg_nest_enough(&n, bare.instructions + bare.traps)) &&
                    pg_formal_equal(&bare, pg_nest_guest(&n), NULL);
        ASSERT(same || p->variant != PG_VARIANT_PG);
        pg_nest_fini(&n);
    }
    pg_formal_fini(&bare);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pg_program p;
    struct pg_formal start;
    struct err err = {0};
    if (pg_asm("fuzz.pg", (const char *)data, size, NULL, 0, &p, &err)) {
        ASSERT(err.code == ERR_LIMIT || !strncmp(err.text, "fuzz.pg:", 8));
        for (const char *c = err.text; *c; c++)
            ASSERT((unsigned char)*c >= 0x20 && (unsigned char)*c < 0x7f);
        return 0;
    }
    if (pg_program_load(&p, &start, &err) == OK) {
        check_words(&start);
        check_run(&p, &start);
        pg_formal_fini(&start);
    }
    pg_program_fini(&p);
    return 0;
}
