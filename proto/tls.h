/*
 * proto/tls.h - mutual TLS for gRPC, without a socket: bytes in, bytes out.
 *
 * Looks into: base.  Used by: daemon/manager, client/vmctl, tests.
 *
 * TLS 1.2 at least, 1.3 where both can; ALPN "h2" is required; both sides show a certificate that the other's CA signed; nothing
 * is resumed, so that a certificate that was withdrawn is of no use. The caller moves bytes: what came from the network goes
 * in with pb_tls_recv, which gives the plain bytes; pb_tls_take gives what is to go out, after each of the others.
 *
 * Rules:
 *  (1) Nothing is kept: what pb_tls_recv was given has become plain bytes, or an unfinished record of at most 16 KiB.
 *  (2) Before pb_tls_ready() there are no plain bytes, and none may be sent.
 *
 * Thread: one per struct pb_tls; a context may be shared.
 */
#ifndef PROTO_TLS_H
#define PROTO_TLS_H

#include "engine/base/buf.h"
#include "engine/base/err.h"

/* PEM files: a certificate (with its chain), its private key, the CAs of those at the other end. */
struct pb_tls_files {
    const char *cert, *key, *ca;
};

struct pb_tls_context;
struct pb_tls;

/* Fails: ERR_INVALID: a file cannot be read or does not hold what it should; the text says which. */
res_t pb_tls_context_new(bool server, const struct pb_tls_files *files, struct pb_tls_context **out,
                         struct err *err);
/* Connections under way keep what they need. */
void pb_tls_context_free(struct pb_tls_context *ctx);

/* server_name: client only: host name or address that the server's certificate must carry. */
res_t pb_tls_new(struct pb_tls_context *ctx, const char *server_name, struct pb_tls **out,
                 struct err *err);
void pb_tls_free(struct pb_tls *t);

/* Append to plain what the peer says. Fails: ERR_UNAUTHENTICATED: no certificate, or not one we trust; ERR_BAD_MESSAGE: not TLS;
 * ERR_UNAVAILABLE: the peer said goodbye. There may be an alert to send. */
res_t pb_tls_recv(struct pb_tls *t, const void *p, size_t n, struct buf *plain, struct err *err);
/* Fails: ERR_BAD_MESSAGE: the connection broke before. */
res_t pb_tls_send(struct pb_tls *t, const void *p, size_t n, struct err *err);
/* Append what is to go to the network; wire->failed tells of no memory. */
void pb_tls_take(struct pb_tls *t, struct buf *wire);
/* The peer is who it says it is, and speaks h2. */
bool pb_tls_ready(const struct pb_tls *t);

/* The DNS names, then the common name of the peer's certificate, until use() says true. False: it never did. */
bool pb_tls_peer_names(struct pb_tls *t, bool (*use)(void *ctx, const char *name), void *ctx);

#endif
