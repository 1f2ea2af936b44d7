/* image/dir.c - directories: blocks, lookup, listing. */
#include "engine/image/reader.h"

#include <sys/stat.h>

uint64_t img_dir_blocks(const struct img_inode *dir)
{
    return (dir->size + BLOCK - 1) / BLOCK;
}

static res_code_t bad(const struct img_inode *dir, uint64_t number, const char *what,
                      struct err *err)
{
    return err_set(err, ERR_BAD_IMAGE, "image: directory at nid %llu, block %llu: %s",
                   (unsigned long long)dir->nid, (unsigned long long)number, what);
}

res_code_t img_dir_block(const struct img *img, const struct img_inode *dir, uint64_t number,
                         struct dir_block *b, struct err *err)
{
    if (!S_ISDIR(dir->mode))
        return err_set(err, ERR_INVALID, "image: nid %llu is no directory",
                       (unsigned long long)dir->nid);
    b->number = number;
    b->bytes = MIN((uint64_t)BLOCK, dir->size - number * BLOCK);
    if (img_read_at(img, dir->data_offset + number * BLOCK, b->data, b->bytes, err) != OK)
        return FAIL;
    size_t first = b->bytes >= DIRENT ? get16(b->data + 8) : 0;
    if (first < DIRENT || first % DIRENT || first > b->bytes)
        return bad(dir, number, "no entries", err);
    b->count = first / DIRENT;
    return OK;
}

res_code_t img_dir_name(const struct img_inode *dir, const struct dir_block *b, size_t i,
                        struct dir_name *out, struct err *err)
{
    const char *data = (const char *)b->data;
    size_t start = get16(b->data + i * DIRENT + 8), end = start;
    if (start >= b->count * DIRENT && start < b->bytes)
        end = i + 1 < b->count ? get16(b->data + (i + 1) * DIRENT + 8)
                               : start + strnlen(data + start, b->bytes - start);
    if (end <= start || end > b->bytes || end - start > NAME_MAX_BYTES)
        return bad(dir, b->number, "a name lies outside", err);
    if (memchr(data + start, 0, end - start) || memchr(data + start, '/', end - start))
        return bad(dir, b->number, "a name with a slash or a NUL", err);
    *out = (struct dir_name){data + start, end - start};
    return OK;
}

/* Where name lies against entry i: < 0 before it. */
static res_code_t compare_at(const struct img_inode *dir, const struct dir_block *b, size_t i,
                             const struct dir_name *name, int *c, struct err *err)
{
    struct dir_name d;
    if (img_dir_name(dir, b, i, &d, err) != OK)
        return FAIL;
    *c = name_compare(name->p, name->n, d.p, d.n);
    return OK;
}

res_code_t img_lookup(const struct img *img, const struct img_inode *dir, const char *p, size_t n,
                      uint64_t *nid, struct err *err)
{
    const struct dir_name name = {p, n};
    struct dir_block b;
    int c = 0;
    uint64_t lo = 0, hi = img_dir_blocks(dir), read = UINT64_MAX;
    if (!S_ISDIR(dir->mode))
        return err_set(err, ERR_INVALID, "image: nid %llu is no directory",
                       (unsigned long long)dir->nid);
    while (lo < hi) { /* to the first block whose first name is above */
        uint64_t mid = read = lo + (hi - lo) / 2;
        if (img_dir_block(img, dir, mid, &b, err) != OK ||
            compare_at(dir, &b, 0, &name, &c, err) != OK)
            return FAIL;
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    if (lo && read != lo - 1 && img_dir_block(img, dir, lo - 1, &b, err) != OK)
        return FAIL;
    for (size_t l = 0, h = lo ? b.count : 0; l < h;) {
        size_t m = l + (h - l) / 2;
        if (compare_at(dir, &b, m, &name, &c, err) != OK)
            return FAIL;
        if (c == 0) {
            *nid = get64(b.data + m * DIRENT);
            return OK;
        }
        if (c < 0)
            h = m;
        else
            l = m + 1;
    }
    return err_set(err, ERR_NOT_FOUND, "no entry %.*s", (int)MIN(n, (size_t)80), p);
}

#define INDEX_BITS 10 /* a block holds at most 341 entries */

res_code_t img_readdir(const struct img *img, const struct img_inode *dir, uint64_t *cursor,
                       struct img_dirent *out, bool *end, struct err *err)
{
    /* Types of entries as DT_*: their place in mode, shifted. */
    static const uint8_t dt[8] = {0, 8, 4, 2, 6, 1, 12, 10};
    uint64_t number = *cursor >> INDEX_BITS, i = *cursor & ((1u << INDEX_BITS) - 1);
    struct dir_block b;
    if (!S_ISDIR(dir->mode))
        return err_set(err, ERR_INVALID, "image: nid %llu is no directory",
                       (unsigned long long)dir->nid);
    for (; number < img_dir_blocks(dir); number++, i = 0) {
        if (img_dir_block(img, dir, number, &b, err) != OK)
            return FAIL;
        if (i >= b.count)
            continue;
        struct dir_name name;
        if (img_dir_name(dir, &b, i, &name, err) != OK)
            return FAIL;
        uint8_t type = b.data[i * DIRENT + 10];
        *out = (struct img_dirent){.nid = get64(b.data + i * DIRENT),
                                   .type = type < 8 ? dt[type] : 0,
                                   .name_bytes = (uint8_t)name.n};
        memcpy(out->name, name.p, name.n);
        *cursor = number << INDEX_BITS | (i + 1);
        *end = false;
        return OK;
    }
    *end = true;
    return OK;
}
