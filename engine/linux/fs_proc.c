/* procfs: the directory tree. Names are made when they are looked for and never kept; texts when they are first read. */
#include "engine/linux/fs_proc.h"
#include "engine/linux/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the entries ---- */

enum node {
    N_ROOT,
    N_PID,
    N_TASK,
    N_TID,
    N_FD,
    N_FDINFO,
    N_NET,
    N_SYS,
    N_SYS_KERNEL,
    N_SYS_RANDOM,
    N_SYS_VM,
    N_SYS_FS,
    N_SYS_NET,
    N_SYS_NET_CORE,
    N_DIRS, /* those above are directories */
    N_FD_LINK = N_DIRS,
    N_FD_TEXT,
    N_TABLE /* from here on: an index of the table */
};

static const struct entry {
    uint8_t parent, dir; /* dir: which directory it is, 0: none */
    uint32_t mode;
    const char *name;
    lx_proc_text text;
    const char *link; /* "": by lx_proc_link */
} table[] = {
    {N_ROOT, 0, S_IFLNK | 0777, "self", NULL, ""},
    {N_ROOT, 0, S_IFLNK | 0777, "thread-self", NULL, ""},
    {N_ROOT, 0, S_IFREG | 0444, "meminfo", lx_proc_sys_meminfo, NULL},
    {N_ROOT, 0, S_IFREG | 0444, "cpuinfo", lx_proc_sys_cpuinfo, NULL},
    {N_ROOT, 0, S_IFREG | 0444, "uptime", lx_proc_sys_uptime, NULL},
    {N_ROOT, 0, S_IFREG | 0444, "loadavg", lx_proc_sys_loadavg, NULL},
    {N_ROOT, 0, S_IFREG | 0444, "stat", lx_proc_sys_stat, NULL},
    {N_ROOT, 0, S_IFREG | 0444, "version", lx_proc_sys_version, NULL},
    {N_ROOT, 0, S_IFREG | 0444, "filesystems", lx_proc_sys_filesystems, NULL},
    {N_ROOT, 0, S_IFREG | 0444, "cmdline", lx_proc_sys_cmdline, NULL},
    {N_ROOT, 0, S_IFREG | 0444, "cgroups", lx_proc_sys_cgroups, NULL},
    {N_ROOT, 0, S_IFREG | 0444, "devices", lx_proc_sys_devices, NULL},
    {N_ROOT, 0, S_IFLNK | 0777, "mounts", NULL, "self/mounts"},
    {N_ROOT, 0, S_IFLNK | 0777, "net", NULL, "self/net"},
    {N_ROOT, N_SYS, S_IFDIR | 0555, "sys", NULL, NULL},
    {N_SYS, N_SYS_KERNEL, S_IFDIR | 0555, "kernel", NULL, NULL},
    {N_SYS, N_SYS_VM, S_IFDIR | 0555, "vm", NULL, NULL},
    {N_SYS, N_SYS_FS, S_IFDIR | 0555, "fs", NULL, NULL},
    {N_SYS, N_SYS_NET, S_IFDIR | 0555, "net", NULL, NULL},
    {N_SYS_NET, N_SYS_NET_CORE, S_IFDIR | 0555, "core", NULL, NULL},
    {N_SYS_NET_CORE, 0, S_IFREG | 0444, "somaxconn", lx_proc_sys_somaxconn, NULL},
    {N_SYS_KERNEL, 0, S_IFREG | 0444, "hostname", lx_proc_sys_hostname, NULL},
    {N_SYS_KERNEL, 0, S_IFREG | 0444, "domainname", lx_proc_sys_domainname, NULL},
    {N_SYS_KERNEL, 0, S_IFREG | 0444, "osrelease", lx_proc_sys_osrelease, NULL},
    {N_SYS_KERNEL, 0, S_IFREG | 0444, "ostype", lx_proc_sys_ostype, NULL},
    {N_SYS_KERNEL, 0, S_IFREG | 0444, "version", lx_proc_sys_kversion, NULL},
    {N_SYS_KERNEL, 0, S_IFREG | 0444, "pid_max", lx_proc_sys_pid_max, NULL},
    {N_SYS_KERNEL, 0, S_IFREG | 0444, "ngroups_max", lx_proc_sys_ngroups_max, NULL},
    {N_SYS_KERNEL, N_SYS_RANDOM, S_IFDIR | 0555, "random", NULL, NULL},
    {N_SYS_RANDOM, 0, S_IFREG | 0444, "uuid", lx_proc_sys_random_uuid, NULL},
    {N_SYS_VM, 0, S_IFREG | 0444, "overcommit_memory", lx_proc_sys_overcommit, NULL},
    {N_SYS_FS, 0, S_IFREG | 0444, "file-max", lx_proc_sys_file_max, NULL},
    {N_SYS_FS, 0, S_IFREG | 0444, "pipe-max-size", lx_proc_sys_pipe_max, NULL},
    {N_PID, N_TASK, S_IFDIR | 0555, "task", NULL, NULL},
    {N_PID, N_FD, S_IFDIR | 0500, "fd", NULL, NULL},
    {N_PID, N_FDINFO, S_IFDIR | 0500, "fdinfo", NULL, NULL},
    {N_PID, N_NET, S_IFDIR | 0555, "net", NULL, NULL},
    {N_PID, 0, S_IFREG | 0444, "stat", lx_proc_stat, NULL},
    {N_PID, 0, S_IFREG | 0444, "status", lx_proc_status, NULL},
    {N_PID, 0, S_IFREG | 0444, "statm", lx_proc_statm, NULL},
    {N_PID, 0, S_IFREG | 0444, "cmdline", lx_proc_cmdline, NULL},
    {N_PID, 0, S_IFREG | 0400, "environ", lx_proc_environ, NULL},
    {N_PID, 0, S_IFREG | 0444, "comm", lx_proc_comm, NULL},
    {N_PID, 0, S_IFREG | 0444, "maps", lx_proc_maps, NULL},
    {N_PID, 0, S_IFREG | 0444, "mounts", lx_proc_mounts, NULL},
    {N_PID, 0, S_IFREG | 0444, "mountinfo", lx_proc_mountinfo, NULL},
    {N_PID, 0, S_IFREG | 0444, "limits", lx_proc_limits, NULL},
    {N_PID, 0, S_IFREG | 0444, "cgroup", lx_proc_cgroup, NULL},
    {N_PID, 0, S_IFREG | 0444, "oom_score", lx_proc_zero, NULL},
    {N_PID, 0, S_IFREG | 0644, "oom_score_adj", lx_proc_zero, NULL},
    {N_PID, 0, S_IFLNK | 0777, "exe", NULL, ""},
    {N_PID, 0, S_IFLNK | 0777, "cwd", NULL, ""},
    {N_PID, 0, S_IFLNK | 0777, "root", NULL, ""},
    {N_NET, 0, S_IFREG | 0444, "dev", lx_proc_sys_net_dev, NULL},
    {N_NET, 0, S_IFREG | 0444, "tcp", lx_proc_sys_net_tcp, NULL},
    {N_NET, 0, S_IFREG | 0444, "udp", lx_proc_sys_net_udp, NULL},
    {N_NET, 0, S_IFREG | 0444, "unix", lx_proc_sys_net_unix, NULL},
    {N_NET, 0, S_IFREG | 0444, "route", lx_proc_sys_net_route, NULL},
};

