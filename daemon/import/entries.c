/* import/entries.c - a directory that the client walks. */
#include "daemon/import/job.h"
#include "engine/base/base.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define ENTRY_BYTES_MAX ((size_t)1 << 20) /* copies of its names */

struct import {
    struct img_writer *w;
    uint64_t left;  /* bytes of content that the last entry still owes */
    char path[200]; /* of it, for messages */
};

/* bytes -> C string in the arena; a NUL among them is refused. */
static res_code_t text(struct arena *a, ProtobufCBinaryData b, const char *what, char **out,
                       struct err *err)
{
    if (b.len > 4095 || (b.len && memchr(b.data, 0, b.len)))
        return err_set(err, ERR_INVALID, "%s of an entry is longer than 4095 bytes or holds a NUL",
                       what);
    char *s = arena_alloc(a, b.len + 1);
    if (!s)
        return err_set(err, ERR_NO_MEMORY, "no memory for an entry");
    if (b.len)
        memcpy(s, b.data, b.len);
    s[b.len] = 0;
    *out = s;
    return OK;
}

static res_code_t settle(const struct import *im, struct err *err)
{
    if (im->left)
        return err_set(err, ERR_INVALID, "%s: %llu bytes of its content are missing", im->path,
                       (unsigned long long)im->left);
    return OK;
}

static res_code_t add_entry(struct import *im, struct arena *a, const PbImportEntry *e,
                            struct err *err)
{
    char *path, *target, *hardlink;
    if (settle(im, err) || text(a, e->path, "path", &path, err) ||
        text(a, e->symlink, "symlink", &target, err) ||
        text(a, e->hardlink, "hardlink", &hardlink, err))
        return FAIL;
    struct img_xattr *xattrs = arena_alloc(a, (e->n_xattrs + 1) * sizeof *xattrs);
    if (!xattrs)
        return err_set(err, ERR_NO_MEMORY, "no memory for an entry");
    for (size_t i = 0; i < e->n_xattrs; i++)
        xattrs[i] = (struct img_xattr){e->xattrs[i]->name, e->xattrs[i]->value.data,
                                       e->xattrs[i]->value.len};
    struct img_entry entry = {
        .path = path,
        .mode = e->mode,
        .uid = e->uid,
        .gid = e->gid,
        .mtime = e->mtime_s,
        .mtime_ns = e->mtime_ns,
        .rdev_major = e->rdev_major,
        .rdev_minor = e->rdev_minor,
        .target = S_ISLNK(e->mode) ? target : NULL,
        .hardlink = hardlink[0] ? hardlink : NULL,
        .xattrs = xattrs,
        .xattr_count = e->n_xattrs,
    };
    bool content = S_ISREG(e->mode) && !hardlink[0];
    if (!content && e->size)
        return err_set(err, ERR_INVALID, "%.200s: content for something that is not a regular file",
                       path);
    if (img_writer_add(im->w, &entry, err))
        return FAIL;
    im->left = e->size;
    snprintf(im->path, sizeof im->path, "%.190s", path);
    return OK;
}

static res_code_t take(struct import *im, const PbImportImageRequest *r, struct err *err)
{
    struct arena arena;
    res_code_t res;
    if (r->kind_case == PB_IMPORT_IMAGE_REQUEST__KIND_ENTRY) {
        arena_init(&arena, ENTRY_BYTES_MAX);
        res = add_entry(im, &arena, r->entry, err);
        arena_fini(&arena);
    } else if (r->kind_case == PB_IMPORT_IMAGE_REQUEST__KIND_DATA) {
        if (r->data.len > im->left)
            return err_set(err, ERR_INVALID, "%s: more content than its size says", im->path);
        res = img_writer_data(im->w, r->data.data, r->data.len, err);
        im->left -= res ? 0 : r->data.len;
    } else {
        res = err_set(err, ERR_BAD_MESSAGE, "message of kind %d", (int)r->kind_case);
    }
    return res;
}

res_t imp_entries(struct imp_job *job, struct err *err)
{
    struct import im = {.w = job->writer, .path = "/"};
    const PbImportImageRequest *r;
    for (;;) {
        if (imp_source_next(&job->source, &r, err))
            return FAIL;
        if (!r)
            return settle(&im, err);
        if (take(&im, r, err))
            return FAIL;
    }
}
