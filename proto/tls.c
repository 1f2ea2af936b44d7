#include "proto/tls.h"
#include "engine/base/base.h"

#define ERR_STATE openssl_err_state /* a type's name there, a code's here */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#undef ERR_STATE
#include <stdlib.h>
#include <string.h>

#define CIPHERS_TLS12 "ECDHE+AESGCM:ECDHE+CHACHA20" /* RFC 7540 9.2.2 wants no less */
#define CHAIN_DEPTH_MAX 8

struct pb_tls_context {
    SSL_CTX *ctx;
    bool server;
};

struct pb_tls {
    SSL *ssl;
    BIO *in, *out; /* owned by ssl */
    bool ready, broken;
};

/* The oldest trouble OpenSSL noted; the rest is dropped. */
static const char *trouble(void)
{
    unsigned long code = ERR_get_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return reason ? reason : "unknown trouble";
}

/* ---- contexts ---- */

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                   const unsigned char *in, unsigned in_n, void *arg)
{
    (void)ssl, (void)arg;
    for (unsigned at = 0; at < in_n && at + 1 + in[at] <= in_n; at += 1u + in[at])
        if (in[at] == 2 && !memcmp(in + at + 1, "h2", 2)) {
            *out = in + at + 1;
            *out_n = 2;
            return SSL_TLSEXT_ERR_OK;
        }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static res_code_t load(SSL_CTX *ctx, bool server, const struct pb_tls_files *f, struct err *err)
{
    if (SSL_CTX_use_certificate_chain_file(ctx, f->cert) != 1)
        return err_set(err, ERR_INVALID, "certificate %.200s: %s", f->cert, trouble());
    if (SSL_CTX_use_PrivateKey_file(ctx, f->key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1)
        return err_set(err, ERR_INVALID, "private key %.200s: %s", f->key, trouble());
    if (SSL_CTX_load_verify_locations(ctx, f->ca, NULL) != 1)
        return err_set(err, ERR_INVALID, "CA certificates %.200s: %s", f->ca, trouble());
    if (server) /* tells clients which of their certificates to show */
        SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(f->ca));
    return OK;
}

res_t pb_tls_context_new(bool server, const struct pb_tls_files *f, struct pb_tls_context **out,
                         struct err *err)
{
    struct pb_tls_context *c = calloc(1, sizeof *c);
    SSL_CTX *ctx = c ? SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()) : NULL;
    if (!f->cert || !f->key || !f->ca) {
        err_set(err, ERR_INVALID, "TLS needs a certificate, its key and a CA; the %s is missing",
                !f->cert  ? "certificate"
                : !f->key ? "key"
                          : "CA");
        goto failed;
    }
    if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(ctx, CIPHERS_TLS12) != 1) {
        err_set(err, ERR_NO_MEMORY, "TLS: %s", trouble());
        goto failed;
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS); /* idle connections are cheap */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_verify_depth(ctx, CHAIN_DEPTH_MAX);
    if (load(ctx, server, f, err))
        goto failed;
    if (server)
        SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    else if (SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)"\2h2", 3)) {
        err_set(err, ERR_NO_MEMORY, "TLS: %s", trouble());
        goto failed;
    }
    *c = (struct pb_tls_context){ctx, server};
    *out = c;
    return OK;
failed:
    SSL_CTX_free(ctx);
    free(c);
    return FAIL;
}

void pb_tls_context_free(struct pb_tls_context *c)
{
    if (c)
        SSL_CTX_free(c->ctx); /* counted: connections hold it too */
    free(c);
}

/* ---- connections ---- */

static bool expect_name(SSL *ssl, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1)
        return true;
    ERR_clear_error(); /* not an address */
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

res_t pb_tls_new(struct pb_tls_context *ctx, const char *server_name, struct pb_tls **out,
                 struct err *err)
{
    struct pb_tls *t = calloc(1, sizeof *t);
    BIO *in = BIO_new(BIO_s_mem()), *to = BIO_new(BIO_s_mem());
    if (!t || !in || !to || !(t->ssl = SSL_new(ctx->ctx))) {
        BIO_free(in);
        BIO_free(to);
        free(t);
        return err_set(err, ERR_NO_MEMORY, "TLS: %s", trouble());
    }
    SSL_set_bio(t->ssl, in, to);
    t->in = in;
    t->out = to;
    if (ctx->server) {
        SSL_set_accept_state(t->ssl);
    } else {
        SSL_set_connect_state(t->ssl);
        if (!server_name || !expect_name(t->ssl, server_name)) {
            pb_tls_free(t);
            return err_set(err, ERR_INVALID, "TLS: \"%.100s\" is no name of a server",
                           server_name ? server_name : "");
        }
        (void)SSL_do_handshake(t->ssl); /* the first message; pb_tls_recv goes on */
        ERR_clear_error();
    }
    *out = t;
    return OK;
}

