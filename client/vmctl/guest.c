/* Commands about guests that are there. */
#include "client/vmctl/out.h"

#include <stdlib.h>
#include <string.h>

static void print_row(void *out, const ProtobufCMessage *m)
{
    ctl_out_row(out, m);
}

/* ---- ps ---- */

#define PAGE_GUESTS 1000

struct ps {
    struct ctl_out out;
    bool all;
    char token[256]; /* of the next page; empty: this was the last */
};

static void print_page(void *ctx, const ProtobufCMessage *m)
{
    const PbListGuestsResponse *resp = (const PbListGuestsResponse *)m;
    struct ps *p = ctx;
    for (size_t i = 0; i < resp->n_guests; i++) {
        PbGuestState state = resp->guests[i]->state;
        if (p->all || (state != PB_GUEST_STATE_ENDED && state != PB_GUEST_STATE_FAILED))
            ctl_out_row(&p->out, resp->guests[i]);
    }
    snprintf(p->token, sizeof p->token, "%s", resp->next_page_token);
}

int ctl_cmd_ps(struct ctl_args *a)
{
    struct ps p = {.all = ctl_has(a, OPT_ALL) || ctl_has(a, OPT_FILTER)};
    struct ctl_conn c;
    struct err err;
    int code = 0;
    if (ctl_out_init(&p.out, a, CTL_TABLE_guests, CTL_PRINT_TABLE, &err))
        return ctl_usage(&err);
    if (ctl_connect(&c, a, &err))
        code = ctl_fail(&err);
    do {
        PbListGuestsRequest req = PB_LIST_GUESTS_REQUEST__INIT;
        req.page_size = PAGE_GUESTS;
        req.page_token = p.token;
        req.all_tenants = ctl_has(a, OPT_ALL_TENANTS);
        if (ctl_has(a, OPT_FILTER))
            req.filter = (char *)(uintptr_t)ctl_value(a, OPT_FILTER);
        if (!code && ctl_call(&c, PB_METHOD_list_guests, &req.base, 0, print_page, &p, &err))
            code = ctl_fail(&err);
    } while (!code && p.token[0]);
    if (code) /* what there is of a list is none */
        ctl_out_drop(&p.out);
    else
        code = ctl_out_end(&p.out);
    ctl_close(&c);
    return code;
}

/* ---- for each guest that is named ---- */

struct each {
    struct ctl_args *a;
    struct ctl_conn c;
    struct ctl_out out;
    bool printing;
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

int ctl_cmd_kill(struct ctl_args *a)
{
    struct each e = {.signo = 9};
    struct err err;
    if (ctl_has(a, OPT_SIGNAL) && ctl_signal(ctl_value(a, OPT_SIGNAL), &e.signo, &err))
        return ctl_usage(&err);
    return for_each(a, &e, kill_one);
}

static res_code_t pause_one(struct each *e, char *name, struct err *err)
{
    PbPauseGuestRequest req = PB_PAUSE_GUEST_REQUEST__INIT;
    req.name = name;
    return ctl_call(&e->c, PB_METHOD_pause_guest, &req.base, 0, NULL, NULL, err);
}

int ctl_cmd_pause(struct ctl_args *a)
{
    struct each e = {0};
    return for_each(a, &e, pause_one);
}

static res_code_t resume_one(struct each *e, char *name, struct err *err)
{
    PbResumeGuestRequest req = PB_RESUME_GUEST_REQUEST__INIT;
    req.name = name;
    return ctl_call(&e->c, PB_METHOD_resume_guest, &req.base, 0, NULL, NULL, err);
}

int ctl_cmd_resume(struct ctl_args *a)
{
    struct each e = {0};
    return for_each(a, &e, resume_one);
}

int ctl_cmd_rename(struct ctl_args *a)
{
    PbRenameGuestRequest req = PB_RENAME_GUEST_REQUEST__INIT;
    req.name = a->pos[0];
    req.new_name = a->pos[1];
    return ctl_order(a, PB_METHOD_rename_guest, &req.base);
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

/* Print what was found, if anything was. */
static int finish(struct ctl_out *out, int code)
{
    if (code && !out->rows) {
        ctl_out_drop(out);
        return code;
    }
    int printed = ctl_out_end(out);
    return code ? code : printed;
}

static res_code_t inspect_one(struct each *e, char *name, struct err *err)
{
    PbGetGuestRequest req = PB_GET_GUEST_REQUEST__INIT;
    req.name = name;
    return ctl_call(&e->c, PB_METHOD_get_guest, &req.base, 0, print_row, &e->out, err);
}

int ctl_cmd_inspect(struct ctl_args *a)
{
    struct each e = {0};
    struct err err;
    if (ctl_out_init(&e.out, a, CTL_TABLE_guests, CTL_PRINT_YAML, &err))
        return ctl_usage(&err);
    e.out.one = a->pos_count == 1;
    int code = for_each(a, &e, inspect_one);
    return finish(&e.out, code);
}

static void print_code(void *ctx, const ProtobufCMessage *m)
{
    struct each *e = ctx;
    int code = ctl_end_code((const PbGuest *)m, !e->printing);
    if (e->printing)
        ctl_out_row(&e->out, m);
    else
        printf("%d\n", code);
}

static res_code_t wait_one(struct each *e, char *name, struct err *err)
{
    PbWaitGuestRequest req = PB_WAIT_GUEST_REQUEST__INIT;
    req.name = name;
    if (!ctl_call(&e->c, PB_METHOD_wait_guest, &req.base, e->timeout_ns, print_code, e, err))
        return OK;
    return err_wrap(err, "%s", name);
}

int ctl_cmd_wait(struct ctl_args *a)
{
    struct each e = {.printing = ctl_has(a, OPT_OUTPUT)};
    struct err err;
    if (ctl_seconds(a, OPT_TIMEOUT, &e.timeout_ns, &err) ||
        ctl_out_init(&e.out, a, CTL_TABLE_guests, CTL_PRINT_NAME, &err))
        return ctl_usage(&err);
    e.out.one = a->pos_count == 1;
    int code = for_each(a, &e, wait_one);
    return e.printing ? finish(&e.out, code) : code;
}

/* ---- logs ---- */

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

static res_code_t tail(const struct ctl_args *a, uint32_t *plus_one, struct err *err)
{
    const char *s = ctl_value(a, OPT_TAIL);
    uint32_t lines = 0;
    if (!s)
        return OK;
    if (strcmp(s, "0") != 0 && ctl_number(a, OPT_TAIL, 1000000000, &lines, err))
        return FAIL;
    *plus_one = lines + 1;
    return OK;
}

int ctl_cmd_logs(struct ctl_args *a)
{
    PbReadLogsRequest req = PB_READ_LOGS_REQUEST__INIT;
    struct ctl_conn c;
    struct err err;
    int code = 0;
    req.name = a->pos[0];
    req.follow = ctl_has(a, OPT_FOLLOW);
    if (ctl_time(a, OPT_SINCE, &req.since_ns, &err) || tail(a, &req.tail_plus_one, &err))
        return ctl_usage(&err);
    if (ctl_connect(&c, a, &err) ||
        ctl_call(&c, PB_METHOD_read_logs, &req.base, 0, print_chunk, NULL, &err))
        code = ctl_fail(&err);
    ctl_close(&c);
    return code;
}
