/*
 * manager/service.h - the RPCs. One handler per method of proto/methods.def.
 * Looks into: proto.  Used by: daemon/manager.  Thread: the loop's.
 */
#ifndef MANAGER_SERVICE_H
#define MANAGER_SERVICE_H

#include "daemon/manager/manager.h"
#include "proto/server.h"

extern const struct pb_handler mgr_handlers[PB_METHOD_COUNT];

#define METHOD(service, name, ident, req, resp, kind, max) \
    void mgr_##ident(struct pb_call *call, const ProtobufCMessage *request);
#include "proto/methods.def"
#undef METHOD

/* A unary call that waits for something holds a place in a list; it leaves the list when it is answered or gone. */
struct mgr_waiter {
    struct list link;
    struct pb_call *call;
};
res_t mgr_waiter_add(struct list *waiters, struct pb_call *call, struct err *err);
/* Out of the list and freed; the call is the caller's to answer. */
struct pb_call *mgr_waiter_take(struct list *waiters);

void mgr_wait_gone(struct pb_call *call);
void mgr_watch_pull(struct pb_call *call);
void mgr_watch_gone(struct pb_call *call);
void mgr_stats_pull(struct pb_call *call);
void mgr_stats_gone(struct pb_call *call);
void mgr_reader_pull(struct pb_call *call);
void mgr_reader_gone(struct pb_call *call);
void mgr_attach_half_close(struct pb_call *call);
void mgr_import_half_close(struct pb_call *call);
void mgr_import_gone(struct pb_call *call);
void mgr_image_change_gone(struct pb_call *call);
void mgr_export_pull(struct pb_call *call);
void mgr_export_gone(struct pb_call *call);

#endif
