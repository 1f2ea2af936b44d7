/*
 * vmctl/wire.h - protobuf's wire format, field by field.
 * Looks into: base.  Used by: its own room.  Thread: any.
 */
#ifndef VMCTL_WIRE_H
#define VMCTL_WIRE_H

#include "engine/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CTL_WIRE_VARINT = 0, CTL_WIRE_64 = 1, CTL_WIRE_BYTES = 2, CTL_WIRE_32 = 5 };
struct ctl_wire {
    const uint8_t *at, *end;
    bool failed; /* malformed, or a group, which proto3 does not have */
    /* the field that ctl_wire_next() found */
    uint32_t number;
    unsigned kind;
    uint64_t value;   /* of numbers */
    const uint8_t *p; /* of BYTES */
    size_t n;
};
static inline struct ctl_wire ctl_wire_over(const void *p, size_t n)
{
    const uint8_t *at = p ? p : (const uint8_t *)""; /* nothing may be at NULL */
    return (struct ctl_wire){.at = at, .end = at + n};
}
/* false: the end, or failed. */
bool ctl_wire_next(struct ctl_wire *w);
bool ctl_wire_varint(struct ctl_wire *w, uint64_t *v);
/* A number of `bytes` bytes, 4 or 8. */
bool ctl_wire_fixed(struct ctl_wire *w, unsigned bytes, uint64_t *v);

void ctl_put_varint(struct buf *b, uint64_t v);
void ctl_put_tag(struct buf *b, uint32_t number, unsigned kind);
void ctl_put_field(struct buf *b, uint32_t number, const void *p, size_t n);

#endif
