#include "engine/profile/profile.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

const struct prof_counter_info prof_counter_infos[PROF_COUNTER_COUNT] = {
#define PROF_COUNTER(name, text, unit, help) {text, unit, help},
#include "engine/profile/counters.def"
#undef PROF_COUNTER
};

struct prof {
    pthread_mutex_t lock; /* of everything here, and of each source's tail */
    struct list sources;
    uint64_t gone[PROF_COUNTER_COUNT]; /* of sources that were detached */
    uint32_t places_max, count;
    unsigned bits;
    uint32_t *slots;           /* hash: 1 + index of the place, 0 empty */
    struct prof_place *places; /* [0]: all that had no room */
    uint32_t places_cap;
};

#define BITS_FIRST 6

res_code_t prof_new(uint32_t places_max, struct prof **out, struct err *err)
{
    struct prof *p = calloc(1, sizeof *p);
    if (p) {
        p->places_max = MAX(places_max, 2u);
        p->bits = BITS_FIRST;
        p->places_cap = 1u << (BITS_FIRST - 1);
        p->slots = calloc((size_t)1 << p->bits, sizeof *p->slots);
        p->places = calloc(p->places_cap, sizeof *p->places);
        p->count = 1;
    }
    if (!p || !p->slots || !p->places) {
        if (p) {
            free(p->slots);
            free(p->places);
        }
        free(p);
        return err_set(err, ERR_NO_MEMORY, "profile");
    }
    pthread_mutex_init(&p->lock, NULL);
    list_init(&p->sources);
    *out = p;
    return OK;
}

void prof_free(struct prof *p)
{
    if (!p)
        return;
    ASSERT(list_empty(&p->sources));
    pthread_mutex_destroy(&p->lock);
    free(p->slots);
    free(p->places);
    free(p);
}

bool prof_note(struct prof_source *s, const struct prof_edge *e)
{
    uint32_t head = atomic_load_explicit(&s->head, memory_order_relaxed);
    uint32_t held = head - atomic_load_explicit(&s->tail, memory_order_acquire);
    if (held == PROF_RING_COUNT) {
        prof_add(s, PROF_PROFILE_LOST, 1); /* rule (2) */
        return false;
    }
    s->ring[head % PROF_RING_COUNT] = *e;
    atomic_store_explicit(&s->head, head + 1, memory_order_release);
    return held + 1 == PROF_RING_COUNT / 2;
}

/* ---- the database ---- */

static uint32_t hash_at(const struct prof *p, uint64_t space, uint64_t pc)
{
    return (uint32_t)(((pc >> 1) ^ space * UINT64_C(0xd6e8feb86659fd93)) *
                          UINT64_C(0x9e3779b97f4a7c15) >>
                      (64 - p->bits));
}

static uint32_t *slot_of(const struct prof *p, uint64_t space, uint64_t pc)
{
    uint32_t mask = (1u << p->bits) - 1, i = hash_at(p, space, pc);
    while (p->slots[i] &&
           (p->places[p->slots[i] - 1].pc != pc || p->places[p->slots[i] - 1].space != space))
        i = (i + 1) & mask;
    return &p->slots[i];
}

static bool grow(struct prof *p)
{
    unsigned bits = p->bits + 1;
    uint32_t cap = 1u << (bits - 1);
    struct prof_place *places = realloc(p->places, cap * sizeof *places);
    if (!places)
        return false;
    p->places = places;
    uint32_t *slots = calloc((size_t)1 << bits, sizeof *slots);
    if (!slots)
        return false;
    free(p->slots);
    p->slots = slots;
    p->bits = bits;
    p->places_cap = cap;
    for (uint32_t i = 1; i < p->count; i++)
        *slot_of(p, p->places[i].space, p->places[i].pc) = i + 1;
    return true;
}

static struct prof_place *place(struct prof *p, uint64_t space, uint64_t pc)
{
    uint32_t *slot = slot_of(p, space, pc);
    if (*slot)
        return &p->places[*slot - 1];
    if (p->count >= p->places_max || (p->count >= p->places_cap && !grow(p)))
        return &p->places[0]; /* rule (3) */
    slot = slot_of(p, space, pc);
    p->places[p->count] = (struct prof_place){.space = space, .pc = pc};
    *slot = ++p->count;
    return &p->places[p->count - 1];
}

