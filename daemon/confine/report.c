#include "daemon/confine/confine.h"
#include "engine/base/base.h"

#include <stdio.h>

const struct cf_layer_text cf_layers[CF_LAYER_COUNT] = {
#define LAYER(id, name, stops, adds) [CF_##id] = {name, stops, adds},
#include "daemon/confine/layers.def"
#undef LAYER
};

bool cf_rule_matches(const struct cf_rule *rule, const uint64_t args[6])
{
    for (unsigned i = 0; i < rule->cond_count; i++) {
        const struct cf_cond *c = &rule->conds[i];
        uint64_t a = args[c->arg];
        bool holds = c->op == CF_EQ     ? a == c->value
                     : c->op == CF_MASK ? (a & c->mask) == c->value
                                        : a > c->value && a < CF_FD_END;
        if (!holds)
            return false;
    }
    return true;
}

void cf_note_filter(struct cf_report *r, res_code_t res, const struct err *why)
{
    struct cf_state *s = &r->layer[CF_SECCOMP];
    s->active = res == OK;
    snprintf(s->why_not, sizeof s->why_not, "%.119s", res ? why->text : "");
}
