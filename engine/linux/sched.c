/*
 * linux/sched.c - which thread runs on which vCPU: the run queue, blocking and waking, the vCPU threads' loop, preemption,
 * the clock (DESIGN 6, D4).
 */
#include "engine/linux/process.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

#define SLICE_NS 10000000u
#define POLL_NS 10000000u
#define KNOCK_WAITS 100
#define KNOCK_WAIT_NS 20000
#define CPU_CHECK_MIN_NS 1000000u
#define CPU_CHECK_MAX_NS 1000000000u

/* ---- clocks ---- */

uint64_t lx_monotonic_ns(struct lx *lx)
{
    return lx->clock_stopped_ns != UINT64_MAX ? lx->clock_stopped_ns
                                              : os_now_ns() - lx->clock_base_ns;
}

uint64_t lx_realtime_ns(struct lx *lx)
{
    return lx->realtime_base_ns + lx_monotonic_ns(lx);
}

uint64_t lx_host_ns(struct lx *lx, uint64_t guest_ns)
{
    uint64_t at;
    return __builtin_add_overflow(guest_ns, lx->clock_base_ns, &at) ? UINT64_MAX : at;
}

static uint64_t clock_read(clockid_t id)
{
    struct timespec ts;
    if (clock_gettime(id, &ts))
        return 0;
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t lx_total_cpu_ns(struct lx *lx)
{
    uint64_t sum = lx->dead_cpu_ns;
    for (uint32_t i = 0; i < lx->vcpu_count; i++)
        if (lx->vcpus[i].clock_valid)
            sum += clock_read(lx->vcpus[i].clock);
    return sum;
}

uint64_t lx_thread_cpu_ns(struct lx_thread *t)
{
    uint64_t ns = t->cpu_ns;
    if (t->vcpu && t->vcpu->clock_valid)
        ns += clock_read(t->vcpu->clock) - t->vcpu->cpu_mark_ns;
    return ns;
}

uint64_t lx_process_cpu_ns(struct lx_process *p)
{
    uint64_t ns = p->cpu_ns;
    list_for_each(l, &p->threads) ns += lx_thread_cpu_ns(list_entry(l, struct lx_thread, link));
    return ns;
}

/* ---- the lock ---- */

void lx_lock(struct lx *lx)
{
    atomic_fetch_add(&lx->knocking, 1);
    pthread_mutex_lock(&lx->lock);
    atomic_fetch_sub(&lx->knocking, 1);
}

void lx_unlock(struct lx *lx)
{
    pthread_mutex_unlock(&lx->lock);
}

/* A vCPU in a storm of calls would take the lock again long before whom it woke by letting go. Bounded: they may be as many. */
static void lock_from_vcpu(struct lx *lx)
{
    for (int i = 0; i < KNOCK_WAITS && atomic_load_explicit(&lx->knocking, memory_order_relaxed);
         i++) {
        const struct timespec pause = {0, KNOCK_WAIT_NS};
        nanosleep(&pause, NULL);
    }
    if (pthread_mutex_trylock(&lx->lock) == 0)
        return;
    lx_lock(lx); /* knocks: another vCPU's storm makes way for this one too */
}

/* ---- the ticker's reasons ---- */

void lx_tick_arm(struct lx *lx)
{
    if (lx->pausing || lx->ending)
        return;
    uint64_t at = MIN(lx->slice_due_ns, lx->cpu_check_due_ns);
    if (lx->timers)
        at = MIN(at, lx_host_ns(lx, lx->timers->at_ns));
    if (at < lx->armed_ns) { /* a later time waits for the earlier look */
        lx->armed_ns = at;
        lx_tick_at(&lx->tick, at);
    }
}

static void check_cpu_limit(struct lx *lx, uint64_t now)
{
    uint64_t used = lx->saved_cpu_ns + lx_total_cpu_ns(lx), max = lx->config.cpu_ns_max;
    if (used >= max) {
        char text[100];
        snprintf(text, sizeof text, "CPU time limit of %llu.%03llu s used up",
                 (unsigned long long)(max / 1000000000u),
                 (unsigned long long)(max / 1000000u % 1000));
        lx_end_begin(lx, LX_END_LIMIT, 0, text);
        return;
    }
    uint64_t wait = (max - used) / MAX(lx->vcpu_count, 1u);
    lx->cpu_check_due_ns =
        lx->active ? now + MIN(MAX(wait, CPU_CHECK_MIN_NS), CPU_CHECK_MAX_NS) : UINT64_MAX;
}

static void preempt(struct lx *lx, uint64_t now)
{
    if (!lx->runq_count) {
        lx->slice_due_ns = UINT64_MAX;
        return;
    }
    for (uint32_t i = 0; i < lx->vcpu_count; i++) {
        struct lx_vcpu *vc = &lx->vcpus[i];
        if (vc->t && now - vc->slice_ns >= SLICE_NS / 2) {
            atomic_store(&vc->preempt, true);
            run_kick(vc->rv);
        }
    }
    lx->slice_due_ns = now + SLICE_NS;
}

void lx_sched_tick(struct lx_tick *tick)
{
    struct lx *lx = container_of(tick, struct lx, tick);
    lx_lock(lx);
    lx->armed_ns = UINT64_MAX;
    if (!lx->pausing && !lx->ending) {
        uint64_t now = os_now_ns(), guest_now = lx_monotonic_ns(lx);
        while (lx->timers && lx->timers->at_ns <= guest_now) {
            struct lx_timer *tm = lx->timers;
            lx_timer_cancel(lx, tm);
            tm->fire(lx, tm);
        }
        if (lx->slice_due_ns <= now)
            preempt(lx, now);
        if (lx->cpu_check_due_ns <= now)
            check_cpu_limit(lx, now);
        lx_tick_arm(lx);
    }
    pthread_mutex_unlock(&lx->lock);
}

/* ---- the run queue ---- */

/* Somebody waits in the queue and nobody idle comes for him: those who run share with him. */
static void slice_arm(struct lx *lx)
{
    if (lx->slice_due_ns != UINT64_MAX)
        return;
    lx->slice_due_ns = os_now_ns() + SLICE_NS;
    lx_tick_arm(lx);
}

void lx_enqueue(struct lx *lx, struct lx_thread *t)
{
    struct lx_mm *mm = t->p->priv->mm;
    t->state = LX_T_RUNNABLE;
    if (mm->freezer && mm->freezer != t) {
        list_append(&mm->parked, &t->run);
        return;
    }
    list_append(&lx->runq, &t->run);
    lx->runq_count++;
    if (lx->idle)
        pthread_cond_signal(
            &lx->work); /* it may come for another: vcpu_loop looks at who is left */
    else if (lx->start_done)
        slice_arm(lx);
}

/* A RUNNABLE thread leaves its queue. */
static void dequeue(struct lx *lx, struct lx_thread *t)
{
    struct lx_mm *mm = t->p->priv->mm;
    if (!(mm->freezer && mm->freezer != t))
        lx->runq_count--;
    list_remove(&t->run);
}

void lx_thread_off_queue(struct lx_thread *t)
{
    if (t->state == LX_T_RUNNABLE && !list_empty(&t->run))
        dequeue(t->lx, t);
}

void lx_mm_freeze_end(struct lx *lx, struct lx_mm *mm)
{
    mm->freezer = NULL;
    while (!list_empty(&mm->parked)) {
        struct lx_thread *t = list_entry(mm->parked.next, struct lx_thread, run);
        list_remove(&t->run);
        lx_enqueue(lx, t);
    }
}

/* Threads of mm that are queued move aside; those on other vCPUs are kicked and park themselves. True when none runs. */
bool lx_mm_freeze(struct lx_call *c, struct lx_mm *mm)
{
    struct lx *lx = c->lx;
    if (!mm->freezer) {
        list_for_each_safe(l, &lx->runq)
        {
            struct lx_thread *t = list_entry(l, struct lx_thread, run);
            if (t->p->priv->mm == mm) {
                dequeue(lx, t);
                list_append(&mm->parked, &t->run);
            }
        }
        mm->freezer = c->t;
    }
    if (mm->running == 1)
        return true;
    for (uint32_t i = 0; i < lx->vcpu_count; i++)
        if (lx->vcpus[i].mm == mm && lx->vcpus[i].t != c->t)
            run_kick(lx->vcpus[i].rv);
    return false;
}

void lx_kick_thread(struct lx_thread *t)
{
    if (t->vcpu)
        run_kick(t->vcpu->rv);
}

/* ---- long work outside the lock ---- */

void lx_long_begin(struct lx *lx)
{
    lx->long_count++;
    lx_end_report(lx);
    pthread_mutex_unlock(&lx->lock);
}

bool lx_long_end(struct lx *lx)
{
    lx_lock(lx);
    lx->long_count--;
    return !lx->ending;
}

bool lx_ending(struct lx *lx)
{
    return atomic_load_explicit(&lx->ending, memory_order_relaxed);
}

void lx_end_report(struct lx *lx)
{
    if (!lx->ending || lx->ended_reported || lx->active != lx->long_count)
        return;
    lx->ended_reported = true;
    pthread_cond_broadcast(&lx->still);
    if (lx->config.ended)
        lx->config.ended(lx->config.ctx);
}

void lx_end_begin(struct lx *lx, enum lx_end_kind kind, int code, const char *text)
{
    if (!lx->ending) {
        lx->end.kind = kind;
        lx->end.code = code;
        snprintf(lx->end.text, sizeof lx->end.text, "%s", text);
        atomic_store(&lx->ending, true);
    }
    for (uint32_t i = 0; lx->vcpus && i < lx->vcpu_count; i++)
        if (lx->vcpus[i].rv)
            run_kick(lx->vcpus[i].rv);
    pthread_cond_broadcast(&lx->work);
    lx_end_report(lx);
}

/* ---- on a vCPU ---- */

void lx_vcpu_bind_mm(struct lx_vcpu *vc, struct lx_mm *mm)
{
    struct lx_mm *old = vc->mm;
    if (old == mm)
        return;
    vc->mm = mm;
    if (mm)
        mm->running++;
    if (old && !--old->running && old->freezer) /* a freezer that waits does not run itself */
        lx_wake_all(vc->lx, &old->still);
}

static void bind(struct lx_vcpu *vc, struct lx_thread *t)
{
    t->state = LX_T_RUNNING;
    t->vcpu = vc;
    vc->t = t;
    atomic_store(&vc->preempt, false);
    vc->slice_ns = os_now_ns();
    vc->cpu_mark_ns = os_thread_cpu_ns();
    vc->v->time_offset =
        0 - vc->lx->clock_base_ns; /* the time CSR is the guest's monotonic clock */
    lx_vcpu_bind_mm(vc, t->p->priv->mm);
    cpu_regs_load(vc->v, &t->regs);
}

void lx_thread_leave_vcpu(struct lx_thread *t)
{
    struct lx_vcpu *vc = t->vcpu;
    if (!vc)
        return;
    cpu_regs_store(vc->v, &t->regs);
    t->cpu_ns += clock_read(vc->clock) - vc->cpu_mark_ns;
    t->vcpu = NULL;
    vc->t = NULL;
    lx_vcpu_bind_mm(vc, NULL);
}

void lx_regs_get(struct lx_thread *t, struct cpu_regs *regs)
{
    if (t->vcpu)
        cpu_regs_store(t->vcpu->v, regs);
    else
        *regs = t->regs;
}

void lx_regs_put(struct lx_thread *t, const struct cpu_regs *regs)
{
    if (t->vcpu)
        cpu_regs_load(t->vcpu->v, regs);
    else
        t->regs = *regs;
}

static void finish_call(struct lx_vcpu *vc, struct lx_thread *t, int64_t result)
{
    if (result != LX_NO_RESULT) {
        vc->v->r[t->lx->arch->reg_result] = (uint64_t)result;
        vc->v->pc += t->lx->arch->call_insn_bytes;
    }
    t->in_call = false;
    if (result != -EINTR)
        lx_mask_restore(t);
}

/* Run the handler until it is done, interrupted (t->restart) or blocked. False: blocked, the thread left the vCPU. */
static bool step_call(struct lx_vcpu *vc, struct lx_thread *t)
{
    struct lx_call *c = &t->call;
    for (;;) {
        int64_t result = lx_call_run(t);
        c->runs++;
        if (result != LX_BLOCKED) {
            lx_unwait(t);
            if (result <= -LX_ERESTARTSYS && result >= -LX_ERESTARTNOHAND)
                t->restart = (int)-result;
            else
                finish_call(vc, t, result);
            return true;
        }
        if (t->dying)
            return true;
        bool woken = t->woken, poll = t->poll;
        enum lx_wake was = c->wake;
        c->wake = LX_WAKE_NONE;
        if (was != LX_WAKE_SIGNAL && !c->no_signals && lx_signal_deliverable(t)) {
            c->wake = LX_WAKE_SIGNAL;
        } else if (was != LX_WAKE_TIMEOUT && c->deadline_ns != LX_NO_DEADLINE &&
                   c->deadline_ns <= lx_monotonic_ns(t->lx)) {
            c->wake = LX_WAKE_TIMEOUT;
        } else if (woken) {
            c->wake = LX_WAKE_QUEUE;
            if (t->lx->ending || t->lx->pausing)
                return true;
        } else {
            uint64_t at = c->deadline_ns;
            if (poll)
                at = MIN(at, lx_monotonic_ns(t->lx) + POLL_NS);
            if (at != LX_NO_DEADLINE)
                lx_timer_set(t->lx, &t->timer, at);
            t->state = LX_T_BLOCKED;
            lx_thread_leave_vcpu(t); /* may wake it at once (a frozen mm) */
            return false;
        }
        lx_unwait(t);
    }
}

/* Back to the queue if somebody else must have the vCPU. */
static bool must_yield(struct lx_vcpu *vc, struct lx_thread *t)
{
    struct lx *lx = vc->lx;
    struct lx_mm *mm = t->p->priv->mm;
    if (lx->ending || lx->pausing || lx->rejoin || (mm->freezer && mm->freezer != t))
        return true;
    if (!atomic_load_explicit(&vc->preempt, memory_order_relaxed))
        return false;
    atomic_store(&vc->preempt, false);
    return lx->runq_count > 0;
}

static void run_thread(struct lx_vcpu *vc, struct lx_thread *t)
{
    struct lx *lx = vc->lx;
    t->timer.fire = lx_deadline_fired;
    bind(vc, t);
    for (;;) {
        lx->rejoin -= t->rejoin;
        t->rejoin = false;
        if (t->in_call && !t->dying && !t->restart && !step_call(vc, t))
            return;
        if (lx->reap)
            lx_mm_reap(lx);
        if (!lx_deliver(t))
            return;
        if (must_yield(vc, t)) {
            lx_thread_leave_vcpu(t);
            lx_enqueue(lx, t);
            return;
        }
        if (t->in_call)
            continue;
        lx_vcpu_bind_mm(vc, t->p->priv->mm);
        struct run_space *code = vc->mm->code;
        pthread_mutex_unlock(&lx->lock);
        enum run_why why = run_go(vc->rv, code);
        lock_from_vcpu(lx);
        if (why == RUN_SYSCALL)
            lx_call_begin(t, vc->v->r);
        else if (why == RUN_TRAP && !t->dying)
            lx_trap(t, &vc->v->trap);
    }
}

static struct lx_thread *next_thread(struct lx *lx)
{
    if (list_empty(&lx->runq))
        return NULL;
    struct lx_thread *t = list_entry(lx->runq.next, struct lx_thread, run);
    dequeue(lx, t);
    return t;
}

static void idle(struct lx *lx)
{
    lx->active--;
    if (lx->active == 0)
        pthread_cond_broadcast(&lx->still);
    bool queue = !lx->pausing;
    lx->idle += queue;
    pthread_cond_wait(&lx->work, &lx->lock);
    lx->idle -= queue;
    lx->active++;
}

static void vcpu_loop(struct lx_vcpu *vc)
{
    struct lx *lx = vc->lx;
    while (!lx->ending) {
        if (lx->reap) {
            lx_mm_reap(lx);
            continue;
        }
        struct lx_thread *t = lx->pausing ? NULL : next_thread(lx);
        if (!t) {
            idle(lx);
            continue;
        }
        if (lx->config.cpu_ns_max && lx->cpu_check_due_ns == UINT64_MAX)
            check_cpu_limit(lx, os_now_ns());
        if (lx->runq_count)
            slice_arm(lx);
        if (lx->slice_due_ns != UINT64_MAX || lx->cpu_check_due_ns != UINT64_MAX)
            lx_tick_arm(lx);
        run_thread(vc, t);
    }
}

void *lx_vcpu_main(void *arg)
{
    struct lx_vcpu *vc = arg;
    struct lx *lx = vc->lx;
    struct err err;
    os_thread_is(OS_THREAD_VCPU);
    bool ready = !run_thread_init(&err);
    pthread_mutex_lock(&lx->lock);
    lx->active++;
    vc->clock_valid = !pthread_getcpuclockid(pthread_self(), &vc->clock);
    if (ready)
        vcpu_loop(vc);
    else
        lx_end_begin(lx, LX_END_ERROR, 0, err.text);
    lx->dead_cpu_ns += vc->clock_valid ? clock_read(vc->clock) : 0;
    vc->clock_valid = false;
    lx->active--;
    if (lx->active == 0)
        pthread_cond_broadcast(&lx->still);
    lx_end_report(lx);
    pthread_mutex_unlock(&lx->lock);
    if (ready)
        run_thread_fini();
    return NULL;
}
