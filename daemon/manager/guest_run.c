/* Starting, stopping, pausing; limits of time. */
#include "daemon/manager/event.h"
#include "daemon/manager/guest.h"
#include "daemon/manager/image.h"
#include "daemon/manager/metrics.h"
#include "daemon/manager/service.h"
#include "daemon/manager/worker.h"
#include "engine/base/log.h"
#include "engine/base/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- start ---- */

/* Rule (5). */
static res_code_t charge(struct mgr_guest *g, struct err *err)
{
    static const enum mgr_quota quotas[] = {MGR_QUOTA_MEMORY, MGR_QUOTA_VCPUS, MGR_QUOTA_DISK};
    const uint64_t amounts[] = {g->limits.memory_bytes, g->spec->vcpus, g->limits.overlay_bytes};
    for (size_t i = 0; i < ARRAY_LEN(quotas); i++)
        if (mgr_quota_take(g->tenant, quotas[i], amounts[i], err)) {
            while (i-- > 0)
                mgr_quota_give(g->tenant, quotas[i], amounts[i]);
            return FAIL;
        }
    g->charged = true;
    return OK;
}

void mgr_guest_charge_anyway(struct mgr_guest *g)
{
    g->tenant->used[MGR_QUOTA_MEMORY] += g->limits.memory_bytes;
    g->tenant->used[MGR_QUOTA_VCPUS] += g->spec->vcpus;
    g->tenant->used[MGR_QUOTA_DISK] += g->limits.overlay_bytes;
    g->charged = true;
}

res_t mgr_guest_start(struct mgr_guest *g, struct err *err)
{
    bool again = g->state == PB_GUEST_STATE_RESTARTING;
    if (g->m->stopping)
        return err_set(err, ERR_UNAVAILABLE, "the daemon is shutting down");
    if (!mgr_guest_running(g) && !mgr_guest_over(g) && charge(g, err))
        return FAIL;
    if (mgr_guest_advance(g, MGR_EV_START, err))
        return FAIL;
    mgr_deadline_clear(&g->m->timers, &g->restart);
    if (again) {
        g->restarts++;
        mgr_count(g->m, MGR_METRIC_GUEST_RESTARTS, 1);
        g->kill_sent = g->have_fault = g->input_closed = false;
        g->limit_text[0] = g->stopping_by[0] = 0;
        g->input_under_way = 0;
    }
    g->start_time_ns = mgr_wall_ns();
    g->start_mono_ns = os_now_ns();
    mgr_worker_place(g);
    return OK;
}

static void on_wall(struct mgr_deadline *d)
{
    struct mgr_guest *g = container_of(d, struct mgr_guest, wall);
    struct err err;
    snprintf(g->limit_text, sizeof g->limit_text, "time limit of %llu.%03llu s passed",
             (unsigned long long)g->limits.wall_ns / 1000000000,
             (unsigned long long)g->limits.wall_ns / 1000000 % 1000);
    if (mgr_guest_stop(g, 0, "", &err))
        log_debug("%s", err.text);
}

void mgr_guest_runs(struct mgr_guest *g, uint64_t since_ns)
{
    struct err err;
    if (!g->limits.wall_ns)
        return;
    uint64_t used = os_now_ns() - since_ns;
    uint64_t left = g->limits.wall_ns > used ? (g->limits.wall_ns - used + 999999) / 1000000 : 0;
    if (mgr_deadline_set(&g->m->timers, &g->wall, left, on_wall, &err))
        log_error_f(MGR_ABOUT(g), "%s", err.text);
}

/* "NAME=value", unless the guest sets this variable itself; how many. */
static size_t put_default(struct buf *text, const PbCreateGuestRequest *spec, const char *name,
                          const char *value)
{
    for (size_t i = 0; i < spec->n_env; i++)
        if (!strcmp(spec->env[i]->name, name))
            return 0;
    buf_printf(text, "%s=%s", name, value);
    buf_put_u8(text, 0);
    return 1;
}

