#include "daemon/manager/service.h"
#include "daemon/manager/config.h"
#include "daemon/manager/conn.h"
#include "daemon/manager/guest.h"
#include "daemon/manager/image.h"
#include "proto/daemon.pb-c.h"
#include "proto/message.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GRACE_MS_MAX 3600000

/* ---- calls that wait ---- */

res_t mgr_waiter_add(struct list *waiters, struct pb_call *call, struct err *err)
{
    struct mgr_waiter *w = calloc(1, sizeof *w);
    if (!w)
        return err_set(err, ERR_NO_MEMORY, "no memory for a waiting call");
    w->call = call;
    call->user = w;
    list_append(waiters, &w->link);
    return OK;
}

static void drop_waiter(struct pb_call *call)
{
    struct mgr_waiter *w = call->user;
    call->user = NULL;
    if (w) {
        list_remove(&w->link);
        free(w);
    }
}

struct pb_call *mgr_waiter_take(struct list *waiters)
{
    if (list_empty(waiters))
        return NULL;
    struct pb_call *call = list_entry(waiters->next, struct mgr_waiter, link)->call;
    drop_waiter(call);
    return call;
}

void mgr_wait_gone(struct pb_call *call)
{
    drop_waiter(call);
}

/* ---- handlers ---- */

static struct mgr *mgr_of(const struct pb_call *call)
{
    return mgr_of_conn(call->conn_ctx);
}

static bool same_request(const PbCreateGuestRequest *a, const PbCreateGuestRequest *b)
{
    struct buf x = {0}, y = {0};
    pb_pack_child(&x, &a->base);
    pb_pack_child(&y, &b->base);
    bool same = !x.failed && !y.failed && x.len == y.len && !memcmp(x.data, y.data, x.len);
    buf_fini(&x);
    buf_fini(&y);
    return same;
}

/* The guest that an earlier call with the same request_id made; NULL: there is none. */
static res_code_t find_request(struct mgr *m, struct mgr_tenant *t, const PbCreateGuestRequest *r,
                               struct mgr_guest **g, struct err *err)
{
    *g = NULL;
    if (!r->request_id[0])
        return OK;
    struct mgr_guest *found = mgr_guest_by_request(m, t, r->request_id);
    if (!found ||
        mgr_wall_ns() - found->create_time_ns > (int64_t)m->config->clients_request_ids_ns)
        return OK;
    if (!same_request(found->asked, r)) {
        err_set(err, ERR_INVALID, "request_id \"%s\" was used for another guest, \"%s\"",
                r->request_id, found->name);
        return err_explain(err, "REQUEST_ID_REUSED", "guest", found->name, "take a new request_id");
    }
    *g = found;
    return OK;
}

void mgr_create_guest(struct pb_call *call, const ProtobufCMessage *msg)
{
    const PbCreateGuestRequest *r = (const PbCreateGuestRequest *)msg;
    struct mgr *m = mgr_of(call);
    struct mgr_tenant *t = mgr_caller(call);
    char digest[MGR_DIGEST_CHARS];
    struct mgr_guest *g = NULL;
    struct err err;
    if (find_request(m, t, r, &g, &err)) {
        pb_call_finish(call, &err);
        return;
    }
    if (g) {
        mgr_guest_reply(call, g);
        return;
    }
    struct arena a;
    PbCreateGuestRequest spec;
    arena_init(&a, 0);
    if (!r->image[0])
        err_set(&err, ERR_INVALID, "image is empty; \"vmctl image ls\" shows what there is");
    if (!r->image[0] || mgr_image_resolve(m, t, r->image, digest, &err) ||
        mgr_spec_make(r, mgr_image_config(m, t, digest), (uint32_t)m->config->limits_vcpus, &a,
                      &spec, &err) ||
        (r->validate_only ? mgr_guest_admit(m, t, &spec, &err)
                          : mgr_guest_new(m, t, r, &spec, digest, &g, &err))) {
        pb_call_finish(call, &err);
    } else if (g) {
        mgr_guest_reply(call, g);
    } else {
        PbGuest checked = PB_GUEST__INIT;
        checked.name = r->name;
        checked.image = r->image;
        checked.image_digest = digest;
        checked.tenant = t->name;
        pb_call_reply(call, &checked.base);
    }
    arena_fini(&a);
}

