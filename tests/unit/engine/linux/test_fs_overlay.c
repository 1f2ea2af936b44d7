// links: engine/linux
/* The overlay over a real image: what the image says shows through, changes stay above, and nothing is slow or without end. */
#include "fake_lx.h"

#include "engine/image/writer.h"
#include "engine/snapshot/snapshot.h"

#include <sys/file.h>

static struct lx_process *p;
static int image_fd;

static void add(struct img_writer *w, const char *path, uint32_t mode, const char *text,
                const char *target)
{
    struct err err;
    struct img_entry e = {.path = path, .mode = mode, .mtime = 1000, .target = target};
    assert_int_equal(img_writer_add(w, &e, &err), OK);
    if (text)
        assert_int_equal(img_writer_data(w, text, strlen(text), &err), OK);
}

static void begin(uint64_t quota)
{
    struct err err;
    struct img_writer *w;
    assert_int_equal(os_memfd("image", 0, &image_fd, &err), OK);
    assert_int_equal(img_writer_new(image_fd, NULL, &w, &err), OK);
    add(w, "etc", S_IFDIR | 0755, NULL, NULL);
    add(w, "etc/motd", S_IFREG | 0644, "from the image", NULL);
    add(w, "etc/link", S_IFLNK | 0777, NULL, "motd");
    add(w, "bin", S_IFDIR | 0755, NULL, NULL);
    add(w, "bin/sh", S_IFREG | 0755, "program", NULL);
    for (int k = 0; k < 300; k++) {
        char name[32];
        snprintf(name, sizeof name, "many/n%03d", k);
        add(w, name, S_IFREG | 0600, "x", NULL);
    }
    struct img_entry hard = {.path = "bin/ash", .hardlink = "bin/sh"};
    assert_int_equal(img_writer_add(w, &hard, &err), OK);
    assert_int_equal(img_writer_finish(w, NULL, &err), OK);
    img_writer_free(w);
    struct lx_config cfg = {.image_fd = image_fd, .files_max = 1024, .overlay_bytes_max = quota};
    p = fake_start(&cfg, 0);
}

static void end(void)
{
    fake_stop();
    close(image_fd);
}

static int64_t open_at(const char *path, int flags)
{
    return G(p, openat, A(AT_FDCWD), A(str(path)), A(flags), 0644);
}

