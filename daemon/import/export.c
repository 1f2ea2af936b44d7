/*
 * import/export.c - an image as a tar (pax), or as it is.
 *
 * Members come in the order of their inodes, further names of a file (hard links) last: made into an image again, they give
 * the same bytes (but where layers left a file only names in directories younger than itself). Sockets are left out: tar has
 * no form for them.
 */
#include "daemon/import/job.h"
#include "engine/base/base.h"
#include "engine/image/image.h"
#include "proto/message.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATA_BYTES ((size_t)65536)

struct name {
    uint64_t nid, parent;
    const char *path; /* "" the root */
};

struct export
{
    int image_fd, fd;
    const struct img *img;
    struct archive *archive;
    struct arena arena;
    struct name *names;
    size_t name_count, name_cap;
    uint8_t *block;
    struct err err; /* of sending */
};

/* ---- to the manager ---- */

static res_code_t send_all(int fd, const void *p, size_t n, struct err *err)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = write(fd, (const char *)p + done, n - done);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return err_set(err, ERR_UNAVAILABLE, "the manager is gone");
        done += (size_t)k;
    }
    return OK;
}

static res_code_t send_data(struct export *x, const void *p, size_t n, struct err *err)
{
    for (size_t done = 0; done < n;) {
        CLEANUP(buf_fini) struct buf out = {0};
        PbImportAnswer answer = PB_IMPORT_ANSWER__INIT;
        size_t k = MIN(n - done, DATA_BYTES);
        answer.kind_case = PB_IMPORT_ANSWER__KIND_DATA;
        answer.data = (ProtobufCBinaryData){k, (uint8_t *)(uintptr_t)p + done};
        pb_pack_child(&out, &answer.base);
        if (out.failed)
            return err_set(err, ERR_NO_MEMORY, "no memory to export with");
        if (send_all(x->fd, out.data, out.len, err))
            return FAIL;
        done += k;
    }
    return OK;
}

static la_ssize_t write_out(struct archive *a, void *ctx, const void *p, size_t n)
{
    struct export *x = ctx;
    if (!send_data(x, p, n, &x->err))
        return (la_ssize_t)n;
    archive_set_error(a, EIO, "%s", x->err.text);
    return -1;
}

static res_code_t tar_failed(struct export *x, const char *path, struct err *err)
{
    if (x->err.code) {
        *err = x->err;
        return FAIL;
    }
    return err_set(err, ERR_INTERNAL, "%.150s: %.200s", path, archive_error_string(x->archive));
}

/* ---- names ---- */

static res_code_t note(struct export *x, uint64_t nid, uint64_t parent, const char *path,
                       struct err *err)
{
    if (x->name_count == x->name_cap) {
        size_t cap = MAX(x->name_cap * 2, (size_t)1024);
        struct name *more = realloc(x->names, cap * sizeof *more);
        if (!more)
            return err_set(err, ERR_NO_MEMORY, "no memory for the names of the image");
        x->names = more;
        x->name_cap = cap;
    }
    x->names[x->name_count++] = (struct name){nid, parent, path};
    return OK;
}

/* All names below a directory; img_check saw that there are no loops. */
static res_code_t walk(struct export *x, uint64_t nid, const char *path, struct err *err)
{
    struct img_inode dir;
    struct img_dirent d;
    uint64_t cursor = 0;
    bool end = false;
    if (img_inode(x->img, nid, &dir, err))
        return FAIL;
    for (;;) {
        if (img_readdir(x->img, &dir, &cursor, &d, &end, err))
            return FAIL;
        if (end)
            return OK;
        if (!strcmp(d.name, ".") || !strcmp(d.name, ".."))
            continue;
        const char *sub = arena_printf(&x->arena, "%s%s%s", path, path[0] ? "/" : "", d.name);
        if (!sub)
            return err_set(err, ERR_NO_MEMORY, "no memory for the names of the image");
        if (note(x, d.nid, nid, sub, err) || (d.type == 4 && walk(x, d.nid, sub, err)))
            return FAIL;
    }
}

static int by_inode(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    if (x->nid != y->nid)
        return x->nid < y->nid ? -1 : 1;
    if (x->parent != y->parent)
        return x->parent < y->parent ? -1 : 1;
    return strcmp(x->path, y->path);
}

/* ---- members ---- */

static bool take_xattr(void *ctx, const char *name, const void *value, size_t n)
{
    archive_entry_xattr_add_entry(ctx, name, value, n);
    return true;
}

static res_code_t fill(struct export *x, struct archive_entry *e, const struct name *name,
                       const struct img_inode *i, struct err *err)
{
    char text[4097];
    size_t n;
    archive_entry_set_pathname(e, name->path[0] ? name->path : "./");
    archive_entry_set_mode(e, (mode_t)i->mode);
    archive_entry_set_uid(e, i->uid);
    archive_entry_set_gid(e, i->gid);
    archive_entry_set_mtime(e, i->mtime, (long)i->mtime_ns);
    archive_entry_set_size(e, S_ISREG(i->mode) ? (la_int64_t)i->size : 0);
    if (S_ISCHR(i->mode) || S_ISBLK(i->mode)) {
        archive_entry_set_rdevmajor(e, i->rdev_major);
        archive_entry_set_rdevminor(e, i->rdev_minor);
    }
    if (S_ISLNK(i->mode)) {
        if (img_readlink(x->img, i, text, sizeof text, &n, err))
            return FAIL;
        archive_entry_set_symlink(e, text);
    }
    return img_xattr_each(x->img, i, take_xattr, e, err);
}

