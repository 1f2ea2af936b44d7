#include "daemon/import/import.h"
#include "engine/base/arena.h"
#include "engine/base/base.h"
#include "engine/image/writer.h"
#include "proto/frame.h"
#include "proto/image.pb-c.h"
#include "proto/message.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MESSAGE_BYTES_MAX (512 * 1024)

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

static res_code_t take(struct import *im, const uint8_t *p, size_t n, struct err *err)
{
    struct arena arena;
    const ProtobufCMessage *m;
    arena_init(&arena, PB_ARENA_BYTES(n));
    res_code_t res = pb_unpack(&pb_import_image_request__descriptor, &arena, p, n, &m, err);
    arena.limit_bytes += (size_t)1 << 20; /* copies of names */
    if (!res) {
        const PbImportImageRequest *r = (const PbImportImageRequest *)m;
        if (r->kind_case == PB_IMPORT_IMAGE_REQUEST__KIND_ENTRY) {
            res = add_entry(im, &arena, r->entry, err);
        } else if (r->kind_case == PB_IMPORT_IMAGE_REQUEST__KIND_DATA) {
            if (r->data.len > im->left)
                res = err_set(err, ERR_INVALID, "%s: more content than its size says", im->path);
            else
                res = img_writer_data(im->w, r->data.data, r->data.len, err);
            im->left -= res ? 0 : r->data.len;
        } else {
            res = err_set(err, ERR_BAD_MESSAGE, "message of kind %d", (int)r->kind_case);
        }
    }
    arena_fini(&arena);
    return res;
}

static res_code_t pump(struct import *im, struct pb_splitter *in, int fd, struct err *err)
{
    static uint8_t bytes[262144];
    for (;;) {
        bool got;
        const uint8_t *p;
        size_t n;
        if (pb_splitter_next(in, &got, &p, &n, err))
            return FAIL;
        if (got && n == 0)
            return settle(im, err);
        if (got) {
            if (take(im, p, n, err))
                return FAIL;
            continue;
        }
        ssize_t r = read(fd, bytes, sizeof bytes);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return err_set(err, ERR_UNAVAILABLE, "the manager is gone");
        if (pb_splitter_put(in, bytes, (size_t)r, err))
            return FAIL;
    }
}

res_t imp_run(int socket_fd, int image_fd, struct err *err)
{
    struct import im = {.path = "/"};
    struct pb_splitter in;
    pb_splitter_init(&in, PB_FRAMING_CHILD, MESSAGE_BYTES_MAX);
    res_code_t res = img_writer_new(image_fd, NULL, &im.w, err);
    if (!res)
        res = pump(&im, &in, socket_fd, err);
    if (!res)
        res = img_writer_finish(im.w, NULL, err);
    img_writer_free(im.w);
    pb_splitter_fini(&in);
    return res;
}
