/* vmd: flags, the background, the log. */
#include "daemon/manager/manager.h"
#include "daemon/manager/systemd.h"
#include "daemon/manager/tenant.h"
#include "engine/base/log.h"
#include "proto/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "Usage: vmd [--socket PATH] [--state DIR] [--daemonize] [--log-level LEVEL]\n"
    "\n"
    "The daemon of Vivarium: runs guests for its user, driven by vmctl.\n"
    "\n"
    "  --socket PATH      listen here (root: /run/vmd/vmd.sock; else "
    "$XDG_RUNTIME_DIR/vmd/vmd.sock,\n"
    "                     or /tmp/vmd-UID/vmd.sock)\n"
    "  --listen tcp+tls://HOST:PORT --tls-cert FILE --tls-key FILE --tls-ca FILE\n"
    "                     listen there too, for clients with a certificate of that CA\n"
    "  --tls-name NAME    a client whose certificate bears this name is this user's (may be "
    "repeated)\n"
    "  --limit NAME=N     what connections may take: connections, tenant_connections, "
    "handshake_ms, "
    "request_ms,\n"
    "                     ping_after_ms, ping_answer_ms, idle_ms\n"
    "  --state DIR        keep images here (root: /var/lib/vmd; else ~/.local/share/vmd)\n"
    "  --daemonize        go to the background once listening; the log goes to DIR/vmd.log\n"
    "  --log-level LEVEL  debug, info (default), warn, error\n"
    "  --stop-grace MS    on SIGTERM: from SIGTERM to SIGKILL for guests (default 2000)\n"
    "  --worker PATH      run guests with this program (default: vmd-worker beside vmd)\n"
    "  --import PATH      make images with this program (default: vmd-import beside vmd)\n"
    "  --version, --help\n";

enum {
    OPT_SOCKET = 1,
    OPT_STATE,
    OPT_DAEMONIZE,
    OPT_LOG,
    OPT_GRACE,
    OPT_WORKER,
    OPT_IMPORT,
    OPT_LISTEN,
    OPT_TLS_CERT,
    OPT_TLS_KEY,
    OPT_TLS_CA,
    OPT_TLS_NAME,
    OPT_LIMIT,
    OPT_VERSION,
    OPT_HELP
};
static const struct option long_options[] = {
    {"socket", required_argument, NULL, OPT_SOCKET},
    {"state", required_argument, NULL, OPT_STATE},
    {"daemonize", no_argument, NULL, OPT_DAEMONIZE},
    {"log-level", required_argument, NULL, OPT_LOG},
    {"stop-grace", required_argument, NULL, OPT_GRACE},
    {"worker", required_argument, NULL, OPT_WORKER},
    {"import", required_argument, NULL, OPT_IMPORT},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"tls-cert", required_argument, NULL, OPT_TLS_CERT},
    {"tls-key", required_argument, NULL, OPT_TLS_KEY},
    {"tls-ca", required_argument, NULL, OPT_TLS_CA},
    {"tls-name", required_argument, NULL, OPT_TLS_NAME},
    {"limit", required_argument, NULL, OPT_LIMIT},
    {"version", no_argument, NULL, OPT_VERSION},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

static struct mgr_tenant_config own = {.name = "default", .uid_count = 2, .admin = true};

/* Unless configured: the daemon's own user and root, without quotas. */
static struct mgr_tenant_config *own_tenant(void)
{
    static uint32_t uids[2];
    own.uids = uids;
    uids[0] = geteuid();
    for (unsigned q = 0; q < MGR_QUOTA_COUNT; q++)
        own.quota[q] = UINT64_MAX;
    return &own;
}

static void add_certificate(char *name)
{
    char **more = realloc(own.certificates, (own.certificate_count + 1) * sizeof *more);
    if (!more)
        exit(1);
    own.certificates = more;
    more[own.certificate_count++] = name;
}

static void take_listen(int option, const char *value, struct mgr_listen_config *l)
{
    static const char scheme[] = "tcp+tls://";
    if (option == OPT_TLS_CERT) {
        l->tls.cert = value;
    } else if (option == OPT_TLS_KEY) {
        l->tls.key = value;
    } else if (option == OPT_TLS_CA) {
        l->tls.ca = value;
    } else if (strncmp(value, scheme, sizeof scheme - 1)) {
        fprintf(stderr, "vmd: --listen %s: %sHOST:PORT was expected\n", value, scheme);
        exit(2);
    } else {
        l->tcp = value + sizeof scheme - 1;
    }
}

