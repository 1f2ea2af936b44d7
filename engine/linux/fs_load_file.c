/* Pipes, terminals, open files, descriptor tables, locks and the console out of a snapshot. */
#include "engine/linux/fs_load.h"

#include <stdlib.h>
#include <string.h>

static uint32_t get32(struct lx_loaded *l)
{
    return lx_load_u32(l);
}

/* ---- pipes ---- */

bool lx_load_pipe(struct lx_loaded *l, uint32_t at)
{
    struct lx_pipe *p = lx_pipe_new(l->v);
    if (!p)
        return lx_load_no_memory(l);
    l->object[LX_COUNT_PIPES][at] = p;
    uint32_t cap = lx_load_max(l, 1u << 20, "pipe size");
    p->opens_r = get32(l);
    p->opens_w = get32(l);
    size_t len = 0;
    const void *data = snap_get_bytes(l->r, cap, &len);
    if (lx_load_bad(l, !cap || cap % PAGE_SIZE, "pipe"))
        return false;
    l->v->pipe_pages += cap / PAGE_SIZE;
    l->v->pipe_pages -= p->cap / PAGE_SIZE;
    p->cap = cap;
    return lx_pipe_give(p, data, len) == len || lx_load_no_memory(l);
}

/* ---- terminals ---- */

bool lx_load_tty(struct lx_loaded *l, uint32_t at)
{
    struct lx_vfs *v = l->v;
    uint32_t w[24];
    for (size_t k = 0; k < ARRAY_LEN(w); k++)
        w[k] = get32(l);
    struct lx_pipe *raw = lx_load_ref(l, LX_COUNT_PIPES), *out = lx_load_ref(l, LX_COUNT_PIPES);
    if (l->r->failed ||
        lx_load_bad(l, !raw || !out || raw == out || (w[0] != 136 && w[0] != 4) || w[1] >= 1024,
                    "terminal"))
        return false;
    struct lx_tty *t = lx_tty_new(v, w[0], w[1]);
    if (!t)
        return lx_load_no_memory(l);
    l->object[LX_COUNT_TTYS][at] = t;
    t->is_pty = false; /* until it has its number */
    lx_pipe_put(t->raw);
    lx_pipe_put(t->out);
    t->raw = raw;
    t->out = out;
    raw->refs++;
    out->refs++;
    t->locked = w[2];
    t->slave_opened = w[3];
    t->uid = w[4], t->gid = w[5], t->mode = S_IFCHR | (w[6] & 07777);
    t->iflag = w[7], t->oflag = w[8], t->cflag = w[9], t->lflag = w[10], t->ispeed = w[11],
    t->ospeed = w[12];
    t->line = (uint8_t)w[13];
    t->sid = w[14], t->pgrp = w[15];
    t->head = w[16], t->tail = w[17], t->canon = w[18], t->column = w[19], t->canon_column = w[20];
    t->lnext = w[21], t->erasing = w[22], t->stopped = w[23];
    t->made = lx_load_time(l);
    snap_get_exact(l->r, t->cc, sizeof t->cc);
    snap_get_exact(l->r, &t->size, sizeof t->size);
    snap_get_exact(l->r, t->in, sizeof t->in);
    snap_get_exact(l->r, t->eol, sizeof t->eol);
    if (lx_load_bad(l, t->head - t->tail > LX_TTY_LINE || t->canon - t->tail > t->head - t->tail,
                    "terminal's line"))
        return false;
    if (w[0] != 136)
        return true;
    if (lx_load_bad(l, lx_pty_find(v, w[1]) != NULL, "a terminal's number twice"))
        return false;
    if (lx_pty_claim(t, w[1]))
        return lx_load_no_memory(l);
    t->is_pty = true;
    return true;
}

/* ---- open files ---- */

static bool load_file_of(struct lx_loaded *l, struct lx_file *f, uint32_t kind, uint32_t of)
{
    struct lx_inode *i = f->inode;
    uint32_t type = i->mode & S_IFMT;
    int table = kind == LX_F_SOCK ? LX_COUNT_SOCKS : LX_COUNT_TTYS;
    void *priv = NULL;
    if (kind == LX_F_TTY || kind == LX_F_PTM || kind == LX_F_SOCK) {
        if (lx_load_bad(l, !of || of > l->count[table], "open file's object"))
            return false;
        priv = l->object[table][of - 1];
    }
    bool ok = true;
    switch (kind) {
    case LX_F_PATH:
        f->ops = &lx_path_ops;
        f->flags |= O_PATH;
        return true;
    case LX_F_PLAIN:
        ok = type == S_IFDIR || type == S_IFREG;
        f->ops = !ok ? NULL : type == S_IFDIR ? i->sb->ops->dir_ops : i->sb->ops->file_ops;
        ok = f->ops != NULL;
        if (f->ops == &lx_mem_file_ops && lx_writable(f))
            i->writers++;
        break;
    case LX_F_DEVICE:
        f->ops = type == S_IFCHR ? lx_dev_ops(i->rdev_major, i->rdev_minor) : NULL;
        ok = f->ops != NULL;
        break;
    case LX_F_TTY:
        if ((ok = type == S_IFCHR)) {
            bool opened = ((struct lx_tty *)priv)->slave_opened;
            lx_tty_attach(f, priv);
            ((struct lx_tty *)priv)->slave_opened = opened;
        }
        break;
    case LX_F_PTM: {
        struct lx_tty *t = priv;
        if ((ok = type == S_IFCHR && t->is_pty && !t->master_open)) {
            f->ops = &lx_ptm_ops;
            f->priv = t;
            lx_tty_get(t);
            t->master_open = true;
        }
        break;
    }
    case LX_F_PIPE:
        if ((ok = type == S_IFIFO && i->pipe)) {
            f->ops = &lx_pipe_ops;
            f->priv = i->pipe;
            i->pipe->refs++;
            i->pipe->readers += lx_readable(f);
            i->pipe->writers += lx_writable(f);
        }
        break;
    default:
        if ((ok = type == S_IFSOCK && i->sb->kind == LX_SB_SOCK &&
                  !((struct lx_sock *)priv)->has_file)) {
            f->ops = &lx_sock_ops;
            f->priv = priv;
            ((struct lx_sock *)priv)->refs++;
            ((struct lx_sock *)priv)->has_file = true;
        }
    }
    return !lx_load_bad(l, !ok, "open file");
}

