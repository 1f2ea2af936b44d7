/*
 * import/archive.c - an archive that a client sends: a root file system goes straight into the image; what looks like the
 * archive of a container image is kept aside until its end tells.
 *
 * Members are put aside as long as each of them is one that such an archive has (by name), and until a manifest and the end of
 * the archive make it one. The first other member makes all of it a root file system.
 */
#include "daemon/import/container.h"
#include "daemon/import/tar.h"
#include "engine/base/base.h"

#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 8

struct archive_state {
    struct imp_job *job;
    struct imp_tar tar;
    struct imp_member member;
    struct imp_kepts kept;
};

/* ---- a root file system ---- */

/* A refusal of the writer that is the archive's fault. */
static res_code_t blame(struct err *err)
{
    if (err->code == ERR_EXISTS || err->code == ERR_NOT_FOUND)
        err->code = ERR_INVALID;
    return FAIL;
}

res_t imp_put_member(struct imp_job *job, const struct imp_member *m, struct err *err)
{
    if (m->absolute)
        return err_set(err, ERR_INVALID,
                       "%.200s: an absolute name; make the archive relative to its root",
                       m->entry.path);
    if (m->size > job->image_bytes_max)
        return err_set(err, ERR_LIMIT, "%.200s: %llu bytes; the image can have %llu", m->entry.path,
                       (unsigned long long)m->size, (unsigned long long)job->image_bytes_max);
    return img_writer_add(job->writer, &m->entry, err) ? blame(err) : OK;
}

static res_code_t put_content(struct archive_state *a, struct err *err)
{
    const void *p;
    size_t n;
    do {
        if (imp_tar_data(&a->tar, &p, &n, err))
            return FAIL;
        if (n && img_writer_data(a->job->writer, p, n, err))
            return err_wrap(err, "%.150s", imp_tar_name(&a->tar));
    } while (n);
    return OK;
}

/* What was put aside, after all. */
static res_code_t put_kept(struct archive_state *a, const struct imp_kept *k, struct err *err)
{
    static struct imp_member m;
    struct imp_file_stream s;
    const void *p;
    size_t n;
    if (imp_tar_member(k->entry, &m, err) || imp_put_member(a->job, &m, err))
        return FAIL;
    if (!k->size)
        return OK;
    if (imp_file_stream(&s, a->job->spool_fd, k->at, k->size, err))
        return FAIL;
    res_code_t res;
    while (!(res = s.stream.read(&s.stream, &p, &n, err)) && n)
        if ((res = img_writer_data(a->job->writer, p, n, err)))
            break;
    imp_file_stream_fini(&s);
    return res ? err_wrap(err, "%.150s", k->path) : OK;
}

static res_code_t put_all_kept(struct archive_state *a, struct err *err)
{
    for (size_t i = 0; i < a->kept.count; i++)
        if (put_kept(a, a->kept.all[i], err))
            return FAIL;
    return OK;
}

/* ---- put aside ---- */

static bool is_hex(const char *p, size_t n)
{
    return strspn(p, "0123456789abcdef") >= n;
}

static bool ends_with(const char *p, const char *end)
{
    size_t n = strlen(p), k = strlen(end);
    return n >= k && !strcmp(p + n - k, end);
}

/* A path of the form that the archives of container images have. */
static bool fits(const char *path, bool dir)
{
    static const char *const names[] = {"",           "blobs",         "oci-layout",
                                        "index.json", "manifest.json", "repositories"};
    static const char *const ends[] = {".json", ".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz"};
    static const char *const parts[] = {"/json", "/VERSION", "/layer.tar"};
    const char *slash = strchr(path, '/');
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!strcmp(path, names[i]))
            return true;
    if (!strncmp(path, "blobs/", 6))
        return true;
    if (!slash && dir)
        return strlen(path) == 64 && is_hex(path, 64);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (slash == path + 64 && is_hex(path, 64) && !strcmp(slash, parts[i]))
            return true;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (!slash && ends_with(path, ends[i]))
            return true;
    return !slash && imp_digest_valid(path);
}

/* The digest that a path says its content has: "" if none. */
static void digest_of_path(const char *path, char out[IMP_DIGEST_CHARS])
{
    out[0] = 0;
    if (!strncmp(path, "blobs/sha256/", 13) || !strncmp(path, "blobs/sha512/", 13))
        snprintf(out, IMP_DIGEST_CHARS, "%.6s:%s", path + 6, path + 13);
    else if (imp_digest_valid(path))
        snprintf(out, IMP_DIGEST_CHARS, "%s", path);
    else if (is_hex(path, 64) && !strcmp(path + 64, ".json"))
        snprintf(out, IMP_DIGEST_CHARS, "sha256:%.64s", path);
    if (!imp_digest_valid(out))
        out[0] = 0;
}

