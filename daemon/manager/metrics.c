#include "daemon/manager/metrics.h"
#include "daemon/manager/conn.h"
#include "proto/server.h"
#include "daemon/manager/config.h"
#include "daemon/manager/guest.h"
#include "daemon/manager/http.h"
#include "daemon/manager/image.h"
#include "daemon/manager/tenant.h"
#include "engine/base/log.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum engine_counter {
#define PROF_COUNTER(name, text, unit, help) ENGINE_##name,
#include "engine/profile/counters.def"
#undef PROF_COUNTER
    ENGINE_COUNT
};
static const struct {
    const char *name, *unit, *help;
} engine_infos[ENGINE_COUNT] = {
#define PROF_COUNTER(name, text, unit, help) {text, unit, help},
#include "engine/profile/counters.def"
#undef PROF_COUNTER
};

/* Upper bounds of the histogram of starts, in microseconds. */
static const unsigned start_bounds_us[] = {500,    1000,   2500,   5000,    10000,   25000,   50000,
                                           100000, 250000, 500000, 1000000, 2500000, 10000000};

struct mgr_metrics {
    uint64_t counted[MGR_METRIC_COUNT];
    uint64_t engine[ENGINE_COUNT];
    uint64_t starts[ARRAY_LEN(start_bounds_us) + 1]; /* the last: beyond */
    uint64_t start_ns;
    struct mgr_http *http;
};

void mgr_count(struct mgr *m, enum mgr_metric id, uint64_t n)
{
    if (m->metrics)
        m->metrics->counted[id] += n;
}

void mgr_count_start(struct mgr *m, uint64_t ns)
{
    size_t i = 0;
    if (!m->metrics)
        return;
    while (i < ARRAY_LEN(start_bounds_us) && ns > (uint64_t)start_bounds_us[i] * 1000)
        i++;
    m->metrics->starts[i]++;
    m->metrics->start_ns += ns;
    m->metrics->counted[MGR_METRIC_GUEST_STARTS]++;
}

bool mgr_count_engine(struct mgr *m, const char *name, uint64_t by)
{
    for (size_t i = 0; i < ENGINE_COUNT; i++)
        if (!strcmp(engine_infos[i].name, name)) {
            if (m->metrics)
                m->metrics->engine[i] += by;
            return true;
        }
    return false;
}

/* ---- text ---- */

typedef unsigned long long ull;

static void emit_BUILD(struct mgr *m, const char *name, struct buf *out)
{
    (void)m;
    buf_printf(out, "%s{version=\"%s\"} 1\n", name, VV_VERSION);
}

static void emit_START_TIME(struct mgr *m, const char *name, struct buf *out)
{
    buf_printf(out, "%s %.3f\n", name, (double)m->start_time_ns / 1e9);
}

static void emit_CONNECTIONS(struct mgr *m, const char *name, struct buf *out)
{
    buf_printf(out, "%s %u\n", name, m->conn_count);
}

static void emit_CALLS(struct mgr *m, const char *name, struct buf *out)
{
    const struct pb_counts *counts = mgr_call_counts(m);
    for (size_t i = 0; i < PB_METHOD_COUNT; i++)
        for (int s = 0; s < PB_STATUS_COUNT; s++)
            if (counts->calls[i][s])
                buf_printf(out, "%s{method=\"%s\",status=\"%s\"} %llu\n", name, pb_methods[i].name,
                           mgr_status_name(s), (ull)counts->calls[i][s]);
}

/* "GUEST_STATE_RUNNING" as "running". */
static void state_word(const char *name, char out[32])
{
    snprintf(out, 32, "%s", name + strlen("GUEST_STATE_"));
    for (char *s = out; *s; s++)
        *s = *s >= 'A' && *s <= 'Z' ? (char)(*s - 'A' + 'a') : *s;
}

static void emit_GUESTS(struct mgr *m, const char *name, struct buf *out)
{
    const ProtobufCEnumDescriptor *states = &pb_guest_state__descriptor;
    unsigned tenants = 0, n = states->n_values;
    list_for_each(l, &m->tenants) list_entry(l, struct mgr_tenant, link)->index = tenants++;
    unsigned *counts = calloc((size_t)tenants * n, sizeof *counts);
    if (!counts)
        return;
    list_for_each(l, &m->guests)
    {
        const struct mgr_guest *g = list_entry(l, struct mgr_guest, link);
        const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(states, (int)g->state);
        counts[g->tenant->index * n + (unsigned)(v - states->values)]++;
    }
    list_for_each(l, &m->tenants)
    {
        const struct mgr_tenant *t = list_entry(l, struct mgr_tenant, link);
        char word[32];
        for (unsigned i = 0; i < n; i++) {
            if (states->values[i].value == 0)
                continue;
            state_word(states->values[i].name, word);
            buf_printf(out, "%s{tenant=\"%s\",state=\"%s\"} %u\n", name, t->name, word,
                       counts[t->index * n + i]);
        }
    }
    free(counts);
}

static void emit_START_SECONDS(struct mgr *m, const char *name, struct buf *out)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < ARRAY_LEN(start_bounds_us); i++) {
        sum += m->metrics->starts[i];
        buf_printf(out, "%s_bucket{le=\"%g\"} %llu\n", name, start_bounds_us[i] / 1e6, (ull)sum);
    }
    sum += m->metrics->starts[ARRAY_LEN(start_bounds_us)];
    buf_printf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.9f\n%s_count %llu\n", name, (ull)sum,
               name, (double)m->metrics->start_ns / 1e9, name, (ull)sum);
}

