/* Commands about guests. */
#include "client/vmctl/ctl.h"
#include "proto/daemon.pb-c.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- how it ended ---- */

static const char *signal_name(int signo)
{
    const char *s = sigabbrev_np(signo);
    return s ? s : "?";
}

void ctl_end_text(const PbGuest *g, char *out, size_t cap)
{
    static const char *const states[] = {"?",        "created", "starting", "running",
                                         "stopping", "ended",   "failed"};
    if (!g->end) {
        snprintf(out, cap, "%s", (unsigned)g->state < ARRAY_LEN(states) ? states[g->state] : "?");
        return;
    }
    const char *text = g->end->text, *colon = text[0] ? ": " : "";
    char name[32];
    int named;
    switch (g->end->kind) {
    case PB_END_KIND_EXIT:
        snprintf(out, cap, "exit %d", g->end->code);
        break;
    case PB_END_KIND_SIGNAL:
        /* The guest's kernel begins its text with the signal's name, which stands here already. */
        named = snprintf(name, sizeof name, "SIG%s", signal_name(g->end->code));
        if (!strncmp(text, name, (size_t)named)) {
            text += named;
            colon = "";
        }
        snprintf(out, cap, "signal %d (%s)%s%s", g->end->code, name, colon, text);
        break;
    case PB_END_KIND_LIMIT:
        snprintf(out, cap, "limit%s%s", colon, text);
        break;
    case PB_END_KIND_KILLED:
        snprintf(out, cap, "killed%s%s", colon, text);
        break;
    default:
        snprintf(out, cap, "failed%s%s", colon, text);
    }
}

int ctl_end_code(const PbGuest *g, bool say)
{
    char text[400];
    if (!g->end || g->end->kind == PB_END_KIND_EXIT)
        return g->end ? g->end->code & 255 : CTL_EXIT_ERROR;
    bool by_signal = g->end->kind == PB_END_KIND_SIGNAL;
    if (say && (!by_signal || g->end->text[0]) && g->end->kind != PB_END_KIND_KILLED) {
        ctl_end_text(g, text, sizeof text);
        ctl_say("guest \"%s\": %s", g->name, text);
    }
    if (by_signal)
        return 128 + g->end->code;
    return g->end->kind == PB_END_KIND_KILLED ? 128 + SIGKILL : CTL_EXIT_ERROR;
}

/* ---- run ---- */

struct run {
    PbCreateGuestRequest req;
    PbGuestLimits limits;
    PbEnvVar *env;
    PbEnvVar **env_pointers;
};

static void set_env(struct run *r, const char *name, size_t name_n, const char *value)
{
    size_t i = 0;
    while (i < r->req.n_env && (strncmp(r->env[i].name, name, name_n) || r->env[i].name[name_n]))
        i++;
    if (i == r->req.n_env) {
        pb_env_var__init(&r->env[i]);
        r->env[i].name = strndup(name, name_n); /* lives as long as the program */
        ASSERT(r->env[i].name);
        r->env_pointers[i] = &r->env[i];
        r->req.n_env++;
    }
    r->env[i].value = (char *)(uintptr_t)value;
}

