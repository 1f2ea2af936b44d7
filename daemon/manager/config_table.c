#include "daemon/manager/config_table.h"
#include "daemon/manager/config.h"

#include <stdio.h>
#include <string.h>

#define MGR_STRUCT_LISTENER struct mgr_listener_config
#define MGR_STRUCT_TENANT struct mgr_tenant_config
#define MGR_STRUCT_QUOTAS struct mgr_tenant_config

#define MGR_NAMED_BOOL(n) n
#define MGR_NAMED_UINT(n) n
#define MGR_NAMED_SIZE(n) n##_bytes
#define MGR_NAMED_TIME(n) n##_ns
#define MGR_NAMED_CHOICE(n) n
#define MGR_NAMED_TEXT(n) n
#define MGR_NAMED_PATH(n) n

#define RELOAD MGR_RELOAD
#define RESTART MGR_RESTART
#define NONE MGR_NONE
#define REQUIRED MGR_REQUIRED
#define SIZE_OF(type, field) sizeof(((type *)0)->field)

const struct mgr_key mgr_keys[] = {
#define MGR_SECTION(n, what) {.owner = "", .name = #n, .type = MGR_MAP, .inner = #n, .help = what},
#define MGR_KEY(section, n, t, d, lo, hi, f, c, x, what)                  \
    {.owner = #section,                                                   \
     .name = #n,                                                          \
     .type = MGR_##t,                                                     \
     .offset = offsetof(struct mgr_config, MGR_NAMED_##t(section##_##n)), \
     .size = SIZE_OF(struct mgr_config, MGR_NAMED_##t(section##_##n)),    \
     .def = d,                                                            \
     .least = lo,                                                         \
     .most = hi,                                                          \
     .flags = f,                                                          \
     .choices = c,                                                        \
     .example = x,                                                        \
     .help = what},
#define MGR_LIST(n, item, what)                              \
    {.owner = "",                                            \
     .name = #n,                                             \
     .type = MGR_ITEMS,                                      \
     .offset = offsetof(struct mgr_config, n),               \
     .size = sizeof(MGR_STRUCT_##item),                      \
     .count_offset = offsetof(struct mgr_config, n##_count), \
     .inner = #item,                                         \
     .help = what},
#define MGR_GROUP(item, n, group, what) \
    {.owner = #item, .name = #n, .type = MGR_MAP, .inner = #group, .help = what},
#define MGR_ITEM(item, n, t, field, count, d, lo, hi, f, c, x, what) \
    {.owner = #item,                                                 \
     .name = #n,                                                     \
     .type = MGR_##t,                                                \
     .offset = offsetof(MGR_STRUCT_##item, field),                   \
     .size = SIZE_OF(MGR_STRUCT_##item, field),                      \
     .count_offset = offsetof(MGR_STRUCT_##item, count),             \
     .def = d,                                                       \
     .least = lo,                                                    \
     .most = hi,                                                     \
     .flags = f,                                                     \
     .choices = c,                                                   \
     .example = x,                                                   \
     .help = what},
#include "daemon/manager/config.def"
};
const size_t mgr_key_count = ARRAY_LEN(mgr_keys);

const struct mgr_key *mgr_key_next(const char *owner, const struct mgr_key *k)
{
    for (k = k ? k + 1 : mgr_keys; k < mgr_keys + mgr_key_count; k++)
        if (!strcmp(k->owner, owner))
            return k;
    return NULL;
}

const struct mgr_key *mgr_key_find(const char *owner, const char *name)
{
    for (const struct mgr_key *k = NULL; (k = mgr_key_next(owner, k));)
        if (!strcmp(k->name, name))
            return k;
    return NULL;
}

void mgr_size_text(uint64_t bytes, char out[32])
{
    unsigned unit = 0;
    while (bytes && bytes % 1024 == 0 && unit < 4) {
        bytes /= 1024;
        unit++;
    }
    snprintf(out, 32, unit ? "%llu%c" : "%llu", (unsigned long long)bytes, " KMGT"[unit]);
}

void mgr_time_text(uint64_t ns, char out[32])
{
    static const struct {
        uint64_t ns;
        const char *name;
    } units[] = {{86400000000000, "d"}, {3600000000000, "h"}, {60000000000, "m"}, {1000000000, "s"},
                 {1000000, "ms"},       {1000, "us"},         {1, "ns"}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (ns && ns % units[i].ns == 0) {
            snprintf(out, 32, "%llu%s", (unsigned long long)(ns / units[i].ns), units[i].name);
            return;
        }
    snprintf(out, 32, "0s");
}

static void range_text(const struct mgr_key *k, void (*text)(uint64_t, char[32]), char *out,
                       size_t cap)
{
    char least[32], most[32];
    text(k->least, least);
    text(k->most, most);
    if (k->least && k->most != UINT64_MAX)
        snprintf(out, cap, ", %s to %s", least, most);
    else if (k->least)
        snprintf(out, cap, ", at least %s", least);
    else if (k->most != UINT64_MAX)
        snprintf(out, cap, ", at most %s", most);
    else
        out[0] = 0;
}

static void number_text(uint64_t n, char out[32])
{
    snprintf(out, 32, "%llu", (unsigned long long)n);
}

/* "a|b|c" as "a, b or c". */
static void choices_text(const char *choices, char *out, size_t cap)
{
    size_t at = 0;
    for (const char *s = choices; *s && at + 8 < cap; s++) {
        if (*s != '|')
            out[at++] = *s;
        else
            at += (size_t)snprintf(out + at, cap - at, "%s", strchr(s + 1, '|') ? ", " : " or ");
    }
    out[at] = 0;
}

void mgr_key_expected(const struct mgr_key *k, char *out, size_t cap)
{
    static const char *const fixed[] = {
        [MGR_BOOL] = "true or false",
        [MGR_MODE] = "a file mode as \"0660\", at most 0777",
        [MGR_TEXT] = "a text",
        [MGR_PATH] = "an absolute path",
        [MGR_NAME] = "1-63 of a-z 0-9 . _ -, a letter or digit first",
        [MGR_ADDRESS] = "HOST:PORT or [IPV6]:PORT",
        [MGR_USERS] = "a list of user names and numbers",
        [MGR_TEXTS] = "a list of texts",
        [MGR_MAP] = "a map of keys",
        [MGR_ITEMS] = "a list of maps",
    };
    char range[80], choices[200];
    const char *none = k->flags & MGR_NONE ? ", or none" : "";
    switch (k->type) {
    case MGR_UINT:
        range_text(k, number_text, range, sizeof range);
        snprintf(out, cap, "a whole number%s%s", range, none);
        break;
    case MGR_SIZE:
        range_text(k, mgr_size_text, range, sizeof range);
        snprintf(out, cap, "a size as 64M (K, M, G, T)%s%s", range, none);
        break;
    case MGR_TIME:
        range_text(k, mgr_time_text, range, sizeof range);
        snprintf(out, cap, "a time as 10s (ms, s, m, h, d)%s%s", range, none);
        break;
    case MGR_CHOICE:
        choices_text(k->choices, choices, sizeof choices);
        snprintf(out, cap, "%s", choices);
        break;
    default:
        snprintf(out, cap, "%s", fixed[k->type]);
        break;
    }
}
