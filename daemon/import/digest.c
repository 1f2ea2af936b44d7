#include "daemon/import/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

static const EVP_MD *by_name(const char *text)
{
    return !strncmp(text, "sha512", 6) ? EVP_sha512() : EVP_sha256();
}

void imp_digest_prepare(void)
{
    struct imp_digest d = {0};
    char out[IMP_DIGEST_CHARS];
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    if (imp_digest_init(&d, "sha256") && imp_digest_put(&d, "", 0))
        (void)imp_digest_fini(&d, out);
    imp_digest_free(&d);
}

bool imp_digest_valid(const char *text)
{
    size_t digits = !strncmp(text, "sha256:", 7) ? 64 : !strncmp(text, "sha512:", 7) ? 128 : 0;
    return digits && strspn(text + 7, "0123456789abcdef") == digits && !text[7 + digits];
}

bool imp_digest_init(struct imp_digest *d, const char *like)
{
    *d = (struct imp_digest){.md = EVP_MD_CTX_new()};
    snprintf(d->algorithm, sizeof d->algorithm, "%.6s", like);
    return d->md && EVP_DigestInit_ex(d->md, by_name(like), NULL) == 1;
}

bool imp_digest_put(struct imp_digest *d, const void *p, size_t n)
{
    return EVP_DigestUpdate(d->md, p, n) == 1;
}

bool imp_digest_fini(struct imp_digest *d, char out[IMP_DIGEST_CHARS])
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (EVP_DigestFinal_ex(d->md, hash, &n) != 1)
        return false;
    int at = snprintf(out, IMP_DIGEST_CHARS, "%s:", d->algorithm);
    for (unsigned i = 0; i < n; i++)
        at += snprintf(out + at, (size_t)(IMP_DIGEST_CHARS - at), "%02x", hash[i]);
    imp_digest_free(d);
    return true;
}

void imp_digest_free(struct imp_digest *d)
{
    EVP_MD_CTX_free(d->md);
    d->md = NULL;
}
