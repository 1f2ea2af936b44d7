/* Terminals as files: read, write, poll, ioctl of the slave side; termios. */
#include "engine/linux/tty.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define PTY_MAJOR 136u

/* ---- lifetime ---- */

struct lx_tty *lx_tty_new(struct lx_vfs *v, uint32_t major, uint32_t minor)
{
    struct lx_tty *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->vfs = v;
    t->refs = 1;
    t->major = major;
    t->minor = t->index = minor;
    t->is_pty = major == PTY_MAJOR;
    t->raw = lx_pipe_new(v);
    t->out = lx_pipe_new(v);
    if (!t->raw || !t->out) {
        if (t->raw)
            lx_pipe_put(t->raw);
        if (t->out)
            lx_pipe_put(t->out);
        free(t);
        return NULL;
    }
    lx_waitq_init(&t->wait);
    lx_tty_reset(t);
    t->made = lx_now(v);
    list_append(&v->ttys, &t->all);
    return t;
}

void lx_tty_get(struct lx_tty *t)
{
    t->refs++;
}

void lx_tty_put(struct lx_tty *t)
{
    if (--t->refs)
        return;
    lx_tty_clear_session(t);
    lx_waitq_fini(t->vfs->lx, &t->wait);
    if (t->is_pty)
        lx_pty_gone(t);
    list_remove(&t->all);
    lx_pipe_put(t->raw);
    lx_pipe_put(t->out);
    free(t);
}

void lx_tty_attach(struct lx_file *f, struct lx_tty *t)
{
    f->ops = &lx_tty_ops;
    f->priv = t;
    lx_tty_get(t);
    t->slave_count++;
    t->slave_opened = true;
}

static void tty_release(struct lx_file *f)
{
    struct lx_tty *t = f->priv;
    t->slave_count--;
    lx_tty_changed(t);
    lx_tty_put(t);
}

int64_t lx_tty_open(struct lx_call *c, struct lx_file *f)
{
    struct lx_vfs *v = f->vfs;
    struct lx_process *p = lx_call_process(c);
    uint32_t major = f->inode->rdev_major, minor = f->inode->rdev_minor;
    struct lx_tty *t = NULL;
    bool noctty = f->flags & O_NOCTTY;
    if (major == 5 && minor == 2)
        return lx_ptmx_open(c, f);
    if (major == 5 && minor == 0) {
        t = p->ctty;
        noctty = true;
    } else if (major == 5 && minor == 1) {
        t = v->con_tty;
        noctty = true;
    } else if (major == 4) {
        t = minor == 64 ? v->con_tty : NULL;
    } else if (major == PTY_MAJOR) {
        t = lx_pty_find(v, minor);
        if (t && (t->locked || !t->master_open))
            return -EIO;
    }
    if (!t)
        return major == 5 && minor == 1 ? -ENODEV : -ENXIO;
    lx_tty_attach(f, t);
    if (!noctty && p->pid == p->sid && !p->ctty && !t->sid && lx_readable(f))
        lx_tty_set_controlling(p, t);
    return 0;
}

/* ---- reading and writing ---- */

/* The read waits: for ever, until its deadline, or not at all. done bytes were read in earlier runs. */
static int64_t read_wait(struct lx_call *c, struct lx_file *f, struct lx_tty *t, uint64_t done)
{
    bool canon = t->lflag & ICANON;
    uint64_t gap = (uint64_t)t->cc[VTIME] * 100000000u;
    if (!canon && !t->cc[VMIN]) {
        if (!gap)
            return 0;
        if (c->deadline_ns == LX_NO_DEADLINE)
            c->deadline_ns = lx_monotonic_ns(c->lx) + gap;
    }
    if (c->deadline_ns != LX_NO_DEADLINE && lx_monotonic_ns(c->lx) >= c->deadline_ns)
        return 0;
    if (f->flags & O_NONBLOCK)
        return done ? 0 : -EAGAIN;
    if (c->wake == LX_WAKE_SIGNAL)
        return done ? 0 : lx_interrupted(c, LX_RESTART_SA);
    c->progress[0] = done;
    if (!c->held)
        c->held = lx_file_get(f);
    return lx_block(c, &t->wait);
}

