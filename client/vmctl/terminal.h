/*
 * vmctl/terminal.h - our own terminal: its size, raw mode, and its return to what it was.
 *
 * Looks into nothing.  Used by: its own room.
 * Rules: whatever ends this program, but for SIGKILL, leaves the terminal as it was found: exit, an assertion, a fault, SIGTERM and its like.
 * Thread: one.
 */
#ifndef VMCTL_TERMINAL_H
#define VMCTL_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ctl_terminal_mode {
    CTL_TERMINAL_RAW, /* every byte as it is typed, signals are bytes too */
    CTL_TERMINAL_KEYS /* keys one by one without echo; ^C is a signal; the other screen, no cursor */
};
/* Does nothing where standard input is no terminal. */
void ctl_terminal_set(enum ctl_terminal_mode mode);
void ctl_terminal_restore(void);
/* Of the first of our descriptors that is a terminal; false: none is. */
bool ctl_terminal_size(uint32_t *rows, uint32_t *cols);

/* Looks for a sequence of keys in what is typed. */
struct ctl_detach {
    const uint8_t *keys;
    size_t count;   /* 0: there is none */
    size_t matched; /* of them, the last ones typed */
};
/* Bytes to pass on go to out (room for n + d->count); those that may begin the sequence are held back. true: it was typed. */
bool ctl_detach_filter(struct ctl_detach *d, const uint8_t *in, size_t n, uint8_t *out,
                       size_t *out_n);

#endif