/* "./a//b/../c/" -> "a/c"; false: it leads out. out is as long as path. */
static bool normal_path(const char *path, char *out)
{
    size_t n = 0;
    while (*path) {
        size_t k = strcspn(path, "/");
        if (k == 2 && path[0] == '.' && path[1] == '.') {
            if (!n)
                return false;
            while (n && out[--n] != '/')
                ;
        } else if (k && !(k == 1 && path[0] == '.')) {
            if (n)
                out[n++] = '/';
            memmove(out + n, path, k);
            n += k;
        }
        path += k + (path[k] == '/');
    }
    out[n] = 0;
    return true;
}

static res_code_t spool(struct archive_state *a, struct imp_kept *k, struct err *err)
{
    struct imp_job *job = a->job;
    char said[IMP_DIGEST_CHARS], is[IMP_DIGEST_CHARS];
    struct imp_digest digest = {0};
    const void *p;
    size_t n;
    digest_of_path(k->path, said);
    bool ok = !said[0] || imp_digest_init(&digest, said);
    k->at = a->kept.spool_bytes;
    res_code_t res;
    while (ok && !(res = imp_tar_data(&a->tar, &p, &n, err)) && n) {
        if (a->kept.spool_bytes + n > job->spool_bytes_max) {
            err_set(err, ERR_LIMIT, "%.200s: the archive needs more than %llu bytes of disk",
                    k->path, (unsigned long long)job->spool_bytes_max);
            res = err_explain(err, "SPOOL_BYTES", NULL, NULL, NULL);
            break;
        }
        ok = !said[0] || imp_digest_put(&digest, p, n);
        ssize_t wrote = pwrite(job->spool_fd, p, n, (off_t)a->kept.spool_bytes);
        if (wrote != (ssize_t)n) {
            if (wrote >= 0)
                errno = ENOSPC;
            res = err_set_os(err, "%.150s: writing it to the spool file", k->path);
            break;
        }
        a->kept.spool_bytes += n;
    }
    if (ok && !res && said[0])
        ok = imp_digest_fini(&digest, is);
    imp_digest_free(&digest);
    if (!ok)
        return err_set(err, ERR_INTERNAL, "the digest library failed");
    if (!res && said[0] && strcmp(said, is) && !(k->wrong = arena_strdup(&job->arena, is)))
        return err_set(err, ERR_NO_MEMORY, "no memory for the members of the archive");
    k->size = a->kept.spool_bytes - k->at;
    return res;
}

static res_code_t put_aside(struct archive_state *a, const char *path, struct err *err)
{
    struct imp_job *job = a->job;
    struct imp_kepts *all = &a->kept;
    const struct imp_member *m = &a->member;
    struct imp_kept *k, *twin;
    if (all->count == IMP_KEPT_MAX)
        return err_set(err, ERR_LIMIT, "%.200s: more than %d members", path, IMP_KEPT_MAX);
    if (all->count == all->cap) {
        size_t cap = MAX(all->cap * 2, (size_t)64);
        struct imp_kept **more = realloc(all->all, cap * sizeof(struct imp_kept *));
        if (!more)
            return err_set(err, ERR_NO_MEMORY, "no memory for the members of the archive");
        all->all = more;
        all->cap = cap;
    }
    k = arena_zalloc(&job->arena, sizeof *k);
    if (!k || !(k->path = arena_strdup(&job->arena, path)) ||
        !(k->entry = archive_entry_clone(a->tar.entry)))
        return err_set(err, ERR_NO_MEMORY, "no memory for the members of the archive");
    all->all[all->count++] = k;
    const char *link = m->entry.hardlink;
    if (m->entry.target) {
        const char *slash = strrchr(path, '/');
        k->link = arena_printf(&job->arena, "%.*s/%s", slash ? (int)(slash - path) : 0, path,
                               m->entry.target);
    } else if (link) {
        k->link = arena_strdup(&job->arena, link);
    }
    if ((link || m->entry.target) && !k->link)
        return err_set(err, ERR_NO_MEMORY, "no memory for the members of the archive");
    if (k->link && !normal_path(k->link, k->link))
        k->link[0] = 0; /* it leads out: to nothing */
    k->file = imp_member_is_file(m);
    HASH_FIND_STR(all->by_path, k->path, twin);
    if (twin && (k->file || twin->file || k->link))
        return err_set(err, ERR_INVALID, "%.200s: is in the archive twice", path);
    if (!twin)
        HASH_ADD_KEYPTR(hh, all->by_path, k->path, strlen(k->path), k);
    return k->file ? spool(a, k, err) : OK;
}

