/* The file side out of a snapshot, which may lie. Every object is made with one reference of the loader's, given back by
 * lx_vfs_load_end; what is wrong makes the reader refuse, and everything goes again. */
#include "engine/linux/fs_load.h"

#include <stdlib.h>
#include <string.h>

uint32_t lx_load_u32(struct lx_loaded *l)
{
    return snap_get_u32(l->r);
}

/* An object of a table by its number; NULL for 0, and after a refusal. */
void *lx_load_ref(struct lx_loaded *l, int table)
{
    uint32_t id = snap_get_u32(l->r);
    if (id > l->count[table])
        snap_refuse(l->r, "reference %u of %u", id, l->count[table]);
    return l->r->failed || !id ? NULL : l->object[table][id - 1];
}

bool lx_load_bad(struct lx_loaded *l, bool wrong, const char *what)
{
    if (wrong)
        snap_refuse(l->r, "files: %s", what);
    return l->r->failed;
}

bool lx_load_no_memory(struct lx_loaded *l)
{
    if (!l->r->failed) {
        l->r->failed = true;
        (void)err_set(&l->r->err, ERR_NO_MEMORY, "loading the guest's files");
    }
    return false;
}

struct lx_time lx_load_time(struct lx_loaded *l)
{
    struct lx_time t = {(int64_t)snap_get_u64(l->r), 0};
    t.ns = lx_load_max(l, 999999999, "nanoseconds");
    return t;
}

static uint32_t get32(struct lx_loaded *l)
{
    return lx_load_u32(l);
}

/* Numbers are written as 32 bits; a limit for them. */
uint32_t lx_load_max(struct lx_loaded *l, uint32_t max, const char *what)
{
    uint32_t x = snap_get_u32(l->r);
    if (x > max)
        snap_refuse(l->r, "files: %s %u", what, x);
    return l->r->failed ? 0 : x;
}

/* ---- inodes ---- */

static bool kind_fits(const struct lx_inode *i)
{
    uint32_t type = i->mode & S_IFMT;
    switch (i->sb->kind) {
    case LX_SB_ROOT:
    case LX_SB_DEV:
        return type == S_IFREG || type == S_IFDIR || type == S_IFLNK || type == S_IFCHR ||
               type == S_IFBLK || type == S_IFIFO || type == S_IFSOCK;
    case LX_SB_PTS:
        return type == S_IFDIR || type == S_IFCHR;
    case LX_SB_PROC:
        return lx_proc_valid(i->proc, i->mode);
    case LX_SB_PIPE:
        return type == S_IFIFO && i->pipe;
    case LX_SB_SOCK:
        return type == S_IFSOCK;
    default:
        return false;
    }
}

static bool load_from_image(struct lx_loaded *l, struct lx_inode *i, uint32_t flags)
{
    struct err err;
    if (lx_load_bad(l, i->sb->kind != LX_SB_ROOT || !l->v->img || lx_mem_inode_known(l->v, i->nid),
                    "inode of the image"))
        return false;
    if (img_inode(l->v->img, i->nid, &i->img, &err) != OK || ((i->img.mode ^ i->mode) & S_IFMT)) {
        snap_refuse(l->r, "inode %llu is not in this image", (unsigned long long)i->nid);
        return false;
    }
    i->has_nid = true;
    i->lower = flags & LX_I_LOWER;
    i->size = i->img.size;
    lx_hash_add(&l->v->by_nid, &i->by_nid, lx_hash_mix(i->nid));
    return true;
}

static bool load_content(struct lx_loaded *l, struct lx_inode *i, uint32_t flags, uint32_t id)
{
    const struct lx_config *cfg = lx_config_of(l->v->lx);
    struct err err;
    if (flags & LX_I_MAPPED) {
        if (lx_load_bad(l, !i->has_nid || !S_ISREG(i->mode) || !i->size, "mapped file"))
            return false;
        if (mem_object_image(cfg->pool, cfg->image_fd, i->img.data_offset, i->size, i->nid + 1,
                             &i->lower_object, &err) != OK)
            return lx_load_no_memory(l);
        mem_object_set_snap_id(i->lower_object, 4 * (uint64_t)id + 3);
        i->mapped = true;
    }
    if (!(flags & LX_I_OBJECT))
        return true;
    if (lx_load_bad(l, !S_ISREG(i->mode) || !i->sb->ops->writable || i->lower,
                    "content of an inode"))
        return false;
    if (mem_object_load(cfg->pool, l->r, &i->object, &err) != OK) {
        if (!l->r->failed)
            l->r->err = err;
        l->r->failed = true;
        return false;
    }
    mem_object_set_snap_id(i->object, 4 * (uint64_t)id + 1);
    i->mapped = true;
    i->charged_bytes = mem_object_held_bytes(i->object);
    l->v->used_bytes += i->charged_bytes;
    return true;
}

