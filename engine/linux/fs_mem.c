/*
 * The memory file system over an image (/), or over nothing (/dev): names.
 */
#include "engine/linux/vfs.h"

#include <stdlib.h>
#include <string.h>

/* ---- slots: the names of a directory that are not simply the image's, in the order they were made ---- */

static void slots_compact(struct lx_inode *dir)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < dir->slot_count; k++)
        if (dir->slots[k].d) {
            dir->slots[n] = dir->slots[k];
            dir->slots[n].d->slot = n;
            n++;
        }
    dir->slot_count = n;
}

static int slots_reserve(struct lx_inode *dir, uint32_t more)
{
    if (dir->slot_cap - dir->slot_count >= more)
        return 0;
    uint32_t used = 0;
    for (uint32_t k = 0; k < dir->slot_count; k++)
        used += dir->slots[k].d != NULL;
    if (used + more <= dir->slot_cap / 2) {
        slots_compact(dir);
        return 0;
    }
    uint32_t cap = dir->slot_cap ? dir->slot_cap * 2 : 8;
    struct lx_slot *s = cap > UINT32_MAX / 64 ? NULL : realloc(dir->slots, cap * sizeof *s);
    if (!s)
        return -ENOMEM;
    dir->slots = s;
    dir->slot_cap = cap;
    return 0;
}

/* Room was reserved. Takes the reference that rule (4) counts; the quota is charged without question (checked before). */
static void slot_add(struct lx_dentry *d)
{
    struct lx_inode *dir = d->parent->inode;
    d->slot = dir->slot_count;
    dir->slots[dir->slot_count++] = (struct lx_slot){dir->next_seq++, lx_dentry_get(d)};
    dir->live_count += d->inode != NULL;
    d->sb->vfs->used_bytes += LX_INODE_COST;
}

static void slot_del(struct lx_dentry *d)
{
    struct lx_inode *dir = d->parent->inode;
    dir->slots[d->slot].d = NULL;
    dir->live_count -= d->inode != NULL;
    d->slot = UINT32_MAX;
    d->upper = d->whiteout = false;
    lx_uncharge(d->sb->vfs, LX_INODE_COST);
    lx_dentry_put(d); /* the caller has one of its own */
}

/* Loading a snapshot: the slots of a directory come in any order and are sorted at the end. */
void lx_slot_restore(struct lx_dentry *d, uint64_t seq)
{
    struct lx_inode *dir = d->parent->inode;
    if (slots_reserve(dir, 1))
        return;
    slot_add(d);
    dir->slots[d->slot].seq = seq;
}

static int by_seq(const void *a, const void *b)
{
    const struct lx_slot *x = a, *y = b;
    return (x->seq > y->seq) - (x->seq < y->seq);
}

int lx_slots_sort(struct lx_inode *dir)
{
    qsort(dir->slots, dir->slot_count, sizeof *dir->slots, by_seq);
    for (uint32_t k = 0; k < dir->slot_count; k++)
        dir->slots[k].d->slot = k;
    uint64_t seq = 0;
    for (uint32_t k = 0; k < dir->slot_count; k++) {
        if (dir->slots[k].seq <= seq || dir->slots[k].seq >= dir->next_seq)
            return -EINVAL;
        seq = dir->slots[k].seq;
    }
    return 0;
}

void lx_name_drop(struct lx_dentry *d)
{
    lx_dentry_get(d);
    lx_dentry_unhash(d);
    if (d->slot != UINT32_MAX)
        slot_del(d);
    lx_dentry_put(d);
}

/* ---- inodes of the image ---- */

struct lx_inode *lx_mem_inode_known(struct lx_vfs *v, uint64_t nid)
{
    uint64_t h = lx_hash_mix(nid);
    for (struct lx_hnode *n = lx_hash_first(&v->by_nid, h); n; n = n->next) {
        struct lx_inode *i = container_of(n, struct lx_inode, by_nid);
        if (i->nid == nid)
            return i;
    }
    return NULL;
}

