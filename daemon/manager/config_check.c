#include "daemon/manager/config_check.h"
#include "daemon/manager/config_value.h"
#include "engine/base/suggest.h"
#include "proto/paths.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ITEMS_MAX 10000 /* of one list */

struct check {
    const char *name;
    struct mgr_config *config;
    struct mgr_problems *problems;
    bool no_memory;
};

static const char *kind_name(const struct mgr_node *n)
{
    return n->kind == MGR_NODE_MAP    ? "a map"
           : n->kind == MGR_NODE_LIST ? "a list"
                                      : "a single value";
}

static void unfit(struct check *c, const struct mgr_key *k, const struct mgr_node *at,
                  const char *found)
{
    char expected[200];
    mgr_key_expected(k, expected, sizeof expected);
    mgr_problem(c->problems, c->name, at, "%s: %s; expected %s", k->name, found, expected);
}

static void *room(struct check *c, size_t bytes)
{
    void *p = arena_zalloc(&c->config->arena, bytes);
    c->no_memory |= !p;
    return p;
}

/* ---- single values ---- */

static void store_number(void *field, size_t size, uint64_t n)
{
    uint8_t small = (uint8_t)n;
    uint32_t middle = (uint32_t)n;
    memcpy(field, size == 1 ? (void *)&small : size == 4 ? (void *)&middle : (void *)&n, size);
}

static bool is_text(enum mgr_type t)
{
    return t == MGR_TEXT || t == MGR_PATH || t == MGR_NAME || t == MGR_ADDRESS;
}

static res_code_t check_text(const struct mgr_key *k, const char *text, struct err *err)
{
    char host[256];
    uint16_t port;
    if (!*text)
        return OK;
    if (k->type == MGR_PATH && *text != '/')
        return err_set(err, ERR_INVALID, "\"%.80s\" is not absolute", text);
    if (k->type == MGR_PATH && strlen(text) > (k->most ? k->most : PB_PATH_MAX - 300))
        return err_set(err, ERR_INVALID, "a path of %zu bytes is too long", strlen(text));
    if (k->type == MGR_NAME && !pb_guest_name_valid(text))
        return err_set(err, ERR_INVALID, "\"%.80s\" is no such name", text);
    if (k->type == MGR_ADDRESS)
        return mgr_value_address(text, host, &port, err);
    return OK;
}

/* Text into the field of `base`. Fails: ERR_INVALID. */
static res_code_t store(struct check *c, const struct mgr_key *k, void *base, const char *text,
                        struct err *err)
{
    void *field = (char *)base + k->offset;
    uint64_t n;
    if (is_text(k->type)) {
        if (check_text(k, text, err))
            return FAIL;
        if (k->type == MGR_NAME) { /* its rule bounds it below the field */
            snprintf(field, k->size, "%s", text);
            return OK;
        }
        char *copy = arena_strdup(&c->config->arena, text);
        c->no_memory |= !copy;
        memcpy(field, &copy, sizeof copy);
        return OK;
    }
    if (mgr_value_number(k, text, &n, err))
        return FAIL;
    store_number(field, k->size, n);
    return OK;
}

static void take_single(struct check *c, const struct mgr_key *k, const struct mgr_node *n,
                        void *base)
{
    struct err err;
    char found[500];
    if (n->kind != MGR_NODE_SCALAR)
        return unfit(c, k, n, kind_name(n));
    if (mgr_node_empty(n))
        return unfit(c, k, n, "it has no value (leave the key out for the default)");
    bool quoted_ok = is_text(k->type) || k->type == MGR_MODE || k->type == MGR_CHOICE ||
                     k->type == MGR_SIZE || k->type == MGR_TIME;
    if (!n->plain && !quoted_ok) {
        snprintf(found, sizeof found, "\"%.80s\" in quotes is a text", n->text);
        return unfit(c, k, n, found);
    }
    if (store(c, k, base, n->text, &err))
        unfit(c, k, n, err.text);
}

/* ---- lists of words ---- */

