#include "daemon/import/source.h"
#include "engine/base/base.h"
#include "proto/message.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define MESSAGE_BYTES_MAX (512 * 1024)
#define BLOCK_BYTES ((size_t)256 * 1024)

res_t imp_source_init(struct imp_source *s, int fd, struct err *err)
{
    *s = (struct imp_source){.fd = fd};
    pb_splitter_init(&s->in, PB_FRAMING_CHILD, MESSAGE_BYTES_MAX);
    arena_init(&s->arena, PB_ARENA_BYTES(MESSAGE_BYTES_MAX));
    if (!(s->block = malloc(BLOCK_BYTES)))
        return err_set(err, ERR_NO_MEMORY, "no memory to import with");
    return OK;
}

void imp_source_fini(struct imp_source *s)
{
    pb_splitter_fini(&s->in);
    arena_fini(&s->arena);
    free(s->block);
}

static res_code_t next_message(struct imp_source *s, const uint8_t **p, size_t *n, struct err *err)
{
    for (;;) {
        bool got;
        if (pb_splitter_next(&s->in, &got, p, n, err))
            return FAIL;
        if (got)
            return OK;
        ssize_t r = read(s->fd, s->block, BLOCK_BYTES);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return err_set(err, ERR_UNAVAILABLE, "the manager is gone");
        if (pb_splitter_put(&s->in, s->block, (size_t)r, err))
            return FAIL;
    }
}

res_t imp_source_job(struct imp_source *s, const PbImportJob **job, struct err *err)
{
    const uint8_t *p;
    size_t n;
    const ProtobufCMessage *m;
    arena_reset(&s->arena);
    if (next_message(s, &p, &n, err) ||
        pb_unpack(&pb_import_job__descriptor, &s->arena, p, n, &m, err))
        return FAIL;
    *job = (const PbImportJob *)m;
    return OK;
}

res_t imp_source_next(struct imp_source *s, const PbImportImageRequest **out, struct err *err)
{
    const uint8_t *p;
    size_t n;
    const ProtobufCMessage *m = NULL;
    if (s->ended) {
        *out = NULL;
        return OK;
    }
    arena_reset(&s->arena);
    if (next_message(s, &p, &n, err))
        return FAIL;
    s->ended = n == 0;
    if (n && pb_unpack(&pb_import_image_request__descriptor, &s->arena, p, n, &m, err))
        return FAIL;
    *out = (const PbImportImageRequest *)m;
    return OK;
}

res_t imp_source_bytes(struct imp_source *s, const void **p, size_t *n, struct err *err)
{
    const PbImportImageRequest *m;
    do {
        if (imp_source_next(s, &m, err))
            return FAIL;
        if (m && m->kind_case != PB_IMPORT_IMAGE_REQUEST__KIND_DATA)
            return err_set(err, ERR_INVALID, "an archive is sent as data, without entries");
    } while (m && !m->data.len);
    *p = m ? m->data.data : NULL;
    *n = m ? m->data.len : 0;
    return OK;
}
