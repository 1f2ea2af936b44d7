/*
 * manager/digest.h - SHA-256 of a file, by OpenSSL (whose headers claim the names ERR_*: hence a file of its own).
 * Looks into: nothing.  Used by: daemon/manager.  Thread: any.
 */
#ifndef MANAGER_DIGEST_H
#define MANAGER_DIGEST_H

#include <stdint.h>

/* "sha256-<hex>" of the file's bytes, and how many they are. -1: errno says what (EIO if it was the library). */
int mgr_digest_file(int fd, char digest[72], uint64_t *bytes);

#endif
