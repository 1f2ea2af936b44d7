/*
 * snapshot/snapshot.h - records that rooms save themselves with.
 *
 * Looks into: base.  Used by: every room with state.
 *
 * A stream is a head {magic, version} and sections; a section is {tag, version, length, CRC-32C,
 * payload}. A room writes its section with snap_begin .. put .. snap_end and reads it back with snap_open
 * .. get .. snap_close. Sections nest by being written one after another inside the payload of their owner
 * with the same calls. Reading is hostile: every get is bounded by the section, lengths and counts are
 * checked by the reader against its own limits, and the first failure sticks (r->failed, r->err).
 * Bulk pages go to a separate page file, of which the records hold offsets.
 *
 * Thread: one at a time.
 */
#ifndef SNAPSHOT_SNAPSHOT_H
#define SNAPSHOT_SNAPSHOT_H

#include "engine/base/buf.h"
#include "engine/base/err.h"

#define SNAP_TAG(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)
#define SNAP_DEPTH_MAX 8

struct snap_writer {
    struct buf out;
    size_t open[SNAP_DEPTH_MAX]; /* offsets of the open sections' heads */
    int depth;
    int page_fd;         /* page file, or -1: the room puts bulk data inline */
    uint64_t page_bytes; /* of the page file so far; always a multiple of 4 KiB */
};
void snap_writer_init(struct snap_writer *w, int page_fd);
void snap_writer_fini(struct snap_writer *w);
void snap_begin(struct snap_writer *w, uint32_t tag, uint32_t version);
void snap_end(struct snap_writer *w);
void snap_put_u32(struct snap_writer *w, uint32_t v);
void snap_put_u64(struct snap_writer *w, uint64_t v);
void snap_put_bytes(struct snap_writer *w, const void *p, size_t n); /* length, then bytes */
void snap_put_str(struct snap_writer *w, const char *s);             /* NULL is kept as NULL */
/* Append n bytes (a multiple of 4 KiB) to the page file; *offset is where they are. */
res_t snap_put_pages(struct snap_writer *w, const void *p, size_t n, uint64_t *offset, struct err *err);
/* Finish: all sections closed, nothing failed. The bytes stay in w->out. */
res_t snap_finish(struct snap_writer *w, struct err *err);

struct snap_reader {
    struct cursor at[SNAP_DEPTH_MAX];
    int depth;
    int page_fd;
    bool failed;
    struct err err;
};
res_t snap_reader_init(struct snap_reader *r, const void *p, size_t n, int page_fd, struct err *err);
/* Enter the next section, which must have this tag and a version of at most version_max (returned).
 * 0 on failure. */
uint32_t snap_open(struct snap_reader *r, uint32_t tag, uint32_t version_max);
/* True if another section with this tag comes next (peeks). */
bool snap_next_is(struct snap_reader *r, uint32_t tag);
/* Leave; what was not read is passed over. */
void snap_close(struct snap_reader *r);
uint32_t snap_get_u32(struct snap_reader *r);
uint64_t snap_get_u64(struct snap_reader *r);
/* A number that must be <= max, else the reader fails. */
uint64_t snap_get_max(struct snap_reader *r, uint64_t max, const char *what);
/* In place, valid as long as the stream; NULL on failure; *n <= max. */
const void *snap_get_bytes(struct snap_reader *r, size_t max, size_t *n);
/* Exactly n bytes into p. */
bool snap_get_exact(struct snap_reader *r, void *p, size_t n);
/* malloced, or NULL (a kept NULL, or failure). */
char *snap_get_str(struct snap_reader *r, size_t max);
res_t snap_get_pages(struct snap_reader *r, uint64_t offset, void *p, size_t n, struct err *err);
/* The reader's own refusal: sets failed with a text. */
void snap_refuse(struct snap_reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* OK, or the first failure as FAIL with its text. */
res_t snap_check(struct snap_reader *r, struct err *err);

#endif
