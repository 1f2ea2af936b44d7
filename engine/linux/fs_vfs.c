/* A guest's file systems: made, mounted, taken down; its console. */
#include "engine/linux/sock.h"
#include "engine/linux/tty.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- making ---- */

static const struct lx_fs_ops anon_pipe_ops = {
    .type = "pipefs", .source = "pipefs", .magic = 0x50495045};
static const struct lx_fs_ops anon_sock_ops = {
    .type = "sockfs", .source = "sockfs", .magic = 0x534f434b};

static const struct lx_fs_ops *const fs_kinds[LX_SB_COUNT] = {
    [LX_SB_ROOT] = &lx_root_fs_ops, [LX_SB_DEV] = &lx_dev_fs_ops,  [LX_SB_PTS] = &lx_pts_fs_ops,
    [LX_SB_PROC] = &lx_proc_fs_ops, [LX_SB_PIPE] = &anon_pipe_ops, [LX_SB_SOCK] = &anon_sock_ops};

struct lx_vfs *lx_vfs_alloc(struct lx *lx)
{
    struct lx_vfs *v = calloc(1, sizeof *v);
    if (!v)
        return NULL;
    v->lx = lx;
    v->quota_bytes = lx_config_of(lx)->overlay_bytes_max;
    struct list *lists[] = {&v->lru,      &v->inodes,  &v->files, &v->tables,
                            &v->contexts, &v->orphans, &v->ttys,  &v->socks};
    for (size_t k = 0; k < ARRAY_LEN(lists); k++)
        list_init(lists[k]);
    lx_waitq_init(&v->lock_wait);
    if (!lx_hash_init(&v->names) || !lx_hash_init(&v->by_nid)) {
        lx_hash_fini(&v->names);
        free(v);
        return NULL;
    }
    for (uint32_t k = 0; k < LX_SB_COUNT; k++)
        v->sb[k] =
            (struct lx_sb){.vfs = v, .ops = fs_kinds[k], .kind = k, .dev = 20 + k, .next_ino = 1};
    return v;
}

/* The directory of this name in dir, made if it is not there. A reference. */
static int dir_in(struct lx_dentry *dir, const char *name, uint32_t mode, struct lx_dentry **out)
{
    struct lx_dentry *d;
    struct lx_make m = {.mode = S_IFDIR | mode};
    int e = lx_mem_lookup(dir, name, strlen(name), &d);
    if (e)
        return e;
    if (!d->inode)
        e = lx_mem_make(d, &m);
    else if (!S_ISDIR(d->inode->mode))
        e = -ENOTDIR;
    if (e)
        lx_dentry_put(d);
    else
        *out = d;
    return e;
}

static void mount_on(struct lx_sb *sb, struct lx_dentry *d)
{
    sb->mountpoint = d;
    d->mounted = sb;
}

static int mount_all(struct lx_vfs *v)
{
    struct lx_dentry *d;
    int e = lx_mem_root(&v->sb[LX_SB_DEV]);
    if (!e)
        e = lx_pts_root(&v->sb[LX_SB_PTS]);
    if (!e)
        e = lx_proc_root(&v->sb[LX_SB_PROC]);
    if (!e)
        e = lx_dev_populate(v);
    if (!e && !(e = dir_in(v->sb[LX_SB_ROOT].root, "dev", 0755, &d)))
        mount_on(&v->sb[LX_SB_DEV], d);
    if (!e && !(e = dir_in(v->sb[LX_SB_ROOT].root, "proc", 0555, &d)))
        mount_on(&v->sb[LX_SB_PROC], d);
    if (!e && !(e = dir_in(v->sb[LX_SB_DEV].root, "pts", 0755, &d)))
        mount_on(&v->sb[LX_SB_PTS], d);
    if (!e && !(e = dir_in(v->sb[LX_SB_ROOT].root, "tmp", 01777, &d)))
        lx_dentry_put(d);
    return e;
}

/* config->program becomes /vivarium/init; it is not counted against the guest's quota. */
static int put_program(struct lx_vfs *v, const void *p, size_t n)
{
    struct lx_dentry *dir, *d;
    struct lx_make m = {.mode = S_IFREG | 0755};
    int e = dir_in(v->sb[LX_SB_ROOT].root, "vivarium", 0755, &dir);
    if (e)
        return e;
    e = lx_mem_lookup(dir, "init", 4, &d);
    if (!e && !d->inode)
        e = lx_mem_make(d, &m);
    v->quota_bytes += ALIGN_UP(n, PAGE_SIZE) + PAGE_SIZE;
    for (size_t done = 0; !e && done < n;) {
        int64_t w = lx_mem_pwrite(d->inode, done, (const char *)p + done, n - done);
        if (w <= 0)
            e = w ? (int)w : -ENOSPC;
        else
            done += (size_t)w;
    }
    lx_dentry_put(d);
    lx_dentry_put(dir);
    return e;
}

static int console_new(struct lx_vfs *v)
{
    const struct lx_config *cfg = lx_config_of(v->lx);
    if (cfg->tty) {
        v->con_tty = lx_tty_new(v, 4, 64);
        if (!v->con_tty)
            return -ENOMEM;
        v->con_tty->size = (struct lx_winsize){.rows = cfg->rows, .cols = cfg->cols};
        v->con_tty->raw->console = v->con_tty->out->console = true;
        return 0;
    }
    for (int k = 0; k < 3; k++) {
        if (!(v->con[k] = lx_pipe_new(v)))
            return -ENOMEM;
        v->con[k]->console = true;
        if (k == 0) /* the end outside */
            v->con[k]->writers = v->con[k]->opens_w = 1;
        else
            v->con[k]->readers = v->con[k]->opens_r = 1;
    }
    return 0;
}

