/*
 * linux/elf.h - reads the head of a hostile ELF64 program: a pure function over bytes.
 *
 * Looks into: base.  Used by: exec.c, tests, the fuzzer.
 *
 * What comes out is safe to map: every segment lies inside the file and inside [LX_ELF_LOW, window_end), page offsets and
 * addresses agree, segments ascend and do not overlap, the entry lies in an executable segment.
 */
#ifndef LINUX_ELF_H
#define LINUX_ELF_H

#include "engine/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LX_ELF_HEAD_BYTES 64
#define LX_ELF_TABLE_MAX 65536 /* bytes of the program header table, as Linux */
#define LX_ELF_INTERP_MAX 4096
#define LX_ELF_LOW 0x10000u /* nothing is mapped below */

struct lx_elf_segment {
    uint64_t address, bytes;     /* in memory, relative to the load address if `relative` */
    uint64_t offset, file_bytes; /* in the file */
    int prot; /* MEM_R, MEM_W, MEM_X: the same bits as PF_X.. are turned into these */
};
struct lx_elf {
    bool relative; /* ET_DYN: may be loaded anywhere */
    uint64_t entry;
    uint64_t table_offset; /* program headers, in the file */
    uint32_t table_count;
    uint64_t table_address; /* AT_PHDR before the load address is added; 0: not loaded */
    uint64_t low, high;     /* page-rounded span of all segments */
    uint64_t interp_offset;
    uint32_t interp_bytes;           /* 0: none; else with its NUL */
    struct lx_elf_segment *segments; /* malloced */
    uint32_t segment_count;
};

/* First the head: says where the table is (table_offset, table_count) or refuses. */
res_t lx_elf_head(const void *head, size_t head_bytes, uint64_t file_bytes, uint16_t machine,
                  struct lx_elf *e, struct err *err);
/* Then the table's bytes (table_count * 56). window_end: no address may reach it. Fails: ERR_BAD_ELF; ERR_LIMIT: it is too big for the
 * window; ERR_NO_MEMORY. */
res_t lx_elf_table(const void *table, size_t table_bytes, uint64_t file_bytes, uint64_t window_end,
                   struct lx_elf *e, struct err *err);
void lx_elf_fini(struct lx_elf *e);

#endif
