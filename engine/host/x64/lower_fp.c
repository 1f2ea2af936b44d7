#include "engine/host/x64/lower.h"
void x64_lower_fp(struct x64_ctx *x, const struct ir_op *o)
{
    (void)x;
    (void)o;
    UNREACHABLE();
}
void x64_cold_fp(struct x64_ctx *x, const struct x64_cold *k)
{
    (void)x;
    (void)k;
    UNREACHABLE();
}
