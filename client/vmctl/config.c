#include "client/vmctl/config.h"
#include "client/vmctl/write.h"
#include "engine/base/base.h"
#include "engine/base/suggest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#define FILE_BYTES_MAX (256 * 1024)

/* ---- reading ---- */

struct parse {
    yaml_parser_t yaml;
    yaml_event_t event;
    const char *name;
    struct ctl_config *c;
};

static res_code_t bad(struct parse *p, struct err *err, const char *what)
{
    return err_set(err, ERR_INVALID, "%s:%zu:%zu: %s", p->name, p->event.start_mark.line + 1,
                   p->event.start_mark.column + 1, what);
}

/* The next event is in p->event; the one before is gone. */
static res_code_t next(struct parse *p, struct err *err)
{
    yaml_event_delete(&p->event);
    if (yaml_parser_parse(&p->yaml, &p->event))
        return p->event.type == YAML_ALIAS_EVENT ? bad(p, err, "aliases are not taken here") : OK;
    return err_set(err, ERR_INVALID, "%s:%zu:%zu: %s", p->name, p->yaml.problem_mark.line + 1,
                   p->yaml.problem_mark.column + 1, p->yaml.problem ? p->yaml.problem : "not YAML");
}

static const char *text(struct parse *p)
{
    return (const char *)p->event.data.scalar.value;
}

