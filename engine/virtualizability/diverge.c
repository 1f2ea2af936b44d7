#include "engine/virtualizability/diverge.h"

#include "engine/base/base.h"
#include "engine/virtualizability/monitor.h"
#include "engine/virtualizability/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define EVENTS_MAX 1000

static bool variant_of(const struct pg_spec *spec, enum pg_variant *out)
{
    return pg_variant_find(spec->isa, strlen(spec->isa), out);
}

bool pg_diverge_applies(const struct pg_spec *spec)
{
    enum pg_variant v;
    return variant_of(spec, &v) && spec->pc >= 0 && spec->base >= 0 && spec->bound >= 0;
}

static const struct pg_op_info *op_of(const char *name)
{
    const struct pg_op_info *op;
    for (uint32_t i = 0; (op = pg_op_info(i)); i++)
        if (!strcasecmp(op->name, name))
            return op;
    return NULL;
}

/* ---- the witness as a program: what of it has to give way ---- */

/*
 * The state in which the instruction is run. It is the witness's as far as a program can be in it: the instruction has to be
 * somewhere inside the window, off the vector in cells 0 and 1 and off the cells it uses; behind it comes a cell of 0, which
 * traps.
 */
struct plan {
    struct pg_psw psw;
    uint64_t operands[PG_OPERANDS_MAX];
    uint32_t q;
    struct {
        uint32_t cell;
        uint64_t value;
    } mem[PG_MEM_MAX];
    uint32_t mem_count;
};

static bool taken(const struct plan *p, const struct pg_insn *insn, uint32_t address)
{
    uint32_t cell = p->psw.l + address;
    for (uint32_t i = 0; i < insn->operand_count; i++)
        if ((p->operands[i] & 0xffff) == address || (p->operands[i] & 0xffff) == address + 1)
            return true;
    for (uint32_t i = 0; i < p->mem_count; i++)
        if (p->mem[i].cell == cell || p->mem[i].cell == cell + 1)
            return true;
    return cell < 2;
}

static uint64_t reg(const struct pg_spec *spec, const struct pg_state *s, int index)
{
    return s->cells[spec->regs[index].first_cell];
}

/* false: no program of this shape. `shift` moves the window up; `small` makes addresses small. */
static bool make_plan(const struct pg_spec *spec, const struct pg_insn *insn,
                      const struct pg_witness *w, uint32_t shift, bool small, struct plan *p)
{
    const struct pg_state *s = &w->side[0].before;
    uint64_t l = reg(spec, s, spec->base), b = reg(spec, s, spec->bound),
             p0 = reg(spec, s, spec->pc);
    *p = (struct plan){.psw = {.m = w->side[0].mode == 0 ? PG_MODE_S : PG_MODE_U}};
    p->psw.l = (uint32_t)(small ? l % 64 : l) + shift;
    p->psw.b = (uint32_t)MAX(small ? b % 64 : b, 24u);
    p->psw.p = (uint32_t)(small ? p0 % 16 : p0);
    for (uint32_t i = 0; i < insn->operand_count; i++)
        p->operands[i] = small ? w->operands[i] % 16 : w->operands[i];
    for (uint32_t i = 0; i < s->mem_count; i++) {
        uint64_t a = s->mem[i].address - l; /* what is outside the window cannot matter */
        if (small || s->mem[i].space != PG_PHYS || a >= p->psw.b || a + p->psw.l < 2)
            continue;
        p->mem[p->mem_count].cell = (uint32_t)a + p->psw.l;
        p->mem[p->mem_count++].value = s->mem[i].value;
    }
    for (uint32_t tries = 0; p->psw.p >= p->psw.b || taken(p, insn, p->psw.p); tries++) {
        if (tries == 2 * p->psw.b)
            return false;
        p->psw.p = p->psw.p + 1 < p->psw.b ? p->psw.p + 1 : 0;
    }
    p->q = p->psw.l + p->psw.b + 1; /* the last cell is the handler's */
    return p->q <= PG_FORMAL_CELLS_MAX;
}

static void program(const struct plan *p, enum pg_variant variant, const struct pg_op_info *op,
                    const struct pg_insn *insn, struct buf *out)
{
    buf_printf(out, "        .variant %s\n        .size %u\n        .entry %c, %u, %u, %u\n\n",
               pg_variant_name(variant), p->q, p->psw.m == PG_MODE_S ? 's' : 'u', p->psw.p,
               p->psw.l, p->psw.b);
    buf_printf(
        out,
        "        .word 0                 ; E[0]: gets the PSW of the trap behind the instruction\n"
        "        .psw s, end, 0, %u\n\n",
        p->q);
    buf_printf(out, "        .org %u\n        %s", p->psw.l + p->psw.p, op->name);
    for (uint32_t i = 0; op->operands[i] && i < insn->operand_count; i++)
        buf_printf(out, "%s%" PRIu64, i ? ", " : " ",
                   p->operands[i] & (op->operands[i] == 'L' ? UINT32_MAX : 0xffff));
    buf_printf(out, "\n\n");
    for (uint32_t i = 0; i < p->mem_count; i++)
        buf_printf(out, "        .org %u\n        .word 0x%" PRIx64 "\n", p->mem[i].cell,
                   p->mem[i].value);
    buf_printf(out, "        .org %u\nend:    HALT\n", p->q - 1);
}

/* ---- does it differ? ---- */

