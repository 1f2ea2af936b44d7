/*
 * guest/riscv/lift_fp.c - F and D into micro-ops.
 */
#include "engine/guest/riscv/lift.h"

bool rv_lift_fp(struct rv_lift *x)
{
    (void)x;
    return false;
}
