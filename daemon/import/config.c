/* import/config.c - the configuration of a container image, as far as a guest needs it. */
#include "daemon/import/container.h"
#include "daemon/import/digest.h"
#include "engine/base/base.h"
#include "engine/image/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define STRINGS_MAX 1024
#define STRINGS_BYTES_MAX ((size_t)256 * 1024) /* of the whole configuration */
#define ACCOUNTS_BYTES_MAX ((uint64_t)4 << 20) /* of etc/passwd, etc/group */
#define LINKS_MAX 8

struct reading {
    struct imp_job *job;
    const char *what;
    size_t bytes; /* of strings so far */
};

static res_code_t copy(struct reading *r, const char *s, char **out, struct err *err)
{
    r->bytes += strlen(s) + 1;
    if (r->bytes > STRINGS_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "%.150s: a configuration of more than %zu bytes", r->what,
                       STRINGS_BYTES_MAX);
    *out = arena_strdup(&r->job->arena, s);
    return *out ? OK : err_set(err, ERR_NO_MEMORY, "no memory for the configuration");
}

static res_code_t room(struct reading *r, const char *field, size_t n, char ***out, struct err *err)
{
    if (n > STRINGS_MAX)
        return err_set(err, ERR_LIMIT, "%.150s: %s has %zu parts; at most %d", r->what, field, n,
                       STRINGS_MAX);
    *out = arena_zalloc(&r->job->arena, (n + 1) * sizeof(char *));
    return *out ? OK : err_set(err, ERR_NO_MEMORY, "no memory for the configuration");
}

static res_code_t strings(struct reading *r, const json_t *object, const char *field, size_t *count,
                          char ***out, struct err *err)
{
    json_t *list, *s;
    size_t i;
    if (imp_json_array(object, field, r->what, &list, err) ||
        room(r, field, json_array_size(list), out, err))
        return FAIL;
    json_array_foreach(list, i, s)
    {
        if (!json_is_string(s))
            return err_set(err, ERR_INVALID, "%.150s: %s[%zu] is not a string", r->what, field, i);
        if (copy(r, json_string_value(s), &(*out)[i], err))
            return FAIL;
    }
    *count = json_array_size(list);
    return OK;
}

static res_code_t labels(struct reading *r, json_t *config, PbImageConfig *c, struct err *err)
{
    json_t *all = json_object_get(config, "Labels"), *value;
    const char *key;
    if (!all || json_is_null(all))
        return OK;
    if (!json_is_object(all))
        return err_set(err, ERR_INVALID, "%.150s: Labels is not an object", r->what);
    if (room(r, "Labels", json_object_size(all), &c->labels, err))
        return FAIL;
    json_object_foreach(all, key, value)
    {
        CLEANUP(free_ptr) char *text = NULL;
        if (!json_is_string(value))
            return err_set(err, ERR_INVALID, "%.150s: label %.60s is not a string", r->what, key);
        if (asprintf(&text, "%s=%s", key, json_string_value(value)) < 0)
            text = NULL;
        if (!text)
            return err_set(err, ERR_NO_MEMORY, "no memory for the configuration");
        if (copy(r, text, &c->labels[c->n_labels], err))
            return FAIL;
        c->n_labels++;
    }
    return OK;
}

static res_code_t one(struct reading *r, const json_t *object, const char *field, char **out,
                      struct err *err)
{
    const char *s;
    if (imp_json_string(object, field, r->what, &s, err))
        return FAIL;
    return s ? copy(r, s, out, err) : OK;
}

