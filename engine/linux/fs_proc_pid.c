/* procfs: texts about one process (proc(5)). */
#include "engine/linux/fs_proc.h"
#include "engine/linux/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long ull;
#define TICK_NS 10000000u /* of the 100 Hz that user space counts in */
#define COPY_MAX ((uint64_t)128 << 10)

static uint64_t mapped(struct lx_process *p)
{
    return p->mem ? mem_space_mapped_bytes(p->mem) : 0;
}

void lx_proc_stat(struct lx *lx, struct lx_process *p, uint32_t tid, struct buf *b)
{
    uint64_t pending, blocked, ignored, caught, mem = mapped(p);
    uint32_t tty;
    int32_t tpgid;
    (void)lx;
    lx_process_signals(p, &pending, &blocked, &ignored, &caught);
    lx_tty_of_process(p, &tty, &tpgid);
    buf_printf(b, "%u (%.15s) %c %u %u %u %u %d 0 0 0 0 0 ", tid, p->comm, lx_process_state(p),
               lx_process_ppid(p), p->pgid, p->sid, tty, tpgid);
    buf_printf(b, "%llu 0 %llu 0 20 0 %u 0 %llu %llu %llu 18446744073709551615 ",
               (ull)(lx_process_cpu_ns(p) / TICK_NS), (ull)(p->children_cpu_ns / TICK_NS),
               lx_process_thread_count(p), (ull)(p->start_ns / TICK_NS), (ull)mem,
               (ull)(mem / PAGE_SIZE));
    buf_printf(
        b, "0 0 %llu 0 0 %llu %llu %llu %llu 0 0 0 17 0 0 0 0 0 0 0 0 0 %llu %llu %llu %llu 0\n",
        (ull)p->stack_top, (ull)pending, (ull)blocked, (ull)ignored, (ull)caught, (ull)p->arg_start,
        (ull)p->arg_end, (ull)p->env_start, (ull)p->env_end);
}

static const char *state_name(char s)
{
    switch (s) {
    case 'R':
        return "R (running)";
    case 'T':
        return "T (stopped)";
    case 'Z':
        return "Z (zombie)";
    default:
        return "S (sleeping)";
    }
}

void lx_proc_status(struct lx *lx, struct lx_process *p, uint32_t tid, struct buf *b)
{
    uint64_t pending, blocked, ignored, caught, caps = p->euid ? 0 : 0x1ffffffffff;
    (void)lx;
    lx_process_signals(p, &pending, &blocked, &ignored, &caught);
    buf_printf(b, "Name:\t%.15s\n", p->comm);
    if (p->fs)
        buf_printf(b, "Umask:\t%04o\n", p->fs->umask);
    buf_printf(b, "State:\t%s\nTgid:\t%u\nNgid:\t0\nPid:\t%u\nPPid:\t%u\nTracerPid:\t0\n",
               state_name(lx_process_state(p)), p->pid, tid, lx_process_ppid(p));
    buf_printf(b, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\nFDSize:\t%u\nGroups:\t", p->uid,
               p->euid, p->suid, p->euid, p->gid, p->egid, p->sgid, p->egid,
               p->files ? MAX(p->files->cap, 64u) : 0);
    for (uint32_t k = 0; k < p->group_count; k++)
        buf_printf(b, "%u ", p->groups[k]);
    buf_printf(b, "\nNStgid:\t%u\nNSpid:\t%u\nNSpgid:\t%u\nNSsid:\t%u\n", p->pid, tid, p->pgid,
               p->sid);
    if (p->mem) {
        ull kib = mapped(p) / 1024;
        buf_printf(b,
                   "VmPeak:\t%8llu kB\nVmSize:\t%8llu kB\nVmLck:\t       0 kB\nVmPin:\t       0 "
                   "kB\nVmHWM:\t%8llu kB\n",
                   kib, kib, kib);
        buf_printf(b,
                   "VmRSS:\t%8llu kB\nVmData:\t%8llu kB\nVmStk:\t     132 kB\nVmExe:\t       4 "
                   "kB\nVmLib:\t       0 kB\n",
                   kib, kib);
    }
    buf_printf(b, "Threads:\t%u\nSigQ:\t0/1024\nSigPnd:\t0000000000000000\nShdPnd:\t%016llx\n",
               lx_process_thread_count(p), (ull)pending);
    buf_printf(b, "SigBlk:\t%016llx\nSigIgn:\t%016llx\nSigCgt:\t%016llx\n", (ull)blocked,
               (ull)ignored, (ull)caught);
    buf_printf(b,
               "CapInh:\t0000000000000000\nCapPrm:\t%016llx\nCapEff:\t%016llx\nCapBnd:"
               "\t000001ffffffffff\nCapAmb:\t0000000000000000\n",
               (ull)caps, (ull)caps);
    buf_printf(b, "NoNewPrivs:\t0\nSeccomp:\t0\nvoluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_"
                  "switches:\t0\n");
}

void lx_proc_statm(struct lx *lx, struct lx_process *p, uint32_t tid, struct buf *b)
{
    ull pages = mapped(p) / PAGE_SIZE;
    (void)lx, (void)tid;
    buf_printf(b, "%llu %llu 0 1 0 %llu 0\n", pages, pages, pages);
}

