/* Pseudo-terminals: /dev/ptmx, the pairs, and the file system /dev/pts (pts(4)). */
#include "engine/linux/tty.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PTYS_MAX 1024u

struct lx_tty *lx_pty_find(struct lx_vfs *v, uint32_t index)
{
    return index < v->pty_cap ? v->ptys[index] : NULL;
}

void lx_pty_gone(struct lx_tty *t)
{
    t->vfs->ptys[t->index] = NULL;
    t->vfs->pty_count--;
}

/* Loading: t gets this number. */
int lx_pty_claim(struct lx_tty *t, uint32_t index)
{
    struct lx_vfs *v = t->vfs;
    if (index >= v->pty_cap) {
        uint32_t cap = MAX(v->pty_cap * 2, ALIGN_UP(index + 1, 8u));
        struct lx_tty **p = realloc(v->ptys, cap * sizeof *p);
        if (!p)
            return -ENOMEM;
        memset(p + v->pty_cap, 0, (cap - v->pty_cap) * sizeof *p);
        v->ptys = p;
        v->pty_cap = cap;
    }
    v->ptys[index] = t;
    v->pty_count++;
    return 0;
}

static int claim_index(struct lx_vfs *v, uint32_t *index)
{
    if (v->pty_count == v->pty_cap) {
        uint32_t cap = v->pty_cap ? v->pty_cap * 2 : 8;
        struct lx_tty **p = cap <= PTYS_MAX ? realloc(v->ptys, cap * sizeof *p) : NULL;
        if (!p)
            return -ENOSPC;
        memset(p + v->pty_cap, 0, (cap - v->pty_cap) * sizeof *p);
        v->ptys = p;
        v->pty_cap = cap;
    }
    for (*index = 0; v->ptys[*index];
         ++*index) /* at most PTYS_MAX, and only when a terminal is made */
        ;
    return 0;
}

int64_t lx_ptmx_open(struct lx_call *c, struct lx_file *f)
{
    struct lx_vfs *v = f->vfs;
    struct lx_process *p = lx_call_process(c);
    uint32_t index;
    int e = claim_index(v, &index);
    if (e)
        return e;
    struct lx_tty *t = lx_tty_new(v, 136, index);
    if (!t)
        return -ENOMEM;
    v->ptys[index] = t;
    v->pty_count++;
    t->locked = t->master_open = true;
    t->uid = p->euid;
    t->gid = 5; /* tty */
    t->mode = S_IFCHR | 0620;
    f->ops = &lx_ptm_ops;
    f->priv = t; /* takes over the reference */
    return 0;
}

/* TIOCGPTPEER: the slave, opened without its name. */
int64_t lx_pty_peer(struct lx_call *c, struct lx_tty *t, uint32_t flags)
{
    struct lx_vfs *v = t->vfs;
    struct lx_dentry *d;
    char name[12];
    int n = snprintf(name, sizeof name, "%u", t->index);
    int64_t e = lx_pts_fs_ops.lookup(v->sb[LX_SB_PTS].root, name, (size_t)n, &d);
    if (e)
        return e;
    struct lx_file *f = NULL;
    bool locked = t->locked;
    t->locked = false;
    e = lx_file_open(c, d, flags & (O_ACCMODE | O_NOCTTY | O_NONBLOCK), &f);
    t->locked = locked;
    lx_dentry_put(d);
    if (e)
        return e;
    e = lx_files_install(lx_call_process(c)->files, f, flags & O_CLOEXEC);
    lx_file_put(f);
    return e;
}

/* ---- /dev/pts ---- */

static int pts_inode(struct lx_sb *sb, uint32_t number, uint32_t mode, uint32_t major,
                     uint32_t minor, struct lx_inode **out)
{
    struct lx_inode *i = lx_inode_new(sb, mode);
    if (!i)
        return -ENOMEM;
    i->ino = number + 3;
    i->rdev_major = major;
    i->rdev_minor = minor;
    *out = i;
    return 0;
}

/* Names are made when they are looked for, and never kept: terminals come and go by themselves. */
static int pts_lookup(struct lx_dentry *dir, const char *name, size_t n, struct lx_dentry **out)
{
    struct lx_vfs *v = dir->sb->vfs;
    struct lx_inode *i = NULL;
    int e = 0;
    if (n == 4 && !memcmp(name, "ptmx", 4)) {
        e = pts_inode(dir->sb, (uint32_t)-1, S_IFCHR, 5, 2, &i);
    } else {
        uint32_t index = 0;
        size_t k = 0;
        while (k < n && n < 10 && name[k] >= '0' && name[k] <= '9' && !(k && name[0] == '0'))
            index = index * 10 + (uint32_t)(name[k++] - '0');
        struct lx_tty *t = k == n && n ? lx_pty_find(v, index) : NULL;
        if (t && t->master_open && !(e = pts_inode(dir->sb, index, t->mode, 136, index, &i))) {
            i->uid = t->uid;
            i->gid = t->gid;
            i->atime = i->mtime = i->ctime = t->made;
        }
    }
    if (e)
        return e;
    *out = lx_dentry_new(dir->sb, dir, name, n, i);
    if (*out)
        return 0;
    if (i)
        lx_inode_put(i);
    return -ENOMEM;
}

static int64_t pts_readdir(struct lx_call *c, struct lx_file *f, lx_emit emit, void *ctx)
{
    (void)c;
    struct lx_vfs *v = f->vfs;
    static const char *const fixed[] = {".", "..", "ptmx"};
    for (; f->pos < 3; f->pos++) {
        uint64_t ino = f->pos == 2   ? 2
                       : f->pos == 1 ? v->sb[LX_SB_DEV].root->inode->ino
                                     : f->inode->ino;
        if (!emit(ctx, fixed[f->pos], strlen(fixed[f->pos]), ino, f->pos == 2 ? 2 : 4, f->pos + 1))
            return 0;
    }
    for (; f->pos - 3 < v->pty_cap; f->pos++) {
        char name[12];
        uint32_t index = (uint32_t)f->pos - 3;
        if (!v->ptys[index] || !v->ptys[index]->master_open)
            continue;
        int n = snprintf(name, sizeof name, "%u", index);
        if (!emit(ctx, name, (size_t)n, index + 3, 2, f->pos + 1))
            return 0;
    }
    return 0;
}

static const struct lx_file_ops pts_dir_ops = {.readdir = pts_readdir, .seek = lx_dir_seek};

const struct lx_fs_ops lx_pts_fs_ops = {.type = "devpts",
                                        .source = "devpts",
                                        .mount_options =
                                            "rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=000",
                                        .magic = 0x1cd1,
                                        .lookup = pts_lookup,
                                        .dir_ops = &pts_dir_ops};

int lx_pts_root(struct lx_sb *sb)
{
    struct lx_inode *i = lx_inode_new(sb, S_IFDIR | 0755);
    if (!i)
        return -ENOMEM;
    i->nlink = 2;
    i->ino = 1;
    sb->root = lx_dentry_new(sb, NULL, "", 0, i);
    if (!sb->root)
        lx_inode_put(i);
    return sb->root ? 0 : -ENOMEM;
}
