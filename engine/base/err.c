#include "engine/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int grpc, http;
} table[ERR_CODE_COUNT] = {
#define ERR(name, grpc, http, text) [ERR_##name] = {#name, grpc, http},
#include "engine/base/err.def"
#undef ERR
};

res_code_t err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    if (!err)
        return FAIL;
    *err = (struct err){.code = code};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    return FAIL;
}

res_code_t err_set_os(struct err *err, const char *fmt, ...)
{
    int os = errno;
    if (!err)
        return FAIL;
    *err = (struct err){.code = ERR_OS, .os = os};
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof err->text)
        snprintf(err->text + n, sizeof err->text - (size_t)n, ": %s", strerror(os));
    return FAIL;
}

res_code_t err_wrap(struct err *err, const char *fmt, ...)
{
    if (!err)
        return FAIL;
    char front[sizeof err->text];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(front, sizeof front, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n + 2 >= sizeof front)
        return FAIL;
    char whole[2 * sizeof err->text + 4];
    snprintf(whole, sizeof whole, "%s: %s", front, err->text);
    memcpy(err->text, whole, sizeof err->text - 1);
    err->text[sizeof err->text - 1] = 0;
    return FAIL;
}

const char *err_name(enum err_code code)
{
    return code < ERR_CODE_COUNT ? table[code].name : "UNKNOWN";
}

int err_grpc(enum err_code code)
{
    return code < ERR_CODE_COUNT ? table[code].grpc : 2;
}

int err_http(enum err_code code)
{
    return code < ERR_CODE_COUNT ? table[code].http : 500;
}

res_code_t err_explain(struct err *err, const char *reason, const char *type, const char *object,
                       const char *fix)
{
    if (!err)
        return FAIL;
    err->reason = reason;
    err->type = type;
    err->fix = fix;
    snprintf(err->object, sizeof err->object, "%s", object ? object : "");
    return FAIL;
}
