/* manager/image.c - the store in memory: files, who has them, names. */
#include "daemon/manager/image.h"
#include "engine/base/log.h"
#include "engine/base/os.h"
#include "proto/message.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void mgr_image_path(const struct mgr *m, const char *file, char *out, size_t cap)
{
    snprintf(out, cap, "%s/images/%s", m->opt->state, file);
}

/* ---- looking up ---- */

static struct mgr_image *find_file(struct mgr *m, const char *digest)
{
    struct mgr_image *i;
    HASH_FIND_STR(m->images->files, digest, i);
    return i;
}

static void make_key(char key[MGR_IMAGE_KEY_CHARS], const char *tenant, const char *what)
{
    snprintf(key, MGR_IMAGE_KEY_CHARS, "%.63s/%.127s", tenant, what);
}

struct mgr_image_owner *mgr_image_find(struct mgr *m, const struct mgr_tenant *t,
                                       const char *digest)
{
    char key[MGR_IMAGE_KEY_CHARS];
    struct mgr_image_owner *o;
    make_key(key, t->name, digest);
    HASH_FIND_STR(m->images->owners, key, o);
    return o;
}

struct mgr_image_name *mgr_image_find_name(struct mgr *m, const struct mgr_tenant *t,
                                           const char *name)
{
    char key[MGR_IMAGE_KEY_CHARS];
    struct mgr_image_name *n;
    make_key(key, t->name, name);
    HASH_FIND_STR(m->images->names, key, n);
    return n;
}

res_t mgr_image_resolve(struct mgr *m, const struct mgr_tenant *t, const char *name,
                        char digest[MGR_DIGEST_CHARS], struct err *err)
{
    struct mgr_image_name *n =
        strlen(name) <= PB_IMAGE_NAME_MAX ? mgr_image_find_name(m, t, name) : NULL;
    struct mgr_image_owner *o = n ? n->owner : NULL;
    if (!o && pb_digest_valid(name))
        o = mgr_image_find(m, t, name);
    if (!o) {
        err_set(err, ERR_NOT_FOUND, "no image \"%.128s\"; \"vmctl image ls\" shows what there is",
                name);
        return err_explain(err, "IMAGE_NOT_FOUND", "image", name,
                           "list the images, or import this one");
    }
    memcpy(digest, o->image->digest, MGR_DIGEST_CHARS);
    return OK;
}

res_t mgr_image_open(struct mgr *m, const char *digest, int *fd, struct err *err)
{
    char path[PB_PATH_MAX], file[MGR_IMAGE_FILE_CHARS];
    snprintf(file, sizeof file, "%s.erofs", digest);
    mgr_image_path(m, file, path, sizeof path);
    int got = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (got < 0)
        return err_set_os(err, "image %s", path);
    *fd = got;
    return OK;
}

bool mgr_image_hold(struct mgr *m, const struct mgr_tenant *t, const char *digest)
{
    struct mgr_image_owner *o = mgr_image_find(m, t, digest);
    if (o)
        o->guests++;
    return o != NULL;
}

void mgr_image_release(struct mgr *m, const struct mgr_tenant *t, const char *digest)
{
    struct mgr_image_owner *o = mgr_image_find(m, t, digest);
    if (o && o->guests)
        o->guests--;
}

const PbImageConfig *mgr_image_config(struct mgr *m, const struct mgr_tenant *t, const char *digest)
{
    const struct mgr_image_owner *o = mgr_image_find(m, t, digest);
    return o ? o->config : NULL;
}

/* ---- changes ---- */

static struct mgr_image *add_file(struct mgr *m, const char *digest, uint64_t size_bytes)
{
    struct mgr_image *i = find_file(m, digest);
    if (i || !(i = calloc(1, sizeof *i)))
        return i;
    snprintf(i->digest, sizeof i->digest, "%s", digest);
    i->size_bytes = size_bytes;
    HASH_ADD_STR(m->images->files, digest, i);
    return i;
}

static void drop_file_if_unowned(struct mgr *m, struct mgr_image *i)
{
    if (i->owners)
        return;
    HASH_DEL(m->images->files, i);
    free(i);
}

/* In the quotas; those that were there before a start count even above them. */
static void count(struct mgr *m, struct mgr_image_owner *o)
{
    struct mgr_tenant *t = o->counted ? NULL : mgr_tenant_find(m, o->tenant);
    if (!t)
        return;
    t->used[MGR_QUOTA_IMAGES]++;
    t->used[MGR_QUOTA_DISK] += o->image->size_bytes;
    o->counted = true;
}

void mgr_images_recount(struct mgr *m)
{
    for (struct mgr_image_owner *o = m->images->owners; o; o = o->hh.next)
        count(m, o);
}

static struct mgr_image_owner *add_owner(struct mgr *m, const char *tenant, struct mgr_image *i)
{
    struct mgr_image_owner *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    make_key(o->key, tenant, i->digest);
    snprintf(o->tenant, sizeof o->tenant, "%.63s", tenant);
    o->image = i;
    o->create_time_ns = mgr_wall_ns();
    i->owners++;
    HASH_ADD_STR(m->images->owners, key, o);
    return o;
}