static res_code_t read_config(struct reading *r, json_t *j, PbImageConfig *c, struct err *err)
{
    json_t *config = json_object_get(j, "config");
    if (one(r, j, "architecture", &c->architecture, err))
        return FAIL;
    if (!config || json_is_null(config))
        return OK;
    if (strings(r, config, "Entrypoint", &c->n_entrypoint, &c->entrypoint, err) ||
        strings(r, config, "Cmd", &c->n_cmd, &c->cmd, err) ||
        strings(r, config, "Env", &c->n_env, &c->env, err) ||
        one(r, config, "WorkingDir", &c->workdir, err) || one(r, config, "User", &c->user, err) ||
        labels(r, config, c, err))
        return FAIL;
    for (size_t i = 0; i < c->n_env; i++)
        if (!strchr(c->env[i], '=') || c->env[i][0] == '=')
            return err_set(err, ERR_INVALID, "%.150s: Env[%zu] is not NAME=value", r->what, i);
    return OK;
}

static res_code_t read_diff_ids(struct reading *r, json_t *j, size_t layer_count, char ***out,
                                struct err *err)
{
    json_t *root = json_object_get(j, "rootfs");
    size_t n = 0;
    *out = NULL;
    if (!root || json_is_null(root))
        return OK;
    if (strings(r, root, "diff_ids", &n, out, err))
        return FAIL;
    if (n != layer_count)
        return err_set(err, ERR_INVALID, "%.150s: digests of %zu layers, there are %zu", r->what, n,
                       layer_count);
    for (size_t i = 0; i < n; i++)
        if (!imp_digest_valid((*out)[i]))
            return err_set(err, ERR_INVALID, "%.150s: diff_ids[%zu] is no digest", r->what, i);
    return OK;
}

res_t imp_config_read(struct imp_job *job, const struct imp_kept *k, size_t layer_count,
                      char ***diff_ids, struct err *err)
{
    CLEANUP(imp_json_free) json_t *j = NULL;
    struct reading r = {.job = job, .what = k->path};
    PbImageConfig *c = arena_alloc(&job->arena, sizeof *c);
    if (!c)
        return err_set(err, ERR_NO_MEMORY, "no memory for the configuration");
    pb_image_config__init(c);
    if (imp_json_read(job, k, &j, err))
        return FAIL;
    if (!json_is_object(j))
        return err_set(err, ERR_INVALID, "%.200s: not the configuration of an image", k->path);
    if (read_config(&r, j, c, err))
        return FAIL;
    r.bytes = 0;
    if (read_diff_ids(&r, j, layer_count, diff_ids, err))
        return FAIL;
    job->config = c;
    return OK;
}

/* ---- its user ---- */

/* A path inside the image, symbolic links followed. Fails: ERR_NOT_FOUND. */
static res_code_t find(const struct img *img, const char *path, unsigned links,
                       struct img_inode *out, struct err *err)
{
    char rest[8300], text[4097];
    struct img_inode at, next;
    uint64_t nid = img_root(img);
    snprintf(rest, sizeof rest, "%s", path);
    for (char *p = rest;;) {
        if (img_inode(img, nid, &at, err))
            return FAIL;
        p += strspn(p, "/");
        size_t n = strcspn(p, "/"), length;
        if (!n)
            break;
        if (!S_ISDIR(at.mode))
            return err_set(err, ERR_NOT_FOUND, "no %.100s in the image", path);
        uint64_t dir = nid;
        if (img_lookup(img, &at, p, n, &nid, err) || img_inode(img, nid, &next, err))
            return FAIL;
        p += n;
        if (!S_ISLNK(next.mode))
            continue;
        if (links == LINKS_MAX)
            return err_set(err, ERR_NOT_FOUND, "%.100s: too many symbolic links", path);
        links++;
        if (img_readlink(img, &next, text, sizeof text, &length, err))
            return FAIL;
        char more[8300];
        if (snprintf(more, sizeof more, "%s/%.4000s", text, p) >= (int)sizeof more)
            return err_set(err, ERR_NOT_FOUND, "%.100s: a path that is too long", path);
        nid = text[0] == '/' ? img_root(img) : dir;
        memcpy(rest, more, sizeof rest);
        p = rest;
    }
    *out = at;
    return OK;
}

