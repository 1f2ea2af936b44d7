/*
 * manager/guest.h - the guests: what was asked for, where they run, how they ended.
 *
 * Looks into: proto.  Used by: daemon/manager.
 *
 * Rules:
 *  (1) The state changes in one function, by one table (guest.c); what the table refuses, nobody did. Each change is in the
 *      journal before anybody hears of it.
 *  (2) A guest has a worker from STARTING (once one is free) until it ends; then it is off its list.
 *  (3) Console: the worker may send `granted` bytes (each message costs MGR_CONSOLE_HEAD more); credit is given only
 *      as far as the slowest holding reader leaves room in the log.
 *  (4) Input: at most MGR_INPUT_BYTES are under way to the worker; the writers' calls are paused meanwhile.
 *  (5) Quotas: a guest that is not over counts as one, a guest in the three running states (PAUSED too) with its limits, its
 *      console from creation to removal.
 *
 * Thread: the loop's.
 */
#ifndef MANAGER_GUEST_H
#define MANAGER_GUEST_H

#include "daemon/manager/console.h"
#include "daemon/manager/tenant.h"
#include "daemon/manager/timer.h"
#include "engine/base/arena.h"
#include "proto/guest.pb-c.h"
#include "proto/image.pb-c.h"
#include "proto/server.h"
#include "proto/state.pb-c.h"
#include "proto/worker.pb-c.h"

#include <uthash.h>

#define MGR_GUESTS_MAX 10000
/* The fields of a record of the log that is about a guest. */
#define MGR_ABOUT(g) LOG_FIELDS({"guest", (g)->name}, {"tenant", (g)->tenant->name})
#define MGR_CREDIT_BYTES ((uint64_t)64 * 1024) /* under way from the worker */
#define MGR_OVERDRAFT_BYTES \
    ((uint64_t)160 * 1024) /* what a guest's rings held when it ended, sent without credit */
#define MGR_KILL_MS 5000   /* from a kill to the end of a worker that does not obey */
#define MGR_INPUT_BYTES ((uint64_t)64 * 1024)
#define MGR_RESTART_CALM_NS \
    ((uint64_t)10 * 1000000000) /* who ran for so long begins its restarts anew */

enum mgr_change {
    MGR_EV_START,   /* a client: StartGuest, AttachGuest{start}; or a restart's delay has passed */
    MGR_EV_STARTED, /* the worker: it runs */
    MGR_EV_REFUSED, /* the worker, or no worker: it cannot */
    MGR_EV_SIGNAL,  /* a client: a signal that the guest may handle, input, window size */
    MGR_EV_PAUSE,   /* a client: it shall stand still */
    MGR_EV_PAUSED,  /* the worker: it does */
    MGR_EV_RESUME,  /* a client: it shall go on */
    MGR_EV_RESUMED, /* the worker: it does */
    MGR_EV_STOP,    /* a client: it shall end */
    MGR_EV_ENDED,   /* the worker: it ended */
    MGR_EV_LOST,    /* its worker died */
    MGR_EV_RESTART, /* it ended, and its policy starts it again */
    MGR_EV_DELETE,  /* a client, or auto_remove */
    MGR_EV_COUNT
};

struct mgr_worker;

/* A client that reads the console: an AttachGuest or ReadLogs call. */
struct mgr_reader {
    struct list link;    /* guest->readers; empty: the guest is gone */
    struct list writing; /* guest->writers, while it may write */
    struct mgr_guest *guest;
    struct pb_call *call;
    struct mgr_cursor at;
    bool hold, follow, writer, shared;
    uint64_t until;   /* without follow: byte number to stop at */
    bool attach;      /* else logs */
    bool opened_sent; /* attach: the first response went out */
    bool wait_start;  /* attach: it goes out when the guest runs */
};

struct mgr_guest {
    struct mgr *m;
    struct mgr_tenant *tenant;
    UT_hash_handle hh;         /* m->guest_by_key */
    UT_hash_handle hh_id;      /* m->guest_by_id */
    UT_hash_handle hh_request; /* m->guest_by_request, if it was asked for under one */
    char request_key[136];     /* "tenant/request_id" */
    struct list link;          /* m->guests */
    uint64_t id;
    char key[160];    /* "tenant/name" */
    const char *name; /* inside key */
    char digest[72];
    PbCreateGuestRequest *spec;  /* our copy, the image's configuration merged in */
    PbCreateGuestRequest *asked; /* as it came, if there is a request_id to compare by; else NULL */
    PbGuestLimits limits;        /* in force */
    PbGuestState state;
    bool announcing; /* its end is being told */
    bool starting;   /* given to a worker that has not said yet that it runs */
    bool charged;    /* rule (5): its limits are */
    bool held;       /* the image is kept for it */