static bool load_inode(struct lx_loaded *l, uint32_t at)
{
    uint32_t kind = lx_load_max(l, LX_SB_COUNT - 1, "file system"), flags = get32(l);
    if (l->r->failed)
        return false;
    struct lx_inode *i = lx_inode_new(&l->v->sb[kind], 0);
    if (!i)
        return lx_load_no_memory(l);
    l->object[LX_COUNT_INODES][at] = i;
    i->ino = snap_get_u64(l->r);
    i->nid = snap_get_u64(l->r);
    i->mode = get32(l);
    i->uid = get32(l);
    i->gid = get32(l);
    i->nlink = get32(l);
    i->rdev_major = get32(l);
    i->rdev_minor = get32(l);
    i->atime = lx_load_time(l);
    i->mtime = lx_load_time(l);
    i->ctime = lx_load_time(l);
    i->next_seq = snap_get_u64(l->r);
    i->proc = snap_get_u64(l->r);
    lx_load_bad(l, i->next_seq > (uint64_t)1 << 60, "order of names");
    i->pipe = lx_load_ref(l, LX_COUNT_PIPES);
    if (i->pipe)
        i->pipe->refs++;
    i->target = snap_get_str(l->r, LX_PATH_MAX);
    if (l->r->failed)
        return false;
    if (lx_load_bad(l,
                    (i->mode & ~(uint32_t)(S_IFMT | 07777)) || !kind_fits(i) ||
                        (i->pipe && !S_ISFIFO(i->mode)),
                    "kind of an inode") ||
        lx_load_bad(l, (flags & LX_I_LOWER) && !(flags & LX_I_NID), "lower inode") ||
        lx_load_bad(l,
                    S_ISLNK(i->mode) && i->sb->ops->writable && !i->target && !(flags & LX_I_NID),
                    "link without text"))
        return false;
    if (flags & LX_I_CHARGED) {
        i->charged = true;
        i->charged_bytes = i->target ? strlen(i->target) : 0;
        l->v->used_bytes += LX_INODE_COST + i->charged_bytes;
    }
    if ((flags & LX_I_NID) && !load_from_image(l, i, flags))
        return false;
    if (flags & LX_I_DIRTY)
        lx_inode_dirty(i);
    return load_content(l, i, flags, at + 1);
}

/* ---- names ---- */

static bool name_ok(const char *p, size_t n)
{
    return n && n <= LX_NAME_MAX && !memchr(p, '/', n) && !memchr(p, 0, n) &&
           !(n == 1 && p[0] == '.') && !(n == 2 && p[0] == '.' && p[1] == '.');
}

static bool name_fits(const struct lx_loaded *l, const struct lx_dentry *d, const char *name,
                      size_t n, uint32_t flags, uint64_t seq)
{
    const struct lx_dentry *up = d->parent;
    bool hashed = flags & LX_D_HASHED, upper = flags & LX_D_UPPER, whiteout = flags & LX_D_WHITEOUT;
    (void)l;
    if (up && (!up->inode || !S_ISDIR(up->inode->mode) || up->sb != d->sb || !name_ok(name, n)))
        return false;
    if (hashed && (!up || !d->sb->ops->writable))
        return false;
    if (hashed && up->parent && !up->hashed) /* a folder that is gone has no names */
        return false;
    if ((upper || whiteout) && (!hashed || !seq))
        return false;
    if (whiteout ? d->inode || upper : !d->inode)
        return false;
    if (d->inode && d->inode->sb != d->sb)
        return false;
    return !(hashed && !upper && !whiteout) || (up->inode->lower && d->inode->has_nid);
}

static bool load_name(struct lx_loaded *l, uint32_t at)
{
    uint32_t kind = lx_load_max(l, LX_SB_COUNT - 1, "file system"), flags = get32(l),
             up = lx_load_max(l, at, "parent");
    struct lx_inode *i = lx_load_ref(l, LX_COUNT_INODES);
    uint64_t seq = snap_get_u64(l->r);
    size_t n;
    const char *name = snap_get_bytes(l->r, LX_NAME_MAX, &n);
    if (l->r->failed)
        return false;
    struct lx_dentry *d =
        lx_dentry_new(&l->v->sb[kind], up ? l->object[LX_COUNT_NAMES][up - 1] : NULL, name, n,
                      i ? lx_inode_get(i) : NULL);
    if (!d) {
        if (i)
            lx_inode_put(i);
        return lx_load_no_memory(l);
    }
    l->object[LX_COUNT_NAMES][at] = d;
    if (lx_load_bad(l, !name_fits(l, d, name, n, flags, seq), "name"))
        return false;
    d->covers = flags & LX_D_COVERS;
    d->deleted = flags & LX_D_DELETED;
    if (!(flags & LX_D_HASHED))
        return true;
    struct lx_dentry *same = lx_dentry_find(d->parent, d->name, d->len);
    if (same)
        lx_dentry_put(same);
    if (lx_load_bad(l, same != NULL, "a name twice"))
        return false;
    lx_dentry_hash(d);
    d->upper = flags & LX_D_UPPER;
    d->whiteout = flags & LX_D_WHITEOUT;
    if (d->upper || d->whiteout) {
        lx_slot_restore(d, seq);
        if (d->slot == UINT32_MAX) {
            d->upper = d->whiteout = false;
            return lx_load_no_memory(l);
        }
    }
    return true;
}

