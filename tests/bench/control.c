/*
 * control SOCKET IMAGE [what] [seconds] - figures of the control plane through a running daemon, one connection of our own:
 *   churn    create + start (attached) + exit + remove, guests per second              wanted: >= 100/s
 *   kill     KillGuest to the answer, of a guest that spins beside 3 others             wanted: p99 <= 20 ms
 *   echo     a byte typed to the byte echoed, beside a guest that floods its console    wanted: p99 <= 2 ms
 *   stream   bytes of console from a guest to this client                               wanted: >= 100 MB/s
 *   list     ListGuests of what there is
 * The image holds busybox, or is the stub worker's (then -s).
 */
#include "engine/base/base.h"
#include "engine/base/os.h"
#include "proto/client.h"
#include "proto/guest.pb-c.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct link_to {
    int fd;
    struct pb_client *h2;
    struct buf out;
};

static const char *image, *socket_path;
static bool stub;

static _Noreturn void die(const char *what, const struct err *err)
{
    fprintf(stderr, "control: %s: %s\n", what, err ? err->text : strerror(errno));
    exit(1);
}

static void open_link(struct link_to *l)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct err err;
    *l = (struct link_to){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", socket_path);
    if (l->fd < 0 || connect(l->fd, (struct sockaddr *)&sa, sizeof sa))
        die(socket_path, NULL);
    if (pb_client_new(&l->h2, &err))
        die("client", &err);
}

/* Send what is to go, then wait for something to come. */
static void turn(struct link_to *l, int timeout_ms)
{
    static uint8_t in[262144];
    struct err err;
    for (;;) {
        l->out.len = 0;
        if (pb_client_send(l->h2, &l->out, 65536, &err))
            die("send", &err);
        if (!l->out.len)
            break;
        for (size_t at = 0; at < l->out.len;) {
            ssize_t n = write(l->fd, l->out.data + at, l->out.len - at);
            if (n <= 0)
                die("write", NULL);
            at += (size_t)n;
        }
    }
    struct pollfd p = {l->fd, POLLIN, 0};
    if (poll(&p, 1, timeout_ms) <= 0)
        return;
    ssize_t n = read(l->fd, in, sizeof in);
    if (n <= 0)
        die("read", NULL);
    if (pb_client_recv(l->h2, in, (size_t)n, &err))
        die("receive", &err);
}

struct answer {
    bool done, failed;
    struct err err;
    uint64_t bytes, count;
    uint8_t last;
    bool opened, ended;
};

static void on_message(void *ctx, const ProtobufCMessage *m)
{
    struct answer *a = ctx;
    if (m->descriptor == &pb_list_guests_response__descriptor) {
        a->count = ((const PbListGuestsResponse *)m)->n_guests;
    } else if (m->descriptor == &pb_attach_response__descriptor) {
        const PbAttachResponse *r = (const PbAttachResponse *)m;
        a->opened |= r->kind_case == PB_ATTACH_RESPONSE__KIND_OPENED;
        a->ended |= r->kind_case == PB_ATTACH_RESPONSE__KIND_ENDED;
        if (r->kind_case == PB_ATTACH_RESPONSE__KIND_OUTPUT && r->output->data.len) {
            a->bytes += r->output->data.len;
            a->last = r->output->data.data[r->output->data.len - 1];
        }
    }
}

static void on_done(void *ctx, const struct err *err)
{
    struct answer *a = ctx;
    a->done = true;
    a->failed = err;
    if (err)
        a->err = *err;
}

static const struct pb_rpc_ops ops = {on_message, on_done};

static void call(struct link_to *l, enum pb_method_id id, const ProtobufCMessage *m,
                 struct answer *a)
{
    struct pb_rpc *rpc;
    struct err err;
    *a = (struct answer){0};
    if (pb_rpc_start(l->h2, id, &ops, a, 0, &rpc, &err))
        die("call", &err);
    pb_rpc_send(rpc, m);
    pb_rpc_half_close(rpc);
    while (!a->done)
        turn(l, -1);
    if (a->failed)
        die("call", &a->err);
}

