#include "daemon/worker/worker.h"
#include "daemon/worker/confine.h"
#include "daemon/worker/guest.h"
#include "engine/base/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct worker {
    uv_loop_t loop;
    uv_poll_t poll, listen_poll;
    uv_async_t wake;
    uv_prepare_t flush;
    uv_timer_t orphaned; /* runs while there is no manager */
    int listen_fd;       /* -1: guests do not outlive their manager */
    uint32_t orphan_seconds;
    bool managed, over;
    struct pb_channel ch;
    struct list guests;
    PbWorkerHello hello; /* with its layers of confinement */
    struct err err;
    res_code_t res;
};

static void stop(struct worker *w, res_code_t res)
{
    w->over = true;
    w->res = res;
    uv_stop(&w->loop);
}

static void on_wake(uv_async_t *a)
{
    struct worker *w = a->data;
    list_for_each_safe(l, &w->guests) wk_guest_look(list_entry(l, struct wk_guest, link));
}

static void say_hello(struct worker *w)
{
    size_t n = 0, i = 0;
    list_for_each(l, &w->guests) n++;
    PbWorkerHello hello = w->hello;
    PbWorkerHas *has = calloc(n + 1, sizeof *has), **pointers = calloc(n + 1, sizeof *pointers);
    if (has && pointers) {
        list_for_each(l, &w->guests)
        {
            const struct wk_guest *g = list_entry(l, struct wk_guest, link);
            pb_worker_has__init(&has[i]);
            has[i].guest = g->id;
            has[i].paused = g->paused;
            has[i].console_first = g->sent_seq;
            pointers[i] = &has[i];
            i++;
        }
        hello.n_guests = n;
        hello.guests = pointers;
    }
    hello.version = (char *)(uintptr_t)VV_VERSION;
    FROM_WORKER(HELLO, hello, &hello);
    pb_channel_put(&w->ch, &from.base, -1);
    free(has);
    free(pointers);
}

/* ---- from the manager ---- */

static res_code_t find(struct worker *w, uint64_t id, struct wk_guest **out, struct err *err)
{
    *out = NULL; /* it may have ended while the message was on its way */
    list_for_each(l, &w->guests)
    {
        struct wk_guest *g = list_entry(l, struct wk_guest, link);
        if (g->id == id)
            *out = g;
    }
    if (id == 0)
        return err_set(err, ERR_BAD_MESSAGE, "a message about no guest");
    return OK;
}

static res_code_t hear_run(struct worker *w, const PbWorkerRun *run, struct err *err)
{
    CLEANUP(close_fd) int image_fd = pb_channel_take_fd(&w->ch);
    struct wk_guest *g;
    struct err why = {.code = ERR_INTERNAL};
    if (find(w, run->guest, &g, err))
        return FAIL;
    if (g || image_fd < 0)
        return err_set(err, ERR_BAD_MESSAGE, "run of guest %llu without an image, or twice",
                       (unsigned long long)run->guest);
    if (wk_guest_start(run, image_fd, &w->ch, &w->wake, &g, &why)) {
        PbWorkerRefused refused = PB_WORKER_REFUSED__INIT;
        refused.guest = run->guest;
        refused.code = why.code;
        refused.text = why.text;
        FROM_WORKER(REFUSED, refused, &refused);
        pb_channel_put(&w->ch, &from.base, -1);
        return OK;
    }
    list_append(&w->guests, &g->link);
    PbWorkerGuest started = PB_WORKER_GUEST__INIT;
    started.guest = g->id;
    FROM_WORKER(STARTED, started, &started);
    pb_channel_put(&w->ch, &from.base, -1);
    return OK;
}

static res_code_t hear_input(struct wk_guest *g, ProtobufCBinaryData data, struct err *err)
{
    if (g->input_at > 65536) {
        buf_drop_front(&g->input, g->input_at);
        g->input_at = 0;
    }
    if (g->input.len - g->input_at + data.len > WK_INPUT_BYTES_MAX)
        return err_set(err, ERR_BAD_MESSAGE, "input beyond what may be under way");
    buf_put(&g->input, data.data, data.len);
    if (g->input.failed)
        return err_set(err, ERR_NO_MEMORY, "no memory for input");
    wk_guest_pump_input(g);
    return OK;
}

