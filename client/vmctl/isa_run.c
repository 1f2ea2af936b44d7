/*
 * vmctl isa run: a guest of the formal machine, bare and under its monitor in monitor in monitor. Runs here, without the daemon.
 *
 * Exit codes: 0 equal (or nothing was compared), 1 differs, 2 usage, 3 the .pg file is wrong or does not fit, 4 it did not halt
 * within --steps, so that there was nothing to compare.
 */
#include "client/vmctl/ctl.h"

#include "engine/virtualizability/monitor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_EQUAL = 0, EXIT_DIFFERS = 1, EXIT_BAD_FILE = 3, EXIT_NO_HALT = 4 };

#define STEPS_DEFAULT UINT64_C(200000000)

struct job {
    const char *file;
    enum pg_monitor_kind kind;
    unsigned depth;
    bool check, trace;
    uint64_t steps;
    struct pg_program program;
    struct pg_formal start; /* the guest's machine before its first instruction */
    struct pg_formal bare;  /* and after its last */
};

/* ---- what was asked for ---- */

static res_code_t number(const struct ctl_args *a, enum ctl_opt opt, const char *name, uint64_t max,
                         uint64_t *out, struct err *err)
{
    const char *s = ctl_value(a, opt);
    char *end;
    if (!s)
        return OK;
    errno = 0;
    unsigned long long v = strtoull(s, &end, 10);
    if (s[0] < '0' || s[0] > '9' || *end || errno || v > max)
        return err_set(err, ERR_INVALID, "--%s %.60s: a number from 0 to %" PRIu64 " was expected",
                       name, s, max);
    *out = v;
    return OK;
}

static res_code_t options(const struct ctl_args *a, struct job *j, struct err *err)
{
    uint64_t depth = 1;
    const char *kind = ctl_value(a, OPT_VMM);
    j->file = a->pos[0];
    j->steps = STEPS_DEFAULT;
    j->check = ctl_has(a, OPT_CHECK);
    j->trace = ctl_has(a, OPT_TRACE);
    if (kind && !pg_monitor_find(kind, &j->kind))
        return err_set(err, ERR_INVALID, "--vmm %.60s: builtin or hybrid was expected", kind);
    if (number(a, OPT_DEPTH, "depth", PG_NEST_DEPTH_MAX, &depth, err) ||
        number(a, OPT_STEPS, "steps", UINT64_MAX, &j->steps, err))
        return FAIL;
    j->depth = (unsigned)depth;
    return OK;
}

static res_code_t read_file(const char *path, struct buf *out, struct err *err)
{
    FILE *f = fopen(path, "rbe");
    size_t n = 1;
    if (!f)
        return err_set_os(err, "%s", path);
    while (n && out->len <= PG_ASM_TEXT_MAX_BYTES && buf_reserve(out, 65536)) {
        n = fread(out->data + out->len, 1, 65536, f);
        out->len += n;
    }
    int failed = ferror(f);
    fclose(f);
    if (failed)
        return err_set(err, ERR_OS, "%s: cannot be read", path);
    return out->failed ? err_set(err, ERR_NO_MEMORY, "no memory for %s", path) : OK;
}

static res_code_t load(struct job *j, struct err *err)
{
    struct buf text = {0};
    res_code_t res = read_file(j->file, &text, err);
    if (!res)
        res = pg_asm(j->file, (const char *)text.data, text.len, NULL, 0, &j->program, err);
    buf_fini(&text);
    if (res || pg_program_load(&j->program, &j->start, err))
        return FAIL;
    return pg_program_load(&j->program, &j->bare, err);
}

/* ---- one line per instruction ---- */

/* Who owns absolute cell `cell`: "guest", "vmm" or, nested, "vmm1" (the outermost) and so on, and the label there. */
static void place(const struct job *j, const struct pg_nest *n, uint32_t cell, char *out,
                  size_t cap)
{
    uint32_t own, behind = 0;
    unsigned owner = pg_nest_owner(n, cell, &own);
    const struct pg_program *p = owner ? &n->monitor[n->depth - owner].image : &j->program;
    const char *label = pg_program_label(p, own, &behind);
    char who[16];
    snprintf(who, sizeof who, owner ? n->depth > 1 ? "vmm%u" : "vmm" : "guest", owner);
    if (!label)
        snprintf(out, cap, "%s %u", who, own);
    else if (behind)
        snprintf(out, cap, "%s %.40s+%u", who, label, behind);
    else
        snprintf(out, cap, "%s %.40s", who, label);
}