static int64_t tty_read(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos)
{
    (void)pos;
    struct lx_tty *t = f->priv;
    uint64_t before = c->progress[0];
    if (f->dead)
        return 0;
    int64_t e = lx_tty_check(c, t, SIGTTIN);
    if (e)
        return before ? 0 : e;
    if (!lx_tty_readable(t, false))
        return t->is_pty && !t->master_open ? 0 : read_wait(c, f, t, before);
    bool canon = t->lflag & ICANON;
    uint64_t asked = it->left + before;
    uint32_t tail = t->tail;
    int64_t n = (int64_t)lx_tty_take(t, it);
    if (!n && t->tail == tail)
        return -EFAULT;
    lx_tty_pump(t);
    if (canon)
        return n;
    uint64_t total = before + (uint64_t)n;
    if (total >= MIN(t->cc[VMIN], asked) || !it->left)
        return n;
    if (t->cc[VTIME]) /* MIN > 0: the timer runs from byte to byte */
        c->deadline_ns = lx_monotonic_ns(c->lx) + (uint64_t)t->cc[VTIME] * 100000000u;
    e = read_wait(c, f, t, total);
    return e == LX_BLOCKED ? e : n;
}

static int64_t tty_write(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos)
{
    (void)pos;
    struct lx_tty *t = f->priv;
    uint8_t buf[2048];
    if (f->dead || (t->is_pty && !t->master_open))
        return -EIO;
    if (t->lflag & TOSTOP) {
        int64_t e = lx_tty_check(c, t, SIGTTOU);
        if (e)
            return e;
    }
    if (!it->left)
        return 0;
    int64_t done = 0;
    while (it->left) {
        uint32_t room = lx_tty_room(t) / ((t->oflag & OPOST) ? 8 : 1);
        if (!room)
            break;
        size_t want = MIN(MIN(it->left, sizeof buf), room), n = lx_iter_get(it, buf, want);
        lx_tty_output(t, buf, n);
        done += (int64_t)n;
        if (n < want) {
            if (!done)
                return -EFAULT;
            break;
        }
    }
    if (!done)
        return -EAGAIN;
    lx_pipe_changed(t->out);
    lx_tty_changed(t);
    return done;
}

static uint32_t tty_poll(struct lx_file *f, struct lx_call *c)
{
    struct lx_tty *t = f->priv;
    uint32_t m = 0;
    if (c)
        lx_block(c, &t->wait);
    if (f->dead)
        return POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDNORM | POLLWRNORM;
    if (lx_tty_readable(t, true))
        m |= POLLIN | POLLRDNORM;
    if (t->is_pty && !t->master_open)
        m |= POLLHUP;
    if (lx_tty_room(t) >= 8)
        m |= POLLOUT | POLLWRNORM;
    return m;
}

/* ---- termios ---- */

struct guest_termios {
    uint32_t iflag, oflag, cflag, lflag;
    uint8_t line, cc[LX_TTY_CC];
    uint32_t ispeed, ospeed; /* termios2 only */
};
_Static_assert(sizeof(struct guest_termios) == 44, "struct termios2 of asm-generic");
#define TERMIOS_BYTES 36

struct guest_termio { /* of System V */
    uint16_t iflag, oflag, cflag, lflag;
    uint8_t line, cc[8], pad;
};

static int64_t get_termios(struct lx_call *c, const struct lx_tty *t, uint64_t arg, bool two)
{
    struct guest_termios g = {t->iflag, t->oflag, t->cflag,  t->lflag,
                              t->line,  {0},      t->ispeed, t->ospeed};
    memcpy(g.cc, t->cc, sizeof g.cc);
    return lx_put(c, arg, &g, two ? sizeof g : TERMIOS_BYTES);
}

/* how: 0 now, 1 after output drained (it always is), 2 and input flushed */
static int64_t set_termios(struct lx_call *c, struct lx_tty *t, uint64_t arg, int how, bool two)
{
    struct guest_termios g = {.ispeed = t->ispeed, .ospeed = t->ospeed};
    if (lx_get(c, arg, &g, two ? sizeof g : TERMIOS_BYTES))
        return -EFAULT;
    if (how == 2)
        lx_tty_flush_input(t);
    uint32_t old = t->lflag;
    t->iflag = g.iflag;
    t->oflag = g.oflag;
    t->cflag = t->is_pty ? (g.cflag & ~(uint32_t)(CSIZE | PARENB)) | CS8 | CREAD : g.cflag;
    t->lflag = g.lflag;
    t->line = g.line;
    t->ispeed = g.ispeed;
    t->ospeed = g.ospeed;
    memcpy(t->cc, g.cc, sizeof t->cc);
    lx_tty_mode_changed(t, old);
    return 0;
}

static int64_t get_termio(struct lx_call *c, const struct lx_tty *t, uint64_t arg)
{
    struct guest_termio g = {(uint16_t)t->iflag,
                             (uint16_t)t->oflag,
                             (uint16_t)t->cflag,
                             (uint16_t)t->lflag,
                             t->line,
                             {0},
                             0};
    memcpy(g.cc, t->cc, sizeof g.cc);
    return lx_put(c, arg, &g, sizeof g);
}