/* An inode's proc word: what it is, of which process, and a descriptor or thread. */
static uint64_t pack(uint32_t node, uint32_t pid, uint32_t extra)
{
    return node | (uint64_t)pid << 8 | (uint64_t)extra << 36;
}
static uint32_t node_of(const struct lx_inode *i)
{
    return i->proc & 0xff;
}
static uint32_t pid_of(const struct lx_inode *i)
{
    return i->proc >> 8 & 0xfffffff;
}
static uint32_t extra_of(const struct lx_inode *i)
{
    return (uint32_t)(i->proc >> 36);
}

static struct lx_process *process_of(const struct lx_inode *i)
{
    return pid_of(i) ? lx_process_find(i->sb->vfs->lx, pid_of(i)) : NULL;
}

/* ---- inodes and names ---- */

struct lx_inode *lx_proc_inode(struct lx_sb *sb, uint64_t proc, uint32_t mode)
{
    struct lx_inode *i = lx_inode_new(sb, mode);
    if (!i)
        return NULL;
    i->proc = proc;
    i->ino = lx_hash_mix(proc) >> 16 | 1;
    if (S_ISDIR(mode))
        i->nlink = 2;
    struct lx_process *p = process_of(i);
    if (p) {
        i->uid = p->euid;
        i->gid = p->egid;
    }
    return i;
}

int lx_proc_root(struct lx_sb *sb)
{
    struct lx_inode *i = lx_proc_inode(sb, pack(N_ROOT, 0, 0), S_IFDIR | 0555);
    if (!i)
        return -ENOMEM;
    i->ino = 1;
    sb->root = lx_dentry_new(sb, NULL, "", 0, i);
    if (!sb->root)
        lx_inode_put(i);
    return sb->root ? 0 : -ENOMEM;
}

