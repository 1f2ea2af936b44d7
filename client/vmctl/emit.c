/* Any protobuf-c message as JSON or YAML, by its descriptor. */
#include "client/vmctl/ctl.h"
#include "client/vmctl/write.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

void ctl_camel(const char *name, char *out, size_t cap)
{
    size_t n = 0;
    bool up = false;
    for (; *name && n + 1 < cap; name++) {
        if (*name == '_') {
            up = true;
            continue;
        }
        out[n++] = up ? (char)toupper((unsigned char)*name) : *name;
        up = false;
    }
    out[n] = 0;
}

static uint64_t bits_at(const void *at, size_t bytes)
{
    uint64_t v = 0;
    memcpy(&v, at, bytes); /* little endian, as all of this house */
    return v;
}

static size_t size_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4; /* integers, enums, float, and protobuf_c_boolean, which is an int */
    }
}

static void emit_enum(struct ctl_writer *w, const ProtobufCEnumDescriptor *d, int32_t v)
{
    const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(d, v);
    char text[16];
    snprintf(text, sizeof text, "%d", v);
    if (known)
        ctl_w_string(w, known->name, strlen(known->name));
    else
        ctl_w_plain(w, text);
}

static void emit_value(struct ctl_writer *w, const ProtobufCFieldDescriptor *f, const void *at)
{
    char text[32];
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        snprintf(text, sizeof text, "%" PRId32, (int32_t)bits_at(at, 4));
        ctl_w_plain(w, text);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        snprintf(text, sizeof text, "%" PRIu32, (uint32_t)bits_at(at, 4));
        ctl_w_plain(w, text);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        snprintf(text, sizeof text, "%" PRId64, (int64_t)bits_at(at, 8));
        ctl_w_string(w, text, strlen(text));
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        snprintf(text, sizeof text, "%" PRIu64, bits_at(at, 8));
        ctl_w_string(w, text, strlen(text));
        break;
    case PROTOBUF_C_TYPE_FLOAT: {
        float v;
        memcpy(&v, at, sizeof v);
        ctl_w_double(w, (double)v);
        break;
    }
    case PROTOBUF_C_TYPE_DOUBLE: {
        double v;
        memcpy(&v, at, sizeof v);
        ctl_w_double(w, v);
        break;
    }
    case PROTOBUF_C_TYPE_BOOL:
        ctl_w_plain(w, bits_at(at, 4) ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_ENUM:
        emit_enum(w, f->descriptor, (int32_t)bits_at(at, 4));
        break;
    case PROTOBUF_C_TYPE_STRING: {
        const char *s = *(const char *const *)at;
        ctl_w_string(w, s ? s : "", s ? strlen(s) : 0);
        break;
    }
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *b = at;
        ctl_w_base64(w, b->data, b->len);
        break;
    }
    case PROTOBUF_C_TYPE_MESSAGE:
        ctl_emit(w, *(const ProtobufCMessage *const *)at);
        break;
    }
}

static bool is_default(const ProtobufCFieldDescriptor *f, const void *at)
{
    if (f->type == PROTOBUF_C_TYPE_STRING) {
        const char *s = *(const char *const *)at;
        return !s || !s[0];
    }
    if (f->type == PROTOBUF_C_TYPE_BYTES)
        return ((const ProtobufCBinaryData *)at)->len == 0;
    if (f->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(const ProtobufCMessage *const *)at == NULL;
    return bits_at(at, size_of(f->type)) == 0;
}

static void emit_repeated(struct ctl_writer *w, const ProtobufCMessage *m,
                          const ProtobufCFieldDescriptor *f)
{
    size_t count;
    memcpy(&count, (const char *)m + f->quantifier_offset, sizeof count);
    const char *each = *(const char *const *)(const void *)((const char *)m + f->offset);
    ctl_w_list(w);
    for (size_t i = 0; i < count; i++)
        emit_value(w, f, each + i * size_of(f->type));
    ctl_w_end(w);
}

static bool is_there(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    const char *at = (const char *)m + f->offset;
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t count;
        memcpy(&count, (const char *)m + f->quantifier_offset, sizeof count);
        return count > 0;
    }
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return bits_at((const char *)m + f->quantifier_offset, 4) == f->id;
    return !is_default(f, at);
}

void ctl_emit(struct ctl_writer *w, const ProtobufCMessage *m)
{
    const ProtobufCMessageDescriptor *d = m->descriptor;
    char name[128];
    ctl_w_map(w);
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        if (!is_there(m, f))
            continue;
        ctl_camel(f->name, name, sizeof name);
        ctl_w_key(w, name);
        if (f->label == PROTOBUF_C_LABEL_REPEATED)
            emit_repeated(w, m, f);
        else
            emit_value(w, f, (const char *)m + f->offset);
    }
    ctl_w_end(w);
}
