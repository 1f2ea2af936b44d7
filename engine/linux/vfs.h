/*
 * linux/vfs.h - what the file side of this room is made of: file systems, inodes, names, open files.
 *
 * inode   an object with attributes and content. Of the image until it is changed: `nid` names its lower half, which is read through
 *         engine/image; attributes are copied into the inode when it is made, content when it is first written (copy-up). The inode
 *         stays the same object with the same number through all of that.
 * dentry  a name in a directory. Clean ones (exactly what the image says) are a cache and go when nobody refers to them;
 *         `upper` ones exist only here; whiteouts hide a name of the image. A name holds its parent.
 * file    an open file description; descriptors of several tables refer to it.
 *
 * Rules, verified by lx_vfs_check():
 *  (1) A hashed dentry is the only one with its (parent, name).
 *  (2) dir->slots holds exactly the hashed upper names and whiteouts of a directory, ascending by seq.
 *  (3) A dirty or upper inode is never dropped while a name or its nid can still lead to it.
 *  (4) refs of a dentry = open files, contexts, mounts and children that point to it, plus one while it is upper or a whiteout.
 *
 * All of it: with lx->lock held.
 */
#ifndef LINUX_VFS_H
#define LINUX_VFS_H

#include "engine/linux/file.h"

#include "engine/base/buf.h"
#include "engine/image/image.h"

#include <fcntl.h>
#include <sys/stat.h>

struct lx_dentry;
struct lx_inode;
struct lx_pipe;
struct lx_sock;
struct lx_iter;

#define LX_NAME_MAX 255
#define LX_LINKS_MAX 40
#define LX_RW_MAX ((uint64_t)0x7ffff000)
#define LX_PIECE_BYTES ((uint64_t)4 << 20) /* what one run of a handler moves at most */
#define LX_INODE_COST 512 /* of the overlay quota, per inode or name made by the guest */
#define LX_LRU_MAX 4096   /* clean names kept without a user */

/* ---- an intrusive hash table that grows ---- */

struct lx_hnode {
    struct lx_hnode *next;
    uint64_t hash;
};
struct lx_hash {
    struct lx_hnode **bucket;
    size_t count, mask;
};
bool lx_hash_init(struct lx_hash *h);
void lx_hash_fini(struct lx_hash *h);
void lx_hash_add(struct lx_hash *h, struct lx_hnode *n, uint64_t hash);
void lx_hash_del(struct lx_hash *h, struct lx_hnode *n);
static inline struct lx_hnode *lx_hash_first(const struct lx_hash *h, uint64_t hash)
{
    return h->bucket[hash & h->mask];
}
static inline uint64_t lx_hash_mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0x9e3779b97f4a7c15u;
    return x ^ x >> 29;
}

/* ---- file systems ---- */

enum lx_sb_kind {
    LX_SB_ROOT,
    LX_SB_DEV,
    LX_SB_PTS,
    LX_SB_PROC,
    LX_SB_PIPE,
    LX_SB_SOCK,
    LX_SB_COUNT
};

struct lx_fs_ops {
    const char *type, *source, *mount_options;
    uint32_t magic; /* statfs f_type */
    bool writable;  /* names can be made (the memory file system) */
    /* A reference to the name, which may be negative (inode NULL); -ENOENT if it is not even worth a negative one. */
    int (*lookup)(struct lx_dentry *dir, const char *name, size_t n, struct lx_dentry **out);
    /* Text of a symbolic link, malloced. */
    int (*readlink)(struct lx_process *p, struct lx_dentry *d, char **text);
    /* A link that jumps (proc's fd/N, exe, cwd): a reference, or -ENOLINK: follow the text. NULL: never. */
    int (*jump)(struct lx_process *p, struct lx_dentry *d, struct lx_dentry **out);
    const struct lx_file_ops *dir_ops, *file_ops; /* of directories and regular files */
    int (*may_open)(struct lx_process *p, struct lx_inode *i); /* beyond the mode; NULL: always */
};

