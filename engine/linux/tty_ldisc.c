/*
 * The line discipline, as n_tty of Linux does it (termios(3)).
 */
#include "engine/linux/tty.h"

#include <signal.h>
#include <string.h>

#define DISABLED 0 /* _POSIX_VDISABLE, and what stands for EOF in the buffer */

static uint8_t *at(struct lx_tty *t, uint32_t pos)
{
    return &t->in[pos % LX_TTY_LINE];
}

static bool eol_at(const struct lx_tty *t, uint32_t pos)
{
    pos %= LX_TTY_LINE;
    return t->eol[pos / 64] >> pos % 64 & 1;
}

static void set_eol(struct lx_tty *t, uint32_t pos, bool on)
{
    pos %= LX_TTY_LINE;
    uint64_t bit = (uint64_t)1 << pos % 64;
    t->eol[pos / 64] = on ? t->eol[pos / 64] | bit : t->eol[pos / 64] & ~bit;
}

static bool special(const struct lx_tty *t, unsigned which, uint8_t ch)
{
    return ch != DISABLED && t->cc[which] == ch;
}

static bool is_ctrl(uint8_t ch)
{
    return ch < 32 || ch == 127;
}

/* Letters of Latin 1, as the kernel's ctype has them. */
static uint8_t upper(uint8_t ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 0xe0 && ch != 0xf7 && ch != 0xff) ? (uint8_t)(ch - 32)
                                                                                : ch;
}

static uint8_t lower(uint8_t ch)
{
    return (ch >= 'A' && ch <= 'Z') || (ch >= 0xc0 && ch <= 0xde && ch != 0xd7) ? (uint8_t)(ch + 32)
                                                                                : ch;
}

static bool continuation(const struct lx_tty *t, uint8_t ch)
{
    return (t->iflag & IUTF8) && (ch & 0xc0) == 0x80;
}

void lx_tty_reset(struct lx_tty *t)
{
    static const uint8_t cc[LX_TTY_CC] = {
        [VINTR] = 3,     [VQUIT] = 28,   [VERASE] = 127, [VKILL] = 21, [VEOF] = 4,
        [VMIN] = 1,      [VSTART] = 17,  [VSTOP] = 19,   [VSUSP] = 26, [VREPRINT] = 18,
        [VDISCARD] = 15, [VWERASE] = 23, [VLNEXT] = 22};
    t->iflag = ICRNL | IXON;
    t->oflag = OPOST | ONLCR;
    t->cflag = B38400 | CS8 | CREAD;
    t->lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN;
    t->ispeed = t->ospeed = 38400;
    memcpy(t->cc, cc, sizeof cc);
}

void lx_tty_changed(struct lx_tty *t)
{
    lx_wake_all(t->vfs->lx, &t->wait);
}

/* ---- output ---- */

static void put(struct lx_tty *t, uint8_t ch)
{
    lx_pipe_give(t->out, &ch, 1);
}

/* One byte through OPOST; at most 8 bytes come out. */
static void put_processed(struct lx_tty *t, uint8_t ch)
{
    if (!(t->oflag & OPOST)) {
        put(t, ch);
        return;
    }
    switch (ch) {
    case '\n':
        if (t->oflag & ONLRET)
            t->column = 0;
        if (t->oflag & ONLCR) {
            put(t, '\r');
            t->column = t->canon_column = 0;
        }
        t->canon_column = t->column;
        break;
    case '\r':
        if ((t->oflag & ONOCR) && !t->column)
            return;
        if (t->oflag & OCRNL) {
            ch = '\n';
            if (t->oflag & ONLRET)
                t->column = t->canon_column = 0;
        } else {
            t->column = t->canon_column = 0;
        }
        break;
    case '\t': {
        uint32_t spaces = 8 - (t->column & 7);
        t->column += spaces;
        if ((t->oflag & TABDLY) == XTABS) {
            while (spaces--)
                put(t, ' ');
            return;
        }
        break;
    }
    case '\b':
        if (t->column)
            t->column--;
        break;
    default:
        if (!is_ctrl(ch)) {
            if (t->oflag & OLCUC)
                ch = upper(ch);
            if (!continuation(t, ch))
                t->column++;
        }
    }
    put(t, ch);
}

