/* The transport for the network: TCP and mutual TLS. */
#include "client/vmctl/ctl.h"
#include "engine/base/os.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ERR_STATE OPENSSL_ERR_STATE /* a type of theirs, a number of ours */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#undef ERR_STATE

#define CONNECT_MS 10000 /* for one address, and for the handshake */

static struct {
#define FUNCTION(name) __typeof__(name) *name;
#include "client/vmctl/openssl.def"
#undef FUNCTION
} lib;

static res_code_t load_library(struct err *err)
{
    static const char *const names[] = {
#define FUNCTION(name) #name,
#include "client/vmctl/openssl.def"
#undef FUNCTION
    };
    void **to = (void **)&lib;
    void *handle = dlopen("libssl.so.3", RTLD_NOW | RTLD_LOCAL); /* for as long as we run */
    if (!handle)
        return err_set(err, ERR_UNAVAILABLE, "TLS needs OpenSSL 3: %s", dlerror());
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!(to[i] = dlsym(handle, names[i])))
            return err_set(err, ERR_UNAVAILABLE, "TLS needs OpenSSL 3: %s", dlerror());
    return OK;
}

struct tls {
    SSL_CTX *ctx;
    SSL *ssl;
};

static const char *openssl_text(void)
{
    static char text[200];
    unsigned long e = lib.ERR_peek_last_error();
    if (!e)
        return "unknown";
    lib.ERR_error_string_n(e, text, sizeof text);
    const char *reason = lib.ERR_reason_error_string(e);
    return reason ? reason : text;
}

/* ---- TCP ---- */

static bool wait_for(int fd, short events, int ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    int n;
    while ((n = poll(&p, 1, ms)) < 0 && errno == EINTR)
        ;
    return n > 0;
}

