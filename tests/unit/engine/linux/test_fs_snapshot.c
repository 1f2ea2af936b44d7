// links: engine/linux
/* The file side goes into a snapshot and comes back: contents, sharing, what was unlinked, what was on its way. */
#include "fake_lx.h"

#include "engine/linux/sock.h"
#include "engine/linux/tty.h"
#include "engine/snapshot/snapshot.h"

#include <poll.h>
#include <sys/file.h>
#include <sys/ioctl.h>

static struct snap_writer writer;
static uint64_t table_id[2], fs_id[2];

static struct lx_process *p, *q;

static int64_t open_at(struct lx_process *who, const char *path, int flags)
{
    return G(who, openat, A(AT_FDCWD), A(str(path)), A(flags), 0644);
}

static int64_t put_text(int64_t fd, const char *text)
{
    return G(p, write, A(fd), A(str(text)), strlen(text));
}

static void expect_text(struct lx_process *who, int64_t fd, const char *text)
{
    size_t n = strlen(text);
    char *buf = mem(n + 16);
    assert_int_equal(G(who, read, A(fd), A(buf), n + 15), n);
    assert_string_equal(buf, text);
}

static void freeze(void)
{
    struct err err;
    snap_writer_init(&writer, -1);
    assert_int_equal(lx_vfs_save(fake_lx.vfs, &writer, &err), OK);
    assert_int_equal(snap_finish(&writer, &err), OK);
    for (int k = 0; k < fake_proc_count; k++) {
        table_id[k] = lx_files_snap_id(fake_procs[k]->files);
        fs_id[k] = lx_fs_snap_id(fake_procs[k]->fs);
    }
}

/* The world goes and comes back from the records. */
static res_code_t thaw(const void *bytes, size_t n, struct err *err)
{
    struct snap_reader r;
    struct lx_vfs *v;
    if (snap_reader_init(&r, bytes, n, -1, err) != OK || lx_vfs_load(&fake_lx, &r, &v, err) != OK)
        return FAIL;
    fake_lx.vfs = v;
    return OK;
}

static void leave_old_world(void)
{
    assert_true(lx_vfs_check(fake_lx.vfs));
    for (int k = 0; k < fake_proc_count; k++)
        fake_exit(fake_procs[k]);
    lx_vfs_free(fake_lx.vfs);
    fake_lx.vfs = NULL;
}

static void round_trip(void)
{
    struct err err;
    freeze();
    leave_old_world();
    if (thaw(writer.out.data, writer.out.len, &err) != OK)
        fail_msg("%s", err.text);
    for (int k = 0; k < fake_proc_count; k++) {
        fake_procs[k]->files = lx_files_by_snap_id(fake_lx.vfs, table_id[k]);
        fake_procs[k]->fs = lx_fs_by_snap_id(fake_lx.vfs, fs_id[k]);
        assert_non_null(fake_procs[k]->files);
        assert_non_null(fake_procs[k]->fs);
    }
    lx_vfs_load_end(fake_lx.vfs);
    assert_true(lx_vfs_check(fake_lx.vfs));
    snap_writer_fini(&writer);
}

static void begin(void)
{
    p = fake_start(NULL, 0);
}

static void files_names_and_links_come_back(void **state)
{
    (void)state;
    begin();
    assert_int_equal(G(p, mkdirat, A(AT_FDCWD), A(str("/tmp/d")), 0751), 0);
    int64_t fd = open_at(p, "/tmp/d/file", O_RDWR | O_CREAT);
    assert_int_equal(put_text(fd, "contents"), 8);
    assert_int_equal(G(p, ftruncate, A(fd), 100000), 0);
    assert_int_equal(
        G(p, linkat, A(AT_FDCWD), A(str("/tmp/d/file")), A(AT_FDCWD), A(str("/tmp/other"))), 0);
    assert_int_equal(G(p, symlinkat, A(str("d/file")), A(AT_FDCWD), A(str("/tmp/link"))), 0);
    assert_int_equal(G(p, chdir, A(str("/tmp/d"))), 0);
    for (int k = 0; k < 100; k++) {
        char name[32];
        snprintf(name, sizeof name, "/tmp/d/n%d", k);
        assert_int_equal(G(p, close, A(open_at(p, name, O_WRONLY | O_CREAT))), 0);
        if (k % 3 == 0)
            assert_int_equal(G(p, unlinkat, A(AT_FDCWD), A(str(name)), 0), 0);
    }
    uint64_t used = lx_vfs_overlay_bytes(fake_lx.vfs);
    uint8_t *st = mem(128), *st2 = mem(128);
    assert_int_equal(G(p, newfstatat, A(AT_FDCWD), A(str("/tmp/link")), A(st), 0), 0);
    round_trip();
    assert_int_equal(lx_vfs_overlay_bytes(fake_lx.vfs), used);
    assert_int_equal(G(p, newfstatat, A(AT_FDCWD), A(str("/tmp/other")), A(st2), 0), 0);
    assert_memory_equal(st, st2, 128);
    char *cwd = mem(64);
    assert_int_equal(G(p, getcwd, A(cwd), 64), 7);
    assert_string_equal(cwd, "/tmp/d");
    expect_text(p, open_at(p, "n1", O_RDONLY), "");
    assert_int_equal(open_at(p, "n3", O_RDONLY), -ENOENT);
    char *buf = mem(64);
    assert_int_equal(G(p, pread64, A(fd), A(buf), 9, 0), 9);
    assert_string_equal(buf, "contents");
    fake_stop();
}

