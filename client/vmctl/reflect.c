#include "client/vmctl/reflect.h"
#include "client/vmctl/wire.h"
#include "engine/base/base.h"
#include "proto/message.h"

#include <stdio.h>
#include <string.h>

/* Numbers of google/protobuf/descriptor.proto. */
enum {
    FILE_NAME = 1,
    FILE_PACKAGE = 2,
    FILE_DEPENDENCY = 3,
    FILE_MESSAGE = 4,
    FILE_ENUM = 5,
    FILE_SERVICE = 6
};
enum {
    MESSAGE_NAME = 1,
    MESSAGE_FIELD = 2,
    MESSAGE_NESTED = 3,
    MESSAGE_ENUM = 4,
    MESSAGE_OPTIONS = 7
};
enum {
    FIELD_NAME = 1,
    FIELD_NUMBER = 3,
    FIELD_LABEL = 4,
    FIELD_TYPE = 5,
    FIELD_TYPE_NAME = 6,
    FIELD_ONEOF = 9,
    FIELD_JSON = 10
};
enum { ENUM_NAME = 1, ENUM_VALUE = 2, VALUE_NAME = 1, VALUE_NUMBER = 2 };
enum { SERVICE_NAME = 1, SERVICE_METHOD = 2 };
enum {
    METHOD_NAME = 1,
    METHOD_INPUT = 2,
    METHOD_OUTPUT = 3,
    METHOD_STREAMS_IN = 5,
    METHOD_STREAMS_OUT = 6
};
#define OPTIONS_MAP_ENTRY 7
#define LABEL_REPEATED 3
#define FIELD_NUMBER_MAX ((1u << 29) - 1)

void ctl_schema_init(struct ctl_schema *s)
{
    *s = (struct ctl_schema){0};
    arena_init(&s->arena, CTL_SCHEMA_BYTES_MAX);
}

void ctl_schema_fini(struct ctl_schema *s)
{
    arena_fini(&s->arena);
}

static res_code_t no_room(struct err *err)
{
    return err_set(err, ERR_LIMIT, "the API's description is too large");
}

static res_code_t malformed(struct err *err, const char *what)
{
    return err_set(err, ERR_BAD_MESSAGE, "the API's description is malformed: %s", what);
}

/* The string that the field at hand holds. */
static res_code_t take_string(struct ctl_schema *s, const struct ctl_wire *w, const char **out,
                              struct err *err)
{
    if (w->kind != CTL_WIRE_BYTES || !pb_utf8_valid((const char *)w->p, w->n))
        return malformed(err, "a name is no text");
    char *copy = arena_alloc(&s->arena, w->n + 1);
    if (!copy)
        return no_room(err);
    memcpy(copy, w->p, w->n);
    copy[w->n] = 0;
    *out = copy;
    return OK;
}

static res_code_t full_name(struct ctl_schema *s, const char *scope, const char *name,
                            const char **out, struct err *err)
{
    *out = scope[0] ? arena_printf(&s->arena, "%s.%s", scope, name) : arena_strdup(&s->arena, name);
    return *out ? OK : no_room(err);
}

/* How often the field occurs; name, if it is there, is taken. */
static res_code_t count_field(struct ctl_schema *s, struct ctl_wire w, uint32_t number,
                              uint32_t name_number, size_t *count, const char **name,
                              struct err *err)
{
    *count = 0;
    *name = "";
    while (ctl_wire_next(&w)) {
        *count += w.number == number && w.kind == CTL_WIRE_BYTES;
        if (w.number == name_number && take_string(s, &w, name, err))
            return FAIL;
    }
    if (w.failed)
        return malformed(err, "a declaration breaks off");
    if ((s->declared += *count + 1) > CTL_DECLARED_MAX)
        return no_room(err);
    return (*name)[0] ? OK : malformed(err, "a declaration without a name");
}

/* ---- enums ---- */

static res_code_t add_enum(struct ctl_schema *s, const char *scope, struct ctl_wire w,
                           struct err *err)
{
    struct ctl_enum *e = arena_zalloc(&s->arena, sizeof *e);
    const char *name;
    size_t count;
    if (count_field(s, w, ENUM_VALUE, ENUM_NAME, &count, &name, err))
        return FAIL;
    if (!e || !(e->values = arena_zalloc(&s->arena, (count + 1) * sizeof *e->values)))
        return no_room(err);
    if (full_name(s, scope, name, &e->name, err))
        return FAIL;
    while (ctl_wire_next(&w)) {
        if (w.number != ENUM_VALUE || w.kind != CTL_WIRE_BYTES)
            continue;
        struct ctl_enum_value *v = &e->values[e->count++];
        struct ctl_wire in = ctl_wire_over(w.p, w.n);
        v->name = "";
        while (ctl_wire_next(&in)) {
            if (in.number == VALUE_NAME && take_string(s, &in, &v->name, err))
                return FAIL;
            if (in.number == VALUE_NUMBER)
                v->number = (int32_t)in.value;
        }
        if (in.failed)
            return malformed(err, "an enum's value breaks off");
    }
    e->next = s->enums;
    s->enums = e;
    return OK;
}