static void take_words(struct check *c, const struct mgr_key *k, const struct mgr_node *n,
                       void *base)
{
    size_t count = 0, at = 0;
    struct err err;
    if (mgr_node_empty(n))
        return;
    if (n->kind != MGR_NODE_LIST)
        return unfit(c, k, n, kind_name(n));
    for (const struct mgr_node *i = n->first; i; i = i->next)
        count++;
    bool users = k->type == MGR_USERS;
    void *items = room(c, (count ? count : 1) * (users ? sizeof(uint32_t) : sizeof(char *)));
    if (!items)
        return;
    for (const struct mgr_node *i = n->first; i; i = i->next) {
        if (i->kind != MGR_NODE_SCALAR || mgr_node_empty(i) || !*i->text)
            unfit(c, k, i, i->kind == MGR_NODE_SCALAR ? "an empty item" : kind_name(i));
        else if (users && mgr_value_user(i->text, (uint32_t *)items + at, &err))
            mgr_problem(c->problems, c->name, i, "%s: %s", k->name, err.text);
        else if (users || (((char **)items)[at] = arena_strdup(&c->config->arena, i->text)))
            at++;
        else
            c->no_memory = true;
    }
    memcpy((char *)base + k->offset, &items, sizeof items);
    memcpy((char *)base + k->count_offset, &at, sizeof at);
}

/* ---- maps ---- */

static void take_map(struct check *c, const char *owner, struct mgr_node *n, void *base);
static void set_defaults(struct check *c, const char *owner, void *base);

static void take_items(struct check *c, const struct mgr_key *k, const struct mgr_node *n,
                       void *base)
{
    size_t count = 0, at = 0;
    if (mgr_node_empty(n))
        return;
    if (n->kind != MGR_NODE_LIST)
        return unfit(c, k, n, kind_name(n));
    for (const struct mgr_node *i = n->first; i; i = i->next)
        count++;
    if (count > ITEMS_MAX) {
        mgr_problem(c->problems, c->name, n, "%s: %zu items; at most %d", k->name, count,
                    ITEMS_MAX);
        return;
    }
    char *items = room(c, (count ? count : 1) * k->size);
    if (!items)
        return;
    for (struct mgr_node *i = n->first; i; i = i->next) {
        if (i->kind != MGR_NODE_MAP) {
            unfit(c, k, i, kind_name(i));
            continue;
        }
        void *item = items + at++ * k->size;
        set_defaults(c, k->inner, item);
        take_map(c, k->inner, i, item);
    }
    memcpy((char *)base + k->offset, &items, sizeof items);
    memcpy((char *)base + k->count_offset, &at, sizeof at);
}

static void take(struct check *c, const struct mgr_key *k, struct mgr_node *n, void *base)
{
    if (k->type == MGR_ITEMS)
        take_items(c, k, n, base);
    else if (k->type == MGR_USERS || k->type == MGR_TEXTS)
        take_words(c, k, n, base);
    else if (k->type != MGR_MAP)
        take_single(c, k, n, base);
    else if (n->kind == MGR_NODE_MAP)
        take_map(c, k->inner, n, base);
    else if (!mgr_node_empty(n))
        unfit(c, k, n, kind_name(n));
}

