/*
 * vmctl/config.h - $XDG_CONFIG_HOME/vmctl/config.yaml: contexts (daemons by name) and a few habits.
 *
 *     current: lab
 *     detach-keys: ctrl-p,ctrl-q
 *     contexts:
 *       lab:
 *         host: tcp+tls://lab.example:7443
 *         ca: /home/me/ca.pem
 *         cert: /home/me/me.pem
 *         key: /home/me/me.key
 *
 * Looks into: base, libyaml.  Used by: its own room.
 * Rules: (1) a file with an unknown key, a wrong type or a name twice is refused with its line; (2) it is written beside its place,
 * with mode 0600, fsynced and renamed.
 * Thread: one.
 */
#ifndef VMCTL_CONFIG_H
#define VMCTL_CONFIG_H

#include "engine/base/arena.h"
#include "engine/base/err.h"

#include <stddef.h>

#define CTL_CONTEXTS_MAX 1000

struct ctl_context {
    struct ctl_context *next;
    const char *name;
    const char *host, *ca, *cert, *key; /* NULL: not given */
};
struct ctl_config {
    struct arena arena; /* all of it lives there */
    char path[4096];
    const char *current, *detach_keys; /* NULL: not given */
    struct ctl_context *contexts;      /* in their order */
};
/* A file that is not there is an empty one. */
res_t ctl_config_load(struct ctl_config *c, struct err *err);
void ctl_config_fini(struct ctl_config *c);
/* From bytes; name stands in messages. */
res_t ctl_config_parse(struct ctl_config *c, const char *name, const void *p, size_t n,
                       struct err *err);
res_t ctl_config_save(const struct ctl_config *c, struct err *err);
struct ctl_context *ctl_config_find(const struct ctl_config *c, const char *name);
/* Behind the others. name is copied. Fails: ERR_NO_MEMORY, ERR_LIMIT. */
res_t ctl_config_add(struct ctl_config *c, const char *name, struct ctl_context **out,
                     struct err *err);

#endif
