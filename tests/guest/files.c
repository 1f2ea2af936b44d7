/* Files by descriptor.
 * tests: openat close read write lseek fstat newfstatat pread64 pwrite64 readv writev ftruncate truncate
 * tests: dup dup3 fcntl fsync fdatasync fallocate sendfile copy_file_range fadvise64 statx flock close_range
 * tests: preadv pwritev syncfs
 */
#include "t.h"

#include <linux/stat.h>
#include <sys/file.h>
#include <sys/uio.h>

static void opens(void)
{
    t_file("f", "0123456789");
    OK("open", SYS_openat, AT_FDCWD, "f", O_RDONLY, 0);
    R("open missing", SYS_openat, AT_FDCWD, "missing", O_RDONLY, 0);
    R("open below a file", SYS_openat, AT_FDCWD, "f/x", O_RDONLY, 0);
    R("open empty path", SYS_openat, AT_FDCWD, "", O_RDONLY, 0);
    R("open bad pointer", SYS_openat, AT_FDCWD, BAD, O_RDONLY, 0);
    R("open kernel pointer", SYS_openat, AT_FDCWD, KERNEL_BAD, O_RDONLY, 0);
    R("open null", SYS_openat, AT_FDCWD, NULL, O_RDONLY, 0);
    R("open long name", SYS_openat, AT_FDCWD, t_long_name(256), O_RDONLY, 0);
    R("open 255 byte name", SYS_openat, AT_FDCWD, t_long_name(255), O_RDONLY, 0);
    R("open long path", SYS_openat, AT_FDCWD, t_long_name(4096), O_RDONLY, 0);
    R("open excl", SYS_openat, AT_FDCWD, "f", O_CREAT | O_EXCL | O_WRONLY, 0644);
    R("open folder for writing", SYS_openat, AT_FDCWD, ".", O_WRONLY, 0);
    R("open creat of folder", SYS_openat, AT_FDCWD, ".", O_CREAT | O_RDONLY, 0644);
    R("open O_DIRECTORY of file", SYS_openat, AT_FDCWD, "f", O_DIRECTORY, 0);
    R("open bad dirfd", SYS_openat, 99, "f", O_RDONLY, 0);
    OK("open absolute with bad dirfd", SYS_openat, 99, "/", O_RDONLY, 0);
    int fd = open("f", O_RDONLY);
    R("open relative to a file", SYS_openat, fd, "x", O_RDONLY, 0);
    close(fd);
    symlink("loop", "loop");
    symlink("f", "link");
    symlink("nowhere", "dangling");
    R("open loop", SYS_openat, AT_FDCWD, "loop", O_RDONLY, 0);
    R("open nofollow", SYS_openat, AT_FDCWD, "link", O_RDONLY | O_NOFOLLOW, 0);
    OK("open link", SYS_openat, AT_FDCWD, "link", O_RDONLY, 0);
    R("open dangling", SYS_openat, AT_FDCWD, "dangling", O_RDONLY, 0);
    R("open dangling excl", SYS_openat, AT_FDCWD, "dangling", O_CREAT | O_EXCL | O_WRONLY, 0644);
    OK("open dangling creat", SYS_openat, AT_FDCWD, "dangling", O_CREAT | O_WRONLY, 0644);
    T("it made the target", access("nowhere", F_OK) == 0);
    R("open trailing slash of file", SYS_openat, AT_FDCWD, "f/", O_RDONLY, 0);
    R("creat trailing slash", SYS_openat, AT_FDCWD, "new/", O_CREAT | O_WRONLY, 0644);
    int p = open("f", O_PATH);
    T("O_PATH", p >= 0);
    char c;
    R("read of O_PATH", SYS_read, p, &c, 1);
    R("write of O_PATH", SYS_write, p, &c, 1);
    R("lseek of O_PATH", SYS_lseek, p, 0L, SEEK_SET);
    close(p);
    /* the lowest free descriptor */
    int a = open("f", O_RDONLY), b = open("f", O_RDONLY);
    close(a);
    T("the lowest descriptor is taken", open("f", O_RDONLY) == a);
    close(a);
    close(b);
    R("close", SYS_close, 98);
    R("close -1", SYS_close, -1);
}

