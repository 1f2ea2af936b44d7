/* Commands about images that are there. */
#include "client/vmctl/out.h"
#include "client/vmctl/progress.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE 500 /* of a list, asked at a time */

/* ---- ls, inspect ---- */

struct listing {
    struct ctl_out out;
    char token[256]; /* of the next page; empty: this was the last */
};

static void print_images(void *ctx, const ProtobufCMessage *m)
{
    const PbListImagesResponse *resp = (const PbListImagesResponse *)m;
    struct listing *l = ctx;
    snprintf(l->token, sizeof l->token, "%s", resp->next_page_token);
    for (size_t i = 0; i < resp->n_images; i++)
        ctl_out_row(&l->out, resp->images[i]);
}

int ctl_cmd_image_ls(struct ctl_args *a)
{
    PbListImagesRequest req = PB_LIST_IMAGES_REQUEST__INIT;
    struct listing l = {0};
    char token[256];
    struct ctl_conn c;
    struct err err;
    int code = 0;
    if (ctl_out_init(&l.out, a, CTL_TABLE_images, CTL_PRINT_TABLE, &err))
        return ctl_usage(&err);
    if (ctl_connect(&c, a, &err))
        code = ctl_fail(&err);
    req.page_size = PAGE;
    do {
        memcpy(token, l.token, sizeof token);
        req.page_token = token;
        if (!code && ctl_call(&c, PB_METHOD_list_images, &req.base, 0, print_images, &l, &err))
            code = ctl_fail(&err);
    } while (!code && l.token[0]);
    if (code)
        ctl_out_drop(&l.out);
    else
        code = ctl_out_end(&l.out);
    ctl_close(&c);
    return code;
}

static void print_image(void *ctx, const ProtobufCMessage *m)
{
    ctl_out_row(ctx, m);
}

int ctl_cmd_image_inspect(struct ctl_args *a)
{
    struct ctl_out out;
    struct ctl_conn c;
    struct err err;
    int code = 0;
    if (ctl_out_init(&out, a, CTL_TABLE_images, CTL_PRINT_YAML, &err))
        return ctl_usage(&err);
    out.one = a->pos_count == 1;
    bool connected = !ctl_connect(&c, a, &err);
    if (!connected)
        code = ctl_fail(&err);
    for (int i = 0; connected && i < a->pos_count; i++) {
        PbGetImageRequest req = PB_GET_IMAGE_REQUEST__INIT;
        req.name = a->pos[i];
        if (ctl_call(&c, PB_METHOD_get_image, &req.base, 0, print_image, &out, &err))
            code = ctl_fail(&err);
    }
    if (code && !out.rows)
        ctl_out_drop(&out);
    else
        code = ctl_out_end(&out) | code;
    ctl_close(&c);
    return code;
}

/* ---- tag, rm, gc ---- */

int ctl_cmd_image_tag(struct ctl_args *a)
{
    PbTagImageRequest req = PB_TAG_IMAGE_REQUEST__INIT;
    req.name = a->pos[0];
    req.new_name = a->pos[1];
    return ctl_order(a, PB_METHOD_tag_image, &req.base);
}

int ctl_cmd_image_rm(struct ctl_args *a)
{
    struct ctl_conn c;
    struct err err;
    int code = 0;
    if (ctl_connect(&c, a, &err)) {
        code = ctl_fail(&err);
        ctl_close(&c);
        return code;
    }
    for (int i = 0; i < a->pos_count; i++) {
        PbDeleteImageRequest req = PB_DELETE_IMAGE_REQUEST__INIT;
        req.name = a->pos[i];
        if (ctl_call(&c, PB_METHOD_delete_image, &req.base, 0, NULL, NULL, &err))
            code = ctl_fail(&err);
        else
            puts(a->pos[i]);
    }
    ctl_close(&c);
    return code;
}

static void print_removed(void *ctx, const ProtobufCMessage *m)
{
    const PbGcImagesResponse *resp = (const PbGcImagesResponse *)m;
    const bool *dry = ctx;
    char freed[32];
    for (size_t i = 0; i < resp->n_removed; i++)
        puts(resp->removed[i]->digest);
    ctl_human_bytes(resp->freed_bytes, freed, sizeof freed);
    ctl_say("%zu image%s, %s %s", resp->n_removed, resp->n_removed == 1 ? "" : "s", freed,
            *dry ? "would be freed" : "freed");
}

