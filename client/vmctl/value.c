/* Values of options as numbers. */
#include "client/vmctl/ctl.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS 1000000000ll

static res_code_t wrong(enum ctl_opt opt, const char *value, const char *expected, struct err *err)
{
    return err_set(err, ERR_INVALID, "--%s %.60s: %s was expected", ctl_options[opt].name, value,
                   expected);
}

res_t ctl_bytes(const struct ctl_args *a, enum ctl_opt opt, uint64_t *out, struct err *err)
{
    const char *s = ctl_value(a, opt), *unit;
    static const char units[] = "KMGT";
    char *end;
    if (!s)
        return OK;
    errno = 0;
    uint64_t v = strtoull(s, &end, 10);
    int shift = 0;
    if (*end && (unit = strchr(units, *end & ~0x20))) {
        shift = 10 * (int)(unit - units + 1);
        end++;
        if (*end == 'i')
            end++;
        if (*end == 'B')
            end++;
    }
    if (s[0] < '0' || s[0] > '9' || *end || errno || v == 0 || v > (UINT64_MAX >> 1 >> shift))
        return wrong(opt, s, "a size like 64M or 1G", err);
    *out = v << shift;
    return OK;
}

res_t ctl_number(const struct ctl_args *a, enum ctl_opt opt, uint32_t max, uint32_t *out,
                 struct err *err)
{
    const char *s = ctl_value(a, opt);
    char *end, expected[40];
    if (!s)
        return OK;
    unsigned long v = strtoul(s, &end, 10);
    if (s[0] < '0' || s[0] > '9' || *end || v == 0 || v > max) {
        snprintf(expected, sizeof expected, "a number from 1 to %u", max);
        return wrong(opt, s, expected, err);
    }
    *out = (uint32_t)v;
    return OK;
}

