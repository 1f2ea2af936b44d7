#include "daemon/worker/guest.h"
#include "daemon/worker/worker.h"
#include "engine/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES 32768
#define COUNTERS_MAX 64 /* of the engine's table; checked when they are told */

struct wk_sent {
    uint32_t stream, bytes;
};

static void say(struct wk_guest *g, const PbFromWorker *from)
{
    pb_channel_put(g->ch, &from->base, -1); /* sent by the flush before the loop sleeps */
}

/* ---- from the guest ---- */

static void on_console(void *ctx)
{
    struct wk_guest *g = ctx;
    atomic_store(&g->console_ready, true);
    uv_async_send(g->wake);
}

static void on_ended(void *ctx)
{
    struct wk_guest *g = ctx;
    atomic_store(&g->ended, true);
    uv_async_send(g->wake);
}

void wk_guest_free(struct wk_guest *g)
{
    list_remove(&g->link);
    vm_free(g->vm);
    buf_fini(&g->input);
    buf_fini(&g->sent);
    buf_fini(&g->end);
    free(g);
}

static void send_output(struct wk_guest *g, unsigned stream, uint8_t *p, size_t n, uint64_t seq)
{
    PbWorkerOutput out = PB_WORKER_OUTPUT__INIT;
    out.guest = g->id;
    out.stream = stream;
    out.data = (ProtobufCBinaryData){n, p};
    out.seq = seq;
    FROM_WORKER(OUTPUT, output, &out);
    say(g, &from);
    g->credit -= MIN(g->credit, (uint64_t)n + WK_OUTPUT_HEAD);
}

void wk_guest_pump_output(struct wk_guest *g, bool all)
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
            struct wk_sent head = {stream, (uint32_t)n};
            buf_put(&g->sent, &head, sizeof head);
            buf_put(&g->sent, bytes, n);
            send_output(g, stream, bytes, n, g->seq);
            g->seq += n;
            any = true;
        }
    }
}

void wk_guest_safe(struct wk_guest *g, uint64_t seq)
{
    size_t drop = 0;
    struct wk_sent head;
    while (g->sent.len - drop >= sizeof head) {
        memcpy(&head, g->sent.data + drop, sizeof head);
        if (g->sent_seq + head.bytes > seq)
            break;
        g->sent_seq += head.bytes;
        drop += sizeof head + head.bytes;
    }
    if (drop)
        buf_drop_front(&g->sent, drop);
}

void wk_guest_adopted(struct wk_guest *g, uint64_t seq, uint64_t credit)
{
    wk_guest_safe(g, seq);
    g->credit = credit;
    uint64_t at = g->sent_seq;
    for (size_t off = 0; off < g->sent.len;) {
        struct wk_sent head;
        memcpy(&head, g->sent.data + off, sizeof head);
        off += sizeof head;
        size_t skip = at < seq ? (size_t)MIN(seq - at, (uint64_t)head.bytes) : 0;
        if (skip < head.bytes)
            send_output(g, head.stream, g->sent.data + off + skip, head.bytes - skip, at + skip);
        at += head.bytes;
        off += head.bytes;
    }
    if (g->vm)
        wk_guest_pump_output(g, false);
    else
        pb_channel_put_raw(g->ch, g->end.data, g->end.len);
}

void wk_guest_pump_input(struct wk_guest *g)
{
    if (!g->vm)
        return;
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
        say(g, &from);
    }
    if (g->input.len == 0 && g->input_eof && !g->eof_told) {
        g->eof_told = true;
        vm_console_eof(g->vm);
    }
}

/* ---- figures and the end ---- */

struct figures {
    PbGuestStats stats;
    PbCounter counters[COUNTERS_MAX], *pointers[COUNTERS_MAX];
    uint64_t values[COUNTERS_MAX];
};

