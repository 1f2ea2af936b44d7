#include "daemon/manager/worker.h"
#include "daemon/manager/child.h"
#include "daemon/manager/config.h"
#include "daemon/manager/event.h"
#include "daemon/manager/doctor.h"
#include "daemon/manager/guest.h"
#include "daemon/manager/journal.h"
#include "daemon/manager/worker_int.h"
#include "daemon/manager/metrics.h"
#include "engine/base/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MESSAGE_BYTES_MAX (256 * 1024) /* from a worker */
#define WORKER_EXIT_ABORT 134          /* WK_EXIT_ABORT */
#define IDLE_MS 2000                   /* a tenant may want its worker again */
#define EARLY_DEATHS_MAX 5             /* in a row; then waiting guests are refused */

uint32_t mgr_worker_pid(const struct mgr_worker *w)
{
    return mgr_child_pid(&w->child);
}

static void mark_dirty(struct mgr_worker *w)
{
    if (list_empty(&w->dirty))
        list_append(&w->m->dirty_workers, &w->dirty);
}

void mgr_worker_tell(struct mgr_worker *w, const PbToWorker *msg, int pass_fd)
{
    if (w->ending) {
        close_fd(&pass_fd);
        return;
    }
    pb_channel_put(&w->ch, &msg->base, pass_fd);
    mark_dirty(w);
}

void mgr_worker_kill(struct mgr_worker *w, const char *why)
{
    if (w->ending)
        return;
    log_error_f(LOG_FIELDS({"worker", LOG_NUMBER(mgr_worker_pid(w))}), "worker: %s; it is killed",
                why);
    snprintf(w->why, sizeof w->why, "%s", why);
    w->ending = true;
    mgr_child_kill(&w->child);
}

/* A tenant's worker without guests: it was for one guest, or the tenant had its time to come back. One of nobody's stays: rule (2). */
static void on_idle(struct mgr_deadline *d)
{
    struct mgr_worker *w = container_of(d, struct mgr_worker, idle);
    if (w->ending || w->guest_count)
        return;
    w->leaving = true;
    mark_dirty(w);
}

static void now_idle(struct mgr_worker *w)
{
    struct err err;
    if (w->ending || w->guest_count)
        return;
    if (mgr_deadline_set(&w->m->timers, &w->idle, w->once ? 0 : IDLE_MS, on_idle, &err))
        log_error_f(LOG_FIELDS({"worker", LOG_NUMBER(mgr_worker_pid(w))}), "%s", err.text);
}

/* ---- what it says ---- */

static void set_up(struct mgr_worker *w)
{
    PbWorkerSetup setup = PB_WORKER_SETUP__INIT;
    setup.orphan_seconds = mgr_orphan_seconds(w->m);
    MGR_TO_WORKER(SETUP, setup, &setup);
    mgr_worker_tell(w, &to, -1);
}

/* An adopted worker says which of the guests that the journal gives it are really there. */
static void compare_guests(struct mgr_worker *w, const PbWorkerHello *hello)
{
    for (size_t i = 0; i < hello->n_guests; i++) {
        struct mgr_guest *g = mgr_guest_by_id(w->m, hello->guests[i]->guest);
        if (g && g->worker == w) {
            g->announcing = true; /* marks it as there, until below */
            mgr_guest_adopted(g, hello->guests[i]);
            continue;
        }
        PbWorkerGuest forget =
            PB_WORKER_GUEST__INIT; /* its end was recorded, or it was never ours */
        forget.guest = hello->guests[i]->guest;
        MGR_TO_WORKER(FORGET, forget, &forget);
        mgr_worker_tell(w, &to, -1);
    }
    list_for_each_safe(l, &w->guests)
    {
        struct mgr_guest *g = list_entry(l, struct mgr_guest, at_worker);
        bool there = g->announcing;
        g->announcing = false;
        if (!there)
            mgr_guest_lost(g, "the daemon ended while it was being started");
    }
    now_idle(w);
}

static res_code_t hear_hello(struct mgr_worker *w, const PbWorkerHello *hello, struct err *err)
{
    struct mgr *m = w->m;
    if (w->ready)
        return err_set(err, ERR_BAD_MESSAGE, "a second hello");
    if (strcmp(hello->version, VV_VERSION))
        return err_set(err, ERR_BAD_MESSAGE, "it is of version %.32s, this daemon of " VV_VERSION,
                       hello->version);
    if (hello->n_guests && !w->adopted)
        return err_set(err, ERR_BAD_MESSAGE, "guests in a first hello");
    w->ready = true;
    if (w->adopted)
        m->adopting_count--;
    else
        m->coming_count--;
    m->early_deaths = 0;
    mgr_layers_heard(m, hello);
    set_up(w);
    if (w->adopted)
        compare_guests(w, hello);
    mgr_workers_provide(m);
    return OK;
}

