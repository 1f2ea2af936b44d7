/*
 * vvrun - run one riscv64 program in an instance of the engine: no daemon, no image needed. For tests and benchmarks.
 *
 *   vvrun [options] prog.elf [args...]              a host file, on an empty root or on --image
 *   vvrun [options] --image IMAGE -- prog [args...] a program of the image
 *
 * stdin, stdout and stderr are the guest's. Exit status: the guest's; 128 + n if signal n killed it; 125 for a limit or an
 * error of ours, 124 for --timeout, 2 for wrong usage; the reason is on stderr.
 */
#include "engine/base/base.h"
#include "engine/vm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_OURS = 125, EXIT_TIMEOUT = 124, EXIT_USAGE = 2 };

struct options {
    struct vm_config config;
    const char *image, *stats;
    uint64_t timeout_ns;
    void *program;    /* what config.program points to */
    const char **env; /* what config.envp points to */
};

struct console {
    struct vm *vm;
    int event_fd;
    char in[16384];
    size_t in_from, in_to;
    bool in_closed, in_ended; /* our stdin is at its end; the guest was told */
};

static const char usage_text[] =
    "usage: vvrun [options] prog.elf [args...]\n"
    "       vvrun [options] --image IMAGE -- prog [args...]\n"
    "  --window 32|36..38   bits of the guest's address window\n"
    "  --no-translate       interpreter only\n"
    "  --no-chain           no direct chaining\n"
    "  --block-insns N      longest block, in guest instructions\n"
    "  --threshold N        entries before a block is translated\n"
    "  --features-off MASK  host features to pretend absent\n"
    "  --cache BYTES --arena BYTES --memory BYTES --overlay BYTES --cpu-ms MS\n"
    "  --vcpus N --processes N --files N\n"
    "  --image FILE         root file system (EROFS)\n"
    "  --env NAME=VALUE     once per variable; replaces the default environment\n"
    "  --cwd DIR --uid N --gid N --name NAME\n"
    "  --tty                the three streams are one terminal\n"
    "  --stats FILE         counters as JSON; - is descriptor 3\n"
    "  --timeout SECONDS    then kill it\n";

static _Noreturn void usage(void)
{
    fputs(usage_text, stderr);
    exit(EXIT_USAGE);
}

static _Noreturn void die(const char *what, const struct err *err)
{
    fprintf(stderr, "vvrun: %s: %s\n", what, err ? err->text : strerror(errno));
    exit(EXIT_OURS);
}

static uint64_t number(const char *s)
{
    char *end;
    errno = 0;
    uint64_t v = strtoull(s, &end, 0);
    if (errno || end == s || *end) {
        fprintf(stderr, "vvrun: not a number: %s\n", s);
        exit(EXIT_USAGE);
    }
    return v;
}

enum opt {
    O_WINDOW = 256,
    O_NO_TRANSLATE,
    O_NO_CHAIN,
    O_BLOCK_INSNS,
    O_THRESHOLD,
    O_FEATURES_OFF,
    O_CACHE,
    O_ARENA,
    O_MEMORY,
    O_OVERLAY,
    O_CPU_MS,
    O_VCPUS,
    O_PROCESSES,
    O_FILES,
    O_IMAGE,
    O_ENV,
    O_CWD,
    O_UID,
    O_GID,
    O_NAME,
    O_TTY,
    O_STATS,
    O_TIMEOUT,
};

static const struct option long_options[] = {
    {"window", 1, 0, O_WINDOW},
    {"no-translate", 0, 0, O_NO_TRANSLATE},
    {"no-chain", 0, 0, O_NO_CHAIN},
    {"block-insns", 1, 0, O_BLOCK_INSNS},
    {"threshold", 1, 0, O_THRESHOLD},
    {"features-off", 1, 0, O_FEATURES_OFF},
    {"cache", 1, 0, O_CACHE},
    {"arena", 1, 0, O_ARENA},
    {"memory", 1, 0, O_MEMORY},
    {"overlay", 1, 0, O_OVERLAY},
    {"cpu-ms", 1, 0, O_CPU_MS},
    {"vcpus", 1, 0, O_VCPUS},
    {"processes", 1, 0, O_PROCESSES},
    {"files", 1, 0, O_FILES},
    {"image", 1, 0, O_IMAGE},
    {"env", 1, 0, O_ENV},
    {"cwd", 1, 0, O_CWD},
    {"uid", 1, 0, O_UID},
    {"gid", 1, 0, O_GID},
    {"name", 1, 0, O_NAME},
    {"tty", 0, 0, O_TTY},
    {"stats", 1, 0, O_STATS},
    {"timeout", 1, 0, O_TIMEOUT},
    {0, 0, 0, 0},
};

