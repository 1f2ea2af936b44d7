/*
 * manager/timer.h - deadlines of guests, by the thousand, on one timer of the loop: a binary heap of intrusive entries.
 *
 * Looks into: base.  Used by: daemon/manager.
 *
 * A deadline fires once, from the loop; its function may set and clear any deadline, its own too.
 * Thread: the loop's.  Cost: O(log n) to set and to clear.
 */
#ifndef MANAGER_TIMER_H
#define MANAGER_TIMER_H

#include "engine/base/base.h"
#include "engine/base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct mgr_deadline {
    uint64_t at_ms; /* of the loop's clock */
    size_t place;   /* 1 + index in the heap; 0: not set */
    void (*fire)(struct mgr_deadline *d);
};
struct mgr_timers {
    uv_timer_t timer;
    struct mgr_deadline **heap;
    size_t count, cap;
};

void mgr_timers_init(struct mgr_timers *t, uv_loop_t *loop);
void mgr_timers_fini(struct mgr_timers *t);
/* From now on; replaces what was set. Fails: ERR_NO_MEMORY (nothing is set then). */
res_t mgr_deadline_set(struct mgr_timers *t, struct mgr_deadline *d, uint64_t after_ms,
                       void (*fire)(struct mgr_deadline *d), struct err *err);
void mgr_deadline_clear(struct mgr_timers *t, struct mgr_deadline *d);

#endif
