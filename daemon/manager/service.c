#include "daemon/manager/service.h"
#include "daemon/manager/conn.h"
#include "daemon/manager/guest.h"
#include "daemon/manager/image.h"
#include "proto/daemon.pb-c.h"
#include "proto/paths.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARGS_MAX 1024
#define ARGS_BYTES_MAX (128 * 1024)
#define ENV_BYTES_MAX (128 * 1024)
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

/* ---- checks ---- */

static res_code_t check_limits(const PbGuestLimits *l, struct err *err)
{
    if (!l)
        return OK;
    if (l->memory_bytes && l->memory_bytes < (1 << 20))
        return err_set(err, ERR_INVALID, "limits.memory_bytes is %llu; at least 1 MiB",
                       (unsigned long long)l->memory_bytes);
    if (l->processes > 32768)
        return err_set(err, ERR_INVALID, "limits.processes is %u; at most 32768", l->processes);
    if (l->files > 65536)
        return err_set(err, ERR_INVALID, "limits.files is %u; at most 65536", l->files);
    return OK;
}

static res_code_t check_strings(const PbCreateGuestRequest *r, struct err *err)
{
    size_t total = 0;
    if (r->n_args == 0 || !r->args[0][0])
        return err_set(err, ERR_INVALID, "args is empty; name the program to run");
    for (size_t i = 0; i < r->n_args; i++)
        total += strlen(r->args[i]) + 1;
    if (r->n_args > ARGS_MAX || total > ARGS_BYTES_MAX)
        return err_set(err, ERR_INVALID, "%zu args of %zu bytes; at most %d of %d", r->n_args,
                       total, ARGS_MAX, ARGS_BYTES_MAX);
    total = 0;
    for (size_t i = 0; i < r->n_env; i++) {
        const PbEnvVar *e = r->env[i];
        if (!e->name[0] || strchr(e->name, '='))
            return err_set(err, ERR_INVALID, "env[%zu].name \"%.40s\" is empty or holds '='", i,
                           e->name);
        total += strlen(e->name) + strlen(e->value) + 2;
    }
    if (r->n_env > ARGS_MAX || total > ENV_BYTES_MAX)
        return err_set(err, ERR_INVALID, "%zu env of %zu bytes; at most %d of %d", r->n_env, total,
                       ARGS_MAX, ENV_BYTES_MAX);
    if (r->cwd[0] && r->cwd[0] != '/')
        return err_set(err, ERR_INVALID, "cwd \"%.80s\" is not absolute", r->cwd);
    return OK;
}

static res_code_t check_create(const PbCreateGuestRequest *r, struct err *err)
{
    if (r->name[0] && !pb_guest_name_valid(r->name))
        return err_set(err, ERR_INVALID,
                       "name \"%.80s\": use 1-%d of a-z 0-9 . _ -, a letter or digit first",
                       r->name, PB_GUEST_NAME_MAX);
    if (!r->image[0])
        return err_set(err, ERR_INVALID, "image is empty; \"vmctl image ls\" shows what there is");
    if (r->rows > 65535 || r->cols > 65535)
        return err_set(err, ERR_INVALID, "a terminal of %u x %u; at most 65535", r->rows, r->cols);
    if (r->vcpus > 16)
        return err_set(err, ERR_INVALID, "vcpus is %u; at most 16", r->vcpus);
    if (r->window_bits && (r->window_bits < 32 || r->window_bits > 40))
        return err_set(err, ERR_INVALID, "window_bits is %u; 32 to 40, or 0", r->window_bits);
    if (check_strings(r, err))
        return FAIL;
    return check_limits(r->limits, err);
}

/* ---- handlers ---- */

static struct mgr *mgr_of(const struct pb_call *call)
{
    return mgr_of_conn(call->conn_ctx);
}

void mgr_create_guest(struct pb_call *call, const ProtobufCMessage *msg)
{
    const PbCreateGuestRequest *r = (const PbCreateGuestRequest *)msg;
    struct mgr *m = mgr_of(call);
    char digest[MGR_DIGEST_CHARS];
    struct mgr_guest *g;
    struct err err;
    if (check_create(r, &err) || mgr_image_resolve(m, mgr_caller(call), r->image, digest, &err) ||
        mgr_guest_new(m, r, digest, &g, &err))
        pb_call_finish(call, &err);
    else
        pb_call_reply(call, &mgr_guest_message(g)->base);
}