static int make_name(struct lx_dentry *dir, const char *name, size_t n, uint64_t proc,
                     uint32_t mode, struct lx_dentry **out)
{
    struct lx_inode *i = lx_proc_inode(dir->sb, proc, mode);
    if (!i)
        return -ENOMEM;
    *out = lx_dentry_new(dir->sb, dir, name, n, i);
    if (!*out)
        lx_inode_put(i);
    return *out ? 0 : -ENOMEM;
}

static bool number(const char *s, size_t n, uint32_t *out)
{
    uint32_t x = 0;
    if (!n || n > 9 || (s[0] == '0' && n > 1))
        return false;
    for (size_t k = 0; k < n; k++) {
        if (s[k] < '0' || s[k] > '9')
            return false;
        x = x * 10 + (uint32_t)(s[k] - '0');
    }
    *out = x;
    return true;
}

struct tid_search {
    uint32_t tid;
    bool found;
};

static void match_tid(void *ctx, uint32_t tid)
{
    struct tid_search *s = ctx;
    s->found |= tid == s->tid;
}

static uint32_t fd_mode(const struct lx_file *f)
{
    return S_IFLNK | (lx_readable(f) ? 0500u : 0) | (lx_writable(f) ? 0300u : 0);
}

static int lookup_number(struct lx_dentry *dir, const char *name, size_t n, uint32_t x,
                         struct lx_dentry **out)
{
    struct lx_inode *i = dir->inode;
    struct lx_process *p = process_of(i);
    struct lx *lx = dir->sb->vfs->lx;
    switch (node_of(i)) {
    case N_ROOT:
        if (!x || !lx_process_find(lx, x))
            return -ENOENT;
        return make_name(dir, name, n, pack(N_PID, x, 0), S_IFDIR | 0555, out);
    case N_TASK: {
        struct tid_search s = {x, false};
        if (p)
            lx_process_each_thread(p, match_tid, &s);
        if (!s.found)
            return -ENOENT;
        return make_name(dir, name, n, pack(N_TID, pid_of(i), x), S_IFDIR | 0555, out);
    }
    case N_FD:
    case N_FDINFO: {
        struct lx_file *f = p && p->files ? lx_files_any(p->files, x) : NULL;
        if (!f)
            return -ENOENT;
        if (node_of(i) == N_FD)
            return make_name(dir, name, n, pack(N_FD_LINK, pid_of(i), x), fd_mode(f), out);
        return make_name(dir, name, n, pack(N_FD_TEXT, pid_of(i), x), S_IFREG | 0400, out);
    }
    default:
        return -ENOENT;
    }
}

/* The directory whose entries of the table show in a directory of this kind. */
static uint32_t listing_of(uint32_t node)
{
    return node == N_TID ? N_PID : node;
}

static bool shows(const struct entry *t, uint32_t node)
{
    return t->parent == listing_of(node) && !(node == N_TID && t->dir == N_TASK);
}

static int proc_lookup(struct lx_dentry *dir, const char *name, size_t n, struct lx_dentry **out)
{
    struct lx_inode *i = dir->inode;
    uint32_t node = node_of(i), x;
    int e = -ENOENT;
    if (pid_of(i) && !process_of(i))
        e = -ENOENT;
    else if (number(name, n, &x))
        e = lookup_number(dir, name, n, x, out);
    else
        for (size_t k = 0; k < ARRAY_LEN(table); k++)
            if (shows(&table[k], node) && strlen(table[k].name) == n &&
                !memcmp(table[k].name, name, n)) {
                uint64_t proc = pack(table[k].dir ? table[k].dir : (uint32_t)(N_TABLE + k),
                                     pid_of(i), extra_of(i));
                return make_name(dir, name, n, proc, table[k].mode, out);
            }
    if (e != -ENOENT)
        return e;
    *out = lx_dentry_new(dir->sb, dir, name, n, NULL); /* negative */
    return *out ? 0 : -ENOMEM;
}

/* ---- links ---- */

/* Other people's processes are not looked into (ptrace(2), PTRACE_MODE_READ). */
static bool may_look(struct lx_process *who, struct lx_process *at)
{
    return who == at || who->euid == 0 ||
           (who->euid == at->uid && who->euid == at->euid && who->euid == at->suid);
}

static int copy_text(const char *s, char **text)
{
    *text = strdup(s);
    return *text ? 0 : -ENOMEM;
}

