/* Names: folders, links, modes, owners, times.
 * tests: mkdirat unlinkat symlinkat readlinkat linkat renameat renameat2 getdents64 chdir fchdir getcwd faccessat faccessat2
 * tests: fchmodat fchmodat2 fchmod fchownat fchown utimensat umask mknodat statfs fstatfs sync chroot
 */
#include "t.h"

#include <dirent.h>
#include <sys/vfs.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE 2
#endif

static void folders(void)
{
    struct stat st;
    R("mkdir", SYS_mkdirat, AT_FDCWD, "d", 0755);
    R("mkdir again", SYS_mkdirat, AT_FDCWD, "d", 0755);
    R("mkdir inside missing", SYS_mkdirat, AT_FDCWD, "missing/d", 0755);
    R("mkdir inside file", (t_file("f", "x"), SYS_mkdirat), AT_FDCWD, "f/d", 0755);
    R("mkdir empty", SYS_mkdirat, AT_FDCWD, "", 0755);
    R("mkdir bad pointer", SYS_mkdirat, AT_FDCWD, BAD, 0755);
    R("mkdir long", SYS_mkdirat, AT_FDCWD, t_long_name(300), 0755);
    R("mkdir bad dirfd", SYS_mkdirat, 99, "x", 0755);
    R("mkdir trailing slash", SYS_mkdirat, AT_FDCWD, "d/e/", 0755);
    stat("d", &st);
    say("links of d %s", st.st_nlink == 3 || st.st_nlink == 1 ? "3 or 1" : "other");
    R("rmdir not empty", SYS_unlinkat, AT_FDCWD, "d", AT_REMOVEDIR);
    R("unlink folder", SYS_unlinkat, AT_FDCWD, "d", 0);
    R("rmdir file", SYS_unlinkat, AT_FDCWD, "f", AT_REMOVEDIR);
    R("rmdir dot", SYS_unlinkat, AT_FDCWD, "d/.", AT_REMOVEDIR);
    R("rmdir dot dot", SYS_unlinkat, AT_FDCWD, "d/e/..", AT_REMOVEDIR);
    R("rmdir", SYS_unlinkat, AT_FDCWD, "d/e", AT_REMOVEDIR);
    R("unlink missing", SYS_unlinkat, AT_FDCWD, "missing", 0);
    R("unlink flags", SYS_unlinkat, AT_FDCWD, "f", 0x40000000);
    R("unlink bad pointer", SYS_unlinkat, AT_FDCWD, BAD, 0);
    R("unlink below file", SYS_unlinkat, AT_FDCWD, "f/x", 0);
    R("unlink bad dirfd", SYS_unlinkat, 99, "x", 0);
    R("unlink trailing slash", SYS_unlinkat, AT_FDCWD, "f/", 0);
    R("rmdir root", SYS_unlinkat, AT_FDCWD, "/", AT_REMOVEDIR);
}

