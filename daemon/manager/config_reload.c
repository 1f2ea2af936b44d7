/* A configuration comes into force: at the start, and again after SIGHUP. */
#include "daemon/manager/config.h"
#include "daemon/manager/config_table.h"
#include "daemon/manager/event.h"
#include "daemon/manager/image.h"
#include "daemon/manager/listen.h"
#include "daemon/manager/metrics.h"
#include "daemon/manager/systemd.h"
#include "engine/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void mgr_config_apply_log(const struct mgr_config *config, const char *fallback)
{
    static int opened = -1;
    const char *path = *config->log_file ? config->log_file : fallback;
    int fd = -1;
    if (path) {
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
        if (fd < 0)
            log_error("log.file %s: %s; the log goes on as before", path, strerror(errno));
    }
    if (fd >= 0 || !path) {
        log_set_fd(fd >= 0 ? fd : 2);
        if (opened >= 0)
            close(opened);
        opened = fd;
    }
    log_set_level((enum log_level)config->log_level);
    if (!log_set_format((enum log_format)config->log_format))
        log_warn("log.format journald: no journal answers on this machine; the log is text");
}

static bool same_texts(char *const *a, size_t n, char *const *b, size_t m)
{
    if (n != m)
        return false;
    for (size_t i = 0; i < n; i++)
        if (strcmp(a[i], b[i]))
            return false;
    return true;
}

static bool same_tenants(const struct mgr_config *a, const struct mgr_config *b)
{
    if (a->tenants_count != b->tenants_count)
        return false;
    for (size_t i = 0; i < a->tenants_count; i++) {
        const struct mgr_tenant_config *x = &a->tenants[i], *y = &b->tenants[i];
        if (strcmp(x->name, y->name) || x->admin != y->admin ||
            x->isolate_guests != y->isolate_guests || x->uid_count != y->uid_count ||
            (x->uid_count && memcmp(x->uids, y->uids, x->uid_count * sizeof *x->uids)) ||
            memcmp(x->quota, y->quota, sizeof x->quota) ||
            !same_texts(x->certificates, x->certificate_count, y->certificates,
                        y->certificate_count))
            return false;
    }
    return true;
}

static bool same_listeners(const struct mgr_config *a, const struct mgr_config *b)
{
    if (a->listen_count != b->listen_count)
        return false;
    for (size_t i = 0; i < a->listen_count; i++) {
        const struct mgr_listener_config *x = &a->listen[i], *y = &b->listen[i];
        if (strcmp(x->unix_path, y->unix_path) || x->mode != y->mode || strcmp(x->tcp, y->tcp) ||
            strcmp(x->certificate, y->certificate) || strcmp(x->key, y->key) ||
            strcmp(x->client_ca, y->client_ca))
            return false;
    }
    return true;
}

static bool same_value(const struct mgr_key *k, const struct mgr_config *a,
                       const struct mgr_config *b)
{
    const char *x = (const char *)a + k->offset, *y = (const char *)b + k->offset;
    if (k->type == MGR_TEXT || k->type == MGR_PATH)
        return !strcmp(*(const char *const *)(const void *)x,
                       *(const char *const *)(const void *)y);
    return !memcmp(x, y, k->size);
}

/* Rule (3): what only a restart takes over keeps the value that the daemon started with. Returns how many keys changed. */
static unsigned compare(struct mgr *m, struct mgr_config *fresh)
{
    const struct mgr_config *boot = m->opt->config, *old = m->config;
    unsigned changed = 0;
    for (const struct mgr_key *k = mgr_keys; k < mgr_keys + mgr_key_count; k++) {
        if (!mgr_key_find("", k->owner) || mgr_key_find("", k->owner)->type != MGR_MAP)
            continue; /* not of a section */
        if (k->flags & MGR_RELOAD) {
            if (same_value(k, old, fresh))
                continue;
            changed++;
            log_info("reload: %s.%s has changed", k->owner, k->name);
        } else if (!same_value(k, boot, fresh)) {
            log_warn("reload: %s.%s has changed: that takes effect when vmd is restarted", k->owner,
                     k->name);
            memcpy((char *)fresh + k->offset, (const char *)boot + k->offset, k->size);
        }
    }
    if (!same_tenants(old, fresh)) {
        changed++;
        log_info("reload: tenants have changed: %zu now", fresh->tenants_count);
    }
    if (!same_listeners(boot, fresh))
        log_warn("reload: listen has changed: that takes effect when vmd is restarted");
    fresh->listen = boot->listen;
    fresh->listen_count = boot->listen_count;
    return changed;
}

res_code_t mgr_reload(struct mgr *m, struct mgr_config *fresh, struct err *err)
{
    const struct mgr_config *old = m->config;
    struct err tls;
    if (mgr_tenants_configure(m, fresh->tenants, fresh->tenants_count, err))
        return FAIL;
    mgr_images_recount(m);
    unsigned changed = compare(m, fresh);
    m->config = fresh;
    mgr_config_apply_log(fresh, m->opt->log_fallback);
    if (strcmp(old->metrics_listen, fresh->metrics_listen))
        mgr_metrics_listen(m, fresh->metrics_listen);
    if (old != m->opt->config)
        mgr_config_free((struct mgr_config *)(uintptr_t)old);
    mgr_count(m, MGR_METRIC_RELOADS, 1);
    if (mgr_listen_reload(m, &tls))
        log_error("reload: %s; the certificates stay as they were", tls.text);
    log_info("reload: done, %u key%s changed", changed, changed == 1 ? "" : "s");
    mgr_event(m, PB_EVENT_TYPE_DAEMON_RELOADED, NULL, "", 0, 0, NULL);
    return OK;
}

static void log_problems(const struct mgr_problems *p)
{
    const char *s = (const char *)p->text.data, *end = s + p->text.len;
    while (s && s < end) {
        const char *nl = memchr(s, '\n', (size_t)(end - s));
        int n = (int)((nl ? nl : end) - s);
        log_error("reload: %.*s", n, s);
        s += n + 1;
    }
}

void mgr_reload_from_source(struct mgr *m)
{
    struct mgr_config *fresh = NULL;
    struct mgr_problems problems = {0};
    struct err err;
    mgr_sd_notify_reloading();
    if (mgr_config_load(m->opt->source, &fresh, &problems, &err)) {
        if (problems.count)
            log_problems(&problems);
        else
            log_error("reload: %s", err.text);
        log_error("reload: the configuration stays as it was");
        mgr_count(m, MGR_METRIC_RELOADS_FAILED, 1);
    } else if (mgr_reload(m, fresh, &err)) {
        log_error("reload: %s; the configuration stays as it was", err.text);
        mgr_config_free(fresh);
    }
    mgr_problems_fini(&problems);
    mgr_sd_notify("READY=1");
}