static void create(struct link_to *l, const char *name, const char *script, bool tty, bool remove)
{
    PbCreateGuestRequest r = PB_CREATE_GUEST_REQUEST__INIT;
    char *words[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)script};
    char *stub_words[] = {(char *)(uintptr_t)script, (char *)(uintptr_t) "1000000000000"};
    struct answer a;
    r.name = (char *)(uintptr_t)name;
    r.image = (char *)(uintptr_t)image;
    r.args = stub ? stub_words : words;
    r.n_args = stub ? 2 : 3;
    r.tty = tty;
    r.auto_remove = remove;
    call(l, PB_METHOD_create_guest, &r.base, &a);
}

static struct pb_rpc *attach(struct link_to *l, const char *name, bool with_stdin, struct answer *a)
{
    PbAttachRequest r = PB_ATTACH_REQUEST__INIT;
    PbAttachOpen open = PB_ATTACH_OPEN__INIT;
    struct pb_rpc *rpc;
    struct err err;
    *a = (struct answer){0};
    open.name = (char *)(uintptr_t)name;
    open.start = true;
    open.hold = true;
    open.stdin = with_stdin;
    r.kind_case = PB_ATTACH_REQUEST__KIND_OPEN;
    r.open = &open;
    if (pb_rpc_start(l->h2, PB_METHOD_attach_guest, &ops, a, 0, &rpc, &err))
        die("attach", &err);
    pb_rpc_send(rpc, &r.base);
    return rpc;
}

static void start(struct link_to *l, const char *name)
{
    PbStartGuestRequest r = PB_START_GUEST_REQUEST__INIT;
    struct answer a;
    r.name = (char *)(uintptr_t)name;
    call(l, PB_METHOD_start_guest, &r.base, &a);
}

static void kill_guest(struct link_to *l, const char *name)
{
    PbKillGuestRequest r = PB_KILL_GUEST_REQUEST__INIT;
    struct answer a;
    r.name = (char *)(uintptr_t)name;
    call(l, PB_METHOD_kill_guest, &r.base, &a);
}

static void remove_guest(struct link_to *l, const char *name)
{
    PbDeleteGuestRequest r = PB_DELETE_GUEST_REQUEST__INIT;
    struct answer a;
    r.name = (char *)(uintptr_t)name;
    r.force = true;
    call(l, PB_METHOD_delete_guest, &r.base, &a);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void report(const char *what, uint64_t *ns, size_t n)
{
    qsort(ns, n, sizeof *ns, compare);
    printf("%-8s n %zu  median %.3f ms  p99 %.3f ms  max %.3f ms\n", what, n,
           (double)ns[n / 2] / 1e6, (double)ns[n * 99 / 100] / 1e6, (double)ns[n - 1] / 1e6);
}

/* `lanes` guests are under way at a time, each on a connection of its own, as clients would. */
static void churn(unsigned seconds)
{
    enum { LANES = 4 };
    struct lane {
        struct link_to l;
        struct answer a;
        bool busy;
    } lanes[LANES];
    uint64_t began = os_now_ns(), end = began + seconds * UINT64_C(1000000000), count = 0;
    for (unsigned i = 0; i < LANES; i++) {
        open_link(&lanes[i].l);
        lanes[i].busy = false;
    }
    for (uint64_t now; (now = os_now_ns()) < end;)
        for (unsigned i = 0; i < LANES; i++) {
            struct lane *x = &lanes[i];
            char name[32];
            if (x->busy && x->a.done) {
                if (x->a.failed)
                    die("churn", &x->a.err);
                x->busy = false;
                count++;
            }
            if (!x->busy) {
                snprintf(name, sizeof name, "churn-%u-%llu", i, (unsigned long long)count);
                create(&x->l, name, stub ? "env" : "exit 0", false, true);
                pb_rpc_half_close(attach(&x->l, name, false, &x->a));
                x->busy = true;
            }
            turn(&x->l, 1);
        }
    printf("churn    %llu guests in %u s: %.1f per second\n", (unsigned long long)count, seconds,
           (double)count / seconds);
}

static void kills(size_t n)
{
    struct link_to l;
    uint64_t *ns = calloc(n, sizeof *ns);
    const char *spin = stub ? "spin" : "while :; do :; done";
    open_link(&l);
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "busy%d", i);
        create(&l, name, spin, false, false);
        start(&l, name);
    }
    for (size_t i = 0; i < n; i++) {
        create(&l, "victim", spin, false, false);
        start(&l, "victim");
        usleep(1000 + (unsigned)(i * 7919 % 20000));
        uint64_t t = os_now_ns();
        kill_guest(&l, "victim");
        ns[i] = os_now_ns() - t;
        remove_guest(&l, "victim");
    }
    report("kill", ns, n);
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "busy%d", i);
        remove_guest(&l, name);
    }
    free(ns);
}