static void links(void)
{
    char buf[64] = {0};
    struct stat st;
    R("symlink", SYS_symlinkat, "f", AT_FDCWD, "s");
    R("symlink again", SYS_symlinkat, "f", AT_FDCWD, "s");
    R("symlink empty target", SYS_symlinkat, "", AT_FDCWD, "s2");
    R("symlink empty name", SYS_symlinkat, "f", AT_FDCWD, "");
    R("symlink bad pointer", SYS_symlinkat, BAD, AT_FDCWD, "s2");
    R("symlink long target", SYS_symlinkat, t_long_name(4096), AT_FDCWD, "s2");
    R("symlink into file", SYS_symlinkat, "f", AT_FDCWD, "f/s");
    R("readlink", SYS_readlinkat, AT_FDCWD, "s", buf, 64L);
    R("readlink short", SYS_readlinkat, AT_FDCWD, "d/../s", buf, 1L);
    R("readlink no room", SYS_readlinkat, AT_FDCWD, "s", buf, 0L);
    R("readlink of file", SYS_readlinkat, AT_FDCWD, "f", buf, 64L);
    R("readlink missing", SYS_readlinkat, AT_FDCWD, "missing", buf, 64L);
    R("readlink bad buffer", SYS_readlinkat, AT_FDCWD, "s", BAD, 64L);
    R("readlink bad path", SYS_readlinkat, AT_FDCWD, BAD, buf, 64L);
    R("readlink below file", SYS_readlinkat, AT_FDCWD, "f/x", buf, 64L);
    R("link", SYS_linkat, AT_FDCWD, "f", AT_FDCWD, "h", 0);
    stat("f", &st);
    say("links %ld", (long)st.st_nlink);
    R("link again", SYS_linkat, AT_FDCWD, "f", AT_FDCWD, "h", 0);
    R("link folder", SYS_linkat, AT_FDCWD, "d", AT_FDCWD, "h2", 0);
    R("link missing", SYS_linkat, AT_FDCWD, "missing", AT_FDCWD, "h2", 0);
    R("link into missing", SYS_linkat, AT_FDCWD, "f", AT_FDCWD, "missing/h", 0);
    R("link flags", SYS_linkat, AT_FDCWD, "f", AT_FDCWD, "h2", 0x40000000);
    R("link bad pointer", SYS_linkat, AT_FDCWD, "f", AT_FDCWD, BAD, 0);
    R("link of symlink", SYS_linkat, AT_FDCWD, "s", AT_FDCWD, "hs", 0);
    lstat("hs", &st);
    T("it is a symlink", S_ISLNK(st.st_mode));
    R("link follow", SYS_linkat, AT_FDCWD, "s", AT_FDCWD, "hf", AT_SYMLINK_FOLLOW);
    stat("f", &st);
    say("links %ld", (long)st.st_nlink);
    R("unlink one name", SYS_unlinkat, AT_FDCWD, "f", 0);
    R("the others stay", SYS_faccessat, AT_FDCWD, "h", R_OK);
    R("link back", SYS_linkat, AT_FDCWD, "h", AT_FDCWD, "f", 0);
    /* forty links are too many, thirty-nine are not */
    char name[16], to[16];
    t_file("l0", "");
    for (int i = 1; i <= 41; i++) {
        snprintf(name, sizeof name, "l%d", i);
        snprintf(to, sizeof to, "l%d", i - 1);
        symlink(to, name);
    }
    OK("forty links", SYS_openat, AT_FDCWD, "l40", O_RDONLY, 0);
    R("forty-one links", SYS_openat, AT_FDCWD, "l41", O_RDONLY, 0);
}

