/*
 * manager/config.h - vmd.yaml: what the operator decided, checked key by key.
 *
 * Looks into: base.  Used by: daemon/manager, its generator of man pages, fuzzers.
 *
 * One table (config.def) makes the struct, the parser, the defaults, etc/vmd.yaml and vmd.yaml(5). A file is hostile input: at most
 * MGR_CONFIG_BYTES, MGR_CONFIG_DEPTH deep, MGR_CONFIG_NODES nodes, no aliases, tags or second document. Everything that is wrong
 * is said, not only the first thing, each with file, line, column and what was expected.
 *
 * Rules:
 *  (1) A configuration never changes once it is made; a reload makes another. Strings and lists live in its own arena.
 *  (2) m->config is the one in force; do not keep pointers into it over a turn of the loop. The one that vmd started with
 *      (options.config) lives as long as the daemon.
 *  (3) What cannot be reloaded has the same value in every configuration that comes into force.
 *  (4) UINT64_MAX is "none".
 *
 * Thread: the loop's.
 */
#ifndef MANAGER_CONFIG_H
#define MANAGER_CONFIG_H

#include "daemon/manager/tenant.h"
#include "engine/base/arena.h"

#define MGR_CONFIG_BYTES ((size_t)1 << 20)
#define MGR_CONFIG_DEPTH 10
#define MGR_CONFIG_NODES 20000
#define MGR_CONFIG_PROBLEMS 50 /* told of one file */

/* One place to listen: unix_path or tcp is set, the other is "". */
struct mgr_listener_config {
    const char *unix_path;
    uint64_t mode;   /* of the socket */
    const char *tcp; /* "host:port", "[v6]:port" */
    const char *certificate, *key, *client_ca;
};

/* Fields are named section_key; sizes end with _bytes, times with _ns. Their meanings are in config.def. */
struct mgr_config {
#define MGR_FIELD_BOOL(n) bool n;
#define MGR_FIELD_UINT(n) uint64_t n;
#define MGR_FIELD_SIZE(n) uint64_t n##_bytes;
#define MGR_FIELD_TIME(n) uint64_t n##_ns;
#define MGR_FIELD_CHOICE(n) unsigned n;  /* enum mgr_choice_..., by the order of the choices */
#define MGR_FIELD_TEXT(n) const char *n; /* never NULL; "" unless set */
#define MGR_FIELD_PATH(n) const char *n; /* alike */
#define MGR_KEY(section, name, type, ...) MGR_FIELD_##type(section##_##name)
#include "daemon/manager/config.def"
    struct mgr_listener_config *listen;
    size_t listen_count; /* 0: the default socket */
    struct mgr_tenant_config *tenants;
    size_t tenants_count; /* never 0 after mgr_config_load: then the daemon's own user */
    struct arena arena;
};

enum { MGR_LOG_TEXT, MGR_LOG_JSON, MGR_LOG_JOURNALD };      /* log_format */
enum { MGR_ISOLATE_TENANT, MGR_ISOLATE_GUEST };             /* workers_isolation */
enum { MGR_RUNNING_GUESTS_ADOPT, MGR_RUNNING_GUESTS_LOSE }; /* workers_running_guests */

/* Everything that is wrong, one line each: "FILE:LINE:COLUMN: what". */
struct mgr_problems {
    struct buf text; /* in the order of the file; what concerns all of it comes last */
    unsigned count;  /* those beyond MGR_CONFIG_PROBLEMS are counted, not told */
    uint64_t places[MGR_CONFIG_PROBLEMS]; /* of each: line << 32 | column */
};
void mgr_problems_fini(struct mgr_problems *p);

/* A flag that stands for a key. */
struct mgr_override {
    const char *key;   /* "log.level" */
    const char *value; /* as the file would have it */
    const char *flag;  /* "--log-level" */
};
/* Where the configuration comes from; read again by SIGHUP. */
struct mgr_config_source {
    const char *file;   /* NULL: none, defaults only */
    bool must_exist;    /* it was named by the user */
    const char *socket; /* --socket: stands for every Unix socket of the file; NULL: not given */
    struct mgr_listener_config tls; /* --listen, --tls-...: one door more, if tcp is not NULL */
    const char *names[16];          /* --tls-name: certificates of the daemon's own tenant */
    size_t name_count;
    struct mgr_override overrides[24];
    size_t override_count;
};

/* From text. Fails: ERR_INVALID, problems say why; the first of them is err's text too. */
res_t mgr_config_parse(const char *name, const char *text, size_t n, struct mgr_config **config,
                       struct mgr_problems *problems, struct err *err);
/* From the source: file, then flags. Fails: ERR_INVALID, ERR_OS, ERR_NO_MEMORY. */
res_t mgr_config_load(const struct mgr_config_source *source, struct mgr_config **config,
                      struct mgr_problems *problems, struct err *err);
void mgr_config_free(struct mgr_config *config);
/* Where it is looked for: /etc/vmd/vmd.yaml as root, else $XDG_CONFIG_HOME/vmd/vmd.yaml or ~/.config/vmd/vmd.yaml. False: nowhere. */
bool mgr_config_default_file(char *out, size_t cap);

/* Put the log where the configuration wants it. `fallback`: a log file where it names none, or NULL for standard error. */
void mgr_config_apply_log(const struct mgr_config *config, const char *fallback);
/* Bring `fresh` into force (it becomes the daemon's): says in the log what changed, and what has to wait for a restart. Fails:
 * ERR_NO_MEMORY; then everything is as before, and fresh is the caller's still. */
res_t mgr_reload(struct mgr *m, struct mgr_config *fresh, struct err *err);
/* SIGHUP: read the source again; a bad file changes nothing and is explained in the log. */
void mgr_reload_from_source(struct mgr *m);

#endif
