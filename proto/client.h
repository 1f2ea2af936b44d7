/*
 * proto/client.h - the client's side of gRPC over HTTP/2, without a socket.
 *
 * Looks into: base.  Used by: client, tests.
 * Made for few calls at a time and a quick start: no DNS, no timers, no threads. The caller moves bytes:
 * pb_client_recv what came, pb_client_send what is to go. As in server.h nothing grows: responses are
 * delivered as they come, and a call that its reader paused stops the server; the caller queues requests only while
 * pb_rpc_queued() is small.
 * Thread: one.
 */
#ifndef PROTO_CLIENT_H
#define PROTO_CLIENT_H

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "proto/methods.h"

#include <stdint.h>

struct pb_client;
struct pb_rpc;

struct pb_rpc_ops {
    /* A response, valid during the call only. */
    void (*message)(void *ctx, const ProtobufCMessage *m);
    /* The end, once: NULL for OK. The rpc is freed after it. */
    void (*done)(void *ctx, const struct err *err);
    /* In message's place for calls begun by their path: a response as it came. */
    void (*bytes)(void *ctx, const uint8_t *p, size_t n);
};

res_t pb_client_new(struct pb_client **client, struct err *err);
/* Calls under way end with ERR_CANCELLED. */
void pb_client_free(struct pb_client *client);
res_t pb_client_recv(struct pb_client *client, const void *p, size_t n, struct err *err);
res_t pb_client_send(struct pb_client *client, struct buf *out, size_t enough, struct err *err);
/* The connection is gone: end every call with this. */
void pb_client_lost(struct pb_client *client, const struct err *why);

/* timeout_ns 0: no deadline. */
res_t pb_rpc_start(struct pb_client *client, enum pb_method_id method, const struct pb_rpc_ops *ops,
                   void *ctx, uint64_t timeout_ns, struct pb_rpc **rpc, struct err *err);
void pb_rpc_send(struct pb_rpc *rpc, const ProtobufCMessage *m);
/* A call that methods.def does not know: its messages are bytes. path outlives the call. */
res_t pb_rpc_start_path(struct pb_client *client, const char *path, const struct pb_rpc_ops *ops,
                        void *ctx, uint64_t timeout_ns, struct pb_rpc **rpc, struct err *err);
void pb_rpc_send_bytes(struct pb_rpc *rpc, const void *p, size_t n);
void pb_rpc_half_close(struct pb_rpc *rpc);
/* Bytes that wait for the server's window. */
size_t pb_rpc_queued(const struct pb_rpc *rpc);
void pb_rpc_pause(struct pb_rpc *rpc);
void pb_rpc_resume(struct pb_rpc *rpc);

#endif
