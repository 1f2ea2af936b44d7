#include "daemon/manager/doctor.h"
#include "daemon/confine/confine.h"
#include "daemon/manager/conn.h"
#include "daemon/manager/service.h"
#include "engine/base/base.h"
#include "engine/base/log.h"
#include "engine/base/os.h"
#include "proto/daemon.pb-c.h"

#include <cpuid.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#define MAPS_WANTED 65530 /* 12 guests of a worker with 4,800 each, and its own */
#define FILES_WANTED 4096
#define THREADS_WANTED 4096
#define DISK_LITTLE ((uint64_t)1 << 30)
#define DISK_NONE ((uint64_t)64 << 20)
#define MEMORY_LITTLE ((uint64_t)512 << 20) /* what one guest may use unless told otherwise */

/* ---- what workers say ---- */

static unsigned layer_of(const char *name)
{
    unsigned i = 0;
    while (i < CF_LAYER_COUNT && strcmp(cf_layers[i].name, name) != 0)
        i++;
    return i;
}

void mgr_layers_heard(struct mgr *m, const PbWorkerHello *hello)
{
    struct cf_report now = {0};
    char missing[600] = "";
    size_t n = 0;
    for (size_t i = 0; i < hello->n_layers && i < CF_LAYER_COUNT; i++) {
        unsigned at = layer_of(hello->layers[i]->name);
        if (at == CF_LAYER_COUNT)
            continue;
        now.layer[at].active = hello->layers[i]->active;
        snprintf(now.layer[at].why_not, sizeof now.layer[at].why_not, "%s",
                 hello->layers[i]->why_not);
    }
    if (m->layers && !memcmp(m->layers, &now, sizeof now))
        return;
    for (unsigned i = 0; i < CF_LAYER_COUNT; i++)
        if (!now.layer[i].active && n < sizeof missing - 1)
            n += (size_t)snprintf(missing + n, sizeof missing - n, "%s%s (%s)", n ? ", " : "",
                                  cf_layers[i].name, now.layer[i].why_not);
    if (n)
        log_warn("workers are confined without: %s; \"vmctl doctor\" says what would add it",
                 missing);
    if (!m->layers)
        m->layers = malloc(sizeof *m->layers);
    if (m->layers)
        *m->layers = now;
}

void mgr_layers_fini(struct mgr *m)
{
    free(m->layers);
    m->layers = NULL;
}

/* ---- checks of the host ---- */

struct finding {
    PbDoctorVerdict verdict;
    char found[256], advice[400];
};

__attribute__((format(printf, 3, 4))) static void find(struct finding *f, PbDoctorVerdict verdict,
                                                       const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(f->found, sizeof f->found, fmt, ap);
    va_end(ap);
    f->verdict = verdict;
}

__attribute__((format(printf, 2, 3))) static void advise(struct finding *f, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(f->advice, sizeof f->advice, fmt, ap);
    va_end(ap);
}

#define OK_ PB_DOCTOR_VERDICT_OK
#define WARNING_ PB_DOCTOR_VERDICT_WARNING
#define FAILED_ PB_DOCTOR_VERDICT_FAILED

/* The number in a file of /proc/sys; false: there is no such file. */
static bool sysctl_number(const char *path, uint64_t *out)
{
    unsigned long long v;
    FILE *f = fopen(path, "re");
    bool ok = f && fscanf(f, "%llu", &v) == 1;
    if (f)
        fclose(f);
    if (ok)
        *out = v;
    return ok;
}

static void check_worker(struct mgr *m, struct finding *f)
{
    if (access(m->opt->worker_path, X_OK)) {
        find(f, FAILED_, "%.150s: %s", m->opt->worker_path, strerror(errno));
        advise(f, "install vmd-worker beside vmd, or name it with --worker");
    } else if (m->early_deaths) {
        find(f, FAILED_, "the last %u workers died before they said hello", m->early_deaths);
        advise(f, "the daemon's log says of what");
    } else if (!m->layers) {
        find(f, WARNING_, "none has said hello yet");
        advise(f, "ask again in a moment");
    } else {
        find(f, OK_, "%u running", m->worker_count);
    }
}

static void check_importer(struct mgr *m, struct finding *f)
{
    if (access(m->opt->import_path, X_OK)) {
        find(f, FAILED_, "%.150s: %s", m->opt->import_path, strerror(errno));
        advise(f, "install vmd-import beside vmd, or name it with --import");
    } else {
        find(f, OK_, "%.200s", m->opt->import_path);
    }
}

static void check_kernel(struct mgr *m, struct finding *f)
{
    struct utsname u;
    unsigned major = 0, minor = 0;
    (void)m;
    if (uname(&u) || sscanf(u.release, "%u.%u", &major, &minor) != 2)
        memcpy(u.release, "?", 2);
    if (major > 5 || (major == 5 && minor >= 14)) {
        find(f, OK_, "Linux %.60s", u.release);
    } else {
        find(f, WARNING_, "Linux %.60s", u.release);
        advise(f, "Vivarium is tested on Linux 6.1; before 5.14 pages are populated one by one and "
                  "threads of "
                  "workers cannot be limited");
    }
}

