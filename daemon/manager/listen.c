#include "daemon/manager/listen.h"
#include "daemon/manager/conn.h"
#include "daemon/manager/systemd.h"
#include "engine/base/log.h"
#include "proto/paths.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 1024

static void on_closed(uv_handle_t *h)
{
    struct mgr_listener *l = h->data;
    pb_tls_context_free(l->tls);
    free(l);
}

/* Take fd, which is bound, and listen; fd is owned by the result, or closed. */
static res_code_t adopt(struct mgr *m, int fd, const struct mgr_listen_config *config, bool own,
                        const char *where, struct err *err)
{
    struct mgr_listener *l = calloc(1, sizeof *l);
    struct pb_tls_context *tls = NULL;
    if (!l || (config && config->tcp && pb_tls_context_new(true, &config->tls, &tls, err))) {
        close_fd(&fd);
        if (l) {
            free(l);
            return err_wrap(err, "%s", where);
        }
        return err_set(err, ERR_NO_MEMORY, "no memory for a listener");
    }
    l->m = m;
    l->config = config;
    l->tls = tls;
    l->own = own;
    snprintf(l->where, sizeof l->where, "%s", where);
    if (tls)
        uv_tcp_init(m->loop, &l->io.tcp);
    else
        uv_pipe_init(m->loop, &l->io.pipe, 0);
    l->io.stream.data = l;
    list_append(&m->listeners, &l->link); /* mgr_listen_stop() frees it whatever comes */
    int rc = tls ? uv_tcp_open(&l->io.tcp, fd) : uv_pipe_open(&l->io.pipe, fd);
    if (rc)
        close_fd(&fd);
    else
        rc = uv_listen(&l->io.stream, BACKLOG, mgr_on_connection);
    if (rc)
        return err_set(err, ERR_OS, "listen %s: %s", where, uv_strerror(rc));
    log_info("listening on %s", where);
    return OK;
}

/* ---- Unix sockets ---- */

/* Who listens, not only that the socket is open: a child of a vmd that was killed has it until it is another program. */
static bool somebody_answers(const struct sockaddr_un *sa)
{
    struct ucred who = {0};
    socklen_t n = sizeof who;
    CLEANUP(close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)sa, sizeof *sa))
        return false;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) || who.pid <= 0 ||
           kill(who.pid, 0) == 0 || errno != ESRCH;
}

static res_code_t listen_unix(struct mgr *m, const char *path,
                              const struct mgr_listen_config *config, struct err *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    const char *slash = strrchr(path, '/');
    char dir[PB_PATH_MAX];
    if (strlen(path) >= sizeof sa.sun_path)
        return err_set(err, ERR_INVALID, "socket %s: longer than %zu bytes", path,
                       sizeof sa.sun_path - 1);
    strcpy(sa.sun_path, path);
    if (slash && slash != path) {
        memcpy(dir, path, (size_t)(slash - path));
        dir[slash - path] = 0;
        if (pb_private_dir(dir, err))
            return err_wrap(err, "the socket's folder");
    }
    if (somebody_answers(&sa))
        return err_set(err, ERR_EXISTS, "a daemon answers at %s already", path);
    unlink(path);
    CLEANUP(close_fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set_os(err, "socket");
    mode_t old = umask(0177);
    int rc = bind(fd, (struct sockaddr *)&sa, sizeof sa);
    umask(old);
    if (rc < 0 || chmod(path, config ? config->mode : m->opt->socket_mode))
        return err_set_os(err, "bind %s", path);
    int given = fd;
    fd = -1;
    return adopt(m, given, config, true, path, err);
}

/* ---- TCP ---- */

/* "tcp+tls://127.0.0.1:7443", as the socket says it is bound. */
static void name_of(int fd, char *out, size_t cap)
{
    struct sockaddr_storage sa;
    socklen_t n = sizeof sa;
    char host[64] = "?", port[8] = "?";
    if (getsockname(fd, (struct sockaddr *)&sa, &n) == 0)
        getnameinfo((struct sockaddr *)&sa, n, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(out, cap, strchr(host, ':') ? "tcp+tls://[%s]:%s" : "tcp+tls://%s:%s", host, port);
}

/* Split "HOST:PORT" or "[HOST]:PORT"; an empty host means every address. */
static res_code_t split_address(const char *address, char host[256], char port[16], struct err *err)
{
    const char *colon = strrchr(address, ':'), *from = address, *to = colon;
    if (colon && address[0] == '[' && colon > address + 1 && colon[-1] == ']') {
        from++;
        to--;
    }
    if (!colon || to - from >= 256 || !colon[1] || strlen(colon + 1) >= 16 ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1) || atoi(colon + 1) > 65535)
        return err_set(err, ERR_INVALID, "listen address \"%.200s\": HOST:PORT was expected",
                       address);
    memcpy(host, from, (size_t)(to - from));
    host[to - from] = 0;
    strcpy(port, colon + 1);
    return OK;
}

static res_code_t listen_at(struct mgr *m, const struct addrinfo *ai,
                            const struct mgr_listen_config *config, struct err *err)
{
    char where[128];
    int one = 1, fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set_os(err, "socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (ai->ai_family == AF_INET6) /* the host's own 0.0.0.0 comes beside :: */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0) {
        err_set_os(err, "bind %.200s", config->tcp);
        close_fd(&fd);
        return FAIL;
    }
    name_of(fd, where, sizeof where);
    return adopt(m, fd, config, false, where, err);
}

static res_code_t listen_tcp(struct mgr *m, const struct mgr_listen_config *config, struct err *err)
{
    char host[256], port[16];
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM},
                    *all;
    if (split_address(config->tcp, host, port, err))
        return FAIL;
    int rc = getaddrinfo(host[0] ? host : NULL, port, &hints, &all);
    if (rc)
        return err_set(err, ERR_INVALID, "listen address \"%.200s\": %s", config->tcp,
                       gai_strerror(rc));
    res_code_t res = OK;
    for (struct addrinfo *ai = all; ai && !res; ai = ai->ai_next)
        res = listen_at(m, ai, config, err);
    freeaddrinfo(all);
    return res;
}

