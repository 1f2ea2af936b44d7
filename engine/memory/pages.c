/* memory/pages.c - a set of pages with a few bits each: open addressing, linear probing, no tombstones. */
#include "engine/memory/internal.h"

#include <stdlib.h>

static size_t home(const struct page_set *t, uint64_t key)
{
    return (key * 0x9e3779b97f4a7c15u >> 20) & (t->cap - 1);
}

void mem_pages_fini(struct page_set *t)
{
    free(t->slots);
    *t = (struct page_set){0};
}

struct page_entry *mem_pages_find(const struct page_set *t, uint64_t page)
{
    if (!t->len)
        return NULL;
    for (size_t i = home(t, page + 1);; i = (i + 1) & (t->cap - 1)) {
        if (t->slots[i].key == page + 1)
            return &t->slots[i];
        if (!t->slots[i].key)
            return NULL;
    }
}

static struct page_entry *place(struct page_set *t, uint64_t key)
{
    size_t i = home(t, key);
    while (t->slots[i].key)
        i = (i + 1) & (t->cap - 1);
    t->slots[i] = (struct page_entry){.key = key};
    return &t->slots[i];
}

struct page_entry *mem_pages_add(struct page_set *t, uint64_t page)
{
    struct page_entry *e = mem_pages_find(t, page);
    if (e)
        return e;
    if (t->len * 4 >= t->cap * 3) {
        struct page_set bigger = {.cap = MAX(t->cap * 2, (size_t)32), .len = t->len};
        bigger.slots = calloc(bigger.cap, sizeof *bigger.slots);
        if (!bigger.slots)
            return NULL;
        for (size_t i = 0; i < t->cap; i++) {
            if (t->slots[i].key)
                *place(&bigger, t->slots[i].key) = t->slots[i];
        }
        free(t->slots);
        *t = bigger;
    }
    t->len++;
    return place(t, page + 1);
}

void mem_pages_remove(struct page_set *t, uint64_t page)
{
    struct page_entry *e = mem_pages_find(t, page);
    if (!e)
        return;
    size_t hole = (size_t)(e - t->slots), mask = t->cap - 1;
    /* Close the gap: move back what would no longer be reached from its home. */
    for (size_t i = (hole + 1) & mask; t->slots[i].key; i = (i + 1) & mask) {
        size_t h = home(t, t->slots[i].key);
        if (((i - h) & mask) >= ((i - hole) & mask)) {
            t->slots[hole] = t->slots[i];
            hole = i;
        }
    }
    t->slots[hole].key = 0;
    t->len--;
}

bool mem_pages_copy(struct page_set *to, const struct page_set *from)
{
    *to = *from;
    if (!from->cap)
        return true;
    to->slots = malloc(from->cap * sizeof *to->slots);
    if (!to->slots) {
        *to = (struct page_set){0};
        return false;
    }
    for (size_t i = 0; i < from->cap; i++)
        to->slots[i] = from->slots[i];
    return true;
}

uint64_t mem_pages_next(const struct page_set *t, uint64_t lo, uint64_t hi, size_t *i)
{
    if (!t->len)
        return UINT64_MAX;
    if (hi - lo <= t->cap) { /* fewer pages than slots: ask for each */
        while (*i < hi - lo) {
            uint64_t page = lo + (*i)++;
            if (mem_pages_find(t, page))
                return page;
        }
        return UINT64_MAX;
    }
    while (*i < t->cap) {
        uint64_t key = t->slots[(*i)++].key;
        if (key && key - 1 >= lo && key - 1 < hi)
            return key - 1;
    }
    return UINT64_MAX;
}
