/*
 * linux/memcall.c - the calls about memory: Linux's argument checks in front of engine/memory. The work itself runs
 * outside lx->lock (lx_long_begin), in pieces that look whether the guest is being killed.
 */
#include "engine/linux/process.h"

#include <stdlib.h>
#include <sys/mman.h>

#define PIECE_BYTES ((uint64_t)32 << 20)
#define RISCV_PROT_ALL (PROT_READ | PROT_WRITE | 4)

/* The guest's PROT_ bits and engine/memory's are the same numbers. */
_Static_assert(PROT_READ == MEM_R && PROT_WRITE == MEM_W, "protection bits");

/* [addr, addr + len) cut into pieces, front to back; stops at the first error or the guest's end. Outside the lock. */
static int in_pieces(struct lx *lx, struct mem_space *m, gva_t addr, uint64_t len, int arg,
                     int (*f)(struct mem_space *m, gva_t addr, uint64_t len, int arg))
{
    int rc = 0;
    while (len && !rc && !lx_ending(lx)) {
        uint64_t n = MIN(len, PIECE_BYTES);
        rc = f(m, addr, n, arg);
        addr += n;
        len -= n;
    }
    return rc;
}

static int long_pieces(struct lx_call *c, gva_t addr, uint64_t len, int arg,
                       int (*f)(struct mem_space *m, gva_t addr, uint64_t len, int arg))
{
    struct mem_space *m = lx_call_mem(c);
    struct lx *lx = c->lx;
    if (len <= PAGE_SIZE * 64) /* short enough to keep the lock */
        return f(m, addr, len, arg);
    lx_long_begin(lx);
    int rc = in_pieces(lx, m, addr, len, arg, f);
    lx_long_end(lx);
    return rc;
}

/* Page-aligned addr, len rounded up, no wrap; -EINVAL or overflow's error. */
static int check_range(gva_t addr, uint64_t *len, int overflow)
{
    if (addr & (PAGE_SIZE - 1))
        return -EINVAL;
    uint64_t n = ALIGN_UP(*len, PAGE_SIZE);
    if (n < *len || addr + n < addr)
        return overflow;
    *len = n;
    return 0;
}

/* Removing 1 GiB in one go would make everybody wait, in the memory room too. */
static int unmap_piece(struct mem_space *m, gva_t addr, uint64_t len, int arg)
{
    (void)arg;
    return mem_unmap(m, addr, len);
}

LX_SYS(munmap)
{
    uint64_t len = c->arg[1];
    int rc = check_range(c->arg[0], &len, -EINVAL);
    if (rc)
        return rc;
    if (!len || c->arg[0] > mem_space_bytes(lx_call_mem(c)) ||
        len > mem_space_bytes(lx_call_mem(c)) - c->arg[0])
        return -EINVAL;
    return long_pieces(c, c->arg[0], len, 0, unmap_piece);
}

static int protect_piece(struct mem_space *m, gva_t addr, uint64_t len, int prot)
{
    return mem_protect(m, addr, len, prot);
}

/* A shared map of a file that was opened for reading stays read-only. */
static bool may_write(struct mem_space *m, gva_t addr, uint64_t len)
{
    struct mem_map_info map;
    for (gva_t at = addr; mem_find(m, at, &map) && map.start < addr + len; at = map.end)
        if (map.flags & MEM_NOWRITE)
            return false;
    return true;
}

LX_SYS(mprotect)
{
    uint64_t len = c->arg[1];
    uint64_t prot = c->arg[2] & ~(uint64_t)(PROT_GROWSDOWN | PROT_GROWSUP);
    int rc = check_range(c->arg[0], &len, -ENOMEM);
    if (rc || (c->arg[2] & (PROT_GROWSDOWN | PROT_GROWSUP)) == (PROT_GROWSDOWN | PROT_GROWSUP))
        return rc ? rc : -EINVAL;
    if (!len)
        return 0;
    if (prot & ~(uint64_t)(RISCV_PROT_ALL | 8 /* PROT_SEM */))
        return -EINVAL;
    if ((prot & PROT_WRITE) && !may_write(lx_call_mem(c), c->arg[0], len))
        return -EACCES;
    return long_pieces(c, c->arg[0], len, (int)(prot & RISCV_PROT_ALL), protect_piece);
}

static int advise_drop(struct mem_space *m, gva_t addr, uint64_t len, int arg)
{
    (void)arg;
    return mem_discard(m, addr, len);
}

static int advise_check(struct mem_space *m, gva_t addr, uint64_t len, int arg)
{
    (void)arg;
    return mem_sync(m, addr, len);
}

