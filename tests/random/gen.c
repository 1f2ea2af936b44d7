#include "tests/random/gen.h"

#include "engine/base/base.h"

#include <string.h>

#define ITEMS_MIN 32
#define ITEMS_MAX 64
#define POINTERS 3

/* An item is a few instructions that are only entered at the first. */
struct build {
    struct rng *rng;
    struct gen_program *p;
    unsigned item_count;
    uint16_t item_at[ITEMS_MAX + 1]; /* its first instruction */
    struct {
        uint16_t insn, item; /* whose target is which item's start */
        uint16_t from;       /* an auipc that the offset counts from, or the instruction itself */
    } fix[2 * ITEMS_MAX];
    unsigned fix_count;
    uint8_t counter, pointer[POINTERS];
    bool keep_sp;
};

static uint64_t below(struct build *b, uint64_t n)
{
    return rng_below(b->rng, n);
}
static bool chance(struct build *b, unsigned percent)
{
    return below(b, 100) < percent;
}

/* ---- values ---- */

static const uint64_t corner[] = {0,
                                  1,
                                  2,
                                  7,
                                  8,
                                  0x7f,
                                  0x80,
                                  0xff,
                                  0x7fff,
                                  0x8000,
                                  0xffff,
                                  0x7fffffff,
                                  0x80000000,
                                  0xffffffff,
                                  0x100000000,
                                  0x7fffffffffffffff,
                                  0x8000000000000000,
                                  0xffffffff80000000,
                                  0xffffffffffffffff,
                                  0xfffffffffffffffe,
                                  0x5555555555555555,
                                  0x0123456789abcdef};
static const uint64_t corner64[] = {0,
                                    0x8000000000000000,
                                    0x3ff0000000000000,
                                    0xbff0000000000000,
                                    0x7ff0000000000000,
                                    0xfff0000000000000,
                                    0x7ff8000000000000,
                                    0xfff8000000000001,
                                    0x7ff0000000000001,
                                    0x7ff4000000000000,
                                    0x0000000000000001,
                                    0x800fffffffffffff,
                                    0x0010000000000000,
                                    0x7fefffffffffffff,
                                    0x3ff8000000000000,
                                    0x3fe0000000000000,
                                    0x43e0000000000000,
                                    0xc3e0000000000000,
                                    0x41dfffffffc00000,
                                    0xc1e0000000000000,
                                    0x41f0000000000000,
                                    0x43f0000000000000,
                                    0x3fdfffffffffffff,
                                    0x4330000000000001,
                                    0xbfe0000000000000,
                                    0xbfefffffffffffff,
                                    0x36a0000000000000,
                                    0x47efffffe0000000,
                                    0x47f0000000000000,
                                    0x3ff0000000000001};
static const uint32_t corner32[] = {
    0,          0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000,
    0xffc00001, 0x7f800001, 0x7fa00000, 0x00000001, 0x807fffff, 0x00800000, 0x7f7fffff,
    0x3fc00000, 0x3f000000, 0x5f000000, 0xdf000000, 0x4f000000, 0xcf000000, 0x4f800000,
    0x5f800000, 0x4b000001, 0xbf000000, 0x34000000, 0x3f800001};

static uint64_t integer(struct build *b)
{
    switch (below(b, 4)) {
    case 0:
        return corner[below(b, ARRAY_LEN(corner))];
    case 1:
        return rng_next(b->rng) >> below(b, 64);
    case 2:
        return (uint64_t)((int64_t)rng_next(b->rng) >> below(b, 64));
    default:
        return rng_next(b->rng);
    }
}

