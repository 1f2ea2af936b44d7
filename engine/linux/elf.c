#include "engine/linux/elf.h"
#include "engine/base/base.h"
#include "engine/base/buf.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

/* engine/memory's bits, which this pure reader does not include. */
enum { PROT_BIT_R = 1, PROT_BIT_W = 2, PROT_BIT_X = 4 };

res_t lx_elf_head(const void *head, size_t n, uint64_t file_bytes, uint16_t machine,
                  struct lx_elf *e, struct err *err)
{
    Elf64_Ehdr h;
    memset(e, 0, sizeof *e);
    if (n < 4 || memcmp(head, ELFMAG, SELFMAG))
        return err_set(err, ERR_BAD_ELF, "not an ELF file (it does not begin with 7f 45 4c 46)");
    if (n < sizeof h)
        return err_set(err, ERR_BAD_ELF, "truncated: %zu bytes, the ELF header has 64", n);
    memcpy(&h, head, sizeof h);
    if (h.e_ident[EI_CLASS] != ELFCLASS64)
        return err_set(err, ERR_BAD_ELF, "ELF class %u at offset 4: only 64-bit programs run here",
                       h.e_ident[EI_CLASS]);
    if (h.e_ident[EI_DATA] != ELFDATA2LSB)
        return err_set(err, ERR_BAD_ELF, "ELF data encoding %u at offset 5: only little endian",
                       h.e_ident[EI_DATA]);
    if (h.e_ident[EI_VERSION] != EV_CURRENT || h.e_version != EV_CURRENT)
        return err_set(err, ERR_BAD_ELF, "ELF version %u", h.e_version);
    if (h.e_type != ET_EXEC && h.e_type != ET_DYN)
        return err_set(err, ERR_BAD_ELF, "ELF type %u at offset 16: not a program", h.e_type);
    if (h.e_machine != machine)
        return err_set(err, ERR_BAD_ELF, "ELF machine %u at offset 18: this guest runs machine %u",
                       h.e_machine, machine);
    if (h.e_phentsize != sizeof(Elf64_Phdr))
        return err_set(err, ERR_BAD_ELF, "program header size %u at offset 54, not 56",
                       h.e_phentsize);
    if (!h.e_phnum || (size_t)h.e_phnum * sizeof(Elf64_Phdr) > LX_ELF_TABLE_MAX)
        return err_set(err, ERR_BAD_ELF, "%u program headers at offset 56: 1 to %zu are possible",
                       h.e_phnum, LX_ELF_TABLE_MAX / sizeof(Elf64_Phdr));
    uint64_t bytes = (uint64_t)h.e_phnum * sizeof(Elf64_Phdr);
    if (h.e_phoff > file_bytes || bytes > file_bytes - h.e_phoff)
        return err_set(err, ERR_BAD_ELF,
                       "truncated: program headers at 0x%llx + %llu, the file has %llu bytes",
                       (unsigned long long)h.e_phoff, (unsigned long long)bytes,
                       (unsigned long long)file_bytes);
    e->relative = h.e_type == ET_DYN;
    e->entry = h.e_entry;
    e->table_offset = h.e_phoff;
    e->table_count = h.e_phnum;
    return OK;
}

static res_t load_segment(struct lx_elf *e, uint32_t i, const Elf64_Phdr *p, uint64_t file_bytes,
                          uint64_t window_end, struct err *err)
{
    const unsigned long long va = p->p_vaddr, mem = p->p_memsz, off = p->p_offset,
                             len = p->p_filesz;
    uint64_t low = e->relative ? 0 : LX_ELF_LOW;
    if (p->p_filesz > p->p_memsz)
        return err_set(err, ERR_BAD_ELF, "segment %u: %llu bytes in the file, %llu in memory", i,
                       len, mem);
    if (p->p_offset > file_bytes || p->p_filesz > file_bytes - p->p_offset)
        return err_set(err, ERR_BAD_ELF,
                       "truncated: segment %u is at 0x%llx + %llu, the file has %llu bytes", i, off,
                       len, (unsigned long long)file_bytes);
    if ((p->p_vaddr ^ p->p_offset) & (PAGE_SIZE - 1))
        return err_set(err, ERR_BAD_ELF,
                       "segment %u: address 0x%llx and offset 0x%llx disagree within a page", i, va,
                       off);
    if (p->p_memsz > window_end || p->p_vaddr > window_end - p->p_memsz ||
        ALIGN_UP(p->p_vaddr + p->p_memsz, PAGE_SIZE) > window_end)
        return err_set(err, ERR_LIMIT,
                       "segment %u: %llu bytes at 0x%llx, the guest's addresses end at 0x%llx", i,
                       mem, va, (unsigned long long)window_end);
    if (p->p_vaddr < low)
        return err_set(err, ERR_BAD_ELF, "segment %u: address 0x%llx is below 0x%x", i, va,
                       LX_ELF_LOW);
    if (e->segment_count) {
        const struct lx_elf_segment *last = &e->segments[e->segment_count - 1];
        if (p->p_vaddr < last->address)
            return err_set(err, ERR_BAD_ELF,
                           "segment %u: address 0x%llx is below that of the one before", i, va);
        if (p->p_vaddr < last->address + last->bytes)
            return err_set(
                err, ERR_BAD_ELF,
                "segment %u: address 0x%llx overlaps the one before, which ends at 0x%llx", i, va,
                (unsigned long long)(last->address + last->bytes));
    }
    e->segments[e->segment_count++] = (struct lx_elf_segment){
        .address = p->p_vaddr,
        .bytes = p->p_memsz,
        .offset = p->p_offset,
        .file_bytes = p->p_filesz,
        .prot = (p->p_flags & PF_R ? PROT_BIT_R : 0) | (p->p_flags & PF_W ? PROT_BIT_W : 0) |
                (p->p_flags & PF_X ? PROT_BIT_X : 0),
    };
    return OK;
}

