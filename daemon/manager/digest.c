#include "daemon/manager/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES ((size_t)1 << 20)

int mgr_digest_file(int fd, char digest[72], uint64_t *bytes)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    uint8_t *block = malloc(BLOCK_BYTES), hash[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    uint64_t at = 0;
    ssize_t got = 0;
    bool ok = md && block && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;
    while (ok && (got = pread(fd, block, BLOCK_BYTES, (off_t)at)) > 0) {
        ok = EVP_DigestUpdate(md, block, (size_t)got) == 1;
        at += (uint64_t)got;
    }
    int saved = got < 0 ? errno : EIO;
    ok = ok && got == 0 && EVP_DigestFinal_ex(md, hash, &n) == 1 && n == 32;
    EVP_MD_CTX_free(md);
    free(block);
    if (!ok) {
        errno = saved;
        return -1;
    }
    memcpy(digest, "sha256-", 8);
    for (unsigned i = 0; i < n; i++)
        snprintf(digest + 7 + 2 * i, 3, "%02x", hash[i]);
    *bytes = at;
    return 0;
}
