/*
 * import/digest.h - digests of blobs, by OpenSSL (whose headers claim the names ERR_*: hence a file of its own).
 * Looks into: nothing.  Used by: daemon/import.  Thread: one per digest.
 */
#ifndef IMPORT_DIGEST_H
#define IMPORT_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

#define IMP_DIGEST_CHARS 160 /* "sha512:", 128 digits, NUL */

struct imp_digest {
    void *md; /* NULL: not begun */
    char algorithm[16];
};
/* Before the process is confined: nothing is opened later. */
void imp_digest_prepare(void);
/* "sha256:<64 hex>" or "sha512:<128 hex>", lower case. */
bool imp_digest_valid(const char *text);
/* For the algorithm of a valid digest. False: no memory. */
bool imp_digest_init(struct imp_digest *d, const char *like);
bool imp_digest_put(struct imp_digest *d, const void *p, size_t n);
/* The end: the text, as above. */
bool imp_digest_fini(struct imp_digest *d, char out[IMP_DIGEST_CHARS]);
void imp_digest_free(struct imp_digest *d);

#endif