res_t mgr_image_add(struct mgr *m, struct mgr_tenant *t, const char *digest, uint64_t size_bytes,
                    struct mgr_image_owner **out, struct err *err)
{
    struct mgr_image_owner *o = mgr_image_find(m, t, digest);
    if (o) {
        *out = o;
        return OK;
    }
    if (mgr_quota_take(t, MGR_QUOTA_IMAGES, 1, err))
        return FAIL;
    if (mgr_quota_take(t, MGR_QUOTA_DISK, size_bytes, err)) {
        mgr_quota_give(t, MGR_QUOTA_IMAGES, 1);
        return FAIL;
    }
    struct mgr_image *i = add_file(m, digest, size_bytes);
    if (!i || !(o = add_owner(m, t->name, i))) {
        if (i)
            drop_file_if_unowned(m, i);
        mgr_quota_give(t, MGR_QUOTA_IMAGES, 1);
        mgr_quota_give(t, MGR_QUOTA_DISK, size_bytes);
        return err_set(err, ERR_NO_MEMORY, "no memory for an image");
    }
    o->counted = true;
    *out = o;
    return OK;
}

void mgr_image_unname(struct mgr *m, struct mgr_image_name *n)
{
    n->owner->names--;
    HASH_DEL(m->images->names, n);
    free(n);
}

static void free_owner(struct mgr_image_owner *o)
{
    if (o->config)
        pb_image_config__free_unpacked(o->config, NULL);
    free(o);
}

void mgr_image_remove(struct mgr *m, struct mgr_image_owner *o)
{
    struct mgr_image_name *n, *next;
    struct mgr_tenant *t = o->counted ? mgr_tenant_find(m, o->tenant) : NULL;
    HASH_ITER(hh, m->images->names, n, next)
    {
        if (n->owner == o)
            mgr_image_unname(m, n);
    }
    if (t) {
        mgr_quota_give(t, MGR_QUOTA_IMAGES, 1);
        mgr_quota_give(t, MGR_QUOTA_DISK, o->image->size_bytes);
    }
    HASH_DEL(m->images->owners, o);
    o->image->owners--;
    drop_file_if_unowned(m, o->image);
    free_owner(o);
}

res_t mgr_image_name(struct mgr *m, struct mgr_image_owner *o, const char *name, struct err *err)
{
    char key[MGR_IMAGE_KEY_CHARS];
    struct mgr_image_name *n;
    make_key(key, o->tenant, name);
    HASH_FIND_STR(m->images->names, key, n);
    if (n) {
        n->owner->names--;
    } else {
        if (!(n = calloc(1, sizeof *n)))
            return err_set(err, ERR_NO_MEMORY, "no memory for a name");
        memcpy(n->key, key, sizeof key);
        n->name = n->key + strlen(o->tenant) + 1;
        HASH_ADD_STR(m->images->names, key, n);
    }
    n->owner = o;
    o->names++;
    return OK;
}

res_t mgr_image_configure(struct mgr_image_owner *o, const char *config_file, const void *config,
                          size_t n, struct err *err)
{
    PbImageConfig *c = NULL;
    if (config_file[0]) {
        struct arena arena;
        const ProtobufCMessage *checked;
        arena_init(&arena, PB_ARENA_BYTES(n));
        res_code_t res = pb_unpack(&pb_image_config__descriptor, &arena, config, n, &checked, err);
        arena_fini(&arena);
        if (res)
            return FAIL;
        if (!(c = pb_image_config__unpack(NULL, n, config)))
            return err_set(err, ERR_NO_MEMORY, "no memory for an image's configuration");
    }
    if (o->config)
        pb_image_config__free_unpacked(o->config, NULL);
    o->config = c;
    snprintf(o->config_file, sizeof o->config_file, "%s", config_file);
    return OK;
}

/* ---- files that are no longer needed ---- */

static void on_unlinked(uv_fs_t *r)
{
    if (r->result < 0 && r->result != UV_ENOENT)
        log_warn("%s: %s", r->path, uv_strerror((int)r->result));
    uv_fs_req_cleanup(r);
    free(r);
}

void mgr_image_drop_file(struct mgr *m, const char *file)
{
    char path[PB_PATH_MAX], gone[PB_PATH_MAX], name[MGR_IMAGE_FILE_CHARS];
    uint64_t random;
    os_random(&random, sizeof random);
    snprintf(name, sizeof name, "incoming-gone-%016llx", (unsigned long long)random);
    mgr_image_path(m, file, path, sizeof path);
    mgr_image_path(m, name, gone, sizeof gone);
    /* Out of the way at once, so that a new import of it may take its name; freeing its blocks can take long. */
    if (rename(path, gone)) {
        if (errno != ENOENT)
            log_warn("removing %s: %s", path, strerror(errno));
        return;
    }
    uv_fs_t *r = malloc(sizeof *r);
    if (r && uv_fs_unlink(m->loop, r, gone, on_unlinked) == 0)
        return;
    free(r);
    unlink(gone);
}