static void reads(void)
{
    char buf[64] = {0}, *ro = t_readonly_page(), *last = t_last_page();
    int fd = open("f", O_RDWR), w = open("f", O_WRONLY), r = open("f", O_RDONLY),
        d = open(".", O_RDONLY);
    R("read", SYS_read, fd, buf, 4L);
    T("content", memcmp(buf, "0123", 4) == 0);
    R("read to the end", SYS_read, fd, buf, 60L);
    R("read at the end", SYS_read, fd, buf, 60L);
    R("read nothing", SYS_read, fd, buf, 0L);
    R("read bad fd", SYS_read, 99, buf, 1L);
    R("read of write-only", SYS_read, w, buf, 1L);
    R("read of folder", SYS_read, d, buf, 1L);
    lseek(fd, 0, SEEK_SET);
    R("read to bad pointer", SYS_read, fd, BAD, 4L);
    R("read to read-only page", SYS_read, fd, ro, 4L);
    R("the offset stayed", SYS_lseek, fd, 0L, SEEK_CUR);
    R("read across the end of memory", SYS_read, fd, last + 4094, 8L);
    R("write", SYS_write, fd, "abc", 3L);
    R("write bad fd", SYS_write, 99, buf, 1L);
    R("write of read-only", SYS_write, r, buf, 1L);
    R("write from bad pointer", SYS_write, fd, BAD, 4L);
    R("write nothing", SYS_write, fd, buf, 0L);
    R("write of folder", SYS_write, d, buf, 1L);
    R("lseek set", SYS_lseek, fd, 3L, SEEK_SET);
    R("lseek cur", SYS_lseek, fd, 2L, SEEK_CUR);
    R("lseek end", SYS_lseek, fd, -1L, SEEK_END);
    R("lseek negative", SYS_lseek, fd, -1L, SEEK_SET);
    R("lseek whence", SYS_lseek, fd, 0L, 9);
    R("lseek bad fd", SYS_lseek, 99, 0L, SEEK_SET);
    R("lseek beyond", SYS_lseek, fd, 1000L, SEEK_SET);
    R("lseek data", SYS_lseek, fd, 0L, SEEK_DATA);
    R("lseek data beyond", SYS_lseek, fd, 1000L, SEEK_DATA);
    R("pread", SYS_pread64, fd, buf, 3L, 1L);
    R("pread negative", SYS_pread64, fd, buf, 3L, -1L);
    R("pread bad fd", SYS_pread64, 99, buf, 3L, 1L);
    R("pread bad pointer", SYS_pread64, fd, BAD, 3L, 1L);
    R("pread beyond", SYS_pread64, fd, buf, 3L, 5000L);
    R("pwrite", SYS_pwrite64, fd, "XY", 2L, 20L);
    R("pwrite negative", SYS_pwrite64, fd, buf, 3L, -1L);
    R("pwrite read-only", SYS_pwrite64, r, buf, 3L, 0L);
    R("pwrite bad pointer", SYS_pwrite64, fd, BAD, 3L, 1L);
    R("size after a hole", SYS_lseek, fd, 0L, SEEK_END);
    R("the hole", SYS_pread64, fd, buf, 22L, 0L);
    T("is zero", buf[15] == 0 && buf[19] == 0 && buf[20] == 'X');
    int a = open("f", O_WRONLY | O_APPEND);
    R("append", SYS_write, a, "!!", 2L);
    R("append moved", SYS_lseek, a, 0L, SEEK_CUR);
    close(fd), close(w), close(r), close(d), close(a);
}

static void vectors(void)
{
    char a[4] = {0}, b[4] = {0};
    int fd = open("v", O_RDWR | O_CREAT | O_TRUNC, 0644);
    struct iovec two[2] = {{"abc", 3}, {"defg", 4}}, in[2] = {{a, 2}, {b, 4}},
                 bad[2] = {{a, 2}, {BAD, 4}}, neg[1] = {{a, (size_t)-1}};
    static struct iovec many[1025];
    R("writev", SYS_writev, fd, two, 2);
    R("writev none", SYS_writev, fd, two, 0);
    R("writev too many", SYS_writev, fd, many, 1025);
    R("writev negative length", SYS_writev, fd, neg, 1);
    R("writev bad vector", SYS_writev, fd, BAD, 2);
    R("writev bad fd", SYS_writev, 99, two, 2);
    lseek(fd, 0, SEEK_SET);
    R("readv", SYS_readv, fd, in, 2);
    T("parts", memcmp(a, "ab", 2) == 0 && memcmp(b, "cdef", 4) == 0);
    R("readv bad vector", SYS_readv, fd, BAD, 2);
    R("readv bad fd", SYS_readv, 99, in, 2);
    R("readv too many", SYS_readv, fd, many, 1025);
    lseek(fd, 0, SEEK_SET);
    R("readv second part bad", SYS_readv, fd, bad, 2);
    R("preadv", SYS_preadv, fd, in, 2, 1L, 0L);
    R("preadv negative", SYS_preadv, fd, in, 2, -1L, -1L);
    R("pwritev", SYS_pwritev, fd, two, 2, 3L, 0L);
    R("pwritev bad fd", SYS_pwritev, 99, two, 2, 3L, 0L);
    R("size", SYS_lseek, fd, 0L, SEEK_END);
    close(fd);
}