static void set_limit(const char *s, struct mgr_conn_limits *limits)
{
    const struct {
        const char *name;
        uint32_t *value;
    } all[] = {
#define LIMIT(name, by_default, what) {#name, &limits->name},
        MGR_CONN_LIMITS(LIMIT)
#undef LIMIT
    };
    const char *equals = strchr(s, '=');
    for (size_t i = 0; equals && i < ARRAY_LEN(all); i++)
        if (strlen(all[i].name) == (size_t)(equals - s) &&
            !strncmp(all[i].name, s, strlen(all[i].name))) {
            *all[i].value = (uint32_t)strtoul(equals + 1, NULL, 10);
            return;
        }
    fprintf(stderr, "vmd: --limit %s: see vmd --help\n", s);
    exit(2);
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

static void set_level(const char *s)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (!strcmp(s, names[i])) {
            log_set_level((enum log_level)i);
            return;
        }
    fprintf(stderr, "vmd: --log-level %s: use debug, info, warn or error\n", s);
    exit(2);
}

/* The parent waits in here until the child listens, and exits with its verdict. Returns, in the child, the
 * descriptor to give it on. */
static int go_to_background(void)
{
    int pipe_fd[2];
    char ok = 1;
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

static void detach_output(const char *state)
{
    char path[PB_PATH_MAX];
    snprintf(path, sizeof path, "%.4000s/vmd.log", state);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, 0);
        dup2(null, 1);
    }
    if (log >= 0)
        dup2(log, 2);
}

int main(int argc, char **argv)
{
    static char socket_path[PB_PATH_MAX], state[PB_PATH_MAX], worker[PB_PATH_MAX],
        import[PB_PATH_MAX];
    struct mgr_options opt = {
        .stop_grace_ms = 2000, .orphan_seconds = 300, .tenants = own_tenant(), .tenant_count = 1};
    struct mgr_listen_config listen = {0};
    static struct mgr mgr;
    struct err err;
    bool background = false;
    beside("vmd-worker", worker, sizeof worker);
    beside("vmd-import", import, sizeof import);
    opt.worker_path = worker;
    opt.import_path = import;
    log_set_name("vmd");
    for (int c; (c = getopt_long(argc, argv, "", long_options, NULL)) != -1;)
        switch (c) {
        case OPT_SOCKET:
            opt.socket = optarg;
            break;
        case OPT_STATE:
            opt.state = optarg;
            break;
        case OPT_DAEMONIZE:
            background = true;
            break;
        case OPT_LOG:
            set_level(optarg);
            break;
        case OPT_GRACE:
            opt.stop_grace_ms = strtoull(optarg, NULL, 10);
            break;
        case OPT_WORKER:
            opt.worker_path = optarg;
            break;
        case OPT_IMPORT:
            opt.import_path = optarg;
            break;
        case OPT_LISTEN:
        case OPT_TLS_CERT:
        case OPT_TLS_KEY:
        case OPT_TLS_CA:
            take_listen(c, optarg, &listen);
            opt.listen_count = 1;
            break;
        case OPT_TLS_NAME:
            add_certificate(optarg);
            break;
        case OPT_LIMIT:
            set_limit(optarg, &opt.conn_limits);
            break;
        case OPT_VERSION:
            puts("vmd " VV_VERSION);
            return 0;
        case OPT_HELP:
            fputs(usage, stdout);
            return 0;
        default:
            fputs(usage, stderr);
            return 2;
        }
    if (optind < argc) {
        fprintf(stderr, "vmd: unexpected \"%s\"; see vmd --help\n", argv[optind]);
        return 2;
    }
    if ((!opt.socket && pb_default_socket(socket_path, &err)) ||
        (!opt.state && pb_default_state(state, &err))) {
        fprintf(stderr, "vmd: %s\n", err.text);
        return 1;
    }
    opt.socket = opt.socket ? opt.socket : socket_path;
    opt.state = opt.state ? opt.state : state;
    opt.listen = &listen;
    if (opt.listen_count && !listen.tcp) {
        fprintf(stderr, "vmd: --tls-... without --listen tcp+tls://HOST:PORT\n");
        return 2;
    }
    int tell = background ? go_to_background() : -1;
    if (mgr_init(&mgr, &opt, &err)) {
        fprintf(stderr, "vmd: %s\n", err.text);
        return 1;
    }
    if (background)
        detach_output(opt.state);
    log_info("version " VV_VERSION ", pid %d, listening on %s, state in %s", (int)getpid(),
             opt.socket, opt.state);
    mgr_sd_notify("READY=1");
    if (tell >= 0 && write(tell, "", 1) == 1)
        close(tell);
    mgr_run(&mgr);
    mgr_fini(&mgr);
    log_info("stopped");
    return 0;
}