static int proc_readlink(struct lx_process *who, struct lx_dentry *d, char **text)
{
    struct lx_inode *i = d->inode;
    struct lx_vfs *v = d->sb->vfs;
    struct lx_process *p = process_of(i);
    char buf[40];
    if (node_of(i) == N_FD_LINK) {
        struct lx_file *f = p && p->files ? lx_files_any(p->files, extra_of(i)) : NULL;
        if (!f)
            return -ENOENT;
        if (!may_look(who, p))
            return -EACCES;
        *text = lx_file_path(f);
        return *text ? 0 : -ENOMEM;
    }
    const struct entry *t = &table[node_of(i) - N_TABLE];
    if (*t->link)
        return copy_text(t->link, text);
    if (!strcmp(t->name, "self") || !strcmp(t->name, "thread-self")) {
        snprintf(buf, sizeof buf, *t->name == 's' ? "%u" : "%u/task/%u", who->pid, who->pid);
        return copy_text(buf, text);
    }
    if (!p || !p->fs)
        return -ENOENT;
    if (!may_look(who, p))
        return -EACCES;
    if (!strcmp(t->name, "exe"))
        return p->exe_path ? copy_text(p->exe_path, text) : -ENOENT;
    *text =
        lx_dentry_path(*t->name == 'c' ? p->fs->cwd : p->fs->root, v->sb[LX_SB_ROOT].root, true);
    return *text ? 0 : -ENOMEM;
}

static int proc_jump(struct lx_process *who, struct lx_dentry *d, struct lx_dentry **out)
{
    struct lx_inode *i = d->inode;
    struct lx_process *p = process_of(i);
    struct lx_dentry *to = NULL;
    if (node_of(i) == N_FD_LINK) {
        struct lx_file *f = p && p->files ? lx_files_any(p->files, extra_of(i)) : NULL;
        to = f ? f->dentry : NULL;
    } else {
        const struct entry *t = &table[node_of(i) - N_TABLE];
        bool cwd = !strcmp(t->name, "cwd"), root = !strcmp(t->name, "root");
        if (!cwd && !root)
            return -ENOLINK;
        if (p && p->fs)
            to = cwd ? p->fs->cwd : p->fs->root;
    }
    if (!to)
        return -ENOENT;
    if (!may_look(who, p))
        return -EACCES;
    *out = lx_dentry_get(to);
    return 0;
}

/* ---- directories as files ---- */

struct listing {
    struct lx_file *f;
    lx_emit emit;
    void *ctx;
    bool full;
};

static bool list_one(struct listing *l, const char *name, uint64_t ino, uint32_t mode,
                     uint64_t next)
{
    if (l->full || l->f->pos >= next)
        return !l->full;
    if (!l->emit(l->ctx, name, strlen(name), ino, (uint8_t)((mode & S_IFMT) >> 12), next)) {
        l->full = true;
        return false;
    }
    l->f->pos = next;
    return true;
}

#define NUMBERS 1000u /* positions of numbered entries begin here */

static void list_number(struct listing *l, uint32_t x, uint32_t node, uint32_t pid, uint32_t extra,
                        uint32_t mode)
{
    char name[12];
    snprintf(name, sizeof name, "%u", x);
    list_one(l, name, lx_hash_mix(pack(node, pid, extra)) >> 16 | 1, mode,
             (uint64_t)NUMBERS + x + 1);
}

static void list_process(void *ctx, struct lx_process *p)
{
    list_number(ctx, p->pid, N_PID, p->pid, 0, S_IFDIR);
}

static void list_thread(void *ctx, uint32_t tid)
{
    struct listing *l = ctx;
    list_number(l, tid, N_TID, pid_of(l->f->inode), tid, S_IFDIR);
}

