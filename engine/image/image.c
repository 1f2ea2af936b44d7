/* image/image.c - superblock, inodes, content of an image. Nothing in it is believed. */
#include "engine/image/image.h"

#include "engine/base/os.h"
#include "engine/image/format.h"
#include "engine/image/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

uint32_t img_crc32c(const void *p, size_t n)
{
    uint32_t c = ~0u;
    for (const uint8_t *at = p, *end = at + n; at < end; at++) {
        c ^= *at;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? 0x82f63b78u ^ c >> 1 : c >> 1;
    }
    return c;
}

uint8_t img_file_type(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return 1;
    case S_IFDIR:
        return 2;
    case S_IFCHR:
        return 3;
    case S_IFBLK:
        return 4;
    case S_IFIFO:
        return 5;
    case S_IFSOCK:
        return 6;
    case S_IFLNK:
        return 7;
    default:
        return 0;
    }
}

res_code_t img_read_at(const struct img *img, uint64_t at, void *p, size_t n, struct err *err)
{
    if (at > img->bytes || n > img->bytes - at)
        return err_set(err, ERR_BAD_IMAGE, "image: %zu bytes at %llu lie beyond its end at %llu", n,
                       (unsigned long long)at, (unsigned long long)img->bytes);
    for (size_t done = 0; done < n;) {
        ssize_t k = pread(img->fd, (char *)p + done, n - done, (off_t)(at + done));
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return err_set_os(err, "reading the image at %llu", (unsigned long long)(at + done));
        if (k == 0)
            return err_set(err, ERR_BAD_IMAGE, "image: it became shorter than %llu",
                           (unsigned long long)(at + done));
        done += (size_t)k;
    }
    return OK;
}

static res_code_t read_super(struct img *img, struct err *err)
{
    uint8_t block[BLOCK], *sb = block + SB_AT;
    if (img_read_at(img, 0, block, BLOCK, err) != OK)
        return FAIL;
    if (get32(sb + SB_MAGIC_AT) != SB_MAGIC)
        return err_set(err, ERR_BAD_IMAGE, "not an EROFS image: magic 0x%08x at 1024",
                       get32(sb + SB_MAGIC_AT));
    if (sb[SB_BLKSZBITS_AT] != BLOCK_BITS)
        return err_set(err, ERR_BAD_IMAGE, "image: blocks of 2^%u bytes, only 4096 are read",
                       sb[SB_BLKSZBITS_AT]);
    if (get32(sb + SB_COMPAT_AT) & COMPAT_CHECKSUM) {
        uint32_t said = get32(sb + SB_CHECKSUM_AT);
        set32(sb + SB_CHECKSUM_AT, 0);
        if (img_crc32c(sb, BLOCK - SB_AT) != said)
            return err_set(err, ERR_BAD_IMAGE, "image: the superblock's checksum is wrong");
    }
    uint32_t features = get32(sb + SB_INCOMPAT_AT);
    if (features || get16(sb + SB_DEVICES_AT) || sb[SB_DIRBITS_AT] || sb[SB_EXTSLOTS_AT])
        return err_set(err, ERR_BAD_IMAGE,
                       "image: it needs features that are not read (0x%x): make it without "
                       "compression, chunks or devices",
                       features);
    uint64_t blocks = get32(sb + SB_BLOCKS_AT), meta = get32(sb + SB_META_AT),
             xattr = get32(sb + SB_XATTR_AT);
    if (blocks * BLOCK > img->bytes || meta >= img->bytes / BLOCK || xattr > img->bytes / BLOCK)
        return err_set(err, ERR_BAD_IMAGE,
                       "image: %llu blocks, metadata from block %llu, in a file of %llu bytes",
                       (unsigned long long)blocks, (unsigned long long)meta,
                       (unsigned long long)img->bytes);
    img->meta = meta * BLOCK;
    img->xattr = xattr * BLOCK;
    img->root = get16(sb + SB_ROOT_NID_AT);
    img->inodes = get64(sb + SB_INOS_AT);
    img->time = (int64_t)get64(sb + SB_TIME_AT);
    img->time_ns = get32(sb + SB_TIME_NS_AT);
    if (img->time_ns >= 1000000000u)
        return err_set(err, ERR_BAD_IMAGE, "image: %u nanoseconds in the superblock", img->time_ns);
    return OK;
}

