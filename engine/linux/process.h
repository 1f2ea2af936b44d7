/*
 * linux/process.h - the process side's own view: the kernel object, threads, signal state, timers, the scheduler.
 *
 * Looks into: internal.h, arch.h, execute.  Used by: the process side's files only.
 *
 * Rules, all under lx->lock:
 *  (1) A thread is in exactly one state: RUNNING (vcpu set, on that vCPU), RUNNABLE (on lx->runq, or parked on its mm while that
 *      is frozen), BLOCKED (in_call; on the wait queues of its call, deadline timer armed if it has one), STOPPED (on no list).
 *  (2) A process is a zombie exactly when it has no threads; then mm, files, fs are gone.
 *  (3) Everything with a pid, tid, pgid or sid in use keeps that number from being given out again.
 *  (4) lx->active counts the vCPU threads that are not idle; lx->long_count those of them that work outside the lock.
 *  (5) Once lx->ending is set no vCPU enters guest code; ended() is reported when active == long_count.
 */
#ifndef LINUX_PROCESS_H
#define LINUX_PROCESS_H

#include "engine/linux/arch.h"
#include "engine/linux/file.h"
#include "engine/linux/internal.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

/* ---- signals ---- */

struct lx_sigentry {
    struct list link;
    struct lx_siginfo info;
};
struct lx_pending {
    uint64_t set;      /* bit n-1: signal n */
    struct list queue; /* of lx_sigentry; a standard signal at most once */
};
struct lx_sigaction {
    uint64_t handler, flags, mask;
};
struct lx_sighand {
    uint32_t refs, snap_index;
    uint64_t snap_mark;
    struct lx_sigaction act[LX_SIG_COUNT];
};
#define LX_BIT(signo) ((uint64_t)1 << ((signo)-1))
#define LX_SIG_UNBLOCKABLE (LX_BIT(SIGKILL) | LX_BIT(SIGSTOP))
#define LX_SIG_STOPS (LX_BIT(SIGSTOP) | LX_BIT(SIGTSTP) | LX_BIT(SIGTTIN) | LX_BIT(SIGTTOU))
#define LX_SIG_SYNCHRONOUS                                                                  \
    (LX_BIT(SIGSEGV) | LX_BIT(SIGBUS) | LX_BIT(SIGILL) | LX_BIT(SIGTRAP) | LX_BIT(SIGFPE) | \
     LX_BIT(SIGSYS))
#define LX_SIG_QUEUE_MAX \
    1024 /* queued entries per guest process group of one user: here per process */
#define LX_SIG_DFL 0
#define LX_SIG_IGN 1

/* A handler's answer: the registers are already as they shall be (execve, rt_sigreturn, exit). */
#define LX_NO_RESULT (INT64_MIN + 1)
/* Codes between a handler and the run loop, never seen by the guest. */
#define LX_ERESTARTSYS 512
#define LX_ERESTARTNOINTR 513
#define LX_ERESTARTNOHAND 514

/* ---- timers: an intrusive pairing heap by deadline ---- */

struct lx_timer {
    struct lx_timer *child, *next, *prev; /* prev: left sibling or parent */
    uint64_t at_ns;                       /* guest monotonic */
    bool armed;
    void (*fire)(struct lx *lx, struct lx_timer *tm);
};
void lx_timer_set(struct lx *lx, struct lx_timer *tm, uint64_t at_ns); /* arms or moves */
void lx_timer_cancel(struct lx *lx, struct lx_timer *tm);

/* ---- address spaces ---- */

struct lx_mm {
    uint32_t refs;
    struct mem_space *mem;
    struct run_space *code;
    gva_t brk_start, brk, vdso;
    uint32_t running;          /* vCPUs that run threads of it */
    struct lx_thread *freezer; /* fork in progress: only this thread goes on */
    struct lx_waitq still;     /* the freezer waits here */
    struct list parked;        /* threads (run link) kept from running meanwhile */
    struct lx_mm *reap_next;
    struct lx_process *dead; /* the process to report once this is freed, or NULL */
    uint64_t snap_mark;      /* which save numbered it */
    uint32_t snap_index;
};
struct lx_mm *lx_mm_new(struct lx *lx);
struct lx_mm *lx_mm_get(struct lx_mm *mm);
void lx_mm_put(struct lx *lx, struct lx_mm *mm); /* the last one goes to lx->reap */
void lx_mm_reap(struct lx *lx);                  /* frees what is on lx->reap, outside the lock */

/* ---- threads ---- */

