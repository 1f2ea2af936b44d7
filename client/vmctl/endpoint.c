/* Which daemon: flags, then the environment, then the configuration, then this user's own. */
#include "client/vmctl/config.h"
#include "client/vmctl/ctl.h"
#include "engine/base/suggest.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static res_code_t parse_tcp(struct ctl_endpoint *e, const char *address, const char *rest,
                            struct err *err)
{
    const char *colon, *host = rest;
    size_t n;
    if (rest[0] == '[') {
        const char *end = strchr(rest, ']');
        host = rest + 1;
        n = end ? (size_t)(end - host) : 0;
        colon = end ? end + 1 : "";
    } else {
        n = strcspn(rest, ":/");
        colon = rest + n;
    }
    char *end;
    unsigned long port =
        colon[0] == ':' && isdigit((unsigned char)colon[1]) ? strtoul(colon + 1, &end, 10) : 0;
    if (n == 0 || n >= sizeof e->host || port == 0 || port > 65535 || *end)
        return err_set(err, ERR_INVALID, "address %.100s: tcp+tls://HOST:PORT was expected",
                       address);
    memcpy(e->host, host, n);
    e->host[n] = 0;
    snprintf(e->port, sizeof e->port, "%lu", port);
    e->tcp = true;
    return OK;
}

res_t ctl_endpoint_parse(struct ctl_endpoint *e, const char *address, struct err *err)
{
    const char *path = address;
    if (!strncmp(address, "tcp+tls://", 10))
        return parse_tcp(e, address, address + 10, err);
    if (!strncmp(address, "unix://", 7))
        path = address + 7;
    else if (strstr(address, "://") || !strchr(address, '/'))
        return err_set(err, ERR_INVALID,
                       "address %.100s: unix://PATH or tcp+tls://HOST:PORT was expected", address);
    if (!path[0] || strlen(path) >= sizeof e->path)
        return err_set(err, ERR_INVALID, "address %.100s: the path is %s", address,
                       path[0] ? "too long" : "missing");
    snprintf(e->path, sizeof e->path, "%s", path);
    return OK;
}

static const char *env(const char *name)
{
    const char *s = getenv(name);
    return s && s[0] ? s : NULL;
}

static res_code_t put_file(char out[PB_PATH_MAX], const char *path, struct err *err)
{
    if (strlen(path) >= PB_PATH_MAX)
        return err_set(err, ERR_INVALID, "%.100s: the path is too long", path);
    snprintf(out, PB_PATH_MAX, "%s", path);
    return OK;
}

static res_code_t no_context(const struct ctl_config *c, const char *name, struct err *err)
{
    const char *names[CTL_CONTEXTS_MAX];
    size_t n = 0;
    for (struct ctl_context *x = c->contexts; x && n < CTL_CONTEXTS_MAX; x = x->next)
        names[n++] = x->name;
    const char *meant = suggest(name, names, n);
    if (meant)
        return err_set(err, ERR_NOT_FOUND, "no context \"%.60s\"; did you mean \"%.60s\"?", name,
                       meant);
    return err_set(err, ERR_NOT_FOUND,
                   "no context \"%.60s\"; \"vmctl context ls\" shows what there is", name);
}

/* The address that is to be used (NULL: this user's own), and the context whose files go with it (NULL: none). */
static res_code_t choose(const struct ctl_args *a, const struct ctl_config *c, const char **address,
                         const struct ctl_context **x, struct err *err)
{
    const char *flag = ctl_value(a, OPT_HOST), *path = ctl_value(a, OPT_SOCKET),
               *named = ctl_value(a, OPT_CONTEXT), *host = NULL;
    if (path && flag)
        return err_set(err, ERR_INVALID, "--host and --socket say the same; give one of them");
    *address = path ? path : flag;
    if (!*address && !named) {
        host = env("VMCTL_HOST");
        *address = host ? host : env("VMD_SOCKET");
        named = env("VMCTL_CONTEXT");
        if (!named && !*address)
            named = c->current;
    }
    if (named && strcmp(named, "default") != 0) {
        if (!(*x = ctl_config_find(c, named)))
            return no_context(c, named, err);
        if (!*address)
            *address = (*x)->host;
    }
    return OK;
}

static res_code_t tls_files(struct ctl_endpoint *e, const struct ctl_args *a,
                            const struct ctl_context *x, struct err *err)
{
    const struct {
        enum ctl_opt opt;
        const char *env, *in_context;
        char *to;
    } files[] = {{OPT_TLS_CA, "VMCTL_TLS_CA", x ? x->ca : NULL, e->ca},
                 {OPT_TLS_CERT, "VMCTL_TLS_CERT", x ? x->cert : NULL, e->cert},
                 {OPT_TLS_KEY, "VMCTL_TLS_KEY", x ? x->key : NULL, e->key}};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        const char *path = ctl_value(a, files[i].opt);
        if (!path)
            path = env(files[i].env);
        if (!path)
            path = files[i].in_context;
        if (path && put_file(files[i].to, path, err))
            return FAIL;
    }
    return OK;
}

res_t ctl_endpoint_find(struct ctl_endpoint *e, const struct ctl_args *a, struct err *err)
{
    struct ctl_config c = {0};
    const struct ctl_context *x = NULL;
    const char *address = NULL;
    *e = (struct ctl_endpoint){0};
    res_code_t res = ctl_config_load(&c, err);
    if (!res)
        res = choose(a, &c, &address, &x, err);
    bool plain = address && (address == ctl_value(a, OPT_SOCKET) || address == env("VMD_SOCKET"));
    if (!res && plain)
        res = put_file(e->path, address, err);
    else if (!res && address)
        res = ctl_endpoint_parse(e, address, err);
    if (!res && !address) {
        e->own = true;
        res = pb_default_socket(e->path, err);
    }
    if (!res)
        res = tls_files(e, a, x, err);
    ctl_config_fini(&c);
    return res;
}
