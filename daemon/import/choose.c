/*
 * import/choose.c - which of the images in an archive: by reference, then by platform.
 *
 * manifest.json (docker save, podman save) comes before index.json (OCI) where both are, for it has the names that people know.
 */
#include "daemon/import/container.h"
#include "daemon/import/digest.h"
#include "engine/base/base.h"

#include <stdlib.h>
#include <string.h>

#define INDEX_DEPTH_MAX 4
#define CANDIDATES_MAX 1024
#define WANTED_ARCHITECTURE "riscv64"

/* ---- references ---- */

/* "docker.io/library/busybox" and "busybox:latest" are one. */
static void normal_reference(const char *ref, char *out, size_t cap)
{
    static const char *const prefixes[] = {"docker.io/library/", "docker.io/", "localhost/"};
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
        if (!strncmp(ref, prefixes[i], strlen(prefixes[i]))) {
            ref += strlen(prefixes[i]);
            break;
        }
    const char *slash = strrchr(ref, '/');
    bool tagged = strchr(slash ? slash : ref, ':') || strchr(ref, '@');
    snprintf(out, cap, "%.400s%s", ref, tagged ? "" : ":latest");
}

static bool same_reference(const char *a, const char *b)
{
    char x[512], y[512];
    if (!a || !b)
        return false;
    normal_reference(a, x, sizeof x);
    normal_reference(b, y, sizeof y);
    return !strcmp(a, b) || !strcmp(x, y);
}

/* The names that there are, for a refusal. */
struct name_list {
    char text[300];
    size_t n;
    unsigned count;
    const char *first;
};

static void note_name(struct name_list *l, const char *name)
{
    if (!name || (l->first && !strcmp(l->first, name)))
        return;
    if (!l->first)
        l->first = name;
    l->count++;
    if (l->n < sizeof l->text - 1)
        l->n += (size_t)snprintf(l->text + l->n, sizeof l->text - l->n, "%s%.100s",
                                 l->n ? ", " : "", name);
    l->n = MIN(l->n, sizeof l->text - 1);
}

static res_code_t no_such(const struct imp_job *job, const struct name_list *names, struct err *err)
{
    err_set(err, ERR_INVALID, "no image \"%.100s\" in the archive; it has: %.200s", job->reference,
            names->n ? names->text : "(images without a name)");
    return err_explain(err, "REFERENCE_NOT_FOUND", NULL, NULL, NULL);
}

static res_code_t too_many(const struct name_list *names, struct err *err)
{
    err_set(err, ERR_INVALID, "several images in the archive; give the reference of one: %s",
            names->text);
    return err_explain(err, "REFERENCE_NEEDED", NULL, NULL, NULL);
}

/* ---- layers of the one ---- */

static res_code_t room_for_layers(struct imp_job *job, size_t n, struct imp_choice *c,
                                  struct err *err)
{
    if (n > IMP_LAYERS_MAX)
        return err_set(err, ERR_LIMIT, "an image of %zu layers; at most %d", n, IMP_LAYERS_MAX);
    c->layers = arena_zalloc(&job->arena, (n + 1) * sizeof(struct imp_kept *));
    c->layer_count = n;
    return c->layers ? OK : err_set(err, ERR_NO_MEMORY, "no memory for layers");
}

/* ---- docker ---- */

static res_code_t docker_take(struct imp_job *job, const struct imp_kepts *k, const json_t *image,
                              struct imp_choice *c, struct err *err)
{
    const char *config;
    json_t *layers;
    if (imp_json_string(image, "Config", "manifest.json", &config, err) ||
        imp_json_array(image, "Layers", "manifest.json", &layers, err))
        return FAIL;
    if (!config || !layers)
        return err_set(err, ERR_INVALID, "manifest.json: an image without Config or Layers");
    if (imp_kept_find(k, config, &c->config, err) ||
        room_for_layers(job, json_array_size(layers), c, err))
        return FAIL;
    for (size_t i = 0; i < c->layer_count; i++) {
        const char *path = json_string_value(json_array_get(layers, i));
        if (!path)
            return err_set(err, ERR_INVALID, "manifest.json: Layers[%zu] is not a string", i);
        if (imp_kept_find(k, path, &c->layers[i], err))
            return FAIL;
    }
    return OK;
}

static res_code_t docker_matches(const struct imp_job *job, const json_t *image,
                                 struct name_list *names, bool *yes, struct err *err)
{
    json_t *tags, *tag;
    const char *config;
    size_t i;
    if (imp_json_array(image, "RepoTags", "manifest.json", &tags, err) ||
        imp_json_string(image, "Config", "manifest.json", &config, err))
        return FAIL;
    *yes = !job->reference[0] ||
           (config && imp_digest_valid(job->reference) && strstr(config, job->reference + 7));
    if (!json_array_size(tags))
        note_name(names, config);
    json_array_foreach(tags, i, tag)
    {
        if (!json_is_string(tag))
            return err_set(err, ERR_INVALID, "manifest.json: RepoTags[%zu] is not a string", i);
        if (i == 0)
            note_name(names, json_string_value(tag));
        *yes = *yes || same_reference(json_string_value(tag), job->reference);
    }
    return OK;
}