static uint64_t floating(struct rng *rng)
{
    const uint64_t box = 0xffffffff00000000;
    switch (rng_below(rng, 6)) {
    case 0:
        return corner64[rng_below(rng, ARRAY_LEN(corner64))];
    case 1:
        return corner32[rng_below(rng, ARRAY_LEN(corner32))] | box;
    case 2: /* close to one, so that results are neither */
        return 0x3ff0000000000000 + (rng_next(rng) >> 12) + (rng_below(rng, 32) << 52) -
               (16ull << 52);
    case 3:
        return box | (0x3f800000 + (uint32_t)(rng_next(rng) >> 41) +
                      (uint32_t)(rng_below(rng, 16) << 23) - (8u << 23));
    case 4:
        return rng_next(rng) | box;
    default:
        return rng_next(rng); /* as binary32: not boxed */
    }
}

/* Addresses: in the data, at the ends of pages, now and then outside; aligned as wanted. */
static uint64_t address(struct build *b, unsigned align)
{
    static const uint16_t near[] = {0, 4096, 8192, 12288};
    uint64_t a = chance(b, 70) ? GEN_DATA + below(b, GEN_DATA_BYTES)
                               : GEN_DATA + near[below(b, ARRAY_LEN(near))] + below(b, 32) - 16;
    return a & ~(uint64_t)(align - 1);
}

/* ---- instructions ---- */

static void put_word(struct build *b, uint32_t word)
{
    struct gen_insn *i = &b->p->insn[b->p->count++];
    i->word = word;
    i->len = (uint8_t)isa_rv64_length((uint16_t)word);
}

static bool put(struct build *b, const struct isa_insn *d)
{
    uint32_t word;
    if (!isa_rv64_encode(d, &word))
        return false;
    put_word(b, word);
    return true;
}

static bool is_kept(const struct build *b, unsigned reg)
{
    if (reg == b->counter || (reg == 2 && b->keep_sp))
        return true;
    for (unsigned i = 0; i < POINTERS; i++)
        if (reg == b->pointer[i])
            return true;
    return false;
}

/* A register that may be overwritten. */
static uint8_t free_reg(struct build *b)
{
    for (;;) {
        uint8_t r = (uint8_t)below(b, 32);
        if (!is_kept(b, r))
            return r;
    }
}

/* May the program write rd with this? The counter never; pointers now and then. */
static bool rd_allowed(struct build *b, const struct isa_insn *d)
{
    const struct isa_attr *a = isa_rv64_attr(d->op);
    if (a->rd != ISA_OPERAND_X || !is_kept(b, d->rd))
        return true;
    if (d->rd == 2 && b->keep_sp) /* small steps */
        return d->op == ISA_RV64_ADDI && d->rs1 == 2 && d->imm <= 512 && d->imm >= -512;
    return d->rd != b->counter && chance(b, 5);
}

static struct isa_insn simple(uint16_t op, unsigned rd, unsigned rs1, unsigned rs2, int32_t imm)
{
    return (struct isa_insn){.op = op,
                             .form = op,
                             .len = 4,
                             .rd = (uint8_t)rd,
                             .rs1 = (uint8_t)rs1,
                             .rs2 = (uint8_t)rs2,
                             .imm = imm};
}

static void put_simple(struct build *b, uint16_t op, unsigned rd, unsigned rs1, unsigned rs2,
                       int32_t imm)
{
    struct isa_insn d = simple(op, rd, rs1, rs2, imm);
    bool ok = put(b, &d);
    ASSERT(ok);
}

/* rd = a, below 2^31 */
static void put_address(struct build *b, unsigned rd, uint64_t a)
{
    int32_t low = (int32_t)(a << 52 >> 52 ^ 0x800) - 0x800;
    put_simple(b, ISA_RV64_LUI, rd, 0, 0, (int32_t)((a + 0x800) & ~UINT64_C(0xfff)));
    put_simple(b, ISA_RV64_ADDI, rd, rd, 0, low);
}

/* Counters differ between two runs. */
static bool varies(const struct isa_insn *d)
{
    return !strcmp(isa_rv64_attr(d->op)->extension, "Zicsr") && d->imm >= 0xc00 && d->imm <= 0xc1f;
}

static bool is_load_or_store(const struct isa_insn *d)
{
    return isa_rv64_attr(d->op)->mem != ISA_MEM_NONE;
}

