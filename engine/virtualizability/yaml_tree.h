/*
 * virtualizability/yaml_tree.h - a YAML document as a tree with places. Only for the loader.
 *
 * Looks into: base, spec (limits), libyaml.
 *
 * Hostile bytes: at most PG_FILE_BYTES_MAX, PG_NODES_MAX nodes, PG_YAML_DEPTH_MAX levels; aliases are refused, so
 * the tree is no larger than the file. One document. Keys are unique.
 */
#ifndef VIRTUALIZABILITY_YAML_TREE_H
#define VIRTUALIZABILITY_YAML_TREE_H

#include "engine/virtualizability/sem.h"
#include "engine/virtualizability/spec.h"

enum pg_node_kind { PG_N_SCALAR, PG_N_LIST, PG_N_MAP };

struct pg_node {
    enum pg_node_kind kind;
    unsigned line, column; /* from 1 */
    const char *text;      /* scalar */
    bool plain, literal;   /* its style */
    struct pg_node *first, *last, *next;
    struct pg_node *key; /* in a map: the key of this value */
    uint32_t count;
};

struct pg_yaml {
    const char *file;
    const char *bytes;
    size_t size;
    struct arena *arena;
    struct pg_node *root;
    const char **lines; /* where each begins */
    size_t line_count;
};
res_t pg_yaml_parse(struct pg_yaml *y, struct err *err);

/* "FILE:LINE:COLUMN: ..." */
res_t pg_yaml_fail(const struct pg_yaml *y, const struct pg_node *at, struct err *err,
                   const char *fmt, ...) __attribute__((format(printf, 4, 5)));
struct pg_node *pg_yaml_get(const struct pg_node *map, const char *key); /* NULL: none */
/* Every key is one of keys (NULL-terminated); n is a map. where: "an instruction". */
res_t pg_yaml_keys(const struct pg_yaml *y, const struct pg_node *n, const char *where,
                   const char *const *keys, struct err *err);
res_t pg_yaml_number(const struct pg_yaml *y, const struct pg_node *n, uint64_t least,
                     uint64_t most, uint64_t *out, struct err *err);
/* n may be NULL: *out stays. */
res_t pg_yaml_string(const struct pg_yaml *y, const struct pg_node *n, const char **out,
                     struct err *err);
/* One scalar or a list of them. */
res_t pg_yaml_strings(const struct pg_yaml *y, const struct pg_node *n, const char ***out,
                      uint32_t *count, struct err *err);
bool pg_yaml_is_list(const struct pg_node *n);
/* Where a scalar's text stands. */
struct pg_text pg_yaml_text(const struct pg_yaml *y, const struct pg_node *n);

#endif
