/* grpc.health.v1, and the table of the standard handlers. */
#include "proto/health.h"
#include "proto/grpc/health/v1/health.pb-c.h"
#include "proto/standard.h"

#include <stdlib.h>

typedef PbHealthCheckResponse__ServingStatus status_t;

struct watcher {
    struct list link; /* health->watchers */
    struct pb_call *call;
    bool
        known; /* the service; else SERVICE_UNKNOWN until the client goes, as the protocol wants it */
    bool told; /* `last` was sent */
    status_t last;
};

static status_t status_now(const struct pb_call *call)
{
    return !call->health || call->health->serving
               ? PB_HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
               : PB_HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
}

static bool known(const char *service)
{
    return !service[0] || pb_service_known(service);
}

void pb_health_init(struct pb_health *h, bool serving)
{
    h->serving = serving;
    list_init(&h->watchers);
}

void pb_health_set(struct pb_health *h, bool serving)
{
    h->serving = serving;
    list_for_each_safe(l, &h->watchers) pb_call_wake(list_entry(l, struct watcher, link)->call);
}

void pb_health_check(struct pb_call *call, const ProtobufCMessage *m)
{
    const char *service = ((const PbHealthCheckRequest *)m)->service;
    PbHealthCheckResponse resp = PB_HEALTH_CHECK_RESPONSE__INIT;
    struct err err;
    if (!known(service)) {
        err_set(&err, ERR_NOT_FOUND, "no service \"%.100s\" here", service);
        err_explain(&err, "SERVICE_UNKNOWN", "service", service,
                    "reflection lists the services; an empty name asks for the whole daemon");
        pb_call_finish(call, &err);
        return;
    }
    resp.status = status_now(call);
    pb_call_reply(call, &resp.base);
}

void pb_health_watch(struct pb_call *call, const ProtobufCMessage *m)
{
    struct watcher *w = calloc(1, sizeof *w);
    struct err err;
    if (!w) {
        err_set(&err, ERR_NO_MEMORY, "no memory for a watcher");
        pb_call_finish(call, &err);
        return;
    }
    w->call = call;
    w->known = known(((const PbHealthCheckRequest *)m)->service);
    list_init(&w->link);
    if (call->health)
        list_append(&call->health->watchers, &w->link);
    call->user = w;
    pb_call_wake(call);
}

void pb_health_watch_pull(struct pb_call *call)
{
    struct watcher *w = call->user;
    PbHealthCheckResponse resp = PB_HEALTH_CHECK_RESPONSE__INIT;
    if (!w)
        return;
    resp.status =
        w->known ? status_now(call) : PB_HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
    if (w->told && w->last == resp.status)
        return;
    w->told = true;
    w->last = resp.status;
    pb_call_send(call, &resp.base);
}

void pb_health_watch_gone(struct pb_call *call)
{
    struct watcher *w = call->user;
    call->user = NULL;
    if (w) {
        list_remove(&w->link);
        free(w);
    }
}

void pb_standard_gone(struct pb_call *call)
{
    (void)call; /* nothing is held for it */
}

const struct pb_handler pb_standard_handlers[PB_METHOD_ALL_COUNT - PB_METHOD_COUNT] = {
    [PB_METHOD_health_check - PB_METHOD_COUNT] = {pb_health_check, NULL, NULL, pb_standard_gone},
    [PB_METHOD_health_watch -
        PB_METHOD_COUNT] = {pb_health_watch, NULL, pb_health_watch_pull, pb_health_watch_gone},
    [PB_METHOD_reflection_v1 - PB_METHOD_COUNT] = {pb_reflection_v1, pb_reflection_half_close,
                                                   pb_reflection_pull, pb_standard_gone},
    [PB_METHOD_reflection_v1alpha - PB_METHOD_COUNT] = {pb_reflection_v1alpha,
                                                        pb_reflection_half_close,
                                                        pb_reflection_pull, pb_standard_gone},
};