static bool sort_names(struct lx_loaded *l)
{
    for (uint32_t k = 0; k < l->count[LX_COUNT_INODES]; k++) {
        struct lx_inode *i = l->object[LX_COUNT_INODES][k];
        if (i->slot_count && lx_load_bad(l, lx_slots_sort(i) != 0, "order of names"))
            return false;
    }
    return true;
}

static bool load_mounts(struct lx_loaded *l)
{
    for (uint32_t k = 0; k < LX_SB_COUNT; k++) {
        struct lx_sb *sb = &l->v->sb[k];
        l->next_ino[k] = snap_get_u64(l->r);
        struct lx_dentry *root = lx_load_ref(l, LX_COUNT_NAMES),
                         *on = lx_load_ref(l, LX_COUNT_NAMES);
        bool named = k < LX_SB_PIPE;
        if (l->r->failed ||
            lx_load_bad(l, named != (root != NULL) || (named && k != LX_SB_ROOT) != (on != NULL),
                        "mounts"))
            return false;
        if (root) {
            if (lx_load_bad(l,
                            root->sb != sb || root->parent || !root->inode ||
                                !S_ISDIR(root->inode->mode),
                            "root"))
                return false;
            sb->root = lx_dentry_get(root);
        }
        if (on) {
            if (lx_load_bad(l,
                            on->sb->kind >= k || !on->inode || !S_ISDIR(on->inode->mode) ||
                                !on->hashed || on->mounted,
                            "mountpoint"))
                return false;
            sb->mountpoint = lx_dentry_get(on);
            on->mounted = sb;
        }
    }
    return true;
}

/* ---- all of it ---- */

typedef bool (*load_one)(struct lx_loaded *l, uint32_t at);

static bool load_each(struct lx_loaded *l, int table, load_one one)
{
    for (uint32_t k = 0; k < l->count[table]; k++)
        if (!one(l, k) || l->r->failed)
            return false;
    return true;
}

static bool counts(struct lx_loaded *l)
{
    static const uint32_t max[LX_COUNTS] = {1u << 18, 1u << 22, 1u << 22, 2048,
                                            1u << 14, 1u << 16, 1u << 16, 1u << 16};
    for (int k = 0; k < LX_COUNTS; k++)
        l->count[k] = lx_load_max(l, max[k], "number of objects");
    for (int k = 0; k < LX_COUNTS; k++) /* each takes at least 12 bytes */
        lx_load_bad(l, l->count[k] > cursor_left(&l->r->at[l->r->depth]) / 12,
                    "more objects than bytes");
    for (int k = 0; k < LX_COUNTS && !l->r->failed; k++)
        if (!(l->object[k] = calloc(l->count[k] + 1, sizeof(void *))))
            return lx_load_no_memory(l);
    return !l->r->failed;
}

static bool load_all(struct lx_loaded *l)
{
    bool ok =
        counts(l) && load_each(l, LX_COUNT_PIPES, lx_load_pipe) &&
        load_each(l, LX_COUNT_INODES, load_inode) && load_each(l, LX_COUNT_NAMES, load_name) &&
        sort_names(l) && load_mounts(l) && load_each(l, LX_COUNT_TTYS, lx_load_tty) &&
        load_each(l, LX_COUNT_SOCKS, lx_load_sock) && lx_load_sock_links(l) &&
        load_each(l, LX_COUNT_FILES, lx_load_file) &&
        load_each(l, LX_COUNT_SOCKS, lx_load_sock_queue) &&
        load_each(l, LX_COUNT_TABLES, lx_load_table) &&
        load_each(l, LX_COUNT_CONTEXTS, lx_load_context) && lx_load_locks(l) && lx_load_console(l);
    for (int k = 0; k < LX_SB_COUNT; k++)
        l->v->sb[k].next_ino = MAX(l->next_ino[k], l->v->sb[k].next_ino);
    if (l->v->net) {
        l->v->net->next_port = MAX(l->next_port, 32768u);
        l->v->net->next_auto = l->next_auto;
    }
    return ok && !l->r->failed;
}

