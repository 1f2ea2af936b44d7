// class: int
// A byte-code interpreter: one switch in a loop, running a program that searches for perfect-ish numbers.
#include "bench.h"

enum {
    PUSH,
    LOAD,
    STORE,
    ADD,
    SUB,
    MUL,
    MOD,
    AND,
    XOR,
    SHR,
    LT,
    EQ,
    JZ,
    JMP,
    DUP,
    DROP,
    SWAP,
    INC,
    GET,
    PUT,
    HALT
};

/* for n in 1..limit: s = sum of d < sqrt-ish(n) with n % d == 0; mem[n & 255] ^= s + n */
static const int16_t code[] = {
    /* 0 */ PUSH,  1,   STORE, 0, /* n = 1 */
    /* 4 */ LOAD,  0,   LOAD,  3,   LT,         JZ,    70,
    /* 11 */ PUSH, 0,   STORE, 1,   PUSH,       1,     STORE, 2, /* s = 0, d = 1 */
    /* 19 */ LOAD, 2,   DUP,   MUL, LOAD,       0,     LT,    JZ,         51,
    /* 28 */ LOAD, 0,   LOAD,  2,   MOD,        PUSH,  0,     EQ,         JZ, 46,
    /* 38 */ LOAD, 1,   LOAD,  2,   ADD,        STORE, 1,     DUP + 1000,
    /* 46 */ INC,  2,   JMP,   19,  DUP + 1000,
    /* 51 */ LOAD, 0,   PUSH,  255, AND,        DUP,   GET,   LOAD,       1,  LOAD, 0,
    ADD,           XOR, SWAP,  PUT, INC,        0,     JMP,   4,
    /* 70 */ HALT,
};

static NOINLINE uint64_t run(uint64_t limit, uint64_t *mem)
{
    uint64_t stack[64], *sp = stack, var[4] = {0, 0, 0, limit}, steps = 0;
    const int16_t *pc = code;
    for (;;) {
        steps++;
        switch (*pc++) {
        case PUSH:
            *sp++ = (uint64_t)*pc++;
            break;
        case LOAD:
            *sp++ = var[*pc++ & 3];
            break;
        case STORE:
            var[*pc++ & 3] = *--sp;
            break;
        case ADD:
            sp--;
            sp[-1] += sp[0];
            break;
        case SUB:
            sp--;
            sp[-1] -= sp[0];
            break;
        case MUL:
            sp--;
            sp[-1] *= sp[0];
            break;
        case MOD:
            sp--;
            sp[-1] = (uint32_t)sp[-1] % (uint32_t)sp[0];
            break;
        case AND:
            sp--;
            sp[-1] &= sp[0];
            break;
        case XOR:
            sp--;
            sp[-1] ^= sp[0];
            break;
        case SHR:
            sp--;
            sp[-1] >>= sp[0] & 63;
            break;
        case LT:
            sp--;
            sp[-1] = sp[-1] < sp[0];
            break;
        case EQ:
            sp--;
            sp[-1] = sp[-1] == sp[0];
            break;
        case JZ:
            pc = *--sp ? pc + 1 : code + *pc;
            break;
        case JMP:
            pc = code + *pc;
            break;
        case DUP:
            *sp = sp[-1];
            sp++;
            break;
        case DROP:
            sp--;
            break;
        case SWAP: {
            uint64_t t = sp[-1];
            sp[-1] = sp[-2];
            sp[-2] = t;
            break;
        }
        case INC:
            var[*pc++ & 3]++;
            break;
        case GET:
            sp[-1] = mem[sp[-1] & 255];
            break;
        case PUT:
            sp -= 2;
            mem[sp[1] & 255] = sp[0];
            break;
        case HALT:
            return steps;
        default:
            break; /* padding */
        }
    }
}

int main(int argc, char **argv)
{
    static uint64_t mem[256];
    int rounds = bench_rounds(argc, argv, 33);
    uint64_t sum = 0;
    for (int r = 0; r < rounds; r++)
        sum = bench_mix(sum, run(12000 + (uint64_t)r, mem));
    for (int i = 0; i < 256; i++)
        sum = bench_mix(sum, mem[i]);
    return bench_done("switchvm", sum);
}
