/* vmctl stats and top: what guests use, from differences between looks at them. */
#include "client/vmctl/out.h"
#include "client/vmctl/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <uthash.h>

/* A guest as it was at the look before. */
struct before {
    UT_hash_handle hh;
    char id[32];
    uint64_t cpu_ns, translate_ns, syscalls, look;
};

struct looks {
    struct before *all;
    uint64_t time_ns, look;
    struct ctl_usage *rows; /* of the look at hand */
    size_t count, room;
};

static struct before *find(struct looks *l, const char *id)
{
    struct before *b;
    HASH_FIND_STR(l->all, id, b);
    if (b)
        return b;
    b = calloc(1, sizeof *b);
    ASSERT(b);
    snprintf(b->id, sizeof b->id, "%s", id);
    HASH_ADD_STR(l->all, id, b);
    return b;
}

static void measure(struct looks *l, struct ctl_usage *u, double seconds)
{
    const PbGuestStats *s = u->guest->stats;
    struct before *b = find(l, u->guest->id[0] ? u->guest->id : u->guest->name);
    bool known = b->look && b->look == l->look - 1 && seconds > 0 && s && s->cpu_ns >= b->cpu_ns &&
                 s->translate_ns >= b->translate_ns && s->syscalls >= b->syscalls;
    u->cpu = u->calls = u->translate = -1;
    if (known) {
        double cpu = (double)(s->cpu_ns - b->cpu_ns),
               translate = (double)(s->translate_ns - b->translate_ns);
        u->cpu = cpu / 1e9 / seconds;
        u->calls = (double)(s->syscalls - b->syscalls) / seconds;
        u->translate = cpu > 0 ? MIN(translate / cpu, 1.0) : 0;
    }
    b->look = l->look;
    if (s) {
        b->cpu_ns = s->cpu_ns;
        b->translate_ns = s->translate_ns;
        b->syscalls = s->syscalls;
    }
}

/* A look came: l->rows points into it. */
static void take_look(struct looks *l, const PbWatchStatsResponse *resp)
{
    double seconds = l->time_ns ? (double)(resp->time_ns - l->time_ns) / 1e9 : 0;
    struct before *b, *next;
    l->look++;
    l->time_ns = resp->time_ns;
    l->count = 0;
    if (l->room < resp->n_guests) {
        l->room = 2 * resp->n_guests;
        l->rows = realloc(l->rows, l->room * sizeof *l->rows);
        ASSERT(l->rows);
    }
    for (size_t i = 0; i < resp->n_guests; i++) {
        l->rows[i].guest = resp->guests[i];
        measure(l, &l->rows[i], seconds);
    }
    l->count = resp->n_guests;
    HASH_ITER(hh, l->all, b, next)
    if (b->look != l->look) { /* gone */
        HASH_DEL(l->all, b);
        free(b);
    }
}

static void forget(struct looks *l)
{
    struct before *b, *next;
    HASH_ITER(hh, l->all, b, next)
    {
        HASH_DEL(l->all, b);
        free(b);
    }
    free(l->rows);
}

static res_code_t describe(const struct ctl_args *a, PbWatchStatsRequest *req, struct err *err)
{
    uint64_t ns = 1000000000;
    if (ctl_seconds(a, OPT_INTERVAL, &ns, err))
        return FAIL;
    if (ns < 100000000 || ns > 60000000000ull)
        return err_set(err, ERR_INVALID, "--interval: 0.1 to 60 seconds were expected");
    req->interval_ms = (uint32_t)(ns / 1000000);
    req->all_tenants = ctl_has(a, OPT_ALL_TENANTS);
    if (a->pos_count)
        req->name = a->pos[0];
    return OK;
}

/* ---- stats ---- */

struct stats {
    struct looks looks;
    struct ctl_args *a;
    bool once, done, failed;
    int code;
};

/* With rates, which take two looks, unless JSON's counters are all that is wanted. */
static void print_look(void *ctx, const ProtobufCMessage *m)
{
    struct stats *s = ctx;
    struct ctl_out out;
    struct err err;
    take_look(&s->looks, (const PbWatchStatsResponse *)m);
    if (s->looks.look < 2 || s->done)
        return;
    if (ctl_out_init(&out, s->a, CTL_TABLE_usage, CTL_PRINT_TABLE, &err)) {
        s->code = ctl_usage(&err);
    } else {
        if (out.print == CTL_PRINT_JSON && !s->once)
            out.print = CTL_PRINT_JSONL;
        out.headers = out.headers && (s->once || s->looks.look == 2);
        for (size_t i = 0; i < s->looks.count; i++)
            ctl_out_row(&out, &s->looks.rows[i]);
        s->code = ctl_out_end(&out);
        fflush(stdout);
    }
    s->done = s->once || s->code;
}

static void on_stats_done(void *ctx, const struct err *why)
{
    struct stats *s = ctx;
    if (why && !s->done)
        s->code = ctl_fail(why);
    s->failed = s->done = true;
}

