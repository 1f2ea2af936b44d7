/* confine/layers.c - the layers in their order: what needs a power comes before the power is given away. */
#include "daemon/confine/confine.h"
#include "daemon/confine/internal.h"
#include "engine/base/base.h"
#include "engine/base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NOBODY 65534

#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

void cf_active(struct cf_report *r, enum cf_layer layer)
{
    r->layer[layer] = (struct cf_state){.active = true};
}

void cf_missing(struct cf_report *r, enum cf_layer layer, const char *what)
{
    int e = errno;
    r->layer[layer].active = false;
    snprintf(r->layer[layer].why_not, sizeof r->layer[layer].why_not, "%s: %s", what, strerror(e));
}

static void say_missing(struct cf_report *r, enum cf_layer layer, const char *why)
{
    r->layer[layer].active = false;
    snprintf(r->layer[layer].why_not, sizeof r->layer[layer].why_not, "%s", why);
}

/* ---- at the start ---- */

void cf_begin(struct cf_report *r, const char *word, unsigned first_fd)
{
    *r = (struct cf_report){0};
    tzset(); /* the C library reads a file for the first time of day that is printed */
    for (unsigned i = 0; i < CF_LAYER_COUNT; i++)
        say_missing(r, (enum cf_layer)i, "not tried");
    if (word && *word == '-') {
        errno = atoi(word + 1);
        cf_missing(r, CF_USER_NS, "clone with CLONE_NEWUSER");
        cf_missing(r, CF_PID_NS, "clone with CLONE_NEWPID");
    } else {
        r->own_user_ns = word && strchr(word, 'u');
        r->own_pid_ns = word && strchr(word, 'p');
        if (r->own_pid_ns)
            cf_active(r, CF_PID_NS);
        if (word && strchr(word, 'm'))
            say_missing(r, CF_USER_NS, "its map of users was refused");
    }
    if (syscall(SYS_close_range, first_fd, ~0U, 0))
        cf_missing(r, CF_DESCRIPTORS, "close_range");
    else
        cf_active(r, CF_DESCRIPTORS);
    bool bare = !environ || !*environ;
    if (bare)
        cf_active(r, CF_ENVIRONMENT);
    else
        say_missing(r, CF_ENVIRONMENT, "it was started with one");
}

/* ---- who it is ---- */

static bool put_file(int dir, const char *prefix, const char *name, const char *text)
{
    char path[64];
    snprintf(path, sizeof path, "%s%s", prefix, name);
    int fd = openat(dir, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    int e = errno;
    close(fd);
    errno = e;
    return ok;
}

res_code_t cf_map_ids(int proc_fd, const char *prefix, uid_t uid, gid_t gid)
{
    char text[64];
    snprintf(text, sizeof text, "0 %u 1\n", (unsigned)uid);
    if (!put_file(proc_fd, prefix, "uid_map", text) ||
        !put_file(proc_fd, prefix, "setgroups", "deny"))
        return FAIL;
    snprintf(text, sizeof text, "0 %u 1\n", (unsigned)gid);
    return put_file(proc_fd, prefix, "gid_map", text) ? OK : FAIL;
}

/* Does the namespace of the process hold more users than it? */
static bool is_real_root(void)
{
    unsigned inside, outside, count = 0;
    FILE *f = geteuid() ? NULL : fopen("/proc/self/uid_map", "re");
    if (!f)
        return false;
    bool ok = fscanf(f, "%u %u %u", &inside, &outside, &count) == 3;
    fclose(f);
    return ok && count > 1;
}

static void drop_bounding_set(void)
{
    for (int cap = 0; prctl(PR_CAPBSET_DROP, cap) == 0; cap++)
        ;
}

/* Root becomes nobody. What it may do to files of that user is stopped by the other layers. */
static void leave_root(struct cf_report *r)
{
    drop_bounding_set();
    if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
        setresuid(NOBODY, NOBODY, NOBODY))
        cf_missing(r, CF_USER, "setresuid");
    else
        cf_active(r, CF_USER);
    prctl(PR_SET_DUMPABLE, 1); /* its files in /proc are its own again, for the id map */
}

static void enter_user_ns(struct cf_report *r, int proc_fd)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (unshare(CLONE_NEWUSER))
        cf_missing(r, CF_USER_NS, "unshare(CLONE_NEWUSER)");
    else if (cf_map_ids(proc_fd, "", uid, gid))
        cf_missing(r, CF_USER_NS, "its map of users");
    else
        cf_active(r, CF_USER_NS);
}

static void drop_capabilities(struct cf_report *r)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
    const unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                               SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                               SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    drop_bounding_set();
    prctl(PR_SET_SECUREBITS, bits); /* without CAP_SETPCAP there is nothing to lock */
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capset, &head, none))
        cf_missing(r, CF_CAPABILITIES, "capset");
    else
        cf_active(r, CF_CAPABILITIES);
}

