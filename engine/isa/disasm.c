/* Prints an instruction along its format's text; the words of that text are explained in riscv/rv64gc.isa. */
#include "engine/isa/isa.h"
#include "engine/isa/isa_table.h"

#include "engine/base/base.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *isa_rv64_xreg_name(unsigned number)
{
    static const char names[32][5] = {"zero", "ra", "sp",  "gp",  "tp", "t0", "t1", "t2",
                                      "s0",   "s1", "a0",  "a1",  "a2", "a3", "a4", "a5",
                                      "a6",   "a7", "s2",  "s3",  "s4", "s5", "s6", "s7",
                                      "s8",   "s9", "s10", "s11", "t3", "t4", "t5", "t6"};
    ASSERT(number < 32);
    return names[number];
}

const char *isa_rv64_freg_name(unsigned number)
{
    static const char names[32][5] = {"ft0", "ft1", "ft2",  "ft3",  "ft4", "ft5", "ft6",  "ft7",
                                      "fs0", "fs1", "fa0",  "fa1",  "fa2", "fa3", "fa4",  "fa5",
                                      "fa6", "fa7", "fs2",  "fs3",  "fs4", "fs5", "fs6",  "fs7",
                                      "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11"};
    ASSERT(number < 32);
    return names[number];
}

const char *isa_rv64_csr_name(unsigned number)
{
    switch (number) {
    case 0x001:
        return "fflags";
    case 0x002:
        return "frm";
    case 0x003:
        return "fcsr";
    case 0xc00:
        return "cycle";
    case 0xc01:
        return "time";
    case 0xc02:
        return "instret";
    default:
        return NULL;
    }
}

/* The caller's buffer, and the length of the whole text whether it fits or not. */
struct text {
    char *buf;
    size_t cap, len;
};

static void __attribute__((format(printf, 2, 3))) put(struct text *t, const char *fmt, ...)
{
    va_list ap;
    size_t left = t->len < t->cap ? t->cap - t->len : 0;
    va_start(ap, fmt);
    int n = vsnprintf(left ? t->buf + t->len : NULL, left, fmt, ap);
    va_end(ap);
    if (n > 0)
        t->len += (size_t)n;
}

static void put_register(struct text *t, uint8_t kind, unsigned number)
{
    put(t, "%s",
        kind == ISA_OPERAND_F ? isa_rv64_freg_name(number & 31) : isa_rv64_xreg_name(number & 31));
}

static void put_fence_set(struct text *t, unsigned set)
{
    if (!set)
        put(t, "unknown"); /* as objdump has it */
    for (unsigned i = 0; i < 4; i++)
        if (set & (8u >> i))
            put(t, "%c", "iorw"[i]);
}

static void put_csr(struct text *t, unsigned number)
{
    const char *name = isa_rv64_csr_name(number);
    if (name)
        put(t, "%s", name);
    else
        put(t, "0x%x", number);
}

static void put_rounding(struct text *t, unsigned rm)
{
    static const char names[8][8] = {",rne", ",rtz", ",rdn", ",rup", ",rmm", ",?", ",?", ""};
    put(t, "%s", names[rm & 7]);
}

enum text_word {
    W_RS1,
    W_RS2,
    W_RS3,
    W_RD,
    W_RM,
    W_ZIMM,
    W_IMM,
    W_HEX,
    W_HI20,
    W_TARGET,
    W_CSR,
    W_FENCE,
    W_EXACT
};

static void put_word(struct text *t, enum text_word word, const struct isa_insn *d, uint64_t pc)
{
    const struct isa_attr *a = isa_rv64_attr(d->form);
    switch (word) {
    case W_RD:
        return put_register(t, a->rd, d->rd);
    case W_RS1:
        return put_register(t, a->rs1, d->rs1);
    case W_RS2:
        return put_register(t, a->rs2, d->rs2);
    case W_RS3:
        return put_register(t, a->rs3, d->rs3);
    case W_RM:
        return put_rounding(t, d->rm);
    case W_EXACT:
        return d->rm == 0                 ? (void)0
               : d->rm == ISA_RV64_RM_DYN ? put(t, ",dyn")
                                          : put_rounding(t, d->rm);
    case W_ZIMM:
        return put(t, "%u", d->rs1);
    case W_IMM:
        return put(t, "%" PRId32, d->imm);
    case W_HEX:
        return put(t, "0x%" PRIx32, (uint32_t)d->imm);
    case W_HI20:
        return put(t, "0x%" PRIx32, (uint32_t)d->imm >> 12);
    case W_TARGET:
        return put(t, "0x%" PRIx64, pc + (uint64_t)(int64_t)d->imm);
    case W_CSR:
        return put_csr(t, (unsigned)d->imm & 0xfff);
    case W_FENCE:
        put_fence_set(t, (unsigned)d->imm >> 4 & 15);
        put(t, ",");
        put_fence_set(t, (unsigned)d->imm & 15);
        return;
    }
}

static void put_operands(struct text *t, const char *text, const struct isa_insn *d, uint64_t pc)
{
    static const char *const words[] = {"rs1", "rs2",  "rs3",    "rd",  "rm",    "zimm", "imm",
                                        "hex", "hi20", "target", "csr", "fence", "exact"};
    while (*text) {
        unsigned i = 0;
        while (i < ARRAY_LEN(words) && strncmp(text, words[i], strlen(words[i])))
            i++;
        if (i < ARRAY_LEN(words)) {
            put_word(t, (enum text_word)i, d, pc);
            text += strlen(words[i]);
        } else {
            put(t, "%c", *text++);
        }
    }
}

static const char *ordering(const struct isa_insn *d)
{
    static const char names[4][6] = {"", ".rl", ".aq", ".aqrl"};
    return names[d->aqrl & 3];
}

size_t isa_rv64_disasm(const struct isa_insn *d, uint64_t pc, char *buf, size_t n)
{
    struct text t = {buf, n, 0};
    if (n)
        buf[0] = 0;
    if (!d->form || d->form >= ISA_RV64_FORM_COUNT) {
        put(&t, d->len == 2 ? ".2byte 0x%" PRIx32 : ".4byte 0x%" PRIx32, d->raw);
        return t.len;
    }
    const struct isa_form *f = &isa_rv64_forms[d->form];
    if (d->form == ISA_RV64_FENCE && d->imm == 0x010) {
        put(&t, "pause"); /* Zihintpause: the fence w,0 that orders nothing */
        return t.len;
    }
    put(&t, "%s%s", f->mnemonic, ordering(d));
    if (f->text[0]) {
        put(&t, " ");
        put_operands(&t, f->text, d, pc);
    }
    return t.len;
}
