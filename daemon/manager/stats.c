/* WatchStats: figures of guests, once per interval. */
#include "daemon/manager/stats.h"
#include "daemon/manager/conn.h"
#include "daemon/manager/metrics.h"
#include "daemon/manager/service.h"
#include "daemon/manager/worker.h"
#include "engine/base/log.h"
#include "engine/base/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MS 20 /* for workers to answer before what is known is sent */

struct stats_watch {
    struct pb_call *call;
    struct mgr *m;
    const struct mgr_tenant *tenant; /* NULL: all */
    uint64_t guest;                  /* 0: all */
    uint32_t interval_ms;
    bool asked, due;
    struct mgr_deadline timer;
};

void mgr_stats_came(struct mgr_guest *g)
{
    (void)g; /* the watchers' timers send what is known by then */
}

void mgr_stats_ended(struct mgr *m, const PbGuestStats *stats)
{
    for (size_t i = 0; i < stats->n_counters; i++)
        if (!mgr_count_engine(m, stats->counters[i]->name, stats->counters[i]->value))
            log_debug("a worker tells of a counter \"%.40s\"", stats->counters[i]->name);
}

static void ask(struct mgr_guest *g)
{
    PbWorkerGuest which = PB_WORKER_GUEST__INIT;
    which.guest = g->id;
    MGR_TO_WORKER(STATS, stats, &which);
    if (g->worker && g->state != PB_GUEST_STATE_STARTING)
        mgr_worker_tell(g->worker, &to, -1);
}

void mgr_stats_ask(struct mgr *m, const struct mgr_tenant *t)
{
    list_for_each(l, &m->guests)
    {
        struct mgr_guest *g = list_entry(l, struct mgr_guest, link);
        if (!t || g->tenant == t)
            ask(g);
    }
}

static bool watched(const struct stats_watch *w, const struct mgr_guest *g)
{
    return mgr_guest_running(g) &&
           (w->guest ? w->guest == g->id : !w->tenant || w->tenant == g->tenant);
}

static void end(struct stats_watch *w, const struct err *err)
{
    struct pb_call *call = w->call;
    mgr_deadline_clear(&w->m->timers, &w->timer);
    free(w);
    call->user = NULL;
    pb_call_finish(call, err);
}

/* Alternately: ask, and send what came. */
static void tick(struct mgr_deadline *d)
{
    struct stats_watch *w = container_of(d, struct stats_watch, timer);
    struct err err;
    uint64_t next = ANSWER_MS;
    if (w->asked) {
        w->asked = false;
        w->due = true;
        pb_call_wake(w->call);
        next = w->interval_ms > ANSWER_MS ? w->interval_ms - ANSWER_MS : 1;
    } else {
        w->asked = true;
        if (w->guest) {
            struct mgr_guest *g = mgr_guest_by_id(w->m, w->guest);
            if (g)
                ask(g);
        } else {
            mgr_stats_ask(w->m, w->tenant);
        }
    }
    if (mgr_deadline_set(&w->m->timers, d, next, tick, &err))
        log_error("%s", err.text);
}

void mgr_stats_pull(struct pb_call *call)
{
    struct stats_watch *w = call->user;
    PbWatchStatsResponse resp = PB_WATCH_STATS_RESPONSE__INIT;
    struct err err;
    if (!w || !w->due)
        return;
    w->due = false;
    struct mgr *m = w->m;
    struct mgr_guest_msg *all = calloc(m->guest_count + 1, sizeof *all);
    PbGuest **pointers = calloc(m->guest_count + 1, sizeof *pointers);
    if (!all || !pointers) {
        free(all);
        free(pointers);
        err_set(&err, ERR_NO_MEMORY, "no memory for figures of %u guests", m->guest_count);
        end(w, &err);
        return;
    }
    list_for_each(l, &m->guests)
    {
        const struct mgr_guest *g = list_entry(l, struct mgr_guest, link);
        if (!watched(w, g))
            continue;
        mgr_guest_fill(g, &all[resp.n_guests]);
        pointers[resp.n_guests] = &all[resp.n_guests].guest;
        resp.n_guests++;
    }
    resp.guests = pointers;
    resp.time_ns = os_now_ns();
    bool gone = w->guest && resp.n_guests == 0;
    pb_call_send(call, &resp.base);
    free(all);
    free(pointers);
    if (gone) /* of one guest that runs no more: that was the last */
        end(w, NULL);
}

void mgr_stats_gone(struct pb_call *call)
{
    struct stats_watch *w = call->user;
    if (!w)
        return;
    mgr_deadline_clear(&w->m->timers, &w->timer);
    free(w);
    call->user = NULL;
}

void mgr_watch_stats(struct pb_call *call, const ProtobufCMessage *msg)
{
    const PbWatchStatsRequest *r = (const PbWatchStatsRequest *)msg;
    struct mgr *m = mgr_of_conn(call->conn_ctx);
    struct mgr_tenant *t = mgr_caller(call);
    struct mgr_guest *g = NULL;
    struct err err;
    struct stats_watch *w = NULL;
    if (r->interval_ms && (r->interval_ms < 100 || r->interval_ms > 60000))
        err_set(&err, ERR_INVALID, "interval_ms is %u; 100 to 60000, or 0", r->interval_ms);
    else if ((r->all_tenants && mgr_require_admin(call, &err)) ||
             (r->name[0] && mgr_guest_find(m, t, r->name, &g, &err)))
        ; /* err says why */
    else if (!(w = calloc(1, sizeof *w)))
        err_set(&err, ERR_NO_MEMORY, "no memory for a watcher");
    if (!w) {
        pb_call_finish(call, &err);
        return;
    }
    w->call = call;
    w->m = m;
    w->tenant = r->all_tenants ? NULL : t;
    w->guest = g ? g->id : 0;
    w->interval_ms = r->interval_ms ? r->interval_ms : 1000;
    call->user = w;
    tick(&w->timer);
}