static void renames(void)
{
    struct stat st;
    int before;
    t_file("a", "a");
    t_file("b", "bb");
    mkdir("x", 0755), mkdir("x/y", 0755), mkdir("z", 0755);
    R("rename", SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, "a2", 0);
    R("rename missing", SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, "a3", 0);
    R("rename over file", SYS_renameat2, AT_FDCWD, "a2", AT_FDCWD, "b", 0);
    stat("b", &st);
    say("size %ld", (long)st.st_size);
    R("rename noreplace", (t_file("c", "c"), SYS_renameat2), AT_FDCWD, "c", AT_FDCWD, "b",
      RENAME_NOREPLACE);
    R("rename exchange", (t_file("e", "eeee"), SYS_renameat2), AT_FDCWD, "c", AT_FDCWD, "e",
      RENAME_EXCHANGE);
    stat("c", &st);
    say("size %ld after the exchange", (long)st.st_size);
    R("rename exchange missing", SYS_renameat2, AT_FDCWD, "c", AT_FDCWD, "missing",
      RENAME_EXCHANGE);
    R("rename both flags", SYS_renameat2, AT_FDCWD, "c", AT_FDCWD, "e",
      RENAME_EXCHANGE | RENAME_NOREPLACE);
    R("rename bad flags", SYS_renameat2, AT_FDCWD, "c", AT_FDCWD, "e", 0x100);
    R("rename file over folder", SYS_renameat2, AT_FDCWD, "c", AT_FDCWD, "z", 0);
    R("rename folder over file", SYS_renameat2, AT_FDCWD, "z", AT_FDCWD, "c", 0);
    R("rename folder into itself", SYS_renameat2, AT_FDCWD, "x", AT_FDCWD, "x/y/x", 0);
    R("rename over a full folder", SYS_renameat2, AT_FDCWD, "z", AT_FDCWD, "x", 0);
    R("rename over an empty folder", SYS_renameat2, AT_FDCWD, "x", AT_FDCWD, "z", 0);
    R("rename to itself", SYS_renameat2, AT_FDCWD, "c", AT_FDCWD, "c", 0);
    R("rename dot", SYS_renameat2, AT_FDCWD, ".", AT_FDCWD, "q", 0);
    R("rename bad pointer", SYS_renameat2, AT_FDCWD, BAD, AT_FDCWD, "q", 0);
    R("rename bad dirfd", SYS_renameat2, 99, "c", AT_FDCWD, "q", 0);
    R("rename into file", SYS_renameat2, AT_FDCWD, "c", AT_FDCWD, "e/q", 0);
    R("rename onto another folder tree", SYS_renameat2, AT_FDCWD, "c", AT_FDCWD, "/proc/q", 0);
#ifdef SYS_renameat
    R("renameat", SYS_renameat, AT_FDCWD, "c", AT_FDCWD, "c2");
    R("renameat back", SYS_renameat, AT_FDCWD, "c2", AT_FDCWD, "c");
#else
    R("renameat", SYS_renameat2, AT_FDCWD, "c", AT_FDCWD, "c2", 0);
    R("renameat back", SYS_renameat2, AT_FDCWD, "c2", AT_FDCWD, "c", 0);
#endif
    before = open("c", O_RDONLY);
    rename("e", "c");
    fstat(before, &st);
    say("links of the replaced %ld", (long)st.st_nlink);
    close(before);
}

static int name_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void listing(void)
{
    struct linux_dirent64 {
        uint64_t ino;
        int64_t off;
        uint16_t reclen;
        uint8_t type;
        char name[];
    };
    char buf[512], *names[64], line[600] = "";
    int n = 0, types = 0;
    mkdir("list", 0755);
    t_file("list/one", "1");
    t_file("list/two", "2");
    mkdir("list/sub", 0755);
    symlink("one", "list/sym");
    int fd = open("list", O_RDONLY | O_DIRECTORY), f = open("list/one", O_RDONLY);
    for (long got; (got = sys(SYS_getdents64, fd, buf, sizeof buf)) > 0;)
        for (long at = 0; at < got && n < 64;) {
            struct linux_dirent64 *e = (void *)(buf + at);
            names[n++] = strdup(e->name);
            types += e->type == DT_DIR || e->type == DT_REG || e->type == DT_LNK;
            at += e->reclen;
        }
    qsort(names, (size_t)n, sizeof *names, name_order);
    for (int i = 0; i < n; i++) {
        strcat(line, " ");
        strcat(line, names[i]);
    }
    say("entries:%s", line);
    T("each has a type", types == n);
    R("getdents at the end", SYS_getdents64, fd, buf, sizeof buf);
    lseek(fd, 0, SEEK_SET);
    R("getdents no room", SYS_getdents64, fd, buf, 8L);
    OK("getdents after rewind", SYS_getdents64, fd, buf, sizeof buf);
    lseek(fd, 0, SEEK_SET);
    R("getdents bad pointer", SYS_getdents64, fd, BAD, sizeof buf);
    R("getdents of file", SYS_getdents64, f, buf, sizeof buf);
    R("getdents bad fd", SYS_getdents64, 99, buf, sizeof buf);
    rmdir("list/sub");
    close(fd), close(f);
}

