/* Lifetime of inodes and names, the name cache, quota. */
#include "engine/linux/vfs.h"

#include <stdlib.h>
#include <string.h>

/* ---- hash ---- */

bool lx_hash_init(struct lx_hash *h)
{
    *h = (struct lx_hash){.bucket = calloc(64, sizeof(struct lx_hnode *)), .mask = 63};
    return h->bucket != NULL;
}

void lx_hash_fini(struct lx_hash *h)
{
    free(h->bucket);
    *h = (struct lx_hash){0};
}

static void hash_grow(struct lx_hash *h)
{
    size_t buckets = (h->mask + 1) * 2;
    struct lx_hnode **b = calloc(buckets, sizeof *b);
    if (!b)
        return; /* longer chains, no harm */
    for (size_t i = 0; i <= h->mask; i++)
        for (struct lx_hnode *n = h->bucket[i], *next; n; n = next) {
            next = n->next;
            n->next = b[n->hash & (buckets - 1)];
            b[n->hash & (buckets - 1)] = n;
        }
    free(h->bucket);
    h->bucket = b;
    h->mask = buckets - 1;
}

void lx_hash_add(struct lx_hash *h, struct lx_hnode *n, uint64_t hash)
{
    if (h->count > h->mask)
        hash_grow(h);
    n->hash = hash;
    n->next = h->bucket[hash & h->mask];
    h->bucket[hash & h->mask] = n;
    h->count++;
}

void lx_hash_del(struct lx_hash *h, struct lx_hnode *n)
{
    struct lx_hnode **at = &h->bucket[n->hash & h->mask];
    while (*at != n)
        at = &(*at)->next;
    *at = n->next;
    h->count--;
}

/* ---- quota ---- */

int lx_charge(struct lx_vfs *v, uint64_t bytes)
{
    if (bytes > v->quota_bytes || v->used_bytes > v->quota_bytes - bytes)
        return -ENOSPC;
    v->used_bytes += bytes;
    return 0;
}

void lx_uncharge(struct lx_vfs *v, uint64_t bytes)
{
    v->used_bytes -= MIN(bytes, v->used_bytes);
}

/* ---- time ---- */

struct lx_time lx_now(struct lx_vfs *v)
{
    uint64_t ns = lx_realtime_ns(v->lx);
    return (struct lx_time){(int64_t)(ns / 1000000000u), (uint32_t)(ns % 1000000000u)};
}

static bool time_before(struct lx_time a, struct lx_time b)
{
    return a.s < b.s || (a.s == b.s && a.ns < b.ns);
}

void lx_inode_touch(struct lx_inode *i, bool mtime)
{
    i->ctime = lx_now(i->sb->vfs);
    if (mtime)
        i->mtime = i->ctime;
    lx_inode_dirty(i);
}

/* relatime; what only the image holds keeps its times, so that reading dirties nothing. */
void lx_inode_accessed(struct lx_inode *i)
{
    if (i->has_nid && !i->dirty)
        return;
    struct lx_time now = lx_now(i->sb->vfs);
    if (!time_before(i->mtime, i->atime) || !time_before(i->ctime, i->atime) ||
        now.s - i->atime.s >= 86400)
        i->atime = now;
}

/* ---- inodes ---- */

struct lx_inode *lx_inode_new(struct lx_sb *sb, uint32_t mode)
{
    struct lx_inode *i = calloc(1, sizeof *i);
    if (!i)
        return NULL;
    i->sb = sb;
    i->refs = 1;
    i->mode = mode;
    i->nlink = 1;
    i->ino = ++sb->next_ino;
    i->atime = i->mtime = i->ctime = lx_now(sb->vfs);
    i->next_seq = 1;
    list_init(&i->locks);
    list_append(&sb->vfs->inodes, &i->all);
    return i;
}

