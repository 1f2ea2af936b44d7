/* memory/remap.c - mremap. Moving copies the private pages that are there: moving page tables (mremap(2)) can leave a hole in
 * the window when it fails half way, and the host would give that hole to its own malloc. */
#include "engine/memory/internal.h"

#include <errno.h>

struct request {
    gva_t addr;
    uint64_t old_len, new_len;
    bool may_move;
    gva_t new_addr; /* UINT64_MAX: anywhere */
};

/* Grow m, which ends where the request ends, by more bytes, if there is room. */
static int64_t grow_in_place(struct mem_space *s, struct map *m, uint64_t more)
{
    if (!mem_range_ok(s, m->end, more))
        return -ENOMEM;
    const struct map *above = mem_tree_find(s, m->end);
    if (above && above->start < m->end + more)
        return -ENOMEM;
    gva_t at = m->end;
    /* A new map beside the old one, which merges where they are alike. */
    return mem_map_locked(s, at, more, m->prot, (m->flags & ~MEM_STACK) | MEM_NOREPLACE, m->object,
                          m->object ? object_offset_of(m, at) : 0, m->name);
}

static int64_t move(struct mem_space *s, struct map *m, const struct request *r)
{
    bool fixed = r->new_addr != UINT64_MAX;
    uint64_t keep = r->old_len < r->new_len ? r->old_len : r->new_len;
    gva_t from = r->addr;
    int prot = m->prot, flags = m->flags & ~MEM_STACK;
    uint64_t offset = m->object ? object_offset_of(m, from) : 0;
    bool wrote = m->wrote;
    /* Opened for writing as long as the copy lasts. */
    uint64_t credit = wrote ? r->old_len : 0; /* what is only moved is counted once */
    atomic_fetch_sub(&s->pool->committed, credit);
    int64_t to =
        mem_map_locked(s, fixed ? r->new_addr : 0, r->new_len, wrote ? MEM_R | MEM_W : prot,
                       flags | (fixed ? MEM_FIXED : 0), m->object, offset, m->name);
    atomic_fetch_add(&s->pool->committed, credit);
    if (to < 0)
        return to;
    m = mem_tree_find(s, from); /* may have been cut or merged */
    int rc = 0;
    if (wrote) {
        mem_copy_private_locked(m, from, from + keep, s, (gva_t)to);
        if (prot != (MEM_R | MEM_W))
            rc = mem_protect(s, (gva_t)to, r->new_len, prot);
    }
    if (rc == 0)
        rc = mem_unmap_locked(s, from, from + r->old_len);
    if (rc < 0) {
        (void)mem_unmap_locked(s, (gva_t)to, (gva_t)to + r->new_len);
        return rc;
    }
    return to;
}

static int64_t remap_locked(struct mem_space *s, const struct request *r)
{
    struct map *m = mem_tree_find(s, r->addr);
    if (!m || m->start > r->addr)
        return -EFAULT;
    if (r->new_addr == UINT64_MAX && r->new_len <= r->old_len) {
        if (r->new_len == r->old_len)
            return (int64_t)r->addr;
        int rc = mem_unmap_locked(s, r->addr + r->new_len, r->addr + r->old_len);
        return rc < 0 ? rc : (int64_t)r->addr;
    }
    if (r->addr + r->old_len > m->end)
        return -EFAULT;
    if (r->new_addr == UINT64_MAX && r->addr + r->old_len == m->end) {
        int64_t rc = grow_in_place(s, m, r->new_len - r->old_len);
        if (rc >= 0)
            return (int64_t)r->addr;
        m = mem_tree_find(s, r->addr);
    }
    return r->may_move ? move(s, m, r) : -ENOMEM;
}

int64_t mem_remap(struct mem_space *s, gva_t addr, uint64_t old_len, uint64_t new_len,
                  bool may_move, gva_t new_addr)
{
    if (addr % PAGE_SIZE || !old_len || !new_len)
        return -EINVAL;
    if (old_len > s->bytes || new_len > s->bytes)
        return -ENOMEM;
    struct request r = {addr, ALIGN_UP(old_len, PAGE_SIZE), ALIGN_UP(new_len, PAGE_SIZE), may_move,
                        new_addr};
    if (addr > s->bytes || r.old_len > s->bytes - addr)
        return -EFAULT;
    if (new_addr != UINT64_MAX) {
        if (!may_move || new_addr % PAGE_SIZE || !mem_range_ok(s, new_addr, r.new_len))
            return -EINVAL;
        if (new_addr < addr + r.old_len && addr < new_addr + r.new_len)
            return -EINVAL;
    }
    pool_lock(s->pool);
    int64_t rc = remap_locked(s, &r);
    pool_unlock(s->pool);
    return rc;
}
