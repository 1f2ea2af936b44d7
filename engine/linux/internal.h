/*
 * linux/internal.h - what the files of this room share: the kernel object, processes, threads, blocked calls,
 * wait queues. File-system objects are in file.h.
 *
 * One lock: lx->lock protects every object of this room (DESIGN 6, D4). It is held while a call handler runs and
 * released while guest code runs. Guest memory is copied with it held (mem_copy_*: lock order allows it).
 *
 * Blocking: no C stack is ever parked. A handler that cannot go on calls lx_block() on each queue that may change its mind and
 * returns LX_BLOCKED; when one of the queues is woken, the deadline passes or a signal arrives, the handler is run again from
 * the start with the same struct lx_call (progress and deadline kept). It must then look at c->wake first:
 *   LX_WAKE_TIMEOUT: return -ETIMEDOUT or 0 as the call says;  LX_WAKE_SIGNAL: return lx_interrupted(c, kind).
 * A handler therefore does nothing irrevocable before it knows that it will not block, or records it in c->progress.
 *
 * Errors are negative numbers from the host's <errno.h> (asm-generic numbers are the same on riscv64).
 */
#ifndef LINUX_INTERNAL_H
#define LINUX_INTERNAL_H

#include "engine/base/base.h"
#include "engine/base/os.h"
#include "engine/linux/lx.h"
#include "engine/memory/memory.h"

#include <errno.h>
#define HASH_NONFATAL_OOM 1 /* after HASH_ADD: x->hh.tbl is NULL if there was no memory */
#include <uthash.h>

#define LX_BLOCKED INT64_MIN
#define LX_NO_DEADLINE UINT64_MAX
#define LX_SIG_COUNT 64
#define LX_PATH_MAX 4096

struct lx_thread;
struct lx_process;
struct lx_files; /* descriptor table, counted: file.h */
struct lx_fs;    /* root, cwd, umask, counted: file.h */
struct lx_file;
struct lx_tty;
struct lx_vfs;   /* mounts, overlay, all file-system state of the guest: file.h */

struct lx_waitq {
    struct list waiters; /* of struct lx_wait */
};
struct lx_wait {
    struct list link;
    struct lx_thread *thread;
};
#define LX_WAITS_INLINE 4

enum lx_wake { LX_WAKE_NONE, LX_WAKE_QUEUE, LX_WAKE_TIMEOUT, LX_WAKE_SIGNAL };

/* The record of the system call a thread is in; all that a blocked call is. Saved and loaded as it stands. */
struct lx_call {
    struct lx *lx;
    struct lx_thread *t;
    uint32_t nr;           /* the guest's number */
    uint64_t arg[6];
    uint64_t progress[4];  /* the handler's own, 0 at first */
    uint64_t deadline_ns;  /* on the guest's monotonic clock; LX_NO_DEADLINE */
    enum lx_wake wake;
    struct lx_file *held;  /* an open file that a blocked call holds (file.h: lx_call_abandon); saved as lx_file_snap_id */
    uint32_t runs;         /* how often the handler ran before: 0 the first time */
    bool no_signals;       /* set by a handler before it blocks: only SIGKILL interrupts (vfork) */
};
typedef int64_t (*lx_call_fn)(struct lx_call *c);

void lx_waitq_init(struct lx_waitq *q);
/* Put the calling thread on q (any number of times per run of a handler); always returns LX_BLOCKED. With q NULL only the deadline
 * and signals wake. */
int64_t lx_block(struct lx_call *c, struct lx_waitq *q);
/* Everybody on q runs again. */
void lx_wake_all(struct lx *lx, struct lx_waitq *q);
/* What a handler returns when a signal interrupted it: restarts under SA_RESTART (or EINTR), or always EINTR. */
enum lx_restart { LX_RESTART_SA, LX_RESTART_NEVER, LX_RESTART_ALWAYS_UNLESS_HANDLER };
int64_t lx_interrupted(struct lx_call *c, enum lx_restart kind);
/* In the first run only: the call's deadline is rel_ns from now (saturating). Later runs keep what is there. */
void lx_deadline_after(struct lx_call *c, uint64_t rel_ns);
/* ppoll, pselect6: this signal mask holds until the call ends (or its signal is delivered). mask 0: nothing. In every run. */
int64_t lx_sigmask_for_call(struct lx_call *c, gva_t mask, uint64_t mask_bytes);
/* Around host work that may take longer than some 100 us (copying or unmapping much memory): releases lx->lock, so nothing
 * found before holds afterwards; the guest may be paused or killed meanwhile. false from lx_long_end: the guest is ending,
 * return at once (any value). */
void lx_long_begin(struct lx *lx);
bool lx_long_end(struct lx *lx);
bool lx_ending(struct lx *lx); /* any thread, no lock: the guest is being killed: cut long work short */
/* A wait queue that lives in an object about to be freed: everybody on it runs again, and the queue is empty. */
#define lx_waitq_fini(lx, q) lx_wake_all(lx, q)