void pb_tls_free(struct pb_tls *t)
{
    if (t)
        SSL_free(t->ssl);
    free(t);
}

/* What a failed step means. */
static res_code_t explain(struct pb_tls *t, int rc, struct err *err)
{
    int why = SSL_get_error(t->ssl, rc);
    if (why == SSL_ERROR_WANT_READ)
        return OK;
    t->broken = true;
    if (why == SSL_ERROR_ZERO_RETURN)
        return err_set(err, ERR_UNAVAILABLE, "TLS: the other end closed the connection");
    long verdict = SSL_get_verify_result(t->ssl);
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_REASON(code);
    if (verdict != X509_V_OK) {
        ERR_clear_error();
        return err_set(err, ERR_UNAUTHENTICATED, "TLS: the other end's certificate: %s",
                       X509_verify_cert_error_string(verdict));
    }
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
        ERR_clear_error();
        return err_set(err, ERR_UNAUTHENTICATED, "TLS: the other end shows no certificate");
    }
    /* an alert: the other end dislikes ours (RFC 8446 6.2: 42 to 49, 116) */
    bool ours = reason >= SSL_AD_REASON_OFFSET &&
                ((reason - SSL_AD_REASON_OFFSET >= 42 && reason - SSL_AD_REASON_OFFSET <= 49) ||
                 reason - SSL_AD_REASON_OFFSET == 116);
    return err_set(err, ours ? ERR_UNAUTHENTICATED : ERR_BAD_MESSAGE, "TLS: %s", trouble());
}

static res_code_t shake(struct pb_tls *t, struct err *err)
{
    const unsigned char *alpn = NULL;
    unsigned n = 0;
    int rc = SSL_do_handshake(t->ssl);
    if (rc != 1)
        return explain(t, rc, err);
    SSL_get0_alpn_selected(t->ssl, &alpn, &n);
    if (n != 2 || memcmp(alpn, "h2", 2)) {
        t->broken = true;
        return err_set(err, ERR_BAD_MESSAGE, "TLS: the other end does not offer h2");
    }
    t->ready = true;
    return OK;
}

res_t pb_tls_recv(struct pb_tls *t, const void *p, size_t n, struct buf *plain, struct err *err)
{
    ERR_clear_error();
    if (t->broken)
        return err_set(err, ERR_BAD_MESSAGE, "TLS: the connection broke before");
    if (BIO_write(t->in, p, (int)n) != (int)n)
        return err_set(err, ERR_NO_MEMORY, "TLS: no memory for what came");
    if (!t->ready && shake(t, err))
        return FAIL;
    while (t->ready) {
        if (!buf_reserve(plain, 16384))
            return err_set(err, ERR_NO_MEMORY, "TLS: no memory for what came");
        int got = SSL_read(t->ssl, plain->data + plain->len, (int)(plain->cap - plain->len));
        if (got <= 0)
            return explain(t, got, err);
        plain->len += (size_t)got;
    }
    return OK;
}

res_t pb_tls_send(struct pb_tls *t, const void *p, size_t n, struct err *err)
{
    ASSERT(t->ready); /* rule (2) */
    ERR_clear_error();
    if (t->broken || (n && SSL_write(t->ssl, p, (int)n) != (int)n))
        return err_set(err, ERR_BAD_MESSAGE, "TLS: %s", t->broken ? "broke before" : trouble());
    return OK;
}

void pb_tls_take(struct pb_tls *t, struct buf *wire)
{
    size_t n = BIO_ctrl_pending(t->out);
    if (!n || !buf_reserve(wire, n))
        return;
    int got = BIO_read(t->out, wire->data + wire->len, (int)n);
    wire->len += got > 0 ? (size_t)got : 0;
}

bool pb_tls_ready(const struct pb_tls *t)
{
    return t->ready;
}

/* A name with a NUL inside is a trick, not a name. */
static bool use_name(const ASN1_STRING *s, bool (*use)(void *ctx, const char *name), void *ctx)
{
    unsigned char *utf8 = NULL;
    int n = ASN1_STRING_to_UTF8(&utf8, s);
    bool used = n > 0 && strlen((char *)utf8) == (size_t)n && use(ctx, (char *)utf8);
    if (n >= 0)
        OPENSSL_free(utf8);
    return used;
}

bool pb_tls_peer_names(struct pb_tls *t, bool (*use)(void *ctx, const char *name), void *ctx)
{
    X509 *cert = SSL_get1_peer_certificate(t->ssl);
    bool used = false;
    if (!cert)
        return false;
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; names && !used && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS)
            used = use_name(name->d.dNSName, use, ctx);
    }
    X509_NAME *subject = X509_get_subject_name(cert);
    int at = subject ? X509_NAME_get_index_by_NID(subject, NID_commonName, -1) : -1;
    if (!used && at >= 0)
        used = use_name(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)), use, ctx);
    GENERAL_NAMES_free(names);
    X509_free(cert);
    ERR_clear_error();
    return used;
}
