/* ppoll and pselect6. */
#include "engine/linux/vfs.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

struct guest_timespec {
    int64_t s, ns;
};

/* What a file is ready for; with block, also wait for a change. */
static uint32_t ready(struct lx_call *c, struct lx_file *f, bool block)
{
    if (!f->ops->poll)
        return POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
    return f->ops->poll(f, block ? c : NULL);
}

/* The timeout argument: sets the deadline in the first run. *zero: do not wait at all. */
static int get_timeout(struct lx_call *c, uint64_t at, bool *zero)
{
    struct guest_timespec ts;
    *zero = false;
    if (!at)
        return 0;
    if (lx_get(c, at, &ts, sizeof ts))
        return -EFAULT;
    if (ts.s < 0 || ts.ns < 0 || ts.ns > 999999999)
        return -EINVAL;
    *zero = !ts.s && !ts.ns;
    if (!c->runs && !*zero)
        lx_deadline_after(c, ts.s > INT64_MAX / 1000000000 - 1
                                 ? UINT64_MAX
                                 : (uint64_t)ts.s * 1000000000u + (uint64_t)ts.ns);
    return 0;
}

/* What is left of the timeout goes back to the guest (a bad address there is no error). */
static void put_timeout(struct lx_call *c, uint64_t at)
{
    if (!at || c->deadline_ns == LX_NO_DEADLINE)
        return;
    uint64_t now = lx_monotonic_ns(c->lx), left = c->deadline_ns > now ? c->deadline_ns - now : 0;
    struct guest_timespec ts = {(int64_t)(left / 1000000000u), (int64_t)(left % 1000000000u)};
    (void)lx_put(c, at, &ts, sizeof ts);
}

/* Nothing is ready: -EINTR and the like, 0 for a timeout, or go on to block (1). */
static int64_t idle(struct lx_call *c, bool zero)
{
    if (zero || c->wake == LX_WAKE_TIMEOUT ||
        (c->deadline_ns != LX_NO_DEADLINE && lx_monotonic_ns(c->lx) >= c->deadline_ns))
        return 0;
    if (c->wake == LX_WAKE_SIGNAL)
        return lx_interrupted(c, LX_RESTART_ALWAYS_UNLESS_HANDLER);
    return 1;
}

/* ---- ppoll ---- */

static int64_t scan(struct lx_call *c, struct pollfd *fds, uint64_t n, bool block)
{
    struct lx_files *t = lx_call_process(c)->files;
    int64_t count = 0;
    for (uint64_t k = 0; k < n; k++) {
        fds[k].revents = 0;
        if (fds[k].fd < 0)
            continue;
        struct lx_file *f = lx_files_find(t, fds[k].fd);
        uint32_t m = f ? ready(c, f, block) : POLLNVAL;
        fds[k].revents = (short)(m & ((uint32_t)fds[k].events | POLLERR | POLLHUP | POLLNVAL));
        count += fds[k].revents != 0;
    }
    return count;
}

LX_SYS(ppoll)
{
    uint64_t n = c->arg[1];
    bool zero;
    if (n > lx_files_limit(lx_call_process(c)->files))
        return -EINVAL;
    int64_t e = get_timeout(c, c->arg[2], &zero);
    if (!e && c->arg[3])
        e = lx_sigmask_for_call(c, c->arg[3], c->arg[4]);
    if (e)
        return e;
    CLEANUP(free_ptr) struct pollfd *fds = malloc(n ? n * sizeof *fds : 1);
    if (!fds)
        return -ENOMEM;
    if (n && lx_get(c, c->arg[0], fds, n * sizeof *fds))
        return -EFAULT;
    int64_t r = scan(c, fds, n, false);
    if (!r && (r = idle(c, zero)) == 1) {
        scan(c, fds, n, true);
        return lx_block(c, NULL);
    }
    if (r >= 0) {
        for (uint64_t k = 0; k < n; k++)
            if (lx_put(c, c->arg[0] + k * sizeof *fds + offsetof(struct pollfd, revents),
                       &fds[k].revents, 2))
                r = -EFAULT;
    }
    put_timeout(c, c->arg[2]);
    return r;
}

/* ---- pselect6 ---- */

#define SEL_IN (POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR)
#define SEL_OUT (POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR)
#define SEL_EX POLLPRI

struct fdsets {
    uint64_t *in[3], *out[3]; /* out follows in, all in one block */
    uint32_t n;
};

static int64_t select_scan(struct lx_call *c, struct fdsets *s, bool block)
{
    static const uint32_t want[3] = {SEL_IN, SEL_OUT, SEL_EX};
    struct lx_files *t = lx_call_process(c)->files;
    int64_t count = 0;
    for (uint32_t w = 0; w * 64 < s->n; w++) {
        uint64_t any = s->in[0][w] | s->in[1][w] | s->in[2][w];
        for (int k = 0; k < 3; k++)
            s->out[k][w] = 0;
        for (; any; any &= any - 1) {
            uint32_t bit = (uint32_t)__builtin_ctzll(any), fd = w * 64 + bit;
            if (fd >= s->n)
                break;
            struct lx_file *f = lx_files_find(t, fd);
            if (!f)
                return -EBADF;
            uint32_t m = ready(c, f, block);
            for (int k = 0; k < 3; k++)
                if ((s->in[k][w] >> bit & 1) && (m & want[k])) {
                    s->out[k][w] |= (uint64_t)1 << bit;
                    count++;
                }
        }
    }
    return count;
}

LX_SYS(pselect6)
{
    struct lx_files *t = lx_call_process(c)->files;
    int32_t n = (int32_t)c->arg[0];
    bool zero;
    if (n < 0)
        return -EINVAL;
    uint64_t mask[2] = {0, 0};
    int64_t e = c->arg[5] && lx_get(c, c->arg[5], mask, sizeof mask) ? -EFAULT : 0;
    if (!e)
        e = get_timeout(c, c->arg[4], &zero);
    if (!e && mask[0])
        e = lx_sigmask_for_call(c, mask[0], mask[1]);
    if (e)
        return e;
    struct fdsets s = {.n = MIN((uint32_t)n, MAX(t->cap, 64u))};
    uint32_t words = (s.n + 63) / 64;
    CLEANUP(free_ptr) uint64_t *bits = calloc(words ? words * 6 : 1, 8);
    if (!bits)
        return -ENOMEM;
    for (int k = 0; k < 3; k++) {
        s.in[k] = bits + (size_t)k * words;
        s.out[k] = bits + (size_t)(k + 3) * words;
        if (c->arg[1 + k] && words && lx_get(c, c->arg[1 + k], s.in[k], words * 8))
            return -EFAULT;
    }
    int64_t r = select_scan(c, &s, false);
    if (!r && (r = idle(c, zero)) == 1) {
        select_scan(c, &s, true);
        return lx_block(c, NULL);
    }
    for (int k = 0; k < 3 && r >= 0; k++)
        if (c->arg[1 + k] && words && lx_put(c, c->arg[1 + k], s.out[k], words * 8))
            r = -EFAULT;
    put_timeout(c, c->arg[4]);
    return r;
}