static void inode_free(struct lx_inode *i)
{
    struct lx_vfs *v = i->sb->vfs;
    if (i->has_nid)
        lx_hash_del(&v->by_nid, &i->by_nid);
    lx_uncharge(v, i->charged_bytes + (i->charged ? LX_INODE_COST : 0));
    list_for_each_safe(p, &i->locks)
    {
        list_remove(p);
        free(list_entry(p, struct lx_lock, link));
    }
    if (i->object)
        mem_object_put(i->object);
    if (i->lower_object)
        mem_object_put(i->lower_object);
    if (i->pipe)
        lx_pipe_put(i->pipe);
    free(i->slots);
    free(i->target);
    list_remove(&i->all);
    free(i);
}

/* A mapping holds the object, not the inode: an inode whose object is still mapped stays, so that a snapshot finds the object. */
static bool still_mapped(struct lx_inode *i)
{
    return i->mapped && ((i->object && mem_object_shared(i->object)) ||
                         (i->lower_object && mem_object_shared(i->lower_object)));
}

static void sweep_orphans(struct lx_vfs *v)
{
    list_for_each_safe(p, &v->orphans)
    {
        struct lx_inode *i = list_entry(p, struct lx_inode, orphan);
        if (still_mapped(i))
            continue;
        list_remove(&i->orphan);
        i->orphaned = false;
        if (!i->refs)
            inode_free(i);
    }
}

void lx_inode_put(struct lx_inode *i)
{
    ASSERT(i->refs);
    if (--i->refs)
        return;
    struct lx_vfs *v = i->sb->vfs;
    if (i->orphaned)
        return;
    if (v->orphan_scan++ % 64 == 63)
        sweep_orphans(v);
    if (still_mapped(i)) {
        i->orphaned = true;
        list_append(&v->orphans, &i->orphan);
    } else {
        inode_free(i);
    }
}

void lx_inode_dirty(struct lx_inode *i)
{
    if (i->dirty)
        return;
    i->dirty = true;
    if (i->has_nid && i->nlink) {
        i->pinned = true;
        i->refs++;
    }
}

/* No name is left. */
void lx_inode_unpin(struct lx_inode *i)
{
    if (i->pinned) {
        i->pinned = false;
        lx_inode_put(i);
    }
}

uint64_t lx_inode_size(const struct lx_inode *i)
{
    switch (i->mode & S_IFMT) {
    case S_IFREG:
        return i->object ? mem_object_size(i->object) : i->lower ? i->size : 0;
    case S_IFLNK:
        return i->target ? strlen(i->target) : i->size;
    case S_IFDIR:
        return i->sb->ops->writable ? PAGE_SIZE : 0;
    default:
        return 0;
    }
}

/* ---- names ---- */

static uint64_t name_hash(const struct lx_dentry *dir, const char *name, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u ^ (uintptr_t)dir;
    for (size_t k = 0; k < n; k++)
        h = (h ^ (uint8_t)name[k]) * 0x100000001b3u;
    return lx_hash_mix(h);
}

struct lx_dentry *lx_dentry_new(struct lx_sb *sb, struct lx_dentry *parent, const char *name,
                                size_t n, struct lx_inode *i)
{
    struct lx_dentry *d = calloc(1, sizeof *d);
    char *copy = malloc(n + 1);
    if (!d || !copy) {
        free(d);
        free(copy);
        return NULL;
    }
    memcpy(copy, name, n);
    copy[n] = 0;
    d->sb = sb;
    d->name = copy;
    d->len = (uint8_t)n;
    d->refs = 1;
    d->slot = UINT32_MAX;
    d->parent = parent ? lx_dentry_get(parent) : NULL;
    d->inode = i;
    list_init(&d->lru);
    return d;
}

struct lx_dentry *lx_dentry_get(struct lx_dentry *d)
{
    if (d->refs++ == 0) {
        list_remove(&d->lru);
        d->sb->vfs->lru_count--;
    }
    return d;
}

static void dentry_free(struct lx_dentry *d)
{
    if (d->inode)
        lx_inode_put(d->inode);
    free(d->name);
    free(d);
}