/* Standing still or running: told when it is so. */
static void hear_pause(struct worker *w, struct wk_guest *g, bool pause)
{
    struct err err;
    PbWorkerGuest which = PB_WORKER_GUEST__INIT;
    which.guest = g->id;
    if (!g->vm)
        return; /* its end is on its way */
    if (pause ? vm_pause(g->vm, &err) : vm_resume(g->vm, &err))
        log_debug("guest %llu: %s", (unsigned long long)g->id, err.text);
    g->paused = pause;
    PbFromWorker from = PB_FROM_WORKER__INIT;
    from.kind_case = pause ? PB_FROM_WORKER__KIND_PAUSED : PB_FROM_WORKER__KIND_RESUMED;
    from.paused = &which; /* a union */
    pb_channel_put(&w->ch, &from.base, -1);
}

/* What is said of a guest that is here. */
static res_code_t hear_of(struct worker *w, struct wk_guest *g, const PbToWorker *m,
                          struct err *err)
{
    switch (m->kind_case) {
    case PB_TO_WORKER__KIND_SIGNAL:
        if (g->vm && vm_signal(g->vm, (int)m->signal->signal, err)) /* it may be ending */
            log_debug("signal %u: %s", m->signal->signal, err->text);
        return OK;
    case PB_TO_WORKER__KIND_KILL:
        if (g->vm)
            vm_kill(g->vm);
        if (g->vm && g->paused && vm_resume(g->vm, err)) /* so that it can end */
            log_debug("kill: %s", err->text);
        return OK;
    case PB_TO_WORKER__KIND_INPUT:
        return hear_input(g, m->input->data, err);
    case PB_TO_WORKER__KIND_INPUT_EOF:
        g->input_eof = true;
        wk_guest_pump_input(g);
        return OK;
    case PB_TO_WORKER__KIND_RESIZE:
        if (g->vm)
            vm_console_resize(g->vm, (uint16_t)m->resize->rows, (uint16_t)m->resize->cols);
        return OK;
    case PB_TO_WORKER__KIND_CREDIT:
        wk_guest_safe(g, m->credit->kept_seq);
        g->credit += m->credit->bytes;
        if (g->vm)
            wk_guest_pump_output(g, false);
        return OK;
    case PB_TO_WORKER__KIND_PAUSE:
    case PB_TO_WORKER__KIND_RESUME:
        hear_pause(w, g, m->kind_case == PB_TO_WORKER__KIND_PAUSE);
        return OK;
    case PB_TO_WORKER__KIND_STATS:
        wk_guest_tell_stats(g);
        return OK;
    case PB_TO_WORKER__KIND_FORGET:
        wk_guest_free(g); /* if it runs, it ends */
        return OK;
    case PB_TO_WORKER__KIND_ADOPT:
        wk_guest_adopted(g, m->adopt->console_seq, m->adopt->console_credit);
        return OK;
    default:
        UNREACHABLE(); /* hear() looked */
    }
}

static uint64_t subject_of(const PbToWorker *m)
{
    switch (m->kind_case) {
    case PB_TO_WORKER__KIND_SIGNAL:
        return m->signal->guest;
    case PB_TO_WORKER__KIND_INPUT:
        return m->input->guest;
    case PB_TO_WORKER__KIND_RESIZE:
        return m->resize->guest;
    case PB_TO_WORKER__KIND_CREDIT:
        return m->credit->guest;
    case PB_TO_WORKER__KIND_ADOPT:
        return m->adopt->guest;
    case PB_TO_WORKER__KIND_KILL:
    case PB_TO_WORKER__KIND_INPUT_EOF:
    case PB_TO_WORKER__KIND_PAUSE:
    case PB_TO_WORKER__KIND_RESUME:
    case PB_TO_WORKER__KIND_STATS:
    case PB_TO_WORKER__KIND_FORGET:
        return m->kill->guest; /* a union */
    default:
        return 0;
    }
}

static res_code_t hear(struct worker *w, const PbToWorker *m, struct err *err)
{
    struct wk_guest *g;
    if (m->kind_case == PB_TO_WORKER__KIND_RUN)
        return hear_run(w, m->run, err);
    if (m->kind_case == PB_TO_WORKER__KIND_SETUP) {
        w->orphan_seconds = m->setup->orphan_seconds;
        return OK;
    }
    if (find(w, subject_of(m), &g, err))
        return err_wrap(err, "message of kind %d", (int)m->kind_case);
    return g ? hear_of(w, g, m, err) : OK;
}

/* ---- the manager goes, and another one comes ---- */

static void on_poll(uv_poll_t *p, int status, int events);

