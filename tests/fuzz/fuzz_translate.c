// links: engine/execute engine/guest/riscv engine/host/x64 engine/memory engine/isa engine/base
/*
 * Arbitrary bytes as guest code, in the interpreter and in the translator: every event and the memory must agree. Programs that do not
 * end within T0_INSNS_MAX instructions are only interpreted.
 *
 * Input: a byte (bit 0: 4 GiB window, bits 1-3: frm), four bytes from which registers are
 * drawn, then code.
 */
#include "tests/random/gen.c"
#include "tests/random/run.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct bench benches[2];

static struct bench *bench_for(unsigned which)
{
    static bool made[2];
    if (!made[which]) {
        struct run_config config = {.guest = &rv_guest_ops,
                                    .host = &x64_host_ops,
                                    .name = "fuzz",
                                    .cache_bytes = 65536,
                                    .arena_bytes = 8192,
                                    .vcpu_count = 1,
                                    .t1_threshold = 1};
        bench_init(&benches[which], &config, which ? 32 : 36);
        made[which] = true;
    }
    return &benches[which];
}

/* Parcels to instructions, so that the bench can go on behind one that traps. */
static void take_code(struct gen_program *p, const uint8_t *code, size_t n)
{
    size_t at = 0;
    while (at + 2 <= n && p->count < GEN_INSNS_MAX) {
        uint16_t first;
        memcpy(&first, code + at, 2);
        unsigned len = isa_rv64_length(first);
        if (at + len > n)
            break;
        struct gen_insn *i = &p->insn[p->count++];
        i->len = (uint8_t)len;
        i->off = (uint16_t)at;
        memcpy(&i->word, code + at, len);
        at += len;
    }
    p->bytes = (unsigned)at;
}

/* Counters differ from run to run: no parcel may start an instruction that reads one. True if one was taken out. */
static bool drop_counters(struct gen_program *p)
{
    uint8_t bytes[GEN_BYTES_MAX + 4] = {0};
    gen_bytes(p, bytes);
    for (unsigned i = 0; i < p->count; i++)
        for (unsigned off = p->insn[i].off; off < p->insn[i].off + p->insn[i].len; off += 2) {
            uint32_t word;
            struct isa_insn d;
            memcpy(&word, bytes + off, 4);
            if (isa_rv64_decode(word, &d) && varies(&d)) {
                p->insn[i].word = p->insn[i].len == 2 ? 0x0001 : 0x13;
                return true;
            }
        }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 7)
        return 0;
    static struct gen_program p;
    struct rng rng;
    uint32_t seed;
    memset(&p, 0, sizeof p);
    memcpy(&seed, data + 1, 4);
    rng_seed(&rng, seed);
    struct build b = {.rng = &rng, .p = &p};
    registers(&b);
    p.frm = data[0] >> 1 & 7;
    take_code(&p, data + 5, size - 5);
    while (drop_counters(&p))
        ;
    struct bench *bench = bench_for(data[0] & 1);
    gva_t at;
    bench_load(bench, &p, 1, &at);

    ASSERT(bench_compare(bench, &p, at));
    return 0;
}
