#include "engine/base/log.h"
#include "engine/base/base.h"
#include "engine/base/os.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define TEXT_BYTES 1024   /* of a record, before it is escaped */
#define RECORD_BYTES 8192 /* as it is written */

static enum log_level lowest_level = LOG_INFO;
static enum log_format log_format = LOG_TEXT;
static int log_fd = 2;
static int journal_fd = -1;
static struct sockaddr_un journal;
static const char *log_name = "vivarium";
static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_set_level(enum log_level lowest)
{
    lowest_level = lowest;
}

void log_set_fd(int fd)
{
    log_fd = fd;
}

void log_set_name(const char *name)
{
    log_name = name;
}

bool log_set_journal(const char *socket_path)
{
    journal = (struct sockaddr_un){.sun_family = AF_UNIX};
    log_format = LOG_TEXT;
    if (strlen(socket_path) >= sizeof journal.sun_path || access(socket_path, W_OK))
        return false;
    strcpy(journal.sun_path, socket_path);
    if (journal_fd < 0)
        journal_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (journal_fd < 0)
        return false;
    log_format = LOG_JOURNALD;
    return true;
}

bool log_set_format(enum log_format format)
{
    if (format == LOG_JOURNALD)
        return log_set_journal("/run/systemd/journal/socket");
    log_format = format;
    return true;
}

/* ---- a record is put together ---- */

/* What does not fit is left out; room for the newline at the end is kept. */
struct record {
    size_t len;
    char data[RECORD_BYTES];
};

static void put(struct record *r, const char *p, size_t n)
{
    if (n > sizeof r->data - 1 - r->len)
        return;
    memcpy(r->data + r->len, p, n);
    r->len += n;
}

static void put_text(struct record *r, const char *s)
{
    put(r, s, strlen(s));
}

