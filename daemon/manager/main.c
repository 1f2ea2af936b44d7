/* vmd: flags, configuration, the background, the log. */
#include "daemon/manager/config.h"
#include "daemon/manager/config_table.h"
#include "daemon/manager/manager.h"
#include "daemon/manager/systemd.h"
#include "engine/base/log.h"
#include "proto/paths.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
#define MGR_FLAG(id, name, letter, arg, key, help) FLAG_##id,
#include "daemon/manager/vmd.def"
#undef MGR_FLAG
    FLAG_COUNT
};
#define FLAG_VALUE 256 /* what getopt_long gives for a flag */
static const struct {
    const char *name, *arg, *key, *help;
    char letter;
} flags[FLAG_COUNT] = {
#define MGR_FLAG(id, name, letter, arg, key, help) {name, arg, key, help, letter},
#include "daemon/manager/vmd.def"
#undef MGR_FLAG
};

struct invocation {
    struct mgr_config_source source;
    bool test, background;
    const char *pid_file;
};

static void print_help(FILE *f)
{
    fputs("Usage: vmd [FLAGS]\n\nThe daemon of Vivarium: runs guests for its tenants, driven by "
          "vmctl.\n\n",
          f);
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        char left[48], letter[8] = "    ";
        if (flags[i].letter)
            snprintf(letter, sizeof letter, "-%c, ", flags[i].letter);
        snprintf(left, sizeof left, "  %s--%s %s", letter, flags[i].name,
                 flags[i].arg ? flags[i].arg : "");
        fprintf(f, "%-26s", left);
        int at = 26;
        for (const char *s = flags[i].help; *s;) { /* wrapped at blanks */
            int n = (int)strcspn(s, " ");
            if (at + n + 1 > 100)
                fprintf(f, "\n%26s", ""), at = 26;
            at += fprintf(f, " %.*s", n, s);
            s += n;
            s += strspn(s, " ");
        }
        fputc('\n', f);
    }
    fputs("\nSIGHUP reads the configuration again. SIGTERM and SIGINT stop the daemon; a second "
          "one at once.\n"
          "See vmd(8), vmd.yaml(5).\n",
          f);
}

/* The file `name` beside this program. */
static void beside(const char *name, char *out, size_t cap)
{
    ssize_t n = readlink("/proc/self/exe", out, cap - 1);
    if (n < 0)
        n = 0;
    out[n] = 0;
    char *slash = strrchr(out, '/');
    size_t at = slash ? (size_t)(slash - out) + 1 : 0;
    snprintf(out + at, cap - at, "%s", name);
}

