#include "engine/cpu/vcpu.h"

#include <string.h>
#include <sys/mman.h>

#define STATE_BYTES ALIGN_UP(sizeof(struct vcpu), PAGE_SIZE)
#define WHOLE_BYTES (PAGE_SIZE + VCPU_STACK_BYTES + STATE_BYTES)

res_code_t cpu_vcpu_new(struct vcpu **v, struct err *err)
{
    char *p = mmap(NULL, WHOLE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return err_set_os(err, "vCPU state");
    if (mprotect(p + PAGE_SIZE, WHOLE_BYTES - PAGE_SIZE, PROT_READ | PROT_WRITE) < 0) {
        res_code_t rc = err_set_os(err, "vCPU state");
        munmap(p, WHOLE_BYTES);
        return rc;
    }
    struct vcpu *state = (struct vcpu *)(p + PAGE_SIZE + VCPU_STACK_BYTES);
    state->mxcsr = CPU_MXCSR_INIT;
    state->res_addr = CPU_RES_NONE;
    *v = state;
    return OK;
}

void cpu_vcpu_free(struct vcpu *v)
{
    if (v)
        munmap((char *)v - VCPU_STACK_BYTES - PAGE_SIZE, WHOLE_BYTES);
}

#define REGS_BYTES sizeof(struct cpu_regs)
_Static_assert(offsetof(struct vcpu, frm) + 4 - offsetof(struct vcpu, r) == REGS_BYTES, "one layout");

void cpu_regs_load(struct vcpu *v, const struct cpu_regs *regs)
{
    memcpy(v->r, regs, REGS_BYTES);
    v->res_addr = CPU_RES_NONE;
}

void cpu_regs_store(const struct vcpu *v, struct cpu_regs *regs)
{
    memcpy(regs, v->r, REGS_BYTES);
}
