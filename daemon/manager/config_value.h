/*
 * manager/config_value.h - the words of a configuration: sizes, times, choices, addresses.
 * Looks into: base.  Used by: the configuration, metrics.  Thread: any.
 */
#ifndef MANAGER_CONFIG_VALUE_H
#define MANAGER_CONFIG_VALUE_H

#include "daemon/manager/config_table.h"
#include "engine/base/err.h"

/* Number, size, time, choice or mode as key `k` has it; ranges are checked. Fails: ERR_INVALID, the text says what was wrong, not
 * what was expected. */
res_t mgr_value_number(const struct mgr_key *k, const char *text, uint64_t *out, struct err *err);
/* Host and port of "host:port", "[v6]:port" or ":port" (host ""); port 0 is the kernel's choice; host has room for 256 bytes. Fails: ERR_INVALID. */
res_t mgr_value_address(const char *text, char host[256], uint16_t *port, struct err *err);
/* A user's number, from a number or a name of this machine. Fails: ERR_NOT_FOUND. */
res_t mgr_value_user(const char *text, uint32_t *uid, struct err *err);

#endif
