/*
 * import/tar.h - one tar stream: its members, checked and as entries of an image.
 *
 * Looks into: base, engine/image (writer.h).  Used by: daemon/import.
 *
 * ustar, GNU and pax, by libarchive, which sees an uncompressed stream only. Refused, with the member's name: what is
 * no file, directory, link, FIFO or device; owners and sizes out of range; "..". Kept: mode, owner, time, links,
 * access control lists (as the attributes system.posix_acl_*), extended
 * attributes of Linux's namespaces (others have no place there and are dropped), device numbers: a node is a
 * name only, a guest's devices are its own kernel's, never the host's.
 *
 * Thread: one.
 */
#ifndef IMPORT_TAR_H
#define IMPORT_TAR_H

#include "daemon/import/stream.h"
#include "engine/image/writer.h"

struct archive_entry;

#define IMP_XATTRS_MAX 256
#define IMP_ACL_MAX 128 /* entries of an access control list */
#define IMP_ACL_BYTES (4 + 8 * IMP_ACL_MAX)

struct imp_tar {
    struct archive *archive;
    struct imp_stream *in;
    struct archive_entry *entry; /* the current member */
    uint64_t members, size, at;  /* size of its content, how much of it came */
    bool content;
    /* Content that is there (at, not read yet), for holes. */
    const void *block;
    size_t block_bytes;
    uint64_t block_at;
    bool eof;
    bool
        pad; /* the last block may be cut off: umoci writes such layers, and a digest tells that all is there */
    uint64_t bytes, zero_bytes; /* that came so far; of zeros at their end */
    bool all_came;
    struct err err; /* of in */
    char name[200]; /* of the member, for messages */
};
struct imp_member {
    struct img_entry entry; /* its strings live until the next member */
    struct img_xattr xattrs[IMP_XATTRS_MAX];
    uint8_t acl[2][IMP_ACL_BYTES]; /* access and default, as attributes have them */
    uint64_t size;
    bool absolute; /* the name began with a slash */
};
res_t imp_tar_init(struct imp_tar *t, struct imp_stream *in, struct err *err);
void imp_tar_fini(struct imp_tar *t);
/* The next member; *end: there is none. Fails: ERR_INVALID, ERR_LIMIT. */
res_t imp_tar_next(struct imp_tar *t, struct imp_member *m, bool *end, struct err *err);
/* The same for a member that was put aside (archive_entry_clone). */
res_t imp_tar_member(struct archive_entry *e, struct imp_member *m, struct err *err);
/* More content of a regular file: *n is 0 at its end. Holes are zeros. */
res_t imp_tar_data(struct imp_tar *t, const void **p, size_t *n, struct err *err);
/* After *end: was it the mark of an archive's end (a block of zeros), or was it cut off between two members? */
bool imp_tar_ended(const struct imp_tar *t);
/* For messages. */
const char *imp_tar_name(const struct imp_tar *t);
/* A regular file with content of its own. */
bool imp_member_is_file(const struct imp_member *m);

#endif
