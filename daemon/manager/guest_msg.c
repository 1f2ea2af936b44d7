/* A guest as clients see it. */
#include "daemon/manager/guest.h"
#include "daemon/manager/worker.h"

#include <stdio.h>

static void fill_end(const struct mgr_guest *g, struct mgr_guest_msg *m)
{
    pb_guest_end__init(&m->end);
    m->end.kind = g->end_kind;
    m->end.code = g->end_code;
    m->end.text = (char *)(uintptr_t)g->end_text;
    m->end.by = (char *)(uintptr_t)g->end_by;
    if (g->have_fault) {
        pb_guest_fault__init(&m->fault);
        m->fault.pc = g->fault_pc;
        m->fault.address = g->fault_address;
        m->fault.instruction = (char *)(uintptr_t)g->fault_insn;
        m->end.fault = &m->fault;
    }
    m->guest.end = &m->end;
}

void mgr_guest_fill(const struct mgr_guest *g, struct mgr_guest_msg *m)
{
    PbGuest *out = &m->guest;
    const PbCreateGuestRequest *spec = g->spec;
    pb_guest__init(out);
    snprintf(m->id, sizeof m->id, "%llu", (unsigned long long)g->id);
    out->name = (char *)(uintptr_t)g->name;
    out->state = g->state;
    out->image = spec->image;
    out->image_digest = (char *)(uintptr_t)g->digest;
    out->n_args = spec->n_args;
    out->args = spec->args;
    out->tty = spec->tty;
    out->create_time_ns = g->create_time_ns;
    out->start_time_ns = g->start_time_ns;
    out->end_time_ns = g->end_time_ns;
    out->worker_pid = g->worker_pid;
    out->console_bytes = mgr_console_seq(&g->console);
    out->tenant = g->tenant->name;
    out->id = m->id;
    if (spec->restart) {
        m->restart = *spec->restart;
        out->restart = &m->restart;
    }
    out->restarts = g->restarts;
    out->limits = (PbGuestLimits *)(uintptr_t)&g->limits;
    out->n_labels = spec->n_labels;
    out->labels = spec->labels;
    out->n_env = spec->n_env;
    out->env = spec->env;
    out->cwd = spec->cwd;
    out->uid = spec->uid;
    out->gid = spec->gid;
    out->vcpus = spec->vcpus;
    out->window_bits = spec->window_bits;
    list_for_each(l, &g->readers) out->readers++;
    out->console_dropped_bytes = g->dropped;
    if (mgr_guest_over(g) || g->state == PB_GUEST_STATE_RESTARTING)
        fill_end(g, m);
    out->stats = g->stats;
}

void mgr_guest_reply(struct pb_call *call, const struct mgr_guest *g)
{
    struct mgr_guest_msg m;
    mgr_guest_fill(g, &m);
    pb_call_reply(call, &m.guest.base);
}
