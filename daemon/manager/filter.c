#include "daemon/manager/filter.h"
#include "engine/base/base.h"

#include <ctype.h>
#include <string.h>

static const char *const state_names[] = {"unspecified", "created",  "starting",
                                          "running",     "stopping", "ended",
                                          "failed",      "paused",   "restarting"};

const char *mgr_state_name(PbGuestState state)
{
    return state_names[(unsigned)state < ARRAY_LEN(state_names) ? state : 0];
}

struct reader {
    const char *text, *at;
    struct err *err;
};

static res_code_t expected(const struct reader *r, const char *what)
{
    return err_set(r->err, ERR_INVALID,
                   "filter, column %zu: %s was expected, \"%.20s\" stands there",
                   (size_t)(r->at - r->text) + 1, what, *r->at ? r->at : "the end");
}

static void skip_spaces(struct reader *r)
{
    while (*r->at == ' ' || *r->at == '\t')
        r->at++;
}

static bool field_known(const char *field)
{
    static const char *const fields[] = {"state", "name", "image", "tenant"};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (!strcmp(fields[i], field))
            return true;
    return !strncmp(field, "label.", 6) && field[6];
}

static res_code_t read_field(struct reader *r, struct mgr_term *t)
{
    size_t n = strcspn(r->at, "=! \t\"");
    if (n == 0 || n >= sizeof t->field)
        return expected(r, "state, name, image, tenant or label.KEY");
    memcpy(t->field, r->at, n);
    t->field[n] = 0;
    if (!field_known(t->field))
        return expected(r, "state, name, image, tenant or label.KEY");
    r->at += n;
    skip_spaces(r);
    t->negated = *r->at == '!';
    r->at += t->negated;
    if (*r->at != '=')
        return expected(r, "= or !=");
    r->at++;
    skip_spaces(r);
    return OK;
}

/* *: any characters. Linear: the last star is the only one that is tried again. */
static bool matches(const char *pattern, const char *s)
{
    const char *star = NULL, *retry = s;
    while (*s) {
        if (*pattern == '*') {
            star = pattern++;
            retry = s;
        } else if (*pattern == *s) {
            pattern++;
            s++;
        } else if (star) {
            pattern = star + 1;
            s = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

static bool some_state(const char *pattern)
{
    for (size_t i = 1; i < ARRAY_LEN(state_names); i++)
        if (matches(pattern, state_names[i]))
            return true;
    return false;
}

static res_code_t read_value(struct reader *r, struct mgr_term *t)
{
    bool quoted = *r->at == '"';
    r->at += quoted;
    size_t n = strcspn(r->at, quoted ? "\"" : " \t");
    if (quoted && r->at[n] != '"')
        return expected(r, "a closing quote");
    if (n >= sizeof t->value)
        return expected(r, "a shorter value");
    memcpy(t->value, r->at, n);
    t->value[n] = 0;
    if (!strcmp(t->field, "state") && !some_state(t->value))
        return expected(
            r, "created, starting, running, stopping, ended, failed, paused or restarting");
    r->at += n + quoted;
    return OK;
}

res_code_t mgr_filter_parse(struct mgr_filter *f, const char *text, struct err *err)
{
    struct reader r = {text, text, err};
    f->count = 0;
    skip_spaces(&r);
    while (*r.at) {
        if (f->count == MGR_FILTER_TERMS_MAX)
            return expected(&r, "the end, after 32 terms");
        struct mgr_term *t = &f->terms[f->count++];
        if (read_field(&r, t) || read_value(&r, t))
            return FAIL;
        skip_spaces(&r);
        if (!*r.at)
            break;
        if (strncasecmp(r.at, "and", 3) || (r.at[3] != ' ' && r.at[3] != '\t'))
            return expected(&r, "\"and\" or the end");
        r.at += 3;
        skip_spaces(&r);
        if (!*r.at)
            return expected(&r, "a term");
    }
    return OK;
}

static const char *value_of(const PbGuest *g, const char *field)
{
    if (!strcmp(field, "state"))
        return mgr_state_name(g->state);
    if (!strcmp(field, "name"))
        return g->name;
    if (!strcmp(field, "image"))
        return g->image;
    if (!strcmp(field, "tenant"))
        return g->tenant;
    for (size_t i = 0; i < g->n_labels; i++)
        if (!strcmp(g->labels[i]->key, field + 6))
            return g->labels[i]->value;
    return NULL;
}

bool mgr_filter_matches(const struct mgr_filter *f, const PbGuest *g)
{
    for (unsigned i = 0; i < f->count; i++) {
        const char *value = value_of(g, f->terms[i].field);
        if ((value && matches(f->terms[i].value, value)) == f->terms[i].negated)
            return false;
    }
    return true;
}
