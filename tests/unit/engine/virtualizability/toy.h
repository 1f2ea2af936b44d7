/* A small machine for the tests of this room: what is written behind it are its instructions. */
#ifndef TEST_VIRTUALIZABILITY_TOY_H
#define TEST_VIRTUALIZABILITY_TOY_H

#define TOY_STATE                                  \
    "isa: toy\n"                                   \
    "machine:\n"                                   \
    "  word_bits: 16\n"                            \
    "  modes: [s, u]\n"                            \
    "  state:\n"                                   \
    "    A: {bits: 16, role: general}\n"           \
    "    X: {bits: 16, count: 4, role: general}\n" \
    "    P: {bits: 16, role: pc}\n"                \
    "    M: {bits: 1, role: mode}\n"               \
    "    L: {bits: 16, role: reloc.base}\n"        \
    "    B: {bits: 16, role: reloc.bound}\n"       \
    "    IM: {bits: 8, role: resource, tag: 3B}\n" \
    "    T: {bits: 16, role: clock}\n"
#define TOY TOY_STATE "instructions:\n"
#define INSN(name, semantics) \
    "- name: " name "\n  operands: {o: 16}\n  semantics: \"" semantics "\"\n"

#endif
