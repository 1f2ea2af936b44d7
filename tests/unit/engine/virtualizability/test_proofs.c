// links: engine/virtualizability engine/base
/*
 * The proofs against the interpreter: what is proved of a random instruction of a tiny machine, no pair of states of that
 * machine may contradict. All pairs are tried, or as many as there is time for.
 *
 * PG_PROOFS=n tries n instructions instead of a few hundred.
 */
#include "engine/base/base.h"
#include "engine/base/buf.h"
#include "engine/virtualizability/decide.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char *const machines[] = {
    /* paged, with every kind of VM map */
    "isa: a\nmachine:\n  word_bits: 3\n  modes: [s, u]\n  memory: {cells: 8}\n  state:\n"
    "    A: {bits: 3, role: general}\n    X: {bits: 2, count: 2, role: general}\n"
    "    P: {bits: 2, role: pc}\n    M: {bits: 1, role: mode}\n    R: {bits: 2, role: resource}\n"
    "    I: {bits: 2, role: resource, vmm: identity}\n    Q: {bits: 1, count: 2, role: resource}\n"
    "    C: {bits: 2, role: resource, vmm: \"const:1\"}\n  vmm_config: [\"R < 2\"]\n",
    /* relocated */
    "isa: b\nmachine:\n  word_bits: 2\n  modes: [s, u]\n  memory: {cells: 4}\n  state:\n"
    "    A: {bits: 2, role: general}\n    X: {bits: 1, count: 2, role: general}\n"
    "    P: {bits: 1, role: pc}\n    M: {bits: 1, role: mode}\n    R: {bits: 2, role: resource}\n"
    "    L: {bits: 2, role: reloc.base}\n    B: {bits: 2, role: reloc.bound}\n"
    "    Q: {bits: 1, count: 2, role: resource}\n    I: {bits: 1, role: resource, vmm: identity}\n"
    "    C: {bits: 2, role: resource}\n  invariant: [\"L != 3\"]\n",
    /* three modes, two of them the hardware's; state kept in another register */
    "isa: c\nmachine:\n  word_bits: 3\n  modes: [s, vs, vu, u]\n  supervisor: [s, vs]\n"
    "  user: [u, vu]\n  deprivilege: {s: vs, u: vu}\n  state:\n    A: {bits: 3, role: general}\n"
    "    X: {bits: 2, count: 2, role: general}\n    P: {bits: 2, role: pc}\n"
    "    M: {bits: 2, role: mode}\n    R: {bits: 2, role: resource, vmm: in I}\n"
    "    I: {bits: 2, role: resource}\n    Q: {bits: 1, count: 2, role: resource}\n"
    "    C: {bits: 1, role: resource}\n  invariant: [\"C == 0 || R != 3\"]\n",
};

static struct rng rng;

static const char *pick(const char *const *list, size_t n)
{
    return list[rng_below(&rng, n)];
}

static void expr(struct buf *b, unsigned depth)
{
    static const char *const leaves[] = {"A",    "P",    "M",      "R",       "I", "C",    "o",
                                         "0",    "1",    "2",      "3",       "u", "X[o]", "Q[o]",
                                         "X[1]", "Q[0]", "mem[o]", "phys[o]", "v", "s"};
    static const char *const ops[] = {"+",  "-",  "&",  "|",  "^",   "==", "!=", "<", "<=", "<s",
                                      "<<", ">>", "&&", "||", ">>s", "*",  "/",  "%", ">=s"};
    if (depth == 0 || rng_below(&rng, 4) == 0) {
        buf_printf(b, "%s", pick(leaves, ARRAY_LEN(leaves)));
        return;
    }
    switch (rng_below(&rng, 8)) {
    case 0:
        buf_printf(b, "%s(", pick((const char *const[]){"!", "~", "-"}, 3));
        expr(b, depth - 1);
        buf_printf(b, ")");
        return;
    case 1:
        buf_printf(b, "(");
        expr(b, depth - 1);
        buf_printf(b, " ? ");
        expr(b, depth - 1);
        buf_printf(b, " : ");
        expr(b, depth - 1);
        buf_printf(b, ")");
        return;
    case 2:
        buf_printf(b, "sext(");
        expr(b, depth - 1);
        buf_printf(b, ", 2)");
        return;
    case 3:
        buf_printf(b, "%s[", pick((const char *const[]){"X", "Q", "mem", "phys"}, 4));
        expr(b, depth - 1);
        buf_printf(b, "]");
        return;
    default:
        buf_printf(b, "(");
        expr(b, depth - 1);
        buf_printf(b, " %s ", pick(ops, ARRAY_LEN(ops)));
        expr(b, depth - 1);
        buf_printf(b, ")");
    }
}