int ctl_cmd_stats(struct ctl_args *a)
{
    static const struct pb_rpc_ops ops = {print_look, on_stats_done};
    PbWatchStatsRequest req = PB_WATCH_STATS_REQUEST__INIT;
    struct stats s = {.a = a, .once = ctl_has(a, OPT_NO_STREAM)};
    struct ctl_conn c;
    struct ctl_out probe;
    struct pb_rpc *rpc;
    struct err err;
    if (ctl_out_init(&probe, a, CTL_TABLE_usage, CTL_PRINT_TABLE, &err) || describe(a, &req, &err))
        return ctl_usage(&err);
    if (s.once && !ctl_has(a, OPT_INTERVAL))
        req.interval_ms = 200;
    if (ctl_connect(&c, a, &err) ||
        pb_rpc_start(c.h2, PB_METHOD_watch_stats, &ops, &s, 0, &rpc, &err)) {
        ctl_close(&c);
        return ctl_fail(&err);
    }
    pb_rpc_send(rpc, &req.base);
    pb_rpc_half_close(rpc);
    while (!s.done)
        if (ctl_turn(&c, NULL, 0, -1, &err) && !s.done) {
            s.code = ctl_fail(&err);
            s.done = true;
        }
    ctl_close(&c); /* ends the call, if it goes on */
    forget(&s.looks);
    return s.code;
}

/* ---- top ---- */

enum sort { SORT_NAME, SORT_CPU, SORT_MEMORY, SORT_PROCESSES, SORT_CALLS, SORT_TRANSLATE };
static const char *const sort_words[] = {"name",      "cpu",      "memory",
                                         "processes", "syscalls", "translate"};
static const char sort_keys[] = "ncmpst";

struct top {
    struct looks looks;
    struct ctl_args *a;
    enum sort sort;
    bool reverse, done;
    int code;
    struct buf frame;
    PbWatchStatsResponse *kept; /* what the rows point into */
};
static const struct top *sorting; /* for qsort */

static double sort_value(const struct ctl_usage *u)
{
    const PbGuestStats *s = u->guest->stats;
    switch (sorting->sort) {
    case SORT_CPU:
        return u->cpu;
    case SORT_MEMORY:
        return s ? (double)s->memory_bytes : 0;
    case SORT_PROCESSES:
        return s ? s->processes : 0;
    case SORT_CALLS:
        return u->calls;
    case SORT_TRANSLATE:
        return u->translate;
    default:
        return 0;
    }
}

static int compare(const void *x, const void *y)
{
    const struct ctl_usage *a = x, *b = y;
    double va = sort_value(a), vb = sort_value(b);
    int r = va < vb ? 1 : va > vb ? -1 : strcmp(a->guest->name, b->guest->name);
    return sorting->reverse ? -r : r;
}

/* Text cut to the line's rest; *left counts down. */
static void put_cell(struct buf *b, const char *text, int width, int *left)
{
    int n = (int)strlen(text);
    if (*left <= 0)
        return;
    int shown = MIN(n, *left);
    while (shown && (text[shown] & 0xc0) == 0x80)
        shown--; /* no half characters */
    buf_put(b, text, (size_t)shown);
    *left -= shown;
    for (; n<width && * left> 0; n++, (*left)--)
        buf_put_u8(b, ' ');
}

static void put_row(struct top *t, const struct ctl_usage *u, int cols)
{
    char text[200];
    int left = cols;
    for (size_t i = 0; i < ctl_column_count; i++) {
        const struct ctl_column *c = &ctl_columns[i];
        if (c->table != CTL_TABLE_usage ||
            ((c->flags & CTL_COLUMN_WIDE) && !ctl_has(t->a, OPT_ALL_TENANTS)))
            continue;
        if (u)
            ctl_cell(c, u, text, sizeof text);
        put_cell(&t->frame, u ? text : c->heading, MAX(c->width, (int)strlen(c->heading)) + 1,
                 &left);
    }
    buf_printf(&t->frame, u ? "\033[K\r\n" : "\033[K\033[0m\r\n");
}

