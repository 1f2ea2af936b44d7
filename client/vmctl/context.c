/* vmctl context: daemons by name. */
#include "client/vmctl/config.h"
#include "client/vmctl/out.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

int ctl_cmd_context_ls(struct ctl_args *a)
{
    struct ctl_config c;
    struct ctl_out out;
    struct err err;
    char own[PB_PATH_MAX], address[PB_PATH_MAX + 8];
    if (ctl_out_init(&out, a, CTL_TABLE_contexts, CTL_PRINT_TABLE, &err))
        return ctl_usage(&err);
    if (ctl_config_load(&c, &err) || pb_default_socket(own, &err)) {
        ctl_config_fini(&c);
        return ctl_fail(&err);
    }
    snprintf(address, sizeof address, "unix://%s", own);
    struct ctl_context_row row = {"default", address, !c.current || !strcmp(c.current, "default")};
    ctl_out_row(&out, &row);
    for (struct ctl_context *x = c.contexts; x; x = x->next) {
        row = (struct ctl_context_row){x->name, x->host, c.current && !strcmp(c.current, x->name)};
        ctl_out_row(&out, &row);
    }
    int code = ctl_out_end(&out);
    ctl_config_fini(&c);
    return code;
}

/* A file's place as it is found from everywhere. */
static res_code_t absolute(struct ctl_config *c, const struct ctl_args *a, enum ctl_opt opt,
                           const char **out, struct err *err)
{
    const char *s = ctl_value(a, opt);
    char path[PATH_MAX];
    if (!s)
        return OK;
    if (!realpath(s, path))
        return err_set_os(err, "--%s %.100s", ctl_options[opt].name, s);
    *out = arena_strdup(&c->arena, path);
    return *out ? OK : err_set(err, ERR_NO_MEMORY, "no memory for a context");
}

static res_code_t add(struct ctl_config *c, const struct ctl_args *a, struct err *err)
{
    const char *name = a->pos[0];
    struct ctl_endpoint e = {0};
    struct ctl_context *x = ctl_config_find(c, name);
    if (!pb_guest_name_valid(name) || !strcmp(name, "default"))
        return err_set(
            err, ERR_INVALID,
            "context \"%.70s\": 1-63 characters of a-z 0-9 . _ - were expected, not \"default\"",
            name);
    if (ctl_endpoint_parse(&e, a->pos[1], err))
        return FAIL;
    if (x)
        return err_set(err, ERR_EXISTS,
                       "there is a context \"%s\" already; \"vmctl context rm %s\" forgets it",
                       name, name);
    if (ctl_config_add(c, name, &x, err))
        return FAIL;
    x->host = a->pos[1];
    if (ctl_has(a, OPT_CURRENT))
        c->current = x->name;
    return absolute(c, a, OPT_TLS_CA, &x->ca, err) || absolute(c, a, OPT_TLS_CERT, &x->cert, err) ||
                   absolute(c, a, OPT_TLS_KEY, &x->key, err)
               ? FAIL
               : OK;
}

static res_code_t use(struct ctl_config *c, const struct ctl_args *a, struct err *err)
{
    const char *name = a->pos[0];
    if (strcmp(name, "default") != 0 && !ctl_config_find(c, name))
        return err_set(err, ERR_NOT_FOUND,
                       "no context \"%.70s\"; \"vmctl context ls\" shows what there is", name);
    c->current = strcmp(name, "default") ? name : NULL;
    return OK;
}

static res_code_t forget(struct ctl_config *c, const struct ctl_args *a, struct err *err)
{
    for (struct ctl_context **at = &c->contexts; *at; at = &(*at)->next)
        if (!strcmp((*at)->name, a->pos[0])) {
            if (c->current && !strcmp(c->current, a->pos[0]))
                c->current = NULL;
            *at = (*at)->next;
            return OK;
        }
    return err_set(err, ERR_NOT_FOUND,
                   "no context \"%.70s\"; \"vmctl context ls\" shows what there is", a->pos[0]);
}

static int change(struct ctl_args *a, res_code_t (*how)(struct ctl_config *c,
                                                        const struct ctl_args *a, struct err *err))
{
    struct ctl_config c;
    struct err err;
    int code = 0;
    if (ctl_config_load(&c, &err) || how(&c, a, &err) || ctl_config_save(&c, &err))
        code = ctl_fail(&err);
    ctl_config_fini(&c);
    return code;
}

int ctl_cmd_context_add(struct ctl_args *a)
{
    return change(a, add);
}

int ctl_cmd_context_use(struct ctl_args *a)
{
    return change(a, use);
}

int ctl_cmd_context_rm(struct ctl_args *a)
{
    return change(a, forget);
}
