/*
 * virtualizability/spec_load.h - the parts of the loader. Only for spec.c, spec_machine.c, spec_insn.c.
 *
 * Looks into: base, spec, yaml_tree.
 */
#ifndef VIRTUALIZABILITY_SPEC_LOAD_H
#define VIRTUALIZABILITY_SPEC_LOAD_H

#include "engine/virtualizability/yaml_tree.h"

struct pg_load {
    struct pg_yaml y;
    struct pg_spec *spec;
    struct err *err;
};
res_t pg_load_machine(struct pg_load *l, const struct pg_node *machine);
res_t pg_load_insns(struct pg_load *l, const struct pg_node *list);

#define PG_TRY(x)        \
    do {                 \
        if ((x) != OK)   \
            return FAIL; \
    } while (0)

#endif
