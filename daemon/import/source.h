/*
 * import/source.h - what the manager sends: messages, or the bytes of an archive in them.
 *
 * Looks into: proto.  Used by: daemon/import.
 * The bytes are a client's. A message is valid until the next one is asked for.
 * Thread: one; it waits.
 */
#ifndef IMPORT_SOURCE_H
#define IMPORT_SOURCE_H

#include "engine/base/arena.h"
#include "proto/frame.h"
#include "proto/image.pb-c.h"
#include "proto/import.pb-c.h"

struct imp_source {
    int fd; /* borrowed */
    struct pb_splitter in;
    struct arena arena;
    uint8_t *block; /* read from the socket */
    bool ended;
};
res_t imp_source_init(struct imp_source *s, int fd, struct err *err);
void imp_source_fini(struct imp_source *s);
/* The first message. Fails: ERR_BAD_MESSAGE, ERR_UNAVAILABLE: the manager is gone. */
res_t imp_source_job(struct imp_source *s, const PbImportJob **job, struct err *err);
/* The next message of the client, NULL at the end. Fails as above. */
res_t imp_source_next(struct imp_source *s, const PbImportImageRequest **m, struct err *err);
/* The next bytes of an archive; *n is 0 at the end. Fails: as above; ERR_INVALID: entries. */
res_t imp_source_bytes(struct imp_source *s, const void **p, size_t *n, struct err *err);

#endif
