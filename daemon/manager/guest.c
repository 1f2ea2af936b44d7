#include "daemon/manager/guest.h"
#include "daemon/manager/image.h"
#include "daemon/manager/service.h"
#include "daemon/manager/worker.h"
#include "engine/base/log.h"
#include "engine/base/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define S(x) PB_GUEST_STATE_##x
#define STATE_COUNT (S(FAILED) + 1)

/* The state machine: next state by state and event; 0 (UNSPECIFIED): refused. DELETE leaves the state: the guest goes. */
static const uint8_t next_state[STATE_COUNT][MGR_EV_COUNT] = {
    [S(CREATED)] =
        {[MGR_EV_START] = S(STARTING), [MGR_EV_STOP] = S(ENDED), [MGR_EV_DELETE] = S(CREATED)},
    [S(STARTING)] = {[MGR_EV_STARTED] = S(RUNNING),
                     [MGR_EV_REFUSED] = S(FAILED),
                     [MGR_EV_SIGNAL] = S(STARTING),
                     [MGR_EV_STOP] = S(STOPPING),
                     [MGR_EV_LOST] = S(FAILED)},
    [S(RUNNING)] = {[MGR_EV_SIGNAL] = S(RUNNING),
                    [MGR_EV_STOP] = S(STOPPING),
                    [MGR_EV_ENDED] = S(ENDED),
                    [MGR_EV_LOST] = S(FAILED)},
    [S(STOPPING)] = {[MGR_EV_STARTED] = S(STOPPING),
                     [MGR_EV_REFUSED] = S(FAILED),
                     [MGR_EV_SIGNAL] = S(STOPPING),
                     [MGR_EV_STOP] = S(STOPPING),
                     [MGR_EV_ENDED] = S(ENDED),
                     [MGR_EV_LOST] = S(FAILED)},
    [S(ENDED)] = {[MGR_EV_DELETE] = S(ENDED)},
    [S(FAILED)] = {[MGR_EV_DELETE] = S(FAILED)},
};
static const char *const state_words[STATE_COUNT] = {
    [S(CREATED)] = "was not started", [S(STARTING)] = "is starting",
    [S(RUNNING)] = "is running",      [S(STOPPING)] = "is being stopped",
    [S(ENDED)] = "has ended before",  [S(FAILED)] = "has failed before",
};
static const char *const event_words[MGR_EV_COUNT] = {
    [MGR_EV_START] = "it cannot be started again; create a new one",
    [MGR_EV_SIGNAL] = "it takes no signals or input",
    [MGR_EV_STOP] = "there is nothing to stop",
    [MGR_EV_DELETE] = "stop it first, or use force",
};

/* Rule (1). Fails: ERR_STATE. */
res_t mgr_guest_advance(struct mgr_guest *g, enum mgr_event ev, struct err *err)
{
    PbGuestState next = next_state[g->state][ev];
    if (!next)
        return err_set(err, ERR_STATE, "guest \"%s\" %s: %s", g->name, state_words[g->state],
                       event_words[ev] ? event_words[ev] : "unexpected");
    bool was_running = mgr_guest_running(g);
    g->state = next;
    if (mgr_guest_running(g) != was_running)
        was_running ? g->m->guests_active-- : g->m->guests_active++;
    return OK;
}

bool mgr_guest_running(const struct mgr_guest *g)
{
    return g->state == S(STARTING) || g->state == S(RUNNING) || g->state == S(STOPPING);
}

bool mgr_guest_over(const struct mgr_guest *g)
{
    return g->state == S(ENDED) || g->state == S(FAILED);
}

/* ---- creation ---- */

static PbCreateGuestRequest *copy_spec(const PbCreateGuestRequest *spec)
{
    size_t n = protobuf_c_message_get_packed_size(&spec->base);
    uint8_t *bytes = malloc(n ? n : 1);
    if (!bytes)
        return NULL;
    protobuf_c_message_pack(&spec->base, bytes);
    PbCreateGuestRequest *copy = pb_create_guest_request__unpack(NULL, n, bytes);
    free(bytes);
    return copy;
}

