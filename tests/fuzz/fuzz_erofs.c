// links: engine/image engine/base
/*
 * Any bytes as an image: nothing may crash, loop or read outside. The superblock's checksum is made right first, so that
 * mutations behind it are reached. Seeds: corpus/erofs (images made by our writer).
 */
#include "engine/base/base.h"
#include "engine/image/image.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t crc32c(const uint8_t *p, size_t n)
{
    uint32_t c = ~0u;
    while (n--) {
        c ^= *p++;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? 0x82f63b78u ^ c >> 1 : c >> 1;
    }
    return c;
}

static void put(int fd, const void *p, size_t n, off_t at)
{
    ASSERT(pwrite(fd, p, n, at) == (ssize_t)n);
}

static bool seen(void *ctx, const char *name, const void *value, size_t n)
{
    unsigned *sum = ctx;
    *sum += (unsigned)strlen(name);
    for (size_t i = 0; i < n; i++)
        *sum += ((const uint8_t *)value)[i];
    return true;
}

static void look_at(const struct img *img, const struct img_inode *i)
{
    struct err err;
    struct img_dirent d;
    char text[100];
    size_t n;
    uint64_t nid, cursor = 0;
    unsigned sum = 0;
    bool end = false;
    (void)!img_readlink(img, i, text, sizeof text, &n, &err);
    (void)!img_read(img, i, i->size / 2, text, sizeof text, &n, &err);
    (void)!img_xattr_each(img, i, seen, &sum, &err);
    (void)!img_xattr_get(img, i, "user.a", text, sizeof text, &n, &err);
    (void)!img_lookup(img, i, "many", 4, &nid, &err);
    for (int k = 0; k < 100 && !end && img_readdir(img, i, &cursor, &d, &end, &err) == OK; k++) {
        if (!end && img_lookup(img, i, d.name, d.name_bytes, &nid, &err) == OK &&
            img_inode(img, nid, &(struct img_inode){0}, &err) != OK)
            ASSERT(err.text[0]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    struct img *img;
    struct err err;
    struct img_limits limits = {.entries = 5000, .depth = 20};
    struct img_totals totals;
    if (fd < 0)
        fd = memfd_create("image", MFD_CLOEXEC);
    if (ftruncate(fd, 0) < 0)
        return 0;
    put(fd, data, size, 0);
    if (size >= 4096) {
        uint8_t sb[4096 - 1024];
        memcpy(sb, data + 1024, sizeof sb);
        memset(sb + 4, 0, 4);
        uint32_t c = crc32c(sb, sizeof sb);
        put(fd, &c, 4, 1028);
    }
    if (img_open(fd, &img, &err) != OK)
        return 0;
    struct img_inode i;
    for (uint64_t nid = 0; nid < 64; nid++) {
        if (img_inode(img, nid, &i, &err) == OK)
            look_at(img, &i);
    }
    if (img_check(img, &limits, &totals, &err) == OK)
        ASSERT(totals.inodes >= 1 && totals.entries <= limits.entries);
    img_close(img);
    return 0;
}
