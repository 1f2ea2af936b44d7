#include "daemon/manager/worker.h"
#include "daemon/manager/child.h"
#include "daemon/manager/guest.h"
#include "daemon/manager/metrics.h"
#include "engine/base/log.h"
#include "proto/channel.h"

#include <stdlib.h>
#include <string.h>

#define MESSAGE_BYTES_MAX (256 * 1024) /* from a worker */
#define EARLY_DEATHS_MAX 5             /* in a row; then waiting guests are refused */

struct mgr_worker {
    struct mgr *m;
    struct list link, dirty;
    struct mgr_child child;
    struct pb_channel ch;
    struct list guests;
    unsigned guest_count;
    bool ready;    /* said hello */
    bool ending;   /* told to go, or killed */
    char why[400]; /* it was killed, if by us */
};

static void run_guest(struct mgr_worker *w, struct mgr_guest *g);

static void mark_dirty(struct mgr_worker *w)
{
    if (list_empty(&w->dirty))
        list_append(&w->m->dirty_workers, &w->dirty);
}

uint32_t mgr_worker_pid(const struct mgr_worker *w)
{
    return (uint32_t)w->child.process.pid;
}

void mgr_worker_tell(struct mgr_worker *w, const PbToWorker *msg, int pass_fd)
{
    pb_channel_put(&w->ch, &msg->base, pass_fd);
    mark_dirty(w);
}

void mgr_worker_kill(struct mgr_worker *w, const char *why)
{
    if (w->ending)
        return;
    log_error("worker %u: %s; it is killed", mgr_worker_pid(w), why);
    snprintf(w->why, sizeof w->why, "%s", why);
    w->ending = true;
    mgr_child_kill(&w->child);
}

/* ---- what it says ---- */

static res_code_t hear_hello(struct mgr_worker *w, const PbWorkerHello *hello, struct err *err)
{
    struct mgr *m = w->m;
    if (w->ready)
        return err_set(err, ERR_BAD_MESSAGE, "a second hello");
    if (strcmp(hello->version, VV_VERSION))
        return err_set(err, ERR_BAD_MESSAGE, "it is of version %.32s, this daemon of " VV_VERSION,
                       hello->version);
    w->ready = true;
    m->early_deaths = 0;
    while (!list_empty(&m->start_queue) && w->guest_count < MGR_WORKER_GUESTS) {
        struct mgr_guest *g = list_entry(m->start_queue.next, struct mgr_guest, at_worker);
        list_remove(&g->at_worker);
        run_guest(w, g);
    }
    mgr_workers_provide(m);
    return OK;
}

static uint64_t subject_of(const PbFromWorker *msg)
{
    switch (msg->kind_case) {
    case PB_FROM_WORKER__KIND_STARTED:
        return msg->started->guest;
    case PB_FROM_WORKER__KIND_REFUSED:
        return msg->refused->guest;
    case PB_FROM_WORKER__KIND_OUTPUT:
        return msg->output->guest;
    case PB_FROM_WORKER__KIND_TAKEN:
        return msg->taken->guest;
    case PB_FROM_WORKER__KIND_ENDED:
        return msg->ended->guest;
    default:
        return 0;
    }
}

static res_code_t hear(struct mgr_worker *w, const PbFromWorker *msg, struct err *err)
{
    if (msg->kind_case == PB_FROM_WORKER__KIND_HELLO)
        return hear_hello(w, msg->hello, err);
    uint64_t id = subject_of(msg);
    list_for_each(l, &w->guests)
    {
        struct mgr_guest *g = list_entry(l, struct mgr_guest, at_worker);
        if (g->id == id)
            return mgr_guest_said(g, msg, err);
    }
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

static void on_poll(uv_poll_t *p, int status, int events)
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
    else if (sig)
        snprintf(out, cap, "worker %u died of signal %d (%s)", mgr_worker_pid(w), sig,
                 strsignal(sig));
    else
        snprintf(out, cap, "worker %u exited with code %d", mgr_worker_pid(w), (int)status);
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
        log_error("%s", why);
        mgr_count(m, MGR_METRIC_WORKER_DEATHS, 1);
    }
    if (!w->ready)
        m->early_deaths++;
    w->ending = true;
    list_remove(&w->link);
    list_remove(&w->dirty);
    m->worker_count--;
    while (!list_empty(&w->guests))
        mgr_guest_lost(list_entry(w->guests.next, struct mgr_guest, at_worker), why);
    mgr_child_close(&w->child);
    while (m->early_deaths >= EARLY_DEATHS_MAX && !list_empty(&m->start_queue)) {
        err_set(&err, ERR_UNAVAILABLE, "no worker can be started: %.200s", why);
        mgr_guest_refused(list_entry(m->start_queue.next, struct mgr_guest, at_worker), &err);
    }
    if (!m->stopping) {
        uint64_t delay =
            m->early_deaths ? MIN((uint64_t)50 << MIN(m->early_deaths, 7u), (uint64_t)5000) : 0;
        uv_timer_start(&m->respawn_timer, on_respawn, delay, 0);
    }
    mgr_stop_step(m);
}

