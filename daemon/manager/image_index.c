/*
 * manager/image_index.c - state/images/index: lines of words.
 *
 *   vmd images 2
 *   image <tenant> <digest> <create time, ns> <entries> <config file or ->
 *   name <tenant> <name> <digest>
 *
 * Version 1 was a file "names" without tenants: it is read once, into the default tenant, and replaced.
 */
#include "daemon/manager/image.h"
#include "engine/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD "vmd images 2\n"
#define HEAD_1 "vmd image names 1\n"
#define CONFIG_HEAD "vmd image config 1\n"
#define CONFIG_BYTES_MAX ((off_t)1 << 20)

/* ---- writing ---- */

static void put_text(const struct mgr *m, struct buf *out)
{
    buf_printf(out, HEAD);
    for (const struct mgr_image_owner *o = m->images->owners; o; o = o->hh.next)
        buf_printf(out, "image %s %s %" PRId64 " %" PRIu64 " %s\n", o->tenant, o->image->digest,
                   o->create_time_ns, o->entries, o->config_file[0] ? o->config_file : "-");
    for (const struct mgr_image_name *n = m->images->names; n; n = n->hh.next)
        buf_printf(out, "name %s %s %s\n", n->owner->tenant, n->name, n->owner->image->digest);
}

static res_code_t sync_dir(const char *dir, struct err *err)
{
    CLEANUP(close_fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd))
        return err_set_os(err, "syncing %s", dir);
    return OK;
}

static res_code_t write_whole(int fd, const void *p, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = write(fd, (const char *)p + done, n - done);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return FAIL;
        done += (size_t)k;
    }
    return OK;
}

static res_code_t write_index(const struct mgr *m, const struct buf *text, struct err *err)
{
    char dir[PB_PATH_MAX], path[PB_PATH_MAX], beside[PB_PATH_MAX], old[PB_PATH_MAX];
    mgr_image_path(m, "", dir, sizeof dir);
    mgr_image_path(m, "index", path, sizeof path);
    mgr_image_path(m, "incoming-index", beside, sizeof beside);
    mgr_image_path(m, "names", old, sizeof old);
    CLEANUP(close_fd) int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write_whole(fd, text->data, text->len) || fsync(fd) || rename(beside, path))
        return err_set_os(err, "writing %s", path);
    if (sync_dir(dir, err))
        return FAIL;
    unlink(old); /* now in the index */
    return OK;
}

static void in_pool(uv_work_t *w)
{
    struct mgr_images *s = container_of(w, struct mgr_images, work);
    s->res = write_index(s->m, &s->text, &s->err);
}

static void start_writing(struct mgr_images *s);

static void after_writing(uv_work_t *w, int status)
{
    struct mgr_images *s = container_of(w, struct mgr_images, work);
    s->writing = false;
    if (status && !s->res)
        s->res = err_set(&s->err, ERR_CANCELLED, "writing the index of images was cancelled");
    if (s->res)
        log_error("%s", s->err.text);
    struct list done;
    list_init(&done);
    list_for_each_safe(l, &s->commits)
    {
        if (list_entry(l, struct mgr_image_commit, link)->version > s->writing_version)
            continue;
        list_remove(l);
        list_append(&done, l);
    }
    const struct err err = s->err; /* a commit in the callbacks may begin the next */
    bool failed = s->res != OK;
    while (!list_empty(&done)) {
        struct mgr_image_commit *c = list_entry(done.next, struct mgr_image_commit, link);
        list_remove(&c->link);
        c->done(c, failed ? &err : NULL);
    }
    if (!list_empty(&s->commits) && !s->writing)
        start_writing(s);
}

