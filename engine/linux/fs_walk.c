/* Names to dentries: the path walk (path_resolution(7)) and who may. */
#include "engine/linux/vfs.h"

#include <stdlib.h>
#include <string.h>

/* ---- who may ---- */

struct lx_cred lx_cred_of(const struct lx_process *p)
{
    return (struct lx_cred){p->euid, p->egid, p->groups, p->group_count};
}

bool lx_in_group(const struct lx_cred *cr, uint32_t gid)
{
    if (cr->gid == gid)
        return true;
    for (uint32_t k = 0; k < cr->group_count; k++)
        if (cr->groups[k] == gid)
            return true;
    return false;
}

int lx_may(const struct lx_cred *cr, const struct lx_inode *i, int want)
{
    uint32_t mode = i->mode;
    if (cr->uid == 0) {
        if ((want & LX_MAY_X) && !S_ISDIR(mode) && !(mode & 0111))
            return -EACCES;
        return 0;
    }
    if (cr->uid == i->uid)
        mode >>= 6;
    else if (lx_in_group(cr, i->gid))
        mode >>= 3;
    return ((uint32_t)want & ~mode & 7) ? -EACCES : 0;
}

bool lx_owner_or_root(const struct lx_cred *cr, const struct lx_inode *i)
{
    return cr->uid == 0 || cr->uid == i->uid;
}

/* ---- where a walk starts ---- */

struct lx_base lx_base_at(struct lx_process *p, int64_t dirfd)
{
    struct lx_base b = {.p = p, .cred = lx_cred_of(p), .root = p->fs->root};
    if ((int32_t)dirfd == AT_FDCWD) {
        b.start = p->fs->cwd;
        return b;
    }
    struct lx_file *f = lx_files_any(p->files, (int32_t)dirfd);
    if (f)
        b.start = f->dentry;
    else
        b.error = -EBADF;
    return b;
}

int lx_path_arg(struct lx_call *c, uint64_t addr, char **path)
{
    char buf[LX_PATH_MAX];
    int64_t n = mem_copy_str(lx_call_mem(c), buf, addr, sizeof buf);
    if (n < 0)
        return (int)n;
    *path = strdup(buf);
    return *path ? 0 : -ENOMEM;
}

/* ---- steps ---- */

struct lx_dentry *lx_cross_mounts(struct lx_dentry *d)
{
    while (d->mounted) {
        struct lx_dentry *top = lx_dentry_get(d->mounted->root);
        lx_dentry_put(d);
        d = top;
    }
    return d;
}

static struct lx_dentry *step_up(const struct lx_base *b, struct lx_dentry *d)
{
    struct lx_dentry *at = d;
    while (at != b->root && !at->parent && at->sb->mountpoint)
        at = at->sb->mountpoint;
    if (at != b->root && at->parent)
        at = at->parent;
    at = lx_cross_mounts(lx_dentry_get(at));
    lx_dentry_put(d);
    return at;
}

static int lookup(struct lx_dentry *dir, const char *name, size_t n, struct lx_dentry **out)
{
    struct lx_dentry *d;
    int e = dir->sb->ops->lookup(dir, name, n, &d);
    if (e)
        return e;
    *out = lx_cross_mounts(d);
    return 0;
}

int lx_readlink(struct lx_process *p, struct lx_dentry *d, char **text)
{
    if (!S_ISLNK(d->inode->mode))
        return -EINVAL;
    return d->sb->ops->readlink(p, d, text);
}

/* What a link leads to: a jump (a reference in *jumped), or its text with rest behind it. */
static int expand(const struct lx_base *b, struct lx_dentry *link, const char *rest, int *links,
                  char **text, struct lx_dentry **jumped)
{
    if (--*links < 0)
        return -ELOOP;
    *jumped = NULL;
    if (link->sb->ops->jump) {
        int e = link->sb->ops->jump(b->p, link, jumped);
        if (e != -ENOLINK)
            return e;
    }
    CLEANUP(free_ptr) char *target = NULL;
    int e = link->sb->ops->readlink(b->p, link, &target);
    if (e)
        return e;
    if (!*target)
        return -ENOENT;
    lx_inode_accessed(link->inode);
    size_t a = strlen(target), r = strlen(rest);
    char *whole = malloc(a + r + 2);
    if (!whole)
        return -ENOMEM;
    memcpy(whole, target, a);
    whole[a] = '/';
    memcpy(whole + a + (r != 0), rest, r);
    whole[a + r + (r != 0)] = 0;
    *text = whole;
    return 0;
}

static int may_enter(const struct lx_base *b, struct lx_dentry *dir)
{
    if (!dir->inode || !S_ISDIR(dir->inode->mode))
        return dir->inode ? -ENOTDIR : -ENOENT;
    return lx_may(&b->cred, dir->inode, LX_MAY_X);
}

