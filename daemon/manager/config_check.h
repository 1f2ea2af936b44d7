/*
 * manager/config_check.h - a tree of nodes against the table of keys: what fits goes into the struct, the rest becomes problems.
 * Looks into: base.  Used by: the configuration.  Thread: any.
 */
#ifndef MANAGER_CONFIG_CHECK_H
#define MANAGER_CONFIG_CHECK_H

#include "daemon/manager/config_table.h"
#include "daemon/manager/config_yaml.h"

/* Every field gets its default, then what the tree (NULL: nothing) says. Fails: ERR_NO_MEMORY; what is wrong in the tree is
 * no failure here: it is counted in problems. */
res_t mgr_config_check(const char *name, struct mgr_node *root, struct mgr_config *config,
                       struct mgr_problems *problems, struct err *err);
/* One value by its full key, "log.level". Fails: ERR_INVALID, the text names the value and what was expected. */
res_t mgr_config_set(struct mgr_config *config, const char *key, const char *value,
                     struct err *err);

/* Where metrics may be listened for: "", unix:PATH, a loopback HOST:PORT. Fails: ERR_INVALID. */
res_t mgr_config_check_metrics(const char *listen, struct err *err);

#endif