/* A load that failed: nothing is a name any more, so that the loader's references are the last. */
static void undo_names(struct lx_loaded *l)
{
    for (int k = 0; k < LX_SB_COUNT; k++) {
        struct lx_sb *sb = &l->v->sb[k];
        if (sb->mountpoint) {
            sb->mountpoint->mounted = NULL;
            lx_dentry_put(sb->mountpoint);
            sb->mountpoint = NULL;
        }
        if (sb->root)
            lx_dentry_put(sb->root);
        sb->root = NULL;
    }
    for (uint32_t k = l->object[LX_COUNT_NAMES] ? l->count[LX_COUNT_NAMES] : 0; k-- > 0;)
        if (l->object[LX_COUNT_NAMES][k])
            lx_name_drop(l->object[LX_COUNT_NAMES][k]);
}

res_t lx_vfs_load(struct lx *lx, struct snap_reader *r, struct lx_vfs **out, struct err *err)
{
    struct lx_vfs *v = lx_vfs_alloc(lx);
    struct lx_loaded *l = calloc(1, sizeof *l);
    if (!v || !l) {
        free(l);
        lx_vfs_free(v);
        return err_set(err, ERR_NO_MEMORY, "loading the guest's files");
    }
    v->loaded = l;
    l->v = v;
    l->r = r;
    if (lx_vfs_open_image(v, err) != OK) {
        lx_vfs_free(v);
        return FAIL;
    }
    bool ok = snap_open(r, LX_VFS_TAG, LX_VFS_VERSION) && load_all(l);
    l->r = NULL;
    if (!ok) {
        undo_names(l);
        lx_vfs_free(v);
        if (!r->failed)
            snap_refuse(r, "the guest's files");
        return snap_check(r, err);
    }
    snap_close(r);
    *out = v;
    return OK;
}

/* What the loader holds goes, users before what they use. */
void lx_vfs_load_end(struct lx_vfs *v)
{
    struct lx_loaded *l = v->loaded;
    if (!l)
        return;
    v->loaded = NULL;
#define PUT_EACH(table, type, put)                                       \
    for (uint32_t k = 0; l->object[table] && k < l->count[table]; k++) { \
        type *x = l->object[table][k];                                   \
        if (x)                                                           \
            put;                                                         \
    }
    PUT_EACH(LX_COUNT_CONTEXTS, struct lx_fs, lx_fs_put(x))
    PUT_EACH(LX_COUNT_TABLES, struct lx_files, lx_files_put(x, NULL))
    PUT_EACH(LX_COUNT_FILES, struct lx_file, lx_file_put(x))
    PUT_EACH(LX_COUNT_SOCKS, struct lx_sock, lx_load_sock_end(x))
    PUT_EACH(LX_COUNT_TTYS, struct lx_tty, lx_tty_put(x))
    PUT_EACH(LX_COUNT_NAMES, struct lx_dentry, lx_dentry_put(x))
    PUT_EACH(LX_COUNT_INODES, struct lx_inode, lx_inode_put(x))
    PUT_EACH(LX_COUNT_PIPES, struct lx_pipe, lx_pipe_put(x))
    for (int k = 0; k < LX_COUNTS; k++)
        free(l->object[k]);
    free(l->peers);
    free(l);
}

static void *by_id(struct lx_vfs *v, int table, uint64_t id)
{
    struct lx_loaded *l = v->loaded;
    return l && id && id <= l->count[table] ? l->object[table][id - 1] : NULL;
}

struct lx_files *lx_files_by_snap_id(struct lx_vfs *v, uint64_t id)
{
    struct lx_files *t = by_id(v, LX_COUNT_TABLES, id);
    return t ? lx_files_get(t) : NULL;
}

struct lx_fs *lx_fs_by_snap_id(struct lx_vfs *v, uint64_t id)
{
    struct lx_fs *fs = by_id(v, LX_COUNT_CONTEXTS, id);
    return fs ? lx_fs_get(fs) : NULL;
}

struct lx_file *lx_file_by_snap_id(struct lx_vfs *v, uint64_t id)
{
    struct lx_file *f = by_id(v, LX_COUNT_FILES, id);
    return f ? lx_file_get(f) : NULL;
}

struct lx_tty *lx_tty_by_snap_id(struct lx_vfs *v, uint64_t id)
{
    return by_id(v, LX_COUNT_TTYS, id);
}

struct mem_object *lx_vfs_object_by_snap_id(struct lx_vfs *v, uint64_t id)
{
    struct lx_inode *i = (id & 1) ? by_id(v, LX_COUNT_INODES, id >> 2) : NULL;
    return !i ? NULL : (id & 2) ? i->lower_object : i->object;
}
