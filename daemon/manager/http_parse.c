/* Requests as bytes: no socket, no loop. */
#include "daemon/manager/http.h"
#include "engine/base/base.h"

#include <string.h>
#include <strings.h>

const char *mgr_status_name(int status)
{
    static const char *const names[] = {"OK",
                                        "CANCELLED",
                                        "UNKNOWN",
                                        "INVALID_ARGUMENT",
                                        "DEADLINE_EXCEEDED",
                                        "NOT_FOUND",
                                        "ALREADY_EXISTS",
                                        "PERMISSION_DENIED",
                                        "RESOURCE_EXHAUSTED",
                                        "FAILED_PRECONDITION",
                                        "ABORTED",
                                        "OUT_OF_RANGE",
                                        "UNIMPLEMENTED",
                                        "INTERNAL",
                                        "UNAVAILABLE",
                                        "DATA_LOSS",
                                        "UNAUTHENTICATED"};
    return status >= 0 && status < (int)ARRAY_LEN(names) ? names[status] : "UNKNOWN";
}

/* Length of the head with its empty line; 0: it has not ended. */
static size_t head_length(const char *p, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++) {
        if (p[i] != '\n')
            continue;
        if (p[i + 1] == '\n')
            return i + 2;
        if (i + 2 < n && p[i + 1] == '\r' && p[i + 2] == '\n')
            return i + 3;
    }
    return 0;
}

static bool is_loopback_host(const char *p, size_t n)
{
    static const char *const names[] = {"localhost", "[::1]"};
    while (n && (*p == ' ' || *p == '\t'))
        p++, n--;
    while (n && (p[n - 1] == ' ' || p[n - 1] == '\t' || p[n - 1] == '\r'))
        n--;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        size_t k = strlen(names[i]);
        if (n >= k && !strncasecmp(p, names[i], k) && (n == k || p[k] == ':'))
            return true;
    }
    return n > 4 && !strncmp(p, "127.", 4) && strspn(p, "0123456789.:") >= n;
}

/* METHOD SP target SP HTTP/1.x */
static unsigned parse_line(const char *p, size_t n, struct mgr_http_request *out)
{
    const char *space = memchr(p, ' ', n);
    if (!space || space == p)
        return 400;
    size_t method = (size_t)(space - p);
    const char *target = space + 1;
    const char *end = memchr(target, ' ', n - method - 1);
    if (!end || (size_t)(p + n - end) < 9 || strncmp(end, " HTTP/1.", 8))
        return 400;
    if (n - (size_t)(end - p) != 9 || (end[8] != '0' && end[8] != '1'))
        return 505;
    out->head = method == 4 && !memcmp(p, "HEAD", 4);
    if (!out->head && !(method == 3 && !memcmp(p, "GET", 3)))
        return 405;
    size_t length = (size_t)(end - target);
    const char *query = memchr(target, '?', length);
    if (query)
        length = (size_t)(query - target);
    if (length == 0 || *target != '/')
        return 400;
    if (length >= sizeof out->path)
        return 414;
    for (size_t i = 0; i < length; i++)
        if (target[i] <= 0x20 || target[i] >= 0x7f)
            return 400;
    memcpy(out->path, target, length);
    out->path[length] = 0;
    return 200;
}

unsigned mgr_http_parse(const char *p, size_t n, bool loopback_host, struct mgr_http_request *out)
{
    size_t head = head_length(p, MIN(n, MGR_HTTP_HEAD_BYTES));
    if (!head)
        return n >= MGR_HTTP_HEAD_BYTES ? 431 : memchr(p, 0, n) ? 400 : 0;
    if (memchr(p, 0, head))
        return 400;
    const char *nl = memchr(p, '\n', head);
    size_t line = (size_t)(nl - p);
    unsigned status = parse_line(p, line && p[line - 1] == '\r' ? line - 1 : line, out);
    if (status != 200)
        return status;
    unsigned hosts = 0;
    bool good_host = false;
    for (const char *s = nl + 1; s < p + head; s = nl + 1) {
        nl = memchr(s, '\n', (size_t)(p + head - s));
        if (nl - s >= 5 && !strncasecmp(s, "Host:", 5)) {
            hosts++;
            good_host = is_loopback_host(s + 5, (size_t)(nl - s - 5));
        }
    }
    if (hosts > 1)
        return 400;
    return loopback_host && !(hosts == 1 && good_host) ? 421 : 200;
}
