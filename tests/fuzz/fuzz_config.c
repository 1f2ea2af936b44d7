// links: daemon/manager proto engine/base
/*
 * What vmd reads from its configuration file, and from those who ask for metrics. The first byte chooses the door: '0'
 * a request over HTTP, anything else (it belongs to the text) YAML.
 */
#include "daemon/manager/config.h"
#include "daemon/manager/http.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void http(const uint8_t *p, size_t n)
{
    struct mgr_http_request r = {0};
    unsigned status = mgr_http_parse((const char *)p, n, n & 1, &r);
    if (status == 200)
        ASSERT(r.path[0] == '/' && memchr(r.path, 0, sizeof r.path));
    if (n >= MGR_HTTP_HEAD_BYTES)
        ASSERT(status != 0); /* nobody is waited for without end */
}

static void yaml(const uint8_t *p, size_t n)
{
    struct mgr_config *c = NULL;
    struct mgr_problems problems = {0};
    struct err err;
    res_code_t rc = mgr_config_parse("fuzz", (const char *)p, n, &c, &problems, &err);
    ASSERT(!rc == !problems.count || err.code == ERR_NO_MEMORY);
    ASSERT(!rc == (c != NULL));
    unsigned lines = 0;
    for (size_t i = 0; i < problems.text.len; i++) {
        lines += problems.text.data[i] == '\n';
        ASSERT(problems.text.data[i] == '\n' || problems.text.data[i] >= 0x20);
    }
    ASSERT(lines == MIN(problems.count, (unsigned)MGR_CONFIG_PROBLEMS));
    if (c) { /* what was accepted is in its range */
        ASSERT(c->limits_vcpus >= 1 && c->limits_vcpus <= 16 && c->log_level <= 3);
        for (size_t i = 0; i < c->tenants_count; i++)
            ASSERT(c->tenants[i].name[0] && memchr(c->tenants[i].name, 0, 64));
        for (size_t i = 0; i < c->listen_count; i++)
            ASSERT(!*c->listen[i].unix_path != !*c->listen[i].tcp);
        mgr_config_free(c);
    }
    mgr_problems_fini(&problems);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    if (n && p[0] == '0')
        http(p + 1, n - 1);
    else
        yaml(p, n);
    return 0;
}
