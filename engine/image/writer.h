/*
 * image/writer.h - makes an image: one EROFS file, uncompressed, 4 KiB blocks, no inline data.
 *
 * Looks into: base.  Used by: daemon/worker (import), client/vmctl, tests.
 * Touches:    the descriptor it is given: truncated at the start, written with pwrite(2), grown with ftruncate(2).
 *             Blocks of zeros are left as holes.
 *
 * Entries come in any order in which a hard link follows its target; content follows its entry in chunks, its length
 * need not be known before. Data blocks are written as they come, directories and inodes at the end.
 * The same calls give the same bytes: no clock, no random number goes in.
 *
 * Layers (of a container image) come from the lowest up: in each, entries replace those of the layers below, and hide takes them
 * away. Content is asked for at the end, of what is still there.
 *
 * Rules of the result (img_check() and fsck.erofs hold them):
 *  (1) The content of a file, directory or symbolic link begins on a block boundary and no block belongs to two.
 *  (2) The last block of each is padded with zeros.
 *  (3) Names of a directory are sorted bytewise over all its blocks.
 *
 * Life:   new -> (add data*)* -> finish -> free
 *         new -> (layer (add_later | hide)*)* -> (content data*)* -> finish -> free
 * Thread: one at a time per writer.
 */
#ifndef IMAGE_WRITER_H
#define IMAGE_WRITER_H

#include "engine/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct img_writer;

/* 0 stands for the default. */
struct img_limits {
    uint64_t entries;    /* 1,000,000 */
    uint64_t bytes;      /* of the image file; 16 GiB */
    uint32_t depth;      /* components of a path; 64 */
    uint32_t path_bytes; /* 4095 */
};

struct img_xattr {
    const char *name; /* with its namespace: "user.x", "security.capability"; others are refused */
    const void *value;
    size_t value_bytes;
};

struct img_entry {
    /* Relative to the root; a leading "/" or "./", repeated and trailing slashes do not matter; "", "." and "/" are the root.
     * ".." is refused. Directories on the way that no entry has named yet are made 0755 root:root mtime 0. */
    const char *path;
    uint32_t mode; /* type and permissions as st_mode on Linux (S_IFREG ...) */
    uint32_t uid, gid;
    int64_t mtime; /* seconds; mtime_ns < 10^9 */
    uint32_t mtime_ns;
    uint32_t rdev_major, rdev_minor; /* character and block devices; 12 and 20 bits */
    const char *target;              /* the text of a symbolic link, 1..4095 bytes */
    const char *hardlink;            /* path of an earlier entry that is no directory: one more name for it, the
                                        other fields are ignored; NULL otherwise */
    const struct img_xattr *xattrs;
    size_t xattr_count;
};

struct img_totals {
    uint64_t entries; /* names, the root included, "." and ".." not */
    uint64_t inodes;
    uint64_t image_bytes; /* length of the file */
    uint64_t data_bytes;  /* content of regular files */
};

/* fd is borrowed until img_writer_free; it must be a regular file or memfd open for writing. limits may be NULL.
 * Fails: ERR_OS, ERR_NO_MEMORY. */
res_t img_writer_new(int fd, const struct img_limits *limits, struct img_writer **w, struct err *err);
/* Everything is copied. A directory may be named twice (the later attributes hold), everything else not.
 * Fails, with the path in the text: ERR_INVALID, ERR_EXISTS, ERR_NOT_FOUND (hard link), ERR_LIMIT, ERR_OS, ERR_NO_MEMORY;
 * the writer can then only be freed, but for ERR_INVALID, ERR_EXISTS and ERR_NOT_FOUND, which change nothing. */
res_t img_writer_add(struct img_writer *w, const struct img_entry *e, struct err *err);
/* More content of the entry added last, which must be a regular file (not a hard link). Fails: as add. */
res_t img_writer_data(struct img_writer *w, const void *p, size_t n, struct err *err);

/* The next layer begins. */
res_t img_writer_layer(struct img_writer *w, struct err *err);
/* As add, in a layer: what a lower layer has at this path goes, but a directory over a directory keeps what it holds. *id names
 * the entry for img_writer_content; 0: it has no content. Fails: as add; ERR_EXISTS: its own layer has it already. */
res_t img_writer_add_later(struct img_writer *w, const struct img_entry *e, uint32_t *id,
                           struct err *err);
/* What lower layers have at path goes; below: only what they have in this directory. What this layer put there stays, whichever
 * came first. Nothing there is no failure. Fails: ERR_INVALID, ERR_LIMIT. */
res_t img_writer_hide(struct img_writer *w, const char *path, bool below, struct err *err);
/* The content of this entry (of a symbolic link: its text) follows with img_writer_data, unless no name of it is left: then
 * *wanted is false. Once for each id, in their order to get the same bytes as by add. Fails: ERR_LIMIT, ERR_OS. */
res_t img_writer_content(struct img_writer *w, uint32_t id, bool *wanted, struct err *err);

/* Directories, inodes and the superblock; after it the file is complete (not synced). totals may be NULL. */
res_t img_writer_finish(struct img_writer *w, struct img_totals *totals, struct err *err);
void img_writer_free(struct img_writer *w); /* NULL is fine */

#endif
