/*
 * proto/paths.h - where the daemon listens and keeps its state, unless told; names that the API takes.
 * Looks into: base.  Used by: daemon/manager, client/vmctl, so that both agree.  Thread: any.
 */
#ifndef PROTO_PATHS_H
#define PROTO_PATHS_H

#include "engine/base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define PB_PATH_MAX 4096
#define PB_GUEST_NAME_MAX 63
#define PB_IMAGE_NAME_MAX 127

/* /run/vmd/vmd.sock as root; $XDG_RUNTIME_DIR/vmd/vmd.sock; else /tmp/vmd-UID/vmd.sock. Fails: ERR_INVALID
 * (longer than a socket's name can be). */
res_t pb_default_socket(char out[PB_PATH_MAX], struct err *err);
/* /var/lib/vmd as root; $XDG_DATA_HOME/vmd; $HOME/.local/share/vmd. */
res_t pb_default_state(char out[PB_PATH_MAX], struct err *err);
/* Make dir (and what is missing above it) with mode 0700, and see that it is ours and closed to others: a
 * folder that somebody else made under /tmp is refused. Fails: ERR_OS, ERR_DENIED. */
res_t pb_private_dir(const char *dir, struct err *err);
/* The check alone, for a client that is about to trust a socket in dir. */
res_t pb_private_dir_check(const char *dir, struct err *err);

bool pb_guest_name_valid(const char *s);
bool pb_image_name_valid(const char *s);
/* "sha256-" and 64 hex digits, lower case. */
bool pb_digest_valid(const char *s);

#endif
