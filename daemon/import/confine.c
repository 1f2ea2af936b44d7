#include "daemon/import/confine.h"
#include "engine/base/base.h"
#include "engine/base/log.h"
#include "proto/channel.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define FILES_MAX 16

const struct cf_rule imp_rules[] = {
#define RULE(call, classes, why, ...) CF_RULE(call, classes, why, ##__VA_ARGS__),
#include "daemon/import/calls.def"
#undef RULE
};
const size_t imp_rule_count = ARRAY_LEN(imp_rules);

res_code_t imp_confine(const char *word, struct err *err)
{
    CLEANUP(cf_filter_free) struct cf_filter filter = {0};
    struct cf_report report;
    struct err why;
    cf_begin(&report, word, PB_CHILD_FD + 3);
    res_code_t res = cf_filter_make(imp_rules, imp_rule_count, IMP_MAIN, &filter, &why);
    if (res && why.code == ERR_NO_MEMORY) {
        *err = why;
        return FAIL;
    }
    cf_confine(&report, &(struct cf_limits){FILES_MAX, 0, UINT64_MAX});
    if (!res)
        res = cf_filter_enter(&filter, &why);
    if (res) /* the daemon told of it when its workers started */
        log_debug("import without a filter: %s", why.text);
    return OK;
}