/* Is its configuration's architecture the wanted one? */
static res_code_t docker_is_ours(const struct imp_job *job, const struct imp_kepts *k,
                                 const json_t *image, bool *yes, struct err *err)
{
    const char *path, *arch;
    struct imp_kept *config;
    CLEANUP(imp_json_free) json_t *j = NULL;
    if (imp_json_string(image, "Config", "manifest.json", &path, err))
        return FAIL;
    if (!path)
        return err_set(err, ERR_INVALID, "manifest.json: an image without Config");
    if (imp_kept_find(k, path, &config, err) || imp_json_read(job, config, &j, err) ||
        imp_json_string(j, "architecture", config->path, &arch, err))
        return FAIL;
    *yes = arch && !strcmp(arch, WANTED_ARCHITECTURE);
    return OK;
}

static res_code_t choose_docker(struct imp_job *job, const struct imp_kepts *k,
                                struct imp_kept *manifest, struct imp_choice *c, struct err *err)
{
    CLEANUP(imp_json_free) json_t *j = NULL;
    struct name_list names = {.n = 0};
    json_t *image, *found = NULL, *ours = NULL;
    size_t i, matches = 0, our_count = 0;
    if (imp_json_read(job, manifest, &j, err))
        return FAIL;
    if (!json_is_array(j) || !json_array_size(j))
        return err_set(err, ERR_INVALID, "manifest.json: it lists no image");
    json_array_foreach(j, i, image)
    {
        bool yes;
        if (docker_matches(job, image, &names, &yes, err))
            return FAIL;
        if (yes) {
            found = image;
            matches++;
        }
    }
    if (!matches)
        return no_such(job, &names, err);
    if (matches == 1)
        return docker_take(job, k, found, c, err);
    if (!job->reference[0] && names.count > 1)
        return too_many(&names, err);
    json_array_foreach(j, i, image)
    {
        bool yes;
        if (docker_matches(job, image, &names, &yes, err) ||
            (yes && docker_is_ours(job, k, image, &yes, err)))
            return FAIL;
        if (yes) {
            ours = image;
            our_count++;
        }
    }
    return our_count == 1 ? docker_take(job, k, ours, c, err) : too_many(&names, err);
}

/* ---- OCI ---- */

struct candidate {
    const char *digest;
    int64_t size;
    bool ours, known; /* its platform */
    char platform[64];
};
struct candidates {
    struct candidate *all; /* in the job's arena, as are the digests */
    size_t count;
};

static res_code_t descriptor(const json_t *d, const char *what, const char **digest,
                             const char **type, int64_t *size, struct err *err)
{
    json_t *n = json_object_get(d, "size");
    if (imp_json_string(d, "digest", what, digest, err) ||
        imp_json_string(d, "mediaType", what, type, err))
        return FAIL;
    if (!*digest || !imp_digest_valid(*digest))
        return err_set(err, ERR_INVALID, "%.150s: a descriptor without a valid digest", what);
    if (n && !json_is_integer(n))
        return err_set(err, ERR_INVALID, "%.150s: a descriptor's size is no number", what);
    *size = n ? (int64_t)json_integer_value(n) : -1;
    return OK;
}

static const char *annotation(const json_t *d, const char *name)
{
    return json_string_value(json_object_get(json_object_get(d, "annotations"), name));
}

static bool is_attestation(const json_t *d)
{
    const char *type = annotation(d, "vnd.docker.reference.type");
    const char *os = json_string_value(json_object_get(json_object_get(d, "platform"), "os"));
    return (type && !strcmp(type, "attestation-manifest")) || (os && !strcmp(os, "unknown"));
}

static res_code_t collect(struct imp_job *job, const struct imp_kepts *k, const json_t *d,
                          const char *what, unsigned depth, struct candidates *c, struct err *err);

/* An index inside the index. */
static res_code_t collect_below(struct imp_job *job, const struct imp_kepts *k, const char *digest,
                                int64_t size, unsigned depth, struct candidates *c, struct err *err)
{
    CLEANUP(imp_json_free) json_t *j = NULL;
    struct imp_kept *blob;
    json_t *list, *d;
    size_t i;
    if (depth == INDEX_DEPTH_MAX)
        return err_set(err, ERR_LIMIT, "index.json: more than %d indexes deep", INDEX_DEPTH_MAX);
    if (imp_kept_blob(k, digest, size, &blob, err) || imp_json_read(job, blob, &j, err) ||
        imp_json_array(j, "manifests", blob->path, &list, err))
        return FAIL;
    json_array_foreach(list, i, d)
    {
        if (collect(job, k, d, blob->path, depth + 1, c, err))
            return FAIL;
    }
    return OK;
}