static res_code_t choose_name(struct mgr *m, const char *wish, char *name, size_t cap,
                              struct err *err)
{
    struct mgr_guest *taken;
    if (wish[0]) {
        HASH_FIND_STR(m->guest_by_name, wish, taken);
        if (taken)
            return err_set(err, ERR_EXISTS,
                           "guest \"%s\" exists already; remove it or take another name", wish);
        snprintf(name, cap, "%s", wish);
        return OK;
    }
    do {
        uint32_t random;
        os_random(&random, sizeof random);
        snprintf(name, cap, "g%06x", random & 0xffffff);
        HASH_FIND_STR(m->guest_by_name, name, taken);
    } while (taken);
    return OK;
}

res_t mgr_guest_new(struct mgr *m, const PbCreateGuestRequest *spec, const char *digest,
                    struct mgr_guest **out, struct err *err)
{
    char name[sizeof((struct mgr_guest *)0)->name];
    if (m->guest_count >= MGR_GUESTS_MAX)
        return err_set(err, ERR_LIMIT, "%d guests exist; remove some", MGR_GUESTS_MAX);
    if (choose_name(m, spec->name, name, sizeof name, err))
        return FAIL;
    struct mgr_guest *g = calloc(1, sizeof *g);
    if (!g || !(g->spec = copy_spec(spec))) {
        free(g);
        return err_set(err, ERR_NO_MEMORY, "no memory for a guest");
    }
    g->m = m;
    g->id = ++m->next_guest_id;
    memcpy(g->name, name, sizeof name);
    snprintf(g->digest, sizeof g->digest, "%s", digest);
    g->state = S(CREATED);
    g->create_time_ns = mgr_wall_ns();
    list_init(&g->at_worker);
    list_init(&g->readers);
    list_init(&g->start_waiters);
    list_init(&g->end_waiters);
    list_init(&g->delete_waiters);
    list_init(&g->grace);
    HASH_ADD_STR(m->guest_by_name, name, g);
    list_append(&m->guests, &g->link);
    m->guest_count++;
    *out = g;
    return OK;
}

res_t mgr_guest_find(struct mgr *m, const char *name, struct mgr_guest **out, struct err *err)
{
    struct mgr_guest *g;
    HASH_FIND_STR(m->guest_by_name, name, g);
    if (!g)
        return err_set(err, ERR_NOT_FOUND, "no guest \"%.63s\"", name);
    *out = g;
    return OK;
}

/* ---- the end ---- */

void mgr_guest_answer(struct list *waiters, const struct mgr_guest *g)
{
    struct pb_call *call;
    while ((call = mgr_waiter_take(waiters)))
        pb_call_reply(call, &mgr_guest_message(g)->base);
}

static void answer_error(struct list *waiters, const struct err *err)
{
    struct pb_call *call;
    while ((call = mgr_waiter_take(waiters)))
        pb_call_finish(call, err);
}

void mgr_guest_wake_readers(struct mgr_guest *g)
{
    list_for_each_safe(l, &g->readers) pb_call_wake(list_entry(l, struct mgr_reader, link)->call);
}

static void free_guest(struct mgr_guest *g)
{
    struct mgr *m = g->m;
    struct err err;
    err_set(&err, ERR_NOT_FOUND, "guest \"%s\" was removed", g->name);
    while (!list_empty(&g->readers)) {
        struct mgr_reader *r = list_entry(g->readers.next, struct mgr_reader, link);
        struct pb_call *call = r->call;
        list_remove(&r->link);
        free(r);
        call->user = NULL;
        pb_call_finish(call, &err);
    }
    answer_error(&g->start_waiters, &err);
    answer_error(&g->end_waiters, &err);
    PbDeleteGuestResponse empty = PB_DELETE_GUEST_RESPONSE__INIT;
    struct pb_call *call;
    while ((call = mgr_waiter_take(&g->delete_waiters)))
        pb_call_reply(call, &empty.base);
    HASH_DEL(m->guest_by_name, g);
    list_remove(&g->link);
    list_remove(&g->grace);
    m->guest_count--;
    mgr_console_fini(&g->console);
    pb_create_guest_request__free_unpacked(g->spec, NULL);
    free(g);
}