/* "1h30m", "0.5s", "250ms"; where bare, "10" too: seconds. False: not that, or more than 1e9 seconds. */
static bool duration(const char *s, bool bare, uint64_t *ns)
{
    static const struct {
        const char *name;
        double ns;
    } units[] = {{"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}, {"d", 86400e9}};
    double total = 0;
    do {
        char *end;
        double v = strtod(s, &end);
        if (!isdigit((unsigned char)*s) || end != s + strspn(s, "0123456789."))
            return false;
        size_t i = 0;
        while (i < ARRAY_LEN(units) && strncmp(end, units[i].name, strlen(units[i].name)))
            i++;
        if (i == ARRAY_LEN(units) && (!bare || *end))
            return false;
        total += v * (i < ARRAY_LEN(units) ? units[i].ns : 1e9);
        s = i < ARRAY_LEN(units) ? end + strlen(units[i].name) : end;
        bare = false;
    } while (*s);
    if (!(total <= 1e18))
        return false;
    *ns = (uint64_t)total;
    return true;
}

res_t ctl_seconds(const struct ctl_args *a, enum ctl_opt opt, uint64_t *ns, struct err *err)
{
    const char *s = ctl_value(a, opt);
    return !s || duration(s, true, ns)
               ? OK
               : wrong(opt, s, "a time as 10 (seconds), 500ms, 1h30m,", err);
}

/* RFC 3339, the time of day and the zone may be missing. */
static bool calendar(const char *s, int64_t *ns)
{
    struct tm tm = {.tm_isdst = -1};
    const char *p = strptime(s, "%Y-%m-%d", &tm);
    int64_t fraction = 0;
    if (!p)
        return false;
    if (*p == 'T' || *p == 't' || *p == ' ') {
        const char *clock = p + 1;
        if (!(p = strptime(clock, "%H:%M:%S", &tm)) && !(p = strptime(clock, "%H:%M", &tm)))
            return false;
        if (*p == '.') {
            int64_t unit = NS;
            for (p++; isdigit((unsigned char)*p); p++)
                fraction += (unit /= 10) * (*p - '0');
        }
    }
    if (*p == 0) {
        *ns = (int64_t)mktime(&tm) * NS + fraction;
        return true;
    }
    int sign = *p == '-' ? -1 : 1, hours = 0, minutes = 0, end = 0;
    if ((*p == 'Z' || *p == 'z') && !p[1])
        sign = 0;
    else if ((*p != '+' && *p != '-') || sscanf(p + 1, "%2d:%2d%n", &hours, &minutes, &end) != 2 ||
             p[1 + end])
        return false;
    *ns = ((int64_t)timegm(&tm) - sign * (hours * 3600 + minutes * 60)) * NS + fraction;
    return true;
}

res_t ctl_time(const struct ctl_args *a, enum ctl_opt opt, int64_t *ns, struct err *err)
{
    const char *s = ctl_value(a, opt);
    struct timespec now;
    uint64_t ago;
    char *end;
    if (!s)
        return OK;
    clock_gettime(CLOCK_REALTIME, &now);
    if (s[0] == '@' && isdigit((unsigned char)s[1])) {
        double v = strtod(s + 1, &end);
        if (*end || v > 9e9)
            return wrong(opt, s, "@ and seconds since 1970", err);
        *ns = (int64_t)(v * 1e9);
    } else if (duration(s, false, &ago)) {
        *ns = now.tv_sec * NS + now.tv_nsec - (int64_t)ago;
    } else if (!calendar(s, ns)) {
        return wrong(opt, s, "a time ago like 10m or 1h30m, 2026-01-31T12:00:00Z or @SECONDS", err);
    }
    if (*ns <= 0)
        *ns = 1; /* 0 would be "everything", which it is */
    return OK;
}

res_t ctl_restart(const struct ctl_args *a, PbRestart *out, struct err *err)
{
    const char *s = ctl_value(a, OPT_RESTART);
    char *end;
    if (!s)
        return OK;
    if (!strcmp(s, "never")) {
        out->policy = PB_RESTART_POLICY_NEVER;
    } else if (!strcmp(s, "always")) {
        out->policy = PB_RESTART_POLICY_ALWAYS;
    } else if (!strcmp(s, "on-failure")) {
        out->policy = PB_RESTART_POLICY_ON_FAILURE;
    } else if (!strncmp(s, "on-failure:", 11) && isdigit((unsigned char)s[11])) {
        unsigned long v = strtoul(s + 11, &end, 10);
        if (*end || v == 0 || v > 1000000)
            return wrong(OPT_RESTART, s, "on-failure:N with N from 1 to 1000000", err);
        out->policy = PB_RESTART_POLICY_ON_FAILURE;
        out->max_retries = (uint32_t)v;
    } else {
        return wrong(OPT_RESTART, s, "never, on-failure, on-failure:N or always", err);
    }
    return OK;
}

const char *ctl_signal_name(int signo)
{
    const char *s = sigabbrev_np(signo);
    return s ? s : "?";
}

res_t ctl_signal(const char *s, uint32_t *signo, struct err *err)
{
    char *end;
    unsigned long v = strtoul(s, &end, 10);
    if (isdigit((unsigned char)s[0]) && !*end && v >= 1 && v <= 64) {
        *signo = (uint32_t)v;
        return OK;
    }
    const char *plain = !strncasecmp(s, "SIG", 3) ? s + 3 : s;
    for (int i = 1; i < 32; i++)
        if (sigabbrev_np(i) && !strcasecmp(sigabbrev_np(i), plain)) {
            *signo = (uint32_t)i;
            return OK;
        }
    return wrong(OPT_SIGNAL, s, "a name like TERM or a number from 1 to 64", err);
}

res_t ctl_detach_keys(const char *s, uint8_t out[CTL_DETACH_MAX], size_t *n, struct err *err)
{
    uint8_t keys[CTL_DETACH_MAX];
    size_t count = 0;
    for (const char *p = s; *p;) {
        size_t length = strcspn(p, ",");
        int key = -1;
        if (length == 1)
            key = (unsigned char)*p;
        else if (length == 6 && !strncmp(p, "ctrl-", 5) && toupper((unsigned char)p[5]) >= '@' &&
                 toupper((unsigned char)p[5]) <= '_')
            key = toupper((unsigned char)p[5]) & 0x1f;
        if (key < 0 || count == CTL_DETACH_MAX || (p[length] && !p[length + 1]))
            return wrong(
                OPT_DETACH_KEYS, s,
                "up to 16 keys like ctrl-p,ctrl-q (letters, or ctrl- and one of a-z @ [ ] ^ _)",
                err);
        keys[count++] = (uint8_t)key;
        p += length + (p[length] == ',');
    }
    memcpy(out, keys, count);
    *n = count;
    return OK;
}