static void take_option(struct options *o, int opt, const char *arg, const char **env,
                        size_t *env_count)
{
    struct vm_config *c = &o->config;
    switch ((enum opt)opt) {
    case O_WINDOW:
        c->window_bits = (uint32_t)number(arg);
        break;
    case O_NO_TRANSLATE:
        c->no_translate = true;
        break;
    case O_NO_CHAIN:
        c->no_chain = true;
        break;
    case O_BLOCK_INSNS:
        c->block_insns_max = (uint32_t)number(arg);
        break;
    case O_THRESHOLD:
        c->t1_threshold = (uint32_t)number(arg);
        break;
    case O_FEATURES_OFF:
        c->host_features_off = (uint32_t)number(arg);
        break;
    case O_CACHE:
        c->limits.cache_bytes = number(arg);
        break;
    case O_ARENA:
        c->limits.arena_bytes = (uint32_t)number(arg);
        break;
    case O_MEMORY:
        c->limits.memory_bytes = number(arg);
        break;
    case O_OVERLAY:
        c->limits.overlay_bytes = number(arg);
        break;
    case O_CPU_MS:
        c->limits.cpu_ns = number(arg) * 1000000;
        break;
    case O_VCPUS:
        c->vcpus = (uint32_t)number(arg);
        break;
    case O_PROCESSES:
        c->limits.processes = (uint32_t)number(arg);
        break;
    case O_FILES:
        c->limits.files = (uint32_t)number(arg);
        break;
    case O_IMAGE:
        o->image = arg;
        break;
    case O_ENV:
        env[(*env_count)++] = arg;
        break;
    case O_CWD:
        c->cwd = arg;
        break;
    case O_UID:
        c->uid = (uint32_t)number(arg);
        break;
    case O_GID:
        c->gid = (uint32_t)number(arg);
        break;
    case O_NAME:
        c->name = arg;
        break;
    case O_TTY:
        c->tty = true;
        break;
    case O_STATS:
        o->stats = arg;
        break;
    case O_TIMEOUT:
        o->timeout_ns = number(arg) * 1000000000;
        break;
    default:
        usage();
    }
}

static void read_program(struct options *o, const char *path)
{
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        die(path, NULL);
    size_t n = (size_t)st.st_size, got = 0;
    char *p = malloc(n + 1);
    if (!p)
        die(path, NULL);
    while (got < n) {
        ssize_t r = read(fd, p + got, n - got);
        if (r <= 0)
            die(path, NULL);
        got += (size_t)r;
    }
    o->config.program = o->program = p;
    o->config.program_bytes = n;
}

/* "-" and "--" follow getopt; whether argv[0] is a host file or a program of the image is told by the "--". */
static void parse(struct options *o, int argc, char **argv)
{
    static bool dashes;
    const char **env = calloc((size_t)argc + 1, sizeof *env);
    size_t env_count = 0;
    int opt;
    if (!env)
        die("memory", NULL);
    while ((opt = getopt_long(argc, argv, "+", long_options, NULL)) != -1) {
        if (opt == '?')
            usage();
        take_option(o, opt, optarg, env, &env_count);
    }
    dashes = strcmp(argv[optind - 1], "--") == 0;
    if (optind >= argc)
        usage();
    if (!(dashes && o->image))
        read_program(o, argv[optind]);
    o->config.argv = (const char *const *)argv + optind;
    o->env = env;
    if (env_count)
        o->config.envp = env;
}

static void wake(void *ctx)
{
    const struct console *con = ctx;
    uint64_t one = 1;
    while (write(con->event_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static void write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return; /* our reader is gone: the guest's output is dropped */
        p += w;
        n -= (size_t)w;
    }
}

static bool pump_out(struct console *con)
{
    char buf[16384];
    bool any = false;
    for (int stream = 1; stream <= 2; stream++) {
        size_t n;
        while ((n = vm_console_read(con->vm, stream, buf, sizeof buf)) > 0) {
            write_all(stream, buf, n);
            any = true;
        }
    }
    return any;
}

static void pump_in(struct console *con, bool readable)
{
    if (readable && con->in_from == con->in_to && !con->in_closed) {
        ssize_t n = read(0, con->in, sizeof con->in);
        if (n > 0) {
            con->in_from = 0;
            con->in_to = (size_t)n;
        } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
            con->in_closed = true;
        }
    }
    if (con->in_from < con->in_to)
        con->in_from +=
            vm_console_write(con->vm, con->in + con->in_from, con->in_to - con->in_from);
    if (con->in_closed && con->in_from == con->in_to && !con->in_ended) {
        con->in_ended = true;
        vm_console_eof(con->vm);
    }
}

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Until the guest has ended and its output is ours. False: the timeout passed first. */
static bool pump(struct console *con, uint64_t timeout_ns)
{
    uint64_t until = timeout_ns ? now_ns() + timeout_ns : 0;
    for (;;) {
        bool ended = vm_state(con->vm) == VM_ENDED;
        if (pump_out(con))
            continue;
        if (ended)
            return true;
        bool want = !con->in_closed && con->in_from == con->in_to;
        struct pollfd fds[2] = {{con->event_fd, POLLIN, 0}, {want ? 0 : -1, POLLIN, 0}};
        int wait_ms = -1;
        if (until) {
            uint64_t now = now_ns();
            if (now >= until)
                return false;
            wait_ms = (int)MIN((until - now) / 1000000 + 1, 60000u);
        }
        if (poll(fds, 2, wait_ms) < 0 && errno != EINTR)
            die("poll", NULL);
        uint64_t count;
        if (fds[0].revents && read(con->event_fd, &count, sizeof count) < 0 && errno != EAGAIN)
            die("eventfd", NULL);
        pump_in(con, fds[1].revents != 0);
    }
}