static uint64_t subject_of(const PbFromWorker *msg)
{
    switch (msg->kind_case) {
    case PB_FROM_WORKER__KIND_REFUSED:
        return msg->refused->guest;
    case PB_FROM_WORKER__KIND_OUTPUT:
        return msg->output->guest;
    case PB_FROM_WORKER__KIND_TAKEN:
        return msg->taken->guest;
    case PB_FROM_WORKER__KIND_ENDED:
        return msg->ended->guest;
    case PB_FROM_WORKER__KIND_STATS:
        return msg->stats->guest;
    case PB_FROM_WORKER__KIND_STARTED:
    case PB_FROM_WORKER__KIND_PAUSED:
    case PB_FROM_WORKER__KIND_RESUMED:
        return msg->started->guest; /* a union */
    default:
        return 0;
    }
}

static res_code_t hear(struct mgr_worker *w, const PbFromWorker *msg, struct err *err)
{
    if (msg->kind_case == PB_FROM_WORKER__KIND_HELLO)
        return hear_hello(w, msg->hello, err);
    struct mgr_guest *g = mgr_guest_by_id(w->m, subject_of(msg));
    if (g && g->worker == w && w->ready)
        return mgr_guest_said(g, msg, err);
    if (w->adopted)
        return OK; /* of a guest that it was told to forget */
    return err_set(err, ERR_BAD_MESSAGE, "message %d about a guest that it does not have",
                   (int)msg->kind_case);
}

/* Hear everything that has come. */
static res_code_t hear_all(struct mgr_worker *w, struct err *err)
{
    const ProtobufCMessage *msg;
    while (!w->ending) {
        if (pb_channel_next(&w->ch, &pb_from_worker__descriptor, &msg, err))
            return FAIL;
        if (!msg)
            return OK;
        if (hear(w, (const PbFromWorker *)msg, err))
            return FAIL;
    }
    return OK;
}

void mgr_worker_on_poll(uv_poll_t *p, int status, int events)
{
    struct mgr_worker *w = p->data;
    struct err err;
    if (status < 0 || w->ending) {
        uv_poll_stop(p); /* its exit will come */
        return;
    }
    if (events & UV_WRITABLE)
        mark_dirty(w);
    if (!(events & (UV_READABLE | UV_DISCONNECT)))
        return;
    if (pb_channel_fill(&w->ch, &err)) {
        uv_poll_stop(p); /* its exit says why */
        if (err.code != ERR_UNAVAILABLE)
            mgr_worker_kill(w, err.text);
        else if (!w->m->stopping)
            mgr_child_kill(&w->child);
        return;
    }
    if (hear_all(w, &err)) {
        err_wrap(&err, "nonsense from the worker");
        mgr_worker_kill(w, err.text);
    }
}

/* ---- life ---- */

static void on_respawn(uv_timer_t *t)
{
    mgr_workers_provide(t->data);
}

static void on_gone(struct mgr_child *child)
{
    struct mgr_worker *w = container_of(child, struct mgr_worker, child);
    pb_channel_fini(&w->ch);
    free(w);
}

static void describe_exit(const struct mgr_worker *w, int64_t status, int sig, char *out,
                          size_t cap)
{
    if (w->why[0])
        snprintf(out, cap, "worker %u was killed: %s", mgr_worker_pid(w), w->why);
    else if (w->adopted)
        snprintf(out, cap, "worker %u ended", mgr_worker_pid(w));
    else if (sig == SIGSYS)
        snprintf(
            out, cap,
            "worker %u was stopped by its confinement: it made a system call that is not on its "
            "list (SIGSYS)",
            mgr_worker_pid(w));
    else if (sig == 0 && status == WORKER_EXIT_ABORT)
        snprintf(out, cap, "worker %u aborted: an error of its own, see the daemon's log",
                 mgr_worker_pid(w));
    else if (sig)
        snprintf(out, cap, "worker %u died of signal %d (%s)", mgr_worker_pid(w), sig,
                 strsignal(sig));
    else
        snprintf(out, cap, "worker %u exited with code %d", mgr_worker_pid(w), (int)status);
}

static void refuse_waiting(struct mgr *m, const struct err *why)
{
    while (!list_empty(&m->start_turns)) {
        struct mgr_tenant *t = list_entry(m->start_turns.next, struct mgr_tenant, turn);
        struct mgr_guest *g = list_entry(t->start_queue.next, struct mgr_guest, at_worker);
        mgr_guest_refused(g, why); /* takes it off the queue */
    }
}

