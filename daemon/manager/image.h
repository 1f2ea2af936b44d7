/*
 * manager/image.h - the image store: state/images/sha256-<hex>.erofs and a file of names.
 *
 * Looks into: proto.  Used by: daemon/manager.
 *
 * Rules:
 *  (1) A file named by a digest is whole and synced: it was written under another name (incoming-*), hashed,
 *      fsynced and renamed. Leftovers of an import are removed at the next start.
 *  (2) The file of names is replaced as a whole (written beside, fsynced, renamed).
 *  (3) The manager never parses an image.
 *
 * Thread: the loop's.
 */
#ifndef MANAGER_IMAGE_H
#define MANAGER_IMAGE_H

#include "daemon/manager/manager.h"
#include "proto/image.pb-c.h"

#include <uthash.h>

#define MGR_DIGEST_CHARS 72 /* "sha256-", 64 digits, NUL */

struct mgr_image {
    UT_hash_handle hh; /* by digest */
    char digest[MGR_DIGEST_CHARS];
    uint64_t size_bytes;
    int64_t create_time_ns;
    bool named; /* while listing */
};
struct mgr_image_name {
    UT_hash_handle hh; /* by name */
    char name[128];
    char digest[MGR_DIGEST_CHARS];
};

/* Make the folder if need be, read it, drop leftovers. */
res_t mgr_images_init(struct mgr *m, struct err *err);
void mgr_images_fini(struct mgr *m);
/* A name or digest to a digest. Fails: ERR_NOT_FOUND. */
res_t mgr_image_resolve(struct mgr *m, const char *name, char digest[MGR_DIGEST_CHARS],
                        struct err *err);
res_t mgr_image_open(struct mgr *m, const char *digest, int *fd, struct err *err);
/* Path of a file of the store. */
void mgr_image_path(const struct mgr *m, const char *file, char *out, size_t cap);
/* A file of this digest is in the store now; name may be empty. Fails: ERR_NO_MEMORY. */
res_t mgr_image_add(struct mgr *m, const char *digest, uint64_t size_bytes, int64_t create_time_ns,
                    const char *name, struct err *err);
/* End all imports. */
void mgr_imports_stop(struct mgr *m);
/* The text of the file of names as it should be now. */
void mgr_images_names_text(const struct mgr *m, struct buf *out);

#endif