res_t lx_vfs_open_image(struct lx_vfs *v, struct err *err)
{
    const struct lx_config *cfg = lx_config_of(v->lx);
    return cfg->image_fd < 0 ? OK : img_open(cfg->image_fd, &v->img, err);
}

res_t lx_vfs_new(struct lx *lx, struct lx_vfs **out, struct err *err)
{
    const struct lx_config *cfg = lx_config_of(lx);
    struct lx_vfs *v = lx_vfs_alloc(lx);
    if (!v)
        return err_set(err, ERR_NO_MEMORY, "file system");
    if (lx_vfs_open_image(v, err) != OK) {
        lx_vfs_free(v);
        return FAIL;
    }
    int e = lx_mem_root(&v->sb[LX_SB_ROOT]);
    if (!e)
        e = mount_all(v);
    if (!e && cfg->program_bytes)
        e = put_program(v, cfg->program, cfg->program_bytes);
    if (!e)
        e = console_new(v);
    if (e) {
        lx_vfs_free(v);
        return err_set(err,
                       e == -ENOMEM   ? ERR_NO_MEMORY
                       : e == -ENOSPC ? ERR_LIMIT
                                      : ERR_BAD_IMAGE,
                       "the guest's file system: %s", strerror(-e));
    }
    *out = v;
    return OK;
}

void lx_vfs_free(struct lx_vfs *v)
{
    if (!v)
        return;
    lx_vfs_load_end(v);
    lx_socks_drop_all(v);
    ASSERT(list_empty(&v->files) && list_empty(&v->tables) && list_empty(&v->contexts));
    if (v->con_tty)
        lx_tty_put(v->con_tty);
    for (int k = 0; k < 3; k++)
        if (v->con[k])
            lx_pipe_put(v->con[k]);
    lx_names_free_all(v);
    lx_hash_fini(&v->names);
    lx_hash_fini(&v->by_nid);
    lx_net_free(v);
    img_close(v->img);
    free(v->ptys);
    free(v);
}

uint64_t lx_vfs_overlay_bytes(struct lx_vfs *v)
{
    return v->used_bytes;
}

/* ---- the console ---- */

static int stdio_pipe(struct lx_process *p, int fd)
{
    struct lx_vfs *v = lx_vfs_of(p->lx);
    struct lx_dentry *d = lx_pipe_dentry(v, v->con[fd], p->uid, p->gid);
    if (!d)
        return -ENOMEM;
    struct lx_file *f = lx_pipe_file(d, fd ? O_WRONLY : O_RDONLY);
    lx_dentry_put(d);
    if (!f)
        return -ENFILE;
    int e = lx_files_install(p->files, f, false);
    lx_file_put(f);
    return e < 0 ? e : 0;
}

static int stdio_tty(struct lx_process *p)
{
    struct lx_vfs *v = lx_vfs_of(p->lx);
    struct lx_base b = lx_base_at(p, AT_FDCWD);
    struct lx_dentry *d;
    b.root = b.start = v->sb[LX_SB_ROOT].root;
    b.cred.uid = 0;
    int e = lx_walk(&b, "/dev/ttyS0", LX_WALK_FOLLOW, &d);
    if (e)
        return e;
    d->inode->uid = p->uid;
    d->inode->gid = 5;
    struct lx_file *f = lx_file_new(v, d, O_RDWR, &lx_tty_ops);
    lx_dentry_put(d);
    if (!f)
        return -ENFILE;
    lx_tty_attach(f, v->con_tty);
    lx_tty_set_controlling(p, v->con_tty);
    for (int k = 0; k < 3 && e >= 0; k++)
        e = lx_files_install(p->files, f, false);
    lx_file_put(f);
    return e < 0 ? e : 0;
}

int lx_stdio_setup(struct lx_process *p)
{
    if (lx_vfs_of(p->lx)->con_tty)
        return stdio_tty(p);
    int e = 0;
    for (int fd = 0; fd < 3 && !e; fd++)
        e = stdio_pipe(p, fd);
    return e;
}

size_t lx_con_read(struct lx_vfs *v, int stream, void *p, size_t n)
{
    if (stream != 1 && stream != 2)
        return 0;
    struct lx_pipe *ring = v->con_tty ? (stream == 1 ? v->con_tty->out : NULL) : v->con[stream];
    size_t k = ring ? lx_pipe_take(ring, p, n) : 0;
    if (k) {
        lx_wake_all(v->lx, &ring->wait);
        if (v->con_tty)
            lx_tty_changed(v->con_tty);
    }
    return k;
}

size_t lx_con_write(struct lx_vfs *v, const void *p, size_t n)
{
    struct lx_pipe *ring = v->con_tty ? v->con_tty->raw : v->con[0];
    if (!v->con_tty && v->con_eof)
        return 0;
    size_t k = lx_pipe_give(ring, p, n);
    if (!k)
        return 0;
    if (v->con_tty)
        lx_tty_pump(v->con_tty);
    else
        lx_wake_all(v->lx, &ring->wait);
    return k;
}

void lx_con_eof(struct lx_vfs *v)
{
    if (v->con_tty || v->con_eof)
        return;
    v->con_eof = true;
    v->con[0]->writers--;
    lx_wake_all(v->lx, &v->con[0]->wait);
}

void lx_con_resize(struct lx_vfs *v, uint16_t rows, uint16_t cols)
{
    struct lx_winsize size = {.rows = rows, .cols = cols};
    if (v->con_tty)
        lx_tty_resize(v->con_tty, &size);
}
