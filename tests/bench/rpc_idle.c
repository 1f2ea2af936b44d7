/*
 * rpc_idle SOCKET CONNECTIONS CALLS_PER_SECOND SECONDS [GUEST] - many clients that only stay, and a few that work.
 *
 * Each of CONNECTIONS makes one call (as a client does that looks and stays), then says nothing; WORKERS more connections make
 * CALLS_PER_SECOND unary calls (GetDaemon), evenly in time, for SECONDS. Prints what a connection costs the daemon (growth of its Pss), failures, and
 * how long calls took, from when each was due. With GUEST each connection attaches to its console instead, and never reads. Fails if any
 * call failed or any connection was lost.
 */
#include "engine/base/base.h"
#include "engine/base/os.h"
#include "proto/client.h"
#include "proto/daemon.pb-c.h"
#include "proto/guest.pb-c.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define WORKERS 8

struct client {
    int fd;
    struct pb_client *h2;
    bool busy, failed;
    uint64_t due_ns;
};

static const char *path;
static uint32_t daemon_pid;
static uint64_t *took_ns;
static size_t took_count, took_max, failures;

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "rpc_idle: %s: %s\n", what, why);
    exit(1);
}

static void on_message(void *ctx, const ProtobufCMessage *m)
{
    (void)ctx;
    if (m->descriptor == &pb_daemon__descriptor)
        daemon_pid = ((const PbDaemon *)m)->pid;
}

static void on_done(void *ctx, const struct err *err)
{
    struct client *c = ctx;
    c->busy = false;
    if (err) {
        c->failed = true;
        failures++;
        fprintf(stderr, "rpc_idle: %s\n", err->text);
    } else if (c->due_ns && took_count < took_max) {
        took_ns[took_count++] = os_now_ns() - c->due_ns;
    }
}

static void open_client(struct client *c)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    *c = (struct client){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct err err;
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&sa, sizeof sa))
        die(path, strerror(errno));
    if (pb_client_new(&c->h2, &err))
        die(path, err.text);
}

static void flush(struct client *c)
{
    CLEANUP(buf_fini) struct buf out = {0};
    struct err err;
    if (pb_client_send(c->h2, &out, 65536, &err) ||
        send(c->fd, out.data, out.len, MSG_NOSIGNAL) != (ssize_t)out.len) {
        failures++;
        c->failed = true;
    }
}

static void begin(struct client *c, uint64_t due_ns)
{
    static const struct pb_rpc_ops ops = {on_message, on_done};
    PbGetDaemonRequest req = PB_GET_DAEMON_REQUEST__INIT;
    struct pb_rpc *rpc;
    struct err err;
    c->busy = true;
    c->due_ns = due_ns;
    if (pb_rpc_start(c->h2, PB_METHOD_get_daemon, &ops, c, 0, &rpc, &err))
        die("call", err.text);
    pb_rpc_send(rpc, &req.base);
    pb_rpc_half_close(rpc);
    flush(c);
}

/* Attach to a guest's console and look away. */
static void attach(struct client *c, char *guest)
{
    static const struct pb_rpc_ops ops = {on_message, on_done};
    PbAttachOpen open = PB_ATTACH_OPEN__INIT;
    PbAttachRequest req = PB_ATTACH_REQUEST__INIT;
    struct pb_rpc *rpc;
    struct err err;
    open.name = guest;
    req.kind_case = PB_ATTACH_REQUEST__KIND_OPEN;
    req.open = &open;
    if (pb_rpc_start(c->h2, PB_METHOD_attach_guest, &ops, c, 0, &rpc, &err))
        die("attach", err.text);
    pb_rpc_send(rpc, &req.base);
    flush(c);
}

static void receive(struct client *c)
{
    uint8_t bytes[4096];
    struct err err;
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n <= 0 || pb_client_recv(c->h2, bytes, (size_t)n, &err)) {
        err_set(&err, ERR_UNAVAILABLE, "the daemon closed a connection");
        pb_client_lost(c->h2, &err);
        failures += !c->failed;
        c->failed = true;
    } else {
        flush(c);
    }
}