res_code_t img_open(int fd, struct img **out, struct err *err)
{
    struct stat st;
    if (os_fstat(fd, &st) < 0)
        return err_set_os(err, "image file");
    if (!S_ISREG(st.st_mode) || st.st_size < (off_t)BLOCK)
        return err_set(err, ERR_BAD_IMAGE, "not an EROFS image: %lld bytes", (long long)st.st_size);
    struct img *img = calloc(1, sizeof *img);
    if (!img)
        return err_set(err, ERR_NO_MEMORY, "image");
    img->fd = fd;
    img->bytes = (uint64_t)st.st_size;
    struct img_inode root;
    if (read_super(img, err) != OK || img_inode(img, img->root, &root, err) != OK) {
        img_close(img);
        return FAIL;
    }
    if (!S_ISDIR(root.mode)) {
        img_close(img);
        return err_set(err, ERR_BAD_IMAGE, "image: its root (nid %llu) is no directory",
                       (unsigned long long)root.nid);
    }
    *out = img;
    return OK;
}

void img_close(struct img *img)
{
    free(img);
}

uint64_t img_root(const struct img *img)
{
    return img->root;
}

uint64_t img_bytes(const struct img *img)
{
    return img->bytes;
}

uint64_t img_inode_count(const struct img *img)
{
    return img->inodes;
}

/* ---- inodes ---- */

static void decode_fields(const struct img *img, const uint8_t *p, struct img_inode *i)
{
    bool extended = get16(p + I_FORMAT_AT) & FORMAT_EXTENDED;
    uint16_t xattr = get16(p + I_XATTR_AT);
    i->inode_bytes = extended ? INODE_EXTENDED : INODE_COMPACT;
    i->mode = get16(p + I_MODE_AT);
    i->ino = get32(p + I_INO_AT);
    i->size = extended ? get64(p + IE_SIZE_AT) : get32(p + IC_SIZE_AT);
    i->nlink = extended ? get32(p + IE_NLINK_AT) : get16(p + IC_NLINK_AT);
    i->uid = extended ? get32(p + IE_UID_AT) : get16(p + IC_UID_AT);
    i->gid = extended ? get32(p + IE_GID_AT) : get16(p + IC_GID_AT);
    i->mtime = extended ? (int64_t)get64(p + IE_MTIME_AT) : img->time;
    i->mtime_ns = extended ? get32(p + IE_MTIME_NS_AT) : img->time_ns;
    i->xattr_bytes = xattr ? XATTR_HEAD + 4u * (xattr - 1u) : 0;
    i->xattr_offset = xattr ? img->meta + i->nid * SLOT + i->inode_bytes : 0;
}

/* Where the content lies; nothing of an inode may lie outside the image. */
static res_code_t decode_place(const struct img *img, uint32_t where, struct img_inode *i,
                               struct err *err)
{
    unsigned long long nid = i->nid;
    if (S_ISCHR(i->mode) || S_ISBLK(i->mode)) {
        i->rdev_major = where >> 8 & 0xfff;
        i->rdev_minor = (where & 0xff) | (where >> 12 & 0xfff00);
        return OK;
    }
    if (!S_ISREG(i->mode) && !S_ISDIR(i->mode) && !S_ISLNK(i->mode))
        return OK;
    if (S_ISLNK(i->mode) && (i->size == 0 || i->size > LINK_MAX_BYTES))
        return err_set(err, ERR_BAD_IMAGE, "image: symbolic link (nid %llu) of %llu bytes", nid,
                       (unsigned long long)i->size);
    if (!i->size)
        return OK;
    uint64_t at = (uint64_t)where * BLOCK;
    /* The whole last block must be there, so that it can be mapped. */
    if (at == 0 || at > img->bytes || i->size > img->bytes - at ||
        ALIGN_UP(i->size, BLOCK) > img->bytes - at)
        return err_set(
            err, ERR_BAD_IMAGE,
            "image: content of nid %llu: %llu bytes from block %u, in a file of %llu bytes", nid,
            (unsigned long long)i->size, where, (unsigned long long)img->bytes);
    i->data_offset = at;
    return OK;
}