/* A key of no table's: what was meant? Perhaps one of this map, perhaps one of another. */
static void unknown(struct check *c, const char *owner, const struct mgr_node *key)
{
    const char *known[64], *near;
    size_t count = 0;
    if (c->problems->count >= MGR_CONFIG_PROBLEMS) { /* nobody will read it, and looking costs */
        c->problems->count++;
        return;
    }
    for (const struct mgr_key *k = NULL; (k = mgr_key_next(owner, k)) && count < ARRAY_LEN(known);)
        known[count++] = k->name;
    if ((near = suggest(key->text, known, count))) {
        mgr_problem(c->problems, c->name, key, "unknown key \"%.80s\"; did you mean \"%s\"?",
                    key->text, near);
        return;
    }
    for (size_t i = 0; i < mgr_key_count; i++)
        if (!strcmp(mgr_keys[i].name, key->text) && mgr_key_find("", mgr_keys[i].owner)) {
            mgr_problem(c->problems, c->name, key,
                        "unknown key \"%s\" here; it belongs under \"%s\"", key->text,
                        mgr_keys[i].owner);
            return;
        }
    char list[400];
    size_t n = 0;
    for (size_t i = 0; i < count && n < sizeof list - 80; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", known[i]);
    mgr_problem(c->problems, c->name, key, "unknown key \"%.80s\"; expected one of %s", key->text,
                list);
}

/* The value of a key; later ones of the same name are problems. NULL: not there. */
static struct mgr_node *look_up(struct check *c, struct mgr_node *map, const char *name)
{
    struct mgr_node *found = NULL, *first = NULL;
    for (struct mgr_node *key = map->first; key; key = key->next->next) {
        if (key->kind != MGR_NODE_SCALAR || strcmp(key->text, name))
            continue;
        key->known = true;
        if (found)
            mgr_problem(c->problems, c->name, key, "key \"%s\" is there already, in line %u", name,
                        first->line);
        else
            found = (first = key)->next;
    }
    return found;
}

static void take_map(struct check *c, const char *owner, struct mgr_node *map, void *base)
{
    /* In the table's order: defaults of later keys may lean on earlier ones. */
    for (const struct mgr_key *k = NULL; (k = mgr_key_next(owner, k));) {
        struct mgr_node *value = look_up(c, map, k->name);
        if (value)
            take(c, k, value, base);
        else if (k->flags & MGR_REQUIRED)
            mgr_problem(c->problems, c->name, map, "\"%s\" is missing", k->name);
    }
    for (struct mgr_node *key = map->first; key; key = key->next->next) {
        if (key->kind != MGR_NODE_SCALAR)
            mgr_problem(c->problems, c->name, key, "%s cannot be a key", kind_name(key));
        else if (!key->known)
            unknown(c, owner, key);
    }
}

static void set_defaults(struct check *c, const char *owner, void *base)
{
    struct err err;
    for (const struct mgr_key *k = NULL; (k = mgr_key_next(owner, k));) {
        if (k->type == MGR_MAP)
            set_defaults(c, k->inner, base);
        else if (k->type == MGR_ITEMS || k->type == MGR_USERS || k->type == MGR_TEXTS)
            continue; /* empty */
        else if (!*k->def && !is_text(k->type))
            store_number((char *)base + k->offset, k->size, c->config->workers_isolation);
        else
            ASSERT(!store(c, k, base, k->def, &err));
    }
}

/* ---- what one key cannot know ---- */

static void check_listeners(struct check *c, const struct mgr_node *list)
{
    const struct mgr_node *at = list ? list->first : NULL;
    for (size_t i = 0; i < c->config->listen_count; i++, at = at ? at->next : NULL) {
        const struct mgr_listener_config *l = &c->config->listen[i];
        bool tls = *l->certificate && *l->key && *l->client_ca;
        bool any = *l->certificate || *l->key || *l->client_ca;
        if (!*l->unix_path == !*l->tcp)
            mgr_problem(c->problems, c->name, at, "listen: an item has either unix or tcp");
        else if (*l->tcp && !tls)
            mgr_problem(c->problems, c->name, at,
                        "listen: tcp %s needs certificate, key and client_ca (there is no TCP "
                        "without TLS)",
                        l->tcp);
        else if (*l->unix_path && any)
            mgr_problem(c->problems, c->name, at,
                        "listen: certificate, key and client_ca belong to tcp, not to unix");
    }
}

/* Nobody belongs to two tenants, and no two have one name. */
static void check_tenants(struct check *c, const struct mgr_node *list)
{
    const struct mgr_config *cfg = c->config;
    const struct mgr_node *at = list ? list->first : NULL;
    for (size_t i = 0; i < cfg->tenants_count; i++, at = at ? at->next : NULL) {
        const struct mgr_tenant_config *t = &cfg->tenants[i];
        for (size_t j = 0; j < i; j++) {
            const struct mgr_tenant_config *o = &cfg->tenants[j];
            if (!*t->name || !*o->name)
                continue; /* that was said */
            if (!strcmp(t->name, o->name))
                mgr_problem(c->problems, c->name, at, "tenants: \"%s\" is there twice", t->name);
            for (size_t a = 0; a < t->uid_count; a++)
                for (size_t b = 0; b < o->uid_count; b++)
                    if (t->uids[a] == o->uids[b])
                        mgr_problem(c->problems, c->name, at,
                                    "tenants: user %u is \"%s\"'s and \"%s\"'s", t->uids[a],
                                    o->name, t->name);
            for (size_t a = 0; a < t->certificate_count; a++)
                for (size_t b = 0; b < o->certificate_count; b++)
                    if (!strcmp(t->certificates[a], o->certificates[b]))
                        mgr_problem(c->problems, c->name, at,
                                    "tenants: certificate \"%s\" is \"%s\"'s and \"%s\"'s",
                                    t->certificates[a], o->name, t->name);
        }
    }
}

static const struct mgr_node *value_of(const struct mgr_node *map, const char *name)
{
    for (const struct mgr_node *k = map ? map->first : NULL; k; k = k->next->next)
        if (k->kind == MGR_NODE_SCALAR && !strcmp(k->text, name))
            return k->next->kind == MGR_NODE_LIST ? k->next : NULL;
    return NULL;
}

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return !strcmp(host, "localhost") || !strcmp(host, "::1");
}

