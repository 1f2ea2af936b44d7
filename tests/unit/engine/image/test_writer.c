// links: engine/image engine/base
#include "harness.h"

static enum err_code refused(struct img_writer *w, struct img_entry e, const char *what)
{
    struct err err;
    if (img_writer_add(w, &e, &err) == OK)
        fail_msg("%s was taken", e.path);
    if (!strstr(err.text, what))
        fail_msg("'%s' does not say '%s'", err.text, what);
    return err.code;
}

static void paths_are_cleaned_and_missing_directories_made(void **state)
{
    int fd = new_fd();
    struct img_writer *w = new_writer(fd, NULL);
    struct img_inode i;
    (void)state;
    add_file(w, "./usr//bin/./sh", "#!", 2);
    add_file(w, "/etc/passwd", "root", 4);
    add(w, &(struct img_entry){.path = "usr/", .mode = S_IFDIR | 0700, .uid = 5});
    add(w, &(struct img_entry){.path = "./", .mode = S_IFDIR | 0711, .gid = 6});
    add(w, &(struct img_entry){.path = "etc/sh", .hardlink = "/usr/bin/sh"});
    struct img_totals t = finish(w);
    assert_int_equal(t.entries, 7);
    assert_int_equal(t.inodes, 6);
    assert_int_equal(t.data_bytes, 6);
    struct img *img = open_image(fd);
    check(img);
    assert_true(walk_to(img, "usr/bin/sh", &i) && i.size == 2 && i.nlink == 2);
    assert_true(walk_to(img, "usr", &i) && i.mode == (S_IFDIR | 0700) && i.uid == 5 &&
                i.nlink == 3);
    assert_true(walk_to(img, "usr/bin", &i) && i.mode == (S_IFDIR | 0755) && i.nlink == 2);
    assert_true(walk_to(img, "", &i) && i.mode == (S_IFDIR | 0711) && i.gid == 6 && i.nlink == 4);
    img_close(img);
    close(fd);
}

static void an_empty_image_is_an_image(void **state)
{
    int fd = new_fd();
    (void)state;
    assert_int_equal(finish(new_writer(fd, NULL)).entries, 1);
    struct img *img = open_image(fd);
    assert_int_equal(check(img).entries, 1);
    img_close(img);
    close(fd);
}

static void bad_entries_are_refused_with_their_path_and_change_nothing(void **state)
{
    int fd = new_fd();
    struct img_writer *w = new_writer(fd, NULL);
    struct img_xattr odd = {"system.odd", "", 0}, twice[2] = {{"user.a", "", 0}, {"user.a", "", 0}};
    char name[300];
    struct err err;
    (void)state;
    memset(name, 'n', sizeof name);
    name[299] = 0;
    add_file(w, "a/file", "x", 1);
    add(w, &(struct img_entry){.path = "a/link", .mode = S_IFLNK | 0777, .target = "/"});
    assert_int_equal(img_writer_data(w, "x", 1, &err), FAIL);
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(refused(w, (struct img_entry){.path = "b/../c", .mode = S_IFREG}, "b/../c"),
                     ERR_INVALID);
    assert_int_equal(refused(w, (struct img_entry){.path = "..", .mode = S_IFREG}, "'..'"),
                     ERR_INVALID);
    assert_int_equal(
        refused(w, (struct img_entry){.path = "a/file/x", .mode = S_IFREG}, "not a directory"),
        ERR_INVALID);
    assert_int_equal(
        refused(w, (struct img_entry){.path = "a/link/x", .mode = S_IFREG}, "not a directory"),
        ERR_INVALID);
    assert_int_equal(refused(w, (struct img_entry){.path = "a/file", .mode = S_IFREG}, "a/file"),
                     ERR_EXISTS);
    assert_int_equal(refused(w, (struct img_entry){.path = "a/file", .mode = S_IFDIR}, "a/file"),
                     ERR_EXISTS);
    assert_int_equal(refused(w, (struct img_entry){.path = "a", .mode = S_IFREG}, "a: is there"),
                     ERR_EXISTS);
    assert_int_equal(refused(w, (struct img_entry){.path = "/", .mode = S_IFREG}, "is there"),
                     ERR_INVALID);
    assert_int_equal(refused(w, (struct img_entry){.path = name, .mode = S_IFREG}, "255"),
                     ERR_INVALID);
    assert_int_equal(refused(w, (struct img_entry){.path = "m", .mode = 0755}, "mode"),
                     ERR_INVALID);
    assert_int_equal(refused(w, (struct img_entry){.path = "m", .mode = S_IFLNK}, "symbolic link"),
                     ERR_INVALID);
    assert_int_equal(
        refused(w, (struct img_entry){.path = "m", .mode = S_IFREG, .mtime_ns = 1000000000},
                "nano"),
        ERR_INVALID);
    assert_int_equal(
        refused(w, (struct img_entry){.path = "m", .mode = S_IFCHR, .rdev_major = 1 << 12},
                "device"),
        ERR_INVALID);
    assert_int_equal(refused(w, (struct img_entry){.path = "m", .hardlink = "gone"}, "gone"),
                     ERR_NOT_FOUND);
    assert_int_equal(refused(w, (struct img_entry){.path = "m", .hardlink = "a"}, "directory"),
                     ERR_INVALID);
    assert_int_equal(
        refused(w,
                (struct img_entry){.path = "m", .mode = S_IFREG, .xattrs = &odd, .xattr_count = 1},
                "odd"),
        ERR_INVALID);
    assert_int_equal(
        refused(w,
                (struct img_entry){.path = "m", .mode = S_IFREG, .xattrs = twice, .xattr_count = 2},
                "twice"),
        ERR_INVALID);
    assert_int_equal(finish(w).entries, 4);
    struct img *img = open_image(fd);
    assert_int_equal(check(img).entries, 4);
    img_close(img);
    close(fd);
}