static void start_writing(struct mgr_images *s)
{
    s->text.len = 0;
    put_text(s->m, &s->text);
    s->writing_version = s->version;
    s->writing = true;
    s->res = OK;
    if (s->text.failed) {
        buf_fini(&s->text);
        s->text = (struct buf){0};
        put_text(s->m, &s->text); /* once more, from nothing */
    }
    if (s->text.failed || uv_queue_work(s->m->loop, &s->work, in_pool, after_writing)) {
        s->res = err_set(&s->err, ERR_NO_MEMORY, "no memory for the index of images");
        after_writing(&s->work, 0);
    }
}

void mgr_images_commit(struct mgr *m, struct mgr_image_commit *c)
{
    struct mgr_images *s = m->images;
    c->version = ++s->version;
    list_append(&s->commits, &c->link);
    if (!s->writing)
        start_writing(s);
}

/* ---- reading ---- */

static res_code_t malformed(const char *path, unsigned line, const char *why, struct err *err)
{
    err_set(err, ERR_INVALID, "%s:%u: %s", path, line, why);
    return err_explain(err, "STATE_DAMAGED", "file", "images/index",
                       "restore the state folder, or remove the line");
}

static res_code_t take_image(struct mgr *m, const char *tenant, const char *digest,
                             struct mgr_image_owner **out, struct err *err)
{
    struct mgr_image *i;
    HASH_FIND_STR(m->images->files, digest, i);
    *out = NULL;
    if (!i) {
        log_error_f(LOG_FIELDS({"image", digest}, {"tenant", tenant}),
                    "the image's file is missing");
        return OK;
    }
    struct mgr_tenant t = {.config = NULL};
    const struct mgr_tenant_config unlimited = {
        .quota = {[0 ... MGR_QUOTA_COUNT - 1] = UINT64_MAX}};
    snprintf(t.name, sizeof t.name, "%.63s", tenant);
    t.config = &unlimited; /* counted later, in the real one */
    if (mgr_image_add(m, &t, digest, i->size_bytes, out, err))
        return FAIL;
    (*out)->counted = false;
    return OK;
}

static res_code_t image_line(struct mgr *m, const char *path, unsigned at, char *line,
                             struct err *err)
{
    char tenant[64], digest[73], config[MGR_IMAGE_FILE_CHARS], rest[2];
    int64_t created;
    uint64_t entries;
    struct mgr_image_owner *o;
    if (sscanf(line, "image %63s %72s %" SCNd64 " %" SCNu64 " %95s%1s", tenant, digest, &created,
               &entries, config, rest) != 5 ||
        !pb_guest_name_valid(tenant) || !pb_digest_valid(digest) ||
        (strcmp(config, "-") && (strncmp(config, "config-", 7) || strchr(config, '/'))))
        return malformed(path, at, "not an image", err);
    if (take_image(m, tenant, digest, &o, err))
        return FAIL;
    if (o) {
        o->create_time_ns = created;
        o->entries = entries;
        snprintf(o->config_file, sizeof o->config_file, "%s", strcmp(config, "-") ? config : "");
    }
    return OK;
}

static res_code_t name_line(struct mgr *m, const char *path, unsigned at, const char *tenant,
                            const char *name, const char *digest, struct err *err)
{
    struct mgr_tenant t = {.config = NULL};
    if (!pb_guest_name_valid(tenant) || !pb_image_name_valid(name) || !pb_digest_valid(digest))
        return malformed(path, at, "not a name", err);
    snprintf(t.name, sizeof t.name, "%.63s", tenant);
    struct mgr_image_owner *o = mgr_image_find(m, &t, digest);
    if (!o) {
        log_error("%s:%u: name %s: its image is missing", path, at, name);
        return OK;
    }
    return mgr_image_name(m, o, name, err);
}

static res_code_t index_line(struct mgr *m, const char *path, unsigned at, char *line,
                             struct err *err)
{
    char tenant[64], name[129], digest[73], rest[2];
    if (at == 1)
        return strcmp(line, HEAD)
                   ? malformed(path, at, "not an index of images of this version", err)
                   : OK;
    if (!strncmp(line, "image ", 6))
        return image_line(m, path, at, line, err);
    if (sscanf(line, "name %63s %128s %72s%1s", tenant, name, digest, rest) != 3)
        return malformed(path, at, "neither an image nor a name", err);
    return name_line(m, path, at, tenant, name, digest, err);
}