static void expect_file(const char *path, const char *text)
{
    char *buf = mem(256);
    int64_t fd = open_at(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(G(p, read, A(fd), A(buf), 255), strlen(text));
    assert_string_equal(buf, text);
    G(p, close, A(fd));
}

static int64_t put_text(int64_t fd, const char *text)
{
    return G(p, write, A(fd), A(str(text)), strlen(text));
}

static int64_t unlink_at(const char *path, int flags)
{
    return G(p, unlinkat, A(AT_FDCWD), A(str(path)), A(flags));
}

static uint64_t ino_of(const char *path, uint32_t *nlink)
{
    uint64_t *st = mem(128);
    assert_int_equal(G(p, newfstatat, A(AT_FDCWD), A(str(path)), A(st), 0), 0);
    if (nlink)
        *nlink = (uint32_t)(st[2] >> 32);
    return st[1];
}

/* Names of a folder; -1: one came twice. */
static int count_names(const char *path, const char *look_for, bool *found)
{
    size_t used = fake_arena_used;
    int64_t fd = open_at(path, O_RDONLY | O_DIRECTORY), n;
    uint8_t *buf = mem(3000);
    int count = 0;
    if (found)
        *found = false;
    while ((n = G(p, getdents64, A(fd), A(buf), 3000)) > 0)
        for (int64_t at = 0; at < n;) {
            uint16_t reclen;
            memcpy(&reclen, buf + at + 16, 2);
            if (found && !strcmp((char *)buf + at + 19, look_for))
                *found = true;
            at += reclen;
            count++;
        }
    assert_int_equal(n, 0);
    G(p, close, A(fd));
    fake_arena_used = used;
    return count;
}

static void a_file_of_the_image_is_read_changed_and_keeps_its_number(void **state)
{
    (void)state;
    begin(64u << 20);
    expect_file("/etc/motd", "from the image");
    expect_file("/etc/link", "from the image");
    uint64_t before = ino_of("/etc/motd", NULL);
    int64_t reader = open_at("/etc/motd", O_RDONLY), fd = open_at("/etc/motd", O_RDWR);
    G(p, lseek, A(fd), 5, SEEK_SET);
    assert_int_equal(put_text(fd, "OUR"), 3);
    expect_file("/etc/motd", "from OUR image");
    char *buf = mem(64);
    assert_int_equal(G(p, read, A(reader), A(buf), 63), 14);
    assert_string_equal(buf, "from OUR image");
    assert_int_equal(ino_of("/etc/motd", NULL), before);
    end();
}

static void hard_links_of_the_image_stay_one_file(void **state)
{
    (void)state;
    begin(64u << 20);
    uint32_t nlink;
    assert_int_equal(ino_of("/bin/sh", &nlink), ino_of("/bin/ash", NULL));
    assert_int_equal(nlink, 2);
    assert_int_equal(G(p, fchmodat, A(AT_FDCWD), A(str("/bin/ash")), 0500), 0);
    lx_lru_shrink(fake_lx.vfs, 0); /* the cache goes, the change stays */
    int64_t fd = open_at("/bin/sh", O_WRONLY | O_TRUNC);
    assert_int_equal(put_text(fd, "new"), 3);
    expect_file("/bin/ash", "new");
    assert_int_equal(unlink_at("/bin/sh", 0), 0);
    ino_of("/bin/ash", &nlink);
    assert_int_equal(nlink, 1);
    end();
}

static void removed_names_stay_away_and_can_come_back(void **state)
{
    (void)state;
    begin(64u << 20);
    bool found;
    assert_int_equal(count_names("/many", "n007", &found), 302);
    assert_true(found);
    assert_int_equal(unlink_at("/many/n007", 0), 0);
    assert_int_equal(open_at("/many/n007", O_RDONLY), -ENOENT);
    assert_int_equal(count_names("/many", "n007", &found), 301);
    assert_false(found);
    assert_int_equal(put_text(open_at("/many/n007", O_WRONLY | O_CREAT | O_EXCL), "again"), 5);
    expect_file("/many/n007", "again");
    assert_int_equal(count_names("/many", "n007", &found), 302);
    assert_true(found);
    assert_int_equal(unlink_at("/many/n007", 0), 0);
    assert_int_equal(count_names("/many", "n007", &found), 301);
    assert_int_equal(unlink_at("/many", AT_REMOVEDIR), -ENOTEMPTY);
    for (int k = 0; k < 300; k++) {
        char name[32];
        snprintf(name, sizeof name, "/many/n%03d", k);
        assert_int_equal(unlink_at(name, 0), k == 7 ? -ENOENT : 0);
    }
    assert_int_equal(unlink_at("/many", AT_REMOVEDIR), 0);
    assert_int_equal(G(p, mkdirat, A(AT_FDCWD), A(str("/many")), 0755), 0);
    assert_int_equal(count_names("/many", "n000", &found),
                     2); /* the image does not shine through a new folder */
    end();
}

static void a_folder_of_the_image_moves_with_what_is_in_it(void **state)
{
    (void)state;
    begin(64u << 20);
    assert_int_equal(put_text(open_at("/etc/new", O_WRONLY | O_CREAT), "n"), 1);
    assert_int_equal(
        G(p, renameat2, A(AT_FDCWD), A(str("/etc")), A(AT_FDCWD), A(str("/bin/conf")), 0), 0);
    expect_file("/bin/conf/motd", "from the image");
    expect_file("/bin/conf/new", "n");
    assert_int_equal(open_at("/etc/motd", O_RDONLY), -ENOENT);
    uint32_t nlink;
    ino_of("/bin", &nlink);
    assert_int_equal(nlink, 3);
    end();
}

static void the_quota_ends_in_enospc_and_comes_back(void **state)
{
    (void)state;
    begin(1u << 20);
    int64_t fd = open_at("/tmp/big", O_RDWR | O_CREAT);
    char *block = mem(65536);
    int64_t total = 0, n;
    while ((n = G(p, write, A(fd), A(block), 65536)) > 0)
        total += n;
    assert_int_equal(n, -ENOSPC);
    assert_in_range(total, 900u << 10, 1u << 20);
    assert_int_equal(G(p, pwrite64, A(fd), A(block), 4096, 0),
                     4096); /* what is held can be written again */
    assert_int_equal(G(p, ftruncate, A(fd), 0), 0);
    assert_int_equal(G(p, ftruncate, A(fd), 1u << 30), 0); /* sparse */
    assert_int_equal(G(p, write, A(fd), A(block), 4096), 4096);
    int made = 0;
    char name[32];
    while (snprintf(name, sizeof name, "/tmp/f%d", made),
           (n = open_at(name, O_WRONLY | O_CREAT)) >= 0) {
        G(p, close, A(n));
        made++;
        fake_arena_used = 4u << 20;
    }
    assert_int_equal(n, -ENOSPC); /* empty files cost too */
    assert_in_range(made, 500, 2000);
    end();
}

static void ten_thousand_names_are_not_slow(void **state)
{
    (void)state;
    begin(64u << 20);
    size_t used = fake_arena_used;
    uint64_t start = os_thread_cpu_ns();
    char name[48];
    assert_int_equal(G(p, mkdirat, A(AT_FDCWD), A(str("/tmp/d")), 0755), 0);
    for (int k = 0; k < 10000; k++) {
        snprintf(name, sizeof name, "/tmp/d/file%d", k);
        assert_int_equal(G(p, mknodat, A(AT_FDCWD), A(str(name)), S_IFREG | 0644, 0), 0);
        fake_arena_used = used;
    }
    assert_int_equal(count_names("/tmp/d", "file9999", NULL), 10002);
    for (int k = 0; k < 10000; k++) {
        snprintf(name, sizeof name, "/tmp/d/file%d", k * 7919 % 10000);
        assert_int_equal(unlink_at(name, 0), 0);
        fake_arena_used = used;
    }
    uint64_t ns = os_thread_cpu_ns() - start;
    print_message("20,000 changes and a listing: %llu us\n", (unsigned long long)(ns / 1000));
    assert_true(ns < 2000000000u);
    assert_int_equal(unlink_at("/tmp/d", AT_REMOVEDIR), 0);
    end();
}

static void a_program_that_runs_cannot_be_written(void **state)
{
    (void)state;
    begin(64u << 20);
    struct lx_file *f;
    assert_int_equal(lx_exec_open(p, AT_FDCWD, "/etc/motd", 0, &f), -EACCES);
    assert_int_equal(lx_exec_open(p, AT_FDCWD, "/bin", 0, &f), -EACCES);
    assert_int_equal(lx_exec_open(p, AT_FDCWD, "/bin/none", 0, &f), -ENOENT);
    assert_int_equal(lx_exec_open(p, AT_FDCWD, "/bin/sh", 0, &f), 0);
    assert_int_equal(lx_file_exec_hold(f), 0);
    assert_int_equal(open_at("/bin/ash", O_WRONLY), -ETXTBSY);
    assert_int_equal(G(p, truncate, A(str("/bin/sh")), 0), -ETXTBSY);
    lx_file_exec_release(f);
    int64_t fd = open_at("/bin/sh", O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(lx_file_exec_hold(f), -ETXTBSY);
    G(p, close, A(fd));
    struct mem_object *a, *b;
    assert_int_equal(lx_file_map_object(f, MEM_R | MEM_X, false, &a), 0);
    assert_int_equal(lx_file_map_object(f, MEM_R, true, &b), 0);
    assert_ptr_equal(a, b);
    assert_int_equal(lx_file_map_object(f, MEM_R | MEM_W, true, &b), -EACCES);
    mem_object_put(a);
    mem_object_put(a);
    lx_file_put(f);
    end();
}

static void an_unlinked_file_that_is_mapped_lives_through_a_snapshot(void **state)
{
    (void)state;
    struct err err;
    struct snap_writer w;
    struct snap_reader r;
    struct mem_object *o, *image;
    struct lx_file *f;
    begin(64u << 20);
    int64_t fd = open_at("/tmp/m", O_RDWR | O_CREAT);
    put_text(fd, "mapped");
    assert_int_equal(lx_file_map_object(lx_files_find(p->files, fd), MEM_R | MEM_W, true, &o), 0);
    assert_int_equal(lx_exec_open(p, AT_FDCWD, "/bin/sh", 0, &f), 0);
    assert_int_equal(lx_file_map_object(f, MEM_R, false, &image), 0);
    lx_file_put(f);
    G(p, close, A(fd));
    assert_int_equal(unlink_at("/tmp/m", 0), 0);
    assert_int_equal(unlink_at("/etc/motd", 0), 0);
    snap_writer_init(&w, -1);
    assert_int_equal(lx_vfs_save(fake_lx.vfs, &w, &err), OK);
    uint64_t id = mem_object_snap_id(o), image_id = mem_object_snap_id(image);
    assert_true((id & 1) && (image_id & 1));
    mem_object_put(o);
    mem_object_put(image);
    fake_exit(p);
    lx_vfs_free(fake_lx.vfs);
    assert_int_equal(snap_reader_init(&r, w.out.data, w.out.len, -1, &err), OK);
    if (lx_vfs_load(&fake_lx, &r, &fake_lx.vfs, &err) != OK)
        fail_msg("%s", err.text);
    o = lx_vfs_object_by_snap_id(fake_lx.vfs, id);
    image = lx_vfs_object_by_snap_id(fake_lx.vfs, image_id);
    assert_non_null(o);
    assert_non_null(image);
    char text[8] = {0};
    assert_int_equal(mem_object_read(o, 0, text, 7), 6);
    assert_string_equal(text, "mapped");
    lx_vfs_load_end(fake_lx.vfs);
    p->files = lx_files_new(&fake_lx);
    p->fs = lx_fs_new(&fake_lx);
    expect_file("/bin/sh", "program");
    assert_int_equal(open_at("/etc/motd", O_RDONLY), -ENOENT);
    assert_int_equal(count_names("/etc", "motd", NULL), 3);
    snap_writer_fini(&w);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_of_the_image_is_read_changed_and_keeps_its_number),
        cmocka_unit_test(hard_links_of_the_image_stay_one_file),
        cmocka_unit_test(removed_names_stay_away_and_can_come_back),
        cmocka_unit_test(a_folder_of_the_image_moves_with_what_is_in_it),
        cmocka_unit_test(the_quota_ends_in_enospc_and_comes_back),
        cmocka_unit_test(ten_thousand_names_are_not_slow),
        cmocka_unit_test(a_program_that_runs_cannot_be_written),
        cmocka_unit_test(an_unlinked_file_that_is_mapped_lives_through_a_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