void lx_dentry_put(struct lx_dentry *d)
{
    while (d) {
        ASSERT(d->refs);
        if (--d->refs)
            return;
        struct lx_vfs *v = d->sb->vfs;
        if (d->hashed) {
            list_append(&v->lru, &d->lru);
            v->lru_count++;
            lx_lru_shrink(v, LX_LRU_MAX);
            return;
        }
        struct lx_dentry *parent = d->parent;
        dentry_free(d);
        d = parent;
    }
}

void lx_lru_shrink(struct lx_vfs *v, size_t keep)
{
    while (v->lru_count > keep) {
        struct lx_dentry *d = list_entry(v->lru.next, struct lx_dentry, lru), *parent = d->parent;
        list_remove(&d->lru);
        v->lru_count--;
        lx_dentry_unhash(d);
        dentry_free(d);
        if (parent)
            lx_dentry_put(parent);
    }
}

struct lx_dentry *lx_dentry_find(struct lx_dentry *dir, const char *name, size_t n)
{
    struct lx_vfs *v = dir->sb->vfs;
    uint64_t h = name_hash(dir, name, n);
    for (struct lx_hnode *x = lx_hash_first(&v->names, h); x; x = x->next) {
        struct lx_dentry *d = container_of(x, struct lx_dentry, hash);
        if (x->hash == h && d->parent == dir && d->len == n && !memcmp(d->name, name, n))
            return lx_dentry_get(d);
    }
    return NULL;
}

void lx_dentry_hash(struct lx_dentry *d)
{
    lx_hash_add(&d->sb->vfs->names, &d->hash, name_hash(d->parent, d->name, d->len));
    d->hashed = true;
}

void lx_dentry_unhash(struct lx_dentry *d)
{
    if (d->hashed)
        lx_hash_del(&d->sb->vfs->names, &d->hash);
    d->hashed = false;
}

/* ---- the end, and the rules ---- */

void lx_names_free_all(struct lx_vfs *v)
{
    lx_lru_shrink(v, 0);
    for (size_t b = 0; b <= v->names.mask; b++)
        while (v->names.bucket[b]) {
            struct lx_dentry *d = container_of(v->names.bucket[b], struct lx_dentry, hash);
            v->names.bucket[b] = d->hash.next;
            free(d->name);
            free(d);
        }
    for (int k = 0; k < LX_SB_COUNT; k++)
        if (v->sb[k].root) {
            free(v->sb[k].root->name);
            free(v->sb[k].root);
        }
    list_for_each_safe(p, &v->inodes)
    {
        inode_free(list_entry(p, struct lx_inode, all));
    }
}

bool lx_vfs_check(struct lx_vfs *v)
{
    for (size_t b = 0; b <= v->names.mask; b++)
        for (struct lx_hnode *n = v->names.bucket[b]; n; n = n->next) {
            struct lx_dentry *d = container_of(n, struct lx_dentry, hash);
            for (struct lx_hnode *m = n->next; m; m = m->next) { /* (1) */
                struct lx_dentry *e = container_of(m, struct lx_dentry, hash);
                if (e->parent == d->parent && e->len == d->len && !memcmp(e->name, d->name, d->len))
                    return false;
            }
            if ((d->upper || d->whiteout) != (d->slot != UINT32_MAX)) /* (2) */
                return false;
            if (d->slot != UINT32_MAX && d->parent->inode->slots[d->slot].d != d)
                return false;
            if (d->whiteout && d->inode)
                return false;
            if ((d->refs == 0) == list_empty(&d->lru))
                return false;
        }
    list_for_each(p, &v->inodes)
    {
        struct lx_inode *i = list_entry(p, struct lx_inode, all);
        if (i->dirty && i->has_nid && i->nlink && !i->pinned) /* (3) */
            return false;
        uint32_t live = 0;
        uint64_t seq = 0;
        for (uint32_t k = 0; k < i->slot_count; k++) {
            if (i->slots[k].seq <= seq)
                return false;
            seq = i->slots[k].seq;
            live += i->slots[k].d && i->slots[k].d->inode;
        }
        if (live != i->live_count)
            return false;
    }
    return true;
}
