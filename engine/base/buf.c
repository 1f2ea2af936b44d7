#include "engine/base/buf.h"
#include "engine/base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_fini(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

bool buf_reserve(struct buf *b, size_t more)
{
    if (b->failed || more > SIZE_MAX / 4 - b->len) {
        b->failed = true;
        return false;
    }
    if (b->cap - b->len >= more)
        return true;
    size_t cap = MAX(b->cap * 2, b->len + more);
    cap = MAX(cap, (size_t)64);
    uint8_t *p = realloc(b->data, cap);
    if (!p) {
        b->failed = true;
        return false;
    }
    b->data = p;
    b->cap = cap;
    return true;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
    if (n && buf_reserve(b, n)) {
        memcpy(b->data + b->len, p, n);
        b->len += n;
    }
}

void buf_put_u8(struct buf *b, uint8_t v)
{
    buf_put(b, &v, sizeof v);
}

void buf_put_u16(struct buf *b, uint16_t v)
{
    buf_put(b, &v, sizeof v);
}

void buf_put_u32(struct buf *b, uint32_t v)
{
    buf_put(b, &v, sizeof v);
}

void buf_put_u64(struct buf *b, uint64_t v)
{
    buf_put(b, &v, sizeof v);
}

void buf_put_zeros(struct buf *b, size_t n)
{
    if (n && buf_reserve(b, n)) {
        memset(b->data + b->len, 0, n);
        b->len += n;
    }
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n >= 0 && buf_reserve(b, (size_t)n + 1)) {
        vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void buf_drop_front(struct buf *b, size_t n)
{
    ASSERT(n <= b->len);
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
}

const void *cursor_get(struct cursor *c, size_t n)
{
    if (c->failed || cursor_left(c) < n) {
        c->failed = true;
        return NULL;
    }
    const void *p = c->at;
    c->at += n;
    return p;
}

#define CURSOR_INT(name, type)                                                                     \
    type name(struct cursor *c)                                                                    \
    {                                                                                              \
        type v = 0;                                                                                \
        const void *p = cursor_get(c, sizeof v);                                                   \
        if (p)                                                                                     \
            memcpy(&v, p, sizeof v);                                                               \
        return v;                                                                                  \
    }
CURSOR_INT(cursor_u8, uint8_t)
CURSOR_INT(cursor_u16, uint16_t)
CURSOR_INT(cursor_u32, uint32_t)
CURSOR_INT(cursor_u64, uint64_t)
