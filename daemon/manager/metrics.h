/*
 * manager/metrics.h - figures for Prometheus: counted as things happen, told over HTTP when asked.
 *
 * Looks into: proto, engine/profile (its table of counters).  Used by: daemon/manager.
 *
 * Names, types and helps are in metrics.def; the output is the text exposition format 0.0.4, one sample per label set.
 * Counters never go back while the daemon lives.
 *
 * Thread: the loop's.
 */
#ifndef MANAGER_METRICS_H
#define MANAGER_METRICS_H

#include "daemon/manager/manager.h"
#include "proto/methods.h"

enum mgr_metric {
#define MGR_METRIC(id, source, type, name, help) MGR_METRIC_##id,
#include "daemon/manager/metrics.def"
#undef MGR_METRIC
    MGR_METRIC_COUNT
};

/* Fails: ERR_NO_MEMORY; ERR_OS: metrics.listen cannot be listened on. */
res_t mgr_metrics_init(struct mgr *m, struct err *err);
void mgr_metrics_close(struct mgr *m); /* before the loop ends */
void mgr_metrics_fini(struct mgr *m);  /* after */
/* Listen elsewhere ("": nowhere); what is wrong is said in the log. */
void mgr_metrics_listen(struct mgr *m, const char *where);

/* One of the COUNTED. Works before init and after fini, too: then it does nothing. */
void mgr_count(struct mgr *m, enum mgr_metric id, uint64_t n);
/* A guest went from StartGuest to running. */
void mgr_count_start(struct mgr *m, uint64_t ns);
/* What a worker tells of the engine: `by` more of the counter of this name (engine/profile/counters.def). False: there is none. */
bool mgr_count_engine(struct mgr *m, const char *name, uint64_t by);

/* All of it, as GET /metrics answers. */
void mgr_metrics_text(struct mgr *m, struct buf *out);

#endif
