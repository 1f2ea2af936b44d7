/*
 * base/log.h - one record per event, with fields, to one place: a descriptor (stderr unless set) as text or JSON lines, or
 * systemd's journal.
 *
 * Looks into nothing; open to every room.
 *
 * Rules:
 *  (1) A record is one line: control characters in text and fields, whoever put them there, are written as \xNN. JSON is
 *      always valid JSON, in valid UTF-8.
 *  (2) A record is one write(2) or one datagram; nothing is kept, nothing waits. What is too long is cut, with "..." behind.
 *
 * Async-signal-safe formatting is not promised.  Thread: any; setters before the others start, or by the one that logs.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON, LOG_JOURNALD };

void log_set_level(enum log_level lowest);
void log_set_fd(int fd);
void log_set_name(const char *name); /* put in front of each line; a constant string */
/* False: the journal does not answer; the log is text, on the descriptor. */
bool log_set_format(enum log_format format);
/* As LOG_JOURNALD, to another socket (tests). */
bool log_set_journal(const char *socket_path);
void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)

/* What a record is about, for programs: log_info_f(LOG_FIELDS({"guest", g->name}, {"tenant", t->name}), "it ended: %s", text).
 * Keys are lower case: guest, tenant, worker, image, client, method. A NULL value leaves its field out. */
struct log_field {
    const char *key, *value;
};
#define LOG_FIELDS(...) ((const struct log_field[]){__VA_ARGS__, {0}})
/* A number as a field's value; it lives as long as the block it stands in. */
#define LOG_NUMBER(n) log_number((char[24]){0}, n)
const char *log_number(char text[24], uint64_t n);
/* Fields end with one whose key is NULL. */
void log_write_f(enum log_level level, const struct log_field *fields, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
#define log_debug_f(fields, ...) log_write_f(LOG_DEBUG, fields, __VA_ARGS__)
#define log_info_f(fields, ...) log_write_f(LOG_INFO, fields, __VA_ARGS__)
#define log_warn_f(fields, ...) log_write_f(LOG_WARN, fields, __VA_ARGS__)
#define log_error_f(fields, ...) log_write_f(LOG_ERROR, fields, __VA_ARGS__)

/* For what strangers can cause as often as they like: at most LOG_RATE_BURST records in LOG_RATE_NS from one place of the code;
 * the next one that passes has a field "suppressed" with the number of those that did not. */
#define LOG_RATE_BURST 10
#define LOG_RATE_NS ((uint64_t)10 * 1000 * 1000 * 1000)
struct log_rate {
    uint64_t since_ns;
    unsigned passed, suppressed;
};
/* May a record pass at now_ns? *suppressed: how many did not before it. */
bool log_rate_pass(struct log_rate *r, uint64_t now_ns, unsigned *suppressed);
void log_write_limited(struct log_rate *r, enum log_level level, const struct log_field *fields,
                       const char *fmt, ...) __attribute__((format(printf, 4, 5)));
#define log_limited_f(level, fields, ...)                                       \
    do {                                                                        \
        static struct log_rate log_rate_of_this_place;                          \
        log_write_limited(&log_rate_of_this_place, level, fields, __VA_ARGS__); \
    } while (0)
#define log_info_limited(...) log_limited_f(LOG_INFO, NULL, __VA_ARGS__)
#define log_warn_limited(...) log_limited_f(LOG_WARN, NULL, __VA_ARGS__)

#endif
