#include "daemon/import/stream.h"
#include "engine/base/base.h"

#include <archive.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES ((size_t)256 * 1024)
#define GROWTH_FREE_BYTES ((uint64_t)256 << 20) /* that may come of nothing */
#define GROWTH_MAX 200

/* ---- from the manager ---- */

static res_code_t source_read(struct imp_stream *s, const void **p, size_t *n, struct err *err)
{
    return imp_source_bytes(container_of(s, struct imp_source_stream, stream)->source, p, n, err);
}

void imp_source_stream(struct imp_source_stream *s, struct imp_source *source)
{
    *s = (struct imp_source_stream){{source_read}, source};
}

/* ---- from a file ---- */

static res_code_t file_read(struct imp_stream *stream, const void **p, size_t *n, struct err *err)
{
    struct imp_file_stream *s = container_of(stream, struct imp_file_stream, stream);
    ssize_t got = 0;
    do
        got = s->left ? pread(s->fd, s->block, (size_t)MIN(s->left, (uint64_t)BLOCK_BYTES),
                              (off_t)s->at)
                      : 0;
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return err_set_os(err, "reading the spool file");
    if (got == 0 && s->left)
        return err_set(err, ERR_INTERNAL, "the spool file became shorter");
    s->at += (uint64_t)got;
    s->left -= (uint64_t)got;
    *p = s->block;
    *n = (size_t)got;
    return OK;
}

res_t imp_file_stream(struct imp_file_stream *s, int fd, uint64_t at, uint64_t bytes,
                      struct err *err)
{
    *s = (struct imp_file_stream){{file_read}, fd, at, bytes, malloc(BLOCK_BYTES)};
    return s->block ? OK : err_set(err, ERR_NO_MEMORY, "no memory to read the spool file with");
}

void imp_file_stream_fini(struct imp_file_stream *s)
{
    free(s->block);
}

/* ---- uncompressed ---- */

static la_ssize_t feed(struct archive *a, void *ctx, const void **p)
{
    struct imp_inflate *f = ctx;
    size_t n;
    if (f->in->read(f->in, p, &n, &f->err)) {
        archive_set_error(a, EIO, "%s", f->err.text);
        return -1;
    }
    f->in_bytes += n;
    return (la_ssize_t)n;
}

static res_code_t damaged(struct imp_inflate *f, struct err *err)
{
    if (f->err.code) {
        *err = f->err;
        return FAIL;
    }
    if (!f->in_bytes)
        return err_set(err, ERR_INVALID, "the archive is empty");
    if (archive_errno(f->archive) == ENOMEM)
        return err_set(err, ERR_NO_MEMORY, "no memory to uncompress it");
    return err_set(err, ERR_INVALID, "damaged compressed data behind %llu bytes: %.200s",
                   (unsigned long long)f->out_bytes, archive_error_string(f->archive));
}

static res_code_t inflate_read(struct imp_stream *s, const void **p, size_t *n, struct err *err)
{
    struct imp_inflate *f = container_of(s, struct imp_inflate, stream);
    la_int64_t offset;
    *n = 0;
    while (!f->ended && !*n) {
        int rc = archive_read_data_block(f->archive, p, n, &offset);
        if (rc == ARCHIVE_EOF)
            f->ended = true;
        else if (rc != ARCHIVE_OK)
            return damaged(f, err);
    }
    if (f->ended)
        *n = 0;
    f->out_bytes += *n;
    if (f->out_bytes > f->bytes_max)
        return err_set(err, ERR_LIMIT, "the archive has more than %llu bytes, uncompressed",
                       (unsigned long long)f->bytes_max);
    if (f->out_bytes > GROWTH_FREE_BYTES && f->out_bytes / GROWTH_MAX > f->in_bytes) {
        err_set(err, ERR_LIMIT, "compressed more than %d-fold: %llu bytes out of %llu so far",
                GROWTH_MAX, (unsigned long long)f->out_bytes, (unsigned long long)f->in_bytes);
        return err_explain(err, "COMPRESSION_BOMB", NULL, NULL, NULL);
    }
    if (f->digest && *n && !imp_digest_put(f->digest, *p, *n))
        return err_set(err, ERR_INTERNAL, "the digest library failed");
    return OK;
}

res_t imp_inflate_init(struct imp_inflate *f, struct imp_stream *in, uint64_t bytes_max,
                       struct imp_digest *digest, struct err *err)
{
    struct archive_entry *e;
    *f = (struct imp_inflate){.stream = {inflate_read},
                              .in = in,
                              .archive = archive_read_new(),
                              .bytes_max = bytes_max,
                              .digest = digest,
                              .err = {.code = ERR_OK}};
    if (!f->archive)
        return err_set(err, ERR_NO_MEMORY, "no memory to uncompress with");
    archive_read_support_filter_gzip(f->archive);
    archive_read_support_filter_xz(f->archive);
    archive_read_support_filter_zstd(f->archive);
    archive_read_support_format_raw(f->archive);
    if (archive_read_open(f->archive, f, NULL, feed, NULL) != ARCHIVE_OK ||
        archive_read_next_header(f->archive, &e) != ARCHIVE_OK)
        return damaged(f, err);
    return OK;
}

void imp_inflate_fini(struct imp_inflate *f)
{
    archive_read_free(f->archive);
    f->archive = NULL;
}

res_t imp_stream_drain(struct imp_stream *s, struct err *err)
{
    const void *p;
    size_t n;
    do {
        if (s->read(s, &p, &n, err))
            return FAIL;
    } while (n);
    return OK;
}
