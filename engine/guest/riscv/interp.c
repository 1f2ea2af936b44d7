/* The loop of T0 and its decode cache. */
#include "engine/guest/riscv/interp.h"

#include "engine/cpu/access.h"

#include <string.h>

uint64_t rv_illegal(struct vcpu *v, const struct rv_insn *i, gva_t pc)
{
    v->pc = pc;
    v->trap = (struct cpu_trap){CPU_TRAP_ILLEGAL, CPU_FETCH, rv_insn_bits(i)};
    return rv_leave(CPU_EXIT_TRAP);
}

OP(illegal)
{
    return rv_illegal(v, i, pc);
}

OP(nop)
{
    return next;
}

static rv_handler *find_handler(uint16_t op)
{
    if (rv_handlers_int[op])
        return rv_handlers_int[op];
    if (rv_handlers_mem[op])
        return rv_handlers_mem[op];
    if (rv_handlers_fp[op])
        return rv_handlers_fp[op];
    if (rv_handlers_system[op])
        return rv_handlers_system[op];
    return op_illegal;
}

/* An operation whose one effect is to write rd does nothing if that is x0 (rule 3). */
static bool is_void(const struct isa_insn *d)
{
    const struct isa_attr *a = isa_rv64_attr(d->op);
    return a->rd == ISA_OPERAND_X && !d->rd && a->flow == ISA_FLOW_NONE && a->mem == ISA_MEM_NONE &&
           !a->fp_bits && rv_handlers_int[d->op];
}

void rv_insn_init(struct rv_insn *i, uint32_t word)
{
    struct isa_insn d;
    isa_rv64_decode(word, &d);
    *i = (struct rv_insn){
        .key = d.raw | RV_KEY_VALID,
        .run = is_void(&d) ? op_nop : find_handler(d.op),
        .imm = d.imm,
        .rd = d.rd,
        .rs1 = d.rs1,
        .rs2 = d.rs2,
        .rs3 = d.rs3,
        .rm = isa_rv64_attr(d.op)->uses_rm ? d.rm : d.aqrl,
        .len = d.len,
        .branch = isa_rv64_attr(d.op)->flow != ISA_FLOW_NONE,
    };
}

/* 32 KiB for each thread that interprets; a cold one costs nothing but address space. */
#define CACHE_BITS 10
static _Thread_local struct rv_insn cache[1u << CACHE_BITS];

static inline struct rv_insn *cache_entry(uint32_t word)
{
    return &cache[word * 0x9e3779b1u >> (32 - CACHE_BITS)];
}

/* The pc behind the instruction, by a branch on its length: the next fetch then depends on a prediction, not on
 * this fetch, the hash and the cache entry (measured: twice as fast). */
static inline gva_t next_pc(gva_t pc, uint32_t word)
{
    return (word & 3) == 3 ? rv_predicted(pc + 4) : rv_predicted(pc + 2);
}

enum cpu_exit rv_step(struct vcpu *v, uint64_t n, bool to_branch)
{
    gva_t pc = v->pc;
    const uint64_t count_at_end = v->icount + n;
    while (n) {
        uint32_t word;
        if (unlikely(atomic_load_explicit(&v->exit_req, memory_order_acquire))) {
            v->pc = pc;
            return CPU_EXIT_POLL;
        }
        if (unlikely(!mem_fetch(v, pc, &word))) {
            v->pc = pc;
            return CPU_EXIT_TRAP;
        }
        struct rv_insn *i = cache_entry(word);
        if (unlikely(i->key != (word | RV_KEY_VALID)))
            rv_insn_init(i, word);
        uint64_t result = i->run(v, i, pc, next_pc(pc, word));
        if (unlikely(result & 1)) {
            /* what traps and an ecall do not retire (priv. 3.3.1) */
            v->icount += rv_leave_reason(result) != CPU_EXIT_TRAP &&
                         rv_leave_reason(result) != CPU_EXIT_SYSCALL;
            return rv_leave_reason(result);
        }
        v->icount = count_at_end - --n;
        pc = result;
        if (to_branch && i->branch)
            break;
    }
    v->pc = pc;
    return CPU_EXIT_NEXT;
}

enum cpu_exit rv_exec(struct vcpu *v, uint32_t word)
{
    struct rv_insn i;
    rv_insn_init(&i, word);
    uint64_t result = i.run(v, &i, v->pc, v->pc + i.len);
    if (result & 1)
        return rv_leave_reason(result);
    v->pc = result;
    return CPU_EXIT_NEXT;
}

unsigned rv_disasm(const uint8_t *bytes, size_t n, gva_t pc, char *text, size_t text_bytes)
{
    uint32_t word = 0;
    struct isa_insn d;
    if (text_bytes)
        text[0] = 0;
    if (n < 2)
        return 0;
    memcpy(&word, bytes, 2);
    if (isa_rv64_length((uint16_t)word) == 4) {
        if (n < 4)
            return 0;
        memcpy(&word, bytes, 4);
    }
    isa_rv64_decode(word, &d);
    isa_rv64_disasm(&d, pc, text, text_bytes);
    return d.len;
}