struct lx_inode *lx_mem_inode_by_nid(struct lx_sb *sb, uint64_t nid, int *error)
{
    struct lx_vfs *v = sb->vfs;
    struct lx_inode *known = lx_mem_inode_known(v, nid);
    if (known) {
        if (!known->refs++ && known->orphaned) {
            list_remove(&known->orphan);
            known->orphaned = false;
        }
        return known;
    }
    struct img_inode ii;
    struct err err;
    if (img_inode(v->img, nid, &ii, &err) != OK) {
        *error = err.code == ERR_NO_MEMORY ? -ENOMEM : -EIO;
        return NULL;
    }
    struct lx_inode *i = lx_inode_new(sb, ii.mode);
    if (!i) {
        *error = -ENOMEM;
        return NULL;
    }
    i->ino = nid + 1;
    i->nid = nid;
    i->has_nid = i->lower = true;
    i->img = ii;
    i->uid = ii.uid;
    i->gid = ii.gid;
    i->nlink = ii.nlink;
    i->rdev_major = ii.rdev_major;
    i->rdev_minor = ii.rdev_minor;
    i->size = ii.size;
    i->atime = i->mtime = i->ctime = (struct lx_time){ii.mtime, ii.mtime_ns};
    lx_hash_add(&v->by_nid, &i->by_nid, lx_hash_mix(nid));
    return i;
}

int lx_mem_root(struct lx_sb *sb)
{
    int error = -ENOMEM;
    struct lx_inode *i = NULL;
    bool image = sb->kind == LX_SB_ROOT && sb->vfs->img;
    if (image) {
        sb->next_ino = img_bytes(sb->vfs->img) / 32 + 1024; /* above every nid + 1 */
        i = lx_mem_inode_by_nid(sb, img_root(sb->vfs->img), &error);
    } else {
        i = lx_inode_new(sb, S_IFDIR | 0755);
    }
    if (!i)
        return error;
    if (!S_ISDIR(i->mode)) {
        lx_inode_put(i);
        return -ENOTDIR;
    }
    if (!image)
        i->nlink = 2;
    sb->root = lx_dentry_new(sb, NULL, "", 0, i);
    if (!sb->root) {
        lx_inode_put(i);
        return -ENOMEM;
    }
    return 0;
}

/* ---- look-up ---- */

static int lower_find(struct lx_dentry *dir, const char *name, size_t n, uint64_t *nid)
{
    struct err err;
    if (!dir->inode->lower)
        return -ENOENT;
    if (img_lookup(dir->sb->vfs->img, &dir->inode->img, name, n, nid, &err) == OK)
        return 0;
    return err.code == ERR_NOT_FOUND ? -ENOENT : err.code == ERR_NO_MEMORY ? -ENOMEM : -EIO;
}

int lx_mem_lookup(struct lx_dentry *dir, const char *name, size_t n, struct lx_dentry **out)
{
    struct lx_dentry *d = lx_dentry_find(dir, name, n);
    if (!d) {
        uint64_t nid;
        struct lx_inode *i = NULL;
        int e = lower_find(dir, name, n, &nid);
        if (!e)
            i = lx_mem_inode_by_nid(dir->sb, nid, &e);
        if (e && e != -ENOENT)
            return e;
        d = lx_dentry_new(dir->sb, dir, name, n, i);
        if (!d) {
            if (i)
                lx_inode_put(i);
            return -ENOMEM;
        }
        lx_dentry_hash(d);
    }
    *out = d;
    return 0;
}

static int mem_readlink(struct lx_process *p_unused, struct lx_dentry *d, char **text)
{
    (void)p_unused;
    struct lx_inode *i = d->inode;
    if (i->target) {
        *text = strdup(i->target);
        return *text ? 0 : -ENOMEM;
    }
    size_t n = 0;
    struct err err;
    char *p = malloc(LX_PATH_MAX);
    if (!p)
        return -ENOMEM;
    if (img_readlink(i->sb->vfs->img, &i->img, p, LX_PATH_MAX, &n, &err) != OK ||
        n >= LX_PATH_MAX) {
        free(p);
        return -EIO;
    }
    *text = p;
    return 0;
}