struct lx_sb {
    struct lx_vfs *vfs;
    const struct lx_fs_ops *ops;
    enum lx_sb_kind kind;
    uint32_t dev;
    uint64_t next_ino;
    struct lx_dentry *root;       /* a reference */
    struct lx_dentry *mountpoint; /* a reference; NULL for / and for file systems without names */
};

struct lx_time {
    int64_t s;
    uint32_t ns;
};

struct lx_slot {
    uint64_t seq;
    struct lx_dentry *d; /* NULL: gone */
};

struct lx_inode {
    struct lx_sb *sb;
    uint32_t refs, snap_id;
    struct list all;
    uint64_t ino;
    uint32_t mode, uid, gid, nlink;
    uint32_t rdev_major, rdev_minor;
    struct lx_time atime, mtime, ctime;
    struct lx_hnode by_nid;
    uint64_t nid;
    bool has_nid;  /* came from the image; in vfs->by_nid */
    bool dirty;    /* differs from the image: kept by a reference of its own */
    bool lower;    /* content (or names) of the image still shows through */
    bool charged;  /* against the overlay quota */
    bool mapped;   /* an object of it was given to mmap */
    bool pinned;   /* the reference that dirty holds (has_nid and a name left) */
    bool orphaned; /* nobody but a mapping is left: in vfs->orphans */
    struct list orphan;

    /* regular files */
    uint64_t size; /* of a lower file; otherwise the object's */
    struct img_inode img;
    struct mem_object *object; /* own content; NULL: empty or lower */
    struct mem_object *lower_object;
    uint64_t charged_bytes;
    uint32_t writers, exec_holds;

    /* directories */
    struct lx_slot *slots;
    uint32_t slot_count, slot_cap, live_count; /* live: names that show */
    uint64_t next_seq;

    char *target;         /* symbolic links */
    struct lx_pipe *pipe; /* FIFOs and pipes; a reference */
    struct lx_sock *sock; /* bound AF_UNIX name; borrowed */
    struct list locks;    /* of struct lx_lock */
    uint64_t proc;        /* procfs: entry, process, descriptor or thread */
};

struct lx_dentry {
    struct lx_hnode hash;
    struct lx_sb *sb;
    struct lx_dentry *parent; /* a reference; NULL for roots and nameless objects */
    struct lx_inode *inode;   /* a reference; NULL: negative */
    struct list lru;          /* while refs is 0 */
    struct lx_sb *mounted;    /* a file system hides it */
    uint32_t refs, slot, snap_id;
    bool hashed, upper, whiteout;
    bool covers;  /* upper: a name of the image lies below */
    bool deleted; /* was unlinked: shows in paths */
    uint8_t len;
    char *name;
};

/* next: the position behind this name. False: no room, stop. */
typedef bool (*lx_emit)(void *ctx, const char *name, size_t n, uint64_t ino, uint8_t type,
                        uint64_t next);

struct lx_file_ops {
    /* Move what can be moved now: bytes > 0, 0 (end of file), -EAGAIN (the caller waits with poll), or LX_BLOCKED (after own
     * lx_block). *pos is theirs to move. */
    int64_t (*read)(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos);
    int64_t (*write)(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos);
    /* What is ready (POLLIN...); with c, also lx_block() on every queue that may change it. NULL: always ready. */
    uint32_t (*poll)(struct lx_file *f, struct lx_call *c);
    int64_t (*ioctl)(struct lx_call *c, struct lx_file *f, uint32_t cmd,
                     uint64_t arg);                              /* NULL: ENOTTY */
    int64_t (*seek)(struct lx_file *f, int64_t off, int whence); /* NULL: ESPIPE */
    /* The names behind the position, until emit says stop. */
    int64_t (*readdir)(struct lx_call *c, struct lx_file *f, lx_emit emit, void *ctx);
    void (*release)(struct lx_file *f);
    bool stream; /* no position: pread is ESPIPE */
};
/* The seek of folders: to a position that readdir gave, or the start. */
int64_t lx_dir_seek(struct lx_file *f, int64_t off, int whence);