enum lx_thread_state { LX_T_RUNNABLE, LX_T_RUNNING, LX_T_BLOCKED, LX_T_STOPPED };

struct lx_wait_more {
    struct lx_wait_more *next;
    struct lx_wait w;
};

struct lx_vcpu;
struct lx_thread {
    struct lx *lx;
    struct lx_process *p;
    struct list link; /* p->threads */
    struct list run;  /* lx->runq or mm->parked */
    uint32_t tid;
    enum lx_thread_state state;
    struct lx_vcpu *vcpu;
    bool dying;   /* leaves at the next look, with exit_status */
    bool in_call; /* call is valid; pc is at the ecall */
    bool woken;   /* a queue it is on was woken while its handler still ran */
    bool poll;    /* no memory for a wait: look again soon */
    bool rejoin;  /* was blocked when it was saved and is not back on its queues yet */
    int exit_status;
    int restart; /* LX_ERESTART*: the call was interrupted and waits for the signal's fate; 0 */
    struct lx_call call;
    struct lx_wait wait[LX_WAITS_INLINE];
    uint32_t wait_count;
    struct lx_wait_more *wait_more;
    struct lx_timer timer;
    uint64_t sigmask, saved_mask;
    uint64_t sigwait; /* rt_sigtimedwait: these wake it although they are blocked */
    bool saved_mask_set;
    struct lx_pending pending;
    struct lx_altstack altstack;
    gva_t clear_tid, robust_list;
    uint64_t cpu_ns;
    char comm[16];
    struct cpu_regs regs; /* valid while not on a vCPU */
    UT_hash_handle by_tid;
};

/* ---- processes ---- */

struct lx_session {
    uint32_t sid, refs; /* process groups in it */
    UT_hash_handle by_id;
};
struct lx_pgrp {
    uint32_t pgid;
    struct lx_session *session;
    struct list members; /* lx_process_private.group_link */
    UT_hash_handle by_id;
};

struct lx_cpu_timer {
    struct lx_timer timer; /* when to look again */
    struct lx_process *p;
    uint64_t at_cpu_ns, interval_ns;
};

struct lx_process_private {
    struct lx_process *p;
    struct lx_mm *mm;
    struct lx_pgrp *pgrp;
    struct list group_link;
    struct lx_sighand *sighand;
    struct lx_pending pending;
    uint32_t queued; /* signal entries, threads' included */
    uint32_t thread_count;
    struct lx_waitq child_wait;  /* wait4 of the parent waits on its own */
    struct lx_waitq vfork_wait;  /* the parent, until exec or exit */
    struct lx_waitq thread_wait; /* execve, until the other threads are gone */
    bool vforked, exiting;
    bool unreported; /* a zombie whose memory is still being freed: nobody knows of its death yet */
    uint64_t visit;  /* lx_signal_pgrp's mark */
    bool stop_pending, continue_pending; /* to be reported by wait */
    int stop_signal;
    int exit_signal;      /* to the parent; 0: none */
    int exit_status;      /* as wait4 gives it */
    char fatal_text[160]; /* of a trap that killed it */
    uint64_t children_reaped_ns;
    struct lx_timer real_timer; /* ITIMER_REAL */
    uint64_t real_interval_ns;
    struct lx_cpu_timer cpu_timer[2]; /* ITIMER_VIRTUAL, ITIMER_PROF */
    int nice;
    bool no_new_privs, keep_caps, dumpable, subreaper;
    int pdeath_signal;
    struct lx_file *exe; /* held against writing */
};

/* ---- the guest ---- */

struct lx_vcpu {
    struct lx *lx;
    struct run_vcpu *rv;
    struct vcpu *v;
    pthread_t thread;
    clockid_t clock;
    bool clock_valid;
    struct lx_thread *t;
    struct lx_mm *mm;     /* counted in mm->running */
    uint64_t slice_ns;    /* host time the thread came on */
    uint64_t cpu_mark_ns; /* CPU clock then */
    _Atomic bool preempt;
};

struct lx_tick {
    struct list link;
    uint64_t at_ns; /* host time; UINT64_MAX: nothing */
    bool busy, listed;
    void (*fn)(struct lx_tick *tick);
};
res_t lx_tick_add(struct lx_tick *tick,
                  struct err *err);        /* starts the worker's ticker if it is the first */
void lx_tick_remove(struct lx_tick *tick); /* waits for fn; not with lx->lock held */
void lx_tick_at(struct lx_tick *tick, uint64_t at_ns);

