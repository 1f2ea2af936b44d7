#include "daemon/manager/console.h"
#include "engine/base/base.h"

#include <stdlib.h>
#include <string.h>

#define RECORD_MAX 32768 /* a record grows to this before a new one begins */

struct record {
    uint32_t bytes;
    uint32_t stream;
    uint64_t seq; /* of its first byte */
};
_Static_assert(sizeof(struct record) == MGR_CONSOLE_HEAD, "rule (3)");

void mgr_console_fini(struct mgr_console *c)
{
    free(c->data);
    *c = (struct mgr_console){0};
}

static void copy_in(struct mgr_console *c, uint64_t pos, const void *p, size_t n)
{
    size_t at = pos % MGR_CONSOLE_BYTES, first = MIN(n, MGR_CONSOLE_BYTES - at);
    memcpy(c->data + at, p, first);
    memcpy(c->data, (const uint8_t *)p + first, n - first);
}

static void copy_out(const struct mgr_console *c, uint64_t pos, void *p, size_t n)
{
    size_t at = pos % MGR_CONSOLE_BYTES, first = MIN(n, MGR_CONSOLE_BYTES - at);
    memcpy(p, c->data + at, first);
    memcpy((uint8_t *)p + first, c->data, n - first);
}

static struct record record_at(const struct mgr_console *c, uint64_t pos)
{
    struct record r;
    copy_out(c, pos, &r, sizeof r);
    return r;
}

/* Make room for n bytes after head. */
static void make_room(struct mgr_console *c, size_t n)
{
    while (c->head + n - c->tail > MGR_CONSOLE_BYTES)
        c->tail += sizeof(struct record) + record_at(c, c->tail).bytes;
}

bool mgr_console_put(struct mgr_console *c, unsigned stream, const void *p, size_t n)
{
    ASSERT(n <= MGR_CONSOLE_KEPT / 2);
    if (n == 0)
        return true;
    if (!c->data && !(c->data = malloc(MGR_CONSOLE_BYTES)))
        return false;
    make_room(c, n + sizeof(struct record));
    struct record r = {0};
    if (c->head > c->last && c->last >= c->tail)
        r = record_at(c, c->last);
    if (r.bytes && r.stream == stream && r.bytes + n <= RECORD_MAX) {
        copy_in(c, c->head, p, n);
        r.bytes += (uint32_t)n;
    } else {
        c->last = c->head;
        r = (struct record){(uint32_t)n, stream, c->seq};
        copy_in(c, c->head + sizeof r, p, n);
        c->head += sizeof r;
    }
    copy_in(c, c->last, &r, sizeof r);
    c->head += n;
    c->seq += n;
    return true;
}

struct mgr_cursor mgr_console_begin(void)
{
    return (struct mgr_cursor){0, 0};
}

/* The newest byte may be in the middle of a record that still grows. */
struct mgr_cursor mgr_console_newest(const struct mgr_console *c)
{
    return (struct mgr_cursor){c->head > c->last && c->last >= c->tail ? c->last : c->head, c->seq};
}

uint64_t mgr_console_behind(const struct mgr_console *c, const struct mgr_cursor *at)
{
    return at->seq == c->seq ? 0 : c->head - MAX(at->pos, c->tail);
}

size_t mgr_console_get(const struct mgr_console *c, struct mgr_cursor *at, unsigned *stream,
                       uint64_t *dropped, void *p, size_t n)
{
    *dropped = 0;
    if (at->seq == c->seq)
        return 0;
    if (at->pos < c->tail) {
        uint64_t oldest = record_at(c, c->tail).seq; /* there is one, since there are bytes */
        *dropped = oldest > at->seq ? oldest - at->seq : 0;
        *at = (struct mgr_cursor){c->tail, MAX(oldest, at->seq)};
    }
    struct record r = record_at(c, at->pos);
    if (at->seq == r.seq + r.bytes) { /* all of it was read; there is a next one */
        at->pos += sizeof r + r.bytes;
        r = record_at(c, at->pos);
    }
    ASSERT(at->seq >= r.seq && at->seq < r.seq + r.bytes);
    size_t off = (size_t)(at->seq - r.seq), got = MIN(n, r.bytes - off);
    copy_out(c, at->pos + sizeof r + off, p, got);
    *stream = r.stream;
    at->seq += got;
    return got;
}