/* Find the guest, or answer that there is none. */
static struct mgr_guest *find(struct pb_call *call, const char *name)
{
    struct mgr_guest *g;
    struct err err;
    if (!mgr_guest_find(mgr_of(call), name, &g, &err))
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
    if (mgr_waiter_add(&g->end_waiters, call, &err) || mgr_guest_stop(g, grace_ms, &err))
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
    else if (!mgr_guest_signal(g, r->signal, &err))
        return pb_call_reply(call, &mgr_guest_message(g)->base);
    pb_call_finish(call, &err);
}

void mgr_get_guest(struct pb_call *call, const ProtobufCMessage *msg)
{
    struct mgr_guest *g = find(call, ((const PbGetGuestRequest *)msg)->name);
    if (g)
        pb_call_reply(call, &mgr_guest_message(g)->base);
}

/* mgr_guest_message() has one result at a time: copies, with their own end and statistics. */
void mgr_list_guests(struct pb_call *call, const ProtobufCMessage *msg)
{
    struct each {
        PbGuest guest;
        PbGuestEnd end;
        PbGuestStats stats;
    };
    struct mgr *m = mgr_of(call);
    PbListGuestsResponse resp = PB_LIST_GUESTS_RESPONSE__INIT;
    struct each *all = calloc(m->guest_count + 1, sizeof *all);
    PbGuest **pointers = calloc(m->guest_count + 1, sizeof *pointers);
    struct err err;
    (void)msg;
    if (!all || !pointers) {
        err_set(&err, ERR_NO_MEMORY, "no memory for a list of %u guests", m->guest_count);
        pb_call_finish(call, &err);
    } else {
        list_for_each(l, &m->guests)
        {
            struct each *e = &all[resp.n_guests];
            e->guest = *mgr_guest_message(list_entry(l, struct mgr_guest, link));
            if (e->guest.end) {
                e->end = *e->guest.end;
                e->guest.end = &e->end;
            }
            if (e->guest.stats) {
                e->stats = *e->guest.stats;
                e->guest.stats = &e->stats;
            }
            pointers[resp.n_guests++] = &e->guest;
        }
        resp.guests = pointers;
        pb_call_reply(call, &resp.base);
    }
    free(all);
    free(pointers);
}

void mgr_delete_guest(struct pb_call *call, const ProtobufCMessage *msg)
{
    const PbDeleteGuestRequest *r = (const PbDeleteGuestRequest *)msg;
    struct mgr_guest *g = find(call, r->name);
    struct err err;
    if (!g)
        return;
    if (mgr_guest_running(g) && r->force) {
        if (mgr_waiter_add(&g->delete_waiters, call, &err) || mgr_guest_stop(g, 0, &err))
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
        pb_call_reply(call, &mgr_guest_message(g)->base);
    else if (mgr_waiter_add(&g->end_waiters, call, &err))
        pb_call_finish(call, &err);
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
    [PB_METHOD_get_guest] = {mgr_get_guest, NULL, NULL, mgr_wait_gone},
    [PB_METHOD_list_guests] = {mgr_list_guests, NULL, NULL, mgr_wait_gone},
    [PB_METHOD_delete_guest] = {mgr_delete_guest, NULL, NULL, mgr_wait_gone},
    [PB_METHOD_wait_guest] = {mgr_wait_guest, NULL, NULL, mgr_wait_gone},
    [PB_METHOD_attach_guest] = {mgr_attach_guest, mgr_attach_half_close, mgr_reader_pull,
                                mgr_reader_gone},
    [PB_METHOD_read_logs] = {mgr_read_logs, NULL, mgr_reader_pull, mgr_reader_gone},
    [PB_METHOD_import_image] = {mgr_import_image, mgr_import_half_close, NULL, mgr_import_gone},
    [PB_METHOD_list_images] = {mgr_list_images, NULL, NULL, mgr_wait_gone},
    [PB_METHOD_get_image] = {mgr_get_image, NULL, NULL, mgr_wait_gone},
    [PB_METHOD_tag_image] = {mgr_tag_image, NULL, NULL, mgr_image_change_gone},
    [PB_METHOD_delete_image] = {mgr_delete_image, NULL, NULL, mgr_image_change_gone},
    [PB_METHOD_gc_images] = {mgr_gc_images, NULL, NULL, mgr_image_change_gone},
    [PB_METHOD_export_image] = {mgr_export_image, NULL, mgr_export_pull, mgr_export_gone},
    [PB_METHOD_get_daemon] = {mgr_get_daemon, NULL, NULL, mgr_wait_gone},
};
