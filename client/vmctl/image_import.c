/*
 * vmctl image import: a directory that the client walks, an archive, or standard input. The daemon sees entries and bytes, never
 * a path of ours.
 */
#include "client/vmctl/ctl.h"
#include "client/vmctl/progress.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <uthash.h>

#define DATA_BYTES 65536
#define QUEUE_BYTES ((size_t)512 * 1024)
#define XATTRS_MAX 64
#define DEPTH_MAX 64

/* A file with several names: the first is sent with its content, the others refer to it. */
struct link_seen {
    UT_hash_handle hh;
    struct {
        uint64_t dev, ino;
    } key;
    char *path;
};

struct import {
    struct ctl_conn *c;
    struct pb_rpc *rpc; /* NULL: the daemon answered */
    res_code_t res;
    struct err err;
    struct link_seen *links;
    char digest[80];
    uint64_t sent_bytes;
    struct ctl_progress progress;
};

static void on_image(void *ctx, const ProtobufCMessage *m)
{
    struct import *im = ctx;
    snprintf(im->digest, sizeof im->digest, "%s", ((const PbImage *)m)->digest);
}

static void on_done(void *ctx, const struct err *why)
{
    struct import *im = ctx;
    im->rpc = NULL;
    if (why) {
        im->res = FAIL;
        im->err = *why;
    }
}

/* Let what is queued go out until there is room; fails once the daemon has refused. */
static res_code_t send_request(struct import *im, PbImportImageRequest *req, struct err *err)
{
    if (im->rpc)
        pb_rpc_send(im->rpc, &req->base);
    while (im->rpc && pb_rpc_queued(im->rpc) > QUEUE_BYTES)
        if (ctl_turn(im->c, NULL, 0, -1, err))
            return FAIL;
    if (im->rpc) {
        uint64_t queued = pb_rpc_queued(im->rpc);
        ctl_progress_show(&im->progress, im->sent_bytes > queued ? im->sent_bytes - queued : 0);
        return OK;
    }
    *err = im->err;
    return FAIL;
}

static res_code_t send_bytes(struct import *im, uint8_t *p, size_t n, struct err *err)
{
    PbImportImageRequest req = PB_IMPORT_IMAGE_REQUEST__INIT;
    req.kind_case = PB_IMPORT_IMAGE_REQUEST__KIND_DATA;
    req.data = (ProtobufCBinaryData){n, p};
    im->sent_bytes += n;
    return send_request(im, &req, err);
}

static res_code_t send_data(struct import *im, int fd, const char *path, uint64_t size,
                            struct err *err)
{
    static uint8_t bytes[DATA_BYTES];
    while (size) {
        ssize_t n = read(fd, bytes, (size_t)MIN(size, (uint64_t)sizeof bytes));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_os(err, "%s", path);
        if (n == 0)
            return err_set(err, ERR_STATE, "%s became shorter while it was read; try again", path);
        if (send_bytes(im, bytes, (size_t)n, err))
            return FAIL;
        size -= (uint64_t)n;
    }
    return OK;
}

/* Extended attributes of what full (its path on our side) names, not followed. */
static res_code_t read_xattrs(const char *full, PbImportEntry *e, PbXattr ***out, struct err *err)
{
    char names[65536];
    ssize_t n = llistxattr(full, names, sizeof names);
    *out = NULL;
    if (n <= 0) /* none, or a file system without */
        return OK;
    PbXattr **all = calloc(XATTRS_MAX, sizeof *all);
    if (!all)
        return err_set(err, ERR_NO_MEMORY, "no memory");
    *out = e->xattrs = all;
    for (char *name = names; name < names + n; name += strlen(name) + 1) {
        static uint8_t value[65536];
        ssize_t len = lgetxattr(full, name, value, sizeof value);
        if (len < 0)
            continue;
        if (e->n_xattrs == XATTRS_MAX)
            return err_set(err, ERR_LIMIT, "%s has more than %d extended attributes", full,
                           XATTRS_MAX);
        PbXattr *x = malloc(sizeof *x);
        uint8_t *copy = malloc((size_t)len + 1);
        char *name_copy = strdup(name);
        if (!x || !copy || !name_copy) {
            free(x);
            free(copy);
            free(name_copy);
            return err_set(err, ERR_NO_MEMORY, "no memory");
        }
        memcpy(copy, value, (size_t)len);
        pb_xattr__init(x);
        x->name = name_copy;
        x->value = (ProtobufCBinaryData){(size_t)len, copy};
        all[e->n_xattrs++] = x;
    }
    return OK;
}

static void free_xattrs(PbImportEntry *e, PbXattr **all)
{
    for (size_t i = 0; all && i < e->n_xattrs; i++) {
        free(all[i]->name);
        free(all[i]->value.data);
        free(all[i]);
    }
    free(all);
}

