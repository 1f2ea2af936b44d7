/*
 * manager/image.h - the image store: one file per digest, shared by tenants; who has which, under which names.
 *
 *   state/images/sha256-<hex>.erofs   an image
 *   state/images/config-<hex>         what a guest of it runs, for one tenant's image
 *   state/images/index                which tenant has which image and names ("vmd images 2")
 *
 * Looks into: proto.  Used by: daemon/manager.
 *
 * Rules:
 *  (1) A file named by a digest is whole and synced: it was written under another name (incoming-*), hashed, fsynced and
 *      renamed. The index is replaced as a whole (written beside, fsynced, renamed). What the index does not name was not
 *      acknowledged and is removed at the next start, as are files named incoming-*.
 *  (2) A tenant sees its own names and images only; the file is removed with the last tenant's image.
 *  (3) Each image of a tenant counts once in its quotas, with its whole size, however many names it has.
 *  (4) While guests of a tenant hold an image, its image is not removed.
 *  (5) The manager never parses an image: vmd-import makes and exports them.
 *
 * Thread: the loop's.
 */
#ifndef MANAGER_IMAGE_H
#define MANAGER_IMAGE_H

#include "daemon/manager/tenant.h"
#include "proto/image.pb-c.h"
#include "proto/paths.h"

#include <uthash.h>

#define MGR_DIGEST_CHARS 72 /* "sha256-", 64 digits, NUL */
#define MGR_TENANT_CHARS 64
#define MGR_IMAGE_FILE_CHARS 96 /* a name in state/images */
#define MGR_IMAGE_KEY_CHARS (MGR_TENANT_CHARS + PB_IMAGE_NAME_MAX + 2)

/* A file. */
struct mgr_image {
    UT_hash_handle hh; /* by digest */
    char digest[MGR_DIGEST_CHARS];
    uint64_t size_bytes;
    unsigned owners;
};
/* A tenant's image. */
struct mgr_image_owner {
    UT_hash_handle hh;             /* by key */
    char key[MGR_IMAGE_KEY_CHARS]; /* "tenant/digest" */
    char tenant[MGR_TENANT_CHARS];
    struct mgr_image *image;
    int64_t create_time_ns;
    uint64_t entries;
    char config_file[MGR_IMAGE_FILE_CHARS]; /* "": none */
    PbImageConfig *config;                  /* NULL: none */
    unsigned guests, names;
    bool counted; /* in the quotas: its tenant is there */
};
struct mgr_image_name {
    UT_hash_handle hh;             /* by key */
    char key[MGR_IMAGE_KEY_CHARS]; /* "tenant/name" */
    const char *name;              /* in key */
    struct mgr_image_owner *owner;
};

struct mgr_images {
    struct mgr *m;
    struct mgr_image *files;
    struct mgr_image_owner *owners;
    struct mgr_image_name *names;
    struct list exports; /* under way */
    /* the index, as written by a thread of the pool */
    uint64_t version, writing_version;
    struct list commits;
    bool writing;
    struct buf text;
    uv_work_t work;
    struct err err;
    res_code_t res;
};

/* ---- image.c: what there is ---- */

/* Make the folder if need be, read it, drop leftovers. */
res_t mgr_images_init(struct mgr *m, struct err *err);
void mgr_images_fini(struct mgr *m);
/* Count images in the quotas of tenants that a reload brought. */
void mgr_images_recount(struct mgr *m);
/* A tenant's name or digest to a digest. Fails: ERR_NOT_FOUND. */
res_t mgr_image_resolve(struct mgr *m, const struct mgr_tenant *t, const char *name,
                        char digest[MGR_DIGEST_CHARS], struct err *err);
struct mgr_image_owner *mgr_image_find(struct mgr *m, const struct mgr_tenant *t,
                                       const char *digest);
struct mgr_image_name *mgr_image_find_name(struct mgr *m, const struct mgr_tenant *t,
                                           const char *name);
res_t mgr_image_open(struct mgr *m, const char *digest, int *fd, struct err *err);
/* Path of a file of the store. */
void mgr_image_path(const struct mgr *m, const char *file, char *out, size_t cap);
/* A guest of this tenant needs it, no longer. False: the tenant does not have it. */
bool mgr_image_hold(struct mgr *m, const struct mgr_tenant *t, const char *digest);
void mgr_image_release(struct mgr *m, const struct mgr_tenant *t, const char *digest);
/* What a guest of it runs unless told otherwise; NULL: nothing is said. Valid until the loop goes on. */
const PbImageConfig *mgr_image_config(struct mgr *m, const struct mgr_tenant *t,
                                      const char *digest);

/* ---- changes, in memory; mgr_images_commit makes them last ---- */

/* The tenant has this image now; its file is in place. *out may be there already. Fails: ERR_NO_MEMORY, ERR_LIMIT: a quota. */
res_t mgr_image_add(struct mgr *m, struct mgr_tenant *t, const char *digest, uint64_t size_bytes,
                    struct mgr_image_owner **out, struct err *err);
/* No longer, and none of its names; call mgr_image_sweep after the commit. */
void mgr_image_remove(struct mgr *m, struct mgr_image_owner *o);
/* Give it this name (taken from another image). Fails: ERR_NO_MEMORY. */
res_t mgr_image_name(struct mgr *m, struct mgr_image_owner *o, const char *name, struct err *err);
void mgr_image_unname(struct mgr *m, struct mgr_image_name *n);
/* config (packed, may be empty) is this image's from now on, in config_file. Fails: ERR_NO_MEMORY, ERR_BAD_MESSAGE. */
res_t mgr_image_configure(struct mgr_image_owner *o, const char *config_file, const void *config,
                          size_t n, struct err *err);
/* Remove the files of a digest that nobody has now, and a configuration's. */
void mgr_image_sweep(struct mgr *m, const char *digest);
void mgr_image_drop_file(struct mgr *m, const char *file);

/* ---- image_index.c: the file of names and owners ---- */

struct mgr_image_commit {
    struct list link;
    uint64_t version;
    void (*done)(struct mgr_image_commit *c, const struct err *err); /* err NULL: it will last */
};
/* What is in memory now is written; then done is called. */
void mgr_images_commit(struct mgr *m, struct mgr_image_commit *c);
/* Owners and names. *known: there was an index; *old: there was what version 1 wrote. Fails: ERR_OS, ERR_INVALID. */
res_t mgr_images_read_index(struct mgr *m, bool *known, bool *old, struct err *err);
/* At once, before the loop runs. */
res_t mgr_images_write_index(struct mgr *m, struct err *err);
/* Header and packed ImageConfig, as in a file config-*. Thread: any. */
res_t mgr_image_config_write(const char *path, const void *config, size_t n, struct err *err);
res_t mgr_image_config_read(const struct mgr *m, struct mgr_image_owner *o, struct err *err);

/* ---- import.c, image_export.c, image_rpc.c ---- */

/* Answer with an image; name: of its names the one to say first, or NULL. */
void mgr_image_reply(struct pb_call *call, struct mgr *m, const struct mgr_image_owner *o,
                     const char *name);
/* End all exports with this error. */
void mgr_exports_stop(struct mgr *m, const struct err *why);
/* End all imports and exports. */
void mgr_imports_stop(struct mgr *m);

#endif
