/*
 * ImportImage: what the client sends goes to a vmd-import of its own, its file into the store.
 *
 * messages -> vmd-import -> incoming-* -> (pool) hashed, synced -> renamed -> index written -> answered. Whatever ends it before
 * the answer takes everything back.
 */
#include "daemon/manager/child.h"
#include "daemon/manager/config.h"
#include "daemon/manager/conn.h"
#include "daemon/manager/digest.h"
#include "daemon/manager/event.h"
#include "daemon/manager/image.h"
#include "daemon/manager/metrics.h"
#include "daemon/manager/service.h"
#include "engine/base/log.h"
#include "engine/base/os.h"
#include "proto/channel.h"
#include "proto/import.pb-c.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define QUEUE_BYTES ((size_t)256 * 1024) /* to the importer, before the client is paused */
#define FLUSH_BYTES ((size_t)32 * 1024)
#define ANSWER_BYTES_MAX (512 * 1024) /* with a configuration */
#define DATA_BYTES_MAX (64 * 1024)

/* An import is freed when its child is gone, its work is done, and its call is answered or gone. */
struct import {
    struct mgr *m;
    struct list link;
    struct mgr_tenant *tenant;
    struct pb_call *call; /* NULL: answered, or gone */
    char name[128], expect_digest[MGR_DIGEST_CHARS];
    char file[32]; /* incoming-..., "" once it is in place */
    int fd;        /* of it */
    bool child_alive, complete, working;
    struct mgr_child child;
    struct pb_channel ch;
    uint64_t entries;
    struct buf config; /* packed */
    char config_file[32];
    /* the pool's part */
    uv_work_t work;
    char path[PB_PATH_MAX], digest[MGR_DIGEST_CHARS];
    uint64_t size_bytes;
    struct err err;
    res_code_t res;
    /* to take it back */
    struct mgr_image_commit commit;
    bool added;
    char old_config[MGR_IMAGE_FILE_CHARS]; /* named by the index until the commit */
    char name_before[MGR_DIGEST_CHARS];    /* digest that had the name; "": none */
};

