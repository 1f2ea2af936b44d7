/* The console: bytes both ways, signals, the keys that leave it. */
#include "client/vmctl/config.h"
#include "client/vmctl/ctl.h"
#include "client/vmctl/terminal.h"
#include "engine/base/os.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define STDIN_BYTES 16384
#define STDIN_QUEUE ((size_t)64 * 1024) /* read no more while so much waits for the guest */
#define PIPE_CHUNK 4096                 /* what a pipe that polls writable takes without blocking */
#define ASKS_TO_KILL 3                  /* interrupts without an end, the last one kills */
#define KILL_WAIT_NS 5000000000ull

struct attach {
    const struct ctl_attach *what;
    struct ctl_conn *c;
    struct pb_rpc *rpc; /* NULL: over */
    bool opened, ended, done_with_error, detached;
    bool over; /* what the call says now is not wanted any more */
    struct ctl_detach detach;
    struct err err;
    int code;
    /* output */
    struct buf pend[3]; /* by stream: 1, 2 */
    size_t pend_at[3];
    bool regular[3], broken[3], paused;
    /* input */
    bool stdin_open;
    int signals; /* signalfd */
    unsigned interrupts;
    uint64_t deadline_ns;
    bool timed_out;
};

/* ---- to the guest ---- */

static void send_request(struct attach *t, PbAttachRequest *req)
{
    if (t->rpc)
        pb_rpc_send(t->rpc, &req->base);
}

static void send_signal(struct attach *t, uint32_t signo)
{
    PbAttachRequest req = PB_ATTACH_REQUEST__INIT;
    req.kind_case = PB_ATTACH_REQUEST__KIND_SIGNAL;
    req.signal = signo;
    send_request(t, &req);
}

static void send_size(struct attach *t)
{
    PbTerminalSize size = PB_TERMINAL_SIZE__INIT;
    PbAttachRequest req = PB_ATTACH_REQUEST__INIT;
    req.kind_case = PB_ATTACH_REQUEST__KIND_RESIZE;
    req.resize = &size;
    if (t->what->tty && ctl_terminal_size(&size.rows, &size.cols))
        send_request(t, &req);
}

static void send_input(struct attach *t, uint8_t *p, size_t n)
{
    PbAttachRequest req = PB_ATTACH_REQUEST__INIT;
    req.kind_case = PB_ATTACH_REQUEST__KIND_STDIN;
    req.stdin = (ProtobufCBinaryData){n, p};
    send_request(t, &req);
}

static void end_input(struct attach *t)
{
    t->stdin_open = false; /* the end, or an error, which is as good */
    if (t->what->tty) {
        uint8_t ctrl_d = 4;
        send_input(t, &ctrl_d, 1);
    } else {
        PbAttachRequest req = PB_ATTACH_REQUEST__INIT;
        req.kind_case = PB_ATTACH_REQUEST__KIND_STDIN_EOF;
        req.stdin_eof = true;
        send_request(t, &req);
    }
}

static void read_stdin(struct attach *t)
{
    static uint8_t bytes[STDIN_BYTES], pass[STDIN_BYTES + CTL_DETACH_MAX];
    ssize_t n = read(0, bytes, sizeof bytes);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        end_input(t);
        return;
    }
    size_t pass_n;
    t->detached = ctl_detach_filter(&t->detach, bytes, (size_t)n, pass, &pass_n);
    if (pass_n)
        send_input(t, pass, pass_n);
}

static void read_signals(struct attach *t)
{
    struct signalfd_siginfo info;
    while (read(t->signals, &info, sizeof info) == sizeof info) {
        bool looks_on = !t->what->start && !t->what->with_stdin;
        if (info.ssi_signo == SIGWINCH) {
            send_size(t);
        } else if (looks_on || (!t->what->start && info.ssi_signo == SIGHUP)) {
            t->detached = true; /* not ours to end */
        } else if (++t->interrupts >= ASKS_TO_KILL) {
            ctl_say("guest \"%s\" does not react; killing it", t->what->name);
            send_signal(t, SIGKILL);
        } else {
            send_signal(t, info.ssi_signo);
        }
    }
}

static void watch_signals(struct attach *t)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGQUIT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGWINCH);
    sigprocmask(SIG_BLOCK, &set, NULL);
    t->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* ---- from the guest ---- */

