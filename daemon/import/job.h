/*
 * import/job.h - one import or export, and its parts.
 *
 * Looks into: proto, engine/image.  Used by: daemon/import.
 * Thread: one.
 */
#ifndef IMPORT_JOB_H
#define IMPORT_JOB_H

#include "daemon/import/source.h"
#include "engine/image/writer.h"

struct imp_member;

struct imp_job {
    struct imp_source source;
    int image_fd, spool_fd;
    uint64_t image_bytes_max, spool_bytes_max;
    char *reference;
    struct img_writer *writer;
    struct arena arena;    /* what lives as long as the job */
    PbImageConfig *config; /* NULL: the image has none */
    struct img_totals totals;
};

/* entries.c: what a client that walks a directory sends. Fails: ERR_INVALID, as img_writer_add. */
res_t imp_entries(struct imp_job *job, struct err *err);
/* archive.c: any archive. Fails: ERR_INVALID (the text names the member), ERR_LIMIT, ERR_BAD_IMAGE: a wrong digest. */
res_t imp_archive(struct imp_job *job, struct err *err);
/* The entry of a root file system's archive. Its content, if it has some, follows. */
res_t imp_put_member(struct imp_job *job, const struct imp_member *m, struct err *err);
/* export.c: the image in image_fd to fd, as ImportAnswers with data. Fails: ERR_BAD_IMAGE, ERR_UNAVAILABLE. */
res_t imp_export(int image_fd, int fd, PbExportFormat format, struct err *err);

#endif
