/* ImportImage: entries from the client go to a vmd-import of their own, its file into the store. */
#include "daemon/manager/child.h"
#include "daemon/manager/conn.h"
#include "daemon/manager/digest.h"
#include "daemon/manager/image.h"
#include "daemon/manager/metrics.h"
#include "daemon/manager/service.h"
#include "engine/base/log.h"
#include "engine/base/os.h"
#include "proto/channel.h"
#include "proto/paths.h"
#include "proto/worker.pb-c.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IMPORTS_MAX 8
#define QUEUE_BYTES ((size_t)256 * 1024) /* to the importer, before the client is paused */
#define DATA_BYTES_MAX (64 * 1024)

/* An import is freed when its child is gone, its work is done, and its call is answered or gone. */
struct import {
    struct mgr *m;
    struct list link;
    struct pb_call *call; /* NULL: answered, or gone */
    char name[128];
    char file[32]; /* incoming-... */
    int fd;        /* of it */
    bool child_alive, complete, working;
    struct mgr_child child;
    struct pb_channel ch;
    /* the pool's part */
    uv_work_t work;
    char path[PB_PATH_MAX], digest[MGR_DIGEST_CHARS];
    uint64_t size_bytes;
    struct buf names; /* text to write, in the second part */
    uint64_t names_version;
    struct err err;
    res_code_t res;
};

static void release(struct import *im)
{
    if (im->child_alive || im->working || im->call)
        return;
    if (im->file[0]) {
        unlink(im->path);
        mgr_count(im->m, MGR_METRIC_IMPORTS_FAILED, 1);
    }
    pb_channel_fini(&im->ch);
    close_fd(&im->fd);
    buf_fini(&im->names);
    list_remove(&im->link);
    im->m->import_count--;
    free(im);
}

/* Answer with an error, if there is somebody to answer, and stop. */
static void fail(struct import *im, const struct err *err)
{
    struct pb_call *call = im->call;
    if (call) {
        call->user = NULL;
        im->call = NULL;
        pb_call_finish(call, err);
    }
    if (im->child_alive)
        mgr_child_kill(&im->child);
    release(im);
}

/* ---- in the pool: hash, sync, put in place ---- */

static void hash_and_sync(uv_work_t *w)
{
    struct import *im = container_of(w, struct import, work);
    if (mgr_digest_file(im->fd, im->digest, &im->size_bytes))
        im->res = err_set_os(&im->err, "hashing the new image");
    else if (fchmod(im->fd, 0444) || fsync(im->fd))
        im->res = err_set_os(&im->err, "syncing the new image");
}

static res_code_t sync_dir(const char *dir, struct err *err)
{
    CLEANUP(close_fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd))
        return err_set_os(err, "syncing %s", dir);
    return OK;
}

static uv_mutex_t names_lock; /* writers of the file of names, of whom the newest wins */
static uint64_t names_written;

static void write_names(uv_work_t *w)
{
    struct import *im = container_of(w, struct import, work);
    char dir[PB_PATH_MAX], path[PB_PATH_MAX], beside[PB_PATH_MAX];
    mgr_image_path(im->m, "", dir, sizeof dir);
    mgr_image_path(im->m, "names", path, sizeof path);
    mgr_image_path(im->m, "incoming-names", beside, sizeof beside);
    uv_mutex_lock(&names_lock);
    if (im->names_version > names_written) {
        CLEANUP(close_fd) int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, im->names.data, im->names.len) != (ssize_t)im->names.len ||
            fsync(fd) || rename(beside, path))
            im->res = err_set_os(&im->err, "writing %s", path);
        else
            names_written = im->names_version;
    }
    if (!im->res)
        im->res = sync_dir(dir, &im->err);
    uv_mutex_unlock(&names_lock);
}

static void after_names(uv_work_t *w, int status)
{
    struct import *im = container_of(w, struct import, work);
    im->working = false;
    if (status || im->res) {
        fail(im, &im->err);
        return;
    }
    log_info("image %s: %s, %llu bytes", im->name[0] ? im->name : "(no name)", im->digest,
             (unsigned long long)im->size_bytes);
    if (im->call) {
        PbImage image = PB_IMAGE__INIT;
        image.name = im->name;
        image.digest = im->digest;
        image.size_bytes = im->size_bytes;
        image.create_time_ns = mgr_wall_ns();
        im->call->user = NULL;
        pb_call_reply(im->call, &image.base);
        im->call = NULL;
    }
    release(im);
}