struct lx_file {
    struct lx_vfs *vfs;
    const struct lx_file_ops *ops;
    struct list all;
    uint32_t refs, snap_id;
    uint32_t flags; /* O_ACCMODE, O_APPEND, O_NONBLOCK, O_PATH ... */
    uint64_t pos;
    struct lx_dentry *dentry; /* a reference */
    struct lx_inode *inode;   /* a reference */
    void *priv;               /* pipe, tty, socket, text of a proc file: by ops */
    uint32_t owner;           /* F_SETOWN */
    bool dead;                /* of a terminal that was hung up */
};

struct lx_net;
struct lx_loaded;
struct lx_vfs {
    struct lx *lx;
    struct img *img; /* NULL: none */
    struct lx_sb sb[LX_SB_COUNT];
    struct lx_hash names, by_nid;
    struct list lru;
    size_t lru_count;
    struct list inodes, files, tables, contexts, orphans, ttys, socks;
    uint64_t quota_bytes, used_bytes;
    uint32_t file_count, pipe_pages, sock_count;
    uint32_t orphan_scan;
    uint64_t next_id; /* pipes, sockets: ino */
    uint32_t lock_count;
    struct lx_waitq lock_wait; /* record locks and flock: any change */
    bool con_eof;              /* nothing more comes to stdin */
    struct lx_pipe *con[3];    /* stdin, stdout, stderr without a terminal */
    struct lx_tty *con_tty;    /* the console, if it is one */
    struct lx_tty **ptys;      /* by number; NULL: free */
    uint32_t pty_count, pty_cap;
    struct lx_net *net;
    struct lx_loaded *loaded; /* between lx_vfs_load and lx_vfs_load_end */
};

/* ---- fs_inode.c: lifetime ---- */

struct lx_inode *lx_inode_new(struct lx_sb *sb, uint32_t mode);
static inline struct lx_inode *lx_inode_get(struct lx_inode *i)
{
    i->refs++;
    return i;
}
void lx_inode_put(struct lx_inode *i);
struct lx_dentry *lx_dentry_new(struct lx_sb *sb, struct lx_dentry *parent, const char *name,
                                size_t n, struct lx_inode *i);
struct lx_dentry *lx_dentry_get(struct lx_dentry *d);
void lx_dentry_put(struct lx_dentry *d);
struct lx_dentry *lx_dentry_find(struct lx_dentry *dir, const char *name,
                                 size_t n); /* cached: a reference, or NULL */
void lx_dentry_hash(struct lx_dentry *d);
void lx_dentry_unhash(struct lx_dentry *d);
void lx_lru_shrink(struct lx_vfs *v, size_t keep);
struct lx_time lx_now(struct lx_vfs *v);
void lx_inode_touch(struct lx_inode *i, bool mtime); /* ctime (and mtime) = now; marks dirty */
void lx_inode_accessed(struct lx_inode *i);          /* relatime */
void lx_inode_dirty(struct lx_inode *i);
void lx_inode_unpin(struct lx_inode *i);
void lx_names_free_all(struct lx_vfs *v);
uint64_t lx_inode_size(const struct lx_inode *i);
/* Charge the overlay quota: 0 or -ENOSPC. */
int lx_charge(struct lx_vfs *v, uint64_t bytes);
void lx_uncharge(struct lx_vfs *v, uint64_t bytes);
bool lx_vfs_check(struct lx_vfs *v);
void lx_slot_restore(struct lx_dentry *d, uint64_t seq); /* loading: in any order */
int lx_slots_sort(struct lx_inode *dir); /* then put in order; -EINVAL: a number twice */
void lx_name_drop(struct lx_dentry *d);  /* a load that failed: d is no name any more */
bool lx_proc_valid(uint64_t proc, uint32_t mode);
struct lx_inode *lx_mem_inode_known(struct lx_vfs *v, uint64_t nid);

/* ---- fs_mem.c: the memory file system over an image ---- */

