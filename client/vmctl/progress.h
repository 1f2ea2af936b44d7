/*
 * vmctl/progress.h - how far a transfer is: one line on standard error, if that is a terminal; else nothing.
 * Looks into: base.  Used by: its own room.  Thread: one.
 */
#ifndef VMCTL_PROGRESS_H
#define VMCTL_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ctl_progress {
    bool on;
    uint64_t total_bytes; /* 0: not known */
    uint64_t start_ns, shown_ns;
};
bool ctl_progress_wanted(void);
void ctl_progress_start(struct ctl_progress *p, uint64_t total_bytes);
/* Shown a few times a second. */
void ctl_progress_show(struct ctl_progress *p, uint64_t done_bytes);
/* All is sent, the other side works on. */
void ctl_progress_wait(struct ctl_progress *p, const char *what);
/* The line goes. */
void ctl_progress_end(struct ctl_progress *p);
/* "41.2 MiB" */
void ctl_human_bytes(uint64_t bytes, char *out, size_t cap);
/* The line itself, for done_bytes after elapsed_ns. */
void ctl_progress_line(uint64_t done_bytes, uint64_t total_bytes, uint64_t elapsed_ns, char *out,
                       size_t cap);

#endif