/* What flags say lives as long as the process. */
static const char *print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static const char *print(const char *fmt, ...)
{
    static struct arena words;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *s = n < 0 ? NULL : arena_alloc(&words, (size_t)n + 1);
    if (!s) {
        fputs("vmd: no memory\n", stderr);
        exit(1);
    }
    va_start(ap, fmt);
    vsnprintf(s, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return s;
}

/* An absolute path of the same file: the background has another working directory. */
static const char *absolute(const char *path)
{
    char here[PB_PATH_MAX];
    return *path == '/' || !getcwd(here, sizeof here) ? path : print("%s/%s", here, path);
}

/* The last of one key counts. */
static void override_with(struct mgr_config_source *s, const char *key, const char *value,
                          const char *flag)
{
    struct mgr_override *o = s->overrides;
    while (o < s->overrides + s->override_count && strcmp(o->key, key))
        o++;
    if (o == s->overrides + s->override_count)
        s->override_count++;
    ASSERT(s->override_count <= ARRAY_LEN(s->overrides)); /* keys that flags stand for are few */
    *o = (struct mgr_override){.key = key, .value = value, .flag = flag};
}

/* handshake_ms=300 is clients.handshake: 300ms. */
static void take_limit(struct mgr_config_source *s, const char *given)
{
    size_t n = strcspn(given, "=");
    bool ms = n > 3 && !strncmp(given + n - 3, "_ms", 3);
    const char *name = print("%.*s", (int)(ms ? n - 3 : n), given);
    const struct mgr_key *k = mgr_key_find("clients", name);
    if (!given[n] || !k || (k->type == MGR_TIME) != ms || !strcmp(name, "request_ids")) {
        fprintf(stderr, "vmd: --limit %s: there is no such limit; see vmd --help\n", given);
        exit(2);
    }
    override_with(s, print("clients.%s", name), print("%s%s", given + n + 1, ms ? "ms" : ""),
                  print("--limit %s", given));
}

static void take_listen(struct mgr_config_source *s, int flag, const char *value)
{
    static const char scheme[] = "tcp+tls://";
    if (flag == FLAG_TLS_CERT) {
        s->tls.certificate = absolute(value);
    } else if (flag == FLAG_TLS_KEY) {
        s->tls.key = absolute(value);
    } else if (flag == FLAG_TLS_CA) {
        s->tls.client_ca = absolute(value);
    } else if (strncmp(value, scheme, sizeof scheme - 1)) {
        fprintf(stderr, "vmd: --listen %s: %sHOST:PORT was expected\n", value, scheme);
        exit(2);
    } else {
        s->tls.tcp = value + sizeof scheme - 1;
    }
}

/* A flag that is a key of the configuration. */
static void take_key(struct mgr_config_source *s, int flag, const char *value)
{
    if (flag == FLAG_STOP_GRACE && *value && strspn(value, "0123456789") == strlen(value))
        value = print("%sms", value);
    else if (flag == FLAG_STATE || flag == FLAG_WORKER || flag == FLAG_IMPORT)
        value = absolute(value);
    override_with(s, flags[flag].key, value, print("--%s", flags[flag].name));
}

static void take_flag(struct invocation *in, int flag, const char *value)
{
    switch (flag) {
    case FLAG_CONFIG:
        in->source.file = absolute(value);
        in->source.must_exist = true;
        return;
    case FLAG_TEST:
        in->test = true;
        return;
    case FLAG_SOCKET:
        in->source.socket = absolute(value);
        return;
    case FLAG_DAEMONIZE:
        in->background = true;
        return;
    case FLAG_PID_FILE:
        in->pid_file = absolute(value);
        return;
    case FLAG_VERSION:
        puts("vmd " VV_VERSION);
        exit(0);
    case FLAG_HELP:
        print_help(stdout);
        exit(0);
    case FLAG_LISTEN:
    case FLAG_TLS_CERT:
    case FLAG_TLS_KEY:
    case FLAG_TLS_CA:
        take_listen(&in->source, flag, value);
        return;
    case FLAG_TLS_NAME:
        if (in->source.name_count == ARRAY_LEN(in->source.names)) {
            fputs("vmd: that many --tls-name belong into the configuration\n", stderr);
            exit(2);
        }
        in->source.names[in->source.name_count++] = value;
        return;
    case FLAG_LIMIT:
        take_limit(&in->source, value);
        return;
    default:
        take_key(&in->source, flag, value);
    }
}

static void parse(struct invocation *in, int argc, char **argv)
{
    struct option longs[FLAG_COUNT + 1] = {0};
    char shorts[2 * FLAG_COUNT + 1] = "", *next = shorts;
    for (int i = 0; i < FLAG_COUNT; i++) {
        longs[i] = (struct option){flags[i].name, flags[i].arg ? required_argument : no_argument,
                                   NULL, FLAG_VALUE + i};
        if (flags[i].letter)
            *next++ = flags[i].letter;
        if (flags[i].letter && flags[i].arg)
            *next++ = ':';
    }
    for (int c; (c = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        int flag = c - FLAG_VALUE;
        for (int i = 0; i < FLAG_COUNT && c < FLAG_VALUE; i++)
            if (c == flags[i].letter)
                flag = i;
        if (flag < 0) {
            fputs("See vmd --help.\n", stderr);
            exit(2);
        }
        take_flag(in, flag, optarg);
    }
    if (optind < argc) {
        fprintf(stderr, "vmd: unexpected \"%s\"; see vmd --help\n", argv[optind]);
        exit(2);
    }
    const struct mgr_listener_config *tls = &in->source.tls;
    bool all = tls->tcp && tls->certificate && tls->key && tls->client_ca;
    if (!all && (tls->tcp || tls->certificate || tls->key || tls->client_ca)) {
        fputs("vmd: --listen, --tls-cert, --tls-key and --tls-ca belong together\n", stderr);
        exit(2);
    }
}

/* Reads the configuration, or says what is wrong with it and ends. */
static struct mgr_config *configure(struct invocation *in)
{
    static char file[PB_PATH_MAX];
    struct mgr_config *config;
    struct mgr_problems problems = {0};
    struct err err;
    if (!in->source.file && mgr_config_default_file(file, sizeof file))
        in->source.file = file;
    if (mgr_config_load(&in->source, &config, &problems, &err)) {
        if (problems.count)
            fwrite(problems.text.data, 1, problems.text.len, stderr);
        else
            fprintf(stderr, "vmd: %s\n", err.text);
        if (problems.count > MGR_CONFIG_PROBLEMS)
            fprintf(stderr, "vmd: and %u more\n", problems.count - MGR_CONFIG_PROBLEMS);
        exit(1);
    }
    if (in->test) {
        bool there = in->source.file && access(in->source.file, F_OK) == 0;
        printf("vmd: %s: OK\n", there ? in->source.file : "no configuration file, defaults");
        exit(0);
    }
    return config;
}

/* The parent waits in here until the child listens, and exits with its verdict. Returns, in the child, the
 * descriptor to give it on. */
static int go_to_background(void)
{
    int pipe_fd[2];
    char ok = 1;
    /* What the starter had open is not the daemon's. */
    close_range(3, ~0u, 0);
    if (pipe2(pipe_fd, O_CLOEXEC)) {
        perror("vmd: pipe");
        exit(1);
    }
    pid_t pid = fork();
    if (pid < 0) {
        perror("vmd: fork");
        exit(1);
    }
    if (pid == 0) {
        close(pipe_fd[0]);
        setsid();
        return pipe_fd[1];
    }
    close(pipe_fd[1]);
    ssize_t n = read(pipe_fd[0], &ok, 1);
    exit(n == 1 ? ok : 1);
}

/* The terminal's descriptors go; the folder it was started in may be unmounted. */
static void detach(const char *log)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
    if (null >= 0) {
        dup2(null, 0);
        dup2(null, 1);
        dup2(fd >= 0 ? fd : null, 2); /* workers, and what a library prints */
    }
    if (fd >= 0)
        close(fd);
    if (null >= 0)
        close(null);
    if (chdir("/"))
        log_warn("chdir /: %s", strerror(errno));
}

static void write_pid_file(const char *path)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%d\n", (int)getpid());
    CLEANUP(close_fd)
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0 || fchmod(fd, 0644) || write(fd, text, (size_t)n) != n)
        log_warn("pid file %s: %s", path, strerror(errno));
}

