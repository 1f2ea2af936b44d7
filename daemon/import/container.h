/*
 * import/container.h - archives of container images: OCI layouts, `docker save`, `podman save`.
 *
 * Looks into: proto, engine/image; jansson in json.h's files only.  Used by: daemon/import.
 *
 * Members come in any order, so all of them are kept in the spool file until the end; then:
 *   choose.c     which manifest: by reference, then by platform (linux/riscv64 first)
 *   config.c     what a guest of it runs: ImageConfig
 *   layers.c     the layers, from the lowest up, into one image
 *
 * Rules:
 *  (1) What a name or a descriptor calls by a digest has that digest, and a layer the one its configuration says, or the import
 *      fails with ERR_BAD_IMAGE.
 *  (2) JSON documents have at most 1 MiB and 32 levels.
 *  (3) A link between members stays inside the archive; nothing is ever looked up outside.
 *
 * Thread: one.
 */
#ifndef IMPORT_CONTAINER_H
#define IMPORT_CONTAINER_H

#include "daemon/import/job.h"

#include <jansson.h>
#include <uthash.h>

#define IMP_KEPT_MAX 65536  /* members of such an archive */
#define IMP_LAYERS_MAX 1024 /* of one image */

struct archive_entry;

/* A member in the spool file. */
struct imp_kept {
    UT_hash_handle hh;           /* by path */
    char *path;                  /* without "./" before and "/" behind it */
    struct archive_entry *entry; /* owned */
    char *link;                  /* to another member; NULL: none */
    uint64_t at, size;           /* of its content in the spool file */
    bool file;
    char *wrong; /* the digest it has, where its name says another; NULL: none */
};
struct imp_kepts {
    struct imp_kept **all; /* in their order */
    size_t count, cap;
    struct imp_kept *by_path;
    uint64_t spool_bytes;
};

struct imp_choice {
    struct imp_kept *config;
    struct imp_kept **layers;
    size_t layer_count;
};

/* archive.c: the member, links followed, that is a regular file. Fails: ERR_INVALID: none; ERR_BAD_IMAGE: rule (1). */
res_t imp_kept_find(const struct imp_kepts *k, const char *path, struct imp_kept **out,
                    struct err *err);
/* By digest ("sha256:..."), in blobs/; size_bytes: as its descriptor says, or -1. */
res_t imp_kept_blob(const struct imp_kepts *k, const char *digest, int64_t size_bytes,
                    struct imp_kept **out, struct err *err);

/* json.c: *out is owned by the caller: json_decref. */
res_t imp_json_read(const struct imp_job *job, const struct imp_kept *k, json_t **out,
                    struct err *err);
/* A field: NULL where there is none or null. Fails: ERR_INVALID: of another type. */
res_t imp_json_string(const json_t *object, const char *field, const char *what, const char **out,
                      struct err *err);
res_t imp_json_array(const json_t *object, const char *field, const char *what, json_t **out,
                     struct err *err);
/* free_json: for CLEANUP. */
void imp_json_free(json_t **j);

/* layers in the job's arena. */
res_t imp_choose(struct imp_job *job, const struct imp_kepts *k, struct imp_choice *out,
                 struct err *err);
/* job->config of it, and diff_ids (in the arena, one for each layer, or NULL). */
res_t imp_config_read(struct imp_job *job, const struct imp_kept *k, size_t layer_count,
                      char ***diff_ids, struct err *err);
/* config's user in numbers, after the image is written. Fails: ERR_INVALID: no such user or group. */
res_t imp_config_user(struct imp_job *job, struct err *err);
res_t imp_layers(struct imp_job *job, const struct imp_choice *choice, char **diff_ids,
                 struct err *err);
res_t imp_container(struct imp_job *job, const struct imp_kepts *k, struct err *err);

#endif
