// links: engine/linux engine/base
/*
 * The ELF reader: programs it takes, and what it says about those it does not.
 */
#include "engine/base/base.h"
#include "engine/linux/elf.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define WINDOW_END (((uint64_t)1 << 36) - ((uint64_t)1 << 30))

struct program {
    Elf64_Ehdr h;
    Elf64_Phdr p[3];
    uint64_t file_bytes;
};

static struct program good(void)
{
    return (struct program){
        .h = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
              .e_type = ET_EXEC,
              .e_machine = EM_RISCV,
              .e_version = EV_CURRENT,
              .e_entry = 0x10100,
              .e_phoff = sizeof(Elf64_Ehdr),
              .e_phentsize = sizeof(Elf64_Phdr),
              .e_phnum = 2},
        .p = {{.p_type = PT_LOAD,
               .p_flags = PF_R | PF_X,
               .p_vaddr = 0x10000,
               .p_filesz = 0x1200,
               .p_memsz = 0x1200},
              {.p_type = PT_LOAD,
               .p_flags = PF_R | PF_W,
               .p_offset = 0x1800,
               .p_vaddr = 0x12800,
               .p_filesz = 0x100,
               .p_memsz = 0x2000}},
        .file_bytes = 0x3000,
    };
}

static res_code_t read_it(const struct program *x, struct lx_elf *e, struct err *err)
{
    if (lx_elf_head(&x->h, sizeof x->h, x->file_bytes, EM_RISCV, e, err))
        return FAIL;
    return lx_elf_table(x->p, sizeof x->p, x->file_bytes, WINDOW_END, e, err);
}

static void refused(const struct program *x, enum err_code code, const char *word)
{
    struct lx_elf e;
    struct err err = {0};
    assert_int_equal(read_it(x, &e, &err), FAIL);
    assert_int_equal(err.code, code);
    if (!strstr(err.text, word))
        fail_msg("\"%s\" does not say \"%s\"", err.text, word);
}

static void a_static_program_is_read(void **state)
{
    (void)state;
    struct program x = good();
    struct lx_elf e;
    struct err err;
    assert_int_equal(read_it(&x, &e, &err), OK);
    assert_false(e.relative);
    assert_int_equal(e.segment_count, 2);
    assert_int_equal(e.segments[0].prot, 1 | 4);
    assert_int_equal(e.segments[1].prot, 1 | 2);
    assert_int_equal(e.low, 0x10000);
    assert_int_equal(e.high, 0x15000);
    assert_int_equal(e.table_address, 0x10000 + sizeof(Elf64_Ehdr));
    lx_elf_fini(&e);
}

static void a_position_independent_program_may_begin_at_zero(void **state)
{
    (void)state;
    struct program x = good();
    struct lx_elf e;
    struct err err;
    x.h.e_type = ET_DYN;
    x.h.e_entry = 0x100;
    x.p[0].p_vaddr = 0;
    assert_int_equal(read_it(&x, &e, &err), OK);
    assert_true(e.relative);
    lx_elf_fini(&e);
}

static void segments_that_share_a_page_but_no_byte_are_taken(void **state)
{
    (void)state;
    struct program x = good();
    struct lx_elf e;
    struct err err;
    x.p[1].p_vaddr = 0x11200;
    x.p[1].p_offset = 0x1200;
    assert_int_equal(read_it(&x, &e, &err), OK);
    lx_elf_fini(&e);
}

#define REFUSED(name, code, word, ...) \
    static void name(void **state)     \
    {                                  \
        (void)state;                   \
        struct program x = good();     \
        __VA_ARGS__;                   \
        refused(&x, code, word);       \
    }

REFUSED(a_text_file_is_refused, ERR_BAD_ELF, "not an ELF file", x.h.e_ident[0] = '#')
REFUSED(a_32_bit_program_is_refused, ERR_BAD_ELF, "class 1", x.h.e_ident[EI_CLASS] = ELFCLASS32)
REFUSED(a_big_endian_program_is_refused, ERR_BAD_ELF, "encoding 2",
        x.h.e_ident[EI_DATA] = ELFDATA2MSB)
REFUSED(a_program_for_another_machine_is_refused, ERR_BAD_ELF, "machine 62",
        x.h.e_machine = EM_X86_64)
