/*
 * image/writer.c - the tree in memory, file content straight to the image.
 *
 * Layout of the result: block 0 superblock; content of files and symbolic links in the order they came;
 * directories; metadata (inodes of 64 bytes with their attributes, in the order they came).
 */
#include "engine/image/build.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- output ---- */

res_code_t img_put_at(struct img_writer *w, const void *p, size_t n, uint64_t at, struct err *err)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = pwrite(w->fd, (const char *)p + done, n - done, (off_t)(at + done));
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0) {
            w->broken = true;
            return err_set_os(err, "writing the image at %llu", (unsigned long long)(at + done));
        }
        done += (size_t)k;
    }
    return OK;
}

static bool is_zero(const uint8_t *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

res_code_t img_put_blocks(struct img_writer *w, const uint8_t *p, size_t n, struct err *err)
{
    if (w->next_block * BLOCK + n > w->limits.bytes) {
        w->broken = true;
        err_set(err, ERR_LIMIT, "the image grows beyond its limit of %llu bytes",
                (unsigned long long)w->limits.bytes);
        return err_explain(err, "IMAGE_BYTES", "image", NULL, NULL);
    }
    for (size_t at = 0; at < n;) {
        size_t end = at;
        while (end < n && !is_zero(p + end, BLOCK))
            end += BLOCK;
        if (end > at && img_put_at(w, p + at, end - at, w->next_block * BLOCK + at, err) != OK)
            return FAIL;
        at = end + BLOCK; /* over the block of zeros */
    }
    w->next_block += n / BLOCK;
    return OK;
}

res_code_t img_flush(struct img_writer *w, bool last, struct err *err)
{
    size_t n = w->chunk_used;
    if (last) {
        n = ALIGN_UP(n, (size_t)BLOCK);
        memset(w->chunk + w->chunk_used, 0, n - w->chunk_used);
    }
    w->chunk_used = 0;
    return n ? img_put_blocks(w, w->chunk, n, err) : OK;
}

res_code_t img_close_file(struct img_writer *w, struct err *err)
{
    if (!w->open)
        return OK;
    w->open = NULL;
    return img_flush(w, true, err);
}

/* ---- attributes ---- */

static res_code_t xattr_split(const char *path, const struct img_xattr *x, uint8_t *index,
                              const char **rest, struct err *err)
{
    static const char *const prefix[XATTR_PREFIX_COUNT] = XATTR_PREFIXES;
    for (uint8_t i = 1; i < XATTR_PREFIX_COUNT; i++) {
        size_t n = strlen(prefix[i]);
        bool whole = i == 2 || i == 3; /* the prefix is the name */
        if (i == 5 || strncmp(x->name, prefix[i], n) != 0 ||
            (whole ? x->name[n] != 0 : x->name[n] == 0))
            continue;
        if (strlen(x->name + n) > NAME_MAX_BYTES || x->value_bytes > UINT16_MAX)
            return err_set(err, ERR_LIMIT, "%.200s: attribute %.40s is too long", path, x->name);
        *index = i;
        *rest = x->name + n;
        return OK;
    }
    return err_set(err, ERR_INVALID,
                   "%.200s: attribute %.60s is in no namespace that an image can keep", path,
                   x->name);
}

static int by_attribute_name(const void *a, const void *b)
{
    return strcmp((*(const struct img_xattr *const *)a)->name,
                  (*(const struct img_xattr *const *)b)->name);
}

res_code_t img_put_xattrs(struct img_writer *w, struct inode *i, const struct img_entry *e,
                          struct err *err)
{
    if (!e->xattr_count) {
        i->xattrs = NULL;
        i->xattr_bytes = 0;
        return OK;
    }
    uint64_t total = XATTR_HEAD;
    uint8_t index;
    const char *rest;
    for (size_t k = 0; k < e->xattr_count; k++) {
        if (xattr_split(e->path, &e->xattrs[k], &index, &rest, err) != OK)
            return FAIL;
        total += ALIGN_UP(XATTR_ENTRY + strlen(rest) + e->xattrs[k].value_bytes, 4);
        if (total > XATTR_BYTES_MAX)
            return err_set(err, ERR_LIMIT, "%.200s: more than %u bytes of attributes", e->path,
                           XATTR_BYTES_MAX);
    }
    CLEANUP(free_ptr)
    const struct img_xattr **order = malloc(e->xattr_count * sizeof(struct img_xattr *));
    uint8_t *out = arena_zalloc(&w->arena, total), *at = out + XATTR_HEAD;
    if (!order || !out)
        return err_set(err, ERR_NO_MEMORY, "%.200s: attributes", e->path);
    for (size_t k = 0; k < e->xattr_count; k++)
        order[k] = &e->xattrs[k];
    qsort(order, e->xattr_count, sizeof(struct img_xattr *), by_attribute_name);
    for (size_t k = 0; k < e->xattr_count; k++) {
        const struct img_xattr *x = order[k];
        if (k && strcmp(order[k - 1]->name, x->name) == 0)
            return err_set(err, ERR_INVALID, "%.200s: attribute %.60s twice", e->path, x->name);
        if (xattr_split(e->path, x, &index, &rest, err) != OK)
            return FAIL;
        size_t n = strlen(rest);
        at[0] = (uint8_t)n;
        at[1] = index;
        set16(at + 2, (uint16_t)x->value_bytes);
        memcpy(at + XATTR_ENTRY, rest, n);
        if (x->value_bytes)
            memcpy(at + XATTR_ENTRY + n, x->value, x->value_bytes);
        at += ALIGN_UP(XATTR_ENTRY + n + x->value_bytes, 4);
    }
    i->xattrs = out;
    i->xattr_bytes = (uint32_t)total;
    return OK;
}

/* ---- adding ---- */

static res_code_t check_entry(const struct img_entry *e, struct err *err)
{
    uint32_t type = e->mode & S_IFMT;
    if (!img_file_type(e->mode) || (e->mode & ~(uint32_t)(S_IFMT | 07777)))
        return err_set(err, ERR_INVALID, "%.200s: mode 0%o is of no known type", e->path, e->mode);
    if (e->mtime_ns >= 1000000000u)
        return err_set(err, ERR_INVALID, "%.200s: %u nanoseconds", e->path, e->mtime_ns);
    if (type == S_IFLNK && (!e->target || !*e->target || strlen(e->target) > LINK_MAX_BYTES))
        return err_set(err, ERR_INVALID, "%.200s: a symbolic link needs a text of 1 to %u bytes",
                       e->path, LINK_MAX_BYTES);
    if ((type == S_IFCHR || type == S_IFBLK) && (e->rdev_major >> 12 || e->rdev_minor >> 20))
        return err_set(err, ERR_INVALID, "%.200s: device number %u:%u", e->path, e->rdev_major,
                       e->rdev_minor);
    return OK;
}

static void set_attributes(struct inode *i, const struct img_entry *e)
{
    i->mode = e->mode;
    i->uid = e->uid;
    i->gid = e->gid;
    i->mtime = e->mtime;
    i->mtime_ns = e->mtime_ns;
    if (S_ISCHR(e->mode) || S_ISBLK(e->mode))
        i->rdev = (e->rdev_minor & 0xff) | e->rdev_major << 8 | (e->rdev_minor & 0xfff00) << 12;
}

static res_code_t add_link(struct img_writer *w, const struct img_entry *e, struct where *at,
                           struct err *err)
{
    struct where target;
    if (img_resolve(w, e->hardlink, &target, err) != OK)
        return FAIL;
    if (!target.there)
        return err_set(err, target.root ? ERR_INVALID : ERR_NOT_FOUND,
                       "%.150s: hard link to %.150s, which is not there", e->path, e->hardlink);
    if (S_ISDIR(target.there->inode->mode))
        return err_set(err, ERR_INVALID, "%.150s: hard link to the directory %.150s", e->path,
                       e->hardlink);
    return img_close_file(w, err) == OK ? img_attach(w, e->path, at, target.there->inode, err)
                                        : FAIL;
}

static res_code_t put_link_text(struct img_writer *w, struct inode *i, const char *text,
                                struct err *err)
{
    i->size = strlen(text);
    i->block = (uint32_t)w->next_block;
    memcpy(w->chunk, text, i->size);
    w->chunk_used = i->size;
    return img_flush(w, true, err);
}

static res_code_t add_new(struct img_writer *w, const struct img_entry *e, struct where *at,
                          struct inode **out, struct err *err)
{
    struct inode scratch = {0};
    if (img_put_xattrs(w, &scratch, e, err) != OK || img_close_file(w, err) != OK)
        return FAIL;
    struct inode *i = img_inode_new(w, e->mode);
    if (!i) {
        w->broken = true;
        return err_set(err, ERR_NO_MEMORY, "%.200s", e->path);
    }
    i->xattrs = scratch.xattrs;
    i->xattr_bytes = scratch.xattr_bytes;
    set_attributes(i, e);
    if (img_attach(w, e->path, at, i, err) != OK)
        return FAIL;
    *out = i;
    return OK;
}

static res_code_t update_dir(struct img_writer *w, const struct img_entry *e, struct inode *dir,
                             struct err *err)
{
    struct inode scratch = {0};
    if (img_put_xattrs(w, &scratch, e, err) != OK || img_close_file(w, err) != OK)
        return FAIL;
    dir->xattrs = scratch.xattrs;
    dir->xattr_bytes = scratch.xattr_bytes;
    set_attributes(dir, e);
    return OK;
}

/* *out: the new inode, if there is one. */
static res_code_t add(struct img_writer *w, const struct img_entry *e, struct inode **out,
                      struct err *err)
{
    struct where at;
    if (w->broken)
        return err_set(err, ERR_STATE, "%.200s: writing this image failed before", e->path);
    if ((!e->hardlink && check_entry(e, err) != OK) || img_resolve(w, e->path, &at, err) != OK)
        return FAIL;
    struct inode *dir = at.root ? w->inodes[0] : at.there ? at.there->inode : NULL;
    if (dir && !e->hardlink && S_ISDIR(dir->mode) && S_ISDIR(e->mode)) {
        if (at.there)
            at.there->layer = w->layer;
        return update_dir(w, e, dir, err);
    }
    if (at.root)
        return err_set(err, ERR_INVALID, "%.200s: is there already, the root", e->path);
    if (at.there && !w->layer)
        return err_set(err, ERR_EXISTS, "%.200s: is there already", e->path);
    if (at.there && img_replace(w, e, &at, err) != OK)
        return FAIL;
    if (w->entries + at.missing > w->limits.entries ||
        w->inode_count + at.missing > w->limits.entries * INODES_PER_ENTRY) {
        w->broken = true;
        return err_set(err, ERR_LIMIT, "%.200s: more than %llu entries", e->path,
                       (unsigned long long)w->limits.entries);
    }
    return e->hardlink ? add_link(w, e, &at, err) : add_new(w, e, &at, out, err);
}

res_code_t img_writer_add(struct img_writer *w, const struct img_entry *e, struct err *err)
{
    struct inode *i = NULL;
    ASSERT(!w->layer);
    if (add(w, e, &i, err) != OK)
        return FAIL;
    if (i && S_ISREG(e->mode)) {
        w->open = i;
        i->block = (uint32_t)w->next_block;
    } else if (i && S_ISLNK(e->mode) && put_link_text(w, i, e->target, err) != OK) {
        return err_wrap(err, "%.150s", e->path);
    }
    return OK;
}

/* ---- layers ---- */

res_code_t img_writer_layer(struct img_writer *w, struct err *err)
{
    if (w->data_bytes || w->broken)
        return err_set(err, ERR_STATE, "a layer behind content");
    w->layer++;
    return OK;
}

res_code_t img_writer_add_later(struct img_writer *w, const struct img_entry *e, uint32_t *id,
                                struct err *err)
{
    struct inode *i = NULL;
    ASSERT(w->layer);
    if (add(w, e, &i, err) != OK)
        return FAIL;
    *id = i && (S_ISREG(e->mode) || S_ISLNK(e->mode)) ? i->ino : 0;
    return OK;
}

res_code_t img_writer_content(struct img_writer *w, uint32_t id, bool *wanted, struct err *err)
{
    ASSERT(id && id <= w->inode_count);
    struct inode *i = w->inodes[id - 1];
    if (w->broken)
        return err_set(err, ERR_STATE, "writing this image failed before");
    if (img_close_file(w, err) != OK)
        return FAIL;
    ASSERT(!i->block && (S_ISREG(i->mode) || S_ISLNK(i->mode)));
    *wanted = i->nlink > 0;
    if (*wanted) {
        w->open = i;
        i->block = (uint32_t)w->next_block;
    }
    return OK;
}

res_code_t img_writer_data(struct img_writer *w, const void *p, size_t n, struct err *err)
{
    if (w->broken)
        return err_set(err, ERR_STATE, "writing this image failed before");
    if (!w->open)
        return n ? err_set(err, ERR_INVALID,
                           "content of %zu bytes behind an entry that is no regular file", n)
                 : OK;
    w->open->size += n;
    w->data_bytes += n;
    while (n) {
        size_t k = MIN(n, CHUNK - w->chunk_used);
        memcpy(w->chunk + w->chunk_used, p, k);
        w->chunk_used += k;
        p = (const char *)p + k;
        n -= k;
        if (w->chunk_used == CHUNK && img_flush(w, false, err) != OK)
            return FAIL;
    }
    return OK;
}

/* ---- life ---- */

res_code_t img_writer_new(int fd, const struct img_limits *limits, struct img_writer **out,
                          struct err *err)
{
    if (ftruncate(fd, 0) < 0)
        return err_set_os(err, "image file");
    struct img_writer *w = calloc(1, sizeof *w);
    if (!w)
        return err_set(err, ERR_NO_MEMORY, "image writer");
    w->fd = fd;
    if (limits)
        w->limits = *limits;
    if (!w->limits.entries)
        w->limits.entries = 1000000;
    if (!w->limits.bytes)
        w->limits.bytes = (uint64_t)16 << 30;
    if (!w->limits.depth)
        w->limits.depth = 64;
    if (!w->limits.path_bytes)
        w->limits.path_bytes = 4095;
    w->limits.entries = MIN(w->limits.entries, UINT64_C(1) << 31);
    w->limits.bytes =
        MIN(w->limits.bytes, (UINT64_C(1) << 32) * BLOCK - BLOCK); /* block numbers are 32 bits */
    arena_init(&w->arena, 0);
    w->chunk = malloc(CHUNK);
    w->next_block = 1;
    w->entries = 1;
    if (!w->chunk || !img_inode_new(w, S_IFDIR | 0755)) {
        img_writer_free(w);
        return err_set(err, ERR_NO_MEMORY, "image writer");
    }
    *out = w;
    return OK;
}

void img_writer_free(struct img_writer *w)
{
    if (!w)
        return;
    arena_fini(&w->arena);
    free(w->inodes);
    free(w->table);
    free(w->chunk);
    free(w);
}
