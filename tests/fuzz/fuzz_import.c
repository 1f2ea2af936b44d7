// links: daemon/import proto engine/image engine/base
/*
 * What a client sends to be made an image. The first byte says how the rest is meant: 'a' an archive's bytes; 'r' the same, with
 * a reference; 'm' messages as they are. Whatever is taken makes an image that img_check accepts, and an archive's image is
 * taken again after an export.
 */
#include "daemon/import/import.h"
#include "engine/base/base.h"
#include "engine/base/buf.h"
#include "engine/image/image.h"
#include "proto/frame.h"
#include "proto/import.pb-c.h"
#include "proto/message.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIECE 5000 /* of an archive, in a message */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int fresh(int *fd, const char *name)
{
    if (*fd < 0)
        *fd = memfd_create(name, MFD_CLOEXEC);
    ASSERT(*fd >= 0 && ftruncate(*fd, 0) == 0 && lseek(*fd, 0, SEEK_SET) == 0);
    return *fd;
}

static void put_job(struct buf *in, const PbImportJob *job)
{
    pb_pack_child(in, &job->base);
}

static void put_archive(struct buf *in, const uint8_t *p, size_t n)
{
    for (size_t at = 0; at < n; at += PIECE) {
        PbImportImageRequest r = PB_IMPORT_IMAGE_REQUEST__INIT;
        r.kind_case = PB_IMPORT_IMAGE_REQUEST__KIND_DATA;
        r.data = (ProtobufCBinaryData){MIN((size_t)PIECE, n - at), (uint8_t *)(uintptr_t)p + at};
        pb_pack_child(in, &r.base);
    }
    buf_put_u32(in, 0);
}

static int in_fd = -1, out_fd = -1, image_fd = -1, spool_fd = -1;

/* The code of the answer; the content of the answers before goes to *data (may be NULL). */
static uint32_t serve(const struct buf *in, struct buf *data)
{
    struct imp_fds fds = {fresh(&in_fd, "in"), fresh(&out_fd, "out"), image_fd,
                          fresh(&spool_fd, "spool")};
    ASSERT(!in->failed && write(in_fd, in->data, in->len) == (ssize_t)in->len);
    ASSERT(lseek(in_fd, 0, SEEK_SET) == 0 && imp_serve(&fds) == 0);
    struct pb_splitter out;
    CLEANUP(buf_fini) struct buf all = {0};
    off_t n = lseek(out_fd, 0, SEEK_END);
    ASSERT(buf_reserve(&all, (size_t)n) && pread(out_fd, all.data, (size_t)n, 0) == n);
    pb_splitter_init(&out, PB_FRAMING_CHILD, 1 << 20);
    ASSERT(pb_splitter_put(&out, all.data, (size_t)n, NULL) == OK);
    uint32_t code = UINT32_MAX;
    for (bool got = true; got;) {
        const uint8_t *p;
        size_t len;
        ASSERT(pb_splitter_next(&out, &got, &p, &len, NULL) == OK);
        PbImportAnswer *a = got ? pb_import_answer__unpack(NULL, len, p) : NULL;
        ASSERT(!got || a);
        if (a && a->kind_case == PB_IMPORT_ANSWER__KIND_DATA && data)
            buf_put(data, a->data.data, a->data.len);
        else if (a)
            code = a->done->code;
        if (a)
            pb_import_answer__free_unpacked(a, NULL);
    }
    pb_splitter_fini(&out);
    ASSERT(code != UINT32_MAX && code != ERR_INTERNAL);
    return code;
}

static void check_image(void)
{
    struct img *img;
    struct err err;
    if (img_open(image_fd, &img, &err) || img_check(img, NULL, NULL, &err))
        base_assert_failed(err.text, __FILE__, __LINE__, __func__);
    img_close(img);
}

static void export_and_import(void)
{
    CLEANUP(buf_fini) struct buf in = {0}, tar = {0}, again = {0};
    PbImportJob job = PB_IMPORT_JOB__INIT;
    job.is_export = true;
    put_job(&in, &job);
    ASSERT(serve(&in, &tar) == 0);
    job.is_export = false;
    job.format = PB_IMPORT_FORMAT_ARCHIVE;
    job.spool_bytes_max = 64 << 20;
    put_job(&again, &job);
    put_archive(&again, tar.data, tar.len);
    fresh(&image_fd, "image");
    ASSERT(serve(&again, NULL) == 0);
    check_image();
}

/* Headers of tar with right checksums, so that what is behind them is reached. */
static void mend(uint8_t *p, size_t n)
{
    for (size_t at = 0; at + 512 <= n; at += 512) {
        unsigned sum = 0;
        char text[8];
        if (memcmp(p + at + 257, "ustar", 5))
            continue;
        memset(p + at + 148, ' ', 8);
        for (size_t i = 0; i < 512; i++)
            sum += p[at + i];
        snprintf(text, sizeof text, "%06o", sum & 0777777);
        memcpy(p + at + 148, text, 7);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool prepared;
    CLEANUP(buf_fini) struct buf in = {0};
    PbImportJob job = PB_IMPORT_JOB__INIT;
    if (!prepared)
        imp_prepare();
    prepared = true;
    if (!size)
        return 0;
    bool archive = data[0] != 'm';
    job.format = archive ? PB_IMPORT_FORMAT_ARCHIVE : PB_IMPORT_FORMAT_ENTRIES;
    job.image_bytes_max = 16 << 20;
    job.spool_bytes_max = 16 << 20;
    if (data[0] == 'r')
        job.reference = (char *)(uintptr_t) "app:1";
    put_job(&in, &job);
    if (archive) {
        CLEANUP(buf_fini) struct buf copy = {0};
        buf_put(&copy, data + 1, size - 1);
        ASSERT(!copy.failed);
        mend(copy.data, copy.len);
        put_archive(&in, copy.data, copy.len);
    } else {
        buf_put(&in, data + 1, size - 1);
        buf_put_u32(&in, 0);
    }
    fresh(&image_fd, "image");
    if (serve(&in, NULL) == 0) {
        check_image();
        if (archive)
            export_and_import();
    }
    return 0;
}