/* Clocks of the guest: they stand still while it is paused. */
uint64_t lx_monotonic_ns(struct lx *lx);
uint64_t lx_realtime_ns(struct lx *lx);

/* ---- processes: process.c (lxcore) ---- */

enum { LX_RLIM_CPU, LX_RLIM_FSIZE, LX_RLIM_DATA, LX_RLIM_STACK, LX_RLIM_CORE, LX_RLIM_RSS, LX_RLIM_NPROC, LX_RLIM_NOFILE,
       LX_RLIM_MEMLOCK, LX_RLIM_AS, LX_RLIM_LOCKS, LX_RLIM_SIGPENDING, LX_RLIM_MSGQUEUE, LX_RLIM_NICE, LX_RLIM_RTPRIO,
       LX_RLIM_RTTIME, LX_RLIM_COUNT };

/* A zombie has no mem, files, fs and threads any more (all NULL or empty). */
struct lx_process {
    struct lx *lx;
    uint32_t pid, pgid, sid;
    struct lx_process *parent;
    struct list children, sibling, threads;
    struct mem_space *mem;   /* counted: shared by CLONE_VM */
    struct run_space *code;
    struct lx_files *files;
    struct lx_fs *fs;
    struct lx_tty *ctty;     /* controlling terminal of the session, or NULL */
    uint32_t uid, euid, suid, gid, egid, sgid;
    uint32_t *groups, group_count;
    char comm[16];
    char *exe_path;          /* for /proc/self/exe */
    gva_t arg_start, arg_end, env_start, env_end, stack_top;
    uint64_t start_ns;       /* monotonic, for /proc */
    uint64_t cpu_ns, children_cpu_ns;
    uint64_t rlim_cur[LX_RLIM_COUNT], rlim_max[LX_RLIM_COUNT]; /* LX_RLIM_NOFILE is enforced by file.h */
    bool zombie, stopped;
    bool execed; /* since its fork (setpgid: EACCES) */
    /* further fields (signal state, exit status, timers, wait queues, ...) are lxcore's: process.h */
    struct lx_process_private *priv;
    UT_hash_handle by_pid;
};

struct lx_process *lx_process_find(struct lx *lx, uint32_t pid); /* zombies too; NULL */
void lx_process_each(struct lx *lx, void (*f)(void *ctx, struct lx_process *p), void *ctx); /* ascending pid */
/* A thread's own call brought it on itself (SIGPIPE, SIGXFSZ): it looks as if sent by the thread's process. */
void lx_signal_thread(struct lx_thread *t, int signo);
/* Signals from the kernel (terminal, timers, ...). */
void lx_signal_process(struct lx_process *p, int signo);
void lx_signal_pgrp(struct lx *lx, uint32_t pgid, int signo);
bool lx_pgrp_orphaned(struct lx *lx, uint32_t pgid);
bool lx_signal_ignored_or_blocked(struct lx_thread *t, int signo); /* for SIGTTIN/SIGTTOU */
/* For /proc. State: R S T Z; signal sets as bit masks (bit n-1 for signal n). */
char lx_process_state(struct lx_process *p);
void lx_process_signals(struct lx_process *p, uint64_t *pending, uint64_t *blocked, uint64_t *ignored, uint64_t *caught);
uint32_t lx_process_thread_count(struct lx_process *p);
void lx_process_each_thread(struct lx_process *p, void (*f)(void *ctx, uint32_t tid), void *ctx);
uint64_t lx_total_cpu_ns(struct lx *lx);
uint64_t lx_total_forks(struct lx *lx);
uint32_t lx_thread_tid(struct lx_thread *t);
struct lx_process *lx_call_process(struct lx_call *c);
struct mem_space *lx_call_mem(struct lx_call *c);
struct lx_process *lx_thread_process(struct lx_thread *t);
bool lx_pgrp_in_session(struct lx *lx, uint32_t pgid, uint32_t sid); /* for TIOCSPGRP: exists, and there */
uint32_t lx_process_ppid(const struct lx_process *p);
struct lx_vfs *lx_vfs_of(struct lx *lx);
const struct lx_config *lx_config_of(struct lx *lx);
uint32_t lx_random_u32(struct lx *lx);
void lx_random_bytes(struct lx *lx, void *p, size_t n); /* the guest's own CSPRNG */

/* A call row: LX_CALL(nr, name) in riscv/calls.def calls lx_sys_<name>. A handler is written LX_SYS(name) { ... } */
#define LX_SYS(name)                                                                               \
    int64_t lx_sys_##name(struct lx_call *c);                                                      \
    int64_t lx_sys_##name(struct lx_call *c)

#endif