static void echoes(size_t n)
{
    struct link_to l, f;
    struct answer a, flood;
    uint64_t *ns = calloc(n, sizeof *ns);
    open_link(&l);
    open_link(&f);
    create(&f, "flood", stub ? "flood" : "yes floods", false, false);
    start(&f, "flood"); /* nobody reads it: it runs against its log */
    create(&l, "echoes", "cat", true, false);
    struct pb_rpc *rpc = attach(&l, "echoes", true, &a);
    while (!a.opened)
        turn(&l, -1);
    usleep(200000);
    for (size_t i = 0; i < n; i++) {
        uint8_t key = (uint8_t)('a' + i % 26);
        uint64_t before = a.bytes, t = os_now_ns();
        PbAttachRequest r = PB_ATTACH_REQUEST__INIT;
        r.kind_case = PB_ATTACH_REQUEST__KIND_STDIN;
        r.stdin = (ProtobufCBinaryData){1, &key};
        pb_rpc_send(rpc, &r.base);
        while (a.bytes == before && !a.done)
            turn(&l, -1);
        ns[i] = os_now_ns() - t;
        usleep(3000);
    }
    report("echo", ns, n);
    open_link(&f);
    remove_guest(&f, "echoes");
    remove_guest(&f, "flood");
    (void)flood;
    free(ns);
}

static void stream(unsigned seconds)
{
    struct link_to l, other;
    struct answer a;
    open_link(&l);
    create(&l, "stream", stub ? "flood" : "dd if=/dev/zero bs=65536", false, false);
    pb_rpc_half_close(attach(&l, "stream", false, &a));
    while (!a.opened)
        turn(&l, -1);
    uint64_t began = os_now_ns(), end = began + seconds * UINT64_C(1000000000);
    while (os_now_ns() < end && !a.done)
        turn(&l, 10);
    printf("stream   %.1f MB/s\n", (double)a.bytes * 1e3 / (double)(os_now_ns() - began));
    open_link(&other); /* not before: the daemon closes who says nothing for ten seconds */
    remove_guest(&other, "stream");
}

static void list(size_t n)
{
    struct link_to l;
    struct answer a;
    uint64_t *ns = calloc(n, sizeof *ns);
    PbListGuestsRequest r = PB_LIST_GUESTS_REQUEST__INIT;
    open_link(&l);
    for (size_t i = 0; i < n; i++) {
        uint64_t t = os_now_ns();
        call(&l, PB_METHOD_list_guests, &r.base, &a);
        ns[i] = os_now_ns() - t;
    }
    printf("list     %llu guests; ", (unsigned long long)a.count);
    report("", ns, n);
    free(ns);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a daemon that goes is an error of send() */
    if (argc > 1 && !strcmp(argv[1], "-s")) {
        stub = true;
        argv++;
        argc--;
    }
    if (argc < 3) {
        fprintf(stderr,
                "usage: control [-s] SOCKET IMAGE [churn|kill|echo|stream|list] [seconds]\n");
        return 2;
    }
    socket_path = argv[1];
    image = argv[2];
    const char *what = argc > 3 ? argv[3] : "all";
    unsigned seconds = argc > 4 ? (unsigned)atoi(argv[4]) : 10;
    bool all = !strcmp(what, "all");
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (all || !strcmp(what, "churn"))
        churn(seconds);
    if (all || !strcmp(what, "stream"))
        stream(seconds);
    if (all || !strcmp(what, "kill"))
        kills(200);
    if (all || !strcmp(what, "echo"))
        echoes(1000);
    if (all || !strcmp(what, "list"))
        list(200);
    return 0;
}