/* Space-saving counters: a new target takes the least frequent one's place once it has been seen as often. */
static void add_target(struct prof_place *at, uint64_t pc)
{
    struct prof_target *least = &at->targets[0];
    for (unsigned i = 0; i < PROF_TARGETS; i++) {
        struct prof_target *t = &at->targets[i];
        if (t->count && t->pc == pc) {
            t->count++;
            return;
        }
        if (t->count < least->count)
            least = t;
    }
    if (!least->count) {
        *least = (struct prof_target){pc, 1};
        return;
    }
    at->other_targets++;
    if (--least->count == 0)
        *least = (struct prof_target){pc, 1};
}

static void merge_source(struct prof *p, struct prof_source *s)
{
    uint32_t head = atomic_load_explicit(&s->head, memory_order_acquire);
    uint32_t tail = atomic_load_explicit(&s->tail, memory_order_relaxed);
    for (; tail != head; tail++) {
        const struct prof_edge *e = &s->ring[tail % PROF_RING_COUNT];
        struct prof_place *to = place(p, e->space, e->to);
        to->entries++;
        to->indirect += e->kind == PROF_INDIRECT;
        if (e->from)
            add_target(place(p, e->space, e->from), e->to);
    }
    atomic_store_explicit(&s->tail, tail, memory_order_release);
}

void prof_merge(struct prof *p)
{
    pthread_mutex_lock(&p->lock);
    list_for_each(l, &p->sources) merge_source(p, list_entry(l, struct prof_source, link));
    pthread_mutex_unlock(&p->lock);
}

bool prof_find(struct prof *p, uint64_t space, uint64_t pc, struct prof_place *out)
{
    pthread_mutex_lock(&p->lock);
    uint32_t slot = *slot_of(p, space, pc);
    if (slot)
        *out = p->places[slot - 1];
    pthread_mutex_unlock(&p->lock);
    return slot;
}

static int by_entries(const void *a, const void *b)
{
    const struct prof_place *x = a, *y = b;
    return x->entries > y->entries ? -1 : x->entries < y->entries;
}

size_t prof_top(struct prof *p, struct prof_place *out, size_t n)
{
    pthread_mutex_lock(&p->lock);
    size_t count = p->count - 1;
    struct prof_place *copy = count ? malloc(count * sizeof *copy) : NULL;
    if (copy)
        memcpy(copy, p->places + 1, count * sizeof *copy);
    pthread_mutex_unlock(&p->lock);
    if (!copy)
        return 0;
    qsort(copy, count, sizeof *copy, by_entries);
    n = MIN(n, count);
    memcpy(out, copy, n * sizeof *out);
    free(copy);
    return n;
}

/* ---- sources ---- */

void prof_attach(struct prof *p, struct prof_source *s)
{
    memset(s, 0, sizeof *s);
    pthread_mutex_lock(&p->lock);
    list_append(&p->sources, &s->link);
    pthread_mutex_unlock(&p->lock);
}

void prof_detach(struct prof *p, struct prof_source *s)
{
    pthread_mutex_lock(&p->lock);
    merge_source(p, s);
    for (unsigned i = 0; i < PROF_COUNTER_COUNT; i++)
        p->gone[i] += atomic_load_explicit(&s->n[i], memory_order_relaxed);
    list_remove(&s->link);
    pthread_mutex_unlock(&p->lock);
}

void prof_sum(struct prof *p, uint64_t n[PROF_COUNTER_COUNT])
{
    pthread_mutex_lock(&p->lock);
    memcpy(n, p->gone, sizeof p->gone);
    list_for_each(l, &p->sources) for (unsigned i = 0; i < PROF_COUNTER_COUNT; i++) n[i] +=
        atomic_load_explicit(&list_entry(l, struct prof_source, link)->n[i], memory_order_relaxed);
    pthread_mutex_unlock(&p->lock);
}
