/* import/json.c - JSON documents of an archive, bounded before they are parsed. */
#include "daemon/import/container.h"
#include "daemon/import/stream.h"
#include "engine/base/base.h"

#include <string.h>

#define JSON_BYTES_MAX ((uint64_t)1 << 20)
#define JSON_DEPTH_MAX 32

void imp_json_free(json_t **j)
{
    json_decref(*j);
}

/* Brackets outside strings. */
static bool too_deep(const char *p, size_t n)
{
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        if (in_string) {
            if (p[i] == '\\')
                i++;
            else if (p[i] == '"')
                in_string = false;
        } else if (p[i] == '"') {
            in_string = true;
        } else if (p[i] == '{' || p[i] == '[') {
            if (++depth > JSON_DEPTH_MAX)
                return true;
        } else if ((p[i] == '}' || p[i] == ']') && depth) {
            depth--;
        }
    }
    return false;
}

res_t imp_json_read(const struct imp_job *job, const struct imp_kept *k, json_t **out,
                    struct err *err)
{
    struct imp_file_stream s;
    CLEANUP(buf_fini) struct buf text = {0};
    const void *p;
    size_t n;
    json_error_t why;
    if (k->size > JSON_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "%.200s: a document of %llu bytes; at most %llu", k->path,
                       (unsigned long long)k->size, (unsigned long long)JSON_BYTES_MAX);
    if (imp_file_stream(&s, job->spool_fd, k->at, k->size, err))
        return FAIL;
    res_code_t res;
    while (!(res = s.stream.read(&s.stream, &p, &n, err)) && n)
        buf_put(&text, p, n);
    imp_file_stream_fini(&s);
    if (res)
        return FAIL;
    if (text.failed)
        return err_set(err, ERR_NO_MEMORY, "%.200s: no memory to read it", k->path);
    if (too_deep((const char *)text.data, text.len))
        return err_set(err, ERR_LIMIT, "%.200s: more than %d levels deep", k->path, JSON_DEPTH_MAX);
    json_t *j =
        json_loadb(text.len ? (const char *)text.data : "", text.len, JSON_REJECT_DUPLICATES, &why);
    if (!j)
        return err_set(err, ERR_INVALID, "%.150s:%d:%d: %.150s", k->path, why.line, why.column,
                       why.text);
    *out = j;
    return OK;
}

static res_code_t field(const json_t *object, const char *name, const char *what, json_t **out,
                        struct err *err)
{
    if (!json_is_object(object))
        return err_set(err, ERR_INVALID, "%.150s: %s: where an object is expected there is none",
                       what, name);
    json_t *v = json_object_get(object, name);
    *out = v && !json_is_null(v) ? v : NULL;
    return OK;
}

res_t imp_json_string(const json_t *object, const char *name, const char *what, const char **out,
                      struct err *err)
{
    json_t *v;
    if (field(object, name, what, &v, err))
        return FAIL;
    if (v && !json_is_string(v))
        return err_set(err, ERR_INVALID, "%.150s: %s is not a string", what, name);
    *out = v ? json_string_value(v) : NULL;
    return OK;
}

res_t imp_json_array(const json_t *object, const char *name, const char *what, json_t **out,
                     struct err *err)
{
    json_t *v;
    if (field(object, name, what, &v, err))
        return FAIL;
    if (v && !json_is_array(v))
        return err_set(err, ERR_INVALID, "%.150s: %s is not a list", what, name);
    *out = v;
    return OK;
}
