/* A guest and its worker: console bytes both ways, and what the worker says of it. */
#include "daemon/manager/event.h"
#include "daemon/manager/guest.h"
#include "daemon/manager/stats.h"
#include "daemon/manager/metrics.h"
#include "daemon/manager/worker.h"
#include "engine/base/log.h"
#include "engine/base/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- input ---- */

static void pause_writers(struct mgr_guest *g)
{
    list_for_each(l, &g->writers) pb_call_pause(list_entry(l, struct mgr_reader, writing)->call);
}

void mgr_guest_resume_writers(struct mgr_guest *g)
{
    list_for_each_safe(l, &g->writers)
        pb_call_resume(list_entry(l, struct mgr_reader, writing)->call);
}

void mgr_guest_input(struct mgr_guest *g, const void *p, size_t n)
{
    if (!g->worker || n == 0)
        return;
    PbWorkerInput input = PB_WORKER_INPUT__INIT;
    input.guest = g->id;
    input.data = (ProtobufCBinaryData){n, (uint8_t *)(uintptr_t)p};
    MGR_TO_WORKER(INPUT, input, &input);
    mgr_worker_tell(g->worker, &to, -1);
    g->input_under_way += n;
    if (g->input_under_way >= MGR_INPUT_BYTES)
        pause_writers(g);
}

void mgr_guest_input_eof(struct mgr_guest *g)
{
    PbWorkerGuest eof = PB_WORKER_GUEST__INIT;
    eof.guest = g->id;
    MGR_TO_WORKER(INPUT_EOF, input_eof, &eof);
    g->input_closed = true;
    if (g->worker)
        mgr_worker_tell(g->worker, &to, -1);
}

void mgr_guest_resize(struct mgr_guest *g, uint32_t rows, uint32_t cols)
{
    PbWorkerResize size = PB_WORKER_RESIZE__INIT;
    size.guest = g->id;
    size.rows = rows;
    size.cols = cols;
    MGR_TO_WORKER(RESIZE, resize, &size);
    if (g->worker)
        mgr_worker_tell(g->worker, &to, -1);
}

/* ---- output ---- */

uint64_t mgr_guest_hold_bytes(const struct mgr_guest *g)
{
    return g->console.ring_bytes - MGR_OVERDRAFT_BYTES;
}

/* Rule (3). */
void mgr_guest_grant(struct mgr_guest *g)
{
    if (!g->worker)
        return;
    uint64_t behind = 0, under_way = g->granted > g->spent ? g->granted - g->spent : 0;
    uint64_t hold = mgr_guest_hold_bytes(g);
    list_for_each(l, &g->readers)
    {
        struct mgr_reader *r = list_entry(l, struct mgr_reader, link);
        if (r->hold)
            behind = MAX(behind, mgr_console_behind(&g->console, &r->at));
    }
    if (behind + under_way >= hold || under_way >= MGR_CREDIT_BYTES)
        return;
    uint64_t more = MIN(MGR_CREDIT_BYTES - under_way, hold - behind - under_way);
    if (more < MGR_CREDIT_BYTES / 2 && under_way)
        return; /* not a message for each byte */
    PbWorkerCredit credit = PB_WORKER_CREDIT__INIT;
    credit.guest = g->id;
    credit.bytes = more;
    credit.kept_seq = mgr_console_seq(&g->console);
    MGR_TO_WORKER(CREDIT, credit, &credit);
    g->granted += more;
    mgr_worker_tell(g->worker, &to, -1);
}

void mgr_reader_add(struct mgr_guest *g, struct mgr_reader *r)
{
    r->guest = g;
    list_append(&g->readers, &r->link);
    list_init(&r->writing);
    if (r->writer)
        list_append(&g->writers, &r->writing);
}

void mgr_reader_stop_writing(struct mgr_reader *r)
{
    struct mgr_guest *g = r->guest;
    if (list_empty(&r->writing))
        return;
    list_remove(&r->writing);
    if (list_empty(&g->writers) && !g->spec->tty && !g->input_closed)
        mgr_guest_input_eof(g);
}

