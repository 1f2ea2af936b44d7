#include "proto/descriptors.h"
#include "engine/base/base.h"
#include "engine/base/buf.h"

#include <string.h>

#define DEPTH_MAX 32 /* of messages in messages */

extern const uint8_t pb_descriptor_set[], pb_descriptor_set_end[]; /* descriptors.S */

struct pb_descriptors pb_descriptors_of_api(void)
{
    return (struct pb_descriptors){pb_descriptor_set,
                                   (size_t)(pb_descriptor_set_end - pb_descriptor_set)};
}

/* ---- protobuf's wire, field by field ---- */

struct field {
    uint32_t number;
    const uint8_t *p; /* length-delimited; else NULL */
    size_t n;
    uint64_t value; /* varint */
};

static uint64_t varint(struct cursor *c)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t b = cursor_u8(c);
        v |= (uint64_t)(b & 127) << shift;
        if (!(b & 128))
            return v;
    }
    c->failed = true;
    return 0;
}

static bool next_field(struct cursor *c, struct field *f)
{
    if (c->failed || cursor_left(c) == 0)
        return false;
    uint64_t tag = varint(c);
    *f = (struct field){.number = (uint32_t)(tag >> 3)};
    switch (tag & 7) {
    case 0:
        f->value = varint(c);
        break;
    case 1:
        cursor_get(c, 8);
        break;
    case 2: {
        uint64_t n = varint(c);
        if (n > cursor_left(c)) {
            c->failed = true;
            break;
        }
        f->n = (size_t)n;
        f->p = cursor_get(c, f->n);
        break;
    }
    case 5:
        cursor_get(c, 4);
        break;
    default:
        c->failed = true;
    }
    return !c->failed;
}

/* The last field of that number, as protobuf has it. */
static struct field field_of(const uint8_t *p, size_t n, uint32_t number)
{
    struct cursor c = cursor_over(p, n);
    struct field f, found = {0};
    while (next_field(&c, &f))
        if (f.number == number)
            found = f;
    return found;
}

static bool equals(struct field f, const char *s)
{
    return f.p && f.n == strlen(s) && !memcmp(f.p, s, f.n);
}

/* The rest of name behind "prefix.", all of it for an empty prefix; NULL: name is not below it. */
static const char *below(const char *name, struct field prefix)
{
    if (prefix.n == 0)
        return name;
    if (strlen(name) <= prefix.n || memcmp(name, prefix.p, prefix.n) || name[prefix.n] != '.')
        return NULL;
    return name + prefix.n + 1;
}

/* ---- descriptor.proto, as far as it is needed here: which field declares what ---- */

enum { NAME = 1, PACKAGE = 2, IMPORT = 3, EXTENDEE = 2, EXTENSION_NUMBER = 3 };
enum kind { FILE_, MESSAGE, ENUM, SERVICE, EXTENSION, LEAF, KIND_COUNT };

static const struct {
    uint32_t number;
    enum kind kind;
} declares[KIND_COUNT][6] = {
    [FILE_] = {{4, MESSAGE}, {5, ENUM}, {6, SERVICE}, {7, EXTENSION}},
    [MESSAGE] = {{2, LEAF}, {3, MESSAGE}, {4, ENUM}, {6, EXTENSION}, {8, LEAF}},
    [ENUM] = {{2, LEAF}},
    [SERVICE] = {{2, LEAF}},
};

static bool child_kind(enum kind parent, uint32_t number, enum kind *kind)
{
    for (unsigned i = 0; declares[parent][i].number; i++)
        if (declares[parent][i].number == number) {
            *kind = declares[parent][i].kind;
            return true;
        }
    return false;
}

/* Does this scope declare `name`? only: nothing but this kind counts, LEAF: any. */
static bool declared(const uint8_t *p, size_t n, enum kind scope, const char *name, enum kind only,
                     unsigned depth)
{
    struct cursor c = cursor_over(p, n);
    struct field f;
    enum kind kind;
    while (depth < DEPTH_MAX && next_field(&c, &f)) {
        if (!f.p || !child_kind(scope, f.number, &kind))
            continue;
        struct field own = field_of(f.p, f.n, NAME);
        if ((only == LEAF || only == kind) && equals(own, name))
            return true;
        /* an enum's values are its siblings */
        const char *rest = kind == ENUM ? name : own.n ? below(name, own) : NULL;
        if (rest && declared(f.p, f.n, kind, rest, only, depth + 1))
            return true;
    }
    return false;
}

struct extensions {
    const char *type;
    int32_t *numbers;
    size_t max, count;
};

