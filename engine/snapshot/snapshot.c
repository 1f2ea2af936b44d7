#include "engine/snapshot/snapshot.h"
#include "engine/base/base.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAGIC 0x31504e5356495656ull /* "VVIVSNP1" */
#define SECTION_HEAD 20             /* tag 4, version 4, length 8, crc 4 */
#define NULL_LENGTH UINT64_MAX

static uint32_t crc32c(const uint8_t *p, size_t n)
{
    static uint32_t table[256];
    static _Atomic int ready;
    if (!ready) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int k = 0; k < 8; k++)
                c = c & 1 ? 0x82f63b78u ^ c >> 1 : c >> 1;
            table[i] = c;
        }
        ready = 1;
    }
    uint32_t c = ~0u;
    while (n--)
        c = table[(c ^ *p++) & 0xff] ^ c >> 8;
    return ~c;
}

void snap_writer_init(struct snap_writer *w, int page_fd)
{
    *w = (struct snap_writer){.page_fd = page_fd};
    buf_put_u64(&w->out, MAGIC);
}

void snap_writer_fini(struct snap_writer *w)
{
    buf_fini(&w->out);
}

void snap_begin(struct snap_writer *w, uint32_t tag, uint32_t version)
{
    ASSERT(w->depth < SNAP_DEPTH_MAX);
    w->open[w->depth++] = w->out.len;
    buf_put_u32(&w->out, tag);
    buf_put_u32(&w->out, version);
    buf_put_zeros(&w->out, 12);
}

void snap_end(struct snap_writer *w)
{
    ASSERT(w->depth > 0);
    size_t head = w->open[--w->depth];
    if (w->out.failed)
        return;
    uint64_t length = w->out.len - head - SECTION_HEAD;
    uint32_t crc = crc32c(w->out.data + head + SECTION_HEAD, length);
    memcpy(w->out.data + head + 8, &length, 8);
    memcpy(w->out.data + head + 16, &crc, 4);
}

void snap_put_u32(struct snap_writer *w, uint32_t v)
{
    buf_put_u32(&w->out, v);
}

void snap_put_u64(struct snap_writer *w, uint64_t v)
{
    buf_put_u64(&w->out, v);
}

void snap_put_bytes(struct snap_writer *w, const void *p, size_t n)
{
    buf_put_u64(&w->out, n);
    buf_put(&w->out, p, n);
}

void snap_put_str(struct snap_writer *w, const char *s)
{
    if (s)
        snap_put_bytes(w, s, strlen(s));
    else
        buf_put_u64(&w->out, NULL_LENGTH);
}

res_t snap_put_pages(struct snap_writer *w, const void *p, size_t n, uint64_t *offset, struct err *err)
{
    ASSERT(n % PAGE_SIZE == 0);
    for (size_t done = 0; done < n;) {
        ssize_t k = pwrite(w->page_fd, (const char *)p + done, n - done, (off_t)(w->page_bytes + done));
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return err_set_os(err, "page file");
        done += (size_t)k;
    }
    *offset = w->page_bytes;
    w->page_bytes += n;
    return OK;
}

res_t snap_finish(struct snap_writer *w, struct err *err)
{
    ASSERT(w->depth == 0);
    return w->out.failed ? err_set(err, ERR_NO_MEMORY, "snapshot records") : OK;
}

void snap_refuse(struct snap_reader *r, const char *fmt, ...)
{
    if (r->failed)
        return;
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    r->failed = true;
    (void)err_set(&r->err, ERR_BAD_SNAPSHOT, "snapshot: %s", text);
}

res_t snap_check(struct snap_reader *r, struct err *err)
{
    if (!r->failed)
        return OK;
    if (err)
        *err = r->err;
    return FAIL;
}

res_t snap_reader_init(struct snap_reader *r, const void *p, size_t n, int page_fd, struct err *err)
{
    *r = (struct snap_reader){.page_fd = page_fd};
    r->at[0] = cursor_over(p, n);
    if (cursor_u64(&r->at[0]) != MAGIC)
        snap_refuse(r, "not a snapshot of this version");
    return snap_check(r, err);
}