/* From dir (a reference that is consumed) along text to the last component. */
static int walk_text(const struct lx_base *b, struct lx_dentry *dir, const char *text, int links,
                     struct lx_parent *out)
{
    CLEANUP(free_ptr) char *own = NULL;
    const char *at = text;
    int e = 0;
    out->dir = NULL;
    if (*at == '/') {
        lx_dentry_put(dir);
        dir = lx_dentry_get(b->root);
    }
    for (;;) {
        while (*at == '/')
            at++;
        const char *end = at + strcspn(at, "/"), *rest = end + strspn(end, "/");
        size_t n = (size_t)(end - at);
        if (n && (e = may_enter(b, dir)))
            break;
        if (n > LX_NAME_MAX) {
            e = -ENAMETOOLONG;
            break;
        }
        enum lx_last kind = !n                                       ? LX_LAST_ROOT
                            : n == 1 && *at == '.'                   ? LX_LAST_DOT
                            : n == 2 && at[0] == '.' && at[1] == '.' ? LX_LAST_DOTDOT
                                                                     : LX_LAST_NAME;
        if (!*rest) {
            out->dir = dir;
            out->kind = kind;
            out->slash = *end == '/';
            out->len = n;
            out->links_left = links;
            memcpy(out->name, at, n);
            out->name[n] = 0;
            return 0;
        }
        at = rest;
        if (kind == LX_LAST_DOT)
            continue;
        if (kind == LX_LAST_DOTDOT) {
            dir = step_up(b, dir);
            continue;
        }
        struct lx_dentry *d;
        if ((e = lookup(dir, end - n, n, &d)))
            break;
        if (d->inode && S_ISLNK(d->inode->mode)) {
            char *expanded = NULL;
            struct lx_dentry *jumped = NULL;
            e = expand(b, d, rest, &links, &expanded, &jumped);
            lx_dentry_put(d);
            if (e)
                break;
            if (jumped) {
                lx_dentry_put(dir);
                dir = jumped;
                continue;
            }
            free(own);
            at = own = expanded;
            if (*at == '/') {
                lx_dentry_put(dir);
                dir = lx_dentry_get(b->root);
            }
            continue;
        }
        lx_dentry_put(dir);
        dir = d;
    }
    lx_dentry_put(dir);
    return e;
}

int lx_walk_parent(const struct lx_base *b, const char *path, struct lx_parent *out)
{
    out->dir = NULL;
    if (!*path)
        return -ENOENT;
    if (*path != '/' && !b->start)
        return b->error;
    return walk_text(b, lx_dentry_get(*path == '/' ? b->root : b->start), path, LX_LINKS_MAX, out);
}

int lx_walk_follow(const struct lx_base *b, struct lx_parent *p, struct lx_dentry *d,
                   struct lx_dentry **jumped)
{
    CLEANUP(free_ptr) char *text = NULL;
    struct lx_dentry *dir = p->dir;
    bool slash = p->slash;
    int links = p->links_left, e = expand(b, d, "", &links, &text, jumped);
    p->dir = NULL;
    if (e || *jumped) {
        lx_dentry_put(dir);
        return e;
    }
    e = walk_text(b, dir, text, links, p);
    if (!e)
        p->slash |= slash;
    return e;
}

int lx_lookup_last(const struct lx_parent *p, struct lx_dentry **out)
{
    ASSERT(p->kind == LX_LAST_NAME);
    return lookup(p->dir, p->name, p->len, out);
}

int lx_walk(const struct lx_base *base, const char *path, unsigned flags, struct lx_dentry **out)
{
    struct lx_base b = *base;
    struct lx_parent p = {0};
    struct lx_dentry *d = NULL;
    if (flags & LX_WALK_REAL_IDS) {
        b.cred.uid = b.p->uid;
        b.cred.gid = b.p->gid;
    }
    if (!*path && (flags & LX_WALK_EMPTY)) {
        if (!b.start)
            return b.error;
        *out = lx_dentry_get(b.start);
        return 0;
    }
    int e = lx_walk_parent(&b, path, &p);
    while (!e) {
        if (p.kind != LX_LAST_NAME) {
            d = p.kind == LX_LAST_DOTDOT ? step_up(&b, p.dir) : p.dir;
            p.dir = NULL;
            break;
        }
        if ((e = lx_lookup_last(&p, &d)))
            break;
        if (!d->inode || !S_ISLNK(d->inode->mode) || !((flags & LX_WALK_FOLLOW) || p.slash))
            break;
        struct lx_dentry *jumped = NULL;
        e = lx_walk_follow(&b, &p, d, &jumped);
        lx_dentry_put(d);
        d = jumped;
        if (e || d)
            break;
    }
    if (p.dir)
        lx_dentry_put(p.dir);
    if (e)
        return e;
    if (!d->inode)
        e = -ENOENT;
    else if ((p.slash || (flags & LX_WALK_DIR)) && !S_ISDIR(d->inode->mode))
        e = -ENOTDIR;
    if (e)
        lx_dentry_put(d);
    else
        *out = d;
    return e;
}

/* ---- dentries to names ---- */

char *lx_dentry_path(struct lx_dentry *d, struct lx_dentry *root, bool deleted)
{
    size_t total = 1;
    bool gone = false, any = false;
    for (int pass = 0;; pass++) {
        char *p = NULL, *text = NULL;
        if (pass) {
            text = malloc(total + sizeof " (deleted)");
            if (!text)
                return NULL;
            p = text + total - 1;
            *p = 0;
        }
        struct lx_dentry *at = d;
        while (at != root) {
            if (!at->parent) {
                if (!at->sb->mountpoint) {
                    if (at->len && !any && !pass) /* nameless: its own text */
                        return strdup(at->name);
                    break;
                }
                at = at->sb->mountpoint;
                continue;
            }
            any = true;
            gone |= at->deleted;
            if (!pass) {
                total += at->len + 1u;
            } else {
                p -= at->len;
                memcpy(p, at->name, at->len);
                *--p = '/';
            }
            at = at->parent;
        }
        if (!pass) {
            total += !any;
            continue;
        }
        if (!any)
            *--p = '/';
        if (deleted && gone)
            strcpy(text + total - 1, " (deleted)");
        return text;
    }
}
