#include "engine/base/suggest.h"
#include "engine/base/base.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>

#define WORD_MAX 64 /* nobody mistypes a longer one by a letter or two */

unsigned suggest_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    unsigned row[3][WORD_MAX + 1]; /* of the table: before the last, last, this */
    if (n > WORD_MAX || m > WORD_MAX)
        return strcmp(a, b) ? UINT_MAX : 0;
    unsigned *older = row[0], *old = row[1], *now = row[2];
    for (size_t j = 0; j <= m; j++)
        old[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            unsigned best = old[j - 1] + !same;
            best = MIN(best, old[j] + 1);
            best = MIN(best, now[j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = MIN(best, older[j - 2] + 1);
            now[j] = best;
        }
        unsigned *spare = older;
        older = old;
        old = now;
        now = spare;
    }
    return old[m];
}

const char *suggest_nearest(const char *word, const char *const *known, size_t count)
{
    const char *nearest = NULL;
    unsigned least = UINT_MAX;
    for (size_t i = 0; i < count; i++) {
        if (!known[i])
            continue;
        unsigned d = suggest_distance(word, known[i]);
        size_t n = MAX(strlen(word), strlen(known[i]));
        if (d < least && d <= MAX(n / 3, (size_t)1) && d < n) {
            least = d;
            nearest = known[i];
        }
    }
    return nearest;
}
