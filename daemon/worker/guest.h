/*
 * worker/guest.h - one guest in a worker: its console, and what the manager must still be able to hear of it.
 *
 * Looks into: proto, engine/vm (its outer door only).  Used by: daemon/worker.
 *
 * Output is numbered and kept after it was sent, until the manager says that it is safe; the end of a guest is kept until
 * the manager has recorded it. So a manager that died and came back loses nothing.
 *
 * Thread: the loop's; engine threads only set the flags and wake it.
 */
#ifndef WORKER_GUEST_H
#define WORKER_GUEST_H

#include "engine/base/base.h"
#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/vm/vm.h"
#include "proto/channel.h"
#include "proto/worker.pb-c.h"

#include <stdatomic.h>
#include <uv.h>

struct wk_guest {
    struct list link;
    uint64_t id;
    struct vm *vm; /* NULL: it ended, and waits to be forgotten */
    struct pb_channel *ch;
    uv_async_t *wake;
    /* output */
    uint64_t credit, seq; /* seq: of the next byte to send */
    struct buf sent;      /* records that the manager may not have: struct wk_sent and bytes */
    uint64_t sent_seq;    /* of the first byte in it */
    /* input */
    struct buf input; /* not taken yet */
    size_t input_at;
    bool input_eof, eof_told;
    bool paused;
    struct buf end; /* the packed FromWorker of its end */
    /* set by the guest's threads */
    atomic_bool console_ready, ended;
};

#define FROM_WORKER(case_, field_, value_)         \
    PbFromWorker from = PB_FROM_WORKER__INIT;      \
    from.kind_case = PB_FROM_WORKER__KIND_##case_; \
    from.field_ = (value_)

/* Start a guest; refused is filled and FAIL returned if it cannot be. image_fd is borrowed. */
res_t wk_guest_start(const PbWorkerRun *run, int image_fd, struct pb_channel *ch, uv_async_t *wake,
                     struct wk_guest **g, struct err *refused);
void wk_guest_free(struct wk_guest *g);
/* Output while there is credit (or, once it ended, all of it). */
void wk_guest_pump_output(struct wk_guest *g, bool all);
void wk_guest_pump_input(struct wk_guest *g);
/* Its threads woke the loop: move bytes; tell of its end, if it ended. */
void wk_guest_look(struct wk_guest *g);
/* A manager that has everything before `seq`: what it may not have is sent again. */
void wk_guest_adopted(struct wk_guest *g, uint64_t seq, uint64_t credit);
/* Output before seq is safe. */
void wk_guest_safe(struct wk_guest *g, uint64_t seq);
void wk_guest_tell_stats(struct wk_guest *g);

#endif
