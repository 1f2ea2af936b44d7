/*
 * ExportImage: a vmd-import of its own reads the image and sends its bytes; they go on as the client takes them.
 *
 * The child is listened to only while the client waits for more, so nothing gathers here: what it has sent ahead fills its
 * socket, and it waits. It has the file open: the image may be removed meanwhile.
 */
#include "daemon/manager/child.h"
#include "daemon/manager/conn.h"
#include "daemon/manager/image.h"
#include "daemon/manager/service.h"
#include "engine/base/log.h"
#include "proto/channel.h"
#include "proto/import.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_BYTES_MAX (128 * 1024)
#define TENANT_EXPORTS_MAX 8

struct export
{
    struct mgr *m;
    struct list link;
    const struct mgr_tenant *tenant;
    struct pb_call *call; /* NULL: answered, or gone */
    char digest[MGR_DIGEST_CHARS];
    bool child_alive, exited;
    struct mgr_child child;
    struct pb_channel ch;
};

static void release(struct export *x)
{
    if (x->child_alive || x->call)
        return;
    list_remove(&x->link);
    pb_channel_fini(&x->ch);
    free(x);
}

/* err NULL: all of it was sent. */
static void finish(struct export *x, const struct err *err)
{
    struct pb_call *call = x->call;
    x->call = NULL;
    if (call) {
        call->user = NULL;
        pb_call_finish(call, err);
    }
    if (x->child_alive)
        mgr_child_kill(&x->child);
    release(x);
}

static void take(struct export *x, const PbImportAnswer *a)
{
    struct err err;
    if (a->kind_case == PB_IMPORT_ANSWER__KIND_DATA) {
        PbExportImageResponse resp = PB_EXPORT_IMAGE_RESPONSE__INIT;
        resp.data = a->data;
        pb_call_send(x->call, &resp.base);
        return;
    }
    const PbImportDone *done = a->kind_case == PB_IMPORT_ANSWER__KIND_DONE ? a->done : NULL;
    if (done && !done->code) {
        finish(x, NULL);
        return;
    }
    enum err_code code =
        done && done->code < ERR_CODE_COUNT ? (enum err_code)done->code : ERR_INTERNAL;
    err_set(&err, code, "%.380s", done ? done->text : "vmd-import says nonsense");
    finish(x, &err);
}

static void hear_more(struct export *x, bool yes)
{
    x->child.deaf = !yes;
    if (x->child_alive)
        mgr_child_poll(&x->child, pb_channel_pending(&x->ch) > 0);
}

void mgr_export_pull(struct pb_call *call)
{
    struct export *x = call->user;
    const ProtobufCMessage *msg = NULL;
    struct err err;
    bool gone = false;
    if (!x)
        return;
    for (int i = 0; i < 4; i++) { /* a message may come in pieces */
        if (pb_channel_next(&x->ch, &pb_import_answer__descriptor, &msg, &err)) {
            finish(x, &err);
            return;
        }
        if (msg) {
            take(x, (const PbImportAnswer *)msg);
            return;
        }
        if (pb_channel_fill(&x->ch, &err)) {
            gone = true;
            break;
        }
    }
    if (!gone) {
        hear_more(x, true);
    } else if (x->exited) {
        err_set(&err, ERR_INTERNAL, "vmd-import ended in the middle of an export");
        log_error("%s", err.text);
        finish(x, &err);
    } /* else its exit is reported */
}

static void on_poll(uv_poll_t *p, int status, int events)
{
    struct export *x = p->data;
    struct err err;
    if (status < 0) {
        uv_poll_stop(p);
        mgr_child_kill(&x->child);
        return;
    }
    if (events & UV_WRITABLE && pb_channel_flush(&x->ch, &err))
        log_debug("%s", err.text); /* its exit tells */
    if (events & UV_READABLE)
        x->child.deaf = true;
    mgr_child_poll(&x->child, pb_channel_pending(&x->ch) > 0);
    if (events & UV_READABLE && x->call)
        pb_call_wake(x->call);
}