static void check_user_namespaces(struct mgr *m, struct finding *f)
{
    uint64_t most = 0, allowed = 1, restricted = 0;
    bool there = sysctl_number("/proc/sys/user/max_user_namespaces", &most);
    (void)m;
    sysctl_number("/proc/sys/kernel/unprivileged_userns_clone", &allowed);
    sysctl_number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", &restricted);
    if (!there) {
        find(f, WARNING_, "the kernel has none");
        advise(f, "a kernel with CONFIG_USER_NS");
    } else if (most < 2048) {
        find(f, WARNING_, "user.max_user_namespaces is %llu", (unsigned long long)most);
        advise(f, "sysctl -w user.max_user_namespaces=10000");
    } else if (!allowed) {
        find(f, WARNING_, "kernel.unprivileged_userns_clone is 0");
        advise(f, "sysctl -w kernel.unprivileged_userns_clone=1, or run vmd as root (its workers "
                  "are not)");
    } else if (restricted) {
        find(f, WARNING_, "kernel.apparmor_restrict_unprivileged_userns is 1");
        advise(f, "an AppArmor profile for vmd with \"userns,\", or "
                  "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0");
    } else {
        find(f, OK_, "at most %llu", (unsigned long long)most);
    }
}

static void check_maps(struct mgr *m, struct finding *f)
{
    uint64_t v = 0;
    (void)m;
    if (!sysctl_number("/proc/sys/vm/max_map_count", &v))
        find(f, WARNING_, "vm.max_map_count cannot be read");
    else
        find(f, v < MAPS_WANTED ? WARNING_ : OK_, "vm.max_map_count is %llu",
             (unsigned long long)v);
    if (f->verdict != OK_)
        advise(f,
               "sysctl -w vm.max_map_count=%d: guests of a full worker get ENOMEM before their own "
               "limit",
               MAPS_WANTED);
}

static void check_overcommit(struct mgr *m, struct finding *f)
{
    static const char *const meaning[] = {"by heuristic", "always", "never"};
    uint64_t v = 3;
    (void)m;
    if (!sysctl_number("/proc/sys/vm/overcommit_memory", &v) || v > 2) {
        find(f, WARNING_, "vm.overcommit_memory cannot be read");
        advise(f, "mount /proc");
    } else {
        find(f, v == 2 ? WARNING_ : OK_, "%s (vm.overcommit_memory is %u)", meaning[v],
             (unsigned)v);
        if (v == 2)
            advise(f, "sysctl -w vm.overcommit_memory=0: a fork in a guest needs as much free "
                      "commitment as the "
                      "guest has memory, and gets ENOMEM otherwise");
    }
}

static void check_memory(struct mgr *m, struct finding *f)
{
    unsigned long long kib = 0;
    char line[128];
    FILE *file = fopen("/proc/meminfo", "re");
    (void)m;
    while (file && fgets(line, sizeof line, file) && sscanf(line, "MemAvailable: %llu", &kib) != 1)
        ;
    if (file)
        fclose(file);
    bool little = kib * 1024 < MEMORY_LITTLE;
    find(f, little ? WARNING_ : OK_, "%llu MiB available", kib / 1024);
    if (little)
        advise(f, "a guest may use 512 MiB unless it is started with less memory; stop some, or "
                  "add memory");
}

static void check_memfd(struct mgr *m, struct finding *f)
{
    struct err err;
    int fd;
    (void)m;
    if (os_memfd("doctor", 4096, &fd, &err)) {
        find(f, FAILED_, "%.200s", err.text);
        advise(f, "sysctl -w vm.memfd_noexec=0; guests' memory and code caches are memory files");
    } else {
        close(fd);
        find(f, OK_, "memory files can be made");
    }
}

static void check_limit(struct finding *f, int what, uint64_t wanted, const char *advice)
{
    struct rlimit r = {0, 0};
    getrlimit((__rlimit_resource_t)what, &r);
    if (r.rlim_cur == RLIM_INFINITY)
        find(f, OK_, "no limit");
    else
        find(f, r.rlim_cur < wanted ? WARNING_ : OK_, "%llu", (unsigned long long)r.rlim_cur);
    if (f->verdict != OK_)
        advise(f, "%s", advice);
}

static void check_files(struct mgr *m, struct finding *f)
{
    (void)m;
    check_limit(f, RLIMIT_NOFILE, FILES_WANTED,
                "LimitNOFILE=65536 in the unit of vmd (ulimit -n): one for each client, three for "
                "each worker");
}