/* The guest is over: tell everybody who waits. May free g. */
void mgr_guest_is_over(struct mgr_guest *g, PbEndKind kind, int code, const char *text)
{
    struct mgr *m = g->m;
    g->end_kind = kind;
    g->end_code = code;
    snprintf(g->end_text, sizeof g->end_text, "%s", text);
    g->end_time_ns = mgr_wall_ns();
    g->stats.wall_ns = g->start_mono_ns ? os_now_ns() - g->start_mono_ns : 0;
    g->announcing = true; /* nobody below may free it */
    list_remove(&g->grace);
    mgr_worker_release(g);
    mgr_guest_answer(&g->end_waiters, g);
    if (g->state == S(FAILED) && g->refused) {
        struct err err;
        err_set(&err, g->refused, "%s", g->end_text);
        answer_error(&g->start_waiters, &err);
    } else {
        mgr_guest_answer(&g->start_waiters, g);
    }
    if (g->writer)
        pb_call_resume(g->writer->call); /* what it still sends is dropped */
    mgr_guest_wake_readers(g);
    g->announcing = false;
    if (!list_empty(&g->delete_waiters) || (g->spec->auto_remove && list_empty(&g->readers)))
        free_guest(g);
    mgr_stop_step(m);
}

void mgr_guest_lost(struct mgr_guest *g, const char *why)
{
    if (g->state == S(STARTING))
        g->refused = ERR_UNAVAILABLE;
    if (mgr_guest_advance(g, MGR_EV_LOST, NULL))
        mgr_worker_release(g);
    else
        mgr_guest_is_over(g, PB_END_KIND_LOST, 0, why);
}

void mgr_guest_refused(struct mgr_guest *g, const struct err *why)
{
    if (mgr_guest_advance(g, MGR_EV_REFUSED, NULL)) {
        mgr_worker_release(g);
        return;
    }
    g->refused = why->code;
    mgr_guest_is_over(g, PB_END_KIND_ERROR, 0, why->text);
}

res_t mgr_guest_delete(struct mgr_guest *g, struct err *err)
{
    if (mgr_guest_advance(g, MGR_EV_DELETE, err))
        return FAIL;
    free_guest(g);
    return OK;
}

/* ---- start and stop ---- */

