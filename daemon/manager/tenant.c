#include "daemon/manager/tenant.h"
#include "daemon/manager/conn.h"
#include "proto/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const mgr_quota_names[MGR_QUOTA_COUNT] = {
#define QUOTA(id, name, what) #name,
    MGR_QUOTAS(QUOTA)
#undef QUOTA
};

struct mgr_tenant *mgr_tenant_find(struct mgr *m, const char *name)
{
    list_for_each(l, &m->tenants)
    {
        struct mgr_tenant *t = list_entry(l, struct mgr_tenant, link);
        if (!strcmp(t->name, name))
            return t;
    }
    return NULL;
}

res_code_t mgr_tenant_keep(struct mgr *m, const char *name, struct mgr_tenant **out,
                           struct err *err)
{
    struct mgr_tenant *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(err, ERR_NO_MEMORY, "no memory for a tenant");
    snprintf(t->name, sizeof t->name, "%s", name);
    list_init(&t->start_queue);
    list_init(&t->turn);
    list_append(&m->tenants, &t->link);
    *out = t;
    return OK;
}

res_code_t mgr_tenants_configure(struct mgr *m, const struct mgr_tenant_config *configs,
                                 size_t count, struct err *err)
{
    struct mgr_tenant *t;
    for (size_t i = 0; i < count;
         i++) /* one too many is harmless: without a configuration it is nobody's */
        if (!mgr_tenant_find(m, configs[i].name) && mgr_tenant_keep(m, configs[i].name, &t, err))
            return FAIL;
    list_for_each(l, &m->tenants) list_entry(l, struct mgr_tenant, link)->config = NULL;
    for (size_t i = 0; i < count; i++)
        mgr_tenant_find(m, configs[i].name)->config = &configs[i];
    return OK;
}

void mgr_tenants_fini(struct mgr *m)
{
    while (!list_empty(&m->tenants)) {
        struct mgr_tenant *t = list_entry(m->tenants.next, struct mgr_tenant, link);
        list_remove(&t->link);
        free(t);
    }
}

struct mgr_tenant *mgr_tenant_of_uid(struct mgr *m, uint32_t uid)
{
    list_for_each(l, &m->tenants)
    {
        struct mgr_tenant *t = list_entry(l, struct mgr_tenant, link);
        for (size_t i = 0; t->config && i < t->config->uid_count; i++)
            if (t->config->uids[i] == uid)
                return t;
    }
    return NULL;
}

struct mgr_tenant *mgr_tenant_of_certificate(struct mgr *m, const char *name)
{
    list_for_each(l, &m->tenants)
    {
        struct mgr_tenant *t = list_entry(l, struct mgr_tenant, link);
        for (size_t i = 0; t->config && i < t->config->certificate_count; i++)
            if (!strcmp(t->config->certificates[i], name))
                return t;
    }
    return NULL;
}

struct mgr_tenant *mgr_caller(const struct pb_call *call)
{
    return mgr_tenant_of_conn(call->conn_ctx);
}

res_code_t mgr_require_admin(const struct pb_call *call, struct err *err)
{
    const struct mgr_tenant *t = mgr_caller(call);
    if (t->config && t->config->admin)
        return OK;
    err_set(err, ERR_DENIED, "tenant \"%s\" may not ask for all tenants' objects", t->name);
    return err_explain(err, "ADMIN_REQUIRED", "tenant", t->name,
                       "set admin for this tenant in the daemon's configuration");
}

res_code_t mgr_quota_take(struct mgr_tenant *t, enum mgr_quota q, uint64_t amount, struct err *err)
{
    uint64_t limit = t->config ? t->config->quota[q] : 0;
    if (t->used[q] > limit || amount > limit - t->used[q]) {
        err_set(err, ERR_LIMIT, "quota %s of tenant \"%s\": %llu of %llu in use, %llu more wanted",
                mgr_quota_names[q], t->name, (unsigned long long)t->used[q],
                (unsigned long long)limit, (unsigned long long)amount);
        return err_explain(err, "QUOTA_EXCEEDED", "quota", mgr_quota_names[q],
                           "remove or stop something, or raise the quota in the daemon's "
                           "configuration");
    }
    t->used[q] += amount;
    return OK;
}

void mgr_quota_give(struct mgr_tenant *t, enum mgr_quota q, uint64_t amount)
{
    ASSERT(t->used[q] >= amount);
    t->used[q] -= amount;
}