void mgr_image_sweep(struct mgr *m, const char *digest)
{
    char file[MGR_IMAGE_FILE_CHARS];
    if (find_file(m, digest))
        return;
    snprintf(file, sizeof file, "%s.erofs", digest);
    mgr_image_drop_file(m, file);
}

/* ---- the beginning ---- */

/* "sha256-<hex>.erofs" -> digest. */
static bool digest_of_file(const char *name, char digest[MGR_DIGEST_CHARS])
{
    if (strlen(name) != 71 + 6 || strcmp(name + 71, ".erofs"))
        return false;
    memcpy(digest, name, 71);
    digest[71] = 0;
    return pb_digest_valid(digest);
}

/* Each file: a leftover goes, an image is noted. */
static res_code_t read_folder(struct mgr *m, DIR *d, struct err *err)
{
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        char digest[MGR_DIGEST_CHARS];
        if (!strncmp(e->d_name, "incoming-", 9)) {
            unlinkat(dirfd(d), e->d_name, 0);
            continue;
        }
        if (!digest_of_file(e->d_name, digest) ||
            fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
            continue;
        if (!add_file(m, digest, (uint64_t)st.st_size))
            return err_set(err, ERR_NO_MEMORY, "no memory for an image");
    }
    return OK;
}

/* An index of before: everything is the default tenant's. */
static res_code_t adopt(struct mgr *m, struct err *err)
{
    const struct mgr_tenant t = {.name = "default"};
    for (struct mgr_image *i = m->images->files; i; i = i->hh.next)
        if (!mgr_image_find(m, &t, i->digest) && !add_owner(m, t.name, i))
            return err_set(err, ERR_NO_MEMORY, "no memory for an image");
    return OK;
}

/* What the index does not name: an import that broke off, or a removal that had been written down. */
static void drop_unknown(struct mgr *m, DIR *d)
{
    struct mgr_image *i, *next;
    rewinddir(d);
    for (struct dirent *e; (e = readdir(d));) {
        char digest[MGR_DIGEST_CHARS];
        bool known = true;
        if (digest_of_file(e->d_name, digest)) {
            struct mgr_image *file = find_file(m, digest);
            known = file && file->owners;
        } else if (!strncmp(e->d_name, "config-", 7)) {
            known = false;
            for (struct mgr_image_owner *o = m->images->owners; o && !known; o = o->hh.next)
                known = !strcmp(o->config_file, e->d_name);
        }
        if (!known)
            unlinkat(dirfd(d), e->d_name, 0);
    }
    HASH_ITER(hh, m->images->files, i, next)
    {
        drop_file_if_unowned(m, i);
    }
}

static void read_configs(struct mgr *m)
{
    struct err err;
    for (struct mgr_image_owner *o = m->images->owners; o; o = o->hh.next)
        if (o->config_file[0] && mgr_image_config_read(m, o, &err))
            log_error_f(LOG_FIELDS({"image", o->image->digest}, {"tenant", o->tenant}), "%s",
                        err.text);
}

res_t mgr_images_init(struct mgr *m, struct err *err)
{
    char dir[PB_PATH_MAX];
    bool known, old;
    list_init(&m->imports);
    if (!(m->images = calloc(1, sizeof *m->images)))
        return err_set(err, ERR_NO_MEMORY, "no memory for images");
    m->images->m = m;
    list_init(&m->images->commits);
    list_init(&m->images->exports);
    mgr_image_path(m, "", dir, sizeof dir);
    if (pb_private_dir(dir, err))
        return FAIL;
    DIR *d = opendir(dir);
    if (!d)
        return err_set_os(err, "%s", dir);
    res_code_t res = read_folder(m, d, err);
    if (!res)
        res = mgr_images_read_index(m, &known, &old, err);
    if (!res && !known)
        res = adopt(m, err);
    if (!res && (!known || old))
        res = mgr_images_write_index(m, err);
    if (!res)
        drop_unknown(m, d);
    closedir(d);
    if (res)
        return FAIL;
    read_configs(m);
    mgr_images_recount(m);
    return OK;
}

void mgr_images_fini(struct mgr *m)
{
    struct mgr_images *s = m->images;
    struct mgr_image *i, *i_next;
    struct mgr_image_owner *o, *o_next;
    struct mgr_image_name *n, *n_next;
    if (!s)
        return;
    HASH_ITER(hh, s->names, n, n_next)
    {
        HASH_DEL(s->names, n);
        free(n);
    }
    HASH_ITER(hh, s->owners, o, o_next)
    {
        HASH_DEL(s->owners, o);
        free_owner(o);
    }
    HASH_ITER(hh, s->files, i, i_next)
    {
        HASH_DEL(s->files, i);
        free(i);
    }
    buf_fini(&s->text);
    free(s);
    m->images = NULL;
}
