// links: engine/linux
/* The same file-system calls are made on the host's kernel, in a folder of its own, and on the emulated one; results and
 * attributes must agree. Scenarios are random, from a printed seed. */
#include "fake_lx.h"

#include <linux/stat.h>
#include <sys/syscall.h>

static struct lx_process *me;
static char host_dir[64];
static int host_work;
static int64_t guest_work;
static struct rng rng;

static int64_t host_call(long nr, const uint64_t a[6])
{
    long r = syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
    return r < 0 ? -errno : r;
}

#define NAMES 9
static const char *const names[NAMES] = {"a", "b", "c", "d", "d/a", "d/b", "e", "e/f", "d/e/x"};
#define OPEN_MAX 6
static int host_fd[OPEN_MAX], guest_fd[OPEN_MAX];

static char *path(void)
{
    static const char *const tails[] = {"", "", "", "", "", "/", "/.", "/.."};
    char text[64];
    snprintf(text, sizeof text, "%s%s", names[rng_below(&rng, NAMES)], tails[rng_below(&rng, 8)]);
    return str(text);
}

static void differ(const char *what, int64_t h, int64_t g, const char *p1, const char *p2,
                   uint64_t x)
{
    fail_msg("%s(%s, %s, 0%llo): host %lld (%s), guest %lld (%s)", what, p1, p2,
             (unsigned long long)x, (long long)h, h < 0 ? strerror((int)-h) : "", (long long)g,
             g < 0 ? strerror((int)-g) : "");
}

