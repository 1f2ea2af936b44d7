/* The file side into a snapshot. */
#include "engine/linux/fs_save.h"

#include <stdlib.h>
#include <string.h>

struct saver {
    struct lx_vfs *v;
    struct snap_writer *w;
    struct err *err;
    struct lx_dentry **names;
    struct lx_pipe **pipes;
    uint32_t name_cap, pipe_cap, count[LX_COUNTS];
    bool failed;
};

static void *push(struct saver *s, void *list, uint32_t count, uint32_t *cap)
{
    if (count < *cap)
        return list;
    uint32_t more = *cap ? *cap * 2 : 64;
    void *p = realloc(list, more * sizeof(void *));
    if (!p) {
        s->failed = true;
        return list;
    }
    *cap = more;
    return p;
}

static void add_pipe(struct saver *s, struct lx_pipe *p)
{
    if (!p || p->snap_id)
        return;
    s->pipes = push(s, s->pipes, s->count[LX_COUNT_PIPES], &s->pipe_cap);
    if (s->failed)
        return;
    s->pipes[s->count[LX_COUNT_PIPES]++] = p;
    p->snap_id = s->count[LX_COUNT_PIPES];
}

/* d and its parents, parents first. Without recursion: a guest makes paths as deep as it likes. */
static void add_name(struct saver *s, struct lx_dentry *d)
{
    while (d && !d->snap_id && !s->failed) {
        struct lx_dentry *top = d;
        while (top->parent && !top->parent->snap_id)
            top = top->parent;
        s->names = push(s, s->names, s->count[LX_COUNT_NAMES], &s->name_cap);
        if (s->failed)
            return;
        s->names[s->count[LX_COUNT_NAMES]++] = top;
        top->snap_id = s->count[LX_COUNT_NAMES];
    }
}

