/*
 * linux/file.h - the door between files and processes: descriptor tables, the fs context, opening a program,
 * mapping a file, standard streams, terminals and sessions, snapshots of all of it.
 *
 * Looks into: internal.h.  Used by: the process side of this room (exec, fork, exit, mmap, /dev/console's outside).
 * What the file side is made of (inodes, names, open files, pipes, ttys) is in vfs.h, which the process side need not see.
 *
 * All functions: with lx->lock held. Errors: -errno. Memory running out on the host: -ENOMEM or NULL.
 *
 * Snapshots: lx_vfs_save writes everything on this side: inodes, names, open files, descriptor tables, fs contexts, pipes,
 * terminals, sockets, locks. The process side keeps only numbers: lx_files_snap_id() and so on, valid from lx_vfs_save on until the next
 * change; after lx_vfs_load the lx_*_by_snap_id functions give the objects back (a new reference each time).
 */
#ifndef LINUX_FILE_H
#define LINUX_FILE_H

#include "engine/linux/internal.h"

/* ---- the file system of a guest ---- */

/* Image, overlay (with config->program as /vivarium/init), /dev, /proc, /dev/pts, console. Uses lx only for
 * lx_config_of() and the clocks, which must work already. */
res_t lx_vfs_new(struct lx *lx, struct lx_vfs **vfs, struct err *err);
void lx_vfs_free(struct lx_vfs *vfs); /* no lx_files, lx_fs or held lx_file may be left */
uint64_t lx_vfs_overlay_bytes(struct lx_vfs *vfs);

/* ---- descriptor tables ---- */

struct lx_files *lx_files_new(struct lx *lx);
struct lx_files *lx_files_clone(struct lx_files *files); /* fork */
struct lx_files *lx_files_get(struct lx_files *files);   /* CLONE_FILES */
/* Closes everything with the last reference. p: whose exit it is (its record locks go), or NULL. */
void lx_files_put(struct lx_files *files, struct lx_process *p);
bool lx_files_shared(struct lx_files *files); /* more than one reference: execve clones first */
void lx_files_close_on_exec(struct lx_files *files, struct lx_process *p);
struct lx_file *lx_files_find(struct lx_files *files,
                              int64_t fd); /* borrowed; NULL: EBADF (also for O_PATH files) */
/* The lowest free descriptor gets f (a reference is taken); -EMFILE. */
int lx_files_install(struct lx_files *files, struct lx_file *f, bool cloexec);
uint32_t lx_files_limit(struct lx_files *files); /* RLIMIT_NOFILE, at first config->files_max */
void lx_files_set_limit(struct lx_files *files, uint32_t limit);

/* ---- root, working directory, umask ---- */

struct lx_fs *lx_fs_new(struct lx *lx); /* at /, umask 022 */
struct lx_fs *lx_fs_clone(struct lx_fs *fs);
struct lx_fs *lx_fs_get(struct lx_fs *fs);
void lx_fs_put(struct lx_fs *fs);
int lx_fs_chdir(struct lx_process *p, const char *path);

/* ---- open files ---- */

struct lx_file *lx_file_get(struct lx_file *f);
void lx_file_put(struct lx_file *f);
/* Open a program for execve(at): path as the process sees it; flags: AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW. A regular file with
 * execute permission, or -EACCES, -ENOENT, -ELOOP ... A reference is returned. */
int lx_exec_open(struct lx_process *p, int64_t dirfd, const char *path, int flags,
                 struct lx_file **f);
/* While held, opening the file for writing is -ETXTBSY; -ETXTBSY if it is open for writing. One release per hold. */
int lx_file_exec_hold(struct lx_file *f);
void lx_file_exec_release(struct lx_file *f);
/* Into the emulator's own buffer; no blocking: regular files only. Bytes or -errno. */
int64_t lx_file_pread(struct lx_file *f, uint64_t offset, void *p, size_t n);
/* What mmap maps: a reference is returned. prot: MEM_*; shared: MAP_SHARED. -ENODEV, -EACCES, -EBADF as mmap(2). /dev/zero gives NULL and
 * 0: anonymous memory (shared or private). */
int lx_file_map_object(struct lx_file *f, int prot, bool shared, struct mem_object **o);
/* The absolute path as /proc/self/maps shows it ("... (deleted)"); malloced. */
char *lx_file_path(struct lx_file *f);
struct lx_file_info {
    uint64_t dev, ino, size;
    uint32_t mode, uid, gid;
};
void lx_file_info(struct lx_file *f, struct lx_file_info *out);

/* ---- blocked calls ---- */

/* A call that blocked may hold an open file (struct lx_call.held). Handlers release it themselves when they are run to their end;
 * this is for a call that ends without its handler being run again (the thread was killed). May be called always. */
void lx_call_abandon(struct lx_call *c);

/* ---- the console: three rings, or a terminal ---- */

/* Descriptors 0, 1, 2 of the first process; with config->tty the terminal becomes its controlling terminal (p->sid and p->pgid are set
 * before). */
int lx_stdio_setup(struct lx_process *p);
/* Behind lx_console_*; they wake the guest's readers and writers. */
size_t lx_con_read(struct lx_vfs *vfs, int stream, void *p, size_t n);
size_t lx_con_write(struct lx_vfs *vfs, const void *p, size_t n);
void lx_con_eof(struct lx_vfs *vfs);
void lx_con_resize(struct lx_vfs *vfs, uint16_t rows, uint16_t cols);

/* ---- terminals and sessions ---- */

/* p->ctty is borrowed: a terminal that goes away clears it in every process; fork copies it, setsid clears it in its caller.
 * The session leader exits (before its pid goes): SIGHUP and SIGCONT to the foreground group, the terminal loses its session. */
void lx_tty_leader_exit(struct lx_process *leader);
/* For /proc/<pid>/stat: device number and foreground group (0, -1 if none). */
void lx_tty_of_process(struct lx_process *p, uint32_t *dev, int32_t *pgrp);

/* ---- snapshot ---- */

res_t lx_vfs_save(struct lx_vfs *vfs, struct snap_writer *w, struct err *err);
res_t lx_vfs_load(struct lx *lx, struct snap_reader *r, struct lx_vfs **vfs, struct err *err);
uint64_t lx_files_snap_id(const struct lx_files *files); /* never 0 */
uint64_t lx_fs_snap_id(const struct lx_fs *fs);
uint64_t lx_file_snap_id(const struct lx_file *f);
uint64_t lx_tty_snap_id(const struct lx_tty *tty);
struct lx_files *lx_files_by_snap_id(struct lx_vfs *vfs,
                                     uint64_t id); /* NULL: no such thing, the snapshot lies */
struct lx_fs *lx_fs_by_snap_id(struct lx_vfs *vfs, uint64_t id);
struct lx_file *lx_file_by_snap_id(struct lx_vfs *vfs, uint64_t id);
struct lx_tty *lx_tty_by_snap_id(struct lx_vfs *vfs, uint64_t id); /* borrowed */
/* Everything is handed out: what nobody took goes. Once after a load, also one that failed later. */
void lx_vfs_load_end(struct lx_vfs *vfs);
/* Objects of files have odd identities (mem_object_set_snap_id), the process side's own (shared anonymous memory) even ones. Borrowed, or
 * NULL. */
struct mem_object *lx_vfs_object_by_snap_id(struct lx_vfs *vfs, uint64_t id);

#endif