/* A connected, non-blocking socket, or -1 and errno. */
static int connect_one(const struct addrinfo *ai)
{
    int one = 1, why = 0;
    socklen_t n = sizeof why;
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, ai->ai_protocol);
    if (fd < 0)
        return -1;
    if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0) {
        why = errno;
        if (why == EINPROGRESS && !wait_for(fd, POLLOUT, CONNECT_MS))
            why = ETIMEDOUT;
        else if (why == EINPROGRESS && getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &n))
            why = errno;
    }
    if (why) {
        close_fd(&fd);
        errno = why;
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static res_code_t tcp_open(int *fd, const struct ctl_endpoint *e, struct err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all;
    int bad = getaddrinfo(e->host, e->port, &hints, &all);
    if (bad)
        return err_set(err, ERR_UNAVAILABLE, "%s: %s", e->host, gai_strerror(bad));
    for (struct addrinfo *ai = all; ai && *fd < 0; ai = ai->ai_next)
        *fd = connect_one(ai);
    int why = errno;
    freeaddrinfo(all);
    if (*fd < 0)
        return err_set(err, ERR_UNAVAILABLE, "cannot reach the daemon at %s:%s: %s", e->host,
                       e->port, strerror(why));
    return OK;
}

/* ---- TLS ---- */

static res_code_t load_files(struct tls *s, const struct ctl_endpoint *e, struct err *err)
{
    if (lib.SSL_CTX_load_verify_locations(s->ctx, e->ca, NULL) != 1)
        return err_set(err, ERR_INVALID, "certificates in %.200s: %s", e->ca, openssl_text());
    if (lib.SSL_CTX_use_certificate_chain_file(s->ctx, e->cert) != 1)
        return err_set(err, ERR_INVALID, "certificate %.200s: %s", e->cert, openssl_text());
    if (lib.SSL_CTX_use_PrivateKey_file(s->ctx, e->key, SSL_FILETYPE_PEM) != 1 ||
        lib.SSL_CTX_check_private_key(s->ctx) != 1)
        return err_set(err, ERR_INVALID, "key %.200s: %s", e->key, openssl_text());
    return OK;
}

static res_code_t prepare(struct tls *s, const struct ctl_endpoint *e, int fd, struct err *err)
{
    static const unsigned char h2[] = {2, 'h', '2'};
    uint8_t address[16];
    s->ctx = lib.SSL_CTX_new(lib.TLS_client_method());
    if (!s->ctx)
        return err_set(err, ERR_NO_MEMORY, "TLS: %s", openssl_text());
    lib.SSL_CTX_ctrl(s->ctx, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, NULL);
    lib.SSL_CTX_set_verify(s->ctx, SSL_VERIFY_PEER, NULL);
    lib.SSL_CTX_ctrl(s->ctx, SSL_CTRL_MODE,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                         SSL_MODE_AUTO_RETRY,
                     NULL);
    if (load_files(s, e, err))
        return FAIL;
    if (!(s->ssl = lib.SSL_new(s->ctx)) || lib.SSL_set_fd(s->ssl, fd) != 1 ||
        lib.SSL_set_alpn_protos(s->ssl, h2, sizeof h2) != 0)
        return err_set(err, ERR_NO_MEMORY, "TLS: %s", openssl_text());
    bool literal =
        inet_pton(AF_INET, e->host, address) == 1 || inet_pton(AF_INET6, e->host, address) == 1;
    int ok = literal ? lib.X509_VERIFY_PARAM_set1_ip_asc(lib.SSL_get0_param(s->ssl), e->host)
                     : lib.SSL_set1_host(s->ssl, e->host) &&
                           lib.SSL_ctrl(s->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME,
                                        TLSEXT_NAMETYPE_host_name, (char *)(uintptr_t)e->host);
    return ok ? OK : err_set(err, ERR_INVALID, "host %s: %s", e->host, openssl_text());
}

/* What SSL_* wants before it can go on; 0: it failed. */
static short wanted(struct tls *s, int result)
{
    int what = lib.SSL_get_error(s->ssl, result);
    return what == SSL_ERROR_WANT_READ ? POLLIN : what == SSL_ERROR_WANT_WRITE ? POLLOUT : 0;
}

static res_code_t handshake(struct tls *s, const struct ctl_endpoint *e, int fd, struct err *err)
{
    uint64_t until = os_now_ns() + CONNECT_MS * 1000000ull;
    for (int r; (r = lib.SSL_connect(s->ssl)) != 1;) {
        short events = wanted(s, r);
        uint64_t now = os_now_ns();
        if (!events) {
            long verdict = lib.SSL_get_verify_result(s->ssl);
            return err_set(err, ERR_UNAVAILABLE, "TLS with %s:%s: %s", e->host, e->port,
                           verdict != X509_V_OK ? lib.X509_verify_cert_error_string(verdict)
                                                : openssl_text());
        }
        if (now >= until || !wait_for(fd, events, (int)((until - now) / 1000000) + 1))
            return err_set(err, ERR_UNAVAILABLE, "TLS with %s:%s: no answer within 10 s", e->host,
                           e->port);
    }
    const unsigned char *alpn;
    unsigned n;
    lib.SSL_get0_alpn_selected(s->ssl, &alpn, &n);
    if (n != 2 || memcmp(alpn, "h2", 2) != 0)
        return err_set(err, ERR_UNAVAILABLE, "%s:%s does not speak HTTP/2", e->host, e->port);
    return OK;
}

static ssize_t tls_result(struct ctl_transport *t, int result, short *wait, struct err *err)
{
    struct tls *s = t->state;
    if (result > 0)
        return result;
    short events = wanted(s, result);
    if (events) {
        *wait = events;
        return CTL_IO_WAIT;
    }
    if (lib.SSL_get_error(s->ssl, result) == SSL_ERROR_ZERO_RETURN || !lib.ERR_peek_error())
        return 0;
    err_set(err, ERR_UNAVAILABLE, "the connection broke: %s", openssl_text());
    if (strstr(err->text,
               "alert")) /* with TLS 1.3 the server's verdict comes after the handshake */
        err_explain(err, "CERTIFICATE", NULL, NULL,
                    "is the certificate of --tls-cert one that this daemon takes?");
    return CTL_IO_FAILED;
}

static ssize_t tls_send(struct ctl_transport *t, const void *p, size_t n, struct err *err)
{
    struct tls *s = t->state;
    t->wait_send = POLLOUT;
    lib.ERR_clear_error();
    ssize_t r =
        tls_result(t, lib.SSL_write(s->ssl, p, (int)MIN(n, (size_t)1 << 20)), &t->wait_send, err);
    if (r != 0)
        return r;
    t->wait_send = 0; /* the end is for the reader to see */
    return CTL_IO_WAIT;
}

static ssize_t tls_recv(struct ctl_transport *t, void *p, size_t n, struct err *err)
{
    struct tls *s = t->state;
    t->wait_recv = POLLIN;
    lib.ERR_clear_error();
    return tls_result(t, lib.SSL_read(s->ssl, p, (int)MIN(n, (size_t)1 << 20)), &t->wait_recv, err);
}

static bool tls_pending(struct ctl_transport *t)
{
    return lib.SSL_pending(((struct tls *)t->state)->ssl) > 0;
}

static void tls_close(struct ctl_transport *t)
{
    struct tls *s = t->state;
    if (s->ssl && t->fd >= 0)
        lib.SSL_shutdown(s->ssl); /* one way; the socket closes next */
    lib.SSL_free(s->ssl);
    lib.SSL_CTX_free(s->ctx);
    free(s);
    close_fd(&t->fd);
    t->state = NULL;
}

static const struct ctl_transport_ops tls_ops = {tls_send, tls_recv, tls_pending, tls_close};

res_t ctl_tls_open(struct ctl_transport *t, const struct ctl_endpoint *e, struct err *err)
{
    struct tls *s = NULL;
    if (!e->ca[0] || !e->cert[0] || !e->key[0])
        return err_set(
            err, ERR_INVALID,
            "%s:%s: --tls-ca, --tls-cert and --tls-key are needed, or a context that has them",
            e->host, e->port);
    if (load_library(err))
        return FAIL;
    s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, ERR_NO_MEMORY, "no memory for a connection");
    *t = (struct ctl_transport){
        .ops = &tls_ops, .fd = -1, .wait_send = POLLOUT, .wait_recv = POLLIN, .state = s};
    if (tcp_open(&t->fd, e, err) || prepare(s, e, t->fd, err) || handshake(s, e, t->fd, err))
        return FAIL; /* ctl_close() frees it */
    return OK;
}
