/* vmctl create, run, start: what a guest is to be, and its first moment. */
#include "client/vmctl/out.h"
#include "client/vmctl/terminal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct make {
    PbCreateGuestRequest req;
    PbGuestLimits limits;
    PbRestart restart;
    PbEnvVar *env, **env_pointers;
    PbLabel *labels, **label_pointers;
    char **args; /* with the entrypoint in front */
};

static void set_env(struct make *r, const char *name, size_t name_n, const char *value)
{
    size_t i = 0;
    while (i < r->req.n_env && (strncmp(r->env[i].name, name, name_n) || r->env[i].name[name_n]))
        i++;
    if (i == r->req.n_env) {
        pb_env_var__init(&r->env[i]);
        r->env[i].name = strndup(name, name_n);
        ASSERT(r->env[i].name);
        r->env_pointers[i] = &r->env[i];
        r->req.n_env++;
    }
    r->env[i].value = (char *)(uintptr_t)value;
}

/* Above the image's own, which the daemon adds, and its defaults. */
static res_code_t environment(struct make *r, const struct ctl_args *a, struct err *err)
{
    const char *term = getenv("TERM");
    r->env = calloc(a->given_count + 1, sizeof *r->env);
    r->env_pointers = calloc(a->given_count + 1, sizeof *r->env_pointers);
    ASSERT(r->env && r->env_pointers);
    if (r->req.tty && term && term[0])
        set_env(r, "TERM", 4, term);
    for (size_t i = 0; i < a->given_count; i++) {
        const char *v = a->given[i].value, *eq;
        if (a->given[i].opt != OPT_ENV)
            continue;
        if (!(eq = strchr(v, '=')) || eq == v)
            return err_set(err, ERR_INVALID, "--env %.60s: NAME=VALUE was expected", v);
        set_env(r, v, (size_t)(eq - v), eq + 1);
    }
    r->req.env = r->env_pointers;
    return OK;
}

static res_code_t labels(struct make *r, const struct ctl_args *a, struct err *err)
{
    r->labels = calloc(a->given_count + 1, sizeof *r->labels);
    r->label_pointers = calloc(a->given_count + 1, sizeof *r->label_pointers);
    ASSERT(r->labels && r->label_pointers);
    r->req.labels = r->label_pointers;
    for (size_t i = 0; i < a->given_count; i++) {
        const char *v = a->given[i].value, *eq;
        if (a->given[i].opt != OPT_LABEL)
            continue;
        if (!(eq = strchr(v, '=')) || eq == v)
            return err_set(err, ERR_INVALID, "--label %.60s: KEY=VALUE was expected", v);
        PbLabel *l = &r->labels[r->req.n_labels];
        pb_label__init(l);
        l->key = strndup(v, (size_t)(eq - v));
        ASSERT(l->key);
        l->value = (char *)(uintptr_t)(eq + 1);
        r->label_pointers[r->req.n_labels++] = l;
    }
    return OK;
}

static res_code_t user(struct make *r, const struct ctl_args *a, struct err *err)
{
    const char *s = ctl_value(a, OPT_USER);
    char *end;
    if (!s)
        return OK;
    unsigned long uid = strtoul(s, &end, 10), gid = uid;
    bool bad = !isdigit((unsigned char)s[0]);
    if (*end == ':') {
        bad |= !isdigit((unsigned char)end[1]);
        gid = strtoul(end + 1, &end, 10);
    }
    if (bad || *end || uid > UINT32_MAX - 1 || gid > UINT32_MAX - 1)
        return err_set(err, ERR_INVALID,
                       "--user %.60s: numbers, as 1000 or 1000:1000, were expected", s);
    r->req.uid = (uint32_t)uid;
    r->req.gid = (uint32_t)gid;
    return OK;
}

/* The program and its arguments; --entrypoint stands before them. */
static res_code_t program(struct make *r, const struct ctl_args *a, struct err *err)
{
    const char *entry = ctl_value(a, OPT_ENTRYPOINT);
    size_t n = 0;
    r->args = calloc((size_t)a->pos_count + 1, sizeof *r->args);
    ASSERT(r->args);
    r->req.entrypoint_override = entry != NULL;
    if (entry && entry[0])
        r->args[n++] = (char *)(uintptr_t)entry;
    else if (entry && a->pos_count == 0)
        return err_set(err, ERR_INVALID,
                       "--entrypoint \"\": a program was expected behind the options");
    for (int i = 0; i < a->pos_count; i++)
        r->args[n++] = a->pos[i];
    r->req.args = r->args;
    r->req.n_args = n;
    return OK;
}