/* Point a load or store at the data, most of the time. */
static void aim(struct build *b, struct isa_insn *d)
{
    const struct isa_attr *a = isa_rv64_attr(d->op);
    bool atomic = a->mem >= ISA_MEM_LR;
    uint32_t word;
    unsigned dice = (unsigned)below(b, 100);
    if (dice < 55) {
        struct isa_insn e = *d;
        e.rs1 = b->pointer[below(b, POINTERS)];
        if (isa_rv64_encode(&e, &word)) {
            *d = e;
            return;
        }
    }
    if (dice < 85 && d->rs1 && !is_kept(b, d->rs1)) {
        unsigned align = atomic && chance(b, 90) ? a->mem_bytes : 1;
        put_address(b, d->rs1, address(b, align) - (uint64_t)(atomic ? 0 : d->imm));
    }
}

static void plain(struct build *b, const uint16_t *forms, unsigned form_count)
{
    for (;;) {
        uint16_t form = forms[below(b, form_count)];
        struct isa_insn d;
        bool ok = isa_rv64_decode(isa_rv64_random(b->rng, form), &d);
        ASSERT(ok);
        const struct isa_attr *a = isa_rv64_attr(d.op);
        if (a->rd == ISA_OPERAND_X && is_kept(b, d.rd) && d.len == 4)
            d.rd = free_reg(b);
        if (!rd_allowed(b, &d) || varies(&d))
            continue;
        unsigned before = b->p->count;
        if (is_load_or_store(&d))
            aim(b, &d);
        if (put(b, &d))
            return;
        b->p->count = before;
    }
}

/* ---- control flow ---- */

static void fix(struct build *b, unsigned from, unsigned item)
{
    b->fix[b->fix_count].insn = (uint16_t)(b->p->count - 1);
    b->fix[b->fix_count].from = (uint16_t)from;
    b->fix[b->fix_count++].item = (uint16_t)item;
}

static const uint16_t branches[] = {ISA_RV64_BEQ,  ISA_RV64_BNE,  ISA_RV64_BLT,    ISA_RV64_BGE,
                                    ISA_RV64_BLTU, ISA_RV64_BGEU, ISA_RV64_C_BEQZ, ISA_RV64_C_BNEZ};

static void branch_to(struct build *b, unsigned item)
{
    uint16_t form = branches[below(b, ARRAY_LEN(branches))];
    struct isa_insn d;
    bool ok = isa_rv64_decode(isa_rv64_random(b->rng, form), &d);
    ASSERT(ok);
    d.imm = 0;
    if (chance(b, 15) && d.len == 4)
        d.rs2 = d.rs1;
    ok = put(b, &d);
    ASSERT(ok);
    fix(b, b->p->count - 1u, item);
}

static void jump_to(struct build *b, unsigned item)
{
    if (chance(b, 40)) {
        struct isa_insn d;
        bool ok = isa_rv64_decode(isa_rv64_random(b->rng, ISA_RV64_C_J), &d);
        d.imm = 0;
        ok = ok && put(b, &d);
        ASSERT(ok);
    } else
        put_simple(b, ISA_RV64_JAL, chance(b, 50) ? free_reg(b) : 0, 0, 0, 0);
    fix(b, b->p->count - 1u, item);
}

static void indirect_to(struct build *b, unsigned item)
{
    uint8_t t = free_reg(b);
    while (!t)
        t = free_reg(b);
    put_simple(b, ISA_RV64_AUIPC, t, 0, 0, 0);
    unsigned auipc = b->p->count - 1u;
    unsigned how = (unsigned)below(b, 4);
    if (how < 2) { /* the link may be the register that holds the target */
        put_simple(b, ISA_RV64_JALR, how ? free_reg(b) : chance(b, 50) ? t : 0, t, 0, 0);
        fix(b, auipc, item);
        return;
    }
    put_simple(b, ISA_RV64_ADDI, t, t, 0, 0);
    fix(b, auipc, item);
    struct isa_insn d = simple(ISA_RV64_JALR, how == 2 ? 0 : 1, t, 0, 0);
    d.form = how == 2 || is_kept(b, 1) ? ISA_RV64_C_JR : ISA_RV64_C_JALR;
    d.len = 2;
    if (d.form == ISA_RV64_C_JR)
        d.rd = 0;
    bool ok = put(b, &d);
    ASSERT(ok);
}

