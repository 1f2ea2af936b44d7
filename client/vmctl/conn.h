/*
 * vmctl/conn.h - which daemon, the way to it, and calls over it.
 *
 * Looks into: proto, base.  Used by: its own room.
 *
 * endpoint.c decides which daemon (flags > environment > configuration > this user's own); autostart.c starts that last
 * one; a transport (a Unix socket here, tls.c for the network) moves bytes; conn.c makes calls of them.
 *
 * Thread: one.
 */
#ifndef VMCTL_CONN_H
#define VMCTL_CONN_H

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "proto/client.h"
#include "proto/paths.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

struct ctl_args;

/* ---- endpoint.c ---- */

struct ctl_endpoint {
    bool tcp; /* host, port and TLS; else a Unix socket at path */
    bool own; /* this user's own daemon, which may be started */
    char path[PB_PATH_MAX];
    char host[256], port[8];
    char ca[PB_PATH_MAX], cert[PB_PATH_MAX], key[PB_PATH_MAX]; /* PEM files; "": not given */
};
res_t ctl_endpoint_find(struct ctl_endpoint *e, const struct ctl_args *a, struct err *err);
/* "unix://PATH", "/PATH", "./PATH", "tcp+tls://HOST:PORT", HOST an IPv6 address in brackets. Fails: ERR_INVALID. */
res_t ctl_endpoint_parse(struct ctl_endpoint *e, const char *address, struct err *err);

/* ---- transports ---- */

#define CTL_IO_WAIT (-1)   /* nothing now: poll for t->wait_send or t->wait_recv */
#define CTL_IO_FAILED (-2) /* err says why */
struct ctl_transport;
struct ctl_transport_ops {
    ssize_t (*send)(struct ctl_transport *t, const void *p, size_t n, struct err *err);
    ssize_t (*recv)(struct ctl_transport *t, void *p, size_t n, struct err *err); /* 0: the end */
    /* There is more to receive that poll does not know of. */
    bool (*pending)(struct ctl_transport *t);
    void (*close)(struct ctl_transport *t);
};
struct ctl_transport {
    const struct ctl_transport_ops *ops;
    int fd;
    short wait_send, wait_recv;
    void *state; /* of the transport's own */
};
/* Mutual TLS 1.2 or later, ALPN h2, the host's name verified. */
res_t ctl_tls_open(struct ctl_transport *t, const struct ctl_endpoint *e, struct err *err);

/* ---- autostart.c ---- */

/* Start a daemon for this user unless somebody else just did. OK: one listens at e->path. */
res_t ctl_autostart(const struct ctl_endpoint *e, struct err *err);
/* The program `name` beside this one, in ../libexec or ../sbin, or in PATH; false: nowhere. */
bool ctl_find_program(const char *name, char *out, size_t cap);

/* ---- conn.c ---- */

struct ctl_conn {
    struct ctl_transport t;
    struct pb_client *h2;
    struct buf out; /* not taken by the transport yet */
    size_t out_at;
};
res_t ctl_connect(struct ctl_conn *c, const struct ctl_args *a, struct err *err);
/* The same, never starting a daemon. */
res_t ctl_connect_only(struct ctl_conn *c, const struct ctl_endpoint *e, struct err *err);
void ctl_close(struct ctl_conn *c);
/* One turn: send, wait for the socket or others (extra, may be NULL) at most timeout_ms (-1: for ever), receive. */
res_t ctl_turn(struct ctl_conn *c, struct pollfd *extra, size_t extra_count, int timeout_ms,
               struct err *err);

typedef void ctl_use_fn(void *ctx, const ProtobufCMessage *m);
/* Call with one request; use (may be NULL) sees each response. timeout_ns 0: none. Fails with the daemon's error. */
res_t ctl_call(struct ctl_conn *c, enum pb_method_id id, const ProtobufCMessage *request,
               uint64_t timeout_ns, ctl_use_fn *use, void *ctx, struct err *err);
/* A command that is one call whose answer nobody needs: connect, call, say what failed. The exit code. */
int ctl_order(const struct ctl_args *a, enum pb_method_id id, const ProtobufCMessage *request);

#endif
