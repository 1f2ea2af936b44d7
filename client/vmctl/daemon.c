/* Commands about the daemon: events, tenants, doctor, version. */
#include "client/vmctl/out.h"
#include "engine/base/suggest.h"
#include "proto/daemon.pb-c.h"
#include "proto/event.pb-c.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static void print_row(void *out, const ProtobufCMessage *m)
{
    ctl_out_row(out, m);
}

/* ---- events ---- */

/* "guest-ended" to its number. */
static res_code_t event_type(const char *word, PbEventType *type, struct err *err)
{
    const ProtobufCEnumDescriptor *d = &pb_event_type__descriptor;
    char names[64][32];
    const char *list[ARRAY_LEN(names)];
    size_t n = 0;
    for (unsigned i = 0; i < d->n_values && n < ARRAY_LEN(names); i++) {
        const char *s = d->values[i].name + strlen("EVENT_TYPE_");
        size_t k = 0;
        if (d->values[i].value == 0)
            continue;
        for (; s[k] && k < sizeof names[n] - 1; k++)
            names[n][k] = s[k] == '_' ? '-' : (char)tolower((unsigned char)s[k]);
        names[n][k] = 0;
        if (!strcmp(names[n], word)) {
            *type = (PbEventType)d->values[i].value;
            return OK;
        }
        list[n] = names[n];
        n++;
    }
    const char *meant = suggest(word, list, n);
    if (meant)
        return err_set(err, ERR_INVALID, "--type %.40s: did you mean %s?", word, meant);
    return err_set(
        err, ERR_INVALID,
        "--type %.40s: a type like guest-started, guest-ended or image-imported was expected",
        word);
}

static res_code_t describe_events(const struct ctl_args *a, PbWatchEventsRequest *req,
                                  PbEventType *types, struct err *err)
{
    const char *since = ctl_value(a, OPT_SINCE_CURSOR), *guest = ctl_value(a, OPT_GUEST);
    bool follow = ctl_has(a, OPT_FOLLOW_EVENTS);
    req->no_follow = !follow;
    req->from_oldest = since ? !strcmp(since, "oldest") : !follow;
    if (since && !req->from_oldest)
        req->cursor = (char *)(uintptr_t)since;
    if (guest)
        req->guest = (char *)(uintptr_t)guest;
    req->all_tenants = ctl_has(a, OPT_ALL_TENANTS);
    req->types = types;
    for (size_t i = 0; i < a->given_count; i++)
        if (a->given[i].opt == OPT_TYPE &&
            event_type(a->given[i].value, &types[req->n_types++], err))
            return FAIL;
    return OK;
}

int ctl_cmd_events(struct ctl_args *a)
{
    PbWatchEventsRequest req = PB_WATCH_EVENTS_REQUEST__INIT;
    struct ctl_conn c;
    struct ctl_out out;
    struct err err;
    int code = 0, printed = 0;
    PbEventType *types = calloc(a->given_count + 1, sizeof *types);
    ASSERT(types);
    if (describe_events(a, &req, types, &err) ||
        ctl_out_init(&out, a, CTL_TABLE_events, CTL_PRINT_TABLE, &err)) {
        free(types);
        return ctl_usage(&err);
    }
    out.stream = ctl_has(a, OPT_FOLLOW_EVENTS);
    if (ctl_connect(&c, a, &err) ||
        ctl_call(&c, PB_METHOD_watch_events, &req.base, 0, print_row, &out, &err))
        code = ctl_fail(&err);
    if (code && !out.rows)
        ctl_out_drop(&out);
    else
        printed = ctl_out_end(&out);
    ctl_close(&c);
    free(types);
    return code ? code : printed;
}

/* ---- tenants ---- */

static void print_tenants(void *out, const ProtobufCMessage *m)
{
    const PbListTenantsResponse *resp = (const PbListTenantsResponse *)m;
    for (size_t i = 0; i < resp->n_tenants; i++)
        ctl_out_row(out, resp->tenants[i]);
}

int ctl_cmd_tenants(struct ctl_args *a)
{
    PbListTenantsRequest req = PB_LIST_TENANTS_REQUEST__INIT;
    struct ctl_conn c;
    struct ctl_out out;
    struct err err;
    int code = 0;
    if (ctl_out_init(&out, a, CTL_TABLE_tenants, CTL_PRINT_TABLE, &err))
        return ctl_usage(&err);
    if (ctl_connect(&c, a, &err) ||
        ctl_call(&c, PB_METHOD_list_tenants, &req.base, 0, print_tenants, &out, &err))
        code = ctl_fail(&err);
    if (code)
        ctl_out_drop(&out);
    else
        code = ctl_out_end(&out);
    ctl_close(&c);
    return code;
}

/* ---- doctor ---- */

struct doctor {
    struct ctl_out out;
    bool failed;
    char version[64];
};

static void check(struct doctor *d, const char *name, PbDoctorVerdict verdict, const char *found,
                  const char *advice)
{
    PbDoctorCheck c = PB_DOCTOR_CHECK__INIT;
    c.name = (char *)(uintptr_t)name;
    c.verdict = verdict;
    c.found = (char *)(uintptr_t)found;
    c.advice = (char *)(uintptr_t)advice;
    d->failed |= verdict == PB_DOCTOR_VERDICT_FAILED;
    ctl_out_row(&d->out, &c);
}