static res_code_t limits(struct make *r, const struct ctl_args *a, struct err *err)
{
    r->req.limits = &r->limits;
    if (ctl_bytes(a, OPT_MEMORY, &r->limits.memory_bytes, err) ||
        ctl_bytes(a, OPT_OVERLAY, &r->limits.overlay_bytes, err) ||
        ctl_number(a, OPT_PROCESSES, 32768, &r->limits.processes, err) ||
        ctl_number(a, OPT_FILES, 65536, &r->limits.files, err) ||
        ctl_seconds(a, OPT_CPU_TIME, &r->limits.cpu_ns, err) ||
        ctl_seconds(a, OPT_WALL_TIME, &r->limits.wall_ns, err) ||
        ctl_bytes(a, OPT_CONSOLE_LOG, &r->limits.console_bytes, err) ||
        ctl_number(a, OPT_VCPUS, 16, &r->req.vcpus, err) ||
        ctl_number(a, OPT_WINDOW, 40, &r->req.window_bits, err))
        return FAIL;
    return OK;
}

static void set_text(char **to, const char *s)
{
    if (s)
        *to = (char *)(uintptr_t)s;
}

static res_code_t describe(struct make *r, const struct ctl_args *a, struct err *err)
{
    pb_create_guest_request__init(&r->req);
    pb_guest_limits__init(&r->limits);
    pb_restart__init(&r->restart);
    if (!ctl_value(a, OPT_IMAGE))
        return err_set(err, ERR_INVALID,
                       "--image is missing; \"vmctl image ls\" shows what there is");
    set_text(&r->req.image, ctl_value(a, OPT_IMAGE));
    set_text(&r->req.name, ctl_value(a, OPT_NAME));
    set_text(&r->req.cwd, ctl_value(a, OPT_WORKDIR));
    set_text(&r->req.request_id, ctl_value(a, OPT_REQUEST_ID));
    r->req.tty = ctl_has(a, OPT_TTY);
    r->req.auto_remove = ctl_has(a, OPT_RM);
    r->req.validate_only = ctl_has(a, OPT_VALIDATE);
    if (ctl_has(a, OPT_RESTART))
        r->req.restart = &r->restart;
    if (r->req.tty)
        ctl_terminal_size(&r->req.rows, &r->req.cols);
    if (program(r, a, err) || limits(r, a, err) || user(r, a, err) || labels(r, a, err) ||
        ctl_restart(a, &r->restart, err))
        return FAIL;
    return environment(r, a, err);
}

static void forget(struct make *r)
{
    for (size_t i = 0; i < r->req.n_env; i++)
        free(r->env[i].name);
    for (size_t i = 0; i < r->req.n_labels; i++)
        free(r->labels[i].key);
    free(r->env);
    free(r->env_pointers);
    free(r->labels);
    free(r->label_pointers);
    free(r->args);
}

static void keep_name(void *ctx, const ProtobufCMessage *m)
{
    snprintf(ctx, 64, "%.63s", ((const PbGuest *)m)->name);
}

int ctl_cmd_run(struct ctl_args *a)
{
    struct make r = {0};
    struct ctl_conn c;
    struct err err;
    char name[64];
    struct ctl_attach what = {.name = name, .start = true, .with_stdin = !ctl_has(a, OPT_NO_STDIN)};
    int code = 0;
    bool detach = ctl_has(a, OPT_DETACH);
    if (describe(&r, a, &err) || ctl_seconds(a, OPT_TIMEOUT, &what.timeout_ns, &err) ||
        ctl_attach_keys(a, &what, &err)) {
        code = ctl_usage(&err);
        forget(&r);
        return code;
    }
    what.tty = r.req.tty;
    if (detach && (ctl_has(a, OPT_INTERACTIVE) || what.timeout_ns)) {
        err_set(&err, ERR_INVALID, "--detach goes with neither --interactive nor --timeout");
        forget(&r);
        return ctl_usage(&err);
    }
    if (ctl_connect(&c, a, &err) ||
        ctl_call(&c, PB_METHOD_create_guest, &r.req.base, 0, keep_name, name, &err)) {
        code = ctl_fail(&err);
    } else if (detach) {
        PbStartGuestRequest start = PB_START_GUEST_REQUEST__INIT;
        start.name = name;
        if (ctl_call(&c, PB_METHOD_start_guest, &start.base, 0, NULL, NULL, &err))
            code = ctl_fail(&err);
        else
            puts(name);
    } else {
        code = ctl_attach(&c, &what);
    }
    ctl_close(&c);
    forget(&r);
    return code;
}