static res_code_t unknown_key(struct parse *p, const char *const *keys, size_t n, struct err *err)
{
    char what[200], list[120] = "";
    const char *meant = suggest(text(p), keys, n);
    for (size_t i = 0; i < n; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", keys[i]);
    snprintf(what, sizeof what, "unknown key \"%.40s\"; %s %s", text(p),
             meant ? "did you mean" : "there is:", meant ? meant : list);
    return bad(p, err, what);
}

/* The map that begins now: each key goes to one of `keys` with its value, or to `other` (which reads the value itself). */
static res_code_t
read_map(struct parse *p, const char *const *keys, const char **values[], size_t n,
         res_code_t (*other)(struct parse *p, const char *key, bool *took, struct err *err),
         struct err *err)
{
    if (p->event.type != YAML_MAPPING_START_EVENT)
        return bad(p, err, "a map (\"key: value\" lines) was expected");
    for (;;) {
        bool took = false;
        size_t i = 0;
        if (next(p, err))
            return FAIL;
        if (p->event.type == YAML_MAPPING_END_EVENT)
            return OK;
        if (p->event.type != YAML_SCALAR_EVENT)
            return bad(p, err, "a key was expected");
        if (other && other(p, text(p), &took, err))
            return FAIL;
        if (took)
            continue;
        while (i < n && (!values[i] || strcmp(keys[i], text(p)) != 0))
            i++;
        if (i == n)
            return unknown_key(p, keys, n, err);
        if (*values[i])
            return bad(p, err, "this key stands here twice");
        if (next(p, err))
            return FAIL;
        if (p->event.type != YAML_SCALAR_EVENT)
            return bad(p, err, "one word was expected");
        if (!(*values[i] = arena_strdup(&p->c->arena, text(p))))
            return err_set(err, ERR_NO_MEMORY, "no memory for %s", p->name);
    }
}

static res_code_t read_context(struct parse *p, const char *name, bool *took, struct err *err)
{
    static const char *const keys[] = {"host", "ca", "cert", "key"};
    struct ctl_context *x;
    *took = true;
    if (ctl_config_find(p->c, name))
        return bad(p, err, "there is a context of this name already");
    if (ctl_config_add(p->c, name, &x, err) || next(p, err))
        return FAIL;
    const char **values[] = {&x->host, &x->ca, &x->cert, &x->key};
    if (read_map(p, keys, values, ARRAY_LEN(keys), NULL, err))
        return FAIL;
    return x->host ? OK : bad(p, err, "this context has no host");
}

static res_code_t read_contexts(struct parse *p, const char *key, bool *took, struct err *err)
{
    *took = !strcmp(key, "contexts");
    if (!*took)
        return OK;
    if (next(p, err))
        return FAIL;
    return read_map(p, NULL, NULL, 0, read_context, err);
}

static res_code_t read_document(struct parse *p, struct err *err)
{
    static const char *const keys[] = {"current", "detach-keys", "contexts"};
    const char **values[] = {&p->c->current, &p->c->detach_keys, NULL};
    if (next(p, err) ||
        next(p, err)) /* stream start; document start, or the end of an empty file */
        return FAIL;
    if (p->event.type == YAML_STREAM_END_EVENT)
        return OK;
    if (next(p, err))
        return FAIL;
    return read_map(p, keys, values, ARRAY_LEN(keys), read_contexts, err);
}

res_t ctl_config_parse(struct ctl_config *c, const char *name, const void *bytes, size_t n,
                       struct err *err)
{
    struct parse p = {.name = name, .c = c};
    if (!yaml_parser_initialize(&p.yaml))
        return err_set(err, ERR_NO_MEMORY, "no memory for %s", name);
    yaml_parser_set_input_string(&p.yaml, n ? bytes : "", n);
    res_code_t res = read_document(&p, err);
    yaml_event_delete(&p.event);
    yaml_parser_delete(&p.yaml);
    return res;
}

static void find_path(struct ctl_config *c)
{
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (xdg && xdg[0] == '/')
        snprintf(c->path, sizeof c->path, "%s/vmctl/config.yaml", xdg);
    else if (home && home[0] == '/')
        snprintf(c->path, sizeof c->path, "%s/.config/vmctl/config.yaml", home);
    else
        c->path[0] = 0;
}

res_t ctl_config_load(struct ctl_config *c, struct err *err)
{
    *c = (struct ctl_config){0};
    arena_init(&c->arena, 8 << 20);
    find_path(c);
    CLEANUP(close_fd) int fd = c->path[0] ? open(c->path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0 && c->path[0] && errno != ENOENT && errno != ENOTDIR)
        return err_set_os(err, "%s", c->path);
    if (fd < 0)
        return OK;
    char *bytes = arena_alloc(&c->arena, FILE_BYTES_MAX);
    size_t n = 0;
    if (!bytes)
        return err_set(err, ERR_NO_MEMORY, "no memory for %s", c->path);
    for (;;) {
        ssize_t got = read(fd, bytes + n, FILE_BYTES_MAX - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set_os(err, "%s", c->path);
        if (got == 0)
            break;
        n += (size_t)got;
        if (n == FILE_BYTES_MAX)
            return err_set(err, ERR_LIMIT, "%s: more than %d bytes", c->path, FILE_BYTES_MAX);
    }
    return ctl_config_parse(c, c->path, bytes, n, err);
}

void ctl_config_fini(struct ctl_config *c)
{
    arena_fini(&c->arena);
}

/* ---- contexts ---- */

struct ctl_context *ctl_config_find(const struct ctl_config *c, const char *name)
{
    struct ctl_context *x = c->contexts;
    while (x && strcmp(x->name, name) != 0)
        x = x->next;
    return x;
}

res_t ctl_config_add(struct ctl_config *c, const char *name, struct ctl_context **out,
                     struct err *err)
{
    struct ctl_context **at = &c->contexts, *x = arena_zalloc(&c->arena, sizeof *x);
    size_t n = 0;
    for (; *at; at = &(*at)->next)
        n++;
    if (n >= CTL_CONTEXTS_MAX)
        return err_set(err, ERR_LIMIT, "there are %d contexts already", CTL_CONTEXTS_MAX);
    if (!x || !(x->name = arena_strdup(&c->arena, name)))
        return err_set(err, ERR_NO_MEMORY, "no memory for a context");
    *at = *out = x;
    return OK;
}

/* ---- writing ---- */

static void optional(struct ctl_writer *w, const char *key, const char *s)
{
    if (s)
        ctl_w_text(w, key, s);
}

static void compose(const struct ctl_config *c, struct buf *out)
{
    struct ctl_writer w;
    ctl_w_init(&w, out, CTL_FORM_YAML);
    ctl_w_map(&w);
    optional(&w, "current", c->current);
    optional(&w, "detach-keys", c->detach_keys);
    if (c->contexts) {
        ctl_w_key(&w, "contexts");
        ctl_w_map(&w);
        for (const struct ctl_context *x = c->contexts; x; x = x->next) {
            ctl_w_key(&w, x->name);
            ctl_w_map(&w);
            optional(&w, "host", x->host);
            optional(&w, "ca", x->ca);
            optional(&w, "cert", x->cert);
            optional(&w, "key", x->key);
            ctl_w_end(&w);
        }
        ctl_w_end(&w);
    }
    ctl_w_end(&w);
    ctl_w_finish(&w);
}

/* The folders above path, up to our own two. */
static void make_folders(char *path)
{
    char *last = strrchr(path, '/'), *above;
    *last = 0;
    if ((above = strrchr(path, '/')) && above != path) {
        *above = 0;
        mkdir(path, 0700);
        *above = '/';
    }
    mkdir(path, 0700); /* what is missing shows when the file is made */
    *last = '/';
}

res_t ctl_config_save(const struct ctl_config *c, struct err *err)
{
    char path[sizeof c->path], beside[sizeof c->path + 16];
    struct buf text = {0};
    if (!c->path[0])
        return err_set(err, ERR_STATE,
                       "neither XDG_CONFIG_HOME nor HOME says where the configuration is kept");
    snprintf(path, sizeof path, "%s", c->path);
    make_folders(path);
    snprintf(beside, sizeof beside, "%s.%d", path, (int)getpid());
    compose(c, &text);
    CLEANUP(close_fd) int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    res_code_t res = OK;
    if (fd < 0)
        res = err_set_os(err, "%s", beside);
    else if (text.failed)
        res = err_set(err, ERR_NO_MEMORY, "no memory for %s", path);
    else if (write(fd, text.data, text.len) != (ssize_t)text.len || fsync(fd) ||
             rename(beside, path))
        res = err_set_os(err, "%s", path);
    if (res && fd >= 0)
        unlink(beside);
    buf_fini(&text);
    return res;
}
