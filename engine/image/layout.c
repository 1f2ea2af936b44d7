/* image/layout.c - what is known only at the end: directories, inodes, the superblock. */
#include "engine/image/build.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int by_name(const void *a, const void *b)
{
    const struct dentry *x = *(const struct dentry *const *)a,
                        *y = *(const struct dentry *const *)b;
    return name_compare(x->name, x->name_bytes, y->name, y->name_bytes);
}

struct dir_entry {
    const char *name;
    size_t n;
    const struct inode *inode;
};

/* As many of the entries as fit one block; returns how many, *used its bytes. */
static size_t pack_block(uint8_t block[BLOCK], const struct dir_entry *e, size_t count,
                         size_t *used)
{
    size_t n = 0, bytes = 0;
    while (n < count && bytes + DIRENT + e[n].n <= BLOCK)
        bytes += DIRENT + e[n++].n;
    memset(block, 0, BLOCK);
    size_t name_at = n * DIRENT;
    for (size_t i = 0; i < n; i++) {
        uint8_t *d = block + i * DIRENT;
        set64(d, e[i].inode->nid);
        set16(d + 8, (uint16_t)name_at);
        d[10] = img_file_type(e[i].inode->mode);
        memcpy(block + name_at, e[i].name, e[i].n);
        name_at += e[i].n;
    }
    *used = bytes;
    return n;
}

static res_code_t put_directory(struct img_writer *w, struct inode *dir, struct err *err)
{
    size_t count = dir->child_count + 2, k = 0;
    CLEANUP(free_ptr)
    struct dentry **order = malloc((dir->child_count + 1) * sizeof(struct dentry *));
    CLEANUP(free_ptr) struct dir_entry *e = malloc(count * sizeof *e);
    if (!order || !e)
        return err_set(err, ERR_NO_MEMORY, "directory of %zu entries", count);
    for (struct dentry *d = dir->children; d; d = d->sibling)
        if (d->inode)
            order[k++] = d;
    qsort(order, k, sizeof(struct dentry *), by_name);
    const struct dir_entry dots[2] = {{".", 1, dir}, {"..", 2, dir->parent ? dir->parent : dir}};
    size_t dot = 0, from = 0;
    for (size_t i = 0; i < count; i++) { /* merge them in: names may sort before "." */
        if (dot < 2 && (from == k || name_compare(dots[dot].name, dots[dot].n, order[from]->name,
                                                  order[from]->name_bytes) < 0))
            e[i] = dots[dot++];
        else {
            e[i] =
                (struct dir_entry){order[from]->name, order[from]->name_bytes, order[from]->inode};
            from++;
        }
    }
    dir->block = (uint32_t)w->next_block;
    uint8_t block[BLOCK];
    for (size_t done = 0; done < count;) {
        size_t used;
        done += pack_block(block, e + done, count - done, &used);
        dir->size += done < count ? BLOCK : used;
        if (img_put_blocks(w, block, BLOCK, err) != OK)
            return FAIL;
    }
    return OK;
}

static void encode_inode(const struct inode *i, uint8_t p[INODE_EXTENDED])
{
    memset(p, 0, INODE_EXTENDED);
    bool device = S_ISCHR(i->mode) || S_ISBLK(i->mode);
    set16(p + I_FORMAT_AT, FORMAT_EXTENDED);
    set16(p + I_XATTR_AT, i->xattr_bytes ? (uint16_t)((i->xattr_bytes - XATTR_HEAD) / 4 + 1) : 0);
    set16(p + I_MODE_AT, (uint16_t)i->mode);
    set64(p + IE_SIZE_AT, i->size);
    set32(p + I_BLOCK_AT, device ? i->rdev : i->size ? i->block : 0);
    set32(p + I_INO_AT, i->ino);
    set32(p + IE_UID_AT, i->uid);
    set32(p + IE_GID_AT, i->gid);
    set64(p + IE_MTIME_AT, (uint64_t)i->mtime);
    set32(p + IE_MTIME_NS_AT, i->mtime_ns);
    set32(p + IE_NLINK_AT, i->nlink);
}