/* counter--; if it is used up go on, else do what goes back */
static void back(struct build *b, unsigned item)
{
    put_simple(b, ISA_RV64_ADDI, b->counter, b->counter, 0, -1);
    if (chance(b, 40)) {
        put_simple(b, ISA_RV64_BLT, 0, 0, b->counter, 0);
        fix(b, b->p->count - 1u, item);
        return;
    }
    put_simple(b, ISA_RV64_BGE, 0, 0, b->counter, 0);
    fix(b, b->p->count - 1u, b->item_count + 1);
    if (chance(b, 60))
        branch_to(b, item);
    else if (chance(b, 50))
        jump_to(b, item);
    else
        indirect_to(b, item);
}

static void wild(struct build *b)
{
    switch (below(b, 4)) {
    case 0:
        put_simple(b, ISA_RV64_ECALL, 0, 0, 0, 0);
        break;
    case 1:
        put_word(b, chance(b, 50) ? 0x9002 /* c.ebreak */ : 0x100073);
        break;
    case 2: { /* an encoding that is none */
        uint32_t w = (uint32_t)rng_next(b->rng);
        struct isa_insn d;
        while (isa_rv64_decode(w, &d))
            w = (uint32_t)rng_next(b->rng);
        put_word(b, d.len == 2 ? (uint16_t)w : w);
        break;
    }
    default: /* to wherever a register points */
        put_simple(b, ISA_RV64_JALR, chance(b, 50) ? free_reg(b) : 0, below(b, 32), 0,
                   (int32_t)below(b, 4096) - 2048);
        break;
    }
}

/* lr; something small; sc to the same place, or nearly */
static void reserve(struct build *b)
{
    bool d = chance(b, 50);
    uint8_t p = b->pointer[0], t = free_reg(b);
    put_simple(b, d ? ISA_RV64_LR_D : ISA_RV64_LR_W, free_reg(b), p, 0, 0);
    if (chance(b, 70))
        put_simple(b, ISA_RV64_ADDI, t, t, 0, 1);
    if (chance(b, 10))
        put_simple(b, ISA_RV64_SD, 0, p, t, 0);
    put_simple(b, d == chance(b, 95) ? ISA_RV64_SC_D : ISA_RV64_SC_W, free_reg(b), p, free_reg(b),
               0);
}

/* ---- whole programs ---- */

static unsigned ahead(struct build *b, unsigned total)
{
    return MIN(b->item_count + 1 + (unsigned)below(b, 8), total);
}
static unsigned behind(struct build *b)
{
    return b->item_count - (unsigned)below(b, MIN(b->item_count, 8u) + 1);
}

static void one_item(struct build *b, unsigned total, const uint16_t *forms, unsigned form_count)
{
    b->item_at[b->item_count] = (uint16_t)b->p->count;
    unsigned dice = (unsigned)below(b, 100);
    if (dice < 72)
        plain(b, forms, form_count);
    else if (dice < 82)
        branch_to(b, ahead(b, total));
    else if (dice < 85)
        jump_to(b, ahead(b, total));
    else if (dice < 89)
        indirect_to(b, ahead(b, total));
    else if (dice < 95)
        back(b, behind(b));
    else if (dice < 98)
        reserve(b);
    else
        wild(b);
    b->item_count++;
}

