/*
 * virtualizability/monitor.h - virtual machines of the formal machine: the monitor of the paper's proof, the VM map, nesting.
 *
 * Looks into: base.  Used by: diverge here, vmctl, the tests.
 *
 * The monitors are programs of the machine itself, etc/isa/pg/vmm.pg and hybrid.pg, built into the library and assembled for
 * the size of each level. A monitor occupies the first k cells of its machine, its guest the next w; some cells are left over behind
 * it, which are nobody's, so that a guest that reached behind its window would be found out.
 *
 * f, the map from a machine of w cells to one of k + w + PG_MONITOR_SPARE:
 *     E'[0..k) the monitor, with the guest's PSW in its cells vm, vp, vl, vb;  E'[i+k] = E[i];
 *     M' = u, P' = P, R' = (l+k, min(b, w-l)), or (k, 0) if l >= w;
 *     under the hybrid monitor, with M = s: M' = s, P' the interpreter, R' = (0, q')
 * g, its inverse on the states in which a monitor runs, is what states are compared through when a machine has halted.
 *
 * Rules:
 *  (1) A monitor executes one privileged instruction for each trap, the LPSW that goes on with the guest (or HALT), and
 *      never more than 2k instructions for a trap or for an instruction it interprets.
 *  (2) g(f(S)) = S.
 * Thread: one at a time per nest.
 */
#ifndef VIRTUALIZABILITY_MONITOR_H
#define VIRTUALIZABILITY_MONITOR_H

#include "engine/virtualizability/asm.h"

#define PG_MONITOR_SPARE 8u

enum pg_monitor_kind { PG_MONITOR_BUILTIN, PG_MONITOR_HYBRID, PG_MONITOR_KIND_COUNT };
/* "builtin", "hybrid". */
const char *pg_monitor_name(enum pg_monitor_kind kind);
bool pg_monitor_find(const char *name, enum pg_monitor_kind *out);
/* The monitor's own source. */
const char *pg_monitor_source(enum pg_monitor_kind kind, size_t *len);

struct pg_monitor {
    enum pg_monitor_kind kind;
    struct pg_program image; /* image.q is the size of the machine it runs on */
    uint32_t k, w;
    uint32_t vm, vp, vl, vb; /* its cells */
    uint32_t interpret;      /* where the hybrid one interprets */
};
/* A monitor for guests of w cells. Fails: ERR_LIMIT if that is more than a machine can have, ERR_NO_MEMORY. */
res_t pg_monitor_init(struct pg_monitor *v, enum pg_monitor_kind kind, enum pg_variant variant,
                      uint32_t w, struct err *err);
void pg_monitor_fini(struct pg_monitor *v);
/* f: host has image.q cells, guest w. Counters of the host are cleared. */
void pg_monitor_map(const struct pg_monitor *v, const struct pg_formal *guest,
                    struct pg_formal *host);
/* g; host has halted in the monitor. */
void pg_monitor_unmap(const struct pg_monitor *v, const struct pg_formal *host,
                      struct pg_formal *guest);

/* ---- nesting: a guest, and monitors in monitors around it ---- */

#define PG_NEST_DEPTH_MAX 100

struct pg_nest {
    unsigned depth;
    struct pg_monitor *monitor; /* [depth], the guest's own first */
    struct pg_formal
        *level; /* [depth + 1]: the guest, then the machine of each monitor; the last one is real */
};
/* For guests of q cells. Depth 0 is the bare machine. Fails: ERR_LIMIT, ERR_NO_MEMORY. */
res_t pg_nest_init(struct pg_nest *n, enum pg_monitor_kind kind, enum pg_variant variant,
                   uint32_t q, unsigned depth, struct err *err);
void pg_nest_fini(struct pg_nest *n);
/* Set the real machine to f^depth of this state. Its `direct` counts the guest's own instructions. */
void pg_nest_load(struct pg_nest *n, const struct pg_formal *guest);
static inline struct pg_formal *pg_nest_machine(struct pg_nest *n)
{
    return &n->level[n->depth];
}
/* The real machine has halted: g^depth of its state. Valid until the next load. */
const struct pg_formal *pg_nest_guest(struct pg_nest *n);
/* So many events (instructions and traps) are enough for a guest that halts after `events` of them on the bare machine, if
 * its instruction set is virtualizable by this monitor (rule 1); at most UINT64_MAX. */
uint64_t pg_nest_enough(const struct pg_nest *n, uint64_t events);
/* Which monitor's cells (1: outermost) hold absolute cell `cell` of the real machine; 0: the guest's. *own is the cell's number
 * there. */
unsigned pg_nest_owner(const struct pg_nest *n, uint32_t cell, uint32_t *own);

/* ---- comparing ---- */

struct pg_difference {
    const char *what; /* "M", "P", "l", "b", "E" */
    uint32_t cell;    /* of E */
    uint64_t left, right;
    uint32_t count; /* how many parts of the state differ */
};
/* Two machines of one size; true: equal. `first` (may be NULL) is filled if not. */
bool pg_formal_equal(const struct pg_formal *a, const struct pg_formal *b,
                     struct pg_difference *first);

#endif
