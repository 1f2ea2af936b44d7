/*
 * linux/time.c - the calls about time: clocks, sleeping, interval timers. All of it is the guest's own, virtual time.
 */
#include "engine/linux/process.h"

#include <signal.h>
#include <sys/time.h>
#include <time.h>

#define NS 1000000000u
#define TICK_NS 10000000u /* USER_HZ 100 */
#define CPU_LOOK_NS 4000000u

static bool to_ns(int64_t sec, int64_t nsec, uint64_t *ns)
{
    if (sec < 0 || nsec < 0 || nsec >= NS)
        return false;
    if (__builtin_mul_overflow((uint64_t)sec, (uint64_t)NS, ns) ||
        __builtin_add_overflow(*ns, (uint64_t)nsec, ns))
        *ns = UINT64_MAX;
    return true;
}

bool lx_get_timespec(struct mem_space *m, gva_t a, uint64_t *ns, int *error)
{
    int64_t ts[2];
    if (!mem_copy_in(m, ts, a, sizeof ts)) {
        *error = -EFAULT;
        return false;
    }
    if (!to_ns(ts[0], ts[1], ns)) {
        *error = -EINVAL;
        return false;
    }
    return true;
}

bool lx_put_timespec(struct mem_space *m, gva_t a, uint64_t ns)
{
    int64_t ts[2] = {(int64_t)(ns / NS), (int64_t)(ns % NS)};
    return mem_copy_out(m, a, ts, sizeof ts);
}

bool lx_put_timeval(struct mem_space *m, gva_t a, uint64_t ns)
{
    int64_t tv[2] = {(int64_t)(ns / NS), (int64_t)(ns % NS / 1000)};
    return mem_copy_out(m, a, tv, sizeof tv);
}

/* False: no such clock. CPU clocks of others are named by negative numbers: ~pid << 3 | kind (2: scheduler time; 4: thread). */
static bool clock_now(struct lx_call *c, int32_t id, uint64_t *ns)
{
    switch (id) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_TAI:
        *ns = lx_realtime_ns(c->lx);
        return true;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
        *ns = lx_monotonic_ns(c->lx);
        return true;
    case CLOCK_PROCESS_CPUTIME_ID:
        *ns = lx_process_cpu_ns(c->t->p);
        return true;
    case CLOCK_THREAD_CPUTIME_ID:
        *ns = lx_thread_cpu_ns(c->t);
        return true;
    default:
        break;
    }
    if (id >= 0 || (id & 3) == 3)
        return false;
    uint32_t pid = ~((uint32_t)id >> 3 | 0xe0000000u);
    if (id & 4) {
        struct lx_thread *t = pid ? lx_thread_find(c->lx, pid) : c->t;
        if (!t || t->p != c->t->p)
            return false;
        *ns = lx_thread_cpu_ns(t);
        return true;
    }
    struct lx_process *p = pid ? lx_process_find(c->lx, pid) : c->t->p;
    if (!p)
        return false;
    *ns = lx_process_cpu_ns(p);
    return true;
}

LX_SYS(clock_gettime)
{
    uint64_t ns;
    if (!clock_now(c, (int32_t)c->arg[0], &ns))
        return -EINVAL;
    return lx_put_timespec(lx_call_mem(c), c->arg[1], ns) ? 0 : -EFAULT;
}

LX_SYS(clock_getres)
{
    uint64_t ns;
    int32_t id = (int32_t)c->arg[0];
    if (!clock_now(c, id, &ns))
        return -EINVAL;
    bool coarse = id == CLOCK_REALTIME_COARSE || id == CLOCK_MONOTONIC_COARSE;
    if (c->arg[1] && !lx_put_timespec(lx_call_mem(c), c->arg[1], coarse ? 4000000 : 1))
        return -EFAULT;
    return 0;
}

/* Nobody in a guest sets its clock: it follows the host's. */
LX_SYS(clock_settime)
{
    uint64_t ns;
    int error;
    int32_t id = (int32_t)c->arg[0];
    if (id != CLOCK_REALTIME)
        return -EINVAL;
    if (!lx_get_timespec(lx_call_mem(c), c->arg[1], &ns, &error))
        return error;
    return -EPERM;
}

LX_SYS(settimeofday)
{
    int64_t tv[2];
    if (c->arg[0] && !mem_copy_in(lx_call_mem(c), tv, c->arg[0], sizeof tv))
        return -EFAULT;
    if (c->arg[0] && (tv[0] < 0 || tv[1] < 0 || tv[1] > 1000000))
        return -EINVAL;
    return -EPERM;
}