/* ---- making ---- */

/* A negative name becomes positive (room for its slot was reserved). Takes the reference to i. */
static void name_on(struct lx_dentry *d, struct lx_inode *i)
{
    bool covers = d->whiteout;
    lx_dentry_get(d);
    if (d->slot != UINT32_MAX)
        slot_del(d);
    d->inode = i;
    d->upper = true;
    d->covers = covers;
    slot_add(d);
    lx_dentry_put(d);
    lx_inode_touch(d->parent->inode, true);
}

int lx_mem_make(struct lx_dentry *d, const struct lx_make *m)
{
    struct lx_vfs *v = d->sb->vfs;
    struct lx_inode *dir = d->parent->inode;
    int e = slots_reserve(dir, 1);
    if (e)
        return e;
    char *target = NULL;
    size_t extra = m->target ? strlen(m->target) : 0;
    if ((e = lx_charge(v, 2 * LX_INODE_COST +
                              extra))) /* the name's share is charged again by slot_add */
        return e;
    struct lx_inode *i = NULL;
    if ((m->target && !(target = strdup(m->target))) || !(i = lx_inode_new(d->sb, m->mode))) {
        free(target);
        lx_uncharge(v, 2 * LX_INODE_COST + extra);
        return -ENOMEM;
    }
    lx_uncharge(v, LX_INODE_COST);
    i->charged = true;
    i->charged_bytes = extra;
    i->target = target;
    i->uid = m->uid;
    i->gid = m->gid;
    if (dir->mode & S_ISGID) {
        i->gid = dir->gid;
        if (S_ISDIR(m->mode))
            i->mode |= S_ISGID;
    }
    i->rdev_major = m->rdev_major;
    i->rdev_minor = m->rdev_minor;
    if (S_ISDIR(m->mode)) {
        i->nlink = 2;
        dir->nlink++;
    }
    name_on(d, i);
    return 0;
}

int lx_mem_link(struct lx_dentry *d, struct lx_inode *i)
{
    struct lx_vfs *v = d->sb->vfs;
    int e = slots_reserve(d->parent->inode, 1);
    if (!e)
        e = lx_charge(v, LX_INODE_COST);
    if (e)
        return e;
    lx_uncharge(v, LX_INODE_COST);
    i->nlink++;
    lx_inode_touch(i, false);
    name_on(d, lx_inode_get(i));
    return 0;
}

/* ---- removing ---- */

bool lx_mem_dir_empty(struct lx_dentry *d)
{
    struct lx_inode *dir = d->inode;
    if (dir->live_count)
        return false;
    if (!dir->lower)
        return true;
    struct err err;
    struct img_dirent de;
    bool end = false;
    for (uint64_t cursor = 0;;) {
        if (img_readdir(dir->sb->vfs->img, &dir->img, &cursor, &de, &end, &err) != OK || end)
            return true;
        if (!strcmp(de.name, ".") || !strcmp(de.name, ".."))
            continue;
        struct lx_dentry *c = lx_dentry_find(d, de.name, de.name_bytes);
        bool hidden = c && c->whiteout;
        if (c)
            lx_dentry_put(c);
        if (!hidden)
            return false;
    }
}

/* The whiteouts of a directory that goes. */
static void drop_whiteouts(struct lx_inode *dir)
{
    for (uint32_t k = 0; k < dir->slot_count; k++) {
        struct lx_dentry *w = dir->slots[k].d;
        if (!w)
            continue;
        lx_dentry_get(w);
        lx_dentry_unhash(w);
        slot_del(w);
        lx_dentry_put(w);
    }
    dir->slot_count = 0;
}

/* The inode lost the name d; dir: its directory. */
static void inode_unlinked(struct lx_inode *dir, struct lx_inode *i)
{
    if (S_ISDIR(i->mode)) {
        drop_whiteouts(i);
        i->nlink = 0;
        dir->nlink--;
    } else if (i->nlink) {
        i->nlink--;
    }
    lx_inode_touch(i, false);
    if (!i->nlink)
        lx_inode_unpin(i);
}