/* Find the guest, or answer that there is none. */
static struct mgr_guest *find(struct pb_call *call, const char *name)
{
    struct mgr_guest *g;
    struct err err;
    if (!mgr_guest_find(mgr_of(call), mgr_caller(call), name, &g, &err))
        return g;
    pb_call_finish(call, &err);
    return NULL;
}

static void refuse_waiting(struct pb_call *call, const struct err *err)
{
    drop_waiter(call);
    pb_call_finish(call, err);
}

void mgr_start_guest(struct pb_call *call, const ProtobufCMessage *msg)
{
    struct mgr_guest *g = find(call, ((const PbStartGuestRequest *)msg)->name);
    struct err err;
    if (g && (mgr_waiter_add(&g->start_waiters, call, &err) || mgr_guest_start(g, &err)))
        refuse_waiting(call, &err);
}

static void stop_and_wait(struct pb_call *call, struct mgr_guest *g, uint64_t grace_ms)
{
    struct err err;
    if (mgr_waiter_add(&g->end_waiters, call, &err) ||
        mgr_guest_stop(g, grace_ms, mgr_caller(call)->name, &err))
        refuse_waiting(call, &err);
}

void mgr_stop_guest(struct pb_call *call, const ProtobufCMessage *msg)
{
    const PbStopGuestRequest *r = (const PbStopGuestRequest *)msg;
    struct err err;
    if (r->grace_ms > GRACE_MS_MAX) {
        err_set(&err, ERR_INVALID, "grace_ms is %u; at most %d", r->grace_ms, GRACE_MS_MAX);
        pb_call_finish(call, &err);
        return;
    }
    struct mgr_guest *g = find(call, r->name);
    if (g)
        stop_and_wait(call, g, r->grace_ms);
}

void mgr_kill_guest(struct pb_call *call, const ProtobufCMessage *msg)
{
    const PbKillGuestRequest *r = (const PbKillGuestRequest *)msg;
    struct mgr_guest *g = find(call, r->name);
    struct err err;
    if (!g)
        return;
    if (r->signal > 64)
        err_set(&err, ERR_INVALID, "signal %u; 1 to 64", r->signal);
    else if (g->state == PB_GUEST_STATE_CREATED)
        err_set(&err, ERR_STATE, "guest \"%s\" was not started; remove it instead", g->name);
    else if (r->signal == 0 || r->signal == 9)
        return stop_and_wait(call, g, 0);
    else if (!mgr_guest_signal(g, r->signal, mgr_caller(call)->name, &err))
        return mgr_guest_reply(call, g);
    pb_call_finish(call, &err);
}

void mgr_get_guest(struct pb_call *call, const ProtobufCMessage *msg)
{
    struct mgr_guest *g = find(call, ((const PbGetGuestRequest *)msg)->name);
    if (g)
        mgr_guest_reply(call, g);
}

static void pause_or_resume(struct pb_call *call, struct mgr_guest *g, bool pause)
{
    struct err err;
    if (g && (mgr_waiter_add(&g->pause_waiters, call, &err) || mgr_guest_pause(g, pause, &err)))
        refuse_waiting(call, &err);
}

void mgr_pause_guest(struct pb_call *call, const ProtobufCMessage *msg)
{
    pause_or_resume(call, find(call, ((const PbPauseGuestRequest *)msg)->name), true);
}

void mgr_resume_guest(struct pb_call *call, const ProtobufCMessage *msg)
{
    pause_or_resume(call, find(call, ((const PbResumeGuestRequest *)msg)->name), false);
}