static void limits_hold(void **state)
{
    struct img_limits l = {.entries = 4, .bytes = 1 << 20, .depth = 3, .path_bytes = 20};
    int fd = new_fd();
    struct img_writer *w = new_writer(fd, &l);
    static char big[1 << 20];
    struct err err;
    (void)state;
    memset(big, 1, sizeof big);
    assert_int_equal(refused(w, (struct img_entry){.path = "a/b/c/d", .mode = S_IFREG}, "levels"),
                     ERR_LIMIT);
    assert_int_equal(refused(w,
                             (struct img_entry){.path = "012345678901234567890", .mode = S_IFREG},
                             "20 bytes"),
                     ERR_LIMIT);
    add(w, &(struct img_entry){.path = "a/b/c", .mode = S_IFREG});
    assert_int_equal(refused(w, (struct img_entry){.path = "d", .mode = S_IFREG}, "4 entries"),
                     ERR_LIMIT);
    assert_int_equal(refused(w, (struct img_entry){.path = "a", .mode = S_IFDIR}, "failed before"),
                     ERR_STATE);
    img_writer_free(w);
    w = new_writer(fd, &l);
    add(w, &(struct img_entry){.path = "a", .mode = S_IFREG});
    assert_int_equal(img_writer_data(w, big, sizeof big, &err), FAIL);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_int_equal(img_writer_finish(w, NULL, &err), FAIL);
    img_writer_free(w);
    struct img *img;
    assert_int_equal(img_open(fd, &img, &err), FAIL); /* an unfinished image is none */
    close(fd);
}

static bool count(void *ctx, const char *name, const void *value, size_t n)
{
    (void)value;
    assert_true(strlen(name) > 0 && n < 70000);
    ++*(int *)ctx;
    return true;
}

