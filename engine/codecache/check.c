/* The room's rules, verified. */
#include "engine/codecache/internal.h"

#include <string.h>

static bool leads_to(const struct cc_cache *c, uint32_t site_off, uint32_t target_off)
{
    /* What patch writes for this target is what stands there. */
    uint32_t there, should;
    memcpy(&there, cc_writable(c, site_off), 4);
    _Alignas(4) uint32_t copy = 0;
    c->host->patch(&copy, site_off, target_off);
    should = copy;
    return there == should;
}

static bool check_exits(struct cc_cache *c, struct cc_block *b)
{
    for (unsigned i = 0; i < b->exit_count; i++) {
        struct cc_exit *e = &b->exits[i];
        if (i && e[-1].patch_off >= e->patch_off)
            return false;
        if (!e->to) {
            if (!list_empty(&e->link) || !leads_to(c, e->patch_off, e->stub_off))
                return false;
            continue;
        }
        bool listed = false;
        list_for_each(l, &e->to->incoming) listed |= l == &e->link;
        if (!listed || e->to->retired || e->to->space != b->space || e->to->pc != e->target ||
            !leads_to(c, e->patch_off, e->to->host_off))
            return false; /* rule (3) */
    }
    return true;
}

static bool on_page(struct cc_space *s, struct cc_block *b)
{
    uint64_t first = b->pc >> PAGE_BITS, last = (b->pc + b->guest_bytes - 1) >> PAGE_BITS;
    struct page_entry *e = cc_page_find(s, first),
                      *f = last == first ? NULL : cc_page_find(s, last);
    bool head = false, tail = last == first && !(b->flags & CC_BLOCK_ACROSS);
    if (e)
        list_for_each(l, &e->heads) head |= l == &b->page_link;
    if (f && b->flags & CC_BLOCK_ACROSS)
        list_for_each(l, &f->tails) tail |= l == cc_tail_link(b);
    return head && tail;
}

static bool check_block(struct cc_cache *c, struct cc_block *b)
{
    struct cc_space *s = b->space;
    if (b->retired) {
        /* Rule (5); its space may be gone. */
        return list_empty(&b->incoming) && list_empty(&b->page_link) &&
               !(b->flags & CC_BLOCK_ACROSS && !list_empty(cc_tail_link(b)));
    }
    pthread_mutex_lock(&s->lock);
    bool ok = cc_find(s, b->pc) == b && on_page(s, b) && check_exits(c, b);
    pthread_mutex_unlock(&s->lock);
    return ok;
}

static bool check_arena(struct cc_cache *c, struct cc_arena *a)
{
    uint32_t live = 0, end = a->off + c->arena_bytes;
    if (a->state == ARENA_FREE)
        return !a->last && cc_arena_live(a) == 0;
    for (struct cc_block *b = a->last; b; b = b->before) {
        if (b->host_off < a->off || b->host_off + b->host_bytes > end || b->arena != a ||
            cc_find_host(c, b->host_off) != b ||
            cc_find_host(c, b->host_off + b->host_bytes - 1) != b)
            return false; /* rule (6) */
        end = b->host_off;
        if (!check_block(c, b))
            return false;
        live += !b->retired;
    }
    return live == cc_arena_live(a) && (a->state != ARENA_RETIRING || !live);
}

static bool is_landing(struct cc_space *s, gva_t pc, const void *host)
{
    uint32_t off = (uint32_t)((const uint8_t *)host - (const uint8_t *)cc_host(s->cache, 0));
    struct cc_block *b = cc_find_host(s->cache, off);
    for (unsigned i = 0; b && !b->retired && b->space == s && i < b->landing_count; i++)
        if (cc_landings(b)[i].pc == pc && cc_landings(b)[i].host_off == off)
            return true;
    return false;
}

static bool check_space(struct cc_space *s)
{
    bool ok = true;
    pthread_mutex_lock(&s->lock);
    struct hash_table *h = atomic_load(&s->hash);
    uint32_t live = 0;
    for (uint32_t i = 0; i < 1u << h->bits; i++) {
        struct cc_block *b = atomic_load(&h->slot[i]);
        if (!b || b->space != s) /* empty, or a tombstone */
            continue;
        live++;
        ok &= !b->retired;
    }
    ok &= live == h->live && h->used < 1u << h->bits;
    for (uint32_t i = 0; i < s->cache->thread_max; i++) {
        struct cpu_jt_entry *jt = atomic_load(&s->jt[i]);
        for (size_t k = 0; jt && jt != cc_missing_table() && k < CPU_JT_COUNT; k++) {
            uint64_t pc = atomic_load(&jt[k].pc);
            if (pc == cpu_jt_none(k))
                continue;
            struct cc_block *b = cc_find(s, pc); /* rule (5): every entry is live */
            const void *host = atomic_load(&jt[k].host);
            ok &= (b && host == cc_host(s->cache, b->host_off)) || is_landing(s, pc, host);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return ok;
}

bool cc_check(struct cc_cache *c)
{
    bool ok = c->rw != c->rx;
    pthread_mutex_lock(&c->lock);
    uint32_t free_count = 0, retiring_count = 0, spaces = 0;
    list_for_each(l, &c->free) free_count++;
    list_for_each(l, &c->retiring) retiring_count++;
    ok &= free_count == c->free_count && retiring_count == c->retiring_count;
    list_for_each(l, &c->all)
    {
        ok &= check_space(list_entry(l, struct cc_space, all_link));
        spaces++;
    }
    ok &= spaces == c->space_count;
    for (uint32_t i = 0; ok && i < c->arena_count; i++)
        ok &= check_arena(c, &c->arenas[i]);
    pthread_mutex_unlock(&c->lock);
    return ok;
}
