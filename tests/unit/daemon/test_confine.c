// links: daemon/worker daemon/import daemon/confine engine/base
#include "daemon/confine/spawn.h"
#include "daemon/import/confine.h"
#include "daemon/worker/confine.h"
#include "engine/base/base.h"
#include "engine/base/os.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const unsigned classes[] = {WK_ALL, WK_VCPU, WK_HELPER};

static unsigned calls_of(const struct cf_rule *rules, size_t count, unsigned class)
{
    unsigned n = 0;
    for (size_t i = 0; i < count; i++) {
        bool first = rules[i].classes & class;
        for (size_t j = 0; j < i && first; j++)
            first = !(rules[j].classes & class) || rules[j].number != rules[i].number;
        n += first;
    }
    return n;
}

static void the_lists_are_short(void **state)
{
    (void)state;
    print_message(
        "vCPU %u, helper %u, loop %u, import %u calls\n",
        calls_of(wk_rules, wk_rule_count, WK_VCPU), calls_of(wk_rules, wk_rule_count, WK_HELPER),
        calls_of(wk_rules, wk_rule_count, WK_ALL), calls_of(imp_rules, imp_rule_count, IMP_MAIN));
    assert_in_range(calls_of(wk_rules, wk_rule_count, WK_VCPU), 1, 30);
    assert_in_range(calls_of(wk_rules, wk_rule_count, WK_HELPER), 1, 30);
    assert_in_range(calls_of(wk_rules, wk_rule_count, WK_ALL), 1, 50);
    assert_in_range(calls_of(imp_rules, imp_rule_count, IMP_MAIN), 1, 30);
}

static void no_rule_opens_runs_or_reaches_out(void **state)
{
    static const int never[] = {
        SYS_open,
        SYS_openat,
        SYS_openat2,
        SYS_creat,
        SYS_execve,
        SYS_execveat,
        SYS_fork,
        SYS_vfork,
        SYS_ptrace,
        SYS_socket,
        SYS_connect,
        SYS_bind,
        SYS_listen,
        SYS_accept,
        SYS_kill,
        SYS_tkill,

        SYS_mount,
        SYS_chroot,
        SYS_unshare,
        SYS_setns,
        SYS_bpf,
        SYS_io_uring_setup,
        SYS_process_vm_readv,
        SYS_process_vm_writev,
        SYS_pidfd_getfd,
        SYS_newfstatat,
        SYS_readlink,
        SYS_stat,
        SYS_access,
        SYS_unlink,
        SYS_rename,
        SYS_userfaultfd,
        SYS_perf_event_open,
    };
    (void)state;
    for (unsigned n = 0; n < ARRAY_LEN(never); n++) {
        for (size_t i = 0; i < wk_rule_count; i++)
            assert_int_not_equal(wk_rules[i].number, never[n]);
        for (size_t i = 0; i < imp_rule_count; i++)
            assert_int_not_equal(imp_rules[i].number, never[n]);
    }
}

/* What the kernel would make of it. */
static uint32_t bpf(const struct cf_filter *f, const struct seccomp_data *d)
{
    const struct sock_filter *code = f->code;
    uint32_t a = 0;
    for (unsigned pc = 0; pc < f->count; pc++) {
        const struct sock_filter *i = &code[pc];
        switch (i->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            memcpy(&a, (const char *)d + i->k, sizeof a);
            break;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= i->k;
            break;
        case BPF_JMP | BPF_JA:
            pc += i->k;
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
            pc += a == i->k ? i->jt : i->jf;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            pc += a > i->k ? i->jt : i->jf;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            pc += a >= i->k ? i->jt : i->jf;
            break;
        case BPF_RET | BPF_K:
            return i->k;
        default:
            fail_msg("BPF instruction %#x", i->code);
        }
    }
    fail_msg("the program has no end");
    return 0;
}

static uint32_t meant(const struct cf_rule *rules, size_t count, unsigned class,
                      const struct seccomp_data *d)
{
    for (size_t i = 0; i < count; i++)
        if (rules[i].classes & class && rules[i].number == d->nr &&
            cf_rule_matches(&rules[i], (const uint64_t *)d->args))
            return rules[i].refuse ? SECCOMP_RET_ERRNO | (uint32_t)rules[i].refuse
                                   : SECCOMP_RET_ALLOW;
    return 0;
}

