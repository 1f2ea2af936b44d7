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

#define INODES_PER_ENTRY 2 /* of layers: one that a name has had before, for each that is there */
#define CHUNK (256u << 10) /* of content, written at once */

struct inode {
    uint32_t mode, uid, gid, nlink, mtime_ns, rdev, ino, block;
    int64_t mtime;
    uint64_t size, nid;
    uint8_t *xattrs; /* as on disk, behind the inode */
    uint32_t xattr_bytes;
    struct dentry *children; /* of a directory, newest first until it is sorted */
    size_t child_count;
    struct inode *parent;  /* of a directory */
    uint32_t layer;        /* that made it */
    uint32_t purged_layer; /* that hid what was below it */
    bool gone;             /* a directory that a layer took away */
};

struct dentry {
    struct inode *inode; /* NULL: a layer took the name away */
    struct inode *parent;
    struct dentry *sibling, *next_in_hash;
    uint32_t hash;
    uint32_t layer; /* that named it last */
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
    size_t table_cap, dentry_count;
    uint64_t entries; /* names that are there; the root is one */
    uint32_t layer;   /* 0: no layers, content follows its entry */
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

/* ---- tree.c ---- */

/* Where a path leads. */
struct where {
    struct inode *parent; /* the last directory that is there */
    const char *rest; /* the components that are not, the last of which is the entry's own name */
    size_t missing;
    struct dentry *there; /* or the entry, if it is there */
    bool root;
};
/* Fails: ERR_INVALID, ERR_LIMIT. */
res_code_t img_resolve(struct img_writer *w, const char *path, struct where *at, struct err *err);
struct inode *img_inode_new(struct img_writer *w, uint32_t mode); /* NULL: no memory */
/* Directories on the way, then the entry itself. */
res_code_t img_attach(struct img_writer *w, const char *path, struct where *at, struct inode *i,
                      struct err *err);
/* The name is no longer there; what it named goes with its last name. Not a directory that holds something. */
void img_detach(struct img_writer *w, struct dentry *d);

/* ---- writer.c, layer.c ---- */

/* Attributes into an inode, as add does; *out is touched at success only. */
res_code_t img_put_xattrs(struct img_writer *w, struct inode *i, const struct img_entry *e,
                          struct err *err);
/* In layers: make room for e at its path, which is taken. Fails: ERR_EXISTS (by this layer). */
res_code_t img_replace(struct img_writer *w, const struct img_entry *e, struct where *at,
                       struct err *err);

#endif
