/*
 * proto/message.h - protobuf bodies to and from bytes, with the checks protobuf-c leaves out.
 *
 * Looks into: base.  Used by: proto, daemon, client.
 * A message is unpacked into an arena: memory is bounded by the arena's limit however often a field
 * repeats, and everything goes at once. Strings are valid UTF-8 afterwards and end at their first NUL. No message
 * type is recursive (a unit test walks the descriptors), so depth is bounded by the schema.
 * Thread: any, one at a time per arena.
 */
#ifndef PROTO_MESSAGE_H
#define PROTO_MESSAGE_H

#include "engine/base/arena.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"

#include <protobuf-c/protobuf-c.h>

/* Room an arena needs for one message of n bytes of reasonable shape. */
#define PB_ARENA_BYTES(n) (65536 + 32 * (size_t)(n))

/* *out lives in the arena. Fails: ERR_BAD_MESSAGE (malformed, or too much structure for its size). */
res_t pb_unpack(const ProtobufCMessageDescriptor *type, struct arena *arena, const void *p,
                size_t n, const ProtobufCMessage **out, struct err *err);
/* Append in gRPC framing, in the children's framing. b->failed tells of no memory. */
void pb_pack_grpc(struct buf *b, const ProtobufCMessage *m);
void pb_pack_child(struct buf *b, const ProtobufCMessage *m);

/* Valid UTF-8 (RFC 3629: shortest form, no surrogates) and no NUL. */
bool pb_utf8_valid(const char *s, size_t n);
/* Put '?' for each byte that belongs to no character. */
void pb_utf8_clean(char *s);

#endif