static void figures_of(struct vm *vm, struct figures *f)
{
    struct vm_stats st;
    size_t n = vm_counter_count();
    ASSERT(n <= COUNTERS_MAX);
    vm_stats(vm, &st);
    vm_counters(vm, f->values);
    pb_guest_stats__init(&f->stats);
    f->stats.cpu_ns = st.cpu_ns;
    f->stats.guest_insns_interpreted = st.guest_insns_t0;
    f->stats.blocks_translated = st.blocks_translated;
    f->stats.translate_ns = st.translate_ns;
    f->stats.syscalls = st.syscalls;
    f->stats.memory_bytes = st.memory_bytes;
    f->stats.overlay_bytes = st.overlay_bytes;
    f->stats.processes = st.processes;
    for (size_t i = 0; i < n; i++) {
        pb_counter__init(&f->counters[i]);
        f->counters[i].name = (char *)(uintptr_t)vm_counter_name(i);
        f->counters[i].value = f->values[i];
        f->pointers[i] = &f->counters[i];
    }
    f->stats.n_counters = n;
    f->stats.counters = f->pointers;
}

void wk_guest_tell_stats(struct wk_guest *g)
{
    struct figures f;
    if (!g->vm)
        return; /* its end tells them */
    figures_of(g->vm, &f);
    PbWorkerStats stats = PB_WORKER_STATS__INIT;
    stats.guest = g->id;
    stats.stats = &f.stats;
    FROM_WORKER(STATS, stats, &stats);
    say(g, &from);
}

/* The manager takes UTF-8 only; a guest's bytes may be in a text. */
static void printable(char *p)
{
    for (; *p; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e)
            *p = '?';
}

static void tell_end(struct wk_guest *g)
{
    const struct vm_end *end = vm_end(g->vm);
    struct figures f;
    char text[sizeof end->text], insn[sizeof end->insn];
    wk_guest_pump_output(g, true);
    figures_of(g->vm, &f);
    PbWorkerEnded e = PB_WORKER_ENDED__INIT;
    PbGuestFault fault = PB_GUEST_FAULT__INIT;
    snprintf(text, sizeof text, "%s", end->text);
    printable(text);
    e.guest = g->id;
    e.kind = end->kind;
    e.code = end->code;
    e.text = text;
    e.stats = &f.stats;
    if (end->fault) {
        snprintf(insn, sizeof insn, "%s", end->insn);
        printable(insn);
        fault.pc = end->pc;
        fault.address = end->address;
        fault.instruction = insn;
        e.fault = &fault;
    }
    FROM_WORKER(ENDED, ended, &e);
    size_t n = protobuf_c_message_get_packed_size(&from.base);
    if (buf_reserve(&g->end, n))
        g->end.len = protobuf_c_message_pack(&from.base, g->end.data);
    say(g, &from);
}

void wk_guest_look(struct wk_guest *g)
{
    struct err err;
    /* In this order: what was written before the end is seen before it. */
    bool ended = atomic_load(&g->ended);
    if (!g->vm)
        return;
    if (atomic_exchange(&g->console_ready, false) && !ended) {
        wk_guest_pump_output(g, false);
        wk_guest_pump_input(g);
    }
    if (!ended)
        return;
    tell_end(g);
    if (g->ch->fd >= 0 && pb_channel_flush(g->ch, &err)) /* the client need not wait for threads */
        log_debug("%s", err.text);
    vm_free(g->vm);
    g->vm = NULL;
}

/* ---- the beginning ---- */

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

static res_code_t create(struct wk_guest *g, const PbWorkerRun *run, int image_fd, struct err *err)
{
    struct arena *a = &g->ch->arena;
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
        g->vm = NULL;
        return FAIL;
    }
    return OK;
}

res_t wk_guest_start(const PbWorkerRun *run, int image_fd, struct pb_channel *ch, uv_async_t *wake,
                     struct wk_guest **out, struct err *refused)
{
    struct wk_guest *g = calloc(1, sizeof *g);
    if (!g)
        return err_set(refused, ERR_NO_MEMORY, "no memory for a guest");
    list_init(&g->link);
    g->ch = ch;
    g->wake = wake;
    g->id = run->guest;
    g->credit = run->console_credit;
    g->seq = g->sent_seq = run->console_seq;
    if (create(g, run, image_fd, refused)) {
        printable(refused->text);
        wk_guest_free(g);
        return FAIL;
    }
    *out = g;
    return OK;
}