static void copy_range(struct lx_process *p, gva_t lo, gva_t hi, struct buf *b)
{
    if (!p->mem || hi <= lo)
        return;
    size_t n = MIN(hi - lo, COPY_MAX);
    if (!buf_reserve(b, n))
        return;
    size_t got = mem_copy_in_some(p->mem, b->data + b->len, lo, n);
    b->len += got;
}

void lx_proc_cmdline(struct lx *lx, struct lx_process *p, uint32_t tid, struct buf *b)
{
    (void)lx, (void)tid;
    copy_range(p, p->arg_start, p->arg_end, b);
}

void lx_proc_environ(struct lx *lx, struct lx_process *p, uint32_t tid, struct buf *b)
{
    (void)lx, (void)tid;
    copy_range(p, p->env_start, p->env_end, b);
}

void lx_proc_comm(struct lx *lx, struct lx_process *p, uint32_t tid, struct buf *b)
{
    (void)lx, (void)tid;
    buf_printf(b, "%.15s\n", p->comm);
}

void lx_proc_maps(struct lx *lx, struct lx_process *p, uint32_t tid, struct buf *b)
{
    struct mem_map_info m;
    (void)lx, (void)tid;
    for (gva_t at = 0; p->mem && mem_find(p->mem, at, &m); at = m.end) {
        int n = snprintf(NULL, 0, "%08llx-%08llx rwxp %08llx 00:00 0", (ull)m.start, (ull)m.end,
                         (ull)m.offset);
        buf_printf(b, "%08llx-%08llx %c%c%c%c %08llx 00:00 0", (ull)m.start, (ull)m.end,
                   m.prot & MEM_R ? 'r' : '-', m.prot & MEM_W ? 'w' : '-',
                   m.prot & MEM_X ? 'x' : '-', m.flags & MEM_SHARED ? 's' : 'p', (ull)m.offset);
        if (m.name[0])
            buf_printf(b, "%*s%s", n < 72 ? 73 - n : 1, "", m.name);
        buf_printf(b, "\n");
        if (m.end <= at)
            break;
    }
}

/* ---- mounts ---- */

static const enum lx_sb_kind shown[] = {LX_SB_ROOT, LX_SB_PROC, LX_SB_DEV, LX_SB_PTS};

static char *mount_path(struct lx_sb *sb)
{
    struct lx_dentry *root = sb->vfs->sb[LX_SB_ROOT].root;
    return lx_dentry_path(sb->root, root, false);
}

void lx_proc_mounts(struct lx *lx, struct lx_process *p, uint32_t tid, struct buf *b)
{
    struct lx_vfs *v = lx_vfs_of(lx);
    (void)p, (void)tid;
    for (size_t k = 0; k < ARRAY_LEN(shown); k++) {
        struct lx_sb *sb = &v->sb[shown[k]];
        CLEANUP(free_ptr) char *path = mount_path(sb);
        if (path)
            buf_printf(b, "%s %s %s %s 0 0\n", sb->ops->source, path, sb->ops->type,
                       sb->ops->mount_options);
    }
}

void lx_proc_mountinfo(struct lx *lx, struct lx_process *p, uint32_t tid, struct buf *b)
{
    struct lx_vfs *v = lx_vfs_of(lx);
    (void)p, (void)tid;
    for (size_t k = 0; k < ARRAY_LEN(shown); k++) {
        struct lx_sb *sb = &v->sb[shown[k]];
        CLEANUP(free_ptr) char *path = mount_path(sb);
        if (path)
            buf_printf(b, "%zu %d 0:%u / %s %s - %s %s rw\n", 20 + k,
                       k == 0   ? 1
                       : k == 3 ? 22
                                : 20,
                       sb->dev, path, sb->ops->mount_options, sb->ops->type, sb->ops->source);
    }
}

void lx_proc_limits(struct lx *lx, struct lx_process *p, uint32_t tid, struct buf *b)
{
    static const struct {
        int which;
        const char *name, *unit;
    } rows[] = {{LX_RLIM_CPU, "Max cpu time", "seconds"},
                {LX_RLIM_FSIZE, "Max file size", "bytes"},
                {LX_RLIM_DATA, "Max data size", "bytes"},
                {LX_RLIM_STACK, "Max stack size", "bytes"},
                {LX_RLIM_CORE, "Max core file size", "bytes"},
                {LX_RLIM_NPROC, "Max processes", "processes"},
                {LX_RLIM_NOFILE, "Max open files", "files"},
                {LX_RLIM_AS, "Max address space", "bytes"}};
    (void)lx, (void)tid;
    buf_printf(b, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        uint64_t value[2] = {p->rlim_cur[rows[k].which], p->rlim_max[rows[k].which]};
        buf_printf(b, "%-25s ", rows[k].name);
        for (int j = 0; j < 2; j++)
            if (value[j] == UINT64_MAX)
                buf_printf(b, "%-20s ", "unlimited");
            else
                buf_printf(b, "%-20llu ", (ull)value[j]);
        buf_printf(b, "%-10s\n", rows[k].unit);
    }
}

void lx_proc_zero(struct lx *lx, struct lx_process *p, uint32_t tid, struct buf *b)
{
    (void)lx, (void)p, (void)tid;
    buf_printf(b, "0\n");
}

void lx_proc_cgroup(struct lx *lx, struct lx_process *p, uint32_t tid, struct buf *b)
{
    (void)lx, (void)p, (void)tid;
    buf_printf(b, "0::/\n");
}
