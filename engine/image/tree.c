/* image/tree.c - the names of an image while it is written. */
#include "engine/image/build.h"

#include <stdlib.h>
#include <sys/stat.h>

static uint32_t hash_of(const struct inode *parent, const char *name, size_t n)
{
    uint32_t h = parent->ino * 0x9e3779b9u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)name[i]) * 0x01000193u;
    return h ^ h >> 15;
}

static struct dentry *lookup(const struct img_writer *w, const struct inode *parent,
                             const char *name, size_t n)
{
    if (!w->table_cap)
        return NULL;
    uint32_t h = hash_of(parent, name, n);
    for (struct dentry *d = w->table[h & (w->table_cap - 1)]; d; d = d->next_in_hash) {
        if (d->hash == h && d->parent == parent && d->name_bytes == n &&
            memcmp(d->name, name, n) == 0)
            return d;
    }
    return NULL;
}

/* The name, if something has it now. */
static struct dentry *find(const struct img_writer *w, const struct inode *parent, const char *name,
                           size_t n)
{
    struct dentry *d = lookup(w, parent, name, n);
    return d && d->inode ? d : NULL;
}

static bool grow_table(struct img_writer *w)
{
    size_t cap = MAX(w->table_cap * 2, (size_t)256);
    struct dentry **table = calloc(cap, sizeof(struct dentry *));
    if (!table)
        return false;
    for (size_t i = 0; i < w->table_cap; i++) {
        for (struct dentry *d = w->table[i], *next; d; d = next) {
            next = d->next_in_hash;
            d->next_in_hash = table[d->hash & (cap - 1)];
            table[d->hash & (cap - 1)] = d;
        }
    }
    free(w->table);
    w->table = table;
    w->table_cap = cap;
    return true;
}

struct inode *img_inode_new(struct img_writer *w, uint32_t mode)
{
    if (w->inode_count == w->inode_cap) {
        size_t cap = MAX(w->inode_cap * 2, (size_t)256);
        struct inode **more = realloc(w->inodes, cap * sizeof(struct inode *));
        if (!more)
            return NULL;
        w->inodes = more;
        w->inode_cap = cap;
    }
    struct inode *i = arena_zalloc(&w->arena, sizeof *i);
    if (!i)
        return NULL;
    i->mode = mode;
    w->inodes[w->inode_count++] = i;
    i->ino = (uint32_t)w->inode_count; /* for good in img_writer_finish */
    i->layer = w->layer;
    if (S_ISDIR(mode))
        i->nlink = 2;
    return i;
}

static struct dentry *dentry_new(struct img_writer *w, struct inode *parent, const char *name,
                                 size_t n, struct inode *i)
{
    if (w->dentry_count >= w->table_cap && !grow_table(w))
        return NULL;
    struct dentry *d = arena_alloc(&w->arena, sizeof *d + n + 1);
    if (!d)
        return NULL;
    *d = (struct dentry){.inode = i,
                         .parent = parent,
                         .sibling = parent->children,
                         .layer = w->layer,
                         .name_bytes = (uint8_t)n};
    memcpy(d->name, name, n);
    d->name[n] = 0;
    d->hash = hash_of(parent, name, n);
    d->next_in_hash = w->table[d->hash & (w->table_cap - 1)];
    w->table[d->hash & (w->table_cap - 1)] = d;
    parent->children = d;
    w->dentry_count++;
    return d;
}

static bool link_in(struct img_writer *w, struct inode *parent, const char *name, size_t n,
                    struct inode *i)
{
    struct dentry *d = lookup(w, parent, name, n);
    if (d) { /* a name that an upper layer took away */
        d->inode = i;
        d->layer = w->layer;
    } else if (!(d = dentry_new(w, parent, name, n, i))) {
        return false;
    }
    parent->child_count++;
    if (S_ISDIR(i->mode)) {
        i->parent = parent;
        parent->nlink++;
    } else {
        i->nlink++;
    }
    w->entries++;
    return true;
}

/* The next component of a path: *n is 0 at its end. "." and empty ones are passed over. */
static const char *component(const char *p, size_t *n)
{
    for (;;) {
        p += strspn(p, "/");
        *n = strcspn(p, "/");
        if (*n != 1 || *p != '.')
            return p;
        p++;
    }
}

res_code_t img_resolve(struct img_writer *w, const char *path, struct where *at, struct err *err)
{
    size_t n, depth = 0, after;
    *at = (struct where){.parent = w->inodes[0]};
    if (strlen(path) > w->limits.path_bytes)
        return err_set(err, ERR_LIMIT, "%.200s...: the path is longer than %u bytes", path,
                       w->limits.path_bytes);
    for (const char *p = component(path, &n), *next; n; p = next, n = after) {
        next = component(p + n, &after);
        if (n == 2 && p[0] == '.' && p[1] == '.')
            return err_set(err, ERR_INVALID, "%.200s: '..' in a path", path);
        if (n > NAME_MAX_BYTES)
            return err_set(err, ERR_INVALID, "%.200s: a name of more than %u bytes", path,
                           NAME_MAX_BYTES);
        if (++depth > w->limits.depth)
            return err_set(err, ERR_LIMIT, "%.200s: more than %u levels deep", path,
                           w->limits.depth);
        if (at->missing) {
            at->missing++;
            continue;
        }
        struct dentry *d = find(w, at->parent, p, n);
        if (!d) {
            at->rest = p;
            at->missing = 1;
        } else if (!after) {
            at->there = d;
        } else if (S_ISDIR(d->inode->mode)) {
            at->parent = d->inode;
        } else {
            return err_set(err, ERR_INVALID, "%.200s: '%s' on the way is not a directory", path,
                           d->name);
        }
    }
    at->root = depth == 0;
    return OK;
}

/* Directories on the way, then the entry itself. */
res_code_t img_attach(struct img_writer *w, const char *path, struct where *at, struct inode *i,
                      struct err *err)
{
    size_t n, after;
    struct inode *parent = at->parent;
    for (const char *p = component(at->rest, &n), *next; n; p = next, n = after) {
        next = component(p + n, &after);
        struct inode *child = after ? img_inode_new(w, S_IFDIR | 0755) : i;
        if (!child || !link_in(w, parent, p, n, child)) {
            w->broken = true;
            return err_set(err, ERR_NO_MEMORY, "%.200s", path);
        }
        parent = child;
    }
    return OK;
}

void img_detach(struct img_writer *w, struct dentry *d)
{
    struct inode *i = d->inode;
    d->inode = NULL;
    d->parent->child_count--;
    w->entries--;
    if (S_ISDIR(i->mode)) {
        d->parent->nlink--;
        i->gone = true;
    } else {
        i->nlink--;
    }
}
