#include "daemon/manager/event.h"
#include "daemon/manager/config.h"
#include "daemon/manager/conn.h"
#include "daemon/manager/journal.h"
#include "daemon/manager/metrics.h"
#include "daemon/manager/service.h"
#include "engine/base/log.h"
#include "proto/paths.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct event {
    uint64_t number;
    int64_t time_ns;
    PbEventType type;
    int32_t code;
    uint64_t guest;
    const char *tenant, *subject, *text; /* behind the struct */
};

struct mgr_events {
    uint64_t kept;
    struct event **ring; /* event n is ring[n % kept] */
    uint64_t oldest, next;
    struct list watchers;
};

struct watcher {
    struct list link;
    struct pb_call *call;
    uint64_t next;
    char tenant[64]; /* empty: all of them, and the daemon's own */
    char guest[PB_GUEST_NAME_MAX + 1];
    uint64_t types; /* bits by type; 0: all */
    bool no_follow;
};

res_code_t mgr_events_init(struct mgr *m, struct err *err)
{
    struct mgr_events *e = calloc(1, sizeof *e);
    if (!e || !(e->ring = calloc(m->opt->config->events_kept, sizeof *e->ring))) {
        free(e);
        return err_set(err, ERR_NO_MEMORY, "no memory for events");
    }
    list_init(&e->watchers);
    e->oldest = e->next = 1;
    e->kept = m->opt->config->events_kept;
    m->events = e;
    return OK;
}

void mgr_events_fini(struct mgr *m)
{
    struct mgr_events *e = m->events;
    if (!e)
        return;
    for (uint64_t n = e->oldest; n < e->next; n++)
        free(e->ring[n % e->kept]);
    free(e->ring);
    free(e);
    m->events = NULL;
}

static char *copy(char **at, const char *s)
{
    char *to = *at;
    size_t n = strlen(s) + 1;
    memcpy(to, s, n);
    *at += n;
    return to;
}

/* Rule (3); the number is e->next's. Without memory the event is lost to watchers, who are told by the gap. */
static void keep(struct mgr_events *e, const PbEvent *from, uint64_t number, uint64_t guest)
{
    size_t text = strlen(from->tenant) + strlen(from->subject) + strlen(from->text) + 3;
    struct event *v = malloc(sizeof *v + text);
    if (e->next == e->oldest)
        e->oldest = e->next = number;
    while (e->oldest < e->next && (!v || number != e->next || number - e->oldest >= e->kept)) {
        free(e->ring[e->oldest % e->kept]);
        e->ring[e->oldest++ % e->kept] = NULL;
    }
    if (e->oldest == e->next)
        e->oldest = e->next = number + !v;
    if (!v)
        return;
    char *at = (char *)(v + 1);
    *v = (struct event){number, from->time_ns, from->type, from->code, guest, NULL, NULL, NULL};
    v->tenant = copy(&at, from->tenant);
    v->subject = copy(&at, from->subject);
    v->text = copy(&at, from->text);
    e->ring[number % e->kept] = v;
    e->next = number + 1;
}

static void fill(const struct event *v, PbEvent *out, char cursor[24], char guest[24])
{
    pb_event__init(out);
    snprintf(cursor, 24, "%llu", (unsigned long long)v->number);
    snprintf(guest, 24, "%llu", (unsigned long long)v->guest);
    out->cursor = cursor;
    out->time_ns = v->time_ns;
    out->type = v->type;
    out->tenant = (char *)(uintptr_t)v->tenant;
    out->subject = (char *)(uintptr_t)v->subject;
    if (v->guest)
        out->guest_id = guest;
    out->text = (char *)(uintptr_t)v->text;
    out->code = v->code;
}

void mgr_event(struct mgr *m, PbEventType type, const struct mgr_tenant *tenant,
               const char *subject, uint64_t guest_id, int32_t code, const char *text)
{
    struct mgr_events *e = m->events;
    char cursor[24], guest[24];
    PbEvent out = PB_EVENT__INIT;
    uint64_t number = m->next_event++;
    snprintf(cursor, sizeof cursor, "%llu", (unsigned long long)number);
    snprintf(guest, sizeof guest, "%llu", (unsigned long long)guest_id);
    out.cursor = cursor;
    out.time_ns = mgr_wall_ns();
    out.type = type;
    out.tenant = (char *)(uintptr_t)(tenant ? tenant->name : "");
    out.subject = (char *)(uintptr_t)subject;
    if (guest_id)
        out.guest_id = guest;
    out.text = (char *)(uintptr_t)(text ? text : "");
    out.code = code;
    MGR_RECORD(EVENT, event, &out);
    mgr_journal_put(m, &record);
    mgr_count(m, MGR_METRIC_EVENTS, 1);
    const ProtobufCEnumValue *name =
        protobuf_c_enum_descriptor_get_value(&pb_event_type__descriptor, (int)type);
    log_debug_f(
        LOG_FIELDS({"event", cursor}, {guest_id ? "guest" : "subject", subject[0] ? subject : NULL},
                   {"tenant", tenant ? tenant->name : NULL}),
        "%s%s%s", name ? name->name : "event", text && text[0] ? ": " : "", text ? text : "");
    keep(e, &out, number, guest_id);
    list_for_each_safe(l, &e->watchers) pb_call_wake(list_entry(l, struct watcher, link)->call);
}

