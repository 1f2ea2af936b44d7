/*
 * import/import.h - vmd-import: makes one image of what a client sends, or an archive of one image, and goes.
 *
 * Looks into: proto, engine/image; libarchive, jansson and OpenSSL.  Used by: its main, tests, fuzzers.
 *
 * Entries and archives are hostile: names, sizes, orders, compression, JSON. They are looked into here and nowhere else in the
 * daemon. This process has one socket, the image's file and, for an archive, a spool file without a name; it opens nothing after
 * imp_prepare, and ends with its one job.
 *
 *   source.c stream.c tar.c digest.c json.c    bytes, uncompressed bytes, members, digests, documents
 *   entries.c archive.c                        a walked directory; an archive: a root file system's, or put aside
 *   choose.c config.c layers.c                 container images
 *   export.c
 *
 * Limits: entries, depth, path and image size as in image/writer.h; 200-fold compression beyond 256 MiB; 65,536 members put
 * aside, 1,024 layers of 4,000,000 members; JSON of 1 MiB; the spool's and image's sizes as the manager says; RLIMIT_AS in main.
 *
 * Thread: one; it may block.
 */
#ifndef IMPORT_IMPORT_H
#define IMPORT_IMPORT_H

#include "engine/base/err.h"

struct imp_fds {
    int in, out; /* messages, see proto/import.proto; one socket */
    int image;   /* to be written, or, of an export, read */
    int spool;   /* of an archive: an empty file; else -1 */
};
/* What libraries open or load lazily: before the process is confined. */
void imp_prepare(void);
/* The one job. The answer, good or bad, goes to `out`. -1: not even that could be sent. */
int imp_serve(const struct imp_fds *fds);

#endif