static void statement(struct buf *b, unsigned depth, bool relocated)
{
    static const char *const targets[] = {"A",    "A",    "P",      "M",       "R", "I", "C",
                                          "X[o]", "Q[A]", "mem[o]", "phys[A]", "v", "v"};
    uint64_t kind = rng_below(&rng, depth ? 10 : 5);
    if (kind < 5) {
        const char *t = pick(targets, ARRAY_LEN(targets));
        if (relocated && rng_below(&rng, 8) == 0)
            t = rng_below(&rng, 2) ? "L" : "B";
        buf_printf(b, "%s = ", t);
        expr(b, 2);
        buf_printf(b, "; ");
    } else if (kind < 8) {
        buf_printf(b, "if ");
        expr(b, 2);
        buf_printf(b, " { ");
        statement(b, depth - 1, relocated);
        buf_printf(b, "} else { ");
        statement(b, depth - 1, relocated);
        buf_printf(b, "} ");
    } else if (kind == 8) {
        buf_printf(b, "if M == u { trap priv; } ");
    } else {
        buf_printf(b, "choice %s{ ", rng_below(&rng, 2) ? "same " : "");
        statement(b, depth - 1, relocated);
        buf_printf(b, "} { ");
        statement(b, depth - 1, relocated);
        buf_printf(b, "} ");
    }
}

static struct pg_spec *random_spec(unsigned machine)
{
    CLEANUP(buf_fini) struct buf b = {0};
    struct pg_spec *spec = NULL;
    struct err err;
    buf_printf(&b, "%sinstructions:\n- name: I\n  operands: {o: 2}\n  semantics: \"v = 0; ",
               machines[machine]);
    for (uint64_t n = 1 + rng_below(&rng, 3); n; n--)
        statement(&b, 2, machine == 1);
    buf_printf(&b, "\"\n");
    if (pg_spec_parse("random", b.data, b.len, &spec, &err) != OK)
        fail_msg("%s\n%.*s", err.text, (int)b.len, (const char *)b.data);
    return spec;
}

struct count {
    unsigned proved, refuted, open;
};

static void check_question(struct pg_decider *d, const struct pg_ask *ask, struct count *n)
{
    struct pg_claim c = {.ask = *ask, .z = &d->z, .arena = &d->scratch};
    enum pg_method how;
    bool complete;
    d->refuter.effort = 0;
    d->refuter.effort_max = 4000000;
    arena_reset(&d->scratch);
    pg_terms_reset(&d->z);
    pg_claim_build(&c);
    bool proved = !c.overflow && pg_decide_prune(d, &c, &how);
    enum pg_exhausted got = pg_search_all(d->search, ask, ask->spec->word_bits, 2000, &complete);
    if (got != PG_FOUND && proved)
        got = pg_search_random(d->search, ask, NULL, 500) ? PG_FOUND : got;
    if (proved && got == PG_FOUND)
        fail_msg("question %d in modes %u, %u is proved and has a witness:\n%s", ask->question,
                 ask->mode[0], ask->mode[1], ask->insn->semantics_text);
    n->proved += proved;
    n->refuted += got == PG_FOUND;
    n->open += !proved && got != PG_FOUND;
}

static void check_spec(const struct pg_spec *spec, struct count *n)
{
    struct pg_options options = {0};
    struct arena results;
    uint64_t counts[PG_METHOD_COUNT] = {0};
    struct err err;
    struct pg_decider d = {
        .spec = spec, .options = &options, .results = &results, .question_count = counts};
    arena_init(&results, 0);
    assert_int_equal(pg_decider_init(&d, &err), OK);
    pg_search_insn(d.search, &spec->insns[0]);
    for (int q = 0; q < PG_Q_ALL; q++)
        for (uint32_t m = 0; m < spec->mode_count; m++)
            for (uint32_t k = 0; k < spec->mode_count; k++) {
                bool pair = q == PG_Q_PRIVILEGED || q == PG_Q_SHOWS || q == PG_Q_MODE;
                bool hole = q == PG_Q_HOLE;
                if ((pair && m == k) || (!pair && !hole && m != k) ||
                    (q == PG_Q_LOCATION && spec->base < 0) ||
                    (hole && (!(spec->virtual_modes >> m & 1) || spec->deprivilege[m] != (int)k)))
                    continue;
                struct pg_ask ask = {
                    .spec = spec, .insn = &spec->insns[0], .question = q, .mode = {m, k}};
                check_question(&d, &ask, n);
            }
    pg_decider_fini(&d);
    arena_fini(&results);
}

static void no_state_contradicts_a_proof(void **state)
{
    (void)state;
    const char *wanted = getenv("PG_PROOFS"), *seed = getenv("PG_SEED");
    unsigned rounds = wanted ? (unsigned)atoi(wanted) : 90;
    struct count n = {0};
    rng_seed(&rng, seed ? (uint64_t)atoi(seed) : 1974);
    for (unsigned i = 0; i < rounds; i++) {
        struct pg_spec *spec = random_spec(i % ARRAY_LEN(machines));
        check_spec(spec, &n);
        pg_spec_free(spec);
    }
    print_message("%u proved, %u with a witness, %u open\n", n.proved, n.refuted, n.open);
    assert_true(n.proved > n.open); /* the prover is not only sound */
    assert_true(n.refuted > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_state_contradicts_a_proof)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