/* ---- messages ---- */

static res_code_t read_field(struct ctl_schema *s, struct ctl_wire w, struct ctl_field *f,
                             struct err *err)
{
    char camel[200];
    f->oneof = -1;
    f->name = "";
    while (ctl_wire_next(&w)) {
        res_code_t res = OK;
        switch (w.number) {
        case FIELD_NAME:
            res = take_string(s, &w, &f->name, err);
            break;
        case FIELD_JSON:
            res = take_string(s, &w, &f->json, err);
            break;
        case FIELD_TYPE_NAME:
            res = take_string(s, &w, &f->type_name, err);
            break;
        case FIELD_NUMBER:
            f->number = w.value <= FIELD_NUMBER_MAX ? (uint32_t)w.value : 0;
            break;
        case FIELD_LABEL:
            f->repeated = w.value == LABEL_REPEATED;
            break;
        case FIELD_TYPE:
            f->type = w.value <= CTL_SINT64 ? (enum ctl_type_id)w.value : 0;
            break;
        case FIELD_ONEOF:
            f->oneof = w.value <= 1000000 ? (int)w.value : 1000000;
            break;
        }
        if (res)
            return FAIL;
    }
    if (w.failed || !f->name[0] || !f->number || f->type < CTL_DOUBLE || f->type == CTL_GROUP)
        return malformed(err, "a field");
    if (f->type_name && f->type_name[0] == '.')
        f->type_name++;
    if ((f->type == CTL_MESSAGE || f->type == CTL_ENUM) && !f->type_name)
        return malformed(err, "a field without its type");
    if (!f->json) {
        ctl_camel(f->name, camel, sizeof camel);
        f->json = arena_strdup(&s->arena, camel);
    }
    return f->json ? OK : no_room(err);
}

static bool is_map_entry(struct ctl_wire options)
{
    bool yes = false;
    while (ctl_wire_next(&options))
        if (options.number == OPTIONS_MAP_ENTRY && options.kind == CTL_WIRE_VARINT)
            yes = options.value;
    return yes;
}

static res_code_t add_message(struct ctl_schema *s, const char *scope, struct ctl_wire w, int depth,
                              struct err *err)
{
    struct ctl_type *t = arena_zalloc(&s->arena, sizeof *t);
    const char *name;
    size_t count;
    if (depth > CTL_NEST_MAX)
        return malformed(err, "types nested too deeply");
    if (count_field(s, w, MESSAGE_FIELD, MESSAGE_NAME, &count, &name, err))
        return FAIL;
    if (!t || !(t->fields = arena_zalloc(&s->arena, (count + 1) * sizeof *t->fields)))
        return no_room(err);
    if (full_name(s, scope, name, &t->name, err))
        return FAIL;
    while (ctl_wire_next(&w)) {
        struct ctl_wire in = ctl_wire_over(w.p, w.n);
        res_code_t res = OK;
        if (w.kind != CTL_WIRE_BYTES)
            continue;
        if (w.number == MESSAGE_FIELD)
            res = read_field(s, in, &t->fields[t->count++], err);
        else if (w.number == MESSAGE_NESTED)
            res = add_message(s, t->name, in, depth + 1, err);
        else if (w.number == MESSAGE_ENUM)
            res = add_enum(s, t->name, in, err);
        else if (w.number == MESSAGE_OPTIONS)
            t->map_entry = is_map_entry(in);
        if (res)
            return FAIL;
    }
    t->next = s->types;
    s->types = t;
    return OK;
}

/* ---- services ---- */

static res_code_t add_method(struct ctl_schema *s, const char *service, struct ctl_wire w,
                             struct err *err)
{
    struct ctl_rpc *r = arena_zalloc(&s->arena, sizeof *r);
    if (!r)
        return no_room(err);
    r->service = service;
    while (ctl_wire_next(&w)) {
        res_code_t res = OK;
        if (w.number == METHOD_NAME)
            res = take_string(s, &w, &r->name, err);
        else if (w.number == METHOD_INPUT)
            res = take_string(s, &w, &r->input_name, err);
        else if (w.number == METHOD_OUTPUT)
            res = take_string(s, &w, &r->output_name, err);
        else if (w.number == METHOD_STREAMS_IN)
            r->streams_in = w.value;
        else if (w.number == METHOD_STREAMS_OUT)
            r->streams_out = w.value;
        if (res)
            return FAIL;
    }
    if (w.failed || !r->name || !r->input_name || !r->output_name)
        return malformed(err, "a method");
    r->input_name += r->input_name[0] == '.';
    r->output_name += r->output_name[0] == '.';
    struct ctl_rpc **at = &s->rpcs; /* in their order */
    while (*at)
        at = &(*at)->next;
    *at = r;
    return OK;
}