/* The path under which this file was sent before, or NULL, and it is remembered. */
static const char *seen_before(struct import *im, const struct stat *st, const char *path)
{
    struct link_seen *l, probe;
    memset(&probe, 0, sizeof probe);
    probe.key.dev = st->st_dev;
    probe.key.ino = st->st_ino;
    HASH_FIND(hh, im->links, &probe.key, sizeof probe.key, l);
    if (l)
        return l->path;
    l = calloc(1, sizeof *l);
    if (!l)
        return NULL; /* then it is a copy */
    l->key = probe.key;
    if (!(l->path = strdup(path))) {
        free(l);
        return NULL;
    }
    HASH_ADD(hh, im->links, key, sizeof l->key, l);
    return NULL;
}

static ProtobufCBinaryData bytes_of(const char *s)
{
    return (ProtobufCBinaryData){strlen(s), (uint8_t *)(uintptr_t)s};
}

/* Send one file; full is its path here, path inside the image ("" the root). */
static res_code_t send_entry(struct import *im, const char *full, const char *path,
                             const struct stat *st, struct err *err)
{
    PbImportEntry e = PB_IMPORT_ENTRY__INIT;
    PbImportImageRequest req = PB_IMPORT_IMAGE_REQUEST__INIT;
    CLEANUP(close_fd) int fd = -1;
    PbXattr **xattrs = NULL;
    char target[4096];
    e.path = bytes_of(path);
    e.mode = st->st_mode;
    e.uid = st->st_uid;
    e.gid = st->st_gid;
    e.mtime_s = st->st_mtim.tv_sec;
    e.mtime_ns = (uint32_t)st->st_mtim.tv_nsec;
    if (S_ISBLK(st->st_mode) || S_ISCHR(st->st_mode)) {
        e.rdev_major = major(st->st_rdev);
        e.rdev_minor = minor(st->st_rdev);
    }
    if (S_ISLNK(st->st_mode)) {
        ssize_t n = readlink(full, target, sizeof target - 1);
        if (n < 0)
            return err_set_os(err, "%s", full);
        e.symlink = (ProtobufCBinaryData){(size_t)n, (uint8_t *)target};
    }
    const char *first =
        !S_ISDIR(st->st_mode) && st->st_nlink > 1 ? seen_before(im, st, path) : NULL;
    if (first) {
        e.hardlink = bytes_of(first);
    } else if (S_ISREG(st->st_mode)) {
        e.size = (uint64_t)st->st_size;
        fd = open(full, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            return err_set_os(err, "%s", full);
    }
    req.kind_case = PB_IMPORT_IMAGE_REQUEST__KIND_ENTRY;
    req.entry = &e;
    res_code_t res = first ? OK : read_xattrs(full, &e, &xattrs, err);
    if (!res)
        res = send_request(im, &req, err);
    free_xattrs(&e, xattrs);
    return !res && fd >= 0 ? send_data(im, fd, full, e.size, err) : res;
}

static res_code_t walk(struct import *im, const char *full, const char *path, int depth,
                       struct err *err);

static res_code_t walk_names(struct import *im, const char *full, const char *path, int depth,
                             struct err *err)
{
    struct dirent **names;
    int n =
        scandir(full, &names, NULL, alphasort); /* in order: the same tree makes the same image */
    if (n < 0)
        return err_set_os(err, "%s", full);
    res_code_t res = OK;
    for (int i = 0; i < n; i++) {
        char sub_full[8192], sub_path[4200];
        const char *name = names[i]->d_name;
        bool dots = !strcmp(name, ".") || !strcmp(name, "..");
        if (!res && !dots) {
            int a = snprintf(sub_full, sizeof sub_full, "%s/%s", full, name);
            int b = snprintf(sub_path, sizeof sub_path, "%s%s%s", path, path[0] ? "/" : "", name);
            if (a >= (int)sizeof sub_full || b > 4095)
                res = err_set(err, ERR_LIMIT, "%s/%s: the path is longer than 4095 bytes", full,
                              name);
            else
                res = walk(im, sub_full, sub_path, depth + 1, err);
        }
        free(names[i]);
    }
    free(names);
    return res;
}

static res_code_t walk(struct import *im, const char *full, const char *path, int depth,
                       struct err *err)
{
    struct stat st;
    if (depth > DEPTH_MAX)
        return err_set(err, ERR_LIMIT, "%s: more than %d folders deep", full, DEPTH_MAX);
    if ((path[0] ? lstat : stat)(full, &st) < 0)
        return err_set_os(err, "%s", full);
    if (!path[0] && !S_ISDIR(st.st_mode))
        return err_set(err, ERR_INVALID, "%s is not a folder", full);
    if (send_entry(im, full, path, &st, err))
        return FAIL;
    return S_ISDIR(st.st_mode) ? walk_names(im, full, path, depth, err) : OK;
}

/* ---- how much there is, for the progress line ---- */

static uint64_t measure(const char *full, int depth)
{
    struct dirent **names;
    struct stat st;
    uint64_t sum = 0;
    if (depth > DEPTH_MAX || (depth ? lstat : stat)(full, &st) < 0)
        return 0;
    if (S_ISREG(st.st_mode))
        return (uint64_t)st.st_size;
    int n = S_ISDIR(st.st_mode) ? scandir(full, &names, NULL, NULL) : -1;
    for (int i = 0; i < n; i++) {
        char sub[8192];
        const char *name = names[i]->d_name;
        if (strcmp(name, ".") && strcmp(name, "..") &&
            snprintf(sub, sizeof sub, "%s/%s", full, name) < (int)sizeof sub)
            sum += measure(sub, depth + 1);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    return sum;
}

/* ---- an archive ---- */

/* A refusal of the daemon is heard while a slow pipe has nothing for us. */
static res_code_t wait_for_input(struct import *im, int fd, struct err *err)
{
    struct pollfd in = {.fd = fd, .events = POLLIN};
    while (im->rpc && !in.revents)
        if (ctl_turn(im->c, &in, 1, -1, err))
            return FAIL;
    if (im->rpc)
        return OK;
    *err = im->err;
    return FAIL;
}

static res_code_t send_archive(struct import *im, int fd, const char *path, struct err *err)
{
    static uint8_t bytes[DATA_BYTES];
    struct stat st;
    bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
        return err_set(err, ERR_INVALID, "standard input is a folder; name it instead of -");
    if (!regular && isatty(fd))
        return err_set(err, ERR_INVALID, "standard input is a terminal; pipe an archive into it");
    ctl_progress_start(&im->progress, regular ? (uint64_t)st.st_size : 0);
    for (;;) {
        if (!regular && wait_for_input(im, fd, err))
            return FAIL;
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return err_set_os(err, "%s", path);
        if (n == 0)
            return OK;
        if (send_bytes(im, bytes, (size_t)n, err))
            return FAIL;
    }
}

/* ---- both ---- */

static res_code_t open_input(const char *path, int *fd, bool *folder, struct err *err)
{
    struct stat st;
    *folder = false;
    if (!strcmp(path, "-")) {
        *fd = dup(0);
        return *fd < 0 ? err_set_os(err, "standard input") : OK;
    }
    if (stat(path, &st) < 0)
        return err_set_os(err, "%s", path);
    *folder = S_ISDIR(st.st_mode);
    if (*folder)
        return OK;
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    return *fd < 0 ? err_set_os(err, "%s", path) : OK;
}

static res_code_t send_all(struct import *im, struct ctl_args *a, int fd, bool folder,
                           struct err *err)
{
    static const struct pb_rpc_ops ops = {on_image, on_done};
    PbImportOpen open = PB_IMPORT_OPEN__INIT;
    PbImportImageRequest req = PB_IMPORT_IMAGE_REQUEST__INIT;
    const char *name = ctl_value(a, OPT_NAME), *reference = ctl_value(a, OPT_REFERENCE),
               *digest = ctl_value(a, OPT_DIGEST);
    if (pb_rpc_start(im->c->h2, PB_METHOD_import_image, &ops, im, 0, &im->rpc, err))
        return FAIL;
    open.format = folder ? PB_IMPORT_FORMAT_ENTRIES : PB_IMPORT_FORMAT_ARCHIVE;
    if (name)
        open.name = (char *)(uintptr_t)name;
    if (reference)
        open.reference = (char *)(uintptr_t)reference;
    if (digest)
        open.expect_digest = (char *)(uintptr_t)digest;
    req.kind_case = PB_IMPORT_IMAGE_REQUEST__KIND_OPEN;
    req.open = &open;
    if (send_request(im, &req, err))
        return FAIL;
    if (!folder)
        return send_archive(im, fd, a->pos[0], err);
    ctl_progress_start(&im->progress, ctl_progress_wanted() ? measure(a->pos[0], 0) : 0);
    return walk(im, a->pos[0], "", 0, err);
}

static res_code_t import(struct import *im, struct ctl_args *a, struct err *err)
{
    CLEANUP(close_fd) int fd = -1;
    bool folder;
    if (open_input(a->pos[0], &fd, &folder, err) || ctl_connect(im->c, a, err) ||
        send_all(im, a, fd, folder, err))
        return FAIL; /* closing the connection cancels the import */
    if (im->rpc)
        pb_rpc_half_close(im->rpc);
    while (im->rpc) {
        uint64_t queued = pb_rpc_queued(im->rpc);
        if (queued)
            ctl_progress_show(&im->progress, im->sent_bytes > queued ? im->sent_bytes - queued : 0);
        else
            ctl_progress_wait(&im->progress, "all is sent; the daemon writes the image");
        if (ctl_turn(im->c, NULL, 0, -1, err))
            return FAIL;
    }
    if (im->res)
        *err = im->err;
    return im->res;
}

int ctl_cmd_image_import(struct ctl_args *a)
{
    struct ctl_conn c = {.t.fd = -1};
    struct import im = {.c = &c};
    struct link_seen *l, *next;
    struct err err;
    int code = 0;
    res_code_t res = import(&im, a, &err);
    ctl_progress_end(&im.progress);
    if (res)
        code = ctl_fail(&err);
    else
        puts(im.digest);
    ctl_close(&c);
    HASH_ITER(hh, im.links, l, next)
    {
        HASH_DEL(im.links, l);
        free(l->path);
        free(l);
    }
    return code;
}