static void check_threads(struct mgr *m, struct finding *f)
{
    (void)m;
    check_limit(
        f, RLIMIT_NPROC, THREADS_WANTED,
        "LimitNPROC=65536 in the unit of vmd (ulimit -u): each guest has two threads and more");
}

static void check_disk(struct mgr *m, struct finding *f)
{
    struct statvfs s;
    if (statvfs(m->opt->state, &s) || access(m->opt->state, W_OK)) {
        find(f, FAILED_, "%.150s: %s", m->opt->state, strerror(errno));
        advise(f, "the state folder must be there and writable");
        return;
    }
    uint64_t bytes = (uint64_t)s.f_bavail * s.f_frsize;
    bool no_names = s.f_files && s.f_favail < 100;
    find(f,
         bytes < DISK_NONE || no_names ? FAILED_
         : bytes < DISK_LITTLE         ? WARNING_
                                       : OK_,
         "%llu MiB free in %.150s%s", (unsigned long long)(bytes >> 20), m->opt->state,
         no_names ? ", and no inodes" : "");
    if (f->verdict != OK_)
        advise(f, "free some space (vmctl image gc), or move the state folder (--state)");
}

static void check_cpu(struct mgr *m, struct finding *f)
{
    unsigned a, b, c, d, b7 = 0, c7 = 0;
    (void)m;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        c = 0;
    if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d))
        b7 = c7 = 0;
    bool fma = __builtin_cpu_supports("fma"), bmi2 = __builtin_cpu_supports("bmi2");
    bool wide = __builtin_cpu_supports("avx512vl");
    find(f, fma && bmi2 ? OK_ : WARNING_, "%sfma, %sbmi2, %savx512vl", fma ? "" : "no ",
         bmi2 ? "" : "no ", wide ? "" : "no ");
    if (f->verdict != OK_)
        advise(f, "everything works; translated code is slower (floating point without fma is "
                  "interpreted)");
}

static void check_pku(struct mgr *m, struct finding *f)
{
    unsigned a, b, c = 0, d;
    (void)m;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        c = 0;
    find(f, OK_, "%s; not used: masks and the worker process are the walls",
         c >> 4 & 1   ? "there"
         : c >> 3 & 1 ? "off in the kernel"
                      : "none");
}

static const struct {
    const char *name;
    void (*check)(struct mgr *m, struct finding *f);
} checks[] = {
    {"worker", check_worker},       {"importer", check_importer},
    {"kernel", check_kernel},       {"user namespaces", check_user_namespaces},
    {"mappings", check_maps},       {"overcommit", check_overcommit},
    {"memory", check_memory},       {"memory files", check_memfd},
    {"descriptors", check_files},   {"threads", check_threads},
    {"disk", check_disk},           {"cpu", check_cpu},
    {"protection keys", check_pku},
};

/* Without its filter a worker that a guest has taken over has the daemon's user's rights. */
static void judge_layer(const struct mgr *m, unsigned i, struct finding *f)
{
    if (!m->layers) {
        find(f, WARNING_, "no worker has said hello yet");
        advise(f, "see the check \"worker\"");
        return;
    }
    const struct cf_state *s = &m->layers->layer[i];
    if (!s->active) {
        find(f, i == CF_SECCOMP ? FAILED_ : WARNING_, "missing: %s", s->why_not);
        advise(f, "%s; it stops: %s", cf_layers[i].adds, cf_layers[i].stops);
    } else if (s->why_not[0]) {
        find(f, WARNING_, "active, %s", s->why_not);
        advise(f, "%s", cf_layers[i].adds);
    } else {
        find(f, OK_, "active; it stops: %s", cf_layers[i].stops);
    }
}

void mgr_doctor(struct pb_call *call, const ProtobufCMessage *msg)
{
    enum { COUNT = CF_LAYER_COUNT + ARRAY_LEN(checks) };
    struct finding findings[COUNT];
    PbDoctorCheck all[COUNT], *pointers[COUNT];
    PbDoctorResponse resp = PB_DOCTOR_RESPONSE__INIT;
    struct mgr *m = mgr_of_conn(call->conn_ctx);
    (void)msg;
    for (unsigned i = 0; i < COUNT; i++) {
        struct finding *f = &findings[i];
        *f = (struct finding){.verdict = OK_};
        all[i] = (PbDoctorCheck)PB_DOCTOR_CHECK__INIT;
        if (i < CF_LAYER_COUNT)
            judge_layer(m, i, f);
        else
            checks[i - CF_LAYER_COUNT].check(m, f);
        all[i].name = (char *)(uintptr_t)(i < CF_LAYER_COUNT ? cf_layers[i].name
                                                             : checks[i - CF_LAYER_COUNT].name);
        all[i].verdict = f->verdict;
        all[i].found = f->found;
        all[i].advice = f->advice;
        pointers[i] = &all[i];
    }
    resp.checks = pointers;
    resp.n_checks = COUNT;
    pb_call_reply(call, &resp.base);
}
