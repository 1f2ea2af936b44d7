/*
 * proto/h2.h - what both sides of HTTP/2 do alike.
 * Looks into: base.  Used by: proto.  Thread: the session's.
 */
#ifndef PROTO_H2_H
#define PROTO_H2_H

#include "engine/base/buf.h"
#include "engine/base/err.h"

#include <nghttp2/nghttp2.h>
#include <stdint.h>
#include <string.h>

/* A header of two C strings. */
#define PB_NV(n, v) PB_NV_FLAGS(n, v, NGHTTP2_NV_FLAG_NONE)
/* The same, kept out of both sides' compression tables: values that hardly repeat. */
#define PB_NV_ONCE(n, v) PB_NV_FLAGS(n, v, NGHTTP2_NV_FLAG_NO_INDEX)
#define PB_NV_FLAGS(n, v, flags)                                                          \
    (nghttp2_nv)                                                                          \
    {                                                                                     \
        (uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), strlen(n), strlen(v), flags \
    }

/* Append what the session has to send, until out holds about `enough` bytes. Fails: ERR_NO_MEMORY. */
res_t pb_h2_send(nghttp2_session *h2, struct buf *out, size_t enough, struct err *err);

#endif
