/*
 * tests/system/calls.c TRACE - holds the host calls of workers and importers, as strace saw them, against their tables.
 *
 * TRACE is of `strace -f -e 'raw=!prctl,execve'`: numbers, so that arguments can be compared. From the moment a
 * thread's filter is in force each of its calls must match a rule of its class, and each rule of each table must be matched by
 * some call: a rule that nothing exercises is one that nobody needs.
 */
#include "daemon/import/confine.h"
#include "daemon/worker/confine.h"
#include "engine/base/base.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EARLY_MAX 64 /* calls of a thread before its name is known */
#define PIDS_MAX 65536

struct call {
    char name[32];
    uint64_t args[6];
    unsigned arg_count;
};
struct thread {
    int pid;
    enum { UNKNOWN, WORKER, IMPORTER } what;
    unsigned class;
    bool filtered;
    struct call early[EARLY_MAX];
    unsigned early_count;
};
static struct thread *threads[PIDS_MAX];
static size_t *hits[2];
static unsigned failures, judged, workers, importers, vcpus;

static struct thread *thread_of(int pid)
{
    struct thread **slot = &threads[pid % PIDS_MAX];
    if (!*slot)
        *slot = calloc(1, sizeof **slot);
    if (*slot)
        (*slot)->pid = pid;
    return *slot;
}

static void judge(const struct thread *t, const struct call *c)
{
    const struct cf_rule *rules = t->what == WORKER ? wk_rules : imp_rules;
    size_t count = t->what == WORKER ? wk_rule_count : imp_rule_count;
    bool any = false;
    judged++;
    for (size_t i = 0; i < count; i++) {
        bool mine = rules[i].classes & t->class || t->class == WK_LOOP;
        if (mine && !strcmp(rules[i].call, c->name) && cf_rule_matches(&rules[i], c->args)) {
            hits[t->what == IMPORTER][i]++;
            any = true;
        }
    }
    if (!any && failures++ < 20)
        printf("no rule for %s(%#llx, %#llx, %#llx, %#llx) of class %u\n", c->name,
               (unsigned long long)c->args[0], (unsigned long long)c->args[1],
               (unsigned long long)c->args[2], (unsigned long long)c->args[3], t->class);
}

/* "name(0x1, 0x2, 0)..." */
static bool parse(const char *line, struct call *c)
{
    size_t n = strspn(line, "abcdefghijklmnopqrstuvwxyz0123456789_");
    if (n == 0 || n >= sizeof c->name || line[n] != '(')
        return false;
    *c = (struct call){0};
    memcpy(c->name, line, n);
    for (const char *p = line + n + 1; c->arg_count < 6;) {
        char *end;
        errno = 0;
        uint64_t v = strtoull(p, &end, 0);
        if (end == p)
            break;
        c->args[c->arg_count++] = v;
        if (strncmp(end, ", ", 2) != 0)
            break;
        p = end + 2;
    }
    return true;
}

static void begin(struct thread *t, const char *line)
{
    if (strstr(line, "/vmd-worker")) {
        t->what = WORKER;
        t->class = WK_LOOP;
        workers++;
    } else if (strstr(line, "vmd-import\"")) {
        t->what = IMPORTER;
        t->class = IMP_MAIN;
        importers++;
    }
    t->filtered = false;
}

/* A thread of the engine tells its name before it enters its filter. */
static void name(struct thread *t, const char *line, struct call *c)
{
    bool vcpu = strstr(line, "\"vcpu ");
    if (t->what != UNKNOWN ||
        (!vcpu && !strstr(line, "\"translator\"") && !strstr(line, "\"ticker\"")))
        return;
    *c = (struct call){.name = "prctl", .args = {15 /* PR_SET_NAME */}};
    vcpus += vcpu;
    t->what = WORKER;
    t->class = WK_LOOP;
    for (unsigned i = 0; i < t->early_count; i++)
        judge(t, &t->early[i]);
    judge(t, c);
    t->class = vcpu ? WK_VCPU : WK_HELPER;
}

static void take(int pid, const char *line)
{
    struct thread *t = thread_of(pid);
    struct call c;
    if (!t || !parse(line, &c))
        return;
    if (!strcmp(c.name, "execve")) {
        begin(t, line);
        return;
    }
    if (t->what == UNKNOWN) {
        if (!strcmp(c.name, "prctl"))
            name(t, line, &c);
        else if (t->early_count < EARLY_MAX)
            t->early[t->early_count++] = c;
        return;
    }
    if (t->filtered) {
        if (strcmp(c.name, "prctl") != 0)
            judge(t, &c);
    } else if (!strcmp(c.name, "seccomp") && c.args[0] == 1 && c.args[1] == 0 && c.args[2]) {
        struct thread loop = {.what = WORKER, .class = WK_LOOP};
        t->filtered = true;
        if (t->what == WORKER && t->class != WK_LOOP)
            judge(&loop, &c); /* below the loop's filter, which it began with */
    }
}

static void report(const char *whose, const struct cf_rule *rules, size_t count, const size_t *hit)
{
    for (size_t i = 0; i < count; i++)
        if (!hit[i]) {
            printf("nothing exercises rule %zu of %s: %s, for \"%s\"\n", i + 1, whose,
                   rules[i].call, rules[i].why);
            failures++;
        }
}

int main(int argc, char **argv)
{
    static char line[8192];
    FILE *f = argc == 2 ? fopen(argv[1], "re") : NULL;
    hits[0] = calloc(wk_rule_count, sizeof(size_t));
    hits[1] = calloc(imp_rule_count, sizeof(size_t));
    if (!f || !hits[0] || !hits[1])
        return 2;
    while (fgets(line, sizeof line, f)) {
        char *at;
        long pid = strtol(line, &at, 10);
        take((int)pid, at + strspn(at, " "));
    }
    fclose(f);
    report("daemon/worker/calls.def", wk_rules, wk_rule_count, hits[0]);
    report("daemon/import/calls.def", imp_rules, imp_rule_count, hits[1]);
    printf("%u calls of %u workers (%u vCPU threads) and %u importers\n", judged, workers, vcpus,
           importers);
    if (!workers || !vcpus || !importers)
        failures++;
    return failures ? 1 : 0;
}
