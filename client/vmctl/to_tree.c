/* Wire bytes of a message that only a schema describes, as JSON or YAML. */
#include "client/vmctl/reflect.h"
#include "client/vmctl/wire.h"
#include "engine/base/base.h"
#include "proto/message.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A field as it came; items of a message are sorted by number, equal ones stay in their order. */
struct item {
    uint32_t number, order;
    unsigned kind;
    uint64_t value;
    const uint8_t *p;
    size_t n;
};

static int compare(const void *x, const void *y)
{
    const struct item *a = x, *b = y;
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

static res_code_t write_message(const struct ctl_type *type, const void *p, size_t n,
                                struct ctl_writer *w, int depth, struct err *err);

static unsigned kind_of(enum ctl_type_id type)
{
    switch (type) {
    case CTL_DOUBLE:
    case CTL_FIXED64:
    case CTL_SFIXED64:
        return CTL_WIRE_64;
    case CTL_FLOAT:
    case CTL_FIXED32:
    case CTL_SFIXED32:
        return CTL_WIRE_32;
    case CTL_STRING:
    case CTL_BYTES:
    case CTL_MESSAGE:
        return CTL_WIRE_BYTES;
    default:
        return CTL_WIRE_VARINT;
    }
}

/* A number as text; *wide: JSON has it as a string. */
static void number_text(const struct ctl_field *f, uint64_t v, char out[32], bool *wide)
{
    *wide = false;
    switch (f->type) {
    case CTL_INT32:
    case CTL_SFIXED32:
        snprintf(out, 32, "%" PRId32, (int32_t)v);
        break;
    case CTL_SINT32:
        snprintf(out, 32, "%" PRId32, (int32_t)((uint32_t)v >> 1 ^ -((uint32_t)v & 1)));
        break;
    case CTL_UINT32:
    case CTL_FIXED32:
        snprintf(out, 32, "%" PRIu32, (uint32_t)v);
        break;
    case CTL_BOOL:
        snprintf(out, 32, "%s", v ? "true" : "false");
        break;
    case CTL_SINT64:
        v = v >> 1 ^ -(v & 1);
        /* fall through */
    case CTL_INT64:
    case CTL_SFIXED64:
        *wide = true;
        snprintf(out, 32, "%" PRId64, (int64_t)v);
        break;
    default:
        *wide = true;
        snprintf(out, 32, "%" PRIu64, v);
    }
}

static void write_enum(struct ctl_writer *w, const struct ctl_enum *e, int32_t v)
{
    char text[16];
    for (size_t i = 0; i < e->count; i++)
        if (e->values[i].number == v) {
            ctl_w_string(w, e->values[i].name, strlen(e->values[i].name));
            return;
        }
    snprintf(text, sizeof text, "%" PRId32, v);
    ctl_w_plain(w, text);
}

static void write_number(struct ctl_writer *w, const struct ctl_field *f, uint64_t v)
{
    char text[32];
    bool wide;
    if (f->type == CTL_ENUM) {
        write_enum(w, f->values, (int32_t)v);
    } else if (f->type == CTL_DOUBLE) {
        double d;
        memcpy(&d, &v, sizeof d);
        ctl_w_double(w, d);
    } else if (f->type == CTL_FLOAT) {
        float d;
        memcpy(&d, &v, sizeof d);
        ctl_w_double(w, (double)d);
    } else {
        number_text(f, v, text, &wide);
        if (wide)
            ctl_w_string(w, text, strlen(text));
        else
            ctl_w_plain(w, text);
    }
}

static res_code_t write_item(const struct ctl_field *f, const struct item *it, struct ctl_writer *w,
                             int depth, struct err *err)
{
    if (it->kind != kind_of(f->type))
        return err_set(err, ERR_BAD_MESSAGE, "field %.100s has the wrong form", f->name);
    switch (f->type) {
    case CTL_MESSAGE:
        return write_message(f->message, it->p, it->n, w, depth + 1, err);
    case CTL_BYTES:
        ctl_w_base64(w, it->p, it->n);
        return OK;
    case CTL_STRING:
        if (!pb_utf8_valid((const char *)it->p, it->n))
            return err_set(err, ERR_BAD_MESSAGE, "field %.100s is not valid UTF-8", f->name);
        ctl_w_string(w, (const char *)it->p, it->n);
        return OK;
    default:
        write_number(w, f, it->value);
        return OK;
    }
}

/* Numbers in a row in one field. */
static res_code_t write_packed(const struct ctl_field *f, const struct item *it,
                               struct ctl_writer *w, struct err *err)
{
    struct ctl_wire in = ctl_wire_over(it->p, it->n);
    unsigned kind = kind_of(f->type);
    uint64_t v;
    while (in.at < in.end) {
        if (!(kind == CTL_WIRE_VARINT ? ctl_wire_varint(&in, &v)
                                      : ctl_wire_fixed(&in, kind == CTL_WIRE_64 ? 8 : 4, &v)))
            return err_set(err, ERR_BAD_MESSAGE, "field %.100s breaks off", f->name);
        write_number(w, f, v);
    }
    return OK;
}

static res_code_t write_list(const struct ctl_field *f, const struct item *items, size_t count,
                             struct ctl_writer *w, int depth, struct err *err)
{
    ctl_w_list(w);
    for (size_t i = 0; i < count; i++) {
        bool packed = items[i].kind == CTL_WIRE_BYTES && kind_of(f->type) != CTL_WIRE_BYTES;
        if (packed ? write_packed(f, &items[i], w, err) : write_item(f, &items[i], w, depth, err))
            return FAIL;
    }
    ctl_w_end(w);
    return OK;
}

/* One entry of a map: a message with a key and a value, either of which may be left out. *key is on the heap. */
static res_code_t read_entry(const struct ctl_type *t, const struct item *it, char **key,
                             struct item *value, struct err *err)
{
    struct ctl_wire in = ctl_wire_over(it->p, it->n);
    const struct ctl_field *f = &t->fields[0];
    const char *text = "";
    size_t text_n = 0;
    char digits[32];
    bool wide;
    *value = (struct item){.kind = kind_of(t->fields[1].type), .p = (const uint8_t *)""};
    if (f->type != CTL_STRING)
        number_text(f, 0, digits, &wide);
    while (ctl_wire_next(&in)) {
        if (in.number == 2)
            *value = (struct item){.kind = in.kind, .value = in.value, .p = in.p, .n = in.n};
        if (in.number != 1)
            continue;
        if (in.kind != kind_of(f->type))
            return err_set(err, ERR_BAD_MESSAGE, "a map's key has the wrong form");
        if (f->type == CTL_STRING)
            text = (const char *)in.p, text_n = in.n;
        else
            number_text(f, in.value, digits, &wide);
    }
    if (in.failed || !pb_utf8_valid(text, text_n))
        return err_set(err, ERR_BAD_MESSAGE, "a map's entry is malformed");
    *key = f->type == CTL_STRING ? strndup(text, text_n) : strdup(digits);
    return *key ? OK : err_set(err, ERR_NO_MEMORY, "no memory for a message");
}

static res_code_t write_entry(const struct ctl_type *t, const struct item *it, struct ctl_writer *w,
                              int depth, struct err *err)
{
    struct item value;
    char *key;
    if (it->kind != CTL_WIRE_BYTES)
        return err_set(err, ERR_BAD_MESSAGE, "a map's entry has the wrong form");
    if (read_entry(t, it, &key, &value, err))
        return FAIL;
    ctl_w_key(w, key);
    free(key);
    return write_item(&t->fields[1], &value, w, depth, err);
}

static res_code_t write_map(const struct ctl_field *f, const struct item *items, size_t count,
                            struct ctl_writer *w, int depth, struct err *err)
{
    ctl_w_map(w);
    for (size_t i = 0; i < count; i++)
        if (write_entry(f->message, &items[i], w, depth + 1, err))
            return FAIL;
    ctl_w_end(w);
    return OK;
}

/* All fields of the message in an array of their own, sorted. Fails: ERR_BAD_MESSAGE, ERR_NO_MEMORY. */
static res_code_t gather(const struct ctl_type *type, const void *p, size_t n, struct item **out,
                         size_t *count, struct err *err)
{
    struct ctl_wire w = ctl_wire_over(p, n);
    size_t total = 0;
    while (ctl_wire_next(&w))
        total++;
    if (w.failed || total > UINT32_MAX)
        return err_set(err, ERR_BAD_MESSAGE, "malformed %.100s (%zu bytes)", type->name, n);
    struct item *items = calloc(total + 1, sizeof *items);
    if (!items)
        return err_set(err, ERR_NO_MEMORY, "no memory for a message");
    w = ctl_wire_over(p, n);
    for (size_t i = 0; i < total && ctl_wire_next(&w); i++)
        items[i] = (struct item){w.number, (uint32_t)i, w.kind, w.value, w.p, w.n};
    qsort(items, total, sizeof *items, compare);
    *out = items;
    *count = total;
    return OK;
}

static res_code_t write_fields(const struct ctl_type *type, const struct item *items, size_t total,
                               struct ctl_writer *w, int depth, struct err *err)
{
    for (size_t k = 0; k < type->count; k++) {
        const struct ctl_field *f = &type->fields[k];
        size_t low = 0, high = total, count = 0;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (items[middle].number < f->number)
                low = middle + 1;
            else
                high = middle;
        }
        while (low + count < total && items[low + count].number == f->number)
            count++;
        if (count == 0)
            continue;
        bool map = f->repeated && f->message && f->message->map_entry;
        ctl_w_key(w, f->json);
        if (map           ? write_map(f, items + low, count, w, depth, err)
            : f->repeated ? write_list(f, items + low, count, w, depth, err)
                          : write_item(f, items + low + count - 1, w, depth, err))
            return FAIL;
    }
    return OK;
}

static res_code_t write_message(const struct ctl_type *type, const void *p, size_t n,
                                struct ctl_writer *w, int depth, struct err *err)
{
    struct item *items = NULL;
    size_t total = 0;
    if (depth > CTL_NEST_MAX)
        return err_set(err, ERR_LIMIT, "%.100s: messages nested more than %d deep", type->name,
                       CTL_NEST_MAX);
    if (gather(type, p, n, &items, &total, err))
        return FAIL;
    ctl_w_map(w);
    res_code_t res = write_fields(type, items, total, w, depth, err);
    free(items);
    if (res)
        return FAIL;
    ctl_w_end(w);
    return OK;
}

res_t ctl_to_tree(const struct ctl_type *type, const void *p, size_t n, struct ctl_writer *w,
                  struct err *err)
{
    return write_message(type, p, n, w, 1, err);
}