/* "NAME=value" strings in text, and pointers to them. What is set stands above the defaults; with nothing set, those of the engine hold. */
static char **environment(const PbCreateGuestRequest *spec, struct buf *text, size_t *count)
{
    size_t at = 0, n = 0;
    if (spec->n_env) {
        n += put_default(text, spec, "PATH",
                         "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        n += put_default(text, spec, "HOME", spec->uid ? "/" : "/root");
    }
    if (spec->n_env && spec->tty)
        n += put_default(text, spec, "TERM", "xterm");
    for (size_t i = 0; i < spec->n_env; i++, n++) {
        buf_printf(text, "%s=%s", spec->env[i]->name, spec->env[i]->value);
        buf_put_u8(text, 0);
    }
    char **env = calloc(n + 1, sizeof *env);
    if (!env || text->failed) {
        free(env);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        env[i] = (char *)text->data + at;
        at += strlen(env[i]) + 1;
    }
    *count = n;
    return env;
}

void mgr_guest_send_run(struct mgr_guest *g)
{
    const PbCreateGuestRequest *spec = g->spec;
    struct err err;
    int fd;
    if (mgr_image_open(g->m, g->digest, &fd, &err)) {
        mgr_guest_refused(g, &err);
        return;
    }
    struct buf text = {0};
    size_t env_count = 0;
    char **env = environment(spec, &text, &env_count);
    if (!env) {
        buf_fini(&text);
        close_fd(&fd);
        err_set(&err, ERR_NO_MEMORY, "no memory to start a guest");
        mgr_guest_refused(g, &err);
        return;
    }
    PbWorkerRun run = PB_WORKER_RUN__INIT;
    run.guest = g->id;
    run.name = (char *)(uintptr_t)g->name;
    run.n_args = spec->n_args;
    run.args = spec->args;
    run.n_env = env_count;
    run.env = env;
    run.cwd = spec->cwd;
    run.uid = spec->uid;
    run.gid = spec->gid;
    run.tty = spec->tty;
    run.rows = spec->rows;
    run.cols = spec->cols;
    run.vcpus = spec->vcpus;
    run.window_bits = spec->window_bits;
    run.memory_bytes = g->limits.memory_bytes;
    run.overlay_bytes = g->limits.overlay_bytes;
    run.processes = g->limits.processes;
    run.files = g->limits.files;
    run.cpu_ns = g->limits.cpu_ns;
    run.console_credit = g->granted = MGR_CREDIT_BYTES;
    run.console_seq = mgr_console_seq(&g->console);
    g->spent = 0;
    MGR_TO_WORKER(RUN, run, &run);
    mgr_worker_tell(g->worker, &to, fd);
    free(env);
    buf_fini(&text);
}

/* ---- stop ---- */

static void tell_simple(struct mgr_guest *g, PbToWorker__KindCase kind)
{
    PbWorkerGuest which = PB_WORKER_GUEST__INIT;
    PbToWorker to = PB_TO_WORKER__INIT;
    which.guest = g->id;
    to.kind_case = kind;
    to.kill = &which; /* a union */
    if (g->worker)
        mgr_worker_tell(g->worker, &to, -1);
}

static void send_signal(struct mgr_guest *g, uint32_t signo)
{
    if (!g->worker)
        return;
    PbWorkerSignal sig = PB_WORKER_SIGNAL__INIT;
    sig.guest = g->id;
    sig.signal = signo;
    MGR_TO_WORKER(SIGNAL, signal, &sig);
    mgr_worker_tell(g->worker, &to, -1);
}

static void on_grace(struct mgr_deadline *d)
{
    struct mgr_guest *g = container_of(d, struct mgr_guest, grace);
    if (!g->kill_sent)
        mgr_guest_send_kill(g);
    else if (g->worker)
        mgr_worker_kill(g->worker, "it did not end a guest that was killed");
}

static void set_grace(struct mgr_guest *g, uint64_t ms)
{
    struct err err;
    if (mgr_deadline_set(&g->m->timers, &g->grace, ms, on_grace, &err))
        log_error_f(MGR_ABOUT(g), "%s", err.text);
}

void mgr_guest_send_kill(struct mgr_guest *g)
{
    g->kill_sent = true;
    set_grace(g, MGR_KILL_MS);
    tell_simple(g, PB_TO_WORKER__KIND_KILL);
}

/* It waits for a worker, or for its restart: there is nobody to tell. */
static void end_unstarted(struct mgr_guest *g, const char *by)
{
    snprintf(g->stopping_by, sizeof g->stopping_by, "%s", by);
    mgr_guest_is_over(g, PB_END_KIND_KILLED, 0, "stopped before it was started");
}

res_t mgr_guest_stop(struct mgr_guest *g, uint64_t grace_ms, const char *by, struct err *err)
{
    bool paused = g->state == PB_GUEST_STATE_PAUSED;
    PbGuestState was = g->state;
    if (mgr_guest_advance(g, MGR_EV_STOP, err))
        return FAIL;
    if (mgr_guest_over(g)) {
        end_unstarted(g, by);
        return OK;
    }
    if (!g->worker && g->state == PB_GUEST_STATE_STOPPING) {
        if (mgr_guest_advance(g, MGR_EV_ENDED, err))
            return FAIL;
        end_unstarted(g, by);
        return OK;
    }
    if (!g->stopping_by[0])
        snprintf(g->stopping_by, sizeof g->stopping_by, "%s", by);
    if (was != PB_GUEST_STATE_STOPPING)
        mgr_event(g->m, PB_EVENT_TYPE_GUEST_STOPPING, g->tenant, g->name, g->id, 0, by);
    if (g->kill_sent)
        return OK;
    if (grace_ms == 0) {
        mgr_guest_send_kill(g);
        return OK;
    }
    send_signal(g, 15);
    if (paused) /* so that it can hear it */
        tell_simple(g, PB_TO_WORKER__KIND_RESUME);
    set_grace(g, grace_ms);
    return OK;
}

res_t mgr_guest_signal(struct mgr_guest *g, uint32_t signo, const char *by, struct err *err)
{
    if (signo == 9)
        return mgr_guest_stop(g, 0, by, err);
    if (mgr_guest_advance(g, MGR_EV_SIGNAL, err))
        return FAIL;
    send_signal(g, signo);
    return OK;
}

res_t mgr_guest_pause(struct mgr_guest *g, bool pause, struct err *err)
{
    if (mgr_guest_advance(g, pause ? MGR_EV_PAUSE : MGR_EV_RESUME, err))
        return FAIL;
    tell_simple(g, pause ? PB_TO_WORKER__KIND_PAUSE : PB_TO_WORKER__KIND_RESUME);
    return OK;
}
