/* JSON as wire bytes of a message that only a schema describes. */
#include "client/vmctl/reflect.h"
#include "client/vmctl/wire.h"
#include "engine/base/base.h"
#include "engine/base/suggest.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static res_code_t put_message(const struct ctl_type *type, const json_t *json, struct buf *out,
                              int depth, struct err *err);

static res_code_t expected(struct err *err, const char *what)
{
    return err_set(err, ERR_INVALID, "%s was expected", what);
}

/* Put the place in front, unless what is wrong would be cut off at the end. */
static res_code_t at(struct err *err, const char *place)
{
    return strlen(err->text) + strlen(place) < 300 ? err_wrap(err, "%.60s", place) : FAIL;
}

/* ---- numbers ---- */

/* A whole number from least to most, as number or string. */
static res_code_t whole(const json_t *json, bool is_signed, unsigned bits, uint64_t *out,
                        struct err *err)
{
    char what[80], *end;
    uint64_t most = is_signed ? UINT64_MAX >> (65 - bits) : UINT64_MAX >> (64 - bits);
    int64_t v = 0;
    bool ok = false;
    if (json_is_integer(json)) {
        v = json_integer_value(json);
        *out = (uint64_t)v;
        ok = true;
    } else if (json_is_string(json)) {
        const char *s = json_string_value(json);
        bool minus = s[0] == '-';
        errno = 0;
        *out = strtoull(s + minus, &end, 10);
        ok = isdigit((unsigned char)s[minus]) && !*end && !errno &&
             (!minus || *out <= (uint64_t)INT64_MAX + 1);
        if (minus)
            *out = -*out;
        v = minus ? (int64_t)*out : *out > INT64_MAX ? INT64_MAX : (int64_t)*out;
    } else if (json_is_real(json)) {
        double d = json_real_value(json);
        ok = d == floor(d) && fabs(d) < 9e15;
        v = ok ? (int64_t)d : 0;
        *out = (uint64_t)v;
    }
    if (v < 0)
        ok = ok && is_signed && v >= -(int64_t)most - 1;
    else
        ok = ok && *out <= most;
    if (ok)
        return OK;
    snprintf(what, sizeof what, "a number from %s%" PRIu64 " to %" PRIu64, is_signed ? "-" : "",
             is_signed ? most + 1 : 0, most);
    return expected(err, what);
}

static res_code_t real(const json_t *json, double *out, struct err *err)
{
    const char *s = json_string_value(json);
    char *end;
    if (json_is_number(json)) {
        *out = json_number_value(json);
        return OK;
    }
    if (s && s[0]) {
        *out = !strcmp(s, "NaN")         ? (double)NAN
               : !strcmp(s, "Infinity")  ? (double)INFINITY
               : !strcmp(s, "-Infinity") ? -(double)INFINITY
                                         : strtod(s, &end);
        if (!strcmp(s, "NaN") || strstr(s, "Infinity") || !*end)
            return OK;
    }
    return expected(err, "a number");
}

static res_code_t choose(const struct ctl_enum *e, const json_t *json, uint64_t *out,
                         struct err *err)
{
    const char *s = json_string_value(json), *names[256], *meant;
    size_t n = 0;
    if (!s) {
        if (!json_is_integer(json))
            return expected(err, "a name or number");
        return whole(json, true, 32, out, err);
    }
    for (size_t i = 0; i < e->count; i++) {
        if (!strcmp(e->values[i].name, s)) {
            *out = (uint64_t)(int64_t)e->values[i].number;
            return OK;
        }
        if (n < ARRAY_LEN(names))
            names[n++] = e->values[i].name;
    }
    meant = suggest(s, names, n);
    return err_set(err, ERR_INVALID, "%.60s is no value of %.80s%s%.60s%s", s, e->name,
                   meant ? "; did you mean " : "", meant ? meant : "", meant ? "?" : "");
}

