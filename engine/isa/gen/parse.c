/* Reads a table and holds each line to rules 1 and 2 of isagen.h. */
#include "engine/isa/gen/isagen.h"

#include <stdlib.h>
#include <string.h>

static char *copy(const char *s)
{
    char *c = strdup(s);
    if (!c) {
        perror("isagen");
        exit(1);
    }
    return c;
}

static char *word(char **at)
{
    return strtok_r(NULL, " \t\n", at);
}

static char *need_word(const struct table *t, unsigned line, char **at, const char *what)
{
    char *w = word(at);
    if (!w)
        gen_fail(t, line, "missing %s", what);
    return w;
}

static int find_name(const char *const *names, unsigned count, const char *w)
{
    for (unsigned i = 0; i < count; i++)
        if (names[i] && !strcmp(names[i], w))
            return (int)i;
    return -1;
}

static int find_field(const struct table *t, const char *name)
{
    for (unsigned i = 0; i < t->field_count; i++)
        if (!strcmp(t->fields[i].name, name))
            return (int)i;
    return -1;
}

static int find_format(const struct table *t, const char *name)
{
    for (unsigned i = 0; i < t->format_count; i++)
        if (!strcmp(t->formats[i].name, name))
            return (int)i;
    return -1;
}

static unsigned number(const struct table *t, unsigned line, const char *w, unsigned most)
{
    char *end;
    unsigned long v = strtoul(w, &end, 0);
    if (end == w || *end || *w == '-' || v > most)
        gen_fail(t, line, "'%s' is not a number from 0 to %u", w, most);
    return (unsigned)v;
}

static void parse_segment(const struct table *t, struct field *f, char *w)
{
    char *colon = strchr(w, ':');
    struct seg s;
    if (colon)
        *colon++ = 0;
    s.hi = number(t, f->line, w, 31);
    s.lo = colon ? number(t, f->line, colon, 31) : s.hi;
    if (s.lo > s.hi)
        gen_fail(t, f->line, "field '%s': segment %u:%u is upside down", f->name, s.hi, s.lo);
    uint32_t mask = (uint32_t)((2ull << s.hi) - (1ull << s.lo));
    if (mask & f->mask)
        gen_fail(t, f->line, "field '%s' names a bit twice", f->name);
    if (f->seg_count == SEGS_MAX)
        gen_fail(t, f->line, "field '%s' has more than %d segments", f->name, SEGS_MAX);
    f->segs[f->seg_count++] = s;
    f->bits += s.hi - s.lo + 1;
    f->mask |= mask;
}

static void parse_field(struct table *t, unsigned line, char *at)
{
    struct field f = {.line = line};
    f.name = copy(need_word(t, line, &at, "the field's name"));
    if (find_field(t, f.name) >= 0)
        gen_fail(t, line, "field '%s' is already on line %u", f.name,
                 t->fields[find_field(t, f.name)].line);
    char *w = need_word(t, line, &at, "the field's slot");
    int slot = find_name(gen_slot_names, SLOT_COUNT, w);
    if (slot < 0)
        gen_fail(t, line, "unknown slot '%s'", w);
    w = need_word(t, line, &at, "the field's kind");
    int kind = find_name(gen_kind_names, KIND_COUNT, w);
    if (kind < 0)
        gen_fail(t, line, "unknown kind '%s'", w);
    f.slot = (enum slot)slot;
    f.kind = (enum kind)kind;
    w = word(&at);
    for (; w && strncmp(w, "<<", 2) && strcmp(w, "except"); w = word(&at))
        parse_segment(t, &f, w);
    if (!f.seg_count)
        gen_fail(t, line, "field '%s' has no bits", f.name);
    if (w && !strncmp(w, "<<", 2)) {
        f.shift = number(t, line, w + 2, 31);
        w = word(&at);
    }
    if (f.bits + f.shift > 32)
        gen_fail(t, line, "field '%s' is wider than 32 bits", f.name);
    if (w && strcmp(w, "except"))
        gen_fail(t, line, "'%s' where the line should end", w);
    for (w = word(&at); w; w = word(&at)) {
        if (f.except_count == EXCEPT_MAX)
            gen_fail(t, line, "field '%s' has more than %d exceptions", f.name, EXCEPT_MAX);
        f.except[f.except_count++] = number(t, line, w, f.mask == ~0u ? ~0u : (1u << f.bits) - 1);
    }
    t->fields = gen_grow(t->fields, t->field_count, sizeof f);
    t->fields[t->field_count++] = f;
}

