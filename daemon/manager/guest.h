/*
 * manager/guest.h - the guests: what was asked for, where they run, how they ended.
 *
 * Looks into: proto.  Used by: daemon/manager.
 *
 * Rules:
 *  (1) The state changes in one function, by one table (guest.c); what the table refuses, nobody did.
 *  (2) A guest has a worker from STARTING (once one is free) until it ends; then it is off its list.
 *  (3) Console: the worker may send `granted` bytes (each message costs MGR_CONSOLE_HEAD more); credit is given only
 *      as far as the slowest holding reader leaves room in the log.
 *  (4) Input: at most MGR_INPUT_BYTES are under way to the worker; the writer's call is paused meanwhile.
 *
 * Thread: the loop's.
 */
#ifndef MANAGER_GUEST_H
#define MANAGER_GUEST_H

#include "daemon/manager/console.h"
#include "daemon/manager/manager.h"
#include "proto/guest.pb-c.h"
#include "proto/server.h"
#include "proto/worker.pb-c.h"

#include <uthash.h>

#define MGR_GUESTS_MAX 10000
#define MGR_CREDIT_BYTES ((uint64_t)64 * 1024) /* under way from the worker */
#define MGR_OVERDRAFT_BYTES \
    ((uint64_t)160 * 1024) /* what a guest's rings held when it ended, sent without credit */
#define MGR_HOLD_BYTES (MGR_CONSOLE_BYTES - MGR_OVERDRAFT_BYTES) /* unread by a holding reader */
#define MGR_KILL_MS 5000 /* from a kill to the end of a worker that does not obey */
#define MGR_INPUT_BYTES ((uint64_t)64 * 1024)

enum mgr_event {
    MGR_EV_START,   /* a client: StartGuest, AttachGuest{start} */
    MGR_EV_STARTED, /* the worker: it runs */
    MGR_EV_REFUSED, /* the worker, or no worker: it cannot */
    MGR_EV_SIGNAL,  /* a client: a signal that the guest may handle, input, window size */
    MGR_EV_STOP,    /* a client: it shall end */
    MGR_EV_ENDED,   /* the worker: it ended */
    MGR_EV_LOST,    /* its worker died */
    MGR_EV_DELETE,  /* a client, or auto_remove */
    MGR_EV_COUNT
};

struct mgr_worker;

/* A client that reads the console: an AttachGuest or ReadLogs call. */
struct mgr_reader {
    struct list link; /* guest->readers; empty: the guest is gone */
    struct mgr_guest *guest;
    struct pb_call *call;
    struct mgr_cursor at;
    bool hold, follow, writer;
    uint64_t until;   /* without follow: byte number to stop at */
    bool attach;      /* else logs */
    bool opened_sent; /* attach: the first response went out */
    bool wait_start;  /* attach: it goes out when the guest runs */
};

struct mgr_guest {
    struct mgr *m;
    UT_hash_handle hh; /* m->guest_by_name */
    struct list link;  /* m->guests */
    uint64_t id;
    char name[64];
    char digest[72];
    PbCreateGuestRequest *spec; /* our copy */
    PbGuestState state;
    bool announcing; /* its end is being told */

    struct mgr_worker *worker; /* rule (2) */
    struct list at_worker;     /* worker->guests, or m->start_queue */
    uint32_t worker_pid;

    enum err_code refused; /* FAILED because it could not start: how; else ERR_OK */
    PbEndKind end_kind;
    int end_code;
    char end_text[256];
    bool have_stats;
    PbGuestStats stats;
    int64_t create_time_ns, start_time_ns, end_time_ns;
    uint64_t start_mono_ns;

    struct mgr_console console;
    uint64_t granted, spent;  /* rule (3) */
    uint64_t input_under_way; /* rule (4) */
    struct list readers;
    struct mgr_reader *writer;

    struct list start_waiters, end_waiters, delete_waiters; /* struct mgr_waiter */
    struct list grace;                                      /* m->graces */
    uint64_t grace_until_ms;
    bool kill_sent; /* then grace is the worker's to obey */
};

/* A new guest from a checked request. Fails: ERR_EXISTS, ERR_LIMIT, ERR_NO_MEMORY. */
res_t mgr_guest_new(struct mgr *m, const PbCreateGuestRequest *spec, const char *digest,
                    struct mgr_guest **g, struct err *err);
/* Fails: ERR_NOT_FOUND. */
res_t mgr_guest_find(struct mgr *m, const char *name, struct mgr_guest **g, struct err *err);
bool mgr_guest_running(const struct mgr_guest *g); /* STARTING, RUNNING, STOPPING */
bool mgr_guest_over(const struct mgr_guest *g);    /* ENDED, FAILED */

/* These may free the guest (auto_remove, or a waiting deletion) before they return OK: add waiters and readers first and do
 * not look at g again. */
/* Fails: ERR_STATE, ERR_UNAVAILABLE. Waiters are answered when it runs or was refused. */
res_t mgr_guest_start(struct mgr_guest *g, struct err *err);
/* End it: now (grace 0), or SIGTERM first. Fails: ERR_STATE. */
res_t mgr_guest_stop(struct mgr_guest *g, uint64_t grace_ms, struct err *err);
res_t mgr_guest_signal(struct mgr_guest *g, uint32_t signo, struct err *err);
/* Forget it: it must be over or never started. Its readers and waiters end with NOT_FOUND. */
res_t mgr_guest_delete(struct mgr_guest *g, struct err *err);

/* Bytes for standard input; rule (4) is kept by pausing the writer. */
void mgr_guest_input(struct mgr_guest *g, const void *p, size_t n);
void mgr_guest_input_eof(struct mgr_guest *g);
void mgr_guest_resize(struct mgr_guest *g, uint32_t rows, uint32_t cols);

void mgr_reader_add(struct mgr_guest *g, struct mgr_reader *r);
/* The reader leaves (its call ended). May delete a guest with auto_remove. */
void mgr_reader_remove(struct mgr_reader *r);
/* A reader read on: give the worker what that freed. */
void mgr_guest_grant(struct mgr_guest *g);

/* Message about the guest for clients; lives until the next call. */
const PbGuest *mgr_guest_message(const struct mgr_guest *g);

/* Between guest.c and guest_io.c. Rule (1); fails: ERR_STATE. */
res_t mgr_guest_advance(struct mgr_guest *g, enum mgr_event ev, struct err *err);
/* It reached ENDED or FAILED: tell everybody who waits. May free g. */
void mgr_guest_is_over(struct mgr_guest *g, PbEndKind kind, int code, const char *text);
void mgr_guest_answer(struct list *waiters, const struct mgr_guest *g);
void mgr_guest_wake_readers(struct mgr_guest *g);

/* From worker.c: it has a worker now. */
void mgr_guest_send_run(struct mgr_guest *g);
/* What the worker says. Fails: ERR_BAD_MESSAGE: nonsense. */
res_t mgr_guest_said(struct mgr_guest *g, const PbFromWorker *m, struct err *err);
void mgr_guest_lost(struct mgr_guest *g, const char *why);
void mgr_guest_refused(struct mgr_guest *g, const struct err *why);

/* A message to a worker, named `to`. */
#define MGR_TO_WORKER(case_, field_, value_)   \
    PbToWorker to = PB_TO_WORKER__INIT;        \
    to.kind_case = PB_TO_WORKER__KIND_##case_; \
    to.field_ = (value_)

#endif
