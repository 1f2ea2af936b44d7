/* A guest and its worker: console bytes both ways, and what the worker says of it. */
#include "daemon/manager/guest.h"
#include "daemon/manager/metrics.h"
#include "daemon/manager/worker.h"
#include "engine/base/log.h"

/* ---- console ---- */

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
    if (g->input_under_way >= MGR_INPUT_BYTES && g->writer)
        pb_call_pause(g->writer->call);
}

void mgr_guest_input_eof(struct mgr_guest *g)
{
    PbWorkerGuest eof = PB_WORKER_GUEST__INIT;
    eof.guest = g->id;
    MGR_TO_WORKER(INPUT_EOF, input_eof, &eof);
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

/* Rule (3). */
void mgr_guest_grant(struct mgr_guest *g)
{
    if (!g->worker)
        return;
    uint64_t behind = 0, under_way = g->granted > g->spent ? g->granted - g->spent : 0;
    list_for_each(l, &g->readers)
    {
        struct mgr_reader *r = list_entry(l, struct mgr_reader, link);
        if (r->hold)
            behind = MAX(behind, mgr_console_behind(&g->console, &r->at));
    }
    if (behind + under_way >= MGR_HOLD_BYTES || under_way >= MGR_CREDIT_BYTES)
        return;
    uint64_t more = MIN(MGR_CREDIT_BYTES - under_way, MGR_HOLD_BYTES - behind - under_way);
    if (more < MGR_CREDIT_BYTES / 2 && under_way)
        return; /* not a message for each byte */
    PbWorkerCredit credit = PB_WORKER_CREDIT__INIT;
    credit.guest = g->id;
    credit.bytes = more;
    MGR_TO_WORKER(CREDIT, credit, &credit);
    g->granted += more;
    mgr_worker_tell(g->worker, &to, -1);
}

void mgr_reader_add(struct mgr_guest *g, struct mgr_reader *r)
{
    r->guest = g;
    list_append(&g->readers, &r->link);
    if (r->writer)
        g->writer = r;
}

void mgr_reader_remove(struct mgr_reader *r)
{
    struct mgr_guest *g = r->guest;
    list_remove(&r->link);
    if (g->writer == r)
        g->writer = NULL;
    r->call->user = NULL;
    free(r);
    bool last = mgr_guest_over(g) && !g->announcing && g->spec->auto_remove;
    if (!last || !list_empty(&g->readers))
        mgr_guest_grant(g);
    else if (mgr_guest_delete(g, NULL))
        UNREACHABLE(); /* it is over */
}

/* ---- what the worker says ---- */

static res_code_t said_output(struct mgr_guest *g, const PbWorkerOutput *o, struct err *err)
{
    if (o->stream < 1 || o->stream > 2 || o->data.len == 0 || o->data.len > MGR_CREDIT_BYTES)
        return err_set(err, ERR_BAD_MESSAGE, "output of %zu bytes on stream %u", o->data.len,
                       o->stream);
    g->spent += o->data.len + MGR_CONSOLE_HEAD;
    if (g->spent > g->granted + MGR_OVERDRAFT_BYTES)
        return err_set(err, ERR_BAD_MESSAGE, "output beyond its credit");
    if (!mgr_console_put(&g->console, o->stream, o->data.data, o->data.len))
        log_error("guest %s: no memory for its console", g->name);
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
    if (g->input_under_way < MGR_INPUT_BYTES / 2 && g->writer)
        pb_call_resume(g->writer->call);
    return OK;
}

static res_code_t said_ended(struct mgr_guest *g, const PbWorkerEnded *e, struct err *err)
{
    static const PbEndKind kinds[] = {PB_END_KIND_EXIT, PB_END_KIND_SIGNAL, PB_END_KIND_LIMIT,
                                      PB_END_KIND_KILLED,
                                      PB_END_KIND_ERROR}; /* by enum vm_end_kind */
    if (e->kind >= ARRAY_LEN(kinds) || e->code < 0 || e->code > 255)
        return err_set(err, ERR_BAD_MESSAGE, "end of kind %u, code %d", e->kind, e->code);
    if (mgr_guest_advance(g, MGR_EV_ENDED, err))
        return FAIL;
    pb_guest_stats__init(&g->stats);
    g->have_stats = true;
    g->stats.cpu_ns = e->cpu_ns;
    g->stats.guest_insns_interpreted = e->guest_insns_t0;
    g->stats.blocks_translated = e->blocks_translated;
    g->stats.translate_ns = e->translate_ns;
    g->stats.syscalls = e->syscalls;
    g->stats.memory_bytes = e->memory_bytes;
    mgr_guest_is_over(g, kinds[e->kind], e->code, e->text);
    return OK;
}

res_t mgr_guest_said(struct mgr_guest *g, const PbFromWorker *m, struct err *err)
{
    switch (m->kind_case) {
    case PB_FROM_WORKER__KIND_STARTED:
        if (mgr_guest_advance(g, MGR_EV_STARTED, err))
            return FAIL;
        mgr_guest_answer(&g->start_waiters, g);
        mgr_guest_wake_readers(g);
        return OK;
    case PB_FROM_WORKER__KIND_REFUSED: {
        struct err why;
        if (g->state == PB_GUEST_STATE_RUNNING || m->refused->code == 0 ||
            m->refused->code >= ERR_CODE_COUNT)
            return err_set(err, ERR_BAD_MESSAGE, "refusal (%u) of a guest in state %d",
                           m->refused->code, (int)g->state);
        err_set(&why, m->refused->code, "%.300s", m->refused->text);
        mgr_guest_refused(g, &why);
        return OK;
    }
    case PB_FROM_WORKER__KIND_OUTPUT:
        return said_output(g, m->output, err);
    case PB_FROM_WORKER__KIND_TAKEN:
        return said_taken(g, m->taken, err);
    case PB_FROM_WORKER__KIND_ENDED:
        return said_ended(g, m->ended, err);
    default:
        return err_set(err, ERR_BAD_MESSAGE, "message of kind %d", (int)m->kind_case);
    }
}