extern const struct lx_fs_ops lx_root_fs_ops, lx_dev_fs_ops, lx_pts_fs_ops, lx_proc_fs_ops;
extern const struct lx_file_ops lx_mem_dir_ops, lx_mem_file_ops;
struct lx_make {
    uint32_t mode, uid, gid, rdev_major, rdev_minor;
    const char *target;
};
/* Make d, which is negative, a new object. */
int lx_mem_make(struct lx_dentry *d, const struct lx_make *m);
int lx_mem_link(struct lx_dentry *d, struct lx_inode *i);
int lx_mem_remove(struct lx_dentry *d); /* a name; a directory must be empty */
bool lx_mem_dir_empty(struct lx_dentry *d);
int lx_mem_rename(struct lx_dentry *from, struct lx_dentry *to, bool exchange);
int lx_mem_lookup(struct lx_dentry *dir, const char *name, size_t n, struct lx_dentry **out);
int lx_mem_copy_up(struct lx_inode *i);
int lx_mem_resize(struct lx_inode *i, uint64_t size);
/* RLIMIT_FSIZE for a write of *n bytes at off: fewer may go, or it is -EFBIG and the thread gets SIGXFSZ. */
int lx_fsize_write(struct lx_call *c, uint64_t off, uint64_t *n);
int lx_fsize_resize(struct lx_call *c, const struct lx_inode *i, uint64_t size); /* alike, for a new size */
int64_t lx_mem_pread(struct lx_inode *i, uint64_t off, void *p, size_t n);
int64_t lx_mem_pwrite(struct lx_inode *i, uint64_t off, const void *p, size_t n);
int lx_mem_root(struct lx_sb *sb); /* set up sb->root */
struct lx_inode *lx_mem_inode_by_nid(struct lx_sb *sb, uint64_t nid, int *error);

/* ---- fs_walk.c: names to dentries, and who may ---- */

struct lx_cred {
    uint32_t uid, gid;
    const uint32_t *groups;
    uint32_t group_count;
};
struct lx_cred lx_cred_of(const struct lx_process *p);
enum { LX_MAY_X = 1, LX_MAY_W = 2, LX_MAY_R = 4 };
int lx_may(const struct lx_cred *cr, const struct lx_inode *i, int want); /* 0 or -EACCES */
bool lx_owner_or_root(const struct lx_cred *cr, const struct lx_inode *i);
bool lx_in_group(const struct lx_cred *cr, uint32_t gid);

enum lx_walk_flag {
    LX_WALK_FOLLOW = 1,   /* a link in the last place */
    LX_WALK_DIR = 2,      /* the result must be a directory */
    LX_WALK_EMPTY = 4,    /* "" is the base itself */
    LX_WALK_REAL_IDS = 8, /* access(2) */
};
struct lx_base {
    struct lx_process *p;
    struct lx_cred cred;
    struct lx_dentry *root,
        *start; /* borrowed; start NULL: error says why, if the path is relative */
    int error;
};
/* Where a relative path starts. */
struct lx_base lx_base_at(struct lx_process *p, int64_t dirfd);
/* A positive name, as a reference. */
int lx_walk(const struct lx_base *b, const char *path, unsigned flags, struct lx_dentry **out);
/* The directory (a reference) and the last component of path (inside path's own storage, or of the last link followed, copied to buf). */
enum lx_last { LX_LAST_NAME, LX_LAST_DOT, LX_LAST_DOTDOT, LX_LAST_ROOT };
struct lx_parent {
    struct lx_dentry *dir;
    enum lx_last kind;
    bool slash; /* a trailing slash */
    size_t len;
    char name[LX_NAME_MAX + 1];
    int links_left;
};
int lx_walk_parent(const struct lx_base *b, const char *path, struct lx_parent *out);
/* d, the last name of p, is a symbolic link: p becomes the parent of what it leads to, or *jumped is that itself (and p keeps nothing). */
int lx_walk_follow(const struct lx_base *b, struct lx_parent *p, struct lx_dentry *d,
                   struct lx_dentry **jumped);