static void on_orphaned(uv_timer_t *t)
{
    log_warn("no manager came back: the guests end");
    stop(t->data, OK);
}

static void on_manager(uv_poll_t *p, int status, int events)
{
    struct worker *w = p->data;
    (void)events;
    if (status < 0)
        return;
    int fd = accept4(w->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    uv_poll_stop(&w->listen_poll);
    uv_timer_stop(&w->orphaned);
    pb_channel_init(&w->ch, fd, WK_MESSAGE_BYTES_MAX, true);
    uv_poll_init(&w->loop, &w->poll, fd);
    w->poll.data = w;
    w->managed = true;
    say_hello(w);
}

static void on_poll_closed(uv_handle_t *h)
{
    struct worker *w = h->data;
    if (w->over)
        return;
    uv_poll_start(&w->listen_poll, UV_READABLE, on_manager);
    uv_timer_start(&w->orphaned, on_orphaned, (uint64_t)w->orphan_seconds * 1000, 0);
}

/* The manager hung up. Guests wait for the next one, if they are meant to. */
static void lose_manager(struct worker *w)
{
    if (w->listen_fd < 0 || !w->orphan_seconds || list_empty(&w->guests)) {
        stop(w, OK);
        return;
    }
    w->managed = false;
    pb_channel_fini(
        &w->ch); /* closes the socket, and forgets what was not sent: hello makes good for it */
    list_for_each(l, &w->guests) list_entry(l, struct wk_guest, link)->credit = 0;
    uv_close((uv_handle_t *)&w->poll, on_poll_closed);
}

static void on_poll(uv_poll_t *p, int status, int events)
{
    struct worker *w = p->data;
    bool gone = status < 0;
    if (!gone && events & UV_READABLE && pb_channel_fill(&w->ch, &w->err)) {
        if (w->err.code != ERR_UNAVAILABLE) {
            stop(w, FAIL);
            return;
        }
        gone = true;
    }
    while (!w->over) {
        const ProtobufCMessage *m;
        if (pb_channel_next(&w->ch, &pb_to_worker__descriptor, &m, &w->err) ||
            (m && hear(w, (const PbToWorker *)m, &w->err))) {
            stop(w, FAIL);
            return;
        }
        if (!m)
            break;
    }
    if (gone && !w->over)
        lose_manager(w);
}

static void on_flush(uv_prepare_t *h)
{
    struct worker *w = h->data;
    struct err err;
    if (!w->managed)
        return;
    if (pb_channel_flush(&w->ch, &err)) {
        if (err.code == ERR_UNAVAILABLE)
            uv_poll_start(&w->poll, UV_READABLE,
                          on_poll); /* what it said last is heard, then its end */
        else
            stop(w, OK);
        return;
    }
    int events = UV_READABLE | (pb_channel_pending(&w->ch) ? UV_WRITABLE : 0);
    uv_poll_start(&w->poll, events, on_poll);
}

static void close_handle(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

res_t wk_run(int fd, int listen_fd, struct err *err)
{
    static struct worker w; /* one per process */
    w = (struct worker){.res = OK, .listen_fd = listen_fd, .managed = true};
    list_init(&w.guests);
    pb_channel_init(&w.ch, fd, WK_MESSAGE_BYTES_MAX, true);
    if (uv_loop_init(&w.loop))
        return err_set(err, ERR_OS, "no event loop");
    uv_poll_init(&w.loop, &w.poll, fd);
    uv_async_init(&w.loop, &w.wake, on_wake);
    uv_prepare_init(&w.loop, &w.flush);
    uv_timer_init(&w.loop, &w.orphaned);
    if (listen_fd >= 0)
        uv_poll_init(&w.loop, &w.listen_poll, listen_fd);
    w.poll.data = w.wake.data = w.flush.data = w.orphaned.data = w.listen_poll.data = &w;
    uv_prepare_start(&w.flush, on_flush);
    pb_worker_hello__init(&w.hello);
    if (wk_confine(&w.hello, err)) /* the loop has what it needs; nothing was heard yet */
        return FAIL;
    say_hello(&w);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    while (!list_empty(&w.guests))
        wk_guest_free(list_entry(w.guests.next, struct wk_guest, link));
    uv_walk(&w.loop, close_handle, NULL);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    uv_loop_close(&w.loop);
    pb_channel_fini(&w.ch);
    if (w.res && err)
        *err = w.err;
    return w.res;
}