uint32_t lx_tty_room(const struct lx_tty *t)
{
    uint32_t used = t->out->len, cap = t->out->cap > 2 * LX_TTY_ECHO_ROOM
                                           ? t->out->cap - LX_TTY_ECHO_ROOM
                                           : t->out->cap;
    return t->stopped || used >= cap ? 0 : cap - used;
}

size_t lx_tty_output(struct lx_tty *t, const uint8_t *p, size_t n)
{
    size_t k = 0;
    for (; k < n && lx_tty_room(t) >= ((t->oflag & OPOST) ? 8 : 1); k++)
        put_processed(t, p[k]);
    return k;
}

/* ---- echo ---- */

static void echo_raw(struct lx_tty *t, uint8_t ch)
{
    if (t->out->cap - t->out->len >= 8)
        put_processed(t, ch);
}

static void echo(struct lx_tty *t, uint8_t ch)
{
    if ((t->lflag & ECHOCTL) && is_ctrl(ch) && ch != '\t') {
        if (t->out->cap - t->out->len < 8)
            return;
        put(t, '^');
        put(t, ch ^ 0100);
        t->column += 2;
    } else {
        echo_raw(t, ch);
    }
}

static void finish_erasing(struct lx_tty *t)
{
    if (t->erasing)
        echo_raw(t, '/');
    t->erasing = false;
}

static void rub_out_cell(struct lx_tty *t)
{
    echo_raw(t, '\b');
    echo_raw(t, ' ');
    echo_raw(t, '\b');
}

/* The cells of a tab that was erased: back to where the text before it ends. */
static void rub_out_tab(struct lx_tty *t)
{
    uint32_t chars = 0;
    bool after_tab = false;
    for (uint32_t p = t->head; p != t->canon;) {
        uint8_t ch = *at(t, --p);
        if (ch == '\t') {
            after_tab = true;
            break;
        }
        if (is_ctrl(ch))
            chars += (t->lflag & ECHOCTL) ? 2 : 0;
        else if (!continuation(t, ch))
            chars++;
    }
    if (!after_tab)
        chars += t->canon_column;
    for (uint32_t n = 8 - (chars & 7); n; n--) { /* whatever OPOST says */
        put(t, '\b');
        t->column -= t->column != 0;
    }
}

/* ---- erasing ---- */

static void echo_erased(struct lx_tty *t, uint8_t ch, bool one)
{
    if (!(t->lflag & ECHO))
        return;
    if (t->lflag & ECHOPRT) {
        if (!t->erasing)
            echo_raw(t, '\\');
        t->erasing = true;
        echo(t, ch);
    } else if (one && !(t->lflag & ECHOE)) {
        echo(t, t->cc[VERASE]);
    } else if (ch == '\t') {
        rub_out_tab(t);
    } else if (!is_ctrl(ch) || (t->lflag & ECHOCTL)) {
        if (is_ctrl(ch))
            rub_out_cell(t);
        rub_out_cell(t);
    }
}