/* The engine's defaults hold unless something is set; then all of it is ours. */
static res_code_t environment(struct run *r, const struct ctl_args *a, struct err *err)
{
    const char *term = getenv("TERM");
    bool own_term = r->req.tty && term && term[0];
    if (!ctl_has(a, OPT_ENV) && !own_term)
        return OK;
    r->env = calloc(a->given_count + 4, sizeof *r->env);
    r->env_pointers = calloc(a->given_count + 4, sizeof *r->env_pointers);
    ASSERT(r->env && r->env_pointers);
    set_env(r, "PATH", 4, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    set_env(r, "HOME", 4, r->req.uid ? "/" : "/root");
    if (r->req.tty)
        set_env(r, "TERM", 4, own_term ? term : "xterm");
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

static res_code_t user(struct run *r, const struct ctl_args *a, struct err *err)
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

static res_code_t describe(struct run *r, const struct ctl_args *a, struct err *err)
{
    pb_create_guest_request__init(&r->req);
    pb_guest_limits__init(&r->limits);
    const char *image = ctl_value(a, OPT_IMAGE), *name = ctl_value(a, OPT_NAME),
               *dir = ctl_value(a, OPT_WORKDIR);
    if (!image)
        return err_set(err, ERR_INVALID,
                       "--image is missing; \"vmctl image ls\" shows what there is");
    r->req.image = (char *)(uintptr_t)image;
    if (name)
        r->req.name = (char *)(uintptr_t)name;
    if (dir)
        r->req.cwd = (char *)(uintptr_t)dir;
    r->req.args = a->pos;
    r->req.n_args = (size_t)a->pos_count;
    r->req.tty = ctl_has(a, OPT_TTY);
    r->req.auto_remove = ctl_has(a, OPT_RM);
    r->req.limits = &r->limits;
    if (r->req.tty)
        ctl_terminal_size(&r->req.rows, &r->req.cols);
    if (ctl_bytes(a, OPT_MEMORY, &r->limits.memory_bytes, err) ||
        ctl_bytes(a, OPT_OVERLAY, &r->limits.overlay_bytes, err) ||
        ctl_number(a, OPT_PROCESSES, 32768, &r->limits.processes, err) ||
        ctl_number(a, OPT_FILES, 65536, &r->limits.files, err) ||
        ctl_seconds(a, OPT_CPU_TIME, &r->limits.cpu_ns, err) ||
        ctl_number(a, OPT_VCPUS, 16, &r->req.vcpus, err) ||
        ctl_number(a, OPT_WINDOW, 40, &r->req.window_bits, err) || user(r, a, err))
        return FAIL;
    return environment(r, a, err);
}

static void keep_name(void *ctx, const ProtobufCMessage *m)
{
    snprintf(ctx, 64, "%.63s", ((const PbGuest *)m)->name);
}

int ctl_cmd_run(struct ctl_args *a)
{
    struct run r = {0};
    struct ctl_conn c;
    struct err err;
    char name[64];
    uint64_t timeout_ns = 0;
    int code = 0;
    bool detach = ctl_has(a, OPT_DETACH);
    if (describe(&r, a, &err) || ctl_seconds(a, OPT_TIMEOUT, &timeout_ns, &err))
        return ctl_usage(&err);
    if (detach && (ctl_has(a, OPT_INTERACTIVE) || timeout_ns)) {
        err_set(&err, ERR_INVALID, "--detach goes with neither --interactive nor --timeout");
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
        struct ctl_attach what = {.name = name,
                                  .tty = r.req.tty,
                                  .with_stdin = !ctl_has(a, OPT_NO_STDIN),
                                  .timeout_ns = timeout_ns};
        code = ctl_attach(&c, &what);
    }
    ctl_close(&c);
    for (size_t i = 0; i < r.req.n_env; i++)
        free(r.env[i].name);
    free(r.env);
    free(r.env_pointers);
    return code;
}

/* ---- ps ---- */

static void age(int64_t since_ns, char *out, size_t cap)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    long long s = since_ns ? (long long)now.tv_sec - since_ns / 1000000000 : -1;
    if (s < 0)
        snprintf(out, cap, "-");
    else if (s < 120)
        snprintf(out, cap, "%llds", s);
    else if (s < 7200)
        snprintf(out, cap, "%lldm", s / 60);
    else if (s < 172800)
        snprintf(out, cap, "%lldh", s / 3600);
    else
        snprintf(out, cap, "%lldd", s / 86400);
}

/* Guests choose their arguments; terminals obey control characters. */
static void print_safe(const char *s, int most)
{
    for (int n = 0; *s && n < most; s++, n++)
        putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

static void print_guest(const PbGuest *g)
{
    char since[32], end[400];
    age(g->end ? g->end_time_ns : g->start_time_ns, since, sizeof since);
    ctl_end_text(g, end, sizeof end);
    printf("%-16s %-16s %-6s ", g->name, g->image, since);
    print_safe(end, 80);
    printf("  ");
    for (size_t i = 0; i < g->n_args && i < 8; i++) {
        print_safe(g->args[i], 40);
        putchar(' ');
    }
    putchar('\n');
}

static void print_guests(void *ctx, const ProtobufCMessage *m)
{
    const PbListGuestsResponse *resp = (const PbListGuestsResponse *)m;
    const struct ctl_args *a = ctx;
    bool all = ctl_has(a, OPT_ALL), quiet = ctl_has(a, OPT_QUIET);
    if (!quiet)
        printf("%-16s %-16s %-6s %s\n", "NAME", "IMAGE", "SINCE", "STATE  COMMAND");
    for (size_t i = 0; i < resp->n_guests; i++) {
        const PbGuest *g = resp->guests[i];
        if (!all && g->end)
            continue;
        if (quiet)
            puts(g->name);
        else
            print_guest(g);
    }
}

int ctl_cmd_ps(struct ctl_args *a)
{
    PbListGuestsRequest req = PB_LIST_GUESTS_REQUEST__INIT;
    struct ctl_conn c;
    struct err err;
    int code = 0;
    if (ctl_connect(&c, a, &err) ||
        ctl_call(&c, PB_METHOD_list_guests, &req.base, 0, print_guests, a, &err))
        code = ctl_fail(&err);
    ctl_close(&c);
    return code;
}

/* ---- for each guest that is named ---- */

struct each {
    struct ctl_args *a;
    struct ctl_conn c;
    uint64_t grace_ns, timeout_ns;
    uint32_t signo;
};

static int for_each(struct ctl_args *a, struct each *e,
                    res_code_t (*call)(struct each *, char *name, struct err *err))
{
    struct err err;
    int code = 0;
    e->a = a;
    if (ctl_connect(&e->c, a, &err)) {
        ctl_close(&e->c);
        return ctl_fail(&err);
    }
    for (int i = 0; i < a->pos_count; i++)
        if (call(e, a->pos[i], &err)) {
            code = ctl_fail(&err);
            if (err.code == ERR_DEADLINE)
                code = CTL_EXIT_TIMEOUT;
        }
    ctl_close(&e->c);
    return code;
}

static res_code_t stop_one(struct each *e, char *name, struct err *err)
{
    PbStopGuestRequest req = PB_STOP_GUEST_REQUEST__INIT;
    req.name = name;
    req.grace_ms = (uint32_t)(e->grace_ns / 1000000);
    return ctl_call(&e->c, PB_METHOD_stop_guest, &req.base, 0, NULL, NULL, err);
}

int ctl_cmd_stop(struct ctl_args *a)
{
    struct each e = {.grace_ns = 10000000000ull};
    struct err err;
    if (ctl_seconds(a, OPT_GRACE, &e.grace_ns, &err))
        return ctl_usage(&err);
    e.grace_ns = MIN(e.grace_ns, (uint64_t)3600000 * 1000000);
    return for_each(a, &e, stop_one);
}

static res_code_t kill_one(struct each *e, char *name, struct err *err)
{
    PbKillGuestRequest req = PB_KILL_GUEST_REQUEST__INIT;
    req.name = name;
    req.signal = e->signo;
    return ctl_call(&e->c, PB_METHOD_kill_guest, &req.base, 0, NULL, NULL, err);
}

static res_code_t signal_number(const char *s, uint32_t *signo, struct err *err)
{
    char *end;
    unsigned long v = strtoul(s, &end, 10);
    if (s[0] && !*end && v >= 1 && v <= 64) {
        *signo = (uint32_t)v;
        return OK;
    }
    const char *plain = !strncasecmp(s, "SIG", 3) ? s + 3 : s;
    for (int i = 1; i < 32; i++)
        if (sigabbrev_np(i) && !strcasecmp(sigabbrev_np(i), plain)) {
            *signo = (uint32_t)i;
            return OK;
        }
    return err_set(err, ERR_INVALID,
                   "--signal %.60s: a name like TERM or a number from 1 to 64 was expected", s);
}

int ctl_cmd_kill(struct ctl_args *a)
{
    struct each e = {.signo = 9};
    struct err err;
    if (ctl_has(a, OPT_SIGNAL) && signal_number(ctl_value(a, OPT_SIGNAL), &e.signo, &err))
        return ctl_usage(&err);
    return for_each(a, &e, kill_one);
}

static res_code_t remove_one(struct each *e, char *name, struct err *err)
{
    PbDeleteGuestRequest req = PB_DELETE_GUEST_REQUEST__INIT;
    req.name = name;
    req.force = ctl_has(e->a, OPT_FORCE);
    return ctl_call(&e->c, PB_METHOD_delete_guest, &req.base, 0, NULL, NULL, err);
}

int ctl_cmd_rm(struct ctl_args *a)
{
    struct each e = {0};
    return for_each(a, &e, remove_one);
}

static void print_code(void *ctx, const ProtobufCMessage *m)
{
    (void)ctx;
    printf("%d\n", ctl_end_code((const PbGuest *)m, true));
}

static res_code_t wait_one(struct each *e, char *name, struct err *err)
{
    PbWaitGuestRequest req = PB_WAIT_GUEST_REQUEST__INIT;
    req.name = name;
    if (!ctl_call(&e->c, PB_METHOD_wait_guest, &req.base, e->timeout_ns, print_code, NULL, err))
        return OK;
    return err_wrap(err, "%s", name);
}

int ctl_cmd_wait(struct ctl_args *a)
{
    struct each e = {0};
    struct err err;
    if (ctl_seconds(a, OPT_TIMEOUT, &e.timeout_ns, &err))
        return ctl_usage(&err);
    return for_each(a, &e, wait_one);
}

/* ---- logs, version ---- */

static void print_chunk(void *ctx, const ProtobufCMessage *m)
{
    const PbConsoleChunk *chunk = (const PbConsoleChunk *)m;
    FILE *f = chunk->stream == PB_CONSOLE_STREAM_STDERR ? stderr : stdout;
    (void)ctx;
    if (chunk->dropped)
        ctl_say("%llu bytes of output are gone from the log", (unsigned long long)chunk->dropped);
    fwrite(chunk->data.data, 1, chunk->data.len, f);
    fflush(f);
    if (ferror(f))
        exit(CTL_EXIT_ERROR);
}

int ctl_cmd_logs(struct ctl_args *a)
{
    PbReadLogsRequest req = PB_READ_LOGS_REQUEST__INIT;
    struct ctl_conn c;
    struct err err;
    int code = 0;
    req.name = a->pos[0];
    req.follow = ctl_has(a, OPT_FOLLOW);
    if (ctl_connect(&c, a, &err) ||
        ctl_call(&c, PB_METHOD_read_logs, &req.base, 0, print_chunk, NULL, &err))
        code = ctl_fail(&err);
    ctl_close(&c);
    return code;
}

static void print_daemon(void *ctx, const ProtobufCMessage *m)
{
    const PbDaemon *d = (const PbDaemon *)m;
    (void)ctx;
    printf("vmd %s, pid %u, %u workers, %u of %u guests running, state in %s\n", d->version, d->pid,
           d->workers, d->guests_running, d->guests, d->state_dir);
}

int ctl_cmd_version(struct ctl_args *a)
{
    PbGetDaemonRequest req = PB_GET_DAEMON_REQUEST__INIT;
    struct ctl_conn c;
    struct err err;
    int code = 0;
    puts("vmctl " VV_VERSION);
    fflush(stdout);
    if (ctl_connect(&c, a, &err) ||
        ctl_call(&c, PB_METHOD_get_daemon, &req.base, 0, print_daemon, NULL, &err))
        code = ctl_fail(&err);
    ctl_close(&c);
    return code;
}
