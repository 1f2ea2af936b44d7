#include "daemon/worker/worker.h"
#include "daemon/worker/confine.h"
#include "engine/base/base.h"
#include "engine/base/log.h"
#include "engine/vm/vm.h"
#include "proto/channel.h"
#include "proto/worker.pb-c.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define CHUNK_BYTES 32768

struct worker;
struct guest {
    struct worker *w;
    struct list link;
    uint64_t id;
    struct vm *vm;
    uint64_t credit;
    struct buf input; /* not taken yet */
    size_t input_at;
    bool input_eof, eof_told;
    /* set by the guest's threads */
    atomic_bool console_ready, ended;
};
struct worker {
    uv_loop_t loop;
    uv_poll_t poll;
    uv_async_t wake;
    uv_prepare_t flush;
    struct pb_channel ch;
    struct list guests;
    bool over;
    struct err err;
    res_code_t res;
};

static void stop(struct worker *w, res_code_t res)
{
    w->over = true;
    w->res = res;
    uv_stop(&w->loop);
}

#define FROM_WORKER(case_, field_, value_)         \
    PbFromWorker from = PB_FROM_WORKER__INIT;      \
    from.kind_case = PB_FROM_WORKER__KIND_##case_; \
    from.field_ = (value_)

static void say(struct worker *w, const PbFromWorker *from)
{
    pb_channel_put(&w->ch, &from->base, -1); /* sent by the flush before the loop sleeps */
}

/* ---- from the guest ---- */

static void on_console(void *ctx)
{
    struct guest *g = ctx;
    atomic_store(&g->console_ready, true);
    uv_async_send(&g->w->wake);
}

static void on_ended(void *ctx)
{
    struct guest *g = ctx;
    atomic_store(&g->ended, true);
    uv_async_send(&g->w->wake);
}

static void drop_guest(struct guest *g)
{
    list_remove(&g->link);
    vm_free(g->vm);
    buf_fini(&g->input);
    free(g);
}

/* Output while there is credit (or, once it ended, all of it). */
static void pump_output(struct guest *g, bool all)
{
    static uint8_t bytes[CHUNK_BYTES];
    bool any = true;
    while (any && (all || g->credit > WK_OUTPUT_HEAD)) {
        any = false;
        for (unsigned stream = 1; stream <= 2; stream++) {
            size_t room = all                          ? sizeof bytes
                          : g->credit > WK_OUTPUT_HEAD ? (size_t)g->credit - WK_OUTPUT_HEAD
                                                       : 0;
            size_t n =
                room ? vm_console_read(g->vm, (int)stream, bytes, MIN(room, sizeof bytes)) : 0;
            if (n == 0)
                continue;
            PbWorkerOutput out = PB_WORKER_OUTPUT__INIT;
            out.guest = g->id;
            out.stream = stream;
            out.data = (ProtobufCBinaryData){n, bytes};
            FROM_WORKER(OUTPUT, output, &out);
            say(g->w, &from);
            g->credit -= MIN(g->credit, (uint64_t)n + WK_OUTPUT_HEAD);
            any = true;
        }
    }
}

static void pump_input(struct guest *g)
{
    size_t left = g->input.len - g->input_at;
    size_t n = left ? vm_console_write(g->vm, g->input.data + g->input_at, left) : 0;
    g->input_at += n;
    if (g->input_at == g->input.len)
        g->input.len = g->input_at = 0;
    if (n) {
        PbWorkerTaken taken = PB_WORKER_TAKEN__INIT;
        taken.guest = g->id;
        taken.bytes = n;
        FROM_WORKER(TAKEN, taken, &taken);
        say(g->w, &from);
    }
    if (g->input.len == 0 && g->input_eof && !g->eof_told) {
        g->eof_told = true;
        vm_console_eof(g->vm);
    }
}

static void report_end(struct guest *g)
{
    const struct vm_end *end = vm_end(g->vm);
    struct vm_stats st;
    char text[sizeof end->text];
    vm_stats(g->vm, &st);
    pump_output(g, true);
    PbWorkerEnded e = PB_WORKER_ENDED__INIT;
    snprintf(text, sizeof text, "%s", end->text);
    for (char *p = text; *p; p++) /* the manager takes UTF-8 only; a guest's bytes may be in it */
        if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e)
            *p = '?';
    e.guest = g->id;
    e.kind = end->kind;
    e.code = end->code;
    e.text = text;
    e.cpu_ns = st.cpu_ns;
    e.guest_insns_t0 = st.guest_insns_t0;
    e.blocks_translated = st.blocks_translated;
    e.translate_ns = st.translate_ns;
    e.syscalls = st.syscalls;
    e.memory_bytes = st.memory_bytes;
    FROM_WORKER(ENDED, ended, &e);
    say(g->w, &from);
}