res_t mgr_guest_start(struct mgr_guest *g, struct err *err)
{
    if (g->m->stopping)
        return err_set(err, ERR_UNAVAILABLE, "the daemon is shutting down");
    if (mgr_guest_advance(g, MGR_EV_START, err))
        return FAIL;
    g->start_time_ns = mgr_wall_ns();
    g->start_mono_ns = os_now_ns();
    mgr_worker_place(g);
    return OK;
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
    struct buf text = {0}; /* "NAME=value" strings */
    char **env = calloc(spec->n_env + 1, sizeof *env);
    size_t at = 0;
    for (size_t i = 0; i < spec->n_env; i++) {
        buf_printf(&text, "%s=%s", spec->env[i]->name, spec->env[i]->value);
        buf_put_u8(&text, 0);
    }
    if (!env || text.failed) {
        free(env);
        buf_fini(&text);
        close_fd(&fd);
        err_set(&err, ERR_NO_MEMORY, "no memory to start a guest");
        mgr_guest_refused(g, &err);
        return;
    }
    for (size_t i = 0; i < spec->n_env; i++) {
        env[i] = (char *)text.data + at;
        at += strlen(env[i]) + 1;
    }
    PbWorkerRun run = PB_WORKER_RUN__INIT;
    run.guest = g->id;
    run.name = g->name;
    run.n_args = spec->n_args;
    run.args = spec->args;
    run.n_env = spec->n_env;
    run.env = env;
    run.cwd = spec->cwd;
    run.uid = spec->uid;
    run.gid = spec->gid;
    run.tty = spec->tty;
    run.rows = spec->rows;
    run.cols = spec->cols;
    run.vcpus = spec->vcpus;
    run.window_bits = spec->window_bits;
    if (spec->limits) {
        run.memory_bytes = spec->limits->memory_bytes;
        run.overlay_bytes = spec->limits->overlay_bytes;
        run.processes = spec->limits->processes;
        run.files = spec->limits->files;
        run.cpu_ns = spec->limits->cpu_ns;
    }
    run.console_credit = g->granted = MGR_CREDIT_BYTES;
    MGR_TO_WORKER(RUN, run, &run);
    mgr_worker_tell(g->worker, &to, fd);
    free(env);
    buf_fini(&text);
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

static void set_grace_timer(struct mgr *m);

static void set_grace(struct mgr_guest *g, uint64_t ms)
{
    struct mgr *m = g->m;
    uv_update_time(m->loop);
    g->grace_until_ms = uv_now(m->loop) + ms;
    list_remove(&g->grace);
    list_append(&m->graces, &g->grace);
    set_grace_timer(m);
}

static void send_kill(struct mgr_guest *g)
{
    PbWorkerGuest kill = PB_WORKER_GUEST__INIT;
    kill.guest = g->id;
    MGR_TO_WORKER(KILL, kill, &kill);
    g->kill_sent = true;
    set_grace(g, MGR_KILL_MS);
    mgr_worker_tell(g->worker, &to, -1);
}

static void on_grace(uv_timer_t *t)
{
    struct mgr *m = t->data;
    uint64_t now = uv_now(m->loop);
    list_for_each_safe(l, &m->graces)
    {
        struct mgr_guest *g = list_entry(l, struct mgr_guest, grace);
        if (g->grace_until_ms > now)
            continue;
        list_remove(&g->grace);
        if (!g->kill_sent)
            send_kill(g);
        else
            mgr_worker_kill(g->worker, "it did not end a guest that was killed");
    }
    set_grace_timer(m);
}

static void set_grace_timer(struct mgr *m)
{
    uint64_t now = uv_now(m->loop), first = UINT64_MAX;
    list_for_each(l, &m->graces) first =
        MIN(first, list_entry(l, struct mgr_guest, grace)->grace_until_ms);
    if (first != UINT64_MAX)
        uv_timer_start(&m->grace_timer, on_grace, first > now ? first - now : 0, 0);
}

res_t mgr_guest_stop(struct mgr_guest *g, uint64_t grace_ms, struct err *err)
{
    if (mgr_guest_advance(g, MGR_EV_STOP, err))
        return FAIL;
    if (mgr_guest_over(g)) { /* it was never started */
        mgr_guest_is_over(g, PB_END_KIND_KILLED, 0, "stopped before it was started");
        return OK;
    }
    if (!g->worker && g->state == S(STOPPING)) { /* it still waits for one */
        if (mgr_guest_advance(g, MGR_EV_ENDED, err))
            return FAIL;
        mgr_guest_is_over(g, PB_END_KIND_KILLED, 0, "stopped before it was started");
        return OK;
    }
    if (grace_ms == 0) {
        if (!g->kill_sent)
            send_kill(g);
        return OK;
    }
    if (!g->kill_sent) {
        send_signal(g, 15);
        set_grace(g, grace_ms);
    }
    return OK;
}

res_t mgr_guest_signal(struct mgr_guest *g, uint32_t signo, struct err *err)
{
    if (signo == 9)
        return mgr_guest_stop(g, 0, err);
    if (mgr_guest_advance(g, MGR_EV_SIGNAL, err))
        return FAIL;
    send_signal(g, signo);
    return OK;
}

/* ---- for clients ---- */

const PbGuest *mgr_guest_message(const struct mgr_guest *g)
{
    static PbGuest out;
    static PbGuestEnd end;
    static PbGuestStats stats;
    pb_guest__init(&out);
    pb_guest_end__init(&end);
    out.name = (char *)(uintptr_t)g->name;
    out.state = g->state;
    out.image = g->spec->image;
    out.image_digest = (char *)(uintptr_t)g->digest;
    out.n_args = g->spec->n_args;
    out.args = g->spec->args;
    out.tty = g->spec->tty;
    out.create_time_ns = g->create_time_ns;
    out.start_time_ns = g->start_time_ns;
    out.end_time_ns = g->end_time_ns;
    out.worker_pid = g->worker_pid;
    out.console_bytes = g->console.seq;
    if (mgr_guest_over(g)) {
        end.kind = g->end_kind;
        end.code = g->end_code;
        end.text = (char *)(uintptr_t)g->end_text;
        out.end = &end;
    }
    if (g->have_stats) {
        stats = g->stats;
        out.stats = &stats;
    }
    return &out;
}