static bool number_of(const char *s, uint64_t *out)
{
    char *end;
    if (!s[0] || strspn(s, "0123456789") != strlen(s) || strlen(s) > 19)
        return false;
    *out = strtoull(s, &end, 10);
    return true;
}

res_code_t mgr_event_restore(struct mgr *m, const PbEvent *event, struct err *err)
{
    uint64_t number, guest = 0;
    if (!number_of(event->cursor, &number) || number == 0 || number >= UINT64_MAX / 2)
        return err_set(err, ERR_INVALID, "an event without a number");
    (void)number_of(event->guest_id, &guest);
    if (number >= m->events->next)
        keep(m->events, event, number, guest);
    m->next_event = MAX(m->next_event, number + 1);
    return OK;
}

void mgr_events_snapshot(struct mgr *m)
{
    struct mgr_events *e = m->events;
    for (uint64_t n = e->oldest; n < e->next; n++) {
        char cursor[24], guest[24];
        PbEvent out;
        fill(e->ring[n % e->kept], &out, cursor, guest);
        MGR_RECORD(EVENT, event, &out);
        mgr_journal_put(m, &record);
    }
}

/* ---- watching ---- */

static bool wanted(const struct watcher *w, const struct event *v)
{
    if (w->tenant[0] && strcmp(w->tenant, v->tenant))
        return false;
    if (w->guest[0] && (!v->guest || strcmp(w->guest, v->subject)))
        return false;
    return !w->types || (v->type < 64 && w->types >> v->type & 1);
}

static void end_watch(struct watcher *w, const struct err *err)
{
    struct pb_call *call = w->call;
    list_remove(&w->link);
    free(w);
    call->user = NULL;
    pb_call_finish(call, err);
}

static res_code_t out_of_range(const struct mgr_events *e, uint64_t number, struct err *err)
{
    err_set(err, ERR_RANGE, "events %llu to %llu are gone from the log", (unsigned long long)number,
            (unsigned long long)e->oldest - 1);
    return err_explain(err, "EVENTS_GONE", "event", NULL,
                       "list again, then watch without a cursor");
}

void mgr_watch_pull(struct pb_call *call)
{
    struct watcher *w = call->user;
    struct mgr_events *e = mgr_of_conn(call->conn_ctx)->events;
    struct err err;
    if (!w)
        return;
    if (w->next < e->oldest) { /* rule (2) */
        (void)out_of_range(e, w->next, &err);
        end_watch(w, &err);
        return;
    }
    while (w->next < e->next) {
        const struct event *v = e->ring[w->next++ % e->kept];
        char cursor[24], guest[24];
        PbEvent out;
        if (!wanted(w, v))
            continue;
        fill(v, &out, cursor, guest);
        pb_call_send(call, &out.base);
        return;
    }
    if (w->no_follow)
        end_watch(w, NULL);
}

void mgr_watch_gone(struct pb_call *call)
{
    struct watcher *w = call->user;
    if (w) {
        list_remove(&w->link);
        free(w);
        call->user = NULL;
    }
}

static res_code_t begin_watch(struct mgr *m, const struct pb_call *call, struct watcher *w,
                              const PbWatchEventsRequest *r, struct err *err)
{
    struct mgr_events *e = m->events;
    uint64_t cursor;
    if (r->all_tenants && mgr_require_admin(call, err))
        return FAIL;
    snprintf(w->tenant, sizeof w->tenant, "%s", r->all_tenants ? "" : mgr_caller(call)->name);
    if (strlen(r->guest) >= sizeof w->guest)
        return err_set(err, ERR_NOT_FOUND, "no guest \"%.63s\"", r->guest);
    snprintf(w->guest, sizeof w->guest, "%s", r->guest);
    for (size_t i = 0; i < r->n_types; i++)
        if ((unsigned)r->types[i] - 1 > 62)
            return err_set(err, ERR_INVALID, "types[%zu]: no such type of event", i);
        else
            w->types |= (uint64_t)1 << r->types[i];
    w->no_follow = r->no_follow;
    w->next = r->from_oldest ? e->oldest : e->next;
    if (r->cursor[0] && r->from_oldest)
        return err_set(err, ERR_INVALID, "from_oldest goes without a cursor");
    if (!r->cursor[0])
        return OK;
    if (!number_of(r->cursor, &cursor) || cursor >= MAX(e->next, m->next_event))
        return err_set(err, ERR_INVALID, "cursor \"%.40s\" is none that this daemon gave",
                       r->cursor);
    w->next = cursor + 1;
    return w->next < e->oldest ? out_of_range(e, w->next, err) : OK;
}

void mgr_watch_events(struct pb_call *call, const ProtobufCMessage *msg)
{
    const PbWatchEventsRequest *r = (const PbWatchEventsRequest *)msg;
    struct mgr *m = mgr_of_conn(call->conn_ctx);
    struct watcher *w = calloc(1, sizeof *w);
    struct err err;
    if (!w)
        err_set(&err, ERR_NO_MEMORY, "no memory for a watcher");
    if (!w || begin_watch(m, call, w, r, &err)) {
        free(w);
        pb_call_finish(call, &err);
        return;
    }
    w->call = call;
    call->user = w;
    list_append(&m->events->watchers, &w->link);
    pb_call_wake(call);
}