static void after_hash(uv_work_t *w, int status)
{
    struct import *im = container_of(w, struct import, work);
    char file[MGR_DIGEST_CHARS + 8], path[PB_PATH_MAX];
    im->working = false;
    if (status || im->res || !im->call) { /* without a call it was cancelled: leave nothing */
        fail(im, &im->err);
        return;
    }
    snprintf(file, sizeof file, "%s.erofs", im->digest);
    mgr_image_path(im->m, file, path, sizeof path);
    if (rename(im->path, path)) {
        err_set_os(&im->err, "renaming the new image");
        fail(im, &im->err);
        return;
    }
    im->file[0] = 0;
    if (mgr_image_add(im->m, im->digest, im->size_bytes, mgr_wall_ns(), im->name, &im->err)) {
        fail(im, &im->err);
        return;
    }
    mgr_images_names_text(im->m, &im->names);
    im->names_version = im->m->names_version;
    if (im->names.failed) {
        err_set(&im->err, ERR_NO_MEMORY, "no memory for the file of names");
        fail(im, &im->err);
        return;
    }
    im->working = true;
    uv_queue_work(im->m->loop, &im->work, write_names, after_names);
}

/* ---- the importer ---- */

static void hear(struct import *im, const PbFromImport *result)
{
    if (im->complete)
        return;
    if (result->code != 0) {
        err_set(&im->err, result->code < ERR_CODE_COUNT ? result->code : ERR_INTERNAL, "%.300s",
                result->text);
        fail(im, &im->err);
        return;
    }
    im->complete = true;
    if (im->call) {
        im->working = true;
        uv_queue_work(im->m->loop, &im->work, hash_and_sync, after_hash);
    }
}

static void flush(struct import *im)
{
    struct err err;
    if (!pb_channel_flush(&im->ch, &err) && im->call &&
        pb_channel_pending(&im->ch) < QUEUE_BYTES / 2)
        pb_call_resume(im->call);
}

static void flush_and_poll(struct import *im)
{
    struct err err;
    if (pb_channel_flush(&im->ch, &err) &&
        err.code != ERR_UNAVAILABLE) { /* else its answer or exit tells */
        fail(im, &err);
        return;
    }
    mgr_child_poll(&im->child, pb_channel_pending(&im->ch) > 0);
}

static void on_poll(uv_poll_t *p, int status, int events)
{
    struct import *im = p->data;
    const ProtobufCMessage *msg = NULL;
    struct err err;
    if (status < 0 || (events & UV_READABLE &&
                       (pb_channel_fill(&im->ch, &err) ||
                        pb_channel_next(&im->ch, &pb_from_import__descriptor, &msg, &err)))) {
        uv_poll_stop(p);
        mgr_child_kill(&im->child); /* its exit is reported */
        return;
    }
    if (msg) {
        hear(im, (const PbFromImport *)msg);
        return;
    }
    if (events & UV_WRITABLE) {
        flush(im);
        mgr_child_poll(&im->child, pb_channel_pending(&im->ch) > 0);
    }
}

static void on_gone(struct mgr_child *child)
{
    struct import *im = container_of(child, struct import, child);
    im->child_alive = false;
    release(im);
}

static void child_exited(struct mgr_child *child, int64_t status, int sig)
{
    struct import *im = container_of(child, struct import, child);
    const ProtobufCMessage *msg;
    struct err err;
    if (!im->complete && im->call && !pb_channel_fill(&im->ch, &err) &&
        !pb_channel_next(&im->ch, &pb_from_import__descriptor, &msg, &err) && msg)
        hear(im, (const PbFromImport *)msg);
    mgr_child_close(child);
    if (!im->complete && im->call) {
        if (sig)
            err_set(&err, ERR_INTERNAL, "vmd-import died of signal %d (%s)", sig, strsignal(sig));
        else
            err_set(&err, ERR_INTERNAL, "vmd-import exited with code %d", (int)status);
        log_error("%s", err.text);
        fail(im, &err);
    }
}

