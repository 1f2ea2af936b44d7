#include "proto/status.h"
#include "engine/base/base.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    enum err_code code;
} statuses[] = {
    {"OK", ERR_OK},
    {"CANCELLED", ERR_CANCELLED},
    {"UNKNOWN", ERR_INTERNAL},
    {"INVALID_ARGUMENT", ERR_INVALID},
    {"DEADLINE_EXCEEDED", ERR_DEADLINE},
    {"NOT_FOUND", ERR_NOT_FOUND},
    {"ALREADY_EXISTS", ERR_EXISTS},
    {"PERMISSION_DENIED", ERR_DENIED},
    {"RESOURCE_EXHAUSTED", ERR_LIMIT},
    {"FAILED_PRECONDITION", ERR_STATE},
    {"ABORTED", ERR_STATE},
    {"OUT_OF_RANGE", ERR_RANGE},
    {"UNIMPLEMENTED", ERR_UNIMPLEMENTED},
    {"INTERNAL", ERR_INTERNAL},
    {"UNAVAILABLE", ERR_UNAVAILABLE},
    {"DATA_LOSS", ERR_BAD_IMAGE},
    {"UNAUTHENTICATED", ERR_UNAUTHENTICATED},
};

const char *pb_status_name(int grpc)
{
    return grpc >= 0 && grpc < (int)ARRAY_LEN(statuses) ? statuses[grpc].name : "UNKNOWN";
}

enum err_code pb_status_err(int grpc)
{
    return grpc >= 0 && grpc < (int)ARRAY_LEN(statuses) ? statuses[grpc].code : ERR_INTERNAL;
}

size_t pb_percent_encode(char *out, size_t cap, const char *text)
{
    size_t n = 0;
    for (const char *s = text; *s; s++) {
        unsigned char c = (unsigned char)*s;
        bool plain = c >= 0x20 && c <= 0x7e && c != '%';
        if (n + (plain ? 1 : 3) >= cap)
            break;
        if (plain)
            out[n++] = (char)c;
        else
            n += (size_t)snprintf(out + n, cap - n, "%%%02X", c);
    }
    out[n] = 0;
    return n;
}

static int hex(char c)
{
    return isdigit((unsigned char)c) ? c - '0'
           : c >= 'A' && c <= 'F'    ? c - 'A' + 10
           : c >= 'a' && c <= 'f'    ? c - 'a' + 10
                                     : -1;
}

size_t pb_percent_decode(char *out, size_t cap, const char *s, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n && len + 1 < cap; i++) {
        if (s[i] == '%' && i + 2 < n && hex(s[i + 1]) >= 0 && hex(s[i + 2]) >= 0) {
            out[len++] = (char)(hex(s[i + 1]) << 4 | hex(s[i + 2]));
            i += 2;
        } else {
            out[len++] = s[i];
        }
    }
    out[len] = 0;
    return len;
}

static const char digits64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void pb_base64_put(struct buf *out, const void *p, size_t n)
{
    const uint8_t *b = p;
    if (!buf_reserve(out, n / 3 * 4 + 4))
        return;
    for (size_t i = 0; i < n; i += 3) {
        size_t left = MIN(n - i, (size_t)3);
        uint32_t v = (uint32_t)b[i] << 16 | (left > 1 ? (uint32_t)b[i + 1] << 8 : 0) |
                     (left > 2 ? b[i + 2] : 0);
        for (size_t k = 0; k <= left; k++)
            buf_put_u8(out, (uint8_t)digits64[v >> (18 - 6 * k) & 63]);
    }
}

res_t pb_base64_get(struct buf *out, const char *s, size_t n, struct err *err)
{
    uint32_t v = 0;
    unsigned bits = 0;
    for (unsigned pad = 0; n && pad < 2 && s[n - 1] == '='; pad++)
        n--;
    for (size_t i = 0; i < n; i++) {
        const char *at = s[i] ? strchr(digits64, s[i]) : NULL;
        if (!at)
            return err_set(err, ERR_BAD_MESSAGE, "byte %zu of %zu is not base64", i, n);
        v = v << 6 | (uint32_t)(at - digits64);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            buf_put_u8(out, (uint8_t)(v >> bits));
        }
    }
    if (bits >= 6 || out->failed)
        return err_set(err, ERR_BAD_MESSAGE, "base64 of %zu characters", n);
    return OK;
}

static const struct {
    char unit;
    uint64_t ns;
} units[] = {{'n', 1},          {'u', 1000},           {'m', 1000000},
             {'S', 1000000000}, {'M', 60000000000ull}, {'H', 3600000000000ull}};

res_t pb_timeout_parse(const char *s, size_t n, uint64_t *ns, struct err *err)
{
    uint64_t v = 0;
    if (n < 2 || n > 9)
        return err_set(err, ERR_BAD_MESSAGE, "grpc-timeout of %zu characters", n);
    for (size_t i = 0; i + 1 < n; i++) {
        if (!isdigit((unsigned char)s[i]))
            return err_set(err, ERR_BAD_MESSAGE, "grpc-timeout is not a number and a unit");
        v = v * 10 + (uint64_t)(s[i] - '0');
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (units[i].unit == s[n - 1]) {
            *ns = v > UINT64_MAX / 2 / units[i].ns ? UINT64_MAX / 2 : v * units[i].ns;
            return OK;
        }
    return err_set(err, ERR_BAD_MESSAGE, "grpc-timeout has no unit of H M S m u n");
}

size_t pb_timeout_format(char *out, size_t cap, uint64_t ns)
{
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        uint64_t v = ns / units[i].ns + (ns % units[i].ns != 0);
        if (v <= 99999999)
            return (size_t)snprintf(out, cap, "%u%c", (unsigned)v, units[i].unit);
    }
    return (size_t)snprintf(out, cap, "99999999H");
}