void mgr_rename_guest(struct pb_call *call, const ProtobufCMessage *msg)
{
    const PbRenameGuestRequest *r = (const PbRenameGuestRequest *)msg;
    struct mgr_guest *g = find(call, r->name);
    struct err err;
    if (!g)
        return;
    if (mgr_guest_rename(g, r->new_name, &err))
        pb_call_finish(call, &err);
    else
        mgr_guest_reply(call, g);
}

void mgr_delete_guest(struct pb_call *call, const ProtobufCMessage *msg)
{
    const PbDeleteGuestRequest *r = (const PbDeleteGuestRequest *)msg;
    struct mgr_guest *g = find(call, r->name);
    struct err err;
    if (!g)
        return;
    if (mgr_guest_running(g) && r->force) {
        if (mgr_waiter_add(&g->delete_waiters, call, &err) ||
            mgr_guest_stop(g, 0, mgr_caller(call)->name, &err))
            refuse_waiting(call, &err);
        return;
    }
    PbDeleteGuestResponse done = PB_DELETE_GUEST_RESPONSE__INIT;
    if (mgr_guest_delete(g, &err))
        pb_call_finish(call, &err);
    else
        pb_call_reply(call, &done.base);
}

void mgr_wait_guest(struct pb_call *call, const ProtobufCMessage *msg)
{
    struct mgr_guest *g = find(call, ((const PbWaitGuestRequest *)msg)->name);
    struct err err;
    if (!g)
        return;
    if (mgr_guest_over(g))
        mgr_guest_reply(call, g);
    else if (mgr_waiter_add(&g->end_waiters, call, &err))
        pb_call_finish(call, &err);
}

static void fill_tenant(const struct mgr_tenant *t, const struct mgr_tenant *caller, PbTenant *out,
                        PbQuota *quotas, PbQuota **pointers)
{
    pb_tenant__init(out);
    out->name = (char *)(uintptr_t)t->name;
    out->admin = t->config && t->config->admin;
    out->isolation =
        (char *)(uintptr_t)(t->config && t->config->isolate_guests ? "guest" : "tenant");
    out->caller = t == caller;
    for (unsigned q = 0; q < MGR_QUOTA_COUNT; q++) {
        pb_quota__init(&quotas[q]);
        quotas[q].name = (char *)(uintptr_t)mgr_quota_names[q];
        quotas[q].used = t->used[q];
        quotas[q].limit = t->config ? t->config->quota[q] : 0;
        pointers[q] = &quotas[q];
    }
    out->n_quotas = MGR_QUOTA_COUNT;
    out->quotas = pointers;
}

void mgr_list_tenants(struct pb_call *call, const ProtobufCMessage *msg)
{
    struct each {
        PbTenant tenant;
        PbQuota quotas[MGR_QUOTA_COUNT], *pointers[MGR_QUOTA_COUNT];
    };
    struct mgr *m = mgr_of(call);
    const struct mgr_tenant *caller = mgr_caller(call);
    bool admin = !mgr_require_admin(call, NULL);
    PbListTenantsResponse resp = PB_LIST_TENANTS_RESPONSE__INIT;
    struct err err;
    size_t n = 0;
    (void)msg;
    list_for_each(l, &m->tenants) n++;
    struct each *all = calloc(n + 1, sizeof *all);
    PbTenant **pointers = calloc(n + 1, sizeof *pointers);
    if (!all || !pointers) {
        err_set(&err, ERR_NO_MEMORY, "no memory for a list of tenants");
        pb_call_finish(call, &err);
    } else {
        list_for_each(l, &m->tenants)
        {
            const struct mgr_tenant *t = list_entry(l, struct mgr_tenant, link);
            struct each *e = &all[resp.n_tenants];
            if (!admin && t != caller)
                continue;
            fill_tenant(t, caller, &e->tenant, e->quotas, e->pointers);
            pointers[resp.n_tenants++] = &e->tenant;
        }
        resp.tenants = pointers;
        pb_call_reply(call, &resp.base);
    }
    free(all);
    free(pointers);
}

