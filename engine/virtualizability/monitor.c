#include "engine/virtualizability/monitor.h"

#include <stdlib.h>
#include <string.h>

extern const char pg_monitor_builtin_begin[], pg_monitor_builtin_end[], pg_monitor_hybrid_begin[],
    pg_monitor_hybrid_end[];

static const struct {
    const char *name, *file, *begin, *end;
} kinds[PG_MONITOR_KIND_COUNT] = {
    [PG_MONITOR_BUILTIN] = {"builtin", "vmm.pg", pg_monitor_builtin_begin, pg_monitor_builtin_end},
    [PG_MONITOR_HYBRID] = {"hybrid", "hybrid.pg", pg_monitor_hybrid_begin, pg_monitor_hybrid_end},
};

const char *pg_monitor_name(enum pg_monitor_kind kind)
{
    return kinds[kind].name;
}

bool pg_monitor_find(const char *name, enum pg_monitor_kind *out)
{
    for (unsigned i = 0; i < PG_MONITOR_KIND_COUNT; i++)
        if (!strcmp(kinds[i].name, name)) {
            *out = i;
            return true;
        }
    return false;
}

const char *pg_monitor_source(enum pg_monitor_kind kind, size_t *len)
{
    *len = (size_t)(kinds[kind].end - kinds[kind].begin);
    return kinds[kind].begin;
}

/* ---- one monitor ---- */

static uint32_t symbol(const struct pg_program *p, const char *name)
{
    uint64_t v;
    ASSERT(pg_program_symbol(p, name, &v) && v <= PG_FORMAL_CELLS_MAX);
    return (uint32_t)v;
}

static res_code_t assemble(enum pg_monitor_kind kind, enum pg_variant variant, uint32_t q,
                           uint32_t w, struct pg_program *out, struct err *err)
{
    const struct pg_define defines[] = {{"Q", q},
                                        {"W", w},
                                        {"RETU", variant == PG_VARIANT_RETU},
                                        {"LRA", variant == PG_VARIANT_LRA}};
    size_t len;
    const char *source = pg_monitor_source(kind, &len);
    return pg_asm(kinds[kind].file, source, len, defines, ARRAY_LEN(defines), out, err);
}

res_t pg_monitor_init(struct pg_monitor *v, enum pg_monitor_kind kind, enum pg_variant variant,
                      uint32_t w, struct err *err)
{
    struct pg_program image;
    if (assemble(kind, variant, PG_FORMAL_CELLS_MAX, w, &image, err)) /* how large is it? */
        return FAIL;
    uint32_t k = symbol(&image, "k");
    pg_program_fini(&image);
    if (w > PG_FORMAL_CELLS_MAX - k - PG_MONITOR_SPARE)
        return err_set(
            err, ERR_LIMIT,
            "a %s monitor and a guest of %u cells need %u more: a machine has at most %u",
            kinds[kind].name, w, k + PG_MONITOR_SPARE, PG_FORMAL_CELLS_MAX);
    uint32_t q = w + k + PG_MONITOR_SPARE;
    if (assemble(kind, variant, q, w, &image, err))
        return FAIL;
    *v = (struct pg_monitor){.kind = kind,
                             .image = image,
                             .k = k,
                             .w = w,
                             .vm = symbol(&image, "vm"),
                             .vp = symbol(&image, "vp"),
                             .vl = symbol(&image, "vl"),
                             .vb = symbol(&image, "vb")};
    v->interpret = kind == PG_MONITOR_HYBRID ? symbol(&image, "interpret") : 0;
    v->image.variant = variant;
    return OK;
}

void pg_monitor_fini(struct pg_monitor *v)
{
    pg_program_fini(&v->image);
}

void pg_monitor_map(const struct pg_monitor *v, const struct pg_formal *guest,
                    struct pg_formal *host)
{
    uint32_t w = v->w, q = v->image.q, k = v->k;
    struct pg_psw g = guest->psw;
    ASSERT(host->q == q && guest->q == w && guest->variant == host->variant);
    memcpy(host->cells, v->image.cells, k * sizeof *host->cells);
    memcpy(host->cells + k, guest->cells, w * sizeof *host->cells);
    memset(host->cells + k + w, 0, PG_MONITOR_SPARE * sizeof *host->cells);
    host->cells[v->vm] = g.m;
    host->cells[v->vp] = g.p;
    host->cells[v->vl] = g.l;
    host->cells[v->vb] = g.b;
    if (v->kind == PG_MONITOR_HYBRID && g.m == PG_MODE_S)
        host->psw = (struct pg_psw){PG_MODE_S, v->interpret, 0, q};
    else if (g.l < w)
        host->psw = (struct pg_psw){PG_MODE_U, g.p, g.l + k, MIN(g.b, w - g.l)};
    else
        host->psw = (struct pg_psw){PG_MODE_U, g.p, k, 0};
    host->halted = false;
    host->instructions = host->traps = host->direct = 0;
    ASSERT(pg_formal_check(host));
}

