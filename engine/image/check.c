/* image/check.c - walks a whole image and holds it to the rules of writer.h. */
#include "engine/image/reader.h"

#include <stdlib.h>
#include <sys/stat.h>

struct seen {
    uint64_t nid, parent;
    uint32_t nlink, names, depth;
    bool dir, used;
};

struct range {
    uint64_t lo, hi;
    uint64_t nid;
};

struct walk {
    const struct img *img;
    struct img_limits limits;
    struct img_totals totals;
    struct seen *seen; /* a hash by nid */
    size_t seen_cap, seen_len;
    uint64_t *queue; /* nids of directories to be walked */
    size_t queue_len, queue_cap;
    struct range *ranges;
    size_t range_len, range_cap;
};

static bool grow(void **p, size_t *cap, size_t need, size_t each)
{
    if (need <= *cap)
        return true;
    size_t more = MAX(*cap * 2, (size_t)64);
    void *q = realloc(*p, more * each);
    if (!q)
        return false;
    *p = q;
    *cap = more;
    return true;
}

static struct seen *slot(struct walk *w, uint64_t nid)
{
    size_t i = (nid * 0x9e3779b97f4a7c15u >> 20) & (w->seen_cap - 1);
    while (w->seen[i].used && w->seen[i].nid != nid)
        i = (i + 1) & (w->seen_cap - 1);
    return &w->seen[i];
}

static struct seen *find_or_add(struct walk *w, uint64_t nid)
{
    if (w->seen_len * 2 >= w->seen_cap) {
        struct walk old = *w;
        w->seen_cap = MAX(old.seen_cap * 2, (size_t)256);
        w->seen = calloc(w->seen_cap, sizeof *w->seen);
        if (!w->seen) {
            w->seen = old.seen;
            w->seen_cap = old.seen_cap;
            return NULL;
        }
        for (size_t i = 0; i < old.seen_cap; i++) {
            if (old.seen[i].used)
                *slot(w, old.seen[i].nid) = old.seen[i];
        }
        free(old.seen);
    }
    return slot(w, nid);
}

static res_code_t no_memory(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "checking an image");
}

static res_code_t wrong(uint64_t nid, const char *what, struct err *err)
{
    return err_set(err, ERR_BAD_IMAGE, "image: nid %llu: %s", (unsigned long long)nid, what);
}

static res_code_t add_range(struct walk *w, uint64_t lo, uint64_t hi, uint64_t nid, struct err *err)
{
    if (!grow((void **)&w->ranges, &w->range_cap, w->range_len + 1, sizeof *w->ranges))
        return no_memory(err);
    w->ranges[w->range_len++] = (struct range){lo, hi, nid};
    return OK;
}

static bool ignore_xattr(void *ctx, const char *name, const void *value, size_t n)
{
    (void)ctx;
    (void)name;
    (void)value;
    (void)n;
    return true;
}

static res_code_t check_padding(struct walk *w, const struct img_inode *i, struct err *err)
{
    uint8_t tail[BLOCK];
    size_t n = ALIGN_UP(i->size, (uint64_t)BLOCK) - i->size;
    if (img_read_at(w->img, i->data_offset + i->size, tail, n, err) != OK)
        return FAIL;
    for (size_t k = 0; k < n; k++) {
        if (tail[k])
            return wrong(i->nid, "the last block is not padded with zeros", err);
    }
    return OK;
}

/* An inode that was not seen before. */
static res_code_t meet(struct walk *w, const struct img_inode *i, struct seen *s, uint64_t parent,
                       uint32_t depth, struct err *err)
{
    *s = (struct seen){.nid = i->nid,
                       .parent = parent,
                       .nlink = i->nlink,
                       .depth = depth,
                       .dir = S_ISDIR(i->mode),
                       .used = true};
    w->seen_len++;
    w->totals.inodes++;
    if (S_ISREG(i->mode))
        w->totals.data_bytes += i->size;
    uint64_t at = w->img->meta + i->nid * SLOT;
    uint64_t end = i->xattr_bytes ? i->xattr_offset + i->xattr_bytes : at + i->inode_bytes;
    if (add_range(w, at, end, i->nid, err) != OK)
        return FAIL;
    if (i->data_offset) {
        if (add_range(w, i->data_offset, i->data_offset + ALIGN_UP(i->size, (uint64_t)BLOCK),
                      i->nid, err) != OK ||
            check_padding(w, i, err) != OK)
            return FAIL;
    }
    if (img_xattr_each(w->img, i, ignore_xattr, NULL, err) != OK)
        return FAIL;
    if (S_ISLNK(i->mode)) {
        size_t n;
        if (img_readlink(w->img, i, NULL, 0, &n, err) != OK)
            return FAIL;
    }
    if (!s->dir)
        return OK;
    if (!grow((void **)&w->queue, &w->queue_cap, w->queue_len + 1, sizeof *w->queue))
        return no_memory(err);
    w->queue[w->queue_len++] = i->nid;
    return OK;
}