LX_SYS(gettimeofday)
{
    struct mem_space *m = lx_call_mem(c);
    int32_t zone[2] = {0, 0};
    if (c->arg[0] && !lx_put_timeval(m, c->arg[0], lx_realtime_ns(c->lx)))
        return -EFAULT;
    return c->arg[1] && !mem_copy_out(m, c->arg[1], zone, sizeof zone) ? -EFAULT : 0;
}

/* The rest of an interrupted relative sleep goes out; the kernel's restart block lives in c->deadline_ns. */
static int64_t sleep_until(struct lx_call *c, bool absolute, gva_t rem)
{
    uint64_t now = lx_monotonic_ns(c->lx);
    if (c->deadline_ns <= now)
        return 0;
    if (c->wake == LX_WAKE_SIGNAL) {
        if (!absolute && rem && !lx_put_timespec(lx_call_mem(c), rem, c->deadline_ns - now))
            return -EFAULT;
        return lx_interrupted(c, LX_RESTART_ALWAYS_UNLESS_HANDLER);
    }
    return lx_block(c, NULL);
}

LX_SYS(nanosleep)
{
    uint64_t ns;
    int error;
    if (!c->runs) {
        if (!lx_get_timespec(lx_call_mem(c), c->arg[0], &ns, &error))
            return error;
        lx_deadline_after(c, ns);
    }
    return sleep_until(c, false, c->arg[1]);
}

LX_SYS(clock_nanosleep)
{
    uint64_t ns, now;
    int error;
    int32_t id = (int32_t)c->arg[0];
    bool absolute = c->arg[1] & TIMER_ABSTIME;
    if (!clock_now(c, id, &now))
        return -EINVAL;
    if (id < 0 || id == CLOCK_THREAD_CPUTIME_ID || id == CLOCK_PROCESS_CPUTIME_ID || id == CLOCK_MONOTONIC_RAW ||
        id == CLOCK_REALTIME_COARSE || id == CLOCK_MONOTONIC_COARSE)
        return -EOPNOTSUPP;
    if (!c->runs) {
        if (!lx_get_timespec(lx_call_mem(c), c->arg[2], &ns, &error))
            return error;
        lx_deadline_after(c, !absolute ? ns : ns > now ? ns - now : 0);
    }
    return sleep_until(c, absolute, c->arg[3]);
}

/* ---- interval timers ---- */

void lx_real_timer_fired(struct lx *lx, struct lx_timer *tm)
{
    struct lx_process_private *v = container_of(tm, struct lx_process_private, real_timer);
    uint64_t at = tm->at_ns, interval = v->real_interval_ns, now = lx_monotonic_ns(lx);
    if (interval) {
        if (at + interval <= now) /* late: the missed ones are one signal */
            at += (now - at) / interval * interval;
        lx_timer_set(lx, tm, at + interval);
    }
    lx_signal_process(v->p, SIGALRM);
}

/* ITIMER_VIRTUAL and ITIMER_PROF count the process's CPU time; both kinds of time are one here. The timer looks again
 * when the process could have used up the rest. */
static void cpu_timer_arm(struct lx *lx, struct lx_process *p, struct lx_cpu_timer *ct)
{
    uint64_t used = lx_process_cpu_ns(p), left = ct->at_cpu_ns > used ? ct->at_cpu_ns - used : 0;
    uint32_t cpus = MIN(MAX(p->priv->thread_count, 1u), lx->vcpu_count);
    lx_timer_set(lx, &ct->timer, lx_monotonic_ns(lx) + MAX(left / cpus, (uint64_t)CPU_LOOK_NS));
}

void lx_cpu_timer_fired(struct lx *lx, struct lx_timer *tm)
{
    struct lx_cpu_timer *ct = container_of(tm, struct lx_cpu_timer, timer);
    struct lx_process *p = ct->p;
    uint64_t used = lx_process_cpu_ns(p);
    bool due = used >= ct->at_cpu_ns;
    int signo = ct == &p->priv->cpu_timer[0] ? SIGVTALRM : SIGPROF;
    if (due && ct->interval_ns)
        ct->at_cpu_ns += (1 + (used - ct->at_cpu_ns) / ct->interval_ns) * ct->interval_ns;
    if (!due || ct->interval_ns)
        cpu_timer_arm(lx, p, ct);
    if (due)
        lx_signal_process(p, signo);
}

struct itimer {
    uint64_t value, interval;
};