/* What the daemon is to everybody else: its files are its own, nothing of a starter's is open in it, no core tells. */
static void settle_process(const struct mgr_config *config)
{
    struct rlimit none = {0, 0};
    umask(077);
    close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
    if (!config->daemon_core_dumps)
        setrlimit(RLIMIT_CORE, &none);
}

static void fail(const struct err *err)
{
    fprintf(stderr, "vmd: %s\n", err->text);
    exit(1);
}

/* The first Unix socket: systemd's takes its place. */
static void fill_socket(struct mgr_options *opt, const struct mgr_config *config)
{
    for (size_t i = 0; i < config->listen_count && !opt->socket; i++)
        if (*config->listen[i].unix_path) {
            opt->socket = config->listen[i].unix_path;
            opt->socket_mode = (unsigned)config->listen[i].mode;
        }
}

/* Every door but the first Unix socket, which is opt->socket. */
static void fill_listeners(struct mgr_options *opt, const struct mgr_config *config)
{
    struct mgr_listen_config *all = calloc(config->listen_count + 1, sizeof *all);
    struct err err;
    if (!all) {
        err_set(&err, ERR_NO_MEMORY, "no memory");
        fail(&err);
    }
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct mgr_listener_config *from = &config->listen[i];
        if (*from->unix_path && from->unix_path == opt->socket)
            continue;
        struct mgr_listen_config *to = &all[opt->listen_count++];
        if (*from->unix_path)
            *to = (struct mgr_listen_config){.unix_path = from->unix_path,
                                             .mode = (unsigned)from->mode};
        else
            *to = (struct mgr_listen_config){
                .tcp = from->tcp, .tls = {from->certificate, from->key, from->client_ca}};
    }
    opt->listen = all; /* as long as the daemon */
}

