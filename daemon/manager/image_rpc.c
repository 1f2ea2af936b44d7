/* manager/image_rpc.c - RPCs about images that are there. Changes are answered when they will last. */
#include "daemon/manager/conn.h"
#include "daemon/manager/event.h"
#include "daemon/manager/image.h"
#include "daemon/manager/service.h"
#include "engine/base/log.h"

#include <stdlib.h>
#include <string.h>

static char no_text[1];

/* ---- describing ---- */

static void describe(PbImage *to, const struct mgr_image_owner *o, const char *name)
{
    pb_image__init(to);
    to->name = (char *)(uintptr_t)name;
    to->digest = o->image->digest;
    to->size_bytes = o->image->size_bytes;
    to->create_time_ns = o->create_time_ns;
    to->guests = o->guests;
    to->entries = o->entries;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* With its names (to be freed) and configuration. NULL name: the first of them. False: no memory. */
static bool describe_fully(PbImage *to, struct mgr *m, const struct mgr_image_owner *o,
                           const char *name)
{
    describe(to, o, name ? name : no_text);
    to->config = o->config;
    to->names = calloc(o->names + 1, sizeof(char *));
    if (!to->names)
        return false;
    for (struct mgr_image_name *n = m->images->names; n; n = n->hh.next)
        if (n->owner == o)
            to->names[to->n_names++] = (char *)(uintptr_t)n->name;
    qsort(to->names, to->n_names, sizeof *to->names, by_text);
    if (!name && to->n_names)
        to->name = to->names[0];
    return true;
}

void mgr_image_reply(struct pb_call *call, struct mgr *m, const struct mgr_image_owner *o,
                     const char *name)
{
    PbImage image;
    struct err err;
    if (describe_fully(&image, m, o, name)) {
        pb_call_reply(call, &image.base);
    } else {
        err_set(&err, ERR_NO_MEMORY, "no memory for an image's names");
        pb_call_finish(call, &err);
    }
    free(image.names);
}

void mgr_get_image(struct pb_call *call, const ProtobufCMessage *msg)
{
    const char *name = ((const PbGetImageRequest *)msg)->name;
    struct mgr *m = mgr_of_conn(call->conn_ctx);
    char digest[MGR_DIGEST_CHARS];
    struct err err;
    if (mgr_image_resolve(m, mgr_caller(call), name, digest, &err))
        pb_call_finish(call, &err);
    else
        mgr_image_reply(call, m, mgr_image_find(m, mgr_caller(call), digest),
                        strcmp(name, digest) ? name : NULL);
}

/* ---- listing ---- */

/* Those with a name first, by it; then by digest. */
static int compare(const PbImage *x, const char *name, const char *digest)
{
    if (!x->name[0] != !name[0])
        return x->name[0] ? -1 : 1;
    int c = strcmp(x->name, name);
    return c || name[0] ? c : strcmp(x->digest, digest);
}

static int by_name(const void *a, const void *b)
{
    const PbImage *y = *(PbImage *const *)b;
    return compare(*(PbImage *const *)a, y->name, y->digest);
}

struct listing {
    PbImage *all, **pointers;
    size_t count;
};

static bool gather(struct mgr *m, const struct mgr_tenant *t, struct listing *l)
{
    size_t most = HASH_COUNT(m->images->owners) + HASH_COUNT(m->images->names);
    l->all = calloc(most + 1, sizeof *l->all);
    l->pointers = calloc(most + 1, sizeof *l->pointers);
    if (!l->all || !l->pointers)
        return false;
    for (struct mgr_image_name *n = m->images->names; n; n = n->hh.next)
        if (!strcmp(n->owner->tenant, t->name))
            describe(&l->all[l->count++], n->owner, n->name);
    for (struct mgr_image_owner *o = m->images->owners; o; o = o->hh.next)
        if (!o->names && !strcmp(o->tenant, t->name))
            describe(&l->all[l->count++], o, no_text);
    for (size_t k = 0; k < l->count; k++)
        l->pointers[k] = &l->all[k];
    qsort(l->pointers, l->count, sizeof *l->pointers, by_name);
    return true;
}

/* A token is the last image of the page before: 'n' and its name, or 'd' and its digest. */
static res_code_t page(struct listing *l, const PbListImagesRequest *req, char token[160],
                       size_t *from, size_t *count, struct err *err)
{
    const char *t = req->page_token;
    *from = 0;
    if (t[0]) {
        if (!(t[0] == 'n' && pb_image_name_valid(t + 1)) &&
            !(t[0] == 'd' && pb_digest_valid(t + 1)))
            return err_set(err, ERR_INVALID,
                           "page_token \"%.40s\" is not one of this daemon's answers", t);
        const char *name = t[0] == 'n' ? t + 1 : "", *digest = t[0] == 'd' ? t + 1 : "";
        while (*from < l->count && compare(l->pointers[*from], name, digest) <= 0)
            ++*from;
    }
    *count = l->count - *from;
    token[0] = 0;
    if (req->page_size && *count > req->page_size) {
        *count = req->page_size;
        const PbImage *last = l->pointers[*from + *count - 1];
        snprintf(token, 160, "%c%s", last->name[0] ? 'n' : 'd',
                 last->name[0] ? last->name : last->digest);
    }
    return OK;
}

void mgr_list_images(struct pb_call *call, const ProtobufCMessage *msg)
{
    struct mgr *m = mgr_of_conn(call->conn_ctx);
    PbListImagesResponse resp = PB_LIST_IMAGES_RESPONSE__INIT;
    struct listing l = {.count = 0};
    char token[160];
    size_t from = 0;
    struct err err;
    if (!gather(m, mgr_caller(call), &l)) {
        err_set(&err, ERR_NO_MEMORY, "no memory for a list of images");
        pb_call_finish(call, &err);
    } else if (page(&l, (const PbListImagesRequest *)msg, token, &from, &resp.n_images, &err)) {
        pb_call_finish(call, &err);
    } else {
        resp.images = l.pointers + from;
        resp.next_page_token = token;
        pb_call_reply(call, &resp.base);
    }
    free(l.all);
    free(l.pointers);
}

/* ---- changes ---- */

struct gone {
    char digest[MGR_DIGEST_CHARS], config_file[MGR_IMAGE_FILE_CHARS];
    uint64_t size_bytes, entries;
    int64_t create_time_ns;
};
/* Something that is answered after its commit; it outlives its call. */
struct change {
    struct mgr_image_commit commit;
    struct mgr *m;
    struct mgr_tenant *tenant;
    struct pb_call *call; /* NULL: gone */
    char digest[MGR_DIGEST_CHARS], name[PB_IMAGE_NAME_MAX + 1];
    struct gone *gone;
    size_t gone_count;
    uint64_t freed_bytes;
};

static void free_change(struct change *c)
{
    free(c->gone);
    free(c);
}

void mgr_image_change_gone(struct pb_call *call)
{
    struct change *c = call->user;
    call->user = NULL;
    if (c)
        c->call = NULL;
}

static struct change *change_new(struct pb_call *call, size_t gone_max, struct err *err)
{
    struct change *c = calloc(1, sizeof *c);
    struct gone *gone = calloc(gone_max + 1, sizeof *gone);
    if (!c || !gone) {
        free(c);
        free(gone);
        err_set(err, ERR_NO_MEMORY, "no memory for a change of images");
        return NULL;
    }
    c->m = mgr_of_conn(call->conn_ctx);
    c->tenant = mgr_caller(call);
    c->call = call;
    c->gone = gone;
    return c;
}

static void commit(struct change *c, void (*done)(struct mgr_image_commit *, const struct err *))
{
    c->call->user = c;
    c->commit.done = done;
    mgr_images_commit(c->m, &c->commit);
}

/* The call to answer, or NULL if nobody waits, or an error was the answer. */
static struct pb_call *take_call(struct change *c, const struct err *err)
{
    struct pb_call *call = c->call;
    c->call = NULL;
    if (!call)
        return NULL;
    call->user = NULL;
    if (!err)
        return call;
    pb_call_finish(call, err);
    return NULL;
}

static void note_gone(struct change *c, struct mgr_image_owner *o)
{
    struct gone *g = &c->gone[c->gone_count++];
    memcpy(g->digest, o->image->digest, sizeof g->digest);
    memcpy(g->config_file, o->config_file, sizeof g->config_file);
    g->size_bytes = o->image->size_bytes;
    g->entries = o->entries;
    g->create_time_ns = o->create_time_ns;
    c->freed_bytes += o->image->owners == 1 ? o->image->size_bytes : 0;
}

/* If the index could not be written the files stay: the next start may find them in it. */
static void sweep(struct change *c, const struct err *err)
{
    for (size_t i = 0; !err && i < c->gone_count; i++) {
        mgr_image_sweep(c->m, c->gone[i].digest);
        if (c->gone[i].config_file[0])
            mgr_image_drop_file(c->m, c->gone[i].config_file);
        mgr_event(c->m, PB_EVENT_TYPE_IMAGE_REMOVED, c->tenant, c->gone[i].digest, 0, 0, NULL);
        log_info_f(LOG_FIELDS({"image", c->gone[i].digest}, {"tenant", c->tenant->name}),
                   "image removed");
    }
}

static void tagged(struct mgr_image_commit *commit_done, const struct err *err)
{
    struct change *c = container_of(commit_done, struct change, commit);
    struct pb_call *call = take_call(c, err);
    struct mgr_image_owner *o = mgr_image_find(c->m, c->tenant, c->digest);
    struct err gone;
    if (!err)
        mgr_event(c->m, PB_EVENT_TYPE_IMAGE_TAGGED, c->tenant, c->name, 0, 0, c->digest);
    if (call && o) {
        mgr_image_reply(call, c->m, o, c->name);
    } else if (call) {
        err_set(&gone, ERR_NOT_FOUND, "image %s was removed meanwhile", c->digest);
        pb_call_finish(call, &gone);
    }
    free_change(c);
}

void mgr_tag_image(struct pb_call *call, const ProtobufCMessage *msg)
{
    const PbTagImageRequest *r = (const PbTagImageRequest *)msg;
    struct mgr *m = mgr_of_conn(call->conn_ctx);
    struct change *c = NULL;
    struct err err;
    if (!pb_image_name_valid(r->new_name)) {
        err_set(&err, ERR_INVALID,
                "image name \"%.130s\": use 1-%d of a-z 0-9 . _ - : /, a letter or digit first",
                r->new_name, PB_IMAGE_NAME_MAX);
    } else if ((c = change_new(call, 0, &err)) &&
               !mgr_image_resolve(m, c->tenant, r->name, c->digest, &err) &&
               !mgr_image_name(m, mgr_image_find(m, c->tenant, c->digest), r->new_name, &err)) {
        snprintf(c->name, sizeof c->name, "%s", r->new_name);
        commit(c, tagged);
        return;
    }
    if (c)
        free_change(c);
    pb_call_finish(call, &err);
}

static void deleted(struct mgr_image_commit *commit_done, const struct err *err)
{
    struct change *c = container_of(commit_done, struct change, commit);
    struct pb_call *call = take_call(c, err);
    PbDeleteImageResponse resp = PB_DELETE_IMAGE_RESPONSE__INIT;
    sweep(c, err);
    if (!err && !c->gone_count)
        mgr_event(c->m, PB_EVENT_TYPE_IMAGE_REMOVED, c->tenant, c->name, 0, 0, NULL);
    resp.image_removed = c->gone_count > 0;
    if (call)
        pb_call_reply(call, &resp.base);
    free_change(c);
}

static res_code_t take_away(struct change *c, const char *name, struct err *err)
{
    struct mgr_image_name *n =
        strlen(name) <= PB_IMAGE_NAME_MAX ? mgr_image_find_name(c->m, c->tenant, name) : NULL;
    if (n) {
        snprintf(c->name, sizeof c->name, "%s", name);
        mgr_image_unname(c->m, n);
        return OK;
    }
    if (mgr_image_resolve(c->m, c->tenant, name, c->digest, err))
        return FAIL;
    struct mgr_image_owner *o = mgr_image_find(c->m, c->tenant, c->digest);
    if (o->guests) {
        err_set(err, ERR_STATE, "image %.20s...: %u guest%s it", c->digest, o->guests,
                o->guests == 1 ? " needs" : "s need");
        return err_explain(err, "IMAGE_IN_USE", "image", c->digest,
                           "remove the guests of this image first");
    }
    note_gone(c, o);
    mgr_image_remove(c->m, o);
    return OK;
}

void mgr_delete_image(struct pb_call *call, const ProtobufCMessage *msg)
{
    struct err err;
    struct change *c = change_new(call, 1, &err);
    if (c && !take_away(c, ((const PbDeleteImageRequest *)msg)->name, &err)) {
        commit(c, deleted);
        return;
    }
    if (c)
        free_change(c);
    pb_call_finish(call, &err);
}

/* ---- images that nobody names or needs ---- */

static void reply_gone(struct change *c, struct pb_call *call)
{
    PbGcImagesResponse resp = PB_GC_IMAGES_RESPONSE__INIT;
    PbImage *all = calloc(c->gone_count + 1, sizeof *all);
    PbImage **pointers = calloc(c->gone_count + 1, sizeof *pointers);
    struct err err;
    if (!all || !pointers) {
        err_set(&err, ERR_NO_MEMORY, "no memory for a list of images");
        pb_call_finish(call, &err);
    } else {
        for (size_t i = 0; i < c->gone_count; i++) {
            pb_image__init(&all[i]);
            all[i].name = no_text;
            all[i].digest = c->gone[i].digest;
            all[i].size_bytes = c->gone[i].size_bytes;
            all[i].entries = c->gone[i].entries;
            all[i].create_time_ns = c->gone[i].create_time_ns;
            pointers[i] = &all[i];
        }
        resp.n_removed = c->gone_count;
        resp.removed = pointers;
        resp.freed_bytes = c->freed_bytes;
        pb_call_reply(call, &resp.base);
    }
    free(all);
    free(pointers);
}

static void collected(struct mgr_image_commit *commit_done, const struct err *err)
{
    struct change *c = container_of(commit_done, struct change, commit);
    struct pb_call *call = take_call(c, err);
    sweep(c, err);
    if (call)
        reply_gone(c, call);
    free_change(c);
}

void mgr_gc_images(struct pb_call *call, const ProtobufCMessage *msg)
{
    struct mgr *m = mgr_of_conn(call->conn_ctx);
    bool dry = ((const PbGcImagesRequest *)msg)->dry_run;
    struct mgr_image_owner *o, *next;
    struct err err;
    struct change *c = change_new(call, HASH_COUNT(m->images->owners), &err);
    if (!c) {
        pb_call_finish(call, &err);
        return;
    }
    HASH_ITER(hh, m->images->owners, o, next)
    {
        if (o->names || o->guests || strcmp(o->tenant, c->tenant->name))
            continue;
        note_gone(c, o);
        if (!dry)
            mgr_image_remove(m, o);
    }
    if (!dry && c->gone_count) {
        commit(c, collected);
        return;
    }
    c->call = NULL;
    reply_gone(c, call);
    free_change(c);
}