struct lx_futex;
struct lx {
    pthread_mutex_t lock;
    _Atomic uint32_t knocking;  /* others than vCPUs that want the lock: vCPUs let them go first */
    pthread_cond_t work, still; /* idle vCPUs; lx_pause */
    struct lx_config config;
    char name[65], domain[65];
    const struct lx_arch *arch;
    uint32_t window_bits; /* of every address space here */
    struct lx_vfs *vfs;
    struct mem_object *vdso;

    struct lx_vcpu *vcpus;
    uint32_t vcpu_count, started, idle, active, long_count;
    struct list runq;
    uint32_t runq_count;
    uint32_t
        rejoin; /* threads with that flag: nobody runs guest code, who might wake them in vain, until it is 0 */
    bool pausing, ended_reported, start_done;
    _Atomic bool ending;
    struct lx_end end;
    struct lx_mm *reap;

    struct lx_process *processes, *init; /* by pid */
    struct lx_thread *threads;           /* by tid */
    struct lx_pgrp *pgrps;
    struct lx_session *sessions;
    struct lx_futex *futexes;
    uint32_t thread_count, process_count, next_pid;

    struct lx_tick tick;
    struct lx_timer *timers;
    uint64_t clock_base_ns;    /* host monotonic at guest 0, moved on by pauses */
    uint64_t clock_stopped_ns; /* guest time while it stands still; UINT64_MAX: it runs */
    uint64_t realtime_base_ns;
    uint64_t armed_ns;     /* host time the ticker will look at us; UINT64_MAX */
    uint64_t slice_due_ns; /* host time of the next preemption; UINT64_MAX */
    uint64_t cpu_check_due_ns;

    uint32_t random_key[8];
    uint8_t random_buf[256];
    uint32_t random_left;

    uint64_t object_id; /* the last one given */
    uint64_t call_count, fork_count, dead_cpu_ns, visits;
    uint32_t *unknown;     /* per call number */
    uint64_t saved_cpu_ns; /* of a life before a snapshot */
};

/* sched.c */
void lx_lock(struct lx *lx); /* from outside the vCPU threads: not starved by a storm of calls */
void lx_unlock(struct lx *lx);
void lx_enqueue(struct lx *lx, struct lx_thread *t); /* RUNNABLE now */
void lx_wake_thread(struct lx_thread *t, enum lx_wake why);
void lx_unwait(struct lx_thread *t);                        /* off every queue, timer off */
void lx_deadline_fired(struct lx *lx, struct lx_timer *tm); /* of a blocked call */
void lx_kick_thread(struct lx_thread *t);       /* if it runs on a vCPU: look at the queues */
void lx_thread_leave_vcpu(struct lx_thread *t); /* its registers come home; state is the caller's */
void lx_vcpu_bind_mm(struct lx_vcpu *vc, struct lx_mm *mm); /* NULL: none */
uint64_t lx_host_ns(struct lx *lx, uint64_t guest_ns);
void lx_regs_get(struct lx_thread *t, struct cpu_regs *regs);
void lx_regs_put(struct lx_thread *t, const struct cpu_regs *regs);
uint64_t lx_thread_cpu_ns(struct lx_thread *t);
uint64_t lx_process_cpu_ns(struct lx_process *p);
/* fork of a process with threads: true when no other thread of mm runs; else the call blocks on mm->still and looks again. */
bool lx_mm_freeze(struct lx_call *c, struct lx_mm *mm);
void lx_mm_freeze_end(struct lx *lx, struct lx_mm *mm);
void lx_thread_off_queue(struct lx_thread *t);
void lx_end_begin(struct lx *lx, enum lx_end_kind kind, int code, const char *text);
void lx_end_report(struct lx *lx);
void lx_sched_tick(struct lx_tick *tick);
void lx_tick_arm(struct lx *lx); /* after a change of what the ticker should look at */
void *lx_vcpu_main(void *arg);

/* call.c */
int64_t lx_call_run(struct lx_thread *t); /* the handler; LX_BLOCKED or a result */
void lx_call_begin(struct lx_thread *t, const uint64_t *r);

/* process.c */
struct lx_process *lx_process_new(struct lx *lx,
                                  uint32_t pid); /* 0: a fresh one; in the table, no threads */
struct lx_thread *lx_thread_new(struct lx_process *p,
                                uint32_t tid); /* RUNNABLE state but on no queue */
