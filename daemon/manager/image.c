#include "daemon/manager/image.h"
#include "daemon/manager/conn.h"
#include "daemon/manager/service.h"
#include "engine/base/log.h"
#include "proto/paths.h"

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

static struct mgr_image *find_image(struct mgr *m, const char *digest)
{
    struct mgr_image *i;
    HASH_FIND_STR(m->images, digest, i);
    return i;
}

static res_code_t add_image(struct mgr *m, const char *digest, uint64_t size_bytes,
                            int64_t create_time_ns, struct err *err)
{
    if (find_image(m, digest))
        return OK;
    struct mgr_image *i = calloc(1, sizeof *i);
    if (!i)
        return err_set(err, ERR_NO_MEMORY, "no memory for an image");
    snprintf(i->digest, sizeof i->digest, "%s", digest);
    i->size_bytes = size_bytes;
    i->create_time_ns = create_time_ns;
    HASH_ADD_STR(m->images, digest, i);
    return OK;
}

static res_code_t add_name(struct mgr *m, const char *name, const char *digest, struct err *err)
{
    struct mgr_image_name *n;
    HASH_FIND_STR(m->names, name, n);
    if (!n) {
        if (!(n = calloc(1, sizeof *n)))
            return err_set(err, ERR_NO_MEMORY, "no memory for a name");
        snprintf(n->name, sizeof n->name, "%s", name);
        HASH_ADD_STR(m->names, name, n);
    }
    snprintf(n->digest, sizeof n->digest, "%s", digest);
    m->names_version++;
    return OK;
}

res_t mgr_image_add(struct mgr *m, const char *digest, uint64_t size_bytes, int64_t create_time_ns,
                    const char *name, struct err *err)
{
    if (add_image(m, digest, size_bytes, create_time_ns, err))
        return FAIL;
    return name[0] ? add_name(m, name, digest, err) : OK;
}

void mgr_images_names_text(const struct mgr *m, struct buf *out)
{
    buf_printf(out, "vmd image names 1\n");
    for (struct mgr_image_name *n = m->names; n; n = n->hh.next)
        buf_printf(out, "%s %s\n", n->name, n->digest);
}

static res_code_t read_names(struct mgr *m, struct err *err)
{
    char path[PB_PATH_MAX], line[512], name[256], digest[256];
    mgr_image_path(m, "names", path, sizeof path);
    FILE *f = fopen(path, "re");
    if (!f)
        return errno == ENOENT ? OK : err_set_os(err, "%s", path);
    res_code_t res = OK;
    for (int at = 1; !res && fgets(line, sizeof line, f); at++) {
        if (at == 1 && !strcmp(line, "vmd image names 1\n"))
            continue;
        if (at == 1)
            res = err_set(err, ERR_INVALID, "%s: not a file of image names of this version", path);
        else if (sscanf(line, "%255s %255s", name, digest) != 2 || !pb_image_name_valid(name) ||
                 !pb_digest_valid(digest))
            log_warn("%s:%d: malformed line, passed over", path, at);
        else if (!find_image(m, digest))
            log_warn("%s:%d: image %s is missing", path, at, digest);
        else
            res = add_name(m, name, digest, err);
    }
    fclose(f);
    return res;
}