static void trace_line(const struct job *j, const struct pg_nest *n, const struct pg_formal *m)
{
    struct buf text = {0};
    struct pg_psw w = m->psw;
    char where[80];
    if (pg_formal_valid(w, m->q, w.p)) {
        pg_disasm(m->cells[w.p + w.l], &text);
        place(j, n, w.p + w.l, where, sizeof where);
    } else {
        buf_printf(&text, "(no cell: memory trap)");
        snprintf(where, sizeof where, "-");
    }
    printf("%8" PRIu64 "  %c P=%-5u R=(%u,%u)  %-22s %.*s", m->instructions + m->traps,
           w.m == PG_MODE_S ? 's' : 'u', w.p, w.l, w.b, where, (int)text.len,
           (const char *)text.data);
    buf_fini(&text);
}

static bool trace_run(const struct job *j, struct pg_nest *n, uint64_t limit)
{
    struct pg_formal *m = pg_nest_machine(n);
    for (; limit && !m->halted; limit--) {
        uint64_t traps = m->traps;
        trace_line(j, n, m);
        pg_formal_run(m, 1);
        puts(m->traps > traps ? "  -> trap" : "");
    }
    return m->halted;
}

/* ---- runs and what came of them ---- */

static void table_line(const struct job *j, const struct pg_formal *m, unsigned depth,
                       const char *state)
{
    double bare = (double)MAX(j->bare.instructions, 1);
    printf("%5u %15" PRIu64 " %10" PRIu64 " %9.2f%% %9.2fx  %s\n", depth, m->instructions, m->traps,
           100.0 * (double)m->direct / bare, (double)m->instructions / bare, state);
}

static void say_difference(const struct pg_difference *d)
{
    char cell[32] = "";
    if (d->what[0] == 'E')
        snprintf(cell, sizeof cell, "[%u]", d->cell);
    printf("      %s%s is 0x%" PRIx64 " on the bare machine, 0x%" PRIx64
           " on the virtual one (%u difference%s)\n",
           d->what, cell, d->left, d->right, d->count, d->count == 1 ? "" : "s");
}

/* The guest at one depth. The exit code. */
static int run_at(const struct job *j, unsigned depth)
{
    struct err err = {0};
    struct pg_nest n;
    struct pg_difference d;
    if (pg_nest_init(&n, j->kind, j->program.variant, j->program.q, depth, &err)) {
        ctl_say("%s: %s", j->file, err.text);
        return EXIT_BAD_FILE;
    }
    pg_nest_load(&n, &j->start);
    struct pg_formal *m = pg_nest_machine(&n);
    uint64_t enough = pg_nest_enough(&n, j->bare.instructions + j->bare.traps);
    uint64_t limit = MIN(enough, j->steps);
    int code = EXIT_EQUAL;
    if (!(j->trace && depth == j->depth ? trace_run(j, &n, limit) : pg_formal_run(m, limit))) {
        code = limit == enough ? EXIT_DIFFERS : EXIT_NO_HALT;
        table_line(j, m, depth,
                   code == EXIT_DIFFERS ? "DIFFERS: does not halt" : "no HALT (--steps)");
    } else if (!j->check) {
        table_line(j, m, depth, "halted");
    } else if (pg_formal_equal(&j->bare, pg_nest_guest(&n), &d)) {
        table_line(j, m, depth, "equal");
    } else {
        table_line(j, m, depth, "DIFFERS");
        say_difference(&d);
        code = EXIT_DIFFERS;
    }
    pg_nest_fini(&n);
    return code;
}

static int run_bare(struct job *j)
{
    bool halted;
    if (j->trace && j->depth == 0) {
        struct pg_nest none = {.level = &j->bare};
        halted = trace_run(j, &none, j->steps);
    } else {
        halted = pg_formal_run(&j->bare, j->steps);
    }
    printf("%s: %s, %u cells; monitor %s\n", j->file, pg_variant_name(j->program.variant),
           j->program.q, pg_monitor_name(j->kind));
    printf("depth    instructions      traps     direct   slowdown  at HALT\n");
    table_line(j, &j->bare, 0, halted ? "halted" : "no HALT (--steps)");
    if (halted)
        return EXIT_EQUAL;
    ctl_say("%s: no HALT within %" PRIu64 " instructions and traps (--steps N allows more)",
            j->file, j->steps);
    return EXIT_NO_HALT;
}

int ctl_cmd_isa_run(struct ctl_args *a)
{
    struct job j = {0};
    struct err err = {0};
    if (options(a, &j, &err))
        return ctl_usage(&err);
    int code = EXIT_BAD_FILE;
    if (load(&j, &err)) {
        ctl_say("%s", err.text);
    } else {
        code = run_bare(&j);
        for (unsigned depth = 1; code == EXIT_EQUAL && depth <= j.depth; depth++)
            code = run_at(&j, depth);
    }
    pg_formal_fini(&j.start);
    pg_formal_fini(&j.bare);
    pg_program_fini(&j.program);
    return code;
}
