/*
 * base/suggest.h - "did you mean": the known word that is nearest to a mistyped one.
 * Looks into nothing.  Used by: configuration, command lines.  Thread: any.
 */
#ifndef BASE_SUGGEST_H
#define BASE_SUGGEST_H

#include <stddef.h>

/* Insertions, deletions, changes and swaps of neighbours that make b of a; words beyond 64 bytes are far from all others. */
unsigned suggest_distance(const char *a, const char *b);
/* The nearest of `count` words (a NULL among them is skipped), or NULL: none is near enough to be meant. */
const char *suggest_nearest(const char *word, const char *const *known, size_t count);

#endif
