/* import/layers.c - the layers of a container image into one image: their names first, then the content of what is left. */
#include "daemon/import/container.h"
#include "daemon/import/stream.h"
#include "daemon/import/tar.h"
#include "engine/base/base.h"

#include <string.h>
#include <sys/stat.h>

#define MEMBERS_MAX 4000000 /* of all layers */
#define WHITEOUT ".wh."
#define OPAQUE ".wh..wh..opq"

struct layers {
    struct imp_job *job;
    struct buf ids; /* uint32_t of each file and symbolic link, in their order */
    size_t next;    /* of them */
    uint64_t members;
    bool verified; /* uncompressed they have their digests */
    struct imp_member member;
};
typedef res_code_t visit_fn(struct layers *l, struct imp_tar *t, struct err *err);

/* A name that hides others: true, and it was done. */
static res_code_t whiteout(struct layers *l, bool *was, struct err *err)
{
    const char *path = l->member.entry.path, *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char target[4096];
    *was = !strncmp(name, WHITEOUT, 4);
    if (!*was)
        return OK;
    bool opaque = !strcmp(name, OPAQUE);
    if (!opaque && !strncmp(name, ".wh..wh.", 8))
        return OK; /* bookkeeping of aufs */
    if (!opaque && (!name[4] || !strcmp(name + 4, ".") || !strcmp(name + 4, "..")))
        return err_set(err, ERR_INVALID, "%.200s: hides nothing that could be there", path);
    if (strlen(path) >= sizeof target)
        return err_set(err, ERR_LIMIT, "%.150s...: a name of more than %zu bytes", path,
                       sizeof target - 1);
    snprintf(target, sizeof target, "%.*s%s", (int)(name - path), path, opaque ? "" : name + 4);
    return img_writer_hide(l->job->writer, target, opaque, err);
}

static res_code_t add_name(struct layers *l, struct imp_tar *t, struct err *err)
{
    const struct img_entry *e = &l->member.entry;
    bool was;
    uint32_t id;
    (void)t;
    if (l->members++ == MEMBERS_MAX)
        return err_set(err, ERR_LIMIT, "%.200s: more than %d members in all layers", e->path,
                       MEMBERS_MAX);
    if (whiteout(l, &was, err))
        return FAIL;
    if (was)
        return OK;
    if (l->member.size > l->job->image_bytes_max)
        return err_set(err, ERR_LIMIT, "%.200s: %llu bytes; the image can have %llu", e->path,
                       (unsigned long long)l->member.size,
                       (unsigned long long)l->job->image_bytes_max);
    if (img_writer_add_later(l->job->writer, e, &id, err)) {
        if (err->code == ERR_EXISTS || err->code == ERR_NOT_FOUND)
            err->code = ERR_INVALID;
        return FAIL;
    }
    if (id)
        buf_put_u32(&l->ids, id);
    return l->ids.failed ? err_set(err, ERR_NO_MEMORY, "no memory for the members of layers") : OK;
}

static res_code_t add_content(struct layers *l, struct imp_tar *t, struct err *err)
{
    const struct img_entry *e = &l->member.entry;
    bool was, wanted;
    const void *p;
    size_t n;
    const char *slash = strrchr(e->path, '/');
    was = !strncmp(slash ? slash + 1 : e->path, WHITEOUT, 4);
    if (was || (!imp_member_is_file(&l->member) && !S_ISLNK(e->mode)))
        return OK;
    ASSERT(l->next < l->ids.len / 4);
    if (img_writer_content(l->job->writer, ((const uint32_t *)(const void *)l->ids.data)[l->next++],
                           &wanted, err))
        return FAIL;
    if (!wanted)
        return OK;
    if (S_ISLNK(e->mode))
        return img_writer_data(l->job->writer, e->target, strlen(e->target), err);
    do {
        if (imp_tar_data(t, &p, &n, err))
            return FAIL;
        if (n && img_writer_data(l->job->writer, p, n, err))
            return err_wrap(err, "%.150s", e->path);
    } while (n);
    return OK;
}

/* Each member of a layer; its digest, if it is to be known. */
static res_code_t read_layer(struct layers *l, const struct imp_kept *layer,
                             struct imp_digest *digest, visit_fn *visit, struct err *err)
{
    struct imp_file_stream file;
    struct imp_inflate inflate = {0};
    struct imp_tar tar = {0};
    bool end = false;
    if (imp_file_stream(&file, l->job->spool_fd, layer->at, layer->size, err))
        return FAIL;
    res_code_t res = imp_inflate_init(&inflate, &file.stream, UINT64_MAX, digest, err);
    if (!res)
        res = imp_tar_init(&tar, &inflate.stream, err);
    tar.pad = l->verified;
    while (!res && !(res = imp_tar_next(&tar, &l->member, &end, err)) && !end)
        res = visit(l, &tar, err);
    if (!res)
        res = imp_stream_drain(&inflate.stream, err);
    imp_tar_fini(&tar);
    imp_inflate_fini(&inflate);
    imp_file_stream_fini(&file);
    return res ? err_wrap(err, "layer %.100s", layer->path) : OK;
}

static res_code_t names_of(struct layers *l, const struct imp_kept *layer, const char *diff_id,
                           struct err *err)
{
    struct imp_digest digest = {0};
    char is[IMP_DIGEST_CHARS];
    if (diff_id && !imp_digest_init(&digest, diff_id))
        return err_set(err, ERR_INTERNAL, "the digest library failed");
    res_code_t res = img_writer_layer(l->job->writer, err);
    if (!res)
        res = read_layer(l, layer, diff_id ? &digest : NULL, add_name, err);
    if (!res && diff_id && !imp_digest_fini(&digest, is))
        res = err_set(err, ERR_INTERNAL, "the digest library failed");
    imp_digest_free(&digest);
    if (!res && diff_id && strcmp(is, diff_id)) {
        err_set(err, ERR_BAD_IMAGE,
                "layer %.100s: it is damaged: uncompressed its digest is %.80s, not %.80s",
                layer->path, is, diff_id);
        res = err_explain(err, "DIGEST_MISMATCH", NULL, NULL, NULL);
    }
    return res;
}

res_t imp_layers(struct imp_job *job, const struct imp_choice *choice, char **diff_ids,
                 struct err *err)
{
    static struct layers l;
    l = (struct layers){.job = job, .verified = diff_ids != NULL};
    res_code_t res = OK;
    for (size_t i = 0; !res && i < choice->layer_count; i++)
        res = names_of(&l, choice->layers[i], diff_ids ? diff_ids[i] : NULL, err);
    for (size_t i = 0; !res && i < choice->layer_count; i++)
        res = read_layer(&l, choice->layers[i], NULL, add_content, err);
    buf_fini(&l.ids);
    return res;
}

res_t imp_container(struct imp_job *job, const struct imp_kepts *k, struct err *err)
{
    struct imp_choice choice = {0};
    char **diff_ids;
    if (imp_choose(job, k, &choice, err) ||
        imp_config_read(job, choice.config, choice.layer_count, &diff_ids, err))
        return FAIL;
    return imp_layers(job, &choice, diff_ids, err);
}