static void parse_format_item(const struct table *t, struct format *f, char *w)
{
    char *eq = strchr(w, '=');
    int slot;
    if (eq) {
        *eq++ = 0;
        slot = find_name(gen_slot_names, SLOT_COUNT, w);
        if (slot < 0)
            gen_fail(t, f->line, "unknown slot '%s'", w);
        f->constant[slot] = number(t, f->line, eq, 255);
    } else {
        int field = find_field(t, w);
        if (field < 0)
            gen_fail(t, f->line, "unknown field '%s'", w);
        slot = (int)t->fields[field].slot;
    }
    bool taken = f->has_const[slot];
    for (unsigned i = 0; i < f->field_count; i++)
        taken |= (int)t->fields[f->fields[i]].slot == slot;
    if (taken)
        gen_fail(t, f->line, "format '%s' sets %s twice", f->name, gen_slot_names[slot]);
    if (eq)
        f->has_const[slot] = true;
    else
        f->fields[f->field_count++] = (unsigned)find_field(t, w);
}

static void parse_format(struct table *t, unsigned line, char *at)
{
    struct format f = {.line = line};
    f.name = copy(need_word(t, line, &at, "the format's name"));
    if (find_format(t, f.name) >= 0)
        gen_fail(t, line, "format '%s' is already on line %u", f.name,
                 t->formats[find_format(t, f.name)].line);
    if (strcmp(need_word(t, line, &at, "':'"), ":"))
        gen_fail(t, line, "missing ':' behind the format's name");
    char *w = need_word(t, line, &at, "':'");
    for (; strcmp(w, ":"); w = need_word(t, line, &at, "':' behind the fields"))
        parse_format_item(t, &f, w);
    w = word(&at);
    f.text = copy(w ? w : "");
    t->formats = gen_grow(t->formats, t->format_count, sizeof f);
    t->formats[t->format_count++] = f;
}

/* Rule 2: operand bits and fields cover each other exactly. Two slots may share bits (rd and rs1 of c.addi). */
static void check_coverage(const struct table *t, const struct row *r)
{
    const struct format *f = &t->formats[r->format];
    uint32_t covered = 0;
    for (unsigned i = 0; i < f->field_count; i++) {
        const struct field *fd = &t->fields[f->fields[i]];
        for (unsigned b = 0; b < 32; b++) {
            uint32_t bit = (uint32_t)1 << b;
            if (!(fd->mask & bit))
                continue;
            if (b >= 8 * r->len)
                gen_fail(t, r->line, "field '%s' lies outside the %u bits of '%s'", fd->name,
                         8 * r->len, r->name);
            if (r->mask & bit)
                gen_fail(t, r->line, "field '%s' covers bit %u, which is fixed in '%s'", fd->name,
                         b, r->name);
            if (!(r->operands & bit))
                gen_fail(t, r->line, "field '%s' covers bit %u, which '%s' ignores", fd->name, b,
                         r->name);
        }
        covered |= fd->mask;
    }
    for (unsigned b = 0; b < 32; b++)
        if (r->operands & ~covered & ((uint32_t)1 << b))
            gen_fail(t, r->line, "operand bit %u of '%s' belongs to no field", b, r->name);
}

/* Reads the bits; returns the word behind them. */
static char *parse_bits(const struct table *t, struct row *r, char **at)
{
    unsigned count = 0;
    char *w = word(at);
    for (; w && strspn(w, "01-.") == strlen(w); w = word(at)) {
        for (const char *c = w; *c; c++, count++) {
            if (count == 32)
                gen_fail(t, r->line, "'%s' has more than 32 bits", r->name);
            r->mask = r->mask << 1 | (*c == '0' || *c == '1');
            r->match = r->match << 1 | (*c == '1');
            r->operands = r->operands << 1 | (*c == '-');
        }
    }
    if (count != 16 && count != 32)
        gen_fail(t, r->line, "'%s' has %u bits, not 16 or 32", r->name, count);
    r->len = count / 8;
    return w;
}