static void draw(struct top *t)
{
    uint32_t rows = 24, cols = 80;
    double cpu = 0;
    uint64_t memory = 0;
    char line[200];
    int left;
    ctl_terminal_size(&rows, &cols);
    left = (int)cols;
    sorting = t;
    if (t->looks.count)
        qsort(t->looks.rows, t->looks.count, sizeof *t->looks.rows, compare);
    for (size_t i = 0; i < t->looks.count; i++) {
        cpu += MAX(t->looks.rows[i].cpu, 0.0);
        memory += t->looks.rows[i].guest->stats ? t->looks.rows[i].guest->stats->memory_bytes : 0;
    }
    t->frame.len = 0;
    buf_printf(&t->frame, "\033[H");
    snprintf(
        line, sizeof line,
        "vmctl top: %zu guests, CPU %.1f%%, memory %.1f MiB; by %s%s (n c m p s t, r), q quits",
        t->looks.count, cpu * 100, (double)memory / 1048576, sort_words[t->sort],
        t->reverse ? ", reversed" : "");
    put_cell(&t->frame, line, 0, &left);
    buf_printf(&t->frame, "\033[K\r\n%s", ctl_colours(stdout) ? "\033[7m" : "");
    put_row(t, NULL, (int)cols);
    for (size_t i = 0; i < t->looks.count && i + 3 < rows; i++)
        put_row(t, &t->looks.rows[i], (int)cols);
    buf_printf(&t->frame, "\033[J");
    if (!t->frame.failed && write(1, t->frame.data, t->frame.len) < 0 && errno != EINTR &&
        errno != EAGAIN)
        t->done = true;
}

/* The message ends with this call; a key may want to see it in another order later. */
static void on_look(void *ctx, const ProtobufCMessage *m)
{
    struct top *t = ctx;
    size_t n = protobuf_c_message_get_packed_size(m);
    uint8_t *packed = malloc(n + 1);
    if (!packed)
        return;
    protobuf_c_message_pack(m, packed);
    PbWatchStatsResponse *kept = pb_watch_stats_response__unpack(NULL, n, packed);
    free(packed);
    if (!kept)
        return;
    take_look(&t->looks, kept);
    if (t->kept)
        pb_watch_stats_response__free_unpacked(t->kept, NULL);
    t->kept = kept;
    draw(t);
}

static void on_top_done(void *ctx, const struct err *why)
{
    struct top *t = ctx;
    ctl_terminal_restore();
    if (why && !t->done)
        t->code = ctl_fail(why);
    t->done = true;
}

static void read_keys(struct top *t)
{
    char keys[32];
    ssize_t n = read(0, keys, sizeof keys);
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
        t->done = true;
    for (ssize_t i = 0; i < n; i++) {
        const char *key = keys[i] ? strchr(sort_keys, keys[i]) : NULL;
        if (keys[i] == 'q' || keys[i] == 3 || keys[i] == 4)
            t->done = true;
        else if (keys[i] == 'r')
            t->reverse = !t->reverse;
        else if (key)
            t->sort = (enum sort)(key - sort_keys);
    }
    if (t->kept && !t->done)
        draw(t);
}

static int watch_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGWINCH);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void read_signals(struct top *t, int signals)
{
    struct signalfd_siginfo info;
    while (read(signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo != SIGWINCH)
            t->done = true;
        else if (t->kept)
            draw(t);
    }
}

static res_code_t sort_order(struct top *t, struct err *err)
{
    const char *s = ctl_value(t->a, OPT_SORT);
    t->sort = SORT_CPU;
    if (!s)
        return OK;
    for (size_t i = 0; i < ARRAY_LEN(sort_words); i++)
        if (!strcmp(sort_words[i], s)) {
            t->sort = (enum sort)i;
            return OK;
        }
    return err_set(err, ERR_INVALID, "--sort %.40s: %s was expected", s, ctl_options[OPT_SORT].arg);
}

int ctl_cmd_top(struct ctl_args *a)
{
    static const struct pb_rpc_ops ops = {on_look, on_top_done};
    PbWatchStatsRequest req = PB_WATCH_STATS_REQUEST__INIT;
    struct top t = {.a = a};
    struct ctl_conn c;
    struct pb_rpc *rpc;
    struct err err;
    if (describe(a, &req, &err) || sort_order(&t, &err))
        return ctl_usage(&err);
    if (!isatty(0) || !isatty(1)) {
        ctl_say("top needs a terminal; \"vmctl stats\" does not");
        return CTL_EXIT_ERROR;
    }
    if (ctl_connect(&c, a, &err) ||
        pb_rpc_start(c.h2, PB_METHOD_watch_stats, &ops, &t, 0, &rpc, &err)) {
        ctl_close(&c);
        return ctl_fail(&err);
    }
    pb_rpc_send(rpc, &req.base);
    pb_rpc_half_close(rpc);
    CLEANUP(close_fd) int signals = watch_signals();
    ctl_terminal_set(CTL_TERMINAL_KEYS);
    while (!t.done) {
        struct pollfd p[] = {{.fd = 0, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
        if (ctl_turn(&c, p, ARRAY_LEN(p), -1, &err) && !t.done) {
            ctl_terminal_restore();
            t.code = ctl_fail(&err);
            t.done = true;
        } else if (p[0].revents) {
            read_keys(&t);
        }
        if (p[1].revents)
            read_signals(&t, signals);
    }
    ctl_terminal_restore();
    ctl_close(&c);
    forget(&t.looks);
    buf_fini(&t.frame);
    if (t.kept)
        pb_watch_stats_response__free_unpacked(t.kept, NULL);
    return t.code;
}
