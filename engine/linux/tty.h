/*
 * linux/tty.h - terminals: line discipline, job control, pseudo-terminals, the console.
 *
 * A struct lx_tty is the slave side: what programs sit at. Its far side is a master (ptmx) or, for the console, the outside. Bytes
 * from the far side wait in `raw` until the line discipline has room for them; bytes to the far side wait in `out`, of
 * which programs may use all but LX_TTY_ECHO_ROOM, kept for echoes.
 */
#ifndef LINUX_TTY_H
#define LINUX_TTY_H

#include "engine/linux/vfs.h"

#include <asm/termbits.h>

#define LX_TTY_LINE 4096u /* as Linux: a line is at most 4095 bytes */
#define LX_TTY_ECHO_ROOM 1024u
#define LX_TTY_CC 19

struct lx_winsize {
    uint16_t rows, cols, xpixel, ypixel;
};

struct lx_tty {
    struct lx_vfs *vfs;
    struct list all;
    uint32_t refs; /* slave files, the master, and one of the console's */
    uint32_t snap_id, major, minor, index;
    bool is_pty, locked, master_open, slave_opened;
    uint32_t slave_count;
    uint32_t uid, gid, mode; /* of /dev/pts/N */
    struct lx_time made;
    uint32_t iflag, oflag, cflag, lflag, ispeed, ospeed;
    uint8_t line, cc[LX_TTY_CC];
    struct lx_winsize size;
    uint32_t sid, pgrp; /* 0: none */

    /* The line discipline: positions count up, taken modulo LX_TTY_LINE. tail <= canon <= head. */
    uint8_t in[LX_TTY_LINE];
    uint64_t eol[LX_TTY_LINE / 64]; /* a line ends here (also the mark of EOF) */
    uint32_t head, tail, canon;
    uint32_t column, canon_column;
    uint32_t batch_out, batch_column, batch_canon_column; /* while keys are taken in: before them */
    bool lnext, erasing, stopped;
    struct lx_pipe *raw, *out;
    struct lx_waitq wait; /* readers and writers of the slave, and of the master */
};

/* ---- tty.c: lifetime, files ---- */
struct lx_tty *lx_tty_new(struct lx_vfs *v, uint32_t major, uint32_t minor);
void lx_tty_get(struct lx_tty *t);
void lx_tty_put(struct lx_tty *t);
int64_t lx_tty_open(struct lx_call *c, struct lx_file *f); /* any terminal device: sets ops */
void lx_tty_attach(struct lx_file *f, struct lx_tty *t);   /* f becomes a slave file */
extern const struct lx_file_ops lx_tty_ops, lx_ptm_ops;
void lx_tty_resize(struct lx_tty *t, const struct lx_winsize *size);

/* ---- tty_ldisc.c ---- */
void lx_tty_reset(struct lx_tty *t);
/* Move bytes from raw into the line discipline as far as it has room. */
void lx_tty_pump(struct lx_tty *t);
bool lx_tty_readable(const struct lx_tty *t, bool poll);
/* Copy out what a read may have now: a line (at most), or raw bytes. */
size_t lx_tty_take(struct lx_tty *t, struct lx_iter *it);
uint32_t lx_tty_inq(const struct lx_tty *t);
/* Output processing of n bytes; how many were taken. */
size_t lx_tty_output(struct lx_tty *t, const uint8_t *p, size_t n);
uint32_t lx_tty_room(const struct lx_tty *t);
void lx_tty_flush_input(struct lx_tty *t);
void lx_tty_mode_changed(struct lx_tty *t, uint32_t old_lflag);
void lx_tty_changed(struct lx_tty *t); /* somebody may want to look again */

/* ---- tty_job.c ---- */
/* 0: go on; else what the call returns (the signal was sent). */
int64_t lx_tty_check(struct lx_call *c, struct lx_tty *t, int signo);
void lx_tty_set_controlling(struct lx_process *p, struct lx_tty *t);
void lx_tty_clear_session(struct lx_tty *t);
void lx_tty_hangup(struct lx_tty *t);
int64_t lx_tty_session_ioctl(struct lx_call *c, struct lx_file *f, struct lx_tty *t, bool master,
                             uint32_t cmd, uint64_t arg);

/* ---- tty_pts.c ---- */
int64_t lx_ptmx_open(struct lx_call *c, struct lx_file *f);
struct lx_tty *lx_pty_find(struct lx_vfs *v, uint32_t index);
void lx_pty_gone(struct lx_tty *t);
int64_t lx_pty_peer(struct lx_call *c, struct lx_tty *t, uint32_t flags);
int lx_pty_claim(struct lx_tty *t, uint32_t index);

#endif
