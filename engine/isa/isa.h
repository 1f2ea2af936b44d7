/*
 * isa/isa.h - instructions as data: decode, print, encode, draw at random, ask for attributes.
 *
 * Looks into: base, virtualizability (its words only).  Used by: guest, translate, execute, the analyser, tests.
 * Made from:  one table per instruction set (riscv/rv64gc.isa) by gen/isagen; "engine/isa/rv64.h" is made by
 *             the build and enumerates the operations.
 *
 * A *form* is a row of the table. An *operation* is a form that expands to nothing else: c.addi is a form of the
 * operation addi. A decoded instruction names both; who executes it needs the operation only.
 *
 * Rules:
 *  (1) Decoding is a pure function of the instruction word.
 *  (2) What decodes is legal in user mode but for what depends on state: a dynamic rounding mode that is invalid,
 *      and which CSRs exist. Hints decode as what they expand to, reserved encodings do not decode.
 * Thread: any; there is no state.
 */
#ifndef ISA_ISA_H
#define ISA_ISA_H

#include "engine/isa/rv64.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rng;

struct isa_insn {
    uint16_t op;   /* enum isa_rv64_op, below ISA_RV64_OP_COUNT; 0 if illegal */
    uint16_t form; /* the same, or the compressed form it was written in */
    uint8_t len;   /* bytes: 2 or 4, of an illegal one too */
    uint8_t rd, rs1, rs2,
        rs3;      /* register numbers; 0 where the operation has none. csrr?i: rs1 is the number */
    uint8_t rm;   /* rounding mode: 0..4, or ISA_RV64_RM_DYN */
    uint8_t aqrl; /* bit 1: aq, bit 0: rl */
    int32_t
        imm; /* immediate, sign-extended and scaled; lui, auipc: bits 31:12 in place; shifts: the amount;
                      csr*: the CSR's number, 0..4095; fence: fm << 8 | pred << 4 | succ */
    uint32_t raw; /* the instruction's own bits: the upper half is 0 if len is 2 */
};

#define ISA_RV64_RM_DYN 7

/* Decode the instruction that begins with the low half of word; the upper half counts only if it is long.
 * An illegal one gives false, op and form 0, len 2 or 4, raw. Cost: 5 ns, 15 on code never seen before. */
bool isa_rv64_decode(uint32_t word, struct isa_insn *d);

/* Bytes of the instruction whose first two bytes are given. */
static inline unsigned isa_rv64_length(uint16_t first)
{
    return (first & 3) == 3 ? 4 : 2;
}

/* The instruction as objdump -d -M no-aliases writes it, a space behind the mnemonic; an illegal one as .2byte or
 * .4byte. Returns the length of the whole text, as snprintf does. 64 bytes always suffice. */
size_t isa_rv64_disasm(const struct isa_insn *d, uint64_t pc, char *buf, size_t n);

/* The word that d's form, registers, immediate, rm and aqrl stand for: the inverse of decode but for ignored bits,
 * which are 0. False if an operand does not fit the form. */
bool isa_rv64_encode(const struct isa_insn *d, uint32_t *word);

/* A random encoding of the form: a third of the operands are corner values. Sets ignored bits to 0.
 * form 1 .. ISA_RV64_FORM_COUNT - 1. CSR numbers are mostly those that user mode has. */
uint32_t isa_rv64_random(struct rng *rng, uint16_t form);

enum isa_flow {
    ISA_FLOW_NONE,
    ISA_FLOW_BRANCH,
    ISA_FLOW_JUMP,
    ISA_FLOW_JUMP_IND,
    ISA_FLOW_SYSCALL,
    ISA_FLOW_TRAP
};
enum isa_mem { ISA_MEM_NONE, ISA_MEM_LOAD, ISA_MEM_STORE, ISA_MEM_LR, ISA_MEM_SC, ISA_MEM_AMO };
enum isa_operand { ISA_OPERAND_NONE, ISA_OPERAND_X, ISA_OPERAND_F, ISA_OPERAND_NUMBER };
/* Popek and Goldberg's classes in the analyser's words. A row of the table claims privileged, control, location, mode,
 * resource, innocuous or trapping, of which etc/isa/rv-s.yaml says what they rest on; the claims are held to its analysis. */
enum isa_class {
#define PG_WORD(id, text) ISA_CLASS_##id,
#include "engine/virtualizability/words.def"
#undef PG_WORD
    ISA_CLASS_COUNT
};

struct isa_attr {
    const char *name;      /* "fadd.s", "c.addi"; unique */
    const char *extension; /* "I", "M", "Zicsr", ... */
    uint16_t op;           /* what the form expands to; itself if it is an operation */
    uint8_t len;
    uint8_t flow; /* enum isa_flow */
    uint8_t mem;  /* enum isa_mem */
    uint8_t mem_bytes;
    bool mem_signed; /* a load that sign-extends */
    bool barrier;    /* fence, fence.tso, fence.i */
    uint8_t
        fp_bits; /* 0, 32, 64: of the operation's floating-point operands (fcvt.s.d: of the source) */
    bool uses_rm;
    bool sets_flags;           /* may set fflags */
    uint16_t classes;          /* bit c: of enum isa_class */
    uint8_t rd, rs1, rs2, rs3; /* enum isa_operand: which register file */
    bool has_imm;
};

/* Of an operation or form; of number 0 the illegal instruction's. */
const struct isa_attr *isa_rv64_attr(uint16_t form);
/* The form of that name, or 0. Linear: for tests and tools. */
uint16_t isa_rv64_form_by_name(const char *name);

/* The conventional names: "zero", "ra", ...; "ft0", ... (number < 32). A CSR's, or NULL. */
const char *isa_rv64_xreg_name(unsigned number);
const char *isa_rv64_freg_name(unsigned number);
const char *isa_rv64_csr_name(unsigned number);

#endif
