/* One instruction on one state: see interp.h, and sem.h for the meaning of the operators. */
#include "engine/virtualizability/interp.h"

#include "engine/base/base.h"
#include "engine/virtualizability/sem.h"

#include <string.h>

uint64_t pg_mask(unsigned bits)
{
    return bits >= 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
}

static struct pg_mem_cell *find_mem(struct pg_mem_cell *cells, uint32_t count, enum pg_space space,
                                    uint64_t address)
{
    for (uint32_t i = 0; i < count; i++)
        if (cells[i].address == address && cells[i].space == space)
            return &cells[i];
    return NULL;
}

uint64_t pg_mem_get(const struct pg_state *state, enum pg_space space, uint64_t address,
                    bool *there)
{
    for (uint32_t i = 0; i < state->mem_count; i++)
        if (state->mem[i].address == address && state->mem[i].space == space) {
            if (there)
                *there = true;
            return state->mem[i].value;
        }
    if (there)
        *there = false;
    return 0;
}

bool pg_mem_set(struct pg_state *state, enum pg_space space, uint64_t address, uint64_t value)
{
    struct pg_mem_cell *c = find_mem(state->mem, state->mem_count, space, address);
    if (!c) {
        if (state->mem_count == PG_MEM_MAX)
            return false;
        c = &state->mem[state->mem_count++];
        *c = (struct pg_mem_cell){space, address, 0};
    }
    c->value = value;
    return true;
}

void pg_exec_init(struct pg_exec *x, const struct pg_spec *spec, const struct pg_insn *insn)
{
    x->spec = spec;
    x->insn = insn;
    x->before = NULL;
    x->known = NULL;
    x->draw = NULL;
    x->ctx = NULL;
    x->memory_cells = 0;
    x->known_operands = x->known_arms = 0xff;
    x->outcome = PG_DONE;
    x->trap_kind = 0;
    x->trap_address = 0;
    x->write_count = x->wmem_count = 0;
    memset(x->written, 0, spec->cell_count);
    memset(x->operands, 0, sizeof x->operands);
    memset(x->arms, 0, sizeof x->arms);
    memset(x->locals, 0, sizeof x->locals);
}

uint64_t pg_exec_cell(struct pg_exec *x, uint32_t cell)
{
    if (x->known && !x->known[cell]) {
        uint64_t v = x->draw ? x->draw(x->ctx, x, PG_IN_CELL, cell) : 0;
        x->before->cells[cell] = v & pg_mask(pg_spec_cell_reg(x->spec, cell)->bits);
        x->known[cell] = 1;
    }
    return x->before->cells[cell];
}

uint64_t pg_exec_cell_after(struct pg_exec *x, uint32_t cell)
{
    return x->outcome == PG_DONE && x->written[cell] ? x->value[cell] : pg_exec_cell(x, cell);
}

uint64_t pg_exec_mem(struct pg_exec *x, enum pg_space space, uint64_t address)
{
    struct pg_mem_cell *c = find_mem(x->before->mem, x->before->mem_count, space, address);
    if (c)
        return c->value;
    uint64_t v = 0;
    if (x->draw)
        v = x->draw(x->ctx, x, space == PG_PHYS ? PG_IN_PHYS : PG_IN_MAPPED, address);
    v &= pg_mask(x->spec->word_bits);
    if (!pg_mem_set(x->before, space, address, v))
        x->outcome = PG_TOO_LARGE;
    return v;
}

static uint64_t load(struct pg_exec *x, enum pg_space space, uint64_t address)
{
    struct pg_mem_cell *c = find_mem(x->wmem, x->wmem_count, space, address);
    return c ? c->value : pg_exec_mem(x, space, address);
}

static void store(struct pg_exec *x, enum pg_space space, uint64_t address, uint64_t value)
{
    struct pg_mem_cell *c = find_mem(x->wmem, x->wmem_count, space, address);
    if (!c) {
        if (x->wmem_count == PG_MEM_MAX) {
            x->outcome = PG_TOO_LARGE;
            return;
        }
        c = &x->wmem[x->wmem_count++];
        *c = (struct pg_mem_cell){space, address, 0};
    }
    c->value = value;
}

static uint64_t cell_now(struct pg_exec *x, uint32_t cell)
{
    return x->written[cell] ? x->value[cell] : pg_exec_cell(x, cell);
}

static void cell_write(struct pg_exec *x, uint32_t cell, uint64_t value)
{
    if (!x->written[cell])
        x->write_list[x->write_count++] = (uint16_t)cell;
    x->written[cell] = 1;
    x->value[cell] = value & pg_mask(pg_spec_cell_reg(x->spec, cell)->bits);
}

