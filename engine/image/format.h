/*
 * image/format.h - EROFS on disk, as far as we write and read it (Linux, fs/erofs/erofs_fs.h; all little endian).
 * Only this room includes it.
 */
#ifndef IMAGE_FORMAT_H
#define IMAGE_FORMAT_H

#include "engine/base/base.h"

#include <string.h>

#define BLOCK 4096u
#define BLOCK_BITS 12
#define SLOT 32u /* nids count these from the start of the metadata */
#define NAME_MAX_BYTES 255u
#define LINK_MAX_BYTES 4095u

/* The superblock, 128 bytes at 1024. */
#define SB_AT 1024u
#define SB_BYTES 128u
#define SB_MAGIC 0xe0f5e1e2u
enum sb_field {
    SB_MAGIC_AT = 0,    /* u32 */
    SB_CHECKSUM_AT = 4, /* u32: CRC-32C, not inverted at the end, of 1024..4095 with this field 0 */
    SB_COMPAT_AT = 8,   /* u32 */
    SB_BLKSZBITS_AT = 12, /* u8 */
    SB_EXTSLOTS_AT = 13,  /* u8: 16-byte slots behind the 128 bytes */
    SB_ROOT_NID_AT = 14,  /* u16 */
    SB_INOS_AT = 16,      /* u64 */
    SB_TIME_AT = 24,      /* u64, of compact inodes */
    SB_TIME_NS_AT = 32,   /* u32 */
    SB_BLOCKS_AT = 36,    /* u32 */
    SB_META_AT = 40,      /* u32: first block of the metadata */
    SB_XATTR_AT = 44,     /* u32: first block of the shared attributes */
    SB_INCOMPAT_AT = 80,  /* u32 */
    SB_DEVICES_AT = 86,   /* u16: extra devices */
    SB_DIRBITS_AT = 90,   /* u8: log2 of a directory block in blocks */
};
#define COMPAT_CHECKSUM 1u
#define COMPAT_MTIME 2u

/* Inodes: 32 bytes (compact) or 64 (extended). */
#define INODE_COMPACT 32u
#define INODE_EXTENDED 64u
#define FORMAT_EXTENDED 1u
#define FORMAT_LAYOUT(f) ((f) >> 1 & 7u) /* 0: FLAT_PLAIN */
enum inode_field {
    I_FORMAT_AT = 0,     /* u16 */
    I_XATTR_AT = 2,      /* u16: 0, or (bytes of the attributes - 12) / 4 + 1 */
    I_MODE_AT = 4,       /* u16 */
    I_BLOCK_AT = 16,     /* u32: first block, or the device number */
    I_INO_AT = 20,       /* u32 */
    IC_NLINK_AT = 6,     /* u16 */
    IC_SIZE_AT = 8,      /* u32 */
    IC_UID_AT = 24,      /* u16 */
    IC_GID_AT = 26,      /* u16 */
    IE_SIZE_AT = 8,      /* u64 */
    IE_UID_AT = 24,      /* u32 */
    IE_GID_AT = 28,      /* u32 */
    IE_MTIME_AT = 32,    /* u64 */
    IE_MTIME_NS_AT = 40, /* u32 */
    IE_NLINK_AT = 44,    /* u32 */
};

/* Attributes behind an inode: a head of 12 bytes whose fifth byte counts the shared ones, their numbers (u32 each), then
 * entries {name length u8, prefix u8, value length u16, name, value}, each padded to 4. */
#define XATTR_HEAD 12u
#define XATTR_ENTRY 4u
#define XATTR_BYTES_MAX 65536u
#define XATTR_PREFIXES                                                                    \
    {                                                                                     \
        [1] = "user.", [2] = "system.posix_acl_access", [3] = "system.posix_acl_default", \
        [4] = "trusted.", [5] = "lustre.", [6] = "security.",                             \
    }
#define XATTR_PREFIX_COUNT 7

/* Directory blocks: entries {nid u64, name offset u16, type u8, 0}, then the names; the first offset tells how many. The last
 * name ends at a NUL or with the block. */
#define DIRENT 12u

static inline uint16_t get16(const void *p)
{
    uint16_t x;
    memcpy(&x, p, 2);
    return x;
}
static inline uint32_t get32(const void *p)
{
    uint32_t x;
    memcpy(&x, p, 4);
    return x;
}
static inline uint64_t get64(const void *p)
{
    uint64_t x;
    memcpy(&x, p, 8);
    return x;
}
static inline void set16(void *p, uint16_t x)
{
    memcpy(p, &x, 2);
}
static inline void set32(void *p, uint32_t x)
{
    memcpy(p, &x, 4);
}
static inline void set64(void *p, uint64_t x)
{
    memcpy(p, &x, 8);
}

/* Bytewise, as EROFS sorts names. */
static inline int name_compare(const char *a, size_t an, const char *b, size_t bn)
{
    int c = memcmp(a, b, MIN(an, bn));
    return c ? c : (an > bn) - (an < bn);
}

uint32_t img_crc32c(const void *p, size_t n); /* seed ~0, not inverted */
/* Type of a directory entry for a mode (1 file, 2 directory, 3 char, 4 block, 5 fifo, 6 socket, 7 link), 0 for none. */
uint8_t img_file_type(uint32_t mode);

#endif
