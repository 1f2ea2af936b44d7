/* Guests, events and workers into the journal, and back from it when the daemon starts. */
#include "daemon/manager/event.h"
#include "daemon/manager/guest.h"
#include "daemon/manager/image.h"
#include "daemon/manager/journal.h"
#include "daemon/manager/worker.h"
#include "engine/base/log.h"
#include "engine/base/os.h"
#include "proto/paths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A worker that the journal names; in m->found until its guests are looked at. */
struct mgr_found_worker {
    UT_hash_handle hh;
    uint64_t id;
    uint32_t pid;
    uint64_t start_ticks;
    char tenant[64];
    struct mgr_worker *worker; /* adopted, or NULL */
    char why[256];             /* not */
};

void mgr_guest_record(const struct mgr_guest *g)
{
    PbStateGuest s = PB_STATE_GUEST__INIT;
    struct mgr_guest_msg m;
    mgr_guest_fill(g, &m);
    s.id = g->id;
    s.name = (char *)(uintptr_t)g->name;
    s.tenant = g->tenant->name;
    s.digest = (char *)(uintptr_t)g->digest;
    s.spec = g->spec;
    s.asked = g->asked;
    s.state = g->state;
    s.end = m.guest.end;
    s.stats = mgr_guest_running(g) ? NULL : g->stats;
    s.create_time_ns = g->create_time_ns;
    s.start_time_ns = g->start_time_ns;
    s.end_time_ns = g->end_time_ns;
    s.restarts = g->restarts;
    s.restarts_in_a_row = g->row;
    s.worker = g->worker_id;
    s.kill_sent = g->kill_sent;
    s.stopping_by = (char *)(uintptr_t)g->stopping_by;
    MGR_RECORD(GUEST, guest, &s);
    mgr_journal_put(g->m, &record);
}

void mgr_restore_snapshot(struct mgr *m)
{
    mgr_workers_snapshot(m);
    list_for_each(l, &m->guests) mgr_guest_record(list_entry(l, struct mgr_guest, link));
    mgr_events_snapshot(m);
}

/* ---- reading ---- */

static struct mgr_tenant *tenant_of(struct mgr *m, const char *name, struct err *err)
{
    struct mgr_tenant *t = mgr_tenant_find(m, name);
    if (!t && !mgr_tenant_keep(m, name, &t, err))
        log_warn("tenant \"%s\" is no longer configured; its guests are kept", name);
    return t;
}

static void restore_end(struct mgr_guest *g, const PbGuestEnd *end)
{
    g->end_kind = end->kind;
    g->end_code = end->code;
    snprintf(g->end_text, sizeof g->end_text, "%s", end->text);
    snprintf(g->end_by, sizeof g->end_by, "%s", end->by);
    g->have_fault = end->fault;
    if (end->fault) {
        g->fault_pc = end->fault->pc;
        g->fault_address = end->fault->address;
        snprintf(g->fault_insn, sizeof g->fault_insn, "%s", end->fault->instruction);
    }
}

static res_code_t restore_stats(struct mgr_guest *g, const PbGuestStats *stats, struct err *err)
{
    size_t n = protobuf_c_message_get_packed_size(&stats->base);
    CLEANUP(free_ptr) uint8_t *bytes = malloc(n ? n : 1);
    if (g->stats)
        pb_guest_stats__free_unpacked(g->stats, NULL);
    g->stats = NULL;
    if (!bytes)
        return err_set(err, ERR_NO_MEMORY, "no memory for a guest");
    protobuf_c_message_pack(&stats->base, bytes);
    g->stats = pb_guest_stats__unpack(NULL, n, bytes);
    return OK;
}

static void set_state(struct mgr_guest *g, PbGuestState state)
{
    struct mgr *m = g->m;
    bool was_over = mgr_guest_over(g), was_running = mgr_guest_running(g);
    m->by_state[g->state]--;
    m->by_state[state]++;
    g->state = state;
    if (mgr_guest_running(g) != was_running)
        was_running ? m->guests_active-- : m->guests_active++;
    if (mgr_guest_over(g) != was_over)
        was_over ? g->tenant->used[MGR_QUOTA_GUESTS]++ : g->tenant->used[MGR_QUOTA_GUESTS]--;
}

