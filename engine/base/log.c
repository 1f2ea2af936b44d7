#include "engine/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static enum log_level lowest_level = LOG_INFO;
static int log_fd = 2;
static const char *log_name = "vivarium";

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

void log_write(enum log_level level, const char *fmt, ...)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if (level < lowest_level)
        return;
    int saved = errno;
    char line[1024], stamp[32];
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    size_t n = (size_t)snprintf(line, 200, "%s.%03ldZ %.100s %s: ", stamp, ts.tv_nsec / 1000000, log_name,
                          names[level]);
    va_list ap;
    va_start(ap, fmt);
    int m = vsnprintf(line + n, sizeof line - n - 1, fmt, ap);
    va_end(ap);
    if (m > 0)
        n += (size_t)m < sizeof line - n - 1 ? (size_t)m : sizeof line - n - 2;
    line[n++] = '\n';
    ssize_t ignored = write(log_fd, line, n);
    (void)ignored;
    errno = saved;
}