static res_code_t visit_entry(struct walk *w, const struct seen *dir, struct dir_name name,
                              uint64_t nid, uint8_t type, struct err *err)
{
    struct img_inode i;
    uint32_t depth = dir->depth + 1;
    uint64_t parent = dir->nid;
    if (++w->totals.entries > w->limits.entries)
        return err_set(err, ERR_BAD_IMAGE, "image: more than %llu entries",
                       (unsigned long long)w->limits.entries);
    if (depth > w->limits.depth)
        return err_set(err, ERR_BAD_IMAGE, "image: more than %u levels at '%.*s' (nid %llu)",
                       w->limits.depth, (int)name.n, name.p, (unsigned long long)nid);
    struct seen *s = find_or_add(w, nid); /* dir dies */
    if (!s)
        return no_memory(err);
    if (img_inode(w->img, nid, &i, err) != OK)
        return err_wrap(err, "'%.*s'", (int)name.n, name.p);
    if (img_file_type(i.mode) != type)
        return wrong(nid, "the directory names another type than the inode", err);
    if (s->used && s->dir)
        return wrong(nid, "a directory with two names", err);
    if (!s->used && meet(w, &i, s, parent, depth, err) != OK)
        return FAIL;
    s->names++;
    return OK;
}

static res_code_t visit_dir(struct walk *w, uint64_t nid, struct err *err)
{
    struct img_inode dir;
    struct dir_block b;
    char last[NAME_MAX_BYTES];
    size_t last_bytes = 0;
    unsigned dots = 0;
    if (img_inode(w->img, nid, &dir, err) != OK)
        return FAIL;
    for (uint64_t number = 0; number < img_dir_blocks(&dir); number++) {
        if (img_dir_block(w->img, &dir, number, &b, err) != OK)
            return FAIL;
        const char *at = (const char *)b.data + b.count * DIRENT;
        for (size_t i = 0; i < b.count; i++) {
            struct dir_name name;
            if (img_dir_name(&dir, &b, i, &name, err) != OK)
                return FAIL;
            if (name.p != at)
                return wrong(nid, "a name does not lie behind the one before", err);
            at += name.n;
            uint64_t child = get64(b.data + i * DIRENT);
            struct seen *self = slot(w, nid);
            if ((number || i) && name_compare(last, last_bytes, name.p, name.n) >= 0)
                return wrong(nid, "names are not in order", err);
            memcpy(last, name.p, name.n);
            last_bytes = name.n;
            if (name.n <= 2 && memcmp(name.p, "..", name.n) == 0) {
                dots++;
                if (child != (name.n == 1 ? nid : self->parent))
                    return wrong(nid, "'.' or '..' leads elsewhere", err);
                continue;
            }
            bool is_dir = b.data[i * DIRENT + 10] == img_file_type(S_IFDIR);
            struct seen copy = *self;
            if (visit_entry(w, &copy, name, child, b.data[i * DIRENT + 10], err) != OK)
                return FAIL;
            if (is_dir)
                slot(w, nid)->names++; /* its '..' */
        }
    }
    return dots == 2 ? OK : wrong(nid, "a directory without '.' and '..'", err);
}

static int by_start(const void *a, const void *b)
{
    const struct range *x = a, *y = b;
    return (x->lo > y->lo) - (x->lo < y->lo);
}

static res_code_t check_sums(struct walk *w, struct err *err)
{
    for (size_t i = 0; i < w->seen_cap; i++) {
        const struct seen *s = &w->seen[i];
        if (s->used && s->nlink != s->names + (s->dir ? 1 : 0)) /* its '.' */
            return err_set(err, ERR_BAD_IMAGE, "image: nid %llu says %u links, %u were found",
                           (unsigned long long)s->nid, s->nlink, s->names + (s->dir ? 1 : 0));
    }
    qsort(w->ranges, w->range_len, sizeof *w->ranges, by_start);
    for (size_t i = 1; i < w->range_len; i++) {
        if (w->ranges[i].lo < w->ranges[i - 1].hi)
            return err_set(err, ERR_BAD_IMAGE, "image: nid %llu and nid %llu share bytes at %llu",
                           (unsigned long long)w->ranges[i - 1].nid,
                           (unsigned long long)w->ranges[i].nid,
                           (unsigned long long)w->ranges[i].lo);
    }
    if (w->totals.inodes != w->img->inodes)
        return err_set(err, ERR_BAD_IMAGE, "image: %llu inodes, the superblock says %llu",
                       (unsigned long long)w->totals.inodes, (unsigned long long)w->img->inodes);
    return OK;
}

static res_code_t check(struct walk *w, struct err *err)
{
    struct img_inode root;
    if (w->img->bytes > w->limits.bytes)
        return err_set(err, ERR_BAD_IMAGE, "image: %llu bytes, at most %llu are taken",
                       (unsigned long long)w->img->bytes, (unsigned long long)w->limits.bytes);
    if (add_range(w, 0, BLOCK, 0, err) != OK)
        return FAIL;
    struct seen *s = find_or_add(w, w->img->root);
    if (!s)
        return no_memory(err);
    if (img_inode(w->img, w->img->root, &root, err) != OK ||
        meet(w, &root, s, root.nid, 0, err) != OK)
        return FAIL;
    s->names = 1; /* the name it would have */
    w->totals.entries = 1;
    while (w->queue_len) {
        if (visit_dir(w, w->queue[--w->queue_len], err) != OK)
            return FAIL;
    }
    return check_sums(w, err);
}

res_code_t img_check(const struct img *img, const struct img_limits *limits,
                     struct img_totals *totals, struct err *err)
{
    struct walk w = {.img = img};
    if (limits)
        w.limits = *limits;
    if (!w.limits.entries)
        w.limits.entries = 1000000;
    if (!w.limits.bytes)
        w.limits.bytes = (uint64_t)16 << 30;
    if (!w.limits.depth)
        w.limits.depth = 64;
    res_code_t rc = check(&w, err);
    if (rc == OK && totals) {
        *totals = w.totals;
        totals->image_bytes = img->bytes;
    }
    free(w.seen);
    free(w.queue);
    free(w.ranges);
    return rc;
}