static void drop_kept(struct imp_kepts *k)
{
    HASH_CLEAR(hh, k->by_path);
    for (size_t i = 0; i < k->count; i++)
        archive_entry_free(k->all[i]->entry);
    free(k->all);
    *k = (struct imp_kepts){0};
}

res_t imp_kept_find(const struct imp_kepts *k, const char *path, struct imp_kept **out,
                    struct err *err)
{
    char name[4096];
    struct imp_kept *m = NULL;
    if (strlen(path) < sizeof name && normal_path(path, name)) {
        HASH_FIND_STR(k->by_path, name, m);
        for (int i = 0; m && m->link && i < LINKS_MAX; i++) {
            const char *to = m->link;
            HASH_FIND_STR(k->by_path, to, m);
        }
    }
    if (!m || !m->file)
        return err_set(err, ERR_INVALID, "%.200s: is not in the archive", path);
    if (m->wrong) {
        err_set(err, ERR_BAD_IMAGE, "%.180s: it is damaged: its digest is %.80s", m->path,
                m->wrong);
        return err_explain(err, "DIGEST_MISMATCH", NULL, NULL, NULL);
    }
    *out = m;
    return OK;
}

res_t imp_kept_blob(const struct imp_kepts *k, const char *digest, int64_t size_bytes,
                    struct imp_kept **out, struct err *err)
{
    char path[IMP_DIGEST_CHARS + 8];
    struct imp_kept *m;
    if (!imp_digest_valid(digest))
        return err_set(err, ERR_INVALID, "\"%.150s\" is no digest", digest);
    snprintf(path, sizeof path, "blobs/%.6s/%s", digest, digest + 7);
    if (imp_kept_find(k, path, &m, err))
        return FAIL;
    if (size_bytes >= 0 && m->size != (uint64_t)size_bytes)
        return err_set(err, ERR_BAD_IMAGE, "%.200s: has %llu bytes, its descriptor says %lld", path,
                       (unsigned long long)m->size, (long long)size_bytes);
    *out = m;
    return OK;
}

/* ---- both ---- */

static bool is_container(const struct imp_kepts *k)
{
    struct imp_kept *manifest, *layout, *index;
    HASH_FIND_STR(k->by_path, "manifest.json", manifest);
    HASH_FIND_STR(k->by_path, "oci-layout", layout);
    HASH_FIND_STR(k->by_path, "index.json", index);
    return (manifest && manifest->file) || (layout && layout->file && index && index->file);
}

static res_code_t read_members(struct archive_state *a, struct err *err)
{
    bool end, root_fs = false;
    struct imp_member *m = &a->member;
    for (;;) {
        char path[4096];
        if (imp_tar_next(&a->tar, m, &end, err))
            return FAIL;
        if (end && !imp_tar_ended(&a->tar))
            return err_set(err, ERR_INVALID, "the archive ends early, behind \"%.200s\"",
                           imp_tar_name(&a->tar));
        if (end)
            break;
        if (strlen(m->entry.path) >= sizeof path)
            return err_set(err, ERR_LIMIT, "%.150s...: a name of more than %zu bytes",
                           m->entry.path, sizeof path - 1);
        (void)normal_path(m->entry.path, path); /* without "..", which were refused */
        if (!root_fs && (m->absolute || !fits(path, S_ISDIR(m->entry.mode)))) {
            root_fs = true;
            if (put_all_kept(a, err))
                return FAIL;
        }
        if (root_fs ? imp_put_member(a->job, m, err) || put_content(a, err)
                    : put_aside(a, path, err))
            return FAIL;
    }
    if (root_fs)
        return OK;
    return is_container(&a->kept) ? imp_container(a->job, &a->kept, err) : put_all_kept(a, err);
}

res_t imp_archive(struct imp_job *job, struct err *err)
{
    static struct archive_state a;
    struct imp_source_stream source;
    struct imp_inflate inflate;
    a = (struct archive_state){.job = job};
    imp_source_stream(&source, &job->source);
    res_code_t res = imp_inflate_init(&inflate, &source.stream, UINT64_MAX, NULL, err);
    if (!res)
        res = imp_tar_init(&a.tar, &inflate.stream, err);
    if (!res)
        res = read_members(&a, err);
    if (!res) /* what is behind the archive's end */
        res = imp_stream_drain(&inflate.stream, err);
    if (!res)
        res = imp_stream_drain(&source.stream, err);
    imp_tar_fini(&a.tar);
    imp_inflate_fini(&inflate);
    drop_kept(&a.kept);
    return res;
}