res_code_t img_inode(const struct img *img, uint64_t nid, struct img_inode *out, struct err *err)
{
    uint8_t p[INODE_EXTENDED] = {0};
    struct img_inode i = {.nid = nid};
    uint64_t room = img->bytes - img->meta;
    if (nid > room / SLOT || nid * SLOT + INODE_COMPACT > room)
        return err_set(err, ERR_BAD_IMAGE, "image: nid %llu lies beyond its end",
                       (unsigned long long)nid);
    uint64_t at = img->meta + nid * SLOT;
    if (img_read_at(img, at, p, MIN(INODE_EXTENDED, img->bytes - at), err) != OK)
        return FAIL;
    uint16_t format = get16(p + I_FORMAT_AT);
    if (format >> 4 || FORMAT_LAYOUT(format) != 0)
        return err_set(err, ERR_BAD_IMAGE,
                       "image: inode format 0x%x at nid %llu: only plain content is read", format,
                       (unsigned long long)nid);
    if ((format & FORMAT_EXTENDED) && img->bytes - at < INODE_EXTENDED)
        return err_set(err, ERR_BAD_IMAGE, "image: nid %llu lies across its end",
                       (unsigned long long)nid);
    decode_fields(img, p, &i);
    if (!img_file_type(i.mode) || i.mtime_ns >= 1000000000u)
        return err_set(err, ERR_BAD_IMAGE, "image: mode 0%o, %u nanoseconds at nid %llu: no inode",
                       i.mode, i.mtime_ns, (unsigned long long)nid);
    if (i.xattr_bytes > img->bytes - i.xattr_offset)
        return err_set(err, ERR_BAD_IMAGE, "image: attributes of nid %llu lie beyond its end",
                       (unsigned long long)nid);
    if (decode_place(img, get32(p + I_BLOCK_AT), &i, err) != OK)
        return FAIL;
    *out = i;
    return OK;
}

res_code_t img_read(const struct img *img, const struct img_inode *inode, uint64_t offset, void *p,
                    size_t n, size_t *got, struct err *err)
{
    if (!S_ISREG(inode->mode))
        return err_set(err, ERR_INVALID, "image: nid %llu is no regular file",
                       (unsigned long long)inode->nid);
    if (offset >= inode->size)
        n = 0;
    else
        n = MIN(n, inode->size - offset);
    if (n && img_read_at(img, inode->data_offset + offset, p, n, err) != OK)
        return FAIL;
    *got = n;
    return OK;
}

res_code_t img_readlink(const struct img *img, const struct img_inode *inode, char *p, size_t n,
                        size_t *length, struct err *err)
{
    char text[LINK_MAX_BYTES];
    if (!S_ISLNK(inode->mode))
        return err_set(err, ERR_INVALID, "image: nid %llu is no symbolic link",
                       (unsigned long long)inode->nid);
    if (img_read_at(img, inode->data_offset, text, inode->size, err) != OK)
        return FAIL;
    if (memchr(text, 0, inode->size))
        return err_set(err, ERR_BAD_IMAGE, "image: a NUL in the symbolic link at nid %llu",
                       (unsigned long long)inode->nid);
    *length = inode->size;
    if (n) {
        size_t k = MIN(n - 1, inode->size);
        memcpy(p, text, k);
        p[k] = 0;
    }
    return OK;
}

/* ---- attributes ---- */

typedef bool each_fn(void *ctx, const char *name, const void *value, size_t value_bytes);

