/*
 * manager/http.h - just enough HTTP/1.1 for a scraper: GET (or HEAD) of a path, one request per connection.
 *
 * Looks into: base.  Used by: metrics.
 *
 * Rules:
 *  (1) A peer costs at most MGR_HTTP_HEAD_BYTES and one answer, for at most MGR_HTTP_SECONDS; there are at most MGR_HTTP_PEERS,
 *      the newest is refused.
 *  (2) On a TCP port the Host header names a loopback host: a page in somebody's browser cannot read the answers by a name
 *      that it made point here.
 *
 * Thread: the loop's.
 */
#ifndef MANAGER_HTTP_H
#define MANAGER_HTTP_H

#include "engine/base/base.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"

#include <uv.h>

#define MGR_HTTP_HEAD_BYTES ((size_t)8192)
#define MGR_HTTP_PEERS 64
#define MGR_HTTP_SECONDS 10

struct mgr_http;
/* The status and text of an answer to a path; *type has a default. */
typedef unsigned (*mgr_http_fn)(void *ctx, const char *path, const char **type, struct buf *out);

/* where: "unix:PATH" or "HOST:PORT" of a loopback host. Fails: ERR_OS, ERR_EXISTS, ERR_DENIED, ERR_NO_MEMORY. */
res_t mgr_http_start(uv_loop_t *loop, const char *where, mgr_http_fn answer, void *ctx,
                     struct mgr_http **http, struct err *err);
/* NULL is fine. Its memory goes when the loop has closed its handles. */
void mgr_http_stop(struct mgr_http *http);

struct mgr_http_request {
    bool head;      /* HEAD: no body in the answer */
    char path[256]; /* without its query */
};
/* What the bytes of a request are: 0: not complete yet; 200: a request; else the status to refuse it with. */
unsigned mgr_http_parse(const char *p, size_t n, bool loopback_host, struct mgr_http_request *out);

/* "OK", "NOT_FOUND", ...: names of gRPC statuses. */
const char *mgr_status_name(int status);

#endif
