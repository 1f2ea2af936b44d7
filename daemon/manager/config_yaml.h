/*
 * manager/config_yaml.h - a YAML text as a tree of nodes with places, within limits.
 *
 * Looks into: base.  Used by: the configuration.
 *
 * Refused: aliases, anchors, tags, a second document, NUL bytes, more than MGR_CONFIG_BYTES, MGR_CONFIG_DEPTH, MGR_CONFIG_NODES.
 * Thread: any; one tree, one thread.
 */
#ifndef MANAGER_CONFIG_YAML_H
#define MANAGER_CONFIG_YAML_H

#include "daemon/manager/config.h"

struct mgr_node {
    enum { MGR_NODE_SCALAR, MGR_NODE_MAP, MGR_NODE_LIST } kind;
    unsigned line, column;         /* from 1 */
    bool plain;                    /* scalar: written without quotes */
    bool known;                    /* key of a map: somebody asked for it */
    const char *text;              /* scalar */
    struct mgr_node *first, *last; /* map: key, value, key, value...; list: items */
    struct mgr_node *next;
};

/* `root` stays NULL for an empty text. Fails: ERR_INVALID (one problem was added), ERR_NO_MEMORY. */
res_t mgr_yaml_read(const char *name, const char *text, size_t n, struct arena *arena,
                    struct mgr_node **root, struct mgr_problems *problems, struct err *err);
/* One more thing that is wrong. at NULL: with the file as a whole. */
void mgr_problem(struct mgr_problems *p, const char *name, const struct mgr_node *at,
                 const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* A plain "null", "~" or nothing: the key is there, a value is not. */
bool mgr_node_empty(const struct mgr_node *n);

#endif