static void fill_conn_limits(struct mgr_conn_limits *to, const struct mgr_config *config)
{
    to->connections = (uint32_t)config->clients_connections;
    to->tenant_connections = (uint32_t)config->clients_tenant_connections;
    to->handshake_ms = (uint32_t)(config->clients_handshake_ns / 1000000);
    to->request_ms = (uint32_t)(config->clients_request_ns / 1000000);
    to->ping_after_ms = (uint32_t)(config->clients_ping_after_ns / 1000000);
    to->ping_answer_ms = (uint32_t)(config->clients_ping_answer_ns / 1000000);
    to->idle_ms = (uint32_t)(config->clients_idle_ns / 1000000);
}

static void fill_options(struct mgr_options *opt, const struct invocation *in,
                         const struct mgr_config *config)
{
    static char socket_path[PB_PATH_MAX], state[PB_PATH_MAX], worker[PB_PATH_MAX],
        import[PB_PATH_MAX];
    struct err err;
    opt->source = &in->source;
    opt->config = config;
    opt->tenants = config->tenants;
    opt->tenant_count = config->tenants_count;
    beside("vmd-worker", worker, sizeof worker);
    beside("vmd-import", import, sizeof import);
    opt->worker_path = *config->daemon_worker ? config->daemon_worker : worker;
    opt->import_path = *config->daemon_import ? config->daemon_import : import;
    opt->state = *config->daemon_state ? config->daemon_state : state;
    fill_socket(opt, config);
    if (!*config->daemon_state && pb_default_state(state, &err))
        fail(&err);
    if (!config->listen_count && pb_default_socket(socket_path, &err))
        fail(&err);
    if (!config->listen_count) {
        opt->socket = socket_path;
        opt->socket_mode = 0600;
    }
    fill_listeners(opt, config);
    fill_conn_limits(&opt->conn_limits, config);
}

int main(int argc, char **argv)
{
    static char log[PB_PATH_MAX];
    static struct invocation in;
    static struct mgr_options opt;
    static struct mgr mgr;
    struct err err;
    log_set_name("vmd");
    parse(&in, argc, argv);
    struct mgr_config *config = configure(&in);
    fill_options(&opt, &in, config);
    settle_process(config);
    snprintf(log, sizeof log, "%.4000s/vmd.log", opt.state);
    int tell = in.background ? go_to_background() : -1;
    if (in.background)
        opt.log_fallback = log;
    mgr_config_apply_log(config, NULL); /* the folder of the other one may not be there yet */
    if (mgr_init(&mgr, &opt, &err))
        fail(&err);
    if (in.background) {
        detach(*config->log_file ? config->log_file : log);
        mgr_config_apply_log(config, log);
    }
    if (in.pid_file)
        write_pid_file(in.pid_file);
    log_info("version " VV_VERSION ", pid %d, listening on %s, state in %s", (int)getpid(),
             opt.socket ? opt.socket : "TCP", opt.state);
    mgr_sd_notify("READY=1");
    if (tell >= 0 && write(tell, "", 1) == 1)
        close(tell);
    mgr_run(&mgr);
    mgr_fini(&mgr);
    if (in.pid_file)
        unlink(in.pid_file);
    mgr_config_free(config);
    log_info("stopped");
    return 0;
}