    struct mgr_worker *worker; /* rule (2) */
    struct list at_worker;     /* worker->guests, or tenant->start_queue */
    uint64_t worker_id;        /* of the worker it was given to, in the journal */
    uint32_t worker_pid;

    enum err_code refused; /* FAILED because it could not start: how; else ERR_OK */
    PbEndKind end_kind;
    int end_code;
    char end_text[256], end_by[64];
    bool have_fault;
    uint64_t fault_pc, fault_address;
    char fault_insn[64];
    bool have_stats;
    PbGuestStats *stats; /* owned, unpacked; NULL: none */
    int64_t create_time_ns, start_time_ns, end_time_ns;
    uint64_t start_mono_ns;
    uint32_t restarts, row; /* in all; in a row */
    char stopping_by[64];   /* who asked for its end */
    char limit_text[80];    /* a limit of the manager's that ended it */

    struct mgr_console console;
    uint64_t granted, spent;  /* rule (3) */
    uint64_t dropped;         /* by slow readers */
    uint64_t input_under_way; /* rule (4) */
    struct list readers, writers;
    bool input_closed;

    struct list start_waiters, end_waiters, delete_waiters, pause_waiters; /* struct mgr_waiter */
    struct mgr_deadline grace;   /* SIGKILL, then the worker's death */
    struct mgr_deadline wall;    /* limits.wall_ns */
    struct mgr_deadline restart; /* while RESTARTING */
    bool kill_sent;              /* then grace is the worker's to obey */
};

/* A new guest from a request: as it came, and as it is meant (spec.c). Fails: ERR_EXISTS, ERR_LIMIT, ERR_NO_MEMORY. */
res_t mgr_guest_new(struct mgr *m, struct mgr_tenant *t, const PbCreateGuestRequest *asked,
                    const PbCreateGuestRequest *spec, const char *digest, struct mgr_guest **g,
                    struct err *err);
/* Into the daemon's books, as CREATED; nothing is recorded. Out of them. Between guest.c and restore.c. */
struct mgr_guest *mgr_guest_enter(struct mgr *m, struct mgr_tenant *t, uint64_t id,
                                  const char *name, const PbCreateGuestRequest *asked,
                                  const PbCreateGuestRequest *spec, const char *digest,
                                  struct err *err);
void mgr_guest_leave(struct mgr_guest *g, bool remove_console);
void mgr_guest_set_name(struct mgr_guest *g, const char *name);
/* One that ran when the daemon ended: its limits count, whatever the quotas say now. */
void mgr_guest_charge_anyway(struct mgr_guest *g);
/* One that waited for its restart when the daemon ended. */
void mgr_guest_restart_again(struct mgr_guest *g);
/* Everything that mgr_guest_new would refuse, without making it. */
res_t mgr_guest_admit(struct mgr *m, struct mgr_tenant *t, const PbCreateGuestRequest *spec,
                      struct err *err);
/* By name, among the tenant's own; an admin may say "tenant/name". Fails: ERR_NOT_FOUND. */
res_t mgr_guest_find(struct mgr *m, struct mgr_tenant *t, const char *name, struct mgr_guest **g,
                     struct err *err);
struct mgr_guest *mgr_guest_by_id(struct mgr *m, uint64_t id);
struct mgr_guest *mgr_guest_by_request(struct mgr *m, const struct mgr_tenant *t,
                                       const char *request_id);
res_t mgr_guest_rename(struct mgr_guest *g, const char *name, struct err *err);
bool mgr_guest_running(const struct mgr_guest *g); /* STARTING, RUNNING, PAUSED, STOPPING */
bool mgr_guest_over(const struct mgr_guest *g);    /* ENDED, FAILED */

/* These may free the guest (auto_remove, or a waiting deletion) before they return OK: add waiters and readers first and do
 * not look at g again. */