/* OK and *differs: the program halts bare, and not in the same state, or not at all, in a virtual machine. */
static res_code_t try_run(const struct buf *text, bool *differs, struct pg_difference *d,
                          struct err *err)
{
    struct pg_program p;
    struct pg_formal start, bare;
    struct pg_nest n;
    *differs = false;
    *d = (struct pg_difference){0};
    if (pg_asm("diverge.pg", (const char *)text->data, text->len, NULL, 0, &p, err))
        return FAIL;
    res_code_t res = pg_program_load(&p, &start, err);
    if (!res && (res = pg_program_load(&p, &bare, err)))
        pg_formal_fini(&start);
    if (!res && (res = pg_nest_init(&n, PG_MONITOR_BUILTIN, p.variant, p.q, 1, err))) {
        pg_formal_fini(&start);
        pg_formal_fini(&bare);
    }
    if (!res) {
        bool halted = pg_formal_run(&bare, EVENTS_MAX);
        pg_nest_load(&n, &start);
        struct pg_formal *m = pg_nest_machine(&n);
        bool also = pg_formal_run(m, pg_nest_enough(&n, bare.instructions + bare.traps));
        *differs = halted && (!also || !pg_formal_equal(&bare, pg_nest_guest(&n), d));
        pg_nest_fini(&n);
        pg_formal_fini(&start);
        pg_formal_fini(&bare);
    }
    pg_program_fini(&p);
    return res;
}

/* ---- what is handed out ---- */

static void heading(const struct pg_analysis *a, const struct pg_insn *insn,
                    const struct pg_witness *w, const struct pg_difference *d, struct buf *out)
{
    struct buf state = {0};
    buf_printf(out,
               "; Made from the witness against %s of %s: a program that a monitor gets wrong.\n",
               insn->name, a->spec->isa);
    if (w->why)
        buf_printf(out, "; %s\n", w->why);
    buf_printf(out, ";\n; The witness:\n");
    pg_report_witness(a->spec, insn, w, 0, &state);
    for (size_t at = 0; at < state.len;) {
        const uint8_t *end = memchr(state.data + at, '\n', state.len - at);
        size_t len = end ? (size_t)(end - (state.data + at)) : state.len - at;
        buf_printf(out, ";     %.*s\n", (int)len, (const char *)state.data + at);
        at += len + 1;
    }
    out->failed = out->failed || state.failed;
    buf_fini(&state);
    buf_printf(
        out,
        ";\n; The program is in that state as far as one can be: its instruction is inside the "
        "window, beside the"
        "\n; trap vector and the cells it uses. Behind it comes a trap, and the handler halts.\n");
    if (d->count && d->what[0] == 'E')
        buf_printf(out,
                   "; At HALT E[%u] is 0x%" PRIx64 " on the bare machine and 0x%" PRIx64
                   " in a virtual one.\n",
                   d->cell, d->left, d->right);
    else if (d->count)
        buf_printf(out,
                   "; At HALT %s is 0x%" PRIx64 " on the bare machine and 0x%" PRIx64
                   " in a virtual one.\n",
                   d->what, d->left, d->right);
    else
        buf_printf(out, "; The bare machine halts, the virtual one does not.\n");
    buf_printf(out, ";\n;     vmctl isa run THIS-FILE --depth 1 --check\n\n");
}

/* One witness: the first shape whose program differs. */
static res_code_t from_witness(const struct pg_analysis *a, const struct pg_insn *insn,
                               const struct pg_witness *w, struct buf *out, bool *found,
                               struct err *err)
{
    static const uint32_t shifts[] = {0, 2, 8, 64};
    const struct pg_op_info *op = op_of(insn->name);
    enum pg_variant variant;
    *found = false;
    if (!op || !variant_of(a->spec, &variant))
        return OK;
    for (size_t i = 0; !*found && i < 2 * ARRAY_LEN(shifts); i++) {
        struct pg_difference d;
        struct buf text = {0};
        struct plan plan;
        if (!make_plan(a->spec, insn, w, shifts[i % ARRAY_LEN(shifts)], i >= ARRAY_LEN(shifts),
                       &plan))
            continue;
        program(&plan, variant, op, insn, &text);
        res_code_t res = text.failed ? err_set(err, ERR_NO_MEMORY, "no memory for a program")
                                     : try_run(&text, found, &d, err);
        if (!res && *found) {
            heading(a, insn, w, &d, out);
            buf_put(out, text.data, text.len);
        }
        buf_fini(&text);
        if (res && err->code != ERR_LIMIT) /* too large for a monitor beside it: the next shape */
            return FAIL;
    }
    return OK;
}

res_t pg_diverge_program(const struct pg_analysis *a, const struct pg_result *r, struct buf *out,
                         struct err *err)
{
    struct err own;
    bool found = false, some = false;
    if (!pg_diverge_applies(a->spec))
        return err_set(err, ERR_STATE,
                       "%s is not the formal machine: its guests cannot be run here", a->spec->isa);
    for (uint32_t m = 0; !found && m < a->spec->mode_count; m++) {
        const struct pg_witness *w = r->hole[m].witness;
        if (r->hole[m].answer != PG_YES || !w)
            continue;
        some = true;
        if (from_witness(a, r->insn, w, out, &found, &own))
            return err ? (*err = own, FAIL) : FAIL;
    }
    if (!found)
        return err_set(err, ERR_STATE,
                       some ? "%s of %s: no program made from its witnesses differs"
                            : "%s of %s has no hole",
                       r->insn->name, a->spec->isa);
    return out->failed ? err_set(err, ERR_NO_MEMORY, "no memory for the program") : OK;
}