static res_code_t collect(struct imp_job *job, const struct imp_kepts *k, const json_t *d,
                          const char *what, unsigned depth, struct candidates *c, struct err *err)
{
    const char *digest, *type;
    int64_t size;
    if (descriptor(d, what, &digest, &type, &size, err))
        return FAIL;
    if (is_attestation(d))
        return OK;
    if (type && (strstr(type, "image.index") || strstr(type, "manifest.list")))
        return collect_below(job, k, digest, size, depth, c, err);
    if (c->count == CANDIDATES_MAX)
        return err_set(err, ERR_LIMIT, "%.150s: more than %d manifests", what, CANDIDATES_MAX);
    const json_t *platform = json_object_get(d, "platform");
    const char *os = json_string_value(json_object_get(platform, "os"));
    const char *arch = json_string_value(json_object_get(platform, "architecture"));
    struct candidate *one = &c->all[c->count];
    for (size_t i = 0; i < c->count; i++)
        if (!strcmp(c->all[i].digest, digest))
            return OK;
    *one = (struct candidate){.digest = arena_strdup(&job->arena, digest),
                              .size = size,
                              .known = os && arch,
                              .ours = os && arch && !strcmp(os, "linux") &&
                                      !strcmp(arch, WANTED_ARCHITECTURE)};
    snprintf(one->platform, sizeof one->platform, "%.30s/%.30s", os ? os : "?", arch ? arch : "?");
    if (!one->digest)
        return err_set(err, ERR_NO_MEMORY, "no memory for manifests");
    c->count++;
    return OK;
}

static res_code_t choose_platform(const struct candidates *c, const struct candidate **out,
                                  struct err *err)
{
    struct name_list names = {.n = 0};
    size_t ours = 0;
    for (size_t i = 0; i < c->count; i++) {
        note_name(&names, c->all[i].platform);
        if (c->all[i].ours && !ours++)
            *out = &c->all[i];
    }
    if (ours)
        return OK;
    if (c->count != 1)
        return err_set(err, ERR_INVALID,
                       "no image for linux/" WANTED_ARCHITECTURE " in the archive; it has: %s",
                       names.n ? names.text : "none");
    *out = c->all;
    return OK;
}

static res_code_t oci_take(struct imp_job *job, const struct imp_kepts *k,
                           const struct candidate *one, struct imp_choice *c, struct err *err)
{
    CLEANUP(imp_json_free) json_t *j = NULL;
    struct imp_kept *manifest;
    const char *digest, *type;
    json_t *layers;
    int64_t size;
    if (imp_kept_blob(k, one->digest, one->size, &manifest, err) ||
        imp_json_read(job, manifest, &j, err) ||
        imp_json_array(j, "layers", manifest->path, &layers, err) ||
        descriptor(json_object_get(j, "config"), manifest->path, &digest, &type, &size, err) ||
        imp_kept_blob(k, digest, size, &c->config, err) ||
        room_for_layers(job, json_array_size(layers), c, err))
        return FAIL;
    for (size_t i = 0; i < c->layer_count; i++)
        if (descriptor(json_array_get(layers, i), manifest->path, &digest, &type, &size, err) ||
            imp_kept_blob(k, digest, size, &c->layers[i], err))
            return FAIL;
    return OK;
}

static bool oci_matches(const struct imp_job *job, const json_t *d)
{
    const char *ref = annotation(d, "org.opencontainers.image.ref.name"),
               *name = annotation(d, "io.containerd.image.name"),
               *digest = json_string_value(json_object_get(d, "digest"));
    return !job->reference[0] || same_reference(ref, job->reference) ||
           same_reference(name, job->reference) || (digest && !strcmp(digest, job->reference));
}

static res_code_t choose_oci(struct imp_job *job, const struct imp_kepts *k, struct imp_kept *index,
                             struct imp_choice *c, struct err *err)
{
    CLEANUP(imp_json_free) json_t *j = NULL;
    struct candidates all = {
        .all = arena_zalloc(&job->arena, CANDIDATES_MAX * sizeof(struct candidate))};
    struct name_list names = {.n = 0};
    const struct candidate *one = NULL;
    json_t *list, *d;
    size_t i, matches = 0;
    if (!all.all)
        return err_set(err, ERR_NO_MEMORY, "no memory for manifests");
    if (imp_json_read(job, index, &j, err) ||
        imp_json_array(j, "manifests", index->path, &list, err))
        return FAIL;
    json_array_foreach(list, i, d)
    {
        const char *name = annotation(d, "io.containerd.image.name");
        note_name(&names, name ? name : annotation(d, "org.opencontainers.image.ref.name"));
        if (!oci_matches(job, d))
            continue;
        matches++;
        if (collect(job, k, d, index->path, 0, &all, err))
            return FAIL;
    }
    if (job->reference[0] && !matches)
        return no_such(job, &names, err);
    if (!job->reference[0] && names.count > 1)
        return too_many(&names, err);
    return choose_platform(&all, &one, err) ? FAIL : oci_take(job, k, one, c, err);
}

res_t imp_choose(struct imp_job *job, const struct imp_kepts *k, struct imp_choice *out,
                 struct err *err)
{
    struct imp_kept *m;
    HASH_FIND_STR(k->by_path, "manifest.json", m);
    if (m && m->file)
        return choose_docker(job, k, m, out, err);
    return imp_kept_find(k, "index.json", &m, err) ? FAIL : choose_oci(job, k, m, out, err);
}
