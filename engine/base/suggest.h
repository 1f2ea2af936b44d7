/*
 * base/suggest.h - what somebody who mistyped a word may have meant.
 * Looks into nothing.  Used by: the command line, configuration files.  Thread: any.
 */
#ifndef BASE_SUGGEST_H
#define BASE_SUGGEST_H

#include <stddef.h>

/*
 * The candidate nearest to word, or NULL if none is near: at most a third of word's letters (at least one, two from five
 * letters on) are inserted, left out, replaced or swapped with their neighbour; upper and lower case, - and _ are one.
 * The first of several equally near wins. Candidates may be NULL (skipped); words of more than 63 bytes have none.
 */
const char *suggest(const char *word, const char *const *candidates, size_t n);

#endif