res_code_t mgr_config_check_metrics(const char *listen, struct err *err)
{
    char host[256];
    uint16_t port;
    if (!*listen)
        return OK;
    if (!strncmp(listen, "unix:", 5))
        return listen[5] == '/' && strlen(listen) < 107
                   ? OK
                   : err_set(err, ERR_INVALID,
                             "\"%.80s\": an absolute path of at most 100 bytes is "
                             "wanted behind unix:",
                             listen);
    if (mgr_value_address(listen, host, &port, err))
        return FAIL;
    if (!is_loopback(host))
        return err_set(err, ERR_INVALID,
                       "\"%.80s\" is no loopback address; whoever connects reads every tenant's "
                       "figures",
                       listen);
    return OK;
}

res_code_t mgr_config_check(const char *name, struct mgr_node *root, struct mgr_config *config,
                            struct mgr_problems *problems, struct err *err)
{
    struct check c = {.name = name, .config = config, .problems = problems};
    struct err why;
    unsigned before = problems->count;
    set_defaults(&c, "", config);
    if (root && root->kind != MGR_NODE_MAP) {
        mgr_problem(problems, name, root, "%s; expected a map of keys", kind_name(root));
        root = NULL;
    }
    if (root)
        take_map(&c, "", root, config);
    if (c.no_memory)
        return err_set(err, ERR_NO_MEMORY, "no memory for the configuration");
    if (problems->count > before)
        return OK; /* what follows would only repeat it */
    check_listeners(&c, value_of(root, "listen"));
    if (config->tenants_count)
        check_tenants(&c, value_of(root, "tenants"));
    if (mgr_config_check_metrics(config->metrics_listen, &why))
        mgr_problem(problems, name, NULL, "metrics.listen: %s", why.text);
    return OK;
}

res_code_t mgr_config_set(struct mgr_config *config, const char *key, const char *value,
                          struct err *err)
{
    struct check c = {.name = "", .config = config};
    char section[64], expected[200];
    const char *dot = strchr(key, '.');
    ASSERT(dot && (size_t)(dot - key) < sizeof section);
    memcpy(section, key, (size_t)(dot - key));
    section[dot - key] = 0;
    const struct mgr_key *k = mgr_key_find(section, dot + 1);
    ASSERT(k);
    mgr_key_expected(k, expected, sizeof expected);
    if (store(&c, k, config, value, err) ||
        (!strcmp(key, "metrics.listen") && mgr_config_check_metrics(value, err))) {
        char text[200];
        snprintf(text, sizeof text, "%.190s", err->text);
        return err_set(err, ERR_INVALID, "%s; expected %s", text, expected);
    }
    return c.no_memory ? err_set(err, ERR_NO_MEMORY, "no memory for the configuration") : OK;
}
