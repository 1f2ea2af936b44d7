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
#include "proto/health.h"
#include "proto/tls.h"

#include "daemon/manager/timer.h"

#include <uv.h>

#define MGR_STATES 9 /* of guests, UNSPECIFIED included */

/* One more door than mgr_options.socket. */
struct mgr_listen_config {
    const char *unix_path;   /* or */
    unsigned mode;           /* of it */
    const char *tcp;         /* "HOST:PORT", "[::1]:7443", ":7443" (every address) */
    struct pb_tls_files tls; /* with tcp */
};

/* LIMIT(name, default, what): what connections may take. Read by the configuration, its documentation and conn.c. */
#define MGR_CONN_LIMITS(LIMIT)                                                                   \
    LIMIT(connections, 16384, "connections of all clients")                                      \
    LIMIT(tenant_connections, 12288, "connections of one tenant")                                \
    LIMIT(handshake_ms, 10000, "for a client's TLS handshake, then for its HTTP/2 preface")      \
    LIMIT(request_ms, 60000, "for the request of a call, where it is one message")               \
    LIMIT(ping_after_ms, 30000, "of silence, before a TCP client with calls is asked to answer") \
    LIMIT(ping_answer_ms, 20000, "for its answer")                                               \
    LIMIT(idle_ms, 3600000, "without a call, before a client is sent away")

struct mgr_conn_limits { /* 0: the default */
#define LIMIT(name, by_default, what) uint32_t name;
    MGR_CONN_LIMITS(LIMIT)
#undef LIMIT
};

struct mgr_options {
    const char *socket;                      /* path of the Unix socket; NULL: none */
    unsigned socket_mode; /* of it */
    const char *state;                       /* folder for images, guests, events */
    const char *worker_path;                 /* vmd-worker */
    const char *import_path;                 /* vmd-import */
    const struct mgr_tenant_config *tenants; /* config's, at the start */
    size_t tenant_count;
    const struct mgr_listen_config *listen; /* doors beside socket */
    size_t listen_count;
    struct mgr_conn_limits conn_limits;
    const struct mgr_config *config; /* with which the daemon starts; it lives as long (config.h) */
    const struct mgr_config_source *source; /* read again by SIGHUP */
    const char
        *log_fallback; /* where the log goes if the configuration names no file; NULL: stderr */
};

struct cf_report;
struct mgr_config;
struct mgr_config_source;
struct mgr_metrics;
struct mgr_tenant_config;
struct mgr_journal;
struct mgr_events;
struct mgr_found_worker;
struct mgr_guest;
struct mgr_images;

struct mgr {
    const struct mgr_options *opt;
    const struct mgr_config *config; /* in force now; a reload replaces it */
    struct mgr_metrics *metrics;
    uv_loop_t *loop;
    int64_t start_time_ns;
    int lock_fd; /* on the state folder */
    bool stopping, leaving, listening;
    unsigned stop_step;
    uv_signal_t on_term, on_int, on_hup, on_usr1;
    uv_prepare_t flush;
    uv_idle_t spin; /* active while a flush was cut short */
    uv_timer_t stop_timer;
    struct buf scratch; /* what is being sent now */

    /* clients */
    struct list listeners;
    struct list conns, dirty_conns;
    unsigned conn_count;
    struct pb_health health;
    struct mgr_door *door; /* conn.c's own */

    /* workers */
    struct list workers, dirty_workers;
    struct list
        start_turns; /* tenants with guests that wait for a worker; the first one's turn is next */
    unsigned worker_count, coming_count,
        starting_count;      /* coming: before they said hello; starting: guests given to one */
    unsigned adopting_count; /* workers of an earlier daemon that have not said hello yet */
    uint64_t next_worker;    /* number of the next */
    unsigned early_deaths;   /* of workers in a row, before they said hello */
    uv_timer_t respawn_timer;
    struct cf_report *layers; /* as the last worker that said hello is confined; NULL: none yet (doctor.h) */

    /* tenants */
    struct list tenants;

    /* guests */
    struct list guests;                 /* oldest first */
    struct mgr_guest *guest_by_key;     /* uthash: "tenant/name" */
    struct mgr_guest *guest_by_id;      /* uthash */
    struct mgr_guest *guest_by_request; /* uthash: "tenant/request_id" */
    unsigned guest_count, guests_active;
    unsigned by_state[MGR_STATES]; /* guests, by PbGuestState */
    uint64_t next_guest_id;        /* number of the next */
    struct mgr_timers timers;      /* of guests */

    /* what outlives the daemon, and what it did */
    struct mgr_journal *journal;
    struct mgr_events *events;
    struct mgr_found_worker *found; /* while the journal is read: workers it names */
    uint64_t next_event;            /* number of the next */

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