static int64_t set_termio(struct lx_call *c, struct lx_tty *t, uint64_t arg, int how)
{
    struct guest_termio g;
    if (lx_get(c, arg, &g, sizeof g))
        return -EFAULT;
    if (how == 2)
        lx_tty_flush_input(t);
    uint32_t old = t->lflag;
    t->iflag = (t->iflag & 0xffff0000u) | g.iflag;
    t->oflag = (t->oflag & 0xffff0000u) | g.oflag;
    t->cflag = (t->cflag & 0xffff0000u) | g.cflag;
    t->lflag = (t->lflag & 0xffff0000u) | g.lflag;
    t->line = g.line;
    memcpy(t->cc, g.cc, sizeof g.cc);
    lx_tty_mode_changed(t, old);
    return 0;
}

/* ---- size ---- */

void lx_tty_resize(struct lx_tty *t, const struct lx_winsize *size)
{
    if (!memcmp(&t->size, size, sizeof *size))
        return;
    t->size = *size;
    if (t->pgrp)
        lx_signal_pgrp(t->vfs->lx, t->pgrp, SIGWINCH);
}

static int64_t set_size(struct lx_call *c, struct lx_tty *t, uint64_t arg)
{
    struct lx_winsize size;
    if (lx_get(c, arg, &size, sizeof size))
        return -EFAULT;
    lx_tty_resize(t, &size);
    return 0;
}

/* ---- ioctl ---- */

static int64_t flow(struct lx_tty *t, uint64_t arg)
{
    switch (arg) {
    case TCOOFF:
        t->stopped = true;
        return 0;
    case TCOON:
        t->stopped = false;
        lx_tty_changed(t);
        return 0;
    case TCIOFF:
    case TCION:
        if (t->cc[arg == TCIOFF ? VSTOP : VSTART])
            lx_pipe_give(t->out, &t->cc[arg == TCIOFF ? VSTOP : VSTART], 1);
        lx_pipe_changed(t->out);
        return 0;
    default:
        return -EINVAL;
    }
}

static int64_t flush(struct lx_tty *t, uint64_t arg)
{
    if (arg > TCIOFLUSH)
        return -EINVAL;
    if (arg != TCOFLUSH) {
        lx_tty_flush_input(t);
        lx_tty_pump(t);
    }
    return 0; /* output was handed over at once: there is nothing left here to drop */
}

static int64_t insert_char(struct lx_call *c, struct lx_file *f, struct lx_tty *t, uint64_t arg)
{
    uint8_t ch;
    struct lx_process *p = lx_call_process(c);
    if (p->ctty != t && p->euid != 0)
        return -EPERM;
    (void)f;
    if (lx_get(c, arg, &ch, 1))
        return -EFAULT;
    lx_pipe_give(t->raw, &ch, 1);
    lx_tty_pump(t);
    return 0;
}

/* Calls that change the terminal: not from the background. */
static bool changes(uint32_t cmd)
{
    switch (cmd) {
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
    case TCSETA:
    case TCSETAW:
    case TCSETAF:
    case TCSETS2:
    case TCSETSW2:
    case TCSETSF2:
    case TCSBRK:
    case TCSBRKP:
    case TCXONC:
    case TCFLSH:
        return true;
    default:
        return false;
    }
}

/* What both sides have in common. */
static int64_t common_ioctl(struct lx_call *c, struct lx_file *f, struct lx_tty *t, uint32_t cmd,
                            uint64_t arg)
{
    uint32_t value;
    switch (cmd) {
    case TCGETS:
        return get_termios(c, t, arg, false);
    case TCGETS2:
        return get_termios(c, t, arg, true);
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
        return set_termios(c, t, arg, (int)(cmd - TCSETS), false);
    case TCSETS2:
    case TCSETSW2:
    case TCSETSF2:
        return set_termios(c, t, arg, (int)(cmd - TCSETS2), true);
    case TCGETA:
        return get_termio(c, t, arg);
    case TCSETA:
    case TCSETAW:
    case TCSETAF:
        return set_termio(c, t, arg, (int)(cmd - TCSETA));
    case TIOCGWINSZ:
        return lx_put(c, arg, &t->size, sizeof t->size);
    case TIOCSWINSZ:
        return set_size(c, t, arg);
    case TCXONC:
        return flow(t, arg);
    case TCFLSH:
        return flush(t, arg);
    case TCSBRK:
    case TCSBRKP:
    case TIOCEXCL:
    case TIOCNXCL:
    case TIOCSBRK:
    case TIOCCBRK:
        return 0;
    case TIOCOUTQ:
        return lx_put(c, arg, &t->out->len, 4);
    case TIOCSTI:
        return insert_char(c, f, t, arg);
    case TIOCGETD:
        value = 0;
        return lx_put(c, arg, &value, 4);
    case TIOCSETD:
        if (lx_get(c, arg, &value, 4))
            return -EFAULT;
        return value ? -EINVAL : 0;
    case TIOCGDEV:
        value = t->major << 8 | (t->minor & 0xff);
        return lx_put(c, arg, &value, 4);
    default:
        return -ENOTTY;
    }
}

