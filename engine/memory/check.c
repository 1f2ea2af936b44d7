/* memory/check.c - the rules of memory.h against the books and against what the host says in /proc/self/maps. */
#include "engine/memory/internal.h"

#include <stdio.h>
#include <sys/mman.h>

struct view {
    struct mem_space *space;
    uint64_t host_maps;
};

/* One host mapping that lies in the window. */
static bool check_range(struct view *v, gva_t lo, gva_t hi, const char *prot)
{
    struct mem_space *s = v->space;
    int have = (prot[0] == 'r' ? PROT_READ : 0) | (prot[1] == 'w' ? PROT_WRITE : 0);
    v->host_maps++;
    if (prot[2] == 'x')
        return false; /* rule (3) */
    for (gva_t a = lo; a < hi;) {
        struct map *m = mem_tree_find(s, a);
        if (!m || m->start > a) { /* rule (1) */
            if (have)
                return false;
            a = m ? MIN(m->start, hi) : hi;
            continue;
        }
        /* Rule (2): mem_host_prot takes the watch into account. */
        for (; a < MIN(m->end, hi); a += PAGE_SIZE) {
            if (mem_host_prot(m, a) != have)
                return false;
            if (m->end - m->start > PIECE && !m->prot) { /* long and closed: once is enough */
                a = MIN(m->end, hi);
                break;
            }
        }
    }
    return true;
}

static bool check_host(struct view *v)
{
    struct mem_space *s = v->space;
    FILE *f = fopen("/proc/self/maps", "re");
    if (!f)
        return true; /* confined: the books only */
    char line[600];
    bool ok = true;
    while (ok && fgets(line, sizeof line, f)) {
        unsigned long lo, hi;
        char prot[8];
        uintptr_t w = (uintptr_t)s->window;
        if (sscanf(line, "%lx-%lx %7s", &lo, &hi, prot) != 3 || hi <= w || lo >= w + s->bytes)
            continue;
        ok = check_range(v, MAX(lo, w) - w, MIN(hi, w + s->bytes) - w, prot);
    }
    fclose(f);
    return ok;
}

/* Counts from above are above. */
static uint64_t cost_of(const struct mem_space *s)
{
    uint64_t cost = COST_SPACE;
    for (const struct map *m = mem_tree_find(s, 0); m; m = mem_tree_find(s, m->end))
        cost += mem_map_cost(m->object, m->flags);
    for (size_t i = 0; i < s->watch.cap; i++) {
        if (s->watch.slots[i].key && (s->watch.slots[i].state & PAGE_SPLIT))
            cost += COST_SPLIT;
    }
    return cost;
}

bool mem_check(struct mem_space *s)
{
    struct view v = {.space = s};
    pool_lock(s->pool);
    bool ok = mem_tree_check(s) && s->pool->host_maps <= s->pool->config.maps; /* rule (4) */
    uint64_t mapped = 0, exec = 0;
    for (const struct map *m = mem_tree_find(s, 0); m && ok; m = mem_tree_find(s, m->end)) {
        mapped += m->end - m->start;
        exec += (m->prot & MEM_X) != 0;
        ok = (m->ident != 0) ==
             ((m->prot & MEM_X) && !(m->flags & MEM_SHARED) && (!m->object || m->wrote));
    }
    ok = ok && mapped == s->mapped_bytes && exec == s->exec_maps && check_host(&v) &&
         v.host_maps <= cost_of(s) && cost_of(s) <= s->pool->host_maps;
    pool_unlock(s->pool);
    return ok;
}
