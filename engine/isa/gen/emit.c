/* Writes the header (enumeration) and the source (decoder, fields, forms, attributes). */
#include "engine/isa/gen/isagen.h"

#include <ctype.h>
#include <string.h>

static void put_upper(FILE *out, const char *s)
{
    for (; *s; s++)
        fputc(*s == '.' ? '_' : toupper((unsigned char)*s), out);
}

static const struct row *row_by_number(const struct table *t, unsigned number)
{
    for (unsigned i = 0; i < t->row_count; i++)
        if (t->rows[i].number == number)
            return &t->rows[i];
    return NULL;
}

void gen_emit_header(const struct table *t, FILE *out)
{
    unsigned base_count = 1;
    fprintf(out, "/* Made by isagen; do not edit. */\n#ifndef ISA_GEN_");
    put_upper(out, t->isa);
    fprintf(out, "_H\n#define ISA_GEN_");
    put_upper(out, t->isa);
    fprintf(out,
            "_H\n\n/* Operations first, then the forms that expand to one of them. */\nenum "
            "isa_%s_op {\n    ISA_",
            t->isa);
    put_upper(out, t->isa);
    fprintf(out, "_ILLEGAL,\n");
    for (unsigned n = 1; n <= t->row_count; n++) {
        const struct row *r = row_by_number(t, n);
        base_count += !r->expands;
        fprintf(out, "    ISA_");
        put_upper(out, t->isa);
        fputc('_', out);
        put_upper(out, r->name);
        fprintf(out, ",\n");
    }
    fprintf(out, "};\n#define ISA_");
    put_upper(out, t->isa);
    fprintf(out, "_OP_COUNT %u\n#define ISA_", base_count);
    put_upper(out, t->isa);
    fprintf(out,
            "_FORM_COUNT %u\n\n/* X(NAME) for each operation, in the order of the enumeration, "
            "without the illegal one. */\n#define ISA_",
            t->row_count + 1);
    put_upper(out, t->isa);
    fprintf(out, "_OPS(X)");
    for (unsigned n = 1; n < base_count; n++) {
        fprintf(out, " \\\n    X(");
        put_upper(out, row_by_number(t, n)->name);
        fputc(')', out);
    }
    fprintf(out, "\n\n#endif\n");
}

static void emit_fields(const struct table *t, FILE *out)
{
    fprintf(out, "static const struct isa_field fields[] = {\n");
    for (unsigned i = 0; i < t->field_count; i++) {
        const struct field *f = &t->fields[i];
        fprintf(out, "    {\"%s\", ISA_SLOT_", f->name);
        put_upper(out, gen_slot_names[f->slot]);
        fprintf(out, ", ISA_KIND_");
        put_upper(out, gen_kind_names[f->kind]);
        fprintf(out, ", %u, %u, %u, %u, {", f->bits, f->shift, f->seg_count, f->except_count);
        for (unsigned k = 0; k < f->seg_count; k++)
            fprintf(out, "{%u, %u}, ", f->segs[k].hi, f->segs[k].lo);
        fprintf(out, "}, {");
        for (unsigned k = 0; k < f->except_count; k++)
            fprintf(out, "0x%x, ", f->except[k]);
        fprintf(out, "}},\n");
    }
    fprintf(out, "};\n\n");
}

static void emit_forms(const struct table *t, FILE *out)
{
    fprintf(
        out,
        "const struct isa_form isa_%s_forms[%u] = {\n    {\"illegal\", \"\", 0, 0, 0, 0, {0}},\n",
        t->isa, t->row_count + 1);
    for (unsigned n = 1; n <= t->row_count; n++) {
        const struct row *r = row_by_number(t, n);
        const struct format *f = &t->formats[r->format];
        fprintf(out, "    {\"%s\", \"%s\", 0x%08x, 0x%08x, %u, %u, {",
                r->spelt ? r->spelt : r->name, f->text, r->mask, r->match, r->len, f->field_count);
        for (unsigned k = 0; k < f->field_count; k++)
            fprintf(out, "&fields[%u], ", f->fields[k]);
        fprintf(out, "}},\n");
    }
    fprintf(out, "};\n\n");
}

static const char *operand_kind(const struct table *t, const struct row *base, enum slot s)
{
    static const char *const names[KIND_COUNT] = {"ISA_OPERAND_X",      "ISA_OPERAND_F",
                                                  "ISA_OPERAND_X",      "ISA_OPERAND_F",
                                                  "ISA_OPERAND_NUMBER", "ISA_OPERAND_NUMBER"};
    int f = gen_slot_field(t, base, s);
    return f < 0 ? "ISA_OPERAND_NONE" : names[t->fields[f].kind];
}

static void emit_attributes(const struct table *t, FILE *out)
{
    fprintf(out, "const struct isa_attr isa_%s_attrs[%u] = {\n", t->isa, t->row_count + 1);
    fprintf(out,
            "    {.name = \"illegal\", .extension = \"\", .flow = ISA_FLOW_TRAP, .classes = 1u << "
            "ISA_CLASS_TRAPPING},\n");
    for (unsigned n = 1; n <= t->row_count; n++) {
        const struct row *r = row_by_number(t, n), *b = r->base;
        fprintf(out,
                "    {.name = \"%s\", .extension = \"%s\", .op = %u, .len = %u,\n     .flow = "
                "ISA_FLOW_",
                r->name, r->extension, b->number, r->len);
        put_upper(out, b->flow);
        fprintf(out, ", .mem = ISA_MEM_");
        put_upper(out, b->mem ? b->mem : "none");
        fprintf(out, ", .mem_bytes = %u, .mem_signed = %d, .barrier = %d, .fp_bits = %u,\n     ",
                b->mem_bytes, b->is_signed, b->barrier, b->fp_bits);
        fprintf(out, ".uses_rm = %d, .sets_flags = %d, .classes = 0",
                gen_slot_field(t, b, SLOT_RM) >= 0, b->flags);
        for (unsigned c = 0; c < CLASS_COUNT; c++)
            if (b->classes >> c & 1) {
                fprintf(out, " | 1u << ISA_CLASS_");
                put_upper(out, gen_class_names[c]);
            }
        fprintf(out, ",\n     .rd = %s, .rs1 = %s, .rs2 = %s, .rs3 = %s, .has_imm = %d},\n",
                operand_kind(t, b, SLOT_RD), operand_kind(t, b, SLOT_RS1),
                operand_kind(t, b, SLOT_RS2), operand_kind(t, b, SLOT_RS3),
                gen_slot_field(t, b, SLOT_IMM) >= 0);
    }
    fprintf(out, "};\n");
}

void gen_emit_source(const struct table *t, FILE *out)
{
    fprintf(out, "/* Made by isagen; do not edit. */\n#include \"engine/isa/isa.h\"\n#include "
                 "\"engine/isa/isa_table.h\"\n\n");
    gen_emit_decoder(t, out);
    emit_fields(t, out);
    emit_forms(t, out);
    emit_attributes(t, out);
}
