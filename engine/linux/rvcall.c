/*
 * linux/rvcall.c - the two calls that only riscv has.
 */
#include "engine/linux/process.h"

enum {
    KEY_VENDOR,
    KEY_ARCH,
    KEY_IMPLEMENTATION,
    KEY_BASE,
    KEY_IMA_EXT,
    KEY_MISALIGNED,
    KEY_ZICBOZ_BLOCK,
    KEY_HIGHEST_VA
};
enum { BASE_IMA = 1, IMA_FD = 1, IMA_C = 2, MISALIGNED_FAST = 3 };

static bool probe(struct lx *lx, int64_t key, uint64_t *value)
{
    *value = 0;
    switch (key) {
    case KEY_VENDOR:
    case KEY_ARCH:
    case KEY_IMPLEMENTATION:
    case KEY_ZICBOZ_BLOCK:
        return true;
    case KEY_BASE:
        *value = BASE_IMA;
        return true;
    case KEY_IMA_EXT:
        *value = IMA_FD | IMA_C;
        return true;
    case KEY_MISALIGNED:
        *value = MISALIGNED_FAST;
        return true;
    case KEY_HIGHEST_VA:
        *value = lx_window_end(lx) - 1;
        return true;
    default:
        return false;
    }
}

LX_SYS(riscv_hwprobe)
{
    struct mem_space *m = lx_call_mem(c);
    if (c->arg[4])
        return -EINVAL;
    if (c->arg[2]) { /* the set of CPUs asked about must name one that is there */
        uint8_t first;
        if (!mem_copy_in(m, &first, c->arg[3], sizeof first))
            return -EFAULT;
        if (!first)
            return -EINVAL;
    } else if (c->arg[3]) {
        return -EINVAL;
    }
    for (uint64_t i = 0; i < c->arg[1]; i++) {
        struct {
            int64_t key;
            uint64_t value;
        } pair;
        gva_t at = c->arg[0] + i * sizeof pair;
        if (i == 1024) /* far more than there are keys: no reason to hold the lock on */
            return -EINVAL;
        if (!mem_copy_in(m, &pair, at, sizeof pair))
            return -EFAULT;
        if (!probe(c->lx, pair.key, &pair.value))
            pair.key = -1;
        if (!mem_copy_out(m, at, &pair, sizeof pair))
            return -EFAULT;
    }
    return 0;
}

LX_SYS(riscv_flush_icache)
{
    struct lx_vcpu *vc = c->t->vcpu;
    if (c->arg[2] & ~(uint64_t)1)
        return -EINVAL;
    struct run_space *code = c->t->p->code;
    lx_long_begin(
        c->lx); /* it waits until every vCPU passed a safe point, and they may want the lock */
    run_flush_icache(vc->rv, code);
    lx_long_end(c->lx);
    return 0;
}