static void drop_output(struct attach *t, int fd)
{
    t->broken[fd] = true;
    t->pend[fd].len = t->pend_at[fd] = 0;
    if (fd == 1)
        send_signal(t, SIGPIPE); /* as a program writing there itself would get */
}

/* Write what is pending, as far as it goes without waiting. */
static void write_output(struct attach *t, int fd)
{
    struct buf *b = &t->pend[fd];
    while (t->pend_at[fd] < b->len) {
        size_t n = b->len - t->pend_at[fd];
        if (!t->regular[fd]) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            if (poll(&p, 1, 0) <= 0)
                return;
            n = MIN(n, (size_t)PIPE_CHUNK);
        }
        ssize_t took = write(fd, b->data + t->pend_at[fd], n);
        if (took < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (took < 0) {
            if (errno != EPIPE)
                ctl_say("writing output: %s", strerror(errno));
            drop_output(t, fd);
            return;
        }
        t->pend_at[fd] += (size_t)took;
    }
    b->len = t->pend_at[fd] = 0;
}

static void take_output(struct attach *t, const PbConsoleChunk *o)
{
    int fd = o->stream == PB_CONSOLE_STREAM_STDERR ? 2 : 1;
    if (o->dropped)
        ctl_say("%llu bytes of output were lost", (unsigned long long)o->dropped);
    if (t->broken[fd])
        return;
    buf_put(&t->pend[fd], o->data.data, o->data.len);
    write_output(t, fd);
    if (t->pend[fd].len && !t->paused) { /* our reader is slow: so be the guest */
        t->paused = true;
        pb_rpc_pause(t->rpc);
    }
}

static void on_message(void *ctx, const ProtobufCMessage *m)
{
    struct attach *t = ctx;
    const PbAttachResponse *resp = (const PbAttachResponse *)m;
    switch (resp->kind_case) {
    case PB_ATTACH_RESPONSE__KIND_OPENED:
        t->opened = true;
        if (!t->what->start)
            send_size(t);
        break;
    case PB_ATTACH_RESPONSE__KIND_OUTPUT:
        take_output(t, resp->output);
        break;
    case PB_ATTACH_RESPONSE__KIND_ENDED:
        t->ended = true;
        ctl_terminal_restore();
        t->code = ctl_end_code(resp->ended, !t->timed_out);
        break;
    default:
        break;
    }
}

static void on_done(void *ctx, const struct err *why)
{
    struct attach *t = ctx;
    t->rpc = NULL;
    if (why && !t->ended && !t->over) {
        t->done_with_error = true;
        t->err = *why;
    }
}

/* ---- the loop ---- */

static int poll_timeout(const struct attach *t)
{
    if (!t->deadline_ns)
        return -1;
    uint64_t now = os_now_ns();
    return now >= t->deadline_ns
               ? 0
               : (int)MIN((t->deadline_ns - now) / 1000000 + 1, (uint64_t)1000000);
}

static void check_deadline(struct attach *t)
{
    if (!t->deadline_ns || os_now_ns() < t->deadline_ns)
        return;
    if (t->timed_out) { /* the kill was not answered */
        t->rpc = NULL;
        return;
    }
    t->timed_out = true;
    t->deadline_ns = os_now_ns() + KILL_WAIT_NS;
    send_signal(t, SIGKILL);
}

static void turn(struct attach *t)
{
    struct pollfd p[4];
    size_t n = 0;
    bool room = t->rpc && pb_rpc_queued(t->rpc) < STDIN_QUEUE;
    p[n++] = (struct pollfd){.fd = t->signals, .events = POLLIN};
    p[n++] = (struct pollfd){.fd = t->stdin_open && t->opened && room ? 0 : -1, .events = POLLIN};
    for (int fd = 1; fd <= 2; fd++)
        p[n++] = (struct pollfd){.fd = t->pend[fd].len ? fd : -1, .events = POLLOUT};
    if (ctl_turn(t->c, p, n, poll_timeout(t), &t->err)) {
        t->done_with_error = !t->ended;
        t->rpc = NULL;
        return;
    }
    if (p[0].revents)
        read_signals(t);
    if (p[1].revents)
        read_stdin(t);
    for (int fd = 1; fd <= 2; fd++)
        if (p[1 + fd].revents)
            write_output(t, fd);
    if (t->paused && !t->pend[1].len && !t->pend[2].len) {
        t->paused = false;
        pb_rpc_resume(t->rpc);
    }
    check_deadline(t);
}

