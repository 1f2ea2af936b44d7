/* Rules 3 and 4 of isagen.h: what only the whole table can break. */
#include "engine/isa/gen/isagen.h"

#include <string.h>

uint32_t gen_field_value(const struct field *f, uint32_t word)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < f->seg_count; i++) {
        unsigned width = f->segs[i].hi - f->segs[i].lo + 1;
        v = (uint32_t)((uint64_t)v << width) |
            (word >> f->segs[i].lo & (uint32_t)((1ull << width) - 1));
    }
    return v;
}

int gen_slot_field(const struct table *t, const struct row *r, enum slot s)
{
    const struct format *f = &t->formats[r->format];
    for (unsigned i = 0; i < f->field_count; i++)
        if (t->fields[f->fields[i]].slot == s)
            return (int)f->fields[i];
    return -1;
}

static bool excepted(const struct table *t, const struct row *r, uint32_t mask, uint32_t word)
{
    const struct format *f = &t->formats[r->format];
    for (unsigned i = 0; i < f->field_count; i++) {
        const struct field *fd = &t->fields[f->fields[i]];
        if (fd->mask & ~mask)
            continue;
        for (unsigned k = 0; k < fd->except_count; k++)
            if (gen_field_value(fd, word) == fd->except[k])
                return true;
    }
    return false;
}

/* Refuses a pair unless fixed bits or an exception on bits that the other row fixes tell them apart. A short
 * row ignores the bits above it, since a decoder is handed whole words. */
static void check_pair(const struct table *t, const struct row *a, const struct row *b)
{
    if ((a->match ^ b->match) & a->mask & b->mask)
        return;
    uint32_t mask = a->mask | b->mask, word = a->match | b->match;
    if (excepted(t, a, mask, word) || excepted(t, b, mask, word))
        return;
    uint32_t fill = 0;
    for (unsigned i = 0; i < 4096; i++, fill = fill * 1664525u + 1013904223u) {
        uint32_t w = word | (fill & ~mask);
        if (!excepted(t, a, ~0u, w) && !excepted(t, b, ~0u, w)) {
            word = w;
            break;
        }
    }
    gen_fail(t, b->line, "'%s' and '%s' on line %u overlap: 0x%0*x is both", b->name, a->name,
             a->line, a->len == 2 && b->len == 2 ? 4 : 8, word);
}

static struct row *find_row(const struct table *t, const char *name)
{
    for (unsigned i = 0; i < t->row_count; i++)
        if (!strcmp(t->rows[i].name, name))
            return &t->rows[i];
    return NULL;
}

static bool same_file(enum kind a, enum kind b)
{
    static const unsigned char file[KIND_COUNT] = {
        [KIND_F] = 1, [KIND_F8] = 1, [KIND_S] = 2, [KIND_U] = 2};
    return file[a] == file[b];
}

static void resolve_expansion(const struct table *t, struct row *r)
{
    r->base = r;
    if (!r->expands)
        return;
    struct row *base = find_row(t, r->expands);
    if (!base)
        gen_fail(t, r->line, "'%s' expands to the unknown instruction '%s'", r->name, r->expands);
    if (base->expands)
        gen_fail(t, r->line, "'%s' expands to '%s', which itself expands", r->name, r->expands);
    r->base = base;
    for (enum slot s = 0; s < SLOT_COUNT; s++) {
        int want = gen_slot_field(t, base, s), have = gen_slot_field(t, r, s);
        if (want >= 0 && have < 0 && !t->formats[r->format].has_const[s])
            gen_fail(t, r->line, "'%s' does not set %s, which '%s' needs", r->name,
                     gen_slot_names[s], base->name);
        if (want >= 0 && have >= 0 && !same_file(t->fields[want].kind, t->fields[have].kind))
            gen_fail(t, r->line, "'%s' sets %s to another kind of operand than '%s' has", r->name,
                     gen_slot_names[s], base->name);
    }
}

void gen_check(struct table *t)
{
    for (unsigned i = 0; i < t->row_count; i++)
        for (unsigned k = 0; k < i; k++)
            check_pair(t, &t->rows[k], &t->rows[i]);
    for (unsigned i = 0; i < t->row_count; i++)
        resolve_expansion(t, &t->rows[i]);
    unsigned next = 1; /* 0 is the illegal instruction */
    for (unsigned i = 0; i < t->row_count; i++)
        if (!t->rows[i].expands)
            t->rows[i].number = next++;
    for (unsigned i = 0; i < t->row_count; i++)
        if (t->rows[i].expands)
            t->rows[i].number = next++;
}