#define BOTH(h, g, name, ...)                     \
    do {                                          \
        uint64_t args_[6] = {__VA_ARGS__};        \
        h = host_call(SYS_##name, args_);         \
        g = guest_call(me, lx_sys_##name, args_); \
    } while (0)

static void compare_stat(const char *p, int flags)
{
    struct statx *hs = mem(sizeof *hs), *gs = mem(sizeof *gs);
    char *name = str(p);
    uint64_t ha[6] = {A(AT_FDCWD), A(name), A(flags), 0x7ff, A(hs)},
             ga[6] = {A(AT_FDCWD), A(name), A(flags), 0x7ff, A(gs)};
    int64_t h = host_call(SYS_statx, ha), g = guest_call(me, lx_sys_statx, ga);
    if (h != g)
        differ("statx", h, g, p, "", (uint64_t)flags);
    if (h)
        return;
    assert_int_equal(hs->stx_mode, gs->stx_mode);
    if (!S_ISDIR(hs->stx_mode)) {
        assert_int_equal(hs->stx_nlink, gs->stx_nlink);
        assert_int_equal(hs->stx_size, gs->stx_size);
    }
    assert_int_equal(hs->stx_uid, gs->stx_uid);
}

static void compare_all(void)
{
    for (int k = 0; k < NAMES; k++) {
        compare_stat(names[k], AT_SYMLINK_NOFOLLOW);
        compare_stat(names[k], 0);
    }
}

static void open_some(void)
{
    static const int flag_set[] = {O_RDONLY,
                                   O_RDWR | O_CREAT,
                                   O_WRONLY | O_CREAT | O_EXCL,
                                   O_RDWR | O_TRUNC,
                                   O_RDONLY | O_DIRECTORY,
                                   O_RDONLY | O_NOFOLLOW,
                                   O_RDWR | O_APPEND | O_CREAT,
                                   O_PATH,
                                   O_WRONLY | O_CREAT | O_TRUNC,
                                   O_RDONLY | O_CREAT,
                                   O_PATH | O_NOFOLLOW,
                                   O_CREAT | O_DIRECTORY,
                                   O_RDWR};
    int64_t h, g;
    char *p = path();
    uint64_t flags = (uint64_t)flag_set[rng_below(&rng, ARRAY_LEN(flag_set))] | O_NONBLOCK,
             slot = rng_below(&rng, OPEN_MAX);
    if (flags & O_PATH)
        flags &= ~(uint64_t)O_NONBLOCK;
    BOTH(h, g, openat, A(AT_FDCWD), A(p), flags, 0644);
    if ((h < 0) != (g < 0) || (h < 0 && h != g))
        differ("openat", h, g, p, "", flags);
    if (h < 0)
        return;
    if (host_fd[slot] >= 0) {
        close(host_fd[slot]);
        assert_int_equal(G(me, close, A(guest_fd[slot])), 0);
    }
    host_fd[slot] = (int)h;
    guest_fd[slot] = (int)g;
}

static void use_open_file(void)
{
    uint64_t slot = rng_below(&rng, OPEN_MAX), n = rng_below(&rng, 6000),
             off = rng_below(&rng, 9000), op = rng_below(&rng, 11);
    uint64_t hf = (uint64_t)(int64_t)host_fd[slot], gf = (uint64_t)(int64_t)guest_fd[slot];
    if (host_fd[slot] < 0)
        return;
    static const char *const op_name[] = {"read",  "write",     "pread64", "pwrite64",
                                          "lseek", "ftruncate", "fchmod",  "fcntl",
                                          "fsync", "fallocate", "ioctl"};
    uint8_t *hb = mem(n + 1), *gb = mem(n + 1);
    for (uint64_t k = 0; k < n; k++)
        hb[k] = gb[k] = (uint8_t)rng_next(&rng);
    int64_t h = 0, g = 0;
#define FD_BOTH(name, hp, gp, a2, a3)                         \
    h = host_call(SYS_##name, (uint64_t[6]){hf, hp, a2, a3}), \
    g = guest_call(me, lx_sys_##name, (uint64_t[6]){gf, gp, a2, a3})
    switch (op) {
    case 0:
        FD_BOTH(read, A(hb), A(gb), n, 0);
        break;
    case 1:
        FD_BOTH(write, A(hb), A(gb), n, 0);
        break;
    case 2:
        FD_BOTH(pread64, A(hb), A(gb), n, off);
        break;
    case 3:
        FD_BOTH(pwrite64, A(hb), A(gb), n, off);
        break;
    case 4:
        FD_BOTH(lseek, off, off, n % 3, 0);
        break;
    case 5:
        FD_BOTH(ftruncate, off, off, 0, 0);
        break;
    case 6:
        FD_BOTH(fchmod, n & 0777, n & 0777, 0, 0);
        break;
    case 7:
        FD_BOTH(fcntl, F_GETFL, F_GETFL, 0, 0);
        break;
    case 8:
        FD_BOTH(fsync, 0, 0, 0, 0);
        break;
    case 9:
        FD_BOTH(fallocate, 0, 0, off, n);
        break;
    case 10:
        FD_BOTH(ioctl, 0x5401, 0x5401, A(hb), 0);
        break;
    }
    struct stat st;
    bool dir = !fstat(host_fd[slot], &st) && S_ISDIR(st.st_mode);
    if (h != g && !(dir && op == 4))
        differ(op_name[op], h, g, "fd", "", off << 16 | n);
    if (op == 0 || op == 2)
        assert_memory_equal(hb, gb, n);
}

static void change_names(void)
{
    char *p = path(), *q = path();
    uint64_t mode = rng_below(&rng, 01000) | (rng_below(&rng, 4) ? 0600 : 0),
             op = rng_below(&rng, 17);
    static const char *const op_name[] = {
        "mkdirat",  "unlinkat", "rmdir",     "linkat",    "symlinkat", "renameat2",
        "mkfifo",   "fchmodat", "truncate",  "faccessat", "mknod",     "noreplace",
        "exchange", "mkdir2",   "utimensat", "chdir",     "readlinkat"};
    int64_t h = 0, g = 0;
    uint64_t cwd = A(AT_FDCWD);
    uint8_t *buf = mem(256);
    switch (op) {
    case 0:
    case 13:
        mode |= 0100;
        BOTH(h, g, mkdirat, cwd, A(p), mode);
        break;
    case 1:
        BOTH(h, g, unlinkat, cwd, A(p), 0);
        break;
    case 2:
        BOTH(h, g, unlinkat, cwd, A(p), AT_REMOVEDIR);
        break;
    case 3:
        BOTH(h, g, linkat, cwd, A(p), cwd, A(q), rng_below(&rng, 2) ? AT_SYMLINK_FOLLOW : 0);
        break;
    case 4:
        BOTH(h, g, symlinkat, A(p), cwd, A(q));
        break;
    case 5:
        BOTH(h, g, renameat2, cwd, A(p), cwd, A(q), 0);
        break;
    case 6:
        BOTH(h, g, mknodat, cwd, A(p), S_IFIFO | mode, 0);
        break;
    case 7:
        BOTH(h, g, fchmodat, cwd, A(p), mode);
        break;
    case 8:
        BOTH(h, g, truncate, A(p), mode);
        break;
    case 9:
        BOTH(h, g, faccessat, cwd, A(p), mode & 7);
        break;
    case 10:
        BOTH(h, g, mknodat, cwd, A(p), S_IFREG | mode, 0);
        break;
    case 11:
        BOTH(h, g, renameat2, cwd, A(p), cwd, A(q), 1);
        break;
    case 12:
        BOTH(h, g, renameat2, cwd, A(p), cwd, A(q), 2);
        break;
    case 14:
        BOTH(h, g, utimensat, cwd, A(p), 0, rng_below(&rng, 2) ? AT_SYMLINK_NOFOLLOW : 0);
        break;
    case 15: {
        BOTH(h, g, chdir, A(p));
        if (!h) {
            assert_int_equal(fchdir(host_work), 0);
            assert_int_equal(G(me, fchdir, A(guest_work)), 0);
        }
        break;
    }
    case 16:
        BOTH(h, g, readlinkat, cwd, A(p), A(buf), 200);
        break;
    }
    if (h != g)
        differ(op_name[op], h, g, p, q, mode);
}

/* Links and ".." of a scenario climb: the folder lies so deep, on both sides, that they stay inside. */
#define DEPTH 40
static void go_deep(void)
{
    for (int k = 0; k < DEPTH; k++) {
        assert_int_equal(mkdir("w", 0700), 0);
        assert_int_equal(chdir("w"), 0);
    }
    host_work = open(".", O_RDONLY | O_DIRECTORY);
    assert_true(host_work >= 0);
}

static void one_world(uint64_t seed, int steps)
{
    rng_seed(&rng, seed);
    print_message("seed %llu\n", (unsigned long long)seed);
    me = fake_start(NULL, geteuid());
    umask(022);
    snprintf(host_dir, sizeof host_dir, "/tmp/lxfs-test-XXXXXX");
    assert_non_null(mkdtemp(host_dir));
    assert_int_equal(chdir(host_dir), 0);
    go_deep();
    assert_int_equal(G(me, mkdirat, A(AT_FDCWD), A(str("/tmp/work")), 0700), 0);
    assert_int_equal(G(me, chdir, A(str("/tmp/work"))), 0);
    for (int k = 0; k < DEPTH; k++) {
        assert_int_equal(G(me, mkdirat, A(AT_FDCWD), A(str("w")), 0700), 0);
        assert_int_equal(G(me, chdir, A(str("w"))), 0);
    }
    guest_work = G(me, openat, A(AT_FDCWD), A(str(".")), O_RDONLY | O_DIRECTORY);
    assert_true(guest_work >= 0);
    for (int k = 0; k < OPEN_MAX; k++)
        host_fd[k] = guest_fd[k] = -1;
    for (int k = 0; k < steps; k++) {
        size_t used = fake_arena_used;
        uint64_t what = rng_below(&rng, 10);
        if (what < 5)
            change_names();
        else if (what < 7)
            open_some();
        else
            use_open_file();
        if (k % 8 == 0)
            compare_all();
        fake_arena_used = used;
        fake_ns += 1000000;
    }
    assert_true(lx_vfs_check(fake_lx.vfs));
    for (int k = 0; k < OPEN_MAX; k++)
        if (host_fd[k] >= 0)
            close(host_fd[k]);
    close(host_work);
    fake_stop();
    char command[192];
    assert_int_equal(chdir("/"), 0);
    snprintf(command, sizeof command, "chmod -R u+rwx %s; rm -rf %s", host_dir, host_dir);
    assert_int_equal(system(command), 0); /* the test's own folder */
}

static void random_file_system_calls_answer_as_the_hosts_kernel_does(void **state)
{
    (void)state;
    uint64_t seed;
    signal(SIGPIPE, SIG_IGN);
    os_random(&seed, sizeof seed);
    const char *fixed = getenv("VV_SEED");
    int worlds = getenv("VV_WORLDS") ? atoi(getenv("VV_WORLDS")) : 10;
    for (int k = 0; k < worlds; k++)
        one_world(fixed ? strtoull(fixed, NULL, 0) : seed % 1000000 + (uint64_t)k, 800);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_file_system_calls_answer_as_the_hosts_kernel_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