/* A whiteout for the place of d, not yet in the table; NULL if none is needed or (with *e) no memory. */
static struct lx_dentry *whiteout_for(struct lx_dentry *d, int *e)
{
    if (d->upper && !d->covers)
        return NULL;
    struct lx_dentry *w = lx_dentry_new(d->sb, d->parent, d->name, d->len, NULL);
    if (w)
        w->whiteout = true;
    else
        *e = -ENOMEM;
    return w;
}

static void whiteout_on(struct lx_dentry *w)
{
    if (!w)
        return;
    lx_dentry_hash(w);
    slot_add(w);
    lx_dentry_put(w);
}

int lx_mem_remove(struct lx_dentry *d)
{
    struct lx_inode *dir = d->parent->inode;
    int e = slots_reserve(dir, 1);
    struct lx_dentry *w = e ? NULL : whiteout_for(d, &e);
    if (e)
        return e;
    lx_dentry_unhash(d);
    if (d->slot != UINT32_MAX)
        slot_del(d);
    d->deleted = true;
    whiteout_on(w);
    lx_inode_touch(dir, true);
    inode_unlinked(dir, d->inode);
    return 0;
}

/* ---- renaming ---- */

struct place {
    struct lx_dentry *parent;
    char *name;
    uint8_t len;
    bool covers;
};

static bool place_of(struct lx_dentry *d, struct place *p)
{
    *p = (struct place){d->parent, strdup(d->name), d->len,
                        d->whiteout || d->covers || (d->inode && !d->upper)};
    return p->name != NULL;
}

static void detach(struct lx_dentry *d)
{
    lx_dentry_unhash(d);
    if (d->slot != UINT32_MAX)
        slot_del(d);
}

/* d, detached, comes to a place; takes over p's name. */
static void attach(struct lx_dentry *d, struct place *p)
{
    struct lx_dentry *old = d->parent;
    d->parent = lx_dentry_get(p->parent);
    free(d->name);
    d->name = p->name;
    d->len = p->len;
    d->upper = true;
    d->covers = p->covers;
    p->name = NULL;
    lx_dentry_hash(d);
    slot_add(d);
    if (S_ISDIR(d->inode->mode) && old->inode != d->parent->inode) {
        old->inode->nlink--;
        d->parent->inode->nlink++;
    }
    lx_inode_touch(d->inode, false);
    lx_dentry_put(old);
}

int lx_mem_rename(struct lx_dentry *from, struct lx_dentry *to, bool exchange)
{
    struct place here, there;
    int e = 0;
    struct lx_dentry *w = NULL;
    struct lx_dentry *from_dir = lx_dentry_get(from->parent), *to_dir = lx_dentry_get(to->parent);
    bool named = place_of(from, &here);
    named &= place_of(to, &there);
    if (!named)
        e = -ENOMEM;
    if (!e)
        e = slots_reserve(from_dir->inode, 2);
    if (!e)
        e = slots_reserve(to_dir->inode, 2);
    if (!e && !exchange)
        w = whiteout_for(from, &e);
    if (e)
        goto out;
    detach(from);
    detach(to);
    attach(from, &there);
    if (exchange) {
        attach(to, &here);
    } else {
        whiteout_on(w);
        to->deleted = true;
        if (to->inode)
            inode_unlinked(to_dir->inode, to->inode);
    }
    lx_inode_touch(from_dir->inode, true);
    lx_inode_touch(to_dir->inode, true);
out:
    free(here.name);
    free(there.name);
    lx_dentry_put(from_dir);
    lx_dentry_put(to_dir);
    return e;
}

/* ---- reading a directory ---- */

#define UPPER_PHASE ((uint64_t)1 << 62)

static uint8_t dtype(uint32_t mode)
{
    return (uint8_t)((mode & S_IFMT) >> 12);
}