static res_code_t put_header(struct export *x, struct archive_entry *e, const char *path,
                             struct err *err)
{
    int rc = archive_write_header(x->archive, e);
    return rc == ARCHIVE_OK || rc == ARCHIVE_WARN ? OK : tar_failed(x, path, err);
}

static res_code_t put_content(struct export *x, const struct name *name, const struct img_inode *i,
                              struct err *err)
{
    size_t got;
    for (uint64_t at = 0; S_ISREG(i->mode) && at < i->size; at += got) {
        if (img_read(x->img, i, at, x->block, DATA_BYTES, &got, err))
            return FAIL;
        if (archive_write_data(x->archive, x->block, got) != (la_ssize_t)got)
            return tar_failed(x, name->path, err);
    }
    return OK;
}

static res_code_t put_member(struct export *x, const struct name *name, struct err *err)
{
    struct img_inode i;
    if (img_inode(x->img, name->nid, &i, err))
        return FAIL;
    if (S_ISSOCK(i.mode))
        return OK;
    struct archive_entry *e = archive_entry_new();
    if (!e)
        return err_set(err, ERR_NO_MEMORY, "no memory for a member of the archive");
    res_code_t res = fill(x, e, name, &i, err);
    if (!res)
        res = put_header(x, e, name->path, err);
    archive_entry_free(e);
    return res ? FAIL : put_content(x, name, &i, err);
}

static res_code_t put_link(struct export *x, const struct name *name, const struct name *first,
                           struct err *err)
{
    struct img_inode i;
    if (img_inode(x->img, name->nid, &i, err))
        return FAIL;
    if (S_ISSOCK(i.mode))
        return OK;
    struct archive_entry *e = archive_entry_new();
    if (!e)
        return err_set(err, ERR_NO_MEMORY, "no memory for a member of the archive");
    res_code_t res = fill(x, e, name, &i, err);
    archive_entry_set_hardlink(e, first->path);
    archive_entry_set_size(e, 0);
    archive_entry_xattr_clear(e);
    if (!res)
        res = put_header(x, e, name->path, err);
    archive_entry_free(e);
    return res;
}

static res_code_t put_all(struct export *x, struct err *err)
{
    qsort(x->names, x->name_count, sizeof *x->names, by_inode);
    for (size_t k = 0; k < x->name_count; k++)
        if ((!k || x->names[k].nid != x->names[k - 1].nid) && put_member(x, &x->names[k], err))
            return FAIL;
    for (size_t k = 1, first = 0; k < x->name_count; k++) {
        if (x->names[k].nid != x->names[first].nid)
            first = k;
        else if (put_link(x, &x->names[k], &x->names[first], err))
            return FAIL;
    }
    return OK;
}

static res_code_t open_tar(struct export *x, struct err *err)
{
    if (!(x->archive = archive_write_new()))
        return err_set(err, ERR_NO_MEMORY, "no memory to export with");
    archive_write_set_format_pax(x->archive);
    archive_write_set_format_option(x->archive, "pax", "xattrheader", "SCHILY");
    archive_write_set_bytes_per_block(x->archive, (int)DATA_BYTES);
    archive_write_set_bytes_in_last_block(x->archive, 1);
    return archive_write_open(x->archive, x, NULL, write_out, NULL) == ARCHIVE_OK
               ? OK
               : tar_failed(x, "tar", err);
}

static res_code_t export_tar(struct export *x, struct err *err)
{
    struct img *img;
    if (img_open(x->image_fd, &img, err))
        return FAIL;
    x->img = img;
    res_code_t res = img_check(img, NULL, NULL, err);
    if (!res)
        res = note(x, img_root(img), 0, "", err);
    if (!res)
        res = walk(x, img_root(img), "", err);
    if (!res)
        res = open_tar(x, err);
    if (!res)
        res = put_all(x, err);
    if (!res && archive_write_close(x->archive) != ARCHIVE_OK)
        res = tar_failed(x, "tar", err);
    archive_write_free(x->archive);
    img_close(img);
    return res;
}

static res_code_t export_file(struct export *x, struct err *err)
{
    for (off_t at = 0;;) {
        ssize_t n = pread(x->image_fd, x->block, DATA_BYTES, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_os(err, "reading the image");
        if (n == 0)
            return OK;
        if (send_data(x, x->block, (size_t)n, err))
            return FAIL;
        at += n;
    }
}

res_t imp_export(int image_fd, int fd, PbExportFormat format, struct err *err)
{
    struct export x = {
        .image_fd = image_fd, .fd = fd, .block = malloc(DATA_BYTES), .err = {.code = ERR_OK}};
    if (!x.block)
        return err_set(err, ERR_NO_MEMORY, "no memory to export with");
    arena_init(&x.arena, 0);
    res_code_t res = format == PB_EXPORT_FORMAT_EROFS ? export_file(&x, err) : export_tar(&x, err);
    arena_fini(&x.arena);
    free(x.names);
    free(x.block);
    return res;
}