LX_SYS(madvise)
{
    uint64_t len = c->arg[1];
    int rc = check_range(c->arg[0], &len, -EINVAL);
    switch ((int32_t)c->arg[2]) {
    case MADV_DONTNEED:
        return rc ? rc : long_pieces(c, c->arg[0], len, 0, advise_drop);
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_WILLNEED:
    case MADV_FREE: /* the kernel may drop them; it need not */
    case MADV_DONTFORK:
    case MADV_DOFORK:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case MADV_COLD:
    case MADV_PAGEOUT:
        return rc ? rc : long_pieces(c, c->arg[0], len, 0, advise_check);
    default:
        return -EINVAL;
    }
}

LX_SYS(msync)
{
    uint64_t len = c->arg[1], flags = c->arg[2];
    if (flags & ~(uint64_t)(MS_ASYNC | MS_INVALIDATE | MS_SYNC) ||
        (flags & (MS_ASYNC | MS_SYNC)) == (MS_ASYNC | MS_SYNC))
        return -EINVAL;
    int rc = check_range(c->arg[0], &len, -ENOMEM);
    return rc ? rc : long_pieces(c, c->arg[0], len, 0, advise_check);
}

/* Nothing is ever swapped out. */
static int64_t lock_range(struct lx_call *c)
{
    uint64_t len = c->arg[1] + (c->arg[0] & (PAGE_SIZE - 1));
    gva_t addr = ALIGN_DOWN(c->arg[0], PAGE_SIZE);
    int rc = check_range(addr, &len, -EINVAL);
    return rc ? rc : long_pieces(c, addr, len, 0, advise_check);
}
LX_SYS(mlock)
{
    return lock_range(c);
}
LX_SYS(munlock)
{
    return lock_range(c);
}

/* Every mapped page counts as present. */
LX_SYS(mincore)
{
    struct mem_space *m = lx_call_mem(c);
    uint64_t len = c->arg[1];
    int rc = check_range(c->arg[0], &len, -ENOMEM);
    if (!rc)
        rc = long_pieces(c, c->arg[0], len, 0, advise_check);
    uint8_t ones[256];
    __builtin_memset(ones, 1, sizeof ones);
    for (uint64_t i = 0; !rc && i < len / PAGE_SIZE; i += sizeof ones)
        if (!mem_copy_out(m, c->arg[2] + i, ones, MIN(sizeof ones, len / PAGE_SIZE - i)))
            rc = -EFAULT;
    return rc;
}

/* ---- mmap, mremap, brk ---- */

static int map_flags(uint32_t flags)
{
    return ((flags & MAP_TYPE) == MAP_PRIVATE ? 0 : MEM_SHARED) |
           (flags & MAP_FIXED_NOREPLACE ? MEM_NOREPLACE
            : flags & MAP_FIXED         ? MEM_FIXED
                                        : 0) |
           (flags & MAP_GROWSDOWN ? MEM_GROWSDOWN : 0) |
           (flags & MAP_NORESERVE ? MEM_NORESERVE : 0) | (flags & MAP_STACK ? MEM_STACK : 0);
}

/* The object behind a descriptor or behind shared anonymous memory; NULL for private anonymous memory. */
static int find_object(struct lx_call *c, uint32_t flags, int prot, uint64_t len,
                       struct mem_object **o, char **name, bool *no_write)
{
    struct lx_process *p = lx_call_process(c);
    bool shared = (flags & MAP_TYPE) != MAP_PRIVATE;
    *o = NULL;
    *name = NULL;
    if (!(flags & MAP_ANONYMOUS)) {
        struct lx_file *f = lx_files_find(p->files, (int32_t)c->arg[4]);
        if (!f)
            return -EBADF;
        int rc = lx_file_map_object(f, prot, shared, o);
        if (rc)
            return rc;
        struct mem_object *writable = NULL;
        if (shared && !(prot & MEM_W))
            *no_write = lx_file_map_object(f, prot | MEM_W, true, &writable) != 0;
        if (writable)
            mem_object_put(writable);
        if (*o || !shared) {
            *name = lx_file_path(f);
            return 0;
        }
    }
    if (!shared)
        return 0;
    struct err err;
    if (mem_object_memory(c->lx->config.pool, len, o, &err))
        return -ENOMEM;
    mem_object_set_snap_id(*o, lx_next_object_id(c->lx));
    return 0;
}

