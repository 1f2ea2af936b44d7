#include "daemon/worker/confine.h"
#include "engine/base/base.h"
#include "engine/base/log.h"
#include "engine/base/os.h"
#include "proto/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FILES_MAX 512   /* 12 guests with an image, two memory objects and what comes and goes */
#define THREADS_MAX 256 /* 12 guests with 16 vCPUs and a translator, a ticker, the loop */

const struct cf_rule wk_rules[] = {
#define RULE(call, classes, why, ...) CF_RULE(call, classes, why, ##__VA_ARGS__),
#define REFUSE(call, error, classes, why) CF_REFUSE(call, error, classes, why),
#include "daemon/worker/calls.def"
#undef RULE
#undef REFUSE
};
const size_t wk_rule_count = ARRAY_LEN(wk_rules);

static struct cf_report report;
static struct cf_filter vcpu_filter, helper_filter;

static void on_abort(int sig)
{
    (void)sig;
    _exit(WK_EXIT_ABORT);
}

void wk_confine_begin(int argc, char **argv)
{
    cf_begin(&report, argc > 1 ? argv[1] : NULL, PB_CHILD_FD + 2);
    signal(SIGABRT, on_abort);
}

static void on_thread(enum os_thread_kind kind)
{
    const struct cf_filter *f = kind == OS_THREAD_VCPU ? &vcpu_filter : &helper_filter;
    struct err err;
    if (cf_filter_enter(f, &err)) {
        log_error("a thread cannot be confined: %s", err.text);
        _exit(1);
    }
}

static res_code_t make_filters(struct cf_filter *loop, struct err *err)
{
    return cf_filter_make(wk_rules, wk_rule_count, WK_ALL, loop, err) ||
                   cf_filter_make(wk_rules, wk_rule_count, WK_VCPU, &vcpu_filter, err) ||
                   cf_filter_make(wk_rules, wk_rule_count, WK_HELPER, &helper_filter, err)
               ? FAIL
               : OK;
}

res_code_t wk_confine(PbWorkerHello *hello, struct err *err)
{
    static PbLayer layers[CF_LAYER_COUNT], *pointers[CF_LAYER_COUNT];
    CLEANUP(cf_filter_free) struct cf_filter loop = {0};
    struct err why;
    res_code_t res = make_filters(&loop, &why);
    if (res && why.code == ERR_NO_MEMORY) {
        *err = why;
        return FAIL;
    }
    cf_confine(&report, &(struct cf_limits){FILES_MAX, THREADS_MAX, UINT64_MAX});
    if (!res)
        res = cf_filter_enter(&loop, &why);
    if (!res)
        os_on_thread(on_thread);
    cf_note_filter(&report, res, &why);
    for (unsigned i = 0; i < CF_LAYER_COUNT; i++) {
        layers[i] = (PbLayer)PB_LAYER__INIT;
        layers[i].name = (char *)(uintptr_t)cf_layers[i].name;
        layers[i].active = report.layer[i].active;
        layers[i].why_not = report.layer[i].why_not;
        pointers[i] = &layers[i];
    }
    hello->layers = pointers;
    hello->n_layers = CF_LAYER_COUNT;
    return OK;
}