static long pss_kib(void)
{
    char name[64], line[128];
    long kib = -1;
    snprintf(name, sizeof name, "/proc/%u/smaps_rollup", daemon_pid);
    FILE *f = fopen(name, "r");
    if (!f)
        die(name, strerror(errno));
    while (fgets(line, sizeof line, f))
        sscanf(line, "Pss: %ld", &kib);
    fclose(f);
    return kib;
}

static void answer(struct client *c)
{
    begin(c, 0);
    while (c->busy)
        receive(c);
}

/* Calls when they are due, on whichever worker is free. */
static void work(struct client *workers, unsigned per_second, unsigned seconds)
{
    uint64_t start = os_now_ns(), next = 0, total = (uint64_t)per_second * seconds, busy = 0;
    while (next < total || busy) {
        struct pollfd p[WORKERS];
        uint64_t now = os_now_ns(), due = start + next * 1000000000ull / per_second;
        busy = 0;
        for (unsigned i = 0; i < WORKERS; i++) {
            struct client *c = &workers[i];
            if (!c->busy && !c->failed && next < total && due <= now) {
                begin(c, due);
                due = start + ++next * 1000000000ull / per_second;
            }
            busy += c->busy;
            p[i] = (struct pollfd){.fd = c->busy ? c->fd : -1, .events = POLLIN};
        }
        int ms = next < total && due > now ? (int)((due - now) / 1000000) : busy ? 10 : 0;
        if (busy < WORKERS && ms == 0 && next < total && due > now)
            usleep((unsigned)((due - now) / 1000));
        else if (poll(p, WORKERS, ms) < 0 && errno != EINTR)
            die("poll", strerror(errno));
        for (unsigned i = 0; i < WORKERS; i++)
            if (p[i].revents)
                receive(&workers[i]);
        if (failures > total)
            break;
    }
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static size_t lost(struct client *idle, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        char byte;
        ssize_t k = recv(idle[i].fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
        count += k == 0 || (k < 0 && errno != EAGAIN);
    }
    return count;
}

int main(int argc, char **argv)
{
    if (argc != 5 && argc != 6)
        die("usage", "rpc_idle SOCKET CONNECTIONS CALLS_PER_SECOND SECONDS [GUEST]");
    size_t n = (size_t)atol(argv[2]);
    unsigned per_second = (unsigned)atoi(argv[3]), seconds = (unsigned)atoi(argv[4]);
    struct rlimit r;
    path = argv[1];
    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
    struct client *idle = calloc(n + 1, sizeof *idle), workers[WORKERS];
    took_max = (size_t)per_second * seconds + 1;
    took_ns = calloc(took_max, sizeof *took_ns);
    if (!idle || !took_ns)
        die("memory", strerror(errno));
    for (unsigned i = 0; i < WORKERS; i++) {
        open_client(&workers[i]);
        answer(&workers[i]);
    }
    long before = pss_kib();
    for (size_t i = 0; i < n; i++) {
        open_client(&idle[i]);
        if (argc == 6)
            attach(&idle[i], argv[5]);
        else
            answer(&idle[i]);
    }
    if (argc == 6)
        sleep(2); /* their windows and sockets fill */
    long after = pss_kib();
    work(workers, per_second, seconds);
    after = argc == 6 ? pss_kib() : after;
    qsort(took_ns, took_count, sizeof *took_ns, by_size);
    size_t gone = argc == 6 ? 0 : lost(idle, n);
    printf("connections %zu lost %zu pss_before_KiB %ld pss_after_KiB %ld pss_per_connection_KiB "
           "%.1f\n",
           n, gone, before, after, n ? (double)(after - before) / (double)n : 0);
    if (took_count)
        printf("calls %zu failures %zu p50_us %.0f p99_us %.0f max_us %.0f\n", took_count, failures,
               (double)took_ns[took_count / 2] / 1e3, (double)took_ns[took_count * 99 / 100] / 1e3,
               (double)took_ns[took_count - 1] / 1e3);
    return failures || gone;
}