static void places(void)
{
    char buf[4096], here[4096];
    getcwd(here, sizeof here);
    R("chdir", SYS_chdir, "list");
    getcwd(buf, sizeof buf);
    T("getcwd ends in list", strlen(buf) > 5 && strcmp(buf + strlen(buf) - 5, "/list") == 0);
    R("getcwd no room", SYS_getcwd, buf, 2L);
    R("getcwd bad pointer", SYS_getcwd, BAD, 4096L);
    R("chdir up", SYS_chdir, "..");
    R("chdir file", SYS_chdir, "f");
    R("chdir missing", SYS_chdir, "missing");
    R("chdir bad pointer", SYS_chdir, BAD);
    R("chdir empty", SYS_chdir, "");
    R("chdir long", SYS_chdir, t_long_name(4096));
    int d = open("list", O_RDONLY), f = open("f", O_RDONLY);
    R("fchdir", SYS_fchdir, d);
    R("fchdir file", SYS_fchdir, f);
    R("fchdir bad fd", SYS_fchdir, 99);
    R("chdir back", SYS_chdir, here);
    mkdir("doomed", 0755);
    chdir("doomed");
    rmdir("../doomed");
    R("getcwd of a removed folder", SYS_getcwd, buf, 4096L);
    R("create in a removed folder", SYS_openat, AT_FDCWD, "x", O_CREAT | O_WRONLY, 0644);
    chdir(here);
    R("root's parent is root", SYS_chdir, "/../../..");
    getcwd(buf, sizeof buf);
    say("%s", buf);
    chdir(here);
    close(d), close(f);
}

static void as_nobody(void)
{
    if (getuid() == 0 && (setgid(65534) || setuid(65534)))
        _exit(9);
    R("access unreadable", SYS_faccessat, AT_FDCWD, "secret", R_OK);
    R("open unreadable", SYS_openat, AT_FDCWD, "secret", O_RDONLY, 0);
    R("write read-only file", SYS_openat, AT_FDCWD, "public", O_WRONLY, 0);
    R("search closed folder", SYS_openat, AT_FDCWD, "closed/x", O_RDONLY, 0);
    R("create in read-only folder", SYS_openat, AT_FDCWD, "fixed/new", O_CREAT | O_WRONLY, 0644);
    R("unlink in read-only folder", SYS_unlinkat, AT_FDCWD, "fixed/x", 0);
    R("chdir closed", SYS_chdir, "closed");
    R("exec without x", SYS_execve, "public", NULL, NULL);
    R("chroot", SYS_chroot, ".");
}

