#include "daemon/manager/manager.h"
#include "daemon/manager/config.h"
#include "daemon/manager/conn.h"
#include "daemon/manager/event.h"
#include "daemon/manager/doctor.h"
#include "daemon/manager/guest.h"
#include "daemon/manager/image.h"
#include "daemon/manager/journal.h"
#include "daemon/manager/metrics.h"
#include "daemon/manager/tenant.h"
#include "daemon/manager/worker.h"
#include "engine/base/log.h"
#include "proto/paths.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define GOODBYE_MS 300  /* for clients to read the last answers */
#define WORKERS_MS 2000 /* for workers to go by themselves */

int64_t mgr_wall_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Just before the loop sleeps: send what was collected. What that made ready goes first thing in the next turn. */
static void on_spin(uv_idle_t *h)
{
    (void)h; /* its being there keeps the loop from sleeping */
}

static void on_flush(uv_prepare_t *h)
{
    struct mgr *m = h->data;
    mgr_conns_flush(m);
    mgr_workers_flush(m);
    if (list_empty(&m->dirty_conns))
        uv_idle_stop(&m->spin);
    else
        uv_idle_start(&m->spin, on_spin);
}

/* ---- the end ---- */

enum { STOP_GUESTS, STOP_CLIENTS, STOP_WORKERS, STOP_DONE };

static void on_stop_timer(uv_timer_t *t);

static void stop_again_in(struct mgr *m, uint64_t ms)
{
    uv_timer_start(&m->stop_timer, on_stop_timer, ms, 0);
}

static void on_stop_timer(uv_timer_t *t)
{
    struct mgr *m = t->data;
    if (m->stop_step == STOP_CLIENTS) {
        mgr_conns_close(m);
        m->stop_step = STOP_WORKERS;
        mgr_workers_stop(m, false);
        stop_again_in(m, WORKERS_MS);
        mgr_stop_step(m);
    } else if (m->stop_step == STOP_WORKERS) {
        mgr_workers_stop(m, true);
    }
}

void mgr_stop_step(struct mgr *m)
{
    if (!m->stopping)
        return;
    if (m->stop_step == STOP_GUESTS && m->guests_active == 0) {
        m->stop_step = STOP_CLIENTS;
        mgr_imports_stop(m);
        mgr_conns_drain(m);
        stop_again_in(m, m->conn_count ? GOODBYE_MS : 0);
    } else if (m->stop_step == STOP_WORKERS && m->worker_count == 0) {
        m->stop_step = STOP_DONE;
        uv_stop(m->loop);
    }
}

static void on_signal(uv_signal_t *s, int signo)
{
    struct mgr *m = s->data;
    uint64_t grace =
        m->stopping ? 0 : m->config->workers_stop_grace_ns / 1000000; /* a second signal: now */
    if (signo == SIGHUP) {
        mgr_reload_from_source(m);
        return;
    }
    log_info("signal %d: stopping (%u guests run)", signo, m->guests_active);
    m->stopping = true;
    mgr_listen_stop(m);
    list_for_each_safe(l, &m->guests)
    {
        struct mgr_guest *g = list_entry(l, struct mgr_guest, link);
        if (mgr_guest_running(g) && mgr_guest_stop(g, grace, "the daemon", NULL))
            log_warn_f(MGR_ABOUT(g), "guest cannot be stopped");
    }
    mgr_stop_step(m);
}

/* Go at once and leave the guests running: the next daemon takes them over. */
static void on_leave(uv_signal_t *s, int signo)
{
    struct mgr *m = s->data;
    log_info("signal %d: leaving %u guests to the next daemon", signo, m->guests_active);
    m->stopping = m->leaving = true;
    mgr_listen_stop(m);
    mgr_workers_leave(m);
    mgr_conns_close(m);
    uv_stop(m->loop);
}

/* ---- the beginning ---- */

static res_code_t make_folders(struct mgr *m, struct err *err)
{
    static const char *const folders[] = {"console", "workers"};
    char path[PB_PATH_MAX];
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        snprintf(path, sizeof path, "%.4000s/%s", m->opt->state, folders[i]);
        if (pb_private_dir(path, err))
            return FAIL;
    }
    return OK;
}