static res_t interp_segment(struct lx_elf *e, uint32_t i, const Elf64_Phdr *p, uint64_t file_bytes,
                            struct err *err)
{
    if (e->interp_bytes)
        return err_set(err, ERR_BAD_ELF, "segment %u: a second interpreter", i);
    if (p->p_filesz < 2 || p->p_filesz > LX_ELF_INTERP_MAX)
        return err_set(err, ERR_BAD_ELF, "segment %u: interpreter path of %llu bytes", i,
                       (unsigned long long)p->p_filesz);
    if (p->p_offset > file_bytes || p->p_filesz > file_bytes - p->p_offset)
        return err_set(err, ERR_BAD_ELF, "truncated: segment %u (interpreter) is at 0x%llx", i,
                       (unsigned long long)p->p_offset);
    e->interp_offset = p->p_offset;
    e->interp_bytes = (uint32_t)p->p_filesz;
    return OK;
}

/* Where the loaded program finds its own program headers. */
static uint64_t table_address(const struct lx_elf *e)
{
    uint64_t bytes = (uint64_t)e->table_count * sizeof(Elf64_Phdr);
    for (uint32_t i = 0; i < e->segment_count; i++) {
        const struct lx_elf_segment *s = &e->segments[i];
        if (e->table_offset >= s->offset && bytes <= s->file_bytes &&
            e->table_offset - s->offset <= s->file_bytes - bytes)
            return s->address + (e->table_offset - s->offset);
    }
    return 0;
}

static res_t finish(struct lx_elf *e, struct err *err)
{
    if (!e->segment_count)
        return err_set(err, ERR_BAD_ELF, "no loadable segment");
    const struct lx_elf_segment *last = &e->segments[e->segment_count - 1];
    e->low = ALIGN_DOWN(e->segments[0].address, PAGE_SIZE);
    e->high = ALIGN_UP(last->address + last->bytes, PAGE_SIZE);
    e->table_address = table_address(e);
    for (uint32_t i = 0; i < e->segment_count; i++) {
        const struct lx_elf_segment *s = &e->segments[i];
        if ((s->prot & PROT_BIT_X) && e->entry >= s->address && e->entry - s->address < s->bytes)
            return OK;
    }
    return err_set(err, ERR_BAD_ELF, "entry 0x%llx lies in no executable segment",
                   (unsigned long long)e->entry);
}

res_t lx_elf_table(const void *table, size_t n, uint64_t file_bytes, uint64_t window_end,
                   struct lx_elf *e, struct err *err)
{
    if (n < (size_t)e->table_count * sizeof(Elf64_Phdr))
        return err_set(err, ERR_BAD_ELF, "truncated program header table");
    e->segments = calloc(e->table_count, sizeof *e->segments);
    if (!e->segments)
        return err_set(err, ERR_NO_MEMORY, "%u program headers", e->table_count);
    res_code_t rc = OK;
    for (uint32_t i = 0; i < e->table_count && !rc; i++) {
        Elf64_Phdr p;
        memcpy(&p, (const uint8_t *)table + i * sizeof p, sizeof p);
        if (p.p_type == PT_LOAD && p.p_memsz)
            rc = load_segment(e, i, &p, file_bytes, window_end, err);
        else if (p.p_type == PT_INTERP)
            rc = interp_segment(e, i, &p, file_bytes, err);
    }
    if (!rc)
        rc = finish(e, err);
    if (rc)
        lx_elf_fini(e);
    return rc;
}

void lx_elf_fini(struct lx_elf *e)
{
    free(e->segments);
    e->segments = NULL;
    e->segment_count = 0;
}