/* Of version 1. */
static res_code_t names_line(struct mgr *m, const char *path, unsigned at, char *line,
                             struct err *err)
{
    char name[129], digest[73], rest[2];
    struct mgr_image_owner *o;
    if (at == 1)
        return strcmp(line, HEAD_1) ? malformed(path, at, "not a file of image names", err) : OK;
    if (sscanf(line, "%128s %72s%1s", name, digest, rest) != 2 || !pb_digest_valid(digest))
        return malformed(path, at, "not a name", err);
    return take_image(m, "default", digest, &o, err)
               ? FAIL
               : name_line(m, path, at, "default", name, digest, err);
}

typedef res_code_t line_fn(struct mgr *m, const char *path, unsigned at, char *line,
                           struct err *err);

static res_code_t read_lines(struct mgr *m, const char *file, line_fn *f, bool *there,
                             struct err *err)
{
    char path[PB_PATH_MAX], line[1024];
    unsigned at = 0;
    mgr_image_path(m, file, path, sizeof path);
    FILE *in = fopen(path, "re");
    *there = in != NULL;
    if (!in)
        return errno == ENOENT ? OK : err_set_os(err, "%s", path);
    res_code_t res = OK;
    while (!res && fgets(line, sizeof line, in))
        res = f(m, path, ++at, line, err);
    if (!res && ferror(in))
        res = err_set_os(err, "%s", path);
    if (!res && !at)
        res = malformed(path, 1, "it is empty", err);
    fclose(in);
    return res;
}

res_t mgr_images_read_index(struct mgr *m, bool *known, bool *old, struct err *err)
{
    return read_lines(m, "index", index_line, known, err) ||
                   read_lines(m, "names", names_line, old, err)
               ? FAIL
               : OK;
}

res_t mgr_images_write_index(struct mgr *m, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};
    put_text(m, &text);
    if (text.failed)
        return err_set(err, ERR_NO_MEMORY, "no memory for the index of images");
    return write_index(m, &text, err);
}

/* ---- configurations ---- */

res_t mgr_image_config_write(const char *path, const void *config, size_t n, struct err *err)
{
    CLEANUP(close_fd) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write_whole(fd, CONFIG_HEAD, sizeof CONFIG_HEAD - 1) ||
        write_whole(fd, config, n) || fsync(fd))
        return err_set_os(err, "%s", path);
    return OK;
}

res_t mgr_image_config_read(const struct mgr *m, struct mgr_image_owner *o, struct err *err)
{
    char path[PB_PATH_MAX], file[MGR_IMAGE_FILE_CHARS];
    const size_t head = sizeof CONFIG_HEAD - 1;
    struct stat st;
    snprintf(file, sizeof file, "%s", o->config_file);
    mgr_image_path(m, file, path, sizeof path);
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st))
        return err_set_os(err, "%s", path);
    if (st.st_size < (off_t)head || st.st_size > CONFIG_BYTES_MAX)
        return err_set(err, ERR_INVALID, "%s: not a configuration of an image", path);
    CLEANUP(free_ptr) char *text = malloc((size_t)st.st_size);
    if (!text)
        return err_set(err, ERR_NO_MEMORY, "%s: no memory to read it", path);
    if (read(fd, text, (size_t)st.st_size) != st.st_size)
        return err_set_os(err, "%s", path);
    if (memcmp(text, CONFIG_HEAD, head))
        return err_set(err, ERR_INVALID, "%s: not a configuration of an image of this version",
                       path);
    return mgr_image_configure(o, file, text + head, (size_t)st.st_size - head, err);
}