static res_code_t lock_state(struct mgr *m, struct err *err)
{
    char path[PB_PATH_MAX];
    if (pb_private_dir(m->opt->state, err))
        return err_wrap(err, "the state folder");
    if (snprintf(path, sizeof path, "%s/lock", m->opt->state) >= (int)sizeof path - 64)
        return err_set(err, ERR_INVALID, "path of the state folder is too long");
    m->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (m->lock_fd < 0)
        return err_set_os(err, "%s", path);
    /* of the process, not of the open file: a child of a vmd that was killed between fork and exec holds no such lock */
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(m->lock_fd, F_SETLK, &whole))
        return err_set(err, ERR_EXISTS, "another vmd keeps its state in %s", m->opt->state);
    return OK;
}

static void more_descriptors(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

static void watch(struct mgr *m, uv_signal_t *s, int signo)
{
    uv_signal_init(m->loop, s);
    s->data = m;
    uv_signal_start(s, on_signal, signo);
}

res_t mgr_init(struct mgr *m, const struct mgr_options *opt, struct err *err)
{
    *m = (struct mgr){.opt = opt,
                      .config = opt->config,
                      .loop = uv_default_loop(),
                      .lock_fd = -1,
                      .start_time_ns = mgr_wall_ns()};
    list_init(&m->listeners);
    list_init(&m->conns);
    list_init(&m->dirty_conns);
    list_init(&m->guests);
    list_init(&m->tenants);
    signal(SIGPIPE, SIG_IGN);
    more_descriptors();
    m->next_guest_id = m->next_event = m->next_worker = 1;
    mgr_timers_init(&m->timers, m->loop);
    mgr_workers_init(m);
    if (mgr_tenants_configure(m, opt->tenants, opt->tenant_count, err) || lock_state(m, err) ||
        mgr_images_init(m, err) || mgr_metrics_init(m, err) || mgr_events_init(m, err) ||
        make_folders(m, err) ||
        mgr_journal_open(m, mgr_restore_record, mgr_restore_snapshot, err) || mgr_listen(m, err))
        return FAIL;
    m->listening = true;
    uv_timer_init(m->loop, &m->stop_timer);
    m->stop_timer.data = m;
    uv_idle_init(m->loop, &m->spin);
    uv_prepare_init(m->loop, &m->flush);
    m->flush.data = m;
    uv_prepare_start(&m->flush, on_flush);
    watch(m, &m->on_term, SIGTERM);
    watch(m, &m->on_int, SIGINT);
    watch(m, &m->on_hup, SIGHUP);
    uv_signal_init(m->loop, &m->on_usr1);
    m->on_usr1.data = m;
    uv_signal_start(&m->on_usr1, on_leave, SIGUSR1);
    return OK;
}

void mgr_run(struct mgr *m)
{
    mgr_restore_running(m);
    mgr_event(m, PB_EVENT_TYPE_DAEMON_STARTED, NULL, "", 0, 0, VV_VERSION);
    mgr_workers_provide(m); /* not before: a worker inherits where the log goes */
    uv_run(m->loop, UV_RUN_DEFAULT);
}

static void close_handle(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

void mgr_fini(struct mgr *m)
{
    while (!list_empty(&m->guests)) /* out of the books, not out of the journal */
        mgr_guest_leave(list_entry(m->guests.next, struct mgr_guest, link), false);
    mgr_metrics_close(m);
    uv_walk(m->loop, close_handle, NULL);
    uv_run(m->loop, UV_RUN_DEFAULT);
    mgr_journal_close(m); /* the pool is done with it */
    uv_loop_close(m->loop);
    mgr_conns_fini(m);
    mgr_images_fini(m);
    mgr_events_fini(m);
    mgr_tenants_fini(m);
    mgr_timers_fini(&m->timers);
    mgr_layers_fini(m);
    mgr_metrics_fini(m);
    if (m->config != m->opt->config)
        mgr_config_free((struct mgr_config *)(uintptr_t)m->config);
    buf_fini(&m->scratch);
    close_fd(&m->lock_fd);
}