static void show_stat(const char *what, const struct stat *st)
{
    say("%s: mode %o links %ld size %ld", what, st->st_mode, (long)st->st_nlink,
        S_ISDIR(st->st_mode) ? -1 : (long)st->st_size);
}

static void stats(void)
{
    struct stat st;
    struct statx sx;
    int fd = open("f", O_RDONLY), p[2];
    R("fstat", SYS_fstat, fd, &st);
    show_stat("f", &st);
    R("fstat bad fd", SYS_fstat, 99, &st);
    R("fstat bad pointer", SYS_fstat, fd, BAD);
    R("stat", SYS_newfstatat, AT_FDCWD, "link", &st, 0);
    show_stat("through the link", &st);
    R("lstat", SYS_newfstatat, AT_FDCWD, "link", &st, AT_SYMLINK_NOFOLLOW);
    show_stat("the link", &st);
    R("stat of fd", SYS_newfstatat, fd, "", &st, AT_EMPTY_PATH);
    R("stat empty path", SYS_newfstatat, AT_FDCWD, "", &st, 0);
    R("stat missing", SYS_newfstatat, AT_FDCWD, "missing", &st, 0);
    R("stat below a file", SYS_newfstatat, AT_FDCWD, "f/x", &st, 0);
    R("stat loop", SYS_newfstatat, AT_FDCWD, "loop", &st, 0);
    R("stat flags", SYS_newfstatat, AT_FDCWD, "f", &st, 0x40000000);
    R("stat bad dirfd", SYS_newfstatat, 99, "f", &st, 0);
    R("stat bad path", SYS_newfstatat, AT_FDCWD, BAD, &st, 0);
    R("stat bad pointer", SYS_newfstatat, AT_FDCWD, "f", BAD, 0);
    R("stat long name", SYS_newfstatat, AT_FDCWD, t_long_name(256), &st, 0);
    if (pipe(p) == 0) {
        fstat(p[0], &st);
        T("a pipe is a FIFO", S_ISFIFO(st.st_mode));
        close(p[0]), close(p[1]);
    }
    stat("/dev/null", &st);
    T("null is a character device 1,3", S_ISCHR(st.st_mode) && st.st_rdev == 0x103);
    R("statx", SYS_statx, AT_FDCWD, "f", 0, STATX_BASIC_STATS, &sx);
    say("statx: mode %o size %ld links %u", sx.stx_mode, (long)sx.stx_size, sx.stx_nlink);
    R("statx of fd", SYS_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &sx);
    R("statx missing", SYS_statx, AT_FDCWD, "missing", 0, STATX_BASIC_STATS, &sx);
    R("statx bad flags", SYS_statx, AT_FDCWD, "f", 0x40000000, STATX_BASIC_STATS, &sx);
    R("statx bad mask", SYS_statx, AT_FDCWD, "f", 0, 0x80000000u, &sx);
    R("statx bad pointer", SYS_statx, AT_FDCWD, "f", 0, STATX_BASIC_STATS, BAD);
    R("statx bad path", SYS_statx, AT_FDCWD, BAD, 0, STATX_BASIC_STATS, &sx);
    R("statx bad dirfd", SYS_statx, 99, "f", 0, STATX_BASIC_STATS, &sx);
    close(fd);
}

