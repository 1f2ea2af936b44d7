/*
 * manager/tenant.h - who owns guests and images: names, quotas, what is in use.
 *
 * Looks into: proto, base.  Used by: daemon/manager.
 *
 * A connection belongs to one tenant, named by the peer's user (Unix socket) or certificate (TLS). Objects are looked up among
 * the caller's own; another tenant's are not found. An admin may ask for all, where a request says so.
 *
 * Rules:
 *  (1) Every guest and every name of an image has one tenant; tenants live as long as the daemon, also when a reload takes
 *      them out of the configuration (they then admit nobody new).
 *  (2) used <= quota for each quota, but where a reload lowered the quota: then nothing more is admitted.
 *
 * Thread: the loop's.
 */
#ifndef MANAGER_TENANT_H
#define MANAGER_TENANT_H

#include "daemon/manager/manager.h"

/* QUOTA(NAME, name, unit of the number): what is counted per tenant. Read by the configuration, metrics and ListTenants. */
#define MGR_QUOTAS(QUOTA)                                                               \
    QUOTA(GUESTS, guests, "guests that are not over")                                   \
    QUOTA(MEMORY, memory_bytes, "limits of guests that run")                            \
    QUOTA(VCPUS, vcpus, "virtual CPUs of guests that run")                              \
    QUOTA(DISK, disk_bytes, "images, each once, and overlay limits of guests that run") \
    QUOTA(CONSOLE, console_bytes, "console logs of all guests")                         \
    QUOTA(IMAGES, images, "images, each once")

enum mgr_quota {
#define QUOTA(id, name, what) MGR_QUOTA_##id,
    MGR_QUOTAS(QUOTA)
#undef QUOTA
        MGR_QUOTA_COUNT
};
extern const char *const mgr_quota_names[MGR_QUOTA_COUNT];

/* As the configuration gives it. */
struct mgr_tenant_config {
    char name[64];  /* as a guest's name */
    uint32_t *uids; /* users of the Unix socket */
    size_t uid_count;
    char **certificates; /* common names or DNS names of client certificates */
    size_t certificate_count;
    bool admin;                      /* may ask for all tenants' objects */
    bool isolate_guests;             /* each guest has a worker of its own */
    uint64_t quota[MGR_QUOTA_COUNT]; /* UINT64_MAX: none */
};

struct mgr_tenant {
    struct list link;                       /* m->tenants */
    const struct mgr_tenant_config *config; /* NULL: a reload took it away */
    char name[64];
    uint64_t used[MGR_QUOTA_COUNT];
    unsigned conn_count;     /* conn.c's */
    unsigned index;          /* metrics.c's own */
    struct list start_queue; /* guests that wait for a worker */
    struct list turn;        /* m->start_turns, while start_queue is not empty */
};

/* (Re)place the configuration: tenants are matched by name. The array stays the caller's and lives on. Fails: ERR_NO_MEMORY. */
res_t mgr_tenants_configure(struct mgr *m, const struct mgr_tenant_config *configs, size_t count,
                            struct err *err);
void mgr_tenants_fini(struct mgr *m);
/* NULL: nobody; the connection is refused. */
struct mgr_tenant *mgr_tenant_of_uid(struct mgr *m, uint32_t uid);
struct mgr_tenant *mgr_tenant_of_certificate(struct mgr *m, const char *name);
/* NULL: none. */
struct mgr_tenant *mgr_tenant_find(struct mgr *m, const char *name);
/* One that is not configured, for what it left behind. Fails: ERR_NO_MEMORY. */
res_t mgr_tenant_keep(struct mgr *m, const char *name, struct mgr_tenant **t, struct err *err);
/* Whose call it is. */
struct pb_call;
struct mgr_tenant *mgr_caller(const struct pb_call *call);
/* Fails: ERR_DENIED unless the caller is an admin. */
res_t mgr_require_admin(const struct pb_call *call, struct err *err);
/* Take `amount` of a quota, or fail with ERR_LIMIT, a text that names quota, use and limit, and details. */
res_t mgr_quota_take(struct mgr_tenant *t, enum mgr_quota q, uint64_t amount, struct err *err);
void mgr_quota_give(struct mgr_tenant *t, enum mgr_quota q, uint64_t amount);

#endif
