#include "engine/isa/isa.h"
#include "engine/isa/isa_table.h"

#include "engine/base/base.h"

#include <string.h>

bool isa_rv64_decode(uint32_t word, struct isa_insn *d)
{
    bool is_long = (word & 3) == 3;
    *d = (struct isa_insn){.len = is_long ? 4 : 2, .raw = is_long ? word : word & 0xffff};
    return isa_rv64_match(word, d);
}

const struct isa_attr *isa_rv64_attr(uint16_t form)
{
    ASSERT(form < ISA_RV64_FORM_COUNT);
    return &isa_rv64_attrs[form];
}

uint16_t isa_rv64_form_by_name(const char *name)
{
    for (uint16_t i = 1; i < ISA_RV64_FORM_COUNT; i++)
        if (!strcmp(isa_rv64_attrs[i].name, name))
            return i;
    return ISA_RV64_ILLEGAL;
}