static void find_extensions(const uint8_t *p, size_t n, enum kind scope, struct extensions *e,
                            unsigned depth)
{
    struct cursor c = cursor_over(p, n);
    struct field f;
    enum kind kind;
    while (depth < DEPTH_MAX && next_field(&c, &f)) {
        if (!f.p || !child_kind(scope, f.number, &kind))
            continue;
        if (kind == MESSAGE)
            find_extensions(f.p, f.n, kind, e, depth + 1);
        if (kind != EXTENSION)
            continue;
        struct field of = field_of(f.p, f.n, EXTENDEE); /* ".package.Message" */
        if (of.n && of.p[0] == '.')
            of.p++, of.n--;
        if (!equals(of, e->type))
            continue;
        if (e->count < e->max)
            e->numbers[e->count] = (int32_t)field_of(f.p, f.n, EXTENSION_NUMBER).value;
        e->count++;
    }
}

/* ---- files ---- */

static bool next_file(struct cursor *c, struct pb_file *file)
{
    struct field f;
    while (next_field(c, &f))
        if (f.number == 1 && f.p) {
            *file = (struct pb_file){f.p, f.n};
            return true;
        }
    return false;
}

static bool find_file(struct pb_descriptors set, struct field name, struct pb_file *file)
{
    struct cursor c = cursor_over(set.p, set.n);
    struct pb_file f;
    while (next_file(&c, &f)) {
        struct field own = field_of(f.p, f.n, NAME);
        if (own.p && own.n == name.n && !memcmp(own.p, name.p, name.n)) {
            *file = f;
            return true;
        }
    }
    return false;
}

bool pb_file_by_name(struct pb_descriptors set, const char *name, struct pb_file *file)
{
    return find_file(set, (struct field){.p = (const uint8_t *)name, .n = strlen(name)}, file);
}

static bool find_declaration(struct pb_descriptors set, const char *symbol, enum kind only,
                             struct pb_file *file)
{
    struct cursor c = cursor_over(set.p, set.n);
    struct pb_file f;
    while (next_file(&c, &f)) {
        const char *rest = below(symbol, field_of(f.p, f.n, PACKAGE));
        if (rest && declared(f.p, f.n, FILE_, rest, only, 0)) {
            *file = f;
            return true;
        }
    }
    return false;
}

bool pb_file_by_symbol(struct pb_descriptors set, const char *symbol, struct pb_file *file)
{
    return find_declaration(set, symbol, LEAF, file);
}

bool pb_message_known(struct pb_descriptors set, const char *type)
{
    struct pb_file file;
    return find_declaration(set, type, MESSAGE, &file);
}

bool pb_file_by_extension(struct pb_descriptors set, const char *type, int32_t number,
                          struct pb_file *file)
{
    struct cursor c = cursor_over(set.p, set.n);
    struct pb_file f;
    while (next_file(&c, &f)) {
        int32_t numbers[64];
        struct extensions e = {type, numbers, ARRAY_LEN(numbers), 0};
        find_extensions(f.p, f.n, FILE_, &e, 0);
        for (size_t i = 0; i < MIN(e.count, e.max); i++)
            if (numbers[i] == number) {
                *file = f;
                return true;
            }
    }
    return false;
}

size_t pb_extension_numbers(struct pb_descriptors set, const char *type, int32_t *numbers,
                            size_t max)
{
    struct cursor c = cursor_over(set.p, set.n);
    struct extensions e = {type, numbers, max, 0};
    struct pb_file f;
    while (next_file(&c, &f))
        find_extensions(f.p, f.n, FILE_, &e, 0);
    return e.count;
}

size_t pb_file_closure(struct pb_descriptors set, struct pb_file file, struct pb_file *files,
                       size_t max)
{
    size_t count = 0;
    if (max)
        files[count++] = file;
    for (size_t at = 0; at < count; at++) {
        struct cursor c = cursor_over(files[at].p, files[at].n);
        struct field f;
        while (count < max && next_field(&c, &f)) {
            struct pb_file next;
            if (f.number != IMPORT || !f.p || !find_file(set, f, &next))
                continue;
            bool there = false;
            for (size_t i = 0; i < count; i++)
                there |= files[i].p == next.p;
            if (!there)
                files[count++] = next;
        }
    }
    return count;
}

size_t pb_file_count(struct pb_descriptors set)
{
    struct cursor c = cursor_over(set.p, set.n);
    struct pb_file f;
    size_t n = 0;
    while (next_file(&c, &f))
        n++;
    return n;
}
