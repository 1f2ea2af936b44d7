// links: engine/isa engine/base
/* The disassembler against GNU objdump, on random encodings of every form and on random words. */
#include "engine/base/base.h"
#include "engine/base/os.h"
#include "engine/isa/isa.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

struct sample {
    uint32_t word;
    uint64_t pc;
    struct isa_insn d;
    char text[96];
};

static struct sample *samples;
static size_t sample_count;

/* What objdump 2.40 cannot spell although the manual gives it a meaning, or spells with a name we do not keep. */
static bool objdump_differs(const struct isa_insn *d)
{
    const struct isa_attr *a = isa_rv64_attr(d->form);
    switch (d->op) {
    case ISA_RV64_FENCE: /* reserved fm, rd, rs1 are to be ignored; objdump gives up */
        return d->raw & 0xf00fff80 || !(d->imm & 0x0f) || !(d->imm & 0xf0);
    case ISA_RV64_FENCE_TSO:
    case ISA_RV64_FENCE_I: /* the same */
        return d->raw & 0xffff8f80 & (d->op == ISA_RV64_FENCE_I ? ~0u : 0x000f8f80u);
    case ISA_RV64_CSRRW:
    case ISA_RV64_CSRRS:
    case ISA_RV64_CSRRC:
    case ISA_RV64_CSRRWI:
    case ISA_RV64_CSRRSI:
    case ISA_RV64_CSRRCI: /* it knows the machine's CSRs too */
        return !isa_rv64_csr_name((unsigned)d->imm);
    case ISA_RV64_FCVT_D_S: /* exact, so objdump knows only the rm that as writes */
    case ISA_RV64_FCVT_D_W:
    case ISA_RV64_FCVT_D_WU:
        return a->uses_rm && d->rm != 0;
    default:
        return false;
    }
}

static void write_samples(FILE *out)
{
    uint64_t at = 0;
    for (size_t i = 0; i < sample_count; i++) {
        struct sample *s = &samples[i];
        s->pc = at;
        fwrite(&s->word, 1, s->d.len, out);
        at += s->d.len;
        isa_rv64_disasm(&s->d, s->pc, s->text, sizeof s->text);
    }
}

static void add(uint32_t word)
{
    struct sample s = {.word = word};
    isa_rv64_decode(word, &s.d);
    if ((s.word & 0x1f) == 0x1f || (s.d.op && objdump_differs(&s.d)))
        return; /* longer than 32 bits: objdump would lose step */
    samples[sample_count++] = s;
}

/* Tabs become spaces, comments and trailing space go. */
static void normalise(char *s)
{
    char *hash = strstr(s, " #");
    if (hash)
        *hash = 0;
    for (char *c = s; *c; c++)
        if (*c == '\t' || *c == '\n')
            *c = ' ';
    for (size_t n = strlen(s); n && s[n - 1] == ' ';)
        s[--n] = 0;
}

static bool is_unknown(const char *text)
{
    return text[0] == '.' || !strncmp(text, "0x", 2) || !strcmp(text, "unimp") ||
           !strcmp(text, "c.unimp");
}

/* What the table leaves out on purpose: privileged instructions and extensions beyond RV64GC. */
static bool outside_our_table(const struct isa_insn *d, const char *theirs)
{
    return !d->op && !is_unknown(theirs);
}

static unsigned compare_with(FILE *dump)
{
    char line[512];
    unsigned seen = 0, bad = 0;
    size_t i = 0;
    while (fgets(line, sizeof line, dump)) {
        unsigned long pc;
        int at = 0;
        if (sscanf(line, " %lx:\t%*x %n", &pc, &at) != 1 || !at)
            continue;
        while (i < sample_count && samples[i].pc < pc)
            i++;
        assert_true(i < sample_count && samples[i].pc == pc);
        char *theirs = line + at;
        normalise(theirs);
        seen++;
        const struct sample *s = &samples[i];
        if (!s->d.op ? is_unknown(theirs) || outside_our_table(&s->d, theirs)
                     : !strcmp(s->text, theirs))
            continue;
        if (bad++ < 40)
            print_error("%08x: ours '%s', objdump's '%s'\n", s->word, s->text, theirs);
    }
    assert_int_equal(seen, sample_count);
    return bad;
}

static void run_objdump(void)
{
    char path[] = "/tmp/vivarium-isa-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *out = fdopen(fd, "w");
    write_samples(out);
    fclose(out);
    char command[256];
    snprintf(command, sizeof command,
             "riscv64-linux-gnu-objdump -D -z -b binary -m riscv:rv64 -M no-aliases %s", path);
    FILE *dump = popen(command, "r");
    assert_non_null(dump);
    unsigned bad = compare_with(dump);
    assert_int_equal(pclose(dump), 0);
    unlink(path);
    assert_int_equal(bad, 0);
}

static void every_form_is_spelt_as_objdump_spells_it(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 1);
    sample_count = 0;
    samples = calloc(ISA_RV64_FORM_COUNT * 40, sizeof *samples);
    assert_non_null(samples);
    for (uint16_t form = 1; form < ISA_RV64_FORM_COUNT; form++)
        for (unsigned k = 0; k < 40; k++)
            add(isa_rv64_random(&rng, form));
    run_objdump();
    free(samples);
}

static void random_words_are_spelt_as_objdump_spells_them(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 2);
    sample_count = 0;
    samples = calloc(20000, sizeof *samples);
    assert_non_null(samples);
    for (unsigned k = 0; k < 20000; k++)
        add((uint32_t)rng_next(&rng) | (k % 2 ? 3 : 0));
    run_objdump();
    free(samples);
}

static void every_compressed_word_is_spelt_as_objdump_spells_it(void **state)
{
    (void)state;
    sample_count = 0;
    samples = calloc(65536, sizeof *samples);
    assert_non_null(samples);
    for (uint32_t w = 0; w < 65536; w++)
        if ((w & 3) != 3)
            add(w);
    run_objdump();
    free(samples);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_is_spelt_as_objdump_spells_it),
        cmocka_unit_test(random_words_are_spelt_as_objdump_spells_them),
        cmocka_unit_test(every_compressed_word_is_spelt_as_objdump_spells_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