LX_SYS(mmap)
{
    uint64_t addr = c->arg[0], len = ALIGN_UP(c->arg[1], PAGE_SIZE), offset = c->arg[5];
    uint32_t flags = (uint32_t)c->arg[3], type = flags & MAP_TYPE;
    int prot = (int)c->arg[2] & RISCV_PROT_ALL;
    if (offset & (PAGE_SIZE - 1))
        return -EINVAL;
    if (!(flags & MAP_ANONYMOUS) && !lx_files_find(lx_call_process(c)->files, (int32_t)c->arg[4]))
        return -EBADF;
    if (!c->arg[1])
        return -EINVAL;
    if (!len || len > mem_space_bytes(lx_call_mem(c)))
        return -ENOMEM;
    if (offset + len < offset)
        return -EOVERFLOW;
    if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) && (addr & (PAGE_SIZE - 1)))
        return -EINVAL;
    if (type != MAP_PRIVATE && type != MAP_SHARED && type != MAP_SHARED_VALIDATE)
        return -EINVAL;
    struct mem_object *o;
    CLEANUP(free_ptr) char *name = NULL;
    bool no_write = false;
    int rc = find_object(c, flags, prot, len, &o, &name, &no_write);
    if (rc)
        return rc;
    struct mem_space *m = lx_call_mem(c);
    bool replaces = (flags & MAP_FIXED) && !(flags & MAP_FIXED_NOREPLACE) && len > PAGE_SIZE * 64;
    if (replaces)
        lx_long_begin(c->lx);
    int64_t got = mem_map(m, ALIGN_DOWN(addr, PAGE_SIZE), len, prot, map_flags(flags) | (no_write ? MEM_NOWRITE : 0), o,
                          o && !(flags & MAP_ANONYMOUS) ? offset : 0, name);
    if (replaces)
        lx_long_end(c->lx);
    if (o)
        mem_object_put(o);
    return got;
}

LX_SYS(mremap)
{
    struct mem_space *m = lx_call_mem(c);
    uint64_t addr = c->arg[0], old_len = ALIGN_UP(c->arg[1], PAGE_SIZE),
             new_len = ALIGN_UP(c->arg[2], PAGE_SIZE);
    uint64_t flags = c->arg[3];
    bool fixed = flags & MREMAP_FIXED, may_move = flags & MREMAP_MAYMOVE;
    if (flags & ~(uint64_t)(MREMAP_FIXED | MREMAP_MAYMOVE) || (fixed && !may_move))
        return -EINVAL;
    if ((addr & (PAGE_SIZE - 1)) || !c->arg[2] || (fixed && (c->arg[4] & (PAGE_SIZE - 1))))
        return -EINVAL;
    if (!new_len || new_len > mem_space_bytes(m))
        return fixed ? -EINVAL : -ENOMEM;
    if (old_len < c->arg[1] || addr + old_len < addr || addr >= mem_space_bytes(m))
        return -EFAULT;
    if (fixed && c->arg[4] < addr + old_len && addr < c->arg[4] + new_len)
        return -EINVAL;
    lx_long_begin(c->lx);
    int64_t got = mem_remap(m, addr, old_len, new_len, may_move, fixed ? c->arg[4] : UINT64_MAX);
    lx_long_end(c->lx);
    return got;
}

LX_SYS(brk)
{
    struct lx_mm *mm = c->t->p->priv->mm;
    gva_t want = c->arg[0];
    if (want < mm->brk_start || want > lx_window_end(c->lx))
        return (int64_t)mm->brk;
    gva_t old_end = ALIGN_UP(mm->brk, PAGE_SIZE), new_end = ALIGN_UP(want, PAGE_SIZE);
    if (new_end > old_end) {
        if (mem_map(mm->mem, old_end, new_end - old_end, MEM_R | MEM_W, MEM_NOREPLACE, NULL, 0,
                    "[heap]") < 0)
            return (int64_t)mm->brk;
    } else if (new_end < old_end && long_pieces(c, new_end, old_end - new_end, 0, unmap_piece)) {
        return (int64_t)mm->brk;
    }
    mm->brk = want;
    return (int64_t)want;
}

/* The private ones: when every vCPU of the space passed a safe point, each of its threads executed a barrier. */
LX_SYS(membarrier)
{
    enum { QUERY, PRIVATE = 8, REGISTER_PRIVATE = 16, PRIVATE_SYNC_CORE = 32, REGISTER_PRIVATE_SYNC_CORE = 64 };
    struct run_space *code = c->t->p->code;
    if (c->arg[1])
        return -EINVAL;
    switch ((int32_t)c->arg[0]) {
    case QUERY:
        return PRIVATE | REGISTER_PRIVATE | PRIVATE_SYNC_CORE | REGISTER_PRIVATE_SYNC_CORE;
    case REGISTER_PRIVATE:
    case REGISTER_PRIVATE_SYNC_CORE:
        return 0;
    case PRIVATE:
    case PRIVATE_SYNC_CORE:
        lx_long_begin(c->lx);
        run_flush_icache(c->t->vcpu->rv, code);
        lx_long_end(c->lx);
        return 0;
    default:
        return -EINVAL;
    }
}
