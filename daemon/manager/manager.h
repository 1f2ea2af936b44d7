/*
 * manager/manager.h - vmd: one libuv loop that owns clients, guests, images and worker processes.
 *
 * Looks into: proto, base.  Used by: daemon/manager.
 *
 * It cannot translate and never touches guest memory. Everything that comes in is hostile: clients' requests
 * (server.h checks them), workers' messages (a wrong one costs the worker its life), image entries (looked
 * into by vmd-import only).
 *
 * Sending is collected: whoever has something to send marks its connection or worker dirty; all dirty
 * ones are flushed just before the loop sleeps, so nothing waits for a timer and no callback re-enters.
 *
 * Thread: one; hashing and fsync of images run in libuv's pool on data of their own.
 */
#ifndef MANAGER_MANAGER_H
#define MANAGER_MANAGER_H

#include "engine/base/base.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"

#include <uv.h>

struct mgr_options {
    const char *socket;      /* path of the Unix socket */
    const char *state;       /* folder for images */
    const char *worker_path; /* vmd-worker */
    const char *import_path; /* vmd-import */
    uint64_t stop_grace_ms;  /* for guests, when the daemon ends */
    const struct mgr_tenant_config *tenants;
    size_t tenant_count;
};

struct mgr_tenant_config;
struct mgr_guest;
struct mgr_images;

struct mgr {
    const struct mgr_options *opt;
    uv_loop_t *loop;
    int64_t start_time_ns;
    int lock_fd; /* on the state folder */
    bool stopping, listening;
    unsigned stop_step;
    uv_signal_t on_term, on_int, on_hup;
    uv_prepare_t flush;
    uv_idle_t spin; /* active while a flush was cut short */
    uv_timer_t stop_timer;
    struct buf scratch; /* what is being sent now */

    /* clients */
    uv_pipe_t listener;
    struct list conns, dirty_conns;
    unsigned conn_count;
    uv_timer_t deadline_timer;
    uint64_t deadline_ns; /* the timer is set to this; UINT64_MAX: not set */

    /* workers */
    struct list workers, dirty_workers;
    struct list start_queue; /* guests that wait for a worker */
    unsigned worker_count;
    unsigned early_deaths; /* of workers in a row, before they said hello */
    uv_timer_t respawn_timer;

    /* tenants */
    struct list tenants;

    /* guests */
    struct list guests;              /* oldest first */
    struct mgr_guest *guest_by_name; /* uthash */
    unsigned guest_count, guests_active;
    uint64_t next_guest_id;
    struct list graces; /* guests with a stop deadline */
    uv_timer_t grace_timer;

    /* images */
    struct mgr_images *images;
    struct list imports;
    unsigned import_count;
};

/* Listen; logs and fails if the socket or the state is another's. */
res_t mgr_init(struct mgr *m, const struct mgr_options *opt, struct err *err);
/* Until a signal ends it. */
void mgr_run(struct mgr *m);
void mgr_fini(struct mgr *m);
/* Something that keeps the daemon up may have ended. */
void mgr_stop_step(struct mgr *m);
int64_t mgr_wall_ns(void);

#endif