static res_code_t spawn(struct mgr *m, struct err *err)
{
    struct mgr_worker *w = calloc(1, sizeof *w);
    int fd;
    if (!w)
        return err_set(err, ERR_NO_MEMORY, "no memory for a worker");
    w->m = m;
    list_init(&w->dirty);
    list_init(&w->guests);
    pb_channel_init(&w->ch, -1, MESSAGE_BYTES_MAX, false);
    w->child.on_exit = child_exited;
    w->child.on_gone = on_gone;
    w->child.poll.data = w;
    if (mgr_child_start(&w->child, m->loop, m->opt->worker_path, -1, on_poll, &fd, err))
        return FAIL; /* on_gone frees it */
    w->ch.fd = fd;
    list_append(&m->workers, &w->link);
    m->worker_count++;
    mgr_count(m, MGR_METRIC_WORKER_STARTS, 1);
    return OK;
}

void mgr_workers_init(struct mgr *m)
{
    list_init(&m->workers);
    list_init(&m->dirty_workers);
    list_init(&m->start_queue);
    uv_timer_init(m->loop, &m->respawn_timer);
    m->respawn_timer.data = m;
}

static struct mgr_worker *with_room(struct mgr *m, bool ready)
{
    list_for_each(l, &m->workers)
    {
        struct mgr_worker *w = list_entry(l, struct mgr_worker, link);
        if (!w->ending && w->guest_count < MGR_WORKER_GUESTS && (w->ready || !ready))
            return w;
    }
    return NULL;
}

void mgr_workers_provide(struct mgr *m)
{
    struct err err;
    if (m->stopping || m->worker_count >= MGR_WORKERS_MAX || with_room(m, false))
        return;
    if (spawn(m, &err)) {
        log_error("%s", err.text);
        m->early_deaths++;
        while (!list_empty(&m->start_queue)) {
            struct err why;
            err_set(&why, ERR_UNAVAILABLE, "%.300s", err.text);
            mgr_guest_refused(list_entry(m->start_queue.next, struct mgr_guest, at_worker), &why);
        }
        uv_timer_start(&m->respawn_timer, on_respawn, 1000, 0);
    }
}

/* One to give, one to keep: a surplus worker without guests goes. */
static void retire_surplus(struct mgr *m)
{
    struct mgr_worker *spare = NULL;
    list_for_each_safe(l, &m->workers)
    {
        struct mgr_worker *w = list_entry(l, struct mgr_worker, link);
        if (w->ending || w->guest_count == MGR_WORKER_GUESTS)
            continue;
        if (!spare || w->guest_count) {
            spare = w;
            continue;
        }
        w->ending = true;
        mgr_child_hang_up(&w->child);
    }
}

void mgr_worker_release(struct mgr_guest *g)
{
    struct mgr_worker *w = g->worker;
    list_remove(&g->at_worker);
    g->worker = NULL;
    g->worker_pid = 0;
    if (w) {
        w->guest_count--;
        if (w->guest_count == 0 && !w->ending)
            retire_surplus(w->m);
    }
}

void mgr_worker_place(struct mgr_guest *g)
{
    struct mgr *m = g->m;
    struct mgr_worker *w = with_room(m, true);
    if (w)
        run_guest(w, g);
    else
        list_append(&m->start_queue, &g->at_worker);
    mgr_workers_provide(m);
}

static void run_guest(struct mgr_worker *w, struct mgr_guest *g)
{
    list_append(&w->guests, &g->at_worker);
    w->guest_count++;
    g->worker = w;
    g->worker_pid = mgr_worker_pid(w);
    mgr_guest_send_run(g);
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
        mgr_child_poll(&w->child, pb_channel_pending(&w->ch) > 0);
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