static void keep_version(void *ctx, const ProtobufCMessage *m)
{
    struct doctor *d = ctx;
    snprintf(d->version, sizeof d->version, "%s", ((const PbDaemon *)m)->version);
}

static void print_checks(void *ctx, const ProtobufCMessage *m)
{
    const PbDoctorResponse *resp = (const PbDoctorResponse *)m;
    struct doctor *d = ctx;
    for (size_t i = 0; i < resp->n_checks; i++) {
        d->failed |= resp->checks[i]->verdict == PB_DOCTOR_VERDICT_FAILED;
        ctl_out_row(&d->out, resp->checks[i]);
    }
}

/* What can be seen from here: is there a daemon, does it answer, is it of our version. */
static res_code_t check_daemon(struct doctor *d, struct ctl_conn *c, const struct ctl_args *a,
                               struct err *err)
{
    PbGetDaemonRequest req = PB_GET_DAEMON_REQUEST__INIT;
    struct ctl_endpoint e;
    char where[PB_PATH_MAX + 300], found[200];
    if (ctl_endpoint_find(&e, a, err) || ctl_connect(c, a, err)) {
        check(d, "daemon", PB_DOCTOR_VERDICT_FAILED, err->text, err->fix ? err->fix : "start vmd");
        return FAIL;
    }
    if (e.tcp)
        snprintf(where, sizeof where, "tcp+tls://%s:%s", e.host, e.port);
    else
        snprintf(where, sizeof where, "unix://%s", e.path);
    check(d, "socket", PB_DOCTOR_VERDICT_OK, where, "");
    if (ctl_call(c, PB_METHOD_get_daemon, &req.base, 10000000000ull, keep_version, d, err)) {
        check(d, "daemon", PB_DOCTOR_VERDICT_FAILED, err->text, "look at vmd's log");
        return FAIL;
    }
    bool same = !strcmp(d->version, VV_VERSION);
    snprintf(found, sizeof found, "vmctl " VV_VERSION ", vmd %s", d->version);
    check(d, "versions", same ? PB_DOCTOR_VERDICT_OK : PB_DOCTOR_VERDICT_WARNING, found,
          same ? "" : "restart vmd after an update, or use vmctl of the same version");
    return OK;
}

int ctl_cmd_doctor(struct ctl_args *a)
{
    PbDoctorRequest req = PB_DOCTOR_REQUEST__INIT;
    struct doctor d = {0};
    struct ctl_conn c = {.t.fd = -1};
    struct err err;
    if (ctl_out_init(&d.out, a, CTL_TABLE_checks, CTL_PRINT_TABLE, &err))
        return ctl_usage(&err);
    if (!check_daemon(&d, &c, a, &err) &&
        ctl_call(&c, PB_METHOD_doctor, &req.base, 60000000000ull, print_checks, &d, &err))
        check(&d, "confinement", PB_DOCTOR_VERDICT_FAILED, err.text, "look at vmd's log");
    ctl_close(&c);
    int code = ctl_out_end(&d.out);
    return d.failed ? CTL_EXIT_ERROR : code;
}

/* ---- version ---- */

static void print_daemon(void *ctx, const ProtobufCMessage *m)
{
    const PbDaemon *d = (const PbDaemon *)m;
    struct ctl_out *out = ctx;
    struct ctl_writer w;
    if (out->print == CTL_PRINT_TABLE) {
        printf("vmd %s, pid %u, %u workers, %u of %u guests running, state in %s\n", d->version,
               d->pid, d->workers, d->guests_running, d->guests, d->state_dir);
        return;
    }
    ctl_w_init(&w, &out->text,
               out->print == CTL_PRINT_YAML    ? CTL_FORM_YAML
               : out->print == CTL_PRINT_JSONL ? CTL_FORM_JSON_LINE
                                               : CTL_FORM_JSON);
    ctl_w_map(&w);
    ctl_w_text(&w, "vmctl", VV_VERSION);
    ctl_w_key(&w, "vmd");
    ctl_emit(&w, m);
    ctl_w_end(&w);
    (void)ctl_w_print(&w);
}

int ctl_cmd_version(struct ctl_args *a)
{
    PbGetDaemonRequest req = PB_GET_DAEMON_REQUEST__INIT;
    struct ctl_endpoint e;
    struct ctl_conn c = {.t.fd = -1};
    struct ctl_out out;
    struct err err;
    int code = 0;
    if (ctl_out_init(&out, a, CTL_TABLE_guests, CTL_PRINT_TABLE, &err))
        return ctl_usage(&err);
    if (out.print == CTL_PRINT_TABLE || out.print == CTL_PRINT_WIDE ||
        out.print == CTL_PRINT_NAME) {
        out.print = CTL_PRINT_TABLE;
        puts("vmctl " VV_VERSION);
        fflush(stdout);
    }
    if (ctl_endpoint_find(&e, a, &err) || ctl_connect_only(&c, &e, &err) ||
        ctl_call(&c, PB_METHOD_get_daemon, &req.base, 0, print_daemon, &out, &err))
        code = ctl_fail(&err);
    ctl_close(&c);
    return code;
}
