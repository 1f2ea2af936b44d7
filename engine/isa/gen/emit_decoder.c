/*
 * Writes the decoder: a tree of switches over bits that all remaining rows fix, with operand extraction in its leaves.
 * Tried against it: leaves that are constants followed by one switch over formats, with and without a first look-up in
 * a table of 13 bits. Both were slower (16.7 against 14.6 ns on libc's text, where every jump is new to the
 * predictor, and 6 to 7.7 against 5.4 ns in a loop): one jump mispredicted late costs as much as two early ones.
 */
#include "engine/isa/gen/isagen.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* An expression for the raw value of a field of the word w. */
static void put_value(FILE *out, const struct field *f)
{
    unsigned above = f->bits;
    for (unsigned i = 0; i < f->seg_count; i++) {
        unsigned width = f->segs[i].hi - f->segs[i].lo + 1;
        above -= width;
        fprintf(out, "%s(w >> %u & 0x%xu)", i ? " | " : "", f->segs[i].lo,
                (unsigned)((1ull << width) - 1));
        if (above)
            fprintf(out, " << %u", above);
    }
}

static void put_format(const struct table *t, const struct format *f, unsigned index, FILE *out)
{
    fprintf(out,
            "/* %s */\nstatic inline void format_%u(uint32_t w, struct isa_insn *d)\n{\n    "
            "(void)w, (void)d;\n",
            f->name, index);
    for (enum slot s = 0; s < SLOT_COUNT; s++)
        if (f->has_const[s])
            fprintf(out, "    d->%s = %u;\n", gen_slot_names[s], f->constant[s]);
    for (unsigned i = 0; i < f->field_count; i++) {
        const struct field *fd = &t->fields[f->fields[i]];
        unsigned pad = 32 - fd->bits;
        fprintf(out, "    d->%s = ", gen_slot_names[fd->slot]);
        if (fd->kind == KIND_X8 || fd->kind == KIND_F8)
            fprintf(out, "8 + ");
        if (fd->kind == KIND_S)
            fprintf(out, "(int32_t)((");
        else
            fprintf(out, "(");
        put_value(out, fd);
        fprintf(out, ")");
        if (fd->kind == KIND_S) {
            fprintf(out, " << %u) >> %u", pad, pad - fd->shift);
        } else if (fd->shift)
            fprintf(out, " << %u", fd->shift);
        fprintf(out, ";\n");
    }
    fprintf(out, "}\n\n");
}

static void put_upper_name(FILE *out, const struct table *t, const struct row *r)
{
    char name[128];
    snprintf(name, sizeof name, "ISA_%s_%s", t->isa, r->name);
    for (char *c = name; *c; c++)
        fputc(*c == '.' ? '_' : toupper((unsigned char)*c), out);
}

/* Test what is not known yet about r; on a match extract and return. */
static void put_leaf(const struct table *t, const struct row *r, uint32_t known, unsigned depth,
                     FILE *out)
{
    const struct format *f = &t->formats[r->format];
    uint32_t rest = r->mask & ~known;
    bool test = false;
    for (unsigned i = 0; i < f->field_count; i++)
        test |= t->fields[f->fields[i]].except_count > 0;
    test |= rest != 0;
    fprintf(out, "%*s", (int)depth, "");
    if (test) {
        const char *glue = "";
        fprintf(out, "if (");
        if (rest) {
            fprintf(out, "(w & 0x%xu) == 0x%xu", rest, r->match & rest);
            glue = " && ";
        }
        for (unsigned i = 0; i < f->field_count; i++) {
            const struct field *fd = &t->fields[f->fields[i]];
            for (unsigned k = 0; k < fd->except_count; k++, glue = " && ") {
                fprintf(out, "%s(", glue);
                put_value(out, fd);
                fprintf(out, ") != 0x%xu", fd->except[k]);
            }
        }
        fprintf(out, ") ");
    }
    fprintf(out, "{\n%*s    format_%u(w, d);\n%*s    d->op = ", (int)depth, "", r->format,
            (int)depth, "");
    put_upper_name(out, t, r->base);
    fprintf(out, ", d->form = ");
    put_upper_name(out, t, r);
    fprintf(out, ";\n%*s    return true;\n%*s}\n", (int)depth, "", (int)depth, "");
}

/* The lowest run of bits that all rows fix and that tells some apart; 0 if there is none. */
static uint32_t choose_bits(const struct row **rows, unsigned count, uint32_t known)
{
    uint32_t common = ~known, differ = 0;
    for (unsigned i = 0; i < count; i++)
        common &= rows[i]->mask;
    for (unsigned i = 1; i < count; i++)
        differ |= (rows[i]->match ^ rows[0]->match) & common;
    while (common & differ) {
        unsigned lo = (unsigned)__builtin_ctz(common);
        uint32_t run = common & ~(common + ((uint32_t)1 << lo));
        if (run & differ)
            return run;
        common &= ~run;
    }
    return 0;
}

static void put_tree(const struct table *t, const struct row **rows, unsigned count, uint32_t known,
                     unsigned depth, FILE *out)
{
    uint32_t bits = count > 1 ? choose_bits(rows, count, known) : 0;
    if (!bits) { /* rule 3: at most one matches, so their order does not matter */
        for (unsigned i = 0; i < count; i++)
            put_leaf(t, rows[i], known, depth, out);
        return;
    }
    unsigned lo = (unsigned)__builtin_ctz(bits);
    const struct row **sub = calloc(count, sizeof(*sub));
    bool *done = calloc(count, sizeof(*done));
    if (!sub || !done)
        abort();
    fprintf(out, "%*sswitch (w >> %u & 0x%xu) {\n", (int)depth, "", lo, bits >> lo);
    for (unsigned i = 0; i < count; i++) {
        unsigned n = 0;
        if (done[i])
            continue;
        for (unsigned k = i; k < count; k++) {
            if ((rows[k]->match & bits) == (rows[i]->match & bits)) {
                sub[n++] = rows[k];
                done[k] = true;
            }
        }
        fprintf(out, "%*scase 0x%x:\n", (int)depth, "", (rows[i]->match & bits) >> lo);
        put_tree(t, sub, n, known | bits, depth + 4, out);
        fprintf(out, "%*s    return false;\n", (int)depth, "");
    }
    fprintf(out, "%*s}\n", (int)depth, "");
    free(sub);
    free(done);
}

void gen_emit_decoder(const struct table *t, FILE *out)
{
    const struct row **rows = calloc(t->row_count, sizeof(*rows));
    if (!rows)
        abort();
    for (unsigned i = 0; i < t->row_count; i++)
        rows[i] = &t->rows[i];
    for (unsigned i = 0; i < t->format_count; i++)
        put_format(t, &t->formats[i], i, out);
    fprintf(out, "bool isa_%s_match(uint32_t w, struct isa_insn *d)\n{\n", t->isa);
    put_tree(t, rows, t->row_count, 0, 4, out);
    fprintf(out, "    return false;\n}\n\n");
    free(rows);
}