/* The bits of a number as they are put on the wire. */
static res_code_t number(const struct ctl_field *f, const json_t *json, uint64_t *v,
                         struct err *err)
{
    double d;
    float narrow;
    switch (f->type) {
    case CTL_BOOL:
        if (!json_is_boolean(json))
            return expected(err, "true or false");
        *v = json_is_true(json);
        return OK;
    case CTL_ENUM:
        return choose(f->values, json, v, err);
    case CTL_DOUBLE:
        if (real(json, &d, err))
            return FAIL;
        memcpy(v, &d, sizeof d);
        return OK;
    case CTL_FLOAT:
        if (real(json, &d, err))
            return FAIL;
        narrow = (float)d;
        *v = 0;
        memcpy(v, &narrow, sizeof narrow);
        return OK;
    case CTL_INT32:
    case CTL_SFIXED32:
        return whole(json, true, 32, v, err);
    case CTL_SINT32:
    case CTL_SINT64:
        if (whole(json, true, f->type == CTL_SINT32 ? 32 : 64, v, err))
            return FAIL;
        *v = *v << 1 ^ (uint64_t)((int64_t)*v >> 63);
        return OK;
    case CTL_UINT32:
    case CTL_FIXED32:
        return whole(json, false, 32, v, err);
    case CTL_INT64:
    case CTL_SFIXED64:
        return whole(json, true, 64, v, err);
    default:
        return whole(json, false, 64, v, err);
    }
}

/* ---- bytes ---- */

static int digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c == '-' ? '+' : c == '_' ? '/' : c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Base64, also of the kind for URLs, with or without = at its end. */
static res_code_t put_base64(uint32_t field, const char *s, struct buf *out, struct err *err)
{
    struct buf bytes = {0};
    uint32_t bits = 0;
    unsigned have = 0;
    res_code_t res = OK;
    for (; *s && *s != '='; s++) {
        int d = digit(*s);
        if (d < 0) {
            res = expected(err, "base64");
            break;
        }
        bits = bits << 6 | (uint32_t)d;
        have += 6;
        if (have >= 8) {
            have -= 8;
            buf_put_u8(&bytes, (uint8_t)(bits >> have));
        }
    }
    if (!res)
        ctl_put_field(out, field, bytes.data, bytes.len);
    out->failed |= bytes.failed;
    buf_fini(&bytes);
    return res;
}

/* ---- fields ---- */

static bool fixed64(enum ctl_type_id t)
{
    return t == CTL_DOUBLE || t == CTL_FIXED64 || t == CTL_SFIXED64;
}

static bool fixed32(enum ctl_type_id t)
{
    return t == CTL_FLOAT || t == CTL_FIXED32 || t == CTL_SFIXED32;
}

static res_code_t put_value(const struct ctl_field *f, const json_t *json, struct buf *out,
                            int depth, struct err *err)
{
    uint64_t v;
    if (f->type == CTL_MESSAGE) {
        struct buf inner = {0};
        res_code_t res = put_message(f->message, json, &inner, depth + 1, err);
        if (!res)
            ctl_put_field(out, f->number, inner.data, inner.len);
        out->failed |= inner.failed;
        buf_fini(&inner);
        return res;
    }
    if (f->type == CTL_STRING || f->type == CTL_BYTES) {
        if (!json_is_string(json))
            return expected(err, f->type == CTL_STRING ? "a string" : "a string of base64");
        if (f->type == CTL_BYTES)
            return put_base64(f->number, json_string_value(json), out, err);
        ctl_put_field(out, f->number, json_string_value(json), json_string_length(json));
        return OK;
    }
    if (number(f, json, &v, err))
        return FAIL;
    ctl_put_tag(out, f->number,
                fixed64(f->type)   ? CTL_WIRE_64
                : fixed32(f->type) ? CTL_WIRE_32
                                   : CTL_WIRE_VARINT);
    if (fixed64(f->type))
        buf_put_u64(out, v);
    else if (fixed32(f->type))
        buf_put_u32(out, (uint32_t)v);
    else
        ctl_put_varint(out, v);
    return OK;
}

static res_code_t put_list(const struct ctl_field *f, const json_t *json, struct buf *out,
                           int depth, struct err *err)
{
    if (!json_is_array(json))
        return expected(err, "an array");
    for (size_t i = 0; i < json_array_size(json); i++)
        if (put_value(f, json_array_get(json, i), out, depth, err))
            return err_wrap(err, "[%zu]", i);
    return OK;
}

