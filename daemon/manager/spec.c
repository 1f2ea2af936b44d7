/* What may be asked for a guest, and what it gets where nothing was. */
#include "daemon/manager/config.h"
#include "daemon/manager/guest.h"
#include "proto/paths.h"

#include <string.h>

#define ARGS_MAX 1024
#define ARGS_BYTES_MAX (128 * 1024)
#define ENV_BYTES_MAX (128 * 1024)
#define LABELS_MAX 32
#define CONSOLE_BYTES_MIN ((uint64_t)4 << 10)
#define CONSOLE_BYTES_MAX ((uint64_t)16 << 20)

static res_code_t check_limits(const PbGuestLimits *l, struct err *err)
{
    if (!l)
        return OK;
    if (l->memory_bytes && l->memory_bytes < (1 << 20))
        return err_set(err, ERR_INVALID, "limits.memory_bytes is %llu; at least 1 MiB",
                       (unsigned long long)l->memory_bytes);
    if (l->memory_bytes > (uint64_t)1 << 46 || l->overlay_bytes > (uint64_t)1 << 46)
        return err_set(err, ERR_INVALID,
                       "limits.memory_bytes and limits.overlay_bytes: at most 64 TiB");
    if (l->processes > 32768)
        return err_set(err, ERR_INVALID, "limits.processes is %u; at most 32768", l->processes);
    if (l->files > 65536)
        return err_set(err, ERR_INVALID, "limits.files is %u; at most 65536", l->files);
    if (l->console_bytes &&
        (l->console_bytes < CONSOLE_BYTES_MIN || l->console_bytes > CONSOLE_BYTES_MAX))
        return err_set(err, ERR_INVALID, "limits.console_bytes is %llu; 4 KiB to 16 MiB, or 0",
                       (unsigned long long)l->console_bytes);
    return OK;
}

static res_code_t check_strings(const PbCreateGuestRequest *r, struct err *err)
{
    size_t total = 0;
    if (r->n_args == 0 || !r->args[0][0])
        return err_set(err, ERR_INVALID, "args is empty; name the program to run");
    for (size_t i = 0; i < r->n_args; i++)
        total += strlen(r->args[i]) + 1;
    if (r->n_args > ARGS_MAX || total > ARGS_BYTES_MAX)
        return err_set(err, ERR_INVALID, "%zu args of %zu bytes; at most %d of %d", r->n_args,
                       total, ARGS_MAX, ARGS_BYTES_MAX);
    total = 0;
    for (size_t i = 0; i < r->n_env; i++) {
        const PbEnvVar *e = r->env[i];
        if (!e->name[0] || strchr(e->name, '='))
            return err_set(err, ERR_INVALID, "env[%zu].name \"%.40s\" is empty or holds '='", i,
                           e->name);
        total += strlen(e->name) + strlen(e->value) + 2;
    }
    if (r->n_env > ARGS_MAX || total > ENV_BYTES_MAX)
        return err_set(err, ERR_INVALID, "%zu env of %zu bytes; at most %d of %d", r->n_env, total,
                       ARGS_MAX, ENV_BYTES_MAX);
    if (r->cwd[0] && r->cwd[0] != '/')
        return err_set(err, ERR_INVALID, "cwd \"%.80s\" is not absolute", r->cwd);
    return OK;
}

static bool key_valid(const char *s)
{
    size_t n = strlen(s);
    bool first = (s[0] >= 'a' && s[0] <= 'z') || (s[0] >= '0' && s[0] <= '9');
    return n >= 1 && n <= 63 && first && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789._-/") == n;
}

static res_code_t check_labels(const PbCreateGuestRequest *r, struct err *err)
{
    if (r->n_labels > LABELS_MAX)
        return err_set(err, ERR_INVALID, "%zu labels; at most %d", r->n_labels, LABELS_MAX);
    for (size_t i = 0; i < r->n_labels; i++) {
        const PbLabel *l = r->labels[i];
        if (!key_valid(l->key) || strlen(l->value) > 255)
            return err_set(err, ERR_INVALID,
                           "labels[%zu] \"%.63s\": a key of 1-63 of a-z 0-9 . _ - / and a value of "
                           "at most 255 bytes were expected",
                           i, l->key);
        for (size_t k = 0; k < i; k++)
            if (!strcmp(l->key, r->labels[k]->key))
                return err_set(err, ERR_INVALID, "labels[%zu]: key \"%s\" came before", i, l->key);
    }
    return OK;
}

static res_code_t check_restart(const PbCreateGuestRequest *r, struct err *err)
{
    const PbRestart *p = r->restart;
    if (!p || p->policy <= PB_RESTART_POLICY_NEVER)
        return p && p->max_retries
                   ? err_set(err, ERR_INVALID, "restart.max_retries goes with ON_FAILURE")
                   : OK;
    if (p->policy > PB_RESTART_POLICY_ALWAYS)
        return err_set(err, ERR_INVALID, "restart.policy is %d; no such policy", (int)p->policy);
    if (p->max_retries && p->policy != PB_RESTART_POLICY_ON_FAILURE)
        return err_set(err, ERR_INVALID, "restart.max_retries goes with ON_FAILURE");
    if (r->auto_remove)
        return err_set(err, ERR_INVALID, "auto_remove and a restart policy exclude each other");
    return OK;
}

