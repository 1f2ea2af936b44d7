/*
 * linux/futex.c - futexes. A queue exists while somebody waits on it; its key is {space, address} or, for memory shared
 * between spaces, {object, offset}. A waiter is told that it was woken through its call's progress: [0] it waits (the
 * value is not compared again when the call is re-run, also after a restore), [1] it was woken.
 */
#include "engine/linux/process.h"

#include <stdlib.h>

enum {
    FUTEX_WAIT,
    FUTEX_WAKE,
    FUTEX_FD,
    FUTEX_REQUEUE,
    FUTEX_CMP_REQUEUE,
    FUTEX_WAKE_OP,
    FUTEX_WAIT_BITSET = 9,
    FUTEX_WAKE_BITSET = 10,
    FUTEX_PRIVATE = 128,
    FUTEX_CLOCK_REALTIME = 256
};

struct futex_key {
    uint64_t base; /* mem_space or mem_object, by address: only while it lives */
    uint64_t offset;
};
struct lx_futex {
    struct futex_key key;
    struct lx_waitq q;
    UT_hash_handle by_key;
};

static struct futex_key key_of(struct lx_process *p, gva_t addr, bool shared)
{
    struct mem_map_info map;
    if (shared && mem_find(p->mem, addr, &map) && map.start <= addr && (map.flags & MEM_SHARED) &&
        map.object)
        return (struct futex_key){(uintptr_t)map.object, map.offset + (addr - map.start)};
    return (struct futex_key){(uintptr_t)p->mem, addr};
}

static struct lx_futex *find(struct lx *lx, const struct futex_key *key)
{
    struct lx_futex *f;
    HASH_FIND(by_key, lx->futexes, key, sizeof *key, f);
    return f;
}

static void drop_if_empty(struct lx *lx, struct lx_futex *f)
{
    if (!list_empty(&f->q.waiters))
        return;
    HASH_DELETE(by_key, lx->futexes, f);
    free(f);
}

/* Nobody can be left on a queue for long: waiters that time out leave theirs empty, so the table is swept as it doubles. */
void lx_futex_sweep(struct lx *lx)
{
    struct lx_futex *f, *next;
    HASH_ITER(by_key, lx->futexes, f, next)
    drop_if_empty(lx, f);
}

static struct lx_futex *make(struct lx *lx, const struct futex_key *key)
{
    struct lx_futex *f = find(lx, key);
    if (f)
        return f;
    if (HASH_CNT(by_key, lx->futexes) > 2 * lx->thread_count + 16)
        lx_futex_sweep(lx);
    f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->key = *key;
    lx_waitq_init(&f->q);
    HASH_ADD(by_key, lx->futexes, key, sizeof f->key, f);
    if (f->by_key.tbl)
        return f;
    free(f);
    return NULL;
}

static int64_t wake(struct lx *lx, const struct futex_key *key, uint32_t count, uint32_t bits)
{
    struct lx_futex *f = find(lx, key);
    uint32_t woken = 0;
    if (!f)
        return 0;
    list_for_each_safe(l, &f->q.waiters)
    {
        struct lx_call *w = &list_entry(l, struct lx_wait, link)->thread->call;
        if (woken == count)
            break;
        if (!(w->progress[2] & bits))
            continue;
        w->progress[1] = 1;
        lx_wake_thread(w->t, LX_WAKE_QUEUE);
        woken++;
    }
    drop_if_empty(lx, f);
    return woken;
}

int64_t lx_futex_wake(struct lx_process *p, gva_t addr, uint32_t count, uint32_t bits, bool shared)
{
    struct futex_key key = key_of(p, addr, shared);
    int64_t n = wake(p->lx, &key, count, bits);
    if (n || !shared)
        return n;
    key = key_of(p, addr, false); /* CLEARTID is looked for by private waiters too */
    return wake(p->lx, &key, count, bits);
}

static int64_t futex_wait(struct lx_call *c, uint32_t op, uint32_t bits, bool shared)
{
    struct lx_process *p = lx_call_process(c);
    uint32_t value;
    if (!bits)
        return -EINVAL;
    if (c->progress[1])
        return 0;
    if (c->wake == LX_WAKE_TIMEOUT)
        return -ETIMEDOUT;
    if (c->wake == LX_WAKE_SIGNAL)
        return lx_interrupted(
            c, c->deadline_ns == LX_NO_DEADLINE ? LX_RESTART_SA : LX_RESTART_ALWAYS_UNLESS_HANDLER);
    if (!c->progress[0]) {
        if (c->arg[3]) {
            uint64_t ns,
                now = op & FUTEX_CLOCK_REALTIME ? lx_realtime_ns(c->lx) : lx_monotonic_ns(c->lx);
            int error;
            if (!lx_get_timespec(p->mem, c->arg[3], &ns, &error))
                return error;
            bool absolute = (op & 127) == FUTEX_WAIT_BITSET;
            lx_deadline_after(c, !absolute ? ns : ns > now ? ns - now : 0);
        }
        if (!mem_copy_in(p->mem, &value, c->arg[0], sizeof value))
            return -EFAULT;
        if (value != (uint32_t)c->arg[2])
            return -EAGAIN;
    }
    struct futex_key key = key_of(p, c->arg[0], shared);
    struct lx_futex *f = make(c->lx, &key);
    if (!f)
        return -ENOMEM;
    c->progress[0] = 1;
    c->progress[2] = bits;
    return lx_block(c, &f->q);
}

