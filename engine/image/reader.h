/* image/reader.h - what the reading files of this room share. */
#ifndef IMAGE_READER_H
#define IMAGE_READER_H

#include "engine/image/format.h"
#include "engine/image/image.h"

struct img {
    int fd;
    uint64_t bytes;       /* of the file */
    uint64_t meta, xattr; /* where metadata and shared attributes begin */
    uint64_t root, inodes;
    int64_t time; /* of compact inodes */
    uint32_t time_ns;
};

/* Exactly n bytes, all inside the image. */
res_code_t img_read_at(const struct img *img, uint64_t at, void *p, size_t n, struct err *err);

/* One block of a directory, whose entries lie inside; names are checked when they are asked for. */
struct dir_block {
    uint64_t number;
    size_t bytes, count;
    uint8_t data[BLOCK];
};
uint64_t img_dir_blocks(const struct img_inode *dir);
res_code_t img_dir_block(const struct img *img, const struct img_inode *dir, uint64_t number,
                         struct dir_block *b, struct err *err);
struct dir_name {
    const char *p;
    size_t n;
};
/* i < b->count; in place. */
res_code_t img_dir_name(const struct img_inode *dir, const struct dir_block *b, size_t i,
                        struct dir_name *out, struct err *err);

#endif
