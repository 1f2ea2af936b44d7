#include "client/vmctl/progress.h"
#include "engine/base/base.h"
#include "engine/base/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHOW_NS 200000000u
#define BAR 20

void ctl_human_bytes(uint64_t bytes, char *out, size_t cap)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    size_t u = 0;
    while (v >= 1024 && u + 1 < ARRAY_LEN(units)) {
        v /= 1024;
        u++;
    }
    snprintf(out, cap, u ? "%.1f %s" : "%.0f %s", v, units[u]);
}

void ctl_progress_line(uint64_t done, uint64_t total, uint64_t elapsed_ns, char *out, size_t cap)
{
    char sent[32], all[32], rate[32], bar[BAR + 1];
    double seconds = (double)elapsed_ns / 1e9,
           per_second = seconds > 0.01 ? (double)done / seconds : 0;
    ctl_human_bytes(done, sent, sizeof sent);
    ctl_human_bytes((uint64_t)per_second, rate, sizeof rate);
    if (!total) {
        snprintf(out, cap, "%10s  %10s/s", sent, rate);
        return;
    }
    done = MIN(done, total);
    size_t full = (size_t)((double)done / (double)total * BAR);
    memset(bar, '=', full);
    memset(bar + full, ' ', BAR - full);
    bar[BAR] = 0;
    ctl_human_bytes(total, all, sizeof all);
    uint64_t left = per_second > 0 ? (uint64_t)((double)(total - done) / per_second) : 0;
    snprintf(out, cap, "[%s] %3.0f%%  %s of %s  %s/s  ETA %llu:%02u", bar,
             100 * (double)done / (double)total, sent, all, rate, (unsigned long long)(left / 60),
             (unsigned)(left % 60));
}

bool ctl_progress_wanted(void)
{
    const char *term = getenv("TERM");
    return isatty(2) && !(term && !strcmp(term, "dumb"));
}

void ctl_progress_start(struct ctl_progress *p, uint64_t total_bytes)
{
    *p = (struct ctl_progress){
        .on = ctl_progress_wanted(), .total_bytes = total_bytes, .start_ns = os_now_ns()};
}

void ctl_progress_show(struct ctl_progress *p, uint64_t done_bytes)
{
    char line[160];
    uint64_t now;
    if (!p->on || (now = os_now_ns()) - p->shown_ns < SHOW_NS)
        return;
    p->shown_ns = now;
    ctl_progress_line(done_bytes, p->total_bytes, now - p->start_ns, line, sizeof line);
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
}

void ctl_progress_wait(struct ctl_progress *p, const char *what)
{
    if (p->on) {
        fprintf(stderr, "\r%s\033[K", what);
        fflush(stderr);
    }
}

void ctl_progress_end(struct ctl_progress *p)
{
    if (p->on) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
    p->on = false;
}
