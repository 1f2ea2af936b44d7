/*
 * virtualizability/formal.h - the third-generation machine of Popek and Goldberg (1974), as one can run it.
 *
 * Looks into: base.  Used by: asm, monitor, diverge here; vmctl; the tests.
 *
 * The state is <E,M,P,R>: q cells of 64 bits, the mode, the program counter, and R = (l,b), through which every reference of
 * either mode goes. There are no registers, no condition codes, no interrupts and no I/O: whatever instructions say to each
 * other, they say in cells. A PSW is one word: M<<48 | P<<32 | l<<16 | b; what is above bit 48 is ignored.
 *
 * Rules, verified by pg_formal_check():
 *  (1) 2 <= q <= 65535, so that (0,q) is a value of R.
 *  (2) M is 0 (supervisor) or 1 (user); P, l and b have 16 bits.
 *  (3) Address a means cell l+a, and is valid iff a < b and a+l < q. (The paper is not of one mind about b; this is the
 *      reading in which b is a size and all of memory is (0,q).) An invalid address traps.
 *  (4) A trap stores the PSW, with the P of the instruction that trapped, in absolute cell 0 and loads the PSW from absolute
 *      cell 1. An instruction that traps has done nothing else: operands are checked before anything is written.
 *  (5) In user mode the privileged instructions trap; the others never look at M or at l, but for RETU and LRA, which the
 *      machine's variant has to allow.
 *
 * Life:   init -> run* -> fini.  Thread: one at a time per machine.
 */
#ifndef VIRTUALIZABILITY_FORMAL_H
#define VIRTUALIZABILITY_FORMAL_H

#include "engine/base/base.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"

#define PG_FORMAL_CELLS_MAX 65535u

enum pg_formal_op {
#define PG_OP(name, number, ...) PG_OP_##name = number,
#include "engine/virtualizability/formal.def"
#undef PG_OP
    PG_OP_COUNT
};

enum pg_variant {
    PG_VARIANT_PG,   /* every sensitive instruction is privileged */
    PG_VARIANT_RETU, /* with RETU, the PDP-10's JRST 1: control-sensitive, and no trap in user mode */
    PG_VARIANT_LRA, /* with an LRA that does not trap: location-sensitive */
    PG_VARIANT_COUNT
};
/* "pg", "pg-retu", "pg-lra". */
const char *pg_variant_name(enum pg_variant v);
/* false: no such variant. */
bool pg_variant_find(const char *name, size_t len, enum pg_variant *out);

enum { PG_MODE_S = 0, PG_MODE_U = 1 };

struct pg_psw {
    uint32_t m, p, l, b;
};
static inline uint64_t pg_psw_pack(struct pg_psw w)
{
    return (uint64_t)w.m << 48 | (uint64_t)w.p << 32 | (uint64_t)w.l << 16 | w.b;
}
static inline struct pg_psw pg_psw_unpack(uint64_t w)
{
    return (struct pg_psw){w >> 48 & 1, w >> 32 & 0xffff, w >> 16 & 0xffff, w & 0xffff};
}

struct pg_formal {
    uint64_t *cells;
    uint32_t q;
    enum pg_variant variant;
    struct pg_psw psw;
    bool halted;

    /* Counted since init; `direct` only where the relocation base was at least direct_from. */
    uint64_t instructions, traps; /* completed ones; a HALT counts once */
    uint64_t direct;
    uint32_t direct_from;
};

/* q cells of zero, supervisor mode, P = 2, R = (0,q). Fails: ERR_INVALID (rule 1), ERR_NO_MEMORY. */
res_t pg_formal_init(struct pg_formal *m, enum pg_variant variant, uint32_t q, struct err *err);
void pg_formal_fini(struct pg_formal *m);
/* Rules 1 and 2. */
bool pg_formal_check(const struct pg_formal *m);

/*
 * Go on until HALT, or until `limit` instructions and traps are over; true: halted (now or before).
 *
 * Cost:   3 ns or so for an instruction; nothing is allocated.
 */
bool pg_formal_run(struct pg_formal *m, uint64_t limit);

/* Is a an address under w in a machine of q cells? (rule 3) */
static inline bool pg_formal_valid(struct pg_psw w, uint32_t q, uint64_t a)
{
    return a < w.b && a + w.l < q;
}

/* ---- disasm.c: instructions as text ---- */

struct pg_op_info {
    const char *name, *operands, *meaning;
    bool privileged;
};
/* NULL: no instruction has this number. */
const struct pg_op_info *pg_op_info(uint32_t op);
/* One line without newline, such that the assembler makes the same word of it: ".word 0x..." where it is no instruction. */
void pg_disasm(uint64_t word, struct buf *out);

#endif
