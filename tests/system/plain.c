/* tests/system/plain.c - a worker without layers, for start.c to compare with (linked with --wrap). Never installed. */
#include "daemon/confine/confine.h"
#include "engine/base/base.h"

void __wrap_cf_confine(struct cf_report *r, const struct cf_limits *limits);
void __wrap_cf_confine(struct cf_report *r, const struct cf_limits *limits)
{
    (void)r;
    (void)limits;
}

res_code_t __wrap_cf_filter_make(const struct cf_rule *rules, size_t count, unsigned class_bit,
                                 struct cf_filter *f, struct err *err);
res_code_t __wrap_cf_filter_make(const struct cf_rule *rules, size_t count, unsigned class_bit,
                                 struct cf_filter *f, struct err *err)
{
    (void)rules;
    (void)count;
    (void)class_bit;
    (void)f;
    return err_set(err, ERR_OS, "left out");
}