/* Fails: ERR_STATE, ERR_LIMIT, ERR_UNAVAILABLE. Waiters are answered when it runs or was refused. */
res_t mgr_guest_start(struct mgr_guest *g, struct err *err);
/* End it: now (grace 0), or SIGTERM first. by: who asked. Fails: ERR_STATE. */
res_t mgr_guest_stop(struct mgr_guest *g, uint64_t grace_ms, const char *by, struct err *err);
res_t mgr_guest_signal(struct mgr_guest *g, uint32_t signo, const char *by, struct err *err);
/* Waiters are answered when it stands still, or goes on. */
res_t mgr_guest_pause(struct mgr_guest *g, bool pause, struct err *err);
/* Forget it: it must be over or never started. Its readers and waiters end with NOT_FOUND. */
res_t mgr_guest_delete(struct mgr_guest *g, struct err *err);

/* Bytes for standard input; rule (4) is kept by pausing the writers. */
void mgr_guest_input(struct mgr_guest *g, const void *p, size_t n);
void mgr_guest_input_eof(struct mgr_guest *g);
void mgr_guest_resize(struct mgr_guest *g, uint32_t rows, uint32_t cols);
void mgr_guest_resume_writers(struct mgr_guest *g);

void mgr_reader_add(struct mgr_guest *g, struct mgr_reader *r);
/* It writes no more; the last writer of pipes ends the input. */
void mgr_reader_stop_writing(struct mgr_reader *r);
/* The reader leaves (its call ended). May delete a guest with auto_remove. */
void mgr_reader_remove(struct mgr_reader *r);
/* A reader read on: give the worker what that freed. */
void mgr_guest_grant(struct mgr_guest *g);

/* Message about a guest for clients (guest_msg.c): points into g and into itself. */
struct mgr_guest_msg {
    PbGuest guest;
    PbGuestEnd end;
    PbGuestFault fault;
    PbRestart restart;
    char id[24];
};
void mgr_guest_fill(const struct mgr_guest *g, struct mgr_guest_msg *out);
void mgr_guest_reply(struct pb_call *call, const struct mgr_guest *g);

/* Between the files of guests. Rule (1); fails: ERR_STATE. */
res_t mgr_guest_advance(struct mgr_guest *g, enum mgr_change ev, struct err *err);
/* It reached ENDED or FAILED: tell everybody who waits. May free g. */
void mgr_guest_is_over(struct mgr_guest *g, PbEndKind kind, int code, const char *text);
void mgr_guest_answer(struct list *waiters, const struct mgr_guest *g);
void mgr_guest_answer_error(struct list *waiters, const struct err *err);
void mgr_guest_wake_readers(struct mgr_guest *g);
void mgr_guest_record(const struct mgr_guest *g);
void mgr_guest_send_kill(struct mgr_guest *g);
/* It runs: its limits of time begin. */
void mgr_guest_runs(struct mgr_guest *g, uint64_t since_ns);
uint64_t mgr_guest_hold_bytes(const struct mgr_guest *g);

/* From worker.c: it has a worker now. */
void mgr_guest_send_run(struct mgr_guest *g);
/* What the worker says. Fails: ERR_BAD_MESSAGE: nonsense. */
res_t mgr_guest_said(struct mgr_guest *g, const PbFromWorker *m, struct err *err);
void mgr_guest_lost(struct mgr_guest *g, const char *why);
void mgr_guest_refused(struct mgr_guest *g, const struct err *why);
/* A worker of an earlier daemon has it still. */
void mgr_guest_adopted(struct mgr_guest *g, const PbWorkerHas *has);

/* restore.c: what the journal says, and what becomes of guests that ran. */
res_t mgr_restore_record(struct mgr *m, const PbStateRecord *r, struct err *err);
void mgr_restore_snapshot(struct mgr *m);
void mgr_restore_running(struct mgr *m);

/* spec.c. What was asked for, with the image's configuration (NULL: none) where nothing was, and checked. *spec lives in the arena
 * and points into both. Fails: ERR_INVALID, with what was expected; ERR_NO_MEMORY. */
res_t mgr_spec_make(const PbCreateGuestRequest *asked, const PbImageConfig *config, uint32_t vcpus,
                    struct arena *a, PbCreateGuestRequest *spec, struct err *err);
/* The limits in force for what was asked. */
void mgr_spec_limits(const struct mgr_config *config, const PbGuestLimits *asked,
                     PbGuestLimits *limits);

/* A message to a worker, named `to`. */
#define MGR_TO_WORKER(case_, field_, value_)   \
    PbToWorker to = PB_TO_WORKER__INIT;        \
    to.kind_case = PB_TO_WORKER__KIND_##case_; \
    to.field_ = (value_)

#endif