static res_code_t put_metadata(struct img_writer *w, struct err *err)
{
    uint64_t at = 0;
    for (size_t k = 0; k < w->inode_count; k++) {
        const struct inode *i = w->inodes[k];
        size_t need = INODE_EXTENDED + i->xattr_bytes;
        ASSERT(need <= CHUNK - BLOCK);
        uint64_t pos = i->nid * SLOT;
        if (pos + need - at > CHUNK) { /* whole blocks go, the rest moves down */
            size_t whole = ALIGN_DOWN(w->chunk_used, (size_t)BLOCK), rest = w->chunk_used - whole;
            if (img_put_blocks(w, w->chunk, whole, err) != OK)
                return FAIL;
            memmove(w->chunk, w->chunk + whole, rest);
            w->chunk_used = rest;
            at += whole;
        }
        size_t to = pos - at;
        memset(w->chunk + w->chunk_used, 0, to - w->chunk_used);
        encode_inode(i, w->chunk + to);
        if (i->xattr_bytes)
            memcpy(w->chunk + to + INODE_EXTENDED, i->xattrs, i->xattr_bytes);
        w->chunk_used = to + need;
    }
    return img_flush(w, true, err);
}

static res_code_t put_superblock(struct img_writer *w, uint64_t meta_block, struct err *err)
{
    uint8_t block[BLOCK] = {0}, *sb = block + SB_AT;
    set32(sb + SB_MAGIC_AT, SB_MAGIC);
    set32(sb + SB_COMPAT_AT, COMPAT_CHECKSUM | COMPAT_MTIME);
    sb[SB_BLKSZBITS_AT] = BLOCK_BITS;
    set16(sb + SB_ROOT_NID_AT, (uint16_t)w->inodes[0]->nid);
    set64(sb + SB_INOS_AT, w->inode_count);
    set32(sb + SB_BLOCKS_AT, (uint32_t)w->next_block);
    set32(sb + SB_META_AT, (uint32_t)meta_block);
    set32(sb + SB_CHECKSUM_AT, img_crc32c(sb, BLOCK - SB_AT));
    return img_put_at(w, block, BLOCK, 0, err);
}

/* Inodes that lost their last name to a layer; the others are numbered in their order. */
static void leave_out_the_gone(struct img_writer *w)
{
    size_t n = 0;
    for (size_t k = 0; k < w->inode_count; k++) {
        struct inode *i = w->inodes[k];
        if (S_ISDIR(i->mode) ? i->gone : i->nlink == 0)
            continue;
        w->inodes[n++] = i;
        i->ino = (uint32_t)n;
    }
    w->inode_count = n;
}

res_code_t img_writer_finish(struct img_writer *w, struct img_totals *totals, struct err *err)
{
    if (w->broken)
        return err_set(err, ERR_STATE, "writing this image failed before");
    if (img_close_file(w, err) != OK)
        return FAIL;
    leave_out_the_gone(w);
    uint64_t pos = INODE_EXTENDED; /* nid 0 stays free: readers take it for none */
    for (size_t k = 0; k < w->inode_count; k++) {
        w->inodes[k]->nid = pos / SLOT;
        pos += ALIGN_UP(INODE_EXTENDED + w->inodes[k]->xattr_bytes, INODE_EXTENDED);
    }
    w->broken = true; /* whatever happens: nothing can be added now */
    for (size_t k = 0; k < w->inode_count; k++) {
        if (S_ISDIR(w->inodes[k]->mode) && put_directory(w, w->inodes[k], err) != OK)
            return FAIL;
    }
    uint64_t meta_block = w->next_block;
    if (put_metadata(w, err) != OK || put_superblock(w, meta_block, err) != OK)
        return FAIL;
    if (ftruncate(w->fd, (off_t)(w->next_block * BLOCK)) < 0)
        return err_set_os(err, "image of %llu bytes", (unsigned long long)(w->next_block * BLOCK));
    if (totals)
        *totals = (struct img_totals){.entries = w->entries,
                                      .inodes = w->inode_count,
                                      .image_bytes = w->next_block * BLOCK,
                                      .data_bytes = w->data_bytes};
    return OK;
}
