#include "tests/random/corpus.h"

#include <stdlib.h>
#include <string.h>

static void refuse(const char *token)
{
    fprintf(stderr, "regressions: '%s' is not understood\n", token);
    exit(2);
}

/* The next word that is no comment. */
static bool next(FILE *f, char token[64])
{
    while (fscanf(f, "%63s", token) == 1) {
        if (*token != '#')
            return true;
        for (int c = 0; c != '\n' && c != EOF;)
            c = getc(f);
    }
    return false;
}

static uint64_t number(FILE *f, int base)
{
    char token[64], *end = token;
    uint64_t n = next(f, token) ? strtoull(token, &end, base) : 0;
    if (end == token || *end)
        refuse("a number");
    return n;
}

static void set(FILE *f, uint64_t file[32])
{
    uint64_t n = number(f, 10);
    if (n >= 32)
        refuse("a register's number");
    file[n] = number(f, 0);
}

static void add(struct gen_program *p, const char *token)
{
    char *end;
    unsigned long word = strtoul(token, &end, 16);
    if (*end || word > UINT32_MAX || p->count == GEN_INSNS_MAX)
        refuse(token);
    struct gen_insn *i = &p->insn[p->count++];
    *i = (struct gen_insn){.word = (uint32_t)word,
                           .off = (uint16_t)p->bytes,
                           .len = (uint8_t)isa_rv64_length((uint16_t)word)};
    p->bytes += i->len;
}

bool corpus_read(FILE *f, struct gen_program *p, char name[64])
{
    char token[64];
    *p = (struct gen_program){.last = 0x73};
    if (!next(f, token))
        return false;
    if (strcmp(token, "program") || !next(f, name))
        refuse(token);
    for (long here = ftell(f); next(f, token); here = ftell(f)) {
        if (!strcmp(token, "program")) {
            fseek(f, here, SEEK_SET);
            break;
        }
        if (!strcmp(token, "x"))
            set(f, p->r);
        else if (!strcmp(token, "f"))
            set(f, p->f);
        else if (!strcmp(token, "frm"))
            p->frm = (uint32_t)number(f, 0) & 7;
        else if (!strcmp(token, "fflags"))
            p->fflags = (uint32_t)number(f, 0) & 31;
        else
            add(p, token);
    }
    if (!p->count)
        refuse(name);
    return true;
}