/* ---- all of them ---- */

struct inherited {
    unsigned count;
    bool used[64], unix_socket;
};

/* AF_UNIX, AF_INET, ...; -1: not a socket: whoever promised one was wrong, and it may be anything of ours by now. */
static int family_of(int fd)
{
    struct sockaddr_storage sa;
    socklen_t n = sizeof sa;
    return getsockname(fd, (struct sockaddr *)&sa, &n) ? -1 : sa.ss_family;
}

/* Which of systemd's sockets is of this family and not in use; -1: none. */
static int inherited(struct inherited *in, bool unix_socket)
{
    for (unsigned i = 0; i < in->count && i < ARRAY_LEN(in->used); i++) {
        int fd = MGR_SD_FIRST_FD + (int)i, family = in->used[i] ? -1 : family_of(fd);
        if (family < 0 || (family == AF_UNIX) != unix_socket)
            continue;
        in->used[i] = true;
        return fd;
    }
    return -1;
}

static void close_unused(struct inherited *in)
{
    for (unsigned i = 0; i < in->count && i < ARRAY_LEN(in->used); i++)
        if (!in->used[i]) {
            int fd = MGR_SD_FIRST_FD + (int)i;
            log_warn("socket %u from systemd fits no listener of the configuration", i);
            if (family_of(fd) >= 0)
                close(fd);
        }
}

res_t mgr_listen(struct mgr *m, struct err *err)
{
    struct inherited in = {.count = mgr_sd_listen_fds()};
    res_code_t res = OK;
    mgr_conns_init(m);
    for (int fd; !res && (fd = inherited(&in, true)) >= 0;) {
        in.unix_socket = true;
        res = adopt(m, fd, NULL, false, "a Unix socket of systemd", err);
    }
    if (!res && !in.unix_socket && m->opt->socket)
        res = listen_unix(m, m->opt->socket, NULL, err);
    for (size_t i = 0; !res && i < m->opt->listen_count; i++) {
        const struct mgr_listen_config *config = &m->opt->listen[i];
        int fd = config->tcp ? inherited(&in, false) : -1;
        char where[128];
        if (fd >= 0) {
            name_of(fd, where, sizeof where);
            res = adopt(m, fd, config, false, where, err);
        } else {
            res = config->tcp ? listen_tcp(m, config, err)
                              : listen_unix(m, config->unix_path, config, err);
        }
    }
    close_unused(&in);
    return res;
}

void mgr_listen_stop(struct mgr *m)
{
    if (!list_empty(&m->listeners))
        mgr_sd_notify("STOPPING=1");
    pb_health_set(&m->health, false);
    while (!list_empty(&m->listeners)) {
        struct mgr_listener *l = list_entry(m->listeners.next, struct mgr_listener, link);
        list_remove(&l->link);
        if (l->own)
            unlink(l->where);
        uv_close((uv_handle_t *)&l->io.stream, on_closed);
    }
}

res_t mgr_listen_reload(struct mgr *m, struct err *err)
{
    list_for_each(link, &m->listeners)
    {
        struct mgr_listener *l = list_entry(link, struct mgr_listener, link);
        struct pb_tls_context *fresh;
        if (!l->tls)
            continue;
        if (pb_tls_context_new(true, &l->config->tls, &fresh, err))
            return err_wrap(err, "%s", l->where);
        pb_tls_context_free(l->tls);
        l->tls = fresh;
    }
    return OK;
}