static res_code_t restore_guest(struct mgr *m, const PbStateGuest *s, struct err *err)
{
    struct mgr_guest *g = mgr_guest_by_id(m, s->id);
    if (s->id == 0 || !pb_guest_name_valid(s->name) || !s->spec || !pb_digest_valid(s->digest) ||
        s->state <= 0 || s->state >= MGR_STATES)
        return err_set(err, ERR_INVALID, "guest %llu makes no sense", (unsigned long long)s->id);
    if (!g) {
        struct mgr_tenant *t = tenant_of(m, s->tenant, err);
        if (!t || !(g = mgr_guest_enter(m, t, s->id, s->name, s->asked, s->spec, s->digest, err)))
            return FAIL;
        m->next_guest_id = MAX(m->next_guest_id, s->id + 1);
    } else if (strcmp(g->name, s->name)) {
        mgr_guest_set_name(g, s->name);
    }
    set_state(g, s->state);
    if (s->end)
        restore_end(g, s->end);
    g->create_time_ns = s->create_time_ns;
    g->start_time_ns = s->start_time_ns;
    g->end_time_ns = s->end_time_ns;
    g->restarts = s->restarts;
    g->row = s->restarts_in_a_row;
    g->worker_id = s->worker;
    g->kill_sent = s->kill_sent;
    snprintf(g->stopping_by, sizeof g->stopping_by, "%s", s->stopping_by);
    return s->stats ? restore_stats(g, s->stats, err) : OK;
}

static res_code_t restore_worker(struct mgr *m, const PbStateWorker *s, struct err *err)
{
    struct mgr_found_worker *w;
    HASH_FIND(hh, m->found, &s->id, sizeof s->id, w);
    m->next_worker = MAX(m->next_worker, s->id + 1);
    if (s->gone) {
        if (w) {
            HASH_DEL(m->found, w);
            free(w);
        }
        return OK;
    }
    if (!w) {
        if (!(w = calloc(1, sizeof *w)))
            return err_set(err, ERR_NO_MEMORY, "no memory for a worker");
        w->id = s->id;
        HASH_ADD(hh, m->found, id, sizeof w->id, w);
    }
    w->pid = s->pid;
    w->start_ticks = s->start_ticks;
    snprintf(w->tenant, sizeof w->tenant, "%s", s->tenant);
    return OK;
}

res_t mgr_restore_record(struct mgr *m, const PbStateRecord *r, struct err *err)
{
    struct mgr_guest *g;
    switch (r->kind_case) {
    case PB_STATE_RECORD__KIND_GUEST:
        return restore_guest(m, r->guest, err);
    case PB_STATE_RECORD__KIND_GONE:
        if ((g = mgr_guest_by_id(m, r->gone->guest)))
            mgr_guest_leave(g, true);
        return OK;
    case PB_STATE_RECORD__KIND_EVENT:
        return mgr_event_restore(m, r->event, err);
    case PB_STATE_RECORD__KIND_WORKER:
        return restore_worker(m, r->worker, err);
    default:
        return err_set(err, ERR_INVALID, "a record of kind %d; is it a later vmd's?",
                       (int)r->kind_case);
    }
}

/* ---- what becomes of those that ran ---- */

static struct mgr_worker *worker_of(struct mgr *m, uint64_t id, const char **why)
{
    struct mgr_found_worker *w;
    HASH_FIND(hh, m->found, &id, sizeof id, w);
    *why = !w                      ? "the daemon ended while it waited for a worker"
           : mgr_orphan_seconds(m) ? w->why
                                   : "the daemon was started again; guests end with it";
    return w && mgr_orphan_seconds(m) ? w->worker : NULL;
}

/* Those without guests of ours as well: they are told to go. */
static void find_worker(struct mgr *m, struct mgr_found_worker *w)
{
    struct err err;
    PbStateWorker s = PB_STATE_WORKER__INIT;
    s.id = w->id;
    s.pid = w->pid;
    s.start_ticks = w->start_ticks;
    s.tenant = w->tenant;
    if (!mgr_worker_adopt(m, &s, &w->worker, &err))
        return;
    snprintf(w->why, sizeof w->why, "%.250s", err.text);
    s.gone = true;
    MGR_RECORD(WORKER, worker, &s);
    mgr_journal_put(m, &record);
}

/* How long it has run, from the wall clock: its own monotonic time ended with the daemon. */
static uint64_t mono_start(int64_t start_time_ns)
{
    int64_t ran = mgr_wall_ns() - start_time_ns;
    uint64_t now = os_now_ns();
    return ran > 0 && (uint64_t)ran < now ? now - (uint64_t)ran : now;
}

static void look_at(struct mgr_guest *g)
{
    struct mgr *m = g->m;
    const char *why;
    mgr_console_restore(&g->console);
    if (g->state == PB_GUEST_STATE_RESTARTING) {
        mgr_guest_restart_again(g);
        return;
    }
    if (!mgr_guest_running(g)) {
        g->worker_id = 0;
        return;
    }
    mgr_guest_charge_anyway(g);
    g->start_mono_ns = mono_start(g->start_time_ns);
    struct mgr_worker *w = worker_of(m, g->worker_id, &why);
    if (w)
        mgr_worker_expect(w, g);
    else
        mgr_guest_lost(g, why);
}

void mgr_restore_running(struct mgr *m)
{
    struct mgr_found_worker *w, *next;
    HASH_ITER(hh, m->found, w, next) find_worker(m, w);
    list_for_each_safe(l, &m->guests) look_at(list_entry(l, struct mgr_guest, link));
    HASH_ITER(hh, m->found, w, next)
    {
        HASH_DEL(m->found, w);
        free(w);
    }
}