static void processes_share_an_offset_after_the_load_as_before(void **state)
{
    (void)state;
    begin();
    int64_t fd = open_at(p, "/tmp/f", O_RDWR | O_CREAT);
    put_text(fd, "0123456789");
    G(p, lseek, A(fd), 2, SEEK_SET);
    q = fake_fork(p);
    assert_int_equal(G(p, unlinkat, A(AT_FDCWD), A(str("/tmp/f")), 0), 0);
    assert_int_equal(G(q, fcntl, A(fd), F_SETFD, FD_CLOEXEC), 0);
    round_trip();
    char *buf = mem(16);
    assert_int_equal(G(p, read, A(fd), A(buf), 3), 3);
    assert_string_equal(buf, "234");
    expect_text(q, fd, "56789");
    assert_int_equal(open_at(p, "/tmp/f", O_RDONLY), -ENOENT);
    assert_int_equal(G(p, fcntl, A(fd), F_GETFD), 0);
    assert_int_equal(G(q, fcntl, A(fd), F_GETFD), FD_CLOEXEC);
    fake_stop();
}

static void a_pipe_keeps_its_bytes_and_its_ends(void **state)
{
    (void)state;
    begin();
    int32_t *fd = mem(8);
    assert_int_equal(G(p, pipe2, A(fd), 0), 0);
    put_text(fd[1], "in the pipe");
    q = fake_fork(p);
    assert_int_equal(G(p, close, A(fd[1])), 0);
    round_trip();
    expect_text(p, fd[0], "in the pipe");
    assert_int_equal(G(p, read, A(fd[0]), A(mem(4)), 4), LX_BLOCKED); /* q could still write */
    assert_int_equal(G(q, close, A(fd[1])), 0);
    assert_int_equal(G(p, read, A(fd[0]), A(mem(4)), 4), 0);
    fake_stop();
}

static void terminals_keep_line_mode_and_session(void **state)
{
    (void)state;
    begin();
    int64_t m = open_at(p, "/dev/ptmx", O_RDWR | O_NOCTTY);
    int32_t *zero = mem(4);
    assert_int_equal(G(p, ioctl, A(m), TIOCSPTLCK, A(zero)), 0);
    int64_t s = open_at(p, "/dev/pts/0", O_RDWR);
    put_text(m, "whole line\npart");
    round_trip();
    p->ctty = lx_pty_find(fake_lx.vfs, 0);
    assert_non_null(p->ctty);
    expect_text(p, s, "whole line\n");
    put_text(m, "\177\177\177\177end\n");
    expect_text(p, s, "end\n");
    int32_t *sid = mem(4);
    assert_int_equal(G(p, ioctl, A(s), TIOCGSID, A(sid)), 0);
    assert_int_equal(*sid, p->sid);
    fake_stop();
}

