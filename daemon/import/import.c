#include "daemon/import/import.h"
#include "daemon/import/container.h"
#include "daemon/import/digest.h"
#include "engine/base/base.h"
#include "proto/message.h"

#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARENA_BYTES_MAX ((size_t)256 << 20) /* of what an archive makes us remember */

void imp_prepare(void)
{
    /* Names are bytes; in this locale libarchive takes UTF-8 as it is and converts nothing. */
    setlocale(LC_CTYPE, "C.UTF-8");
    imp_digest_prepare();
    json_object_seed(0); /* from the system, once */
}

static res_code_t import(struct imp_job *job, bool archive, struct err *err)
{
    const struct img_limits limits = {.bytes = job->image_bytes_max};
    if (img_writer_new(job->image_fd, &limits, &job->writer, err) ||
        (archive ? imp_archive(job, err) : imp_entries(job, err)) ||
        img_writer_finish(job->writer, &job->totals, err))
        return FAIL;
    return imp_config_user(job, err);
}

static res_code_t run(struct imp_job *job, const struct imp_fds *fds, struct err *err)
{
    const PbImportJob *said;
    if (imp_source_init(&job->source, fds->in, err) || imp_source_job(&job->source, &said, err))
        return FAIL;
    if (said->is_export)
        return imp_export(fds->image, fds->out, said->export_format, err);
    bool archive = said->format == PB_IMPORT_FORMAT_ARCHIVE;
    if (archive && fds->spool < 0)
        return err_set(err, ERR_BAD_MESSAGE, "an archive, but no file to put it aside");
    job->spool_fd = fds->spool;
    job->spool_bytes_max = said->spool_bytes_max;
    job->image_bytes_max = said->image_bytes_max ? said->image_bytes_max : (uint64_t)16 << 30;
    if (!(job->reference = arena_strdup(&job->arena, said->reference)))
        return err_set(err, ERR_NO_MEMORY, "no memory to import with");
    return import(job, archive, err);
}

static int answer(int fd, const PbImportAnswer *a)
{
    CLEANUP(buf_fini) struct buf out = {0};
    pb_pack_child(&out, &a->base);
    for (size_t done = 0; done < out.len && !out.failed;) {
        ssize_t n = write(fd, out.data + done, out.len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        done += (size_t)n;
    }
    return out.failed ? -1 : 0;
}

int imp_serve(const struct imp_fds *fds)
{
    struct err err = {.code = ERR_OK};
    struct imp_job job = {.image_fd = fds->image, .spool_fd = -1};
    PbImportAnswer a = PB_IMPORT_ANSWER__INIT;
    PbImportDone done = PB_IMPORT_DONE__INIT;
    arena_init(&job.arena, ARENA_BYTES_MAX);
    if (run(&job, fds, &err)) {
        if (err.os == ENOSPC || err.os == EDQUOT || err.os == EFBIG)
            err.code = ERR_LIMIT; /* not our fault, and it may pass */
        done.code = err.code;
        done.text = err.text;
        if (err.reason)
            done.reason = (char *)(uintptr_t)err.reason;
    } else {
        done.config = job.config;
        done.entries = job.totals.entries;
    }
    a.kind_case = PB_IMPORT_ANSWER__KIND_DONE;
    a.done = &done;
    int rc = answer(fds->out, &a);
    img_writer_free(job.writer);
    imp_source_fini(&job.source);
    arena_fini(&job.arena);
    return rc;
}