static void sizes(void)
{
    struct stat st;
    int fd = open("s", O_RDWR | O_CREAT | O_TRUNC, 0644), r = open("s", O_RDONLY), p[2];
    if (pipe(p) < 0)
        return;
    R("ftruncate up", SYS_ftruncate, fd, 10000L);
    fstat(fd, &st);
    say("size %ld", (long)st.st_size);
    R("ftruncate down", SYS_ftruncate, fd, 5L);
    R("ftruncate negative", SYS_ftruncate, fd, -1L);
    R("ftruncate read-only", SYS_ftruncate, r, 1L);
    R("ftruncate bad fd", SYS_ftruncate, 99, 1L);
    R("ftruncate pipe", SYS_ftruncate, p[1], 1L);
    R("truncate", SYS_truncate, "s", 7L);
    R("truncate missing", SYS_truncate, "missing", 7L);
    R("truncate folder", SYS_truncate, ".", 7L);
    R("truncate negative", SYS_truncate, "s", -1L);
    R("truncate bad pointer", SYS_truncate, BAD, 1L);
    R("fallocate", SYS_fallocate, fd, 0, 0L, 9000L);
    fstat(fd, &st);
    say("size %ld", (long)st.st_size);
    R("fallocate keep size", SYS_fallocate, fd, FALLOC_FL_KEEP_SIZE, 0L, 20000L);
    R("fallocate empty", SYS_fallocate, fd, 0, 0L, 0L);
    R("fallocate negative", SYS_fallocate, fd, 0, -1L, 10L);
    R("fallocate bad fd", SYS_fallocate, 99, 0, 0L, 10L);
    R("fallocate read-only", SYS_fallocate, r, 0, 0L, 10L);
    R("fallocate pipe", SYS_fallocate, p[1], 0, 0L, 10L);
    R("fsync", SYS_fsync, fd);
    R("fsync bad fd", SYS_fsync, 99);
    R("fsync pipe", SYS_fsync, p[0]);
    R("fdatasync", SYS_fdatasync, fd);
    R("fdatasync bad fd", SYS_fdatasync, 99);
    R("syncfs", SYS_syncfs, fd);
    R("syncfs bad fd", SYS_syncfs, 99);
    R("fadvise", SYS_fadvise64, fd, 0L, 0L, POSIX_FADV_SEQUENTIAL);
    R("fadvise bad advice", SYS_fadvise64, fd, 0L, 0L, 77);
    R("fadvise bad fd", SYS_fadvise64, 99, 0L, 0L, 0);
    R("fadvise pipe", SYS_fadvise64, p[0], 0L, 0L, 0);
    R("flock", SYS_flock, fd, LOCK_EX | LOCK_NB);
    R("flock by another", SYS_flock, r, LOCK_EX | LOCK_NB);
    R("flock unlock", SYS_flock, fd, LOCK_UN);
    R("flock shared", SYS_flock, r, LOCK_SH | LOCK_NB);
    R("flock shared again", SYS_flock, fd, LOCK_SH | LOCK_NB);
    R("flock bad operation", SYS_flock, fd, 0);
    R("flock bad fd", SYS_flock, 99, LOCK_SH);
    close(fd), close(r), close(p[0]), close(p[1]);
}

static void descriptors(void)
{
    int fd = open("f", O_RDONLY), t;
    t = dup(fd);
    T("dup shares the offset", lseek(t, 4, SEEK_SET) == 4 && lseek(fd, 0, SEEK_CUR) == 4);
    R("dup bad fd", SYS_dup, 99);
    R("dup3", SYS_dup3, fd, 50, O_CLOEXEC);
    R("cloexec of dup3", SYS_fcntl, 50, F_GETFD);
    R("dup3 same", SYS_dup3, fd, fd, 0);
    R("dup3 flags", SYS_dup3, fd, 51, O_APPEND);
    R("dup3 bad fd", SYS_dup3, 99, 51, 0);
    R("dup3 negative", SYS_dup3, fd, -1, 0);
    R("dup3 too high", SYS_dup3, fd, 1 << 24, 0);
    R("F_DUPFD", SYS_fcntl, fd, F_DUPFD, 60L);
    R("F_DUPFD_CLOEXEC", SYS_fcntl, fd, F_DUPFD_CLOEXEC, 60L);
    R("F_GETFD", SYS_fcntl, 61, F_GETFD);
    R("F_SETFD", SYS_fcntl, 61, F_SETFD, 0L);
    R("F_GETFD again", SYS_fcntl, 61, F_GETFD);
    R("F_DUPFD negative", SYS_fcntl, fd, F_DUPFD, -1L);
    R("F_DUPFD too high", SYS_fcntl, fd, F_DUPFD, 1L << 24);
    t = (int)sys(SYS_fcntl, fd, F_GETFL);
    say("F_GETFL: access mode %d append %d nonblock %d", t & O_ACCMODE, !!(t & O_APPEND),
        !!(t & O_NONBLOCK));
    R("F_SETFL", SYS_fcntl, fd, F_SETFL, (long)(O_APPEND | O_NONBLOCK));
    t = (int)sys(SYS_fcntl, fd, F_GETFL);
    say("F_GETFL: access mode %d append %d nonblock %d", t & O_ACCMODE, !!(t & O_APPEND),
        !!(t & O_NONBLOCK));
    R("fcntl bad fd", SYS_fcntl, 99, F_GETFL);
    R("fcntl bad command", SYS_fcntl, fd, 7777);
    struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 5};
    R("F_SETLK", SYS_fcntl, fd, F_SETLK, &l);
    R("F_GETLK own", SYS_fcntl, fd, F_GETLK, &l);
    say("lock type %d", l.l_type == F_UNLCK);
    l.l_type = F_WRLCK;
    R("F_SETLK write of read-only", SYS_fcntl, fd, F_SETLK, &l);
    R("F_SETLK bad pointer", SYS_fcntl, fd, F_SETLK, BAD);
    l.l_type = 9;
    R("F_SETLK bad type", SYS_fcntl, fd, F_SETLK, &l);
    R("close_range", SYS_close_range, 50u, 61u, 0);
    R("it is closed", SYS_fcntl, 61, F_GETFD);
    R("close_range backwards", SYS_close_range, 61u, 50u, 0);
    R("close_range flags", SYS_close_range, 50u, 61u, 0x100);
    close(fd);
}