static struct cursor *top(struct snap_reader *r)
{
    return &r->at[r->depth];
}

bool snap_next_is(struct snap_reader *r, uint32_t tag)
{
    struct cursor c = *top(r);
    return !r->failed && cursor_left(&c) >= SECTION_HEAD && cursor_u32(&c) == tag;
}

uint32_t snap_open(struct snap_reader *r, uint32_t tag, uint32_t version_max)
{
    if (r->failed)
        return 0;
    struct cursor *c = top(r);
    uint32_t got = cursor_u32(c), version = cursor_u32(c);
    uint64_t length = cursor_u64(c);
    uint32_t crc = cursor_u32(c);
    if (c->failed || length > cursor_left(c)) {
        snap_refuse(r, "cut short at a section's head");
    } else if (got != tag) {
        snap_refuse(r, "section %.4s where %.4s was expected", (const char *)&got, (const char *)&tag);
    } else if (!version || version > version_max) {
        snap_refuse(r, "section %.4s has version %u, this build reads up to %u", (const char *)&tag, version,
                    version_max);
    } else if (r->depth + 1 >= SNAP_DEPTH_MAX) {
        snap_refuse(r, "sections nest too deep");
    } else if (crc32c(c->at, length) != crc) {
        snap_refuse(r, "section %.4s fails its checksum", (const char *)&tag);
    } else {
        r->at[++r->depth] = cursor_over(c->at, length);
        c->at += length;
        return version;
    }
    return 0;
}

void snap_close(struct snap_reader *r)
{
    if (top(r)->failed)
        snap_refuse(r, "a section is shorter than its contents");
    if (r->depth)
        r->depth--;
}

uint32_t snap_get_u32(struct snap_reader *r)
{
    uint32_t v = r->failed ? 0 : cursor_u32(top(r));
    if (top(r)->failed)
        snap_refuse(r, "a section is shorter than its contents");
    return v;
}

uint64_t snap_get_u64(struct snap_reader *r)
{
    uint64_t v = r->failed ? 0 : cursor_u64(top(r));
    if (top(r)->failed)
        snap_refuse(r, "a section is shorter than its contents");
    return v;
}

uint64_t snap_get_max(struct snap_reader *r, uint64_t max, const char *what)
{
    uint64_t v = snap_get_u64(r);
    if (v <= max)
        return v;
    snap_refuse(r, "%s is %llu, more than %llu", what, (unsigned long long)v, (unsigned long long)max);
    return 0;
}

const void *snap_get_bytes(struct snap_reader *r, size_t max, size_t *n)
{
    uint64_t length = snap_get_max(r, max, "a length");
    const void *p = r->failed ? NULL : cursor_get(top(r), length);
    if (!p)
        snap_refuse(r, "a section is shorter than its contents");
    *n = p ? length : 0;
    return p;
}

bool snap_get_exact(struct snap_reader *r, void *p, size_t n)
{
    size_t got;
    const void *q = snap_get_bytes(r, n, &got);
    if (q && got != n)
        snap_refuse(r, "a field has %zu bytes, not %zu", got, n);
    if (r->failed)
        return false;
    memcpy(p, q, n);
    return true;
}

char *snap_get_str(struct snap_reader *r, size_t max)
{
    struct cursor ahead = *top(r);
    if (!r->failed && cursor_u64(&ahead) == NULL_LENGTH && !ahead.failed) {
        *top(r) = ahead;
        return NULL;
    }
    size_t n;
    const char *p = snap_get_bytes(r, max, &n);
    char *s = p ? malloc(n + 1) : NULL;
    if (!s)
        return NULL;
    memcpy(s, p, n);
    s[n] = 0;
    return s;
}

res_t snap_get_pages(struct snap_reader *r, uint64_t offset, void *p, size_t n, struct err *err)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = pread(r->page_fd, (char *)p + done, n - done, (off_t)(offset + done));
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return err_set_os(err, "page file");
        if (k == 0)
            return err_set(err, ERR_BAD_SNAPSHOT, "the page file ends at %llu", (unsigned long long)(offset + done));
        done += (size_t)k;
    }
    return OK;
}