static void sockets_keep_peers_queues_and_files_on_their_way(void **state)
{
    (void)state;
    begin();
    int32_t *sv = mem(8);
    assert_int_equal(G(p, socketpair, AF_UNIX, SOCK_STREAM, 0, A(sv)), 0);
    int64_t f = open_at(p, "/tmp/sent", O_RDWR | O_CREAT);
    put_text(f, "sent along");
    struct {
        uint64_t len;
        int32_t level, type, fd, pad;
    } *cm = mem(sizeof *cm);
    cm->len = 20, cm->level = SOL_SOCKET, cm->type = SCM_RIGHTS, cm->fd = (int32_t)f;
    uint64_t *iov = mem(16), *h = mem(56);
    iov[0] = guest_of(A(str("x"))), iov[1] = 1;
    h[2] = guest_of(A(iov)), h[3] = 1, h[4] = guest_of(A(cm)), h[5] = sizeof *cm;
    assert_int_equal(G(p, sendmsg, A(sv[0]), A(h), 0), 1);
    put_text(sv[0], "yz");
    assert_int_equal(G(p, close, A(f)), 0);
    int64_t l = G(p, socket, AF_INET, SOCK_STREAM, 0), c = G(p, socket, AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in *in = mem(sizeof *in);
    *in = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(8080), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    assert_int_equal(G(p, bind, A(l), A(in), sizeof *in), 0);
    assert_int_equal(G(p, listen, A(l), 5), 0);
    assert_int_equal(G(p, connect, A(c), A(in), sizeof *in), 0);
    put_text(c, "request");
    round_trip();
    uint8_t *got = mem(8);
    iov[0] = guest_of(A(got)), iov[1] = 8;
    memset(cm, 0, sizeof *cm);
    h[5] = sizeof *cm;
    assert_int_equal(G(p, recvmsg, A(sv[1]), A(h), 0), 3);
    assert_memory_equal(got, "xyz", 3);
    assert_int_equal(cm->type, SCM_RIGHTS);
    G(p, lseek, A(cm->fd), 0, SEEK_SET);
    expect_text(p, cm->fd, "sent along");
    int64_t a = G(p, accept, A(l), 0, 0);
    assert_true(a >= 0);
    expect_text(p, a, "request");
    put_text(a, "answer");
    expect_text(p, c, "answer");
    int64_t again = G(p, socket, AF_INET, SOCK_STREAM, 0);
    assert_int_equal(G(p, connect, A(again), A(in), sizeof *in), 0);
    fake_stop();
}

static void locks_and_the_console_come_back(void **state)
{
    (void)state;
    begin();
    assert_int_equal(lx_stdio_setup(p), 0);
    q = fake_fork(p);
    int64_t fd = open_at(p, "/tmp/lock", O_RDWR | O_CREAT), fq = open_at(q, "/tmp/lock", O_RDWR);
    assert_int_equal(G(p, flock, A(fd), LOCK_EX), 0);
    struct {
        int16_t type, whence;
        int64_t start, len;
        int32_t pid;
    } *lk = mem(sizeof *lk);
    lk->type = F_WRLCK, lk->start = 10, lk->len = 10;
    assert_int_equal(G(p, fcntl, A(fd), F_SETLK, A(lk)), 0);
    put_text(1, "output");
    assert_int_equal(lx_con_write(fake_lx.vfs, "input", 5), 5);
    lx_con_eof(fake_lx.vfs);
    round_trip();
    assert_int_equal(G(q, flock, A(fq), LOCK_EX | LOCK_NB), -EAGAIN);
    lk->start = 19, lk->len = 1;
    assert_int_equal(G(q, fcntl, A(fq), F_SETLK, A(lk)), -EAGAIN);
    lk->start = 20;
    assert_int_equal(G(q, fcntl, A(fq), F_SETLK, A(lk)), 0);
    char out[16] = {0};
    assert_int_equal(lx_con_read(fake_lx.vfs, 1, out, sizeof out), 6);
    assert_string_equal(out, "output");
    expect_text(p, 0, "input");
    expect_text(p, 0, "");
    fake_stop();
}

/* A little of everything, for the liar below. */
static void make_a_bit_of_everything(void)
{
    begin();
    assert_int_equal(lx_stdio_setup(p), 0);
    q = fake_fork(p);
    G(p, mkdirat, A(AT_FDCWD), A(str("/tmp/d")), 0755);
    int64_t fd = open_at(p, "/tmp/d/f", O_RDWR | O_CREAT);
    put_text(fd, "some bytes");
    G(p, symlinkat, A(str("x")), A(AT_FDCWD), A(str("/tmp/l")));
    open_at(p, "/tmp", O_RDONLY | O_DIRECTORY);
    open_at(p, "/proc/self/status", O_RDONLY);
    open_at(p, "/proc/1/fd", O_RDONLY);
    open_at(p, "/dev/null", O_RDWR);
    open_at(p, "/dev/ptmx", O_RDWR);
    G(p, unlinkat, A(AT_FDCWD), A(str("/tmp/d/f")), 0);
    G(p, flock, A(fd), LOCK_EX);
    int32_t *sv = mem(8);
    G(p, socketpair, AF_UNIX, SOCK_DGRAM, 0, A(sv));
    put_text(sv[0], "datagram");
    G(p, pipe2, A(sv), 0);
    put_text(sv[1], "bytes");
    int64_t l = G(p, socket, AF_INET, SOCK_STREAM, 0), c = G(p, socket, AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in *in = mem(sizeof *in);
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(8080)};
    G(p, bind, A(l), A(in), sizeof *in);
    G(p, listen, A(l), 5);
    G(p, connect, A(c), A(in), sizeof *in);
}

static uint32_t crc32c(const uint8_t *b, size_t n)
{
    uint32_t c = ~0u;
    while (n--) {
        c ^= *b++;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? 0x82f63b78u ^ c >> 1 : c >> 1;
    }
    return ~c;
}

static void a_lying_snapshot_is_refused_or_harmless(void **state)
{
    (void)state;
    struct rng rng;
    uint64_t seed;
    int refused = 0, taken = 0;
    os_random(&seed, sizeof seed);
    if (getenv("VV_SEED"))
        seed = strtoull(getenv("VV_SEED"), NULL, 10);
    print_message("VV_SEED=%llu\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
    make_a_bit_of_everything();
    freeze();
    leave_old_world();
    size_t n = writer.out.len;
    uint8_t *bytes = malloc(n);
    for (int round = 0; round < 4000; round++) {
        struct err err = {0};
        memcpy(bytes, writer.out.data, n);
        for (uint64_t k = 1 + rng_below(&rng, 3); k; k--) {
            size_t at = 28 + rng_below(&rng, n - 28);
            bytes[at] = rng_below(&rng, 2) ? (uint8_t)rng_below(&rng, 40) : (uint8_t)rng_next(&rng);
        }
        uint32_t crc = crc32c(bytes + 28, n - 28);
        memcpy(bytes + 24, &crc, 4);
        if (thaw(bytes, n, &err) != OK) {
            refused++;
            assert_true(err.text[0] != 0);
            continue;
        }
        taken++;
        struct lx_files *t = lx_files_by_snap_id(fake_lx.vfs, table_id[0]);
        struct lx_fs *fs = lx_fs_by_snap_id(fake_lx.vfs, fs_id[0]);
        lx_vfs_load_end(fake_lx.vfs);
        p->files = t, p->fs = fs;
        if (t && fs) { /* use it a little */
            open_at(p, "/tmp/d/new", O_RDWR | O_CREAT);
            for (int fd = 0; fd < 16; fd++) {
                G(p, read, A(fd), A(fake_arena), 100);
                G(p, getdents64, A(fd), A(fake_arena), 1000);
                G(p, write, A(fd), A(fake_arena), 10);
                G(p, accept, A(fd), 0, 0);
            }
            G(p, unlinkat, A(AT_FDCWD), A(str("/tmp/d/new")), 0);
            G(p, unlinkat, A(AT_FDCWD), A(str("/tmp/d")), AT_REMOVEDIR);
        }
        fake_arena_used = 0;
        fake_exit(p);
        lx_vfs_free(fake_lx.vfs);
        fake_lx.vfs = NULL;
    }
    print_message("%d refused, %d taken\n", refused, taken);
    assert_true(refused > 0 && taken > 0);
    free(bytes);
    snap_writer_fini(&writer);
    for (int k = 0; k < fake_proc_count; k++) {
        free(fake_procs[k]);
        free(fake_threads[k]);
    }
    mem_space_put(fake_mem);
    mem_pool_free(fake_pool); /* asserts that no object is left */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_names_and_links_come_back),
        cmocka_unit_test(processes_share_an_offset_after_the_load_as_before),
        cmocka_unit_test(a_pipe_keeps_its_bytes_and_its_ends),
        cmocka_unit_test(terminals_keep_line_mode_and_session),
        cmocka_unit_test(sockets_keep_peers_queues_and_files_on_their_way),
        cmocka_unit_test(locks_and_the_console_come_back),
        cmocka_unit_test(a_lying_snapshot_is_refused_or_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
