/*
 * proto/details.h - what an error says to programs: google.rpc.Status in grpc-status-details-bin.
 *
 * Looks into: base.  Used by: proto, tests, fuzzers.
 * rpc_status.proto says which details an error gets. The text is made valid UTF-8 first: an error may have been cut inside
 * a character, and clients refuse to parse strings that are not.
 * Thread: any; decoding: one.
 */
#ifndef PROTO_DETAILS_H
#define PROTO_DETAILS_H

#include "engine/base/buf.h"
#include "engine/base/err.h"

#include <stddef.h>

#define PB_DETAILS_BYTES_MAX 16384 /* of a trailer that is looked into */

/* Append the trailer's value for err (base64 without padding, no NUL). out->failed tells of no memory. */
void pb_details_encode(struct buf *out, const struct err *err);
/*
 * Fill reason, type, object, fix, and the finer code if it fits err's, from a trailer's value. What cannot be understood is
 * left out: the status and its text are enough to go on.
 * Strings that struct err points to live as long as the process; the first 64 KiB of different ones are kept.
 */
void pb_details_decode(const char *value, size_t n, struct err *err);

#endif