int ctl_cmd_image_gc(struct ctl_args *a)
{
    PbGcImagesRequest req = PB_GC_IMAGES_REQUEST__INIT;
    bool dry = ctl_has(a, OPT_DRY_RUN);
    struct ctl_conn c;
    struct err err;
    int code = 0;
    req.dry_run = dry;
    if (ctl_connect(&c, a, &err) ||
        ctl_call(&c, PB_METHOD_gc_images, &req.base, 0, print_removed, &dry, &err))
        code = ctl_fail(&err);
    ctl_close(&c);
    return code;
}

/* ---- export ---- */

struct export
{
    int fd;
    const char *path; /* for messages */
    uint64_t bytes;
    struct ctl_progress progress;
    struct pb_rpc *rpc;
    res_code_t res;
    struct err *err;
};

static void on_data(void *ctx, const ProtobufCMessage *m)
{
    struct export *x = ctx;
    const ProtobufCBinaryData *d = &((const PbExportImageResponse *)m)->data;
    for (size_t done = 0; !x->res && done < d->len;) {
        ssize_t n = write(x->fd, d->data + done, d->len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            x->res = err_set_os(x->err, "writing %s", x->path);
            return;
        }
        done += (size_t)n;
    }
    x->bytes += d->len;
    ctl_progress_show(&x->progress, x->bytes);
}

static void on_done(void *ctx, const struct err *why)
{
    struct export *x = ctx;
    x->rpc = NULL;
    if (why && !x->res) {
        *x->err = *why;
        x->res = FAIL;
    }
}

static res_code_t receive(struct export *x, struct ctl_args *a, PbExportFormat format,
                          struct err *err)
{
    static const struct pb_rpc_ops ops = {on_data, on_done};
    PbExportImageRequest req = PB_EXPORT_IMAGE_REQUEST__INIT;
    struct ctl_conn c;
    req.name = a->pos[0];
    req.format = format;
    x->err = err;
    res_code_t res = ctl_connect(&c, a, err);
    if (!res)
        res = pb_rpc_start(c.h2, PB_METHOD_export_image, &ops, x, 0, &x->rpc, err);
    if (!res) {
        ctl_progress_start(&x->progress, 0);
        pb_rpc_send(x->rpc, &req.base);
        pb_rpc_half_close(x->rpc);
    }
    while (!res && x->rpc && !x->res)
        res = ctl_turn(&c, NULL, 0, -1, err);
    ctl_progress_end(&x->progress);
    struct err ignored;
    x->err = &ignored; /* closing ends the call once more */
    res = res || x->res ? FAIL : OK;
    ctl_close(&c);
    return res;
}

/* Into a file beside, which takes the name when it is whole. */
static res_code_t to_file(struct export *x, struct ctl_args *a, PbExportFormat format,
                          struct err *err)
{
    char part[4200];
    if (snprintf(part, sizeof part, "%s.%d.part", x->path, (int)getpid()) >= (int)sizeof part)
        return err_set(err, ERR_INVALID, "%.100s...: the path is too long", x->path);
    x->fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (x->fd < 0)
        return err_set_os(err, "%s", part);
    res_code_t res = receive(x, a, format, err);
    if (!res && (close(x->fd) || rename(part, x->path)))
        res = err_set_os(err, "%s", x->path);
    else if (res)
        close(x->fd);
    if (res)
        unlink(part);
    return res;
}

int ctl_cmd_image_export(struct ctl_args *a)
{
    const char *format = ctl_value(a, OPT_FORMAT), *path = ctl_value(a, OPT_OUT_FILE);
    struct export x = {.fd = 1, .path = path && strcmp(path, "-") ? path : NULL};
    bool tar = !format || !strcmp(format, "tar");
    struct err err;
    if (!tar && strcmp(format, "erofs")) {
        err_set(&err, ERR_INVALID, "--format %.40s: use tar or erofs", format);
        return ctl_usage(&err);
    }
    PbExportFormat wanted = tar ? PB_EXPORT_FORMAT_TAR : PB_EXPORT_FORMAT_EROFS;
    if (x.path)
        return to_file(&x, a, wanted, &err) ? ctl_fail(&err) : 0;
    if (isatty(1)) {
        err_set(&err, ERR_INVALID, "an archive is nothing for a terminal; use -o FILE");
        return ctl_usage(&err);
    }
    x.path = "standard output";
    return receive(&x, a, wanted, &err) ? ctl_fail(&err) : 0;
}
