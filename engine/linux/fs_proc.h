/*
 * linux/fs_proc.h - procfs: the table of its entries and who writes their text. fs_proc.c has the directory tree, fs_proc_pid.c
 * the texts about processes, fs_proc_sys.c those about the whole guest.
 */
#ifndef LINUX_FS_PROC_H
#define LINUX_FS_PROC_H

#include "engine/linux/vfs.h"

/* p: the process whose directory it is; NULL in entries of the guest. tid: of a task/<tid> directory, else the process's. */
typedef void (*lx_proc_text)(struct lx *lx, struct lx_process *p, uint32_t tid, struct buf *b);

#define LX_PROC_TEXTS(X)                                                                           \
    X(stat)                                                                                        \
    X(status)                                                                                      \
    X(statm)                                                                                       \
    X(cmdline)                                                                                     \
    X(environ) X(comm) X(maps) X(mounts) X(mountinfo) X(limits) X(zero) X(cgroup) X(sys_meminfo)   \
        X(sys_cpuinfo) X(sys_uptime) X(sys_loadavg) X(sys_stat) X(sys_version) X(sys_filesystems)  \
            X(sys_cmdline) X(sys_hostname) X(sys_domainname) X(sys_osrelease) X(sys_ostype)        \
                X(sys_kversion) X(sys_pid_max) X(sys_ngroups_max) X(sys_overcommit) X(sys_cgroups) \
                    X(sys_net_dev) X(sys_net_tcp) X(sys_net_udp) X(sys_net_unix) X(sys_net_route)  \
                        X(sys_file_max) X(sys_pipe_max) X(sys_random_uuid) X(sys_somaxconn)        \
                            X(sys_devices)
#define X(name) \
    void lx_proc_##name(struct lx *lx, struct lx_process *p, uint32_t tid, struct buf *b);
LX_PROC_TEXTS(X)
#undef X

#endif