static void write_stats(const char *path, struct vm *vm, uint64_t wall_ns)
{
    FILE *f = strcmp(path, "-") == 0 ? fdopen(dup(3), "w") : fopen(path, "w");
    struct vm_stats s;
    struct rusage ru;
    if (!f)
        die(path, NULL);
    vm_stats(vm, &s);
    getrusage(RUSAGE_SELF, &ru);
    fprintf(f, "{\n");
#define FIELD(name) fprintf(f, "  \"" #name "\": %" PRIu64 ",\n", (uint64_t)s.name)
    FIELD(cpu_ns);
    FIELD(guest_insns_t0);
    FIELD(blocks_translated);
    FIELD(guest_insns_translated);
    FIELD(host_bytes_emitted);
    FIELD(translate_ns);
    FIELD(lookups_missed);
    FIELD(retired);
    FIELD(evictions);
    FIELD(syscalls);
    FIELD(faults);
    FIELD(memory_bytes);
    FIELD(overlay_bytes);
#undef FIELD
    fprintf(f, "  \"user_us\": %lld,\n",
            (long long)ru.ru_utime.tv_sec * 1000000 + ru.ru_utime.tv_usec);
    fprintf(f, "  \"wall_ns\": %" PRIu64 "\n}\n", wall_ns);
    fclose(f);
}

static struct termios saved_terminal;

static void restore_terminal(void)
{
    tcsetattr(0, TCSADRAIN, &saved_terminal);
}

static void raw_terminal(struct vm_config *c)
{
    struct winsize ws;
    if (ioctl(0, TIOCGWINSZ, &ws) == 0) {
        c->rows = ws.ws_row;
        c->cols = ws.ws_col;
    }
    if (tcgetattr(0, &saved_terminal) < 0)
        return;
    struct termios raw = saved_terminal;
    cfmakeraw(&raw);
    atexit(restore_terminal);
    tcsetattr(0, TCSADRAIN, &raw);
}

static int exit_status(const struct vm_end *end)
{
    if (end->kind == VM_END_EXIT)
        return end->code;
    fprintf(stderr, "vvrun: %s\n", end->text);
    return end->kind == VM_END_SIGNAL ? 128 + end->code : EXIT_OURS;
}

int main(int argc, char **argv)
{
    struct options o = {.config = {.name = "vvrun", .image_fd = -1}};
    struct console con = {.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    struct vm_callbacks cb = {&con, wake, wake};
    struct err err;
    parse(&o, argc, argv);
    if (con.event_fd < 0)
        die("eventfd", NULL);
    if (o.image && (o.config.image_fd = open(o.image, O_RDONLY | O_CLOEXEC)) < 0)
        die(o.image, NULL);
    if (o.config.tty)
        raw_terminal(&o.config);
    uint64_t start = now_ns();
    if (vm_create(&o.config, &cb, &con.vm, &err) != OK || vm_start(con.vm, &err) != OK)
        die(o.config.argv[0], &err);
    bool ended = pump(&con, o.timeout_ns);
    if (!ended) {
        vm_kill(con.vm);
        vm_wait(con.vm, UINT64_MAX);
        pump_out(&con);
        fprintf(stderr, "vvrun: killed by --timeout\n");
    }
    int status = ended ? exit_status(vm_end(con.vm)) : EXIT_TIMEOUT;
    if (o.stats)
        write_stats(o.stats, con.vm, now_ns() - start);
    vm_free(con.vm);
    free(o.program);
    free(o.env);
    return status;
}