static void on_wake(uv_async_t *a)
{
    struct worker *w = a->data;
    list_for_each_safe(l, &w->guests)
    {
        struct guest *g = list_entry(l, struct guest, link);
        /* In this order: what was written before the end is seen before it. */
        bool ended = atomic_load(&g->ended);
        if (atomic_exchange(&g->console_ready, false) && !ended) {
            pump_output(g, false);
            pump_input(g);
        }
        if (!ended)
            continue;
        report_end(g);
        struct err err;
        if (pb_channel_flush(&w->ch,
                             &err)) /* the client need not wait for the joining of threads */
            log_debug("%s", err.text);
        drop_guest(g);
    }
}

/* ---- from the manager ---- */

static res_code_t find(struct worker *w, uint64_t id, struct guest **out, struct err *err)
{
    *out = NULL; /* it may have ended while the message was on its way */
    list_for_each(l, &w->guests)
    {
        struct guest *g = list_entry(l, struct guest, link);
        if (g->id == id)
            *out = g;
    }
    if (id == 0)
        return err_set(err, ERR_BAD_MESSAGE, "a message about no guest");
    return OK;
}

static const char **strings(struct arena *a, char **from, size_t n)
{
    const char **out = arena_alloc(a, (n + 1) * sizeof *out);
    if (out) {
        for (size_t i = 0; i < n; i++)
            out[i] = from[i];
        out[n] = NULL;
    }
    return out;
}

static res_code_t create(struct worker *w, struct guest *g, const PbWorkerRun *run, int image_fd,
                         struct err *err)
{
    struct arena *a = &w->ch.arena;
    a->limit_bytes += (size_t)64 << 10;
    struct vm_config config = {
        .name = run->name,
        .image_fd = image_fd,
        .argv = strings(a, run->args, run->n_args),
        .envp = run->n_env ? strings(a, run->env, run->n_env) : NULL,
        .cwd = run->cwd[0] ? run->cwd : NULL,
        .uid = run->uid,
        .gid = run->gid,
        .tty = run->tty,
        .rows = (uint16_t)run->rows,
        .cols = (uint16_t)run->cols,
        .vcpus = run->vcpus,
        .window_bits = run->window_bits,
        .limits = {.memory_bytes = run->memory_bytes,
                   .overlay_bytes = run->overlay_bytes,
                   .processes = run->processes,
                   .files = run->files,
                   .cpu_ns = run->cpu_ns},
    };
    if (!config.argv || (run->n_env && !config.envp))
        return err_set(err, ERR_NO_MEMORY, "no memory to start a guest");
    struct vm_callbacks cb = {g, on_console, on_ended};
    if (vm_create(&config, &cb, &g->vm, err))
        return FAIL;
    if (vm_start(g->vm, err)) {
        vm_free(g->vm);
        return FAIL;
    }
    return OK;
}

static res_code_t hear_run(struct worker *w, const PbWorkerRun *run, struct err *err)
{
    CLEANUP(close_fd) int image_fd = pb_channel_take_fd(&w->ch);
    struct guest *g;
    struct err why = {.code = ERR_INTERNAL};
    if (find(w, run->guest, &g, err))
        return FAIL;
    if (g || image_fd < 0)
        return err_set(err, ERR_BAD_MESSAGE, "run of guest %llu without an image, or twice",
                       (unsigned long long)run->guest);
    g = calloc(1, sizeof *g);
    if (!g)
        return err_set(err, ERR_NO_MEMORY, "no memory for a guest");
    g->w = w;
    g->id = run->guest;
    g->credit = run->console_credit;
    if (create(w, g, run, image_fd, &why)) {
        free(g);
        PbWorkerRefused refused = PB_WORKER_REFUSED__INIT;
        refused.guest = run->guest;
        refused.code = why.code;
        for (char *p = why.text; *p; p++)
            if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e)
                *p = '?';
        refused.text = why.text;
        FROM_WORKER(REFUSED, refused, &refused);
        say(w, &from);
        return OK;
    }
    list_append(&w->guests, &g->link);
    PbWorkerGuest started = PB_WORKER_GUEST__INIT;
    started.guest = g->id;
    FROM_WORKER(STARTED, started, &started);
    say(w, &from);
    return OK;
}