/* Letters and digits of Latin 1, as the kernel's isalnum has them. */
static bool word_char(uint8_t ch)
{
    return (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
           ch == '_' || (ch >= 0xc0 && ch != 0xd7 && ch != 0xf7);
}

static void erase(struct lx_tty *t, uint8_t ch)
{
    bool kill = special(t, VKILL, ch), word = !kill && !special(t, VERASE, ch), seen = false;
    if (t->head == t->canon)
        return;
    if (kill) {
        if (!(t->lflag & ECHO)) {
            t->head = t->canon;
            return;
        }
        if (!(t->lflag & ECHOK) || !(t->lflag & ECHOKE) || !(t->lflag & ECHOE)) {
            t->head = t->canon;
            finish_erasing(t);
            echo(t, t->cc[VKILL]);
            if (t->lflag & ECHOK)
                echo_raw(t, '\n');
            return;
        }
    }
    while (t->head != t->canon) {
        uint32_t head = t->head;
        uint8_t gone;
        do
            gone = *at(t, --head);
        while (continuation(t, gone) && head != t->canon);
        if (continuation(t, gone))
            break; /* half a character: it stays */
        if (word) {
            if (word_char(gone))
                seen = true;
            else if (seen)
                break;
        }
        t->head = head;
        echo_erased(t, gone, !kill && !word);
        if (!kill && !word)
            break;
    }
    if (t->head == t->canon)
        finish_erasing(t);
}

/* ---- input ---- */

static uint32_t held(const struct lx_tty *t)
{
    return t->head - t->tail;
}

static void store(struct lx_tty *t, uint8_t ch)
{
    if (held(t) >= LX_TTY_LINE - 1) { /* a line that never ends: its last byte is replaced */
        if (!(t->lflag & ICANON) || t->canon != t->tail)
            return;
        t->head--;
    }
    set_eol(t, t->head, false);
    *at(t, t->head) = ch;
    t->head++;
}

static void end_line(struct lx_tty *t, uint8_t ch)
{
    store(t, ch);
    set_eol(t, t->head - 1, true);
    t->canon = t->head;
}

void lx_tty_flush_input(struct lx_tty *t)
{
    t->tail = t->canon = t->head;
    t->erasing = t->lnext = false;
    memset(t->eol, 0, sizeof t->eol);
}

static void signal_key(struct lx_tty *t, int signo, uint8_t ch)
{
    if (!(t->lflag & NOFLSH)) {
        lx_tty_flush_input(t);
        t->out->len =
            MIN(t->out->len, t->batch_out); /* what is not on its way yet: of this batch of keys */
        t->column = t->batch_column;
        t->canon_column = t->batch_canon_column;
    }
    if (t->pgrp)
        lx_signal_pgrp(t->vfs->lx, t->pgrp, signo);
    if (t->iflag & IXON)
        t->stopped = false;
    if (t->lflag & ECHO)
        echo(t, ch);
}

/* Keys that act at once. True: done with it. */
static bool control_key(struct lx_tty *t, uint8_t ch)
{
    if (t->iflag & IXON) {
        if (special(t, VSTART, ch)) {
            t->stopped = false;
            return true;
        }
        if (special(t, VSTOP, ch)) {
            t->stopped = true;
            return true;
        }
    }
    if (t->lflag & ISIG) {
        int signo = special(t, VINTR, ch)   ? SIGINT
                    : special(t, VQUIT, ch) ? SIGQUIT
                    : special(t, VSUSP, ch) ? SIGTSTP
                                            : 0;
        if (signo) {
            signal_key(t, signo, ch);
            return true;
        }
    }
    return false;
}

static void reprint(struct lx_tty *t, uint8_t ch)
{
    finish_erasing(t);
    echo(t, ch);
    echo_raw(t, '\n');
    for (uint32_t p = t->canon; p != t->head; p++)
        echo(t, *at(t, p));
}

/* Editing and line ends of canonical mode. True: done with it. */
static bool canonical_key(struct lx_tty *t, uint8_t ch)
{
    bool ext = t->lflag & IEXTEN;
    if (special(t, VERASE, ch) || special(t, VKILL, ch) || (ext && special(t, VWERASE, ch))) {
        erase(t, ch);
        return true;
    }
    if (ext && special(t, VLNEXT, ch)) {
        t->lnext = true;
        if (t->lflag & ECHO) {
            finish_erasing(t);
            if (t->lflag & ECHOCTL) {
                echo_raw(t, '^');
                echo_raw(t, '\b');
            }
        }
        return true;
    }
    if (ext && (t->lflag & ECHO) && special(t, VREPRINT, ch)) {
        reprint(t, ch);
        return true;
    }
    if (ch == '\n') {
        if (t->lflag & (ECHO | ECHONL))
            echo_raw(t, '\n');
        end_line(t, ch);
        return true;
    }
    if (special(t, VEOF, ch)) {
        end_line(t, DISABLED);
        return true;
    }
    if (special(t, VEOL, ch) || (ext && special(t, VEOL2, ch))) {
        if (t->lflag & ECHO) {
            if (t->canon == t->head)
                t->canon_column = t->column;
            echo(t, ch);
        }
        end_line(t, ch);
        return true;
    }
    return false;
}

/* newline: it was made of a carriage return. */
static void plain(struct lx_tty *t, uint8_t ch, bool newline)
{
    if (t->lflag & ECHO) {
        finish_erasing(t);
        if (newline) {
            echo_raw(t, ch);
        } else {
            if (t->canon == t->head)
                t->canon_column = t->column;
            echo(t, ch);
        }
    }
    if ((t->iflag & PARMRK) && ch == 0xff)
        store(t, ch);
    store(t, ch);
}

static void receive(struct lx_tty *t, uint8_t ch)
{
    if (t->iflag & ISTRIP)
        ch &= 0x7f;
    if ((t->iflag & IUCLC) && (t->lflag & IEXTEN))
        ch = lower(ch);
    if (t->lnext) {
        t->lnext = false;
        plain(t, ch, false);
        return;
    }
    if (t->stopped && (t->iflag & IXON) && (t->iflag & IXANY) && !special(t, VSTOP, ch))
        t->stopped = false;
    if (control_key(t, ch))
        return;
    uint8_t typed = ch;
    if (ch == '\r') {
        if (t->iflag & IGNCR)
            return;
        if (t->iflag & ICRNL)
            ch = '\n';
    } else if (ch == '\n' && (t->iflag & INLCR)) {
        ch = '\r';
    }
    if ((t->lflag & ICANON) && canonical_key(t, ch))
        return;
    plain(t, ch, ch == '\n' && typed == '\r');
}

static bool input_room(const struct lx_tty *t)
{
    return held(t) < LX_TTY_LINE - 2 || ((t->lflag & ICANON) && t->canon == t->tail);
}

void lx_tty_pump(struct lx_tty *t)
{
    uint8_t ch;
    uint32_t out = t->batch_out = t->out->len;
    t->batch_column = t->column;
    t->batch_canon_column = t->canon_column;
    bool any = false, stopped = t->stopped;
    while (t->raw->len && input_room(t)) {
        lx_pipe_take(t->raw, &ch, 1);
        receive(t, ch);
        any = true;
    }
    if (!any)
        return;
    if (t->out->len != out || stopped != t->stopped)
        lx_pipe_changed(t->out);
    if (t->raw->console)
        lx_pipe_changed(t->raw); /* room outside */
    lx_tty_changed(t);
}

/* ---- reading ---- */

bool lx_tty_readable(const struct lx_tty *t, bool poll)
{
    if (t->lflag & ICANON)
        return t->canon != t->tail;
    uint32_t want = poll && !t->cc[VTIME] && t->cc[VMIN] ? t->cc[VMIN] : 1;
    return held(t) >= want;
}

uint32_t lx_tty_inq(const struct lx_tty *t)
{
    if (!(t->lflag & ICANON))
        return held(t);
    uint32_t n = t->canon - t->tail;
    for (uint32_t p = t->tail; p != t->canon; p++)
        n -= eol_at(t, p) && t->in[p % LX_TTY_LINE] == DISABLED;
    return n;
}

static size_t take_raw(struct lx_tty *t, struct lx_iter *it, uint32_t end)
{
    size_t total = 0;
    while (it->left && t->tail != end) {
        uint32_t from = t->tail % LX_TTY_LINE, n = MIN(end - t->tail, LX_TTY_LINE - from);
        size_t want = MIN(n, it->left), done = lx_iter_put(it, t->in + from, want);
        for (size_t k = 0; k < done; k++)
            set_eol(t, t->tail + (uint32_t)k, false);
        t->tail += (uint32_t)done;
        total += done;
        if (done < want)
            break;
    }
    return total;
}

size_t lx_tty_take(struct lx_tty *t, struct lx_iter *it)
{
    if (!(t->lflag & ICANON)) {
        size_t n = take_raw(t, it, t->head);
        t->canon = t->tail;
        return n;
    }
    uint32_t end = t->tail;
    while (end != t->canon && !eol_at(t, end))
        end++;
    bool eof = end != t->canon && *at(t, end) == DISABLED;
    size_t n = take_raw(t, it, eof || end == t->canon ? end : end + 1);
    if (eof && t->tail == end) { /* the mark goes with the bytes before it */
        set_eol(t, t->tail, false);
        t->tail++;
    }
    return n;
}

void lx_tty_mode_changed(struct lx_tty *t, uint32_t old)
{
    if ((old ^ t->lflag) & ICANON) {
        memset(t->eol, 0, sizeof t->eol);
        if ((t->lflag & ICANON) && t->head != t->tail) {
            set_eol(t, t->head - 1, true); /* what is there can be read at once */
            t->canon = t->head;
        } else {
            t->canon = t->tail;
        }
        t->erasing = t->lnext = false;
    }
    if (!(t->iflag & IXON) && t->stopped)
        t->stopped = false;
    lx_tty_pump(t);
    lx_tty_changed(t);
}