/* A key of a JSON object as the value of a map's key. */
static json_t *key_value(const struct ctl_field *f, const char *key)
{
    if (f->type == CTL_BOOL && (!strcmp(key, "true") || !strcmp(key, "false")))
        return json_boolean(key[0] == 't');
    return json_string(key);
}

static res_code_t put_map(const struct ctl_field *f, const json_t *json, struct buf *out, int depth,
                          struct err *err)
{
    const struct ctl_type *t = f->message;
    const char *key;
    json_t *value;
    if (!json_is_object(json))
        return expected(err, "an object");
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        struct buf entry = {0};
        json_t *k = key_value(&t->fields[0], key);
        res_code_t res = !k ? err_set(err, ERR_NO_MEMORY, "no memory")
                         : put_value(&t->fields[0], k, &entry, depth, err)         ? FAIL
                         : put_value(&t->fields[1], value, &entry, depth + 1, err) ? FAIL
                                                                                   : OK;
        json_decref(k);
        if (!res)
            ctl_put_field(out, f->number, entry.data, entry.len);
        out->failed |= entry.failed;
        buf_fini(&entry);
        if (res)
            return at(err, key);
    }
    return OK;
}

static const struct ctl_field *find_field(const struct ctl_type *type, const char *key)
{
    for (size_t i = 0; i < type->count; i++)
        if (!strcmp(type->fields[i].json, key) || !strcmp(type->fields[i].name, key))
            return &type->fields[i];
    return NULL;
}

static res_code_t no_field(const struct ctl_type *type, const char *key, struct err *err)
{
    const char *names[256], *meant;
    size_t n = MIN(type->count, ARRAY_LEN(names));
    for (size_t i = 0; i < n; i++)
        names[i] = type->fields[i].json;
    meant = suggest(key, names, n);
    return err_set(err, ERR_INVALID, "%.100s has no field \"%.60s\"%s%.60s%s", type->name, key,
                   meant ? "; did you mean \"" : "", meant ? meant : "", meant ? "\"?" : "");
}

/* Two members of one oneof cannot both be given. */
static res_code_t check_oneofs(const struct ctl_type *type, const json_t *json, struct err *err)
{
    const char *key, *other;
    json_t *value, *other_value;
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        const struct ctl_field *f = find_field(type, key);
        if (!f || f->oneof < 0 || json_is_null(value))
            continue;
        json_object_foreach((json_t *)(uintptr_t)json, other, other_value)
        {
            const struct ctl_field *g = find_field(type, other);
            if (g && g != f && g->oneof == f->oneof && !json_is_null(other_value))
                return err_set(err, ERR_INVALID,
                               "\"%.60s\" and \"%.60s\": only one of them can be given", key,
                               other);
        }
    }
    return OK;
}

static res_code_t put_message(const struct ctl_type *type, const json_t *json, struct buf *out,
                              int depth, struct err *err)
{
    const char *key;
    json_t *value;
    if (depth > CTL_NEST_MAX)
        return err_set(err, ERR_LIMIT, "messages nested more than %d deep", CTL_NEST_MAX);
    if (!json_is_object(json))
        return expected(err, "an object");
    if (check_oneofs(type, json, err))
        return FAIL;
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        const struct ctl_field *f = find_field(type, key);
        if (!f)
            return no_field(type, key, err);
        if (json_is_null(value))
            continue;
        bool map = f->repeated && f->message && f->message->map_entry;
        if (map           ? put_map(f, value, out, depth, err)
            : f->repeated ? put_list(f, value, out, depth, err)
                          : put_value(f, value, out, depth, err))
            return at(err, key);
    }
    return OK;
}

res_t ctl_from_json(const struct ctl_type *type, const json_t *json, struct buf *out,
                    struct err *err)
{
    if (put_message(type, json, out, 1, err))
        return FAIL;
    return out->failed ? err_set(err, ERR_NO_MEMORY, "no memory for the request") : OK;
}