static void print_row(void *out, const ProtobufCMessage *m)
{
    ctl_out_row(out, m);
}

int ctl_cmd_create(struct ctl_args *a)
{
    struct make r = {0};
    struct ctl_conn c;
    struct ctl_out out;
    struct err err;
    int code;
    if (describe(&r, a, &err) || ctl_out_init(&out, a, CTL_TABLE_guests, CTL_PRINT_NAME, &err)) {
        code = ctl_usage(&err);
        forget(&r);
        return code;
    }
    out.one = true;
    if (ctl_connect(&c, a, &err) ||
        ctl_call(&c, PB_METHOD_create_guest, &r.req.base, 0, print_row, &out, &err)) {
        code = ctl_fail(&err);
        ctl_out_drop(&out);
    } else {
        code = ctl_out_end(&out);
    }
    ctl_close(&c);
    forget(&r);
    return code;
}

/* ---- start ---- */

static void keep_tty(void *ctx, const ProtobufCMessage *m)
{
    *(bool *)ctx = ((const PbGuest *)m)->tty;
}

/* As the guest was created: with a terminal or without. The exit code. */
static int attach_to(struct ctl_args *a, struct ctl_attach *what)
{
    PbGetGuestRequest get = PB_GET_GUEST_REQUEST__INIT;
    struct ctl_conn c;
    struct err err;
    int code;
    get.name = a->pos[0];
    if (ctl_connect(&c, a, &err) ||
        ctl_call(&c, PB_METHOD_get_guest, &get.base, 0, keep_tty, &what->tty, &err))
        code = ctl_fail(&err);
    else
        code = ctl_attach(&c, what);
    ctl_close(&c);
    return code;
}

static int start_attached(struct ctl_args *a)
{
    struct err err;
    struct ctl_attach what = {
        .name = a->pos[0], .start = true, .with_stdin = !ctl_has(a, OPT_NO_STDIN)};
    if (a->pos_count != 1)
        err_set(&err, ERR_INVALID, "--attach goes with one guest");
    if (a->pos_count != 1 || ctl_attach_keys(a, &what, &err))
        return ctl_usage(&err);
    return attach_to(a, &what);
}

int ctl_cmd_start(struct ctl_args *a)
{
    struct ctl_conn c;
    struct err err;
    int code = 0;
    if (ctl_has(a, OPT_ATTACH))
        return start_attached(a);
    if (ctl_connect(&c, a, &err))
        code = ctl_fail(&err);
    for (int i = 0; !code && i < a->pos_count; i++) {
        PbStartGuestRequest req = PB_START_GUEST_REQUEST__INIT;
        req.name = a->pos[i];
        if (ctl_call(&c, PB_METHOD_start_guest, &req.base, 0, NULL, NULL, &err))
            code = ctl_fail(&err);
        else
            puts(a->pos[i]);
    }
    ctl_close(&c);
    return code;
}

int ctl_cmd_attach(struct ctl_args *a)
{
    struct err err;
    struct ctl_attach what = {.name = a->pos[0],
                              .with_stdin = !ctl_has(a, OPT_NO_STDIN),
                              .shared = ctl_has(a, OPT_SHARED),
                              .take_over = ctl_has(a, OPT_TAKE_OVER),
                              .no_replay = ctl_has(a, OPT_NO_REPLAY)};
    if (!what.with_stdin && (what.shared || what.take_over))
        err_set(&err, ERR_INVALID,
                "--shared and --take-over are about standard input: not with --no-stdin");
    if ((!what.with_stdin && (what.shared || what.take_over)) || ctl_attach_keys(a, &what, &err))
        return ctl_usage(&err);
    return attach_to(a, &what);
}