static int64_t tty_ioctl(struct lx_call *c, struct lx_file *f, uint32_t cmd, uint64_t arg)
{
    struct lx_tty *t = f->priv;
    if (f->dead)
        return cmd == TIOCSPGRP ? -ENOTTY : -EIO;
    if (changes(cmd)) {
        int64_t e = lx_tty_check(c, t, SIGTTOU);
        if (e)
            return e;
    }
    if (cmd == FIONREAD) {
        uint32_t n = lx_tty_inq(t);
        return lx_put(c, arg, &n, 4);
    }
    int64_t r = lx_tty_session_ioctl(c, f, t, false, cmd, arg);
    return r == -ENOIOCTLCMD_LX ? common_ioctl(c, f, t, cmd, arg) : r;
}

const struct lx_file_ops lx_tty_ops = {.read = tty_read,
                                       .write = tty_write,
                                       .poll = tty_poll,
                                       .ioctl = tty_ioctl,
                                       .release = tty_release,
                                       .stream = true};

/* ---- the master ---- */

static int64_t ptm_read(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos)
{
    (void)c, (void)pos;
    struct lx_tty *t = f->priv;
    uint8_t buf[2048];
    int64_t done = 0;
    if (!t->out->len)
        return t->slave_opened && !t->slave_count ? -EIO : -EAGAIN;
    while (it->left && t->out->len) {
        size_t n = lx_pipe_take(t->out, buf, MIN(it->left, sizeof buf)),
               k = lx_iter_put(it, buf, n);
        done += (int64_t)k;
        if (k < n)
            break;
    }
    if (done)
        lx_tty_changed(t);
    return done ? done : -EFAULT;
}

static int64_t ptm_write(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos)
{
    (void)c, (void)pos;
    struct lx_tty *t = f->priv;
    uint8_t buf[2048];
    int64_t done = 0;
    if (t->slave_opened && !t->slave_count)
        return -EIO;
    while (it->left && t->raw->len < t->raw->cap) {
        size_t want = MIN(MIN(it->left, sizeof buf), t->raw->cap - t->raw->len),
               n = lx_iter_get(it, buf, want);
        lx_pipe_give(t->raw, buf, n);
        lx_tty_pump(t);
        done += (int64_t)n;
        if (n < want) {
            if (!done)
                return -EFAULT;
            break;
        }
    }
    return done ? done : -EAGAIN;
}

static uint32_t ptm_poll(struct lx_file *f, struct lx_call *c)
{
    struct lx_tty *t = f->priv;
    uint32_t m = 0;
    if (c)
        lx_block(c, &t->wait);
    if (t->out->len)
        m |= POLLIN | POLLRDNORM;
    if (t->slave_opened && !t->slave_count)
        m |= POLLHUP;
    if (t->raw->len < t->raw->cap)
        m |= POLLOUT | POLLWRNORM;
    return m;
}

static int64_t ptm_ioctl(struct lx_call *c, struct lx_file *f, uint32_t cmd, uint64_t arg)
{
    struct lx_tty *t = f->priv;
    int32_t value;
    switch (cmd) {
    case TIOCGPTN:
        return lx_put(c, arg, &t->index, 4);
    case TIOCSPTLCK:
        if (lx_get(c, arg, &value, 4))
            return -EFAULT;
        t->locked = value != 0;
        return 0;
    case TIOCGPTLCK:
        value = t->locked;
        return lx_put(c, arg, &value, 4);
    case TIOCGPTPEER:
        return lx_pty_peer(c, t, (uint32_t)arg);
    case FIONREAD:
        return lx_put(c, arg, &t->out->len, 4);
    }
    int64_t r = lx_tty_session_ioctl(c, f, t, true, cmd, arg);
    return r == -ENOIOCTLCMD_LX ? common_ioctl(c, f, t, cmd, arg) : r;
}

/* The master goes: whoever sits at the slave is hung up. */
static void ptm_release(struct lx_file *f)
{
    struct lx_tty *t = f->priv;
    t->master_open = false;
    lx_tty_hangup(t);
    lx_tty_put(t);
}

const struct lx_file_ops lx_ptm_ops = {.read = ptm_read,
                                       .write = ptm_write,
                                       .poll = ptm_poll,
                                       .ioctl = ptm_ioctl,
                                       .release = ptm_release,
                                       .stream = true};