REFUSED(an_object_file_is_refused, ERR_BAD_ELF, "type 1", x.h.e_type = ET_REL)
REFUSED(an_odd_header_size_is_refused, ERR_BAD_ELF, "size 32", x.h.e_phentsize = 32)
REFUSED(no_headers_at_all_are_refused, ERR_BAD_ELF, "0 program headers", x.h.e_phnum = 0)
REFUSED(more_headers_than_fit_are_refused, ERR_BAD_ELF, "program headers", x.h.e_phnum = 60000)
REFUSED(a_table_behind_the_end_is_refused, ERR_BAD_ELF, "truncated", x.h.e_phoff = 0x2ff0)
REFUSED(a_table_that_wraps_is_refused, ERR_BAD_ELF, "truncated", x.h.e_phoff = UINT64_MAX - 8)
REFUSED(a_truncated_segment_is_refused, ERR_BAD_ELF, "segment 0",
        x.p[0].p_filesz = x.p[0].p_memsz = 0x3001, x.p[1].p_vaddr += 0x100000)
REFUSED(an_offset_that_wraps_is_refused, ERR_BAD_ELF, "truncated",
        x.p[1].p_offset = UINT64_MAX - 0x7ff)
REFUSED(overlapping_segments_are_refused, ERR_BAD_ELF, "overlaps", x.p[1].p_vaddr = 0x11000,
        x.p[1].p_offset = 0x1000)
REFUSED(descending_segments_are_refused, ERR_BAD_ELF, "below that of the one before",
        x.p[0].p_vaddr = 0x20000)
REFUSED(a_segment_of_100_gb_is_refused, ERR_LIMIT, "107374182400 bytes at 0x12800",
        x.p[1].p_memsz = (uint64_t)100 << 30)
REFUSED(a_segment_that_wraps_is_refused, ERR_LIMIT, "segment 1",
        x.p[1].p_vaddr = UINT64_MAX - 0x7ff)
REFUSED(more_in_the_file_than_in_memory_is_refused, ERR_BAD_ELF, "segment 1", x.p[1].p_memsz = 0x80)
REFUSED(an_offset_that_cannot_be_mapped_is_refused, ERR_BAD_ELF, "disagree",
        x.p[1].p_offset = 0x1801)
REFUSED(an_address_below_64_kib_is_refused, ERR_BAD_ELF, "below", x.p[0].p_vaddr = 0xf000)
REFUSED(an_entry_outside_is_refused, ERR_BAD_ELF, "entry 0x50000", x.h.e_entry = 0x50000)
REFUSED(an_entry_in_data_is_refused, ERR_BAD_ELF, "executable", x.h.e_entry = 0x12800)
REFUSED(a_program_without_segments_is_refused, ERR_BAD_ELF, "no loadable",
        x.p[0].p_type = x.p[1].p_type = PT_NOTE)
REFUSED(an_endless_interpreter_name_is_refused, ERR_BAD_ELF, "interpreter",
        x.p[1].p_type = PT_INTERP, x.p[1].p_filesz = 5000)

static void every_shorter_head_is_refused(void **state)
{
    (void)state;
    struct program x = good();
    for (size_t n = 0; n < sizeof x.h; n++) {
        struct lx_elf e;
        struct err err = {0};
        assert_int_equal(lx_elf_head(&x.h, n, x.file_bytes, EM_RISCV, &e, &err), FAIL);
        assert_int_equal(err.code, ERR_BAD_ELF);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_static_program_is_read),
        cmocka_unit_test(a_position_independent_program_may_begin_at_zero),
        cmocka_unit_test(segments_that_share_a_page_but_no_byte_are_taken),
        cmocka_unit_test(a_text_file_is_refused),
        cmocka_unit_test(a_32_bit_program_is_refused),
        cmocka_unit_test(a_big_endian_program_is_refused),
        cmocka_unit_test(a_program_for_another_machine_is_refused),
        cmocka_unit_test(an_object_file_is_refused),
        cmocka_unit_test(an_odd_header_size_is_refused),
        cmocka_unit_test(no_headers_at_all_are_refused),
        cmocka_unit_test(more_headers_than_fit_are_refused),
        cmocka_unit_test(a_table_behind_the_end_is_refused),
        cmocka_unit_test(a_table_that_wraps_is_refused),
        cmocka_unit_test(a_truncated_segment_is_refused),
        cmocka_unit_test(an_offset_that_wraps_is_refused),
        cmocka_unit_test(overlapping_segments_are_refused),
        cmocka_unit_test(descending_segments_are_refused),
        cmocka_unit_test(a_segment_of_100_gb_is_refused),
        cmocka_unit_test(a_segment_that_wraps_is_refused),
        cmocka_unit_test(more_in_the_file_than_in_memory_is_refused),
        cmocka_unit_test(an_offset_that_cannot_be_mapped_is_refused),
        cmocka_unit_test(an_address_below_64_kib_is_refused),
        cmocka_unit_test(an_entry_outside_is_refused),
        cmocka_unit_test(an_entry_in_data_is_refused),
        cmocka_unit_test(a_program_without_segments_is_refused),
        cmocka_unit_test(an_endless_interpreter_name_is_refused),
        cmocka_unit_test(every_shorter_head_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
