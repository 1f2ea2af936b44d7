/*
 * linux/riscv/vdso.c - the vdso, one page, written here byte by byte so that the build needs no riscv assembler. It holds
 * what signal handlers return to; unwinders know the two instructions by sight.
 */
#include "engine/linux/riscv/riscv.h"

#include <elf.h>
#include <string.h>

#define INSN_LI_A7_SIGRETURN 0x08b00893u /* addi a7, zero, 139 */
#define INSN_ECALL 0x00000073u

enum { AT_DYNSYM = 0x200, AT_DYNSTR = 0x280, AT_HASH = 0x300, AT_DYNAMIC = 0x340 };

static const char names[] = "\0__vdso_rt_sigreturn\0linux-vdso.so.1";
enum { NAME_SIGRETURN = 1, NAME_SO = 21 };

static void put_head(uint8_t *page)
{
    Elf64_Ehdr h = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_DYN,
        .e_machine = EM_RISCV,
        .e_version = EV_CURRENT,
        .e_phoff = sizeof h,
        .e_flags = 5, /* RVC, double-float ABI */
        .e_ehsize = sizeof h,
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 2,
        .e_shentsize = sizeof(Elf64_Shdr),
    };
    Elf64_Phdr p[2] = {
        {.p_type = PT_LOAD,
         .p_flags = PF_R | PF_X,
         .p_filesz = PAGE_SIZE,
         .p_memsz = PAGE_SIZE,
         .p_align = PAGE_SIZE},
        {.p_type = PT_DYNAMIC,
         .p_flags = PF_R,
         .p_offset = AT_DYNAMIC,
         .p_vaddr = AT_DYNAMIC,
         .p_paddr = AT_DYNAMIC,
         .p_filesz = 7 * sizeof(Elf64_Dyn),
         .p_memsz = 7 * sizeof(Elf64_Dyn),
         .p_align = 8},
    };
    memcpy(page, &h, sizeof h);
    memcpy(page + sizeof h, p, sizeof p);
}

static void put_symbols(uint8_t *page)
{
    Elf64_Sym sym[2] = {
        {0},
        {.st_name = NAME_SIGRETURN,
         .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
         .st_shndx = 1,
         .st_value = LX_RV_VDSO_SIGRETURN,
         .st_size = 8},
    };
    uint32_t hash[] = {1, 2, 1, 0,
                       0}; /* one bucket, two chain entries: bucket 0 -> symbol 1 -> end */
    Elf64_Dyn dyn[] = {
        {DT_HASH, {AT_HASH}},
        {DT_STRTAB, {AT_DYNSTR}},
        {DT_SYMTAB, {AT_DYNSYM}},
        {DT_STRSZ, {sizeof names}},
        {DT_SYMENT, {sizeof *sym}},
        {DT_SONAME, {NAME_SO}},
        {DT_NULL, {0}},
    };
    memcpy(page + AT_DYNSYM, sym, sizeof sym);
    memcpy(page + AT_DYNSTR, names, sizeof names);
    memcpy(page + AT_HASH, hash, sizeof hash);
    memcpy(page + AT_DYNAMIC, dyn, sizeof dyn);
}

void lx_rv_vdso_make(uint8_t *page)
{
    const uint32_t code[] = {INSN_LI_A7_SIGRETURN, INSN_ECALL};
    memset(page, 0, PAGE_SIZE);
    put_head(page);
    put_symbols(page);
    memcpy(page + LX_RV_VDSO_SIGRETURN, code, sizeof code);
}
