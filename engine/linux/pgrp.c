/*
 * linux/pgrp.c - process groups, sessions, and when a group is orphaned.
 */
#include "engine/linux/process.h"

#include <stdlib.h>

struct lx_pgrp *lx_pgrp_find(struct lx *lx, uint32_t pgid)
{
    struct lx_pgrp *g;
    HASH_FIND(by_id, lx->pgrps, &pgid, sizeof pgid, g);
    return g;
}

bool lx_pgrp_in_session(struct lx *lx, uint32_t pgid, uint32_t sid)
{
    struct lx_pgrp *g = lx_pgrp_find(lx, pgid);
    return g && g->session->sid == sid;
}

static struct lx_session *session_get(struct lx *lx, uint32_t sid)
{
    struct lx_session *s;
    HASH_FIND(by_id, lx->sessions, &sid, sizeof sid, s);
    if (!s) {
        s = calloc(1, sizeof *s);
        if (!s)
            return NULL;
        s->sid = sid;
        HASH_ADD(by_id, lx->sessions, sid, sizeof s->sid, s);
        if (!s->by_id.tbl) {
            free(s);
            return NULL;
        }
    }
    s->refs++;
    return s;
}

static void session_put(struct lx *lx, struct lx_session *s)
{
    if (--s->refs)
        return;
    HASH_DELETE(by_id, lx->sessions, s);
    free(s);
}

static struct lx_pgrp *pgrp_make(struct lx *lx, uint32_t pgid, uint32_t sid)
{
    struct lx_pgrp *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->pgid = pgid;
    list_init(&g->members);
    g->session = session_get(lx, sid);
    if (g->session) {
        HASH_ADD(by_id, lx->pgrps, pgid, sizeof g->pgid, g);
        if (g->by_id.tbl)
            return g;
        session_put(lx, g->session);
    }
    free(g);
    return NULL;
}

void lx_process_leave_pgrp(struct lx_process *p)
{
    struct lx_pgrp *g = p->priv->pgrp;
    if (!g)
        return;
    list_remove(&p->priv->group_link);
    p->priv->pgrp = NULL;
    if (!list_empty(&g->members))
        return;
    HASH_DELETE(by_id, p->lx->pgrps, g);
    session_put(p->lx, g->session);
    free(g);
}

int lx_process_join_pgrp(struct lx_process *p, uint32_t pgid, uint32_t sid)
{
    struct lx_pgrp *g = lx_pgrp_find(p->lx, pgid);
    if (!g || g->session->sid != sid) /* setsid of a lone member of its own group moves the group */
        g = NULL;
    if (g && g == p->priv->pgrp)
        return 0;
    if (!g) {
        if (p->priv->pgrp && p->priv->pgrp->pgid == pgid)
            lx_process_leave_pgrp(p);
        g = pgrp_make(p->lx, pgid, sid);
        if (!g)
            return -ENOMEM;
    }
    lx_process_leave_pgrp(p);
    list_append(&g->members, &p->priv->group_link);
    p->priv->pgrp = g;
    p->pgid = pgid;
    p->sid = sid;
    return 0;
}

/* POSIX: no member has a parent in another group of the same session. `without` does not count. */
static bool orphaned(struct lx_pgrp *g, const struct lx_process *without)
{
    list_for_each(l, &g->members)
    {
        struct lx_process *p = list_entry(l, struct lx_process_private, group_link)->p;
        if (p == without || p->zombie || !p->parent)
            continue;
        if (p->parent->pgid != p->pgid && p->parent->sid == p->sid)
            return false;
    }
    return true;
}

bool lx_pgrp_orphaned(struct lx *lx, uint32_t pgid)
{
    struct lx_pgrp *g = lx_pgrp_find(lx, pgid);
    return !g || orphaned(g, NULL);
}

static bool has_stopped(struct lx_pgrp *g)
{
    list_for_each(l, &g->members) if (list_entry(l, struct lx_process_private, group_link)
                                          ->p->stopped) return true;
    return false;
}

void lx_orphan_check(struct lx_process *p, struct lx_process *parent,
                     const struct lx_process *without)
{
    struct lx_pgrp *g = p->priv->pgrp;
    if (!g || !parent || parent->pgid == p->pgid || parent->sid != p->sid)
        return;
    if (orphaned(g, without) && has_stopped(g)) {
        uint32_t pgid = g->pgid;
        lx_signal_pgrp(p->lx, pgid, SIGHUP);
        lx_signal_pgrp(p->lx, pgid, SIGCONT);
    }
}
