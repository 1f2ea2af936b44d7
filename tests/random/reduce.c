#include "tests/random/reduce.h"

#include "engine/base/base.h"

#include <inttypes.h>
#include <stdio.h>

static void print_regs(const uint64_t x[32], const char *(*name)(unsigned number))
{
    unsigned n = 0;
    for (unsigned i = 0; i < 32; i++)
        if (x[i]) /* the others are 0 */
            printf("%s%-4s %#18" PRIx64, n++ % 4 == 0 ? "\n  " : "  ", name(i), x[i]);
}

void reduce_print(const struct gen_program *p, gva_t at)
{
    print_regs(p->r, isa_rv64_xreg_name);
    print_regs(p->f, isa_rv64_freg_name);
    printf("\n  frm %u fflags %u\n", p->frm, p->fflags);
    for (unsigned i = 0; i < p->count; i++) {
        struct isa_insn d;
        char text[64];
        isa_rv64_decode(p->insn[i].word, &d);
        if (d.op == ISA_RV64_ADDI && !d.rd && !d.rs1)
            continue;
        isa_rv64_disasm(&d, at + p->insn[i].off, text, sizeof text);
        printf("  %8" PRIx64 ": %0*x  %s\n", at + p->insn[i].off, p->insn[i].len * 2,
               p->insn[i].word, text);
    }
}

static uint32_t nop_of(unsigned len)
{
    return len == 2 ? 0x0001 : 0x00000013;
}

void reduce_program(struct gen_program *p, bool (*fails)(void *ctx, const struct gen_program *p),
                    void *ctx)
{
    for (unsigned chunk = p->count; chunk; chunk /= 2) {
        for (unsigned i = 0; i < p->count; i += chunk) {
            struct gen_program q = *p;
            for (unsigned k = i; k < MIN(i + chunk, p->count); k++)
                q.insn[k].word = nop_of(q.insn[k].len);
            if (fails(ctx, &q))
                *p = q;
        }
    }
    for (unsigned i = 0; i < 64; i++) {
        struct gen_program q = *p;
        *(i < 32 ? &q.r[i] : &q.f[i - 32]) = 0;
        if (fails(ctx, &q))
            *p = q;
    }
}