static void rights(void)
{
    struct stat st;
    R("access", SYS_faccessat, AT_FDCWD, "f", R_OK | W_OK);
    R("access exists", SYS_faccessat, AT_FDCWD, "f", F_OK);
    R("access execute", SYS_faccessat, AT_FDCWD, "f", X_OK);
    R("access missing", SYS_faccessat, AT_FDCWD, "missing", F_OK);
    R("access mode", SYS_faccessat, AT_FDCWD, "f", 64);
    R("access bad pointer", SYS_faccessat, AT_FDCWD, BAD, F_OK);
    R("access bad dirfd", SYS_faccessat, 99, "f", F_OK);
    R("access below file", SYS_faccessat, AT_FDCWD, "f/x", F_OK);
    R("faccessat2", SYS_faccessat2, AT_FDCWD, "f", R_OK, AT_EACCESS);
    R("faccessat2 flags", SYS_faccessat2, AT_FDCWD, "f", R_OK, 0x40000000);
    R("chmod", SYS_fchmodat, AT_FDCWD, "f", 0640);
    stat("f", &st);
    say("mode %o", st.st_mode);
    R("chmod missing", SYS_fchmodat, AT_FDCWD, "missing", 0640);
    R("chmod bad pointer", SYS_fchmodat, AT_FDCWD, BAD, 0640);
    R("chmod bad dirfd", SYS_fchmodat, 99, "f", 0640);
    R("fchmodat2", 452, AT_FDCWD, "f", 0600, 0);
    R("fchmodat2 of a link", 452, AT_FDCWD, "s", 0600, AT_SYMLINK_NOFOLLOW);
    R("fchmodat2 missing", 452, AT_FDCWD, "missing", 0640, 0);
    R("fchmodat2 flags", 452, AT_FDCWD, "f", 0640, 0x40000000);
    R("fchmodat2 bad pointer", 452, AT_FDCWD, BAD, 0640, 0);
    int fd = open("f", O_RDONLY);
    R("fchmodat2 of a descriptor", 452, fd, "", 0640, AT_EMPTY_PATH);
    R("fchmod", SYS_fchmod, fd, 04711);
    fstat(fd, &st);
    say("mode %o", st.st_mode);
    R("fchmod bad fd", SYS_fchmod, 99, 0600);
    R("chown to the same", SYS_fchownat, AT_FDCWD, "f", -1, -1, 0);
    R("chown missing", SYS_fchownat, AT_FDCWD, "missing", -1, -1, 0);
    R("chown bad pointer", SYS_fchownat, AT_FDCWD, BAD, -1, -1, 0);
    R("chown flags", SYS_fchownat, AT_FDCWD, "f", -1, -1, 0x40000000);
    R("chown empty path", SYS_fchownat, fd, "", -1, -1, AT_EMPTY_PATH);
    R("fchown", SYS_fchown, fd, -1, -1);
    R("fchown bad fd", SYS_fchown, 99, -1, -1);
    close(fd);
    chmod("f", 0644);
    say("umask %o", (unsigned)sys(SYS_umask, 027));
    say("umask %o", (unsigned)sys(SYS_umask, 0777));
    say("umask %o", (unsigned)sys(SYS_umask, 077777));
    sys(SYS_umask, 0027);
    close(open("masked", O_CREAT | O_WRONLY, 0666));
    mkdir("maskeddir", 0777);
    stat("masked", &st);
    say("mode %o", st.st_mode);
    stat("maskeddir", &st);
    say("mode %o", st.st_mode);
    sys(SYS_umask, 022);
    t_file("secret", "s"), chmod("secret", 0);
    t_file("public", "s"), chmod("public", 0444);
    mkdir("closed", 0755), t_file("closed/x", ""), chmod("closed", 0);
    mkdir("fixed", 0755), t_file("fixed/x", ""), chmod("fixed", 0555);
    t_child("nobody", as_nobody);
    chmod("closed", 0755), chmod("fixed", 0755);
}

static void times(void)
{
    struct timespec ts[2] = {{1000, 5}, {2000000000, 7}}, omit[2] = {{0, UTIME_OMIT}, {3000, 0}},
                    bad[2] = {{0, 2000000000}, {0, 0}};
    struct stat st;
    R("utimensat", SYS_utimensat, AT_FDCWD, "f", ts, 0);
    stat("f", &st);
    say("times %ld %ld", (long)st.st_atim.tv_sec, (long)st.st_mtim.tv_sec);
    R("utimensat omit", SYS_utimensat, AT_FDCWD, "f", omit, 0);
    stat("f", &st);
    say("times %ld %ld", (long)st.st_atim.tv_sec, (long)st.st_mtim.tv_sec);
    R("utimensat now", SYS_utimensat, AT_FDCWD, "f", NULL, 0);
    stat("f", &st);
    T("now", st.st_mtim.tv_sec > 1600000000);
    R("utimensat bad nanoseconds", SYS_utimensat, AT_FDCWD, "f", bad, 0);
    R("utimensat missing", SYS_utimensat, AT_FDCWD, "missing", ts, 0);
    R("utimensat bad pointer", SYS_utimensat, AT_FDCWD, "f", BAD, 0);
    R("utimensat bad path", SYS_utimensat, AT_FDCWD, BAD, ts, 0);
    R("utimensat flags", SYS_utimensat, AT_FDCWD, "f", ts, 0x40000000);
    int fd = open("f", O_RDONLY);
    R("futimens", SYS_utimensat, fd, NULL, ts, 0);
    R("futimens bad fd", SYS_utimensat, 99, NULL, ts, 0);
    R("utimensat nofollow", SYS_utimensat, AT_FDCWD, "s", ts, AT_SYMLINK_NOFOLLOW);
    lstat("s", &st);
    say("time of the link %ld", (long)st.st_mtim.tv_sec);
    /* what changes the time of a file */
    struct timespec old[2] = {{1, 0}, {1, 0}};
    futimens(fd, old);
    int w = open("f", O_WRONLY);
    write(w, "x", 1);
    fstat(w, &st);
    T("write changes mtime", st.st_mtim.tv_sec > 1600000000);
    utimensat(AT_FDCWD, "list", old, 0);
    t_file("list/three", "");
    stat("list", &st);
    T("a new name changes the folder's mtime", st.st_mtim.tv_sec > 1600000000);
    close(fd), close(w);
}