/* Bytes of the UTF-8 character at s; 0: none is there. */
static size_t utf8_bytes(const unsigned char *s)
{
    size_t n = s[0] < 0x80                   ? 1
               : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
               : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
                                             : 0;
    if (s[0] >= 0xf0 && s[0] <= 0xf4)
        n = 4;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    /* overlong, surrogates, beyond U+10FFFF */
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

/* Rule (1). C1 controls (U+0080 to U+009F) move cursors too. */
static void put_escaped(struct record *r, const char *text, bool json)
{
    const unsigned char *s = (const unsigned char *)text;
    while (*s) {
        char hex[8];
        size_t n = utf8_bytes(s);
        bool control = *s < 0x20 || *s == 0x7f || (*s == 0xc2 && n == 2 && s[1] < 0xa0);
        if (json && (*s == '"' || *s == '\\')) {
            put(r, (char[]){'\\', (char)*s}, 2);
        } else if (n && !control) {
            put(r, (const char *)s, n);
        } else {
            unsigned code = n == 2 ? s[1] : *s;
            snprintf(hex, sizeof hex, json ? "\\u%04x" : "\\x%02x", json && !n ? 0xfffdu : code);
            put_text(r, hex);
        }
        s += n ? n : 1;
    }
}

static void put_stamp(struct record *r)
{
    char stamp[40];
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    size_t n = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(stamp + n, sizeof stamp - n, ".%03ldZ", ts.tv_nsec / 1000000);
    put_text(r, stamp);
}

/* A value that would not read back as one word is quoted. */
static void put_text_field(struct record *r, const struct log_field *f)
{
    bool quote = !*f->value || strpbrk(f->value, " \"=");
    put_text(r, " ");
    put_text(r, f->key);
    put_text(r, quote ? "=\"" : "=");
    put_escaped(r, f->value, false);
    put_text(r, quote ? "\"" : "");
}

static void make_text(struct record *r, enum log_level level, const struct log_field *fields,
                      const char *text)
{
    put_stamp(r);
    put_text(r, " ");
    put_text(r, log_name);
    put_text(r, " ");
    put_text(r, level_names[level]);
    put_text(r, ": ");
    put_escaped(r, text, false);
    for (; fields && fields->key; fields++)
        if (fields->value)
            put_text_field(r, fields);
    r->data[r->len++] = '\n';
}

static void put_json_pair(struct record *r, const char *key, const char *value)
{
    put_text(r, ",\"");
    put_text(r, key);
    put_text(r, "\":\"");
    put_escaped(r, value, true);
    put_text(r, "\"");
}

static void make_json(struct record *r, enum log_level level, const struct log_field *fields,
                      const char *text)
{
    put_text(r, "{\"time\":\"");
    put_stamp(r);
    put_text(r, "\"");
    put_json_pair(r, "level", level_names[level]);
    put_json_pair(r, "program", log_name);
    put_json_pair(r, "message", text);
    for (; fields && fields->key; fields++) {
        /* A field goes in whole or not at all, so that the line stays JSON. */
        size_t most = 16 + strlen(fields->key) + (fields->value ? 6 * strlen(fields->value) : 0);
        if (fields->value && most < sizeof r->data - r->len)
            put_json_pair(r, fields->key, fields->value);
    }
    put_text(r, "}");
    r->data[r->len++] = '\n';
}

/* The journal's own protocol: NAME=value lines in one datagram. Names are upper case. */
static void make_journal(struct record *r, enum log_level level, const struct log_field *fields,
                         const char *text)
{
    static const char *const priorities[] = {"7", "6", "4", "3"};
    put_text(r, "PRIORITY=");
    put_text(r, priorities[level]);
    put_text(r, "\nSYSLOG_IDENTIFIER=");
    put_text(r, log_name);
    put_text(r, "\nMESSAGE=");
    put_escaped(r, text, false);
    for (; fields && fields->key; fields++) {
        if (!fields->value)
            continue;
        put_text(r, "\nVMD_");
        for (const char *s = fields->key; *s; s++) {
            char c = *s >= 'a' && *s <= 'z' ? (char)(*s - 'a' + 'A') : *s;
            put(r, &c, 1);
        }
        put_text(r, "=");
        put_escaped(r, fields->value, false);
    }
    r->data[r->len++] = '\n';
}

static void write_record(enum log_level level, const struct log_field *fields, const char *text)
{
    struct record r;
    r.len = 0;
    if (log_format == LOG_JOURNALD) {
        make_journal(&r, level, fields, text);
        if (sendto(journal_fd, r.data, r.len, MSG_DONTWAIT | MSG_NOSIGNAL,
                   (struct sockaddr *)&journal, sizeof journal) >= 0)
            return;
        r.len = 0; /* it is gone or full: then at least here */
    }
    if (log_format == LOG_JSON)
        make_json(&r, level, fields, text);
    else
        make_text(&r, level, fields, text);
    ssize_t ignored = write(log_fd, r.data, r.len);
    (void)ignored;
}

static void log_writev(enum log_level level, const struct log_field *fields, const char *fmt,
                       va_list ap)
{
    if (level < lowest_level)
        return;
    int saved = errno;
    char text[TEXT_BYTES];
    int n = vsnprintf(text, sizeof text, fmt, ap);
    if (n >= (int)sizeof text)
        strcpy(text + sizeof text - 4, "...");
    if (n >= 0)
        write_record(level, fields, text);
    errno = saved;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    log_writev(level, NULL, fmt, ap);
    va_end(ap);
}

void log_write_f(enum log_level level, const struct log_field *fields, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    log_writev(level, fields, fmt, ap);
    va_end(ap);
}

const char *log_number(char text[24], uint64_t n)
{
    snprintf(text, 24, "%llu", (unsigned long long)n);
    return text;
}

/* ---- floods ---- */

bool log_rate_pass(struct log_rate *r, uint64_t now_ns, unsigned *suppressed)
{
    if (!r->since_ns || now_ns - r->since_ns >= LOG_RATE_NS) {
        *suppressed = r->suppressed;
        *r = (struct log_rate){.since_ns = now_ns, .passed = 1};
        return true;
    }
    *suppressed = 0;
    if (r->passed < LOG_RATE_BURST) {
        r->passed++;
        return true;
    }
    r->suppressed++;
    return false;
}

void log_write_limited(struct log_rate *r, enum log_level level, const struct log_field *fields,
                       const char *fmt, ...)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct log_field all[16];
    size_t n = 0;
    unsigned suppressed;
    if (level < lowest_level)
        return;
    pthread_mutex_lock(&lock);
    bool pass = log_rate_pass(r, os_now_ns(), &suppressed);
    pthread_mutex_unlock(&lock);
    if (!pass)
        return;
    for (; fields && fields[n].key && n < ARRAY_LEN(all) - 2; n++)
        all[n] = fields[n];
    char number[24];
    if (suppressed)
        all[n++] = (struct log_field){"suppressed", log_number(number, suppressed)};
    all[n] = (struct log_field){0};
    va_list ap;
    va_start(ap, fmt);
    log_writev(level, all, fmt, ap);
    va_end(ap);
}