static res_code_t hear_input(struct guest *g, ProtobufCBinaryData data, struct err *err)
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
    pump_input(g);
    return OK;
}

static res_code_t hear(struct worker *w, const PbToWorker *m, struct err *err)
{
    struct guest *g;
    switch (m->kind_case) {
    case PB_TO_WORKER__KIND_RUN:
        return hear_run(w, m->run, err);
    case PB_TO_WORKER__KIND_SIGNAL:
        if (find(w, m->signal->guest, &g, err))
            return FAIL;
        if (g && vm_signal(g->vm, (int)m->signal->signal, err)) /* it may be ending */
            log_debug("signal %u: %s", m->signal->signal, err->text);
        return OK;
    case PB_TO_WORKER__KIND_KILL:
        if (find(w, m->kill->guest, &g, err))
            return FAIL;
        if (g)
            vm_kill(g->vm);
        return OK;
    case PB_TO_WORKER__KIND_INPUT:
        if (find(w, m->input->guest, &g, err))
            return FAIL;
        return g ? hear_input(g, m->input->data, err) : OK;
    case PB_TO_WORKER__KIND_INPUT_EOF:
        if (find(w, m->input_eof->guest, &g, err))
            return FAIL;
        if (g) {
            g->input_eof = true;
            pump_input(g);
        }
        return OK;
    case PB_TO_WORKER__KIND_RESIZE:
        if (find(w, m->resize->guest, &g, err))
            return FAIL;
        if (g)
            vm_console_resize(g->vm, (uint16_t)m->resize->rows, (uint16_t)m->resize->cols);
        return OK;
    case PB_TO_WORKER__KIND_CREDIT:
        if (find(w, m->credit->guest, &g, err))
            return FAIL;
        if (g) {
            g->credit += m->credit->bytes;
            pump_output(g, false);
        }
        return OK;
    default:
        return err_set(err, ERR_BAD_MESSAGE, "message of kind %d", (int)m->kind_case);
    }
}

static void on_poll(uv_poll_t *p, int status, int events)
{
    struct worker *w = p->data;
    if (status < 0 || (events & UV_READABLE && pb_channel_fill(&w->ch, &w->err))) {
        stop(w, status < 0 || w->err.code == ERR_UNAVAILABLE ? OK : FAIL);
        return;
    }
    while (!w->over) {
        const ProtobufCMessage *m;
        if (pb_channel_next(&w->ch, &pb_to_worker__descriptor, &m, &w->err) ||
            (m && hear(w, (const PbToWorker *)m, &w->err))) {
            stop(w, FAIL);
            return;
        }
        if (!m)
            return;
    }
}

static void on_flush(uv_prepare_t *h)
{
    struct worker *w = h->data;
    struct err err;
    if (pb_channel_flush(&w->ch, &err)) {
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

res_t wk_run(int fd, struct err *err)
{
    static struct worker w; /* one per process */
    w = (struct worker){.res = OK};
    list_init(&w.guests);
    pb_channel_init(&w.ch, fd, WK_MESSAGE_BYTES_MAX, true);
    if (uv_loop_init(&w.loop))
        return err_set(err, ERR_OS, "no event loop");
    uv_poll_init(&w.loop, &w.poll, fd);
    uv_async_init(&w.loop, &w.wake, on_wake);
    uv_prepare_init(&w.loop, &w.flush);
    w.poll.data = w.wake.data = w.flush.data = &w;
    uv_prepare_start(&w.flush, on_flush);
    PbWorkerHello hello = PB_WORKER_HELLO__INIT;
    if (wk_confine(&hello, err)) /* the loop has what it needs; nothing was heard yet */
        return FAIL;
    hello.version = (char *)(uintptr_t)VV_VERSION;
    FROM_WORKER(HELLO, hello, &hello);
    say(&w, &from);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    while (!list_empty(&w.guests))
        drop_guest(list_entry(w.guests.next, struct guest, link));
    uv_walk(&w.loop, close_handle, NULL);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    uv_loop_close(&w.loop);
    pb_channel_fini(&w.ch);
    if (w.res && err)
        *err = w.err;
    return w.res;
}