/* mem[a]: false if it traps. */
static bool relocate(struct pg_exec *x, uint64_t a, enum pg_space *space, uint64_t *address)
{
    const struct pg_spec *s = x->spec;
    *space = PG_MAPPED;
    *address = a;
    if (s->base < 0)
        return true;
    uint64_t l = cell_now(x, s->regs[s->base].first_cell);
    uint64_t b = cell_now(x, s->regs[s->bound].first_cell);
    uint64_t sum = a + l, mask = pg_mask(s->word_bits);
    bool over = sum < a || sum > mask || (x->memory_cells && sum >= x->memory_cells);
    if (a >= b || over) {
        x->outcome = PG_TRAP;
        x->trap_kind = 0;
        x->trap_address = a;
        return false;
    }
    *space = PG_PHYS;
    *address = sum;
    return true;
}

uint64_t pg_op2(enum pg_op op, uint64_t a, uint64_t b, unsigned bits)
{
    uint64_t mask = pg_mask(bits);
    switch (op) {
    case PG_E_OR:
        return a | b;
    case PG_E_XOR:
        return a ^ b;
    case PG_E_AND:
        return a & b;
    case PG_E_EQ:
        return a == b;
    case PG_E_NE:
        return a != b;
    case PG_E_ULT:
        return a < b;
    case PG_E_ULE:
        return a <= b;
    case PG_E_SLT:
        return sign_extend(a, bits) < sign_extend(b, bits);
    case PG_E_SLE:
        return sign_extend(a, bits) <= sign_extend(b, bits);
    case PG_E_SHL:
        return b >= bits ? 0 : a << b & mask;
    case PG_E_SHR:
        return b >= bits ? 0 : a >> b;
    case PG_E_SAR:
        return (uint64_t)(sign_extend(a, bits) >> (b >= bits ? bits - 1 : b)) & mask;
    case PG_E_ADD:
        return (a + b) & mask;
    case PG_E_SUB:
        return (a - b) & mask;
    case PG_E_MUL:
        return a * b & mask;
    case PG_E_DIV:
        return b ? a / b : mask;
    case PG_E_REM:
        return b ? a % b : a;
    default:
        UNREACHABLE();
    }
}

static uint64_t eval_memory(struct pg_exec *x, const struct pg_expr *e)
{
    uint64_t a = pg_exec_eval(x, e->a), address;
    enum pg_space space;
    if (x->outcome != PG_DONE)
        return 0;
    if (e->op == PG_E_PHYS)
        return load(x, PG_PHYS, a);
    return relocate(x, a, &space, &address) ? load(x, space, address) : 0;
}

uint64_t pg_exec_eval(struct pg_exec *x, const struct pg_expr *e)
{
    unsigned bits = x->spec->word_bits;
    uint64_t a, b;
    switch (e->op) {
    case PG_E_CONST:
        return e->value;
    case PG_E_REG: {
        const struct pg_reg *r = &x->spec->regs[e->index];
        return cell_now(x, r->first_cell + (uint32_t)(e->a ? pg_exec_eval(x, e->a) % r->count : 0));
    }
    case PG_E_OPERAND:
        if (!(x->known_operands >> e->index & 1)) {
            uint64_t v = x->draw ? x->draw(x->ctx, x, PG_IN_OPERAND, (uint64_t)e->index) : 0;
            x->operands[e->index] = v & pg_mask(x->insn->operands[e->index].bits);
            x->known_operands |= (uint8_t)(1u << e->index);
        }
        return x->operands[e->index];
    case PG_E_LOCAL:
        return x->locals[e->index];
    case PG_E_MEM:
    case PG_E_PHYS:
        return eval_memory(x, e);
    case PG_E_NOT:
        return !pg_exec_eval(x, e->a);
    case PG_E_COM:
        return ~pg_exec_eval(x, e->a) & pg_mask(bits);
    case PG_E_NEG:
        return -pg_exec_eval(x, e->a) & pg_mask(bits);
    case PG_E_COND:
        return pg_exec_eval(x, pg_exec_eval(x, e->a) ? e->b : e->c);
    case PG_E_LOR:
        return pg_exec_eval(x, e->a) || (x->outcome == PG_DONE && pg_exec_eval(x, e->b));
    case PG_E_LAND:
        return pg_exec_eval(x, e->a) && x->outcome == PG_DONE && pg_exec_eval(x, e->b);
    case PG_E_SEXT:
        a = pg_exec_eval(x, e->a);
        return (uint64_t)sign_extend(a, (unsigned)e->value) & pg_mask(bits);
    default:
        a = pg_exec_eval(x, e->a);
        if (x->outcome != PG_DONE)
            return 0;
        b = pg_exec_eval(x, e->b);
        return pg_op2(e->op, a, b, bits);
    }
}

