#include "daemon/manager/config_value.h"
#include "engine/base/base.h"
#include "engine/base/suggest.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Decimal digits at *s. False: none, or too many. */
static bool digits(const char **s, uint64_t *n)
{
    const char *begin = *s;
    *n = 0;
    for (; **s >= '0' && **s <= '9'; ++*s) {
        uint64_t d = (uint64_t)(**s - '0');
        if (*n > (UINT64_MAX - d) / 10)
            return false;
        *n = *n * 10 + d;
    }
    return *s > begin;
}

struct unit {
    const char *name;
    uint64_t factor;
};
static const struct unit sizes[] = {
    {"", 1},          {"B", 1},       {"K", 1 << 10},   {"KiB", 1 << 10},  {"M", 1 << 20},
    {"MiB", 1 << 20}, {"G", 1 << 30}, {"GiB", 1 << 30}, {"T", 1ull << 40}, {"TiB", 1ull << 40},
    {NULL, 0},
};
static const struct unit times[] = {
    {"ns", 1},          {"us", 1000},         {"ms", 1000000},      {"s", 1000000000},
    {"m", 60000000000}, {"min", 60000000000}, {"h", 3600000000000}, {"d", 86400000000000},
    {NULL, 0},
};

static res_code_t scaled(const char *text, const struct unit *units, uint64_t *out, struct err *err)
{
    const char *s = text;
    uint64_t n;
    if (*s == '-')
        return err_set(err, ERR_INVALID, "\"%.80s\" is negative", text);
    if (!digits(&s, &n))
        return err_set(err, ERR_INVALID, "\"%.80s\" does not begin with a number", text);
    if (n == 0 && !*s && units == times)
        return *out = 0, OK;
    for (; units->name; units++)
        if (!strcmp(units->name, s)) {
            if (n > UINT64_MAX / units->factor)
                return err_set(err, ERR_INVALID, "\"%.80s\" is too large", text);
            *out = n * units->factor;
            return OK;
        }
    if (!*s)
        return err_set(err, ERR_INVALID, "\"%.80s\" has no unit", text);
    return err_set(err, ERR_INVALID, "\"%.80s\": unknown unit \"%.40s\"", text, s);
}

static res_code_t choice(const struct mgr_key *k, const char *text, uint64_t *out, struct err *err)
{
    char words[200];
    const char *known[16];
    size_t count = 0;
    snprintf(words, sizeof words, "%s", k->choices);
    for (char *save, *w = strtok_r(words, "|", &save); w && count < ARRAY_LEN(known);
         w = strtok_r(NULL, "|", &save)) {
        if (!strcmp(w, text))
            return *out = count, OK;
        known[count++] = w;
    }
    const char *near = suggest(text, known, count);
    if (near)
        return err_set(err, ERR_INVALID, "\"%.80s\" is none of them; did you mean \"%s\"?", text,
                       near);
    return err_set(err, ERR_INVALID, "\"%.80s\" is none of them", text);
}

static res_code_t mode(const char *text, uint64_t *out, struct err *err)
{
    char *end;
    unsigned long n = strtoul(text, &end, 8);
    if (*text < '0' || *text > '7' || *end)
        return err_set(err, ERR_INVALID, "\"%.80s\" is not octal", text);
    *out = n;
    return OK;
}

static res_code_t whole(const char *text, uint64_t *out, struct err *err)
{
    const char *s = text;
    if (*s == '-' || !digits(&s, out) || *s)
        return err_set(err, ERR_INVALID, "\"%.80s\" is not a whole number that fits", text);
    return OK;
}

static res_code_t unranged(const struct mgr_key *k, const char *text, uint64_t *out,
                           struct err *err)
{
    switch (k->type) {
    case MGR_BOOL:
        if (strcmp(text, "true") && strcmp(text, "false"))
            return err_set(err, ERR_INVALID, "\"%.80s\" is neither", text);
        *out = *text == 't';
        return OK;
    case MGR_SIZE:
        return scaled(text, sizes, out, err);
    case MGR_TIME:
        return scaled(text, times, out, err);
    case MGR_CHOICE:
        return choice(k, text, out, err);
    case MGR_MODE:
        return mode(text, out, err);
    default:
        return whole(text, out, err);
    }
}

res_code_t mgr_value_number(const struct mgr_key *k, const char *text, uint64_t *out,
                            struct err *err)
{
    uint64_t n;
    if ((k->flags & MGR_NONE) && !strcmp(text, "none")) {
        *out = UINT64_MAX;
        return OK;
    }
    if (unranged(k, text, &n, err))
        return FAIL;
    bool ranged =
        k->type == MGR_UINT || k->type == MGR_SIZE || k->type == MGR_TIME || k->type == MGR_MODE;
    if (ranged && n < k->least)
        return err_set(err, ERR_INVALID, "\"%.80s\" is too small", text);
    if (ranged && (n > k->most || n == UINT64_MAX))
        return err_set(err, ERR_INVALID, "\"%.80s\" is too large", text);
    *out = n;
    return OK;
}

res_code_t mgr_value_address(const char *text, char host[256], uint16_t *port, struct err *err)
{
    const char *colon = strrchr(text, ':'), *s;
    uint64_t n;
    if (!colon)
        return err_set(err, ERR_INVALID, "\"%.80s\" has no port", text);
    s = colon + 1;
    if (!digits(&s, &n) || *s || n > 65535)
        return err_set(err, ERR_INVALID, "\"%.80s\": the port is not 0 to 65535", text);
    const char *begin = text, *end = colon;
    if (*begin == '[') {
        if (end[-1] != ']')
            return err_set(err, ERR_INVALID, "\"%.80s\": ] is missing", text);
        begin++;
        end--;
    } else if (memchr(begin, ':', (size_t)(end - begin))) {
        return err_set(err, ERR_INVALID, "\"%.80s\": write an IPv6 address as [%.*s]:%u", text,
                       (int)MIN(end - begin, 60), begin, (unsigned)n);
    }
    if (end - begin > 255 || (*text == '[' && end == begin) ||
        memchr(begin, ' ', (size_t)(end - begin)))
        return err_set(err, ERR_INVALID, "\"%.80s\" has no host that could be one", text);
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = 0;
    *port = (uint16_t)n;
    return OK;
}

res_code_t mgr_value_user(const char *text, uint32_t *uid, struct err *err)
{
    const char *s = text;
    uint64_t n;
    if (digits(&s, &n) && !*s) {
        if (n >= UINT32_MAX)
            return err_set(err, ERR_NOT_FOUND, "%.40s is no user's number", text);
        *uid = (uint32_t)n;
        return OK;
    }
    char room[4096];
    struct passwd pw, *found = NULL;
    if (!*text || strlen(text) > 256 || getpwnam_r(text, &pw, room, sizeof room, &found) || !found)
        return err_set(err, ERR_NOT_FOUND, "there is no user \"%.80s\" on this machine", text);
    *uid = found->pw_uid;
    return OK;
}