void mgr_get_daemon(struct pb_call *call, const ProtobufCMessage *msg)
{
    struct mgr *m = mgr_of(call);
    PbDaemon d = PB_DAEMON__INIT;
    (void)msg;
    d.version = (char *)(uintptr_t)VV_VERSION;
    d.pid = (uint32_t)getpid();
    d.start_time_ns = m->start_time_ns;
    d.workers = m->worker_count;
    d.guests = m->guest_count;
    d.guests_running = m->guests_active;
    d.state_dir = (char *)(uintptr_t)m->opt->state;
    pb_call_reply(call, &d.base);
}

const struct pb_handler mgr_handlers[PB_METHOD_COUNT] = {
    [PB_METHOD_create_guest] = {mgr_create_guest, NULL, NULL, mgr_wait_gone},
    [PB_METHOD_start_guest] = {mgr_start_guest, NULL, NULL, mgr_wait_gone},
    [PB_METHOD_stop_guest] = {mgr_stop_guest, NULL, NULL, mgr_wait_gone},
    [PB_METHOD_kill_guest] = {mgr_kill_guest, NULL, NULL, mgr_wait_gone},
    [PB_METHOD_pause_guest] = {mgr_pause_guest, NULL, NULL, mgr_wait_gone},
    [PB_METHOD_resume_guest] = {mgr_resume_guest, NULL, NULL, mgr_wait_gone},
    [PB_METHOD_rename_guest] = {mgr_rename_guest, NULL, NULL, mgr_wait_gone},
    [PB_METHOD_get_guest] = {mgr_get_guest, NULL, NULL, mgr_wait_gone},
    [PB_METHOD_list_guests] = {mgr_list_guests, NULL, NULL, mgr_wait_gone},
    [PB_METHOD_delete_guest] = {mgr_delete_guest, NULL, NULL, mgr_wait_gone},
    [PB_METHOD_wait_guest] = {mgr_wait_guest, NULL, NULL, mgr_wait_gone},
    [PB_METHOD_watch_stats] = {mgr_watch_stats, NULL, mgr_stats_pull, mgr_stats_gone},
    [PB_METHOD_attach_guest] = {mgr_attach_guest, mgr_attach_half_close, mgr_reader_pull,
                                mgr_reader_gone},
    [PB_METHOD_read_logs] = {mgr_read_logs, NULL, mgr_reader_pull, mgr_reader_gone},
    [PB_METHOD_import_image] = {mgr_import_image, mgr_import_half_close, NULL, mgr_import_gone},
    [PB_METHOD_list_images] = {mgr_list_images, NULL, NULL, mgr_wait_gone},
    [PB_METHOD_watch_events] = {mgr_watch_events, NULL, mgr_watch_pull, mgr_watch_gone},
    [PB_METHOD_get_image] = {mgr_get_image, NULL, NULL, mgr_wait_gone},
    [PB_METHOD_tag_image] = {mgr_tag_image, NULL, NULL, mgr_image_change_gone},
    [PB_METHOD_delete_image] = {mgr_delete_image, NULL, NULL, mgr_image_change_gone},
    [PB_METHOD_gc_images] = {mgr_gc_images, NULL, NULL, mgr_image_change_gone},
    [PB_METHOD_export_image] = {mgr_export_image, NULL, mgr_export_pull, mgr_export_gone},
    [PB_METHOD_get_daemon] = {mgr_get_daemon, NULL, NULL, mgr_wait_gone},
    [PB_METHOD_list_tenants] = {mgr_list_tenants, NULL, NULL, mgr_wait_gone},
    [PB_METHOD_doctor] = {mgr_doctor, NULL, NULL, mgr_wait_gone},
};
