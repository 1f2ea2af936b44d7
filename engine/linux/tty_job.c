/* Terminals and sessions: controlling terminals, foreground groups, hang-up (credentials(7), ioctl_tty(2)). */
#include "engine/linux/tty.h"

#include <signal.h>
#include <sys/ioctl.h>

int64_t lx_tty_check(struct lx_call *c, struct lx_tty *t, int signo)
{
    struct lx_process *p = lx_call_process(c);
    if (p->ctty != t || !t->pgrp || p->pgid == t->pgrp)
        return 0;
    if (lx_signal_ignored_or_blocked(c->t, signo))
        return signo == SIGTTIN ? -EIO : 0;
    if (lx_pgrp_orphaned(c->lx, p->pgid))
        return -EIO;
    lx_signal_pgrp(c->lx, p->pgid, signo);
    return lx_interrupted(c, LX_RESTART_SA);
}

void lx_tty_set_controlling(struct lx_process *p, struct lx_tty *t)
{
    t->sid = p->sid;
    t->pgrp = p->pgid;
    p->ctty = t;
}

static void forget(void *ctx, struct lx_process *p)
{
    if (p->ctty == ctx)
        p->ctty = NULL;
}

void lx_tty_clear_session(struct lx_tty *t)
{
    if (t->sid)
        lx_process_each(t->vfs->lx, forget, t);
    t->sid = t->pgrp = 0;
}

void lx_tty_hangup(struct lx_tty *t)
{
    list_for_each(p, &t->vfs->files)
    {
        struct lx_file *f = list_entry(p, struct lx_file, all);
        if (f->ops == &lx_tty_ops && f->priv == t)
            f->dead = true;
    }
    uint32_t pgrp = t->pgrp, sid = t->sid;
    struct lx_process *leader = sid ? lx_process_find(t->vfs->lx, sid) : NULL;
    lx_tty_clear_session(t);
    if (leader && !leader->zombie) {
        lx_signal_process(leader, SIGHUP);
        lx_signal_process(leader, SIGCONT);
    }
    if (pgrp) {
        lx_signal_pgrp(t->vfs->lx, pgrp, SIGHUP);
        lx_signal_pgrp(t->vfs->lx, pgrp, SIGCONT);
    }
    lx_tty_flush_input(t);
    lx_tty_changed(t);
}

/* The leader's session loses its terminal. */
static void disassociate(struct lx_tty *t)
{
    uint32_t pgrp = t->pgrp;
    lx_tty_clear_session(t);
    if (pgrp) {
        lx_signal_pgrp(t->vfs->lx, pgrp, SIGHUP);
        lx_signal_pgrp(t->vfs->lx, pgrp, SIGCONT);
    }
}

void lx_tty_leader_exit(struct lx_process *leader)
{
    struct lx_tty *t = leader->ctty;
    if (t && leader->pid == leader->sid && t->sid == leader->sid)
        disassociate(t);
    leader->ctty = NULL;
}

void lx_tty_of_process(struct lx_process *p, uint32_t *dev, int32_t *pgrp)
{
    struct lx_tty *t = p->ctty;
    *dev = t ? t->major << 8 | (t->minor & 0xff) | (t->minor & ~0xffu) << 12 : 0;
    *pgrp = t ? (int32_t)t->pgrp : -1;
}

/* ---- ioctls ---- */

static int64_t set_ctty(struct lx_call *c, struct lx_file *f, struct lx_tty *t, uint64_t arg)
{
    struct lx_process *p = lx_call_process(c);
    bool leader = p->pid == p->sid;
    if (leader && t->sid == p->sid)
        return 0;
    if (!leader || p->ctty)
        return -EPERM;
    if (t->sid) {
        if (arg != 1 || p->euid != 0)
            return -EPERM;
        lx_tty_clear_session(t);
    }
    if (!lx_readable(f) && p->euid != 0)
        return -EPERM;
    lx_tty_set_controlling(p, t);
    return 0;
}

static int64_t no_tty(struct lx_call *c, struct lx_tty *t)
{
    struct lx_process *p = lx_call_process(c);
    if (p->ctty != t)
        return -ENOTTY;
    if (p->pid == p->sid)
        disassociate(t);
    p->ctty = NULL;
    return 0;
}

struct pgrp_search {
    uint32_t pgid;
    bool found;
};

static void is_member(void *ctx, struct lx_process *p)
{
    struct pgrp_search *s = ctx;
    s->found |= p->pgid == s->pgid;
}

static int64_t set_pgrp(struct lx_call *c, struct lx_tty *t, uint64_t arg)
{
    struct lx_process *p = lx_call_process(c);
    int32_t pgrp;
    int64_t e = lx_tty_check(c, t, SIGTTOU);
    if (e)
        return e == -EIO ? -ENOTTY : e;
    if (!p->ctty || p->ctty != t || t->sid != p->sid)
        return -ENOTTY;
    if (lx_get(c, arg, &pgrp, 4))
        return -EFAULT;
    if (pgrp < 0)
        return -EINVAL;
    if (!lx_pgrp_in_session(c->lx, (uint32_t)pgrp, p->sid)) {
        struct pgrp_search s = {(uint32_t)pgrp, false};
        lx_process_each(c->lx, is_member, &s);
        return s.found ? -EPERM : -ESRCH;
    }
    t->pgrp = (uint32_t)pgrp;
    return 0;
}

int64_t lx_tty_session_ioctl(struct lx_call *c, struct lx_file *f, struct lx_tty *t, bool master,
                             uint32_t cmd, uint64_t arg)
{
    struct lx_process *p = lx_call_process(c);
    switch (cmd) {
    case TIOCSCTTY:
        return master ? -EINVAL : set_ctty(c, f, t, arg);
    case TIOCNOTTY:
        return no_tty(c, t);
    case TIOCGPGRP:
        if (!master && p->ctty != t)
            return -ENOTTY;
        return lx_put(c, arg, &t->pgrp, 4);
    case TIOCSPGRP:
        return set_pgrp(c, t, arg);
    case TIOCGSID:
        if ((!master && p->ctty != t) || !t->sid)
            return -ENOTTY;
        return lx_put(c, arg, &t->sid, 4);
    default:
        return -ENOIOCTLCMD_LX;
    }
}