static bool is_regular(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static res_code_t open_console(struct attach *t, struct err *err)
{
    static const struct pb_rpc_ops ops = {on_message, on_done};
    const struct ctl_attach *what = t->what;
    PbAttachOpen open = PB_ATTACH_OPEN__INIT;
    PbAttachRequest req = PB_ATTACH_REQUEST__INIT;
    if (pb_rpc_start(t->c->h2, PB_METHOD_attach_guest, &ops, t, 0, &t->rpc, err))
        return FAIL;
    open.name = (char *)(uintptr_t)what->name;
    open.start = what->start;
    open.stdin = what->with_stdin;
    open.hold =
        what->start || what->with_stdin; /* who only looks on does not make the guest wait */
    open.replay = !what->no_replay;
    open.shared = what->shared;
    open.take_over = what->take_over;
    req.kind_case = PB_ATTACH_REQUEST__KIND_OPEN;
    req.open = &open;
    send_request(t, &req);
    return OK;
}

/* What was typed before the keys is on its way before we go. */
static void leave(struct attach *t)
{
    struct err err;
    while (t->rpc && pb_rpc_queued(t->rpc))
        if (ctl_turn(t->c, NULL, 0, 1000, &err))
            break;
    t->rpc = NULL; /* closing the connection ends the call; the guest runs on */
    ctl_terminal_restore();
    ctl_say("detached from guest \"%s\", which runs on; \"vmctl attach %s\" comes back",
            t->what->name, t->what->name);
    t->code = 0;
}

static int finish(struct attach *t)
{
    struct err gone;
    err_set(&gone, ERR_CANCELLED, "given up");
    t->over = true;
    pb_client_lost(t->c->h2, &gone); /* a call that still runs must not tell t, which ends here */
    for (int fd = 1; fd <= 2; fd++)
        buf_fini(&t->pend[fd]);
    close_fd(&t->signals);
    if (t->timed_out) {
        ctl_say("guest \"%s\" was killed: it ran longer than --timeout", t->what->name);
        return CTL_EXIT_TIMEOUT;
    }
    return t->done_with_error ? ctl_fail(&t->err) : t->code;
}

/* Before the terminal is raw: how to get away. */
static void say_keys(const struct ctl_attach *what)
{
    char keys[CTL_DETACH_MAX * 8] = "";
    for (size_t i = 0; i < what->detach_count; i++) {
        uint8_t key = what->detach[i];
        snprintf(keys + strlen(keys), sizeof keys - strlen(keys), "%s%s%c", i ? " " : "",
                 key < 0x20 ? "ctrl-" : "", key < 0x20 ? tolower(key | 0x40) : key);
    }
    if (isatty(0) && isatty(2) && what->detach_count && !what->start && what->with_stdin)
        ctl_say("attached to guest \"%s\"; %s leaves it running", what->name, keys);
}

int ctl_attach(struct ctl_conn *c, const struct ctl_attach *what)
{
    struct attach t = {
        .what = what, .c = c, .stdin_open = what->with_stdin, .code = CTL_EXIT_ERROR};
    t.regular[1] = is_regular(1);
    t.regular[2] = is_regular(2);
    if (isatty(0)) /* a pipe's bytes are nobody's keys */
        t.detach = (struct ctl_detach){what->detach, what->detach_count, 0};
    if (open_console(&t, &t.err))
        return ctl_fail(&t.err);
    watch_signals(&t);
    say_keys(what);
    if (what->tty && what->with_stdin)
        ctl_terminal_set(CTL_TERMINAL_RAW);
    if (what->timeout_ns)
        t.deadline_ns = os_now_ns() + what->timeout_ns;
    while (t.rpc && !t.detached)
        turn(&t);
    if (t.detached)
        leave(&t);
    ctl_terminal_restore();
    return finish(&t);
}

res_t ctl_attach_keys(const struct ctl_args *a, struct ctl_attach *what, struct err *err)
{
    const char *keys = ctl_value(a, OPT_DETACH_KEYS);
    struct ctl_config c;
    if (keys)
        return ctl_detach_keys(keys, what->detach, &what->detach_count, err);
    res_code_t res = ctl_config_load(&c, err);
    if (!res)
        res = ctl_detach_keys(c.detach_keys ? c.detach_keys : "ctrl-p,ctrl-q", what->detach,
                              &what->detach_count, err);
    ctl_config_fini(&c);
    return res;
}
