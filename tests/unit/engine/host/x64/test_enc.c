// links: engine/host/x64 engine/base
/*
 * Every form of enc.def, with many registers and memory operands, against objdump: the test prints what it asked for, objdump
 * what was written, and the two texts must be equal.
 */
#include "engine/host/x64/enc.h"
#include "engine/base/os.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

enum shape {
    RM,
    RMB,
    RMH,
    RMW,
    MR,
    MRB,
    VRM,
    XXX4,
    XXX8,
    XXX16,
    XX4,
    XX8,
    XX16,
    XM4,
    XM8,
    MX4,
    MX8,
    XG,
    XG_MR,
    XXG,
    EXXG,
    GX4,
    GX8,
    EGX4,
    EGX8,
    XXX8W,
    XXX4V
};
static const struct form {
    const char *name, *text;
    uint32_t op;
    enum shape shape;
    bool word; /* a 66 prefix makes it 16 bits wide */
} forms[] = {
#define X64_OP(name, text, shape, prefix, map, opcode) \
    {#name, text, X64_##name, shape, (#prefix)[0] == '6' && !X64_MAP_##map},
#include "engine/host/x64/enc.def"
#undef X64_OP
};

#define MAX_LINES 40000
static uint8_t code[1 << 20];
static struct x64_em em;
static char *expected[MAX_LINES];
static unsigned count;

static const char *const r64[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                  "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
static const char *const r32[] = {"eax", "ecx", "edx",  "ebx",  "esp",  "ebp",  "esi",  "edi",
                                  "r8d", "r9d", "r10d", "r11d", "r12d", "r13d", "r14d", "r15d"};
static const char *const r16[] = {"ax",  "cx",  "dx",   "bx",   "sp",   "bp",   "si",   "di",
                                  "r8w", "r9w", "r10w", "r11w", "r12w", "r13w", "r14w", "r15w"};
static const char *const r8[] = {"al",  "cl",  "dl",   "bl",   "spl",  "bpl",  "sil",  "dil",
                                 "r8b", "r9b", "r10b", "r11b", "r12b", "r13b", "r14b", "r15b"};

static const char *gpr(unsigned r, unsigned bytes)
{
    return bytes == 8 ? r64[r] : bytes == 4 ? r32[r] : bytes == 2 ? r16[r] : r8[r];
}

static char *xmm(unsigned r)
{
    static char text[4][8];
    static unsigned i;
    i = (i + 1) & 3;
    snprintf(text[i], sizeof text[i], "xmm%u", r);
    return text[i];
}

static const char *width(unsigned bytes)
{
    return bytes == 16  ? "XMMWORD PTR "
           : bytes == 8 ? "QWORD PTR "
           : bytes == 4 ? "DWORD PTR "
           : bytes == 2 ? "WORD PTR "
           : bytes == 1 ? "BYTE PTR "
                        : "";
}

static const char *mem(struct x64_loc m, unsigned bytes)
{
    static char text[100];
    const char *const *names = m.flags & X64_A32 ? r32 : r64;
    unsigned index = m.index & 15, scale = 1u << (m.index >> 4);
    char inside[60] = "";
    size_t n = 0;
    if (!(m.flags & X64_NO_BASE))
        n += (size_t)snprintf(inside, sizeof inside, "%s", names[m.reg]);
    if (index != X64_NO_INDEX)
        n += (size_t)snprintf(inside + n, sizeof inside - n, "%s%s*%u", n ? "+" : "", names[index],
                              scale);
    if (!n) {
        snprintf(text, sizeof text, "%s%s0x%x", width(bytes),
                 m.flags & X64_GS ? "gs:" : "ds:", (unsigned)m.disp);
        return text;
    }
    if (m.disp || m.flags & X64_NO_BASE || ((m.reg & 7) == RBP && index == X64_NO_INDEX) ||
        (m.reg & 7) == RBP)
        snprintf(inside + n, sizeof inside - n, "%s0x%x", m.disp < 0 ? "-" : "+",
                 (unsigned)abs(m.disp));
    snprintf(text, sizeof text, "%s%s[%s]", width(bytes), m.flags & X64_GS ? "gs:" : "", inside);
    return text;
}

__attribute__((format(printf, 1, 2))) static void expect(const char *fmt, ...)
{
    char text[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    assert_true(count < MAX_LINES);
    expected[count++] = strdup(text);
    x64_nop(&em, 1); /* so that a wrong length is noticed where it is */
}

static const struct x64_loc places[] = {
    {1, 0, RSP, X64_NO_INDEX, 0x18},
    {1, 0, RSP, X64_NO_INDEX, 0x1f8},
    {1, X64_GS, RAX, X64_NO_INDEX, 0},
    {1, X64_GS, RDX, X64_NO_INDEX, -0x800},
    {1, X64_GS, R9, X64_NO_INDEX, 0x7f},
    {1, X64_GS, R13, X64_NO_INDEX, 0},
    {1, X64_GS, RBP, X64_NO_INDEX, 0},
    {1, X64_GS, R12, X64_NO_INDEX, 0x80},
    {1, X64_GS | X64_A32, R14, X64_NO_INDEX, 0x7ff},
    {1, X64_GS | X64_A32, RSI, R13 | 2 << 4, 8},
    {1, 0, RBP, R9 | 3 << 4, 0},
    {1, 0, R15, RAX | 1 << 4, -8},
    {1, X64_GS | X64_NO_BASE, 0, X64_NO_INDEX, 0x12345678},
    {1, X64_NO_BASE, 0, RDI | 3 << 4, 0},
};

static void gpr_forms(const struct form *f, bool w)
{
    unsigned bytes = f->word ? 2 : w ? 8 : 4;
    for (unsigned reg = 0; reg < 16; reg++) {
        unsigned other = (reg * 7 + 3) & 15;
        struct x64_loc r = x64_reg(other), m = places[reg % ARRAY_LEN(places)];
        unsigned rm_bytes = f->shape == RMB ? 1 : f->shape == RMH ? 2 : f->shape == RMW ? 4 : bytes;
        if (f->shape == MR || f->shape == MRB) {
            unsigned n = f->shape == MRB ? 1 : bytes;
            x64_rm(&em, w, f->op, reg, r);
            expect("%s %s,%s", f->text, gpr(other, n), gpr(reg, n));
            x64_rm(&em, w, f->op, reg, m);
            expect("%s %s,%s", f->text, mem(m, n), gpr(reg, n));
        } else {
            if (strcmp(f->text, "lea")) {
                x64_rm(&em, w, f->op, reg, r);
                expect("%s %s,%s", f->text, gpr(reg, bytes), gpr(other, rm_bytes));
            } else if (m.flags & (X64_GS | X64_A32)) {
                continue;
            }
            x64_rm(&em, w, f->op, reg, m);
            expect("%s %s,%s", f->text, gpr(reg, bytes),
                   mem(m, strcmp(f->text, "lea") ? rm_bytes : 0));
        }
    }
}

static void shift_forms(const struct form *f, bool w)
{
    unsigned bytes = w ? 8 : 4;
    for (unsigned reg = 0; reg < 16; reg++) {
        unsigned v = (reg * 5 + 1) & 15, other = (reg * 3 + 2) & 15;
        struct x64_loc m = places[reg % ARRAY_LEN(places)];
        x64_vex(&em, f->op | (w ? X64_W : 0), reg, v, x64_reg(other));
        expect("%s %s,%s,%s", f->text, gpr(reg, bytes), gpr(other, bytes), gpr(v, bytes));
        x64_vex(&em, f->op | (w ? X64_W : 0), reg, v, m);
        expect("%s %s,%s,%s", f->text, gpr(reg, bytes), mem(m, bytes), gpr(v, bytes));
    }
}

static unsigned mem_bytes(enum shape s)
{
    switch (s) {
    case XXX4:
    case XX4:
    case XM4:
    case MX4:
    case GX4:
    case EGX4:
    case XXX4V:
        return 4;
    case XXX16:
    case XX16:
        return 16;
    default:
        return 8;
    }
}

/* One xmm form: VEX or EVEX (by register number) and, below 16, the legacy one. */
static void xmm_form(const struct form *f, unsigned reg, unsigned v, unsigned other,
                     struct x64_loc m)
{
    enum shape s = f->shape;
    const char *dot = f->text[0] == 'v' ? "" : "v";
    unsigned bytes = mem_bytes(s);
    bool three = s == XXX4 || s == XXX8 || s == XXX16 || s == XXX8W || s == XXX4V;
    bool store = s == MX4 || s == MX8, load = s == XM4 || s == XM8;
    if (three) {
        x64_vex(&em, f->op, reg, v, x64_reg(other));
        expect("%s%s %s,%s,%s", dot, f->text, xmm(reg), xmm(v), xmm(other));
        x64_vex(&em, f->op, reg, v, m);
        expect("%s%s %s,%s,%s", dot, f->text, xmm(reg), xmm(v), mem(m, bytes));
    } else {
        if (!load && !store) {
            x64_vex(&em, f->op, reg, 0, x64_reg(other));
            expect("%s%s %s,%s", dot, f->text, xmm(reg), xmm(other));
        }
        x64_vex(&em, f->op, reg, 0, m);
        if (store)
            expect("%s%s %s,%s", dot, f->text, mem(m, bytes), xmm(reg));
        else
            expect("%s%s %s,%s", dot, f->text, xmm(reg), mem(m, bytes));
    }
    if (reg > 15 || f->text[0] == 'v')
        return;
    x64_op(&em, f->op, reg, m, 0);
    if (store)
        expect("%s %s,%s", f->text, mem(m, bytes), xmm(reg));
    else
        expect("%s %s,%s", f->text, xmm(reg), mem(m, bytes));
}

static void move_forms(const struct form *f, unsigned reg, unsigned g, struct x64_loc m)
{
    bool to_gpr = f->shape == XG_MR;
    x64_vex(&em, f->op | X64_W, reg, 0, x64_reg(g));
    if (to_gpr)
        expect("vmovq %s,%s", r64[g], xmm(reg));
    else
        expect("vmovq %s,%s", xmm(reg), r64[g]);
    x64_vex(&em, f->op, reg, 0, x64_reg(g));
    if (to_gpr)
        expect("vmovd %s,%s", r32[g], xmm(reg));
    else
        expect("vmovd %s,%s", xmm(reg), r32[g]);
    x64_vex(&em, f->op, reg, 0, m);
    if (to_gpr)
        expect("vmovd %s,%s", mem(m, 4), xmm(reg));
    else
        expect("vmovd %s,%s", xmm(reg), mem(m, 4));
    if (reg > 15)
        return;
    x64_op(&em, f->op | X64_W, reg, x64_reg(g), 0);
    if (to_gpr)
        expect("movq %s,%s", r64[g], xmm(reg));
    else
        expect("movq %s,%s", xmm(reg), r64[g]);
}

/* Between the files. AVX-512's unsigned forms have no VEX. */
static void convert_forms(const struct form *f, bool w, unsigned reg, unsigned v, struct x64_loc m)
{
    enum shape s = f->shape;
    bool evex = s == EXXG || s == EGX4 || s == EGX8,
         to_gpr = s == GX4 || s == GX8 || s == EGX4 || s == EGX8;
    void (*put)(struct x64_em *, uint32_t, unsigned, unsigned, struct x64_loc) =
        evex ? x64_evex : x64_vex;
    uint32_t op = f->op | (w ? X64_W : 0);
    unsigned g = reg & 15, bytes = w ? 8 : 4;
    const char *dot = evex ? "" : "v";
    if (to_gpr) {
        put(&em, op, g, 0, x64_reg(v));
        expect("%s%s %s,%s", dot, f->text, gpr(g, bytes), xmm(v));
        put(&em, op, g, 0, m);
        expect("%s%s %s,%s", dot, f->text, gpr(g, bytes), mem(m, mem_bytes(s)));
    } else {
        put(&em, op, reg, v, x64_reg(g));
        expect("%s%s %s,%s,%s", dot, f->text, xmm(reg), xmm(v), gpr(g, bytes));
        put(&em, op, reg, v, m);
        expect("%s%s %s,%s,%s", dot, f->text, xmm(reg), xmm(v), mem(m, bytes));
    }
}

static void every_form(void)
{
    for (unsigned i = 0; i < ARRAY_LEN(forms); i++) {
        const struct form *f = &forms[i];
        switch (f->shape) {
        case RM:
        case RMB:
        case RMH:
        case MR:
        case MRB:
            gpr_forms(f, false);
            if (!f->word && f->shape != MRB)
                gpr_forms(f, true);
            break;
        case RMW:
            gpr_forms(f, true);
            break;
        case VRM:
            shift_forms(f, false);
            shift_forms(f, true);
            break;
        default:
            for (unsigned reg = 0; reg < 32; reg++) {
                unsigned v = (reg * 11 + 5) & 31, other = (reg * 7 + 9) & 31;
                struct x64_loc m = places[(reg + i) % ARRAY_LEN(places)];
                if (reg < 16 && reg & 1)
                    v &= 15, other &= 15;
                if (f->shape == XG || f->shape == XG_MR)
                    move_forms(f, reg, (reg * 3 + 1) & 15, m);
                else if (f->shape >= XXG && f->shape <= EGX8)
                    convert_forms(f, i & 1, reg, v, m);
                else
                    xmm_form(f, reg, v, other, m);
            }
        }
    }
}

static void immediates(void)
{
    static const char *const group1[] = {"add", "or", NULL, NULL, "and", "sub", "xor", "cmp"};
    static const char *const shifts[] = {"rol", "ror", NULL, NULL, "shl", "shr", NULL, "sar"};
    static const char *const group3[] = {NULL, NULL, "not", "neg", "mul", "imul", "div", "idiv"};
    for (unsigned reg = 0; reg < 16; reg++) {
        struct x64_loc r = x64_reg(reg);
        for (unsigned k = 0; k < 8; k++) {
            if (group1[k] && reg) { /* rax has a form of its own that objdump cannot tell apart */
                x64_alu_imm(&em, true, k, r, 0x12345);
                expect("%s %s,0x12345", group1[k], r64[reg]);
                x64_alu_imm(&em, false, k, r, -1);
                expect("%s %s,0xffffffff", group1[k], r32[reg]);
                x64_alu_imm(&em, true, k, places[0], 5);
                expect("%s %s,0x5", group1[k], mem(places[0], 8));
            }
            if (shifts[k]) {
                x64_shift_imm(&em, true, k, r, 13);
                expect("%s %s,0xd", shifts[k], r64[reg]);
                x64_shift_cl(&em, false, k, r);
                expect("%s %s,cl", shifts[k], r32[reg]);
            }
            if (group3[k]) {
                x64_group3(&em, true, k, r);
                expect("%s %s", group3[k], r64[reg]);
                x64_group3(&em, false, k, places[1]);
                expect("%s %s", group3[k], mem(places[1], 4));
            }
        }
        x64_mov_imm(&em, reg, 0x89abcdef);
        expect("mov %s,0x89abcdef", r32[reg]);
        x64_mov_imm(&em, reg, UINT64_MAX - 1);
        expect("mov %s,0xfffffffffffffffe", r64[reg]);
        x64_mov_imm(&em, reg, 0x123456789abcdef);
        expect("movabs %s,0x123456789abcdef", r64[reg]);
        x64_imul_imm(&em, true, reg, x64_reg(15 - reg), 1000);
        expect("imul %s,%s,0x3e8", r64[reg], r64[15 - reg]);
        x64_rorx(&em, reg & 1, reg, x64_reg(15 - reg), 7);
        expect("rorx %s,%s,0x7", gpr(reg, reg & 1 ? 8 : 4), gpr(15 - reg, reg & 1 ? 8 : 4));
        x64_setcc(&em, X64_CC_A, reg);
        expect("seta %s", r8[reg]);
        x64_cmov(&em, true, X64_CC_L, reg, x64_reg(15 - reg));
        expect("cmovl %s,%s", r64[reg], r64[15 - reg]);
        if (reg) {
            x64_test_imm8(&em, reg, 7);
            expect("test %s,0x7", r8[reg]);
        }
    }
}

/* objdump's line without address, comment and doubled blanks; NULL at the end. */
static char *next_line(FILE *f)
{
    static char line[300];
    while (fgets(line, sizeof line, f)) {
        char *p = strchr(line, '\t'), *comment;
        if (!p)
            continue;
        p++;
        if ((comment = strchr(p, '#')))
            *comment = 0;
        char *to = line;
        for (char *q = p; *q && *q != '\n'; q++)
            if (*q != ' ' || (to > line && to[-1] != ' '))
                *to++ = *q;
        while (to > line && to[-1] == ' ')
            to--;
        *to = 0;
        if (strcmp(line, "nop"))
            return line;
    }
    return NULL;
}

static void objdump_reads_what_was_meant(void **state)
{
    (void)state;
    em = (struct x64_em){code, code, 0};
    every_form();
    immediates();
    assert_true(em.p < code + sizeof code);
    char name[] = "/tmp/vv-enc-XXXXXX", command[200];
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, code, (size_t)(em.p - code)), em.p - code);
    close(fd);
    snprintf(command, sizeof command,
             "objdump -D -b binary -m i386:x86-64 -M intel --no-show-raw-insn %s", name);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    unsigned wrong = 0;
    for (unsigned i = 0; i < count && wrong < 20; i++) {
        char *line = next_line(f);
        if (!line || strcmp(line, expected[i])) {
            print_error("%u: wanted %s, got %s\n", i, expected[i], line ? line : "the end");
            wrong++;
        }
    }
    if (!wrong)
        assert_null(next_line(f));
    while (next_line(f))
        ;
    assert_int_equal(pclose(f), 0);
    unlink(name);
    assert_int_equal(wrong, 0);
    print_message("  %u instructions\n", count);
}

static void jumps_land_where_they_are_sent(void **state)
{
    (void)state;
    em = (struct x64_em){code, code, 0x1000};
    uint32_t a = x64_jcc8(&em, X64_CC_E), b = x64_jmp32(&em);
    x64_land8(&em, a);
    assert_int_equal(code[1], 5);
    x64_jmp_to(&em, 0);
    x64_land32(&em, b);
    assert_int_equal(code[3], 5);
    int32_t d;
    memcpy(&d, code + 8, 4);
    assert_int_equal(d, -12);
    x64_jmp_cache(&em, 0x40); /* from 0x1000 + 12 + 5 */
    memcpy(&d, code + 13, 4);
    assert_int_equal(d, 0x40 - 0x1011);
    x64_jcc_to(&em, X64_CC_NE, 0);
    assert_int_equal(code[17], 0x75);
    assert_int_equal((int8_t)code[18], -19);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objdump_reads_what_was_meant),
        cmocka_unit_test(jumps_land_where_they_are_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
