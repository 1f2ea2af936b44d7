/*
 * manager/worker_int.h - what worker.c and adopt.c share. Nobody else includes it.
 */
#ifndef MANAGER_WORKER_INT_H
#define MANAGER_WORKER_INT_H

#include "daemon/manager/child.h"
#include "daemon/manager/tenant.h"
#include "daemon/manager/timer.h"
#include "daemon/manager/worker.h"
#include "proto/channel.h"

struct mgr_worker {
    struct mgr *m;
    uint64_t number;
    struct mgr_tenant *tenant; /* NULL: nobody's yet */
    struct list link, dirty;
    struct mgr_child child;
    struct pb_channel ch;
    struct list guests;
    unsigned guest_count;
    bool once;     /* for one guest, and then no more */
    struct mgr_deadline idle; /* its last guest left; when it passes, it goes */
    bool adopted;  /* started by an earlier daemon */
    bool ready;    /* said hello */
    bool leaving;  /* not wanted any more: told to go when it has what it was sent */
    bool ending;   /* told to go, or killed */
    char why[400]; /* it was killed, if by us */
};

struct mgr_worker *mgr_worker_new(struct mgr *m, uint64_t number, struct err *err);
void mgr_worker_enter(struct mgr_worker *w, int fd);
void mgr_worker_on_poll(uv_poll_t *p, int status, int events);

/* adopt.c: the socket where a later daemon finds it. -1: there is none, its guests end with this daemon. */
int mgr_worker_listen(const struct mgr_worker *w);
void mgr_worker_forget_socket(const struct mgr_worker *w);
void mgr_worker_record(const struct mgr_worker *w, bool gone);

#endif
