#include "engine/base/suggest.h"
#include "engine/base/base.h"

#include <ctype.h>
#include <string.h>

#define WORD_MAX 63

static char plain(char c)
{
    return c == '_' ? '-' : (char)tolower((unsigned char)c);
}

/* Edits from a to b, a swap of neighbours being one (optimal string alignment). Three rows are enough. */
static unsigned distance(const char *a, size_t na, const char *b, size_t nb)
{
    unsigned rows[3][WORD_MAX + 1];
    for (size_t k = 0; k <= nb; k++)
        rows[0][k] = (unsigned)k;
    for (size_t i = 1; i <= na; i++) {
        unsigned *now = rows[i % 3], *before = rows[(i + 2) % 3], *older = rows[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t k = 1; k <= nb; k++) {
            bool same = plain(a[i - 1]) == plain(b[k - 1]);
            unsigned best = MIN(before[k], now[k - 1]) + 1;
            best = MIN(best, before[k - 1] + !same);
            if (i > 1 && k > 1 && plain(a[i - 1]) == plain(b[k - 2]) &&
                plain(a[i - 2]) == plain(b[k - 1]))
                best = MIN(best, older[k - 2] + 1);
            now[k] = best;
        }
    }
    return rows[na % 3][nb];
}

const char *suggest(const char *word, const char *const *candidates, size_t n)
{
    size_t length = strlen(word);
    const char *nearest = NULL;
    if (length == 0 || length > WORD_MAX)
        return NULL;
    unsigned most = MAX((unsigned)length / 3, length >= 5 ? 2u : 1u), least = most + 1;
    for (size_t i = 0; i < n; i++) {
        if (!candidates[i])
            continue;
        size_t other = strlen(candidates[i]);
        if (other == 0 || other > WORD_MAX)
            continue;
        unsigned d = distance(word, length, candidates[i], other);
        if (d < least && d < MAX(length, other)) { /* one common letter at least */
            least = d;
            nearest = candidates[i];
        }
    }
    return nearest;
}
