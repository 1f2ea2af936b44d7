/*
 * proto/frame.h - messages in a byte stream: cut out, put in.
 *
 * Looks into: base.  Used by: proto, daemon, client.
 * Two framings: gRPC's (1 byte compressed flag, 4 bytes length, big endian) and the children's socket
 * (4 bytes length, little endian). The bytes are hostile: a length above the limit fails before anything
 * is kept for it, so a splitter holds at most one message and what came with its last bytes.
 * Thread: one at a time.
 */
#ifndef PROTO_FRAME_H
#define PROTO_FRAME_H

#include "engine/base/buf.h"
#include "engine/base/err.h"

enum pb_framing { PB_FRAMING_GRPC, PB_FRAMING_CHILD };

struct pb_splitter {
    enum pb_framing framing;
    size_t message_bytes_max;
    struct buf in;
    size_t at; /* of the first byte not cut out yet */
};
void pb_splitter_init(struct pb_splitter *s, enum pb_framing framing, size_t message_bytes_max);
void pb_splitter_fini(struct pb_splitter *s);
res_t pb_splitter_put(struct pb_splitter *s, const void *p, size_t n, struct err *err);
/*
 * The next whole message: *got says if there is one; *p points into the splitter until the next put.
 * Fails: ERR_LIMIT (too long), ERR_UNIMPLEMENTED (compressed), ERR_BAD_MESSAGE. It stays failed.
 */
res_t pb_splitter_next(struct pb_splitter *s, bool *got, const uint8_t **p, size_t *n,
                       struct err *err);
/* Would the next message be taken, as far as its head is here? Fails as pb_splitter_next. */
res_t pb_splitter_check(const struct pb_splitter *s, struct err *err);
/* Bytes of an unfinished message (or of messages not cut out yet). */
size_t pb_splitter_left(const struct pb_splitter *s);

#endif