/* Look up one name in dir without following anything; mounts are crossed. May be negative. */
int lx_lookup_last(const struct lx_parent *p, struct lx_dentry **out);
int lx_readlink(struct lx_process *p, struct lx_dentry *d, char **text);
/* Copy a path argument; malloced. */
int lx_path_arg(struct lx_call *c, uint64_t addr, char **path);
/* Absolute path of d below root ("(unreachable)" aside), malloced. deleted: append " (deleted)" if so. */
char *lx_dentry_path(struct lx_dentry *d, struct lx_dentry *root, bool deleted);
struct lx_dentry *lx_cross_mounts(struct lx_dentry *d); /* takes over and gives a reference */

/* ---- fs_file.c: open files and moving bytes ---- */

struct lx_file *lx_file_new(struct lx_vfs *v, struct lx_dentry *d, uint32_t flags,
                            const struct lx_file_ops *ops);
/* A file for d as open(2) makes it, devices and FIFOs included; may block (FIFOs): LX_BLOCKED. */
int64_t lx_file_open(struct lx_call *c, struct lx_dentry *d, uint32_t flags, struct lx_file **f);
/* The file of a descriptor, kept over blocking in c->held; NULL: -EBADF. O_PATH files count as none. */
struct lx_file *lx_call_file(struct lx_call *c, int64_t fd);
/* Ends a handler: gives c->held back unless the call goes on. */
int64_t lx_finish(struct lx_call *c, int64_t result);
/* Nothing could be moved now (done bytes were before): what the call says, or LX_BLOCKED. events: POLLIN or POLLOUT. */
int64_t lx_file_wait(struct lx_call *c, struct lx_file *f, int64_t done);
/* Give others a turn and go on: LX_BLOCKED. */
int64_t lx_yield(struct lx_call *c);
/* A nameless object (pipe, socket): dentry with this text. */
struct lx_dentry *lx_nameless(struct lx_sb *sb, struct lx_inode *i, const char *text);

struct lx_iov {
    uint64_t base, len;
};
struct lx_iter {
    struct mem_space *mem; /* NULL: bytes of the emulator's own at kernel */
    uint8_t *kernel;
    struct lx_iov *iov, one, few[8];
    uint32_t count, at;
    uint64_t off; /* in iov[at] */
    uint64_t left;
};
void lx_iter_kernel(struct lx_iter *it, void *p, size_t n);
void lx_iter_one(struct lx_iter *it, struct mem_space *mem, uint64_t base, uint64_t n);
int lx_iter_vec(struct lx_iter *it, struct mem_space *mem, uint64_t iov, uint64_t count);
void lx_iter_fini(struct lx_iter *it);
void lx_iter_skip(struct lx_iter *it, uint64_t n);
/* Move n <= left bytes; fewer only at a bad address (then 0 means -EFAULT for the caller). */
size_t lx_iter_put(struct lx_iter *it, const void *p, size_t n);
size_t lx_iter_get(struct lx_iter *it, void *p, size_t n);

/* ---- fd.c ---- */

struct lx_files {
    struct lx_vfs *vfs;
    struct list all;
    uint32_t refs, snap_id, limit, cap, open_count;
    struct lx_file **file;
    uint64_t *used, *cloexec; /* bitmaps */
    uint64_t *full;           /* bitmap over words of used that are all ones */
};
struct lx_fs {
    struct lx_vfs *vfs;
    struct list all;
    uint32_t refs, snap_id, umask;
    struct lx_dentry *root, *cwd;
};
struct lx_files *lx_files_make(struct lx_vfs *v);
struct lx_fs *lx_fs_make(struct lx_vfs *v, struct lx_dentry *root, struct lx_dentry *cwd,
                         uint32_t mask);
int lx_files_install_at(struct lx_files *t, struct lx_file *f, uint32_t from, bool cloexec);
/* Any file, O_PATH too. */
struct lx_file *lx_files_any(struct lx_files *t, int64_t fd);
int lx_files_close(struct lx_files *t, int64_t fd, struct lx_process *p);
int lx_files_replace(struct lx_files *t, uint32_t fd, struct lx_file *f, bool cloexec,
                     struct lx_process *p);                   /* dup3 */
