/*
 * image/image.h - reads an image: a hostile EROFS file.
 *
 * Looks into: base.  Used by: linux (VFS), daemon, client, tests.
 * Touches:    the descriptor, with pread(2) only; nothing is cached but the superblock, nothing is mapped, so a file that
 *             changes or shrinks meanwhile gives errors, never a fault.
 *
 * Taken: blocks of 4 KiB, compact and extended inodes, layout FLAT_PLAIN, inline and shared extended attributes; every
 * incompatible feature is refused. Names: see writer.h, rule (3). A file's content lies at img_inode.data_offset in the image,
 * page-aligned and wholly inside, so that it can be mapped.
 *
 * Every function fails with ERR_BAD_IMAGE (text: what, and at which offset or nid), ERR_OS, ERR_NO_MEMORY, or what it names.
 * A lie can make a directory its own child: callers that walk bound their depth (img_check does).
 *
 * Thread: any number at once.
 */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include "engine/base/err.h"
#include "engine/image/writer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct img;

struct img_inode {
    uint64_t nid;         /* names the inode inside its image */
    uint32_t inode_bytes; /* 32 or 64 */
    uint32_t ino; /* st_ino */
    uint32_t mode, uid, gid, nlink;
    uint32_t rdev_major, rdev_minor;
    int64_t mtime;
    uint32_t mtime_ns;
    uint64_t size;
    uint64_t data_offset; /* of regular files, directories and symbolic links with size > 0; else 0 */
    uint64_t xattr_offset;
    uint32_t xattr_bytes; /* 0: none */
};

struct img_dirent {
    uint64_t nid;
    uint8_t type; /* DT_* of Linux: 1 FIFO, 2 CHR, 4 DIR, 6 BLK, 8 REG, 10 LNK, 12 SOCK, 0 unknown */
    uint8_t name_bytes;
    char name[256]; /* NUL-terminated; no NUL and no / inside */
};

/* fd is borrowed until img_close. */
res_t img_open(int fd, struct img **img, struct err *err);
void img_close(struct img *img); /* NULL is fine */
uint64_t img_root(const struct img *img);
uint64_t img_bytes(const struct img *img);       /* length of the file */
uint64_t img_inode_count(const struct img *img); /* as the superblock says: for statfs */

res_t img_inode(const struct img *img, uint64_t nid, struct img_inode *out, struct err *err);
/* Binary search over the blocks of the directory. Fails: ERR_NOT_FOUND; ERR_INVALID if dir is none. "." and ".." are found. */
res_t img_lookup(const struct img *img, const struct img_inode *dir, const char *name, size_t name_bytes, uint64_t *nid,
                 struct err *err);
/* The entry at *cursor (0 first), which moves on. *end: there was none. "." and ".." come too, in their sorted place.
 * Any value of *cursor is safe. */
res_t img_readdir(const struct img *img, const struct img_inode *dir, uint64_t *cursor, struct img_dirent *out, bool *end,
                  struct err *err);
/* The text, NUL-terminated, at most n - 1 bytes of it; *length is the whole. Fails: ERR_INVALID if it is no symbolic link. */
res_t img_readlink(const struct img *img, const struct img_inode *inode, char *p, size_t n, size_t *length, struct err *err);
/* Content of a regular file: *got bytes, short only at the end. */
res_t img_read(const struct img *img, const struct img_inode *inode, uint64_t offset, void *p, size_t n, size_t *got,
               struct err *err);
/* One attribute: *value_bytes is its size, of which at most n bytes are copied. Fails: ERR_NOT_FOUND. */
res_t img_xattr_get(const struct img *img, const struct img_inode *inode, const char *name, void *p, size_t n,
                    size_t *value_bytes, struct err *err);
/* One call of f per attribute, with its full name; f returning false ends the walk. */
res_t img_xattr_each(const struct img *img, const struct img_inode *inode,
                     bool (*f)(void *ctx, const char *name, const void *value, size_t value_bytes), void *ctx,
                     struct err *err);

/* Walk everything from the root: every inode, name, link count, parent, extent and attribute; no two extents overlap, every
 * padding is zero, the tree has at most limits->entries names and limits->depth levels (NULL: the writer's defaults).
 * Memory in proportion to the number of inodes that really are there. */
res_t img_check(const struct img *img, const struct img_limits *limits, struct img_totals *totals, struct err *err);

#endif