static void on_gone(struct mgr_child *child)
{
    struct export *x = container_of(child, struct export, child);
    x->child_alive = false;
    release(x);
}

/* What it sent before is still in the socket. */
static void child_exited(struct mgr_child *child, int64_t status, int sig)
{
    struct export *x = container_of(child, struct export, child);
    x->exited = true;
    if (x->call && (status || sig))
        log_warn("vmd-import (export): code %d, signal %d", (int)status, sig);
    mgr_child_close(child);
    if (x->call)
        pb_call_wake(x->call);
}

static res_code_t start(struct export *x, const PbExportImageRequest *r, struct err *err)
{
    CLEANUP(close_fd) int image = -1;
    PbImportJob job = PB_IMPORT_JOB__INIT;
    int fd;
    if (mgr_image_open(x->m, x->digest, &image, err))
        return FAIL;
    job.is_export = true;
    job.export_format = r->format;
    pb_channel_put(&x->ch, &job.base, -1);
    x->child.on_exit = child_exited;
    x->child.on_gone = on_gone;
    x->child.poll.data = x;
    x->child_alive = true;
    if (mgr_child_start_with(&x->child, x->m->loop, x->m->opt->import_path, &image, 1, on_poll, &fd,
                             err))
        return FAIL;
    x->ch.fd = fd;
    if (pb_channel_flush(&x->ch, err) && err->code != ERR_UNAVAILABLE) {
        mgr_child_kill(&x->child);
        return FAIL;
    }
    hear_more(x, true);
    return OK;
}

static struct export *export_new(struct pb_call *call, const PbExportImageRequest *r,
                                 struct err *err)
{
    struct mgr *m = mgr_of_conn(call->conn_ctx);
    const struct mgr_tenant *t = mgr_caller(call);
    char digest[MGR_DIGEST_CHARS];
    struct export *x;
    unsigned own = 0;
    list_for_each(l, &m->images->exports) own += list_entry(l, struct export, link)->tenant == t;
    if (r->format > PB_EXPORT_FORMAT_EROFS) {
        err_set(err, ERR_INVALID, "format %d is not known", (int)r->format);
        return NULL;
    }
    if (mgr_image_resolve(m, t, r->name, digest, err))
        return NULL;
    if (own >= TENANT_EXPORTS_MAX) {
        err_set(err, ERR_LIMIT, "%u exports of yours are under way; try again when one is done",
                own);
        err_explain(err, "TOO_MANY_EXPORTS", "tenant", t->name, "try again when one is done");
        return NULL;
    }
    if (!(x = calloc(1, sizeof *x))) {
        err_set(err, ERR_NO_MEMORY, "no memory for an export");
        return NULL;
    }
    x->m = m;
    x->tenant = t;
    x->call = call;
    memcpy(x->digest, digest, sizeof digest);
    call->user = x;
    list_append(&m->images->exports, &x->link);
    pb_channel_init(&x->ch, -1, ANSWER_BYTES_MAX, false);
    return x;
}

void mgr_export_image(struct pb_call *call, const ProtobufCMessage *msg)
{
    const PbExportImageRequest *r = (const PbExportImageRequest *)msg;
    struct err err;
    struct export *x = export_new(call, r, &err);
    if (!x) {
        pb_call_finish(call, &err);
    } else if (start(x, r, &err)) {
        x->call = NULL;
        call->user = NULL;
        pb_call_finish(call, &err);
        release(x); /* or on_gone does */
    }
}

void mgr_export_gone(struct pb_call *call)
{
    struct export *x = call->user;
    call->user = NULL;
    if (!x)
        return;
    x->call = NULL;
    if (x->child_alive)
        mgr_child_kill(&x->child);
    release(x);
}

void mgr_exports_stop(struct mgr *m, const struct err *why)
{
    list_for_each_safe(l, &m->images->exports) finish(list_entry(l, struct export, link), why);
}