/* Names of the image that still show. False: the receiver is full. */
static int lower_phase(struct lx_dentry *dir, struct lx_file *f, lx_emit emit, void *ctx)
{
    struct err err;
    struct img_dirent de;
    bool end = false;
    while (dir->inode->lower) {
        uint64_t cursor = f->pos - 2;
        if (img_readdir(dir->sb->vfs->img, &dir->inode->img, &cursor, &de, &end, &err) != OK)
            return -EIO;
        if (end || cursor + 2 >= UPPER_PHASE)
            break;
        if (strcmp(de.name, ".") && strcmp(de.name, "..")) {
            struct lx_dentry *d = lx_dentry_find(dir, de.name, de.name_bytes);
            bool hidden = d && (d->upper || d->whiteout);
            if (d)
                lx_dentry_put(d);
            if (!hidden && !emit(ctx, de.name, de.name_bytes, de.nid + 1, de.type, cursor + 2))
                return 1;
        }
        f->pos = cursor + 2;
    }
    f->pos = UPPER_PHASE;
    return 0;
}

static int64_t mem_readdir(struct lx_call *c, struct lx_file *f, lx_emit emit, void *ctx)
{
    (void)c;
    struct lx_dentry *dir = f->dentry;
    struct lx_inode *i = f->inode, *up = i;
    if (!i->nlink)
        return -ENOENT;
    struct lx_dentry *above = dir->parent           ? dir->parent
                              : dir->sb->mountpoint ? dir->sb->mountpoint->parent
                                                    : dir;
    up = above->inode;
    if (f->pos == 0) {
        if (!emit(ctx, ".", 1, i->ino, dtype(S_IFDIR), 1))
            return 0;
        f->pos = 1;
    }
    if (f->pos == 1) {
        if (!emit(ctx, "..", 2, up->ino, dtype(S_IFDIR), 2))
            return 0;
        f->pos = 2;
    }
    if (f->pos < UPPER_PHASE) {
        int e = lower_phase(dir, f, emit, ctx);
        if (e)
            return e < 0 ? e : 0;
    }
    uint64_t want = f->pos & ~UPPER_PHASE;
    uint32_t lo = 0, hi = i->slot_count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (i->slots[mid].seq < want)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < i->slot_count; lo++) {
        struct lx_dentry *d = i->slots[lo].d;
        if (!d || !d->inode)
            continue;
        uint64_t next = UPPER_PHASE | (i->slots[lo].seq + 1);
        struct lx_inode *shown = d->mounted ? d->mounted->root->inode : d->inode;
        if (!emit(ctx, d->name, d->len, shown->ino, dtype(shown->mode), next))
            return 0;
        f->pos = next;
    }
    return 0;
}

int64_t lx_dir_seek(struct lx_file *f, int64_t off, int whence)
{
    if (whence == SEEK_CUR)
        off += (int64_t)f->pos;
    else if (whence != SEEK_SET)
        return -EINVAL;
    if (off < 0)
        return -EINVAL;
    f->pos = (uint64_t)off;
    return off;
}

const struct lx_file_ops lx_mem_dir_ops = {.readdir = mem_readdir, .seek = lx_dir_seek};

const struct lx_fs_ops lx_root_fs_ops = {.type = "overlay",
                                         .source = "overlay",
                                         .mount_options = "rw,relatime",
                                         .magic = 0x794c7630,
                                         .writable = true,
                                         .lookup = lx_mem_lookup,
                                         .readlink = mem_readlink,
                                         .dir_ops = &lx_mem_dir_ops,
                                         .file_ops = &lx_mem_file_ops};
const struct lx_fs_ops lx_dev_fs_ops = {.type = "tmpfs",
                                        .source = "devtmpfs",
                                        .mount_options = "rw,nosuid,relatime",
                                        .magic = 0x01021994,
                                        .writable = true,
                                        .lookup = lx_mem_lookup,
                                        .readlink = mem_readlink,
                                        .dir_ops = &lx_mem_dir_ops,
                                        .file_ops = &lx_mem_file_ops};