static uint32_t choose_arm(struct pg_exec *x, const struct pg_stmt *s)
{
    if (!(x->known_arms >> s->index & 1)) {
        uint64_t v = x->draw ? x->draw(x->ctx, x, PG_IN_ARM, (uint64_t)s->index) : 0;
        x->arms[s->index] = (uint8_t)(v % s->arm_count);
        x->known_arms |= (uint8_t)(1u << s->index);
    }
    return x->arms[s->index] % s->arm_count;
}

static void run_store(struct pg_exec *x, const struct pg_stmt *s)
{
    uint64_t at = s->at ? pg_exec_eval(x, s->at) : 0, address = at;
    enum pg_space space = PG_PHYS;
    if (x->outcome != PG_DONE)
        return;
    uint64_t v = pg_exec_eval(x, s->value);
    if (x->outcome != PG_DONE)
        return;
    if (s->kind == PG_S_REG) {
        const struct pg_reg *r = &x->spec->regs[s->index];
        cell_write(x, r->first_cell + (uint32_t)(at % r->count), v);
    } else if (s->kind == PG_S_LOCAL) {
        x->locals[s->index] = v;
    } else if (s->kind == PG_S_PHYS || relocate(x, at, &space, &address)) {
        store(x, space, address, v);
    }
}

static void run_block(struct pg_exec *x, const struct pg_stmt *s)
{
    for (; s && x->outcome == PG_DONE; s = s->next) {
        switch (s->kind) {
        case PG_S_IF: {
            uint64_t c = pg_exec_eval(x, s->value);
            if (x->outcome == PG_DONE)
                run_block(x, s->arm[c ? 0 : 1]);
            break;
        }
        case PG_S_TRAP:
            x->outcome = PG_TRAP;
            x->trap_kind = (uint32_t)s->index;
            break;
        case PG_S_CHOICE:
            run_block(x, s->arm[choose_arm(x, s)]);
            break;
        default:
            run_store(x, s);
        }
    }
}

enum pg_outcome pg_exec_run(struct pg_exec *x)
{
    const struct pg_spec *s = x->spec;
    run_block(x, x->insn->semantics);
    if (x->outcome == PG_DONE && s->pc >= 0) {
        uint32_t pc = s->regs[s->pc].first_cell;
        if (!x->written[pc])
            cell_write(x, pc, pg_exec_cell(x, pc) + x->insn->length);
    }
    return x->outcome;
}

bool pg_exec_after(const struct pg_exec *x, struct pg_state *after)
{
    const struct pg_state *b = x->before;
    memcpy(after->cells, b->cells, x->spec->cell_count * sizeof *b->cells);
    memcpy(after->mem, b->mem, b->mem_count * sizeof *b->mem);
    after->mem_count = b->mem_count;
    if (x->outcome != PG_DONE)
        return x->outcome == PG_TRAP;
    for (uint32_t i = 0; i < x->write_count; i++)
        after->cells[x->write_list[i]] = x->value[x->write_list[i]];
    for (uint32_t i = 0; i < x->wmem_count; i++)
        if (!pg_mem_set(after, x->wmem[i].space, x->wmem[i].address, x->wmem[i].value))
            return false;
    return true;
}

enum pg_outcome pg_run(const struct pg_spec *spec, const struct pg_insn *insn,
                       const struct pg_state *before, struct pg_state *after, struct pg_run *run)
{
    struct pg_exec x;
    struct pg_state b;
    memcpy(b.cells, before->cells, spec->cell_count * sizeof *b.cells);
    memcpy(b.mem, before->mem, before->mem_count * sizeof *b.mem);
    b.mem_count = before->mem_count;
    pg_exec_init(&x, spec, insn);
    x.before = &b;
    x.memory_cells = run->memory_cells;
    memcpy(x.operands, run->operands, sizeof x.operands);
    memcpy(x.arms, run->arms, sizeof x.arms);
    for (uint32_t i = 0; i < insn->operand_count; i++)
        x.operands[i] &= pg_mask(insn->operands[i].bits);
    pg_exec_run(&x);
    if (!pg_exec_after(&x, after))
        x.outcome = PG_TOO_LARGE;
    run->outcome = x.outcome;
    run->trap_kind = x.trap_kind;
    run->trap_address = x.trap_address;
    return x.outcome;
}

uint64_t pg_eval(const struct pg_spec *spec, const struct pg_expr *e, const struct pg_state *state)
{
    struct pg_exec x;
    struct pg_state b;
    memcpy(b.cells, state->cells, spec->cell_count * sizeof *b.cells);
    b.mem_count = 0;
    pg_exec_init(&x, spec, NULL);
    x.before = &b;
    return pg_exec_eval(&x, e);
}