void mgr_reader_remove(struct mgr_reader *r)
{
    struct mgr_guest *g = r->guest;
    mgr_reader_stop_writing(r);
    list_remove(&r->link);
    r->call->user = NULL;
    free(r);
    bool last = mgr_guest_over(g) && !g->announcing && g->spec->auto_remove;
    if (!last || !list_empty(&g->readers))
        mgr_guest_grant(g);
    else if (mgr_guest_delete(g, NULL))
        UNREACHABLE(); /* it is over */
}

static res_code_t said_output(struct mgr_guest *g, const PbWorkerOutput *o, struct err *err)
{
    if (o->stream < 1 || o->stream > 2 || o->data.len == 0 || o->data.len > MGR_CREDIT_BYTES)
        return err_set(err, ERR_BAD_MESSAGE, "output of %zu bytes on stream %u", o->data.len,
                       o->stream);
    g->spent += o->data.len + MGR_CONSOLE_HEAD;
    if (g->spent > g->granted + MGR_OVERDRAFT_BYTES)
        return err_set(err, ERR_BAD_MESSAGE, "output beyond its credit");
    if (o->seq != mgr_console_seq(&g->console))
        return err_set(err, ERR_BAD_MESSAGE, "output number %llu, %llu was expected",
                       (unsigned long long)o->seq,
                       (unsigned long long)mgr_console_seq(&g->console));
    if (!mgr_console_put(&g->console, o->stream, o->data.data, o->data.len, mgr_wall_ns()))
        return err_set(err, ERR_BAD_MESSAGE, "no memory for the console of guest %s", g->name);
    mgr_count(g->m, MGR_METRIC_CONSOLE_BYTES, o->data.len);
    mgr_guest_wake_readers(g);
    mgr_guest_grant(g);
    return OK;
}

static res_code_t said_taken(struct mgr_guest *g, const PbWorkerTaken *t, struct err *err)
{
    if (t->bytes > g->input_under_way)
        return err_set(err, ERR_BAD_MESSAGE, "more input taken than was given");
    g->input_under_way -= t->bytes;
    if (g->input_under_way < MGR_INPUT_BYTES / 2)
        mgr_guest_resume_writers(g);
    return OK;
}

/* ---- the rest of what the worker says ---- */

static void keep_stats(struct mgr_guest *g, const PbGuestStats *stats)
{
    size_t n = protobuf_c_message_get_packed_size(&stats->base);
    uint8_t *bytes = malloc(n ? n : 1);
    PbGuestStats *copy = NULL;
    if (bytes) {
        protobuf_c_message_pack(&stats->base, bytes);
        copy = pb_guest_stats__unpack(NULL, n, bytes);
    }
    free(bytes);
    if (!copy)
        return; /* the older figures stay */
    if (g->stats)
        pb_guest_stats__free_unpacked(g->stats, NULL);
    g->stats = copy;
    uint64_t now = os_now_ns();
    g->stats->wall_ns = g->start_mono_ns ? now - g->start_mono_ns : 0;
}

static res_code_t said_ended(struct mgr_guest *g, const PbWorkerEnded *e, struct err *err)
{
    static const PbEndKind kinds[] = {PB_END_KIND_EXIT, PB_END_KIND_SIGNAL, PB_END_KIND_LIMIT,
                                      PB_END_KIND_KILLED,
                                      PB_END_KIND_ERROR}; /* by enum vm_end_kind */
    if (e->kind >= ARRAY_LEN(kinds) || e->code < 0 || e->code > 255 || !e->stats)
        return err_set(err, ERR_BAD_MESSAGE, "end of kind %u, code %d", e->kind, e->code);
    keep_stats(g, e->stats);
    mgr_stats_ended(g->m, e->stats);
    g->have_fault = e->fault;
    if (e->fault) {
        g->fault_pc = e->fault->pc;
        g->fault_address = e->fault->address;
        snprintf(g->fault_insn, sizeof g->fault_insn, "%s", e->fault->instruction);
    }
    PbWorkerGuest forget = PB_WORKER_GUEST__INIT;
    forget.guest = g->id;
    MGR_TO_WORKER(FORGET, forget, &forget);
    struct mgr_worker *w = g->worker;
    if (mgr_guest_advance(g, MGR_EV_ENDED, err))
        return FAIL;
    mgr_worker_tell(w, &to, -1); /* sent after the end is in the journal: before the loop sleeps */
    mgr_guest_is_over(g, kinds[e->kind], e->code, e->text);
    return OK;
}