static void nodes(void)
{
    struct stat st;
    struct statfs sf;
    R("mknod fifo", SYS_mknodat, AT_FDCWD, "fifo", S_IFIFO | 0600, 0);
    R("mknod again", SYS_mknodat, AT_FDCWD, "fifo", S_IFIFO | 0600, 0);
    R("mknod file", SYS_mknodat, AT_FDCWD, "node", S_IFREG | 0600, 0);
    R("mknod no type", SYS_mknodat, AT_FDCWD, "node2", 0600, 0);
    R("mknod folder", SYS_mknodat, AT_FDCWD, "node3", S_IFDIR | 0600, 0);
    R("mknod bad type", SYS_mknodat, AT_FDCWD, "node3", 0070000 | 0600, 0);
    R("mknod bad pointer", SYS_mknodat, AT_FDCWD, BAD, S_IFREG | 0600, 0);
    stat("fifo", &st);
    T("a fifo", S_ISFIFO(st.st_mode));
    R("open fifo without reader", SYS_openat, AT_FDCWD, "fifo", O_WRONLY | O_NONBLOCK, 0);
    int r =
        (int)OK("open fifo for reading", SYS_openat, AT_FDCWD, "fifo", O_RDONLY | O_NONBLOCK, 0);
    char c;
    R("read without writer", SYS_read, r, &c, 1L);
    int w =
        (int)OK("open fifo for writing", SYS_openat, AT_FDCWD, "fifo", O_WRONLY | O_NONBLOCK, 0);
    R("read empty fifo", SYS_read, r, &c, 1L);
    R("write fifo", SYS_write, w, "x", 1L);
    R("read fifo", SYS_read, r, &c, 1L);
    close(r), close(w);
    R("statfs", SYS_statfs, ".", &sf);
    T("names of 255 bytes", sf.f_namelen == 255);
    T("block size", sf.f_bsize >= 512 && sf.f_blocks >= sf.f_bfree);
    R("statfs missing", SYS_statfs, "missing", &sf);
    R("statfs bad pointer", SYS_statfs, ".", BAD);
    R("statfs bad path", SYS_statfs, BAD, &sf);
    R("statfs proc", SYS_statfs, "/proc", &sf);
    T("proc's magic", sf.f_type == 0x9fa0);
    int fd = open(".", O_RDONLY);
    R("fstatfs", SYS_fstatfs, fd, &sf);
    R("fstatfs bad fd", SYS_fstatfs, 99, &sf);
    R("fstatfs bad pointer", SYS_fstatfs, fd, BAD);
    R("sync", SYS_sync);
    close(fd);
}

int main(void)
{
    folders();
    links();
    renames();
    listing();
    places();
    rights();
    times();
    nodes();
    return 0;
}