void pg_monitor_unmap(const struct pg_monitor *v, const struct pg_formal *host,
                      struct pg_formal *guest)
{
    ASSERT(host->halted && guest->q == v->w && host->q == v->image.q);
    memcpy(guest->cells, host->cells + v->k, guest->q * sizeof *guest->cells);
    guest->psw = (struct pg_psw){(uint32_t)host->cells[v->vm], (uint32_t)host->cells[v->vp],
                                 (uint32_t)host->cells[v->vl], (uint32_t)host->cells[v->vb]};
    guest->halted = true;
}

/* ---- nesting ---- */

void pg_nest_fini(struct pg_nest *n)
{
    for (unsigned i = 0; n->monitor && i < n->depth; i++)
        pg_monitor_fini(&n->monitor[i]);
    for (unsigned i = 0; n->level && i <= n->depth; i++)
        pg_formal_fini(&n->level[i]);
    free(n->monitor);
    free(n->level);
    *n = (struct pg_nest){0};
}

static res_code_t build(struct pg_nest *n, enum pg_monitor_kind kind, enum pg_variant variant,
                        uint32_t q, struct err *err)
{
    if (!n->monitor || !n->level)
        return err_set(err, ERR_NO_MEMORY, "no memory for %u monitors", n->depth);
    if (pg_formal_init(&n->level[0], variant, q, err))
        return FAIL;
    for (unsigned i = 0; i < n->depth; i++) {
        if (pg_monitor_init(&n->monitor[i], kind, variant, n->level[i].q, err))
            return err_wrap(err, "depth %u", i + 1);
        if (pg_formal_init(&n->level[i + 1], variant, n->monitor[i].image.q, err))
            return FAIL;
        n->level[i + 1].direct_from = n->level[i].direct_from + n->monitor[i].k;
    }
    return OK;
}

res_t pg_nest_init(struct pg_nest *n, enum pg_monitor_kind kind, enum pg_variant variant,
                   uint32_t q, unsigned depth, struct err *err)
{
    if (depth > PG_NEST_DEPTH_MAX)
        return err_set(err, ERR_LIMIT, "depth %u: at most %u was expected", depth,
                       PG_NEST_DEPTH_MAX);
    struct pg_nest new = {.depth = depth,
                          .monitor = calloc(depth + 1, sizeof *new.monitor),
                          .level = calloc(depth + 1, sizeof *new.level)};
    if (build(&new, kind, variant, q, err)) {
        pg_nest_fini(&new);
        return FAIL;
    }
    *n = new;
    return OK;
}

void pg_nest_load(struct pg_nest *n, const struct pg_formal *guest)
{
    struct pg_formal *bare = &n->level[0];
    ASSERT(guest->q == bare->q && guest->variant == bare->variant);
    memcpy(bare->cells, guest->cells, guest->q * sizeof *bare->cells);
    bare->psw = guest->psw;
    bare->halted = false;
    bare->instructions = bare->traps = bare->direct = 0;
    for (unsigned i = 0; i < n->depth; i++)
        pg_monitor_map(&n->monitor[i], &n->level[i], &n->level[i + 1]);
}

const struct pg_formal *pg_nest_guest(struct pg_nest *n)
{
    for (unsigned i = n->depth; i-- > 0;)
        pg_monitor_unmap(&n->monitor[i], &n->level[i + 1], &n->level[i]);
    return &n->level[0];
}

uint64_t pg_nest_enough(const struct pg_nest *n, uint64_t events)
{
    uint64_t all = events + 1;
    for (unsigned i = 0; i < n->depth; i++)
        if (__builtin_mul_overflow(all, 2 * (uint64_t)n->monitor[i].k, &all))
            return UINT64_MAX;
    return all;
}

unsigned pg_nest_owner(const struct pg_nest *n, uint32_t cell, uint32_t *own)
{
    for (unsigned outer = 1; outer <= n->depth; outer++) {
        uint32_t k = n->monitor[n->depth - outer].k;
        if (cell < k) {
            *own = cell;
            return outer;
        }
        cell -= k;
    }
    *own = cell;
    return 0;
}

/* ---- comparing ---- */

static void part(struct pg_difference *d, const char *what, uint32_t cell, uint64_t left,
                 uint64_t right)
{
    if (left == right)
        return;
    if (d->count++ == 0) {
        d->what = what;
        d->cell = cell;
        d->left = left;
        d->right = right;
    }
}

bool pg_formal_equal(const struct pg_formal *a, const struct pg_formal *b,
                     struct pg_difference *first)
{
    struct pg_difference d = {0};
    ASSERT(a->q == b->q);
    part(&d, "M", 0, a->psw.m, b->psw.m);
    part(&d, "P", 0, a->psw.p, b->psw.p);
    part(&d, "l", 0, a->psw.l, b->psw.l);
    part(&d, "b", 0, a->psw.b, b->psw.b);
    for (uint32_t i = 0; i < a->q; i++)
        part(&d, "E", i, a->cells[i], b->cells[i]);
    if (d.count && first)
        *first = d;
    return !d.count;
}