/* One entry at p, of which n bytes may be read. *used: its length with padding. */
static res_code_t one_xattr(const struct img_inode *inode, const uint8_t *p, size_t n, size_t *used,
                            each_fn *f, void *ctx, bool *more, struct err *err)
{
    static const char *const prefix[XATTR_PREFIX_COUNT] = XATTR_PREFIXES;
    char name[NAME_MAX_BYTES + 32];
    size_t name_bytes = n >= XATTR_ENTRY ? p[0] : 0,
           value_bytes = n >= XATTR_ENTRY ? get16(p + 2) : 0;
    if (n < XATTR_ENTRY || name_bytes + value_bytes > n - XATTR_ENTRY ||
        p[1] >= XATTR_PREFIX_COUNT || !prefix[p[1]] || memchr(p + XATTR_ENTRY, 0, name_bytes))
        return err_set(err, ERR_BAD_IMAGE, "image: a damaged attribute at nid %llu",
                       (unsigned long long)inode->nid);
    size_t k = strlen(prefix[p[1]]);
    memcpy(name, prefix[p[1]], k);
    memcpy(name + k, p + XATTR_ENTRY, name_bytes);
    name[k + name_bytes] = 0;
    *used = ALIGN_UP(XATTR_ENTRY + name_bytes + value_bytes, (size_t)4);
    *more = f(ctx, name, p + XATTR_ENTRY + name_bytes, value_bytes);
    return OK;
}

static res_code_t shared_xattr(const struct img *img, const struct img_inode *inode, uint32_t id,
                               each_fn *f, void *ctx, bool *more, struct err *err)
{
    uint64_t at = img->xattr + (uint64_t)id * 4;
    if (at >= img->bytes)
        return err_set(err, ERR_BAD_IMAGE,
                       "image: shared attribute %u of nid %llu lies beyond its end", id,
                       (unsigned long long)inode->nid);
    size_t n = MIN(img->bytes - at, (uint64_t)XATTR_ENTRY + NAME_MAX_BYTES + UINT16_MAX), used;
    CLEANUP(free_ptr) uint8_t *p = malloc(n);
    if (!p)
        return err_set(err, ERR_NO_MEMORY, "image: attributes");
    if (img_read_at(img, at, p, n, err) != OK)
        return FAIL;
    return one_xattr(inode, p, n, &used, f, ctx, more, err);
}

res_code_t img_xattr_each(const struct img *img, const struct img_inode *inode, each_fn *f,
                          void *ctx, struct err *err)
{
    size_t n = inode->xattr_bytes, used;
    if (!n)
        return OK;
    CLEANUP(free_ptr) uint8_t *p = malloc(n);
    if (!p)
        return err_set(err, ERR_NO_MEMORY, "image: attributes");
    if (img_read_at(img, inode->xattr_offset, p, n, err) != OK)
        return FAIL;
    size_t shared = p[4], at = XATTR_HEAD + shared * 4;
    if (at > n)
        return err_set(err, ERR_BAD_IMAGE, "image: %zu shared attributes at nid %llu do not fit",
                       shared, (unsigned long long)inode->nid);
    bool more = true;
    for (size_t i = 0; i < shared && more; i++) {
        if (shared_xattr(img, inode, get32(p + XATTR_HEAD + i * 4), f, ctx, &more, err) != OK)
            return FAIL;
    }
    while (more && at < n) {
        if (one_xattr(inode, p + at, n - at, &used, f, ctx, &more, err) != OK)
            return FAIL;
        at += used;
    }
    return OK;
}

struct wanted {
    const char *name;
    void *p;
    size_t n, value_bytes;
    bool found;
};

static bool take(void *ctx, const char *name, const void *value, size_t value_bytes)
{
    struct wanted *w = ctx;
    if (strcmp(name, w->name) != 0)
        return true;
    w->found = true;
    w->value_bytes = value_bytes;
    if (w->n && value_bytes)
        memcpy(w->p, value, MIN(w->n, value_bytes));
    return false;
}

res_code_t img_xattr_get(const struct img *img, const struct img_inode *inode, const char *name,
                         void *p, size_t n, size_t *value_bytes, struct err *err)
{
    struct wanted w = {.name = name, .p = p, .n = n};
    if (img_xattr_each(img, inode, take, &w, err) != OK)
        return FAIL;
    if (!w.found)
        return err_set(err, ERR_NOT_FOUND, "no attribute %.60s", name);
    *value_bytes = w.value_bytes;
    return OK;
}