/* Off the books: no worker any more. */
static void leave_books(struct mgr_worker *w)
{
    struct mgr *m = w->m;
    list_remove(&w->link);
    list_remove(&w->dirty);
    mgr_deadline_clear(&m->timers, &w->idle);
    m->worker_count--;
    if (!w->ready && w->adopted)
        m->adopting_count--;
    else if (!w->ready)
        m->coming_count--;
    mgr_worker_forget_socket(w);
}

static void child_exited(struct mgr_child *child, int64_t status, int sig)
{
    struct mgr_worker *w = container_of(child, struct mgr_worker, child);
    struct mgr *m = w->m;
    struct err err;
    char why[512];
    /* What it said before it died counts: a guest may have ended in peace. */
    while (!w->ending && !pb_channel_fill(&w->ch, &err) && pb_splitter_left(&w->ch.in))
        if (hear_all(w, &err))
            break;
    describe_exit(w, status, sig, why, sizeof why);
    if (!m->stopping && (!w->ending || w->why[0])) {
        log_error_f(LOG_FIELDS({"worker", LOG_NUMBER(mgr_worker_pid(w))},
                               {"tenant", w->tenant ? w->tenant->name : NULL}),
                    "%s", why);
        mgr_count(m, MGR_METRIC_WORKER_DEATHS, 1);
        mgr_event(m, PB_EVENT_TYPE_WORKER_DIED, NULL, "", 0, sig, why);
    }
    if (!w->ready && !w->adopted)
        m->early_deaths++;
    w->ending = true;
    leave_books(w);
    while (!list_empty(&w->guests))
        mgr_guest_lost(list_entry(w->guests.next, struct mgr_guest, at_worker), why);
    mgr_child_close(&w->child);
    if (m->early_deaths >= EARLY_DEATHS_MAX) {
        err_set(&err, ERR_UNAVAILABLE, "no worker can be started: %.200s", why);
        refuse_waiting(m, &err);
    }
    if (!m->stopping) {
        uint64_t delay =
            m->early_deaths ? MIN((uint64_t)50 << MIN(m->early_deaths, 7u), (uint64_t)5000) : 0;
        uv_timer_start(&m->respawn_timer, on_respawn, delay, 0);
    }
    mgr_stop_step(m);
}

struct mgr_worker *mgr_worker_new(struct mgr *m, uint64_t number, struct err *err)
{
    struct mgr_worker *w = calloc(1, sizeof *w);
    if (!w) {
        err_set(err, ERR_NO_MEMORY, "no memory for a worker");
        return NULL;
    }
    w->m = m;
    w->number = number;
    list_init(&w->link);
    list_init(&w->dirty);
    list_init(&w->guests);
    pb_channel_init(&w->ch, -1, MESSAGE_BYTES_MAX, false);
    w->child.on_exit = child_exited;
    w->child.on_gone = on_gone;
    w->child.poll.data = w;
    return w;
}

void mgr_worker_enter(struct mgr_worker *w, int fd)
{
    w->ch.fd = fd;
    list_append(&w->m->workers, &w->link);
    w->m->worker_count++;
    if (w->adopted)
        w->m->adopting_count++;
    else
        w->m->coming_count++;
}

static res_code_t spawn(struct mgr *m, struct err *err)
{
    int fd;
    struct mgr_worker *w = mgr_worker_new(m, m->next_worker++, err);
    if (!w)
        return FAIL;
    CLEANUP(close_fd) int listening = mgr_worker_listen(w);
    if (mgr_child_start(&w->child, m->loop, m->opt->worker_path, listening, mgr_worker_on_poll, &fd,
                        err))
        return FAIL; /* on_gone frees it */
    mgr_worker_enter(w, fd);
    mgr_count(m, MGR_METRIC_WORKER_STARTS, 1);
    return OK;
}

void mgr_workers_init(struct mgr *m)
{
    list_init(&m->workers);
    list_init(&m->dirty_workers);
    list_init(&m->start_turns);
    uv_timer_init(m->loop, &m->respawn_timer);
    m->respawn_timer.data = m;
}

/* ---- placing ---- */

static bool isolated(const struct mgr_tenant *t)
{
    return t->config && t->config->isolate_guests;
}

/* Rule (1). NULL: none is ready. */
static struct mgr_worker *for_tenant(struct mgr *m, const struct mgr_tenant *t)
{
    struct mgr_worker *nobodys = NULL;
    list_for_each(l, &m->workers)
    {
        struct mgr_worker *w = list_entry(l, struct mgr_worker, link);
        if (w->ending || w->leaving || !w->ready)
            continue;
        if (w->tenant == t && !isolated(t) && w->guest_count < m->config->workers_guests &&
            !w->once)
            return w;
        if (!w->tenant)
            nobodys = w;
    }
    return nobodys;
}