static res_code_t add_service(struct ctl_schema *s, const char *scope, struct ctl_wire w,
                              struct err *err)
{
    const char *name, *full;
    size_t count;
    if (count_field(s, w, SERVICE_METHOD, SERVICE_NAME, &count, &name, err) ||
        full_name(s, scope, name, &full, err))
        return FAIL;
    while (ctl_wire_next(&w))
        if (w.number == SERVICE_METHOD && w.kind == CTL_WIRE_BYTES &&
            add_method(s, full, ctl_wire_over(w.p, w.n), err))
            return FAIL;
    return OK;
}

/* ---- files ---- */

static res_code_t note_file(struct ctl_schema *s, const char *name, struct ctl_file **out,
                            struct err *err)
{
    struct ctl_file *f = s->files;
    while (f && strcmp(f->name, name) != 0)
        f = f->next;
    if (!f) {
        f = arena_zalloc(&s->arena, sizeof *f);
        if (!f)
            return no_room(err);
        f->name = name;
        f->next = s->files;
        s->files = f;
    }
    *out = f;
    return OK;
}

static res_code_t add_declaration(struct ctl_schema *s, const char *package,
                                  const struct ctl_wire *w, struct err *err)
{
    struct ctl_wire in = ctl_wire_over(w->p, w->n);
    struct ctl_file *f;
    const char *name;
    switch (w->number) {
    case FILE_DEPENDENCY:
        return take_string(s, w, &name, err) || note_file(s, name, &f, err) ? FAIL : OK;
    case FILE_MESSAGE:
        return add_message(s, package, in, 1, err);
    case FILE_ENUM:
        return add_enum(s, package, in, err);
    case FILE_SERVICE:
        return add_service(s, package, in, err);
    default:
        return OK;
    }
}

res_t ctl_schema_add(struct ctl_schema *s, const void *p, size_t n, struct err *err)
{
    struct ctl_wire w = ctl_wire_over(p, n);
    const char *name = "", *package = "";
    struct ctl_file *f;
    while (ctl_wire_next(&w)) {
        if (w.number == FILE_NAME && take_string(s, &w, &name, err))
            return FAIL;
        if (w.number == FILE_PACKAGE && take_string(s, &w, &package, err))
            return FAIL;
    }
    if (w.failed)
        return malformed(err, "a file breaks off");
    if (note_file(s, name, &f, err))
        return FAIL;
    if (f->there)
        return OK;
    f->there = true;
    w = ctl_wire_over(p, n);
    while (ctl_wire_next(&w))
        if (w.kind == CTL_WIRE_BYTES && add_declaration(s, package, &w, err))
            return err_wrap(err, "%s", name);
    return OK;
}

const char *ctl_schema_missing(const struct ctl_schema *s)
{
    const struct ctl_file *f = s->files;
    while (f && f->there)
        f = f->next;
    return f ? f->name : NULL;
}

const struct ctl_type *ctl_schema_type(const struct ctl_schema *s, const char *name)
{
    const struct ctl_type *t = s->types;
    while (t && strcmp(t->name, name) != 0)
        t = t->next;
    return t;
}

static const struct ctl_enum *find_enum(const struct ctl_schema *s, const char *name)
{
    const struct ctl_enum *e = s->enums;
    while (e && strcmp(e->name, name) != 0)
        e = e->next;
    return e;
}

static res_code_t undeclared(struct err *err, const char *who, const char *what)
{
    return err_set(err, ERR_BAD_MESSAGE, "the API's description is not whole: %.100s needs %.100s",
                   who, what);
}

/* A map's entry has a key that can be a name in JSON, and a value. */
static bool map_entry_ok(const struct ctl_type *t)
{
    return t->count == 2 && t->fields[0].number == 1 && t->fields[1].number == 2 &&
           !t->fields[0].repeated && !t->fields[1].repeated && t->fields[0].type != CTL_MESSAGE &&
           t->fields[0].type != CTL_BYTES && t->fields[0].type != CTL_DOUBLE &&
           t->fields[0].type != CTL_FLOAT && t->fields[0].type != CTL_ENUM;
}

static res_code_t link_type(const struct ctl_schema *s, struct ctl_type *t, struct err *err)
{
    for (size_t i = 0; i < t->count; i++) {
        struct ctl_field *f = &t->fields[i];
        if (f->type == CTL_MESSAGE && !(f->message = ctl_schema_type(s, f->type_name)))
            return undeclared(err, t->name, f->type_name);
        if (f->type == CTL_ENUM && !(f->values = find_enum(s, f->type_name)))
            return undeclared(err, t->name, f->type_name);
    }
    return t->map_entry && !map_entry_ok(t) ? malformed(err, "a map") : OK;
}

res_t ctl_schema_link(struct ctl_schema *s, struct err *err)
{
    for (struct ctl_type *t = s->types; t; t = t->next)
        if (link_type(s, t, err))
            return FAIL;
    for (struct ctl_rpc *r = s->rpcs; r; r = r->next) {
        if (!(r->input = ctl_schema_type(s, r->input_name)))
            return undeclared(err, r->name, r->input_name);
        if (!(r->output = ctl_schema_type(s, r->output_name)))
            return undeclared(err, r->name, r->output_name);
    }
    return OK;
}
