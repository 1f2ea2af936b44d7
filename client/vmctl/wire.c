#include "client/vmctl/wire.h"

#include <string.h>

bool ctl_wire_varint(struct ctl_wire *w, uint64_t *v)
{
    *v = 0;
    for (unsigned shift = 0; shift < 64 && w->at < w->end; shift += 7) {
        uint8_t b = *w->at++;
        *v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return true;
    }
    w->failed = true;
    return false;
}

bool ctl_wire_fixed(struct ctl_wire *w, unsigned bytes, uint64_t *v)
{
    *v = 0;
    if ((size_t)(w->end - w->at) < bytes) {
        w->failed = true;
        return false;
    }
    memcpy(v, w->at, bytes);
    w->at += bytes;
    return true;
}

bool ctl_wire_next(struct ctl_wire *w)
{
    uint64_t tag, n;
    if (w->failed || w->at == w->end || !ctl_wire_varint(w, &tag))
        return false;
    w->number = (uint32_t)(tag >> 3);
    w->kind = tag & 7;
    if (w->number == 0 || tag >> 32) {
        w->failed = true;
        return false;
    }
    switch (w->kind) {
    case CTL_WIRE_VARINT:
        return ctl_wire_varint(w, &w->value);
    case CTL_WIRE_64:
        return ctl_wire_fixed(w, 8, &w->value);
    case CTL_WIRE_32:
        return ctl_wire_fixed(w, 4, &w->value);
    case CTL_WIRE_BYTES:
        if (!ctl_wire_varint(w, &n) || n > (size_t)(w->end - w->at))
            break;
        w->p = w->at;
        w->n = (size_t)n;
        w->at += n;
        return true;
    }
    w->failed = true;
    return false;
}

void ctl_put_varint(struct buf *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        buf_put_u8(b, (uint8_t)(v | 0x80));
    buf_put_u8(b, (uint8_t)v);
}

void ctl_put_tag(struct buf *b, uint32_t number, unsigned kind)
{
    ctl_put_varint(b, (uint64_t)number << 3 | kind);
}

void ctl_put_field(struct buf *b, uint32_t number, const void *p, size_t n)
{
    ctl_put_tag(b, number, CTL_WIRE_BYTES);
    ctl_put_varint(b, n);
    if (n)
        buf_put(b, p, n);
}
