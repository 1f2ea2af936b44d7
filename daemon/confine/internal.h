/* confine/internal.h - between the files of this room. */
#ifndef CONFINE_INTERNAL_H
#define CONFINE_INTERNAL_H

#include "daemon/confine/confine.h"

#include <sys/types.h>

/* Sanitizers read files, ask for limits and stop threads: their builds keep the namespaces, but are not filtered, and keep the
 * environment that steers them. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define CF_SANITIZED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CF_SANITIZED 1
#endif
#endif
#ifndef CF_SANITIZED
#define CF_SANITIZED 0
#endif

/* In a new user namespace: its user and group 0 are uid and gid outside. proc_fd, prefix: where the files of /proc/self are.
 * System calls only. */
res_t cf_map_ids(int proc_fd, const char *prefix, uid_t uid, gid_t gid);
void cf_active(struct cf_report *r, enum cf_layer layer);
/* "what: strerror(errno)" */
void cf_missing(struct cf_report *r, enum cf_layer layer, const char *what);
/* root.c */
res_t cf_empty_root(void);
res_t cf_landlock(void);

#endif
