#include "daemon/manager/config.h"
#include "daemon/manager/config_check.h"
#include "proto/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- from text, from the source ---- */

void mgr_config_free(struct mgr_config *config)
{
    if (!config)
        return;
    arena_fini(&config->arena);
    free(config);
}

static void first_problem(const struct mgr_problems *p, struct err *err)
{
    const char *text = p->text.data ? (const char *)p->text.data : "";
    int n = (int)MIN(p->text.len, sizeof err->text - 1);
    const char *end = n ? memchr(text, '\n', (size_t)n) : NULL;
    err_set(err, ERR_INVALID, "%.*s", end ? (int)(end - text) : n, text);
}

res_code_t mgr_config_parse(const char *name, const char *text, size_t n,
                            struct mgr_config **config, struct mgr_problems *problems,
                            struct err *err)
{
    struct mgr_config *c = calloc(1, sizeof *c);
    struct mgr_node *root = NULL;
    struct arena tree;
    unsigned before = problems->count;
    if (!c)
        return err_set(err, ERR_NO_MEMORY, "no memory for the configuration");
    arena_init(&c->arena, 0);
    arena_init(&tree, 0);
    res_code_t rc = mgr_yaml_read(name, text, n, &tree, &root, problems, err);
    if (!rc)
        rc = mgr_config_check(name, root, c, problems, err);
    arena_fini(&tree);
    if (!rc && problems->count > before) {
        first_problem(problems, err);
        rc = FAIL;
    }
    if (rc)
        mgr_config_free(c);
    else
        *config = c;
    return rc;
}

/* All of a file, if it is not too large. */
static res_code_t read_file(const char *path, struct buf *out, bool *missing, struct err *err)
{
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    *missing = fd < 0 && (errno == ENOENT || errno == ENOTDIR);
    if (fd < 0 || fstat(fd, &st))
        return err_set_os(err, "%s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "%s: not a file", path);
    while (out->len <= MGR_CONFIG_BYTES) {
        if (!buf_reserve(out, 65536))
            return err_set(err, ERR_NO_MEMORY, "no memory for %s", path);
        ssize_t n = read(fd, out->data + out->len, 65536);
        if (n < 0)
            return err_set_os(err, "%s", path);
        if (n == 0)
            return OK;
        out->len += (size_t)n;
    }
    return OK; /* too large: the reader of YAML says so */
}

static const char *copy(struct mgr_config *c, const char *s)
{
    return arena_strdup(&c->arena, s ? s : "");
}

/* --socket stands for every Unix socket, --listen comes on top. */
static res_code_t override_listeners(const struct mgr_config_source *source, struct mgr_config *c,
                                     struct err *err)
{
    const struct mgr_listener_config *tls = &source->tls;
    struct mgr_listener_config *list =
        arena_zalloc(&c->arena, (c->listen_count + 2) * sizeof *list);
    size_t n = 0;
    if (!list)
        return err_set(err, ERR_NO_MEMORY, "no memory for the configuration");
    char usual[PB_PATH_MAX];
    const char *socket = source->socket;
    if (tls->tcp && !socket && !c->listen_count) { /* then the usual one is meant to stay */
        if (pb_default_socket(usual, err))
            return FAIL;
        socket = usual;
    }
    if (socket)
        list[n++] = (struct mgr_listener_config){copy(c, socket), 0600,          copy(c, NULL),
                                                 copy(c, NULL),   copy(c, NULL), copy(c, NULL)};
    for (size_t i = 0; i < c->listen_count; i++)
        if (!socket || *c->listen[i].tcp)
            list[n++] = c->listen[i];
    if (tls->tcp)
        list[n++] = (struct mgr_listener_config){copy(c, NULL),     0600,
                                                 copy(c, tls->tcp), copy(c, tls->certificate),
                                                 copy(c, tls->key), copy(c, tls->client_ca)};
    for (size_t i = 0; i < n; i++) {
        const struct mgr_listener_config *l = &list[i];
        if (!l->unix_path || !l->tcp || !l->certificate || !l->key || !l->client_ca)
            return err_set(err, ERR_NO_MEMORY, "no memory for the configuration");
    }
    c->listen = list;
    c->listen_count = n;
    return OK;
}

/* Flags stand above the file. */
static res_code_t override(const struct mgr_config_source *source, struct mgr_config *c,
                           struct err *err)
{
    for (size_t i = 0; i < source->override_count; i++) {
        const struct mgr_override *o = &source->overrides[i];
        if (mgr_config_set(c, o->key, o->value, err))
            return err_wrap(err, "%s", o->flag);
    }
    return override_listeners(source, c, err);
}

/* Unless configured: the daemon's own user and root, without quotas. */
static res_code_t add_own_tenant(const struct mgr_config_source *source, struct mgr_config *c,
                                 struct err *err)
{
    struct mgr_tenant_config *own = arena_zalloc(&c->arena, sizeof *own);
    uint32_t *uids = arena_zalloc(&c->arena, 2 * sizeof *uids);
    char **names = arena_zalloc(&c->arena, sizeof source->names);
    if (!own || !uids || !names)
        return err_set(err, ERR_NO_MEMORY, "no memory for the configuration");
    for (size_t i = 0; i < source->name_count; i++)
        if (!(names[i] = arena_strdup(&c->arena, source->names[i])))
            return err_set(err, ERR_NO_MEMORY, "no memory for the configuration");
    uids[0] = geteuid();
    *own = (struct mgr_tenant_config){.name = "default",
                                      .uids = uids,
                                      .uid_count = 2,
                                      .certificates = names,
                                      .certificate_count = source->name_count,
                                      .admin = true,
                                      .isolate_guests = c->workers_isolation == MGR_ISOLATE_GUEST};
    for (unsigned q = 0; q < MGR_QUOTA_COUNT; q++)
        own->quota[q] = UINT64_MAX;
    c->tenants = own;
    c->tenants_count = 1;
    return OK;
}

res_code_t mgr_config_load(const struct mgr_config_source *source, struct mgr_config **config,
                           struct mgr_problems *problems, struct err *err)
{
    struct buf text = {0};
    struct mgr_config *c = NULL;
    bool missing = false;
    res_code_t rc = OK;
    if (source->file && read_file(source->file, &text, &missing, err) &&
        (!missing || source->must_exist)) {
        mgr_problem(problems, source->file, NULL, "%s", err->text + strlen(source->file) + 2);
        rc = FAIL;
    }
    if (!rc)
        rc = mgr_config_parse(source->file ? source->file : "defaults",
                              text.data ? (char *)text.data : "", text.len, &c, problems, err);
    buf_fini(&text);
    if (!rc && ((rc = override(source, c, err)) ||
                (!c->tenants_count && (rc = add_own_tenant(source, c, err))))) {
        mgr_problem(problems, "vmd", NULL, "%s", err->text);
        mgr_config_free(c);
    }
    if (!rc)
        *config = c;
    return rc;
}

bool mgr_config_default_file(char *out, size_t cap)
{
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int n = -1;
    if (geteuid() == 0)
        n = snprintf(out, cap, "/etc/vmd/vmd.yaml");
    else if (xdg && *xdg == '/')
        n = snprintf(out, cap, "%s/vmd/vmd.yaml", xdg);
    else if (home && *home == '/')
        n = snprintf(out, cap, "%s/.config/vmd/vmd.yaml", home);
    return n >= 0 && (size_t)n < cap;
}