static const char *one_of(const struct table *t, const struct row *r, const char *attribute,
                          const char *const *words, unsigned count, const char *w)
{
    int i = w ? find_name(words, count, w) : -1;
    if (i < 0)
        gen_fail(t, r->line, "bad %s '%s'", attribute, w ? w : "");
    return words[i];
}

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void parse_attribute(const struct table *t, struct row *r, const char *w, char **at)
{
    static const char *const flows[] = {"none", "branch", "jump", "jump_ind", "syscall", "trap"};
    static const char *const mems[] = {"load", "store", "lr", "sc", "amo"};
    if (!strcmp(w, "expands")) {
        r->expands = copy(need_word(t, r->line, at, "what it expands to"));
        return;
    }
    if (!strcmp(w, "spelt")) {
        r->spelt = copy(need_word(t, r->line, at, "how it is spelt"));
        return;
    }
    r->has_attributes = true;
    if (!strcmp(w, "flow")) {
        r->flow = one_of(t, r, "flow", flows, COUNT(flows), word(at));
    } else if (find_name(mems, COUNT(mems), w) >= 0) {
        if (r->mem)
            gen_fail(t, r->line, "'%s' accesses memory twice", r->name);
        r->mem = one_of(t, r, "access", mems, COUNT(mems), w);
        r->mem_bytes = number(t, r->line, need_word(t, r->line, at, "the access size"), 8);
        if (!r->mem_bytes || (r->mem_bytes & (r->mem_bytes - 1)))
            gen_fail(t, r->line, "access size %u is not 1, 2, 4 or 8", r->mem_bytes);
    } else if (!strcmp(w, "fp")) {
        r->fp_bits = number(t, r->line, need_word(t, r->line, at, "the operand size"), 64);
        if (r->fp_bits != 32 && r->fp_bits != 64)
            gen_fail(t, r->line, "operand size %u is not 32 or 64", r->fp_bits);
    } else if (find_name(gen_class_names, CLASS_COUNT, w) >= 0) {
        r->classes |= 1u << find_name(gen_class_names, CLASS_COUNT, w);
    } else if (!strcmp(w, "signed")) {
        r->is_signed = true;
    } else if (!strcmp(w, "barrier")) {
        r->barrier = true;
    } else if (!strcmp(w, "flags")) {
        r->flags = true;
    } else {
        gen_fail(t, r->line, "unknown attribute '%s'", w);
    }
}

/* Rule 5. */
static void check_classes(const struct table *t, struct row *r)
{
    const unsigned sensitive =
        1u << CLASS_CONTROL | 1u << CLASS_LOCATION | 1u << CLASS_MODE | 1u << CLASS_RESOURCE;
    const unsigned harmless = 1u << CLASS_INNOCUOUS | 1u << CLASS_TRAPPING;
    if (r->classes & harmless && r->classes & sensitive)
        gen_fail(t, r->line, "'%s' is %s and cannot be sensitive as well", r->name,
                 r->classes & 1u << CLASS_TRAPPING ? "trapping" : "innocuous");
    if (!(r->classes & (sensitive | harmless)))
        r->classes |= 1u << CLASS_INNOCUOUS;
}

static void parse_insn(struct table *t, unsigned line, char *at, char *extension)
{
    struct row r = {.line = line, .extension = extension, .flow = "none"};
    r.name = copy(need_word(t, line, &at, "the instruction's name"));
    for (unsigned i = 0; i < t->row_count; i++)
        if (!strcmp(t->rows[i].name, r.name))
            gen_fail(t, line, "instruction '%s' is already on line %u", r.name, t->rows[i].line);
    if (!extension)
        gen_fail(t, line, "no extension line before '%s'", r.name);
    char *w = parse_bits(t, &r, &at);
    if (!w)
        gen_fail(t, line, "missing the format of '%s'", r.name);
    int format = find_format(t, w);
    if (format < 0)
        gen_fail(t, line, "unknown format '%s'", w);
    r.format = (unsigned)format;
    check_coverage(t, &r);
    for (w = word(&at); w; w = word(&at))
        parse_attribute(t, &r, w, &at);
    check_classes(t, &r);
    if (r.expands && r.has_attributes)
        gen_fail(t, line, "'%s' takes its attributes from '%s' and may have none of its own",
                 r.name, r.expands);
    t->rows = gen_grow(t->rows, t->row_count, sizeof r);
    t->rows[t->row_count++] = r;
}

void gen_parse(struct table *t, FILE *in)
{
    char *text = NULL, *extension = NULL;
    size_t cap = 0;
    for (unsigned line = 1; getline(&text, &cap, in) >= 0; line++) {
        char *hash = strchr(text, '#'), *at = NULL;
        if (hash)
            *hash = 0;
        char *w = strtok_r(text, " \t\n", &at);
        if (!w)
            continue;
        if (!strcmp(w, "isa"))
            t->isa = copy(need_word(t, line, &at, "the name"));
        else if (!t->isa)
            gen_fail(t, line, "the table must begin with its isa line");
        else if (!strcmp(w, "field"))
            parse_field(t, line, at);
        else if (!strcmp(w, "format"))
            parse_format(t, line, at);
        else if (!strcmp(w, "extension"))
            extension = copy(need_word(t, line, &at, "the extension's name"));
        else if (!strcmp(w, "insn"))
            parse_insn(t, line, at, extension);
        else
            gen_fail(t, line, "unknown declaration '%s'", w);
    }
    free(text);
    if (!t->row_count)
        gen_fail(t, 1, "the table has no instruction");
}
