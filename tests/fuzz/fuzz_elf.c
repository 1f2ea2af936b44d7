// links: engine/linux engine/base
/*
 * Any bytes as an ELF program: the reader may refuse, but what it accepts keeps the promises of engine/linux/elf.h.
 * Seeds: corpus/elf (heads and tables of small riscv64 programs, and refusals).
 */
#include "engine/base/base.h"
#include "engine/linux/elf.h"

#include <stdlib.h>
#include <string.h>

#define MACHINE_RISCV 243
#define WINDOW_END (((uint64_t)1 << 36) - ((uint64_t)1 << 30))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct lx_elf *e, uint64_t file_bytes)
{
    bool entry = false;
    uint64_t end = 0;
    ASSERT(e->segment_count > 0 && e->segment_count <= e->table_count);
    for (uint32_t i = 0; i < e->segment_count; i++) {
        const struct lx_elf_segment *s = &e->segments[i];
        ASSERT(s->bytes > 0 && s->file_bytes <= s->bytes);
        ASSERT(s->offset <= file_bytes && s->file_bytes <= file_bytes - s->offset);
        ASSERT(s->address >= end && (e->relative || s->address >= LX_ELF_LOW));
        ASSERT(s->address + s->bytes <= WINDOW_END && !((s->address ^ s->offset) & 4095));
        ASSERT(!(s->prot & ~7));
        end = s->address + s->bytes;
        entry |= (s->prot & 4) && e->entry >= s->address && e->entry < end;
    }
    ASSERT(entry && e->low <= e->segments[0].address && e->high >= end && e->high <= WINDOW_END);
    ASSERT(!(e->low & 4095) && !(e->high & 4095));
    if (e->interp_bytes)
        ASSERT(e->interp_bytes <= LX_ELF_INTERP_MAX &&
               e->interp_offset + e->interp_bytes <= file_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lx_elf e;
    struct err err = {0};
    /* The last 8 bytes say how long the file pretends to be, so that 100 GB files need no seeds of that size. */
    uint64_t file_bytes = size;
    if (size >= 72)
        memcpy(&file_bytes, data + size - 8, 8);
    if (lx_elf_head(data, MIN(size, (size_t)LX_ELF_HEAD_BYTES), file_bytes, MACHINE_RISCV, &e,
                    &err)) {
        ASSERT(err.text[0]);
        return 0;
    }
    size_t want = (size_t)e.table_count * 56,
           have = e.table_offset < size ? size - e.table_offset : 0;
    uint8_t *table = malloc(MIN(want, have) + 1); /* its own allocation: sanitizers see the end */
    ASSERT(table);
    if (have)
        memcpy(table, data + e.table_offset, MIN(want, have));
    if (lx_elf_table(table, MIN(want, have), file_bytes, WINDOW_END, &e, &err)) {
        ASSERT(err.text[0] && !e.segments);
    } else {
        check(&e, file_bytes);
        lx_elf_fini(&e);
        ASSERT(!e.segments);
    }
    free(table);
    return 0;
}