/* Wake some, move the others' wait to a second futex: they look again there, as if they had called it themselves. */
static int64_t requeue(struct lx_call *c, bool compare, bool shared)
{
    struct lx_process *p = lx_call_process(c);
    uint32_t value;
    if ((c->arg[4] & 3) || (int32_t)c->arg[2] < 0 || (int32_t)c->arg[3] < 0)
        return -EINVAL;
    if (!mem_copy_in(p->mem, &value, c->arg[0], sizeof value))
        return -EFAULT;
    if (compare && value != (uint32_t)c->arg[5])
        return -EAGAIN;
    struct futex_key from = key_of(p, c->arg[0], shared), to = key_of(p, c->arg[4], shared);
    int64_t done = wake(c->lx, &from, (uint32_t)c->arg[2], UINT32_MAX);
    struct lx_futex *g = make(c->lx, &to), *f = find(c->lx, &from);
    if (!g)
        return -ENOMEM;
    for (uint32_t moved = 0;
         f && f != g && moved < (uint32_t)c->arg[3] && !list_empty(&f->q.waiters);
         moved++, done++) {
        struct lx_wait *w = list_entry(f->q.waiters.next, struct lx_wait, link);
        list_remove(&w->link);
        list_append(&g->q.waiters, &w->link);
        w->thread->call.arg[0] = c->arg[4];
    }
    if (f && f != g)
        drop_if_empty(c->lx, f);
    drop_if_empty(c->lx, g);
    return done;
}

LX_SYS(futex)
{
    uint32_t op = (uint32_t)c->arg[1], cmd = op & 127;
    bool shared = !(op & FUTEX_PRIVATE);
    if ((op & FUTEX_CLOCK_REALTIME) && cmd != FUTEX_WAIT_BITSET)
        return -ENOSYS;
    if (op & ~(127u | FUTEX_PRIVATE | FUTEX_CLOCK_REALTIME))
        return -ENOSYS;
    if (c->arg[0] & 3)
        return -EINVAL;
    switch (cmd) {
    case FUTEX_WAIT:
        return futex_wait(c, op, UINT32_MAX, shared);
    case FUTEX_WAIT_BITSET:
        return futex_wait(c, op, (uint32_t)c->arg[5], shared);
    case FUTEX_WAKE:
    case FUTEX_WAKE_BITSET: {
        uint32_t bits = cmd == FUTEX_WAKE ? UINT32_MAX : (uint32_t)c->arg[5], value;
        if (!bits)
            return -EINVAL;
        if (shared && !mem_peek(lx_call_mem(c), &value, c->arg[0], sizeof value))
            return -EFAULT;
        struct futex_key key = key_of(lx_call_process(c), c->arg[0], shared);
        return wake(c->lx, &key, MAX((uint32_t)c->arg[2], 1u), bits);
    }
    case FUTEX_REQUEUE:
    case FUTEX_CMP_REQUEUE:
        return requeue(c, cmd == FUTEX_CMP_REQUEUE, shared);
    default:
        return -ENOSYS;
    }
}

/* ---- robust lists: struct robust_list_head {next, offset of the futex word, pending} ---- */

#define OWNER_DIED 0x40000000u
#define WAITERS 0x80000000u
#define TID_MASK 0x3fffffffu
#define ROBUST_MAX 2048 /* as Linux: a list may be circular */

LX_SYS(set_robust_list)
{
    if (c->arg[1] != 24)
        return -EINVAL;
    c->t->robust_list = c->arg[0];
    return 0;
}

LX_SYS(get_robust_list)
{
    int32_t tid = (int32_t)c->arg[0];
    struct lx_thread *t = tid ? lx_thread_find(c->lx, (uint32_t)tid) : c->t;
    struct mem_space *m = lx_call_mem(c);
    uint64_t bytes = 24;
    if (!t)
        return -ESRCH;
    if (!lx_may_signal(c->t->p, t->p, 0))
        return -EPERM;
    return mem_copy_out(m, c->arg[2], &bytes, 8) && mem_copy_out(m, c->arg[1], &t->robust_list, 8) ? 0 : -EFAULT;
}

static void owner_died(struct lx_thread *t, gva_t word, bool pending)
{
    struct lx_process *p = t->p;
    uint32_t value;
    if ((word & 3) || !mem_copy_in(p->mem, &value, word, sizeof value))
        return;
    if (pending && !value) { /* died between unlocking and waking */
        lx_futex_wake(p, word, 1, UINT32_MAX, true);
        return;
    }
    if ((value & TID_MASK) != t->tid)
        return;
    uint32_t dead = (value & WAITERS) | OWNER_DIED;
    if (mem_copy_out(p->mem, word, &dead, sizeof dead) && (value & WAITERS))
        lx_futex_wake(p, word, 1, UINT32_MAX, true);
}

void lx_futex_robust_exit(struct lx_thread *t)
{
    struct mem_space *m = t->p->mem;
    uint64_t head[3], entry, next;
    if (!mem_copy_in(m, head, t->robust_list, sizeof head))
        return;
    entry = head[0];
    for (int i = 0; i < ROBUST_MAX && (entry & ~(uint64_t)1) != t->robust_list; i++) {
        gva_t at = entry & ~(uint64_t)1; /* bit 0: a priority-inheriting mutex */
        bool more = mem_copy_in(m, &next, at, sizeof next);
        if (entry != head[2])
            owner_died(t, at + head[1], false);
        if (!more)
            return;
        entry = next;
    }
    if (head[2])
        owner_died(t, (head[2] & ~(uint64_t)1) + head[1], true);
}
