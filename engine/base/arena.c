#include "engine/base/arena.h"
#include "engine/base/base.h"
#include "engine/base/os.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arena_chunk {
    struct arena_chunk *next;
    size_t bytes; /* of data behind this head */
};
#define HEAD ALIGN_UP(sizeof(struct arena_chunk), 16)
#define CHUNK_BYTES ((size_t)16384)

void arena_init(struct arena *a, size_t limit_bytes)
{
    *a = (struct arena){.limit_bytes = limit_bytes};
}

void arena_fini(struct arena *a)
{
    while (a->chunks) {
        struct arena_chunk *next = a->chunks->next;
        free(a->chunks);
        a->chunks = next;
    }
    a->at = a->end = NULL;
    a->used_bytes = 0;
}

void arena_reset(struct arena *a)
{
    struct arena_chunk *keep = a->chunks;
    if (!keep)
        return;
    a->chunks = keep->next;
    size_t limit = a->limit_bytes;
    arena_fini(a);
    a->limit_bytes = limit;
    keep->next = NULL;
    a->chunks = keep;
    a->at = (char *)keep + HEAD;
    a->end = a->at + keep->bytes;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
    if (bytes > SIZE_MAX / 4)
        return NULL;
    bytes = ALIGN_UP(bytes ? bytes : 1, (size_t)16);
    if (a->limit_bytes && bytes > a->limit_bytes - a->used_bytes)
        return NULL;
    if ((size_t)(a->end - a->at) < bytes) {
        size_t want = MAX(bytes, CHUNK_BYTES - HEAD);
        struct arena_chunk *c = malloc(HEAD + want);
        if (!c)
            return NULL;
        c->next = a->chunks;
        c->bytes = want;
        a->chunks = c;
        a->at = (char *)c + HEAD;
        a->end = a->at + want;
        if (a->populate)
            os_populate(c, HEAD + want, true);
    }
    void *p = a->at;
    a->at += bytes;
    a->used_bytes += bytes;
    return p;
}

void *arena_zalloc(struct arena *a, size_t bytes)
{
    void *p = arena_alloc(a, bytes);
    return p ? memset(p, 0, bytes) : NULL;
}

char *arena_strdup(struct arena *a, const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = arena_alloc(a, n);
    return p ? memcpy(p, s, n) : NULL;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}