struct lx_thread *lx_thread_find(struct lx *lx, uint32_t tid);
uint32_t lx_pid_new(struct lx *lx);
int lx_process_join_pgrp(struct lx_process *p, uint32_t pgid, uint32_t sid); /* -ENOMEM */
void lx_process_leave_pgrp(struct lx_process *p);
struct lx_pgrp *lx_pgrp_find(struct lx *lx, uint32_t pgid);
/* p's tie to parent, which holds its group in the session, goes: a stopped group that nobody could continue is told. `without`
 * counts no more. */
void lx_orphan_check(struct lx_process *p, struct lx_process *parent,
                     const struct lx_process *without);
/* Takes the thread away, wherever it is (not RUNNING on another vCPU); the last one ends the process. */
void lx_thread_end(struct lx_thread *t, int status);
/* The whole process dies with this wait status; its threads go now or as soon as their vCPU lets go. */
void lx_process_kill(struct lx_process *p, int status);
void lx_kill_other_threads(struct lx_process *p, struct lx_thread *but);
void lx_process_reap(struct lx_process *p); /* a zombie goes for good */
/* A zombie tells its parent, or goes at once if nobody wants to know. */
void lx_process_report(struct lx_process *p);
void lx_process_free_all(struct lx *lx);
void lx_notify_parent(struct lx_process *p, int code, int status);
void lx_vfork_done(struct lx_process *p);
struct lx_sighand *lx_sighand_new(void);
void lx_sighand_put(struct lx_sighand *s);
uint32_t lx_id_overflow(uint64_t id);

/* signal.c */
void lx_pending_init(struct lx_pending *q);
void lx_pending_clear(struct lx_process *p, struct lx_pending *q, uint64_t set);
/* Send. t NULL: to the process. Never fails for a standard signal; -EAGAIN for a real-time signal without room. */
int lx_send(struct lx_process *p, struct lx_thread *t, const struct lx_siginfo *info);
struct lx_siginfo lx_siginfo_kernel(int signo);
/* A synchronous signal that cannot be ignored or blocked. */
void lx_force_signal(struct lx_thread *t, const struct lx_siginfo *info, const char *text);
bool lx_signal_deliverable(struct lx_thread *t);
bool lx_may_signal(const struct lx_process *from, const struct lx_process *to, int signo);
/* Takes the next signal out of set (bits) for t. */
bool lx_signal_take(struct lx_thread *t, uint64_t set, struct lx_siginfo *info);
/* After a change of t's mask: somebody else may have to take what is pending. */
void lx_set_mask(struct lx_thread *t, uint64_t mask);
void lx_mask_restore(struct lx_thread *t); /* the temporary mask ends */
void lx_process_continue(struct lx_process *p, bool notify);
void lx_sigactions_flush_for_exec(struct lx_process *p);
void lx_sigaction_set(struct lx_process *p, int signo, const struct lx_sigaction *a);

/* deliver.c: everything a thread owes before it goes back to guest code. False: it does not run on (dead or stopped). */
bool lx_deliver(struct lx_thread *t);
bool lx_on_altstack(const struct lx_altstack *a, gva_t sp);
void lx_trap(struct lx_thread *t, const struct cpu_trap *trap);

/* clone.c */
int64_t lx_clone(struct lx_call *c, uint64_t flags, gva_t sp, gva_t ptid, gva_t tls, gva_t ctid);

/* exec.c */
uint64_t lx_window_end(struct lx *lx);     /* no program address reaches it */
uint64_t lx_next_object_id(struct lx *lx); /* even: the process side's own objects in a snapshot */
/* The first program of a guest. */
res_t lx_exec_init(struct lx_process *p, const char *path, const char *const *argv,
                   const char *const *envp, struct err *err);

/* futex.c */
void lx_futex_robust_exit(struct lx_thread *t); /* the mutexes it holds are marked */
int64_t lx_futex_wake(struct lx_process *p, gva_t addr, uint32_t count, uint32_t bits, bool shared);

void lx_futex_sweep(struct lx *lx); /* drops the queues nobody is on */

/* time.c */
bool lx_get_timespec(struct mem_space *m, gva_t a, uint64_t *ns, int *error);
bool lx_put_timespec(struct mem_space *m, gva_t a, uint64_t ns);
bool lx_put_timeval(struct mem_space *m, gva_t a, uint64_t ns);
void lx_real_timer_fired(struct lx *lx, struct lx_timer *tm);
void lx_cpu_timer_fired(struct lx *lx, struct lx_timer *tm);

/* lx.c, for save.c */
res_t lx_skeleton(const struct lx_config *c, struct lx **out,
                  struct err *err); /* on failure too: lx_free it */

/* random.c */
void lx_random_seed(struct lx *lx);

#endif