static void release(struct import *im)
{
    if (im->child_alive || im->working || im->call)
        return;
    if (im->file[0]) {
        unlink(im->path);
        mgr_count(im->m, MGR_METRIC_IMPORTS_FAILED, 1);
    }
    if (im->config_file[0])
        mgr_image_drop_file(im->m, im->config_file);
    pb_channel_fini(&im->ch);
    close_fd(&im->fd);
    buf_fini(&im->config);
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

/* ---- in the pool: hash, sync ---- */

static void hash_and_sync(uv_work_t *w)
{
    struct import *im = container_of(w, struct import, work);
    char path[PB_PATH_MAX];
    mgr_image_path(im->m, im->config_file, path, sizeof path);
    if (mgr_digest_file(im->fd, im->digest, &im->size_bytes))
        im->res = err_set_os(&im->err, "hashing the new image");
    else if (fchmod(im->fd, 0444) || fsync(im->fd))
        im->res = err_set_os(&im->err, "syncing the new image");
    else if (im->config_file[0])
        im->res = mgr_image_config_write(path, im->config.data, im->config.len, &im->err);
}

/* ---- into the store ---- */

/* The index could not be written: as before, if nobody changed it since. */
static void take_back(struct import *im)
{
    struct mgr_image_owner *o = mgr_image_find(im->m, im->tenant, im->digest), *before;
    struct mgr_image_name *n =
        im->name[0] ? mgr_image_find_name(im->m, im->tenant, im->name) : NULL;
    if (n && o && n->owner == o) {
        before = im->name_before[0] ? mgr_image_find(im->m, im->tenant, im->name_before) : NULL;
        if (!before)
            mgr_image_unname(im->m, n);
        else if (mgr_image_name(im->m, before, im->name, NULL))
            log_error("name %s: no memory to give it back", im->name);
    }
    if (o && im->added && !o->names && !o->guests) {
        mgr_image_remove(im->m, o);
        mgr_image_sweep(im->m, im->digest);
    }
}

static void lasting(struct mgr_image_commit *c, const struct err *err)
{
    struct import *im = container_of(c, struct import, commit);
    struct mgr_image_owner *o;
    im->working = false;
    if (err) {
        take_back(im);
        fail(im, err);
        return;
    }
    if (im->old_config[0])
        mgr_image_drop_file(im->m, im->old_config);
    log_info_f(LOG_FIELDS({"image", im->digest}, {"name", im->name[0] ? im->name : NULL},
                          {"tenant", im->tenant->name}),
               "image imported: %llu bytes", (unsigned long long)im->size_bytes);
    mgr_event(im->m, PB_EVENT_TYPE_IMAGE_IMPORTED, im->tenant, im->name[0] ? im->name : im->digest,
              0, 0, im->digest);
    if (im->call && (o = mgr_image_find(im->m, im->tenant, im->digest))) {
        struct pb_call *call = im->call;
        im->call = NULL;
        call->user = NULL;
        mgr_image_reply(call, im->m, o, im->name[0] ? im->name : NULL);
        release(im);
        return;
    }
    struct err gone;
    err_set(&gone, ERR_NOT_FOUND, "image %s was removed meanwhile", im->digest);
    fail(im, &gone);
}

static res_code_t add(struct import *im, struct err *err)
{
    char file[MGR_DIGEST_CHARS + 8], path[PB_PATH_MAX];
    struct mgr_image_owner *o;
    struct mgr_image_name *n =
        im->name[0] ? mgr_image_find_name(im->m, im->tenant, im->name) : NULL;
    im->added = !mgr_image_find(im->m, im->tenant, im->digest);
    if (n)
        memcpy(im->name_before, n->owner->image->digest, sizeof im->name_before);
    if (mgr_image_add(im->m, im->tenant, im->digest, im->size_bytes, &o, err))
        return FAIL;
    snprintf(file, sizeof file, "%s.erofs", im->digest);
    mgr_image_path(im->m, file, path, sizeof path);
    snprintf(im->old_config, sizeof im->old_config, "%s", o->config_file);
    if (rename(im->path, path)) {
        err_set_os(err, "renaming the new image");
    } else {
        im->file[0] = 0;
        if (!mgr_image_configure(o, im->config_file, im->config.data, im->config.len, err) &&
            (!im->name[0] || !mgr_image_name(im->m, o, im->name, err))) {
            im->config_file[0] = 0; /* the image's */
            o->entries = im->entries;
            if (im->added)
                o->create_time_ns = mgr_wall_ns();
            return OK;
        }
    }
    if (im->added) {
        mgr_image_remove(im->m, o);
        mgr_image_sweep(im->m, im->digest);
    }
    return FAIL;
}

static void after_hash(uv_work_t *w, int status)
{
    struct import *im = container_of(w, struct import, work);
    im->working = false;
    if (status && !im->res)
        im->res = err_set(&im->err, ERR_CANCELLED, "hashing the new image was cancelled");
    if (!im->res && im->expect_digest[0] && strcmp(im->digest, im->expect_digest)) {
        im->res = err_set(&im->err, ERR_BAD_IMAGE, "the image is %s, not %s as expected",
                          im->digest, im->expect_digest);
        err_explain(&im->err, "DIGEST_MISMATCH", "image", im->digest,
                    "check where the files come from");
    }
    if (im->res || !im->call || add(im, &im->err)) { /* without a call: leave nothing */
        fail(im, &im->err);
        return;
    }
    im->working = true;
    im->commit.done = lasting;
    mgr_images_commit(im->m, &im->commit);
}

/* ---- the importer ---- */

static void hear_failure(struct import *im, const PbImportDone *done)
{
    static const struct {
        const char *reason, *fix;
    } known[] = {
        {"IMAGE_BYTES", "make the image smaller, or raise the quota disk_bytes"},
        {"SPOOL_BYTES", "make the archive smaller, or raise the quota disk_bytes"},
        {"COMPRESSION_BOMB", "compress it less, or import it uncompressed"},
        {"REFERENCE_NEEDED", "give the reference of one of its images"},
        {"REFERENCE_NOT_FOUND", "give the reference of one of its images"},
        {"DIGEST_MISMATCH", "fetch the archive again: it is damaged"},
    };
    enum err_code code =
        done->code && done->code < ERR_CODE_COUNT ? (enum err_code)done->code : ERR_INTERNAL;
    err_set(&im->err, code, "%.380s", done->text);
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (!strcmp(done->reason, known[i].reason))
            err_explain(&im->err, known[i].reason, "image", im->name, known[i].fix);
    fail(im, &im->err);
}

static void hear(struct import *im, const PbImportAnswer *answer)
{
    const PbImportDone *done = answer->done;
    if (im->complete)
        return;
    if (answer->kind_case != PB_IMPORT_ANSWER__KIND_DONE || done->code) {
        const PbImportDone nonsense = {
            .code = ERR_INTERNAL, .text = "vmd-import says nonsense", .reason = ""};
        hear_failure(im, answer->kind_case == PB_IMPORT_ANSWER__KIND_DONE ? done : &nonsense);
        return;
    }
    im->complete = true;
    im->entries = done->entries;
    if (done->config) {
        uint64_t random;
        os_random(&random, sizeof random);
        snprintf(im->config_file, sizeof im->config_file, "config-%016llx",
                 (unsigned long long)random);
        buf_reserve(&im->config, pb_image_config__get_packed_size(done->config));
        if (!im->config.failed)
            im->config.len = pb_image_config__pack(done->config, im->config.data);
    }
    if (im->config.failed) {
        err_set(&im->err, ERR_NO_MEMORY, "no memory for the image's configuration");
        fail(im, &im->err);
    } else if (im->call) {
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
                        pb_channel_next(&im->ch, &pb_import_answer__descriptor, &msg, &err)))) {
        uv_poll_stop(p);
        mgr_child_kill(&im->child); /* its exit is reported */
        return;
    }
    if (msg) {
        hear(im, (const PbImportAnswer *)msg);
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

/* What it said at last. */
static void hear_rest(struct import *im)
{
    const ProtobufCMessage *msg = NULL;
    struct err err;
    while (!im->complete && im->call && !msg) {
        if (pb_channel_next(&im->ch, &pb_import_answer__descriptor, &msg, &err))
            return;
        if (msg)
            hear(im, (const PbImportAnswer *)msg);
        else if (pb_channel_fill(&im->ch, &err))
            return;
    }
}

static void child_exited(struct mgr_child *child, int64_t status, int sig)
{
    struct import *im = container_of(child, struct import, child);
    struct err err;
    hear_rest(im);
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

/* ---- the beginning ---- */

static res_code_t open_file(const struct mgr *m, char file[32], char path[PB_PATH_MAX], int *fd,
                            struct err *err)
{
    uint64_t random;
    os_random(&random, sizeof random);
    snprintf(file, 32, "incoming-%016llx", (unsigned long long)random);
    mgr_image_path(m, file, path, PB_PATH_MAX);
    *fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (*fd >= 0)
        return OK;
    file[0] = 0;
    return err_set_os(err, "%s", path);
}

/* A file without a name. */
static res_code_t open_spool(const struct mgr *m, int *fd, struct err *err)
{
    char file[32], path[PB_PATH_MAX];
    if (open_file(m, file, path, fd, err))
        return FAIL;
    unlink(path);
    return OK;
}

/* The job, as the first message. */
static res_code_t tell(struct import *im, const PbImportOpen *open, struct err *err)
{
    PbImportJob job = PB_IMPORT_JOB__INIT;
    const struct mgr_tenant *t = im->tenant;
    uint64_t quota = t->config ? t->config->quota[MGR_QUOTA_DISK] : 0,
             used = t->used[MGR_QUOTA_DISK], left = used < quota ? quota - used : 0;
    if (!left) {
        err_set(err, ERR_LIMIT, "quota %s of tenant \"%s\": all %llu bytes are in use",
                mgr_quota_names[MGR_QUOTA_DISK], t->name, (unsigned long long)quota);
        return err_explain(err, "QUOTA_EXCEEDED", "quota", mgr_quota_names[MGR_QUOTA_DISK],
                           "remove images, or raise the quota in the daemon's configuration");
    }
    job.format = open->format;
    job.reference = open->reference;
    job.image_bytes_max = MIN(left, im->m->config->images_size_bytes);
    job.spool_bytes_max = MIN(left, im->m->config->images_archive_bytes);
    pb_channel_put(&im->ch, &job.base, -1);
    return OK;
}

static res_code_t check_open(const struct mgr *m, const struct mgr_tenant *t,
                             const PbImportOpen *open, struct err *err)
{
    unsigned own = 0;
    list_for_each(l, &m->imports) own += list_entry(l, struct import, link)->tenant == t;
    if (open->name[0] && !pb_image_name_valid(open->name))
        return err_set(
            err, ERR_INVALID,
            "image name \"%.130s\": use 1-%d of a-z 0-9 . _ - : /, a letter or digit first",
            open->name, PB_IMAGE_NAME_MAX);
    if (open->expect_digest[0] && !pb_digest_valid(open->expect_digest))
        return err_set(err, ERR_INVALID, "expect_digest \"%.80s\": not sha256-<64 hex digits>",
                       open->expect_digest);
    if (open->format > PB_IMPORT_FORMAT_ARCHIVE)
        return err_set(err, ERR_INVALID, "format %d is not known", (int)open->format);
    if (strlen(open->reference) > 512)
        return err_set(err, ERR_INVALID, "reference has more than 512 bytes");
    if (m->import_count >= m->config->images_imports || own >= m->config->images_tenant_imports) {
        err_set(err, ERR_LIMIT,
                "%u imports of yours and %u in all are under way; try again when "
                "one is done",
                own, m->import_count);
        return err_explain(err, "TOO_MANY_IMPORTS", "tenant", t->name,
                           "try again when one is done");
    }
    return OK;
}

static res_code_t start(struct import *im, const PbImportOpen *open, struct err *err)
{
    CLEANUP(close_fd) int spool = -1;
    bool archive = open->format == PB_IMPORT_FORMAT_ARCHIVE;
    int fd;
    if (mgr_quota_take(im->tenant, MGR_QUOTA_IMAGES, 1, err))
        return FAIL; /* it would fail at the end */
    mgr_quota_give(im->tenant, MGR_QUOTA_IMAGES, 1);
    if (open_file(im->m, im->file, im->path, &im->fd, err) ||
        (archive && open_spool(im->m, &spool, err)) || tell(im, open, err))
        return FAIL;
    im->child.on_exit = child_exited;
    im->child.on_gone = on_gone;
    im->child.poll.data = im;
    im->child_alive = true;
    const int fds[] = {im->fd, spool};
    if (mgr_child_start_with(&im->child, im->m->loop, im->m->opt->import_path, fds, archive ? 2 : 1,
                             on_poll, &fd, err))
        return FAIL; /* on_gone may have come already: the call keeps im */
    im->ch.fd = fd;
    flush_and_poll(im);
    return OK;
}

static void open_import(struct pb_call *call, const PbImportOpen *open)
{
    struct mgr *m = mgr_of_conn(call->conn_ctx);
    struct err err;
    struct import *im = NULL;
    if (!check_open(m, mgr_caller(call), open, &err) && !(im = calloc(1, sizeof *im)))
        err_set(&err, ERR_NO_MEMORY, "no memory for an import");
    if (!im) {
        pb_call_finish(call, &err);
        return;
    }
    im->m = m;
    im->tenant = mgr_caller(call);
    im->call = call;
    im->fd = -1;
    call->user = im;
    snprintf(im->name, sizeof im->name, "%s", open->name);
    snprintf(im->expect_digest, sizeof im->expect_digest, "%s", open->expect_digest);
    list_append(&m->imports, &im->link);
    m->import_count++;
    mgr_count(m, MGR_METRIC_IMPORTS_TOTAL, 1);
    pb_channel_init(&im->ch, -1, ANSWER_BYTES_MAX, false);
    if (start(im, open, &err)) {
        im->call = NULL;
        call->user = NULL;
        pb_call_finish(call, &err);
        release(im); /* or on_gone does */
    }
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
        if (pb_channel_pending(&im->ch) < FLUSH_BYTES)
            mgr_child_poll(&im->child, true); /* small ones go together */
        else
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
    mgr_exports_stop(m, &err);
}