bool lx_load_file(struct lx_loaded *l, uint32_t at)
{
    uint32_t kind = lx_load_max(l, LX_F_KINDS - 1, "kind of open file"), flags = get32(l);
    uint64_t pos = snap_get_u64(l->r);
    struct lx_dentry *d = lx_load_ref(l, LX_COUNT_NAMES);
    uint32_t owner = get32(l), dead = get32(l), of = get32(l);
    if (l->r->failed || lx_load_bad(l,
                                    !d || !d->inode || pos > INT64_MAX ||
                                        ((flags & O_PATH) != 0) != (kind == LX_F_PATH),
                                    "open file"))
        return false;
    struct lx_file *f = lx_file_new(l->v, d, flags, NULL);
    if (!f)
        return lx_load_no_memory(l);
    l->object[LX_COUNT_FILES][at] = f;
    f->pos = pos;
    f->owner = owner;
    f->dead = dead;
    return load_file_of(l, f, kind, of);
}

bool lx_load_table(struct lx_loaded *l, uint32_t at)
{
    struct lx_files *t = lx_files_make(l->v);
    if (!t)
        return lx_load_no_memory(l);
    l->object[LX_COUNT_TABLES][at] = t;
    t->limit = UINT32_MAX;
    uint32_t limit = get32(l), n = lx_load_max(l, 1u << 20, "descriptors");
    for (uint32_t k = 0; k < n; k++) {
        uint32_t fd = lx_load_max(l, 1u << 20, "descriptor"), cloexec = get32(l);
        struct lx_file *f = lx_load_ref(l, LX_COUNT_FILES);
        if (l->r->failed || lx_load_bad(l, !f || lx_files_any(t, fd), "descriptor"))
            return false;
        if (lx_files_install_at(t, f, fd, cloexec) < 0)
            return lx_load_no_memory(l);
    }
    t->limit = limit;
    return true;
}

bool lx_load_context(struct lx_loaded *l, uint32_t at)
{
    uint32_t mask = get32(l) & 0777;
    struct lx_dentry *root = lx_load_ref(l, LX_COUNT_NAMES), *cwd = lx_load_ref(l, LX_COUNT_NAMES);
    if (l->r->failed || lx_load_bad(l,
                                    !root || !cwd || !root->inode || !cwd->inode ||
                                        !S_ISDIR(root->inode->mode) || !S_ISDIR(cwd->inode->mode),
                                    "directory of a process"))
        return false;
    struct lx_fs *fs = lx_fs_make(l->v, root, cwd, mask);
    if (!fs)
        return lx_load_no_memory(l);
    l->object[LX_COUNT_CONTEXTS][at] = fs;
    return true;
}

bool lx_load_locks(struct lx_loaded *l)
{
    uint32_t n = lx_load_max(l, 65536, "locks");
    for (uint32_t k = 0; k < n; k++) {
        struct lx_inode *i = lx_load_ref(l, LX_COUNT_INODES);
        uint32_t flags = get32(l);
        void *table = lx_load_ref(l, LX_COUNT_TABLES), *file = lx_load_ref(l, LX_COUNT_FILES);
        struct lx_lock lock = {
            .flock = flags & 1, .write = flags & 2, .owner = file ? file : table, .pid = get32(l)};
        lock.start = snap_get_u64(l->r);
        lock.end = snap_get_u64(l->r);
        bool of_file = lock.flock || lock.pid == UINT32_MAX;
        if (l->r->failed || lx_load_bad(l,
                                        !i || (file != NULL) != of_file ||
                                            (table != NULL) == of_file || lock.start > lock.end,
                                        "lock"))
            return false;
        struct lx_lock *own = malloc(sizeof *own);
        if (!own)
            return lx_load_no_memory(l);
        *own = lock;
        list_append(&i->locks, &own->link);
        l->v->lock_count++;
    }
    return true;
}

bool lx_load_console(struct lx_loaded *l)
{
    struct lx_vfs *v = l->v;
    bool tty = lx_config_of(v->lx)->tty;
    struct lx_pipe *p[3];
    for (int k = 0; k < 3; k++)
        p[k] = lx_load_ref(l, LX_COUNT_PIPES);
    struct lx_tty *t = lx_load_ref(l, LX_COUNT_TTYS);
    v->con_eof = !get32(l);
    l->next_port = lx_load_max(l, 60999, "port");
    l->next_auto = get32(l);
    if (l->r->failed ||
        lx_load_bad(l,
                    tty ? !t || t->is_pty : !p[0] || !p[1] || !p[2] || p[0] == p[1] || p[0] == p[2],
                    "console"))
        return false;
    if (tty) {
        v->con_tty = t;
        lx_tty_get(t);
        t->raw->console = t->out->console = true;
        return true;
    }
    for (int k = 0; k < 3; k++) {
        v->con[k] = p[k];
        p[k]->refs++;
        p[k]->console = true;
        p[k]->writers += k == 0 && !v->con_eof;
        p[k]->readers += k != 0;
    }
    return true;
}