/* Arguments near what some rule asks for: its values, a bit more or less, and bits above 32. */
static void random_call(struct rng *r, const struct cf_rule *rules, size_t count,
                        struct seccomp_data *d)
{
    const struct cf_rule *rule = &rules[rng_below(r, count)];
    *d = (struct seccomp_data){.nr = rule->number, .arch = AUDIT_ARCH_X86_64};
    if (rng_below(r, 16) == 0)
        d->nr = (int)rng_below(r, 500);
    for (unsigned i = 0; i < 6; i++)
        d->args[i] = rng_below(r, 2) ? rng_below(r, 32) : rng_next(r) >> rng_below(r, 64);
    for (unsigned i = 0; i < rule->cond_count; i++)
        if (rng_below(r, 8))
            d->args[rule->conds[i].arg] =
                rule->conds[i].value + (rule->conds[i].op == CF_ABOVE ? rng_below(r, 1100) : 0);
    if (rng_below(r, 4) == 0)
        d->args[rng_below(r, 3)] ^= (uint64_t)1 << rng_below(r, 64);
}

static void compare(const struct cf_rule *rules, size_t count, unsigned class, uint64_t seed)
{
    struct cf_filter f;
    struct rng r;
    struct err err = {0};
    unsigned allowed = 0;
    rng_seed(&r, seed);
    if (cf_filter_make(rules, count, class, &f, &err)) {
        assert_non_null(strstr(err.text, "sanitizer"));
        return;
    }
    for (unsigned i = 0; i < 300000; i++) {
        struct seccomp_data d;
        random_call(&r, rules, count, &d);
        uint32_t is = bpf(&f, &d), should = meant(rules, count, class, &d);
        allowed += should == SECCOMP_RET_ALLOW;
        if (should ? is != should
                   : is == SECCOMP_RET_ALLOW || (is & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO)
            fail_msg("call %d (%#llx, %#llx, %#llx, %#llx) of class %u: filter %#x, table %#x",
                     d.nr, (unsigned long long)d.args[0], (unsigned long long)d.args[1],
                     (unsigned long long)d.args[2], (unsigned long long)d.args[3], class, is,
                     should);
        d.arch = AUDIT_ARCH_I386;
        assert_int_not_equal(bpf(&f, &d), SECCOMP_RET_ALLOW);
    }
    assert_true(allowed > 10000);
    cf_filter_free(&f);
}

static void a_filter_means_what_its_table_says(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(classes); i++)
        compare(wk_rules, wk_rule_count, classes[i], 1 + i);
    compare(imp_rules, imp_rule_count, IMP_MAIN, 9);
}

static void a_descriptor_does_not_come_twice(void **state)
{
    const struct cf_rule rule = CF_RULE(ftruncate, 1, "", ABOVE(0, 3));
    uint64_t args[6] = {3};
    (void)state;
    assert_false(cf_rule_matches(&rule, args));
    args[0] = 4;
    assert_true(cf_rule_matches(&rule, args));
    args[0] = 3 | (uint64_t)1 << 32; /* the kernel sees 3 */
    assert_false(cf_rule_matches(&rule, args));
}

/* ---- spawn ---- */

static void a_program_that_is_not_there_is_said(void **state)
{
    const int fds[] = {-1, 1, 2};
    struct cf_process p;
    struct err err;
    (void)state;
    assert_int_equal(cf_spawn("/nowhere/nothing", fds, 3, &p, &err), FAIL);
    assert_non_null(strstr(err.text, "/nowhere/nothing"));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing is left */
}

static void the_end_of_a_child_is_seen(void **state)
{
    const int fds[] = {-1, 1, 2};
    struct cf_process p;
    struct err err;
    int status, sig;
    (void)state;
    assert_int_equal(cf_spawn("/bin/false", fds, 3, &p, &err), OK);
    assert_int_equal(poll(&(struct pollfd){p.pidfd, POLLIN, 0}, 1, 10000), 1);
    cf_reap(&p, &status, &sig);
    close(p.pidfd);
    assert_int_equal(status, 1);
    assert_int_equal(sig, 0);
    assert_int_equal(cf_spawn("/bin/true", fds, 3, &p, &err), OK);
    cf_reap(&p, &status, &sig);
    close(p.pidfd);
    assert_int_equal(status, 0);
}

static void a_child_can_be_killed(void **state)
{
    const int fds[] = {-1, -1, 2};
    struct cf_process p;
    struct err err;
    int status, sig;
    (void)state;
    assert_int_equal(cf_spawn("/usr/bin/yes", fds, 3, &p, &err),
                     OK); /* into the null device, for ever */
    assert_int_equal(kill(p.pid, SIGKILL), 0);
    cf_reap(&p, &status, &sig);
    close(p.pidfd);
    assert_int_equal(sig, SIGKILL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lists_are_short),
        cmocka_unit_test(no_rule_opens_runs_or_reaches_out),
        cmocka_unit_test(a_filter_means_what_its_table_says),
        cmocka_unit_test(a_descriptor_does_not_come_twice),
        cmocka_unit_test(a_program_that_is_not_there_is_said),
        cmocka_unit_test(the_end_of_a_child_is_seen),
        cmocka_unit_test(a_child_can_be_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
