/*
 * image/build.h - an image while it is written: what writer.c collects and layout.c puts into the file. Only this room
 * includes it.
 */
#ifndef IMAGE_BUILD_H
#define IMAGE_BUILD_H

#include "engine/base/arena.h"
#include "engine/base/base.h"
#include "engine/image/format.h"
#include "engine/image/writer.h"

#define CHUNK (256u << 10) /* of content, written at once */

struct inode {
    uint32_t mode, uid, gid, nlink, mtime_ns, rdev, ino, block;
    int64_t mtime;
    uint64_t size, nid;
    uint8_t *xattrs; /* as on disk, behind the inode */
    uint32_t xattr_bytes;
    struct dentry *children; /* of a directory, newest first until it is sorted */
    size_t child_count;
    struct inode *parent; /* of a directory */
};

struct dentry {
    struct inode *inode, *parent;
    struct dentry *sibling, *next_in_hash;
    uint32_t hash;
    uint8_t name_bytes;
    char name[];
};

struct img_writer {
    int fd;
    struct img_limits limits;
    struct arena arena;
    struct inode **inodes;
    size_t inode_count, inode_cap;
    struct dentry **table; /* of all names, by parent and name */
    size_t table_cap;
    uint64_t entries; /* the root is one */
    uint64_t data_bytes;
    uint64_t next_block;
    struct inode *open; /* the file that content goes to */
    uint8_t *chunk;
    size_t chunk_used;
    bool broken;
};

/* n bytes, whole blocks, at next_block; those of zeros stay holes. */
res_t img_put_blocks(struct img_writer *w, const uint8_t *p, size_t n, struct err *err);
res_t img_put_at(struct img_writer *w, const void *p, size_t n, uint64_t at, struct err *err);
/* The chunk; last: padded to whole blocks. */
res_t img_flush(struct img_writer *w, bool last, struct err *err);
res_t img_close_file(struct img_writer *w, struct err *err);

#endif