bool lx_files_cloexec(const struct lx_files *t, uint32_t fd); /* of an open descriptor */
void lx_files_set_cloexec(struct lx_files *t, uint32_t fd, bool on);
void lx_fs_set(struct lx_dentry **place,
               struct lx_dentry *d); /* takes d's reference, gives the old one's */

/* ---- fs_lock.c ---- */

struct lx_lock {
    struct list link; /* inode->locks */
    bool flock, write;
    const void *owner; /* struct lx_files (POSIX) or struct lx_file (flock) */
    uint32_t pid;
    uint64_t start, end; /* inclusive; UINT64_MAX: to the end */
};
void lx_locks_drop(struct lx_inode *i, const void *owner);
int64_t lx_lock_fcntl(struct lx_call *c, struct lx_file *f, uint32_t cmd, uint64_t arg);

/* ---- pipe.c ---- */

struct lx_pipe {
    struct lx_vfs *vfs;
    uint32_t refs, readers, writers;
    uint32_t opens_r, opens_w; /* how often opened, for FIFOs' open */
    uint32_t cap, len, head, alloc;
    uint8_t *data;
    bool console; /* an end is outside: tell config->console */
    struct lx_waitq wait;
    uint32_t snap_id;
};
extern const struct lx_file_ops lx_pipe_ops;
struct lx_pipe *lx_pipe_new(struct lx_vfs *v);
void lx_pipe_put(struct lx_pipe *p);
size_t lx_pipe_take(struct lx_pipe *p, void *out, size_t n); /* raw ring */
size_t lx_pipe_give(struct lx_pipe *p, const void *in, size_t n);
int64_t lx_fifo_open(struct lx_call *c, struct lx_dentry *d, uint32_t flags, struct lx_file **f);
int64_t lx_fifo_resume(struct lx_call *c, struct lx_file **f); /* openat runs again */
struct lx_file *lx_pipe_file(struct lx_dentry *d,
                             uint32_t flags); /* an end, or both, of d's pipe */
struct lx_dentry *lx_pipe_dentry(struct lx_vfs *v, struct lx_pipe *p, uint32_t uid, uint32_t gid);
int64_t lx_pipe_set_size(struct lx_pipe *p, uint64_t bytes);
void lx_pipe_changed(struct lx_pipe *p);
void lx_statfs(struct lx_sb *sb, uint64_t *blocks, uint64_t *free_blocks);

/* ---- fs_dev.c, tty*.c, fs_proc*.c, sock*.c ---- */

int lx_dev_populate(struct lx_vfs *v);
int64_t lx_dev_open(struct lx_call *c, struct lx_file *f);
const struct lx_file_ops *lx_dev_ops(uint32_t major, uint32_t minor); /* memory devices; NULL */
int lx_proc_root(struct lx_sb *sb);
struct lx_inode *lx_proc_inode(struct lx_sb *sb, uint64_t proc, uint32_t mode);
extern const struct lx_file_ops lx_proc_file_ops, lx_path_ops;
int lx_pts_root(struct lx_sb *sb);
void lx_net_free(struct lx_vfs *v);
struct lx_vfs *lx_vfs_alloc(struct lx *lx);
res_t lx_vfs_open_image(struct lx_vfs *v, struct err *err);
#define ENOIOCTLCMD_LX 515 /* between files of this side: not mine, ask the next */
int64_t lx_sock_ioctl(struct lx_call *c, struct lx_file *f, uint32_t cmd, uint64_t arg);
struct lx_sock *lx_file_sock(struct lx_file *f); /* NULL: not a socket */

/* Small accessors of guest memory: 0 or -EFAULT. */
int lx_get(struct lx_call *c, uint64_t addr, void *p, size_t n);
int lx_put(struct lx_call *c, uint64_t addr, const void *p, size_t n);

static inline bool lx_readable(const struct lx_file *f)
{
    uint32_t acc = f->flags & O_ACCMODE;
    return acc == O_RDONLY || acc == O_RDWR;
}
static inline bool lx_writable(const struct lx_file *f)
{
    uint32_t acc = f->flags & O_ACCMODE;
    return acc == O_WRONLY || acc == O_RDWR;
}

#endif
