/* confine/filter.c - from rules to a seccomp program, by libseccomp: it checks the architecture, compares 64 bits, sorts. */
#include "daemon/confine/confine.h"
#include "daemon/confine/internal.h"
#include "engine/base/base.h"
#include "engine/base/os.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* In debug builds a call that is not allowed says which it was before it ends the process. */
#ifdef VV_CONFINE_TELL
#define DENIED SCMP_ACT_TRAP
#define TELLS 1
static void tell(int sig, siginfo_t *si, void *context)
{
    char text[128];
    (void)context;
    int n = snprintf(text, sizeof text,
                     "confinement: system call %d at %p is not on the list of this thread\n",
                     si->si_syscall, si->si_call_addr);
    if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0)
        _exit(128 + sig);
    _exit(128 + sig);
}

static void prepare_to_tell(void)
{
    struct sigaction sa = {.sa_sigaction = tell, .sa_flags = SA_SIGINFO};
    sigaction(SIGSYS, &sa, NULL);
}
#else
#define DENIED SCMP_ACT_KILL_PROCESS
#define TELLS 0
static void prepare_to_tell(void)
{
}
#endif

/* libseccomp takes one comparison of an argument: a range is made of aligned blocks, an alternative rule for each. */
static int add_range(scmp_filter_ctx ctx, uint32_t action, const struct cf_rule *rule,
                     struct scmp_arg_cmp *cmp, unsigned at)
{
    const struct cf_cond *c = &rule->conds[at];
    for (uint64_t lo = c->value + 1, bytes; lo < CF_FD_END; lo += bytes) {
        bytes = lo & -lo;
        while (lo + bytes > CF_FD_END)
            bytes /= 2;
        cmp[at] = SCMP_CMP64(c->arg, SCMP_CMP_MASKED_EQ, ~(bytes - 1), lo);
        int rc = seccomp_rule_add_array(ctx, action, rule->number, rule->cond_count, cmp);
        if (rc)
            return rc;
    }
    return 0;
}

static int add(scmp_filter_ctx ctx, const struct cf_rule *rule)
{
    uint32_t action = rule->refuse ? SCMP_ACT_ERRNO((unsigned)rule->refuse) : SCMP_ACT_ALLOW;
    struct scmp_arg_cmp cmp[CF_CONDS_MAX];
    unsigned range = CF_CONDS_MAX;
    for (unsigned i = 0; i < rule->cond_count; i++) {
        const struct cf_cond *c = &rule->conds[i];
        if (c->op == CF_ABOVE)
            range = i;
        else if (c->op == CF_EQ)
            cmp[i] = SCMP_CMP64(c->arg, SCMP_CMP_EQ, c->value);
        else
            cmp[i] = SCMP_CMP64(c->arg, SCMP_CMP_MASKED_EQ, c->mask, c->value);
    }
    if (range < CF_CONDS_MAX)
        return add_range(ctx, action, rule, cmp, range);
    return seccomp_rule_add_array(ctx, action, rule->number, rule->cond_count, cmp);
}

/* libseccomp hands programs out through a descriptor only. */
static res_code_t take_code(scmp_filter_ctx ctx, struct cf_filter *f, struct err *err)
{
    CLEANUP(close_fd) int fd = -1;
    struct stat st;
    if (os_memfd("filter", 0, &fd, err))
        return FAIL;
    if (seccomp_export_bpf(ctx, fd) || fstat(fd, &st))
        return err_set(err, ERR_OS, "seccomp program cannot be made");
    void *code = malloc((size_t)st.st_size);
    if (!code)
        return err_set(err, ERR_NO_MEMORY, "no memory for a seccomp program");
    if (pread(fd, code, (size_t)st.st_size, 0) != st.st_size) {
        free(code);
        return err_set_os(err, "seccomp program");
    }
    *f = (struct cf_filter){code, (unsigned)((size_t)st.st_size / sizeof(struct sock_filter))};
    return OK;
}

res_code_t cf_filter_make(const struct cf_rule *rules, size_t count, unsigned class_bit,
                          struct cf_filter *f, struct err *err)
{
    if (CF_SANITIZED)
        return err_set(err, ERR_OS, "a sanitizer build makes calls of its own");
    scmp_filter_ctx ctx = seccomp_init(DENIED);
    int rc = ctx ? 0 : -ENOMEM;
    if (!rc)
        rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH,
                              DENIED); /* the 32-bit and x32 doors too */
    for (size_t i = 0; i < count && !rc; i++)
        if (rules[i].classes & class_bit)
            rc = add(ctx, &rules[i]);
    if (TELLS && !rc) /* what tell() does must be allowed */
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SYS_write, 1, SCMP_A0_64(SCMP_CMP_EQ, 2));
    if (TELLS && !rc)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SYS_exit_group, 0);
    res_code_t res;
    if (rc) {
        errno = -rc;
        res = err_set_os(err, "seccomp rules");
    } else {
        res = take_code(ctx, f, err);
    }
    if (ctx)
        seccomp_release(ctx);
    if (!res)
        prepare_to_tell();
    return res;
}

void cf_filter_free(struct cf_filter *f)
{
    free(f->code);
    *f = (struct cf_filter){0};
}

res_code_t cf_filter_enter(const struct cf_filter *f, struct err *err)
{
    struct sock_fprog prog = {(unsigned short)f->count, f->code};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog))
        return err_set_os(err, "seccomp");
    return OK;
}