/* The whole file as text, "" if there is none. */
static res_code_t read_accounts(const struct img *img, const char *path, char **out,
                                struct err *err)
{
    struct img_inode i;
    size_t got = 0;
    if (find(img, path, 0, &i, err)) {
        if (err->code != ERR_NOT_FOUND)
            return FAIL;
        i = (struct img_inode){.mode = S_IFREG};
    }
    if (!S_ISREG(i.mode) || i.size > ACCOUNTS_BYTES_MAX)
        return err_set(err, ERR_INVALID, "/%s: no file, or of more than %llu bytes", path,
                       (unsigned long long)ACCOUNTS_BYTES_MAX);
    char *text = malloc(i.size + 1);
    if (!text)
        return err_set(err, ERR_NO_MEMORY, "no memory for /%s", path);
    if (i.size && img_read(img, &i, 0, text, i.size, &got, err)) {
        free(text);
        return FAIL;
    }
    text[got] = 0;
    *out = text;
    return OK;
}

static bool number(const char *s, size_t n, uint32_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9' || v > UINT32_MAX)
            return false;
        v = v * 10 + (uint64_t)(s[i] - '0');
    }
    *out = (uint32_t)v;
    return n && v < UINT32_MAX;
}

/* Field `index` of a line name:password:id:group:... */
static const char *part(const char *line, size_t len, unsigned index, size_t *n)
{
    const char *end = line + len;
    for (; index; index--) {
        const char *colon = memchr(line, ':', (size_t)(end - line));
        if (!colon)
            return NULL;
        line = colon + 1;
    }
    const char *colon = memchr(line, ':', (size_t)(end - line));
    *n = (size_t)((colon ? colon : end) - line);
    return line;
}

/* The line whose name is this, or whose id is (by_id). */
static bool account(const char *text, const char *name, size_t name_bytes, bool by_id, uint32_t id,
                    uint32_t *id_out, uint32_t *group_out)
{
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n"), n, id_bytes, group_bytes;
        uint32_t is;
        const char *who = part(line, len, 0, &n), *ids = part(line, len, 2, &id_bytes);
        bool good = ids && number(ids, id_bytes, &is);
        if (good && (by_id ? is == id : n == name_bytes && !memcmp(who, name, n))) {
            const char *group = part(line, len, 3, &group_bytes);
            *id_out = is;
            if (group_out && !(group && number(group, group_bytes, group_out)))
                *group_out = 0;
            return true;
        }
        line += len + (line[len] == '\n');
    }
    return false;
}

static res_code_t resolve(PbImageConfig *c, const char *passwd, const char *group, struct err *err)
{
    const char *user = c->user, *colon = strchr(user, ':');
    size_t n = colon ? (size_t)(colon - user) : strlen(user);
    const char *g = colon ? colon + 1 : "";
    uint32_t id;
    if (number(user, n, &c->uid)) {
        (void)account(passwd, NULL, 0, true, c->uid, &id, &c->gid);
    } else if (n && !account(passwd, user, n, false, 0, &c->uid, &c->gid)) {
        return err_set(err, ERR_INVALID, "user \"%.100s\" is not in the image's /etc/passwd", user);
    }
    if (g[0] && !number(g, strlen(g), &c->gid) &&
        !account(group, g, strlen(g), false, 0, &c->gid, NULL))
        return err_set(err, ERR_INVALID, "group \"%.100s\" is not in the image's /etc/group", g);
    return OK;
}

res_t imp_config_user(struct imp_job *job, struct err *err)
{
    struct img *img;
    CLEANUP(free_ptr) char *passwd = NULL;
    CLEANUP(free_ptr) char *group = NULL;
    if (!job->config || !job->config->user[0])
        return OK;
    if (img_open(job->image_fd, &img, err))
        return FAIL;
    res_code_t res = read_accounts(img, "etc/passwd", &passwd, err);
    if (!res)
        res = read_accounts(img, "etc/group", &group, err);
    img_close(img);
    return res ? FAIL : resolve(job->config, passwd, group, err);
}