static void transfers(void)
{
    char buf[32] = {0};
    t_file("from", "abcdefghij");
    int in = open("from", O_RDONLY), out = open("to", O_RDWR | O_CREAT | O_TRUNC, 0644),
        w = open("from", O_WRONLY);
    off_t at = 2;
    R("sendfile", SYS_sendfile, out, in, &at, 4L);
    say("offset %ld", (long)at);
    R("sendfile to the end", SYS_sendfile, out, in, NULL, 100L);
    R("sendfile at the end", SYS_sendfile, out, in, NULL, 100L);
    R("sendfile bad in", SYS_sendfile, out, 99, NULL, 1L);
    R("sendfile bad out", SYS_sendfile, 99, in, NULL, 1L);
    R("sendfile write-only in", SYS_sendfile, out, w, NULL, 1L);
    R("sendfile read-only out", SYS_sendfile, in, in, NULL, 1L);
    R("sendfile bad pointer", SYS_sendfile, out, in, BAD, 1L);
    R("pread", SYS_pread64, out, buf, 31L, 0L);
    say("%s", buf);
    off_t a = 1, b = 20;
    R("copy_file_range", SYS_copy_file_range, in, &a, out, &b, 3L, 0);
    say("offsets %ld %ld", (long)a, (long)b);
    R("copy_file_range flags", SYS_copy_file_range, in, &a, out, &b, 3L, 1);
    R("copy_file_range bad fd", SYS_copy_file_range, 99, &a, out, &b, 3L, 0);
    R("copy_file_range read-only out", SYS_copy_file_range, in, &a, in, &b, 3L, 0);
    R("size", SYS_lseek, out, 0L, SEEK_END);
    close(in), close(out), close(w);
}

static void unlinked(void)
{
    char buf[8] = {0};
    struct stat st;
    int fd = open("gone", O_RDWR | O_CREAT, 0600);
    unlink("gone");
    R("write of an unlinked file", SYS_write, fd, "still", 5L);
    R("read it back", SYS_pread64, fd, buf, 8L, 0L);
    fstat(fd, &st);
    say("links %ld, %s", (long)st.st_nlink, buf);
    close(fd);
}

static void devices(void)
{
    char buf[16];
    memset(buf, 'x', sizeof buf);
    int n = open("/dev/null", O_RDWR), z = open("/dev/zero", O_RDWR), f = open("/dev/full", O_RDWR),
        u = open("/dev/urandom", O_RDONLY);
    R("read null", SYS_read, n, buf, 16L);
    R("write null", SYS_write, n, buf, 16L);
    R("write null from a bad pointer", SYS_write, n, BAD, 16L);
    R("lseek null", SYS_lseek, n, 100L, SEEK_SET);
    R("read zero", SYS_read, z, buf, 16L);
    T("zeros", buf[0] == 0 && buf[15] == 0);
    R("read zero to a bad pointer", SYS_read, z, BAD, 16L);
    R("write zero", SYS_write, z, buf, 16L);
    R("write full", SYS_write, f, buf, 16L);
    R("read urandom", SYS_read, u, buf, 16L);
    close(n), close(z), close(f), close(u);
}

int main(void)
{
    opens();
    reads();
    vectors();
    stats();
    sizes();
    descriptors();
    transfers();
    unlinked();
    devices();
    return 0;
}