static res_code_t open_file(struct import *im, struct err *err)
{
    uint64_t random;
    os_random(&random, sizeof random);
    snprintf(im->file, sizeof im->file, "incoming-%016llx", (unsigned long long)random);
    mgr_image_path(im->m, im->file, im->path, sizeof im->path);
    im->fd = open(im->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (im->fd < 0) {
        im->file[0] = 0;
        return err_set_os(err, "%s", im->path);
    }
    return OK;
}

static void open_import(struct pb_call *call, const PbImportOpen *open)
{
    struct mgr *m = mgr_of_conn(call->conn_ctx);
    static bool lock_made;
    struct err err;
    struct import *im = NULL;
    int fd;
    if (!lock_made) {
        uv_mutex_init(&names_lock);
        lock_made = true;
    }
    if (open->name[0] && !pb_image_name_valid(open->name))
        err_set(&err, ERR_INVALID,
                "image name \"%.130s\": use 1-%d of a-z 0-9 . _ - : /, a letter or digit first",
                open->name, PB_IMAGE_NAME_MAX);
    else if (m->import_count >= IMPORTS_MAX)
        err_set(&err, ERR_LIMIT, "%d imports are under way; try again when one is done",
                IMPORTS_MAX);
    else if (!(im = calloc(1, sizeof *im)))
        err_set(&err, ERR_NO_MEMORY, "no memory for an import");
    if (!im) {
        pb_call_finish(call, &err);
        return;
    }
    im->m = m;
    im->call = call;
    im->fd = -1;
    call->user = im;
    snprintf(im->name, sizeof im->name, "%s", open->name);
    list_append(&m->imports, &im->link);
    m->import_count++;
    mgr_count(m, MGR_METRIC_IMPORTS_TOTAL, 1);
    pb_channel_init(&im->ch, -1, 4096, false);
    if (open_file(im, &err)) {
        fail(im, &err);
        return;
    }
    im->child.on_exit = child_exited;
    im->child.on_gone = on_gone;
    im->child.poll.data = im;
    im->child_alive = true;
    if (mgr_child_start(&im->child, m->loop, m->opt->import_path, im->fd, on_poll, &fd, &err)) {
        im->call = NULL;
        call->user = NULL;
        pb_call_finish(call, &err);
        release(im); /* or on_gone does */
        return;
    }
    im->ch.fd = fd;
}

void mgr_import_image(struct pb_call *call, const ProtobufCMessage *msg)
{
    const PbImportImageRequest *req = (const PbImportImageRequest *)msg;
    struct import *im = call->user;
    struct err err;
    bool open = req->kind_case == PB_IMPORT_IMAGE_REQUEST__KIND_OPEN;
    if (!im && open)
        return open_import(call, req->open);
    if (!im || open)
        err_set(&err, ERR_INVALID, "an import is one open, then entries and data");
    else if (req->kind_case == PB_IMPORT_IMAGE_REQUEST__KIND_DATA && req->data.len > DATA_BYTES_MAX)
        err_set(&err, ERR_INVALID, "data of %zu bytes; at most %d in one message", req->data.len,
                DATA_BYTES_MAX);
    else {
        pb_channel_put(&im->ch, msg, -1);
        flush_and_poll(im);
        if (call->user == im && pb_channel_pending(&im->ch) > QUEUE_BYTES)
            pb_call_pause(call);
        return;
    }
    im ? fail(im, &err) : pb_call_finish(call, &err);
}

void mgr_import_half_close(struct pb_call *call)
{
    struct import *im = call->user;
    struct err err;
    if (!im) {
        err_set(&err, ERR_INVALID, "an import is one open, then entries and data");
        pb_call_finish(call, &err);
        return;
    }
    pb_channel_put_raw(&im->ch, "", 0);
    flush_and_poll(im);
}

void mgr_import_gone(struct pb_call *call)
{
    struct import *im = call->user;
    call->user = NULL;
    if (!im)
        return;
    im->call = NULL;
    if (im->child_alive)
        mgr_child_kill(&im->child);
    release(im);
}

void mgr_imports_stop(struct mgr *m)
{
    struct err err;
    err_set(&err, ERR_UNAVAILABLE, "the daemon is shutting down");
    list_for_each_safe(l, &m->imports) fail(list_entry(l, struct import, link), &err);
}