/* ---- where it is ---- */

static void enter_namespaces(struct cf_report *r)
{
    static const struct {
        enum cf_layer layer;
        int flag;
        const char *call;
    } all[] = {
        {CF_MOUNT_NS, CLONE_NEWNS, "unshare(CLONE_NEWNS)"},
        {CF_NET_NS, CLONE_NEWNET, "unshare(CLONE_NEWNET)"},
        {CF_IPC_NS, CLONE_NEWIPC, "unshare(CLONE_NEWIPC)"},
        {CF_UTS_NS, CLONE_NEWUTS, "unshare(CLONE_NEWUTS)"},
        {CF_CGROUP_NS, CLONE_NEWCGROUP, "unshare(CLONE_NEWCGROUP)"},
    };
    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        if (unshare(all[i].flag))
            cf_missing(r, all[i].layer, all[i].call);
        else
            cf_active(r, all[i].layer);
    }
    if (!r->layer[CF_MOUNT_NS].active)
        say_missing(r, CF_ROOT, "no mount namespace");
    else if (cf_empty_root())
        cf_missing(r, CF_ROOT, "pivot_root");
    else
        cf_active(r, CF_ROOT);
}

/* ---- what it may use ---- */

static void *nothing(void *arg)
{
    return arg;
}

static bool can_start_threads(void)
{
    pthread_t t;
    if (os_thread_start(&t, "probe", 0, nothing, NULL, NULL))
        return false;
    pthread_join(t, NULL);
    return true;
}

static bool limit(int what, uint64_t most)
{
    struct rlimit old, new;
    if (getrlimit((__rlimit_resource_t)what, &old))
        return false;
    new.rlim_cur = new.rlim_max = MIN((rlim_t)most, old.rlim_max);
    return setrlimit((__rlimit_resource_t)what, &new) == 0;
}

/* Older kernels count all threads of the user, whatever its namespace: then the limit would be hit by others. */
static bool limit_threads(const struct cf_report *r, uint64_t threads)
{
    struct rlimit old, new = {threads, threads};
    if (!r->layer[CF_USER_NS].active || getrlimit(RLIMIT_NPROC, &old) || old.rlim_max < threads)
        return false;
    struct rlimit soft = {threads, old.rlim_max};
    if (setrlimit(RLIMIT_NPROC, &soft))
        return false;
    if (threads && !can_start_threads()) {
        setrlimit(RLIMIT_NPROC, &old);
        return false;
    }
    return setrlimit(RLIMIT_NPROC, &new) == 0;
}

static void set_limits(struct cf_report *r, const struct cf_limits *l)
{
    if (!limit(RLIMIT_CORE, 0) || !limit(RLIMIT_NOFILE, l->files) || !limit(RLIMIT_MEMLOCK, 0) ||
        !limit(RLIMIT_MSGQUEUE, 0) || !limit(RLIMIT_NICE, 0) || !limit(RLIMIT_RTPRIO, 0) ||
        (l->file_bytes != UINT64_MAX && !limit(RLIMIT_FSIZE, l->file_bytes))) {
        cf_missing(r, CF_LIMITS, "setrlimit");
        return;
    }
    cf_active(r, CF_LIMITS);
    if (!limit_threads(r, l->threads))
        snprintf(r->layer[CF_LIMITS].why_not, sizeof r->layer[CF_LIMITS].why_not,
                 "but not the number of threads: it has no user namespace to count them in");
}

#if CF_SANITIZED
static bool confined;

/* LeakSanitizer's own question, at the end. It stops threads with ptrace, which a confined process does not permit. */
__attribute__((visibility("default"))) int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return confined;
}
#endif

void cf_confine(struct cf_report *r, const struct cf_limits *limits)
{
#if CF_SANITIZED
    confined = true;
#endif
    int proc_fd = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    bool root = is_real_root();
    if (r->own_user_ns)
        cf_active(r, CF_USER_NS);
    enter_namespaces(r);
    if (root) {
        leave_root(r);
        enter_user_ns(r, proc_fd);
    } else {
        cf_active(r, CF_USER);
    }
    close_fd(&proc_fd);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        cf_missing(r, CF_NO_NEW_PRIVS, "prctl");
    else
        cf_active(r, CF_NO_NEW_PRIVS);
    if (cf_landlock())
        cf_missing(r, CF_LANDLOCK, "landlock_create_ruleset");
    else
        cf_active(r, CF_LANDLOCK);
    set_limits(r, limits);
    drop_capabilities(r);
    if (prctl(PR_SET_DUMPABLE, 0))
        cf_missing(r, CF_NOT_DUMPABLE, "prctl");
    else
        cf_active(r, CF_NOT_DUMPABLE);
}