static int64_t proc_readdir(struct lx_call *c, struct lx_file *f, lx_emit emit, void *ctx)
{
    struct lx_inode *i = f->inode;
    struct listing l = {f, emit, ctx, false};
    struct lx_process *p = process_of(i);
    uint32_t node = node_of(i);
    if (pid_of(i) && !p)
        return -ENOENT;
    struct lx_dentry *up = f->dentry->parent ? f->dentry->parent : f->vfs->sb[LX_SB_ROOT].root;
    list_one(&l, ".", i->ino, S_IFDIR, 1);
    list_one(&l, "..", up->inode->ino, S_IFDIR, 2);
    for (size_t k = 0; k < ARRAY_LEN(table) && !l.full; k++)
        if (shows(&table[k], node)) {
            uint64_t proc =
                pack(table[k].dir ? table[k].dir : (uint32_t)(N_TABLE + k), pid_of(i), extra_of(i));
            list_one(&l, table[k].name, lx_hash_mix(proc) >> 16 | 1, table[k].mode, 3 + k);
        }
    if (node == N_ROOT)
        lx_process_each(c->lx, list_process, &l);
    else if (node == N_TASK)
        lx_process_each_thread(p, list_thread, &l);
    else if ((node == N_FD || node == N_FDINFO) && p->files)
        for (uint32_t fd = f->pos > NUMBERS ? (uint32_t)(f->pos - NUMBERS) : 0;
             fd < p->files->cap && !l.full; fd++)
            if (p->files->file[fd])
                list_number(&l, fd, node == N_FD ? N_FD_LINK : N_FD_TEXT, pid_of(i), fd,
                            node == N_FD ? S_IFLNK : S_IFREG);
    return 0;
}

static const struct lx_file_ops proc_dir_ops = {.readdir = proc_readdir, .seek = lx_dir_seek};

/* ---- texts as files ---- */

static int make_text(struct lx_file *f)
{
    struct lx_inode *i = f->inode;
    struct lx_process *p = process_of(i);
    struct buf *b = f->priv;
    if (pid_of(i) && !p)
        return -ESRCH;
    if (!b && !(b = f->priv = calloc(1, sizeof *b)))
        return -ENOMEM;
    b->len = 0;
    if (node_of(i) == N_FD_TEXT) {
        struct lx_file *of = p->files ? lx_files_any(p->files, extra_of(i)) : NULL;
        if (of)
            buf_printf(
                b, "pos:\t%llu\nflags:\t0%o\nmnt_id:\t1\nino:\t%llu\n", (unsigned long long)of->pos,
                of->flags | (lx_files_cloexec(p->files, extra_of(i)) ? (uint32_t)O_CLOEXEC : 0),
                (unsigned long long)of->inode->ino);
    } else {
        table[node_of(i) - N_TABLE].text(f->vfs->lx, p, extra_of(i) ? extra_of(i) : pid_of(i), b);
    }
    if (!b->failed)
        return 0;
    buf_fini(b);
    return -ENOMEM;
}

static int64_t proc_read(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos)
{
    (void)c;
    if (!f->priv || !*pos) {
        int e = make_text(f);
        if (e)
            return e;
    }
    struct buf *b = f->priv;
    if (*pos >= b->len || !it->left)
        return 0;
    size_t want = MIN(b->len - *pos, it->left), n = lx_iter_put(it, b->data + *pos, want);
    *pos += n;
    return n ? (int64_t)n : -EFAULT;
}

static int64_t proc_write(struct lx_call *c, struct lx_file *f, struct lx_iter *it, uint64_t *pos)
{
    (void)c, (void)f;
    uint64_t n = it->left;
    lx_iter_skip(it, n);
    *pos += n;
    return (int64_t)n;
}

static int64_t proc_seek(struct lx_file *f, int64_t off, int whence)
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

static void proc_release(struct lx_file *f)
{
    struct buf *b = f->priv;
    if (b)
        buf_fini(b);
    free(b);
}

const struct lx_file_ops lx_proc_file_ops = {
    .read = proc_read, .write = proc_write, .seek = proc_seek, .release = proc_release};

static int proc_may_open(struct lx_process *who, struct lx_inode *i)
{
    struct lx_process *p = process_of(i);
    return p && !(i->mode & 0077) && !may_look(who, p) ? -EACCES : 0;
}

bool lx_proc_valid(uint64_t proc, uint32_t mode)
{
    uint32_t node = proc & 0xff;
    if (node < N_DIRS)
        return S_ISDIR(mode);
    if (node < N_TABLE)
        return node == N_FD_LINK ? S_ISLNK(mode) : S_ISREG(mode);
    return node - N_TABLE < ARRAY_LEN(table) &&
           (table[node - N_TABLE].mode & S_IFMT) == (mode & S_IFMT) && !S_ISDIR(mode);
}

const struct lx_fs_ops lx_proc_fs_ops = {.type = "proc",
                                         .source = "proc",
                                         .mount_options = "rw,nosuid,nodev,noexec,relatime",
                                         .magic = 0x9fa0,
                                         .lookup = proc_lookup,
                                         .readlink = proc_readlink,
                                         .jump = proc_jump,
                                         .dir_ops = &proc_dir_ops,
                                         .file_ops = &lx_proc_file_ops,
                                         .may_open = proc_may_open};