static res_code_t check(const PbCreateGuestRequest *r, struct err *err)
{
    if (r->name[0] && !pb_guest_name_valid(r->name))
        return err_set(err, ERR_INVALID,
                       "name \"%.80s\": use 1-%d of a-z 0-9 . _ -, a letter or digit first",
                       r->name, PB_GUEST_NAME_MAX);
    if (r->rows > 65535 || r->cols > 65535)
        return err_set(err, ERR_INVALID, "a terminal of %u x %u; at most 65535", r->rows, r->cols);
    if (r->vcpus > 16)
        return err_set(err, ERR_INVALID, "vcpus is %u; at most 16", r->vcpus);
    if (r->window_bits && (r->window_bits < 32 || r->window_bits > 40))
        return err_set(err, ERR_INVALID, "window_bits is %u; 32 to 40, or 0", r->window_bits);
    if (strlen(r->request_id) > 63 ||
        strspn(r->request_id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") !=
            strlen(r->request_id))
        return err_set(err, ERR_INVALID, "request_id: at most 63 letters, digits and -");
    if (check_strings(r, err) || check_labels(r, err) || check_restart(r, err))
        return FAIL;
    return check_limits(r->limits, err);
}

/* a's words, then b's. */
static char **joined(struct arena *arena, char **a, size_t a_n, char **b, size_t b_n)
{
    char **out = arena_alloc(arena, (a_n + b_n + 1) * sizeof *out);
    for (size_t i = 0; out && i < a_n; i++)
        out[i] = a[i];
    for (size_t i = 0; out && i < b_n; i++)
        out[a_n + i] = b[i];
    return out;
}

static bool env_has(const PbCreateGuestRequest *r, const char *name, size_t n)
{
    for (size_t i = 0; i < r->n_env; i++)
        if (strlen(r->env[i]->name) == n && !memcmp(r->env[i]->name, name, n))
            return true;
    return false;
}

/* The image's variables that were not set otherwise, then those that were. */
static res_code_t merge_env(const PbCreateGuestRequest *asked, const PbImageConfig *config,
                            struct arena *a, PbCreateGuestRequest *spec, struct err *err)
{
    size_t n = 0;
    PbEnvVar **all = arena_alloc(a, (config->n_env + asked->n_env + 1) * sizeof *all);
    PbEnvVar *own = arena_alloc(a, (config->n_env + 1) * sizeof *own);
    if (!all || !own)
        return err_set(err, ERR_NO_MEMORY, "no memory for an environment");
    for (size_t i = 0; i < config->n_env; i++) {
        const char *eq = strchr(config->env[i], '=');
        if (!eq || eq == config->env[i] ||
            env_has(asked, config->env[i], (size_t)(eq - config->env[i])))
            continue;
        pb_env_var__init(&own[n]);
        own[n].name = arena_printf(a, "%.*s", (int)(eq - config->env[i]), config->env[i]);
        own[n].value = (char *)(uintptr_t)(eq + 1);
        if (!own[n].name)
            return err_set(err, ERR_NO_MEMORY, "no memory for an environment");
        all[n] = &own[n];
        n++;
    }
    for (size_t i = 0; i < asked->n_env; i++)
        all[n++] = asked->env[i];
    spec->env = all;
    spec->n_env = n;
    return OK;
}

res_t mgr_spec_make(const PbCreateGuestRequest *asked, const PbImageConfig *config, uint32_t vcpus,
                    struct arena *a, PbCreateGuestRequest *spec, struct err *err)
{
    *spec = *asked;
    spec->base.n_unknown_fields = 0;
    spec->vcpus = spec->vcpus ? spec->vcpus : vcpus;
    spec->window_bits = spec->window_bits ? spec->window_bits : 36;
    if (config) {
        bool own_entry = asked->entrypoint_override;
        char **rest = asked->n_args || own_entry ? asked->args : config->cmd;
        size_t rest_n = asked->n_args || own_entry ? asked->n_args : config->n_cmd;
        spec->n_args = (own_entry ? 0 : config->n_entrypoint) + rest_n;
        spec->args =
            joined(a, config->entrypoint, own_entry ? 0 : config->n_entrypoint, rest, rest_n);
        if (!spec->args)
            return err_set(err, ERR_NO_MEMORY, "no memory for arguments");
        if (!asked->cwd[0] && config->workdir[0])
            spec->cwd = config->workdir;
        if (!asked->uid && !asked->gid) {
            spec->uid = config->uid;
            spec->gid = config->gid;
        }
        if (config->n_env && merge_env(asked, config, a, spec, err))
            return FAIL;
    }
    return check(spec, err);
}

static uint64_t or_default(uint64_t asked, uint64_t by_default)
{
    return asked ? asked : by_default == UINT64_MAX ? 0 : by_default;
}

void mgr_spec_limits(const struct mgr_config *config, const PbGuestLimits *asked, PbGuestLimits *l)
{
    pb_guest_limits__init(l);
    if (asked)
        *l = *asked;
    l->base.n_unknown_fields = 0;
    l->base.unknown_fields = NULL;
    l->memory_bytes = or_default(l->memory_bytes, config->limits_memory_bytes);
    l->overlay_bytes = or_default(l->overlay_bytes, config->limits_overlay_bytes);
    l->processes = (uint32_t)or_default(l->processes, config->limits_processes);
    l->files = (uint32_t)or_default(l->files, config->limits_files);
    l->console_bytes = or_default(l->console_bytes, config->limits_console_bytes);
    l->cpu_ns = or_default(l->cpu_ns, config->limits_cpu_ns);
    l->wall_ns = or_default(l->wall_ns, config->limits_wall_ns);
}