static struct itimer read_timer(struct lx_call *c, uint64_t which)
{
    struct lx_process *p = lx_call_process(c);
    struct lx_timer *tm = &p->priv->real_timer;
    uint64_t now = lx_monotonic_ns(c->lx), at = tm->at_ns, interval = p->priv->real_interval_ns;
    if (which != ITIMER_REAL) {
        struct lx_cpu_timer *ct = &p->priv->cpu_timer[which - ITIMER_VIRTUAL];
        tm = &ct->timer;
        now = lx_process_cpu_ns(p);
        at = ct->at_cpu_ns;
        interval = ct->interval_ns;
    }
    if (!tm->armed)
        return (struct itimer){0, 0};
    return (struct itimer){at > now ? MAX(at - now, (uint64_t)1000) : 1000, interval};
}

static void set_timer(struct lx_call *c, uint64_t which, struct itimer t)
{
    struct lx_process *p = lx_call_process(c);
    uint64_t at;
    if (which == ITIMER_REAL) {
        if (__builtin_add_overflow(lx_monotonic_ns(c->lx), t.value, &at))
            at = UINT64_MAX - 1;
        p->priv->real_interval_ns = t.interval;
        if (t.value)
            lx_timer_set(c->lx, &p->priv->real_timer, at);
        else
            lx_timer_cancel(c->lx, &p->priv->real_timer);
        return;
    }
    struct lx_cpu_timer *ct = &p->priv->cpu_timer[which - ITIMER_VIRTUAL];
    if (__builtin_add_overflow(lx_process_cpu_ns(p), t.value, &at))
        at = UINT64_MAX - 1;
    ct->p = p;
    ct->timer.fire = lx_cpu_timer_fired;
    ct->at_cpu_ns = at;
    ct->interval_ns = t.interval;
    if (t.value)
        cpu_timer_arm(c->lx, p, ct);
    else
        lx_timer_cancel(c->lx, &ct->timer);
}

static bool put_itimer(struct lx_call *c, gva_t at, struct itimer t)
{
    struct mem_space *m = lx_call_mem(c);
    return lx_put_timeval(m, at, t.interval) && lx_put_timeval(m, at + 16, t.value);
}

LX_SYS(getitimer)
{
    if (c->arg[0] > ITIMER_PROF)
        return -EINVAL;
    return put_itimer(c, c->arg[1], read_timer(c, c->arg[0])) ? 0 : -EFAULT;
}

LX_SYS(setitimer)
{
    int64_t tv[4] = {0};
    struct itimer want;
    if (c->arg[1] && !mem_copy_in(lx_call_mem(c), tv, c->arg[1], sizeof tv))
        return -EFAULT;
    if (tv[1] < 0 || tv[1] >= 1000000 || tv[3] < 0 || tv[3] >= 1000000 || !to_ns(tv[0], tv[1] * 1000, &want.interval) ||
        !to_ns(tv[2], tv[3] * 1000, &want.value))
        return -EINVAL;
    if (c->arg[0] > ITIMER_PROF)
        return -EINVAL;
    struct itimer old = read_timer(c, c->arg[0]);
    set_timer(c, c->arg[0], want);
    return c->arg[2] && !put_itimer(c, c->arg[2], old) ? -EFAULT : 0;
}

/* ---- used time ---- */

LX_SYS(times)
{
    struct lx_process *p = lx_call_process(c);
    uint64_t ticks[4] = {lx_process_cpu_ns(p) / TICK_NS, 0, p->children_cpu_ns / TICK_NS, 0};
    if (c->arg[0] && !mem_copy_out(p->mem, c->arg[0], ticks, sizeof ticks))
        return -EFAULT;
    return (int64_t)(lx_monotonic_ns(c->lx) / TICK_NS);
}

LX_SYS(getrusage)
{
    struct lx_process *p = lx_call_process(c);
    uint64_t usage[18] = {0}, ns;
    switch ((int32_t)c->arg[0]) {
    case 0: /* RUSAGE_SELF */
        ns = lx_process_cpu_ns(p);
        break;
    case -1: /* RUSAGE_CHILDREN */
        ns = p->children_cpu_ns;
        break;
    case 1: /* RUSAGE_THREAD */
        ns = lx_thread_cpu_ns(c->t);
        break;
    default:
        return -EINVAL;
    }
    usage[0] = ns / NS;
    usage[1] = ns % NS / 1000;
    usage[4] = mem_space_mapped_bytes(p->mem) >> 10;
    return mem_copy_out(p->mem, c->arg[1], usage, sizeof usage) ? 0 : -EFAULT;
}
