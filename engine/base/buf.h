/*
 * base/buf.h - a growable byte buffer for writing, and a bounded cursor for reading hostile bytes.
 *
 * Writing: after a failed allocation `failed` stays set and further puts do nothing, so that a
 * caller may check once at the end. Reading: a get past the end sets `failed`, returns zeros, and the
 * caller checks once. Integers are little endian. Thread: one at a time.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *data;
    size_t len, cap;
    bool failed;
};
void buf_fini(struct buf *b);
bool buf_reserve(struct buf *b, size_t more);
void buf_put(struct buf *b, const void *p, size_t n);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16(struct buf *b, uint16_t v);
void buf_put_u32(struct buf *b, uint32_t v);
void buf_put_u64(struct buf *b, uint64_t v);
void buf_put_zeros(struct buf *b, size_t n);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Drop n bytes from the front (n <= len). */
void buf_drop_front(struct buf *b, size_t n);

struct cursor {
    const uint8_t *at, *end;
    bool failed;
};
static inline struct cursor cursor_over(const void *p, size_t n)
{
    return (struct cursor){p, (const uint8_t *)p + n, false};
}
static inline size_t cursor_left(const struct cursor *c)
{
    return (size_t)(c->end - c->at);
}
/* n bytes in place, or NULL (and failed). */
const void *cursor_get(struct cursor *c, size_t n);
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);

#endif