static void emit_quota(struct mgr *m, const char *name, bool limit, struct buf *out)
{
    list_for_each(l, &m->tenants)
    {
        const struct mgr_tenant *t = list_entry(l, struct mgr_tenant, link);
        for (unsigned q = 0; q < MGR_QUOTA_COUNT; q++) {
            uint64_t n = !limit ? t->used[q] : t->config ? t->config->quota[q] : 0;
            buf_printf(out, "%s{tenant=\"%s\",quota=\"%s\"} ", name, t->name, mgr_quota_names[q]);
            if (limit && n == UINT64_MAX)
                buf_printf(out, "+Inf\n");
            else
                buf_printf(out, "%llu\n", (ull)n);
        }
    }
}

static void emit_QUOTA_USED(struct mgr *m, const char *name, struct buf *out)
{
    emit_quota(m, name, false, out);
}

static void emit_QUOTA_LIMIT(struct mgr *m, const char *name, struct buf *out)
{
    emit_quota(m, name, true, out);
}

static void emit_WORKERS(struct mgr *m, const char *name, struct buf *out)
{
    buf_printf(out, "%s %u\n", name, m->worker_count);
}

static void emit_IMAGES(struct mgr *m, const char *name, struct buf *out)
{
    buf_printf(out, "%s %u\n", name, HASH_COUNT(m->images->files));
}

static void emit_IMPORTS(struct mgr *m, const char *name, struct buf *out)
{
    buf_printf(out, "%s %u\n", name, m->import_count);
}

static void emit_MEMORY(struct mgr *m, const char *name, struct buf *out)
{
    ull size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    (void)m;
    if (f && fscanf(f, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    if (f)
        fclose(f);
    buf_printf(out, "%s %llu\n", name, resident * (ull)sysconf(_SC_PAGESIZE));
}

static void emit_CPU(struct mgr *m, const char *name, struct buf *out)
{
    struct timespec ts;
    (void)m;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    buf_printf(out, "%s %lld.%09ld\n", name, (long long)ts.tv_sec, ts.tv_nsec);
}

static void emit_FDS(struct mgr *m, const char *name, struct buf *out)
{
    unsigned count = 0;
    DIR *d = opendir("/proc/self/fd");
    (void)m;
    while (d && readdir(d))
        count++;
    if (d)
        closedir(d);
    buf_printf(out, "%s %u\n", name, count > 3 ? count - 3 : 0); /* ".", "..", its own */
}

static void emit_counted(struct mgr *m, enum mgr_metric id, const char *name, struct buf *out)
{
    buf_printf(out, "%s %llu\n", name, (ull)m->metrics->counted[id]);
}

void mgr_metrics_text(struct mgr *m, struct buf *out)
{
#define EMIT_COUNTED(id, name) emit_counted(m, MGR_METRIC_##id, name, out);
#define EMIT_COMPUTED(id, name) emit_##id(m, name, out);
#define MGR_METRIC(id, source, type, name, help)                              \
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, #type); \
    EMIT_##source(id, name)
#include "daemon/manager/metrics.def"
#undef MGR_METRIC
    for (size_t i = 0; i < ENGINE_COUNT; i++) {
        buf_printf(out, "# HELP vmd_engine_%s_total In guests, %s: %s.\n", engine_infos[i].name,
                   engine_infos[i].unit, engine_infos[i].help);
        buf_printf(out, "# TYPE vmd_engine_%s_total counter\nvmd_engine_%s_total %llu\n",
                   engine_infos[i].name, engine_infos[i].name, (ull)m->metrics->engine[i]);
    }
}

/* ---- answers ---- */

static unsigned answer(void *ctx, const char *path, const char **type, struct buf *out)
{
    struct mgr *m = ctx;
    if (!strcmp(path, "/metrics")) {
        *type = "text/plain; version=0.0.4; charset=utf-8";
        mgr_metrics_text(m, out);
        return 200;
    }
    if (!strcmp(path, "/healthz")) {
        buf_printf(out, "ok\n");
        return 200;
    }
    if (strcmp(path, "/readyz")) {
        buf_printf(out, "not here; there are /metrics, /healthz and /readyz\n");
        return 404;
    }
    bool ready = m->listening && !m->stopping;
    buf_printf(out, ready ? "ready\n" : m->stopping ? "stopping\n" : "starting\n");
    return ready ? 200 : 503;
}

void mgr_metrics_listen(struct mgr *m, const char *where)
{
    struct err err;
    mgr_http_stop(m->metrics->http);
    m->metrics->http = NULL;
    if (*where && mgr_http_start(m->loop, where, answer, m, &m->metrics->http, &err))
        log_error("metrics.listen: %s; there are no metrics now", err.text);
}

res_code_t mgr_metrics_init(struct mgr *m, struct err *err)
{
    m->metrics = calloc(1, sizeof *m->metrics);
    if (!m->metrics)
        return err_set(err, ERR_NO_MEMORY, "no memory for metrics");
    if (*m->config->metrics_listen &&
        mgr_http_start(m->loop, m->config->metrics_listen, answer, m, &m->metrics->http, err))
        return err_wrap(err, "metrics.listen");
    return OK;
}

void mgr_metrics_close(struct mgr *m)
{
    mgr_http_stop(m->metrics->http);
    m->metrics->http = NULL;
}

void mgr_metrics_fini(struct mgr *m)
{
    free(m->metrics);
    m->metrics = NULL;
}