static void run_guest(struct mgr_worker *w, struct mgr_guest *g)
{
    if (!w->tenant) {
        w->tenant = g->tenant;
        w->once = isolated(g->tenant);
        mgr_worker_record(w, false);
    }
    list_remove(&g->at_worker);
    list_append(&w->guests, &g->at_worker);
    w->guest_count++;
    g->worker = w;
    g->worker_id = w->number;
    g->worker_pid = mgr_worker_pid(w);
    g->starting = true;
    w->m->starting_count++;
    mgr_guest_record(g);
    mgr_guest_send_run(g);
}

/* Rule (4). */
static void start_by_turns(struct mgr *m)
{
    size_t passed_over = 0, tenants = 0;
    list_for_each(l, &m->start_turns) tenants++;
    while (!list_empty(&m->start_turns) && passed_over < tenants &&
           m->starting_count < MGR_STARTING_MAX) {
        struct mgr_tenant *t = list_entry(m->start_turns.next, struct mgr_tenant, turn);
        struct mgr_worker *w = for_tenant(m, t);
        list_remove(&t->turn);
        list_append(&m->start_turns, &t->turn);
        if (!w) {
            passed_over++;
            continue;
        }
        struct mgr_guest *g = list_entry(t->start_queue.next, struct mgr_guest, at_worker);
        list_remove(&g->at_worker);
        if (list_empty(&t->start_queue)) {
            list_remove(&t->turn);
            tenants--;
        }
        run_guest(w, g);
    }
}

static unsigned nobodys_count(const struct mgr *m)
{
    unsigned n = 0;
    list_for_each(l, &m->workers)
    {
        const struct mgr_worker *w = list_entry(l, struct mgr_worker, link);
        n += !w->ending && w->ready && !w->tenant;
    }
    return n;
}

void mgr_workers_provide(struct mgr *m)
{
    struct err err;
    if (m->stopping)
        return;
    start_by_turns(m);
    unsigned want = list_empty(&m->start_turns) ? 1 : MGR_COMING_MAX, have = nobodys_count(m);
    while (have + m->coming_count < want && m->worker_count < m->config->workers_count) {
        if (!spawn(m, &err))
            continue;
        log_error("%s", err.text);
        m->early_deaths++;
        struct err why;
        err_set(&why, ERR_UNAVAILABLE, "%.300s", err.text);
        refuse_waiting(m, &why);
        uv_timer_start(&m->respawn_timer, on_respawn, 1000, 0);
        return;
    }
}

void mgr_worker_started(struct mgr_guest *g)
{
    if (!g->starting)
        return;
    g->starting = false;
    g->m->starting_count--;
    if (!list_empty(&g->m->start_turns))
        uv_timer_start(&g->m->respawn_timer, on_respawn, 0, 0);
}

void mgr_worker_release(struct mgr_guest *g)
{
    struct mgr_worker *w = g->worker;
    struct mgr *m = g->m;
    mgr_worker_started(g);
    list_remove(&g->at_worker);
    if (!w && list_empty(&g->tenant->start_queue))
        list_remove(&g->tenant->turn);
    g->worker = NULL;
    g->worker_id = 0;
    g->worker_pid = 0;
    if (!w)
        return;
    w->guest_count--;
    now_idle(w);
    if (!list_empty(&m->start_turns))
        uv_timer_start(&m->respawn_timer, on_respawn, 0, 0);
}

void mgr_worker_place(struct mgr_guest *g)
{
    struct mgr_tenant *t = g->tenant;
    list_append(&t->start_queue, &g->at_worker);
    if (list_empty(&t->turn))
        list_append(&g->m->start_turns, &t->turn);
    mgr_workers_provide(g->m);
}

void mgr_workers_flush(struct mgr *m)
{
    struct err err;
    while (!list_empty(&m->dirty_workers)) {
        struct mgr_worker *w = list_entry(m->dirty_workers.next, struct mgr_worker, dirty);
        list_remove(&w->dirty);
        if (w->ending)
            continue;
        if (pb_channel_flush(&w->ch, &err) && err.code != ERR_UNAVAILABLE) /* else its exit tells */
            mgr_worker_kill(w, err.text);
        bool pending = pb_channel_pending(&w->ch) > 0;
        mgr_child_poll(&w->child, pending);
        if (w->leaving && !w->ending &&
            !pending) { /* one that did not hear FORGET would wait for the next daemon */
            w->ending = true;
            mgr_child_hang_up(&w->child);
        }
    }
}

void mgr_workers_stop(struct mgr *m, bool hard)
{
    list_for_each(l, &m->workers)
    {
        struct mgr_worker *w = list_entry(l, struct mgr_worker, link);
        if (hard)
            mgr_child_kill(&w->child);
        else
            mgr_child_hang_up(&w->child);
    }
}
