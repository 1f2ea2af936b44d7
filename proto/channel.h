/*
 * proto/channel.h - messages and descriptors on the socket between the manager and a child.
 *
 * Looks into: base.  Used by: daemon/manager, daemon/worker, daemon/import.
 * The socket does not block; the owner polls it: for reading always, for writing while pb_channel_pending().
 * Descriptors travel with the first byte of their message and come out in order. What waits to be sent is
 * bounded by the senders' own rules (credits), not here.
 * Thread: one.
 */
#ifndef PROTO_CHANNEL_H
#define PROTO_CHANNEL_H

#include "engine/base/arena.h"
#include "proto/frame.h"
#include "proto/message.h"

#define PB_CHILD_FD 3 /* where a child finds its end */

struct pb_channel_fd {
    size_t at; /* offset in out of the byte it goes with */
    int fd;
};
struct pb_channel {
    int fd; /* owned; -1: closed */
    bool take_fds;
    struct pb_splitter in;
    struct arena arena;
    struct buf out;
    size_t out_at;
    struct buf out_fds; /* struct pb_channel_fd, not sent yet */
    struct buf in_fds;  /* int, received, not taken yet */
};
/* take_fds: else descriptors that come are dropped. */
void pb_channel_init(struct pb_channel *ch, int fd, size_t message_bytes_max, bool take_fds);
void pb_channel_fini(struct pb_channel *ch);
/* Queue a message; pass_fd (or -1) is owned by the channel from now on. Failure to allocate shows in flush. */
void pb_channel_put(struct pb_channel *ch, const ProtobufCMessage *m, int pass_fd);
/* The same for a body that is packed already. */
void pb_channel_put_raw(struct pb_channel *ch, const void *p, size_t n);
size_t pb_channel_pending(const struct pb_channel *ch);
/* Send what the socket takes now. Fails: ERR_UNAVAILABLE: the peer is gone. */
res_t pb_channel_flush(struct pb_channel *ch, struct err *err);
/* Receive what is there (one read). Fails: ERR_UNAVAILABLE: the peer is gone. */
res_t pb_channel_fill(struct pb_channel *ch, struct err *err);
/* The next message, NULL if none is whole; valid until the next call. */
res_t pb_channel_next(struct pb_channel *ch, const ProtobufCMessageDescriptor *type,
                      const ProtobufCMessage **m, struct err *err);
/* The oldest descriptor that came and was not taken, now the caller's; -1 if none. */
int pb_channel_take_fd(struct pb_channel *ch);

#endif
