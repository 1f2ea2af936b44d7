#include "proto/message.h"
#include "engine/base/base.h"

#include <string.h>

static void *arena_allocator(void *arena, size_t n)
{
    return arena_alloc(arena, n);
}

static void arena_no_free(void *arena, void *p)
{
    (void)arena;
    (void)p;
}

/* Bytes of the character at p (RFC 3629: shortest form, no surrogates); 0: there is none, or NUL. */
static size_t utf8_length(const uint8_t *p, const uint8_t *end)
{
    uint32_t c = *p, least;
    size_t more;
    if (c < 0x80)
        return c != 0;
    if (c >= 0xc2 && c < 0xe0)
        more = 1, least = 0x80, c &= 0x1f;
    else if (c >= 0xe0 && c < 0xf0)
        more = 2, least = 0x800, c &= 0x0f;
    else if (c >= 0xf0 && c < 0xf5)
        more = 3, least = 0x10000, c &= 0x07;
    else
        return 0;
    if ((size_t)(end - p) <= more)
        return 0;
    for (size_t i = 1; i <= more; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    return c < least || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : more + 1;
}

bool pb_utf8_valid(const char *s, size_t n)
{
    const uint8_t *p = (const uint8_t *)s, *end = p + n;
    while (p < end) {
        size_t k = utf8_length(p, end);
        if (!k)
            return false;
        p += k;
    }
    return true;
}

void pb_utf8_clean(char *s)
{
    const char *end = s + strlen(s);
    while (s < end) {
        size_t k = utf8_length((const uint8_t *)s, (const uint8_t *)end);
        if (!k)
            *s = '?';
        s += k ? k : 1;
    }
}

static res_code_t check_message(const ProtobufCMessage *m, struct err *err);

static res_code_t check_value(const ProtobufCFieldDescriptor *f, const void *value, struct err *err)
{
    if (f->type == PROTOBUF_C_TYPE_STRING) {
        const char *s = *(const char *const *)value;
        if (s && !pb_utf8_valid(s, strlen(s)))
            return err_set(err, ERR_BAD_MESSAGE, "field %s is not valid UTF-8", f->name);
    } else if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
        const ProtobufCMessage *sub = *(const ProtobufCMessage *const *)value;
        if (sub)
            return check_message(sub, err);
    }
    return OK;
}

static res_code_t check_message(const ProtobufCMessage *m, struct err *err)
{
    const ProtobufCMessageDescriptor *d = m->descriptor;
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        if (f->type != PROTOBUF_C_TYPE_STRING && f->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        const char *at = (const char *)m + f->offset;
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t count;
            memcpy(&count, (const char *)m + f->quantifier_offset, sizeof count);
            void *const *each = *(void *const *const *)(const void *)at;
            for (size_t k = 0; k < count; k++)
                if (check_value(f, &each[k], err))
                    return FAIL;
            continue;
        }
        if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
            uint32_t which;
            memcpy(&which, (const char *)m + f->quantifier_offset, sizeof which);
            if (which != f->id)
                continue;
        }
        if (check_value(f, at, err))
            return FAIL;
    }
    return OK;
}

res_t pb_unpack(const ProtobufCMessageDescriptor *type, struct arena *arena, const void *p,
                size_t n, const ProtobufCMessage **out, struct err *err)
{
    ProtobufCAllocator in_arena = {arena_allocator, arena_no_free, arena};
    ProtobufCMessage *m = protobuf_c_message_unpack(type, &in_arena, n, n ? p : (const void *)"");
    if (!m)
        return err_set(err, ERR_BAD_MESSAGE, "malformed %s (%zu bytes)", type->name, n);
    if (check_message(m, err))
        return err_wrap(err, "%s", type->name);
    *out = m;
    return OK;
}

void pb_pack_grpc(struct buf *b, const ProtobufCMessage *m)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    ASSERT(n < UINT32_MAX);
    if (!buf_reserve(b, n + 5))
        return;
    buf_put_u8(b, 0);
    buf_put_u32(b, __builtin_bswap32((uint32_t)n));
    b->len += protobuf_c_message_pack(m, b->data + b->len);
}

void pb_pack_child(struct buf *b, const ProtobufCMessage *m)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    ASSERT(n < UINT32_MAX);
    if (!buf_reserve(b, n + 4))
        return;
    buf_put_u32(b, (uint32_t)n);
    b->len += protobuf_c_message_pack(m, b->data + b->len);
}