static res_code_t read_store(struct mgr *m, const char *dir, struct err *err)
{
    DIR *d = opendir(dir);
    if (!d)
        return err_set_os(err, "%s", dir);
    res_code_t res = OK;
    for (struct dirent *e; !res && (e = readdir(d));) {
        struct stat st;
        char digest[MGR_DIGEST_CHARS];
        size_t n = strlen(e->d_name);
        if (!strncmp(e->d_name, "incoming-", 9)) {
            unlinkat(dirfd(d), e->d_name, 0);
            continue;
        }
        if (n != 71 + 6 || strcmp(e->d_name + 71, ".erofs") ||
            fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
            continue;
        memcpy(digest, e->d_name, 71);
        digest[71] = 0;
        if (pb_digest_valid(digest))
            res = add_image(m, digest, (uint64_t)st.st_size,
                            (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec, err);
    }
    closedir(d);
    return res;
}

res_t mgr_images_init(struct mgr *m, struct err *err)
{
    char dir[PB_PATH_MAX];
    list_init(&m->imports);
    mgr_image_path(m, "", dir, sizeof dir);
    if (pb_private_dir(dir, err) || read_store(m, dir, err))
        return FAIL;
    return read_names(m, err);
}

void mgr_images_fini(struct mgr *m)
{
    struct mgr_image *i, *i_next;
    struct mgr_image_name *n, *n_next;
    HASH_ITER(hh, m->images, i, i_next)
    {
        HASH_DEL(m->images, i);
        free(i);
    }
    HASH_ITER(hh, m->names, n, n_next)
    {
        HASH_DEL(m->names, n);
        free(n);
    }
}

res_t mgr_image_resolve(struct mgr *m, const char *name, char digest[MGR_DIGEST_CHARS],
                        struct err *err)
{
    struct mgr_image_name *n;
    HASH_FIND_STR(m->names, name, n);
    const char *found = n ? n->digest : name;
    if (!pb_digest_valid(found) || !find_image(m, found))
        return err_set(err, ERR_NOT_FOUND,
                       "no image \"%.128s\"; \"vmctl image ls\" shows what there is", name);
    memcpy(digest, found, MGR_DIGEST_CHARS);
    return OK;
}

res_t mgr_image_open(struct mgr *m, const char *digest, int *fd, struct err *err)
{
    char path[PB_PATH_MAX], file[MGR_DIGEST_CHARS + 8];
    snprintf(file, sizeof file, "%s.erofs", digest);
    mgr_image_path(m, file, path, sizeof path);
    int got = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (got < 0)
        return err_set_os(err, "image %s", path);
    *fd = got;
    return OK;
}

static int by_name(const void *a, const void *b)
{
    const PbImage *x = *(PbImage *const *)a, *y = *(PbImage *const *)b;
    if (!x->name[0] != !y->name[0])
        return x->name[0] ? -1 : 1;
    int c = strcmp(x->name, y->name);
    return c ? c : strcmp(x->digest, y->digest);
}

static void describe(PbImage *to, struct mgr_image *i, char *name)
{
    pb_image__init(to);
    to->name = name;
    to->digest = i->digest;
    to->size_bytes = i->size_bytes;
    to->create_time_ns = i->create_time_ns;
}

void mgr_list_images(struct pb_call *call, const ProtobufCMessage *msg)
{
    struct mgr *m = mgr_of_conn(call->conn_ctx);
    PbListImagesResponse resp = PB_LIST_IMAGES_RESPONSE__INIT;
    size_t most = HASH_COUNT(m->images) + HASH_COUNT(m->names), count = 0;
    PbImage *all = calloc(most + 1, sizeof *all), **pointers = calloc(most + 1, sizeof *pointers);
    static char none[1];
    struct err err;
    (void)msg;
    if (!all || !pointers) {
        err_set(&err, ERR_NO_MEMORY, "no memory for a list of images");
        pb_call_finish(call, &err);
    } else {
        for (struct mgr_image *i = m->images; i; i = i->hh.next)
            i->named = false;
        for (struct mgr_image_name *n = m->names; n; n = n->hh.next) {
            struct mgr_image *i = find_image(m, n->digest);
            i->named = true;
            describe(&all[count++], i, n->name);
        }
        for (struct mgr_image *i = m->images; i; i = i->hh.next)
            if (!i->named)
                describe(&all[count++], i, none);
        for (size_t k = 0; k < count; k++)
            pointers[k] = &all[k];
        qsort(pointers, count, sizeof *pointers, by_name);
        resp.n_images = count;
        resp.images = pointers;
        pb_call_reply(call, &resp.base);
    }
    free(all);
    free(pointers);
}