static void attributes_come_through(void **state)
{
    static char big[60000];
    memset(big, 7, sizeof big);
    struct img_xattr x[] = {{"user.z", "last", 4},
                            {"security.capability", "\1\0\0\2", 4},
                            {"system.posix_acl_access", "acl", 3},
                            {"trusted.overlay.opaque", "y", 1},
                            {"user.big", big, sizeof big},
                            {"user.empty", NULL, 0}};
    int fd = new_fd(), n = 0;
    struct img_writer *w = new_writer(fd, NULL);
    struct img_inode i;
    struct err err;
    char b[10];
    size_t size;
    (void)state;
    for (int k = 0; k < 20; k++) { /* enough to need the writer's buffer several times */
        char path[20];
        snprintf(path, sizeof path, "f%d", k);
        add(w,
            &(struct img_entry){
                .path = path, .mode = S_IFREG | 0600, .xattrs = x, .xattr_count = (size_t)k % 7});
    }
    x[4].value_bytes = sizeof big - 1;
    add(w,
        &(struct img_entry){.path = "last", .mode = S_IFREG | 0600, .xattrs = x, .xattr_count = 5});
    struct img_entry many = {
        .path = "over",
        .mode = S_IFREG,
        .xattrs = (struct img_xattr[2]){{"user.1", big, 40000}, {"user.2", big, 40000}},
        .xattr_count = 2};
    assert_int_equal(refused(w, many, "over"), ERR_LIMIT);
    finish(w);
    struct img *img = open_image(fd);
    check(img);
    assert_true(walk_to(img, "f6", &i));
    assert_int_equal(img_xattr_each(img, &i, count, &n, &err), OK);
    assert_int_equal(n, 6);
    assert_int_equal(img_xattr_get(img, &i, "security.capability", b, sizeof b, &size, &err), OK);
    assert_int_equal(size, 4);
    assert_memory_equal(b, "\1\0\0\2", 4);
    assert_int_equal(img_xattr_get(img, &i, "user.big", b, sizeof b, &size, &err), OK);
    assert_int_equal(size, sizeof big);
    assert_int_equal(img_xattr_get(img, &i, "user.empty", b, sizeof b, &size, &err), OK);
    assert_int_equal(size, 0);
    assert_int_equal(img_xattr_get(img, &i, "system.posix_acl_access", NULL, 0, &size, &err), OK);
    assert_int_equal(img_xattr_get(img, &i, "user.no", b, sizeof b, &size, &err), FAIL);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_true(walk_to(img, "f0", &i));
    assert_int_equal(i.xattr_bytes, 0);
    char out[] = "/tmp/vv-xattr-XXXXXX";
    int file = mkstemp(out);
    run("cp /proc/%d/fd/%d %s && fsck.erofs -d0 %s && rm %s", getpid(), fd, out, out, out);
    close(file);
    img_close(img);
    close(fd);
}

static void random_trees_are_read_back(void **state)
{
    struct rng r;
    (void)state;
    rng_seed(&r, 11);
    for (int round = 0; round < 30; round++) {
        int fd = new_fd();
        struct img_writer *w = new_writer(fd, NULL);
        struct err err;
        char path[3][60];
        unsigned made = 0;
        for (int k = 0; k < 200; k++) {
            char *p = path[k % 3];
            size_t n = 0;
            for (unsigned d = 0; d <= rng_below(&r, 4); d++)
                n += (size_t)sprintf(p + n, "/%c%u", "ab.-"[rng_below(&r, 4)],
                                     (unsigned)rng_below(&r, 20));
            struct img_entry e = {
                .path = p, .mode = rng_below(&r, 3) ? S_IFREG : S_IFDIR, .uid = (uint32_t)k};
            if (rng_below(&r, 10) == 0)
                e.hardlink = path[(k + 1) % 3];
            if (k < 3)
                e.hardlink = NULL;
            if (img_writer_add(w, &e, &err) != OK)
                continue;
            made++;
            if (S_ISREG(e.mode) && !e.hardlink)
                assert_int_equal(img_writer_data(w, "0123456789", rng_below(&r, 11), &err), OK);
        }
        assert_true(made > 20);
        struct img_totals t = finish(w);
        struct img *img = open_image(fd);
        struct img_totals u = check(img);
        assert_true(t.entries == u.entries && t.inodes == u.inodes && t.data_bytes == u.data_bytes);
        img_close(img);
        close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_cleaned_and_missing_directories_made),
        cmocka_unit_test(an_empty_image_is_an_image),
        cmocka_unit_test(bad_entries_are_refused_with_their_path_and_change_nothing),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(attributes_come_through),
        cmocka_unit_test(random_trees_are_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