static res_code_t said_refused(struct mgr_guest *g, const PbWorkerRefused *r, struct err *err)
{
    struct err why;
    if (g->state == PB_GUEST_STATE_RUNNING || r->code == 0 || r->code >= ERR_CODE_COUNT)
        return err_set(err, ERR_BAD_MESSAGE, "refusal (%u) of a guest in state %d", r->code,
                       (int)g->state);
    err_set(&why, r->code, "%.300s", r->text);
    mgr_guest_refused(g, &why);
    return OK;
}

static res_code_t said_started(struct mgr_guest *g, struct err *err)
{
    if (mgr_guest_advance(g, MGR_EV_STARTED, err))
        return FAIL;
    mgr_worker_started(g);
    mgr_guest_runs(g, os_now_ns());
    mgr_event(g->m, PB_EVENT_TYPE_GUEST_STARTED, g->tenant, g->name, g->id, 0, NULL);
    mgr_guest_answer(&g->start_waiters, g);
    mgr_guest_wake_readers(g);
    return OK;
}

static res_code_t said_paused(struct mgr_guest *g, bool paused, struct err *err)
{
    PbGuestState was = g->state;
    if (mgr_guest_advance(g, paused ? MGR_EV_PAUSED : MGR_EV_RESUMED, err))
        return FAIL;
    if (g->state != was)
        mgr_event(g->m, paused ? PB_EVENT_TYPE_GUEST_PAUSED : PB_EVENT_TYPE_GUEST_RESUMED,
                  g->tenant, g->name, g->id, 0, NULL);
    mgr_guest_answer(&g->pause_waiters, g);
    return OK;
}

res_t mgr_guest_said(struct mgr_guest *g, const PbFromWorker *m, struct err *err)
{
    switch (m->kind_case) {
    case PB_FROM_WORKER__KIND_STARTED:
        return said_started(g, err);
    case PB_FROM_WORKER__KIND_REFUSED:
        return said_refused(g, m->refused, err);
    case PB_FROM_WORKER__KIND_OUTPUT:
        return said_output(g, m->output, err);
    case PB_FROM_WORKER__KIND_TAKEN:
        return said_taken(g, m->taken, err);
    case PB_FROM_WORKER__KIND_ENDED:
        return said_ended(g, m->ended, err);
    case PB_FROM_WORKER__KIND_PAUSED:
    case PB_FROM_WORKER__KIND_RESUMED:
        return said_paused(g, m->kind_case == PB_FROM_WORKER__KIND_PAUSED, err);
    case PB_FROM_WORKER__KIND_STATS:
        if (m->stats->stats)
            keep_stats(g, m->stats->stats);
        mgr_stats_came(g);
        return OK;
    default:
        return err_set(err, ERR_BAD_MESSAGE, "message of kind %d", (int)m->kind_case);
    }
}

void mgr_guest_adopted(struct mgr_guest *g, const PbWorkerHas *has)
{
    PbWorkerAdopt adopt = PB_WORKER_ADOPT__INIT;
    struct err err;
    adopt.guest = g->id;
    adopt.console_seq = mgr_console_seq(&g->console);
    adopt.console_credit = g->granted = MGR_CREDIT_BYTES;
    g->spent = 0;
    if (g->state == PB_GUEST_STATE_STARTING && mgr_guest_advance(g, MGR_EV_STARTED, &err))
        log_error_f(MGR_ABOUT(g), "%s", err.text);
    if (has->paused != (g->state == PB_GUEST_STATE_PAUSED) &&
        mgr_guest_advance(g, has->paused ? MGR_EV_PAUSED : MGR_EV_RESUMED, &err))
        log_error_f(MGR_ABOUT(g), "%s", err.text);
    MGR_TO_WORKER(ADOPT, adopt, &adopt);
    mgr_worker_tell(g->worker, &to, -1);
    mgr_event(g->m, PB_EVENT_TYPE_GUEST_ADOPTED, g->tenant, g->name, g->id, 0, NULL);
    mgr_guest_runs(g, g->start_mono_ns);
    if (g->kill_sent)
        mgr_guest_send_kill(g);
}
