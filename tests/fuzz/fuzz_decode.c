// links: engine/isa engine/base
/* Arbitrary bytes as RISC-V code: decode, print and encode again, at every parcel. */
#include "engine/base/base.h"
#include "engine/isa/isa.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const struct isa_insn *d, uint64_t pc)
{
    char whole[64], cut[64];
    size_t n = isa_rv64_disasm(d, pc, whole, sizeof whole);
    ASSERT(n && n < sizeof whole && strlen(whole) == n);
    size_t small = (size_t)(d->raw % (n + 1));
    ASSERT(isa_rv64_disasm(d, pc, cut, small) == n);
    ASSERT(!small || (strlen(cut) == small - 1 && !memcmp(cut, whole, small - 1)));
}

static void check_operands(const struct isa_insn *d)
{
    const struct isa_attr *a = isa_rv64_attr(d->form);
    uint32_t word;
    struct isa_insn again;
    ASSERT(d->rd < 32 && d->rs1 < 32 && d->rs2 < 32 && d->rs3 < 32);
    ASSERT(d->op == a->op && d->op < ISA_RV64_OP_COUNT && d->len == a->len);
    ASSERT(!a->uses_rm || d->rm <= 4 || d->rm == ISA_RV64_RM_DYN);
    ASSERT(isa_rv64_encode(d, &word));
    ASSERT(isa_rv64_decode(word, &again));
    /* raw may differ in ignored bits */
    ASSERT(again.form == d->form && again.rd == d->rd && again.rs1 == d->rs1 && again.rs2 == d->rs2);
    ASSERT(again.rs3 == d->rs3 && again.rm == d->rm && again.aqrl == d->aqrl && again.imm == d->imm);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t at = 0; at + 2 <= size; at += 2) {
        uint32_t word = 0;
        struct isa_insn d;
        memcpy(&word, data + at, size - at < 4 ? 2 : 4);
        bool legal = isa_rv64_decode(word, &d);
        ASSERT(legal == (d.op != ISA_RV64_ILLEGAL) && d.len == isa_rv64_length((uint16_t)word));
        check_text(&d, at);
        if (legal)
            check_operands(&d);
    }
    return 0;
}
