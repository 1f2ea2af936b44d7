/*
 * import/stream.h - bytes that come one after the other: from the manager, from the spool file, out of a compressed stream.
 *
 * Looks into: base.  Used by: daemon/import.
 * Thread: one.
 */
#ifndef IMPORT_STREAM_H
#define IMPORT_STREAM_H

#include "daemon/import/digest.h"
#include "daemon/import/source.h"

struct archive;

struct imp_stream {
    /* The next bytes, valid until the next call; *n is 0 at the end. */
    res_code_t (*read)(struct imp_stream *s, const void **p, size_t *n, struct err *err);
};

struct imp_source_stream {
    struct imp_stream stream;
    struct imp_source *source;
};
void imp_source_stream(struct imp_source_stream *s, struct imp_source *source);

/* A piece of a file. */
struct imp_file_stream {
    struct imp_stream stream;
    int fd;
    uint64_t at, left;
    uint8_t *block;
};
res_t imp_file_stream(struct imp_file_stream *s, int fd, uint64_t at, uint64_t bytes,
                      struct err *err);
void imp_file_stream_fini(struct imp_file_stream *s);

/*
 * What `in` holds, uncompressed: gzip, xz, zstd or nothing, told apart by its first bytes.
 * Fails: ERR_INVALID: empty or damaged; ERR_LIMIT: more than 256 MiB that grew more than 200-fold, or more than bytes_max.
 */
struct imp_inflate {
    struct imp_stream stream;
    struct imp_stream *in;
    struct archive *archive;
    uint64_t bytes_max, in_bytes, out_bytes;
    struct imp_digest *digest; /* of what comes out; may be NULL */
    bool ended;
    struct err err; /* of in */
};
res_t imp_inflate_init(struct imp_inflate *f, struct imp_stream *in, uint64_t bytes_max,
                       struct imp_digest *digest, struct err *err);
void imp_inflate_fini(struct imp_inflate *f);

/* Read to the end. */
res_t imp_stream_drain(struct imp_stream *s, struct err *err);

#endif