static void lay_out(struct build *b)
{
    struct gen_program *p = b->p;
    unsigned off = 0;
    for (unsigned i = 0; i < p->count; i++) {
        p->insn[i].off = (uint16_t)off;
        off += p->insn[i].len;
    }
    p->bytes = off;
    for (unsigned i = 0; i < b->fix_count; i++) {
        unsigned target =
            b->fix[i].item < b->item_count ? p->insn[b->item_at[b->fix[i].item]].off : off;
        struct gen_insn *insn = &p->insn[b->fix[i].insn];
        struct isa_insn d;
        bool ok = isa_rv64_decode(insn->word, &d);
        d.imm = (int32_t)target - (int32_t)p->insn[b->fix[i].from].off;
        if (!isa_rv64_encode(&d,
                             &insn->word)) { /* out of reach of a compressed one: fall through */
            insn->word = 0x0001;
            ok = insn->len == 2;
        }
        ASSERT(ok);
    }
}

static unsigned plain_forms(uint16_t forms[ISA_RV64_FORM_COUNT])
{
    unsigned n = 0;
    for (uint16_t f = 1; f < ISA_RV64_FORM_COUNT; f++)
        if (isa_rv64_attr(f)->flow == ISA_FLOW_NONE)
            forms[n++] = f;
    return n;
}

static void registers(struct build *b)
{
    struct gen_program *p = b->p;
    bool used[32] = {true};
    for (unsigned i = 0; i < POINTERS + 1; i++) {
        unsigned r;
        do /* one of them where compressed loads reach it */
            r = i == 1 ? 8 + (unsigned)below(b, 8) : 1 + (unsigned)below(b, 31);
        while (used[r] || r == 2);
        used[r] = true;
        if (i < POINTERS)
            b->pointer[i] = (uint8_t)r;
        else
            b->counter = (uint8_t)r;
    }
    for (unsigned i = 1; i < 32; i++)
        p->r[i] = chance(b, 25) ? address(b, 8) : integer(b);
    b->keep_sp = chance(b, 85);
    if (b->keep_sp)
        p->r[2] = GEN_DATA + 4096 - 512 + 16 * below(b, 64);
    p->r[b->pointer[0]] = address(b, 8);
    p->r[b->pointer[1]] = GEN_DATA + 2048 + below(b, 4096); /* every offset hits */
    p->r[b->pointer[2]] = address(b, 1);
    for (unsigned i = 0; i < POINTERS; i++)
        if (chance(b, 20)) /* what the window cuts off */
            p->r[b->pointer[i]] |= rng_next(b->rng) << 38;
    p->r[b->counter] = 1 + below(b, chance(b, 20) ? 100 : 12);
    for (unsigned i = 0; i < 32; i++)
        p->f[i] = floating(b->rng);
    p->frm = chance(b, 80) ? (uint32_t)below(b, 4) : (uint32_t)below(b, 8);
    p->fflags = chance(b, 50) ? 0 : (uint32_t)below(b, 32);
}

void gen_program(struct gen_program *p, struct rng *rng)
{
    static uint16_t forms[ISA_RV64_FORM_COUNT];
    static unsigned form_count;
    if (!form_count)
        form_count = plain_forms(forms);
    memset(p, 0, sizeof *p);
    p->last = 0x73;
    struct build b = {.rng = rng, .p = p};
    registers(&b);
    unsigned total = ITEMS_MIN + (unsigned)rng_below(rng, ITEMS_MAX - ITEMS_MIN + 1);
    while (b.item_count < total)
        one_item(&b, total, forms, form_count);
    lay_out(&b);
}

void gen_data(uint8_t data[GEN_DATA_BYTES + GEN_READONLY_BYTES], struct rng *rng)
{
    struct build b = {.rng = rng};
    for (size_t i = 0; i < GEN_DATA_BYTES + GEN_READONLY_BYTES; i += 8) {
        uint64_t x = rng_below(rng, 2) ? floating(rng) : integer(&b);
        memcpy(data + i, &x, 8);
    }
}

unsigned gen_bytes(const struct gen_program *p, uint8_t bytes[GEN_BYTES_MAX])
{
    for (unsigned i = 0; i < p->count; i++)
        memcpy(bytes + p->insn[i].off, &p->insn[i].word, p->insn[i].len);
    memcpy(bytes + p->bytes, &p->last, 4);
    return p->bytes + 4;
}
