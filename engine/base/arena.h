/*
 * base/arena.h - a bump allocator: one per translation, request or parse; everything goes at once.
 * Fails:  arena_alloc returns NULL when the limit or the host's memory is used up.
 * Thread: one at a time.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct arena_chunk;
struct arena {
    struct arena_chunk *chunks; /* newest first */
    char *at, *end;
    size_t used_bytes, limit_bytes;
    bool populate; /* take a chunk's pages when it is made: os_populate */
};

void arena_init(struct arena *a, size_t limit_bytes); /* limit 0: none */
void arena_fini(struct arena *a);
/* Forget everything, keep the newest chunk for reuse. */
void arena_reset(struct arena *a);
/* 16-byte aligned, not zeroed. */
void *arena_alloc(struct arena *a, size_t bytes);
void *arena_zalloc(struct arena *a, size_t bytes);
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
