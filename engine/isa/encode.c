/* From operands back to bits: the encoder and the random generator. */
#include "engine/isa/isa.h"
#include "engine/isa/isa_table.h"

#include "engine/base/base.h"
#include "engine/base/os.h"

static uint32_t field_bits(const struct isa_field *f, uint32_t raw)
{
    uint32_t word = 0;
    for (unsigned i = f->seg_count; i-- > 0;) { /* least significant segment first */
        unsigned width = f->segs[i].hi - f->segs[i].lo + 1u;
        word |= (uint32_t)(raw & ((1ull << width) - 1)) << f->segs[i].lo;
        raw = width < 32 ? raw >> width : 0;
    }
    return word;
}

static uint32_t field_mask(const struct isa_field *f)
{
    return field_bits(f, ~0u);
}

static bool excepted(const struct isa_field *f, uint32_t raw)
{
    for (unsigned i = 0; i < f->except_count; i++)
        if (f->except[i] == raw)
            return true;
    return false;
}

static int64_t slot_value(const struct isa_insn *d, uint8_t slot)
{
    switch (slot) {
    case ISA_SLOT_RD:
        return d->rd;
    case ISA_SLOT_RS1:
        return d->rs1;
    case ISA_SLOT_RS2:
        return d->rs2;
    case ISA_SLOT_RS3:
        return d->rs3;
    case ISA_SLOT_RM:
        return d->rm;
    case ISA_SLOT_AQRL:
        return d->aqrl;
    default:
        return d->imm;
    }
}

/* The raw bits of a value, if the field can hold it. */
static bool field_raw(const struct isa_field *f, int64_t value, uint32_t *raw)
{
    int64_t v = value;
    if (f->kind == ISA_KIND_X8 || f->kind == ISA_KIND_F8)
        v -= 8;
    if (v & ((1ll << f->shift) - 1))
        return false;
    v >>= f->shift;
    int64_t low = f->kind == ISA_KIND_S ? -(1ll << (f->bits - 1)) : 0;
    int64_t high = f->kind == ISA_KIND_S ? (1ll << (f->bits - 1)) - 1 : (1ll << f->bits) - 1;
    if (v < low || v > high)
        return false;
    *raw = (uint32_t)((uint64_t)v & ((1ull << f->bits) - 1));
    return !excepted(f, *raw);
}

bool isa_rv64_encode(const struct isa_insn *d, uint32_t *word)
{
    if (!d->form || d->form >= ISA_RV64_FORM_COUNT)
        return false;
    const struct isa_form *form = &isa_rv64_forms[d->form];
    uint32_t w = form->match, done = 0;
    for (unsigned i = 0; i < form->field_count; i++) {
        const struct isa_field *f = form->fields[i];
        uint32_t raw, mask = field_mask(f);
        if (!field_raw(f, slot_value(d, f->slot), &raw))
            return false;
        uint32_t bits = field_bits(f, raw);
        if ((w ^ bits) & mask & done) /* rd and rs1 of c.addi are one field and must agree */
            return false;
        w |= bits;
        done |= mask;
    }
    /* What the form holds fixed (sp of c.lwsp) must be what d asks for. */
    struct isa_insn back;
    if (!isa_rv64_decode(w, &back) || back.form != d->form)
        return false;
    if (back.rd != d->rd || back.rs1 != d->rs1 || back.rs2 != d->rs2 || back.rs3 != d->rs3 ||
        back.imm != d->imm)
        return false;
    *word = w;
    return true;
}

static uint32_t random_csr(struct rng *rng)
{
    static const uint16_t known[] = {0x001, 0x002, 0x003, 0x001, 0x002, 0x003, 0xc00, 0xc01, 0xc02};
    uint64_t n = rng_below(rng, ARRAY_LEN(known) + 1);
    return n < ARRAY_LEN(known) ? known[n] : (uint32_t)rng_below(rng, 4096);
}

static uint32_t random_raw(struct rng *rng, const struct isa_form *form, const struct isa_field *f)
{
    uint64_t all = (1ull << f->bits) - 1;
    (void)form;
    if (f->kind == ISA_KIND_U && f->slot == ISA_SLOT_IMM && f->bits == 12 &&
        (form->match & 0x7f) == 0x73)
        return random_csr(rng);
    if (rng_below(rng, 3))
        return (uint32_t)(rng_next(rng) & all);
    switch (rng_below(rng, 6)) {
    case 0:
        return 0;
    case 1:
        return 1;
    case 2:
        return (uint32_t)all; /* -1, or the last register */
    case 3:
        return (uint32_t)(all >> 1); /* the largest positive */
    case 4:
        return (uint32_t)(all >> 1) + 1; /* the smallest negative */
    default:
        return (uint32_t)(1ull << rng_below(rng, f->bits));
    }
}

uint32_t isa_rv64_random(struct rng *rng, uint16_t number)
{
    ASSERT(number > 0 && number < ISA_RV64_FORM_COUNT);
    const struct isa_form *form = &isa_rv64_forms[number];
    uint32_t w = form->match, done = 0;
    for (unsigned i = 0; i < form->field_count; i++) {
        const struct isa_field *f = form->fields[i];
        uint32_t mask = field_mask(f), raw;
        do {
            raw = random_raw(rng, form, f);
        } while (excepted(f, raw));
        if (mask & done) {
            /* One field seen through two slots: the stricter one (crd.nz of c.addi) is named first. */
            ASSERT((mask & done) == mask);
            continue;
        }
        w |= field_bits(f, raw);
        done |= mask;
    }
    return w;
}
