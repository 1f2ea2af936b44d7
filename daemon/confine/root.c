/* confine/root.c - no files by name: a root folder that is empty and read-only, and Landlock. */
#include "daemon/confine/internal.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self 446
#endif

static const char *mount_point(void)
{
    static const char *const folders[] = {"/tmp", "/run", "/mnt", "/var", "/dev", "/usr"};
    struct stat st;
    for (unsigned i = 0; i < sizeof folders / sizeof folders[0]; i++)
        if (stat(folders[i], &st) == 0 && S_ISDIR(st.st_mode))
            return folders[i];
    return "/proc";
}

/* In a mount namespace of its own. */
res_code_t cf_empty_root(void)
{
    const char *at = mount_point();
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("none", at, "tmpfs", flags, "size=4k,nr_inodes=1,mode=0500") || chdir(at) ||
        syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
        return FAIL;
    return mount(NULL, "/", NULL, flags | MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) ? FAIL : OK;
}

/* Every right that the kernel knows is handled and none is granted (landlock(7), table of ABI versions). */
static const struct {
    unsigned fs_rights, net_rights, scopes;
    size_t bytes;
} abi[] = {
    {0, 0, 0, 0},   {13, 0, 0, 8},  {14, 0, 0, 8},  {15, 0, 0, 8},
    {15, 2, 0, 16}, {16, 2, 0, 16}, {16, 2, 2, 24},
};

res_code_t cf_landlock(void)
{
    struct {
        uint64_t fs, net, scoped;
    } rules;
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* the version, please */);
    if (version < 1)
        return FAIL;
    unsigned v = version > 6 ? 6 : (unsigned)version;
    rules.fs = ((uint64_t)1 << abi[v].fs_rights) - 1;
    rules.net = ((uint64_t)1 << abi[v].net_rights) - 1;
    rules.scoped = ((uint64_t)1 << abi[v].scopes) - 1;
    int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, abi[v].bytes, 0);
    if (fd < 0)
        return FAIL;
    long rc = syscall(SYS_landlock_restrict_self, fd, 0);
    int e = errno;
    close(fd);
    errno = e;
    return rc ? FAIL : OK;
}