#define EACH(var, type, head, link)                                                       \
    for (struct list *p_##var = (head)->next; p_##var != (head); p_##var = p_##var->next) \
        for (type *var = list_entry(p_##var, type, link); var; var = NULL)

/* fresh: forget the numbers of an earlier save; else give new ones. */
static void each_pipe(struct saver *s, bool fresh)
{
    struct lx_vfs *v = s->v;
    struct lx_pipe *p[3];
#define ONE(x)                \
    do {                      \
        if ((x) && fresh)     \
            (x)->snap_id = 0; \
        else                  \
            add_pipe(s, x);   \
    } while (0)
    EACH(i, struct lx_inode, &v->inodes, all)
    ONE(i->pipe);
    EACH(t, struct lx_tty, &v->ttys, all)
    {
        ONE(t->raw);
        ONE(t->out);
    }
    EACH(k, struct lx_sock, &v->socks, all)
    ONE(k->rx);
    memcpy(p, v->con, sizeof p);
    for (int k = 0; k < 3; k++)
        ONE(p[k]);
#undef ONE
}

static void clear_chain(struct lx_dentry *d)
{
    for (; d; d = d->parent)
        d->snap_id = 0;
}

static void each_name(struct saver *s, bool fresh)
{
    struct lx_vfs *v = s->v;
#define ONE(x) (fresh ? clear_chain(x) : add_name(s, x))
    for (int k = 0; k < LX_SB_COUNT; k++)
        if (v->sb[k].root)
            ONE(v->sb[k].root);
    for (size_t b = 0; b <= v->names.mask; b++)
        for (struct lx_hnode *n = v->names.bucket[b]; n; n = n->next)
            if (fresh)
                container_of(n, struct lx_dentry, hash)->snap_id = 0;
            else
                add_name(s, container_of(n, struct lx_dentry, hash));
    EACH(f, struct lx_file, &v->files, all)
    ONE(f->dentry);
    EACH(c, struct lx_fs, &v->contexts, all)
    {
        ONE(c->root);
        ONE(c->cwd);
    }
#undef ONE
}

static void number_all(struct saver *s)
{
    struct lx_vfs *v = s->v;
    lx_lru_shrink(v, 0); /* what only caches the image is not part of a guest */
    each_pipe(s, true);
    each_name(s, true);
    EACH(i, struct lx_inode, &v->inodes, all)
    {
        i->snap_id = ++s->count[LX_COUNT_INODES];
        if (i->object)
            mem_object_set_snap_id(i->object, 4 * (uint64_t)i->snap_id + 1);
        if (i->lower_object)
            mem_object_set_snap_id(i->lower_object, 4 * (uint64_t)i->snap_id + 3);
    }
    EACH(t, struct lx_tty, &v->ttys, all)
    t->snap_id = ++s->count[LX_COUNT_TTYS];
    EACH(k, struct lx_sock, &v->socks, all)
    k->snap_id = ++s->count[LX_COUNT_SOCKS];
    EACH(f, struct lx_file, &v->files, all)
    f->snap_id = ++s->count[LX_COUNT_FILES];
    EACH(b, struct lx_files, &v->tables, all)
    b->snap_id = ++s->count[LX_COUNT_TABLES];
    EACH(c, struct lx_fs, &v->contexts, all)
    c->snap_id = ++s->count[LX_COUNT_CONTEXTS];
    each_pipe(s, false);
    each_name(s, false);
}

static void put32(struct saver *s, uint32_t x)
{
    snap_put_u32(s->w, x);
}

static void put64(struct saver *s, uint64_t x)
{
    snap_put_u64(s->w, x);
}

static void put_time(struct saver *s, struct lx_time t)
{
    put64(s, (uint64_t)t.s);
    put32(s, t.ns);
}

static void save_pipe(struct saver *s, struct lx_pipe *p)
{
    uint32_t first = p->len ? MIN(p->len, p->alloc - p->head) : 0;
    put32(s, p->cap);
    put32(s, p->opens_r);
    put32(s, p->opens_w);
    put64(s, p->len); /* with what follows as snap_put_bytes writes it */
    if (p->len) {
        buf_put(&s->w->out, p->data + p->head, first);
        buf_put(&s->w->out, p->data, p->len - first);
    }
}

static res_t save_inode(struct saver *s, struct lx_inode *i)
{
    uint32_t flags = (i->has_nid ? LX_I_NID : 0) | (i->dirty ? LX_I_DIRTY : 0) |
                     (i->lower ? LX_I_LOWER : 0) | (i->charged ? LX_I_CHARGED : 0) |
                     (i->object ? LX_I_OBJECT : 0) | (i->lower_object ? LX_I_MAPPED : 0);
    put32(s, i->sb->kind);
    put32(s, flags);
    put64(s, i->ino);
    put64(s, i->nid);
    put32(s, i->mode);
    put32(s, i->uid);
    put32(s, i->gid);
    put32(s, i->nlink);
    put32(s, i->rdev_major);
    put32(s, i->rdev_minor);
    put_time(s, i->atime);
    put_time(s, i->mtime);
    put_time(s, i->ctime);
    put64(s, i->next_seq);
    put64(s, i->proc);
    put32(s, i->pipe ? i->pipe->snap_id : 0);
    snap_put_str(s->w, i->target);
    return i->object ? mem_object_save(i->object, s->w, s->err) : OK;
}

static void save_name(struct saver *s, struct lx_dentry *d)
{
    put32(s, d->sb->kind);
    put32(s, (d->hashed ? LX_D_HASHED : 0) | (d->upper ? LX_D_UPPER : 0) |
                 (d->whiteout ? LX_D_WHITEOUT : 0) | (d->covers ? LX_D_COVERS : 0) |
                 (d->deleted ? LX_D_DELETED : 0));
    put32(s, d->parent ? d->parent->snap_id : 0);
    put32(s, d->inode ? d->inode->snap_id : 0);
    put64(s, d->slot != UINT32_MAX ? d->parent->inode->slots[d->slot].seq : 0);
    snap_put_bytes(s->w, d->name, d->len);
}

static void save_tty(struct saver *s, struct lx_tty *t)
{
    uint32_t words[] = {t->major,        t->minor,  t->locked,  t->slave_opened, t->uid,
                        t->gid,          t->mode,   t->iflag,   t->oflag,        t->cflag,
                        t->lflag,        t->ispeed, t->ospeed,  t->line,         t->sid,
                        t->pgrp,         t->head,   t->tail,    t->canon,        t->column,
                        t->canon_column, t->lnext,  t->erasing, t->stopped,      t->raw->snap_id,
                        t->out->snap_id};
    for (size_t k = 0; k < ARRAY_LEN(words); k++)
        put32(s, words[k]);
    put_time(s, t->made);
    snap_put_bytes(s->w, t->cc, sizeof t->cc);
    snap_put_bytes(s->w, &t->size, sizeof t->size);
    snap_put_bytes(s->w, t->in, sizeof t->in);
    snap_put_bytes(s->w, t->eol, sizeof t->eol);
}

static void save_addr(struct saver *s, const struct lx_addr *a)
{
    snap_put_bytes(s->w, a->b, a->len);
}

static void save_sock(struct saver *s, struct lx_sock *k)
{
    put32(s, k->family);
    put32(s, k->type);
    put32(s, k->protocol);
    put32(s, k->state);
    put32(s, (k->bound ? LX_S_BOUND : 0) | (k->in_ports ? LX_S_NAMED : 0) |
                 (k->shut_rd ? LX_S_SHUT_RD : 0) | (k->shut_wr ? LX_S_SHUT_WR : 0) |
                 (k->peer_gone ? LX_S_PEER_GONE : 0) | (k->connecting ? LX_S_CONNECTING : 0) |
                 (k->peer_ref ? LX_S_PEER_REF : 0));
    put64(s, k->ino);
    put64(s, k->in_ports ? k->port.hash : 0);
    save_addr(s, &k->local);
    save_addr(s, &k->remote);
    uint32_t words[] = {(uint32_t)k->err,
                        k->peer ? k->peer->snap_id : 0,
                        k->rx ? k->rx->snap_id : 0,
                        k->node ? k->node->snap_id : 0,
                        k->backlog_max,
                        k->cred_pid,
                        k->cred_uid,
                        k->cred_gid,
                        k->peer_pid,
                        k->peer_uid,
                        k->peer_gid,
                        (uint32_t)k->sndbuf,
                        (uint32_t)k->rcvbuf};
    for (size_t n = 0; n < ARRAY_LEN(words); n++)
        put32(s, words[n]);
    put64(s, k->rx_total);
    put64(s, k->rx_taken);
    put64(s, k->rcvtimeo_ns);
    put64(s, k->sndtimeo_ns);
    snap_put_bytes(s->w, k->opt, sizeof k->opt);
    snap_put_bytes(s->w, k->tcp_opt, sizeof k->tcp_opt);
    snap_put_bytes(s->w, k->ip_opt, sizeof k->ip_opt);
    snap_put_bytes(s->w, k->linger, sizeof k->linger);
}

static void save_scm(struct saver *s, const struct lx_scm *scm)
{
    put32(s, scm ? scm->count : 0);
    for (uint32_t n = 0; scm && n < scm->count; n++)
        put32(s, scm->file[n]->snap_id);
}

static uint32_t list_length(const struct list *l)
{
    uint32_t n = 0;
    list_for_each(p, l) n++;
    return n;
}

/* What waits in a socket: connections, packets, files in the stream. */
static void save_queue(struct saver *s, struct lx_sock *k)
{
    put32(s, list_length(&k->backlog));
    EACH(b, struct lx_sock, &k->backlog, waiting)
    put32(s, b->snap_id);
    put32(s, list_length(&k->packets));
    EACH(p, struct lx_packet, &k->packets, link)
    {
        save_addr(s, &p->from);
        snap_put_bytes(s->w, p->data, p->bytes);
        save_scm(s, p->scm);
    }
    put32(s, list_length(&k->marks));
    EACH(m, struct lx_mark, &k->marks, link)
    {
        put64(s, m->at);
        save_scm(s, m->scm);
    }
}

static enum lx_file_kind kind_of(const struct lx_file *f)
{
    if (f->flags & O_PATH)
        return LX_F_PATH;
    return f->ops == &lx_tty_ops     ? LX_F_TTY
           : f->ops == &lx_ptm_ops   ? LX_F_PTM
           : f->ops == &lx_pipe_ops  ? LX_F_PIPE
           : f->ops == &lx_sock_ops  ? LX_F_SOCK
           : S_ISCHR(f->inode->mode) ? LX_F_DEVICE
                                     : LX_F_PLAIN;
}

static void save_file(struct saver *s, struct lx_file *f)
{
    enum lx_file_kind kind = kind_of(f);
    uint32_t of = 0;
    if (kind == LX_F_TTY || kind == LX_F_PTM)
        of = ((struct lx_tty *)f->priv)->snap_id;
    else if (kind == LX_F_SOCK)
        of = ((struct lx_sock *)f->priv)->snap_id;
    put32(s, kind);
    put32(s, f->flags);
    put64(s, f->pos);
    put32(s, f->dentry->snap_id);
    put32(s, f->owner);
    put32(s, f->dead);
    put32(s, of);
}

static void save_table(struct saver *s, struct lx_files *t)
{
    put32(s, t->limit);
    put32(s, t->open_count);
    for (uint32_t fd = 0; fd < t->cap; fd++)
        if (t->file[fd]) {
            put32(s, fd);
            put32(s, lx_files_cloexec(t, fd));
            put32(s, t->file[fd]->snap_id);
        }
}

static void save_locks(struct saver *s)
{
    put32(s, s->v->lock_count);
    EACH(i, struct lx_inode, &s->v->inodes, all)
    EACH(l, struct lx_lock, &i->locks, link)
    {
        bool of_file = l->flock || l->pid == UINT32_MAX;
        uint32_t table = of_file ? 0 : ((const struct lx_files *)l->owner)->snap_id;
        uint32_t file = of_file ? ((const struct lx_file *)l->owner)->snap_id : 0;
        put32(s, i->snap_id);
        put32(s, (l->flock ? 1u : 0) | (l->write ? 2u : 0));
        put32(s, table);
        put32(s, file);
        put32(s, l->pid);
        put64(s, l->start);
        put64(s, l->end);
    }
}

static res_t save_all(struct saver *s)
{
    struct lx_vfs *v = s->v;
    for (int k = 0; k < LX_COUNTS; k++)
        put32(s, s->count[k]);
    for (uint32_t k = 0; k < s->count[LX_COUNT_PIPES]; k++)
        save_pipe(s, s->pipes[k]);
    EACH(i, struct lx_inode, &v->inodes, all)
    if (save_inode(s, i) != OK)
        return FAIL;
    for (uint32_t k = 0; k < s->count[LX_COUNT_NAMES]; k++)
        save_name(s, s->names[k]);
    for (int k = 0; k < LX_SB_COUNT; k++) {
        put64(s, v->sb[k].next_ino);
        put32(s, v->sb[k].root ? v->sb[k].root->snap_id : 0);
        put32(s, v->sb[k].mountpoint ? v->sb[k].mountpoint->snap_id : 0);
    }
    EACH(t, struct lx_tty, &v->ttys, all)
    save_tty(s, t);
    EACH(k, struct lx_sock, &v->socks, all)
    save_sock(s, k);
    EACH(f, struct lx_file, &v->files, all)
    save_file(s, f);
    EACH(k, struct lx_sock, &v->socks, all)
    save_queue(s, k);
    EACH(t, struct lx_files, &v->tables, all)
    save_table(s, t);
    EACH(c, struct lx_fs, &v->contexts, all)
    {
        put32(s, c->umask);
        put32(s, c->root->snap_id);
        put32(s, c->cwd->snap_id);
    }
    save_locks(s);
    for (int k = 0; k < 3; k++)
        put32(s, v->con[k] ? v->con[k]->snap_id : 0);
    put32(s, v->con_tty ? v->con_tty->snap_id : 0);
    put32(s, !v->con_eof);
    put32(s, v->net ? v->net->next_port : 32768);
    put32(s, v->net ? v->net->next_auto : 0);
    return OK;
}

res_t lx_vfs_save(struct lx_vfs *v, struct snap_writer *w, struct err *err)
{
    struct saver s = {.v = v, .w = w, .err = err};
    number_all(&s);
    snap_begin(w, LX_VFS_TAG, LX_VFS_VERSION);
    res_code_t rc =
        s.failed ? err_set(err, ERR_NO_MEMORY, "saving the guest's files") : save_all(&s);
    snap_end(w);
    free(s.names);
    free(s.pipes);
    return rc;
}

uint64_t lx_files_snap_id(const struct lx_files *t)
{
    return t->snap_id;
}

uint64_t lx_fs_snap_id(const struct lx_fs *fs)
{
    return fs->snap_id;
}

uint64_t lx_file_snap_id(const struct lx_file *f)
{
    return f->snap_id;
}

uint64_t lx_tty_snap_id(const struct lx_tty *t)
{
    return t->snap_id;
}
