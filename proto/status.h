/*
 * proto/status.h - gRPC's small print: status codes, grpc-message, grpc-timeout.
 * Looks into: base.  Used by: proto, daemon, client.  Thread: any.
 */
#ifndef PROTO_STATUS_H
#define PROTO_STATUS_H

#include "engine/base/buf.h"
#include "engine/base/err.h"

#include <stddef.h>
#include <stdint.h>

/* "NOT_FOUND"; "UNKNOWN" for a number that is none. */
const char *pb_status_name(int grpc);
/* The err code that stands for a status at the client; ERR_INTERNAL where there is none. */
enum err_code pb_status_err(int grpc);

/* grpc-message: bytes outside 0x20..0x7e and % become %XX. Both cut at the buffer's end, never inside an
 * escape, and end with NUL; the length is returned. Decoding leaves malformed escapes as they are. */
size_t pb_percent_encode(char *out, size_t cap, const char *text);
size_t pb_percent_decode(char *out, size_t cap, const char *s, size_t n);

/* Base64 (RFC 4648), as metadata whose names end in -bin is written: put without padding, taken with or without.
 * Fails: ERR_BAD_MESSAGE. */
void pb_base64_put(struct buf *out, const void *p, size_t n);
res_t pb_base64_get(struct buf *out, const char *s, size_t n, struct err *err);

/* grpc-timeout: 1-8 digits and one of H M S m u n. Fails: ERR_BAD_MESSAGE. */
res_t pb_timeout_parse(const char *s, size_t n, uint64_t *ns, struct err *err);
size_t pb_timeout_format(char *out, size_t cap, uint64_t ns);

#endif
