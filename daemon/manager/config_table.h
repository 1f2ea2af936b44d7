/*
 * manager/config_table.h - config.def as data.
 * Looks into: base.  Used by: the configuration's parser, gen/tables.c.  Thread: any (constant).
 */
#ifndef MANAGER_CONFIG_TABLE_H
#define MANAGER_CONFIG_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mgr_type {
    MGR_BOOL,
    MGR_UINT,
    MGR_SIZE,
    MGR_TIME,
    MGR_CHOICE,
    MGR_MODE,
    MGR_TEXT,
    MGR_PATH,
    MGR_NAME,
    MGR_ADDRESS,
    MGR_USERS,
    MGR_TEXTS,
    MGR_MAP,  /* a section or group; its keys share the struct */
    MGR_ITEMS /* a list of maps */
};
enum { MGR_RELOAD = 1, MGR_RESTART = 2, MGR_NONE = 4, MGR_REQUIRED = 8 };

struct mgr_key {
    const char *owner; /* name of the map that it is a key of; "" at the top */
    const char *name;
    enum mgr_type type;
    size_t offset;       /* of the field in its struct */
    size_t size;         /* of the field */
    size_t count_offset; /* lists: of the number of items */
    const char *def;     /* as the file would have it; "": empty or unset */
    uint64_t least, most;
    unsigned flags;
    const char *choices; /* "a|b|c" */
    const char *example; /* NULL: the default will do */
    const char *help;
    const char *inner; /* MAP, ITEMS: owner of its keys */
};
extern const struct mgr_key mgr_keys[];
extern const size_t mgr_key_count;

/* The next key of `owner` after `k` (NULL: the first); NULL: no more. */
const struct mgr_key *mgr_key_next(const char *owner, const struct mgr_key *k);
const struct mgr_key *mgr_key_find(const char *owner, const char *name);
/* What a value may be, for people: "a size, 1M to 1T, as 64M". */
void mgr_key_expected(const struct mgr_key *k, char *out, size_t cap);
/* 65536 as "64K"; 90000000000 as "90s". */
void mgr_size_text(uint64_t bytes, char out[32]);
void mgr_time_text(uint64_t ns, char out[32]);

#endif
